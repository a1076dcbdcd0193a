//! Which interfaces have their guests' checksums checked. A guest may leave a checksum for the host to make, at places that it names, and where
//! the kernel makes it, it does so behind every packet filter: with other places a guest changes what the filters have seen. So a program
//! drops what leaves a checksum open where there is none, on the way into each interface of a guest, before all packet filters.

use std::collections::{BTreeMap, BTreeSet};

use super::desired::{Net, Observed};
use super::names;
use super::op::Op;
use super::reconcile::is_ours;
use crate::api::list::named;
use crate::api::local::Finding;
use crate::types::IfName;

/// The program's name in the kernel.
pub const PROGRAM: &str = "vxmesh_checksum";

/// What is known of the check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checks {
    /// The kernel takes the program from this process.
    pub able: bool,
    /// Why it does not, where it was asked.
    pub why: Option<String>,
    /// Interfaces that the program of this process is at, and none of an earlier one.
    pub right: BTreeSet<IfName>,
    /// Interfaces that any program of ours is at.
    pub some: BTreeSet<IfName>,
    /// Interfaces that this process had its program at, and where it is no more.
    pub lost: BTreeSet<IfName>,
}

/// The steps that begin checks, and those that end others.
pub(super) fn diff(wanted: &BTreeMap<&IfName, &Net>, observed: &Observed) -> (Vec<Op>, Vec<Op>) {
    let checks = &observed.checks;
    let guests: BTreeSet<&IfName> = guests(observed, |bridge| wanted.contains_key(bridge)).collect();
    let begin = guests.iter().filter(|name| checks.able && !checks.right.contains(**name));
    let begin = begin.map(|name| Op::CheckChecksums { name: (*name).clone(), again: checks.lost.contains(*name) });
    let end = checks.some.iter().filter(|name| !guests.contains(name));
    (begin.collect(), end.map(|name| Op::LeaveChecksums { name: name.clone() }).collect())
}

/// Interfaces on these bridges that are not ours.
pub fn guests(observed: &Observed, on: impl Fn(&IfName) -> bool) -> impl Iterator<Item = &IfName> {
    let here = observed.links.iter().filter(move |(_, link)| link.port.as_ref().is_some_and(|port| on(&port.bridge)));
    here.filter(|(name, link)| !is_ours(name, link)).map(|(name, _)| name)
}

/// Said where the kernel cannot check and guests are there that nothing of an earlier process checks either.
pub(super) fn open(observed: &Observed) -> Option<Finding> {
    let Checks { why: Some(why), some, .. } = &observed.checks else { return None };
    let ours = |bridge: &IfName| names::parse(bridge.as_str()).is_some();
    let mut bare = guests(observed, ours).filter(|name| !some.contains(*name)).peekable();
    bare.peek()?;
    let bare = named(bare, 1);
    let what = format!(
        "frames that guests leave to be finished by the host are not checked: {why}. What comes from {bare} may leave as another frame than \
         the packet filter has seen"
    );
    Some(
        Finding::new(
            "M0616",
            what,
            "a kernel from Linux 6.6 on with BTF (/sys/kernel/btf/vmlinux), and the unit with CAP_BPF and CAP_PERFMON",
        )
        .harmless(),
    )
}

#[cfg(test)]
#[path = "checksums_tests.rs"]
mod tests;
