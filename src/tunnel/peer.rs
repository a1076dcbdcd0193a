//! One peer: its keys, sessions, handshake, timers, and what waits for it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::common::Common;
use super::cookie::Jar;
use super::drops::DropReason;
use super::interface::{Event, PeerConfig, PeerStatus};
use super::limits::{MOVE_EVENT_INTERVAL, REKEY_TIMEOUT, STAGED};
use super::noise::{Initiator, NO_PSK};
use super::session::Sessions;
use super::tai64n::Tai64n;
use super::timers::{NEVER, Timers};
use crate::types::{Mono, Wall};

/// An initiation that waits for its response.
pub(super) struct Pending {
    pub(super) index: u32,
    pub(super) noise: Initiator,
}

/// A payload that waits for a session, with headroom before it and all the room after it that its buffer had (up to the
/// tailroom), so that it is sealed where it lies.
pub(super) struct Staged {
    pub(super) buf: Vec<u8>,
    pub(super) len: usize,
}

/// A peer and everything known of it.
pub(super) struct Peer {
    pub(super) config: PeerConfig,
    /// Where it is: as configured, or where it was last heard.
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) sessions: Sessions,
    pub(super) pending: Option<Pending>,
    pub(super) jar: Jar,
    pub(super) timers: Timers,
    /// When the schedule will have it looked at: not after its nearest deadline.
    scheduled: Mono,
    pub(super) staged: VecDeque<Staged>,
    /// Since when our initiations go unanswered.
    pub(super) unanswered: Option<Mono>,
    /// When we last sent an initiation, and its timestamp.
    pub(super) initiated: Option<(Mono, Tai64n)>,
    /// When we last accepted an initiation, and its timestamp.
    pub(super) accepted: Option<(Mono, Tai64n)>,
    /// Whether [`Event::Up`] was the last said of it.
    pub(super) up: bool,
    /// When a move of its endpoint was last reported.
    moved: Option<Mono>,
    last_handshake: Option<Mono>,
    pub(super) last_received: Option<Mono>,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
}

impl Peer {
    /// A peer that nothing has been sent to. With a persistent keepalive it is called at once.
    pub(super) fn new(config: PeerConfig, common: &mut Common, now: Mono) -> Self {
        let mut peer = Self {
            endpoint: config.endpoint,
            sessions: Sessions::default(),
            pending: None,
            jar: Jar::new(&config.public_key),
            timers: Timers::new(config.keepalive),
            scheduled: NEVER,
            staged: VecDeque::new(),
            unanswered: None,
            initiated: None,
            accepted: None,
            up: false,
            moved: None,
            last_handshake: None,
            last_received: None,
            received_bytes: 0,
            sent_bytes: 0,
            config,
        };
        if peer.config.keepalive.is_some() {
            peer.want_handshake(common, now);
        }
        peer
    }

    /// Takes a new configuration of the same key. Another PSK ends its sessions and calls it anew. Another suite calls it anew too,
    /// but the session is used until there is a new one: it is as good as on the day it was made, and the two ends hardly
    /// learn of the change at the same moment. Another endpoint counts only if the configuration changed, so that it does not
    /// undo a move.
    pub(super) fn update(&mut self, config: PeerConfig, common: &mut Common, now: Mono) {
        let old = std::mem::replace(&mut self.config, config);
        if self.config.endpoint != old.endpoint && self.config.endpoint.is_some() {
            self.endpoint = self.config.endpoint;
        }
        self.timers.set_interval(self.config.keepalive, now);
        let another_psk = self.config.psk != old.psk;
        if another_psk || self.config.suite != old.suite {
            let wanted = !self.sessions.is_empty() || self.timers.initiate != NEVER;
            if another_psk {
                self.end_sessions(common);
                self.timers.clear();
            }
            self.forget_pending(common);
            self.unanswered = None;
            if wanted {
                // At once, whenever the last initiation was: that one was for another session.
                self.timers.initiate = now;
            }
        }
        if self.config.keepalive.is_some() && self.sessions.is_empty() {
            self.want_handshake(common, now);
        }
        self.schedule(common);
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
        common.free(self.sessions.clear());
        self.forget_pending(common);
        if std::mem::take(&mut self.up) {
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
            self.timers.initiate = self.initiated.map_or(now, |(last, _)| now.max(last + REKEY_TIMEOUT));
            self.schedule(common);
        }
    }

    /// A handshake came to its end.
    pub(super) fn handshake_done(&mut self, common: &mut Common, now: Mono) {
        self.timers.initiate = NEVER;
        self.unanswered = None;
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

    /// The PSK of the pair.
    pub(super) fn psk(&self) -> &[u8; 32] {
        self.config.psk.as_ref().map_or(&NO_PSK, |psk| psk.expose())
    }

    /// How it is.
    pub(super) fn status(&self, now: Mono) -> PeerStatus {
        PeerStatus {
            endpoint: self.endpoint,
            suite: self.config.suite,
            up: self.sessions.current().is_some_and(|session| session.usable(now)),
            last_handshake: self.last_handshake,
            last_received: self.last_received,
            handshaking_since: self.unanswered,
            staged: self.staged.len(),
            received_bytes: self.received_bytes,
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
