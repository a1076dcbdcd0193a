//! Who may have an IP address that no row has: a port that declares none may use any (docs/datapath.md, "What a guest may say"), and so may
//! a guest that its node finds.

use std::net::IpAddr;

use super::explain::Target;
use crate::table::{Learning, NetKey, Network, PortRole, Row, RowKey, Slice};
use crate::types::Vlan;

/// Guests that are named one by one.
const NAMED: usize = 4;

/// Guests of one VLAN of a network that may use any IP address.
pub fn anybody<'a>(slice: &'a Slice, net: &'a NetKey, vlan: Option<Vlan>) -> Vec<(&'a RowKey, &'a Row)> {
    let any = |row: &Row| row.addresses().next().is_none();
    slice.rows_of(net).filter(|(key, row)| key.vlan == vlan && any(row)).collect()
}

/// Ports of one VLAN of a network that route: one of them may be what hosts send to that want an address outside, whatever the network says.
pub fn routers<'a>(slice: &'a Slice, net: &'a NetKey, vlan: Option<Vlan>) -> Vec<(&'a RowKey, &'a Row)> {
    let routes = |row: &Row| row.role.has(PortRole::Router);
    slice.rows_of(net).filter(|(key, row)| key.vlan == vlan && routes(row)).collect()
}

/// The command that makes an address of the first of some routers the gateway of a network, beside those that the network has.
pub fn as_gateway(network: &Network, routers: &[(&RowKey, &Row)], ipv6: bool) -> String {
    let own = routers.first().and_then(|(_, row)| row.addresses().find(|address| address.is_ipv6() == ipv6));
    let own = own.map_or_else(|| "ADDRESS".to_owned(), |address| address.to_string());
    let all = network.gateway.iter().map(ToString::to_string).chain([own]).collect::<Vec<_>>();
    format!("meshctl network set {} --gateway {}", network.name, all.join(","))
}

/// True where guests of a network are not all known, so that one of which nothing has been heard may have an address.
pub fn has_unknown(network: &Network) -> bool {
    network.learning == Learning::Local
}

/// Guests in words: `02:00:00:00:00:0c of port web on a-1`, the first of them.
pub fn words(all: &[(&RowKey, &Row)]) -> String {
    let port = |row: &Row| row.port.as_ref().map_or_else(String::new, |port| format!(" of port {port}"));
    let named = all.iter().take(NAMED).map(|(key, row)| format!("{}{} on {}", key.mac, port(row), row.node));
    let rest = all.len().saturating_sub(NAMED);
    let rest = (rest > 0).then(|| format!("{rest} more"));
    named.chain(rest).collect::<Vec<_>>().join(", ")
}

/// Guests that may send from an address that no row has: how each is asked for, and the node that it is on. Those of this node come first.
pub fn senders(slice: &Slice, ip: IpAddr) -> Vec<(Target, String)> {
    let holds = |network: &Network| network.cidr.is_empty() || network.cidr.iter().any(|prefix| prefix.contains(ip));
    let nets = slice.networks.iter().filter(|(_, network)| holds(network)).map(|(net, _)| net);
    let rows = nets.flat_map(|net| slice.rows_of(net)).filter(|(_, row)| row.addresses().next().is_none());
    let mut all: Vec<_> = rows.collect();
    all.sort_by_key(|(_, row)| row.node != slice.node);
    let name = |key: &RowKey, row: &Row| row.port.clone().map_or(Target::Mac(key.mac), Target::Port);
    all.into_iter().map(|(key, row)| (name(key, row), row.node.to_string())).collect()
}

/// Those senders in words, and the commands that ask for the first of them. `own` is the node that is asked; none: management, which knows all.
pub fn asked(from: &Target, to: &Target, senders: &[(Target, String)], own: Option<&str>) -> (String, String) {
    let named = senders.iter().take(NAMED).map(|(guest, node)| format!("{guest} on {node}"));
    let rest = senders.len().saturating_sub(NAMED);
    let named = named.chain((rest > 0).then(|| format!("{rest} more"))).collect::<Vec<_>>().join(", ");
    let what = format!("no port declares the address {from}; who declares none may use it: {named}");
    let command = |(guest, node): &(Target, String)| match own {
        Some(own) if own != node => format!("on {node}: meshctl explain {guest} {to}"),
        Some(_) | None => format!("meshctl explain {guest} {to}"),
    };
    let help = senders.iter().take(NAMED).map(command).collect::<Vec<_>>().join("; ");
    (what, format!("if it is one of them: {help}"))
}
