//! Why a packet went no further, and how often.

/// Why a packet was dropped. Every exit of the tunnel is a packet handed on or one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Received: not one of WireGuard's four messages (type, reserved bytes or length).
    Malformed,
    /// Received: the first MAC of a handshake message is not made with our public key.
    WrongMac1,
    /// Received: no valid second MAC while under load; a cookie reply was sent where its source may have one.
    CookieDemanded,
    /// Received: the source proved its address, and sends more handshakes than one source may while we are under load.
    SourceLimited,
    /// Received: a handshake message does not authenticate (another PSK, another suite, another key, or a forgery).
    HandshakeForged,
    /// Received: an initiation from a static key that is no peer's.
    UnknownPeer,
    /// Received: an initiation in a suite that is not the one stated for this peer.
    WrongSuite,
    /// Received: an initiation whose timestamp is not later than the last one accepted from this peer.
    StaleTimestamp,
    /// Received: an initiation too soon after the peer's last one.
    PeerLimited,
    /// Received: the receiver index names no session and no handshake of ours.
    UnknownIndex,
    /// Received: a cookie reply that answers nothing we sent, or does not authenticate.
    WrongCookie,
    /// Received: the session is older than 180 s.
    SessionExpired,
    /// Received: a counter beyond the message limit.
    CounterLimit,
    /// Received: a counter already seen, or older than the replay window.
    Replayed,
    /// Received: the data does not authenticate.
    DataForged,
    /// To send: the slot holds no peer.
    NoPeer,
    /// To send: the peer has no endpoint yet.
    NoEndpoint,
    /// To send: the buffer has no room for header, payload and tag.
    NoRoom,
    /// To send: the AEAD refused to seal.
    SealFailed,
    /// To send: waiting for a handshake, pushed out by a younger payload.
    StagedOverflow,
    /// To send: waiting for a handshake that was given up, or for a peer that was removed.
    StagedGivenUp,
    /// To send: more datagrams and events wait to be fetched than are kept.
    OutboxFull,
}

impl DropReason {
    /// All of them, in the order of their counters.
    pub const ALL: [Self; 22] = [
        Self::Malformed,
        Self::WrongMac1,
        Self::CookieDemanded,
        Self::SourceLimited,
        Self::HandshakeForged,
        Self::UnknownPeer,
        Self::WrongSuite,
        Self::StaleTimestamp,
        Self::PeerLimited,
        Self::UnknownIndex,
        Self::WrongCookie,
        Self::SessionExpired,
        Self::CounterLimit,
        Self::Replayed,
        Self::DataForged,
        Self::NoPeer,
        Self::NoEndpoint,
        Self::NoRoom,
        Self::SealFailed,
        Self::StagedOverflow,
        Self::StagedGivenUp,
        Self::OutboxFull,
    ];

    /// The name in metrics and status output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::WrongMac1 => "wrong-mac1",
            Self::CookieDemanded => "cookie-demanded",
            Self::SourceLimited => "source-limited",
            Self::HandshakeForged => "handshake-forged",
            Self::UnknownPeer => "unknown-peer",
            Self::WrongSuite => "wrong-suite",
            Self::StaleTimestamp => "stale-timestamp",
            Self::PeerLimited => "peer-limited",
            Self::UnknownIndex => "unknown-index",
            Self::WrongCookie => "wrong-cookie",
            Self::SessionExpired => "session-expired",
            Self::CounterLimit => "counter-limit",
            Self::Replayed => "replayed",
            Self::DataForged => "data-forged",
            Self::NoPeer => "no-peer",
            Self::NoEndpoint => "no-endpoint",
            Self::NoRoom => "no-room",
            Self::SealFailed => "seal-failed",
            Self::StagedOverflow => "staged-overflow",
            Self::StagedGivenUp => "staged-given-up",
            Self::OutboxFull => "outbox-full",
        }
    }
}

/// How often each [`DropReason`] happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Drops {
    /// Counts one.
    pub(super) const fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// How often `reason` happened.
    pub const fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.get(reason)))
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
#[path = "drops_tests.rs"]
mod tests;
