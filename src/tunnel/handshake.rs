//! A peer's part in handshakes: making and answering messages 1 and 2 (whitepaper 5.4, 6.2 to 6.4).

use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::callers::From;
use super::common::Common;
use super::drops::DropReason;
use super::interface::Transmit;
use super::limits::{CALLS_UNDER_A_PAIR, REKEY_TIMEOUT};
use super::message::{Kind, initiation, response};
use super::noise::{Failed, Initiator, Keys, Responder};
use super::peer::{Peer, Pending};
use super::session::{Made, Pair, Role, Session};
use super::tai64n::Tai64n;
use super::timers::NEVER;
use crate::types::{Mono, PublicKey, Wall};

impl Peer {
    /// Sends an initiation and sets the time of the next. An earlier one is forgotten: its response comes too late now.
    pub(super) fn initiate(&mut self, common: &mut Common, now: Mono, wall: Wall) {
        let Some(to) = self.endpoint else { return };
        self.forget_pending(common);
        self.timers.jitter = common.jitter();
        self.timers.initiate = now + REKEY_TIMEOUT + self.timers.jitter;
        self.unanswered.get_or_insert(now);
        let pair = self.choose(now);
        self.attempts = self.attempts.saturating_add(1);
        self.made_way = false;
        let stamp = self.stamp(pair.0, common, wall);
        self.initiated = Some(now);
        let Ok(datagram) = self.initiation(common, pair, stamp, now) else {
            // The key was checked when it was configured, so that no handshake with it can fail at its first message.
            common.dropped(DropReason::SealFailed);
            return;
        };
        self.timers.sent(now);
        common.counters.initiations_sent += 1;
        common.send(Transmit { to, datagram });
    }

    /// The pair of keys to call under: the best; but while one end changes its key the other may not know yet, so that after some
    /// calls without an answer the next best has its turn. Where a session is there to be used meanwhile there is time.
    fn choose(&mut self, now: Mono) -> Pair {
        let patience = if self.sessions.usable(now).is_some() { CALLS_UNDER_A_PAIR } else { 1 };
        let nth = usize::from(self.attempts / patience) % self.pairs.len().max(1);
        self.pairs.get(nth).map_or((self.config.public_key, self.config.public_key), |pair| (pair.own, pair.remote))
    }

    /// The timestamp of an initiation under our key `own`: later than all before it under this key.
    fn stamp(&mut self, own: PublicKey, common: &Common, wall: Wall) -> Tai64n {
        let floor = common.identity(&own).and_then(|identity| identity.floor);
        let last = self.stamps.iter().find(|(key, _)| *key == own).map(|(_, stamp)| *stamp);
        let stamp = Tai64n::after(last.max(floor), wall);
        self.stamps.retain(|(key, _)| *key != own && common.identity(key).is_some());
        self.stamps.push((own, stamp));
        stamp
    }

    fn initiation(&mut self, common: &mut Common, pair: Pair, stamp: Tai64n, now: Mono) -> Result<Vec<u8>, Failed> {
        let ephemeral = common.ephemeral();
        let (own, remote) = pair;
        let identity = common.identity(&own).ok_or(Failed)?;
        let (noise, message) = Initiator::start(self.config.suite, identity, &remote, ephemeral, stamp)?;
        let index = common.new_index(self.config.slot);
        let mut datagram = vec![0; initiation::LEN];
        datagram[..4].copy_from_slice(&Kind::Initiation.tag());
        datagram[initiation::SENDER].copy_from_slice(&index.to_le_bytes());
        datagram[initiation::NOISE].copy_from_slice(&message);
        self.remote(remote).jar.fill(&mut datagram, now);
        self.pending = Some(Pending { index, noise, pair });
        Ok(datagram)
    }

    /// Answers an initiation to our key `own` that is authentic; `remote` is the index that it gave.
    ///
    /// The answer goes to where the initiation came from, and that is all that is done for it: it can be replayed (to another lane, or
    /// after a restart), or come from somebody who has the peer's private key and no PSK. Endpoint, timers and the mark of its
    /// timestamps follow the first data message of the session that it asks for, which is neither.
    pub(super) fn answer(
        &mut self,
        responder: Responder,
        own: PublicKey,
        remote: u32,
        from: SocketAddr,
        common: &mut Common,
        now: Mono,
    ) -> Result<(), DropReason> {
        let pair = (own, responder.peer);
        let psk = Zeroizing::new(*self.psk(&pair).ok_or(DropReason::UnknownPeer)?);
        let known = self.endpoint.is_some_and(|endpoint| endpoint.ip() == from.ip());
        let whence = if known { From::Known } else { From::Elsewhere };
        let stamp = responder.stamp;
        self.remote(responder.peer).callers.take(stamp, whence, now)?;
        let (keys, message) = responder.respond(&psk).map_err(|Failed| DropReason::HandshakeForged)?;
        let local = common.new_index(self.config.slot);
        let session = self.session(keys, pair, Role::Responder, local, remote, now);
        common.free(self.sessions.responded(session.called(stamp, known), whence));
        let mut datagram = vec![0; response::LEN];
        datagram[..4].copy_from_slice(&Kind::Response.tag());
        datagram[response::SENDER].copy_from_slice(&local.to_le_bytes());
        datagram[response::RECEIVER].copy_from_slice(&remote.to_le_bytes());
        datagram[response::NOISE].copy_from_slice(&message);
        self.remote(pair.1).jar.fill(&mut datagram, now);
        self.timers.keys_may_be(now);
        if known {
            self.leave_it_to_the_peer(common, now);
        }
        self.schedule(common);
        common.counters.initiations_accepted += 1;
        common.send(Transmit { to: from, datagram });
        Ok(())
    }

    /// Takes the response to our initiation; `remote` is the index that it gave. A forged one leaves the handshake waiting.
    pub(super) fn response(
        &mut self,
        datagram: &[u8; response::LEN],
        remote: u32,
        from: SocketAddr,
        common: &mut Common,
        now: Mono,
    ) -> Result<(), DropReason> {
        let pending = self.pending.take().ok_or(DropReason::UnknownIndex)?;
        let message = super::message::field(datagram, response::NOISE);
        let Some(psk) = self.psk(&pending.pair).map(|psk| Zeroizing::new(*psk)) else {
            common.free([Some(pending.index)]);
            return Err(DropReason::UnknownIndex);
        };
        let Ok(keys) = pending.noise.finish(&psk, &message) else {
            self.pending = Some(pending);
            return Err(DropReason::HandshakeForged);
        };
        // The index lives on as the session's.
        let session = self.session(keys, pending.pair, self.role(common), pending.index, remote, now);
        common.free(self.sessions.initiated(session, now));
        if self.endpoint != Some(from) {
            self.moved_to(from, common, now);
        }
        self.last_received = Some(now);
        self.timers.received(now);
        self.timers.keys_made(now);
        common.counters.responses_accepted += 1;
        self.handshake_done(common, now);
        self.flush(common, now);
        Ok(())
    }

    /// The peer has just called, so our own call can wait until that one has come to nothing. Only while there is a session, and once: an
    /// initiation may be a replay that we cannot know for one after a restart, or a thief's, and must not silence us.
    fn leave_it_to_the_peer(&mut self, common: &mut Common, now: Mono) {
        if self.timers.initiate != NEVER && !self.made_way && self.sessions.usable(now).is_some() {
            self.made_way = true;
            self.timers.initiate = self.timers.initiate.max(now + REKEY_TIMEOUT + common.jitter());
        }
    }

    /// Our part in a session that we initiated. An answered call of the peer that waits for its first message means that both
    /// called at once; both ends then agree by their keys who goes first the next time.
    fn role(&self, common: &Common) -> Role {
        let crossed = self.sessions.next().is_some();
        if crossed && common.own() < self.config.public_key { Role::Yielding } else { Role::Initiator }
    }

    fn session(&self, keys: Keys, pair: Pair, role: Role, local: u32, remote: u32, now: Mono) -> Session {
        Session::new(Made { suite: self.config.suite, keys, pair, role, local, remote, now })
    }
}
