use std::sync::Arc;

use super::*;
use crate::api::objects::{ForeignSpec, NodeFacts, TokenSpec, TokenStatus};
use crate::mgmt::{certs, fixture, index};
use crate::types::{PublicKey, UdpPort};

const NOW: Wall = Wall::from_secs(1_000_000);

struct World {
    state: State,
    secret: String,
    id: String,
    facts: NodeFacts,
}

fn world(uses: u32) -> World {
    let made = token::make([1; 5], &[7; 32], &["m:7443".to_owned()], &[9; 32]);
    let secret = token::read(&made.text).ok().unwrap().secret.to_string();
    let mut state = fixture::mesh();
    let spec = TokenSpec {
        pdc: "a".parse().unwrap(),
        name_pattern: "*".into(),
        uses,
        expires: Wall::from_secs(2_000_000),
        replace: false,
    };
    let status = TokenStatus { secret_hash: made.secret_hash, used: Vec::new() };
    state.put(Any::Token(Object {
        metadata: Meta { name: made.id.clone(), labels: Default::default(), revision: None },
        spec,
        status,
    }));
    World { state, secret, id: made.id, facts: fixture::facts("10.0.0.77", "198.51.100.77") }
}

fn key() -> Request {
    Request::read(&certs::new_request(&"x".parse().unwrap()).unwrap().csr).unwrap()
}

fn change(state: &mut State, name: &str, change: impl FnOnce(&mut Node)) {
    let mut node = state.nodes[&name.parse::<NodeId>().unwrap()].as_ref().clone();
    change(&mut node);
    state.put(Any::Node(node));
}

impl World {
    fn ask(&mut self, name: &str, key: &Request, wireguard: u8) -> Result<Admission, EnrollError> {
        self.says(name, key, wireguard, true)
    }

    fn says(&mut self, name: &str, key: &Request, wireguard: u8, proved: bool) -> Result<Admission, EnrollError> {
        let request = EnrollRequest {
            token: self.id.clone(),
            secret: self.secret.clone(),
            name: name.parse().unwrap(),
            asserted_pdc: None,
            csr: String::new(),
            public_key: PublicKey([wireguard; 32]),
            facts: self.facts.clone(),
            proofs: Vec::new(),
        };
        let origin = Origin { who: "token/t".into(), from: "192.0.2.1".into(), at: NOW };
        let admission = decide(&self.state, &request, (key, proved), &origin, &"100.64.0.0/16".parse().unwrap())?;
        self.state = self.state.after(&admission.edits);
        Ok(admission)
    }
}

impl World {
    /// The token, as `meshctl token create --replace NAME` makes it.
    fn made_to_replace(&mut self, name: &str) {
        let mut token = self.state.tokens[&self.id].as_ref().clone();
        (token.spec.replace, token.spec.name_pattern) = (true, name.to_owned());
        self.state.put(Any::Token(token));
    }
}

fn code(error: EnrollError) -> String {
    let problem = error.problem();
    assert!(problem.notes.contains(&"nothing was changed".to_owned()) && !problem.help.is_empty(), "{problem}");
    problem.code
}

#[test]
fn a_new_machine_gets_the_tokens_pdc_and_the_next_tunnel_address() {
    let mut world = world(1);
    let key = key();
    let admission = world.ask("a-3", &key, 77).unwrap();
    assert_eq!((admission.pdc.as_str(), admission.again), ("a", false));
    let node = &world.state.nodes[&"a-3".parse().unwrap()];
    assert_eq!(node.status.tls_key.as_deref(), Some(key.key_hash()));
    assert_eq!(node.status.tunnel_address, Some("100.64.0.5".parse().unwrap()));
    assert_eq!(world.state.tokens[&world.id].status.used[0].node.as_str(), "a-3");
}

#[test]
fn a_lost_reply_is_answered_again_and_spends_nothing() {
    let mut world = world(2);
    let key = key();
    world.ask("a-3", &key, 77).unwrap();
    let again = world.ask("a-3", &key, 77).unwrap();
    assert!(again.again && again.edits.len() == 1);
    assert_eq!(again.edits[0].before, again.edits[0].after, "nothing is left to write");
    assert_eq!(world.state.tokens[&world.id].status.used.len(), 1);
}

#[test]
fn another_key_is_refused_before_and_after() {
    let mut world = world(1);
    world.ask("a-3", &key(), 77).unwrap();
    assert_eq!(code(world.ask("a-3", &key(), 78).unwrap_err()), "M0247");
    assert_eq!(code(world.ask("a-4", &key(), 78).unwrap_err()), "M0246");
}

#[test]
fn a_name_that_is_taken_or_declared_otherwise_is_refused() {
    let mut world = world(9);
    assert_eq!(code(world.ask("a-1", &key(), 77).unwrap_err()), "M0253");
    world.state.put(Any::Node(fixture::node("planned", "b")));
    assert_eq!(code(world.ask("planned", &key(), 77).unwrap_err()), "M0261");
    let mut foreign = fixture::node("box", "a");
    foreign.spec.foreign = Some(ForeignSpec {
        public_key: PublicKey([50; 32]),
        endpoint: None,
        tunnel_address: "100.64.9.9".parse().unwrap(),
    });
    world.state.put(Any::Node(foreign));
    assert_eq!(code(world.ask("box", &key(), 77).unwrap_err()), "M0252");
}

/// Which tokens let a machine in under which name.
#[test]
fn a_token_that_says_nothing_of_names_is_not_for_what_an_operator_has_declared() {
    let names = |list: &[&str]| Some(list.iter().map(|name| name.parse().unwrap()).collect());
    let ask = |pattern: &str, name: &str| {
        let mut world = world(9);
        let token = Arc::make_mut(world.state.tokens.values_mut().next().unwrap());
        token.spec.name_pattern = pattern.to_owned();
        // One that is declared and waits with a port, and two that are only named.
        world.state.put(Any::Node(fixture::node("ready", "a")));
        world.state.put(Any::Port(fixture::port("waits", "blue", "ready", 99, "192.168.10.99")));
        let mut overlay = fixture::overlay("other", 4790);
        overlay.spec.nodes = Some(["admitted".parse().unwrap()].into());
        world.state.put(Any::Overlay(overlay));
        let mut learn = fixture::network("learn", "default", 12, "192.168.12.0/24");
        learn.spec.learning = crate::table::Learning::Local;
        learn.spec.nodes = names(&["host", "web-*"]);
        world.state.put(Any::Network(learn));
        world.ask(name, &key(), 77).map(drop).map_err(code)
    };
    let refused = || Err("M0275".to_owned());
    for (pattern, name, expected) in [
        ("*", "new", Ok(())),
        ("**", "new", Ok(())),
        ("*", "web-7", Ok(())),
        ("*", "ready", refused()),
        ("**", "ready", refused()),
        ("*", "admitted", refused()),
        ("*", "host", refused()),
        ("rea*", "ready", Ok(())),
        ("ready", "ready", Ok(())),
        ("ad*", "admitted", Ok(())),
        ("host", "host", Ok(())),
        ("other-*", "ready", Err("M0249".to_owned())),
        ("*", "a-1", Err("M0253".to_owned())),
    ] {
        assert_eq!(ask(pattern, name), expected, "{pattern} {name}");
    }
}

#[test]
fn a_machine_that_is_in_may_come_again_with_a_token_that_says_nothing_of_names() {
    let mut world = world(9);
    let key = key();
    world.ask("a-3", &key, 77).unwrap();
    assert!(world.ask("a-3", &key, 77).unwrap().again);
}

#[test]
fn a_wireguard_key_that_two_have_proved_lets_neither_be_a_member() {
    for (which, theirs) in [("in force", 1), ("next", 90), ("in quarantine", 4)] {
        let mut world = world(1);
        change(&mut world.state, "a-1", |node| node.status.next_public_key = Some(PublicKey([90; 32])));
        change(&mut world.state, "b-2", |node| node.status.quarantined = Some(Wall::from_secs(7)));
        let victim: NodeId = if which == "in quarantine" { "b-2" } else { "a-1" }.parse().unwrap();
        let before = world.state.clone();
        assert_eq!(code(world.says("a-3", &key(), theirs, false).unwrap_err()), "M0280", "{which}, unproved");
        assert_eq!(world.state, before, "{which}: the victim notices nothing");
        let admission = world.ask("a-3", &key(), theirs).unwrap();
        assert_eq!(admission.clash.as_ref(), Some(&victim), "{which}");
        for node in [&victim, &"a-3".parse().unwrap()] {
            let node = &world.state.nodes[node];
            assert!(node.status.quarantined.is_some() && !index::is_member(node), "{which}: {}", node.metadata.name);
        }
    }
}

#[test]
fn a_key_that_an_operator_has_declared_or_taken_back_is_refused_however_proved() {
    let mut world = world(9);
    let foreign =
        ForeignSpec { public_key: PublicKey([50; 32]), endpoint: None, tunnel_address: "100.64.9.9".parse().unwrap() };
    let mut node = fixture::node("box", "a");
    node.spec.foreign = Some(foreign);
    world.state.put(Any::Node(node));
    change(&mut world.state, "a-1", |node| node.status.revoked = vec![PublicKey([60; 32]).to_string()]);
    for bad in [50, 60, 0] {
        let before = world.state.clone();
        assert_eq!(code(world.ask("a-3", &key(), bad).unwrap_err()), "M0283", "{bad}");
        assert_eq!(world.state, before);
    }
}

#[test]
fn a_node_that_was_reset_comes_back_with_its_own_token_and_new_keys_and_keeps_its_place() {
    let mut world = world(9);
    let (old, stolen) = (key(), key());
    change(&mut world.state, "a-1", |node| node.status.tls_key = Some(old.key_hash().to_owned()));
    let before = world.state.nodes[&"a-1".parse().unwrap()].as_ref().clone();
    let edit = keys::reset(&before, "another", NOW).unwrap();
    world.state = world.state.after(&[edit]);
    assert!(!index::is_member(&world.state.nodes[&"a-1".parse().unwrap()]));
    assert_eq!(
        code(world.ask("a-1", &stolen, 77).unwrap_err()),
        "M0284",
        "any token fits its name, and none lets it in"
    );
    let own = world.id.clone();
    change(&mut world.state, "a-1", |node| node.status.rejoin = Some(own));
    assert_eq!(code(world.ask("a-1", &old, 77).unwrap_err()), "M0283", "the old TLS key");
    assert_eq!(code(world.ask("a-1", &stolen, 1).unwrap_err()), "M0283", "the old WireGuard key");
    assert_eq!(code(world.ask("a-9", &stolen, 1).unwrap_err()), "M0283", "nor under another name");
    world.ask("a-1", &stolen, 77).unwrap();
    let node = &world.state.nodes[&"a-1".parse().unwrap()];
    assert!(index::is_member(node) && node.status.rejoin.is_none());
    assert_eq!(node.status.tunnel_address, before.status.tunnel_address);
    assert!(world.state.ports.values().any(|port| port.spec.node == node.metadata.name), "its ports are there");
}

#[test]
fn a_token_made_for_it_lets_one_machine_take_the_place_of_a_node_and_takes_the_keys_of_before_back() {
    for was in ["joined", "quarantined", "reset", "changing", "declared"] {
        let mut world = world(1);
        let (old, new) = (key(), key());
        change(&mut world.state, "a-1", |node| {
            node.status.tls_key = Some(old.key_hash().to_owned());
            match was {
                "quarantined" => node.status.quarantined = Some(NOW),
                "reset" => *node = reset_of(node),
                "changing" => node.status.next_public_key = Some(PublicKey([66; 32])),
                "declared" => node.status = NodeStatus::default(),
                _ => {}
            }
        });
        let place = world.state.nodes[&"a-1".parse().unwrap()].status.tunnel_address;
        assert!(world.ask("a-1", &new, 77).is_err(), "{was}: a token like any other lets nobody in here");
        world.made_to_replace("a-1");
        if was != "declared" {
            assert_eq!(code(world.ask("a-1", &old, 77).unwrap_err()), "M0283", "{was}: the old TLS key");
            assert_eq!(code(world.ask("a-1", &new, 1).unwrap_err()), "M0283", "{was}: the old WireGuard key");
        }
        assert_eq!(code(world.ask("a-2", &new, 77).unwrap_err()), "M0249", "{was}: it is for one node");
        let admission = world.ask("a-1", &new, 77).unwrap();
        assert!(admission.replaced && !admission.again, "{was}");
        let node = world.state.nodes[&"a-1".parse().unwrap()].clone();
        assert!(
            index::is_member(&node) && node.status.rejoin.is_none() && node.status.next_public_key.is_none(),
            "{was}"
        );
        assert_eq!(node.status.tls_key.as_deref(), Some(new.key_hash()), "{was}");
        assert!(place.is_none() || node.status.tunnel_address == place, "{was}: its place is the same");
        assert!(
            world.state.ports.values().any(|port| port.spec.node == node.metadata.name),
            "{was}: its ports are there"
        );
        assert!(world.ask("a-1", &new, 77).unwrap().again, "{was}: a lost answer is given again");
        assert_eq!(code(world.ask("a-1", &key(), 78).unwrap_err()), "M0247", "{was}: once");
        assert_eq!(code(world.ask("a-1", &old, 1).unwrap_err()), "M0247", "{was}: nor does the old machine come back");
    }
}

fn reset_of(node: &Node) -> Node {
    let Some(Any::Node(reset)) = keys::reset(node, "another", NOW).unwrap().after else { panic!() };
    reset
}

#[test]
fn a_foreign_peer_and_a_node_of_another_pdc_are_not_replaced() {
    let mut world = world(1);
    let node = |world: &World, name: &str| world.state.nodes[&name.parse().unwrap()].as_ref().clone();
    assert_eq!(code(replaceable(&node(&world, "b-1"), &"a".parse().unwrap()).unwrap_err()), "M0261");
    assert!(replaceable(&node(&world, "a-1"), &"a".parse().unwrap()).is_ok());
    change(&mut world.state, "a-1", |node| {
        node.spec.foreign = Some(ForeignSpec {
            public_key: PublicKey([60; 32]),
            endpoint: None,
            tunnel_address: "100.64.1.1".parse().unwrap(),
        });
    });
    assert_eq!(code(replaceable(&node(&world, "a-1"), &"a".parse().unwrap()).unwrap_err()), "M0252");
    world.made_to_replace("a-1");
    assert_eq!(code(world.ask("a-1", &key(), 77).unwrap_err()), "M0252", "nor with a token that was made before");
}

#[test]
fn who_asks_again_changes_neither_key_nor_facts() {
    let mut world = world(2);
    let key = key();
    world.ask("a-3", &key, 77).unwrap();
    let before = world.state.clone();
    assert_eq!(code(world.ask("a-3", &key, 78).unwrap_err()), "M0253", "a TLS key and a token are no WireGuard key");
    world.facts = fixture::facts("10.0.0.78", "198.51.100.78");
    assert!(world.ask("a-3", &key, 77).unwrap().again);
    assert_eq!(world.state, before);
}

#[test]
fn what_is_said_at_enrolment_is_looked_at_as_everywhere() {
    for (what, facts) in [
        ("another's admin address", fixture::facts("10.0.0.1", "198.51.100.77")),
        ("another's external address", fixture::facts("10.0.0.77", "198.51.0.1")),
        ("a group", fixture::facts("10.0.0.77", "224.0.0.1")),
    ] {
        let mut world = world(1);
        world.facts = facts;
        assert_eq!(code(world.ask("a-3", &key(), 77).unwrap_err()), "M0257", "{what}");
    }
    let mut world = world(1);
    world.facts.listen = UdpPort::try_from(53).unwrap();
    assert_eq!(code(world.ask("a-3", &key(), 77).unwrap_err()), "M0257", "DNS");
}

#[test]
fn a_removed_node_does_not_come_back_with_its_old_request() {
    let mut world = world(1);
    let key = key();
    world.ask("a-3", &key, 77).unwrap();
    world.state.remove(Kind::Node, "a-3");
    assert_eq!(code(world.ask("a-3", &key, 77).unwrap_err()), "M0254");
    world.state.put(Any::Node(fixture::node("a-3", "a")));
    assert_eq!(code(world.ask("a-3", &key, 77).unwrap_err()), "M0254", "nor where the name is declared again");
}

#[test]
fn a_token_of_a_deleted_pdc_lets_nobody_in() {
    let mut world = world(1);
    world.state.remove(Kind::Pdc, "a");
    assert_eq!(code(world.ask("a-3", &key(), 77).unwrap_err()), "M0250");
}
