//! Certificates: the installation's own authority, what it issues, and who a presented certificate says it is.
//!
//! One authority signs four kinds of leaves and each can stand for nothing else: a server has `serverAuth` and the DNS name
//! [`MANAGEMENT_NAME`]; nodes, admins and tenants have `clientAuth` and their role as a URI. A request (CSR) contributes a public
//! key and nothing more: names and uses come from the caller, so no requester can write itself a role. Time and serial numbers
//! are arguments.

use std::fmt::Write as _;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::api::MANAGEMENT_NAME;
use crate::types::{Label, NodeId, PdcId, Wall};

/// Life of the authority: ten years.
pub const AUTHORITY_LIFE: Duration = Duration::from_hours(24 * 3650);
/// Life of a server certificate: ninety days; a running server makes a new one at two thirds.
pub const SERVER_LIFE: Duration = Duration::from_hours(24 * 90);
/// Life of a node certificate: thirty days; a node renews at two thirds.
pub const NODE_LIFE: Duration = Duration::from_hours(24 * 30);
/// Life of an admin or tenant certificate: one year.
pub const PERSON_LIFE: Duration = Duration::from_hours(24 * 365);
/// How long after its end a node certificate may still ask for its own renewal, and for nothing else.
pub const RENEWAL_GRACE: Duration = Duration::from_hours(24 * 30);
/// Certificates begin this long before they are made, so that a clock that lags does not refuse them.
const BACKDATE: Duration = Duration::from_hours(1);

/// Bytes of a serial number; drawn at random by the caller (RFC 5280 section 4.1.2.2 allows 20).
pub type Serial = [u8; 16];

/// Why a certificate or a request was not made, not read or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertError {
    /// The library refused.
    #[error("cannot make or read a certificate: {0}")]
    Library(String),
    /// Not a certificate request, or its signature does not fit its key.
    #[error("the certificate request is not valid: {0}")]
    Request(String),
    /// Not a certificate.
    #[error("not a certificate: {0}")]
    Syntax(String),
    /// A certificate without exactly one role.
    #[error("the certificate names no single role (vxmesh://node/..., vxmesh://admin/... or vxmesh://tenant/...)")]
    Role,
    /// A name inside is none of ours.
    #[error("the certificate holds a name that is not valid: {0}")]
    Name(String),
    /// A time outside of what a certificate can hold.
    #[error("the time {0} does not fit into a certificate")]
    Time(Wall),
}

/// What a certificate lets its holder be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A machine that runs `meshd`, in this PDC.
    Node {
        /// Its name.
        name: NodeId,
        /// Its PDC.
        pdc: PdcId,
    },
    /// An operator.
    Admin(Label),
    /// A tenant.
    Tenant(Label),
}

/// Who a verified certificate is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The role and name.
    pub role: Role,
    /// SHA-256 of the public key (DER SPKI), in hexadecimal.
    pub key: String,
    /// When the certificate ends.
    pub ends: Wall,
}

/// A certificate with the private key that was made for it.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Issued {
    /// PEM.
    pub certificate: String,
    /// PEM (PKCS #8), wiped on drop.
    pub key: Zeroizing<String>,
}

/// A new key and the request for a certificate of it.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct NewRequest {
    /// PEM certificate request.
    pub csr: String,
    /// PEM (PKCS #8), wiped on drop.
    pub key: Zeroizing<String>,
}

/// The installation's certificate authority.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    pin: [u8; 32],
    lives: Lives,
}

/// How long certificates live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lives {
    /// Of nodes.
    pub node: Duration,
    /// Of management servers.
    pub server: Duration,
    /// Of admins and tenants.
    pub person: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        Self { node: NODE_LIFE, server: SERVER_LIFE, person: PERSON_LIFE }
    }
}

/// What a leaf is for.
enum Purpose<'a> {
    Server,
    Client(&'a Role),
}

fn library(error: impl std::fmt::Display) -> CertError {
    CertError::Library(error.to_string())
}

fn moment(at: Wall) -> Result<OffsetDateTime, CertError> {
    i64::try_from(at.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or(CertError::Time(at))
}

fn backdated(now: Wall) -> Wall {
    Wall::from_secs(now.as_secs().saturating_sub(BACKDATE.as_secs()))
}

/// SHA-256 in hexadecimal.
pub(super) fn hex_sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Role {
    fn names(&self) -> Vec<String> {
        match self {
            Self::Node { name, pdc } => vec![format!("vxmesh://node/{name}"), format!("vxmesh://pdc/{pdc}")],
            Self::Admin(name) => vec![format!("vxmesh://admin/{name}")],
            Self::Tenant(name) => vec![format!("vxmesh://tenant/{name}")],
        }
    }

    /// How logs and the audit name the holder: `node/a-1`.
    pub fn title(&self) -> String {
        match self {
            Self::Node { name, .. } => format!("node/{name}"),
            Self::Admin(name) => format!("admin/{name}"),
            Self::Tenant(name) => format!("tenant/{name}"),
        }
    }
}

/// Subject, validity, serial and uses of a leaf.
fn leaf(purpose: &Purpose<'_>, now: Wall, life: Duration, serial: Serial) -> Result<CertificateParams, CertError> {
    let mut params = CertificateParams::default();
    let (title, usage, names) = match purpose {
        Purpose::Server => {
            let name = Ia5String::try_from(MANAGEMENT_NAME).map_err(library)?;
            (MANAGEMENT_NAME.to_owned(), ExtendedKeyUsagePurpose::ServerAuth, vec![SanType::DnsName(name)])
        }
        Purpose::Client(role) => {
            let uri = |text: String| Ia5String::try_from(text).map(SanType::URI).map_err(library);
            let names = role.names().into_iter().map(uri).collect::<Result<_, _>>()?;
            (role.title(), ExtendedKeyUsagePurpose::ClientAuth, names)
        }
    };
    params.distinguished_name = subject(&title);
    params.subject_alt_names = names;
    params.extended_key_usages = vec![usage];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    set_life(&mut params, now, life, serial)?;
    Ok(params)
}

fn subject(title: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "vxmesh");
    // RFC 5280 appendix A: a common name has at most 64 characters. The SAN is what counts.
    name.push(DnType::CommonName, title.chars().take(64).collect::<String>());
    name
}

fn set_life(params: &mut CertificateParams, now: Wall, life: Duration, serial: Serial) -> Result<(), CertError> {
    params.not_before = moment(backdated(now))?;
    params.not_after = moment(now + life)?;
    let mut serial = serial;
    // A serial number is a positive integer: the top bit stays clear.
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(())
}

impl Authority {
    /// Makes a new authority named after the installation; its private key is in the answer and nowhere else.
    ///
    /// # Errors
    /// [`CertError::Library`], [`CertError::Time`].
    pub fn make(now: Wall, serial: Serial) -> Result<(Self, Issued), CertError> {
        let key = KeyPair::generate().map_err(library)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(&format!("vxmesh CA {}", &hex(&serial)[..8]));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_life(&mut params, now, AUTHORITY_LIFE, serial)?;
        let certificate = params.self_signed(&key).map_err(library)?.pem();
        let secret = Zeroizing::new(key.serialize_pem());
        Ok((Self::load(&certificate, &secret)?, Issued { certificate, key: secret }))
    }

    /// An authority from its two PEM files.
    ///
    /// # Errors
    /// [`CertError::Syntax`]: a file holds something else; [`CertError::Library`]: the key is not the certificate's.
    pub fn load(certificate: &str, key: &str) -> Result<Self, CertError> {
        let key = KeyPair::from_pem(key).map_err(|e| CertError::Syntax(e.to_string()))?;
        let pin: [u8; 32] = Sha256::digest(key.subject_public_key_info()).into();
        if spki_of_pem(certificate)? != pin {
            return Err(CertError::Library("the CA certificate is not of the CA key".to_owned()));
        }
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(library)?;
        Ok(Self { issuer, certificate: certificate.to_owned(), pin, lives: Lives::default() })
    }

    /// Issues with these lives from now on.
    #[must_use]
    pub fn with_lives(self, lives: Lives) -> Self {
        Self { lives, ..self }
    }

    /// PEM of the authority's own certificate.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// SHA-256 of the authority's public key (DER SPKI): what tokens carry.
    pub const fn pin(&self) -> [u8; 32] {
        self.pin
    }

    /// A key and certificate for a management server.
    ///
    /// # Errors
    /// [`CertError::Library`], [`CertError::Time`].
    pub fn server(&self, now: Wall, serial: Serial) -> Result<Issued, CertError> {
        self.with_new_key(&Purpose::Server, now, self.lives.server, serial)
    }

    /// A key and certificate for an operator or a tenant.
    ///
    /// # Errors
    /// [`CertError::Library`], [`CertError::Time`].
    pub fn person(&self, role: &Role, now: Wall, serial: Serial) -> Result<Issued, CertError> {
        self.with_new_key(&Purpose::Client(role), now, self.lives.person, serial)
    }

    fn with_new_key(
        &self,
        purpose: &Purpose<'_>,
        now: Wall,
        life: Duration,
        serial: Serial,
    ) -> Result<Issued, CertError> {
        let key = KeyPair::generate().map_err(library)?;
        let certificate = leaf(purpose, now, life, serial)?.signed_by(&key, &self.issuer).map_err(library)?.pem();
        Ok(Issued { certificate, key: Zeroizing::new(key.serialize_pem()) })
    }

    /// A certificate for the key of a node's request.
    ///
    /// # Errors
    /// [`CertError::Library`], [`CertError::Time`].
    pub fn node(
        &self,
        request: Request,
        node: &NodeId,
        pdc: &PdcId,
        now: Wall,
        serial: Serial,
    ) -> Result<String, CertError> {
        let role = Role::Node { name: node.clone(), pdc: pdc.clone() };
        let params = leaf(&Purpose::Client(&role), now, self.lives.node, serial)?;
        let asked = CertificateSigningRequestParams { params, public_key: request.key };
        Ok(asked.signed_by(&self.issuer).map_err(library)?.pem())
    }
}

/// A certificate request whose signature was checked: its sender holds the private key. Only the key is kept.
#[derive(Debug, Clone)]
pub struct Request {
    key: rcgen::PublicKey,
    hash: String,
}

impl Request {
    /// Reads and verifies a PEM request.
    ///
    /// # Errors
    /// [`CertError::Request`]: no request, a signature that does not fit, or a kind of key that we do not sign for.
    pub fn read(pem: &str) -> Result<Self, CertError> {
        let read = CertificateSigningRequestParams::from_pem(pem).map_err(|e| CertError::Request(e.to_string()))?;
        let key = read.public_key;
        if ![&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519].contains(&key.algorithm()) {
            return Err(CertError::Request("the key must be ECDSA P-256 or Ed25519".to_owned()));
        }
        let hash = hex_sha256(&key.subject_public_key_info());
        Ok(Self { key, hash })
    }

    /// SHA-256 of the requested public key (DER SPKI), in hexadecimal.
    pub fn key_hash(&self) -> &str {
        &self.hash
    }
}

/// Makes a TLS key and a request for it: what a node sends. The subject is for people; the authority ignores it.
///
/// # Errors
/// [`CertError::Library`].
pub fn new_request(name: &NodeId) -> Result<NewRequest, CertError> {
    let key = KeyPair::generate().map_err(library)?;
    let csr = request_for(name, &key)?;
    Ok(NewRequest { csr, key: Zeroizing::new(key.serialize_pem()) })
}

/// A request for an existing TLS key (PEM), to renew its certificate.
///
/// # Errors
/// [`CertError::Syntax`]: not a key; [`CertError::Library`].
pub fn renew_request(name: &NodeId, key: &str) -> Result<String, CertError> {
    request_for(name, &KeyPair::from_pem(key).map_err(|e| CertError::Syntax(e.to_string()))?)
}

fn request_for(name: &NodeId, key: &KeyPair) -> Result<String, CertError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(&format!("node/{name}"));
    params.serialize_request(key).and_then(|request| request.pem()).map_err(library)
}

/// DER of the first certificate of a PEM text.
fn der_of_pem(pem: &str) -> Result<Vec<u8>, CertError> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|e| CertError::Syntax(e.to_string()))?;
    Ok(block.contents)
}

fn spki_of_pem(pem: &str) -> Result<[u8; 32], CertError> {
    spki_hash(&der_of_pem(pem)?)
}

/// SHA-256 of the public key (DER SPKI) of a DER certificate: what a pin is compared with.
///
/// # Errors
/// [`CertError::Syntax`].
pub fn spki_hash(der: &[u8]) -> Result<[u8; 32], CertError> {
    let certificate = parse(der)?;
    Ok(Sha256::digest(certificate.tbs_certificate.subject_pki.raw).into())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(CertError::Syntax("bytes follow the certificate".to_owned())),
        Err(error) => Err(CertError::Syntax(error.to_string())),
    }
}

/// When a DER certificate begins and ends.
///
/// # Errors
/// [`CertError::Syntax`].
pub fn validity(der: &[u8]) -> Result<(Wall, Wall), CertError> {
    let certificate = parse(der)?;
    let wall = |at: i64| Wall::from_secs(u64::try_from(at).unwrap_or(0));
    let validity = certificate.validity();
    Ok((wall(validity.not_before.timestamp()), wall(validity.not_after.timestamp())))
}

/// When a certificate with this beginning and end is renewed: at two thirds of the life that it was given. What it was dated
/// back does not count; else a short life would be over two thirds from its first second on.
pub fn renewal((begins, ends): (Wall, Wall)) -> Wall {
    let whole = Duration::from_nanos(ends.as_nanos().saturating_sub(begins.as_nanos()));
    let third = u64::try_from((whole.saturating_sub(BACKDATE) / 3).as_nanos()).unwrap_or(u64::MAX);
    Wall::from_nanos(ends.as_nanos().saturating_sub(third))
}

/// As [`validity`], of a PEM text.
///
/// # Errors
/// [`CertError::Syntax`].
pub fn validity_of_pem(pem: &str) -> Result<(Wall, Wall), CertError> {
    validity(&der_of_pem(pem)?)
}

/// Who a PEM certificate is of.
///
/// # Errors
/// As [`identity`].
pub fn identity_of_pem(pem: &str) -> Result<Identity, CertError> {
    identity(&der_of_pem(pem)?)
}

/// Who a DER certificate is of. The caller has verified that our authority signed it (TLS does).
///
/// # Errors
/// [`CertError::Role`]: no role, or more than one; [`CertError::Name`], [`CertError::Syntax`].
pub fn identity(der: &[u8]) -> Result<Identity, CertError> {
    let certificate = parse(der)?;
    let names = certificate.subject_alternative_name().map_err(|e| CertError::Syntax(e.to_string()))?;
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let (mut roles, mut pdc) = (Vec::new(), None);
    for name in names {
        // Exactly the shape that `leaf` writes: any other kind of name in a client certificate is not ours.
        #[expect(clippy::wildcard_enum_match_arm, reason = "not our enum; every other kind of name is refused")]
        let text = match name {
            GeneralName::URI(text) => *text,
            _ => return Err(CertError::Role),
        };
        let (kind, name) = text.strip_prefix("vxmesh://").and_then(|t| t.split_once('/')).ok_or(CertError::Role)?;
        if kind == "pdc" && pdc.is_none() {
            pdc = Some(name.parse::<PdcId>().map_err(|e| CertError::Name(e.to_string()))?);
        } else {
            roles.push((kind, name));
        }
    }
    let [(kind, name)] = roles.as_slice() else { return Err(CertError::Role) };
    let role = role_of(kind, name, pdc)?;
    let key = hex_sha256(certificate.tbs_certificate.subject_pki.raw);
    let ends = Wall::from_secs(u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0));
    Ok(Identity { role, key, ends })
}

fn role_of(kind: &str, name: &str, pdc: Option<PdcId>) -> Result<Role, CertError> {
    let label = || name.parse::<Label>().map_err(|e| CertError::Name(e.to_string()));
    match (kind, pdc) {
        ("node", Some(pdc)) => Ok(Role::Node {
            name: name.parse().map_err(|e: crate::types::LabelError| CertError::Name(e.to_string()))?,
            pdc,
        }),
        ("admin", None) => Ok(Role::Admin(label()?)),
        ("tenant", None) => Ok(Role::Tenant(label()?)),
        _ => Err(CertError::Role),
    }
}

#[cfg(test)]
#[path = "certs_tests.rs"]
mod tests;
