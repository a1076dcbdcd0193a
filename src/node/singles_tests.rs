use serde_json::json;

use super::*;
use crate::node::desired::Observed;
use crate::node::plan::tests as plans;
use crate::node::plugs::Plugs;
use crate::types::Wall;

const GUEST: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn sent(frames: u64) -> [ToGroup; 1] {
    [ToGroup { key: "default/10".parse().unwrap(), place: 3, mac: GUEST, frames }]
}

fn at(secs: u64) -> Mono {
    Mono::from_nanos(secs * 1_000_000_000)
}

fn slice() -> Slice {
    let mut slice = plans::slice("suppress", json!({}));
    let row = json!({"node": slice.node, "interface": "tap1", "port": "web"});
    slice.rows = [(format!("default/10/-/{GUEST}").parse().unwrap(), serde_json::from_value(row).unwrap())].into();
    slice
}

#[test]
fn it_is_told_with_port_interface_and_way_out_while_it_goes_on() {
    let (slice, mut singles, mut presence) = (slice(), Singles::default(), Presence::default());
    let desired = plans::planned(&slice, &plans::local()).desired;
    presence.learn(&desired, &Observed::default(), &Plugs::default(), (at(0), Wall::from_secs(0)));
    let mut look = |secs, frames| singles.look(&slice, &presence, sent(frames), at(secs));
    assert_eq!(look(0, 50), [], "what was before is not of now");
    assert_eq!(look(1, 51), [], "once");
    let told = look(2, 52);
    let [one] = &told[..] else { panic!("{told:?}") };
    assert_eq!(one.code, "M0684");
    for words in ["port web (tap1)", "network blue", "one host", "group-unicast", "the plain path carries them"] {
        assert!(one.what.contains(words), "{words}: {one:?}");
    }
    assert!(one.help.contains("unicast Ethernet address") && one.help.contains("tcpdump -eni tap1"), "{one:?}");
    assert_eq!(look(61, 52), told);
    assert_eq!(look(62, 52), [], "a minute after the last");
    assert_eq!((look(70, 53).len(), look(71, 54).len()), (0, 1));
    assert_eq!((look(80, 0).len(), look(81, 2).len()), (0, 1), "lanes that started anew");
}

#[test]
fn a_guest_that_nothing_is_known_of_and_a_network_that_has_gone_are_no_trouble() {
    let (mut slice, mut singles) = (slice(), Singles::default());
    slice.rows.clear();
    singles.look(&slice, &Presence::default(), [], at(0));
    let told = singles.look(&slice, &Presence::default(), sent(9), at(1));
    assert!(told.len() == 1 && told[0].what.starts_with("guest 02:00:00:00:00:01 in network blue"), "{told:?}");
    slice.networks.clear();
    assert_eq!(singles.look(&slice, &Presence::default(), sent(19), at(2)), []);
}
