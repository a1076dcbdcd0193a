//! Addresses inside tunnels of form A, one a node, given once.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::state::State;
use crate::types::Prefix;

/// All tunnel addresses that are taken: given to nodes, or declared of foreign peers.
pub fn taken(state: &State) -> BTreeSet<Ipv4Addr> {
    let foreign = |node: &crate::api::objects::Node| node.spec.foreign.as_ref().map(|f| f.tunnel_address);
    state.nodes.values().filter_map(|node| node.status.tunnel_address.or_else(|| foreign(node))).collect()
}

/// The lowest free address of `prefix`, its first and last left out; none: the prefix is full or not IPv4.
pub fn lowest_free(prefix: &Prefix, state: &State) -> Option<Ipv4Addr> {
    let taken = taken(state);
    let size = 1_u32.checked_shl(32_u32.saturating_sub(u32::from(prefix.len()))).unwrap_or(u32::MAX);
    let inside = |n| match prefix.nth(n) {
        Some(IpAddr::V4(address)) => Some(address),
        Some(IpAddr::V6(_)) | None => None,
    };
    (1..size.saturating_sub(1)).map_while(inside).find(|address| !taken.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mgmt::fixture;

    #[test]
    fn addresses_are_given_from_below_and_a_full_prefix_says_no() {
        let prefix = "100.64.0.0/29".parse().unwrap();
        let mut state = State::default();
        for n in 1..=6 {
            let address = lowest_free(&prefix, &state).unwrap();
            assert_eq!(address, Ipv4Addr::new(100, 64, 0, n));
            let mut node = fixture::node(&format!("n{n}"), "a");
            node.status.tunnel_address = Some(address);
            state.put(crate::api::objects::Any::Node(node));
        }
        assert_eq!(lowest_free(&prefix, &state), None);
        state.remove(crate::api::objects::Kind::Node, "n3");
        assert_eq!(lowest_free(&prefix, &state), Some(Ipv4Addr::new(100, 64, 0, 3)));
        assert_eq!(lowest_free(&"2001:db8::/64".parse().unwrap(), &state), None);
    }
}
