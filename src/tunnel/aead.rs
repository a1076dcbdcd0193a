//! One key of one AEAD, used in place. Chacha is what WireGuard names; aesgcm is the other Noise cipher of 256 bits.

use aws_lc_rs::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::message::TAG;
use crate::table::Suite;

/// The AEAD refused: a forgery, or a payload too long for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused;

/// A key. `aws-lc` holds it and wipes it when it is dropped.
pub(super) struct Key {
    suite: Suite,
    key: LessSafeKey,
}

impl Key {
    /// From 32 bytes; the caller wipes its copy.
    #[expect(clippy::expect_used, reason = "both ciphers take exactly 32 bytes")]
    pub(super) fn new(suite: Suite, bytes: &[u8; 32]) -> Self {
        let cipher = match suite {
            Suite::Chacha => &CHACHA20_POLY1305,
            Suite::Aesgcm => &AES_256_GCM,
        };
        Self { suite, key: LessSafeKey::new(UnboundKey::new(cipher, bytes).expect("a key of 32 bytes")) }
    }

    /// The nonce of a counter: 32 zero bits, then 64 bits little-endian for ChaChaPoly and big-endian for AESGCM (Noise,
    /// revision 34, sections 12.3 and 12.4).
    fn nonce(&self, counter: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&match self.suite {
            Suite::Chacha => counter.to_le_bytes(),
            Suite::Aesgcm => counter.to_be_bytes(),
        });
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts `text` in place. The caller never uses a counter twice.
    pub(super) fn seal(&self, counter: u64, aad: &[u8], text: &mut [u8]) -> Result<[u8; TAG], Refused> {
        let tag =
            self.key.seal_in_place_separate_tag(self.nonce(counter), Aad::from(aad), text).map_err(|_| Refused)?;
        tag.as_ref().try_into().map_err(|_| Refused)
    }

    /// Decrypts text and tag in place and gives the text. What is left in place after a refusal is not to be used.
    pub(super) fn open<'a>(
        &self,
        counter: u64,
        aad: &[u8],
        text_and_tag: &'a mut [u8],
    ) -> Result<&'a mut [u8], Refused> {
        self.key.open_in_place(self.nonce(counter), Aad::from(aad), text_and_tag).map_err(|_| Refused)
    }
}
