//! The host's own IP and guests, in the guard's table: what comes to it from a bridge of ours, by whatever interface it came in, or from a
//! guest's interface, which is one of the host's own while it stands in no bridge; and what the host would route from there.
//!
//! Names stand in a set before there are such devices. Of what a bridge carries the host knows the bridge only.

use std::collections::BTreeSet;

use super::names::{self, Device};
use crate::types::IfName;

/// What names of our bridges begin with ([`names::device`]).
const BRIDGE: &str = "vb";

/// Sets and their types. What is in `opened` is heard; nothing puts anything there yet. `ends` is `shut` without our bridges.
pub(super) const SETS: [(&str, &str); 3] =
    [("shut", "type ifname"), ("ends", "type ifname"), ("opened", "type ifname")];

/// Bridged frames are from a bridge to itself.
pub(super) const SAME: (&str, &str) = ("same", "typeof iifname . oifname");

/// At the hook for what is for this host, behind what is VXLAN. Most comes by an interface that is in neither set: it pays for one look.
pub(super) const ARRIVING: &str = "iifname @shut iifname != @opened counter name guest_routed drop";

/// What is routed from a guest that stands in no bridge. Bridged frames come by that hook from nowhere, where they come by it at all; what
/// a vxlan device has wrapped comes from that device. What this host sends comes from nowhere, and is told by one number. It stands before all
/// else, because a guest could send as this host's IPv6 address (nobody looks at that but for IPv4, `fib_validate_source`).
///
/// What the host says by itself on such an interface while it stands in no bridge (address detection, solicitations of routers, reports of
/// groups) comes by here with that interface as its origin (`ndisc_send_skb`, net/ipv6/ndisc.c; `mld_sendpack`, net/ipv6/mcast.c). It is
/// dropped as well, and is no news: nobody routes what is for a link alone (RFC 4291 section 2.5.6).
pub(super) const LEAVING: &str = "iif != 0 meta iifkind != \"vxlan\" iifname @shut goto routed";

/// What any user of this host would send to a guest by the guest's own interface, as whoever he likes: to all (`SO_BINDTODEVICE`,
/// `IPV6_MULTICAST_IF`), or from any address (`IPV6_FREEBIND`). What goes to a bridge of ours is not looked up: where bridges show their frames
/// to this hook, it is most of what passes, and what this host itself sends there ends at the bridge (`fence_host`).
pub(super) fn to_guests(shut: &BTreeSet<IfName>) -> String {
    // An interface of a guest may be called almost as our bridges are, as systemd-nspawn calls those that it makes for a bridge (`vb-NAME`).
    let told = !ends(shut).any(|name| name.as_str().starts_with(BRIDGE));
    let other = if told { format!("oifname != \"{BRIDGE}*\" ") } else { String::new() };
    format!("{other}oifname @ends goto routed")
}

fn ends(shut: &BTreeSet<IfName>) -> impl Iterator<Item = &IfName> {
    let bridge = |name: &IfName| names::parse(name.as_str()).is_some_and(|(device, ..)| device == Device::Bridge);
    shut.iter().filter(move |name| !bridge(name))
}

/// Frames between guests, who may speak VXLAN among themselves, where a bridge shows them to this hook (net.bridge.bridge-nf-call-iptables). They
/// come from no interface and not from this host, and still have their Ethernet header, which a packet gets that a program of this host sends
/// after this hook only (`nft_payload_eval`, net/netfilter/nft_payload.c): that one may be from any address (`IPV6_FREEBIND`, ipv6(7)).
pub(super) const BRIDGED: &str = "meta iif == 0 @ll,96,16 != 0 fib saddr type != local return";

/// The chain that it goes to: each packet on its way out pays for one rule, not for two.
pub(super) const ROUTED: [&str; 2] =
    ["ip6 daddr ff02::/16 icmpv6 type { 131, 132, 133, 135, 143 } drop", "counter name guest_routed drop"];

/// What is routed from and to bridges, at the hook for what is forwarded.
pub(super) const THROUGH: [&str; 3] = [
    "iifname . oifname @same accept",
    "iifname @shut counter name guest_routed drop",
    "oifname @shut counter name guest_routed drop",
];

/// Elements by set.
pub(super) fn elements<'a>(
    shut: &'a BTreeSet<IfName>,
    through: Option<&'a BTreeSet<IfName>>,
) -> impl Iterator<Item = (String, String)> + 'a {
    let of = |set: &'static str| move |name: &IfName| (set.to_owned(), format!("\"{name}\""));
    let shut = shut.iter().map(of("shut")).chain(ends(shut).map(of("ends")));
    let same = through.into_iter().flatten();
    shut.chain(same.map(|name| (SAME.0.to_owned(), format!("\"{name}\" . \"{name}\""))))
}
