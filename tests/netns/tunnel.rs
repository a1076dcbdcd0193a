//! Attacks on the tunnel protocol, on the wire between two lanes: everything again, and floods of forged calls.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use blake2::digest::consts::U16;
use blake2::digest::{Digest, FixedOutput, Mac, Update};
use blake2::{Blake2s256, Blake2sMac};
use socket2::{Domain, Protocol, Socket, Type};
use vxmesh::clock;
use vxmesh::table::{Flood, Suite};
use vxmesh::tunnel::{DropReason, public_key};
use vxmesh::types::PublicKey;

use crate::harness::{Space, can_run, wait_until};
use crate::lane::{Mesh, secret};

const PATIENCE: Duration = Duration::from_secs(20);
const PORT: u16 = 51_820;

/// A UDP payload, and who sent it to whom.
#[derive(Clone)]
struct OnWire {
    from: SocketAddrV4,
    to: SocketAddrV4,
    payload: Vec<u8>,
}

/// Sees every packet of a namespace.
fn ear(space: &Space) -> Socket {
    let every_protocol = Protocol::from(i32::from(3_u16.to_be()));
    let ear = space.enter(|| Socket::new(Domain::PACKET, Type::RAW, Some(every_protocol)).unwrap());
    ear.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    ear.set_recv_buffer_size(8 << 20).unwrap();
    ear
}

/// Sends whole IPv4 packets from a namespace.
fn mouth(space: &Space) -> Socket {
    space.enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap())
}

/// The tunnel's datagram in an Ethernet frame, if it is one.
fn datagram(frame: &[u8]) -> Option<OnWire> {
    let ip = frame.get(14..).filter(|_| frame[12..14] == [8, 0])?;
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?));
    let port = |at: usize| Some(u16::from_be_bytes(ip.get(at..at + 2)?.try_into().ok()?));
    let len = usize::from(port(24)?);
    let found = OnWire {
        from: SocketAddrV4::new(address(12)?, port(20)?),
        to: SocketAddrV4::new(address(16)?, port(22)?),
        payload: ip.get(28..20 + len)?.to_vec(),
    };
    (ip[0] == 0x45 && ip[9] == 17 && found.to.port() == PORT).then_some(found)
}

/// The IPv4 packet of a datagram; the kernel fills in the header's checksum, and UDP has none.
fn packet(datagram: &OnWire) -> Vec<u8> {
    let udp = u16::try_from(8 + datagram.payload.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(datagram.from.ip().octets());
    packet.extend(datagram.to.ip().octets());
    for field in [datagram.from.port(), datagram.to.port(), udp, 0] {
        packet.extend(field.to_be_bytes());
    }
    packet.extend(&datagram.payload);
    packet
}

fn send(mouth: &Socket, datagram: &OnWire) {
    let _sent_or_full = mouth.send_to(&packet(datagram), &SocketAddr::V4(datagram.to).into());
}

/// Refusals of an end for which a replay may be one.
fn refused(mesh: &Mesh, end: usize) -> u64 {
    let tunnels = mesh.stats(end).tunnels;
    tunnels.drops.total()
}

fn opened(mesh: &Mesh) -> u64 {
    (0..2).map(|end| mesh.stats(end).tunnels.opened).sum()
}

fn sealed(mesh: &Mesh) -> u64 {
    (0..2).map(|end| mesh.stats(end).tunnels.sealed).sum()
}

#[test]
fn nothing_that_is_replayed_on_the_wire_is_delivered_again() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(Flood::Suppress);
    // What is heard shall be datagrams as they were sealed, not the trains that the kernel lets through a veth pair whole.
    mesh.hosts.iter().for_each(|host| drop(host.sh("ethtool -K wan tx-udp-segmentation off gso off gro off")));
    mesh.wait_for_ping();
    let ear = ear(&mesh.hosts[1]);
    // Another suite, so that a handshake is among what is heard.
    let handshakes = |mesh: &Mesh| -> u64 { (0..2).map(|end| mesh.stats(end).tunnels.responses_accepted).sum() };
    let before = handshakes(&mesh);
    mesh.set_suite(Suite::Aesgcm);
    wait_until("they have shaken hands again", PATIENCE, || handshakes(&mesh) > before);
    mesh.guests[0].sh("ping -c100 -i0.005 -W2 192.168.10.12");
    let mut heard = Vec::new();
    let mut bytes = [0; 2048];
    while let Ok(len) = std::io::Read::read(&mut (&ear), &mut bytes) {
        heard.extend(datagram(&bytes[..len]));
    }
    // A call that came before its receiver knew of the suite was never taken: sent again it would be late, not a replay.
    let answered: Vec<Vec<u8>> =
        heard.iter().filter(|p| p.payload[0] == 2).map(|p| p.payload[8..12].to_vec()).collect();
    heard.retain(|packet| packet.payload[0] != 1 || answered.iter().any(|index| packet.payload[4..8] == index[..]));
    let kinds: std::collections::BTreeSet<u8> = heard.iter().map(|packet| packet.payload[0]).collect();
    assert_eq!(kinds, [1, 2, 4].into(), "calls, answers and data of {} packets", heard.len());
    assert!(heard.len() >= 200);

    let mouths = [mouth(&mesh.hosts[0]), mouth(&mesh.hosts[1])];
    // A guest may say a word of its own at any time.
    let (before, said, delivered) = ([refused(&mesh, 0), refused(&mesh, 1)], sealed(&mesh), opened(&mesh));
    let mut replayed = [0_u64; 2];
    for round in 0..6_usize {
        for nth in 0..heard.len() {
            // Forward, backward, and in strides.
            let nth = match round % 3 {
                0 => nth,
                1 => heard.len() - 1 - nth,
                _ => (nth * 7919 + round) % heard.len(),
            };
            let mut again = heard[nth].clone();
            let end = usize::from(*again.to.ip() == Ipv4Addr::new(10, 0, 0, 2));
            if round >= 3 {
                again.from.set_ip(Ipv4Addr::new(10, 0, 0, 77));
            }
            send(&mouths[1 - end], &again);
            replayed[end] += 1;
            if replayed[end] % 32 == 0 {
                // No faster than it is taken in: what a full queue loses was not refused by the tunnel.
                wait_until("a few are refused", PATIENCE, || refused(&mesh, end) - before[end] >= replayed[end]);
            }
        }
    }
    wait_until("all of it was refused", PATIENCE, || {
        (0..2).all(|end| refused(&mesh, end) - before[end] >= replayed[end])
    });
    for end in [0, 1] {
        assert_eq!(refused(&mesh, end) - before[end], replayed[end], "each once, at {end}");
        let drops = mesh.stats(end).tunnels.drops;
        assert!(drops.get(DropReason::Replayed) >= 6 * 100, "{drops:?}");
        assert!(drops.get(DropReason::DataForged) == 0, "{drops:?}");
    }
    let delivered = opened(&mesh) - delivered;
    assert!(delivered <= sealed(&mesh) - said, "{delivered} delivered, more than were sealed meanwhile");
    mesh.guests[0].sh("ping -c20 -i0.005 -W2 192.168.10.12");
}

/// Calls with a true first MAC and nothing else that is true: what everybody can make who knows the public key.
fn forged(to: &PublicKey, count: usize) -> Vec<Vec<u8>> {
    let key = Blake2s256::new().chain_update(b"mac1----").chain_update(to.0).finalize();
    let one = |_| {
        let mut call = vec![0; 148];
        clock::fill_random(&mut call[4..116]);
        call[0] = 1;
        let mut mac = <Blake2sMac<U16> as Mac>::new_from_slice(&key).unwrap();
        Update::update(&mut mac, &call[..116]);
        call[116..132].copy_from_slice(&mac.finalize_fixed());
        call
    };
    (0..count).map(one).collect()
}

/// Calls at `rate` a second, from so many addresses in turn, until told to stop; how many were sent.
fn flood(from: &Space, to: &PublicKey, (rate, sources): (u64, u64), stop: &AtomicBool) -> u64 {
    let mouth = mouth(from);
    let target = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), PORT);
    let from = SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 1), 1234);
    let mut packets: Vec<Vec<u8>> =
        forged(to, 512).into_iter().map(|payload| packet(&OnWire { from, to: target, payload })).collect();
    let (start, mut sent) = (clock::mono(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        let due = u64::try_from(clock::mono().since(start).as_micros()).unwrap() * rate / 1_000_000;
        if sent >= due {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        for _ in 0..(due - sent).min(1000) {
            let packet = &mut packets[usize::try_from(sent % 512).unwrap()];
            let source = u32::try_from(sent % sources).unwrap();
            packet[12..16].copy_from_slice(&(0x0a40_0000 + source).to_be_bytes());
            let _ = mouth.send_to(packet, &SocketAddr::V4(target).into());
            sent += 1;
        }
    }
    sent
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Pings at 5 ms for so many seconds while calls are forged at `rate`; prints and checks what became of them. Fewer than
/// `most_lost` of a thousand pings may be lost: 1 in a release build on a machine that does nothing else.
fn flooded(rate: u64, sources: u64, seconds: u64, most_lost: u64) {
    let mesh = Mesh::new(Flood::Suppress);
    mesh.wait_for_ping();
    // The answers have somewhere to go.
    mesh.hosts[1].sh("ip route add 10.64.0.0/10 via 10.0.0.1");
    let stop = AtomicBool::new(false);
    let before = resident_kib();
    let began = clock::mono();
    let count = seconds * 200;
    let (sent, pings, memory) = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&mesh.hosts[0], &public_key(&secret(1)), (rate, sources), &stop));
        let said = mesh.guests[0].sh(&format!("ping -q -c{count} -i0.005 -W2 192.168.10.12"));
        let memory = resident_kib();
        stop.store(true, Ordering::Relaxed);
        (flooding.join().unwrap(), said, memory)
    });
    // On a busy machine it goes on for longer than it was told to.
    let took = clock::mono().since(began).as_secs() + 1;
    let received: u64 = pings.split_once(" received").unwrap().0.rsplit(' ').next().unwrap().parse().unwrap();
    let tunnels = mesh.stats(1).tunnels;
    eprintln!(
        "{sent} forged calls in {seconds} s or more, {} seen, {} cookies; pings {received} of {count}; memory {before} -> {memory} KiB",
        tunnels.drops.get(DropReason::CookieDemanded) + tunnels.drops.get(DropReason::HandshakeForged),
        tunnels.cookies_sent,
    );
    assert!(sent >= rate * seconds * 9 / 10, "only {sent} were sent");
    let lost = (count - received) * 1000 / count;
    assert!(lost < most_lost, "{received} of {count} pings: {lost} in a thousand lost");
    let times = pings.lines().find(|line| line.starts_with("rtt")).unwrap_or_default();
    eprintln!("{rate} a second of {sources} addresses: {times}");
    // A second's worth at once, and so many a second: 100 for one address, 1000 for all.
    let most = (took + 1) * if sources == 1 { 100 } else { 1000 };
    assert!((100..=most).contains(&tunnels.cookies_sent), "cookies are on, and bounded: {tunnels:?}");
    assert!(memory < before + 16 * 1024, "memory grew from {before} to {memory} KiB");
}

#[test]
fn an_established_tunnel_does_not_notice_a_flood_of_forged_calls() {
    if can_run() {
        flooded(2_000, 1 << 22, 3, 10);
        flooded(8_000, 1, 2, 10);
    }
}

#[test]
#[ignore = "half a minute of both cores: cargo test --release --test netns -- --ignored --nocapture --exact tunnel::a_hundred_thousand_forged_calls_a_second_for_half_a_minute"]
fn a_hundred_thousand_forged_calls_a_second_for_half_a_minute() {
    if can_run() {
        flooded(100_000, 1 << 22, 30, 1);
    }
}
