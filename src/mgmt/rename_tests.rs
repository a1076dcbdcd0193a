use super::*;
use crate::api::objects::{Meta, Object, TokenSpec, TokenStatus};
use crate::mgmt::{fixture, validate};
use crate::policy::path::{Action, PathRule};
use crate::types::{PublicKey, Wall};

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// A declared node and everything that can name it.
fn named() -> State {
    let mut state = State::default();
    let mut overlay = fixture::overlay("default", 4789);
    overlay.spec.nodes = Some([id("a-1"), id("a-2")].into());
    let mut learns = fixture::network("learns", "default", 11, "192.168.11.0/24");
    learns.spec.learning = crate::table::Learning::Local;
    learns.spec.nodes = Some(["a-1", "b-*"].map(|name| name.parse().unwrap()).into());
    let rule = PathRule {
        between: vec![Selector::Node(id("a-1")), Selector::Node(id("a-2"))],
        network: None,
        action: Action::Encrypt,
        i_know_this_is_clear: false,
    };
    let token = TokenSpec {
        pdc: "a".parse().unwrap(),
        name_pattern: "a-1".to_owned(),
        uses: 1,
        expires: Wall::from_secs(1),
        replace: false,
    };
    let status = TokenStatus { secret_hash: "x".to_owned(), used: Vec::new() };
    let metadata = Meta { name: "t1".to_owned(), labels: Default::default(), revision: None };
    let objects = [
        Any::Pdc(fixture::pdc("a", "10.0.0.0/24")),
        Any::Node(fixture::node("a-1", "a")),
        Any::Node(fixture::node("a-2", "a")),
        Any::Overlay(overlay),
        Any::Network(learns),
        Any::Network(fixture::network("blue", "default", 10, "192.168.10.0/24")),
        Any::Port(fixture::port("web", "blue", "a-1", 1, "192.168.10.1")),
        Any::Port(fixture::port("db", "blue", "a-2", 2, "192.168.10.2")),
        Any::PathPolicy(Object { metadata: fixture::meta("rule"), spec: rule, status: () }),
        Any::Token(Object { metadata, spec: token, status }),
    ];
    objects.into_iter().for_each(|object| state.put(object));
    state
}

#[test]
fn everything_that_names_a_node_follows_its_new_name() {
    let before = named();
    let edits = rename(&before, &id("a-1"), &id("front")).unwrap();
    validate::check(&before, &edits).unwrap();
    let after = before.after(&edits);
    let text = Kind::ALL.into_iter().flat_map(|kind| after.list(kind)).map(|o| serde_json::to_string(&o).unwrap());
    let text: String = text.collect();
    assert!(!text.contains("\"a-1\""), "{text}");
    assert_eq!(text.matches("\"front\"").count(), 6, "node, overlay, network, port, policy, token: {text}");
    assert_eq!(after.count(Kind::Node), 2);
    assert!(text.contains("\"a-2\"") && text.contains("b-*"), "{text}");
}

#[test]
fn who_has_joined_keeps_the_name_and_is_told_the_way() {
    let mut state = named();
    let with = |state: &mut State, change: &dyn Fn(&mut Node)| {
        let mut node = fixture::node("a-1", "a");
        change(&mut node);
        state.put(Any::Node(node));
    };
    for (what, change) in [
        ("joined", &(|node: &mut Node| node.status.joined = Some(Wall::from_secs(1))) as &dyn Fn(&mut Node)),
        ("reset", &|node: &mut Node| node.status.rejoin = Some("t1".to_owned())),
        ("with keys that were taken back", &|node: &mut Node| node.status.revoked = vec!["k".to_owned()]),
        ("foreign", &|node: &mut Node| {
            node.spec.foreign = Some(crate::api::objects::ForeignSpec {
                public_key: PublicKey([9; 32]),
                endpoint: None,
                tunnel_address: std::net::Ipv4Addr::new(100, 64, 9, 9),
            });
        }),
    ] {
        with(&mut state, change);
        let problem = rename(&state, &id("a-1"), &id("front")).unwrap_err();
        assert!(problem.code == "M0287" && problem.help.iter().any(|help| help.contains("front")), "{what}: {problem}");
    }
    with(&mut state, &|_| {});
    assert_eq!(rename(&state, &id("a-1"), &id("a-2")).unwrap_err().code, "M0331");
    assert_eq!(rename(&state, &id("a-1"), &id("a-1")).unwrap_err().code, "M0331");
    assert_eq!(rename(&state, &id("a-9"), &id("front")).unwrap_err().code, "M0333");
}
