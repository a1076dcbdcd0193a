//! Who gets in: the token, the state and the request come in; what is written and what is signed, or a refusal, comes out.
//! The shell commits the edits in one transaction, so of many that race with one token one wins and the others are judged again.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::audit::Origin;
use super::certs::Request;
use super::facts::{self, FactsError};
use super::keys::{self, KeyError};
use super::state::{Edit, State};
use super::token::{self, Fit, TokenError};
use super::{addresses, interfaces, validate};
use crate::api::enroll::EnrollRequest;
use crate::api::objects::{Any, Kind, Meta, Node, NodeSpec, NodeStatus, Object, Token, TokenUse};
use crate::api::problem::{Exit, Problem};
use crate::types::{NamePattern, NodeId, PdcId, Prefix, Wall};

/// A machine may join. Nothing is written or signed yet.
#[derive(Debug, Clone)]
pub struct Admission {
    /// What to write, all of it or nothing.
    pub edits: Vec<Edit>,
    /// PDC of the certificate, from the token.
    pub pdc: PdcId,
    /// True where this key has joined before and only the reply was lost.
    pub again: bool,
    /// True where it takes the place of another machine, whose keys are taken back.
    pub replaced: bool,
    /// Another node that has proved the same WireGuard key: both are quarantined by the edits, and the machine is not let in.
    pub clash: Option<NodeId>,
}

/// Why a machine may not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrollError {
    /// The token does not let it in.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// What it says of itself is not plausible.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// Its WireGuard key is not taken.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The keys of the name were taken back, and this token is not the one that was made for its return.
    #[error("node '{node}' was reset; only a machine with token {token} can join as it")]
    Reset {
        /// The name.
        node: NodeId,
        /// Id of the token.
        token: String,
    },
    /// The token's PDC was deleted.
    #[error("PDC '{0}' of the token does not exist any more")]
    PdcGone(PdcId),
    /// The name is declared for another PDC.
    #[error("node '{node}' is declared in PDC '{declared}', the token is for PDC '{token}'")]
    DeclaredElsewhere {
        /// The name.
        node: NodeId,
        /// Its declared PDC.
        declared: PdcId,
        /// The token's.
        token: PdcId,
    },
    /// The name belongs to a foreign peer.
    #[error("node '{0}' is declared as a foreign peer; no meshd can join as it")]
    Foreign(NodeId),
    /// Another machine has joined with this name.
    #[error("a node '{node}' joined at {joined} with another key")]
    NameTaken {
        /// The name.
        node: NodeId,
        /// When.
        joined: Wall,
    },
    /// This key joined before with this token, but the node was removed since.
    #[error("node '{0}' was removed after it had joined with this token")]
    Removed(NodeId),
    /// An operator has declared the name, and the token says nothing of names.
    #[error("node '{0}' is declared, and the token does not say that it is for a node of such a name")]
    Declared(NodeId),
    /// No tunnel address is left.
    #[error("no address is left in the tunnel prefix {0}")]
    AddressesUsedUp(Prefix),
    /// The result would break a rule.
    #[error("{0}")]
    Rule(Box<Problem>),
}

/// Decides. `key` is of the verified certificate request; `proved` is whether the machine has shown that it holds the private half
/// of its WireGuard key.
///
/// # Errors
/// [`EnrollError`]
pub fn decide(
    state: &State,
    request: &EnrollRequest,
    (key, proved): (&Request, bool),
    origin: &Origin,
    tunnel_prefix: &Prefix,
) -> Result<Admission, EnrollError> {
    let token = state.tokens.get(&request.token).map(AsRef::as_ref);
    let fit = token::judge(token, request, key.key_hash(), origin.at)?;
    let Some(token) = token else { return Err(TokenError::Unknown(request.token.clone()).into()) };
    let pdc = token.spec.pdc.clone();
    if !state.pdcs.contains_key(&pdc) {
        return Err(EnrollError::PdcGone(pdc));
    }
    let known = state.nodes.get(&request.name).map(AsRef::as_ref);
    let before = known.map(|node| Any::Node(node.clone()));
    // What the token takes back is taken back before anything is judged.
    let emptied = known.filter(|known| fit == Fit::New && takes_place(token, known)).map(emptied);
    let replaced = emptied.is_some();
    let (state, known) = match &emptied {
        None => (Cow::Borrowed(state), known),
        Some(emptied) => (
            Cow::Owned(state.after(&[Edit { before: before.clone(), after: Some(Any::Node(emptied.clone())) }])),
            Some(emptied),
        ),
    };
    let state = state.as_ref();
    check_name(known, request, key, &pdc, fit)?;
    check_declared(state, token, &request.name)?;
    let clash = keys::judge(state, &request.name, &request.public_key, proved)?;
    if fit == Fit::Again {
        // The same machine asks for the same answer; what it says of itself anew it reports when it is in.
        return Ok(Admission {
            edits: vec![Edit { before: before.clone(), after: before }],
            pdc,
            again: true,
            replaced: false,
            clash: clash.map(|other| other.metadata.name.clone()),
        });
    }
    let mut node = member(known, state, request, key, &pdc, origin.at, tunnel_prefix)?;
    facts::check(state, known, &node)?;
    let mut edits = vec![spend(token, request, key, origin)];
    if let Some(other) = clash {
        node = keys::quarantined(&node, origin.at);
        edits.push(keys::quarantine(other, origin.at));
    }
    edits.insert(0, Edit { before, after: Some(Any::Node(node)) });
    validate::check(state, &edits).map_err(|problem| EnrollError::Rule(Box::new(problem)))?;
    Ok(Admission { edits, pdc, again: false, replaced, clash: clash.map(|other| other.metadata.name.clone()) })
}

/// Was the token made so that a machine takes the place of this node?
fn takes_place(token: &Token, node: &Node) -> bool {
    token.spec.replace && token.spec.name_pattern == node.metadata.name.as_str() && node.spec.foreign.is_none()
}

/// The place of a node whose machine is gone: its name, labels, tunnel address, and which keys are worth nothing any more.
fn emptied(node: &Node) -> Node {
    Node { status: keys::without_keys(&node.status), ..node.clone() }
}

/// May a token of this PDC be made for a machine that takes this node's place?
///
/// # Errors
/// [`EnrollError::Foreign`], [`EnrollError::DeclaredElsewhere`].
pub fn replaceable(node: &Node, pdc: &PdcId) -> Result<(), EnrollError> {
    let name = node.metadata.name.clone();
    if node.spec.foreign.is_some() {
        return Err(EnrollError::Foreign(name));
    }
    if node.spec.pdc != *pdc {
        let declared = node.spec.pdc.clone();
        return Err(EnrollError::DeclaredElsewhere { node: name, declared, token: pdc.clone() });
    }
    Ok(())
}

/// May this key have this name?
fn check_name(
    known: Option<&Node>,
    request: &EnrollRequest,
    key: &Request,
    pdc: &PdcId,
    fit: Fit,
) -> Result<(), EnrollError> {
    let name = || request.name.clone();
    let Some(known) = known else {
        // A removed node does not come back by repeating its old request.
        return if fit == Fit::Again { Err(EnrollError::Removed(name())) } else { Ok(()) };
    };
    if known.spec.foreign.is_some() {
        return Err(EnrollError::Foreign(name()));
    }
    if known.spec.pdc != *pdc {
        let declared = known.spec.pdc.clone();
        return Err(EnrollError::DeclaredElsewhere { node: name(), declared, token: pdc.clone() });
    }
    check_keys(known, request, key, fit)
}

/// Are these the keys of the machine that is known by the name, or is the place free?
fn check_keys(known: &Node, request: &EnrollRequest, key: &Request, fit: Fit) -> Result<(), EnrollError> {
    let (name, status) = (|| request.name.clone(), &known.status);
    if let Some(theirs) = &status.tls_key {
        let same = theirs == key.key_hash() && status.public_key == Some(request.public_key);
        let joined = status.joined.unwrap_or_default();
        return if same { Ok(()) } else { Err(EnrollError::NameTaken { node: name(), joined }) };
    }
    if fit == Fit::Again {
        return Err(EnrollError::Removed(name()));
    }
    match &status.rejoin {
        Some(token) if *token != request.token => Err(EnrollError::Reset { node: name(), token: token.clone() }),
        Some(_) | None if keys::is_revoked(known, key.key_hash()) => Err(KeyError::Revoked(name()).into()),
        Some(_) | None => Ok(()),
    }
}

/// What waits for a declared node is not for whoever has some token: one that says nothing of names lets in new names only.
fn check_declared(state: &State, token: &Token, name: &NodeId) -> Result<(), EnrollError> {
    let waits = match state.nodes.get(name) {
        // One that was reset has a token of its own, which was checked.
        Some(node) => node.status.tls_key.is_none() && node.status.rejoin.is_none(),
        None => is_named(state, name),
    };
    if waits && token::says_nothing(&token.spec.name_pattern) {
        Err(EnrollError::Declared(name.clone()))
    } else {
        Ok(())
    }
}

/// Does an overlay or a network name this node?
fn is_named(state: &State, name: &NodeId) -> bool {
    let admitted = |nodes: &BTreeSet<NodeId>| nodes.contains(name);
    let hosts = |nodes: &BTreeSet<NamePattern>| nodes.iter().any(|one| one.is_name() && one.fits(name.as_str()));
    state.overlays.values().any(|overlay| overlay.spec.nodes.as_ref().is_some_and(admitted))
        || state.networks.values().any(|network| network.spec.nodes.as_ref().is_some_and(hosts))
}

/// The node as a member.
fn member(
    known: Option<&Node>,
    state: &State,
    request: &EnrollRequest,
    key: &Request,
    pdc: &PdcId,
    now: Wall,
    tunnel_prefix: &Prefix,
) -> Result<Node, EnrollError> {
    let mut node = known.cloned().unwrap_or_else(|| Object {
        metadata: Meta { name: request.name.clone(), labels: Default::default(), revision: None },
        spec: NodeSpec { pdc: pdc.clone(), admin: None, external: None, foreign: None },
        status: NodeStatus::default(),
    });
    let address = match node.status.tunnel_address {
        Some(address) => address,
        None => addresses::lowest_free(tunnel_prefix, state).ok_or(EnrollError::AddressesUsedUp(*tunnel_prefix))?,
    };
    node.status = NodeStatus {
        public_key: Some(request.public_key),
        tls_key: Some(key.key_hash().to_owned()),
        facts: Some(interfaces::counted(node.status.facts.as_ref(), &request.facts)),
        tunnel_address: Some(address),
        joined: node.status.joined.or(Some(now)),
        // It was in quarantine because its keys had been taken back.
        quarantined: None,
        rejoin: None,
        ..node.status
    };
    Ok(node)
}

fn spend(token: &Token, request: &EnrollRequest, key: &Request, origin: &Origin) -> Edit {
    let mut spent = token.clone();
    spent.status.used.push(TokenUse {
        node: request.name.clone(),
        key: key.key_hash().to_owned(),
        from: origin.from.clone(),
        at: origin.at,
    });
    Edit::update(Any::Token(token.clone()), Any::Token(spent))
}

impl EnrollError {
    /// For the user.
    pub fn problem(&self) -> Problem {
        let refuse = |code: &str, exit, help: String| {
            Problem::new(code, exit, self.to_string()).note("nothing was changed").help(help)
        };
        match self {
            Self::Token(error) => error.problem(),
            Self::Rule(problem) => problem.as_ref().clone(),
            Self::Facts(error) => error.problem(),
            Self::Key(error) => error.problem(),
            Self::Reset { node, .. } => {
                let help =
                    format!("the token that 'meshctl node reset {node}' printed; the command again prints a new one");
                refuse("M0284", Exit::Denied, help)
            }
            Self::PdcGone(pdc) => refuse("M0250", Exit::Denied, format!("meshctl pdc create {pdc}")),
            Self::DeclaredElsewhere { declared, .. } => {
                refuse("M0261", Exit::Denied, format!("use a token of PDC '{declared}', or another name"))
            }
            Self::Foreign(_) => {
                refuse("M0252", Exit::Denied, "join with another name: meshctl join --name NAME".to_owned())
            }
            Self::NameTaken { node, .. } => {
                let help = format!(
                    "join with another name; if this machine is to take its place: meshctl {} create --replace {node}",
                    Kind::Token
                );
                refuse("M0253", Exit::Denied, help)
            }
            Self::Removed(_) => {
                refuse("M0254", Exit::Denied, "join with a new token: meshctl token create --pdc PDC".to_owned())
            }
            Self::Declared(node) => {
                let help = format!("make a token for it: meshctl token create --pdc PDC --name {node}");
                refuse("M0275", Exit::Denied, help)
            }
            Self::AddressesUsedUp(_) => {
                refuse("M0255", Exit::Failed, "set a larger tunnel_prefix in meshmgr.toml".to_owned())
            }
        }
    }
}

#[cfg(test)]
#[path = "enroll_tests.rs"]
mod tests;
