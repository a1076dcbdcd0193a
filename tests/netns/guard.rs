//! The plain path under attack. An attacker has the other end of every wire of a host and makes any frame it likes; each row of
//! the table says what it sends and which counter of the guard must tell. A right frame before and after shows that the way was open.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use vxmesh::clock;
use vxmesh::linux::{Kernel, sys};
use vxmesh::node::guard::Guard;
use vxmesh::node::op::Op;
use vxmesh::table::Slice;
use vxmesh::types::Mac;

use crate::frames::{self, Plug, UDP, ethernet, inner, ip, mac_of, marker, udp, vxlan};
use crate::harness::{Space, cable, can_run, guest, wait_until};
use crate::node::{BRIDGE, TAP, VXLAN, behind, local, planned, row, settle, slice, text};
use crate::pretend::tag;

const LIMIT: Duration = Duration::from_secs(5);
/// Until a frame that was sent is counted.
const COUNTED: Duration = Duration::from_secs(2);
/// Frames a row.
const COPIES: u64 = 5;
/// The device of the second network.
const SECOND: &str = "vv11.12b5";
const OURS: &str = "02:00:00:00:00:01";
/// Lives on b, where the attacker says that it is.
const THEIRS: &str = "02:00:00:00:00:02";

fn mac(text: &str) -> Mac {
    text.parse().unwrap()
}

/// A host under attack: guest .11 on it, guests of b and c in its PDC, one guest far away.
struct Target {
    host: Space,
    #[expect(dead_code, reason = "its namespace must live as long")]
    attacker: Space,
    #[expect(dead_code, reason = "its namespace must live as long")]
    guest: Space,
    /// The other ends of the admin interface and of another one.
    wires: [Plug; 2],
    /// Ethernet addresses of the host's ends.
    macs: [Mac; 2],
    ear: Plug,
    six: bool,
    slice: Slice,
    guard: Guard,
}

/// Rewrites a slice of IPv4 for IPv6.
fn family(slice: &Slice, six: bool) -> Slice {
    let text = serde_json::to_string(slice).unwrap();
    let six_text = || text.replace("10.9.0.0/16", "fd00::/16").replace("10.9.0.", "fd00::").replace("1400", "1398");
    serde_json::from_str(&if six { six_text() } else { text.clone() }).unwrap()
}

impl Target {
    fn new(six: bool) -> Self {
        let (host, attacker) = (Space::new("host"), Space::new("wire"));
        cable(&host, "eth0", &attacker, "eth0");
        cable(&host, "eth1", &attacker, "eth1");
        // The host's own strictness must not do the guard's work.
        host.sh("for d in all eth0 eth1; do sysctl -q -w net.ipv4.conf.$d.rp_filter=0; done");
        let other = if six { "fd01::1/64" } else { "10.8.0.1/24" };
        for (device, last) in [("eth0", "1"), ("eth0", "9")] {
            let address = if six { format!("fd00::{last}/64") } else { format!("10.9.0.{last}/16") };
            host.sh(&format!("ip address add {address} dev {device} nodad"));
        }
        host.sh(&format!("ip address add {other} dev eth1 nodad"));
        let rows = json!({
            "default/10/-/02:00:00:00:00:01": behind("g1", "a", &["192.168.10.11"], &[]),
            "default/10/-/02:00:00:00:00:02": row("b", &["192.168.10.12"], &[]),
            "default/10/-/02:00:00:00:00:03": row("c", &["192.168.10.13"], &[]),
            "default/10/-/02:00:00:00:00:04": row("far", &["192.168.10.14"], &[]),
        });
        let mut slice = family(&slice("a", rows), six);
        // A second network of the same overlay, which the node hosts and b does not.
        let key = "default/11".parse().unwrap();
        let mut second = slice.networks.values().next().unwrap().clone();
        second.name = "red".parse().unwrap();
        second.members.retain(|node, _| node.as_str() == "c");
        slice.networks.insert(key, second);
        slice.rows.insert("default/11/-/02:00:00:00:00:03".parse().unwrap(), {
            serde_json::from_value(row("c", &["192.168.10.13"], &[])).unwrap()
        });
        let plan = planned(&slice, &local(if six { "fd00::1" } else { "10.9.0.1" }));
        assert_eq!(plan.findings, []);
        let guard = host.enter(|| {
            let (first, second, _) = settle(&mut Kernel::new().unwrap(), &plan);
            assert_eq!(text(&second), "");
            let loaded = first
                .into_iter()
                .rev()
                .find_map(|op| if let Op::ChangeGuard { to, .. } = op { Some(to) } else { None });
            loaded.unwrap()
        });
        let guest = guest(&host, BRIDGE, "g1", OURS, &["192.168.10.11/24"]);
        let (wires, ear) = (["eth0", "eth1"].map(|device| Plug::new(&attacker, device)), Plug::new(&guest, "eth0"));
        let macs = ["eth0", "eth1"].map(|device| mac_of(&host, device));
        Self { host, attacker, guest, wires, macs, ear, six, slice, guard }
    }

    fn address(&self, last: u8) -> IpAddr {
        if self.six { format!("fd00::{last}") } else { format!("10.9.0.{last}") }.parse().unwrap()
    }

    fn counters(&self) -> BTreeMap<String, u64> {
        self.host.enter(|| Kernel::new().unwrap().guard_counters().unwrap())
    }
}

/// Makes IP packets of a datagram.
type Wrap = fn(&Attack, &[u8]) -> Vec<Vec<u8>>;

/// What an attacker chooses. It begins with everything right.
#[derive(Clone)]
struct Attack {
    from: IpAddr,
    to: IpAddr,
    ttl: u8,
    wire: usize,
    /// The wire of its first packet, where that is another one.
    begins: Option<usize>,
    /// Priority tags of what comes by the other wire.
    tags: usize,
    port: u16,
    flags: u8,
    vni: u32,
    source: Mac,
    target: Mac,
    /// What pieces of one packet of it have in common.
    id: u16,
    /// Makes of the datagram what goes into Ethernet; none: one IP packet.
    wrap: Option<Wrap>,
}

/// A row: what, how it differs from a right frame, and the counter that must rise by one a frame; none: nobody counts.
type Row = (&'static str, fn(&Target, &mut Attack), Option<&'static str>);

impl Attack {
    fn right(target: &Target) -> Self {
        let (from, to) = (target.address(2), target.address(1));
        let (source, there) = (mac(THEIRS), mac(OURS));
        Self {
            from,
            to,
            ttl: 255,
            wire: 0,
            begins: None,
            tags: 0,
            port: 4789,
            flags: 8,
            vni: 10,
            source,
            target: there,
            id: 0,
            wrap: None,
        }
    }

    fn frames(&self, target: &Target, marker: &[u8]) -> Vec<Vec<u8>> {
        let payload = vxlan(self.flags, self.vni, &inner(self.source, self.target, marker));
        let datagram = udp(self.from, self.to, self.port, &payload);
        let packets = match self.wrap {
            Some(wrap) => wrap(self, &datagram),
            None => vec![ip(self.from, self.to, self.ttl, UDP, &datagram)],
        };
        let there = if self.to.is_multicast() || self.to.to_string().ends_with(".255") {
            Mac([255; 6])
        } else {
            target.macs[self.wire]
        };
        let there = |number| match self.begins.filter(|_| number == 0) {
            Some(wire) => target.macs[wire],
            None => there,
        };
        let from = mac("02:00:00:00:99:99");
        let tagged = |number: usize, frame: Vec<u8>| {
            let other = self.begins.filter(|_| number == 0).unwrap_or(self.wire) == 1;
            (0..if other { self.tags } else { 0 }).fold(frame, |frame, _| tag(0, &frame))
        };
        packets.iter().enumerate().map(|(n, packet)| tagged(n, ethernet(from, there(n), packet))).collect()
    }

    /// Sends copies of it; returns how many frames of it the guest got, and how the counters rose without the `fence`, a right
    /// frame that goes behind all of them.
    fn run(&self, target: &Target, number: usize, expect: Option<&str>) -> (u64, BTreeMap<String, u64>) {
        let before = target.counters();
        let (own, fence) = (marker(number), marker(number + 1_000_000));
        for _ in 0..COPIES {
            for (number, frame) in self.frames(target, &own).iter().enumerate() {
                let begins = self.begins.filter(|_| number == 0);
                target.wires[begins.unwrap_or(self.wire)].send(frame);
            }
        }
        let rise = |name: &str| target.counters()[name] - before[name];
        // One that is not counted as it should be is told with the others; only waited for as long as counting can take.
        let start = clock::mono();
        while expect.is_some_and(|counter| rise(counter) < COPIES) && clock::mono().since(start) < COUNTED {
            std::thread::sleep(Duration::from_millis(10));
        }
        let (mut delivered, mut through) = (0, false);
        wait_until("a right frame passes behind it", LIMIT, || {
            if !through {
                target.wires[0].send(&Self::right(target).frames(target, &fence)[0]);
            }
            for frame in target.ear.take() {
                delivered += u64::from(frames::holds(&frame, &own));
                through |= frames::holds(&frame, &fence);
            }
            through
        });
        let mut risen = target.counters();
        risen.retain(|name, now| {
            *now -= before[name];
            *now > 0 && name.starts_with("in_") && name != "in_accepted"
        });
        (delivered, risen)
    }
}

const GRE: u8 = 47;

/// The right datagram inside another tunnel's header.
fn inside(attack: &Attack, protocol: u8, header: &[u8], datagram: &[u8]) -> Vec<Vec<u8>> {
    let packet = ip(attack.from, attack.to, 255, UDP, datagram);
    vec![ip(attack.from, attack.to, 255, protocol, &[header, &packet].concat())]
}

/// The inner Ethernet frame of a VXLAN datagram.
fn frame_of(datagram: &[u8]) -> &[u8] {
    &datagram[16..]
}

/// Rows of what the guard must refuse, or the kernel behind it where the counter is none.
const ROWS: &[Row] = &[
    ("a stranger", |t, a| a.from = t.address(66), Some("in_unknown")),
    ("a member with the TTL of a router away", |_, a| a.ttl = 254, Some("in_ttl")),
    ("a member with the usual TTL", |_, a| a.ttl = 64, Some("in_ttl")),
    ("a member with TTL 1", |_, a| a.ttl = 1, Some("in_ttl")),
    ("through another interface", |_, a| a.wire = 1, Some("in_unknown")),
    ("to another address of this interface", |t, a| a.to = t.address(9), Some("in_address")),
    (
        "to the address of another interface",
        |t, a| a.to = if t.six { "fd01::1" } else { "10.8.0.1" }.parse().unwrap(),
        Some("in_address"),
    ),
    (
        "to everybody",
        |t, a| a.to = if t.six { "ff02::1" } else { "255.255.255.255" }.parse().unwrap(),
        Some("in_address"),
    ),
    ("another VNI, which nobody has", |_, a| a.vni = 99, Some("in_unknown")),
    (
        "a network that its sender is no member of",
        |_, a| (a.vni, a.source) = (11, mac("02:00:00:00:00:03")),
        Some("in_unknown"),
    ),
    ("another UDP port", |_, a| a.port = 4790, None),
    ("VXLAN of others, on UDP port 8472", |_, a| a.port = 8472, None),
    ("without the I flag", |_, a| a.flags = 0, None),
    ("with a reserved flag before it", |_, a| a.flags = 0x88, None),
    ("with a reserved flag behind it", |_, a| a.flags = 0x09, None),
    (
        "in GRE with Ethernet inside",
        |_, a| a.wrap = Some(|a, d| vec![ip(a.from, a.to, 255, GRE, &[&[0, 0, 0x65, 0x58][..], frame_of(d)].concat())]),
        None,
    ),
    (
        "in GRE with IP inside",
        |_, a| {
            a.wrap = Some(|a, d| inside(a, GRE, if a.from.is_ipv4() { &[0, 0, 8, 0] } else { &[0, 0, 0x86, 0xdd] }, d))
        },
        None,
    ),
    ("IP in IP", |_, a| a.wrap = Some(|a, d| inside(a, if a.from.is_ipv4() { 4 } else { 41 }, &[], d)), None),
    (
        "in GUE",
        |_, a| {
            a.wrap = Some(|a, d| {
                let packet = ip(a.from, a.to, 255, UDP, d);
                let next = if a.from.is_ipv4() { 4 } else { 41 };
                let gue = [&[0, next, 0, 0][..], &packet].concat();
                vec![ip(a.from, a.to, 255, UDP, &udp(a.from, a.to, 6080, &gue))]
            });
        },
        None,
    ),
    (
        "in FOU",
        |_, a| {
            a.wrap = Some(|a, d| {
                let packet = ip(a.from, a.to, 255, UDP, d);
                vec![ip(a.from, a.to, 255, UDP, &udp(a.from, a.to, 5555, &packet))]
            });
        },
        None,
    ),
    (
        "in Geneve",
        |_, a| {
            a.wrap = Some(|a, d| {
                let geneve = [&[0, 0, 0x65, 0x58, 0, 0, 10, 0][..], frame_of(d)].concat();
                vec![ip(a.from, a.to, 255, UDP, &udp(a.from, a.to, 6081, &geneve))]
            });
        },
        None,
    ),
    (
        "an error of a stranger, by which the path to a member would carry 1300 bytes",
        |t, a| {
            (a.from, a.wire) = (t.address(66), 1);
            a.wrap = Some(|a, d| {
                // What it quotes went to the member: the last byte of its address is 2.
                let member = if a.from.is_ipv4() { "10.9.0.2" } else { "fd00::2" }.parse().unwrap();
                vec![frames::smaller(a.from, a.to, &ip(a.to, member, 255, UDP, d), 1300)]
            });
        },
        Some("in_smaller"),
    ),
    ("a member with the address of a guest here", |_, a| a.source = mac(OURS), None),
    ("a member with an address that nobody has", |_, a| a.source = mac("02:00:00:00:00:77"), None),
    ("a member with the address of a guest in another PDC", |_, a| a.source = mac("02:00:00:00:00:04"), None),
    (
        "a member with a foreign address, to all",
        |_, a| {
            (a.source, a.target) = (mac("02:00:00:00:00:77"), Mac([255; 6]));
        },
        None,
    ),
];

/// Rows that only one family has.
const FOUR: &[Row] = &[
    // A martian: IPv4 refuses it before the guard sees it.
    ("from this host's own address", |t, a| a.from = t.address(1), None),
    ("to all of the subnet", |_, a| a.to = "10.9.255.255".parse().unwrap(), Some("in_address")),
];

/// See [`FOUR`].
const SIX: &[Row] = &[
    ("from this host's own address", |t, a| a.from = t.address(1), Some("in_unknown")),
    (
        "a stranger, behind a header of options",
        |t, a| {
            a.from = t.address(66);
            a.wrap = Some(|a, d| vec![ip(a.from, a.to, 255, 60, &[&[UDP, 0, 1, 4, 0, 0, 0, 0][..], d].concat())]);
        },
        Some("in_unknown"),
    ),
];

/// A row of fragments: what, how, and the counters where fragments are judged for all and where they are at interfaces by which none should
/// come.
type PieceRow = (&'static str, fn(&Target, &mut Attack), [&'static str; 2]);

/// Cuts the datagram of an attack after this many bytes.
fn cut(attack: &Attack, datagram: &[u8], after: usize) -> Vec<Vec<u8>> {
    cut_of(attack, [UDP, UDP], datagram, after)
}

/// The same of other headers of IPv6, of which each fragment names its own.
fn cut_of(attack: &Attack, next: [u8; 2], datagram: &[u8], after: usize) -> Vec<Vec<u8>> {
    let Attack { id, from, to, ttl, .. } = *attack;
    let four = |bytes: &[u8], at, more| frames::fragment_of(id, from, to, 255, UDP, bytes, at, more);
    let six = |bytes: &[u8], at: u16, more: bool| {
        let place = (at | u16::from(more)).to_be_bytes();
        let header = [next[usize::from(!more)], 0, place[0], place[1], 0, 0, id.to_be_bytes()[0], id.to_be_bytes()[1]];
        ip(from, to, ttl, 44, &[&header[..], bytes].concat())
    };
    let (first, rest) = datagram.split_at(after);
    let at = u16::try_from(after).unwrap();
    match from {
        IpAddr::V4(_) => vec![four(first, 0, true), four(rest, at, false)],
        IpAddr::V6(_) => vec![six(first, 0, true), six(rest, at, false)],
    }
}

const HALVES: Wrap = |attack, datagram| cut(attack, datagram, 48);
/// The UDP header alone in the first.
const HEADER: Wrap = |attack, datagram| cut(attack, datagram, 8);

/// Half a header of options in the first (type 0x1e: skipped by who does not know it), and the rest of them in the second.
const HIDDEN: Wrap = |attack, datagram| {
    let options = [60, 1, 0x1e, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, UDP, 0, 0x1e, 4, 0, 0, 0, 0];
    cut_of(attack, [60, 60], &[&options[..], datagram].concat(), 8)
};
/// The last one names another protocol, which no receiver reads.
const OTHERWISE: Wrap = |attack, datagram| cut_of(attack, [UDP, 6], datagram, 48);
/// An error about the path to a member, whose quote is in the last one.
const ERROR: Wrap = |attack, datagram| {
    let quoted = ip(attack.to, "fd00::2".parse().unwrap(), 255, UDP, datagram);
    let whole = frames::smaller(attack.from, attack.to, &quoted, 1300);
    cut_of(attack, [58, 58], &whole[40..], 16)
};

/// Fragments of IPv6, which the kernel puts together behind the hook at which it is judged.
const PIECES_SIX: &[PieceRow] = &[
    (
        "a stranger, behind options that are cut in two",
        |t, a| (a.from, a.wrap) = (t.address(66), Some(HIDDEN)),
        ["in_pieces", "in_pieces"],
    ),
    ("a member, behind options that are cut in two", |_, a| a.wrap = Some(HIDDEN), ["in_pieces", "in_pieces"]),
    (
        "a stranger through routers, behind options that are cut in two",
        |_, a| (a.from, a.ttl, a.wrap) = ("2001:db8::66".parse().unwrap(), 3, Some(HIDDEN)),
        ["in_pieces", "in_pieces"],
    ),
    (
        "a member, in two fragments, the last by another interface and of another protocol",
        |_, a| (a.wire, a.begins, a.wrap) = (1, Some(0), Some(OTHERWISE)),
        ["in_pieces", "in_pieces"],
    ),
    (
        "an error of a stranger about the path to a member, in two fragments",
        |t, a| (a.from, a.wrap) = (t.address(66), Some(ERROR)),
        ["in_smaller", "in_smaller"],
    ),
];

/// Fragments, of either family. Those of one interface may be put together: the whole is judged then.
const PIECES: &[PieceRow] = &[
    (
        "a stranger, in two fragments",
        |t, a| (a.from, a.wrap) = (t.address(66), Some(HALVES)),
        ["in_pieces", "in_unknown"],
    ),
    ("a member, in two fragments", |_, a| a.wrap = Some(HALVES), ["in_pieces", "in_accepted"]),
    (
        "a member, in two fragments, the first by another interface",
        |_, a| (a.begins, a.wrap) = (Some(1), Some(HALVES)),
        ["in_pieces", "in_pieces"],
    ),
    (
        "a member, in two fragments, the last by another interface",
        |_, a| (a.wire, a.begins, a.wrap) = (1, Some(0), Some(HALVES)),
        ["in_pieces", "in_pieces"],
    ),
    (
        "a member, in two fragments, the last by another interface and before the first",
        |_, a| {
            a.begins = Some(1);
            a.wrap = Some(|a, d| HALVES(a, d).into_iter().rev().collect());
        },
        ["in_pieces", "in_pieces"],
    ),
    (
        "a member, in two fragments, the first by another interface and with a priority tag",
        |_, a| (a.begins, a.tags, a.wrap) = (Some(1), 1, Some(HALVES)),
        ["in_pieces", "in_pieces"],
    ),
    (
        "a member, in two fragments, the first by another interface and with two of them",
        |_, a| (a.begins, a.tags, a.wrap) = (Some(1), 2, Some(HALVES)),
        ["in_pieces", "in_pieces"],
    ),
    (
        "a member, in two fragments, the last by another interface and with three of them",
        |_, a| (a.wire, a.begins, a.tags, a.wrap) = (1, Some(0), 3, Some(HALVES)),
        ["in_pieces", "in_pieces"],
    ),
    (
        "a fragment that hides the VNI from the guard",
        |_, a| (a.vni, a.wrap) = (11, Some(HEADER)),
        ["in_pieces", "in_unknown"],
    ),
];

fn attack(six: bool) {
    // Frames of one CPU are handled in their order, so what is sent last shows that all before it has been handled.
    let _ = sys::pin_thread(0);
    let target = Target::new(six);
    let tables = || target.host.sh(&format!("bridge fdb show br {BRIDGE} | sort; bridge fdb show dev {VXLAN} | sort"));
    let right = Attack::right(&target);
    wait_until("the guest hears", LIMIT, || right.run(&target, 0, Some("in_accepted")).0 == COPIES);
    let before = tables();
    let mut wrong = Vec::new();
    for (number, (what, change, counter)) in (1..).zip(ROWS.iter().chain(if six { SIX } else { FOUR })) {
        let mut attack = right.clone();
        change(&target, &mut attack);
        wrong.extend(differs(what, *counter, attack.run(&target, number, *counter)));
    }
    wrong.extend(in_pieces(&target, &right));
    assert!(wrong.is_empty(), "IPv6: {six}\n{}", wrong.join("\n"));
    assert_eq!(tables(), before, "no frame of the attacks has moved an entry");
    let path = target.host.sh(&format!("ip route get {}", target.address(2)));
    assert!(!path.contains("mtu"), "no error has made a path smaller: {path}");
    let (delivered, risen) = right.run(&target, 999, Some("in_accepted"));
    assert_eq!((delivered, risen), (COPIES, BTreeMap::new()), "a right frame still passes");
    // What the kernel cannot tell apart, and docs/threat-model.md says so: members of one network and PDC trust each other.
    let neighbour = Attack { source: mac("02:00:00:00:00:03"), ..right };
    assert_eq!(neighbour.run(&target, 998, Some("in_accepted")).0, COPIES, "c's guest, said by b");
    nothing_is_quoted(&target, six);
}

/// What was other than it should be: frames that were delivered, and counters beside the right one.
fn differs(what: &str, counter: Option<&str>, (delivered, risen): (u64, BTreeMap<String, u64>)) -> Option<String> {
    let passes = counter == Some("in_accepted");
    let expected: BTreeMap<String, u64> =
        counter.iter().filter(|_| !passes).map(|name| (name.to_string(), COPIES)).collect();
    let wanted = if passes { COPIES } else { 0 };
    (delivered != wanted || risen != expected)
        .then(|| format!("{what}: {delivered} delivered, counted {risen:?} instead of {counter:?}"))
}

/// Fragments, where all pass, at the other interfaces, and of a node that lets nobody in. A kernel without rules for interfaces that are not
/// there does without the second.
fn in_pieces(target: &Target, right: &Attack) -> Vec<String> {
    let by_doors = target.host.enter(|| Kernel::new().unwrap().observe().unwrap().rules_before_devices);
    let six = if target.six { PIECES_SIX } else { &[] };
    let mut wrong = Vec::new();
    let mut round = |place: usize| {
        for (number, (what, change, counters)) in (1_u16..).zip(PIECES.iter().chain(six)) {
            let number = number + 100 * u16::try_from(place + 1).unwrap();
            let mut attack = Attack { id: number, ..right.clone() };
            change(target, &mut attack);
            let counter = Some(counters[place]);
            let outcome = attack.run(target, usize::from(number), counter);
            wrong.extend(differs(&format!("{what} (place {place})"), counter, outcome));
        }
    };
    let load = |guard: &Guard| {
        let anew = "nft delete table netdev vxmesh 2>/dev/null || true; nft -f - <<'EOF'\n";
        target.host.sh(&format!("{anew}{}EOF\n", guard.text()));
    };
    let everywhere = Guard { doors: None, ..target.guard.clone() };
    if by_doors {
        round(1);
        load(&everywhere);
    }
    round(0);
    load(&Guard { admin: None, ..everywhere.clone() });
    let sent = to_nobody(target, right);
    load(&everywhere);
    let mut heard = Vec::new();
    wait_until("a right frame passes behind them", LIMIT, || {
        target.wires[0].send(&Attack::right(target).frames(target, &marker(990))[0]);
        heard.extend(target.ear.take());
        heard.iter().any(|frame| frames::holds(frame, &marker(990)))
    });
    wrong.extend(
        sent.iter()
            .filter(|(_, own)| heard.iter().any(|frame| frames::holds(frame, own)))
            .map(|(what, _)| format!("{what}: delivered by a node that lets nobody in")),
    );
    wrong
}

/// The same where no node is let in: nobody judges fragments before the hook for what is for this host. What was sent, and its mark.
fn to_nobody(target: &Target, right: &Attack) -> Vec<(&'static str, [u8; 12])> {
    let send = |(number, (what, change, _)): (u16, &PieceRow)| {
        let mut attack = Attack { id: 300 + number, ..right.clone() };
        change(target, &mut attack);
        let refused =
            || ["in_unknown", "in_pieces", "in_smaller"].map(|name| target.counters()[name]).iter().sum::<u64>();
        let (own, before) = (marker(usize::from(attack.id)), refused());
        for (part, frame) in attack.frames(target, &own).iter().enumerate() {
            target.wires[attack.begins.filter(|_| part == 0).unwrap_or(attack.wire)].send(frame);
        }
        wait_until(what, LIMIT, || refused() > before);
        (*what, own)
    };
    (1_u16..).zip(PIECES.iter().chain(if target.six { PIECES_SIX } else { &[] })).map(send).collect()
}

/// Where no device listens (it is being made again, or was deleted), the kernel's port unreachable would take the frame that it is
/// about to where routes lead, another PDC too.
fn nothing_is_quoted(target: &Target, six: bool) {
    let back = if six { "fd00::2" } else { "10.9.0.2" };
    target.host.sh(&format!("ip link delete {VXLAN}; ip neigh replace {back} dev eth0 lladdr 02:00:00:00:99:99"));
    let own = marker(997);
    wait_until("the kernel answers with an error", LIMIT, || {
        target.wires[0].send(&Attack::right(target).frames(target, &own)[0]);
        target.counters()["out_quoted"] > 0
    });
    let from_host = |frame: &Vec<u8>| frame[6..12] == target.macs[0].0 && frames::holds(frame, &own);
    assert_eq!(target.wires[0].take().iter().filter(|frame| from_host(frame)).count(), 0, "a quoted frame left");
}

#[test]
fn nothing_but_a_members_own_frames_enters_by_the_plain_port_of_ipv4() {
    if can_run() {
        attack(false);
    }
}

#[test]
fn nothing_but_a_members_own_frames_enters_by_the_plain_port_of_ipv6() {
    if can_run() {
        attack(true);
    }
}

#[test]
fn nothing_leaves_by_the_plain_port_but_to_members_of_the_network() {
    if !can_run() {
        return;
    }
    let target = Target::new(false);
    let ends = target.wires.each_ref();
    target.host.sh("ip route add 10.9.0.3/32 dev eth1; ip neigh replace 10.9.0.2 dev eth0 lladdr 02:00:00:00:99:99");
    target.host.sh("for a in 10.9.0.66 10.9.0.3; do for d in eth0 eth1; do ip neigh replace $a dev $d lladdr 02:00:00:00:99:99; done; done");
    // By our own devices, whose entries somebody has changed, and by one that is nobody's.
    target.host.sh("ip link add vx12 type vxlan id 12 local 10.9.0.1 dstport 4789 nolearning; ip link set vx12 up");
    let wrapped = |device: &'static str, to: &str, frame: &[u8]| {
        target.host.sh(&format!(
            "bridge fdb del {THEIRS} dev {device} self 2>/dev/null || true; bridge fdb add {THEIRS} dev {device} self static dst {to}"
        ));
        Plug::new(&target.host, device).send(frame);
    };
    let rows: [(&str, &str, &'static str, bool); 5] = [
        ("a member", "10.9.0.2", VXLAN, true),
        ("a stranger", "10.9.0.66", VXLAN, false),
        ("a member, of a network that it is not in", "10.9.0.2", SECOND, false),
        ("a member, through the wrong interface", "10.9.0.3", VXLAN, false),
        ("a member, of no network of ours", "10.9.0.2", "vx12", false),
    ];
    let leaves = |what: &str, number: usize, passes: bool, say: &dyn Fn(&[u8])| {
        let (before, own) = (target.counters(), marker(number));
        say(&inner(mac(OURS), mac(THEIRS), &own));
        let counter = if passes { "out_accepted" } else { "out_unknown" };
        wait_until(what, LIMIT, || target.counters()[counter] > before[counter]);
        let seen: usize = ends.iter().map(|end| end.count(&own)).sum();
        assert_eq!(seen, usize::from(passes), "{what}");
    };
    for (number, (what, to, device, passes)) in (1..).zip(rows) {
        leaves(what, number, passes, &|frame| wrapped(device, to, frame));
    }
    // Any user of the host can send from its address to that port.
    let program = |vni: u32, frame: &[u8]| {
        // What the filter drops on the way out may be told to the sender as an error.
        let say =
            || drop(std::net::UdpSocket::bind("10.9.0.1:0").unwrap().send_to(&vxlan(8, vni, frame), "10.9.0.2:4789"));
        target.host.enter(say);
    };
    leaves("a member, by a program of this host", 10, false, &|frame| program(10, frame));
    leaves("a member, by a program of this host, of no network", 11, false, &|frame| program(0, frame));
    assert!(target.host.holds(&format!("ip link show dev {TAP}")));
}

/// An interface that comes is one by which fragments may not come, and whatever comes or goes, counters stay.
#[test]
fn fragments_are_judged_at_interfaces_that_come_and_no_longer_where_they_go_and_counters_stay() {
    if !can_run() {
        return;
    }
    let target = Target::new(false);
    if !target.host.enter(|| Kernel::new().unwrap().observe().unwrap().rules_before_devices) {
        println!("SKIPPED: this kernel has no rules for interfaces that are not there (Linux 6.16)");
        return;
    }
    let plan = planned(&target.slice, &local("10.9.0.1"));
    let devices = || {
        let listing = target.host.sh("nft list chain inet vxmesh doors 2>&1 || true");
        let place = listing.split_once("ingress device").and_then(|(_, rest)| rest.split_once("priority"));
        place.map(|(names, _)| names.trim_start_matches("s =").replace([' ', '"', '{', '}'], "")).unwrap_or_default()
    };
    // One that meshd has not loaded is unknown to it, so it is loaded whole first.
    let mut kernel = target.host.enter(|| Kernel::new().unwrap());
    let mut settled = || target.host.enter(|| settle(&mut kernel, &plan));
    assert_eq!(text(&settled().1), "");
    assert_eq!(devices(), "eth1");
    let stranger = Attack { from: target.address(66), ..Attack::right(&target) };
    stranger.run(&target, 1, Some("in_unknown"));
    // Guests and hosts speak by themselves; what was refused stays as it was.
    let refused = || target.counters().remove("in_unknown");
    let before = refused();
    for (what, now) in [
        ("ip link add eth7 type veth peer name eth8; ip link add br7 type bridge", "br7,eth1,eth7,eth8"),
        ("ip link set eth7 master br7; ip link set eth8 master br7", "br7,eth1"),
        ("ip link delete br7; ip link delete eth7; ip link delete eth1", ""),
        ("ip link add eth1 type bridge", "eth1"),
    ] {
        target.host.sh(what);
        let (first, second, _) = settled();
        assert!(matches!(first[..], [Op::ChangeGuard { .. }]), "{what}: {}", text(&first));
        assert_eq!((text(&second).as_str(), devices().as_str()), ("", now), "{what}");
        assert_eq!(refused(), before, "{what}: counters stay");
    }
}
