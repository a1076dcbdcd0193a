//! Texts that people and machines write: tokens, certificates, configurations, manifests.

use vxmesh::api::problem::Problem;
use vxmesh::config::{Source, from_toml, manifest, meshd, meshmgr};
use vxmesh::lab::layout::Shape;
use vxmesh::mgmt::state::State;
use vxmesh::mgmt::{certs, edit, token as tokens, validate};
use vxmesh::transport::tls;

/// A refusal can be shown, line by line, without anything that a terminal obeys, and its place is inside of the text.
pub fn shown(problem: &Problem, text: &str) {
    let whole = problem.to_string();
    assert!(!whole.contains(|c: char| c.is_control() && c != '\n'), "{whole:?}");
    assert!(problem.code.len() == 5 && !problem.what.is_empty());
    if let Some(place) = &problem.place {
        // YAML ends a line at a lone carriage return too.
        let lines = u32::try_from(text.split(['\n', '\r']).count()).unwrap_or(u32::MAX);
        assert!(place.line >= 1 && place.line <= lines + 1, "line {} of {lines}", place.line);
        assert!(place.column >= 1);
    }
}

/// A join token: what is read holds what is needed, and both who read it agree.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = vxmesh::node::enroll::Token::parse(text);
    match tokens::read(text) {
        Ok(read) => {
            assert!(!read.addresses.is_empty() && !read.id.is_empty() && !read.secret.is_empty());
            assert_eq!(parsed.ok().map(|token| token.addresses().to_vec()), Some(read.addresses.clone()));
        }
        Err(error) => {
            assert!(parsed.is_err());
            shown(&error.problem(), text);
        }
    }
}

/// `which (1) | bytes`: a certificate request or a certificate, as PEM, or as the bytes inside of it. A request gives a key and
/// nothing else; a certificate of ours names one role.
pub fn certificate(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    match which % 4 {
        0 => der(bytes),
        1 => {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            request(text);
            pem(text);
        }
        2 => request(&wrapped("CERTIFICATE REQUEST", bytes)),
        _ => pem(&wrapped("CERTIFICATE", bytes)),
    }
}

fn request(text: &str) {
    if let Ok(request) = certs::Request::read(text) {
        assert_eq!(request.key_hash().len(), 64);
    }
}

fn der(bytes: &[u8]) {
    let _ = (certs::validity(bytes), tls::spki_hash(bytes));
    if let Ok(identity) = certs::identity(bytes) {
        assert_eq!(identity.key.len(), 64);
        assert_eq!(certs::spki_hash(bytes).ok(), tls::spki_hash(bytes));
        assert!(identity.role.title().bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

fn pem(text: &str) {
    let _ = (certs::identity_of_pem(text), certs::validity_of_pem(text), tls::roots(text), tls::private_key(text));
    for certificate in tls::certificates(text).unwrap_or_default() {
        der(&certificate);
    }
}

/// Bytes as PEM, so that what is changed is what is inside.
fn wrapped(label: &str, bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut body = String::new();
    for (number, three) in bytes.chunks(3).enumerate() {
        let word = three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = usize::try_from(word >> (18 - 6 * place) & 63).unwrap_or_default();
            body.push(if place > three.len() { '=' } else { char::from(DIGITS[digit]) });
        }
        if number % 16 == 15 {
            body.push('\n');
        }
    }
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// `which (1) | text`: `meshd.toml`, `meshmgr.toml` or `lab.toml`. A refusal shows its place; a lab that can be has names for
/// everything.
pub fn config(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let refused = match which % 3 {
        0 => meshd::Config::parse("meshd.toml", text).map(drop),
        1 => meshmgr::Config::parse("meshmgr.toml", text).map(drop),
        _ => from_toml::<Shape>(Source::new("lab.toml", text)).map(|shape| {
            if let Ok(layout) = shape.layout() {
                assert!(!layout.namespaces().is_empty());
            }
        }),
    };
    if let Err(problem) = refused {
        shown(&problem, text);
    }
}

/// Manifests: what is read is printed and read the same, and may be applied or is refused with a reason.
pub fn manifests(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let objects = match manifest::parse("objects.yaml", text) {
        Ok(objects) => objects,
        Err(problem) => return shown(&problem, text),
    };
    for object in objects.iter().take(16) {
        let yaml = manifest::to_yaml(object).expect("an object can be written");
        let again = manifest::parse("again.yaml", &yaml).unwrap_or_else(|problem| panic!("{problem}\n{yaml}"));
        assert_eq!(again.as_slice(), std::slice::from_ref(object), "{yaml}");
    }
    let state = State::default();
    match edit::apply(&state, objects).and_then(|edits| validate::check(&state, &edits)) {
        Ok(_) => {}
        Err(problem) => shown(&problem, ""),
    }
}
