//! `meshctl leave` after a real life: what the programs wrote is gone, what others put there is not.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::harness::{can_run, wait_until};
use crate::mesh::{Ended, MESHCTL, Mesh, run};

/// Every path below `root`.
fn all(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            found.insert(path.strip_prefix(root).unwrap().display().to_string());
            if path.is_dir() {
                todo.push(path);
            }
        }
    }
    found
}

fn leave(mesh: &Mesh, root: &Path) -> Ended {
    run(mesh.machine.command(MESHCTL).args(["leave", "--yes", "--config"]).arg(root.join("meshd.toml")))
}

fn appears(root: &Path, name: &str) {
    wait_until(name, Duration::from_secs(20), || root.join(name).exists());
}

#[test]
fn a_machine_that_leaves_keeps_nothing_but_its_configuration() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new();
    mesh.admin("overlay create default");
    mesh.admin("network create blue --overlay default --vni 10 --cidr 192.168.10.0/24");
    let joined = mesh.join("n-1", &mesh.token(""), "");
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    mesh.admin("port create web --network blue --node n-1 --mac 02:00:00:00:00:01");
    let root = mesh.disk.path().join("n-1");
    let beside = all(&root);
    let beside: BTreeSet<String> = beside.into_iter().filter(|path| !path.contains('/')).collect();
    assert_eq!(beside, ["keys", "meshd.toml", "state", "token"].map(str::to_owned).into());

    // A life: a table, a clock, a slice that was cut, a change of keys, and an end without warning each time.
    let daemon = mesh.meshd("n-1");
    ["state/slice.json", "state/clock", "state/table/default/10.json"].iter().for_each(|name| appears(&root, name));
    drop(daemon);
    std::fs::write(root.join("state/slice.json"), "{").unwrap();
    let daemon = mesh.meshd("n-1");
    appears(&root, "state/slice.json.bad");
    wait_until("the link is up", Duration::from_secs(20), || mesh.look("status").contains("n-1"));
    mesh.admin("node rotate-key n-1");
    appears(&root, "keys/wireguard.next");
    drop(daemon);
    assert!(root.join("keys/wireguard.next").exists(), "the daemon was killed in the middle of the change");
    std::fs::write(root.join("state/.slice.json.4711-0.vxmesh-new"), "{").unwrap();

    std::fs::write(root.join("keys/own.txt"), "theirs").unwrap();
    let ended = leave(&mesh, &root);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let named = format!("not of this node: {}", root.join("keys/own.txt").display());
    assert!(ended.stderr.contains(&named), "{}", ended.stderr);
    assert!(ended.stderr.contains("management: told"), "{}", ended.stderr);
    assert!(mesh.admin("events --kind node-left").contains("the machine of node n-1 has left"));
    assert_eq!(all(&root), ["keys", "keys/own.txt", "meshd.toml", "token"].map(str::to_owned).into());
    assert!(!mesh.machine.sh("ip -br link").contains("vx"), "{}", mesh.machine.sh("ip -br link"));
    std::fs::remove_file(root.join("keys/own.txt")).unwrap();
    let again = leave(&mesh, &root);
    assert_eq!(again.code, Some(0), "leaving twice is no fault: {}", again.stderr);
    assert_eq!(all(&root), ["meshd.toml", "token"].map(str::to_owned).into());
}

#[test]
fn nobody_leaves_while_the_daemon_runs() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new();
    let joined = mesh.join("n-1", &mesh.token(""), "");
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    let root = mesh.disk.path().join("n-1");
    let _daemon = mesh.meshd("n-1");
    let before = all(&root.join("keys"));
    leave(&mesh, &root).refused(5, &["error[M0610]"]);
    assert_eq!(all(&root.join("keys")), before);
}
