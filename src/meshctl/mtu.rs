//! `meshctl mtu`: what paths carry, who limits it, and what that leaves for guests.

use super::objects::or_none;
use super::out::{self, Done, Format, Lines, Stop};
use super::remote::{Access, Either, Server};
use super::tunnel::age;
use crate::api::mtu::{LaneMtu, MeshMtu, NetworkMtu, NodeMtu, Probed, SaidBy, SizeCounts};
use crate::api::objects::Any;
use crate::api::problem::{Exit, Problem};
use crate::clock;
use crate::policy::mtu::Oversize;
use crate::types::{NetworkId, Wall};

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// What each pair of PDCs (or, asked of a node, each peer) carries, computed and measured, and who limits it
    Map {
        /// Only this network
        #[arg(long)]
        network: Option<NetworkId>,
    },
    /// Measure the path from this node to another now, and wait for the result
    Probe {
        /// A node, or a port: the node that it runs on
        target: String,
    },
}

/// Runs a verb.
///
/// # Errors
/// Nobody answers, or there is no such network, node or port.
pub(super) async fn run(access: &Access, command: Command) -> Done {
    match command {
        Command::Map { network } => match access.either()? {
            Either::Node(server) => {
                let map = one_network(server.get("/v1/mtu").await?, network.as_ref())?;
                print(access.output, &map, || of_node(&map, clock::wall()))
            }
            Either::Management(server) => {
                let path = network.map_or_else(|| "/v1/mtu".to_owned(), |name| format!("/v1/mtu?network={name}"));
                let map: MeshMtu = server.get(&path).await?;
                print(access.output, &map, || of_mesh(&map, clock::wall()))
            }
        },
        Command::Probe { target } => probe(access, &target).await,
    }
}

fn print(format: Format, map: &impl serde::Serialize, text: impl FnOnce() -> String) -> Done {
    match format {
        Format::Table => out::text(&text()),
        Format::Json | Format::Yaml => out::value(format, map),
    }
}

/// A node's map without the other networks.
fn one_network(mut map: NodeMtu, only: Option<&NetworkId>) -> Result<NodeMtu, Problem> {
    let Some(only) = only else { return Ok(map) };
    let names: Vec<String> = map.networks.iter().map(|line| line.network.to_string()).collect();
    map.networks.retain(|line| line.network == *only);
    if map.networks.is_empty() {
        let what = format!("node '{}' does not host network '{only}'", map.node);
        let problem = Problem::new("M0309", Exit::NotFound, what);
        return Err(match crate::config::nearest(only.as_str(), names.iter().map(String::as_str)) {
            Some(near) => problem.help(format!("did you mean '{near}'?")),
            None => problem.help(format!("it hosts: {}", names.join(", "))),
        });
    }
    Ok(map)
}

fn of_mesh(map: &MeshMtu, now: Wall) -> String {
    let mut pairs = Lines::new(&["PDC", "PDC", "PATH", "UNDERLAY", "MEASURED", "SINCE", "GUEST", "LIMITED BY"]);
    for pair in &map.pairs {
        pairs.add([
            pair.a.to_string(),
            pair.b.to_string(),
            pair.path.to_string(),
            pair.underlay.to_string(),
            or_none(pair.measured),
            since(pair.since, now),
            pair.guest.to_string(),
            pair.limit.clone(),
        ]);
    }
    let nothing = "no two nodes share a network yet\n";
    let pairs = if pairs.is_empty() { nothing.to_owned() } else { pairs.text() };
    format!("{pairs}\n{}", networks(&map.networks))
}

fn of_node(map: &NodeMtu, now: Wall) -> String {
    let mut peers =
        Lines::new(&["PEER", "PDC", "PATH", "UNDERLAY", "MEASURED", "SINCE", "LANES", "GUEST", "LIMITED BY"]);
    for peer in &map.peers {
        peers.add([
            peer.node.to_string(),
            peer.pdc.to_string(),
            peer.path.to_string(),
            peer.underlay.to_string(),
            or_none(peer.measured),
            since(peer.since, now),
            lanes(&peer.lanes),
            peer.guest.to_string(),
            peer.limit.clone(),
        ]);
    }
    let peers = if peers.is_empty() { "no peers\n".to_owned() } else { peers.text() };
    format!("{peers}\n{}{}", networks(&map.networks), counts(map))
}

/// What was done about sizes, by peer and network; nothing where nothing was done.
fn counts(map: &NodeMtu) -> String {
    let peers = map.peers.iter().map(|peer| (format!("peer {}", peer.node), peer.counts));
    let networks = map.networks.iter().map(|line| (format!("network {}", line.network), line.counts));
    let line = |(of, counts): (String, SizeCounts)| {
        let named: Vec<String> = counts.named().iter().map(|(name, count)| format!("{name} {count}")).collect();
        (!named.is_empty()).then(|| format!("{of}: {}\n", named.join(", ")))
    };
    let lines: String = peers.chain(networks).filter_map(line).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

fn networks(networks: &[NetworkMtu]) -> String {
    let mut lines = Lines::new(&["NETWORK", "MTU", "POLICY", "WHOLE", "STATE", "LIMITED BY"]);
    for line in networks {
        let by = match line.said_by {
            Some(SaidBy::Network) => " (network)",
            Some(SaidBy::Overlay) => " (overlay)",
            Some(SaidBy::Node) => " (node)",
            None => "",
        };
        let state = match line.missing {
            0 if line.lost => "less passes: lost".to_owned(),
            0 => "fits".to_owned(),
            missing if line.alone => format!("{missing} bytes more than a plain path"),
            missing if line.lost => format!("{missing} bytes short: lost"),
            missing => format!("{missing} bytes short: fragments"),
        };
        lines.add([
            line.network.to_string(),
            line.mtu.to_string(),
            format!("{}{by}", if line.fixed { "fixed" } else { "auto" }),
            line.whole.to_string(),
            state,
            line.limit.clone(),
        ]);
    }
    if lines.is_empty() { "no networks\n".to_owned() } else { lines.text() }
}

/// Phases of the lanes, each once: `complete`, or `complete,searching`.
fn lanes(lanes: &[LaneMtu]) -> String {
    let phases: std::collections::BTreeSet<&str> = lanes.iter().map(|lane| lane.phase.as_str()).collect();
    phases.into_iter().collect::<Vec<_>>().join(",")
}

fn since(since: Option<Wall>, now: Wall) -> String {
    since.map_or_else(String::new, |since| age(Some(now.as_secs().saturating_sub(since.as_secs()))))
}

/// Says on stderr where a fixed number is taken that some path does not carry whole, or will not. Nothing is refused here, so whatever
/// goes wrong with the question is no matter.
pub(super) async fn warn(server: &Server, object: &Any) {
    let (policy, path) = match object {
        Any::Network(network) => (network.spec.mtu, format!("/v1/mtu?network={}", network.metadata.name)),
        Any::Overlay(overlay) => (overlay.spec.mtu, "/v1/mtu".to_owned()),
        Any::Pdc(_) | Any::Node(_) | Any::Port(_) | Any::PathPolicy(_) | Any::Token(_) => return,
    };
    if policy.is_none_or(|policy| policy.fixed.is_none()) {
        return;
    }
    let Ok(map) = server.get::<MeshMtu>(&path).await else { return };
    for line in map.networks.iter().filter(|line| line.fixed && line.missing > 0) {
        out::talk(&warning(line));
    }
}

fn warning(line: &NetworkMtu) -> String {
    let NetworkMtu { network, mtu, whole, missing, limit, sum, .. } = line;
    if line.alone {
        let tunnels = match line.oversize {
            Oversize::Fragment => "across PDCs such frames travel in fragments",
            Oversize::TooBig | Oversize::Drop => "one across PDCs as well, since nothing is to travel in fragments",
        };
        return format!(
            "warning: an MTU of {mtu} is {missing} bytes more than a plain path carries, and network {network} has no pair of nodes yet: a port \
             that makes one inside a PDC is refused then (M0501), since the kernel cuts nothing there; {tunnels}\n  note: {sum}\n  help: \
             have it computed: meshctl network set {network} --mtu auto"
        );
    }
    let fate = match line.lost {
        true => "travel in fragments through tunnels, and plain paths lose those that meshctl status tells",
        false => "travel in fragments",
    };
    format!(
        "warning: an MTU of {mtu} is {missing} bytes more than every path of network {network} carries whole: such frames \
         {fate}\n  note: {sum}: {limit}\n  help: {whole} fits: meshctl network set {network} --mtu {whole}"
    )
}

/// Asks the `meshd` of this machine. Ends as degraded where a lane found no size.
async fn probe(access: &Access, target: &str) -> Done {
    let plain = target.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !plain || target.is_empty() {
        let what = format!("'{target}' is the name of neither a node nor a port");
        return Err(Problem::new("M0302", Exit::Invalid, what).note("a name holds only a-z, 0-9 and '-'").into());
    }
    let probed: Probed = access.node().get(&format!("/v1/mtu/probe?to={target}")).await?;
    print(access.output, &probed, || found(&probed))?;
    if probed.complete { Ok(()) } else { Err(Stop::Degraded) }
}

fn found(probed: &Probed) -> String {
    let mut lines = Lines::new(&["LANE", "BYTES", "PHASE"]);
    for lane in &probed.lanes {
        lines.add([lane.lane.to_string(), lane.bytes.to_string(), lane.phase.clone()]);
    }
    let head = if probed.complete { "measured" } else { "not all measured" };
    format!("{} {head} in {} ms\n{}{}\n", probed.node, probed.milliseconds, lines.text(), probed.sum)
}

#[cfg(test)]
#[path = "mtu_tests.rs"]
mod tests;
