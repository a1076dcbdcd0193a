//! Guests whose MTU is larger than their network's, on a path that carries 1280 bytes, with the real programs.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use vxmesh::lab::layout::Node;
use vxmesh::lab::transfer::Amount;
use vxmesh::lab::{daemons, shell, traffic};
use vxmesh::linux::{netns, sys};

use crate::harness::{can_run, wait_until};
use crate::labs::Lab;

/// The network's MTU: what form B leaves of 1280 bytes.
const NETWORK: u16 = 1198;
/// Filling of a ping, and of a UDP datagram, that makes a packet of 1500 bytes.
const LARGE: u16 = 1472;
const PATIENCE: Duration = Duration::from_secs(15);

struct World {
    lab: Lab,
    nodes: Vec<Node>,
}

impl World {
    /// A node in each of two PDCs, their guests with an MTU of 1500, and an internet that carries no more than the network needs.
    fn new() -> Self {
        let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
        lab.settled();
        let layout = lab.layout();
        let world = Self { lab, nodes: layout.nodes.clone() };
        world.mode("fragment");
        for node in &world.nodes {
            let bridge = || world.sh(&node.namespace, "cat /sys/class/net/vb10.12b5/mtu").trim() == NETWORK.to_string();
            wait_until("the bridge has the network's MTU", PATIENCE, bridge);
            let guest = &node.guests[0];
            world.sh(&node.namespace, &format!("ip link set {} mtu 1500", guest.device));
            world.sh(&guest.namespace, "ip link set eth0 mtu 1500");
        }
        for wire in ["a-1.ext", "b-1.ext"] {
            world.sh(&layout.net, &format!("ip link set {wire} mtu 1280"));
        }
        world
    }

    fn sh(&self, namespace: &str, line: &str) -> String {
        let mut command = shell::command(Some(namespace), "sh");
        command.args(["-ec", line]);
        shell::run(command).unwrap()
    }

    /// What the network does from now on about frames that are too large.
    fn mode(&self, oversize: &str) {
        let text = format!(
            "apiVersion: vxmesh/v1\nkind: Network\nmetadata: {{name: blue}}\nspec: {{overlay: default, vni: 10, cidr: \
             [192.168.10.0/24], mtu: {{fixed: {NETWORK}, oversize: {oversize}}}}}\n"
        );
        self.lab.admin_with(&["apply", "-f", "-"], &text);
    }

    /// What `ping` says about packets of 1500 bytes that may not be cut.
    fn ping(&self) -> String {
        let ((from, _), (_, to)) = (self.lab.guest("a-1"), self.lab.guest("b-1"));
        self.sh(&from, &format!("ip route flush cache; ping -n -c 3 -i 0.2 -W 0.5 -M do -s {LARGE} {to} 2>&1 || true"))
    }

    /// Sends large UDP datagrams that may not be cut from guest to guest until one has arrived, as it was sent, or the guest's
    /// kernel has been told that they are too big, or neither for a while.
    fn datagram(&self) -> Fate {
        let (from, to) = (self.lab.guest("a-1"), self.lab.guest("b-1"));
        let sink = bound(&to.0, to.1);
        sink.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let source = bound(&from.0, from.1);
        // The kernel's own path MTU decides, and it never cuts: ip(7).
        sys::set_socket_option(source.as_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO).unwrap();
        source.connect(sink.local_addr().unwrap()).unwrap();
        let large: Vec<u8> = (0..LARGE).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let mut got = [0; 2048];
        for _ in 0..10 {
            match source.send(&large) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => return Fate::Refused,
                Err(error) => panic!("{error}"),
            }
            match sink.recv(&mut got) {
                Ok(len) => {
                    assert_eq!(got[..len], large);
                    return Fate::Whole;
                }
                Err(error) => {
                    assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted), "{error}")
                }
            }
        }
        Fate::Lost
    }

    fn dropped(&self, reason: &str) -> u64 {
        let status = daemons::status(&self.lab.home, &self.nodes[0]).unwrap();
        status.drops.get(reason).copied().unwrap_or_default()
    }

    /// A stream in each direction, as the guests like it and packet by packet.
    fn streams(&self, mode: &str) {
        let ends = [self.lab.guest("a-1"), self.lab.guest("b-1")];
        for alone in [false, true] {
            for (from, to) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
                let segments = if alone { 1 } else { 65_535 };
                self.sh(&from.0, &format!("ip link set eth0 gso_max_segs {segments}; ip route flush cache"));
                let transfer = traffic::transfer_to(&from.0, &to.0, to.1, Amount::Bytes(3_000_000));
                assert!(transfer.unwrap().intact(), "{mode}, packets alone: {alone}");
            }
        }
    }
}

/// What becomes of a large datagram.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Whole,
    Refused,
    Lost,
}

/// A UDP socket inside a namespace.
fn bound(namespace: &str, address: IpAddr) -> UdpSocket {
    let path = netns::path(namespace);
    let inside = thread::spawn(move || {
        netns::enter(&path).unwrap();
        UdpSocket::bind(SocketAddr::new(address, 0)).unwrap()
    });
    inside.join().unwrap()
}

#[test]
fn guests_with_a_larger_mtu_get_what_their_network_promises() {
    if !can_run() {
        return;
    }
    let world = World::new();
    wait_until("large packets cross in fragments", PATIENCE, || world.ping().contains(" 0% packet loss"));
    assert_eq!(world.datagram(), Fate::Whole);
    world.streams("fragment");
    assert_eq!(world.dropped("oversize"), 0);

    world.mode("too-big");
    let told = format!("mtu={NETWORK}");
    wait_until("the guest is told", PATIENCE, || world.ping().contains(&told));
    let before = world.dropped("too-big");
    assert!(before > 0);
    let said = world.ping();
    assert!(said.to_lowercase().contains("frag needed") && said.contains("100% packet loss"), "{said}");
    assert!(world.dropped("too-big") > before);
    assert_eq!(world.datagram(), Fate::Refused);
    world.streams("too-big");

    world.mode("drop");
    wait_until("they are dropped and counted", PATIENCE, || {
        let before = world.dropped("oversize");
        let said = world.ping();
        said.contains("100% packet loss") && !said.contains("mtu=") && world.dropped("oversize") > before
    });
    world.sh(&world.lab.guest("a-1").0, "ip route flush cache");
    assert_eq!(world.datagram(), Fate::Lost);
    world.streams("drop");
}
