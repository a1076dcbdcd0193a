//! The one rule: which path does a frame of a network take between two nodes?
//!
//! | sender PDC vs receiver PDC | path | outer address |
//! |---|---|---|
//! | same, `intra: plain`, both VTEPs inside the PDC's underlay | plain VXLAN | admin |
//! | same, anything else | tunnel | admin |
//! | different | tunnel | external |
//! | a policy matches first | as it says | as above |
//!
//! The PDC that counts is the one in the certificate. Unknown never means local.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::de::{self, EnumAccess, VariantAccess as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::types::{NetworkId, NodeId, PdcId, PolicyId, Prefix, UNKNOWN_VARIANT};

/// How frames of a network go from one node to another, from the least to the most strict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    /// Plain VXLAN, switched by the kernel.
    Plain,
    /// VXLAN inside WireGuard.
    Tunnel,
    /// Not at all.
    Forbidden,
}

/// What is declared of a PDC.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PdcFacts {
    /// How nodes inside talk to each other.
    pub intra: Intra,
    /// Prefixes that hold the admin addresses of its nodes. Plain VXLAN goes only between addresses inside.
    pub underlay: Vec<Prefix>,
    /// Routers between two nodes of the PDC; 0 means that only TTL 255 is accepted.
    #[serde(default)]
    pub max_hops: u8,
    /// Those routers, as the nodes see them: addresses on their segments. Plain frames leave by no other. None named: by any.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub routers: BTreeSet<IpAddr>,
    /// Where the plain path between two of its nodes is dead, their frames take the tunnel until it answers again. Never the other way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tunnel_when_dead: bool,
}

impl PdcFacts {
    /// Routers that may be the next hop of plain frames, besides the VTEP itself; none where any may.
    pub fn next_hops(&self) -> Option<BTreeSet<IpAddr>> {
        match (self.max_hops, self.routers.is_empty()) {
            (0, _) => Some(BTreeSet::new()),
            (_, false) => Some(self.routers.clone()),
            (_, true) => None,
        }
    }
}

/// How the nodes of one PDC talk to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Intra {
    /// Plain VXLAN.
    Plain,
    /// Tunnels, as if in different PDCs. The default: plain is an opt-in.
    #[default]
    Encrypted,
}

/// A `PathPolicy`: what it matches and what it says. The two ends are matched in either order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathRule {
    /// The two ends. Fewer than two: the rest matches everything.
    #[serde(default)]
    pub between: Vec<Selector>,
    /// Only this network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkId>,
    /// What to do.
    pub action: Action,
    /// Must be true for `plain` to hold across PDCs.
    #[serde(default)]
    pub i_know_this_is_clear: bool,
}

/// One end of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Selector {
    /// All nodes of a PDC.
    Pdc(PdcId),
    /// One node.
    Node(NodeId),
    /// What this version does not know, in a message of a newer one ([`crate::types::UNKNOWN_VARIANT`]): nobody is meant, and the
    /// management node's own verdict counts. In no manifest: nobody can write it.
    Unknown,
}

/// What a policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// In clear.
    Plain,
    /// In a tunnel.
    Encrypt,
    /// Not at all.
    Forbid,
}

/// One end of a pair.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// The node.
    pub node: &'a NodeId,
    /// Its PDC, from its certificate.
    pub pdc: &'a PdcId,
    /// Its address inside the PDC.
    pub admin: Option<IpAddr>,
    /// Its address for other PDCs.
    pub external: Option<IpAddr>,
    /// True for a node that is no `meshd`: it can only be reached by a tunnel.
    pub foreign: bool,
}

/// The answer for a pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The path.
    pub path: Path,
    /// The rule that decided.
    pub why: Why,
    /// Which of the two addresses of each end is the outer one.
    pub outer: Outer,
}

/// Which address of a node is the outer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outer {
    /// The one inside its PDC.
    Admin,
    /// The one for other PDCs.
    External,
}

/// The rule that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Why {
    /// Same PDC, plain, both ends inside its underlay.
    SamePdc(PdcId),
    /// Same PDC, which wants encryption.
    SamePdcEncrypted(PdcId),
    /// Same PDC, but nothing is known of it.
    PdcUnknown(PdcId),
    /// Same PDC, but this node's admin address is missing or outside the underlay.
    OutsideUnderlay(NodeId),
    /// Same PDC, whose plain path to the peer is dead, and which wishes the tunnel then.
    PlainIsDead(PdcId),
    /// Two PDCs.
    DifferentPdcs,
    /// The other end is a foreign peer.
    Foreign(NodeId),
    /// A policy.
    Policy(PolicyId),
    /// A policy says `plain` across PDCs without `iKnowThisIsClear: true`, so it does not count.
    ClearNotConfirmed(PolicyId),
    /// Both deciders disagreed and the stricter one counts.
    Disagreement,
    /// A row of a table file whose address lies inside the declared underlay.
    TableFile,
    /// A row of a table file whose address lies outside of the declared underlay, and no tunnel is declared for it.
    TableFileOutsideUnderlay,
}

/// Decides for frames of `network` between two ends; symmetric in `a` and `b`.
pub fn decide(
    a: End<'_>,
    b: End<'_>,
    network: &NetworkId,
    pdcs: &BTreeMap<PdcId, PdcFacts>,
    policies: &BTreeMap<PolicyId, PathRule>,
) -> Verdict {
    let outer = if a.pdc == b.pdc { Outer::Admin } else { Outer::External };
    for (id, rule) in policies.iter().filter(|(_, rule)| rule.matches(a, b, network)) {
        let why = Why::Policy(id.clone());
        let path = match rule.action {
            Action::Forbid => Path::Forbidden,
            Action::Encrypt => Path::Tunnel,
            Action::Plain if a.foreign || b.foreign => continue,
            Action::Plain if outer == Outer::External && !rule.i_know_this_is_clear => {
                return Verdict { path: Path::Tunnel, why: Why::ClearNotConfirmed(id.clone()), outer };
            }
            Action::Plain => Path::Plain,
        };
        return Verdict { path, why, outer };
    }
    let (path, why) = by_pdc(a, b, pdcs);
    Verdict { path, why, outer }
}

/// The table at the top of this file, without policies.
fn by_pdc(a: End<'_>, b: End<'_>, pdcs: &BTreeMap<PdcId, PdcFacts>) -> (Path, Why) {
    if let Some(end) = [a, b].into_iter().find(|end| end.foreign) {
        return (Path::Tunnel, Why::Foreign(end.node.clone()));
    }
    if a.pdc != b.pdc {
        return (Path::Tunnel, Why::DifferentPdcs);
    }
    let Some(facts) = pdcs.get(a.pdc) else { return (Path::Tunnel, Why::PdcUnknown(a.pdc.clone())) };
    if facts.intra == Intra::Encrypted {
        return (Path::Tunnel, Why::SamePdcEncrypted(a.pdc.clone()));
    }
    let inside = |end: End<'_>| end.admin.is_some_and(|address| facts.underlay.iter().any(|p| p.contains(address)));
    match [a, b].into_iter().find(|end| !inside(*end)) {
        Some(end) => (Path::Tunnel, Why::OutsideUnderlay(end.node.clone())),
        None => (Path::Plain, Why::SamePdc(a.pdc.clone())),
    }
}

/// The stricter of two answers: what the node decided and what the management node decided.
pub fn stricter(ours: Verdict, theirs: Path) -> Verdict {
    if theirs > ours.path { Verdict { path: theirs, why: Why::Disagreement, ..ours } } else { ours }
}

impl PathRule {
    fn matches(&self, a: End<'_>, b: End<'_>, network: &NetworkId) -> bool {
        if self.network.as_ref().is_some_and(|only| only != network) {
            return false;
        }
        match self.between.as_slice() {
            [] => true,
            [one] => one.selects(a) || one.selects(b),
            [x, y, ..] => (x.selects(a) && y.selects(b)) || (x.selects(b) && y.selects(a)),
        }
    }
}

impl Selector {
    fn selects(&self, end: End<'_>) -> bool {
        match self {
            Self::Pdc(pdc) => pdc == end.pdc,
            Self::Node(node) => node == end.node,
            Self::Unknown => false,
        }
    }
}

/// Names of the selectors that can be written.
const SELECTORS: &[&str] = &["pdc", "node"];

impl<'de> Deserialize<'de> for Selector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum("Selector", SELECTORS, ReadSelector)
    }
}

struct ReadSelector;

impl<'de> Visitor<'de> for ReadSelector {
    type Value = Selector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pdc or node, with a name")
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Selector, A::Error> {
        match access.variant()? {
            (SelectorName::Pdc, name) => name.newtype_variant().map(Selector::Pdc),
            (SelectorName::Node, name) => name.newtype_variant().map(Selector::Node),
            (SelectorName::Unknown, none) => none.unit_variant().map(|()| Selector::Unknown),
        }
    }
}

enum SelectorName {
    Pdc,
    Node,
    Unknown,
}

impl<'de> Deserialize<'de> for SelectorName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(ReadSelectorName)
    }
}

struct ReadSelectorName;

impl Visitor<'_> for ReadSelectorName {
    type Value = SelectorName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pdc or node")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<SelectorName, E> {
        match name {
            "pdc" => Ok(SelectorName::Pdc),
            "node" => Ok(SelectorName::Node),
            other => Err(E::unknown_variant(other, SELECTORS)),
        }
    }

    fn visit_u64<E: de::Error>(self, index: u64) -> Result<SelectorName, E> {
        match index {
            UNKNOWN_VARIANT => Ok(SelectorName::Unknown),
            other => Err(E::invalid_value(de::Unexpected::Unsigned(other), &self)),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Plain => "plain",
            Self::Tunnel => "tunnel",
            Self::Forbidden => "forbidden",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SamePdc(pdc) => write!(f, "same PDC {pdc}, intra: plain, both VTEPs inside its underlay"),
            Self::SamePdcEncrypted(pdc) => write!(f, "same PDC {pdc}, intra: encrypted"),
            Self::PdcUnknown(pdc) => write!(f, "nothing is known of PDC {pdc}, so it is not trusted"),
            Self::OutsideUnderlay(node) => write!(f, "{node} has no admin address inside its PDC's underlay"),
            Self::PlainIsDead(pdc) => {
                write!(f, "same PDC {pdc}, whose plain path there is dead; it wishes the tunnel then")
            }
            Self::DifferentPdcs => f.write_str("different PDCs"),
            Self::Foreign(node) => write!(f, "{node} is a foreign peer"),
            Self::Policy(id) => write!(f, "path policy {id}"),
            Self::ClearNotConfirmed(id) => {
                write!(f, "path policy {id} says plain across PDCs without iKnowThisIsClear: true")
            }
            Self::Disagreement => f.write_str("node and management node disagree, the stricter counts"),
            Self::TableFile => f.write_str("table file, the VTEP is inside the declared underlay"),
            Self::TableFileOutsideUnderlay => f.write_str("table file, the VTEP is outside the declared underlay"),
        }
    }
}

#[cfg(test)]
#[path = "path_tests.rs"]
mod tests;
