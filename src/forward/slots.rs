//! Gives names their dense indices. A slot belongs to one name for the life of the process: a removed peer's slot is never
//! given to another, so a lane that is one table behind can only miss a peer, never mistake it.

use std::collections::BTreeMap;

use crate::table::{NetKey, Slice};
use crate::types::{NetSlot, NodeId, PeerSlot};

/// The slots given so far.
#[derive(Debug, Clone, Default)]
pub struct Slots {
    peers: BTreeMap<NodeId, PeerSlot>,
    nets: BTreeMap<NetKey, NetSlot>,
    peer_names: Vec<NodeId>,
    net_names: Vec<NetKey>,
}

/// All 65,536 slots of a kind have been given in the life of this process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this process has seen 65536 {0}; restart it to see more")]
pub struct SlotsFull(&'static str);

impl Slots {
    /// Gives a slot to each peer and network of a slice that has none yet.
    ///
    /// # Errors
    /// [`SlotsFull`]; what fitted has been given.
    pub fn assign(&mut self, slice: &Slice) -> Result<(), SlotsFull> {
        for node in slice.peers.keys() {
            self.give_peer(node)?;
        }
        for net in slice.networks.keys() {
            self.give_net(net)?;
        }
        Ok(())
    }

    /// The slot of a node, given now if it has none.
    ///
    /// # Errors
    /// [`SlotsFull`].
    pub fn give_peer(&mut self, node: &NodeId) -> Result<PeerSlot, SlotsFull> {
        if let Some(slot) = self.peers.get(node) {
            return Ok(*slot);
        }
        let slot = PeerSlot(u16::try_from(self.peer_names.len()).map_err(|_| SlotsFull("peers"))?);
        self.peers.insert(node.clone(), slot);
        self.peer_names.push(node.clone());
        Ok(slot)
    }

    /// The slot of a network, given now if it has none.
    ///
    /// # Errors
    /// [`SlotsFull`].
    pub fn give_net(&mut self, net: &NetKey) -> Result<NetSlot, SlotsFull> {
        if let Some(slot) = self.nets.get(net) {
            return Ok(*slot);
        }
        let slot = NetSlot(u16::try_from(self.net_names.len()).map_err(|_| SlotsFull("networks"))?);
        self.nets.insert(net.clone(), slot);
        self.net_names.push(net.clone());
        Ok(slot)
    }

    /// The slot of a node, if it has one.
    pub fn peer(&self, node: &NodeId) -> Option<PeerSlot> {
        self.peers.get(node).copied()
    }

    /// The slot of a network, if it has one.
    pub fn net(&self, net: &NetKey) -> Option<NetSlot> {
        self.nets.get(net).copied()
    }

    /// Whose slot this is.
    pub fn peer_name(&self, slot: PeerSlot) -> Option<&NodeId> {
        self.peer_names.get(slot.index())
    }

    /// Whose slot this is.
    pub fn net_name(&self, slot: NetSlot) -> Option<&NetKey> {
        self.net_names.get(slot.index())
    }
}
