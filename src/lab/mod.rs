//! Ring 4: a whole multi-PDC mesh in network namespaces on one machine, made of the same programs and commands that an operator
//! uses. The demo, the tests on the real kernel and the benchmarks stand on it.
//!
//! [`layout`] decides every name and address and does nothing; [`wires`] makes namespaces and cables, [`daemons`] enrols and
//! starts the programs, [`state`] remembers what there is so that [`down`] can take it away after any crash.

pub mod classify;
pub mod daemons;
pub mod demo;
pub mod down;
mod error;
pub mod layout;
pub mod ping;
pub mod process;
pub mod progress;
pub mod report;
pub mod shell;
pub mod state;
pub mod status;
pub mod traffic;
pub mod transfer;
pub mod up;
pub mod watch;
pub mod wires;

pub use self::error::LabError;
