//! One lab for all behaviours, with a network of its own for each of them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use vxmesh::lab::shell;
use vxmesh::types::Mac;

use super::Behaviour;
use crate::frames::Plug;
use crate::harness::{Space, succeed, wait_until};
use crate::labs::Lab;

/// How long a condition is waited for, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Where a guest is, and what its port says besides network, node, MAC and interface; `NN` in it is the network's number, `HH`
/// the same in hexadecimal.
#[derive(Debug, Clone, Copy)]
pub struct Seat {
    pub node: &'static str,
    pub spec: &'static str,
}

/// Seats with an IPv4 and an IPv6 address of their own: the one that acts, one in the same PDC, one in the other.
pub const THREE: &[Seat] = &[OWN0, OWN1, OWN2];
pub const OWN0: Seat = Seat { node: "a-1", spec: "ips: [192.168.NN.10, 'fd00:NN::10']" };
pub const OWN1: Seat = Seat { node: "a-2", spec: "ips: [192.168.NN.11, 'fd00:NN::11']" };
pub const OWN2: Seat = Seat { node: "b-1", spec: "ips: [192.168.NN.12, 'fd00:NN::12']" };

/// The lab.
pub struct Ground {
    pub lab: Lab,
    mtu: u16,
    /// Namespaces of nodes.
    nodes: BTreeMap<String, String>,
}

/// A guest with `eth0`.
pub struct Guest {
    pub node: &'static str,
    /// Its port.
    pub port: String,
    /// Its interface on the node.
    pub interface: String,
    pub mac: Mac,
    pub four: Ipv4Addr,
    pub six: Ipv6Addr,
    pub space: Space,
}

/// One behaviour's network and guests.
pub struct Stage<'a> {
    pub ground: &'a Ground,
    /// Of its network: VNI, third byte of IPv4 prefix, second word of IPv6 prefix.
    pub number: u8,
    pub guests: Vec<Guest>,
}

fn document(kind: &str, name: &str, spec: &str) -> String {
    format!("---\napiVersion: vxmesh/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

fn filled(text: &str, number: u8) -> String {
    text.replace("NN", &number.to_string()).replace("HH", &format!("{number:02x}"))
}

fn mac(number: u8, seat: u8) -> Mac {
    Mac([2, 0xbe, 0, 0, number, seat])
}

fn interface(number: u8, seat: u8) -> String {
    format!("g{number}x{seat}")
}

impl Ground {
    /// A lab in which each behaviour has the network with its number.
    pub fn new(all: &[(u8, &Behaviour)]) -> Self {
        let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
        let mut text = String::new();
        for (number, behaviour) in all {
            let more = behaviour.network;
            let network = format!(
                "overlay: default, vni: {number}, cidr: [192.168.{number}.0/24, 'fd00:{number}::/64']{}{more}",
                if more.is_empty() { "" } else { ", " }
            );
            text += &document("Network", &format!("n{number}"), &network);
            for (seat, at) in (0..).zip(behaviour.seats) {
                let (mac, interface) = (mac(*number, seat), interface(*number, seat));
                let more = filled(at.spec, *number);
                let comma = if more.is_empty() { "" } else { ", " };
                let spec = format!(
                    "network: n{number}, node: {}, mac: \"{mac}\", interface: {interface}{comma}{more}",
                    at.node
                );
                text += &document("Port", &interface, &spec);
            }
        }
        lab.admin_with(&["apply", "-f", "-"], &text);
        let layout = lab.layout();
        let nodes = layout.nodes.iter().map(|node| (node.name.clone(), node.namespace.clone())).collect();
        let mtu = lab.home.need().unwrap().guest_mtu.unwrap();
        Self { lab, mtu, nodes }
    }

    /// Runs shell lines in the namespace of a node.
    pub fn host(&self, node: &str, lines: &str) -> String {
        succeed(Command::new("ip").args(["netns", "exec", &self.nodes[node], "sh", "-ec", lines]))
    }

    /// A guest with its cable, up, with the addresses that its port has.
    pub fn guest(&self, number: u8, seat: u8, at: Seat) -> Guest {
        let (name, mac) = (interface(number, seat), mac(number, seat));
        let space = Space::new(&name);
        space.sh("sysctl -q -w net.ipv6.conf.default.accept_ra=0 net.ipv6.conf.default.dad_transmits=0");
        self.plug(number, &name, mac, at.node, &space);
        let (four, six) =
            (Ipv4Addr::new(192, 168, number, 10 + seat), format!("fd00:{number}::{}", 10 + seat).parse().unwrap());
        Guest { node: at.node, port: name.clone(), interface: name, mac, four, six, space }
    }

    /// A cable from the bridge of a network on a node to `eth0` of a guest.
    pub fn plug(&self, number: u8, name: &str, mac: Mac, node: &str, space: &Space) {
        let (host, bridge, mtu) = (&self.nodes[node], format!("vb{number}.12b5"), self.mtu);
        let there = || shell::ip(&["-n", host, "link", "show", "dev", &bridge]).is_ok();
        wait_until("the bridge is there", LIMIT, there);
        let lines = [
            format!("link add name {name} type veth peer name eth0 address {mac} netns {}", space.name()),
            format!("link set dev {name} mtu {mtu} master {bridge} up"),
        ];
        shell::ip_batch(host, &lines).unwrap();
        space.sh(&format!("ip link set dev eth0 mtu {mtu} up"));
    }

    /// What is told in a status: of a node, or by management.
    pub fn problems(&self, node: Option<&str>) -> Vec<String> {
        let output = match node {
            Some(node) => self.lab.ctl("exec", &[node, "--", env!("CARGO_BIN_EXE_meshctl"), "status", "-o", "json"]),
            None => self.lab.asked(&["status", "-o", "json"]),
        };
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        let word = |problem: &Value, key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        let all = status["problems"].as_array().unwrap().iter();
        all.map(|problem| format!("{} {}", word(problem, "code"), word(problem, "what"))).collect()
    }

    /// Frames that the packet filter of a node has dropped of an interface for a reason, lately.
    pub fn dropped(&self, node: &str, reason: &str, interface: &str) -> bool {
        let set = format!("nft -j list set bridge vxmesh_guests by_{reason}");
        let sets: Value = serde_json::from_str(&self.host(node, &set)).unwrap();
        sets.to_string().contains(&format!("\"{interface}\""))
    }
}

impl<'a> Stage<'a> {
    pub fn new(ground: &'a Ground, number: u8, behaviour: &Behaviour) -> Self {
        let seats = (0..).zip(behaviour.seats);
        Self { ground, number, guests: seats.map(|(seat, at)| ground.guest(number, seat, *at)).collect() }
    }

    /// Gives each guest its two addresses.
    pub fn addressed(&self) -> &[Guest] {
        self.guests.iter().for_each(Guest::address);
        &self.guests
    }

    /// See [`Seat`].
    pub fn text(&self, text: &str) -> String {
        filled(text, self.number)
    }
}

impl Guest {
    /// Takes its addresses.
    pub fn address(&self) {
        self.space
            .sh(&format!("ip address add {}/24 dev eth0; ip address add {}/64 dev eth0 nodad", self.four, self.six));
    }

    /// True where one ping is answered.
    pub fn reaches(&self, to: &str) -> bool {
        pings(&self.space, to)
    }

    /// Waits until pings to both addresses of another guest are answered.
    pub fn meets(&self, other: &Self) {
        self.waits_for(&other.four.to_string(), &other.port);
        self.waits_for(&other.six.to_string(), &other.port);
    }

    /// Waits until a ping is answered.
    pub fn waits_for(&self, to: &str, what: &str) {
        wait_until(&format!("{} on {} reaches {what} ({to})", self.port, self.node), LIMIT, || self.reaches(to));
    }

    /// The Ethernet address that it knows for an IP address.
    pub fn knows(&self, ip: &str) -> Option<Mac> {
        let said = self.space.sh(&format!("ip neigh show to {ip} dev eth0"));
        let mut words = said.split_whitespace().skip_while(|word| *word != "lladdr");
        words.nth(1).and_then(|mac| mac.parse().ok())
    }

    /// Hears and says frames.
    pub fn ear(&self) -> Plug {
        Plug::new(&self.space, "eth0")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // What a program has started goes with its guest.
        let listed = Command::new("ip").args(["netns", "pids", self.space.name()]).output();
        let pids = listed.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
        for pid in pids.split_whitespace() {
            let _ = Command::new("kill").args(["-9", pid]).status();
        }
    }
}

/// True where one ping is answered.
pub fn pings(space: &Space, to: &str) -> bool {
    space.holds(&format!("ping -n -c 1 -W 0.5 {to} >/dev/null"))
}

/// A TCP server in a namespace that answers each connection with what it was told, behind `hello `, until the other end is done.
pub fn serve(space: &Space, port: u16) {
    let listener = space.enter(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap());
    // It ends with the test program; a guest that has gone says nothing any more.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream));
        }
    });
}

fn answer(mut stream: TcpStream) {
    let mut bytes = vec![0; 65_536];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..length]).is_err() {
            return;
        }
    }
}

/// A TCP connection out of a namespace.
pub fn connect(space: &Space, to: SocketAddr) -> Option<TcpStream> {
    let stream = space.enter(|| TcpStream::connect_timeout(&to, Duration::from_secs(3)).ok())?;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    Some(stream)
}

/// Sends so many bytes and takes them back; true where they are the same.
pub fn echoes(stream: &TcpStream, bytes: usize) -> bool {
    let sent: Vec<u8> = (0..bytes).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
    let back = Mutex::new(vec![0; bytes]);
    thread::scope(|scope| {
        let reads = scope.spawn(|| {
            let mut stream = stream;
            stream.read_exact(&mut back.lock().unwrap()).is_ok()
        });
        let mut stream = stream;
        let wrote = stream.write_all(&sent).is_ok();
        reads.join().unwrap() && wrote
    }) && *back.lock().unwrap() == sent
}

/// Waits for a connection, and sends a megabyte both ways over it.
pub fn converses(from: &Space, to: SocketAddr, what: &str) {
    wait_until(&format!("TCP to {to}: {what}"), LIMIT, || {
        connect(from, to).is_some_and(|stream| echoes(&stream, 1_000_000))
    });
}
