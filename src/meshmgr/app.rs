//! What every request handler is given, and who may call it.

use std::net::IpAddr;
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
use crate::mgmt::interfaces::Interfaces;
use crate::mgmt::limits;
use crate::mgmt::measured::Measured;
use crate::mgmt::roles::{Request, Standing};
use crate::policy::quiet::Quiet;
use crate::transport::server::Caller;
use crate::types::{Mono, NodeId, Prefix, SecretKey, Wall};

/// How often it is said what was kept back.
const TELL: Duration = Duration::from_secs(60);
/// Enrolments that are worked on at one time.
const ENROLLING: usize = 8;

/// Everything that the server works with.
pub(super) struct App {
    /// The mesh.
    pub(super) core: Core,
    /// What is known of each node while the server runs.
    pub(super) hub: Hub,
    /// What nodes measured.
    pub(super) measured: Mutex<Measured>,
    /// What nodes say of their interfaces.
    pub(super) interfaces: Mutex<Interfaces>,
    /// Signs certificates.
    pub(super) authority: Authority,
    /// PSKs are derived from it.
    pub(super) psk: SecretKey,
    /// What tokens say.
    pub(super) addresses: Vec<String>,
    /// Nodes' addresses inside tunnels of form A come from here.
    pub(super) tunnel_prefix: Prefix,
    /// How old a WireGuard key gets; none: nobody asks for new ones.
    pub(super) key_age: Option<Duration>,
    /// Whether the disk of the store can be written; none: nobody looks.
    pub(super) room: Option<super::room::Room>,
    /// Since when the server runs.
    pub(super) started: (Mono, Wall),
    /// True: the server stops.
    pub(super) stop: watch::Receiver<bool>,
    /// Places for enrolments.
    pub(super) enrolling: Semaphore,
    /// Keeps strangers from filling the audit log.
    noted: Mutex<Quiet>,
    /// Keeps strangers from filling the log.
    logged: Mutex<Quiet>,
    /// What nodes said and this version does not know.
    pub(super) names: Mutex<Names>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("core", &self.core).finish_non_exhaustive()
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
            interfaces: Mutex::default(),
            authority,
            psk,
            addresses,
            tunnel_prefix,
            key_age: None,
            room: None,
            started: (crate::clock::mono(), crate::clock::wall()),
            stop,
            enrolling: Semaphore::new(ENROLLING),
            noted: Mutex::new(Quiet::new(limits::NOTED, crate::clock::mono())),
            logged: Mutex::new(Quiet::new(limits::LOGGED, crate::clock::mono())),
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
        if let Some(kept_back) = self.may_log(caller.address.ip()) {
            tracing::warn!(from = %caller.address, standing = caller.standing.words(), ?request, kept_back, "refused");
        }
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

    /// What nodes say of their interfaces.
    pub(super) fn interfaces(&self) -> MutexGuard<'_, Interfaces> {
        self.interfaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// May one more entry about a stranger be written? If so: how many were not.
    pub(super) fn may_note(&self, source: IpAddr) -> Option<u64> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).may(source, crate::clock::mono())
    }

    /// May one more line about a stranger go into the log? If so: how many did not.
    pub(super) fn may_log(&self, source: IpAddr) -> Option<u64> {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner).may(source, crate::clock::mono())
    }

    /// Writes an audit entry about what a member is refused, unless it had many of late. Blocks.
    pub(super) fn note_of(&self, node: &NodeId, event: AuditEvent) {
        let may = self.hub.with(node, |seat| seat.noted.may(limits::OF_MEMBER, crate::clock::mono()));
        let Some(kept_back) = may else { return };
        let more =
            if kept_back > 0 { format!("; {kept_back} more of this node were not noted") } else { String::new() };
        self.note(AuditEvent { text: format!("{}{more}", event.text), ..event });
    }

    /// Says how much was kept back of what strangers and members caused, where nobody has said it yet. Blocks.
    pub(super) fn tell_kept_back(&self, at: Wall) {
        let rest = |quiet: &Mutex<Quiet>| quiet.lock().unwrap_or_else(PoisonError::into_inner).rest();
        if let Some(kept_back) = rest(&self.logged) {
            tracing::warn!(kept_back, "more lines about strangers were kept back");
        }
        let strangers = rest(&self.noted).map(|count| format!("{count} more refusals of strangers were not noted"));
        let of_node =
            |(node, count): (NodeId, u64)| format!("{count} more lines and entries about node {node} were kept back");
        for text in strangers.into_iter().chain(self.hub.kept_back().into_iter().map(of_node)) {
            tracing::warn!("{text}");
            let origin = Origin::own(at);
            self.note(origin.event("kept-back", text, &[]));
        }
    }

    /// Waits until it is a member's turn, and until it may ask for more than a sign of life: what one member asks keeps the others
    /// from nothing.
    pub(super) async fn pace(&self, node: &NodeId) {
        tokio::time::sleep(self.hub.pace(node, crate::clock::mono())).await;
    }
}

/// Says from time to time what was kept back, until the server stops.
pub(super) async fn tell(app: Arc<App>) {
    let say = |app: &App| {
        app.tell_kept_back(crate::clock::wall());
        Ok(())
    };
    every(app, TELL, "cannot say what was kept back", say).await;
}

/// Does `work`, which may block, again and again until the server stops. What fails is in the log and is tried again.
pub(super) async fn every(
    app: Arc<App>,
    pause: Duration,
    failed: &str,
    work: impl Fn(&App) -> Result<(), Problem> + Clone + Send + 'static,
) {
    let mut stop = app.stop.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = crate::transport::server::stopped(&mut stop) => return,
        }
        if let Err(problem) = blocking(&app, work.clone()).await {
            tracing::error!(%problem, "{failed}");
        }
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
