//! Ports that a node found on its own bridges: believed where the network learns, the node may host it, and nobody else owns
//! the address. A claim of another's address is refused and noted, and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::certs::hex_sha256;
use super::index::{Index, admits};
use super::state::Edit;
use super::validate::belongs;
use crate::api::objects::{Any, Meta, Network, Object, Port, PortRole, PortSpec};
use crate::api::stream::FoundPort;
use crate::table::{Learning, NetKey};
use crate::types::{Mac, NetworkId, NodeId, PortId};

/// Ports that one node may report.
pub const PORTS_MAX: usize = 4096;
/// Addresses of one found port that are kept.
const IPS_MAX: usize = 16;

/// What a report leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// What to write.
    pub edits: Vec<Edit>,
    /// Claims that are not believed.
    pub refused: BTreeMap<FoundPort, Refusal>,
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
    /// Too many.
    #[error("a node reports at most {PORTS_MAX} ports")]
    TooMany,
    /// The name that it would get is taken.
    #[error("the name '{0}' is taken")]
    NameTaken(PortId),
}

/// What is known of one network while a report is judged.
struct Here<'a> {
    network: &'a Network,
    macs: BTreeMap<Mac, &'a Port>,
    ips: BTreeMap<IpAddr, Mac>,
}

/// Judges the whole list of what `node` found.
pub fn decide(index: &Index, node: &NodeId, found: &[FoundPort]) -> Found {
    let mut outcome = Found::default();
    let mut here: BTreeMap<NetKey, Result<Here<'_>, Refusal>> = BTreeMap::new();
    let mut kept: BTreeSet<PortId> = BTreeSet::new();
    for (n, claim) in found.iter().enumerate() {
        let place = here.entry(claim.network.clone()).or_insert_with(|| look(index, node, &claim.network));
        let judged = match place {
            _ if n >= PORTS_MAX => Err(Refusal::TooMany),
            Ok(place) => judge(index, place, node, claim),
            Err(refusal) => Err(refusal.clone()),
        };
        match judged {
            Ok((name, edit)) => {
                kept.insert(name);
                outcome.edits.extend(edit);
            }
            Err(refusal) => drop(outcome.refused.insert(claim.clone(), refusal)),
        }
    }
    let gone = index.state.ports.values().filter(|port| port.spec.reported && port.spec.node == *node);
    let gone = gone.filter(|port| !kept.contains(&port.metadata.name));
    outcome.edits.extend(gone.map(|port| Edit::delete(Any::Port(port.as_ref().clone()))));
    outcome
}

fn look<'a>(index: &'a Index, node: &NodeId, key: &NetKey) -> Result<Here<'a>, Refusal> {
    let is_it = |network: &&Arc<Network>| network.spec.vni == key.vni && network.spec.overlay == key.overlay;
    let network = index.state.networks.values().find(is_it).ok_or(Refusal::NoNetwork)?;
    let name = &network.metadata.name;
    if network.spec.learning != Learning::Local {
        return Err(Refusal::Declared(name.clone()));
    }
    if !index.overlay(network).is_some_and(|overlay| admits(overlay, node)) {
        return Err(Refusal::NotAdmitted(name.clone()));
    }
    let ports = index.ports.get(name).map(Vec::as_slice).unwrap_or_default();
    let untagged = || ports.iter().filter(|port| port.spec.vlan.is_none()).map(AsRef::as_ref);
    let macs = untagged().map(|port: &Port| (port.spec.mac, port)).collect();
    let ips = untagged().flat_map(|port: &Port| port.spec.ips.iter().map(|ip| (*ip, port.spec.mac))).collect();
    Ok(Here { network, macs, ips })
}

/// The port's name, and what changes.
fn judge(
    index: &Index,
    here: &mut Here<'_>,
    node: &NodeId,
    claim: &FoundPort,
) -> Result<(PortId, Option<Edit>), Refusal> {
    claim.mac.unicast().map_err(|_| Refusal::NotUnicast)?;
    let known = here.macs.get(&claim.mac).copied();
    if let Some(port) = known.filter(|port| port.spec.node != *node) {
        return Err(Refusal::Owned { port: port.metadata.name.clone(), node: port.spec.node.clone() });
    }
    // What is declared here already is found too; the declaration says all of it.
    if let Some(port) = known.filter(|port| !port.spec.reported) {
        return Ok((port.metadata.name.clone(), None));
    }
    let ips = addresses(here, claim);
    let name = name_of(&here.network.metadata.name, claim.mac);
    let Some(port) = known else {
        if index.state.ports.contains_key(&name) {
            return Err(Refusal::NameTaken(name));
        }
        return Ok((name.clone(), Some(Edit::create(Any::Port(port_of(name, here.network, node, claim.mac, ips))))));
    };
    let name = port.metadata.name.clone();
    if port.spec.ips == ips {
        return Ok((name, None));
    }
    let mut changed = port.clone();
    changed.spec.ips = ips;
    Ok((name, Some(Edit::update(Any::Port(port.clone()), Any::Port(changed)))))
}

/// Those of the claimed addresses that a guest of the network may have and no other guest has; they are this guest's now.
fn addresses(here: &mut Here<'_>, claim: &FoundPort) -> BTreeSet<IpAddr> {
    let free = |ip: &&IpAddr| belongs(here.network, **ip) && here.ips.get(ip).is_none_or(|owner| *owner == claim.mac);
    let ips: BTreeSet<IpAddr> = claim.ips.iter().filter(free).take(IPS_MAX).copied().collect();
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
            role: PortRole::Guest,
            interface: None,
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
