//! What is given up for good once it is needed no more: core dumps, system calls, files. See
//! `docs/decisions/0006-system-calls.md` for what each thread keeps and why.
//!
//! Filters are handed on to threads and programs that a thread starts, and only ever become tighter.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use super::filter::{self, Action};
use super::{calls, sys};

/// A thread, by what it has to do from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// Starts `nft` and talks to the kernel; also what everything else begins as.
    Engine,
    /// Talks to the management node and to `meshctl`, and starts no program.
    Front,
    /// Moves frames.
    Lane,
    /// Serves the management API on a socket that is open.
    Manager,
}

/// What becomes of a call that is not on a list. Where tests run it ends the process, so that no list misses one unseen.
const NOT_LISTED: Action = if cfg!(debug_assertions) { Action::Kill } else { Action::Fail(libc::EPERM) };

/// No core dumps, no looks into our memory by others of our user, no rights gained by starting a program, and no call that
/// nobody needs. For the whole process: call it before any thread is started.
///
/// # Errors
/// The kernel has no filters. What came before them holds.
pub fn begin() -> io::Result<()> {
    sys::no_core_dumps()?;
    sys::no_new_privileges()?;
    seal(Duty::Engine)
}

/// From now on the calling thread, and what it starts, does this duty and nothing else.
///
/// # Errors
/// The kernel has no filters, or not for this architecture.
pub fn seal(duty: Duty) -> io::Result<()> {
    install(duty, NOT_LISTED, 0)
}

/// As [`seal`], for all threads of the process.
///
/// # Errors
/// As [`seal`]; some thread has filters of its own.
pub fn seal_all(duty: Duty) -> io::Result<()> {
    install(duty, NOT_LISTED, libc::SECCOMP_FILTER_FLAG_TSYNC)
}

fn install(duty: Duty, not_listed: Action, flags: libc::c_ulong) -> io::Result<()> {
    let (rules, otherwise) = match duty {
        Duty::Engine => (calls::needless(), Action::Allow),
        Duty::Front => (calls::no_programs(), Action::Allow),
        Duty::Lane => (calls::lane(), not_listed),
        Duty::Manager => (calls::manager(), not_listed),
    };
    let program = filter::program(&rules, otherwise).ok_or(io::ErrorKind::Unsupported)?;
    // Else the kernel refuses filters of those who are not root, and so it should.
    sys::no_new_privileges()?;
    // The refused are logged. Lanes run no foreign code, so speculation need not be slowed down for them.
    sys::seccomp(&program, flags | libc::SECCOMP_FILTER_FLAG_LOG | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW)
}

/// Rights of linux/landlock.h: what may be done to a file that is named below a path.
mod right {
    /// Write to a file.
    pub(super) const WRITE: u64 = 1 << 1;
    /// Read a file.
    pub(super) const READ: u64 = 1 << 2;
    /// All of the first version: also run, and make devices, sockets, pipes and links.
    pub(super) const FIRST: u64 = (1 << 13) - 1;
    /// Move between folders (second version).
    pub(super) const MOVE: u64 = 1 << 13;
    /// Cut a file (third version).
    pub(super) const CUT: u64 = 1 << 14;
    /// What a daemon does in a folder of its own: also list it (3), remove (4, 5) and make (7, 8) folders and files.
    pub(super) const FOLDER: u64 = READ | WRITE | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | MOVE | CUT;
}

/// TCP: bind and connect (fourth version).
const TCP: u64 = 1 | 1 << 1;
/// Of these, connect.
const CONNECT: u64 = 1 << 1;
/// Abstract Unix sockets and signals of those outside (sixth version).
const OUTSIDE: u64 = 1 | 1 << 1;

/// What the calling thread, and what it starts, may name from now on.
#[derive(Debug, Clone, Copy)]
pub enum Reach<'a> {
    /// One device, and no other file, no TCP socket, nobody's signals.
    Device(&'a Path),
    /// Files in these folders, made, read and removed; TCP connections are accepted and not made.
    Folders(&'a [&'a Path]),
}

/// Gives up all other files (Landlock, Linux 5.13), and looks whether that is so. Descriptors that are open stay open. False: this
/// kernel cannot.
///
/// # Errors
/// A path does not exist, the kernel refused, or it took the rules and does not keep to them.
pub fn reach(reach: Reach<'_>) -> io::Result<bool> {
    let Some(version) = sys::landlock_version()? else { return Ok(false) };
    let handled = right::FIRST | if version >= 2 { right::MOVE } else { 0 } | if version >= 3 { right::CUT } else { 0 };
    let (tcp, allowed, paths): (u64, u64, &[&Path]) = match reach {
        Reach::Device(device) => (TCP, right::READ | right::WRITE, &[device]),
        Reach::Folders(folders) => (CONNECT, right::FOLDER, folders),
    };
    let rules = [handled, if version >= 4 { tcp } else { 0 }, if version >= 6 { OUTSIDE } else { 0 }];
    // The kernel takes the words that its version knows, and longer ones only where the rest is zero.
    let known = if version >= 6 {
        3
    } else if version >= 4 {
        2
    } else {
        1
    };
    let ruleset = sys::landlock_ruleset(&rules[..known])?;
    for path in paths {
        sys::landlock_allow(ruleset.as_fd(), open_path(path)?.as_fd(), allowed & handled)?;
    }
    sys::no_new_privileges()?;
    sys::landlock_restrict(ruleset.as_fd())?;
    shut(Path::new("/")).map(|()| true)
}

/// Believed is only what was tried: this folder is named by no rule, and may not be listed any more.
fn shut(outside: &Path) -> io::Result<()> {
    match File::open(outside) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
        Ok(_) => {
            let why = format!("Landlock took its rules, and {} can be read all the same", outside.display());
            Err(io::Error::other(why))
        }
    }
}

/// A descriptor that only says where a path leads.
fn open_path(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let opened = File::options().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path);
    opened.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
#[path = "confine_tests.rs"]
mod tests;
