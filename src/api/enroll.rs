//! How a machine gets in.
//!
//! The token's text is `vxm1.` and the base64url (no padding) of the JSON of [`TokenText`]. The client connects to one of its
//! addresses, compares the SHA-256 of the presented CA's public key with `pin`, and only then sends the secret in an
//! [`EnrollRequest`].

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::objects::NodeFacts;
use super::proof::Proof;
use crate::table::Slice;
use crate::types::{NodeId, PdcId, PublicKey};

/// First characters of every token.
pub const TOKEN_PREFIX: &str = "vxm1.";

/// What a token's text holds. No `Debug`: the secret is in it.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct TokenText {
    /// `host:port` of the management nodes.
    pub addresses: Vec<String>,
    /// SHA-256 of the CA's public key (DER SPKI), base64url without padding.
    pub pin: String,
    /// Names the token in lists and errors.
    pub id: String,
    /// 32 random bytes, base64url without padding.
    pub secret: String,
}

/// `POST /v1/enroll`: the only request without a client certificate. No `Debug`: the secret is in it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct EnrollRequest {
    /// The token's id.
    pub token: String,
    /// The token's secret.
    pub secret: String,
    /// The name that the node asks for.
    pub name: NodeId,
    /// The PDC that the node's own file asserts, if it does. It never decides; a mismatch is refused.
    pub asserted_pdc: Option<PdcId>,
    /// PEM certificate request; its key was made on the node.
    pub csr: String,
    /// WireGuard public key; its private half was made on the node and stays there.
    pub public_key: PublicKey,
    /// What the node says of itself.
    pub facts: NodeFacts,
    /// That it holds the private half of `public_key`: claim "join". Without one nobody joins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<Proof>,
}

/// The answer to an [`EnrollRequest`], and again the same for the same key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnrollAnswer {
    /// The node's name.
    pub name: NodeId,
    /// Its PDC, from the token.
    pub pdc: PdcId,
    /// PEM of its certificate.
    pub certificate: String,
    /// PEM of the CA.
    pub ca: String,
    /// Its first slice.
    pub slice: Slice,
}

/// `POST /v1/renew` by a node: a new certificate for the same or a new TLS key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenewRequest {
    /// PEM certificate request.
    pub csr: String,
    /// For a new TLS key: that its sender holds the WireGuard key in force (claim "renew").
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<Proof>,
}

/// The answer to a [`RenewRequest`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RenewAnswer {
    /// PEM of the new certificate.
    pub certificate: String,
}
