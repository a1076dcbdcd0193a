//! Machines on which `meshd` or `meshctl join` cannot work: each says so before anything is changed and before a token is spent.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Space, can_run, wait_until};
use crate::mesh::{Ended, MESHCTL, MESHD, run};

const KEPT: &str = "nothing was changed and the token was not used";

/// `meshctl join --phase preflight` in `host`, after `before` in a mount namespace of its own.
fn preflight(host: &Space, before: &str, words: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("meshd.toml");
    let join = format!("{MESHCTL} join --phase preflight --config {} {words}", config.display());
    let mut command = host.command("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec"]).arg(format!("{before}\nexec {join}"));
    let ended = run(&mut command);
    assert!(!config.exists(), "it only looks");
    ended
}

fn host(tag: &str) -> Space {
    let host = Space::new(tag);
    host.sh("ip link add name eth0 type veth peer name wire; ip link set dev wire up; ip link set dev eth0 up; ip address add 10.9.0.1/24 dev eth0");
    host
}

const WORDS: &str = "--admin eth0 --external eth0";

/// A `PATH` without one program: links to all the others.
const WITHOUT: &str = "mount -t tmpfs none /mnt; mkdir /mnt/bin; for d in /usr/sbin /usr/bin; do for p in $d/*; do \
     [ $(basename $p) = PROGRAM ] || ln -sf $p /mnt/bin/; done; done; export PATH=/mnt/bin";

#[test]
fn what_a_machine_lacks_is_said_before_a_token_is_spent() {
    if !can_run() {
        return;
    }
    let host = host("lacks");
    let good = preflight(&host, ":", WORDS);
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    let no_nft = WITHOUT.replace("PROGRAM", "nft");
    preflight(&host, &no_nft, WORDS).refused(3, &["error[M0621]", "'nft'", KEPT, "apt install nftables"]);
    // A file in its place that is no device: what a container without the device looks like.
    let no_tun = "mount --bind /dev/null /dev/net/tun; mount -t tmpfs none /dev/net";
    preflight(&host, no_tun, WORDS).refused(3, &["error[M0624]", "/dev/net/tun", KEPT, "modprobe tun"]);
    // Neither loaded nor to be loaded.
    let no_vxlan = format!(
        "{}; mount -t tmpfs none /sys/module; ln -s /bin/false /mnt/bin/modprobe",
        WITHOUT.replace("PROGRAM", "modprobe")
    );
    preflight(&host, &no_vxlan, WORDS).refused(3, &["error[M0623]", "module 'vxlan'", KEPT, "modprobe vxlan"]);
    let other = preflight(&host, ":", "--admin eth9 --external eth0");
    other.refused(3, &["error[M0630]", "'eth9'", "eth0", KEPT]);
    let nobody = "exec setpriv --bounding-set -all --inh-caps -all --clear-groups --reuid 65534 ";
    let folder = std::env::temp_dir();
    let words = format!("{nobody} {MESHCTL} join --phase preflight --config {}/none.toml {WORDS}", folder.display());
    run(host.command("sh").args(["-ec", &words]))
        .refused(6, &["error[M0620]", "CAP_NET_ADMIN", KEPT, "sudo meshctl join"]);
}

#[test]
fn a_udp_port_that_another_program_has_is_named_and_taken_when_it_is_free() {
    if !can_run() {
        return;
    }
    let host = host("port");
    host.enter(|| {
        let other = std::net::UdpSocket::bind("[::]:51820").unwrap();
        preflight(&host, ":", WORDS).refused(3, &["error[M0636]", "51820", KEPT, "ss -lunp sport = :51820", "--listen"]);
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display();
        let config = folder.path().join("meshd.toml");
        let text = format!(
            "[node]\nname = \"n-1\"\n[underlay]\nadmin = \"eth0\"\n[table]\nsource = \"files\"\nunderlay = [\"10.9.0.0/24\"]\n\
             [paths]\nkeys = \"{root}/keys\"\nstate = \"{root}/state\"\nrun = \"{root}/run\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let tables = folder.path().join("state/table/default");
        std::fs::create_dir_all(&tables).unwrap();
        std::fs::write(tables.join("10.json"), "{\"52:54:00:00:00:01\":{\"ip\":\"10.9.0.1\",\"port\":4789},\"52:54:00:00:00:02\":{\"ip\":\"10.9.0.2\",\"port\":4789}}\n").unwrap();
        let _daemon = host.start(host.command(MESHD).args(["run", "--config"]).arg(&config).stderr(Stdio::null()));
        let socket = format!("{root}/run/meshd.sock");
        let status = || run(host.command(MESHCTL).args(["--socket", &socket, "status"])).stdout;
        let limit = Duration::from_secs(30);
        wait_until("the port is named", limit, || {
            let status = status();
            ["M0636", "UDP port 51820 is taken", "ss -lunp sport = :51820", "listen"].iter().all(|word| status.contains(word))
        });
        // All that needs no tunnel stands meanwhile, and guests are not left without it.
        wait_until("the guard is there", limit, || host.holds("nft list table inet vxmesh && ip link show dev vb10.12b5"));
        drop(other);
        wait_until("it listens by itself", limit, || host.sh("ss -lunp").contains("meshd") && !status().contains("M0636"));
    });
}

#[test]
fn a_machine_that_has_not_joined_is_told_how_and_nothing_is_made() {
    if !can_run() {
        return;
    }
    let host = host("fresh");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display();
    let config = folder.path().join("meshd.toml");
    let text = format!(
        "management = [\"m:7443\"]\n[paths]\nkeys = \"{root}/keys\"\nstate = \"{root}/state\"\nrun = \"{root}/run\"\n"
    );
    std::fs::write(&config, text).unwrap();
    let start = || run(host.command(MESHD).args(["run", "--config"]).arg(&config));
    start().refused(1, &["error[M0223]", "has not joined", "nothing was changed", "meshctl join"]);
    assert!(
        ["keys", "state"].iter().all(|made| !folder.path().join(made).exists()),
        "it says that nothing was changed"
    );
    let gone = run(Command::new(MESHD).args(["run", "--config", "/nonexistent/meshd.toml"]));
    gone.refused(1, &["error[M0601]", "/nonexistent/meshd.toml", "meshctl join", "nothing was changed"]);
}

/// `meshctl` with these words on a machine whose `/etc` holds these files, and which has labs, as this user.
fn asked(folder: &std::path::Path, user: u32, words: &str) -> String {
    let script = format!(
        "mount --bind {} /etc; mount -t tmpfs none /run; mkdir -m 700 /run/vxmesh-lab; export HOME=/nowhere; \
         exec setpriv --reuid {user} --clear-groups {MESHCTL} {words} < /dev/null",
        folder.display()
    );
    let mut command = Command::new("unshare");
    let output = command.args(["--mount", "--propagation", "private", "sh", "-ec", &script]).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn whom_meshctl_cannot_ask_it_says_and_what_to_do() {
    if !can_run() {
        return;
    }
    let etc = tempfile::tempdir().unwrap();
    std::fs::set_permissions(etc.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let says = |user: u32, words: &[&str]| {
        let said = asked(etc.path(), user, "status");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} is not in\n{said}");
    };
    says(0, &["M0810", "no credential", "/etc/vxmesh/admin", "meshctl join"]);
    let folder = etc.path().join("vxmesh");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("meshd.toml"), "").unwrap();
    says(0, &["M0811", "meshd does not run here", "systemctl start meshd"]);
    std::fs::remove_file(folder.join("meshd.toml")).unwrap();
    let admin = folder.join("admin");
    std::fs::create_dir(&admin).unwrap();
    std::fs::write(admin.join("admin.crt"), "").unwrap();
    std::fs::set_permissions(&admin, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    says(65_534, &["M0810", "may not be read by this user", "sudo meshctl status"]);
    // It is a node as well, whose daemon has nothing to do with it.
    std::fs::write(folder.join("meshd.toml"), "").unwrap();
    says(65_534, &["M0810", "/etc/vxmesh/admin may not be read by this user", "sudo meshctl status"]);
    let labs = asked(etc.path(), 65_534, "lab list");
    assert!(labs.contains("M0652") && labs.contains("sudo meshctl lab list"), "{labs}");
    let join = asked(etc.path(), 65_534, "join mgmt.example.net");
    assert!(join.contains("sudo meshctl join") && join.contains("no token was asked for"), "{join}");
    says(0, &["M0810", "/etc/vxmesh/admin/ca.crt cannot be used", "there is no such file", "copy the whole folder"]);
}
