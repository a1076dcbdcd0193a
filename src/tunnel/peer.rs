//! One peer: its keys, sessions, handshake, timers, and what waits for it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::callers::Callers;
use super::common::Common;
use super::cookie::Jar;
use super::drops::DropReason;
use super::interface::{Arrivals, Event, PeerConfig, PeerStatus};
use super::limits::{KEY_KNOWN, MOVE_EVENT_INTERVAL, REKEY_TIMEOUT, STAGED};
use super::noise::{Initiator, NO_PSK};
use super::session::{Ended, Pair, Sessions};
use super::tai64n::Tai64n;
use super::timers::{NEVER, Timers};
use crate::table::KeyPair;
use crate::types::{Mono, PublicKey, Wall};

/// An initiation that waits for its response.
pub(super) struct Pending {
    pub(super) index: u32,
    pub(super) noise: Initiator,
    pub(super) pair: Pair,
}

/// A payload that waits for a session, with headroom before it and all the room after it that its buffer had (up to the
/// tailroom), so that it is sealed where it lies.
pub(super) struct Staged {
    pub(super) buf: Vec<u8>,
    pub(super) len: usize,
}

/// What belongs to one static key of a peer.
pub(super) struct Remote {
    pub(super) key: PublicKey,
    pub(super) jar: Jar,
    /// Its initiations.
    pub(super) callers: Callers,
}

/// A peer and everything known of it.
pub(super) struct Peer {
    pub(super) config: PeerConfig,
    /// Where it is: as configured, or where it was last heard.
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) sessions: Sessions,
    pub(super) pending: Option<Pending>,
    /// Pairs of keys that may make sessions, best first.
    pub(super) pairs: Vec<KeyPair>,
    /// The peer's static keys: one, and two while it changes.
    pub(super) remotes: Vec<Remote>,
    pub(super) timers: Timers,
    /// When the schedule will have it looked at: not after its nearest deadline.
    scheduled: Mono,
    pub(super) staged: VecDeque<Staged>,
    /// Since when our initiations go unanswered.
    pub(super) unanswered: Option<Mono>,
    /// Initiations since the last handshake that came to its end.
    pub(super) attempts: u16,
    /// Our call has made way for one of the peer since our last one: it does so once, as the peer's may be somebody else's.
    pub(super) made_way: bool,
    /// When we last sent an initiation.
    pub(super) initiated: Option<Mono>,
    /// Timestamp of the last initiation under each of our keys.
    pub(super) stamps: Vec<(PublicKey, Tai64n)>,
    /// Whether [`Event::Up`] was the last said of it.
    pub(super) up: bool,
    /// When a move of its endpoint was last reported.
    moved: Option<Mono>,
    last_handshake: Option<Mono>,
    pub(super) last_received: Option<Mono>,
    pub(super) received_bytes: u64,
    pub(super) arrivals: Arrivals,
    pub(super) sent_bytes: u64,
}

impl Peer {
    /// A peer that nothing has been sent to. With a persistent keepalive it is called at once.
    pub(super) fn new(config: PeerConfig, common: &mut Common, now: Mono) -> Self {
        let mut peer = Self {
            endpoint: config.endpoint,
            sessions: Sessions::default(),
            pending: None,
            pairs: pairs(&config, common.own()),
            remotes: Vec::new(),
            timers: Timers::new(config.keepalive),
            scheduled: NEVER,
            staged: VecDeque::new(),
            unanswered: None,
            attempts: 0,
            made_way: false,
            initiated: None,
            stamps: Vec::new(),
            up: false,
            moved: None,
            last_handshake: None,
            last_received: None,
            received_bytes: 0,
            arrivals: Arrivals::default(),
            sent_bytes: 0,
            config,
        };
        if peer.config.keepalive.is_some() {
            peer.want_handshake(common, now);
        }
        peer
    }

    /// Takes a new configuration of the same peer. A pair of keys that holds no more takes its sessions along; another PSK of a pair
    /// that still holds ends them all; both call it anew. Another suite and a better key of ours call it anew too, but the session is
    /// used until there is a new one: it is as good as on the day it was made, and the two ends hardly learn of the change at the
    /// same moment. Another endpoint counts only if the configuration changed, so that it does not undo a move.
    pub(super) fn update(&mut self, config: PeerConfig, common: &mut Common, now: Mono) {
        let old = std::mem::replace(&mut self.config, config);
        let former = std::mem::replace(&mut self.pairs, pairs(&self.config, common.own()));
        self.remotes.retain(|remote| self.pairs.iter().any(|pair| pair.remote == remote.key));
        if self.config.endpoint != old.endpoint && self.config.endpoint.is_some() {
            self.endpoint = self.config.endpoint;
        }
        self.timers.set_interval(self.config.keepalive, now);
        self.follow(&former, self.config.suite != old.suite, common, now);
        if self.config.keepalive.is_some() && self.sessions.current().is_none() {
            self.want_handshake(common, now);
        }
        self.schedule(common);
    }

    /// Ends sessions that do not hold any more, and calls where the pairs of keys or the suite ask for another session.
    fn follow(&mut self, former: &[KeyPair], another_suite: bool, common: &mut Common, now: Mono) {
        let same = |a: &KeyPair, b: &KeyPair| a.own == b.own && a.remote == b.remote;
        let pairs = &self.pairs;
        let another_psk = former.iter().any(|was| pairs.iter().any(|is| same(was, is) && was.psk != is.psk));
        let pair_gone = former.iter().any(|was| !pairs.iter().any(|is| same(was, is)));
        let better_key = pairs.first().map(|pair| pair.own) != former.first().map(|pair| pair.own);
        if !(another_psk || pair_gone || better_key || another_suite) {
            return;
        }
        let wanted = !self.sessions.is_empty() || self.timers.initiate != NEVER;
        let before = self.sessions.current().map(|session| session.local);
        if another_psk {
            self.end_sessions(common);
            self.timers.clear();
        } else if pair_gone {
            self.end_unheld(common);
        }
        let lost = self.sessions.current().map(|session| session.local) != before;
        self.forget_pending(common);
        self.unanswered = None;
        self.attempts = 0;
        if wanted && (another_psk || another_suite || lost) {
            // At once, whenever the last initiation was: that one was for another session.
            self.timers.initiate = now;
        } else if wanted && better_key {
            // The peer learns of a key of ours in the same moment as we do, and has to know of it first.
            self.timers.initiate = now + KEY_KNOWN;
        }
    }

    /// Sees to it that it is looked at when its nearest deadline comes.
    pub(super) fn schedule(&mut self, common: &mut Common) {
        let next = self.timers.next();
        if next < self.scheduled {
            self.scheduled = next;
            common.schedule.add(next, self.config.slot);
        }
    }

    /// The schedule says that it is to be looked at, as it was told for `due`. Does what is due, if it still is
    /// the time that counts.
    pub(super) fn wake(&mut self, due: Mono, common: &mut Common, now: Mono, wall: Wall) {
        if self.scheduled != due {
            return;
        }
        // What happens meanwhile needs no entry of its own: the one below is made when everything is done.
        self.handle_timeout(common, now, wall);
        self.scheduled = NEVER;
        self.schedule(common);
    }

    /// Ends everything: for a peer that is one no more.
    pub(super) fn end(&mut self, common: &mut Common) {
        self.end_sessions(common);
        self.drop_staged(common);
        common.schedule.forget(self.config.slot);
    }

    /// Wipes all sessions and the handshake under way.
    pub(super) fn end_sessions(&mut self, common: &mut Common) {
        let ended = self.sessions.clear();
        self.ended(ended, common);
    }

    /// No session is left to send in.
    pub(super) fn ended(&mut self, ended: Ended, common: &mut Common) {
        common.free(ended);
        self.forget_pending(common);
        if std::mem::take(&mut self.up) {
            common.report(Event::Down { peer: self.config.slot });
        }
    }

    /// Wipes the sessions that were made under pairs of keys that hold no more.
    fn end_unheld(&mut self, common: &mut Common) {
        let Self { sessions, pairs, .. } = self;
        common.free(sessions.keep(|(own, remote)| pairs.iter().any(|p| p.own == *own && p.remote == *remote)));
        if self.sessions.current().is_none() && std::mem::take(&mut self.up) {
            common.report(Event::Down { peer: self.config.slot });
        }
    }

    /// Wipes the handshake under way.
    pub(super) fn forget_pending(&mut self, common: &mut Common) {
        common.free([self.pending.take().map(|pending| pending.index)]);
    }

    /// Sees to it that a handshake starts, no sooner than the last initiation allows (whitepaper 6.2). The initiation itself is
    /// made by the timers, where the wall clock is known.
    pub(super) fn want_handshake(&mut self, common: &mut Common, now: Mono) {
        if self.timers.initiate == NEVER && self.endpoint.is_some() {
            self.timers.initiate = self.initiated.map_or(now, |last| now.max(last + REKEY_TIMEOUT));
            if self.sessions.usable(now).is_some()
                && let Some(next) = self.sessions.next()
            {
                // The peer has called just now, and its first message is on its way.
                let patience = REKEY_TIMEOUT.saturating_sub(next.age(now));
                self.timers.initiate = self.timers.initiate.max(now + patience);
            }
            self.schedule(common);
        }
    }

    /// A handshake came to its end.
    pub(super) fn handshake_done(&mut self, common: &mut Common, now: Mono) {
        self.timers.initiate = NEVER;
        self.unanswered = None;
        self.attempts = 0;
        self.made_way = false;
        self.last_handshake = Some(now);
        if !std::mem::replace(&mut self.up, true) {
            common.report(Event::Up { peer: self.config.slot });
        }
    }

    /// Keeps a payload until there is a session; the oldest goes when there are too many.
    pub(super) fn stage(&mut self, staged: Staged, common: &mut Common) {
        if self.staged.len() >= STAGED {
            self.staged.pop_front();
            common.dropped(DropReason::StagedOverflow);
        }
        self.staged.push_back(staged);
    }

    /// Gives up what waits.
    pub(super) fn drop_staged(&mut self, common: &mut Common) {
        for _ in self.staged.drain(..) {
            common.dropped(DropReason::StagedGivenUp);
        }
    }

    /// The PSK of a pair of keys; none: the pair does not hold.
    pub(super) fn psk(&self, (own, remote): &Pair) -> Option<&[u8; 32]> {
        let pair = self.pairs.iter().find(|pair| pair.own == *own && pair.remote == *remote)?;
        Some(pair.psk.as_ref().map_or(&NO_PSK, |psk| psk.expose()))
    }

    /// What belongs to one of the peer's keys.
    pub(super) fn remote(&mut self, key: PublicKey) -> &mut Remote {
        let known = self.remotes.iter().position(|remote| remote.key == key);
        let at = known.unwrap_or_else(|| {
            self.remotes.push(Remote { key, jar: Jar::new(&key), callers: Callers::default() });
            self.remotes.len() - 1
        });
        &mut self.remotes[at]
    }

    /// How it is.
    pub(super) fn status(&self, now: Mono) -> PeerStatus {
        PeerStatus {
            endpoint: self.endpoint,
            suite: self.config.suite,
            up: self.sessions.current().is_some_and(|session| session.usable(now)),
            keys: self.sessions.current().map(|session| session.pair),
            last_handshake: self.last_handshake,
            last_received: self.last_received,
            handshaking_since: self.unanswered,
            staged: self.staged.len(),
            received_bytes: self.received_bytes,
            arrivals: self.arrivals,
            sent_bytes: self.sent_bytes,
        }
    }

    /// Follows the peer to where it proved to be.
    pub(super) fn moved_to(&mut self, to: SocketAddr, common: &mut Common, now: Mono) {
        let from = self.endpoint.replace(to);
        if self.moved.is_none_or(|last| now.since(last) >= MOVE_EVENT_INTERVAL) {
            self.moved = Some(now);
            common.report(Event::EndpointMoved { peer: self.config.slot, from, to });
        }
    }
}

/// All pairs of keys that hold, best first: those of a change, and the two in force.
fn pairs(config: &PeerConfig, own: PublicKey) -> Vec<KeyPair> {
    let in_force = KeyPair { own, remote: config.public_key, psk: config.psk.clone() };
    config.changing.iter().cloned().chain([in_force]).collect()
}
