use serde_json::json;

use super::super::plan::tests::slice;
use super::*;

fn key() -> NetKey {
    "default/10".parse().unwrap()
}

/// The elements for rows of (VLAN, last byte of the MAC, node, addresses).
fn of(rows: &[(&str, u8, &str, &[&str])]) -> Elements {
    let mut slice = slice("suppress", json!({}));
    slice.rows.clear();
    for (vlan, last, node, addresses) in rows {
        let (six, four): (Vec<&str>, Vec<&str>) = addresses.iter().partition(|a| a.contains(':'));
        let row = json!({"node": node, "arp": four, "nd": six});
        let key = format!("default/10/{vlan}/02:00:00:00:00:{last:02x}").parse().unwrap();
        slice.rows.insert(key, serde_json::from_value(row).unwrap());
    }
    Owners::of(&slice, &key(), |mac| mac.0[5] != 0x66).elements()
}

fn text(set: &'static str, text: &str) -> (&'static str, String) {
    (set, text.to_owned())
}

#[test]
fn one_address_in_two_vlans_is_two_addresses() {
    let all = of(&[("-", 1, "b", &["10.0.0.9", "fd10::9"]), ("20", 2, "b", &["10.0.0.9", "fd10::9"])]);
    let nine = "0x0a000009";
    let six = "0xfd100000000000000000000000000009";
    assert_eq!(
        all,
        [
            text("same", &format!("{nine} . {nine}")),
            text("arp", &format!("{nine} : 02:00:00:00:00:01")),
            text("arp_tagged", &format!("20 . {nine} : 02:00:00:00:00:02")),
            text("nd", &format!("{six} : 02:00:00:00:00:01")),
            text("nd_tagged", &format!("20 . {six} : 02:00:00:00:00:02")),
        ]
        .into()
    );
}

#[test]
fn an_address_that_several_have_that_is_here_or_that_nobody_may_reach_is_asked_of_all() {
    for rows in [
        &[("-", 1, "b", &["10.0.0.9"][..]), ("-", 2, "far", &["10.0.0.9"])][..],
        &[("-", 1, "a", &["10.0.0.9"]), ("-", 2, "b", &["10.0.0.9"])],
        &[("7", 1, "b", &["10.0.0.9"]), ("7", 2, "b", &["10.0.0.9"]), ("7", 3, "b", &["10.0.0.9"])],
        &[("-", 1, "a", &["10.0.0.9", "fd10::9"])],
        &[("-", 0x66, "b", &["10.0.0.9", "fd10::9"])],
        &[("-", 1, "b", &["0.0.0.0", "224.0.0.1", "::", "ff02::1"])],
    ] {
        assert_eq!(of(rows), Elements::new(), "{rows:?}");
    }
}
