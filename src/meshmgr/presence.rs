//! Says in the audit log that a node is away for longer than a moment, and that it is back and after how long. A node that is cut off without
//! a word answers no more ([`super::answers`]), and its stream ends with that.

use std::sync::Arc;
use std::time::Duration;

use super::app::{App, every};
use super::hub::Seat;
use crate::mgmt::audit::Origin;
use crate::mgmt::nodes::COMES_BACK;
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
    /// It has not come since the server started then.
    Unheard(Wall),
    /// It is back, after so long.
    Back(Duration),
}

impl Presence {
    /// Looks at a node: whether it is connected, and when it was heard last by this run of the server; `late`: when that started, where a node had
    /// its time to come back.
    fn look(&mut self, connected: bool, seen: Option<Wall>, now: Wall, late: Option<Wall>) -> Option<News> {
        match (connected, self.away, seen) {
            (false, None, None) => late.map(|started| {
                self.away = Some(started);
                News::Unheard(started)
            }),
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
    let late = (crate::clock::mono().since(app.started.0) >= COMES_BACK).then_some(app.started.1);
    for node in app.core.view().index.state.nodes.values().filter(|node| node.status.joined.is_some()) {
        let name = &node.metadata.name;
        // Who has said that it leaves is not missed.
        let look =
            |seat: &mut Seat| if seat.left { None } else { seat.presence.look(seat.streams > 0, seat.seen, now, late) };
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
        News::Unheard(started) => {
            ("node-away", format!("node {node} has not been heard since the management server started at {started}"))
        }
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
        assert_eq!(presence.look(false, None, at(100), None), None, "this server has not heard of it yet");
        assert_eq!(presence.look(true, Some(at(100)), at(101), None), None);
        assert_eq!(presence.look(false, Some(at(101)), at(110), None), None, "not yet");
        assert_eq!(presence.look(true, Some(at(112)), at(113), None), None, "it was only a new connection");
        assert_eq!(presence.look(false, Some(at(120)), at(140), None), Some(News::Away(at(120))));
        assert_eq!(presence.look(false, Some(at(120)), at(400), None), None, "once");
        assert_eq!(presence.look(true, Some(at(401)), at(402), None), Some(News::Back(Duration::from_secs(282))));
        assert_eq!(presence.look(true, Some(at(401)), at(403), None), None);
        let mut never = Presence::default();
        assert_eq!(never.look(false, None, at(150), Some(at(100))), Some(News::Unheard(at(100))));
        assert_eq!(never.look(false, None, at(155), Some(at(100))), None, "once");
        assert_eq!(never.look(true, Some(at(160)), at(161), Some(at(100))), Some(News::Back(Duration::from_secs(61))));
        let (what, text) = sentence(&"a-1".parse().unwrap(), News::Back(Duration::from_secs(282)));
        assert_eq!((what, text.as_str()), ("node-back", "node a-1 is back after 282 s"));
    }
}
