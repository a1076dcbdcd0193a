use super::*;

#[test]
fn a_path_in_use_is_asked_twice_a_second_and_an_idle_one_twice_a_minute() {
    for (interface, in_use, few, many) in
        [(1500, true, 110, 130), (9000, true, 110, 150), (1500, false, 1, 5), (9000, false, 2, 12)]
    {
        let mut world = World::new(interface, 1500, 1500);
        assert!(world.exact_within(secs(5)));
        world.in_use = in_use;
        world.run(secs(60));
        let before = world.probes.len();
        world.run(secs(60));
        let sent = world.probes.len() - before;
        assert!((few..=many).contains(&sent), "interface {interface}, in use {in_use}: {sent} probes a minute");
    }
}

#[test]
fn small_datagrams_are_no_use_of_the_path() {
    let mut world = World::new(1500, 1500, 1500);
    world.in_use = false;
    world.run(secs(60));
    let before = world.probes.len();
    for _ in 0..6000 {
        world.paths.used(PEER, BASE, world.now);
        world.run(millis(10));
    }
    assert!(world.probes.len() - before <= 5);
}

#[test]
fn the_answering_side_is_never_asked_more_than_it_answers() {
    for mtu in [1201, 1433, 1500, 5001, 8999, 9000, 1200] {
        let mut world = World::new(9000, 9000, 9000);
        assert!(world.exact_within(secs(5)));
        world.mtu = mtu;
        world.run(secs(40));
        world.mtu = 9000;
        world.run(secs(60));
        // As `forward::Rate::CONTROL` counts: so many at once, so many a second.
        let mut bucket = crate::forward::Bucket::default();
        for (at, size) in &world.probes {
            assert!(bucket.take(crate::forward::Rate::CONTROL, *at), "at {at:?}, {size} bytes");
        }
    }
}

#[test]
fn a_path_that_carries_less_than_the_base_size_is_told_as_that_and_not_as_dead() {
    for (mtu, little) in [(1000, 1000), (1199, 1000), (999, 800), (400, 300), (152, 152)] {
        for in_use in [false, true] {
            let mut world = World::new(1500, 1500, 1500);
            world.in_use = in_use;
            world.run(secs(40));
            world.mtu = mtu;
            // Never without the size: no moment in which it seems dead.
            let dead = |world: &World| world.status().silent.is_some() && world.status().little.is_none();
            assert!(!world.run_until(secs(40), dead), "{mtu} in use {in_use}");
            assert_eq!(world.status().little, Some(little), "{mtu} in use {in_use}");
            // Then nothing passes any more, and that is known soon; then all does.
            world.mtu = 0;
            assert!(world.run_until(secs(10), dead), "{mtu} in use {in_use}");
            world.mtu = 1500;
            assert!(world.run_until(secs(40), |world| world.status().silent.is_none()));
            assert!(world.exact_within(secs(5)) && world.status().little.is_none());
        }
    }
}

#[test]
fn five_hundred_idle_paths_cost_forty_probes_a_second_spread_out() {
    let mut paths = Paths::default();
    let mut now = Mono::from_nanos(1_000_000_000_000);
    let configs: Vec<PathConfig> =
        (0..500).map(|n| PathConfig { peer: PeerSlot(n), interface_mtu: 9000, assumed: 1500 }).collect();
    paths.set(&configs, now);
    configs.iter().for_each(|config| paths.up(config.peer, now));
    let (mut probes, mut turns, mut token) = (0u32, 0u32, 1u64);
    let end = now + secs(300);
    while let Some(due) = paths.poll_timeout().filter(|due| *due < end) {
        now = now.max(due);
        turns += u32::from(now >= end - secs(100));
        paths.handle_timeout(now, &mut || {
            token = token.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            token
        });
        while let Some(probe) = paths.poll_probe() {
            probes += u32::from(now >= end - secs(100));
            if probe.size <= 1500 {
                paths.answered(probe.peer, probe.token, now + millis(1));
            }
        }
    }
    assert!(paths.status().all(|(_, status)| status.size == 1500 && status.phase == Phase::Complete));
    assert!(probes <= 100 * 50, "{probes} probes in 100 seconds");
    assert!(turns <= 100 * 120, "{turns} turns in 100 seconds");
}

#[test]
fn a_peer_that_is_heard_shows_a_direction_only_where_it_was_asked_since_in_vain() {
    for in_use in [false, true] {
        let mut world = World::new(1500, 1500, 1500);
        world.in_use = in_use;
        world.run(secs(40));
        // Nothing passes either way.
        world.loss = 1000;
        world.run(secs(60));
        assert!(world.status().silent.is_some() && !world.status().one_way);
        // It is over: the peer is heard, and asked at once.
        world.loss = 0;
        let mut back = None;
        for tick in 0..20 {
            world.paths.heard(PEER, world.now, world.now);
            world.run(millis(500));
            assert!(!world.status().one_way, "the break is over, and not one of what is sent from here");
            back = back.or_else(|| world.status().silent.is_none().then_some(tick));
        }
        assert!(back.is_some_and(|ticks| ticks <= 8), "it is asked soon: {back:?}");
        // Now only what is sent from here is lost.
        world.loss = 1000;
        let mut named = None;
        for tick in 0..80 {
            world.paths.heard(PEER, world.now, world.now);
            world.run(millis(500));
            named = named.or_else(|| world.status().one_way.then_some(tick));
        }
        assert!(named.is_some_and(|ticks| ticks <= 70), "{named:?}");
        // Heard while a question is under way that left before: that it is lost shows nothing.
        world.loss = 0;
        world.run(secs(60));
        world.loss = 1000;
        world.run(secs(60));
        let asked = world.probes.len();
        assert!(world.run_until(secs(60), |world| world.probes.len() > asked));
        world.paths.heard(PEER, world.now, world.now);
        let asked = world.probes.len();
        // Until the next question has been lost as well.
        let next = |world: &World| world.probes.len() > asked || world.status().one_way;
        assert!(world.run_until(secs(60), next));
        assert!(world.status().silent.is_some() && !world.status().one_way);
        // And then both again, for long; whoever is heard after that has not been asked since.
        world.run(secs(60));
        world.paths.heard(PEER, world.now, world.now);
        assert!(!world.status().one_way);
    }
}
