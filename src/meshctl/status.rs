//! `meshctl status`: one screen, what is wrong, and the next command.

use super::objects::joined;
use super::out::{self, Done, Format, Lines, Stop};
use super::remote::{Access, Either};
use super::tunnel;
use crate::api::admin::{MeshStatus, NodeLine};
use crate::api::local::{Management, Offload, PeerStatus, Status};
use crate::clock;
use crate::policy::offload::State;
use crate::types::Wall;

/// Lines of a list that fit on the screen beside the others.
const MOST: usize = 3;
/// Most nodes of a mesh on the screen.
const MOST_NODES: usize = 8;
/// Columns of the screen.
const WIDTH: usize = 80;

/// Runs it. Ends as degraded where something is wrong.
///
/// # Errors
/// Nobody answers.
pub(super) async fn run(access: &Access) -> Done {
    let format = access.output;
    let (text, problems, value) = match access.either()? {
        Either::Node(server) => {
            let status: Status = server.get("/v1/status").await?;
            (node(&status, clock::wall()), status.problems.len(), serde_json::to_value(&status))
        }
        Either::Management(server) => {
            let status: MeshStatus = server.get("/v1/status").await?;
            let (text, problems) = mesh(&status, clock::wall());
            (text, problems, serde_json::to_value(&status))
        }
    };
    match format {
        Format::Table => out::text(&text)?,
        Format::Json | Format::Yaml => out::value(format, &value.unwrap_or_default())?,
    }
    if problems == 0 { Ok(()) } else { Err(Stop::Degraded) }
}

/// A node in at most 24 lines.
fn node(status: &Status, now: Wall) -> String {
    let ends = status.certificate_ends.map_or_else(String::new, |end| format!("   certificate {}", left(end, now)));
    let mut text =
        format!("node {}   PDC {}   table {}   meshd {}\n", status.node, status.pdc, status.version, status.daemon);
    let management = match &status.management {
        Management::Connected { address, since } => format!("connected to {address} for {}", lapse(*since, now)),
        Management::Away { since, why } => format!("away for {}: {why}", lapse(*since, now)),
        Management::Files => "none, the table comes from files".to_owned(),
    };
    text.push_str(&fit(&format!("management {management}{ends}")));
    text.push('\n');
    text.push_str(&networks(status));
    text.push('\n');
    text.push_str(&peers(&status.peers));
    text.push_str(&counts(status));
    text.push_str(&offload(&status.offload, status.problems.is_empty()));
    let found =
        status.problems.iter().map(|finding| (format!("{} {}", finding.code, finding.what), finding.help.clone()));
    text.push_str(&problems(found.collect()));
    text
}

/// What was dropped, and what was done about frames that are too large, in one line.
fn counts(status: &Status) -> String {
    let drops = joined(status.drops.iter().map(|(reason, count)| format!(" {reason} {count}")));
    let sizes = joined(status.sizes.named().iter().map(|(name, count)| format!(" {name} {count}")));
    let named = [("dropped", drops), ("sizes", sizes)];
    let parts = named.iter().filter(|(_, counts)| !counts.is_empty()).map(|(what, counts)| format!("{what}:{counts}"));
    let line = parts.collect::<Vec<_>>().join("   ");
    if line.is_empty() { line } else { fit(&line) }
}

fn networks(status: &Status) -> String {
    let mut lines = Lines::new(&["NETWORK", "VNI", "BRIDGE", "PORTS", "ROWS", "MTU", "STATE"]);
    let (bad, good): (Vec<_>, Vec<_>) = status.networks.iter().partition(|network| network.problem.is_some());
    for network in bad.into_iter().chain(good) {
        lines.add([
            network.name.to_string(),
            network.key.vni.to_string(),
            network.bridge.clone(),
            network.ports.to_string(),
            network.rows.to_string(),
            network.mtu.to_string(),
            network.problem.clone().unwrap_or_else(|| "ok".to_owned()),
        ]);
    }
    short(lines, "networks")
}

fn peers(peers: &[PeerStatus]) -> String {
    let mut lines = Lines::new(&["PEER", "PDC", "PATH", "STATE", "HANDSHAKE", "RECEIVED", "SENT"]);
    let down = |peer: &&PeerStatus| peer.tunnel.as_ref().is_some_and(|tunnel| !tunnel.up);
    let (bad, good): (Vec<_>, Vec<_>) = peers.iter().partition(down);
    for peer in bad.into_iter().chain(good) {
        let head = [peer.node.to_string(), peer.pdc.to_string(), joined(&peer.paths)];
        let tail = match &peer.tunnel {
            None => [
                peer.vtep.map_or_else(String::new, |vtep| format!("at {vtep}")),
                String::new(),
                String::new(),
                String::new(),
            ],
            Some(tunnel) => [
                if tunnel.up { "up" } else { "down" }.to_owned(),
                tunnel::age(tunnel.handshake_age),
                tunnel::bytes(tunnel.received),
                tunnel::bytes(tunnel.sent),
            ],
        };
        lines.add(head.into_iter().chain(tail));
    }
    short(lines, "peers")
}

/// What is not used of the offloads and what the others did; reasons where there is `room`.
fn offload(offload: &Offload, room: bool) -> String {
    let unused: Vec<_> = offload.features.iter().filter(|feature| feature.state != State::On).collect();
    let named = unused.iter().map(|feature| format!(" {} {}", feature.name, feature.state.word()));
    let named = if unused.is_empty() { " all on".to_owned() } else { joined(named) };
    let mut text = fit(&format!("offload:{named}"));
    for feature in offload.features.iter().filter(|feature| room && feature.why.is_some()).take(2) {
        let words = [&feature.why, &feature.help].map(|words| words.as_deref().unwrap_or_default());
        text.push_str(&fit(&format!("  {}: {}", feature.name, words[0])));
        text.push_str(&fit(&format!("    {}", words[1])));
    }
    let Offload { super_frames_cut, super_frames_whole, trains_resent, frames_written, tap_writes, .. } = offload;
    let tenths = frames_written.saturating_mul(10).checked_div(*tap_writes).unwrap_or_default();
    text + &fit(&format!(
        "  super-frames: {super_frames_cut} cut, {super_frames_whole} whole; trains re-sent: {trains_resent}; frames a TAP write: {}.{}",
        tenths / 10,
        tenths % 10
    ))
}

/// The mesh in at most 24 lines, and how many problems it has.
fn mesh(status: &MeshStatus, now: Wall) -> (String, usize) {
    let objects = status.objects.iter().filter(|(_, count)| **count > 0);
    let objects = joined(objects.map(|(kind, count)| format!(" {kind} {count}")));
    let mut text = format!("meshmgr {}   table {}\n", status.daemon, status.version);
    text.push_str(&fit(&format!("objects:{}", if objects.is_empty() { " none yet" } else { &objects })));
    text.push('\n');
    let mut lines = Lines::new(&["NODE", "PDC", "STATE", "SEEN", "TABLE", "SYNC", "MESHD"]);
    let (bad, good): (Vec<_>, Vec<_>) = status.nodes.iter().partition(|node| wrong(node).is_some());
    for node in bad.iter().chain(&good) {
        lines.add([
            node.node.to_string(),
            node.pdc.to_string(),
            state(node).to_owned(),
            node.seen.map_or_else(String::new, |seen| format!("{} ago", lapse(seen, now))),
            node.acknowledged.map_or_else(String::new, |version| version.to_string()),
            if node.joined.is_none() {
                ""
            } else if node.in_sync {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
            node.daemon.clone().unwrap_or_default(),
        ]);
    }
    let more = lines.cut(MOST_NODES);
    text.push_str(&if lines.is_empty() { "no nodes\n".to_owned() } else { lines.text() });
    text.push_str(&and_more(more, "nodes"));
    let mut found: Vec<_> = bad.iter().filter_map(|node| wrong(node)).collect();
    let others = status.problems.iter();
    found.extend(others.map(|finding| (format!("{} {}", finding.code, finding.what), finding.help.clone())));
    let count = found.len();
    text.push_str(&problems(found));
    (text, count)
}

const fn state(node: &NodeLine) -> &'static str {
    if node.foreign {
        "foreign"
    } else if node.quarantined {
        "quarantined"
    } else if node.connected {
        "connected"
    } else if node.joined.is_some() {
        "away"
    } else {
        "declared"
    }
}

/// What is wrong with a node, and what to do. One that never joined is only not there yet; one in quarantine has a problem of its own.
fn wrong(node: &NodeLine) -> Option<(String, String)> {
    if node.foreign || node.joined.is_none() || node.quarantined {
        return None;
    }
    if !node.connected {
        let help = "on that node: systemctl status meshd; its guests go on with the table that it has";
        return Some((format!("M0107 node {} is away", node.node), help.to_owned()));
    }
    let help = format!("on that node: meshctl status; here: meshctl events | grep {}", node.node);
    (!node.in_sync).then(|| (format!("M0108 node {} does not follow the newest table", node.node), help))
}

/// What is wrong, worst first, with what to do; or that nothing is.
fn problems(found: Vec<(String, String)>) -> String {
    let most = 2;
    if found.is_empty() {
        return "\nall is well\n".to_owned();
    }
    let mut text = format!("\nproblems: {}\n", found.len());
    let more = found.len().saturating_sub(most);
    for (what, help) in found.into_iter().take(most) {
        text.push_str(&fit(&format!("  {what}")));
        text.push_str(&format!("    {}\n", crate::api::problem::printable(&help)));
    }
    text + &and_more(more, "problems")
}

fn short(mut lines: Lines, what: &str) -> String {
    if lines.is_empty() {
        return format!("no {what}\n");
    }
    let more = lines.cut(MOST);
    let text: String = lines.text().lines().map(fit).collect();
    text + &and_more(more, what)
}

fn and_more(more: usize, what: &str) -> String {
    if more == 0 { String::new() } else { format!("and {more} more {what}; all: -o json\n") }
}

/// One line of the screen.
fn fit(line: &str) -> String {
    let line = crate::api::problem::printable(line);
    if line.chars().count() <= WIDTH {
        return line + "\n";
    }
    line.chars().take(WIDTH - 3).collect::<String>() + "...\n"
}

fn lapse(since: Wall, now: Wall) -> String {
    span(now.as_secs().saturating_sub(since.as_secs()))
}

fn left(end: Wall, now: Wall) -> String {
    match end.as_secs().checked_sub(now.as_secs()) {
        Some(seconds) => format!("{} left", span(seconds)),
        None => "ENDED".to_owned(),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
