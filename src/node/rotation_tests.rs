use proptest::prelude::*;

use super::*;

const OLD: PublicKey = PublicKey([1; 32]);
const NEW: PublicKey = PublicKey([2; 32]);

fn key(byte: u8) -> PublicKey {
    PublicKey([byte; 32])
}

fn said(current: PublicKey, next: Option<PublicKey>, replace: bool) -> OwnKeys {
    OwnKeys { current, next, replace }
}

#[test]
fn every_state_of_the_disk_and_of_the_management_node_has_its_step() {
    let held = |current, next| Held { current, next };
    for (disk, management, wanted) in [
        (held(OLD, None), said(OLD, None, false), Step::Stay),
        (held(OLD, None), said(OLD, None, true), Step::Make),
        // Made, the report is under way or lost.
        (held(OLD, Some(NEW)), said(OLD, None, true), Step::Stay),
        (held(OLD, Some(NEW)), said(OLD, None, false), Step::Stay),
        (held(OLD, Some(NEW)), said(OLD, Some(NEW), false), Step::Stay),
        (held(OLD, Some(NEW)), said(NEW, None, false), Step::Promote),
        // Promoted, but the slice on disk is older than that.
        (held(NEW, None), said(OLD, Some(NEW), false), Step::Stay),
        (held(NEW, None), said(OLD, None, true), Step::Stay),
        (held(NEW, None), said(NEW, None, true), Step::Make),
    ] {
        assert_eq!(step(disk, &management), wanted, "{disk:?} {management:?}");
    }
}

#[test]
fn the_old_key_goes_when_every_session_that_there_is_is_new() {
    assert!(in_use(NEW, []), "nobody to ask");
    assert!(!in_use(NEW, [None, None]), "nobody has shown that it knows the new key");
    assert!(!in_use(NEW, [Some(NEW), Some(OLD)]));
    assert!(in_use(NEW, [Some(NEW), None]));
}

/// The management node of the property: what it does with reports is [`crate::mgmt::rotation`]'s; here it is three lines.
#[derive(Debug, Clone)]
struct World {
    disk: Held,
    management: OwnKeys,
    /// What the node last saw of the management node: its slice on disk.
    slice: OwnKeys,
    made: u8,
}

impl World {
    /// The keys that peers may use are all held here.
    fn holds(&self) -> bool {
        let held = |key: PublicKey| key == self.disk.current || Some(key) == self.disk.next;
        // A key that the management node takes for the one in force but that was replaced on disk is one that peers know
        // beside the new one.
        let reachable = held(self.management.current) || self.management.next.is_some_and(held);
        reachable && self.management.next.is_none_or(held)
    }
}

proptest! {
    /// Any order of slices that arrive, reports that arrive or are lost, and crashes (which lose nothing but what is not on disk).
    #[test]
    fn the_node_always_holds_a_key_that_its_peers_use(events in prop::collection::vec(0_u8..5, 1..60)) {
        let keys = said(OLD, None, false);
        let mut world = World { disk: Held { current: OLD, next: None }, management: keys, slice: keys, made: 1 };
        for event in events {
            match event {
                0 => world.management.replace = world.management.next.is_none(),
                1 => world.slice = world.management,
                2 => match step(world.disk, &world.slice) {
                    Step::Stay => {}
                    Step::Make => {
                        world.made += 1;
                        world.disk.next = Some(PublicKey([world.made; 32]));
                    }
                    Step::Promote => world.disk = Held { current: world.disk.next.unwrap(), next: None },
                },
                3 => if let Some(next) = world.disk.next.filter(|next| *next != world.management.current) {
                    world.management.next = Some(next);
                    world.management.replace = false;
                },
                _ => if announced(world.disk, &world.slice) && world.management.next == world.disk.next {
                    world.management = said(world.disk.next.unwrap(), None, false);
                },
            }
            prop_assert!(world.holds(), "{world:?}");
        }
    }
}

#[test]
fn a_key_that_the_management_node_has_and_this_node_has_not_is_told() {
    let held = |current, next: Option<u8>| Held { current: key(current), next: next.map(key) };
    let says = |current, next: Option<u8>| said(key(current), next.map(key), false);
    for (what, held, said, expected) in [
        ("as it should be", held(1, None), says(1, None), None),
        ("made, not yet reported", held(1, Some(2)), says(1, None), None),
        ("under way", held(1, Some(2)), says(1, Some(2)), None),
        ("switched, not yet promoted", held(1, Some(2)), says(2, None), None),
        ("promoted, an older slice", held(2, None), says(1, Some(2)), None),
        ("somebody else's", held(1, None), says(9, None), Some(9)),
        ("somebody else's, during a change", held(1, Some(2)), says(9, None), Some(9)),
        ("somebody else's is to follow", held(1, None), says(1, Some(9)), Some(9)),
        ("somebody else's is to follow, during a change", held(1, Some(2)), says(1, Some(9)), Some(9)),
    ] {
        assert_eq!(strange(held, &said), expected.map(key), "{what}");
    }
}
