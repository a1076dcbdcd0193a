//! Root on an installation that belongs to the server's user, as the README makes one: whatever root types, it still is that user's after.

use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::online::Management;
use crate::program::{MESHMGR, command, run};

/// The user nobody.
const USER: u32 = 65_534;

fn below(folder: &Path, found: &mut Vec<PathBuf>) {
    found.push(folder.to_owned());
    if folder.is_dir() {
        std::fs::read_dir(folder).unwrap().for_each(|entry| below(&entry.unwrap().path(), found));
    }
}

/// Everything below keys and state that is not the server's.
fn not_its(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    ["keys", "state"].iter().for_each(|name| below(&root.join(name), &mut all));
    all.retain(|path| std::fs::metadata(path).unwrap().uid() != USER);
    all
}

#[test]
fn root_may_run_backup_restore_and_check_and_the_installation_stays_its_users() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (folder, config) = Management::configure(&address);
    let root = folder.path();
    let mut all = Vec::new();
    ["keys", "state"].iter().for_each(|name| below(&root.join(name), &mut all));
    if all.iter().any(|path| chown(path, Some(USER), Some(USER)).is_err()) {
        println!("SKIPPED: only root gives files away");
        return;
    }
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755)).unwrap();
    // In a folder that only root may look into.
    let private = tempfile::tempdir().unwrap();
    let file = private.path().join("mesh.backup").display().to_string();
    let good = |words: &[&str]| {
        let ended = run(MESHMGR, &[words, &["--config", &config]].concat());
        assert_eq!(ended.code, Some(0), "{words:?}: {}{}", ended.stdout, ended.stderr);
        assert_eq!(not_its(root), Vec::<PathBuf>::new(), "after {words:?}");
        ended.stdout
    };
    assert!(good(&["check-config"]).contains("valid"));
    assert!(good(&["backup", &file]).contains("objects, in"));
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    assert!(good(&["restore", &file]).contains("is in force, as incarnation 2"));
    assert!(good(&["backup", "-"]).contains("vxmesh"));

    // The server itself, typed by root in a terminal, is that user, too; and answers a backup while it runs.
    let mut child =
        command(MESHMGR, &["run", "--config", &config]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let listens = (0..300).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        TcpStream::connect(&address).is_ok()
    });
    let user = std::fs::metadata(format!("/proc/{}", child.id())).map(|found| found.uid());
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let shown =
        ["comm", "cmdline"].map(|what| std::fs::read_to_string(format!("/proc/{}/{what}", child.id())).unwrap());
    let running = good(&["backup", &file]);
    let busy = run(MESHMGR, &["restore", &file, "--config", &config]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(listens && running.contains("objects, in"));
    assert!(status.contains(&format!("Uid:\t{USER}\t{USER}\t{USER}\t{USER}")), "{user:?} {status}");
    assert!(busy.code == Some(1) && busy.stderr.contains("error[M0704]"), "{:?} {}", busy.code, busy.stderr);
    assert!(shown[0].trim() == "meshmgr" && shown[1].starts_with("meshmgr\0run\0"), "{shown:?}");
    assert_eq!(not_its(root), Vec::<PathBuf>::new());

    // What is wrong is said by the right words, and the other's exit code is this one's.
    let none = run(MESHMGR, &["restore", "/nonexistent/file", "--config", &config]);
    assert!(none.code == Some(1) && none.stderr.contains("error[M0606]"), "{}", none.stderr);
    std::fs::write(&file, "no backup").unwrap();
    let bad = run(MESHMGR, &["restore", &file, "--config", &config]);
    let said = format!("error[M0708]: {file} cannot be put back");
    assert!(bad.code == Some(3) && bad.stderr.contains(&said), "{:?} {}", bad.code, bad.stderr);
    for ended in [none, bad, busy] {
        assert!(!ended.stderr.contains("chown"), "no advice takes it away from its user: {}", ended.stderr);
    }
}
