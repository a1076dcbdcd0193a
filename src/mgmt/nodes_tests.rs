use super::*;
use crate::node::concerns::tests::codes::as_decided;
use crate::types::Version;

const STARTED: Wall = Wall::from_secs(1_800_000_000);

fn line() -> NodeLine {
    NodeLine {
        node: "a-1".parse().unwrap(),
        pdc: "a".parse().unwrap(),
        foreign: false,
        quarantined: false,
        joined: Some(Wall::from_secs(1)),
        left: false,
        connected: true,
        seen: Some(STARTED),
        acknowledged: Some(Version { incarnation: 1, revision: 7 }),
        in_sync: true,
        expected: false,
        unreported: false,
        changing: false,
        daemon: None,
    }
}

/// M0107 and M0286 are about a node in each of their forms; of one whose machine has left, and of one in quarantine, surely.
#[test]
fn a_node_that_is_behind_is_about_what_is_decided_of_it() {
    let unreported = NodeLine { unreported: true, ..line() };
    as_decided(&[stands(&unreported, STARTED).unwrap()]);
    for node in [NodeLine { in_sync: false, ..line() }, NodeLine { in_sync: false, changing: true, ..line() }] {
        let found = stands(&node, STARTED).unwrap();
        assert_eq!(found.code, "M0108");
        as_decided(&[found]);
    }
    let quarantined = NodeLine { quarantined: true, ..line() };
    as_decided(&[stands(&quarantined, STARTED).unwrap()]);
}

#[test]
fn a_node_that_is_away_behind_gone_or_shut_out_is_told_and_is_in_the_way_and_one_that_is_expected_is_only_not_known() {
    let away = NodeLine { connected: false, in_sync: false, ..line() };
    // What, whether it is a problem, and whether frames surely end there (none: nothing is in the way).
    let table: [(&str, NodeLine, Option<&str>, Option<bool>); 11] = [
        ("well", line(), None, None),
        ("away", away.clone(), Some("M0107"), Some(false)),
        ("not heard yet", NodeLine { expected: true, seen: None, ..away.clone() }, None, Some(false)),
        ("never heard", NodeLine { seen: None, ..away.clone() }, Some("M0107"), Some(false)),
        ("left", NodeLine { left: true, ..away.clone() }, Some("M0107"), Some(true)),
        (
            "left, and then the table changed",
            NodeLine { left: true, changing: true, ..away.clone() },
            Some("M0107"),
            Some(true),
        ),
        ("unheard", NodeLine { unreported: true, in_sync: false, ..line() }, Some("M0125"), Some(false)),
        ("behind", NodeLine { in_sync: false, ..line() }, Some("M0108"), Some(false)),
        ("on its way", NodeLine { in_sync: false, changing: true, ..line() }, None, Some(false)),
        ("quarantined", NodeLine { quarantined: true, ..away.clone() }, None, Some(true)),
        ("foreign", NodeLine { foreign: true, joined: None, ..away }, None, None),
    ];
    for (what, node, problem, surely) in table {
        assert_eq!(wrong(&node, STARTED).map(|finding| finding.code).as_deref(), problem, "{what}");
        let cut = stands(&node, STARTED).and_then(|finding| finding.cut);
        assert_eq!(cut.as_ref().map(|cut| cut.surely), surely, "{what}");
        assert!(cut.is_none_or(|cut| cut.node), "{what}: all of its guests");
    }
    let text = |node: &NodeLine| wrong(node, STARTED).unwrap().what;
    let gone = NodeLine { connected: false, ..line() };
    assert!(text(&gone).contains("heard last at 2027"), "{}", text(&gone));
    let never = NodeLine { seen: None, ..gone };
    assert!(
        text(&never).contains("has not been heard since the management server started at 2027"),
        "{}",
        text(&never)
    );
}
