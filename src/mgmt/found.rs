//! Ports that a node found on its own bridges: believed where the network learns, an operator made the node a host of it, and
//! nobody else owns the address. A claim of another's address is refused and noted, and changes nothing. What one node finds is
//! bounded ([`limits`]), and a guest that invents addresses takes the room of its own node alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::certs::hex_sha256;
use super::index::{Index, admits};
use super::limits;
use super::state::Edit;
use super::validate::belongs;
use crate::api::local::Finding;
use crate::api::objects::{Any, Meta, Network, Object, Port, PortSpec, Roles};
use crate::api::stream::FoundPort;
use crate::table::{Learning, NetKey};
use crate::types::{Mac, NetworkId, NodeId, PortId};

/// How long a refused claim counts after its node has said it: nodes say it again every 5 s while they hear the guest.
pub const FRESH: Duration = Duration::from_secs(15);
/// How long who had a guest and let go of it gets it back when it says so: its interface was gone for a moment.
pub const BACK: Duration = Duration::from_secs(6);

/// A guest that a claim is about.
pub type Claimed = (NetKey, Mac);

/// What a report leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// What to write.
    pub edits: Vec<Edit>,
    /// Claims that are not believed.
    pub refused: BTreeMap<FoundPort, Refusal>,
    /// Guests that the node does not have any more.
    pub let_go: BTreeSet<Claimed>,
}

/// Why a claim is not believed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// No such network.
    #[error("there is no such network")]
    NoNetwork,
    /// Only declared ports count there.
    #[error("network '{0}' takes declared ports only")]
    Declared(NetworkId),
    /// The overlay does not admit the node.
    #[error("the node may not host network '{0}'")]
    NotAdmitted(NetworkId),
    /// No guest's address.
    #[error("not a unicast address")]
    NotUnicast,
    /// It lives elsewhere.
    #[error("the address belongs to port '{port}' on node '{node}'")]
    Owned {
        /// The owner.
        port: PortId,
        /// Its node.
        node: NodeId,
    },
    /// No operator made the node a host.
    #[error("no operator has made the node a host of network '{0}'")]
    NotHost(NetworkId),
    /// Too many.
    #[error("a node finds at most {} ports", limits::FOUND_OF_NODE)]
    TooMany,
    /// Too many of everybody, and this node has its own part.
    #[error("network '{0}' has no room for more found ports of this node")]
    NetworkFull(NetworkId),
    /// The name that it would get is taken.
    #[error("the name '{0}' is taken")]
    NameTaken(PortId),
}

/// What is known of one network while a report is judged.
struct Here<'a> {
    network: &'a Network,
    macs: BTreeMap<Mac, &'a Port>,
    ips: BTreeMap<IpAddr, Mac>,
    /// Found ports of other nodes.
    others: usize,
    /// Found ports of this node that stand so far.
    mine: usize,
}

/// The networks that a report speaks of, each looked up once.
type Places<'a> = BTreeMap<NetKey, Result<Here<'a>, Refusal>>;

/// A report while it is judged.
struct Judge<'a> {
    index: &'a Index,
    node: &'a NodeId,
    places: Places<'a>,
    /// Found ports of this node that stand so far, in all networks.
    mine: usize,
    /// True: what stands already counts, whether or not the report names it.
    adds: bool,
    /// Guests that the node has let go a moment ago.
    lately: &'a BTreeSet<Claimed>,
}

/// Judges the whole list of what `node` found. What it found before and does not name any more goes. Of `lately`, which it has let go within
/// [`BACK`], it gets back what another node has found since.
pub fn decide(index: &Index, node: &NodeId, found: &[FoundPort], lately: &BTreeSet<Claimed>) -> Found {
    let mut judge = Judge { index, node, places: Places::new(), mine: 0, adds: false, lately };
    let mut outcome = Found::default();
    let mut kept: BTreeSet<PortId> = BTreeSet::new();
    // Who is in stays in: addresses that a guest invents do not push out the guests that were there before it.
    for known in [true, false] {
        for claim in found.iter().take(limits::CLAIMS) {
            if judge.knows(claim) == known {
                kept.extend(judge.take(claim, &mut outcome));
            }
        }
    }
    for port in of_node(index, node).filter(|port| !kept.contains(&port.metadata.name)) {
        let network = index.state.networks.get(&port.spec.network);
        let key = network.map(|network| NetKey { overlay: network.spec.overlay.clone(), vni: network.spec.vni });
        outcome.let_go.extend(key.map(|key| (key, port.spec.mac)));
        outcome.edits.push(Edit::delete(Any::Port(port.as_ref().clone())));
    }
    outcome
}

/// Judges again what was refused before, and leaves alone what stands.
pub fn retry(index: &Index, node: &NodeId, waiting: &[FoundPort]) -> Found {
    let mine = of_node(index, node).count();
    let lately = BTreeSet::new();
    let mut judge = Judge { index, node, places: Places::new(), mine, adds: true, lately: &lately };
    let mut outcome = Found::default();
    for claim in waiting {
        judge.take(claim, &mut outcome);
    }
    outcome
}

/// Ports that a node found.
fn of_node<'a>(index: &'a Index, node: &NodeId) -> impl Iterator<Item = &'a Arc<Port>> {
    index.state.ports.values().filter(move |port| port.spec.reported && port.spec.node == *node)
}

/// What is wrong: networks that learn their ports from nodes, and no node may report any.
pub fn findings(index: &Index) -> Vec<Finding> {
    let learns = |network: &&Arc<Network>| network.spec.learning == Learning::Local;
    let empty = |network: &&Arc<Network>| index.hosts.get(&network.metadata.name).is_none_or(BTreeSet::is_empty);
    let networks = index.state.networks.values().filter(learns).filter(empty);
    // With names given, their nodes may still come.
    let nobody = networks.filter(|network| {
        network.spec.nodes.is_none() && index.overlay(network).is_some_and(|overlay| overlay.spec.nodes.is_none())
    });
    let finding = |network: &Arc<Network>| {
        let name = &network.metadata.name;
        let what =
            format!("network {name} learns its ports from the nodes that host it, and no node is named to host it");
        Finding::new("M0372", what, format!("meshctl network set {name} --nodes NAMES (or '*' for all nodes)"))
    };
    nobody.map(finding).collect()
}

impl<'a> Judge<'a> {
    fn place(&mut self, key: &NetKey) -> &mut Result<Here<'a>, Refusal> {
        let (index, node, adds) = (self.index, self.node, self.adds);
        self.places.entry(key.clone()).or_insert_with(|| look(index, node, key, adds))
    }

    /// True for what this node has found before.
    fn knows(&mut self, claim: &FoundPort) -> bool {
        let node = self.node;
        self.place(&claim.network)
            .as_ref()
            .is_ok_and(|here| here.macs.get(&claim.mac).is_some_and(|port| port.spec.node == *node))
    }

    /// Judges one claim; returns the port that stands for it.
    fn take(&mut self, claim: &FoundPort, outcome: &mut Found) -> Option<PortId> {
        let (index, node, mine) = (self.index, self.node, self.mine);
        let about = (claim.network.clone(), claim.mac);
        let back = self.lately.contains(&about);
        let judged = match self.place(&claim.network) {
            Ok(here) => judge(index, here, (node, mine, back), claim).map(|(name, counts, edit)| {
                here.mine += usize::from(counts);
                (name, counts, edit)
            }),
            Err(refusal) => Err(refusal.clone()),
        };
        match judged {
            Ok((name, counts, edit)) => {
                self.mine += usize::from(counts);
                outcome.edits.extend(edit);
                Some(name)
            }
            Err(refusal) => {
                outcome.refused.insert(claim.clone(), refusal);
                None
            }
        }
    }
}

fn look<'a>(index: &'a Index, node: &NodeId, key: &NetKey, adds: bool) -> Result<Here<'a>, Refusal> {
    let is_it = |network: &&Arc<Network>| network.spec.vni == key.vni && network.spec.overlay == key.overlay;
    let network = index.state.networks.values().find(is_it).ok_or(Refusal::NoNetwork)?;
    let name = &network.metadata.name;
    if network.spec.learning != Learning::Local {
        return Err(Refusal::Declared(name.clone()));
    }
    if !index.overlay(network).is_some_and(|overlay| admits(overlay, node)) {
        return Err(Refusal::NotAdmitted(name.clone()));
    }
    if !index.hosts.get(name).is_some_and(|hosts| hosts.contains(node)) {
        return Err(Refusal::NotHost(name.clone()));
    }
    let ports = index.ports.get(name).map(Vec::as_slice).unwrap_or_default();
    let untagged = || ports.iter().filter(|port| port.spec.vlan.is_none()).map(AsRef::as_ref);
    let macs = untagged().map(|port: &Port| (port.spec.mac, port)).collect();
    let ips = untagged().flat_map(|port: &Port| port.spec.ips.iter().map(|ip| (*ip, port.spec.mac))).collect();
    let reported = || ports.iter().filter(|port| port.spec.reported);
    let own = reported().filter(|port| port.spec.node == *node).count();
    Ok(Here { network, macs, ips, others: reported().count() - own, mine: if adds { own } else { 0 } })
}

/// The port's name, whether it takes room as a found one, and what changes. `mine`: found ports of the node that stand so far; `back`: it had
/// this guest a moment ago.
fn judge(
    index: &Index,
    here: &mut Here<'_>,
    (node, mine, back): (&NodeId, usize, bool),
    claim: &FoundPort,
) -> Result<(PortId, bool, Option<Edit>), Refusal> {
    claim.mac.unicast().map_err(|_| Refusal::NotUnicast)?;
    let known = here.macs.get(&claim.mac).copied();
    if let Some(port) = known.filter(|port| port.spec.node != *node && !(back && port.spec.reported)) {
        return Err(Refusal::Owned { port: port.metadata.name.clone(), node: port.spec.node.clone() });
    }
    // What is declared here already is found too; the declaration says all of it.
    if let Some(port) = known.filter(|port| !port.spec.reported) {
        return Ok((port.metadata.name.clone(), false, None));
    }
    has_room(here, mine)?;
    let ips = addresses(here, claim);
    let name = name_of(&here.network.metadata.name, claim.mac);
    let Some(port) = known else {
        if index.state.ports.contains_key(&name) {
            return Err(Refusal::NameTaken(name));
        }
        let made = Edit::create(Any::Port(port_of(name.clone(), here.network, node, claim.mac, ips)));
        return Ok((name, true, Some(made)));
    };
    let name = port.metadata.name.clone();
    if port.spec.ips == ips && port.spec.node == *node {
        return Ok((name, true, None));
    }
    let mut changed = port.clone();
    (changed.spec.ips, changed.spec.node) = (ips, node.clone());
    Ok((name, true, Some(Edit::update(Any::Port(port.clone()), Any::Port(changed)))))
}

/// May the node have one more found port in this network?
fn has_room(here: &Here<'_>, mine: usize) -> Result<(), Refusal> {
    if mine >= limits::FOUND_OF_NODE {
        return Err(Refusal::TooMany);
    }
    let (all, most) = (here.others + here.mine, limits::FOUND_OF_NODE);
    if limits::fits(here.mine, all, limits::FOUND_ALWAYS, most, limits::FOUND_OF_NETWORK) {
        Ok(())
    } else {
        Err(Refusal::NetworkFull(here.network.metadata.name.clone()))
    }
}

/// Those of the claimed addresses that a guest of the network may have and no other guest has; they are this guest's now. Whose the gateway's are
/// an operator declares.
fn addresses(here: &mut Here<'_>, claim: &FoundPort) -> BTreeSet<IpAddr> {
    let free = |ip: &&IpAddr| {
        let may_be = belongs(here.network, **ip) && !here.network.spec.gateway.contains(ip);
        may_be && here.ips.get(ip).is_none_or(|owner| *owner == claim.mac)
    };
    let ips: BTreeSet<IpAddr> = claim.ips.iter().filter(free).take(limits::FOUND_ADDRESSES).copied().collect();
    here.ips.extend(ips.iter().map(|ip| (*ip, claim.mac)));
    ips
}

fn port_of(name: PortId, network: &Network, node: &NodeId, mac: Mac, ips: BTreeSet<IpAddr>) -> Port {
    Object {
        metadata: Meta { name, labels: BTreeMap::new(), revision: None },
        spec: PortSpec {
            network: network.metadata.name.clone(),
            node: node.clone(),
            mac,
            vlan: None,
            ips,
            allowed: BTreeSet::new(),
            role: Roles::default(),
            interface: None,
            group_rate: None,
            reported: true,
        },
        status: (),
    }
}

/// `<network>-<mac>`; a long network name is cut and told apart by a hash.
fn name_of(network: &NetworkId, mac: Mac) -> PortId {
    let mac = super::certs::hex(&mac.0);
    let whole = format!("{network}-{mac}");
    let cut = || format!("{}-{}-{mac}", &network.as_str()[..32], &hex_sha256(network.as_str().as_bytes())[..12]);
    let text = if whole.len() <= 63 { whole } else { cut() };
    match text.parse() {
        Ok(name) => name,
        Err(_) => unreachable!("{text} is a label with hexadecimal digits appended"),
    }
}

#[cfg(test)]
#[path = "found_tests.rs"]
mod tests;
