//! Ring 2: path MTU discovery without I/O: DPLPMTUD (RFC 8899) over echoes inside the tunnel.
//!
//! Sizes are bytes of the outer IP packet, as in `docs/mtu.md`.

mod interface;

pub use self::interface::{BASE, PathConfig, Phase, Status};
