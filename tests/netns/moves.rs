//! `learning: local`: a guest that moves, with the real programs. What holds is that it is reached again where it is, once its old interface
//! has gone or it speaks behind another one of the same node; what is measured is how soon.

use std::net::IpAddr;
use std::process::Stdio;
use std::time::Duration;

use vxmesh::clock;
use vxmesh::lab::{shell, traffic};

use crate::harness::{Space, can_run, wait_until};
use crate::labs::Lab;

/// The promise is three seconds; a machine that is busy with other tests is not held to it.
const BAR: Duration = Duration::from_secs(20);
const BRIDGE: &str = "vb20.12b5";
const MOVER: &str = "52:54:00:00:20:01";

fn on(lab: &Lab, node: &str, lines: &str) {
    let mut command = shell::command(Some(&lab.layout().node(node).unwrap().namespace), "sh");
    command.args(["-ec", lines]);
    shell::run(command).unwrap();
}

/// A guest behind a new interface of a node, which speaks as soon as it is there.
fn plug(lab: &Lab, node: &str, name: &str, mac: &str, ip: &str) -> Space {
    let guest = Space::new(name);
    on(
        lab,
        node,
        &format!(
            "ip link add {name} mtu 1400 type veth peer name eth0 address {mac} mtu 1400 netns {}; ip link set {name} master {BRIDGE} up",
            guest.name()
        ),
    );
    guest.sh(&format!("ip address add {ip}/24 dev eth0; ip link set eth0 up"));
    guest
}

/// How soon the guest that stays gets an answer from the address, while the one that has moved speaks.
fn reached(from: &Space, mover: &Space, what: &str) -> Duration {
    let begin = clock::mono();
    // It says where it is, as a guest does that was moved.
    let _speaks = mover.start(mover.command("ping").args(["-q", "-i", "0.2", "192.168.30.2"]).stdout(Stdio::null()));
    wait_until(what, BAR, || from.holds("ping -n -q -c 1 -W 0.2 192.168.30.1"));
    clock::mono().since(begin)
}

#[test]
fn a_guest_of_a_learning_network_is_reached_where_it_has_moved() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    lab.admin(&[
        "network",
        "create",
        "loc",
        "--overlay",
        "default",
        "--vni",
        "20",
        "--cidr",
        "192.168.30.0/24",
        "--learning",
        "local",
        "--nodes",
        "*",
    ]);
    for node in ["a-1", "a-2", "b-1"] {
        wait_until("there is a bridge", BAR, || {
            let namespace = lab.layout().node(node).unwrap().namespace.clone();
            shell::run({
                let mut command = shell::command(Some(&namespace), "ip");
                command.args(["link", "show", "dev", BRIDGE]);
                command
            })
            .is_ok()
        });
    }
    let stays = plug(&lab, "a-2", "x2", "52:54:00:00:20:02", "192.168.30.2");
    let mut mover = plug(&lab, "b-1", "m0", MOVER, "192.168.30.1");
    println!("{:8} {:?}", "first", reached(&stays, &mover, "the guest is found"));
    for (n, node, how) in [
        (1, "a-1", "from another PDC"),
        (2, "a-2", "inside the PDC"),
        (3, "a-2", "inside the node"),
        (4, "b-1", "to another PDC"),
    ] {
        // Its old interface goes with it.
        drop(mover);
        mover = plug(&lab, node, &format!("m{n}"), MOVER, "192.168.30.1");
        println!("{how:20} {:?}", reached(&stays, &mover, how));
    }
    // The old interface stays, and another guest of the same node has the address now.
    let old = mover;
    old.sh("ip address flush dev eth0; ip link set eth0 address 52:54:00:00:20:99");
    let mover = plug(&lab, "b-1", "m5", MOVER, "192.168.30.1");
    println!("{:20} {:?}", "old interface stays", reached(&stays, &mover, "behind another interface"));
}

/// A mesh with a network that finds its guests, and its bridges.
fn learning(flood: &str) -> Lab {
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let words =
        "network create loc --overlay default --vni 20 --cidr 192.168.30.0/24 --learning local --nodes * --flood";
    lab.admin(&words.split_whitespace().chain([flood]).collect::<Vec<_>>());
    for node in ["a-1", "a-2", "b-1"] {
        wait_until("there is a bridge", BAR, || !fdb(&lab, node).is_empty());
    }
    lab
}

/// Such a mesh with a guest that stays on a-2, and the owner of an address on b-1, which is found there.
fn owned() -> (Lab, Space, Space) {
    let lab = learning("suppress");
    let stays = plug(&lab, "a-2", "x2", "52:54:00:00:20:02", "192.168.30.2");
    let owner = plug(&lab, "b-1", "m0", MOVER, "192.168.30.1");
    reached(&stays, &owner, "the guest is found");
    (lab, stays, owner)
}

/// The owner is on b-1 still, and is reached there.
fn keeps_its_place(lab: &Lab, stays: &Space, address: &str) {
    let on_stays = fdb(lab, "a-2");
    let line = on_stays.lines().find(|line| line.starts_with(MOVER)).unwrap_or_default();
    assert!(line.contains("vt20"), "it is on b-1, beyond the tunnel: {on_stays}");
    let to: IpAddr = address.parse().unwrap();
    assert_eq!(traffic::ping(stays.name(), to, 3, 100, 56).unwrap().received, 3);
}

/// What the network's bridge on a node has.
fn fdb(lab: &Lab, node: &str) -> String {
    let namespace = lab.layout().node(node).unwrap().namespace.clone();
    let mut command = shell::command(Some(&namespace), "bridge");
    command.args(["fdb", "show", "br", BRIDGE]);
    shell::run(command).unwrap_or_default()
}

#[test]
fn a_guest_that_leaves_its_old_interface_behind_is_reached_where_it_has_moved() {
    if !can_run() {
        return;
    }
    for flood in ["suppress", "replicate"] {
        let lab = learning(flood);
        let stays = plug(&lab, "a-2", "x2", "52:54:00:00:20:02", "192.168.30.2");
        let mut mover = plug(&lab, "b-1", "m0", MOVER, "192.168.30.1");
        println!("{flood:10} {:20} {:?}", "first", reached(&stays, &mover, "the guest is found"));
        let mut left = Vec::new();
        for (n, node) in (1..).zip(["a-1", "b-1", "a-1", "a-2", "b-1"]) {
            mover.sh(&format!("ip address flush dev eth0; ip link set eth0 address 52:54:00:00:20:9{n}"));
            left.push(mover);
            mover = plug(&lab, node, &format!("m{n}"), MOVER, "192.168.30.1");
            println!(
                "{flood:10} {:20} {:?}",
                format!("to {node}"),
                reached(&stays, &mover, "the guest that has moved")
            );
        }
    }
}

#[test]
fn who_takes_the_address_of_a_guest_that_is_there_does_not_get_it_and_both_nodes_say_so() {
    if !can_run() {
        return;
    }
    let (lab, stays, _owner) = owned();
    let liar = plug(&lab, "a-1", "m1", MOVER, "192.168.30.1");
    let told = |node: &str| {
        let output = lab.ctl("exec", &[node, "--", env!("CARGO_BIN_EXE_meshctl"), "status"]);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).contains("M0698")
    };
    wait_until("both nodes say so", Duration::from_secs(40), || {
        drop(liar.try_sh("ping -n -q -c 1 -W 1 192.168.30.2"));
        told("a-1") && told("b-1")
    });
    keeps_its_place(&lab, &stays, "192.168.30.1");
}

#[test]
fn a_guest_that_has_another_address_now_and_only_answers_keeps_its_place() {
    if !can_run() {
        return;
    }
    let (lab, stays, owner) = owned();
    owner.sh("ip address flush dev eth0; ip address add 192.168.30.7/24 dev eth0");
    wait_until("its new address answers", BAR, || stays.try_sh("ping -n -q -c 1 -W 1 192.168.30.7").status.success());
    let liar = plug(&lab, "a-1", "m1", MOVER, "192.168.30.66");
    for _ in 0..10 {
        drop(liar.try_sh("ping -n -q -c 1 -W 1 192.168.30.2"));
    }
    keeps_its_place(&lab, &stays, "192.168.30.7");
}
