//! Several lanes a node on the real kernel: flows spread, none is reordered, pairs with fewer lanes work, a dead lane comes back.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use vxmesh::api::local::Management;
use vxmesh::forward::{DropReason, Slots};
use vxmesh::lab::shell;
use vxmesh::linux::sys::pin_thread;
use vxmesh::linux::tap;
use vxmesh::meshd::lane::{LaneStats, Setup};
use vxmesh::meshd::lanes::{Lanes, cpus};
use vxmesh::meshd::shared::Shared;
use vxmesh::node::paths::{Own, decide_all};
use vxmesh::node::plan::Local;
use vxmesh::policy::offload::Offload;
use vxmesh::policy::path::Path;
use vxmesh::table::{Flood, Learning, Network, Peer, Row, Slice, Suite};
use vxmesh::tunnel::public_key;
use vxmesh::types::{Mtu, Psk, SecretKey, UdpPort, Version};

use crate::harness::{Space, cable, can_run, guest, wait_until};
use crate::labs::Lab;

const PATIENCE: Duration = Duration::from_secs(30);
const TAP: &str = "vt10.12b5";

fn byte(end: usize) -> u8 {
    u8::try_from(end).unwrap()
}

fn secret(end: usize) -> SecretKey {
    SecretKey::from_bytes([byte(end) + 7; 32])
}

fn address(end: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, byte(end) + 1])
}

fn guest_address(end: usize) -> IpAddr {
    IpAddr::from([192, 168, 10, byte(end) + 11])
}

fn mac(end: usize) -> String {
    format!("02:00:00:00:{:02x}:01", 10 + end)
}

/// The slice of one end: node `n<end>` in PDC `p<end>`, one guest each. `lanes` says how many each node runs.
fn slice(end: usize, lanes: &[u8]) -> Slice {
    let node = |end: usize| format!("n{end}").parse().unwrap();
    let pdc = |end: usize| format!("p{end}").parse().unwrap();
    let mut slice = Slice::empty(Version::default(), node(end), pdc(end));
    for other in (0..lanes.len()).filter(|other| *other != end) {
        let peer = Peer {
            pdc: pdc(other),
            public_key: Some(public_key(&secret(other))),
            psk: Some(Psk::from_bytes([9; 32])),
            suite: Suite::Chacha,
            admin: None,
            external: Some(address(other)),
            listen: UdpPort::try_from(51_820).unwrap(),
            lanes: lanes[end].min(lanes[other]),
            changing: Vec::new(),
            foreign: None,
        };
        slice.peers.insert(node(other), peer);
    }
    let network = Network {
        name: "blue".parse().unwrap(),
        udp_port: UdpPort::try_from(4789).unwrap(),
        cidr: vec!["192.168.10.0/24".parse().unwrap()],
        gateway: Vec::new(),
        mtu: None,
        guest_mtu: Mtu::try_from(1400).unwrap(),
        group_rate: None,
        flood: Flood::Replicate,
        learning: Learning::Declared,
        members: slice.peers.keys().map(|node| (node.clone(), Path::Tunnel)).collect(),
    };
    slice.networks = BTreeMap::from([("default/10".parse().unwrap(), network)]);
    for at in 0..lanes.len() {
        let key = format!("default/10/-/{}", mac(at)).parse().unwrap();
        let arp = [guest_address(at).to_string().parse().unwrap()].into();
        slice.rows.insert(key, Row { arp, ..Row::of(node(at)) });
    }
    slice
}

/// Nodes on one wire, each with lanes, a bridge and a guest.
struct Mesh {
    nodes: Vec<Arc<Shared>>,
    guests: Vec<Space>,
    hosts: Vec<Space>,
    _wire: Space,
}

impl Mesh {
    fn new(lanes: &[u8]) -> Self {
        let wire = Space::new("wire");
        wire.sh("ip link add br0 type bridge; ip link set br0 up");
        let (mut nodes, mut hosts, mut guests) = (Vec::new(), Vec::new(), Vec::new());
        for (end, count) in lanes.iter().enumerate() {
            let host = Space::new(&format!("n{end}"));
            cable(&host, "wan", &wire, &format!("port{end}"));
            wire.sh(&format!("ip link set port{end} master br0"));
            host.sh(&format!("ip address add {}/24 dev wan; ip link add br0 type bridge", address(end)));
            host.sh("ip link set br0 up");
            host.enter(|| tap::create_persistent(&TAP.parse().unwrap()).unwrap());
            host.sh(&format!("ip link set {TAP} mtu 1400 master br0 up"));
            let inside = guest(&host, "br0", "g1", &mac(end), &[&format!("{}/24", guest_address(end))]);
            inside.sh("ip link set eth0 mtu 1400");
            let listen = UdpPort::try_from(51_820).unwrap();
            let lanes = host.enter(|| Lanes::start(*count, listen, secret(end), Offload::default()).unwrap());
            let (node, pdc) = (format!("n{end}").parse().unwrap(), format!("p{end}").parse().unwrap());
            nodes.push(Shared::new(node, pdc, Management::Files, lanes));
            hosts.push(host);
            guests.push(inside);
        }
        let mesh = Self { nodes, guests, hosts, _wire: wire };
        mesh.set(lanes);
        mesh.wait_for_sessions(lanes);
        mesh
    }

    /// What the table says from now on.
    fn set(&self, lanes: &[u8]) {
        for (end, node) in self.nodes.iter().enumerate() {
            let slice = slice(end, lanes);
            let mut slots = Slots::default();
            slots.assign(&slice).unwrap();
            let paths = decide_all(&slice, Own { admin: None, external: Some(address(end)) });
            node.lanes.set(|lane| Arc::new(Setup::build(&slice, &paths, &slots, &Local::default(), lane)));
        }
    }

    fn stats(&self, end: usize) -> Vec<LaneStats> {
        self.nodes[end].lanes.stats()
    }

    fn sessions(&self, end: usize) -> usize {
        self.stats(end).iter().flat_map(|lane| &lane.peers).filter(|(_, status)| status.up).count()
    }

    /// Each pair has a session on each of its lanes, and no other.
    fn wait_for_sessions(&self, lanes: &[u8]) {
        for end in 0..lanes.len() {
            let pairs = (0..lanes.len()).filter(|other| *other != end);
            let wanted: usize = pairs.map(|other| usize::from(lanes[end].min(lanes[other]))).sum();
            wait_until("each lane of each pair has a session", PATIENCE, || self.sessions(end) == wanted);
        }
        // A lane tells the others of a session at the end of the turn in which it has it; it has ended when it answers again.
        (0..lanes.len()).for_each(|end| assert!(self.sessions(end) > 0));
    }

    fn drops(&self, end: usize, reason: DropReason) -> u64 {
        self.stats(end).iter().map(|lane| lane.drops.get(reason)).sum()
    }
}

/// A counter of a guest's kernel, out of /proc/net/netstat or /proc/net/snmp.
fn counter(guest: &Space, name: &str) -> u64 {
    let text = guest.sh("cat /proc/net/netstat /proc/net/snmp");
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let mut pairs = names.split(' ').zip(values.split(' '));
        if let Some((_, value)) = pairs.find(|(key, _)| *key == name) {
            return value.parse().unwrap();
        }
    }
    panic!("this kernel does not count {name}")
}

/// Sends `bytes` over each of `count` TCP connections at once, to the guest of another end.
fn connections(mesh: &Mesh, from: usize, to: usize, count: usize, bytes: usize) {
    let address = SocketAddr::new(guest_address(to), 5001);
    let listener = mesh.guests[to].enter(|| TcpListener::bind(address).unwrap());
    let content = &vec![7; bytes];
    thread::scope(|scope| {
        scope.spawn(move || {
            let accepted: Vec<TcpStream> = (0..count).map(|_| listener.accept().unwrap().0).collect();
            thread::scope(|scope| {
                for mut stream in accepted {
                    scope.spawn(move || {
                        let got = std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
                        assert_eq!(got, u64::try_from(bytes).unwrap());
                    });
                }
            });
        });
        let streams: Vec<TcpStream> =
            mesh.guests[from].enter(|| (0..count).map(|_| TcpStream::connect(address).unwrap()).collect());
        for mut stream in streams {
            scope.spawn(move || stream.write_all(content).unwrap());
        }
    });
}

fn egress_bytes(stats: &[LaneStats]) -> Vec<u64> {
    stats.iter().map(|lane| lane.peers.iter().map(|(_, status)| status.sent_bytes).sum()).collect()
}

#[test]
fn four_connections_use_both_lanes_alike_and_none_is_reordered() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(&[2, 2]);
    for (from, to) in [(0, 1), (1, 0)] {
        let reordered = ["TCPSACKReorder", "TCPTSReorder", "TCPRenoReorder"];
        let seen = || reordered.iter().map(|name| counter(&mesh.guests[from], name)).sum::<u64>();
        let (before, seen_before) = ([from, to].map(|end| egress_bytes(&mesh.stats(end))), seen());
        connections(&mesh, from, to, 4, 6_000_000);
        let after = [from, to].map(|end| egress_bytes(&mesh.stats(end)));
        let carried = |end: usize| after[end].iter().zip(&before[end]).map(|(after, before)| after - before);
        let (most, least) = (carried(0).max().unwrap(), carried(0).min().unwrap());
        assert!(least * 5 >= most * 4, "{from} to {to}: one lane carried {least} bytes, the other {most}");
        let (most, least) = (carried(1).max().unwrap(), carried(1).min().unwrap());
        // How often a kernel acknowledges is up to how busy the machine is; by one lane alone the other would carry next to nothing.
        assert!(least * 8 >= most, "what comes back takes the lane of its connection: {least}, {most}");
        assert_eq!(seen() - seen_before, 0, "a kernel has seen segments of {from} overtake each other");
        assert!(mesh.stats(from).iter().map(|lane| lane.traffic.carried).sum::<u64>() < 100, "only first segments");
    }
}

/// One-way flows with numbered datagrams. At most `WINDOW` of a flow are under way.
struct Flows {
    received: Vec<AtomicU64>,
    late: AtomicU64,
    stop: AtomicBool,
}

const WINDOW: u64 = 8;

impl Flows {
    /// `count` flows of `numbers` datagrams each; returns how many arrived behind a later one, and how many in all.
    fn run(mesh: &Mesh, from: usize, to: usize, count: usize, numbers: u64, replies: bool) -> (u64, u64) {
        let flows = Self {
            received: (0..count).map(|_| AtomicU64::new(0)).collect(),
            late: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        };
        let total = AtomicU64::new(0);
        let at = SocketAddr::new(guest_address(to), 7000);
        let inbox = mesh.guests[to].enter(|| UdpSocket::bind(at).unwrap());
        inbox.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let sockets: Vec<UdpSocket> = mesh.guests[from]
            .enter(|| (0..count).map(|_| UdpSocket::bind(SocketAddr::new(guest_address(from), 0)).unwrap()).collect());
        thread::scope(|scope| {
            scope.spawn(|| flows.receive(&inbox, replies, &total));
            let senders: Vec<_> = sockets
                .iter()
                .enumerate()
                .map(|(flow, socket)| {
                    let flows = &flows;
                    scope.spawn(move || flows.send(flow, socket, at, numbers))
                })
                .collect();
            senders.into_iter().for_each(|sender| sender.join().unwrap());
            flows.stop.store(true, Ordering::SeqCst);
        });
        (flows.late.load(Ordering::SeqCst), total.load(Ordering::SeqCst))
    }

    fn send(&self, flow: usize, socket: &UdpSocket, to: SocketAddr, numbers: u64) {
        // What a thread sends that moves to another CPU may be overtaken on its way to the TAP already.
        pin_thread(flow % cpus()).unwrap();
        for number in 1..=numbers {
            let mut datagram = [0; 64];
            datagram[..8].copy_from_slice(&u64::try_from(flow).unwrap().to_be_bytes());
            datagram[8..16].copy_from_slice(&number.to_be_bytes());
            socket.send_to(&datagram, to).unwrap();
            // Lost ones are left behind after a while.
            for _ in 0..200 {
                if number.saturating_sub(self.received[flow].load(Ordering::SeqCst)) < WINDOW {
                    break;
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn receive(&self, inbox: &UdpSocket, replies: bool, total: &AtomicU64) {
        let mut buf = [0; 64];
        while !self.stop.load(Ordering::SeqCst) {
            let Ok((_, from)) = inbox.recv_from(&mut buf) else { continue };
            let flow = usize::try_from(u64::from_be_bytes(buf[..8].try_into().unwrap())).unwrap();
            let number = u64::from_be_bytes(buf[8..16].try_into().unwrap());
            total.fetch_add(1, Ordering::SeqCst);
            if self.received[flow].fetch_max(number, Ordering::SeqCst) >= number {
                self.late.fetch_add(1, Ordering::SeqCst);
            }
            if replies {
                inbox.send_to(&buf, from).unwrap();
            }
        }
    }
}

#[test]
fn datagrams_of_a_flow_arrive_in_order_with_two_lanes_and_with_fewer_at_the_other_end() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(&[2, 2, 1]);
    let carried = |end: usize| mesh.stats(end).iter().map(|lane| lane.traffic.carried).collect::<Vec<_>>();
    for (from, to, replies) in [(0, 1, false), (0, 1, true), (0, 2, false), (2, 0, false)] {
        // While the guest's kernel asks for an address, what waits for the answer is overtaken by what comes after it.
        mesh.guests[from].sh(&format!("ping -c1 -W5 {}", guest_address(to)));
        let before = [carried(from), carried(to)];
        let (late, total) = Flows::run(&mesh, from, to, 16, 300, replies);
        assert_eq!(late, 0, "{from} to {to}: behind a later one");
        assert!(total >= 16 * 300 * 9 / 10, "{from} to {to}: {total} arrived");
        let handed = carried(from)[0] - before[0][0];
        if (from, to) == (0, 2) {
            assert!(handed > 300, "what lane 1 reads for a peer of one lane is carried by lane 0: {handed}");
        } else {
            // What guests say to many by themselves goes to n2 too.
            assert!(handed < 30, "{from} to {to}: {handed} frames changed lanes for nothing");
        }
    }
    connections(&mesh, 0, 2, 4, 3_000_000);
    connections(&mesh, 2, 0, 4, 3_000_000);
    let strays: usize = mesh.stats(2).iter().map(|lane| lane.peers.len()).sum();
    assert_eq!(strays, 2, "one session with each of two peers");
    assert!((0..3).all(|end| mesh.drops(end, DropReason::LaneBusy) == 0));
}

#[test]
fn a_flooded_frame_arrives_once_whichever_lane_reads_it() {
    if !can_run() {
        return;
    }
    const FLOWS: usize = 32;
    let mesh = Mesh::new(&[2, 2, 1]);
    let inboxes = [1, 2].map(|end| {
        let inbox = mesh.guests[end].enter(|| UdpSocket::bind("0.0.0.0:7001").unwrap());
        inbox.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        inbox
    });
    mesh.guests[0].enter(|| {
        for flow in 0..FLOWS {
            let socket = UdpSocket::bind(SocketAddr::new(guest_address(0), 0)).unwrap();
            socket.set_broadcast(true).unwrap();
            socket.send_to(&[byte(flow)], "192.168.10.255:7001").unwrap();
        }
    });
    for (inbox, lanes) in inboxes.iter().zip([2, 1]) {
        let (mut got, mut buf) = (Vec::new(), [0]);
        while inbox.recv_from(&mut buf).is_ok() {
            got.push(buf[0]);
        }
        got.sort_unstable();
        assert_eq!(got, (0..byte(FLOWS)).collect::<Vec<_>>(), "the guest behind {lanes} lanes");
    }
}

#[test]
fn a_change_of_the_lane_count_is_applied_while_traffic_flows() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(&[2, 2]);
    let taps = |end: usize| mesh.stats(end).iter().map(|lane| lane.taps.len()).collect::<Vec<_>>();
    for lanes in [[2, 1], [2, 2], [1, 2]] {
        mesh.set(&lanes);
        mesh.wait_for_sessions(&lanes);
        let both = lanes == [2, 2];
        assert_eq!(taps(0), [1, usize::from(both)], "a lane that no peer uses has no queue");
        connections(&mesh, 0, 1, 4, 1_000_000);
        let bytes = egress_bytes(&mesh.stats(0));
        assert_eq!(bytes[1] > 1_500_000, both, "{lanes:?}: {bytes:?}");
    }
}

/// Requests with an answer, one after the other, until told to stop. Returns how many, and how many were not answered.
fn converse(socket: &UdpSocket, to: SocketAddr, stop: &AtomicBool) -> (u64, u64) {
    let (mut asked, mut lost) = (0, 0);
    while !stop.load(Ordering::SeqCst) {
        asked += 1;
        socket.send_to(&[1; 32], to).unwrap();
        lost += u64::from(socket.recv_from(&mut [0; 32]).is_err());
        thread::sleep(Duration::from_millis(1));
    }
    (asked, lost)
}

#[cfg(debug_assertions)]
#[test]
fn a_lane_that_dies_is_told_and_comes_back_while_all_else_goes_on() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(&[2, 2]);
    // The plain path, as the kernel has it.
    for end in [0, 1] {
        mesh.hosts[end].sh(&format!(
            "ip link add vv9 type vxlan id 9 dstport 4789 local {} remote {} dev wan\n\
             ip address add 192.168.9.{}/24 dev vv9; ip link set vv9 up",
            address(end),
            address(1 - end),
            end + 1
        ));
    }
    let echo = SocketAddr::new(guest_address(1), 7);
    let server = mesh.guests[1].enter(|| UdpSocket::bind(echo).unwrap());
    server.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let socket = talks_on_lane_0(&mesh, &server, echo);
    let stop = AtomicBool::new(false);
    let done = AtomicBool::new(false);
    let (talk, plain) = thread::scope(|scope| {
        scope.spawn(|| answer(&server, &done));
        let talk = scope.spawn(|| converse(&socket, echo, &stop));
        let plain = scope.spawn(|| mesh.hosts[0].sh("ping -q -c 200 -i 0.01 -W 2 192.168.9.2"));
        // Ends the others even if an assertion here fails.
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lane_1_dies_and_revives(&mesh)));
        let plain = plain.join().unwrap();
        stop.store(true, Ordering::SeqCst);
        let talk = talk.join().unwrap();
        done.store(true, Ordering::SeqCst);
        died.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (talk, plain)
    });
    // The kernel gives the number of a queue that closes to its last queue, and drops what it has for that one meanwhile
    // (`__tun_detach` in drivers/net/tun.c). Only one request is ever under way.
    assert!(talk.0 > 100 && talk.1 <= 1, "on the other lane {} of {} requests were lost", talk.1, talk.0);
    assert!(plain.contains(" 0% packet loss"), "{plain}");
    connections(&mesh, 0, 1, 4, 2_000_000);
    let bytes = egress_bytes(&mesh.stats(0));
    assert!(bytes[1] > 2_000_000, "the new lane carries its part: {bytes:?}");
}

#[cfg(debug_assertions)]
fn lane_1_dies_and_revives(mesh: &Mesh) {
    let node = &mesh.nodes[0];
    node.lanes.fail(1);
    let told = || node.events.list().iter().any(|event| event.kind == "lane-died");
    wait_until("the death is told", PATIENCE, || {
        mesh.hosts[0].enter(|| node.lanes.tend(node));
        told()
    });
    wait_until("both ends have all sessions again", PATIENCE, || {
        // A lane that could not begin at once, while the dead one still had its port, begins with the next look.
        mesh.hosts[0].enter(|| node.lanes.tend(node));
        let handshakes = |lane: &LaneStats| lane.tunnels.responses_accepted + lane.tunnels.initiations_accepted;
        let fresh = mesh.stats(0).iter().any(|lane| lane.lane == 1 && handshakes(lane) > 0);
        fresh && [0, 1].iter().all(|end| mesh.sessions(*end) == 2)
    });
}

/// A socket whose datagrams to `echo` lane 0 carries.
fn talks_on_lane_0(mesh: &Mesh, server: &UdpSocket, echo: SocketAddr) -> UdpSocket {
    let sealed = || mesh.stats(0).iter().map(|lane| lane.traffic.egress_frames).collect::<Vec<_>>();
    for _ in 0..64 {
        let socket = mesh.guests[0].enter(|| UdpSocket::bind(SocketAddr::new(guest_address(0), 0)).unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        socket.send_to(&[0; 32], echo).unwrap();
        let _ = server.recv_from(&mut [0; 32]);
        let before = sealed();
        for _ in 0..10 {
            socket.send_to(&[0; 32], echo).unwrap();
            let _ = server.recv_from(&mut [0; 32]);
        }
        let after = sealed();
        if after[0] - before[0] >= 10 && after[1] - before[1] < 5 {
            return socket;
        }
    }
    panic!("64 flows, and none on lane 0")
}

fn answer(server: &UdpSocket, stop: &AtomicBool) {
    let mut buf = [0; 32];
    while !stop.load(Ordering::SeqCst) {
        if let Ok((_, from)) = server.recv_from(&mut buf) {
            server.send_to(&buf, from).unwrap();
        }
    }
}

#[test]
fn what_the_queue_of_a_tap_has_no_room_for_is_counted() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    lab.settled();
    wait_until("guests reach each other", Duration::from_secs(10), || lab.answers("a-1", "b-1"));
    let dropped = || {
        let said = lab.ctl("exec", &["a-1", "--", "meshctl", "status", "-o", "json"]);
        let status: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        status["drops"]["tap-overflow"].as_u64().unwrap_or_default()
    };
    assert_eq!(dropped(), 0);
    let ((guest, _), (_, to), daemon) = (lab.guest("a-1"), lab.guest("b-1"), lab.home.running("a-1").unwrap());
    let mut burst = shell::command(Some(&guest), "bash");
    // Three times what the queue holds (`tx_queue_len`, 1000), while nobody reads it.
    burst.args(["-ec", &format!("exec 3>/dev/udp/{to}/9; for i in $(seq 3000); do echo x >&3; done")]);
    assert!(daemon.signal(libc::SIGSTOP).unwrap());
    let sent = shell::run(burst);
    assert!(daemon.signal(libc::SIGCONT).unwrap());
    sent.unwrap();
    let lost = dropped();
    assert!((1000..3000).contains(&lost), "{lost} of 3000");
}
