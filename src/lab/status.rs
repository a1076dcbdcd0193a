//! What a lab consists of, as `lab status` shows it. The JSON is an interface: fields are only added.

use serde::Serialize;

use super::LabError;
use super::layout::{MANAGEMENT, MANAGEMENT_TCP_PORT, Wire};
use super::state::{Home, State};

/// `lab status -o json`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The lab's name.
    pub name: String,
    /// True once everything was started.
    pub ready: bool,
    /// The management node.
    pub management: Management,
    /// Nodes in order.
    pub nodes: Vec<Node>,
    /// Capture points.
    pub wires: Vec<Wire>,
}

/// The management node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Management {
    /// Its namespace.
    pub namespace: String,
    /// Its running processes.
    pub pids: Vec<u32>,
    /// `host:port` of its API, inside the lab.
    pub address: String,
    /// Folder of the administrator's credential.
    pub credential: String,
    /// Its log.
    pub log: String,
}

/// A node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its PDC.
    pub pdc: String,
    /// Its daemon; null where it does not run.
    pub pid: Option<u32>,
    /// The daemon's log.
    pub log: String,
    /// Address inside the PDC.
    pub admin: String,
    /// Address between PDCs.
    pub external: String,
    /// Control socket of the daemon.
    pub socket: String,
    /// Configuration of the daemon.
    pub config: String,
    /// Its guests.
    pub guests: Vec<Guest>,
}

/// A guest.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Guest {
    /// Its namespace.
    pub namespace: String,
    /// Its Ethernet address.
    pub mac: String,
    /// Its IP addresses.
    pub ips: Vec<String>,
    /// Its interface inside.
    pub interface: String,
    /// MTU of that interface; null while the network has not said.
    pub mtu: Option<u16>,
}

/// Looks at a lab.
///
/// # Errors
/// Not found.
pub fn status(home: &Home) -> Result<Status, LabError> {
    let state = home.need()?;
    let nodes = state.layout.nodes.iter().map(|node| one(home, &state, node)).collect();
    let management = Management {
        namespace: state.layout.management.clone(),
        pids: home.running("mgmt").into_iter().map(|process| process.pid).collect(),
        address: format!("{MANAGEMENT}:{MANAGEMENT_TCP_PORT}"),
        credential: home.credential().display().to_string(),
        log: home.log("mgmt").display().to_string(),
    };
    let name = home.name().to_owned();
    Ok(Status { name, ready: state.ready, management, nodes, wires: state.layout.wires })
}

fn one(home: &Home, state: &State, node: &super::layout::Node) -> Node {
    let guest = |guest: &super::layout::Guest| Guest {
        namespace: guest.namespace.clone(),
        mac: guest.mac.to_string(),
        ips: guest.ips.iter().map(ToString::to_string).collect(),
        interface: "eth0".to_owned(),
        mtu: state.guest_mtu,
    };
    Node {
        name: node.name.clone(),
        namespace: node.namespace.clone(),
        pdc: node.pdc.to_string(),
        pid: home.running(&node.name).map(|process| process.pid),
        log: home.log(&node.name).display().to_string(),
        admin: node.admin.to_string(),
        external: node.external.to_string(),
        socket: home.socket(&node.name).display().to_string(),
        config: home.machine(&node.name).join("meshd.toml").display().to_string(),
        guests: node.guests.iter().map(guest).collect(),
    }
}

impl Status {
    /// For people.
    pub fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["NODE", "NAMESPACE", "PDC", "DAEMON", "ADMIN", "EXTERNAL", "GUESTS"]);
        let runs = |pid: Option<u32>| pid.map_or_else(|| "not running".to_owned(), |pid| pid.to_string());
        let management = &self.management;
        let pid = runs(management.pids.first().copied());
        table.add_row(["management", &management.namespace, "-", &pid, "-", &management.address, ""]);
        for node in &self.nodes {
            let guest = |g: &Guest| format!("{} {}", g.namespace, g.ips.join(" "));
            let guests = node.guests.iter().map(guest).collect::<Vec<_>>().join("\n");
            let pid = runs(node.pid);
            table.add_row([&node.name, &node.namespace, &node.pdc, &pid, &node.admin, &node.external, &guests]);
        }
        let wires = self.wires.iter().map(|wire| format!("{} in {}", wire.device, wire.namespace));
        let state = if self.ready { "up" } else { "not finished" };
        let wires = wires.collect::<Vec<_>>().join(", ");
        format!("lab {}: {state}\n\n{}\n\nwires: {wires}\n", self.name, table.trim_fmt())
    }
}
