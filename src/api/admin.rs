//! What operators and `meshmgr` say to each other beside [`super::objects`]: lists, apply, tokens, audit, status, matrix.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::local::Finding;
use super::objects::{Any, Kind};
use crate::policy::path::{Outer, Path};
use crate::types::{Mtu, NetworkId, NodeId, PdcId, Version, Wall};

/// `GET /v1/objects/{kind}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Objects {
    /// [`super::API_VERSION`].
    pub api_version: String,
    /// In the order of their names.
    pub items: Vec<Any>,
}

/// `POST /v1/apply`: all of it or nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Apply {
    /// Objects to create or to bring to this state, in any order.
    pub items: Vec<Any>,
    /// True: only say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// True: also what takes the ground from under running guests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yes: bool,
}

/// The answer to [`Apply`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Applied {
    /// One for each item, in the order of the request.
    pub changes: Vec<ObjectChange>,
}

/// What happened, or would happen, to one object.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectChange {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What happened.
    pub change: Verb,
    /// The object before; none: there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Any>,
    /// The object after; none: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Any>,
}

/// What happens to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// It was not there.
    Create,
    /// It was another.
    Update,
    /// It is as it was.
    Unchanged,
    /// It is gone.
    Delete,
}

/// `POST /v1/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewToken {
    /// PDC of every node that joins with it.
    pub pdc: PdcId,
    /// Names that it may be used for; `*` stands for any run of characters. `*` alone says nothing of names: such a token is for
    /// names that no operator has declared.
    #[serde(default = "any_name")]
    pub name_pattern: String,
    /// How many nodes may join with it.
    #[serde(default = "one")]
    pub uses: u32,
    /// Seconds until it ends.
    #[serde(default = "one_hour")]
    pub ttl_seconds: u64,
    /// The machine that joins with it takes the place of the one that has this name: `name_pattern` is a name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
}

fn any_name() -> String {
    "*".to_owned()
}

const fn one() -> u32 {
    1
}

const fn one_hour() -> u64 {
    3600
}

/// The answer to [`NewToken`]: the only time that the secret is seen. No `Debug`.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct MadeToken {
    /// Names the token in lists and errors.
    pub id: String,
    /// The whole text, `vxm1.` and so on.
    pub token: String,
    /// When it ends.
    #[zeroize(skip)]
    pub expires: Wall,
}

/// `GET /v1/backup`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupText {
    /// The content of a backup file.
    pub text: String,
}

/// One entry of the audit log: who changed what, when and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditEvent {
    /// When.
    pub at: Wall,
    /// `admin/<name>`, `node/<name>`, `token/<id>` or `meshmgr`.
    pub who: String,
    /// Address that the request came from.
    pub from: String,
    /// Short kind: `create`, `update`, `delete`, `apply`, `enroll`, `enroll-refused`, `renew`, `port-refused`, ...
    pub what: String,
    /// One sentence.
    pub text: String,
    /// What changed; for more than a hundred objects only their names. Of what others than operators change, less is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<AuditChange>,
}

/// What an audit entry says of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditChange {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What happened to it.
    pub change: Verb,
    /// Fields that differ: path, old value, new value, as JSON text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String, String)>,
}

/// `GET /v1/events`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Events {
    /// Oldest first.
    pub items: Vec<AuditEvent>,
}

/// `GET /v1/status` of a management node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshStatus {
    /// Version of `meshmgr`.
    pub daemon: String,
    /// The store's version.
    pub version: Version,
    /// How many objects of each kind there are.
    pub objects: BTreeMap<Kind, usize>,
    /// Every node, in the order of names.
    pub nodes: Vec<NodeLine>,
    /// What is wrong, with nodes first, worst first.
    #[serde(default)]
    pub problems: Vec<Finding>,
}

/// One node as the management node sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeLine {
    /// Its name.
    pub node: NodeId,
    /// Its PDC.
    pub pdc: PdcId,
    /// True for a foreign peer: it never connects.
    pub foreign: bool,
    /// When it joined; none: declared, nothing has joined as it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<Wall>,
    /// True where it is in quarantine: a problem says why.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
    /// True where its machine has said that it leaves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
    /// True while it is there, by its own word.
    pub connected: bool,
    /// True where it is there and says that its reports do not arrive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreported: bool,
    /// When it was last heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Wall>,
    /// The last version that its kernel and lanes follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Version>,
    /// True where its kernel and lanes follow the newest slice that it needs.
    pub in_sync: bool,
    /// True where the server has just started and has not heard it yet: it has some time left to come back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expected: bool,
    /// True where the newest slice is some seconds old at most: it may be on its way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changing: bool,
    /// Version of its `meshd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<String>,
}

/// `GET /v1/matrix`: the path of every pair, by PDC and by node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Matrix {
    /// Pairs of PDCs: what two nodes with good addresses would get.
    pub pdcs: Vec<PdcPair>,
    /// Pairs of nodes that share a network.
    pub nodes: Vec<NodePair>,
}

/// One pair of PDCs; the two may be the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PdcPair {
    /// One end.
    pub a: PdcId,
    /// The other.
    pub b: PdcId,
    /// The path.
    pub path: Path,
    /// The rule that decided.
    pub why: String,
}

/// One pair of nodes in one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodePair {
    /// The network.
    pub network: NetworkId,
    /// One end.
    pub a: NodeId,
    /// The other.
    pub b: NodeId,
    /// The path.
    pub path: Path,
    /// The rule that decided.
    pub why: String,
    /// Which addresses are the outer ones.
    pub outer: Outer,
    /// What the pair's path leaves for the guests.
    pub mtu: Option<Mtu>,
}

/// `GET /v1/nodes/{name}/foreign`: what the owner of a foreign peer types. No `Debug`: it holds PSKs.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct ForeignConfig {
    /// A `wg-quick` file.
    pub wireguard: String,
    /// `ip` and `bridge` lines for each network.
    pub commands: String,
}
