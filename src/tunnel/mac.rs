//! BLAKE2s as WireGuard uses it outside the Noise handshake: keyed MACs of 16 bytes and hashes of a label and a key.

use blake2::digest::consts::U16;
use blake2::digest::{Digest, FixedOutput, Mac, Update};
use blake2::{Blake2s256, Blake2sMac};
use subtle::ConstantTimeEq;

use super::message::MAC;
use crate::types::PublicKey;

/// Label of the key of the first MAC (whitepaper 5.4.4).
const MAC1: &[u8; 8] = b"mac1----";
/// Label of the key of cookie replies (whitepaper 5.4.7).
const COOKIE: &[u8; 8] = b"cookie--";

/// `Mac(key, parts)`: keyed BLAKE2s-128 over the parts, one after the other.
pub(super) fn keyed<const K: usize>(key: &[u8; K], parts: &[&[u8]]) -> [u8; MAC] {
    const { assert!(K <= 32, "BLAKE2s takes keys of at most 32 bytes") };
    #[expect(clippy::expect_used, reason = "the length is checked when this is compiled")]
    let mut mac = <Blake2sMac<U16> as Mac>::new_from_slice(key).expect("a key of at most 32 bytes");
    for part in parts {
        Update::update(&mut mac, part);
    }
    mac.finalize_fixed().into()
}

/// Whether two MACs are equal, in time that does not depend on where they differ.
pub(super) fn equal(one: &[u8; MAC], other: &[u8; MAC]) -> bool {
    one.ct_eq(other).into()
}

/// Key of the first MAC of messages to the owner of `public`.
pub(super) fn mac1_key(public: &PublicKey) -> [u8; 32] {
    Blake2s256::new().chain_update(MAC1).chain_update(public.0).finalize().into()
}

/// Key of cookie replies from the owner of `public`.
pub(super) fn cookie_key(public: &PublicKey) -> [u8; 32] {
    Blake2s256::new().chain_update(COOKIE).chain_update(public.0).finalize().into()
}
