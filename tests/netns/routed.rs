//! What is routed from or to a bridge of ours, and what reaches the host past the bridge's own rules: held by rules that know the bridge by
//! its name only, with nothing of the bridge's own filter left. In both forms: on the device, where the kernel keeps such rules for devices
//! that are absent, and at the hook for what is forwarded.

use std::time::Duration;

use serde_json::json;
use vxmesh::linux::Kernel;
use vxmesh::types::Mac;
use vxmesh::wire::ip::Checksum;

use crate::frames::Plug as Wire;
use crate::harness::{can_run, wait_until};
use crate::node::{BRIDGE, slice};
use crate::ports::{Ground, four};
use crate::pretend::{Plug, ipv4};

const GUEST: Mac = Mac([2, 0, 0, 0, 0, 0x11]);
const LIMIT: Duration = Duration::from_secs(5);

/// The frame to another IPv4 address.
fn towards(mut frame: Vec<u8>, destination: [u8; 4]) -> Vec<u8> {
    frame[30..34].copy_from_slice(&destination);
    frame[24..26].fill(0);
    let sum = Checksum::default().with(&frame[14..34]).value();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// The three ways: to the host, through it to a neighbour, through it from a neighbour. Each time the filter counts more, and
/// nobody hears a thing; `from` is what is counted already.
fn attack(ground: &Ground, guest: &Plug, from: u64, when: &str) -> u64 {
    let mac = |device: &str| -> Mac {
        ground.host.sh(&format!("cat /sys/class/net/{device}/address")).trim().parse().unwrap()
    };
    ground.host.sh(&format!(
        "sysctl -q -w net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0
         ip address replace 192.168.10.1/24 dev {BRIDGE}
         ip neigh replace 10.9.0.2 dev eth0 lladdr 02:00:00:00:09:02; ip neigh replace 192.168.10.11 dev {BRIDGE} lladdr {GUEST}"
    ));
    let counted = || ground.counters()["guest_routed"];
    let wire = Wire::new(&ground.host, "wire");
    let says = |port: u16| ipv4(mac(BRIDGE), GUEST, four(11), Some((5000, port)));
    let came = || ground.host.sh("nft list table netdev t").matches("dport 6000 counter packets 0 ").count();
    let mut all = from;
    for destination in [[10, 9, 0, 1], [10, 9, 0, 2]] {
        guest.send(&towards(says(6000), destination));
        wait_until(&format!("{when}: {destination:?} is counted"), LIMIT, || counted() > all);
        all = counted();
    }
    // What the host itself sends goes the same way: when that has come, the others would have.
    let markers = || ground.host.sh("nft list table netdev t | grep 'dport 6001'");
    let before = markers();
    ground.host.enter(|| std::net::UdpSocket::bind("10.9.0.1:0").unwrap().send_to(b"x", "10.9.0.2:6001").unwrap());
    wait_until("a packet of the host's own comes", LIMIT, || markers() != before);
    assert_eq!(came(), 1, "{when}: a neighbour heard it");
    let outside = Mac([2, 0, 0, 0, 9, 2]);
    wire.send(&towards(ipv4(mac("eth0"), outside, [10, 9, 0, 2].into(), Some((5000, 6000))), [192, 168, 10, 11]));
    wait_until(&format!("{when}: what comes for a guest is counted"), LIMIT, || counted() > all);
    all = counted();
    let heard = guest.heard();
    let routed = |frame: &Vec<u8>| frame.get(36..38) == Some(&6000_u16.to_be_bytes());
    assert!(!heard.iter().any(routed), "{when}: the guest heard it");
    all
}

/// A guest that stands in no bridge is on an interface of the host's own; it reaches no more than in one.
fn outside(ground: &Ground, guest: &Plug) {
    let (host, counted, interface) = (&ground.host, || ground.counters()["guest_routed"], &guest.name);
    let own: Mac = host.sh(&format!("cat /sys/class/net/{interface}/address")).trim().parse().unwrap();
    host.sh(&format!("sysctl -q -w net.ipv4.conf.{interface}.rp_filter=0"));
    let service = host.enter(|| std::net::UdpSocket::bind("0.0.0.0:6002").unwrap());
    service.set_nonblocking(true).unwrap();
    host.sh(&format!("ip link set {interface} nomaster"));
    // Nobody forwards what came by a group address.
    for (to, destination) in [(own, [10, 9, 0, 1]), (own, [10, 9, 0, 2]), (Mac::BROADCAST, [10, 9, 0, 1])] {
        let before = counted();
        guest.send(&towards(ipv4(to, GUEST, four(11), Some((5000, 6002))), destination));
        wait_until(&format!("{to} {destination:?} is counted"), LIMIT, || counted() > before);
    }
    assert!(service.recv_from(&mut [0; 64]).is_err(), "the host heard it");
    let element = format!("element inet vxmesh shut '{{ \"{interface}\" }}'");
    host.sh(&format!("nft delete {element}"));
    guest.send(&towards(ipv4(Mac::BROADCAST, GUEST, four(11), Some((5000, 6002))), [10, 9, 0, 1]));
    wait_until("it does without the rules", LIMIT, || service.recv_from(&mut [0; 64]).is_ok());
    host.sh(&format!("nft add {element}; ip link set {interface} master {BRIDGE}"));
}

#[test]
fn what_is_routed_is_held_by_the_name_of_the_bridge_alone() {
    if !can_run() {
        return;
    }
    let rows = json!({"default/10/-/02:00:00:00:00:11": {"node": "a", "arp": [four(11)], "interface": "g1"}});
    for by_device in [true, false] {
        let mut ground = Ground::new(if by_device { "routed-d" } else { "routed-h" }, slice("a", rows.clone()));
        ground.settle();
        if by_device && !ground.has_rules_before_devices() {
            eprintln!("SKIPPED: this kernel keeps no rules for devices that are absent");
            continue;
        }
        if !by_device {
            ground.settle_as_on_older_kernels();
        }
        assert_eq!(ground.host.holds("nft list chain inet vxmesh through_host"), !by_device);
        assert_eq!(ground.host.holds(&format!("nft list chain inet vxmesh_guests in_{BRIDGE}")), by_device);
        let guest = ground.plug("g1");
        ground.host.sh(
            "nft add table netdev t; nft 'add chain netdev t out { type filter hook ingress device wire priority 0; }'
             nft add rule netdev t out udp dport 6000 counter; nft add rule netdev t out udp dport 6001 counter
             nft delete table bridge vxmesh_guests",
        );
        let before = ground.counters()["guest_routed"];
        let all = attack(&ground, &guest, before, "as it was made");
        // Made anew by somebody, while nobody looks.
        let made = format!(
            "ip link add name {BRIDGE} type bridge; ip link set {BRIDGE} up; ip link set g1 master {BRIDGE} up"
        );
        ground.host.sh(&format!("ip link delete {BRIDGE}; sysctl -q -w net.ipv6.conf.default.disable_ipv6=1; {made}"));
        attack(&ground, &guest, all, "made anew");
        outside(&ground, &guest);
        // What keeps it away is what was tried: without it all three arrive.
        ground.host.sh(
            "nft delete table inet vxmesh; for f in inet netdev; do nft delete table $f vxmesh_guests || true; done",
        );
        guest.send(&towards(
            ipv4(
                ground.host.sh(&format!("cat /sys/class/net/{BRIDGE}/address")).trim().parse().unwrap(),
                GUEST,
                four(11),
                Some((5000, 6000)),
            ),
            [10, 9, 0, 2],
        ));
        wait_until("a neighbour hears it", LIMIT, || {
            ground.host.sh("nft list table netdev t").contains("dport 6000 counter packets 1 ")
        });
    }
}

#[test]
fn what_has_been_a_guests_stays_out_over_restarts_and_whatever_becomes_of_its_port() {
    if !can_run() {
        return;
    }
    // Its port names no interface: where it is is known by what it has sent.
    let rows = json!({"default/10/-/02:00:00:00:00:11": {"node": "a", "arp": [four(11)]}});
    let mut ground = Ground::new("routed-r", slice("a", rows));
    let guest = ground.plug("x1");
    ground.settle();
    let shut = |ground: &Ground, name: &str| {
        ground.host.holds(&format!("nft get element inet vxmesh shut '{{ \"{name}\" }}'"))
    };
    guest.send(&ipv4(Mac::BROADCAST, GUEST, four(11), None));
    wait_until("it is held to its interface", LIMIT, || {
        ground.settle();
        ground.host.holds(&format!("bridge fdb show br {BRIDGE} | grep -q '{GUEST} dev x1 .*static'"))
    });
    let restart = |ground: &mut Ground| {
        ground.kernel = ground.host.enter(|| Kernel::new().unwrap());
        ground.settle();
    };
    ground.host.sh("ip link set x1 nomaster");
    ground.settle();
    for (after, of_network) in [("a look", true), ("a restart", true), ("its network has gone", false)] {
        assert!(shut(&ground, "x1"), "{after}");
        // What leads to other nodes brings their guests' frames.
        let ours = ["vb10.12b5", "vv10.12b5", "vt10.12b5"].map(|name| shut(&ground, name));
        assert_eq!(ours, [of_network; 3], "{after}");
        if after == "a restart" {
            ground.slice.networks.clear();
            ground.slice.rows.clear();
        }
        restart(&mut ground);
    }
    // An interface of the same name is another one, and what the host has taken for itself is its own.
    ground.host.sh("ip address add 10.8.0.1/24 dev x1");
    ground.settle();
    assert!(!shut(&ground, "x1"));
    assert!(!ground.host.holds("nft list table inet vxmesh"));
}
