//! What operators ask.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::app::{App, blocking};
use super::core::{Plan, View};
use super::http::{APPLY_MAX, Answer, ENROLL_MAX, Json, OBJECT_MAX, Refused, body};
use super::{hub, identity, paths as sizes, stream};
use crate::api::API_VERSION;
use crate::api::admin::{
    Applied, Apply, AuditEvent, Events, ForeignConfig, MadeToken, Matrix, MeshStatus, NewToken, NodeLine, ObjectChange,
    Objects, Verb,
};
use crate::api::local::{Explanation, Finding};
use crate::api::objects::{Allowed, Any, Kind, Meta, Node, Object, Port, TokenSpec, TokenStatus};
use crate::api::problem::{Exit, Problem};
use crate::clock;
use crate::config::Period;
use crate::mgmt::state::{self, Edit, State as Stored};
use crate::mgmt::{
    audit, edit, enroll, foreign as foreign_peers, found, index, matrix as matrices, mtu_map, nodes, own_mtu, renames,
    rotation, slice as slices, token, told, validate,
};
use crate::node::concerns::Way;
use crate::node::detour;
use crate::node::explain::{self as explaining, ExplainError, Here, Target};
use crate::node::paths::{self, Own};
use crate::node::{explain_guests, may_hold};
use crate::table::Slice;
use crate::transport::server::{Caller, stopped};
use crate::types::{Mtu, NodeId, Version, Wall};

/// Longest life of a token, seconds: thirty days.
const TOKEN_LIFE_MAX: u64 = 30 * 86_400;
/// Objects that an entry about a deletion names in its sentence.
const ALONG: usize = 10;
/// Expired tokens are forgotten after this time.
const TOKEN_KEPT: Duration = Duration::from_hours(24 * 7);

fn kind_of(word: &str) -> Result<Kind, Problem> {
    state::kind(word).ok_or_else(|| {
        let words = Kind::ALL.map(Kind::word);
        let word: String = word.chars().take(40).collect();
        let problem = Problem::new("M0336", Exit::NotFound, format!("there is no kind '{word}'"));
        match crate::config::nearest(&word, words) {
            Some(near) => problem.help(format!("did you mean '{near}'?")),
            None => problem.help(format!("kinds: {}", words.join(", "))),
        }
    })
}

/// True while nodes had no time yet to come back to a server that has started anew.
fn early(app: &App) -> bool {
    clock::mono().since(app.started.0) < nodes::COMES_BACK
}

/// Adds what only the running server knows.
fn shown(app: &App, mut object: Any) -> Any {
    if let Any::Node(node) = &mut object {
        let joined = node.status.joined.is_some();
        let early = early(app);
        let status = &mut node.status;
        app.hub.with(&node.metadata.name, |seat| {
            status.acknowledged = seat.acknowledged;
            // Of one that had no time yet to come back nobody knows.
            let known = seat.streams > 0 || seat.seen.is_some() || seat.left || !early;
            status.connected = (joined && known).then_some(seat.streams > 0);
            status.left = joined && seat.left && seat.streams == 0;
            status.seen = seat.seen;
        });
    }
    object
}

/// `GET /v1/objects/{kind}`
///
/// # Errors
/// [`Refused`]
pub(super) async fn list(State(app): State<Arc<App>>, Path(kind): Path<String>) -> Answer<Objects> {
    let kind = kind_of(&kind)?;
    let items = app.core.view().index.state.list(kind).into_iter().map(|object| shown(&app, object)).collect();
    Ok(Json(Objects { api_version: API_VERSION.to_owned(), items }))
}

/// `GET /v1/objects/{kind}/{name}`
///
/// # Errors
/// [`Refused`]
pub(super) async fn get(State(app): State<Arc<App>>, Path((kind, name)): Path<(String, String)>) -> Answer<Any> {
    let kind = kind_of(&kind)?;
    let state = &app.core.view().index.state;
    let object = state.get(kind, &name).ok_or_else(|| validate::missing(state, "M0333", kind, &name))?;
    Ok(Json(shown(&app, object)))
}

/// Query of `PUT` and `DELETE`.
#[derive(Debug, Deserialize)]
pub(super) struct How {
    #[serde(default)]
    create: bool,
    #[serde(default)]
    cascade: bool,
    #[serde(default)]
    yes: bool,
    revision: Option<u64>,
}

/// `PUT /v1/objects/{kind}/{name}`
///
/// # Errors
/// [`Refused`]
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((kind, name)): Path<(String, String)>,
    Query(how): Query<How>,
    request: Body,
) -> Answer<Any> {
    let kind = kind_of(&kind)?;
    let object: Any = body(request, OBJECT_MAX).await?;
    if object.kind() != kind || object.name() != name {
        let what = format!("the path says {kind} '{name}', the object says {} '{}'", object.kind(), object.name());
        return Err(Problem::new("M0337", Exit::Invalid, what).note("nothing was changed").into());
    }
    let origin = app.origin(&caller);
    let done = blocking(&app, move |app| {
        app.core.change(|view| {
            let edit = edit::put_one(&view.index.state, object.clone(), how.create)?;
            validate::check(&view.index.state, std::slice::from_ref(&edit))?;
            if !how.yes {
                renames::check(&view.index.state, std::slice::from_ref(&edit))?;
            }
            let verb = if edit.before.is_some() { "update" } else { "create" };
            let edits = vec![edit];
            let changed = edits.iter().any(|edit| edit.before != edit.after);
            let event = changed.then(|| origin.event(verb, format!("{kind} {name}"), &edits));
            Ok(Plan { edits, event, answer: () })
        })?;
        app.core.view().index.state.get(kind, &name).ok_or_else(|| gone(kind, &name))
    });
    Ok(Json(shown(&app, done.await?)))
}

fn gone(kind: Kind, name: &str) -> Problem {
    Problem::new("M0333", Exit::NotFound, format!("{kind} '{name}' was written, and deleted by somebody else since"))
}

/// `DELETE /v1/objects/{kind}/{name}`: `?cascade=true` takes the ports of a node or network along.
///
/// # Errors
/// [`Refused`]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path((kind, name)): Path<(String, String)>,
    Query(how): Query<How>,
) -> Answer<Any> {
    let kind = kind_of(&kind)?;
    let origin = app.origin(&caller);
    let deleted = blocking(&app, move |app| {
        app.core.change(|view| {
            let state = &view.index.state;
            let edits = edit::delete(state, kind, &name, how.revision, how.cascade)?;
            validate::check(state, &edits)?;
            let object = state.get(kind, &name).ok_or_else(|| gone(kind, &name))?;
            let event = origin.event("delete", format!("{kind} {name}{}", along(&edits)), &edits);
            Ok(Plan { edits, event: Some(event), answer: object })
        })
    });
    Ok(Json(deleted.await?))
}

/// Names what goes with an object that is deleted.
fn along(edits: &[Edit]) -> String {
    let gone = |edit: &Edit| edit.before.as_ref().map(|object| object.name().to_owned());
    let (_, ports) = edits.split_last().map_or((None, edits), |(last, rest)| (Some(last), rest));
    let names: Vec<String> = ports.iter().filter_map(gone).take(ALONG).collect();
    match (names.is_empty(), ports.len().saturating_sub(ALONG)) {
        (true, _) => String::new(),
        (false, 0) => format!(", with its ports {}", names.join(", ")),
        (false, more) => format!(", with its ports {} and {more} more", names.join(", ")),
    }
}

/// `POST /v1/apply`
///
/// # Errors
/// [`Refused`]
pub(super) async fn apply(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Body,
) -> Answer<Applied> {
    let asked: Apply = body(request, APPLY_MAX).await?;
    let origin = app.origin(&caller);
    let changes = blocking(&app, move |app| {
        app.core.change(|view| {
            let edits = edit::apply(&view.index.state, asked.items.clone())?;
            validate::check(&view.index.state, &edits)?;
            if !asked.yes && !asked.dry_run {
                renames::check(&view.index.state, &edits)?;
            }
            let answer: Vec<ObjectChange> = edits.iter().filter_map(object_change).collect();
            let changed = edits.iter().filter(|edit| edit.before != edit.after).count();
            if asked.dry_run || changed == 0 {
                return Ok(Plan { edits: Vec::new(), event: None, answer });
            }
            let edits: Vec<_> = edits.into_iter().filter(|edit| edit.before != edit.after).collect();
            let event = origin.event("apply", format!("{changed} objects"), &edits);
            Ok(Plan { edits, event: Some(event), answer })
        })
    });
    Ok(Json(Applied { changes: changes.await? }))
}

fn object_change(edit: &Edit) -> Option<ObjectChange> {
    let object = edit.object()?;
    let change = audit::verb(edit);
    let (kind, name) = (object.kind(), object.name().to_owned());
    // What did not change is not worth its weight twice.
    let (before, after) = match change {
        Verb::Unchanged => (None, None),
        Verb::Create | Verb::Update | Verb::Delete => (edit.before.clone(), edit.after.clone()),
    };
    Some(ObjectChange { kind, name, change, before, after })
}

/// `POST /v1/tokens`
///
/// # Errors
/// [`Refused`]
pub(super) async fn make_token(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Body,
) -> Answer<MadeToken> {
    let asked: NewToken = body(request, ENROLL_MAX).await?;
    check_token(&asked)?;
    let origin = app.origin(&caller);
    let made = blocking(&app, move |app| {
        let (object, made) = token_of(app, &asked, origin.at);
        app.core.change(|view| {
            if asked.replace {
                let node = node_of(view, &asked.name_pattern)?;
                enroll::replaceable(&node, &asked.pdc).map_err(|error| error.problem())?;
            }
            let mut edits = vec![Edit::create(object.clone())];
            validate::check(&view.index.state, &edits)?;
            edits.extend(stale_tokens(view, origin.at));
            let place =
                if asked.replace { format!("; it replaces node {}", asked.name_pattern) } else { String::new() };
            let text = format!("token {} for PDC {}{place}", made.id, asked.pdc);
            let event = origin.event("token", text, &edits);
            Ok(Plan { edits, event: Some(event), answer: () })
        })?;
        Ok(made)
    });
    Ok(Json(made.await?))
}

/// A new token: the object for the store, and the answer with its secret.
pub(super) fn token_of(app: &App, asked: &NewToken, now: Wall) -> (Any, MadeToken) {
    let secret = zeroize::Zeroizing::new(clock::random::<32>());
    let made = token::make(clock::random(), &secret, &app.addresses, &app.authority.pin());
    // Whole seconds, as it is stored and sent: nobody sees it end at another moment than the server.
    let expires = Wall::from_secs(now.as_secs().saturating_add(asked.ttl_seconds));
    let spec = TokenSpec {
        pdc: asked.pdc.clone(),
        name_pattern: asked.name_pattern.clone(),
        uses: asked.uses,
        expires,
        replace: asked.replace,
    };
    let status = TokenStatus { secret_hash: made.secret_hash, used: Vec::new() };
    let metadata = Meta { name: made.id.clone(), labels: Default::default(), revision: None };
    (Any::Token(Object { metadata, spec, status }), MadeToken { id: made.id, token: made.text.to_string(), expires })
}

fn check_token(asked: &NewToken) -> Result<(), Problem> {
    let pattern = &asked.name_pattern;
    let plain = pattern.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '*'));
    let (what, help) = if pattern.is_empty() || pattern.len() > 63 || !plain {
        (
            "a name pattern has 1 to 63 of a-z, 0-9, '-' and '*'".to_owned(),
            "for any name leave it out; for some: --name 'web-*'",
        )
    } else if !(1..=10_000).contains(&asked.uses) {
        (format!("a token has 1 to 10000 uses, not {}", asked.uses), "for one machine: --uses 1")
    } else if asked.replace && asked.uses != 1 {
        ("one machine takes the place of a node: such a token has one use".to_owned(), "leave out --uses")
    } else if !(1..=TOKEN_LIFE_MAX).contains(&asked.ttl_seconds) {
        let ttl = Period(Duration::from_secs(asked.ttl_seconds));
        (format!("a token lives 1 second to 30 days, not {ttl}"), "for the longest: --ttl 30d")
    } else {
        return Ok(());
    };
    Err(Problem::new("M0259", Exit::Invalid, what).note("nothing was changed").help(help))
}

/// Tokens that ended so long ago that nobody asks about them.
fn stale_tokens(view: &View, now: Wall) -> Vec<Edit> {
    let stale = view.index.state.tokens.values().filter(|token| token.spec.expires + TOKEN_KEPT < now);
    stale.map(|token| Edit::delete(Any::Token(token.as_ref().clone()))).collect()
}

/// A node, or the problem that there is none.
fn node_of(view: &View, name: &str) -> Result<Arc<Node>, Problem> {
    let state = &view.index.state;
    let found = name.parse::<NodeId>().ok().and_then(|id| state.nodes.get(&id).cloned());
    found.ok_or_else(|| validate::missing(state, "M0333", Kind::Node, name))
}

/// `GET /v1/slice/{node}`
///
/// # Errors
/// [`Refused`]
pub(super) async fn slice(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<Slice> {
    let slice = blocking(&app, move |app| {
        let view = app.core.view();
        let node = node_of(&view, &name)?;
        let slice = slices::build(&view.index, &node.metadata.name, view.version, None);
        slice.ok_or_else(|| gone(Kind::Node, &name))
    });
    Ok(Json(slice.await?))
}

/// `GET /v1/matrix`
///
/// # Errors
/// [`Refused`]
pub(super) async fn matrix(State(app): State<Arc<App>>) -> Answer<Matrix> {
    Ok(Json(blocking(&app, |app| Ok(matrices::matrix(&app.core.view().index))).await?))
}

/// Query of `GET /v1/explain`.
#[derive(Debug, Deserialize)]
pub(super) struct Between {
    from: String,
    to: String,
}

/// `GET /v1/explain?from=PORT&to=TARGET`, as the sending port's node would explain it.
///
/// # Errors
/// [`Refused`]
pub(super) async fn explain(State(app): State<Arc<App>>, Query(between): Query<Between>) -> Answer<Explanation> {
    Ok(Json(blocking(&app, move |app| explain_on(app, &app.core.view(), &between)).await?))
}

fn explain_on(app: &App, view: &View, between: &Between) -> Result<Explanation, Problem> {
    let state = &view.index.state;
    let from: Target = between.from.parse().map_err(|e: String| Problem::new("M0338", Exit::Invalid, e))?;
    let to: Target = between.to.parse().map_err(|e: String| Problem::new("M0338", Exit::Invalid, e))?;
    let missing = || {
        let all: Vec<Finding> = state.nodes.keys().flat_map(|node| told_of(app, view, node)).collect();
        let known = explain_guests::in_use(&from, &all).map(Problem::from).or_else(|| undeclared(state, &from, &to));
        known.unwrap_or_else(|| validate::missing(state, "M0333", Kind::Port, &between.from))
    };
    let port = port_from(state, &from).ok_or_else(missing)?;
    let node = node_of(view, port.spec.node.as_str())?;
    let slice = slices::build(&view.index, &port.spec.node, view.version, None);
    let slice = slice.ok_or_else(|| gone(Kind::Node, port.spec.node.as_str()))?;
    let end = index::end(&node);
    let own = Own { admin: end.admin, external: end.external };
    let facts = node.status.facts.as_ref();
    let [admin_mtu, external_mtu]: [Option<Mtu>; 2] = [facts.map(|f| f.admin_mtu), facts.map(|f| f.external_mtu)];
    let mut paths = paths::decide_all(&slice, own);
    let says = told_of(app, view, &port.spec.node);
    if sizes::wishes(view, &node) {
        detour::take(&slice, &mut paths, &detour::told(&says));
    }
    let (far, measured) = sizes::known(app, view, &node, &slice);
    let (far, measured) = (&far, &measured);
    let here = Here { slice: &slice, paths: &paths, own, admin_mtu, external_mtu, far, measured, live: None };
    known(state, &slice, &to)?;
    let mut explanation = explaining::explain(here, &from, &to).map_err(Problem::from)?;
    if let Some(way) = Way::of(&explanation, &slice, &paths, to.family()) {
        // What both nodes have told, and what is so of them here.
        let told = |node: &NodeId| told_of(app, view, node);
        let there = way.to.map(|(_, row)| told(&row.node)).unwrap_or_default();
        let away = |node: &NodeId| {
            let of = |seat: &mut hub::Seat| if seat.streams > 0 { seat.away.clone() } else { Vec::new() };
            app.hub.with(node, of)
        };
        let unplugged = way.to.map(|(_, row)| away(&row.node)).unwrap_or_default();
        explain_guests::add_away(&mut explanation, &way, &away(&slice.node), &unplugged);
        explain_guests::add_told(&mut explanation, &way, &says, &there);
        if explanation.mac.is_none() {
            let members = slice.networks.get(&way.net).map(|network| network.members.keys()).into_iter().flatten();
            let all: Vec<Finding> = members.chain([&slice.node]).flat_map(told).collect();
            explain_guests::add_users(&mut explanation, &way.net, &to, &all);
        }
    }
    Ok(explanation)
}

/// The port that a sender is, or is behind; where several have an address, the one whose own it is.
fn port_from<'a>(state: &'a Stored, from: &Target) -> Option<&'a Port> {
    let all = || state.ports.values().map(AsRef::as_ref);
    let nested = |port: &Port, is: &dyn Fn(&Allowed) -> bool| port.spec.allowed.iter().any(is);
    match from {
        Target::Port(id) => state.ports.get(id).map(AsRef::as_ref),
        Target::Mac(mac) => all()
            .find(|port| port.spec.mac == *mac)
            .or_else(|| all().find(|port| nested(port, &|allowed| allowed.mac == Some(*mac)))),
        Target::Ip(ip) => all()
            .find(|port| port.spec.ips.contains(ip))
            .or_else(|| all().find(|port| nested(port, &|allowed| allowed.ip == *ip))),
    }
}

/// Who may send from an IP address that no port declares, if somebody may.
fn undeclared(state: &Stored, from: &Target, to: &Target) -> Option<Problem> {
    let Target::Ip(ip) = from else { return None };
    let holds = |port: &Port| {
        let network = state.networks.get(&port.spec.network);
        network.is_some_and(|network| network.spec.cidr.is_empty() || network.spec.cidr.iter().any(|c| c.contains(*ip)))
    };
    let any = |port: &Port| port.spec.ips.is_empty() && port.spec.floating().next().is_none();
    let all = state.ports.values().filter(|port| any(port) && holds(port));
    let all: Vec<_> = all.map(|port| (Target::Port(port.metadata.name.clone()), port.spec.node.to_string())).collect();
    let (what, help) = may_hold::asked(from, to, &all, None);
    (!all.is_empty()).then(|| ExplainError::Undeclared { what, help }.into())
}

/// A port that is asked for exists, declared or found by its node.
fn known(state: &Stored, slice: &Slice, to: &Target) -> Result<(), Problem> {
    let Target::Port(port) = to else { return Ok(()) };
    let found = || slice.rows.values().any(|row| row.port.as_ref() == Some(port));
    if state.ports.contains_key(port) || found() {
        return Ok(());
    }
    Err(validate::missing(state, "M0333", Kind::Port, port.as_str()))
}

/// What is known to be wrong with a node: what it has told, and how it stands here.
fn told_of(app: &App, view: &View, node: &NodeId) -> Vec<Finding> {
    let Some(node) = view.index.state.nodes.get(node) else { return Vec::new() };
    let line = line(app, view, node);
    let stands = nodes::stands(&line, app.started.1);
    // What a node said before it went away is not what is so now.
    let told = if line.connected { app.hub.with(&line.node, |seat| seat.told.findings()) } else { Vec::new() };
    let says = |finding: Finding| Finding { what: format!("{} says: {}", line.node, finding.what), ..finding };
    stands.into_iter().chain(told.into_iter().map(says)).collect()
}

/// `GET /v1/status`
///
/// # Errors
/// [`Refused`]
pub(super) async fn status(State(app): State<Arc<App>>) -> Answer<MeshStatus> {
    let view = app.core.view();
    let state = &view.index.state;
    let objects = Kind::ALL.into_iter().map(|kind| (kind, state.count(kind))).collect();
    let nodes: Vec<NodeLine> = state.nodes.values().map(|node| line(&app, &view, node)).collect();
    // What a node said before it went away is not what is so now; of one in quarantine it is the last that is known.
    let here = nodes.iter().filter(|node| node.connected || node.quarantined);
    let told = |node: &NodeLine| {
        let findings = app.hub.with(&node.node, |seat| seat.told.findings());
        if node.quarantined { findings.into_iter().map(told::before_quarantine).collect() } else { findings }
    };
    let findings: Vec<_> = here.map(|node| (&node.node, told(node))).collect();
    let daemon = env!("CARGO_PKG_VERSION").to_owned();
    let wrong: Vec<(&NodeId, Finding)> =
        nodes.iter().filter_map(|node| Some((&node.node, nodes::wrong(node, app.started.1)?))).collect();
    let away = wrong.iter().filter(|(_, finding)| finding.code == "M0107").map(|(node, _)| (*node).clone()).collect();
    let mut problems: Vec<Finding> = wrong.into_iter().map(|(_, finding)| finding).collect();
    problems.extend(blocking(&app, |app| Ok(app.room.as_ref().and_then(|room| room.finding(clock::mono())))).await?);
    problems.extend(sizes::with_known(&app, |known| mtu_map::findings(&view.index, known, early(&app))));
    let own = nodes.iter().filter(|node| node.connected && !node.quarantined);
    let own = own.filter_map(|node| Some((node.node.clone(), app.hub.with(&node.node, |seat| seat.own_mtu)?)));
    problems.extend(own_mtu::findings(&view.index, &own.collect()));
    problems.extend(found::findings(&view.index));
    problems.extend(validate::interface_findings(state));
    problems.extend(app.loose.findings());
    problems.extend(identity::findings(state));
    problems.extend(app.key_age.iter().flat_map(|age| rotation::stuck(&view.index, *age, clock::wall())));
    problems.extend(app.hub.ahead().into_iter().map(|(node, theirs)| set_back(&node, theirs, view.version)));
    let heard = nodes.iter().filter(|node| node.connected && !node.quarantined).map(|node| node.node.clone()).collect();
    problems.extend(told::of_mesh(findings.iter().map(|(node, findings)| (*node, findings.as_slice())), &heard, &away));
    Ok(Json(MeshStatus { daemon, version: view.version, objects, nodes, problems }))
}

fn set_back(node: &NodeId, theirs: Version, ours: Version) -> Finding {
    Finding::new(
        "M0711",
        format!("node {node} has seen version {theirs}, this store is at {ours} and was set back"),
        "stop meshmgr, put a backup back with meshmgr restore FILE, start it",
    )
}

fn line(app: &App, view: &View, node: &Node) -> NodeLine {
    let name = &node.metadata.name;
    let in_sync = app.hub.in_sync(name, view);
    let (connected, seen, acknowledged, left, unreported) =
        app.hub.with(name, |seat| (seat.streams > 0, seat.seen, seat.acknowledged, seat.left, seat.unreported));
    let silent = node.status.joined.is_some() && !connected && seen.is_none() && !left;
    NodeLine {
        node: name.clone(),
        pdc: node.spec.pdc.clone(),
        foreign: node.spec.foreign.is_some(),
        joined: node.status.joined,
        quarantined: node.status.quarantined.is_some(),
        left: left && !connected,
        connected,
        unreported: connected && unreported,
        seen,
        acknowledged,
        in_sync: connected && in_sync,
        expected: silent && early(app),
        changing: app.hub.changing(name, view, clock::mono()),
        daemon: node.status.facts.as_ref().map(|facts| facts.version.clone()),
    }
}

/// Query of `GET /v1/events`.
#[derive(Debug, Deserialize)]
pub(super) struct Follow {
    #[serde(default)]
    follow: bool,
}

/// `GET /v1/events`; with `?follow=true` one entry a line, without end.
///
/// # Errors
/// [`Refused`]
pub(super) async fn events(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(how): Query<Follow>,
) -> Result<Response, Refused> {
    let seen = app.core.view().version.revision;
    let items = blocking(&app, |app| app.core.events()).await?;
    if !how.follow {
        return Ok(Json(Events { items }).into_response());
    }
    let (writer, body) = stream::lines();
    tokio::spawn(follow(Arc::clone(&app), items, seen, caller.ends(), writer));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

async fn follow(app: Arc<App>, items: Vec<AuditEvent>, mut seen: u64, ends: Wall, writer: stream::Writer) {
    let (mut views, mut stop) = (app.core.watch(), app.stop.clone());
    for item in &items {
        if !writer.line(item).await {
            return;
        }
    }
    loop {
        let from = seen;
        seen = views.borrow_and_update().version.revision;
        let Ok(changes) = blocking(&app, move |app| app.core.changes(from)).await else { return };
        let new = changes.into_iter().filter(|change| change.key.starts_with(audit::PREFIX) && change.revision <= seen);
        for event in new.filter_map(|change| serde_json::from_slice::<AuditEvent>(&change.value?).ok()) {
            if !items.contains(&event) && !writer.line(&event).await {
                return;
            }
        }
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = writer.closed() => return,
            () = stopped(&mut stop) => return,
            () = stream::over(|| ends) => return,
        }
    }
}

/// `GET /v1/nodes/{name}/foreign`
///
/// # Errors
/// [`Refused`]
pub(super) async fn foreign(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<ForeignConfig> {
    let config = blocking(&app, move |app| {
        let view = app.core.view();
        let node = node_of(&view, &name)?;
        let slice = slices::build(&view.index, &node.metadata.name, view.version, Some(&app.psk));
        slice.and_then(|slice| foreign_peers::config(&view.index, &slice)).ok_or_else(|| {
            Problem::new(
                "M0339",
                Exit::Invalid,
                format!("node '{name}' runs meshd; only a foreign peer is set up by hand"),
            )
        })
    });
    Ok(Json(config.await?))
}
