//! What hostile guests say in a run, and when: to groups that a bridge keeps for itself, for hosts by broadcast, as DHCP servers from
//! odd UDP ports, as routers in fragments, from invented addresses, as others in ARP. No guest may hear the first of it and no host any.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};

use vxmesh::lab::layout::Layout;
use vxmesh::lab::shell;
use vxmesh::linux::netns;
use vxmesh::types::Mac;
use vxmesh::wire::nd::link_local;

use super::attack::udp_frame;
use super::guests::{self, TALK, Talk, Voice};
use super::plan::{Act, Dice, NODES, Step};
use crate::hostile::packets as p;

/// UDP port that a service of every host listens on.
pub(super) const SERVICE: u16 = 9999;
/// First bytes of invented addresses.
pub(super) const INVENTED: [u8; 2] = [0x02, 0xab];
/// Invented addresses of one flood.
const FLOOD: usize = 2000;
/// How long a node is left alone after something was done to it, in milliseconds.
const AFTER: u64 = 5000;

/// Lies for a plan: it stays as it is, so a seed that somebody has written down means the same. A guest lies only where its node has
/// been left alone for a while and has its daemon: what a guest can do in the moment after somebody took the filter away is known.
pub(super) fn lies(seed: u64, seconds: u64, steps: &[Step]) -> Vec<Step> {
    let mut dice = Dice::new(!seed);
    let (mut at, mut lies) = (2000, Vec::new());
    while at < seconds * 1000 {
        let (node, net) = (dice.index(NODES), dice.net());
        let act = Act::Lie { node, net, seed: dice.roll() };
        if is_calm(steps, node, at) {
            lies.push(Step { at, undo: false, act });
        }
        at += dice.range(700, 2500);
    }
    lies
}

/// True where what was done to the node has ended a while ago.
fn is_calm(steps: &[Step], node: usize, at: u64) -> bool {
    let before = steps.iter().filter(|step| step.at <= at && touches(step.act, node));
    let (begun, ended) = before.clone().fold((0, 0), |(begun, ended), step| match step.act {
        Act::Flush { .. } | Act::Delete { .. } | Act::Unplug { .. } | Act::Forget { .. } | Act::Sleep { .. } => {
            (begun, ended)
        }
        _ if step.undo => (begun, ended + 1),
        _ => (begun + 1, ended),
    });
    begun == ended && before.map(|step| step.at).max().is_none_or(|last| last + AFTER < at)
}

/// True for what changes who filters the guests of a node.
fn touches(act: Act, on: usize) -> bool {
    match act {
        Act::Kill { node }
        | Act::Stop { node }
        | Act::Start { node }
        | Act::Flush { node }
        | Act::Delete { node, .. }
        | Act::Unplug { node, .. }
        | Act::Forget { node, .. }
        | Act::Port { node, .. }
        | Act::Member { node, .. }
        | Act::Sleep { node, .. } => node == on,
        Act::Move { node, to, .. } => node == on || to == on,
        _ => false,
    }
}

/// The frames of a lie, by the guest of a node.
pub(super) fn frames(node: usize, seed: u64, layout: &Layout) -> Vec<Vec<u8>> {
    let mut dice = Dice::new(seed);
    let (me, own) = (guests::mac(node), guests::ip(node));
    let other = (node + 1 + dice.index(NODES - 1)) % NODES;
    let to = (other + 1 + dice.index(NODES - 1)) % NODES;
    let said = Talk { voice: Voice::Impostor, from: other, to, sent: 0 }.bytes();
    let hosts: Vec<Ipv4Addr> = layout.nodes.iter().flat_map(|node| [node.admin, node.external]).collect();
    let for_hosts = |group: Mac, payload: &[u8]| -> Vec<Vec<u8>> {
        hosts.iter().map(|host| udp_frame([group, me], [own, *host], [7, SERVICE], 64, payload)).collect()
    };
    match dice.index(6) {
        0 => (0..16).flat_map(|last| for_hosts(Mac([1, 0x80, 0xc2, 0, 0, last]), &said)).collect(),
        // Guests may hear these, so they do not say that they must not.
        1 => [Mac::BROADCAST, Mac([1, 0, 0x5e, 0, 0, 1])]
            .iter()
            .flat_map(|group| for_hosts(*group, b"for a host"))
            .collect(),
        2 => [67, 1067, 9]
            .iter()
            .flat_map(|port| {
                let ends = [own, Ipv4Addr::BROADCAST];
                [guests::mac(to), Mac::BROADCAST].map(|to| udp_frame([to, me], ends, [*port, 68], 64, &said))
            })
            .collect(),
        3 => router(me, &said),
        4 => (0..FLOOD)
            .map(|_| {
                let [a, b, c, d, ..] = dice.roll().to_be_bytes();
                let from = Mac([INVENTED[0], INVENTED[1], a, b, c, d]);
                udp_frame([guests::mac(to), from], [own, guests::ip(to)], [TALK, TALK], 64, &said)
            })
            .collect(),
        _ => [me, guests::mac(other)].iter().flat_map(|says| claims(me, *says, other, to, &said)).collect(),
    }
}

/// A router's advertisement: whole, and in fragments of which the first says what must not be heard.
fn router(me: Mac, said: &[u8]) -> Vec<Vec<u8>> {
    let (from, to) = (link_local(me), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1));
    let mut option = [&[253, 0], said].concat();
    option.resize(option.len().next_multiple_of(8), 0);
    option[1] = u8::try_from(option.len() / 8).unwrap();
    let rest = [&[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..], &option, &[1, 1], &me.0].concat();
    let message = p::icmp6((from, to), 134, 0, &rest);
    let (first, second) = message.split_at(message.len() - 8);
    let whole = p::six(from, to, 255, p::ICMP6, &message);
    let piece = |at, more, part: &[u8]| p::six(from, to, 255, p::FRAGMENT, &p::six_piece(p::ICMP6, at, more, 7, part));
    let packets = [whole, piece(0, true, first), piece(first.len(), false, second)];
    packets.iter().map(|packet| p::ethernet(Mac([0x33, 0x33, 0, 0, 0, 1]), me, p::IPV6, packet)).collect()
}

/// ARP that says where another guest is, with what must not be heard behind it.
fn claims(me: Mac, says: Mac, other: usize, to: usize, said: &[u8]) -> Vec<Vec<u8>> {
    let about = guests::ip(other);
    let claim = |to: Mac, operation| {
        let body = p::arp(operation, (says, about), (to, about));
        p::ethernet(to, me, p::ARP, &[&body[..], said].concat())
    };
    vec![claim(Mac::BROADCAST, 1), claim(Mac::BROADCAST, 2), claim(guests::mac(to), 2)]
}

/// A service of each host, which no guest may reach.
pub(super) struct Service(UdpSocket, String);

impl Service {
    pub(super) fn new(namespace: &str) -> Self {
        let path = netns::path(namespace);
        let open = || {
            netns::enter(&path).unwrap();
            UdpSocket::bind(("0.0.0.0", SERVICE)).unwrap()
        };
        let socket = std::thread::scope(|scope| scope.spawn(open).join().unwrap());
        socket.set_nonblocking(true).unwrap();
        Self(socket, namespace.to_owned())
    }

    /// Whether it has heard anything yet; it stays there to be found.
    pub(super) fn heard(&self) -> bool {
        self.0.peek_from(&mut [0; 100]).is_ok()
    }

    /// Where it is.
    pub(super) fn namespace(&self) -> &str {
        &self.1
    }

    /// What it has heard and what its bridges have learned, neither of which may be.
    pub(super) fn wrong(&self) -> Option<String> {
        let Self(socket, namespace) = self;
        if let Ok((_, from)) = socket.recv_from(&mut [0; 100]) {
            return Some(format!("the host of {namespace} heard a guest: {from}"));
        }
        let mut command = shell::command(Some(namespace), "bridge");
        command.args(["fdb", "show"]);
        let entries = shell::run(command).unwrap_or_default();
        let start = format!("{:02x}:{:02x}:", INVENTED[0], INVENTED[1]);
        let count = entries.lines().filter(|line| line.starts_with(&start)).count();
        (count > 0).then(|| format!("a bridge of {namespace} has learned {count} invented addresses"))
    }
}

/// True where the guests' filters of a node are loaded.
pub(super) fn filtered(namespace: &str) -> bool {
    [["bridge", "vxmesh_guests"], ["inet", "vxmesh"]].iter().all(|table| {
        let mut command = shell::command(Some(namespace), "nft");
        command.args(["list", "table"]).args(table);
        shell::run(command).is_ok()
    })
}
