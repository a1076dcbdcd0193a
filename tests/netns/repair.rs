//! What others take away is brought back, under attack: both packet filters within milliseconds, devices within two seconds; and what a killed
//! daemon leaves behind still refuses strangers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use vxmesh::clock;
use vxmesh::lab::{daemons, shell};
use vxmesh::transport::client::Client;
use vxmesh::types::Mac;

use crate::frames::{Plug, UDP, ethernet, inner, ip, marker, udp, vxlan};
use crate::harness::{can_run, wait_until};
use crate::labs::Lab;

const LIMIT: Duration = Duration::from_secs(10);
/// The promise.
const REPAIRED: Duration = Duration::from_secs(2);

/// A stranger on the admin wire of a-1, who knows VNI, addresses of guests and everything else that can be known.
struct Stranger {
    wire: Plug,
    ear: Plug,
    to: Mac,
    guest: Mac,
    member: Mac,
}

impl Stranger {
    fn new(lab: &Lab) -> Self {
        let layout = lab.layout();
        let (a, b) = (&layout.nodes[0], &layout.nodes[1]);
        let command = shell::ip(&["netns", "exec", &a.namespace, "cat", "/sys/class/net/admin0/address"]);
        Self {
            wire: Plug::at(&layout.net, "a-1.adm"),
            ear: Plug::at(&a.guests[0].namespace, "eth0"),
            to: command.unwrap().trim().parse().unwrap(),
            guest: a.guests[0].mac,
            member: b.guests[0].mac,
        }
    }

    fn says(&self, source: Mac, last: u8, own: &[u8]) {
        let (from, to) = (format!("10.1.0.{last}").parse().unwrap(), "10.1.0.1".parse().unwrap());
        let datagram = udp(from, to, 4789, &vxlan(8, 10, &inner(source, self.guest, own)));
        self.wire.send(&ethernet(Mac([2, 0, 0, 0, 0x99, 0x99]), self.to, &ip(from, to, 255, UDP, &datagram)));
    }

    /// True once a right frame has passed; what the attacks before it had to reach the guest has reached it then.
    fn fence(&self, number: usize) -> Vec<Vec<u8>> {
        let (own, mut heard, mut through) = (marker(number), Vec::new(), false);
        wait_until("a right frame passes", LIMIT, || {
            if !through {
                self.says(self.member, 2, &own);
            }
            heard.extend(self.ear.take());
            through = heard.iter().any(|frame| crate::frames::holds(frame, &own));
            through
        });
        heard
    }
}

fn count(frames: &[Vec<u8>], own: &[u8]) -> usize {
    frames.iter().filter(|frame| crate::frames::holds(frame, own)).count()
}

fn ask(lab: &Lab, path: &str) -> serde_json::Value {
    let client = Client::unix(lab.home.socket("a-1"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.call::<(), serde_json::Value>(hyper::Method::GET, path, None)).unwrap()
}

/// Events of repairs that hold these words.
fn drifts(lab: &Lab, words: &str) -> Vec<String> {
    let events = ask(lab, "/v1/events");
    let list = events.as_array().or_else(|| events["events"].as_array()).unwrap();
    let drifts = list.iter().filter(|event| event["kind"] == "drift");
    drifts.filter_map(|event| event["text"].as_str()).filter(|text| text.contains(words)).map(str::to_owned).collect()
}

#[test]
fn a_packet_filter_that_others_flush_is_back_in_milliseconds_and_a_killed_daemon_leaves_it() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    let stranger = Stranger::new(&lab);
    let node = lab.layout().nodes[0].namespace.clone();
    let sh = |line: &str| {
        let mut command = shell::command(Some(&node), "sh");
        command.args(["-ec", line]);
        shell::run(command)
    };
    let (known, unknown) = (marker(1), marker(2));
    let attack = |copies: usize| {
        for _ in 0..copies {
            stranger.says(stranger.member, 66, &known);
            stranger.says(Mac([2, 0, 0, 0, 0, 0x77]), 66, &unknown);
        }
    };
    attack(100);
    let heard = stranger.fence(10);
    assert_eq!((count(&heard, &known), count(&heard, &unknown)), (0, 0), "the guard stands");
    wait_until("its counter is in the status", LIMIT, || ask(&lab, "/v1/status")["drops"]["in_unknown"] == 200);
    let whole = "nft list chain inet vxmesh arriving | grep -q goto && nft list set inet vxmesh admin | grep -q 10.1.0.2
                 nft list chain bridge vxmesh_guests arriving | grep -q vmap && nft list set inet vxmesh shut | grep -q vb";
    let damages = [
        "nft flush ruleset",
        "nft delete table inet vxmesh",
        "nft flush chain inet vxmesh arriving",
        "nft delete table bridge vxmesh_guests",
        "nft flush chain bridge vxmesh_guests arriving",
    ];
    // Said by the thread that hears of it; the engine would say what it repairs in other words.
    let repairs = || drifts(&lab, "packet filter of ours");
    let before = repairs().len();
    for (number, damage) in (20..).zip(damages) {
        let (start, end) = (clock::mono(), AtomicBool::new(false));
        let took = thread::scope(|scope| {
            scope.spawn(|| {
                while !end.load(Ordering::Relaxed) {
                    attack(10);
                    thread::sleep(Duration::from_millis(1));
                }
            });
            sh(damage).unwrap();
            wait_until(damage, REPAIRED, || sh(whole).is_ok());
            end.store(true, Ordering::Relaxed);
            clock::mono().since(start)
        });
        let heard = stranger.fence(number);
        println!("{damage}: back after {took:?}; {} frames of a stranger entered meanwhile", count(&heard, &known));
        assert!(took < REPAIRED, "{damage}: {took:?}");
        assert_eq!(count(&heard, &unknown), 0, "{damage}: what the bridge does not know enters at no time");
        wait_until("the repair is an event", LIMIT, || repairs().len() >= before + number - 19);
        attack(100);
        let heard = stranger.fence(number + 100);
        assert_eq!(count(&heard, &known), 0, "{damage}: shut again");
    }
    println!("{}", repairs().join("\n"));
    lab.kill("a-1");
    attack(100);
    let heard = stranger.fence(30);
    assert_eq!((count(&heard, &known), count(&heard, &unknown)), (0, 0), "without a daemon the guard still stands");
    assert!(lab.answers("a-2", "a-1"), "and lets members through");
}

#[test]
fn devices_that_others_delete_or_unplug_are_back_within_two_seconds() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "1", "--nodes", "2"]);
    lab.settled();
    let layout = lab.layout();
    let namespace = &layout.nodes[0].namespace;
    let ip = |words: &str| {
        let words: Vec<&str> = ["-n", namespace].into_iter().chain(words.split(' ')).collect();
        shell::ip(&words)
    };
    let up = |device: &str, master: &str| {
        ip(&format!("-o link show dev {device}")).is_ok_and(|line| line.contains(master) && line.contains(",UP"))
    };
    for (damage, device, master) in [
        ("link delete dev vv10.12b5", "vv10.12b5", "master vb10.12b5"),
        ("link delete dev vt10.12b5", "vt10.12b5", "master vb10.12b5"),
        ("link set dev vv10.12b5 nomaster", "vv10.12b5", "master vb10.12b5"),
        ("link set dev vt10.12b5 nomaster", "vt10.12b5", "master vb10.12b5"),
        ("link set dev vb10.12b5 down", "vb10.12b5", ""),
    ] {
        let before = drifts(&lab, "").len();
        let start = clock::mono();
        ip(damage).unwrap();
        wait_until(damage, REPAIRED, || drifts(&lab, "").len() > before && up(device, master));
        println!("{damage}: back after {:?}", clock::mono().since(start));
        wait_until("guests reach each other", LIMIT, || lab.answers("a-1", "a-2"));
    }
    let status = daemons::status(&lab.home, &layout.nodes[0]).unwrap();
    assert!(!status.problems.iter().any(|p| p.code.starts_with("M06")), "{:?}", status.problems);
}
