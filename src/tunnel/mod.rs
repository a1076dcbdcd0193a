//! Ring 2: WireGuard without I/O, byte for byte (the whitepaper of 2020-06-01): bytes, time and randomness come in, bytes and
//! events go out. The only module that touches an AEAD.
//!
//! One [`Tunnels`] holds all peers of one lane. It owns no socket, no clock and no thread; whoever owns those drives it:
//!
//! ```text
//! loop {
//!     wait for the socket, the TAP, or tunnels.poll_timeout()
//!     each datagram received:  tunnels.open(from, datagram, now, wall)   -> a payload for the guests, or nothing
//!     each payload to send:    tunnels.seal(peer, buf, len, now)         -> a datagram in place, or it waits for a handshake
//!     tunnels.handle_timeout(now, wall)                                  -> whatever is due
//!     while tunnels.poll_transmit() gives a datagram: send it
//!     while tunnels.poll_event() gives an event: log it
//! }
//! ```
//!
//! | what | where |
//! |---|---|
//! | bytes of the four messages, numbers of the protocol | `message`, `limits` |
//! | Noise handshake | `noise`, `chain`, `aead`, `tai64n` |
//! | MACs, cookies, load | `mac`, `cookie`, `load` |
//! | a secret of two static keys outside of sessions | `agree` |
//! | a session, its replay window, a peer's sessions | `session`, `window` |
//! | a peer: state, handshakes, data, deadlines | `peer`, `handshake`, `transport`, `clockwork`, `timers` |
//! | all peers: dispatch, protection against strangers | `tunnels`, `index`, `common`, `outbox` |
//!
//! Sealing and opening in an established session allocates nothing and searches nothing: a peer is found by its slot or by a
//! random index in a flat table, the session is one of three, the AEAD works in the caller's buffer, and a deadline is a number
//! written to the peer. Payloads are bytes; what is in them (forms A and B) is the business of `forward`.

mod aead;
mod agree;
mod callers;
mod chain;
mod clockwork;
mod common;
mod cookie;
mod drops;
mod handshake;
mod index;
mod interface;
mod limits;
mod load;
mod mac;
mod message;
mod noise;
mod outbox;
mod peer;
mod replies;
mod schedule;
mod session;
mod tai64n;
mod timers;
mod transport;
mod tunnels;
mod window;

pub use self::agree::{agree, is_sound};
pub use self::drops::{DropReason, Drops};
pub use self::interface::{
    Arrivals, Counters, Event, HEADROOM, Open, OwnKey, PeerConfig, PeerStatus, Random, Refusal, Seal, TAILROOM,
    Transmit,
};
pub use self::message::{TAG, is_call};
pub use self::tunnels::{Tunnels, public_key};
pub use crate::table::{KeyPair, Suite};

#[cfg(test)]
mod tests;
