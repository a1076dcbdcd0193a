//! A tunnel that a route of the host's own leads astray is told with that route, and `explain` takes nothing that is heard of the peer for a
//! proof that the peer hears; a port that names the wrong interface is told as that. With daemons, on the real kernel.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Background, can_run, succeed, wait_until};
use crate::labs::Lab;

/// Long, because how often a daemon asks for routes depends on how busy the machine is.
const BAR: Duration = Duration::from_secs(120);

fn within(lab: &Lab, node: &str, lines: &str) {
    let space = lab.layout().node(node).unwrap().namespace.clone();
    succeed(Command::new("ip").args(["netns", "exec", &space, "sh", "-ec", lines]));
}

/// What a node says is wrong: code, what, help.
fn problems(lab: &Lab, node: &str) -> Vec<String> {
    let output = lab.ctl("exec", &[node, "--", env!("CARGO_BIN_EXE_meshctl"), "status", "-o", "json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let word = |problem: &Value, key: &str| problem[key].as_str().unwrap().to_owned();
    let problems = status["problems"].as_array().unwrap().iter();
    problems.map(|one| format!("{} {}; {}", word(one, "code"), word(one, "what"), word(one, "help"))).collect()
}

fn says(lab: &Lab, node: &str, words: &[&str]) -> bool {
    problems(lab, node).iter().any(|line| words.iter().all(|word| line.contains(word)))
}

fn explain(lab: &Lab, node: &str, to: &str) -> String {
    let from = format!("{node}-g1");
    let output = lab.ctl("exec", &[node, "--", env!("CARGO_BIN_EXE_meshctl"), "explain", &from, to]);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_route_that_leads_a_tunnel_astray_is_named() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    lab.settled();
    let arrives = || explain(&lab, "a-1", "b-1-g1").lines().next().is_some_and(|line| line.ends_with(": arrives"));
    wait_until("it arrives", BAR, arrives);
    let text = explain(&lab, "a-1", "b-1-g1");
    let tunnel = text.lines().find(|line| line.contains("the tunnel to b-1 is up")).unwrap();
    assert!(tunnel.contains("answered") && !tunnel.contains("heard"), "what is heard is the other direction: {text}");
    a_tunnel_that_loses_is_told(&lab);
    let status = lab.ctl("exec", &["a-1", "--", env!("CARGO_BIN_EXE_meshctl"), "status", "-o", "json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let endpoint = status["peers"].as_array().unwrap().iter().find_map(|peer| peer["tunnel"]["endpoint"].as_str());
    let to = endpoint.unwrap().rsplit_once(':').unwrap().0.to_owned();
    within(
        &lab,
        "a-1",
        &format!(
            "ip link add vpn0 type veth peer name vpn1; ip address add 172.30.0.2/24 dev vpn0; ip link set vpn0 up; ip link set vpn1 up; \
             ip route add {to}/32 via 172.30.0.1 dev vpn0"
        ),
    );
    let get = format!("ip route get {to}");
    wait_until("explain names the route before the tunnel is called dead, or with it", BAR, || {
        let text = explain(&lab, "a-1", "b-1-g1");
        // Of a tunnel that is called dead by then, the command is in `status`.
        text.contains("leave by vpn0 via 172.30.0.1") && (text.contains(&get) || text.contains("M0410"))
    });
    wait_until("M0410 names the route", BAR, || {
        says(&lab, "a-1", &["M0410", "leave by vpn0 via 172.30.0.1", "as they should", &get])
    });
    within(&lab, "a-1", "ip link delete vpn0");
    wait_until("it arrives again", BAR, arrives);
}

/// What this host itself does to the packets of a tunnel: another source, a next hop that is not there, a rule of its own.
#[test]
fn what_keeps_a_tunnels_packets_here_is_named_and_is_an_event() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    lab.settled();
    let well = || ["a-1", "b-1"].iter().all(|node| problems(&lab, node).is_empty());
    let rows: [(&str, &str, &[&str]); 3] = [
        (
            "ip route replace 198.18.0.0/16 dev ext0 proto kernel scope link src 10.1.0.1",
            "ip route replace 198.18.0.0/16 dev ext0 proto kernel scope link src 198.18.1.1",
            &["M0410", "from 10.1.0.1, which a route says, and not from 198.18.1.1", "ip route get"],
        ),
        (
            "ip neigh flush dev ext0; ip link set dev ext0 arp off; ip link set dev ext0 arp on
             nft add table arp x; nft 'add chain arp x i { type filter hook input priority 0; policy drop; }'; ip neigh flush dev ext0",
            "nft delete table arp x",
            &["M0410", "answers no question for its Ethernet address", "ip neigh show"],
        ),
        (
            "nft add table inet x; nft 'add chain inet x o { type filter hook output priority 0; }'; nft add rule inet x o udp dport 51820 drop",
            "nft delete table inet x",
            &["M0410", "this host itself refuses to send there: Operation not permitted", "ip xfrm policy"],
        ),
    ];
    wait_until("all is well", BAR, well);
    for (fault, end, words) in rows {
        within(&lab, "a-1", fault);
        wait_until(&format!("{words:?}"), BAR, || says(&lab, "a-1", words));
        wait_until(&format!("an event: {words:?}"), BAR, || events(&lab, "problem", words[1]));
        within(&lab, "a-1", end);
        wait_until(&format!("over: {words:?}"), BAR, || well() && lab.answers("a-1", "b-1"));
        wait_until(&format!("the event of it: {words:?}"), BAR, || events(&lab, "solved", words[1]));
    }
}

/// True where node `a-1` has an event of a dead tunnel with these words.
fn events(lab: &Lab, kind: &str, words: &str) -> bool {
    let said = lab.ctl("exec", &["a-1", "--", env!("CARGO_BIN_EXE_meshctl"), "events"]);
    let said = String::from_utf8(said.stdout).unwrap();
    said.lines().any(|line| [kind, "[M0410]", words].iter().all(|word| line.contains(word)))
}

/// What is lost of the datagrams of this node's tunnel to here, percent.
fn loss(lab: &Lab, node: &str) -> Option<u64> {
    let output = lab.ctl("exec", &[node, "--", env!("CARGO_BIN_EXE_meshctl"), "tunnel", "list", "-o", "json"]);
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    list["items"].as_array().unwrap().iter().find_map(|tunnel| tunnel["loss"].as_u64())
}

/// A wire that loses by chance in one direction, under some hundred datagrams a second.
fn a_tunnel_that_loses_is_told(lab: &Lab) {
    let ((space, _), (_, far)) = (lab.guest("b-1"), lab.guest("a-1"));
    let mut ping = Command::new("ip");
    ping.args(["netns", "exec", &space, "ping", "-n", "-q", "-i", "0.004", "-w", "150", &far.to_string()]);
    let speaks = Background::spawn(ping.stdout(Stdio::null()));
    wait_until("nothing is lost", BAR, || ["a-1", "b-1"].iter().all(|node| loss(lab, node) == Some(0)));
    let told = |node: &str| says(lab, node, &["M0723"]);
    assert!(!told("a-1") && !told("b-1"), "a healthy flood");
    within(
        lab,
        "a-1",
        "nft add table inet fw; nft 'add chain inet fw i { type filter hook input priority -10; }'
         nft add rule inet fw i udp dport 51820-51823 numgen random mod 100 '<' 20 drop",
    );
    wait_until("it is told where datagrams are missing", Duration::from_secs(30), || {
        says(lab, "a-1", &["M0723", "of the tunnel from b-1 to a-1", "on the way from 198.18.2.1"])
    });
    assert!(!told("b-1"), "the other direction is whole");
    assert!(loss(lab, "a-1").is_some_and(|percent| (5..40).contains(&percent)), "{:?}", loss(lab, "a-1"));
    // The question and its answer may be among what is lost.
    wait_until("the sender's node says it too", BAR, || {
        let text = explain(lab, "b-1", "a-1-g1");
        assert!(text.contains("would arrive; not certain"), "{text}");
        text.contains("many datagrams of the tunnel from here")
    });
    let text = explain(lab, "a-1", "b-1-g1");
    assert!(text.contains("the answer may not come back: M0723"), "{text}");
    within(lab, "a-1", "nft delete table inet fw");
    wait_until("it ends with the fault", Duration::from_secs(30), || !told("a-1"));
    drop(speaks);
}

#[test]
fn a_misspelt_interface_is_told_as_that_and_no_longer_than_it_stands() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "1"]);
    lab.settled();
    let (space, _) = lab.guest("a-1");
    let (_, far) = lab.guest("b-1");
    let ping = format!("ping -i 0.3 -c 200 -W 1 -q {far} >/dev/null 2>&1 || true");
    let mut speaks = Command::new("ip").args(["netns", "exec", &space, "sh", "-c", &ping]).spawn().unwrap();
    lab.admin(&["port", "set", "a-1-g1", "--interface", "nosuch2"]);
    let words = [
        "M0692",
        "port a-1-g1",
        "names nosuch2, which is not there",
        "behind g1",
        "meshctl port set a-1-g1 --interface g1",
    ];
    let seen = std::cell::RefCell::new(Vec::new());
    wait_until("it is told as that", BAR, || {
        seen.borrow_mut().extend(problems(&lab, "a-1"));
        says(&lab, "a-1", &words)
    });
    let is_false = |line: &String| line.starts_with("M0673") || line.starts_with("M0677");
    assert!(!seen.borrow().iter().any(is_false), "{:?}", seen.borrow());
    let text = explain(&lab, "a-1", "b-1-g1");
    assert!(text.lines().next().unwrap().ends_with(": does not arrive") && text.contains("nosuch2"), "{text}");
    lab.admin(&["port", "set", "a-1-g1", "--interface", "g1"]);
    wait_until("it is well at once, while the guest speaks on", Duration::from_secs(20), || {
        let now = problems(&lab, "a-1");
        assert!(!now.iter().any(is_false), "{now:?}");
        now.is_empty() && explain(&lab, "a-1", "b-1-g1").lines().next().unwrap().ends_with(": arrives")
    });
    let _ = speaks.kill();
    let _ = speaks.wait();
}

#[test]
fn files_that_go_from_disk_under_a_daemon_are_told_at_management_and_a_gone_socket_is_no_daemon_that_does_not_run() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    let (keys, socket) = (lab.home.machine("a-1").join("keys"), lab.home.socket("a-1"));
    let (key, away) = (keys.join("tls.key"), keys.join("away"));
    std::fs::rename(&key, &away).unwrap();
    std::fs::remove_file(&socket).unwrap();
    let mesh = || String::from_utf8_lossy(&lab.asked(&["status"]).stdout).into_owned();
    wait_until("management is told", Duration::from_secs(75), || {
        let text = mesh();
        ["M0693", "M0694", "tls.key", "meshd.sock"].iter().all(|word| text.contains(word))
    });
    let output = lab.ctl("exec", &["a-1", "--", env!("CARGO_BIN_EXE_meshctl"), "status"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("M0101") && text.contains("still runs"), "{text}");
    std::fs::rename(&away, &key).unwrap();
    wait_until("the key is back", Duration::from_secs(75), || !mesh().contains("M0693") && mesh().contains("M0694"));
}
