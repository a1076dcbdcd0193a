use super::*;

const FIRST_OF_SEED_1: [&str; 8] = [
    "300 Cable { node: 1, side: Admin, up: false }",
    "635 Cable { node: 1, side: Admin, up: true }",
    "1348 Network { number: 2, on: [4, 3], present: true }",
    "1670 Flood { net: Red, replicate: true }",
    "2862 Policy { number: 5, between: [1, 0], forbid: false, present: true }",
    "3718 Mtu { node: 1, bytes: 1300 }",
    "4256 Narrow { node: 5, bytes: 1280 }",
    "4624 Attack { kind: Vxlan, wire: 2, target: 2, seed: 9851787880037274203 }",
];

#[test]
fn the_same_seed_is_the_same_plan() {
    for seed in 0..50 {
        assert_eq!(plan(seed, 60), plan(seed, 60));
        assert_ne!(plan(seed, 60), plan(seed + 1, 60));
    }
    let incidents = plan(1, 5).into_iter().filter(|step| !matches!(step.act, Act::Lie { .. }));
    let first: Vec<String> = incidents.take(8).map(|step| format!("{} {}", step.at, step.act)).collect();
    assert_eq!(first, FIRST_OF_SEED_1, "a seed that somebody has written down must mean the same tomorrow");
}

#[test]
fn everything_that_begins_ends_before_the_run_does() {
    for seed in 0..50 {
        let mut gone = Vec::new();
        for Step { at, undo, act } in plan(seed, 60) {
            assert!(at <= 60_000 + LONGEST_OUTAGE, "{at} {act}");
            match act {
                Act::Kill { node } | Act::Stop { node } => {
                    assert!(!gone.contains(&node), "seed {seed}: {act} although it does not run");
                    gone.push(node);
                }
                Act::Start { node } => gone.retain(|other| *other != node),
                _ => assert!(!undo || at > 300, "{act}"),
            }
        }
        assert_eq!(gone, Vec::<usize>::new(), "seed {seed}");
    }
}

#[test]
fn management_is_asked_only_while_it_is_there() {
    for seed in 0..200 {
        let mut there = true;
        for Step { undo, act, .. } in plan(seed, 120) {
            match act {
                Act::KillManagement => there = false,
                Act::StartManagement => there = true,
                Act::Clock { node: None, .. } => there = undo,
                _ => assert!(there || !act.needs_management(), "seed {seed}: {act}"),
            }
        }
        assert!(there, "seed {seed}");
    }
}

#[test]
fn every_kind_of_incident_is_in_ten_minutes() {
    let words: std::collections::BTreeSet<String> =
        plan(7, 600).iter().map(|step| step.act.to_string().split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(words.len(), 30, "{words:?}");
}

#[test]
fn guests_lie_while_their_node_is_left_alone() {
    let mut lies = 0;
    for seed in 0..100 {
        let steps = plan(seed, 120);
        for (at, step) in steps.iter().enumerate() {
            let Act::Lie { node: liar, .. } = step.act else { continue };
            lies += 1;
            for before in steps[..at].iter().filter(|before| before.at + 5000 >= step.at) {
                match before.act {
                    Act::Flush { node } | Act::Kill { node } | Act::Stop { node } | Act::Start { node } => {
                        assert_ne!(node, liar, "seed {seed}: {before:?} just before {step:?}");
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(lies > 100 * 10, "{lies} lies in a hundred plans of two minutes");
}
