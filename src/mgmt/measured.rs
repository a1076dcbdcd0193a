//! What nodes measured: the newest size of each path, and which of them count. A path that carries less than both ends'
//! interfaces say stands in its node's status once it has stood for long enough; everything else follows from the interfaces.

use std::collections::BTreeMap;
use std::time::Duration;

use super::index::Index;
use super::mtus;
use super::state::{Edit, State};
use crate::api::objects::{Any, Node};
use crate::api::stream::MeasuredPath;
use crate::policy::steady::{Next, Steady};
use crate::types::{Mono, NodeId, Wall};

/// Least size that is believed, bytes: every path carries so much (RFC 8899 section 5.1.2), a tunnel does not probe below.
pub const LEAST: u16 = 1200;
/// How long the last size of a path stands of which its end says nothing any more: a node that starts anew has to search first.
const KEEPS: Duration = Duration::from_secs(60);

/// One path as one end measured it.
#[derive(Debug, Clone)]
struct Heard {
    bytes: u16,
    /// Since when it is so.
    at: Wall,
    /// How long it had stood when it was heard first.
    stood: Duration,
    steady: Steady,
    missing: Missing,
}

/// Whether the newest report of an end has a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    No,
    /// Not since the last look.
    New,
    Since(Mono),
}

/// All paths, by the end that measured and by the other end.
#[derive(Debug, Default)]
pub struct Measured {
    paths: BTreeMap<NodeId, BTreeMap<NodeId, Heard>>,
}

/// A size that counts from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who measured.
    pub from: NodeId,
    /// The other end.
    pub to: NodeId,
    /// What counted before, bytes.
    pub before: u16,
    /// What counts now, bytes.
    pub after: u16,
}

/// A path that carries more than counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// Who measured.
    pub from: NodeId,
    /// The other end.
    pub to: NodeId,
    /// What counts until then, bytes.
    pub counted: u16,
    /// What counts then.
    pub next: Next,
}

impl Measured {
    /// Takes a node's report: all paths that it measured, to nodes that there are. What it no longer measures is known for a minute more.
    pub fn report(&mut self, state: &State, from: &NodeId, said: &[MeasuredPath], at: Wall) {
        let mut paths = self.paths.remove(from).unwrap_or_default();
        let is_peer = |node: &NodeId| node != from && state.nodes.contains_key(node);
        paths.retain(|node, _| is_peer(node));
        for heard in paths.values_mut().filter(|heard| heard.missing == Missing::No) {
            heard.missing = Missing::New;
        }
        for path in said.iter().filter(|path| path.bytes >= LEAST && is_peer(&path.node)) {
            let old = paths.remove(&path.node);
            paths.insert(path.node.clone(), Heard::new(path, old, at));
        }
        self.paths.insert(from.clone(), paths);
    }

    /// Forgets a removed node, at both ends.
    pub fn forget(&mut self, node: &NodeId) {
        self.paths.remove(node);
        for paths in self.paths.values_mut() {
            paths.remove(node);
        }
    }

    /// The newest size that one end measured, and what counts next of it where `counted` counts now; none: it measures nothing.
    pub fn heard(&self, from: &NodeId, to: &NodeId, counted: u16) -> Option<(u16, Option<Next>)> {
        let heard = self.paths.get(from)?.get(to)?;
        Some((heard.bytes, heard.steady.next(counted)))
    }

    /// Paths that carry more than counts, each once before it counts.
    pub fn grown(&mut self, index: &Index, now: Mono) -> Vec<Grown> {
        let mut grown = Vec::new();
        for (from, paths) in &mut self.paths {
            let Some(node) = index.state.nodes.get(from) else { continue };
            for (to, heard) in paths.iter_mut().filter(|(_, heard)| heard.steady.waits()) {
                let Some(counted) = node.status.paths.get(to).copied() else { continue };
                let Some(next) = heard.steady.grown(counted, now) else { continue };
                // Both ends say it: one sentence, and the later time.
                match grown.iter_mut().find(|Grown { from: a, to: b, .. }| b == from && a == to) {
                    Some(Grown { next: said, .. }) => said.at = said.at.max(next.at),
                    None => grown.push(Grown { from: from.clone(), to: to.clone(), counted, next }),
                }
            }
        }
        grown
    }

    /// The newest size between two nodes and since when it is so; of both directions the smaller.
    pub fn newest(&self, a: &NodeId, b: &NodeId) -> Option<(u16, Wall)> {
        let one = |from: &NodeId, to: &NodeId| self.paths.get(from)?.get(to).map(|heard| (heard.bytes, heard.at));
        [one(a, b), one(b, a)].into_iter().flatten().min()
    }

    /// Every path: who measured, the other end, its size and since when it is so.
    pub fn all(&self) -> impl Iterator<Item = (&NodeId, &NodeId, (u16, Wall))> {
        let of = |(from, paths)| {
            let paths: &BTreeMap<NodeId, Heard> = paths;
            paths.iter().map(move |(to, heard)| (from, to, (heard.bytes, heard.at)))
        };
        self.paths.iter().flat_map(of)
    }

    /// Looks at all paths; to be called about once a second. Returns what counts from now on, and the edits that write it down.
    pub fn settle(&mut self, index: &Index, now: Mono) -> (Vec<Change>, Vec<Edit>) {
        let mut changes = Vec::new();
        for (from, paths) in &mut self.paths {
            let Some(node) = index.state.nodes.get(from) else { continue };
            paths.retain(|_, heard| heard.stands(now));
            for (to, heard) in paths {
                changes.extend(look(index, node, to, heard, now));
            }
        }
        let edits = edits(index, &changes);
        (changes, edits)
    }
}

impl Heard {
    /// What a report says of a path; a size that was known already is as old as it was.
    fn new(path: &MeasuredPath, old: Option<Self>, at: Wall) -> Self {
        let missing = Missing::No;
        match old {
            Some(old) if old.bytes == path.bytes => Self { missing, ..old },
            Some(old) => Self { bytes: path.bytes, at, stood: Duration::ZERO, missing, ..old },
            // Nothing is known here, after a restart. Who says that it is so since tomorrow has another clock.
            None => {
                let since = path.since.filter(|since| *since <= at).unwrap_or(at);
                Self { bytes: path.bytes, at: since, stood: at.since(since), steady: Steady::default(), missing }
            }
        }
    }

    /// Whether it is known still.
    fn stands(&mut self, now: Mono) -> bool {
        match self.missing {
            Missing::No => true,
            Missing::New => {
                self.missing = Missing::Since(now);
                true
            }
            Missing::Since(then) => now.since(then) < KEEPS,
        }
    }
}

/// Looks at one path.
fn look(index: &Index, node: &Node, to: &NodeId, heard: &mut Heard, now: Mono) -> Option<Change> {
    let facts = node.status.facts.as_ref()?;
    let stored = node.status.paths.get(to).copied();
    // Most paths carry all that the interfaces say, and then there is nothing to work out.
    let widest = facts.admin_mtu.max(facts.external_mtu).get();
    if stored.is_none() && heard.bytes >= widest && !heard.steady.waits() {
        return None;
    }
    let other = index.state.nodes.get(to)?;
    let Some(pair) = mtus::tunnel(index, node, other) else {
        heard.steady.forget();
        return None;
    };
    let computed = pair.span.underlay;
    let counted = stored.map_or(computed, |stored| stored.min(computed));
    let size = heard.bytes.min(computed);
    let after = heard.steady.look_since(size, counted, now, now - heard.stood)?;
    Some(Change { from: node.metadata.name.clone(), to: to.clone(), before: counted, after })
}

/// Writes changes into the nodes' status, and takes out what belongs to nodes that are gone.
pub fn edits(index: &Index, changes: &[Change]) -> Vec<Edit> {
    let mut edited: BTreeMap<&NodeId, Node> = BTreeMap::new();
    let nodes = &index.state.nodes;
    for change in changes {
        let Some(node) = nodes.get(&change.from) else { continue };
        let computed =
            nodes.get(&change.to).and_then(|to| mtus::tunnel(index, node, to)).map(|pair| pair.span.underlay);
        let paths = &mut edited.entry(&change.from).or_insert_with(|| node.as_ref().clone()).status.paths;
        if computed.is_some_and(|computed| change.after < computed) {
            paths.insert(change.to.clone(), change.after);
        } else {
            paths.remove(&change.to);
        }
    }
    for (name, node) in nodes.iter().filter(|(_, node)| node.status.paths.keys().any(|to| !nodes.contains_key(to))) {
        let paths = &mut edited.entry(name).or_insert_with(|| node.as_ref().clone()).status.paths;
        paths.retain(|to, _| nodes.contains_key(to));
    }
    let edit = |(name, after): (&NodeId, Node)| {
        let before = nodes.get(name)?;
        Some(Edit::update(Any::Node(before.as_ref().clone()), Any::Node(after)))
    };
    edited.into_iter().filter_map(edit).collect()
}

/// One sentence for people: which paths changed, and what that did to which networks.
pub fn sentence(changes: &[Change], before: &Index, after: &Index) -> String {
    if changes.is_empty() {
        return "paths to nodes that are gone are forgotten".to_owned();
    }
    let one = |change: &Change| {
        let Change { from, to, before, after } = change;
        let how = if after < before { "shrank" } else { "grew" };
        format!("the path {from} - {to} {how} from {before} to {after} bytes")
    };
    let shown: Vec<String> = changes.iter().take(3).map(one).collect();
    let more = changes.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}{}", shown.join(", "), mtus::moved(before, after))
}

#[cfg(test)]
#[path = "measured_tests.rs"]
mod tests;
