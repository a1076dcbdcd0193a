//! Two whole nodes without sockets: egress, tunnels, tunnels, ingress.

use std::net::SocketAddr;

use super::*;
use crate::tunnel::{self, Open, PeerConfig, Random, Seal, Tunnels, public_key};
use crate::types::{SecretKey, Wall};

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

struct Node {
    world: World,
    tunnels: Tunnels,
    address: SocketAddr,
    /// Frames that its TAPs got.
    delivered: Vec<(NetSlot, Vec<u8>)>,
}

impl Node {
    fn new(slice: &Slice, number: u8, other: (&str, u8)) -> Self {
        let world = World::of(slice);
        let secret = |n: u8| SecretKey::from_bytes([n; 32]);
        let mut tunnels = Tunnels::new(secret(number), Box::new(Dice(number.into())), world.now);
        let config = PeerConfig {
            slot: world.peer(other.0),
            public_key: public_key(&secret(other.1)),
            psk: None,
            suite: Suite::Chacha,
            endpoint: Some(SocketAddr::from(([198, 51, 100, other.1], 51_820))),
            keepalive: None,
            changing: Vec::new(),
        };
        tunnels.set_peers(vec![config], world.now);
        let address = SocketAddr::from(([198, 51, 100, number], 51_820));
        Self { world, tunnels, address, delivered: Vec::new() }
    }

    fn time(&self) -> (Mono, Wall) {
        (self.world.now, Wall::from_secs(1_800_000_000))
    }

    /// A guest sends; datagrams for the other node come out.
    fn send(&mut self, net: &str, frame: &[u8]) -> Vec<Vec<u8>> {
        let mut buf = Buf::default();
        buf.copy_from(frame);
        let (mut frames, mut out) =
            (vec![Frame { net: self.world.net(net), buf, virtio: self.world.virtio }], EgressOut::default());
        let World { egress, table, paths, now, pool, .. } = &mut self.world;
        egress.batch(table, paths, *now, &mut frames, pool, &mut out);
        let mut datagrams = Vec::new();
        for mut train in out.tunnels {
            let peer = train.peer;
            for datagram in train.datagrams() {
                let (len, whole) = (datagram.len() - 32, datagram.len());
                if let Seal::Ready { len, .. } = self.tunnels.seal(peer, datagram, len, self.world.now) {
                    assert_eq!(len, whole, "all datagrams of a train keep their size");
                    datagrams.push(datagram.to_vec());
                }
            }
        }
        datagrams.extend(self.pending());
        datagrams
    }

    fn pending(&mut self) -> Vec<Vec<u8>> {
        let (now, wall) = self.time();
        self.tunnels.handle_timeout(now, wall);
        std::iter::from_fn(|| self.tunnels.poll_transmit()).map(|transmit| transmit.datagram).collect()
    }

    fn receive(&mut self, from: SocketAddr, mut datagram: Vec<u8>) {
        let (now, wall) = self.time();
        let opened = match self.tunnels.open(from, &mut datagram, now, wall) {
            Open::Payload { peer, payload } => Some((peer, payload.len())),
            Open::Nothing => None,
            Open::Dropped(reason) => panic!("{reason:?}"),
        };
        if let Some((peer, len)) = opened {
            let payload = &datagram[tunnel::HEADROOM..tunnel::HEADROOM + len];
            if let Ok(arrived) = self.world.arrive(peer, payload) {
                self.delivered.push(arrived);
            }
        }
    }
}

/// A guest of `from` sends, and both nodes talk until they are silent. Everything that crosses is returned.
fn cross(from: &mut Node, to: &mut Node, net: &str, frame: &[u8]) -> Vec<Vec<u8>> {
    let (mut there, mut back) = (from.send(net, frame), Vec::new());
    let mut seen = Vec::new();
    while !there.is_empty() || !back.is_empty() {
        for datagram in there.drain(..) {
            seen.push(datagram.clone());
            to.receive(from.address, datagram);
        }
        back.extend(to.pending());
        for datagram in back.drain(..) {
            seen.push(datagram.clone());
            from.receive(to.address, datagram);
        }
        there.extend(from.pending());
    }
    seen
}

/// The same mesh as `b-1` sees it.
pub(super) fn slice_of_b(flood: Flood) -> Slice {
    let mut slice = slice(flood);
    slice.node = node("b-1");
    slice.pdc = "b".parse().unwrap();
    slice.peers.remove(&node("b-1"));
    slice.peers.insert(node("a-1"), peer("a", "10.0.0.1", 1));
    for network in slice.networks.values_mut() {
        network.members.remove(&node("b-1"));
        network.members.insert(node("a-1"), Path::Plain);
    }
    slice
}

fn pair(flood: Flood) -> (Node, Node) {
    let a = Node::new(&slice(flood), 1, ("b-1", 3));
    let b = Node::new(&slice_of_b(flood), 3, ("a-1", 1));
    (a, b)
}

#[test]
fn a_frame_waits_for_the_handshake_and_arrives() {
    let (mut a, mut b) = pair(Flood::Suppress);
    let frame = plain(FAR, HERE);
    let seen = cross(&mut a, &mut b, "default/10", &frame);
    assert_eq!(b.delivered, [(b.world.net("default/10"), frame.clone())]);
    assert!(seen.iter().all(|datagram| !contains(datagram, b"local experimental")), "nothing is in clear");
    let answer = plain(HERE, FAR);
    cross(&mut b, &mut a, "default/10", &answer);
    assert_eq!(a.delivered, [(a.world.net("default/10"), answer)]);
}

#[test]
fn every_length_arrives_as_it_was_sent() {
    // Of any type: a network that finds its guests asks nothing of them.
    let finds = |mut slice: Slice| {
        slice.networks.values_mut().for_each(|network| network.learning = Learning::Local);
        slice
    };
    let mut a = Node::new(&finds(slice(Flood::Suppress)), 1, ("b-1", 3));
    let mut b = Node::new(&finds(slice_of_b(Flood::Suppress)), 3, ("a-1", 1));
    for len in (0..100).chain(1380..=1400) {
        let frame = frame(FAR, HERE, 0x88b5, &vec![0xa5; len]);
        cross(&mut a, &mut b, "default/10", &frame);
        assert_eq!(b.delivered.pop().unwrap().1, frame, "{len} bytes");
    }
}

#[test]
fn a_node_that_lies_about_a_source_is_not_believed() {
    let (mut a, mut b) = pair(Flood::Replicate);
    let mut lying = slice(Flood::Replicate);
    lying.rows.insert(row_key("default/10/-", OTHER), row("a-1", 5));
    a.world = World::of(&lying);
    cross(&mut a, &mut b, "default/10", &plain(FAR, OTHER));
    assert!(b.delivered.is_empty());
    assert_eq!(b.world.ingress.drops.get(DropReason::SourceNotThere), 1);
    cross(&mut a, &mut b, "default/10", &plain(FAR, HERE));
    assert_eq!(b.delivered.len(), 1);
}

#[test]
fn broadcast_reaches_the_other_node_once() {
    let (mut a, mut b) = pair(Flood::Suppress);
    cross(&mut a, &mut b, "default/10", &plain(Mac::BROADCAST, HERE));
    assert_eq!(b.delivered.len(), 1);
    assert!(a.delivered.is_empty(), "it does not come back");
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
