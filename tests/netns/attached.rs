//! What others attach with `tc`, rules that name one port or one guest, and switches of one bridge: told within 30 s with its place, `explain` never says that a frame arrives, the finding's own
//! command ends it; a queue or filter that lets frames pass is nobody's fault. What may drop a frame makes `explain` uncertain on both nodes, and names the command that shows it.

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

const FAULTS: [Fault; 14] = [
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
        undo: "iptables-legacy -P FORWARD ACCEPT; ip link set vb10.12b5 type bridge nf_call_iptables 0",
    },
    Fault {
        make: "sysctl -qw net.bridge.bridge-nf-call-iptables=1; ebtables-nft -t nat -A PREROUTING -s @MAC -j DROP",
        to: "b-1",
        code: "M0696",
        words: "what comes from port a-1-g1 (@MAC) is dropped by a rule in chain PREROUTING of table bridge nat",
        undo: "nft delete table bridge nat",
    },
    Fault {
        make: "nft add table bridge op; nft 'add chain bridge op forward { type filter hook forward priority 0; }'
               nft add rule bridge op forward ip daddr @IP drop",
        to: "b-1",
        code: "M0696",
        words: "IPv4 that is for port a-1-g1 (@MAC) is dropped by a rule in chain forward of table bridge op",
        undo: "nft delete table bridge op",
    },
    Fault {
        make: "ebtables-nft -A FORWARD -p IPv4 -o g1 -j DROP",
        to: "b-1",
        code: "M0696",
        words: "IPv4 that goes to g1 in bridge vb10.12b5 is dropped by a rule in chain FORWARD of table bridge filter",
        undo: "nft delete table bridge filter",
    },
    Fault {
        make: "sysctl -qw net.bridge.bridge-nf-call-iptables=1; iptables-nft -A FORWARD -m physdev --physdev-in g1 -j DROP",
        to: "b-1",
        code: "M0696",
        words: "IPv4 that comes from g1 in bridge vb10.12b5 is dropped by a rule in chain FORWARD of table ip filter",
        undo: "sysctl -qw net.bridge.bridge-nf-call-iptables=0; nft delete table ip filter",
    },
    Fault {
        make: "sysctl -qw net.bridge.bridge-nf-call-iptables=1; iptables-legacy -A FORWARD -m physdev --physdev-out vv10.12b5 -j DROP",
        to: "a-2",
        code: "M0696",
        words: "IPv4 that goes to vv10.12b5 in bridge vb10.12b5 is dropped by rule 1 in chain FORWARD of iptables-legacy",
        undo: "sysctl -qw net.bridge.bridge-nf-call-iptables=0",
    },
];

/// On a node: what may drop some of what a-1's guest sends to another one, what `explain` on a-1 says of it, what takes it away.
struct Doubt {
    node: &'static str,
    make: &'static str,
    to: &'static str,
    says: &'static str,
    undo: &'static str,
}

const DOUBTS: [Doubt; 9] = [
    Doubt {
        node: "a-1",
        make: "tc qdisc replace dev vt10.12b5 root handle 1: htb default 10
               tc class add dev vt10.12b5 parent 1: classid 1:10 htb rate 1kbit",
        to: "b-1",
        says: "what goes to vt10.12b5 may be dropped by class 1:10 of its queue (1000 bit/s): tc -s class show dev vt10.12b5",
        undo: "tc qdisc del dev vt10.12b5 root",
    },
    Doubt {
        node: "a-1",
        make: "tc qdisc replace dev vv10.12b5 root handle 1: htb default 10
               tc class add dev vv10.12b5 parent 1: classid 1:10 htb rate 100mbit
               tc qdisc add dev vv10.12b5 parent 1:10 blackhole",
        to: "a-2",
        says: "may be dropped by the queue of its class 1:10 (blackhole, it drops all): tc -s qdisc show dev vv10.12b5",
        undo: "tc qdisc del dev vv10.12b5 root",
    },
    Doubt {
        node: "a-1",
        make: "nft add table bridge op; nft 'add chain bridge op forward { type filter hook forward priority 0; }'
               nft add rule bridge op forward iifname g1 tcp dport 25 drop",
        to: "a-2",
        says: "may be dropped by a rule in chain forward of table bridge op (hook forward), handle 2: nft -a list chain bridge op forward",
        undo: "nft delete table bridge op",
    },
    Doubt {
        node: "a-1",
        make: "ebtables-nft -A FORWARD -p IPv4 --ip-dst @FAR --ip-proto tcp -j DROP",
        to: "b-1",
        says: "may be dropped by a rule in chain FORWARD of table bridge filter",
        undo: "nft delete table bridge filter",
    },
    Doubt {
        node: "b-1",
        make: "nft add table bridge op; nft 'add chain bridge op forward { type filter hook forward priority 0; }'
               nft add rule bridge op forward ether saddr @MAC tcp dport 25 drop",
        to: "b-1",
        says: "names the sender, and may drop its frames; which, says there: meshctl explain b-1-g1 a-1-g1",
        undo: "nft delete table bridge op",
    },
    Doubt {
        node: "a-1",
        make: "iptables-legacy -I FORWARD -m u32 --u32 '16=0xc0a80a0d' -j DROP",
        to: "b-1",
        says: "in chain FORWARD of iptables-legacy (table filter, hook forward): iptables-legacy -t filter -vnL FORWARD --line-numbers",
        undo: "iptables-legacy -D FORWARD -m u32 --u32 '16=0xc0a80a0d' -j DROP",
    },
    Doubt {
        node: "b-1",
        make: "nft add table netdev op; nft 'add chain netdev op c { type filter hook egress device g1 priority 0; }'
               nft add rule netdev op c ip saddr @IP ip daddr @FAR drop",
        to: "b-1",
        says: "names the receiver, and may drop its frames; which, says there: meshctl explain b-1-g1 a-1-g1",
        undo: "nft delete table netdev op",
    },
    Doubt {
        node: "a-1",
        make: "ip link add x8 type veth peer name y8; tc filter add dev g1 ingress protocol ip pref 9 u32 match ip dst @FAR/32 action mirred egress redirect dev x8",
        to: "b-1",
        says: "what comes from g1 may be dropped by a filter of tc (u32, pref 9): tc filter show dev g1 ingress",
        undo: "tc filter del dev g1 ingress pref 9; ip link del x8",
    },
    Doubt {
        node: "b-1",
        make: "nft add table bridge op; nft 'add chain bridge op forward { type filter hook forward priority 0; }'
               nft add rule bridge op forward ip daddr @FAR udp dport 53 drop",
        to: "b-1",
        says: "names the receiver, and may drop its frames; which, says there: meshctl explain b-1-g1 a-1-g1",
        undo: "nft delete table bridge op",
    },
];

/// What hosts have, or what others have set up against others, and is in no guest's way.
const HARMLESS: &str = "sysctl -qw net.bridge.bridge-nf-call-iptables=1
    for rule in '-i docker0 ! -o docker0 -j ACCEPT' '-o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT' '-o virbr0 -j REJECT' \
        '-m conntrack --ctstate INVALID -j DROP' '-m physdev --physdev-in g9 -j DROP' '-m physdev --physdev-in g1 -j ACCEPT'; do
        iptables-nft -A FORWARD $rule; iptables-legacy -A FORWARD $rule
    done
    ebtables-nft -t nat -A PREROUTING -s 02:00:00:00:99:01 -j DROP; ebtables-nft -t nat -A PREROUTING -s @MAC --log
    ebtables-nft -t nat -A PREROUTING -p IPv4 --ip-src 192.0.2.1 -j DROP; ebtables-nft -t nat -A PREROUTING -p IPv6 -i g9 -j DROP";

/// With the addresses of guests put in.
fn filled(lab: &Lab, text: &str) -> String {
    let layout = lab.layout();
    let mac = layout.node("a-1").unwrap().guests[0].mac.to_string();
    let far = lab.guest("b-1").1.to_string();
    text.replace("@MAC", &mac).replace("@FAR", &far).replace("@IP", &lab.guest("a-1").1.to_string())
}

#[test]
fn what_tc_takes_away_is_told_with_its_place_and_ends_by_the_command_that_is_told() {
    if !can_run() {
        return;
    }
    let lab = well();
    for Fault { make, to, code, words, undo } in FAULTS {
        let start = clock::mono();
        let (make, words) = (filled(&lab, make), filled(&lab, words));
        on(&lab, "a-1", &make);
        let says = || found(&lab, code).is_some_and(|finding| finding.what.starts_with(&words));
        wait_until(&format!("it is told: {words}"), BAR, says);
        println!("told after {:?}: {words}", clock::mono().since(start));
        let explained = explained(&lab, to);
        // The frame is of the guest behind g1: what goes to g1 is the answer to it.
        let back = words.contains(" goes to g1 ")
            || words.contains(" is for port ")
            || words.contains(" comes from v")
            || words.contains(" comes from admin0");
        let says = if back { "arrives; the answer may be lost, see back" } else { "does not arrive" };
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
    on(&lab, "a-1", &filled(&lab, HARMLESS));
    for Doubt { node, make, to, says, undo } in DOUBTS {
        on(&lab, node, &filled(&lab, make));
        let doubted = || {
            let text = explained(&lab, to);
            text.lines().next().is_some_and(|line| line.contains("not certain")) && text.contains(says)
        };
        wait_until(&format!("{make}: it is not certain: {says}: {}", explained(&lab, to)), BAR, doubted);
        on(&lab, node, &filled(&lab, undo));
        let over = || explained(&lab, to).lines().next().is_some_and(|line| line.ends_with(" arrives"));
        wait_until(&format!("{make}: it arrives again: {}", explained(&lab, to)), BAR, over);
    }
    assert_eq!(problems(&lab, "a-1"), []);
}
