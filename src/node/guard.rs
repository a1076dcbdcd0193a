//! The packet filter around the VXLAN UDP ports, as data and as `nft` text. Linux's VXLAN listener is host-wide: neither the
//! `local` nor the `dev` of a vxlan device restricts it, so this filter is what keeps strangers out and clear frames in. The same table keeps
//! the host's own IP from guests (`guard_host`), because every chain at a hook costs each packet of the plain path.
//!
//! It is loaded before any device and stays when the daemon dies. Every drop has a named counter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::net::IpAddr;

use super::fence_text::ROUTED;
use super::{guard_host, guard_path, guard_tags};
use crate::types::{IfName, UdpPort, Vni};

/// Name of the table, family `inet`.
pub const TABLE: &str = "vxmesh";

/// What may pass on the VXLAN UDP ports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guard {
    /// UDP ports of all hosted overlays. On them nothing passes but what the sides allow.
    pub ports: BTreeSet<UdpPort>,
    /// Those of them at which no vxlan device of ours listens yet.
    pub early: BTreeSet<UdpPort>,
    /// Peers on the admin interface.
    pub admin: Option<Side>,
    /// Peers of other PDCs that a policy allows to be reached in clear.
    pub external: Option<Side>,
    /// Interfaces from which nothing reaches this host by IP: our bridges, what leads to other nodes, and guests' ([`super::outside`]).
    pub shut: BTreeSet<IfName>,
    /// Our bridges, where nothing but this table holds what is routed from and to them ([`super::fence_host`]).
    pub through: Option<BTreeSet<IfName>>,
    /// This host tracks connections; ours are left out.
    pub untracked: bool,
    /// Interfaces at which fragments are judged; none: at the hook that every packet passes (`guard_path`).
    pub doors: Option<BTreeSet<IfName>>,
}

/// One interface and who may be behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The interface.
    pub interface: IfName,
    /// The address of ours that peers send to. A host has others, and its VXLAN listener would hear on all of them.
    pub own: IpAddr,
    /// Least TTL or hop limit of what arrives: 255 less the routers that the PDC declares; 1 across PDCs.
    pub min_ttl: u8,
    /// Known VTEPs with each network that they share with us: the UDP port of its overlay, the VTEP, the VNI. A member of one
    /// network is a stranger in all others. All VTEPs are of the family of `own`.
    pub members: BTreeSet<(UdpPort, IpAddr, Vni)>,
    /// Routers by which frames may leave, besides going to the VTEP itself; none: by any.
    pub routers: Option<BTreeSet<IpAddr>>,
}

/// Counters of the table and what each means.
pub const COUNTERS: [(&str, &str); 11] = [
    ("in_accepted", "VXLAN from a known VTEP, of a network that it shares with this node"),
    ("in_address", "the same, but for another address of this host than the one that peers know"),
    ("in_ttl", "the same, but it passed more routers than its PDC has"),
    (
        "in_early",
        "VXLAN that came before a device of ours listened; for as long as another program has the UDP port, all of it",
    ),
    (
        "in_unknown",
        "VXLAN from a stranger, through the wrong interface, or of a network that its sender is no member of",
    ),
    (
        guard_path::PIECES,
        "VXLAN in fragments, which no VTEP makes, or fragments of a plain peer's datagrams through the wrong interface",
    ),
    (
        guard_path::SMALLER_PATH,
        "ICMP errors by which the path to a plain peer would become smaller; its size is declared, and measured by echoes",
    ),
    ("out_accepted", "VXLAN to a known VTEP, of a network that it shares with this node"),
    (
        OUT_UNKNOWN,
        "VXLAN to a stranger, through the wrong interface, of a network that its receiver is no member of, or made by a program of this host",
    ),
    ("out_routed", "VXLAN to a known VTEP that would leave by a router which its PDC does not have"),
    ("out_quoted", "ICMP errors of this host that quote a frame which came as VXLAN"),
];

/// Counts what leaves for nobody that may get it.
pub const OUT_UNKNOWN: &str = "out_unknown";

/// Those of [`COUNTERS`] that count what passes.
pub const ACCEPTED: [&str; 2] = ["in_accepted", "out_accepted"];

/// Where the VNI stands, counted in bits from the UDP header: behind it and the first four bytes of VXLAN (RFC 7348 section 5).
const VNI: &str = "@th,96,24";

/// What a vxlan device has wrapped comes from that device (`ip_output`, net/ipv4/ip_output.c, since Linux 5.8); what a program sends, comes from
/// none. Any user of the host could send from this address to that UDP port, and would be whatever guest of the node it likes.
const WRAPPED: &str = "meta iifkind \"vxlan\"";

/// Before the table of connections, which looks at -200 (`enum nf_ip_hook_priorities` of the kernel).
const RAW: i32 = -300;

/// Behind what puts fragments together (-400), before iptables' `-j CT`, which gives a packet a template that `notrack` leaves alone
/// (`nft_notrack_eval`, net/netfilter/nft_ct.c); it leaves alone in turn what is not tracked (`xt_ct_target`, net/netfilter/xt_CT.c).
const UNTRACKED: i32 = -390;

/// Sets of the UDP ports where ICMP and ICMPv6 errors quote them, and the place: bits from the start of the ICMP header, behind its 8
/// bytes, an IP header without options and the source port (RFC 792, RFC 4443).
const QUOTED: [(&str, &str); 2] = [("quoted", "@th,240,16"), ("quoted6", "@th,400,16")];
/// Errors that quote what they are about, in the order of [`QUOTED`].
const ERRORS: [&str; 2] = [
    "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
];

impl Guard {
    /// True where nothing is guarded.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.shut.is_empty()
    }

    /// The whole table as one transaction for `nft -f -`: what was there is replaced without a moment in between.
    pub fn text(&self) -> String {
        let mut out = format!("add table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
        for counter in COUNTERS.map(|(counter, _)| counter).into_iter().chain([ROUTED]) {
            line(&mut out, 1, format_args!("counter {counter} {{ }}"));
        }
        self.write_sets(&mut out);
        self.chains().iter().for_each(|chain| chain.write(&mut out));
        out.push_str("}\n");
        out.push_str(&self.at_doors().map(guard_tags::text).unwrap_or_default());
        out
    }

    /// What turns the loaded table `old` into this one without touching its counters; the whole text where more than elements
    /// changed.
    pub fn change_from(&self, old: &Self) -> String {
        if !self.same_shape(old) {
            let gone = old.at_doors().filter(|_| self.at_doors().is_none());
            return gone.map(|_| guard_tags::removal()).unwrap_or_default() + &self.text();
        }
        let (before, after) = (old.all_elements(), self.all_elements());
        let mut out = String::new();
        for (verb, from, to) in [("delete", &before, &after), ("add", &after, &before)] {
            let mut by_set: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (set, element) in from.difference(to) {
                by_set.entry(set).or_default().push(element);
            }
            for (set, elements) in by_set {
                let _ = writeln!(out, "{verb} element inet {TABLE} {set} {{ {} }}", elements.join(", "));
            }
        }
        let (chains, before) = (self.chains(), old.chains());
        // Of one shape, so the only ones that come and go are those at interfaces.
        for gone in before.iter().filter(|old| !chains.iter().any(|chain| chain.is_at_the_place_of(old))) {
            let _ = writeln!(out, "flush chain inet {TABLE} {0}\ndelete chain inet {TABLE} {0}", gone.name);
        }
        for chain in &chains {
            match before.iter().find(|old| chain.is_at_the_place_of(old)) {
                Some(old) if old.rules == chain.rules => {}
                Some(_) => chain.write_change(&mut out, "flush"),
                None => chain.write_change(&mut out, "add"),
            }
        }
        guard_tags::change(old.at_doors(), self.at_doors(), &mut out);
        out
    }

    /// Equal but for elements of sets and for ports.
    fn same_shape(&self, old: &Self) -> bool {
        let shape =
            |side: &Option<Side>| side.as_ref().map(|s| (s.interface.clone(), s.own, s.min_ttl, s.routers.is_some()));
        shape(&self.admin) == shape(&old.admin)
            && shape(&self.external) == shape(&old.external)
            && self.through.is_some() == old.through.is_some()
            && self.untracked == old.untracked
    }

    fn sides(&self) -> impl Iterator<Item = (&'static str, &Side)> {
        let admin = self.admin.iter().map(|side| ("admin", side));
        admin.chain(self.external.iter().map(|side| ("external", side)))
    }

    fn all_elements(&self) -> BTreeSet<(String, String)> {
        let ports = [("ports", &self.ports), ("early", &self.early)];
        let ports =
            ports.into_iter().flat_map(|(set, ports)| ports.iter().map(|port| (set.to_owned(), port.to_string())));
        let quoted =
            QUOTED.iter().flat_map(|(name, _)| self.ports.iter().map(|port| ((*name).to_owned(), port.to_string())));
        let members = self.sides().flat_map(|(name, side)| {
            side.members
                .iter()
                .map(move |(port, address, vni)| (name.to_owned(), format!("{port} . {address} . {vni}")))
        });
        let pairs =
            self.sides().flat_map(|(name, side)| side.pairs().map(move |element| (leaving_set(name, side), element)));
        let host = guard_host::elements(&self.shut, self.through.as_ref());
        let towards = guard_path::elements(self.admin.as_ref());
        ports.chain(quoted).chain(members).chain(pairs).chain(host).chain(towards).collect()
    }

    fn write_sets(&self, out: &mut String) {
        let all = self.all_elements();
        let mut set = |name: &str, kind: &str| {
            let elements: Vec<&str> = all.iter().filter(|(set, _)| set == name).map(|(_, e)| e.as_str()).collect();
            let elements =
                if elements.is_empty() { String::new() } else { format!(" elements = {{ {} }};", elements.join(", ")) };
            line(out, 1, format_args!("set {name} {{ {kind};{elements} }}"));
        };
        set("ports", "type inet_service");
        set("early", "type inet_service");
        for (quoted, place) in QUOTED.into_iter().chain(guard_path::TOWARDS) {
            set(quoted, &format!("typeof {place}"));
        }
        guard_host::SETS.iter().for_each(|(name, kind)| set(name, kind));
        if self.through.is_some() {
            set(guard_host::SAME.0, guard_host::SAME.1);
        }
        for (name, side) in self.sides() {
            set(name, &format!("typeof udp dport . {} saddr . {VNI}", side.family().0));
            if side.routers.is_some() {
                set(&leaving_set(name, side), &format!("typeof {}", side.towards()));
            }
        }
    }

    /// The chains in the order in which they lead to each other. Those of one shape are the same ones.
    fn chains(&self) -> Vec<Chain> {
        let mut chains = self.untracked();
        let [refused_in, arriving] = self.inward();
        let [refused_out, leaving] = self.outward();
        chains.extend(self.pieces());
        if self.listens_by_ipv6() {
            chains.push(Chain::new("hidden", None, guard_path::hidden(&self.to_ports())));
        }
        chains.push(Chain::new("refused_in", None, refused_in));
        chains.push(Chain::new("refused_out", None, refused_out));
        chains.push(Chain::new("routed", None, guard_host::ROUTED.map(str::to_owned).into()));
        // What is right comes first: one look at its set and it is through. Only what is refused walks on, to be counted by reason.
        // On the way in what the listener gets counts: for this host, put together, after everybody's NAT. On the way out where a
        // packet goes is settled, and whose it is can still be seen: the kernel lets no NAT in before -199. Forwarded packets pass
        // there too, so a guest routed by this host cannot play VTEP.
        chains.push(Chain::new("arriving", Some(("input", -310)), arriving));
        chains.push(Chain::new("leaving", Some(("postrouting", -199)), leaving));
        if self.through.is_some() {
            let rules = guard_host::THROUGH.map(str::to_owned).into();
            chains.push(Chain::new("through_host", Some(("forward", RAW)), rules));
        }
        chains
    }

    /// What judges fragments, at the hook that all pass or at the interfaces by which none should come. Where there are none, nothing; nor where
    /// nobody is let in: the first fragment has the UDP port, and is refused with all others that have it.
    fn pieces(&self) -> Option<Chain> {
        self.sides().next()?;
        let Some((doors, side)) = self.doors.as_ref().zip(self.admin.as_ref()) else {
            let clear = self.external.as_ref().map(|side| side.from("external"));
            let rules = guard_path::pieces(&self.to_ports(), clear);
            return Some(Chain::new("pieces", Some(("prerouting", guard_path::FIRST)), rules));
        };
        let chain = Chain::new("doors", Some(("ingress", guard_path::FIRST)), guard_path::strays(side.own));
        (!doors.is_empty()).then(|| Chain { devices: doors.iter().cloned().collect(), ..chain })
    }

    /// Interfaces at which fragments are judged, where some are.
    fn at_doors(&self) -> Option<&BTreeSet<IfName>> {
        let doors = self.doors.as_ref().filter(|doors| !doors.is_empty())?;
        self.admin.as_ref().map(|_| doors)
    }

    /// Rules for what comes: what becomes of that which is refused, and what decides.
    fn inward(&self) -> [Vec<String>; 2] {
        let (mut refused, mut arriving) = (Vec::new(), Vec::new());
        // What goes is let out meanwhile: the first frames of a device that comes up are not lost. Later there is no such rule.
        if !self.early.is_empty() {
            arriving.push("udp dport @early counter name in_early drop".to_owned());
        }
        for (name, side) in self.sides() {
            let (ip, ttl) = side.family();
            let from = side.from(name);
            arriving.push(format!(
                "{from} {ip} daddr {} {ip} {ttl} >= {} counter name in_accepted accept",
                side.own, side.min_ttl
            ));
            refused.push(format!("{from} {ip} daddr != {} counter name in_address drop", side.own));
            refused.push(format!("{from} counter name in_ttl drop"));
        }
        refused.push("counter name in_unknown drop".to_owned());
        arriving.push(format!("{} goto refused_in", self.to_ports()));
        arriving.push(guard_host::ARRIVING.to_owned());
        arriving.extend(guard_path::errors());
        if self.listens_by_ipv6() {
            arriving.extend(guard_path::arriving6());
        }
        [refused, arriving]
    }

    /// The same for what goes.
    fn outward(&self) -> [Vec<String>; 2] {
        let (mut refused, mut leaving) = (Vec::new(), vec![guard_host::LEAVING.to_owned()]);
        for (name, side) in self.sides() {
            let ip = side.family().0;
            let out = format!("oifname \"{}\"", side.interface);
            let by = format!("{out} {} @{}", side.towards(), leaving_set(name, side));
            leaving.push(format!("{by} {ip} saddr {} {WRAPPED} counter name out_accepted accept", side.own));
            if side.routers.is_some() {
                let known = format!("{out} udp dport . {ip} daddr . {VNI} @{name}");
                refused.push(format!("{known} {ip} saddr {} {WRAPPED} counter name out_routed drop", side.own));
            }
        }
        refused.push(guard_host::BRIDGED.to_owned());
        refused.push(format!("counter name {OUT_UNKNOWN} drop"));
        // Most of what passes here is neither, and of guests where bridges show their frames to the host's firewall. A comparison costs
        // such a packet less than a look at a set.
        leaving.push(guard_host::to_guests(&self.shut));
        leaving.push("meta l4proto tcp accept".to_owned());
        leaving.push(format!("{} goto refused_out", self.to_ports()));
        leaving.push("meta l4proto udp accept".to_owned());
        // Where no device listens, the kernel answers a member's frame with an error that holds the frame; by what way that leaves is
        // up to the host's routes.
        for (errors, (quoted, place)) in ERRORS.iter().zip(QUOTED) {
            leaving.push(format!("{errors} {place} @{quoted} fib saddr type local counter name out_quoted drop"));
        }
        [refused, leaving]
    }

    /// A vxlan device listens by the family of its side alone; where there is no side any more, one may be about to go. It is a matter of the sides
    /// alone, as the shape is: a chain that others go to cannot be taken out by itself.
    fn listens_by_ipv6(&self) -> bool {
        self.sides().next().is_none() || self.sides().any(|(_, side)| side.own.is_ipv6())
    }

    /// Matches what is for a port of ours. Most hosts have one overlay, and a comparison costs every packet less than a look at a set.
    fn to_ports(&self) -> String {
        match self.ports.first() {
            Some(port) if self.ports.len() == 1 => format!("udp dport {port}"),
            _ => "udp dport @ports".to_owned(),
        }
    }

    /// Each flow of a guest has a source port of its own (RFC 7348 section 5), so guests would fill the host's table of connections. Answers
    /// come to the UDP port too and need no entry there. What this host forwards for others stays tracked, and with it their NAT.
    /// Where nobody tracks, two more chains would cost each packet for nothing.
    fn untracked(&self) -> Vec<Chain> {
        if !self.untracked || self.sides().next().is_none() {
            return Vec::new();
        }
        let (mut entering, mut going) = (Vec::new(), Vec::new());
        for (_, side) in self.sides() {
            let (ip, own, interface) = (side.family().0, side.own, &side.interface);
            entering.push(format!("iifname \"{interface}\" {ip} daddr {own} udp dport @ports notrack"));
            going.push(format!("oifname \"{interface}\" {ip} saddr {own} udp dport @ports notrack"));
        }
        vec![
            Chain::new("untracked_in", Some(("prerouting", UNTRACKED)), entering),
            Chain::new("untracked_out", Some(("output", UNTRACKED)), going),
        ]
    }
}

/// The name of the set on a side's way out.
fn leaving_set(name: &str, side: &Side) -> String {
    if side.routers.is_some() { format!("{name}_out") } else { name.to_owned() }
}

/// A chain, at a hook with a priority or to be gone to.
struct Chain {
    name: &'static str,
    at: Option<(&'static str, i32)>,
    /// Where the hook is one of interfaces: which.
    devices: Vec<IfName>,
    rules: Vec<String>,
}

impl Chain {
    const fn new(name: &'static str, at: Option<(&'static str, i32)>, rules: Vec<String>) -> Self {
        Self { name, at, devices: Vec::new(), rules }
    }

    fn is_at_the_place_of(&self, other: &Self) -> bool {
        (self.name, &self.devices) == (other.name, &other.devices)
    }

    fn write(&self, out: &mut String) {
        line(out, 1, format_args!("chain {} {{", self.name));
        if let Some(place) = self.place() {
            line(out, 2, format_args!("{place}"));
        }
        for rule in &self.rules {
            line(out, 2, format_args!("{rule}"));
        }
        line(out, 1, format_args!("}}"));
    }

    /// The chain anew (`add`), or its rules (`flush`).
    fn write_change(&self, out: &mut String, verb: &str) {
        let name = self.name;
        let place = self.place().filter(|_| verb == "add").map(|place| format!(" {{ {place} }}"));
        let _ = writeln!(out, "{verb} chain inet {TABLE} {name}{}", place.unwrap_or_default());
        for rule in &self.rules {
            let _ = writeln!(out, "add rule inet {TABLE} {name} {rule}");
        }
    }

    fn place(&self) -> Option<String> {
        let (hook, priority) = self.at?;
        let names: Vec<String> = self.devices.iter().map(|name| format!("\"{name}\"")).collect();
        let devices = if names.is_empty() { String::new() } else { format!(" devices = {{ {} }}", names.join(", ")) };
        Some(format!("type filter hook {hook}{devices} priority {priority}; policy accept;"))
    }
}

impl Side {
    /// The name of the header, and of its TTL.
    const fn family(&self) -> (&'static str, &'static str) {
        if self.own.is_ipv4() { ("ip", "ttl") } else { ("ip6", "hoplimit") }
    }

    /// What is looked up of a frame on its way out. Where the next hop counts it is asked together with the VTEP: one look at one set,
    /// as without. The kernel knows it here only: whoever marks packets may send them by another way up to this hook's priority.
    fn towards(&self) -> String {
        let ip = self.family().0;
        let next = if self.routers.is_some() { format!("rt {ip} nexthop . ") } else { String::new() };
        format!("udp dport . {next}{ip} daddr . {VNI}")
    }

    /// Elements of the set on the way out where the next hop counts.
    fn pairs(&self) -> impl Iterator<Item = String> + '_ {
        let routers = self.routers.iter();
        routers.flat_map(|routers| {
            self.members.iter().flat_map(move |(port, address, vni)| {
                let by = routers.iter().filter(|router| router.is_ipv4() == address.is_ipv4());
                std::iter::once(address).chain(by).map(move |by| format!("{port} . {by} . {address} . {vni}"))
            })
        })
    }

    /// Matches what comes from a member through this interface.
    fn from(&self, set: &str) -> String {
        format!("iifname \"{}\" udp dport . {} saddr . {VNI} @{set}", self.interface, self.family().0)
    }
}

fn line(out: &mut String, depth: usize, text: fmt::Arguments<'_>) {
    let _ = writeln!(out, "{:depth$}{text}", "", depth = depth * 4);
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
