//! Paths to handlers. Each route stands with the [`Request`] that the role table knows it by, so none is without a check.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::app::{App, BODY_TIME};
use super::{admin, backup, identity, members, paths};
use crate::api::heard::{self, Heard};
use crate::api::problem::{Exit, Problem, clip, printable};
use crate::mgmt::limits;
use crate::mgmt::roles::Request;
use crate::transport::server::Caller;

/// Body of `POST /v1/enroll`, bytes.
pub(super) const ENROLL_MAX: usize = 16 << 10;
/// Body of a node's report, bytes.
pub(super) const REPORT_MAX: usize = limits::REPORT_BYTES;
/// Body of one object, bytes.
pub(super) const OBJECT_MAX: usize = 1 << 20;
/// Body of `POST /v1/apply`, bytes: room for a hundred thousand ports.
pub(super) const APPLY_MAX: usize = 64 << 20;

/// An answer: JSON, or a problem.
pub(super) type Answer<T> = Result<Json<T>, Refused>;

/// A JSON answer.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

/// A [`Problem`] as an HTTP answer.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
            Err(error) => Refused(Problem::new("M0105", Exit::Failed, error.to_string())).into_response(),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0.exit {
            Exit::Invalid | Exit::Usage => StatusCode::UNPROCESSABLE_ENTITY,
            Exit::NotFound => StatusCode::NOT_FOUND,
            Exit::Conflict => StatusCode::CONFLICT,
            Exit::Denied => StatusCode::FORBIDDEN,
            Exit::Failed | Exit::Unreachable | Exit::Timeout | Exit::Degraded => StatusCode::INTERNAL_SERVER_ERROR,
        };
        tracing::debug!(code = self.0.code, what = printable(&self.0.what), "answered");
        (status, Json(self.0)).into_response()
    }
}

fn refuse(what: String) -> Problem {
    Problem::new("M0335", Exit::Invalid, what).note("nothing was changed")
}

/// Reads what an operator wants: JSON of at most `limit` bytes, in which nothing may be unknown.
///
/// # Errors
/// [`Problem`]: too large, too slow, or not what is expected there.
pub(super) async fn body<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T, Problem> {
    serde_json::from_slice(&bytes(body, limit).await?).map_err(|error| invalid(&error))
}

/// Reads what a program of another version may have said.
///
/// # Errors
/// As [`body`].
pub(super) async fn said<T: DeserializeOwned>(body: Body, limit: usize) -> Result<Heard<T>, Problem> {
    heard::read(&bytes(body, limit).await?).map_err(|error| invalid(&error))
}

fn invalid(error: &serde_json::Error) -> Problem {
    refuse(format!("the request is not valid: {}", clip(&error.to_string())))
}

async fn bytes(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let collected = tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(refuse(format!("the request is larger than {limit} bytes")))
        }
        Ok(Err(error)) => Err(refuse(format!("the request broke off: {error}"))),
        Err(_) => Err(refuse("the request took too long".to_owned())),
    }
}

/// One thing that can be asked: how, where, what the role table knows it by, and who answers.
pub(super) struct Route {
    /// Its method.
    pub(super) method: Method,
    /// Its path, with names in braces.
    pub(super) path: &'static str,
    /// Its line in the role table.
    pub(super) request: Request,
    handler: MethodRouter<Arc<App>>,
}

/// The method of a word.
macro_rules! method {
    (get) => {
        Method::GET
    };
    (put) => {
        Method::PUT
    };
    (post) => {
        Method::POST
    };
    (delete) => {
        Method::DELETE
    };
}

/// A route, with method and handler from one word.
macro_rules! route {
    ($method:ident, $path:literal, $request:ident, $handler:path) => {
        Route {
            method: method!($method),
            path: $path,
            request: Request::$request,
            handler: axum::routing::$method($handler),
        }
    };
}

/// Everything that can be asked; there is no other way in.
pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(post, "/v1/enroll", Enroll, members::enroll),
        route!(get, "/v1/challenge", Challenge, members::challenge),
        route!(post, "/v1/renew", Renew, members::renew),
        route!(get, "/v1/slice", OwnSlice, members::slice),
        route!(post, "/v1/report", Report, members::report),
        route!(get, "/v1/objects/{kind}", Read, admin::list),
        route!(get, "/v1/objects/{kind}/{name}", Read, admin::get),
        route!(put, "/v1/objects/{kind}/{name}", Write, admin::put),
        route!(delete, "/v1/objects/{kind}/{name}", Write, admin::delete),
        route!(post, "/v1/apply", Write, admin::apply),
        route!(post, "/v1/tokens", MakeToken, admin::make_token),
        route!(get, "/v1/slice/{node}", AnySlice, admin::slice),
        route!(get, "/v1/matrix", Observe, admin::matrix),
        route!(get, "/v1/mtu", Observe, paths::mtu),
        route!(get, "/v1/explain", Observe, admin::explain),
        route!(get, "/v1/status", Observe, admin::status),
        route!(get, "/v1/events", Audit, admin::events),
        route!(get, "/v1/nodes/{name}/foreign", ForeignConfig, admin::foreign),
        route!(post, "/v1/nodes/{name}/rotate-key", Write, identity::rotate_key),
        route!(post, "/v1/nodes/{name}/release", Write, identity::release),
        route!(post, "/v1/nodes/{name}/rename", Write, identity::rename),
        route!(post, "/v1/nodes/{name}/reset", MakeToken, identity::reset),
        route!(get, "/v1/backup", Backup, backup::answer),
    ]
}

/// All routes, each behind the role table.
pub(super) fn router(app: &Arc<App>) -> Router {
    let add = |router: Router<Arc<App>>, route: Route| {
        tracing::trace!(method = %route.method, path = route.path, request = ?route.request, "routed");
        let guard = middleware::from_fn_with_state((Arc::clone(app), route.request), check);
        router.route(route.path, route.handler.route_layer(guard))
    };
    let all = routes().into_iter().fold(Router::new(), add);
    all.fallback(nothing_here).method_not_allowed_fallback(nothing_here).with_state(Arc::clone(app))
}

/// The role table, before any handler.
async fn check(
    State((app, asked)): State<(Arc<App>, Request)>,
    axum::Extension(caller): axum::Extension<Caller>,
    request: HttpRequest,
    next: Next,
) -> Response {
    match app.admit(&caller, asked) {
        Ok(()) => {}
        Err(problem) => return Refused(problem).into_response(),
    }
    match plain_json(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Json(problem)).into_response(),
    }
}

/// A body is JSON as it is: not YAML, and nothing that is a thousand times as large when it is unpacked.
///
/// # Errors
/// [`Problem`] M0335.
fn plain_json(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let refuse = |what: String| Err(Problem::new("M0335", Exit::Invalid, what).note("nothing was changed"));
    let text =
        |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase());
    if let Some(encoding) = text(header::CONTENT_ENCODING).filter(|encoding| encoding != "identity") {
        return refuse(format!("the request is encoded as '{encoding}'; only plain JSON is read"));
    }
    let has_body = *method == Method::POST || *method == Method::PUT;
    match text(header::CONTENT_TYPE) {
        Some(kind) if kind.split(';').next().map(str::trim) == Some("application/json") => Ok(()),
        _ if !has_body => Ok(()),
        Some(kind) => refuse(format!("the request is '{kind}'; only application/json is read")),
        None => refuse("the request does not say that it is application/json".to_owned()),
    }
}

async fn nothing_here(request: HttpRequest) -> Refused {
    let path: String = request.uri().path().chars().take(80).collect();
    let what = format!("there is no {} {path}", request.method());
    Refused(Problem::new("M0106", Exit::NotFound, what).help("is meshctl of the same version as meshmgr?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_json_is_read() {
        let judged = |method: Method, headers: &[(header::HeaderName, &str)]| {
            let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            plain_json(&method, &headers).map_err(|problem| problem.code)
        };
        let json = (header::CONTENT_TYPE, "application/json");
        let coded = |encoding| (header::CONTENT_ENCODING, encoding);
        assert_eq!(judged(Method::POST, std::slice::from_ref(&json)), Ok(()));
        assert_eq!(judged(Method::PUT, &[(header::CONTENT_TYPE, "Application/JSON; charset=utf-8")]), Ok(()));
        assert_eq!(judged(Method::POST, &[json.clone(), coded("identity")]), Ok(()));
        assert_eq!(judged(Method::GET, &[]), Ok(()));
        for encoding in ["gzip", "br", "deflate", "zstd", "identity, gzip", "GZIP"] {
            assert_eq!(judged(Method::POST, &[json.clone(), coded(encoding)]), Err("M0335".to_owned()), "{encoding}");
        }
        for kind in ["application/yaml", "text/yaml", "application/jsonx", "multipart/form-data", ""] {
            assert_eq!(judged(Method::PUT, &[(header::CONTENT_TYPE, kind)]), Err("M0335".to_owned()), "{kind}");
        }
        assert_eq!(judged(Method::POST, &[]), Err("M0335".to_owned()), "it does not say what it is");
    }
}
