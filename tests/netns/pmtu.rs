//! Path MTU on the real kernel: two nodes with two routers between them, whose link changes its MTU while guests talk.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use vxmesh::clock;
use vxmesh::forward::Slots;
use vxmesh::meshd::lane::{Lane, LaneEvent, Setup};
use vxmesh::node::paths::{Own, decide_all};
use vxmesh::node::plan::{Local, Underlay};
use vxmesh::probe::{Phase, Status};
use vxmesh::table::Flood;
use vxmesh::types::Mtu;

use crate::harness::{Space, cable, can_run, guest, succeed, wait_until};
use crate::labs::Lab;
use crate::lane::{MACS, TAP, make_tap, slice, spawn};
use crate::mesh::{MESHCTL, run};

/// MTU of the interfaces of both nodes.
const INTERFACE: u16 = 9000;
/// Pings of the guests, a second.
const PINGS: u32 = 50;

/// Which IP carries.
#[derive(Clone, Copy)]
enum Over {
    V4,
    V6,
}

impl Over {
    fn address(self, end: usize) -> IpAddr {
        match (self, end) {
            (Self::V4, 0) => "10.7.1.1",
            (Self::V4, _) => "10.7.2.1",
            (Self::V6, 0) => "fd07:1::1",
            (Self::V6, _) => "fd07:2::1",
        }
        .parse()
        .unwrap()
    }

    /// The largest packet of a guest that the interfaces of the nodes carry whole.
    fn guest(self) -> u16 {
        match self {
            Self::V4 => INTERFACE - 82,
            Self::V6 => INTERFACE - 102,
        }
    }
}

struct World {
    lanes: Vec<Lane>,
    guests: Vec<Space>,
    hosts: Vec<Space>,
    routers: Vec<Space>,
}

impl World {
    /// Node, router, router, node. The guests' network has an MTU of `guest_mtu`, whatever the path carries.
    fn new(over: Over, guest_mtu: u16) -> Self {
        let (hosts, routers) = ([Space::new("n0"), Space::new("n1")], [Space::new("r0"), Space::new("r1")]);
        cable(&routers[0], "mid", &routers[1], "mid");
        for (end, (host, router)) in hosts.iter().zip(&routers).enumerate() {
            cable(host, "wan", router, "lan");
            host.sh(&format!("ip link set wan mtu {INTERFACE}"));
            router.sh(&format!("ip link set lan mtu {INTERFACE}; ip link set mid mtu {INTERFACE}"));
            let (here, there) = (end + 1, 2 - end);
            let route = match over {
                Over::V4 => format!("ip route add default via 10.7.{here}.2"),
                Over::V6 => format!("ip route add default via fd07:{here}::2"),
            };
            host.sh(&format!(
                "ip addr add 10.7.{here}.1/24 dev wan; ip addr add fd07:{here}::1/64 dev wan nodad; {route}"
            ));
            router.sh(&format!(
                "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
                 ip addr add 10.7.{here}.2/24 dev lan; ip addr add fd07:{here}::2/64 dev lan nodad
                 ip addr add 10.7.9.{here}/24 dev mid; ip addr add fd07:9::{here}/64 dev mid nodad
                 ip route add 10.7.{there}.0/24 via 10.7.9.{there}; ip -6 route add fd07:{there}::/64 via fd07:9::{there}"
            ));
        }
        let (mut lanes, mut guests) = (Vec::new(), Vec::new());
        for (end, host) in hosts.iter().enumerate() {
            host.sh("ip link add br0 type bridge; ip link set br0 up");
            make_tap(host);
            host.sh(&format!("ip link set {TAP} mtu {guest_mtu}"));
            let guest = guest(host, "br0", "g1", MACS[end], &[&format!("192.168.10.{}/24", 11 + end)]);
            guest.sh(&format!("ip link set eth0 mtu {guest_mtu}"));
            host.sh(&format!("ip link set g1 mtu {guest_mtu}"));
            guests.push(guest);
            lanes.push(spawn(host, end));
        }
        let world = Self { lanes, guests, hosts: hosts.into(), routers: routers.into() };
        world.set(over, guest_mtu, INTERFACE);
        world
    }

    /// Tells both lanes.
    fn set(&self, over: Over, guest_mtu: u16, interface: u16) {
        for (end, lane) in self.lanes.iter().enumerate() {
            let mut slice = slice(end, Flood::Suppress);
            slice.peers.values_mut().for_each(|peer| peer.external = Some(over.address(1 - end)));
            slice.networks.values_mut().for_each(|net| net.guest_mtu = Mtu::try_from(u64::from(guest_mtu)).unwrap());
            let mut slots = Slots::default();
            slots.assign(&slice).unwrap();
            let address = over.address(end);
            let own = Own { admin: None, external: Some(address) };
            let external = Underlay { interface: "wan".parse().unwrap(), address, mtu: interface };
            let local = Local { external: Some(external), ..Local::default() };
            lane.set(Arc::new(Setup::build(&slice, &decide_all(&slice, own), &slots, &local, 0)));
        }
    }

    /// No router says why it drops.
    fn silence_routers(&self) {
        for router in &self.routers {
            router.sh("nft add table inet t; nft 'add chain inet t out { type filter hook output priority 0; }'
                 nft add rule inet t out icmp type destination-unreachable drop
                 nft add rule inet t out icmpv6 type packet-too-big drop");
        }
    }

    /// The link between the routers carries this much from now on.
    fn link(&self, mtu: u16) {
        self.routers.iter().for_each(|router| drop(router.sh(&format!("ip link set mid mtu {mtu}"))));
    }

    fn status(&self, end: usize) -> Status {
        self.lanes[end].stats().unwrap().paths[0].1
    }

    /// How long it takes until both ends know exactly what the path carries.
    fn exact_within(&self, mtu: u16, limit: Duration) -> Duration {
        let start = clock::mono();
        wait_until(&format!("both ends know {mtu}, and not {:?}", [0, 1].map(|end| self.status(end))), limit, || {
            [0, 1].iter().all(|end| {
                let Status { size, phase, .. } = self.status(*end);
                size == mtu && phase == Phase::Complete
            })
        });
        clock::mono().since(start)
    }

    fn wait_for_ping(&self) {
        let reached = || self.guests[0].holds("ping -c1 -W1 192.168.10.12 >&2");
        wait_until("the guests ping each other", Duration::from_secs(20), reached);
    }

    /// Guests ping each other with packets of `len` bytes until told to end.
    fn pings(&self, len: u16) -> Pings {
        let mut command = self.guests[0].command("ping");
        command.args(["-M", "do", "-i"]).arg((1.0 / f64::from(PINGS)).to_string());
        command.arg("-s").arg((len - 28).to_string()).arg("192.168.10.12");
        Pings(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap())
    }
}

/// Pings under way.
struct Pings(Child);

impl Pings {
    /// The longest time without an answer.
    fn end(self) -> Duration {
        // It is a child of `ip netns exec`, which becomes it.
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let output = String::from_utf8(self.0.wait_with_output().unwrap().stdout).unwrap();
        let numbers = output.lines().filter_map(|line| {
            let (_, rest) = line.split_once("icmp_seq=")?;
            rest.split(' ').next()?.parse::<u32>().ok()
        });
        let mut heard: Vec<u32> = numbers.collect();
        heard.sort_unstable();
        assert!(heard.len() > 50, "{output}");
        let longest = heard.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        Duration::from_secs(1) * longest / PINGS
    }
}

/// The link changes through all the sizes and back; whatever happens is found out in time. The guests send frames of their whole MTU
/// all the time: what the link does not carry in one piece crosses in several.
fn walk(over: Over, icmp: bool) {
    let world = World::new(over, over.guest());
    if !icmp {
        world.silence_routers();
    }
    world.wait_for_ping();
    world.exact_within(INTERFACE, Duration::from_secs(10));
    for (from, to) in [(9000, 1500), (1500, 1492), (1492, 1420), (1420, 1280), (1280, 9000)] {
        let pings = world.pings(over.guest());
        thread::sleep(Duration::from_secs(2));
        world.link(to);
        let (limit, kind) = if to < from { (10, "shrink") } else { (60, "growth") };
        let took = world.exact_within(to, Duration::from_secs(limit));
        thread::sleep(Duration::from_secs(1));
        let lost = pings.end();
        eprintln!("{kind} from {from} to {to}: exact after {took:?}, nothing lost for longer than {lost:?}");
        assert!(lost <= Duration::from_secs(3), "from {from} to {to}: lost for {lost:?}");
    }
    let events: Vec<LaneEvent> = world.lanes[0].events().try_iter().collect();
    let told = |event: &LaneEvent| {
        let LaneEvent::Path { before, after, .. } = event else { return None };
        Some((*before, *after))
    };
    let told: Vec<_> = events.iter().filter_map(told).collect();
    assert_eq!(told, [(9000, 1500), (1500, 1492), (1492, 1420), (1420, 1280), (1280, 9000)]);
}

#[test]
fn a_link_that_changes_under_traffic_is_found_to_the_byte() {
    if can_run() {
        walk(Over::V4, true);
    }
}

#[test]
fn without_any_icmp_a_link_that_changes_is_found_as_well() {
    if can_run() {
        walk(Over::V4, false);
    }
}

#[test]
fn over_ipv6_and_without_icmp_a_link_that_changes_is_found_as_well() {
    if can_run() {
        walk(Over::V6, false);
    }
}

#[test]
fn an_interface_that_carries_less_than_was_said_is_a_fact_that_needs_no_network() {
    if !can_run() {
        return;
    }
    let world = World::new(Over::V4, Over::V4.guest());
    world.wait_for_ping();
    world.exact_within(INTERFACE, Duration::from_secs(10));
    let pings = world.pings(Over::V4.guest());
    // The lane is not told: it hears it from the system, which refuses what is larger.
    world.hosts[0].sh("ip link set wan mtu 1433");
    let knows = |size| (world.status(0).size, world.status(0).phase) == (size, Phase::Complete);
    wait_until("the interface's MTU is known", Duration::from_secs(5), || knows(1433));
    // What comes back is lost at the interface without a word, which the other end finds out. (A veth lets 4 bytes more pass.)
    wait_until("the other end has found it out", Duration::from_secs(10), || world.status(1).size == 1437);
    // Told by the control plane it counts without any probe, and so does the way back.
    world.set(Over::V4, Over::V4.guest(), 1400);
    wait_until("what was told counts", Duration::from_secs(1), || world.status(0).size == 1400);
    world.hosts[0].sh(&format!("ip link set wan mtu {INTERFACE}"));
    world.set(Over::V4, Over::V4.guest(), INTERFACE);
    wait_until("more is tried at once", Duration::from_secs(5), || knows(INTERFACE));
    thread::sleep(Duration::from_secs(1));
    let lost = pings.end();
    assert!(lost <= Duration::from_secs(3), "lost for {lost:?}");
}

#[test]
fn a_daemon_follows_the_mtu_of_its_interface() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    lab.settled();
    let (node, socket) = (lab.layout().node("a-1").unwrap().clone(), lab.home.socket("a-1"));
    let told = || {
        let mut command = Command::new(MESHCTL);
        run(command.arg("--socket").arg(&socket).args(["events", "--last", "1000"])).stdout
    };
    for (before, now) in [(1500, 1400), (1400, 1500)] {
        succeed(Command::new("ip").args(["-n", &node.namespace, "link", "set", "ext0", "mtu", &now.to_string()]));
        let line = format!("{before} bytes before, {now} now");
        wait_until(&line, Duration::from_secs(15), || told().contains(&line));
    }
}

#[test]
fn a_tcp_stream_goes_on_while_the_link_shrinks() {
    if !can_run() {
        return;
    }
    let world = World::new(Over::V4, Over::V4.guest());
    world.silence_routers();
    world.wait_for_ping();
    world.exact_within(INTERFACE, Duration::from_secs(10));
    let listener = world.guests[1].enter(|| TcpListener::bind("192.168.10.12:4000").unwrap());
    let mut sender = world.guests[0].enter(|| TcpStream::connect("192.168.10.12:4000").unwrap());
    let (mut receiver, _) = listener.accept().unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // What is sent says where it is, so that a byte that is missing or doubled is seen.
    let byte = |at: usize| u8::try_from(at.wrapping_mul(0x9e37_79b1) >> 24 & 0xff).unwrap();
    let block: Vec<u8> = (0..1 << 20).map(byte).collect();
    let ended = AtomicBool::new(false);
    let mut took = Vec::new();
    let (stalled, received) = thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                sender.write_all(&block).unwrap();
            }
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let reader = scope.spawn(|| {
            let (mut at, mut last, mut stalled, mut buf) = (0, clock::mono(), Duration::ZERO, vec![0; 1 << 16]);
            while let len @ 1.. = receiver.read(&mut buf).unwrap() {
                stalled = stalled.max(clock::mono().since(last));
                last = clock::mono();
                assert!(buf[..len].iter().enumerate().all(|(n, found)| *found == block[(at + n) % block.len()]));
                at += len;
            }
            (stalled, at)
        });
        for mtu in [1500, 1280] {
            thread::sleep(Duration::from_secs(1));
            world.link(mtu);
            let start = clock::mono();
            // Of the way back, which carries nothing large, the first end knows nothing and need not.
            while (world.status(0).size, world.status(0).phase) != (mtu, Phase::Complete) {
                thread::sleep(Duration::from_millis(10));
                if clock::mono().since(start) > Duration::from_secs(10) {
                    break;
                }
            }
            took.push(clock::mono().since(start));
        }
        thread::sleep(Duration::from_secs(1));
        ended.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(took.iter().all(|took| *took < Duration::from_secs(10)), "shrinks were known after {took:?}");
    eprintln!(
        "under load shrinks were exact after {took:?}; {received} bytes, never stalled for longer than {stalled:?}"
    );
    // Three seconds until frames pass again, and what TCP's own back-off adds.
    assert!(stalled < Duration::from_secs(7), "stalled for {stalled:?}");
}
