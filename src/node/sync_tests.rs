use proptest::prelude::*;

use super::*;
use crate::policy::path::PdcFacts;

const fn at(millis: u64) -> Mono {
    Mono::from_nanos(millis * 1_000_000)
}

const fn v(incarnation: u64, revision: u64) -> Version {
    Version { incarnation, revision }
}

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// A slice of `a-1` whose content differs with its revision.
fn slice(version: Version) -> Slice {
    let mut slice = Slice::empty(version, node("a-1"), "a".parse().unwrap());
    let facts: PdcFacts =
        serde_json::from_value(serde_json::json!({ "intra": "plain", "underlay": [], "maxHops": 0 })).unwrap();
    slice.pdcs.insert(format!("p{}-{}", version.incarnation, version.revision).parse().unwrap(), facts);
    slice
}

fn snapshot(slice: Slice) -> Message {
    let hash = delta::hash(&slice);
    Message::Snapshot { slice: Box::new(slice), hash }
}

fn change(from: Version, to: Version) -> Message {
    Message::Delta { delta: Box::new(Delta::between(&slice(from), &slice(to))) }
}

fn machine(here: Option<Slice>) -> Sync {
    Sync::new(node("a-1"), Some("a".parse().unwrap()), here, at(0))
}

#[test]
fn the_first_contact_asks_for_everything_and_deltas_follow() {
    let mut sync = machine(None);
    assert_eq!(sync.next(at(0)), Next::Connect);
    assert_eq!(sync.ask(), "/v1/slice?incarnation=0&revision=0&hash=");
    sync.connecting();
    assert_eq!(sync.message(snapshot(slice(v(1, 5))), at(1)), Ok(Outcome::Adopted));
    assert_eq!(sync.message(change(v(1, 5), v(1, 9)), at(2)), Ok(Outcome::Adopted));
    assert_eq!(sync.slice(), Some(&slice(v(1, 9))));
    assert_eq!(sync.message(Message::Current { version: v(1, 20) }, at(3)), Ok(Outcome::Current));
    assert_eq!(sync.slice().unwrap().version, v(1, 9), "the server tells deltas from what it last sent");
}

#[test]
fn a_restart_asks_from_where_the_file_is() {
    let here = slice(v(2, 7));
    let hash = delta::hash(&here);
    let sync = machine(Some(here));
    assert_eq!(sync.ask(), format!("/v1/slice?incarnation=2&revision=7&hash={hash}"));
}

#[test]
fn a_gap_keeps_the_old_slice_and_asks_for_a_snapshot() {
    let mut sync = machine(Some(slice(v(1, 5))));
    let refusal = sync.message(change(v(1, 6), v(1, 7)), at(1)).unwrap_err();
    assert!(matches!(refusal, Refusal::Misfit(DeltaError::Gap { .. })), "{refusal}");
    assert_eq!(sync.slice(), Some(&slice(v(1, 5))));
    assert!(sync.ask().ends_with("incarnation=0&revision=0&hash="));
    let refusal = sync.message(change(v(1, 5), v(1, 7)), at(1)).unwrap_err();
    assert_eq!(refusal, Refusal::NoSlice, "nothing but a snapshot is believed now");
    assert_eq!(sync.message(snapshot(slice(v(1, 7))), at(2)), Ok(Outcome::Adopted));
    assert!(sync.ask().contains("revision=7"));
}

#[test]
fn a_wrong_hash_keeps_the_old_slice_and_asks_for_a_snapshot() {
    let mut sync = machine(Some(slice(v(1, 5))));
    let mut delta = Delta::between(&slice(v(1, 5)), &slice(v(1, 6)));
    delta.hash.replace_range(..1, "x");
    let refusal = sync.message(Message::Delta { delta: Box::new(delta) }, at(1)).unwrap_err();
    assert!(matches!(refusal, Refusal::Misfit(DeltaError::Hash { .. })), "{refusal}");
    assert_eq!(sync.slice(), Some(&slice(v(1, 5))));
    assert!(sync.ask().ends_with("hash="));
    // The file here was edited by hand: same version, other content. The snapshot of the same version heals it.
    let mut edited = slice(v(1, 5));
    edited.pdcs.clear();
    let mut sync = machine(Some(edited));
    assert_eq!(sync.message(snapshot(slice(v(1, 5))), at(1)), Ok(Outcome::Adopted));
}

#[test]
fn older_foreign_and_damaged_slices_are_refused() {
    let mut sync = machine(Some(slice(v(2, 5))));
    let older = |theirs| Err(Refusal::Older { theirs, ours: v(2, 5) });
    assert_eq!(sync.message(snapshot(slice(v(2, 4))), at(1)), older(v(2, 4)));
    assert_eq!(sync.message(snapshot(slice(v(1, 900))), at(1)), older(v(1, 900)), "a restored backup of before");
    assert_eq!(sync.message(Message::Current { version: v(1, 9) }, at(1)), older(v(1, 9)));
    let mut foreign = slice(v(2, 9));
    foreign.node = node("b-1");
    assert_eq!(sync.message(snapshot(foreign), at(1)), Err(Refusal::Foreign(node("b-1"))));
    let mut moved = slice(v(2, 9));
    moved.pdc = "b".parse().unwrap();
    let refusal = sync.message(snapshot(moved.clone()), at(1)).unwrap_err();
    assert!(matches!(refusal, Refusal::OtherPdc { .. }));
    let delta = Delta::between(&slice(v(2, 5)), &moved);
    let refusal = sync.message(Message::Delta { delta: Box::new(delta) }, at(1)).unwrap_err();
    assert!(matches!(refusal, Refusal::OtherPdc { .. }));
    let damaged = Message::Snapshot { slice: Box::new(slice(v(2, 9))), hash: delta::hash(&slice(v(2, 8))) };
    assert_eq!(sync.message(damaged, at(1)), Err(Refusal::Damaged(v(2, 9))));
    assert_eq!(sync.slice(), Some(&slice(v(2, 5))), "the old one stays in force through all of it");
}

#[test]
fn a_higher_incarnation_with_a_lower_revision_is_newer() {
    let mut sync = machine(Some(slice(v(1, 900))));
    assert_eq!(sync.message(snapshot(slice(v(2, 3))), at(1)), Ok(Outcome::Adopted));
}

#[test]
fn silence_is_death_but_slow_bytes_are_life() {
    let mut sync = machine(Some(slice(v(1, 5))));
    sync.connecting();
    sync.heard(at(0));
    assert_eq!(sync.next(at(9_999)), Next::Wait(at(10_000)));
    assert_eq!(sync.next(at(10_000)), Next::Dead);
    sync.heard(at(9_000));
    assert_eq!(sync.next(at(18_999)), Next::Wait(at(19_000)));
    sync.lost(at(19_000), 0);
    assert!(!sync.is_up());
    assert_eq!(sync.next(at(19_000)), Next::Wait(at(19_200)));
    assert_eq!(sync.next(at(19_200)), Next::Connect);
}

#[test]
fn a_removed_node_asks_again_but_seldom() {
    let mut sync = machine(Some(slice(v(1, 5))));
    assert_eq!(sync.message(Message::Removed, at(0)), Ok(Outcome::Removed));
    sync.lost(at(0), u32::MAX);
    assert_eq!(sync.next(at(0)), Next::Wait(at(30_000)));
}

#[test]
fn waits_double_up_to_half_a_minute_and_success_starts_over() {
    let mut sync = machine(None);
    let mut longest = Vec::new();
    for _ in 0..40 {
        sync.lost(at(0), u32::MAX);
        let Next::Wait(until) = sync.next(at(0)) else { panic!("no wait") };
        longest.push(until.as_nanos() / 1_000_000);
    }
    assert_eq!(longest[..5], [200, 400, 800, 1600, 3200]);
    assert_eq!(longest[39], 30_000);
    sync.message(snapshot(slice(v(1, 1))), at(0)).unwrap();
    sync.lost(at(0), u32::MAX);
    assert_eq!(sync.next(at(0)), Next::Wait(at(200)));
}

proptest! {
    #[test]
    fn every_wait_is_within_its_bounds(failures in 0_usize..50, random: u32) {
        let mut sync = machine(None);
        for _ in 0..=failures {
            sync.lost(at(0), random);
        }
        let Next::Wait(until) = sync.next(at(0)) else { panic!("no wait") };
        prop_assert!((LEAST_WAIT..=MOST_WAIT).contains(&until.since(at(0))));
    }

    #[test]
    fn versions_never_go_back(revisions in prop::collection::vec((1_u64..4, 1_u64..6, 1_u64..6, any::<bool>()), 1..40)) {
        let mut sync = machine(None);
        let mut last = Version::default();
        for (incarnation, from, to, whole) in revisions {
            let message = if whole { snapshot(slice(v(incarnation, to))) } else { change(v(incarnation, from), v(incarnation, to)) };
            let adopted = sync.message(message, at(0)) == Ok(Outcome::Adopted);
            let here = sync.slice().map(|s| s.version).unwrap_or_default();
            prop_assert!(here >= last);
            prop_assert!(adopted || here == last);
            // Whatever happened, what is here is whole: exactly what the server had at that version.
            prop_assert_eq!(sync.slice().cloned(), (here != Version::default()).then(|| slice(here)));
            last = here;
        }
    }
}
