//! Frames on the plain path: what the kernel switches, answers and refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::time::Duration;

use serde_json::{Value, json};
use vxmesh::linux::Kernel;
use vxmesh::node::discover::discover;
use vxmesh::table::{Learning, Slice};

use crate::frames::{Plug, holds};
use crate::harness::{Space, cable, can_run, guest, wait_until};
use crate::node::{BRIDGE, VXLAN, behind, host, local, planned, settle, slice, text};

/// Guests .11 on node a and .12 on node b.
fn rows() -> Value {
    json!({
        "default/10/-/02:00:00:00:00:01": behind("g1", "a", &["192.168.10.11"], &["fd10::11"]),
        "default/10/-/02:00:00:00:00:02": behind("g2", "b", &["192.168.10.12"], &["fd10::12"]),
    })
}

fn build(host: &Space, slice: &Slice, address: &str) {
    let plan = planned(slice, &local(address));
    assert_eq!(plan.findings, []);
    host.enter(|| {
        let (_, left, _) = settle(&mut Kernel::new().unwrap(), &plan);
        assert_eq!(text(&left), "");
    });
}

fn counters(host: &Space) -> BTreeMap<String, u64> {
    host.enter(|| Kernel::new().unwrap().guard_counters().unwrap())
}

/// Two hosts with a cable between them.
fn two_hosts(a: &str, b: &str) -> (Space, Space) {
    let (left, right) = (Space::new("a"), Space::new("b"));
    cable(&left, "eth0", &right, "eth0");
    left.sh(&format!("ip address add {a} dev eth0 nodad"));
    right.sh(&format!("ip address add {b} dev eth0 nodad"));
    (left, right)
}

#[test]
fn two_guests_on_two_nodes_are_on_one_switch() {
    if !can_run() {
        return;
    }
    let (a, b) = two_hosts("10.9.0.1/16", "10.9.0.2/16");
    build(&a, &slice("a", rows()), "10.9.0.1");
    build(&b, &slice("b", rows()), "10.9.0.2");
    let here = guest(&a, BRIDGE, "g1", "02:00:00:00:00:01", &["192.168.10.11/24", "fd10::11/64"]);
    let _there = guest(&b, BRIDGE, "g2", "02:00:00:00:00:02", &["192.168.10.12/24", "fd10::12/64"]);
    here.sh("ping -q -c 3 -i 0.1 -W 2 192.168.10.12 && ping -q -c 3 -i 0.1 -W 2 fd10::12");
    here.sh("ping -q -c 3 -i 0.1 -W 2 -M do -s 1372 192.168.10.12");
    let seen = counters(&b);
    assert!(seen["in_accepted"] >= 9, "{seen:?}");
    assert_eq!((seen["in_unknown"], seen["in_ttl"], seen["out_unknown"]), (0, 0, 0));
}

#[test]
fn two_guests_are_on_one_switch_over_ipv6() {
    if !can_run() {
        return;
    }
    let six = |node: &str| -> Slice {
        let text = serde_json::to_string(&slice(node, rows())).unwrap();
        let text = text.replace("10.9.0.0/16", "fd00::/16").replace("10.9.0.", "fd00::").replace("1400", "1398");
        serde_json::from_str(&text).unwrap()
    };
    let (a, b) = two_hosts("fd00::1/64", "fd00::2/64");
    build(&a, &six("a"), "fd00::1");
    build(&b, &six("b"), "fd00::2");
    let here = guest(&a, BRIDGE, "g1", "02:00:00:00:00:01", &["192.168.10.11/24"]);
    let _there = guest(&b, BRIDGE, "g2", "02:00:00:00:00:02", &["192.168.10.12/24"]);
    here.sh("ping -q -c 3 -i 0.1 -W 2 192.168.10.12");
    let seen = counters(&b);
    assert!(seen["in_accepted"] >= 3 && seen["in_unknown"] == 0, "{seen:?}");
}

#[test]
fn guests_may_speak_vxlan_among_themselves_where_bridges_show_their_frames_to_packet_filters() {
    if !can_run() {
        return;
    }
    let (a, b) = two_hosts("10.9.0.1/16", "10.9.0.2/16");
    build(&a, &slice("a", rows()), "10.9.0.1");
    build(&b, &slice("b", rows()), "10.9.0.2");
    let here = guest(&a, BRIDGE, "g1", "02:00:00:00:00:01", &["192.168.10.11/24"]);
    let there = guest(&b, BRIDGE, "g2", "02:00:00:00:00:02", &["192.168.10.12/24"]);
    for host in [&a, &b] {
        host.sh("[ ! -e /proc/sys/net/bridge ] || sysctl -qw net.bridge.bridge-nf-call-iptables=1");
    }
    let sink = there.enter(|| UdpSocket::bind("192.168.10.12:4789").unwrap());
    sink.set_nonblocking(true).unwrap();
    let source = here.enter(|| UdpSocket::bind("192.168.10.11:0").unwrap());
    wait_until("a datagram arrives", Duration::from_secs(5), || {
        source.send_to(b"theirs", "192.168.10.12:4789").unwrap();
        sink.recv(&mut [0; 16]).is_ok()
    });
    let refused = |host: &Space| (counters(host)["in_unknown"], counters(host)["out_unknown"]);
    assert_eq!((refused(&a), refused(&b)), ((0, 0), (0, 0)));
}

#[test]
fn clear_across_pdcs_takes_the_external_interface_and_inside_the_admin_one() {
    if !can_run() {
        return;
    }
    let (a, b) = two_hosts("10.9.0.1/16", "10.9.0.2/16");
    let far = Space::new("far");
    cable(&a, "eth1", &far, "eth1");
    a.sh("ip address add 192.0.2.1/24 dev eth1");
    far.sh("ip address add 192.0.2.4/24 dev eth1");
    let clear = |node: &str| -> Slice {
        let mut slice = slice(
            node,
            json!({
                "default/10/-/02:00:00:00:00:01": behind("g1", "a", &["192.168.10.11"], &[]),
                "default/10/-/02:00:00:00:00:02": behind("g2", "b", &["192.168.10.12"], &[]),
                "default/10/-/02:00:00:00:00:04": behind("g4", "far", &["192.168.10.14"], &[]),
            }),
        );
        let policy =
            json!({"lab": {"between": [{"pdc": "x"}, {"pdc": "y"}], "action": "plain", "iKnowThisIsClear": true}});
        slice.policies = serde_json::from_value(policy).unwrap();
        slice.pdc = if node == "far" { "y" } else { "x" }.parse().unwrap();
        for (name, peer) in &mut slice.peers {
            peer.external = Some(if name.as_str() == "far" { "192.0.2.4" } else { "192.0.2.1" }.parse().unwrap());
        }
        let paths = slice.networks.values_mut().flat_map(|n| n.members.values_mut());
        paths.for_each(|path| *path = vxmesh::policy::path::Path::Plain);
        slice
    };
    let mut both = local("10.9.0.1");
    let outside = |address: &str| vxmesh::node::plan::Underlay {
        interface: "eth1".parse().unwrap(),
        address: address.parse().unwrap(),
        mtu: 1500,
    };
    both.external = Some(outside("192.0.2.1"));
    let only = vxmesh::node::plan::Local { admin: None, external: Some(outside("192.0.2.4")), ..local("10.9.0.2") };
    for (host, node, local) in [(&a, "a", both), (&far, "far", only)] {
        let plan = planned(&clear(node), &local);
        host.enter(|| assert_eq!(text(&settle(&mut Kernel::new().unwrap(), &plan).1), ""));
    }
    build(&b, &clear_inside(&clear("b")), "10.9.0.2");
    let here = guest(&a, BRIDGE, "g1", "02:00:00:00:00:01", &["192.168.10.11/24"]);
    let _near = guest(&b, BRIDGE, "g2", "02:00:00:00:00:02", &["192.168.10.12/24"]);
    let _far = guest(&far, BRIDGE, "g4", "02:00:00:00:00:04", &["192.168.10.14/24"]);
    here.sh("ping -q -c 2 -i 0.1 -W 2 192.168.10.12");
    here.sh("ping -q -c 2 -i 0.1 -W 2 192.168.10.14");
    let seen = counters(&a);
    assert_eq!((seen["in_unknown"], seen["out_unknown"]), (0, 0), "{seen:?}");
}

/// The same for a node that has nothing to do with the other PDC.
fn clear_inside(slice: &Slice) -> Slice {
    let mut slice = slice.clone();
    for network in slice.networks.values_mut() {
        network.members.retain(|node, _| node.as_str() != "far");
    }
    slice
}

#[test]
fn a_question_for_an_address_in_the_table_is_heard_by_its_owner_alone() {
    if !can_run() {
        return;
    }
    let mut all = rows();
    all["default/10/-/02:00:00:00:00:03"] = behind("g3", "b", &["192.168.10.13"], &["fd10::13"]);
    let (a, b) = two_hosts("10.9.0.1/16", "10.9.0.2/16");
    build(&a, &slice("a", all.clone()), "10.9.0.1");
    build(&b, &slice("b", all), "10.9.0.2");
    let guest_on = |host: &Space, port: &str, last: u8| {
        let addresses = [format!("192.168.10.1{last}/24"), format!("fd10::1{last}/64")];
        guest(host, BRIDGE, port, &format!("02:00:00:00:00:0{last}"), &[&addresses[0], &addresses[1]])
    };
    let (asks, _owner, other) = (guest_on(&a, "g1", 1), guest_on(&b, "g2", 2), guest_on(&b, "g3", 3));
    let ear = Plug::new(&other, "eth0");
    // Asked again and again: a guest that has just come up may be deaf to its first answer.
    let ask = |address: &str| asks.sh(&format!("ip neigh replace {address} dev eth0 use"));
    let heard = |target: &[u8]| ear.take().iter().any(|frame| !frame.starts_with(&[2]) && holds(frame, target));
    for (address, target) in [("192.168.10.12", &[192, 168, 10, 12][..]), ("fd10::12", &[0, 0, 0, 0, 0, 0, 0, 0x12])] {
        wait_until(&format!("an answer for {address}"), Duration::from_secs(10), || {
            ask(address);
            asks.sh(&format!("ip neigh show {address}")).contains("lladdr 02:00:00:00:00:02")
        });
        assert!(!heard(target), "{address} was asked of all");
    }
    wait_until("an unknown address is asked of all", Duration::from_secs(10), || {
        ask("192.168.10.99");
        heard(&[192, 168, 10, 99])
    });
}

#[test]
fn the_guard_refuses_strangers_wrong_ttl_and_wrong_interfaces_and_counts_them() {
    if !can_run() {
        return;
    }
    let (a, b) = two_hosts("10.9.0.1/16", "10.9.0.2/16");
    cable(&a, "eth1", &b, "eth1");
    b.sh("ip address add 10.9.0.9/16 dev eth0; sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
    a.sh("sysctl -q -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0");
    build(&a, &slice("a", rows()), "10.9.0.1");
    let _guest = guest(&a, BRIDGE, "g1", "02:00:00:00:00:01", &["192.168.10.11/24"]);
    // An attacker with a VXLAN device of its own, without any guard.
    let ping = |vxlan: &str| {
        b.sh(&format!(
            "ip link add name v type vxlan id 10 dstport 4789 remote 10.9.0.1 nolearning {vxlan}
             ip link set dev v address 02:00:00:00:00:02 up
             ip address add 192.168.10.12/24 dev v
             ip neigh replace 192.168.10.11 dev v lladdr 02:00:00:00:00:01"
        ));
        let answered = b.holds("ping -q -c 3 -i 0.1 -W 1 192.168.10.11");
        b.sh("ip link delete dev v");
        answered
    };
    assert!(ping("local 10.9.0.2 ttl 255"), "the peer itself gets through, or this test proves nothing");
    let clean = counters(&a);
    assert_eq!((clean["in_unknown"], clean["in_ttl"]), (0, 0));
    assert!(!ping("local 10.9.0.9 ttl 255"), "a stranger");
    assert_eq!(counters(&a)["in_unknown"], 3);
    assert!(!ping("local 10.9.0.2 ttl 254"), "one router too many");
    assert_eq!(counters(&a)["in_ttl"], 3);
    // Through the other interface, with everything else right.
    let mac = a.sh("cat /sys/class/net/eth1/address");
    b.sh(&format!("ip route add 10.9.0.1/32 dev eth1; ip neigh replace 10.9.0.1 dev eth1 lladdr {}", mac.trim()));
    assert!(!ping("local 10.9.0.2 ttl 255"), "the wrong interface");
    assert_eq!(counters(&a)["in_unknown"], 6);
    assert!(!a.holds("echo | bash -c 'cat > /dev/udp/10.9.0.9/4789'"), "VXLAN to a stranger");
    assert!(counters(&a)["out_unknown"] >= 1);
}

#[test]
fn a_remote_address_cannot_be_taken_by_a_guest() {
    if !can_run() {
        return;
    }
    let host = host("sticky", "10.9.0.1");
    build(&host, &slice("a", rows()), "10.9.0.1");
    let thief = guest(&host, BRIDGE, "g1", "02:00:00:00:00:02", &["192.168.10.12/24"]);
    thief.try_sh("ping -q -c 3 -i 0.1 -W 1 192.168.10.11");
    let entry = host.sh(&format!("bridge fdb show br {BRIDGE} | grep '^02:00:00:00:00:02'"));
    assert!(entry.contains(VXLAN) && !entry.contains("g1"), "{entry}");
}

#[test]
fn a_guest_on_a_learning_network_is_found() {
    if !can_run() {
        return;
    }
    let host = host("found", "10.9.0.1");
    let mut slice = slice("a", json!({}));
    build(&host, &slice, "10.9.0.1");
    let guest = guest(&host, BRIDGE, "g1", "02:00:00:00:00:07", &["192.168.10.17/24"]);
    guest.try_sh("ping -q -c 1 -W 1 192.168.10.99");
    let found = |slice: &Slice| {
        let desired = planned(slice, &local("10.9.0.1")).desired;
        let observed = host.enter(|| Kernel::new().unwrap().observe().unwrap());
        discover(slice, &desired, &observed, &BTreeSet::new()).ports.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(found(&slice), [], "a network with declared ports finds none");
    slice.networks.values_mut().for_each(|n| n.learning = Learning::Local);
    let ports = found(&slice);
    assert_eq!(ports.iter().map(|p| p.mac.to_string()).collect::<Vec<_>>(), ["02:00:00:00:00:07"]);
}
