//! A watch that does not run is no proof that all is well: it is told where it cannot look, and ends when it looks again; and what a daemon that
//! has just begun has not looked at yet is never called well.

use std::time::Duration;

use vxmesh::api::local::{PlainState, Status};
use vxmesh::clock;
use vxmesh::lab::{daemons, shell};

use crate::harness::{can_run, wait_until};
use crate::labs::{Lab, said};

/// How soon a fault is told, and its end.
const BAR: Duration = Duration::from_secs(30);
const NODE: &str = "a-1";

fn on(lab: &Lab, lines: &str) {
    let mut command = shell::command(Some(&lab.layout().node(NODE).unwrap().namespace), "sh");
    command.args(["-ec", lines]);
    shell::run(command).unwrap();
}

fn status(lab: &Lab) -> Status {
    daemons::status(&lab.home, lab.layout().node(NODE).unwrap()).unwrap()
}

fn says(lab: &Lab, code: &str, words: &str) -> bool {
    status(lab).problems.iter().any(|finding| finding.code == code && finding.what.contains(words))
}

fn is_well(lab: &Lab) -> bool {
    let status = status(lab);
    status.problems.is_empty() && status.unknown.is_empty()
}

fn plain_state(lab: &Lab, of: &str) -> Vec<PlainState> {
    let peers = daemons::status(&lab.home, lab.layout().node(of).unwrap()).unwrap().peers;
    peers.iter().flat_map(|peer| &peer.plain).map(|plain| plain.state).collect()
}

/// `meshd cleanup` with the wrong file, or none: another `run` folder is no proof that nobody runs.
fn nothing_is_cleaned_up_under_a_daemon_that_runs_with_other_folders(lab: &Lab) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("meshd.toml");
    std::fs::write(&file, format!("management = ['m:1']\n[paths]\nrun = '{}'\n", folder.path().join("run").display()))
        .unwrap();
    let mut command = shell::command(Some(&lab.layout().node(NODE).unwrap().namespace), env!("CARGO_BIN_EXE_meshd"));
    let ended = command.arg("cleanup").arg("--config").arg(&file).output().unwrap();
    let text = said(&ended);
    assert!(ended.status.code() == Some(5) && text.contains("error[M0610]"), "{text}");
    assert!(is_well(lab) && lab.answers("a-2", NODE), "and nothing was changed");
}

/// `prlimit` to less than it has open: it says why it sees nothing, here and at management; its peer and its guests notice nothing; and all that
/// ends with the limit.
fn a_daemon_that_can_open_nothing_says_so_and_no_path_is_called_dead(lab: &Lab) {
    let pid = lab.home.running(NODE).unwrap().pid;
    on(lab, &format!("prlimit --pid {pid} --nofile=5:"));
    // It looks at once, where it hears of a change.
    on(lab, "ip link add looked type veth peer name seen; ip link del looked");
    let told = || {
        daemons::status(&lab.home, lab.layout().node(NODE).unwrap()).is_ok_and(|status| {
            status.problems.iter().any(|finding| finding.code == "M0720" && finding.help.contains(&pid.to_string()))
        })
    };
    wait_until("the node says why", BAR, told);
    wait_until("management says why", BAR, || {
        String::from_utf8_lossy(&lab.asked(&["status"]).stdout).contains("M0720")
    });
    // Longer than it takes to call a path dead that is (6 s, and a second to tell it).
    let end = clock::mono() + Duration::from_secs(9);
    while clock::mono() < end {
        assert_eq!(plain_state(lab, "a-2"), [PlainState::Answers]);
        assert!(lab.answers("a-2", NODE), "guests pass");
    }
    let problems = daemons::status(&lab.home, lab.layout().node("a-2").unwrap()).unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
    on(lab, &format!("prlimit --pid {pid} --nofile=1024:"));
    wait_until("all is well again", BAR, || is_well(lab));
}

#[test]
fn frames_that_cannot_be_sent_across_a_bridge_are_told_and_a_start_is_not_called_well_before_it_is() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--nodes", "2", "--pdcs", "1"]);
    lab.settled();
    on(&lab, "for it in iptables ip6tables arptables; do sysctl -qw net.bridge.bridge-nf-call-$it=0; done");
    wait_until("all is well", BAR, || is_well(&lab));
    nothing_is_cleaned_up_under_a_daemon_that_runs_with_other_folders(&lab);
    a_daemon_that_can_open_nothing_says_so_and_no_path_is_called_dead(&lab);
    // Either end, in the hands of another: it is ours no more, or is gone while something else has its name.
    for end in ["vp16777215.12b5", "vq16777215.12b5"] {
        // The daemon makes it again as soon as it hears of it: who is first has the name.
        let take = format!("ip link del {end}; ip link add {end} type veth peer name others");
        on(&lab, &format!("for n in $(seq 200); do if {take}; then exit 0; fi; done 2>/dev/null; exit 1"));
        // Without one end the daemon takes the other away, too: either may be named.
        let told = || says(&lab, "M0688", "no frames can be sent across a bridge of this host");
        wait_until(&format!("{end} is told"), BAR, told);
        let explained = lab.asked(&["explain", "a-1-g1", "a-2-g1"]);
        let text = String::from_utf8(explained.stdout).unwrap();
        assert!(!text.lines().next().unwrap().ends_with(" arrives"), "{text}");
        on(&lab, &format!("ip link del {end}"));
        wait_until(&format!("{end} has ended"), BAR, || is_well(&lab));
    }
    // What drops is there before the daemon is: until it is told nobody says that all is well.
    on(
        &lab,
        "nft add table bridge fw; nft 'add chain bridge fw c { type filter hook forward priority 0; policy drop; }'",
    );
    wait_until("it is told", BAR, || says(&lab, "M0685", "fw"));
    lab.kill(NODE);
    lab.start(NODE);
    wait_until("it is told again", BAR, || {
        // Until it listens it says nothing.
        let Ok(status) = daemons::status(&lab.home, lab.layout().node(NODE).unwrap()) else { return false };
        let open = !status.problems.is_empty() || !status.unknown.is_empty();
        assert!(open, "called well before it was looked at");
        status.problems.iter().any(|finding| finding.code == "M0685")
    });
}
