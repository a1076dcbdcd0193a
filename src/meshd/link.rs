//! The link to the management node: follows its stream, reports back, and renews the certificate. All three go on for ever and
//! none of them is needed by the data plane.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::disk::Identity;
use super::engine::Command;
use super::events::Tone;
use super::prove;
use super::shared::{Outgoing, Shared, Topic};
use crate::api::enroll::{RenewAnswer, RenewRequest};
use crate::api::local::{Finding, Management};
use crate::api::problem::{Exit, Problem};
use crate::api::proof::Challenge;
use crate::api::stream::{ANSWERS, Answer, Contested, Report, UNREPORTED};
use crate::clock::{mono, random, wall};
use crate::linux::file;
use crate::mgmt::certs::{self, Role};
use crate::mgmt::nodes::UNREPORTED as UNREPORTED_CODE;
use crate::node::enroll::CERTIFICATE;
use crate::node::skew::Skew;
use crate::node::sync::{Next, Outcome, Sync};
use crate::transport::client::{Client, Lines};
use crate::transport::tls;
use crate::types::{Mono, Wall};

/// Code of the refusal that a removed node gets.
const REMOVED: &str = "M0802";
const QUARANTINED: &str = "M0264";
/// Reports wait this long for more of the same change.
const GATHER: Duration = Duration::from_millis(50);
/// Wait before a report that failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// Longest sleep of the renewal: clocks are set.
const RENEWAL_LOOK: Duration = Duration::from_secs(600);
/// Wait after a renewal that failed.
const RENEWAL_AGAIN: Duration = Duration::from_secs(60);

/// The link.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Link {
    shared: Arc<Shared>,
    engine: Sender<Command>,
    identity: Mutex<Identity>,
    client: Mutex<Arc<Client>>,
    connected: watch::Sender<bool>,
    keys: std::path::PathBuf,
    /// This run of the daemon, so that two machines with one identity are told apart.
    instance: u64,
    /// How often it has called for the stream.
    calls: AtomicU64,
    /// Reports fail while the stream lives.
    unreported: AtomicBool,
    skew: Mutex<Skew>,
    /// Guests of this node that others hear as well, as the engine knows them.
    contested: Mutex<Vec<Contested>>,
}

impl Link {
    /// A link to the management nodes at `addresses`, not yet connected.
    ///
    /// # Errors
    /// M0224: keys and certificates that do not belong together.
    pub fn new(
        shared: Arc<Shared>,
        engine: Sender<Command>,
        identity: Identity,
        addresses: Vec<String>,
        keys: std::path::PathBuf,
    ) -> Result<Arc<Self>, Problem> {
        let client = client(&identity, addresses)?;
        shared.view().certificate_ends = Some(identity.validity.1);
        let (connected, _) = watch::channel(false);
        let (identity, client) = (Mutex::new(identity), Mutex::new(Arc::new(client)));
        let (instance, calls) = (u64::from_ne_bytes(random()), AtomicU64::new(0));
        let (skew, contested, unreported) = Default::default();
        Ok(Arc::new(Self {
            shared,
            engine,
            identity,
            client,
            connected,
            keys,
            instance,
            calls,
            unreported,
            skew,
            contested,
        }))
    }

    fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Uses other addresses from the next connection on.
    ///
    /// # Errors
    /// M0224.
    pub fn set_addresses(&self, addresses: Vec<String>) -> Result<(), Problem> {
        let new = client(&self.identity.lock().unwrap_or_else(PoisonError::into_inner), addresses)?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }

    /// Follows the stream for ever.
    pub async fn follow(self: Arc<Self>, mut sync: Sync) {
        loop {
            let now = mono();
            match sync.next(now) {
                Next::Wait(until) => sleep(until.since(now)).await,
                Next::Connect | Next::Dead => {
                    sync.connecting();
                    let why = self.stream(&mut sync).await;
                    sync.lost(mono(), u32::from_ne_bytes(random()));
                    self.away(why);
                }
            }
        }
    }

    /// One connection, until it ends; why it did.
    async fn stream(&self, sync: &mut Sync) -> String {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let ask = format!("{}&answers=true&instance={}&connection={call}", sync.ask(), self.instance);
        let mut lines = match self.client().conversation(&ask).await {
            Ok(lines) => lines,
            Err(problem) => return self.refused(problem),
        };
        sync.heard(mono());
        self.shared.find(Topic::Quarantined, Vec::new());
        self.here(lines.address());
        let mut answered = None;
        loop {
            if let Err(why) = self.read(sync, &mut lines) {
                return why;
            }
            let now = mono();
            if answered.is_none_or(|before| now.since(before) >= ANSWERS) {
                lines.answer(Answer { unreported: self.unreported.load(Ordering::Relaxed) });
                answered = Some(now);
            }
            let Next::Wait(until) = sync.next(now) else { return "it has been silent for 10 s".to_owned() };
            match timeout(until.since(now), lines.fill()).await {
                Ok(Ok(true)) => sync.heard(mono()),
                Ok(Ok(false)) => return "it closed the stream".to_owned(),
                Ok(Err(problem)) => return problem.what,
                // The machine decides whether that was too long.
                Err(_) => {}
            }
        }
    }

    /// Takes every line that has arrived.
    fn read(&self, sync: &mut Sync, lines: &mut Lines) -> Result<(), String> {
        while let Some(line) = lines.take_line().map_err(|problem| problem.what)? {
            let outcome = sync.line(&line, mono());
            self.name(sync.unknown());
            match outcome {
                Ok(Outcome::Current) => self.shared.find(Topic::Slice, Vec::new()),
                Ok(Outcome::Adopted) => {
                    if let Some(slice) = sync.slice() {
                        tracing::debug!("slice {}", slice.version);
                        self.tell(Command::Slice(Box::new(slice.clone())));
                    }
                }
                Ok(Outcome::Removed) => {
                    self.tell(Command::Removed);
                    return Err("it has removed this node".to_owned());
                }
                Err(refusal) => {
                    let help = "compare: meshctl status here and meshctl node show on the management side";
                    self.shared.find(Topic::Slice, vec![Finding::new("M0212", refusal.to_string(), help)]);
                    return Err(refusal.to_string());
                }
            }
        }
        if let Some(theirs) = sync.their_time() {
            self.compare(theirs);
        }
        if let Some(contested) = sync.contested() {
            self.contested(contested);
        }
        if let Some(peers) = sync.peers() {
            self.shared.view().words.learn(peers, mono());
        }
        Ok(())
    }

    /// Tells the engine which guests of this node others hear as well, where that is news.
    fn contested(&self, contested: Vec<Contested>) {
        let mut told = self.contested.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != contested {
            told.clone_from(&contested);
            self.tell(Command::Contested(contested));
        }
    }

    /// Compares this machine's clock with that of the management node.
    fn compare(&self, theirs: Wall) {
        let findings = self.skew.lock().unwrap_or_else(PoisonError::into_inner).look(wall(), theirs);
        self.shared.find(Topic::Time, findings);
    }

    /// Names what the management node says and this version does not know.
    fn name(&self, unknown: Vec<String>) {
        for name in unknown {
            self.shared
                .events
                .info("unknown-field", format!("the management node says what this meshd does not know: {name}"));
        }
    }

    fn tell(&self, command: Command) {
        // The engine ends after this link, and then nobody needs to be told.
        let _ = self.engine.send(command);
    }

    fn here(&self, address: &str) {
        self.shared.events.by_others(Tone::Fine, "management", address, format!("connected to {address}"));
        let by = address.parse().ok().and_then(crate::linux::host::source);
        {
            let mut view = self.shared.view();
            view.management = Management::Connected { address: address.to_owned(), since: wall() };
            view.management_by = by;
        }
        self.connected.send_replace(true);
    }

    fn away(&self, why: String) {
        self.connected.send_replace(false);
        let mut view = self.shared.view();
        let since = match &view.management {
            Management::Away { since, .. } => *since,
            Management::Connected { .. } | Management::Files => wall(),
        };
        let news = !matches!(&view.management, Management::Away { why: old, .. } if *old == why);
        view.management = Management::Away { since, why: why.clone() };
        // What it said is not what is so now.
        view.words.clear();
        drop(view);
        if news {
            self.shared.events.by_others(Tone::Wrong, "management", "away", format!("away: {why}"));
        }
    }

    /// A management node that was believed and said no.
    fn refused(&self, problem: Problem) -> String {
        if problem.code == REMOVED {
            self.tell(Command::Removed);
        }
        if problem.code == QUARANTINED {
            let help = "its peers drop what it sends; on the management node: meshctl status says what to do";
            self.shared.find(Topic::Quarantined, vec![Finding::new(QUARANTINED, problem.what.clone(), help)]);
        }
        problem.what
    }

    /// Reports what changed, for ever; all of it after each new connection.
    pub async fn report(self: Arc<Self>) {
        let mut outgoing = self.shared.outgoing.subscribe();
        let mut connected = self.connected.subscribe();
        let mut sent: Option<Outgoing> = None;
        let mut failing: Option<Mono> = None;
        loop {
            if !*connected.borrow_and_update() {
                sent = None;
                failing = None;
                self.reports(None);
                if connected.changed().await.is_err() {
                    return;
                }
                continue;
            }
            let wanted = outgoing.borrow_and_update().clone();
            if sent.as_ref() != Some(&wanted) {
                let begun = mono();
                match self.send(difference(sent.as_ref(), &wanted)).await {
                    Ok(_) => {
                        (sent, failing) = (Some(wanted), None);
                        self.reports(None);
                    }
                    Err(problem) => {
                        tracing::warn!("report: {problem}");
                        let since = *failing.get_or_insert(begun);
                        self.reports(Some(&problem).filter(|_| mono().since(since) >= UNREPORTED));
                        sleep(AGAIN).await;
                    }
                }
                continue;
            }
            tokio::select! {
                changed = outgoing.changed() => if changed.is_err() { return },
                changed = connected.changed() => if changed.is_err() { return },
            }
            sleep(GATHER).await;
        }
    }

    /// Says that reports fail while the stream lives, here and on the stream, or that they arrive.
    fn reports(&self, fail: Option<&Problem>) {
        self.unreported.store(fail.is_some(), Ordering::Relaxed);
        let told = fail.map(|problem| {
            let what = format!(
                "what this node finds does not arrive at the management node, whose standing connection lives: {}",
                problem.what
            );
            let help = "on the management node, let new connections from here in: nft list ruleset; on the way, look for what drops large packets: \
                        tracepath, and for limits of connections";
            Finding::new(UNREPORTED_CODE, what, help).harmless()
        });
        self.shared.find(Topic::Reports, told.into_iter().collect());
    }

    /// Sends one report, with the proofs that it needs.
    async fn send(&self, mut report: Report) -> Result<serde_json::Value, Problem> {
        if prove::needed(&report) {
            let challenge: Challenge = self.client().call::<(), _>(Method::GET, "/v1/challenge", None).await?;
            let (node, certificate) = {
                let identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
                (identity.name.clone(), identity.certificate.clone())
            };
            let own = certs::identity_of_pem(&certificate);
            let tls_key = own.map_err(|e| Problem::new("M0213", Exit::Failed, e.to_string()))?.key;
            report.proofs = self.shared.provers.of(&report, &node, &tls_key, &challenge);
        }
        self.client().call(Method::POST, "/v1/report", Some(&report)).await
    }

    /// Renews the certificate at two thirds of its life, for ever.
    pub async fn renew(self: Arc<Self>) {
        loop {
            let validity = self.identity.lock().unwrap_or_else(PoisonError::into_inner).validity;
            let left = certs::renewal(validity).as_nanos().saturating_sub(wall().as_nanos());
            if left > 0 {
                sleep(Duration::from_nanos(left).min(RENEWAL_LOOK)).await;
                continue;
            }
            match self.renew_now().await {
                Ok(fresh) => {
                    self.shared.events.info("certificate", format!("renewed until {}", fresh.1));
                    self.shared.find(Topic::Certificate, Vec::new());
                    // Clocks that differ by more than its life: asking again at once would give the same.
                    if certs::renewal(fresh) <= wall() {
                        sleep(RENEWAL_AGAIN).await;
                    }
                }
                Err(problem) => {
                    let what = format!("the certificate ends at {} and is not renewed: {}", validity.1, problem.what);
                    let help = "check the management node; traffic goes on without it";
                    self.shared.find(Topic::Certificate, vec![Finding::new("M0213", what, help)]);
                    sleep(RENEWAL_AGAIN).await;
                }
            }
        }
    }

    async fn renew_now(&self) -> Result<(Wall, Wall), Problem> {
        let failed = |why: String| Problem::new("M0213", Exit::Failed, why);
        let (request, old_ca, addresses) = {
            let identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
            let csr = certs::renew_request(&identity.name, &identity.tls_key).map_err(|e| failed(e.to_string()))?;
            (RenewRequest { csr, proofs: Vec::new() }, identity.ca.clone(), self.client().addresses().to_vec())
        };
        let server = self.client();
        let answer: RenewAnswer = server.call(Method::POST, "/v1/renew", Some(&request)).await?;
        self.name(server.unknown());
        tls::vouches(&old_ca, &answer.certificate)
            .map_err(|e| failed(format!("the new certificate is refused: {e}")))?;
        let new = certs::identity_of_pem(&answer.certificate).map_err(|e| failed(e.to_string()))?;
        let validity = certs::validity_of_pem(&answer.certificate).map_err(|e| failed(e.to_string()))?;
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let key = certs::identity_of_pem(&identity.certificate).map_err(|e| failed(e.to_string()))?.key;
        let same_name = matches!(&new.role, Role::Node { name, .. } if *name == identity.name);
        if new.key != key || !same_name {
            return Err(failed("the new certificate is for another key or name".to_owned()));
        }
        file::write(&self.keys.join(CERTIFICATE), answer.certificate.as_bytes(), 0o600)
            .map_err(|e| failed(e.to_string()))?;
        identity.certificate = answer.certificate;
        identity.validity = validity;
        // The stream goes on with the old certificate until it reconnects.
        let renewed = client(&identity, addresses)?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
        self.shared.view().certificate_ends = Some(validity.1);
        Ok(validity)
    }
}

fn client(identity: &Identity, addresses: Vec<String>) -> Result<Client, Problem> {
    let config = tls::client_config(&identity.ca, Some((&identity.certificate, &identity.tls_key)));
    let config = config.map_err(|e| {
        Problem::new("M0224", Exit::Failed, format!("keys and certificates in the keys folder cannot be used: {e}"))
            .help("run: meshctl leave, then meshctl join with a new token")
    })?;
    Ok(Client::https(addresses, config))
}

/// What a report must say, given what the management node has acknowledged on this connection.
fn difference(sent: Option<&Outgoing>, wanted: &Outgoing) -> Report {
    let changed = |same: bool| sent.is_none() || !same;
    Report {
        applied: wanted.applied.filter(|_| changed(sent.is_some_and(|s| s.applied == wanted.applied))),
        facts: wanted.facts.clone().filter(|_| changed(sent.is_some_and(|s| s.facts == wanted.facts))),
        ports: changed(sent.is_some_and(|s| (&s.ports, s.ports_said) == (&wanted.ports, wanted.ports_said)))
            .then(|| wanted.ports.clone()),
        next_key: wanted.next_key.filter(|_| changed(sent.is_some_and(|s| s.next_key == wanted.next_key))),
        key_in_use: wanted.key_in_use.filter(|_| changed(sent.is_some_and(|s| s.key_in_use == wanted.key_in_use))),
        paths: changed(sent.is_some_and(|s| s.paths == wanted.paths)).then(|| wanted.paths.clone()),
        findings: changed(sent.is_some_and(|s| s.findings == wanted.findings)).then(|| wanted.findings.clone()),
        own_mtu: wanted.own_mtu.filter(|_| changed(sent.is_some_and(|s| s.own_mtu == wanted.own_mtu))),
        away: changed(sent.is_some_and(|s| s.away == wanted.away)).then(|| wanted.away.clone()),
        leaving: false,
        proofs: Vec::new(),
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
