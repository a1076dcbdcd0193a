//! The node's WireGuard keys: on disk, in the lanes, and in between while one follows the other.
//!
//! `wireguard.key` is the one in force, `wireguard.next` the one that follows it during a change ([`crate::node::rotation`]). The
//! next one is written over the other in one rename before its own file goes, so a crash leaves either both or the new one. `clock` in the state folder is
//! how far timestamps under the key in force may have come ([`crate::node::clockwatch`]).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::disk;
use super::shared::{Shared, Topic};
use crate::api::local::Finding;
use crate::api::problem::Problem;
use crate::clock::random;
use crate::config::meshd::Config;
use crate::linux::file;
use crate::node::clockwatch::{ClockWatch, Jump};
use crate::node::enroll::WIREGUARD_KEY;
use crate::node::rotation::{self, Held, Step};
use crate::table::OwnKeys;
use crate::tunnel::{OwnKey, public_key};
use crate::types::{Mono, PublicKey, SecretKey, Wall};

/// File of the key that is to follow, base64.
pub const NEXT_KEY: &str = "wireguard.next";
/// File of the mark of the clock: public key and seconds since 1970.
pub const CLOCK: &str = "clock";
/// After this time the old key goes although some peer has not been heard under the new one: it may be gone for ever.
const PATIENCE: Duration = Duration::from_secs(86_400);

/// The keys.
pub struct Keyring {
    keys: PathBuf,
    state: PathBuf,
    current: SecretKey,
    next: Option<SecretKey>,
    floor: Wall,
    clock: ClockWatch,
    /// The clock has gone back: a new key is wanted, and none was made yet.
    wanted: bool,
    /// Since when peers take the next key.
    announced: Option<Mono>,
}

impl Keyring {
    /// Reads what is on disk.
    ///
    /// # Errors
    /// M0224, M0601: the next key is there and cannot be used.
    pub fn load(config: &Config, current: SecretKey, now: Mono, wall: Wall) -> Result<Self, Problem> {
        let mut next = disk::next_secret(config, NEXT_KEY)?;
        if next.as_ref() == Some(&current) {
            // A crash in the middle of the promotion: the same key twice. What cannot be removed now goes at the next start.
            next = None;
            let _ = file::remove(&config.paths.keys.join(NEXT_KEY));
        }
        let state = config.paths.state.clone();
        let floor = mark_of(&state, &public_key(&current));
        let (clock, jump) = ClockWatch::new(now, wall, floor);
        let keys = config.paths.keys.clone();
        let mut ring = Self { keys, state, current, next, floor, clock, wanted: jump.is_some(), announced: None };
        // Before anybody is called. What fails is told with the first look.
        let _ = ring.write_mark();
        Ok(ring)
    }

    fn held(&self) -> Held {
        Held { current: public_key(&self.current), next: self.next.as_ref().map(public_key) }
    }

    /// Lets the link prove what it reports with these keys.
    pub fn lend(&self, shared: &Shared) {
        shared.provers.set(std::iter::once(&self.current).chain(&self.next));
    }

    /// For the lanes: the key in force and the next.
    pub fn for_lanes(&self) -> Arc<[OwnKey]> {
        let current = OwnKey { secret: self.current.clone(), floor: self.floor };
        let next = self.next.iter().map(|next| OwnKey { secret: next.clone(), floor: Wall::default() });
        std::iter::once(current).chain(next).collect()
    }

    /// Follows what the management node says of the keys.
    pub fn follow(&mut self, said: Option<&OwnKeys>, shared: &Shared, now: Mono) {
        let Some(said) = said else { return };
        let step = rotation::step(self.held(), said);
        let make = self.wanted && self.next.is_none() && step == Step::Stay;
        let done = match step {
            Step::Make => self.make(),
            Step::Stay if make => self.make(),
            Step::Promote => self.promote(),
            Step::Stay => Ok(()),
        };
        let done = done.map(|()| match step {
            Step::Promote => {
                shared.events.info("key-changed", "the new WireGuard key is in force, the old one is gone")
            }
            Step::Make => shared.events.info("key-made", "a new WireGuard key, to follow the one in force"),
            Step::Stay if make => shared.events.info("key-made", "a new WireGuard key, because of the clock"),
            Step::Stay => {}
        });
        let failed = |error: io::Error| {
            Finding::new("M0265", error.to_string(), "it is tried again: df, ls -l of the keys folder")
        };
        let held = self.held();
        let strange = rotation::strange(held, said).map(|key| strange(key, held.current));
        shared.find(Topic::Keys, done.err().map(failed).into_iter().chain(strange).collect());
        self.lend(shared);
        self.announced = if rotation::announced(held, said) { self.announced.or(Some(now)) } else { None };
        shared.say(|outgoing| {
            outgoing.next_key = held.next;
            outgoing.key_in_use = outgoing.key_in_use.filter(|key| Some(*key) == held.next);
        });
    }

    /// While a change is under way: can the old key go?
    pub fn tend(&self, shared: &Shared, now: Mono) {
        let (Some(since), Some(next)) = (self.announced, self.held().next) else { return };
        let stats = shared.lanes.stats();
        let sessions = stats.iter().flat_map(|lane| &lane.peers);
        let sessions: Vec<Option<PublicKey>> =
            sessions.map(|(_, peer)| peer.keys.filter(|_| peer.up).map(|(own, _)| own)).collect();
        if rotation::in_use(next, sessions) || now.since(since) >= PATIENCE {
            shared.say(|outgoing| outgoing.key_in_use = Some(next));
        }
    }

    /// Watches the clock. True: a new key is wanted because of it.
    pub fn watch(&mut self, shared: &Shared, now: Mono, wall: Wall) -> bool {
        let jump = self.clock.look(now, wall);
        match jump {
            Some(Jump::Forward(by)) => {
                shared.events.warn("clock-jump", format!("the clock went forward by {} s", by.as_secs()))
            }
            Some(Jump::Back(by)) => {
                self.wanted = true;
                shared.events.warn(
                    "clock-jump",
                    format!("the clock went back by {} s; a new WireGuard key is made", by.as_secs()),
                );
            }
            None => {}
        }
        let kept = self.write_mark();
        shared.find(Topic::Clock, kept.err().map(|error| not_kept(&error)).into_iter().collect());
        self.wanted && self.next.is_none()
    }

    /// Writes the mark, where the one on disk will not do for long.
    fn write_mark(&mut self) -> io::Result<()> {
        let Some(mark) = self.clock.mark() else { return Ok(()) };
        let text = format!("{} {}\n", public_key(&self.current), mark.as_secs());
        let kept = file::write(&self.state.join(CLOCK), text.as_bytes(), 0o600);
        if kept.is_err() {
            self.clock.not_kept();
        }
        kept
    }

    fn make(&mut self) -> io::Result<()> {
        let secret = SecretKey::from_bytes(random());
        disk::save_secret(&self.keys.join(NEXT_KEY), &secret)?;
        self.next = Some(secret);
        self.wanted = false;
        Ok(())
    }

    fn promote(&mut self) -> io::Result<()> {
        let Some(next) = self.next.clone() else { return Ok(()) };
        disk::save_secret(&self.keys.join(WIREGUARD_KEY), &next)?;
        file::remove(&self.keys.join(NEXT_KEY))?;
        self.current = next;
        self.next = None;
        self.floor = Wall::default();
        self.clock.new_key();
        // What fails is told with the next look.
        let _ = self.write_mark();
        Ok(())
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("held", &self.held()).finish_non_exhaustive()
    }
}

fn not_kept(error: &io::Error) -> Finding {
    let what = format!(
        "how far timestamps of this node's calls have come is not on disk: {error}; after a restart peers may refuse its calls for a while"
    );
    Finding::new("M0712", what, "df; mount: is the state folder full or read-only? It is written again by itself")
}

fn strange(theirs: PublicKey, own: PublicKey) -> Finding {
    let what = format!(
        "the management node has the WireGuard key {theirs} for this node, which does not hold it; its own is {own}. This \
         node's own disk may have been set back to an older state (a snapshot, a backup), or somebody else may be this node"
    );
    Finding::new(
        "M0281",
        what,
        "meshctl leave, then meshctl join with the token that `meshctl node reset` prints for this node where meshctl has admin rights",
    )
}

/// The mark on disk, if it is of this key.
fn mark_of(state: &std::path::Path, key: &PublicKey) -> Wall {
    let text = std::fs::read_to_string(state.join(CLOCK)).unwrap_or_default();
    let mark = text.trim().split_once(' ').filter(|(of, _)| of.parse() == Ok(*key));
    mark.and_then(|(_, secs)| secs.parse().ok()).map_or_else(Wall::default, Wall::from_secs)
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
