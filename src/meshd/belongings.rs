//! Every file that a node writes, in one list, and how all of them go again. What is not in the list is somebody else's: it stays
//! and is named.
//!
//! `meshmgr` may live on the same machine in the same folders. The one file that both have is the CA's certificate; it goes only
//! where the CA's key is not beside it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::control::LOCK;
use super::disk::{BAD_SLICE, TABLE, folders, list_tables};
use super::heard::GUESTS;
use super::held::UNDERLAY;
use super::keys::{CLOCK, NEXT_KEY};
use super::plugs::PLUGS;
use crate::config::meshd::{Config, Paths, SOCKET, Table};
use crate::linux::checksums::NUMBERS;
use crate::linux::{again, file};
use crate::node::enroll::{CA, CERTIFICATE, Folder, SLICE, TLS_KEY, WIREGUARD_KEY};

/// File of the CA's key, of a management node.
const CA_KEY: &str = "ca.key";

/// The files, in the order in which they go. The certificate first: without it the machine has not joined, whatever else is left,
/// and its `meshd` does not start. Beside these there is one file a network below [`TABLE`].
pub const FILES: &[(Folder, &str)] = &[
    (Folder::Keys, CERTIFICATE),
    (Folder::Keys, TLS_KEY),
    (Folder::Keys, WIREGUARD_KEY),
    (Folder::Keys, NEXT_KEY),
    (Folder::Keys, CA),
    (Folder::State, SLICE),
    (Folder::State, BAD_SLICE),
    (Folder::State, CLOCK),
    (Folder::State, UNDERLAY),
    (Folder::Run, NUMBERS),
    (Folder::Run, PLUGS),
    (Folder::Run, GUESTS),
    (Folder::Run, again::MARK),
    (Folder::Run, SOCKET),
    // What keeps a second meshd away goes last.
    (Folder::Run, LOCK),
];

/// A file to remove or a folder to remove if it is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    File(PathBuf),
    Folder(PathBuf),
}

/// What is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// How many files were removed.
    pub removed: usize,
    /// What stays in the folders: it is not ours.
    pub foreign: Vec<PathBuf>,
}

/// Removes every file of the node, and the folders that are empty then. May be repeated: it goes on where it stopped.
///
/// # Errors
/// The system's, with the path.
pub fn remove(config: &Config) -> io::Result<Left> {
    let mut left = Left::default();
    for step in steps(config)? {
        left.removed += usize::from(take(&step)?);
    }
    for folder in [&config.paths.keys, &config.paths.state, &config.paths.run] {
        left.foreign.extend(inside(folder)?);
    }
    left.foreign.sort();
    left.foreign.dedup();
    Ok(left)
}

fn place(paths: &Paths, folder: Folder) -> &Path {
    match folder {
        Folder::Keys => &paths.keys,
        Folder::State => &paths.state,
        Folder::Run => &paths.run,
    }
}

/// What is there and ours, in the order in which it goes.
fn steps(config: &Config) -> io::Result<Vec<Step>> {
    let paths = &config.paths;
    let mut steps = Vec::new();
    for (folder, name) in FILES {
        let folder = place(paths, *folder);
        if *name != CA || !folder.join(CA_KEY).exists() {
            steps.extend(written(folder, name)?.into_iter().map(Step::File));
        }
    }
    // Files that people wrote for a node without a management node are theirs.
    if config.table == Table::Management {
        let tables = tables(&paths.state.join(TABLE))?;
        let last = steps.len() - steps.iter().rev().take_while(|step| is_in(step, &paths.run)).count();
        steps.splice(last..last, tables);
    }
    let folders = [&paths.keys, &paths.state, &paths.run];
    steps.extend(folders.map(|folder| Step::Folder(folder.clone())));
    Ok(steps)
}

fn is_in(step: &Step, folder: &Path) -> bool {
    matches!(step, Step::File(path) if path.parent() == Some(folder))
}

/// The table as `files` JSON.
fn tables(root: &Path) -> io::Result<Vec<Step>> {
    let mut steps = Vec::new();
    for (_, path) in list_tables(root)? {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            continue;
        };
        steps.extend(written(folder, name)?.into_iter().map(Step::File));
    }
    // A crash may have left the beginning of a file of which there is no end.
    for folder in folders(root)? {
        for path in inside(&folder)? {
            let name = path.file_name().and_then(|name| name.to_str()).and_then(file::temporary_of);
            let ours = name.and_then(|name| name.strip_suffix(".json")).is_some_and(is_vni);
            if ours && !steps.contains(&Step::File(path.clone())) {
                steps.push(Step::File(path));
            }
        }
        steps.push(Step::Folder(folder));
    }
    steps.push(Step::Folder(root.to_owned()));
    Ok(steps)
}

fn is_vni(text: &str) -> bool {
    text.parse::<crate::types::Vni>().is_ok()
}

/// The file of this name, and what writes of it that a crash cut short have left.
fn written(folder: &Path, name: &str) -> io::Result<Vec<PathBuf>> {
    let ours = |path: &PathBuf| {
        let found = path.file_name().and_then(|found| found.to_str()).unwrap_or_default();
        found == name || file::temporary_of(found) == Some(name)
    };
    Ok(inside(folder)?.into_iter().filter(|path| ours(path) && !path.is_dir()).collect())
}

/// What is in a folder, sorted; nothing where there is none.
fn inside(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let named = |e: io::Error| io::Error::new(e.kind(), format!("cannot list {}: {e}", folder.display()));
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            let mut paths =
                entries.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>().map_err(named)?;
            paths.sort();
            Ok(paths)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(named(error)),
    }
}

/// True where a file went. A folder that cannot go (something is in it, something is mounted there) is as good as empty.
fn take(step: &Step) -> io::Result<bool> {
    match step {
        Step::File(path) => file::remove(path).map(|()| true),
        Step::Folder(path) => {
            let _ = std::fs::remove_dir(path);
            Ok(false)
        }
    }
}

#[cfg(test)]
#[path = "belongings_tests.rs"]
mod tests;
