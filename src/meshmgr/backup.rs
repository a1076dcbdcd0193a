//! `meshmgr backup` and `meshmgr restore`: the store as a file of text, and back with a higher incarnation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use hyper::Method;

use super::app::{App, blocking};
use super::core;
use super::http::{Answer, Json};
use super::keys::Keys;
use super::owner::PIPE;
use super::serve::{STORE, lives, open_store};
use crate::api::admin::BackupText;
use crate::api::problem::{Exit, Problem};
use crate::config::meshmgr::Config;
use crate::linux::file;
use crate::mgmt::audit::{self, Origin};
use crate::mgmt::backup::{self, Backup, INCARNATION, Restored};
use crate::mgmt::certs::{Lives, Role};
use crate::store::{Embedded, Range, Store, Transaction};
use crate::transport::client::Client;
use crate::transport::server::Caller;
use crate::transport::tls;
use crate::types::{Version, Wall};

/// Life of the credential that asks the running server.
const ERRAND: Duration = Duration::from_secs(600);
/// What a server that does not run answers.
const NOBODY: &str = "M0101";
/// What a damaged store says.
const DAMAGED: &str = "M0703";
/// What a store says that another process has.
const RUNS: &str = "M0704";

fn disk(error: &std::io::Error) -> Problem {
    Problem::new("M0606", Exit::Failed, error.to_string()).note("nothing was changed")
}

/// `GET /v1/backup`: everything, as of one revision.
///
/// # Errors
/// [`Refused`](super::http::Refused)
pub(super) async fn answer(State(app): State<Arc<App>>, Extension(caller): Extension<Caller>) -> Answer<BackupText> {
    let origin = app.origin(&caller);
    let made = blocking(&app, move |app| {
        let range = app.core.everything()?;
        let made = of(range, app.authority.pin(), origin.at)?;
        app.note(origin.event("backup", format!("of version {}", made.version), &[]));
        Ok(BackupText { text: backup::write(&made) })
    });
    Ok(Json(made.await?))
}

/// What a store held.
fn of(range: Range, pin: [u8; 32], made: Wall) -> Result<Backup, Problem> {
    let incarnation = core::incarnation(&range)?;
    let version = Version { incarnation, revision: range.revision };
    let entries = range.entries.into_iter().filter(|(key, _)| key != INCARNATION);
    Ok(Backup { version, made, pin, entries: entries.map(|(key, entry)| (key, entry.value)).collect() })
}

/// The text of a backup: of the running server, or else of the store's file.
///
/// # Errors
/// A [`Problem`] of keys, server or store.
fn text(config: &Config) -> Result<String, Problem> {
    let keys = Keys::load(&config.paths.keys, lives(config))?;
    match asked(config, &keys) {
        Err(problem) if problem.code == NOBODY => stored(config, &keys),
        answered => answered,
    }
}

/// Makes a backup and writes it into `path`. Returns what to tell.
///
/// # Errors
/// As [`text`] and [`save`].
pub(super) fn make(config: &Config, path: &Path) -> Result<String, Problem> {
    save(config, &text(config)?, path)
}

/// Writes a backup into `path`. Returns what to tell: where the backup itself goes to stdout, the backup.
///
/// # Errors
/// M0708: it is none; a [`Problem`] of the disk.
pub(super) fn save(config: &Config, text: &str, path: &Path) -> Result<String, Problem> {
    let read = backup::read(text).map_err(|error| unusable(path, &error))?;
    if path == Path::new(PIPE) {
        return Ok(text.to_owned());
    }
    file::write(path, text.as_bytes(), 0o600).map_err(|e| disk(&e))?;
    Ok(format!(
        "version {}, {} objects, in {}\nThe keys are not in it: keep a copy of {} elsewhere too.\n",
        read.version,
        objects(&read),
        path.display(),
        config.paths.keys.display()
    ))
}

fn objects(backup: &Backup) -> usize {
    backup.entries.keys().filter(|key| !key.starts_with(audit::PREFIX)).count()
}

/// Asks the running server with a credential made for this one errand: who can read the CA's key may do everything anyway.
fn asked(config: &Config, keys: &Keys) -> Result<String, Problem> {
    let Ok(name) = "backup".parse() else { unreachable!("'backup' is a label") };
    let short = Keys::load(&config.paths.keys, Lives { person: ERRAND, ..lives(config) })?.authority;
    let issued = short.person(&Role::Admin(name), crate::clock::wall(), crate::clock::random());
    let unusable = |why: String| Problem::new("M0607", Exit::Failed, format!("no credential for the backup: {why}"));
    let issued = issued.map_err(|e| unusable(e.to_string()))?;
    let tls = tls::client_config(keys.ca(), Some((&issued.certificate, &issued.key)));
    let client = Client::https(vec![here(config.listen).to_string()], tls.map_err(|e| unusable(e.to_string()))?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Problem::new("M0113", Exit::Failed, format!("cannot start: {e}")))?;
    let answer: BackupText = runtime.block_on(client.call::<(), _>(Method::GET, "/v1/backup", None))?;
    Ok(answer.text)
}

/// Where this machine reaches what listens on `listen`.
fn here(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn stored(config: &Config, keys: &Keys) -> Result<String, Problem> {
    let path = config.paths.state.join(STORE);
    if !path.exists() {
        return Err(Problem::new("M0606", Exit::NotFound, format!("there is no store {}", path.display()))
            .note("nothing was written")
            .help("make an installation first: meshmgr init"));
    }
    let store = open_store(&config.paths.state)?;
    let range = store.range("").map_err(|e| core::problem(&e))?;
    Ok(backup::write(&of(range, keys.authority.pin(), crate::clock::wall())?))
}

fn unusable(path: &Path, error: &backup::BackupError) -> Problem {
    Problem::new("M0708", Exit::Invalid, format!("{} cannot be put back: {error}", path.display()))
        .note("nothing was changed")
        .help("take an older backup")
}

/// Puts the backup in `path` in the place of what the store holds, with a higher incarnation. What the store held is kept in a
/// file beside it; `named` is what the person calls that backup. Returns what to tell.
///
/// # Errors
/// M0708: no usable backup; M0709: it is of another installation; M0704: the server runs; a [`Problem`] of store or disk.
pub(super) fn restore(config: &Config, path: &Path, named: &Path) -> Result<String, Problem> {
    let keys = Keys::load(&config.paths.keys, lives(config))?;
    let bytes = if path == Path::new(PIPE) { stdin() } else { file::read(path) }.map_err(|e| disk(&e))?;
    let read = backup::read(&String::from_utf8_lossy(&bytes)).map_err(|error| unusable(named, &error))?;
    if read.pin != keys.authority.pin() {
        let what = format!("{} is of an installation with another CA: no node would believe it", named.display());
        return Err(Problem::new("M0709", Exit::Conflict, what)
            .note("nothing was changed")
            .help(format!("restore its keys first, into {}", config.paths.keys.display())));
    }
    let (store, aside) = open_or_set_aside(&config.paths.state)?;
    let range = store.range("").map_err(|e| core::problem(&e))?;
    let incarnation = core::incarnation(&range)?;
    let kept = format!("{aside}{}", keep(config, &keys, &range)?);
    let before = range.entries.iter().map(|(key, entry)| (key.as_str(), entry.value.as_slice()));
    let plan = backup::restored(&read, incarnation, before, crate::clock::wall());
    let (raised, carried) = (plan.incarnation, plan.carried.told());
    store.commit(&transaction(plan, &read, named)).map_err(|e| core::problem(&e))?;
    Ok(format!(
        "version {} of {} is in force, as incarnation {raised}: {} objects\n{kept}{carried}next:  meshmgr run\n",
        read.version,
        read.made,
        objects(&read)
    ))
}

fn stdin() -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)?;
    Ok(bytes)
}

/// The store; a damaged one is set aside for an empty one, and what is told then.
fn open_or_set_aside(state: &Path) -> Result<(Embedded, String), Problem> {
    match open_store(state) {
        Err(problem) if problem.code == DAMAGED => {
            let aside = state.join(format!("{STORE}.damaged-{}", crate::clock::wall().as_secs()));
            std::fs::rename(state.join(STORE), &aside).map_err(|e| disk(&e))?;
            let told = format!("the damaged store is kept as {}\n", aside.display());
            Ok((open_store(state)?, told))
        }
        Err(problem) if problem.code == RUNS => Err(problem.help("to put a backup back: systemctl stop meshmgr")),
        opened => opened.map(|store| (store, String::new())),
    }
}

/// Keeps what is there now, if it is anything.
fn keep(config: &Config, keys: &Keys, range: &Range) -> Result<String, Problem> {
    let now = of(range.clone(), keys.authority.pin(), crate::clock::wall())?;
    if now.entries.is_empty() {
        return Ok(String::new());
    }
    let name = format!("before-restore-{}-{}.backup", now.version.incarnation, now.version.revision);
    let path = config.paths.state.join(name);
    file::write(&path, backup::write(&now).as_bytes(), 0o600).map_err(|e| disk(&e))?;
    Ok(format!("what was there before is kept in {}\n", path.display()))
}

fn transaction(plan: Restored, read: &Backup, path: &Path) -> Transaction {
    let origin = Origin::own(crate::clock::wall());
    let text = format!("version {} from {}, as incarnation {}", read.version, path.display(), plan.incarnation);
    // Texts: serialising cannot fail.
    let event = serde_json::to_vec(&origin.event("restore", text, &[])).unwrap_or_default();
    let mut transaction = Transaction::new().write(audit::key(origin.at, crate::clock::random()), event);
    transaction.writes.extend(plan.writes);
    transaction.deletes.extend(plan.deletes);
    transaction
}
