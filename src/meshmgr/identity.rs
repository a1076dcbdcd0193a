//! What becomes of nodes' identities while they are members: WireGuard keys that change, and two machines that are one node.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, State};

use super::admin;
use super::app::{App, Member, blocking, every};
use super::core::{Plan, View};
use super::http::{Answer, Json};
use super::members::{Judge, current};
use crate::api::admin::{AuditEvent, MadeToken, NewToken};
use crate::api::local::Finding;
use crate::api::objects::{Any, Kind, Node};
use crate::api::problem::{Exit, Problem, printable};
use crate::mgmt::audit::Origin;
use crate::mgmt::clones::Voice;
use crate::mgmt::index::Index;
use crate::mgmt::keys::{self, KeyError};
use crate::mgmt::possession::Claim;
use crate::mgmt::rename as renaming;
use crate::mgmt::rotation::{self, Outcome, RotationError};
use crate::mgmt::state::{Edit, State as Mesh};
use crate::mgmt::validate;
use crate::transport::server::Caller;
use crate::types::{NodeId, PublicKey};

/// Life of the token with which a machine comes back after a reset.
const RESET_LIFE: Duration = Duration::from_secs(3600);
/// How often the schedule is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Asks nodes with old keys for new ones, until the server stops.
pub(super) async fn run(app: Arc<App>, age: Duration) {
    let ask = move |app: &App| {
        let now = crate::clock::wall();
        app.core.change(|view| {
            let due = rotation::due(&view.index, age, now);
            let names: Vec<&str> = due.iter().map(|node| node.metadata.name.as_str()).collect();
            let text = format!("WireGuard key of {}: it is {} days old", names.join(", "), age.as_secs() / 86_400);
            let edits: Vec<Edit> = due.iter().filter_map(|node| rotation::ask(&view.index, node).ok()).collect();
            let event = (!edits.is_empty()).then(|| Origin::own(now).event("rotate-key", text, &edits));
            Ok(Plan { edits, event, answer: () })
        })
    };
    every(app, LOOK, "cannot ask for new keys", ask).await;
}

fn find<'a>(index: &'a Index, name: &str) -> Result<&'a Node, Problem> {
    let node = name.parse::<NodeId>().ok().and_then(|id| index.state.nodes.get(&id));
    node.map(AsRef::as_ref).ok_or_else(|| validate::missing(&index.state, "M0333", Kind::Node, name))
}

/// `POST /v1/nodes/{name}/rotate-key`
///
/// # Errors
/// [`Refused`](super::http::Refused): M0262, M0333.
pub(super) async fn rotate_key(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer<Node> {
    decide(&app, &caller, name, "rotate-key", |_, index, node| {
        let edit = rotation::ask(index, node).map_err(|error| error.problem())?;
        Ok((edit, format!("a new WireGuard key of node {} is wanted", node.metadata.name)))
    })
    .await
}

/// `POST /v1/nodes/{name}/release`: out of quarantine.
///
/// # Errors
/// [`Refused`](super::http::Refused): M0263, M0333.
pub(super) async fn release(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer<Node> {
    decide(&app, &caller, name, "release", |app, index, node| {
        let name = &node.metadata.name;
        if node.status.quarantined.is_none() {
            let what = format!("node '{name}' is not in quarantine");
            return Err(Problem::new("M0263", Exit::Conflict, what).note("nothing was changed"));
        }
        if let Some((what, help)) = keys::held(&index.state, node) {
            return Err(Problem::new("M0263", Exit::Conflict, what).note("nothing was changed").help(help));
        }
        app.hub.with(name, |seat| seat.voices.forget());
        let mut released = node.clone();
        released.status.quarantined = None;
        Ok((Edit::update(Any::Node(node.clone()), Any::Node(released)), format!("node {name} is out of quarantine")))
    })
    .await
}

/// Query of `POST /v1/nodes/{name}/rename`.
#[derive(Debug, serde::Deserialize)]
pub(super) struct To {
    to: NodeId,
}

/// `POST /v1/nodes/{name}/rename?to=NAME`: another name for a node that nothing has joined as.
///
/// # Errors
/// [`Refused`](super::http::Refused): M0287, M0331, M0333.
pub(super) async fn rename(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Query(To { to }): Query<To>,
) -> Answer<Node> {
    let origin = app.origin(&caller);
    let renamed = blocking(&app, move |app| {
        let new = to.clone();
        app.core.change(move |view| {
            let state = &view.index.state;
            let old = find(&view.index, &name)?.metadata.name.clone();
            let edits = renaming::rename(state, &old, &to)?;
            validate::check(state, &edits)?;
            let along: Vec<String> = edits
                .iter()
                .filter(|edit| edit.before.is_some() && edit.after.is_some())
                .filter_map(Edit::object)
                .map(|object| format!("{} {}", object.kind(), object.name()))
                .collect();
            let along = if along.is_empty() { String::new() } else { format!(", and so say {}", along.join(", ")) };
            let event = origin.event("rename", format!("node {old} is called {to} now{along}"), &edits);
            Ok(Plan { edits, event: Some(event), answer: () })
        })?;
        find(&app.core.view().index, new.as_str()).cloned()
    });
    Ok(Json(renamed.await?))
}

/// `POST /v1/nodes/{name}/reset`: all keys of a node are worth nothing from now on; the answer is the only token that lets a
/// machine join as it again.
///
/// # Errors
/// [`Refused`](super::http::Refused): M0285, M0333.
pub(super) async fn reset(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Answer<MadeToken> {
    let origin = app.origin(&caller);
    let made = blocking(&app, move |app| {
        let (wanted, life) = (find(&app.core.view().index, &name)?.clone(), RESET_LIFE);
        let asked = NewToken {
            pdc: wanted.spec.pdc.clone(),
            name_pattern: name.clone(),
            uses: 1,
            ttl_seconds: life.as_secs(),
            replace: false,
        };
        let (token, made) = admin::token_of(app, &asked, origin.at);
        app.core.change(|view| {
            let node = find(&view.index, &name)?;
            let edits = vec![
                keys::reset(node, &made.id, origin.at).map_err(|error| error.problem())?,
                Edit::create(token.clone()),
            ];
            validate::check(&view.index.state, &edits)?;
            let text = format!("all keys of node {name} are taken back; token {} lets its machine join again", made.id);
            let event = origin.event("reset", text, &edits);
            Ok(Plan { edits, event: Some(event), answer: () })
        })?;
        app.hub.with(&wanted.metadata.name, |seat| seat.voices.forget());
        Ok(made)
    });
    Ok(Json(made.await?))
}

/// Changes one node as the caller asked, with an event that says `what` was done, and answers with the node as it is then.
async fn decide(
    app: &Arc<App>,
    caller: &Caller,
    name: String,
    what: &'static str,
    edit: impl Fn(&App, &Index, &Node) -> Result<(Edit, String), Problem> + Send + 'static,
) -> Answer<Node> {
    let origin = app.origin(caller);
    let node = blocking(app, move |app| {
        app.core.change(|view| {
            let (edit, text) = edit(app, &view.index, find(&view.index, &name)?)?;
            let edits = vec![edit];
            let event = origin.event(what, text, &edits);
            Ok(Plan { edits, event: Some(event), answer: () })
        })?;
        find(&app.core.view().index, &name).cloned()
    });
    Ok(Json(node.await?))
}

/// Takes what a node reports of its keys.
///
/// # Errors
/// M0280: it is not proved, so the node says it again; M0282: another node has proved the same key; a [`Problem`] of the store. Any
/// other refusal is noted and does not keep the rest of a report out. Blocks.
pub(super) fn take_keys(
    app: &App,
    member: &Member,
    (next, in_use): (Option<PublicKey>, Option<PublicKey>),
    judge: &Judge<'_>,
    origin: &Origin,
) -> Result<(), Problem> {
    let name = &member.node;
    if let Some(new) = next {
        let text = format!("node {name} has a new WireGuard key; peers take both");
        take_key(app, member, origin, ("key-proposed", &text), |view, node| {
            let old = node.status.public_key.unwrap_or(new);
            let claim = Claim::Change { old: &old, new: &new };
            let proved = judge.by(&old, claim) && judge.by(&new, claim);
            rotation::propose(&view.index, node, new, proved, origin.at)
        })?;
    }
    let Some(new) = in_use else { return Ok(()) };
    let text = format!("node {name} uses its new WireGuard key with every peer; the old one is gone");
    take_key(app, member, origin, ("key-changed", &text), |view, node| {
        rotation::switch(&view.index, node, new, judge.by(&new, Claim::InUse), origin.at)
    })
}

/// Does what `decide` says of one key.
fn take_key(
    app: &App,
    member: &Member,
    origin: &Origin,
    (what, text): (&str, &str),
    decide: impl Fn(&View, &Node) -> Result<Outcome, RotationError>,
) -> Result<(), Problem> {
    let name = &member.node;
    let outcome = app.core.change(|view| {
        let node = current(view, member)?;
        let decided = decide(view, &node);
        let (edits, event) = match &decided {
            Ok(Outcome::Change(edit)) => (vec![edit.as_ref().clone()], Some((what, text.to_owned()))),
            Ok(Outcome::Clash { edits, other }) => {
                let event = caught(origin, name, other, edits);
                return Ok(Plan { edits: edits.clone(), event: Some(event), answer: decided });
            }
            Ok(Outcome::Known) | Err(_) => (Vec::new(), None),
        };
        let event = event.map(|(what, text)| origin.event(what, text, &edits));
        Ok(Plan { edits, event, answer: decided })
    })?;
    match outcome {
        Ok(Outcome::Known | Outcome::Change(_)) => Ok(()),
        Ok(Outcome::Clash { other, .. }) => {
            tracing::error!(node = %name, %other, "one WireGuard key, proved by two; both are quarantined");
            Err(keys::clash(name, &other))
        }
        Err(error) => {
            tracing::warn!(node = %name, %error, "key refused");
            app.note_of(name, origin.event("key-refused", printable(&error.to_string()), &[]));
            let unproved = matches!(&error, RotationError::Key { why: KeyError::Unproved(_), .. });
            if unproved { Err(error.problem()) } else { Ok(()) }
        }
    }
}

/// The event of two nodes that have proved one key.
pub(super) fn caught(origin: &Origin, node: &NodeId, other: &NodeId, edits: &[Edit]) -> AuditEvent {
    let text = format!(
        "nodes {node} and {other} have proved the same WireGuard key, {node} from {}: neither is a member any more",
        origin.from
    );
    origin.event("quarantine", text, edits)
}

/// A stream of a node begins: is it the only machine that runs as this node? Blocks.
///
/// # Errors
/// M0264: it is not. Nobody takes anything from either machine from then on.
pub(super) fn hear(app: &App, member: &Member, voice: Voice, origin: &Origin) -> Result<(), Problem> {
    let name = &member.node;
    let two = app.hub.with(name, |seat| seat.voices.hear(voice, crate::clock::mono()));
    if !two {
        return Ok(());
    }
    tracing::error!(node = %name, from = origin.from, "two machines run as this node; it is quarantined");
    app.core.change(|view| {
        let edits = vec![keys::quarantine(&current(view, member)?, origin.at)];
        let text =
            format!("two machines run as node {name}, one of them at {}: neither is a member any more", origin.from);
        Ok(Plan { event: Some(origin.event("quarantine", text, &edits)), edits, answer: () })
    })?;
    Err(quarantined(name))
}

/// The refusal of a node in quarantine.
pub(super) fn quarantined(name: &NodeId) -> Problem {
    let what = format!("two machines run as node '{name}' or hold one key with it; it is in quarantine");
    Problem::new("M0264", Exit::Denied, what)
        .note("nothing was changed")
        .help("on the copy: stop meshd, meshctl leave, and join it under another name")
        .help(format!(
            "then: meshctl node release {name}, and meshctl node rotate-key {name}; or: meshctl node reset {name}"
        ))
}

/// What is wrong with nodes' identities, for `status`.
pub(super) fn findings(state: &Mesh) -> impl Iterator<Item = Finding> {
    let why = |node: &Arc<Node>| keys::why_quarantined(state, node);
    let cut_off = |what: String| format!("{what}; its guests are cut off from those of other nodes meanwhile");
    state.nodes.values().filter_map(why).map(move |(what, help)| Finding::new("M0286", cut_off(what), help))
}
