//! A peer's part in handshakes: making and answering messages 1 and 2 (whitepaper 5.4, 6.2 to 6.4).

use std::net::SocketAddr;

use super::common::Common;
use super::drops::DropReason;
use super::interface::Transmit;
use super::limits::{INITIATION_INTERVAL, REKEY_TIMEOUT};
use super::message::{Kind, initiation, response};
use super::noise::{Failed, Initiator, Keys, Responder};
use super::peer::{Peer, Pending};
use super::session::{Made, Session};
use super::tai64n::Tai64n;
use crate::types::{Mono, Wall};

impl Peer {
    /// Sends an initiation and sets the time of the next. An earlier one is forgotten: its response comes too late now.
    pub(super) fn initiate(&mut self, common: &mut Common, now: Mono, wall: Wall) {
        let Some(to) = self.endpoint else { return };
        self.forget_pending(common);
        self.timers.jitter = common.jitter();
        self.timers.initiate = now + REKEY_TIMEOUT + self.timers.jitter;
        self.unanswered.get_or_insert(now);
        let stamp = Tai64n::after(self.initiated.map(|(_, stamp)| stamp), wall);
        self.initiated = Some((now, stamp));
        let Ok(datagram) = self.initiation(common, stamp, now) else {
            // The key was checked when it was configured, so that no handshake with it can fail at its first message.
            common.dropped(DropReason::SealFailed);
            return;
        };
        self.timers.sent(now);
        common.counters.initiations_sent += 1;
        common.send(Transmit { to, datagram });
    }

    fn initiation(&mut self, common: &mut Common, stamp: Tai64n, now: Mono) -> Result<Vec<u8>, Failed> {
        let ephemeral = common.ephemeral();
        let (noise, message) =
            Initiator::start(self.config.suite, &common.identity, &self.config.public_key, ephemeral, stamp)?;
        let index = common.new_index(self.config.slot);
        let mut datagram = vec![0; initiation::LEN];
        datagram[..4].copy_from_slice(&Kind::Initiation.tag());
        datagram[initiation::SENDER].copy_from_slice(&index.to_le_bytes());
        datagram[initiation::NOISE].copy_from_slice(&message);
        self.jar.fill(&mut datagram, now);
        self.pending = Some(Pending { index, noise });
        Ok(datagram)
    }

    /// Answers an initiation that is authentic; `remote` is the index that it gave.
    ///
    /// The answer goes to where the initiation came from, but a known endpoint stays: an initiation can be replayed (to another
    /// lane, or after a restart), the peer's first data message in the session that it asks for cannot.
    pub(super) fn answer(
        &mut self,
        responder: Responder,
        remote: u32,
        from: SocketAddr,
        common: &mut Common,
        now: Mono,
    ) -> Result<(), DropReason> {
        if let Some((last, stamp)) = self.accepted {
            if responder.stamp <= stamp {
                return Err(DropReason::StaleTimestamp);
            }
            if now.since(last) < INITIATION_INTERVAL {
                return Err(DropReason::PeerLimited);
            }
        }
        self.accepted = Some((now, responder.stamp));
        let (keys, message) = responder.respond(self.psk()).map_err(|Failed| DropReason::HandshakeForged)?;
        let local = common.new_index(self.config.slot);
        let session = self.session(keys, false, local, remote, now);
        common.free(self.sessions.responded(session));
        let mut datagram = vec![0; response::LEN];
        datagram[..4].copy_from_slice(&Kind::Response.tag());
        datagram[response::SENDER].copy_from_slice(&local.to_le_bytes());
        datagram[response::RECEIVER].copy_from_slice(&remote.to_le_bytes());
        datagram[response::NOISE].copy_from_slice(&message);
        self.jar.fill(&mut datagram, now);
        self.endpoint.get_or_insert(from);
        self.timers.received(now);
        self.timers.sent(now);
        self.timers.keys_made(now);
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
        let mut pending = self.pending.take().ok_or(DropReason::UnknownIndex)?;
        let message = super::message::field(datagram, response::NOISE);
        let Ok(keys) = pending.noise.finish(self.psk(), &message) else {
            self.pending = Some(pending);
            return Err(DropReason::HandshakeForged);
        };
        // The index lives on as the session's.
        let session = self.session(keys, true, pending.index, remote, now);
        common.free(self.sessions.initiated(session));
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

    fn session(&self, keys: Keys, initiator: bool, local: u32, remote: u32, now: Mono) -> Session {
        Session::new(Made { suite: self.config.suite, keys, initiator, local, remote, now })
    }
}
