use std::collections::BTreeSet;

use super::*;
use crate::types::Wall;

fn event(who: &str, from: &str, what: &str) -> AuditEvent {
    let (who, from, what) = (who.to_owned(), from.to_owned(), what.to_owned());
    AuditEvent { at: Wall::from_secs(1), who, from, what, text: String::new(), changes: Vec::new() }
}

fn kept(n: usize, bytes: usize) -> Kept {
    Kept { key: format!("audit/{n:08}"), bytes }
}

/// Adds an entry and returns the keys that go.
fn add(ledger: &mut Ledger, event: &AuditEvent, n: usize, bytes: usize) -> Vec<String> {
    let gone = ledger.add(&place(event), kept(n, bytes));
    gone.into_iter().map(|(_, kept)| kept.key).collect()
}

/// What the how-manieth entry is.
type Filler = fn(usize) -> AuditEvent;

/// Who fills the log, with what, and where that stands.
fn fillers() -> Vec<(&'static str, Filler, Shelf)> {
    vec![
        ("a member that is refused", |_| event("node/b-1", "10.0.0.9", "port-refused"), Shelf::Refused),
        ("a member that changes what it says", |_| event("node/b-1", "10.0.0.9", "facts"), Shelf::Members),
        ("many members", |n| event(&format!("node/b-{}", n % 500), "10.0.0.9", "ports-found"), Shelf::Members),
        ("a token holder that joins", |_| event("token/t1", "192.0.2.1", "enroll"), Shelf::Members),
        (
            "a stranger with tokens that are none",
            |n| event(&format!("token/t{n}"), "192.0.2.1", "enroll-refused"),
            Shelf::Strangers,
        ),
        (
            "strangers of a /48",
            |n| event("token/t", &format!("2001:db8:1:{:x}::1", n % 65_536), "enroll-refused"),
            Shelf::Strangers,
        ),
        (
            "strangers of everywhere",
            |n| event("token/t", &format!("2001:db8:{:x}::1", n % 65_536), "enroll-refused"),
            Shelf::Strangers,
        ),
        ("what members make the server write", |_| event("meshmgr", "here", "path-mtu"), Shelf::Server),
    ]
}

#[test]
fn nothing_that_others_cause_displaces_what_an_operator_did_or_another_member_or_another_kind() {
    for (who, filler, shelf) in fillers() {
        let mut ledger = Ledger::default();
        // One of each kind, and a flood of one.
        let witnesses = [
            event("admin/root", "192.0.2.9", "delete"),
            event("node/a-1", "10.0.0.1", "facts"),
            event("node/a-1", "10.0.0.1", "port-refused"),
            event("meshmgr", "here", "rotate-key"),
            event("token/t7", "192.0.2.7", "enroll"),
            event("token/t7", "192.0.2.7", "enroll-refused"),
        ];
        for (n, witness) in witnesses.iter().enumerate() {
            assert!(add(&mut ledger, witness, n, 300).is_empty());
        }
        let mine: BTreeSet<String> = (0..witnesses.len()).map(|n| kept(n, 300).key).collect();
        let mut gone = BTreeSet::new();
        for n in 10..30_000 {
            gone.extend(add(&mut ledger, &filler(n), n, 300));
        }
        // Where strangers come from everywhere, another stranger is one of them.
        let spared = if who == "strangers of everywhere" { Some(kept(5, 300).key) } else { None };
        let lost: Vec<_> = gone.intersection(&mine).filter(|key| Some(*key) != spared.as_ref()).collect();
        assert!(lost.is_empty(), "{who} displaces {lost:?}");
        let quota = shelf.quota();
        let left = &ledger.shelves[&shelf];
        assert!(left.entries <= quota.all_entries && left.bytes <= quota.all_bytes, "{who}: {}", left.entries);
        assert_eq!(
            gone.len() + ledger.shelves.values().map(|actors| actors.entries).sum::<usize>(),
            30_000 - 4,
            "{who}"
        );
    }
}

#[test]
fn one_actor_has_a_quota_in_entries_and_in_bytes_and_always_its_newest_entry() {
    let mut ledger = Ledger::default();
    let liar = event("node/b-1", "10.0.0.9", "port-refused");
    for n in 0..1_000 {
        add(&mut ledger, &liar, n, 100);
    }
    assert_eq!(ledger.shelves[&Shelf::Refused].entries, 100);
    for n in 1_000..1_010 {
        add(&mut ledger, &liar, n, 60 << 10);
    }
    assert!(ledger.shelves[&Shelf::Refused].bytes <= 64 << 10);
    add(&mut ledger, &liar, 2_000, 200 << 10);
    let queue = &ledger.shelves[&Shelf::Refused].actors["node/b-1"];
    assert_eq!((queue.kept.len(), queue.kept[0].key.as_str()), (1, "audit/00002000"));
}

#[test]
fn a_log_that_is_too_long_shrinks_in_steps_and_a_change_that_fails_leaves_it_as_it_was() {
    let mut ledger = Ledger::default();
    let liar = event("node/b-1", "10.0.0.9", "port-refused");
    for n in 0..10_000 {
        ledger.load(place(&liar), kept(n, 300));
    }
    let before = format!("{ledger:?}");
    let displaced = ledger.add(&place(&liar), kept(10_000, 300));
    assert_eq!(displaced.len(), AT_ONCE);
    ledger.undo(&place(&liar), displaced);
    assert_eq!(format!("{ledger:?}"), before);
    for n in 10_000..10_400 {
        add(&mut ledger, &liar, n, 300);
    }
    assert_eq!(ledger.shelves[&Shelf::Refused].entries, 100);
}
