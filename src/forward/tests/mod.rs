//! A node `a-1` with its peers, and frames to try on it.
//!
//! | peer | path | guests in `blue` (default/10) |
//! |---|---|---|
//! | `a-2` | plain | `PLAIN` |
//! | `b-1` | tunnel, form B | `FAR`, and the gateway `GATEWAY` |
//! | `b-2` | tunnel, form B | `OTHER` |
//! | `c-1` | forbidden | `BANNED` |
//! | `f-1` | tunnel, form A | `FOREIGN` |
//!
//! `green` is other/10: another overlay with the same VNI, in which `FAR` is another guest at `b-2`. `red` is default/20.

mod claims;
mod egress;
mod forms;
mod ingress;
mod lanes;
mod neighbours;
mod offload;
mod pair;
#[path = "../../../tests/common/says.rs"]
mod says;
mod sizes;
mod speech;
mod table;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::node::paths::{Own, decide_all};
use crate::policy::path::{Action, Intra, Path, PathRule, PdcFacts, Selector};
use crate::table::{Flood, Foreign, Learning, NetKey, Network, Peer, Row, RowKey, Slice, Suite};
use crate::types::{Mac, Mono, Mtu, NetSlot, NodeId, PeerSlot, PublicKey, UdpPort, Version};
use crate::wire::Header;
use crate::wire::compact::Compact;
use crate::wire::ethernet::Ethernet;
use crate::wire::ip::Ipv4;
use crate::wire::virtio::Virtio;

pub(super) const HERE: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub(super) const HERE_TOO: Mac = Mac([2, 0, 0, 0, 0, 2]);
pub(super) const PLAIN: Mac = Mac([2, 0, 0, 0, 0, 3]);
pub(super) const FAR: Mac = Mac([2, 0, 0, 0, 0, 4]);
pub(super) const OTHER: Mac = Mac([2, 0, 0, 0, 0, 5]);
pub(super) const BANNED: Mac = Mac([2, 0, 0, 0, 0, 6]);
pub(super) const FOREIGN: Mac = Mac([2, 0, 0, 0, 0, 7]);
pub(super) const GATEWAY: Mac = Mac([2, 0, 0, 0, 0, 8]);
pub(super) const STRANGER: Mac = Mac([2, 0, 0, 0, 0, 99]);
pub(super) const MULTICAST: Mac = Mac([1, 0, 0x5e, 0, 0, 251]);
pub(super) const OWN_TUNNEL: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 1);
pub(super) const FOREIGN_TUNNEL: Ipv4Addr = Ipv4Addr::new(10, 255, 0, 9);

pub(super) fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 10, last)
}

pub(super) fn ip6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
}

pub(super) fn key(text: &str) -> NetKey {
    text.parse().unwrap()
}

fn node(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn peer(pdc: &str, admin: &str, number: u8) -> Peer {
    Peer {
        pdc: pdc.parse().unwrap(),
        public_key: Some(PublicKey([number; 32])),
        psk: None,
        suite: Suite::Chacha,
        admin: Some(admin.parse().unwrap()),
        external: Some(format!("198.51.100.{number}").parse().unwrap()),
        listen: UdpPort::try_from(51_820).unwrap(),
        lanes: 1,
        changing: Vec::new(),
        foreign: None,
    }
}

fn network(name: &str, udp_port: u64, flood: Flood) -> Network {
    let members = ["a-2", "b-1", "b-2", "c-1", "f-1"].map(|name| (node(name), Path::Plain));
    Network {
        name: name.parse().unwrap(),
        udp_port: UdpPort::try_from(udp_port).unwrap(),
        cidr: vec!["192.168.10.0/24".parse().unwrap()],
        gateway: vec![ip(254).into(), ip6(254).into()],
        mtu: None,
        guest_mtu: Mtu::try_from(1400).unwrap(),
        group_rate: None,
        flood,
        learning: Learning::Declared,
        members: members.into_iter().collect(),
    }
}

fn row(at: &str, last: u8) -> Row {
    let (arp, nd) = ([ip(last)].into(), [ip6(last.into())].into());
    Row { arp, nd, ..Row::of(node(at)) }
}

pub(super) fn slice(flood: Flood) -> Slice {
    let mut slice = Slice::empty(Version::default(), node("a-1"), "a".parse().unwrap());
    slice.tunnel_address = Some(OWN_TUNNEL);
    let facts = PdcFacts { intra: Intra::Plain, underlay: vec!["10.0.0.0/24".parse().unwrap()], ..PdcFacts::default() };
    slice.pdcs = BTreeMap::from([("a".parse().unwrap(), facts)]);
    let ban = PathRule {
        between: vec![Selector::Node(node("c-1"))],
        network: None,
        action: Action::Forbid,
        i_know_this_is_clear: false,
    };
    slice.policies = BTreeMap::from([("ban".parse().unwrap(), ban)]);
    let foreign = Foreign { tunnel_address: FOREIGN_TUNNEL, endpoint: None };
    slice.peers = BTreeMap::from([
        (node("a-2"), peer("a", "10.0.0.2", 2)),
        (node("b-1"), peer("b", "10.1.0.1", 3)),
        (node("b-2"), peer("b", "10.1.0.2", 4)),
        (node("c-1"), peer("c", "10.2.0.1", 5)),
        (node("f-1"), Peer { foreign: Some(foreign), ..peer("f", "10.3.0.1", 6) }),
    ]);
    slice.networks = BTreeMap::from([
        (key("default/10"), network("blue", 4789, flood)),
        (key("other/10"), network("green", 4790, flood)),
        (key("default/20"), network("red", 4789, flood)),
    ]);
    let blue = [(HERE, "a-1"), (HERE_TOO, "a-1"), (PLAIN, "a-2"), (FAR, "b-1"), (OTHER, "b-2"), (BANNED, "c-1")];
    for (mac, at) in blue.into_iter().chain([(FOREIGN, "f-1")]) {
        slice.rows.insert(row_key("default/10/-", mac), row(at, mac.0[5]));
    }
    slice.rows.insert(row_key("default/10/-", GATEWAY), row("b-1", 254));
    slice.rows.insert(row_key("other/10/-", HERE), row("a-1", 1));
    slice.rows.insert(row_key("other/10/-", FAR), row("b-2", 4));
    slice.rows.insert(row_key("default/20/-", OTHER), row("b-2", 4));
    slice.rows.insert(row_key("default/20/-", HERE), row("a-1", 1));
    slice.rows.insert(row_key("default/10/7", FAR), row("b-2", 77));
    slice.rows.insert(row_key("default/10/7", HERE), row("a-1", 71));
    slice
}

pub(super) fn row_key(prefix: &str, mac: Mac) -> RowKey {
    format!("{prefix}/{mac}").parse().unwrap()
}

/// A lane's worth of forwarding, without the lane.
pub(super) struct World {
    pub(super) table: Table,
    pub(super) paths: PathSizes,
    pub(super) slots: Slots,
    pub(super) egress: Egress,
    pub(super) ingress: Ingress,
    pub(super) pool: Pool,
    pub(super) now: Mono,
    /// What guests leave to do in the frames that they send.
    pub(super) virtio: Virtio,
}

/// What became of one frame on egress.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Tunnels(Vec<(PeerSlot, Vec<u8>)>),
    Answer(Vec<u8>),
    Dropped(DropReason),
}

impl World {
    pub(super) fn new(flood: Flood) -> Self {
        Self::of(&slice(flood))
    }

    pub(super) fn of(slice: &Slice) -> Self {
        let mut slots = Slots::default();
        slots.assign(slice).unwrap();
        let own = Own { admin: Some("10.0.0.1".parse().unwrap()), external: Some("198.51.100.1".parse().unwrap()) };
        let table = Table::build(slice, &decide_all(slice, own), &slots, Sizing::default());
        Self {
            table,
            paths: PathSizes::default(),
            slots,
            egress: Egress::default(),
            ingress: Ingress::default(),
            pool: Pool::default(),
            now: Mono::from_nanos(1_000_000_000),
            virtio: Virtio::default(),
        }
    }

    pub(super) fn net(&self, text: &str) -> NetSlot {
        self.slots.net(&key(text)).unwrap()
    }

    pub(super) fn peer(&self, name: &str) -> PeerSlot {
        self.slots.peer(&node(name)).unwrap()
    }

    /// One frame from the TAP of a network.
    pub(super) fn out(&mut self, net: &str, frame: &[u8]) -> Fate {
        let before = self.egress.drops.clone();
        let mut buf = self.pool.take().unwrap();
        buf.copy_from(frame);
        let mut frames = vec![Frame { net: self.net(net), buf, virtio: self.virtio }];
        let mut out = EgressOut::default();
        self.egress.batch(&self.table, &self.paths, self.now, &mut frames, &mut self.pool, &mut out);
        assert!(frames.is_empty());
        if let Some(Frame { net: slot, buf, .. }) = out.answers.pop() {
            assert!(out.answers.is_empty() && out.tunnels.is_empty());
            assert_eq!(slot, self.net(net));
            return Fate::Answer(self.read(buf));
        }
        if out.tunnels.is_empty() {
            return Fate::Dropped(the_new_one(&before, &self.egress.drops));
        }
        let mut all = Vec::new();
        for mut train in out.tunnels {
            all.extend(payloads(&mut train).into_iter().map(|(peer, payload, _)| (peer, payload)));
            self.pool.give(train.into_buf(0));
        }
        Fate::Tunnels(all)
    }

    fn read(&mut self, buf: Buf) -> Vec<u8> {
        let bytes = buf.bytes().to_vec();
        self.pool.give(buf);
        bytes
    }

    /// Peers that one frame goes to.
    pub(super) fn reached(&mut self, net: &str, frame: &[u8]) -> Vec<PeerSlot> {
        match self.out(net, frame) {
            Fate::Tunnels(list) => list.into_iter().map(|(peer, _)| peer).collect(),
            Fate::Answer(_) | Fate::Dropped(_) => Vec::new(),
        }
    }

    /// One payload out of a peer's tunnel.
    pub(super) fn arrive(&mut self, peer: PeerSlot, payload: &[u8]) -> Result<(NetSlot, Vec<u8>), DropReason> {
        let before = self.ingress.drops.clone();
        let out = self.arrive_all(peer, payload);
        match (out.frames.as_slice(), out.assembled.as_slice()) {
            ([], []) => Err(the_new_one(&before, &self.ingress.drops)),
            ([one], []) => Ok((one.net, payload[one.start..one.start + one.len].to_vec())),
            ([], [one]) => Ok((one.net, one.buf.bytes().to_vec())),
            _ => panic!("one payload, several frames"),
        }
    }

    pub(super) fn arrive_all(&mut self, peer: PeerSlot, payload: &[u8]) -> IngressOut {
        let mut out = IngressOut::default();
        let (payloads, bytes) = (&[Payload { peer, start: 0, len: payload.len() }], &mut payload.to_vec());
        let arrived = Arrived { bytes, payloads };
        self.ingress.batch(&self.table, &self.paths, self.now, arrived, &mut self.pool, &mut out);
        out
    }
}

/// The payloads of a train without their padding, and with it.
pub(super) fn payloads(train: &mut Outgoing) -> Vec<(PeerSlot, Vec<u8>, Vec<u8>)> {
    let peer = train.peer;
    let all = train.datagrams().map(|datagram| datagram[16..datagram.len() - 16].to_vec());
    all.map(|padded| {
        let len = match Compact::parse(&padded) {
            Ok(compact) => compact.unpadded(padded.len()).unwrap(),
            Err(_) => Ipv4::parse(&padded).unwrap().total.into(),
        };
        (peer, padded[..len].to_vec(), padded)
    })
    .collect()
}

fn the_new_one(before: &Drops, after: &Drops) -> DropReason {
    let new: Vec<_> = DropReason::ALL.iter().filter(|r| after.get(**r) > before.get(**r)).collect();
    assert_eq!(new.len(), 1, "exactly one reason: {new:?}");
    *new[0]
}

/// An Ethernet frame.
pub(super) fn frame(destination: Mac, source: Mac, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 14];
    Ethernet { destination, source, ethertype }.emit(&mut bytes).unwrap();
    bytes.extend(payload);
    bytes
}

/// A frame with an 802.1Q tag.
pub(super) fn tagged(destination: Mac, source: Mac, vlan: u16, ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut inside = vlan.to_be_bytes().to_vec();
    inside.extend(ethertype.to_be_bytes());
    inside.extend(payload);
    frame(destination, source, 0x8100, &inside)
}

/// A frame that is nothing special: IPv4 from the address that its sender has.
pub(super) fn plain(destination: Mac, source: Mac) -> Vec<u8> {
    let header = Ipv4 {
        options: 0,
        tos: 0,
        total: 38,
        id: 0,
        dont_fragment: false,
        more_fragments: false,
        offset: 0,
        ttl: 64,
        protocol: 253,
        source: ip(source.0[5]),
        destination: Ipv4Addr::BROADCAST,
    };
    let mut packet = vec![0; 20];
    header.emit(&mut packet).unwrap();
    packet.extend(b"local experimental");
    frame(destination, source, 0x0800, &packet)
}
