//! `meshctl join` against a real `meshmgr`: what is refused, with which words, and that nothing was changed.

use std::time::Duration;

use crate::harness::{can_run, wait_until};
use crate::mesh::{Installation, Mesh};

const UNCHANGED: &str = "nothing was changed";

/// Nothing of a refused attempt but the machine's own keys: no certificate, no slice.
fn not_joined(mesh: &Mesh, name: &str) {
    assert!(!mesh.keys(name).join("tls.crt").exists(), "{name} has a certificate");
    assert!(!mesh.keys(name).with_file_name("state").join("slice.json").exists(), "{name} has a slice");
}

#[test]
fn a_token_that_does_not_let_this_machine_in_says_why_and_changes_nothing() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new();
    let refused = |name: &str, token: &str, lines: &str, code: i32, says: &[&str]| {
        let ended = mesh.join(name, token, lines);
        ended.refused(code, &[says, &[UNCHANGED, "help: "]].concat());
        assert!(!ended.stderr.contains(token.trim()), "an error never repeats the token");
        not_joined(&mesh, name);
        assert!(!mesh.admin("node list").contains(name), "{name} is in the mesh");
    };
    let good = mesh.token("--name n-*");
    refused("n-1", "nonsense", "", 3, &["error[M0242]", "nothing was sent"]);
    refused("n-1", &good.trim()[..60], "", 3, &["error[M0243]", "nothing was sent"]);
    refused("m-1", &good, "", 6, &["error[M0249]", "n-*"]);
    refused("n-1", &good, "[node]\npdc = \"b\"", 6, &["error[M0248]", "meshd.toml:3:7", "pdc = \"b\"", "'a'"]);
    let short = mesh.token("--ttl 1s");
    // The server's clock decides; a second is over when its list says so.
    wait_until("the token has expired", Duration::from_secs(10), || mesh.admin("token list").contains("expired"));
    refused("n-1", &short, "", 6, &["error[M0245]", "expired at", "meshctl token create"]);
    let gone = mesh.token("");
    let list = mesh.admin("token list -o json");
    let ids: Vec<serde_json::Value> =
        serde_json::from_str::<serde_json::Value>(&list).unwrap()["items"].as_array().unwrap().clone();
    for id in ids.iter().filter(|token| token["spec"]["namePattern"] == "*") {
        mesh.admin(&format!("token delete {}", id["metadata"]["name"].as_str().unwrap()));
    }
    refused("n-1", &gone, "", 6, &["error[M0244]", "meshctl token create"]);

    // The same token still works: none of the refusals spent it.
    let joined = mesh.join("n-1", &good, "[node]\npdc = \"a\"");
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    refused("n-2", &good, "", 6, &["error[M0246]", "used by n-1 from 10.9.0.1"]);
    mesh.join("n-1", &good, "[node]\npdc = \"a\"").refused(5, &["error[M0216]", "joined already", "was not used"]);
    // Another machine that has the token and the name, but not the key.
    std::fs::remove_dir_all(mesh.keys("n-1")).unwrap();
    let other = mesh.join("n-1", &good, "");
    other.refused(6, &["error[M0247]", "with another key", "meshctl token create --replace n-1", UNCHANGED]);
    assert!(mesh.admin("events").matches("enroll-refused").count() >= 6, "refusals are in the audit log");
}

#[test]
fn a_man_in_the_middle_with_a_valid_certificate_of_his_own_gets_no_secret() {
    if !can_run() {
        return;
    }
    let mut mesh = Mesh::new();
    let token = mesh.token("");
    let foreign = Installation::make();
    mesh.replace(&foreign);
    let ended = mesh.join("n-1", &token, "");
    ended.refused(6, &["error[M0211]", "is not the server that this token is for", "secret was not sent", UNCHANGED]);
    assert!(!mesh.keys("n-1").exists(), "not even keys were made");
    // An operator's own credential is not shown a foreign server's objects either.
    let credential = mesh.installation.folder.path().join("keys/admin");
    mesh.ask(&credential, "node list").refused(6, &["error[M0104]", "cannot prove that it is a management server"]);
    let mut other = mesh;
    let own = std::mem::replace(&mut other.installation, foreign);
    other.replace(&own);
    let joined = other.join("n-1", &token, "");
    assert_eq!(joined.code, Some(0), "the token is as good as before: {}", joined.stderr);
}

#[test]
fn the_certificate_of_a_node_is_no_credential_of_an_administrator() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new();
    let joined = mesh.join("n-1", &mesh.token(""), "");
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    let stolen = mesh.disk.path().join("stolen");
    std::fs::create_dir(&stolen).unwrap();
    for (from, to) in [("tls.key", "admin.key"), ("tls.crt", "admin.crt"), ("ca.crt", "ca.crt")] {
        std::fs::copy(mesh.keys("n-1").join(from), stolen.join(to)).unwrap();
    }
    for words in
        ["node list", "node delete n-1", "token create --pdc a", "pdc create c", "events", "table show --node n-1"]
    {
        mesh.ask(&stolen, words).refused(6, &["error[M0801]", UNCHANGED, "--credential DIR"]);
    }
    assert!(mesh.admin("node list").contains("n-1") && !mesh.admin("pdc list").contains("c "));
}
