use std::sync::Arc;

use super::*;
use crate::api::objects::{ForeignSpec, TokenSpec, TokenStatus};
use crate::mgmt::certs;
use crate::mgmt::fixture;
use crate::types::PublicKey;

const NOW: Wall = Wall::from_secs(1_000_000);

struct World {
    state: State,
    secret: String,
    id: String,
}

fn world(uses: u32) -> World {
    let made = token::make([1; 5], &[7; 32], &["m:7443".to_owned()], &[9; 32]);
    let secret = token::read(&made.text).ok().unwrap().secret.to_string();
    let mut state = fixture::mesh();
    let spec =
        TokenSpec { pdc: "a".parse().unwrap(), name_pattern: "*".into(), uses, expires: Wall::from_secs(2_000_000) };
    let status = TokenStatus { secret_hash: made.secret_hash, used: Vec::new() };
    state.put(Any::Token(Object {
        metadata: Meta { name: made.id.clone(), labels: Default::default(), revision: None },
        spec,
        status,
    }));
    World { state, secret, id: made.id }
}

fn key() -> Request {
    Request::read(&certs::new_request(&"x".parse().unwrap()).unwrap().csr).unwrap()
}

impl World {
    fn ask(&mut self, name: &str, key: &Request, wireguard: u8) -> Result<Admission, EnrollError> {
        let request = EnrollRequest {
            token: self.id.clone(),
            secret: self.secret.clone(),
            name: name.parse().unwrap(),
            asserted_pdc: None,
            csr: String::new(),
            public_key: PublicKey([wireguard; 32]),
            facts: fixture::facts("10.0.0.77", "198.51.100.77"),
        };
        let origin = Origin { who: "token/t".into(), from: "192.0.2.1".into(), at: NOW };
        let admission = decide(&self.state, &request, key, &origin, &"100.64.0.0/16".parse().unwrap())?;
        self.state = self.state.after(&admission.edits);
        Ok(admission)
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
fn a_cloned_wireguard_key_is_refused() {
    assert_eq!(code(world(1).ask("a-3", &key(), 1).unwrap_err()), "M0325");
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
