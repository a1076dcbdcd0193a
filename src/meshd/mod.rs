//! Ring 4: shell of the node daemon.
pub mod lane;
