//! The change of this node's WireGuard key, from the node's side: what to do, given the keys on disk and what the management node
//! says. [`crate::mgmt::rotation`] has the whole order of steps.
//!
//! On disk there is the key in force and, during a change, the next one beside it. The management node decides when the next one is
//! the only one; until then both private halves stay. So whatever is lost, a crash at any point included, this node holds the
//! private half of every key that a peer may use.

use crate::table::OwnKeys;
use crate::types::PublicKey;

/// Public halves of the keys on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// In force.
    pub current: PublicKey,
    /// To follow it.
    pub next: Option<PublicKey>,
}

/// What to do on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Stay,
    /// A new key is wanted: make one beside the one in force.
    Make,
    /// The next key is the only one by now: put it in the place of the other.
    Promote,
}

/// What to do with these keys, given what the management node says.
pub fn step(held: Held, said: &OwnKeys) -> Step {
    match held.next {
        Some(next) if said.current == next => Step::Promote,
        None if said.replace && said.next.is_none() && said.current == held.current => Step::Make,
        Some(_) | None => Step::Stay,
    }
}

/// A key that the management node has of this node and that this node does not hold: its peers talk to somebody else, or to nobody.
/// While a change is under way one of the two may be ahead; a key that is neither's is none of these.
pub fn strange(held: Held, said: &OwnKeys) -> Option<PublicKey> {
    let ours = |key: PublicKey| key == held.current || Some(key) == held.next;
    match said.next {
        Some(next) if !ours(next) => Some(next),
        // The next one is ours already, and the slice is from before: it is promoted here.
        Some(next) if next == held.current => None,
        Some(_) | None => Some(said.current).filter(|key| !ours(*key)),
    }
}

/// Whether the management node lets peers take the next key.
pub fn announced(held: Held, said: &OwnKeys) -> bool {
    held.next.is_some() && held.next == said.next
}

/// Whether the old key can go: every tunnel that is up was made under the next one, and there is one, or there is no peer at all.
/// `sessions` are this node's key of each peer's session, none for a peer without one.
pub fn in_use(next: PublicKey, sessions: impl IntoIterator<Item = Option<PublicKey>>) -> bool {
    let (mut peers, mut up) = (0_usize, 0_usize);
    for session in sessions {
        peers += 1;
        match session {
            Some(key) if key == next => up += 1,
            Some(_) => return false,
            None => {}
        }
    }
    peers == 0 || up > 0
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
