//! `meshctl events`: what happened on this node, or who changed what in the mesh.

use super::out::{self, Done, Lines};
use super::remote::{Access, Either};
use crate::api::admin::Events;
use crate::api::local::Event;

/// Flags.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only the newest N
    #[arg(short = 'n', long, default_value_t = 50)]
    last: usize,
}

/// Runs it: the events of this node, or with --management the audit log.
///
/// # Errors
/// Nobody answers.
pub(super) async fn run(access: &Access, args: Args) -> Done {
    match access.either()? {
        Either::Node(server) => {
            let mut events: Vec<Event> = server.get("/v1/events").await?;
            events.drain(..events.len().saturating_sub(args.last));
            let mut lines = Lines::new(&["AT", "KIND", "WHAT"]);
            events.iter().for_each(|event| lines.add([event.at.to_string(), event.kind.clone(), event.text.clone()]));
            out::list(access.output, "event", &events, &lines)
        }
        Either::Management(server) => {
            let Events { mut items } = server.get("/v1/events").await?;
            items.drain(..items.len().saturating_sub(args.last));
            let mut lines = Lines::new(&["AT", "WHO", "FROM", "KIND", "WHAT"]);
            for event in &items {
                let cells = [event.who.clone(), event.from.clone(), event.what.clone(), event.text.clone()];
                lines.add([event.at.to_string()].into_iter().chain(cells));
            }
            out::list(access.output, "event", &items, &lines)
        }
    }
}
