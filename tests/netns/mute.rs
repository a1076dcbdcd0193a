//! An `nft` that cannot be run as it should, as after half an upgrade: it is told as one thing for as long as it lasts, with the packet filter that
//! is not in force, and what stands is not called cut off.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Background, can_run, wait_until};
use crate::mesh::{MESHD, Mesh};

/// How often status is asked for while it lasts: the engine tries again every two seconds.
const LOOKS: u32 = 40;
const EVERY: Duration = Duration::from_millis(250);

/// Runs `meshd` of `n-1`, which finds its `nft` in `bin`.
fn daemon(mesh: &Mesh, bin: &Path) -> Background {
    let mut command = mesh.machine.command("env");
    command.arg(format!("PATH={}:/usr/bin:/bin", bin.display())).args([MESHD, "run", "--config"]);
    command.arg(mesh.keys("n-1").with_file_name("meshd.toml")).stderr(Stdio::null());
    let running = mesh.machine.start(&mut command);
    let socket = mesh.keys("n-1").with_file_name("run").join("meshd.sock");
    wait_until("meshd answers", Duration::from_secs(10), || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    running
}

/// What is wrong with the packet filters, as status has it for programs.
fn told(mesh: &Mesh) -> Vec<Value> {
    let status: Value = serde_json::from_str(&mesh.local("n-1", "status -o json").stdout).unwrap();
    let mut problems = status["problems"].as_array().cloned().unwrap_or_default();
    problems.retain(|one| one["code"].as_str().is_some_and(|code| code.starts_with("M062") || code == "M0635"));
    problems
}

#[test]
fn an_nft_that_does_nothing_is_told_as_one_thing_with_what_is_not_in_force() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new();
    mesh.admin("overlay create default");
    mesh.admin("network create blue --overlay default --vni 10 --cidr 192.168.10.0/24 --learning local --nodes n-*");
    let joined = mesh.join("n-1", &mesh.token(""), "");
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    let folder = tempfile::tempdir().unwrap();
    let (nft, works) = (folder.path().join("nft"), mesh.machine.sh("command -v nft"));
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "no program").unwrap();
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o600)).unwrap();
    let put = |target: &Path| {
        std::fs::remove_file(&nft).unwrap_or_default();
        symlink(target, &nft).unwrap();
    };
    put(Path::new(works.trim()));
    let running = daemon(&mesh, folder.path());
    wait_until("the network is built", Duration::from_secs(20), || mesh.machine.holds("ip link show dev vb10.12b5"));
    wait_until("all is well", Duration::from_secs(20), || told(&mesh).is_empty());
    let (guard, fence) = ("inet vxmesh", "bridge vxmesh_guests");
    for (broken, table, says, without) in [
        (Path::new("/bin/false"), guard, "nft ended with status 1 and said nothing", "let in frames of anybody"),
        (Path::new("/bin/false"), fence, "nft ended with status 1 and said nothing", "are unfiltered"),
        (Path::new("/bin/true"), guard, "nft ended with status 0 and has loaded nothing", "let in frames of anybody"),
        (plain.as_path(), guard, "cannot be run: Permission denied", "let in frames of anybody"),
    ] {
        put(broken);
        mesh.machine.sh(&format!("nft delete table {table}"));
        wait_until("it is told", Duration::from_secs(20), || !told(&mesh).is_empty());
        let first = told(&mesh);
        let [one] = first.as_slice() else { panic!("{first:?}") };
        let text = one["what"].as_str().unwrap();
        assert!(one["code"] == "M0622" && text.contains(&format!("table {table} ")), "{one}");
        assert!(text.contains(says) && text.ends_with(without), "{one}");
        assert!(one["help"].as_str().unwrap().starts_with(&format!("nft list table {table}; nft --version")), "{one}");
        assert!(one["cut"]["node"] == true && one["cut"]["surely"] == false, "what stands goes on: {one}");
        for _ in 0..LOOKS {
            assert_eq!(told(&mesh), first, "one thing for as long as it lasts");
            std::thread::sleep(EVERY);
        }
        put(Path::new(works.trim()));
        wait_until("it is over", Duration::from_secs(20), || told(&mesh).is_empty());
    }
    drop(running);
}
