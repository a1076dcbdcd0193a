//! What one member, one holder of a token or one stranger can make grow or make others lose.

use super::super::core::Plan;
use super::super::{hub::Hub, paths};
use super::*;
use crate::api::admin::AuditEvent;
use crate::api::stream::MeasuredPath;
use crate::mgmt::found::Refusal;
use crate::mgmt::{audit, limits};
use crate::store::{Memory, Transaction};
use crate::types::{Mac, Mono, Mtu};

async fn report(world: &World, node: &Node, report: &Report) -> Result<Value, Problem> {
    let report = world.of_found(node, report).await;
    world.node(node).call(Method::POST, "/v1/report", Some(&report)).await
}

fn mac(n: usize) -> Mac {
    let [_, a, b, c] = u32::try_from(n).unwrap().to_be_bytes();
    Mac([2, 1, 0, a, b, c])
}

fn claim(network: &str, n: usize) -> FoundPort {
    FoundPort { network: network.parse().unwrap(), mac: mac(n), ips: Default::default() }
}

/// Guest MTU of `blue`, and what the events say of MTUs.
async fn sizes(world: &World) -> (u64, Vec<String>) {
    let map: Value = world.get("/v1/mtu?network=blue").await;
    let said = world.log().await.into_iter().filter(|(what, _)| what.ends_with("-mtu")).map(|(_, text)| text);
    (map["networks"][0]["mtu"].as_u64().unwrap(), said.collect())
}

fn at(second: u64) -> Mono {
    Mono::from_nanos(second * 1_000_000_000)
}

fn settle(world: &World, seconds: std::ops::RangeInclusive<u64>) {
    for second in seconds {
        paths::settle(&world.app, at(second), Wall::from_secs(second)).unwrap();
    }
}

/// Every way in which a member speaks of sizes: nothing moves at once, nothing falls below the floor, and the event names it.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_member_says_of_sizes_waits_has_a_floor_and_is_named() {
    let small = |facts: &mut NodeFacts| {
        (facts.admin_mtu, facts.external_mtu) = (Mtu::try_from(576).unwrap(), Mtu::try_from(576).unwrap());
    };
    let mut said = facts(3);
    small(&mut said);
    let paths =
        ["a-1", "a-2"].map(|node| MeasuredPath { node: node.parse().unwrap(), bytes: 1200, since: None }).to_vec();
    let lies = [
        (
            "its interfaces",
            Report { facts: Some(said), ..Report::default() },
            "says that its admin interface carries 576",
        ),
        (
            "its paths",
            Report { paths: Some(paths), ..Report::default() },
            "the path a-3 - a-1 shrank from 1500 to 1200",
        ),
    ];
    for (what, lie, told) in lies {
        let world = World::new().await;
        let mut pdc = fixture::pdc("a", "10.0.0.0/24");
        // Paths are measured in tunnels.
        pdc.spec.intra = crate::policy::path::Intra::Encrypted;
        world.apply(vec![Any::Pdc(pdc)]).await.unwrap();
        let (_one, _two, liar) = (world.join("a-1", 1).await, world.join("a-2", 2).await, world.join("a-3", 3).await);
        assert_eq!(sizes(&world).await.0, 1418, "{what}");
        let paths = lie.paths.iter().map(|paths| (3, Claim::Paths(paths)));
        let claims: Vec<_> = lie.facts.iter().map(|facts| (3, Claim::Facts(facts))).chain(paths).collect();
        world.report(&liar, lie.clone(), &claims).await.unwrap();
        settle(&world, 1..=25);
        assert_eq!(sizes(&world).await, (1418, vec![]), "{what}");
        settle(&world, 26..=40);
        let (mtu, events) = sizes(&world).await;
        assert_eq!(mtu, 1280, "{what}");
        let named = |text: &String| text.contains(told) && text.contains("a-3") && text.contains("blue: 1418 -> 1280");
        assert!(events.iter().any(named), "{what}: {events:?}");
        let status: MeshStatus = world.get("/v1/status").await;
        let finding = |p: &crate::api::local::Finding| p.code == "M0510" && p.what.contains("a-3");
        assert!(status.problems.iter().any(finding), "{what}: {:?}", status.problems);
        // What it takes back counts after five minutes.
        let honest = Report { facts: Some(facts(3)), paths: Some(vec![]), ..Report::default() };
        world.report(&liar, honest, &[(3, Claim::Facts(&facts(3))), (3, Claim::Paths(&[]))]).await.unwrap();
        if what == "its interfaces" {
            settle(&world, 41..=330);
            assert_eq!(sizes(&world).await.0, 1280);
            settle(&world, 331..=350);
            assert_eq!(sizes(&world).await.0, 1418);
        }
    }
}

/// Who has the TLS key of a member and not its WireGuard key says nothing of its paths. A node of an older version proves none of its
/// own, and goes by what the other ends measure.
#[tokio::test(flavor = "multi_thread")]
async fn paths_count_where_the_node_itself_says_them() {
    let world = World::new().await;
    let mut pdc = fixture::pdc("a", "10.0.0.0/24");
    pdc.spec.intra = crate::policy::path::Intra::Encrypted;
    world.apply(vec![Any::Pdc(pdc)]).await.unwrap();
    let (one, _two, victim) = (world.join("a-1", 1).await, world.join("a-2", 2).await, world.join("a-3", 3).await);
    let path = |node: &str, bytes| MeasuredPath { node: node.parse().unwrap(), bytes, since: None };
    let say = async |node, paths: &[MeasuredPath], claims: &[(u8, Claim<'_>)]| {
        let report = Report { paths: Some(paths.to_vec()), ..Report::default() };
        world.report(node, report, claims).await.unwrap();
    };
    let honest = [path("a-1", 1400)];
    say(&victim, &honest, &[(3, Claim::Paths(&honest))]).await;
    settle(&world, 1..=40);
    assert_eq!(sizes(&world).await.0, 1318, "what the node measured");
    let lie = [path("a-1", 1200), path("a-2", 1200)];
    let unproved: [&[(u8, Claim<'_>)]; 3] = [&[], &[(66, Claim::Paths(&lie))], &[(3, Claim::Paths(&honest))]];
    let mut second = 41;
    for claims in unproved {
        for said in [&lie[..], &[]] {
            say(&victim, said, claims).await;
            settle(&world, second..=second + 340);
            assert_eq!(sizes(&world).await.0, 1318, "{said:?} by {claims:?}");
            second += 341;
        }
    }
    // The older node is a-3, the newer one at the other end of its path a-1.
    let measured = [path("a-3", 1380)];
    say(&one, &measured, &[(1, Claim::Paths(&measured))]).await;
    settle(&world, second..=second + 40);
    assert_eq!(sizes(&world).await.0, 1298, "the smaller of what both ends measure");
}

/// A member that is refused again and again, one that changes what it says, one that joins and is refused, one that is nobody.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_operators_writes_much_into_the_audit_log() {
    let world = World::new().await;
    let (_one, liar) = (world.join("a-1", 1).await, world.join("a-2", 2).await);
    world.apply(vec![Any::Pdc(fixture::pdc("witness", "10.9.0.0/24"))]).await.unwrap();
    let before = world.log().await.len();
    // A member: other lies in each report.
    for n in 0..30 {
        let lies: Vec<_> = (0..16).map(|k| claim("default/99", n * 16 + k)).collect();
        report(&world, &liar, &Report { ports: Some(lies), ..Report::default() }).await.unwrap();
    }
    let count = async |what: &str| world.log().await.iter().filter(|(kind, _)| kind == what).count();
    let noted = count("port-refused").await;
    assert!((1..=20).contains(&noted), "{noted} of 480 lies are noted");
    // A token holder and a stranger: each time another name, another token.
    let text = world.token(1).await;
    for n in 0..60 {
        let (mut request, _) = request(&text, &format!("a-{n}"), 77);
        request.secret = format!("guess-{n}");
        assert_eq!(world.enroll(&request).await.unwrap_err().code, "M0244");
        request.token = format!("t{n:010}");
        assert_eq!(world.enroll(&request).await.unwrap_err().code, "M0244");
    }
    let noted = count("enroll-refused").await;
    assert!((1..=45).contains(&noted), "{noted} of 120 guesses are noted");
    let log = world.log().await;
    assert!(log.len() < before + 80, "{} entries", log.len() - before);
    // What was not noted is said as a number.
    world.app.tell_kept_back(crate::clock::wall());
    let told: Vec<_> = world.log().await.into_iter().filter(|(what, _)| what == "kept-back").collect();
    assert!(told.iter().any(|(_, text)| text.contains("refusals of strangers were not noted")), "{told:?}");
    assert!(told.iter().any(|(_, text)| text.contains("about node a-2 were kept back")), "{told:?}");
}

/// A log as older versions left it: it can be read, members' entries make room, the operator's stay.
#[test]
fn an_old_log_is_read_and_what_an_operator_did_is_not_displaced() {
    let entry = |n: u64, who: &str, what: &str| {
        let event = AuditEvent {
            at: Wall::from_secs(n),
            who: who.to_owned(),
            from: "10.0.0.9".to_owned(),
            what: what.to_owned(),
            text: format!("entry {n}"),
            changes: Vec::new(),
        };
        let key = audit::key(event.at, u32::try_from(n).unwrap().to_be_bytes());
        (event.clone(), key, serde_json::to_vec(&event).unwrap())
    };
    let store = Arc::new(Memory::default());
    let old = (1..=10_000)
        .map(|n| if n == 1 { entry(n, "admin/root", "delete") } else { entry(n, "node/b-1", "port-refused") });
    let old = old.fold(Transaction::new(), |transaction, (_, key, value)| transaction.write(key, value));
    store.commit(&old).unwrap();
    let core = Core::load(store).unwrap();
    assert_eq!(core.events().unwrap().len(), 10_000);
    for n in 20_000..20_400 {
        let (event, ..) = entry(n, "node/b-1", "port-refused");
        core.change(|_| Ok(Plan { edits: Vec::new(), event: Some(event.clone()), answer: () })).unwrap();
    }
    let events = core.events().unwrap();
    assert!(events.iter().any(|event| event.who == "admin/root"), "the operator's entry is there");
    assert_eq!(events.iter().filter(|event| event.who == "node/b-1").count(), 100, "and the member has its quota");
    assert_eq!(events.last().unwrap().text, "entry 20399");
}

/// A machine with a token, and networks that learn: membership, keys and rows are for those whom an operator named.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_a_token_is_no_host_of_a_learning_network_before_an_operator_says_so() {
    let world = World::new().await;
    let mut learn = fixture::network("learn", "default", 12, "192.168.12.0/24");
    learn.spec.learning = crate::table::Learning::Local;
    learn.spec.nodes = Some(["a-*".parse().unwrap()].into());
    let mut blue = fixture::network("blue", "default", 10, "192.168.10.0/24");
    blue.spec.learning = crate::table::Learning::Local;
    blue.spec.nodes = Some(["a-*".parse().unwrap()].into());
    world.apply(vec![Any::Network(learn.clone()), Any::Network(blue)]).await.unwrap();
    let (host, stray) = (world.join("a-1", 1).await, world.join("stray", 2).await);
    assert!(stray.answer.slice.networks.is_empty() && stray.answer.slice.peers.is_empty());
    let both = |n| Report { ports: Some(vec![claim("default/12", n), claim("default/10", n)]), ..Report::default() };
    report(&world, &stray, &both(1)).await.unwrap();
    report(&world, &host, &both(2)).await.unwrap();
    let slice = async |node: &Node| snapshot(&mut world.node(node).lines("/v1/slice").await.unwrap()).await;
    let seen = slice(&stray).await;
    assert!(seen.networks.is_empty() && seen.peers.is_empty() && seen.rows.is_empty(), "{seen:?}");
    let seen = slice(&host).await;
    assert!(!seen.peers.contains_key(&"stray".parse().unwrap()) && seen.rows.len() == 2);
    let refused = world.log().await;
    let told = |(what, text): &(String, String)| {
        what == "port-refused" && text.contains("no operator has made the node a host")
    };
    assert!(refused.iter().any(told), "{refused:?}");
    learn.spec.nodes = Some(["a-*".parse().unwrap(), "stray".parse().unwrap()].into());
    world.apply(vec![Any::Network(learn)]).await.unwrap();
    report(&world, &stray, &both(1)).await.unwrap();
    let seen = slice(&stray).await;
    assert_eq!((seen.networks.len(), seen.peers.len(), seen.rows.len()), (1, 1, 2));
    assert!(seen.peers.values().all(|peer| peer.psk.is_some()));
}

/// What waits for a declared node is not for whoever has a token that says nothing of names.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_without_names_does_not_take_the_place_of_a_declared_node() {
    let world = World::new().await;
    let port = fixture::port("web", "blue", "web-1", 7, "192.168.10.7");
    world.apply(vec![Any::Node(fixture::node("web-1", "a")), Any::Port(port)]).await.unwrap();
    let (thief, _) = request(&world.token(2).await, "web-1", 7);
    let refused = world.enroll(&thief).await.unwrap_err();
    assert!(refused.code == "M0275" && refused.help.iter().any(|help| help.contains("--name web-1")), "{refused}");
    let named = json!({ "pdc": "a", "namePattern": "web-*" });
    let made: MadeToken = world.admin().call(Method::POST, "/v1/tokens", Some(&named)).await.unwrap();
    let (owner, _) = request(&made.token, "web-1", 8);
    let answer = world.enroll(&owner).await.unwrap();
    assert_eq!(answer.slice.rows.len(), 1, "its port waited for it");
    world.join("new-1", 9).await;
}

/// The most that one report holds, of a thousand nodes: what stays has bounds in entries and bytes, and nobody's part is taken.
#[test]
fn a_thousand_nodes_that_claim_all_they_can_leave_little_in_memory() {
    let (hub, now) = (Hub::default(), crate::clock::mono());
    let owned = || Refusal::Owned { port: "p".parse().unwrap(), node: "n".parse().unwrap() };
    let ips: std::collections::BTreeSet<std::net::IpAddr> =
        (0..20_u128).map(|n| std::net::Ipv6Addr::from_bits(0xfe80 << 112 | n).into()).collect();
    let many = |node: usize, count: usize| {
        let claim = |n: usize| (FoundPort { ips: ips.clone(), ..claim("default/10", node * 8 + n) }, owned());
        (0..count).map(claim).collect()
    };
    let names: Vec<crate::types::NodeId> = (0..1_000).map(|n| format!("n-{n}").parse().unwrap()).collect();
    for (n, name) in names.iter().enumerate() {
        hub.wait(name, many(n, 600), now);
    }
    let honest: crate::types::NodeId = "honest".parse().unwrap();
    hub.wait(&honest, many(9, 20), now);
    assert_eq!(hub.waits_with(&honest).len(), 20, "who comes late has its part");
    let kept: Vec<FoundPort> = names.iter().flat_map(|name| hub.waits_with(name)).collect();
    assert!(kept.len() <= limits::WAITING + 1_000 * limits::WAITING_ALWAYS, "{}", kept.len());
    // A node of a B-tree is at least half full, and so is each map.
    let bytes: usize = kept.iter().map(|claim| 256 + claim.ips.len() * 2 * size_of::<std::net::IpAddr>()).sum();
    assert!(kept.iter().all(|claim| claim.ips.len() <= limits::FOUND_ADDRESSES));
    println!("a thousand liars: {} claims, about {} MB", kept.len(), bytes >> 20);
    assert!(bytes < 48 << 20, "{bytes}");
    // Again changes nothing, and a node that is gone gives its room back.
    for name in &names[..50] {
        hub.wait(name, many(3, 600), now);
    }
    names.iter().for_each(|name| hub.forget(name));
    hub.wait(&names[0], many(0, 600), now);
    assert_eq!(hub.waits_with(&names[0]).len(), limits::WAITING_OF_NODE);
}
