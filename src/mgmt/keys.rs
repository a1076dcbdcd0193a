//! The WireGuard keys of all nodes, and what becomes of a key that two want to have.
//!
//! A key comes in by four doors: enrolment, the report of a next key, the switch to it, and an operator who declares a foreign peer
//! (or lets a node out of quarantine). At each it is compared with every key of every other node, whatever it is there: in force,
//! next, a foreign peer's, in quarantine, taken back. At the first three its possession is proved too ([`super::possession`]):
//!
//! | the key is | proved | what happens |
//! |---|---|---|
//! | anybody's or nobody's | no | the one who says it is refused, and nobody else notices |
//! | nobody's | yes | it is taken |
//! | another node's | yes | both are quarantined: two machines hold it, and nobody can tell whose it is |
//! | a foreign peer's, or taken back | yes | refused: an operator has said whose it is, or that it is worth nothing |

use super::state::{Edit, State};
use crate::api::objects::{Any, Node, NodeStatus};
use crate::api::problem::{Exit, Problem};
use crate::tunnel::is_sound;
use crate::types::{NodeId, PublicKey, Wall};

/// Keys of one node that are remembered as taken back.
const REVOKED_MAX: usize = 32;

/// Why a key is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No node's key can be this.
    #[error("{0} is no WireGuard key that a node can have: it is of low order, or not in its usual form")]
    Unsound(PublicKey),
    /// Its possession is not proved.
    #[error("node '{0}' has not proved that it holds the private half of the WireGuard key")]
    Unproved(NodeId),
    /// An operator has declared it for a foreign peer.
    #[error("the WireGuard key {key} is declared as the one of foreign peer '{of}'")]
    Foreign {
        /// The key.
        key: PublicKey,
        /// Whose it is.
        of: NodeId,
    },
    /// It was taken back.
    #[error("a key that was taken back from node '{0}' cannot be used again")]
    Revoked(NodeId),
}

/// Why a node's keys are not taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no machine has joined as node '{0}', so there are no keys to take back")]
pub struct NothingToReset(pub NodeId);

/// The keys that make a node a peer of others: in force, next, declared.
pub fn of(node: &Node) -> impl Iterator<Item = PublicKey> {
    let foreign = node.spec.foreign.as_ref().map(|foreign| foreign.public_key);
    [node.status.public_key, node.status.next_public_key, foreign].into_iter().flatten()
}

/// The node other than `name` that has the key, or had it taken back.
pub fn holder<'a>(state: &'a State, name: &NodeId, key: &PublicKey) -> Option<&'a Node> {
    let others = || state.nodes.values().map(AsRef::as_ref).filter(|other| other.metadata.name != *name);
    let live = others().find(|other| of(other).any(|theirs| theirs == *key));
    live.or_else(|| others().find(|other| is_revoked(other, &key.to_string())))
}

/// True where the key, a WireGuard key in base64 or the hash of a TLS key, was taken back from the node.
pub fn is_revoked(node: &Node, key: &str) -> bool {
    node.status.revoked.iter().any(|revoked| revoked == key)
}

/// May node `name` have the key? The answer names the other node that has proved it too: both are to be quarantined then.
///
/// # Errors
/// [`KeyError`]: the one who says so is refused, alone.
pub fn judge<'a>(state: &'a State, name: &NodeId, key: &PublicKey, proved: bool) -> Result<Option<&'a Node>, KeyError> {
    if !is_sound(key) {
        return Err(KeyError::Unsound(*key));
    }
    if !proved {
        return Err(KeyError::Unproved(name.clone()));
    }
    if let Some(own) = state.nodes.get(name).filter(|own| is_revoked(own, &key.to_string())) {
        return Err(KeyError::Revoked(own.metadata.name.clone()));
    }
    let Some(other) = holder(state, name, key) else { return Ok(None) };
    let of = other.metadata.name.clone();
    if other.spec.foreign.is_some() {
        return Err(KeyError::Foreign { key: *key, of });
    }
    if self::of(other).all(|theirs| theirs != *key) {
        return Err(KeyError::Revoked(of));
    }
    Ok(Some(other))
}

/// The same node in quarantine, since `now` where it was not before.
#[must_use]
pub fn quarantined(node: &Node, now: Wall) -> Node {
    let mut caught = node.clone();
    caught.status.quarantined = Some(node.status.quarantined.unwrap_or(now));
    caught
}

/// The edit that puts a node into quarantine.
pub fn quarantine(node: &Node, now: Wall) -> Edit {
    Edit::update(Any::Node(node.clone()), Any::Node(quarantined(node, now)))
}

/// The edit that takes all keys of a node back: nobody is it until a machine joins with the token of this id. Its name, its ports
/// and its tunnel address stay.
///
/// # Errors
/// [`NothingToReset`]: a foreign peer, or a name that nothing has joined as.
pub fn reset(node: &Node, token: &str, now: Wall) -> Result<Edit, NothingToReset> {
    let was = &node.status;
    if node.spec.foreign.is_some() || (was.tls_key.is_none() && was.rejoin.is_none()) {
        return Err(NothingToReset(node.metadata.name.clone()));
    }
    let mut reset = node.clone();
    reset.status = NodeStatus { quarantined: Some(now), rejoin: Some(token.to_owned()), ..without_keys(was) };
    Ok(Edit::update(Any::Node(node.clone()), Any::Node(reset)))
}

/// What is left of a node when its keys are taken back: which those were, and its tunnel address.
pub fn without_keys(was: &NodeStatus) -> NodeStatus {
    let wireguard = [was.public_key, was.next_public_key].into_iter().flatten().map(|key| key.to_string());
    let tls = [&was.tls_key, &was.next_tls_key].into_iter().flatten().cloned();
    let mut revoked: Vec<String> = was.revoked.iter().cloned().chain(wireguard).chain(tls).collect();
    revoked.drain(..revoked.len().saturating_sub(REVOKED_MAX));
    NodeStatus { revoked, tunnel_address: was.tunnel_address, ..NodeStatus::default() }
}

/// Why a node in quarantine may not be released, and what to do instead; none: it may.
pub fn held(state: &State, node: &Node) -> Option<(String, String)> {
    let shared = || of(node).any(|key| holder(state, &node.metadata.name, &key).is_some());
    if node.status.rejoin.is_some() || shared() { why_quarantined(state, node) } else { None }
}

/// Why a node is in quarantine, and what takes it out; none: it is not.
pub fn why_quarantined(state: &State, node: &Node) -> Option<(String, String)> {
    let name = &node.metadata.name;
    node.status.quarantined?;
    if let Some(token) = &node.status.rejoin {
        let what = format!("node '{name}' was reset; no machine has joined as it since");
        let help = format!(
            "on the machine: meshctl leave, then meshctl join with token {token}; a new one: meshctl node reset {name}"
        );
        return Some((what, help));
    }
    let twin = of(node).find_map(|key| holder(state, name, &key));
    let (what, help) = match twin {
        Some(twin) => (
            format!("nodes '{name}' and '{}' have the same WireGuard key, and both proved it", twin.metadata.name),
            format!("delete the one that is not yours, then: meshctl node reset {name}"),
        ),
        None => (
            format!("two machines run as node '{name}' or hold one key with it; it is in quarantine"),
            format!("find the copy; a stolen key: meshctl node reset {name}; a mere copy: meshctl node release {name}"),
        ),
    };
    Some((what, help))
}

/// The refusal of both of two nodes that have proved one key.
pub fn clash(name: &NodeId, other: &NodeId) -> Problem {
    let what = format!("nodes '{name}' and '{other}' have proved that they hold the same WireGuard key");
    Problem::new("M0282", Exit::Denied, what).note("both are in quarantine: nobody can tell whose key it is").help(
        format!("where meshctl has admin rights: delete the one that is not yours, then meshctl node reset {other}"),
    )
}

/// The refusal of what is said without a proof.
pub fn unproved(what: String) -> Problem {
    Problem::new("M0280", Exit::Denied, what)
        .note("nothing was changed")
        .help("meshd, meshctl and meshmgr prove it when they are of one version; if they are, somebody uses a stolen TLS key or token")
}

impl KeyError {
    /// For the user.
    pub fn problem(&self) -> Problem {
        let help = match self {
            Self::Unproved(_) => return unproved(self.to_string()),
            Self::Unsound(_) => "on the machine: meshctl leave, then meshctl join, which makes a new key".to_owned(),
            Self::Foreign { of, .. } => format!("if that peer runs meshd now: meshctl node delete {of}, then join"),
            Self::Revoked(_) => "on the machine: meshctl leave, then meshctl join, which makes new keys".to_owned(),
        };
        Problem::new("M0283", Exit::Denied, self.to_string()).note("nothing was changed").help(help)
    }
}

impl NothingToReset {
    /// For the user.
    pub fn problem(&self) -> Problem {
        Problem::new("M0285", Exit::Conflict, self.to_string()).note("nothing was changed").help(
            "a machine joins with: meshctl token create; a foreign peer's key: meshctl node set NAME --foreign-key KEY",
        )
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
