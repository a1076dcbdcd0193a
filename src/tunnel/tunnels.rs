//! All tunnels of one lane behind one socket: which peer a packet belongs to, and what protects against strangers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::common::Common;
use super::cookie::Checker;
use super::drops::DropReason;
use super::interface::{Counters, Event, Open, OwnKey, PeerConfig, PeerStatus, Random, Refusal, Seal, Transmit};
use super::load::{self, Load, Sources};
use super::message::{Kind, cookie, data, index, initiation, response};
use super::noise::{Identity, Responder};
use super::peer::Peer;
use super::replies::Replies;
use super::tai64n::Tai64n;
use super::timers::NEVER;
use crate::table::Suite;
use crate::types::{Mono, PeerSlot, PublicKey, SecretKey, Wall};

/// The public key of `secret` (RFC 7748 section 6.1).
pub fn public_key(secret: &SecretKey) -> PublicKey {
    let secret = x25519_dalek::StaticSecret::from(*secret.expose());
    PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
}

/// The static keys of a peer.
fn keys_of(peer: &PeerConfig) -> impl Iterator<Item = PublicKey> {
    std::iter::once(peer.public_key).chain(peer.changing.iter().map(|pair| pair.remote))
}

/// All tunnels of one lane. See the [module](super) for how it is driven.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Tunnels {
    common: Common,
    /// By slot.
    peers: Vec<Option<Box<Peer>>>,
    by_key: BTreeMap<PublicKey, PeerSlot>,
    /// The suites that peers have, each once: what an initiation may be in.
    suites: BTreeSet<Suite>,
    /// One for each of the node's static keys, in their order.
    checkers: Vec<Checker>,
    load: Load,
    sources: Sources,
    replies: Replies,
}

impl Tunnels {
    /// Tunnels of the node whose static key is `secret`, without peers.
    pub fn new(secret: SecretKey, random: Box<dyn Random + Send>, now: Mono) -> Self {
        let mut tunnels = Self {
            checkers: Vec::new(),
            common: Common::new(random),
            peers: Vec::new(),
            by_key: BTreeMap::new(),
            suites: BTreeSet::new(),
            load: Load::new(now),
            sources: load::sources(now),
            replies: Replies::new(now),
        };
        tunnels.set_keys(&[OwnKey { secret, floor: Wall::default() }]);
        tunnels
    }

    /// Sets the node's static keys: the one in force, and behind it one that is to follow, which counts with the peers whose
    /// configuration names it. Call [`Self::set_peers`] right after it.
    pub fn set_keys(&mut self, keys: &[OwnKey]) {
        let publics: Vec<PublicKey> = keys.iter().map(|key| public_key(&key.secret)).collect();
        if keys.is_empty() {
            return;
        }
        let identity = |(key, public): (&OwnKey, PublicKey)| {
            let floor = (key.floor > Wall::default()).then(|| Tai64n::after(None, key.floor));
            Identity { public, secret: key.secret.clone(), floor }
        };
        if !self.common.identities.iter().map(|identity| identity.public).eq(publics.iter().copied()) {
            self.checkers = publics.iter().map(Checker::new).collect();
        }
        self.common.identities = keys.iter().zip(publics).map(identity).collect();
    }

    /// Sets how many handshake initiations a second, all sources together, put this end under load (default 256).
    pub const fn set_load_limit(&mut self, per_second: u32) {
        self.load.set_limit(per_second);
    }

    /// Sets who the peers are. A peer with unchanged key, PSK and suite keeps its session; a changed PSK or suite ends the
    /// session and calls the peer anew; a peer that is missing is refused from now on, in both directions.
    pub fn set_peers(&mut self, peers: Vec<PeerConfig>, now: Mono) {
        let accepted = self.accept(peers);
        let configs: BTreeMap<PeerSlot, &PeerConfig> = accepted.iter().map(|p| (p.slot, p)).collect();
        let stays = |old: &Peer| {
            let new = configs.get(&old.config.slot);
            new.is_some_and(|new| keys_of(new).any(|key| keys_of(&old.config).any(|known| known == key)))
        };
        for peer in &mut self.peers {
            if let Some(mut gone) = peer.take_if(|peer| !stays(peer)) {
                gone.end(&mut self.common);
            }
        }
        self.by_key = accepted.iter().flat_map(|peer| keys_of(peer).map(|key| (key, peer.slot))).collect();
        self.suites = accepted.iter().map(|p| p.suite).collect();
        for config in accepted {
            self.set_peer(config, now);
        }
    }

    /// The usable ones of `peers`; the others are reported.
    fn accept(&mut self, peers: Vec<PeerConfig>) -> Vec<PeerConfig> {
        let (mut slots, mut keys) = (BTreeSet::new(), BTreeSet::new());
        let mut accepted = Vec::with_capacity(peers.len());
        for peer in peers {
            let own: BTreeSet<_> = keys_of(&peer).collect();
            let refusal = if own.iter().any(|key| self.common.identity(key).is_some()) {
                Some(Refusal::OwnKey)
            } else if own.iter().any(|key| !self.by_key.contains_key(key) && self.is_weak(key)) {
                Some(Refusal::WeakKey)
            } else if !slots.insert(peer.slot) {
                Some(Refusal::DuplicateSlot)
            } else if own.iter().any(|key| keys.contains(key)) {
                Some(Refusal::DuplicateKey)
            } else {
                keys.extend(own);
                None
            };
            match refusal {
                Some(why) => self.common.report(Event::Refused { peer: peer.slot, why }),
                None => accepted.push(peer),
            }
        }
        accepted
    }

    /// Whether the shared secret with this key is one that everybody knows.
    fn is_weak(&self, key: &PublicKey) -> bool {
        let contributes = |identity: &Identity| {
            let secret = x25519_dalek::StaticSecret::from(*identity.secret.expose());
            secret.diffie_hellman(&x25519_dalek::PublicKey::from(key.0)).was_contributory()
        };
        !self.common.identities.first().is_some_and(contributes)
    }

    fn set_peer(&mut self, config: PeerConfig, now: Mono) {
        let slot = config.slot;
        if self.peers.len() <= slot.index() {
            self.peers.resize_with(slot.index() + 1, || None);
        }
        match &mut self.peers[slot.index()] {
            Some(peer) => peer.update(config, &mut self.common, now),
            empty @ None => {
                *empty = Some(Box::new(Peer::new(config, &mut self.common, now)));
            }
        }
    }

    /// Seals the payload `buf[HEADROOM..HEADROOM + len]` in place. [`Seal::Ready`] says how much of `buf` is the datagram.
    ///
    /// Padding to a multiple of 16 goes as far as `buf` reaches and no further: a `buf` that is cut to what the path carries
    /// keeps the datagram within it (as Linux clamps padding to the MTU). `buf` holds at least header, payload and tag.
    ///
    /// Without a session a copy of the payload is kept (64 a peer, the oldest goes first) and a handshake begins:
    /// [`Self::poll_timeout`] is due at once then.
    pub fn seal(&mut self, peer: PeerSlot, buf: &mut [u8], len: usize, now: Mono) -> Seal {
        let sealed = match self.peers.get_mut(peer.index()).and_then(Option::as_deref_mut) {
            Some(peer) => peer.seal(buf, len, &mut self.common, now),
            None => Seal::Dropped(DropReason::NoPeer),
        };
        if let Seal::Dropped(reason) = sealed {
            self.common.dropped(reason);
        }
        sealed
    }

    /// Takes a received datagram, whole and alone. A payload is decrypted in place; after anything else the datagram's
    /// contents are not to be used. Answers, if any, wait in [`Self::poll_transmit`].
    pub fn open<'a>(&mut self, from: SocketAddr, datagram: &'a mut [u8], now: Mono, wall: Wall) -> Open<'a> {
        let opened = match Kind::of(datagram) {
            Some(Kind::Data) => self.data(from, datagram, now),
            Some(Kind::Initiation) => self.initiation(from, datagram, now).map(|()| Open::Nothing),
            Some(Kind::Response) => self.response(from, datagram, now).map(|()| Open::Nothing),
            Some(Kind::Cookie) => self.cookie(datagram, now).map(|()| Open::Nothing),
            None => Err(DropReason::Malformed),
        };
        if self.common.schedule.next() <= now {
            self.handle_timeout(now, wall);
        }
        opened.unwrap_or_else(|reason| Open::Dropped(self.common.dropped(reason)))
    }

    fn peer_of(&mut self, local: u32) -> Result<(&mut Peer, &mut Common), DropReason> {
        let slot = self.common.indices.get(local).ok_or(DropReason::UnknownIndex)?;
        let peer = self.peers.get_mut(slot.index()).and_then(Option::as_deref_mut).ok_or(DropReason::UnknownIndex)?;
        Ok((peer, &mut self.common))
    }

    fn data<'a>(&mut self, from: SocketAddr, datagram: &'a mut [u8], now: Mono) -> Result<Open<'a>, DropReason> {
        let (peer, common) = self.peer_of(index(datagram, data::RECEIVER))?;
        peer.open(from, datagram, common, now)
    }

    /// Cheap refusals first: a MAC, then (under load) a second MAC and the source's allowance, then the handshake.
    fn initiation(&mut self, from: SocketAddr, datagram: &[u8], now: Mono) -> Result<(), DropReason> {
        let of = self.checkers.iter().position(|checker| checker.first_holds(datagram));
        let of = of.ok_or(DropReason::WrongMac1)?;
        let remote = index(datagram, initiation::SENDER);
        if self.load.count(now) {
            self.demand_cookie(of, from, datagram, now)?;
            if !self.sources.allow(from.ip(), now) {
                return Err(DropReason::SourceLimited);
            }
        }
        let (suite, responder) = self.read_initiation(of, datagram)?;
        let own = self.common.identities[of].public;
        let slot = self.by_key.get(&responder.peer).ok_or(DropReason::UnknownPeer)?;
        let peer = self.peers.get_mut(slot.index()).and_then(Option::as_deref_mut).ok_or(DropReason::UnknownPeer)?;
        if peer.config.suite != suite {
            return Err(DropReason::WrongSuite);
        }
        peer.answer(responder, own, remote, from, &mut self.common, now)
    }

    /// Passes who sends our cookie back, sends it to everybody else, as often as [`Replies`] allows.
    fn demand_cookie(&mut self, of: usize, from: SocketAddr, datagram: &[u8], now: Mono) -> Result<(), DropReason> {
        let Common { random, .. } = &mut self.common;
        let checker = &mut self.checkers[of];
        if checker.second_holds(datagram, from, now, random.as_mut()) {
            return Ok(());
        }
        let endpoints = self.peers.iter().flatten().filter_map(|peer| peer.endpoint);
        if !self.replies.allow(from.ip(), now, endpoints) {
            return Err(DropReason::CookieDemanded);
        }
        let remote = index(datagram, initiation::SENDER);
        if let Some(reply) = checker.reply(datagram, remote, from, now, random.as_mut()) {
            self.common.counters.cookies_sent += 1;
            self.common.send(Transmit { to: from, datagram: reply.to_vec() });
        }
        Err(DropReason::CookieDemanded)
    }

    /// The wire does not say the suite, so each that some peer has is tried: one more X25519 for the second.
    fn read_initiation(&mut self, of: usize, datagram: &[u8]) -> Result<(Suite, Responder), DropReason> {
        // Nobody is known yet, so it was not tried: the caller may be a peer of the table that is on its way.
        if self.suites.is_empty() {
            return Err(DropReason::UnknownPeer);
        }
        let message = super::message::field(datagram, initiation::NOISE);
        for &suite in &self.suites {
            let ephemeral = self.common.ephemeral();
            if let Ok(responder) = Responder::read(suite, &self.common.identities[of], ephemeral, &message) {
                return Ok((suite, responder));
            }
        }
        Err(DropReason::HandshakeForged)
    }

    /// A response must name an initiation of ours that still waits. Its 32-bit index is a nonce that only the way to the peer has
    /// seen, so load does not matter here: an answer that we asked for is never put off.
    fn response(&mut self, from: SocketAddr, datagram: &[u8], now: Mono) -> Result<(), DropReason> {
        if !self.checkers.iter().any(|checker| checker.first_holds(datagram)) {
            return Err(DropReason::WrongMac1);
        }
        let message: &[u8; response::LEN] = datagram.try_into().map_err(|_| DropReason::Malformed)?;
        let local = index(message, response::RECEIVER);
        let (peer, common) = self.peer_of(local)?;
        if peer.pending.as_ref().is_none_or(|pending| pending.index != local) {
            return Err(DropReason::UnknownIndex);
        }
        peer.response(message, index(message, response::SENDER), from, common, now)
    }

    fn cookie(&mut self, datagram: &[u8], now: Mono) -> Result<(), DropReason> {
        let (peer, common) = self.peer_of(index(datagram, cookie::RECEIVER))?;
        if !peer.remotes.iter_mut().any(|remote| remote.jar.accept(datagram, now)) {
            return Err(DropReason::WrongCookie);
        }
        common.counters.cookies_accepted += 1;
        Ok(())
    }

    /// Does what is due: initiations, keepalives, giving up, wiping. Harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Mono, wall: Wall) {
        // Bounded, should a deadline ever be set to a time that is past.
        for _ in 0..self.common.schedule.len() {
            let Some((due, slot)) = self.common.schedule.take_due(now) else { break };
            if let Some(peer) = self.peers.get_mut(slot.index()).and_then(Option::as_deref_mut) {
                peer.wake(due, &mut self.common, now, wall);
            }
        }
    }

    /// When to call [`Self::handle_timeout`] next; in the past if it is overdue. None: nothing will ever be due by itself.
    pub fn poll_timeout(&self) -> Option<Mono> {
        Some(self.common.schedule.next()).filter(|next| *next < NEVER)
    }

    /// The next datagram to send, until there is none.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.common.outbox.datagram()
    }

    /// The next event, until there is none.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.common.outbox.event()
    }

    /// How a peer is; none if the slot holds none.
    pub fn status(&self, peer: PeerSlot, now: Mono) -> Option<PeerStatus> {
        self.peers.get(peer.index()).and_then(Option::as_deref).map(|peer| peer.status(now))
    }

    /// Counters since the start.
    pub const fn counters(&self) -> &Counters {
        &self.common.counters
    }
}

#[cfg(test)]
impl Tunnels {
    /// A peer, for tests that look inside.
    pub(super) fn peer_mut(&mut self, slot: PeerSlot) -> &mut Peer {
        self.peers[slot.index()].as_deref_mut().unwrap()
    }

    /// How often a deadline had a peer looked at.
    pub(super) const fn looked_at(&self) -> u64 {
        self.common.schedule.taken
    }

    /// How many looks are planned.
    pub(super) fn looks_to_come(&self) -> usize {
        self.common.schedule.len()
    }

    /// How many indices name something.
    pub(super) const fn indices_used(&self) -> usize {
        self.common.indices.used()
    }
}
