//! Sentences of `docs/datapath.md` about lanes, with real lanes, TAPs and guests: what one node lets through the other one limits, and whose DHCP
//! goes to one guest alone.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use vxmesh::clock;
use vxmesh::forward::DropReason;
use vxmesh::linux::sys;
use vxmesh::table::Flood;
use vxmesh::types::Mac;

use crate::frames::Plug;
use crate::harness::{can_run, wait_until};
use crate::lane::{MACS, Mesh, slice};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_peer_that_limits_nothing_cannot_storm_a_network_that_suppresses() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(Flood::Suppress);
    mesh.wait_for_ping();
    // Its own table says that everything goes to all.
    mesh.set(0, &slice(0, Flood::Replicate));
    let socket = mesh.guests[1].enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5000)).unwrap());
    sys::receive_buffer(&socket, 32 << 20).unwrap();
    socket.set_nonblocking(true).unwrap();
    let storms = mesh.guests[0].enter(|| UdpSocket::bind(("192.168.10.11", 0)).unwrap());
    storms.set_broadcast(true).unwrap();
    let start = clock::mono();
    for number in 0..10_000 {
        while storms.send_to(b"storm", "192.168.10.255:5000").is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        if number % 50 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let limited = || mesh.stats(1).drops.get(DropReason::FloodLimited) > 1000;
    wait_until("what is too much is dropped at the way in", LIMIT, limited);
    let took = clock::mono().since(start);
    let heard = std::iter::from_fn(|| socket.recv(&mut [0; 100]).ok()).count();
    let most = 500 + 1000 * usize::try_from(took.as_millis()).unwrap() / 1000 + 100;
    assert!((1..=most).contains(&heard), "{heard} heard in {took:?}");
    // What is for one goes on.
    mesh.wait_for_ping();
}

#[test]
fn dhcp_of_a_guest_with_a_proxy_is_heard_by_that_guest_alone_in_every_flood_mode() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(Flood::Suppress);
    mesh.wait_for_ping();
    let ear = Plug::new(&mesh.guests[1], "eth0");
    let to: Mac = MACS[1].parse().unwrap();
    for flood in [Flood::Off, Flood::Suppress, Flood::Replicate] {
        let mut told = slice(0, flood);
        told.rows.values_mut().filter(|row| row.node == told.node).for_each(|row| row.dhcp_proxy = Some(to));
        mesh.set(0, &told);
        mesh.set(1, &slice(1, flood));
        ear.take();
        let mut asks = mesh.guests[0].command("busybox");
        asks.args(["udhcpc", "-i", "eth0", "-f", "-t", "1000", "-T", "1", "-A", "1", "-s", "/bin/true"]);
        let _asks = mesh.guests[0].start(asks.stdout(Stdio::null()).stderr(Stdio::null()));
        let mut heard = Vec::new();
        // UDP port 67 of IPv4: Ethernet, 20 bytes of IP, ports.
        wait_until(&format!("{flood:?}: its DHCP is heard"), LIMIT, || {
            heard.extend(ear.take().into_iter().filter(|frame| frame.get(36..38) == Some(&[0, 67])));
            heard.iter().any(|frame| frame[..6] == to.0)
        });
        // Sent as broadcast, it was to all when it left its guest.
        let all = heard.iter().filter(|frame| frame[..6] == [0xff; 6]).count();
        assert!(all <= 1, "{flood:?}: {all} went to all");
    }
}
