//! All that a lane does with a frame between two system calls, without the AEAD: classify, ask the table, write the headers of the
//! payload form, cut and copy; and the way back: take apart, check the sender, join.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;

use vxmesh::forward::coalesce::Coalescer;
use vxmesh::forward::{
    Arrived, Buf, Egress, EgressOut, Frame, Ingress, IngressOut, PathSizes, Payload, Pool, Sizing, Slots, Table,
};
use vxmesh::node::paths::{Own, decide_all};
use vxmesh::policy::path::Path;
use vxmesh::table::{Flood, Learning, NetKey, Network, Peer, Row, Slice, Suite};
use vxmesh::tunnel::HEADROOM;
use vxmesh::types::{Mono, NetSlot, NodeId, PeerSlot, PublicKey, Version};
use vxmesh::wire::virtio::Virtio;

use super::{Stage, SuperFrame};

const NOW: Mono = Mono::from_nanos(1_000_000_000);
/// The guests: what [`SuperFrame`] writes into its frames.
const HERE: &str = "02:02:02:02:02:03";
const FAR: &str = "02:02:02:02:02:02";

fn text<T: std::str::FromStr>(word: &str) -> T {
    match word.parse() {
        Ok(value) => value,
        Err(_) => panic!("the bench wrote '{word}'"),
    }
}

/// A number as the type that checks it.
fn number<T: TryFrom<u64>>(value: u64) -> T {
    match T::try_from(value) {
        Ok(value) => value,
        Err(_) => panic!("the bench wrote {value}"),
    }
}

/// The mesh as `me` of PDC `own` sees it; the other node is in PDC `far`.
fn slice(me: &str, own: &str, other: &str, far: &str) -> Slice {
    let mut slice = Slice::empty(Version::default(), text(me), text(own));
    let peer = Peer {
        pdc: text(far),
        public_key: Some(PublicKey([1; 32])),
        psk: None,
        suite: Suite::Aesgcm,
        admin: None,
        external: Some(text("198.51.100.2")),
        listen: number(51_820),
        lanes: 1,
        changing: Vec::new(),
        foreign: None,
    };
    slice.peers.insert(text(other), peer);
    let network = Network {
        name: text("bench"),
        udp_port: number(4789),
        cidr: Vec::new(),
        gateway: Vec::new(),
        mtu: None,
        guest_mtu: number(1400),
        group_rate: None,
        flood: Flood::Suppress,
        learning: Learning::Declared,
        members: [(text::<NodeId>(other), Path::Tunnel)].into(),
    };
    slice.networks.insert(text::<NetKey>("default/10"), network);
    for (mac, node, address) in [(HERE, "one", "10.0.0.1"), (FAR, "two", "10.0.0.2")] {
        // What a frame says that it is from is looked at too.
        let row = Row { arp: [text(address)].into(), ..Row::of(text(node)) };
        slice.rows.insert(text(&format!("default/10/-/{mac}")), row);
    }
    // A table of some size: what a map costs is not what an empty one costs.
    for n in 0..1000u16 {
        let [high, low] = n.to_be_bytes();
        let row = Row::of(text("two"));
        slice.rows.insert(text(&format!("default/10/-/02:10:00:00:{high:02x}:{low:02x}")), row);
    }
    slice
}

struct World {
    table: Table,
    net: NetSlot,
    peer: PeerSlot,
}

fn world(me: &str, own: &str, other: &str, far: &str) -> World {
    let (slice, mut slots) = (slice(me, own, other, far), Slots::default());
    slots.assign(&slice).unwrap_or_else(|_| unreachable!("two nodes fit"));
    let own = Own { admin: None, external: Some(text("198.51.100.1")) };
    let table = Table::build(&slice, &decide_all(&slice, own), &slots, Sizing::default());
    let found = slots.net(&text("default/10")).zip(slots.peer(&text(other)));
    let (net, peer) = found.unwrap_or_else(|| unreachable!("both are in the slice"));
    World { table, net, peer }
}

/// A guest's frame as this bench's guests send it.
fn between_guests(frame: &SuperFrame) -> Vec<u8> {
    let mut bytes = frame.frame.clone();
    bytes[..12].copy_from_slice(&[2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3]);
    bytes
}

/// Egress of one batch of equal frames, as far as the trains.
fn egress(name: &'static str, frame: &[u8], virtio: Virtio, count: usize, packets: usize) -> Stage {
    let World { table, net, .. } = world("one", "a", "two", "b");
    let state = Rc::new(RefCell::new((Pool::default(), Vec::new(), EgressOut::default())));
    let (used, mut egress, paths) = (Rc::clone(&state), Egress::default(), PathSizes::default());
    let frame = frame.to_vec();
    let reset = move || {
        let (pool, frames, out) = &mut *state.borrow_mut();
        for train in out.tunnels.drain(..) {
            pool.give(train.into_buf(0));
        }
        for _ in 0..count {
            let mut buf = pool.take().unwrap_or_else(|| unreachable!("the pool has room for a batch"));
            buf.copy_from(&frame);
            frames.push(Frame { net, buf, virtio });
        }
    };
    reset();
    let run = move || {
        let (pool, frames, out) = &mut *used.borrow_mut();
        egress.batch(&table, &paths, NOW, frames, pool, out);
        let made: usize = out.tunnels.iter_mut().map(|train| train.datagrams().count()).sum();
        assert_eq!(made, packets, "every packet leaves, {:?}", egress.drops);
    };
    Stage { name, packets, run: Box::new(run), reset: Box::new(reset) }
}

/// Payloads in form B as the other node sends them, one behind the other, and where they are.
fn payloads(frame: &SuperFrame) -> (Vec<u8>, Vec<Payload>) {
    let (one, two) = (world("one", "a", "two", "b"), world("two", "b", "one", "a"));
    let (mut pool, mut out, mut egress) = (Pool::default(), EgressOut::default(), Egress::default());
    let mut buf = Buf::default();
    buf.copy_from(&between_guests(frame));
    let mut frames = vec![Frame { net: one.net, buf, virtio: frame.virtio }];
    egress.batch(&one.table, &PathSizes::default(), NOW, &mut frames, &mut pool, &mut out);
    let (mut bytes, mut places) = (Vec::new(), Vec::new());
    for mut train in out.tunnels {
        for datagram in train.datagrams() {
            let len = datagram.len() - vxmesh::forward::train::AROUND;
            places.push(Payload { peer: two.peer, start: bytes.len() + HEADROOM, len });
            bytes.extend_from_slice(datagram);
        }
    }
    (bytes, places)
}

/// First halves of packets whose second halves never come, one a call.
fn halves(frame: &SuperFrame) -> impl FnMut(&mut Ingress, &Table, &mut Pool, &mut IngressOut) {
    let (World { table, net, peer }, two) = (world("one", "a", "two", "b"), world("two", "b", "one", "a"));
    let (mut egress, mut own, mut out) = (Egress::default(), Pool::default(), EgressOut::default());
    let (frame, mut paths) = (between_guests(frame), PathSizes::default());
    paths.set(peer, 800);
    move |ingress, there, pool, told| {
        let mut buf = own.take().unwrap_or_else(|| unreachable!("it was given back"));
        buf.copy_from(&frame);
        let mut frames = vec![Frame { net, buf, virtio: Virtio::default() }];
        egress.batch(&table, &paths, NOW, &mut frames, &mut own, &mut out);
        for mut train in out.tunnels.drain(..) {
            let mut bytes = train.datagrams().next().map(|half| half.to_vec()).unwrap_or_default();
            let len = bytes.len() - vxmesh::forward::train::AROUND;
            let payloads = [Payload { peer: two.peer, start: HEADROOM, len }];
            let arrived = Arrived { bytes: &mut bytes, payloads: &payloads };
            ingress.batch(there, &PathSizes::default(), NOW, arrived, pool, told);
            own.give(train.into_buf(0));
        }
    }
}

/// Ingress of one batch, from opened payloads to what is written to the TAP, after so many halves of packets.
fn ingress(name: &'static str, frame: &SuperFrame, attack: (&SuperFrame, u32)) -> Stage {
    let World { table, .. } = world("two", "b", "one", "a");
    let (before, places) = payloads(frame);
    let packets = places.len();
    let bytes = Rc::new(RefCell::new(before.clone()));
    let used = Rc::clone(&bytes);
    let (mut ingress, mut pool, mut out) = (Ingress::default(), Pool::default(), IngressOut::default());
    let mut half = halves(attack.0);
    for _ in 0..attack.1 {
        half(&mut ingress, &table, &mut pool, &mut out);
    }
    assert!(out.frames.is_empty(), "halves are nothing");
    let (mut coalescer, paths) = (Coalescer::new(64, &[]), PathSizes::default());
    let run = move || {
        let mut bytes = used.borrow_mut();
        let arrived = Arrived { bytes: &mut bytes, payloads: &places };
        ingress.batch(&table, &paths, NOW, arrived, &mut pool, &mut out);
        assert_eq!(out.frames.len(), packets, "every packet arrives, {:?}", ingress.drops);
        for delivery in out.frames.drain(..) {
            let range = delivery.start..delivery.start + delivery.len;
            assert!(coalescer.push(&bytes, range, delivery.net).is_ok(), "the frame lies in the batch");
        }
        coalescer.flush(&mut bytes, |net, bytes| {
            black_box((net, bytes));
        });
    };
    let reset = move || bytes.borrow_mut().copy_from_slice(&before);
    Stage { name, packets, run: Box::new(run), reset: Box::new(reset) }
}

/// Both directions, for large and for small packets; `torn` is a packet of which an attacker sends only halves.
pub(super) fn stages(large: &SuperFrame, small: &SuperFrame, torn: &SuperFrame) -> Vec<Stage> {
    let packets = payloads(large).1.len();
    let one = between_guests(small);
    vec![
        egress("egress without the AEAD, TCP, 64 KiB to 1400", &between_guests(large), large.virtio, 1, packets),
        egress("egress without the AEAD, 64-byte frames, 64 waiting", &one, Virtio::default(), 64, 64),
        ingress("ingress without the AEAD, TCP, one flow", large, (torn, 0)),
        ingress("the same after a million half datagrams", large, (torn, 1_000_000)),
    ]
}
