//! Backups of the management node and the nodes that have seen more, with the real programs.

use std::process::Command;
use std::time::Duration;

use crate::harness::{can_run, succeed, wait_until};
use crate::mesh::{Installation, MESHMGR, Mesh};

/// Files of the store's folder, for setting it back by hand.
fn copy(installation: &Installation, from: &str, to: &str) {
    let root = installation.folder.path().display();
    succeed(Command::new("sh").args(["-ec", &format!("rm -rf {root}/{to}; cp -a {root}/{from} {root}/{to}")]));
}

fn meshmgr(installation: &Installation, verb: &str, file: &str) -> String {
    let mut command = Command::new(MESHMGR);
    command.arg(verb).arg(installation.folder.path().join(file)).arg("--config").arg(installation.config());
    succeed(&mut command)
}

/// The server again, on what is in its folder now.
fn serve_again(mesh: &mut Mesh) {
    let own = std::mem::replace(&mut mesh.installation, Installation::make());
    mesh.replace(&own);
    mesh.installation = own;
}

#[test]
fn yesterdays_store_moves_no_node_and_is_told_until_it_is_put_back_as_a_restore() {
    if !can_run() {
        return;
    }
    let mut mesh = Mesh::new();
    mesh.admin("overlay create default");
    mesh.admin("network create blue --overlay default --vni 10 --cidr 192.168.10.0/24 --learning local --nodes n-*");
    let joined = mesh.join("n-1", &mesh.token(""), "");
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    let _daemon = mesh.meshd("n-1");
    let has = |mesh: &Mesh, vni: u16| mesh.machine.holds(&format!("ip link show dev vb{vni}.12b5"));
    wait_until("blue is built", Duration::from_secs(10), || has(&mesh, 10));
    // Yesterday: by the command, and by hand.
    mesh.server.enter(|| meshmgr(&mesh.installation, "backup", "yesterday"));
    mesh.silence();
    copy(&mesh.installation, "state", "copy");
    serve_again(&mut mesh);
    mesh.admin("network create green --overlay default --vni 11 --cidr 192.168.11.0/24 --learning local --nodes n-*");
    wait_until("green is built", Duration::from_secs(40), || has(&mesh, 11));

    mesh.silence();
    copy(&mesh.installation, "copy", "state");
    serve_again(&mut mesh);
    wait_until("the node refuses the older table", Duration::from_secs(40), || {
        mesh.local("n-1", "status -o json").stdout.contains("M0212")
    });
    assert!(mesh.local("n-1", "events").stdout.contains("is older than"), "the event says so");
    assert!(has(&mesh, 11), "the node keeps the newer table");
    let status = || mesh.ask(&mesh.installation.folder.path().join("keys/admin"), "status");
    // A node that a busy machine calls away for a moment is a problem, too: waited for is the word about the store.
    wait_until("management knows it", Duration::from_secs(20), || {
        let said = status();
        said.code == Some(9) && said.stdout.contains("M0711") && said.stdout.contains("n-1 has seen version")
    });

    mesh.silence();
    let told = meshmgr(&mesh.installation, "restore", "yesterday");
    assert!(told.contains("as incarnation 2"), "{told}");
    serve_again(&mut mesh);
    wait_until("the node follows what was put back", Duration::from_secs(40), || !has(&mesh, 11) && has(&mesh, 10));
    wait_until("and says that it is over", Duration::from_secs(10), || {
        !mesh.local("n-1", "status -o json").stdout.contains("M0212")
    });
    let slice = std::fs::read_to_string(mesh.keys("n-1").with_file_name("state").join("slice.json")).unwrap();
    assert!(slice.contains("\"incarnation\":2"), "{slice}");
    assert!(mesh.admin("events").contains("restore"));
}
