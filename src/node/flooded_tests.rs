use super::*;
use crate::table::Row;
use crate::types::Version;

fn at(secs: u64) -> Mono {
    Mono::from_nanos(secs * 1_000_000_000)
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn limited(whose: Whose, last: u8, frames: u64) -> Limited {
    Limited { key: "default/10".parse().unwrap(), whose, mac: mac(last), frames }
}

/// Ports `web-1` and so on of this node.
fn slice() -> Slice {
    let node: NodeId = "a-1".parse().unwrap();
    let mut slice = Slice::empty(Version::default(), node.clone(), "a".parse().unwrap());
    for last in 1..=5 {
        let port = Some(format!("web-{last}").parse().unwrap());
        let key = format!("default/10/-/{}", mac(last)).parse().unwrap();
        slice.rows.insert(key, Row { port, ..Row::of(node.clone()) });
    }
    slice
}

#[test]
fn it_is_told_while_frames_are_dropped_and_a_little_longer() {
    let (slice, mut flooded) = (slice(), Flooded::default());
    let mut look = |secs, frames| flooded.look(&slice, [limited(Whose::Guest(0), 1, frames)], at(secs)).len();
    assert_eq!(look(0, 70), 0, "what was before is not of now");
    assert_eq!((look(1, 71), look(2, 71), look(15, 71)), (1, 1, 1));
    assert_eq!(look(16, 71), 0, "over");
    assert_eq!((look(17, 0), look(18, 1)), (0, 1), "lanes that started anew");
}

#[test]
fn who_is_seen_for_the_first_time_is_told_at_once() {
    let (slice, mut flooded) = (slice(), Flooded::default());
    assert!(flooded.look(&slice, [], at(0)).is_empty());
    assert_eq!(flooded.look(&slice, [limited(Whose::Guest(0), 1, 70)], at(1)).len(), 1);
}

#[test]
fn guests_who_flood_are_named_by_port_and_those_who_lost_little_are_not() {
    let (slice, mut flooded) = (slice(), Flooded::default());
    flooded.look(&slice, [], at(0));
    let all = [(1, 9000), (2, 4), (3, 8000), (4, 0)].map(|(last, lost)| limited(Whose::Guest(last), last, lost));
    let [Finding { code, what, help, .. }] = &flooded.look(&slice, all, at(1))[..] else { panic!() };
    assert_eq!(code, "M0683");
    assert!(what.contains("port web-1 and port web-3 send more"), "{what}");
    assert!(help.contains("meshctl port set web-1 --group-rate 100") && help.contains("02:00:00:00:00:01"), "{help}");
}

#[test]
fn a_peer_that_floods_is_named_with_its_guest() {
    let (slice, mut flooded) = (slice(), Flooded::default());
    flooded.look(&slice, [], at(0));
    let peer = |name: &str| Whose::Peer(name.parse().unwrap());
    let all = [limited(peer("b-1"), 5, 9000), limited(peer("b-2"), 4, 1), limited(peer("b-3"), 9, 5000)];
    let told = flooded.look(&slice, all, at(1));
    let [first, second] = &told[..] else { panic!("{told:?}") };
    assert!(first.what.contains("peer b-1 sends more") && first.what.contains("port web-5"), "{first:?}");
    assert!(first.help.contains("on b-1, meshctl status"), "{first:?}");
    assert!(second.what.contains("peer b-3") && second.what.contains("guest 02:00:00:00:00:09"), "{second:?}");
}
