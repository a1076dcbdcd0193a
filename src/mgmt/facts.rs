//! What a node says of itself: looked at before it is believed. It can never say where it is: its PDC is in its certificate.

use std::net::IpAddr;

use super::index;
use super::limits::{LANES as LANES_MAX, VERSION_BYTES as VERSION_MAX};
use super::state::State;
use crate::api::objects::{Node, NodeFacts};
use crate::types::NodeId;

/// Why facts are not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// An address that no single host has.
    #[error("{0} is not an address of one host")]
    Address(IpAddr),
    /// No lanes, or too many.
    #[error("{0} lanes: a node has 1 to {LANES_MAX}")]
    Lanes(u8),
    /// More UDP ports than there are.
    #[error("{lanes} lanes from UDP port {listen} go beyond 65535")]
    Ports {
        /// Of lane 0.
        listen: u16,
        /// How many.
        lanes: u8,
    },
    /// An admin address that is another node's.
    #[error("{address} is the admin address of node '{owner}' in the same PDC")]
    Taken {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        owner: NodeId,
    },
    /// A version that is no short plain text.
    #[error("the version is not a short text of printable ASCII")]
    Version,
}

/// True for an address that one host may have on an underlay.
pub(super) fn is_hosts(address: IpAddr) -> bool {
    let broadcast = matches!(address, IpAddr::V4(ip) if ip.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || address.is_loopback() || broadcast)
}

/// Checks all of it.
///
/// # Errors
/// [`FactsError`]
pub fn check(facts: &NodeFacts) -> Result<(), FactsError> {
    if let Some(bad) = [facts.admin, facts.external].into_iter().flatten().find(|address| !is_hosts(*address)) {
        return Err(FactsError::Address(bad));
    }
    if facts.lanes == 0 || facts.lanes > LANES_MAX {
        return Err(FactsError::Lanes(facts.lanes));
    }
    let listen = facts.listen.get();
    if listen.checked_add(u16::from(facts.lanes) - 1).is_none() {
        return Err(FactsError::Ports { listen, lanes: facts.lanes });
    }
    let plain = facts.version.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if facts.version.len() > VERSION_MAX || !plain { Err(FactsError::Version) } else { Ok(()) }
}

/// Checks what a node that is in says anew: an admin address that another node of its PDC has stays there. Frames for the liar's
/// guests would go to the other, who would send them back to its own.
///
/// # Errors
/// [`FactsError`]
pub fn check_change(state: &State, node: &Node, new: &NodeFacts) -> Result<(), FactsError> {
    check(new)?;
    let before = node.status.facts.as_ref().and_then(|facts| facts.admin);
    let Some(address) = new.admin.filter(|address| before != Some(*address)) else { return Ok(()) };
    let others = state.nodes.values().filter(|other| other.metadata.name != node.metadata.name);
    let mut neighbours = others.filter(|other| other.spec.pdc == node.spec.pdc);
    match neighbours.find(|other| index::end(other).admin == Some(address)) {
        Some(owner) => Err(FactsError::Taken { address, owner: owner.metadata.name.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mgmt::fixture;

    #[test]
    fn only_plausible_facts_are_believed() {
        let good = fixture::facts("10.0.0.1", "198.51.100.1");
        assert_eq!(check(&good), Ok(()));
        let with = |change: fn(&mut NodeFacts)| {
            let mut facts = good.clone();
            change(&mut facts);
            check(&facts)
        };
        assert!(matches!(with(|f| f.admin = "127.0.0.1".parse().ok()), Err(FactsError::Address(_))));
        assert!(matches!(with(|f| f.external = "224.0.0.1".parse().ok()), Err(FactsError::Address(_))));
        assert_eq!(with(|f| f.lanes = 0), Err(FactsError::Lanes(0)));
        assert!(matches!(with(|f| f.listen = "65535".parse().unwrap()), Err(FactsError::Ports { .. })));
        assert_eq!(with(|f| f.version = "1\u{1b}[2J".into()), Err(FactsError::Version));
    }
}
