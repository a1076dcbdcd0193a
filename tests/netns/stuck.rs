//! A disk that does not answer, as a SAN or NFS that hangs, under the state of a node.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::harness::{can_run, succeed, wait_until};
use crate::mesh::Mesh;

/// A file system of its own, over a folder and with what is in it.
struct Disk(PathBuf);

impl Disk {
    /// None where this machine has no loop devices.
    fn over(folder: &Path) -> Option<Self> {
        let image = folder.with_extension("image");
        let (folder, image) = (folder.display(), image.display());
        let script = format!(
            "truncate -s 16M {image}; mkfs.ext4 -q {image}; cp -a {folder} {folder}.copy; mount -o loop {image} {folder}; \
             chmod 700 {folder}; cp -a {folder}.copy/. {folder}/"
        );
        let made = Command::new("sh").args(["-ec", &script]).output().unwrap();
        made.status.success().then(|| Self(folder.to_string().into()))
    }

    fn freeze(&self, flag: &str) {
        succeed(Command::new("fsfreeze").arg(flag).arg(&self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What a failed test has left frozen would hold its daemon for ever.
        let _ = Command::new("fsfreeze").arg("-u").arg(&self.0).output();
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_disk_that_hangs_is_told_in_seconds_and_no_restart_is_advised() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new();
    mesh.admin("overlay create default");
    let joined = mesh.join("n-1", &mesh.token(""), "");
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    let Some(disk) = Disk::over(&mesh.keys("n-1").with_file_name("state")) else {
        eprintln!("SKIPPED: no file system can be made here (apt install e2fsprogs; modprobe loop)");
        return;
    };
    let daemon = mesh.meshd("n-1");
    let status = || mesh.local("n-1", "status -o json").stdout;
    wait_until("it is well", Duration::from_secs(20), || status().contains("\"problems\": []"));
    disk.freeze("-f");
    mesh.admin("network create blue --overlay default --vni 10 --cidr 192.168.10.0/24 --learning local --nodes n-*");
    wait_until("it is told", Duration::from_secs(30), || status().contains("M0688"));
    let told = status();
    assert!(
        told.contains("the engine of meshd waits in the kernel") && told.contains("ps -eLo pid,tid,stat"),
        "{told}"
    );
    assert!(!told.contains("systemctl restart"), "{told}");
    disk.freeze("-u");
    wait_until("it is over", Duration::from_secs(20), || !status().contains("M0688"));
    wait_until("the network is built", Duration::from_secs(20), || mesh.machine.holds("ip link show dev vb10.12b5"));
    drop(daemon);
}
