//! `meshmgr.toml`: what a management node must be told.
//!
//! `examples/meshmgr.toml` is the reference with every key; a test parses it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::meshd::WrittenLog;
pub use super::{Level, Period};
use super::{Source, from_toml, say};
use crate::api::problem::Problem;
use crate::types::Prefix;

/// TCP port of the management API where nothing is said.
pub const PORT: u16 = 7443;

/// A valid `meshmgr.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `listen`: address and TCP port of the API; default `[::]:7443`, which takes IPv4 too.
    pub listen: SocketAddr,
    /// `addresses`: `host:port` under which nodes and operators reach this management node; they stand in every token. Needed.
    pub addresses: Vec<String>,
    /// `tunnel_prefix`: IPv4 prefix of the nodes' addresses inside tunnels to foreign peers; no host interface carries them.
    /// Default `100.64.0.0/16`.
    pub tunnel_prefix: Prefix,
    /// `[paths]`
    pub paths: Paths,
    /// `[certificates]`
    pub certificates: Certificates,
    /// `[rotation]`
    pub rotation: Rotation,
    /// `[log] level`; default `info`.
    pub log: Level,
}

/// `[rotation]`: how old keys become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// `wireguard`: from this age on a node is asked for a new WireGuard key; default `30d`.
    pub wireguard: Duration,
}

/// `[paths]`: folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `keys`: CA, server key, installation secret; default `/etc/vxmesh/keys`.
    pub keys: PathBuf,
    /// `state`: the store; default `/var/lib/vxmesh`.
    pub state: PathBuf,
}

/// `[certificates]`: how long they live. Those of nodes and of the server are renewed at two thirds of their lives; that of the
/// administrator is not renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificates {
    /// `node`; default `30d`.
    pub node: Duration,
    /// `server`; default `90d`.
    pub server: Duration,
    /// `admin`; default `365d`.
    pub admin: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    listen: Option<SocketAddr>,
    addresses: Vec<Spanned<String>>,
    tunnel_prefix: Option<Spanned<Prefix>>,
    #[serde(default)]
    paths: WrittenPaths,
    #[serde(default)]
    certificates: WrittenCertificates,
    #[serde(default)]
    rotation: WrittenRotation,
    #[serde(default)]
    log: WrittenLog,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WrittenRotation {
    wireguard: Option<Spanned<Period>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WrittenPaths {
    keys: Option<PathBuf>,
    state: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct WrittenCertificates {
    node: Option<Spanned<Period>>,
    server: Option<Spanned<Period>>,
    admin: Option<Spanned<Period>>,
}

/// Shortest life of a certificate: a shorter one would end while clocks still differ.
const SHORTEST: Duration = Duration::from_secs(600);
/// Shortest life of a WireGuard key.
const KEY_SHORTEST: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// Life of the administrator's credential where nobody says otherwise.
pub const ADMIN: Duration = Duration::from_secs(365 * 86_400);

impl Config {
    /// Reads `meshmgr.toml`. `file` is its name for errors.
    ///
    /// # Errors
    /// A [`Problem`] M03xx with the place: an unknown key, a wrong type, a value out of its range.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let source = Source::new(file, text);
        from_toml::<Written>(source)?.check(source)
    }
}

impl Written {
    fn check(self, source: Source<'_>) -> Result<Config, Problem> {
        if self.addresses.is_empty() {
            let problem = say::value("addresses is empty: a token could not say where to go");
            return Err(problem.note(format!("in {}", source.file)).help("addresses = [\"mgmt.example.net:7443\"]"));
        }
        for address in &self.addresses {
            super::values::host_port(address.get_ref())
                .map_err(|why| say::value(why).at(source.bytes(address.span())))?;
        }
        Ok(Config {
            listen: self.listen.unwrap_or_else(|| SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, PORT))),
            addresses: self.addresses.into_iter().map(Spanned::into_inner).collect(),
            tunnel_prefix: tunnel_prefix(source, self.tunnel_prefix)?,
            paths: Paths {
                keys: self.paths.keys.unwrap_or_else(|| "/etc/vxmesh/keys".into()),
                state: self.paths.state.unwrap_or_else(|| "/var/lib/vxmesh".into()),
            },
            certificates: Certificates {
                node: life(source, self.certificates.node, 30)?,
                server: life(source, self.certificates.server, 90)?,
                admin: life(source, self.certificates.admin, 365)?,
            },
            rotation: Rotation { wireguard: key_age(source, self.rotation.wireguard)? },
            log: self.log.level,
        })
    }
}

fn tunnel_prefix(source: Source<'_>, given: Option<Spanned<Prefix>>) -> Result<Prefix, Problem> {
    let Some(given) = given else { return Ok(default_prefix()) };
    let prefix = *given.get_ref();
    let what = match prefix.network() {
        IpAddr::V6(_) => "inner addresses of tunnels to foreign peers are IPv4",
        IpAddr::V4(_) if prefix.len() > 24 => "fewer than 256 addresses would be left for nodes; /24 is the smallest",
        IpAddr::V4(_) => return Ok(prefix),
    };
    Err(say::value(format!("{prefix}: {what}")).at(source.bytes(given.span())))
}

/// Inside the shared address space (RFC 6598), which hosts do not use.
fn default_prefix() -> Prefix {
    match format!("{}/16", Ipv4Addr::new(100, 64, 0, 0)).parse() {
        Ok(prefix) => prefix,
        Err(_) => unreachable!("100.64.0.0/16 has no host bits"),
    }
}

fn key_age(source: Source<'_>, given: Option<Spanned<Period>>) -> Result<Duration, Problem> {
    let Some(given) = given else { return Ok(DAY * 30) };
    let Period(length) = *given.get_ref();
    let what = if length < KEY_SHORTEST {
        "a WireGuard key lives at least 1h: a change takes up to some minutes"
    } else if length > DAY * 3650 {
        "a WireGuard key lives at most ten years"
    } else {
        return Ok(length);
    };
    Err(say::value(what).at(source.bytes(given.span())))
}

fn life(source: Source<'_>, given: Option<Spanned<Period>>, days: u32) -> Result<Duration, Problem> {
    let Some(given) = given else { return Ok(DAY * days) };
    let Period(length) = *given.get_ref();
    let what = if length < SHORTEST {
        "a certificate lives at least 10m"
    } else if length > DAY * 3650 {
        "a certificate lives at most ten years"
    } else {
        return Ok(length);
    };
    Err(say::value(what).at(source.bytes(given.span())))
}

#[cfg(test)]
#[path = "meshmgr_tests.rs"]
mod tests;
