use super::*;
use crate::api::local::Management;
use crate::meshd::lanes::Lanes;
use crate::node::unwatched::UNWATCHED;
use crate::types::SecretKey;

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

#[test]
fn an_engine_that_stands_still_is_told_here_and_to_management_until_it_works_again() {
    let lanes = Lanes::start(0, "51820".parse().unwrap(), SecretKey::from_bytes([1; 32]), Default::default()).unwrap();
    let shared = Shared::new("a-1".parse().unwrap(), "a".parse().unwrap(), Management::Files, lanes);
    let told = |now| {
        look(&shared, now);
        let status = status::status(&shared).problems;
        let management = shared.outgoing.borrow().findings.clone();
        let of = |all: Vec<crate::api::local::Finding>| -> Vec<String> {
            all.into_iter().filter(|one| one.code == UNWATCHED).map(|one| one.what).collect()
        };
        (of(status), of(management))
    };
    assert_eq!(told(at(500)), (vec![], vec![]), "it has not begun");
    shared.engine.strike(at(500));
    assert_eq!(told(at(619)), (vec![], vec![]), "a long step");
    told(at(621));
    let (status, management) = told(at(627));
    assert!(status.len() == 1 && status[0].contains("the engine of meshd stands still"), "{status:?}");
    assert_eq!(status, management);
    shared.engine.strike(at(628));
    told(at(629));
    // The engine does this in every turn.
    shared.tell_unwatched(at(629));
    assert_eq!(told(at(629)).0, Vec::<String>::new());
}

#[test]
fn what_holds_the_engine_up_is_told_in_seconds_and_in_the_place_of_what_is_not_known() {
    let mut eyes = Eyes::default();
    let held = || Some("it waits for a disk".to_owned());
    let told = |eyes: &Eyes, now| eyes.findings(at(now), false).into_iter().map(|one| one.what).collect::<Vec<_>>();
    assert!(!stands(&mut eyes, None, false, at(0)));
    assert!(stands(&mut eyes, held(), false, at(10)));
    assert!(stands(&mut eyes, held(), false, at(15)));
    assert!(
        matches!(told(&eyes, 15).as_slice(), [one] if one.contains("it waits for a disk")),
        "{:?}",
        told(&eyes, 15)
    );
    assert!(stands(&mut eyes, held(), true, at(130)));
    assert_eq!(told(&eyes, 140).len(), 1, "one cause is told once");
    assert!(stands(&mut eyes, None, true, at(145)));
    assert!(matches!(told(&eyes, 151).as_slice(), [one] if one.contains("stands still")), "{:?}", told(&eyes, 151));
    assert!(!stands(&mut eyes, None, false, at(155)));
    assert_eq!(told(&eyes, 200), Vec::<String>::new());
}
