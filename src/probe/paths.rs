//! The paths of a lane. One of them that is due costs one lookup, however many there are.

use std::collections::{BTreeSet, VecDeque};

use super::interface::{Change, PathConfig, Probe, Status};
use super::machine::{NEVER, PathMtu};
use crate::types::{Mono, PeerSlot};

/// All paths of a lane, driven like this:
///
/// ```text
/// a session begins, ends, moves:      up, down, moved
/// each train that leaves:             used
/// each answer that arrives:           answered
/// when poll_timeout is due:           handle_timeout, then send each poll_probe
/// after any of these:                 each poll_change
/// ```
#[derive(Debug, Default)]
pub struct Paths {
    /// By slot.
    paths: Vec<Option<Entry>>,
    due: BTreeSet<(Mono, PeerSlot)>,
    /// Those that answer nothing.
    silent: BTreeSet<PeerSlot>,
    probes: VecDeque<Probe>,
    changes: VecDeque<Change>,
}

#[derive(Debug)]
struct Entry {
    machine: PathMtu,
    /// As it stands in the list of what is due.
    due: Mono,
    /// As it was told last.
    size: u16,
}

impl Paths {
    /// Sets which paths there are. One that stays keeps what is known of it; a new one has no session.
    pub fn set(&mut self, configs: &[PathConfig], now: Mono) {
        let kept: BTreeSet<PeerSlot> = configs.iter().map(|config| config.peer).collect();
        for index in 0..self.paths.len() {
            let Some(peer) = u16::try_from(index).ok().map(PeerSlot).filter(|peer| !kept.contains(peer)) else {
                continue;
            };
            if let Some(gone) = self.paths[index].take() {
                self.due.remove(&(gone.due, peer));
                self.silent.remove(&peer);
            }
        }
        for config in configs {
            self.set_one(config, now);
        }
    }

    fn set_one(&mut self, config: &PathConfig, now: Mono) {
        let index = config.peer.index();
        if self.paths.len() <= index {
            self.paths.resize_with(index + 1, || None);
        }
        if let Some(entry) = &mut self.paths[index] {
            entry.machine.configure(config, now);
        } else {
            let machine = PathMtu::new(config, now);
            self.paths[index] = Some(Entry { machine, due: NEVER, size: 0 });
        }
        self.settle(config.peer);
    }

    /// A session with the peer is established.
    pub fn up(&mut self, peer: PeerSlot, now: Mono) {
        self.with(peer, |path| path.up(now));
    }

    /// There is no session with the peer any more.
    pub fn down(&mut self, peer: PeerSlot) {
        self.with(peer, PathMtu::down);
    }

    /// The peer is somewhere else: its path is another one.
    pub fn moved(&mut self, peer: PeerSlot, now: Mono) {
        self.with(peer, |path| path.moved(now));
    }

    /// Somebody wants to know now: what the path carries is found out anew.
    pub fn again(&mut self, peer: PeerSlot, now: Mono) {
        self.with(peer, |path| path.moved(now));
    }

    /// The path to the peer may have changed, somebody says: it is confirmed now rather than later.
    pub fn hint(&mut self, peer: PeerSlot, now: Mono) {
        self.with(peer, |path| path.hint(now));
    }

    /// All paths in use may have changed, somebody says.
    pub fn hint_all(&mut self, now: Mono) {
        for index in 0..self.paths.len() {
            if let Some(Some(entry)) = self.paths.get(index)
                && entry.machine.in_use(now)
                && let Ok(slot) = u16::try_from(index)
            {
                self.hint(PeerSlot(slot), now);
            }
        }
    }

    /// Datagrams to the peer have left, the largest in an outer IP packet of `size` bytes. A store and a comparison, but for twice
    /// a second.
    #[inline]
    pub fn used(&mut self, peer: PeerSlot, size: u16, now: Mono) {
        if let Some(Some(entry)) = self.paths.get_mut(peer.index())
            && entry.machine.used(size, now)
        {
            self.settle(peer);
        }
    }

    /// The peer has answered the probe with this token. False for an answer that nobody waits for.
    pub fn answered(&mut self, peer: PeerSlot, token: u64, now: Mono) -> bool {
        self.with(peer, |path| path.answered(token, now)).unwrap_or_default()
    }

    /// Peers whose paths answer nothing.
    pub fn silent(&self) -> impl Iterator<Item = PeerSlot> {
        self.silent.iter().copied()
    }

    /// A peer was heard last at `at`, by whatever it sent.
    pub fn heard(&mut self, peer: PeerSlot, at: Mono, now: Mono) {
        self.with(peer, |path| path.peer_heard(at, now));
    }

    /// The system has refused to send a probe: it is larger than the interface carries.
    pub fn refused(&mut self, probe: &Probe, now: Mono) {
        self.with(probe.peer, |path| path.refused(probe.token, now));
    }

    /// When to call [`Self::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Does what is due. `token` makes a random number for each probe.
    pub fn handle_timeout(&mut self, now: Mono, token: &mut dyn FnMut() -> u64) {
        // Each path that is due is taken once; what is due at once again is so in the next turn.
        let mut left = self.due.len();
        while let Some((due, peer)) = self.due.first().copied().filter(|(due, _)| *due <= now && left > 0) {
            left -= 1;
            if let Some(Some(entry)) = self.paths.get_mut(peer.index()) {
                let mut send = |size, token| self.probes.push_back(Probe { peer, size, token });
                entry.machine.handle_timeout(now, token, &mut send);
                self.settle(peer);
            } else {
                self.due.remove(&(due, peer));
            }
        }
    }

    /// The next probe to send, until there is none.
    pub fn poll_probe(&mut self) -> Option<Probe> {
        self.probes.pop_front()
    }

    /// The next change of a size, until there is none.
    pub fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// What is known of each path.
    pub fn status(&self) -> impl Iterator<Item = (PeerSlot, Status)> {
        let one = |(index, entry): (usize, &Option<Entry>)| {
            Some((PeerSlot(u16::try_from(index).ok()?), entry.as_ref()?.machine.status()))
        };
        self.paths.iter().enumerate().filter_map(one)
    }

    fn with<T>(&mut self, peer: PeerSlot, work: impl FnOnce(&mut PathMtu) -> T) -> Option<T> {
        let entry = self.paths.get_mut(peer.index())?.as_mut()?;
        let done = work(&mut entry.machine);
        self.settle(peer);
        Some(done)
    }

    /// Brings the list of what is due, and who wants to know the size, up to date with a path.
    fn settle(&mut self, peer: PeerSlot) {
        let Some(Some(entry)) = self.paths.get_mut(peer.index()) else { return };
        let (due, size, settled) = (entry.machine.due(), entry.machine.status().size, entry.machine.take_settled());
        if due != entry.due {
            self.due.remove(&(entry.due, peer));
            if due != NEVER {
                self.due.insert((due, peer));
            }
            entry.due = due;
        }
        if entry.machine.is_silent() {
            self.silent.insert(peer);
        } else {
            self.silent.remove(&peer);
        }
        if size != entry.size || settled.is_some() {
            entry.size = size;
            self.changes.push_back(Change { peer, size, settled });
        }
    }
}
