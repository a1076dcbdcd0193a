//! Programs that the lab runs: `ip`, `bridge`, `ping`, and the project's own.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::LabError;

/// No command of the lab runs longer, seconds.
const LIMIT: &str = "120";

/// A command with a time limit; inside namespace `ns` if one is named.
pub fn command(ns: Option<&str>, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    // In the foreground: the terminal's Ctrl-C reaches the program.
    command.args(["--foreground", "--kill-after=5", LIMIT]);
    if let Some(ns) = ns {
        command.args(["ip", "netns", "exec", ns]);
    }
    command.arg(program.as_ref()).stdin(Stdio::null());
    command
}

/// The command line as one would type it, without the time limit in front.
fn line(command: &Command) -> String {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    words.get(3..).unwrap_or_default().join(" ")
}

fn missing(command: &Command) -> impl FnOnce(std::io::Error) -> LabError {
    LabError::io(format!("cannot run `{}`", line(command)))
}

fn refused(command: &Command, output: &Output) -> LabError {
    let said = String::from_utf8_lossy(&output.stderr);
    let why = match (said.trim(), output.status.code()) {
        (_, Some(124)) => format!("it was still running after {LIMIT} s"),
        ("", _) => output.status.to_string(),
        (said, _) => said.to_owned(),
    };
    LabError::Command { line: line(command), why }
}

/// Runs a command to its end and returns what it said on stdout.
///
/// # Errors
/// It cannot be started, or ended with anything but 0.
pub fn run(mut command: Command) -> Result<String, LabError> {
    let output = command.output().map_err(missing(&command))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(refused(&command, &output))
    }
}

/// As [`run`], with `input` on stdin.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(mut command: Command, input: &str) -> Result<String, LabError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(missing(&command))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early says why on stderr.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(missing(&command))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(refused(&command, &output))
    }
}

/// `ip` with the given words.
///
/// # Errors
/// As [`run`].
pub fn ip(words: &[&str]) -> Result<String, LabError> {
    let mut ip = command(None, "ip");
    ip.args(words);
    run(ip)
}

/// `ip -batch` in a namespace: all lines in one program, stops at the first that fails.
///
/// # Errors
/// As [`run`].
pub fn ip_batch(ns: &str, lines: &[String]) -> Result<(), LabError> {
    let mut ip = command(None, "ip");
    ip.args(["-n", ns, "-batch", "-"]);
    let mut text = lines.join("\n");
    text.push('\n');
    run_with_input(ip, &text).map(drop)
}

/// Writes values below `/proc/sys/net` in a namespace; a file that the kernel does not have is passed over.
///
/// # Errors
/// As [`run`].
pub fn sysctl(ns: &str, values: &[(&str, &str)]) -> Result<(), LabError> {
    let lines: Vec<String> = values
        .iter()
        .map(|(name, value)| format!("[ ! -e /proc/sys/net/{name} ] || echo {value} > /proc/sys/net/{name}"))
        .collect();
    let mut shell = command(Some(ns), "sh");
    shell.args(["-ec", &lines.join("\n")]);
    run(shell).map(drop)
}

/// One of our own programs: the one beside the running one.
///
/// # Errors
/// There is none.
pub fn program(name: &str) -> Result<PathBuf, LabError> {
    let own = std::env::current_exe().map_err(LabError::io("cannot find the running program"))?;
    // A test binary lies one folder below the programs.
    let folders = own.ancestors().skip(1).take(2);
    for folder in folders {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    let beside = own.parent().map(|p| p.display().to_string()).unwrap_or_default();
    let what = format!("there is no `{name}` in {beside}");
    Err(LabError::io(what)(std::io::ErrorKind::NotFound.into()))
}
