//! Join tokens: made, written as text, read again, and judged. What is stored is a hash; the secret is in the text alone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::certs::{hex, hex_sha256};
use crate::api::enroll::{EnrollRequest, TOKEN_PREFIX, TokenText};
use crate::api::heard;
use crate::api::objects::{Token, TokenSpec, TokenStatus, TokenUse};
use crate::api::problem::{Exit, Problem};
use crate::types::{Label, NodeId, PdcId, Wall};

/// Longest text that is looked at, bytes.
const TEXT_MAX: usize = 4096;

/// Why a text is not a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenTextError {
    /// It does not start with `vxm1.`.
    #[error("a token starts with '{TOKEN_PREFIX}'")]
    Prefix,
    /// Not base64url of what a token holds.
    #[error("the token is damaged: a part is missing or mistyped")]
    Damaged,
}

/// A token's text, read and checked. No `Debug`: the secret is in it.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct ReadToken {
    /// `host:port` of the management nodes, at least one.
    pub addresses: Vec<String>,
    /// SHA-256 of the CA's public key (DER SPKI).
    pub pin: [u8; 32],
    /// Names the token.
    pub id: String,
    /// What is sent in [`EnrollRequest::secret`], once the pin fits.
    pub secret: Zeroizing<String>,
}

/// A token that has just been made: the object for the store, and the text for the operator.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct NewToken {
    /// Id, and the SHA-256 (hexadecimal) of the secret.
    pub id: String,
    /// See [`TokenStatus::secret_hash`].
    pub secret_hash: String,
    /// The whole text.
    pub text: Zeroizing<String>,
}

/// Makes a token from random bytes.
pub fn make(id: [u8; 5], secret: &[u8; 32], addresses: &[String], pin: &[u8; 32]) -> NewToken {
    let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret));
    let id = format!("t{}", hex(&id));
    let content = TokenText {
        addresses: addresses.to_vec(),
        pin: URL_SAFE_NO_PAD.encode(pin),
        id: id.clone(),
        secret: secret.to_string(),
    };
    NewToken { id, secret_hash: hex_sha256(secret.as_bytes()), text: write(&content) }
}

/// The text of a token's content.
pub fn write(content: &TokenText) -> Zeroizing<String> {
    // Four plain texts: serialising them cannot fail.
    let json = Zeroizing::new(serde_json::to_vec(content).unwrap_or_default());
    Zeroizing::new(format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(json.as_slice())))
}

/// Reads a token's text; white space around it is ignored.
///
/// # Errors
/// [`TokenTextError`]
pub fn read(text: &str) -> Result<ReadToken, TokenTextError> {
    let body = text.trim().strip_prefix(TOKEN_PREFIX).ok_or(TokenTextError::Prefix)?;
    if body.len() > TEXT_MAX {
        return Err(TokenTextError::Damaged);
    }
    let json = Zeroizing::new(URL_SAFE_NO_PAD.decode(body).map_err(|_| TokenTextError::Damaged)?);
    let content: TokenText = heard::read(&json).map_err(|_| TokenTextError::Damaged)?.said;
    let pin = decode_32(&content.pin)?;
    decode_32(&content.secret)?;
    let id_is_plain = content.id.parse::<Label>().is_ok();
    if !id_is_plain || content.addresses.is_empty() {
        return Err(TokenTextError::Damaged);
    }
    let secret = Zeroizing::new(content.secret.clone());
    Ok(ReadToken { addresses: content.addresses.clone(), pin, id: content.id.clone(), secret })
}

fn decode_32(text: &str) -> Result<[u8; 32], TokenTextError> {
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenTextError::Damaged)?);
    bytes.as_slice().try_into().map_err(|_| TokenTextError::Damaged)
}

/// Why a token does not let this node in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No such token, or the secret is not its.
    #[error("the token {0} is not known here, or its secret is another")]
    Unknown(String),
    /// Its time is over.
    #[error("the token {id} expired at {expired}")]
    Expired {
        /// Its id.
        id: String,
        /// When.
        expired: Wall,
    },
    /// Every use is used up, by other keys than the one that asks.
    #[error("the token {id} is spent: all {uses} of its uses are used up")]
    Spent {
        /// Its id.
        id: String,
        /// How many it had.
        uses: u32,
        /// Who used it.
        used: Vec<TokenUse>,
    },
    /// It was used for this name by another key.
    #[error("the token {id} was used for {} with another key", .by.node)]
    OtherKey {
        /// Its id.
        id: String,
        /// The use.
        by: TokenUse,
    },
    /// The node's own file says another PDC.
    #[error("the token {id} is for PDC '{token}', but this machine's own file says '{asserted}'")]
    WrongPdc {
        /// Its id.
        id: String,
        /// The token's.
        token: PdcId,
        /// The file's.
        asserted: PdcId,
    },
    /// The name does not fit the pattern.
    #[error("the token {id} is for names like '{pattern}', not for '{name}'")]
    WrongName {
        /// Its id.
        id: String,
        /// The token's pattern.
        pattern: String,
        /// The name asked for.
        name: NodeId,
    },
}

/// What a token that fits says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// This is a new use.
    New,
    /// This key has used it before: a lost reply, answered again.
    Again,
}

/// Judges a token for a request. `token` is the one with the requested id, `key` the SHA-256 (hexadecimal) of the TLS key.
///
/// The secret is compared first and in constant time, so that nobody without it learns anything about a token.
///
/// # Errors
/// [`TokenError`]
pub fn judge(token: Option<&Token>, request: &EnrollRequest, key: &str, now: Wall) -> Result<Fit, TokenError> {
    let id = || request.token.chars().take(64).collect::<String>();
    let nobody = TokenStatus::default();
    let (spec, status) = token.map_or((None, &nobody), |t| (Some(&t.spec), &t.status));
    let given = hex_sha256(request.secret.as_bytes());
    let same: bool = given.as_bytes().ct_eq(status.secret_hash.as_bytes()).into();
    let spec = spec.filter(|_| same).ok_or_else(|| TokenError::Unknown(id()))?;
    if now >= spec.expires {
        return Err(TokenError::Expired { id: id(), expired: spec.expires });
    }
    if let Some(asserted) = request.asserted_pdc.as_ref().filter(|asserted| **asserted != spec.pdc) {
        return Err(TokenError::WrongPdc { id: id(), token: spec.pdc.clone(), asserted: asserted.clone() });
    }
    if !matches(&spec.name_pattern, request.name.as_str()) {
        return Err(TokenError::WrongName { id: id(), pattern: spec.name_pattern.clone(), name: request.name.clone() });
    }
    judge_uses(spec, status, request, key)
}

fn judge_uses(spec: &TokenSpec, status: &TokenStatus, request: &EnrollRequest, key: &str) -> Result<Fit, TokenError> {
    let id = || request.token.clone();
    if status.used.iter().any(|one| one.key == key && one.node == request.name) {
        return Ok(Fit::Again);
    }
    if let Some(by) = status.used.iter().find(|one| one.node == request.name) {
        return Err(TokenError::OtherKey { id: id(), by: by.clone() });
    }
    if status.used.len() >= usize::try_from(spec.uses).unwrap_or(usize::MAX) {
        return Err(TokenError::Spent { id: id(), uses: spec.uses, used: status.used.clone() });
    }
    Ok(Fit::New)
}

/// True for a pattern that says nothing of a name, as one has it that nobody gave.
pub fn says_nothing(pattern: &str) -> bool {
    pattern.bytes().all(|byte| byte == b'*')
}

/// Does `name` fit `pattern`? `*` stands for any run of characters, also none.
pub fn matches(pattern: &str, name: &str) -> bool {
    crate::types::name_fits(pattern, name)
}

impl TokenTextError {
    /// For the user.
    pub fn problem(self) -> Problem {
        let problem = match self {
            Self::Prefix => Problem::new("M0242", Exit::Invalid, "this is not a join token"),
            Self::Damaged => Problem::new("M0243", Exit::Invalid, "the join token is damaged"),
        };
        problem
            .note(self.to_string())
            .note("nothing was sent and nothing was changed")
            .help("copy the whole line that 'meshctl token create' printed")
    }
}

impl TokenError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "M0244",
            Self::Expired { .. } => "M0245",
            Self::Spent { .. } => "M0246",
            Self::OtherKey { .. } => "M0247",
            Self::WrongPdc { .. } => "M0248",
            Self::WrongName { .. } => "M0249",
        }
    }

    /// For the user: with who used it and when, and what to do.
    pub fn problem(&self) -> Problem {
        let mut problem = Problem::new(self.code(), Exit::Denied, self.to_string());
        let used = match self {
            Self::Spent { used, .. } => used.as_slice(),
            Self::OtherKey { by, .. } => std::slice::from_ref(by),
            Self::Unknown(_) | Self::Expired { .. } | Self::WrongPdc { .. } | Self::WrongName { .. } => &[],
        };
        for one in used.iter().take(8) {
            problem = problem.note(format!("used by {} from {} at {}", one.node, one.from, one.at));
        }
        let help = match self {
            Self::Unknown(_) | Self::Expired { .. } | Self::Spent { .. } => {
                "make a new one where meshctl has admin rights: meshctl token create --pdc PDC".to_owned()
            }
            Self::OtherKey { by, .. } => format!(
                "if {0} was installed anew: meshctl token create --replace {0}; if it was deleted since: meshctl token create --pdc PDC --name {0}; \
                 if neither, somebody else has this token",
                by.node
            ),
            Self::WrongPdc { token, .. } => {
                format!("set pdc = \"{token}\" under [node] in meshd.toml, or ask for a token of the other PDC")
            }
            Self::WrongName { pattern, .. } => {
                format!("join with a name that fits: meshctl join --name NAME ('{pattern}')")
            }
        };
        problem.note("nothing was changed").help(help)
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
