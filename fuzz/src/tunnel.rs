//! Datagrams for an end of a tunnel.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Duration;

use vxmesh::table::Suite;
use vxmesh::tunnel::{HEADROOM, Open, PeerConfig, Random, Seal, TAILROOM, Transmit, Tunnels, public_key};
use vxmesh::types::{Mono, PeerSlot, SecretKey, Wall};

const PEER: PeerSlot = PeerSlot(0);
const NOW: Mono = Mono::from_nanos(1_000_000_000_000);

/// Randomness that is the same each time: a crash can be repeated.
struct Dice(u8);

impl Random for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(5).wrapping_add(1);
            *byte = self.0 ^ 0x5a;
        }
    }
}

fn wall() -> Wall {
    Wall::from_secs(1_800_000_000)
}

fn address(end: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, end], 51820))
}

fn secret(end: u8) -> SecretKey {
    SecretKey::from_bytes([end + 7; 32])
}

thread_local! {
    /// Made once: a handshake costs a thousand times what an input does, and no input can change more than counters.
    static ALONE: RefCell<Tunnels> = RefCell::new(end(1));
    /// An end that has called and waits for its answer, and the index of its call.
    static CALLING: RefCell<(Tunnels, [u8; 4])> = RefCell::new(calling());
    /// Two ends with a session, and its index at the second.
    static PAIR: RefCell<(Tunnels, Tunnels, [u8; 4])> = RefCell::new(session());
}

/// End `end`, whose only peer is the other one.
fn end(end: u8) -> Tunnels {
    let mut tunnels = Tunnels::new(secret(end), Box::new(Dice(end)), NOW);
    let other = 1 - end;
    let peer = PeerConfig {
        slot: PEER,
        public_key: public_key(&secret(other)),
        psk: None,
        suite: Suite::Chacha,
        endpoint: Some(address(other)),
        keepalive: None,
        changing: Vec::new(),
    };
    tunnels.set_peers(vec![peer], NOW);
    tunnels
}

/// An end that has sent an initiation, and its index in it.
fn calling() -> (Tunnels, [u8; 4]) {
    let (mut caller, mut index) = (end(0), [0; 4]);
    let _: Result<Vec<u8>, ()> = seal(&mut caller, b"first");
    caller.handle_timeout(NOW, wall());
    while let Some(Transmit { datagram, .. }) = caller.poll_transmit() {
        index.copy_from_slice(&datagram[4..8]);
    }
    (caller, index)
}

/// Two ends with a session; the index of the second end's, little-endian.
fn session() -> (Tunnels, Tunnels, [u8; 4]) {
    let (mut a, mut b) = (end(0), end(1));
    let mut index = [0; 4];
    let _: Result<Vec<u8>, ()> = seal(&mut a, b"first");
    a.handle_timeout(NOW, wall());
    for _ in 0..3 {
        while let Some(Transmit { mut datagram, .. }) = a.poll_transmit() {
            b.open(address(0), &mut datagram, NOW, wall());
        }
        while let Some(Transmit { mut datagram, .. }) = b.poll_transmit() {
            if datagram[0] == 2 {
                index.copy_from_slice(&datagram[4..8]);
            }
            a.open(address(1), &mut datagram, NOW, wall());
        }
    }
    assert!(b.status(PEER, NOW).is_some_and(|status| status.up));
    (a, b, index)
}

fn seal(tunnels: &mut Tunnels, payload: &[u8]) -> Result<Vec<u8>, ()> {
    let mut buf = vec![0; HEADROOM + payload.len() + TAILROOM];
    buf[HEADROOM..HEADROOM + payload.len()].copy_from_slice(payload);
    match tunnels.seal(PEER, &mut buf, payload.len(), NOW) {
        Seal::Ready { len, .. } => {
            buf.truncate(len);
            Ok(buf)
        }
        Seal::Queued | Seal::Dropped(_) => Err(()),
    }
}

/// `mode (1) | length (2) | datagram`, the latter two again and again. Mode 0: to an end without a session. 1: to one with a session.
/// 2: the same, and the datagram's index is the session's. 3: the datagram says what is changed in a right one. 4: to one that has called and waits, as an answer to its call. Nothing that was not
/// sealed by the peer, as it was sealed, is ever a payload.
pub fn tunnel_open(data: &[u8]) {
    let Some((mode, rest)) = data.split_first() else { return };
    match mode % 5 {
        4 => CALLING.with_borrow_mut(|(caller, index)| {
            feed(caller, rest, |datagram| {
                // Where a response and a cookie reply say whom they answer.
                let place = if datagram.first() == Some(&2) { 8..12 } else { 4..8 };
                if let Some(place) = datagram.get_mut(place) {
                    place.copy_from_slice(index);
                }
            });
        }),
        0 => ALONE.with_borrow_mut(|alone| feed(alone, rest, |_| {})),
        1 => PAIR.with_borrow_mut(|(_, b, _)| feed(b, rest, |_| {})),
        2 => PAIR.with_borrow_mut(|(_, b, index)| {
            feed(b, rest, |datagram| {
                if let Some(place) = datagram.get_mut(4..8) {
                    place.copy_from_slice(index);
                }
            });
        }),
        _ => PAIR.with_borrow_mut(|(a, b, _)| change(a, b, rest)),
    }
}

/// Gives all datagrams to an end, each behind what is done to it.
fn feed(to: &mut Tunnels, mut rest: &[u8], mut fit: impl FnMut(&mut [u8])) {
    let mut now = NOW;
    while let Some(([high, low], more)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
        let (datagram, more) = more.split_at(len);
        let mut datagram = datagram.to_vec();
        fit(&mut datagram);
        let opened = to.open(address(0), &mut datagram, now, wall());
        assert!(!matches!(opened, Open::Payload { .. }), "nobody has sealed this");
        while to.poll_transmit().is_some() {}
        while to.poll_event().is_some() {}
        now = now + Duration::from_millis(u64::from(*low));
        to.handle_timeout(now, wall());
        rest = more;
    }
}

/// Changes bytes of a right datagram: `place (2) | what is mixed in (1)`, again and again; then cuts it.
fn change(a: &mut Tunnels, b: &mut Tunnels, data: &[u8]) {
    let right = seal(a, b"a payload of some length that is not a multiple of sixteen").expect("there is a session");
    let mut changed = right.clone();
    let (changes, rest) = data.as_chunks::<3>();
    for [high, low, mix] in changes {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % changed.len();
        changed[place] ^= mix;
    }
    if let [cut] = rest {
        changed.truncate(usize::from(*cut));
    }
    let same = changed == right;
    let opened = b.open(address(0), &mut changed, NOW, wall());
    assert_eq!(matches!(opened, Open::Payload { .. }), same, "a payload is what was sealed, and nothing else");
    let mut again = right;
    let opened = b.open(address(0), &mut again, NOW, wall());
    assert_eq!(matches!(opened, Open::Payload { .. }), !same, "once, and not spoilt by what came before");
}
