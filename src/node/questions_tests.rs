use super::*;

fn guest() -> Guest {
    ("default/10".parse().unwrap(), "02:00:00:00:00:03".parse().unwrap())
}

fn asked() -> Questions {
    let mut questions = Questions::default();
    questions.set(&[Contested { network: guest().0, mac: guest().1, by: "b".parse().unwrap() }]);
    questions
}

fn at(millis: u64) -> Mono {
    Mono::from_nanos((100_000 + millis) * 1_000_000)
}

/// What is known of the guest, if it was last heard then.
fn own(now: Mono, heard: Option<Mono>, askable: bool) -> Option<Own> {
    Some(Own { interface: "tap1".parse().unwrap(), heard: heard.map(|heard| now.since(heard)), askable })
}

/// Steps until a time, with a look each tenth of a second.
fn steps(questions: &mut Questions, to: u64, heard: impl Fn(Mono) -> Option<Mono>, askable: bool) -> Vec<(u64, Step)> {
    let looks = (0..=to).step_by(100);
    looks
        .flat_map(|millis| {
            let now = at(millis);
            let steps = questions.tend(now, |_| own(now, heard(now), askable));
            steps.into_iter().map(move |(_, step)| (millis, step)).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn a_guest_that_does_not_answer_three_times_is_let_go_within_a_second() {
    for heard in [None, Some(at(0) - Duration::from_millis(1))] {
        let mut questions = asked();
        let steps = steps(&mut questions, 5_000, |_| heard, true);
        assert_eq!(steps, [(0, Step::Ask), (200, Step::Ask), (400, Step::Ask), (800, Step::LetGo)]);
        assert!(!questions.is_asking() && questions.findings().is_empty());
    }
}

#[test]
fn a_guest_that_answers_stays_and_is_asked_again_later() {
    for answered in [100, 350, 750] {
        let mut questions = asked();
        let heard = |now: Mono| (now >= at(answered)).then(|| at(answered));
        let first = steps(&mut questions, 10_000, heard, true);
        assert!(first.iter().all(|(_, step)| *step == Step::Ask) && first.len() <= 3, "{first:?}");
        let told = questions.findings();
        assert!(told.len() == 1 && told[0].code == "M0698" && told[0].what.contains("tap1"), "{told:?}");
        // It went meanwhile.
        let later = at(12_000);
        assert_eq!(questions.tend(later, |_| own(later, Some(at(answered)), true)), [(guest(), Step::Ask)]);
    }
}

#[test]
fn a_guest_that_cannot_be_asked_stays_and_that_is_told() {
    let mut questions = asked();
    let steps = steps(&mut questions, 3_000, |_| None, false);
    assert!(steps.len() == 3 && steps.iter().all(|(_, step)| *step == Step::Ask), "{steps:?}");
    assert!(questions.findings()[0].what.contains("no IP address"));
}

#[test]
fn who_is_claimed_no_more_is_asked_no_more() {
    let mut questions = asked();
    assert_eq!(steps(&mut questions, 0, |_| None, true).len(), 1);
    questions.set(&[]);
    assert!(!questions.is_asking() && steps(&mut questions, 3_000, |_| None, true).is_empty());
}

#[test]
fn the_same_list_again_does_not_begin_anew() {
    let mut questions = asked();
    steps(&mut questions, 600, |_| None, true);
    questions.set(&[Contested { network: guest().0, mac: guest().1, by: "b".parse().unwrap() }]);
    let now = at(1_000);
    assert_eq!(questions.tend(now, |_| own(now, None, true)), [(guest(), Step::LetGo)]);
}

#[test]
fn questions_are_what_a_guest_answers() {
    let mac = guest().1;
    let all = frames(mac, &["192.0.2.7".parse().unwrap(), "fd00::7".parse().unwrap()].into());
    assert_eq!(all.len(), 3, "each address, and the usual one");
    assert!(all.iter().all(|frame| Ethernet::parse(frame).unwrap().destination == mac));
    let arp = Arp::parse(&all[0][Ethernet::LEN..]).unwrap();
    assert!(
        arp.sender_ip.is_unspecified() && arp.target_ip.to_string() == "192.0.2.7" && arp.operation == arp::REQUEST
    );
    for (frame, target) in [(&all[1], "fd00::7".parse().unwrap()), (&all[2], nd::link_local(mac))] {
        let packet = &frame[Ethernet::LEN..];
        let header = Ipv6::parse(packet).unwrap();
        assert!(header.hop_limit == 255 && header.destination == target && !header.source.is_unspecified());
        let message = &packet[Ipv6::LEN..];
        assert!(nd::checksum_holds(message, header.source, header.destination));
        assert_eq!(Solicitation::parse(message).unwrap().target, target);
    }
}

#[test]
fn a_guest_that_was_never_here_is_denied_and_again_later() {
    let mut questions = asked();
    assert_eq!(questions.tend(at(0), |_| None), [(guest(), Step::Deny)]);
    assert!(!questions.is_asking() && questions.findings().is_empty());
    assert_eq!(questions.tend(at(9_000), |_| None), []);
    assert_eq!(questions.tend(at(10_000), |_| None), [(guest(), Step::Deny)]);
    // It has come here since.
    assert_eq!(questions.tend(at(20_000), |_| own(at(20_000), None, true)), [(guest(), Step::Ask)]);
}
