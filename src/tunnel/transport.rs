//! A peer's data: sealing, opening, keepalives, and what waited for a session (whitepaper 5.4.6, 6.2, 6.5).
//!
//! `seal` and `open` of an established session touch the peer, its session and the caller's buffer: no allocation, no search.

use std::net::SocketAddr;

use super::common::Common;
use super::drops::DropReason;
use super::interface::{HEADROOM, Open, Seal, TAILROOM, Transmit};
use super::message::{TAG, data, read_data};
use super::peer::{Peer, Staged};
use super::session::Place;
use crate::types::Mono;

impl Peer {
    /// Seals `buf[HEADROOM..HEADROOM + len]`, or keeps a copy until it can be.
    pub(super) fn seal(&mut self, buf: &mut [u8], len: usize, common: &mut Common, now: Mono) -> Seal {
        let Some(to) = self.endpoint else { return Seal::Dropped(DropReason::NoEndpoint) };
        if len > buf.len().saturating_sub(HEADROOM + TAG) {
            return Seal::Dropped(DropReason::NoRoom);
        }
        match self.seal_now(buf, len, common, now) {
            Some(Ok(len)) => Seal::Ready { len, to },
            Some(Err(reason)) => Seal::Dropped(reason),
            None => {
                let room = buf.len().min(HEADROOM + len + TAILROOM);
                self.stage(Staged { buf: buf[..room].to_vec(), len }, common);
                self.want_handshake(common, now);
                Seal::Queued
            }
        }
    }

    /// Seals in the current session, if there is a usable one.
    fn seal_now(
        &mut self,
        buf: &mut [u8],
        len: usize,
        common: &mut Common,
        now: Mono,
    ) -> Option<Result<usize, DropReason>> {
        let session = self.sessions.usable(now)?;
        let sealed = match session.seal(buf, len) {
            Ok(sealed) => sealed,
            Err(reason) => return Some(Err(reason)),
        };
        let stale = session.stale_on_send(now);
        self.timers.sent(now);
        if len > 0 {
            self.timers.data_sent(now);
            common.counters.sealed += 1;
        } else {
            common.counters.keepalives_sent += 1;
        }
        self.sent_bytes += sealed as u64;
        self.schedule(common);
        if stale {
            self.want_handshake(common, now);
        }
        Some(Ok(sealed))
    }

    /// Opens a data message whose receiver index is this peer's.
    pub(super) fn open<'a>(
        &mut self,
        from: SocketAddr,
        datagram: &'a mut [u8],
        common: &mut Common,
        now: Mono,
    ) -> Result<Open<'a>, DropReason> {
        let (local, _) = read_data(datagram);
        let bytes = datagram.len() as u64;
        let (session, place) = self.sessions.find(local).ok_or(DropReason::UnknownIndex)?;
        let (payload, ahead) = session.open(datagram, now)?;
        let stale = session.stale_on_receive(now);
        if let Some((remote, stamp)) = session.shown() {
            self.remote(remote).callers.confirm(stamp);
        }
        if place == Place::Next {
            common.free(self.sessions.confirmed(local, now));
            self.timers.keys_made(now);
            self.forget_pending(common);
            self.handshake_done(common, now);
        }
        // Only the newest packet of the newest session moves the endpoint: a late one tells where the peer was.
        if ahead > 0 && place != Place::Previous && self.endpoint != Some(from) {
            self.moved_to(from, common, now);
        }
        self.received_bytes += bytes;
        self.arrivals.sealed = self.arrivals.sealed.saturating_add(ahead);
        self.arrivals.accepted += 1;
        self.last_received = Some(now);
        self.timers.received(now);
        if payload.is_empty() {
            common.counters.keepalives_received += 1;
        } else {
            common.counters.opened += 1;
            self.timers.data_received(now);
        }
        self.schedule(common);
        if stale {
            self.want_handshake(common, now);
        }
        if place == Place::Next {
            self.flush_staged(common, now);
        }
        Ok(if payload.is_empty() { Open::Nothing } else { Open::Payload { peer: self.config.slot, payload } })
    }

    /// After our handshake: sends what waited, or else a keepalive, which tells the peer that we have the session.
    pub(super) fn flush(&mut self, common: &mut Common, now: Mono) {
        if self.staged.is_empty() {
            self.keepalive(common, now);
        } else {
            self.flush_staged(common, now);
        }
    }

    fn flush_staged(&mut self, common: &mut Common, now: Mono) {
        while let Some(staged) = self.staged.pop_front() {
            self.send_staged(staged, common, now);
        }
    }

    /// Sends an empty payload; without a session, asks for one.
    pub(super) fn keepalive(&mut self, common: &mut Common, now: Mono) {
        if self.sessions.usable(now).is_some() {
            self.send_staged(Staged { buf: vec![0; data::MIN], len: 0 }, common, now);
        } else {
            self.want_handshake(common, now);
        }
    }

    fn send_staged(&mut self, staged: Staged, common: &mut Common, now: Mono) {
        let Staged { mut buf, len } = staged;
        let sealed = self.seal_now(&mut buf, len, common, now).unwrap_or(Err(DropReason::StagedGivenUp));
        match (sealed, self.endpoint) {
            (Ok(sealed), Some(to)) => {
                buf.truncate(sealed);
                common.send(Transmit { to, datagram: buf });
            }
            (Err(reason), _) => {
                common.dropped(reason);
            }
            (Ok(_), None) => {
                common.dropped(DropReason::NoEndpoint);
            }
        }
    }
}
