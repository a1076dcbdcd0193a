//! Objects for tests: a 2x2 mesh and its parts.

use std::collections::BTreeSet;

use crate::api::objects::{
    Any, Meta, Network, NetworkSpec, Node, NodeFacts, NodeSpec, NodeStatus, Object, Overlay, OverlaySpec, Pdc, Port,
    PortSpec,
};
use crate::mgmt::state::State;
use crate::policy::path::{Intra, PdcFacts};
use crate::types::{Mac, Mtu, PublicKey, UdpPort, Wall};

pub(crate) fn meta<N: std::str::FromStr<Err: std::fmt::Debug>>(name: &str) -> Meta<N> {
    Meta { name: name.parse().unwrap(), labels: Default::default(), revision: None }
}

pub(crate) fn pdc(name: &str, underlay: &str) -> Pdc {
    let spec = PdcFacts { intra: Intra::Plain, underlay: vec![underlay.parse().unwrap()], ..PdcFacts::default() };
    Object { metadata: meta(name), spec, status: () }
}

/// Declared; nothing has joined as it.
pub(crate) fn node(name: &str, pdc: &str) -> Node {
    let spec = NodeSpec { pdc: pdc.parse().unwrap(), admin: None, external: None, foreign: None };
    Object { metadata: meta(name), spec, status: NodeStatus::default() }
}

pub(crate) fn facts(admin: &str, external: &str) -> NodeFacts {
    let mtu = Mtu::try_from(1500).unwrap();
    NodeFacts {
        admin: Some(admin.parse().unwrap()),
        external: Some(external.parse().unwrap()),
        admin_mtu: mtu,
        external_mtu: mtu,
        listen: UdpPort::try_from(51820).unwrap(),
        lanes: 2,
        aes: true,
        version: "0.1.0".to_owned(),
    }
}

/// `key` is each byte of its WireGuard key.
pub(crate) fn joined(name: &str, pdc: &str, admin: &str, external: &str, key: u8) -> Node {
    let mut node = node(name, pdc);
    node.status = NodeStatus {
        public_key: Some(PublicKey([key; 32])),
        tls_key: Some(format!("{key:064}")),
        facts: Some(facts(admin, external)),
        tunnel_address: Some(std::net::Ipv4Addr::new(100, 64, 0, key)),
        joined: Some(Wall::from_secs(1_000)),
        ..NodeStatus::default()
    };
    node
}

pub(crate) fn overlay(name: &str, udp_port: u64) -> Overlay {
    let spec =
        OverlaySpec { udp_port: UdpPort::try_from(udp_port).ok(), mtu: None, nodes: None, flood: Default::default() };
    Object { metadata: meta(name), spec, status: () }
}

pub(crate) fn network(name: &str, overlay: &str, vni: u64, cidr: &str) -> Network {
    let spec = NetworkSpec {
        overlay: overlay.parse().unwrap(),
        vni: vni.try_into().unwrap(),
        cidr: vec![cidr.parse().unwrap()],
        gateway: Vec::new(),
        mtu: None,
        owner: None,
        learning: Default::default(),
        nodes: None,
        flood: None,
        group_rate: None,
    };
    Object { metadata: meta(name), spec, status: () }
}

pub(crate) fn port(name: &str, network: &str, node: &str, mac: u32, ip: &str) -> Port {
    let [a, b, c, d] = mac.to_be_bytes();
    let spec = PortSpec {
        network: network.parse().unwrap(),
        node: node.parse().unwrap(),
        mac: Mac([2, 0, a, b, c, d]),
        vlan: None,
        ips: BTreeSet::from([ip.parse().unwrap()]),
        allowed: BTreeSet::new(),
        role: Default::default(),
        interface: None,
        group_rate: None,
        reported: false,
    };
    Object { metadata: meta(name), spec, status: () }
}

/// Two PDCs with two joined nodes each, and network `blue` with one port on each node.
pub(crate) fn mesh() -> State {
    let mut state = State::default();
    state.put(Any::Pdc(pdc("a", "10.0.0.0/24")));
    state.put(Any::Pdc(pdc("b", "10.1.0.0/24")));
    state.put(Any::Overlay(overlay("default", 4789)));
    state.put(Any::Network(network("blue", "default", 10, "192.168.10.0/24")));
    for (n, (name, pdc)) in [("a-1", "a"), ("a-2", "a"), ("b-1", "b"), ("b-2", "b")].into_iter().enumerate() {
        let n = u8::try_from(n).unwrap();
        let admin = format!("10.{}.0.{}", n / 2, n % 2 + 1);
        let external = format!("198.51.{}.{}", n / 2, n % 2 + 1);
        state.put(Any::Node(joined(name, pdc, &admin, &external, n + 1)));
        let ip = format!("192.168.10.{}", n + 11);
        state.put(Any::Port(port(&format!("guest-{name}"), "blue", name, u32::from(n) + 1, &ip)));
    }
    state
}
