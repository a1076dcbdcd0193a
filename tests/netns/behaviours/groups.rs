//! Groups that guests join, at rates that a network has to be told: ten thousand frames a second, and what is said where more comes than may.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use vxmesh::clock;
use vxmesh::linux::sys;

use super::ground::{Guest, LIMIT, OWN1, OWN2, Seat, Stage, THREE};
use super::{Behaviour, End, MANAGEMENT, NODE};
use crate::harness::wait_until;
use crate::pretend::Until;

pub const TABLE: [Behaviour; 3] = [
    Behaviour {
        name: "multicast at 10,000 a second to receivers that joined by IGMP and MLD, with a port that may (groupRate)",
        network: "",
        seats: &[Seat { node: "a-1", spec: "ips: [192.168.NN.10, 'fd00:NN::10'], groupRate: 12000" }, OWN1, OWN2],
        ends: End::Works,
        run: ten_thousand,
    },
    Behaviour {
        name: "multicast at 10,000 a second in a network that may (groupRate)",
        network: "groupRate: 12000",
        seats: THREE,
        ends: End::Works,
        run: ten_thousand,
    },
    Behaviour {
        name: "more broadcast than a port may send, and no more after",
        network: "groupRate: 200",
        seats: THREE,
        ends: End::Refused(&["flood"], "M0682"),
        run: too_many,
    },
];

const FOUR: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
const SIX: Ipv6Addr = Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0x12, 0x34);
const PORT: u16 = 5000;
const A_SECOND: u32 = 10_000;
const FRAMES: u32 = A_SECOND;
const ROUNDS: u32 = 10;

/// A socket that has joined the group by the interface of its guest.
fn receiver(guest: &Guest, six: bool) -> UdpSocket {
    guest.space.enter(|| {
        let domain = if six { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        sys::receive_buffer(&socket, 64 << 20).unwrap();
        let any: SocketAddr =
            if six { (Ipv6Addr::UNSPECIFIED, PORT).into() } else { (Ipv4Addr::UNSPECIFIED, PORT).into() };
        if six {
            socket.set_only_v6(true).unwrap();
            socket.join_multicast_v6(&SIX, index(guest)).unwrap();
        } else {
            socket.join_multicast_v4(&FOUR, &guest.four).unwrap();
        }
        socket.bind(&any.into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.into()
    })
}

fn sender(guest: &Guest, six: bool) -> (UdpSocket, SocketAddr) {
    let socket = guest.space.enter(|| {
        let own: SocketAddr = if six { (guest.six, 0).into() } else { (guest.four, 0).into() };
        let socket = UdpSocket::bind(own).unwrap();
        let with = SockRef::from(&socket);
        if six {
            with.set_multicast_if_v6(index(guest)).unwrap();
            with.set_multicast_hops_v6(4).unwrap();
        } else {
            with.set_multicast_if_v4(&guest.four).unwrap();
        }
        socket
    });
    (socket, if six { (SIX, PORT).into() } else { (FOUR, PORT).into() })
}

fn index(guest: &Guest) -> u32 {
    guest.space.sh("cat /sys/class/net/eth0/ifindex").trim().parse().unwrap()
}

/// Adds the numbers of the frames that have come.
fn take(socket: &UdpSocket, heard: &mut BTreeSet<u32>) {
    let mut bytes = [0; 1500];
    while let Ok(length) = socket.recv(&mut bytes) {
        heard.extend(bytes[..length].first_chunk::<4>().map(|number| u32::from_be_bytes(*number)));
    }
}

fn ten_thousand(stage: &Stage<'_>) {
    let (from, others) = stage.addressed().split_first().unwrap();
    others.iter().for_each(|other| other.meets(from));
    for six in [false, true] {
        let receivers: Vec<UdpSocket> = others.iter().map(|other| receiver(other, six)).collect();
        let (socket, to) = sender(from, six);
        // The group is heard before it counts.
        let mut first = BTreeSet::new();
        for receiver in &receivers {
            wait_until("the group is heard", LIMIT, || {
                let _ = socket.send_to(&u32::MAX.to_be_bytes(), to);
                thread::sleep(Duration::from_millis(5));
                take(receiver, &mut first);
                !std::mem::take(&mut first).is_empty()
            });
        }
        // A machine that is busy with other things loses frames anywhere; what is limited loses most of them each time.
        let lost = (0..ROUNDS).map(|round| lost(&socket, to, &receivers, round * FRAMES)).find(|lost| {
            eprintln!("       IPv{}: {lost:?} of {FRAMES} lost (inside, across)", if six { 6 } else { 4 });
            lost.iter().all(|lost| *lost <= FRAMES / 100)
        });
        assert!(lost.is_some(), "more than one of a hundred is lost each time");
    }
}

/// Sends frames for a second; how many of them each receiver has not heard.
fn lost(socket: &UdpSocket, to: SocketAddr, receivers: &[UdpSocket], first: u32) -> Vec<u32> {
    let start = clock::mono();
    let mut heard: Vec<BTreeSet<u32>> = vec![BTreeSet::new(); receivers.len()];
    for number in 0..FRAMES {
        // What is late is not made up for at once: that would be another rate.
        if number % (A_SECOND / 1000) == 0 {
            let due = Duration::from_secs(1) * number / A_SECOND;
            thread::sleep(due.saturating_sub(clock::mono().since(start)).min(Duration::from_millis(1)));
        }
        let text = [&(first + number).to_be_bytes()[..], &[7; 200]].concat();
        while socket.send_to(&text, to).is_err() {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let all = usize::try_from(FRAMES).unwrap();
    let came = |heard: &mut Vec<BTreeSet<u32>>| {
        receivers.iter().zip(&mut *heard).for_each(|(receiver, heard)| take(receiver, heard));
        heard.iter_mut().for_each(|heard| *heard = heard.split_off(&first));
        heard.iter_mut().for_each(|heard| drop(heard.split_off(&(first + FRAMES))));
        heard.iter().all(|heard| heard.len() == all)
    };
    let end = clock::mono();
    while !came(&mut heard) && clock::mono().since(end) < Duration::from_secs(1) {
        thread::sleep(Duration::from_millis(10));
    }
    heard.iter().map(|heard| u32::try_from(all - heard.len()).unwrap()).collect()
}

/// Sends broadcasts, many more than may be sent, until told to end.
fn flood(guest: &Guest, ends: &AtomicBool) {
    let socket = guest.space.enter(|| UdpSocket::bind((guest.four, 0)).unwrap());
    socket.set_broadcast(true).unwrap();
    while !ends.load(Ordering::Relaxed) {
        for _ in 0..20 {
            let _ = socket.send_to(b"hear me", (Ipv4Addr::BROADCAST, 9));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn too_many(stage: &Stage<'_>) {
    let (from, others) = stage.addressed().split_first().unwrap();
    others.iter().for_each(|other| other.meets(from));
    from.space.sh("ip route add default dev eth0");
    let told = |node: Option<&str>, code: &str, who: &str| {
        stage.ground.problems(node).iter().any(|line| line.starts_with(code) && line.contains(who))
    };
    let name = format!("network n{}:", stage.number);
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let until = Until(&ends);
        scope.spawn(|| flood(from, &ends));
        for who in [&from.port, &format!("({})", from.interface), &"the 200 a second".to_owned()] {
            wait_until(&format!("its node says M0682 with {who}"), NODE, || told(Some(from.node), "M0682", who));
        }
        wait_until("management says it", MANAGEMENT, || told(None, "M0682", &from.interface));
        others
            .iter()
            .for_each(|other| assert!(other.reaches(&from.four.to_string()), "the rest of its frames goes on"));
        drop(until);
    });
    wait_until("it ends", NODE, || !told(Some(from.node), "M0682", &from.interface));
    wait_until("it ends at management", MANAGEMENT, || !told(None, "M0682", &from.interface));
    // What its port lets through at once is more than the tunnels of its network do.
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let until = Until(&ends);
        scope.spawn(|| flood(from, &ends));
        wait_until("M0683 names the network", NODE, || {
            told(Some(from.node), "M0683", &name) || told(Some("b-1"), "M0683", &name)
        });
        let port = format!("port {}", from.port);
        wait_until("and the port", NODE, || told(Some(from.node), "M0683", &port) || told(Some("b-1"), "M0683", &port));
        // The number changes under way: the port's own, another, the network's again. Nothing is left of those before.
        for (words, rate) in
            [(["--group-rate", "20000"], 20000), (["--group-rate", "10"], 10), (["--unset", "group-rate"], 200)]
        {
            stage.ground.lab.admin(&[&["port", "set", &from.port][..], &words].concat());
            let leads = format!("\"{}\" : goto group_{rate}", from.interface);
            let table = || stage.ground.host(from.node, "nft list table bridge vxmesh_guests | grep 'group_[0-9]'");
            wait_until(&format!("it may send {rate} a second"), LIMIT, || table().contains(&leads));
            let old = [20000, 10].into_iter().filter(|old| *old != rate).map(|old| format!("group_{old} "));
            assert!(old.into_iter().all(|old| !table().contains(&old)), "{}", table());
        }
        wait_until("M0682 again", NODE, || told(Some(from.node), "M0682", &from.interface));
        drop(until);
    });
}
