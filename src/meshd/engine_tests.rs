use std::sync::mpsc;

use super::super::disk::tests::slice;
use super::super::lanes::Lanes;
use super::*;
use crate::api::local::Management;
use crate::linux::KernelError;
use crate::linux::fake::Fake;
use crate::node::desired::{Hold, ObservedGuard};
use crate::node::enroll::SLICE;
use crate::node::plan::{Local, Underlay};
use crate::types::{SecretKey, UdpPort, Version};

impl Kernel for Fake {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        Self::observe(self)
    }
    fn apply(&mut self, ops: &[Op]) -> Result<(), KernelError> {
        Self::apply(self, ops)
    }
}

fn host(_: &Config, _: &Before) -> Host {
    let eth0 = Underlay { interface: "eth0".parse().unwrap(), address: "10.0.0.1".parse().unwrap(), mtu: 1500 };
    let local = Local { admin: Some(eth0), ..Local::default() };
    Host { local, ..Host::default() }
}

struct World {
    engine: Engine<Fake>,
    shared: Arc<Shared>,
    folder: tempfile::TempDir,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("management = ['m:1']\n[paths]\nstate = '{0}'\nrun = '{0}/run'\n", folder.path().display());
    let config = Config::parse("f", &text).unwrap();
    let lanes =
        Lanes::start(0, UdpPort::try_from(51820).unwrap(), SecretKey::from_bytes([1; 32]), Default::default()).unwrap();
    let shared = Shared::new("a-1".parse().unwrap(), "a".parse().unwrap(), Management::Files, lanes);
    let mut engine = Engine::new(Fake::default(), Arc::clone(&shared), config, None);
    engine.look = host;
    World { engine, shared, folder }
}

fn codes(shared: &Shared) -> Vec<String> {
    shared.view().findings.values().flatten().map(|f| f.code.clone()).collect()
}

/// Drift: somebody takes away what the plan put there.
fn damage(fake: &mut Fake) {
    let fdb = fake.state.vxlan_fdb.values_mut().next().unwrap();
    fdb.clear();
}

#[test]
fn a_new_slice_reaches_disk_kernel_and_report() {
    let World { mut engine, shared, folder } = world();
    engine.gather(Command::Slice(Box::new(slice(7))), &mpsc::channel().1);
    assert!(folder.path().join(SLICE).exists() && folder.path().join("table/default/10.json").exists());
    assert!(matches!(engine.kernel.state.guard, ObservedGuard::Loaded(_)));
    assert!(engine.kernel.log[0].contains("nft"), "the packet filter comes first: {}", engine.kernel.log[0]);
    assert!(reconcile::diff(&engine.desired, &engine.kernel.state).is_empty());
    let outgoing = shared.outgoing.borrow().clone();
    assert_eq!(outgoing.applied, Some(Version { incarnation: 1, revision: 7 }));
    assert_eq!(outgoing.facts.unwrap().admin, Some("10.0.0.1".parse().unwrap()));
    assert_eq!(shared.view().applied.revision, 7);
    assert!(codes(&shared).is_empty());
}

#[test]
fn of_several_waiting_slices_only_the_last_counts() {
    let World { mut engine, shared, .. } = world();
    let (sender, commands) = mpsc::channel();
    for revision in [8, 9] {
        sender.send(Command::Slice(Box::new(slice(revision)))).unwrap();
    }
    assert!(engine.gather(Command::Slice(Box::new(slice(7))), &commands));
    assert_eq!(shared.view().applied.revision, 9);
    sender.send(Command::Stop).unwrap();
    assert!(!engine.gather(Command::Look, &commands));
}

#[test]
fn drift_is_repaired_and_told() {
    let World { mut engine, shared, .. } = world();
    engine.boot(slice(7));
    assert!(!shared.events.list().iter().any(|e| e.kind == "drift"), "the first build is no drift");
    damage(&mut engine.kernel);
    engine.check();
    assert!(reconcile::diff(&engine.desired, &engine.kernel.state).is_empty());
    let events = shared.events.list();
    let drift = events.iter().find(|e| e.kind == "drift").unwrap();
    assert!(drift.text.contains("02:00:00:00:00:02"), "{}", drift.text);
}

#[test]
fn a_full_disk_does_not_stop_what_management_says() {
    let World { mut engine, shared, folder } = world();
    // A file where the folder should be: every write fails, whoever runs the test.
    engine.config.paths.state = folder.path().join("file");
    std::fs::write(folder.path().join("file"), "x").unwrap();
    engine.gather(Command::Slice(Box::new(slice(7))), &mpsc::channel().1);
    assert_eq!(shared.view().applied.revision, 7);
    assert_eq!(codes(&shared), ["M0710"]);
    engine.save_again();
    assert_eq!(codes(&shared), ["M0710"], "not at once");
    engine.save_at = Some(mono());
    engine.save_again();
    assert_eq!(codes(&shared), ["M0710"], "it is full still");
    engine.config.paths.state = folder.path().to_owned();
    engine.save_at = Some(mono());
    engine.save_again();
    assert!(codes(&shared).is_empty(), "there is room");
    assert!(folder.path().join(SLICE).exists() && folder.path().join("table/default/10.json").exists());
    assert_eq!(engine.save_at, None);
    engine.gather(Command::Slice(Box::new(slice(8))), &mpsc::channel().1);
    assert!(codes(&shared).is_empty());
}

#[test]
fn a_kernel_that_refuses_is_a_finding_and_is_not_acknowledged() {
    struct Refuses(Fake);
    impl Kernel for Refuses {
        fn observe(&mut self) -> Result<Observed, KernelError> {
            self.0.observe()
        }
        fn apply(&mut self, _: &[Op]) -> Result<(), KernelError> {
            Err(KernelError::NoVxlan)
        }
    }
    let World { engine, shared, .. } = world();
    let mut engine = Engine::new(Refuses(engine.kernel), Arc::clone(&shared), engine.config, None);
    engine.look = host;
    engine.boot(slice(7));
    assert_eq!(codes(&shared), ["M0623"]);
    assert_eq!(shared.outgoing.borrow().applied, None);
    assert!(engine.check_at < mono() + Duration::from_secs(5), "it is tried again soon");
}

#[test]
fn a_kernel_that_forgets_is_not_told_for_ever() {
    struct Forgets(u32);
    impl Kernel for Forgets {
        fn observe(&mut self) -> Result<Observed, KernelError> {
            Ok(Observed::default())
        }
        fn apply(&mut self, _: &[Op]) -> Result<(), KernelError> {
            self.0 += 1;
            Ok(())
        }
    }
    let World { engine, shared, .. } = world();
    let mut engine = Engine::new(Forgets(0), Arc::clone(&shared), engine.config, None);
    engine.look = host;
    engine.boot(slice(7));
    assert_eq!(engine.kernel.0, u32::from(ROUNDS));
    assert_eq!(codes(&shared), ["M0635"]);
}

#[test]
fn a_removed_node_keeps_no_tunnel_and_repairs_nothing() {
    let World { mut engine, shared, .. } = world();
    engine.boot(slice(7));
    engine.gather(Command::Removed, &mpsc::channel().1);
    assert_eq!(codes(&shared), ["M0220"]);
    damage(&mut engine.kernel);
    engine.check();
    assert!(engine.kernel.state.vxlan_fdb.values().next().unwrap().is_empty());
    engine.gather(Command::Slice(Box::new(slice(8))), &mpsc::channel().1);
    assert!(codes(&shared).is_empty(), "let in again");
}

#[test]
fn guests_on_the_bridge_are_reported_where_the_network_wants_it() {
    let World { mut engine, shared, .. } = world();
    let mut wanted = slice(7);
    wanted.networks.values_mut().next().unwrap().learning = crate::table::Learning::Local;
    engine.boot(wanted);
    let bridge = engine.desired.networks.keys().next().unwrap().clone();
    let mac: crate::types::Mac = "02:00:00:00:00:77".parse().unwrap();
    let entry = crate::node::desired::BridgeEntry { port: "tap7".parse().unwrap(), hold: Hold::Learned };
    engine.kernel.state.bridge_fdb.entry(bridge).or_default().insert(mac, entry);
    engine.check();
    let ports = shared.outgoing.borrow().ports.clone();
    assert_eq!(ports.iter().map(|p| p.mac).collect::<Vec<_>>(), [mac]);
    engine.check();
    assert_eq!(shared.outgoing.borrow().ports, ports);
}

#[test]
fn table_files_alone_run_a_node_and_a_cut_one_changes_nothing() {
    let World { engine, shared, folder } = world();
    let dir = folder.path().join("table");
    let text = format!(
        "[node]\nname = 'a-1'\n[table]\nsource = 'files'\nunderlay = ['10.0.0.0/24']\n[paths]\nstate = '{}'\n",
        folder.path().display()
    );
    let config = Config::parse("f", &text).unwrap();
    let tables = Tables::new("a-1".parse().unwrap());
    let mut engine = Engine::new(engine.kernel, Arc::clone(&shared), config, Some(tables));
    engine.look = host;
    std::fs::create_dir_all(dir.join("default")).unwrap();
    let path = dir.join("default/10.json");
    let whole = r#"{"02:00:00:00:00:02": {"ip": "10.0.0.2", "port": 4789, "arp": "192.168.10.12"}}"#;
    std::fs::write(&path, whole).unwrap();
    engine.gather(Command::Files, &mpsc::channel().1);
    assert_eq!(codes(&shared), Vec::<String>::new());
    assert_eq!(engine.desired.networks.values().next().unwrap().vxlan_fdb.len(), 1);
    let bridge = engine.desired.networks.keys().next().unwrap().clone();
    let guest: crate::types::Mac = "02:00:00:00:00:01".parse().unwrap();
    let entry = crate::node::desired::BridgeEntry { port: "tap7".parse().unwrap(), hold: Hold::Learned };
    engine.kernel.state.bridge_fdb.entry(bridge).or_default().insert(guest, entry);
    engine.check_at = mono();
    engine.tend();
    let slice = shared.view().slice.clone().unwrap();
    let here = slice.rows.iter().find(|(key, _)| key.mac == guest).unwrap().1;
    assert_eq!(here.node, slice.node, "the files name guests elsewhere; those here are found");
    let steps = engine.kernel.log.len();
    std::fs::write(&path, &whole[..40]).unwrap();
    engine.gather(Command::Files, &mpsc::channel().1);
    assert_eq!(codes(&shared), ["M0310"]);
    assert_eq!(engine.kernel.log.len(), steps, "the table of before stays in force");
    std::fs::write(&path, whole).unwrap();
    engine.gather(Command::Files, &mpsc::channel().1);
    assert_eq!((codes(&shared).len(), engine.kernel.log.len()), (0, steps));
    assert!(!folder.path().join(SLICE).exists(), "the files are the table; nothing else is kept");
}

#[test]
fn a_kernel_that_takes_long_to_read_is_read_less_often() {
    let World { mut engine, .. } = world();
    assert_eq!((engine.check_after(), engine.calm()), (CHECK, CALM));
    engine.cost = Duration::from_millis(200);
    assert_eq!((engine.check_after(), engine.calm()), (Duration::from_secs(80), Duration::from_secs(4)));
    engine.cost = Duration::from_secs(60);
    assert_eq!((engine.check_after(), engine.calm()), (CHECK_LONGEST, CHECK));
}

/// A slice with two peers across, both with a tunnel, and a guest behind each.
fn across(revision: u64, peers: &[&str]) -> Slice {
    let mut wanted = slice(revision);
    let template: crate::table::Peer = serde_json::from_value(
        serde_json::json!({"pdc": "b", "external": "198.51.100.9", "listen": 51820, "lanes": 1}),
    )
    .unwrap();
    wanted.peers.clear();
    wanted.rows.clear();
    let network = wanted.networks.values_mut().next().unwrap();
    network.members.clear();
    for (number, peer) in (1_u8..).zip(peers) {
        let name: crate::types::NodeId = peer.parse().unwrap();
        let key = crate::tunnel::public_key(&SecretKey::from_bytes([peer.as_bytes()[2]; 32]));
        network.members.insert(name.clone(), crate::policy::path::Path::Tunnel);
        wanted.peers.insert(name.clone(), crate::table::Peer { public_key: Some(key), ..template.clone() });
        let row = format!("default/10/-/02:00:00:00:0b:{:02x}", number).parse().unwrap();
        wanted.rows.insert(row, Row::of(name));
    }
    wanted
}

/// What the lanes do while the kernel is asked: a kernel that writes down how many peers they had at each step.
struct Asks {
    fake: Fake,
    shared: Arc<Shared>,
    peers: Arc<std::sync::Mutex<Vec<usize>>>,
}

impl Asks {
    fn note(&self) {
        self.peers.lock().unwrap().push(self.shared.lanes.stats()[0].peers.len());
    }
}

impl Kernel for Asks {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        self.note();
        self.fake.observe()
    }
    fn apply(&mut self, ops: &[Op]) -> Result<(), KernelError> {
        self.note();
        self.fake.apply(ops)
    }
}

#[test]
fn lanes_lose_a_removed_peer_before_the_kernel_is_asked_and_get_a_new_one_after() {
    let World { engine, folder, .. } = world();
    let port = std::net::UdpSocket::bind("[::]:0").unwrap().local_addr().unwrap().port();
    let listen = UdpPort::try_from(u64::from(port)).unwrap();
    let lanes = Lanes::start(1, listen, SecretKey::from_bytes([1; 32]), Default::default()).unwrap();
    let shared = Shared::new("a-1".parse().unwrap(), "a".parse().unwrap(), Management::Files, lanes);
    let peers = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kernel = Asks { fake: engine.kernel, shared: Arc::clone(&shared), peers: Arc::clone(&peers) };
    let mut engine = Engine::new(kernel, Arc::clone(&shared), engine.config, None);
    engine.look = |config, before| {
        let side = host(config, before).local.admin;
        Host { local: Local { admin: side.clone(), external: side, ..Local::default() }, ..Host::default() }
    };
    engine.boot(across(7, &["b-1", "b-2"]));
    assert_eq!(shared.lanes.stats()[0].peers.len(), 2);
    // The disk comes after the lanes too: one that is full, or slow, must not keep a removed node in.
    std::fs::remove_dir_all(folder.path()).unwrap();
    for (revision, slice, during, after) in [
        (8, across(8, &["b-1"]), 1, 1),
        (9, across(9, &["b-1", "b-3"]), 1, 2),
        (10, across(10, &["b-3", "b-4", "b-5"]), 1, 3),
        (11, across(11, &[]), 0, 0),
    ] {
        peers.lock().unwrap().clear();
        engine.gather(Command::Slice(Box::new(slice)), &mpsc::channel().1);
        let seen = peers.lock().unwrap().clone();
        assert!(!seen.is_empty() && seen.iter().all(|count| *count == during), "{revision}: {seen:?}");
        assert_eq!(shared.lanes.stats()[0].peers.len(), after, "{revision}");
    }
    shared.lanes.stop();
}

#[test]
fn what_is_less_confined_is_said_once_however_many_threads_say_it() {
    let World { shared, .. } = world();
    for why in ["lanes may make any system call: EPERM", "lanes may make any system call: EPERM", "a thread"] {
        shared.loose(why);
    }
    let findings: Vec<Finding> = shared.view().findings.values().flatten().cloned().collect();
    assert_eq!(findings.iter().map(|finding| finding.code.as_str()).collect::<Vec<_>>(), ["M0639", "M0639"]);
    assert!(findings[0].what.contains("any system call") && findings[1].what.contains("a thread"));
}
