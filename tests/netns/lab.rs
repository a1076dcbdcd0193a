//! The lab itself: names, wires, watches, and that it always goes away again.

use std::time::Duration;

use vxmesh::lab::classify::Class;
use vxmesh::lab::layout::Layout;
use vxmesh::lab::state::Home;
use vxmesh::lab::transfer::Amount;
use vxmesh::lab::watch::Watch;
use vxmesh::lab::{shell, traffic, wires};

use crate::harness::{can_run, wait_until};
use crate::labs::{Lab, said};

fn namespaces(lab: &Lab) -> usize {
    wires::namespaces_with_prefix(lab.home.name()).len()
}

#[test]
fn a_second_up_is_refused_and_changes_nothing() {
    if !can_run() {
        return;
    }
    let lab = Lab::wires(&["--pdcs", "1", "--nodes", "1"]);
    assert_eq!(namespaces(&lab), 4);
    let second = lab.ctl("up", &["--wires-only"]);
    assert_eq!(second.status.code(), Some(5));
    assert!(said(&second).contains("is up already") && said(&second).contains("lab down"), "{}", said(&second));
    assert_eq!(namespaces(&lab), 4);
}

#[test]
fn down_twice_is_fine_and_so_is_down_of_nothing() {
    if !can_run() {
        return;
    }
    let lab = Lab::wires(&["--pdcs", "1", "--nodes", "1"]);
    for _ in 0..2 {
        let output = lab.ctl("down", &[]);
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(namespaces(&lab), 0);
        assert!(!lab.home.exists());
    }
    assert_eq!(lab.ctl("status", &[]).status.code(), Some(4));
}

#[test]
fn labs_live_side_by_side_and_one_goes_without_the_other() {
    if !can_run() {
        return;
    }
    let one = Lab::wires(&["--pdcs", "1", "--nodes", "2"]);
    // Its name begins with the other's, so that a careless prefix would take both.
    let two = Lab { home: Home::of(&format!("{}-a", one.home.name())) };
    let output = two.ctl("up", &["--wires-only", "--pdcs", "1", "--nodes", "2"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(one.ctl("down", &[]).status.success());
    assert_eq!(namespaces(&two), 6);
    let (a, b) = (two.layout().nodes[0].clone(), two.layout().nodes[1].clone());
    assert_eq!(traffic::ping(&a.namespace, b.admin.into(), 1, 10, 56).unwrap().received, 1);
}

#[test]
fn what_a_crash_leaves_is_removed_by_the_next_up_and_by_down() {
    if !can_run() {
        return;
    }
    let lab = Lab::wires(&["--pdcs", "1", "--nodes", "1"]);
    let crash = || {
        let mut state = lab.home.read().unwrap();
        state.ready = false;
        lab.home.write(&state).unwrap();
        // The last namespace was made but not marked yet.
        let last = state.layout.namespaces().last().unwrap().to_string();
        shell::ip(&["netns", "delete", &last]).unwrap();
        shell::ip(&["netns", "add", &last]).unwrap();
    };
    crash();
    let up = lab.ctl("up", &["--wires-only", "--pdcs", "1", "--nodes", "1"]);
    assert!(up.status.success(), "{}", said(&up));
    assert!(said(&up).contains("removing what is left"), "{}", said(&up));
    crash();
    assert!(lab.ctl("down", &[]).status.success());
    assert_eq!(namespaces(&lab), 0);
}

#[test]
fn a_lab_whose_records_are_lost_is_known_by_its_marks() {
    if !can_run() {
        return;
    }
    let lab = Lab::wires(&["--pdcs", "1", "--nodes", "1"]);
    std::fs::remove_dir_all(lab.home.folder()).unwrap();
    let output = lab.ctl("down", &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(namespaces(&lab), 0);
}

#[test]
fn a_namespace_of_somebody_else_is_refused_and_left_alone() {
    if !can_run() {
        return;
    }
    let lab = Lab { home: Home::of(&Lab::name()) };
    let foreign = format!("{}-mgmt", lab.home.name());
    shell::ip(&["netns", "add", &foreign]).unwrap();
    let output = lab.ctl("up", &["--wires-only"]);
    let (code, text) = (output.status.code(), said(&output));
    let left = lab.ctl("down", &[]).status.success() && wires::namespace_exists(&foreign);
    shell::ip(&["netns", "delete", &foreign]).unwrap();
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains(&foreign) && left, "{text}");
}

#[test]
fn status_has_the_documented_shape() {
    if !can_run() {
        return;
    }
    let lab = Lab::wires(&["--pdcs", "2", "--nodes", "2"]);
    let output = lab.ctl("status", &["-o", "json"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = lab.home.name();
    assert_eq!(status["management"]["namespace"], format!("{name}-mgmt"));
    assert!(status["management"]["pids"].as_array().unwrap().is_empty());
    let node = &status["nodes"][3];
    assert_eq!(node["name"], "b-2");
    assert_eq!(node["namespace"], format!("{name}-b-2"));
    assert_eq!(
        (&node["pdc"], &node["admin"], &node["external"]),
        (&"b".into(), &"10.2.0.2".into(), &"198.18.2.2".into())
    );
    assert!(node["pid"].is_null() && node["log"].is_string());
    assert_eq!(node["guests"][0]["namespace"], format!("{name}-b-2-g1"));
    assert_eq!(node["guests"][0]["mac"], "02:76:78:02:02:01");
    assert_eq!(node["guests"][0]["ips"][0], "192.168.10.14");
    let wires = status["wires"].as_array().unwrap();
    assert_eq!(wires.len(), 3);
    assert_eq!((&wires[0]["kind"], &wires[0]["pdc"]), (&"admin".into(), &"a".into()));
    assert_eq!((&wires[2]["kind"], &wires[2]["namespace"]), (&"internet".into(), &format!("{name}-net").into()));
}

#[test]
fn exec_runs_in_the_namespace_and_hands_on_the_exit_code() {
    if !can_run() {
        return;
    }
    let lab = Lab::wires(&["--pdcs", "1", "--nodes", "1"]);
    for name in ["a-1".to_owned(), format!("{}-a-1", lab.home.name())] {
        let output = lab.ctl("exec", &[&name, "--", "sh", "-c", "ip -br address show dev admin0; exit 33"]);
        assert!(String::from_utf8_lossy(&output.stdout).contains("10.1.0.1/24"), "{}", said(&output));
        assert_eq!(output.status.code(), Some(33));
    }
    let unknown = lab.ctl("exec", &["a-9", "--", "true"]);
    assert_eq!(unknown.status.code(), Some(4));
    assert!(said(&unknown).contains("-a-1-g1"), "names are offered: {}", said(&unknown));
}

#[test]
fn an_answer_that_a_busy_machine_keeps_waiting_is_no_lost_one() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    let pings = lab.pings("a-1", "b-1", 30);
    std::thread::sleep(Duration::from_millis(150));
    let daemon = lab.home.running("b-1").unwrap();
    assert!(daemon.signal(libc::SIGSTOP).unwrap());
    // Past the last request: some are answered by now, the others wait.
    std::thread::sleep(Duration::from_millis(600));
    assert!(daemon.signal(libc::SIGCONT).unwrap());
    let pings = pings.join().unwrap();
    assert_eq!((pings.sent, pings.received), (30, 30));
    assert!(pings.mean.unwrap() > 1.0, "some had to wait, or this proves nothing: {pings:?}");
    assert_eq!(lab.pings("a-1", "b-1", 3).join().unwrap().received, 3);
    lab.kill("b-1");
    let lost = lab.pings("a-1", "b-1", 3).join().unwrap();
    assert_eq!((lost.sent, lost.received), (3, 0), "and what is lost is lost");
}

/// Joins the guests of PDC `a` by kernel VXLAN by hand, as the daemons would.
fn by_hand(layout: &Layout) {
    let (one, two) = (&layout.nodes[0], &layout.nodes[1]);
    for (here, there) in [(one, two), (two, one)] {
        let lines = format!(
            "link add br0 type bridge\nlink add vx0 type vxlan id 10 local {} remote {} dstport 4789 ttl 255\n\
             link set vx0 master br0 up\nlink set br0 up",
            here.admin, there.admin
        );
        let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        shell::ip_batch(&here.namespace, &lines).unwrap();
        wires::plug(here, "br0", 1400).unwrap();
    }
}

#[test]
fn watches_tell_what_is_on_a_wire_and_find_what_is_in_clear() {
    if !can_run() {
        return;
    }
    let lab = Lab::wires(&["--pdcs", "2", "--nodes", "2"]);
    let layout = lab.layout();
    by_hand(&layout);
    let watches: Vec<Watch> = layout.wires.iter().map(|wire| Watch::start(&layout, wire).unwrap()).collect();
    let (from, to) = (&layout.nodes[0].guests[0], &layout.nodes[1].guests[0]);
    let answered = || traffic::ping(&from.namespace, to.ips[0], 1, 10, 56).unwrap().received == 1;
    wait_until("the guests reach each other", Duration::from_secs(5), answered);
    let transfer = traffic::transfer(from, to, Amount::Bytes(3_000_000)).unwrap();
    assert!(transfer.intact());
    // Nobody sends this in a lab: VXLAN from PDC to PDC in clear.
    shell::ip_batch(
        &layout.nodes[0].namespace,
        &[
            "link add bad0 type vxlan id 11 local 198.18.1.1 remote 198.18.2.1 dstport 4790".into(),
            "link set bad0 up".into(),
            "addr add 192.0.2.1/24 dev bad0".into(),
        ],
    )
    .unwrap();
    traffic::ping(&layout.nodes[0].namespace, "192.0.2.2".parse().unwrap(), 2, 200, 56).unwrap();
    let seen: Vec<_> = watches.into_iter().map(|watch| watch.end().unwrap()).collect();
    // Large segments cross a cable in one piece, so 3 MB are at least 45 frames.
    assert!(seen[0].frames(Class::Vxlan) > 45, "{:?}", seen[0]);
    assert_eq!((seen[0].frames(Class::Clear), seen[0].frames(Class::Other), seen[0].missed), (0, 0, 0));
    assert_eq!(seen[1].frames(Class::Vxlan), 0, "the other PDC sees nothing of it: {:?}", seen[1]);
    assert!(seen[2].frames(Class::Clear) >= 1, "{:?}", seen[2]);
    assert!(!seen[2].examples.is_empty());
}
