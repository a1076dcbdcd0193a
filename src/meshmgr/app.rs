//! What every request handler is given, and who may call it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::core::{Core, Plan};
use super::hub::Hub;
use super::stream;
use crate::api::admin::AuditEvent;
use crate::api::heard::Names;
use crate::api::problem::{Exit, Problem};
use crate::mgmt::audit::Origin;
use crate::mgmt::certs::{Authority, Role};
use crate::mgmt::measured::Measured;
use crate::mgmt::roles::{Request, Standing};
use crate::transport::server::Caller;
use crate::types::{Mono, NodeId, Prefix, SecretKey};

/// Enrolments that are worked on at one time.
const ENROLLING: usize = 8;
/// Refused enrolments that go into the audit log in a burst, and then one a second.
const NOTED_BURST: u32 = 64;

/// Everything that the server works with.
pub(super) struct App {
    /// The mesh.
    pub(super) core: Core,
    /// What is known of each node while the server runs.
    pub(super) hub: Hub,
    /// What nodes measured.
    pub(super) measured: Mutex<Measured>,
    /// Signs certificates.
    pub(super) authority: Authority,
    /// PSKs are derived from it.
    pub(super) psk: SecretKey,
    /// What tokens say.
    pub(super) addresses: Vec<String>,
    /// Nodes' addresses inside tunnels of form A come from here.
    pub(super) tunnel_prefix: Prefix,
    /// True: the server stops.
    pub(super) stop: watch::Receiver<bool>,
    /// Places for enrolments.
    pub(super) enrolling: Semaphore,
    /// Keeps strangers from filling the audit log.
    pub(super) noted: Mutex<Bucket>,
    /// What nodes said and this version does not know.
    pub(super) names: Mutex<Names>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("core", &self.core).finish_non_exhaustive()
    }
}

/// A token bucket: so many at once, then one a second.
#[derive(Debug)]
pub(super) struct Bucket {
    left: u32,
    at: Mono,
}

impl Bucket {
    /// A full one.
    pub(super) const fn new(now: Mono) -> Self {
        Self { left: NOTED_BURST, at: now }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Mono) -> bool {
        let gained = u32::try_from(now.since(self.at).as_secs()).unwrap_or(u32::MAX);
        if gained > 0 {
            self.left = self.left.saturating_add(gained).min(NOTED_BURST);
            self.at = now;
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

/// A node that has shown the key that it is known by.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Its name.
    pub(super) node: NodeId,
    /// SHA-256 (hexadecimal) of its TLS public key.
    pub(super) key: String,
}

impl App {
    /// Places for enrolments and so on, for a core.
    pub(super) fn new(
        core: Core,
        authority: Authority,
        psk: SecretKey,
        addresses: Vec<String>,
        tunnel_prefix: Prefix,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            core,
            hub: Hub::default(),
            measured: Mutex::default(),
            authority,
            psk,
            addresses,
            tunnel_prefix,
            stop,
            enrolling: Semaphore::new(ENROLLING),
            noted: Mutex::new(Bucket::new(crate::clock::mono())),
            names: Mutex::default(),
        }
    }

    /// The one door: is the caller's role in the table for this request?
    ///
    /// # Errors
    /// [`Problem`] M0801.
    pub(super) fn admit(&self, caller: &Caller, request: Request) -> Result<(), Problem> {
        if request.allowed(caller.standing) {
            return Ok(());
        }
        let what = match caller.standing {
            Standing::Stranger => "this request needs a certificate".to_owned(),
            Standing::Node | Standing::ExpiredNode | Standing::Admin | Standing::Tenant => {
                format!("{} does not allow this request", caller.standing.words())
            }
        };
        tracing::warn!(from = %caller.address, standing = caller.standing.words(), ?request, "refused");
        Err(Problem::new("M0801", Exit::Denied, what)
            .note("nothing was changed")
            .help("operators use an admin certificate: meshctl --credential DIR"))
    }

    /// The node that calls, if the key that it shows is still its own. A removed node's certificate ends here, whatever it says.
    ///
    /// # Errors
    /// [`Problem`] M0802; M0264 where two machines have it.
    pub(super) fn member(&self, caller: &Caller) -> Result<Member, Problem> {
        let refused = |what: String| {
            Problem::new("M0802", Exit::Denied, what)
                .note("nothing was changed")
                .help("join again with a new token: meshctl join")
        };
        let identity = caller.identity.as_ref().ok_or_else(|| refused("no certificate was shown".to_owned()))?;
        let Role::Node { name, pdc } = &identity.role else {
            return Err(refused("the certificate is not of a node".to_owned()));
        };
        let view = self.core.view();
        let in_its_pdc = view.index.state.nodes.get(name).is_some_and(|node| node.spec.pdc == *pdc);
        if !in_its_pdc || !stream::is_member(&view, name, &identity.key) {
            return Err(refused(format!("node '{name}' is no member with this key")));
        }
        if view.index.state.nodes.get(name).is_some_and(|node| node.status.quarantined.is_some()) {
            return Err(super::identity::quarantined(name));
        }
        Ok(Member { node: name.clone(), key: identity.key.clone() })
    }

    /// Who asks, for the audit log.
    pub(super) fn origin(&self, caller: &Caller) -> Origin {
        let who = caller.identity.as_ref().map_or_else(|| "stranger".to_owned(), |identity| identity.role.title());
        Origin { who, from: caller.address.ip().to_canonical().to_string(), at: crate::clock::wall() }
    }

    /// Writes an audit entry that goes with no change. Blocks.
    pub(super) fn note(&self, event: AuditEvent) {
        let plan = || Plan { edits: Vec::new(), event: Some(event.clone()), answer: () };
        if let Err(error) = self.core.change(|_| Ok(plan())) {
            tracing::error!(%error, what = event.what, "cannot write the audit log");
        }
    }

    /// Names, once each, what a node says and this version does not know.
    pub(super) fn name(&self, node: &NodeId, message: &str, unknown: &[String]) {
        let new = self.names.lock().unwrap_or_else(PoisonError::into_inner).new_of(node.as_str(), message, unknown);
        for name in new {
            tracing::warn!(%node, name, "a node says what this meshmgr does not know");
        }
    }

    /// What nodes measured.
    pub(super) fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// May one more entry about a stranger be written?
    pub(super) fn may_note(&self) -> bool {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).take(crate::clock::mono())
    }
}

/// Runs what blocks on a thread of its own.
///
/// # Errors
/// What `work` says; [`Problem`] M0105 if it panicked.
pub(super) async fn blocking<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let app = Arc::clone(app);
    let done = tokio::task::spawn_blocking(move || work(&app)).await;
    done.unwrap_or_else(|_| Err(Problem::new("M0105", Exit::Failed, "the management server failed; see its log")))
}

/// Time for a whole request body.
pub(super) const BODY_TIME: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_a_burst_and_then_one_a_second() {
        let at = Mono::from_nanos;
        let mut bucket = Bucket::new(at(0));
        assert_eq!((0..100).filter(|_| bucket.take(at(1))).count(), 64);
        assert!(bucket.take(at(1_500_000_000)) && !bucket.take(at(1_600_000_000)));
    }
}
