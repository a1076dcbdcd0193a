use super::*;
use crate::mgmt::fixture;
use crate::mgmt::state::State;
use crate::mgmt::validate;

fn learning() -> State {
    let mut state = fixture::mesh();
    let mut network = fixture::network("learn", "default", 12, "192.168.12.0/24");
    network.spec.learning = Learning::Local;
    network.spec.nodes = Some(BTreeSet::from(["*".parse().unwrap()]));
    network.spec.gateway = vec!["192.168.12.254".parse().unwrap()];
    state.put(Any::Network(network));
    state
}

fn claim(vni: u64, mac: u8, ips: &[&str]) -> FoundPort {
    let network = format!("default/{vni}").parse().unwrap();
    FoundPort { network, mac: Mac([2, 0, 0, 0, 9, mac]), ips: ips.iter().map(|ip| ip.parse().unwrap()).collect() }
}

fn report(state: &State, node: &str, claims: &[FoundPort]) -> (State, Found) {
    let found = decide(&Index::new(Arc::new(state.clone())), &node.parse().unwrap(), claims, &BTreeSet::new());
    (validate::check(state, &found.edits).unwrap(), found)
}

#[test]
fn what_is_found_appears_changes_and_goes() {
    let (state, found) = report(&learning(), "a-1", &[claim(12, 1, &["192.168.12.5"]), claim(12, 2, &[])]);
    assert!(found.refused.is_empty());
    let name: PortId = "learn-020000000901".parse().unwrap();
    assert!(state.ports[&name].spec.reported && state.ports[&name].spec.ips.len() == 1);
    let (state, again) = report(&state, "a-1", &[claim(12, 1, &["192.168.12.5"]), claim(12, 2, &[])]);
    assert_eq!(again.edits, []);
    let (state, _) = report(&state, "a-1", &[claim(12, 1, &["192.168.12.6"])]);
    assert_eq!(state.ports.len(), 5);
    assert!(state.ports[&name].spec.ips.contains(&"192.168.12.6".parse().unwrap()));
    assert_eq!(report(&state, "a-1", &[]).0.ports.len(), 4, "declared ports stay");
}

#[test]
fn a_claim_of_anothers_address_is_refused() {
    let (state, _) = report(&learning(), "a-1", &[claim(12, 1, &["192.168.12.5"])]);
    let (after, found) = report(&state, "b-1", &[claim(12, 1, &[]), claim(12, 2, &["192.168.12.5", "192.168.12.7"])]);
    let owned = Refusal::Owned { port: "learn-020000000901".parse().unwrap(), node: "a-1".parse().unwrap() };
    assert_eq!(found.refused.values().collect::<Vec<_>>(), [&owned]);
    let other = &after.ports[&"learn-020000000902".parse().unwrap()];
    assert_eq!(other.spec.ips, BTreeSet::from(["192.168.12.7".parse().unwrap()]), "another's IP address is left out");
    assert_eq!(after.ports[&"learn-020000000901".parse().unwrap()].spec.node.as_str(), "a-1");
}

#[test]
fn only_learning_networks_that_the_node_may_host_are_listened_to() {
    let mut state = learning();
    let refusal = |state: &State, claim: FoundPort| report(state, "a-2", &[claim]).1.refused.into_values().next();
    assert_eq!(refusal(&state, claim(10, 1, &[])), Some(Refusal::Declared("blue".parse().unwrap())));
    assert_eq!(refusal(&state, claim(99, 1, &[])), Some(Refusal::NoNetwork));
    let group = FoundPort { mac: Mac::BROADCAST, ..claim(12, 1, &[]) };
    assert_eq!(refusal(&state, group), Some(Refusal::NotUnicast));
    let mut overlay = fixture::overlay("default", 4789);
    overlay.spec.nodes = Some(["a-1".parse().unwrap()].into());
    state.put(Any::Overlay(overlay));
    assert_eq!(refusal(&state, claim(12, 1, &[])), Some(Refusal::NotAdmitted("learn".parse().unwrap())));
}

#[test]
fn a_declared_port_that_is_found_stays_declared() {
    let mut state = learning();
    let mut port = fixture::port("web", "learn", "a-1", 0x901, "192.168.12.9");
    port.spec.mac = Mac([2, 0, 0, 0, 9, 1]);
    state.put(Any::Port(port));
    let (after, found) = report(&state, "a-1", &[claim(12, 1, &["192.168.12.44"])]);
    assert_eq!((found.edits.len(), after), (0, state));
}

#[test]
fn addresses_outside_of_the_network_and_gateways_are_left_out() {
    let claimed = ["10.0.0.1", "fe80::1", "224.0.0.1", "192.168.12.255", "192.168.12.254"];
    let (state, _) = report(&learning(), "a-1", &[claim(12, 1, &claimed)]);
    let port = &state.ports[&"learn-020000000901".parse().unwrap()];
    assert_eq!(port.spec.ips, BTreeSet::from(["fe80::1".parse().unwrap()]));
}

#[test]
fn long_names_are_cut_and_stay_apart() {
    let long = |end: &str| -> NetworkId { format!("{}{end}", "n".repeat(60)).parse().unwrap() };
    let [a, b] = ["x", "y"].map(|end| name_of(&long(end), Mac([2, 0, 0, 0, 0, 1])));
    assert!(a != b && a.as_str().len() <= 63);
}

/// As many claims as one report holds, of invented addresses.
fn invented(from: usize, count: usize) -> Vec<FoundPort> {
    let mac = |n: usize| {
        let [a, b] = u16::try_from(n).unwrap().to_be_bytes();
        Mac([0, 1, 0, 0, a, b])
    };
    (from..from + count).map(|n| FoundPort { mac: mac(n), ..claim(12, 0, &[]) }).collect()
}

#[test]
fn who_is_no_host_finds_nothing() {
    let mut state = learning();
    let mut network = state.networks[&"learn".parse().unwrap()].as_ref().clone();
    network.spec.nodes = Some(BTreeSet::from(["a-*".parse().unwrap()]));
    state.put(Any::Network(network));
    let refusal = |node: &str| report(&state, node, &[claim(12, 1, &[])]).1.refused.into_values().next();
    assert_eq!(refusal("a-2"), None);
    assert_eq!(refusal("b-1"), Some(Refusal::NotHost("learn".parse().unwrap())));
}

#[test]
fn a_guest_that_invents_addresses_uses_up_the_room_of_its_own_node_and_pushes_nobody_out() {
    let (state, _) = report(&learning(), "a-1", &[claim(12, 255, &["192.168.12.5"])]);
    // The honest guest's address sorts behind all that are invented.
    let mut all = invented(0, 5_000);
    all.push(claim(12, 255, &["192.168.12.5"]));
    all.sort();
    let (state, found) = report(&state, "a-1", &all[all.len() - limits::CLAIMS..]);
    let of = |state: &State, node: &str| {
        state.ports.values().filter(|p| p.spec.reported && p.spec.node.as_str() == node).count()
    };
    assert_eq!(of(&state, "a-1"), limits::FOUND_OF_NODE);
    assert!(state.ports.contains_key(&"learn-0200000009ff".parse().unwrap()), "who was there stays");
    assert!(found.refused.values().all(|why| *why == Refusal::TooMany) && !found.refused.is_empty());
    let (state, found) = report(&state, "b-1", &[claim(12, 7, &[]), claim(12, 8, &[])]);
    assert!(found.refused.is_empty() && of(&state, "b-1") == 2, "another node has its own room");
}

#[test]
fn nodes_that_fill_a_network_leave_every_other_its_part() {
    let (mut state, mut n) = (learning(), 0);
    let mut total = 0;
    while total < limits::FOUND_OF_NETWORK {
        let name = format!("x-{n}");
        state.put(Any::Node(fixture::joined(&name, "a", &format!("10.0.0.{}", n + 50), "198.51.0.9", n + 50)));
        // What a report of each would make, without judging so many again and again.
        for claim in invented(usize::from(n) * limits::FOUND_OF_NODE, limits::FOUND_OF_NODE) {
            let network = state.networks[&"learn".parse().unwrap()].clone();
            let port = name_of(&network.metadata.name, claim.mac);
            state.put(Any::Port(port_of(port, &network, &name.parse().unwrap(), claim.mac, BTreeSet::new())));
            total += 1;
        }
        n += 1;
    }
    let found = decide(&Index::new(Arc::new(state)), &"b-1".parse().unwrap(), &invented(40_000, 200), &BTreeSet::new());
    assert_eq!(found.edits.len(), limits::FOUND_ALWAYS);
    assert_eq!(found.refused.values().next(), Some(&Refusal::NetworkFull("learn".parse().unwrap())));
}

#[test]
fn what_waits_is_judged_again_and_takes_nothing_away() {
    let (state, _) = report(&learning(), "a-1", &[claim(12, 1, &[])]);
    let (state, _) = report(&state, "b-1", &[claim(12, 1, &[]), claim(12, 2, &[])]);
    let (state, _) = report(&state, "a-1", &[]);
    let again = retry(&Index::new(Arc::new(state.clone())), &"b-1".parse().unwrap(), &[claim(12, 1, &[])]);
    let state = validate::check(&state, &again.edits).unwrap();
    let nodes: Vec<_> = state.ports.values().filter(|p| p.spec.reported).map(|p| p.spec.node.as_str()).collect();
    assert_eq!(nodes, ["b-1", "b-1"]);
}

#[test]
fn a_learning_network_that_nobody_hosts_is_told() {
    let mut state = learning();
    assert!(findings(&Index::new(Arc::new(state.clone()))).is_empty());
    let mut network = state.networks[&"learn".parse().unwrap()].as_ref().clone();
    network.spec.nodes = None;
    state.put(Any::Network(network));
    let found = findings(&Index::new(Arc::new(state)));
    assert!(found.len() == 1 && found[0].code == "M0372" && found[0].help.contains("--nodes"), "{found:?}");
}

#[test]
fn who_has_just_let_go_gets_back_what_was_found_elsewhere_and_nothing_that_is_declared() {
    let (state, found) = report(&learning(), "a-1", &[claim(12, 1, &[])]);
    assert!(found.let_go.is_empty());
    let (state, gone) = report(&state, "a-1", &[]);
    assert_eq!(gone.let_go.len(), 1);
    let (state, _) = report(&state, "b-1", &[claim(12, 1, &[])]);
    let again = |state: &State| {
        let claims = [claim(12, 1, &["192.168.12.5"])];
        decide(&Index::new(Arc::new(state.clone())), &"a-1".parse().unwrap(), &claims, &gone.let_go)
    };
    let back = again(&state);
    assert!(back.refused.is_empty());
    let after = validate::check(&state, &back.edits).unwrap();
    let port = &after.ports[&"learn-020000000901".parse().unwrap()];
    assert_eq!((port.spec.node.as_str(), port.spec.ips.len()), ("a-1", 1));
    let mut declared = state.clone();
    let mut port = fixture::port("web", "learn", "b-1", 0x901, "192.168.12.9");
    port.spec.mac = Mac([2, 0, 0, 0, 9, 1]);
    declared.ports.retain(|_, port| !port.spec.reported);
    declared.put(Any::Port(port));
    assert_eq!(again(&declared).refused.len(), 1);
}
