//! A secret that two static keys share, outside of any session: what possession of a key is proved with.

use zeroize::Zeroizing;

use crate::types::{PublicKey, SecretKey};

/// The field prime 2^255 - 19, little-endian (RFC 7748 section 4.1).
const PRIME: [u8; 32] = {
    let mut prime = [0xff; 32];
    prime[0] = 0xed;
    prime[31] = 0x7f;
    prime
};

/// X25519 of a private and a public key; none where the result is one that everybody knows (RFC 7748 section 6.1).
pub fn agree(secret: &SecretKey, public: &PublicKey) -> Option<Zeroizing<[u8; 32]>> {
    let secret = x25519_dalek::StaticSecret::from(*secret.expose());
    let shared = secret.diffie_hellman(&x25519_dalek::PublicKey::from(public.0));
    shared.was_contributory().then(|| Zeroizing::new(shared.to_bytes()))
}

/// True for a public key that is a node's only name for it: X25519 takes several encodings for one point (RFC 7748 section 5
/// masks the top bit and takes numbers from the prime on), and a few points make secrets that everybody knows.
pub fn is_sound(public: &PublicKey) -> bool {
    let below_prime = public.0.iter().rev().lt(PRIME.iter().rev());
    below_prime && agree(&SecretKey::from_bytes([1; 32]), public).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::public_key;

    #[test]
    fn both_ends_agree_and_points_of_low_order_agree_with_nobody() {
        let [a, b] = [3, 4].map(|n| SecretKey::from_bytes([n; 32]));
        assert_eq!(agree(&a, &public_key(&b)), agree(&b, &public_key(&a)));
        let mut one = [0; 32];
        one[0] = 1;
        let mut last = PRIME;
        last[0] -= 1;
        for low in [[0; 32], one, last] {
            assert!(agree(&a, &PublicKey(low)).is_none() && !is_sound(&PublicKey(low)), "{low:?}");
        }
    }

    #[test]
    fn a_key_has_one_spelling() {
        let sound = public_key(&SecretKey::from_bytes([3; 32]));
        assert!(is_sound(&sound));
        let mut other = sound;
        other.0[31] ^= 0x80;
        let secret = SecretKey::from_bytes([4; 32]);
        assert_eq!(agree(&secret, &sound), agree(&secret, &other), "the same point");
        assert!(!is_sound(&other));
        // 9 + the prime is the base point once more.
        let mut nine = PRIME;
        nine[0] = 0xf6;
        assert!(agree(&secret, &PublicKey(nine)).is_some() && !is_sound(&PublicKey(nine)));
    }
}
