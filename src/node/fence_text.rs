//! [`Fence`] as text for `nft`: tables, sets and elements. The rules are in `fence_rules`; what differs between hosts is in
//! sets, so that a change of one guest is a change of a few elements, and a frame costs the same few lookups however many guests there
//! are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use super::fence::{Fence, Guest};
use super::fence_rules::{self as rules, Kind};
use super::fence_sizes::Sizes;
use super::owners::{self, Owners};
use super::{fence_host as host, fence_rates as rates};
use crate::types::{IfName, Mac};
use crate::wire::nd::link_local;

/// Name of the tables: that of family `bridge` sees what enters our bridges, those of families `inet` and `netdev` what leaves them by way
/// of this host's own IP.
pub const TABLE: &str = "vxmesh_guests";

/// Why frames of guests are dropped, and what each means. A counter `guest_<name>` counts them all, a set `by_<name>` by interface.
pub const REASONS: [(&str, &str); 14] = [
    ("mac", "from an Ethernet address that no port gives to the interface"),
    ("vlan", "with a VLAN that no port gives to its Ethernet address"),
    ("type", "neither IPv4, IPv6 nor ARP"),
    ("arp", "ARP that speaks for an address of somebody else"),
    ("nd", "neighbour discovery that speaks for an address of somebody else"),
    ("ip", "from an IP address that no port gives to the interface"),
    (
        "router",
        "router advertisements, redirects or errors about packets of others, of a port without the role 'router'",
    ),
    ("dhcp", "what a DHCP client or relay would take for an answer, of a port without the role 'dhcp'"),
    ("hidden", "no upper-layer header where it has to be: lengths that do not fit, or a first fragment without it"),
    ("group", "to a group address that a bridge keeps for itself (01:80:c2:00:00:00 to 0f)"),
    ("flood", "broadcast and multicast beyond what its port may send a second"),
    ("source", "from new Ethernet addresses, beyond 64 at once and 10 a second"),
    ("host", "to this host itself, which nothing from a network may reach"),
    ("unknown", "from an interface that has not been seen yet, or whose name no packet filter can hold"),
];

/// One more, which no packet filter can tell ([`super::checksums`]).
pub const CHECKSUM: (&str, &str) = (
    "checksum",
    "to be finished by the host as another frame than the packet filter sees: a checksum where its headers have none, or a cut through a fragment or DHCP message, of what is for a group, or into more than 128 frames",
);

/// Those of [`REASONS`] that a guest brings about by being plugged in: they are counted, and are no news.
pub const QUIET: [&str; 1] = ["unknown"];

/// Counter of what came to this host out of a bridge of ours all the same, or was to be routed from or to one, or sent there by the host
/// itself, in families `inet` and `netdev`.
pub const ROUTED: &str = "guest_routed";

/// Counter and set of Ethernet addresses that were heard behind an interface of a network that finds its guests by itself, for the first time
/// in five minutes, or since they were forgotten in the set [`HEARD`].
pub const SPOKEN: &str = "spoken";
/// Set of those that need not be noted again.
pub const HEARD: &str = "heard";
/// Sets of the IP addresses that such guests have spoken for, and where a frame has them: in ARP and in IPv6.
pub const OWN: [(&str, &str); 2] = [("own4", "@nh,112,32"), ("own6", "@nh,64,128")];

/// Sets of samples for a reason, in table `bridge`; none where none are taken.
pub fn samples(reason: &str) -> impl Iterator<Item = String> {
    let of = rules::SAMPLES.iter().filter(move |(of, ..)| *of == reason);
    of.flat_map(|(_, sets, _)| sets.iter().map(|(set, _)| format!("said_{set}"))).collect::<Vec<_>>().into_iter()
}

/// An element: family and table, set, text.
type Element = (&'static str, String, String);

impl Fence {
    /// The tables as one transaction for `nft -f -`: what was there is replaced without a moment in between.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for table in [BRIDGE, INET].into_iter().chain(self.by_device.then_some(DEVICE)) {
            let _ = writeln!(out, "add table {table}\ndelete table {table}");
        }
        let _ = writeln!(out, "table {BRIDGE} {{");
        rules::write_common(&mut out);
        self.sizes.write_new(&mut out, &Sizes::default());
        rates::write(&mut out, &self.rates_used());
        self.kinds().iter().for_each(|kind| kind.write(&mut out));
        rules::write_hooks(&mut out);
        self.owners.keys().for_each(|bridge| Owners::write(&mut out, bridge));
        out.push_str("}\n");
        if self.by_device {
            out.push_str(&host::tables());
        }
        host::write(&mut out, &self.devices());
        write_elements(&mut out, "add", &self.elements());
        self.write_owners(&mut out, &Self::default());
        out
    }

    /// Elements that lead from the owners of `old` to ours, where both have the network's maps.
    fn write_owners(&self, out: &mut String, old: &Self) {
        let none = Owners::default();
        for (bridge, owners) in &self.owners {
            owners.write_change(out, BRIDGE, bridge, old.owners.get(bridge).map_or(&none, |owners| owners));
        }
    }

    /// What turns the loaded filter `old` into this one without touching its counters.
    pub fn change_from(&self, old: &Self) -> String {
        if self.by_device != old.by_device {
            let left = if old.by_device { format!("delete table {DEVICE}\n") } else { String::new() };
            return left + &self.text();
        }
        let (before, after) = (old.elements(), self.elements());
        let (had, has) = (old.kinds(), self.kinds());
        let of_gone = |set: &str| had.difference(&has).any(|kind| kind.owns(set));
        let mut out = String::new();
        let gone = before.difference(&after).filter(|(_, set, _)| !of_gone(set)).cloned().collect();
        write_elements(&mut out, "delete", &gone);
        for kind in had.difference(&has) {
            kind.write_removal(&mut out, BRIDGE);
        }
        self.sizes.write_removal(&mut out, BRIDGE, &old.sizes);
        let (had_rates, has_rates) = (old.rates_used(), self.rates_used());
        rates::write_removal(&mut out, BRIDGE, &(&had_rates - &has_rates));
        for bridge in old.owners.keys().filter(|bridge| !self.owners.contains_key(*bridge)) {
            Owners::write_removal(&mut out, BRIDGE, bridge);
        }
        if before.difference(&after).any(|(_, set, _)| set == "known") {
            let _ = writeln!(out, "flush set {BRIDGE} met");
        }
        let (had_devices, has_devices) = (old.devices(), self.devices());
        host::write_removal(&mut out, &(&had_devices - &has_devices));
        host::write(&mut out, &(&has_devices - &had_devices));
        let new: Vec<&Kind> = has.difference(&had).collect();
        let asked: Vec<&IfName> = self.owners.keys().filter(|bridge| !old.owners.contains_key(*bridge)).collect();
        let limits = &has_rates - &had_rates;
        if !new.is_empty() || !asked.is_empty() || !limits.is_empty() || self.sizes.has_new(&old.sizes) {
            let _ = writeln!(out, "table {BRIDGE} {{");
            rates::write(&mut out, &limits);
            self.sizes.write_new(&mut out, &old.sizes);
            new.iter().for_each(|kind| kind.write(&mut out));
            asked.iter().for_each(|bridge| Owners::write(&mut out, bridge));
            out.push_str("}\n");
        }
        write_elements(&mut out, "add", &after.difference(&before).cloned().collect());
        self.write_owners(&mut out, old);
        out
    }

    /// The kinds of guests that rules are written for: those of known interfaces, and of each bridge with interfaces that no port
    /// names those whose ports name none.
    fn kinds(&self) -> BTreeSet<Kind> {
        let loose = self.unnamed.values().map(|bridge| Kind::Loose(bridge.clone()));
        std::iter::once(Kind::Bound).chain(loose).collect()
    }

    /// Bridges with rules of their own.
    fn devices(&self) -> BTreeSet<&IfName> {
        self.bridges.iter().filter(|_| self.by_device).collect()
    }

    fn elements(&self) -> BTreeSet<Element> {
        let mut all = BTreeSet::new();
        for (name, verdict) in self.verdicts() {
            all.insert((BRIDGE, "who".to_owned(), format!("\"{name}\" : {verdict}")));
            all.insert((BRIDGE, "known".to_owned(), format!("\"{name}\"")));
        }
        for (name, rate) in self.group_rates() {
            all.insert((BRIDGE, rates::MAP.to_owned(), format!("\"{name}\" : goto {}", rates::chain(rate))));
        }
        for (name, bridge) in self.askers() {
            all.insert((BRIDGE, "asks".to_owned(), format!("\"{name}\" : goto {}", owners::name(bridge))));
        }
        let named = self.named.iter().flat_map(|(name, places)| places.values().flatten().map(move |g| (name, g)));
        all.extend(self.sizes.elements().map(|(set, element)| (BRIDGE, set.to_owned(), element)));
        for (interface, guest) in named.chain(self.pinned_guests()) {
            guest.elements(&Kind::Bound, Some(interface), &mut all);
        }
        for (bridge, guests) in &self.loose {
            let kind = Kind::Loose(bridge.clone());
            if self.unnamed.values().any(|used| used == bridge) {
                let free = guests.iter().filter(|guest| !self.is_pinned(bridge, guest.mac));
                free.for_each(|guest| guest.elements(&kind, None, &mut all));
            }
        }
        all
    }

    /// What becomes of frames from each interface. A port cannot name one of our own.
    fn verdicts(&self) -> BTreeMap<&IfName, String> {
        let open = self.open.keys().map(|name| (name, "goto open".to_owned()));
        let unnamed = self.unnamed.iter().map(|(name, bridge)| {
            let kind = Kind::Loose(bridge.clone());
            (name, format!("goto {}", kind.name()))
        });
        // One that several networks name stays shut until it is seen on the bridge of one of them.
        let named = self.named.iter().filter(|(_, places)| places.len() == 1);
        let bound = named.map(|(name, _)| (name, "goto bound".to_owned()));
        open.chain(unnamed).chain(bound).chain(self.ours.iter().map(|name| (name, "goto peers".to_owned()))).collect()
    }
}

impl Guest {
    fn elements(&self, kind: &Kind, interface: Option<&IfName>, all: &mut BTreeSet<Element>) {
        let before = interface.map_or_else(String::new, |name| format!("\"{name}\" . "));
        let (name, key) = match self.vlan {
            None => (kind.name(), format!("{before}{}", self.mac)),
            Some(vlan) => (kind.tagged(), format!("{before}{} . {vlan}", raw_mac(self.mac))),
        };
        let mut add = |set: &str, element: String| {
            all.insert((BRIDGE, format!("{name}_{set}"), element));
        };
        add("mac", key.clone());
        add("lla", format!("{key} . {}", raw_mac(self.mac)));
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => add("ip4", format!("{key} . {:#010x}", u32::from(*address))),
                IpAddr::V6(address) => add("ip6", format!("{key} . {}", raw(*address))),
            }
        }
        add("ip6", format!("{key} . {}", raw(link_local(self.mac))));
        if self.addresses.is_empty() {
            add("any", key.clone());
        }
        for role in self.role.iter() {
            add(role.word(), key.clone());
        }
    }
}

const BRIDGE: &str = "bridge vxmesh_guests";
/// Broadcast and multicast. The one byte: what is short the kernel compares without a call (`nft_do_chain`, net/netfilter/nf_tables_core.c).
pub(super) const GROUP: &str = "@ll,0,8 & 1 == 1";
pub(super) const INET: &str = "inet vxmesh_guests";
pub(super) const DEVICE: &str = "netdev vxmesh_guests";

fn raw(address: Ipv6Addr) -> String {
    format!("{:#034x}", u128::from(address))
}

fn raw_mac(mac: Mac) -> String {
    let [a, b, c, d, e, f] = mac.0;
    format!("{:#014x}", u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

/// One command a set, so that `nft` reads each set once. What refers to chains goes first when it is removed and last when it is added.
fn write_elements(out: &mut String, verb: &str, elements: &BTreeSet<Element>) {
    let mut sets: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (table, set, element) in elements {
        sets.entry((*table, set.as_str())).or_default().push(element);
    }
    for ((table, set), elements) in sets {
        let _ = writeln!(out, "{verb} element {table} {set} {{ {} }}", elements.join(", "));
    }
}
