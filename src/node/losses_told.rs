//! What is said of losses inside of tunnels. Equal causes are one finding, and no text holds a number that changes while its cause stands.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::losses::Whence;
use crate::api::cut::{Cut, Direction};
use crate::api::list::named;
use crate::api::local::Finding;
use crate::policy::path::Path;
use crate::types::{IfName, NodeId};

/// Code of tunnels that lose much on the way to here.
pub const LOSSY: &str = "M0723";
/// Peers of one finding that are named.
const NAMED: usize = 3;

/// A tunnel that loses.
#[derive(Debug, Clone, Copy)]
pub struct Lossy<'a> {
    /// The peer that sends.
    pub node: &'a NodeId,
    /// Where its packets come from.
    pub from: Option<SocketAddr>,
    /// Where they are lost.
    pub whence: Whence,
}

/// One finding for each place of loss. `interface` is the one that tunnels come in by.
pub fn findings<'a>(
    own: &NodeId,
    lossy: impl IntoIterator<Item = Lossy<'a>>,
    interface: Option<&IfName>,
) -> Vec<Finding> {
    let mut by_place: BTreeMap<Whence, Vec<Lossy<'a>>> = BTreeMap::new();
    for one in lossy {
        by_place.entry(one.whence).or_default().push(one);
    }
    by_place.into_iter().map(|(whence, all)| finding(own, whence, &all, interface)).collect()
}

fn finding(own: &NodeId, whence: Whence, all: &[Lossy<'_>], interface: Option<&IfName>) -> Finding {
    let names = named(all.iter().map(|one| one.node), NAMED);
    let tunnels = if all.len() > 1 { "tunnels" } else { "tunnel" };
    let (what, help) = match whence {
        Whence::Way => (format!("are lost on the way{}, while others arrive", place(all)), line(all, interface)),
        Whence::Socket => (
            "are lost while the sockets of this node's lanes overflow: more comes than this machine reads".to_owned(),
            "how many: meshctl tunnel list; whether its CPU is full: top -H -b -n 1 -p $(pidof meshd) | head -20; more lanes: `lanes` in [underlay] of \
             meshd.toml; who sends so much: meshctl tunnel list shows RECEIVED of each peer"
                .to_owned(),
        ),
    };
    let what = format!("many datagrams of the {tunnels} from {names} to {own} {what}");
    let cut = Cut::peers(false, Path::Tunnel, all.iter().map(|one| one.node));
    Finding::new(LOSSY, what, help).cuts(Cut { direction: Some(Direction::ToGuests), ..cut })
}

/// Where the packets of a peer come from, if it is one.
fn place(all: &[Lossy<'_>]) -> String {
    match all {
        [Lossy { from: Some(from), .. }] => format!(" from {}", from.ip()),
        _ => String::new(),
    }
}

/// How to find the place.
fn line(all: &[Lossy<'_>], interface: Option<&IfName>) -> String {
    let node = all.first().map_or_else(|| "the peer".to_owned(), |one| one.node.to_string());
    let ping = all.iter().find_map(|one| one.from).map(|from| format!(": ping -c 50 -i 0.2 {}", from.ip()));
    let link = interface.map_or_else(|| "ip -s -s link".to_owned(), |device| format!("ip -s -s link show {device}"));
    format!(
        "how many: meshctl tunnel list; a line or a queue that is full or faulty: {link}, here and on {node}, there also tc -s qdisc; what is \
         between them{}; rules that drop some: nft list tables | grep -v vxmesh; iptables-legacy-save, here and there",
        ping.unwrap_or_default()
    )
}

#[cfg(test)]
#[path = "losses_told_tests.rs"]
mod tests;
