//! What nodes say that their interfaces carry, and which of it counts. A node's stored facts hold the MTUs that count; what it says
//! anew takes their place once it has stood, as a measured path does ([`crate::policy::steady`]): so a member cannot make the
//! guests of others follow it back and forth.

use std::collections::BTreeMap;

use super::index::Index;
use super::mtus;
use super::state::Edit;
use crate::api::objects::{Any, Node, NodeFacts};
use crate::policy::path::Outer;
use crate::policy::steady::{Next, Steady};
use crate::types::{Mono, Mtu, NodeId};

/// The two sides of a node.
const SIDES: [Outer; 2] = [Outer::Admin, Outer::External];

/// One side as its node last spoke of it.
#[derive(Debug, Clone)]
struct Side {
    says: Mtu,
    steady: Steady,
}

/// What all nodes say, where it is not what counts.
#[derive(Debug, Default)]
pub struct Interfaces {
    nodes: BTreeMap<NodeId, [Side; 2]>,
}

/// An interface whose MTU counts from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub node: NodeId,
    /// Which side.
    pub side: Outer,
    /// What counted before, bytes.
    pub before: Mtu,
    /// What counts now, bytes.
    pub after: Mtu,
}

/// An interface that carries more than counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// Whose.
    pub node: NodeId,
    /// Which side.
    pub side: Outer,
    /// What counts until then, bytes.
    pub counted: Mtu,
    /// What counts then.
    pub next: Next,
}

/// The facts to store: what a node says anew, with the MTUs that count. The first facts of a node count as they are.
pub fn counted(before: Option<&NodeFacts>, said: &NodeFacts) -> NodeFacts {
    let (admin_mtu, external_mtu) =
        before.map_or((said.admin_mtu, said.external_mtu), |before| (before.admin_mtu, before.external_mtu));
    NodeFacts { admin_mtu, external_mtu, ..said.clone() }
}

const fn mtu(facts: &NodeFacts, side: Outer) -> Mtu {
    match side {
        Outer::Admin => facts.admin_mtu,
        Outer::External => facts.external_mtu,
    }
}

impl Interfaces {
    /// Takes what a node says. A size that it takes back has not stood.
    pub fn hear(&mut self, node: &NodeId, said: &NodeFacts) {
        let before = self.nodes.remove(node);
        let mut sides = SIDES.map(|side| Side { says: mtu(said, side), steady: Steady::default() });
        for (side, before) in sides.iter_mut().zip(before.into_iter().flatten()) {
            side.steady = before.steady;
        }
        self.nodes.insert(node.clone(), sides);
    }

    /// What a node says of one side, and what counts next of it where `counted` counts now; none: it says what counts.
    pub fn says(&self, node: &NodeId, side: Outer, counted: u16) -> Option<(u16, Option<Next>)> {
        let sides = self.nodes.get(node)?;
        let said = SIDES.into_iter().zip(sides).find(|(of, _)| *of == side)?.1;
        Some((said.says.get(), said.steady.next(counted)))
    }

    /// Interfaces that carry more than counts, each once before it counts.
    pub fn grown(&mut self, index: &Index, now: Mono) -> Vec<Grown> {
        let mut grown = Vec::new();
        for (name, sides) in &mut self.nodes {
            let facts = index.state.nodes.get(name).and_then(|node| node.status.facts.as_ref());
            let Some(facts) = facts else { continue };
            for (side, said) in SIDES.into_iter().zip(sides) {
                let counted = mtu(facts, side);
                let next = said.steady.grown(counted.get(), now);
                grown.extend(next.map(|next| Grown { node: name.clone(), side, counted, next }));
            }
        }
        grown
    }

    /// Forgets a removed node.
    pub fn forget(&mut self, node: &NodeId) {
        self.nodes.remove(node);
    }

    /// Looks at all interfaces; to be called about once a second. Returns what counts from now on.
    pub fn settle(&mut self, index: &Index, now: Mono) -> Vec<Change> {
        let mut changes = Vec::new();
        self.nodes.retain(|name, sides| {
            let facts = index.state.nodes.get(name).and_then(|node| node.status.facts.as_ref());
            let Some(facts) = facts else { return false };
            for (side, said) in SIDES.into_iter().zip(sides.iter_mut()) {
                let before = mtu(facts, side);
                let after = said.steady.look(said.says.get(), before.get(), now);
                if let Some(after) = after.and_then(|bytes| Mtu::try_from(u64::from(bytes)).ok()) {
                    changes.push(Change { node: name.clone(), side, before, after });
                }
            }
            // What counts already has nothing to wait for. What counts from now on may still fail to be written.
            sides.iter().zip(SIDES).any(|(said, side)| said.says != mtu(facts, side))
        });
        changes
    }
}

/// Writes changes into the nodes' facts.
pub fn edits(index: &Index, changes: &[Change]) -> Vec<Edit> {
    let mut edited: BTreeMap<&NodeId, Node> = BTreeMap::new();
    for change in changes {
        let Some(node) = index.state.nodes.get(&change.node) else { continue };
        let edited = edited.entry(&change.node).or_insert_with(|| node.as_ref().clone());
        let Some(facts) = &mut edited.status.facts else { continue };
        match change.side {
            Outer::Admin => facts.admin_mtu = change.after,
            Outer::External => facts.external_mtu = change.after,
        }
    }
    let edit = |(name, after): (&NodeId, Node)| {
        let before = index.state.nodes.get(name)?;
        Some(Edit::update(Any::Node(before.as_ref().clone()), Any::Node(after)))
    };
    edited.into_iter().filter_map(edit).collect()
}

/// One sentence for people: who says what, and what that did to which networks.
pub fn sentence(changes: &[Change], before: &Index, after: &Index) -> String {
    let one = |change: &Change| {
        let side = match change.side {
            Outer::Admin => "admin",
            Outer::External => "external",
        };
        let Change { node, before, after, .. } = change;
        format!("node {node} says that its {side} interface carries {after} bytes, {before} before")
    };
    let shown: Vec<String> = changes.iter().take(3).map(one).collect();
    let more = changes.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}{}", shown.join(", "), mtus::moved(before, after))
}

#[cfg(test)]
#[path = "interfaces_tests.rs"]
mod tests;
