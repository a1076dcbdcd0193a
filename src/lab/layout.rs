//! Every name and address of a lab, computed from its [`Shape`] and nothing else.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::LabError;
use crate::config::Lanes;
use crate::types::{Label, Mac, Mtu, PdcId, Vni};

/// VNI of the lab's network.
pub const VNI: u32 = 10;
/// Name of the lab's network.
pub const NETWORK: &str = "blue";
/// Name of the lab's overlay.
pub const OVERLAY: &str = "default";
/// UDP port of the lab's overlay.
pub const VXLAN_UDP_PORT: u16 = 4789;
/// TCP port of the management server.
pub const MANAGEMENT_TCP_PORT: u16 = 7443;
/// UDP port of lane 0 of every node.
pub const TUNNEL_UDP_PORT: u16 = 51820;
/// UDP ports that lanes may use, counted from [`TUNNEL_UDP_PORT`].
pub const TUNNEL_UDP_PORTS: u16 = 16;
/// The management node's address on the internet wire.
pub const MANAGEMENT: Ipv4Addr = Ipv4Addr::new(198, 18, 255, 1);
/// Prefix of the guests.
pub const GUEST_PREFIX: &str = "192.168.10.0/24";

/// What somebody wants of a lab: `lab.toml`, or the options of `lab up`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shape {
    /// Prefix of every namespace.
    #[serde(default = "default_name")]
    pub name: String,
    /// MTU of every node's interfaces, bytes.
    #[serde(default = "default_mtu")]
    pub mtu: u16,
    /// The PDCs.
    #[serde(rename = "pdc")]
    pub pdcs: Vec<PdcShape>,
}

/// What somebody wants of one PDC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PdcShape {
    /// Its name, at most 5 characters.
    pub name: PdcId,
    /// How many nodes.
    pub nodes: u8,
    /// How many guests on each node.
    #[serde(default = "default_guests")]
    pub guests: u8,
    /// True: nodes of this PDC talk through tunnels among themselves too.
    #[serde(default)]
    pub encrypted: bool,
    /// How many lanes each node runs; none: what `lanes = "auto"` means on this machine.
    #[serde(default)]
    pub lanes: Option<u8>,
}

fn default_name() -> String {
    "lab".to_owned()
}

const fn default_mtu() -> u16 {
    1500
}

const fn default_guests() -> u8 {
    1
}

/// Everything that a lab consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layout {
    /// Prefix of every namespace.
    pub name: String,
    /// MTU of every node's interfaces.
    pub mtu: u16,
    /// Namespace of the management node.
    pub management: String,
    /// Namespace of the wires.
    pub net: String,
    /// PDCs in order.
    pub pdcs: Vec<Pdc>,
    /// Nodes in order: by PDC, then by number.
    pub nodes: Vec<Node>,
    /// Wires: one admin wire a PDC, then the internet.
    pub wires: Vec<Wire>,
}

/// A PDC of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pdc {
    /// Its name.
    pub name: PdcId,
    /// Prefix of its admin addresses.
    pub underlay: String,
    /// True where nodes inside it talk through tunnels.
    pub encrypted: bool,
}

/// A node of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name in the mesh.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its PDC.
    pub pdc: PdcId,
    /// Its address inside the PDC, on `admin0`.
    pub admin: Ipv4Addr,
    /// Its address between PDCs, on `ext0`.
    pub external: Ipv4Addr,
    /// How many lanes it runs, if that is said.
    #[serde(default)]
    pub lanes: Option<u8>,
    /// Guests on it.
    pub guests: Vec<Guest>,
}

/// A guest of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Guest {
    /// Its namespace; its interface there is `eth0`.
    pub namespace: String,
    /// Its end on the node.
    pub device: String,
    /// Its address.
    pub mac: Mac,
    /// Its IP addresses.
    pub ips: Vec<IpAddr>,
}

/// Kinds of wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WireKind {
    /// Inside a PDC.
    Admin,
    /// Between PDCs.
    Internet,
}

/// A wire: a bridge that everything plugged into it is heard on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wire {
    /// What it joins.
    pub kind: WireKind,
    /// The PDC of an admin wire.
    pub pdc: Option<PdcId>,
    /// The namespace that it is in.
    pub namespace: String,
    /// The bridge; captures are made here.
    pub device: String,
}

impl Shape {
    /// `pdcs` PDCs (`a`, `b`, ...) of `nodes` nodes with `guests` guests each.
    ///
    /// # Errors
    /// More than 26 PDCs.
    pub fn uniform(name: String, mtu: u16, pdcs: u8, nodes: u8, guests: u8) -> Result<Self, LabError> {
        if pdcs == 0 || pdcs > 26 {
            return Err(LabError::Shape(format!("a lab has 1 to 26 PDCs, not {pdcs}")));
        }
        let one = |letter: u8| {
            let name = char::from(letter).to_string().parse().map_err(|e| LabError::Shape(format!("PDC name: {e}")))?;
            Ok(PdcShape { name, nodes, guests, encrypted: false, lanes: None })
        };
        let pdcs = (b'a'..b'a' + pdcs).map(one).collect::<Result<_, LabError>>()?;
        Ok(Self { name, mtu, pdcs })
    }

    fn check(&self) -> Result<(), LabError> {
        let no = |why: String| Err(LabError::Shape(why));
        if let Err(error) = self.name.parse::<Label>() {
            return no(format!("lab name '{}': {error}", self.name));
        }
        if self.name.len() > 20 {
            return no(format!("lab name '{}' has {} characters; 20 are allowed", self.name, self.name.len()));
        }
        if Mtu::try_from(u64::from(self.mtu)).is_err() || self.mtu < 1280 {
            return no(format!("an underlay MTU of {} is none that a lab can use: 1280 to 9216", self.mtu));
        }
        if self.pdcs.is_empty() || self.pdcs.len() > 26 {
            return no(format!("a lab has 1 to 26 PDCs, not {}", self.pdcs.len()));
        }
        for (i, pdc) in self.pdcs.iter().enumerate() {
            if pdc.name.as_str().len() > 5 {
                return no(format!("PDC name '{}': a lab allows 5 characters", pdc.name));
            }
            if self.pdcs[..i].iter().any(|other| other.name == pdc.name) {
                return no(format!("PDC '{}' is there twice", pdc.name));
            }
            if ["net", "mgmt"].contains(&pdc.name.as_str()) {
                return no(format!("PDC name '{}' is taken by the lab itself", pdc.name));
            }
            if pdc.lanes.is_some_and(|lanes| !(1..=Lanes::MAX).contains(&lanes)) {
                return no(format!("a node of PDC '{}' runs 1 to {} lanes", pdc.name, Lanes::MAX));
            }
            if pdc.nodes == 0 || pdc.nodes > 99 {
                return no(format!("PDC '{}' has 1 to 99 nodes, not {}", pdc.name, pdc.nodes));
            }
        }
        let guests: u32 = self.pdcs.iter().map(|p| u32::from(p.nodes) * u32::from(p.guests)).sum();
        if guests > 240 {
            return no(format!("{guests} guests do not fit into {GUEST_PREFIX}; 240 do"));
        }
        Ok(())
    }

    /// All names and addresses.
    ///
    /// # Errors
    /// A shape that does not fit into the lab's address plan.
    pub fn layout(&self) -> Result<Layout, LabError> {
        self.check()?;
        let net = format!("{}-net", self.name);
        let mut layout = Layout {
            name: self.name.clone(),
            mtu: self.mtu,
            management: format!("{}-mgmt", self.name),
            net: net.clone(),
            pdcs: Vec::new(),
            nodes: Vec::new(),
            wires: Vec::new(),
        };
        let mut last_ip = 10;
        for (number, shape) in (1..).zip(&self.pdcs) {
            let pdc = &shape.name;
            layout.pdcs.push(Pdc {
                name: pdc.clone(),
                underlay: format!("10.{number}.0.0/24"),
                encrypted: shape.encrypted,
            });
            let device = format!("wire-{pdc}");
            layout.wires.push(Wire { kind: WireKind::Admin, pdc: Some(pdc.clone()), namespace: net.clone(), device });
            for n in 1..=shape.nodes {
                layout.nodes.push(self.node(shape, number, n, &mut last_ip));
            }
        }
        let device = "wire-internet".to_owned();
        layout.wires.push(Wire { kind: WireKind::Internet, pdc: None, namespace: net, device });
        Ok(layout)
    }

    fn node(&self, shape: &PdcShape, pdc: u8, n: u8, last_ip: &mut u8) -> Node {
        let name = format!("{}-{n}", shape.name);
        let namespace = format!("{}-{name}", self.name);
        let guest = |k: u8| {
            *last_ip += 1;
            Guest {
                namespace: format!("{namespace}-g{k}"),
                device: format!("g{k}"),
                mac: Mac([0x02, 0x76, 0x78, pdc, n, k]),
                ips: vec![Ipv4Addr::new(192, 168, 10, *last_ip).into()],
            }
        };
        let guests = (1..=shape.guests).map(guest).collect();
        let (admin, external) = (Ipv4Addr::new(10, pdc, 0, n), Ipv4Addr::new(198, 18, pdc, n));
        Node { name, namespace, pdc: shape.name.clone(), admin, external, lanes: shape.lanes, guests }
    }
}

impl Layout {
    /// Every namespace of the lab, in the order in which they are made.
    pub fn namespaces(&self) -> Vec<&str> {
        let nodes = self.nodes.iter().flat_map(|node| {
            let guests = node.guests.iter().map(|guest| guest.namespace.as_str());
            std::iter::once(node.namespace.as_str()).chain(guests)
        });
        [self.net.as_str(), self.management.as_str()].into_iter().chain(nodes).collect()
    }

    /// The node of a name, short (`a-1`) or full (`lab-a-1`).
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name || node.namespace == name)
    }

    /// Every guest with its node.
    pub fn guests(&self) -> impl Iterator<Item = (&Node, &Guest)> {
        self.nodes.iter().flat_map(|node| node.guests.iter().map(move |guest| (node, guest)))
    }

    /// The lab's VNI.
    ///
    /// # Panics
    /// Never: [`VNI`] is a VNI.
    pub fn vni(&self) -> Vni {
        match Vni::try_from(u64::from(VNI)) {
            Ok(vni) => vni,
            Err(_) => unreachable!("{VNI} is a VNI"),
        }
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
