//! What of the plain path is judged packet by packet, in the guard's table: fragments, before anybody puts them together, and ICMP errors
//! about the size of a path.
//!
//! A packet that is put together of fragments from two interfaces is one of the last of them (`ip_frag_reasm`, net/ipv4/ip_fragment.c),
//! with the header of the first. So a stranger could begin a packet by one interface that a member's own fragment ends by another. VTEPs
//! make no fragments, and may discard them (RFC 7348 section 4.3).
//!
//! They can be judged in two places: where every packet comes by, which costs each one of the plain path, and each of guests where bridges
//! show their frames to packet filters, about 200 ns; or at the interfaces by which nobody of ours sends. What begins and ends by the admin
//! interface is put together there and then judged as a whole; of IPv6 the kernel puts together behind that hook (`ipv6_frag_rcv`,
//! net/ipv6/reassembly.c), so a first fragment counts for its packet, and one that does not show what it begins is nobody's. It is the second where the kernel keeps rules for interfaces that are not
//! there (Linux 6.16), and no policy lets frames in by another interface.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::desired::Observed;
use super::fence::is_plain;
use super::guard::{Guard, Side};
use super::names;
use crate::types::IfName;

/// Before connection tracking puts fragments together, which is at -400 (`enum nf_ip_hook_priorities`, linux/netfilter_ipv4.h).
pub(super) const FIRST: i32 = -450;
/// A chain is at 256 interfaces at most (`NFT_NETDEVICE_MAX`, net/netfilter/nf_tables_api.c).
const DOORS: usize = 256;
const LOOPBACK: &str = "lo";
/// Counts first fragments of VXLAN.
pub(super) const PIECES: &str = "in_pieces";
/// Counts errors that would make a path smaller.
pub(super) const SMALLER_PATH: &str = "in_smaller";
/// More fragments, or a later one. The kernel compares one masked word without a call; of IPv6 it is the protocol and the
/// hop limit, and 0 only where that is 0, which the chains behind refuse.
const WHOLE: &str = "@nh,48,16 & 0x3fff == 0 accept";

/// The name of a header, what of it is a fragment, and where its source stands, in bits.
const FRAGMENTS: [(&str, &str, &str); 2] =
    [("ip", "ip frag-off & 0x3fff != 0", "@nh,96,32"), ("ip6", "exthdr frag exists", "@nh,64,128")];

/// Sets of plain peers' addresses where ICMP and ICMPv6 errors quote them, and the place: bits from the start of the ICMP header, behind its 8 bytes
/// and what precedes the destination in the IP header (RFC 792, RFC 4443).
pub(super) const TOWARDS: [(&str, &str); 2] = [("towards", "@th,192,32"), ("towards6", "@th,256,128")];
/// What changes the size of a path that the host believes in, and where the protocol of the quoted packet stands. TCP is left to the kernel, which
/// believes nothing that does not quote a sequence number in flight (RFC 5927 section 4.1).
const SMALLER: [(&str, &str); 2] = [
    ("icmp type destination-unreachable icmp code frag-needed", "@th,136,8 != 6"),
    ("icmpv6 type packet-too-big", "@th,112,8 != 6"),
];

/// Interfaces at which fragments are judged, where they can be: those by which IP reaches this host, but for the admin one. What stands in a
/// bridge or a bond is seen there. From a bridge of ours nothing reaches this host ([`super::fence_host`]).
pub(super) fn doors(guard: &Guard, observed: &Observed) -> Option<BTreeSet<IfName>> {
    let admin = guard.admin.as_ref().filter(|_| observed.rules_before_devices && guard.external.is_none())?;
    let stands_alone = observed.places.iter().filter(|(_, place)| place.master.is_none()).map(|(name, _)| name);
    let doors: BTreeSet<IfName> = stands_alone
        .filter(|name| **name != admin.interface && name.as_str() != LOOPBACK && names::parse(name.as_str()).is_none())
        .cloned()
        .collect();
    (doors.len() <= DOORS && doors.iter().all(is_plain)).then_some(doors)
}

/// Rules for fragments at the hook that all pass. `ports` matches what is for a port of ours. Where a policy lets frames cross in clear, routers of
/// others are on the way: of members by that interface fragments are taken. Whatever this host forwards is not ours to judge.
pub(super) fn pieces(ports: &str, external: Option<String>) -> Vec<String> {
    let mut rules = vec![WHOLE.to_owned()];
    rules.extend(external.map(|from| format!("{from} accept")));
    for fragment in FRAGMENTS.map(|(_, fragment, _)| fragment) {
        rules.push(format!("{fragment} {ports} fib daddr type local counter name {PIECES} drop"));
    }
    rules
}

/// Rules for fragments at [`doors`]. Of a plain peer's datagram no part comes by there; whose it is, the kernel asks of each fragment
/// (`struct frag_v4_compare_key`, net/inet_frag.h), and ports stand in the first one only. Of IPv6 the protocol is no part of the question,
/// and that of the first fragment counts (RFC 8200 section 4.5).
pub(super) fn strays(own: IpAddr) -> Vec<String> {
    let (ip, fragment, from) = FRAGMENTS[usize::from(own.is_ipv6())];
    let [(set, _), (set6, _)] = TOWARDS;
    let dropped = format!("counter name {PIECES} drop");
    match own {
        IpAddr::V4(_) => {
            vec![WHOLE.to_owned(), format!("{fragment} meta l4proto udp {ip} daddr {own} {from} @{set} {dropped}")]
        }
        IpAddr::V6(_) => vec![format!("{fragment} {ip} daddr {own} {from} @{set6} {dropped}")],
    }
}

/// Rules at the hook for what is for this host, where it listens by IPv6: what a first fragment hides. An error is never so large that it is
/// sent in fragments (RFC 4443 section 3.2), and what it quotes may stand in the second one.
pub(super) fn arriving6() -> [String; 2] {
    [
        format!("icmpv6 type packet-too-big exthdr frag exists counter name {SMALLER_PATH} drop"),
        "meta nfproto ipv6 exthdr frag exists goto hidden".to_owned(),
    ]
}

/// The chain that the latter goes to. A later fragment is nothing without its first. One whose headers end in the midst of options shows no
/// protocol, and none of UDP ends before its ports, so what comes to the end of this chain may be VXLAN.
pub(super) fn hidden(ports: &str) -> Vec<String> {
    vec![
        "frag frag-off != 0 accept".to_owned(),
        "meta l4proto != udp accept".to_owned(),
        format!("{} accept", ports.replacen("dport ", "dport != ", 1)),
        format!("counter name {PIECES} drop"),
    ]
}

/// Rules for errors that would make the path to a plain peer smaller. Anybody can send one, to any address of this host; the size of the path
/// is what the PDC declares, and the echoes measure it.
pub(super) fn errors() -> impl Iterator<Item = String> {
    SMALLER.iter().zip(TOWARDS).map(|((error, other), (set, place))| {
        format!("{error} {place} @{set} {other} counter name {SMALLER_PATH} drop")
    })
}

/// Elements of [`TOWARDS`]: peers by the admin interface.
pub(super) fn elements(admin: Option<&Side>) -> impl Iterator<Item = (String, String)> + '_ {
    admin.into_iter().flat_map(|side| side.members.iter()).map(|(_, address, _)| {
        let [(set, _), (set6, _)] = TOWARDS;
        match address {
            IpAddr::V4(address) => (set.to_owned(), format!("{:#x}", address.to_bits())),
            IpAddr::V6(address) => (set6.to_owned(), format!("{:#x}", address.to_bits())),
        }
    })
}
