use proptest::prelude::*;
use zeroize::Zeroizing;

use super::*;
use crate::tunnel::public_key;
use crate::types::Wall;

fn identity(byte: u8) -> Identity {
    let secret = SecretKey::from_bytes([byte; 32]);
    Identity { public: public_key(&secret), secret, floor: None }
}

fn ephemeral(byte: u8) -> Zeroizing<[u8; 32]> {
    Zeroizing::new([byte; 32])
}

fn start(suite: Suite) -> (Initiator, [u8; NOISE_1]) {
    let stamp = Tai64n::after(None, Wall::from_secs(1_000));
    Initiator::start(suite, &identity(1), &identity(2).public, ephemeral(3), stamp).unwrap()
}

fn read(suite: Suite, message: &[u8; NOISE_1]) -> Result<Responder, Failed> {
    Responder::read(suite, &identity(2), ephemeral(4), message)
}

#[test]
fn both_sides_get_the_same_keys_in_each_suite() {
    for suite in [Suite::Chacha, Suite::Aesgcm] {
        let (initiator, first) = start(suite);
        let responder = read(suite, &first).unwrap();
        assert_eq!(responder.peer, identity(1).public);
        assert_eq!(responder.stamp, Tai64n::after(None, Wall::from_secs(1_000)));
        let (theirs, second) = responder.respond(&[9; 32]).unwrap();
        let ours = initiator.finish(&[9; 32], &second).unwrap();
        assert_eq!(ours.initiator, theirs.initiator);
        assert_eq!(ours.responder, theirs.responder);
        assert_ne!(ours.initiator, ours.responder);
    }
}

#[test]
fn the_suites_do_not_understand_each_other() {
    assert!(read(Suite::Aesgcm, &start(Suite::Chacha).1).is_err());
    assert!(read(Suite::Chacha, &start(Suite::Aesgcm).1).is_err());
}

#[test]
fn a_forged_response_does_not_spoil_the_true_one() {
    let (initiator, first) = start(Suite::Chacha);
    let (theirs, second) = read(Suite::Chacha, &first).unwrap().respond(&NO_PSK).unwrap();
    for at in 0..NOISE_2 {
        let mut forged = second;
        forged[at] ^= 1;
        assert!(initiator.finish(&NO_PSK, &forged).is_err(), "byte {at}");
    }
    assert_eq!(initiator.finish(&NO_PSK, &second).unwrap().responder, theirs.responder);
}

#[test]
fn another_psk_fails_at_the_response() {
    let (initiator, first) = start(Suite::Chacha);
    let (_, second) = read(Suite::Chacha, &first).unwrap().respond(&[9; 32]).unwrap();
    assert!(initiator.finish(&[8; 32], &second).is_err());
    assert!(initiator.finish(&[9; 32], &second).is_ok());
}

#[test]
fn any_flipped_bit_of_the_initiation_is_refused() {
    let (_, first) = start(Suite::Chacha);
    for at in 0..NOISE_1 {
        let mut forged = first;
        forged[at] ^= 0x40;
        assert!(read(Suite::Chacha, &forged).is_err(), "byte {at}");
    }
}

#[test]
fn a_point_of_low_order_is_refused() {
    let stamp = Tai64n::after(None, Wall::default());
    for weak in [[0; 32], std::array::from_fn(|i| u8::from(i == 0))] {
        assert!(Initiator::start(Suite::Chacha, &identity(1), &PublicKey(weak), ephemeral(3), stamp).is_err());
    }
}

#[test]
fn the_ephemeral_key_is_the_one_passed_in() {
    let (_, first) = start(Suite::Chacha);
    assert_eq!(first[..32], public_key(&SecretKey::from_bytes([3; 32])).0);
    let (_, second) = read(Suite::Chacha, &first).unwrap().respond(&NO_PSK).unwrap();
    assert_eq!(second[..32], public_key(&SecretKey::from_bytes([4; 32])).0);
}

/// `snow` with primitives of its own, in either role.
fn oracle(suite: Suite, secret: u8, ephemeral: [u8; 32]) -> snow::Builder<'static> {
    let (name, prologue) = names(suite);
    let builder = snow::Builder::new(name.parse().unwrap()).prologue(prologue).unwrap();
    let (secret, ephemeral): (&'static _, &'static _) =
        (Box::leak(Box::new([secret; 32])), Box::leak(Box::new(ephemeral)));
    builder.local_private_key(secret).unwrap().fixed_ephemeral_key_for_testing_only(ephemeral)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Both messages and both keys are the oracle's, byte by byte, whoever calls whom.
    #[test]
    fn another_implementation_says_and_gets_the_same(
        (ours, theirs) in (any::<[u8; 32]>(), any::<[u8; 32]>()),
        (secret, other) in (1_u8.., 1_u8..),
        psk: [u8; 32],
        seconds in 0_u32..,
        aes: bool,
    ) {
        let suite = if aes { Suite::Aesgcm } else { Suite::Chacha };
        let stamp = Tai64n::after(None, Wall::from_secs(seconds.into()));
        let (caller, called) = (identity(secret), identity(other));

        let (initiator, first) =
            Initiator::start(suite, &caller, &called.public, Zeroizing::new(ours), stamp).unwrap();
        let mut snow = oracle(suite, secret, ours).remote_public_key(&called.public.0).unwrap().build_initiator().unwrap();
        let mut said = [0; NOISE_1];
        snow.write_message(&stamp.0, &mut said).unwrap();
        prop_assert_eq!(first, said);

        let responder = Responder::read(suite, &called, Zeroizing::new(theirs), &first).unwrap();
        prop_assert_eq!((responder.peer, responder.stamp), (caller.public, stamp));
        let (keys, second) = responder.respond(&psk).unwrap();
        let mut answering = oracle(suite, other, theirs).build_responder().unwrap();
        answering.read_message(&first, &mut [0; NOISE_1]).unwrap();
        answering.set_psk(2, &psk).unwrap();
        let mut said = [0; NOISE_2];
        answering.write_message(&[], &mut said).unwrap();
        prop_assert_eq!(second, said);

        let mine = initiator.finish(&psk, &second).unwrap();
        let (a, b) = answering.dangerously_get_raw_split();
        for keys in [keys, mine] {
            prop_assert_eq!((*keys.initiator, *keys.responder), (a, b));
        }
        snow.set_psk(2, &psk).unwrap();
        snow.read_message(&second, &mut [0; NOISE_2]).unwrap();
        prop_assert_eq!(snow.dangerously_get_raw_split(), (a, b));
    }
}
