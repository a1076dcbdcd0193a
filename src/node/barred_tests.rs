//! Tests of [`super`].

use serde_json::json;

use super::*;
use crate::api::cut::Cut;
use crate::node::plan::tests as plans;

fn slice() -> Slice {
    serde_json::from_value(json!({
        "version": {"incarnation": 1, "revision": 1}, "node": "a", "pdc": "x", "tunnelAddress": null,
        "pdcs": {}, "policies": {}, "peers": {},
        "networks": {"default/10": {
            "name": "blue", "udpPort": 4789, "cidr": [], "gateway": [], "guestMtu": 1400, "flood": "suppress", "groupRate": 300,
            "learning": "declared", "members": {},
        }},
        "rows": {"default/10/-/02:00:00:00:00:01": {"node": "a", "interface": "g1", "port": "web", "groupRate": 5000}},
    }))
    .unwrap()
}

fn refused(reason: &'static str, frames: u64) -> Refused {
    Refused { interface: "g1".parse().unwrap(), mac: None, reason, frames }
}

fn at(secs: u64) -> Mono {
    Mono::from_nanos(secs * 1_000_000_000)
}

fn codes(barred: &mut Barred, now: Mono) -> Vec<(String, String, String)> {
    let places = [("g1".parse().unwrap(), "default/10".parse().unwrap())].into();
    barred.end(&places, now);
    let found = barred.findings(&slice(), &Desired::default(), &places);
    found.into_iter().map(|finding| (finding.code, finding.what, finding.help)).collect()
}

#[test]
fn every_kind_is_told_by_name_and_one_frame_is_a_slip() {
    for (reason, ..) in KINDS {
        let mut barred = Barred::default();
        barred.learn(&[refused(reason, 1)], at(1));
        assert_eq!(codes(&mut barred, at(1)), [], "{reason}: once");
        barred.learn(&[refused(reason, 2)], at(2));
        let told = codes(&mut barred, at(2));
        let code = if reason == "flood" { "M0682" } else { "M0684" };
        assert!(told.len() == 1 && told[0].0 == code && told[0].1.contains("g1"), "{reason}: {told:?}");
        assert!(told[0].1.contains("network blue") && !told[0].2.contains("IF"), "{reason}: {told:?}");
        let elsewhere = told[0].2.contains("meshctl network create NAME --overlay OVERLAY --vni N --learning local");
        assert_eq!(elsewhere, reason == "type", "{reason}: {told:?}");
    }
    let mut barred = Barred::default();
    barred.learn(&[refused("mac", 50), refused("unknown", 50)], at(1));
    assert_eq!(codes(&mut barred, at(1)), [], "told elsewhere, or no news");
}

#[test]
fn what_comes_by_the_plain_path_is_another_nodes_and_no_guests() {
    let slice = plans::slice("suppress", json!({}));
    let desired = plans::planned(&slice, &plans::local()).desired;
    let (net, vxlan): (NetKey, IfName) = ("default/10".parse().unwrap(), "vv10.12b5".parse().unwrap());
    let mut barred = Barred::default();
    barred.learn(&[Refused { interface: vxlan.clone(), mac: None, reason: "group", frames: 9 }], at(1));
    let told = barred.findings(&slice, &desired, &[(vxlan, net)].into());
    let [told] = &told[..] else { panic!("{told:?}") };
    assert!(told.what.starts_with("node b lets") || told.what.starts_with("one of the nodes b"), "{told:?}");
    assert!(told.help.contains("ip -d link show vb10.12b5"), "{told:?}");
}

#[test]
fn it_is_told_for_as_long_as_it_goes_on() {
    let mut barred = Barred::default();
    barred.learn(&[refused("group", 9), refused("flood", 90)], at(1));
    assert_eq!(codes(&mut barred, at(10)).len(), 2);
    // The counters of others have moved; these have not.
    barred.learn(&[refused("group", 9), refused("flood", 90)], at(14));
    let left = codes(&mut barred, at(17));
    assert!(left.len() == 1 && left[0].0 == "M0684", "{left:?}");
    barred.learn(&[refused("group", 10)], at(40));
    assert_eq!(codes(&mut barred, at(80)).len(), 1);
    assert_eq!(codes(&mut barred, at(101)), []);
}

#[test]
fn what_a_guest_has_said_before_it_was_seen_is_told_and_what_it_said_elsewhere_is_not() {
    let mut barred = Barred::default();
    barred.learn(&[refused("type", 9)], at(1));
    barred.end(&BTreeMap::new(), at(2));
    assert_eq!(codes(&mut barred, at(3)).len(), 1);
    let other = [("g1".parse().unwrap(), "default/11".parse().unwrap())].into();
    barred.end(&other, at(4));
    assert_eq!(codes(&mut barred, at(5)), []);
}

#[test]
fn a_port_that_was_changed_as_it_is_told_is_told_no_longer_and_what_it_still_sends_is() {
    let places = [("g1".parse().unwrap(), "default/10".parse().unwrap())].into();
    let change = |slice: &mut Slice, reason: &str| {
        slice.rows.values_mut().for_each(|row| match reason {
            "dhcp" => row.role = PortRole::Dhcp.into(),
            "router" => row.role = PortRole::Router.into(),
            _ => row.group_rate = Some(9000_u64.try_into().unwrap()),
        });
    };
    for reason in ["dhcp", "router", "flood"] {
        let (mut slice, mut barred) = (slice(), Barred::default());
        let mut look = |slice: &Slice, secs: u64, frames: Option<u64>| {
            frames.into_iter().for_each(|frames| barred.learn(&[refused(reason, frames)], at(secs)));
            barred.end(&places, at(secs));
            barred.settle(slice, &places, at(secs));
            barred.findings(slice, &Desired::default(), &places).len()
        };
        assert_eq!(look(&slice, 1, Some(9)), 1, "{reason}");
        change(&mut slice, if reason == "flood" { "router" } else { "flood" });
        assert_eq!(look(&slice, 2, None), 1, "{reason}: that is another thing");
        change(&mut slice, reason);
        assert_eq!(look(&slice, 3, None), 0, "{reason}: it is right");
        assert_eq!(look(&slice, 4, Some(12)), 0, "{reason}: these came before");
        assert_eq!(look(&slice, 30, None), 0);
        assert_eq!(look(&slice, 31, Some(20)), 1, "{reason}: it goes on");
    }
}

#[test]
fn the_number_that_is_told_is_the_ports_and_else_the_networks() {
    let (mut slice, net, name) = (slice(), "default/10".parse().unwrap(), "g1".parse().unwrap());
    assert_eq!(group_rate(&slice, &net, &name), 5000);
    assert_eq!(group_rate(&slice, &net, &"g2".parse().unwrap()), 300);
    slice.rows.values_mut().for_each(|row| row.group_rate = None);
    assert_eq!(group_rate(&slice, &net, &name), 300);
}

#[test]
fn guests_without_number_take_the_room_of_nobody() {
    let mut barred = Barred::default();
    for number in 0..1000 {
        let one = Refused { interface: format!("g{number}").parse().unwrap(), ..refused("type", 5) };
        barred.learn(&[one], at(1));
    }
    assert_eq!(barred.0.len(), MOST);
}

#[test]
fn what_is_said_of_a_port_names_it_its_number_and_what_becomes_of_its_frames_and_cuts_nothing_off() {
    let (mut slice, net) = (plans::slice("suppress", json!({})), "default/10".parse().unwrap());
    let row = json!({"node": "a", "interface": "g1", "port": "web", "groupRate": 5000});
    slice.rows = [("default/10/-/02:00:00:00:00:01".parse().unwrap(), serde_json::from_value(row).unwrap())].into();
    let desired = plans::planned(&slice, &plans::local()).desired;
    let places = [("g1".parse().unwrap(), net)].into();
    for (reason, words, help) in [
        (
            "flood",
            &["port web (g1)", "the 5000 a second that it may", "the rest is dropped"][..],
            "port set web --group",
        ),
        ("router", &["port web (g1)", "they are dropped"], "port set web --role router"),
        ("type", &["port web (g1)", "they are dropped"], "tcpdump -eni g1"),
    ] {
        let mut barred = Barred::default();
        barred.learn(&[refused(reason, 9)], at(1));
        let found = barred.findings(&slice, &desired, &places);
        let [one] = found.as_slice() else { panic!("{reason}: {found:?}") };
        assert!(words.iter().all(|words| one.what.contains(words)) && one.help.contains(help), "{one:?}");
        assert_eq!(one.cut, Some(Cut::default()), "{reason}: all else of it passes");
    }
}
