//! How the programs are run: with nothing of this machine's own configuration.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

pub(crate) const MESHCTL: &str = env!("CARGO_BIN_EXE_meshctl");
pub(crate) const MESHD: &str = env!("CARGO_BIN_EXE_meshd");

pub(crate) const MESHMGR: &str = env!("CARGO_BIN_EXE_meshmgr");

/// What a program came to.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A program that knows no home and no environment but what `change` gives it.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null());
    command
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Ended {
    ended(command(program, arguments).output().unwrap())
}

/// Runs with a text on stdin.
pub(crate) fn feed(program: &str, arguments: &[&str], input: &str) -> Ended {
    let mut command = command(program, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    ended(child.wait_with_output().unwrap())
}

fn ended(output: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A file below the package.
pub(crate) fn file(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}
