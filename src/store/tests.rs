//! What every store must do. Each sentence runs against each implementation.

use super::*;

fn each(law: impl Fn(&dyn Store)) {
    law(&Memory::default());
    let folder = tempfile::tempdir().unwrap();
    law(&Embedded::open(&folder.path().join("store")).unwrap());
}

fn put(key: &str, value: &str) -> Transaction {
    Transaction::new().write(key, value)
}

#[test]
fn a_commit_makes_the_next_revision_and_is_read_back() {
    each(|store| {
        assert_eq!(store.get("a").unwrap(), None);
        assert_eq!(store.commit(&put("a", "1")).unwrap(), 1);
        assert_eq!(store.commit(&put("b", "2").write("c", "3")).unwrap(), 2);
        assert_eq!(store.get("a").unwrap(), Some(Entry { revision: 1, value: b"1".to_vec() }));
        assert_eq!(store.get("c").unwrap(), Some(Entry { revision: 2, value: b"3".to_vec() }));
    });
}

#[test]
fn a_range_is_the_keys_with_the_prefix_in_order_as_of_one_revision() {
    each(|store| {
        store.commit(&put("port/b", "1").write("port/a", "2").write("portal", "3").write("node/a", "4")).unwrap();
        store.commit(&Transaction::new().delete("port/b").write("port/c", "5")).unwrap();
        let range = store.range("port/").unwrap();
        let keys: Vec<_> = range.entries.iter().map(|(k, e)| (k.as_str(), e.revision)).collect();
        assert_eq!((range.revision, keys), (2, vec![("port/a", 1), ("port/c", 2)]));
        assert_eq!(store.range("").unwrap().entries.len(), 4);
    });
}

#[test]
fn a_precondition_that_does_not_hold_names_its_key_and_changes_nothing() {
    each(|store| {
        store.commit(&put("a", "1")).unwrap();
        store.commit(&put("a", "2")).unwrap();
        for (expected, key) in [(Some(1), "a"), (None, "a"), (Some(2), "new")] {
            let refused = store.commit(&put("b", "x").expect("a", Some(2)).expect(key, expected)).unwrap_err();
            assert!(matches!(&refused, StoreError::Conflict { key: named, .. } if named == key), "{refused}");
        }
        assert_eq!((store.get("b").unwrap(), store.range("").unwrap().revision), (None, 2));
        assert_eq!(store.commit(&put("b", "x").expect("a", Some(2)).expect("b", None)).unwrap(), 3);
    });
}

#[test]
fn changes_can_be_followed_from_any_revision() {
    each(|store| {
        let mut head = store.head();
        store.commit(&put("a", "1")).unwrap();
        store.commit(&put("b", "2").delete("a").delete("nothing")).unwrap();
        assert!(head.has_changed().unwrap());
        assert_eq!(*head.borrow_and_update(), 2);
        let change = |revision, key: &str, value: Option<&str>| Change {
            revision,
            key: key.to_owned(),
            value: value.map(|v| v.as_bytes().to_vec()),
        };
        assert_eq!(store.changes(1).unwrap(), [change(2, "b", Some("2")), change(2, "a", None)]);
        assert_eq!(store.changes(0).unwrap().len(), 3);
        assert_eq!(store.changes(2).unwrap(), []);
    });
}

#[test]
fn one_of_many_writers_wins() {
    each(|store| {
        let winners: usize = std::thread::scope(|scope| {
            let one = |n: usize| move || store.commit(&put("a", &n.to_string()).expect("a", None)).is_ok();
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(one(n))).collect();
            threads.into_iter().map(|t| usize::from(t.join().unwrap())).sum()
        });
        assert_eq!(winners, 1);
        assert_eq!(store.range("").unwrap().revision, 1);
    });
}

#[test]
fn old_history_is_forgotten_and_says_so() {
    let store = Memory::default();
    for n in 0..HISTORY + 10 {
        store.commit(&put("a", &n.to_string())).unwrap();
    }
    assert!(matches!(store.changes(9), Err(StoreError::Compacted { asked: 9, oldest: 10 })));
    assert_eq!(store.changes(10).unwrap().len() as u64, HISTORY);
}
