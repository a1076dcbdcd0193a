//! What happened lately: a bounded ring that `meshctl events` reads, each line also in the log. What guests, members and strangers can
//! make happen as often as they like has a budget by source and in sum (`quota`) and a place of its own in the ring, so that it
//! pushes out nothing else.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::quota::Quota;
use crate::api::local::Event;
use crate::api::problem::printable;
use crate::clock::mono;
use crate::types::{IfName, Mono, NetworkId, NodeId, PortId};

/// Most events of this node itself that are kept.
pub const KEPT: usize = 1000;
/// Most events that others have caused.
pub const KEPT_OF_OTHERS: usize = 500;

/// The ring.
#[derive(Debug, Default)]
pub struct Events(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    /// Each with its number, so that both can be told in order.
    own: VecDeque<(u64, Event)>,
    others: VecDeque<(u64, Event)>,
    next: u64,
    quota: Quota,
}

/// Which guest an event is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Its port, where one alone is behind the interface.
    pub port: Option<PortId>,
    /// The interface.
    pub interface: Option<IfName>,
    /// The network.
    pub network: Option<NetworkId>,
    /// The node.
    pub node: Option<NodeId>,
}

/// Whether what happened is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It is.
    Fine,
    /// It is not.
    Wrong,
}

impl Events {
    /// Something happened as it should.
    pub fn info(&self, kind: &str, text: impl AsRef<str>) {
        self.keep(Tone::Fine, kind, text.as_ref(), None);
    }

    /// Something happened that should not.
    pub fn warn(&self, kind: &str, text: impl AsRef<str>) {
        self.keep(Tone::Wrong, kind, text.as_ref(), None);
    }

    /// Something happened that others decide: `source` is whose budget it is on, an interface or a peer, never what a frame says.
    pub fn by_others(&self, tone: Tone, kind: &str, source: &str, text: impl AsRef<str>) {
        self.by_others_at(tone, kind, source, text.as_ref(), mono());
    }

    /// A guest did something that it may not. It is on the budget of its interface.
    pub fn by_guest(&self, kind: &str, interface: &IfName, text: impl AsRef<str>, about: About) {
        let admitted = self.ring().quota.admit(kind, interface.as_str(), mono());
        if admitted {
            self.keep(Tone::Wrong, kind, text.as_ref(), Some(about));
        }
    }

    fn by_others_at(&self, tone: Tone, kind: &str, source: &str, text: &str, now: Mono) {
        // Not within the call below: the lock is given back first.
        let admitted = self.ring().quota.admit(kind, source, now);
        if admitted {
            self.keep(tone, kind, text, Some(About::default()));
        }
    }

    /// Tells how much was held back, each kind once in a while.
    pub fn tend(&self, now: Mono) {
        let held = self.ring().quota.held(now);
        for (kind, lines) in held {
            self.keep(Tone::Wrong, &kind, &format!("{lines} more like this suppressed"), Some(About::default()));
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `others`: others decide about it, and what it is about.
    fn keep(&self, tone: Tone, kind: &str, text: &str, others: Option<About>) {
        let text = printable(text);
        match tone {
            Tone::Fine => tracing::info!("{kind}: {text}"),
            Tone::Wrong => tracing::warn!("{kind}: {text}"),
        }
        let mut ring = self.ring();
        ring.next += 1;
        let next = ring.next;
        let (place, most) = match &others {
            Some(_) => (&mut ring.others, KEPT_OF_OTHERS),
            None => (&mut ring.own, KEPT),
        };
        let about = others.unwrap_or_default();
        let About { port, interface, network, node } = about;
        let (at, kind) = (crate::clock::wall(), kind.to_owned());
        let event = (next, Event { at, kind, text, port, interface, network, node });
        if place.len() == most {
            place.pop_front();
        }
        place.push_back(event);
    }

    /// All of them, oldest first.
    pub fn list(&self) -> Vec<Event> {
        let ring = self.ring();
        let mut all: Vec<&(u64, Event)> = ring.own.iter().chain(&ring.others).collect();
        all.sort_by_key(|(number, _)| *number);
        all.into_iter().map(|(_, event)| event.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_ring_is_bounded_and_hostile_text_is_escaped() {
        let events = Events::default();
        for n in 0..KEPT + 5 {
            events.info("boot", format!("{n}\x1b[2J"));
        }
        let list = events.list();
        assert_eq!(list.len(), KEPT);
        assert_eq!(list[0].text, "5\\u{1b}[2J");
    }

    #[test]
    fn what_others_cause_is_little_is_counted_and_pushes_nothing_out() {
        let events = Events::default();
        events.info("reload", "meshd.toml was read again");
        let start = mono();
        // An hour of a hundred sources that each cause ten lines a second, of five kinds.
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            for (kind, source) in (0..5).flat_map(|kind| (0..100).map(move |source| (kind, source))) {
                for _ in 0..2 {
                    events.by_others_at(
                        Tone::Wrong,
                        &format!("kind-{kind}"),
                        &format!("peer-{source}"),
                        "refused",
                        now,
                    );
                }
            }
            events.tend(now);
        }
        let list = events.list();
        assert_eq!(list.len(), 1 + KEPT_OF_OTHERS);
        assert_eq!(list[0].kind, "reload", "an operator still sees what an operator did");
        assert!(list.iter().any(|event| event.text.ends_with("more like this suppressed")));
    }
}
