//! An address that two guests may hold, one at a time: its holder is reached wherever it is, nobody else takes it.

use std::time::Duration;

use vxmesh::lab::shell;

use crate::harness::{can_run, wait_until};
use crate::labs::Lab;

const LIMIT: Duration = Duration::from_secs(10);
const FLOATING: &str = "192.168.10.100";

fn guest(lab: &Lab, node: &str, lines: &str) -> bool {
    let mut command = shell::command(Some(&lab.guest(node).0), "sh");
    command.args(["-ec", lines]);
    shell::run(command).is_ok()
}

fn hold(lab: &Lab, node: &str, verb: &str) {
    assert!(guest(lab, node, &format!("ip address {verb} {FLOATING}/32 dev eth0")), "{verb} at {node}");
}

/// Who answers a guest that has just come, if anybody does.
fn answers(lab: &Lab, from: &str) -> bool {
    guest(lab, from, &format!("ip neigh flush to {FLOATING}; ping -n -c 1 -W 0.3 {FLOATING}"))
}

fn whose(lab: &Lab, from: &str, holder: &str) -> bool {
    let mac = lab.layout().node(holder).unwrap().guests[0].mac;
    guest(lab, from, &format!("ip neigh show to {FLOATING} | grep -q {mac}"))
}

#[test]
fn an_address_that_several_may_hold_is_where_its_holder_is_and_nobody_elses() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    for port in ["a-1-g1", "b-1-g1"] {
        lab.admin(&["port", "set", port, "--allowed", FLOATING]);
    }
    for (holder, before) in [("a-1", None), ("b-1", Some("a-1")), ("a-1", Some("b-1"))] {
        if let Some(before) = before {
            hold(&lab, before, "del");
        }
        hold(&lab, holder, "add");
        // The same PDC, the other one, and who held it before.
        for from in ["a-2", "b-2", "b-1", "a-1"].into_iter().filter(|from| *from != holder) {
            wait_until(&format!("{from} reaches it at {holder}"), LIMIT, || {
                answers(&lab, from) && whose(&lab, from, holder)
            });
        }
    }
    hold(&lab, "a-1", "del");
    // Who is not allowed to is neither asked nor believed: on its own node's side, in its PDC and across.
    hold(&lab, "a-2", "add");
    let take =
        format!("arping -q -c 2 -w 1 -U -I eth0 {FLOATING} || true; arping -q -c 2 -w 1 -A -I eth0 {FLOATING} || true");
    assert!(guest(&lab, "a-2", &take));
    for from in ["a-1", "b-2"] {
        assert!((0..5).all(|_| !answers(&lab, from)), "{from} hears one that may not hold it");
    }
    lab.admin(&["port", "set", "a-2-g1", "--allowed", FLOATING]);
    for from in ["a-1", "b-2"] {
        wait_until(&format!("{from} reaches it when it may"), LIMIT, || {
            answers(&lab, from) && whose(&lab, from, "a-2")
        });
    }
    lab.admin(&["port", "set", "a-2-g1", "--allowed", ""]);
    for from in ["a-1", "b-2"] {
        wait_until(&format!("{from} hears it no more"), LIMIT, || !answers(&lab, from));
    }
}
