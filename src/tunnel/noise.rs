//! The two Noise messages of a handshake (whitepaper 5.4.2, 5.4.3), and the keys that come out of it (5.4.5).
//!
//! `snow` runs the pattern `IKpsk2`. The PSK enters with the second message only, and the responder learns from the first one
//! whose PSK that is, so both sides set it just before the second message and overwrite it right after.

use snow::{Builder, HandshakeState};
use zeroize::Zeroizing;

use super::message::{NOISE_1, NOISE_2};
use super::resolver::Resolver;
use super::tai64n::Tai64n;
use crate::table::Suite;
use crate::types::{PublicKey, SecretKey};

/// The PSK of a pair that has none (whitepaper 5.4): all zeros.
pub(super) const NO_PSK: [u8; 32] = [0; 32];
/// Place of the PSK in the pattern `IKpsk2`.
const PSK_PLACE: u8 = 2;

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

impl From<snow::Error> for Failed {
    fn from(_: snow::Error) -> Self {
        Self
    }
}

/// The keys of a session, by who sends with them.
pub(super) struct Keys {
    pub(super) initiator: Zeroizing<[u8; 32]>,
    pub(super) responder: Zeroizing<[u8; 32]>,
}

fn keys(state: &mut HandshakeState) -> Keys {
    let (initiator, responder) = state.dangerously_get_raw_split();
    Keys { initiator: Zeroizing::new(initiator), responder: Zeroizing::new(responder) }
}

/// Runs `step` with the PSK in place.
fn with_psk<T>(
    state: &mut HandshakeState,
    psk: &[u8; 32],
    step: impl FnOnce(&mut HandshakeState) -> Result<T, Failed>,
) -> Result<T, Failed> {
    state.set_psk(PSK_PLACE.into(), psk)?;
    let done = step(state);
    state.set_psk(PSK_PLACE.into(), &NO_PSK)?;
    done
}

/// An initiator that waits for message 2.
pub(super) struct Initiator(Box<HandshakeState>);

impl Initiator {
    /// Makes message 1.
    pub(super) fn start(
        suite: Suite,
        me: &Identity,
        peer: &PublicKey,
        ephemeral: Zeroizing<[u8; 32]>,
        stamp: Tai64n,
    ) -> Result<(Self, [u8; NOISE_1]), Failed> {
        let (name, prologue) = names(suite);
        let mut state = Builder::with_resolver(name.parse()?, Box::new(Resolver { ephemeral }))
            .prologue(prologue)?
            .local_private_key(me.secret.expose())?
            .remote_public_key(&peer.0)?
            .build_initiator()?;
        let mut message = [0; NOISE_1];
        state.write_message(&stamp.0, &mut message)?;
        Ok((Self(Box::new(state)), message))
    }

    /// Reads message 2. A forged one is refused and changes nothing: the true one may still come.
    pub(super) fn finish(&mut self, psk: &[u8; 32], message: &[u8; NOISE_2]) -> Result<Keys, Failed> {
        with_psk(&mut self.0, psk, |state| {
            // `snow` wants room for the tag of the empty payload too.
            state.read_message(message, &mut [0; NOISE_2])?;
            Ok(keys(state))
        })
    }
}

/// A responder that has read message 1.
pub(super) struct Responder {
    state: HandshakeState,
    /// Who called.
    pub(super) peer: PublicKey,
    /// When it says it did.
    pub(super) stamp: Tai64n,
}

impl Responder {
    /// Reads message 1.
    pub(super) fn read(
        suite: Suite,
        me: &Identity,
        ephemeral: Zeroizing<[u8; 32]>,
        message: &[u8; NOISE_1],
    ) -> Result<Self, Failed> {
        let (name, prologue) = names(suite);
        let mut state = Builder::with_resolver(name.parse()?, Box::new(Resolver { ephemeral }))
            .prologue(prologue)?
            .local_private_key(me.secret.expose())?
            .build_responder()?;
        let mut payload = [0; NOISE_1];
        let length = state.read_message(message, &mut payload)?;
        let stamp = payload[..length].try_into().map_err(|_| Failed)?;
        let peer = state.get_remote_static().and_then(|key| key.try_into().ok()).ok_or(Failed)?;
        Ok(Self { state, peer: PublicKey(peer), stamp: Tai64n(stamp) })
    }

    /// Makes message 2.
    pub(super) fn respond(mut self, psk: &[u8; 32]) -> Result<(Keys, [u8; NOISE_2]), Failed> {
        let mut message = [0; NOISE_2];
        let keys = with_psk(&mut self.state, psk, |state| {
            state.write_message(&[], &mut message)?;
            Ok(keys(state))
        })?;
        Ok((keys, message))
    }
}

#[cfg(test)]
#[path = "noise_tests.rs"]
mod tests;
