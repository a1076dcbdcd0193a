//! Bulk TCP between guests of two PDCs: super-frames out, trains across, super-frames in.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use vxmesh::forward::DropReason;
use vxmesh::table::Flood;

use crate::harness::can_run;
use crate::lane::Mesh;

#[test]
fn a_tcp_stream_crosses_whole_and_mostly_in_super_frames() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(Flood::Suppress);
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
    let (out, back) = (mesh.stats(0), mesh.stats(1));
    assert!(out.traffic.cuts.cut > 200 && out.traffic.cuts.whole == 0, "{:?}", out.traffic);
    assert!(out.traffic.egress_frames * 3 < out.traffic.datagrams_sent, "{:?}", out.traffic);
    assert_eq!((out.traffic.resent, out.drops.get(DropReason::SendTooBig)), (0, 0), "{:?}", out.drops);
    assert!(back.traffic.ingress_writes * 3 < back.traffic.ingress_frames, "{:?}", back.traffic);
}
