//! Daemons of the lab: started so that they can always be found again, ended only if they are still the ones that were started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::progress::Progress;
use super::{LabError, shell};
use crate::linux::sys;

/// How long a daemon may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// A process that can be told from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot (`/proc/PID/stat` field 22; proc_pid_stat(5)).
    pub started: u64,
}

impl Process {
    /// The process that asks.
    ///
    /// # Errors
    /// No `/proc`.
    pub fn own() -> Result<Self, LabError> {
        let pid = std::process::id();
        let gone = || LabError::io("cannot read /proc/self/stat")(std::io::ErrorKind::NotFound.into());
        start_time(pid).map(|started| Self { pid, started }).ok_or_else(gone)
    }

    /// True while any of its threads runs: what is left of one that has ended holds no socket any more.
    pub fn alive(self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Sends a signal if the process is still the one that was recorded; false where it is gone.
    ///
    /// # Errors
    /// Not allowed.
    pub fn signal(self, signal: i32) -> Result<bool, LabError> {
        // The descriptor is taken first: from here on the number cannot mean another process.
        let Ok(handle) = sys::pidfd(self.pid) else { return Ok(false) };
        if !self.alive() {
            return Ok(false);
        }
        match sys::pidfd_signal(&handle, signal) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(error) => Err(LabError::io(format!("cannot signal process {}", self.pid))(error)),
        }
    }

    /// Ends it: SIGTERM, and SIGKILL after `GRACE`.
    ///
    /// # Errors
    /// It cannot be signalled or does not go.
    pub fn end(self, progress: &Progress) -> Result<(), LabError> {
        if !self.signal(libc::SIGTERM)? {
            return Ok(());
        }
        let gone = || if self.alive() { Err(format!("process {} still runs", self.pid)) } else { Ok(()) };
        if progress.wait("the process to end", GRACE, gone).is_err() {
            self.signal(libc::SIGKILL)?;
            return Progress::new(true).wait("the killed process to end", GRACE, gone);
        }
        Ok(())
    }
}

/// Field 22 of `/proc/PID/stat`; none where there is no such process or only its remains. A leader is a zombie as soon as it has ended
/// itself, while other threads still have all files open: fields 3 and 20 tell (kernel/exit.c, `exit_notify`).
fn start_time(pid: u32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<u64> {
    // The name in parentheses may itself hold spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let threads: u32 = fields.nth(16)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    (!matches!(state, "Z" | "X") || threads > 1).then_some(started)
}

/// What to start.
#[derive(Debug)]
pub struct Daemon<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Where its [`Process`] is written before it runs.
    pub record: PathBuf,
    /// Where its output is appended.
    pub log: PathBuf,
    /// Program and arguments.
    pub words: Vec<String>,
}

/// Starts a daemon in a session of its own and waits until its record is there.
///
/// The record is written by the process that then becomes the daemon, so a crash of the lab at any moment leaves no process
/// that nobody knows of.
///
/// # Errors
/// It does not start.
pub fn start(daemon: &Daemon<'_>, progress: &Progress) -> Result<Process, LabError> {
    let what = |what: &str, path: &Path| LabError::io(format!("cannot {what} {}", path.display()));
    if daemon.record.exists() {
        fs::remove_file(&daemon.record).map_err(what("remove", &daemon.record))?;
    }
    let mut options = fs::OpenOptions::new();
    let log = options.create(true).append(true).open(&daemon.log).map_err(what("open", &daemon.log))?;
    let errors = log.try_clone().map_err(what("open", &daemon.log))?;
    let mut command = std::process::Command::new("setsid");
    command.args(["ip", "netns", "exec", daemon.namespace]);
    command.arg(shell::program("meshctl")?).args(["lab", "launch", "--record"]).arg(&daemon.record).arg("--");
    command.args(&daemon.words).stdin(Stdio::null()).stdout(log).stderr(errors);
    let mut child = command.spawn().map_err(LabError::io("cannot run `setsid`"))?;
    progress.wait("the daemon to start", Duration::from_secs(10), || {
        let ended = child.try_wait().map_err(|e| e.to_string())?;
        match (read_record(&daemon.record), ended) {
            (Some(process), _) => Ok(process),
            (None, Some(status)) => Err(format!("{status}; see {}", daemon.log.display())),
            (None, None) => Err("it has not written its record yet".to_owned()),
        }
    })
}

/// The process of a record, if there is one.
pub fn read_record(path: &Path) -> Option<Process> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// `meshctl lab launch`: writes the record and becomes the daemon.
///
/// # Errors
/// Always, if it returns.
pub fn launch(record: &Path, words: &[String]) -> Result<(), LabError> {
    use std::os::unix::process::CommandExt as _;
    let own = serde_json::to_vec(&Process::own()?).map_err(|e| LabError::io("record")(e.into()))?;
    let half = record.with_extension("new");
    fs::write(&half, own)
        .and_then(|()| fs::rename(&half, record))
        .map_err(LabError::io(format!("cannot write {}", record.display())))?;
    let (program, rest) = words.split_first().ok_or_else(|| LabError::Shape("nothing to launch".to_owned()))?;
    let error = std::process::Command::new(program).args(rest).exec();
    Err(LabError::io(format!("cannot run `{program}`"))(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let rest = "S 1 7 7 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse_stat(&format!("7 (meshd) {rest}")), Some(4242));
        assert_eq!(parse_stat(&format!("7 (a ) S 9) {rest}")), Some(4242));
        assert_eq!(parse_stat(&format!("7 (meshd) Z{}", &rest[1..])), None, "a zombie is gone");
        let others = rest[1..].replace(" 20 0 1 ", " 20 0 3 ");
        assert_eq!(parse_stat(&format!("7 (meshd) Z{others}")), Some(4242), "its other threads hold its sockets");
        assert_eq!(parse_stat("7 (meshd) S 1"), None);
    }

    #[test]
    fn a_number_that_another_process_has_now_is_left_alone() {
        let own = Process::own().unwrap();
        assert!(own.alive());
        let earlier = Process { started: own.started - 1, ..own };
        assert!(!earlier.alive());
        assert!(!earlier.signal(libc::SIGKILL).unwrap(), "and we are still here");
    }

    #[test]
    fn a_process_is_ended_even_if_it_does_not_want_to() {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "trap '' TERM; echo; while :; do read x; done"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut ready = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let process = Process { pid: child.id(), started: start_time(child.id()).unwrap() };
        process.end(&Progress::new(true)).unwrap();
        assert!(!process.alive());
        child.wait().unwrap();
    }
}
