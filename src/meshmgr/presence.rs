//! Says in the audit log that a node is away for longer than a moment, and that it is back and after how long. A node that is cut off without
//! a word answers no more ([`super::answers`]), and its stream ends with that.

use std::sync::Arc;
use std::time::Duration;

use super::app::{App, every};
use super::hub::Seat;
use crate::mgmt::audit::Origin;
use crate::types::{NodeId, Wall};

/// How long a node is without a connection before that is said: one that is made anew is no news.
const SILENT: Duration = Duration::from_secs(20);
/// How often it is looked.
const LOOK: Duration = Duration::from_secs(5);

/// What is known of a node's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Presence {
    /// It was said that the node is away, since then.
    away: Option<Wall>,
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// It has no connection since then.
    Away(Wall),
    /// It is back, after so long.
    Back(Duration),
}

impl Presence {
    /// Looks at a node: whether it is connected, and when it was heard last by this run of the server.
    fn look(&mut self, connected: bool, seen: Option<Wall>, now: Wall) -> Option<News> {
        match (connected, self.away, seen) {
            (true, Some(since), _) => {
                self.away = None;
                Some(News::Back(now.since(since)))
            }
            (false, None, Some(seen)) if now.since(seen) >= SILENT => {
                self.away = Some(seen);
                Some(News::Away(seen))
            }
            _ => None,
        }
    }
}

/// Looks again and again, for as long as the server runs.
pub(super) async fn run(app: Arc<App>) {
    let look = |app: &App| {
        tell(app, crate::clock::wall());
        Ok(())
    };
    every(app, LOOK, "cannot say who comes and goes", look).await;
}

/// Notes what has changed. Blocks.
fn tell(app: &App, now: Wall) {
    for node in app.core.view().index.state.nodes.values().filter(|node| node.status.joined.is_some()) {
        let name = &node.metadata.name;
        // Who has said that it leaves is not missed.
        let look =
            |seat: &mut Seat| if seat.left { None } else { seat.presence.look(seat.streams > 0, seat.seen, now) };
        let news = app.hub.with(name, look);
        let Some(news) = news else { continue };
        let origin = Origin::own(now);
        let (what, text) = sentence(name, news);
        tracing::info!("{text}");
        app.note_of(name, origin.event(what, text, &[]));
    }
}

fn sentence(node: &NodeId, news: News) -> (&'static str, String) {
    match news {
        News::Away(since) => ("node-away", format!("node {node} is away: it was heard last at {since}")),
        News::Back(after) => ("node-back", format!("node {node} is back after {} s", after.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Wall {
        Wall::from_secs(1_800_000_000 + secs)
    }

    #[test]
    fn going_and_coming_back_are_said_once_each_and_a_new_connection_is_not() {
        let mut presence = Presence::default();
        assert_eq!(presence.look(false, None, at(100)), None, "this server has never heard of it");
        assert_eq!(presence.look(true, Some(at(100)), at(101)), None);
        assert_eq!(presence.look(false, Some(at(101)), at(110)), None, "not yet");
        assert_eq!(presence.look(true, Some(at(112)), at(113)), None, "it was only a new connection");
        assert_eq!(presence.look(false, Some(at(120)), at(140)), Some(News::Away(at(120))));
        assert_eq!(presence.look(false, Some(at(120)), at(400)), None, "once");
        assert_eq!(presence.look(true, Some(at(401)), at(402)), Some(News::Back(Duration::from_secs(282))));
        assert_eq!(presence.look(true, Some(at(401)), at(403)), None);
        let (what, text) = sentence(&"a-1".parse().unwrap(), News::Back(Duration::from_secs(282)));
        assert_eq!((what, text.as_str()), ("node-back", "node a-1 is back after 282 s"));
    }
}
