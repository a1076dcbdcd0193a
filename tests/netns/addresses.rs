//! What a node is does not follow a momentary order of its host's addresses and routes.

use std::time::Duration;

use crate::harness::{can_run, wait_until};
use crate::labs::Lab;
use vxmesh::lab::shell;

const LIMIT: Duration = Duration::from_secs(10);

/// Runs lines in the namespace of the first node.
fn host(lab: &Lab, lines: &str) -> String {
    let node = lab.layout().nodes[0].namespace.clone();
    let mut command = shell::command(Some(&node), "sh");
    command.args(["-ec", lines]);
    shell::run(command).unwrap()
}

/// Admin and external address of the first node, as management has them.
fn sides(lab: &Lab) -> (String, String) {
    let text = lab.admin(&["node", "show", "a-1", "-o", "json"]);
    let node: serde_json::Value = serde_json::from_str(&text).unwrap();
    let facts = &node["status"]["facts"];
    let side = |name: &str| facts[name].as_str().unwrap_or_default().to_owned();
    (side("admin"), side("external"))
}

/// True where the first node follows the newest table.
fn follows(lab: &Lab) -> bool {
    let status: serde_json::Value = serde_json::from_slice(&lab.asked(&["status", "-o", "json"]).stdout).unwrap();
    status["nodes"].as_array().unwrap().iter().any(|node| node["node"] == "a-1" && node["inSync"] == true)
}

#[test]
fn a_floating_address_is_nobodys_whatever_comes_first_and_whoever_restarts() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    let own = ("10.1.0.1".to_owned(), sides(&lab).1);
    assert_eq!(sides(&lab), own);
    // The floating one is first in the kernel's order from here on.
    host(
        &lab,
        "ip address add 10.1.0.100/32 dev admin0
         ip address del 10.1.0.1/24 dev admin0; ip address add 10.1.0.1/24 dev admin0",
    );
    for round in 0..3 {
        // A change that the node follows has it look at its host; what it says of itself then is what counts.
        lab.admin(&["port", "set", "a-1-g1", "--role", if round % 2 == 0 { "dhcp" } else { "guest" }]);
        wait_until("the node follows", LIMIT, || follows(&lab));
        assert_eq!(sides(&lab), own, "round {round}");
        wait_until("it is reached", LIMIT, || lab.answers("a-2", "a-1"));
        lab.kill("a-1");
        lab.start("a-1");
    }
}

#[test]
fn a_default_route_that_comes_later_moves_no_node() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    let own = sides(&lab);
    assert_eq!(own.0, "10.1.0.1");
    lab.kill("a-1");
    let file = lab.home.machine("a-1").join("meshd.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let unnamed: Vec<&str> = text.lines().filter(|line| !line.starts_with("admin =")).collect();
    std::fs::write(&file, unnamed.join("\n")).unwrap();
    host(
        &lab,
        "ip route add default dev admin0 metric 100; ip link add tun9 type veth peer name tun8; ip address add 100.64.9.9/32 dev tun9; ip link set tun9 up",
    );
    lab.start("a-1");
    wait_until("the node is where its default route goes", LIMIT, || sides(&lab) == own);
    host(&lab, "ip route add default dev tun9 metric 50");
    lab.kill("a-1");
    lab.start("a-1");
    wait_until("it is reached", LIMIT, || lab.answers("a-2", "a-1"));
    assert_eq!(sides(&lab), own);
}
