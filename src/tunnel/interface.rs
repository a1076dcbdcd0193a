//! What the owner of a socket hands in and gets back: configuration, results of sealing and opening, events, status, counters.

use std::net::SocketAddr;
use std::time::Duration;

use super::drops::{DropReason, Drops};
use crate::table::{KeyPair, Suite};
use crate::types::{Mono, PeerSlot, Psk, PublicKey, SecretKey, Wall};

/// Bytes before the payload that [`Tunnels::seal`](super::Tunnels::seal) fills with the data message's header.
pub const HEADROOM: usize = 16;

/// Bytes after the payload that sealing may fill: up to 15 of padding, 16 of tag.
pub const TAILROOM: usize = 15 + 16;

/// Randomness, passed in. It must be cryptographically strong: ephemeral keys and session indices are made of it.
pub trait Random {
    /// Fills all of `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

/// A peer as the table states it.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct PeerConfig {
    /// Where the peer is kept, for the life of the process.
    pub slot: PeerSlot,
    /// Its static key.
    pub public_key: PublicKey,
    /// The key that only this pair has; none is WireGuard's all-zero PSK.
    pub psk: Option<Psk>,
    /// The suite of the pair. The wire never says it.
    pub suite: Suite,
    /// Where it is expected; an authenticated packet from elsewhere moves it. None for a peer that always calls first.
    pub endpoint: Option<SocketAddr>,
    /// Persistent keepalive: send something at least this often, for NAT on the way.
    pub keepalive: Option<Duration>,
    /// Further pairs of keys that may make sessions while one of the two ends changes its key, best first. Each is better than
    /// the pair of this node's key in force and `public_key`.
    pub changing: Vec<KeyPair>,
}

/// One of the node's own static keys.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct OwnKey {
    /// The key.
    pub secret: SecretKey,
    /// Timestamps of initiations under it may have reached up to this, before this process. Peers accept only later ones, so
    /// where the clock was ahead once, they go on from here.
    pub floor: Wall,
}

/// What became of a payload to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// `buf[..len]` is a datagram for `to`.
    Ready {
        /// Length of the datagram in bytes.
        len: usize,
        /// Where to send it.
        to: SocketAddr,
    },
    /// A copy is kept until the handshake is done; then [`Tunnels::poll_transmit`](super::Tunnels::poll_transmit) hands it out.
    Queued,
    /// It goes nowhere.
    Dropped(DropReason),
}

/// What a received datagram was.
#[derive(Debug, PartialEq, Eq)]
pub enum Open<'a> {
    /// Data that the peer sent, decrypted in place.
    Payload {
        /// Who sent it, proved by the AEAD.
        peer: PeerSlot,
        /// The payload, with up to 15 zero bytes of padding at its end: the inner headers know their length.
        payload: &'a mut [u8],
    },
    /// Handshake, cookie or keepalive: accepted, nothing to forward.
    Nothing,
    /// Refused.
    Dropped(DropReason),
}

/// A datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// The whole UDP payload.
    pub datagram: Vec<u8>,
}

/// What happened that somebody may want to log or act on. Never more than one an occasion, none per packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A session is established where there was none.
    Up {
        /// With whom.
        peer: PeerSlot,
    },
    /// There is no session any more, and its keys are wiped: none came after it in three times 180 s, or its peer was removed
    /// or got another PSK or suite.
    Down {
        /// With whom.
        peer: PeerSlot,
    },
    /// No answer to any initiation for 90 s: staged payloads are dropped, and the next payload starts over.
    GaveUp {
        /// With whom.
        peer: PeerSlot,
    },
    /// The peer proved that it is somewhere else now.
    EndpointMoved {
        /// Who.
        peer: PeerSlot,
        /// From where; none if it was not known before.
        from: Option<SocketAddr>,
        /// To where.
        to: SocketAddr,
    },
    /// The configuration of a peer cannot be used; the slot stays empty.
    Refused {
        /// Which.
        peer: PeerSlot,
        /// Why.
        why: Refusal,
    },
}

/// Why a peer's configuration cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another peer of the same list has the key.
    #[error("another peer has the same public key")]
    DuplicateKey,
    /// Another peer of the same list has the slot.
    #[error("another peer has the same slot")]
    DuplicateSlot,
    /// It is this node's own key.
    #[error("the public key is this node's own")]
    OwnKey,
    /// The key is a point of low order: everybody would know the shared secret.
    #[error("the public key is a point of low order")]
    WeakKey,
}

/// How a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerStatus {
    /// Where it was last heard, or else is expected.
    pub endpoint: Option<SocketAddr>,
    /// The suite stated for the pair.
    pub suite: Suite,
    /// Whether a payload would be sealed now.
    pub up: bool,
    /// Under which of this node's keys and which of the peer's the session was made that payloads are sealed in.
    pub keys: Option<(PublicKey, PublicKey)>,
    /// When the last handshake was completed.
    pub last_handshake: Option<Mono>,
    /// When anything authentic last arrived.
    pub last_received: Option<Mono>,
    /// Since when a handshake goes unanswered.
    pub handshaking_since: Option<Mono>,
    /// Payloads waiting for the handshake.
    pub staged: usize,
    /// UDP payload bytes of data messages received.
    pub received_bytes: u64,
    /// How many data messages of the peer have arrived, and how many it must have made.
    pub arrivals: Arrivals,
    /// UDP payload bytes of data messages sealed.
    pub sent_bytes: u64,
}

/// Data messages of a peer since the start, over all its sessions. What the second number lacks was lost, or is still on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrivals {
    /// How many the peer has sealed, up to the newest that arrived: each has the next counter of its session (whitepaper 5.4.6).
    pub sealed: u64,
    /// How many of them were accepted, each once.
    pub accepted: u64,
}

/// Counters since the start. Plain numbers; the owner sums them over lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Handshake initiations sent.
    pub initiations_sent: u64,
    /// Handshake initiations accepted and answered.
    pub initiations_accepted: u64,
    /// Handshake responses accepted.
    pub responses_accepted: u64,
    /// Cookie replies sent.
    pub cookies_sent: u64,
    /// Cookie replies accepted.
    pub cookies_accepted: u64,
    /// Keepalives sent.
    pub keepalives_sent: u64,
    /// Keepalives received.
    pub keepalives_received: u64,
    /// Payloads sealed.
    pub sealed: u64,
    /// Payloads opened.
    pub opened: u64,
    /// What was dropped, by reason.
    pub drops: Drops,
}
