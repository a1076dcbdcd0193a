//! Who sends more to many than it may over tunnels, in which network: guests of this node, or peers. Told while frames are dropped for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::growing::Growing;
use super::presence::{Named, name_of, port_of};
use crate::api::local::Finding;
use crate::table::{NetKey, Slice};
use crate::types::{Mac, Mono, NodeId};

/// How long it is told after the last frame.
const QUIET: Duration = Duration::from_secs(15);
/// Guests or peers of a network that are named at most.
const NAMED: usize = 3;
/// Who lost less than this part of what the worst one lost is not named: a burst beside a flood is none.
const SLIGHT: u64 = 10;

/// Whose frames were dropped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// A guest's of this node, by its place among those of its network.
    Guest(u8),
    /// A peer's.
    Peer(NodeId),
}

/// What is counted of one of them in one network.
#[derive(Debug, Clone)]
pub struct Limited {
    /// The network.
    pub key: NetKey,
    /// Whose.
    pub whose: Whose,
    /// Whose the last frame was.
    pub mac: Mac,
    /// Frames that were dropped, since the lanes started.
    pub frames: u64,
}

/// What was counted before, and when it last grew.
#[derive(Debug, Default)]
pub struct Flooded(Growing<(NetKey, Whose)>);

impl Flooded {
    /// Compares with what was counted before.
    pub fn look(&mut self, slice: &Slice, all: impl IntoIterator<Item = Limited>, now: Mono) -> Vec<Finding> {
        let all = all.into_iter().map(|Limited { key, whose, mac, frames }| ((key, whose), frames, mac));
        self.0.look(all, now, QUIET);
        self.findings(slice)
    }

    fn findings(&self, slice: &Slice) -> Vec<Finding> {
        let (mut guests, mut peers): (BTreeMap<&NetKey, Vec<_>>, BTreeMap<&NetKey, Vec<_>>) = Default::default();
        for ((key, whose), lost, mac) in self.0.all() {
            match whose {
                Whose::Guest(_) => guests.entry(key).or_default().push((lost, mac, ())),
                Whose::Peer(node) => peers.entry(key).or_default().push((lost, mac, Some(node))),
            }
        }
        let guests = guests.into_iter().map(|(key, all)| own(slice, key, &worst(all)));
        let of_peers = |(key, all)| worst(all).into_iter().filter_map(move |(_, mac, node)| Some((key, mac, node?)));
        let peers = peers.into_iter().flat_map(of_peers);
        guests.chain(peers.map(|(key, mac, node)| of_peer(slice, key, mac, node))).collect()
    }
}

/// Those who have lost the most.
fn worst<T>(mut all: Vec<(u64, Mac, T)>) -> Vec<(u64, Mac, T)> {
    all.sort_by_key(|(lost, ..)| std::cmp::Reverse(*lost));
    let most = all.first().map_or(0, |(lost, ..)| *lost);
    all.retain(|(lost, ..)| *lost >= most / SLIGHT);
    all.truncate(NAMED);
    all
}

/// Guests of this node.
fn own<T>(slice: &Slice, key: &NetKey, worst: &[(u64, Mac, T)]) -> Finding {
    let network = name_of(slice, key);
    let who: Vec<String> = worst.iter().map(|(_, mac, _)| port_of(slice, key, *mac).to_string()).collect();
    let send = if who.len() == 1 { "sends" } else { "send" };
    let what = format!(
        "network {network}: {} {send} more broadcast and multicast frames a second than the network may over tunnels; the rest is \
         dropped (flood-limited), of those who send less nothing is",
        who.join(" and ")
    );
    let rein = worst.iter().find_map(|(_, mac, _)| match port_of(slice, key, *mac) {
        Named::Port(port) => Some(format!("; or rein it in: meshctl port set {port} --group-rate 100")),
        Named::Guest(_) => None,
    });
    let look = worst.first().map(|(_, mac, _)| format!("; what it is: tcpdump -eni any | grep -i {mac}"));
    Finding::new("M0683", what, let_it(&network) + &look.unwrap_or_default() + &rein.unwrap_or_default())
}

/// Guests of a peer, which its own node should have limited.
fn of_peer(slice: &Slice, key: &NetKey, mac: Mac, node: &NodeId) -> Finding {
    let (network, guest) = (name_of(slice, key), port_of(slice, key, mac));
    let what = format!(
        "network {network}: peer {node} sends more broadcast and multicast frames a second over its tunnel than one peer may, the \
         last of {guest}; the rest of what it sends is dropped here (flood-limited), of other peers nothing is"
    );
    let foreign = slice.peers.get(node).is_some_and(|peer| peer.foreign.is_some());
    let look = if foreign {
        format!("; find out on {node} what {guest} sends: a foreign peer limits nothing by itself")
    } else {
        format!(
            "; who floods there says the status of {node}: on {node}, meshctl status; where it says nothing of it, {node} does not keep to its own limit"
        )
    };
    Finding::new("M0683", what, let_it(&network) + &look)
}

fn let_it(network: &str) -> String {
    format!("let it: meshctl network set {network} --group-rate 2000")
}

#[cfg(test)]
#[path = "flooded_tests.rs"]
mod tests;
