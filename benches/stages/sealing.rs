//! Sealing and opening, beside the AEAD alone on the same bytes: the difference is what a tunnel costs.

use std::cell::RefCell;
use std::hint::black_box;
use std::net::SocketAddr;
use std::rc::Rc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use vxmesh::forward::train::AROUND;
use vxmesh::tunnel::{HEADROOM, Open, PeerConfig, Random, Seal, Suite, Tunnels, public_key};
use vxmesh::types::{Mono, PeerSlot, SecretKey, Wall};

use super::Stage;

/// Payload of a packet of 1400 bytes in form B, padded.
const PAYLOAD: usize = 1424;
/// Datagrams of one train.
const COUNT: usize = 44;
const PEER: PeerSlot = PeerSlot(0);
const NOW: Mono = Mono::from_nanos(1_000_000_000);

/// Reproducible bytes.
struct Dice(u64);

impl Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = self.0.to_be_bytes()[0];
        }
    }
}

fn wall() -> Wall {
    Wall::from_secs(1_800_000_000)
}

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, number], 51_820))
}

/// One end of a pair.
fn end(number: u8, other: u8, suite: Suite) -> Tunnels {
    let secret = |n: u8| SecretKey::from_bytes([n; 32]);
    let mut tunnels = Tunnels::new(secret(number), Box::new(Dice(number.into())), NOW);
    let (public_key, endpoint) = (public_key(&secret(other)), Some(address(other)));
    let peer = PeerConfig { slot: PEER, public_key, psk: None, suite, endpoint, keepalive: None, changing: Vec::new() };
    tunnels.set_peers(vec![peer], NOW);
    tunnels
}

/// Two ends with a session that both use.
fn pair(suite: Suite) -> (Tunnels, Tunnels) {
    let (mut a, mut b) = (end(1, 2, suite), end(2, 1, suite));
    let mut first = vec![0; AROUND + 16];
    assert_eq!(a.seal(PEER, &mut first, 16, NOW), Seal::Queued, "there is no session yet");
    a.handle_timeout(NOW, wall());
    for _ in 0..3 {
        while let Some(mut sent) = a.poll_transmit() {
            b.open(address(1), &mut sent.datagram, NOW, wall());
        }
        while let Some(mut sent) = b.poll_transmit() {
            a.open(address(2), &mut sent.datagram, NOW, wall());
        }
    }
    (a, b)
}

fn train() -> Vec<u8> {
    vec![7; COUNT * (PAYLOAD + AROUND)]
}

fn seal(tunnels: &mut Tunnels, train: &mut [u8]) {
    for datagram in train.chunks_mut(PAYLOAD + AROUND) {
        let sealed = tunnels.seal(PEER, datagram, PAYLOAD, NOW);
        assert!(matches!(sealed, Seal::Ready { .. }), "{sealed:?}");
    }
}

/// All stages of one suite.
pub(super) fn stages(suite: Suite) -> Vec<Stage> {
    let (names, algorithm) = match suite {
        Suite::Chacha => (
            ["AEAD alone, seal, chacha", "seal, chacha", "AEAD alone, open, chacha", "open, chacha"],
            &CHACHA20_POLY1305,
        ),
        Suite::Aesgcm => {
            (["AEAD alone, seal, aesgcm", "seal, aesgcm", "AEAD alone, open, aesgcm", "open, aesgcm"], &AES_256_GCM)
        }
    };
    let [alone, sealing, opening_alone, opening] = names;
    vec![
        alone_sealing(alone, algorithm),
        tunnel_sealing(sealing, suite),
        alone_opening(opening_alone, algorithm),
        tunnel_opening(opening, suite),
    ]
}

fn key(algorithm: &'static Algorithm) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(algorithm, &[9; 32]).unwrap_or_else(|_| unreachable!("both take 32 bytes")))
}

fn nonce(counter: usize) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&(counter as u64).to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn seal_alone(key: &LessSafeKey, train: &mut [u8]) {
    for (counter, datagram) in train.chunks_mut(PAYLOAD + AROUND).enumerate() {
        let (text, tag) = datagram[HEADROOM..].split_at_mut(PAYLOAD);
        if let Ok(made) = key.seal_in_place_separate_tag(nonce(counter), Aad::empty(), text) {
            tag.copy_from_slice(made.as_ref());
        }
    }
}

fn alone_sealing(name: &'static str, algorithm: &'static Algorithm) -> Stage {
    let (key, mut train) = (key(algorithm), train());
    let run = move || seal_alone(&key, black_box(&mut train));
    Stage { name, packets: COUNT, run: Box::new(run), reset: Box::new(|| {}) }
}

fn tunnel_sealing(name: &'static str, suite: Suite) -> Stage {
    let ((mut a, _), mut train) = (pair(suite), train());
    let run = move || seal(&mut a, black_box(&mut train));
    Stage { name, packets: COUNT, run: Box::new(run), reset: Box::new(|| {}) }
}

fn alone_opening(name: &'static str, algorithm: &'static Algorithm) -> Stage {
    let mut sealed = train();
    seal_alone(&key(algorithm), &mut sealed);
    let train = Rc::new(RefCell::new(sealed.clone()));
    let (key, used) = (key(algorithm), Rc::clone(&train));
    let run = move || {
        for (counter, datagram) in used.borrow_mut().chunks_mut(PAYLOAD + AROUND).enumerate() {
            let opened = key.open_in_place(nonce(counter), Aad::empty(), &mut datagram[HEADROOM..]);
            assert!(opened.is_ok(), "it was sealed with this key and nonce");
        }
    };
    let reset = move || train.borrow_mut().copy_from_slice(&sealed);
    Stage { name, packets: COUNT, run: Box::new(run), reset: Box::new(reset) }
}

fn tunnel_opening(name: &'static str, suite: Suite) -> Stage {
    let ((mut a, mut b), mut first) = (pair(suite), train());
    seal(&mut a, &mut first);
    let train = Rc::new(RefCell::new(first));
    let used = Rc::clone(&train);
    let run = move || {
        for datagram in used.borrow_mut().chunks_mut(PAYLOAD + AROUND) {
            let opened = b.open(address(1), datagram, NOW, wall());
            assert!(matches!(opened, Open::Payload { .. }), "{opened:?}");
        }
    };
    let reset = move || seal(&mut a, &mut train.borrow_mut());
    Stage { name, packets: COUNT, run: Box::new(run), reset: Box::new(reset) }
}
