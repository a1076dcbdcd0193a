//! Probes under way.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::Mono;

/// Most probes that are remembered, the newest: more than are ever sent within [`MEMORY`] of each other's round trip.
const MOST: usize = 128;
/// How long an answer counts: later than this it tells how the path was, not how it is.
const MEMORY: Duration = Duration::from_secs(5);

/// One probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    /// Its token.
    pub(super) token: u64,
    /// Its size.
    pub(super) size: u16,
    /// When it left.
    pub(super) sent: Mono,
}

/// Probes that were sent and not answered, oldest first.
#[derive(Debug, Default)]
pub(super) struct Flights(VecDeque<Flight>);

impl Flights {
    pub(super) fn sent(&mut self, flight: Flight) {
        while self.0.len() >= MOST || self.0.front().is_some_and(|oldest| flight.sent.since(oldest.sent) > MEMORY) {
            self.0.pop_front();
        }
        self.0.push_back(flight);
    }

    /// The probe with this token, once.
    pub(super) fn take(&mut self, token: u64, now: Mono) -> Option<Flight> {
        let at = self.0.iter().position(|flight| flight.token == token)?;
        self.0.remove(at).filter(|flight| now.since(flight.sent) <= MEMORY)
    }

    /// What is under way says nothing any more.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}
