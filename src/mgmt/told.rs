//! What nodes find wrong with themselves, as management shows it: bounded where it comes in, and one line for all nodes that say the same.
//! A node may say about itself what it likes; what it says is marked as its own.

use std::collections::{BTreeMap, BTreeSet};

use super::limits::{FINDINGS, FINDINGS_OF_NODE};
use super::uplinks::{AWAY_TOO, ITS_FAULT, TUNNEL, own_line, plain_line};
use crate::api::cut::{Cut, Direction};
use crate::api::list::named;
use crate::api::local::Finding;
use crate::api::problem::{clip, printable};
use crate::node::watch_told::{SILENT, UNHEARD};
use crate::types::{IfName, NodeId};

/// Longest code that is kept, bytes.
const CODE: usize = 8;
/// Names in a line before the rest is counted.
const NAMED: usize = 3;

/// What one node said last: with its WireGuard key, and without. Who has its TLS key alone adds to it, marked, and takes nothing away; a node
/// whose WireGuard key is another's by now is heard as well.
#[derive(Debug, Default)]
pub struct Said {
    proved: Vec<Finding>,
    unproved: Vec<Finding>,
}

impl Said {
    /// Takes what came in its name.
    pub fn hear(&mut self, said: &[Finding], proved: bool) {
        if proved {
            *self = Self { proved: bounded(said), unproved: Vec::new() };
        } else {
            self.unproved = bounded(said);
        }
    }

    /// For the mesh's status.
    pub fn findings(&self) -> Vec<Finding> {
        let new = self.unproved.iter().filter(|finding| !self.proved.contains(finding));
        let marked = new.map(|finding| Finding {
            what: format!("said without proof of its WireGuard key: {}", finding.what),
            // Nobody is told for sure that nothing arrives because a thief says so.
            cut: finding.cut.clone().map(|cut| Cut { surely: false, ..cut }),
            line: None,
            ..finding.clone()
        });
        self.proved.iter().cloned().chain(marked).collect()
    }
}

/// What a node in quarantine found last, before it was shut out.
pub fn before_quarantine(finding: Finding) -> Finding {
    Finding { what: format!("before its quarantine: {}", finding.what), ..finding }
}

/// What is kept of the findings that one node reports.
pub fn bounded(said: &[Finding]) -> Vec<Finding> {
    let text = |text: &str| printable(clip(text));
    let kept = said.iter().take(FINDINGS_OF_NODE).map(|finding| Finding {
        code: printable(&finding.code).chars().take(CODE).collect(),
        what: text(&finding.what),
        help: text(&finding.help),
        cut: finding.cut.clone().map(Cut::bounded),
        // It goes into commands of others.
        line: finding.line.clone().filter(IfName::is_plain),
    });
    kept.collect()
}

/// The problems of a mesh out of those of its nodes; what most nodes say comes first.
/// `heard` are nodes whose daemons are connected now, `away` those of which M0107 is told.
pub fn of_mesh<'a>(
    told: impl IntoIterator<Item = (&'a NodeId, &'a [Finding])>,
    heard: &BTreeSet<NodeId>,
    away: &BTreeSet<NodeId>,
) -> Vec<Finding> {
    let told: Vec<(&NodeId, &[Finding])> = told.into_iter().collect();
    let lines: BTreeMap<&NodeId, &IfName> =
        told.iter().filter_map(|(node, findings)| Some((*node, own_line(findings)?))).collect();
    let plain: BTreeMap<&NodeId, &IfName> =
        told.iter().filter_map(|(node, findings)| Some((*node, plain_line(findings)?.0))).collect();
    let known = |node, finding: &Finding| first(beside(node, finding, heard, &plain), &lines, away);
    let told: Vec<(&NodeId, Vec<Finding>)> = told
        .iter()
        .map(|(node, findings)| (*node, findings.iter().map(|finding| known(node, finding)).collect()))
        .collect();
    let mut alike: BTreeMap<(&str, &str, &str), Vec<&NodeId>> = BTreeMap::new();
    for (node, findings) in &told {
        for finding in findings {
            let nodes = alike.entry((&finding.code, &finding.what, &finding.help)).or_default();
            if nodes.last() != Some(node) {
                nodes.push(node);
            }
        }
    }
    let mut lines: Vec<_> = alike.into_iter().collect();
    lines.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
    let more = lines.len().saturating_sub(FINDINGS);
    let line = |((code, what, help), nodes): ((&str, &str, &str), Vec<&NodeId>)| {
        Finding::new(code, format!("{}: {what}", names(&nodes)), on_nodes(help))
    };
    let mut problems: Vec<Finding> = lines.into_iter().take(FINDINGS).map(line).collect();
    if more > 0 {
        let what = format!("nodes find {more} more things wrong");
        problems.push(Finding::new("M0129", what, "on the nodes: meshctl status"));
    }
    problems
}

/// A node hears nothing of peers that are heard here, as it is itself: what it cannot know, that their daemons run, is known here.
fn beside(node: &NodeId, finding: &Finding, heard: &BTreeSet<NodeId>, lines: &BTreeMap<&NodeId, &IfName>) -> Finding {
    let peers = finding.cut.as_ref().map(|cut| &cut.peers).filter(|peers| !peers.is_empty());
    let all = peers.is_some_and(|peers| peers.iter().all(|peer| heard.contains(peer)));
    if finding.code != SILENT || finding.what.contains(ITS_FAULT) {
        return finding.clone();
    }
    // It says so itself, and that is where to look.
    if let Some((peer, line)) = peers.into_iter().flatten().find_map(|peer| Some((peer, lines.get(peer)?))) {
        let what =
            format!("{peer} says itself that its interface {line} is the fault, and that first: {}", finding.what);
        return Finding { what, ..finding.clone() };
    }
    if !finding.what.starts_with(UNHEARD) || !all || !heard.contains(node) {
        return finding.clone();
    }
    let what = format!(
        "{}; the management node hears both ends: both daemons run, so it is the line between them",
        finding.what
    );
    Finding { what, ..finding.clone() }
}

/// Of a tunnel by which nothing arrives, what is known of its other end comes first: that it is away, or that it calls its own interface the fault.
fn first(finding: Finding, lines: &BTreeMap<&NodeId, &IfName>, away: &BTreeSet<NodeId>) -> Finding {
    let cut = finding.cut.as_ref().filter(|cut| cut.direction != Some(Direction::FromGuests) && finding.line.is_none());
    let peers = cut.map(|cut| cut.peers.as_slice()).filter(|_| finding.code == TUNNEL).unwrap_or_default();
    let cause = |peer: &NodeId| match lines.get(peer) {
        Some(line) => Some(format!("{peer} says itself that its interface {line} is the fault, and that first")),
        None if away.contains(peer) => Some(format!("{peer} is not heard here either, so M0107 of it first")),
        None => None,
    };
    let causes: Option<Vec<String>> = peers.iter().map(cause).collect();
    // What each node makes of it changes with time, and its cause does not: so it is one line for all.
    if let Some(causes) = causes.filter(|causes| !causes.is_empty()) {
        let (tunnels, carry) = if causes.len() > 1 { ("tunnels", "carry") } else { ("tunnel", "carries") };
        let (first, names) = (named(causes, NAMED), named(peers, NAMED));
        let what = format!("{first}: the {tunnels} to {names} {carry} nothing from there");
        return Finding {
            what,
            help: format!("meshctl status; on {names}: ip -brief link; meshctl status"),
            ..finding
        };
    }
    let said = [AWAY_TOO, ITS_FAULT].iter().any(|words| finding.what.contains(words));
    match peers.iter().find_map(cause).filter(|_| !said) {
        Some(cause) => Finding { what: format!("{cause}: {}", finding.what), ..finding },
        None => finding,
    }
}

/// Nodes in words.
pub(super) fn names(nodes: &[&NodeId]) -> String {
    let names = named(nodes, NAMED);
    if nodes.len() == 1 { format!("node {names}") } else { format!("{} nodes ({names})", nodes.len()) }
}

/// Verbs of `meshctl` that management alone answers.
const OURS: [&str; 7] = ["network", "port", "overlay", "pdc", "policy", "node", "token"];

/// A help that nodes tell, for who reads it at management: what management alone answers is typed here.
pub fn on_nodes(help: &str) -> String {
    let is_ours = |command: &&str| OURS.iter().any(|verb| command.contains(&format!("meshctl {verb} ")));
    let (ours, theirs): (Vec<&str>, Vec<&str>) = help.split("; ").partition(is_ours);
    match (theirs.is_empty(), ours.is_empty()) {
        (true, _) => help.to_owned(),
        (false, true) => format!("on the node itself: {help}"),
        (false, false) => format!("on the node itself: {}; here: {}", theirs.join("; "), ours.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::watch_told::LINE;

    fn finding(code: &str, what: &str) -> Finding {
        Finding::new(code, what.to_owned(), "meshctl explain")
    }

    fn node(n: usize) -> NodeId {
        format!("a-{n}").parse().unwrap()
    }

    #[test]
    fn a_line_between_two_daemons_that_are_both_heard_here_is_named() {
        let cut = Cut::peers(false, crate::policy::path::Path::Plain, [&node(2)]);
        let silent = Finding::new(SILENT, format!("{UNHEARD} a-2"), "ping").cuts(cut.clone());
        let quiet = Finding::new(SILENT, "a-2 does not answer".to_owned(), "ping").cuts(cut);
        for (finding, heard, line) in
            [(&silent, &[1, 2][..], true), (&silent, &[1], false), (&silent, &[2], false), (&quiet, &[1, 2], false)]
        {
            let heard = heard.iter().map(|n| node(*n)).collect();
            let said = of_mesh([(&node(1), std::slice::from_ref(finding))], &heard, &BTreeSet::new());
            assert_eq!(said[0].what.contains("both daemons run, so it is the line between them"), line, "{said:?}");
            // Its own interface is down: that is the line.
            let shut = Finding::new(LINE, "interface admin0 is down".to_owned(), "look")
                .cuts(Cut::peers(true, crate::policy::path::Path::Plain, [&node(1)]))
                .of_line("admin0".parse().ok().as_ref());
            let findings = [finding.clone()];
            let shut = [shut];
            let said = of_mesh([(&node(1), &findings[..]), (&node(2), &shut[..])], &heard, &BTreeSet::new());
            let said = said.iter().find(|one| one.code == SILENT).unwrap();
            assert!(
                !said.what.contains("line between") && said.what.contains("a-2 says itself that its interface admin0"),
                "{said:?}"
            );
        }
    }

    #[test]
    fn what_is_known_of_the_other_end_comes_before_what_the_end_says_that_hears_nothing() {
        let dead = |direction| {
            let cut = Cut { direction, ..Cut::peers(true, crate::policy::path::Path::Tunnel, [&node(2)]) };
            Finding::new("M0410", "the tunnel to a-2 is dead to here".to_owned(), "look").cuts(cut)
        };
        let down = finding("M0410", "interface ext0 is down").of_line("ext0".parse().ok().as_ref());
        let (none, out) = (dead(None), dead(Some(Direction::FromGuests)));
        let knows = Finding { what: format!("{AWAY_TOO}: {}", none.what), ..none.clone() };
        for (says, own, away, begins) in [
            (&none, vec![down.clone()], &[][..], "node a-1: a-2 says itself that its interface ext0 is the fault"),
            (&none, vec![], &[2], "node a-1: a-2 is not heard here either, so M0107 of it first: the tunnel to a-2"),
            (&none, vec![], &[], "node a-1: the tunnel to a-2 is dead"),
            (&out, vec![], &[2], "node a-1: the tunnel to a-2 is dead"),
            (&knows, vec![], &[2], "node a-1: a-2 is not heard here either, so M0107 of it first: the tunnel to a-2"),
        ] {
            let away = away.iter().map(|n: &usize| node(*n)).collect();
            let (one, two) = (node(1), node(2));
            let said = of_mesh([(&one, std::slice::from_ref(says)), (&two, own.as_slice())], &BTreeSet::new(), &away);
            assert!(said[0].what.starts_with(begins), "{begins}: {said:?}");
        }
    }

    #[test]
    fn whatever_nodes_make_of_one_fault_is_one_line_where_its_cause_is_known() {
        let dead = |what: &str, direction| {
            let cut = Cut { direction, ..Cut::peers(true, crate::policy::path::Path::Tunnel, [&node(9)]) };
            vec![Finding::new(TUNNEL, what.to_owned(), what).cuts(cut)]
        };
        let all = [
            (node(1), dead("the tunnel to a-9 is not answering", None)),
            (node(2), dead("the tunnel to a-9 is dead to here", Some(Direction::ToGuests))),
            (node(3), dead(&format!("the management node hears nothing of it either {AWAY_TOO}"), None)),
        ];
        let all = || all.iter().map(|(node, findings)| (node, findings.as_slice()));
        let said = of_mesh(all(), &BTreeSet::new(), &[node(9)].into());
        let [one] = &said[..] else { panic!("{said:?}") };
        assert!(one.what.starts_with("3 nodes (a-1, a-2, a-3): a-9 is not heard here either"), "{one:?}");
        assert_eq!(of_mesh(all(), &BTreeSet::new(), &BTreeSet::new()).len(), 3);
    }

    #[test]
    fn an_interface_that_a_shell_would_read_otherwise_is_nobodys() {
        for (line, plain) in
            [("ext0", true), ("br-lan.7@if5", true), (";reboot;#", false), ("$(id)", false), ("-x", false)]
        {
            let found = finding("M0410", "down").of_line(line.parse().ok().as_ref());
            assert_eq!(bounded(&[found])[0].line.is_some(), plain, "{line}");
        }
    }

    #[test]
    fn nodes_that_say_the_same_are_one_line_and_what_most_say_comes_first() {
        let (one, many) = (finding("M0615", "vb10 has an address"), finding("M0410", "the tunnel to b-1 is down"));
        let nodes: Vec<(NodeId, Vec<Finding>)> = (0..5)
            .map(|n| (node(n), if n == 2 { vec![one.clone(), many.clone()] } else { vec![many.clone()] }))
            .collect();
        let said = of_mesh(
            nodes.iter().map(|(node, findings)| (node, findings.as_slice())),
            &BTreeSet::new(),
            &BTreeSet::new(),
        );
        assert_eq!(said.len(), 2);
        assert_eq!(said[0].what, "5 nodes (a-0, a-1, a-2 and 2 more): the tunnel to b-1 is down");
        assert_eq!((said[1].code.as_str(), said[1].what.as_str()), ("M0615", "node a-2: vb10 has an address"));
        assert_eq!(said[1].help, "on the node itself: meshctl explain");
    }

    #[test]
    fn what_management_alone_answers_is_typed_here() {
        for (told, said) in [
            ("meshctl explain", "on the node itself: meshctl explain"),
            (
                "give it another; meshctl port set p --mac 02:00:00:00:00:01",
                "on the node itself: give it another; here: meshctl port set p --mac 02:00:00:00:00:01",
            ),
            ("lower it: meshctl network set blue --mtu 1254", "lower it: meshctl network set blue --mtu 1254"),
        ] {
            assert_eq!(on_nodes(told), said);
        }
    }

    #[test]
    fn what_is_said_without_proof_is_marked_and_takes_nothing_from_what_was_proved() {
        let (own, lie) = (finding("M0410", "the tunnel to b-1 is down"), finding("M0615", "all is lost"));
        let mut said = Said::default();
        let codes = |said: &Said| said.findings().iter().map(|f| f.code.clone()).collect::<Vec<_>>();
        said.hear(std::slice::from_ref(&own), true);
        said.hear(&[], false);
        assert_eq!(codes(&said), ["M0410"]);
        let lie = lie.cuts(Cut::node(true));
        said.hear(&[own.clone(), lie], false);
        assert_eq!(codes(&said), ["M0410", "M0615"]);
        assert!(said.findings()[1].what.starts_with("said without proof of its WireGuard key: all"), "{said:?}");
        assert!(said.findings()[1].cut.as_ref().is_some_and(|cut| !cut.surely), "it makes nothing sure: {said:?}");
        said.hear(&[own], true);
        assert_eq!(codes(&said), ["M0410"], "it ends with what the node itself says next");
    }

    #[test]
    fn what_nodes_say_is_bounded_and_obeyed_by_no_terminal() {
        let hostile = Finding::new(&"M".repeat(1000), "\u{1b}[2J".repeat(100_000), "x".repeat(1 << 20));
        let kept = bounded(&vec![hostile; 10_000]);
        assert_eq!(kept.len(), FINDINGS_OF_NODE);
        assert!(kept.iter().all(|finding| finding.code.len() <= CODE && !finding.what.contains('\u{1b}')));
        assert!(kept.iter().all(|finding| finding.what.len() + finding.help.len() < 16_384), "bytes, too");
        let nodes: Vec<(NodeId, Vec<Finding>)> =
            (0..200).map(|n| (node(n), vec![finding("M0410", &format!("number {n}"))])).collect();
        let said = of_mesh(
            nodes.iter().map(|(node, findings)| (node, findings.as_slice())),
            &BTreeSet::new(),
            &BTreeSet::new(),
        );
        assert_eq!(said.len(), FINDINGS + 1);
        assert!(said[FINDINGS].what.contains(&format!("{} more", 200 - FINDINGS)), "{:?}", said[FINDINGS]);
    }
}
