use super::*;

fn at(seconds: u64) -> Mono {
    Mono::default() + Duration::from_secs(seconds)
}

#[test]
fn whatever_cannot_look_is_told_while_that_lasts_and_ends_when_it_looks_again() {
    for eye in Eye::ALL {
        let mut eyes = Eyes::default();
        assert!(eyes.findings(at(0), false).is_empty());
        eyes.fails(eye, "first".to_owned(), at(1));
        assert!(eyes.findings(at(5), false).is_empty(), "{eye:?}: a moment is none");
        eyes.fails(eye, "the reason".to_owned(), at(4));
        let found = eyes.findings(at(6), false);
        let [one] = found.as_slice() else { panic!("{eye:?}: {found:?}") };
        assert!(one.code == UNWATCHED && one.what.contains("the reason") && !one.help.is_empty(), "{one:?}");
        assert!(one.cut.is_some(), "{one:?} says what it cuts");
        eyes.works(eye);
        assert!(eyes.findings(at(60), false).is_empty(), "{eye:?} has ended");
    }
}

#[test]
fn whatever_has_ended_is_told_at_once_and_stays_told_whatever_is_said_later() {
    for eye in Eye::ALL {
        let mut eyes = Eyes::default();
        eyes.ended(eye, "its thread is gone".to_owned(), at(1));
        eyes.works(eye);
        eyes.fails(eye, "another".to_owned(), at(2));
        eyes.ended(eye, "later".to_owned(), at(2));
        let found = eyes.findings(at(2), false);
        assert!(found.len() == 1 && found[0].what.contains("its thread is gone"), "{found:?}");
        assert_eq!(found[0].help, RESTART);
    }
}

#[test]
fn one_cause_is_not_told_twice() {
    let mut eyes = Eyes::default();
    for eye in Eye::ALL {
        eyes.fails(eye, "why".to_owned(), at(0));
    }
    // Bridges are looked at by the thread of plain paths; what the kernel refuses is a finding.
    assert_eq!((eyes.findings(at(9), false).len(), eyes.findings(at(9), true).len()), (14, 9));
    eyes.works(Eye::Plain);
    assert_eq!(eyes.findings(at(9), false).len(), 14);
}

#[test]
fn where_nobody_looks_at_bridges_no_frame_is_said_to_arrive() {
    let mut eyes = Eyes::default();
    eyes.fails(Eye::Bridges, "why".to_owned(), at(0));
    assert_eq!(eyes.findings(at(9), false)[0].cut, Some(Cut::node(false)));
}

#[test]
fn a_thread_that_the_kernel_holds_up_is_not_healed_by_a_restart() {
    let mut eyes = Eyes::default();
    eyes.fails(Eye::Held, "it waits".to_owned(), at(0));
    let found = eyes.findings(at(9), false);
    assert!(found[0].what.contains("it waits") && found[0].help.starts_with("ps -eLo"), "{found:?}");
    assert!(!found[0].help.contains("systemctl restart"), "{found:?}");
}
