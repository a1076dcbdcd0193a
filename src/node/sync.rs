//! How a node follows the management node: when to connect, what to ask for, and what to believe of the answer.
//!
//! Sans-IO: the shell connects and reads lines, this machine is told and decides. Whatever comes, the slice here only ever goes
//! forward, and a slice that is refused leaves the old one in force.

use std::time::Duration;

use crate::api::heard::Names;
use crate::api::problem::clip;
use crate::api::stream::{self, Contested, Message, PeerWord};
use crate::table::delta::DeltaError;
use crate::table::{Delta, Slice, Told};
use crate::types::{Mono, NodeId, PdcId, Version, Wall};

/// A stream that says nothing for this long is dead. The server speaks every few seconds.
pub const SILENCE: Duration = Duration::from_secs(10);
/// Shortest wait before the next attempt to connect.
pub const LEAST_WAIT: Duration = Duration::from_millis(200);
/// Longest wait before the next attempt to connect.
pub const MOST_WAIT: Duration = Duration::from_secs(30);

/// Follows one management installation on behalf of one node.
#[derive(Debug)]
pub struct Sync {
    node: NodeId,
    /// What the node's own file asserts.
    pdc: Option<PdcId>,
    slice: Option<Slice>,
    /// The same as it was told, what is not known here included.
    told: Told,
    /// Unknown names that were given out by [`Sync::unknown`].
    names: Names,
    unknown: Vec<String>,
    /// Ask for everything, whatever is here.
    fresh: bool,
    /// What the other end's clock said last.
    their_time: Option<Wall>,
    /// Guests of this node that others hear as well, if the newest line told.
    contested: Option<Vec<Contested>>,
    /// What is wrong with peers, if the newest line told.
    peers: Option<Vec<PeerWord>>,
    link: Link,
    /// Connections since the last one that brought something useful.
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Down { until: Mono },
    Connecting,
    Up { heard: Mono },
}

/// What the shell does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Connect and send [`Sync::ask`].
    Connect,
    /// Nothing before this time; then ask again.
    Wait(Mono),
    /// The stream is silent for too long: close it and call [`Sync::lost`].
    Dead,
}

/// What a message led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// [`Sync::slice`] is a new one: persist it and act on it.
    Adopted,
    /// Nothing to do.
    Current,
    /// This node is no member any more.
    Removed,
}

/// Why a message was refused. The slice here is unchanged; the shell closes the stream and calls [`Sync::lost`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The slice is of another node.
    #[error("the slice is for node '{0}'; it is refused")]
    Foreign(NodeId),
    /// The slice puts this node into another PDC than its own file asserts.
    #[error("the slice is for PDC '{slice}', but this node's file says '{file}'; it is refused")]
    OtherPdc {
        /// As the management node says.
        slice: PdcId,
        /// As the file says.
        file: PdcId,
    },
    /// An older truth than the one here.
    #[error("version {theirs} is older than {ours} here; it is refused")]
    Older {
        /// What came.
        theirs: Version,
        /// What is here.
        ours: Version,
    },
    /// A snapshot that was damaged on its way.
    #[error("the snapshot of version {0} does not match its hash; it is refused")]
    Damaged(Version),
    /// A delta that does not fit; a snapshot is asked for.
    #[error("{0}; asking for a snapshot")]
    Misfit(#[from] DeltaError),
    /// A line that is none.
    #[error("a line of the stream is not understood: {0}")]
    Unreadable(String),
    /// A delta although there is no slice here.
    #[error("a delta came before any snapshot; asking for a snapshot")]
    NoSlice,
}

impl Sync {
    /// Starts with what was found on disk. `pdc` is what the node's file asserts, if it does.
    pub fn new(node: NodeId, pdc: Option<PdcId>, slice: Option<Slice>, now: Mono) -> Self {
        // The disk keeps only what this version knows. If more was told, the hash differs and all of it is told again: also to a
        // newer version that knows more.
        let told = slice.as_ref().map(Told::of).unwrap_or_default();
        let (names, unknown) = (Names::default(), Vec::new());
        let link = Link::Down { until: now };
        Self {
            node,
            pdc,
            slice,
            told,
            names,
            unknown,
            fresh: false,
            their_time: None,
            contested: None,
            peers: None,
            link,
            failures: 0,
        }
    }

    /// The newest slice that was believed.
    pub const fn slice(&self) -> Option<&Slice> {
        self.slice.as_ref()
    }

    /// True while a connection exists.
    pub const fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// Path and query of the stream, from where we are.
    pub fn ask(&self) -> String {
        let known = self.slice.as_ref().filter(|_| !self.fresh);
        let Version { incarnation, revision } = known.map(|s| s.version).unwrap_or_default();
        let hash = known.map(|_| self.told.hash()).unwrap_or_default();
        format!("/v1/slice?incarnation={incarnation}&revision={revision}&hash={hash}")
    }

    /// What to do now.
    pub fn next(&self, now: Mono) -> Next {
        match self.link {
            Link::Down { until } if until <= now => Next::Connect,
            Link::Down { until } => Next::Wait(until),
            // The shell's own time limit ends an attempt.
            Link::Connecting => Next::Wait(now + MOST_WAIT),
            Link::Up { heard } if now.since(heard) >= SILENCE => Next::Dead,
            Link::Up { heard } => Next::Wait(heard + SILENCE),
        }
    }

    /// An attempt has begun.
    pub const fn connecting(&mut self) {
        self.link = Link::Connecting;
    }

    /// The stream is open, or bytes of it arrived.
    pub const fn heard(&mut self, now: Mono) {
        self.link = Link::Up { heard: now };
    }

    /// The attempt failed or the stream ended. `random` spreads the nodes of a mesh that all lost the same server.
    pub fn lost(&mut self, now: Mono, random: u32) {
        let most = LEAST_WAIT.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX)).min(MOST_WAIT);
        let spread = most.saturating_sub(LEAST_WAIT).mul_f64(f64::from(random) / f64::from(u32::MAX));
        self.failures = (self.failures + 1).min(16);
        self.link = Link::Down { until: now + LEAST_WAIT + spread };
    }

    /// Fields and values of lines that are not known here, each once in the life of this machine.
    pub fn unknown(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unknown)
    }

    /// Guests of this node that others hear as well, as the newest line says, once.
    pub const fn contested(&mut self) -> Option<Vec<Contested>> {
        self.contested.take()
    }

    /// What is wrong with peers that only the management node knows, as the newest line says, once.
    pub const fn peers(&mut self) -> Option<Vec<PeerWord>> {
        self.peers.take()
    }

    /// What the clock of the other end said in the newest line, once.
    pub const fn their_time(&mut self) -> Option<Wall> {
        self.their_time.take()
    }

    /// One line of the stream.
    ///
    /// # Errors
    /// [`Refusal`]: it is not believed, and the slice is the one before.
    pub fn line(&mut self, line: &[u8], now: Mono) -> Result<Outcome, Refusal> {
        self.heard(now);
        let unreadable = |error: serde_json::Error| Refusal::Unreadable(clip(&error.to_string()).to_owned());
        let line = stream::read(line).map_err(unreadable)?;
        self.unknown.extend(self.names.new_of("", "stream", &line.unknown));
        let Some(message) = line.message else { return Ok(Outcome::Current) };
        match message {
            Message::Snapshot { slice, hash } => {
                let told = Told::read(line.text).map_err(unreadable)?;
                self.snapshot(*slice, told, &hash)
            }
            Message::Delta { delta } => {
                let mut told = self.told.clone();
                told.change(line.text).map_err(unreadable)?;
                self.delta(*delta, told)
            }
            Message::Current { version, at, contested, peers } => {
                self.not_older(version)?;
                self.contested = Some(contested);
                self.peers = Some(peers);
                self.their_time = at.or(self.their_time);
                self.failures = 0;
                Ok(Outcome::Current)
            }
            Message::Removed => {
                // Ask again, but seldom: the same certificate may be let in again.
                self.failures = 16;
                Ok(Outcome::Removed)
            }
        }
    }

    fn snapshot(&mut self, slice: Slice, told: Told, hash: &str) -> Result<Outcome, Refusal> {
        if slice.node != self.node {
            return Err(Refusal::Foreign(slice.node));
        }
        self.same_pdc(&slice.pdc)?;
        self.not_older(slice.version)?;
        if told.hash() != hash {
            return Err(Refusal::Damaged(slice.version));
        }
        Ok(self.adopt(slice, told))
    }

    fn delta(&mut self, delta: Delta, told: Told) -> Result<Outcome, Refusal> {
        if let Some(pdc) = &delta.pdc {
            self.same_pdc(pdc)?;
        }
        let Some(old) = self.slice.clone().filter(|_| !self.fresh) else {
            self.fresh = true;
            return Err(Refusal::NoSlice);
        };
        match delta.apply(old, told.hash()) {
            Ok(new) => Ok(self.adopt(new, told)),
            Err(error) => {
                self.fresh = true;
                Err(error.into())
            }
        }
    }

    fn adopt(&mut self, slice: Slice, told: Told) -> Outcome {
        self.told = told;
        self.fresh = false;
        self.failures = 0;
        let new = self.slice.as_ref() != Some(&slice);
        self.slice = Some(slice);
        if new { Outcome::Adopted } else { Outcome::Current }
    }

    fn same_pdc(&self, slice: &PdcId) -> Result<(), Refusal> {
        match &self.pdc {
            Some(file) if file != slice => Err(Refusal::OtherPdc { slice: slice.clone(), file: file.clone() }),
            Some(_) | None => Ok(()),
        }
    }

    fn not_older(&self, theirs: Version) -> Result<(), Refusal> {
        match &self.slice {
            Some(here) if theirs < here.version => Err(Refusal::Older { theirs, ours: here.version }),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "sync_tests.rs"]
mod tests;
