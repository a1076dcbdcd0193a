//! The key that each pair of nodes shares: derived, so nothing but one secret has to be kept, and a pair's
//! key changes whenever one of the two WireGuard keys does.

use aws_lc_rs::hmac;

use crate::types::{Psk, PublicKey, SecretKey};

/// HMAC-SHA256(secret of the installation, "psk" || both public keys in ascending order). The same from both ends.
pub fn of_pair(secret: &SecretKey, a: &PublicKey, b: &PublicKey) -> Psk {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()));
    mac.update(b"psk");
    mac.update(&low.0);
    mac.update(&high.0);
    let tag = mac.sign();
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    Psk::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_get_the_same_key_and_no_other_pair_does() {
        let secret = SecretKey::from_bytes([1; 32]);
        let [a, b, c] = [3, 2, 4].map(|n| PublicKey([n; 32]));
        let key = |x, y| *of_pair(&secret, x, y).expose();
        assert_eq!(key(&a, &b), key(&b, &a));
        let others = [key(&a, &c), key(&b, &c), *of_pair(&SecretKey::from_bytes([5; 32]), &a, &b).expose()];
        assert!(!others.contains(&key(&a, &b)));
    }

    #[test]
    fn the_derivation_is_the_documented_one() {
        // python3 -c "import hmac;print(hmac.new(b'\1'*32, b'psk'+b'\2'*32+b'\3'*32, 'sha256').hexdigest())"
        let key = of_pair(&SecretKey::from_bytes([1; 32]), &PublicKey([3; 32]), &PublicKey([2; 32]));
        assert_eq!(
            crate::mgmt::certs::hex(key.expose()),
            "4c6395e66766482624ed9227ef08e3d567cd2cc9ee7e03d5fb49ada99c8632c5"
        );
    }
}
