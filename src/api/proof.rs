//! How a node shows that it holds the private half of a WireGuard key: it asks for a [`Challenge`] and sends a [`Proof`] with what
//! it wants. What a proof says, and of which bytes it is made, is in `mgmt::possession` and `docs/protocol.md`.

use serde::{Deserialize, Serialize};

use crate::types::PublicKey;

/// Proofs of one message that are looked at: with two keys of facts, findings, paths, ports and a change of keys, and one that the old key can go.
pub const PROOFS_MAX: usize = 11;

/// `GET /v1/challenge`: something to prove against, for some minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Challenge {
    /// Names the challenge; its text goes into the proof as it is.
    pub nonce: String,
    /// X25519 public key that is of this challenge alone.
    pub key: PublicKey,
}

/// That the sender holds a private key, and what it says with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// Of the challenge.
    pub nonce: String,
    /// The public half of the key that is shown.
    pub by: PublicKey,
    /// HMAC-SHA256, base64.
    pub mac: String,
}
