//! What machines ask: to be let in, to renew, for their slice, and to report.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::answers::Answers;
use super::app::{App, Member, blocking};
use super::core::{Plan, View};
use super::http::{Answer, ENROLL_MAX, Json, REPORT_MAX, Refused, said};
use super::stream::{self, Resume};
use super::{claims, identity};
use crate::api::enroll::{EnrollAnswer, EnrollRequest, RenewAnswer, RenewRequest};
use crate::api::heard::Heard;
use crate::api::objects::{Any, Node, NodeFacts};
use crate::api::problem::{Exit, Problem, clip, printable};
use crate::api::proof::{Challenge, Proof};
use crate::api::stream::{AWAY, Report};
use crate::mgmt::audit::Origin;
use crate::mgmt::certs::{self, CertError};
use crate::mgmt::clones::Voice;
use crate::mgmt::facts::{self, FactsError};
use crate::mgmt::index::Index;
use crate::mgmt::possession::{self, Claim, Statement};
use crate::mgmt::state::Edit;
use crate::mgmt::{enroll as decisions, interfaces, keys, limits, mtus, slice as slices};
use crate::transport::server::Caller;
use crate::types::{NodeId, PdcId, PublicKey, SecretKey, Version, Wall};

fn cert_problem(error: &CertError) -> Problem {
    let problem = Problem::new("M0258", Exit::Invalid, error.to_string());
    problem.note("nothing was changed").help("meshctl join makes a new key and request")
}

/// `POST /v1/enroll`
///
/// # Errors
/// [`Refused`]: each refusal has its own code, M0244 to M0258.
pub(super) async fn enroll(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Body,
) -> Answer<EnrollAnswer> {
    let Heard { said: asked, unknown } = said::<EnrollRequest>(request, ENROLL_MAX).await?;
    // The queue for strangers: their signatures and disk writes never crowd out the members.
    let _place = app.enrolling.acquire().await.map_err(|_| {
        Problem::new("M0112", Exit::Unreachable, "the management server is stopping")
            .note("nothing was changed")
            .help("ask again in a moment")
    })?;
    let answer = blocking(&app, move |app| admit(app, &caller, &asked)).await?;
    // Only now: strangers can say what they like.
    app.name(&answer.name, "enrolment", &unknown);
    Ok(Json(answer))
}

fn admit(app: &App, caller: &Caller, asked: &EnrollRequest) -> Result<EnrollAnswer, Problem> {
    let token: String = asked.token.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    let origin = Origin { who: format!("token/{token}"), ..app.origin(caller) };
    let done = write_admission(app, asked, &origin);
    if let Err(problem) = &done {
        let source = caller.address.ip();
        if let Some(kept_back) = app.may_log(source) {
            tracing::warn!(from = origin.from, node = %asked.name, token, code = problem.code, kept_back, "enrolment refused");
        }
        if let Some(kept_back) = app.may_note(source) {
            let more = if kept_back > 0 { format!("; {kept_back} more were not noted") } else { String::new() };
            let text = format!("node {} refused: {}{more}", asked.name, clip(&printable(&problem.what)));
            app.note(origin.event("enroll-refused", text, &[]));
        }
    }
    done
}

fn write_admission(app: &App, asked: &EnrollRequest, origin: &Origin) -> Result<EnrollAnswer, Problem> {
    let key = certs::Request::read(&asked.csr).map_err(|e| cert_problem(&e))?;
    let said = Statement { node: &asked.name, tls_key: key.key_hash(), claim: Claim::Join };
    let proved = possession::shown(&app.psk, &asked.proofs, said, &asked.public_key, origin.at);
    let (pdc, clash, replaced) = app.core.change(|view| {
        let admission = decisions::decide(&view.index.state, asked, (&key, proved), origin, &app.tunnel_prefix)
            .map_err(|error| error.problem())?;
        let event = (!admission.again).then(|| match &admission.clash {
            Some(other) => identity::caught(origin, &asked.name, other, &admission.edits),
            None => {
                let after = Index::new(Arc::new(view.index.state.after(&admission.edits)));
                let moved = mtus::moved(&view.index, &after);
                let how =
                    if admission.replaced { " in the place of another machine, whose keys are taken back" } else { "" };
                let text = format!("node {} joined PDC {}{how}{moved}", asked.name, admission.pdc);
                origin.event("enroll", text, &admission.edits)
            }
        });
        Ok(Plan { edits: admission.edits, event, answer: (admission.pdc, admission.clash, admission.replaced) })
    })?;
    if let Some(other) = clash {
        tracing::error!(node = %asked.name, %other, from = origin.from, "one WireGuard key, proved by two; both are quarantined");
        return Err(keys::clash(&asked.name, &other));
    }
    if replaced {
        // What is known of the machine before is not so of this one.
        app.hub.forget(&asked.name);
    }
    // Signing comes last: whoever gets a certificate is in the store, and asking again signs again.
    let certificate = sign(app, key, &asked.name, &pdc)?;
    tracing::info!(node = %asked.name, %pdc, from = origin.from, "enrolled");
    let view = app.core.view();
    let slice = slices::build(&view.index, &asked.name, view.version, Some(&app.psk));
    let slice = slice.ok_or_else(|| Problem::new("M0254", Exit::Denied, "the node was removed meanwhile"))?;
    let ca = app.authority.certificate().to_owned();
    Ok(EnrollAnswer { name: asked.name.clone(), pdc, certificate, ca, slice })
}

fn sign(app: &App, key: certs::Request, node: &NodeId, pdc: &PdcId) -> Result<String, Problem> {
    app.authority.node(key, node, pdc, crate::clock::wall(), crate::clock::random()).map_err(|e| cert_problem(&e))
}

/// `GET /v1/challenge`: what the asking machine proves possession of its keys against. Nothing is kept of it.
///
/// # Errors
/// None.
pub(super) async fn challenge(State(app): State<Arc<App>>) -> Answer<Challenge> {
    Ok(Json(
        blocking(&app, |app| Ok(possession::challenge(&app.psk, crate::clock::wall(), crate::clock::random()))).await?,
    ))
}

/// `POST /v1/renew`: for the same key, or for a new one, which counts beside the old until it is first used. A new one needs a
/// proof with the WireGuard key: else who has stolen a TLS key would go on with one of its own.
///
/// # Errors
/// [`Refused`]
pub(super) async fn renew(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Body,
) -> Answer<RenewAnswer> {
    let member = app.member(&caller)?;
    let _turn = app.hub.turn(&member.node).lock_owned().await;
    let Heard { said: asked, unknown } = said::<RenewRequest>(request, ENROLL_MAX).await?;
    app.name(&member.node, "renewal", &unknown);
    app.pace(&member.node).await;
    let certificate = blocking(&app, move |app| {
        let key = certs::Request::read(&asked.csr).map_err(|e| cert_problem(&e))?;
        let origin = app.origin(&caller);
        let claim = Claim::Renew(key.key_hash());
        let judge = Judge::new(app, &member, &asked.proofs, origin.at);
        let pdc = app.core.change(|view| {
            let node = current(view, &member)?;
            if key.key_hash() != member.key && !judge.by_node(&node, claim) {
                let what = format!("the new TLS key of node '{}' is not proved with its WireGuard key", member.node);
                return Err(keys::unproved(what));
            }
            Ok(renewal(node, &member, key.key_hash(), &origin))
        });
        if let Err(problem) = &pdc {
            app.note_of(&member.node, origin.event("renew-refused", printable(&problem.what), &[]));
        }
        let certificate = sign(app, key, &member.node, &pdc?)?;
        let ends = certs::validity_of_pem(&certificate).map_or_else(|_| Wall::default(), |(_, ends)| ends);
        app.hub.with(&member.node, |seat| seat.certified = seat.certified.max(ends));
        Ok(certificate)
    });
    Ok(Json(RenewAnswer { certificate: certificate.await? }))
}

fn renewal(node: Node, member: &Member, key: &str, origin: &Origin) -> Plan<PdcId> {
    let pdc = node.spec.pdc.clone();
    let edits = if key == member.key {
        Vec::new()
    } else {
        let mut renewed = node.clone();
        renewed.status.next_tls_key = Some(key.to_owned());
        vec![Edit::update(Any::Node(node), Any::Node(renewed))]
    };
    let event = origin.event("renew", format!("certificate of node {}", member.node), &edits);
    Plan { edits, event: Some(event), answer: pdc }
}

/// The node as it is now, if it is still a member. A request that began before it was none ends here.
///
/// # Errors
/// M0802, M0264.
pub(super) fn current(view: &View, member: &Member) -> Result<Node, Problem> {
    let node = view.index.state.nodes.get(&member.node).filter(|_| stream::is_member(view, &member.node, &member.key));
    let gone = || Problem::new("M0802", Exit::Denied, format!("node '{}' is no member any more", member.node));
    let node = node.ok_or_else(gone)?;
    match node.status.quarantined {
        Some(_) => Err(identity::quarantined(&member.node)),
        None => Ok(node.as_ref().clone()),
    }
}

/// What a member has proved with a message.
pub(super) struct Judge<'a> {
    secret: &'a SecretKey,
    member: &'a Member,
    proofs: &'a [Proof],
    now: Wall,
}

impl<'a> Judge<'a> {
    pub(super) const fn new(app: &'a App, member: &'a Member, proofs: &'a [Proof], now: Wall) -> Self {
        Self { secret: &app.psk, member, proofs, now }
    }

    /// Has it said this with this key?
    pub(super) fn by(&self, key: &PublicKey, claim: Claim<'_>) -> bool {
        let said = Statement { node: &self.member.node, tls_key: &self.member.key, claim };
        possession::shown(self.secret, self.proofs, said, key, self.now)
    }

    /// Has it said this with the node's key in force, or with the next one?
    fn by_node(&self, node: &Node, claim: Claim<'_>) -> bool {
        let keys = [node.status.public_key, node.status.next_public_key];
        keys.into_iter().flatten().any(|key| self.by(&key, claim))
    }
}

/// A node that comes with its next key has left its old one.
fn promote(app: &App, member: &Member, origin: &Origin) -> Result<(), Problem> {
    let is_next = |node: &Node| node.status.next_tls_key.as_deref() == Some(member.key.as_str());
    if !app.core.view().index.state.nodes.get(&member.node).is_some_and(|node| is_next(node)) {
        return Ok(());
    }
    app.core.change(|view| {
        let node = current(view, member)?;
        let mut promoted = node.clone();
        promoted.status.tls_key = Some(member.key.clone());
        promoted.status.next_tls_key = None;
        let edits = vec![Edit::update(Any::Node(node), Any::Node(promoted))];
        let event = origin.event("renew", format!("node {} uses its new key", member.node), &edits);
        Ok(Plan { edits, event: Some(event), answer: () })
    })
}

/// Query of `GET /v1/slice`.
#[derive(Debug, Deserialize)]
pub(super) struct From {
    #[serde(default)]
    incarnation: u64,
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    hash: String,
    /// Which run of `meshd` asks, and for the how-manieth time.
    instance: Option<u64>,
    #[serde(default)]
    connection: u64,
    /// It answers in the body of this request.
    #[serde(default)]
    answers: bool,
}

/// `GET /v1/slice`: the stream.
///
/// # Errors
/// [`Refused`]
pub(super) async fn slice(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Query(from): Query<From>,
    request: Body,
) -> Result<Response, Refused> {
    let member = app.member(&caller)?;
    app.pace(&member.node).await;
    let promoting = member.clone();
    let origin = app.origin(&caller);
    // Who does not say which run it is counts as one that is always the same: a thief who only looks is a second one, too.
    let voice = Voice { instance: from.instance.unwrap_or_default(), connection: from.connection };
    blocking(&app, move |app| {
        promote(app, &promoting, &origin)?;
        identity::hear(app, &promoting, voice, &origin)
    })
    .await?;
    let version = Version { incarnation: from.incarnation, revision: from.revision };
    let may = app.hub.with(&member.node, |seat| seat.logged.may(limits::OF_MEMBER, crate::clock::mono()));
    if let Some(kept_back) = may {
        tracing::info!(node = %member.node, from = %caller.address, %version, kept_back, "follows");
    }
    let (writer, body) = stream::lines();
    // What is no hash names nothing, and is not kept for as long as the stream lives.
    let hash = if from.hash.len() <= limits::HASH_BYTES { from.hash } else { String::new() };
    let resume = Resume { version, hash };
    let ways = (writer, Answers::new(from.answers, request));
    tokio::spawn(stream::run(Arc::clone(&app), (member.node, member.key), caller.ends(), resume, ways));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// `POST /v1/report`
///
/// # Errors
/// [`Refused`]
pub(super) async fn report(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Body,
) -> Answer<Value> {
    let member = app.member(&caller)?;
    let _turn = app.hub.turn(&member.node).lock_owned().await;
    let Heard { said, unknown } = said::<Report>(request, REPORT_MAX).await?;
    app.name(&member.node, "report", &unknown);
    if (Report { applied: said.applied, ..Report::default() }) != said {
        app.pace(&member.node).await;
    }
    let origin = app.origin(&caller);
    blocking(&app, move |app| take_report(app, &member, said, &origin)).await?;
    Ok(Json(Value::Object(serde_json::Map::new())))
}

fn take_report(app: &App, member: &Member, said: Report, origin: &Origin) -> Result<(), Problem> {
    promote(app, member, origin)?;
    app.hub.with(&member.node, |seat| {
        seat.seen = Some(origin.at);
        // What a node says of versions from elsewhere is its own affair; only ours are remembered.
        let now = app.core.view().version;
        seat.acknowledged = said.applied.filter(|applied| *applied <= now).or(seat.acknowledged);
    });
    // What is wrong with one part of a report takes nothing from the others.
    let judge = Judge::new(app, member, &said.proofs, origin.at);
    let shown = |claim: Claim<'_>| current(&app.core.view(), member).is_ok_and(|node| judge.by_node(&node, claim));
    if said.leaving {
        take_leave(app, &member.node, shown(Claim::Leaving), origin);
    }
    if let Some(findings) = &said.findings {
        let proved = shown(Claim::Findings(findings));
        app.hub.with(&member.node, |seat| seat.told.hear(findings, proved));
    }
    let believed = said.facts.map_or(Ok(()), |new| take_facts(app, member, &new, &judge, origin));
    let keys = identity::take_keys(app, member, (said.next_key, said.key_in_use), &judge, origin);
    if let Some(own) = said.own_mtu {
        app.hub.with(&member.node, |seat| seat.own_mtu = Some(own));
    }
    if let Some(mut away) = said.away {
        away.truncate(AWAY);
        app.hub.with(&member.node, |seat| seat.away = away);
    }
    // Networks follow them: who has the TLS key alone moves none, and what the node itself said before stays.
    if let Some(paths) = said.paths.filter(|paths| shown(Claim::Paths(paths))) {
        app.measured().report(&app.core.view().index.state, &member.node, &paths, origin.at);
    }
    if said.ports.is_some() {
        // A body takes its time to come, and who sends it may be no member by now.
        current(&app.core.view(), member)?;
    }
    // Guests of other nodes are answered by them: who has the TLS key alone brings none, and takes none away.
    let ports = said.ports.filter(|ports| {
        let proved = shown(Claim::Ports(ports));
        if !proved && !ports.is_empty() {
            let text = format!(
                "{} guests found on node {}: said without proof of its WireGuard key",
                ports.len(),
                member.node
            );
            app.note_of(&member.node, origin.event("port-refused", text, &[]));
        }
        proved
    });
    if let Some(ports) = ports {
        claims::take(app, &member.node, &ports, origin)?;
    }
    believed.and(keys)
}

/// Notes that the machine of a node has left. Said without proof it may be a thief's word, or that of an earlier version, and counts for nothing.
fn take_leave(app: &App, node: &NodeId, proved: bool, origin: &Origin) {
    if !proved {
        let text = format!(
            "somebody with the TLS key of node {node} says that its machine has left, without proof of its WireGuard key: a thief of that key, or \
             meshctl leave of an earlier version. Nothing was changed; whether it is there, says: meshctl status"
        );
        app.note_of(node, origin.event("leave-refused", text, &[]));
    } else if !app.hub.with(node, |seat| std::mem::replace(&mut seat.left, true)) {
        let text = format!(
            "the machine of node {node} has left; its place and its ports stay until: meshctl node delete {node}"
        );
        app.note_of(node, origin.event("node-left", text, &[]));
    }
}

/// Writes what a node says of itself, where it is believed: proved with its WireGuard key, and nothing that is another's.
fn take_facts(app: &App, member: &Member, new: &NodeFacts, judge: &Judge<'_>, origin: &Origin) -> Result<(), Problem> {
    let mut refused = None;
    let done = app.core.change(|view| {
        let node = current(view, member)?;
        let mut changed = node.clone();
        if node.status.facts.as_ref() == Some(new) {
            return Ok(Plan { edits: Vec::new(), event: None, answer: () });
        }
        let proved = judge.by_node(&node, Claim::Facts(new));
        let mut said = node.clone();
        said.status.facts = Some(new.clone());
        let unproved = || Err(FactsError::Unproved(member.node.clone()));
        let judged = if proved { facts::check(&view.index.state, Some(&node), &said) } else { unproved() };
        if let Err(error) = judged {
            let problem = error.problem();
            refused = Some(error);
            return Err(problem);
        }
        changed.status.facts = Some(interfaces::counted(changed.status.facts.as_ref(), new));
        if changed == node {
            return Ok(Plan { edits: Vec::new(), event: None, answer: () });
        }
        let (what, text) = match facts::moved(node.status.facts.as_ref(), new) {
            Some(moved) => ("moved", format!("node {} moved: {moved}", member.node)),
            None => ("facts", format!("of node {} changed", member.node)),
        };
        let edits = vec![Edit::update(Any::Node(node), Any::Node(changed))];
        let event = origin.event(what, text, &edits);
        Ok(Plan { edits, event: Some(event), answer: () })
    });
    if done.is_ok() {
        app.interfaces().hear(&member.node, new);
    }
    let before = app.hub.with(&member.node, |seat| std::mem::replace(&mut seat.unbelieved, refused.clone()));
    if let Some(why) = refused.filter(|why| before.as_ref() != Some(why)) {
        let may = app.hub.with(&member.node, |seat| seat.logged.may(limits::OF_MEMBER, crate::clock::mono()));
        if let Some(kept_back) = may {
            tracing::warn!(node = %member.node, %why, kept_back, "facts refused");
        }
        app.note_of(&member.node, origin.event("facts-refused", format!("of node {}: {why}", member.node), &[]));
    }
    done
}
