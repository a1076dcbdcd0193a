//! How a guest stands at the far end of a path, as its own node knows: what that node answers by the session to who explains a frame
//! ([`crate::wire::oam`]), and the step that becomes of it. The answer is one of few words, so that a member learns no more than whether frames
//! for a guest of a network that the two share arrive.

use super::concerns::{self, End};
use super::doubts::{self, Others};
use super::losses_told::LOSSY;
use super::presence::{At, Presence};
use super::wrongs::SAYS;
use crate::api::cut::Direction;
use crate::api::local::{Finding, Step};
use crate::api::stream::FoundPort;
use crate::policy::path::Path;
use crate::table::{Learning, NetKey, RowKey, Slice};
use crate::types::{Mac, NodeId, PortId, UdpPort, Vni};
use crate::wire::oam::{Kind, Oam};

/// How a guest stands. The numbers are part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stands {
    /// Nobody of that address is in the table there, or not for who asks.
    Unknown,
    /// It is plugged in, and nothing is known to be in the way.
    Well,
    /// The same, but its interface takes smaller packets than its network's number.
    Small,
    /// It is plugged in, but what it sends does not come to who asks, and neither does its answer.
    Mute,
    /// Behind which interface it is, is not known there yet.
    Silent,
    /// A network that finds its guests has it there, and that node has never heard it.
    Unheard,
    /// Something is wrong there that may be in the way.
    Maybe,
    /// Many datagrams of the tunnel from who asks are lost on their way.
    Lossy,
    /// Its interface is down.
    Down,
    /// Its interface stands elsewhere.
    Elsewhere,
    /// Its interface stands in no bridge.
    Unplugged,
    /// There is no such interface.
    Absent,
    /// Its port of the bridge does not forward to here.
    Shut,
    /// It speaks as somebody else, and that is dropped there.
    Refused,
    /// The network is not built there, or nothing of the node passes.
    Cut,
    /// Nothing passes between there and here.
    Path,
    /// Its interface has no carrier.
    Dark,
    /// Something of that host drops what goes by its interface.
    Dropped,
    /// A rule or queue of that host names the guest, and may drop its frames.
    Named,
}

/// All of them, by number.
const ALL: [Stands; 19] = [
    Stands::Unknown,
    Stands::Well,
    Stands::Silent,
    Stands::Maybe,
    Stands::Down,
    Stands::Elsewhere,
    Stands::Unplugged,
    Stands::Absent,
    Stands::Shut,
    Stands::Refused,
    Stands::Cut,
    Stands::Path,
    Stands::Dark,
    Stands::Dropped,
    Stands::Named,
    Stands::Lossy,
    Stands::Unheard,
    Stands::Mute,
    Stands::Small,
];

impl Stands {
    /// As it is sent.
    pub fn number(self) -> u8 {
        ALL.iter().position(|one| *one == self).and_then(|at| u8::try_from(at).ok()).unwrap_or_default()
    }

    /// As it was sent. What a newer node says and this one does not know may be anything.
    pub fn of(number: u8) -> Self {
        ALL.get(usize::from(number)).copied().unwrap_or(Self::Maybe)
    }

    /// The step that it becomes; `look` is the command that shows it there ([`look`]).
    pub fn step(self, node: &NodeId, look: &str) -> Step {
        let cut =
            |why: &str| Step::new("far", false, format!("{node} says that {why}; which and where, says there: {look}"));
        let open = |why: &str| Step::open("far", format!("{node} says that {why}; what it knows, says there: {look}"));
        match self {
            Self::Unknown => Step::open(
                "far",
                format!(
                    "{node} says that it has no such guest in its table yet; which version it follows, says there: meshctl status"
                ),
            ),
            Self::Well => Step::new(
                "far",
                true,
                format!("{node} says that the guest is plugged in there, and nothing is in its way"),
            ),
            Self::Mute => Step::new(
                "back",
                true,
                format!(
                    "the answer does not come back: {node} says that the guest is plugged in there, and that what it sends is dropped or lost; by \
                     what, says there: {look}"
                ),
            ),
            Self::Small => open(
                "the MTU of the guest's interface is less than the network's: larger packets for it end there, smaller ones arrive",
            ),
            Self::Silent => open("it does not know yet behind which interface the guest is"),
            Self::Unheard => open("no such guest is heard behind any interface there, though the table has it there"),
            Self::Maybe => open("something is wrong there that may be in the way"),
            Self::Lossy => open("many datagrams of the tunnel from here are lost on their way, while others arrive"),
            Self::Down => cut("the guest's interface is down"),
            Self::Elsewhere => cut("the guest's interface stands in another bridge"),
            Self::Unplugged => cut("the guest's interface stands in no bridge"),
            Self::Absent => cut("the guest's interface is not there: most often the guest does not run"),
            Self::Shut => cut("the guest's port is isolated in its bridge, or does not forward"),
            Self::Refused => cut("the guest speaks as somebody else, and that is dropped"),
            Self::Cut => cut("its networks carry nothing"),
            Self::Path => cut("nothing passes between it and here"),
            Self::Named => open("a rule or queue of that host names this guest, and may drop its frames"),
            Self::Dropped => cut("something of that host drops what goes by the guest's interface"),
            Self::Dark => cut("the guest's interface has no carrier: its own link is down, or it does not run"),
        }
    }
}

/// What is asked on the receiver's node to see what it knows: the way back, from the guest there, by its port where it has one. `status` tells
/// as a problem only who was at work, and this tells whoever is asked for.
pub fn look(to: Option<&PortId>, mac: Mac, from: &str) -> String {
    let to = to.map_or_else(|| mac.to_string(), ToString::to_string);
    format!("meshctl explain {to} {from}")
}

/// What is said of a peer that has not answered.
pub fn unanswered(node: &NodeId, look: &str) -> Step {
    let why = "it did not answer by its session, or is of an earlier version";
    Step::open("far", format!("whether the guest is plugged in on {node} is not known here: {why}; ask there: {look}"))
}

/// The step about a peer of which a rule or queue names a guest, the receiver or the sender; `look` as above.
pub fn named(node: &NodeId, who: &str, look: &str) -> Step {
    let what = format!("a rule or queue of that host names the {who}, and may drop its frames");
    Step::open("far", format!("{node} says that {what}; which, says there: {look}"))
}

/// The question about a guest.
pub fn ask(net: &NetKey, udp_port: UdpPort, mac: Mac) -> Oam {
    let [_, high, upper, lower] = net.vni.get().to_be_bytes();
    let [a, b, c, d, e, f] = mac.0;
    let token = u64::from_be_bytes([upper, lower, a, b, c, d, e, f]);
    Oam { kind: Kind::GuestAsk { vni: high, udp_port: udp_port.get() }, token }
}

/// Whom a question is about, if this node has that network.
fn asked(slice: &Slice, vni: u8, udp_port: u16, token: u64) -> Option<(NetKey, Mac)> {
    let [upper, lower, mac @ ..] = token.to_be_bytes();
    let vni = Vni::try_from(u64::from(u32::from_be_bytes([0, vni, upper, lower]))).ok()?;
    let net = slice.networks.iter().find(|(key, network)| key.vni == vni && network.udp_port.get() == udp_port);
    net.map(|(key, _)| (key.clone(), Mac(mac)))
}

/// What this node knows when it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// Its slice.
    pub slice: &'a Slice,
    /// Where its guests are.
    pub presence: &'a Presence,
    /// Guests that it has found.
    pub found: &'a [FoundPort],
    /// All that is wrong.
    pub findings: &'a [Finding],
    /// What others have set up.
    pub others: Others<'a>,
}

/// The answer to a question of `peer`, to which the path of that network is `path`.
pub fn answer(here: Here<'_>, peer: &NodeId, path: impl Fn(&NetKey) -> Option<Path>, question: Oam) -> Option<Oam> {
    let Kind::GuestAsk { vni, udp_port } = question.kind else { return None };
    let stands = asked(here.slice, vni, udp_port, question.token).and_then(|(net, mac)| {
        let network = here.slice.networks.get(&net)?;
        // Who is no member of the network learns nothing of it.
        let path = network.members.contains_key(peer).then(|| path(&net)).flatten()?;
        Some(stands(here, &net, mac, (peer, path)))
    });
    let stands = stands.unwrap_or(Stands::Unknown).number();
    Some(Oam { kind: Kind::GuestTell { stands, udp_port }, ..question })
}

/// Is this guest among those that a node has found?
pub fn has(found: &[FoundPort], net: &NetKey, mac: Mac) -> bool {
    found.iter().any(|port| port.mac == mac && port.network == *net)
}

/// How a guest of this node stands, for frames of a peer.
pub fn stands(here: Here<'_>, net: &NetKey, mac: Mac, peer: (&NodeId, Path)) -> Stands {
    let of = |node: &NodeId| here.slice.rows_of(net).find(|(key, row)| key.mac == mac && row.node == *node);
    let doubted = |key: &RowKey| doubts::doubted(here.others, (here.slice, here.presence), key, peer.1);
    let Some((key, row)) = of(&here.slice.node) else {
        // The peer's own: whether what it sends passes here.
        let theirs = of(peer.0);
        return theirs.map_or(Stands::Unknown, |(key, _)| if doubted(key) { Stands::Named } else { Stands::Well });
    };
    let place = place(here, net, mac);
    let end = End {
        net,
        mac: Some(mac),
        peer: Some(peer),
        ipv6: concerns::family(row),
        alone: false,
        direction: Some(Direction::ToGuests),
        ip: None,
    };
    let found = concerns::in_the_way(here.findings, end).into_iter().map(|(finding, surely)| match &finding.cut {
        _ if finding.code == LOSSY => Stands::Lossy,
        _ if !surely => Stands::Maybe,
        Some(cut) if cut.peers.contains(peer.0) => Stands::Path,
        Some(cut) if !cut.guests.is_empty() && SAYS.contains(&finding.code.as_str()) => Stands::Refused,
        Some(cut) if !cut.guests.is_empty() => Stands::Dropped,
        Some(_) | None => Stands::Cut,
    });
    // Where the interface is, is told first: the rest follows from it, most often.
    let stands = if place > Stands::Lossy { place } else { found.chain([place]).max().unwrap_or(place) };
    if stands <= Stands::Lossy && doubted(key) {
        return Stands::Named;
    }
    let mute = || concerns::in_the_way_back(here.findings, end).iter().any(|(_, surely)| *surely);
    let mtu = here.slice.networks.get(net).map(|network| network.guest_mtu);
    let small = || mtu.is_some_and(|mtu| here.presence.small(&(net.clone(), mac), mtu).is_some());
    if stands != Stands::Well {
        stands
    } else if mute() {
        Stands::Mute
    } else if small() {
        Stands::Small
    } else {
        Stands::Well
    }
}

/// Where the interface of a guest of this node is, in the words of an answer.
fn place(here: Here<'_>, net: &NetKey, mac: Mac) -> Stands {
    let finds = here.slice.networks.get(net).is_some_and(|network| network.learning == Learning::Local);
    let at = here.presence.of(&(net.clone(), mac)).map(|here| &here.at);
    match at {
        None | Some(At::Silent) if finds && has(here.found, net, mac) => Stands::Well,
        None | Some(At::Silent) if finds => Stands::Unheard,
        None | Some(At::Silent) => Stands::Silent,
        Some(At::Plugged) => Stands::Well,
        Some(At::Down) => Stands::Down,
        Some(At::Dark) => Stands::Dark,
        Some(At::Elsewhere(_) | At::OtherNetwork(_) | At::Refused(_) | At::Hosts) => Stands::Elsewhere,
        Some(At::Nowhere) => Stands::Unplugged,
        Some(At::Absent) => Stands::Absent,
        Some(At::Blocked | At::Isolated) => Stands::Shut,
    }
}

#[cfg(test)]
#[path = "end_tests.rs"]
mod tests;
