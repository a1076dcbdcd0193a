//! Whether this machine can run `meshd`: looked at before a token is spent.

use std::fs::File;
use std::net::{Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};

use crate::api::objects::NodeFacts;
use crate::api::problem::{Exit, Problem};
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

fn rights() -> Result<(), Problem> {
    caps::check().map_err(|error| Problem::from(&error).help("sudo meshctl join"))
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
    if !std::path::Path::new("/sys/module/vxlan").exists() && !quiet("modprobe", &["-n", "-q", "vxlan"]) {
        let what = "the kernel has no VXLAN (module 'vxlan')";
        return Err(missing("M0623", what, "modprobe vxlan, or install the kernel's extra modules"));
    }
    File::options().read(true).write(true).open("/dev/net/tun").map(drop).map_err(|error| {
        missing(
            "M0624",
            format!("the kernel has no TAP devices: /dev/net/tun: {error}"),
            "modprobe tun; in a container: pass /dev/net/tun in",
        )
    })
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
            UdpError::Taken(_) => problem.help(format!("which program it is: ss -lunp sport = :{port}")),
            UdpError::NoAddress(_) | UdpError::System { .. } => problem,
        }
    })
}

fn facts(config: &Config, lanes: u8) -> Result<NodeFacts, Problem> {
    let host = look(config, &Before::default());
    match host.findings.into_iter().next() {
        Some(finding) => Err(missing(&finding.code, finding.what, &finding.help)
            .help("name interfaces or addresses with --admin and --external")),
        None => Ok(meshd::facts(config, &host.local, lanes)),
    }
}
