//! The real `meshmgr`, killed as hard as it goes while machines join.

use std::time::Duration;

use hyper::Method;
use vxmesh::api::enroll::{EnrollAnswer, EnrollRequest};
use vxmesh::api::problem::Problem;
use vxmesh::api::proof::Challenge;
use vxmesh::mgmt::possession::{self, Claim, Statement};
use vxmesh::mgmt::{certs, token};
use vxmesh::transport::client::Client;
use vxmesh::transport::tls::pinned_client_config;
use vxmesh::tunnel;
use vxmesh::types::SecretKey;

use crate::online::Management;

/// How often the server is killed; the moment moves on by [`STEP`] each time.
const ROUNDS: u8 = 24;
const STEP: Duration = Duration::from_micros(700);

pub(crate) fn request(text: &str, name: &str, n: u8) -> (EnrollRequest, [u8; 32]) {
    let read = token::read(text).ok().unwrap();
    let facts = serde_json::json!({ "admin": format!("10.0.0.{n}"), "adminMtu": 1500, "externalMtu": 1500, "listen": 51820,
        "lanes": 1, "aes": true, "version": "0" });
    let request = EnrollRequest {
        token: read.id.clone(),
        secret: read.secret.to_string(),
        name: name.parse().unwrap(),
        asserted_pdc: None,
        csr: certs::new_request(&name.parse().unwrap()).unwrap().csr,
        public_key: tunnel::public_key(&secret(n)),
        facts: serde_json::from_value(facts).unwrap(),
        proofs: Vec::new(),
    };
    (request, read.pin)
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes([n; 32])
}

/// Asks for a challenge, proves the key of machine `n`, and joins.
pub(crate) async fn enroll(
    address: String,
    pin: [u8; 32],
    n: u8,
    mut request: EnrollRequest,
) -> Result<EnrollAnswer, Problem> {
    let client = Client::https(vec![address], pinned_client_config(pin).unwrap());
    let challenge: Challenge = client.call::<(), _>(Method::GET, "/v1/challenge", None).await?;
    let tls_key = certs::Request::read(&request.csr).unwrap().key_hash().to_owned();
    let said = Statement { node: &request.name, tls_key: &tls_key, claim: Claim::Join };
    request.proofs = possession::prove(&secret(n), &challenge, said).into_iter().collect();
    client.call(Method::POST, "/v1/enroll", Some(&request)).await
}

#[test]
fn a_server_that_is_killed_while_machines_join_never_spends_a_token_for_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut mesh = Management::start();
    mesh.good("pdc create a --intra plain --underlay 10.0.0.0/24");
    let (mut lost, mut answered) = (0, 0);
    for n in 1..=ROUNDS {
        let name = format!("n-{n}");
        let text = mesh.good("token create --pdc a");
        let (wish, pin) = request(text.trim(), &name, n);
        let first = runtime.spawn(enroll(mesh.address().to_owned(), pin, n, wish.clone()));
        std::thread::sleep(STEP * u32::from(n));
        mesh.kill();
        let first = runtime.block_on(first).unwrap();
        mesh.again();
        let again = runtime.block_on(enroll(mesh.address().to_owned(), pin, n, wish.clone()));
        let again = again.unwrap_or_else(|problem| panic!("round {n}: the same key gets its answer: {problem}"));
        let key = |answer: &EnrollAnswer| certs::identity_of_pem(&answer.certificate).unwrap().key;
        match first {
            Ok(first) => {
                answered += 1;
                assert_eq!((key(&first), first.slice.tunnel_address), (key(&again), again.slice.tunnel_address));
            }
            Err(_) => lost += 1,
        }
        let (other, _) = request(text.trim(), &format!("x-{n}"), 100 + n);
        let other = runtime.block_on(enroll(mesh.address().to_owned(), pin, 100 + n, other)).unwrap_err();
        assert_eq!(other.code, "M0246", "round {n}: {other}");
        let stored = mesh.store();
        assert!(
            !stored.windows(wish.secret.len()).any(|part| part == wish.secret.as_bytes()),
            "the secret is stored hashed"
        );
    }
    let nodes: serde_json::Value = serde_json::from_str(&mesh.good("node list -o json")).unwrap();
    assert_eq!(nodes["items"].as_array().unwrap().len(), usize::from(ROUNDS));
    let tokens: serde_json::Value = serde_json::from_str(&mesh.good("token list -o json")).unwrap();
    for token in tokens["items"].as_array().unwrap() {
        assert_eq!(token["status"]["used"].as_array().unwrap().len(), 1, "{token}");
    }
    println!("{ROUNDS} kills: {answered} answers before, {lost} lost");
    assert!(lost > 0, "at least one answer was lost");
}

#[test]
fn a_limit_for_the_size_of_files_refuses_changes_and_ends_nothing() {
    let mesh = Management::start();
    mesh.good("pdc create a --intra plain --underlay 10.0.0.0/24");
    mesh.limit("1000");
    mesh.bad("pdc create b --intra plain --underlay 10.0.1.0/24", 1, "File too large");
    let status = mesh.meshctl("status");
    let told = ["M0689", "File too large", "prlimit --fsize --pid $(pidof meshmgr)"];
    assert!(told.iter().all(|word| status.stdout.contains(word)), "{}{}", status.stdout, status.stderr);
    assert!(mesh.good("pdc list").contains("a "), "it still answers");
    mesh.limit("unlimited");
    mesh.good("pdc create b --intra plain --underlay 10.0.1.0/24");
}
