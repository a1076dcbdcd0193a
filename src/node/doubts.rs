//! Rules of others that name one of the two guests of a frame, its bridge or an interface on its way, and may drop it: asked for just that frame, by
//! who explains it. What drops every guest's frames alike is told elsewhere ([`super::barriers`]), and what cannot meet the frame is nothing.
//!
//! A rule names a frame if it may drop it and could not drop the same frame of somebody whom no rule knows. What ends in a policy, or in a rule
//! for all, is compared with the frames that cross a bridge of ours, which are known to pass.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::attached::{Filter, Side, takers};
use super::barriers::{Base, Filters, Table, is_at, is_crossed, sees, way_out, words};
use super::concerns::{self, Way};
use super::filtered;
use super::marks::{self as marked, HOOKS, Marks};
use super::names::{self, Device};
use super::older::Older;
use super::outer;
use super::presence::Presence;
use super::shown::Shown;
use super::verdicts::{Drop, Frame, Rules, Sure, all, marks, may_mark};
use crate::api::local::{Explanation, Step};
use crate::policy::path::Path;
use crate::probe::crossing::Protocol;
use crate::table::{Row, RowKey, Slice};
use crate::types::{IfName, Mac};

/// Rules of one way that are named.
const NAMED: usize = 4;

/// Packet filters of others, as they were read last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Book {
    /// What `nft` shows.
    pub filters: Filters,
    /// What the older iptables shows.
    pub older: Vec<Older>,
    /// What all bridges of this host show to its packet filters (`net.bridge.bridge-nf-call-*`).
    pub host: BTreeSet<Protocol>,
    /// What single bridges show.
    pub shown: Shown,
    /// Rules of tables that see what the host itself sends, where frames of guests get marks.
    pub sent: BTreeMap<Table, Rules>,
    /// Ports by which our own frames cross a bridge: in by the first, out by the second.
    pub crossing: Option<Crossing>,
}

/// Where frames of our own cross, and that they do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crossing {
    /// The bridge.
    pub bridge: IfName,
    /// In by this port.
    pub near: IfName,
    /// Out by this one.
    pub far: IfName,
}

/// What of `tc` may take a frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Queues {
    /// Queues and classes that may take what goes to an interface, in words.
    pub slow: BTreeMap<IfName, Vec<String>>,
    /// Filters of interfaces, each in the order in which the kernel asks them.
    pub filters: BTreeMap<(IfName, Side), Vec<Filter>>,
}

/// What others have set up on this node, as far as it is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Others<'a> {
    /// Packet filters.
    pub book: Option<&'a Book>,
    /// What of `tc` may take a frame.
    pub queues: Option<&'a Queues>,
}

/// One frame on one bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The bridge.
    pub bridge: IfName,
    /// By which port it comes, where that is known.
    pub near: Option<IfName>,
    /// By which port it leaves.
    pub far: Option<IfName>,
    /// Who sends it, by Ethernet address, and by addresses of which it bears one; none: anybody.
    pub from: Option<(Mac, Vec<IpAddr>)>,
    /// Whom it is for; none: anybody, or all.
    pub to: Option<(Mac, Vec<IpAddr>)>,
    /// It is IPv6, or IPv4; none: that is not known.
    pub ipv6: Option<bool>,
    /// An end that is not said may be anybody, and not only somebody whom no rule names.
    pub open: bool,
}

/// What may drop a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// It is dropped, whatever it carries.
    pub surely: bool,
    /// What drops it, without what it does.
    pub by: String,
    /// One sentence, with the command that shows it.
    pub text: String,
}

impl Passage {
    /// The answer to it, on the same bridge. None: what is for all has none.
    #[must_use]
    pub fn back(&self) -> Option<Self> {
        let (from, to) = (Some(self.to.clone()?), self.from.clone());
        let (near, far) = (self.far.clone(), self.near.clone());
        Some(Self { bridge: self.bridge.clone(), near, far, from, to, ..*self })
    }

    fn protocols(&self) -> &'static [Protocol] {
        match self.ipv6 {
            None => &[Protocol::Ipv4, Protocol::Arp, Protocol::Ipv6],
            Some(false) => &[Protocol::Ipv4, Protocol::Arp],
            Some(true) => &[Protocol::Ipv6],
        }
    }

    /// What a chain sees of it.
    fn frame(&self, base: &Base, protocol: Protocol) -> Frame {
        let addresses = |end: &Option<(Mac, Vec<IpAddr>)>| end.as_ref().map(|(_, all)| all.clone()).unwrap_or_default();
        let mac = |end: &Option<(Mac, Vec<IpAddr>)>| end.as_ref().map(|(mac, _)| *mac);
        Frame {
            from: addresses(&self.from),
            to: addresses(&self.to),
            from_mac: mac(&self.from),
            to_mac: mac(&self.to),
            open: self.open(),
            ..seen(base, protocol, [Some(&self.bridge), self.near.as_ref(), self.far.as_ref()])
        }
    }

    const fn open(&self) -> (bool, bool) {
        (self.open && self.from.is_none(), self.open && self.to.is_none())
    }
}

/// A frame of nobody in particular on a bridge.
fn seen(base: &Base, protocol: Protocol, [bridge, near, far]: [Option<&IfName>; 3]) -> Frame {
    let text = |name: Option<&IfName>| name.map(ToString::to_string);
    let by_port = matches!(base.family, "bridge" | "netdev") || !base.devices.is_empty();
    let (iif, oif) = if by_port { (near, far) } else { (bridge, bridge) };
    let (comes, leaves) = match base.hook {
        "prerouting" | "ingress" => (true, false),
        "postrouting" | "egress" => (false, true),
        _ => (true, true),
    };
    Frame {
        iif: text(iif.filter(|_| comes)),
        oif: text(oif.filter(|_| leaves)),
        bridge: text(bridge),
        protocol: Some(protocol),
        any: true,
        near: text(near),
        far: text(far.filter(|_| leaves)),
        strange: true,
        ..Frame::default()
    }
}

/// What may drop a frame, the surest first.
pub fn doubts(others: Others<'_>, passage: &Passage) -> Vec<Doubt> {
    let Others { book, queues } = others;
    let found = book.map(|book| found(book, passage, true)).unwrap_or_default();
    let surely = is_sure(&found, passage.ipv6);
    let rules = found.into_iter().map(|found| found.told(surely, passage.protocols().len()));
    let slow = passage.far.as_ref().and_then(|far| queues?.slow.get(far)).into_iter().flatten().cloned();
    let filters = queues.map(|queues| filtered(queues, passage)).unwrap_or_default();
    let mut carried: Vec<Doubt> = Vec::new();
    for doubt in passage.protocols().iter().flat_map(|of| book.map(|book| outer::doubts(book, passage, *of))).flatten()
    {
        if !carried.contains(&doubt) {
            carried.push(doubt);
        }
    }
    let of_tc = slow.chain(filters).map(|text| Doubt { surely: false, by: text.clone(), text });
    rules.chain(carried).chain(of_tc).collect()
}

/// Filters of `tc` where it comes in and where it leaves that may take it.
fn filtered(queues: &Queues, passage: &Passage) -> BTreeSet<String> {
    let ends = [(&passage.near, Side::Ingress, "ingress"), (&passage.far, Side::Egress, "egress")];
    let each = ends.into_iter().filter_map(|(name, side, hook)| Some((name.as_ref()?, side, hook)));
    each.flat_map(|(name, side, hook)| {
        let filters = queues.filters.get(&(name.clone(), side)).map(Vec::as_slice).unwrap_or_default();
        let base = Base {
            family: "netdev",
            table: String::new(),
            name: String::new(),
            hook,
            drops: false,
            devices: Vec::new(),
        };
        let of = move |protocol: &Protocol| {
            let nobody = Frame { nobody: true, ..seen(&base, *protocol, [None; 3]) };
            filtered::doubts(filters, (name, side), *protocol, [&passage.frame(&base, *protocol), &nobody])
        };
        passage.protocols().iter().flat_map(of)
    })
    .collect()
}

/// What drops all frames of one passage, or all of a family, for certain, whatever is not said of it: in words, whether it is IPv6 or IPv4 and its
/// questions, by what, and what ends it.
pub fn certain(book: &Book, passage: &Passage) -> Vec<(&'static str, Option<bool>, (String, String))> {
    let found = found(book, passage, false);
    let surest = |of: &dyn Fn(&Found<'_>) -> bool| {
        let one = found.iter().find(|one| one.drop.sure == Sure::Yes && of(one));
        one.map(|one| (one.by(), one.way_out()))
    };
    let four = |one: &Found<'_>| one.of.contains(&Protocol::Ipv4) || one.of.contains(&Protocol::Arp);
    takers(|protocol| match protocol {
        None => surest(&|one| four(one) && one.of.contains(&Protocol::Ipv6)),
        Some(protocol) => surest(&|one| one.of.contains(&protocol)),
    })
}

/// What drops a frame, by a rule that may be about it or by one for all: in words, and what ends it. Nothing that may match or not counts.
pub(super) fn dropping(book: &Book, passage: &Passage) -> Option<(String, String)> {
    passage.protocols().iter().copied().find_map(|protocol| {
        let asked = Asked::new(book, passage, true, protocol);
        let mut chains = book.chains().filter(|(base, ..)| meets(book, base, passage, protocol));
        chains.find_map(|(base, rules, older)| {
            let [frame, ..] = asked.frames(base);
            let drops = all(rules, &base.name, base.drops, &frame?);
            let drop = drops.into_iter().find(|drop| drop.sure < Sure::Maybe)?;
            let one = Found { base, older, drop, of: [protocol].into() };
            Some((one.by(), one.way_out()))
        })
    })
}

/// `strange`: what is not said of the passage is nobody that a rule names; else it may be anybody.
fn found<'a>(book: &'a Book, passage: &Passage, strange: bool) -> Vec<Found<'a>> {
    let mut found: Vec<Found<'_>> = Vec::new();
    for protocol in passage.protocols().iter().copied() {
        let asked = Asked::new(book, passage, strange, protocol);
        for (base, rules, older) in book.chains().filter(|(base, ..)| meets(book, base, passage, protocol)) {
            for drop in asked.named(base, rules) {
                let same = |one: &&mut Found<'_>| std::ptr::eq(one.base, base) && one.drop == drop;
                match found.iter_mut().find(same) {
                    Some(one) => {
                        one.of.insert(protocol);
                    }
                    None => found.push(Found { base, older, drop, of: [protocol].into() }),
                }
            }
        }
    }
    found.sort_by_key(|found| found.drop.sure);
    found
}

impl Book {
    /// Chains that see what the host itself sends.
    pub(super) fn sent(&self) -> impl Iterator<Item = (&Base, &Rules)> {
        let bases = self.filters.bases.iter().filter(|base| outer::is_sent(base));
        bases.filter_map(|base| Some((base, self.sent.get(&(base.family, base.table.clone()))?)))
    }

    /// All chains at hooks, with the rules of their tables.
    fn chains(&self) -> impl Iterator<Item = (&Base, &Rules, Option<&Older>)> {
        let of_nft = self
            .filters
            .bases
            .iter()
            .filter_map(|base| Some((base, self.filters.rules.get(&(base.family, base.table.clone()))?, None)));
        let of_older = self.older.iter().flat_map(|older| {
            let each = older.bases.iter();
            each.map(move |base| (base, &older.rules, Some(older)))
        });
        of_nft.chain(of_older)
    }
}

/// A rule or policy that may drop, and which protocols.
struct Found<'a> {
    base: &'a Base,
    older: Option<&'a Older>,
    drop: Drop,
    of: BTreeSet<Protocol>,
}

/// True where frames of a protocol come by a chain.
fn meets(book: &Book, base: &Base, passage: &Passage, protocol: Protocol) -> bool {
    let at = |name: &Option<IfName>| name.as_ref().is_some_and(|name| is_at(base, name.as_str()));
    let shown =
        || book.host.contains(&protocol) || book.shown.get(&passage.bridge).is_some_and(|of| of.contains(&protocol));
    match (base.family, base.hook) {
        (family, "ingress") => at(&passage.near) && sees(family, protocol),
        (_, "egress") => at(&passage.far),
        ("bridge", _) => is_crossed(base),
        ("arp", "forward") => protocol == Protocol::Arp && book.host.contains(&protocol),
        // Questions for addresses are shown to family `arp` alone.
        _ => is_crossed(base) && protocol != Protocol::Arp && sees(base.family, protocol) && shown(),
    }
}

/// One frame of a protocol, the same of nobody in particular, and one of our own that crosses a bridge.
pub(super) struct Asked<'a> {
    book: &'a Book,
    passage: &'a Passage,
    strange: bool,
    protocol: Protocol,
    /// What each of the three may be marked with where it comes to a hook.
    marks: [[Marks; HOOKS]; 3],
}

impl<'a> Asked<'a> {
    pub(super) fn new(book: &'a Book, passage: &'a Passage, strange: bool, protocol: Protocol) -> Self {
        let mut asked = Asked { book, passage, strange, protocol, marks: Default::default() };
        let bases: Vec<(&Base, &Rules)> = book
            .chains()
            .filter(|(base, rules, _)| meets(book, base, passage, protocol) && may_mark(rules))
            .map(|(base, rules, _)| (base, rules))
            .collect();
        let hooks: Vec<usize> = bases.iter().map(|(base, _)| marked::hook(base)).collect();
        // What one chain marks, another one may drop, in a table of any family.
        asked.marks = std::array::from_fn(|which| {
            marked::at_hooks(&hooks, |number, bears| {
                let (base, rules) = bases[number];
                let frame = asked.frames(base)[which].clone().filter(|_| asked.goes_by(which, base));
                frame.map_or_else(
                    || bears.clone(),
                    |frame| marks(rules, &base.name, &Frame { marks: bears.clone(), ..frame }),
                )
            })
        });
        asked
    }

    /// What this frame may be marked with where it comes to a hook.
    pub(super) fn own_marks(&self, hook: usize) -> Marks {
        self.marks[0][hook].clone()
    }

    /// Whether one of the three comes by a chain that is at single interfaces.
    fn goes_by(&self, which: usize, base: &Base) -> bool {
        let at = |name: &IfName| is_at(base, name.as_str());
        let ours = || self.book.crossing.as_ref().is_some_and(|way| at(&way.near) || at(&way.far));
        base.devices.is_empty() || which == 0 || which == 2 && ours()
    }

    /// What a chain sees of each.
    fn frames(&self, base: &Base) -> [Option<Frame>; 3] {
        let Self { book, passage, strange, protocol, marks } = self;
        let [one, nobody, ours] = marks.each_ref().map(|at| &at[marked::hook(base)]);
        let of_nobody = |names, marks: &Marks| Frame {
            nobody: true,
            open: passage.open(),
            marks: marks.clone(),
            ..seen(base, *protocol, names)
        };
        let crossing = book.crossing.as_ref();
        [
            Some(Frame { strange: *strange, marks: one.clone(), ..passage.frame(base, *protocol) }),
            Some(of_nobody([None; 3], nobody)),
            crossing.map(|Crossing { bridge, near, far }| of_nobody([Some(bridge), Some(near), Some(far)], ours)),
        ]
    }

    /// What may drop this frame, and not that of anybody.
    fn named(&self, base: &Base, rules: &Rules) -> Vec<Drop> {
        let may = |frame: &Frame| all(rules, &base.name, base.drops, frame);
        let [one, nobody, ours] = self.frames(base);
        let found = one.as_ref().map(may).unwrap_or_default();
        if found.is_empty() || !base.devices.is_empty() {
            return found;
        }
        let (nobody, ours) = (nobody.as_ref().map(may).unwrap_or_default(), ours.as_ref().map(may));
        let alike =
            |drop: &Drop, others: &[Drop]| others.iter().any(|one| one.rule == drop.rule && one.sure <= drop.sure);
        let is_named = |drop: &Drop| match (&ours, drop.sure) {
            (Some(ours), Sure::Yes | Sure::Likely) => !alike(drop, ours),
            _ => !alike(drop, &nobody),
        };
        found.into_iter().filter(is_named).collect()
    }
}

/// True where all that the frame may be is dropped.
fn is_sure(found: &[Found<'_>], ipv6: Option<bool>) -> bool {
    let dead = |protocol| found.iter().any(|one| one.drop.sure == Sure::Yes && one.of.contains(&protocol));
    let (four, six) = (dead(Protocol::Ipv4) || dead(Protocol::Arp), dead(Protocol::Ipv6));
    match ipv6 {
        None => four && six,
        Some(ipv6) => {
            if ipv6 {
                six
            } else {
                four
            }
        }
    }
}

impl Found<'_> {
    /// What drops, in words.
    fn by(&self) -> String {
        self.older.map_or_else(|| words(self.base, &self.drop), |older| older.words(self.base, &self.drop))
    }

    /// The command that ends it.
    fn way_out(&self) -> String {
        let Base { family, table, .. } = self.base;
        match (self.older, &self.drop.rule) {
            (Some(older), _) => older.way_out(self.base, &self.drop),
            (None, Some((chain, handle))) => format!("nft delete rule {family} {table} {chain} handle {handle}"),
            (None, None) => way_out(self.base, &self.drop),
        }
    }

    fn told(self, surely: bool, protocols: usize) -> Doubt {
        let by = self.by();
        let Self { base, older, drop, of } = self;
        let sure = drop.sure == Sure::Yes;
        let handle = match (older, &drop.rule) {
            (None, Some((_, handle))) => format!(", handle {handle}"),
            _ => String::new(),
        };
        let show = match older {
            Some(older) => older.shows(base, &drop),
            None => {
                let chain = drop.rule.as_ref().map_or(&base.name, |(chain, _)| chain);
                format!("nft -a list chain {} {} {chain}", base.family, base.table)
            }
        };
        let what = match of.first() {
            Some(first) if of.len() < protocols && of.len() == 1 => format!("{first} of it"),
            _ => "it".to_owned(),
        };
        let fate = if sure { "is dropped" } else { "may be dropped" };
        Doubt { surely: surely && sure, text: format!("{what} {fate} by {by}{handle}: {show}"), by }
    }
}

/// Where a guest's frames go by on this node.
pub(super) fn port(
    slice: &Slice,
    presence: &Presence,
    (key, row): (&RowKey, &Row),
    path: Option<Path>,
) -> Option<IfName> {
    if row.node == slice.node {
        let seen = presence.of(&(key.net(), key.mac)).and_then(|here| here.interface.clone());
        return seen.or_else(|| row.interface.clone());
    }
    let udp_port = slice.networks.get(&key.net())?.udp_port;
    let of = |kind| Some(names::device(kind, key.vni, udp_port));
    match path? {
        Path::Plain => of(Device::Vxlan),
        Path::Tunnel => of(Device::Tap),
        Path::Forbidden => None,
    }
}

/// A frame between two rows as it crosses the bridge of this node. `to`: an address that was asked for.
pub fn passage(
    (slice, presence): (&Slice, &Presence),
    (from, to): (&RowKey, Option<&RowKey>),
    (path, ipv6, asked): (Option<Path>, Option<bool>, Option<IpAddr>),
) -> Option<Passage> {
    let row = |key: &RowKey| slice.rows.get(key);
    let udp_port = slice.networks.get(&from.net())?.udp_port;
    let sender = row(from)?;
    let target = to.and_then(|key| Some((key, row(key)?)));
    let addresses = |(key, row): (&RowKey, &Row)| {
        let own: Vec<IpAddr> = row.addresses().collect();
        let all = match asked {
            Some(asked) if own.contains(&asked) => vec![asked],
            // It goes on to somebody else.
            Some(asked) => [own, vec![asked]].concat(),
            None => own,
        };
        (key.mac, all)
    };
    Some(Passage {
        bridge: names::device(Device::Bridge, from.vni, udp_port),
        near: port(slice, presence, (from, sender), path),
        far: target.and_then(|target| port(slice, presence, target, path)),
        from: Some((from.mac, sender.addresses().collect())),
        to: target.map(addresses),
        ipv6,
        open: false,
    })
}

/// Adds what may drop a frame of an explanation on this node, and the answer to it.
pub fn add(explanation: &mut Explanation, others: Others<'_>, (slice, presence): (&Slice, &Presence), way: &Way<'_>) {
    let to = way.to.map(|(key, _)| key);
    let asked = explanation.to.parse().ok();
    let Some(forth) = passage((slice, presence), (way.from, to), (way.path, way.ipv6, asked)) else { return };
    let said = |what: &str, doubt: &Doubt| {
        explanation.steps.iter().any(|step| step.what == what && step.text.contains(&doubt.by))
    };
    let of = |what: &'static str, passage: &Passage| {
        let all = doubts(others, passage).into_iter();
        all.filter(move |doubt| !said(what, doubt)).take(NAMED).collect::<Vec<_>>()
    };
    let step = |doubt: Doubt| {
        if doubt.surely { Step::new("rules", false, doubt.text) } else { Step::open("rules", doubt.text) }
    };
    let back = |doubt: Doubt| Step::new("back", true, format!("the answer may not come back: {}", doubt.text));
    let steps: Vec<Step> = of("status", &forth).into_iter().map(step).collect();
    let answer = forth.back().map(|passage| of("back", &passage)).unwrap_or_default();
    let steps = [steps, answer.into_iter().map(back).collect()].concat();
    explanation.steps.extend(steps);
    concerns::settle(explanation);
}

/// True where something of this node may drop what comes from a peer, by a path of this kind, for a guest of this node: or, of a guest of the peer,
/// what it sends here.
pub fn doubted(others: Others<'_>, (slice, presence): (&Slice, &Presence), guest: &RowKey, path: Path) -> bool {
    let Some((row, network)) = slice.rows.get(guest).zip(slice.networks.get(&guest.net())) else { return false };
    let device = |kind| names::device(kind, guest.vni, network.udp_port);
    let near = match path {
        Path::Plain => device(Device::Vxlan),
        Path::Tunnel => device(Device::Tap),
        Path::Forbidden => return false,
    };
    let own = row.node == slice.node;
    let end = Some((guest.mac, row.addresses().collect()));
    let (from, to) = if own { (None, end) } else { (end, None) };
    let far = if own { port(slice, presence, (guest, row), None) } else { None };
    let ipv6 = concerns::family(row);
    let passage = Passage { bridge: device(Device::Bridge), near: Some(near), far, from, to, ipv6, open: true };
    !doubts(others, &passage).is_empty()
}

#[cfg(test)]
#[path = "doubts_tests.rs"]
pub(super) mod tests;

#[cfg(test)]
#[path = "doubts_usual_tests.rs"]
mod usual_tests;
