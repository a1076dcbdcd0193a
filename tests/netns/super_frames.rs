//! Bulk TCP between guests of two PDCs: super-frames out, trains across, super-frames in.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use vxmesh::forward::DropReason;
use vxmesh::meshd::lane::LaneStats;
use vxmesh::policy::offload::{Offload, Writes};
use vxmesh::table::Flood;

use crate::harness::can_run;
use crate::lane::Mesh;

/// Sends 16 MB from the first guest to the second, which must get the same bytes; what the two lanes did.
fn stream(offload: Offload) -> [LaneStats; 2] {
    let mesh = Mesh::with(Flood::Suppress, offload);
    mesh.wait_for_ping();
    let sent: Vec<u8> = (0..16_000_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let listener = mesh.guests[1].enter(|| TcpListener::bind("192.168.10.12:4000").unwrap());
    let mut sender = mesh.guests[0].enter(|| TcpStream::connect("192.168.10.12:4000").unwrap());
    let received = std::thread::scope(|scope| {
        let received = scope.spawn(|| {
            let mut bytes = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
            bytes
        });
        sender.write_all(&sent).unwrap();
        drop(sender);
        received.join().unwrap()
    });
    assert!(received == sent, "every byte, in order: {} of {}", received.len(), sent.len());
    let stats = [mesh.stats(0), mesh.stats(1)];
    for lane in &stats {
        let refused = [DropReason::DatagramRefused, DropReason::SendTooBig, DropReason::TapFailed];
        assert_eq!(refused.map(|reason| lane.drops.get(reason)), [0; 3], "{:?}", lane.drops);
        assert_eq!(lane.tunnels.drops.total(), 0, "{:?}", lane.tunnels.drops);
        assert_eq!(lane.traffic.resent, 0, "{:?}", lane.traffic);
    }
    stats
}

#[test]
fn a_tcp_stream_crosses_whole_and_mostly_in_super_frames() {
    if !can_run() {
        return;
    }
    let [out, back] = stream(Offload::default());
    assert!(out.traffic.cuts.cut > 200 && out.traffic.cuts.whole == 0, "{:?}", out.traffic);
    assert!(out.traffic.egress_frames * 3 < out.traffic.datagrams_sent, "{:?}", out.traffic);
    assert!(back.traffic.ingress_writes * 3 < back.traffic.ingress_frames, "{:?}", back.traffic);
    assert_eq!((out.traffic.tails_sent, back.traffic.tails_received, back.traffic.recut), (0, 0, 0));
}

#[test]
fn it_crosses_as_well_with_every_offload_switched_off() {
    if !can_run() {
        return;
    }
    let none = Offload { trains: false, equal_trains: false, receive: false, tap: false, writes: Writes::NONE };
    let [out, back] = stream(none);
    assert_eq!((out.traffic.cuts.cut, out.traffic.tails_sent), (0, 0), "the TAP was asked for none: {:?}", out.traffic);
    assert!(back.traffic.recut > 0, "what was joined is cut before the TAP: {:?}", back.traffic);
}

#[test]
fn it_crosses_without_trains_of_equal_datagrams_and_their_tails_alarm_nobody() {
    if !can_run() {
        return;
    }
    let [out, back] = stream(Offload { equal_trains: false, ..Offload::default() });
    assert!(out.traffic.tails_sent > 0, "{:?}", out.traffic);
    assert!(back.traffic.tails_received > 0, "{:?}", back.traffic);
}
