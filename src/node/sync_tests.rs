use proptest::prelude::*;

use super::*;
use crate::policy::path::PdcFacts;
use crate::table::delta;

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

impl Sync {
    /// The message as the line that it is.
    fn message(&mut self, message: Message, now: Mono) -> Result<Outcome, Refusal> {
        self.line(&serde_json::to_vec(&message).unwrap(), now)
    }
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
    assert_eq!(
        sync.message(Message::Current { version: v(1, 20), at: None, contested: Vec::new(), peers: Vec::new() }, at(3)),
        Ok(Outcome::Current)
    );
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
    assert_eq!(
        sync.message(Message::Current { version: v(1, 9), at: None, contested: Vec::new(), peers: Vec::new() }, at(1)),
        older(v(1, 9))
    );
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

/// What a management node of a newer version has: text, of which this version knows a part.
struct Newer {
    version: Version,
    slice: serde_json::Value,
}

impl Newer {
    fn new() -> Self {
        let version = v(1, 5);
        let mut slice = serde_json::to_value(slice(version)).unwrap();
        slice["moods"] = serde_json::json!({ "a-1": { "is": "well" }, "b-1": null });
        slice["season"] = serde_json::json!("winter");
        slice["pdcs"]["p1-5"]["mood"] = serde_json::json!({ "deep": [1, { "er": 2 }] });
        Self { version, slice }
    }

    fn hash(&self) -> String {
        Told::read(&self.slice.to_string()).unwrap().hash()
    }

    fn snapshot(&self) -> Vec<u8> {
        let (slice, hash) = (&self.slice, self.hash());
        serde_json::json!({ "type": "snapshot", "slice": slice, "hash": hash, "tune": 1 }).to_string().into_bytes()
    }

    /// Changes an entry that this version knows, in a field that it does not, and parts that it does not know.
    fn delta(&mut self, mood: &str) -> Vec<u8> {
        let from = self.version;
        self.version.revision += 1;
        self.slice["version"] = serde_json::to_value(self.version).unwrap();
        self.slice["pdcs"]["p1-5"]["mood"] = serde_json::json!(mood);
        self.slice["moods"].as_object_mut().unwrap().remove("b-1");
        self.slice["moods"]["c-1"] = serde_json::json!([mood]);
        self.slice["season"] = serde_json::json!(mood);
        self.slice["fresh"] = serde_json::json!({ "x": mood });
        let none = || serde_json::json!({ "set": {}, "gone": [] });
        let delta = serde_json::json!({
            "from": from, "to": self.version, "hash": self.hash(), "tunnelAddress": null, "keys": null,
            "pdcs": { "set": { "p1-5": self.slice["pdcs"]["p1-5"] }, "gone": [] }, "policies": none(), "networks": none(),
            "rows": none(), "peers": none(), "moods": { "set": { "c-1": [mood] }, "gone": ["b-1"] }, "season": mood,
            "fresh": { "x": mood },
        });
        serde_json::json!({ "type": "delta", "delta": delta, "tune": 2 }).to_string().into_bytes()
    }
}

#[test]
fn a_node_follows_a_newer_server_whose_fields_it_does_not_know() {
    let (mut sync, mut server) = (machine(None), Newer::new());
    assert_eq!(sync.line(&server.snapshot(), at(1)), Ok(Outcome::Adopted));
    assert_eq!(sync.slice(), Some(&slice(v(1, 5))), "what it knows is all there");
    let unknown = sync.unknown();
    for name in ["tune", "slice.moods", "slice.season", "slice.pdcs.*.mood"] {
        assert!(unknown.contains(&format!("stream: {name}")), "{unknown:?}");
    }
    assert_eq!(unknown.len(), 4, "each once: {unknown:?}");
    assert_eq!(sync.line(&server.snapshot(), at(1)), Ok(Outcome::Current));
    assert_eq!(sync.unknown(), Vec::<String>::new(), "and never again");
    for mood in ["sad", "glad"] {
        assert_eq!(sync.line(&server.delta(mood), at(2)), Ok(Outcome::Adopted), "{mood}");
        assert!(sync.ask().ends_with(&format!("&hash={}", server.hash())), "it goes on where the server is");
    }
    assert_eq!(sync.line(br#"{"type":"hymn","verses":3}"#, at(3)), Ok(Outcome::Current));
    assert_eq!(sync.unknown().last().map(String::as_str), Some("stream: type 'hymn'"));
    assert_eq!(sync.slice().map(|slice| slice.version), Some(server.version));
}

#[test]
fn a_change_of_an_unknown_field_that_got_lost_is_noticed() {
    let (mut sync, mut server) = (machine(None), Newer::new());
    sync.line(&server.snapshot(), at(1)).unwrap();
    server.slice["moods"]["a-1"] = serde_json::json!("never told");
    let refusal = sync.line(&server.delta("sad"), at(2)).unwrap_err();
    assert!(matches!(refusal, Refusal::Misfit(DeltaError::Hash { .. })), "{refusal}");
    assert!(sync.ask().ends_with("&hash="));
}

#[test]
fn what_the_disk_did_not_keep_is_told_again() {
    let (mut sync, server) = (machine(None), Newer::new());
    sync.line(&server.snapshot(), at(1)).unwrap();
    // A restart, perhaps of a version that knows the field by now: the file has nothing of it.
    let sync = machine(sync.slice().cloned());
    assert!(!sync.ask().ends_with(&server.hash()), "the server must not take it for up to date");
    let known = machine(Some(slice(v(1, 5))));
    assert_eq!(sync.ask(), known.ask());
}

#[test]
fn a_line_that_is_none_is_refused_and_changes_nothing() {
    let mut sync = machine(Some(slice(v(1, 5))));
    let mut bad = serde_json::to_value(snapshot(slice(v(1, 6)))).unwrap();
    bad["slice"]["node"] = serde_json::json!("no name!");
    for line in ["{", "[]", "{}", r#"{"type":"snapshot"}"#, &bad.to_string()] {
        assert!(matches!(sync.line(line.as_bytes(), at(1)), Err(Refusal::Unreadable(_))), "{line}");
    }
    assert_eq!(sync.slice(), Some(&slice(v(1, 5))));
}
