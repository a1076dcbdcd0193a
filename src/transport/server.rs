//! The management server's side of TLS and HTTP/1.1: limits before anybody is known, then who is there, then the router.
//!
//! A connection has ten seconds for its handshake, a source without a certificate has few connections, a request head has its
//! own time and size. A certificate that ended a short while ago is still read, and marked: it may ask for its renewal only.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
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
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use super::tls::{self, TlsError};
use crate::mgmt::certs::{self, Identity, RENEWAL_GRACE};
use crate::mgmt::roles::Standing;

/// What strangers may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time for a request's head, and between two requests.
    pub head: Duration,
    /// Connections in all.
    pub total: usize,
    /// Connections of one source (IPv4 address, IPv6 /64) that have shown no certificate.
    pub per_source: usize,
    /// Time for open requests after the order to stop.
    pub goodbye: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            total: 4096,
            per_source: 32,
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

/// Counts connections by source until they are known.
#[derive(Debug, Default)]
struct Gate {
    sources: Mutex<BTreeMap<IpAddr, usize>>,
}

/// One counted connection; gives its place back on drop.
struct Place {
    gate: Arc<Gate>,
    source: IpAddr,
}

impl Gate {
    fn enter(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<Place> {
        let source = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => v6
                .to_ipv4_mapped()
                .map_or_else(|| IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))), IpAddr::V4),
        };
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sources.entry(source).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { gate: Arc::clone(self), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sources = self.gate.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = sources.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                sources.remove(&self.source);
            }
        }
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
    let gate = Arc::new(Gate::default());
    let mut open = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
            Some(_) = open.join_next() => continue,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: take a breath instead of a loop.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let place = gate.enter(address.ip(), limits.per_source).filter(|_| open.len() < limits.total);
        let Some(place) = place else {
            tracing::debug!(%address, "too many connections; closed");
            continue;
        };
        let acceptor = TlsAcceptor::from(tls.load_full());
        open.spawn(connection(stream, address, acceptor, place, limits, router.clone(), stop.clone()));
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
        tracing::debug!(%address, %error, "no TCP_NODELAY");
    }
    let stream = match timeout(limits.handshake, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%address, "TLS handshake took too long"),
    };
    let caller = match caller(&stream, address) {
        Ok(caller) => caller,
        Err(error) => return tracing::warn!(%address, %error, "certificate refused"),
    };
    // Whoever is known is not counted with the strangers of its address.
    let place = Some(place).filter(|_| caller.standing == Standing::Stranger);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        router.clone().oneshot(request.map(Body::new))
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_headers(64);
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stopped(&mut stop) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "connection ended");
    }
    drop(place);
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
