//! How a node stays in sync: `GET /v1/slice?incarnation=I&revision=R&hash=H` answers with one JSON [`Message`] a line, without
//! end; `POST /v1/report` goes the other way. A node that says `answers=true` answers in the body of its request: a line at least every
//! [`ANSWERS`] while the stream lives.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::heard::{self, Heard};
use super::local::Finding;
use super::objects::NodeFacts;
use super::problem::{clip, printable};
use super::proof::Proof;
use crate::policy::mtu::MtuPolicy;
use crate::table::{Delta, NetKey, Slice};
use crate::types::{IfName, Mac, NodeId, PublicKey, Version, Wall};

/// How often a node answers on its stream.
pub const ANSWERS: Duration = Duration::from_secs(5);
/// How long reports may fail while the stream lives before a node says so in its answers: longer than a stream is silent that has died by the
/// same cause (10 s).
pub const UNREPORTED: Duration = Duration::from_secs(15);
/// A node that has promised to answer and was silent for this long is cut off: three answers are missing.
pub const UNANSWERED: Duration = Duration::from_secs(20);

/// One answer of a node on its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Its reports, which are connections of their own, do not arrive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreported: bool,
}

impl Answer {
    /// As a line of JSON.
    pub fn line(self) -> Vec<u8> {
        let mut line = serde_json::to_vec(&self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// The newest of some lines. What cannot be read says no more than that it came.
    pub fn newest(lines: &[u8]) -> Self {
        let newest = lines.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
        newest.and_then(|line| serde_json::from_slice(line).ok()).unwrap_or_default()
    }
}

/// One line of the stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Message {
    /// The whole slice: at first contact, after a gap, after a wrong hash.
    Snapshot {
        /// The slice.
        slice: Box<Slice>,
        /// [`crate::table::delta::hash`] of it.
        hash: String,
    },
    /// What changed.
    Delta {
        /// The difference.
        delta: Box<Delta>,
    },
    /// Nothing that concerns this node changed up to here. Sent every few seconds, so silence means a dead connection.
    Current {
        /// The store's version.
        version: Version,
        /// What the clock of the management node says; none: it is of a version that does not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Wall>,
        /// Guests that this node has found and that other nodes hear as well; all of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        contested: Vec<Contested>,
        /// What is wrong with peers of this node, which it cannot see itself; all of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        peers: Vec<PeerWord>,
    },
    /// This node is no member any more; its certificate is not accepted from now on.
    Removed,
}

/// A line of the stream, as a node takes it.
#[expect(missing_debug_implementations, reason = "holds PSKs")]
pub struct Line<'a> {
    /// What it says; none: it is of a type that is not known here.
    pub message: Option<Message>,
    /// The JSON text of its slice or delta.
    pub text: &'a str,
    /// What is not known here ([`super::heard`]).
    pub unknown: Vec<String>,
}

/// A line of any type.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    slice: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
}

/// Members of the types of [`Message`].
#[derive(Deserialize)]
struct SnapshotLine {
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    slice: Box<Slice>,
    hash: String,
}

#[derive(Deserialize)]
struct DeltaLine {
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    delta: Box<Delta>,
}

#[derive(Deserialize)]
struct CurrentLine {
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    version: Version,
    #[serde(default)]
    at: Option<Wall>,
    #[serde(default)]
    contested: Vec<Contested>,
    #[serde(default)]
    peers: Vec<PeerWord>,
}

/// What the management node knows of a peer that its reader does not hear, and cannot know itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerWord {
    /// The peer.
    pub node: NodeId,
    /// The management node hears nothing of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub away: bool,
    /// The interface of its own that is the fault, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<IfName>,
    /// The interface of its own that is down, by which the reader's plain frames would arrive, as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plain: Option<IfName>,
    /// Other nodes hear nothing of it by their tunnels either.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub missed: bool,
    /// It hears the reader, and what it sends does not arrive there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
}

/// A guest of one node that another one hears behind an interface of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contested {
    /// The network.
    pub network: NetKey,
    /// Its address.
    pub mac: Mac,
    /// The other node.
    pub by: NodeId,
}

/// Reads a line of the stream.
///
/// # Errors
/// It is no JSON object with a type, or not what that type says.
pub fn read(line: &[u8]) -> Result<Line<'_>, serde_json::Error> {
    let head: Head<'_> = serde_json::from_slice(line)?;
    let text = head.slice.or(head.delta).map_or("", RawValue::get);
    let (message, unknown) = match head.kind.as_str() {
        "snapshot" => {
            let Heard { said: SnapshotLine { slice, hash, .. }, unknown } = heard::read(line)?;
            (Some(Message::Snapshot { slice, hash }), unknown)
        }
        "delta" => {
            let Heard { said: DeltaLine { delta, .. }, unknown } = heard::read(line)?;
            (Some(Message::Delta { delta }), unknown)
        }
        "current" => {
            let Heard { said: CurrentLine { version, at, contested, peers, .. }, unknown } = heard::read(line)?;
            (Some(Message::Current { version, at, contested, peers }), unknown)
        }
        "removed" => (Some(Message::Removed), Vec::new()),
        other => (None, vec![format!("type '{}'", printable(clip(other)))]),
    };
    Ok(Line { message, text, unknown })
}

/// `POST /v1/report`: what a node may say, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// The version that the kernel and the lanes now follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Version>,
    /// What it says of itself, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<NodeFacts>,
    /// Every port that it found on bridges of networks with `learning: local`; none: no change since the last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<Vec<FoundPort>>,
    /// The WireGuard key that it has made and wants to change to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_key: Option<PublicKey>,
    /// The new WireGuard key, once every tunnel that is up was made under it: the old one can go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_in_use: Option<PublicKey>,
    /// What the tunnels to all peers carry, as far as it was measured; none: no change since the last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<MeasuredPath>>,
    /// What it finds wrong, worst first; none: no change since the last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Vec<Finding>>,
    /// Its own `[mtu]`, which counts where neither network nor overlay says anything; none: no change since the last report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_mtu: Option<MtuPolicy>,
    /// Guests of its ports whose interface is not there, at most [`AWAY`] of them; none: no change since the last report. It comes without proof, so
    /// nothing is sure by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<Vec<AwayGuest>>,
    /// True: this machine has left, and nobody runs as this node from now on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaving: bool,
    /// That the node itself says `facts`, `findings`, `paths`, `ports`, `next_key`, `key_in_use` and `leaving`: a stolen TLS key says none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proofs: Vec<Proof>,
}

/// What the tunnel to a peer carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeasuredPath {
    /// The peer.
    pub node: NodeId,
    /// The largest outer IP packet that was seen to arrive, bytes; of several lanes the smallest.
    pub bytes: u16,
    /// Since when it is so, by the clock of who measures; none: it does not say. No proof covers it: who could change it on its way could hold
    /// the whole report back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Wall>,
}

/// Guests of one report whose interface is not there.
pub const AWAY: usize = 256;

/// A guest whose port names an interface that is not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AwayGuest {
    /// The network.
    pub network: NetKey,
    /// Its address.
    pub mac: Mac,
    /// The interface.
    pub interface: IfName,
}

/// A guest that a node found on its own bridge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FoundPort {
    /// The network.
    pub network: NetKey,
    /// Its address.
    pub mac: Mac,
    /// Addresses seen in its ARP and ND.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub ips: BTreeSet<IpAddr>,
}
