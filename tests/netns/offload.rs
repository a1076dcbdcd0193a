//! The kernel as a judge of super-frames: what is joined here goes through its bridge to a TAP that takes no super-frames, so
//! the kernel cuts it, by its own rules, and must arrive at the very packets that were joined.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use vxmesh::clock;
use vxmesh::forward::Buf;
use vxmesh::forward::coalesce::{Coalescer, HEADROOM};
use vxmesh::forward::segment::Segments;
use vxmesh::linux::inbox::Inbox;
use vxmesh::linux::offload::makes_checksums;
use vxmesh::linux::sys;
use vxmesh::linux::tap::{self, Offloads, Tap};
use vxmesh::linux::udp::{Datagrams, LaneSocket};
use vxmesh::policy::offload::{Release, Writes};
use vxmesh::types::NetSlot;
use vxmesh::wire::Header;
use vxmesh::wire::ip::{Checksum, Ipv4, Ipv6, TCP, UDP};
use vxmesh::wire::virtio::{Gso, Virtio};

use crate::harness::{Space, cable, can_run, wait_until};

/// Bytes of payload in each packet.
const SIZE: u16 = 1300;

/// Packets as a peer sends them, of one flow.
fn packets(v6: bool, tcp: bool, tag: Option<u16>, payload: usize) -> Vec<Vec<u8>> {
    let mut frame = vec![2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a];
    frame.extend(tag.iter().flat_map(|tag| [0x8100u16.to_be_bytes(), tag.to_be_bytes()].concat()));
    frame.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
    let l3 = frame.len();
    let head = if tcp { 32 } else { 8 };
    let (protocol, len) = (if tcp { TCP } else { UDP }, u16::try_from(head + payload).unwrap());
    frame.extend(vec![0; if v6 { 40 } else { 20 }]);
    let l4 = frame.len();
    if v6 {
        let [source, destination] = [1, 2].map(|n| [0xfd00, 0, 0, 0, 0, 0, 0, n].into());
        let ip = Ipv6 { class: 0, label: 77, payload: len, next: protocol, hop_limit: 64, source, destination };
        ip.emit(&mut frame[l3..]).unwrap();
    } else {
        let (source, destination) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let (total, id, ttl, dont_fragment, more_fragments) = (20 + len, 0xfff0, 64, true, false);
        let ip = Ipv4 {
            options: 0,
            tos: 0,
            total,
            id,
            dont_fragment,
            more_fragments,
            offset: 0,
            ttl,
            protocol,
            source,
            destination,
        };
        ip.emit(&mut frame[l3..]).unwrap();
    }
    frame.extend([0x9c, 0x40, 0x14, 0x51]);
    if tcp {
        frame.extend([0xff, 0xff, 0xf0, 0, 0, 0, 0, 9, 0x80, 0x18, 1, 0, 0, 0, 0, 0]);
        frame.extend([1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    } else {
        frame.extend([len.to_be_bytes(), [0, 0]].concat());
    }
    frame.extend((0..payload).map(|n| (n * 7 / 3).to_le_bytes()[0]));
    let virtio = Virtio {
        needs_checksum: true,
        gso: match (tcp, v6) {
            (true, false) => Gso::TcpV4,
            (true, true) => Gso::TcpV6,
            (false, _) => Gso::UdpL4,
        },
        gso_size: SIZE,
        csum_start: u16::try_from(l4).unwrap(),
        csum_offset: if tcp { 16 } else { 6 },
        ..Virtio::default()
    };
    let mut segments = Segments::new(&frame, &virtio, 1500).unwrap();
    let mut all = Vec::new();
    while let Some(len) = segments.next_len() {
        let mut out = vec![0; len];
        segments.write_next(&mut out).unwrap();
        all.push(out);
    }
    all
}

/// Joins packets and writes what comes of it to `tap`; says how many writes that took.
fn write_joined(tap: &mut File, packets: &[Vec<u8>]) -> usize {
    let mut coalescer = Coalescer::new(64, &[]);
    let mut batch = Vec::new();
    let mut ranges = Vec::new();
    for packet in packets {
        batch.extend([0; HEADROOM]);
        ranges.push(batch.len()..batch.len() + packet.len());
        batch.extend(packet);
    }
    for range in ranges {
        coalescer.push(&batch, range, NetSlot(0)).unwrap();
    }
    let writes = coalescer.writes();
    coalescer.flush(&mut batch, |_, bytes| {
        assert_eq!(tap.write(bytes).ok(), Some(bytes.len()), "the kernel takes the super-frame")
    });
    writes
}

/// Reads frames from the address of [`packets`] until there are `count`.
fn read_frames(tap: &mut File, count: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut bytes = vec![0; 70_000];
    wait_until("all packets came through the bridge", Duration::from_secs(10), || {
        loop {
            match tap.read(&mut bytes) {
                Ok(len) => frames.extend((bytes[16..22] == [2, 0, 0, 0, 0, 0x0a]).then(|| bytes[10..len].to_vec())),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break frames.len() >= count,
                Err(error) => panic!("reading the TAP: {error}"),
            }
        }
    });
    frames
}

#[test]
fn the_kernel_cuts_a_super_frame_into_the_packets_that_were_joined() {
    if !can_run() {
        return;
    }
    let space = Space::new("offload");
    space.sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1
              ip link add br0 type bridge
              for tap in in0 out0; do
                  ip tuntap add dev $tap mode tap multi_queue vnet_hdr
                  ip link set $tap master br0 up txqueuelen 1000
              done
              ip link set br0 up");
    space.enter(|| {
        let open = |name: &str| {
            let tap = Tap::attach(&name.parse().unwrap(), Offloads::None).unwrap();
            File::from(tap.as_fd().try_clone_to_owned().unwrap())
        };
        let (mut input, mut output) = (open("in0"), open("out0"));
        wait_until("the bridge forwards", Duration::from_secs(10), || {
            write_joined(&mut input, &packets(false, true, None, 100));
            output.read(&mut [0; 2000]).is_ok()
        });
        while output.read(&mut [0; 2000]).is_ok() {}
        for (v6, tcp, tag) in
            [(false, true, None), (true, true, None), (false, false, None), (true, false, None), (false, true, Some(7))]
        {
            for payload in [1, 1300, 1301, 13_000, 59_799] {
                let sent = packets(v6, tcp, tag, payload);
                let what = format!("v6 {v6}, tcp {tcp}, tag {tag:?}, {payload} bytes");
                assert_eq!(write_joined(&mut input, &sent), 1, "{what}");
                let received = read_frames(&mut output, sent.len());
                assert!(received == sent, "{what}: the kernel cut it otherwise");
            }
        }
    });
}

/// A persistent TAP that is down, and what the kernel says of a write to it.
fn written_down(host: &Space, virtio: Virtio, frame: &[u8]) -> Option<ErrorKind> {
    let name = "vt1.1".parse().unwrap();
    let mut bytes = vec![0; Virtio::LEN];
    virtio.emit(&mut bytes).unwrap();
    bytes.extend(frame);
    host.enter(|| {
        tap::create_persistent(&name).unwrap();
        let written = Tap::attach(&name, Offloads::TcpUdp).unwrap().write_headed(&bytes);
        tap::remove(&name).unwrap();
        written.err().map(|error| match error.raw_os_error() {
            Some(5) => ErrorKind::NetworkDown,
            _ => error.kind(),
        })
    })
}

#[test]
fn a_look_at_the_machine_leaves_nothing_behind_and_disturbs_nobody() {
    if !can_run() {
        return;
    }
    let host = Space::new("look");
    let before = host.sh("ip -o link | wc -l; cat /proc/net/dev");
    let seen = host.enter(|| vxmesh::linux::offload::look(["lo".parse().unwrap()]));
    assert_eq!(seen.writes, Some(Writes::ALL), "this kernel takes super-frames of TCP and UDP");
    assert_eq!(seen.checksums, [("lo".parse().unwrap(), true)]);
    assert!(seen.release.is_some());
    assert_eq!(host.sh("ip -o link | wc -l; cat /proc/net/dev"), before, "no device, and no packet on any");
}

#[test]
fn a_tap_that_is_down_says_whether_it_would_take_a_super_frame() {
    if !can_run() {
        return;
    }
    let host = Space::new("down");
    let frame = [packets(false, false, None, 1000).concat(), vec![0; 400]].concat();
    let good = Virtio {
        needs_checksum: true,
        gso: Gso::UdpL4,
        hdr_len: 42,
        gso_size: 500,
        csum_start: 34,
        csum_offset: 6,
        ..Virtio::default()
    };
    assert_eq!(written_down(&host, good, &frame), Some(ErrorKind::NetworkDown), "it was looked at, and is right");
    // A UDP super-frame needs its checksum asked for, at the place of UDP's.
    for bad in [Virtio { needs_checksum: false, ..good }, Virtio { csum_offset: 16, ..good }] {
        assert_eq!(written_down(&host, bad, &frame), Some(ErrorKind::InvalidInput), "{bad:?}");
    }
}

#[test]
fn an_interface_says_whether_it_makes_checksums() {
    if !can_run() {
        return;
    }
    let host = Space::new("sums");
    let name = "vt1.1".parse().unwrap();
    host.enter(|| {
        tap::create_persistent(&name).unwrap();
        for (offloads, makes) in [(Offloads::None, false), (Offloads::Checksum, true), (Offloads::None, false)] {
            // What its reader takes over is what the device says it does.
            let _tap = Tap::attach(&name, offloads).unwrap();
            assert_eq!(makes_checksums(&name).unwrap(), makes, "{offloads:?}");
        }
    });
}

/// One train of datagrams.
fn train(address: SocketAddr, size: usize, count: usize) -> Datagrams {
    let mut buf = Buf::default();
    buf.copy_from(&(0..size * count).map(|n| (n / size).to_le_bytes()[0]).collect::<Vec<_>>());
    Datagrams { address, buf, segment: size }
}

#[test]
fn datagrams_larger_than_their_interface_are_told_as_such_and_trains_go_on() {
    if !can_run() {
        return;
    }
    let (here, there) = (Space::new("here"), Space::new("there"));
    cable(&here, "wan", &there, "wan");
    here.sh("ip address add 10.0.0.1/24 dev wan; ip link set wan mtu 1400");
    there.sh("ip address add 10.0.0.2/24 dev wan; ip link set wan mtu 1400");
    let to = SocketAddr::from(([10, 0, 0, 2], 4000));
    let other = there.enter(|| LaneSocket::bind(to).unwrap());
    let mut socket = here.enter(|| LaneSocket::bind(SocketAddr::from(([10, 0, 0, 1], 0))).unwrap());
    // 1372 bytes of payload are 1400 of IPv4; one more is too many, for a train (EMSGSIZE) as for one alone.
    let sent = socket.send(&[train(to, 1373, 3)], clock::mono());
    assert_eq!((sent.sent, sent.too_big, sent.failed), (0, 3, 0), "{sent:?}");
    let sent = socket.send(&[train(to, 1372, 40)], clock::mono());
    assert_eq!((sent.sent, sent.resent), (40, 0), "it was not the train that was wrong: {sent:?}");
    let (mut inbox, mut got) = (Inbox::default(), 0);
    wait_until("all forty are there", Duration::from_secs(5), || {
        // A read that finds nothing is no error.
        if other.receive(&mut inbox, 64).is_ok() {
            got += (0..inbox.len()).filter_map(|n| inbox.arrival(n)).map(|a| a.len.div_ceil(a.segment)).sum::<usize>();
        }
        got == 40
    });
}

#[test]
fn a_train_leaves_an_interface_that_makes_no_checksums_as_right_datagrams() {
    if !can_run() || vxmesh::linux::host::release().is_some_and(|release| release < Release::new(6, 11, 0)) {
        return;
    }
    let host = Space::new("bare");
    let name = "vt1.1".parse().unwrap();
    host.enter(|| {
        tap::create_persistent(&name).unwrap();
        // Another program has left the device with a longer header and with super-frames: both outlive it.
        let before = Tap::attach(&name, Offloads::TcpUdp).unwrap();
        sys::tun_set_header_size(before.as_fd(), 12).unwrap();
        drop(before);
        let tap = Tap::attach(&name, Offloads::None).unwrap();
        host.sh("ip address add 10.0.0.1/24 dev vt1.1; ip link set vt1.1 addrgenmode none up");
        host.sh("ip neigh replace 10.0.0.2 lladdr 02:00:00:00:00:02 nud permanent dev vt1.1");
        let mut socket = LaneSocket::bind(SocketAddr::from(([10, 0, 0, 1], 5000))).unwrap();
        let sent = socket.send(&[train(SocketAddr::from(([10, 0, 0, 2], 4000)), 1000, 3)], clock::mono());
        assert_eq!((sent.sent, sent.resent), (3, 0), "{sent:?}");
        let (mut bytes, mut payloads) = (vec![0; 2000], Vec::new());
        while let Some((len, virtio)) = tap.read(&mut bytes).unwrap() {
            assert_eq!(virtio, Some(Virtio::default()), "nothing is left to do");
            let frame = &bytes[..len];
            // The kernel itself speaks IPv6 on a new device.
            if frame[12..14] != [8, 0] {
                continue;
            }
            let (udp, payload) = (&frame[34..], &frame[42..]);
            let sum = Checksum::default().with(&frame[26..34]).with(&[0, UDP]).with(&udp[4..6]).with(udp);
            assert_eq!(sum.value(), 0, "a right checksum");
            payloads.push((payload[0], payload.len()));
        }
        assert_eq!(payloads, [(0, 1000), (1, 1000), (2, 1000)]);
    });
}
