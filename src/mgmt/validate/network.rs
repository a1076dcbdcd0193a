//! Rules about overlays, networks and ports.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{TEXT_MAX, exists, floating, refuse, taken, twice};
use crate::api::objects::{Kind, Network, Overlay, Port};
use crate::api::problem::Problem;
use crate::mgmt::index::{Index, admits};
use crate::mgmt::state::State;
use crate::mgmt::{edit, limits, mtu_map, mtus};
use crate::node::fence::may_be_guests;
use crate::node::watch::ECHO_VNI;
use crate::policy::mtu::{self, MtuError};
use crate::table::Learning;
use crate::types::{NetworkId, Prefix};

/// Addresses of one port, at most.
const IPS_MAX: usize = 64;
/// Prefixes and gateways of one network, at most.
const PREFIXES_MAX: usize = 64;

pub(super) fn check_overlay(state: &State, overlay: &Overlay) -> Result<(), Problem> {
    let name = &overlay.metadata.name;
    let policy = overlay.spec.mtu.unwrap_or_default();
    if let Some(Err(error)) = policy.fixed.map(|wanted| mtu::check_number(wanted, false, policy.vlan)) {
        return Err(refuse("M0501", format!("overlay '{name}' cannot have this MTU: {error}")));
    }
    let Some(port) = overlay.spec.udp_port else { return Ok(()) };
    if let Some(why) = edit::reserved(state, port) {
        let what = format!("overlay '{name}' cannot have UDP port {port}: {why}");
        return Err(refuse("M0318", what).help("leave 'udpPort' out to get a free one"));
    }
    let other = state.overlays.values().find(|o| o.spec.udp_port == Some(port) && o.metadata.name != *name);
    match other {
        Some(other) => {
            let what = format!("overlays '{}' and '{name}' have the same UDP port {port}", other.metadata.name);
            Err(taken("M0317", what).help("leave 'udpPort' out to get a free one"))
        }
        None => Ok(()),
    }
}

pub(super) fn check_network(state: &State, network: &Network) -> Result<(), Problem> {
    let (name, spec) = (&network.metadata.name, &network.spec);
    exists(state, Kind::Overlay, spec.overlay.as_str(), &format!("network {name}"))?;
    let same = |other: &&Arc<Network>| {
        other.spec.overlay == spec.overlay && other.spec.vni == spec.vni && other.metadata.name != *name
    };
    if spec.vni.get() == ECHO_VNI {
        let what =
            format!("network '{name}' cannot have VNI {ECHO_VNI}: nodes have it for the echoes of the plain path");
        return Err(taken("M0316", what).help("give it another VNI"));
    }
    if let Some(other) = state.networks.values().find(same) {
        let what = format!(
            "networks '{}' and '{name}' have the same VNI {} in overlay '{}'",
            other.metadata.name, spec.vni, spec.overlay
        );
        return Err(taken("M0316", what).help("give one of them another VNI"));
    }
    if spec.cidr.len().max(spec.gateway.len()) > PREFIXES_MAX || spec.owner.as_ref().is_some_and(|o| o.len() > TEXT_MAX)
    {
        return Err(refuse(
            "M0327",
            format!("network '{name}' has more than {PREFIXES_MAX} prefixes or gateways, or a long owner"),
        ));
    }
    check_hosts(network)?;
    for (n, a) in spec.cidr.iter().enumerate() {
        if let Some(b) = spec.cidr[n + 1..].iter().find(|b| a.contains(b.network()) || b.contains(a.network())) {
            return Err(refuse("M0329", format!("prefixes {a} and {b} of network '{name}' overlap")));
        }
    }
    // IPv6 routers are known by their link-local addresses (RFC 4861 section 6.1.2).
    let fits = |gateway: &IpAddr| is_link_local(*gateway) || spec.cidr.iter().any(|prefix| is_host(prefix, *gateway));
    match spec.gateway.iter().find(|gateway| !fits(gateway)) {
        Some(gateway) => {
            let what = match edge(&spec.cidr, *gateway) {
                Some(what) => format!("gateway {gateway} of network '{name}' is {what}, and no host's"),
                None => format!("gateway {gateway} of network '{name}' is outside of its prefixes"),
            };
            Err(refuse("M0319", what)
                .note(format!("prefixes: {}", list(&spec.cidr)))
                .help("give it an address of a host inside one of the prefixes, or the network a prefix for it"))
        }
        None => Ok(()),
    }
}

/// Names of hosts are for networks that learn their ports: elsewhere the ports say which nodes host it.
fn check_hosts(network: &Network) -> Result<(), Problem> {
    let Some(nodes) = &network.spec.nodes else { return Ok(()) };
    let name = &network.metadata.name;
    if nodes.len() > limits::NODES_NAMED {
        return Err(refuse("M0327", format!("network '{name}' names more than {} nodes", limits::NODES_NAMED)));
    }
    if network.spec.learning == Learning::Local {
        return Ok(());
    }
    let what = format!("network '{name}' names nodes, but takes declared ports only: those say which nodes host it");
    Err(refuse("M0348", what).help("leave 'nodes' out (take them out: --unset nodes), or set learning: local"))
}

/// What an address of a guest looks like.
const GUESTS_MAC: &str = "take the one of the guest's interface: in it, ip link show; the second digit of its first byte is 0, 2, 4, 6, 8, a, c or e";

/// Rules about one port alone; [`check_all`] compares it with others.
pub(super) fn check_port(state: &State, port: &Port) -> Result<(), Problem> {
    let (name, spec) = (&port.metadata.name, &port.spec);
    let whose = format!("port {name}");
    exists(state, Kind::Network, spec.network.as_str(), &whose)?;
    exists(state, Kind::Node, spec.node.as_str(), &whose)?;
    let own = |mac: crate::types::Mac| {
        mac.unicast().map_err(|e| refuse("M0320", format!("port '{name}': {e}")).help(GUESTS_MAC))
    };
    own(spec.mac)?;
    for allowed in spec.allowed.iter().filter_map(|allowed| allowed.mac) {
        own(allowed)?;
    }
    if spec.ips.len() > IPS_MAX || spec.allowed.len() > IPS_MAX {
        return Err(refuse("M0327", format!("port '{name}' has more than {IPS_MAX} addresses")));
    }
    if let Some(interface) = spec.interface.as_ref().filter(|name| !may_be_guests(name)) {
        let what = format!(
            "port '{name}' names the interface {interface:?}, which no packet filter can name, or which is a device of vxmesh"
        );
        return Err(refuse("M0344", what)
            .help("name the guest's own: letters, digits, '.', '-', '_' and '@', not vbN.X, vvN.X, vtN.X"));
    }
    let overlay = state.networks.get(&spec.network).and_then(|network| state.overlays.get(&network.spec.overlay));
    match overlay.filter(|overlay| !admits(overlay, &spec.node)) {
        Some(overlay) => {
            let (overlay, node) = (&overlay.metadata.name, &spec.node);
            let what = format!("port '{name}' is on node '{node}', but overlay '{overlay}' does not admit that node");
            Err(refuse("M0324", what).help(format!("add it to 'nodes' of overlay '{overlay}'")))
        }
        None => Ok(()),
    }
}

/// Rules about networks as a whole: no MAC and no address twice, all addresses inside, the MTU possible.
pub(super) fn check_all(before: &State, state: &State, networks: &BTreeSet<NetworkId>) -> Result<(), Problem> {
    if networks.is_empty() {
        return Ok(());
    }
    let index = Index::new(Arc::new(state.clone()));
    for network in networks.iter().filter_map(|id| state.networks.get(id)) {
        let name = &network.metadata.name;
        let ports = index.ports.get(name).map(Vec::as_slice).unwrap_or_default();
        check_ports(&index, network, ports)?;
        check_mtu(before, &index, network)?;
    }
    Ok(())
}

/// What cannot be is refused where it comes up. A path that shrank long ago is no reason to refuse another change of the network.
fn check_mtu(before: &State, after: &Index, network: &Network) -> Result<(), Problem> {
    let name = &network.metadata.name;
    let Err(error) = mtus::check(after, network) else { return Ok(()) };
    let before = &Index::new(Arc::new(before.clone()));
    let old = before.state.networks.get(name);
    let same_policy = old.is_some_and(|old| before.mtu_policy(old) == after.mtu_policy(network));
    if same_policy && old.is_some_and(|old| mtus::check(before, old).is_err()) {
        return Ok(());
    }
    let what = format!("network '{name}' cannot have this MTU: {error}");
    let pairs = mtus::pairs(after, name);
    let vlan = after.mtu_policy(network).unwrap_or_default().vlan;
    // Who limits it is who the sum in the refusal is of.
    let limit = match &error {
        MtuError::TooSmall { .. } => Some("its prefixes".to_owned()),
        MtuError::TooLarge { sum, .. } | MtuError::NothingFits { sum, .. } => {
            pairs.iter().find(|pair| pair.span.sum(vlan) == *sum).map(mtu_map::limit)
        }
    };
    let limit = limit.unwrap_or_else(|| "what one IP packet holds".to_owned());
    // What was typed may be about a port, which has no number of its own.
    let auto = if old.is_some() { format!("meshctl network set {name} --mtu auto") } else { "--mtu auto".to_owned() };
    Err(refuse("M0501", what)
        .note(format!("limited by: {limit}"))
        .help(format!("take another number, or have it computed: {auto} (in a manifest: leave mtu.fixed out)"))
        .help("what each pair of PDCs carries: meshctl mtu map"))
}

fn check_ports(index: &Index, network: &Network, ports: &[Arc<Port>]) -> Result<(), Problem> {
    let name = &network.metadata.name;
    let tag = |vlan: Option<crate::types::Vlan>| vlan.map_or_else(String::new, |vlan| format!(" VLAN {vlan}"));
    let nested = |p: &'_ Port| p.spec.nested().map(|(mac, _)| mac).collect::<BTreeSet<_>>();
    let macs = ports.iter().flat_map(|p| {
        let all = std::iter::once(p.spec.mac).chain(nested(p));
        all.map(move |mac| ((p.spec.vlan, mac), &p.metadata.name))
    });
    if let Some(((vlan, mac), a, b)) = twice(macs) {
        let what = format!("ports '{a}' and '{b}' of network '{name}'{} have the same address {mac}", tag(vlan));
        return Err(taken("M0314", what)
            .help("give one of them the Ethernet address that its guest has; who has which: meshctl port list")
            .help(format!(
                "a virtual one that moves between both (keepalived with use_vmac) is nobody's here: leave use_vmac out, and let '{a}' and \
                 '{b}' hold its IP address alone, without MAC (--allowed): meshctl port set --help"
            )));
    }
    let ips = ports.iter().flat_map(|p| owned(p).map(move |ip| ((p.spec.vlan, ip), &p.metadata.name)));
    if let Some(((vlan, ip), a, b)) = twice(ips) {
        let what = format!("ports '{a}' and '{b}' of network '{name}'{} have the same address {ip}", tag(vlan));
        return Err(taken("M0315", what)
            .help("give one of them another; who has which: meshctl port list")
            .help(format!(
                "one that moves between both, as VRRP's, is neither's own: leave it out of the ips of both, and for each of the two \
                 (--allowed takes the whole list): meshctl port set {a} --allowed {ip}; meshctl port set {b} --allowed {ip}"
            )));
    }
    let flood = network.spec.flood.or_else(|| Some(index.overlay(network)?.spec.flood)).unwrap_or_default();
    floating::check(network, flood, ports)?;
    for port in ports {
        let all = port.spec.ips.iter().copied().chain(port.spec.allowed.iter().map(|allowed| allowed.ip));
        if let Some(ip) = all.into_iter().find(|ip| !belongs(network, *ip)) {
            let port = &port.metadata.name;
            let what = match edge(&network.spec.cidr, ip) {
                Some(what) => format!("address {ip} of port '{port}' is {what} of network '{name}', and no guest's"),
                None => format!("address {ip} of port '{port}' is outside of network '{name}'"),
            };
            return Err(refuse("M0321", what)
                .note(format!("prefixes: {}", list(&network.spec.cidr)))
                .help(format!("give it an address of a host inside one of them; what is taken: meshctl port list, meshctl network show {name}")));
        }
    }
    Ok(())
}

/// Addresses that are of one guest behind the port, and of nobody else.
pub(super) fn owned(port: &Port) -> impl Iterator<Item = IpAddr> + '_ {
    port.spec.ips.iter().copied().chain(port.spec.nested().map(|(_, ip)| ip))
}

/// May a guest of the network have this address? Without prefixes: any; IPv6 link-local ones always.
pub(in crate::mgmt) fn belongs(network: &Network, ip: IpAddr) -> bool {
    let cidr = &network.spec.cidr;
    let fits = if cidr.is_empty() { !ip.is_unspecified() } else { cidr.iter().any(|prefix| is_host(prefix, ip)) };
    is_link_local(ip) || (fits && !ip.is_multicast())
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// Inside, and neither the prefix's own address (RFC 4291 section 2.6.1: all its routers' in IPv6) nor the broadcast address of IPv4.
fn is_host(prefix: &Prefix, ip: IpAddr) -> bool {
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    // RFC 3021, RFC 6164: of two addresses both are hosts'.
    if bits - prefix.len().min(bits) < 2 {
        return prefix.contains(ip);
    }
    let host = u32::MAX.checked_shr(u32::from(prefix.len())).unwrap_or(0);
    let is_last = matches!(ip, IpAddr::V4(ip) if u32::from(ip) & host == host);
    prefix.contains(ip) && prefix.network() != ip && !is_last
}

/// What an address is that is inside of a prefix and no host's.
fn edge(cidr: &[Prefix], ip: IpAddr) -> Option<String> {
    let prefix = cidr.iter().find(|prefix| prefix.contains(ip) && !is_host(prefix, ip))?;
    let own = prefix.network() == ip;
    Some(if own {
        format!("the own address of the prefix {prefix}")
    } else {
        format!("the broadcast address of {prefix}")
    })
}

/// True for a network whose MTU is a fixed number.
pub(super) fn fixed_mtu(state: &State, network: &Network) -> bool {
    let overlay = state.overlays.get(&network.spec.overlay);
    network.spec.mtu.or_else(|| overlay.and_then(|o| o.spec.mtu)).is_some_and(|policy| policy.fixed.is_some())
}

fn list(prefixes: &[Prefix]) -> String {
    if prefixes.is_empty() {
        return "none".to_owned();
    }
    prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
