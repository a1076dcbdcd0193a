//! Where attacks happen: a whole mesh with two networks of equal prefixes, `hot` with attackers and victims, `cold` whose guests have
//! the same addresses and must never hear of it. Nodes a-1 and a-2 are in one PDC, b-1 and b-2 in another; b-2 is the one that is taken.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use vxmesh::lab::shell;
use vxmesh::types::Mac;

use super::grammar::{Cast, Who};
use super::host::Host;
use super::victim::Victim;
use crate::frames::Plug;
use crate::harness::{Space, wait_until};
use crate::labs::Lab;

/// How long anything may take to be there.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const HOT: u32 = 40;
pub const COLD: u32 = 50;
/// Nodes whose hosts are looked at.
pub const NODES: [&str; 3] = ["a-1", "a-2", "b-1"];

/// A port, and its guest where there is one.
struct Seat {
    vni: u32,
    node: &'static str,
    /// Name of the port and of the interface.
    name: &'static str,
    last: u8,
    /// More of the port's document.
    more: &'static str,
    plugged: bool,
}

const fn seat(vni: u32, node: &'static str, name: &'static str, last: u8, more: &'static str, plugged: bool) -> Seat {
    Seat { vni, node, name, last, more, plugged }
}

/// The tag of the guest behind `ht`.
pub const VLAN: u16 = 7;
/// In `cold` the attacker's Ethernet address is a router, on its own node.
const SEATS: [Seat; 12] = [
    seat(HOT, "a-1", "hm", 1, "interface: hm", true),
    seat(HOT, "a-1", "hv1", 2, "interface: hv1", true),
    seat(HOT, "a-1", "hl", 3, "", true),
    seat(HOT, "a-1", "ht", 7, "interface: ht, vlan: 7", true),
    seat(HOT, "a-2", "hv2", 12, "interface: hv2", true),
    seat(HOT, "a-2", "hg", 13, "interface: hg, role: router", true),
    seat(HOT, "b-1", "hv3", 22, "interface: hv3", true),
    seat(HOT, "b-2", "hk", 32, "interface: hk", false),
    seat(COLD, "a-1", "cm", 1, "interface: cm, role: router", false),
    seat(COLD, "a-1", "cv1", 2, "interface: cv1", true),
    seat(COLD, "a-2", "cv2", 12, "interface: cv2", true),
    seat(COLD, "b-1", "cv3", 22, "interface: cv3", true),
];

/// The guest of either network with this number.
pub const fn who(last: u8) -> Who {
    let mac = Mac([2, 0, 0, 0, 0x66, last]);
    Who { mac, four: Ipv4Addr::new(192, 168, 66, last), six: Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, last as u16) }
}

/// The lab, who is attacked in it, and the attackers' plugs.
pub struct Ground {
    pub victims: Vec<Victim>,
    /// Guests of `cold`.
    pub others: Vec<Victim>,
    pub hosts: Vec<Host>,
    /// Attackers' guests: name, namespace, end of the cable.
    pub plugs: Vec<(&'static str, Plug)>,
    _spaces: Vec<Space>,
    pub lab: Lab,
}

impl Ground {
    pub fn new() -> Self {
        let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2", "--guests", "1"]);
        gullible(&lab);
        lab.admin_with(&["apply", "-f", "-"], &documents());
        let (mut victims, mut others, mut plugs, mut spaces) = (vec![], vec![], vec![], vec![]);
        for seat in SEATS.iter().filter(|seat| seat.plugged) {
            let space = plug(&lab, seat);
            match seat.name {
                "hm" | "hl" | "ht" => {
                    space.sh("sysctl -q -w net.ipv6.conf.eth0.disable_ipv6=1; ip link set dev eth0 up");
                    plugs.push((seat.name, Plug::new(&space, "eth0")));
                    spaces.push(space);
                }
                _ if seat.vni == HOT => victims.push(Victim::new(seat.name, space, who(seat.last))),
                _ => others.push(Victim::new(seat.name, space, who(seat.last))),
            }
        }
        for guests in [&victims, &others] {
            for (a, b) in guests.iter().flat_map(|a| guests.iter().map(move |b| (a, b))) {
                wait_until("guests reach each other", PATIENCE, || a.reaches(b));
            }
        }
        let hosts = NODES.iter().map(|name| Host::new(&lab, name)).collect();
        Self { victims, others, hosts, plugs, _spaces: spaces, lab }
    }

    /// Who is there, for an attacker that is this guest.
    pub fn cast(&self, last: u8, vlan: Option<u16>) -> Cast {
        let victims: Vec<Who> = self.victims.iter().map(|victim| victim.who).collect();
        let layout = self.lab.layout();
        let host = |name: &&str| {
            let node = layout.node(name).unwrap();
            let local = |device| mac_of(&node.namespace, device);
            let six = vxmesh::wire::nd::link_local(local("admin0"));
            [("admin0", node.admin), ("ext0", node.external)].map(|(device, four)| Who {
                mac: local(device),
                four,
                six,
            })
        };
        let device = |name: &&str| {
            let space = &layout.node(name).unwrap().namespace;
            ['b', 'v', 't'].map(|letter| mac_of(space, &format!("v{letter}{HOT}.12b5")))
        };
        Cast {
            me: who(last),
            vlan,
            gateway: who(13),
            victims,
            hosts: NODES.iter().flat_map(host).collect(),
            devices: NODES.iter().flat_map(device).collect(),
            nobody: who(99),
            asked: self.victims.iter().flat_map(Victim::asked).collect(),
        }
    }

    /// Ethernet address and where it is: the interface that a guest of the node is behind, none for one elsewhere.
    pub fn places(node: &str, vni: u32) -> Vec<(Mac, Option<&'static str>)> {
        let of = SEATS.iter().filter(|seat| seat.vni == vni);
        of.map(|seat| (who(seat.last).mac, (seat.node == node).then_some(seat.name))).collect()
    }

    /// Guests of `hot` that have no tag: what their addresses are is what others may believe.
    pub fn truth() -> Vec<Who> {
        SEATS.iter().filter(|seat| seat.vni == HOT && seat.name != "ht").map(|seat| who(seat.last)).collect()
    }
}

/// Hosts that do all that somebody may switch on: they route, take routes from anybody, and hand bridged frames to their firewall.
fn gullible(lab: &Lab) {
    for (number, name) in NODES.iter().enumerate() {
        let space = &lab.layout().node(name).unwrap().namespace.clone();
        let lines = format!(
            "for at in all default; do sysctl -q -w net.ipv6.conf.$at.accept_ra=2 net.ipv4.conf.$at.rp_filter=0 \
             net.ipv4.conf.$at.arp_accept=1 net.ipv4.conf.$at.accept_source_route=1; done
             sysctl -q -w net.ipv4.ip_forward={} net.ipv4.icmp_echo_ignore_broadcasts=0
             sysctl -q -w net.bridge.bridge-nf-call-iptables={number} 2>/dev/null || true",
            usize::from(number != 1)
        );
        sh(space, &lines);
    }
}

fn documents() -> String {
    let document = |kind: &str, name: &str, spec: &str| {
        format!("---\napiVersion: vxmesh/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
    };
    let name = |vni| if vni == HOT { "hot" } else { "cold" };
    let network = |vni| {
        let spec = format!("overlay: default, vni: {vni}, cidr: [192.168.66.0/24, \"fd66::/64\"]");
        document("Network", name(vni), &spec)
    };
    let port = |seat: &Seat| {
        let (at, more) = (who(seat.last), if seat.more.is_empty() { "" } else { ", " });
        let spec = format!(
            "network: {}, node: {}, mac: \"{}\", ips: [{}, \"{}\"]{more}{}",
            name(seat.vni),
            seat.node,
            at.mac,
            at.four,
            at.six,
            seat.more
        );
        document("Port", seat.name, &spec)
    };
    [HOT, COLD].iter().map(|vni| network(*vni)).chain(SEATS.iter().map(port)).collect()
}

/// Makes a guest and plugs it in where its port is.
fn plug(lab: &Lab, seat: &Seat) -> Space {
    let layout = lab.layout();
    let node = &layout.node(seat.node).unwrap().namespace;
    let bridge = format!("vb{}.12b5", seat.vni);
    let there = || shell::ip(&["-n", node, "link", "show", "dev", &bridge]).is_ok();
    wait_until("the bridge is there", PATIENCE, there);
    let mtu = lab.home.need().unwrap().guest_mtu.unwrap();
    let (space, who) = (Space::new(seat.name), who(seat.last));
    let (name, mac) = (seat.name, who.mac);
    let lines = [
        format!("link add name {name} type veth peer name eth0 address {mac} netns {}", space.name()),
        format!("link set dev {name} mtu {mtu} master {bridge} up"),
    ];
    shell::ip_batch(node, &lines).unwrap();
    space.sh(&format!("ip link set dev eth0 mtu {mtu}"));
    space
}

/// Runs shell lines in a namespace.
pub fn sh(space: &str, lines: &str) -> String {
    let mut command = shell::command(Some(space), "sh");
    command.args(["-ec", lines]);
    shell::run(command).unwrap()
}

/// Ethernet address of a device.
pub fn mac_of(space: &str, device: &str) -> Mac {
    sh(space, &format!("cat /sys/class/net/{device}/address")).trim().parse().unwrap()
}
