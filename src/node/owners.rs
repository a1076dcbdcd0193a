//! Who is asked for an address: a question of ARP or neighbour discovery from a guest, broadcast by its nature, is sent to the owner of
//! the address alone, by the Ethernet address that the table gives it (RFC 6085; unicast ARP). The owner answers for itself, with the tag
//! that it was asked with and its own router flag. Everything else that guests say to all is heard by all: announcements, probes, address
//! detection, questions for addresses that nobody or more than one has.
//!
//! The kernel's own means, `neigh_suppress`, answers untagged from one table for all VLANs, and swallows announcements
//! (`br_do_proxy_suppress_arp`, `br_do_suppress_nd`, net/bridge/br_arp_nd_proxy.c).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::table::{NetKey, Slice};
use crate::types::{IfName, Mac, Vlan};

/// Guests on other nodes by VLAN and address. One address in two VLANs is two.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owners(BTreeMap<(Option<Vlan>, IpAddr), Mac>);

/// The text of an element by its set.
type Elements = BTreeSet<(&'static str, String)>;

impl Owners {
    /// Those of a network that frames may go to. An address that two guests have, wherever they are, has no owner: its question is for all
    /// of them.
    pub(super) fn of(slice: &Slice, key: &NetKey, reached: impl Fn(Mac) -> bool) -> Self {
        let mut owners: BTreeMap<_, Option<Mac>> = BTreeMap::new();
        let mut own = BTreeSet::new();
        for (row_key, row) in slice.rows_of(key).filter(|(key, _)| key.mac.is_unicast()) {
            if row.node == slice.node {
                own.insert((row_key.vlan, row_key.mac));
            }
            let addresses = row.arp.iter().map(|a| IpAddr::V4(*a)).chain(row.nd.iter().map(|a| IpAddr::V6(*a)));
            for address in addresses.filter(|a| !a.is_unspecified() && !a.is_multicast()) {
                let owner = owners.entry((row_key.vlan, address)).or_insert(Some(row_key.mac));
                if *owner != Some(row_key.mac) {
                    *owner = None;
                }
            }
        }
        let elsewhere = |(key, mac): (_, Option<Mac>)| Some((key, mac?));
        let owners = owners.into_iter().filter_map(elsewhere);
        Self(owners.filter(|((vlan, _), mac)| !own.contains(&(*vlan, *mac)) && reached(*mac)).collect())
    }

    fn elements(&self) -> Elements {
        let mut all = Elements::new();
        for ((vlan, address), mac) in &self.0 {
            let (kind, address) = match address {
                IpAddr::V4(address) => ("arp", format!("{:#010x}", u32::from(*address))),
                IpAddr::V6(address) => ("nd", format!("{:#034x}", u128::from(*address))),
            };
            if kind == "arp" {
                all.insert(("same", format!("{address} . {address}")));
            }
            let (set, key) = match (kind, vlan) {
                ("arp", Some(vlan)) => ("arp_tagged", format!("{vlan} . {address}")),
                (_, Some(vlan)) => ("nd_tagged", format!("{vlan} . {address}")),
                (kind, None) => (kind, address),
            };
            all.insert((set, format!("{key} : {mac}")));
        }
        all
    }

    /// The maps and chains of a network, inside of the table of family `bridge`.
    pub(super) fn write(out: &mut String, bridge: &IfName) {
        out.push_str(&RULES.replace("NAME", &name(bridge)));
    }

    /// Removes them, once nothing leads there any more.
    pub(super) fn write_removal(out: &mut String, table: &str, bridge: &IfName) {
        let name = name(bridge);
        for verb in ["flush", "delete"] {
            for chain in ["", "_arp", "_nd"] {
                let _ = writeln!(out, "{verb} chain {table} {name}{chain}");
            }
        }
        for set in SETS {
            let kind = if set == "same" { "set" } else { "map" };
            let _ = writeln!(out, "delete {kind} {table} {name}_to_{set}");
        }
    }

    /// Leads from `old` to these.
    pub(super) fn write_change(&self, out: &mut String, table: &str, bridge: &IfName, old: &Self) {
        if self == old {
            return;
        }
        let (before, after) = (old.elements(), self.elements());
        for (verb, changed) in [("delete", &before - &after), ("add", &after - &before)] {
            for set in SETS {
                let some: Vec<&str> = changed.iter().filter(|(of, _)| *of == set).map(|(_, text)| &**text).collect();
                if !some.is_empty() {
                    let _ = writeln!(out, "{verb} element {table} {}_to_{set} {{ {} }}", name(bridge), some.join(", "));
                }
            }
        }
    }
}

/// Names of sets, but for the prefix.
const SETS: [&str; 5] = ["same", "arp", "arp_tagged", "nd", "nd_tagged"];

/// Name of the chain of a network, and prefix of its maps.
pub(super) fn name(bridge: &IfName) -> String {
    let word = bridge.as_str().trim_start_matches(|c: char| !c.is_ascii_digit());
    format!("ask_{}", word.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
}

/// The rules of one network. A question is ARP for IPv4 over Ethernet (`@nh,0,64`: types, lengths, operation 1) from an address
/// (`@nh,112,32`) that is not the one that is asked for (`@nh,192,32`): without a sender it is a probe (RFC 5227), with the same twice an announcement, which
/// the nftables of no kernel before 6.13 can compare, hence the set of pairs. In neighbour discovery it is a solicitation (135) with a
/// source; without one it is address detection (RFC 4862 section 5.4). A priority tag is none. Addresses are read raw, because in a tagged frame
/// the type field is the tag's.
const RULES: &str = "    set NAME_to_same { typeof @nh,112,32 . @nh,192,32; }
    map NAME_to_arp { typeof @nh,192,32 : ether daddr; }
    map NAME_to_arp_tagged { typeof vlan id . @nh,192,32 : ether daddr; }
    map NAME_to_nd { typeof @th,64,128 : ether daddr; }
    map NAME_to_nd_tagged { typeof vlan id . @th,64,128 : ether daddr; }
    chain NAME_arp {
        @nh,112,32 . @nh,192,32 @NAME_to_same accept
        vlan id 0 ether daddr set @nh,192,32 map @NAME_to_arp accept
        ether type 8021q ether daddr set vlan id . @nh,192,32 map @NAME_to_arp_tagged accept
        ether type { 8021q, 8021ad } accept
        ether daddr set @nh,192,32 map @NAME_to_arp
    }
    chain NAME_nd {
        vlan id 0 ether daddr set @th,64,128 map @NAME_to_nd accept
        ether type 8021q ether daddr set vlan id . @th,64,128 map @NAME_to_nd_tagged accept
        ether type { 8021q, 8021ad } accept
        ether daddr set @th,64,128 map @NAME_to_nd
    }
    chain NAME {
        meta protocol arp @nh,0,64 0x0001080006040001 @nh,112,32 != 0 goto NAME_arp
        meta protocol ip6 meta l4proto icmpv6 @th,0,8 135 @nh,64,128 != 0 goto NAME_nd
    }
";

#[cfg(test)]
#[path = "owners_tests.rs"]
mod tests;
