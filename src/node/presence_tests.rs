use serde_json::json;

use super::*;
use crate::node::desired::{Bridge, Kind, Link, Place};
use crate::node::plan::tests as plans;

const BLUE: &str = "vb10.12b5";

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// A node with `count` guests behind `tap0`, `tap1` and so on.
fn slice(count: u8) -> Slice {
    let mut slice = plans::slice("suppress", json!({}));
    slice.rows.clear();
    for n in 0..count {
        let row = json!({"node": slice.node, "interface": format!("tap{n}"), "port": format!("vm-{n}")});
        let key = format!("default/10/-/02:00:00:00:00:{n:02x}").parse().unwrap();
        slice.rows.insert(key, serde_json::from_value(row).unwrap());
    }
    slice
}

fn desired(slice: &Slice) -> Desired {
    plans::planned(slice, &plans::local()).desired
}

/// A host whose interfaces stand there.
fn host(stand: &[(&str, Option<&str>, bool)]) -> Observed {
    let mut observed = Observed::default();
    let link = |alias: Option<&str>| Link {
        kind: Kind::Bridge(Bridge::OURS),
        alias: alias.map(str::to_owned),
        mtu: 1500,
        up: true,
        no_addresses: true,
        port: None,
    };
    observed.links.insert(name(BLUE), link(Some("vxmesh:default/10")));
    observed.links.insert(name("vb11.12b5"), link(Some("vxmesh:default/11")));
    for (index, (of, master, up)) in (10..).zip(stand) {
        let place = Place { index, master: master.map(str::to_owned), up: *up, card: false };
        observed.places.insert(name(of), place);
    }
    observed
}

fn at(seconds: u64) -> (Mono, Wall) {
    (Mono::from_nanos(seconds * 1_000_000_000), Wall::from_secs(1_800_000_000 + seconds))
}

fn codes(presence: &Presence, slice: &Slice, seconds: u64) -> Vec<String> {
    presence.findings(slice, at(seconds).0).into_iter().map(|finding| finding.code).collect()
}

#[test]
fn each_place_where_a_guest_does_not_belong_has_a_finding_and_the_right_one_has_none() {
    let (slice, plugs) = (slice(1), Plugs::default());
    let desired = desired(&slice);
    for (place, code) in [
        (("tap0", Some(BLUE), true), None),
        (("tap0", Some(BLUE), false), Some("M0674")),
        (("tap0", Some("virbr0"), true), Some("M0670")),
        (("tap0", Some("#17"), true), Some("M0670")),
        (("tap0", Some("vb11.12b5"), true), Some("M0670")),
        (("tap0", None, true), Some("M0672")),
    ] {
        let mut presence = Presence::default();
        presence.learn(&desired, &host(&[place]), &plugs, at(0));
        presence.learn(&desired, &host(&[place]), &plugs, at(2));
        assert_eq!(codes(&presence, &slice, 2), [""; 0], "who plugs in a guest does it in several steps");
        // A look that comes late has nothing to say of the time since the one before.
        assert_eq!(codes(&presence, &slice, 9), [""; 0], "{place:?}");
        assert_eq!(presence.again(), code.map(|_| at(3).0), "{place:?}");
        presence.learn(&desired, &host(&[place]), &plugs, at(3));
        assert_eq!(presence.again(), None, "it has stood long enough");
        assert_eq!(codes(&presence, &slice, 3), code.into_iter().collect::<Vec<_>>(), "{place:?}");
        for finding in presence.findings(&slice, at(3).0) {
            assert!(finding.what.contains("port vm-0") && finding.what.contains("tap0"), "{finding:?}");
            assert!(finding.what.contains("network blue"), "{finding:?}");
        }
        assert_eq!(presence.plugged(&"default/10".parse().unwrap()), usize::from(code.is_none()), "{place:?}");
    }
}

#[test]
fn an_interface_of_the_host_that_a_port_names_is_told_as_that_alone() {
    let (slice, plugs) = (slice(1), Plugs::default());
    let desired = desired(&slice);
    let mut observed = host(&[("tap0", None, true)]);
    observed.addressed.insert(name("tap0"));
    let mut presence = Presence::default();
    presence.learn(&desired, &observed, &plugs, at(0));
    assert_eq!(
        codes(&presence, &slice, 3),
        [""; 0],
        "nobody has pulled it out of a bridge (M0672): M0617 is said elsewhere"
    );
    assert_eq!(presence.plugged(&"default/10".parse().unwrap()), 0);
}

#[test]
fn what_goes_while_its_guest_is_at_work_is_told_for_an_hour_or_until_it_is_back() {
    let (slice, plugs) = (slice(1), Plugs::default());
    let (desired, net) = (desired(&slice), "default/10".parse().unwrap());
    let there = |ago| {
        let mut host = host(&[("tap0", Some(BLUE), true)]);
        host.heard
            .entry(name("tap0"))
            .or_default()
            .insert("02:00:00:00:00:00".parse().unwrap(), Duration::from_secs(ago));
        host
    };
    for (heard, told) in [(0, true), (20, true), (200, false)] {
        let mut presence = Presence::default();
        presence.learn(&desired, &there(heard), &plugs, at(1000));
        presence.learn(&desired, &host(&[]), &plugs, at(1030));
        let absent = presence.missing(&net);
        assert_eq!((absent[0].at.clone(), absent[0].since), (At::Absent, Some(at(1030).1)));
        let code: Vec<&str> = told.then_some("M0673").into_iter().collect();
        for later in [1030, 1200, 1030 + 3599] {
            presence.learn(&desired, &host(&[]), &plugs, at(later));
            assert_eq!(codes(&presence, &slice, later), code, "{heard} {later}");
        }
        assert_eq!(presence.missing(&net)[0].since, Some(at(1030).1), "since then, not since the last look");
        assert_eq!(codes(&presence, &slice, 1030 + 3600), [""; 0], "a guest that was shut down is no fault for ever");
        presence.learn(&desired, &there(0), &plugs, at(9000));
        assert_eq!((codes(&presence, &slice, 9000), presence.missing(&net)), (Vec::new(), Vec::new()));
    }
    let mut fresh = Presence::default();
    fresh.learn(&desired, &host(&[]), &plugs, at(0));
    assert_eq!(codes(&fresh, &slice, 0), [""; 0], "one that was never there is absent and no finding");
    assert_eq!(fresh.missing(&net).len(), 1);
}

#[test]
fn a_guest_without_a_carrier_is_told_where_it_was_at_work_and_is_listed_in_any_case() {
    let (slice, plugs) = (slice(1), Plugs::default());
    let (desired, net) = (desired(&slice), "default/10".parse().unwrap());
    let host = |dark: bool, heard: Option<u64>| {
        let mut host = host(&[("tap0", Some(BLUE), true)]);
        host.dark.extend(dark.then(|| name("tap0")));
        if let Some(ago) = heard {
            let mac = "02:00:00:00:00:00".parse().unwrap();
            host.heard.entry(name("tap0")).or_default().insert(mac, Duration::from_secs(ago));
        }
        host
    };
    for (heard, told) in [(Some(0), true), (Some(20), true), (Some(200), false), (None, false)] {
        let mut presence = Presence::default();
        presence.learn(&desired, &host(false, heard), &plugs, at(1000));
        assert_eq!(presence.missing(&net), []);
        presence.learn(&desired, &host(true, None), &plugs, at(1030));
        assert_eq!(codes(&presence, &slice, 1030), [""; 0], "a guest that starts anew is without one for a moment");
        let missing = presence.missing(&net);
        assert_eq!((missing[0].at.clone(), missing[0].since), (At::Dark, Some(at(1030).1)));
        assert_eq!(presence.plugged(&net), 0);
        let code: Vec<&str> = told.then_some("M0700").into_iter().collect();
        for later in [1033, 1200, 1030 + 3599] {
            presence.learn(&desired, &host(true, None), &plugs, at(later));
            assert_eq!(codes(&presence, &slice, later), code, "{heard:?} {later}");
        }
        assert_eq!(presence.missing(&net)[0].since, Some(at(1030).1), "since then, not since the last look");
        assert_eq!(codes(&presence, &slice, 1030 + 3600), [""; 0], "a guest that was shut down is no fault for ever");
        presence.learn(&desired, &host(false, Some(0)), &plugs, at(9000));
        assert_eq!((codes(&presence, &slice, 9000), presence.missing(&net)), (Vec::new(), Vec::new()));
    }
    let mut down = host(true, None);
    down.places.get_mut(&name("tap0")).unwrap().up = false;
    let mut presence = Presence::default();
    presence.learn(&desired, &down, &plugs, at(0));
    assert_eq!(presence.missing(&net)[0].at, At::Down, "what is set down on this host is told as that");
}

#[test]
fn many_guests_in_the_wrong_place_are_few_findings() {
    let slice = slice(200);
    let desired = desired(&slice);
    let names: Vec<String> = (0..200).map(|n| format!("tap{n}")).collect();
    let stand: Vec<_> = names.iter().map(|name| (name.as_str(), Some("virbr0"), true)).collect();
    let mut presence = Presence::default();
    presence.learn(&desired, &host(&stand), &Plugs::default(), at(0));
    presence.learn(&desired, &host(&stand), &Plugs::default(), at(9));
    let findings = presence.findings(&slice, at(9).0);
    assert_eq!(findings.len(), NAMED + 1);
    assert!(findings[NAMED].what.contains("192 more"), "{:?}", findings[NAMED]);
}

#[test]
fn a_guest_that_no_interface_is_known_of_is_no_finding() {
    let mut slice = slice(1);
    slice.rows.values_mut().for_each(|row| row.interface = None);
    let mut presence = Presence::default();
    presence.learn(&desired(&slice), &host(&[]), &Plugs::default(), at(0));
    assert_eq!(codes(&presence, &slice, 0), [""; 0]);
    assert_eq!(presence.missing(&"default/10".parse().unwrap())[0].at, At::Silent);
}

#[test]
fn an_interface_that_a_port_names_by_mistake_has_not_gone_while_its_guest_was_at_work() {
    let (before, mut after) = (slice(1), slice(1));
    after.rows.values_mut().for_each(|row| row.interface = Some(name("nosuch2")));
    let mut host = host(&[("tap0", Some(BLUE), true)]);
    host.heard.entry(name("tap0")).or_default().insert("02:00:00:00:00:00".parse().unwrap(), Duration::ZERO);
    let mut presence = Presence::default();
    presence.learn(&desired(&before), &host, &Plugs::default(), at(1000));
    for seconds in [1001, 1010, 1100] {
        presence.learn(&desired(&after), &host, &Plugs::default(), at(seconds));
        assert_eq!(codes(&presence, &after, seconds), [""; 0], "it was never there");
    }
    assert_eq!(presence.missing(&"default/10".parse().unwrap())[0].at, At::Absent);
    presence.learn(&desired(&before), &host, &Plugs::default(), at(1200));
    assert_eq!(presence.plugged(&"default/10".parse().unwrap()), 1);
}
