//! Lanes on the real kernel: two nodes in two PDCs, each with a bridge, a TAP and a guest.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use vxmesh::forward::{DropReason, Slots, Spread};
use vxmesh::linux::tap::{self, Offloads, Tap, TapError};
use vxmesh::linux::udp::UdpError;
use vxmesh::meshd::lane::{self, Lane, LaneConfig, LaneError, LaneEvent, LaneStats, Setup};
use vxmesh::node::paths::{Own, decide_all};
use vxmesh::node::plan::{Local, Underlay};
use vxmesh::policy::offload::Offload;
use vxmesh::policy::path::Path;
use vxmesh::probe::Phase;
use vxmesh::table::{Flood, Foreign, Learning, NetKey, Network, Peer, Row, RowKey, Slice, Suite};
use vxmesh::tunnel::public_key;
use vxmesh::types::{IfName, Mtu, NetSlot, Psk, SecretKey, UdpPort, Version};

use crate::harness::{Background, Space, cable, can_run, guest, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);
/// A function, because a constant of a type that is wiped on drop would be copied at each use.
pub(crate) fn psk() -> Psk {
    Psk::from_bytes([9; 32])
}

pub(crate) const TAP: &str = "vt10.12b5";
pub(crate) const MACS: [&str; 2] = ["02:00:00:00:0a:01", "02:00:00:00:0b:01"];

fn net() -> NetKey {
    "default/10".parse().unwrap()
}

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

pub(crate) fn secret(end: usize) -> SecretKey {
    SecretKey::from_bytes([u8::try_from(end).unwrap() + 7; 32])
}

fn address(end: usize) -> IpAddr {
    IpAddr::from([10, 0, 0, u8::try_from(end).unwrap() + 1])
}

/// The slice of one end: node `n0` in PDC `p0`, node `n1` in PDC `p1`, one guest each.
pub(crate) fn slice(end: usize, flood: Flood) -> Slice {
    let node = |end: usize| format!("n{end}").parse().unwrap();
    let other = 1 - end;
    let mut slice = Slice::empty(Version::default(), node(end), format!("p{end}").parse().unwrap());
    let peer = Peer {
        pdc: format!("p{other}").parse().unwrap(),
        public_key: Some(public_key(&secret(other))),
        psk: Some(psk()),
        suite: Suite::Chacha,
        admin: None,
        external: Some(address(other)),
        listen: UdpPort::try_from(51_820).unwrap(),
        lanes: 1,
        changing: Vec::new(),
        foreign: None,
    };
    slice.peers = BTreeMap::from([(node(other), peer)]);
    let network = Network {
        name: "blue".parse().unwrap(),
        udp_port: UdpPort::try_from(4789).unwrap(),
        cidr: vec!["192.168.10.0/24".parse().unwrap()],
        gateway: Vec::new(),
        mtu: None,
        guest_mtu: Mtu::try_from(1400).unwrap(),
        group_rate: None,
        flood,
        learning: Learning::Declared,
        members: BTreeMap::from([(node(other), Path::Tunnel)]),
    };
    slice.networks = BTreeMap::from([(net(), network)]);
    for (at, mac) in MACS.iter().enumerate() {
        let key: RowKey = format!("default/10/-/{mac}").parse().unwrap();
        let arp = [format!("192.168.10.{}", 11 + at).parse().unwrap()].into();
        let nd = [format!("fd00::{}", 11 + at).parse().unwrap()].into();
        slice.rows.insert(key, Row { arp, nd, ..Row::of(node(at)) });
    }
    slice
}

pub(crate) fn setup(slice: &Slice, end: usize) -> Arc<Setup> {
    setup_behind(slice, end, 1500)
}

/// What a lane forwards by behind an interface of this MTU.
fn setup_behind(slice: &Slice, end: usize, mtu: u16) -> Arc<Setup> {
    let mut slots = Slots::default();
    slots.assign(slice).unwrap();
    let own = Own { admin: None, external: Some(address(end)) };
    let external = Underlay { interface: name("wan"), address: address(end), mtu };
    let local = Local { external: Some(external), ..Local::default() };
    Arc::new(Setup::build(slice, &decide_all(slice, own), &slots, &local, 0))
}

pub(crate) fn spawn(host: &Space, end: usize) -> Lane {
    spawn_with(host, end, Offload::default())
}

fn spawn_with(host: &Space, end: usize, offload: Offload) -> Lane {
    let listen = SocketAddr::new("::".parse().unwrap(), 51_820);
    let spread = Spread::default();
    host.enter(|| lane::spawn(LaneConfig { spread, listen, secret: secret(end), cpu: Some(0), offload }).unwrap())
}

/// Makes the TAP of a node and puts it on its bridge.
pub(crate) fn make_tap(host: &Space) {
    host.enter(|| tap::create_persistent(&name(TAP)).unwrap());
    host.sh(&format!("ip link set {TAP} mtu 1400 master br0 up"));
}

pub(crate) struct Mesh {
    lanes: Vec<Lane>,
    pub(crate) guests: Vec<Space>,
    pub(crate) hosts: Vec<Space>,
}

impl Mesh {
    pub(crate) fn new(flood: Flood) -> Self {
        Self::with(flood, Offload::default())
    }

    pub(crate) fn with(flood: Flood, offload: Offload) -> Self {
        let hosts = vec![Space::new("n0"), Space::new("n1")];
        cable(&hosts[0], "wan", &hosts[1], "wan");
        let (mut lanes, mut guests) = (Vec::new(), Vec::new());
        for (end, host) in hosts.iter().enumerate() {
            host.sh(&format!(
                "ip address add {}/24 dev wan; ip link add br0 type bridge; ip link set br0 up",
                address(end)
            ));
            make_tap(host);
            let addresses = [format!("192.168.10.{}/24", 11 + end), format!("fd00::{}/64", 11 + end)];
            let guest = guest(host, "br0", "g1", MACS[end], &addresses.each_ref().map(String::as_str));
            guest.sh("ip link set eth0 mtu 1400");
            guests.push(guest);
            let lane = spawn_with(host, end, offload);
            lane.set(setup(&slice(end, flood), end));
            lanes.push(lane);
        }
        Self { lanes, guests, hosts }
    }

    pub(crate) fn wait_for_ping(&self) {
        wait_until("the guests ping each other", PATIENCE, || self.guests[0].holds("ping -c1 -W1 192.168.10.12 >&2"));
    }

    /// One end forwards by this slice from now on.
    pub(crate) fn set(&self, end: usize, slice: &Slice) {
        self.lanes[end].set(setup(slice, end));
    }

    /// Both ends use this suite from now on.
    pub(crate) fn set_suite(&self, suite: Suite) {
        for end in [0, 1] {
            let mut changed = slice(end, Flood::Suppress);
            changed.peers.values_mut().for_each(|peer| peer.suite = suite);
            self.lanes[end].set(setup(&changed, end));
        }
    }

    pub(crate) fn stats(&self, end: usize) -> LaneStats {
        self.lanes[end].stats().unwrap()
    }
}

#[test]
fn guests_in_two_pdcs_are_on_one_switch() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(Flood::Suppress);
    mesh.wait_for_ping();
    for (guest, there) in [(0, 12), (1, 11)] {
        mesh.guests[guest].sh(&format!("ping -c20 -i0.01 -W2 192.168.10.{there}"));
        mesh.guests[guest].sh(&format!("ping -c50 -i0.005 -W2 -M do -s 1372 192.168.10.{there}"));
        mesh.guests[guest].sh(&format!("ping -c20 -i0.01 -W2 fd00::{there}"));
    }
    for end in [0, 1] {
        let stats = mesh.stats(end);
        assert!(stats.traffic.answered > 0, "ARP and ND are answered here: {stats:?}");
        assert!(stats.traffic.ingress_frames >= 180, "{stats:?}");
        assert!(stats.peers[0].1.up, "{stats:?}");
        assert_eq!(stats.drops.get(DropReason::DatagramRefused), 0, "{stats:?}");
        assert_eq!(stats.taps, [(NetSlot(0), name(TAP), true)]);
    }
    for lane in mesh.lanes {
        assert!(!lane.is_dead());
        lane.stop().unwrap();
    }
}

#[test]
fn the_wire_sees_no_address_of_a_guest() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(Flood::Replicate);
    mesh.wait_for_ping();
    // No rule matches a frame that is not WireGuard's UDP port: every other packet of the wire is counted.
    mesh.hosts[0].sh(
        "nft add table netdev t; nft 'add chain netdev t in { type filter hook ingress device wan priority 0; }'; \
         nft add rule netdev t in udp dport 51820 counter accept; nft add rule netdev t in ether type arp accept; \
         nft add rule netdev t in icmpv6 type 133-143 accept; nft add rule netdev t in counter",
    );
    mesh.guests[1].sh("ping -c50 -i0.01 -W2 192.168.10.11");
    let rules = mesh.hosts[0].sh("nft list table netdev t");
    let counts: Vec<u64> = rules
        .lines()
        .filter_map(|line| line.split_once("counter packets ")?.1.split(' ').next()?.parse().ok())
        .collect();
    assert!(counts.len() == 2 && counts[0] >= 50 && counts[1] == 0, "{rules}");
}

#[test]
fn a_tap_that_goes_and_comes_back_heals() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(Flood::Suppress);
    mesh.wait_for_ping();
    mesh.hosts[1].sh(&format!("ip link delete {TAP}"));
    wait_until("the lane notices", PATIENCE, || !mesh.stats(1).taps[0].2);
    let told = || mesh.lanes[1].events().try_iter().any(|event| matches!(event, LaneEvent::TapFailed(..)));
    wait_until("it is told where it stays away", PATIENCE, told);
    assert!(!mesh.hosts[1].holds(&format!("ip link show {TAP}")), "the lane does not make one itself");
    make_tap(&mesh.hosts[1]);
    mesh.wait_for_ping();
}

#[test]
fn a_new_setup_takes_a_peer_away_at_once() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(Flood::Suppress);
    mesh.wait_for_ping();
    let mut without = slice(0, Flood::Suppress);
    without.peers.clear();
    without.rows.retain(|_, row| row.node == without.node);
    without.networks.values_mut().for_each(|network| network.members.clear());
    mesh.lanes[0].set(setup(&without, 0));
    wait_until("the peer is gone", PATIENCE, || mesh.stats(0).peers.is_empty());
    assert!(!mesh.guests[1].holds("ping -c3 -i0.1 -W1 192.168.10.11 >&2"));
    assert!(mesh.stats(0).drops.get(DropReason::DatagramRefused) > 0);
    mesh.lanes[0].set(setup(&slice(0, Flood::Suppress), 0));
    mesh.wait_for_ping();
}

#[test]
fn a_change_of_suite_loses_no_packet() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new(Flood::Suppress);
    mesh.wait_for_ping();
    let pings = std::thread::scope(|scope| {
        let pings = scope.spawn(|| mesh.guests[0].sh("ping -c200 -i0.01 -W2 192.168.10.12"));
        for end in [0, 1] {
            // The ends learn of it one after the other.
            std::thread::sleep(Duration::from_millis(500));
            let mut aes = slice(end, Flood::Suppress);
            aes.peers.values_mut().for_each(|peer| peer.suite = Suite::Aesgcm);
            mesh.lanes[end].set(setup(&aes, end));
        }
        pings.join().unwrap()
    });
    assert!(pings.contains("200 received"), "{pings}");
    assert_eq!(mesh.stats(0).peers[0].1.suite, Suite::Aesgcm);
    assert!(mesh.stats(0).tunnels.initiations_accepted + mesh.stats(0).tunnels.responses_accepted >= 2);
}

#[test]
fn hundreds_of_taps_are_opened_and_closed_by_difference() {
    if !can_run() {
        return;
    }
    let host = Space::new("many");
    let lane = spawn(&host, 0);
    let taps: Vec<(NetSlot, IfName)> = (0..300).map(|n| (NetSlot(n), name(&format!("vt{}.1", n + 1)))).collect();
    host.enter(|| taps.iter().for_each(|(_, name)| tap::create_persistent(name).unwrap()));
    let open = |lane: &Lane| lane.stats().unwrap().taps.iter().filter(|(_, _, open)| *open).count();
    lane.set(Arc::new(Setup { taps: taps.clone(), ..Setup::default() }));
    wait_until("all are open", PATIENCE, || open(&lane) == 300);
    lane.set(Arc::new(Setup { taps: taps[100..150].to_vec(), ..Setup::default() }));
    wait_until("fifty are open", PATIENCE, || open(&lane) == 50);
    assert_eq!(lane.stats().unwrap().taps[0].0, NetSlot(100));
    lane.stop().unwrap();
}

#[test]
fn a_taken_udp_port_is_named() {
    if !can_run() {
        return;
    }
    let host = Space::new("taken");
    let error = host.enter(|| {
        let _other = UdpSocket::bind("[::]:51820").unwrap();
        let listen = SocketAddr::new("::".parse().unwrap(), 51_820);
        let (spread, offload) = (Spread::default(), Offload::default());
        lane::spawn(LaneConfig { spread, listen, secret: secret(0), cpu: None, offload }).unwrap_err()
    });
    assert!(matches!(error, LaneError::Udp(UdpError::Taken(_))), "{error}");
    assert!(error.to_string().contains("UDP port 51820"), "{error}");
}

#[test]
fn attaching_makes_no_device_and_takes_no_foreign_one() {
    if !can_run() {
        return;
    }
    let host = Space::new("foreign");
    host.sh("ip link add vt1.1 type bridge; ip tuntap add vt2.1 mode tap");
    host.enter(|| {
        assert!(matches!(Tap::attach(&name("vt3.1"), Offloads::TcpUdp), Err(TapError::Missing(_))));
        assert!(matches!(Tap::attach(&name("vt1.1"), Offloads::TcpUdp), Err(TapError::Foreign(_))));
        assert!(
            matches!(Tap::attach(&name("vt2.1"), Offloads::TcpUdp), Err(TapError::Foreign(_))),
            "not a multi-queue one"
        );
        tap::create_persistent(&name("vt4.1")).unwrap();
        tap::create_persistent(&name("vt4.1")).unwrap();
        let (_first, _second) = (
            Tap::attach(&name("vt4.1"), Offloads::TcpUdp).unwrap(),
            Tap::attach(&name("vt4.1"), Offloads::TcpUdp).unwrap(),
        );
    });
    assert!(!host.holds("ip link show vt3.1"));
    host.sh("ip link show vt4.1");
    host.enter(|| {
        tap::remove(&name("vt4.1")).unwrap();
        tap::remove(&name("vt4.1")).unwrap();
    });
    assert!(!host.holds("ip link show vt4.1"));
}

/// Ends `wireguard-go` when dropped and keeps the key files while it lives.
struct WireguardGo {
    _process: Background,
    _keys: tempfile::TempDir,
}

/// A WireGuard interface with a kernel vxlan device on top, on the second host: what a foreign peer is.
fn foreign_end(host: &Space) -> WireguardGo {
    // The control socket's name is the machine's, not the namespace's.
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let interface = format!("wgo{}x{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let process = host.start(host.command("wireguard-go").args(["-f", &interface]));
    host.wait_for_wireguard_go(&interface);
    let keys = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = keys.path().join(file);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (secret_file, psk_file) = (write("secret", &secret(1).to_text()), write("psk", &psk().to_text()));
    let (peer, here) = (public_key(&secret(0)), address(0));
    host.sh(&format!(
        "wg set {interface} listen-port 51820 private-key {secret_file} peer '{peer}' preshared-key {psk_file} \
         allowed-ips 10.255.0.1/32 endpoint {here}:51820
         ip link set {interface} mtu 1450 up
         ip address add 10.255.0.9/32 dev {interface}
         ip route add 10.255.0.1/32 dev {interface}
         ip link add vx type vxlan id 10 dstport 4789 local 10.255.0.9 remote 10.255.0.1
         ip link add br0 type bridge
         ip link set br0 up
         ip link set vx mtu 1400 master br0 up"
    ));
    WireguardGo { _process: process, _keys: keys }
}

/// True where the program is there; loud where it is not.
fn has_wireguard_go() -> bool {
    let there = Command::new("wireguard-go").arg("--version").output().is_ok();
    if !there {
        eprintln!("SKIPPED: 'wireguard-go' is not installed (apt install wireguard-go wireguard-tools)");
    }
    there
}

/// The slice of the first end where the second one is foreign.
fn foreign_slice() -> Slice {
    let mut slice = slice(0, Flood::Suppress);
    slice.tunnel_address = Some("10.255.0.1".parse().unwrap());
    let there = slice.peers.values_mut().next().unwrap();
    let endpoint = Some(SocketAddr::new(address(1), 51_820));
    there.foreign = Some(Foreign { tunnel_address: "10.255.0.9".parse().unwrap(), endpoint });
    slice
}

/// A lane and a foreign peer whose guests have reached each other.
struct Foreigner {
    lane: Lane,
    guests: [Space; 2],
    hosts: [Space; 2],
    _wireguard: WireguardGo,
}

impl Foreigner {
    fn new() -> Self {
        let hosts = [Space::new("n0"), Space::new("n1")];
        cable(&hosts[0], "wan", &hosts[1], "wan");
        for (end, host) in hosts.iter().enumerate() {
            host.sh(&format!("ip address add {}/24 dev wan; ip link set wan mtu 1600", address(end)));
        }
        hosts[0].sh("ip link add br0 type bridge; ip link set br0 up");
        make_tap(&hosts[0]);
        let wireguard = foreign_end(&hosts[1]);
        let guests = [0, 1].map(|end| {
            let inside = guest(&hosts[end], "br0", "g1", MACS[end], &[&format!("192.168.10.{}/24", 11 + end)]);
            inside.sh("ip link set eth0 mtu 1400");
            inside
        });
        let lane = spawn(&hosts[0], 0);
        lane.set(setup_behind(&foreign_slice(), 0, 1600));
        wait_until("the guests ping each other", PATIENCE, || guests[0].holds("ping -c1 -W1 192.168.10.12 >&2"));
        Self { lane, guests, hosts, _wireguard: wireguard }
    }
}

#[test]
fn wireguard_go_with_a_kernel_vxlan_device_is_a_peer_of_form_a() {
    if !can_run() || !has_wireguard_go() {
        return;
    }
    let Foreigner { lane, guests, .. } = &Foreigner::new();
    for (guest, there) in [(0, 12), (1, 11)] {
        guests[guest].sh(&format!("ping -c50 -i0.005 -W2 -M do -s 1372 192.168.10.{there}"));
    }
    guests[1].sh("ip neighbour flush dev eth0; ping -c3 -i0.1 -W2 192.168.10.11");
    let stats = lane.stats().unwrap();
    assert_eq!(stats.drops.get(DropReason::FormWrong) + stats.drops.get(DropReason::OuterMalformed), 0, "{stats:?}");
    guests[1].sh("ip link set eth0 address 02:00:00:00:0b:99");
    assert!(!guests[1].holds("ping -c2 -i0.1 -W1 192.168.10.11 >&2"), "a guest that no row knows");
    assert!(lane.stats().unwrap().drops.get(DropReason::SourceUnknown) > 0);
}

#[test]
fn the_path_to_a_foreign_peer_is_measured_by_its_answers_to_pings() {
    if !can_run() || !has_wireguard_go() {
        return;
    }
    let Foreigner { lane, guests, hosts, .. } = &Foreigner::new();
    let path = || lane.stats().unwrap().paths[0].1;
    let knows = |size| (path().size, path().phase) == (size, Phase::Complete);
    wait_until("the whole link is known", PATIENCE, || knows(1600));
    // Datagrams of more than 1200 bytes: the path is in use.
    let _traffic = guests[0].start(guests[0].command("ping").args(["-q", "-i0.05", "-s1200", "192.168.10.12"]));
    hosts[1].sh("nft add table inet t; nft 'add chain inet t in { type filter hook input priority 0; }'
         nft add rule inet t in ip length '> 1433' drop");
    wait_until("a link that drops what is larger is known", Duration::from_secs(10), || knows(1433));
    // Without answers nothing is known, and what was known stays.
    hosts[1].sh("nft add table inet t; nft 'add chain inet t in { type filter hook input priority 0; }'
         nft add rule inet t in icmp type echo-request drop");
    wait_until("the silence is noticed", Duration::from_secs(10), || path().phase == Phase::Error);
    assert_eq!(path().size, 1433);
    lane.set(setup_behind(&foreign_slice(), 0, 1400));
    wait_until("the interface counts all the same", PATIENCE, || path().size == 1400);
    assert!(guests[0].holds("ping -c20 -i0.01 -W2 -M do -s 1200 192.168.10.12"), "frames that fit go on");
}
