//! What `snow` computes with: our X25519, our AEAD, its BLAKE2s, and an ephemeral key that was drawn outside.
//!
//! `snow` keeps the order of a handshake; it reads no randomness and holds no cipher of its own. Keys in these types are wiped
//! when they are dropped, and a shared secret that everybody knows (a point of low order) is refused, as in WireGuard.

use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

use super::aead::Key;
use super::message::TAG;
use crate::table::Suite;

/// Hands `snow` its primitives for one handshake.
pub(super) struct Resolver {
    /// The private ephemeral key of this handshake.
    pub(super) ephemeral: Zeroizing<[u8; 32]>,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Once(Some(self.ephemeral.clone()))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        match choice {
            DHChoice::Curve25519 => Some(Box::new(X25519::of([0; 32]))),
            DHChoice::Curve448 => None,
        }
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        let suite = match choice {
            CipherChoice::ChaChaPoly => Suite::Chacha,
            CipherChoice::AESGCM => Suite::Aesgcm,
        };
        Some(Box::new(HandshakeCipher { suite, key: None }))
    }
}

/// Randomness for one ephemeral key. A second one would mean that `snow` does something we do not know of.
struct Once(Option<Zeroizing<[u8; 32]>>);

impl Random for Once {
    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), Error> {
        let bytes = self.0.take().filter(|bytes| bytes.len() == dest.len()).ok_or(Error::Rng)?;
        dest.copy_from_slice(bytes.as_slice());
        Ok(())
    }
}

/// A key pair of Curve25519 (RFC 7748).
struct X25519 {
    secret: StaticSecret,
    public: PublicKey,
}

impl X25519 {
    fn of(bytes: [u8; 32]) -> Self {
        let secret = StaticSecret::from(bytes);
        Self { public: PublicKey::from(&secret), secret }
    }
}

impl Dh for X25519 {
    fn name(&self) -> &'static str {
        "25519"
    }

    fn pub_len(&self) -> usize {
        32
    }

    fn priv_len(&self) -> usize {
        32
    }

    fn set(&mut self, privkey: &[u8]) {
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(privkey);
        *self = Self::of(*bytes);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.try_fill_bytes(bytes.as_mut_slice())?;
        *self = Self::of(*bytes);
        Ok(())
    }

    fn pubkey(&self) -> &[u8] {
        self.public.as_bytes()
    }

    fn privkey(&self) -> &[u8] {
        self.secret.as_bytes()
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        let public = pubkey.first_chunk::<32>().ok_or(Error::Dh)?;
        let shared = self.secret.diffie_hellman(&PublicKey::from(*public));
        if !shared.was_contributory() {
            return Err(Error::Dh);
        }
        out.get_mut(..32).ok_or(Error::Dh)?.copy_from_slice(shared.as_bytes());
        Ok(())
    }
}

/// The AEAD inside a handshake: the same as on data.
struct HandshakeCipher {
    suite: Suite,
    key: Option<Key>,
}

impl Cipher for HandshakeCipher {
    fn name(&self) -> &'static str {
        match self.suite {
            Suite::Chacha => "ChaChaPoly",
            Suite::Aesgcm => "AESGCM",
        }
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.key = Some(Key::new(self.suite, key));
    }

    /// `snow` gives no way to fail here. Without a key, which its state machine excludes, the tag is zero and the peer refuses.
    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let (text, rest) = out.split_at_mut(plaintext.len());
        text.copy_from_slice(plaintext);
        let tag = self.key.as_ref().and_then(|key| key.seal(nonce, authtext, text).ok());
        if tag.is_none() {
            text.zeroize();
        }
        rest[..TAG].copy_from_slice(&tag.unwrap_or_default());
        plaintext.len() + TAG
    }

    fn decrypt(&self, nonce: u64, authtext: &[u8], ciphertext: &[u8], out: &mut [u8]) -> Result<usize, Error> {
        // The longest ciphertext of a handshake is the static key's.
        let mut scratch = [0; 32 + TAG];
        let scratch = scratch.get_mut(..ciphertext.len()).ok_or(Error::Decrypt)?;
        scratch.copy_from_slice(ciphertext);
        let key = self.key.as_ref().ok_or(Error::Decrypt)?;
        let text = key.open(nonce, authtext, scratch).map_err(|_| Error::Decrypt)?;
        out.get_mut(..text.len()).ok_or(Error::Decrypt)?.copy_from_slice(text);
        Ok(text.len())
    }
}
