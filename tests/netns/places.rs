//! Where guests are: an interface that nobody knows, one that speaks first, one that is made again, and rights that end with their
//! network and their VLAN. On the real kernel; "no daemon" means that nothing of ours runs.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use vxmesh::linux::Kernel;
use vxmesh::table::Slice;
use vxmesh::types::Mac;

use crate::harness::{Space, can_run, wait_until};
use crate::node::{BRIDGE, host, local, planned, settle, slice, text};
use crate::pretend::{Plug, arp, ipv4, ipv6, na, own, router, same, tag};

const LIMIT: Duration = Duration::from_secs(5);
const ALL: Mac = Mac::BROADCAST;
const EAR: Mac = Mac([2, 0, 0, 0, 0, 0x1e]);

fn guest(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn four(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 10, last)
}

struct Ground {
    host: Space,
    kernel: Kernel,
    slice: Slice,
}

impl Ground {
    fn new(tag: &str, rows: Value) -> Self {
        let host = host(tag, "10.9.0.1");
        let kernel = host.enter(|| Kernel::new().unwrap());
        let mut ground = Self { host, kernel, slice: slice("a", rows) };
        ground.settle();
        ground
    }

    /// A second network of the same overlay, VNI 11, with these rows.
    fn second(&mut self, rows: Value) {
        let network = self.slice.networks.values().next().unwrap().clone();
        self.slice.networks.insert("default/11".parse().unwrap(), network);
        let rows: std::collections::BTreeMap<String, Value> = serde_json::from_value(rows).unwrap();
        for (key, row) in rows {
            self.slice.rows.insert(key.parse().unwrap(), serde_json::from_value(row).unwrap());
        }
        self.settle();
    }

    fn settle(&mut self) {
        let plan = planned(&self.slice, &local("10.9.0.1"));
        let kernel = &mut self.kernel;
        let left = self.host.enter(|| settle(kernel, &plan).1);
        assert_eq!(text(&left), "");
    }

    fn plug(&self, name: &str) -> Plug {
        Plug::on(&self.host, name, BRIDGE)
    }

    /// True where `ear` gets the frame. What is sent in order arrives in order, so what has not come before `last` never does.
    fn passes(&self, from: &Plug, frame: &[u8], ear: &Plug, other: &Plug, last: u16) -> bool {
        from.send(frame);
        let fence = ipv4(EAR, guest(0x1d), four(29), Some((7, last)));
        wait_until("what is sent behind arrives", LIMIT, || {
            other.send(&fence);
            std::thread::sleep(Duration::from_millis(2));
            PASSED.with_borrow_mut(|passed| {
                passed.extend(ear.heard());
                passed.iter().any(|heard| same(heard, &fence))
            })
        });
        PASSED.with_borrow_mut(|passed| std::mem::take(passed).iter().any(|heard| same(heard, frame)))
    }
}

thread_local! {
    static PASSED: std::cell::RefCell<Vec<Vec<u8>>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// The listener and one who always may speak, both named.
fn with(mut rows: Value) -> Value {
    let more = json!({
        "default/10/-/02:00:00:00:00:1e": {"node": "a", "arp": [four(30)], "interface": "ge"},
        "default/10/-/02:00:00:00:00:1d": {"node": "a", "arp": [four(29)], "interface": "gd"},
    });
    rows.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rows
}

#[test]
fn an_interface_that_nobody_knows_has_no_part_in_a_bridge_whatever_its_name() {
    if !can_run() {
        return;
    }
    let mut ground = Ground::new("unknown", with(json!({})));
    let (ear, other) = (ground.plug("ge"), ground.plug("gd"));
    ground.settle();
    let neighbour = ground.host.sh("sysctl -q -w net.ipv4.ip_forward=1; cat /sys/class/net/vb10.12b5/address");
    let bridge: Mac = neighbour.trim().parse().unwrap();
    for (last, name) in (100..).zip(["x1", "a\"b", "tap*", "a;b", "{drop}", "@who", "-"]) {
        let stranger = Plug::make(&ground.host, name);
        ground.host.sh(&format!("ip link set '{name}' master {BRIDGE} up"));
        for frame in
            [ipv4(ALL, EAR, four(30), None), ipv4(EAR, guest(0x99), four(99), None), ipv4(bridge, EAR, four(30), None)]
        {
            assert!(!ground.passes(&stranger, &frame, &ear, &other, last), "{name}: sent");
        }
        let said = ipv4(ALL, guest(0x1d), four(29), None);
        other.send(&said);
        assert!(ground.passes(&other, &said, &ear, &other, last + 50), "it would be heard");
        assert!(!stranger.heard().iter().any(|frame| same(frame, &said)), "{name}: heard");
        // Its name is of no use to a filter, so no daemon changes that.
        if name != "x1" && name != "-" {
            ground.settle();
            assert!(
                !ground.passes(&stranger, &ipv4(ALL, EAR, four(30), None), &ear, &other, last + 100),
                "{name}: later"
            );
        }
        ground.host.sh(&format!("ip link delete '{name}'"));
    }
}

#[test]
fn a_guest_whose_port_names_no_interface_keeps_the_first_that_speaks_for_it() {
    if !can_run() {
        return;
    }
    let rows = json!({
        "default/10/-/02:00:00:00:00:31": {"node": "a", "arp": [four(0x31)]},
        "default/10/-/02:00:00:00:00:32": {"node": "a", "arp": [four(0x32)]},
    });
    let mut ground = Ground::new("first", with(rows));
    let (ear, other) = (ground.plug("ge"), ground.plug("gd"));
    let (first, second) = (ground.plug("t1"), ground.plug("t2"));
    ground.settle();
    let says = |last: u8| ipv4(ALL, guest(last), four(last), None);
    assert!(ground.passes(&first, &says(0x31), &ear, &other, 1), "nobody has spoken yet");
    ground.settle();
    for (what, frame) in [
        ("IPv4", says(0x31)),
        ("ARP", arp(guest(0x31), guest(0x31), four(0x31))),
        ("IPv6", ipv6(ALL, guest(0x31), own(guest(0x31)), None)),
        ("NA", na(guest(0x31), own(guest(0x31)), own(guest(0x31)))),
    ] {
        assert!(!ground.passes(&second, &frame, &ear, &other, 2), "{what} of a guest that is behind t1");
        assert!(ground.passes(&first, &frame, &ear, &other, 3), "{what} of the guest itself");
    }
    assert!(ground.passes(&second, &says(0x32), &ear, &other, 4), "the other guest is free");
    ground.settle();
    let pinned = ground.host.sh(&format!("bridge fdb show br {BRIDGE} | grep sticky"));
    for (mac, port) in [(guest(0x31), "dev t1"), (guest(0x32), "dev t2")] {
        assert!(pinned.lines().any(|line| line.starts_with(&mac.to_string()) && line.contains(port)), "{pinned}");
    }
    // A TAP made again under its name works without a daemon; the guest may also come back behind another one.
    drop(first);
    ground.host.sh("ip link delete t1");
    ground.settle();
    let first = ground.plug("t1");
    assert!(ground.passes(&first, &says(0x31), &ear, &other, 5), "made again, without a daemon");
    drop(first);
    ground.host.sh("ip link delete t1");
    ground.settle();
    let third = ground.plug("t3");
    ground.settle();
    assert!(ground.passes(&third, &says(0x31), &ear, &other, 6), "moved inside of its node");
    ground.settle();
    let back = ground.plug("t1");
    ground.settle();
    assert!(!ground.passes(&back, &says(0x31), &ear, &other, 7), "it is behind t3 now");
}

#[test]
fn what_a_guest_may_say_ends_with_its_network_and_its_vlan() {
    if !can_run() {
        return;
    }
    // One address: a guest here, a router in VLAN 7, a DHCP server in VLAN 8, and in another network router of everything.
    let m = guest(0x41);
    let row = |more: Value| {
        let mut row = json!({"node": "a", "arp": [four(41)], "interface": "gm"});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    let mut ground = Ground::new(
        "rights",
        with(json!({
            "default/10/-/02:00:00:00:00:41": row(json!({})),
            "default/10/7/02:00:00:00:00:41": row(json!({"role": "router", "arp": [four(1)]})),
            "default/10/8/02:00:00:00:00:41": row(json!({"role": "dhcp", "arp": [four(2)]})),
            "default/10/9/02:00:00:00:00:41": {"node": "a", "interface": "gm"},
        })),
    );
    ground.second(json!({
        "default/11/-/02:00:00:00:00:41": {"node": "a", "arp": [four(99)], "role": "router", "interface": "gm"},
        "default/11/-/02:00:00:00:00:42": {"node": "a", "role": "router"},
    }));
    let (ear, other) = (ground.plug("ge"), ground.plug("gd"));
    let (plug, loose) = (ground.plug("gm"), ground.plug("t1"));
    ground.settle();
    let ra = router(m, own(m), 134, false);
    let server = |last| ipv4(ALL, m, four(last), Some((67, 68)));
    for (what, frame, passes) in [
        ("its own", ipv4(ALL, m, four(41), None), true),
        ("RA without a tag", ra.clone(), false),
        ("RA in VLAN 7", tag(7, &ra), true),
        ("RA in VLAN 8", tag(8, &ra), false),
        ("RA behind a priority tag", tag(0, &ra), false),
        ("DHCP without a tag", server(41), false),
        ("DHCP in VLAN 7", tag(7, &server(1)), false),
        ("DHCP in VLAN 8", tag(8, &server(2)), true),
        ("an address of VLAN 7 without a tag", ipv4(ALL, m, four(1), None), false),
        ("an address of VLAN 7 in VLAN 8", tag(8, &ipv4(ALL, m, four(1), None)), false),
        ("ARP for an address of VLAN 8 in VLAN 7", tag(7, &arp(m, m, four(2))), false),
        ("ARP for its own in VLAN 8", tag(8, &arp(m, m, four(2))), true),
        ("any address in VLAN 9", tag(9, &ipv4(ALL, m, four(77), None)), true),
        ("any address without a tag", ipv4(ALL, m, four(77), None), false),
        ("an address of the other network", ipv4(ALL, m, four(99), None), false),
        ("ARP for an address of the other network", arp(m, m, four(99)), false),
        ("VLAN 10", tag(10, &ipv4(ALL, m, four(41), None)), false),
    ] {
        assert_eq!(ground.passes(&plug, &frame, &ear, &other, 1), passes, "{what}");
    }
    let foreign = guest(0x42);
    for frame in [router(foreign, own(foreign), 134, false), ipv4(ALL, foreign, four(77), None)] {
        assert!(!ground.passes(&loose, &frame, &ear, &other, 2), "a loose guest of another network");
    }
}

#[test]
fn an_interface_that_a_port_names_may_be_made_again_without_a_daemon() {
    if !can_run() {
        return;
    }
    let rows = with(json!({"default/10/-/02:00:00:00:00:51": {"node": "a", "arp": [four(51)], "interface": "g1"}}));
    let mut ground = Ground::new("again", rows);
    let (ear, other) = (ground.plug("ge"), ground.plug("gd"));
    ground.settle();
    for round in 1..4 {
        let plug = ground.plug("g1");
        let own = ipv4(ALL, guest(0x51), four(51), None);
        assert!(ground.passes(&plug, &own, &ear, &other, round), "round {round}");
        assert!(!ground.passes(&plug, &ipv4(ALL, guest(0x52), four(52), None), &ear, &other, round), "round {round}");
        drop(plug);
        ground.host.sh("ip link delete g1");
    }
}

#[test]
fn the_hosts_nat_and_connection_tracking_leave_guests_alone() {
    if !can_run() {
        return;
    }
    let mut ground = Ground::new("nat", with(json!({})));
    let (ear, other) = (ground.plug("ge"), ground.plug("gd"));
    ground.settle();
    if !ground.host.holds("[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]") {
        eprintln!("SKIPPED: this kernel has no br_netfilter");
        return;
    }
    ground.host.sh("sysctl -q -w net.bridge.bridge-nf-call-iptables=1 net.ipv4.ip_forward=1
         nft 'add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }
              add rule ip nat post ip saddr 192.168.10.0/24 snat to 10.9.0.1'");
    let tracked = || ground.host.sh("cat /proc/sys/net/netfilter/nf_conntrack_count").trim().to_owned();
    let frame = |port: u16| ipv4(EAR, guest(0x1d), four(29), Some((9, port)));
    for port in 1000..1010 {
        other.send(&frame(port));
        ear.heard_until(&frame(port));
    }
    assert_eq!(tracked(), "0");
    // Without our rule the host would change what guests say to each other.
    ground.host.sh("nft 'flush chain bridge vxmesh_guests bound; add rule bridge vxmesh_guests bound goto bound_in'");
    other.send(&frame(2000));
    wait_until("it is tracked", LIMIT, || tracked() != "0");
    assert!(!ear.heard().iter().any(|heard| same(heard, &frame(2000))), "and its source is changed");
    ground.settle();
}
