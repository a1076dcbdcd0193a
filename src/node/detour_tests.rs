use std::net::IpAddr;

use serde_json::json;

use super::*;
use crate::node::paths::decide_all;
use crate::node::plan::tests::{local, slice};
use crate::policy::path::Intra;
use crate::probe::plain::{Report, Told};
use crate::types::{IfName, PeerSlot, UdpPort};

fn at(second: u64) -> Mono {
    Mono::from_nanos(second * 1_000_000_000)
}

fn wished() -> Slice {
    let mut slice = slice("suppress", json!({}));
    slice.pdcs.values_mut().for_each(|pdc| pdc.tunnel_when_dead = true);
    slice
}

/// How a pair looks to the echoes at a second, for as long as it does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Looks {
    Answers,
    Dead,
    /// The daemon there is gone as well.
    Silent,
}

fn report(looks: Looks, since: u64, now: u64) -> Report {
    let quiet = (looks != Looks::Answers).then(|| at(since));
    let told = Told { heard: None, hit: false, at: at(now) };
    Report {
        peer: PeerSlot(0),
        quiet,
        answered: Some(at(if quiet.is_some() { since.saturating_sub(1) } else { now })),
        heard: Some(at(if looks == Looks::Answers { now } else { since.saturating_sub(1) })),
        rtt: None,
        loss: None,
        size: 1450,
        exact: true,
        largest: 1450,
        needed: 1450,
        legs: Vec::new(),
        scattered: false,
        hole: None,
        mute: None,
        told: (looks == Looks::Dead).then_some(told),
        theirs: None,
        unanswered: looks != Looks::Answers,
    }
}

/// Runs through phases of so many seconds each; every change with its second.
fn run(slice: &Slice, session: bool, phases: &[(Looks, u64)]) -> Vec<(u64, bool)> {
    let (mut detours, mut changes, mut second) = (Detours::default(), Vec::new(), 100);
    let (node, interface): (NodeId, IfName) = ("b".parse().unwrap(), "eth0".parse().unwrap());
    let address: IpAddr = "10.1.0.2".parse().unwrap();
    for (looks, long) in phases {
        let since = second;
        for _ in 0..*long {
            let seen = Seen {
                node: &node,
                udp_port: UdpPort::try_from(4789).unwrap(),
                own: "10.1.0.1".parse().unwrap(),
                address,
                outer: Outer::Admin,
                interface: &interface,
                session,
                unheard: false,
                theirs: None,
                speaks: true,
                narrow: Vec::new(),
                report: Some(report(*looks, since, second)),
            };
            if detours.look(Some(slice), &[seen], at(second), Wall::from_secs(second)) {
                changes.push((second - 100, !detours.taken().is_empty()));
                assert_eq!(detours.findings().len(), detours.taken().len());
            }
            second += 1;
        }
    }
    changes
}

#[test]
fn a_dead_plain_path_takes_the_tunnel_and_comes_back_when_it_has_answered_for_a_while() {
    use Looks::{Answers, Dead, Silent};
    let wished = wished();
    let there = run(&wished, true, &[(Answers, 10), (Dead, 60), (Answers, 100)]);
    assert_eq!(there, [(20, true), (130, false)], "6 s until it is called dead, 4 more, and a minute back");
    for (what, phases) in [
        ("a moment", vec![(Answers, 10), (Dead, 8), (Answers, 100)]),
        ("a daemon that is dead", vec![(Answers, 10), (Silent, 300), (Answers, 100)]),
    ] {
        assert_eq!(run(&wished, true, &phases), [], "{what}");
    }
    let flaps = [(Dead, 20), (Answers, 50), (Dead, 20), (Answers, 50), (Silent, 20), (Answers, 70)];
    assert_eq!(run(&wished, true, &flaps), [(10, true), (220, false)], "not before it has answered for long enough");
    assert_eq!(run(&wished, false, &[(Dead, 100)]), [], "there is no tunnel");
    let unwished = slice("suppress", json!({}));
    assert_eq!(run(&unwished, true, &[(Dead, 100)]), [], "nobody has wished it");
}

/// Whatever paths there are: a detour makes a plain one of the own PDC a tunnel, and nothing else anything.
#[test]
fn a_detour_makes_nothing_plain_and_touches_no_other_path() {
    for intra in [Intra::Plain, Intra::Encrypted] {
        let mut slice = wished();
        slice.pdcs.values_mut().for_each(|pdc| pdc.intra = intra);
        let base = decide_all(&slice, local().own());
        let taken = Pair { taken: Some(Wall::from_secs(1)), ..Pair::default() };
        let detours = Detours(slice.peers.keys().map(|node| (node.clone(), taken)).collect());
        let paths = detours.apply(&slice, base.clone());
        // Whoever is told of them decides the same.
        let mut elsewhere = base.clone();
        take(&slice, &mut elsewhere, &told(&detours.findings()));
        assert_eq!(elsewhere, paths);
        for (key, verdicts) in &base {
            for (node, before) in verdicts {
                let after = &paths[key][node];
                assert!(after.path >= before.path, "{node}: never the other way");
                let inside = slice.peers[node].pdc == slice.pdc;
                let moved = before.path == Path::Plain && inside && before.outer == Outer::Admin;
                assert_eq!(after.path == Path::Tunnel && before.path == Path::Plain, moved, "{node}");
                assert!(moved || after == before, "{node}");
            }
        }
    }
}
