//! Plans meet the real kernel.

use std::time::Duration;

use serde_json::json;
use vxmesh::api::problem::Problem;
use vxmesh::clock;
use vxmesh::linux::fake::Fake;
use vxmesh::linux::{Kernel, KernelError, Notice};
use vxmesh::node::desired::{Desired, Observed};
use vxmesh::node::op::Op;
use vxmesh::node::plan::Plan;
use vxmesh::node::{names, reconcile};

use crate::harness::{can_run, wait_until};
use crate::node::{BRIDGE, TAP, VXLAN, host, local, planned, row, settle, slice, text};

fn three_guests() -> Plan {
    three_guests_with(1400)
}

/// The same in a network with another MTU.
fn three_guests_with(mtu: u16) -> Plan {
    let rows = json!({
        "default/10/-/02:00:00:00:00:01": row("a", &["192.168.10.11"], &[]),
        "default/10/-/02:00:00:00:00:02": row("b", &["192.168.10.12"], &["fd10::12"]),
        "default/10/-/02:00:00:00:00:04": row("far", &["192.168.10.14"], &[]),
    });
    let mut slice = slice("a", rows);
    slice.networks.values_mut().for_each(|network| network.guest_mtu = u64::from(mtu).try_into().unwrap());
    let plan = planned(&slice, &local("10.9.0.1"));
    assert_eq!(plan.findings, []);
    plan
}

#[test]
fn a_fresh_host_settles_in_one_pass() {
    if !can_run() {
        return;
    }
    let host = host("fresh", "10.9.0.1");
    host.enter(|| {
        let (first, second, _) = settle(&mut Kernel::new().unwrap(), &three_guests());
        assert!(!first.is_empty());
        assert_eq!(text(&second), "");
    });
}

#[test]
fn a_new_daemon_finds_everything_in_place_but_loads_its_own_filters() {
    if !can_run() {
        return;
    }
    let host = host("again", "10.9.0.1");
    host.enter(|| {
        settle(&mut Kernel::new().unwrap(), &three_guests());
        let (first, second, _) = settle(&mut Kernel::new().unwrap(), &three_guests());
        assert!(first.len() == 2 && first.iter().all(|op| op.to_string().starts_with("nft -f -")), "{}", text(&first));
        assert_eq!(text(&second), "");
    });
}

/// What ours looks like: devices and tables of our names.
fn ours(observed: &Observed) -> Observed {
    let mut ours = observed.clone();
    ours.links.retain(|name, _| names::parse(name.as_str()).is_some());
    ours.up.clear();
    ours.addressed.clear();
    ours.places.clear();
    ours.heard.clear();
    // Nobody attaches to the TAPs.
    ours.dark.clear();
    // What the bridge hears of itself is not part of any plan.
    for table in ours.neighbours.values_mut() {
        table.retain(|_, neighbour| neighbour.permanent);
    }
    ours.neighbours.retain(|_, table| !table.is_empty());
    ours
}

#[test]
fn the_fake_kernel_ends_where_the_real_one_does() {
    if !can_run() {
        return;
    }
    let host = host("fake", "10.9.0.1");
    let encrypted = {
        let mut slice = slice("a", json!({"default/10/-/02:00:00:00:00:02": row("b", &["192.168.10.12"], &[])}));
        for network in slice.networks.values_mut() {
            network.members.insert("b".parse().unwrap(), vxmesh::policy::path::Path::Tunnel);
        }
        planned(&slice, &local("10.9.0.1"))
    };
    let plans = [three_guests(), encrypted, three_guests(), Plan::default()];
    host.enter(|| {
        let (mut real, mut fake) = (Kernel::new().unwrap(), Fake::default());
        let eth0 = "eth0".parse().unwrap();
        let observed = real.observe().unwrap();
        assert!(observed.is_up(&eth0));
        fake.state.up.insert(eth0);
        fake.state.rules_before_devices = observed.rules_before_devices;
        fake.state.places = observed.places;
        for plan in &plans {
            let (ops, left, now) = settle(&mut real, plan);
            assert_eq!(text(&left), "");
            let expected = reconcile::diff(&plan.desired, &fake.observe().unwrap());
            assert_eq!(text(&ops), text(&expected));
            fake.apply(&expected).unwrap();
            assert_eq!(ours(&now), ours(&fake.state));
        }
    });
}

#[test]
fn drift_is_seen_at_once_and_repaired() {
    if !can_run() {
        return;
    }
    let host = host("drift", "10.9.0.1");
    let plan = three_guests();
    let damages = [
        format!("ip link delete dev {VXLAN}"),
        format!("ip link delete dev {BRIDGE}"),
        format!("ip link set dev {TAP} down"),
        format!("ip link set dev {VXLAN} nomaster"),
        format!("ip link set dev {VXLAN} mtu 1300"),
        format!("ip link set dev {BRIDGE} down"),
        format!("bridge link set dev {VXLAN} isolated off learning on flood on neigh_suppress off"),
        format!("ip link set dev {BRIDGE} type bridge stp_state 1"),
        format!("bridge link set dev {VXLAN} hairpin on"),
        format!("ip link set dev {TAP} type bridge_slave proxy_arp on bcast_flood off mcast_flood off"),
        format!("bridge fdb del 02:00:00:00:00:02 dev {VXLAN} master"),
        format!("bridge fdb replace 02:00:00:00:00:02 dev {VXLAN} self static dst 10.9.0.66"),
        format!("bridge fdb append 00:00:00:00:00:00 dev {VXLAN} self permanent dst 10.9.0.66"),
        format!("ip neigh flush dev {BRIDGE} nud permanent"),
        "nft flush ruleset".into(),
        "nft delete table inet vxmesh".into(),
        "nft add element inet vxmesh admin '{ 4789 . 192.0.2.66 . 10 }'".into(),
        "nft flush chain inet vxmesh arriving".into(),
        "nft delete table bridge vxmesh_guests".into(),
        "nft delete element inet vxmesh shut '{ \"vb10.12b5\" }'".into(),
        "nft flush chain bridge vxmesh_guests arriving".into(),
        // On kernels without it: the chain that does the same.
        format!("nft flush chain inet vxmesh_guests in_{BRIDGE} || nft flush chain inet vxmesh through_host"),
        "nft delete table inet vxmesh_guests || nft delete table inet vxmesh".into(),
        "nft delete table netdev vxmesh_guests || nft delete table bridge vxmesh_guests".into(),
        "nft add element bridge vxmesh_guests bound_mac '{ \"tap66\" . 02:00:00:00:00:66 }'".into(),
        "nft add element bridge vxmesh_guests who '{ \"tap66\" : accept }'".into(),
    ];
    host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        let (_, _, settled) = settle(&mut kernel, &plan);
        let mut watch = kernel.watch().unwrap();
        for damage in &damages {
            watch.clear();
            let start = clock::mono();
            host.sh(damage);
            assert_eq!(watch.wait(Duration::from_secs(2)).unwrap(), Notice::Change, "nobody noticed: {damage}");
            let (ops, left, now) = settle(&mut kernel, &plan);
            assert!(!ops.is_empty(), "nothing was done about: {damage}");
            assert_eq!(text(&left), "", "after {damage}");
            assert_eq!(ours(&now), ours(&settled), "after {damage}");
            assert!(clock::mono().since(start) < Duration::from_secs(2), "{damage} took too long");
        }
        // Neighbours of the underlay come, grow old and go all the time; those of our bridges do not. The kernel tells of a link's
        // state up to a second late (`linkwatch_event`, net/core/link_watch.c), so what is no news may need a second try.
        let mut last = 0;
        let mut neighbour = |device: &str| {
            last += 1;
            watch.clear();
            host.sh(&format!("ip neigh replace 10.9.0.77 lladdr 02:00:00:00:00:{last:02x} nud stale dev {device}"));
            watch.wait(Duration::from_millis(200)).unwrap() == Notice::Change
        };
        assert!(neighbour(BRIDGE));
        wait_until("neighbours of others are no news", Duration::from_secs(5), || !neighbour("eth0"));
    });
}

#[test]
fn rules_of_others_that_look_at_connections_are_heard_at_once_and_the_guard_leaves_vxlan_out() {
    if !can_run() {
        return;
    }
    let host = host("tracks", "10.9.0.1");
    let plan = three_guests();
    host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        settle(&mut kernel, &plan);
        let mut watch = kernel.watch().unwrap();
        watch.clear();
        // What is not heard at once would be heard that late.
        let (long, start) = (Duration::from_secs(20), clock::mono());
        host.sh("nft add table inet c; nft 'add chain inet c i { type filter hook input priority 0; }'");
        assert_eq!(watch.wait(long).unwrap(), Notice::Filters);
        assert!(!watch.untrack().unwrap(), "nobody looks at connections");
        host.sh("nft add rule inet c i ct state established accept");
        while !watch.untrack().unwrap() {
            watch.wait(long).unwrap();
        }
        assert!(clock::mono().since(start) < long, "the rule was heard late");
        assert!(host.sh("nft list table inet vxmesh").contains("chain untracked_in"));
        let (ops, left, _) = settle(&mut kernel, &plan);
        assert_eq!((text(&ops), text(&left)), (String::new(), String::new()), "which is what the engine wants too");
    });
}

#[test]
fn foreign_devices_are_reported_and_left_alone() {
    if !can_run() {
        return;
    }
    let plan = three_guests();
    for (what, make) in [
        ("a bridge with our name", format!("ip link add name {BRIDGE} type bridge")),
        (
            "a vxlan device with our name",
            format!("ip link add name {VXLAN} type vxlan id 9 dstport 9999 local 10.9.0.1"),
        ),
        ("another kind with our name", format!("ip link add name {TAP} type veth peer name p0")),
        (
            "a vxlan device on our UDP port",
            "ip link add name flannel.1 type vxlan id 1 dstport 4789 local 10.9.0.1".into(),
        ),
    ] {
        let host = host("foreign", "10.9.0.1");
        host.sh(&make);
        let before = host.sh("ip -o link");
        host.enter(|| {
            let mut kernel = Kernel::new().unwrap();
            assert_eq!(reconcile::conflicts(&plan.desired, &kernel.observe().unwrap()).len(), 1, "{what}");
            let (_, left, now) = settle(&mut kernel, &plan);
            assert_eq!(text(&left), "", "{what}");
            kernel.apply(&reconcile::cleanup(&now)).unwrap();
        });
        assert_eq!(host.sh("ip -o link"), before, "{what}");
    }
}

#[test]
fn cleanup_removes_ours_and_only_ours() {
    if !can_run() {
        return;
    }
    let host = host("cleanup", "10.9.0.1");
    host.sh(
        "ip link add name br0 type bridge; ip link set dev br0 alias 'vxmesh:default/10'; nft add table inet other",
    );
    host.sh("ip link add name vb11.12b5 type bridge; bridge fdb append 02:00:00:00:00:09 dev wire self");
    let picture = "ip -o link; bridge fdb; nft list ruleset";
    let before = host.sh(picture);
    host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        settle(&mut kernel, &three_guests());
        assert_ne!(host.sh(picture), before);
        // As `meshd cleanup` does it: a process that knows nothing of what was loaded.
        let mut kernel = Kernel::new().unwrap();
        let ops = reconcile::cleanup(&kernel.observe().unwrap());
        kernel.apply(&ops).unwrap();
        assert_eq!(text(&reconcile::cleanup(&kernel.observe().unwrap())), "");
    });
    assert_eq!(host.sh(picture), before);
}

#[test]
fn a_guest_port_survives_when_others_delete_the_vxlan_device() {
    if !can_run() {
        return;
    }
    let host = host("guest", "10.9.0.1");
    host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        settle(&mut kernel, &three_guests());
        host.sh(&format!("ip link add name g0 type veth peer name g1; ip link set dev g0 master {BRIDGE} up"));
        host.sh(&format!("ip link delete dev {VXLAN}"));
        let (_, left, _) = settle(&mut kernel, &three_guests());
        assert_eq!(text(&left), "");
        assert!(host.sh("bridge link show dev g0").contains(&format!("master {BRIDGE}")));
    });
}

#[test]
fn a_port_with_the_lowest_address_does_not_cost_the_bridge_its_neighbours() {
    if !can_run() {
        return;
    }
    let host = host("lowest", "10.9.0.1");
    host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        settle(&mut kernel, &three_guests());
        host.sh(&format!("ip link add name g0 address 00:00:00:00:00:02 type veth peer name g1; ip link set dev g0 master {BRIDGE} up; ip link set dev g1 up"));
        let now = kernel.observe().unwrap();
        let ops = reconcile::diff(&three_guests().desired, &now);
        assert!(matches!(&ops[..], [Op::ChangeGuard { .. }, Op::ChangeFence { .. }]), "the guest is held to what is declared, and that is all: {}", text(&ops));
    });
}

#[test]
fn a_taken_udp_port_is_told_as_such_and_the_rest_is_built() {
    if !can_run() {
        return;
    }
    let host = host("taken", "10.9.0.1");
    host.enter(|| {
        let _taken = std::net::UdpSocket::bind("0.0.0.0:4789").unwrap();
        let mut kernel = Kernel::new().unwrap();
        let ops = reconcile::diff(&three_guests().desired, &kernel.observe().unwrap());
        let error = kernel.apply(&ops).unwrap_err();
        let KernelError::Steps { failed, .. } = &error else { panic!("{error}") };
        assert!(matches!(&failed[..], [KernelError::PortTaken { name }] if name.as_str() == VXLAN), "{error}");
        assert!(Problem::from(&error).to_string().contains("UDP port is taken"));
        assert!(host.sh(&format!("ip link show dev {TAP}")).contains(",UP"), "the other path is up");
    });
}

#[test]
fn an_op_that_is_refused_is_named_with_the_kernels_words() {
    if !can_run() {
        return;
    }
    let host = host("refused", "10.9.0.1");
    host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        let (_, _, now) = settle(&mut kernel, &three_guests());
        let mut plan = three_guests();
        let net = plan.desired.networks.values_mut().next().unwrap();
        let vtep = vxmesh::node::desired::Vtep { address: "fd00::9".parse().unwrap(), via: None };
        net.flood.insert(vtep);
        let error = kernel.apply(&reconcile::diff(&plan.desired, &now)).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!(
                "bridge fdb append 00:00:00:00:00:00 dev {VXLAN} self permanent dst fd00::9: Address family"
            )),
            "{error}"
        );
    });
}

#[test]
fn ten_thousand_rows_are_in_the_kernel_within_a_second() {
    if !can_run() {
        return;
    }
    let host = host("many", "10.9.0.1");
    let rows = (0..10_000_u32).map(|n| {
        let [_, a, b, c] = n.to_be_bytes();
        let node = ["b", "c", "far"][n as usize % 3];
        (format!("default/10/-/02:00:00:{a:02x}:{b:02x}:{c:02x}"), row(node, &[&format!("10.{a}.{b}.{c}")], &[]))
    });
    let rows = rows.skip(1).collect::<serde_json::Map<_, _>>();
    let plan = planned(&slice("a", rows.into()), &local("10.9.0.1"));
    host.enter(|| {
        let mut kernel = Kernel::new().unwrap();
        settle(&mut kernel, &three_guests());
        let start = clock::mono();
        let ops = reconcile::diff(&plan.desired, &kernel.observe().unwrap());
        let decided = clock::mono();
        kernel.apply(&ops).unwrap();
        let applied = clock::mono();
        assert_eq!(text(&reconcile::diff(&plan.desired, &kernel.observe().unwrap())), "");
        let observed = clock::mono();
        println!(
            "{} steps: observe and diff {:?}, apply {:?}, observe and diff again {:?}",
            ops.len(),
            decided.since(start),
            applied.since(decided),
            observed.since(applied)
        );
        assert!(applied.since(start) < Duration::from_secs(2));
        let gone = clock::mono();
        let ops = reconcile::diff(&Desired::default(), &kernel.observe().unwrap());
        kernel.apply(&ops).unwrap();
        println!("cleanup {:?}", clock::mono().since(gone));
    });
    wait_until("the devices are gone", Duration::from_secs(5), || !host.sh("ip -o link").contains("12b5"));
}

#[test]
fn a_device_that_a_crash_left_half_made_does_not_keep_its_udp_port() {
    if !can_run() {
        return;
    }
    let host = host("half", "10.9.0.1");
    host.sh("ip link add name vxmesh-new type vxlan id 10 dstport 4789 local 10.9.0.1 dev eth0 nolearning");
    host.enter(|| {
        let plan = three_guests();
        let mut kernel = Kernel::new().unwrap();
        assert_eq!(reconcile::conflicts(&plan.desired, &kernel.observe().unwrap()), []);
        let (_, rest, _) = settle(&mut kernel, &plan);
        assert_eq!(text(&rest), "");
    });
    assert!(!host.holds("ip link show dev vxmesh-new"), "it is removed with the next");
    assert!(host.holds("ip link show dev vv10.12b5"));
}

#[test]
fn a_network_that_is_too_small_for_ipv6_is_built_and_the_host_is_not_on_it_when_it_grows() {
    if !can_run() {
        return;
    }
    let host = host("small", "10.9.0.1");
    let addresses =
        || host.sh(&format!("for name in {BRIDGE} {TAP} {VXLAN}; do ip -6 -o address show dev $name; done"));
    let steady = |kernel: &mut Kernel, mtu: u16, what: &str| {
        let (first, second, _) = host.enter(|| settle(kernel, &three_guests_with(mtu)));
        assert_eq!(text(&second), "", "{what}");
        assert_eq!(addresses(), "", "{what}: {}", text(&first));
        let neighbours = host.sh(&format!("ip neighbour show dev {BRIDGE} nud permanent"));
        assert!(neighbours.contains("192.168.10.12 lladdr"), "{what}: {neighbours}");
        assert_eq!(neighbours.contains("fd10::12 lladdr"), mtu >= 1280, "{what}: {neighbours}");
        assert!(host.holds(&format!("bridge fdb show dev {VXLAN} | grep -q 'dst 10.9.0.2'")), "{what}");
    };
    let mut kernel = host.enter(|| Kernel::new().unwrap());
    steady(&mut kernel, 1200, "made");
    for mtu in [1400, 1279, 1280, 1200, 1450] {
        steady(&mut kernel, mtu, &format!("changed to {mtu}"));
        if mtu >= 1280 {
            assert_eq!(host.sh(&format!("cat /proc/sys/net/ipv6/conf/{BRIDGE}/accept_ra")).trim(), "0");
        }
    }
    // What others do, and what an earlier version left behind: an address that the kernel gave goes, an operator's own stays.
    host.sh(&format!(
        "for name in {BRIDGE} {VXLAN}; do ip link set $name addrgenmode eui64; ip link set $name down; ip link set $name up; done
         ip address add fd10::99/64 dev {BRIDGE} nodad; ip -6 address show dev {BRIDGE} scope link | grep -q fe80"
    ));
    host.enter(|| settle(&mut kernel, &three_guests_with(1450)));
    let left = addresses();
    assert!(left.matches("inet6").count() == 1 && left.contains("fd10::99"), "{left}");
    host.sh(&format!("ip address del fd10::99/64 dev {BRIDGE}"));
    steady(&mut kernel, 1450, "tidied");
}
