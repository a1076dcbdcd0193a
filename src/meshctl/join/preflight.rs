//! Whether this machine can run `meshd`: looked at before a token is spent.

use std::fs::File;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::api::objects::NodeFacts;
use crate::api::problem::{Exit, Problem, printable};
use crate::clock::wall;
use crate::config::meshd::Config;
use crate::linux::caps;
use crate::linux::udp::{LaneSocket, UdpError};
use crate::meshd::{
    self,
    look::{Before, look},
};
use crate::types::Wall;

/// 2025-01-01: no clock that is right shows less.
const OLDEST: Wall = Wall::from_secs(1_735_689_600);

/// Looks at everything; what this node says of itself, and a line for people.
///
/// # Errors
/// The first thing that is missing. Nothing was changed.
pub(super) fn run(config: &Config) -> Result<(NodeFacts, String), Problem> {
    let unchanged = |problem: Problem| problem.note("nothing was changed and the token was not used");
    rights().and_then(|()| kernel()).and_then(|()| clock()).map_err(unchanged)?;
    let lanes = config.underlay.lanes.count(meshd::lanes::cpus());
    let listen = config.underlay.listen;
    let last = listen.get().saturating_add(u16::from(lanes) - 1);
    for port in listen.get()..=last {
        free(port).map_err(unchanged)?;
    }
    let facts = facts(config, lanes).map_err(unchanged)?;
    let ports = if last == listen.get() { last.to_string() } else { format!("{listen}-{last}") };
    Ok((facts, format!("vxlan, tun, nftables; UDP {ports} free; clock {}", wall())))
}

fn missing(code: &str, what: impl Into<String>, help: &str) -> Problem {
    Problem::new(code, Exit::Invalid, what).help(help)
}

/// Whether this process may make devices.
///
/// # Errors
/// It is not root's.
pub(super) fn rights() -> Result<(), Problem> {
    // Who calls says what was not changed, and this is no meshd.
    caps::check().map_err(|error| Problem {
        notes: Vec::new(),
        help: vec![again(std::env::args().skip(1))],
        ..Problem::from(&error)
    })
}

/// Bytes of the longest word that is repeated: what is longer may be a part of a token.
const MAY_BE_SHOWN: usize = 64;

/// What was typed, as root types it: quoted for a shell where it must be, and without a token.
fn again(words: impl Iterator<Item = String>) -> String {
    let plain = |word: &str| word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=,@+".contains(&b));
    let shown = |word: String| match word.as_str() {
        "" => "''".to_owned(),
        _ if plain(&word) => word,
        _ => format!("'{}'", word.replace('\'', "'\\''")),
    };
    let words = words.filter(|word| !word.contains("vxm1") && word.len() <= MAY_BE_SHOWN).map(shown);
    ["sudo meshctl".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}

fn kernel() -> Result<(), Problem> {
    let quiet = |program: &str, words: &[&str]| {
        let mut run = Command::new(program);
        run.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        run.status().is_ok_and(|status| status.success())
    };
    if !quiet("nft", &["--version"]) {
        let what = "the program 'nft' is not installed; without its packet filter no VXLAN device is made";
        return Err(missing("M0621", what, "apt install nftables"));
    }
    if !may_have_vxlan(Path::new("/sys/module"), || quiet("modprobe", &["-n", "-q", "vxlan"])) {
        let what = "the kernel has no VXLAN (module 'vxlan')";
        let help = "modprobe vxlan, in a container on its host; or install the kernel's extra modules";
        return Err(missing("M0623", what, help));
    }
    File::options().read(true).write(true).open("/dev/net/tun").map(drop).map_err(|error| {
        missing(
            "M0624",
            format!("the kernel has no TAP devices: /dev/net/tun: {error}"),
            "modprobe tun; in a container: pass /dev/net/tun in",
        )
    })
}

/// Whether the kernel has VXLAN, or nobody here can know: a container may be without the list of modules and without `modprobe`. Then `meshd`
/// finds out when it makes the first device.
fn may_have_vxlan(modules: &Path, can_load: impl Fn() -> bool) -> bool {
    !modules.exists() || modules.join("vxlan").exists() || can_load()
}

fn clock() -> Result<(), Problem> {
    let now = wall();
    if now >= OLDEST {
        return Ok(());
    }
    Err(missing(
        "M0629",
        format!("the clock of this machine says {now}, so no certificate would be valid"),
        "set it: timedatectl set-ntp true",
    ))
}

fn free(port: u16) -> Result<(), Problem> {
    LaneSocket::bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).map(drop).map_err(|error| {
        let problem = missing(
            "M0636",
            error.to_string(),
            "stop that program, or take another UDP port: meshctl join --listen PORT",
        );
        match error {
            UdpError::Taken(_) => match meshds(Path::new("/proc")).first() {
                Some(words) => beside_meshd(port, words),
                None => problem.help(format!("which program it is: ss -lunp sport = :{port}")),
            },
            UdpError::NoAddress(_) | UdpError::System { .. } => problem,
        }
    })
}

/// Of every `meshd` in this network namespace what it was started as. Of processes of others nothing may be known.
fn meshds(proc: &Path) -> Vec<String> {
    let own = std::fs::read_link(proc.join("self/ns/net")).ok();
    let words = |folder: &Path| {
        let name = std::fs::read_to_string(folder.join("comm")).ok()?;
        let here = name.trim() == "meshd" && std::fs::read_link(folder.join("ns/net")).ok() == own;
        let words = std::fs::read(folder.join("cmdline")).ok().filter(|_| here)?;
        Some(String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " "))
    };
    let all = std::fs::read_dir(proc).into_iter().flatten().flatten();
    let numbers = all.filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    numbers.filter_map(|entry| words(&entry.path())).collect()
}

fn beside_meshd(port: u16, words: &str) -> Problem {
    let words = printable(words);
    missing(
        "M0636",
        format!(
            "a meshd runs on this machine already ({words}), and UDP port {port} is most likely its own: this machine is a node"
        ),
        "meshctl status, with --socket FILE where its configuration names another; to join anew: meshctl leave, with its --config FILE",
    )
}

fn facts(config: &Config, lanes: u8) -> Result<NodeFacts, Problem> {
    let host = look(config, &Before::default());
    match host.findings.into_iter().next() {
        Some(finding) => Err(missing(&finding.code, finding.what, &finding.help)
            .help("name interfaces or addresses with --admin and --external")),
        None => Ok(meshd::facts(config, &host.local, lanes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_for_root_is_what_was_typed_without_the_token() {
        let typed = |words: &[&str]| again(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(typed(&["join", "m:7443", "--name", "foo"]), "sudo meshctl join m:7443 --name foo");
        assert_eq!(typed(&["join", "vxm1.secret", "--config", "a b's"]), r"sudo meshctl join --config 'a b'\''s'");
    }

    #[test]
    fn a_kernel_of_which_nothing_is_known_is_not_said_to_have_no_vxlan() {
        let folder = tempfile::tempdir().unwrap();
        assert!(may_have_vxlan(&folder.path().join("none"), || false), "a container without /sys/module");
        assert!(!may_have_vxlan(folder.path(), || false));
        assert!(may_have_vxlan(folder.path(), || true));
        std::fs::create_dir(folder.path().join("vxlan")).unwrap();
        assert!(may_have_vxlan(folder.path(), || false));
    }

    #[test]
    fn a_meshd_that_has_the_port_is_no_other_program() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, name, words, net) in [
            ("self", "meshctl", "meshctl\0join\0", "net:[1]"),
            ("7", "sshd", "sshd\0", "net:[1]"),
            ("8", "meshd", "meshd\0run\0--config\0/tmp/elsewhere\0", "net:[2]"),
            ("9", "meshd", "/usr/local/bin/meshd\0run\0--config\0/srv/meshd.toml\0", "net:[1]"),
        ] {
            let folder = proc.path().join(pid);
            std::fs::create_dir_all(folder.join("ns")).unwrap();
            std::fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
            std::fs::write(folder.join("cmdline"), words).unwrap();
            std::os::unix::fs::symlink(net, folder.join("ns/net")).unwrap();
        }
        assert_eq!(meshds(proc.path()), ["/usr/local/bin/meshd run --config /srv/meshd.toml"]);
        let said = beside_meshd(51820, &meshds(proc.path())[0]).to_string();
        assert!(said.contains("runs on this machine already") && said.contains("--config /srv/meshd.toml"), "{said}");
        assert!(said.contains("meshctl leave") && !said.contains("another program"), "{said}");
    }
}
