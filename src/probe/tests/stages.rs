use super::*;

#[test]
fn an_ordinary_path_is_known_after_one_round_trip() {
    let mut world = World::new(1500, 1500, 1500);
    assert_eq!(world.status().phase, Phase::Base, "nothing is measured yet");
    assert!(world.exact_within(millis(25)), "{:?}", world.status());
    assert_eq!(world.probes.len(), 1);
    assert!(world.settled.is_empty(), "it is what it was taken for: nothing to tell");
}

#[test]
fn without_a_session_nothing_is_sent() {
    let mut world = World::new(1500, 1500, 1500);
    world.run(secs(1));
    world.paths.down(PEER);
    let sent = world.probes.len();
    world.run(secs(100));
    assert_eq!(world.probes.len(), sent);
    assert_eq!(world.size, 1500);
    world.mtu = 1400;
    world.paths.up(PEER, world.now);
    world.worst = Duration::ZERO;
    assert!(world.exact_within(secs(4)), "{:?}", world.status());
}

#[test]
fn a_path_that_is_down_keeps_its_size() {
    let mut world = World::new(1500, 1500, 1433);
    assert!(world.exact_within(secs(5)));
    world.mtu = 0;
    world.run(secs(100));
    assert_eq!((world.size, world.status().phase), (1433, Phase::Error));
    // It comes back smaller.
    world.mtu = 1300;
    (world.black_since, world.worst) = (None, Duration::ZERO);
    assert!(world.exact_within(secs(10)), "{:?}", world.status());
    assert!(world.worst < secs(3), "{:?}", world.worst);
}

#[test]
fn a_peer_that_answers_no_echo_keeps_the_computed_size() {
    let mut world = World::new(1500, 1480, 0);
    world.run(secs(20));
    assert_eq!((world.size, world.status().phase), (1480, Phase::Error));
    let before = world.probes.len();
    world.run(secs(300));
    let sent = world.probes.len() - before;
    assert!((10..60).contains(&sent), "{sent} probes in five minutes to somebody who never answers");
    assert!(world.settled.is_empty());
}

#[test]
fn a_smaller_interface_counts_at_once_and_a_larger_one_is_tried() {
    let mut world = World::new(9000, 9000, 9000);
    assert!(world.exact_within(secs(1)));
    world.reconfigure(1500, 1500);
    assert_eq!(world.size, 1500, "before any probe");
    assert!(world.exact_within(secs(1)));
    world.reconfigure(4000, 1500);
    assert_eq!(world.size, 1500, "not before a probe");
    assert!(world.exact_within(secs(1)), "{:?}", world.status());
    assert_eq!(world.fallen, 0);
}

#[test]
fn an_interface_that_is_smaller_than_was_said_is_found_out() {
    let mut world = World::new(1500, 1500, 9000);
    world.interface = 1450;
    world.size = 1450;
    assert!(world.run_until(secs(5), |w| w.status().size == 1450 && w.status().phase == Phase::Complete));
}

#[test]
fn a_hint_asks_and_does_not_believe() {
    let mut world = World::new(1500, 1500, 1500);
    world.in_use = false;
    world.run(secs(5));
    let before = world.probes.len();
    for _ in 0..1000 {
        world.paths.hint(PEER, world.now);
        world.run(millis(1));
    }
    assert_eq!(world.size, 1500);
    let sent = world.probes.len() - before;
    assert!((1..=9).contains(&sent), "{sent} probes for a thousand hints in a second");
    world.mtu = 1400;
    world.paths.hint(PEER, world.now);
    assert!(world.exact_within(secs(3)), "an idle path asks when it is told to: {:?}", world.status());
}

#[test]
fn an_answer_nobody_asked_for_changes_nothing() {
    let mut world = World::new(9000, 9000, 1500);
    assert!(world.exact_within(secs(5)));
    let before = world.status();
    for token in 0..1000 {
        assert!(!world.paths.answered(PEER, token, world.now));
        assert!(!world.paths.answered(PeerSlot(0), token, world.now));
    }
    assert_eq!(world.status(), before);
}

#[test]
fn an_answer_from_before_the_fall_does_not_raise_the_size_again() {
    let mut world = World::new(1500, 1500, 1500);
    world.run(millis(400));
    // An answer is on its way for a long time, and the path shrinks behind it.
    let late = std::cell::Cell::new(0);
    assert!(world.run_until(secs(2), |w| {
        late.set(w.answers.iter().next_back().map_or(0, |(_, token)| *token));
        late.get() != 0
    }));
    world.answers.clear();
    world.mtu = 1400;
    assert!(world.run_until(secs(3), |w| w.size == BASE));
    assert!(!world.paths.answered(PEER, late.get(), world.now));
    assert_eq!(world.status().size, BASE);
    assert!(world.exact_within(secs(3)));
}

#[test]
fn a_peer_that_moves_is_measured_anew() {
    let mut world = World::new(9000, 1500, 1500);
    assert!(world.exact_within(secs(5)));
    world.mtu = 9000;
    world.paths.moved(PEER, world.now);
    assert!(world.exact_within(secs(1)), "without waiting for the next look: {:?}", world.status());
}

#[test]
fn a_path_that_is_gone_is_forgotten() {
    let mut world = World::new(1500, 1500, 1500);
    world.run(secs(1));
    world.paths.set(&[], world.now);
    assert_eq!(world.paths.status().count(), 0);
    assert_eq!(world.paths.poll_timeout(), None);
    world.paths.used(PEER, 1500, world.now);
    world.paths.up(PEER, world.now);
    assert!(!world.paths.answered(PEER, 1, world.now));
}
