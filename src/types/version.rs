//! The version of a slice: monotone on every node.

use std::fmt;

use serde::{Deserialize, Serialize};

/// (incarnation, revision), compared in that order. The revision is the store's; the incarnation is raised when a store is
/// restored from a backup, so that a node never takes an older truth for a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Raised by a restore. Starts at 1; 0 is a slice that came from table files.
    pub incarnation: u64,
    /// Raised by each change.
    pub revision: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.incarnation, self.revision)
    }
}
