//! Dense indices that the control plane gives once and the data plane uses instead of names.

/// A peer, for the life of the process. Given once to a node's name and never to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerSlot(pub u16);

/// A network, for the life of the process. Given once to an (overlay, VNI) and never to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetSlot(pub u16);

impl PeerSlot {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl NetSlot {
    /// As an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}
