use proptest::prelude::*;

use super::*;
use crate::api::objects::{Meta, NodeFacts};
use crate::types::{Mtu, PublicKey, UdpPort};

fn now() -> Wall {
    Wall::from_secs(1_000_000)
}

fn made() -> NewToken {
    make([1, 2, 3, 4, 5], &[7; 32], &["mgmt.example.net:7443".to_owned()], &[9; 32])
}

fn token(uses: u32) -> Token {
    let made = made();
    Token {
        metadata: Meta { name: made.id, labels: Default::default(), revision: None },
        spec: TokenSpec {
            pdc: "fra".parse().unwrap(),
            name_pattern: "fra-*".to_owned(),
            uses,
            expires: Wall::from_secs(1_003_600),
            replace: false,
        },
        status: TokenStatus { secret_hash: made.secret_hash, used: Vec::new() },
    }
}

fn request() -> EnrollRequest {
    let read = read(&made().text).ok().unwrap();
    EnrollRequest {
        token: read.id,
        secret: read.secret.to_string(),
        name: "fra-1".parse().unwrap(),
        asserted_pdc: None,
        csr: String::new(),
        public_key: PublicKey([1; 32]),
        proofs: Vec::new(),
        facts: NodeFacts {
            admin: None,
            external: None,
            admin_mtu: Mtu::try_from(1500).unwrap(),
            external_mtu: Mtu::try_from(1500).unwrap(),
            listen: UdpPort::try_from(51820).unwrap(),
            lanes: 1,
            aes: false,
            version: String::new(),
        },
    }
}

fn used(node: &str, key: &str) -> TokenUse {
    TokenUse {
        node: node.parse().unwrap(),
        key: key.to_owned(),
        from: "192.0.2.7".to_owned(),
        at: Wall::from_secs(999_000),
    }
}

#[test]
fn the_text_comes_back() {
    let read = read(&format!("  {}\n", made().text.as_str())).ok().unwrap();
    assert_eq!((read.id.as_str(), read.pin), ("t0102030405", [9; 32]));
    assert_eq!(read.addresses, ["mgmt.example.net:7443"]);
    assert_eq!(hex_sha256(read.secret.as_bytes()), made().secret_hash);
}

#[test]
fn a_text_that_is_no_token_is_refused() {
    let text = made().text;
    let body = &text[TOKEN_PREFIX.len()..];
    for bad in [body, "", "vxm2.abc", &text[..text.len() - 9], &format!("{}=", *text), "vxm1."] {
        assert!(read(bad).is_err(), "{bad}");
    }
    for (addresses, good) in [(r#"[]"#, false), (r#"["a:1"]"#, true), (r#"["a:1"],"more":{"a":1}"#, true)] {
        let json = format!(
            r#"{{"addresses":{addresses},"pin":"{0}","id":"t1","secret":"{0}"}}"#,
            URL_SAFE_NO_PAD.encode([0; 32])
        );
        let token = read(&format!("vxm1.{}", URL_SAFE_NO_PAD.encode(json)));
        assert_eq!(token.is_ok(), good, "a newer management node may say more in it: {addresses}");
    }
}

#[test]
fn the_stored_token_does_not_hold_the_secret() {
    let stored = serde_json::to_string(&token(1)).unwrap();
    assert!(!stored.contains(&request().secret));
}

#[test]
fn every_refusal_has_its_own_code() {
    let good = request();
    assert_eq!(judge(Some(&token(1)), &good, "k", now()), Ok(Fit::New));

    let refuse = |token: Option<&Token>, request: &EnrollRequest, at: Wall| {
        judge(token, request, "k", at).unwrap_err().problem()
    };
    let code = |problem: &Problem| problem.code.clone();
    assert_eq!(code(&refuse(None, &good, now())), "M0244");
    let wrong_secret = EnrollRequest { secret: "A".repeat(43), ..good.clone() };
    let wrong = refuse(Some(&token(1)), &wrong_secret, Wall::from_secs(2_000_000));
    assert_eq!(code(&wrong), "M0244", "without the secret nobody learns that it expired");
    assert_eq!(code(&refuse(Some(&token(1)), &good, Wall::from_secs(1_003_600))), "M0245");

    let mut spent = token(1);
    spent.status.used = vec![used("fra-9", "other")];
    let problem = refuse(Some(&spent), &good, now());
    assert_eq!(code(&problem), "M0246");
    assert!(problem.notes[0].contains("fra-9 from 192.0.2.7 at 1970-01-12T13:30:00Z"), "{problem}");

    let mut mine = token(2);
    mine.status.used = vec![used("fra-1", "other")];
    assert_eq!(code(&refuse(Some(&mine), &good, now())), "M0247");

    let typo = EnrollRequest { asserted_pdc: Some("far".parse().unwrap()), ..good.clone() };
    assert_eq!(code(&refuse(Some(&token(1)), &typo, now())), "M0248");
    let name = EnrollRequest { name: "ams-1".parse().unwrap(), ..good };
    assert_eq!(code(&refuse(Some(&token(1)), &name, now())), "M0249");
}

#[test]
fn the_same_key_again_is_answered_even_from_a_spent_token() {
    let mut spent = token(1);
    spent.status.used = vec![used("fra-1", "k")];
    assert_eq!(judge(Some(&spent), &request(), "k", now()), Ok(Fit::Again));
    assert!(judge(Some(&spent), &request(), "k", Wall::from_secs(1_003_600)).is_err(), "only within its time");
    let other_name = EnrollRequest { name: "fra-2".parse().unwrap(), ..request() };
    assert!(judge(Some(&spent), &other_name, "k", now()).is_err(), "and only for the same name");
}

#[test]
fn patterns_match_names() {
    for (pattern, name, fits) in [
        ("*", "a", true),
        ("fra-*", "fra-1", true),
        ("fra-*", "fra-", true),
        ("fra-*", "xfra-1", false),
        ("*-gw", "a-gw", true),
        ("*-gw", "a-gw-1", false),
        ("a*b*c", "a1b2c", true),
        ("a*b*c", "a1c2b", false),
        ("fra-1", "fra-1", true),
        ("fra-1", "fra-11", false),
        ("a*a", "a", false),
        ("", "a", false),
    ] {
        assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
    }
}

proptest! {
    #[test]
    fn a_pattern_agrees_with_its_slow_definition(pattern in "[ab*]{0,6}", name in "[ab]{0,8}") {
        fn slow(p: &[u8], n: &[u8]) -> bool {
            match p.split_first() {
                None => n.is_empty(),
                Some((b'*', rest)) => (0..=n.len()).any(|skip| slow(rest, &n[skip..])),
                Some((c, rest)) => n.first() == Some(c) && slow(rest, &n[1..]),
            }
        }
        prop_assert_eq!(matches(&pattern, &name), slow(pattern.as_bytes(), name.as_bytes()));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(vxm1\\.)?[A-Za-z0-9_-]{0,200}") {
        let _ = read(&text);
    }
}
