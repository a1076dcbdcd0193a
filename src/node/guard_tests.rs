use super::*;

fn guard(vteps: &[&str]) -> Guard {
    let port = UdpPort::try_from(4789).unwrap();
    let vteps = vteps.iter().map(|a| (port, a.parse().unwrap())).collect();
    let side = Side { interface: "eth0".parse().unwrap(), min_ttl: 255, vteps };
    Guard { ports: [port].into(), admin: Some(side), external: None }
}

#[test]
fn the_table_reads_like_this() {
    let text = guard(&["10.0.0.2", "fd00::2"]).text();
    crate::node::golden::check("guard.nft", &text);
}

#[test]
fn a_new_vtep_changes_elements_only() {
    let change = guard(&["10.0.0.3", "fd00::3"]).change_from(&guard(&["10.0.0.2", "fd00::3"]));
    assert_eq!(
        change,
        "delete element inet vxmesh admin4 { 4789 . 10.0.0.2 }\nadd element inet vxmesh admin4 { 4789 . 10.0.0.3 }\n"
    );
}

#[test]
fn another_interface_or_ttl_changes_the_whole_table() {
    let old = guard(&["10.0.0.2"]);
    let mut new = old.clone();
    new.admin.as_mut().unwrap().min_ttl = 254;
    assert_eq!(new.change_from(&old), new.text());
    assert_eq!(Guard::default().change_from(&old), Guard::default().text());
}

#[test]
fn a_guard_without_sides_lets_nothing_pass() {
    let closed = Guard { admin: None, ..guard(&[]) };
    assert!(!closed.text().contains("accept\n"), "{}", closed.text());
}
