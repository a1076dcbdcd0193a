//! Addresses that several ports may hold: what they rest on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::network::owned;
use super::refuse;
use crate::api::objects::{Network, Port};
use crate::api::problem::Problem;
use crate::table::{Flood, Learning};
use crate::wire::nd::link_local;

/// Refuses an address that one port has and another may hold, and one in a network where nobody would find its holder.
///
/// # Errors
/// M0352, M0353.
pub(super) fn check(network: &Network, flood: Flood, ports: &[Arc<Port>]) -> Result<(), Problem> {
    let held = ports.iter().flat_map(|port| port.spec.floating().map(move |ip| ((port.spec.vlan, ip), port)));
    let held: BTreeMap<_, _> = held.collect();
    let Some(((_, ip), port)) = held.first_key_value() else { return Ok(()) };
    if network.spec.learning == Learning::Local || flood == Flood::Off {
        return Err(nowhere(network, &port.metadata.name.to_string(), *ip));
    }
    // The link-local address of a MAC is its guest's, said or not (RFC 4291 appendix A).
    let mut all = ports.iter().flat_map(|port| alone(port).map(move |ip| ((port.spec.vlan, ip), port)));
    let Some((ip, owner, holder)) = all.find_map(|(key, owner)| Some((key.1, owner, held.get(&key)?))) else {
        return Ok(());
    };
    let (owner, holder) = (&owner.metadata.name, &holder.metadata.name);
    let what = format!("{ip} is an address of port '{owner}' alone, and port '{holder}' may hold it, too");
    let help = format!(
        "take it out of the addresses of '{owner}' and allow it to both: meshctl port set {owner} --allowed {ip}"
    );
    Err(refuse("M0352", what).help(help))
}

/// Addresses that are of one guest alone, said or made of its MAC.
fn alone(port: &Port) -> impl Iterator<Item = IpAddr> + '_ {
    let macs = std::iter::once(port.spec.mac).chain(port.spec.nested().map(|(mac, _)| mac));
    owned(port).chain(macs.map(|mac| IpAddr::V6(link_local(mac))))
}

fn nowhere(network: &Network, port: &str, ip: IpAddr) -> Problem {
    let name = &network.metadata.name;
    let why = match network.spec.learning {
        Learning::Local => "finds its guests by itself, and holds nobody to addresses",
        Learning::Declared => "floods nothing, so nobody would find who holds it",
    };
    let what = format!("port '{port}' may hold {ip} with others, but network '{name}' {why}");
    refuse("M0353", what).help(format!("meshctl network set {name} --flood suppress, or give the address to one port"))
}
