//! What each fuzz target does with its input, and what must hold whatever the input is.
//!
//! `fuzz/run.sh` runs them with a fuzzer on a nightly compiler; `tests/corpus.rs` compiles this very file into an ordinary test and
//! gives it every input that was ever kept, so that a stable compiler sees both the code and the crashes of before.

mod bodies;
mod headers;
mod kernel;
mod probe;
mod table;
mod text;
mod tunnel;
mod world;

use vxmesh::forward::coalesce::{Coalescer, HEADROOM};
use vxmesh::forward::segment::{Segments, finish_checksum};
use vxmesh::forward::train::{MAX_BYTES, MAX_DATAGRAMS};
use vxmesh::forward::{Delivery, Frame, Payload, Place, Table};
use vxmesh::types::{Mac, NetSlot, PeerSlot, Vlan};
use vxmesh::wire::Header;
use vxmesh::wire::virtio::{Gso, Virtio};

pub use self::bodies::{answer, request};
pub use self::headers::headers;
pub use self::kernel::netlink;
pub use self::probe::probe;
pub use self::table::{slice, stream, table_file};
pub use self::text::{certificate, config, manifests, token};
pub use self::tunnel::tunnel_open;
use self::world::World;

/// `virtio header (10) | largest IP packet (2) | frame`: cutting writes what it announces, all of the payload, and ends.
pub fn segment(data: &[u8]) {
    let Some((virtio, rest)) = headed(data) else { return };
    let Some((limit, frame)) = rest.split_first_chunk::<2>() else { return };
    let limit = usize::from(u16::from_be_bytes(*limit));
    let mut whole = frame.to_vec();
    let finished = finish_checksum(&mut whole, &virtio);
    assert!(finished.is_ok() || whole == frame, "what is refused is unchanged");
    let Ok(mut segments) = Segments::new(frame, &virtio, limit) else { return };
    let (count, largest, head) = (segments.count(), segments.packet_len(), segments.head().len());
    assert!(virtio.gso == Gso::UdpL4 || largest <= limit, "TCP is cut to the path");
    let (mut out, mut written, mut payload) = (vec![0; 1 << 17], 0, 0);
    while let Some(len) = segments.next_len() {
        assert_eq!(segments.write_next(&mut out[..len - 1]), None, "too little room loses nothing");
        assert_eq!(segments.write_next(&mut out), Some(len));
        assert!(len > head);
        written += 1;
        payload += len - head;
    }
    assert_eq!(written, count);
    assert!(head + payload <= frame.len());
}

/// `number of a network (1) | length (2) | frame`, again and again: as many packets leave as came.
pub fn coalesce(data: &[u8]) {
    let (mut batch, mut frames) = (Vec::new(), Vec::new());
    let mut rest = data;
    while let Some(([net, high, low], more)) = rest.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
        let (frame, more) = more.split_at(len);
        batch.resize(batch.len() + HEADROOM, 0x5a);
        frames.push((NetSlot(u16::from(net % 3)), batch.len()..batch.len() + len));
        batch.extend(frame);
        rest = more;
    }
    let mut coalescer = Coalescer::new(64, &[5000]);
    for (net, range) in &frames {
        assert!(coalescer.push(&batch, range.clone(), *net).is_ok());
    }
    let (writes, mut seen, mut packets) = (coalescer.writes(), 0, 0);
    coalescer.flush(&mut batch, |_, headed| {
        seen += 1;
        packets += packets_of(headed);
    });
    assert_eq!((seen, packets), (writes, frames.len()));
}

/// How many packets one write to a TAP is.
fn packets_of(headed: &[u8]) -> usize {
    let virtio = Virtio::parse(headed).expect("what is written has a header");
    if virtio.gso == Gso::None {
        return 1;
    }
    let frame = &headed[HEADROOM..];
    let segments = Segments::new(frame, &virtio, usize::MAX).expect("what was joined can be cut");
    segments.count()
}

/// `number of a network (1) | what paths carry, in units of 8 bytes (1) | virtio header (10) | frame`, from a TAP: what leaves are
/// trains that a kernel takes, and to each peer the frame once.
pub fn egress_frame(data: &[u8]) {
    let Some(([net, size], rest)) = data.split_first_chunk::<2>() else { return };
    let Some((virtio, frame)) = headed(rest) else { return };
    let mut buf = World::with(World::buffer);
    buf.copy_from(frame);
    let mut frames = vec![Frame { net: NetSlot(u16::from(net % 4)), buf, virtio }];
    let out = World::with(|world| world.out(u16::from(*size) * 8, &mut frames));
    assert!(frames.is_empty());
    let mut of_peer = [(0, 0); world::PEERS];
    for mut train in out.tunnels {
        let (size, peer) = (train.size(), train.peer);
        let lens: Vec<usize> = train.datagrams().map(|datagram| datagram.len()).collect();
        let bytes = lens.iter().sum::<usize>();
        assert!(!lens.is_empty() && lens.len() <= MAX_DATAGRAMS && bytes <= MAX_BYTES);
        assert!(lens.iter().rev().skip(1).all(|len| *len == size), "all but the last have one size");
        of_peer[peer.index()].0 += lens.len();
        of_peer[peer.index()].1 += bytes;
        World::with(|world| world.give(train.into_buf(0)));
    }
    out.answers.into_iter().for_each(|answer| World::with(|world| world.give(answer.buf)));
    for (count, bytes) in of_peer {
        // Each datagram has headers of its own, outer and inner, and padding.
        assert!(bytes <= frame.len() + count * 300, "{bytes} bytes of a frame of {} in {count} datagrams", frame.len());
    }
}

/// `number of a peer (1) | length (2) | payload`, again and again, out of those peers' tunnels: no frame reaches a network whose sender is
/// not that of the peer, be it whole or in fragments.
pub fn ingress_payload(data: &[u8]) {
    let (mut bytes, mut payloads, mut rest) = (Vec::new(), Vec::new(), data);
    while let Some(([peer, high, low], more)) = rest.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(more.len());
        let (payload, more) = more.split_at(len);
        let peer = PeerSlot(u16::from(*peer) % u16::try_from(world::PEERS).unwrap_or(u16::MAX));
        payloads.push(Payload { peer, start: bytes.len(), len });
        bytes.extend(payload);
        rest = more;
    }
    World::with(|world| {
        let out = world.arrive(&payloads, &mut bytes);
        for Delivery { net, start, len } in out.frames {
            let whose = payloads.iter().rev().find(|payload| payload.start <= start).map(|payload| payload.peer);
            let place = place(&world.table, net, &bytes[start..start + len]);
            assert!(
                matches!(place, Place::Tunnel(owner) | Place::Plain(owner) if Some(owner) == whose),
                "a frame of somebody else's guest: {place:?}"
            );
        }
        for frame in out.assembled {
            let place = place(&world.table, frame.net, frame.buf.bytes());
            assert!(
                matches!(place, Place::Tunnel(owner) | Place::Plain(owner) if payloads.iter().any(|p| p.peer == owner)),
                "a frame in fragments of somebody else's guest: {place:?}"
            );
        }
    });
}

/// Where the sender of a frame lives.
fn place(table: &Table, net: NetSlot, frame: &[u8]) -> Place {
    let net = table.net(net).expect("the network is in the table");
    net.station(vlan(frame), source(frame)).expect("the sender is in a row").place
}

fn source(frame: &[u8]) -> Mac {
    Mac(*frame[6..].first_chunk().expect("a frame that is delivered has a header"))
}

fn vlan(frame: &[u8]) -> Option<Vlan> {
    let tagged = matches!(frame[12..14], [0x81, 0] | [0x88, 0xa8]);
    let id = u16::from_be_bytes([*frame.get(14)?, *frame.get(15)?]) & 0x0fff;
    // A tag of number 0 only has a priority.
    Vlan::try_from(u64::from(id)).ok().filter(|_| tagged)
}

/// Any bytes: what is read is written again and read the same.
pub fn virtio(data: &[u8]) {
    let Ok(header) = Virtio::parse(data) else { return };
    let mut bytes = [0; Virtio::LEN];
    header.emit(&mut bytes).expect("there is room");
    assert_eq!(Virtio::parse(&bytes), Ok(header));
}

fn headed(data: &[u8]) -> Option<(Virtio, &[u8])> {
    let (header, rest) = data.split_first_chunk::<{ Virtio::LEN }>()?;
    Some((Virtio::parse(header).ok()?, rest))
}
