//! Ring 2: WireGuard without I/O, byte for byte: bytes, time and randomness come in, bytes and events go out.
//! The only module that touches an AEAD.

mod drops;
mod interface;
mod tunnels;

pub use self::drops::{DropReason, Drops};
pub use self::interface::{
    Counters, Event, HEADROOM, Open, PeerConfig, PeerStatus, Random, Refusal, Seal, TAILROOM, Transmit,
};
pub use self::tunnels::{Tunnels, public_key};
pub use crate::table::Suite;
