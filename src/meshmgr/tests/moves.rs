//! Guests that several nodes say they have: who gets one when its node lets go.

use super::super::claims;
use super::super::hub::Hub;
use super::*;
use crate::mgmt::found::{BACK, FRESH, Refusal};
use crate::types::{Mac, Mono, NodeId};

fn guest() -> FoundPort {
    FoundPort { network: "default/10".parse().unwrap(), mac: Mac([2, 0, 0, 0, 0, 1]), ips: Default::default() }
}

fn name(node: &str) -> NodeId {
    node.parse().unwrap()
}

fn at(seconds: u64) -> Mono {
    Mono::default() + Duration::from_secs(1_000 + seconds)
}

/// A node says again that it hears the guest, which is another's.
fn says(hub: &Hub, node: &str, now: Mono) {
    let why = Refusal::Owned { port: "p".parse().unwrap(), node: name("a-1") };
    hub.wait(&name(node), [(guest(), why)].into(), now);
}

/// Nodes that claim the guest when a-1 lets go of it, the first first.
fn claimants(hub: &Hub, now: Mono) -> Vec<String> {
    let let_go = [(guest().network, guest().mac)].into();
    hub.claimants(&name("a-1"), &let_go, now).into_iter().map(|(node, _)| node.to_string()).collect()
}

#[test]
fn a_claim_counts_for_as_long_as_it_is_said_and_who_has_begun_last_goes_first() {
    let hub = Hub::default();
    says(&hub, "a-2", at(0));
    assert_eq!(claimants(&hub, at(0) + FRESH), ["a-2"]);
    assert!(claimants(&hub, at(1) + FRESH).is_empty(), "who does not say it again waits for nothing");
    (0..20).for_each(|n| says(&hub, "a-2", at(20 + n * 5)));
    says(&hub, "b-1", at(112));
    says(&hub, "a-2", at(115));
    assert_eq!(claimants(&hub, at(116)), ["b-1", "a-2"], "a guest that has moved is where it began to speak");
    says(&hub, "a-3", at(117));
    assert_eq!(claimants(&hub, at(117)), ["a-3", "a-2", "b-1"]);
    assert_eq!(claimants(&hub, at(129)), ["a-3", "a-2"], "b-1 has not said it for too long");
    let refused = [(guest(), Refusal::Owned { port: "p".parse().unwrap(), node: name("a-3") })].into();
    hub.judged(&name("a-2"), &[guest()], &refused, at(129));
    hub.judged(&name("a-3"), &[guest()], &Default::default(), at(129));
    let contests = hub.contests().borrow().clone();
    assert_eq!(contests[&name("a-3")].len(), 1, "the new owner is asked: {contests:?}");
    hub.contest(at(131));
    assert!(hub.contests().borrow().is_empty(), "nobody is asked for what nobody says any more");
}

#[test]
fn who_let_go_a_moment_ago_gets_it_back() {
    let (hub, about) = (Hub::default(), std::collections::BTreeSet::from([(guest().network, guest().mac)]));
    hub.set_let_go(&name("a-1"), &about, at(0));
    assert_eq!(hub.lately(&name("a-1"), at(0) + BACK), about);
    assert!(hub.lately(&name("a-1"), at(1) + BACK).is_empty() && hub.lately(&name("a-2"), at(0)).is_empty());
    hub.set_let_go(&name("a-1"), &about, at(9));
    assert_eq!(hub.lately(&name("a-1"), at(9)), about, "a machine that starts lets go several times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_whose_interface_was_gone_for_a_moment_stays_where_it_was() {
    let world = World::new().await;
    let (one, two) = (world.join("a-1", 1).await, world.join("a-2", 2).await);
    let says = async |node: &Node, ports: &[FoundPort]| {
        let report = world.of_found(node, &Report { ports: Some(ports.to_vec()), ..Report::default() }).await;
        let _: Value = world.node(node).call(Method::POST, "/v1/report", Some(&report)).await.unwrap();
        let ports: Value = world.get("/v1/objects/port").await;
        ports["items"][0]["spec"]["node"].as_str().map(str::to_owned)
    };
    let it = [guest()];
    assert_eq!(says(&one, &it).await.as_deref(), Some("a-1"));
    assert_eq!(says(&two, &it).await.as_deref(), Some("a-1"));
    assert_eq!(says(&one, &[]).await.as_deref(), Some("a-2"), "it may have moved");
    assert_eq!(says(&one, &it).await.as_deref(), Some("a-1"), "and has not");
    assert_eq!(says(&two, &it).await.as_deref(), Some("a-1"));
    assert_eq!(says(&one, &[]).await.as_deref(), Some("a-2"));
    assert_eq!(says(&one, &it).await.as_deref(), Some("a-1"), "and again");
    assert_eq!(says(&two, &it).await.as_deref(), Some("a-1"));
    // What stays gone is who says it.
    assert_eq!(says(&one, &[]).await.as_deref(), Some("a-2"));
    assert_eq!(says(&two, &[]).await.as_deref(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_of_a_claim_is_noted_with_the_address_of_its_own_node() {
    let world = World::new().await;
    world.join("a-1", 1).await;
    world.join("a-2", 2).await;
    let app = Arc::clone(&world.app);
    let take = move |node: &str, ports: &[FoundPort]| {
        let (node, from) = (name(node), format!("{node}.example"));
        let origin = Origin { who: format!("node/{node}"), from, at: crate::clock::wall() };
        claims::take(&app, &node, ports, &origin).unwrap();
    };
    let all = move || {
        take("a-1", &[guest()]);
        take("a-2", &[guest()]);
        take("a-1", &[]);
    };
    tokio::task::spawn_blocking(all).await.unwrap();
    let log: Events = world.get("/v1/events").await;
    let found = log.items.iter().filter(|event| event.what == "ports-found");
    let found: Vec<_> = found.map(|event| (event.who.as_str(), event.from.as_str())).collect();
    assert_eq!(found.len(), 3);
    assert!(found.contains(&("node/a-2", "a-2.example")), "{found:?}");
}
