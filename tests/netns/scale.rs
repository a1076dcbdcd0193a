//! What many cost: a lane with five hundred peers, a node with five hundred networks. Measurements that take a minute, so they run when
//! asked for: `cargo test --release --test netns -- --ignored --nocapture scale::`. Bounds are loose enough for a compiler that does not
//! optimise and a machine that does other things as well; the figures are what is printed.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vxmesh::clock::{self, mono, wall};
use vxmesh::forward::Spread;
use vxmesh::linux::poll::Poll;
use vxmesh::meshd::lane::{self, Lane, LaneConfig, Setup};
use vxmesh::policy::offload::Offload;
use vxmesh::table::Suite;
use vxmesh::tunnel::{HEADROOM, PeerConfig, Random, TAILROOM, Tunnels, public_key};
use vxmesh::types::{PeerSlot, SecretKey};

use crate::harness::{Space, can_run, wait_until};
use crate::mesh::{MESHCTL, MESHD};

const PEERS: u16 = 500;
const NETWORKS: u16 = 500;
/// How long nothing but waiting is measured.
const IDLE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(60);
/// A part of a core that an idle node may take at most here. The promise is 0.005 for a release build.
const LOOSE: f64 = if cfg!(debug_assertions) { 0.05 } else { 0.01 };

struct System;

impl Random for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        clock::fill_random(bytes);
    }
}

fn secret(number: u16) -> SecretKey {
    let [high, low] = number.to_be_bytes();
    SecretKey::from_bytes([[high, low, 1, 7]; 8].concat().try_into().unwrap())
}

/// Each peer has an address of its own, as sources are limited by address under load.
fn address(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([127, 1, high, low.saturating_add(1)], 40_000 + number))
}

fn node() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 51_820))
}

/// What the node knows of its peers.
fn setup(keepalive: Option<Duration>) -> Arc<Setup> {
    let peer = |number| PeerConfig {
        slot: PeerSlot(number),
        public_key: public_key(&secret(number)),
        psk: None,
        suite: Suite::Chacha,
        endpoint: Some(address(number)),
        keepalive,
        changing: Vec::new(),
    };
    Arc::new(Setup { peers: (0..PEERS).map(peer).collect(), ..Setup::default() })
}

/// One peer: its socket and its tunnel to the node.
struct Peer {
    socket: UdpSocket,
    tunnels: Tunnels,
}

impl Peer {
    fn new(number: u16) -> Self {
        let socket = UdpSocket::bind(address(number)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut tunnels = Tunnels::new(secret(number), Box::new(System), mono());
        tunnels.set_peers(vec![Self::node(None)], mono());
        Self { socket, tunnels }
    }

    fn node(keepalive: Option<Duration>) -> PeerConfig {
        let (slot, public_key) = (PeerSlot(0), public_key(&secret(PEERS)));
        PeerConfig {
            slot,
            public_key,
            psk: None,
            suite: Suite::Chacha,
            endpoint: Some(node()),
            keepalive,
            changing: Vec::new(),
        }
    }

    /// Calls the node without having anything to say.
    fn call(&mut self) {
        self.tunnels.seal(PeerSlot(0), &mut [0; HEADROOM + TAILROOM], 0, mono());
    }

    fn send(&mut self) {
        self.tunnels.handle_timeout(mono(), wall());
        while let Some(transmit) = self.tunnels.poll_transmit() {
            let _ = self.socket.send_to(&transmit.datagram, transmit.to);
        }
        while self.tunnels.poll_event().is_some() {}
    }

    fn receive(&mut self) {
        let mut datagram = [0; 2048];
        while let Ok((len, from)) = self.socket.recv_from(&mut datagram) {
            self.tunnels.open(from, &mut datagram[..len], mono(), wall());
        }
        self.send();
    }
}

/// All peers on one thread, until told to stop. They call when `call` is set, and keep alive from when `keepalive` is.
fn peers(mut peers: Vec<Peer>, call: &AtomicBool, keepalive: &AtomicBool, stop: &AtomicBool) {
    let mut poll = Poll::new().unwrap();
    for (token, peer) in (0..).zip(&peers) {
        poll.add(peer.socket.as_fd(), token).unwrap();
    }
    while !stop.load(Ordering::Relaxed) {
        if call.swap(false, Ordering::Relaxed) {
            peers.iter_mut().for_each(Peer::call);
        }
        if keepalive.swap(false, Ordering::Relaxed) {
            let every = Some(Duration::from_secs(25));
            peers.iter_mut().for_each(|peer| peer.tunnels.set_peers(vec![Peer::node(every)], mono()));
        }
        poll.wait(Some(Duration::from_millis(50))).unwrap();
        let ready: Vec<u64> = poll.ready().collect();
        ready.into_iter().for_each(|token| peers[usize::try_from(token).unwrap()].receive());
        let now = mono();
        for peer in peers.iter_mut().filter(|peer| peer.tunnels.poll_timeout().is_some_and(|due| due <= now)) {
            peer.send();
        }
    }
}

/// CPU time of the one thread of this process that has this name (`/proc/self/task/*/schedstat`, nanoseconds).
fn thread_time(name: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named = |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
    let task = tasks.filter(named).last().expect("the thread runs");
    let text = std::fs::read_to_string(task.join("schedstat")).unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// The part of a core that `time` tells of in `length`.
fn share(length: Duration, time: impl Fn() -> Duration) -> f64 {
    let (before, start) = (time(), mono());
    std::thread::sleep(length);
    (time() - before).as_secs_f64() / mono().since(start).as_secs_f64()
}

fn up(lane: &Lane) -> usize {
    lane.stats().unwrap().peers.iter().filter(|(_, status)| status.up).count()
}

#[test]
#[ignore = "a measurement of a minute"]
fn five_hundred_peers_call_at_once_and_then_cost_next_to_nothing() {
    if !can_run() {
        return;
    }
    let space = Space::new("peers");
    let (call, keepalive, stop) = (AtomicBool::new(true), AtomicBool::new(false), AtomicBool::new(false));
    let all = space.enter(|| (0..PEERS).map(Peer::new).collect());
    // A number that no other test gives its lane: its thread is found by it.
    let spread = Spread::new(77, 1, &Arc::default());
    let offload = Offload::default();
    let config = LaneConfig { spread, listen: node(), secret: secret(PEERS), cpu: None, offload };
    let lane = space.enter(|| lane::spawn(config).unwrap());
    lane.set(setup(None));
    wait_until("the lane knows its peers", PATIENCE, || lane.stats().unwrap().peers.len() == usize::from(PEERS));
    std::thread::scope(|scope| {
        let time = || thread_time("lane-77");
        let (before, start) = (time(), mono());
        scope.spawn(|| peers(all, &call, &keepalive, &stop));
        wait_until("all are up", PATIENCE, || up(&lane) == usize::from(PEERS));
        let (storm, cpu) = (mono().since(start), time() - before);
        let handshakes = lane.stats().unwrap().tunnels.initiations_accepted;
        println!("storm: {PEERS} peers up after {storm:.2?}; {handshakes} handshakes, {cpu:.1?} of CPU");
        let quiet = share(IDLE, time);
        println!("idle, no keepalives: {:.3} % of a core", quiet * 100.0);
        keepalive.store(true, Ordering::Relaxed);
        lane.set(setup(Some(Duration::from_secs(25))));
        std::thread::sleep(Duration::from_secs(1));
        let alive = share(Duration::from_secs(25), time);
        let sent = lane.stats().unwrap().tunnels.keepalives_sent;
        println!("idle, keepalives every 25 s: {:.3} % of a core, {sent} sent", alive * 100.0);
        assert_eq!(up(&lane), usize::from(PEERS));
        stop.store(true, Ordering::Relaxed);
        assert!(storm < Duration::from_secs(30), "within seconds: {storm:?}");
        assert!(quiet < LOOSE && alive < LOOSE, "{quiet} {alive}");
    });
    lane.stop().unwrap();
}

/// A `meshd.toml` and table files of networks with one guest here, one behind a tunnel and one in clear.
fn networks(folder: &std::path::Path) -> PathBuf {
    let tables = folder.join("table/default");
    std::fs::create_dir_all(&tables).unwrap();
    for vni in 1..=NETWORKS {
        let (high, low) = (vni / 250, vni % 250);
        let row = |kind: &str, at: &str, last: u8| {
            let arp = format!("10.{high}.{low}.{last}");
            format!(
                "\"02:08:20:{kind}:{high:02x}:{low:02x}\": {{\"ip\": \"{at}\", \"arp\": \"{arp}\", \"port\": 4789}}"
            )
        };
        let rows = [row("0a", "10.9.0.1", 1), row("0b", "203.0.113.5", 2), row("0c", "10.9.0.2", 3)].join(",\n");
        std::fs::write(tables.join(format!("{vni}.json")), format!("{{{rows}}}\n")).unwrap();
    }
    let (root, key) = (folder.display(), public_key(&secret(1)));
    let config = folder.join("meshd.toml");
    let text = format!(
        "[node]\nname = 'n-1'\n[underlay]\nadmin = 'eth0'\nexternal = 'eth0'\n[offload]\nudp_gro = 'off'\n\
         [paths]\nkeys = '{root}/keys'\nstate = '{root}/state'\nrun = '{root}/run'\n\
         [table]\nsource = 'files'\ndir = '{root}/table'\nunderlay = ['10.9.0.0/24']\n\
         [[table.peer]]\nname = 'b-1'\nvtep = '203.0.113.5'\npublic_key = '{key}'\n"
    );
    std::fs::write(&config, text).unwrap();
    config
}

/// CPU time of a process and of what it has waited for (`/proc/PID/stat`, hundredths of a second).
fn process_time(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    Duration::from_millis(10) * fields[11..15].iter().map(|ticks| ticks.parse::<u32>().unwrap()).sum()
}

#[test]
#[ignore = "a measurement of two minutes"]
fn five_hundred_networks_cost_next_to_nothing_once_they_are_there() {
    if !can_run() {
        return;
    }
    let host = Space::new("nets");
    host.sh("ip link add eth0 type veth peer name wire; ip link set wire up; ip link set eth0 up; ip address add 10.9.0.1/24 dev eth0");
    let folder = tempfile::tempdir().unwrap();
    let config = networks(folder.path());
    let start = mono();
    let mut command = host.command(MESHD);
    let daemon = host.start(command.args(["run", "--config"]).arg(config).stderr(Stdio::null()));
    let socket = folder.path().join("run/meshd.sock");
    let status = || {
        let ended = host.command(MESHCTL).args(["status", "-o", "json", "--socket"]).arg(&socket).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&ended.stdout).unwrap_or_default()
    };
    wait_until("all networks are built", PATIENCE * 2, || {
        status()["networks"].as_array().is_some_and(|networks| networks.len() == usize::from(NETWORKS))
    });
    println!("{NETWORKS} networks after {:.1?}", mono().since(start));
    // The kernel itself goes on telling of new devices for some seconds.
    let time = || process_time(daemon.pid());
    wait_until("the node is quiet", PATIENCE * 2, || share(Duration::from_secs(5), time) < 0.002);
    let idle = share(Duration::from_secs(90), time);
    println!("idle: {:.3} % of a core", idle * 100.0);
    let features = status()["offload"]["features"].clone();
    let gro = features.as_array().unwrap().iter().find(|feature| feature["name"] == "udp_gro").unwrap();
    assert!(gro["state"] == "off" && gro["chosen"] == true, "{gro}");
    assert!(idle < LOOSE, "{idle}");
}
