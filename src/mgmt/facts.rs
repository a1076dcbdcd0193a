//! What is said of a node, by itself or by an operator: looked at by one function at every door (enrolment, report, an operator's
//! object). A node can never say where it is: its PDC is in its certificate.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::addresses;
use super::index;
use super::keys;
use super::limits::{LANES as LANES_MAX, VERSION_BYTES as VERSION_MAX};
use super::state::State;
use crate::api::objects::{Node, NodeFacts};
use crate::api::problem::{Exit, Problem};
use crate::types::{NodeId, OverlayId, Prefix};

/// Lowest UDP port of a tunnel: those below are given to services by name (RFC 6335 section 6).
pub const LISTEN_MIN: u16 = 1024;
/// UDP ports from [`LISTEN_MIN`] on that hosts serve: OpenVPN, L2TP, RADIUS, SSDP, NFS, STUN, WS-Discovery, IKE, VXLAN, SIP, mDNS,
/// LLMNR, Geneve, and VXLAN as Linux had it first.
pub const SERVED: [u16; 15] =
    [1194, 1701, 1812, 1813, 1900, 2049, 3478, 3702, 4500, 4789, 5060, 5353, 5355, 6081, 8472];

/// Why facts are not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// An address that no single host has.
    #[error("{0} is not an address of one host")]
    Address(IpAddr),
    /// The first or last address of a prefix, which is everybody's there.
    #[error("{address} is not an address of one host: it is the first or the last of {prefix}")]
    Edge {
        /// The address.
        address: IpAddr,
        /// An underlay of the PDC.
        prefix: Prefix,
    },
    /// An address inside of tunnels.
    #[error("{0} is an address inside tunnels; no host has it")]
    Tunnel(IpAddr),
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
    /// A UDP port that hosts need for something else.
    #[error(
        "UDP port {0} is no port for a tunnel: hosts serve something else on it; take one from {LISTEN_MIN} on that is not well known"
    )]
    Served(u16),
    /// A UDP port of VXLAN.
    #[error("UDP port {port} is no port for a tunnel: it is the one of overlay '{overlay}'")]
    Overlay {
        /// The port.
        port: u16,
        /// Whose it is.
        overlay: OverlayId,
    },
    /// An address that is another node's.
    #[error("{address} is an address of node '{owner}'")]
    Taken {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        owner: NodeId,
    },
    /// A version that is no short plain text.
    #[error("the version is not a short text of printable ASCII")]
    Version,
    /// It is said with the TLS key alone.
    #[error("what node '{0}' says of itself anew is not proved with its WireGuard key")]
    Unproved(NodeId),
}

/// True for an address that one host may have on an underlay, and that others can send to: no group, no loopback, no address of
/// one link, and no IPv4 address in IPv6's clothes.
pub(super) fn is_hosts(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            // RFC 1122 section 3.2.1.3 ("this network"), RFC 1112 section 4 (class E).
            let [first, ..] = ip.octets();
            !(first == 0 || first >= 224 || ip.is_loopback() || ip.is_link_local())
        }
        IpAddr::V6(ip) => {
            // RFC 4291 section 2.5.5: compatible and mapped addresses; both unspecified and loopback are among the first.
            let embeds = ip.to_ipv4_mapped().is_some() || ip.to_bits() >> 32 == 0;
            !(embeds || ip.is_multicast() || ip.is_unicast_link_local())
        }
    }
}

/// True where an address is the same host's wherever it is sent to; private ones are used again in every place.
fn is_public(address: IpAddr) -> bool {
    match address {
        // RFC 6598: shared by carriers' customers.
        IpAddr::V4(ip) => !(ip.is_private() || ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64),
        IpAddr::V6(ip) => !is_unique_local(ip),
    }
}

const fn is_unique_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xfe00 == 0xfc00
}

/// What is checked of a node. What has not changed is not judged again: an old store, or an overlay that came later, keeps
/// nobody from the rest.
#[derive(PartialEq, Eq)]
struct Said {
    addresses: Vec<IpAddr>,
    admin: Option<IpAddr>,
    external: Option<IpAddr>,
    ports: Option<RangeInclusive<u16>>,
}

impl Said {
    fn of(node: &Node) -> Self {
        let facts = node.status.facts.as_ref();
        let endpoint = node.spec.foreign.as_ref().and_then(|foreign| foreign.endpoint);
        let reported = facts.map(|facts| [facts.admin, facts.external]).unwrap_or_default();
        let all = [node.spec.admin, node.spec.external, endpoint.map(|e| e.ip())].into_iter().chain(reported);
        let (admin, external) = (index::end(node).admin, index::end(node).external);
        let declared = endpoint.map(|endpoint| endpoint.port()..=endpoint.port());
        Self { addresses: all.flatten().collect(), admin, external, ports: declared.or_else(|| facts.map(ports)) }
    }
}

/// UDP ports that tunnels listen on.
fn ports(facts: &NodeFacts) -> RangeInclusive<u16> {
    let first = facts.listen.get();
    first..=first.saturating_add(u16::from(facts.lanes.saturating_sub(1)))
}

/// Checks all that is said of `node` and was not said of it `before`, whoever says it. `state` may hold the node already.
///
/// # Errors
/// [`FactsError`]
pub fn check(state: &State, before: Option<&Node>, node: &Node) -> Result<(), FactsError> {
    let (was, is) = (before.map(Said::of), Said::of(node));
    if let Some(facts) = &node.status.facts {
        shape(facts)?;
    }
    if was.as_ref() == Some(&is) {
        return Ok(());
    }
    if was.as_ref().is_none_or(|was| was.ports != is.ports) {
        check_ports(state, &is)?;
    }
    check_addresses(state, node, &is)?;
    check_owners(state, node, &is)
}

/// What is wrong whatever else there is.
fn shape(facts: &NodeFacts) -> Result<(), FactsError> {
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

/// Peers send to these UDP ports, so none may be one that somebody else answers on.
fn check_ports(state: &State, is: &Said) -> Result<(), FactsError> {
    let Some(ports) = &is.ports else { return Ok(()) };
    let served = |port: &u16| *port < LISTEN_MIN || SERVED.contains(port);
    if let Some(port) = ports.clone().find(served) {
        return Err(FactsError::Served(port));
    }
    let overlays = state.overlays.values().filter_map(|overlay| Some((overlay.spec.udp_port?.get(), overlay)));
    match overlays.into_iter().find(|(port, _)| ports.contains(port)) {
        Some((port, overlay)) => Err(FactsError::Overlay { port, overlay: overlay.metadata.name.clone() }),
        None => Ok(()),
    }
}

fn check_addresses(state: &State, node: &Node, is: &Said) -> Result<(), FactsError> {
    if let Some(bad) = is.addresses.iter().find(|address| !is_hosts(**address)) {
        return Err(FactsError::Address(*bad));
    }
    let inside = addresses::taken(state);
    let tunnel = |address: &&IpAddr| matches!(address, IpAddr::V4(ip) if inside.contains(ip));
    if let Some(bad) = is.addresses.iter().find(tunnel) {
        return Err(FactsError::Tunnel(*bad));
    }
    let underlay = || state.pdcs.get(&node.spec.pdc).into_iter().flat_map(|pdc| &pdc.spec.underlay);
    let edge = |address: &IpAddr| underlay().find(|prefix| is_edge(prefix, *address)).copied();
    match is.addresses.iter().find_map(|address| Some((*address, edge(address)?))) {
        Some((address, prefix)) => Err(FactsError::Edge { address, prefix }),
        None => Ok(()),
    }
}

/// The network's own address (RFC 4291 section 2.6.1: every router's in IPv6), and the broadcast address of IPv4.
fn is_edge(prefix: &Prefix, address: IpAddr) -> bool {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    // RFC 3021, RFC 6164: of two addresses both are hosts'.
    if !prefix.contains(address) || bits - prefix.len() < 2 {
        return false;
    }
    let host = u32::MAX.checked_shr(u32::from(prefix.len())).unwrap_or(0);
    let is_last = matches!(address, IpAddr::V4(ip) if ip.to_bits() & host == host);
    prefix.network() == address || is_last
}

/// An address that is another's stays there: what is meant for the liar's guests would go to the other. A private address is
/// compared inside its PDC, a public one everywhere. Several nodes may be behind one external address, each with UDP ports of its own.
fn check_owners(state: &State, node: &Node, is: &Said) -> Result<(), FactsError> {
    for other in state.nodes.values().filter(|other| other.metadata.name != node.metadata.name) {
        let theirs = Said::of(other);
        let near = other.spec.pdc == node.spec.pdc;
        let apart = match (&is.ports, &theirs.ports) {
            (Some(a), Some(b)) => a.end() < b.start() || b.end() < a.start(),
            _ => true,
        };
        let both_external = |address: IpAddr| Some(address) != is.admin && Some(address) != theirs.admin;
        let taken = |address: &IpAddr| {
            let same = [theirs.admin, theirs.external].contains(&Some(*address));
            same && (near || is_public(*address)) && !(both_external(*address) && apart)
        };
        if let Some(address) = [is.admin, is.external].into_iter().flatten().find(taken) {
            return Err(FactsError::Taken { address, owner: other.metadata.name.clone() });
        }
    }
    Ok(())
}

/// Where a node is now, and where it was, if that is elsewhere: for people.
pub fn moved(before: Option<&NodeFacts>, after: &NodeFacts) -> Option<String> {
    let before = before?;
    let address = |address: Option<IpAddr>| address.map_or_else(|| "none".to_owned(), |ip| ip.to_string());
    let mut text = String::new();
    let places = [
        ("admin", address(before.admin), address(after.admin)),
        ("external", address(before.external), address(after.external)),
        ("UDP port", before.listen.to_string(), after.listen.to_string()),
    ];
    for (what, old, new) in places.iter().filter(|(_, old, new)| old != new) {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{what} {old} -> {new}");
    }
    (!text.is_empty()).then_some(text)
}

impl FactsError {
    /// For the user.
    pub fn problem(&self) -> Problem {
        if matches!(self, Self::Unproved(_)) {
            return keys::unproved(self.to_string());
        }
        let help = "look at [underlay] in meshd.toml (after a change: systemctl reload meshd), and at the addresses of the host";
        let problem = Problem::new("M0257", Exit::Invalid, self.to_string()).note("nothing was changed").help(help);
        if let Self::Taken { owner, .. } = self {
            return problem.help(format!("if that was this machine: meshctl node delete {owner}"));
        }
        problem
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
