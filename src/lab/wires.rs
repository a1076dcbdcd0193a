//! Namespaces, wires and guests: everything that on real ground is machines and cables.

use std::path::Path;

use super::layout::{Layout, MANAGEMENT, Node, WireKind};
use super::progress::Progress;
use super::{LabError, shell};
use crate::api::problem::{Exit, Problem};

/// Where `ip netns` keeps names.
const NAMES: &str = "/run/netns";

/// Alias of `lo` in every namespace of the lab `name`: what `down` knows its own by.
pub fn mark(name: &str) -> String {
    format!("vxmesh-lab:{name}")
}

/// True where a namespace of that name exists, whoever made it.
pub fn namespace_exists(namespace: &str) -> bool {
    Path::new(NAMES).join(namespace).exists()
}

/// Alias of `lo` in a namespace; empty where there is none.
pub fn mark_of(namespace: &str) -> Result<String, LabError> {
    let text = shell::ip(&["-n", namespace, "-j", "link", "show", "dev", "lo"])?;
    let links: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(links[0]["ifalias"].as_str().unwrap_or_default().to_owned())
}

/// Names of all namespaces that begin with `<name>-`.
pub fn namespaces_with_prefix(name: &str) -> Vec<String> {
    let prefix = format!("{name}-");
    let entries = std::fs::read_dir(NAMES).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|e| e.file_name().into_string().ok()).filter(|n| n.starts_with(&prefix)).collect();
    names.sort();
    names
}

/// Refuses a lab whose namespaces are somebody else's.
///
/// # Errors
/// Conflict, naming the namespace.
pub fn refuse_foreign(layout: &Layout) -> Result<(), LabError> {
    let Some(taken) = layout.namespaces().into_iter().find(|name| namespace_exists(name)) else { return Ok(()) };
    let what = format!("network namespace '{taken}' exists already and is not of lab '{}'", layout.name);
    Err(Problem::new("M0658", Exit::Conflict, what)
        .note("nothing was changed")
        .help(format!("choose another --name, or remove it: ip netns delete {taken}"))
        .into())
}

/// Makes all namespaces, wires, interfaces and guests. Guests are not plugged in yet: the bridges are the daemons'.
///
/// # Errors
/// A command fails; what was made stays for `down`.
pub fn build(layout: &Layout, progress: &Progress) -> Result<(), LabError> {
    for namespace in layout.namespaces() {
        progress.go_on()?;
        shell::ip(&["netns", "add", namespace])?;
        shell::ip_batch(namespace, &[format!("link set dev lo alias {} up", mark(&layout.name))])?;
    }
    // The bridges of the wires are cables: they have no addresses and say nothing themselves.
    shell::sysctl(&layout.net, &[("ipv6/conf/all/disable_ipv6", "1"), ("ipv6/conf/default/disable_ipv6", "1")])?;
    shell::ip_batch(&layout.net, &wires(layout))?;
    shell::ip_batch(&layout.net, &management_cable(layout))?;
    shell::ip_batch(&layout.management, &[format!("addr add {MANAGEMENT}/16 dev ext0"), "link set ext0 up".into()])?;
    for node in &layout.nodes {
        progress.go_on()?;
        shell::ip_batch(&layout.net, &cables(layout, node))?;
        shell::ip_batch(&node.namespace, &interfaces(node))?;
        guests(node)?;
    }
    Ok(())
}

fn wires(layout: &Layout) -> Vec<String> {
    let mut lines = Vec::new();
    for wire in &layout.wires {
        let device = &wire.device;
        lines.push(format!("link add {device} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"));
        // Promiscuous: a bridge then hands every frame that it forwards to captures on itself.
        lines.push(format!("link set {device} promisc on up"));
    }
    lines
}

fn wire(layout: &Layout, kind: WireKind, node: &Node) -> String {
    let of_node = |wire: &&super::layout::Wire| {
        wire.kind == kind && (kind == WireKind::Internet || wire.pdc.as_ref() == Some(&node.pdc))
    };
    layout.wires.iter().find(of_node).map(|wire| wire.device.clone()).unwrap_or_default()
}

fn cable(layout: &Layout, here: &str, wire: &str, there: &str, namespace: &str) -> Vec<String> {
    let mtu = layout.mtu;
    vec![
        format!("link add {here} mtu {mtu} type veth peer name {there} mtu {mtu} netns {namespace}"),
        format!("link set {here} master {wire} up"),
    ]
}

fn management_cable(layout: &Layout) -> Vec<String> {
    cable(layout, "mgmt", "wire-internet", "ext0", &layout.management)
}

fn cables(layout: &Layout, node: &Node) -> Vec<String> {
    let (admin, internet) = (wire(layout, WireKind::Admin, node), wire(layout, WireKind::Internet, node));
    let mut lines = cable(layout, &format!("{}.adm", node.name), &admin, "admin0", &node.namespace);
    lines.extend(cable(layout, &format!("{}.ext", node.name), &internet, "ext0", &node.namespace));
    lines
}

fn interfaces(node: &Node) -> Vec<String> {
    vec![
        format!("addr add {}/24 dev admin0", node.admin),
        format!("addr add {}/16 dev ext0", node.external),
        "link set admin0 up".into(),
        "link set ext0 up".into(),
    ]
}

fn guests(node: &Node) -> Result<(), LabError> {
    for guest in &node.guests {
        let veth = format!(
            "link add {} type veth peer name eth0 address {} netns {}",
            guest.device, guest.mac, guest.namespace
        );
        shell::ip_batch(&node.namespace, &[veth])?;
        let addresses = guest.ips.iter().map(|ip| format!("addr add {ip}/24 dev eth0")).collect::<Vec<_>>();
        shell::ip_batch(&guest.namespace, &addresses)?;
        // Says "here I am" when its interface comes up, as a booting machine does.
        shell::sysctl(&guest.namespace, &[("ipv4/conf/all/arp_notify", "1"), ("ipv4/conf/default/arp_notify", "1")])?;
    }
    Ok(())
}

/// Plugs the guests of a node into a bridge there.
///
/// # Errors
/// There is no such bridge.
pub fn plug(node: &Node, bridge: &str, mtu: u16) -> Result<(), LabError> {
    for guest in &node.guests {
        let device = &guest.device;
        let port = [format!("link set {device} mtu {mtu}"), format!("link set {device} master {bridge} up")];
        shell::ip_batch(&node.namespace, &port)?;
        shell::ip_batch(&guest.namespace, &[format!("link set eth0 mtu {mtu} up")])?;
    }
    Ok(())
}
