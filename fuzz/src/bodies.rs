//! What travels between processes as JSON: requests to the management node, and answers to those who asked.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vxmesh::api::admin::{Applied, Apply, Events, Matrix, MeshStatus, NewToken, Objects};
use vxmesh::api::enroll::{EnrollAnswer, EnrollRequest, RenewRequest};
use vxmesh::api::local::{Event, Explanation, Status, TunnelStatus};
use vxmesh::api::mtu::{MeshMtu, NodeMtu, Probed};
use vxmesh::api::objects::{Any, Meta, NodeFacts, Object, Token, TokenSpec, TokenStatus};
use vxmesh::api::problem::Problem;
use vxmesh::api::stream::Report;
use vxmesh::config::manifest;
use vxmesh::mgmt::audit::Origin;
use vxmesh::mgmt::index::Index;
use vxmesh::mgmt::measured::Measured;
use vxmesh::mgmt::state::State;
use vxmesh::mgmt::{certs, edit, enroll, facts, found, slice, token, validate};
use vxmesh::node::enroll::{Authority, Keys, Token as JoinToken, Wish};
use vxmesh::types::{NodeId, Prefix, SecretKey, Version, Wall};

use super::text::shown;

/// Two PDCs of two nodes, a network with ports, policies.
const OBJECTS: [&str; 2] = [
    include_str!("../../examples/manifests/two-pdcs.yaml"),
    include_str!("../../examples/manifests/local-guests.yaml"),
];
/// Id and secret of the token that the mesh of these inputs knows.
const TOKEN: ([u8; 5], [u8; 32]) = ([1, 2, 3, 4, 5], [7; 32]);
/// Now.
const NOW: Wall = Wall::from_secs(1_800_000_000);

thread_local! {
    static MESH: Mesh = Mesh::new();
}

/// What a management node knows.
struct Mesh {
    state: Arc<State>,
    index: Index,
    node: NodeId,
    token: String,
}

impl Mesh {
    fn new() -> Self {
        let empty = State::default();
        let objects = OBJECTS.iter().flat_map(|text| manifest::parse("example", text).expect("examples are valid"));
        let mut by_name = BTreeMap::new();
        for object in objects {
            by_name.insert((object.kind(), object.name().to_owned()), object);
        }
        let edits = edit::apply(&empty, by_name.into_values().collect()).expect("examples can be applied");
        let mut state = validate::check(&empty, &edits).expect("examples can be applied");
        let made = token::make(TOKEN.0, &TOKEN.1, &["mgmt:7443".to_owned()], &[9; 32]);
        let pdc = state.pdcs.keys().next().expect("there are PDCs").clone();
        let spec = TokenSpec {
            pdc,
            name_pattern: "*".to_owned(),
            uses: 2,
            expires: Wall::from_secs(1_900_000_000),
            replace: false,
        };
        let status = TokenStatus { secret_hash: made.secret_hash, ..TokenStatus::default() };
        let metadata = Meta { name: made.id, labels: BTreeMap::new(), revision: None };
        let known: Token = Object { metadata, spec, status };
        state.put(Any::Token(known));
        let node = state.nodes.keys().next().expect("there are nodes").clone();
        let state = Arc::new(state);
        Self { index: Index::new(Arc::clone(&state)), state, node, token: made.text.to_string() }
    }
}

/// `which (1) | JSON`: a request to the management node. What it would write fits the rules, and its slices can be made.
pub fn request(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    MESH.with(|mesh| match which % 5 {
        0 => enrolling(mesh, body),
        1 => reporting(mesh, body),
        2 => applying(mesh, body),
        3 => {
            if let Ok(wanted) = serde_json::from_slice::<NewToken>(body) {
                let _ = token::matches(&wanted.name_pattern, "a-1");
            }
        }
        _ => {
            if let Ok(asked) = serde_json::from_slice::<RenewRequest>(body) {
                let _ = certs::Request::read(&asked.csr);
            }
        }
    });
}

/// What was written can be sliced for every node.
fn sliced(state: State) {
    let index = Index::new(Arc::new(state));
    for node in index.state.nodes.keys() {
        let _ = slice::build(&index, node, Version::default(), None);
    }
}

fn enrolling(mesh: &Mesh, body: &[u8]) {
    let Ok(asked) = serde_json::from_slice::<EnrollRequest>(body) else { return };
    let Ok(key) = certs::Request::read(&asked.csr) else { return };
    let origin = Origin { who: "token".to_owned(), from: "192.0.2.1".to_owned(), at: NOW };
    let prefix: Prefix = "100.64.0.0/16".parse().expect("a prefix");
    match enroll::decide(&mesh.state, &asked, (&key, true), &origin, &prefix) {
        Ok(admitted) => {
            let after = validate::check(&mesh.state, &admitted.edits).expect("what is admitted fits");
            assert!(after.nodes.contains_key(&asked.name));
            sliced(after);
        }
        Err(error) => shown(&error.problem(), ""),
    }
}

fn reporting(mesh: &Mesh, body: &[u8]) {
    let Ok(said) = serde_json::from_slice::<Report>(body) else { return };
    if let Some(facts) = &said.facts {
        let before = mesh.state.nodes[&mesh.node].as_ref();
        let mut changed = before.clone();
        changed.status.facts = Some(facts.clone());
        let _ = facts::check(&mesh.state, Some(before), &changed);
    }
    if let Some(ports) = &said.ports {
        let found = found::decide(&mesh.index, &mesh.node, ports, &std::collections::BTreeSet::new());
        let after = validate::check(&mesh.state, &found.edits).expect("what is believed fits");
        let here = |any: &Option<Any>| matches!(any, Some(Any::Port(port)) if port.spec.node == mesh.node);
        for edit in &found.edits {
            assert!(edit.before.is_none() || here(&edit.before), "a port of somebody else's: {edit:?}");
            assert!(edit.after.is_none() || here(&edit.after), "a port for somebody else: {edit:?}");
        }
        sliced(after);
    }
    if let Some(paths) = &said.paths {
        let mut measured = Measured::default();
        measured.report(&mesh.state, &mesh.node, paths, NOW);
        let _ = measured.settle(&mesh.index, vxmesh::types::Mono::from_nanos(1));
    }
}

fn applying(mesh: &Mesh, body: &[u8]) {
    let Ok(Apply { items, .. }) = serde_json::from_slice(body) else { return };
    match edit::apply(&mesh.state, items).and_then(|edits| validate::check(&mesh.state, &edits)) {
        Ok(after) => sliced(after),
        Err(problem) => shown(&problem, ""),
    }
}

/// `which (1) | JSON`: an answer of the management node or of `meshd`. What is read is written and read the same; a refusal can be
/// shown; an answer to an enrolment that does not fit changes nothing.
pub fn answer(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    match which % 12 {
        0 => {
            if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
                let text = problem.to_string();
                assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
            }
        }
        1 => again::<Status>(body),
        2 => again::<Vec<TunnelStatus>>(body),
        3 => again::<Vec<Event>>(body),
        4 => again::<Explanation>(body),
        5 => again::<Objects>(body),
        6 => again::<Applied>(body),
        7 => again::<Events>(body),
        8 => again::<MeshStatus>(body),
        9 => again::<Matrix>(body),
        10 => {
            again::<MeshMtu>(body);
            again::<NodeMtu>(body);
            again::<Probed>(body);
        }
        _ => accepting(body),
    }
}

fn again<T: Serialize + DeserializeOwned>(body: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(body) else { return };
    let written = serde_json::to_string(&value).expect("what is read can be written");
    let same = serde_json::from_str::<T>(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(serde_json::to_string(&same).ok(), Some(written));
}

/// Believes every signature: the arithmetic is the library's, the rest is ours.
struct Gullible;

impl Authority for Gullible {
    fn pin(&self, _ca: &str) -> Option<[u8; 32]> {
        Some([9; 32])
    }

    fn vouches(&self, _ca: &str, _certificate: &str) -> Result<(), String> {
        Ok(())
    }
}

thread_local! {
    /// A key is made once: that costs a thousand times what an input does.
    static REQUEST: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

fn accepting(body: &[u8]) {
    let Ok(told) = serde_json::from_slice::<EnrollAnswer>(body) else { return };
    let name: NodeId = "a-1".parse().expect("a name");
    let (csr, tls) = REQUEST.with_borrow_mut(|made| {
        made.get_or_insert_with(|| {
            let request = certs::new_request(&name).expect("a key can be made");
            (request.csr, request.key.to_string())
        })
        .clone()
    });
    let wireguard = SecretKey::from_bytes([5; 32]);
    let public = vxmesh::tunnel::public_key(&wireguard);
    let keys = Keys { wireguard, public, tls: tls.into(), csr };
    let text = MESH.with(|mesh| mesh.token.clone());
    let token = JoinToken::parse(&text).unwrap_or_else(|_| unreachable!("it was made right"));
    let wish = Wish { name: name.clone(), pdc: None, facts: facts_of_a_node() };
    let challenge = vxmesh::mgmt::possession::challenge(&SecretKey::from_bytes([1; 32]), NOW, [1; 16]);
    let Ok((_, waiting)) = token.request(wish, keys, &challenge) else { return };
    if let Ok(member) = waiting.accept(told, &Gullible) {
        assert_eq!(member.name, name, "a certificate for another name is not taken");
    }
}

fn facts_of_a_node() -> NodeFacts {
    let facts = serde_json::json!({
        "admin": "10.0.0.1", "external": "198.51.100.1", "adminMtu": 1500, "externalMtu": 1500,
        "listen": 51820, "lanes": 1, "aes": false, "version": "0.1.0",
    });
    serde_json::from_value(facts).expect("the facts of a node")
}
