//! What becomes of nodes' identities while they are members: WireGuard keys that change, and two machines that are one node.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};

use super::app::{App, Member, blocking};
use super::core::Plan;
use super::http::{Answer, Json};
use super::members::current;
use crate::api::objects::{Any, Kind, Node};
use crate::api::problem::{Exit, Problem, printable};
use crate::mgmt::audit::Origin;
use crate::mgmt::clones::Voice;
use crate::mgmt::index::Index;
use crate::mgmt::state::Edit;
use crate::mgmt::{rotation, validate};
use crate::transport::server::Caller;
use crate::types::{NodeId, PublicKey};

/// How often the schedule is looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Asks nodes with old keys for new ones, until the server stops.
pub(super) async fn run(app: Arc<App>, age: Duration) {
    let mut stop = app.stop.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = crate::transport::server::stopped(&mut stop) => return,
        }
        let asked = blocking(&app, move |app| {
            let now = crate::clock::wall();
            app.core.change(|view| {
                let due = rotation::due(&view.index, age, now);
                let names: Vec<&str> = due.iter().map(|node| node.metadata.name.as_str()).collect();
                let text = format!("WireGuard key of {}: it is {} days old", names.join(", "), age.as_secs() / 86_400);
                let edits: Vec<Edit> = due.iter().filter_map(|node| rotation::ask(&view.index, node).ok()).collect();
                let origin = Origin { who: "meshmgr".to_owned(), from: "here".to_owned(), at: now };
                let event = (!edits.is_empty()).then(|| origin.event("rotate-key", text, &edits));
                Ok(Plan { edits, event, answer: () })
            })
        });
        if let Err(problem) = asked.await {
            tracing::error!(%problem, "cannot ask for new keys");
        }
    }
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
    decide(&app, &caller, name, "release", |app, _, node| {
        let name = &node.metadata.name;
        if node.status.quarantined.is_none() {
            let what = format!("node '{name}' is not in quarantine");
            return Err(Problem::new("M0263", Exit::Conflict, what).note("nothing was changed"));
        }
        app.hub.with(name, |seat| seat.voices.forget());
        let mut released = node.clone();
        released.status.quarantined = None;
        Ok((Edit::update(Any::Node(node.clone()), Any::Node(released)), format!("node {name} is out of quarantine")))
    })
    .await
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

/// Takes what a node reports of its keys. A key that is refused does not keep the rest of its report out. Blocks.
///
/// # Errors
/// A [`Problem`] of the store.
pub(super) fn take_keys(
    app: &App,
    member: &Member,
    (next, in_use): (Option<PublicKey>, Option<PublicKey>),
    origin: &Origin,
) -> Result<(), Problem> {
    let name = &member.node;
    if let Some(key) = next {
        let refused = app.core.change(|view| {
            let node = current(view, member)?;
            let (edits, answer) = match rotation::propose(&view.index, &node, key) {
                Ok(edit) => (edit.into_iter().collect::<Vec<_>>(), None),
                Err(error) => (Vec::new(), Some(error)),
            };
            let text = format!("node {name} has a new WireGuard key; peers take both");
            let event = (!edits.is_empty()).then(|| origin.event("key-proposed", text, &edits));
            Ok(Plan { edits, event, answer })
        })?;
        if let Some(error) = refused {
            app.note_of(name, origin.event("key-refused", printable(&error.to_string()), &[]));
        }
    }
    let Some(key) = in_use else { return Ok(()) };
    app.core.change(|view| {
        let edits: Vec<Edit> = rotation::switch(&current(view, member)?, key, origin.at).into_iter().collect();
        let text = format!("node {name} uses its new WireGuard key with every peer; the old one is gone");
        let event = (!edits.is_empty()).then(|| origin.event("key-changed", text, &edits));
        Ok(Plan { edits, event, answer: () })
    })
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
        let node = current(view, member)?;
        let mut caught = node.clone();
        caught.status.quarantined = Some(node.status.quarantined.unwrap_or(origin.at));
        let edits = vec![Edit::update(Any::Node(node), Any::Node(caught))];
        let text =
            format!("two machines run as node {name}, one of them at {}: neither is a member any more", origin.from);
        Ok(Plan { event: Some(origin.event("quarantine", text, &edits)), edits, answer: () })
    })?;
    Err(quarantined(name))
}

/// The refusal of a node in quarantine.
pub(super) fn quarantined(name: &NodeId) -> Problem {
    Problem::new("M0264", Exit::Denied, format!("two machines run as node '{name}'; it is in quarantine"))
        .note("nothing was changed")
        .help("on the copy: stop meshd, meshctl leave, and join it under another name")
        .help(format!("then: meshctl node release {name}, and meshctl node rotate-key {name}"))
}
