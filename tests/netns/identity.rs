//! What becomes of a node's identity while it runs: keys that change under traffic, and a machine that is there twice.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use vxmesh::lab::{daemons, traffic, wires};

use crate::harness::{Background, can_run, wait_until};
use crate::labs::Lab;

const PATIENCE: Duration = Duration::from_secs(30);

fn node(lab: &Lab, name: &str) -> Value {
    serde_json::from_str(&lab.admin(&["get", "node", name, "-o", "json"])).unwrap()
}

fn status(lab: &Lab, name: &str) -> Value {
    let found = node(lab, name);
    let object = if found["items"].is_array() { found["items"][0].clone() } else { found };
    object["status"].clone()
}

fn key(lab: &Lab, name: &str) -> String {
    status(lab, name)["publicKey"].as_str().unwrap().to_owned()
}

/// Waits until the node has another key than `old`, and that one alone.
fn changed(lab: &Lab, name: &str, old: &str) -> String {
    wait_until("the key has changed", PATIENCE, || {
        key(lab, name) != old && status(lab, name)["nextPublicKey"].is_null()
    });
    key(lab, name)
}

#[test]
fn a_wireguard_key_changes_by_command_without_a_lost_ping_and_survives_kills() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    lab.settled();
    let first = key(&lab, "a-1");
    let pings: Vec<_> = [("a-1", "b-1"), ("b-1", "a-1")]
        .map(|(from, to)| {
            let ((from, _), (_, to)) = (lab.guest(from), lab.guest(to));
            thread::spawn(move || traffic::ping(&from, to, 2_000, 5, 56).unwrap())
        })
        .into();
    lab.admin(&["node", "rotate-key", "a-1"]);
    let second = changed(&lab, "a-1", &first);
    assert!(pings.iter().all(|pings| !pings.is_finished()), "all of it was under traffic");
    for pings in pings {
        let pings = pings.join().unwrap();
        assert_eq!((pings.sent, pings.received), (2_000, 2_000));
    }
    let keys = lab.home.machine("a-1").join("keys");
    wait_until("the old key is gone from the disk", PATIENCE, || !keys.join("wireguard.next").exists());

    // Killed when the new key is on disk; then when the management node knows it; then when it is the only one.
    let mut current = second;
    for step in ["made", "proposed", "switched"] {
        lab.admin(&["node", "rotate-key", "a-1"]);
        wait_until(step, PATIENCE, || match step {
            "made" => keys.join("wireguard.next").exists(),
            "proposed" => !status(&lab, "a-1")["nextPublicKey"].is_null(),
            _ => key(&lab, "a-1") != current,
        });
        lab.kill("a-1");
        lab.start("a-1");
        wait_until("a-1 works", PATIENCE, || lab.answers("b-1", "a-1") && lab.answers("a-1", "b-1"));
        current = changed(&lab, "a-1", &current);
        wait_until("a-1 works on", PATIENCE, || lab.answers("b-1", "a-1") && lab.answers("a-1", "b-1"));
        wait_until("the old key is gone from the disk", PATIENCE, || !keys.join("wireguard.next").exists());
    }
}

/// A copy of a machine's folder under another name, its paths with it.
fn copy(from: &Path, to: &Path) {
    let words =
        format!("cp -a {0} {1} && rm -rf {1}/run && sed -i s,{0}/,{1}/,g {1}/meshd.toml", from.display(), to.display());
    assert!(Command::new("sh").args(["-ec", &words]).status().unwrap().success());
}

#[test]
fn a_cloned_node_is_found_and_neither_copy_is_a_member_until_it_is_released() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    // No restart and no kill is taken for a clone.
    for _ in 0..3 {
        lab.kill("a-2");
        lab.start("a-2");
        wait_until("a-2 is back", PATIENCE, || lab.answers("b-1", "a-2"));
    }
    assert!(status(&lab, "a-2")["quarantined"].is_null());

    lab.kill("b-2");
    let (original, clone) = (lab.home.machine("a-2"), lab.home.machine("clone"));
    copy(&original, &clone);
    let namespace = lab.layout().node("b-2").unwrap().namespace.clone();
    let second = Background::spawn(
        Command::new("ip")
            .args(["netns", "exec", &namespace, env!("CARGO_BIN_EXE_meshd"), "run", "--config"])
            .arg(clone.join("meshd.toml"))
            .stderr(Stdio::null()),
    );
    wait_until("both are quarantined", Duration::from_secs(10), || !status(&lab, "a-2")["quarantined"].is_null());
    assert!(lab.admin(&["node", "list"]).lines().any(|l| l.starts_with("a-2") && l.contains("quarantined")));
    wait_until("nobody takes anything from it", Duration::from_secs(5), || {
        !lab.answers("b-1", "a-2") && !lab.answers("a-1", "a-2")
    });
    let events = lab.admin(&["events"]);
    assert!(events.contains("two machines run as node a-2"), "{events}");
    assert!(lab.answers("a-1", "b-1"), "the others go on");

    drop(second);
    lab.admin(&["node", "release", "a-2"]);
    wait_until("it is a member again", Duration::from_secs(60), || {
        lab.answers("b-1", "a-2") && lab.answers("a-1", "a-2")
    });
}

/// `meshctl WORDS` on a node, with its own file.
fn on(lab: &Lab, name: &str, words: &[&str]) {
    let namespace = lab.layout().node(name).unwrap().namespace.clone();
    let config = lab.home.machine(name).join("meshd.toml");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &namespace, env!("CARGO_BIN_EXE_meshctl")]).args(words);
    let output = command.arg("--config").arg(config).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What `meshctl status` says of the mesh, whatever its exit code.
fn told(lab: &Lab) -> String {
    let layout = lab.layout();
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &layout.management, env!("CARGO_BIN_EXE_meshctl"), "status", "--credential"]);
    let output = command.arg(lab.home.credential()).args(["--management", &daemons::management_address()]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// How much a node's tunnels have refused.
fn refused(lab: &Lab, name: &str) -> u64 {
    let status = daemons::status(&lab.home, lab.layout().node(name).unwrap()).unwrap();
    status.drops.iter().filter(|(name, _)| name.starts_with("tunnel-")).map(|(_, count)| count).sum()
}

fn has_problem(lab: &Lab, name: &str, code: &str) -> bool {
    let layout = lab.layout();
    let said = daemons::status(&lab.home, layout.node(name).unwrap());
    said.is_ok_and(|status| status.problems.iter().any(|problem| problem.code == code))
}

#[test]
fn a_node_whose_key_is_another_says_so_and_one_whose_keys_are_all_stolen_is_taken_back_by_one_command() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    lab.settled();
    let (own, stolen) = (lab.home.machine("b-1"), lab.home.machine("stolen"));
    copy(&own, &stolen);

    // A key that the management node does not have of it.
    let file = own.join("keys/wireguard.key");
    let (first, other) = (std::fs::read(&file).unwrap(), lab.home.machine("a-1").join("keys/wireguard.key"));
    lab.kill("b-1");
    std::fs::copy(&other, &file).unwrap();
    lab.start("b-1");
    wait_until("the node tells of it", PATIENCE, || has_problem(&lab, "b-1", "M0281"));
    lab.kill("b-1");
    std::fs::write(&file, first).unwrap();
    lab.start("b-1");
    wait_until("it says so no more", PATIENCE, || !has_problem(&lab, "b-1", "M0281"));
    wait_until("all is well again", PATIENCE, || lab.answers("a-1", "b-1"));

    // Who has every file of the node is the node.
    lab.kill("b-1");
    let namespace = lab.layout().node("b-1").unwrap().namespace.clone();
    let thief = || {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &namespace, env!("CARGO_BIN_EXE_meshd"), "run", "--config"]);
        Background::spawn(command.arg(stolen.join("meshd.toml")).stderr(Stdio::null()))
    };
    let running = thief();
    wait_until("the thief is b-1", PATIENCE, || lab.answers("a-1", "b-1"));
    let made: Value = serde_json::from_str(&lab.admin(&["node", "reset", "b-1", "-o", "json"])).unwrap();
    wait_until("nobody takes anything from the thief", Duration::from_secs(5), || !lab.answers("a-1", "b-1"));
    assert!(lab.admin(&["node", "list"]).lines().any(|l| l.starts_with("b-1") && l.contains("reset")));
    assert!(told(&lab).contains("M0286"), "an operator is told");
    drop(running);

    on(&lab, "b-1", &["leave", "--yes"]);
    let layout = lab.layout();
    let node = layout.node("b-1").unwrap();
    daemons::join(&lab.home, node, made["token"].as_str().unwrap()).unwrap();
    lab.start("b-1");
    let bridge = wait_for_bridge(&lab, "b-1");
    wires::plug(node, &bridge, 1400).unwrap();
    wait_until("it is b-1 again, with its port", PATIENCE, || lab.answers("a-1", "b-1") && lab.answers("b-1", "a-1"));
    assert!(status(&lab, "b-1")["quarantined"].is_null());

    // The old keys stay worth nothing, also beside the new ones.
    lab.kill("b-1");
    let before = refused(&lab, "a-1");
    // Else it learns before it calls that it is no member.
    lab.kill("mgmt");
    let _again = thief();
    wait_until("the thief has called and was refused", PATIENCE, || refused(&lab, "a-1") > before);
    assert!(!lab.answers("a-1", "b-1"), "the thief has no way back");
}

#[test]
fn a_machine_installed_anew_takes_its_old_place_by_one_token_and_the_old_one_is_nobody() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let (own, old) = (lab.home.machine("b-2"), lab.home.machine("old"));
    copy(&own, &old);
    lab.kill("b-2");
    let namespace = lab.layout().node("b-2").unwrap().namespace.clone();
    // A disk that is new: keys, state, what ran, and the file.
    let words = format!("rm -rf {0}/keys {0}/state {0}/run", own.display());
    assert!(Command::new("sh").args(["-ec", &words]).status().unwrap().success());
    let devices = "for d in $(ip -o link | awk -F': ' '$2 ~ /^v[bvtp]/ { print $2 }' | cut -d@ -f1); do ip link delete $d; done; nft flush ruleset";
    let cleaned = Command::new("ip").args(["netns", "exec", &namespace, "sh", "-c", devices]).status().unwrap();
    assert!(cleaned.success());
    let ports = lab.admin(&["port", "list"]);
    let made: Value = serde_json::from_str(&lab.admin(&["token", "create", "--replace", "b-2", "-o", "json"])).unwrap();
    let layout = lab.layout();
    let node = layout.node("b-2").unwrap();
    daemons::join(&lab.home, node, made["token"].as_str().unwrap()).unwrap();
    lab.start("b-2");
    let bridge = wait_for_bridge(&lab, "b-2");
    wires::plug(node, &bridge, 1400).unwrap();
    wait_until("it is b-2 again, with its port, plain and across", PATIENCE, || {
        ["b-1", "a-1"].iter().all(|peer| lab.answers(peer, "b-2") && lab.answers("b-2", peer))
    });
    assert_eq!(lab.admin(&["port", "list"]), ports, "its ports are there as they were");
    let events = lab.admin(&["events"]);
    assert!(events.contains("in the place of another machine, whose keys are taken back"), "{events}");

    // The machine of before is nobody, wherever it comes back.
    lab.kill("b-2");
    let before = refused(&lab, "a-1");
    // Else it may learn before it calls that it is no member, and does not call.
    lab.kill("mgmt");
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &namespace, env!("CARGO_BIN_EXE_meshd"), "run", "--config"]);
    let _old = Background::spawn(command.arg(old.join("meshd.toml")).stderr(Stdio::null()));
    wait_until("it has called and was refused", PATIENCE, || refused(&lab, "a-1") > before);
    assert!(!lab.answers("a-1", "b-2"), "its keys are worth nothing");
}

/// The bridge of the lab's network on a node, once it is there.
fn wait_for_bridge(lab: &Lab, name: &str) -> String {
    let layout = lab.layout();
    let node = layout.node(name).unwrap();
    let mut bridge = String::new();
    wait_until("the bridge is there", PATIENCE, || {
        let status = daemons::status(&lab.home, node).ok();
        bridge = status.and_then(|s| s.networks.first().map(|net| net.bridge.clone())).unwrap_or_default();
        let words = ["-n", &node.namespace, "link", "show", "dev", &bridge];
        !bridge.is_empty() && Command::new("ip").args(words).output().unwrap().status.success()
    });
    bridge
}
