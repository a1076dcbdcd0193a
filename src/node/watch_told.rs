//! What the echoes of the plain path say, in words: the state of each pair, what is wrong and what to do. Equal causes are one finding,
//! and no text holds a number that changes while its cause stands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::api::cut::{Cut, Direction};
use crate::api::list::named;
use crate::api::local::{Finding, PlainState, PlainStatus};
use crate::policy::mtu::IPV6_LEAST;
use crate::policy::path::{Outer, Path};
use crate::probe::plain::Report;
use crate::table::Network;
use crate::types::{IfName, Mono, NetworkId, NodeId, UdpPort};

/// How long nothing may be answered before it is called a fault: some lost echoes are none.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long a peer may be silent in every way: a `meshd` that is started anew is.
const DEAD: Duration = Duration::from_secs(16);
/// How old news of a peer may be.
const FRESH: Duration = Duration::from_secs(15);
/// How long ago a peer was heard at most that is heard still: it asks every 5 s.
const LIVELY: Duration = Duration::from_secs(11);
/// Code of what is wrong with sessions beside plain paths.
pub(super) const SESSION: &str = "M0669";
/// Code of peers that do not answer over the plain path.
pub const SILENT: &str = "M0666";
/// Code of an interface of this node that carries nothing, or nothing any more.
pub const LINE: &str = "M0667";
/// How it begins where nothing at all is heard of them.
pub const UNHEARD: &str = "nothing is heard of";
/// In what is said of a peer that calls its own interface the fault.
pub const ITS_FAULT: &str = "there is the fault";
/// What was under way when the first lost echo left may still arrive.
const LATE: Duration = Duration::from_secs(1);
/// Peers of one finding that are named.
const NAMED: usize = 3;

/// How an interface that carries does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Down {
    /// It is switched off.
    Off,
    /// It is on, and nothing is at its other end.
    NoCarrier,
    /// It is a port of this bridge of others, which takes all that arrives (`br_handle_frame`, net/bridge/br_input.c), unless a filter of the
    /// bridge leaves it to the host (`brouting`): then peers are heard.
    InBridge(Box<str>),
}

impl Down {
    /// True where nothing passes in either direction. Into a bridge's port this host goes on sending, for as long as it knows where to.
    pub const fn is_whole(&self) -> bool {
        !matches!(self, Self::InBridge(_))
    }

    /// What ends it.
    pub fn help(&self, interface: &IfName) -> String {
        match self {
            Self::Off => format!("ip link set dev {interface} up; ip address show dev {interface}"),
            Self::NoCarrier => {
                format!("look at the cable and at the switch's port: ip link show dev {interface}; ethtool {interface}")
            }
            Self::InBridge(bridge) => format!(
                "ip link set dev {interface} nomaster; or give {bridge} the address of {interface}, and name {bridge} in [underlay] of \
                 meshd.toml, then: systemctl reload meshd"
            ),
        }
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("is down"),
            Self::NoCarrier => f.write_str("has no carrier (the cable, or what is at its other end)"),
            Self::InBridge(bridge) => write!(f, "is a port of the bridge {bridge}, which takes all that arrives"),
        }
    }
}

/// One pair, as far as this node knows it.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    /// The peer.
    pub node: &'a NodeId,
    /// UDP port of the overlay.
    pub udp_port: UdpPort,
    /// This node's end.
    pub own: IpAddr,
    /// The peer's VTEP.
    pub address: IpAddr,
    /// Which kind of address that is.
    pub outer: Outer,
    /// The interface that frames leave by.
    pub interface: &'a IfName,
    /// There is a session with the peer, or none is wanted.
    pub session: bool,
    /// Of the session only one direction is left: the peer is heard by it, and does not answer what it is asked.
    pub unheard: bool,
    /// The interface of its own that the peer says is down, by which plain frames from here would arrive, as management knows.
    pub theirs: Option<&'a IfName>,
    /// The peer is known to run `meshd`: management says so. In table files it may be any box that speaks VXLAN.
    pub speaks: bool,
    /// Networks whose guests' frames take this path and are larger than what passes; none where all of them pass.
    pub narrow: Vec<&'a Network>,
    /// What the echoes say; none: nothing yet.
    pub report: Option<Report>,
}

impl Seen<'_> {
    /// Where it stands.
    pub fn state(&self, now: Mono) -> PlainState {
        let Some(report) = &self.report else { return PlainState::Starting };
        match report.quiet {
            Some(_) if !self.speaks && report.heard.is_none() => PlainState::Starting,
            Some(since) if now.since(since) >= PATIENCE => {
                let state = lost(report, now.since(since), now);
                // It lives, and does not answer: it may be unable to look.
                if self.unheard && state == PlainState::Silent { PlainState::Quiet } else { state }
            }
            Some(_) if report.answered.is_none() => PlainState::Starting,
            None if report.answered.is_none() => PlainState::Starting,
            Some(_) | None if report.scattered => PlainState::Answers,
            Some(_) | None if !report.legs.is_empty() => PlainState::Legs,
            Some(_) | None if small(report, now) != (None, None) => PlainState::Small,
            Some(_) | None => PlainState::Answers,
        }
    }

    /// True where the peer says that its own watch is hit: that it hears nothing is no proof then, and neither is that nothing comes.
    pub fn is_doubted(&self, now: Mono) -> bool {
        let told = self.report.as_ref().and_then(|report| report.told);
        told.is_some_and(|told| told.hit && now.since(told.at) <= FRESH)
    }

    /// The largest packet of guests that passes in both directions, bytes, where they may send larger ones.
    pub fn passes(&self, now: Mono) -> Option<u16> {
        if self.state(now) != PlainState::Small {
            return None;
        }
        let (out, back) = small(self.report.as_ref()?, now);
        [out, back].into_iter().flatten().min()
    }

    /// For `status` and `tunnel list`.
    pub fn status(&self, now: Mono) -> PlainStatus {
        let report = self.report.as_ref();
        PlainStatus {
            udp_port: self.udp_port,
            state: self.state(now),
            answered_age: report.and_then(|report| report.answered).map(|at| now.since(at).as_secs()),
            rtt_micros: report
                .and_then(|report| report.rtt)
                .map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
            loss: report.and_then(|report| report.loss),
            bytes: report.map(|report| report.size).filter(|size| *size > 0),
        }
    }
}

/// Nothing is answered. What has arrived from the peer since, and what it has said since that it hears, tell which direction fails; what is
/// from before tells nothing: a peer whose daemon has died then said that all is well.
fn lost(report: &Report, quiet: Duration, now: Mono) -> PlainState {
    let since = now - quiet + LATE;
    let after = |at: Mono| at > since && now.since(at) <= FRESH;
    let here = report.heard.is_some_and(after);
    let lively = report.heard.is_some_and(|at| now.since(at) <= LIVELY);
    let told = report.told.map(|told| (told.at, told.heard));
    let said = report.theirs.map(|theirs| (theirs.at, theirs.heard));
    let newest = [told, said].into_iter().flatten().filter(|(at, _)| after(*at)).max_by_key(|(at, _)| *at);
    let there = newest.map(|(at, heard)| heard.is_some_and(|ago| ago <= FRESH && at - ago > since));
    match (here, there) {
        // That the peer is heard shows nothing by itself: the break may be over, and the next answer on its way.
        (true, Some(false) | None) if report.unanswered && lively => PlainState::OutLost,
        (true, _) => PlainState::Quiet,
        (false, Some(true)) => PlainState::InLost,
        (false, Some(false)) => PlainState::BothLost,
        (false, None) if quiet >= DEAD => PlainState::Silent,
        (false, None) => PlainState::Quiet,
    }
}

/// Sizes that do not pass and that guests may send, from here and from there.
fn small(report: &Report, now: Mono) -> (Option<u16>, Option<u16>) {
    let less = |size: u16| (size > 0 && size < report.needed).then_some(size);
    let out = less(report.size).filter(|_| report.exact);
    let theirs = report.theirs.filter(|theirs| now.since(theirs.at) <= FRESH);
    (out, theirs.and_then(|theirs| less(theirs.passes)))
}

/// What is wrong, worst first. `down` are interfaces of this host that are down.
pub fn findings(own: &NodeId, seen: &[Seen<'_>], down: &BTreeMap<IfName, Down>, now: Mono) -> Vec<Finding> {
    let mut by_interface: BTreeMap<&IfName, Vec<(&Seen<'_>, PlainState)>> = BTreeMap::new();
    for one in seen {
        by_interface.entry(one.interface).or_default().push((one, one.state(now)));
    }
    let mut findings = Vec::new();
    for (interface, pairs) in by_interface {
        let peers: BTreeSet<&NodeId> = pairs.iter().map(|(one, _)| one.node).collect();
        let heard = pairs.iter().any(|(_, state)| {
            matches!(state, PlainState::Answers | PlainState::Legs | PlainState::Small | PlainState::OutLost)
        });
        if let Some(how) = down.get(interface).filter(|how| how.is_whole() || !heard) {
            findings.push(shut(interface, how, &peers));
        } else if peers.len() > 1 && pairs.iter().all(|(_, state)| *state == PlainState::Silent) {
            findings.push(alone(interface, &peers));
        } else {
            findings.extend(of_interface(own, &pairs, now));
        }
    }
    findings
}

/// One finding for each way in which pairs of one interface and UDP port fail.
fn of_interface(own: &NodeId, pairs: &[(&Seen<'_>, PlainState)], now: Mono) -> Vec<Finding> {
    let mut by_cause: BTreeMap<Alike<'_>, Vec<&Seen<'_>>> = BTreeMap::new();
    for (one, state) in pairs {
        let causes = match state {
            PlainState::Small => sizes(one, now),
            PlainState::Answers if !one.session => vec![Cause::Session],
            PlainState::Answers if one.unheard => vec![Cause::Unheard],
            PlainState::Answers => {
                one.report.as_ref().and_then(|report| report.hole).map(Cause::Hole).into_iter().collect()
            }
            PlainState::Starting => Vec::new(),
            PlainState::BothLost
            | PlainState::OutLost
            | PlainState::InLost
            | PlainState::Silent
            | PlainState::Quiet
            | PlainState::Legs => {
                vec![Cause::State(*state)]
            }
        };
        let scattered = *state == PlainState::Answers && one.report.as_ref().is_some_and(|report| report.scattered);
        for cause in causes.into_iter().chain(scattered.then_some(Cause::Scattered)) {
            let doubted = cause.surely() && one.is_doubted(now);
            let theirs = one.theirs.filter(|_| cause.is_unheard());
            by_cause.entry((cause, one.udp_port, doubted, theirs)).or_default().push(one);
        }
    }
    let told = |((cause, port, doubted, theirs), pairs): (Alike<'_>, Vec<&Seen<'_>>)| {
        let (finding, cut) = (cause.finding(own, port, &pairs), cause.cut(&pairs));
        if theirs.is_some() {
            let surely = cause == Cause::State(PlainState::Silent);
            return of_theirs(own, port, &pairs, theirs).cuts(Cut { surely, ..cut });
        }
        if !doubted {
            return finding.cuts(cut);
        }
        let names = some(&pairs.iter().map(|one| one.node).collect());
        let what = format!(
            "{}; {names} says that its own host drops what it watches by (meshctl status there), and other frames may pass",
            finding.what
        );
        Finding { what, ..finding }.cuts(Cut { surely: false, ..cut })
    };
    by_cause.into_iter().map(told).collect()
}

/// The peers' own interface is down, so they say, and nothing else has to be looked for.
fn of_theirs(own: &NodeId, port: UdpPort, pairs: &[&Seen<'_>], line: Option<&IfName>) -> Finding {
    let names = some(&pairs.iter().map(|one| one.node).collect());
    let ends = pairs.first().map(|first| first.own.to_string()).unwrap_or_default();
    let what = format!(
        "{names} does not answer over the plain path ({ends} - {}, UDP port {port}): {}; nothing from {own} arrives there by it",
        some_addresses(pairs),
        theirs(&names, line)
    );
    let line = line.map(ToString::to_string).unwrap_or_default();
    Finding::new(SILENT, what, format!("on {names} first: ip link show dev {line}; meshctl status"))
}

/// What is known of one or more peers by their own word.
pub fn theirs(names: &str, line: Option<&IfName>) -> String {
    let line = line.map(ToString::to_string).unwrap_or_default();
    format!("interface {line} {ITS_FAULT} by the word of {names} ({LINE})")
}

fn sizes(one: &Seen<'_>, now: Mono) -> Vec<Cause> {
    let Some(report) = &one.report else { return Vec::new() };
    let (out, back) = small(report, now);
    let (needed, mends) = (report.needed, [out, back].into_iter().flatten().min().unwrap_or(report.needed));
    let cause = |(passes, out): (Option<u16>, bool)| Some(Cause::Small { passes: passes?, needed, mends, out });
    [(out, true), (back, false)].into_iter().filter_map(cause).collect()
}

/// What pairs of one finding have in common.
type Alike<'a> = (Cause, UdpPort, bool, Option<&'a IfName>);

/// Pairs with the same of it are one finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    State(PlainState),
    Small {
        passes: u16,
        needed: u16,
        /// What passes in both directions.
        mends: u16,
        out: bool,
    },
    /// A size that is lost while smaller and larger ones pass.
    Hole(u16),
    /// Many are lost, of whichever flow.
    Scattered,
    Session,
    Unheard,
}

impl Cause {
    /// What it keeps from arriving. Who is silent may still carry, and of several flows some arrive.
    fn cut(self, pairs: &[&Seen<'_>]) -> Cut {
        let peers = pairs.iter().map(|one| one.node);
        match self {
            Self::State(_) | Self::Small { .. } | Self::Hole(_) | Self::Scattered => {
                Cut { direction: self.direction(), ..Cut::peers(self.surely(), Path::Plain, peers) }
            }
            Self::Session | Self::Unheard => Cut::default(),
        }
    }

    /// Nothing is answered, and it is not known which direction fails.
    const fn is_unheard(self) -> bool {
        matches!(self, Self::State(PlainState::Silent | PlainState::Quiet))
    }

    /// It is told as sure.
    const fn surely(self) -> bool {
        matches!(self, Self::State(PlainState::BothLost | PlainState::OutLost | PlainState::InLost))
    }

    /// Which way frames are lost; none: both, or that is not known.
    const fn direction(self) -> Option<Direction> {
        match self {
            Self::State(PlainState::OutLost) | Self::Small { out: true, .. } | Self::Hole(_) => {
                Some(Direction::FromGuests)
            }
            Self::State(PlainState::InLost) | Self::Small { out: false, .. } => Some(Direction::ToGuests),
            Self::State(_) | Self::Scattered | Self::Session | Self::Unheard => None,
        }
    }

    fn finding(self, own: &NodeId, port: UdpPort, pairs: &[&Seen<'_>]) -> Finding {
        let Some(first) = pairs.first() else { unreachable!("a cause has a pair") };
        let names = some(&pairs.iter().map(|one| one.node).collect());
        let ends = format!("{} - {}, UDP port {port}", first.own, some_addresses(pairs));
        let (own_address, interface) = (first.own, first.interface);
        let peer = first.node;
        let rules = suspects(first);
        match self {
            Self::State(PlainState::OutLost) => Finding::new(
                "M0663",
                format!(
                    "plain frames from {own} to {names} do not arrive there ({ends}); frames from there arrive here"
                ),
                format!(
                    "meshctl status on {peer} (names its FORWARD rules); what drops UDP port {port} from {own_address}, there, here or in between: {rules}"
                ),
            ),
            Self::State(PlainState::InLost) => Finding::new(
                "M0663",
                format!(
                    "plain frames from {names} to {own} do not arrive here ({ends}); frames from here arrive there"
                ),
                format!(
                    "meshctl status on {peer} (names its FORWARD rules); what drops UDP port {port} to {own_address}, here, there or in between: {rules}"
                ),
            ),
            Self::State(PlainState::BothLost) => Finding::new(
                "M0663",
                format!(
                    "plain frames between {own} and {names} arrive in neither direction ({ends}), while the session there answers"
                ),
                format!(
                    "meshctl status on {peer} (names its FORWARD rules); what drops UDP port {port}, here, there or in between: {rules}"
                ),
            ),
            Self::State(PlainState::Legs) => Finding::new(
                "M0665",
                format!("of the plain frames between {own} and {names} ({ends}) some flows are lost and others arrive"),
                "one of several ways between the two is dead: look at bonds (cat /proc/net/bonding/*) and at equal-cost routes of switches",
            ),
            Self::State(PlainState::Quiet) => Finding::new(
                SILENT,
                format!(
                    "{names} does not answer over the plain path ({ends}): nobody knows yet what fails; guests' frames may pass all the same"
                ),
                format!("meshctl status again in some seconds; on {peer}: systemctl status meshd"),
            ),
            Self::State(_) => Finding::new(
                SILENT,
                format!(
                    "{UNHEARD} {names}, neither over the plain path nor by the session ({ends}): meshd there, the machine or the line; \
                     if it is meshd alone, guests' frames still pass"
                ),
                format!("ping -c 3 -I {interface} {}; on {peer}: systemctl status meshd", first.address),
            ),
            Self::Small { passes, needed, mends, out } => {
                let (from, to) = if out { (own.to_string(), names.clone()) } else { (names.clone(), own.to_string()) };
                Finding::new(
                    "M0664",
                    format!(
                        "plain frames from {from} to {to} with packets of more than {passes} bytes are lost ({ends}); guests may send {needed}"
                    ),
                    smaller_guests(pairs, mends),
                )
            }
            Self::Hole(size) => Finding::new(
                "M0721",
                format!(
                    "plain frames from {own} to {names} with packets of about {size} bytes are lost ({ends}), while smaller and larger ones pass"
                ),
                format!("look for a rule on lengths for UDP port {port}, here and on {peer}: {rules}"),
            ),
            Self::Scattered => Finding::new(
                "M0722",
                format!(
                    "of the plain frames between {own} and {names} many are lost at random ({ends}), by whichever flow"
                ),
                format!(
                    "how many: meshctl tunnel list; a line that is full or faulty: ip -s -s link show {interface}, here and on {peer}, and what is \
                     between them: ping -c 50 -i 0.2 -I {interface} {}; rules that drop some, here and there: {rules}",
                    first.address
                ),
            ),
            Self::Unheard => Finding::new(
                SESSION,
                format!(
                    "of the session with {names} only what comes from there arrives ({own_address} - {}): what is sent from here is lost; \
                     guests' frames take the plain path, which answers",
                    some_addresses(pairs)
                ),
                format!(
                    "here: ip route get {}; on {peer}, let the UDP port of the tunnels (`listen` in meshd.toml) pass: nft list tables | grep -v vxmesh; iptables-legacy-save",
                    first.address
                ),
            ),
            Self::Session => Finding::new(
                SESSION,
                format!(
                    "the session with {names} is down ({own_address} - {}); guests' frames take the plain path, which answers",
                    some_addresses(pairs)
                ),
                format!(
                    "on {peer}: meshctl status, which says so where its WireGuard key is not its own; then let the UDP port of the tunnels \
                     (`listen` in meshd.toml) pass between the two: ss -lunp; nft list tables | grep -v vxmesh; iptables-legacy-save"
                ),
            ),
        }
    }
}

/// How guests come to send no more than passes in both directions. A network with IPv6 takes no number below its least.
fn smaller_guests(pairs: &[&Seen<'_>], mends: u16) -> String {
    let by_name: BTreeMap<&NetworkId, &Network> =
        pairs.iter().flat_map(|one| &one.narrow).map(|network| (&network.name, *network)).collect();
    let (bound, free): (Vec<&Network>, Vec<&Network>) =
        by_name.into_values().partition(|network| mends < IPV6_LEAST && network.has_ipv6());
    let mut help = "raise the MTU of the switches between the two".to_owned();
    if !free.is_empty() {
        let set = |network: &&Network| format!("meshctl network set {} --mtu {mends}", network.name);
        let all: Vec<String> = free.iter().take(NAMED).map(set).collect();
        help.push_str(&format!(", or lower what guests may send: {}", all.join("; ")));
        if free.len() > NAMED {
            help.push_str(&format!("; and {} networks more: meshctl network list", free.len() - NAMED));
        }
    }
    if !bound.is_empty() {
        let names: BTreeSet<&NetworkId> = bound.iter().map(|network| &network.name).collect();
        help.push_str(&format!(
            "; {} with IPv6 cannot have less than {IPV6_LEAST}: the line has to carry it",
            named(&names, NAMED)
        ));
    }
    help
}

/// What drops plain frames, where it can be looked for on this node, after `meshctl status` of both: behind a bridge M0685 says what drops.
/// What is longer than 400 characters is cut at management.
fn suspects(first: &Seen<'_>) -> String {
    let Seen { own, address, interface, .. } = first;
    // Tables vxmesh and vxmesh_guests are ours, and drop no echo.
    let rules = format!(
        "nft -a list ruleset (vxmesh's own: in_ttl, in_unknown in status); iptables-legacy-save; sysctl net.ipv4.conf.{interface}.rp_filter; \
         ip xfrm policy; ip route get {address}; ip neigh show {address}"
    );
    // For neighbour solicitations no such tool is at hand.
    if address.is_ipv6() {
        return rules;
    }
    format!(
        "{rules}; two hosts of one address: arping -D -c 2 -I {interface} {own}, arping -b -c 3 -I {interface} {address}"
    )
}

fn shut(interface: &IfName, how: &Down, peers: &BTreeSet<&NodeId>) -> Finding {
    let (verb, direction) = match how.is_whole() {
        true => ("reaches", None),
        false => ("arrives of", Some(Direction::ToGuests)),
    };
    let what = format!("interface {interface} {how}: nothing {verb} {} by the plain path", some(peers));
    let cut = Cut { direction, ..Cut::peers(true, Path::Plain, peers.iter().copied()) };
    Finding::new(LINE, what, how.help(interface)).cuts(cut).of_line(Some(interface))
}

fn alone(interface: &IfName, peers: &BTreeSet<&NodeId>) -> Finding {
    let what = format!(
        "nothing arrives by {interface} from any of {} peers ({}), neither over the plain path nor by sessions: it is this node's own line",
        peers.len(),
        some(peers)
    );
    let help = format!(
        "ip -s link show dev {interface}; ip address show dev {interface}; nft list tables | grep -v vxmesh; iptables-legacy-save"
    );
    // All the others may be dead at once, too.
    let cut = Cut::peers(false, Path::Plain, peers.iter().copied());
    Finding::new(LINE, what, help).cuts(cut).of_line(Some(interface))
}

/// The peers that a node says it loses large frames to or from, by the plain path.
pub fn narrow(findings: &[Finding]) -> BTreeSet<NodeId> {
    let cuts = findings.iter().filter(|finding| finding.code == "M0664").filter_map(|finding| finding.cut.as_ref());
    cuts.flat_map(|cut| cut.peers.iter().cloned()).collect()
}

/// Plain paths are not watched, and why.
pub fn unwatched(which: &str, why: &str, help: &str) -> Finding {
    // That a path is not watched is said where a frame would take it.
    Finding::new("M0668", format!("{which} are not watched: {why}"), help).harmless()
}

fn some(names: &BTreeSet<&NodeId>) -> String {
    named(names, NAMED)
}

fn some_addresses(pairs: &[&Seen<'_>]) -> String {
    let first = pairs.first().map(|one| one.address.to_string()).unwrap_or_default();
    if pairs.len() > 1 { format!("{first} and others") } else { first }
}

#[cfg(test)]
#[path = "watch_told_tests.rs"]
mod tests;
