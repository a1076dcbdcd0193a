//! Two machines with one identity: a cloned disk, or a snapshot that was started twice.
//!
//! Each run of `meshd` has an *instance*, a random number, and numbers its connections. The server serves the newest connection of a
//! node only and ends the one before it. A machine that restarts comes with a new instance and its old one is never heard again; a
//! machine that reconnects comes with a higher number. Where there are two, each comes back when the other has replaced it: an
//! instance that had been replaced speaks again, or a number comes that has been already. Once may be a packet that was late or a
//! machine that was set back to a snapshot; so it takes two such signs within a minute, and those only two living machines give.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::Mono;

/// Signs that prove it.
const SIGNS: usize = 2;
/// Within this time.
const WITHIN: Duration = Duration::from_secs(60);
/// Instances of a node that are remembered.
const INSTANCES: usize = 16;

/// One run of `meshd` and its how-manieth connection this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voice {
    /// The run.
    pub instance: u64,
    /// The connection, counted from 1.
    pub connection: u64,
}

/// What has been heard of one node.
#[derive(Debug, Default)]
pub struct Voices {
    /// Instances and their highest number, the newest last.
    heard: VecDeque<Voice>,
    signs: VecDeque<Mono>,
}

impl Voices {
    /// A connection begins. True: two machines run as this node.
    pub fn hear(&mut self, voice: Voice, now: Mono) -> bool {
        let known = self.heard.iter().position(|known| known.instance == voice.instance);
        let newest = known.is_none_or(|at| at + 1 == self.heard.len());
        let before = known.and_then(|at| self.heard.remove(at));
        let again = before.as_ref().is_some_and(|before| voice.connection <= before.connection);
        if !newest || again {
            self.signs.push_back(now);
        }
        let connection = voice.connection.max(before.map_or(0, |before| before.connection));
        self.heard.push_back(Voice { connection, ..voice });
        if self.heard.len() > INSTANCES {
            self.heard.pop_front();
        }
        self.signs.retain(|sign| now.since(*sign) < WITHIN);
        self.signs.len() >= SIGNS
    }

    /// Begins anew, for a node that an operator released.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
#[path = "clones_tests.rs"]
mod tests;
