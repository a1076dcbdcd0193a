//! What a Noise handshake keeps from step to step: the chaining key and the hash of all that was said (Noise, revision 34, section 5.2, with
//! BLAKE2s and without a cipher state: every key of `IKpsk2` is used once, with nonce 0). All of it is wiped when it is dropped; so is
//! what computing it leaves in hashers.

use std::hint::black_box;

use blake2::Blake2s256;
use blake2::digest::{Digest, Output, Update};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::aead::Key;
use super::message::TAG;
use super::noise::Failed;
use crate::table::Suite;

/// Bytes of a hash and of every key.
const LEN: usize = 32;
/// Block of BLAKE2s (RFC 7693 section 2.1), which HMAC pads its key to.
const BLOCK: usize = 64;

/// A secret of 32 bytes.
pub(super) type Secret = Zeroizing<[u8; LEN]>;

/// Chaining key and hash.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Chain {
    key: [u8; LEN],
    hash: [u8; LEN],
}

impl Chain {
    /// The beginning: protocol name, prologue, the responder's static key. The name must be longer than a hash.
    pub(super) fn new(name: &str, prologue: &[u8], responder: &[u8; LEN]) -> Self {
        let mut chain = Self { key: [0; LEN], hash: [0; LEN] };
        hash(&[name.as_bytes()], &mut chain.key);
        chain.hash = chain.key;
        chain.heard(prologue);
        chain.heard(responder);
        chain
    }

    /// `MixHash`: both ends say or hear it.
    pub(super) fn heard(&mut self, bytes: &[u8]) {
        let before = self.hash;
        hash(&[&before, bytes], &mut self.hash);
    }

    /// `MixKey` whose key nobody uses.
    pub(super) fn mix(&mut self, input: &[u8]) {
        let [key] = expand(&self.key, input);
        self.key.copy_from_slice(key.as_slice());
    }

    /// `MixKey`: the key of the next text.
    pub(super) fn mix_key(&mut self, input: &[u8]) -> Secret {
        let [chain, key] = expand(&self.key, input);
        self.key.copy_from_slice(chain.as_slice());
        key
    }

    /// `MixKeyAndHash`: the PSK, and the key of the next text.
    pub(super) fn mix_psk(&mut self, psk: &[u8; LEN]) -> Secret {
        let [chain, said, key] = expand(&self.key, psk);
        self.key.copy_from_slice(chain.as_slice());
        self.heard(said.as_slice());
        key
    }

    /// `EncryptAndHash`, in place: `out` begins with the text and has room for the tag.
    pub(super) fn seal(&mut self, suite: Suite, key: &Secret, out: &mut [u8]) -> Result<(), Failed> {
        let (text, tag) = out.split_last_chunk_mut::<TAG>().ok_or(Failed)?;
        let made = Key::new(suite, key).seal(0, &self.hash, text).map_err(|_| Failed)?;
        *tag = made;
        self.heard(out);
        Ok(())
    }

    /// `DecryptAndHash`: the text of `N` bytes.
    pub(super) fn open<const N: usize>(
        &mut self,
        suite: Suite,
        key: &Secret,
        sealed: &[u8],
    ) -> Result<Zeroizing<[u8; N]>, Failed> {
        let mut scratch = Zeroizing::new([0; LEN + TAG]);
        let scratch = scratch.get_mut(..sealed.len()).ok_or(Failed)?;
        scratch.copy_from_slice(sealed);
        let text = Key::new(suite, key).open(0, &self.hash, scratch).map_err(|_| Failed)?;
        let mut out = Zeroizing::new([0; N]);
        if text.len() != N {
            return Err(Failed);
        }
        out.copy_from_slice(text);
        self.heard(sealed);
        Ok(out)
    }

    /// `Split`: the keys of the two directions, the initiator's first.
    pub(super) fn split(&self) -> [Secret; 2] {
        expand(&self.key, &[])
    }
}

/// BLAKE2s that overwrites what it holds before it goes: its state, and the last block that it was given.
struct Hasher(Blake2s256);

impl Hasher {
    fn into(mut self, out: &mut [u8; LEN]) {
        Digest::finalize_into_reset(&mut self.0, Output::<Blake2s256>::from_mut_slice(out));
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        Update::update(&mut self.0, &[0; 2 * BLOCK]);
        // Else the compiler sees that nobody reads it.
        black_box(&self.0);
    }
}

fn hash(parts: &[&[u8]], out: &mut [u8; LEN]) {
    let mut hasher = Hasher(Blake2s256::new());
    parts.iter().for_each(|part| Update::update(&mut hasher.0, part));
    hasher.into(out);
}

/// HMAC (RFC 2104) with BLAKE2s.
fn hmac(key: &[u8; LEN], parts: &[&[u8]], out: &mut [u8; LEN]) {
    let pad = |byte: u8| {
        let mut block = Zeroizing::new([byte; BLOCK]);
        block.iter_mut().zip(key).for_each(|(pad, key)| *pad ^= key);
        let mut hasher = Hasher(Blake2s256::new());
        Update::update(&mut hasher.0, block.as_slice());
        hasher
    };
    let mut inner = pad(0x36);
    parts.iter().for_each(|part| Update::update(&mut inner.0, part));
    let mut middle = Zeroizing::new([0; LEN]);
    inner.into(&mut middle);
    let mut outer = pad(0x5c);
    Update::update(&mut outer.0, middle.as_slice());
    outer.into(out);
}

/// HKDF (RFC 5869, as in Noise section 4.3): `N` keys out of the chaining key and an input.
fn expand<const N: usize>(chain: &[u8; LEN], input: &[u8]) -> [Secret; N] {
    let mut root = Zeroizing::new([0; LEN]);
    hmac(chain, &[input], &mut root);
    let mut keys: [Secret; N] = std::array::from_fn(|_| Secret::new([0; LEN]));
    for (n, byte) in (0..N).zip(1..) {
        let (done, rest) = keys.split_at_mut(n);
        let last = done.last().map_or(&[][..], |key| key.as_slice());
        if let Some(next) = rest.first_mut() {
            hmac(&root, &[last, &[byte]], next);
        }
    }
    keys
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
