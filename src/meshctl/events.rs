//! `meshctl events`: what happened on this node, or who changed what in the mesh.

use std::time::Duration;

use serde_json::Value;

use super::out::{self, Done, Format, Lines};
use super::remote::{Access, Either, Server};
use crate::api::admin::Events;
use crate::api::local::Event;
use crate::api::problem::{Exit, Problem};
use crate::clock;
use crate::types::Wall;

/// How often it is looked for new ones.
const LOOK: Duration = Duration::from_secs(1);

/// Flags.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only the newest N
    #[arg(short = 'n', long, default_value_t = 50)]
    last: usize,
    /// Only those of this kind, as the column KIND has it
    #[arg(long)]
    kind: Option<String>,
    /// Only those of the last while: 90s, 10m, 2h, 1d
    #[arg(long, value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// Go on with what happens from now on, until it is interrupted
    #[arg(short, long)]
    follow: bool,
}

/// One event as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    at: Wall,
    kind: String,
    /// The columns behind the time.
    cells: Vec<String>,
    value: Value,
}

/// Whose events.
enum Source {
    Node(Server),
    Mesh(Server),
}

/// Runs it: the events of this node, or with --management the audit log.
///
/// # Errors
/// Nobody answers.
pub(super) async fn run(access: &Access, args: Args) -> Done {
    let source = match access.either()? {
        Either::Node(server) => Source::Node(server),
        Either::Management(server) => Source::Mesh(server),
    };
    let mut seen = source.all().await?;
    let since = args
        .since
        .map_or_else(Wall::default, |ago| Wall::from_secs(clock::wall().as_secs().saturating_sub(ago.as_secs())));
    let wanted = |event: &&Shown| args.kind.as_ref().is_none_or(|kind| event.kind == *kind) && event.at >= since;
    let chosen: Vec<&Shown> = seen.iter().filter(wanted).collect();
    let first = chosen.len().saturating_sub(args.last);
    source.show(access.output, chosen.get(first..).unwrap_or_default())?;
    if !args.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(LOOK).await;
        let now = source.all().await?;
        for event in new(&seen, &now).iter().filter(wanted) {
            source.line(access.output, event)?;
        }
        seen = now;
    }
}

/// Those that came behind the last of before. Where that one is gone, more have come than are kept: all are new.
fn new<'a>(before: &[Shown], now: &'a [Shown]) -> &'a [Shown] {
    let Some(last) = before.last() else { return now };
    // Events may be alike; as many of them as there were are known.
    let known = before.iter().rev().take_while(|event| *event == last).count();
    let places: Vec<usize> = (0..now.len()).filter(|at| now.get(*at) == Some(last)).collect();
    let end = places.get(known.min(places.len()).wrapping_sub(1)).map_or(0, |at| at + 1);
    now.get(end..).unwrap_or_default()
}

impl Source {
    const fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::Node(_) => &["AT", "KIND", "WHAT"],
            Self::Mesh(_) => &["AT", "WHO", "FROM", "KIND", "WHAT"],
        }
    }

    /// All that are kept, oldest first.
    async fn all(&self) -> Result<Vec<Shown>, out::Stop> {
        let failed = |error: serde_json::Error| Problem::new("M0110", Exit::Failed, error.to_string());
        match self {
            Self::Node(server) => {
                let events: Vec<Event> = server.get("/v1/events").await?;
                let shown = events.into_iter().map(|event| {
                    let value = serde_json::to_value(&event)?;
                    let cells = vec![event.kind.clone(), event.text];
                    Ok(Shown { at: event.at, kind: event.kind, cells, value })
                });
                Ok(shown.collect::<Result<_, _>>().map_err(failed)?)
            }
            Self::Mesh(server) => {
                let events: Events = server.get("/v1/events").await?;
                let shown = events.items.into_iter().map(|event| {
                    let value = serde_json::to_value(&event)?;
                    let cells = vec![event.who, event.from, event.what.clone(), event.text];
                    Ok(Shown { at: event.at, kind: event.what, cells, value })
                });
                Ok(shown.collect::<Result<_, _>>().map_err(failed)?)
            }
        }
    }

    fn show(&self, format: Format, events: &[&Shown]) -> Done {
        let mut lines = Lines::new(self.columns());
        events.iter().for_each(|event| lines.add(cells(event)));
        out::list(format, "event", &events.iter().map(|event| &event.value).collect::<Vec<_>>(), &lines)
    }

    /// One that came later: a line of its own, in JSON too.
    fn line(&self, format: Format, event: &Shown) -> Done {
        match format {
            Format::Table => out::line(&cells(event).collect::<Vec<_>>().join("  ")),
            Format::Json => out::line(&event.value.to_string()),
            Format::Yaml => out::value(format, &event.value),
        }
    }
}

fn cells(event: &Shown) -> impl Iterator<Item = String> + '_ {
    std::iter::once(event.at.to_string()).chain(event.cells.iter().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(texts: &str) -> Vec<Shown> {
        let shown = |text: char| Shown {
            at: Wall::from_secs(1),
            kind: "k".into(),
            cells: vec![text.to_string()],
            value: Value::from(text.to_string()),
        };
        texts.chars().map(shown).collect()
    }

    #[test]
    fn what_is_new_is_what_came_behind_the_last_of_before() {
        for (before, now, expected) in [
            ("", "", ""),
            ("", "ab", "ab"),
            ("ab", "ab", ""),
            ("ab", "abc", "c"),
            ("ab", "bcd", "cd"),
            ("ab", "abb", "b"),
            ("abb", "abb", ""),
            ("abb", "abbb", "b"),
            ("ab", "xyz", "xyz"),
        ] {
            assert_eq!(new(&events(before), &events(now)), events(expected), "{before} then {now}");
        }
    }
}
