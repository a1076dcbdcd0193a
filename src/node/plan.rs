//! From the slice to what the kernel should hold. A pure function: the same slice, paths and host give the same plan, which a
//! person can read before anything is done.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::desired::{
    Bridge, BridgeEntry, Desired, Hold, Kind, Link, Neighbour, Net, Port, PortFlags, Tap, Vtep, Vxlan,
};
use super::fence;
use super::guard::{Guard, Side};
use super::names::{self, Device};
use super::onlink::OnLink;
use super::paths::{self, Own, Paths};
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::policy::mtu::{self, Carrier, Family, IPV6_LEAST, MtuPolicy, Sum};
use crate::policy::path::{Outer, Path, PdcFacts, Verdict};
use crate::table::{Flood, Learning, NetKey, Network, Row, RowKey, Slice};
use crate::types::{IfName, Mac, Mtu, NodeId, UdpPort};

/// MTU of a TAP, the largest that the kernel gives one (`MAX_MTU - hard_header_len`, `drivers/net/tun.c`): a bridge drops what is
/// larger than the port that it is for, and nobody would know (`is_skb_forwardable`). What a frame of a guest with a larger MTU
/// becomes is `meshd`'s decision. Guests see the bridge's MTU, which is that of the network.
pub const TAP_MTU: u32 = 65_521;

/// What this host is and what its own file says, as far as the plan depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Local {
    /// Towards nodes of this PDC.
    pub admin: Option<Underlay>,
    /// Towards other PDCs.
    pub external: Option<Underlay>,
    /// `[mtu]`: counts where neither network nor overlay has an MTU policy.
    pub mtu: MtuPolicy,
    /// `[mtu] clamp_mss`: whether the MSS of TCP SYNs is lowered to what fits.
    pub clamp_mss: bool,
    /// UDP ports of this node's own lanes.
    pub tunnel: BTreeSet<UdpPort>,
}

/// One interface of this host that carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underlay {
    /// Its name.
    pub interface: IfName,
    /// The address that peers send to.
    pub address: IpAddr,
    /// Its MTU in bytes, or the number in `[mtu] underlay`.
    pub mtu: u16,
}

/// What should be, and what stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What the kernel should hold.
    pub desired: Desired,
    /// What is wrong with the slice or the host; what a finding names is left out of `desired`, never guessed.
    pub findings: Vec<Finding>,
}

impl Local {
    /// This node's own outer addresses, as [`paths::decide_all`] wants them.
    pub fn own(&self) -> Own {
        let address = |side: &Option<Underlay>| side.as_ref().map(|u| u.address);
        Own { admin: address(&self.admin), external: address(&self.external) }
    }

    /// How a network's MTU is found: as it or its overlay says, or else as this node's `[mtu]` does.
    pub fn policy(&self, network: &Network) -> MtuPolicy {
        network.mtu.unwrap_or(self.mtu)
    }

    /// The slice with this node's `[mtu]` written into every network that leaves it to the node: whoever reads it from here on
    /// finds one policy and one number.
    pub fn resolved(&self, slice: &Arc<Slice>) -> Arc<Slice> {
        if slice.networks.values().all(|network| network.mtu.is_some()) {
            return Arc::clone(slice);
        }
        let mut resolved = Slice::clone(slice);
        for network in resolved.networks.values_mut() {
            network.guest_mtu = self.guest_mtu(network);
            network.mtu = Some(self.policy(network));
        }
        Arc::new(resolved)
    }

    /// The guest MTU of a network on this node: the fixed number, or what was computed.
    pub fn guest_mtu(&self, network: &Network) -> Mtu {
        self.policy(network).fixed.unwrap_or(network.guest_mtu)
    }

    /// What carries towards peers that are reached on that kind of address.
    pub fn side(&self, outer: Outer) -> Option<&Underlay> {
        match outer {
            Outer::Admin => self.admin.as_ref(),
            Outer::External => self.external.as_ref(),
        }
    }
}

/// The plan for a slice. Two networks that would have the same device names, members that cannot be reached as their path says
/// and rows that contradict each other become findings; the rest is planned as if they were not there.
pub fn plan(slice: &Slice, paths: &Paths, local: &Local) -> Plan {
    let mut plan = Plan::default();
    plan.desired.keeps_plugs = true;
    let none = BTreeMap::new();
    for (key, network) in &slice.networks {
        let bridge = names::device(Device::Bridge, key.vni, network.udp_port);
        if let Some(other) = plan.desired.networks.get(&bridge) {
            plan.findings.push(same_names(key, &other.key, network.udp_port));
            continue;
        }
        let view = View { slice, key, network, local, verdicts: paths.get(key).unwrap_or(&none) };
        let members = view.plain_members(&mut plan.findings);
        view.allow(&members, &mut plan.desired.guard);
        let net = view.net(&bridge, &members, &mut plan.findings);
        plan.desired.fence.add(slice, key, &bridge, &net, &mut plan.findings);
        plan.desired.fence.sizes.add(&bridge, &net, local.clamp_mss);
        plan.desired.networks.insert(bridge, net);
    }
    for row in slice.rows.values().filter(|row| row.node == slice.node) {
        if let Some((interface, port)) = row.interface.clone().zip(row.port.clone()) {
            plan.desired.named_by.entry(interface).or_insert(port);
        }
    }
    plan.desired.onlink = OnLink::wanted(slice, &plan.desired.guard, &mut plan.findings);
    plan
}

/// One network of the slice with everything that its plan depends on.
struct View<'a> {
    slice: &'a Slice,
    key: &'a NetKey,
    network: &'a Network,
    local: &'a Local,
    verdicts: &'a BTreeMap<NodeId, Verdict>,
}

/// A member reached by the plain path.
#[derive(Clone, Copy)]
struct Plain {
    address: IpAddr,
    outer: Outer,
}

type Members<'a> = BTreeMap<&'a NodeId, Plain>;

impl<'a> View<'a> {
    /// Members whose path is plain and can be: both ends have an address, of one family.
    fn plain_members(&self, findings: &mut Vec<Finding>) -> Members<'a> {
        let mut members = BTreeMap::new();
        let mut family = None;
        for (node, verdict) in self.verdicts.iter().filter(|(_, v)| v.path == Path::Plain) {
            let theirs = self.slice.peers.get(node).and_then(|peer| paths::vtep(peer, verdict.outer));
            let (Some(address), Some(own)) = (theirs, self.local.side(verdict.outer)) else {
                findings.push(no_address(self.key, node, verdict.outer, theirs.is_none()));
                continue;
            };
            // A vxlan device speaks one family, which its first member decides.
            let family = *family.get_or_insert_with(|| own.address.is_ipv4());
            if [own.address.is_ipv4(), address.is_ipv4()] != [family; 2]
                || address.is_unspecified()
                || address.is_multicast()
            {
                findings.push(wrong_family(self.key, (node, verdict.outer), own.address, address));
                continue;
            }
            members.insert(node, Plain { address, outer: verdict.outer });
        }
        members
    }

    /// Opens the guard for exactly these members.
    fn allow(&self, members: &Members<'_>, guard: &mut Guard) {
        let port = self.network.udp_port;
        guard.ports.insert(port);
        let facts = self.slice.pdcs.get(&self.slice.pdc);
        let hops = facts.map_or(0, |facts| facts.max_hops);
        for member in members.values() {
            let (side, min_ttl, routers) = match member.outer {
                Outer::Admin => {
                    let routers = facts.map_or_else(|| Some(BTreeSet::new()), PdcFacts::next_hops);
                    (&mut guard.admin, u8::MAX.saturating_sub(hops).max(1), routers)
                }
                Outer::External => (&mut guard.external, 1, None),
            };
            if let Some(underlay) = self.local.side(member.outer) {
                let (interface, own) = (underlay.interface.clone(), underlay.address);
                let new = || Side { interface, own, min_ttl, members: BTreeSet::new(), routers };
                side.get_or_insert_with(new).members.insert((port, member.address, self.key.vni));
            }
        }
    }

    fn net(&self, bridge: &IfName, members: &Members<'_>, findings: &mut Vec<Finding>) -> Net {
        let (vni, port) = (self.key.vni, self.network.udp_port);
        let tap = names::device(Device::Tap, vni, port);
        let vxlan = (!members.is_empty()).then(|| names::device(Device::Vxlan, vni, port));
        let mixed =
            members.values().any(|m| m.outer == Outer::Admin) && members.values().any(|m| m.outer == Outer::External);
        // The kernel takes the route of an entry without an interface, even where the device has one (`vxlan_xmit_one`,
        // drivers/net/vxlan/vxlan_core.c): a stray route would lead a PDC's own frames to the internet.
        let vtep = |member: &Plain| {
            let via = self.local.side(member.outer).map(|u| u.interface.clone());
            Vtep { address: member.address, via }
        };
        let mut net = Net {
            key: self.key.clone(),
            learning: self.network.learning,
            guests: if self.network.learning == Learning::Declared {
                fence::named(self.slice, self.key)
            } else {
                BTreeMap::new()
            },
            loose: if self.network.learning == Learning::Declared {
                fence::loose(self.slice, self.key)
            } else {
                BTreeSet::new()
            },
            floods_unknown: self.network.learning == Learning::Local || self.network.flood == Flood::Replicate,
            links: BTreeMap::new(),
            vxlan,
            tap,
            bridge_fdb: BTreeMap::new(),
            vxlan_fdb: BTreeMap::new(),
            flood: BTreeSet::new(),
            neighbours: BTreeMap::new(),
        };
        if self.network.flood != Flood::Off {
            net.flood = members.values().map(vtep).collect();
        }
        self.links(bridge, members, mixed, &mut net, findings);
        self.rows(bridge, members, vtep, &mut net, findings);
        net
    }

    fn links(&self, bridge: &IfName, members: &Members<'_>, mixed: bool, net: &mut Net, findings: &mut Vec<Finding>) {
        let mtu = self.mtu(findings);
        let link = |kind, mtu, port| Link {
            kind,
            alias: Some(names::alias(self.key)),
            mtu,
            up: true,
            no_addresses: true,
            port,
        };
        let flood = self.network.flood;
        let port = |flags| Some(Port { bridge: bridge.clone(), flags });
        let tunnels = self.verdicts.values().any(|v| v.path == Path::Tunnel);
        net.links.insert(bridge.clone(), link(Kind::Bridge(Bridge::OURS), mtu.get().into(), None));
        net.links.insert(net.tap.clone(), link(Kind::Tap(Tap::OURS), TAP_MTU, port(port_flags(flood, tunnels))));
        let (Some(name), Some(first)) = (&net.vxlan, members.values().next()) else { return };
        let side = self.local.side(first.outer).filter(|_| !mixed);
        let (local, dev) = (side.map(|u| u.address), side.map(|u| u.interface.clone()));
        let ours = Vxlan::ours(self.key.vni, self.network.udp_port.get(), first.address.is_ipv6());
        let vxlan = Vxlan { local, dev, ..ours };
        // The kernel refuses a vxlan device more than its underlay carries; `mtu` has told the operator. What is computed for the
        // whole network may be less, because of a tunnel or of what some member says: that takes nothing from the plain path here.
        let sides = members.values().filter_map(|member| self.local.side(member.outer));
        let carried = sides.filter_map(|u| Carrier::Plain(family(u.address)).sum(u.mtu, false).mtu().ok());
        let most = carried.min().unwrap_or(mtu);
        let carries = if self.local.policy(self.network).fixed.is_some() { mtu.min(most) } else { most };
        // A frame enters by the plain path only if its source is pinned there. What enters by the TAP has been checked by a lane.
        let flags = PortFlags { locked: true, ..port_flags(flood, true) };
        net.links.insert(name.clone(), link(Kind::Vxlan(vxlan), carries.get().into(), port(flags)));
    }

    /// The guest MTU: the policy's number, or what the management node computed for the whole network. This node's plain paths are
    /// held against it: the kernel cuts nothing, so what they do not carry is lost. Tunnels carry all of it ([`super::spans`]).
    fn mtu(&self, findings: &mut Vec<Finding>) -> Mtu {
        let wanted = self.local.guest_mtu(self.network);
        let vlan = self.local.policy(self.network).vlan;
        let plain = self.verdicts.values().filter(|verdict| verdict.path == Path::Plain);
        let sides = plain.filter_map(|verdict| self.local.side(verdict.outer));
        let tightest = sides.map(|u| Carrier::Plain(family(u.address)).sum(u.mtu, vlan)).min_by_key(Sum::guest);
        if let Some((error, carries)) = tightest.and_then(|sum| Some((sum.check(wanted).err()?, sum.guest()))) {
            findings.push(mtu_too_large(self.key, self.network, &error.to_string(), carries));
        }
        wanted
    }

    /// FDB and neighbour entries of all remote guests.
    fn rows(
        &self,
        bridge: &IfName,
        members: &Members<'_>,
        vtep: impl Fn(&Plain) -> Vtep,
        net: &mut Net,
        findings: &mut Vec<Finding>,
    ) {
        let owners = self.owners(findings);
        for (mac, node) in &owners {
            let Some(verdict) = self.verdicts.get(*node) else { continue };
            let port = match (verdict.path, members.get(node), &net.vxlan) {
                (Path::Plain, Some(member), Some(vxlan)) => {
                    net.vxlan_fdb.insert(*mac, vtep(member));
                    vxlan.clone()
                }
                (Path::Tunnel, _, _) => net.tap.clone(),
                (Path::Plain | Path::Forbidden, _, _) => continue,
            };
            net.bridge_fdb.insert(*mac, BridgeEntry { port, hold: Hold::Pinned });
        }
        if self.network.flood == Flood::Replicate {
            return;
        }
        // The kernel has no IPv6, and so no IPv6 neighbours, on a device whose MTU is too small for it.
        let ipv6 = net.links.get(bridge).is_some_and(|link| link.mtu >= u32::from(IPV6_LEAST));
        let untagged = self.slice.rows_of(self.key).filter(|(key, _)| key.vlan.is_none());
        for (key, row) in untagged.filter(|(key, _)| net.bridge_fdb.contains_key(&key.mac)) {
            for address in addresses(row).filter(|address| ipv6 || address.is_ipv4()) {
                let router = address.is_ipv6() && self.network.is_router(row, address);
                net.neighbours.entry(address).or_insert(Neighbour { mac: key.mac, permanent: true, router });
            }
        }
    }

    /// Who owns each MAC. The bridge is not VLAN-aware (one FDB for all tags), so rows that differ in the VLAN alone must agree on
    /// the node; where they do not, the row of this node and then the first one counts.
    fn owners(&self, findings: &mut Vec<Finding>) -> BTreeMap<Mac, &'a NodeId> {
        let mut owners: BTreeMap<Mac, &NodeId> = BTreeMap::new();
        for (key, row) in self.slice.rows_of(self.key).filter(|(key, _)| key.mac.is_unicast()) {
            let owner = owners.entry(key.mac).or_insert(&row.node);
            if **owner != row.node {
                findings.push(two_owners(key, owner, &row.node));
                if row.node == self.slice.node {
                    *owner = &row.node;
                }
            }
        }
        owners
    }
}

fn addresses(row: &Row) -> impl Iterator<Item = IpAddr> {
    let arp = row.arp.iter().map(|a| IpAddr::V4(*a));
    let all = arp.chain(row.nd.iter().map(|a| IpAddr::V6(*a)));
    all.filter(|a| !a.is_unspecified() && !a.is_multicast())
}

/// Both remote ports are isolated and learn nothing. The bridge answers for nobody: questions are sent to whom they are for
/// ([`super::owners`]). What floods is the network's choice, and nothing floods into a port that
/// leads nowhere.
fn port_flags(flood: Flood, used: bool) -> PortFlags {
    let copies = used && flood != Flood::Off;
    PortFlags {
        isolated: true,
        learning: false,
        locked: false,
        neigh_suppress: false,
        flood: used && flood == Flood::Replicate,
        mcast_flood: copies,
        bcast_flood: copies,
        hairpin: false,
        proxy_arp: false,
    }
}

fn family(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::V4 } else { Family::V6 }
}

fn same_names(key: &NetKey, other: &NetKey, port: UdpPort) -> Finding {
    Finding::new(
        "M0603",
        format!("networks {other} and {key} both want VNI {} on UDP port {port}; {key} is left out", key.vni),
        "give one of the two overlays another UDP port: meshctl overlay set NAME --udp-port PORT",
    )
    .cuts(Cut::network(key))
}

const fn word(outer: Outer) -> &'static str {
    match outer {
        Outer::Admin => "admin",
        Outer::External => "external",
    }
}

fn no_address(key: &NetKey, node: &NodeId, outer: Outer, theirs: bool) -> Finding {
    let word = word(outer);
    let (who, help) = if theirs {
        (format!("node '{node}'"), format!("meshctl node set {node} --{word} ADDRESS"))
    } else {
        ("this node".to_owned(), format!("set [underlay] {word} in meshd.toml, then: systemctl reload meshd"))
    };
    Finding::new(
        "M0404",
        format!("network {key}: the path to '{node}' is plain but {who} has no {word} address; nothing is sent"),
        help,
    )
    .cuts(Cut::peers(true, Path::Plain, [node]))
}

fn wrong_family(key: &NetKey, (node, outer): (&NodeId, Outer), own: IpAddr, theirs: IpAddr) -> Finding {
    let word = word(outer);
    // What management has declared of this node moves no device here: the node's own file does.
    let (here, edit) = if own.is_ipv4() == theirs.is_ipv4() {
        (own.to_string(), String::new())
    } else {
        let family = if theirs.is_ipv4() { "IPv4" } else { "IPv6" };
        let edit = format!(
            "; or name an {family} address of this host: {word} = \"ADDRESS\" in [underlay] of meshd.toml, then: systemctl reload meshd"
        );
        (format!("{own}, the {word} address that this node itself uses,"), edit)
    };
    let what = format!(
        "network {key}: no plain path from {here} to {theirs} of node '{node}'; a network's plain paths share one IP family"
    );
    let help = format!(
        "give '{node}' a unicast address of the same family{edit}; or: meshctl policy create NAME --between node:{node} --action encrypt"
    );
    Finding::new("M0405", what, help).cuts(Cut::peers(true, Path::Plain, [node]))
}

/// The fixed or computed MTU is more than the plain path carries, `carries` bytes.
fn mtu_too_large(key: &NetKey, network: &Network, why: &str, carries: u16) -> Finding {
    let name = &network.name;
    let least = mtu::least(network.has_ipv6()).get();
    let lower = if carries < least {
        format!(" by {} bytes or more: the network cannot have less than {least}", least - carries)
    } else {
        format!(", or lower the network's: meshctl network set {name} --mtu {carries}")
    };
    Finding::new(
        "M0501",
        format!("network {name}: {why}; the plain path drops frames that use them"),
        format!("raise the MTU of the underlay{lower}"),
    )
    .cuts(Cut { networks: vec![key.clone()], ..Cut::default() })
}

fn two_owners(key: &RowKey, first: &NodeId, second: &NodeId) -> Finding {
    Finding::new(
        "M0604",
        format!("rows of {} say that {} lives on '{first}' and, under another VLAN, on '{second}'", key.net(), key.mac),
        "give one of the two guests another address: a host's bridge has one table for all VLANs",
    )
    .cuts(Cut { networks: vec![key.net()], ..Cut::default() })
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub(crate) mod tests;
