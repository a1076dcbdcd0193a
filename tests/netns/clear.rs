//! No frame of a guest crosses PDCs in clear, whatever breaks. Guests talk all the time, IPv4, IPv6 and neither, while one thing after
//! the other goes wrong under them; ears on every wire. Each scene ends when what it broke works again, so that the silence of
//! the wires is never that of a dead lab.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vxmesh::lab::classify::{Class, MAGIC};
use vxmesh::lab::layout::{Guest, WireKind};
use vxmesh::lab::progress::Progress;
use vxmesh::lab::watch::Seen;
use vxmesh::lab::{daemons, shell};
use vxmesh::node::enroll::{SLICE, WIREGUARD_KEY};
use vxmesh::types::Mac;

use crate::frames::{Plug, UDP, ethernet, inner, ip, udp};
use crate::harness::{can_run, wait_until};
use crate::labs::Lab;

const LIMIT: Duration = Duration::from_secs(20);
/// Rounds of talk in which a scene listens to what it has broken; in each every guest says four things to every other.
const ROUNDS: u64 = 40;
/// Between two rounds.
const GAP: Duration = Duration::from_millis(10);

/// Guests that talk, each to each and to all.
struct Talk {
    end: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Talk {
    fn start(lab: &Lab) -> Self {
        let layout = lab.layout();
        let guests: Vec<Guest> = layout.guests().map(|(_, guest)| guest.clone()).collect();
        let says: Vec<(Plug, Vec<Vec<u8>>)> =
            guests.iter().map(|guest| (Plug::at(&guest.namespace, "eth0"), words(guest, &guests))).collect();
        let (end, rounds) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (ended, counted) = (Arc::clone(&end), Arc::clone(&rounds));
        let talk = move || {
            while !ended.load(Ordering::Relaxed) {
                for (plug, words) in &says {
                    words.iter().for_each(|frame| plug.send(frame));
                }
                counted.fetch_add(1, Ordering::Relaxed);
                thread::sleep(GAP);
            }
        };
        Self { end, rounds, thread: Some(thread::spawn(talk)) }
    }

    /// Lets them talk on for a while.
    fn on(&self) {
        let now = self.rounds.load(Ordering::Relaxed);
        wait_until("the guests talk", LIMIT, || self.rounds.load(Ordering::Relaxed) >= now + ROUNDS);
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a guest says in one round.
fn words(guest: &Guest, all: &[Guest]) -> Vec<Vec<u8>> {
    let mut words = vec![inner(guest.mac, Mac([255; 6]), MAGIC)];
    for other in all.iter().filter(|other| other.mac != guest.mac) {
        let (from, to) = (guest.ips[0], other.ips[0]);
        words.push(ethernet(guest.mac, other.mac, &ip(from, to, 64, UDP, &udp(from, to, 7, MAGIC))));
        let six = |mac: Mac| format!("fd10::{}", mac.0[4]).parse().unwrap();
        let (from, to) = (six(guest.mac), six(other.mac));
        words.push(ethernet(guest.mac, other.mac, &ip(from, to, 64, UDP, &udp(from, to, 7, MAGIC))));
        words.push(inner(guest.mac, other.mac, MAGIC));
    }
    words
}

/// True for a frame, in hexadecimal, that carries a message of a WireGuard session over IPv4 between the UDP ports of lanes.
fn is_session(frame: &str) -> bool {
    let at = |byte: usize, length: usize| frame.get(byte * 2..(byte + length) * 2).unwrap_or_default();
    let lane = |byte| at(byte, 2).starts_with("ca6");
    at(12, 2) == "0800"
        && at(23, 1) == "11"
        && lane(34)
        && lane(36)
        && ["01", "02", "04"].contains(&at(42, 1))
        && at(43, 3) == "000000"
}

/// One scene: listens on all wires while `work` breaks and mends. Returns what each wire saw.
fn scene(lab: &Lab, what: &str, work: impl FnOnce(&Talk)) -> Vec<(WireKind, Seen)> {
    let watches = lab.watch();
    let talk = Talk::start(lab);
    work(&talk);
    talk.on();
    drop(talk);
    let seen: Vec<_> = watches.into_iter().map(|watch| (watch.wire.kind, watch.end().unwrap())).collect();
    for (kind, seen) in &seen {
        assert_eq!((seen.frames(Class::Clear), seen.missed), (0, 0), "{what}: {kind:?} {seen:?}");
        if *kind == WireKind::Internet {
            // A session of a plain pair follows a false route where nothing holds it: what it says is encrypted.
            let sessions = seen.examples.iter().filter(|frame| is_session(frame)).count();
            let others = usize::try_from(seen.frames(Class::Other)).unwrap();
            assert!(seen.frames(Class::Vxlan) == 0 && others <= sessions, "{what}: {seen:?}");
        }
    }
    eprintln!("{what}: {seen:?}", seen = seen.iter().map(|(_, seen)| &seen.frames).collect::<Vec<_>>());
    seen
}

struct Node<'a> {
    lab: &'a Lab,
    name: &'static str,
    namespace: String,
}

impl<'a> Node<'a> {
    fn new(lab: &'a Lab, name: &'static str) -> Self {
        Self { lab, name, namespace: lab.layout().node(name).unwrap().namespace.clone() }
    }

    fn ip(&self, words: &str) {
        let words: Vec<&str> = ["-n", &self.namespace].into_iter().chain(words.split(' ')).collect();
        shell::ip(&words).unwrap();
    }

    fn sh(&self, line: &str) -> String {
        let mut command = shell::command(Some(&self.namespace), "sh");
        command.args(["-ec", line]);
        shell::run(command).unwrap()
    }

    fn file(&self, folder: &str, name: &str) -> PathBuf {
        self.lab.home.machine(self.name).join(folder).join(name)
    }

    fn restart(&self) {
        self.lab.kill(self.name);
        self.lab.start(self.name);
    }

    /// Ends it as an upgrade does, and starts it again.
    fn upgrade(&self) {
        let process = self.lab.home.running(self.name).unwrap();
        assert!(process.signal(libc::SIGTERM).unwrap());
        wait_until("the daemon ends", LIMIT, || !process.alive());
        self.lab.start(self.name);
    }

    fn says(&self, word: &str) -> bool {
        let layout = self.lab.layout();
        let status = daemons::status(&self.lab.home, layout.node(self.name).unwrap());
        status.is_ok_and(|status| format!("{:?}", status.problems).contains(word))
    }

    fn reaches(&self, other: &str) {
        let what = format!("{} and {other} reach each other", self.name);
        wait_until(&what, LIMIT, || self.lab.answers(self.name, other) && self.lab.answers(other, self.name));
    }

    fn does_not_reach(&self, other: &str) {
        let what = format!("{} does not reach {other}", self.name);
        wait_until(&what, LIMIT, || !self.lab.answers(self.name, other));
    }
}

#[test]
fn no_frame_crosses_in_clear_when_a_daemon_a_device_a_key_or_the_network_fails() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let a = Node::new(&lab, "a-1");
    scene(&lab, "daemon killed", |talk| {
        lab.kill("a-1");
        a.does_not_reach("b-1");
        talk.on();
        assert!(lab.answers("a-1", "a-2"), "inside nobody notices");
        lab.start("a-1");
        a.reaches("b-1");
    });
    for (what, device) in [("TAP deleted", "vt10.12b5"), ("vxlan device deleted", "vv10.12b5")] {
        scene(&lab, what, |_| {
            a.ip(&format!("link delete dev {device}"));
            a.reaches("b-1");
            a.reaches("a-2");
        });
    }
    scene(&lab, "TAP deleted and nobody to repair it", |talk| {
        lab.kill("a-1");
        a.ip("link delete dev vt10.12b5");
        talk.on();
        lab.start("a-1");
        a.reaches("b-1");
    });
    scene(&lab, "wrong key", |talk| wrong_key(&a, talk));
    scene(&lab, "handshake blocked", |talk| {
        a.sh("nft 'table inet block { chain c { type filter hook output priority 0; udp dport 51820-51835 drop; }; }'");
        a.restart();
        a.does_not_reach("b-1");
        talk.on();
        a.sh("nft delete table inet block");
        a.reaches("b-1");
    });
    scene(&lab, "management dead", |talk| {
        lab.kill("mgmt");
        talk.on();
        a.reaches("b-1");
        a.upgrade();
        a.reaches("b-1");
        daemons::run_management(&lab.home, &lab.layout(), &Progress::new(true)).unwrap();
    });
    scene(&lab, "upgraded", |_| {
        a.upgrade();
        a.reaches("b-1");
    });
}

fn wrong_key(a: &Node<'_>, talk: &Talk) {
    let path = a.file("keys", WIREGUARD_KEY);
    let right = std::fs::read_to_string(&path).unwrap();
    // Another secret, of the same form: its first characters are others.
    let wrong: String = right.chars().rev().skip_while(|c| "=\n".contains(*c)).collect();
    std::fs::write(&path, format!("{}A=\n", &wrong[..42])).unwrap();
    a.restart();
    a.does_not_reach("b-1");
    talk.on();
    std::fs::write(&path, right).unwrap();
    a.restart();
    a.reaches("b-1");
}

/// Routes that lead everything, and the plain peer in particular, to the internet.
const ROUTES: [&str; 5] = [
    "default via 198.18.2.1 dev ext0",
    "0.0.0.0/1 via 198.18.2.1 dev ext0",
    "128.0.0.0/1 via 198.18.2.1 dev ext0",
    "10.1.0.2/32 via 198.18.2.1 dev ext0",
    "192.168.10.0/24 via 198.18.2.1 dev ext0",
];

#[test]
fn no_frame_crosses_in_clear_when_routes_or_the_table_lie() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let (a, b) = (Node::new(&lab, "a-1"), Node::new(&lab, "b-1"));
    // Whoever gets a frame by a false route hands it on.
    b.sh("sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    scene(&lab, "routes injected", |talk| {
        ROUTES.iter().for_each(|route| a.ip(&format!("route add {route}")));
        talk.on();
        lab.kill("a-1");
        // No daemon, no guard, and routes to the internet: what is left are the tables of the devices.
        a.sh("nft flush ruleset");
        talk.on();
        ROUTES.iter().for_each(|route| a.ip(&format!("route delete {route}")));
        lab.start("a-1");
        a.reaches("b-1");
    });
    scene(&lab, "routes injected, and nothing else", |_| {
        ROUTES.iter().for_each(|route| a.ip(&format!("route add {route}")));
        a.reaches("a-2");
        a.reaches("b-1");
        ROUTES.iter().for_each(|route| a.ip(&format!("route delete {route}")));
    });
    scene(&lab, "another path by policy", |talk| {
        lab.admin(&["pdc", "set", "a", "--intra", "encrypted"]);
        wait_until("the plain path is closed", LIMIT, || !a.sh("ip -o link").contains("vv10.12b5"));
        talk.on();
        a.reaches("a-2");
        lab.admin(&["pdc", "set", "a", "--intra", "plain"]);
        wait_until("the plain path is open", LIMIT, || a.sh("ip -o link").contains("vv10.12b5"));
        a.reaches("a-2");
    });
    let old = std::fs::read(a.file("state", SLICE)).unwrap();
    scene(&lab, "a slice that lies", |talk| lie(&a, talk));
    scene(&lab, "moved to another PDC", |talk| {
        move_node(&lab, talk);
        a.reaches("a-2");
    });
    let seen = scene(&lab, "after the move", |talk| talk.on());
    assert_eq!(seen[0].1.frames(Class::Vxlan), 0, "no member is left in PDC a: {seen:?}");
    scene(&lab, "boot from an old slice", |talk| {
        lab.kill("mgmt");
        lab.kill("a-1");
        std::fs::write(a.file("state", SLICE), &old).unwrap();
        lab.start("a-1");
        // It believes that a-2 is a neighbour in clear. a-2 knows better and hears nothing of it.
        a.does_not_reach("a-2");
        talk.on();
        assert!(!lab.answers("a-2", "a-1"));
        daemons::run_management(&lab.home, &lab.layout(), &Progress::new(true)).unwrap();
        a.reaches("a-2");
    });
}

/// The slice on disk says of a node in another PDC that it is reached in clear; nobody is there to correct it.
fn lie(a: &Node<'_>, talk: &Talk) {
    let lab = a.lab;
    lab.kill("mgmt");
    lab.kill("a-1");
    let path = a.file("state", SLICE);
    let mut slice: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let member = &mut slice["networks"]["default/10"]["members"]["b-1"];
    assert_eq!(*member, "tunnel");
    *member = "plain".into();
    std::fs::write(&path, serde_json::to_vec(&slice).unwrap()).unwrap();
    lab.start("a-1");
    wait_until("the lie is told", LIMIT, || a.says("M0413") && a.says("'b-1'"));
    talk.on();
    a.reaches("b-1");
    let layout = lab.layout();
    let status = daemons::status(&lab.home, layout.node("a-1").unwrap()).unwrap();
    let peer = status.peers.iter().find(|peer| peer.node.as_str() == "b-1").unwrap();
    assert!(peer.vtep.is_none() && peer.tunnel.as_ref().is_some_and(|tunnel| tunnel.up), "{peer:?}");
    daemons::run_management(&lab.home, &layout, &Progress::new(true)).unwrap();
    wait_until("the truth is back", LIMIT, || !a.says("M0413"));
}

/// Node a-2 leaves PDC a and joins PDC b, with its guest.
fn move_node(lab: &Lab, talk: &Talk) {
    let layout = lab.layout();
    let node = layout.node("a-2").unwrap();
    let guest = &node.guests[0];
    lab.kill("a-2");
    lab.admin(&["port", "delete", "a-2-g1"]);
    lab.admin(&["node", "delete", "a-2"]);
    talk.on();
    for folder in ["keys", "state"] {
        std::fs::remove_dir_all(lab.home.machine("a-2").join(folder)).unwrap();
    }
    let (mac, address) = (guest.mac.to_string(), guest.ips[0].to_string());
    lab.admin(&["node", "create", "a-2", "--pdc", "b"]);
    lab.admin(&["port", "create", "a-2-g1", "--network", "blue", "--node", "a-2", "--mac", &mac, "--ip", &address]);
    let made = lab.admin(&["token", "create", "--pdc", "b", "--name", "a-2", "-o", "json"]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let token = made["token"].as_str().unwrap().to_owned();
    daemons::join(&lab.home, node, &token).unwrap();
    lab.start("a-2");
}
