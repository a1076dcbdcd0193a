//! Nodes that lie, names that are none, requests that were changed.

use axum::http::Request as HttpRequest;
use proptest::prelude::*;
use tower::ServiceExt as _;

use super::*;
use crate::api::objects::{Network, Port};
use crate::mgmt::roles::Standing;
use crate::transport::server::Caller;
use crate::types::Mac;

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn claim(network: &str, mac: Mac, ip: &str) -> FoundPort {
    FoundPort { network: network.parse().unwrap(), mac, ips: [ip.parse().unwrap()].into() }
}

async fn report(world: &World, node: &Node, report: &Report) -> Result<Value, Problem> {
    let report = world.of_found(node, report).await;
    world.node(node).call(Method::POST, "/v1/report", Some(&report)).await
}

fn ports(claims: &[FoundPort]) -> Report {
    Report { ports: Some(claims.to_vec()), ..Report::default() }
}

/// `green` takes declared ports only; `far` is for a-1 only. Guest 1 of a-1 is declared, guest 2 found.
async fn world() -> (World, Node, Node) {
    let world = World::new().await;
    let (one, two) = (world.join("a-1", 1).await, world.join("a-2", 2).await);
    let mut only = fixture::overlay("only", 4790);
    only.spec.nodes = Some(["a-1".parse().unwrap()].into());
    let green: Network = fixture::network("green", "default", 11, "192.168.11.0/24");
    let mut far = fixture::network("far", "only", 12, "192.168.12.0/24");
    far.spec.learning = crate::table::Learning::Local;
    let mut web: Port = fixture::port("web", "blue", "a-1", 0, "192.168.10.1");
    web.spec.mac = mac(1);
    world.apply(vec![Any::Overlay(only), Any::Network(green), Any::Network(far), Any::Port(web)]).await.unwrap();
    report(&world, &one, &ports(&[claim("default/10", mac(2), "192.168.10.2")])).await.unwrap();
    (world, one, two)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_what_belongs_to_others_changes_nothing_and_is_noted() {
    let (world, _, liar) = world().await;
    let before: Value = world.get("/v1/objects/port").await;
    let mut lines = world.node(&liar).lines("/v1/slice").await.unwrap();
    let slice = snapshot(&mut lines).await;
    let claims = [
        (claim("default/10", mac(1), "192.168.10.1"), "belongs to port 'web' on node 'a-1'"),
        (claim("default/10", mac(2), "192.168.10.2"), "belongs to port 'blue-020000000002' on node 'a-1'"),
        (claim("default/11", mac(3), "192.168.11.3"), "takes declared ports only"),
        (claim("only/12", mac(4), "192.168.12.4"), "may not host network 'far'"),
        (claim("default/99", mac(5), "192.168.10.5"), "no such network"),
        (claim("default/10", Mac::BROADCAST, "192.168.10.6"), "not a unicast address"),
        (claim("default/10", Mac([0x33, 0x33, 0, 0, 0, 1]), "192.168.10.7"), "not a unicast address"),
    ];
    let all: Vec<_> = claims.iter().map(|(claim, _)| claim.clone()).collect();
    report(&world, &liar, &ports(&all)).await.unwrap();
    assert_eq!(world.get::<Value>("/v1/objects/port").await, before);
    let log = world.log().await;
    for (claim, why) in &claims {
        let noted =
            |(what, text): &&(String, String)| what == "port-refused" && text.starts_with(&claim.mac.to_string());
        let (_, text) = log.iter().find(noted).unwrap_or_else(|| panic!("{claim:?} is not in {log:?}"));
        assert!(text.contains("found on node a-2") && text.contains(why), "{text}");
    }
    report(&world, &liar, &ports(&all)).await.unwrap();
    assert_eq!(world.log().await.len(), log.len(), "a lie that is repeated is noted once");
    // The address of a guest of its own is believed, that of another's guest is not.
    let own = FoundPort {
        ips: ["192.168.10.8", "192.168.10.1", "10.0.0.1"].map(|ip| ip.parse().unwrap()).into(),
        ..claim("default/10", mac(8), "192.168.10.8")
    };
    report(&world, &liar, &ports(&[own])).await.unwrap();
    let made: Value = world.get("/v1/objects/port/blue-020000000008").await;
    assert_eq!(made["spec"]["ips"], json!(["192.168.10.8"]));
    let slice = after_delta(&mut lines, &slice).await;
    let rows: Vec<_> = slice.rows.values().map(|row| row.node.as_str()).collect();
    assert_eq!(rows, ["a-1", "a-1", "a-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_cannot_take_the_admin_address_of_another() {
    let (world, _, liar) = world().await;
    let says = async |change: &dyn Fn(&mut NodeFacts)| {
        let mut said = facts(2);
        change(&mut said);
        let said = Report { facts: Some(said), ..Report::default() };
        let claim = said.facts.clone().unwrap();
        world.report(&liar, said, &[(2, Claim::Facts(&claim))]).await
    };
    let admin = async || {
        let node: Value = world.get("/v1/objects/node/a-2").await;
        node["status"]["facts"]["admin"].clone()
    };
    assert_eq!(admin().await, "10.0.0.2");
    let refused = says(&|said| said.admin = "10.0.0.1".parse().ok()).await.unwrap_err();
    assert!(refused.code == "M0257" && refused.what.contains("of node 'a-1'"), "{refused}");
    assert_eq!(admin().await, "10.0.0.2", "the old ones stand");
    let log = world.log().await;
    assert!(log.iter().any(|(what, text)| what == "facts-refused" && text.contains("10.0.0.1")), "{log:?}");
    says(&|said| said.admin = "10.0.0.1".parse().ok()).await.unwrap_err();
    assert_eq!(world.log().await.len(), log.len(), "a lie that is repeated is noted once");
    let impossible: [fn(&mut NodeFacts); 4] = [
        |said| said.admin = "224.0.0.1".parse().ok(),
        |said| said.external = "255.255.255.255".parse().ok(),
        |said| said.lanes = 0,
        |said| said.version = "\u{1b}[2J".to_owned(),
    ];
    for impossible in impossible {
        assert_eq!(says(&impossible).await.unwrap_err().code, "M0257");
    }
    says(&|said| said.admin = "10.0.0.77".parse().ok()).await.unwrap();
    assert_eq!(admin().await, "10.0.0.77", "a free one is its own affair");
    // Several nodes may well be behind one external address, where each has UDP ports of its own.
    let behind = |said: &mut NodeFacts, listen: u64| {
        said.external = "198.51.100.1".parse().ok();
        said.listen = listen.try_into().unwrap();
    };
    assert_eq!(says(&|said| behind(said, 51_821)).await.unwrap_err().code, "M0257", "lane 1 of a-1");
    says(&|said| behind(said, 51_822)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_any_bit_changed_is_not_believed() {
    let world = World::new().await;
    let (good, _) = request(&world.token(2).await, "a-1", 1);
    let lines: Vec<&str> = good.csr.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, lines.concat()).unwrap();
    let pem = |der: &[u8]| {
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
    };
    assert_eq!(
        certs::Request::read(&pem(&der)).unwrap().key_hash(),
        certs::Request::read(&good.csr).unwrap().key_hash()
    );
    let (own, mut harmless) = (certs::Request::read(&good.csr).unwrap().key_hash().to_owned(), 0);
    for at in 0..der.len() {
        for bit in 0..8 {
            let mut changed = der.clone();
            changed[at] ^= 1 << bit;
            if let Ok(read) = certs::Request::read(&pem(&changed)) {
                // A bit of the outermost wrapping, which nothing signs and nothing reads.
                assert_eq!(read.key_hash(), own, "byte {at}, bit {bit}");
                harmless += 1;
            }
        }
    }
    assert!(harmless < 32, "{harmless} of {} bits mean nothing", der.len() * 8);
    // Through the server as well: it says so, and the token is as good as before.
    let mut changed = der.clone();
    *changed.last_mut().unwrap() ^= 1;
    let refused = world.enroll(&EnrollRequest { csr: pem(&changed), ..good.clone() }).await.unwrap_err();
    assert_eq!(refused.code, "M0258");
    world.enroll(&good).await.unwrap();
}

/// Asks the router itself, as an administrator: no socket, so thousands of questions cost little.
async fn asked(world: &World, method: &str, path: &str, body: &[u8]) -> Option<(u16, String)> {
    let address = "127.0.0.1:9".parse().unwrap();
    let request = HttpRequest::builder().method(method).uri(path).header("content-type", "application/json");
    // What is no URI never reaches the router.
    let mut request = request.body(axum::body::Body::from(body.to_vec())).ok()?;
    request.extensions_mut().insert(Caller { address, identity: None, standing: Standing::Admin });
    let answer = http::router(&world.app).oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    Some((status, String::from_utf8_lossy(&bytes).into_owned()))
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn names() -> impl Strategy<Value = String> {
    let hostile =
        ["..", "../../etc/passwd", "a/b", "a\0b", "-rf", "a%2fb", "ɑ-1", "а-1", "a.b", "A-1", "", "con", "a\u{202e}b"];
    prop_oneof![
        prop::sample::select(hostile.to_vec()).prop_map(str::to_owned),
        "\\PC{0,80}",
        "[a-z0-9-]{1,70}",
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

#[test]
fn no_name_or_path_gets_past_the_labels() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let keys = || world.store.range("").unwrap().entries.into_iter().map(|(key, _)| key);
    proptest!(ProptestConfig::with_cases(512), |(name in names(), kind in names())| {
        let label = name.parse::<crate::types::Label>().is_ok();
        let plain = !name.is_empty() && name.len() <= 63 && !name.starts_with('-') && !name.ends_with('-')
            && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        prop_assert_eq!(label, plain, "{:?}", name);
        let before = keys().filter(|key| !key.starts_with("audit/")).count();
        let object = json!({ "apiVersion": "vxmesh/v1", "kind": "Pdc", "metadata": { "name": name },
            "spec": { "intra": "plain", "underlay": [], "maxHops": 0 } });
        // Those of the fixture would be deleted.
        prop_assume!(!["a", "b"].contains(&name.as_str()));
        runtime.block_on(async {
            for (segment, encoded) in [(percent(&name), true), (name.clone(), false)] {
                for (method, path) in [
                    ("PUT", format!("/v1/objects/pdc/{segment}")),
                    ("GET", format!("/v1/objects/pdc/{segment}")),
                    ("GET", format!("/v1/objects/{}/{segment}", percent(&kind))),
                    ("GET", format!("/v1/slice/{segment}")),
                    ("GET", format!("/v1/nodes/{segment}/foreign")),
                    ("GET", format!("/v1/explain?from={segment}&to={}", percent(&kind))),
                    ("GET", format!("/v1/mtu?network={segment}")),
                    ("DELETE", format!("/v1/objects/pdc/{segment}?cascade=true")),
                ] {
                    let Some((status, text)) = asked(&world, method, &path, object.to_string().as_bytes()).await else { continue };
                    prop_assert!(status < 500, "{} {}: {} {}", method, path, status, text);
                    // As it is, a name may hold what ends a path.
                    prop_assert!(label || status >= 400 || !encoded, "{} {}: {}", method, path, text);
                }
            }
            Ok::<(), TestCaseError>(())
        })?;
        for key in keys() {
            let (kind, rest) = key.split_once('/').unwrap();
            prop_assert!(["pdc", "overlay", "network", "meta", "audit"].contains(&kind), "{}", key);
            prop_assert!(rest.parse::<crate::types::Label>().is_ok(), "{}", key);
        }
        prop_assert_eq!(keys().filter(|key| !key.starts_with("audit/")).count(), before);
    });
}

proptest! {
    #[test]
    fn no_body_makes_a_handler_fail(body in prop_oneof!["\\PC{0,200}", "[\\[\\]{}\":,0-9a-z]{0,200}"], at in 0..64_usize) {
        thread_local! {
            static WORLD: (tokio::runtime::Runtime, World) = {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
                let world = runtime.block_on(World::new());
                (runtime, world)
            };
        }
        WORLD.with(|(runtime, world)| {
            let routes = http::routes();
            let route = &routes[at % routes.len()];
            let path = route.path.replace("{kind}", "pdc").replace("{name}", "a").replace("{node}", "a");
            let asked = runtime.block_on(asked(world, route.method.as_str(), &path, body.as_bytes()));
            let (status, text) = asked.unwrap();
            assert!(status < 500, "{} {path} {body:?}: {status} {text}", route.method);
        });
    }
}
