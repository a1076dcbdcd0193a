//! Words that stand for one thing everywhere, and what is said where something has no effect or is known elsewhere.

use crate::online::Management;
use crate::program::{MESHMGR, run};

#[test]
fn a_policy_is_called_policy_in_all_that_is_printed() {
    let mesh = Management::start();
    mesh.good("pdc create fra --intra plain");
    let old = "apiVersion: vxmesh/v1\nkind: PathPolicy\nmetadata: {name: p}\nspec: {between: [{pdc: fra}, {pdc: fra}], action: encrypt}\n";
    let ended = mesh.feed("apply -f -", old);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for typed in [
        "status -o json",
        "status",
        "policy list",
        "policy list -o json",
        "policy show p -o json",
        "policy show p",
        "get policy -o json",
        "get all -o yaml",
        "events -o json",
        "events",
        "policy set p --label a=b",
    ] {
        let said = mesh.good(typed);
        assert!(!said.is_empty() && !said.to_lowercase().contains("pathpolic"), "{typed}: {said}");
    }
    // What is printed can be applied.
    let again = mesh.feed("apply -f -", &mesh.good("get policy p -o yaml"));
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}

#[test]
fn what_only_init_hears_is_said_to_have_no_effect_where_init_has_been() {
    let (folder, config) = Management::configure("127.0.0.1:1");
    let check = || run(MESHMGR, &["check-config", "--config", &config]).stdout;
    assert!(!check().contains("note"), "{}", check());
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[certificates]\nadmin = \"30d\"\n")).unwrap();
    assert!(check().contains("note: [certificates] admin counted when 'meshmgr init'"), "{}", check());
    std::fs::write(&config, format!("{text}[certificates]\nadmin = \"365d\"\n")).unwrap();
    assert!(!check().contains("note"), "it is as it was: {}", check());
    // Before `init` it counts.
    std::fs::write(&config, format!("{text}[certificates]\nadmin = \"30d\"\n")).unwrap();
    std::fs::remove_dir_all(folder.path().join("keys")).unwrap();
    assert!(!check().contains("note"), "{}", check());
}

#[test]
fn a_port_that_names_an_interface_says_where_to_look_whether_it_is_a_guests() {
    let mesh = Management::start();
    for typed in [
        "pdc create fra --intra plain",
        "overlay create default",
        "network create blue --overlay default --vni 10",
        "node create fra-1 --pdc fra",
    ] {
        mesh.good(typed);
    }
    let named = mesh.meshctl(
        "port create web --network blue --node fra-1 --mac 52:54:00:00:00:01 --ip 192.168.10.11 --interface eth0",
    );
    assert_eq!(named.stdout, "port/web created\n");
    assert!(
        named.stderr.contains("next: meshctl status --node fra-1") && named.stderr.contains("the host's own"),
        "{}",
        named.stderr
    );
    mesh.good("status --node fra-1");
    let unnamed = mesh.meshctl("port create db --network blue --node fra-1 --mac 52:54:00:00:00:02");
    assert_eq!((unnamed.code, unnamed.stderr.as_str()), (Some(0), ""));
}
