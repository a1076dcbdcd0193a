//! What happened lately: a bounded ring that `meshctl events` reads, each line also in the log.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::api::local::Event;
use crate::api::problem::printable;

/// Most events that are kept.
pub const KEPT: usize = 1000;

/// The ring.
#[derive(Debug, Default)]
pub struct Events(Mutex<VecDeque<Event>>);

impl Events {
    /// Something happened as it should.
    pub fn info(&self, kind: &str, text: impl AsRef<str>) {
        let text = printable(text.as_ref());
        tracing::info!("{kind}: {text}");
        self.keep(kind, text);
    }

    /// Something happened that should not.
    pub fn warn(&self, kind: &str, text: impl AsRef<str>) {
        let text = printable(text.as_ref());
        tracing::warn!("{kind}: {text}");
        self.keep(kind, text);
    }

    fn keep(&self, kind: &str, text: String) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(Event { at: crate::clock::wall(), kind: kind.to_owned(), text });
    }

    /// All of them, oldest first.
    pub fn list(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_bounded_and_hostile_text_is_escaped() {
        let events = Events::default();
        for n in 0..KEPT + 5 {
            events.info("drift", format!("{n}\x1b[2J"));
        }
        let list = events.list();
        assert_eq!(list.len(), KEPT);
        assert_eq!(list[0].text, "5\\u{1b}[2J");
    }
}
