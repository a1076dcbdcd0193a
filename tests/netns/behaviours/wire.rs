//! What guests say to all, and protocols that are not TCP or UDP: each is heard by the others, or dropped for the reason that is named.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use vxmesh::types::Mac;

use super::ground::{Guest, LIMIT, Stage, THREE};
use super::{Behaviour, End};
use crate::frames::{self, Plug, ethernet, holds, ip, udp};
use crate::harness::{succeed, wait_until};
use crate::pretend::{eth, tag};

pub const TABLE: [Behaviour; 6] = [
    Behaviour {
        name: "broadcasts and groups of IP: Windows names, games, wake-on-LAN, NTP, SSDP, LLMNR, OSPF, VRRP, queries of groups",
        network: "",
        seats: THREE,
        ends: End::Works,
        run: groups,
    },
    Behaviour {
        name: "SCTP, GRE, ESP, AH, IP in IP, L2TP and DCCP between guests",
        network: "",
        seats: THREE,
        ends: End::Works,
        run: protocols,
    },
    Behaviour {
        name: "guests of a network with flood: off find each other, and what is for all is for nobody",
        network: "flood: off",
        seats: THREE,
        ends: End::Works,
        run: quiet,
    },
    Behaviour {
        name: "datagrams that a guest leaves to its kernel to cut (UDP_SEGMENT, as QUIC does)",
        network: "",
        seats: THREE,
        ends: End::Works,
        run: segmented,
    },
    Behaviour {
        name: "LLDP, STP, LACP, EAPOL, pause frames",
        network: "",
        seats: THREE,
        ends: End::Refused(&["group"], "M0684"),
        run: reserved,
    },
    Behaviour {
        name: "wake-on-LAN by Ethernet, CDP, PVST+, PPPoE, RARP of a hypervisor, PTP, MPLS, IPX",
        network: "",
        seats: THREE,
        ends: End::Refused(&["type"], "M0684"),
        run: types,
    },
];

/// Stands in every frame of a row, and in none of another.
fn mark(row: usize) -> [u8; 12] {
    frames::marker(row)
}

/// Says each frame until both others have heard it.
fn all_hear(stage: &Stage<'_>, rows: &[(&str, Vec<u8>)]) {
    let guests = stage.addressed();
    let mouth = guests[0].ear();
    for guest in &guests[1..] {
        guest.meets(&guests[0]);
    }
    let ears: Vec<Plug> = guests[1..].iter().map(Guest::ear).collect();
    for (row, (what, frame)) in rows.iter().enumerate() {
        let mut deaf: Vec<&Plug> = ears.iter().collect();
        wait_until(&format!("all hear {what}"), LIMIT, || {
            mouth.send(frame);
            std::thread::sleep(Duration::from_millis(5));
            deaf.retain(|ear| ear.count(&mark(row)) == 0);
            deaf.is_empty()
        });
    }
}

fn groups(stage: &Stage<'_>) {
    let own = IpAddr::V4(stage.guests[0].four);
    let mac = stage.guests[0].mac;
    let limited = Ipv4Addr::BROADCAST;
    let subnet: Ipv4Addr = stage.text("192.168.NN.255").parse().unwrap();
    let group = |last: [u8; 4]| Ipv4Addr::from(last);
    let by_udp = [
        ("NetBIOS names", subnet, 137),
        ("NetBIOS datagrams", subnet, 138),
        ("a game's search", limited, 27015),
        ("wake-on-LAN by UDP, limited broadcast", limited, 9),
        ("wake-on-LAN by UDP, the subnet's broadcast", subnet, 9),
        ("NTP broadcast", subnet, 123),
        ("NTP multicast", group([224, 0, 1, 1]), 123),
        ("SSDP", group([239, 255, 255, 250]), 1900),
        ("LLMNR", group([224, 0, 0, 252]), 5355),
        ("mDNS", group([224, 0, 0, 251]), 5353),
        ("PTP over UDP", group([224, 0, 1, 129]), 319),
        ("corosync", group([239, 192, 1, 1]), 5405),
        ("RIP", group([224, 0, 0, 9]), 520),
    ];
    let by_ip = [
        ("OSPF", group([224, 0, 0, 5]), 89),
        ("EIGRP", group([224, 0, 0, 10]), 88),
        ("PIM", group([224, 0, 0, 13]), 103),
        ("VRRP", group([224, 0, 0, 18]), 112),
        ("a query of groups (IGMP)", group([224, 0, 0, 1]), 2),
    ];
    let mut rows = Vec::new();
    for (what, to, port) in by_udp {
        let datagram = udp(own, to.into(), port, &mark(rows.len()));
        rows.push((what, ethernet(mac, ethernet_of(to), &ip(own, to.into(), 4, frames::UDP, &datagram))));
    }
    for (what, to, protocol) in by_ip {
        let said = mark(rows.len());
        rows.push((what, ethernet(mac, ethernet_of(to), &ip(own, to.into(), 1, protocol, &said))));
    }
    all_hear(stage, &rows);
}

/// RFC 1112 section 6.4.
fn ethernet_of(to: Ipv4Addr) -> Mac {
    let [_, b, c, d] = to.octets();
    if to.is_multicast() { Mac([1, 0, 0x5e, b & 0x7f, c, d]) } else { Mac::BROADCAST }
}

fn quiet(stage: &Stage<'_>) {
    let guests = stage.addressed();
    let (mouth, ears): (Plug, Vec<Plug>) = (guests[0].ear(), guests[1..].iter().map(Guest::ear).collect());
    for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        guests[from].meets(&guests[to]);
    }
    let own = IpAddr::V4(guests[0].four);
    for _ in 0..5 {
        for to in [Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 251)] {
            let datagram = udp(own, to.into(), 5353, &mark(0));
            let packet = ip(own, to.into(), 4, frames::UDP, &datagram);
            mouth.send(&ethernet(guests[0].mac, ethernet_of(to), &packet));
        }
    }
    // What is sent to one behind it arrives.
    for (ear, guest) in ears.iter().zip(&guests[1..]) {
        let datagram = udp(own, guest.four.into(), 9, b"that was all");
        let last = ethernet(guests[0].mac, guest.mac, &ip(own, guest.four.into(), 4, frames::UDP, &datagram));
        let mut heard = Vec::new();
        wait_until(&format!("{} hears what is its own", guest.port), LIMIT, || {
            mouth.send(&last);
            std::thread::sleep(Duration::from_millis(5));
            heard.extend(ear.take());
            heard.iter().any(|frame| holds(frame, b"that was all"))
        });
        assert!(!heard.iter().any(|frame| holds(frame, &mark(0))), "{} hears what was for all", guest.port);
    }
    // One that is switched off is not answered for, wherever it was.
    for gone in &guests[1..] {
        gone.space.sh("ip link set dev eth0 down");
        guests[0].space.sh(&format!("ip neigh flush to {}", gone.four));
        assert!(!guests[0].reaches(&gone.four.to_string()) && guests[0].knows(&gone.four.to_string()).is_none());
    }
}

const SEGMENTED: &str = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_UDP, 103, 1000)
s.sendto(b''.join(bytes([n]) * 1000 for n in range(40)) + b'end', (sys.argv[1], 5000))
";

fn segmented(stage: &Stage<'_>) {
    let guests = stage.addressed();
    for (from, to) in [(0, 1), (0, 2), (2, 0)] {
        let (from, to) = (&guests[from], &guests[to]);
        from.meets(to);
        let socket = to.space.enter(|| UdpSocket::bind((to.four, 5000)).unwrap());
        socket.set_nonblocking(true).unwrap();
        let mut sizes = BTreeMap::new();
        wait_until(&format!("each datagram of {} comes by itself", from.port), LIMIT, || {
            let mut command = from.space.command("python3");
            succeed(command.args(["-c", SEGMENTED, &to.four.to_string()]));
            let mut bytes = [0; 65_536];
            while let Ok(length) = socket.recv(&mut bytes) {
                assert!(bytes[..length].iter().all(|byte| *byte == bytes[0]) || length == 3, "datagrams are mixed");
                sizes.insert((bytes[0], length), ());
            }
            sizes.len() == 41
        });
        assert!(sizes.keys().all(|(_, length)| matches!(length, 1000 | 3)), "{sizes:?}");
    }
}

fn protocols(stage: &Stage<'_>) {
    let guests = stage.addressed();
    let [own, others @ ..] = guests else { panic!("three") };
    let mouth = own.ear();
    for other in others {
        other.meets(own);
        let ear = other.ear();
        for (row, (what, protocol)) in
            [("SCTP", 132), ("GRE", 47), ("ESP", 50), ("AH", 51), ("IP in IP", 4), ("L2TP", 115), ("DCCP", 33)]
                .into_iter()
                .enumerate()
        {
            let payload = [&mark(row)[..], &[0; 400]].concat();
            let packet = ip(own.four.into(), other.four.into(), 64, protocol, &payload);
            wait_until(&format!("{} hears {what}", other.port), LIMIT, || {
                mouth.send(&ethernet(own.mac, other.mac, &packet));
                std::thread::sleep(Duration::from_millis(5));
                ear.count(&mark(row)) > 0
            });
        }
    }
}

/// Says all frames: nobody hears one, and what is said behind them arrives.
fn nobody_hears(stage: &Stage<'_>, rows: &[(&str, Vec<u8>)]) {
    let guests = stage.addressed();
    let (mouth, mac) = (guests[0].ear(), guests[0].mac);
    let own = IpAddr::V4(guests[0].four);
    for guest in &guests[1..] {
        guest.meets(&guests[0]);
    }
    let ears: Vec<Plug> = guests[1..].iter().map(Guest::ear).collect();
    for _ in 0..3 {
        rows.iter().for_each(|(_, frame)| mouth.send(frame));
    }
    let last = udp(own, Ipv4Addr::BROADCAST.into(), 9, b"that was all");
    let last = ethernet(mac, Mac::BROADCAST, &ip(own, Ipv4Addr::BROADCAST.into(), 4, frames::UDP, &last));
    for (ear, guest) in ears.iter().zip(&guests[1..]) {
        let mut heard = Vec::new();
        wait_until(&format!("{} hears what is said behind", guest.port), LIMIT, || {
            mouth.send(&last);
            std::thread::sleep(Duration::from_millis(5));
            heard.extend(ear.take());
            heard.iter().any(|frame| holds(frame, b"that was all"))
        });
        for (row, (what, _)) in rows.iter().enumerate() {
            assert!(!heard.iter().any(|frame| holds(frame, &mark(row))), "{} hears {what}", guest.port);
        }
    }
}

fn reserved(stage: &Stage<'_>) {
    let mac = stage.guests[0].mac;
    let link = |last| Mac([1, 0x80, 0xc2, 0, 0, last]);
    let rows = [
        ("LLDP, nearest bridge", link(0x0e), 0x88cc),
        ("LLDP, nearest customer bridge", link(0), 0x88cc),
        ("STP", link(0), 0x0026),
        ("LACP", link(2), 0x8809),
        ("pause", link(1), 0x8808),
        ("EAPOL", link(3), 0x888e),
        ("GVRP's like", link(0x0d), 0x88f5),
    ];
    let rows: Vec<_> =
        rows.into_iter().enumerate().map(|(row, (what, to, kind))| (what, eth(to, mac, kind, &mark(row)))).collect();
    nobody_hears(stage, &rows);
}

fn types(stage: &Stage<'_>) {
    let mac = stage.guests[0].mac;
    let near = stage.guests[1].mac;
    let cisco = |last| Mac([1, 0, 0x0c, 0xcc, 0xcc, last]);
    let rows = [
        ("wake-on-LAN by Ethernet, to all", Mac::BROADCAST, 0x0842),
        ("wake-on-LAN by Ethernet, to one", near, 0x0842),
        ("CDP", cisco(0xcc), 0x0100),
        ("PVST+", cisco(0xcd), 0x0032),
        ("PPPoE", Mac::BROADCAST, 0x8863),
        ("RARP", Mac::BROADCAST, 0x8035),
        ("PTP by Ethernet", Mac([1, 0x1b, 0x19, 0, 0, 0]), 0x88f7),
        ("MPLS", near, 0x8847),
        ("IPX", Mac::BROADCAST, 0x8137),
        ("AoE", Mac::BROADCAST, 0x88a2),
        ("RoCE", near, 0x8915),
        ("802.2 of NetBEUI", Mac([3, 0, 0, 0, 0, 1]), 0x0020),
    ];
    let rows: Vec<_> =
        rows.into_iter().enumerate().map(|(row, (what, to, kind))| (what, eth(to, mac, kind, &mark(row)))).collect();
    nobody_hears(stage, &rows);
    // A tag that no port has is a reason of its own.
    let tagged = ("a VLAN's tag", tag(5, &eth(Mac::BROADCAST, mac, 0x0800, &mark(20))));
    nobody_hears_tag(stage, &tagged);
}

fn nobody_hears_tag(stage: &Stage<'_>, (_, frame): &(&str, Vec<u8>)) {
    for _ in 0..3 {
        stage.guests[0].ear().send(frame);
    }
    End::Refused(&["vlan"], "M0684").holds(stage);
}
