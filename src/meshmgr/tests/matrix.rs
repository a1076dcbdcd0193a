//! Every request by everybody, from the router's own list of routes; certificates in roles that they do not have; TLS sessions
//! that must not come back.

use std::collections::BTreeSet;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::mgmt::roles::Standing as S;
use crate::transport::tls;

/// Who may ask what. A route that is not here fails the test, and so does a line without its route.
const MAY: &[(&str, &str, &[S])] = &[
    ("POST", "/v1/enroll", &[S::Stranger]),
    ("GET", "/v1/challenge", &[S::Stranger, S::Node, S::ExpiredNode]),
    ("POST", "/v1/renew", &[S::Node, S::ExpiredNode]),
    ("GET", "/v1/slice", &[S::Node]),
    ("POST", "/v1/report", &[S::Node]),
    ("GET", "/v1/objects/{kind}", &[S::Admin]),
    ("GET", "/v1/objects/{kind}/{name}", &[S::Admin]),
    ("PUT", "/v1/objects/{kind}/{name}", &[S::Admin]),
    ("DELETE", "/v1/objects/{kind}/{name}", &[S::Admin]),
    ("POST", "/v1/apply", &[S::Admin]),
    ("POST", "/v1/tokens", &[S::Admin]),
    ("GET", "/v1/slice/{node}", &[S::Admin]),
    ("GET", "/v1/matrix", &[S::Admin]),
    ("GET", "/v1/mtu", &[S::Admin]),
    ("GET", "/v1/explain", &[S::Admin]),
    ("GET", "/v1/status", &[S::Admin]),
    ("GET", "/v1/events", &[S::Admin]),
    ("GET", "/v1/nodes/{name}/foreign", &[S::Admin]),
    ("POST", "/v1/nodes/{name}/rotate-key", &[S::Admin]),
    ("POST", "/v1/nodes/{name}/release", &[S::Admin]),
    ("POST", "/v1/nodes/{name}/rename", &[S::Admin]),
    ("POST", "/v1/nodes/{name}/reset", &[S::Admin]),
    ("GET", "/v1/backup", &[S::Admin]),
];

fn days_ago(days: u64) -> Wall {
    Wall::from_secs(crate::clock::wall().as_secs() - days * 86_400)
}

/// A node certificate of `node`'s own key that was made some days ago, for thirty days.
fn aged(world: &World, node: &Node, days: u64) -> String {
    let (name, pdc) = (node.name.parse().unwrap(), "a".parse().unwrap());
    let key = certs::Request::read(&certs::renew_request(&name, &node.key).unwrap()).unwrap();
    world.keys.authority.node(key, &name, &pdc, days_ago(days), [4; 16]).unwrap()
}

/// Everybody who gets through the handshake, and as what.
fn everybody(world: &World, node: &Node) -> Vec<(S, &'static str, Client)> {
    let expired_admin = Role::Admin("root".parse().unwrap());
    let old = world.keys.authority.person(&expired_admin, days_ago(380), [5; 16]).unwrap();
    vec![
        (S::Stranger, "nobody", world.client(None)),
        (S::Stranger, "an expired admin", world.client(Some((&old.certificate, &old.key)))),
        (S::Node, "a node", world.node(node)),
        (S::ExpiredNode, "an expired node", world.client(Some((&aged(world, node, 35), &node.key)))),
        (S::Admin, "an admin", world.admin()),
        (S::Tenant, "a tenant", world.person(&Role::Tenant("acme".parse().unwrap()))),
    ]
}

/// True where the role table lets it pass, whatever the handler says then.
async fn passes(client: &Client, method: &Method, path: &str) -> bool {
    // A stream has no end, so only its head is waited for.
    let answer = if *method == Method::GET {
        client.lines(path).await.map(drop)
    } else {
        client.call::<_, Value>(method.clone(), path, Some(&json!({}))).await.map(drop)
    };
    !answer.is_err_and(|problem| problem.code == "M0801")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_exactly_those_pass_who_are_listed() {
    let world = World::new().await;
    let node = world.join("a-1", 1).await;
    let (mut seen, mut pairs) = (BTreeSet::new(), 0);
    for route in http::routes() {
        let (method, pattern) = (route.method.as_str(), route.path);
        let listed = MAY.iter().find(|(m, p, _)| (*m, *p) == (method, pattern));
        let (_, _, may) = listed.unwrap_or_else(|| panic!("{method} {pattern} is a new route: who may ask it?"));
        assert!(seen.insert((method.to_owned(), pattern)), "{method} {pattern} is routed twice");
        let path = pattern.replace("{kind}", "pdc").replace("{name}", "zzz").replace("{node}", "a-1");
        for (standing, who, client) in everybody(&world, &node) {
            let passed = passes(&client, &route.method, &path).await;
            assert_eq!(passed, may.contains(&standing), "{method} {path} by {who}");
            assert_eq!(route.request.allowed(standing), may.contains(&standing), "{:?} of {who}", route.request);
            pairs += 1;
        }
    }
    assert_eq!(seen.len(), MAY.len(), "a line without its route");
    println!("{pairs} pairs of route and caller");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_and_paths_lead_nowhere_for_anybody() {
    let world = World::new().await;
    let node = world.join("a-1", 1).await;
    let paths: BTreeSet<&str> = http::routes().iter().map(|route| route.path).collect();
    let routed: BTreeSet<_> =
        http::routes().iter().map(|r| (r.method.clone(), r.path)).map(|(m, p)| (m.to_string(), p)).collect();
    for (_, who, client) in everybody(&world, &node) {
        for path in &paths {
            for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
                if routed.contains(&(method.to_string(), *path)) {
                    continue;
                }
                let path = path.replace(['{', '}'], "");
                let answer = client.call::<_, Value>(method.clone(), &path, Some(&json!({}))).await.unwrap_err();
                assert!(["M0106", "M0801"].contains(&answer.code.as_str()), "{method} {path} by {who}: {answer}");
            }
        }
        for path in ["/", "/v1", "/v1/", "/v1/objects", "/v1/slice/", "/v1/../v1/status", "/V1/STATUS"] {
            let answer = client.call::<(), Value>(Method::GET, path, None).await.unwrap_err();
            assert!(["M0106", "M0801", "M0333"].contains(&answer.code.as_str()), "{path} by {who}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_no_clients_do_not_get_through_the_handshake() {
    let world = World::new().await;
    let node = world.join("a-1", 1).await;
    let now = crate::clock::wall();
    let server = world.keys.authority.server(now, [6; 16]).unwrap();
    let (other, theirs) = Authority::make(now, [9; 16]).unwrap();
    let eve = other.person(&Role::Admin("root".parse().unwrap()), now, [9; 16]).unwrap();
    let dead = aged(&world, &node, 61);
    let refused = [
        ("a server's certificate", &server.certificate, &server.key),
        ("an admin of another installation", &eve.certificate, &eve.key),
        ("another CA itself", &theirs.certificate, &theirs.key),
        ("a node that ended more than thirty days ago", &dead, &node.key.clone().into()),
    ];
    for (who, certificate, key) in refused {
        let client = world.client(Some((certificate, key)));
        for path in ["/v1/status", "/v1/slice"] {
            let answer = client.call::<(), Value>(Method::GET, path, None).await.unwrap_err();
            assert!(matches!(answer.exit, Exit::Unreachable | Exit::Denied), "{who}: {answer}");
        }
        let renewal =
            RenewRequest { csr: certs::renew_request(&"a-1".parse().unwrap(), &node.key).unwrap(), proofs: Vec::new() };
        let answer = client.call::<_, Value>(Method::POST, "/v1/renew", Some(&renewal)).await.unwrap_err();
        assert!(matches!(answer.exit, Exit::Unreachable | Exit::Denied), "{who}: {answer}");
    }
}

/// Every name for the same key stays out: a removed node is known by its key, not by the bytes of a certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_removed_key_stays_out_under_any_certificate_and_its_stream_ends_at_once() {
    let world = World::new().await;
    let node = world.join("a-1", 1).await;
    let mut lines = world.node(&node).lines("/v1/slice").await.unwrap();
    snapshot(&mut lines).await;
    let _: Value = world.admin().call::<(), _>(Method::DELETE, "/v1/objects/node/a-1", None).await.unwrap();
    let begun = crate::clock::mono();
    assert!(matches!(news(&mut lines).await, Message::Removed));
    let end = tokio::time::timeout(Duration::from_secs(5), lines.next::<Message>()).await.unwrap();
    assert!(!matches!(end, Ok(Some(_))), "nothing comes after it");
    assert!(crate::clock::mono().since(begun) < Duration::from_secs(1), "the live session ends within a second");
    for again in [node.answer.certificate.clone(), aged(&world, &node, 0), aged(&world, &node, 35)] {
        let client = world.client(Some((&again, &node.key)));
        let renewal =
            RenewRequest { csr: certs::renew_request(&"a-1".parse().unwrap(), &node.key).unwrap(), proofs: Vec::new() };
        let answer = client.call::<_, Value>(Method::POST, "/v1/renew", Some(&renewal)).await.unwrap_err();
        assert_eq!(answer.code, "M0802", "{answer}");
        assert!(client.lines("/v1/slice").await.is_err());
    }
}

/// A client that would resume if it were let, and what became of its second visit.
#[tokio::test(flavor = "multi_thread")]
async fn no_session_is_resumed() {
    let world = World::new().await;
    let node = world.join("a-1", 1).await;
    let eager = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(tls::roots(world.keys.ca()).unwrap())
        .with_client_auth_cert(
            tls::certificates(&node.answer.certificate).unwrap(),
            tls::private_key(&node.key).unwrap(),
        )
        .unwrap();
    let eager = Arc::new(eager);
    for visit in 0..3 {
        let tcp = tokio::net::TcpStream::connect(&world.address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&eager));
        let mut stream = connector.connect(tls::management_name(), tcp).await.unwrap();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: m\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut heard = String::new();
        // A server that says goodbye without its TLS alert has still said all of it.
        let _ = stream.read_to_string(&mut heard).await;
        assert!(heard.contains("M0801"), "{heard}");
        let connection = stream.get_ref().1;
        assert_eq!(connection.handshake_kind(), Some(rustls::HandshakeKind::Full), "visit {visit}");
        assert_eq!(connection.tls13_tickets_received(), 0, "visit {visit}");
    }
}
