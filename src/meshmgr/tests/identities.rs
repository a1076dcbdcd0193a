//! Keys that are another's, and thieves of each key file: at every door of a real server.

use super::*;
use crate::api::local::Finding;
use crate::api::objects::Network;
use crate::mgmt::keys;
use crate::types::NodeId;

/// `a-1` to `a-3`, each with a guest in `blue`: a-2 is changing its key from 2 to 92, a-3 is in quarantine. `a-9` is the attacker's.
struct Mesh {
    world: World,
    members: Vec<Node>,
    attacker: Node,
}

async fn mesh() -> Mesh {
    let world = World::new().await;
    let mut members = Vec::new();
    for n in 1..=3 {
        members.push(world.join(&format!("a-{n}"), n).await);
    }
    let attacker = world.join("a-9", 9).await;
    let mut blue: Network = fixture::network("blue", "default", 10, "192.168.10.0/24");
    blue.spec.learning = crate::table::Learning::Local;
    change(&world, &members[1], 2, 92).await.unwrap();
    let caught = |view: &super::super::core::View| {
        let node = view.index.state.nodes[&"a-3".parse::<NodeId>().unwrap()].as_ref();
        let edits = vec![keys::quarantine(node, Wall::from_secs(7))];
        Ok(super::super::core::Plan { edits, event: None, answer: () })
    };
    world.app.core.change(caught).unwrap();
    Mesh { world, members, attacker }
}

/// Reports key `new` as the next one of a node whose key is `old`, both proved.
async fn change(world: &World, node: &Node, old: u8, new: u8) -> Result<Value, Problem> {
    let (was, is) = (public(old), public(new));
    let claim = Claim::Change { old: &was, new: &is };
    let said = Report { next_key: Some(is), ..Report::default() };
    world.report(node, said, &[(old, claim), (new, claim)]).await
}

impl Mesh {
    /// All nodes, as the store has them.
    fn nodes(&self) -> std::collections::BTreeMap<NodeId, crate::api::objects::NodeStatus> {
        let state = &self.world.app.core.view().index.state;
        state.nodes.values().map(|node| (node.metadata.name.clone(), node.status.clone())).collect()
    }

    fn is_out(&self, node: &str) -> bool {
        self.nodes()[&node.parse::<NodeId>().unwrap()].quarantined.is_some()
    }

    async fn told(&self, what: &str, words: &[&str]) -> bool {
        let log = self.world.log().await;
        log.iter().any(|(kind, text)| kind == what && words.iter().all(|word| text.contains(word)))
    }
}

/// Whose key it is, its number, and which node that is.
const KINDS: &[(&str, u8, Option<&str>)] = &[
    ("in force", 1, Some("a-1")),
    ("in force, while it changes", 2, Some("a-2")),
    ("next", 92, Some("a-2")),
    ("in quarantine", 3, Some("a-3")),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Enrolment,
    Report,
    Switch,
}

/// The attacker comes with key `n` by a door; `proved` is whether it holds the private half.
async fn enter(mesh: &Mesh, door: Door, n: u8, proved: bool) -> Result<Value, Problem> {
    let (world, attacker) = (&mesh.world, &mesh.attacker);
    let (own, key) = (public(9), public(n));
    let claim = Claim::Change { old: &own, new: &key };
    match (door, proved) {
        (Door::Enrolment, _) => {
            let (request, _) = request(&world.token(1).await, "thief", n);
            let request = EnrollRequest { facts: facts(77), ..request };
            let answer = if proved { world.enroll(&request).await } else { world.enroll_as_it_is(&request).await };
            answer.map(|_| Value::Null)
        }
        (Door::Report, true) => change(world, attacker, 9, n).await,
        // Who knows only the public half proves with what it has.
        (Door::Report, false) => {
            let said = Report { next_key: Some(key), ..Report::default() };
            world.report(attacker, said, &[(9, claim), (9, Claim::Join), (9, Claim::InUse)]).await
        }
        // By the doors no such key gets as far: somebody wrote it into the store.
        (Door::Switch, _) => {
            world.app.core.change(|view| {
                let node = view.index.state.nodes[&"a-9".parse::<NodeId>().unwrap()].as_ref();
                let mut after = node.clone();
                after.status.next_public_key = Some(key);
                let edit = crate::mgmt::state::Edit::update(Any::Node(node.clone()), Any::Node(after));
                Ok(super::super::core::Plan { edits: vec![edit], event: None, answer: () })
            })?;
            let said = Report { key_in_use: Some(key), ..Report::default() };
            let claims: &[(u8, Claim<'_>)] = if proved { &[(n, Claim::InUse)] } else { &[(9, Claim::InUse)] };
            world.report(attacker, said, claims).await
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_switches_nobody_off_unproved_and_both_off_proved_at_every_door() {
    for door in [Door::Enrolment, Door::Report, Door::Switch] {
        for (kind, n, victim) in KINDS {
            let (mesh, victim) = (mesh().await, victim.unwrap());
            let before = mesh.nodes();
            let refused = enter(&mesh, door, *n, false).await.unwrap_err();
            assert_eq!((refused.code.as_str(), refused.exit), ("M0280", Exit::Denied), "{door:?}, {kind}: {refused}");
            assert_eq!(mesh.nodes()[&victim.parse().unwrap()], before[&victim.parse().unwrap()], "{door:?}, {kind}");
            assert!(!mesh.nodes().contains_key(&"thief".parse().unwrap()), "{door:?}, {kind}");
            assert!(!mesh.is_out("a-9"), "{door:?}, {kind}: a lie is refused, no more");

            let refused = enter(&mesh, door, *n, true).await.unwrap_err();
            assert_eq!(refused.code, "M0282", "{door:?}, {kind}: {refused}");
            let who = if door == Door::Enrolment { "thief" } else { "a-9" };
            assert!(mesh.is_out(who) && mesh.is_out(victim), "{door:?}, {kind}: neither is preferred");
            assert!(mesh.told("quarantine", &[who, victim]).await, "{door:?}, {kind}: audit");
            let status: MeshStatus = mesh.world.get("/v1/status").await;
            for name in [who, victim] {
                let told = |f: &&Finding| f.code == "M0286" && f.what.contains(&format!("'{name}'"));
                assert!(status.problems.iter().any(|finding| told(&finding)), "{door:?}, {kind}: status of {name}");
            }
            let after = mesh.world.node(&mesh.members[0]).lines("/v1/slice").await;
            assert_eq!(after.is_err(), victim == "a-1", "{door:?}, {kind}: the others go on");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_own_keys_are_no_news_at_any_door() {
    let mesh = mesh().await;
    let (world, two) = (&mesh.world, &mesh.members[1]);
    let before = mesh.nodes();
    for n in [2, 92] {
        for claims in [&[] as &[(u8, Claim<'_>)], &[(n, Claim::InUse)]] {
            world.report(two, Report { next_key: Some(public(n)), ..Report::default() }, claims).await.unwrap();
        }
    }
    assert_eq!(mesh.nodes(), before);
    world
        .report(two, Report { key_in_use: Some(public(92)), ..Report::default() }, &[(2, Claim::InUse)])
        .await
        .unwrap_err();
    assert_eq!(mesh.nodes(), before, "the old key does not say that the new one is in use");
    world
        .report(two, Report { key_in_use: Some(public(92)), ..Report::default() }, &[(92, Claim::InUse)])
        .await
        .unwrap();
    assert_eq!(mesh.nodes()[&"a-2".parse().unwrap()].public_key, Some(public(92)));
}

/// An enrolment as programs before this version send it: no proofs at all.
#[tokio::test(flavor = "multi_thread")]
async fn an_enrolment_of_old_is_refused_with_what_to_do_and_changes_nothing() {
    let mesh = mesh().await;
    let (request, _) = request(&mesh.world.token(1).await, "thief", 92);
    let mut old = serde_json::to_value(&request).unwrap();
    old.as_object_mut().unwrap().remove("proofs");
    let before = mesh.nodes();
    let refused = mesh.world.stranger().call::<_, Value>(Method::POST, "/v1/enroll", Some(&old)).await.unwrap_err();
    assert_eq!(refused.code, "M0280", "{refused}");
    assert!(refused.help.iter().any(|help| help.contains("one version")), "{refused}");
    assert_eq!(mesh.nodes(), before);
    let tokens: Value = mesh.world.get("/v1/objects/token").await;
    let id = refused_token(&request);
    let token = tokens["items"].as_array().unwrap().iter().find(|t| t["metadata"]["name"] == id.as_str()).unwrap();
    assert!(token["status"]["used"].is_null(), "the token is as good as before: {token}");
}

fn refused_token(request: &EnrollRequest) -> String {
    request.token.clone()
}

/// What a thief would have the node say, and its name.
type Move = (&'static str, fn(&mut NodeFacts));

/// What each stolen file opens: the thief has it, and with it what any member can see (public keys, names, challenges).
#[tokio::test(flavor = "multi_thread")]
async fn a_thief_of_one_key_file_gets_what_the_table_says() {
    let mesh = mesh().await;
    let (world, victim) = (&mesh.world, &mesh.members[0]);
    let before = mesh.nodes();
    let own = facts(1);
    let moves: [Move; 5] = [
        ("address", |f| f.admin = "10.0.0.66".parse().ok()),
        ("external address", |f| f.external = "203.0.113.66".parse().ok()),
        ("UDP port", |f| f.listen = 40_000_u64.try_into().unwrap()),
        ("lanes", |f| f.lanes = 1),
        ("suite", |f| f.aes = false),
    ];
    // tls.key: nothing of what others reach the node by. The thief proves with a WireGuard key of its own.
    for (what, step) in moves {
        let mut said = own.clone();
        step(&mut said);
        for claims in [&[] as &[(u8, Claim<'_>)], &[(66, Claim::Facts(&said))], &[(66, Claim::Facts(&own))]] {
            let refused = world.report(victim, Report { facts: Some(said.clone()), ..Report::default() }, claims).await;
            assert_eq!(refused.unwrap_err().code, "M0280", "tls.key moves the {what}");
        }
    }
    let (old, new) = (public(1), public(66));
    let claim = Claim::Change { old: &old, new: &new };
    let said = || Report { next_key: Some(new), ..Report::default() };
    assert_eq!(
        world.report(victim, said(), &[(66, claim)]).await.unwrap_err().code,
        "M0280",
        "tls.key changes the key"
    );
    let stolen = certs::new_request(&"a-1".parse().unwrap()).unwrap();
    let hash = certs::Request::read(&stolen.csr).unwrap().key_hash().to_owned();
    let renewal = RenewRequest { csr: stolen.csr, proofs: world.proofs(victim, &[(66, Claim::Renew(&hash))]).await };
    let refused = world.node(victim).call::<_, Value>(Method::POST, "/v1/renew", Some(&renewal)).await;
    assert_eq!(refused.unwrap_err().code, "M0280", "tls.key makes another TLS key");
    assert_eq!(mesh.nodes(), before, "after all that");
    // It reads the slice, as keys/README.md says; that is what it can do.
    assert!(world.node(victim).lines("/v1/slice").await.is_ok());

    // wireguard.key or wireguard.next without the TLS key: no door of a member opens for another member.
    for (file, n) in [("wireguard.key", 1), ("wireguard.next", 92)] {
        let said = Report { facts: Some(facts(66)), ..Report::default() };
        let claim = facts(66);
        let refused = world.report(&mesh.attacker, said, &[(n, Claim::Facts(&claim))]).await.unwrap_err();
        assert_eq!(refused.code, "M0280", "{file} as another node");
    }
    // The token of a machine that has joined: nothing, but for that very machine.
    let text = world.token(1).await;
    let (first, _) = request(&text, "a-5", 5);
    world.enroll(&first).await.unwrap();
    let (mut again, _) = request(&text, "a-5", 66);
    assert_eq!(world.enroll(&again).await.unwrap_err().code, "M0247", "token");
    // Token and tls.key of it: not its WireGuard key.
    again.csr = first.csr.clone();
    assert_eq!(world.enroll(&again).await.unwrap_err().code, "M0253", "token and tls.key");
    assert_eq!(mesh.nodes()[&"a-1".parse().unwrap()], before[&"a-1".parse().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_of_a_tls_key_neither_takes_nor_changes_what_the_node_finds() {
    let mesh = mesh().await;
    let (world, victim) = (&mesh.world, &mesh.members[0]);
    let _stream = world.node(victim).lines("/v1/slice?instance=77&connection=1").await.unwrap();
    let shown = async || {
        let status: MeshStatus = world.get("/v1/status").await;
        let of_victim = status.problems.into_iter().filter(|problem| problem.what.starts_with("node a-1: "));
        of_victim.map(|problem| problem.what).collect::<Vec<_>>()
    };
    let say = async |what: &[&str], by: Option<u8>| {
        let said: Vec<Finding> = what.iter().map(|what| Finding::new("M0410", (*what).to_owned(), "help")).collect();
        let claims: Vec<_> = by.map(|n| (n, Claim::Findings(&said))).into_iter().collect();
        world.report(victim, Report { findings: Some(said.clone()), ..Report::default() }, &claims).await.unwrap();
    };
    say(&["b-1 is down"], Some(1)).await;
    assert_eq!(shown().await, ["node a-1: b-1 is down"]);
    for by in [None, Some(66)] {
        say(&[], by).await;
        assert_eq!(shown().await, ["node a-1: b-1 is down"], "emptied");
        say(&["all is lost"], by).await;
        let marked = "node a-1: said without proof of its WireGuard key: all is lost";
        assert_eq!(shown().await, ["node a-1: b-1 is down", marked], "replaced");
    }
    // A proof is of these findings and of no others.
    let (said, other) = (vec![Finding::new("M0410", "c".into(), "d")], [Finding::new("M0410", "a".into(), "b")]);
    let report = Report { findings: Some(said), ..Report::default() };
    world.report(victim, report, &[(1, Claim::Findings(&other))]).await.unwrap();
    assert!(shown().await.contains(&"node a-1: b-1 is down".to_owned()));
    say(&[], Some(1)).await;
    assert_eq!(shown().await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_who_only_looks_again_and_again_is_a_second_machine() {
    let mesh = mesh().await;
    let (world, node) = (&mesh.world, &mesh.members[0]);
    let ours = |nth: u64| format!("/v1/slice?instance=77&connection={nth}");
    drop(world.node(node).lines(&ours(1)).await.unwrap());
    // Who says of no run of meshd that it is it. The node comes back, as it does where its stream was ended.
    drop(world.node(node).lines("/v1/slice?incarnation=0&revision=0&hash=").await.unwrap());
    drop(world.node(node).lines(&ours(2)).await.unwrap());
    assert!(!mesh.is_out("a-1"), "once may be a late packet");
    assert_eq!(world.node(node).lines("/v1/slice").await.err().unwrap().code, "M0264");
    assert!(mesh.is_out("a-1") && mesh.told("quarantine", &["two machines", "a-1"]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_takes_a_node_back_from_who_has_all_its_keys() {
    let mesh = mesh().await;
    let (world, victim) = (&mesh.world, &mesh.members[0]);
    let mut port = fixture::port("web", "blue", "a-1", 1, "192.168.10.1");
    port.spec.mac = crate::types::Mac([2, 0, 0, 0, 0, 1]);
    world.apply(vec![Any::Port(port)]).await.unwrap();
    // Any token of before would have let the name in.
    let before = world.token(9).await;
    let mut thief = world.node(victim).lines("/v1/slice").await.unwrap();
    snapshot(&mut thief).await;
    let mut peer = world.node(&mesh.members[1]).lines("/v1/slice").await.unwrap();
    let seen = snapshot(&mut peer).await;
    assert!(seen.peers.contains_key(&"a-1".parse().unwrap()));

    let made: MadeToken = world.admin().call::<(), _>(Method::POST, "/v1/nodes/a-1/reset", None).await.unwrap();
    assert!(matches!(news(&mut thief).await, Message::Removed), "its stream ends");
    assert!(!after_delta(&mut peer, &seen).await.peers.contains_key(&"a-1".parse().unwrap()), "its peers drop it");
    assert_eq!(change(world, victim, 1, 66).await.unwrap_err().code, "M0802", "with all keys");
    let refused = world.admin().call::<(), Value>(Method::POST, "/v1/nodes/a-1/release", None).await.unwrap_err();
    assert_eq!(refused.code, "M0263", "there is nothing to release");

    let (old_token, _) = request(&before, "a-1", 66);
    assert_eq!(world.enroll(&old_token).await.unwrap_err().code, "M0284", "a token of before");
    let (mut back, _) = request(&made.token, "a-1", 1);
    assert_eq!(world.enroll(&back).await.unwrap_err().code, "M0283", "the stolen WireGuard key");
    back.public_key = public(11);
    back.csr = certs::renew_request(&"a-1".parse().unwrap(), &victim.key).unwrap();
    assert_eq!(world.enroll(&back).await.unwrap_err().code, "M0283", "the stolen TLS key");
    let (other, _) = request(&made.token, "a-7", 12);
    assert_eq!(world.enroll(&other).await.unwrap_err().code, "M0249", "the token is for that node alone");
    let (fresh, key) = request(&made.token, "a-1", 11);
    let answer = world.enroll(&EnrollRequest { facts: facts(1), ..fresh }).await.unwrap();
    assert_eq!(answer.slice.rows.len(), 1, "its port is where it was");
    assert_eq!(answer.slice.tunnel_address, victim.answer.slice.tunnel_address);
    let node = Node { name: "a-1".to_owned(), key, answer };
    assert!(world.node(&node).lines("/v1/slice").await.is_ok());
    assert_eq!(world.node(victim).lines("/v1/slice").await.err().unwrap().code, "M0802", "the old keys stay out");
    assert!(mesh.told("reset", &["a-1"]).await);
}

/// Requests and connections that began before: none outlives the right to make it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_before_a_quarantine_or_a_certificates_end_ends_with_it() {
    let lives = Lives { node: Duration::from_secs(3), person: Duration::from_secs(4), ..Lives::default() };
    let world = World::with(lives, ROOM, |store| Arc::new(store)).await;
    let node = world.join("a-1", 1).await;
    let begun = crate::clock::mono();
    let mut stream = world.node(&node).lines("/v1/slice").await.unwrap();
    let mut events = world.admin().lines("/v1/events?follow=true").await.unwrap();
    let ended = async |lines: &mut Lines| while let Ok(Some(_)) = lines.next::<Value>().await {};
    let both = async { tokio::join!(ended(&mut stream), ended(&mut events)) };
    tokio::time::timeout(Duration::from_secs(15), both).await.expect("both end with their certificates");
    assert!(crate::clock::mono().since(begun) > Duration::from_secs(1), "and not before");

    let mesh = mesh().await;
    let member = super::super::app::Member { node: "a-3".parse().unwrap(), key: String::new() };
    let state = mesh.world.app.core.view();
    let key = state.index.state.nodes[&member.node].status.tls_key.clone().unwrap();
    let member = super::super::app::Member { key, ..member };
    let refused = super::super::members::current(&state, &member).unwrap_err();
    assert_eq!(refused.code, "M0264", "a report that was on its way when its node was quarantined");
}
