use super::*;

fn seen(release: &str) -> Seen {
    Seen { release: release.parse().ok(), writes: Some(Writes::ALL), checksums: vec![("eth0".parse().unwrap(), true)] }
}

fn decided(switches: Switches, seen: &Seen) -> (Offload, [State; 4], String) {
    let (offload, features) = decide(switches, seen);
    let names: Vec<&str> = features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["udp_segment", "equal_trains", "udp_gro", "tap"]);
    for feature in &features {
        assert_eq!(feature.why.is_some(), feature.help.is_some(), "{feature:?}");
        assert!(feature.state == State::On || feature.why.is_some(), "what is not used has a reason: {feature:?}");
    }
    let why = features.iter().filter_map(|feature| feature.why.clone()).collect::<Vec<_>>().join("\n");
    (offload, std::array::from_fn(|n| features[n].state), why)
}

#[test]
fn the_release_of_a_kernel_is_its_leading_numbers() {
    for (text, numbers) in [
        ("6.18.44-fc-v669", (6, 18, 44)),
        ("7.0-rc1", (7, 0, 0)),
        ("7.1.0-rc3-next", (7, 1, 0)),
        ("5.14.0-503.11.1.el9_5.x86_64", (5, 14, 0)),
        ("4.19", (4, 19, 0)),
        ("6.1.0-28-amd64\n", (6, 1, 0)),
        ("6.6.+", (6, 6, 0)),
    ] {
        let (major, minor, patch) = numbers;
        assert_eq!(text.parse(), Ok(Release::new(major, minor, patch)), "{text}");
    }
    for text in ["", "6", "six.one", "-6.1", "6.", ".6.1", "70000.1", "v6.1"] {
        assert_eq!(text.parse::<Release>(), Err(NoRelease), "{text}");
    }
}

#[test]
fn a_good_machine_uses_everything() {
    let (offload, states, why) = decided(Switches::default(), &seen("6.18.44"));
    assert_eq!((offload, states, why.as_str()), (Offload::default(), [State::On; 4], ""));
}

#[test]
fn trains_of_equal_datagrams_are_avoided_on_the_kernels_that_damage_them_and_on_no_other() {
    let equal = |release: &str, switch| {
        let switches = Switches { equal_trains: switch, ..Switches::default() };
        decided(switches, &seen(release)).0.equal_trains
    };
    for (release, good) in [
        ("6.17.13", true),
        ("6.99.9", true),
        ("7.0-rc1", false),
        ("7.0.0", false),
        ("7.0.14", false),
        ("7.1-rc2", false),
    ] {
        assert_eq!(equal(release, EqualTrains::Auto), good, "{release}");
    }
    for (release, good) in
        [("7.1.4", false), ("7.1.5", true), ("7.2-rc1", true), ("8.0.0", true), ("unheard of", false)]
    {
        assert_eq!(equal(release, EqualTrains::Auto), good, "{release}");
    }
    // A hypervisor may have the fault under a guest that has not, and a distribution may have mended it under its old number.
    assert!(!equal("6.17.0", EqualTrains::Avoid) && equal("7.0.0", EqualTrains::Allow));
}

#[test]
fn joining_on_receipt_needs_linux_5_12() {
    for (release, good) in [("5.11.22", false), ("5.12.0", true), ("5.4.0", false), ("6.1.0", true), ("?", false)] {
        assert_eq!(decided(Switches::default(), &seen(release)).0.receive, good, "{release}");
    }
}

#[test]
fn trains_without_checksums_of_the_interface_need_linux_6_11() {
    let of = |release: &str, checksums: &[(&str, bool)]| {
        let checksums = checksums.iter().map(|(name, makes)| (name.parse().unwrap(), *makes)).collect();
        let (offload, states, why) = decided(Switches::default(), &Seen { checksums, ..seen(release) });
        (offload.trains, states[0], why)
    };
    let (on, state, why) = of("6.10.14", &[("eth0", false)]);
    assert_eq!((on, state), (false, State::Off));
    assert!(why.contains("eth0 makes no checksums"), "{why}");
    let (on, state, why) = of("6.11.0", &[("eth0", false)]);
    assert_eq!((on, state), (true, State::On));
    assert!(why.contains("the CPU does"), "slower, and said: {why}");
    // One of two: the other goes on, and the socket finds out which is which.
    let (on, state, why) = of("6.10.14", &[("eth0", false), ("eth1", true)]);
    assert_eq!((on, state), (true, State::Partly));
    assert!(why.contains("leaves by eth0"), "{why}");
    assert_eq!(of("6.10.14", &[]).1, State::On, "nobody could be asked: the socket finds out");
}

#[test]
fn a_tap_that_refuses_super_frames_gets_none_of_that_kind() {
    for (tcp, udp) in [(false, false), (true, false), (false, true)] {
        let writes = Writes { tcp, udp };
        let (offload, states, _) = decided(Switches::default(), &Seen { writes: Some(writes), ..seen("6.6.44") });
        assert_eq!((offload.writes, offload.tap, states[3]), (writes, true, State::Partly));
    }
    let unknown = Seen { writes: None, ..seen("6.6.44") };
    assert_eq!(decided(Switches::default(), &unknown).0.writes, Writes::ALL, "the lane finds out");
}

#[test]
fn an_operator_switches_each_of_them_off() {
    let off = Switch::Off;
    let switches = Switches { udp_segment: off, udp_gro: off, equal_trains: EqualTrains::Avoid, tap: off };
    let (offload, states, why) = decided(switches, &seen("6.18.44"));
    let none = Offload { trains: false, equal_trains: false, receive: false, tap: false, writes: Writes::NONE };
    assert_eq!((offload, states), (none, [State::Off; 4]));
    assert!(why.contains("udp_gro = \"off\"") && why.contains("equal_trains = \"avoid\""), "{why}");
    assert!(decide(switches, &seen("6.18.44")).1.iter().all(|feature| feature.chosen));
}
