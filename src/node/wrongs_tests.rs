use serde_json::json;

use super::*;
use crate::node::desired::{Observed, Place};
use crate::node::plan::tests as plans;
use crate::node::plugs::Plugs;
use crate::types::Wall;

fn said(interface: &str, mac: &str, value: Option<&str>, samples: u64) -> Said {
    Said {
        interface: interface.parse().unwrap(),
        mac: mac.parse().unwrap(),
        value: value.map(|value| value.parse().unwrap()),
        samples,
    }
}

/// Two guests here, one elsewhere, one in another network.
fn slice() -> Slice {
    let mut slice = plans::slice("suppress", json!({}));
    slice.rows.clear();
    let mut other = slice.networks.values().next().unwrap().clone();
    other.name = "red".parse().unwrap();
    slice.networks.insert("default/11".parse().unwrap(), other);
    let node = slice.node.clone();
    for (key, row) in [
        (
            "default/10/-/02:00:00:00:00:01",
            json!({"node": node, "interface": "tap1", "port": "one", "arp": ["192.168.10.1"], "nd": ["fd00::1"]}),
        ),
        (
            "default/10/-/02:00:00:00:00:02",
            json!({"node": node, "interface": "tap2", "port": "two", "arp": ["192.168.10.2"]}),
        ),
        ("default/10/-/02:00:00:00:00:03", json!({"node": "b", "port": "far", "arp": ["192.168.10.3"]})),
        ("default/11/-/02:00:00:00:00:04", json!({"node": node, "port": "red-one", "arp": ["192.168.10.4"]})),
    ] {
        slice.rows.insert(key.parse().unwrap(), serde_json::from_value(row).unwrap());
    }
    slice
}

fn places() -> BTreeMap<IfName, NetKey> {
    let blue: NetKey = "default/10".parse().unwrap();
    ["tap1", "tap2", "x9"].map(|name| (name.parse().unwrap(), blue.clone())).into()
}

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

fn told(wrongs: &Wrongs) -> Vec<(String, String)> {
    told_of(wrongs, &slice(), &["tap1", "tap2"])
}

/// The same with those interfaces in the bridge.
fn told_of(wrongs: &Wrongs, slice: &Slice, plugged: &[&str]) -> Vec<(String, String)> {
    let desired = plans::planned(slice, &plans::local()).desired;
    let findings = wrongs.findings(slice, &desired, &presence(slice, plugged), &places());
    findings.into_iter().map(|finding| (finding.code, format!("{}; {}", finding.what, finding.help))).collect()
}

/// Where the guests are, with those interfaces in the bridge.
fn presence(slice: &Slice, plugged: &[&str]) -> Presence {
    let desired = plans::planned(slice, &plans::local()).desired;
    let mut observed = Observed::default();
    let bridge = desired.networks.keys().next().unwrap().to_string();
    for (index, name) in (10..).zip(plugged) {
        let place = Place { index, master: Some(bridge.clone()), up: true, card: false };
        observed.places.insert(name.parse().unwrap(), place);
    }
    let mut presence = Presence::default();
    presence.learn(&desired, &observed, &Plugs::default(), (at(0), Wall::from_secs(1_800_000_000)));
    presence
}

#[test]
fn each_wrong_value_says_whose_it_is() {
    let own = "02:00:00:00:00:01";
    for (reason, sample, code, words) in [
        ("mac", said("tap1", "02:00:00:00:00:99", None, 3), "M0675", &["port one", "02:00:00:00:00:99", own][..]),
        ("mac", said("tap1", "00:00:5e:00:01:33", None, 3), "M0675", &["port one", "leave use_vmac out"]),
        ("mac", said("x9", "02:00:00:00:00:99", None, 3), "M0675", &["x9", "which no port has"]),
        ("mac", said("tap1", "02:00:00:00:00:02", None, 3), "M0677", &["port one", "port two", "on a"]),
        ("mac", said("tap1", "02:00:00:00:00:03", None, 3), "M0677", &["port one", "port far", "on b"]),
        ("mac", said("tap1", "02:00:00:00:00:04", None, 3), "M0678", &["tap1", "port red-one", "network red"]),
        ("ip", said("tap1", own, Some("192.168.10.99"), 3), "M0676", &["port one", "192.168.10.99"]),
        ("ip", said("tap1", own, Some("fe80::99"), 3), "M0676", &["port one", "fe80::99"]),
        ("arp", said("tap1", own, Some("192.168.10.2"), 3), "M0677", &["port one", "port two", "192.168.10.2"]),
        ("arp", said("tap1", own, Some("192.168.10.3"), 3), "M0677", &["port one", "port far", "on b"]),
        (
            "arp",
            said("tap1", own, Some("192.168.10.4"), 3),
            "M0676",
            &["of another network, which is another address"][..0],
        ),
        ("nd", said("tap1", own, Some("fd00::1"), 3), "M0676", &["port one", "its own address fd00::1 is at another"]),
        (
            "arp",
            said("tap1", own, Some("192.168.10.1"), 3),
            "M0676",
            &["port one", "by ARP that its own address 192.168.10.1 is at another Ethernet address than 02:"],
        ),
        (
            "nd",
            said("tap1", own, Some("fe80::ff:fe00:1"), 3),
            "M0676",
            &["port one", "its own address fe80::ff:fe00:1"],
        ),
    ] {
        let mut wrongs = Wrongs::default();
        wrongs.learn(reason, std::slice::from_ref(&sample), at(0));
        let told = told(&wrongs);
        assert_eq!(told.len(), 1, "{sample:?}");
        assert_eq!(told[0].0, code, "{told:?}");
        assert!(words.iter().all(|word| told[0].1.contains(word)), "{words:?}: {told:?}");
        assert!(told[0].1.contains(&sample.interface.to_string()), "{told:?}");
    }
}

#[test]
fn a_slip_is_no_finding_what_goes_on_is_one_and_it_ends() {
    let sample = |samples| said("tap1", "02:00:00:00:00:01", Some("192.168.10.99"), samples);
    let mut wrongs = Wrongs::default();
    wrongs.learn("ip", &[sample(1)], at(0));
    assert_eq!(told(&wrongs), []);
    wrongs.learn("ip", &[sample(2)], at(1));
    for seconds in (10..600).step_by(10) {
        wrongs.learn("ip", &[sample(2 + seconds / 10)], at(seconds));
        wrongs.end(&places(), at(seconds));
        assert_eq!(told(&wrongs).len(), 1, "{seconds}");
    }
    // The kernel keeps old samples for a minute, and others go on being wrong.
    for seconds in 600..649 {
        wrongs.learn("ip", &[sample(2 + 59)], at(seconds));
        wrongs.end(&places(), at(seconds));
    }
    assert_eq!(told(&wrongs).len(), 1);
    wrongs.end(&places(), at(650));
    assert_eq!(told(&wrongs), []);
    wrongs.learn("ip", &[sample(9)], at(700));
    wrongs.end(&BTreeMap::new(), at(700));
    assert_eq!(told(&wrongs), [], "it was pulled out");
}

#[test]
fn who_tries_the_address_of_another_once_and_gives_it_up_is_told_for_a_minute() {
    let own = "02:00:00:00:00:01";
    for (reason, value, told_of) in [
        ("arp", "192.168.10.2", Some("port two on a")),
        ("arp", "192.168.10.3", Some("port far on b")),
        ("arp", "192.168.10.99", None),
        ("nd", "fd00::99", None),
        ("ip", "192.168.10.2", None),
    ] {
        let mut wrongs = Wrongs::default();
        wrongs.learn(reason, &[said("tap1", own, Some(value), 1)], at(0));
        wrongs.end(&places(), at(1));
        let Some(owner) = told_of else {
            assert_eq!(told(&wrongs), [], "{reason} {value}: a slip");
            continue;
        };
        let [(code, what)] = &told(&wrongs)[..] else { panic!("{:?}", told(&wrongs)) };
        assert!(
            code == "M0677"
                && what.contains(&format!("port one (tap1) in network blue uses the address {value} of {owner}")),
            "{what}"
        );
        wrongs.end(&places(), at(59));
        assert_eq!(told(&wrongs).len(), 1);
        wrongs.end(&places(), at(61));
        assert_eq!(told(&wrongs), []);
    }
}

#[test]
fn a_guest_that_invents_values_is_one_finding_that_does_not_change() {
    let mut wrongs = Wrongs::default();
    let mut first = Vec::new();
    for second in 0..300_u64 {
        let values: Vec<Said> = (0..9)
            .map(|n| said("tap1", "02:00:00:00:00:01", Some(&format!("10.{}.{n}.7", second % 250)), second + 2))
            .collect();
        wrongs.learn("ip", &values, at(second));
        wrongs.end(&places(), at(second));
        let now = told(&wrongs);
        assert_eq!(now.len(), 1);
        if second == 0 {
            first.clone_from(&now);
        }
        assert_eq!(now, first);
    }
    let mut many = Wrongs::default();
    let all: Vec<Said> = (0..10_000).map(|n| said(&format!("t{n}"), "02:00:00:00:00:99", None, 5)).collect();
    many.learn("mac", &all, at(0));
    assert!(many.all.len() <= MOST);
    let all: Vec<Finding> = {
        let slice = slice();
        let desired = plans::planned(&slice, &plans::local()).desired;
        let places = (0..10_000).map(|n| (format!("t{n}").parse().unwrap(), "default/10".parse().unwrap())).collect();
        many.findings(&slice, &desired, &presence(&slice, &[]), &places)
    };
    assert!(all.len() <= 9, "{}", all.len());
}

#[test]
fn a_guest_that_goes_over_to_another_address_is_told_with_the_one_that_it_uses_now() {
    let own = "02:00:00:00:00:01";
    let one = |value: &str, samples| said("tap1", own, Some(value), samples);
    let mut wrongs = Wrongs::default();
    wrongs.learn("ip", &[one("192.168.10.70", 4)], at(0));
    let mut named = Vec::new();
    for second in (10..=200_u64).step_by(10) {
        // The kernel keeps the old one for a minute; of the new one it takes a sample every ten seconds, for 80 s.
        let old = (second < 60).then(|| one("192.168.10.70", 4));
        let new = one("192.168.10.71", second.min(80) / 10);
        let all: Vec<Said> = old.into_iter().chain((second < 140).then_some(new)).collect();
        wrongs.learn("ip", &all, at(second));
        wrongs.end(&places(), at(second));
        let told = told(&wrongs);
        let which =
            ["70", "71"].into_iter().filter(|n| told.iter().any(|(_, t)| t.contains(&format!("192.168.10.{n},"))));
        named.push((second, which.collect::<Vec<_>>()));
    }
    for (second, which) in named {
        let due: &[&str] = match second {
            ..20 => &["70"],
            20..140 => &["71"],
            140.. => &[],
        };
        assert_eq!(which, due, "after {second} s");
    }
}

#[test]
fn an_address_that_is_used_no_longer_is_told_for_a_minute_whatever_else_is_tried_once() {
    let one = |value: &str, samples| said("tap1", "02:00:00:00:00:01", Some(value), samples);
    let mut wrongs = Wrongs::default();
    wrongs.learn("ip", &[one("192.168.10.70", 4)], at(0));
    for second in (10..60_u64).step_by(10) {
        let tried = one(&format!("192.168.10.{second}"), 1);
        wrongs.learn("ip", &[one("192.168.10.70", 4), tried], at(second));
        wrongs.end(&places(), at(second));
        assert_eq!(told(&wrongs).len(), 1);
    }
    wrongs.end(&places(), at(60));
    assert_eq!(told(&wrongs), []);
}

const ONE: &str = "default/10/-/02:00:00:00:00:01";

/// The slice of [`slice`] with another row of port one.
#[test]
fn who_invents_addresses_does_not_hide_by_them_that_it_takes_one() {
    let refused = |mac: &str, frames| Refused {
        interface: "tap1".parse().unwrap(),
        mac: mac.parse().ok(),
        reason: "mac",
        frames,
    };
    for (stolen, frames, code) in
        [("02:00:00:00:00:03", 2, "M0677"), ("02:00:00:00:00:03", 1, "M0675"), ("02:77:00:00:00:02", 90, "M0675")]
    {
        let mut wrongs = Wrongs::default();
        wrongs.learn("mac", &[said("tap1", "02:77:00:00:00:01", None, 9)], at(0));
        wrongs.taken(&slice(), &places(), &[refused("02:77:00:00:00:01", 900), refused(stolen, frames)]);
        let says = told(&wrongs);
        assert_eq!(says.iter().map(|(code, _)| code.as_str()).collect::<Vec<_>>(), [code], "{says:?}");
        assert_eq!(says[0].1.contains(stolen), code == "M0677", "{says:?}");
        // What it invents next does not hide it again.
        wrongs.taken(&slice(), &places(), &[refused("02:77:00:00:00:09", 900)]);
        assert_eq!(told(&wrongs), says);
    }
}

fn changed(change: impl FnOnce(&mut Row)) -> Slice {
    let mut slice = slice();
    change(slice.rows.get_mut(&ONE.parse().unwrap()).unwrap());
    slice
}

#[test]
fn a_port_that_names_an_interface_which_is_not_its_guests_is_told_as_that_and_not_as_an_address_taken_twice() {
    let own = "02:00:00:00:00:01";
    let nosuch = changed(|row| row.interface = Some("nosuch2".parse().unwrap()));
    let mut behind = Wrongs::default();
    behind.learn("mac", &[said("x9", own, None, 3)], at(0));
    let told = told_of(&behind, &nosuch, &["tap2", "x9"]);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "M0692");
    for words in
        ["port one", "names nosuch2, which is not there", "heard behind x9", "meshctl port set one --interface x9"]
    {
        assert!(told[0].1.contains(words), "{words}: {told:?}");
    }
    assert!(!told[0].1.contains("twice"), "{told:?}");
    // Where it is there, somebody else speaks from its address; so does who has a port of his own, wherever the owner is.
    assert_eq!(told_of(&behind, &slice(), &["tap1", "x9"])[0].0, "M0677");
    let mut thief = Wrongs::default();
    thief.learn("mac", &[said("tap2", own, None, 3)], at(0));
    assert_eq!(told_of(&thief, &nosuch, &["tap2"])[0].0, "M0677");
}

#[test]
fn ports_that_have_each_others_interfaces_are_swapped_and_no_address_is_taken() {
    let mac = |n: u8| format!("02:00:00:00:00:{n:02x}");
    let row = |slice: &mut Slice, net: u8, n: u8, port: &str, interface: &str| {
        let row = json!({"node": slice.node, "interface": interface, "port": port});
        slice.rows.insert(format!("default/{net}/-/{}", mac(n)).parse().unwrap(), serde_json::from_value(row).unwrap());
    };
    let mut three = slice();
    row(&mut three, 10, 3, "three", "x9");
    let mut across = slice();
    row(&mut across, 11, 4, "red-one", "x9");
    for (slice, behind, ports) in [
        (slice(), &[("tap1", 2), ("tap2", 1)][..], &["one", "two"][..]),
        (three.clone(), &[("tap1", 2), ("tap2", 3), ("x9", 1)], &["one", "two", "three"]),
        (across, &[("tap1", 4), ("x9", 1)], &["one", "red-one"]),
    ] {
        let mut wrongs = Wrongs::default();
        let samples: Vec<Said> = behind.iter().map(|(name, n)| said(name, &mac(*n), None, 3)).collect();
        wrongs.learn("mac", &samples, at(0));
        let told = told_of(&wrongs, &slice, &["tap1", "tap2", "x9"]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, "M0692", "{told:?}");
        assert!(told[0].1.contains("are swapped") && !told[0].1.contains("twice"), "{told:?}");
        for port in ports {
            assert!(told[0].1.contains(&format!("meshctl port set {port} --interface ")), "{port}: {told:?}");
        }
    }
    // Where one of them only has spoken, and where the third is behind its own, nobody knows.
    let mut one = Wrongs::default();
    one.learn("mac", &[said("tap1", &mac(2), None, 3)], at(0));
    assert_eq!(told(&one)[0].0, "M0677");
    assert!(told(&one)[0].1.contains("meshctl port set two --interface tap1"), "{:?}", told(&one));
    let mut chain = Wrongs::default();
    chain.learn("mac", &[said("tap1", &mac(2), None, 3), said("tap2", &mac(3), None, 3)], at(0));
    let codes: Vec<String> = told_of(&chain, &three, &["tap1", "tap2", "x9"]).into_iter().map(|told| told.0).collect();
    assert_eq!(codes, ["M0677", "M0677"]);
}

#[test]
fn what_has_become_right_is_told_no_longer_although_the_kernel_still_has_samples_of_it() {
    let own = "02:00:00:00:00:01";
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    let wrong_name = changed(|row| row.interface = Some("nosuch2".parse().unwrap()));
    let right_name = changed(|row| row.interface = Some("x9".parse().unwrap()));
    let floats = changed(|row| assert!(row.floating.insert(address("192.168.10.100"))));
    let owns = changed(|row| assert!(row.arp.insert("192.168.10.100".parse().unwrap())));
    let any = changed(|row| (row.arp.clear(), row.nd.clear(), row.floating.clear()).0);
    let routes = changed(|row| row.role = PortRole::Router.into());
    for (reason, sample, before, after) in [
        ("mac", said("x9", own, None, 3), &wrong_name, &right_name),
        ("ip", said("tap1", own, Some("192.168.10.100"), 3), &slice(), &floats),
        ("arp", said("tap1", own, Some("192.168.10.100"), 3), &slice(), &floats),
        ("ip", said("tap1", own, Some("192.168.10.100"), 3), &slice(), &owns),
        ("arp", said("tap1", own, Some("192.168.10.100"), 3), &slice(), &owns),
        ("arp", said("tap1", own, Some("192.168.10.100"), 3), &slice(), &any),
        ("ip", said("tap1", own, Some("172.31.0.2"), 3), &slice(), &routes),
        ("ip", said("tap1", own, Some("2001:db8::2"), 3), &slice(), &routes),
        ("ip", said("tap1", own, Some("192.168.10.2"), 3), &slice(), &routes),
    ] {
        let plugged = ["tap1", "tap2", "x9"];
        let mut wrongs = Wrongs::default();
        wrongs.learn(reason, std::slice::from_ref(&sample), at(0));
        wrongs.settle(before, &presence(before, &plugged), &places(), at(1));
        assert_eq!(told_of(&wrongs, before, &plugged).len(), 1, "{sample:?}");
        wrongs.settle(after, &presence(after, &plugged), &places(), at(2));
        wrongs.learn(reason, &[Said { samples: 5, ..sample.clone() }], at(12));
        wrongs.settle(after, &presence(after, &plugged), &places(), at(12));
        assert_eq!(told_of(&wrongs, after, &plugged), [], "{reason} {sample:?}");
        // Another value is told at once, and the same again when it is wrong again.
        let other = Said { mac: "02:00:00:00:00:99".parse().unwrap(), ..sample.clone() };
        wrongs.learn(reason, std::slice::from_ref(&other), at(13));
        wrongs.settle(after, &presence(after, &plugged), &places(), at(13));
        assert_eq!(told_of(&wrongs, after, &plugged).len(), 1, "{other:?}");
        wrongs.end(&places(), at(80));
        wrongs.settle(before, &presence(before, &plugged), &places(), at(80));
        wrongs.learn(reason, std::slice::from_ref(&sample), at(81));
        assert_eq!(told_of(&wrongs, before, &plugged).len(), 1, "again {sample:?}");
    }
}

#[test]
fn a_guest_that_speaks_for_its_own_address_as_no_host_does_is_told_for_as_long_as_it_does() {
    let mut wrongs = Wrongs::default();
    wrongs.learn("arp", &[said("tap1", "02:00:00:00:00:01", Some("192.168.10.1"), 3)], at(0));
    wrongs.settle(&slice(), &presence(&slice(), &["tap1"]), &places(), at(1));
    wrongs.settle(&slice(), &presence(&slice(), &["tap1"]), &places(), at(2));
    assert_eq!(told(&wrongs).len(), 1);
}

#[test]
fn an_address_that_two_ports_want_is_told_with_the_way_that_works() {
    let own = "02:00:00:00:00:01";
    for value in ["192.168.10.99", "192.168.10.2"] {
        let mut wrongs = Wrongs::default();
        wrongs.learn("arp", &[said("tap1", own, Some(value), 3)], at(0));
        let told = told(&wrongs);
        assert!(told[0].1.contains(&format!("--allowed {value}")), "{told:?}");
    }
}

#[test]
fn a_guest_of_a_vlan_that_forgets_the_tag_has_not_taken_its_own_address() {
    let mut slice = slice();
    let row = slice.rows.remove(&ONE.parse().unwrap()).unwrap();
    slice.rows.insert("default/10/5/02:00:00:00:00:01".parse().unwrap(), row);
    let mut wrongs = Wrongs::default();
    wrongs.learn("mac", &[said("tap1", "02:00:00:00:00:01", None, 3)], at(0));
    wrongs.settle(&slice, &presence(&slice, &["tap1", "tap2"]), &places(), at(1));
    let told = told_of(&wrongs, &slice, &["tap1", "tap2"]);
    assert_eq!(told[0].0, "M0675", "{told:?}");
    assert!(told[0].1.contains("without a tag") && told[0].1.contains("VLAN 5"), "{told:?}");
}

#[test]
fn the_command_for_a_guest_without_a_port_has_no_other_word_in_place_of_its_name() {
    for (value, code) in [("192.168.10.77", "M0676"), ("192.168.10.3", "M0677")] {
        let mut wrongs = Wrongs::default();
        wrongs.learn("arp", &[said("x9", "02:00:00:00:00:77", Some(value), 9)], at(1));
        let told = told(&wrongs);
        let [(found, text)] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((found.as_str(), text.contains("meshctl port set PORT --")), (code, code == "M0676"), "{told:?}");
        assert!(!text.contains("meshctl port set guest"), "{told:?}");
    }
}

#[test]
fn what_is_typed_as_told_takes_nothing_away_that_a_port_may_use() {
    let mut slice = changed(|row| assert!(row.floating.insert("192.168.10.50".parse().unwrap())));
    let nested = json!({"node": slice.node, "interface": "tap1", "arp": ["192.168.10.77"]});
    slice.rows.insert("default/10/-/02:00:00:00:00:09".parse().unwrap(), serde_json::from_value(nested).unwrap());
    let tap1 = json!("tap1");
    slice.rows.get_mut(&ONE.parse().unwrap()).unwrap().interface = serde_json::from_value(tap1).unwrap();
    let kept = "192.168.10.50,192.168.10.77=02:00:00:00:00:09";
    let (own, guests) = ("02:00:00:00:00:01", "02:00:00:00:00:09");
    let moves = format!(
        "meshctl port set two --unset ips --allowed 192.168.10.2, then meshctl port set one --allowed {kept},192.168.10.2"
    );
    for (reason, sample, code, words) in [
        ("arp", said("tap1", own, Some("192.168.10.2"), 3), "M0677", moves),
        (
            "arp",
            said("tap1", own, Some("192.168.10.77"), 3),
            "M0677",
            format!("{guests} is a guest of that guest: only it may answer for 192.168.10.77"),
        ),
        (
            "ip",
            said("tap1", own, Some("192.168.10.99"), 3),
            "M0676",
            format!("meshctl port set one --allowed {kept},192.168.10.99"),
        ),
        (
            "ip",
            said("tap1", own, Some("192.168.10.99"), 3),
            "M0676",
            "meshctl port set one --ip 192.168.10.1,fd00::1,192.168.10.99;".to_owned(),
        ),
        (
            "ip",
            said("tap1", guests, Some("192.168.10.99"), 3),
            "M0676",
            format!("meshctl port set one --allowed {kept},192.168.10.99={guests}"),
        ),
        (
            "mac",
            said("tap1", "02:00:00:00:00:99", None, 3),
            "M0675",
            format!("meshctl port set one --allowed {kept},IP=02:00:00:00:00:99"),
        ),
    ] {
        let mut wrongs = Wrongs::default();
        wrongs.learn(reason, std::slice::from_ref(&sample), at(0));
        let told = told_of(&wrongs, &slice, &["tap1", "tap2"]);
        assert!(told.len() == 1 && told[0].0 == code, "{told:?}");
        assert!(told[0].1.contains(&words) && !told[0].1.contains("PORT"), "{words}: {told:?}");
    }
}

#[test]
fn an_address_that_no_port_of_the_network_can_have_is_to_be_taken_off_the_guest() {
    let slice = slice();
    let (net, network) = slice.networks.iter().next().unwrap();
    let help = |value: &str| outside(&slice, net, value.parse().unwrap());
    let prefix = network.cidr.iter().find(|prefix| !prefix.network().is_ipv6()).unwrap();
    assert_eq!(help(&prefix.network().to_string()), None);
    assert_eq!(help("fe80::1"), None);
    let docker = help("172.17.0.1").unwrap();
    assert!(docker.contains(&format!("meshctl network set {} --cidr {prefix}", network.name)), "{docker}");
    assert!(!docker.contains("port set"), "the server would refuse it: {docker}");
}

#[test]
fn who_sends_packets_of_others_may_be_a_router_and_is_told_the_role_beside_what_it_has() {
    let own = "02:00:00:00:00:01";
    let dhcp = changed(|row| row.role = PortRole::Dhcp.into());
    let mut rangeless = slice();
    rangeless.networks.values_mut().for_each(|network| network.cidr.clear());
    let nested = changed(|row| row.port = None);
    let router = "; if it routes for others: meshctl port set one --role router";
    let plain = slice();
    for (slice, reason, value, role) in [
        (&plain, "ip", "172.31.0.2", Some(router.to_owned())),
        (&plain, "ip", "2001:db8::2", Some(router.to_owned())),
        (&dhcp, "ip", "172.31.0.2", Some(format!("{router},dhcp"))),
        (&rangeless, "ip", "172.31.0.2", Some(router.to_owned())),
        // A router speaks in ARP and neighbour discovery for itself only.
        (&plain, "arp", "172.31.0.2", None),
        (&plain, "nd", "2001:db8::2", None),
        (&plain, "ip", "192.168.10.99", None),
        (&plain, "ip", "fe80::99", None),
        (&rangeless, "ip", "fe80::99", None),
        (&nested, "ip", "172.31.0.2", None),
    ] {
        let mut wrongs = Wrongs::default();
        wrongs.learn(reason, &[said("tap1", own, Some(value), 3)], at(0));
        let told = told_of(&wrongs, slice, &["tap1"]);
        assert!(told.len() == 1 && told[0].0 == "M0676", "{told:?}");
        let text = &told[0].1;
        assert!(role.as_ref().map_or_else(|| !text.contains("--role"), |role| text.ends_with(role)), "{value}: {text}");
    }
}

#[test]
fn a_router_that_speaks_by_arp_for_others_goes_on_being_told() {
    let routes = changed(|row| row.role = PortRole::Router.into());
    let mut wrongs = Wrongs::default();
    wrongs.learn("arp", &[said("tap1", "02:00:00:00:00:01", Some("172.31.0.2"), 3)], at(0));
    for (second, slice) in [(1, &slice()), (2, &routes)] {
        wrongs.settle(slice, &presence(slice, &["tap1"]), &places(), at(second));
    }
    assert_eq!(told_of(&wrongs, &routes, &["tap1"]).len(), 1);
}
