//! Ports whose interfaces were exchanged: behind the interface of each its node hears the guest of another one of them. Nobody has taken an
//! address, the names in the ports are wrong.

use std::collections::BTreeMap;

use super::presence::{Wrong, name_of, port_of};
use crate::table::{NetKey, Slice};
use crate::types::{IfName, Mac};

/// Of a port: where its guest is heard, and where it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) heard: IfName,
    named: IfName,
    net: NetKey,
    mac: Mac,
}

/// Rings of ports that have each other's interfaces, each once. `heard` are addresses that are refused, by the interface that they come from.
pub(super) fn find(slice: &Slice, heard: &BTreeMap<IfName, Mac>) -> Vec<Vec<Moved>> {
    let moved: BTreeMap<&IfName, Moved> =
        heard.iter().filter_map(|(name, mac)| Some((name, of(slice, name, *mac)?))).collect();
    let ring = |first: &&IfName| {
        let mut ring: Vec<Moved> = Vec::new();
        let mut at = *first;
        while ring.len() < moved.len() {
            let one = moved.get(at)?;
            ring.push(one.clone());
            at = &one.named;
            if at == *first {
                // Each of them is the first of the same ring.
                return ring.iter().all(|one| one.heard >= **first).then_some(ring);
            }
        }
        None
    };
    moved.keys().filter_map(ring).collect()
}

/// The guest of a port of this node that names another interface than it is heard behind.
fn of(slice: &Slice, heard: &IfName, mac: Mac) -> Option<Moved> {
    let own = slice.rows.iter().filter(|(key, row)| key.mac == mac && row.node == slice.node);
    let (key, named) = own.filter_map(|(key, row)| Some((key, row.interface.as_ref()?))).next()?;
    (named != heard).then(|| Moved { heard: heard.clone(), named: named.clone(), net: key.net(), mac })
}

/// What is said of a ring.
pub(super) fn told(slice: &Slice, ring: &[Moved]) -> Wrong {
    let port = |one: &Moved| port_of(slice, &one.net, one.mac);
    let all: Vec<String> = ring
        .iter()
        .map(|one| format!("{} ({}) in network {}", port(one), one.named, name_of(slice, &one.net)))
        .collect();
    let places: Vec<String> = ring.iter().map(|one| format!("{} behind {}", port(one), one.heard)).collect();
    let what = format!(
        "the interfaces of {} are swapped: the guest of {} is heard; what they send is dropped",
        all.join(" and "),
        places.join(", that of ")
    );
    let set = |one: &Moved| format!("meshctl port set {} --interface {}", port(one).argument(), one.heard);
    let sets: Vec<String> = ring.iter().map(set).collect();
    let help = format!("{}; or swap the interfaces back", sets.join("; "));
    let guests = ring.iter().map(|one| (one.net.clone(), one.mac)).collect();
    Wrong { what, help, guests, surely: true, away: false, from: None }
}
