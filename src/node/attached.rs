//! What others have attached to interfaces that guests' frames go by, beside packet filters: queues and filters of `tc`. What surely takes every
//! frame is told, with the place and the command that takes it away. No I/O: what is attached goes in, findings come out.

use std::collections::{BTreeMap, BTreeSet};

use super::doubts::Queues;
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::probe::crossing::Protocol;
use crate::types::IfName;

/// Code of what is attached to an interface and takes what goes by.
pub const ATTACHED: &str = "M0695";
/// Findings that are told, at most; interfaces behind them are joined.
const NAMED: usize = 8;
/// No frame is shorter, bytes without the checksum (`ETH_ZLEN`, linux/if_ether.h).
const SHORTEST: u64 = 60;
/// The least that guests of a network with IPv6 must be able to send (1280, RFC 8200), with Ethernet's header.
const WHOLE: u64 = 1294;
/// A queue that sends less than that is no queue for guests, bytes per second: 64 kbit/s.
const SLOW: u64 = 8_000;
/// One that loses so much of what it gets: nine of ten.
const LOSES: u32 = u32::MAX / 10 * 9;
/// Queues that give each frame its turn, as far as their classes and inner queues do.
const USUAL: [&str; 27] = [
    "noqueue",
    "pfifo_fast",
    "mq",
    "mqprio",
    "multiq",
    "fq",
    "fq_codel",
    "fq_pie",
    "codel",
    "pie",
    "cake",
    "sfq",
    "sfb",
    "red",
    "gred",
    "choke",
    "hhf",
    "prio",
    "ets",
    "drr",
    "qfq",
    "htb",
    "hfsc",
    "cbs",
    "cbq",
    "skbprio",
    "dualpi2",
];
/// `ETH_P_ALL`, `ETH_P_IP`, `ETH_P_ARP`, `ETH_P_IPV6` (linux/if_ether.h).
pub(super) const ALL: u16 = 0x0003;
pub(super) const IPV4: u16 = 0x0800;
pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV6: u16 = 0x86dd;

/// What is attached to an interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attached {
    /// The queue of what goes out.
    pub queue: Option<Queue>,
    /// Queues inside of that, by the class that they are of.
    pub inner: Vec<(String, Queue)>,
    /// Classes of that which may send no more than so many bytes per second.
    pub classes: Vec<(String, u64)>,
    /// Filters of what comes in and of what goes out, each in the order in which the kernel asks them.
    pub filters: BTreeMap<Side, Vec<Filter>>,
    /// Of a bridge: what it shows to the packet filters of the host, by a switch of its own.
    pub shows: BTreeSet<Protocol>,
}

/// Where filters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// What comes from the interface.
    Ingress,
    /// What goes to it.
    Egress,
}

/// A queueing discipline at the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its kind, as `tc` writes it.
    pub kind: String,
    /// What it does with frames, as far as it is known here.
    pub does: Does,
}

/// What a queue does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    /// Keeps so many packets (`pfifo`), and drops what comes when it is full.
    Packets(u32),
    /// Keeps so many bytes (`bfifo`).
    Bytes(u32),
    /// Drops all (`blackhole`).
    Drops,
    /// Lets bytes pass per second, at once no more than a burst, and keeps a number of bytes that wait (`tbf`).
    Shapes {
        /// Bytes per second.
        rate: u64,
        /// Bytes.
        burst: u64,
        /// Bytes.
        limit: u32,
    },
    /// Loses frames by chance, of 2^32 - 1, and keeps so many packets (`netem`).
    Loses(u32, u32),
    /// Nothing that is known here.
    Other,
}

/// A filter of `tc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Its kind, as `tc` writes it.
    pub kind: String,
    /// Its preference.
    pub pref: u16,
    /// EtherType of the frames that it sees.
    pub protocol: u16,
    /// Every frame of these matches; false: that cannot be said.
    pub whole: bool,
    /// What it asks of a frame, in the words of `nft -j`.
    pub parts: Vec<serde_json::Value>,
    /// What becomes of a frame that matches.
    pub fate: Fate,
}

/// What a filter does with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is dropped.
    Dropped,
    /// It goes to another interface instead.
    Redirected(String),
    /// It passes, and no filter behind is asked.
    Passes,
    /// The next filter is asked.
    GoesOn,
    /// That cannot be read.
    Unread,
}

/// An interface of interest: how it is named in a finding, and what is cut off where nothing passes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    /// Such as `tap1 in bridge vb10.12b5`.
    pub words: String,
    /// What is cut off.
    pub cut: Cut,
    /// True of an interface towards peers: what takes all there is what is wrong with them all.
    pub line: bool,
}

impl At {
    /// A finding about it, where what it cuts off is known. What takes frames of one family alone may leave the others.
    fn found(&self, name: &IfName, finding: Finding, cut: Cut) -> Finding {
        let whole = self.line && cut.surely && cut.ipv6.is_none();
        finding.of_line(whole.then_some(name)).cuts(cut)
    }
}

/// What is wrong.
pub fn findings(places: &BTreeMap<IfName, At>, attached: &BTreeMap<IfName, Attached>) -> Vec<Finding> {
    let both = attached.iter().filter_map(|(name, attached)| Some((name, places.get(name)?, attached)));
    let told = both.flat_map(|(name, at, attached)| {
        let queue = attached.queue.as_ref().and_then(|queue| queue_told(name, at, queue));
        let filters = attached.filters.iter().flat_map(|(side, filters)| filters_told(name, at, *side, filters));
        queue.into_iter().chain(filters).collect::<Vec<_>>()
    });
    bounded(told.collect())
}

/// The first are named each; those behind are joined with one of the same kind of cut, so that no cut is lost.
pub fn bounded(mut findings: Vec<Finding>) -> Vec<Finding> {
    let rest = findings.split_off(NAMED.min(findings.len()));
    let mut kinds: Vec<(usize, Finding, Cut)> = Vec::new();
    for finding in rest {
        let cut = finding.cut.clone().unwrap_or_default();
        match kinds.iter_mut().find(|(_, first, known)| known.takes(&cut) && first.code == finding.code) {
            Some((count, _, known)) => {
                *count += 1;
                known.join(cut);
            }
            None => kinds.push((1, finding, cut)),
        }
    }
    let more = kinds.into_iter().map(|(count, first, cut)| {
        let what = match count {
            1 => first.what,
            _ => format!("{}; the same holds for {} more", first.what, count - 1),
        };
        Finding { what, ..first }.cuts(cut)
    });
    findings.extend(more);
    findings
}

/// Queues and classes that may take what goes to an interface, by whatever filters send frames to them, in words; and filters.
pub fn doubtful(attached: &BTreeMap<IfName, Attached>) -> Queues {
    let of = |name: &IfName, attached: &Attached| {
        let slow = attached.classes.iter().filter(|(_, rate)| *rate < SLOW).map(|(class, rate)| {
            let bits = rate.saturating_mul(8);
            format!("what goes to {name} may be dropped by class {class} of its queue ({bits} bit/s): tc -s class show dev {name}")
        });
        let inner = attached.inner.iter().filter_map(|(class, queue)| {
            let (_, why) = takes(queue)?;
            let kind = &queue.kind;
            Some(format!(
                "what goes to {name} may be dropped by the queue of its class {class} ({kind}, {why}): tc -s qdisc show dev {name}"
            ))
        });
        let root =
            attached.queue.iter().filter(|queue| queue.does == Does::Other && !USUAL.contains(&queue.kind.as_str()));
        let root = root.map(|queue| {
            format!(
                "what goes to {name} may be dropped by its queue ({}, not known here): tc -s qdisc show dev {name}",
                queue.kind
            )
        });
        root.chain(slow).chain(inner).collect::<Vec<_>>()
    };
    let slow = attached.iter().map(|(name, attached)| (name.clone(), of(name, attached)));
    let filters = attached.iter().flat_map(|(name, attached)| {
        let each = attached.filters.iter();
        each.map(|(side, filters)| ((name.clone(), *side), filters.clone()))
    });
    Queues { slow: slow.filter(|(_, told)| !told.is_empty()).collect(), filters: filters.collect() }
}

/// Whether a queue takes all, or much, of what it gets, and why.
fn takes(queue: &Queue) -> Option<(bool, String)> {
    Some(match queue.does {
        Does::Packets(0) | Does::Loses(_, 0) => (true, "limit 0 packets".to_owned()),
        Does::Bytes(limit) if u64::from(limit) < SHORTEST => (true, format!("limit {limit} bytes")),
        Does::Drops => (true, "it drops all".to_owned()),
        Does::Shapes { burst, .. } if burst < SHORTEST => {
            (true, format!("burst {burst} bytes, less than any frame has"))
        }
        Does::Shapes { limit, .. } if u64::from(limit) < SHORTEST => (true, format!("limit {limit} bytes")),
        // Less than one frame in a second.
        Does::Shapes { rate, .. } if rate < SHORTEST => (true, format!("rate {} bit/s", rate * 8)),
        Does::Shapes { rate, .. } if rate < SLOW => (false, format!("rate {} bit/s", rate * 8)),
        Does::Shapes { burst, limit, .. } if burst.min(u64::from(limit)) < WHOLE => {
            (false, format!("no frame of more than {} bytes passes", burst.min(u64::from(limit))))
        }
        Does::Bytes(limit) if u64::from(limit) < WHOLE => {
            (false, format!("no frame of more than {limit} bytes passes"))
        }
        Does::Loses(u32::MAX, _) => (true, "loss 100%".to_owned()),
        Does::Loses(loss, _) if loss >= LOSES => {
            (false, format!("loss {}%", u64::from(loss) * 100 / u64::from(u32::MAX)))
        }
        Does::Packets(_) | Does::Bytes(_) | Does::Shapes { .. } | Does::Loses(..) | Does::Other => return None,
    })
}

fn queue_told(name: &IfName, at: &At, queue: &Queue) -> Option<Finding> {
    let (kind, (surely, why)) = (&queue.kind, takes(queue)?);
    let much = if surely { "is" } else { "is in part or nearly all" };
    let what = format!("what goes to {} {much} dropped by its queue ({kind}, {why})", at.words);
    let help = format!("tc qdisc del dev {name} root; who made it: tc -s qdisc show dev {name}");
    let cut = Cut { surely: surely && at.cut.surely, ..at.cut.clone() }.at_interface(true);
    Some(at.found(name, Finding::new(ATTACHED, what, help), cut))
}

/// What filters of one side take away: of everything, else of IPv6 or of IPv4 with its questions.
fn filters_told(name: &IfName, at: &At, side: Side, filters: &[Filter]) -> Vec<Finding> {
    let takes = |protocol| match protocol {
        Some(Protocol::Ipv4) => taker(filters, IPV4),
        Some(Protocol::Arp) => taker(filters, ARP),
        Some(Protocol::Ipv6) => taker(filters, IPV6),
        // One that takes both takes all that guests send.
        None => taker(filters, IPV6).filter(|six| taker(filters, IPV4).or_else(|| taker(filters, ARP)) == Some(*six)),
    };
    let of = |(words, ipv6, filter): (&str, Option<bool>, &Filter)| {
        let cut = Cut { ipv6, ..at.cut.clone() }.at_interface(side == Side::Egress);
        at.found(name, filter_told(name, at, (side, words), filter), cut)
    };
    takers(takes).into_iter().map(of).collect()
}

/// What takes everything, else what takes all of a protocol: in words, whether it is IPv6 or IPv4 and its questions, and by what. A frame of
/// which the protocol is not known is asked about first.
pub(super) fn takers<T>(takes: impl Fn(Option<Protocol>) -> Option<T>) -> Vec<(&'static str, Option<bool>, T)> {
    if let Some(one) = takes(None) {
        return vec![("what", None, one)];
    }
    let of = |protocol, subject, ipv6| takes(Some(protocol)).map(|one| (subject, Some(ipv6), one));
    let four = of(Protocol::Ipv4, "IPv4 that", false).or_else(|| of(Protocol::Arp, "ARP that", false));
    four.into_iter().chain(of(Protocol::Ipv6, "IPv6 that", true)).collect()
}

/// The filter that takes every frame of a protocol, if it is certain that one does.
fn taker(filters: &[Filter], protocol: u16) -> Option<&Filter> {
    for filter in filters.iter().filter(|filter| filter.protocol == protocol || filter.protocol == ALL) {
        match &filter.fate {
            Fate::GoesOn => {}
            // Some frames may get off here.
            Fate::Passes | Fate::Unread => return None,
            Fate::Dropped | Fate::Redirected(_) if filter.whole => return Some(filter),
            Fate::Dropped | Fate::Redirected(_) => {}
        }
    }
    None
}

fn filter_told(name: &IfName, at: &At, (side, subject): (Side, &str), filter: &Filter) -> Finding {
    let Filter { kind, pref, fate, .. } = filter;
    let (way, place) = match side {
        Side::Ingress => ("comes from", "ingress"),
        Side::Egress => ("goes to", "egress"),
    };
    let fate = match fate {
        Fate::Redirected(to) => format!("goes to {to} instead"),
        Fate::Dropped | Fate::Passes | Fate::GoesOn | Fate::Unread => "is dropped".to_owned(),
    };
    let what = format!("{subject} {way} {} {fate}, by a filter of tc ({kind}, {place}, pref {pref})", at.words);
    let help = format!("tc filter del dev {name} {place} pref {pref}; who made it: tc filter show dev {name} {place}");
    Finding::new(ATTACHED, what, help)
}

#[cfg(test)]
#[path = "attached_tests.rs"]
mod tests;
