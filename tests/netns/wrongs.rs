//! A guest that is not where it belongs, or says what it may not, is a finding with port, interface and value: on its node and at
//! management, within half a minute, for as long as it is so. With daemons, on the real kernel.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use vxmesh::types::Mac;

use crate::frames::Plug;
use crate::harness::{can_run, succeed, wait_until};
use crate::labs::Lab;
use crate::pretend::eth;

/// How soon a node says it, and management.
const NODE: Duration = Duration::from_secs(30);
const MANAGEMENT: Duration = Duration::from_secs(35);
/// How soon it ends: what guests say is told for a minute more.
const ENDS: Duration = Duration::from_secs(75);

fn within(space: &str, lines: &str) {
    succeed(Command::new("ip").args(["netns", "exec", space, "sh", "-ec", lines]));
}

/// Status as JSON: of a node, or of the mesh.
fn status(lab: &Lab, node: Option<&str>) -> Value {
    let output = match node {
        Some(node) => lab.ctl("exec", &[node, "--", env!("CARGO_BIN_EXE_meshctl"), "status", "-o", "json"]),
        None => lab.asked(&["status", "-o", "json"]),
    };
    serde_json::from_slice(&output.stdout).unwrap()
}

fn codes(status: &Value) -> Vec<String> {
    let problems = status["problems"].as_array().unwrap().iter();
    problems
        .map(|problem| format!("{} {}", problem["code"].as_str().unwrap(), problem["what"].as_str().unwrap()))
        .collect()
}

fn says(lab: &Lab, node: Option<&str>, words: &[&str]) -> bool {
    codes(&status(lab, node)).iter().any(|line| words.iter().all(|word| line.contains(word)))
}

/// One fault of a guest: where, what is done in the node's namespace and in the guest's, what is said, and what mends it.
struct Fault {
    node: &'static str,
    host: &'static str,
    guest: &'static str,
    says: &'static [&'static str],
    mend_host: &'static str,
    mend_guest: &'static str,
    /// What STATE and PORTS say meanwhile.
    plugged: u64,
}

fn run(lab: &Lab, faults: &[Fault]) {
    let layout = lab.layout();
    let spaces = |fault: &Fault| {
        let node = layout.node(fault.node).unwrap();
        (node.namespace.clone(), node.guests[0].namespace.clone())
    };
    for fault in faults {
        let (host, guest) = spaces(fault);
        within(&host, fault.host);
        within(&guest, fault.guest);
    }
    for fault in faults {
        let what = format!("{}: {:?}", fault.node, fault.says);
        wait_until(&what, NODE, || says(lab, Some(fault.node), fault.says));
        let status = status(lab, Some(fault.node));
        assert_eq!(status["networks"][0]["plugged"], fault.plugged, "{what}");
        let state = status["networks"][0]["problem"].as_str().unwrap_or("ok").to_owned();
        assert!(state.contains(fault.says[0]), "{what}: STATE is {state}");
        assert_eq!(codes(&status).len(), 1, "one fault is one finding: {:?}", codes(&status));
        wait_until(&format!("management: {what}"), MANAGEMENT, || says(lab, None, fault.says));
        let other = if fault.node == "a-1" { "b-1" } else { "a-1" };
        let (from, to) = (format!("{}-g1", fault.node), format!("{other}-g1"));
        // At its own node, at the other end, which asks there, and at management.
        for output in [
            lab.ctl("exec", &[fault.node, "--", env!("CARGO_BIN_EXE_meshctl"), "explain", &from, &to]),
            lab.ctl("exec", &[other, "--", env!("CARGO_BIN_EXE_meshctl"), "explain", &to, &from]),
            lab.asked(&["explain", &from, &to]),
            lab.asked(&["explain", &to, &from]),
        ] {
            let text = String::from_utf8(output.stdout).unwrap();
            let line = text.lines().next().unwrap();
            assert!(!line.ends_with(": arrives"), "{what}: {text}");
            // One that stands elsewhere gets nothing, whoever is asked; one that says what it may not may say what it may, too.
            let cut_off = fault.plugged == 0;
            assert!(!cut_off || line.ends_with(": does not arrive"), "{what}: {text}");
            assert!(text.contains("guest"), "{what}: {text}");
        }
    }
    for fault in faults {
        let (host, guest) = spaces(fault);
        within(&host, fault.mend_host);
        within(&guest, fault.mend_guest);
    }
    for fault in faults {
        let left = || codes(&status(lab, Some(fault.node)));
        wait_until(&format!("{}: it ends", fault.node), ENDS, || left().is_empty());
    }
    let arrives = |node: &str, from: &str, to: &str| {
        let output = lab.ctl("exec", &[node, "--", env!("CARGO_BIN_EXE_meshctl"), "explain", from, to]);
        String::from_utf8(output.stdout).unwrap().lines().next().is_some_and(|line| line.ends_with(": arrives"))
    };
    for fault in faults {
        let other = if fault.node == "a-1" { "b-1" } else { "a-1" };
        let (from, to) = (format!("{other}-g1"), format!("{}-g1", fault.node));
        wait_until(&format!("{to} is reached again"), NODE, || arrives(other, &from, &to));
    }
    wait_until("management: all is well", MANAGEMENT, || codes(&status(lab, None)).is_empty());
}

/// Goes on in the background until it is ended.
const PING: &str = "ping -i 0.5 -c 60 -W 1 -q";

#[test]
fn what_a_guest_says_and_may_not_is_told_with_port_interface_and_value() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    assert_eq!(codes(&status(&lab, None)), [""; 0], "a healthy mesh");
    assert_eq!(status(&lab, Some("a-1"))["drops"], serde_json::json!({}), "and nothing is dropped in it");
    let wrong_ip =
        format!("ip address add 192.168.10.99/24 dev eth0; ({PING} -I 192.168.10.99 192.168.10.11 >/dev/null 2>&1 &)");
    let taken_ip =
        format!("ip address add 192.168.10.13/32 dev eth0; ({PING} -I 192.168.10.13 192.168.10.11 >/dev/null 2>&1 &)");
    let wrong_mac =
        format!("ip link set eth0 address 02:00:00:aa:aa:aa; ({PING} 192.168.10.11 >/dev/null 2>&1 || true) &");
    let taken_mac =
        format!("ip link set eth0 address 02:76:78:02:01:01; ({PING} 192.168.10.11 >/dev/null 2>&1 || true) &");
    let leaked: Vec<&'static str> =
        [wrong_ip, taken_ip, wrong_mac, taken_mac].into_iter().map(|text| &*Box::leak(text.into_boxed_str())).collect();
    let end = "for p in $(ip netns pids $(ip netns identify $$)); do [ \"$(cat /proc/$p/comm 2>/dev/null)\" != ping ] || kill $p; done";
    let fault = |node, guest, says, mend: &str| Fault {
        node,
        host: "true",
        guest,
        says,
        mend_host: "true",
        mend_guest: &*Box::leak(format!("{end}; {mend}").into_boxed_str()),
        plugged: 1,
    };
    run(
        &lab,
        &[
            fault(
                "a-2",
                leaked[0],
                &["M0676", "port a-2-g1", "g1", "192.168.10.99"],
                "ip address delete 192.168.10.99/24 dev eth0",
            ),
            fault(
                "b-2",
                leaked[1],
                &["M0677", "port b-2-g1", "g1", "192.168.10.13", "port b-1-g1"],
                "ip address delete 192.168.10.13/32 dev eth0",
            ),
        ],
    );
    run(
        &lab,
        &[
            fault(
                "a-2",
                leaked[2],
                &["M0675", "port a-2-g1", "g1", "02:00:00:aa:aa:aa", "02:76:78:01:02:01"],
                "ip link set eth0 address 02:76:78:01:02:01",
            ),
            fault(
                "b-2",
                leaked[3],
                &["M0677", "port b-2-g1", "g1", "02:76:78:02:01:01", "port b-1-g1"],
                "ip link set eth0 address 02:76:78:02:02:01",
            ),
        ],
    );
}

#[test]
fn a_guest_that_is_not_where_it_belongs_is_told_with_port_interface_and_place() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    // Of this one no port says where it is: it has spoken.
    for words in [
        "port delete b-1-g1",
        "port create b-1-g1 --network blue --node b-1 --mac 02:76:78:02:01:01 --ip 192.168.10.13",
    ] {
        lab.admin(&words.split(' ').collect::<Vec<_>>());
    }
    wait_until("it has spoken", NODE, || lab.answers("a-1", "b-1"));
    wait_until("all is well", NODE, || codes(&status(&lab, None)).is_empty());
    let fault = |node, host, says, mend_host| Fault {
        node,
        host,
        guest: "true",
        says,
        mend_host,
        mend_guest: "true",
        plugged: 0,
    };
    run(
        &lab,
        &[
            fault(
                "a-1",
                "ip link add virbr0 type bridge; ip link set g1 master virbr0",
                &["M0670", "port a-1-g1", "g1", "virbr0"],
                "ip link set g1 nomaster",
            ),
            fault("a-2", "ip link set g1 down", &["M0674", "port a-2-g1", "g1", "down"], "ip link set g1 up"),
            fault("b-1", "ip link set g1 nomaster", &["M0672", "port b-1-g1", "g1"], "ip link set g1 master vb10.12b5"),
            // It has answered above: it was at work.
            fault(
                "b-2",
                "ip link set g1 down; ip link set g1 name gone",
                &["M0673", "port b-2-g1", "g1", "at work"],
                "ip link set gone name g1; ip link set g1 up",
            ),
        ],
    );
    let absent = |lab: &Lab| status(lab, Some("a-2"))["networks"][0]["absent"].clone();
    assert_eq!(absent(&lab), serde_json::json!([]));
    lab.admin(&["port", "set", "a-2-g1", "--interface", "other"]);
    wait_until("absent", NODE, || absent(&lab)[0]["interface"] == "other");
    assert_eq!(absent(&lab)[0]["port"], "a-2-g1");
    let since = absent(&lab)[0]["since"].as_str().unwrap_or_default().to_owned();
    assert!(since.starts_with("20") && since.ends_with('Z'), "{}", absent(&lab));
    // The bridge has an interface that no port of the network names now.
    lab.admin(&["port", "delete", "a-2-g1"]);
    wait_until("only the plug is left", NODE, || says(&lab, Some("a-2"), &["M0679", "vb10.12b5", "g1"]));
}

/// An entry that leads an IP address to a group of Ethernet: the plain path carries what uses it, no tunnel does.
#[test]
fn what_is_for_one_host_and_goes_to_a_group_is_told_where_a_tunnel_would_have_to_carry_it() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    wait_until("all is well", NODE, || codes(&status(&lab, None)).is_empty());
    let (to, near, far) = (lab.guest("a-1").1, lab.guest("a-2").0, lab.guest("b-2").0);
    for guest in [&near, &far] {
        let entry = format!("ip neigh replace {to} lladdr 03:bf:c0:a8:0a:3d dev eth0 nud permanent");
        within(guest, &format!("{entry}; ping -c 5 -i 0.2 -W 1 {to} || true"));
    }
    wait_until("it is told", NODE, || says(&lab, Some("b-2"), &["M0684", "port b-2-g1", "(g1)", "group-unicast"]));
    let near = codes(&status(&lab, Some("a-2")));
    assert!(!near.contains(&"M0684".to_owned()), "what it sends arrives: {near:?}");
}

/// A hypervisor says by RARP that it has moved a guest, some frames within a second (QEMU, `announce-rounds`): no fault of the guest.
#[test]
fn a_hypervisors_word_for_a_guest_that_it_has_moved_is_no_news() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "1"]);
    lab.settled();
    let guest = lab.layout().node("a-1").unwrap().guests[0].namespace.clone();
    let (wire, own) = (Plug::at(&guest, "eth0"), "02:76:78:01:01:01".parse().unwrap());
    let count = || status(&lab, Some("a-1"))["drops"]["guest_type"].as_u64().unwrap_or_default();
    let kinds = |kind: u16, frames: u64| {
        let before = count();
        let frame = eth(Mac::BROADCAST, own, kind, &[0; 46]);
        (0..frames).for_each(|_| wire.send(&frame));
        wait_until("they are counted", NODE, || count() >= before + frames);
    };
    kinds(0x8035, 5);
    let by_interface = || {
        let output = lab.ctl("exec", &["a-1", "--", "nft", "list", "set", "bridge", "vxmesh_guests", "by_type"]);
        String::from_utf8_lossy(&output.stdout).contains("\"g1\"")
    };
    assert!(!by_interface());
    kinds(0x8137, 2);
    assert!(by_interface(), "another protocol is");
    wait_until("and told", NODE, || says(&lab, Some("a-1"), &["M0684", "neither IPv4, IPv6 nor ARP"]));
}
