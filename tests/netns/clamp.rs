//! Sizes on the plain path, on the real kernel: what TCP announces is lowered to the network's number, in both directions, and what is dropped
//! for its size is counted by device.

use std::collections::BTreeSet;
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use serde_json::{Value, json};
use vxmesh::linux::checksums::{Checks, Program};
use vxmesh::linux::{Kernel, sys};
use vxmesh::table::Slice;
use vxmesh::types::Mac;
use vxmesh::wire::ip::Checksum;

use crate::frames::Plug;
use crate::harness::{Space, cable, can_run, guest, wait_until};
use crate::node::{BRIDGE, VXLAN, behind, local, planned, settle, slice};
use crate::pretend::tag;

const LIMIT: Duration = Duration::from_secs(10);
/// The network's number: what the slices of [`crate::node`] say.
const NUMBER: u16 = 1400;
const MACS: [Mac; 2] = [Mac([2, 0, 0, 0, 0, 1]), Mac([2, 0, 0, 0, 0, 2])];

/// Guests .11 on node a and .12 on node b, the same in VLAN 20.
fn rows() -> Value {
    json!({
        "default/10/-/02:00:00:00:00:01": behind("g1", "a", &["192.168.10.11"], &["fd10::11"]),
        "default/10/-/02:00:00:00:00:02": behind("g2", "b", &["192.168.10.12"], &["fd10::12"]),
        "default/10/20/02:00:00:00:00:01": behind("g1", "a", &["192.168.20.11"], &["fd20::11"]),
        "default/10/20/02:00:00:00:00:02": behind("g2", "b", &["192.168.20.12"], &["fd20::12"]),
    })
}

struct World {
    hosts: [Space; 2],
    guests: [Space; 2],
    kernels: [Kernel; 2],
}

impl World {
    /// Two nodes with a guest each, whose own MTU is 1500.
    fn new() -> Self {
        let hosts = [Space::new("a"), Space::new("b")];
        cable(&hosts[0], "eth0", &hosts[1], "eth0");
        let mut kernels = Vec::new();
        for (n, host) in hosts.iter().enumerate() {
            let address = format!("10.9.0.{}", n + 1);
            host.sh(&format!("ip address add {address}/16 dev eth0"));
            let checks =
                Program::load().map_or_else(|_| Checks::default(), |checks| Checks::new(Ok(checks), BTreeSet::new()));
            kernels.push(host.enter(|| Kernel::new().unwrap().with_checks(checks)));
        }
        let addresses = |last: &str| [format!("192.168.10.{last}/24"), format!("fd10::{last}/64")];
        let plug = |n: usize, last: &str| {
            let [four, six] = addresses(last);
            guest(&hosts[n], BRIDGE, &format!("g{}", n + 1), &MACS[n].to_string(), &[&four, &six])
        };
        let mut kernels: [Kernel; 2] = kernels.try_into().unwrap_or_else(|_| panic!("two"));
        for (n, name) in ["a", "b"].into_iter().enumerate() {
            apply(&hosts[n], &mut kernels[n], &slice(name, rows()), n);
        }
        let guests = [plug(0, "11"), plug(1, "12")];
        let mut world = Self { hosts, guests, kernels };
        world.again(|_| ());
        world
    }

    /// Both nodes get another slice.
    fn again(&mut self, change: impl Fn(&mut Slice)) {
        for (n, name) in ["a", "b"].into_iter().enumerate() {
            let mut slice = slice(name, rows());
            change(&mut slice);
            apply(&self.hosts[n], &mut self.kernels[n], &slice, n);
        }
    }

    /// What each end of a TCP connection sends at most a segment, the one that calls first.
    fn segments(&self, to: &str, port: u16) -> [u32; 2] {
        let listener = self.guests[1].enter(|| TcpListener::bind((to.parse::<IpAddr>().unwrap(), port)).unwrap());
        let _called = self.guests[0].enter(|| TcpStream::connect((to, port)).unwrap());
        let _answered = listener.accept().unwrap();
        let mss = |space: &Space, side: &str| {
            let said = space.sh(&format!("ss -tinH state established '( {side} = :{port} )'"));
            let word = said.split_whitespace().find_map(|word| word.strip_prefix("mss:"));
            word.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
        };
        [mss(&self.guests[0], "dport"), mss(&self.guests[1], "sport")]
    }

    fn large(&mut self, n: usize) -> Vec<(String, u64)> {
        let (host, kernel) = (&self.hosts[n], &mut self.kernels[n]);
        let refused = host.enter(|| kernel.refused_guests("large").unwrap());
        refused.into_iter().map(|refused| (refused.interface.to_string(), refused.frames)).collect()
    }
}

fn apply(host: &Space, kernel: &mut Kernel, slice: &Slice, n: usize) {
    let plan = planned(slice, &local(&format!("10.9.0.{}", n + 1)));
    host.enter(|| settle(kernel, &plan));
}

/// A TCP segment with these flags, an MSS option (the first, or behind a no-operation) and a right checksum.
fn tcp(from: IpAddr, to: IpAddr, flags: u8, mss: u16, first: bool) -> Vec<u8> {
    let mut segment = [&[0x9c, 0x40, 0, 80][..], &[0; 8], &[0x70, flags, 4, 0], &[0; 4]].concat();
    let [high, low] = mss.to_be_bytes();
    segment.extend(if first { [2, 4, high, low, 1, 1, 1, 1] } else { [1, 2, 4, high, low, 1, 1, 1] });
    let length = u16::try_from(segment.len()).unwrap();
    let sum = sum(from, to, length).with(&segment).value();
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn sum(from: IpAddr, to: IpAddr, length: u16) -> Checksum {
    match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => Checksum::default().pseudo_v6(from, to, length, 6),
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = length.to_be_bytes();
            Checksum::default().with(&from.octets()).with(&to.octets()).with(&[0, 6, high, low])
        }
        _ => panic!("{from} {to}"),
    }
}

/// {IPv4, IPv6} x {no tag, priority, VLAN} x {SYN, SYN of an answer, neither} x {too large, right, small} x {both directions}, by
/// hand; and what real TCP makes of it.
#[test]
fn tcp_of_the_plain_path_announces_no_more_than_the_network_has() {
    if !can_run() {
        return;
    }
    let mut world = World::new();
    let plugs = [0, 1].map(|n| Plug::new(&world.guests[n], "eth0"));
    for six in [false, true] {
        for vlan in [None, Some(0), Some(20)] {
            let address = |n: usize| -> IpAddr {
                let net = if vlan == Some(20) { "20" } else { "10" };
                let last = ["11", "12"][n];
                if six { format!("fd{net}::{last}") } else { format!("192.168.{net}.{last}") }.parse().unwrap()
            };
            let fits = NUMBER - if six { 60 } else { 40 };
            for (flags, said, first, expected) in [
                (0x02, 1460, true, fits),
                (0x12, 1460, true, fits),
                (0xc2, 8960, true, fits),
                (0x02, fits, true, fits),
                (0x02, 536, true, 536),
                (0x10, 1460, true, 1460),
                (0x04, 1460, true, 1460),
                // At an odd place the kernel would make the checksum wrong.
                (0x02, 1460, false, 1460),
            ] {
                for (from, to) in [(0, 1), (1, 0)] {
                    let segment = tcp(address(from), address(to), flags, said, first);
                    let packet = crate::frames::ip(address(from), address(to), 64, 6, &segment);
                    let frame = crate::frames::ethernet(MACS[from], MACS[to], &packet);
                    let frame = vlan.map_or_else(|| frame.clone(), |vlan| tag(vlan, &frame));
                    let what = format!("{six} {vlan:?} {flags:#x} {said} {from}");
                    drop(plugs[to].take());
                    let mut got = None;
                    wait_until(&what, LIMIT, || {
                        plugs[from].send(&frame);
                        let frames = plugs[to].take();
                        let ours = |frame: &Vec<u8>| frame.windows(4).position(|at| at == [0x9c, 0x40, 0, 80]);
                        got = frames.iter().find_map(|frame| Some(frame[ours(frame)?..].to_vec()));
                        got.is_some()
                    });
                    let got = &got.unwrap()[..28];
                    let at = if first { 22 } else { 23 };
                    assert_eq!(u16::from_be_bytes([got[at], got[at + 1]]), expected, "{what}");
                    assert_eq!(
                        sum(address(from), address(to), 28).with(got).value(),
                        0,
                        "{what}: its checksum is wrong"
                    );
                }
            }
        }
    }
    drop(plugs);
    // A time stamp takes 12 bytes of each segment.
    let whole = |number: u16, header: u16| [u32::from(number - header - 12); 2];
    assert_eq!(world.segments("192.168.10.12", 5001), whole(NUMBER, 40));
    assert_eq!(world.segments("fd10::12", 5002), whole(NUMBER, 60));
    // Another number, at once.
    world.again(|slice| {
        slice
            .networks
            .values_mut()
            .for_each(|network| network.guest_mtu = "1300".parse::<u64>().unwrap().try_into().unwrap())
    });
    assert_eq!(world.segments("192.168.10.12", 5003), whole(1300, 40));
}

/// The kernel has no counter for it: neither the bridge's nor the vxlan device's moves.
#[test]
fn what_is_larger_than_the_device_that_it_is_for_is_counted_at_that_device() {
    if !can_run() {
        return;
    }
    let mut world = World::new();
    let ping = |world: &World, from: usize, to: &str, size: u16| {
        let said =
            world.guests[from].try_sh(&format!("ip route flush cache; ping -n -c 3 -i 0.1 -W 1 -M do -s {size} {to}"));
        String::from_utf8_lossy(&said.stdout).contains(" 0% packet loss")
    };
    // 1450 is what a vxlan device on 1500 carries, whatever the number of the network is.
    assert!(ping(&world, 0, "192.168.10.12", 1450 - 28), "as much as the plain path carries");
    assert_eq!(world.large(0), []);
    assert!(!ping(&world, 0, "192.168.10.12", 1451 - 28) && !ping(&world, 0, "192.168.10.12", 1500 - 28));
    assert_eq!(world.large(0), [(VXLAN.to_owned(), 6)]);
    let shown = world.hosts[0]
        .sh(&format!("cat /sys/class/net/{VXLAN}/statistics/tx_dropped /sys/class/net/{VXLAN}/statistics/tx_errors"));
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["0", "0"], "the kernel's own counters say nothing");
    // A guest's interface that is smaller than its network.
    world.hosts[1].sh("ip link set dev g2 mtu 1350");
    world.again(|_| ());
    assert!(ping(&world, 0, "192.168.10.12", 1350 - 28) && world.large(1).is_empty());
    assert!(!ping(&world, 0, "192.168.10.12", 1380 - 28));
    assert_eq!(world.large(1), [("g2".to_owned(), 3)]);
    world.hosts[1].sh("ip link set dev g2 mtu 1500");
    world.again(|_| ());
    assert!(ping(&world, 0, "192.168.10.12", 1380 - 28));
}

/// A train of UDP datagrams, as QUIC sends it: it is one packet until it leaves.
#[test]
fn a_train_of_datagrams_that_are_cut_and_arrive_is_not_counted() {
    if !can_run() {
        return;
    }
    if let Err(why) = Program::load() {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let mut world = World::new();
    world.hosts[1].sh("ip link set dev g2 mtu 1350");
    world.again(|_| ());
    for (to, from) in [("192.168.10.12", "192.168.10.11"), ("fd10::12", "fd10::11")] {
        let [to, from]: [IpAddr; 2] = [to, from].map(|address| address.parse().unwrap());
        let sink = world.guests[1].enter(|| UdpSocket::bind((to, 4433)).unwrap());
        sink.set_read_timeout(Some(LIMIT)).unwrap();
        let source = world.guests[0].enter(|| UdpSocket::bind((from, 0)).unwrap());
        sys::set_socket_option(source.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, 1200).unwrap();
        let mut got = [0; 2048];
        let mut arrives = || {
            assert_eq!(source.send_to(&[7; 12_000], (to, 4433)).unwrap(), 12_000);
            (0..10).all(|_| sink.recv(&mut got).is_ok_and(|length| length == 1200))
        };
        assert!((0..30).all(|_| arrives()), "{to}");
    }
    assert_eq!([world.large(0), world.large(1)], [vec![], vec![]]);
    let signed = world.hosts[0].sh("nft list ruleset");
    assert!(signed.contains("meta priority fffe:7650"), "{signed}");
}
