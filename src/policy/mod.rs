//! Ring 1: the decisions people argue about, as pure functions with truth tables.
//!
//! [`path`] says how a frame goes from one node to another; [`mtu`] does the byte arithmetic; [`steady`] says which measured
//! sizes count; [`offload`] says what the kernel is trusted with; [`sources`] and [`quiet`] say how much one source may cause.
//! Nothing here knows a socket, an interface or a clock, so each rule can be read, and tested, on one page.

pub mod mtu;
pub mod offload;
pub mod path;
pub mod quiet;
pub mod sources;
pub mod steady;
