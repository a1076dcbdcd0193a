//! Network namespaces: a thread can move into one that `ip netns add` made. Sockets, `/proc/sys/net` and programs that it starts
//! from then on belong to that namespace.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::sys;

/// Where `ip netns` keeps its namespaces.
pub const FOLDER: &str = "/run/netns";

/// Path of a namespace that `ip netns add NAME` made.
pub fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// Moves the calling thread into the namespace at `path`. Other threads stay where they are.
///
/// # Errors
/// The file is missing or no network namespace, or `CAP_SYS_ADMIN` is.
pub fn enter(path: &Path) -> io::Result<()> {
    sys::setns_network(&File::open(path)?)
}
