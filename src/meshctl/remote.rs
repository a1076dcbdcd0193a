//! Whom to ask: the `meshd` of this machine over its socket, or a management node over TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::out;
use crate::api::heard::Heard;
use crate::api::problem::{Exit, Problem};
use crate::config::{Period, meshd};
use crate::linux::file;
use crate::mgmt::certs;
use crate::node::enroll;
use crate::transport::client::Client;
use crate::transport::tls;
use crate::types::Wall;

/// Where `meshd` answers if nothing else is said.
pub(super) const SOCKET: &str = "/run/vxmesh/meshd.sock";

/// Where a node has its configuration.
const NODE: &str = "/etc/vxmesh/meshd.toml";
/// Where a management node has its own.
const SERVER: &str = "/etc/vxmesh/meshmgr.toml";
/// The file that tells a credential.
const CERTIFICATE: &str = "admin.crt";
/// The key of it.
const KEY: &str = "admin.key";
/// Who the management node has to be.
const AUTHORITY: &str = "ca.crt";
/// TCP port of management nodes that nobody has set otherwise.
const PORT: u16 = crate::config::meshmgr::PORT;

/// Days before the end of a credential from which on it is said.
const WARNED_DAYS: u64 = 30;

/// How the two servers are reached; the same flags on every command.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Access {
    /// How results are printed
    #[arg(short, long, global = true, value_enum, default_value = "table", help_heading = "Global options")]
    pub(super) output: out::Format,
    /// Management nodes, HOST or HOST:PORT [default: as in the credential folder, meshd.toml or meshmgr.toml]
    #[arg(long, global = true, value_delimiter = ',', env = "VXMESH_MANAGEMENT", help_heading = "Global options")]
    pub(super) management: Vec<String>,
    /// Ask the management node, also where a meshd runs on this machine
    #[arg(long, global = true, help_heading = "Global options")]
    pub(super) mesh: bool,
    /// Folder with admin.crt, admin.key and ca.crt [default: ~/.config/vxmesh, then /etc/vxmesh/admin]
    #[arg(long, global = true, env = "VXMESH_CREDENTIAL", help_heading = "Global options")]
    pub(super) credential: Option<PathBuf>,
    /// Socket of the meshd on this machine [default: /run/vxmesh/meshd.sock]
    #[arg(long, global = true, env = "VXMESH_SOCKET", help_heading = "Global options")]
    pub(super) socket: Option<PathBuf>,
    /// Longest wait for an answer, like 5s or 2m
    #[arg(long, global = true, default_value = "30s", help_heading = "Global options")]
    pub(super) timeout: Period,
    /// Say whom is asked what, on stderr
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(super) verbose: bool,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            output: out::Format::Table,
            management: Vec::new(),
            mesh: false,
            credential: None,
            socket: None,
            timeout: Period(Duration::from_secs(30)),
            verbose: false,
        }
    }
}

/// One of the two servers.
#[derive(Debug)]
pub(super) struct Server {
    client: Client,
    /// It is the `meshd` of this machine.
    local: bool,
    limit: Duration,
    verbose: bool,
}

/// The two servers.
#[derive(Debug)]
pub(super) enum Either {
    /// `meshd` on this machine.
    Node(Server),
    /// A management node.
    Management(Server),
}

impl Server {
    /// Asks for something.
    ///
    /// # Errors
    /// What the server refuses, and M0101 to M0104 where it does not answer.
    pub(super) async fn get<R: DeserializeOwned>(&self, path: &str) -> Result<R, Problem> {
        self.call::<(), R>(Method::GET, path, None).await
    }

    /// Asks with a body.
    ///
    /// # Errors
    /// As [`Server::get`].
    pub(super) async fn call<B: Serialize + Sync, R: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<R, Problem> {
        if self.verbose {
            out::talk(&format!("{method} {path}"));
        }
        let reads = method == Method::GET;
        let answer = timeout(self.limit, self.client.call(method, path, body)).await.map_err(|_| self.late(reads))?;
        let answer = answer.map_err(|problem| self.meant(problem, reads));
        for name in self.client.unknown() {
            out::talk(&format!("note: the server says what this meshctl does not know: {name}"));
        }
        answer
    }

    /// Asks for what will be written back. What is not known here would be lost, so it is not taken.
    ///
    /// # Errors
    /// As [`Server::get`]; M0103: the answer has what this version does not know.
    pub(super) async fn get_whole<R: DeserializeOwned>(&self, path: &str) -> Result<R, Problem> {
        let asked = self.client.ask::<(), R>(Method::GET, path, None);
        let Heard { said, unknown } = timeout(self.limit, asked)
            .await
            .map_err(|_| self.late(true))?
            .map_err(|problem| self.meant(problem, true))?;
        if unknown.is_empty() {
            return Ok(said);
        }
        let what = format!("what this meshctl does not know would be lost: {}", unknown.join(", "));
        let problem = Problem::new("M0103", Exit::Failed, what).note("nothing was changed");
        Err(problem.help("use the meshctl of the management node's version"))
    }

    fn late(&self, reads: bool) -> Problem {
        let limit = Period(self.limit);
        let who = if self.local { "meshd of this machine" } else { "the management server" };
        self.meant(Problem::new("M0102", Exit::Timeout, format!("{who} does not answer within {limit}")), reads)
    }

    /// What it means that nobody answers, what goes on all the same, and the next command.
    fn meant(&self, problem: Problem, reads: bool) -> Problem {
        if problem.code != "M0102" {
            return problem;
        }
        if !self.local {
            let look = "on its machine: systemctl status meshmgr; journalctl -u meshmgr; --timeout 2m waits longer";
            return if reads {
                problem.note("nodes and their guests go on without it").help(look)
            } else {
                problem
                    .note("it may have been done all the same; nodes and their guests go on without it")
                    .help(format!("look: meshctl status; {look}"))
            };
        }
        problem
            .note("meshd is there and stands still: stopped, hung, or held up by this machine")
            .note("guests of this node still reach each other, and those of other nodes inside their PDC; tunnels and whatever is new wait for meshd")
            .help("systemctl status meshd; journalctl -u meshd; if it does not go on by itself: systemctl restart meshd")
    }
}

/// What this machine's `meshd.toml` says, as far as this user may read it.
fn of_node() -> Option<meshd::Config> {
    meshd::Config::parse(NODE, &std::fs::read_to_string(NODE).ok()?).ok()
}

/// True where the certificate of a node is not in its folder, as far as this user may see.
fn has_left() -> bool {
    let certificate = of_node().map(|config| config.paths.keys.join(enroll::CERTIFICATE));
    certificate.is_some_and(|path| matches!(path.try_exists(), Ok(false)))
}

impl Access {
    /// The `meshd` of this machine if its socket is there and no management node is named, else a management node.
    ///
    /// # Errors
    /// As [`Access::management`].
    pub(super) fn either(&self) -> Result<Either, Problem> {
        let local = self.socket.is_some() || (self.management.is_empty() && Path::new(SOCKET).exists());
        if local && !self.mesh {
            return Ok(Either::Node(self.node()));
        }
        let unsaid = self.management.is_empty() && self.credential.is_none() && !self.mesh;
        // Where a credential is that this user may not read, a management node may be meant: that it may not is said there.
        if unsaid && Path::new(NODE).exists() && places().is_empty() && closed(&folders()).is_none() {
            // A node whose daemon does not run; nobody meant a management node.
            if has_left() {
                return Err(Problem::new(
                    "M0223",
                    Exit::Unreachable,
                    format!("this machine has not joined, or has left: there is {NODE}, and no certificate"),
                )
                .help("meshctl join, with a token that meshctl token create prints on the management side"));
            }
            return Err(Problem::new(
                "M0811",
                Exit::Unreachable,
                format!("meshd does not run here: there is no {SOCKET}"),
            )
            .help("systemctl start meshd; if it does not start: journalctl -u meshd"));
        }
        self.management().map(Either::Management)
    }

    /// A credential is where one is looked for, so `--mesh` has something to show.
    pub(super) fn has_credential(&self) -> bool {
        self.credential.is_some() || !places().is_empty()
    }

    /// The `meshd` of this machine.
    pub(super) fn node(&self) -> Server {
        let path = self.socket.clone().unwrap_or_else(|| SOCKET.into());
        self.server(Client::unix(path), true)
    }

    /// A management node.
    ///
    /// # Errors
    /// No address is known, or the credential is missing or unusable.
    pub(super) fn management(&self) -> Result<Server, Problem> {
        let folder = self.folder()?;
        if let Some(path) = &self.credential {
            match std::fs::metadata(path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(unusable(path, "it is no folder")),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(unusable(path, "there is no such folder"));
                }
                Err(error) => return Err(shut(path, &error)),
            }
        }
        let text = |name: &str| {
            let path = folder.join(name);
            let bytes = file::read(&path).map_err(|error| shut(&path, &error))?;
            String::from_utf8(bytes).map_err(|_| unusable(&path, "it is no text"))
        };
        let (ca, certificate) = (text(AUTHORITY)?, text(CERTIFICATE)?);
        let key_path = folder.join(KEY);
        let key = file::read_secret(&key_path).map_err(|error| shut(&key_path, &error))?;
        // Which of the files is not whole is known here, and not to the library.
        let whole = |name: &str, read: Result<(), tls::TlsError>| {
            read.map_err(|_| unusable(&folder.join(name), "it is cut, empty, or no PEM file"))
        };
        whole(AUTHORITY, tls::certificates(&ca).map(drop))?;
        whole(CERTIFICATE, tls::certificates(&certificate).map(drop))?;
        whole(KEY, tls::private_key(&key).map(drop))?;
        if let Some(warning) = ends(&certificate, crate::clock::wall()) {
            out::talk(&warning);
        }
        let tls = tls::client_config(&ca, Some((&certificate, &key)))
            .map_err(|error| unusable(&folder, &format!("admin.crt and admin.key do not fit each other: {error}")))?;
        let addresses = self.addresses(&folder)?;
        if tls::vouches(&ca, &certificate).is_err() && !ended(&certificate) {
            return Err(unusable(&folder, "admin.crt is not of the installation that ca.crt is of"));
        }
        Ok(self.server(Client::https(addresses, tls), false))
    }

    fn server(&self, client: Client, local: bool) -> Server {
        Server { client, local, limit: self.timeout.0, verbose: self.verbose }
    }

    fn folder(&self) -> Result<PathBuf, Problem> {
        if let Some(folder) = &self.credential {
            return Ok(folder.clone());
        }
        let looked = folders();
        let shown: Vec<String> = looked.iter().map(|place| place.display().to_string()).collect();
        if let Some(found) = places().into_iter().next() {
            return Ok(found);
        }
        Err(match closed(&looked) {
            Some(shut) => {
                let problem =
                    Problem::new("M0810", Exit::Denied, format!("{} may not be read by this user", shut.display()));
                problem
                    .help("as root: sudo meshctl status; with a copy of that folder for this user: meshctl --credential DIR status")
            }
            None => nowhere(&shown.join(" and "), std::fs::read_to_string(NODE).ok().as_deref()),
        })
    }

    /// Where management nodes are: as asked for, else as the files of this machine say.
    fn addresses(&self, folder: &Path) -> Result<Vec<String>, Problem> {
        if !self.management.is_empty() {
            return Ok(self.management.iter().map(|address| with_port(address)).collect());
        }
        let read = |path: &Path| std::fs::read_to_string(path).ok();
        let told = folder.join("management");
        if let Some(text) = read(&told) {
            let addresses: Vec<String> = text.split_whitespace().map(with_port).collect();
            if addresses.is_empty() {
                let what = format!("{} is empty: no management node is known", told.display());
                return Err(Problem::new("M0109", Exit::Usage, what)
                    .help(format!("write HOST:PORT into {}, or: meshctl --management HOST status", told.display())));
            }
            return Ok(addresses);
        }
        if let Some(config) = of_node().filter(|config| !config.management.is_empty()) {
            return Ok(config.management);
        }
        match read(Path::new(SERVER)) {
            // What is wrong with it is the answer to why nobody is known.
            Some(text) => Ok(crate::config::meshmgr::Config::parse(SERVER, &text)?.addresses),
            None => Err(Problem::new("M0109", Exit::Usage, "no management node is known")
                .note(format!("there is neither {}, nor {NODE}, nor {SERVER}", told.display()))
                .help("say where it is: meshctl --management HOST status; or VXMESH_MANAGEMENT=HOST")),
        }
    }
}

/// There is no credential in those folders. On a node, which has a `meshd.toml`, what is wanted is elsewhere.
fn nowhere(looked: &str, node: Option<&str>) -> Problem {
    let problem = Problem::new("M0810", Exit::Denied, "no credential for the management node")
        .note(format!("looked into {looked}"))
        .help("with the folder that `meshmgr init` made: meshctl --credential DIR status");
    let Some(node) = node else { return problem.help("on a machine that is to be a node: meshctl join") };
    let management = meshd::Config::parse(NODE, node).map(|config| config.management).unwrap_or_default();
    let host = |address: &String| address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).to_owned();
    let hosts: Vec<String> = management.iter().map(host).collect();
    let whose = if hosts.is_empty() { String::new() } else { format!(" ({})", hosts.join(", ")) };
    problem.help(format!(
        "a node has none of its own: type it on the management node{whose}, or copy /etc/vxmesh/admin from there to here, for root alone"
    ))
}

/// The first of these folders into which this user may not look for a credential.
fn closed(folders: &[PathBuf]) -> Option<&PathBuf> {
    folders.iter().find(|folder| {
        let error = folder.join(CERTIFICATE).try_exists().err();
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
    })
}

/// Folders that may hold a credential.
fn folders() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".config/vxmesh"));
    home.into_iter().chain([PathBuf::from("/etc/vxmesh/admin")]).collect()
}

/// Those of them that do.
fn places() -> Vec<PathBuf> {
    folders().into_iter().filter(|folder| folder.join(CERTIFICATE).exists()).collect()
}

/// `HOST` is `HOST:7443`; an IPv6 address without a port gets its brackets.
pub(super) fn with_port(address: &str) -> String {
    if address.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("[{address}]:{PORT}");
    }
    let port =
        address.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    if port { address.to_owned() } else { format!("{address}:{PORT}") }
}

/// What to say of a credential that ends soon, or has ended.
fn ends(certificate: &str, now: Wall) -> Option<String> {
    let (_, ends) = certs::validity_of_pem(certificate).ok()?;
    if ends <= now {
        return Some(format!("warning: the credential ended at {ends}; the clock of this machine says {now}"));
    }
    let days = ends.since(now).as_secs() / 86_400;
    (days < WARNED_DAYS).then(|| {
        format!("warning: the credential ends in {days} days, at {ends}; it cannot be renewed (docs/enrollment.md)")
    })
}

/// Is the time of the certificate over? Then it is the server that says so, with its own clock.
fn ended(certificate: &str) -> bool {
    certs::validity_of_pem(certificate).is_ok_and(|(begins, ends)| {
        let now = crate::clock::wall();
        now < begins || ends <= now
    })
}

/// A file of the credential that this user cannot read.
fn shut(path: &Path, error: &std::io::Error) -> Problem {
    if error.kind() == std::io::ErrorKind::NotFound {
        return unusable(path, "there is no such file");
    }
    let text = error.to_string();
    unusable(path, text.split_once(": ").map_or(text.as_str(), |(_, why)| why))
}

fn unusable(path: &Path, why: &str) -> Problem {
    Problem::new("M0810", Exit::Denied, format!("the credential {} cannot be used: {why}", path.display()))
        .note("nothing was sent")
        .help("copy the whole folder again, admin.crt, admin.key, ca.crt and management, from where `meshmgr init` made it")
        .help("if it is elsewhere: meshctl --credential DIR status")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_that_ends_is_warned_of_from_thirty_days_before() {
        let now = Wall::from_secs(1_800_000_000);
        let (authority, _) = certs::Authority::make(now, [1; 16]).unwrap();
        let made = authority.person(&certs::Role::Admin("root".parse().unwrap()), now, [2; 16]).unwrap();
        let (_, end) = certs::validity_of_pem(&made.certificate).unwrap();
        let before = |days: u64| Wall::from_secs(end.as_secs() - days * 86_400);
        let said = |at| ends(&made.certificate, at).unwrap_or_default();
        assert_eq!((said(now), said(before(31))), (String::new(), String::new()));
        assert!(said(before(10)).contains("in 10 days"), "{}", said(before(10)));
        assert!(said(end).contains("the clock of this machine says"), "it may be the clock");
    }

    #[test]
    fn an_address_without_a_port_gets_the_usual_one() {
        for (written, meant) in [
            ("mgmt", "mgmt:7443"),
            ("mgmt.example.net:443", "mgmt.example.net:443"),
            ("192.0.2.1", "192.0.2.1:7443"),
            ("2001:db8::1", "[2001:db8::1]:7443"),
            ("[2001:db8::1]", "[2001:db8::1]:7443"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ] {
            assert_eq!(with_port(written), meant);
        }
    }

    #[test]
    fn on_a_node_the_credential_is_said_to_be_on_the_management_node() {
        let helps = |node| nowhere("/root and /etc", node).help.join("; ");
        assert!(helps(None).contains("meshctl join"));
        let told = helps(Some("management = ['mgmt.example.net:7443', '10.0.0.9:7443']\n"));
        assert!(told.contains("on the management node (mgmt.example.net, 10.0.0.9)"), "{told}");
        assert!(!told.contains("join"), "{told}");
        assert!(helps(Some("broken = [")).contains("on the management node, or copy"));
    }
}
