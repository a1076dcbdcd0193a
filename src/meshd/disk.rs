//! What a node keeps on disk: its identity, the slice that it boots from, and the table as illumos `files` JSON.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::api::heard::{self, Heard};
use crate::api::local::Finding;
use crate::api::problem::{Exit, Problem};
use crate::config::Source;
use crate::config::meshd::Config;
use crate::linux::file;
use crate::mgmt::certs::{self, Role};
use crate::node::enroll::{CA, CERTIFICATE, SLICE, TLS_KEY, WIREGUARD_KEY, wrong_pdc};
use crate::node::paths::Paths;
use crate::table::{NetKey, Slice, files};
use crate::types::{NodeId, PdcId, SecretKey, Wall};

/// Copy of a `slice.json` that could not be used.
pub const BAD_SLICE: &str = "slice.json.bad";

/// Folder of the table as `files` JSON, below the state folder.
pub const TABLE: &str = "table";

/// Who this node is, by its certificate.
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct Identity {
    /// Its name.
    pub name: NodeId,
    /// Its PDC.
    pub pdc: PdcId,
    /// When its certificate begins and ends.
    pub validity: (Wall, Wall),
    /// PEM of the certificate.
    pub certificate: String,
    /// PEM of the authority.
    pub ca: String,
    /// PEM of the TLS key.
    pub tls_key: Zeroizing<String>,
}

/// Why there is no slice to boot from.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// The file cannot be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// The file is cut or not a slice.
    #[error("{file} cannot be used: {why}; a copy is kept as {BAD_SLICE}")]
    Broken {
        /// Its path.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The slice is of another node.
    #[error("{file} is the slice of node '{theirs}' in PDC '{pdc}'; a copy is kept as {BAD_SLICE}")]
    Foreign {
        /// Its path.
        file: PathBuf,
        /// Whose it is.
        theirs: NodeId,
        /// Where that node is.
        pdc: PdcId,
    },
}

/// A file that the daemon cannot do without.
fn needed(error: &io::Error) -> Problem {
    if error.kind() == io::ErrorKind::NotFound {
        return Problem::new("M0223", Exit::Failed, error.to_string())
            .note("this machine has not joined; nothing was changed")
            .help("run: meshctl join (with a token of: meshctl token create --pdc PDC)");
    }
    Problem::new("M0601", Exit::Failed, error.to_string()).note("nothing was changed")
}

/// The tunnels' static key.
///
/// # Errors
/// M0223: there is none; M0601: it is open to others; M0224: it is no key.
pub fn secret(config: &Config) -> Result<SecretKey, Problem> {
    read_secret(config, WIREGUARD_KEY)
}

fn read_secret(config: &Config, name: &str) -> Result<SecretKey, Problem> {
    let path = config.paths.keys.join(name);
    let text = file::read_secret(&path).map_err(|e| needed(&e))?;
    text.trim().parse().map_err(|e| {
        Problem::new("M0224", Exit::Failed, format!("{}: {e}", path.display()))
            .note("nothing was changed")
            .help("restore it, or run: meshctl leave, then meshctl join with a new token")
    })
}

/// The static key that is to follow it; none: no change is under way.
///
/// # Errors
/// As [`secret`].
pub fn next_secret(config: &Config, name: &str) -> Result<Option<SecretKey>, Problem> {
    if config.paths.keys.join(name).exists() { read_secret(config, name).map(Some) } else { Ok(None) }
}

/// Writes a static key.
///
/// # Errors
/// The system's, with the path; the old file stays.
pub fn save_secret(path: &Path, secret: &SecretKey) -> io::Result<()> {
    let mut text = secret.to_text();
    text.push('\n');
    file::write(path, text.as_bytes(), 0o600)
}

/// Reads keys and certificate, and holds them against what `meshd.toml` asserts.
///
/// # Errors
/// M0223: a file is missing; M0601: it is open to others; M0224: it is not what it should be; M0312, M0350: the file asserts another PDC or name.
pub fn identity(config: &Config, source: Source<'_>) -> Result<Identity, Problem> {
    let keys = &config.paths.keys;
    let text = |name: &str| {
        let bytes = file::read(&keys.join(name)).map_err(|e| needed(&e))?;
        String::from_utf8(bytes).map_err(|e| Problem::new("M0224", Exit::Failed, format!("{name}: {e}")))
    };
    let (certificate, ca) = (text(CERTIFICATE)?, text(CA)?);
    let tls_key = file::read_secret(&keys.join(TLS_KEY)).map_err(|e| needed(&e))?;
    let bad = |e: certs::CertError| {
        let what = format!("{} cannot be used: {e}", keys.join(CERTIFICATE).display());
        Problem::new("M0224", Exit::Failed, what)
            .note("nothing was changed")
            .help("run: meshctl leave, then meshctl join with a new token")
    };
    let validity = certs::validity_of_pem(&certificate).map_err(bad)?;
    let (name, pdc) = match certs::identity_of_pem(&certificate).map_err(bad)?.role {
        Role::Node { name, pdc } => (name, pdc),
        Role::Admin(_) | Role::Tenant(_) => return Err(bad(certs::CertError::Role)),
    };
    asserted(config, source, &name, &pdc)?;
    Ok(Identity { name, pdc, validity, certificate, ca, tls_key })
}

fn asserted(config: &Config, source: Source<'_>, name: &NodeId, pdc: &PdcId) -> Result<(), Problem> {
    if let Some(file) = config.node.pdc.as_ref().filter(|file| *file != pdc) {
        return Err(wrong_pdc(source, file, pdc, "the certificate"));
    }
    match config.node.name.as_ref().filter(|file| *file != name) {
        Some(file) => Err(Problem::new("M0350", Exit::Invalid, format!("this node is not called '{file}'"))
            .note(format!("the certificate says '{name}'; {} only asserts the name", source.file))
            .help(format!("remove the line or write name = \"{name}\""))),
        None => Ok(()),
    }
}

/// The slice to boot from; none: there was never one. A file that cannot be used is copied to `slice.json.bad`.
///
/// # Errors
/// [`SliceError`]: the kernel keeps what it has until a snapshot comes.
pub fn load_slice(state: &Path, node: &NodeId, pdc: &PdcId) -> Result<Option<Slice>, SliceError> {
    let path = state.join(SLICE);
    let bytes = match file::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let bytes = Zeroizing::new(bytes);
    // The copy is for people; the daemon goes on without it where it cannot be made.
    let keep = || drop(file::write(&state.join(BAD_SLICE), &bytes, 0o600));
    // A newer version that ran here before may have written it.
    let Heard { said: slice, unknown } = heard::read::<Slice>(&bytes).map_err(|error| {
        keep();
        SliceError::Broken { file: path.clone(), why: error.to_string() }
    })?;
    for name in unknown {
        tracing::warn!("{} says what this meshd does not know: {name}", path.display());
    }
    if slice.node != *node || slice.pdc != *pdc {
        keep();
        return Err(SliceError::Foreign { file: path, theirs: slice.node, pdc: slice.pdc });
    }
    Ok(Some(slice))
}

/// Writes the slice.
///
/// # Errors
/// The system's, with the path; the old file stays.
pub fn save_slice(state: &Path, slice: &Slice) -> io::Result<()> {
    let mut json = Zeroizing::new(serde_json::to_vec(slice).map_err(io::Error::other)?);
    json.push(b'\n');
    file::write(&state.join(SLICE), &json, 0o600)
}

/// Writes the table as `files` JSON, one file a network, and removes those of networks that are hosted no more. Files that
/// would not change are left alone. Returns how many were written or removed.
///
/// # Errors
/// The system's, with the path.
pub fn save_tables(state: &Path, slice: &Slice, paths: &Paths) -> io::Result<usize> {
    let root = state.join(TABLE);
    file::ensure_dir(&root, 0o755)?;
    let mut changed = 0;
    for (net, export) in files::export_all(slice, paths) {
        let folder = root.join(net.overlay.as_str());
        file::ensure_dir(&folder, 0o755)?;
        let (path, text) = (folder.join(format!("{}.json", net.vni)), export.file.to_json());
        if std::fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
            file::write(&path, text.as_bytes(), 0o400)?;
            changed += 1;
        }
    }
    for (net, path) in list_tables(&root)? {
        if !slice.networks.contains_key(&net) {
            file::remove(&path)?;
            changed += 1;
        }
    }
    Ok(changed)
}

/// The table files below `root`: `<overlay>/<vni>.json`. Anything else is somebody else's.
///
/// # Errors
/// The system's, with the path.
pub fn list_tables(root: &Path) -> io::Result<Vec<(NetKey, PathBuf)>> {
    let mut found = Vec::new();
    for folder in folders(root)? {
        let overlay = folder.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok());
        let Some(overlay) = overlay else { continue };
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            let vni = path.file_name().and_then(|n| n.to_str()?.strip_suffix(".json")?.parse().ok());
            if let Some(vni) = vni {
                found.push((NetKey { overlay: Clone::clone(&overlay), vni }, path));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Folders right below `root`, sorted; none where it does not exist.
///
/// # Errors
/// The system's, with the path.
pub fn folders(root: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("cannot list {}: {e}", root.display()));
    match std::fs::read_dir(root) {
        Ok(entries) => {
            let paths = entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>().map_err(named)?;
            Ok(paths.into_iter().filter(|path| path.is_dir()).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(named(error)),
    }
}

/// What is wrong where the newest slice could not be written.
pub(super) fn not_kept(error: &io::Error) -> Finding {
    let help = if error.kind() == io::ErrorKind::FileTooLarge {
        "raise the limit for the size of its files (prlimit --fsize --pid $(pidof meshd); LimitFSIZE= in its unit); it is written again every 15 s"
    } else {
        "free some space: df; it is written again every 15 s"
    };
    let what =
        format!("the newest slice is in force but not on disk: {error}; a restart would begin with an older one");
    Finding::new("M0710", what, help)
}

#[cfg(test)]
#[path = "disk_tests.rs"]
pub(crate) mod tests;
