//! `meshctl status`: one screen, what is wrong, and the next command. Where nobody looks at a screen, and with `--all`, everything.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use super::objects::joined;
use super::out::{self, Done, Format, Lines, Stop};
use super::remote::{Access, Either};
use super::tunnel;
use crate::api::admin::{MeshStatus, NodeLine};
use crate::api::local::{AbsentPort, Management, NetworkStatus, Offload, PeerStatus, PlainState, Status};
use crate::api::problem::{Exit, Problem};
use crate::clock;
use crate::policy::offload::State;
use crate::types::{NodeId, Wall};

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Screen {
    /// Columns.
    width: usize,
    /// Lines of a list beside others.
    list: usize,
    /// Nodes of a mesh.
    nodes: usize,
    /// Problems.
    problems: usize,
    /// What is wrong is red.
    colours: bool,
}

/// A terminal of 24 lines.
const TERMINAL: Screen = Screen { width: 80, list: 3, nodes: 8, problems: 2, colours: false };
/// A file, a pipe, or somebody who wants all of it.
const WHOLE: Screen =
    Screen { width: usize::MAX, list: usize::MAX, nodes: usize::MAX, problems: usize::MAX, colours: false };

/// Options of `status`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct StatusArgs {
    /// What the management node knows of this node
    #[arg(long)]
    node: Option<NodeId>,
    /// Show every line, uncut, also on a terminal
    #[arg(long)]
    all: bool,
    /// Show it again every two seconds, until it is interrupted
    #[arg(short, long)]
    watch: bool,
}

/// How often it is shown again.
pub(super) const AGAIN: Duration = Duration::from_secs(2);
/// Clears the screen and begins at its top (ECMA-48).
pub(super) const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Runs it. Ends as degraded where something is wrong.
///
/// # Errors
/// Nobody answers.
pub(super) async fn run(access: &Access, args: StatusArgs) -> Done {
    if !args.watch {
        return once(access, &args).await;
    }
    loop {
        if io::stdout().is_terminal() {
            out::text(CLEAR)?;
        }
        match once(access, &args).await {
            Ok(()) | Err(Stop::Degraded) => {}
            // Who is away for a moment comes back.
            Err(Stop::Refused(problem)) if problem.exit == Exit::Unreachable => out::talk(&problem.to_string()),
            Err(stop) => return Err(stop),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn once(access: &Access, args: &StatusArgs) -> Done {
    let format = access.output;
    let screen = if args.all || !io::stdout().is_terminal() { WHOLE } else { TERMINAL };
    let screen = Screen { colours: out::colours(), ..screen };
    let whom = if args.node.is_some() { Either::Management(access.management()?) } else { access.either()? };
    let (text, problems, value) = match whom {
        Either::Node(server) => {
            let status: Status = server.get("/v1/status").await?;
            (screen.node(&status, clock::wall()), status.problems.len(), serde_json::to_value(&status))
        }
        Either::Management(server) => {
            let status = about(server.get("/v1/status").await?, args.node.as_ref())?;
            let (text, problems) = screen.mesh(&status, clock::wall());
            (text, problems, serde_json::to_value(&status))
        }
    };
    match format {
        Format::Table => out::text(&text)?,
        Format::Json | Format::Yaml => out::value(format, &value.unwrap_or_default())?,
    }
    if problems == 0 { Ok(()) } else { Err(Stop::Degraded) }
}

/// What a status says of one node: its line, and the problems that name it.
fn about(mut status: MeshStatus, node: Option<&NodeId>) -> Result<MeshStatus, Problem> {
    let Some(node) = node else { return Ok(status) };
    let known: Vec<String> = status.nodes.iter().map(|line| line.node.to_string()).collect();
    status.nodes.retain(|line| line.node == *node);
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    status.problems.retain(|finding| finding.what.split(word).any(|word| word == node.as_str()));
    if !status.nodes.is_empty() {
        return Ok(status);
    }
    let problem = Problem::new("M0333", Exit::NotFound, format!("node '{node}' does not exist"));
    Err(match crate::config::nearest(node.as_str(), known.iter().map(String::as_str)) {
        Some(near) => problem.help(format!("did you mean '{near}'?")),
        None => problem.help("see what there is: meshctl node list"),
    })
}

impl Screen {
    /// A node in at most 24 lines, but for long reasons.
    fn node(self, status: &Status, now: Wall) -> String {
        let ends = status.certificate_ends.map_or_else(String::new, |end| format!("   certificate {}", left(end, now)));
        let mut text =
            format!("node {}   PDC {}   table {}   meshd {}\n", status.node, status.pdc, status.version, status.daemon);
        let management = match &status.management {
            Management::Connected { address, since } => format!("connected to {address} for {}", lapse(*since, now)),
            Management::Away { since, why } => format!("away for {}: {why}", lapse(*since, now)),
            Management::Files => "none, the table comes from files".to_owned(),
        };
        text.push_str(&self.fit(&format!("management {management}{ends}")));
        text.push('\n');
        text.push_str(&self.networks(status));
        text.push('\n');
        text.push_str(&self.peers(&status.peers));
        text.push_str(&self.counts(status));
        text.push_str(&self.offload(&status.offload, status.problems.is_empty()));
        let found =
            status.problems.iter().map(|finding| (format!("{} {}", finding.code, finding.what), finding.help.clone()));
        text.push_str(&self.problems(found.collect(), &status.unknown));
        text
    }

    /// What was dropped, and what was done about frames that are too large, in one line.
    fn counts(self, status: &Status) -> String {
        let drops = joined(status.drops.iter().map(|(reason, count)| format!(" {reason} {count}")));
        let sizes = joined(status.sizes.named().iter().map(|(name, count)| format!(" {name} {count}")));
        let named = [("dropped", drops), ("sizes", sizes)];
        let parts =
            named.iter().filter(|(_, counts)| !counts.is_empty()).map(|(what, counts)| format!("{what}:{counts}"));
        let line = parts.collect::<Vec<_>>().join("   ");
        if line.is_empty() { line } else { self.fit(&line) }
    }

    fn networks(self, status: &Status) -> String {
        let mut lines = Lines::new(&["NETWORK", "VNI", "BRIDGE", "PORTS", "ROWS", "MTU", "STATE"]);
        let (bad, good): (Vec<_>, Vec<_>) = status.networks.iter().partition(|network| network.problem.is_some());
        for network in bad.into_iter().chain(good) {
            lines.add([
                network.name.to_string(),
                network.key.vni.to_string(),
                network.bridge.clone(),
                plugged(network),
                network.rows.to_string(),
                network.mtu.to_string(),
                network.problem.clone().unwrap_or_else(|| "ok".to_owned()),
            ]);
        }
        self.short(lines, "networks") + &self.absent(status)
    }

    /// Ports whose interface is not there, or has no carrier: most often guests that do not run.
    fn absent(self, status: &Status) -> String {
        let all: Vec<_> = status.networks.iter().flat_map(|network| &network.absent).collect();
        let line = |port: &&AbsentPort| {
            let name = port.port.as_ref().map_or_else(|| port.mac.to_string(), ToString::to_string);
            let how = if port.no_carrier { "no carrier" } else { "absent" };
            self.fit(&format!("  port {name}: {} {how} since {}", port.interface, port.since))
        };
        let shown: String = all.iter().take(self.list).map(line).collect();
        shown + &and_more(all.len().saturating_sub(self.list), "absent ports")
    }

    fn peers(self, peers: &[PeerStatus]) -> String {
        let mut lines = Lines::new(&["PEER", "PDC", "PATH", "STATE", "HANDSHAKE", "RECEIVED", "SENT"]);
        let lost = |peer: &PeerStatus| peer.plain.first().is_some_and(|plain| plain.state < PlainState::Starting);
        let dead =
            |peer: &PeerStatus| peer.tunnel.as_ref().is_some_and(|tunnel| !tunnel.up || tunnel.silence.is_some());
        let down = |peer: &&PeerStatus| dead(peer) || lost(peer);
        let (bad, good): (Vec<_>, Vec<_>) = peers.iter().partition(down);
        for peer in bad.into_iter().chain(good) {
            let head = [peer.node.to_string(), peer.pdc.to_string(), joined(&peer.paths)];
            let tail = match &peer.tunnel {
                None => [plain_state(peer), String::new(), String::new(), String::new()],
                Some(tunnel) => [
                    tunnel::state(tunnel).to_owned(),
                    tunnel::age(tunnel.handshake_age),
                    tunnel::bytes(tunnel.received),
                    tunnel::bytes(tunnel.sent),
                ],
            };
            lines.add(head.into_iter().chain(tail));
        }
        self.short(lines, "peers")
    }

    /// What is not used of the offloads, reasons where there is `room`; what the others did is for who wants all.
    fn offload(self, offload: &Offload, room: bool) -> String {
        let unused: Vec<_> = offload.features.iter().filter(|feature| feature.state != State::On).collect();
        let named = unused.iter().map(|feature| format!(" {} {}", feature.name, feature.state.word()));
        let named = if unused.is_empty() { " all on".to_owned() } else { joined(named) };
        if (unused.is_empty() || !room) && self.list != usize::MAX {
            return String::new();
        }
        let mut text = self.fit(&format!("offload:{named}"));
        for feature in offload.features.iter().filter(|feature| room && feature.why.is_some()).take(2) {
            let words = [&feature.why, &feature.help].map(|words| words.as_deref().unwrap_or_default());
            text.push_str(&self.fit(&format!("  {}: {}", feature.name, words[0])));
            text.push_str(&self.fit(&format!("    {}", words[1])));
        }
        if self.list != usize::MAX {
            return text;
        }
        let Offload { super_frames_cut, super_frames_whole, trains_resent, frames_written, tap_writes, .. } = offload;
        let tenths = frames_written.saturating_mul(10).checked_div(*tap_writes).unwrap_or_default();
        text + &self.fit(&format!(
            "  super-frames: {super_frames_cut} cut, {super_frames_whole} whole; trains re-sent: {trains_resent}; frames a TAP write: {}.{}",
            tenths / 10,
            tenths % 10
        ))
    }

    /// The mesh in at most 24 lines, and how many problems it has.
    fn mesh(self, status: &MeshStatus, now: Wall) -> (String, usize) {
        let objects = status.objects.iter().filter(|(_, count)| **count > 0);
        let objects = joined(objects.map(|(kind, count)| format!(" {kind} {count}")));
        let mut text = format!("meshmgr {}   table {}\n", status.daemon, status.version);
        text.push_str(&self.fit(&format!("objects:{}", if objects.is_empty() { " none yet" } else { &objects })));
        text.push('\n');
        let mut lines = Lines::new(&["NODE", "PDC", "STATE", "SEEN", "TABLE", "SYNC", "MESHD"]);
        let (bad, good): (Vec<_>, Vec<_>) = status.nodes.iter().partition(|node| wrong(node));
        for node in bad.iter().chain(&good) {
            lines.add([
                node.node.to_string(),
                node.pdc.to_string(),
                state(node).to_owned(),
                node.seen.map_or_else(String::new, |seen| format!("{} ago", lapse(seen, now))),
                node.acknowledged.map_or_else(String::new, |version| version.to_string()),
                if node.joined.is_none() || node.expected {
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
        let more = lines.cut(self.nodes);
        text.push_str(&if lines.is_empty() { "no nodes\n".to_owned() } else { lines.text() });
        text.push_str(&and_more(more, "nodes"));
        let found = status.problems.iter();
        let found: Vec<_> =
            found.map(|finding| (format!("{} {}", finding.code, finding.what), finding.help.clone())).collect();
        let count = found.len();
        let expected = expected(&status.nodes);
        text.push_str(&expected.iter().map(|line| self.fit(line)).collect::<String>());
        text.push_str(&match (expected, count) {
            (Some(_), 0) => "\nnothing is known to be wrong so far\n".to_owned(),
            (Some(_) | None, _) => self.problems(found, &[]),
        });
        (text, count)
    }

    /// What is wrong, worst first, with what to do; or that nothing is.
    fn problems(self, found: Vec<(String, String)>, unknown: &[String]) -> String {
        if found.is_empty() && !unknown.is_empty() {
            let open: String = unknown.iter().map(|open| self.wrap(&format!("not known yet: {open}"))).collect();
            return format!("\nnothing is known to be wrong so far\n{open}");
        }
        if found.is_empty() {
            return "\nall is well\n".to_owned();
        }
        let [begin, end] = if self.colours { out::RED } else { [""; 2] };
        let mut text = format!("\n{begin}problems: {}{end}\n", found.len());
        let more = found.len().saturating_sub(self.problems);
        for (what, help) in found.into_iter().take(self.problems) {
            text.push_str(&self.wrap(&what));
            text.push_str(&format!("    {}\n", crate::api::problem::printable(&help)));
        }
        text + &and_more(more, "problems")
    }

    fn short(self, mut lines: Lines, what: &str) -> String {
        if lines.is_empty() {
            return format!("no {what}\n");
        }
        let more = lines.cut(self.list);
        let text: String = lines.text().lines().map(|line| self.fit(line)).collect();
        text + &and_more(more, what)
    }

    /// One line of the screen.
    fn fit(self, line: &str) -> String {
        let line = crate::api::problem::printable(line);
        if line.chars().count() <= self.width {
            return line + "\n";
        }
        line.chars().take(self.width - 3).collect::<String>() + "...\n"
    }

    /// A reason, whole, over as many lines as it needs.
    fn wrap(self, reason: &str) -> String {
        let (mut text, mut line) = (String::new(), String::from(" "));
        for word in crate::api::problem::printable(reason).split_ascii_whitespace() {
            if line.chars().count() + 1 + word.chars().count() > self.width && line.trim() != "" {
                text.push_str(&line);
                text.push('\n');
                line = String::from("   ");
            }
            line.push(' ');
            line.push_str(word);
        }
        text + &line + "\n"
    }
}

/// How many ports of a network are plugged in, and of how many where some are not.
fn plugged(network: &NetworkStatus) -> String {
    let NetworkStatus { ports, plugged, .. } = network;
    if ports == plugged { ports.to_string() } else { format!("{plugged} of {ports}") }
}

const fn state(node: &NodeLine) -> &'static str {
    if node.foreign {
        "foreign"
    } else if node.quarantined {
        "quarantined"
    } else if node.connected {
        "connected"
    } else if node.left {
        "left"
    } else if node.expected {
        "expected"
    } else if node.joined.is_some() {
        "away"
    } else {
        "declared"
    }
}

/// What the plain path to a peer answers, and where it is.
fn plain_state(peer: &PeerStatus) -> String {
    let state = peer.plain.first().map(|plain| plain.state.word());
    let at = peer.vtep.map(|vtep| format!("at {vtep}"));
    state.map(str::to_owned).into_iter().chain(at).collect::<Vec<_>>().join(" ")
}

/// Whether something is wrong with a node itself, which a problem tells.
const fn wrong(node: &NodeLine) -> bool {
    let calm = node.foreign || node.joined.is_none();
    !calm && (node.quarantined || !node.expected && (!node.connected || !node.in_sync && !node.changing))
}

/// Who has not been heard since the server started and has some time left, in one line.
fn expected(nodes: &[NodeLine]) -> Option<String> {
    let names: Vec<&str> = nodes.iter().filter(|node| node.expected).map(|node| node.node.as_str()).collect();
    let more = names.len().saturating_sub(3);
    let named = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| format!("not heard yet since the server started, and expected: {named}{more}"))
}

fn and_more(more: usize, what: &str) -> String {
    if more == 0 { String::new() } else { format!("and {more} more {what}; all: --all\n") }
}

/// How long ago that was, in a word.
pub(super) fn lapse(since: Wall, now: Wall) -> String {
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
