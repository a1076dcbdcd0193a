//! Ring 2: path MTU discovery without I/O: DPLPMTUD (RFC 8899) over echoes inside the tunnel.
//!
//! Sizes are bytes of the outer IP packet, as in `docs/mtu.md`. Nothing but an answered probe says that a size passes, and nothing
//! but lost probes beside answered ones says that it does not: messages of routers are not needed.
//!
//! ```text
//!            session up                     answered                    size + 1 is answered
//!   Off ──────────────────> Confirm ───────────────────────> Rest <──────── Raise ────────┐
//!                              │  ^                           │ ^  due ──────^            │
//!                      timeout │  └───────── due ─────────────┘ │ exact                   │
//!                              v                                │                         v
//!          Silent <───────── Doubt ──── the base size alone is answered: fall ────────> Search
//!          nothing is answered: keep the size
//! ```
//!
//! | what | where |
//! |---|---|
//! | what the owner hands in and gets back | `interface` |
//! | the paths of a lane, and which of them is due | `paths` |
//! | one path | `machine` |
//! | which sizes are tried next | `sizes` |
//! | probes under way, and how long to wait for one | `flights`, `rtt` |
//! | the same question for the plain path, which no tunnel carries | [`plain`] |
//! | what crosses a bridge of this host, and what is dropped there | [`crossing`] |

pub mod crossing;
mod flights;
mod interface;
mod machine;
mod paths;
pub mod plain;
mod rtt;
mod sizes;

pub use self::interface::{BASE, Change, PathConfig, Phase, Probe, Status};
pub use self::paths::Paths;

#[cfg(test)]
mod tests;
