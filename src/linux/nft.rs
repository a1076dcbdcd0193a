//! The program `nft`: loads the packet filter in one transaction and lists what is loaded.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};

use super::error::KernelError;
use crate::node::guard::TABLE;

/// Runs a transaction: all of it or nothing. `started` is told the process before it can change anything.
pub(super) fn run(text: &str, started: impl FnOnce(u32)) -> Result<(), KernelError> {
    let output = nft(&["-f", "-"], text, started)?;
    if output.status.success() { Ok(()) } else { Err(refused(&output)) }
}

/// The table as `nft` prints it, without counters' values; none where there is no such table.
pub(super) fn list() -> Result<Option<String>, KernelError> {
    let output = nft(&["-s", "-nn", "list", "table", "inet", TABLE], "", drop)?;
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    if words(&output).contains("No such file or directory") { Ok(None) } else { Err(refused(&output)) }
}

/// Removes the table, if it is there.
pub(super) fn delete(started: impl FnOnce(u32)) -> Result<(), KernelError> {
    run(&format!("add table inet {TABLE}\ndelete table inet {TABLE}\n"), started)
}

/// Packets that each named counter of the table has seen; empty where there is no table.
pub(super) fn counters() -> Result<BTreeMap<String, u64>, KernelError> {
    let output = nft(&["-j", "list", "counters", "table", "inet", TABLE], "", drop)?;
    let listing: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let items = listing.get("nftables").and_then(|v| v.as_array()).into_iter().flatten();
    let counter = |item: &serde_json::Value| {
        let counter = item.get("counter")?;
        Some((counter.get("name")?.as_str()?.to_owned(), counter.get("packets")?.as_u64()?))
    };
    Ok(items.filter_map(counter).collect())
}

fn nft(arguments: &[&str], input: &str, started: impl FnOnce(u32)) -> Result<Output, KernelError> {
    let run = || -> io::Result<Output> {
        let mut command = Command::new("nft");
        command.args(arguments).env("LC_ALL", "C").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        // It reads its orders from stdin, which is still empty.
        started(child.id());
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    };
    run().map_err(|why| {
        let missing = why.kind() == io::ErrorKind::NotFound;
        if missing { KernelError::NoNft } else { KernelError::Socket { what: "running nft", why } }
    })
}

fn refused(output: &Output) -> KernelError {
    let why = words(output);
    if why.contains("Operation not permitted") { KernelError::NotAllowed } else { KernelError::Nft(why) }
}

/// What it complained about, on one line.
fn words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().find(|l| l.contains("rror")).or_else(|| text.lines().next()).unwrap_or("no reason given").to_owned()
}
