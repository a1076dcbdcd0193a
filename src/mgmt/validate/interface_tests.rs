use super::*;
use crate::mgmt::validate::check as check_all;
use crate::mgmt::{edit, fixture};
use crate::types::Vlan;

fn port(name: &str, network: &str, node: &str, mac: u32, interface: Option<&str>) -> Port {
    let mut port = fixture::port(name, network, node, mac, &format!("192.168.10.{mac}"));
    port.spec.interface = interface.map(|name| name.parse().unwrap());
    port
}

/// The mesh, a second network with the same prefix, and a port of `blue` at `tap0` of `a-1`.
fn mesh() -> State {
    let red = fixture::network("red", "default", 11, "192.168.10.0/24");
    apply(&fixture::mesh(), vec![Any::Network(red), Any::Port(port("one", "blue", "a-1", 50, Some("tap0")))]).unwrap()
}

fn apply(state: &State, items: Vec<Any>) -> Result<State, Problem> {
    check_all(state, &edit::apply(state, items)?)
}

/// As a store from before the rule has it.
fn with(state: &State, port: Port) -> State {
    state.after(&edit::apply(state, vec![Any::Port(port)]).unwrap())
}

#[test]
fn an_interface_is_of_one_network() {
    let refused = |items: Vec<Port>| {
        let problem = apply(&mesh(), items.into_iter().map(Any::Port).collect()).unwrap_err();
        assert_eq!((problem.code.as_str(), problem.help.len()), ("M0349", 1), "{problem}");
        problem.what
    };
    let what = refused(vec![port("two", "red", "a-1", 51, Some("tap0"))]);
    assert_eq!(
        what,
        "ports 'one' of network 'blue' and 'two' of network 'red' name the same interface 'tap0' of node 'a-1'"
    );
    let mut tagged = port("two", "red", "a-1", 51, Some("tap0"));
    tagged.spec.vlan = Some(Vlan::try_from(5).unwrap());
    refused(vec![tagged]);
    refused(vec![port("x", "blue", "a-1", 52, Some("tap9")), port("y", "red", "a-1", 53, Some("tap9"))]);
    // A port that is there moves to the interface, to the node, or to the network.
    for before in [
        port("two", "red", "a-1", 51, Some("tap1")),
        port("two", "red", "a-1", 51, None),
        port("two", "red", "a-2", 51, Some("tap0")),
        port("two", "blue", "a-1", 51, Some("tap0")),
    ] {
        let state = apply(&mesh(), vec![Any::Port(before)]).unwrap();
        let moved = apply(&state, vec![Any::Port(port("two", "red", "a-1", 51, Some("tap0")))]);
        assert_eq!(moved.unwrap_err().code, "M0349");
    }
}

#[test]
fn what_shares_no_interface_of_two_networks_passes() {
    let mut tagged = port("two", "blue", "a-1", 50, Some("tap0"));
    tagged.spec.vlan = Some(Vlan::try_from(5).unwrap());
    for item in [
        port("two", "blue", "a-1", 51, Some("tap0")),
        tagged,
        port("two", "red", "a-1", 51, Some("tap1")),
        port("two", "red", "a-2", 51, Some("tap0")),
        port("two", "red", "a-1", 51, None),
        port("one", "red", "a-1", 50, Some("tap0")),
    ] {
        let after = apply(&mesh(), vec![Any::Port(item)]).unwrap();
        assert_eq!(findings(&after), Vec::new());
    }
}

#[test]
fn two_from_before_the_rule_stay_can_be_changed_and_mended_and_are_told() {
    let old = with(&mesh(), port("two", "red", "a-1", 51, Some("tap0")));
    let old = with(&old, port("three", "red", "a-1", 52, Some("tap0")));
    let told = findings(&old);
    assert_eq!(told.len(), 1, "one an interface and network: {told:?}");
    assert!(told[0].code == "M0349" && told[0].what.contains("tap0"), "{told:?}");
    let mut other = port("two", "red", "a-1", 51, Some("tap0"));
    other.spec.ips = ["192.168.10.99".parse().unwrap()].into();
    apply(&old, vec![Any::Port(other)]).unwrap();
    apply(&old, vec![Any::Port(fixture::port("free", "red", "a-1", 60, "192.168.10.60"))]).unwrap();
    assert_eq!(apply(&old, vec![Any::Port(port("four", "blue", "a-1", 61, Some("tap0")))]).unwrap_err().code, "M0349");
    let mended = vec![
        Any::Port(port("two", "red", "a-1", 51, Some("tap1"))),
        Any::Port(port("three", "red", "a-1", 52, Some("tap1"))),
    ];
    assert_eq!(findings(&apply(&old, mended).unwrap()), Vec::new());
}
