//! Guests that try everything on their own port, against the real kernel.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use vxmesh::clock;
use vxmesh::linux::Kernel;
use vxmesh::node::desired::Observed;
use vxmesh::node::reconcile;
use vxmesh::table::{Learning, Slice};
use vxmesh::types::Mac;

use crate::harness::{Space, can_run, wait_until};
use crate::node::{BRIDGE, host, local, planned, settle, slice, text};
use crate::pretend::{
    self, Plug, Until, arp, detect, eth, fragment, icmp, ipv4, ipv6, na, ns, own, probe, router, same, saying, tag,
};

/// Guests of this node: bound to `g1`, bound to `g7` with a tag, loose, router, server, without addresses, and one who only listens.
const BOUND: Mac = Mac([2, 0, 0, 0, 0, 0x11]);
const TAGGED: Mac = Mac([2, 0, 0, 0, 0, 0x17]);
const LOOSE: Mac = Mac([2, 0, 0, 0, 0, 0x12]);
const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 0x18]);
const SERVER: Mac = Mac([2, 0, 0, 0, 0, 0x19]);
/// A router that answers DHCP, too.
const BOTH: Mac = Mac([2, 0, 0, 0, 0, 0x1b]);
const FREE: Mac = Mac([2, 0, 0, 0, 0, 0x1a]);
const EAR: Mac = Mac([2, 0, 0, 0, 0, 0x1e]);
/// A guest of another node, and nobody.
const REMOTE: Mac = Mac([2, 0, 0, 0, 0, 0x22]);
const NOBODY: Mac = Mac([2, 0, 0, 0, 0, 0x99]);

pub(crate) fn four(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 10, last)
}

fn six(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, last)
}

fn rows() -> Value {
    let row = |node: &str, last: u8, more: Value| {
        let mut row = json!({"node": node, "arp": [four(last)], "nd": [six(last.into())]});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    json!({
        "default/10/-/02:00:00:00:00:11": row("a", 11, json!({"interface": "g1"})),
        "default/10/7/02:00:00:00:00:17": row("a", 17, json!({"interface": "g7"})),
        "default/10/-/02:00:00:00:00:12": row("a", 12, json!({})),
        "default/10/-/02:00:00:00:00:18": row("a", 18, json!({"interface": "g8", "role": "router"})),
        "default/10/-/02:00:00:00:00:1b": row("a", 27, json!({"interface": "gb", "role": ["router", "dhcp"]})),
        "default/10/-/02:00:00:00:00:19": row("a", 19, json!({"interface": "g9", "role": "dhcp"})),
        "default/10/-/02:00:00:00:00:1a": {"node": "a", "interface": "ga"},
        "default/10/-/02:00:00:00:00:1e": row("a", 30, json!({"interface": "ge"})),
        "default/10/-/02:00:00:00:00:22": row("b", 22, json!({})),
    })
}

/// A node that follows a slice.
pub(crate) struct Ground {
    pub(crate) host: Space,
    pub(crate) kernel: Kernel,
    pub(crate) slice: Slice,
}

impl Ground {
    pub(crate) fn new(tag: &str, slice: Slice) -> Self {
        let host = host(tag, "10.9.0.1");
        let kernel = host.enter(|| Kernel::new().unwrap());
        let mut ground = Self { host, kernel, slice };
        ground.settle();
        ground
    }

    /// As `meshd` does when the kernel says that something has changed.
    pub(crate) fn settle(&mut self) {
        let plan = planned(&self.slice, &local("10.9.0.1"));
        // Ports that name no interface are what some tests are about.
        assert!(plan.findings.iter().all(|finding| finding.code == "M0614"), "{:?}", plan.findings);
        let kernel = &mut self.kernel;
        let left = self.host.enter(|| settle(kernel, &plan).1);
        assert_eq!(text(&left), "");
    }

    /// The filter as it is where the kernel keeps no rules for devices that are absent.
    pub(crate) fn settle_as_on_older_kernels(&mut self) {
        let plan = planned(&self.slice, &local("10.9.0.1"));
        let kernel = &mut self.kernel;
        self.host.enter(|| {
            let observed = Observed { rules_before_devices: false, ..kernel.observe().unwrap() };
            kernel.apply(&reconcile::diff(&plan.desired, &observed)).unwrap();
        });
    }

    pub(crate) fn has_rules_before_devices(&mut self) -> bool {
        let kernel = &mut self.kernel;
        self.host.enter(|| kernel.observe().unwrap().rules_before_devices)
    }

    pub(crate) fn plug(&self, name: &str) -> Plug {
        Plug::on(&self.host, name, BRIDGE)
    }

    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        self.host.enter(|| self.kernel.guest_counters().unwrap())
    }
}

/// What, from which interface, which frame, and the reason for which it is dropped.
type Attack = (&'static str, &'static str, Vec<u8>, Option<&'static str>);

/// {MAC, ARP, ND, IPv4, IPv6, VLAN, EtherType} x {own, foreign}, and the roles.
fn attacks() -> Vec<Attack> {
    let all = Mac::BROADCAST;
    let zero = Ipv4Addr::UNSPECIFIED;
    vec![
        ("own MAC and IPv4", "g1", ipv4(all, BOUND, four(11), None), None),
        ("own IPv4 to a guest", "g1", ipv4(EAR, BOUND, four(11), None), None),
        ("own IPv6", "g1", ipv6(all, BOUND, six(11), None), None),
        ("own link-local IPv6", "g1", ipv6(all, BOUND, own(BOUND), None), None),
        ("own ARP", "g1", arp(BOUND, BOUND, four(11)), None),
        ("own ARP probe", "g1", probe(BOUND, four(11)), None),
        ("probe of another's address", "g1", probe(BOUND, four(30)), Some("arp")),
        ("own NA", "g1", na(BOUND, six(11), six(11)), None),
        ("own NS", "g1", ns(BOUND, six(11), BOUND), None),
        ("duplicate address detection", "g1", detect(BOUND, six(11)), None),
        ("detection of another's address", "g1", detect(BOUND, six(30)), Some("nd")),
        ("a DHCP client", "g1", ipv4(all, BOUND, zero, Some((68, 67))), None),
        ("a priority tag", "g1", tag(0, &ipv4(all, BOUND, four(11), None)), None),
        ("own VLAN", "g7", tag(7, &ipv4(all, TAGGED, four(17), None)), None),
        ("own ARP in the VLAN", "g7", tag(7, &arp(TAGGED, TAGGED, four(17))), None),
        ("own NA in the VLAN", "g7", tag(7, &na(TAGGED, six(17), six(17))), None),
        ("a loose guest", "x1", ipv4(all, LOOSE, four(12), None), None),
        ("ARP of a loose guest", "x1", arp(LOOSE, LOOSE, four(12)), None),
        ("RA of a router", "g8", router(ROUTER, own(ROUTER), 134, false), None),
        ("routed IPv4", "g8", ipv4(all, ROUTER, Ipv4Addr::new(8, 8, 8, 8), None), None),
        ("DHCP of a server", "g9", ipv4(all, SERVER, four(19), Some((67, 68))), None),
        ("DHCPv6 of a server", "g9", ipv6(all, SERVER, six(19), Some((547, 546))), None),
        ("RA of a router that answers DHCP", "gb", router(BOTH, own(BOTH), 134, false), None),
        ("its routed IPv4", "gb", ipv4(all, BOTH, Ipv4Addr::new(8, 8, 8, 8), None), None),
        ("its DHCP", "gb", ipv4(all, BOTH, four(27), Some((67, 68))), None),
        ("its DHCPv6", "gb", ipv6(all, BOTH, six(27), Some((547, 546))), None),
        ("a port without addresses", "ga", ipv4(all, FREE, four(77), None), None),
        ("ARP of a port without addresses", "ga", arp(FREE, FREE, four(77)), None),
        ("MAC of nobody", "g1", ipv4(all, NOBODY, four(11), None), Some("mac")),
        ("MAC of a guest elsewhere", "g1", ipv4(all, REMOTE, four(22), None), Some("mac")),
        ("MAC of a guest here", "g1", ipv4(all, EAR, four(30), None), Some("mac")),
        ("MAC of a loose guest", "g1", ipv4(all, LOOSE, four(12), None), Some("mac")),
        ("MAC of a bound guest from an unnamed interface", "x1", ipv4(all, BOUND, four(11), None), Some("mac")),
        ("MAC of nobody from an unnamed interface", "x1", ipv4(all, NOBODY, four(12), None), Some("mac")),
        ("own MAC and another's IPv4", "g1", ipv4(all, BOUND, four(30), None), Some("ip")),
        ("own MAC and nobody's IPv4", "g1", ipv4(all, BOUND, four(99), None), Some("ip")),
        ("another's IPv4, loose", "x1", ipv4(all, LOOSE, four(11), None), Some("ip")),
        ("own MAC and another's IPv6", "g1", ipv6(all, BOUND, six(30), None), Some("ip")),
        ("another's link-local", "g1", ipv6(all, BOUND, own(EAR), None), Some("ip")),
        ("ARP of a guest here", "g1", arp(BOUND, BOUND, four(30)), Some("arp")),
        ("ARP of a guest elsewhere", "g1", arp(BOUND, BOUND, four(22)), Some("arp")),
        ("ARP with another's MAC", "g1", arp(BOUND, EAR, four(11)), Some("arp")),
        ("ARP that is none", "g1", eth(all, BOUND, 0x0806, &[0, 6, 8, 0, 6, 4, 0, 2]), Some("arp")),
        ("another's ARP behind a priority tag", "g1", tag(0, &arp(BOUND, BOUND, four(30))), Some("arp")),
        ("another's ARP in the VLAN", "g7", tag(7, &arp(TAGGED, TAGGED, four(30))), Some("arp")),
        ("NA of a guest here", "g1", na(BOUND, six(11), six(30)), Some("nd")),
        ("NA of another's link-local", "g1", na(BOUND, own(BOUND), own(EAR)), Some("nd")),
        ("NA of its own as another", "g1", na(BOUND, six(30), six(11)), Some("nd")),
        ("NS as another", "g1", ns(BOUND, six(30), BOUND), Some("nd")),
        ("another's NA in the VLAN", "g7", tag(7, &na(TAGGED, six(17), six(30))), Some("nd")),
        ("RA", "g1", router(BOUND, own(BOUND), 134, false), Some("router")),
        ("RA behind options", "g1", router(BOUND, own(BOUND), 134, true), Some("router")),
        ("RA in the VLAN", "g7", tag(7, &router(TAGGED, own(TAGGED), 134, false)), Some("router")),
        ("RA of a port without addresses", "ga", router(FREE, own(FREE), 134, false), Some("router")),
        ("RA of a DHCP server", "g9", router(SERVER, own(SERVER), 134, false), Some("router")),
        ("RA of a loose guest", "x1", router(LOOSE, own(LOOSE), 134, false), Some("router")),
        ("redirect", "g1", router(BOUND, own(BOUND), 137, false), Some("router")),
        ("RA as another router", "g8", router(ROUTER, own(EAR), 134, false), Some("nd")),
        ("DHCP", "g1", ipv4(all, BOUND, four(11), Some((67, 68))), Some("dhcp")),
        ("DHCP of a router", "g8", ipv4(all, ROUTER, four(18), Some((67, 68))), Some("dhcp")),
        ("DHCPv6", "g1", ipv6(all, BOUND, six(11), Some((547, 546))), Some("dhcp")),
        ("DHCP from an odd port", "g1", ipv4(all, BOUND, four(11), Some((1067, 68))), Some("dhcp")),
        ("DHCP to its neighbour alone", "g1", ipv4(EAR, BOUND, four(11), Some((9, 68))), Some("dhcp")),
        (
            "DHCP from an odd port behind a priority tag",
            "g1",
            tag(0, &ipv4(all, BOUND, four(11), Some((9, 68)))),
            Some("dhcp"),
        ),
        ("DHCP in the VLAN", "g7", tag(7, &ipv4(all, TAGGED, four(17), Some((9, 68)))), Some("dhcp")),
        ("DHCP of a loose guest", "x1", ipv4(all, LOOSE, four(12), Some((9, 68))), Some("dhcp")),
        ("DHCP of a port without addresses", "ga", ipv4(all, FREE, four(77), Some((9, 68))), Some("dhcp")),
        ("an answer for a relay", "g1", saying(ipv4(EAR, BOUND, four(11), Some((68, 67))), 34, 2), Some("dhcp")),
        ("a question to a relay", "g1", saying(ipv4(EAR, BOUND, four(11), Some((68, 67))), 34, 1), None),
        ("DHCPv6 from an odd port", "g1", ipv6(all, BOUND, six(11), Some((1547, 546))), Some("dhcp")),
        ("a DHCPv6 answer for a relay", "g1", saying(ipv6(all, BOUND, six(11), Some((9, 547))), 54, 13), Some("dhcp")),
        ("a DHCPv6 question", "g1", saying(ipv6(all, BOUND, own(BOUND), Some((546, 547))), 54, 1), None),
        ("a DHCPv6 fragment", "g1", fragment(&ipv6(all, BOUND, six(11), Some((9, 546))), 0, true), Some("dhcp")),
        ("RA in a fragment", "g1", fragment(&router(BOUND, own(BOUND), 134, false), 0, true), Some("router")),
        ("NA in a fragment", "g1", fragment(&na(BOUND, six(11), six(11)), 0, false), Some("nd")),
        ("RA of a router in a fragment", "g8", fragment(&router(ROUTER, own(ROUTER), 134, false), 0, true), Some("nd")),
        (
            "a first fragment that ends before ICMPv6",
            "g1",
            fragment(&six_of(own(BOUND), 58, &[]), 0, true),
            Some("hidden"),
        ),
        (
            "a first fragment that ends in options",
            "g1",
            fragment(&six_of(own(BOUND), 60, &[58, 3]), 0, true),
            Some("hidden"),
        ),
        ("a first fragment that ends before UDP", "g1", fragment(&six_of(six(11), 17, &[]), 0, true), Some("hidden")),
        ("a later fragment of its own", "g1", fragment(&six_of(six(11), 17, &[7; 16]), 64, false), None),
        ("a later fragment of another", "g1", fragment(&six_of(six(30), 17, &[7; 16]), 64, false), Some("ip")),
        (
            "a ping in its first fragment",
            "g1",
            fragment(&six_of(six(11), 58, &[128, 0, 0, 0, 0, 1, 0, 1]), 0, true),
            None,
        ),
        ("IPv6 that is longer than its frame", "g1", long(ipv6(all, BOUND, six(11), None), 18), Some("hidden")),
        ("IPv4 that is longer than its frame", "g1", long(ipv4(all, BOUND, four(11), None), 16), Some("hidden")),
        ("ICMP redirect", "g1", icmp(all, BOUND, four(11), 5), Some("router")),
        ("ICMP router advertisement", "g1", icmp(all, BOUND, four(11), 9), Some("router")),
        ("ICMP redirect of a router", "g8", icmp(all, ROUTER, four(18), 5), None),
        ("ping", "g1", icmp(all, BOUND, four(11), 8), None),
        ("LLDP", "g1", eth(reserved(0x0e), BOUND, 0x88cc, b"?"), Some("group")),
        ("IPv4 to LLDP's address", "g1", ipv4(reserved(0x0e), BOUND, four(11), None), Some("group")),
        ("ARP to LACP's address", "g1", readdressed(arp(BOUND, BOUND, four(11)), reserved(3)), Some("group")),
        (
            "RA of a router to EAPOL's address",
            "g8",
            readdressed(router(ROUTER, own(ROUTER), 134, false), reserved(3)),
            Some("group"),
        ),
        ("a VLAN of nobody", "g1", tag(8, &ipv4(all, BOUND, four(11), None)), Some("vlan")),
        ("a VLAN of another", "g1", tag(7, &ipv4(all, BOUND, four(11), None)), Some("vlan")),
        ("no tag where one is due", "g7", ipv4(all, TAGGED, four(17), None), Some("mac")),
        ("a tag behind a priority tag", "g1", tag(0, &tag(7, &ipv4(all, BOUND, four(11), None))), Some("type")),
        ("two tags", "g7", tag(7, &tag(7, &ipv4(all, TAGGED, four(17), None))), Some("type")),
        ("an EtherType that nobody knows", "g1", eth(all, BOUND, 0x88b5, b"?"), Some("type")),
        ("the same with a foreign MAC", "g1", eth(all, NOBODY, 0x88b5, b"?"), Some("mac")),
        ("a spanning tree", "g1", eth(Mac([1, 0x80, 0xc2, 0, 0, 0]), BOUND, 0x0026, b"BB"), Some("group")),
    ]
}

/// Addresses that a bridge keeps for itself.
fn reserved(last: u8) -> Mac {
    Mac([1, 0x80, 0xc2, 0, 0, last])
}

fn readdressed(mut frame: Vec<u8>, to: Mac) -> Vec<u8> {
    frame[..6].copy_from_slice(&to.0);
    frame
}

/// IPv6 with this behind its header, to all.
fn six_of(source: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = pretend::six(Mac::BROADCAST, BOUND, source, next, payload);
    frame.truncate(54 + payload.len());
    frame
}

/// The same with a length of 3000 in its header, whose checksum is right.
fn long(mut frame: Vec<u8>, at: usize) -> Vec<u8> {
    frame[at..at + 2].copy_from_slice(&3000_u16.to_be_bytes());
    if at == 16 {
        frame[24..26].fill(0);
        let sum = vxmesh::wire::ip::Checksum::default().with(&frame[14..34]).value();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

#[test]
fn a_port_sends_what_is_its_own_and_nothing_else() {
    if !can_run() {
        return;
    }
    let mut ground = Ground::new("ports", slice("a", rows()));
    let plugs: Vec<Plug> = ["g1", "g7", "g8", "g9", "ga", "gb", "x1"].iter().map(|name| ground.plug(name)).collect();
    let ear = ground.plug("ge");
    // Nobody has named `x1`: what it may say is known once it is found.
    ground.settle();
    for (what, from, frame, why) in attacks() {
        let plug = plugs.iter().find(|plug| plug.name == from).unwrap();
        let before = ground.counters();
        plug.send(&frame);
        let Some(why) = why else {
            ear.heard_until(&frame);
            assert_eq!(ground.counters(), before, "{what}");
            continue;
        };
        // What comes in order has not come before.
        let last = ipv4(EAR, BOUND, four(11), Some((4000, u16::try_from(before.values().sum::<u64>()).unwrap())));
        plugs[0].send(&last);
        let heard = ear.heard_until(&last);
        assert!(!heard.iter().any(|heard| same(heard, &frame)), "{what} was delivered");
        let mut expected = before.clone();
        *expected.get_mut(&format!("guest_{why}")).unwrap() += 1;
        assert_eq!(ground.counters(), expected, "{what}");
    }
    let refused = ground.host.enter(|| ground.kernel.refused_guests("mac").unwrap());
    let named = |interface: &str, mac| refused.iter().any(|r| r.interface.as_str() == interface && r.mac == Some(mac));
    assert!(named("g1", REMOTE) && named("x1", BOUND), "the interface and the address are told: {refused:?}");
    let fdb = ground.host.sh(&format!("bridge fdb show br {BRIDGE}"));
    assert!(!fdb.contains(&NOBODY.to_string()), "{fdb}");
    let pinned = fdb.lines().find(|line| line.starts_with(&BOUND.to_string())).unwrap();
    assert!(pinned.contains("dev g1") && pinned.contains("sticky"), "{pinned}");
}

/// The race of a port that is plugged in while its guest already sends: an interface that a port names is held from its first frame.
#[test]
fn a_guest_that_sends_while_it_is_plugged_in_gets_nothing_through() {
    if !can_run() {
        return;
    }
    let ground = Ground::new("race", slice("a", rows()));
    let ear = ground.plug("ge");
    for round in 0..5 {
        let plug = Plug::make(&ground.host, "g1");
        let stop = AtomicBool::new(false);
        let (foreign, last) =
            (ipv4(Mac::BROADCAST, NOBODY, four(99), None), ipv4(EAR, BOUND, four(11), Some((1, round))));
        let heard = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    plug.try_send(&foreign);
                    plug.try_send(&last);
                }
            });
            let _until = Until(&stop);
            let steps = [format!("ip link set g1 master {BRIDGE}"), "ip link set g1 up".to_owned()];
            let (first, then) = (&steps[usize::from(round % 2)], &steps[usize::from(1 - round % 2)]);
            ground.host.sh(&format!("{first}; {then}"));
            ear.heard_until(&last)
        });
        assert!(!heard.iter().any(|frame| same(frame, &foreign)), "round {round}");
        let fdb = ground.host.sh(&format!("bridge fdb show br {BRIDGE}"));
        assert!(!fdb.contains(&NOBODY.to_string()), "round {round}: {fdb}");
        drop(plug);
        ground.host.sh("ip link delete g1");
        ear.heard();
    }
    assert!(ground.counters()["guest_mac"] > 0, "it did send");
}

#[test]
fn a_flood_is_cut_to_its_limit_and_the_rest_of_the_port_goes_on() {
    if !can_run() {
        return;
    }
    let mut ground = Ground::new("flood", slice("a", rows()));
    let (loud, ear) = (ground.plug("g1"), ground.plug("ge"));
    ground.settle();
    let (flood, last) = (ipv4(Mac::BROADCAST, BOUND, four(11), None), ipv4(EAR, BOUND, four(11), Some((1, 1))));
    let start = clock::mono();
    let mut heard = 0;
    for _ in 0..400 {
        (0..50).for_each(|_| loud.send(&flood));
        heard += ear.heard().len();
    }
    let took = clock::mono().since(start);
    loud.send(&last);
    heard += ear.heard_until(&last).len() - 1;
    let most = 2000 + u64::try_from(took.as_millis()).unwrap() + 100;
    let heard = u64::try_from(heard).unwrap();
    println!("20000 broadcast frames in {took:?}: {heard} arrived");
    assert!((1000..=most).contains(&heard), "{heard} of 20000 frames in {took:?}");
    assert!(ground.counters()["guest_flood"] >= 20_000 - most, "{:?}", ground.counters());
    let refused = ground.host.enter(|| ground.kernel.refused_guests("flood").unwrap());
    assert_eq!(refused.iter().map(|r| r.interface.as_str()).collect::<Vec<_>>(), ["g1"]);
}

/// How many source addresses a guest tries: `VXMESH_MACS=10000000` is the whole attack.
fn sources() -> u32 {
    std::env::var("VXMESH_MACS").map_or(50_000, |text| text.parse().unwrap())
}

#[test]
fn random_source_addresses_move_neither_the_table_nor_memory() {
    if !can_run() {
        return;
    }
    let mut ground = Ground::new("macs", slice("a", rows()));
    let (bound, unnamed) = (ground.plug("g1"), ground.plug("x1"));
    ground.settle();
    let fdb = || ground.host.sh(&format!("bridge fdb show br {BRIDGE} | wc -l"));
    let slab = || -> i64 {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let line = text.lines().find(|line| line.starts_with("SUnreclaim:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let (entries, before, start) = (fdb(), slab(), clock::mono());
    for n in 0..sources() / 2 {
        let [a, b, c, d] = n.wrapping_mul(2_654_435_761).to_be_bytes();
        let frame = ipv4(EAR, Mac([6, 1, a, b, c, d]), four(11), None);
        bound.send(&frame);
        unnamed.send(&frame);
    }
    println!("{} addresses in {:?}, slab {} KiB more", sources(), clock::mono().since(start), slab() - before);
    assert_eq!(fdb(), entries);
    assert_eq!(ground.counters()["guest_mac"], u64::from(sources() / 2) * 2);
    let kept = ground.host.enter(|| ground.kernel.refused_guests("mac").unwrap().len());
    assert!(kept <= 4096, "{kept} addresses are kept");
    let left = ground.host.enter(|| settle(&mut ground.kernel, &planned(&ground.slice, &local("10.9.0.1"))).0);
    assert_eq!(text(&left), "", "what the kernel keeps of it is no drift");
}

#[test]
fn a_guest_reaches_neither_its_host_nor_anything_behind_it() {
    if !can_run() {
        return;
    }
    let mut ground = Ground::new("underlay", slice("a", rows()));
    let (guest, ear) = (ground.plug("g1"), ground.plug("ge"));
    ground.settle();
    // A host that routes for its guests, which we do not set up but somebody may.
    ground.host.sh(&format!(
        "ip address add 192.168.10.1/24 dev {BRIDGE}; sysctl -q -w net.ipv4.ip_forward=1
         ip neigh replace 10.9.0.2 dev eth0 lladdr 02:00:00:00:09:02
         nft add table netdev t; nft 'add chain netdev t out {{ type filter hook ingress device wire priority 0; }}'
         nft add rule netdev t out udp dport 4000-60000 counter"
    ));
    let arrived = || -> u64 {
        let rules = ground.host.sh("nft list table netdev t");
        rules.split("counter packets ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    let gateway: Mac = ground.host.sh(&format!("cat /sys/class/net/{BRIDGE}/address")).trim().parse().unwrap();
    let to = |destination: [u8; 4], udp_port: u16| {
        let mut frame = ipv4(gateway, BOUND, four(11), Some((5000, udp_port)));
        frame[30..34].copy_from_slice(&destination);
        frame[24..26].fill(0);
        let sum = vxmesh::wire::ip::Checksum::default().with(&frame[14..34]).value();
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
        frame
    };
    let dropped = || ground.counters()["guest_host"];
    for (number, destination) in [[10, 9, 0, 2], [10, 9, 0, 1], [192, 168, 10, 1]].into_iter().enumerate() {
        for (of, udp_port) in [4789, 51820, 5353, 22].into_iter().enumerate() {
            guest.send(&to(destination, udp_port));
            let all = u64::try_from(number * 4 + of + 1).unwrap();
            wait_until("it is counted", Duration::from_secs(5), || dropped() == all);
        }
    }
    assert_eq!(arrived(), 0, "a node was reached");
    // The same without the filter: what it keeps away would arrive.
    ground.host.sh(
        "nft delete table inet vxmesh; for f in bridge inet netdev; do nft delete table $f vxmesh_guests || true; done",
    );
    guest.send(&to([10, 9, 0, 2], 5353));
    wait_until("the host routes", Duration::from_secs(5), || arrived() == 1);
    ground.settle();
    // Among guests it is a UDP port like any other.
    let inside = ipv4(EAR, BOUND, four(11), Some((5000, 51820)));
    guest.send(&inside);
    ear.heard_until(&inside);
}

#[test]
fn on_a_network_that_finds_its_guests_only_floods_are_limited() {
    if !can_run() {
        return;
    }
    let mut found = slice("a", json!({}));
    found.networks.values_mut().for_each(|network| network.learning = Learning::Local);
    let mut ground = Ground::new("open", found);
    let (guest, ear) = (ground.plug("x1"), ground.plug("x2"));
    ground.settle();
    let strange = router(NOBODY, own(NOBODY), 134, false);
    guest.send(&strange);
    ear.heard_until(&strange);
    (0..10_000).for_each(|_| guest.send(&strange));
    wait_until("a flood is cut", Duration::from_secs(5), || ground.counters()["guest_flood"] > 5000);
}
