use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::WebPki;
use crate::api::enroll::{EnrollAnswer, EnrollRequest};
use crate::api::objects::NodeFacts;
use crate::config::Source;
use crate::mgmt::certs::{self, Authority as Ca, Issued, Request, Role};
use crate::mgmt::possession;
use crate::node::enroll::{
    Authority as _, CA, CERTIFICATE, EnrollError, Keys, Member, SLICE, TLS_KEY, Token, WIREGUARD_KEY, Wish, wrong_pdc,
};
use crate::table::{OwnKeys, Slice};
use crate::types::{NodeId, PdcId, PublicKey, SecretKey, Version, Wall};

fn now() -> Wall {
    crate::clock::wall()
}

fn ca() -> (Ca, String) {
    let (ca, Issued { .. }) = Ca::make(now(), [1; 16]).unwrap();
    let pem = ca.certificate().to_owned();
    (ca, pem)
}

fn pin(pem: &str) -> [u8; 32] {
    WebPki.pin(pem).unwrap()
}

fn token_text(pin: &str, addresses: &[&str]) -> String {
    let json =
        serde_json::json!({"addresses": addresses, "pin": pin, "id": "t1", "secret": URL_SAFE_NO_PAD.encode([9; 32])});
    format!("vxm1.{}", URL_SAFE_NO_PAD.encode(json.to_string()))
}

fn keys(name: &NodeId) -> Keys {
    let request = certs::new_request(name).unwrap();
    let wireguard = SecretKey::from_bytes([7; 32]);
    Keys { public: crate::tunnel::public_key(&wireguard), wireguard, tls: request.key, csr: request.csr }
}

fn facts() -> NodeFacts {
    let json = serde_json::json!({"adminMtu": 1500, "externalMtu": 1500, "listen": 51820, "lanes": 1, "aes": true, "version": "0"});
    serde_json::from_value(json).unwrap()
}

fn name(text: &str) -> NodeId {
    text.parse().unwrap()
}

/// Enrols `a-1` with a token for `ca`; `change` spoils the honest answer.
fn enrol(ca: &Ca, change: impl FnOnce(&EnrollRequest, &mut EnrollAnswer)) -> Result<Member, EnrollError> {
    let token = Token::parse(&token_text(&URL_SAFE_NO_PAD.encode(pin(ca.certificate())), &["m:7443"])).unwrap();
    let node = name("a-1");
    let wish = Wish { name: node.clone(), pdc: Some("a".parse().unwrap()), facts: facts() };
    let challenge = possession::challenge(&SecretKey::from_bytes([1; 32]), now(), [1; 16]);
    let (request, waiting) = token.request(wish, keys(&node), &challenge).unwrap();
    let mut answer = answer(ca, &request, &node, "a");
    change(&request, &mut answer);
    waiting.accept(answer, &WebPki)
}

fn answer(ca: &Ca, request: &EnrollRequest, node: &NodeId, pdc: &str) -> EnrollAnswer {
    let pdc: PdcId = pdc.parse().unwrap();
    let certificate = sign(ca, &request.csr, node, &pdc);
    let slice = Slice::empty(Version { incarnation: 1, revision: 1 }, node.clone(), pdc.clone());
    EnrollAnswer { name: node.clone(), pdc, certificate, ca: ca.certificate().to_owned(), slice }
}

fn sign(ca: &Ca, csr: &str, node: &NodeId, pdc: &PdcId) -> String {
    ca.node(Request::read(csr).unwrap(), node, pdc, now(), [2; 16]).unwrap()
}

fn refused(ca: &Ca, change: impl FnOnce(&EnrollRequest, &mut EnrollAnswer)) -> String {
    match enrol(ca, change) {
        Ok(_) => panic!("the answer was believed"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn an_honest_answer_makes_a_member_whose_files_belong_together() {
    let (ca, pem) = ca();
    let member = enrol(&ca, |_, _| ()).ok().unwrap();
    assert_eq!((member.name.as_str(), member.pdc.as_str()), ("a-1", "a"));
    let files = member.files().unwrap();
    let text = |name: &str| files.iter().find(|f| f.name == name).unwrap().text.as_str();
    assert_eq!(files.last().unwrap().name, CERTIFICATE, "the certificate comes last: with it the machine is in");
    assert!(files.iter().all(|f| f.mode == 0o600));
    assert_eq!(text(CA), pem);
    assert!(crate::transport::tls::client_config(text(CA), Some((text(CERTIFICATE), text(TLS_KEY)))).is_ok());
    assert_eq!(serde_json::from_str::<Slice>(text(SLICE)).unwrap().node, name("a-1"));
    assert!(text(WIREGUARD_KEY).parse::<SecretKey>().is_ok());
}

#[test]
fn answers_of_another_authority_key_name_or_node_are_refused() {
    let ((ours, _), (theirs, other_pem)) = (ca(), ca());
    let a: PdcId = "a".parse().unwrap();
    assert!(refused(&ours, |_, answer| answer.ca = other_pem).contains("not the one that the token names"));
    let text = refused(&ours, |request, answer| answer.certificate = sign(&theirs, &request.csr, &name("a-1"), &a));
    assert!(text.contains("did not sign"), "{text}");
    let other_key = certs::new_request(&name("a-1")).unwrap().csr;
    let text = refused(&ours, |_, answer| answer.certificate = sign(&ours, &other_key, &name("a-1"), &a));
    assert!(text.contains("another key"), "{text}");
    let text = refused(&ours, |request, answer| answer.certificate = sign(&ours, &request.csr, &name("a-2"), &a));
    assert!(text.contains("for 'a-2', not for 'a-1'"), "{text}");
    assert!(refused(&ours, |_, answer| answer.name = name("a-2")).contains("for 'a-1'"));
    assert!(refused(&ours, |_, answer| answer.slice.node = name("b-9")).contains("slice is for node 'b-9'"));
    assert!(refused(&ours, |_, answer| answer.certificate = "no".into()).contains("did not sign"));
    let admin = ours.person(&Role::Admin("root".parse().unwrap()), now(), [3; 16]).unwrap().certificate;
    let text = refused(&ours, |_, answer| answer.certificate = admin);
    assert!(text.contains("another key"), "{text}");
}

#[test]
fn the_pdc_of_certificate_answer_slice_and_file_must_agree() {
    let (ca, _) = ca();
    let b: PdcId = "b".parse().unwrap();
    let text = refused(&ca, |_, answer| answer.pdc = b.clone());
    assert!(text.contains("certificate says PDC 'a', the answer 'b'"), "{text}");
    assert!(refused(&ca, |_, answer| answer.slice.pdc = b.clone()).contains("in PDC 'b'"));
    let other = OwnKeys { current: PublicKey([9; 32]), next: None, replace: false };
    assert!(refused(&ca, |_, answer| answer.slice.keys = Some(other)).contains("another WireGuard key"));
    let text = refused(&ca, |request, honest| *honest = answer(&ca, request, &name("a-1"), "b"));
    assert_eq!(text, "the token is for PDC 'b', but this node's file says 'a'");
}

#[test]
fn texts_that_are_no_tokens_are_refused_with_the_reason() {
    let good = token_text(&URL_SAFE_NO_PAD.encode([1; 32]), &["m:7443"]);
    assert!(Token::parse(&format!("  {good}\n")).is_ok());
    for text in ["", "vxm2.abc", "vxm1.???", &good[..good.len() - 9]] {
        let problem = Token::parse(text).err().unwrap().problem().to_string();
        assert!(problem.contains("nothing was sent"), "{problem}");
        assert!(text.len() < 10 || !problem.contains(&text[5..]), "an error never repeats the token");
    }
}

#[test]
fn the_named_address_is_tried_first_and_once() {
    let mut token = Token::parse(&token_text(&URL_SAFE_NO_PAD.encode([1; 32]), &["m:7443", "n:7443"])).ok().unwrap();
    token.prefer("n:7443".into());
    token.prefer("o:1".into());
    assert_eq!(token.addresses(), ["o:1", "n:7443", "m:7443"]);
}

#[test]
fn a_wrong_pdc_is_shown_where_it_stands() {
    let text = "management = [\"m:7443\"]\n[node]\npdc = \"brn01\"\n";
    let (file, truth) = ("brn01".parse().unwrap(), "brno1".parse().unwrap());
    let problem = wrong_pdc(Source::new("meshd.toml", text), &file, &truth, "the token").to_string();
    let expected = "error[M0312]: PDC 'brn01' is not this node's\n --> meshd.toml:3:7\n  |\n3 | pdc = \"brn01\"\n  |       ^^^^^^^";
    assert!(problem.starts_with(expected), "{problem}");
    assert!(problem.contains("the token says 'brno1'"), "{problem}");
}
