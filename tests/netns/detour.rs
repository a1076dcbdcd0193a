//! A dead plain path in a PDC that wishes the tunnel then, with guests and the real programs: in time, told on both nodes and at management
//! for as long as it stands, back when the plain path has answered for a while, and nothing of guests in clear meanwhile.

use std::time::Duration;

use vxmesh::lab::{daemons, shell, traffic};

use crate::harness::{can_run, wait_until};
use crate::labs::Lab;

/// How soon frames go by the tunnel, and back: a minute, and what a busy machine takes.
const BAR: Duration = Duration::from_secs(30);
const BACK: Duration = Duration::from_secs(100);
const SHUT: &str = "nft add table inet fw; nft add chain inet fw i '{ type filter hook input priority 0; }'; \
                    nft add rule inet fw i udp dport 4789 drop";

fn on(lab: &Lab, node: &str, lines: &str) -> String {
    let mut command = shell::command(Some(&lab.layout().node(node).unwrap().namespace), "sh");
    command.args(["-ec", lines]);
    shell::run(command).unwrap()
}

fn told(lab: &Lab, node: &str, code: &str) -> bool {
    let status = daemons::status(&lab.home, lab.layout().node(node).unwrap()).unwrap();
    status.problems.iter().any(|finding| finding.code == code)
}

/// Of ten pings between the two guests so many arrive.
fn arrive(lab: &Lab) -> u32 {
    let (from, (_, to)) = (lab.guest("a-1").0, lab.guest("a-2"));
    traffic::ping(&from, to, 10, 20, 56).unwrap().received
}

/// VXLAN of the guests' network that a-1 has sent.
fn in_clear(lab: &Lab) -> u64 {
    let counter = on(lab, "a-1", "nft list table inet probe | sed -n 's/.*packets \\([0-9]*\\).*/\\1/p'");
    counter.trim().parse().unwrap()
}

#[test]
fn guests_of_a_dead_plain_path_are_carried_by_the_tunnel_and_by_the_plain_path_again() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    on(
        &lab,
        "a-1",
        "nft add table inet probe; nft add chain inet probe o '{ type filter hook postrouting priority 100; }'; \
         nft add rule inet probe o udp dport 4789 @th,96,24 10 counter",
    );
    wait_until("guests reach each other", BAR, || arrive(&lab) == 10);
    assert!(in_clear(&lab) > 0);
    // Nobody has wished it: the path stays dead.
    on(&lab, "a-2", SHUT);
    wait_until("it is called dead", BAR, || told(&lab, "a-1", "M0663") && told(&lab, "a-2", "M0663"));
    std::thread::sleep(Duration::from_secs(6));
    assert!(arrive(&lab) == 0 && !told(&lab, "a-1", "M0414"));
    lab.admin(&["pdc", "set", "a", "--tunnel-when-dead", "true"]);
    wait_until("frames take the tunnel", BAR, || arrive(&lab) == 10);
    for node in ["a-1", "a-2"] {
        wait_until("both say so", BAR, || told(&lab, node, "M0414") && told(&lab, node, "M0663"));
    }
    wait_until("management says so", BAR, || String::from_utf8_lossy(&lab.asked(&["status"]).stdout).contains("M0414"));
    // What management explains and maps goes the same way.
    wait_until("management explains so", BAR, || {
        let text = String::from_utf8_lossy(&lab.asked(&["explain", "a-1-g1", "a-2-g1"]).stdout).into_owned();
        text.contains("tunnel") && text.lines().next().is_some_and(|line| !line.ends_with("does not arrive"))
    });
    assert!(lab.admin(&["mtu", "map"]).contains("by the tunnel now, their plain path is dead: a-1 - a-2"));
    assert!(lab.admin(&["pdc", "list"]).contains("plain, tunnel when dead"));
    let before = in_clear(&lab);
    assert_eq!(arrive(&lab), 10);
    assert_eq!(in_clear(&lab), before, "nothing of guests goes in clear meanwhile");
    // The repair: still by the tunnel, then back, with next to no loss.
    on(&lab, "a-2", "nft delete table inet fw");
    wait_until("the path answers", BAR, || !told(&lab, "a-1", "M0663") && !told(&lab, "a-2", "M0663"));
    assert!(arrive(&lab) == 10 && told(&lab, "a-1", "M0414"), "not at once");
    let (mut lost, mut sent) = (0, 0);
    wait_until("the plain path has them again", BACK, || {
        lost += 10 - arrive(&lab);
        sent += 10;
        !told(&lab, "a-1", "M0414") && !told(&lab, "a-2", "M0414")
    });
    wait_until("all arrive", BAR, || arrive(&lab) == 10);
    assert!(in_clear(&lab) > before, "in clear again");
    // The two see the end of the fault in the same moment, and look once a second.
    assert!(lost <= 100, "{lost} of {sent} were lost");
    eprintln!("{lost} of {sent} pings were lost on the way back");
    // Whoever takes the wish back has the plain path, dead or not.
    on(&lab, "a-2", SHUT);
    wait_until("frames take the tunnel again", BAR, || told(&lab, "a-1", "M0414") && arrive(&lab) == 10);
    lab.admin(&["pdc", "set", "a", "--unset", "tunnel-when-dead"]);
    wait_until("the wish is gone", BAR, || !told(&lab, "a-1", "M0414") && arrive(&lab) == 0);
}
