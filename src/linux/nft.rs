//! The program `nft`: loads the packet filter in one transaction, and lists whose frames it has dropped.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};

use serde_json::Value;

use super::error::KernelError;
use super::{hooks, xt};
use crate::node::barriers::Table;
use crate::node::fence::{Refused, Said};
use crate::node::fence_sizes::LARGE;
use crate::node::fence_text::{HEARD, OWN, REASONS, SPOKEN, TABLE as FENCE, samples};
use crate::node::guard::TABLE;
use crate::node::sets::{self, Set};
use crate::node::verdicts::{Rule, Rules};
use crate::types::{IfName, Mac};

/// Bytes of the listing of a set that are read, at most: [`sets::ELEMENTS`] addresses with their times.
const LISTING: u64 = 16 << 20;

/// Runs a transaction: all of it or nothing. `started` is told the process before it can change anything.
pub(super) fn run(text: &str, started: impl FnOnce(u32)) -> Result<(), KernelError> {
    let before = replaces(text).then(|| hooks::generation().ok()).flatten();
    let ran = nft(&["-f", "-"], text, started)?;
    let same = before.is_some() && hooks::generation().ok() == before;
    judged(&ran.output, ran.read && !same)
}

/// True for a transaction that makes a table anew. The kernel counts each of these, and none that only adds what is there.
fn replaces(text: &str) -> bool {
    text.starts_with("add table ")
}

/// How a run went by how it ended. `done` is false where its orders were not read, or the kernel has done nothing: somebody may have put
/// another program in the place of `nft`.
fn judged(output: &Output, done: bool) -> Result<(), KernelError> {
    match (output.status.success(), done) {
        (true, true) => Ok(()),
        (true, false) => Err(KernelError::Mute("nft ended with status 0 and has loaded nothing".to_owned())),
        (false, _) => Err(refused(output)),
    }
}

/// Removes the guard's tables, where they are there; a kernel without rules on devices that are absent may not know family `netdev`.
pub(super) fn no_guard(by_device: bool) -> String {
    none(TABLE, ["inet"].into_iter().chain(by_device.then_some("netdev")))
}

/// Removes the filter behind the guests' ports in the same way.
pub(super) fn no_fence(by_device: bool) -> String {
    none(FENCE, ["bridge", "inet"].into_iter().chain(by_device.then_some("netdev")))
}

fn none<'a>(table: &str, families: impl Iterator<Item = &'a str>) -> String {
    families.map(|family| format!("add table {family} {table}\ndelete table {family} {table}\n")).collect()
}

/// Asks the kernel whether it would do a transaction, which it does not.
pub(super) fn takes(text: &str) -> Result<bool, KernelError> {
    let ran = nft(&["-c", "-f", "-"], text, drop)?;
    match judged(&ran.output, ran.read) {
        Ok(()) => Ok(true),
        // Whether the kernel would do it was not asked.
        Err(error @ KernelError::Mute(_)) => Err(error),
        Err(_) => Ok(false),
    }
}

/// What the kernel keeps of frames of guests that were dropped for a reason; nothing where there is no filter.
pub(super) fn refused_guests(reason: &str) -> Result<Vec<Refused>, KernelError> {
    let items = json(&["list", "set", "bridge", FENCE, &format!("by_{reason}")])?;
    Ok(items.iter().flat_map(of_set).collect())
}

fn of_set(item: &Value) -> Vec<Refused> {
    let Some(set) = item.get("set") else { return Vec::new() };
    let name = set.get("name").and_then(|name| name.as_str()?.strip_prefix("by_"));
    let Some(&(reason, _)) = REASONS.iter().chain([&LARGE]).find(|(reason, _)| Some(*reason) == name) else {
        return Vec::new();
    };
    let element = |element: &Value| {
        let element = element.get("elem")?;
        let (value, frames) = (element.get("val")?, element.get("counter")?.get("packets")?.as_u64()?);
        let (interface, mac) = match value.get("concat").and_then(|parts| parts.as_array()) {
            Some(parts) => (parts.first()?.as_str()?, Some(parts.get(1)?.as_str()?.parse().ok()?)),
            None => (value.as_str()?, None),
        };
        Some(Refused { interface: interface.parse().ok()?, mac, reason, frames })
    };
    set.get("elem").and_then(|elements| elements.as_array()).into_iter().flatten().filter_map(element).collect()
}

/// Samples of what guests say and may not, for a reason.
pub(super) fn said(reason: &str) -> Result<Vec<Said>, KernelError> {
    let mut all = Vec::new();
    for set in samples(reason) {
        let items = json(&["list", "set", "bridge", FENCE, &set])?;
        let elements = items.iter().filter_map(|item| item.get("set")?.get("elem")?.as_array()).flatten();
        all.extend(elements.filter_map(sample));
    }
    Ok(all)
}

/// Guests that were heard for the first time in a while, by interface.
pub(super) fn spoken() -> Result<Vec<(IfName, Mac)>, KernelError> {
    let place = |parts: &[Value]| {
        let [interface, mac] = parts else { return None };
        Some((interface.as_str()?.parse().ok()?, mac.as_str()?.parse().ok()?))
    };
    Ok(concatenations(SPOKEN)?.iter().filter_map(|parts| place(parts)).collect())
}

/// Has them told again when they are heard again, as text.
pub(super) fn forget_spoken(guests: &[(IfName, Mac)]) -> String {
    let all: Vec<String> = guests.iter().map(|(interface, mac)| format!("\"{interface}\" . {mac}")).collect();
    let all = all.join(", ");
    let each = |set: &str| {
        // What is not there cannot be deleted, and elements end by themselves.
        format!("add element bridge {FENCE} {set} {{ {all} }}\ndelete element bridge {FENCE} {set} {{ {all} }}\n")
    };
    [each(SPOKEN), each(HEARD)].concat()
}

/// IP addresses that guests behind an interface have spoken for, by Ethernet address.
pub(super) fn own_addresses() -> Result<Vec<(IfName, Mac, IpAddr)>, KernelError> {
    let own = |parts: &[Value]| {
        let [interface, mac, value] = parts else { return None };
        Some((interface.as_str()?.parse().ok()?, mac.as_str()?.parse().ok()?, address(value)?))
    };
    let mut all = Vec::new();
    for (set, _) in OWN {
        all.extend(concatenations(set)?.iter().filter_map(|parts| own(parts)));
    }
    Ok(all)
}

/// The elements of a set, each with its parts.
fn concatenations(set: &str) -> Result<Vec<Vec<Value>>, KernelError> {
    let items = json(&["list", "set", "bridge", FENCE, set])?;
    let elements = items.iter().filter_map(|item| item.get("set")?.get("elem")?.as_array()).flatten();
    Ok(elements.filter_map(|element| element.get("elem")?.get("val")?.get("concat")?.as_array().cloned()).collect())
}

fn sample(element: &Value) -> Option<Said> {
    let element = element.get("elem")?;
    let parts = element.get("val")?.get("concat")?.as_array()?;
    let samples = element.get("counter")?.get("packets")?.as_u64()?;
    let (interface, mac) = (parts.first()?.as_str()?.parse().ok()?, parts.get(1)?.as_str()?.parse().ok()?);
    let value = match parts.get(2) {
        Some(value) => Some(address(value)?),
        None => None,
    };
    Some(Said { interface, mac, value, samples })
}

/// A raw address: `nft` writes what fits 64 bits as a number, anything larger as hexadecimal text. An IPv6 address that small is none of a
/// guest's.
fn address(value: &Value) -> Option<IpAddr> {
    if let Some(number) = value.as_u64() {
        return u32::try_from(number).ok().map(|number| IpAddr::V4(Ipv4Addr::from(number)));
    }
    let digits = value.as_str()?.strip_prefix("0x")?;
    u128::from_str_radix(digits, 16).ok().map(|number| IpAddr::V6(Ipv6Addr::from(number)))
}

/// Names that the filter which is there holds from the host.
pub(super) fn shut() -> Result<BTreeSet<IfName>, KernelError> {
    let items = json(&["list", "set", "inet", TABLE, "shut"])?;
    let elements = items.iter().filter_map(|item| item.get("set")?.get("elem")?.as_array()).flatten();
    Ok(elements.filter_map(|name| name.as_str()?.parse().ok()).collect())
}

/// Rules of a table of others, by chain, with what is in the sets that they ask, where that is not too much and no packet changes it.
pub(super) fn rules(of: &Table) -> Result<Rules, KernelError> {
    let (family, table) = of;
    let mut rules = Rules::new();
    let told = json(&["-t", "list", "table", family, table])?;
    for item in &told {
        let Some(rule) = item.get("rule") else { continue };
        let (chain, parts) = (rule.get("chain").and_then(|chain| chain.as_str()), rule.get("expr"));
        let (Some(chain), Some(parts)) = (chain, parts.and_then(|parts| parts.as_array())) else { continue };
        let handle = rule.get("handle").and_then(Value::as_u64).unwrap_or_default();
        rules.entry(chain.to_owned()).or_default().push(Rule { handle, parts: parts.clone() });
    }
    // What is not told is not known: it may match or not.
    drop(xt::spell(of, &mut rules));
    for name in sets::asked(rules.values().flatten(), &told) {
        let listed = listed(&["-j", "list", "set", family, table, &name])?;
        let set = listed.iter().find_map(|item| item.get("set"));
        rules.sets.extend(set.and_then(Set::read).map(|set| (name, set)));
    }
    Ok(rules)
}

/// The same of something that may be too large to be read: it is not read then.
fn listed(words: &[&str]) -> Result<Vec<Value>, KernelError> {
    let mut command = command(words)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|why| unstarted(&command, why))?;
    let mut text = Vec::new();
    let read = child.stdout.take().map(|out| out.take(LISTING).read_to_end(&mut text));
    // It may have more to say.
    drop(child.kill());
    child.wait().and_then(|_| read.transpose()).map_err(lost)?;
    Ok(items(&text))
}

/// The items of a listing; none where there is no such thing.
fn json(words: &[&str]) -> Result<Vec<Value>, KernelError> {
    let ran = nft(&[&["-j"], words].concat(), "", drop)?;
    Ok(items(&ran.output.stdout))
}

fn items(text: &[u8]) -> Vec<Value> {
    let mut listing: Value = serde_json::from_slice(text).unwrap_or_default();
    match listing.get_mut("nftables").map(Value::take) {
        Some(Value::Array(items)) => items,
        Some(_) | None => Vec::new(),
    }
}

/// A run that has ended.
struct Ran {
    output: Output,
    /// It has read all that it was given.
    read: bool,
}

fn nft(arguments: &[&str], input: &str, started: impl FnOnce(u32)) -> Result<Ran, KernelError> {
    let mut command = command(arguments)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|why| unstarted(&command, why))?;
    // It reads its orders from stdin, which is still empty.
    started(child.id());
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(lost)?;
    match written {
        Ok(()) => Ok(Ran { output, read: true }),
        // Whether it ends before it is written to or after is chance. How it ended is not.
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(Ran { output, read: false }),
        Err(why) => Err(lost(why)),
    }
}

fn command(arguments: &[&str]) -> Result<Command, KernelError> {
    let mut command = Command::new(program("nft").map_err(|_| KernelError::NoNft)?);
    command.args(arguments).env("LC_ALL", "C");
    Ok(command)
}

/// Why it was not started. Who can open no file, or has no memory, can start nothing, and `nft` has no part in that.
fn unstarted(command: &Command, why: io::Error) -> KernelError {
    match why.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN) => lost(why),
        _ => KernelError::Mute(format!("{} cannot be run: {why}", command.get_program().display())),
    }
}

const fn lost(why: io::Error) -> KernelError {
    KernelError::Socket { what: "running nft", why }
}

/// What another tool says of its packet filter.
pub(super) fn listing(tool: &str, arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new(program(tool)?);
    let output = command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).output()?;
    Ok(if output.status.success() { String::from_utf8_lossy(&output.stdout).into_owned() } else { String::new() })
}

/// Where a program is: in a folder of `PATH` that begins at the root. A relative one would run what lies in the working directory.
fn program(name: &str) -> io::Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let mut places =
        std::env::split_paths(&folders).filter(|folder| folder.is_absolute()).map(|folder| folder.join(name));
    places.find(|place| place.is_file()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn refused(output: &Output) -> KernelError {
    match words(output) {
        Some(why) if why.contains("Operation not permitted") => KernelError::NotAllowed,
        Some(why) => KernelError::Nft(why),
        None => KernelError::Mute(ended(output.status)),
    }
}

/// What it complained about, on one line.
fn words(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.clone().next();
    lines.find(|line| line.contains("rror")).or(first).map(str::to_owned)
}

/// How it ended that has given no reason.
fn ended(status: ExitStatus) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => format!("ended ({status})"),
    };
    format!("nft {how} and said nothing")
}

#[cfg(test)]
#[path = "nft_tests.rs"]
mod tests;
