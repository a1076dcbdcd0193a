//! Against `boringtun` in this process: an implementation that shares none of our protocol code is the oracle.
//!
//! Our time is simulated. `boringtun` reads the clock by itself, so whatever needs time to pass is begun on our side, or by
//! calls that make it act at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey as TheirPublic, StaticSecret};
use vxmesh::tunnel::{
    DropReason, Event, HEADROOM, Open, PeerConfig, Random, Seal, Suite, TAILROOM, Transmit, Tunnels, public_key,
};
use vxmesh::types::{Mono, PeerSlot, Psk, PublicKey, SecretKey, Wall};

const PEER: PeerSlot = PeerSlot(0);

/// The operating system's randomness.
struct Os;

impl Random for Os {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            chunk.copy_from_slice(&vxmesh::clock::random::<32>()[..chunk.len()]);
        }
    }
}

/// An IPv4 packet of `len` bytes: what `boringtun` wants as payload.
fn ipv4(len: u16, fill: u8) -> Vec<u8> {
    let mut packet = vec![fill; len.into()];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet
}

/// What `boringtun` makes of what it is given.
#[derive(Debug, PartialEq)]
enum Theirs {
    Nothing,
    Send(Vec<u8>),
    Packet(Vec<u8>),
    Error(String),
}

impl From<TunnResult<'_>> for Theirs {
    fn from(result: TunnResult<'_>) -> Self {
        match result {
            TunnResult::Done => Self::Nothing,
            TunnResult::Err(error) => Self::Error(format!("{error:?}")),
            TunnResult::WriteToNetwork(bytes) => Self::Send(bytes.to_vec()),
            TunnResult::WriteToTunnelV4(bytes, _) | TunnResult::WriteToTunnelV6(bytes, _) => {
                Self::Packet(bytes.to_vec())
            }
        }
    }
}

impl Theirs {
    #[track_caller]
    fn sent(self) -> Vec<u8> {
        let Self::Send(bytes) = self else { panic!("boringtun should send, but: {self:?}") };
        bytes
    }

    #[track_caller]
    fn packet(self) -> Vec<u8> {
        let Self::Packet(bytes) = self else { panic!("boringtun should deliver, but: {self:?}") };
        bytes
    }
}

struct Pair {
    ours: Tunnels,
    theirs: Tunn,
    now: Mono,
    wall: Wall,
}

impl Pair {
    fn new(our_psk: Option<u8>, their_psk: Option<u8>, their_limit: Option<u64>) -> Self {
        Self::in_suite(Suite::Chacha, our_psk, their_psk, their_limit)
    }

    fn in_suite(suite: Suite, our_psk: Option<u8>, their_psk: Option<u8>, their_limit: Option<u64>) -> Self {
        let (us, them) = (vxmesh::clock::random::<32>(), vxmesh::clock::random::<32>());
        let our_public = public_key(&SecretKey::from_bytes(us));
        let their_secret = StaticSecret::from(them);
        let their_public = TheirPublic::from(&their_secret);
        let now = Mono::from_nanos(1_000_000_000_000);
        let mut ours = Tunnels::new(SecretKey::from_bytes(us), Box::new(Os), now);
        let config = PeerConfig {
            slot: PEER,
            public_key: PublicKey(*their_public.as_bytes()),
            psk: our_psk.map(|byte| Psk::from_bytes([byte; 32])),
            suite,
            endpoint: Some(Self::their_address()),
            keepalive: None,
            changing: Vec::new(),
        };
        ours.set_peers(vec![config], now);
        let limiter = their_limit.map(|limit| Arc::new(RateLimiter::new(&their_public, limit)));
        let psk = their_psk.map(|byte| [byte; 32]);
        let theirs = Tunn::new(their_secret, TheirPublic::from(our_public.0), psk, None, 77, limiter);
        Self { ours, theirs, now, wall: vxmesh::clock::wall() }
    }

    fn their_address() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 2], 51820))
    }

    fn our_address() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 51820))
    }

    /// Time passes for us, not for them.
    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.wall = self.wall + time;
    }

    /// All that we have to send.
    fn we_send(&mut self) -> Vec<Vec<u8>> {
        self.ours.handle_timeout(self.now, self.wall);
        std::iter::from_fn(|| self.ours.poll_transmit())
            .map(|Transmit { to, datagram }| {
                assert_eq!(to, Self::their_address());
                datagram
            })
            .collect()
    }

    /// The one thing that we have to send.
    #[track_caller]
    fn we_send_one(&mut self) -> Vec<u8> {
        let mut sent = self.we_send();
        assert_eq!(sent.len(), 1, "one datagram is expected: {:?}", sent.iter().map(Vec::len).collect::<Vec<_>>());
        sent.remove(0)
    }

    fn we_seal(&mut self, payload: &[u8]) -> Result<Vec<u8>, Seal> {
        let mut buf = vec![0xee; HEADROOM + payload.len() + TAILROOM];
        buf[HEADROOM..HEADROOM + payload.len()].copy_from_slice(payload);
        match self.ours.seal(PEER, &mut buf, payload.len(), self.now) {
            Seal::Ready { len, .. } => Ok(buf[..len].to_vec()),
            other @ (Seal::Queued | Seal::Dropped(_)) => Err(other),
        }
    }

    /// We take a datagram; the payload, if it has one.
    fn we_take(&mut self, datagram: &[u8]) -> Result<Option<Vec<u8>>, DropReason> {
        let mut datagram = datagram.to_vec();
        match self.ours.open(Self::their_address(), &mut datagram, self.now, self.wall) {
            Open::Payload { payload, .. } => Ok(Some(payload.to_vec())),
            Open::Nothing => Ok(None),
            Open::Dropped(reason) => Err(reason),
        }
    }

    fn they_take(&mut self, datagram: &[u8]) -> Theirs {
        let mut scratch = vec![0; 2048];
        self.theirs.decapsulate(Some(Self::our_address().ip()), datagram, &mut scratch).into()
    }

    fn they_seal(&mut self, payload: &[u8]) -> Theirs {
        let mut scratch = vec![0; 2048];
        self.theirs.encapsulate(payload, &mut scratch).into()
    }

    fn they_initiate(&mut self) -> Vec<u8> {
        let mut scratch = vec![0; 2048];
        Theirs::from(self.theirs.format_handshake_initiation(&mut scratch, true)).sent()
    }

    /// A handshake that we begin, with `packet` as what started it.
    fn we_shake_hands(&mut self, packet: &[u8]) {
        assert_eq!(self.we_seal(packet), Err(Seal::Queued));
        let initiation = self.we_send_one();
        assert_eq!(initiation.len(), 148);
        let response = self.they_take(&initiation).sent();
        assert_eq!(response.len(), 92);
        assert_eq!(self.we_take(&response), Ok(None));
        let data = self.we_send_one();
        assert_eq!(self.they_take(&data).packet(), packet);
    }

    /// A handshake that they begin.
    fn they_shake_hands(&mut self) {
        let initiation = self.they_initiate();
        assert_eq!(self.we_take(&initiation), Ok(None));
        let response = self.we_send_one();
        let keepalive = self.they_take(&response).sent();
        assert_eq!(keepalive.len(), 32);
        assert_eq!(self.we_take(&keepalive), Ok(None));
    }

    /// Packets of many lengths in both directions. Ours are padded, theirs are not.
    fn data_flows(&mut self) {
        for len in (20..1500).step_by(61) {
            let packet = ipv4(len, 0xaa);
            let Ok(sealed) = self.we_seal(&packet) else { panic!("there is a session") };
            assert_eq!(sealed.len(), 32 + usize::from(len.next_multiple_of(16)));
            assert_eq!(self.they_take(&sealed).packet(), packet);
            let packet = ipv4(len, 0xbb);
            let sealed = self.they_seal(&packet).sent();
            assert_eq!(self.we_take(&sealed), Ok(Some(packet)));
        }
    }

    fn initiations(&self) -> u64 {
        self.ours.counters().initiations_sent
    }
}

#[test]
fn we_initiate_and_data_flows_both_ways() {
    let mut pair = Pair::new(None, None, None);
    pair.we_shake_hands(&ipv4(84, 1));
    pair.data_flows();
    assert_eq!(pair.ours.poll_event(), Some(Event::Up { peer: PEER }));
}

#[test]
fn they_initiate_and_data_flows_both_ways() {
    let mut pair = Pair::new(None, None, None);
    pair.they_shake_hands();
    pair.data_flows();
    assert_eq!(pair.initiations(), 0);
}

#[test]
fn what_waited_here_is_sent_when_they_call_first() {
    let mut pair = Pair::new(None, None, None);
    assert_eq!(pair.we_seal(&ipv4(50, 9)), Err(Seal::Queued));
    let _lost = pair.we_send();
    pair.they_shake_hands();
    let waited = pair.we_send_one();
    assert_eq!(pair.they_take(&waited).packet(), ipv4(50, 9));
}

#[test]
fn a_psk_works_in_both_roles() {
    let mut pair = Pair::new(Some(5), Some(5), None);
    pair.we_shake_hands(&ipv4(84, 1));
    pair.data_flows();
    let mut pair = Pair::new(Some(5), Some(5), None);
    pair.they_shake_hands();
    pair.data_flows();
}

#[test]
fn another_psk_works_in_neither_role() {
    for (ours, theirs) in [(Some(5), Some(6)), (None, Some(6)), (Some(5), None)] {
        let mut pair = Pair::new(ours, theirs, None);
        assert_eq!(pair.we_seal(&ipv4(84, 1)), Err(Seal::Queued));
        let initiation = pair.we_send_one();
        let response = pair.they_take(&initiation).sent();
        assert_eq!(pair.we_take(&response), Err(DropReason::HandshakeForged));

        let mut pair = Pair::new(ours, theirs, None);
        let initiation = pair.they_initiate();
        assert_eq!(pair.we_take(&initiation), Ok(None));
        let response = pair.we_send_one();
        assert!(matches!(pair.they_take(&response), Theirs::Error(_)));
    }
}

#[test]
fn we_rekey_and_what_is_on_its_way_in_the_old_session_still_arrives() {
    let mut pair = Pair::new(None, None, None);
    pair.we_shake_hands(&ipv4(84, 1));
    for round in 0..5 {
        pair.pass(Duration::from_secs(121));
        let old = pair.they_seal(&ipv4(40, round)).sent();
        let sealed = pair.we_seal(&ipv4(41, round)).unwrap();
        assert_eq!(pair.they_take(&sealed).packet(), ipv4(41, round));
        let initiation = pair.we_send_one();
        assert_eq!(initiation.len(), 148, "two minutes are over");
        let response = pair.they_take(&initiation).sent();
        assert_eq!(pair.we_take(&response), Ok(None));
        let confirmation = pair.we_send_one();
        assert_eq!(pair.they_take(&confirmation), Theirs::Nothing);
        assert_eq!(pair.we_take(&old).unwrap().unwrap()[..40], ipv4(40, round));
        pair.data_flows();
    }
    assert_eq!(pair.initiations(), 6);
}

#[test]
fn they_rekey_and_we_change_over_when_they_do() {
    let mut pair = Pair::new(None, None, None);
    pair.they_shake_hands();
    for round in 0..5 {
        pair.pass(Duration::from_secs(60));
        let initiation = pair.they_initiate();
        assert_eq!(pair.we_take(&initiation), Ok(None));
        let mut sent = pair.we_send();
        let response = sent.remove(0);
        // The keepalive that is due for what came in the session before: whoever called has proved nothing yet that would put it off.
        for keepalive in sent {
            assert_eq!(keepalive.len(), 32);
            assert_eq!(pair.they_take(&keepalive), Theirs::Nothing);
        }
        let sealed = pair.we_seal(&ipv4(41, round)).unwrap();
        let confirmation = pair.they_take(&response).sent();
        assert_eq!(pair.they_take(&sealed).packet(), ipv4(41, round), "sealed in the old session");
        assert_eq!(pair.we_take(&confirmation), Ok(None));
        pair.data_flows();
    }
}

#[test]
fn they_are_under_load_and_accept_our_second_mac() {
    let mut pair = Pair::new(None, None, Some(0));
    assert_eq!(pair.we_seal(&ipv4(84, 1)), Err(Seal::Queued));
    let initiation = pair.we_send_one();
    assert_eq!(initiation[132..], [0; 16], "no cookie, no second MAC");
    let cookie = pair.they_take(&initiation).sent();
    assert_eq!(cookie.len(), 64);
    assert_eq!(pair.we_take(&cookie), Ok(None));
    assert!(pair.we_send().is_empty(), "a cookie is for the next initiation, it does not ask for one");
    pair.pass(Duration::from_secs(6));
    let initiation = pair.we_send_one();
    assert_ne!(initiation[132..], [0; 16]);
    let response = pair.they_take(&initiation).sent();
    assert_eq!(response.len(), 92);
    assert_eq!(pair.we_take(&response), Ok(None));
    let data = pair.we_send_one();
    assert_eq!(pair.they_take(&data).packet(), ipv4(84, 1));
    pair.data_flows();
}

#[test]
fn we_are_under_load_and_accept_their_second_mac() {
    let mut pair = Pair::new(None, None, None);
    pair.ours.set_load_limit(0);
    let initiation = pair.they_initiate();
    assert_eq!(pair.we_take(&initiation), Err(DropReason::CookieDemanded));
    let cookie = pair.we_send_one();
    assert_eq!(cookie.len(), 64);
    assert_eq!(pair.they_take(&cookie), Theirs::Nothing);
    pair.they_shake_hands();
    pair.data_flows();
    assert_eq!(pair.ours.counters().cookies_sent, 1);
}

#[test]
fn they_refuse_every_replay_and_so_do_we() {
    let mut pair = Pair::new(None, None, None);
    pair.we_shake_hands(&ipv4(84, 1));
    let ours = pair.we_seal(&ipv4(100, 1)).unwrap();
    pair.they_take(&ours).packet();
    assert!(matches!(pair.they_take(&ours), Theirs::Error(_)));
    let theirs = pair.they_seal(&ipv4(100, 2)).sent();
    assert!(pair.we_take(&theirs).is_ok());
    assert_eq!(pair.we_take(&theirs), Err(DropReason::Replayed));
}

#[test]
fn our_other_suite_is_another_protocol() {
    let mut pair = Pair::in_suite(Suite::Aesgcm, None, None, None);
    let initiation = pair.they_initiate();
    assert_eq!(pair.we_take(&initiation), Err(DropReason::HandshakeForged));
    assert_eq!(pair.we_seal(&ipv4(84, 1)), Err(Seal::Queued));
    let initiation = pair.we_send_one();
    assert!(matches!(pair.they_take(&initiation), Theirs::Error(_)));
}

#[test]
fn they_are_under_load_and_our_response_carries_the_second_mac_too() {
    let mut pair = Pair::new(None, None, Some(0));
    let initiation = pair.they_initiate();
    assert_eq!(pair.we_take(&initiation), Ok(None));
    let response = pair.we_send_one();
    let cookie = pair.they_take(&response).sent();
    assert_eq!(cookie.len(), 64);
    assert_eq!(pair.we_take(&cookie), Ok(None));
    pair.pass(Duration::from_secs(5));
    pair.they_shake_hands();
    pair.data_flows();
}
