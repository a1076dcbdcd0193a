//! The key that each pair of nodes shares: derived, so nothing but one secret has to be kept. It is of two names and two WireGuard
//! keys, and changes whenever one of the four does: whoever has another's key under a name of its own gets none of the other's.

use aws_lc_rs::hmac;

use crate::types::{NodeId, Psk, PublicKey, SecretKey};

/// First field of what is hashed.
const CONTEXT: &[u8] = b"vxmesh psk v2";

/// HMAC-SHA256(secret of the installation, fields): `CONTEXT`, then name and key of the end whose name and key are lower, then
/// those of the other, each with its length (4 bytes, little-endian) before it. The same from both ends.
pub fn of_pair(secret: &SecretKey, a: (&NodeId, &PublicKey), b: (&NodeId, &PublicKey)) -> Psk {
    let (low, high) = if a <= b { (a, b) } else { (b, a) };
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()));
    for field in [CONTEXT, low.0.as_str().as_bytes(), &low.1.0, high.0.as_str().as_bytes(), &high.1.0] {
        // A name has 63 bytes at most.
        mac.update(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_le_bytes());
        mac.update(field);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(mac.sign().as_ref());
    Psk::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(a: (&str, u8), b: (&str, u8)) -> [u8; 32] {
        let end = |(name, n): (&str, u8)| (name.parse::<NodeId>().unwrap(), PublicKey([n; 32]));
        let (a, b) = (end(a), end(b));
        *of_pair(&SecretKey::from_bytes([1; 32]), (&a.0, &a.1), (&b.0, &b.1)).expose()
    }

    #[test]
    fn both_ends_get_the_same_key_and_no_other_pair_of_names_and_keys_does() {
        let pair = key(("x", 3), ("y", 2));
        assert_eq!(pair, key(("y", 2), ("x", 3)));
        let others = [
            ("another key", key(("x", 4), ("y", 2))),
            ("another key at the other end", key(("x", 3), ("y", 4))),
            ("another's key under a name of one's own", key(("z", 3), ("y", 2))),
            ("keys exchanged", key(("x", 2), ("y", 3))),
            ("names that run together", key(("xy", 3), ("y", 2))),
        ];
        for (what, other) in others {
            assert_ne!(pair, other, "{what}");
        }
    }

    #[test]
    fn the_derivation_is_the_documented_one() {
        // f=lambda *a:b''.join(struct.pack('<I',len(x))+x for x in a)
        // hmac.new(b'\1'*32, f(b'vxmesh psk v2',b'x',b'\3'*32,b'y',b'\2'*32), 'sha256').hexdigest()
        assert_eq!(
            crate::mgmt::certs::hex(&key(("y", 2), ("x", 3))),
            "990e9cf154dee5bc5cff98c7c9f6b1cc40feceba3f3aa735124ec97995ececa9"
        );
    }
}
