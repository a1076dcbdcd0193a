//! Root on an installation that belongs to the server's own user, as the README makes it: the work is done as that user, so that nothing is
//! left that the server cannot open, and nothing of root's is at the mercy of that user. What root alone may read and write, a backup in a
//! folder of root's, goes through a pipe.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::api::problem::{Exit, Problem};
use crate::linux::{file, sys};

/// What stands for stdin and stdout where a file is named.
pub(super) const PIPE: &str = "-";

/// This program.
const NAME: &str = "meshmgr";
/// What the kernel calls a program that another user was made by [`Owner::program`].
const UNNAMED: &str = "exe";
/// Where it says so, and is told better.
const COMMAND: &str = "/proc/self/comm";

/// Has `ps` say what this program is, whoever has started it.
pub(super) fn name_oneself() {
    if std::fs::read_to_string(COMMAND).is_ok_and(|name| name.trim() == UNNAMED) {
        // Only a name.
        let _ = std::fs::write(COMMAND, NAME);
    }
}

/// The user of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    user: u32,
    group: u32,
}

/// Whose the installation with this keys folder is, where that is neither this user's nor root's; none: go on as you are.
pub(super) fn other(keys: &Path) -> Option<Owner> {
    let found = std::fs::metadata(keys).ok()?;
    (sys::effective_user() == 0 && found.uid() != 0).then(|| Owner { user: found.uid(), group: found.gid() })
}

impl Owner {
    /// This program again, as this user, with these words.
    fn program(self, words: &[&str], config: &Path) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg0(NAME).args(words).arg("--config").arg(config).uid(self.user).gid(self.group).current_dir("/");
        command
    }

    fn refused(self, error: &std::io::Error) -> Problem {
        let user = self.user;
        Problem::new(
            "M0130",
            Exit::Failed,
            format!("the installation belongs to user {user}, and this process cannot become that user: {error}"),
        )
        .note("nothing was changed")
        .help("run it as that user: runuser -u vxmesh -- meshmgr ...")
    }

    /// Becomes the server as this user; comes back only where that fails.
    pub(super) fn serve(self, config: &Path) -> Problem {
        self.refused(&self.program(&["run"], config).exec())
    }

    /// The text of a backup.
    ///
    /// # Errors
    /// What the other program ended with; it has said why.
    pub(super) fn backup(self, config: &Path) -> Result<Result<String, ExitCode>, Problem> {
        let child = self.program(&["backup", PIPE], config).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|e| self.refused(&e))?;
        let mut text = String::new();
        if let Some(mut out) = child.stdout.take() {
            out.read_to_string(&mut text).map_err(|e| self.refused(&e))?;
        }
        let ended = child.wait().map_err(|e| self.refused(&e))?;
        Ok(if ended.success() { Ok(text) } else { Err(code(ended)) })
    }

    /// Has a backup put back, which is called what the person has typed.
    ///
    /// # Errors
    /// A [`Problem`]: `from` cannot be read, or the user not become.
    pub(super) fn restore(self, config: &Path, from: &Path) -> Result<ExitCode, Problem> {
        let read = |e: std::io::Error| Problem::new("M0606", Exit::Failed, e.to_string()).note("nothing was changed");
        let text = file::read(from).map_err(read)?;
        let child = self.program(&["restore", PIPE], config).arg("--named").arg(from).stdin(Stdio::piped()).spawn();
        let mut child = child.map_err(|e| self.refused(&e))?;
        if let Some(mut input) = child.stdin.take() {
            // One that does not read says itself why.
            let _ = input.write_all(&text);
        }
        child.wait().map(code).map_err(|e| self.refused(&e))
    }
}

fn code(ended: std::process::ExitStatus) -> ExitCode {
    ExitCode::from(u8::try_from(ended.code().unwrap_or(1)).unwrap_or(1))
}
