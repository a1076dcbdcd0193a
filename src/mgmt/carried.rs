//! What a restore must not undo. A backup is an older truth: keys that were taken back since are in force in it, and nodes that were
//! deleted are members. Who was cut off stays cut off until a person says otherwise; who was deleted is named.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::quarantined;
use super::state;
use crate::api::objects::{Any, Kind, Node, NodeStatus};
use crate::types::{NodeId, Wall};

/// What a store held before a restore, as far as it is about who is a member.
#[derive(Debug, Clone, Default)]
pub struct Before(BTreeMap<NodeId, NodeStatus>);

/// What a restore makes of the nodes of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Carried {
    /// Objects that are written in the place of those of the backup.
    pub writes: BTreeMap<String, Vec<u8>>,
    /// Nodes that are in quarantine though they are not in the backup: before, they were, or a key was taken back that is theirs in it.
    pub caught: Vec<NodeId>,
    /// Nodes that are members again and were none before.
    pub again: Vec<NodeId>,
}

impl Before {
    /// Of the entries of a store; what is no node, or cannot be read, says nothing.
    pub fn of<'a>(entries: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        Self(
            entries.filter_map(|(key, value)| node(key, value)).map(|node| (node.metadata.name, node.status)).collect(),
        )
    }

    /// Keys that were worth nothing: taken back, or of a node in quarantine.
    fn worthless(&self) -> BTreeSet<String> {
        let taken = self.0.values().flat_map(|status| status.revoked.iter().cloned());
        let caught = self.0.values().filter(|status| status.quarantined.is_some()).flat_map(live);
        taken.chain(caught).collect()
    }

    fn good(&self) -> BTreeSet<String> {
        self.0.values().flat_map(live).collect()
    }
}

/// Keys of a node that count, as [`NodeStatus::revoked`] has them.
fn live(status: &NodeStatus) -> Vec<String> {
    let wireguard = [status.public_key, status.next_public_key].into_iter().flatten().map(|key| key.to_string());
    wireguard.chain([&status.tls_key, &status.next_tls_key].into_iter().flatten().cloned()).collect()
}

fn node(key: &str, value: &[u8]) -> Option<Node> {
    let (Kind::Node, _) = state::object_of_key(key)? else { return None };
    if let Any::Node(node) = state::decode(key, value, 0).ok()? { Some(node) } else { None }
}

/// What of `before` holds for the entries of a backup that is put back at `now`.
pub fn carried(before: &Before, entries: &BTreeMap<String, Vec<u8>>, now: Wall) -> Carried {
    let (worthless, good) = (before.worthless(), before.good());
    let mut carried = Carried::default();
    for (key, node) in entries.iter().filter_map(|(key, value)| Some((key, node(key, value)?))) {
        let (name, keys) = (node.metadata.name.clone(), live(&node.status));
        let was_caught = before.0.get(&name).is_some_and(|was| was.quarantined.is_some());
        if was_caught || keys.iter().any(|key| worthless.contains(key)) {
            if node.status.quarantined.is_none() {
                carried.writes.insert(key.clone(), state::encode(&Any::Node(quarantined(&node, now))));
                carried.caught.push(name);
            }
        } else if !keys.is_empty() && !before.0.is_empty() && !keys.iter().any(|key| good.contains(key)) {
            carried.again.push(name);
        }
    }
    carried
}

impl Carried {
    /// What the person who puts a backup back has to know; empty: nothing.
    pub fn told(&self) -> String {
        let names = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut text = String::new();
        if let [first, ..] = &self.caught[..] {
            text.push_str(&format!(
                "in quarantine as before, or because their keys were taken back after the backup was made: {}\n  \
                 a machine with new keys takes the place: meshctl node reset {first}; the old keys may count again: meshctl node release {first}\n",
                names(&self.caught)
            ));
        }
        if let [first, ..] = &self.again[..] {
            text.push_str(&format!(
                "members again, with keys that were those of no node before this: {}\n  \
                 if such a node was deleted, or its keys were replaced, on purpose: meshctl node reset {first}\n",
                names(&self.again)
            ));
        }
        text
    }
}

#[cfg(test)]
#[path = "carried_tests.rs"]
mod tests;
