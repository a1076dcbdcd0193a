//! What operators are told of MTUs, on whole labs: a path shrinks under traffic, a network's number is changed under traffic.

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use vxmesh::lab::traffic;

use crate::harness::{can_run, wait_until};
use crate::labs::{Lab, said};

/// Longest outer packet that passes between the nodes once the internet has shrunk.
const NARROW: u16 = 1400;

/// Drops larger tunnel datagrams between the nodes without a word, as a bad line does. What is larger than any datagram is a train of
/// small ones that the virtual wire has not cut yet.
fn shrink(lab: &Lab) {
    let rules = format!(
        "add table bridge narrow; add chain bridge narrow f {{ type filter hook forward priority 0; }}; \
         add rule bridge narrow f ip protocol udp ip length > {NARROW} ip length <= 1500 drop"
    );
    nft(lab, &rules);
}

fn widen(lab: &Lab) {
    nft(lab, "delete table bridge narrow");
}

fn nft(lab: &Lab, rules: &str) {
    let done = Command::new("ip").args(["netns", "exec", &lab.layout().net, "nft", rules]).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
}

/// `meshctl` on a node.
fn local(lab: &Lab, node: &str, words: &str) -> Output {
    let socket = lab.home.socket(node);
    let mut command = Command::new(env!("CARGO_BIN_EXE_meshctl"));
    command.arg("--socket").arg(socket).args(words.split_whitespace()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The pair of the two PDCs in the management node's map, and the network.
fn map(lab: &Lab) -> (Value, Value) {
    let map: Value = serde_json::from_str(&lab.admin(&["mtu", "map", "--network", "blue", "-o", "json"])).unwrap();
    let across = map["pairs"].as_array().unwrap().iter().find(|pair| pair["a"] == "a" && pair["b"] == "b");
    (across.cloned().unwrap_or_default(), map["networks"][0].clone())
}

/// MTU of the bridge of network blue on a node.
fn bridge_mtu(lab: &Lab, node: &str) -> u64 {
    let status: Value = serde_json::from_slice(&local(lab, node, "status -o json").stdout).unwrap();
    let bridge = status["networks"][0]["bridge"].as_str().unwrap().to_owned();
    let layout = lab.layout();
    let namespace = &layout.node(node).unwrap().namespace;
    let shown = Command::new("ip").args(["-n", namespace, "-j", "link", "show", "dev", &bridge]).output().unwrap();
    let links: Value = serde_json::from_slice(&shown.stdout).unwrap();
    links[0]["mtu"].as_u64().unwrap()
}

fn port(lab: &Lab, node: &str) -> String {
    let (_, ip) = lab.guest(node);
    let list: Value = serde_json::from_str(&lab.admin(&["port", "list", "-o", "json"])).unwrap();
    let ports = list["items"].as_array().unwrap();
    let has =
        |port: &&Value| port["spec"]["ips"].as_array().is_some_and(|ips| ips.contains(&Value::from(ip.to_string())));
    ports.iter().find(has).unwrap()["metadata"]["name"].as_str().unwrap().to_owned()
}

#[test]
fn a_path_that_shrinks_is_told_at_once_and_the_network_follows_when_it_has_stood() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    lab.settled();
    wait_until("both ends have measured the path", Duration::from_secs(20), || map(&lab).0["measured"] == 1500);
    assert_eq!((&map(&lab).1["mtu"], &map(&lab).1["missing"]), (&Value::from(1418), &Value::from(0)));
    let well = || local(&lab, "a-1", "status").status.code() == Some(0);
    wait_until("all is well", Duration::from_secs(10), well);

    shrink(&lab);
    // Small enough for the narrow path, so none of them may be lost, whatever happens to the network's number.
    let small = lab.pings("a-1", "b-1", 4000);
    let probe = local(&lab, "a-1", "mtu probe b-1 -o json");
    let found: Value = serde_json::from_slice(&probe.stdout).unwrap();
    assert_eq!(
        (probe.status.code(), &found["lanes"][0]["bytes"], &found["guest"]),
        (Some(0), &Value::from(1400), &Value::from(1318)),
        "{found}"
    );
    assert!(found["milliseconds"].as_u64().unwrap() < 10_000, "{found}");

    wait_until("status says so", Duration::from_secs(5), || text(&local(&lab, "a-1", "status")).contains("M0502"));
    let status = local(&lab, "a-1", "status -o json");
    assert_eq!(status.status.code(), Some(9));
    let what = text(&status);
    assert!(what.contains("100 bytes short on the path to b-1 (1400, needs 1500); its MTU is 1418"), "{what}");
    let (from, to) = (port(&lab, "a-1"), port(&lab, "b-1"));
    let why = text(&local(&lab, "a-1", &format!("explain --from {from} --to {to}")));
    assert!(why.contains("1500 underlay - 20 IPv4") && why.contains("1400 measured - 20 IPv4"), "{why}");
    let shown = text(&local(&lab, "a-1", "mtu map"));
    assert!(shown.contains("the path to b-1"), "{shown}");
    let (guest, (_, ip)) = (lab.guest("a-1").0, lab.guest("b-1"));
    // The other end finds out by itself: its answers are lost for a moment, and then they are in fragments.
    let large = || traffic::ping(&guest, ip, 3, 10, 1418 - 28).unwrap().received;
    wait_until("the network's number is a promise", Duration::from_secs(4), || large() == 3);
    let counted: Value = serde_json::from_slice(&local(&lab, "a-1", "mtu map -o json").stdout).unwrap();
    for counts in [&counted["peers"][0]["counts"], &counted["networks"][0]["counts"]] {
        assert!(counts["fragmented"].as_u64() >= Some(3) && counts["reassembled"].as_u64() >= Some(3), "{counted}");
    }
    assert!(text(&local(&lab, "a-1", "status")).contains("sizes: fragmented "), "{counted}");
    let (across, blue) = map(&lab);
    assert_eq!((&across["measured"], &blue["mtu"]), (&Value::from(1400), &Value::from(1418)), "it does not count yet");

    wait_until("it counts", Duration::from_secs(45), || map(&lab).1["mtu"] == 1318);
    let (across, blue) = map(&lab);
    assert_eq!(
        (&across["counts"], &across["guest"], &blue["missing"]),
        (&Value::from(1400), &Value::from(1318), &Value::from(0))
    );
    assert!(across["limit"].as_str().unwrap().starts_with("the path "), "{across}");
    for node in ["a-1", "b-1"] {
        wait_until("the bridge has it", Duration::from_secs(10), || bridge_mtu(&lab, node) == 1318);
    }
    wait_until("nothing is wrong any more", Duration::from_secs(10), || {
        local(&lab, "a-1", "status").status.code() == Some(0)
    });
    let events = lab.admin(&["events", "-n", "10"]);
    assert!(events.contains("path-mtu") && events.contains("guest MTU of blue: 1418 -> 1318"), "{events}");
    assert_eq!(traffic::ping(&guest, ip, 3, 10, 1318 - 28).unwrap().received, 3);
    let small = small.join().unwrap();
    assert_eq!(small.received, small.sent);

    widen(&lab);
    let probe = local(&lab, "a-1", &format!("mtu probe {to}"));
    assert!(text(&probe).contains("1500") && probe.status.success(), "{}", text(&probe));
}

#[test]
fn a_network_gets_another_number_without_a_restart_and_without_a_loss() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let (inside, across) = (lab.pings("a-1", "a-2", 500), lab.pings("a-2", "b-1", 500));
    for mtu in ["1300", "1400", "auto"] {
        lab.admin(&["network", "set", "blue", "--mtu", mtu]);
        let number = mtu.parse().unwrap_or(1418);
        for node in ["a-1", "b-2"] {
            wait_until("the bridge has it", Duration::from_secs(10), || bridge_mtu(&lab, node) == number);
        }
    }
    lab.admin(&["network", "set", "blue", "--mtu", "inherit"]);
    lab.admin(&["overlay", "set", "default", "--mtu", "1350"]);
    wait_until("the overlay's number counts", Duration::from_secs(10), || bridge_mtu(&lab, "a-1") == 1350);
    for pings in [inside.join().unwrap(), across.join().unwrap()] {
        assert_eq!(pings.received, pings.sent);
    }
    let text = text(&local(&lab, "a-1", "mtu map --network blue"));
    assert!(text.contains("blue     1350  fixed"), "{text}");
    assert_eq!(local(&lab, "a-1", "mtu probe a-2").status.code(), Some(0), "the plain path is measured, too");
    assert_eq!(local(&lab, "a-1", "mtu probe a-9").status.code(), Some(4));
}

#[test]
fn the_nodes_own_number_counts_where_network_and_overlay_say_nothing() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    let config = lab.home.machine("a-1").join("meshd.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{before}\n[mtu]\npolicy = \"fixed\"\nguest = 1290\n")).unwrap();
    let pings = lab.pings("a-1", "a-2", 200);
    assert!(lab.home.running("a-1").unwrap().signal(libc::SIGHUP).unwrap());
    wait_until("the node's number counts", Duration::from_secs(10), || bridge_mtu(&lab, "a-1") == 1290);
    lab.admin(&["network", "set", "blue", "--mtu", "1300"]);
    wait_until("the network's counts more", Duration::from_secs(10), || bridge_mtu(&lab, "a-1") == 1300);
    let pings = pings.join().unwrap();
    assert_eq!(pings.received, pings.sent);
}

/// What one node says of its interface takes nothing from the plain path of another PDC, and IPv6 from no bridge.
#[test]
fn a_small_interface_of_one_node_costs_its_own_pairs_and_is_named() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let layout = lab.layout();
    let mtu = |namespace: &str, device: &str, bytes: &str| {
        let done = Command::new("ip").args(["-n", namespace, "link", "set", device, "mtu", bytes]).output().unwrap();
        assert!(done.status.success(), "{}", said(&done));
    };
    // Guests as large as the plain path of their PDC carries.
    for node in ["a-1", "a-2"] {
        let node = layout.node(node).unwrap();
        mtu(&node.namespace, &node.guests[0].device, "1450");
        mtu(&node.guests[0].namespace, "eth0", "1450");
    }
    let (from, (_, to)) = (lab.guest("a-1").0, lab.guest("a-2"));
    let whole = || traffic::ping(&from, to, 3, 10, 1450 - 28).unwrap().received == 3;
    wait_until("the plain path carries what its interfaces do", Duration::from_secs(10), whole);
    mtu(&layout.node("b-1").unwrap().namespace, "ext0", "576");
    let sees = || {
        let map: Value = serde_json::from_slice(&local(&lab, "b-1", "mtu map -o json").stdout).unwrap();
        map["peers"].as_array().unwrap().iter().any(|peer| peer["underlay"] == 576)
    };
    wait_until("b-1 has seen it", Duration::from_secs(10), sees);
    assert_eq!(map(&lab).1["mtu"], 1418, "it does not count at once");
    assert!(!lab.admin(&["events", "-n", "20"]).contains("interface-mtu"));
    wait_until("it counts, down to the floor", Duration::from_secs(45), || map(&lab).1["mtu"] == 1280);
    for node in ["a-1", "a-2", "b-2"] {
        wait_until("the bridge has it", Duration::from_secs(10), || bridge_mtu(&lab, node) == 1280);
        let path = "/proc/sys/net/ipv6/conf/vb10.12b5/disable_ipv6";
        let namespace = &layout.node(node).unwrap().namespace;
        let ipv6 = Command::new("ip").args(["netns", "exec", namespace, "cat", path]).output().unwrap();
        assert!(ipv6.status.success(), "{node} has no IPv6 on its bridge: {}", said(&ipv6));
    }
    assert!(whole(), "frames of 1450 bytes pass between guests of the other PDC");
    let events = lab.admin(&["events", "-n", "20"]);
    let entry =
        "node b-1 says that its external interface carries 576 bytes, 1500 before; guest MTU of blue: 1418 -> 1280";
    assert!(events.contains(entry), "{events}");
}

/// The other PDC is behind a line that carries less and less; inside a PDC nothing of 1450 bytes is lost, and bulk comes whole.
#[test]
fn a_line_between_pdcs_that_shrinks_takes_nothing_from_guests_inside_one() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let layout = lab.layout();
    for node in ["a-1", "a-2"] {
        let node = layout.node(node).unwrap();
        for (namespace, device) in
            [(&node.namespace, node.guests[0].device.as_str()), (&node.guests[0].namespace, "eth0")]
        {
            let done =
                Command::new("ip").args(["-n", namespace, "link", "set", device, "mtu", "1450"]).output().unwrap();
            assert!(done.status.success(), "{}", said(&done));
        }
    }
    let (from, (to_namespace, to)) = (lab.guest("a-1").0, lab.guest("a-2"));
    wait_until("all tunnels are measured", Duration::from_secs(20), || map(&lab).0["measured"] == 1500);
    let inside = std::thread::spawn({
        let from = from.clone();
        move || traffic::ping(&from, to, 4500, 10, 1450 - 28).unwrap()
    });
    // Tunnels alone: the admin wires of a PDC cross the same namespace.
    let rules = format!(
        "add table bridge narrow; add chain bridge narrow f {{ type filter hook forward priority 0; }}; add rule bridge narrow f \
         udp dport 51820-51827 ip length > {NARROW} ip length <= 1500 drop"
    );
    nft(&lab, &rules);
    let number = || map(&lab).1["mtu"].as_u64().unwrap();
    wait_until("the network's number follows", Duration::from_secs(60), || number() == 1318);
    for node in ["a-1", "a-2"] {
        wait_until("the bridge has it", Duration::from_secs(10), || bridge_mtu(&lab, node) == 1318);
    }
    let bulk =
        traffic::transfer_to(&from, &to_namespace, to, vxmesh::lab::transfer::Amount::Bytes(30_000_000)).unwrap();
    assert!(bulk.intact(), "bulk inside the PDC");
    let inside = inside.join().unwrap();
    assert_eq!(inside.received, inside.sent, "whole packets of 1450 bytes inside the PDC");
    widen(&lab);
    // What was is told as what was.
    let limit = || map(&lab).0["limit"].as_str().unwrap().to_owned();
    wait_until("the map says until when", Duration::from_secs(60), || limit().contains(" until "));
    assert!(limit().contains("bytes count if that stays") && number() == 1318, "{}", limit());
    wait_until("it is an event", Duration::from_secs(30), || {
        lab.admin(&["events", "-n", "20"]).contains("1500 bytes again")
    });
    assert!(lab.admin(&["network", "list"]).contains("1318"));
}
