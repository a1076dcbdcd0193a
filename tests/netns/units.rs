//! The daemons under what their shipped units allow: they confine themselves all the same, and say that they are ready when what is on
//! disk stands. The unit's own sandbox in a real systemd: `tests/boot.sh`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::harness::{Background, Space, can_run, succeed, wait_until};
use crate::mesh::{Installation, MESHCTL, MESHD, MESHMGR, run};

const NODE: &str = include_str!("../../examples/systemd/meshd.service");
const MANAGEMENT: &str = include_str!("../../examples/systemd/meshmgr.service");
const LIMIT: Duration = Duration::from_secs(30);
/// A small Debian has no names of protocols and ports (package netbase). What is mounted goes with the namespace of `ip netns exec`.
const SMALL: &str =
    "for file in protocols services; do [ ! -e /etc/$file ] || mount --bind /dev/null /etc/$file; done; exec \"$@\"";
/// A user that is nobody here.
const NOBODY: &str = "65534";

fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.filter(|(name, _)| *name == key).map(|(_, value)| value).collect()
}

/// The calls of a name, which may be a set of this machine's systemd.
fn calls(name: &str) -> BTreeSet<String> {
    if !name.starts_with('@') {
        return [name.to_owned()].into();
    }
    let text = succeed(Command::new("systemd-analyze").args(["--no-pager", "syscall-filter", name]));
    let words = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    words.flat_map(calls).collect()
}

/// What a unit allows, as systemd reads it: one line after the other, `~` takes away; what it always allows is in `@default`.
fn allowed(unit: &str) -> BTreeSet<String> {
    let mut allowed = calls("@default");
    for line in values(unit, "SystemCallFilter") {
        let (takes, names) = line.strip_prefix('~').map_or((false, line), |names| (true, names));
        for call in names.split_ascii_whitespace().flat_map(calls) {
            let _ = if takes { allowed.remove(&call) } else { allowed.insert(call) };
        }
    }
    allowed
}

/// A program that runs another under what a unit allows.
fn launcher(folder: &Path, unit: &str) -> PathBuf {
    let lines = allowed(unit).into_iter().map(|call| format!("#ifdef SYS_{call}\nSYS_{call},\n#endif\n"));
    std::fs::write(folder.join("calls.h"), lines.collect::<String>()).unwrap();
    let (source, program) = (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/units/allow.c"), folder.join("allow"));
    succeed(Command::new("cc").arg("-I").arg(folder).arg("-o").arg(&program).arg(source));
    program
}

/// The unit's capabilities for `setpriv`.
fn caps(unit: &str, key: &str) -> String {
    let names = values(unit, key).into_iter().flat_map(str::split_ascii_whitespace);
    let names = names.map(|name| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase()));
    format!("-all{}", names.collect::<String>())
}

/// What systemd does before it runs a daemon, as far as a program can; and the socket at which it hears of it.
fn under(host: &Space, folder: &Path, unit: &str) -> (Command, UnixDatagram) {
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
    let socket = folder.join("notify");
    let heard = UnixDatagram::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o777)).unwrap();
    heard.set_read_timeout(Some(LIMIT)).unwrap();
    let mut command = host.command("sh");
    command.args(["-ec", SMALL, "sh", "setpriv"]);
    command.env("NOTIFY_SOCKET", &socket).args(["--bounding-set", &caps(unit, "CapabilityBoundingSet")]);
    command.args(["--inh-caps", &caps(unit, "AmbientCapabilities")]);
    command.args(["--ambient-caps", &caps(unit, "AmbientCapabilities")]);
    if !values(unit, "User").is_empty() {
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    }
    command.arg(launcher(folder, unit));
    (command, heard)
}

fn ready(heard: &UnixDatagram) {
    let mut bytes = [0; 256];
    let length = heard.recv(&mut bytes).unwrap();
    assert!(bytes[..length].starts_with(b"READY=1"), "{}", String::from_utf8_lossy(&bytes[..length]));
}

/// Each thread has filters beside the unit's own.
fn confined(daemon: &Background, more: &[&str]) {
    for task in std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap().flatten() {
        let text = std::fs::read_to_string(task.path().join("status")).unwrap();
        let field = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.trim_start_matches(':').trim().to_owned()
        };
        assert_eq!((field("NoNewPrivs").as_str(), field("Seccomp").as_str()), ("1", "2"), "{text}");
        let (name, filters) = (field("Name"), field("Seccomp_filters").parse::<u32>().unwrap());
        let own = if more.contains(&name.as_str()) { 2 } else { 1 };
        assert!(filters > own, "{name} has {filters} filters, one of them the unit's");
    }
}

fn can_read_units() -> bool {
    let reads = Command::new("systemd-analyze").arg("--version").output().is_ok();
    if !reads {
        eprintln!("SKIPPED: 'systemd-analyze' is not installed (apt install systemd)");
    }
    reads
}

#[test]
fn a_node_under_its_unit_is_confined_and_ready_when_what_is_on_disk_stands() {
    if !can_run() || !can_read_units() {
        return;
    }
    let host = Space::new("unit");
    host.sh("ip link add name eth0 type veth peer name wire; ip link set dev wire up; ip link set dev eth0 up; ip address add 10.9.0.1/24 dev eth0");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display();
    let text = format!(
        "[node]\nname = \"n-1\"\n[underlay]\nadmin = \"eth0\"\n[table]\nsource = \"files\"\nunderlay = [\"10.9.0.0/24\"]\n\
         [paths]\nkeys = \"{root}/keys\"\nstate = \"{root}/state\"\nrun = \"{root}/run\"\n"
    );
    let config = folder.path().join("meshd.toml");
    std::fs::write(&config, text).unwrap();
    let tables = folder.path().join("state/table/default");
    std::fs::create_dir_all(&tables).unwrap();
    let row = |last: u8| format!("\"02:00:00:00:00:0{last}\": {{\"ip\": \"10.9.0.{last}\", \"port\": 4789}}");
    std::fs::write(tables.join("10.json"), format!("{{{}, {}}}\n", row(1), row(2))).unwrap();

    let (mut command, heard) = under(&host, folder.path(), NODE);
    let daemon = host.start(command.arg(MESHD).args(["run", "--config"]).arg(&config).stderr(Stdio::null()));
    ready(&heard);
    // Whatever waits for it starts now.
    host.sh("ip link show dev vb10.12b5; ip link show dev vv10.12b5; nft list table inet vxmesh; nft list table bridge vxmesh_guests");
    confined(&daemon, &["meshd", "lane-0"]);
    let socket = format!("{root}/run/meshd.sock");
    let status = run(host.command(MESHCTL).args(["--socket", &socket, "status", "--all"])).stdout;
    assert!(status.contains("node n-1") && !status.contains("M0639"), "{status}");
}

#[test]
fn management_under_its_unit_is_confined_and_ready_when_it_serves() {
    if !can_run() || !can_read_units() {
        return;
    }
    let host = Space::new("unit");
    host.sh("ip link add eth0 type veth peer name eth1; ip link set eth0 up; ip link set eth1 up; ip address add 10.9.0.100/24 dev eth0");
    let installation = Installation::make();
    let root = installation.folder.path();
    let (mut command, heard) = under(&host, root, MANAGEMENT);
    succeed(Command::new("chown").args(["-R", NOBODY]).args([root.join("keys"), root.join("state")]));
    let log = root.join("log");
    let stderr = std::fs::File::create(&log).unwrap();
    let daemon = host.start(command.arg(MESHMGR).args(["run", "--config"]).arg(installation.config()).stderr(stderr));
    ready(&heard);
    assert!(host.sh("ss -ltn").contains(":7443"), "ready means that it serves");
    // It gives up the last of it right after that.
    let pid = daemon.pid();
    let held = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status.contains("Seccomp_filters:\t3")
    };
    wait_until("it is held to its duty", LIMIT, held);
    confined(&daemon, &["meshmgr", "tokio-rt-worker"]);
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("serving") && !log.contains("WARN"), "{log}");
}
