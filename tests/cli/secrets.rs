//! What holds a secret cannot be printed: this file does not compile where it can.

use std::fmt::{Debug, Display};

use vxmesh::api::admin::{ForeignConfig, MadeToken};
use vxmesh::api::enroll::{EnrollRequest, TokenText};
use vxmesh::meshd::disk::Identity;
use vxmesh::mgmt::{certs, token};
use vxmesh::node::enroll;
use vxmesh::transport::client::Lines;
use vxmesh::types::{Psk, SecretKey};

/// Fails to compile where a type has one of the traits: then two of the implementations below fit, and none can be chosen.
macro_rules! cannot_be_printed {
    ($($secret:ty,)*) => {
        $(
            const _: fn() = || {
                trait Chosen<Why> {
                    fn one() {}
                }
                impl<T: ?Sized> Chosen<()> for T {}
                struct ByDebug;
                impl<T: ?Sized + Debug> Chosen<ByDebug> for T {}
                struct ByDisplay;
                impl<T: ?Sized + Display> Chosen<ByDisplay> for T {}
                let _ = <$secret as Chosen<_>>::one;
            };
        )*
    };
}

cannot_be_printed! {
    SecretKey,
    Psk,
    Option<Psk>,
    token::NewToken,
    token::ReadToken,
    TokenText,
    MadeToken,
    EnrollRequest,
    ForeignConfig,
    certs::Authority,
    certs::Issued,
    certs::NewRequest,
    enroll::File,
    enroll::Keys,
    enroll::Member,
    enroll::Token,
    enroll::Waiting,
    Identity,
    Lines,
}

/// What holds a secret among other things prints the rest.
#[test]
fn a_peer_prints_everything_but_its_psk() {
    let psk = Psk::from_bytes([0xa5; 32]);
    let mut slice: serde_json::Value = serde_json::from_str(include_str!("../../fuzz/src/slice.json")).unwrap();
    for peer in slice["peers"].as_object_mut().unwrap().values_mut() {
        peer["psk"] = serde_json::Value::String(psk.to_text().to_string());
    }
    let slice: vxmesh::table::Slice = serde_json::from_value(slice).unwrap();
    assert!(slice.peers.values().all(|peer| peer.psk == Some(psk.clone())));
    let shown = format!("{slice:?}{slice:#?}");
    assert!(
        !shown.contains(psk.to_text().as_str()) && !shown.contains("165, 165") && !shown.contains("a5a5"),
        "{shown}"
    );
    assert!(shown.contains("public_key"), "{shown}");
}

/// Lines of the secrets that `meshmgr init` makes in a folder, and what it says.
fn installation(folder: &std::path::Path) -> (Vec<String>, String) {
    let config = folder.join("meshmgr.toml");
    let root = folder.display();
    let text = format!("addresses = [\"m:1\"]\n[paths]\nkeys = \"{root}/keys\"\nstate = \"{root}/state\"\n");
    std::fs::write(&config, text).unwrap();
    let output =
        std::process::Command::new(env!("CARGO_BIN_EXE_meshmgr")).args(["init", "--config"]).arg(&config).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let keys = folder.join("keys");
    let files = ["ca.key", "psk.key", "admin/admin.key"];
    let lines = files.iter().flat_map(|file| {
        let text = std::fs::read_to_string(keys.join(file)).unwrap();
        text.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned).collect::<Vec<_>>()
    });
    let said = [output.stdout, output.stderr].concat();
    (lines.collect(), String::from_utf8(said).unwrap())
}

#[test]
fn two_installations_share_no_secret_and_print_none() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ((first, said), (second, _)) = (installation(one.path()), installation(other.path()));
    assert!(first.len() >= 5);
    for line in &first {
        assert!(!second.contains(line), "both have {line}");
        assert!(!said.contains(line), "init printed {line}");
    }
}
