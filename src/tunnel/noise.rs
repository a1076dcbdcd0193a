//! The two Noise messages of a handshake (whitepaper 5.4.2, 5.4.3), and the keys that come out of it (5.4.5).
//!
//! The pattern is `IKpsk2`, step by step as the specification has it; [`super::chain`] is what is kept between the steps. The PSK enters
//! with the second message only, when the first one has told the responder whose it is. `snow` is the oracle of the tests.

use std::ops::Range;

use x25519_dalek::StaticSecret;

use super::chain::{Chain, Secret};
use super::message::{NOISE_1, NOISE_2, TAG};
use super::tai64n::Tai64n;
use crate::table::Suite;
use crate::types::{PublicKey, SecretKey};

/// The PSK of a pair that has none (whitepaper 5.4): all zeros.
pub(super) const NO_PSK: [u8; 32] = [0; 32];
/// The public ephemeral key, first in both messages.
const EPHEMERAL: Range<usize> = 0..32;
/// The initiator's static key in message 1, sealed.
const STATIC: Range<usize> = 32..64 + TAG;
/// The timestamp in message 1, sealed.
const STAMP: Range<usize> = 64 + TAG..NOISE_1;

/// Pattern and prologue of a suite. Two of them never understand each other: name and prologue enter the first hash.
const fn names(suite: Suite) -> (&'static str, &'static [u8]) {
    match suite {
        Suite::Chacha => ("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", b"WireGuard v1 zx2c4 Jason@zx2c4.com"),
        Suite::Aesgcm => ("Noise_IKpsk2_25519_AESGCM_BLAKE2s", b"vxmesh tunnel v1 aesgcm"),
    }
}

/// This node's static key pair.
pub(super) struct Identity {
    pub(super) secret: SecretKey,
    pub(super) public: PublicKey,
    /// Initiations under this key have timestamps after this.
    pub(super) floor: Option<Tai64n>,
}

/// Where a handshake's state machine or its peer's message failed. Nobody needs to know more: silence is a virtue (5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed;

/// The keys of a session, by who sends with them.
pub(super) struct Keys {
    pub(super) initiator: Secret,
    pub(super) responder: Secret,
}

impl Keys {
    fn of(chain: &Chain) -> Self {
        let [initiator, responder] = chain.split();
        Self { initiator, responder }
    }
}

/// X25519 (RFC 7748). A shared secret that everybody knows (a point of low order) is refused, as in WireGuard.
fn dh(secret: &[u8; 32], public: &[u8; 32]) -> Result<Secret, Failed> {
    let secret = StaticSecret::from(*secret);
    let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(*public));
    if shared.was_contributory() { Ok(Secret::new(shared.to_bytes())) } else { Err(Failed) }
}

fn public_of(secret: &[u8; 32]) -> [u8; 32] {
    x25519_dalek::PublicKey::from(&StaticSecret::from(*secret)).to_bytes()
}

fn begin(suite: Suite, responder: &PublicKey) -> Chain {
    let (name, prologue) = names(suite);
    Chain::new(name, prologue, &responder.0)
}

/// An initiator that waits for message 2.
pub(super) struct Initiator(Box<Called>);

struct Called {
    suite: Suite,
    chain: Chain,
    secret: SecretKey,
    ephemeral: Secret,
}

impl Initiator {
    /// Makes message 1: `e, es, s, ss` and the timestamp.
    pub(super) fn start(
        suite: Suite,
        me: &Identity,
        peer: &PublicKey,
        ephemeral: Secret,
        stamp: Tai64n,
    ) -> Result<(Self, [u8; NOISE_1]), Failed> {
        let mut called = Box::new(Called { suite, chain: begin(suite, peer), secret: me.secret.clone(), ephemeral });
        let Called { chain, secret, ephemeral, .. } = &mut *called;
        let mut message = [0; NOISE_1];
        message[EPHEMERAL].copy_from_slice(&public_of(ephemeral));
        chain.heard(&message[EPHEMERAL]);
        chain.mix(&message[EPHEMERAL]);
        let key = chain.mix_key(dh(ephemeral, &peer.0)?.as_slice());
        message[STATIC][..32].copy_from_slice(&me.public.0);
        chain.seal(suite, &key, &mut message[STATIC])?;
        let key = chain.mix_key(dh(secret.expose(), &peer.0)?.as_slice());
        message[STAMP][..stamp.0.len()].copy_from_slice(&stamp.0);
        chain.seal(suite, &key, &mut message[STAMP])?;
        Ok((Self(called), message))
    }

    /// Reads message 2. A forged one is refused and changes nothing: the true one may still come.
    pub(super) fn finish(&self, psk: &[u8; 32], message: &[u8; NOISE_2]) -> Result<Keys, Failed> {
        let Called { suite, chain, secret, ephemeral } = &*self.0;
        let (theirs, sealed) = message.split_first_chunk::<32>().ok_or(Failed)?;
        let mut chain = chain.clone();
        chain.heard(theirs);
        chain.mix(theirs);
        chain.mix(dh(ephemeral, theirs)?.as_slice());
        chain.mix(dh(secret.expose(), theirs)?.as_slice());
        let key = chain.mix_psk(psk);
        chain.open::<0>(*suite, &key, sealed)?;
        Ok(Keys::of(&chain))
    }
}

/// A responder that has read message 1.
pub(super) struct Responder {
    heard: Box<Heard>,
    /// Who called.
    pub(super) peer: PublicKey,
    /// When it says it did.
    pub(super) stamp: Tai64n,
}

struct Heard {
    suite: Suite,
    chain: Chain,
    ephemeral: Secret,
    theirs: [u8; 32],
}

impl Responder {
    /// Reads message 1.
    pub(super) fn read(
        suite: Suite,
        me: &Identity,
        ephemeral: Secret,
        message: &[u8; NOISE_1],
    ) -> Result<Self, Failed> {
        let (theirs, _) = message.split_first_chunk::<32>().ok_or(Failed)?;
        let mut heard = Box::new(Heard { suite, chain: begin(suite, &me.public), ephemeral, theirs: *theirs });
        let chain = &mut heard.chain;
        chain.heard(theirs);
        chain.mix(theirs);
        let key = chain.mix_key(dh(me.secret.expose(), theirs)?.as_slice());
        let peer = chain.open::<32>(suite, &key, &message[STATIC])?;
        let key = chain.mix_key(dh(me.secret.expose(), &peer)?.as_slice());
        let stamp = chain.open::<12>(suite, &key, &message[STAMP])?;
        Ok(Self { heard, peer: PublicKey(*peer), stamp: Tai64n(*stamp) })
    }

    /// Makes message 2: `e, ee, se, psk` and nothing.
    pub(super) fn respond(self, psk: &[u8; 32]) -> Result<(Keys, [u8; NOISE_2]), Failed> {
        let Self { mut heard, peer, .. } = self;
        let Heard { suite, chain, ephemeral, theirs } = &mut *heard;
        let mut message = [0; NOISE_2];
        message[EPHEMERAL].copy_from_slice(&public_of(ephemeral));
        chain.heard(&message[EPHEMERAL]);
        chain.mix(&message[EPHEMERAL]);
        chain.mix(dh(ephemeral, theirs)?.as_slice());
        chain.mix(dh(ephemeral, &peer.0)?.as_slice());
        let key = chain.mix_psk(psk);
        chain.seal(*suite, &key, &mut message[EPHEMERAL.end..])?;
        Ok((Keys::of(chain), message))
    }
}

#[cfg(test)]
#[path = "noise_tests.rs"]
mod tests;
