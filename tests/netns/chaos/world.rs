//! The lab of a run: two PDCs of three nodes, networks `blue` and `red` with the same MACs and addresses, an attacker on every
//! wire, and clocks that can be shifted for one daemon alone.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use vxmesh::api::local::Event;
use vxmesh::clock;
use vxmesh::lab::layout::{Layout, Node};
use vxmesh::lab::process::{self, Daemon};
use vxmesh::lab::progress::Progress;
use vxmesh::lab::{daemons, shell, wires};
use vxmesh::transport::client::Client;
use vxmesh::types::Mac;

use super::attack::Attacker;
use super::guests::{self, Guest};
use super::lies::Service;
use super::plan::{INTERNET, Made, NODES, Net};
use super::wires::Watcher;
use crate::harness::{succeed, wait_until};
use crate::labs::Lab;

/// How long anything in the lab may take to be there.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a guest is now.
struct Place {
    net: Net,
    home: usize,
    /// The node that it is on.
    at: usize,
    /// False while its bridge is gone.
    plugged: bool,
}

pub(super) struct World {
    // Dropped in this order: what looks at the lab goes before the lab.
    pub(super) guests: Vec<Guest>,
    pub(super) watchers: Vec<Watcher>,
    pub(super) attackers: Vec<Attacker>,
    pub(super) services: Vec<Service>,
    pub(super) lab: Lab,
    pub(super) layout: Layout,
    /// A namespace without interfaces, for packet filters to be compared with.
    pub(super) mirror: String,
    places: Vec<Place>,
    clocks: tempfile::TempDir,
    mtu: u16,
}

/// Makes a namespace that goes away with the lab.
pub(super) fn space(layout: &Layout, name: &str) {
    shell::ip(&["netns", "add", name]).unwrap();
    shell::ip_batch(name, &[format!("link set dev lo alias {} up", wires::mark(&layout.name))]).unwrap();
}

/// Name of a network, its VNI, and what its guests' devices are called.
pub(super) const fn network(net: Net) -> (&'static str, u32, &'static str) {
    match net {
        Net::Blue => ("blue", 10, "g1"),
        Net::Red => ("red", 20, "r1"),
    }
}

/// Name of one of `meshd`'s devices.
pub(super) fn device(made: Made, net: Net) -> String {
    let letter = match made {
        Made::Bridge => 'b',
        Made::Vxlan => 'v',
        Made::Tap => 't',
    };
    format!("v{letter}{}.12b5", network(net).1)
}

/// A document of `meshctl apply`.
pub(super) fn document(kind: &str, name: &str, spec: &str) -> String {
    format!("---\napiVersion: vxmesh/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

impl World {
    pub(super) fn new() -> Self {
        let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "3"]);
        let layout = lab.layout();
        let mtu = lab.home.need().unwrap().guest_mtu.unwrap();
        let clocks = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/chaos/clock.c");
        succeed(
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(clocks.path().join("clock.so")).arg(source),
        );
        let mirror = format!("{}-mirror", layout.name);
        space(&layout, &mirror);
        let places = [Net::Blue, Net::Red]
            .into_iter()
            .flat_map(|net| (0..NODES).map(move |home| Place { net, home, at: home, plugged: net == Net::Blue }));
        let places = places.collect();
        let mut world = Self {
            guests: vec![],
            watchers: vec![],
            attackers: vec![],
            services: vec![],
            lab,
            layout,
            mirror,
            places,
            clocks,
            mtu,
        };
        world.red();
        world.restart_all();
        world.people();
        world
    }

    /// The second network, as the first one.
    fn red(&mut self) {
        let mut text = document("Network", "red", "{overlay: default, vni: 20, cidr: [192.168.10.0/24]}");
        for node in 0..NODES {
            text.push_str(&self.port(node, Net::Red, node));
        }
        self.lab.admin_with(&["apply", "-f", "-"], &text);
        for (home, node) in self.layout.nodes.iter().enumerate() {
            let namespace = format!("{}-r1", node.namespace);
            space(&self.layout, &namespace);
            let line = format!("link add r1 type veth peer name eth0 address {} netns {namespace}", guests::mac(home));
            shell::ip_batch(&node.namespace, &[line]).unwrap();
            let mtu = self.mtu;
            let lines = [format!("addr add {}/24 dev eth0", guests::ip(home)), format!("link set eth0 mtu {mtu} up")];
            shell::ip_batch(&namespace, &lines).unwrap();
        }
    }

    /// Every daemon again, this time under a clock that can be shifted.
    fn restart_all(&mut self) {
        let machines = self.layout.nodes.iter().map(|node| node.name.as_str()).chain(["mgmt"]);
        for machine in machines {
            fs::write(self.clocks.path().join(machine), [0; 16]).unwrap();
        }
        let calm = Progress::new(true);
        self.lab.home.running("mgmt").unwrap().end(&calm).unwrap();
        self.start_management();
        for node in 0..NODES {
            self.lab.home.running(self.name(node)).unwrap().end(&calm).unwrap();
            self.start(node);
        }
        wait_until("every guest of red is plugged in", PATIENCE, || {
            self.plug();
            self.places.iter().all(|place| place.plugged)
        });
    }

    fn people(&mut self) {
        for place in &self.places {
            let namespace = format!("{}-{}", self.layout.nodes[place.home].namespace, network(place.net).2);
            self.guests.push(Guest::new(&namespace, place.net, place.home));
        }
        self.watchers = self.layout.wires.iter().map(|wire| Watcher::start(&self.layout, wire)).collect();
        self.guests.iter_mut().for_each(Guest::speak);
        let doors: Vec<[Mac; 2]> =
            self.layout.nodes.iter().map(|node| ["admin0", "ext0"].map(|name| mac_of(node, name))).collect();
        self.services = self.layout.nodes.iter().map(|node| Service::new(&node.namespace)).collect();
        self.attackers = (0..=INTERNET).map(|wire| Attacker::new(&self.layout, wire, doors.clone())).collect();
    }

    pub(super) fn name(&self, node: usize) -> &str {
        &self.layout.nodes[node].name
    }

    pub(super) fn space(&self, node: usize) -> &str {
        &self.layout.nodes[node].namespace
    }

    /// The document of a guest's port, on the node that it is to be on.
    pub(super) fn port(&self, home: usize, net: Net, at: usize) -> String {
        let (name, _, device) = network(net);
        let spec = format!(
            "{{network: {name}, node: {}, mac: \"{}\", ips: [{}]}}",
            self.name(at),
            guests::mac(home),
            guests::ip(home)
        );
        document("Port", &format!("{}-{device}", self.name(home)), &spec)
    }

    fn launch(&self, machine: &str, namespace: &str, program: &str, file: &str) {
        let folder = self.clocks.path();
        let config = self.lab.home.machine(machine).join(file);
        let words = vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", folder.join("clock.so").display()),
            format!("VXMESH_CLOCK={}", folder.join(machine).display()),
            shell::program(program).unwrap().display().to_string(),
            "run".to_owned(),
            "--config".to_owned(),
            config.display().to_string(),
        ];
        let (record, log) = (self.lab.home.record(machine), self.lab.home.log(machine));
        process::start(&Daemon { namespace, record, log, words }, &Progress::new(true)).unwrap();
    }

    pub(super) fn start(&self, node: usize) {
        self.launch(self.name(node), self.space(node), "meshd", "meshd.toml");
    }

    /// Starts `meshmgr` and waits until it answers: what comes next asks it.
    pub(super) fn start_management(&self) {
        self.launch("mgmt", &self.layout.management, "meshmgr", "meshmgr.toml");
        wait_until("management answers", PATIENCE, || self.meshctl(&["get", "pdc", "-o", "json"], "").is_ok());
    }

    /// `meshctl` as the administrator.
    pub(super) fn meshctl(&self, words: &[&str], input: &str) -> Result<String, String> {
        daemons::meshctl(&self.lab.home, &self.layout, words, Some(input)).map_err(|error| error.to_string())
    }

    /// Shifts the clocks of a machine's daemon: the wall clock to so many seconds off the truth, and how long it has slept more.
    pub(super) fn shift(&self, machine: &str, wall: Option<i64>, slept: u32) {
        let path = self.clocks.path().join(machine);
        let now = fs::read(&path).unwrap();
        let number = |at: usize| i64::from_ne_bytes(*now[at..].first_chunk().unwrap());
        // In place: the daemon has the file mapped.
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&wall.unwrap_or_else(|| number(0)).to_ne_bytes(), 0).unwrap();
        file.write_all_at(&(number(8) + i64::from(slept)).to_ne_bytes(), 8).unwrap();
    }

    /// The guest's end of the cable leaves with its bridge.
    pub(super) fn unplugged(&mut self, node: usize, net: Net) {
        self.places.iter_mut().filter(|p| p.at == node && p.net == net).for_each(|place| place.plugged = false);
    }

    /// Moves a guest's cable to another node.
    pub(super) fn carry(&mut self, home: usize, net: Net, to: usize) -> Result<(), String> {
        let device = cable(home, net);
        let place = self.places.iter_mut().find(|place| place.home == home && place.net == net).unwrap();
        let (from, there) = (&self.layout.nodes[place.at], &self.layout.nodes[to]);
        let old = if place.at == home { network(net).2.to_owned() } else { device.clone() };
        let new = if to == home { network(net).2.to_owned() } else { device };
        let line = format!("link set {old} down netns {} name {new}", there.namespace);
        shell::ip_batch(&from.namespace, &[format!("link set {old} nomaster"), line]).map_err(|e| e.to_string())?;
        place.at = to;
        place.plugged = false;
        self.plug();
        Ok(())
    }

    /// Plugs everybody in again: `meshd` removes the bridge of a network that has no port on the node, and makes another one later.
    pub(super) fn plug_all(&mut self) {
        self.places.iter_mut().for_each(|place| place.plugged = false);
        self.plug();
    }

    /// Plugs guests into bridges that have come back, as a hypervisor would.
    pub(super) fn plug(&mut self) {
        for place in self.places.iter_mut().filter(|place| !place.plugged) {
            let (_, _, name) = network(place.net);
            let name = if place.at == place.home { name.to_owned() } else { cable(place.home, place.net) };
            let bridge = device(Made::Bridge, place.net);
            let lines = [format!("link set {name} mtu {}", self.mtu), format!("link set {name} master {bridge} up")];
            place.plugged = shell::ip_batch(&self.layout.nodes[place.at].namespace, &lines).is_ok();
        }
    }

    /// Every log of the lab, copied to where it stays.
    pub(super) fn keep_logs(&self, seed: u64) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("vxmesh-chaos-{seed}-{}", std::process::id()));
        let _ = fs::create_dir_all(&folder);
        for machine in self.layout.nodes.iter().map(|node| node.name.as_str()).chain(["mgmt"]) {
            let _ = fs::copy(self.lab.home.log(machine), folder.join(format!("{machine}.log")));
        }
        for guest in &self.guests {
            let _ = fs::write(folder.join(format!("{}.wrong", guest.namespace)), format!("{:#?}", guest.wrong()));
        }
        for node in &self.layout.nodes {
            let script = "ip -d link; bridge fdb; ip neigh; ip route; nft list ruleset";
            let state = Command::new("ip").args(["netns", "exec", &node.namespace, "sh", "-c", script]).output();
            let _ = state.map(|output| fs::write(folder.join(format!("{}.kernel", node.name)), output.stdout));
            for what in ["status", "events"] {
                let words = ["--socket", &self.lab.home.socket(&node.name).display().to_string(), what, "-o", "json"];
                let said = Command::new(crate::mesh::MESHCTL).args(words).output();
                let _ = said.map(|output| fs::write(folder.join(format!("{}.{what}", node.name)), output.stdout));
            }
        }
        folder
    }

    /// What a node's daemon has noted.
    pub(super) fn events(&self, node: usize) -> Vec<Event> {
        let client = Client::unix(self.lab.home.socket(self.name(node)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(client.call::<(), Vec<Event>>(hyper::Method::GET, "/v1/events", None)).unwrap()
    }

    /// Nanoseconds that guests' datagrams are compared with.
    pub(super) fn now() -> u64 {
        clock::mono().as_nanos()
    }
}

/// What a guest's cable is called on a node that is not its home.
fn cable(home: usize, net: Net) -> String {
    format!("{}{home}", network(net).0)
}

fn mac_of(node: &Node, interface: &str) -> Mac {
    let text = shell::ip(&["-n", &node.namespace, "-j", "link", "show", "dev", interface]).unwrap();
    let links: serde_json::Value = serde_json::from_str(&text).unwrap();
    links[0]["address"].as_str().unwrap().parse().unwrap()
}
