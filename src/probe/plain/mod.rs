//! The plain path to each peer, watched by echoes through the very kernel that carries the guests' frames: packet filters of this host,
//! the bridge, the vxlan device, the wire, and the same again at the other end. No I/O here: frames, time and randomness go in, frames
//! and what is known come out.
//!
//! ```text
//!             answered                 lost                 nothing is answered
//!   Calm <──────────────> (every 5 s) ─────> Check ──────────────────────────────> Quiet
//!    ^                                        │ ^                                    │
//!    │  every flow, and the size              │ └────────────── anything is answered │
//!    ├────────────────────────────────────────┤
//!    │  exact                                 │ small echoes alone are answered
//!    └──────────────────────────────────── Search
//! ```
//!
//! | what | where |
//! |---|---|
//! | an echo as bytes, and its proof | `message` |
//! | one peer | `pair` |
//! | all peers of an overlay | `watch` |

mod message;
mod middle;
mod pair;
mod scatter;
mod watch;

pub use self::message::{FLOWS, PairKey};
pub use self::pair::{PairConfig, Report, Theirs, Told};
pub use self::watch::{Out, Watch};

#[cfg(test)]
mod tests;
