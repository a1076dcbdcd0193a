use std::collections::BTreeSet;

use super::*;
use crate::types::Version;

fn version(revision: u64) -> Version {
    Version { incarnation: 1, revision }
}

fn slice(revision: u64, rows: u32) -> Slice {
    let mut slice = Slice::empty(version(revision), "fra-1".parse().unwrap(), "fra".parse().unwrap());
    for n in 0..rows {
        let [_, a, b, c] = n.to_be_bytes();
        let key: RowKey = format!("default/10/-/02:00:00:{a:x}:{b:x}:{c:x}").parse().unwrap();
        let arp = BTreeSet::from([Ipv4Addr::from(0x0a00_0000 + n)]);
        let row = Row { arp, ..Row::of("fra-2".parse().unwrap()) };
        slice.rows.insert(key, row);
    }
    slice
}

fn apply(delta: Delta, slice: Slice) -> Result<Slice, DeltaError> {
    let mut told = Told::of(&slice);
    told.change(&serde_json::to_string(&delta).unwrap()).unwrap();
    delta.apply(slice, told.hash())
}

#[test]
fn a_slice_survives_its_json() {
    let slice = slice(7, 20);
    let text = serde_json::to_string(&slice).unwrap();
    assert_eq!(serde_json::from_str::<Slice>(&text).unwrap(), slice);
    for cut in [1, text.len() / 2, text.len() - 1] {
        assert!(serde_json::from_str::<Slice>(&text[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_delta_turns_the_old_slice_into_the_new_one() {
    let (old, mut new) = (slice(7, 20), slice(9, 30));
    new.rows.pop_first();
    new.pdc = "ams".parse().unwrap();
    let delta = Delta::between(&old, &new);
    assert_eq!((delta.rows.set.len(), delta.rows.gone.len()), (10, 1));
    assert_eq!(apply(delta, old).unwrap(), new);
}

#[test]
fn a_delta_that_does_not_fit_is_refused() {
    let (old, new) = (slice(7, 20), slice(9, 21));
    let delta = Delta::between(&old, &new);
    assert!(matches!(apply(delta.clone(), slice(8, 20)), Err(DeltaError::Gap { .. })), "another version");
    assert!(matches!(apply(delta.clone(), slice(7, 19)), Err(DeltaError::Hash { .. })), "another content");
    let back = Delta { to: version(7), ..delta };
    assert!(matches!(apply(back, old), Err(DeltaError::NotForward { .. })), "not forward");
}

#[test]
fn the_hash_is_of_the_content_and_not_of_the_version() {
    assert_eq!(delta::hash(&slice(7, 20)), delta::hash(&slice(8, 20)));
    assert_ne!(delta::hash(&slice(7, 20)), delta::hash(&slice(7, 21)));
}

#[test]
fn rows_of_a_network_are_its_own() {
    let mut slice = slice(1, 3);
    let row = slice.rows.first_key_value().unwrap().1.clone();
    for other in ["default/9/-/02:00:00:00:00:00", "default/11/-/02:00:00:00:00:00", "default2/10/5/02:00:00:00:00:00"]
    {
        slice.rows.insert(other.parse().unwrap(), row.clone());
    }
    slice.rows.insert("default/10/5/02:00:00:00:00:00".parse().unwrap(), row);
    assert_eq!(slice.rows_of(&"default/10".parse().unwrap()).count(), 4);
}

#[test]
fn one_mac_in_two_networks_or_vlans_is_two_rows() {
    let keys: BTreeSet<RowKey> =
        ["o/10/-/2:0:0:0:0:1", "o/11/-/2:0:0:0:0:1", "o/10/5/2:0:0:0:0:1", "p/10/-/2:0:0:0:0:1"]
            .map(|text| text.parse().unwrap())
            .into();
    assert_eq!(keys.len(), 4);
}

#[test]
fn a_bad_key_says_what_is_wrong() {
    for (text, why) in [
        ("default/10/-", "no MAC"),
        ("default/0/-/2:0:0:0:0:1", "a network's VNI is 1 to 16777214, not 0"),
        ("../10/-/2:0:0:0:0:1", "'.' is none of them"),
        ("default/10/-/2:0:0:0:0:1/x", "too many parts"),
        ("default/10/4095/2:0:0:0:0:1", "a VLAN is 1 to 4094, not 4095"),
    ] {
        let error = text.parse::<RowKey>().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_psk_is_in_the_json_and_not_in_debug() {
    let peer: Peer = serde_json::from_value(serde_json::json!({
        "pdc": "fra", "psk": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "listen": 51820, "lanes": 1
    }))
    .unwrap();
    assert!(serde_json::to_string(&peer).unwrap().contains("xTIBA5rb"));
    assert!(!format!("{peer:?}").contains("xTIBA5rb"));
}
