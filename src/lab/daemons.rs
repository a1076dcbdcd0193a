//! Brings the mesh of a lab to life with the commands that an operator would type: management, objects, tokens, joins, daemons.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use hyper::Method;

use super::layout::{
    GUEST_PREFIX, Layout, MANAGEMENT, MANAGEMENT_TCP_PORT, NETWORK, Node, OVERLAY, TUNNEL_UDP_PORT, VNI, VXLAN_UDP_PORT,
};
use super::process::{self, Daemon};
use super::progress::Progress;
use super::state::Home;
use super::{LabError, shell, wires};
use crate::api::admin::MeshStatus;
use crate::api::local::{NetworkStatus, Status};
use crate::api::problem::Problem;
use crate::linux::file;
use crate::transport::client::Client;

/// How long one daemon may take to be ready.
const READY: Duration = Duration::from_secs(20);
/// Lines of each log that are shown when a lab fails.
const LAST_LINES: usize = 12;

/// Starts everything and plugs the guests in. Returns the guests' MTU.
///
/// # Errors
/// What a step says.
pub fn start(home: &Home, layout: &Layout, progress: &Progress) -> Result<u16, LabError> {
    management(home, layout, progress)?;
    meshctl(home, layout, &["apply", "-f", "-"], Some(&objects(layout)))?;
    progress.say(format!("objects: {} PDCs, overlay, network {NETWORK}, {} ports", layout.pdcs.len(), {
        layout.guests().count()
    }));
    for pdc in &layout.pdcs {
        let nodes: Vec<&Node> = layout.nodes.iter().filter(|node| node.pdc == pdc.name).collect();
        let token = token(home, layout, pdc.name.as_str(), nodes.len())?;
        for node in nodes {
            progress.go_on()?;
            join(home, node, &token)?;
            run(home, node, progress)?;
            progress.say(format!("{} joined PDC {} and runs", node.name, node.pdc));
        }
    }
    let mut mtu = None;
    for node in &layout.nodes {
        mtu = Some(plug(home, layout, node, progress)?);
    }
    let mtu = mtu.ok_or_else(|| LabError::Shape("a lab without nodes".to_owned()))?;
    progress.say(format!("guests are plugged in, MTU {mtu}"));
    settled(home, layout, progress)?;
    progress.say("every node follows the newest table, every tunnel is up");
    Ok(mtu)
}

/// Waits until every node follows the table that management has for it, knows every guest, and has its tunnels up.
fn settled(home: &Home, layout: &Layout, progress: &Progress) -> Result<(), LabError> {
    progress.wait("the mesh to settle", READY, || {
        let said = meshctl(home, layout, &["status", "-o", "json"], None).map_err(|e| e.to_string())?;
        let mesh: MeshStatus = serde_json::from_str(&said).map_err(|e| e.to_string())?;
        if let Some(late) = mesh.nodes.iter().find(|line| !line.in_sync) {
            return Err(format!("{} does not follow table {} yet", late.node, mesh.version));
        }
        layout.nodes.iter().try_for_each(|node| {
            let status = status(home, node).map_err(|problem| problem.what)?;
            lacks(&status, layout, node).map_or(Ok(()), Err)
        })
    })
}

/// What a node still lacks for its guests to reach all others.
fn lacks(status: &Status, layout: &Layout, node: &Node) -> Option<String> {
    let others = layout.guests().count() - node.guests.len();
    let rows = blue(status).map_or(0, |network| network.rows);
    if !node.guests.is_empty() && rows < others {
        return Some(format!("{} knows {rows} of {others} guests", node.name));
    }
    let down = status.peers.iter().find(|peer| peer.tunnel.as_ref().is_some_and(|tunnel| !tunnel.up))?;
    Some(format!("{} has no tunnel to {} yet", node.name, down.node))
}

/// Makes and starts the management node.
fn management(home: &Home, layout: &Layout, progress: &Progress) -> Result<(), LabError> {
    let folder = home.machine("mgmt");
    let trouble = || LabError::io(format!("cannot write into {}", folder.display()));
    file::ensure_dir(&folder, 0o700).map_err(trouble())?;
    let config = folder.join("meshmgr.toml");
    let text = format!(
        "listen = \"{MANAGEMENT}:{MANAGEMENT_TCP_PORT}\"\naddresses = [\"{MANAGEMENT}:{MANAGEMENT_TCP_PORT}\"]\n\
         [paths]\nkeys = \"{0}/keys\"\nstate = \"{0}/state\"\n",
        folder.display()
    );
    file::write(&config, text.as_bytes(), 0o600).map_err(trouble())?;
    let mut init = shell::command(Some(&layout.management), shell::program("meshmgr")?);
    init.arg("init").arg("--config").arg(&config);
    shell::run(init)?;
    run_management(home, layout, progress)?;
    progress.say(format!("management answers at {MANAGEMENT}:{MANAGEMENT_TCP_PORT}"));
    Ok(())
}

/// Starts `meshmgr` and waits until it answers. For tests too, after they have ended it.
///
/// # Errors
/// It does not start or does not answer.
pub fn run_management(home: &Home, layout: &Layout, progress: &Progress) -> Result<(), LabError> {
    let config = home.machine("mgmt").join("meshmgr.toml");
    let words = vec![text(shell::program("meshmgr")?), "run".into(), "--config".into(), text(config)];
    let (record, log) = (home.record("mgmt"), home.log("mgmt"));
    let process = process::start(&Daemon { namespace: &layout.management, record, log, words }, progress)?;
    progress.wait("the management server to answer", READY, || {
        if !process.alive() {
            return Err(format!("meshmgr has ended; see {}", home.log("mgmt").display()));
        }
        meshctl(home, layout, &["get", "pdc", "-o", "json"], None).map_err(|e| e.to_string())
    })?;
    Ok(())
}

/// Runs `meshctl` as the administrator, on the management node.
///
/// # Errors
/// What it says.
pub fn meshctl(home: &Home, layout: &Layout, words: &[&str], input: Option<&str>) -> Result<String, LabError> {
    let mut command = admin_command(home, layout)?;
    command.args(words);
    match input {
        Some(input) => shell::run_with_input(command, input),
        None => shell::run(command),
    }
}

fn admin_command(home: &Home, layout: &Layout) -> Result<Command, LabError> {
    let mut command = shell::command(Some(&layout.management), shell::program("meshctl")?);
    command.args(["--management", &format!("{MANAGEMENT}:{MANAGEMENT_TCP_PORT}")]);
    command.arg("--credential").arg(home.credential());
    Ok(command)
}

/// What an administrator would write for this lab, as YAML documents.
pub fn objects(layout: &Layout) -> String {
    let document = |kind: &str, name: &str, spec: &str| {
        format!("---\napiVersion: vxmesh/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
    };
    let pdcs = layout.pdcs.iter().map(|pdc| {
        let intra = if pdc.encrypted { "encrypted" } else { "plain" };
        document("Pdc", pdc.name.as_str(), &format!("{{intra: {intra}, underlay: [{}]}}", pdc.underlay))
    });
    let overlay = document("Overlay", OVERLAY, &format!("{{udpPort: {VXLAN_UDP_PORT}}}"));
    let network = document("Network", NETWORK, &format!("{{overlay: {OVERLAY}, vni: {VNI}, cidr: [{GUEST_PREFIX}]}}"));
    let nodes = layout.nodes.iter().map(|node| document("Node", &node.name, &format!("{{pdc: {}}}", node.pdc)));
    let ports = layout.guests().map(|(node, guest)| {
        let ips: Vec<String> = guest.ips.iter().map(ToString::to_string).collect();
        let name = format!("{}-{}", node.name, guest.device);
        let spec = format!(
            "{{network: {NETWORK}, node: {}, mac: \"{}\", ips: [{}], interface: {}}}",
            node.name,
            guest.mac,
            ips.join(", "),
            guest.device
        );
        document("Port", &name, &spec)
    });
    pdcs.chain([overlay, network]).chain(nodes).chain(ports).collect()
}

/// A token for all nodes of a PDC.
///
/// # Errors
/// What `meshctl` says.
pub fn token(home: &Home, layout: &Layout, pdc: &str, uses: usize) -> Result<String, LabError> {
    let uses = uses.to_string();
    let words = ["token", "create", "--pdc", pdc, "--uses", &uses, "--ttl", "10m", "-o", "json"];
    let answer = meshctl(home, layout, &words, None)?;
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    let why = || LabError::Command { line: "meshctl token create".into(), why: "its answer holds no token".into() };
    answer["token"].as_str().map(str::to_owned).ok_or_else(why)
}

/// Enrols a node.
///
/// # Errors
/// What `meshctl join` says.
pub fn join(home: &Home, node: &Node, token: &str) -> Result<(), LabError> {
    let folder = home.machine(&node.name);
    let trouble = || LabError::io(format!("cannot write into {}", folder.display()));
    file::ensure_dir(&folder, 0o700).map_err(trouble())?;
    let config = folder.join("meshd.toml");
    let lanes = node.lanes.map_or_else(|| "\"auto\"".to_owned(), |lanes| lanes.to_string());
    let text = format!(
        "management = [\"{MANAGEMENT}:{MANAGEMENT_TCP_PORT}\"]\n[node]\nname = \"{}\"\n\
         [underlay]\nadmin = \"admin0\"\nexternal = \"ext0\"\nlisten = {TUNNEL_UDP_PORT}\nlanes = {lanes}\n\
         [paths]\nkeys = \"{1}/keys\"\nstate = \"{1}/state\"\nrun = \"{1}/run\"\n",
        node.name,
        folder.display()
    );
    file::write(&config, text.as_bytes(), 0o600).map_err(trouble())?;
    let secret = folder.join("token");
    file::write(&secret, token.as_bytes(), 0o600).map_err(trouble())?;
    let mut join = shell::command(Some(&node.namespace), shell::program("meshctl")?);
    join.args(["join", "--no-start", "--config"]).arg(&config).arg("--token-file").arg(&secret);
    let joined = shell::run(join);
    std::fs::remove_file(&secret).map_err(trouble())?;
    joined.map(drop)
}

/// Starts `meshd` of a node. For tests too, after they have ended it.
///
/// # Errors
/// It does not start.
pub fn run(home: &Home, node: &Node, progress: &Progress) -> Result<(), LabError> {
    let config = home.machine(&node.name).join("meshd.toml");
    let words = vec![text(shell::program("meshd")?), "run".into(), "--config".into(), text(config)];
    let (record, log) = (home.record(&node.name), home.log(&node.name));
    process::start(&Daemon { namespace: &node.namespace, record, log, words }, progress).map(drop)
}

/// What a node's daemon says of itself.
///
/// # Errors
/// It does not answer.
pub fn status(home: &Home, node: &Node) -> Result<Status, Problem> {
    let client = Client::unix(home.socket(&node.name));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Problem::from(LabError::io("cannot start the client")(e)))?;
    runtime.block_on(client.call::<(), Status>(Method::GET, "/v1/status", None))
}

/// Waits for the network's bridge on a node and plugs its guests into it. Returns their MTU.
fn plug(home: &Home, layout: &Layout, node: &Node, progress: &Progress) -> Result<u16, LabError> {
    let others = layout.nodes.iter().filter(|other| !other.guests.is_empty() && other.name != node.name).count();
    let network = progress.wait(&format!("{} to have network {NETWORK}", node.name), READY, || {
        if home.running(&node.name).is_none() {
            return Err(format!("meshd has ended; see {}", home.log(&node.name).display()));
        }
        let status = status(home, node).map_err(|problem| problem.what)?;
        let network = blue(&status).ok_or("it does not host the network yet")?.clone();
        match status.peers.len() {
            peers if peers < others => Err(format!("it knows {peers} of {others} peers")),
            _ if !bridge_exists(node, &network.bridge) => Err(format!("there is no {} yet", network.bridge)),
            _ => Ok(network),
        }
    })?;
    let mtu = network.mtu.get();
    wires::plug(node, &network.bridge, mtu)?;
    Ok(mtu)
}

fn blue(status: &Status) -> Option<&NetworkStatus> {
    status.networks.iter().find(|network| network.name.as_str() == NETWORK)
}

fn bridge_exists(node: &Node, bridge: &str) -> bool {
    shell::ip(&["-n", &node.namespace, "link", "show", "dev", bridge]).is_ok()
}

/// Shows the last lines of every log: what is needed when a lab fails and is about to be removed.
pub fn tell_logs(home: &Home, progress: &Progress) {
    for (machine, _) in home.processes() {
        let log = std::fs::read_to_string(home.log(&machine)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        progress.say(format!("last lines of {machine}:"));
        for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
            progress.say(format!("  {}", crate::api::problem::printable(line)));
        }
    }
}

fn text(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}

/// `host:port` of the management server, inside the lab.
pub fn management_address() -> String {
    format!("{MANAGEMENT}:{MANAGEMENT_TCP_PORT}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::objects::Any;
    use crate::lab::layout::Shape;

    #[test]
    fn what_the_lab_writes_is_what_operators_may_write() {
        let mut shape = Shape::uniform("lab".into(), 1500, 2, 2, 2).unwrap();
        shape.pdcs[1].encrypted = true;
        let text = objects(&shape.layout().unwrap());
        let objects = crate::config::manifest::parse("lab", &text).unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(objects.len(), 2 + 2 + 4 + 8);
        let ports = objects.iter().filter(|object| matches!(object, Any::Port(_))).count();
        assert_eq!(ports, 8);
    }
}
