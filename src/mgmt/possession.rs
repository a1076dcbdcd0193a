//! Proof that a node holds the private half of a WireGuard key. A public key proves nothing: every peer knows it, and the next one
//! of a node that changes its key is in the slices of all its peers.
//!
//! The server gives a [`Challenge`]: a nonce with the time in it, and an X25519 key that is derived from the nonce and the secret
//! of the installation, so that the server remembers nothing. The node answers with
//!
//! ```text
//! HMAC-SHA256(X25519(node's private key, challenge's key), fields)
//! ```
//!
//! each field with its length (4 bytes, little-endian) before it: the words `vxmesh possession v1`, the nonce, the challenge's key,
//! the node's name, the SHA-256 of its TLS key in hexadecimal, the public key that is shown, a word for what is claimed, and what
//! it is claimed of. So a proof is good for one node, one TLS key, one claim and [`LIFE`], and the server alone can check it: it
//! convinces no third party. Static WireGuard keys meet challenges only here and peers only in handshakes; neither result leaves
//! its hash.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::certs::hex;
use crate::api::local::Finding;
use crate::api::objects::NodeFacts;
use crate::api::proof::{Challenge, PROOFS_MAX, Proof};
use crate::api::stream::{FoundPort, MeasuredPath};
use crate::tunnel::{agree, public_key};
use crate::types::{NodeId, PublicKey, SecretKey, Wall};

/// How long a challenge holds, before and after the time in it: clocks are set back, too.
pub const LIFE: Duration = Duration::from_secs(300);
/// First field of every proof, and of what challenges are derived from.
const CONTEXT: &[u8] = b"vxmesh possession v1";
/// Characters of a nonce: seconds since 1970 and 16 random bytes, in hexadecimal.
const NONCE: usize = 48;

/// What is said with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim<'a> {
    /// "It is mine": at enrolment.
    Join,
    /// "The new one follows the old one": said with both.
    Change {
        /// In force until then.
        old: &'a PublicKey,
        /// To follow.
        new: &'a PublicKey,
    },
    /// "The old one can go": said with the new one.
    InUse,
    /// "This is my TLS key from now on": SHA-256 of it, in hexadecimal.
    Renew(&'a str),
    /// "This is what I am": with the key in force or the next one.
    Facts(&'a NodeFacts),
    /// "This is what I find wrong": with the key in force or the next one.
    Findings(&'a [Finding]),
    /// "This is what my paths carry": with the key in force or the next one.
    Paths(&'a [MeasuredPath]),
    /// "These are the guests behind me": with the key in force or the next one.
    Ports(&'a [FoundPort]),
    /// "This machine has left": with the key in force or the next one.
    Leaving,
}

/// Who says what.
#[derive(Debug, Clone, Copy)]
pub struct Statement<'a> {
    /// The node.
    pub node: &'a NodeId,
    /// SHA-256 (hexadecimal) of the TLS key that the node has, or is to have.
    pub tls_key: &'a str,
    /// What it says.
    pub claim: Claim<'a>,
}

/// A challenge of this moment. `secret` is the installation's.
pub fn challenge(secret: &SecretKey, now: Wall, random: [u8; 16]) -> Challenge {
    let nonce = format!("{:016x}{}", now.as_secs(), hex(&random));
    let key = public_key(&key_of(secret, &nonce));
    Challenge { nonce, key }
}

/// The private half of a challenge's key.
fn key_of(secret: &SecretKey, nonce: &str) -> SecretKey {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()));
    add(&mut mac, CONTEXT);
    add(&mut mac, nonce.as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(mac.sign().as_ref());
    SecretKey::from_bytes(bytes)
}

/// What a node with the private key `by` sends; none: the challenge's key is none.
pub fn prove(by: &SecretKey, challenge: &Challenge, statement: Statement<'_>) -> Option<Proof> {
    let shared = agree(by, &challenge.key)?;
    let by = public_key(by);
    let mac = fields(shared.as_slice(), &challenge.nonce, &challenge.key, statement, &by).sign();
    Some(Proof { nonce: challenge.nonce.clone(), by, mac: STANDARD.encode(mac.as_ref()) })
}

/// True where one of `proofs` shows that their sender holds the private half of `by`, and says this with it.
pub fn shown(secret: &SecretKey, proofs: &[Proof], statement: Statement<'_>, by: &PublicKey, now: Wall) -> bool {
    let mut looked_at = proofs.iter().take(PROOFS_MAX).filter(|proof| proof.by == *by);
    looked_at.any(|proof| is_good(secret, proof, statement, now))
}

fn is_good(secret: &SecretKey, proof: &Proof, statement: Statement<'_>, now: Wall) -> bool {
    let Some(issued) = time_of(&proof.nonce) else { return false };
    if issued.abs_diff(now.as_secs()) > LIFE.as_secs() {
        return false;
    }
    let own = key_of(secret, &proof.nonce);
    let (Some(shared), Ok(mac)) = (agree(&own, &proof.by), STANDARD.decode(&proof.mac)) else { return false };
    let expected = fields(shared.as_slice(), &proof.nonce, &public_key(&own), statement, &proof.by).sign();
    subtle::ConstantTimeEq::ct_eq(expected.as_ref(), mac.as_slice()).into()
}

fn time_of(nonce: &str) -> Option<u64> {
    let plain = nonce.len() == NONCE && nonce.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| u64::from_str_radix(&nonce[..16], 16).ok())?
}

fn add(mac: &mut hmac::Context, field: &[u8]) {
    // No field is that long: names, hashes and short texts.
    mac.update(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_le_bytes());
    mac.update(field);
}

fn fields(shared: &[u8], nonce: &str, key: &PublicKey, said: Statement<'_>, by: &PublicKey) -> hmac::Context {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, shared));
    for field in [CONTEXT, nonce.as_bytes(), &key.0, said.node.as_str().as_bytes(), said.tls_key.as_bytes(), &by.0] {
        add(&mut mac, field);
    }
    match said.claim {
        Claim::Join => add(&mut mac, b"join"),
        Claim::Change { old, new } => [b"change".as_slice(), &old.0, &new.0].iter().for_each(|f| add(&mut mac, f)),
        Claim::InUse => add(&mut mac, b"in-use"),
        Claim::Leaving => add(&mut mac, b"leaving"),
        Claim::Renew(tls) => [b"renew", tls.as_bytes()].iter().for_each(|f| add(&mut mac, f)),
        Claim::Facts(facts) => {
            add(&mut mac, b"facts");
            add(&mut mac, text_of(facts).as_bytes());
        }
        Claim::Findings(findings) => {
            add(&mut mac, b"findings");
            let fields = findings.iter().flat_map(|finding| [&finding.code, &finding.what, &finding.help]);
            fields.for_each(|field| add(&mut mac, field.as_bytes()));
            findings.iter().for_each(|finding| add(&mut mac, cut_of(finding).as_bytes()));
            // Earlier versions know of no such interface, and prove what has none.
            let lines =
                findings.iter().zip(0_u32..).filter_map(|(finding, number)| Some((number, finding.line.as_ref()?)));
            for (number, line) in lines {
                add(&mut mac, format!("line {number} {line}").as_bytes());
            }
        }
        Claim::Paths(paths) => {
            add(&mut mac, b"paths");
            paths.iter().for_each(|path| add(&mut mac, format!("{} {}", path.node, path.bytes).as_bytes()));
        }
        Claim::Ports(ports) => {
            add(&mut mac, b"ports");
            ports.iter().for_each(|port| add(&mut mac, text_of_port(port).as_bytes()));
        }
    }
    mac
}

/// Facts as both ends write them. Field by field, because a message may have fields that one end does not know.
fn text_of(facts: &NodeFacts) -> String {
    let address = |address: Option<std::net::IpAddr>| address.map_or_else(|| "-".to_owned(), |ip| ip.to_string());
    format!(
        "admin {} {} external {} {} listen {} {} aes {} version {}",
        address(facts.admin),
        facts.admin_mtu,
        address(facts.external),
        facts.external_mtu,
        facts.listen,
        facts.lanes,
        facts.aes,
        facts.version
    )
}

/// A found guest, as both ends write it.
fn text_of_port(port: &FoundPort) -> String {
    port.ips.iter().fold(format!("{} {}", port.network, port.mac), |text, ip| text + &format!(" {ip}"))
}

/// What a finding cuts off, as both ends write it.
fn cut_of(finding: &Finding) -> String {
    let Some(cut) = &finding.cut else { return String::new() };
    let networks = cut.networks.iter().map(|network| format!(" network {network}"));
    let peers = cut.peers.iter().map(|peer| format!(" peer {peer}"));
    let guests = cut.guests.iter().map(|guest| format!(" guest {} {}", guest.network, guest.mac));
    let path = cut.path.map_or_else(String::new, |path| format!(" path {path}"));
    let flags = format!("surely {} node {} others {}{path}", cut.surely, cut.node, cut.others);
    networks.chain(peers).chain(guests).fold(flags, |text, part| text + &part)
}

#[cfg(test)]
#[path = "possession_tests.rs"]
mod tests;
