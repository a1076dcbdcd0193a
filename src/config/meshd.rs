//! `meshd.toml`: what a node knows better than the management node.
//!
//! `examples/meshd.toml` is the reference with every key; a test parses it. Every key has a default but `management`, which only
//! a node that runs from table files (`table.source = "files"`) may leave out.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

pub use super::{Attach, Ciphers, Lanes, Level, UnderlayMtu};
use super::{Source, from_toml, say};
use crate::api::problem::{Exit, Problem};
use crate::policy::mtu::{self, Carrier, Family, MtuError, MtuPolicy, Oversize};
use crate::policy::offload::Switches;
use crate::table::{Flood, NetKey};
use crate::types::{GroupRate, Mtu, NetworkId, NodeId, OverlayId, PdcId, Prefix, PublicKey, UdpPort, Vni};

/// UDP port of lane 0 where nothing is said.
pub const LISTEN: u16 = 51820;
/// Name of the control socket.
pub const SOCKET: &str = "meshd.sock";
/// VXLAN UDP port where nothing is said (RFC 7348 section 5).
pub const VXLAN_PORT: u16 = 4789;

/// A valid `meshd.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `host:port` of the management nodes, tried in turn. Empty only with [`Table::Files`].
    pub management: Vec<String>,
    /// `[node]`
    pub node: Node,
    /// `[underlay]`
    pub underlay: Underlay,
    /// `[mtu]`
    pub mtu: NodeMtu,
    /// `[offload]`
    pub offload: Switches,
    /// `[paths]`
    pub paths: Paths,
    /// `[table]`
    pub table: Table,
    /// `[log] level`; default `info`.
    pub log: Level,
}

/// `[node]`: asserts what the certificate says. A mismatch stops the daemon; it never decides anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// `name`; default: what the certificate says. Needed with `table.source = "files"`.
    pub name: Option<NodeId>,
    /// `pdc`; default: what the certificate says.
    pub pdc: Option<PdcId>,
}

/// `[underlay]`: where outer packets leave and arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underlay {
    /// `admin`: interface or address used inside the PDC; default: the interface of the default route.
    pub admin: Option<Attach>,
    /// `external`: interface or address used between PDCs; default: the interface of the default route.
    pub external: Option<Attach>,
    /// `listen`: UDP port of lane 0, lane i uses `listen` + i; default 51820.
    pub listen: UdpPort,
    /// `lanes`: `"auto"` or 1 to [`Lanes::MAX`]; default `"auto"`.
    pub lanes: Lanes,
    /// `suite`: which ciphers this node takes; default `"auto"`.
    pub suite: Ciphers,
}

/// `[mtu]`: holds for networks whose own policy, and whose overlay's, is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeMtu {
    /// `policy` and `guest`: none for `policy = "auto"` (the default without `guest`), the number for `policy = "fixed"` (default 1400, and default where there is a `guest`).
    pub fixed: Option<Mtu>,
    /// `vlan`: whether it leaves room for an 802.1Q tag of guests; default false.
    pub vlan: bool,
    /// `underlay`: `"interface"` (the default) or a number of bytes.
    pub underlay: UnderlayMtu,
    /// `oversize`: `"fragment"` (the default), `"too-big"` or `"drop"`.
    pub oversize: Oversize,
    /// `clamp_mss`: whether the MSS of TCP SYNs is lowered to what the path carries; default true.
    pub clamp_mss: bool,
}

/// `[paths]`: folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `keys`; default `/etc/vxmesh/keys`.
    pub keys: PathBuf,
    /// `state`; default `/var/lib/vxmesh`.
    pub state: PathBuf,
    /// `run`; default `/run/vxmesh`.
    pub run: PathBuf,
}

/// `[table]`: where the table comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// `source = "management"`, the default.
    Management,
    /// `source = "files"`: from illumos `files` JSON, read again when a file changes, without any management node.
    Files(TableFiles),
}

/// What a node must be told that runs from table files: their form knows neither paths, keys nor flooding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFiles {
    /// `dir`: holds `<overlay>/<vni>.json`; default `table` below `paths.state`.
    pub dir: PathBuf,
    /// `underlay`: prefixes of VTEPs that are reached by plain VXLAN. All others need a tunnel, or get nothing.
    pub underlay: Vec<Prefix>,
    /// `[[table.peer]]`: tunnels.
    pub peers: Vec<TablePeer>,
    /// `[[table.network]]`: what the file of a network cannot say.
    pub networks: Vec<TableNetwork>,
}

/// `[[table.peer]]`: a node that is reached by a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePeer {
    /// `name`
    pub name: NodeId,
    /// `vtep`: its address in the `ip` of rows. Outside of `table.underlay`.
    pub vtep: IpAddr,
    /// `public_key`: its WireGuard key.
    pub public_key: PublicKey,
    /// `psk_file`: file (0600) with the base64 key of this pair; default: none.
    pub psk_file: Option<PathBuf>,
    /// `endpoint`: where its lane 0 listens; default UDP port 51820 of `vtep`.
    pub endpoint: SocketAddr,
    /// `lanes`: how many lanes the pair uses; default 1.
    pub lanes: u8,
}

/// `[[table.network]]`: every key but `overlay` and `vni` has a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableNetwork {
    /// `overlay` and `vni`: the file that it speaks of.
    pub key: NetKey,
    /// `name`; default `<overlay>-<vni>`.
    pub name: NetworkId,
    /// `udp_port`; default: the one that all rows of the file name, 4789 where there are no rows.
    pub udp_port: Option<UdpPort>,
    /// `cidr`: prefixes of the guests; default none.
    pub cidr: Vec<Prefix>,
    /// `gateway`: gateway addresses of the guests; default none.
    pub gateway: Vec<IpAddr>,
    /// `mtu`: guest MTU; default: `[mtu]` decides.
    pub mtu: Option<Mtu>,
    /// `flood`; default `"suppress"`.
    pub flood: Flood,
    /// `group_rate`: broadcast and multicast frames a second; default 1000.
    pub group_rate: Option<GroupRate>,
}

impl Config {
    /// Reads `meshd.toml`. `file` is its name for errors.
    ///
    /// # Errors
    /// A [`Problem`] M03xx with the place: an unknown key, a wrong type, a value out of its range, values that do not fit together.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let source = Source::new(file, text);
        from_toml::<Written>(source)?.check(source)
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.paths.run.join(SOCKET)
    }
}

impl NodeMtu {
    /// As a policy for one network.
    pub const fn policy(self) -> MtuPolicy {
        MtuPolicy { fixed: self.fixed, vlan: self.vlan, oversize: self.oversize }
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self { keys: "/etc/vxmesh/keys".into(), state: "/var/lib/vxmesh".into(), run: "/run/vxmesh".into() }
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    management: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    node: Node,
    #[serde(default)]
    underlay: WrittenUnderlay,
    #[serde(default)]
    mtu: WrittenMtu,
    #[serde(default)]
    offload: Switches,
    #[serde(default)]
    paths: WrittenPaths,
    #[serde(default)]
    table: WrittenTable,
    #[serde(default)]
    log: WrittenLog,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WrittenUnderlay {
    admin: Option<Attach>,
    external: Option<Attach>,
    listen: Option<Spanned<UdpPort>>,
    #[serde(default)]
    lanes: Lanes,
    #[serde(default)]
    suite: Ciphers,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WrittenMtu {
    policy: Option<GuestMtu>,
    guest: Option<Spanned<Mtu>>,
    #[serde(default)]
    vlan: bool,
    underlay: Option<Spanned<UnderlayMtu>>,
    #[serde(default)]
    oversize: Oversize,
    clamp_mss: Option<bool>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum GuestMtu {
    Auto,
    Fixed,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WrittenPaths {
    keys: Option<PathBuf>,
    state: Option<PathBuf>,
    run: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenLog {
    #[serde(default)]
    pub(super) level: Level,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WrittenTable {
    #[serde(default)]
    source: TableSource,
    dir: Option<PathBuf>,
    #[serde(default)]
    underlay: Vec<Prefix>,
    #[serde(default)]
    peer: Vec<WrittenPeer>,
    #[serde(default)]
    network: Vec<Spanned<WrittenNetwork>>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum TableSource {
    #[default]
    Management,
    Files,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPeer {
    name: Spanned<NodeId>,
    vtep: Spanned<IpAddr>,
    public_key: PublicKey,
    psk_file: Option<PathBuf>,
    endpoint: Option<Spanned<SocketAddr>>,
    lanes: Option<Spanned<u8>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNetwork {
    overlay: OverlayId,
    vni: Vni,
    name: Option<NetworkId>,
    udp_port: Option<UdpPort>,
    #[serde(default)]
    cidr: Vec<Prefix>,
    #[serde(default)]
    gateway: Vec<Spanned<IpAddr>>,
    mtu: Option<Mtu>,
    #[serde(default)]
    flood: Flood,
    group_rate: Option<GroupRate>,
}

impl Written {
    fn check(self, source: Source<'_>) -> Result<Config, Problem> {
        let paths = self.paths.fill();
        let table = self.table.check(source, &paths, self.node.name.as_ref())?;
        let files = matches!(table, Table::Files(_));
        if files && self.node.name.is_none() {
            return Err(
                say::missing_key("name", "[node]").note("table.source = \"files\": no certificate says the name")
            );
        }
        Ok(Config {
            management: management(source, self.management, files)?,
            node: self.node,
            underlay: self.underlay.check(source)?,
            mtu: self.mtu.check(source)?,
            offload: self.offload,
            paths,
            table,
            log: self.log.level,
        })
    }
}

fn management(source: Source<'_>, given: Option<Vec<Spanned<String>>>, files: bool) -> Result<Vec<String>, Problem> {
    let given = given.unwrap_or_default();
    if given.is_empty() && !files {
        let problem = say::missing_key("management", "the file");
        return Err(problem.note(format!("in {}", source.file)).help("management = [\"mgmt.example.net:7443\"]"));
    }
    for address in &given {
        super::values::host_port(address.get_ref()).map_err(|why| say::value(why).at(source.bytes(address.span())))?;
    }
    Ok(given.into_iter().map(Spanned::into_inner).collect())
}

impl WrittenUnderlay {
    fn check(self, source: Source<'_>) -> Result<Underlay, Problem> {
        let (listen, span) = match self.listen {
            Some(listen) => (*listen.get_ref(), Some(listen.span())),
            None => (default_port(LISTEN), None),
        };
        let lanes = self.lanes.most();
        if listen.get().checked_add(u16::from(lanes) - 1).is_none() {
            let last = u32::from(listen.get()) + u32::from(lanes) - 1;
            let problem =
                say::value(format!("lane {} would listen on UDP port {last}; the last one is 65535", lanes - 1));
            return Err(problem.at(source.bytes(span.unwrap_or_default())).help("a lower listen, or fewer lanes"));
        }
        Ok(Underlay { admin: self.admin, external: self.external, listen, lanes: self.lanes, suite: self.suite })
    }
}

impl WrittenMtu {
    /// Refuses numbers that can never work. What merely needs fragments is taken: `meshctl status` tells of it.
    fn check(self, source: Source<'_>) -> Result<NodeMtu, Problem> {
        // A number that nobody calls off is meant.
        let fixed = match self.policy {
            None => self.guest.as_ref().map(|guest| *guest.get_ref()),
            Some(GuestMtu::Auto) => None,
            Some(GuestMtu::Fixed) => {
                self.guest.as_ref().map(|guest| *guest.get_ref()).or_else(|| Mtu::try_from(1400).ok())
            }
        };
        let underlay = self.underlay.as_ref().map(|underlay| *underlay.get_ref()).unwrap_or_default();
        let place = |problem: Problem, span: Option<std::ops::Range<usize>>| match span {
            Some(span) => problem.at(source.bytes(span)),
            None => problem,
        };
        let guest_at = self.guest.as_ref().map(Spanned::span);
        let impossible = |error: MtuError| Problem::new("M0501", Exit::Invalid, error.to_string());
        if let Some(fixed) = fixed {
            mtu::check_number(fixed, false, self.vlan).map_err(|error| place(impossible(error), guest_at.clone()))?;
        }
        if let UnderlayMtu::Bytes(bytes) = underlay {
            let plain = Carrier::Plain(Family::V4).sum(bytes.get(), self.vlan);
            let underlay_at = self.underlay.as_ref().map(Spanned::span);
            plain.mtu().map_err(|error| place(impossible(error), underlay_at))?;
            // Nothing costs less than the plain path, and it cuts nothing; only tunnels do, where they may.
            if let Some(fixed) = fixed.filter(|_| self.oversize != Oversize::Fragment) {
                plain.check(fixed).map_err(|error| place(impossible(error), guest_at))?;
            }
        }
        let (vlan, oversize) = (self.vlan, self.oversize);
        Ok(NodeMtu { fixed, underlay, vlan, oversize, clamp_mss: self.clamp_mss.unwrap_or(true) })
    }
}

impl WrittenPaths {
    fn fill(self) -> Paths {
        let default = Paths::default();
        Paths {
            keys: self.keys.unwrap_or(default.keys),
            state: self.state.unwrap_or(default.state),
            run: self.run.unwrap_or(default.run),
        }
    }
}

impl WrittenTable {
    fn check(self, source: Source<'_>, paths: &Paths, own: Option<&NodeId>) -> Result<Table, Problem> {
        if self.source == TableSource::Management {
            let idle =
                self.dir.is_some() || !(self.underlay.is_empty() && self.peer.is_empty() && self.network.is_empty());
            return if idle {
                Err(say::value("[table] says how to run from files, but its source is \"management\"")
                    .note(format!("in {}", source.file))
                    .help("source = \"files\" to run without a management node, or remove the rest of [table]"))
            } else {
                Ok(Table::Management)
            };
        }
        let dir = self.dir.unwrap_or_else(|| paths.state.join("table"));
        let networks = self.network.into_iter().map(|n| check_network(source, n)).collect::<Result<Vec<_>, _>>()?;
        let mut names: BTreeSet<NodeId> = own.into_iter().cloned().collect();
        let peers = self.peer.into_iter().map(|peer| {
            let first = names.insert(peer.name.get_ref().clone());
            peer.check(source, &self.underlay, first)
        });
        Ok(Table::Files(TableFiles { dir, peers: peers.collect::<Result<_, _>>()?, underlay: self.underlay, networks }))
    }
}

impl WrittenPeer {
    fn check(self, source: Source<'_>, underlay: &[Prefix], first: bool) -> Result<TablePeer, Problem> {
        let vtep = *self.vtep.get_ref();
        if let Some(prefix) = underlay.iter().find(|prefix| prefix.contains(vtep)) {
            return Err(say::value(format!(
                "{vtep} lies inside the underlay {prefix}, so frames to it would go in clear"
            ))
            .at(source.bytes(self.vtep.span()))
            .help("a smaller underlay, or no [[table.peer]] for it"));
        }
        if !first {
            let what = format!("two nodes are called '{}'", self.name.get_ref());
            return Err(say::value(what).at(source.bytes(self.name.span())));
        }
        let lanes = match self.lanes {
            Some(lanes) if !(1..=Lanes::MAX).contains(lanes.get_ref()) => {
                let what = format!("a pair uses 1 to {} lanes, not {}", Lanes::MAX, lanes.get_ref());
                return Err(say::value(what).at(source.bytes(lanes.span())));
            }
            Some(lanes) => lanes.into_inner(),
            None => 1,
        };
        let endpoint = match self.endpoint {
            Some(endpoint) if endpoint.get_ref().port() == 0 => {
                return Err(say::value("UDP port 0 is nobody's").at(source.bytes(endpoint.span())));
            }
            Some(endpoint) => endpoint.into_inner(),
            None => SocketAddr::new(vtep, LISTEN),
        };
        Ok(TablePeer {
            name: self.name.into_inner(),
            vtep,
            public_key: self.public_key,
            psk_file: self.psk_file,
            endpoint,
            lanes,
        })
    }
}

fn check_network(source: Source<'_>, written: Spanned<WrittenNetwork>) -> Result<TableNetwork, Problem> {
    let place = source.bytes(written.span());
    let written = written.into_inner();
    for gateway in &written.gateway {
        let address = *gateway.get_ref();
        if !written.cidr.iter().any(|prefix| prefix.contains(address)) {
            let what = format!("the gateway {address} is outside of the network's prefixes");
            return Err(say::value(what).at(source.bytes(gateway.span())));
        }
    }
    let name = match written.name {
        Some(name) => name,
        None => file_network_name(&written.overlay, written.vni).map_err(|why| say::value(why).at(place))?,
    };
    Ok(TableNetwork {
        key: NetKey { overlay: written.overlay, vni: written.vni },
        name,
        udp_port: written.udp_port,
        cidr: written.cidr,
        gateway: written.gateway.into_iter().map(Spanned::into_inner).collect(),
        mtu: written.mtu,
        flood: written.flood,
        group_rate: written.group_rate,
    })
}

/// Name of a network of which only its file is known: `<overlay>-<vni>`.
///
/// # Errors
/// A sentence, where the overlay's name is so long that this is no name any more.
pub fn file_network_name(overlay: &OverlayId, vni: Vni) -> Result<NetworkId, String> {
    format!("{overlay}-{vni}").parse().map_err(|e| format!("{overlay}-{vni} cannot be the network's name: {e}"))
}

fn default_port(port: u16) -> UdpPort {
    match UdpPort::try_from(u64::from(port)) {
        Ok(port) => port,
        Err(_) => unreachable!("{port} is a UDP port"),
    }
}

#[cfg(test)]
#[path = "meshd_tests.rs"]
mod tests;
