//! All tunnels of one lane behind one socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::drops::DropReason;
use super::interface::{Counters, Event, Open, PeerConfig, PeerStatus, Random, Seal, Transmit};
use crate::types::{Mono, PeerSlot, PublicKey, SecretKey, Wall};

/// The public key of `secret` (RFC 7748 section 6.1).
pub fn public_key(secret: &SecretKey) -> PublicKey {
    let secret = x25519_dalek::StaticSecret::from(*secret.expose());
    PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
}

/// All tunnels of one lane.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Tunnels {
    peers: BTreeMap<PeerSlot, PeerConfig>,
    counters: Counters,
}

impl Tunnels {
    /// Tunnels of the node whose static key is `secret`, without peers.
    pub fn new(_secret: SecretKey, _random: Box<dyn Random + Send>, _now: Mono) -> Self {
        Self { peers: BTreeMap::new(), counters: Counters::default() }
    }

    /// Sets who the peers are. Sessions of unchanged peers stay; those of others end at once.
    pub fn set_peers(&mut self, peers: Vec<PeerConfig>, _now: Mono) {
        self.peers = peers.into_iter().map(|p| (p.slot, p)).collect();
    }

    /// Seals the payload `buf[HEADROOM..HEADROOM + len]` in place.
    pub fn seal(&mut self, peer: PeerSlot, _buf: &mut [u8], _len: usize, _now: Mono) -> Seal {
        let reason = if self.peers.contains_key(&peer) { DropReason::NoEndpoint } else { DropReason::NoPeer };
        self.counters.drops.count(reason);
        Seal::Dropped(reason)
    }

    /// Takes a received datagram.
    pub fn open<'a>(&mut self, _from: SocketAddr, _datagram: &'a mut [u8], _now: Mono, _wall: Wall) -> Open<'a> {
        self.counters.drops.count(DropReason::UnknownIndex);
        Open::Dropped(DropReason::UnknownIndex)
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, _now: Mono, _wall: Wall) {}

    /// When [`Self::handle_timeout`] has something to do; may be in the past.
    pub fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// How a peer is.
    pub fn status(&self, _peer: PeerSlot, _now: Mono) -> Option<PeerStatus> {
        None
    }

    /// Counters since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
