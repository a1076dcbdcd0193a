//! One end with five hundred peers: what a wake-up costs, and how long a storm lasts.

use std::net::SocketAddr;
use std::time::Duration;

use super::world::Dice;
use crate::tunnel::{Open, PeerConfig, Suite, Transmit, Tunnels, public_key};
use crate::types::{Mono, PeerSlot, SecretKey, Wall};

const PEERS: u16 = 500;
const KEEPALIVE: Duration = Duration::from_secs(25);

fn secret(number: u16) -> SecretKey {
    let [high, low] = number.to_be_bytes();
    SecretKey::from_bytes([[high, low, 1, 7]; 8].concat().try_into().unwrap())
}

/// Where peer `number` is; the node in the middle is number [`PEERS`].
fn address(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 51820))
}

fn number(address: SocketAddr) -> usize {
    let std::net::IpAddr::V4(ip) = address.ip() else { panic!("{address}") };
    let [.., high, low] = ip.octets();
    usize::from(u16::from_be_bytes([high, low]))
}

fn config(slot: u16, of: u16, keepalive: Option<Duration>) -> PeerConfig {
    PeerConfig {
        slot: PeerSlot(slot),
        public_key: public_key(&secret(of)),
        psk: None,
        suite: Suite::Chacha,
        endpoint: Some(address(of)),
        keepalive,
        changing: Vec::new(),
    }
}

/// A node in the middle, all its peers, and a wire that takes no time.
struct Star {
    middle: Tunnels,
    peers: Vec<Tunnels>,
    now: Mono,
    wall: Wall,
    /// Datagrams that the middle has sent and received.
    datagrams: u64,
}

impl Star {
    /// Who has a keepalive calls at once.
    fn new(middle: Option<Duration>, peers: Option<Duration>) -> Self {
        let now = Mono::from_nanos(1_000_000_000_000);
        let end = |of: u16| Tunnels::new(secret(of), Box::new(Dice::new(of.into())), now);
        let mut star = Self {
            middle: end(PEERS),
            peers: (0..PEERS).map(end).collect(),
            now,
            wall: Wall::from_secs(1_800_000_000),
            datagrams: 0,
        };
        star.middle.set_peers((0..PEERS).map(|n| config(n, n, middle)).collect(), now);
        for peer in &mut star.peers {
            peer.set_peers(vec![config(0, PEERS, peers)], now);
        }
        star
    }

    fn ends(&mut self) -> impl Iterator<Item = &mut Tunnels> {
        std::iter::once(&mut self.middle).chain(&mut self.peers)
    }

    /// Carries everything that is sent until nobody says anything any more.
    fn settle(&mut self) {
        let Self { middle, peers, now, wall, datagrams } = self;
        let mut busy = true;
        while std::mem::take(&mut busy) {
            for (from, peer) in peers.iter_mut().enumerate() {
                while let Some(Transmit { mut datagram, .. }) = peer.poll_transmit() {
                    busy = true;
                    *datagrams += 1;
                    let _: Open<'_> = middle.open(address(u16::try_from(from).unwrap()), &mut datagram, *now, *wall);
                }
            }
            while let Some(Transmit { to, mut datagram }) = middle.poll_transmit() {
                busy = true;
                *datagrams += 1;
                let _: Open<'_> = peers[number(to)].open(address(PEERS), &mut datagram, *now, *wall);
            }
        }
    }

    /// Goes from deadline to deadline for `time`, or until `done`.
    fn live(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let (start, end) = (self.now, self.now + time);
        loop {
            let (now, wall) = (self.now, self.wall);
            self.ends().for_each(|end| end.handle_timeout(now, wall));
            self.settle();
            let next = self.ends().filter_map(|end| end.poll_timeout()).min().unwrap_or(end);
            if done(self) || next >= end {
                return self.now.since(start);
            }
            let step = next.max(now + Duration::from_millis(1)).since(now);
            (self.now, self.wall) = (now + step, self.wall + step);
        }
    }

    fn up(&self) -> usize {
        (0..PEERS).filter(|n| self.middle.status(PeerSlot(*n), self.now).unwrap().up).count()
    }
}

#[test]
fn a_storm_of_five_hundred_handshakes_is_over_within_seconds() {
    // All peers call at once, as after a power cut: more than the limit in one second, so the later ones get cookies first.
    let mut star = Star::new(None, Some(KEEPALIVE));
    let time = star.live(Duration::from_secs(60), |star| star.up() == usize::from(PEERS));
    assert_eq!(star.up(), usize::from(PEERS));
    assert!(time < Duration::from_secs(12), "two retries of five seconds at most: {time:?}");
    assert!(star.middle.counters().cookies_sent > 0, "it was a storm");
    // The node in the middle calls all: nobody's limit is reached, so one round is enough.
    let mut star = Star::new(Some(KEEPALIVE), None);
    let time = star.live(Duration::from_secs(60), |star| star.up() == usize::from(PEERS));
    assert_eq!((star.up(), time), (usize::from(PEERS), Duration::ZERO));
}

#[test]
fn a_wake_up_looks_at_the_peers_that_are_due_and_at_no_others() {
    let mut star = Star::new(Some(KEEPALIVE), Some(KEEPALIVE));
    star.live(Duration::from_secs(20), |_| false);
    assert_eq!(star.up(), usize::from(PEERS));
    let (looked, datagrams) = (star.middle.looked_at(), star.datagrams);
    star.live(Duration::from_secs(75), |_| false);
    let (looked, datagrams) = (star.middle.looked_at() - looked, star.datagrams - datagrams);
    assert!(datagrams >= 3 * u64::from(PEERS), "keepalives went: {datagrams}");
    assert!(looked <= 4 * u64::from(PEERS), "once a keepalive, and not {looked} times");
    assert!(star.middle.looks_to_come() <= 4 * usize::from(PEERS), "{}", star.middle.looks_to_come());
}
