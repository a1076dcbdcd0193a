//! Ring 2: sans-IO control plane of a node.

pub mod enroll;
pub mod explain;
pub mod names;
pub mod paths;
pub mod sync;
