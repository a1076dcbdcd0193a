//! Sentences of `docs/datapath.md` about lanes, with real lanes, TAPs and guests: what one node lets through the other one limits, and whose DHCP
//! goes to one guest alone.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use vxmesh::clock;
use vxmesh::forward::{DropReason, Flooder, Lost};
use vxmesh::linux::sys;
use vxmesh::table::{Flood, Row};
use vxmesh::types::Mac;

use crate::frames::{self, Plug};
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

/// Guests `0` and `1` of the first node flood with 1500 frames a second each, guest `2` says something twenty times a second, all in the group
/// of VRRP. The first node limits them where it suppresses; where it does not, the second one does.
#[test]
fn guests_that_flood_take_nothing_of_their_neighbours() {
    const TALKS: usize = 60;
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(Flood::Suppress);
    let macs = [1, 2, 3].map(|last| Mac([2, 0, 0, 0, 0x0a, 0x20 + last]));
    let frame = |guest: usize, marker: &[u8]| {
        let from = [192, 168, 10, 21 + u8::try_from(guest).unwrap()].into();
        let packet = frames::ip(from, [224, 0, 0, 18].into(), 255, 112, marker);
        frames::ethernet(macs[guest], Mac([1, 0, 0x5e, 0, 0, 18]), &packet)
    };
    let with_guests = |end: usize, flood: Flood| {
        let mut told = slice(end, flood);
        for (mac, last) in macs.iter().zip(21..) {
            let arp = [Ipv4Addr::new(192, 168, 10, last)].into();
            told.rows
                .insert(format!("default/10/-/{mac}").parse().unwrap(), Row { arp, ..Row::of("n0".parse().unwrap()) });
        }
        told
    };
    mesh.set(1, &with_guests(1, Flood::Suppress));
    let (mouth, ear) = (Plug::new(&mesh.guests[0], "eth0"), Plug::new(&mesh.guests[1], "eth0"));
    for flood in [Flood::Suppress, Flood::Replicate] {
        mesh.set(0, &with_guests(0, flood));
        mesh.wait_for_ping();
        let limits = usize::from(flood == Flood::Replicate);
        let limited = || mesh.stats(limits).drops.get(DropReason::FloodLimited);
        // A machine that is busy with other things loses frames anywhere; what is starved loses most of them each time.
        let rounds = (0..4).map(|_| {
            let before = limited();
            let start = clock::mono();
            for number in 0..TALKS * 75 {
                let due = Duration::from_secs(1) * u32::try_from(number).unwrap() / 1500;
                std::thread::sleep(due.saturating_sub(clock::mono().since(start)));
                mouth.send(&frame(0, b"flood"));
                mouth.send(&frame(1, b"flood"));
                if number % 75 == 0 {
                    mouth.send(&frame(2, &frames::marker(number)));
                }
            }
            let mut heard = 0;
            let last = clock::mono();
            while heard < TALKS && clock::mono().since(last) < Duration::from_secs(1) {
                heard += ear.count(b"vxmk");
            }
            eprintln!("       {flood:?}: {heard} of {TALKS}, {} of the others limited", limited() - before);
            (heard, limited() - before)
        });
        let found = rounds.into_iter().find(|(heard, _)| *heard + TALKS / 50 >= TALKS);
        let (_, cut) = found.expect("a guest that says little loses more than one of fifty frames each time");
        assert!(cut > 3000, "{flood:?}: {cut} are limited");
        let stats = mesh.stats(limits);
        let who = |(_, by, many): (_, Flooder, Lost)| (many.frames > 1000).then_some((by, many.mac));
        let named: Vec<(Flooder, Mac)> = stats.sizes.floods().filter_map(who).collect();
        let peer =
            |(by, mac): &(Flooder, Mac)| matches!(by, Flooder::Peer(_)) == (limits == 1) && macs[..2].contains(mac);
        assert!(named.len() == 2 - limits && named.iter().all(peer), "{flood:?}: {named:?}");
    }
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
