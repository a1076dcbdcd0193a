//! Takes a lab away: whole, half made or broken, with or without its records.

use std::fs;

use super::layout::Layout;
use super::progress::Progress;
use super::state::{Home, Lock};
use super::{LabError, shell, wires};

/// What `down` found and removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Daemons that were still running.
    pub processes: usize,
    /// Namespaces.
    pub namespaces: usize,
}

/// Removes everything of a lab. Nothing to remove is fine.
///
/// # Errors
/// Another command is at work on it; something cannot be removed. What could be is gone then, and it may be called again.
pub fn down(home: &Home, progress: &Progress) -> Result<Removed, LabError> {
    let lock = home.lock()?;
    remove(home, lock, progress)
}

/// [`down`] for one who holds the lock.
///
/// # Errors
/// As [`down`].
pub fn remove(home: &Home, lock: Lock, progress: &Progress) -> Result<Removed, LabError> {
    // What is half removed is worth less than a moment's patience: no interruption from here on.
    let calm = Progress::new(true);
    let running: Vec<_> = home.processes().into_iter().filter(|(_, process)| process.alive()).collect();
    for (_, process) in &running {
        process.signal(libc::SIGTERM)?;
    }
    for (machine, process) in &running {
        process.end(&calm)?;
        progress.say(format!("ended {machine} (process {})", process.pid));
    }
    let layout = home.read().map(|state| state.layout);
    let mut removed = Removed { processes: running.len(), namespaces: 0 };
    for namespace in wires::namespaces_with_prefix(home.name()) {
        if is_ours(home, layout.as_ref(), &namespace)? {
            leftovers(&namespace, progress);
            shell::ip(&["netns", "delete", &namespace])?;
            removed.namespaces += 1;
        }
    }
    let what = LabError::io(format!("cannot remove {}", home.folder().display()));
    fs::remove_dir_all(home.folder()).map_err(what)?;
    drop(lock);
    Ok(removed)
}

/// Ours is what has our mark, or what a crash left before it could be marked.
fn is_ours(home: &Home, layout: Option<&Layout>, namespace: &str) -> Result<bool, LabError> {
    let mark = wires::mark_of(namespace)?;
    let planned = || layout.is_some_and(|layout| layout.namespaces().contains(&namespace));
    Ok(mark == wires::mark(home.name()) || (mark.is_empty() && planned()))
}

/// Processes that are not ours (a shell of `lab exec`) are named, not ended.
fn leftovers(namespace: &str, progress: &Progress) {
    let pids = shell::ip(&["netns", "pids", namespace]).unwrap_or_default();
    for pid in pids.split_ascii_whitespace() {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        progress.say(format!("process {pid} ({}) still runs in {namespace}; it loses its network", name.trim()));
    }
}
