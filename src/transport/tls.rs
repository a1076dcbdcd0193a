//! TLS 1.3 only, with the hybrid post-quantum key exchange first, without tickets or resumption.
//!
//! Two ways to believe a server: by the CA of this installation ([`client_config`]), or, before a machine has that CA, by the
//! hash of the CA's public key that its token carries ([`pinned_client_config`]). Both decide inside the handshake, so not one
//! byte of HTTP leaves for a server that is not believed.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::api::MANAGEMENT_NAME;

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A text holds no certificate.
    #[error("the text holds no PEM certificate")]
    NoCertificate,
    /// A text is not PEM.
    #[error("the text is not PEM: {0}")]
    Pem(#[from] rustls::pki_types::pem::Error),
    /// rustls refuses a certificate or key.
    #[error("certificate or key refused: {0}")]
    Refused(#[from] rustls::Error),
    /// The CA is no trust anchor.
    #[error("the CA certificate cannot be used: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The server's CA is not the one that the token names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("none of the certificates that the server shows is the CA that the token names")]
pub struct PinMismatch;

/// The one set of algorithms: aws-lc-rs, X25519MLKEM768 preferred, X25519 accepted.
pub fn provider() -> Arc<CryptoProvider> {
    let kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519];
    Arc::new(CryptoProvider { kx_groups, ..aws_lc_rs::default_provider() })
}

/// The clock that certificates are checked by.
pub fn time_provider() -> Arc<dyn TimeProvider> {
    Arc::new(Clock)
}

#[derive(Debug)]
struct Clock;

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_nanos(crate::clock::wall().as_nanos())))
    }
}

/// All certificates of a PEM text, at least one.
///
/// # Errors
/// [`TlsError::Pem`], [`TlsError::NoCertificate`].
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err(TlsError::NoCertificate) } else { Ok(all) }
}

/// The private key of a PEM text.
///
/// # Errors
/// [`TlsError::Pem`].
pub fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    Ok(PrivateKeyDer::from_pem_slice(pem.as_bytes())?)
}

/// A trust store of the CAs of a PEM text.
///
/// # Errors
/// [`TlsError`]: not PEM, or not a certificate.
pub fn roots(ca_pem: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

/// SHA-256 of the public key (DER SPKI) of a certificate: what a token pins. None: not a certificate.
pub fn spki_hash(certificate: &[u8]) -> Option<[u8; 32]> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(Sha256::digest(parsed.public_key().raw).into())
}

/// Whether `ca` (PEM) signed `certificate` (PEM) as a client certificate that is valid now.
///
/// # Errors
/// [`TlsError`] with the reason.
pub fn vouches(ca: &str, certificate: &str) -> Result<(), TlsError> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider()).build()?;
    let chain = certificates(certificate)?;
    let Some((leaf, others)) = chain.split_first() else { return Err(TlsError::NoCertificate) };
    let now = Clock.current_time().unwrap_or_else(|| UnixTime::since_unix_epoch(std::time::Duration::ZERO));
    verifier.verify_client_cert(leaf, others, now)?;
    Ok(())
}

type Builder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn builder() -> Result<Builder, TlsError> {
    Ok(ClientConfig::builder_with_details(provider(), time_provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?)
}

fn plain(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// For a program that has the CA: believes servers named [`MANAGEMENT_NAME`] under it, and shows `identity` (certificate and key,
/// PEM) if there is one.
///
/// # Errors
/// [`TlsError`]: a text is not what it should be, or key and certificate do not belong together.
pub fn client_config(ca_pem: &str, identity: Option<(&str, &str)>) -> Result<Arc<ClientConfig>, TlsError> {
    let trusting = builder()?.with_root_certificates(roots(ca_pem)?);
    let config = match identity {
        Some((chain, key)) => trusting.with_client_auth_cert(certificates(chain)?, private_key(key)?)?,
        None => trusting.with_no_client_auth(),
    };
    Ok(plain(config))
}

/// For a machine that has only a token: believes a server that shows, beside its own certificate, the CA whose public key
/// hashes to `pin`, if that CA signed it for [`MANAGEMENT_NAME`] as a TLS server and it is valid now.
///
/// # Errors
/// [`TlsError::Refused`] where the library refuses the algorithms.
pub fn pinned_client_config(pin: [u8; 32]) -> Result<Arc<ClientConfig>, TlsError> {
    let verifier = Arc::new(Pinned { pin, provider: provider() });
    Ok(plain(builder()?.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        spki_hash(certificate).is_some_and(|hash| hash.ct_eq(&self.pin).into())
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let ca = others.iter().find(|c| self.is_pinned(c)).ok_or_else(|| {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(PinMismatch))))
        })?;
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let under_the_pin = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        under_the_pin.verify_server_cert(leaf, others, &management_name(), ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The name that every management server must prove, whatever address it was reached at.
pub fn management_name() -> ServerName<'static> {
    match ServerName::try_from(MANAGEMENT_NAME) {
        Ok(name) => name,
        Err(_) => unreachable!("{MANAGEMENT_NAME} is a DNS name"),
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
pub(crate) mod tests;
