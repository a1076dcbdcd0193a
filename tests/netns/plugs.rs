//! Guests keep their plugs, or get them back, whatever becomes of the bridge that they were plugged into: with daemons, on the real
//! kernel.

use std::process::Command;
use std::time::Duration;

use vxmesh::lab::daemons;

use crate::harness::{can_run, succeed, wait_until};
use crate::labs::Lab;

/// How soon a guest is back.
const SOON: Duration = Duration::from_secs(10);

fn on(lab: &Lab, node: &str, lines: &str) -> String {
    let space = lab.layout().node(node).unwrap().namespace.clone();
    succeed(Command::new("ip").args(["netns", "exec", &space, "sh", "-ec", lines]))
}

/// The bridge that the guest's interface of a node stands in.
fn bridge(lab: &Lab, node: &str) -> String {
    let path = on(lab, node, "readlink /sys/class/net/g1/master || echo none");
    path.trim().rsplit('/').next().unwrap().to_owned()
}

fn back(lab: &Lab, what: &str) {
    wait_until(what, SOON, || lab.answers("a-1", "a-2"));
}

/// Waits until node `a-2` has found something out, and so has decided what to do.
fn told(lab: &Lab, code: &str, word: &str) {
    let layout = lab.layout();
    wait_until(&format!("{code} names {word}"), 3 * SOON, || {
        let status = daemons::status(&lab.home, layout.node("a-2").unwrap());
        status.is_ok_and(|status| status.problems.iter().any(|found| found.code == code && found.what.contains(word)))
    });
}

/// The port of node `a-2`, without an interface.
fn declare(lab: &Lab) {
    let words = "port create a-2-g1 --network blue --node a-2 --mac 02:76:78:01:02:01 --ip 192.168.10.12";
    lab.admin(&words.split(' ').collect::<Vec<_>>());
}

#[test]
fn whatever_takes_a_bridge_away_its_guests_are_plugged_in_again() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    // The last port of the network here, and another one for the same guest, that names no interface.
    lab.admin(&["port", "delete", "a-2-g1"]);
    wait_until("its rights end", SOON, || !lab.answers("a-1", "a-2"));
    assert_eq!(bridge(&lab, "a-2"), "vb10.12b5", "the bridge stays under its guest");
    let leads = || on(&lab, "a-2", "ip -br link").lines().any(|line| line.starts_with("vv") || line.starts_with("vt"));
    wait_until("and leads nowhere", SOON, || !leads());
    assert_eq!(bridge(&lab, "a-2"), "vb10.12b5");
    declare(&lab);
    back(&lab, "declared again");
    // Everything about its devices becomes other.
    on(&lab, "a-2", "ip link delete vb10.12b5");
    back(&lab, "its bridge is deleted");
    on(&lab, "a-2", "ip link set vb10.12b5 down; ip link set vb10.12b5 name foo");
    wait_until("it has its name again", SOON, || bridge(&lab, "a-2") == "vb10.12b5");
    back(&lab, "its bridge is renamed");
    assert!(!on(&lab, "a-2", "ip -br link").contains("foo"));
    let words = ["overlay", "set", "default", "--udp-port", "4799"];
    let said = String::from_utf8(lab.asked(&words).stderr).unwrap();
    assert!(said.contains("M0680") && said.contains("vb10.12b5") && said.contains("--yes"), "{said}");
    assert_eq!(bridge(&lab, "a-2"), "vb10.12b5", "nothing was changed");
    lab.admin(&[&words[..], &["--yes"]].concat());
    wait_until("it follows", SOON, || bridge(&lab, "a-2") == "vb10.12bf");
    back(&lab, "its devices are called otherwise");
    wait_until("the old one goes", SOON, || !on(&lab, "a-2", "ip -br link").contains("12b5"));
    lab.kill("a-2");
    on(&lab, "a-2", "ip link delete vb10.12bf");
    lab.start("a-2");
    back(&lab, "its bridge was deleted while no daemon ran");
    // On purpose is on purpose.
    on(&lab, "a-2", "ip link add virbr0 type bridge; ip link set virbr0 up; ip link set g1 master virbr0");
    // Once it was seen there, what is done about it was done.
    wait_until("it is seen", 3 * SOON, || {
        let status = daemons::status(&lab.home, lab.layout().node("a-2").unwrap());
        status.is_ok_and(|status| status.networks.iter().all(|network| network.plugged == 0))
    });
    assert_eq!(bridge(&lab, "a-2"), "virbr0", "it is not fought over");
}

/// What the kernel refuses for one network keeps no guest of another from its bridge, nor what is said of it.
#[test]
fn a_guest_is_plugged_in_whatever_another_network_lacks() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    let flannel = "ip link add flannel.31 type vxlan id 31 dev admin0 dstport 4789 local 10.1.0.2 nolearning; ip link set flannel.31 up";
    on(&lab, "a-2", flannel);
    lab.admin(&["network", "create", "red", "--overlay", "default", "--vni", "31", "--cidr", "192.168.31.0/24"]);
    for (port, node) in [("re1", "a-1"), ("re2", "a-2")] {
        let (mac, ip) = (format!("02:00:00:00:31:0{}", &port[2..]), format!("192.168.31.1{}", &port[2..]));
        lab.admin(&["port", "create", port, "--network", "red", "--node", node, "--mac", &mac, "--ip", &ip]);
    }
    told(&lab, "M0626", "network red");
    anew(&lab);
    told(&lab, "M0626", "network red");
    // Its guest is heard for a while first: what goes is told of one that was at work.
    speaks(&lab);
    on(&lab, "a-2", "ip link delete g1");
    told(&lab, "M0673", "g1");
    on(&lab, "a-2", "ip link delete flannel.31");
    anew(&lab);
}

/// IPv6 that a host has switched off is no reason to plug nothing in.
#[test]
fn a_host_without_ipv6_has_guests_with_it() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    lab.admin(&["network", "set", "blue", "--cidr", "192.168.10.0/24,fd10::/64"]);
    lab.admin(&["port", "set", "a-1-g1", "--ip", "192.168.10.11,fd10::11"]);
    lab.admin(&["port", "set", "a-2-g1", "--ip", "192.168.10.12,fd10::12"]);
    let neighbours = || on(&lab, "a-2", "ip -6 neigh show dev vb10.12b5 nud permanent");
    wait_until("the table is there", SOON, || neighbours().contains("fd10::11"));
    let switch = |on_off: u8| {
        let switches = format!("for d in all default; do sysctl -q -w net.ipv6.conf.$d.disable_ipv6={on_off}; done");
        on(&lab, "a-2", &switches);
    };
    switch(1);
    anew(&lab);
    let status = || daemons::status(&lab.home, lab.layout().node("a-2").unwrap()).unwrap();
    // For a moment its interface had gone while it was at work.
    wait_until("nothing is told of it", SOON, || status().problems.is_empty());
    // A network that comes meanwhile, and a daemon.
    lab.kill("a-2");
    on(&lab, "a-2", "ip link delete vb10.12b5");
    lab.start("a-2");
    back(&lab, "after a restart");
    wait_until("all is well", SOON, || status().problems.is_empty());
    switch(0);
    wait_until("the rest of the table", 3 * SOON, || neighbours().contains("fd10::11"));
}

/// The guest of node `a-2` speaks until its node has heard it.
fn speaks(lab: &Lab) {
    let explain = ["a-2", "--", env!("CARGO_BIN_EXE_meshctl"), "explain", "a-2-g1", "a-1-g1"];
    wait_until("it is heard", 6 * SOON, || {
        lab.answers("a-1", "a-2");
        String::from_utf8_lossy(&lab.ctl("exec", &explain).stdout).contains("; heard ")
    });
}

/// The guest of node `a-2` is started anew, by somebody who plugs nothing.
fn anew(lab: &Lab) {
    let guest = lab.guest("a-2").0;
    let host = lab.layout().node("a-2").unwrap().namespace.clone();
    succeed(Command::new("sh").args([
        "-ec",
        &format!(
            "ip -n {host} link delete g1 2>/dev/null || true
             ip -n {host} link add g1 type veth peer name eth0 address 02:76:78:01:02:01 netns {guest}
             ip -n {guest} link set eth0 up mtu 1400; ip -n {guest} address add 192.168.10.12/24 dev eth0
             ip -n {host} link set g1 up"
        ),
    ]));
    back(lab, "made anew by somebody who plugs nothing");
}

#[test]
fn an_interface_that_a_port_names_is_plugged_in_when_it_appears_and_where_it_is_pulled_out() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    on(&lab, "a-2", "ip link set g1 nomaster");
    wait_until("it is plugged again", SOON, || bridge(&lab, "a-2") == "vb10.12b5");
    back(&lab, "pulled out");
    on(&lab, "a-2", "ip link delete g1");
    assert!(!lab.answers("a-1", "a-2"));
    anew(&lab);
    // An interface that carries the host's own traffic is none of a guest's, whatever a port says.
    on(
        &lab,
        "a-2",
        "ip link add spare type veth peer name other; ip link set spare up; ip address add 192.0.2.1/32 dev spare",
    );
    lab.admin(&["port", "set", "a-2-g1", "--interface", "spare"]);
    told(&lab, "M0617", "spare");
    assert_eq!(on(&lab, "a-2", "readlink /sys/class/net/spare/master || echo none").trim(), "none");
    lab.admin(&["port", "set", "a-2-g1", "--interface", "admin0"]);
    told(&lab, "M0617", "admin0");
    assert_eq!(on(&lab, "a-2", "readlink /sys/class/net/admin0/master || echo none").trim(), "none");
    on(&lab, "a-2", "ip address flush dev spare");
    lab.admin(&["port", "set", "a-2-g1", "--interface", "spare"]);
    wait_until("without an address it is a guest's", SOON, || {
        on(&lab, "a-2", "readlink /sys/class/net/spare/master || echo none").contains("vb10.12b5")
    });
}

/// A TAP or veth that is made before its guest runs has no carrier, and nobody was ever heard behind it: it is listed, and all is well.
#[test]
fn an_interface_that_waits_for_its_guest_is_no_finding_and_one_that_was_heard_is() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    let status = || daemons::status(&lab.home, lab.layout().node("a-2").unwrap()).unwrap();
    on(
        &lab,
        "a-2",
        "ip tuntap add mode tap name tp0; ip link set tp0 up; ip link add ve0 type veth peer name ve1; ip link set ve0 up",
    );
    for (port, interface, last) in [("waits-1", "tp0", "91"), ("waits-2", "ve0", "92")] {
        let (mac, ip) = (format!("02:00:00:00:31:{last}"), format!("192.168.10.{last}"));
        let words = ["--network", "blue", "--node", "a-2", "--mac", &mac, "--ip", &ip, "--interface", interface];
        lab.admin(&[&["port", "create", port][..], &words].concat());
    }
    let listed =
        |status: &vxmesh::api::local::Status| status.networks.iter().map(|net| net.absent.len()).sum::<usize>();
    wait_until("both are listed", SOON, || listed(&status()) == 2);
    // Longer than what stands wrong goes untold.
    let stands = |since| vxmesh::clock::wall().since(since) > Duration::from_secs(6);
    wait_until("long enough", 2 * SOON, || {
        status().networks.iter().flat_map(|net| &net.absent).all(|port| stands(port.since))
    });
    let found = status();
    assert_eq!((listed(&found), found.problems), (2, Vec::new()), "nobody was heard there");
    speaks(&lab);
    let guest = lab.guest("a-2").0;
    succeed(Command::new("ip").args(["-n", &guest, "link", "set", "eth0", "down"]));
    told(&lab, "M0700", "g1");
}
