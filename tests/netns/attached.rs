//! What others attach with `tc`, rules of bridges that name one port, and switches of one bridge: told within 30 s with its place, `explain` never says that a frame arrives, the finding's own
//! command ends it; a queue or filter that lets frames pass is nobody's fault.

use std::time::Duration;

use vxmesh::api::local::Finding;
use vxmesh::clock;
use vxmesh::lab::{daemons, shell};

use crate::harness::{can_run, wait_until};
use crate::labs::Lab;

/// How soon a fault is told, and its end.
const BAR: Duration = Duration::from_secs(30);

fn on(lab: &Lab, node: &str, lines: &str) {
    let mut command = shell::command(Some(&lab.layout().node(node).unwrap().namespace), "sh");
    command.args(["-ec", lines]);
    shell::run(command).unwrap();
}

fn problems(lab: &Lab, node: &str) -> Vec<Finding> {
    daemons::status(&lab.home, lab.layout().node(node).unwrap()).unwrap().problems
}

fn found(lab: &Lab, code: &str) -> Option<Finding> {
    problems(lab, "a-1").into_iter().find(|finding| finding.code == code)
}

fn explained(lab: &Lab, to: &str) -> String {
    let mut command = std::process::Command::new(crate::mesh::MESHCTL);
    command.arg("--socket").arg(lab.home.socket("a-1")).args(["explain", "a-1-g1", &format!("{to}-g1")]);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

fn well() -> Lab {
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    // Another test may have set what a new namespace begins with.
    on(&lab, "a-1", "for it in iptables ip6tables arptables; do sysctl -qw net.bridge.bridge-nf-call-$it=0; done");
    lab.settled();
    wait_until("all is well", BAR, || problems(&lab, "a-1").is_empty());
    lab
}

/// On a-1: what makes it, to which node nothing arrives, how it is told, what is left to be undone.
struct Fault {
    make: &'static str,
    to: &'static str,
    code: &'static str,
    words: &'static str,
    undo: &'static str,
}

const FAULTS: [Fault; 9] = [
    Fault {
        make: "tc qdisc add dev g1 root pfifo limit 0",
        to: "b-1",
        code: "M0695",
        words: "what goes to g1 in bridge vb10.12b5 is dropped by its queue (pfifo, limit 0 packets)",
        undo: "true",
    },
    Fault {
        make: "tc qdisc add dev vt10.12b5 root tbf rate 8bit burst 1 limit 1",
        to: "b-1",
        code: "M0695",
        words: "what goes to vt10.12b5 in bridge vb10.12b5 is dropped by its queue (tbf, ",
        undo: "true",
    },
    Fault {
        make: "tc qdisc add dev vv10.12b5 clsact; tc filter add dev vv10.12b5 ingress bpf da bytecode '1,6 0 0 2,'",
        to: "a-2",
        code: "M0695",
        words: "what comes from vv10.12b5 in bridge vb10.12b5 is dropped, by a filter of tc (bpf, ingress, pref ",
        undo: "tc qdisc del dev vv10.12b5 clsact",
    },
    Fault {
        make: "ip link add x9 type veth peer name y9; tc qdisc add dev g1 ingress
               tc filter add dev g1 ingress u32 match u32 0 0 action mirred egress redirect dev x9",
        to: "b-1",
        code: "M0695",
        words: "what comes from g1 in bridge vb10.12b5 goes to x9 instead, by a filter of tc (u32, ingress, pref ",
        undo: "tc qdisc del dev g1 ingress; ip link del x9",
    },
    Fault {
        make: "tc qdisc replace dev admin0 root pfifo limit 0",
        to: "a-2",
        code: "M0695",
        words: "what goes to admin0, the interface towards peers, is dropped by its queue (pfifo, ",
        undo: "true",
    },
    Fault {
        make: "nft add table bridge fw; nft 'add chain bridge fw c { type filter hook forward priority 0; }'
               nft add rule bridge fw c iifname g1 drop",
        to: "b-1",
        code: "M0696",
        words: "what comes from g1 in bridge vb10.12b5 is dropped by a rule in chain c of table bridge fw",
        undo: "nft delete table bridge fw",
    },
    Fault {
        make: "ebtables-nft -A FORWARD -o g1 -j DROP",
        to: "b-1",
        code: "M0696",
        words: "what goes to g1 in bridge vb10.12b5 is dropped by a rule in chain FORWARD of table bridge filter",
        undo: "nft delete table bridge filter",
    },
    Fault {
        make: "iptables-nft -P FORWARD DROP; ip link set vb10.12b5 type bridge nf_call_iptables 1",
        to: "b-1",
        code: "M0697",
        words: "IPv4 frames on bridge vb10.12b5 are dropped by chain FORWARD of table ip filter",
        undo: "nft delete table ip filter",
    },
    Fault {
        make: "iptables-legacy -P FORWARD DROP; ip link set vb10.12b5 type bridge nf_call_iptables 1",
        to: "b-1",
        code: "M0697",
        words: "IPv4 frames on bridge vb10.12b5 are dropped by iptables-legacy -S FORWARD",
        undo: "iptables-legacy -P FORWARD ACCEPT",
    },
];

#[test]
fn what_tc_takes_away_is_told_with_its_place_and_ends_by_the_command_that_is_told() {
    if !can_run() {
        return;
    }
    let lab = well();
    for Fault { make, to, code, words, undo } in FAULTS {
        let start = clock::mono();
        on(&lab, "a-1", make);
        let says = || found(&lab, code).is_some_and(|finding| finding.what.starts_with(words));
        wait_until(&format!("it is told: {words}"), BAR, says);
        println!("told after {:?}: {words}", clock::mono().since(start));
        let explained = explained(&lab, to);
        // The frame is of the guest behind g1: what goes to g1 is the answer to it.
        let back =
            words.contains(" goes to g1 ") || words.contains(" comes from v") || words.contains(" comes from admin0");
        let says = if back { "arrives" } else { "does not arrive" };
        assert!(explained.lines().next().unwrap().ends_with(says), "{make}: {explained}");
        let answer = format!("the answer does not come back: {code}");
        assert_eq!(explained.contains(&answer), back, "{make}: {explained}");
        let help = found(&lab, code).unwrap().help;
        on(&lab, "a-1", help.split(';').next().unwrap());
        wait_until(&format!("it has ended: {words}"), BAR, || found(&lab, code).is_none());
        on(&lab, "a-1", undo);
    }
}

#[test]
fn what_tc_lets_pass_is_nobodys_fault() {
    if !can_run() {
        return;
    }
    let lab = well();
    on(
        &lab,
        "a-1",
        "tc qdisc add dev vt10.12b5 root tbf rate 100mbit burst 64k latency 50ms; tc qdisc replace dev admin0 root pfifo limit 100
         ip link add ifb9 type ifb; ip link set ifb9 up; ip link add x9 type veth peer name y9; tc qdisc add dev g1 clsact
         tc filter add dev g1 ingress protocol ip pref 1 u32 match ip dport 25 0xffff action mirred egress redirect dev x9
         tc filter add dev g1 ingress pref 2 u32 match u32 0 0 action mirred egress redirect dev ifb9
         tc filter add dev g1 egress bpf da bytecode '1,6 0 0 0,'",
    );
    let end = clock::mono() + Duration::from_secs(15);
    while clock::mono() < end {
        assert_eq!(problems(&lab, "a-1"), []);
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(explained(&lab, "b-1").lines().next().unwrap().ends_with(" arrives"), "{}", explained(&lab, "b-1"));
}
