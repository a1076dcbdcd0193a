//! The table of 3 am: one fault at a time in a lab that lives, and what status, explain and events say of it: the right thing, about the
//! right peer, port, interface and direction, within 30 s on nodes and 35 s at management, until the fault ends and no longer; whoever it
//! does not concern is silent. A healthy lab says nothing.
//!
//! CI runs ten rows and two minutes of silence. All rows, and ten minutes: `cargo test --test netns -- --ignored --nocapture night::`;
//! `NIGHT=word|word` takes the rows with one of those words in their names. What does not hold today stands in the table with the reason, and the test
//! fails when it begins to hold. Time in which daemons had no CPU counts for nobody, see `../starved.rs`.

mod faults;
mod ground;
mod hosts;
mod lines;
mod run;
mod table;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use vxmesh::clock;

use self::ground::Ground;
use self::table::{At, Row};
use crate::harness::can_run;

/// Nodes of each lab.
const NODES: [&str; 4] = ["a-1", "a-2", "b-1", "b-2"];
/// Labs side by side in the long form.
const LABS: usize = 3;
/// Kinds of events that a healthy lab has none of.
const ALARMS: [&str; 12] = [
    "problem",
    "drift",
    "tap-failed",
    "source-refused",
    "guest-refused",
    "guest-loop",
    "tunnel-down",
    "tunnel-silent",
    "handshake-forged",
    "lane-died",
    "clock-jump",
    "path-mtu",
];

fn rows() -> Vec<Row> {
    [lines::rows(), hosts::rows(), faults::rows()].into_iter().flatten().collect()
}

/// Runs rows in labs side by side; what did not hold, by row. A lab that a row has broken is replaced by a new one.
fn night(rows: Vec<Row>, labs: usize, all: bool) -> Vec<String> {
    let (queue, faults) = (Mutex::new(VecDeque::from(rows)), Mutex::new(Vec::new()));
    let work = || {
        let mut ground = None;
        loop {
            let Some(row) = queue.lock().unwrap().pop_front() else { return };
            let lab = ground.take().unwrap_or_else(Ground::new);
            let start = clock::mono();
            let ended = catch_unwind(AssertUnwindSafe(|| run::run(&lab, &row, all)));
            let took = clock::mono().since(start);
            let mut text = format!("{} ({took:.1?})\n", row.name);
            match ended {
                Ok(outcome) => {
                    outcome.lines.iter().for_each(|line| text.push_str(&format!("    {line}\n")));
                    outcome.faults.iter().for_each(|fault| text.push_str(&format!("    FAULT {fault}\n")));
                    let faults_of_row = outcome.faults.into_iter().map(|fault| format!("{}: {fault}", row.name));
                    let mut faults = faults.lock().unwrap();
                    let before = faults.len();
                    faults.extend(faults_of_row);
                    if faults.len() == before {
                        ground = Some(lab);
                    }
                }
                Err(panic) => {
                    let why = panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panicked".to_owned());
                    text.push_str(&format!("    FAULT {why}\n"));
                    faults.lock().unwrap().push(format!("{}: {why}", row.name));
                }
            }
            eprint!("{text}");
        }
    };
    thread::scope(|scope| {
        (0..labs).for_each(|_| drop(scope.spawn(work)));
    });
    faults.into_inner().unwrap()
}

#[test]
fn ten_faults_are_said_by_those_whom_they_concern_in_time_and_for_as_long_as_they_last() {
    if !can_run() {
        return;
    }
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.ci).collect();
    assert!(rows.len() >= 10, "{}", rows.len());
    assert_eq!(night(rows, 2, false), [] as [String; 0]);
}

#[test]
#[ignore = "half an hour; NIGHT=word takes a part"]
fn every_fault_of_the_table_is_said_by_those_whom_it_concerns() {
    if !can_run() {
        return;
    }
    let word = std::env::var("NIGHT").unwrap_or_default();
    let rows: Vec<Row> = rows().into_iter().filter(|row| word.split('|').any(|word| row.name.contains(word))).collect();
    let labs = LABS.min(rows.len());
    assert_eq!(night(rows, labs, true), [] as [String; 0]);
}

#[test]
fn the_table_has_at_least_forty_faults_each_with_a_name_of_its_own_and_an_end() {
    let rows = rows();
    assert!(rows.len() >= 40, "{}", rows.len());
    for (number, row) in rows.iter().enumerate() {
        assert!(rows[..number].iter().all(|other| other.name != row.name), "{}", row.name);
        assert!(!row.make.is_empty() && !row.undo.is_empty(), "{}", row.name);
    }
}

/// Nobody finds anything, nothing alarming happens. What is alarming while guests are plugged in for the first time is printed, and not
/// held yet: an interface that is being plugged in is told as down for a second (M0674).
fn silence(long: Duration) {
    let ground = Ground::new();
    let start = clock::mono();
    ground.lab.settled();
    let first = ground.told();
    let drops = |node: &str| ground.status(node).unwrap().drops;
    let before: BTreeMap<&str, BTreeMap<String, u64>> = NODES.into_iter().map(|node| (node, drops(node))).collect();
    while clock::mono().since(start) < long {
        for (at, found) in ground.found() {
            assert!(found.is_empty(), "{at:?} after {:?}: {found:?}", clock::mono().since(start));
        }
        thread::sleep(Duration::from_millis(500));
    }
    let mut alarms = Vec::new();
    for (at, told) in ground.told() {
        let alarming = |line: &String| match at {
            At::Audit => line.contains("node-away") || line.contains("node-back"),
            At::Node(_)
            | At::Management
            | At::Explain(..)
            | At::Perhaps(..)
            | At::Unsure(..)
            | At::Events(_)
            | At::Screen => line.split_ascii_whitespace().nth(1).is_some_and(|kind| ALARMS.contains(&kind)),
        };
        let (early, late): (Vec<_>, Vec<_>) =
            told.into_iter().filter(alarming).partition(|line| first[&at].contains(line));
        early.iter().for_each(|line| eprintln!("NOT HELD in the beginning: {at:?} {line}"));
        alarms.extend(late.into_iter().map(|line| format!("{at:?} {line}")));
    }
    assert_eq!(alarms, [] as [String; 0]);
    for node in NODES {
        let (mut drops, mut before) = (drops(node), before[node].clone());
        // A peer that is faster may call, and send, before this one knows anybody; what guests say to every host is dropped by ours.
        for counter in ["tunnel-unknown-peer", "datagram-refused", "in_early", "out_quoted"] {
            let (early, late) = (before.remove(counter).unwrap_or_default(), drops.remove(counter).unwrap_or_default());
            assert_eq!(early, late, "{node}: {counter}");
        }
        drops.remove("guest_routed");
        assert!(drops.is_empty(), "{node}: {drops:?}");
    }
}

#[test]
fn a_healthy_lab_is_silent_for_two_minutes() {
    if can_run() {
        silence(Duration::from_secs(120));
    }
}

#[test]
#[ignore = "ten minutes"]
fn a_healthy_lab_is_silent_for_ten_minutes() {
    if can_run() {
        silence(Duration::from_secs(600));
    }
}
