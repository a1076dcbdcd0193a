use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn blake2s_is_that_of_the_rfc() {
    let mut out = [0; LEN];
    hash(&[b"a", b"", b"bc"], &mut out);
    // RFC 7693, appendix B.
    assert_eq!(hex(&out), "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
}

#[test]
fn what_a_handshake_keeps_is_wiped() {
    fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<Chain>();
    wiped::<Secret>();
    wiped::<crate::types::SecretKey>();
    let mut chain = Chain::new("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", b"x", &[7; LEN]);
    assert_ne!((chain.key, chain.hash), ([0; LEN], [0; LEN]));
    chain.zeroize();
    assert_eq!((chain.key, chain.hash), ([0; LEN], [0; LEN]));
}

#[test]
fn a_text_that_was_sealed_opens_once_and_in_its_place_only() {
    for suite in [Suite::Chacha, Suite::Aesgcm] {
        let new = || Chain::new("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", b"x", &[7; LEN]);
        let (mut one, mut other, mut late) = (new(), new(), new());
        let key = one.mix_key(b"in");
        let mut sealed = [1, 2, 3, 4, 5].into_iter().chain([0; TAG]).collect::<Vec<u8>>();
        one.seal(suite, &key, &mut sealed).unwrap();
        let key = other.mix_key(b"in");
        assert!(other.clone().open::<4>(suite, &key, &sealed).is_err(), "another length");
        assert!(other.clone().open::<5>(suite, &key, &[0; 99]).is_err(), "no text of a handshake is so long");
        assert_eq!(*other.open::<5>(suite, &key, &sealed).unwrap(), [1, 2, 3, 4, 5]);
        assert!(other.open::<5>(suite, &key, &sealed).is_err(), "the hash has moved on");
        late.heard(b"something else");
        let key = late.mix_key(b"in");
        assert!(late.open::<5>(suite, &key, &sealed).is_err());
        assert_eq!(one.split()[0], new_split(&other));
    }
}

fn new_split(chain: &Chain) -> Secret {
    let [first, second] = chain.split();
    assert_ne!(first, second);
    first
}

#[test]
fn nothing_shorter_than_a_tag_is_sealed() {
    let mut chain = Chain::new("Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", b"x", &[7; LEN]);
    assert!(chain.seal(Suite::Chacha, &Secret::new([1; LEN]), &mut [0; TAG - 1]).is_err());
}
