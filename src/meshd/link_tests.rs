use super::*;
use crate::types::Version;

fn outgoing(revision: u64) -> Outgoing {
    Outgoing { applied: Some(Version { incarnation: 1, revision }), facts: None, ports: Vec::new(), paths: Vec::new() }
}

#[test]
fn a_new_connection_is_told_everything_and_later_only_what_changed() {
    let first = difference(None, &outgoing(1));
    assert_eq!((first.applied.map(|v| v.revision), first.ports), (Some(1), Some(Vec::new())));
    let next = difference(Some(&outgoing(1)), &outgoing(2));
    assert_eq!((next.applied.map(|v| v.revision), next.ports), (Some(2), None));
    let same = difference(Some(&outgoing(2)), &outgoing(2));
    assert!(same.applied.is_none() && same.facts.is_none() && same.ports.is_none());
}

#[test]
fn certificates_are_renewed_at_two_thirds_of_their_life() {
    let at = |secs| Wall::from_secs(secs);
    assert_eq!(due((at(1000), at(4000))), at(3000));
    assert_eq!(due((at(1000), at(1000))), at(1000));
    assert!(due((at(4000), at(1000))) <= at(4000), "an impossible certificate is renewed at once");
}
