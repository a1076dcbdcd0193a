//! A node from nothing but table files: the slice that they and `[table]` of `meshd.toml` stand for.
//!
//! The address of a row says where it is: inside the declared underlay frames go plain, at the VTEP of a declared peer they go
//! in its tunnel, anywhere else they do not go at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Entry, File};
use crate::api::problem::{Exit, Problem};
use crate::config::meshd::{TableFiles, TableNetwork, VXLAN_PORT, file_network_name};
use crate::policy::mtu::{self, Carrier, Family, MtuPolicy, Span};
use crate::policy::path::{Intra, Path, PdcFacts};
use crate::table::{Flood, Learning, NetKey, Network, Peer, Roles, Row, RowKey, Slice, Suite};
use crate::types::{Mac, NodeId, OverlayId, PdcId, Psk, UdpPort, Version};

/// Code of a table file that does not fit its surroundings.
const UNFIT: &str = "M0311";

/// What the files do not say.
#[expect(missing_debug_implementations, reason = "holds pre-shared keys")]
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// This node.
    pub node: &'a NodeId,
    /// Its PDC, if its own file names one. Here it names nothing but the nodes inside the declared underlay.
    pub pdc: Option<&'a PdcId>,
    /// Its own outer addresses: rows there are its own guests.
    pub own: &'a [IpAddr],
    /// MTU of its underlay towards nodes of its PDC and towards others.
    pub underlay_mtus: (u16, u16),
    /// What tunnels to peers were measured to carry and what counts of it, bytes of the outer packet.
    pub measured: &'a BTreeMap<NodeId, u16>,
    /// How an MTU is found where a network says nothing.
    pub mtu: MtuPolicy,
    /// `[table]`
    pub declared: &'a TableFiles,
    /// Contents of the peers' `psk_file`s.
    pub psks: &'a BTreeMap<NodeId, Psk>,
}

/// The slice of a node whose table files are these; its version is `0/revision`.
///
/// # Errors
/// A [`Problem`] M0311: rows name another UDP port than their network has, two overlays share one, a guest MTU does not fit.
pub fn slice(setting: Setting<'_>, revision: u64, files: &BTreeMap<NetKey, File>) -> Result<Slice, Problem> {
    let here = setting.pdc.cloned().unwrap_or_else(|| label("here"));
    let mut slice = Slice::empty(Version { incarnation: 0, revision }, setting.node.clone(), here.clone());
    let underlay = setting.declared.underlay.clone();
    slice.pdcs.insert(here, PdcFacts { intra: Intra::Plain, underlay, ..PdcFacts::default() });
    let mut ports: BTreeMap<UdpPort, OverlayId> = BTreeMap::new();
    let declared = setting.declared.networks.iter().map(|network| (&network.key, None));
    let all: BTreeMap<&NetKey, Option<&File>> = declared.chain(files.iter().map(|(k, f)| (k, Some(f)))).collect();
    let nothing = File::default();
    for (key, file) in all {
        let file = file.unwrap_or(&nothing);
        let network = network(setting, key, file, &mut slice)?;
        let other = ports.entry(network.udp_port).or_insert_with(|| key.overlay.clone());
        if *other != key.overlay {
            let what = format!("the overlays '{other}' and '{}' share UDP port {}", key.overlay, network.udp_port);
            return Err(Problem::new(UNFIT, Exit::Invalid, what).help("give each overlay a UDP port of its own"));
        }
        slice.networks.insert(key.clone(), network);
    }
    Ok(slice)
}

/// Adds the rows and peers of one file; what is left is the network.
fn network(setting: Setting<'_>, key: &NetKey, file: &File, slice: &mut Slice) -> Result<Network, Problem> {
    let told = setting.declared.networks.iter().find(|network| network.key == *key);
    let udp_port = udp_port(key, told, file)?;
    let mut members = BTreeMap::new();
    for (mac, entry) in &file.entries {
        let node = node(setting, entry.ip, slice, &mut members);
        slice.rows.insert(row_key(key, *mac), row(node, entry));
    }
    let name = match told {
        Some(told) => told.name.clone(),
        None => file_network_name(&key.overlay, key.vni).map_err(|why| Problem::new(UNFIT, Exit::Invalid, why))?,
    };
    let policy = told.and_then(|told| told.mtu).map(|mtu| MtuPolicy { fixed: Some(mtu), ..setting.mtu });
    let ipv6 = told.is_some_and(|told| told.cidr.iter().any(|prefix| prefix.network().is_ipv6()));
    let guest_mtu = guest_mtu(setting, policy, slice, &members, ipv6)
        .map_err(|error| Problem::new("M0501", Exit::Invalid, format!("network '{name}': {error}")))?;
    Ok(Network {
        name,
        udp_port,
        cidr: told.map_or_else(Vec::new, |told| told.cidr.clone()),
        gateway: told.map_or_else(Vec::new, |told| told.gateway.clone()),
        mtu: policy,
        guest_mtu,
        flood: told.map_or_else(Flood::default, |told| told.flood),
        group_rate: told.and_then(|told| told.group_rate),
        // The files name the guests of other nodes only; this node's own are what its bridge has.
        learning: Learning::Local,
        members,
    })
}

/// The node behind an address; it becomes a peer and a member unless it is this one.
fn node(setting: Setting<'_>, ip: IpAddr, slice: &mut Slice, members: &mut BTreeMap<NodeId, Path>) -> NodeId {
    if setting.own.contains(&ip) {
        return slice.node.clone();
    }
    let declared = setting.declared.peers.iter().find(|peer| peer.vtep == ip);
    let inside = setting.declared.underlay.iter().any(|prefix| prefix.contains(ip));
    let path = match (inside, declared) {
        (true, _) => Path::Plain,
        (false, Some(_)) => Path::Tunnel,
        (false, None) => Path::Forbidden,
    };
    let name = declared.map_or_else(|| name_of(ip), |peer| peer.name.clone());
    let mut peer = Peer {
        pdc: if inside { slice.pdc.clone() } else { elsewhere(&slice.pdc) },
        public_key: None,
        psk: None,
        suite: Suite::Chacha,
        admin: inside.then_some(ip),
        external: (!inside).then_some(ip),
        listen: port(crate::config::meshd::LISTEN),
        lanes: 1,
        changing: Vec::new(),
        foreign: None,
    };
    if let Some(declared) = declared {
        peer.public_key = Some(declared.public_key);
        peer.psk = setting.psks.get(&declared.name).cloned();
        peer.external = Some(declared.endpoint.ip());
        peer.listen = port(declared.endpoint.port());
        peer.lanes = declared.lanes;
    }
    members.insert(name.clone(), path);
    slice.peers.insert(name.clone(), peer);
    name
}

fn row(node: NodeId, entry: &Entry) -> Row {
    Row {
        node,
        arp: entry.arp.into_iter().collect(),
        nd: entry.ndp.into_iter().collect(),
        port: None,
        dhcp_proxy: entry.dhcp_proxy,
        floating: BTreeSet::new(),
        role: Roles::default(),
        interface: None,
        group_rate: None,
    }
}

fn row_key(net: &NetKey, mac: Mac) -> RowKey {
    RowKey { overlay: net.overlay.clone(), vni: net.vni, vlan: None, mac }
}

/// The one UDP port that all rows name, or the declared one.
fn udp_port(key: &NetKey, told: Option<&TableNetwork>, file: &File) -> Result<UdpPort, Problem> {
    let named: BTreeSet<UdpPort> = file.entries.values().filter_map(|entry| entry.port).collect();
    let wanted =
        told.and_then(|told| told.udp_port).or_else(|| named.first().copied()).unwrap_or_else(|| port(VXLAN_PORT));
    let Some((mac, entry)) = file.entries.iter().find(|(_, entry)| entry.port.is_some_and(|port| port != wanted))
    else {
        return Ok(wanted);
    };
    let given = entry.port.map_or_else(String::new, |port| port.to_string());
    let what = format!("table file {key}: {mac} has port {given}, the network uses {wanted}");
    Err(Problem::new(UNFIT, Exit::Invalid, what)
        .note("a node listens on one UDP port for an overlay, and so must its peers")
        .help("the same port in every row, or udp_port in a [[table.network]] for it"))
}

/// The guest MTU over this node's own pairs. A path that shrank makes it smaller; it never makes the files wrong.
fn guest_mtu(
    setting: Setting<'_>,
    policy: Option<MtuPolicy>,
    slice: &Slice,
    members: &BTreeMap<NodeId, Path>,
    ipv6: bool,
) -> Result<crate::types::Mtu, mtu::MtuError> {
    let (admin, external) = setting.underlay_mtus;
    let span = |(node, path): (&NodeId, &Path)| {
        let peer = slice.peers.get(node)?;
        let v6 = peer.admin.or(peer.external).is_some_and(|address| address.is_ipv6());
        let family = if v6 { Family::V6 } else { Family::V4 };
        let (carrier, underlay, measured) = match path {
            Path::Plain => (Carrier::Plain(family), admin, None),
            Path::Tunnel => (Carrier::Compact(family), external, setting.measured.get(node).copied()),
            Path::Forbidden => return None,
        };
        Some(Span { carrier, underlay, measured })
    };
    let spans: Vec<Span> = members.iter().filter_map(span).collect();
    let policy = policy.unwrap_or(setting.mtu);
    let computed: Vec<Span> = spans.iter().map(|span| Span { measured: None, ..*span }).collect();
    mtu::check(policy, ipv6, &computed)?;
    Ok(mtu::guest(policy, ipv6, &spans, admin).mtu)
}

/// A name for a node of which only the address is known: `n-10-0-0-5`, `n-2001-db8-0-0-0-0-0-5`.
fn name_of(ip: IpAddr) -> NodeId {
    match ip {
        IpAddr::V4(ip) => label(&format!("n-{}", ip.octets().map(|byte| byte.to_string()).join("-"))),
        IpAddr::V6(ip) => label(&format!("n-{}", ip.segments().map(|group| format!("{group:x}")).join("-"))),
    }
}

/// A PDC that is not this one.
fn elsewhere(here: &PdcId) -> PdcId {
    label(if here.as_str() == "elsewhere" { "elsewhere-2" } else { "elsewhere" })
}

fn label<T: std::str::FromStr>(text: &str) -> T {
    match text.parse() {
        Ok(label) => label,
        Err(_) => unreachable!("'{text}' is made of letters, digits and inner hyphens"),
    }
}

fn port(number: u16) -> UdpPort {
    // An endpoint's port is checked with the file that it stands in; 0 would be nobody's.
    match UdpPort::try_from(u64::from(number)) {
        Ok(port) => port,
        Err(_) => unreachable!("the UDP port {number} was checked before"),
    }
}
