//! How many broadcast and multicast frames a second an interface may send where that is not the usual: a chain for each number that is in
//! use, and a map that leads there by interface. What all others may is in chain `group` itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::fence::Fence;
use super::fence_rules::FORGETFUL;
use crate::types::{GroupRate, IfName};

/// Map from interfaces to [`chain`]s.
pub(super) const MAP: &str = "limits";

/// Name of the chain of a number.
pub(super) fn chain(rate: u32) -> String {
    format!("group_{rate}")
}

/// True for what an interface sends beyond the number; two seconds of it may come at once.
pub(super) fn over(set: &str, rate: u32) -> String {
    format!("update @{set} {{ iifname limit rate over {rate}/second burst {} packets }}", rate * 2)
}

impl Fence {
    /// Interfaces that may send another number than the usual. Of several ports behind one interface the one counts that may send most.
    pub(super) fn group_rates(&self) -> BTreeMap<&IfName, u32> {
        let on = |bridge: &IfName| self.rates.get(bridge).copied().unwrap_or(GroupRate::USUAL);
        let mut rates: BTreeMap<&IfName, u32> = BTreeMap::new();
        let named = self.named.iter().filter(|(_, places)| places.len() == 1);
        let named = named.flat_map(|(name, places)| places.values().flatten().map(move |guest| (name, guest)));
        for (name, guest) in named.chain(self.pinned_guests()) {
            let most = rates.entry(name).or_default();
            *most = guest.group_rate.max(*most);
        }
        for (name, bridge) in self.open.iter().chain(&self.unnamed) {
            rates.entry(name).or_insert_with(|| on(bridge));
        }
        rates.retain(|name, rate| *rate != GroupRate::USUAL && !self.ours.contains(*name));
        rates
    }

    /// The numbers that need chains.
    pub(super) fn rates_used(&self) -> BTreeSet<u32> {
        self.group_rates().into_values().collect()
    }
}

/// Sets and chains, inside of the table.
pub(super) fn write(out: &mut String, rates: &BTreeSet<u32>) {
    for rate in rates {
        let (set, name) = (format!("rate_{rate}"), chain(*rate));
        let _ = writeln!(out, "    set {set} {{ type ifname; {FORGETFUL} }}");
        let _ = writeln!(out, "    chain {name} {{\n        {} goto drop_flood\n    }}", over(&set, *rate));
    }
}

/// Removes them, once nothing leads there any more.
pub(super) fn write_removal(out: &mut String, table: &str, rates: &BTreeSet<u32>) {
    for rate in rates {
        let name = chain(*rate);
        let _ =
            writeln!(out, "flush chain {table} {name}\ndelete chain {table} {name}\ndelete set {table} rate_{rate}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::fence::Guest;
    use super::*;
    use crate::table::Roles;
    use crate::types::Mac;

    fn name(text: &str) -> IfName {
        text.parse().unwrap()
    }

    fn guest(last: u8, group_rate: u32) -> Guest {
        let (addresses, role) = (BTreeSet::new(), Roles::default());
        Guest { mac: Mac([2, 0, 0, 0, 0, last]), vlan: None, addresses, role, group_rate }
    }

    #[test]
    fn the_number_of_an_interface_is_its_ports_and_else_its_networks() {
        let fence = |guests: [u32; 2], network: Option<u32>| Fence {
            named: [(
                name("g1"),
                [(name("vb1"), guests.into_iter().zip(1..).map(|(n, at)| guest(at, n)).collect())].into(),
            )]
            .into(),
            unnamed: [(name("x1"), name("vb1"))].into(),
            open: [(name("x2"), name("vb2"))].into(),
            rates: network.map(|rate| (name("vb1"), rate)).into_iter().collect(),
            ..Fence::default()
        };
        let of = |fence: &Fence| -> Vec<(String, u32)> {
            fence.group_rates().into_iter().map(|(name, rate)| (name.to_string(), rate)).collect()
        };
        assert_eq!(of(&fence([1000, 1000], None)), []);
        assert_eq!(of(&fence([10, 1000], None)), [], "the one that may send most");
        assert_eq!(of(&fence([10, 20], None)), [("g1".into(), 20)]);
        assert_eq!(of(&fence([1000, 5000], Some(300))), [("g1".into(), 5000), ("x1".into(), 300)]);
    }

    #[test]
    fn a_change_of_the_number_leads_elsewhere_and_leaves_no_chain_behind() {
        let fence = |rate| Fence {
            bridges: [name("vb1")].into(),
            named: [(name("g1"), [(name("vb1"), [guest(1, rate)].into())].into())].into(),
            ..Fence::default()
        };
        let change = fence(5000).change_from(&fence(20));
        let at = |text: &str| change.find(text).unwrap_or_else(|| panic!("no {text:?} in\n{change}"));
        assert!(
            at("delete element bridge vxmesh_guests limits { \"g1\" : goto group_20 }")
                < at("delete chain bridge vxmesh_guests group_20")
        );
        assert!(at("chain group_5000 {") < at("add element bridge vxmesh_guests limits { \"g1\" : goto group_5000 }"));
        assert!(change.contains("limit rate over 5000/second burst 10000 packets"), "{change}");
        let back = fence(1000).change_from(&fence(5000));
        assert!(back.contains("delete set bridge vxmesh_guests rate_5000") && !back.contains("add element"), "{back}");
    }
}
