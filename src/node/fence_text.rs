//! [`Fence`] as text for `nft`. The rules are always the same; what differs is in sets, so that a change of one guest is a change of
//! a few elements, and a frame costs the same few lookups however many guests there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use super::fence::{Fence, Guest};
use crate::table::PortRole;
use crate::types::IfName;
use crate::wire::nd::link_local;

/// Name of two tables: that of family `bridge` sees what enters our bridges, that of family `inet` what leaves them by way of this
/// host's own IP.
pub const TABLE: &str = "vxmesh_guests";
/// Broadcast and multicast frames a second that an interface may send.
pub const FLOOD_RATE: u32 = 1000;
/// Broadcast and multicast frames that it may send at once.
pub const FLOOD_BURST: u32 = 2000;

/// Why frames of guests are dropped, and what each means. A counter `guest_<name>` counts them all, a set `by_<name>` by interface.
pub const REASONS: [(&str, &str); 9] = [
    ("mac", "from an Ethernet address that no port gives to the interface"),
    ("vlan", "with a VLAN that no port gives to its Ethernet address"),
    ("type", "neither IPv4, IPv6 nor ARP"),
    ("arp", "ARP that speaks for an address of somebody else"),
    ("nd", "neighbour discovery that speaks for an address of somebody else"),
    ("ip", "from an IP address that no port gives to the interface"),
    ("router", "router advertisements of a port without the role 'router'"),
    ("dhcp", "DHCP answers of a port without the role 'dhcp'"),
    ("flood", "broadcast and multicast beyond 1000 a second"),
];

/// Counter of what guests sent to VXLAN and tunnel UDP ports through this host, in family `inet`.
pub const UNDERLAY: &str = "guest_underlay";

/// A set that the kernel fills and empties itself, of bounded size.
const FORGETFUL: &str = "size 4096; flags dynamic,timeout; timeout 1m;";

/// What is told apart among dropped frames: interfaces, and of strange Ethernet addresses these too, because the address of another
/// guest tells of a loop.
fn who(reason: &str) -> &'static str {
    if reason == "mac" { "iifname . ether saddr" } else { "iifname" }
}

/// Sets of bound guests and of loose ones, which differ in the interface before each element: name, and the fields of an element.
const SETS: [(&str, &str); 7] = [
    ("mac", "ether saddr"),
    ("tag", "ether saddr . vlan id"),
    ("ip4", "ether saddr . ip saddr"),
    // Raw, because the same addresses are looked up as the source of a packet and as the target of an advertisement.
    ("ip6", "ether saddr . @nh,64,128"),
    ("any", "ether saddr"),
    ("router", "ether saddr"),
    ("dhcp", "ether saddr"),
];

/// The two kinds: prefix of names, and what comes before each key.
const KINDS: [(&str, &str); 2] = [("bound", "iifname . "), ("loose", "")];

/// An element: family and table, set, text.
type Element = (&'static str, String, String);

impl Fence {
    /// Both tables as one transaction for `nft -f -`: what was there is replaced without a moment in between.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for table in [BRIDGE, INET] {
            let _ = writeln!(out, "add table {table}\ndelete table {table}");
        }
        write_rules(&mut out);
        write_elements(&mut out, "add", &self.elements());
        out
    }

    /// What turns the loaded filter `old` into this one without touching its counters.
    pub fn change_from(&self, old: &Self) -> String {
        let (before, after) = (old.elements(), self.elements());
        let mut out = String::new();
        write_elements(&mut out, "delete", &before.difference(&after).cloned().collect());
        write_elements(&mut out, "add", &after.difference(&before).cloned().collect());
        out
    }

    fn elements(&self) -> BTreeSet<Element> {
        let mut all = BTreeSet::new();
        for (name, verdict) in self.verdicts() {
            all.insert((BRIDGE, "who".to_owned(), format!("\"{name}\" : {verdict}")));
        }
        for (interface, guest) in self.bound.iter().flat_map(|(name, guests)| guests.iter().map(move |g| (name, g))) {
            guest.elements("bound", &format!("\"{interface}\" . "), &mut all);
        }
        for guest in &self.loose {
            guest.elements("loose", "", &mut all);
        }
        all.extend(self.bridges.iter().map(|name| (INET, "bridges".to_owned(), format!("\"{name}\""))));
        all.extend(self.underlay.iter().map(|port| (INET, "underlay".to_owned(), port.to_string())));
        all
    }

    /// What becomes of frames from each interface. A port cannot name one of our own.
    fn verdicts(&self) -> BTreeMap<&IfName, &'static str> {
        let kinds = [("goto open", &self.open), ("goto loose", &self.unnamed)];
        let found = kinds.into_iter().flat_map(|(verdict, names)| names.iter().map(move |name| (name, verdict)));
        let bound = self.bound.keys().map(|name| (name, "goto bound"));
        found.chain(bound).chain(self.ours.iter().map(|name| (name, "accept"))).collect()
    }
}

impl Guest {
    fn elements(&self, kind: &str, before: &str, all: &mut BTreeSet<Element>) {
        let key = format!("{before}{}", self.mac);
        let mut add = |set: &str, element: String| {
            all.insert((BRIDGE, format!("{kind}_{set}"), element));
        };
        match self.vlan {
            None => add("mac", key.clone()),
            Some(vlan) => add("tag", format!("{key} . {vlan}")),
        }
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => add("ip4", format!("{key} . {address}")),
                IpAddr::V6(address) => add("ip6", format!("{key} . {}", raw(*address))),
            }
        }
        add("ip6", format!("{key} . {}", raw(link_local(self.mac))));
        if self.addresses.is_empty() {
            add("any", key.clone());
        }
        match self.role {
            PortRole::Guest => {}
            PortRole::Router => add("router", key),
            PortRole::Dhcp => add("dhcp", key),
        }
    }
}

const BRIDGE: &str = "bridge vxmesh_guests";
const INET: &str = "inet vxmesh_guests";

fn raw(address: Ipv6Addr) -> String {
    format!("{:#034x}", u128::from(address))
}

/// One command a set, so that `nft` reads each set once.
fn write_elements(out: &mut String, verb: &str, elements: &BTreeSet<Element>) {
    let mut sets: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (table, set, element) in elements {
        sets.entry((*table, set.as_str())).or_default().push(element);
    }
    for ((table, set), elements) in sets {
        let _ = writeln!(out, "{verb} element {table} {set} {{ {} }}", elements.join(", "));
    }
}

fn write_rules(out: &mut String) {
    let _ = writeln!(out, "table {BRIDGE} {{");
    for (reason, _) in REASONS {
        let _ = writeln!(out, "    counter guest_{reason} {{ }}");
        let _ = writeln!(out, "    set by_{reason} {{ typeof {}; {FORGETFUL} }}", who(reason));
    }
    let _ = writeln!(out, "    set rate {{ type ifname; {FORGETFUL} }}");
    for (kind, before) in KINDS {
        for (set, fields) in SETS {
            let _ = writeln!(out, "    set {kind}_{set} {{ typeof {before}{fields}; }}");
        }
    }
    for (reason, _) in REASONS {
        // Two rules: one whose set is full ends there, and the frame must not go on.
        let count = format!("counter name guest_{reason} update @by_{reason} {{ {} counter }}", who(reason));
        let _ = writeln!(out, "    chain drop_{reason} {{\n        {count}\n        drop\n    }}");
    }
    let flood = format!("update @rate {{ iifname limit rate over {FLOOD_RATE}/second burst {FLOOD_BURST} packets }}");
    let group = "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00";
    let _ = writeln!(out, "    chain open {{\n        {group} {flood} goto drop_flood\n    }}");
    for (kind, before) in KINDS {
        out.push_str(
            &RULES.replace("KIND", kind).replace("KEY . ", before).replace("GROUP", group).replace("FLOOD", &flood),
        );
    }
    out.push_str(ENTRY);
}

/// The rules of one kind. None may look at the type field of the frame behind `KIND_type`, as `nft` makes `arp` and `icmpv6` do where
/// nobody tells it that the protocol is known: in a tagged frame that field is the tag's. Most frames are IPv4 without a tag and take
/// the short way; what follows the first `accept` of a chain is for frames that are rare or wrong.
const RULES: &str = "    chain KIND_nd {
        @th,0,8 136 KEY . ether saddr . @th,64,128 @KIND_ip6 accept
        @th,0,8 { 133, 134, 135, 137 } KEY . ether saddr . @nh,64,128 @KIND_ip6 accept
        @th,0,8 { 133, 135 } ip6 saddr :: accept
        KEY . ether saddr @KIND_any accept
        goto drop_nd
    }
    chain KIND_ip6 {
        meta l4proto ipv6-icmp @th,0,8 { 134, 137 } KEY . ether saddr != @KIND_router goto drop_router
        meta l4proto ipv6-icmp @th,0,8 133-137 goto KIND_nd
        udp sport 547 KEY . ether saddr != @KIND_dhcp goto drop_dhcp
        KEY . ether saddr . @nh,64,128 @KIND_ip6 accept
        ip6 saddr :: meta l4proto ipv6-icmp accept
        KEY . ether saddr @KIND_any accept
        KEY . ether saddr @KIND_router accept
        goto drop_ip
    }
    chain KIND_ip4 {
        udp sport 67 KEY . ether saddr != @KIND_dhcp goto drop_dhcp
        KEY . ether saddr . ip saddr @KIND_ip4 accept
        ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
        KEY . ether saddr @KIND_any accept
        KEY . ether saddr @KIND_router accept
        goto drop_ip
    }
    chain KIND_arp {
        @nh,0,48 != 0x000108000604 goto drop_arp
        meta protocol arp KEY . arp saddr ether . arp saddr ip @KIND_ip4 accept
        meta protocol arp arp saddr ip 0.0.0.0 accept
        meta protocol arp KEY . arp saddr ether @KIND_any accept
        goto drop_arp
    }
    chain KIND_type {
        meta protocol vmap { ip : goto KIND_ip4, ip6 : goto KIND_ip6, arp : goto KIND_arp }
        goto drop_type
    }
    chain KIND_tagged {
        ether type 8021ad goto drop_vlan
        vlan id 0 KEY . ether saddr @KIND_mac goto KIND_type
        KEY . ether saddr . vlan id @KIND_tag goto KIND_type
        goto drop_vlan
    }
    chain KIND {
        GROUP FLOOD goto drop_flood
        ether type ip KEY . ether saddr @KIND_mac goto KIND_ip4
        ether type { 8021q, 8021ad } goto KIND_tagged
        KEY . ether saddr != @KIND_mac goto drop_mac
        goto KIND_type
    }
";

const ENTRY: &str = "    map who { type ifname : verdict; }
    chain arriving {
        type filter hook prerouting priority -300; policy accept;
        iifname vmap @who
    }
}
table inet vxmesh_guests {
    counter guest_underlay { }
    set bridges { type ifname; }
    set underlay { type inet_service; }
    chain to_host {
        type filter hook input priority -300; policy accept;
        iifname @bridges udp dport @underlay counter name guest_underlay drop
    }
    chain through_host {
        type filter hook forward priority -300; policy accept;
        udp dport @underlay iifname @bridges oifname != @bridges counter name guest_underlay drop
    }
}
";
