//! Management knows what its nodes know: what a node finds wrong is in the status of the mesh, for as long as it is so.

use std::time::Duration;

use serde_json::Value;
use vxmesh::clock;
use vxmesh::lab::shell;

use crate::harness::{can_run, wait_until};
use crate::labs::Lab;

/// How soon management says what a node finds.
const BAR: Duration = Duration::from_secs(35);

fn on(lab: &Lab, node: &str, lines: &str) {
    let mut command = shell::command(Some(&lab.layout().node(node).unwrap().namespace), "sh");
    command.args(["-ec", lines]);
    shell::run(command).unwrap();
}

/// Codes and texts of what is wrong with the mesh.
fn problems(lab: &Lab) -> Vec<(String, String)> {
    let output = lab.asked(&["status", "-o", "json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = status["problems"].as_array().unwrap().iter();
    let text = |problem: &Value, name: &str| problem[name].as_str().unwrap().to_owned();
    problems.map(|problem| (text(problem, "code"), text(problem, "what"))).collect()
}

fn says(lab: &Lab, code: &str, words: &[&str]) -> bool {
    problems(lab).iter().any(|(of, what)| of == code && words.iter().all(|word| what.contains(word)))
}

#[test]
fn what_a_node_finds_wrong_is_in_the_status_of_the_mesh_for_as_long_as_it_is_so() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    lab.settled();
    assert_eq!(problems(&lab), [], "a healthy mesh");
    // A fault that one node finds at once.
    on(&lab, "a-1", "ip address add 192.168.10.1/24 dev vb10.12b5");
    wait_until("the address is told", BAR, || says(&lab, "M0615", &["node a-1", "vb10.12b5"]));
    // One that both ends of a tunnel find after a while: a firewall that came later.
    let drop = "nft add table inet fw; nft 'add chain inet fw i { type filter hook prerouting priority -400; }'
                nft add rule inet fw i udp dport 51820-51823 drop";
    let start = clock::mono();
    on(&lab, "b-1", drop);
    lab.kill("a-1");
    lab.start("a-1");
    wait_until("the tunnel is told", BAR, || says(&lab, "M0410", &["a-1", "b-1"]));
    println!("told after {:?}", clock::mono().since(start));
    let events = || lab.admin(&["events"]);
    let noted = |what: &str| events().lines().any(|line| line.contains(what) && line.contains("[M0410]"));
    wait_until("that it began is an event", BAR, || noted("problem"));
    on(&lab, "b-1", "nft delete table inet fw");
    wait_until("it ends with the fault", BAR, || !says(&lab, "M0410", &[]));
    wait_until("that it ended is an event", BAR, || noted("solved"));
    // What a node said before it went away is not what is so now.
    assert!(says(&lab, "M0615", &[]));
    lab.kill("a-1");
    let killed = clock::mono();
    wait_until("it is away", BAR, || !says(&lab, "M0615", &[]));
    wait_until("that it went is noted", BAR, || events().contains("node a-1 is away: it was heard last at"));
    assert!(clock::mono().since(killed) > Duration::from_secs(10), "a connection that is made anew is no news");
    lab.start("a-1");
    wait_until("that it is back is noted", BAR, || events().contains("node a-1 is back after"));
    assert!(events().contains("serves version") && !events().contains("node b-1 is away"), "{}", events());
    wait_until("it is told again", BAR, || says(&lab, "M0615", &["node a-1"]));
    on(&lab, "a-1", "ip address flush dev vb10.12b5");
    wait_until("all is well", BAR, || problems(&lab).is_empty());
}

/// How the list of nodes calls a node.
fn state(lab: &Lab, node: &str) -> String {
    let list = lab.admin(&["node", "list"]);
    let line = list.lines().find(|line| line.starts_with(node)).unwrap();
    line.split_ascii_whitespace().nth(4).unwrap().to_owned()
}

/// A way to be gone: its name, how it begins and how it ends.
type Way<'a> = (&'a str, &'a dyn Fn(), &'a dyn Fn());

#[test]
fn a_node_that_is_gone_without_a_word_is_away_within_35_s_in_status_list_and_events_and_a_quiet_one_never_is() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    lab.settled();
    // Two ways to say nothing: nothing gets through, and a daemon that stands still while its kernel takes what comes.
    let cut = "nft add table inet cut; nft 'add chain inet cut i { type filter hook input priority -400; }'
               nft 'add chain inet cut o { type filter hook output priority -400; }'
               nft add rule inet cut i tcp sport 7443 drop; nft add rule inet cut o tcp dport 7443 drop";
    let stop = |signal| assert!(lab.home.running("a-1").unwrap().signal(signal).unwrap());
    let ways: [Way<'_>; 2] = [
        ("cut off", &|| on(&lab, "a-1", cut), &|| on(&lab, "a-1", "nft delete table inet cut")),
        ("stopped", &|| stop(libc::SIGSTOP), &|| stop(libc::SIGCONT)),
    ];
    for (way, begin, end) in ways {
        let told = lab.admin(&["events", "--kind", "node-away"]).matches("node a-1 is away").count();
        assert_eq!(state(&lab, "a-1"), "joined", "before it is {way}");
        begin();
        let start = clock::mono();
        wait_until(way, BAR, || state(&lab, "a-1") == "away");
        let listed = clock::mono().since(start);
        let status: Value = serde_json::from_slice(&lab.asked(&["status", "-o", "json"]).stdout).unwrap();
        assert_eq!(status["nodes"][0]["connected"], false, "{way}");
        let events = || lab.admin(&["events", "--kind", "node-away"]);
        wait_until(way, BAR, || events().matches("node a-1 is away").count() > told);
        let noted = clock::mono().since(start);
        println!("{way}: listed after {listed:?}, noted after {noted:?}");
        assert!(noted <= BAR, "{way}: noted after {noted:?}");
        end();
        wait_until(way, BAR, || state(&lab, "a-1") == "joined" && problems(&lab).is_empty());
    }
    let events = || lab.admin(&["events"]);
    wait_until("both returns are noted", BAR, || events().matches("node a-1 is back after").count() == 2);
    assert!(!events().contains("node b-1 is away"), "it has been quiet and there: {}", events());
}
