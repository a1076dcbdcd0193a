//! The control socket: HTTP over a Unix socket for `meshctl`. Only the owner and the group may connect; nothing here changes
//! anything, and no answer holds a secret.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use tokio::net::UnixListener;

use super::lane::LaneStats;
use super::shared::Shared;
use super::watch::Known;
use super::{ends, mtu, plain, probing, status};
use crate::api::local::{Explanation, Finding, Step};
use crate::api::mtu::Probed;
use crate::api::problem::{Exit, Problem};
use crate::clock::mono;
use crate::linux::file;
use crate::node::concerns::{self, Way};
use crate::node::doubts::{self, Others};
use crate::node::explain::{ExplainError, Far, Here, Target, explain};
use crate::node::explain_guests::{self, Now};
use crate::node::unwatched::UNWATCHED;
use crate::probe::crossing::Crossed;
use crate::table::Slice;
use crate::types::Mtu;

/// File of the lock, which the kernel gives up with its holder.
pub const LOCK: &str = "meshd.lock";

/// The right to be the daemon of a `run` folder. Held as long as it lives, given up by the kernel whatever happens.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "the lock ends when the file is closed")] File);

/// Makes the folder and claims it.
///
/// # Errors
/// M0610: another `meshd` runs with this folder; M0601: the folder cannot be made or is open to everybody.
pub fn claim(run: &Path) -> Result<Claim, Problem> {
    let failed = unclaimed;
    file::ensure_dir(run, 0o755).map_err(failed)?;
    let path = run.join(LOCK);
    // Who can open it can hold the lock, and an earlier version has made it for all to open.
    let private = |lock: File| lock.set_permissions(Permissions::from_mode(0o600)).map(|()| lock);
    let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path).and_then(private);
    let lock = lock.map_err(|e| failed(io::Error::new(e.kind(), format!("{}: {e}", path.display()))))?;
    match lock.try_lock() {
        Ok(()) => Ok(Claim(lock)),
        Err(_) => Err(runs(format!("another meshd runs with {}", run.display()))
            .help("systemctl status meshd; or set another run = in [paths] for a second one")),
    }
}

/// A `run` folder that cannot be used, most often by somebody who is not root.
fn unclaimed(error: io::Error) -> Problem {
    let problem = Problem::new("M0601", Exit::Failed, error.to_string()).note("nothing was changed");
    if error.kind() == io::ErrorKind::PermissionDenied {
        problem.help("run it as root: sudo, and the same command")
    } else {
        problem
    }
}

/// A daemon runs that is in the way.
pub(super) fn runs(what: String) -> Problem {
    Problem::new("M0610", Exit::Conflict, what).note("nothing was changed")
}

/// Listens on the socket. One that a dead daemon left is replaced: `claim` proves that it is dead.
///
/// # Errors
/// M0601: the socket cannot be made.
pub fn listen(_claim: &Claim, socket: &Path) -> Result<UnixListener, Problem> {
    let failed = |e: io::Error| Problem::new("M0601", Exit::Failed, format!("{}: {e}", socket.display()));
    file::remove(socket).map_err(failed)?;
    let listener = UnixListener::bind(socket).map_err(failed)?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}

/// Answers until the program ends.
pub async fn serve(listener: UnixListener, shared: Arc<Shared>) {
    let router = Router::new()
        .route("/v1/status", get(get_status))
        .route("/v1/tunnels", get(get_tunnels))
        .route("/v1/plain", get(get_plain))
        .route("/v1/slice", get(get_slice))
        .route("/v1/events", get(get_events))
        .route("/v1/explain", get(get_explain))
        .route("/v1/mtu", get(get_mtu))
        .route("/v1/mtu/probe", get(get_probe))
        .fallback(unknown)
        .with_state(shared);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("control socket: {error}");
    }
}

type App = State<Arc<Shared>>;

/// Runs what may wait for a lane beside the async thread.
///
/// # Errors
/// M0122: it panicked.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let failed = |_| Problem::new("M0122", Exit::Failed, "the daemon failed to look at itself");
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

async fn get_status(State(shared): App) -> Result<Response, Refused> {
    Ok(Json(aside(move || status::status(&shared)).await.map_err(Refused)?).into_response())
}

async fn get_tunnels(State(shared): App) -> Result<Response, Refused> {
    Ok(Json(aside(move || status::tunnels(&shared)).await.map_err(Refused)?).into_response())
}

async fn get_plain(State(shared): App) -> Result<Response, Refused> {
    Ok(Json(aside(move || plain::list(&shared)).await.map_err(Refused)?).into_response())
}

async fn get_mtu(State(shared): App) -> Result<Response, Refused> {
    Ok(Json(aside(move || mtu::map(&shared)).await.map_err(Refused)?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Probe {
    to: String,
}

async fn get_probe(
    State(shared): App,
    question: Result<Query<Probe>, QueryRejection>,
) -> Result<Json<Probed>, Refused> {
    let usage = |error: QueryRejection| {
        Refused(Problem::new("M0121", Exit::Usage, error.body_text()).help("/v1/mtu/probe?to=NODE|PORT"))
    };
    let Query(question) = question.map_err(usage)?;
    let to: String = question.to.chars().take(64).collect();
    probing::probe(&shared, &to).await.map(Json).map_err(Refused)
}

async fn get_slice(State(shared): App) -> Result<Json<Slice>, Refused> {
    let mut slice = Slice::clone(&*current(&shared).map_err(Refused)?);
    for peer in slice.peers.values_mut() {
        peer.psk = None;
    }
    Ok(Json(slice))
}

async fn get_events(State(shared): App) -> Response {
    Json(shared.events.list()).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    from: String,
    to: String,
}

async fn get_explain(
    State(shared): App,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Json<Explanation>, Refused> {
    let usage = |why: String| {
        Refused(Problem::new("M0121", Exit::Usage, why).help("/v1/explain?from=PORT|MAC|IP&to=PORT|MAC|IP"))
    };
    let Query(question) = question.map_err(|error| usage(error.body_text()))?;
    let from: Target = question.from.parse().map_err(|e| usage(format!("from: {e}")))?;
    let to: Target = question.to.parse().map_err(usage)?;
    let slice = current(&shared).map_err(Refused)?;
    let asked = Arc::clone(&shared);
    let look = move || (asked.lanes.stats(), asked.watch.known(), status::all(&asked));
    let (stats, known, findings) = aside(look).await.map_err(Refused)?;
    let mut explanation = explained(&shared, &slice, (&stats, &known, &findings), (&from, &to)).map_err(Refused)?;
    ends::add(&shared, &slice, &mut explanation).await;
    Ok(Json(explanation))
}

/// What this node itself sees.
fn explained(
    shared: &Shared,
    slice: &Slice,
    (stats, known, findings): (&[LaneStats], &Known, &[Finding]),
    (from, to): (&Target, &Target),
) -> Result<Explanation, Problem> {
    let view = shared.view();
    let live = plain::live(&view, known, stats, mono());
    let mtu =
        |side: &Option<crate::node::plan::Underlay>| side.as_ref().and_then(|u| Mtu::try_from(u64::from(u.mtu)).ok());
    let here = Here {
        slice,
        paths: &view.paths,
        own: view.local.own(),
        admin_mtu: mtu(&view.local.admin),
        external_mtu: mtu(&view.local.external),
        far: &Far::new(),
        measured: &view.measured,
        live: Some(&live),
    };
    let known = explain(here, from, to);
    let mut explanation = known.map_err(|error| match error {
        ExplainError::Elsewhere { .. } => error,
        ExplainError::Unknown { .. } | ExplainError::Undeclared { .. } => {
            explain_guests::in_use(from, findings).unwrap_or(error)
        }
    })?;
    if let Some(way) = Way::of(&explanation, slice, &view.paths, to.family()) {
        let found = &shared.outgoing.borrow().ports.clone();
        explain_guests::add(&mut explanation, Now { slice, presence: &view.presence, found, findings }, &way);
        let others = Others { book: Some(&view.book), queues: Some(&view.queues) };
        doubts::add(&mut explanation, others, (slice, &view.presence), &way);
        explain_guests::add_users(&mut explanation, &way.net, to, findings);
        // A daemon that has just begun, or whose frames cannot cross, knows nothing of it.
        let told = explanation.steps.iter().any(|step| step.open && step.text.contains(UNWATCHED));
        if let (Some(_), Crossed { asked: false, .. }) = shared.watch.crossing()
            && !told
        {
            let text = "whether this host lets frames between guests pass its bridges is not known yet";
            explanation.steps.push(Step::open("devices", text));
            concerns::settle(&mut explanation);
        }
    }
    Ok(explanation)
}

/// What this node follows.
///
/// # Errors
/// M0214: nothing yet.
pub(super) fn current(shared: &Shared) -> Result<Arc<Slice>, Problem> {
    shared.view().slice.clone().ok_or_else(|| {
        let problem = Problem::new("M0214", Exit::Degraded, "this node has no slice yet");
        problem.help("wait for the management node: meshctl status")
    })
}

async fn unknown() -> Refused {
    Refused(
        Problem::new("M0123", Exit::NotFound, "this meshd knows no such question")
            .help("run the same version of meshctl"),
    )
}

/// A problem as an HTTP answer.
struct Refused(Problem);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0.exit {
            Exit::Usage | Exit::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Exit::NotFound => StatusCode::NOT_FOUND,
            Exit::Conflict => StatusCode::CONFLICT,
            Exit::Denied => StatusCode::FORBIDDEN,
            Exit::Degraded => StatusCode::SERVICE_UNAVAILABLE,
            Exit::Failed | Exit::Unreachable | Exit::Timeout => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.0)).into_response()
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
