//! What the owner of the paths hands in and gets back.

use crate::types::{Mono, PeerSlot};

/// What every path is taken to carry (RFC 8899 section 5.1.2, `BASE_PLPMTU`): the outer IP packet, in bytes, over either family. A
/// path that carries less is one that does not work.
pub const BASE: u16 = 1200;

/// A path as the control plane states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathConfig {
    /// Whose tunnel it carries.
    pub peer: PeerSlot,
    /// MTU of the interface that it leaves by, or the number that the operator has set instead: nothing larger is tried.
    pub interface_mtu: u16,
    /// What it is used for until it is measured: what the guest MTUs of the networks that it carries were computed for.
    pub assumed: u16,
}

/// Where the measuring of a path stands (RFC 8899 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing but the base size is known to pass, or nothing is measured yet.
    Base,
    /// Larger sizes than the one in use are being tried.
    Searching,
    /// The size is exact: one byte more did not pass.
    Complete,
    /// No probe of any size is answered. The size stays what it was: measured before, or else computed.
    Error,
}

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What is sent at most, in bytes of the outer IP packet. Known to pass, but in [`Phase::Error`] and before the first answer.
    pub size: u16,
    /// Where the measuring stands.
    pub phase: Phase,
    /// Since when `size` is what it is.
    pub since: Mono,
    /// The largest size worth trying: MTU of the interface.
    pub largest: u16,
    /// Since when nothing is answered: when the first of these probes left.
    pub silent: Option<Mono>,
    /// Where no probe of [`BASE`] bytes and more is answered: the largest below that is, in bytes of the outer IP packet.
    pub little: Option<u16>,
    /// Probes were lost that left after something of the peer had arrived again: it is what is sent from here that does not arrive.
    pub one_way: bool,
    /// When the newest probe left that was answered; before the first answer, when the session began.
    pub answered: Mono,
    /// A probe was lost, and is sent again.
    pub doubted: bool,
    /// Anything was ever answered. A foreign peer may never answer, and carry all the same.
    pub answers: bool,
}

/// A probe to send: an echo request that fills an outer IP packet of exactly this size, alone in its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// To whom.
    pub peer: PeerSlot,
    /// Bytes of the outer IP packet.
    pub size: u16,
    /// What the answer will say.
    pub token: u64,
}

/// A path has another size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// To whom.
    pub peer: PeerSlot,
    /// What may be sent from now on, in bytes of the outer IP packet.
    pub size: u16,
    /// The size that was settled before, where this one is settled now and another: worth telling a person.
    pub settled: Option<u16>,
}
