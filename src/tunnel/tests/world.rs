//! The world of the tests: time that goes when told to, dice in place of randomness, two ends, and the wire between them.

use std::net::SocketAddr;
use std::time::Duration;

use crate::tunnel::{
    Counters, DropReason, Event, HEADROOM, Open, PeerConfig, PeerStatus, Random, Seal, Suite, TAILROOM, Transmit,
    Tunnels, public_key,
};
use crate::types::{Mono, PeerSlot, Psk, PublicKey, SecretKey, Wall};

/// Reproducible bytes (SplitMix64).
pub(in crate::tunnel) struct Dice(u64);

impl Dice {
    pub(in crate::tunnel) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let roll = self.roll().to_le_bytes();
            chunk.copy_from_slice(&roll[..chunk.len()]);
        }
    }
}

/// The slot that each end has the other in.
pub(super) const PEER: PeerSlot = PeerSlot(3);

pub(super) fn secret(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

pub(super) fn key(byte: u8) -> PublicKey {
    public_key(&secret(byte))
}

pub(super) fn address(byte: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, byte], 51820))
}

/// A peer at [`address`] with [`key`] of the same byte.
pub(super) fn config(byte: u8) -> PeerConfig {
    PeerConfig {
        slot: PEER,
        public_key: key(byte),
        psk: None,
        suite: Suite::Chacha,
        endpoint: Some(address(byte)),
        keepalive: None,
        changing: Vec::new(),
    }
}

/// One end: its tunnels, and what it has received.
pub(super) struct End {
    pub(super) byte: u8,
    pub(super) tunnels: Tunnels,
    pub(super) got: Vec<Vec<u8>>,
    pub(super) events: Vec<Event>,
}

impl End {
    pub(super) fn new(byte: u8, now: Mono) -> Self {
        let tunnels = Tunnels::new(secret(byte), Box::new(Dice::new(byte.into())), now);
        Self { byte, tunnels, got: Vec::new(), events: Vec::new() }
    }

    pub(super) fn drops(&self, reason: DropReason) -> u64 {
        self.tunnels.counters().drops.get(reason)
    }

    pub(super) fn counters(&self) -> Counters {
        *self.tunnels.counters()
    }

    /// Seals a payload; gives the datagram if there was a session.
    pub(super) fn seal(&mut self, payload: &[u8], now: Mono) -> Result<Transmit, Seal> {
        let mut buf = vec![0xee; HEADROOM + payload.len() + TAILROOM];
        buf[HEADROOM..HEADROOM + payload.len()].copy_from_slice(payload);
        match self.tunnels.seal(PEER, &mut buf, payload.len(), now) {
            Seal::Ready { len, to } => {
                buf.truncate(len);
                Ok(Transmit { to, datagram: buf })
            }
            other @ (Seal::Queued | Seal::Dropped(_)) => Err(other),
        }
    }

    /// Takes a datagram; keeps the payload.
    pub(super) fn take(&mut self, from: SocketAddr, datagram: &[u8], now: Mono, wall: Wall) -> Result<(), DropReason> {
        let mut datagram = datagram.to_vec();
        match self.tunnels.open(from, &mut datagram, now, wall) {
            Open::Payload { peer, payload } => {
                assert_eq!(peer, PEER);
                self.got.push(payload.to_vec());
                Ok(())
            }
            Open::Nothing => Ok(()),
            Open::Dropped(reason) => Err(reason),
        }
    }

    pub(super) fn status(&self, now: Mono) -> PeerStatus {
        self.tunnels.status(PEER, now).unwrap()
    }

    pub(super) fn events(&mut self) -> &[Event] {
        while let Some(event) = self.tunnels.poll_event() {
            self.events.push(event);
        }
        &self.events
    }
}

/// A datagram on the wire.
#[derive(Clone, Debug)]
pub(super) struct OnWire {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) datagram: Vec<u8>,
}

/// Two ends, `a` at address 1 and `b` at address 2.
pub(super) struct World {
    pub(super) a: End,
    pub(super) b: End,
    pub(super) now: Mono,
    pub(super) wall: Wall,
    /// Everything that was ever sent.
    pub(super) captured: Vec<OnWire>,
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self::strangers();
        world.a.tunnels.set_peers(vec![config(2)], world.now);
        world.b.tunnels.set_peers(vec![config(1)], world.now);
        world
    }

    /// Two ends that do not know each other.
    pub(super) fn strangers() -> Self {
        let now = Mono::from_nanos(1_000_000_000_000);
        let wall = Wall::from_secs(1_700_000_000);
        Self { a: End::new(1, now), b: End::new(2, now), now, wall, captured: Vec::new() }
    }

    pub(super) fn with(a: impl Fn(PeerConfig) -> PeerConfig, b: impl Fn(PeerConfig) -> PeerConfig) -> Self {
        let mut world = Self::strangers();
        world.a.tunnels.set_peers(vec![a(config(2))], world.now);
        world.b.tunnels.set_peers(vec![b(config(1))], world.now);
        world
    }

    /// Two ends with a session that `a` initiated.
    pub(super) fn up() -> Self {
        let mut world = Self::new();
        world.say_a(b"hello");
        world.settle();
        assert!(world.a.status(world.now).up && world.b.status(world.now).up);
        world.b.got.clear();
        world
    }

    /// A session in which everything has been answered.
    pub(super) fn quiet() -> Self {
        let mut world = Self::up();
        world.live(Duration::from_secs(11));
        world
    }

    /// Lets timers fire that are due, and takes what both ends have to send.
    pub(super) fn sent(&mut self) -> Vec<OnWire> {
        let mut sent = Vec::new();
        for end in [&mut self.a, &mut self.b] {
            end.tunnels.handle_timeout(self.now, self.wall);
            while let Some(Transmit { to, datagram }) = end.tunnels.poll_transmit() {
                sent.push(OnWire { from: address(end.byte), to, datagram });
            }
        }
        self.captured.extend(sent.iter().cloned());
        sent
    }

    /// Brings a datagram to whoever has its address.
    pub(super) fn deliver(&mut self, packet: &OnWire) -> Result<(), DropReason> {
        let end = if packet.to == address(1) { &mut self.a } else { &mut self.b };
        end.take(packet.from, &packet.datagram, self.now, self.wall)
    }

    /// Delivers until nothing more is sent.
    pub(super) fn settle(&mut self) {
        loop {
            let sent = self.sent();
            if sent.is_empty() {
                break;
            }
            for packet in sent {
                let _ = self.deliver(&packet);
            }
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.wall = self.wall + time;
    }

    pub(super) fn pass_secs(&mut self, secs: u64) {
        self.pass(Duration::from_secs(secs));
    }

    /// Time passes in steps of 100 ms with a perfect wire.
    pub(super) fn live(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.pass(Duration::from_millis(100));
            self.settle();
        }
    }

    /// Time passes in steps of 100 ms with a wire that loses everything; gives what was lost with its time.
    pub(super) fn silence(&mut self, time: Duration) -> Vec<(Mono, OnWire)> {
        let until = self.now + time;
        let mut lost = Vec::new();
        while self.now < until {
            self.pass(Duration::from_millis(100));
            lost.extend(self.sent().into_iter().map(|packet| (self.now, packet)));
        }
        lost
    }

    /// `a` sends a payload; with a session it is delivered at once.
    pub(super) fn say_a(&mut self, payload: &[u8]) {
        let sealed = self.a.seal(payload, self.now);
        self.carry(address(1), sealed);
    }

    /// `b` sends a payload; with a session it is delivered at once.
    pub(super) fn say_b(&mut self, payload: &[u8]) {
        let sealed = self.b.seal(payload, self.now);
        self.carry(address(2), sealed);
    }

    fn carry(&mut self, from: SocketAddr, sealed: Result<Transmit, Seal>) {
        if let Ok(Transmit { to, datagram }) = sealed {
            let packet = OnWire { from, to, datagram };
            self.captured.push(packet.clone());
            self.deliver(&packet).unwrap();
        }
    }
}

/// A configuration with a PSK of this byte.
pub(super) fn psk(byte: u8) -> impl Fn(PeerConfig) -> PeerConfig {
    move |config| PeerConfig { psk: Some(Psk::from_bytes([byte; 32])), ..config }
}

pub(super) fn same(config: PeerConfig) -> PeerConfig {
    config
}

/// A payload as it arrives: padded with zeros to a multiple of 16.
pub(super) fn padded(payload: &[u8]) -> Vec<u8> {
    let mut padded = payload.to_vec();
    padded.resize(payload.len().next_multiple_of(16), 0);
    padded
}
