use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::mgmt::certs::{Authority, Request, new_request};
use crate::node::enroll::TLS_KEY;
use crate::node::paths::{Own, decide_all};
use crate::types::Version;

fn name(text: &str) -> NodeId {
    text.parse().unwrap()
}

fn pdc(text: &str) -> PdcId {
    text.parse().unwrap()
}

/// A slice of `a-1` with one network and one guest elsewhere.
pub(crate) fn slice(revision: u64) -> Slice {
    serde_json::from_value(serde_json::json!({
        "version": {"incarnation": 1, "revision": revision}, "node": "a-1", "pdc": "a", "tunnelAddress": null,
        "pdcs": {"a": {"intra": "plain", "underlay": ["10.0.0.0/24"], "maxHops": 0}}, "policies": {},
        "networks": {"default/10": {"name": "blue", "udpPort": 4789, "cidr": ["192.168.10.0/24"], "gateway": [],
            "guestMtu": 1450, "flood": "suppress", "learning": "declared", "members": {"a-2": "plain"}}},
        "rows": {"default/10/-/02:00:00:00:00:02": {"node": "a-2", "arp": ["192.168.10.12"]}},
        "peers": {"a-2": {"pdc": "a", "admin": "10.0.0.2", "listen": 51820, "lanes": 1}}
    }))
    .unwrap()
}

#[test]
fn what_was_saved_is_what_the_node_boots_from() {
    let folder = tempfile::tempdir().unwrap();
    assert!(load_slice(folder.path(), &name("a-1"), &pdc("a")).unwrap().is_none());
    save_slice(folder.path(), &slice(7)).unwrap();
    let mode = std::fs::metadata(folder.path().join(SLICE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(load_slice(folder.path(), &name("a-1"), &pdc("a")).unwrap(), Some(slice(7)));
}

#[test]
fn a_slice_cut_in_half_anywhere_is_refused_and_kept_for_people() {
    let folder = tempfile::tempdir().unwrap();
    save_slice(folder.path(), &slice(7)).unwrap();
    let path = folder.path().join(SLICE);
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 1, whole.len() / 2, whole.len() - 3] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let error = load_slice(folder.path(), &name("a-1"), &pdc("a")).unwrap_err();
        assert!(matches!(error, SliceError::Broken { .. }), "{error}");
        assert!(error.to_string().contains("slice.json cannot be used"), "{error}");
        assert_eq!(std::fs::read(folder.path().join(BAD_SLICE)).unwrap(), &whole[..cut]);
    }
}

#[test]
fn the_slice_of_another_node_or_pdc_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    save_slice(folder.path(), &slice(7)).unwrap();
    for (node, site) in [("b-1", "a"), ("a-1", "b")] {
        let error = load_slice(folder.path(), &name(node), &pdc(site)).unwrap_err();
        assert!(error.to_string().contains("node 'a-1' in PDC 'a'"), "{error}");
    }
    assert!(folder.path().join(BAD_SLICE).exists());
}

#[test]
fn table_files_follow_the_networks_and_leave_other_files_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    let one = slice(1);
    let own = Own { admin: Some("10.0.0.1".parse().unwrap()), external: None };
    let paths = decide_all(&one, own);
    assert_eq!(save_tables(state, &one, &paths).unwrap(), 1);
    let path = state.join("table/default/10.json");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o400);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("10.0.0.2") && text.contains("192.168.10.12"), "{text}");
    assert_eq!(save_tables(state, &one, &paths).unwrap(), 0, "nothing changed, nothing is written");
    for alien in ["table/default/notes.txt", "table/default/0.json", "table/Not A Label"] {
        std::fs::write(state.join(alien), "x").unwrap();
    }
    let none = Slice::empty(Version::default(), name("a-1"), pdc("a"));
    assert_eq!(save_tables(state, &none, &decide_all(&none, own)).unwrap(), 1);
    assert!(!path.exists());
    assert!(state.join("table/default/notes.txt").exists() && state.join("table/default/0.json").exists());
}

/// Keys and certificate of `a-1` in PDC `a`, as `join` leaves them.
pub(crate) fn joined(keys: &Path) -> Authority {
    let now = crate::clock::wall();
    let (ca, _) = Authority::make(now, [1; 16]).unwrap();
    let request = new_request(&name("a-1")).unwrap();
    let certificate = ca.node(Request::read(&request.csr).unwrap(), &name("a-1"), &pdc("a"), now, [2; 16]).unwrap();
    file::write(&keys.join(CERTIFICATE), certificate.as_bytes(), 0o600).unwrap();
    file::write(&keys.join(CA), ca.certificate().as_bytes(), 0o600).unwrap();
    file::write(&keys.join(TLS_KEY), request.key.as_bytes(), 0o600).unwrap();
    ca
}

fn identity_with(keys: &Path, node: &str) -> Result<Identity, Problem> {
    let text = format!("management = ['m:1']\n{node}\n[paths]\nkeys = '{}'\n", keys.display());
    identity(&Config::parse("meshd.toml", &text).unwrap(), Source::new("meshd.toml", &text))
}

#[test]
fn a_machine_that_has_not_joined_is_told_how() {
    let folder = tempfile::tempdir().unwrap();
    let problem = identity_with(folder.path(), "").err().unwrap().to_string();
    assert!(problem.contains("has not joined") && problem.contains("meshctl join"), "{problem}");
}

#[test]
fn the_certificate_decides_and_the_file_only_asserts() {
    let folder = tempfile::tempdir().unwrap();
    joined(folder.path());
    let identity = identity_with(folder.path(), "").ok().unwrap();
    assert_eq!((identity.name.as_str(), identity.pdc.as_str()), ("a-1", "a"));
    assert!(identity_with(folder.path(), "[node]\nname = 'a-1'\npdc = 'a'").is_ok());
    let problem = identity_with(folder.path(), "[node]\npdc = 'b'").err().unwrap().to_string();
    assert!(problem.contains("M0312") && problem.contains("meshd.toml:3:7") && problem.contains("'a'"), "{problem}");
    let problem = identity_with(folder.path(), "[node]\nname = 'a-2'").err().unwrap().to_string();
    assert!(problem.contains("M0350"), "{problem}");
}

#[test]
fn an_open_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    joined(folder.path());
    std::fs::set_permissions(folder.path().join(TLS_KEY), std::fs::Permissions::from_mode(0o644)).unwrap();
    let problem = identity_with(folder.path(), "").err().unwrap().to_string();
    assert!(problem.contains("chmod 0600"), "{problem}");
}
