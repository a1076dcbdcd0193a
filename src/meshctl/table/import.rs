//! From a table file to ports. What a file says and a port cannot hold is refused, or left out and listed; what a port has and a file cannot
//! say stays.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::api::objects::{Any, Kind, Meta, Object, Port, PortSpec, Roles};
use crate::api::problem::{Exit, Problem};
use crate::meshctl::objects;
use crate::meshctl::out;
use crate::meshctl::remote::Server;
use crate::table::files::{Entry, File};
use crate::types::{Mac, NetworkId, NodeId, UdpPort};

/// Sentences of a refusal before the rest is counted.
const NAMED: usize = 10;

/// The ports of a file. `strict`: its name, where nothing may be left out.
///
/// # Errors
/// M0340: an address is no node's, or two nodes' ; M0345: the file says what no port holds; the network does not exist.
pub(super) async fn ports(
    server: &Server,
    file: &File,
    network: &NetworkId,
    strict: Option<&str>,
) -> Result<Vec<Any>, Problem> {
    let homes = homes(&objects::list(server, Kind::Node).await?);
    let known: BTreeMap<String, Any> =
        objects::list(server, Kind::Port).await?.into_iter().map(|port| (port.name().to_owned(), port)).collect();
    let Any::Network(net) = objects::get(server, Kind::Network, network.as_str()).await? else {
        return Err(Problem::new("M0103", Exit::Failed, "the answer is no network"));
    };
    let udp_port = match objects::get(server, Kind::Overlay, net.spec.overlay.as_str()).await? {
        Any::Overlay(overlay) => overlay.spec.udp_port,
        Any::Pdc(_) | Any::Node(_) | Any::Network(_) | Any::Port(_) | Any::PathPolicy(_) | Any::Token(_) => None,
    };
    refuse_homeless(file, &homes)?;
    let (mut ports, mut lost) = (Vec::new(), Vec::new());
    for (mac, entry) in &file.entries {
        lost.extend(not_held(*mac, entry, udp_port));
        let Some([node]) = homes.get(&entry.ip).map(Vec::as_slice) else { continue };
        let name = format!("m-{}", mac.to_string().replace(':', ""));
        let (port, dropped) = match known.get(&name) {
            Some(Any::Port(old)) => over(old, network, node, *mac, entry),
            _ => (new(&name, network, node, *mac, entry)?, Vec::new()),
        };
        lost.extend(dropped);
        ports.push(Any::Port(port));
    }
    match strict {
        Some(file) if !lost.is_empty() => Err(loses(file, network, &lost)),
        _ => {
            lost.iter().for_each(|what| out::talk(&format!("left out: {what}")));
            Ok(ports)
        }
    }
}

fn loses(file: &str, network: &NetworkId, lost: &[String]) -> Problem {
    let what = format!("{file} and ports do not say the same things; {} would be lost", lost.len());
    let problem = Problem::new("M0345", Exit::Invalid, what).note("nothing was imported");
    let problem = lost.iter().take(NAMED).fold(problem, Problem::note);
    let more = lost.len().saturating_sub(NAMED);
    let problem = if more > 0 { problem.note(format!("and {more} more")) } else { problem };
    problem.help(format!("to leave that out, listed: meshctl table import {file} --network {network} --lenient"))
}

/// What of an entry no port holds.
fn not_held(mac: Mac, entry: &Entry, udp_port: Option<UdpPort>) -> Vec<String> {
    let port = entry.port.filter(|port| udp_port.is_some_and(|overlay| overlay != *port));
    let port =
        port.map(|port| format!("{mac}: port is {port}, and the overlay's is {}", udp_port.map_or(0, UdpPort::get)));
    let proxy = entry.dhcp_proxy.map(|proxy| format!("{mac}: dhcp-proxy is {proxy}; a port has no such thing"));
    port.into_iter().chain(proxy).collect()
}

fn ips(entry: &Entry) -> BTreeSet<IpAddr> {
    entry.arp.map(IpAddr::V4).into_iter().chain(entry.ndp.map(IpAddr::V6)).collect()
}

fn new(name: &str, network: &NetworkId, node: &NodeId, mac: Mac, entry: &Entry) -> Result<Port, Problem> {
    let spec = PortSpec {
        network: network.clone(),
        node: node.clone(),
        mac,
        vlan: None,
        ips: ips(entry),
        allowed: BTreeSet::new(),
        role: Roles::default(),
        interface: None,
        group_rate: None,
        reported: false,
    };
    Ok(Object {
        metadata: Meta { name: objects::name(Kind::Port, name)?, labels: Default::default(), revision: None },
        spec,
        status: (),
    })
}

/// A port that is there already: what a file cannot say stays, and what goes is told.
fn over(old: &Port, network: &NetworkId, node: &NodeId, mac: Mac, entry: &Entry) -> (Port, Vec<String>) {
    let (mut port, wanted) = (old.clone(), ips(entry));
    port.metadata.revision = None;
    let name = &old.metadata.name;
    let mut lost = Vec::new();
    if old.spec.network != *network {
        lost.push(format!("port {name} is in network {}, and would be in {network}", old.spec.network));
    }
    if old.spec.node != *node {
        lost.extend(
            old.spec
                .interface
                .as_ref()
                .map(|interface| format!("port {name}: its interface {interface} is on {}", old.spec.node)),
        );
        port.spec.interface = None;
    }
    if !wanted.is_subset(&old.spec.ips) {
        let gone = old.spec.ips.difference(&wanted).map(|ip| format!("port {name}: its address {ip}"));
        lost.extend(gone);
        port.spec.ips = wanted;
    }
    (port.spec.network, port.spec.node, port.spec.mac) = (network.clone(), node.clone(), mac);
    (port, lost)
}

/// Which nodes have which outer address.
fn homes(nodes: &[Any]) -> BTreeMap<IpAddr, Vec<NodeId>> {
    let mut homes: BTreeMap<IpAddr, Vec<NodeId>> = BTreeMap::new();
    for object in nodes {
        let Any::Node(node) = object else { continue };
        let facts = node.status.facts.as_ref();
        let admin = node.spec.admin.or_else(|| facts?.admin);
        let external = node.spec.external.or_else(|| facts?.external);
        for address in admin.into_iter().chain(external).collect::<BTreeSet<_>>() {
            homes.entry(address).or_default().push(node.metadata.name.clone());
        }
    }
    homes
}

/// Each address has to be one node's.
fn refuse_homeless(file: &File, homes: &BTreeMap<IpAddr, Vec<NodeId>>) -> Result<(), Problem> {
    let all: BTreeSet<IpAddr> = file.entries.values().map(|entry| entry.ip).collect();
    let none: Vec<String> = all.iter().filter(|ip| !homes.contains_key(ip)).map(ToString::to_string).collect();
    if !none.is_empty() {
        return Err(Problem::new("M0340", Exit::NotFound, format!("no node has the address {}", none.join(", ")))
            .note("nothing was imported")
            .help("for each of them: meshctl node create NAME --pdc PDC --admin ADDRESS"));
    }
    let several = all.iter().find_map(|ip| homes.get(ip).filter(|nodes| nodes.len() > 1).map(|nodes| (ip, nodes)));
    several.map_or(Ok(()), |(ip, nodes)| {
        let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        Err(Problem::new(
            "M0340",
            Exit::Conflict,
            format!("the address {ip} is of several nodes: {}", nodes.join(", ")),
        )
        .note("nothing was imported")
        .help("look which of them has it: meshctl node list"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::mgmt::fixture;
    use crate::table::files::{Mode, read};

    fn entry(text: &str) -> (Mac, Entry) {
        let text = format!("{{\"02:00:00:00:00:01\": {text}}}");
        let file = read(Source::new("f", &text), Mode::Strict).unwrap().file;
        file.entries.into_iter().next().unwrap()
    }

    #[test]
    fn what_no_port_holds_is_named() {
        let udp = UdpPort::try_from(4789).ok();
        let (mac, plain) = entry(r#"{"ip": "10.0.0.1", "port": 4789, "arp": "192.168.10.9"}"#);
        assert_eq!(not_held(mac, &plain, udp), Vec::<String>::new());
        let (mac, other) = entry(r#"{"ip": "10.0.0.1", "port": 4790, "dhcp-proxy": "02:00:00:00:00:09"}"#);
        let lost = not_held(mac, &other, udp);
        assert!(lost.len() == 2 && lost[0].contains("port is 4790") && lost[1].contains("dhcp-proxy"), "{lost:?}");
    }

    #[test]
    fn a_port_that_is_there_keeps_what_a_file_cannot_say_and_names_what_goes() {
        let mut old = fixture::port("m-020000000001", "blue", "a-1", 1, "192.168.10.9");
        old.spec.role = [crate::api::objects::PortRole::Router].into_iter().collect();
        old.spec.interface = "web0".parse().ok();
        old.spec.ips.insert("192.168.10.10".parse().unwrap());
        let (blue, here, there) = ("blue".parse().unwrap(), "a-1".parse().unwrap(), "a-2".parse().unwrap());
        let (mac, same) = entry(r#"{"ip": "10.0.0.1", "port": 4789, "arp": "192.168.10.9"}"#);
        let (port, lost) = over(&old, &blue, &here, old.spec.mac, &same);
        assert_eq!((port.spec, lost), (old.spec.clone(), Vec::new()), "role, interface and a second address stay");
        let (_, moved) = entry(r#"{"ip": "10.0.0.2", "port": 4789, "arp": "192.168.10.11"}"#);
        let (port, lost) = over(&old, &"red".parse().unwrap(), &there, mac, &moved);
        assert_eq!(port.spec.role, old.spec.role);
        for says in ["is in network blue", "its interface web0 is on a-1", "192.168.10.9", "192.168.10.10"] {
            assert!(lost.iter().any(|line| line.contains(says)), "{says}: {lost:?}");
        }
    }
}
