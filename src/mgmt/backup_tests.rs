use proptest::prelude::*;

use super::*;
use crate::api::objects::Kind;
use crate::mgmt::fixture;
use crate::mgmt::state::{encode, key};

fn backup() -> Backup {
    let state = fixture::mesh();
    let objects = Kind::ALL.into_iter().flat_map(|kind| state.list(kind));
    let mut entries: BTreeMap<String, Vec<u8>> =
        objects.map(|object| (key(object.kind(), object.name()), encode(&object))).collect();
    entries.insert(audit::key(Wall::from_secs(9), [1; 4]), br#"{"text":"line\nbreak"}"#.to_vec());
    Backup {
        version: Version { incarnation: 3, revision: 77 },
        made: Wall::from_secs(1_795_000_000),
        pin: [0xa7; 32],
        entries,
    }
}

#[test]
fn what_is_read_is_what_was_written() {
    let backup = backup();
    assert!(backup.entries.len() > 5, "{}", backup.entries.len());
    assert_eq!(read(&write(&backup)), Ok(backup));
}

#[test]
fn a_cut_or_changed_file_is_refused_wherever_it_was_cut_or_changed() {
    let text = write(&backup());
    for cut in (0..text.len()).step_by(7).chain([text.len() - 1]) {
        assert!(read(&text[..cut]).is_err(), "cut at {cut}");
    }
    let first = text.find('\n').unwrap() + 1;
    for at in (first..text.len()).step_by(11) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        assert_eq!(read(&String::from_utf8_lossy(&bytes)), Err(BackupError::Damaged), "changed at {at}");
    }
}

#[test]
fn a_file_that_hashes_right_and_holds_something_else_is_refused() {
    let text = |key: &str, value: &str| {
        write(&Backup { entries: [(key.to_owned(), value.as_bytes().to_vec())].into(), ..backup() })
    };
    for (key, value) in [("pdc/a", "{}"), ("secret/x", "1"), ("meta/incarnation", "9"), ("pdc/../../etc", "{}")] {
        assert!(matches!(read(&text(key, value)), Err(BackupError::Entry { line: 2, .. })), "{key}");
    }
    let other = write(&backup()).replacen("\"Backup\"", "\"Slice\"", 1);
    assert!(matches!(read(&other), Err(BackupError::Head(_))));
}

#[test]
fn what_is_put_back_is_newer_than_anything_a_node_has_seen() {
    let backup = backup();
    let before = ["pdc/a", "pdc/later", INCARNATION].map(|key| (key, &b""[..]));
    for (here, expected) in [(1, 4), (3, 4), (9, 10)] {
        let restored = restored(&backup, here, before.into_iter(), Wall::from_secs(10));
        assert_eq!(restored.incarnation, expected, "store {here}, backup 3");
        assert_eq!(restored.writes[INCARNATION], expected.to_string().into_bytes());
        assert_eq!(restored.deletes, ["pdc/later".to_owned()].into(), "what came later goes");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_fail(text in "\\PC{0,200}(\n\\PC{0,200}){0,3}") {
        let _ = read(&text);
    }
}
