//! How a machine gets in, from its own side: a chain of values, each made by using up the one before.
//!
//! [`Token`] -> [`Waiting`] (with the request to send) -> [`Member`] -> [`Member::files`]. Nothing is written before the last
//! step, and a [`Member`] exists only if the answer is for our name and our key, under the authority that the token pins.

use serde::Deserialize;
use toml::Spanned;
use zeroize::Zeroizing;

use crate::api::enroll::{EnrollAnswer, EnrollRequest};
use crate::api::objects::NodeFacts;
use crate::api::problem::{Exit, Problem};
use crate::api::proof::Challenge;
use crate::config::Source;
use crate::mgmt::certs::{self, CertError, Identity, Role};
use crate::mgmt::possession::{self, Claim, Statement};
use crate::mgmt::token::{self, ReadToken, TokenTextError};
use crate::table::Slice;
use crate::types::{NodeId, PdcId, PublicKey, SecretKey};

/// Why enrolment stops.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrollError {
    /// The request for a certificate cannot be read back.
    #[error("the certificate request made here is not valid: {0}")]
    Request(#[source] CertError),
    /// The answer is not what was asked for.
    #[error("the answer of the management node is refused: {0}")]
    Answer(String),
    /// The token is for another PDC than the node's file asserts.
    #[error("the token is for PDC '{token}', but this node's file says '{file}'")]
    OtherPdc {
        /// As the token says.
        token: PdcId,
        /// As the file says.
        file: PdcId,
    },
}

/// A join token that was read. No `Debug`: the secret is in it.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct Token(ReadToken);

/// The keys that were made on this machine and stay there.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Keys {
    /// Static key of the tunnels.
    pub wireguard: SecretKey,
    /// Its public half.
    pub public: PublicKey,
    /// PEM of the TLS key.
    pub tls: Zeroizing<String>,
    /// PEM request for a certificate of the TLS key.
    pub csr: String,
}

/// Who this machine wants to be, and what it says of itself.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Its name.
    pub name: NodeId,
    /// The PDC that its own file asserts, if it does.
    pub pdc: Option<PdcId>,
    /// Addresses, MTU, lanes.
    pub facts: NodeFacts,
}

/// A request is on its way.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Waiting {
    pin: [u8; 32],
    addresses: Vec<String>,
    wish: Wish,
    keys: Keys,
    tls_key: String,
}

/// Checks signatures; the arithmetic is ring 3's.
pub trait Authority {
    /// SHA-256 of the public key of the first certificate in `ca` (PEM); none: it is no certificate.
    fn pin(&self, ca: &str) -> Option<[u8; 32]>;
    /// Whether `ca` (PEM) signed `certificate` (PEM) as a client certificate that is valid now.
    ///
    /// # Errors
    /// A sentence that says why not.
    fn vouches(&self, ca: &str, certificate: &str) -> Result<(), String>;
}

/// A machine that is in.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Member {
    /// Addresses of the management nodes, from the token.
    pub addresses: Vec<String>,
    /// Its name.
    pub name: NodeId,
    /// Its PDC, from the token.
    pub pdc: PdcId,
    /// Its first slice.
    pub slice: Slice,
    /// Who its certificate says it is, and until when.
    pub identity: Identity,
    certificate: String,
    ca: String,
    keys: Keys,
}

/// One file of a joined machine, to be written atomically.
#[expect(missing_debug_implementations, reason = "may hold a secret")]
pub struct File {
    /// Where it belongs.
    pub folder: Folder,
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub text: Zeroizing<String>,
    /// Its mode.
    pub mode: u32,
}

/// The folders of `[paths]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// `keys`
    Keys,
    /// `state`
    State,
    /// `run`
    Run,
}

/// File of the tunnels' static key, base64.
pub const WIREGUARD_KEY: &str = "wireguard.key";
/// File of the TLS key, PEM.
pub const TLS_KEY: &str = "tls.key";
/// File of the node's certificate, PEM.
pub const CERTIFICATE: &str = "tls.crt";
/// File of the authority, PEM.
pub const CA: &str = "ca.crt";
/// File of the slice, JSON.
pub const SLICE: &str = "slice.json";

impl Token {
    /// Reads a token's text. White space around it, as a copied line has, is no fault.
    ///
    /// # Errors
    /// [`TokenTextError`].
    pub fn parse(text: &str) -> Result<Self, TokenTextError> {
        token::read(text).map(Self)
    }

    /// SHA-256 of the public key of the authority to believe.
    pub const fn pin(&self) -> [u8; 32] {
        self.0.pin
    }

    /// `host:port` of the management nodes.
    pub fn addresses(&self) -> &[String] {
        &self.0.addresses
    }

    /// Puts an address in front of those of the token: the operator named it.
    pub fn prefer(&mut self, address: String) {
        self.0.addresses.retain(|known| *known != address);
        self.0.addresses.insert(0, address);
    }

    /// The request to send, over a connection whose server proved [`Token::pin`], and what is needed to judge the answer. `challenge`
    /// is of the same server.
    ///
    /// # Errors
    /// [`EnrollError::Request`]: `keys.csr` is none; [`EnrollError::Answer`]: `challenge` cannot be proved against.
    pub fn request(
        self,
        wish: Wish,
        keys: Keys,
        challenge: &Challenge,
    ) -> Result<(EnrollRequest, Waiting), EnrollError> {
        let tls_key = certs::Request::read(&keys.csr).map_err(EnrollError::Request)?.key_hash().to_owned();
        let said = Statement { node: &wish.name, tls_key: &tls_key, claim: Claim::Join };
        let proof = possession::prove(&keys.wireguard, challenge, said);
        let proof = proof.ok_or_else(|| EnrollError::Answer("its challenge is no key".to_owned()))?;
        let request = EnrollRequest {
            token: self.0.id.clone(),
            secret: self.0.secret.to_string(),
            name: wish.name.clone(),
            asserted_pdc: wish.pdc.clone(),
            csr: keys.csr.clone(),
            public_key: keys.public,
            facts: wish.facts.clone(),
            proofs: vec![proof],
        };
        Ok((request, Waiting { pin: self.0.pin, addresses: self.0.addresses, wish, keys, tls_key }))
    }
}

impl Waiting {
    /// Judges the answer.
    ///
    /// # Errors
    /// [`EnrollError::Answer`]: the certificate is not for our key, name and PDC, not under the pinned authority, or the slice is of
    /// another node; [`EnrollError::OtherPdc`].
    pub fn accept(self, answer: EnrollAnswer, authority: &dyn Authority) -> Result<Member, EnrollError> {
        let refuse = |why: String| Err(EnrollError::Answer(why));
        if authority.pin(&answer.ca) != Some(self.pin) {
            return refuse("its authority is not the one that the token names".into());
        }
        authority
            .vouches(&answer.ca, &answer.certificate)
            .map_err(|why| EnrollError::Answer(format!("its authority did not sign the certificate: {why}")))?;
        let identity = certs::identity_of_pem(&answer.certificate).map_err(|e| EnrollError::Answer(e.to_string()))?;
        if identity.key != self.tls_key {
            return refuse("the certificate is for another key".into());
        }
        let certified = match &identity.role {
            Role::Node { name, pdc } => (name, pdc),
            Role::Admin(_) | Role::Tenant(_) => return refuse("the certificate is not a node's".into()),
        };
        if *certified.0 != self.wish.name || answer.name != self.wish.name {
            return refuse(format!("the certificate is for '{}', not for '{}'", certified.0, self.wish.name));
        }
        if *certified.1 != answer.pdc {
            return refuse(format!("the certificate says PDC '{}', the answer '{}'", certified.1, answer.pdc));
        }
        if let Some(file) = self.wish.pdc.filter(|file| *file != answer.pdc) {
            return Err(EnrollError::OtherPdc { token: answer.pdc, file });
        }
        if answer.slice.node != answer.name || answer.slice.pdc != answer.pdc {
            return refuse(format!("the slice is for node '{}' in PDC '{}'", answer.slice.node, answer.slice.pdc));
        }
        if answer.slice.keys.is_some_and(|keys| keys.current != self.keys.public) {
            return refuse("the slice is for another WireGuard key".into());
        }
        Ok(Member {
            addresses: self.addresses,
            name: answer.name,
            pdc: answer.pdc,
            slice: answer.slice,
            identity,
            certificate: answer.certificate,
            ca: answer.ca,
            keys: self.keys,
        })
    }
}

impl Keys {
    /// The files of the keys alone: written before the request, so that a lost answer is asked for again with the same keys.
    pub fn files(&self) -> [File; 2] {
        [
            File { folder: Folder::Keys, name: WIREGUARD_KEY, text: line(&self.wireguard.to_text()), mode: 0o600 },
            File { folder: Folder::Keys, name: TLS_KEY, text: self.tls.clone(), mode: 0o600 },
        ]
    }
}

fn line(text: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{text}\n"))
}

impl Member {
    /// What to write, in this order: whoever finds the certificate finds all the rest too.
    ///
    /// # Errors
    /// [`EnrollError::Answer`]: the slice cannot be written as JSON.
    pub fn files(&self) -> Result<Vec<File>, EnrollError> {
        let slice = serde_json::to_string(&self.slice).map_err(|e| EnrollError::Answer(e.to_string()))?;
        let mut files = Vec::from(self.keys.files());
        files.push(File { folder: Folder::State, name: SLICE, text: line(&slice), mode: 0o600 });
        files.push(File { folder: Folder::Keys, name: CA, text: Zeroizing::new(self.ca.clone()), mode: 0o600 });
        let certificate = Zeroizing::new(self.certificate.clone());
        files.push(File { folder: Folder::Keys, name: CERTIFICATE, text: certificate, mode: 0o600 });
        Ok(files)
    }
}

/// The refusal of a node whose file asserts another PDC than its token or certificate: with the place in the file.
pub fn wrong_pdc(source: Source<'_>, file: &PdcId, truth: &PdcId, who: &str) -> Problem {
    #[derive(Deserialize)]
    struct Whole {
        node: Part,
    }
    #[derive(Deserialize)]
    struct Part {
        pdc: Spanned<String>,
    }
    let problem = Problem::new("M0312", Exit::Invalid, format!("PDC '{file}' is not this node's"))
        .note(format!("{who} says '{truth}'"))
        .note("nothing was changed; the file only asserts the PDC, it never decides it")
        .help(format!("remove the line or write pdc = \"{truth}\""));
    match toml::from_str::<Whole>(source.text) {
        Ok(whole) => problem.at(source.bytes(whole.node.pdc.span())),
        Err(_) => problem.note(format!("in {}", source.file)),
    }
}
