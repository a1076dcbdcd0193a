//! What people run in guests, with the programs and kernels that they run it with, in the default mode, inside a PDC and across: each works, or is
//! refused by name, which is a counter at the guest's port and a finding of its node. One lab, a network for each behaviour.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use vxmesh::clock;

use self::ground::{Ground, Seat, Stage};
use crate::harness::{can_run, wait_until};

mod addresses;
mod ground;
mod groups;
mod inside;
mod programs;
mod vips;
mod wire;

/// How soon a node says what it refuses, and management.
const NODE: Duration = Duration::from_secs(30);
const MANAGEMENT: Duration = Duration::from_secs(35);
/// Behaviours that run at a time: most of them wait.
const WORKERS: usize = 6;
/// VNI of the first.
const FIRST: u8 = 100;

/// What people run.
struct Behaviour {
    name: &'static str,
    /// What its network says besides overlay, VNI and prefixes.
    network: &'static str,
    seats: &'static [Seat],
    ends: End,
    /// Panics where it is otherwise.
    run: fn(&Stage<'_>),
}

/// What rows need, by a word of their names: a program, or a file.
const NEEDS: [(&str, &str); 5] = [
    ("keepalived", "keepalived"),
    ("dnsmasq", "dnsmasq"),
    ("busybox", "busybox"),
    ("docker", "iptables"),
    ("zeroconf", "/usr/lib/python3/dist-packages/zeroconf"),
];

/// True where all is installed that a row needs, and loud about it where not.
fn can_be(behaviour: &Behaviour) -> bool {
    let there = |program: &str| {
        let places = ["", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"];
        places.iter().any(|place| std::path::Path::new(&format!("{place}{program}")).exists())
    };
    let missing = NEEDS.iter().find(|(word, program)| behaviour.name.contains(word) && !there(program));
    if let Some((_, program)) = missing {
        eprintln!("SKIPPED: '{program}' is not installed: {}", behaviour.name);
    }
    missing.is_none()
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Guests have what they want.
    Works,
    /// What the first guest says is dropped for these reasons, and its node has this finding.
    Refused(&'static [&'static str], &'static str),
}

/// All of them.
fn table() -> Vec<Behaviour> {
    vips::TABLE
        .into_iter()
        .chain(programs::TABLE)
        .chain(inside::TABLE)
        .chain(addresses::TABLE)
        .chain(wire::TABLE)
        .chain(groups::TABLE)
        .collect()
}

impl End {
    /// What is refused is refused by name.
    fn holds(self, stage: &Stage<'_>) {
        let Self::Refused(reasons, code) = self else { return };
        let guest = &stage.guests[0];
        for reason in reasons {
            let what = format!("guest_{reason} counts {}", guest.interface);
            wait_until(&what, NODE, || stage.ground.dropped(guest.node, reason, &guest.interface));
        }
        let told = |line: &String| line.starts_with(code) && line.contains(&guest.interface);
        wait_until(&format!("{} says {code} of {}", guest.node, guest.interface), NODE, || {
            stage.ground.problems(Some(guest.node)).iter().any(told)
        });
    }
}

/// Runs one; what it says where it fails stands on stderr.
fn judged(ground: &Ground, number: u8, behaviour: &Behaviour) -> Option<String> {
    let start = clock::mono();
    let done = catch_unwind(AssertUnwindSafe(|| {
        let stage = Stage::new(ground, number, behaviour);
        (behaviour.run)(&stage);
        behaviour.ends.holds(&stage);
    }));
    let took = clock::mono().since(start).as_secs_f64();
    let Behaviour { name, ends, .. } = behaviour;
    match done {
        Ok(()) => {
            eprintln!("{took:5.1} s  {ends:?}: {name}");
            None
        }
        Err(panic) => {
            let why = panic.downcast_ref::<String>().cloned();
            let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
            eprintln!("{took:5.1} s  FAILED: {name} (network n{number}): {why}");
            Some(format!("{name}: {why}"))
        }
    }
}

/// `BEHAVIOUR=part` in the environment takes those alone whose name has the part.
#[test]
fn what_people_run_in_guests_works_or_is_refused_by_name() {
    if !can_run() {
        return;
    }
    let part = std::env::var("BEHAVIOUR").unwrap_or_default();
    let table = table();
    let all: Vec<(u8, &Behaviour)> =
        (FIRST..).zip(&table).filter(|(_, one)| one.name.contains(&part)).filter(|(_, one)| can_be(one)).collect();
    let start = clock::mono();
    let ground = Ground::new(&all);
    eprintln!("{:5.1} s  the lab stands", clock::mono().since(start).as_secs_f64());
    let (left, failed) = (Mutex::new(VecDeque::from(all)), Mutex::new(Vec::new()));
    let next = || left.lock().unwrap().pop_front();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((number, behaviour)) = next() {
                    let fault = judged(&ground, number, behaviour);
                    failed.lock().unwrap().extend(fault);
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), table.len());
}
