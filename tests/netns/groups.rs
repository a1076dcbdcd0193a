//! Guests, members and strangers want hosts: {every kind of destination on the wire} x {ARP, IPv4, IPv6, discovery, link protocols} x {its own host, a
//! neighbour, one in the other PDC} x {`ip_forward`} x {`bridge-nf-call-iptables`}, and with an address that an operator gave to the
//! bridge. Nothing is heard, answered, routed or believed.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use vxmesh::linux::netns;
use vxmesh::types::Mac;

use crate::frames::Plug;
use crate::harness::{Space, can_run, wait_until};
use crate::hostile::grammar::{Who, mark, marks};
use crate::hostile::ground::{Ground, HOT, NODES, PATIENCE, sh, who};
use crate::hostile::member::Member;
use crate::hostile::packets::{self as p, Four};
use crate::hostile::victim::{heard_plainly, raw_sockets};
use crate::labs::assert_nothing_in_clear;

const BRIDGE: &str = "vb40.12b5";
/// A number that no case has.
const FIRST: u32 = u32::MAX;
/// An address that an operator puts on a bridge of ours.
const GIVEN: Ipv4Addr = Ipv4Addr::new(192, 168, 66, 200);
const NODES6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const BROADCASTS: [&str; 3] = ["broadcast", "IPv4 group", "IPv6 group"];

/// One frame: to where on the wire, what it is, which host it means.
struct Case {
    to: String,
    what: &'static str,
    host: usize,
    frame: Vec<u8>,
}

/// A host as it can be named.
struct Host {
    fours: Vec<Ipv4Addr>,
    local: Ipv6Addr,
    space: String,
    /// What its kernel takes for its own, by whatever device.
    sockets: Vec<(u8, UdpSocket)>,
    /// What its bridge hands to it.
    bridge: Plug,
    /// What it sends and gets between PDCs: tunnels, and nothing that can be read.
    between: Plug,
}

fn hosts(ground: &Ground) -> Vec<Host> {
    let host = |name: &&str| {
        let node = ground.lab.layout().node(name).unwrap().clone();
        let path = netns::path(&node.namespace);
        let open = || {
            netns::enter(&path).unwrap();
            raw_sockets(None)
        };
        let sockets = std::thread::scope(|scope| scope.spawn(open).join().unwrap());
        let admin = crate::hostile::ground::mac_of(&node.namespace, "admin0");
        Host {
            fours: vec![node.admin, node.external, GIVEN],
            local: vxmesh::wire::nd::link_local(admin),
            bridge: Plug::at(&node.namespace, BRIDGE),
            between: Plug::at(&node.namespace, "ext0"),
            space: node.namespace,
            sockets,
        }
    };
    NODES.iter().map(host).collect()
}

/// Everywhere that a frame can be sent to.
fn destinations(devices: &[Mac]) -> Vec<(String, Mac)> {
    let reserved = (0..=0x10).chain([0x20, 0x21, 0x2f]).map(|last| {
        let mac = Mac([1, 0x80, 0xc2, 0, 0, last]);
        (mac.to_string(), mac)
    });
    let groups = [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1]), Mac([0x33, 0x33, 0, 0, 0, 1])];
    let groups = BROADCASTS.iter().zip(groups).map(|(name, mac)| ((*name).to_owned(), mac));
    // Bridge, vxlan device and TAP of the guest's own node, then those of others.
    let names = ["bridge", "vxlan", "tap"].iter().cycle().zip(0..).map(|(name, at)| format!("{name} {}", at / 3));
    reserved.chain(groups).chain(names.zip(devices.iter().copied())).collect()
}

/// Every kind of frame for a host, to be addressed.
fn kinds(me: Who, host: &Host, number: u32) -> Vec<(&'static str, u16, Vec<u8>)> {
    let mark = mark(number);
    let mut all = Vec::new();
    let four = |destination, protocol, payload: &[u8]| Four::new(me.four, destination, protocol).whole(payload);
    for address in &host.fours {
        let ends = (me.four.into(), (*address).into());
        let question = p::arp(1, (me.mac, me.four), (Mac([0; 6]), *address));
        all.push(("ARP", p::ARP, [&question[..], &mark].concat()));
        all.push(("UDP", p::IPV4, four(*address, p::UDP, &p::udp(ends, (7, 9999), &mark))));
        all.push(("ping", p::IPV4, four(*address, p::ICMP, &p::icmp(8, 0, [0, 1, 0, 1], &mark))));
    }
    let local = me.local();
    for to in [NODES6, host.local] {
        let (ends, both) = ((local, to), (local.into(), to.into()));
        let six = |next, payload: &[u8]| p::six(local, to, 255, next, payload);
        all.push(("UDP6", p::IPV6, six(p::UDP, &p::udp(both, (7, 9999), &mark))));
        all.push(("ping6", p::IPV6, six(p::ICMP6, &p::icmp6(ends, 128, 0, &[&[0, 1, 0, 1][..], &mark].concat()))));
        let hidden = [&[253, 2][..], &mark, &[0, 0]].concat();
        let source = [&[1, 1][..], &me.mac.0].concat();
        let asks = [&[0; 4][..], &host.local.octets(), &source, &hidden].concat();
        all.push(("solicitation", p::IPV6, six(p::ICMP6, &p::icmp6(ends, 135, 0, &asks))));
        let says = [&[64, 0, 7, 8][..], &[0; 8], &source, &hidden].concat();
        all.push(("router", p::IPV6, six(p::ICMP6, &p::icmp6(ends, 134, 0, &says))));
    }
    all.push(("LLDP", 0x88cc, [&[2, 7, 4][..], &me.mac.0, &mark].concat()));
    all.push(("STP", 38, [&[0x42, 0x42, 3][..], &[0; 23], &mark].concat()));
    all
}

/// The whole table. A case's number is its place.
fn table(me: Who, hosts: &[Host], devices: &[Mac]) -> Vec<Case> {
    let mut table = Vec::new();
    for (to, mac) in destinations(devices) {
        for (at, host) in hosts.iter().enumerate() {
            let first = u32::try_from(table.len()).unwrap();
            let count = kinds(me, host, 0).len();
            for (index, number) in (0..count).zip(first..) {
                let (what, kind, body) = kinds(me, host, number).swap_remove(index);
                let frame = p::ethernet(mac, me.mac, kind, &body);
                table.push(Case { to: to.clone(), what, host: at, frame });
            }
        }
    }
    table
}

/// What of a round was heard, answered or believed: cases by number, and what is of no case.
#[derive(Default, PartialEq, Eq, Debug)]
struct Reached {
    heard: BTreeSet<(usize, u32)>,
    other: Vec<String>,
}

/// Who says it: by what, how what is answered is heard, and what waits until all of it has arrived.
struct Mouth<'a> {
    send: &'a dyn Fn(&[u8]),
    hear: &'a dyn Fn() -> Vec<Vec<u8>>,
    wait: &'a dyn Fn(u32),
}

/// Somebody on the admin wire of the first PDC, who is no member and says so to the first two nodes: VXLAN of the guests' network.
struct Stranger {
    socket: UdpSocket,
    doors: Vec<std::net::SocketAddr>,
    /// What comes in at the first of them.
    door: Plug,
    said: Cell<usize>,
    arrived: Cell<usize>,
    _space: Space,
}

impl Stranger {
    fn new(ground: &Ground) -> Self {
        let (layout, space) = (ground.lab.layout(), Space::new("stranger"));
        let node = layout.node(NODES[0]).unwrap();
        let [a, b, c, _] = node.admin.octets();
        let lines = [
            format!("link add name xs type veth peer name eth0 netns {}", space.name()),
            format!("link set dev xs master {} up", layout.wires[0].device),
        ];
        vxmesh::lab::shell::ip_batch(&layout.net, &lines).unwrap();
        space.sh(&format!("ip address add {a}.{b}.{c}.66/24 dev eth0; ip link set dev eth0 up"));
        let socket = space.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        socket.set_ttl(255).unwrap();
        let doors = NODES[..2].iter().map(|name| (layout.node(name).unwrap().admin, 4789).into()).collect();
        let door = Plug::at(&node.namespace, "admin0");
        let stranger = Self { socket, doors, door, said: Cell::default(), arrived: Cell::default(), _space: space };
        // Until ARP has been answered what it says is lost.
        let first = p::ethernet(Mac::BROADCAST, who(1).mac, p::IPV4, &mark(FIRST));
        wait_until("a stranger is on the wire", PATIENCE, || {
            stranger.say(&first);
            stranger.door.take().iter().any(|frame| marks(frame).any(|number| number == FIRST))
        });
        stranger.said.set(0);
        stranger
    }

    fn say(&self, frame: &[u8]) {
        let payload = [&[8, 0, 0, 0][..], &(HOT << 8).to_be_bytes(), frame].concat();
        for door in &self.doors {
            // A full queue takes it later.
            while self.socket.send_to(&payload, door).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.said.set(self.said.get() + 1);
    }

    fn look(&self) {
        let came = self.door.take().iter().filter(|frame| marks(frame).any(|number| number != FIRST)).count();
        self.arrived.set(self.arrived.get() + came);
    }

    /// Waits until all of it has come in.
    fn wait(&self) {
        wait_until("what a stranger says arrives", PATIENCE, || {
            self.look();
            self.arrived.get() >= self.said.get()
        });
    }
}

/// Says all of the table and waits until what is said behind it has arrived.
fn round(ground: &Ground, hosts: &[Host], table: &[Case], mouth: &Mouth<'_>, last: u32) -> Reached {
    ground.reset();
    (mouth.hear)();
    for host in hosts {
        heard_plainly(&host.sockets);
        host.bridge.take();
        host.between.take();
    }
    for (count, case) in table.iter().enumerate() {
        (mouth.send)(&case.frame);
        if count % 50 == 49 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    (mouth.wait)(last);
    look(ground, hosts, &(mouth.hear)())
}

/// Waits until what a guest sends behind all that was said has come to these guests.
fn behind(ground: &Ground, me: Who, send: &dyn Fn(&[u8]), reaches: &[&str], last: u32) {
    let text = [&b"vxsentry"[..], &last.to_be_bytes()].concat();
    for victim in ground.victims.iter().filter(|victim| reaches.contains(&victim.name)) {
        let ends = (me.four, victim.who.four);
        let packet = Four::new(ends.0, ends.1, p::UDP).whole(&p::udp((ends.0.into(), ends.1.into()), (7, 9), &text));
        let frame = p::ethernet(victim.who.mac, me.mac, p::IPV4, &packet);
        wait_until(&format!("what comes behind reaches {}", victim.name), PATIENCE, || {
            send(&frame);
            std::thread::sleep(Duration::from_millis(3));
            victim.has_heard(&text)
        });
    }
}

fn look(ground: &Ground, hosts: &[Host], answers: &[Vec<u8>]) -> Reached {
    let mut reached = Reached::default();
    for (at, host) in hosts.iter().enumerate() {
        reached.heard.extend(heard_plainly(&host.sockets).into_iter().map(|number| (at, number)));
        let handed = host.bridge.take();
        reached.heard.extend(handed.iter().flat_map(|frame| marks(frame).collect::<Vec<_>>()).map(|n| (at, n)));
        let clear = host.between.take().iter().filter(|frame| marks(frame).next().is_some()).count();
        if clear > 0 {
            reached.other.push(format!("{clear} frames in clear at ext0 of {}", NODES[at]));
        }
        let said = |frame: &&Vec<u8>| {
            let four =
                |at: usize| frame.get(at..).and_then(|rest| rest.first_chunk::<4>()).copied().map(Ipv4Addr::from);
            let six = frame.get(22..).and_then(|rest| rest.first_chunk::<16>()).copied().map(Ipv6Addr::from);
            let source = match u16::from_be_bytes([frame[12], frame[13]]) {
                p::ARP => four(28),
                p::IPV4 => four(26),
                _ => None,
            };
            source.is_some_and(|source| host.fours.contains(&source)) || six == Some(host.local)
        };
        if let Some(answer) = answers.iter().find(said) {
            reached.other.push(format!("host {} answers: {answer:02x?}", NODES[at]));
        }
    }
    let beliefs = ground.hosts.iter().flat_map(crate::hostile::host::Host::look);
    for belief in beliefs {
        reached.heard.extend(belief.numbers.iter().map(|number| (usize::MAX, *number)));
        if belief.numbers.is_empty() {
            reached.other.push(format!("{:?} at {}: {}", belief.kind, belief.whom, belief.what));
        }
    }
    reached
}

/// In words, each kind once.
fn words(reached: &Reached, table: &[Case]) -> BTreeSet<String> {
    let case = |(at, number): &(usize, u32)| {
        let case = &table[usize::try_from(*number).unwrap()];
        let by = NODES.get(*at).unwrap_or(&"a device");
        format!("{by} hears {} for host {} sent to {}", case.what, NODES[case.host], case.to)
    };
    reached.heard.iter().map(case).chain(reached.other.iter().cloned()).collect()
}

/// What hosts may have switched on: routing, bridged frames through their firewall, an operator's address on the bridge.
const SETTINGS: [(u8, u8, bool); 5] = [(0, 0, false), (0, 1, false), (1, 0, false), (1, 1, false), (1, 1, true)];

/// Says the whole table under every setting; what was reached, in words.
fn attack(ground: &Ground, hosts: &[Host], table: &[Case], mouth: &Mouth<'_>, first: u32) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    for ((forward, filter, given), number) in SETTINGS.into_iter().zip(first..) {
        for host in hosts {
            let address = if given { "replace" } else { "del" };
            sh(
                &host.space,
                &format!(
                    "sysctl -q -w net.ipv4.ip_forward={forward}
                     sysctl -q -w net.bridge.bridge-nf-call-iptables={filter} 2>/dev/null || true
                     ip address {address} {GIVEN}/24 dev {BRIDGE} 2>/dev/null || true"
                ),
            );
        }
        let told = words(&round(ground, hosts, table, mouth, number), table);
        let setting = format!("ip_forward {forward}, bridge-nf {filter}, an operator's address {given}");
        eprintln!("{setting}: {} frames, {} faults", table.len(), told.len());
        wrong.extend(told.into_iter().map(|word| format!("{setting}: {word}")));
    }
    wrong
}

#[test]
fn no_guest_member_or_stranger_reaches_a_host_by_whatever_frame_and_address() {
    if !can_run() {
        return;
    }
    let ground = Ground::new();
    let watches = ground.lab.watch();
    let (hosts, devices) = (hosts(&ground), ground.cast(1, None).devices);
    let all = ["hv1", "hv2", "hg", "hv3"];
    let plug = &ground.plugs.iter().find(|(name, _)| *name == "hm").unwrap().1;
    let say = |frame: &[u8]| plug.send(frame);
    let guest = Mouth { send: &say, hear: &|| plug.take(), wait: &|last| behind(&ground, who(1), &say, &all, last) };
    let own = table(who(1), &hosts, &devices);
    let mut wrong = attack(&ground, &hosts, &own, &guest, 0);
    assert_nothing_in_clear(watches);
    // What is answered to others than a guest goes where nobody looks.
    let (stranger, nothing) = (Stranger::new(&ground), Vec::new);
    let strange = Mouth { send: &|frame| stranger.say(frame), hear: &nothing, wait: &|_| stranger.wait() };
    wrong.extend(attack(&ground, &hosts, &own, &strange, 30));
    let member = Member::take(&ground.lab);
    let tunnel = |frame: &[u8]| {
        member.tunnel(HOT, frame);
        member.listen();
    };
    let taken = table(who(32), &hosts, &devices);
    for (send, reaches, first) in
        [(&tunnel as &dyn Fn(&[u8]), &all[..3], 10), (&|frame: &[u8]| member.vxlan(HOT, frame), &all[3..], 20)]
    {
        let mouth = Mouth { send, hear: &nothing, wait: &|last| behind(&ground, who(32), send, reaches, last) };
        wrong.extend(attack(&ground, &hosts, &taken, &mouth, first));
    }
    let few: Vec<&String> = wrong.iter().take(20).collect();
    assert!(wrong.is_empty(), "{} faults, the first: {few:#?}", wrong.len());
    let near = |last| behind(&ground, who(1), &say, &all[..3], last);
    without_filter(&ground, &hosts, &own, &[Mouth { wait: &near, ..guest }, strange]);
}

/// What would be seen: with the filters of the first two nodes gone, hosts hear of every kind, and by every kind of destination.
fn without_filter(ground: &Ground, hosts: &[Host], table: &[Case], [guest, stranger]: &[Mouth<'_>; 2]) {
    for (name, host) in NODES.iter().zip(hosts).take(2) {
        ground.lab.kill(name);
        let lines = format!("nft flush ruleset; ip link set dev {BRIDGE} type bridge group_fwd_mask 0");
        sh(&host.space, &lines);
    }
    let of_stranger = round(ground, hosts, table, stranger, 90);
    assert!(of_stranger.heard.iter().any(|(host, _)| *host == 0), "no host hears a stranger");
    let reached = round(ground, hosts, table, guest, 100);
    let heard = |at: usize| -> Vec<&Case> {
        let of = reached.heard.iter().filter(|(host, _)| *host == at);
        of.map(|(_, number)| &table[usize::try_from(*number).unwrap()]).collect()
    };
    let (own, neighbour) = (heard(0), heard(1));
    for kind in ["UDP", "ping", "UDP6", "ping6", "solicitation", "router", "LLDP"] {
        assert!(own.iter().any(|case| case.what == kind), "nobody hears {kind}");
    }
    for to in BROADCASTS.iter().chain(&["01:80:c2:00:00:0e", "01:80:c2:00:00:03", "01:80:c2:00:00:10", "bridge 0"]) {
        assert!(own.iter().any(|case| case.to == *to), "nobody hears what is sent to {to}");
    }
    for to in BROADCASTS {
        assert!(neighbour.iter().any(|case| case.to == to), "the neighbour does not hear what is sent to {to}");
    }
    let answers = reached.other.iter().any(|line| line.contains("answers"));
    assert!(answers, "no answer is seen: {:?}", reached.other);
    assert!(reached.other.iter().any(|line| line.contains("in clear")), "{:?}", reached.other);
}
