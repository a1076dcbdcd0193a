//! How the programs are run: with nothing of this machine's own configuration.

use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) use crate::ended::Ended;

pub(crate) const MESHCTL: &str = env!("CARGO_BIN_EXE_meshctl");
pub(crate) const MESHD: &str = env!("CARGO_BIN_EXE_meshd");

pub(crate) const MESHMGR: &str = env!("CARGO_BIN_EXE_meshmgr");

/// A program that knows no home and no environment but what `change` gives it.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Ended {
    feed(program, arguments, "")
}

/// Runs with a text on stdin.
pub(crate) fn feed(program: &str, arguments: &[&str], input: &str) -> Ended {
    crate::ended::run(&mut command(program, arguments), input.as_bytes())
}

/// A file below the package.
pub(crate) fn file(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}
