//! The management server's side of TLS and HTTP/1.1: limits before anybody is known, then who is there, then the router.
//!
//! A connection has ten seconds for its handshake, a source without a certificate has few connections, all strangers together
//! have a part of the places and the source with most of them makes room for the next, a request head has its own time and size. So
//! those who come to sit and wait never keep out a member, who comes once and is known after one handshake. A certificate that ended a short while ago is
//! still read, and marked: it may ask for its renewal only.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use super::tls::{self, TlsError};
use crate::mgmt::certs::{self, Identity, RENEWAL_GRACE};
use crate::mgmt::limits;
use crate::mgmt::roles::Standing;
use crate::policy::quiet::Quiet;
use crate::types::Wall;

/// Bytes of a request's head, and of what is read of a body at one time.
const HEAD_BYTES: usize = 32 << 10;

/// How often it is said what was kept back from the log.
const TELL: Duration = Duration::from_secs(60);

/// What strangers may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time for a request's head, and between two requests.
    pub head: Duration,
    /// Connections in all.
    pub total: usize,
    /// Connections that have shown no certificate, of all sources together; one more, and one of the busiest source is closed.
    pub strangers: usize,
    /// Connections of one source (IPv4 address, IPv6 /64) that have shown no certificate.
    pub per_source: usize,
    /// Connections of one certificate's key.
    pub per_key: usize,
    /// Time for open requests after the order to stop.
    pub goodbye: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            total: 4096,
            strangers: 1024,
            per_source: 32,
            per_key: 64,
            goodbye: Duration::from_secs(5),
        }
    }
}

/// Who is at the other end of a connection; an extension of each of its requests.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its address.
    pub address: SocketAddr,
    /// Who its certificate says it is; none: it showed none.
    pub identity: Option<Identity>,
    /// What it may stand for.
    pub standing: Standing,
}

impl Caller {
    /// The same caller at this time: a connection may be open for longer than the certificate holds that began it.
    fn now(&self, now: Wall) -> Self {
        let standing = self.identity.as_ref().map_or(Standing::Stranger, |identity| {
            if now >= identity.ends + RENEWAL_GRACE {
                return Standing::Stranger;
            }
            Standing::of(&identity.role, identity.ends <= now)
        });
        Self { standing, ..self.clone() }
    }

    /// When its certificate ends; where it showed none, long ago.
    pub fn ends(&self) -> Wall {
        self.identity.as_ref().map_or_else(Wall::default, |identity| identity.ends)
    }
}

/// TLS of the server: shows `chain` (its own certificate, then the CA), asks for a client certificate and takes none too.
///
/// # Errors
/// [`TlsError`]
pub fn server_config(ca: &str, chain: &str, key: &str) -> Result<Arc<ServerConfig>, TlsError> {
    let roots = Arc::new(tls::roots(ca)?);
    let inner = WebPkiClientVerifier::builder_with_provider(roots, tls::provider()).allow_unauthenticated().build()?;
    let mut config = ServerConfig::builder_with_details(tls::provider(), tls::time_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(Graceful { inner }))
        .with_single_cert(tls::certificates(chain)?, tls::private_key(key)?)?;
    // A resumed session would carry an identity past its removal.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}

/// Verifies as the inner one does, and also takes what ended less than [`RENEWAL_GRACE`] ago.
#[derive(Debug)]
struct Graceful {
    inner: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for Graceful {
    fn offer_client_auth(&self) -> bool {
        self.inner.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let refused = match self.inner.verify_client_cert(leaf, others, now) {
            Ok(verified) => return Ok(verified),
            Err(error) => error,
        };
        let expired = matches!(
            refused,
            rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })
        );
        let Some(ends) = certs::validity(leaf).ok().filter(|_| expired).map(|(_, ends)| ends.as_secs()) else {
            return Err(refused);
        };
        if now.as_secs().saturating_sub(ends) > RENEWAL_GRACE.as_secs() {
            return Err(refused);
        }
        let while_valid = UnixTime::since_unix_epoch(Duration::from_secs(ends.saturating_sub(1)));
        self.inner.verify_client_cert(leaf, others, while_valid)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Counts connections: by source until they are known, by key from then on.
#[derive(Debug)]
struct Gate {
    strangers: Mutex<Strangers>,
    known: Mutex<BTreeMap<String, usize>>,
    /// What of all that happens before anybody is known goes into the log.
    logged: Mutex<Quiet>,
}

#[derive(Debug, Default)]
struct Strangers {
    /// Connections of each source that have not ended.
    sources: BTreeMap<IpAddr, usize>,
    /// Whence each of them is (IPv4 address, IPv6 /48) and how to close it, in the order in which they came; those that were told to go are out.
    line: BTreeMap<u64, (IpAddr, Arc<Notify>)>,
    /// How many of each source are in the line.
    waiting: BTreeMap<IpAddr, usize>,
    came: u64,
}

/// Where an address is from: an IPv4 address, or so many bits of an IPv6 address.
fn prefix(address: IpAddr, bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << (128 - bits))).into(),
    }
}

/// Takes one from a count; a count of none is no entry.
fn less<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Strangers {
    /// Closes the oldest connection of the source that has most: who comes once is never in the way of who comes often.
    fn make_room(&mut self) {
        let busiest = self.waiting.iter().max_by_key(|(_, count)| **count).map(|(source, _)| *source);
        let oldest = self.line.iter().find(|(_, (source, _))| Some(*source) == busiest).map(|(number, _)| *number);
        if let Some(leave) = oldest.and_then(|number| self.leave(number)) {
            leave.notify_one();
        }
    }

    fn stand(&mut self, source: IpAddr) -> (u64, Arc<Notify>) {
        self.came += 1;
        let leave = Arc::new(Notify::new());
        self.line.insert(self.came, (source, Arc::clone(&leave)));
        *self.waiting.entry(source).or_default() += 1;
        (self.came, leave)
    }

    fn leave(&mut self, number: u64) -> Option<Arc<Notify>> {
        let (source, leave) = self.line.remove(&number)?;
        less(&mut self.waiting, &source);
        Some(leave)
    }
}

/// One counted connection; gives its place back on drop.
struct Place {
    gate: Arc<Gate>,
    source: IpAddr,
    number: u64,
    /// Told when the place is needed for a newer one.
    leave: Arc<Notify>,
}

/// One connection of a known key; gives its place back on drop.
struct Seat {
    gate: Arc<Gate>,
    key: String,
}

impl Gate {
    fn new() -> Self {
        let logged = Mutex::new(Quiet::new(limits::LOGGED, crate::clock::mono()));
        Self { strangers: Mutex::default(), known: Mutex::default(), logged }
    }

    /// May one more line about a source go into the log? If so: how many did not.
    fn may_log(&self, address: SocketAddr) -> Option<u64> {
        self.logged.lock().unwrap_or_else(PoisonError::into_inner).may(address.ip(), crate::clock::mono())
    }

    /// Says why a connection came to nothing, unless the like was said often of late.
    fn say(&self, address: SocketAddr, why: &dyn std::fmt::Display, what: &'static str) {
        if let Some(kept_back) = self.may_log(address) {
            tracing::warn!(%address, %why, kept_back, what);
        }
    }

    /// The same of what happens every day, for those who look for it.
    fn murmur(&self, address: SocketAddr, why: &dyn std::fmt::Display, what: &'static str) {
        if tracing::enabled!(tracing::Level::DEBUG)
            && let Some(kept_back) = self.may_log(address)
        {
            tracing::debug!(%address, %why, kept_back, what);
        }
    }

    /// Says how much was kept back, where nobody has said it yet.
    fn tell(&self) {
        if let Some(kept_back) = self.logged.lock().unwrap_or_else(PoisonError::into_inner).rest() {
            tracing::warn!(kept_back, "more lines about connections of strangers were kept back");
        }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more connection of a key, if it has not too many.
    fn seat(self: &Arc<Self>, key: &str, limit: usize) -> Option<Seat> {
        let mut known = self.known();
        let count = known.entry(key.to_owned()).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Seat { gate: Arc::clone(self), key: key.to_owned() })
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Option<Place> {
        // A host commands a /64; a site has many of those, and they stand in line together.
        let [source, site] = [64, 48].map(|bits| prefix(address, bits));
        let mut strangers = self.strangers();
        let count = strangers.sources.entry(source).or_default();
        if *count >= limits.per_source {
            return None;
        }
        *count += 1;
        if strangers.line.len() >= limits.strangers {
            strangers.make_room();
        }
        let (number, leave) = strangers.stand(site);
        Some(Place { gate: Arc::clone(self), source, number, leave })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        less(&mut self.gate.known(), &self.key);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut strangers = self.gate.strangers();
        strangers.leave(self.number);
        less(&mut strangers.sources, &self.source);
    }
}

/// Serves until `stop` is true, then lets open requests end within [`Limits::goodbye`]. `tls` may be exchanged meanwhile.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ArcSwap<ServerConfig>>,
    limits: Limits,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let gate = Arc::new(Gate::new());
    let mut open = tokio::task::JoinSet::new();
    let mut tell = tokio::time::interval(TELL);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
            Some(_) = open.join_next() => continue,
            _ = tell.tick() => {
                gate.tell();
                continue;
            }
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: take a breath instead of a loop.
                if let Some(kept_back) = gate.may_log(SocketAddr::from(([0, 0, 0, 0], 0))) {
                    tracing::warn!(%error, kept_back, "cannot accept a connection");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Those that have ended take no place, however fast new ones come.
        while open.try_join_next().is_some() {}
        let place = gate.enter(address.ip(), &limits).filter(|_| open.len() < limits.total);
        let Some(place) = place else {
            gate.murmur(address, &"no place is free", "closed");
            continue;
        };
        let acceptor = TlsAcceptor::from(tls.load_full());
        let leave = Arc::clone(&place.leave);
        let connection = connection(stream, address, acceptor, place, limits, router.clone(), stop.clone());
        let gate = Arc::clone(&gate);
        open.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = leave.notified() => gate.murmur(address, &"others need its place, and its source has most", "closed"),
            }
        });
    }
    let rest = async { while open.join_next().await.is_some() {} };
    if timeout(limits.goodbye, rest).await.is_err() {
        tracing::info!("some requests did not end in time");
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    place: Place,
    limits: Limits,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        place.gate.murmur(address, &error, "no TCP_NODELAY");
    }
    let stream = match timeout(limits.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return place.gate.murmur(address, &error, "TLS handshake failed"),
        Err(late) => return place.gate.murmur(address, &late, "TLS handshake took too long"),
    };
    let caller = match caller(&stream, address) {
        Ok(caller) => caller,
        Err(error) => return place.gate.say(address, &error, "certificate refused"),
    };
    let gate = Arc::clone(&place.gate);
    // Whoever is known is counted by its key, and no more with the strangers of its address.
    let known = caller.identity.as_ref().filter(|_| caller.standing != Standing::Stranger);
    let (_place, _seat) = match known {
        None => (Some(place), None),
        Some(identity) => match place.gate.seat(&identity.key, limits.per_key) {
            Some(seat) => {
                drop(place);
                (None, Some(seat))
            }
            None => return place.gate.say(address, &identity.role.title(), "too many connections; closed"),
        },
    };
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(caller.now(crate::clock::wall()));
        router.clone().oneshot(request.map(Body::new))
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_headers(64).max_buf_size(HEAD_BYTES);
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopped(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        gate.murmur(address, &error, "connection ended");
    }
}

/// Ends when the order to stop comes, or can come no more.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn caller(stream: &TlsStream<TcpStream>, address: SocketAddr) -> Result<Caller, certs::CertError> {
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let Some(shown) = shown else {
        return Ok(Caller { address, identity: None, standing: Standing::Stranger });
    };
    let identity = certs::identity(shown)?;
    let standing = Standing::of(&identity.role, identity.ends <= crate::clock::wall());
    Ok(Caller { address, identity: Some(identity), standing })
}
