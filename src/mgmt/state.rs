//! Everything that is declared and known, as typed maps. The store keeps it as JSON under `<kind>/<name>`; [`key`], [`encode`]
//! and [`decode`] are the two directions. Values are shared, so a copy of the whole costs its keys only.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::objects::{Any, Kind, Network, Node, Overlay, PathPolicy, Pdc, Port, Token};
use crate::types::{NetworkId, NodeId, OverlayId, PdcId, PolicyId, PortId};

/// All objects of the mesh as of one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Physical datacenters.
    pub pdcs: BTreeMap<PdcId, Arc<Pdc>>,
    /// Nodes, also those that have not joined, and foreign peers.
    pub nodes: BTreeMap<NodeId, Arc<Node>>,
    /// Overlays.
    pub overlays: BTreeMap<OverlayId, Arc<Overlay>>,
    /// Networks.
    pub networks: BTreeMap<NetworkId, Arc<Network>>,
    /// Ports, declared and reported.
    pub ports: BTreeMap<PortId, Arc<Port>>,
    /// Path policies.
    pub policies: BTreeMap<PolicyId, Arc<PathPolicy>>,
    /// Tokens by id.
    pub tokens: BTreeMap<String, Arc<Token>>,
}

/// One object before and after. Neither without the other's name and kind; not both empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// None: it is made.
    pub before: Option<Any>,
    /// None: it is deleted.
    pub after: Option<Any>,
}

/// A value of the store that is no object. The store is ours alone, so this means damage or another program's version.
#[derive(Debug, thiserror::Error)]
#[error("the stored object '{key}' cannot be read: {why}")]
pub struct DecodeError {
    key: String,
    why: String,
}

/// Key of an object in the store.
pub fn key(kind: Kind, name: &str) -> String {
    format!("{}/{name}", kind.word())
}

/// The kind of a word, as in commands and paths.
pub fn kind(word: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.word() == word)
}

/// The kind and name of a key of the store; none: it is of something else.
pub fn object_of_key(key: &str) -> Option<(Kind, &str)> {
    let (word, name) = key.split_once('/')?;
    kind(word).map(|kind| (kind, name))
}

/// What the store keeps of an object: all but its revision, which the store itself keeps.
pub fn encode(object: &Any) -> Vec<u8> {
    // Maps of text to plain values: serialising cannot fail.
    serde_json::to_vec(&with_revision(object.clone(), None)).unwrap_or_default()
}

/// An object from the store.
///
/// # Errors
/// [`DecodeError`]
pub fn decode(key: &str, value: &[u8], revision: u64) -> Result<Any, DecodeError> {
    let fault = |why: String| DecodeError { key: key.to_owned(), why };
    let object: Any = serde_json::from_slice(value).map_err(|e| fault(e.to_string()))?;
    match object_of_key(key) {
        Some((kind, name)) if kind == object.kind() && name == object.name() => {
            Ok(with_revision(object, Some(revision)))
        }
        _ => Err(fault("kind and name are not those of its key".to_owned())),
    }
}

/// The object with another revision.
pub fn with_revision(mut object: Any, revision: Option<u64>) -> Any {
    *match &mut object {
        Any::Pdc(o) => &mut o.metadata.revision,
        Any::Node(o) => &mut o.metadata.revision,
        Any::Overlay(o) => &mut o.metadata.revision,
        Any::Network(o) => &mut o.metadata.revision,
        Any::Port(o) => &mut o.metadata.revision,
        Any::PathPolicy(o) => &mut o.metadata.revision,
        Any::Token(o) => &mut o.metadata.revision,
    } = revision;
    object
}

/// Looks `name` up in a map whose keys are validated names: a text that is no name is in no map.
fn find<'a, K: Ord + std::str::FromStr, V>(map: &'a BTreeMap<K, Arc<V>>, name: &str) -> Option<&'a V> {
    map.get(&name.parse::<K>().ok()?).map(AsRef::as_ref)
}

fn all<K, V: Clone>(map: &BTreeMap<K, Arc<V>>, wrap: fn(V) -> Any) -> Vec<Any> {
    map.values().map(|value| wrap(value.as_ref().clone())).collect()
}

impl State {
    /// One object.
    pub fn get(&self, kind: Kind, name: &str) -> Option<Any> {
        match kind {
            Kind::Pdc => find(&self.pdcs, name).cloned().map(Any::Pdc),
            Kind::Node => find(&self.nodes, name).cloned().map(Any::Node),
            Kind::Overlay => find(&self.overlays, name).cloned().map(Any::Overlay),
            Kind::Network => find(&self.networks, name).cloned().map(Any::Network),
            Kind::Port => find(&self.ports, name).cloned().map(Any::Port),
            Kind::PathPolicy => find(&self.policies, name).cloned().map(Any::PathPolicy),
            Kind::Token => self.tokens.get(name).map(|t| Any::Token(t.as_ref().clone())),
        }
    }

    /// All objects of a kind in the order of names.
    pub fn list(&self, kind: Kind) -> Vec<Any> {
        match kind {
            Kind::Pdc => all(&self.pdcs, Any::Pdc),
            Kind::Node => all(&self.nodes, Any::Node),
            Kind::Overlay => all(&self.overlays, Any::Overlay),
            Kind::Network => all(&self.networks, Any::Network),
            Kind::Port => all(&self.ports, Any::Port),
            Kind::PathPolicy => all(&self.policies, Any::PathPolicy),
            Kind::Token => all(&self.tokens, Any::Token),
        }
    }

    /// How many objects of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Pdc => self.pdcs.len(),
            Kind::Node => self.nodes.len(),
            Kind::Overlay => self.overlays.len(),
            Kind::Network => self.networks.len(),
            Kind::Port => self.ports.len(),
            Kind::PathPolicy => self.policies.len(),
            Kind::Token => self.tokens.len(),
        }
    }

    /// All names of a kind.
    pub fn names(&self, kind: Kind) -> Vec<&str> {
        match kind {
            Kind::Pdc => self.pdcs.keys().map(PdcId::as_str).collect(),
            Kind::Node => self.nodes.keys().map(NodeId::as_str).collect(),
            Kind::Overlay => self.overlays.keys().map(OverlayId::as_str).collect(),
            Kind::Network => self.networks.keys().map(NetworkId::as_str).collect(),
            Kind::Port => self.ports.keys().map(PortId::as_str).collect(),
            Kind::PathPolicy => self.policies.keys().map(PolicyId::as_str).collect(),
            Kind::Token => self.tokens.keys().map(String::as_str).collect(),
        }
    }

    /// Puts an object in the place of the one of its kind and name.
    pub fn put(&mut self, object: Any) {
        match object {
            Any::Pdc(o) => drop(self.pdcs.insert(o.metadata.name.clone(), Arc::new(o))),
            Any::Node(o) => drop(self.nodes.insert(o.metadata.name.clone(), Arc::new(o))),
            Any::Overlay(o) => drop(self.overlays.insert(o.metadata.name.clone(), Arc::new(o))),
            Any::Network(o) => drop(self.networks.insert(o.metadata.name.clone(), Arc::new(o))),
            Any::Port(o) => drop(self.ports.insert(o.metadata.name.clone(), Arc::new(o))),
            Any::PathPolicy(o) => drop(self.policies.insert(o.metadata.name.clone(), Arc::new(o))),
            Any::Token(o) => drop(self.tokens.insert(o.metadata.name.clone(), Arc::new(o))),
        }
    }

    /// Takes an object out, if it is there.
    pub fn remove(&mut self, kind: Kind, name: &str) {
        fn take<K: Ord + std::str::FromStr, V>(map: &mut BTreeMap<K, V>, name: &str) {
            if let Ok(name) = name.parse() {
                map.remove(&name);
            }
        }
        match kind {
            Kind::Pdc => take(&mut self.pdcs, name),
            Kind::Node => take(&mut self.nodes, name),
            Kind::Overlay => take(&mut self.overlays, name),
            Kind::Network => take(&mut self.networks, name),
            Kind::Port => take(&mut self.ports, name),
            Kind::PathPolicy => take(&mut self.policies, name),
            Kind::Token => take(&mut self.tokens, name),
        }
    }

    /// The state after `edits`.
    #[must_use]
    pub fn after(&self, edits: &[Edit]) -> Self {
        let mut state = self.clone();
        for edit in edits {
            match (&edit.before, &edit.after) {
                (_, Some(after)) => state.put(after.clone()),
                (Some(before), None) => state.remove(before.kind(), before.name()),
                (None, None) => {}
            }
        }
        state
    }
}

impl Edit {
    /// Makes an object.
    pub const fn create(after: Any) -> Self {
        Self { before: None, after: Some(after) }
    }

    /// Changes an object.
    pub const fn update(before: Any, after: Any) -> Self {
        Self { before: Some(before), after: Some(after) }
    }

    /// Deletes an object.
    pub const fn delete(before: Any) -> Self {
        Self { before: Some(before), after: None }
    }

    /// The object that it is about, after or else before.
    pub fn object(&self) -> Option<&Any> {
        self.after.as_ref().or(self.before.as_ref())
    }
}
