//! Disks that are full and files that were cut, with the real programs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::harness::{can_run, succeed, wait_until};
use crate::mesh::{Ended, MESHCTL, MESHMGR, Mesh, run};

/// A command in a mount namespace of its own, where `folder` is a disk of `kib` KiB that holds what `folder` held, and `fill`
/// has run on it.
fn on_small_disk(folder: &Path, kib: u32, script: &str) -> Command {
    let folder = folder.display();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec"]).arg(format!(
        "cp -a {folder} {folder}.copy; mount -t tmpfs -o size={kib}k,mode=700 none {folder}; cp -a {folder}.copy/. {folder}/\n{script}"
    ));
    command
}

/// Fills a folder's disk to the last byte.
const FILL: &str = "dd if=/dev/zero bs=4k 2>/dev/null of=\"$1\" || true";

#[test]
fn an_installation_on_a_full_disk_says_so_and_is_made_when_there_is_room() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display();
    let config = folder.path().join("meshmgr.toml");
    let text = format!("addresses = [\"m:7443\"]\n[paths]\nkeys = \"{root}/keys\"\nstate = \"{root}/disk/state\"\n");
    std::fs::write(&config, text).unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let init = format!("{MESHMGR} init --config {}", config.display());
    let ended = run(&mut on_small_disk(&disk, 8, &init));
    ended.refused(1, &["error[M0702]", "disk", "nothing was changed", "help: make room"]);
    assert!(!folder.path().join("keys").exists(), "no keys without a store");
    succeed(Command::new("sh").args(["-ec", &init]));
}

/// The mesh's server again, on a disk with hardly any room.
#[test]
fn a_full_disk_under_the_store_refuses_changes_and_keeps_what_was_there() {
    if !can_run() {
        return;
    }
    let mut mesh = Mesh::new();
    mesh.silence();
    let state = mesh.installation.folder.path().join("state");
    let config = mesh.installation.config();
    let size = std::fs::metadata(state.join("mesh.redb")).unwrap().len() / 1024 + 256;
    let script = format!(
        "sh -c '{FILL}' fill {0}/ballast; exec ip netns exec {1} {MESHMGR} run --config {2} 2>/dev/null",
        state.display(),
        mesh.server.name(),
        config.display()
    );
    let mut command = on_small_disk(&state, u32::try_from(size).unwrap(), &script);
    let server = mesh.server.start(&mut command);
    wait_until("meshmgr listens", Duration::from_secs(30), || mesh.server.sh("ss -ltn").contains(":7443"));
    let credential = mesh.installation.folder.path().join("keys/admin");
    let ask = |words: &str| mesh.ask(&credential, words);
    let full =
        (0..200).map(|n| ask(&format!("pdc create p{n} --underlay 10.7.{n}.0/24"))).find(|ended| ended.code != Some(0));
    let full: Ended = full.expect("the disk fills up");
    full.refused(1, &["error[M0702]", "nothing was changed", "make room on the disk"]);
    let before = ask("pdc list");
    assert_eq!(before.code, Some(0), "it still answers: {}", before.stderr);
    assert!(before.stdout.contains("a ") && before.stdout.contains("b "), "{}", before.stdout);
    let inside = format!("/proc/{}/root{}/ballast", server.pid(), state.display());
    std::fs::remove_file(inside).unwrap();
    let made = ask("pdc create late --underlay 10.6.0.0/24");
    assert_eq!(made.code, Some(0), "with room it goes on by itself: {}", made.stderr);
}

#[test]
fn a_node_boots_from_a_slice_cut_in_half_and_keeps_what_the_kernel_has() {
    if !can_run() {
        return;
    }
    let mut mesh = Mesh::new();
    mesh.admin("overlay create default");
    mesh.admin("network create blue --overlay default --vni 10 --cidr 192.168.10.0/24 --learning local --nodes n-*");
    let joined = mesh.join("n-1", &mesh.token(""), "");
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    let daemon = mesh.meshd("n-1");
    wait_until("the network is built", Duration::from_secs(10), || mesh.machine.holds("ip link show dev vb10.12b5"));
    mesh.silence();
    drop(daemon);
    let links = "ip -o link | sed 's/<.*>//; s/ state .*//'; bridge fdb show dynamic no; nft list table inet vxmesh | sed 's/packets.*//'";
    let before = mesh.machine.sh(links);
    let state = mesh.keys("n-1").with_file_name("state");
    let slice = std::fs::read(state.join("slice.json")).unwrap();
    std::fs::write(state.join("slice.json"), &slice[..slice.len() / 2]).unwrap();
    let daemon = mesh.meshd("n-1");
    let status = mesh.local("n-1", "status");
    assert!(status.stdout.contains("M0215"), "{status:#?}");
    assert_eq!(status.code, Some(9), "{status:#?}");
    let whole = mesh.local("n-1", "status -o json").stdout;
    assert!(whole.contains("slice.json.bad; the kernel keeps what it has until a snapshot comes"), "{whole}");
    assert!(mesh.local("n-1", "events").stdout.contains("slice.json.bad"), "the event says so too");
    assert_eq!(std::fs::read(state.join("slice.json.bad")).unwrap(), &slice[..slice.len() / 2]);
    assert_eq!(mesh.machine.sh(links), before);
    let again = std::mem::replace(&mut mesh.installation, crate::mesh::Installation::make());
    mesh.replace(&again);
    wait_until("a whole slice is on disk again", Duration::from_secs(30), || {
        std::fs::read(state.join("slice.json"))
            .is_ok_and(|now| serde_json::from_slice::<serde_json::Value>(&now).is_ok())
    });
    wait_until("the finding is gone", Duration::from_secs(10), || {
        !mesh.local("n-1", "status").stdout.contains("M0215")
    });
    drop(daemon);
}

#[test]
fn a_node_that_may_not_write_large_files_says_so_and_goes_on() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new();
    mesh.admin("overlay create default");
    let joined = mesh.join("n-1", &mesh.token(""), "");
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    let daemon = mesh.meshd("n-1");
    let limit = |size: &str| {
        let (pid, limit) = (daemon.pid().to_string(), format!("--fsize={size}:"));
        succeed(Command::new("prlimit").args(["--pid", &pid, &limit]));
    };
    limit("100");
    mesh.admin("network create blue --overlay default --vni 10 --cidr 192.168.10.0/24 --learning local --nodes n-*");
    wait_until("it is told", Duration::from_secs(30), || {
        let told = mesh.local("n-1", "status").stdout;
        ["M0710", "File too large", "prlimit --fsize"].iter().all(|word| told.contains(word))
    });
    assert!(mesh.machine.holds("ip link show dev vb10.12b5"), "the newest slice is in force");
    limit("unlimited");
    wait_until("it is written again", Duration::from_secs(40), || {
        !mesh.local("n-1", "status").stdout.contains("M0710")
    });
    drop(daemon);
}

#[test]
fn a_machine_with_a_full_disk_joins_with_the_same_token_when_there_is_room() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new();
    let mut late = 0;
    // Pages that are free: none for keys, or some for keys and then none for the rest.
    for pages in [0, 1, 2, 3, 4] {
        let name = format!("n-{pages}");
        let config = mesh.configure(&name, "");
        let folder = config.parent().unwrap();
        std::fs::write(folder.join("token"), mesh.token("")).unwrap();
        let (root, machine) = (folder.display(), mesh.machine.name());
        let join = format!(
            "ip netns exec {machine} {MESHCTL} join --no-start --name {name} --token-file {root}/token --config {root}/meshd.toml"
        );
        let script = format!(
            "sh -c '{FILL}' fill {root}/ballast; truncate -s -$(({pages} * 4096)) {root}/ballast\n\
             if {join}; then exit 99; fi; rm {root}/ballast; echo AGAIN >&2; exec {join}"
        );
        let ended = run(&mut on_small_disk(folder, 256, &script));
        assert_eq!(ended.code, Some(0), "{pages}: {}", ended.stderr);
        let (first, again) = ended.stderr.split_once("AGAIN").unwrap();
        assert!(first.contains("error[M0601]") && first.contains("No space left"), "{pages}: {first}");
        assert!(first.contains("the token was not used") || first.contains("the same token works"), "{pages}: {first}");
        assert!(again.contains(&format!("joined as {name}")), "{pages}: {again}");
        late += usize::from(first.contains("the same token works"));
        // The next name is of the same machine, and an address is one node's.
        mesh.admin(&format!("node delete {name}"));
    }
    assert!(late > 0, "at least once the disk was full after the token was spent");
}
