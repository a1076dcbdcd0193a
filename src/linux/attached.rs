//! Queues and filters of `tc` at interfaces, whoever has made them (linux/rtnetlink.h, linux/pkt_sched.h, linux/pkt_cls.h).

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel has more attributes than we look at")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoBridge, InfoData, InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::tc::{TcHandle, TcHeader, TcMessage};

use super::attributes::{attribute, text};
use super::error::KernelError;
use super::kernel::Kernel;
use super::netlink::{HEADER, Netlink, word};
use super::request;
use super::tc_filters::{self, Step};
use crate::node::attached::{Attached, Does, Queue, Side};
use crate::probe::crossing::Protocol;
use crate::types::IfName;

/// `struct tcmsg`, behind the header.
pub(super) const MESSAGE: usize = HEADER + 20;
/// `TCA_KIND`, `TCA_OPTIONS`.
pub(super) const KIND: u16 = 1;
pub(super) const OPTIONS: u16 = 2;
/// `TC_H_ROOT`; `TC_H_INGRESS`, which is the parent of `clsact` as well; where filters of its two sides are.
const ROOT: u32 = 0xffff_ffff;
const INGRESS: u32 = 0xffff_fff1;
const SIDES: [(Side, u32); 2] = [(Side::Ingress, 0xffff_fff2), (Side::Egress, 0xffff_fff3)];
/// `TCA_TBF_PARMS`, `TCA_TBF_RATE64`, `TCA_TBF_BURST`.
const TBF_PARMS: u16 = 1;
const TBF_RATE64: u16 = 4;
const TBF_BURST: u16 = 6;
/// `TCA_HTB_PARMS`, `TCA_HTB_CEIL64`; `TCA_HFSC_*`.
const HTB_PARMS: u16 = 1;
const HTB_CEIL64: u16 = 7;
const HFSC_RSC: u16 = 1;
const HFSC_FSC: u16 = 2;
const HFSC_USC: u16 = 3;
/// Queues whose classes have rates.
const CLASSFUL: [&str; 2] = ["htb", "hfsc"];
/// A tick of the scheduler's clock, ns (`PSCHED_SHIFT`, net/pkt_sched.h).
const TICK_SHIFT: u32 = 6;
/// Filters of one place that are kept, at most.
const MOST: usize = 256;

impl Kernel {
    /// What is attached to interfaces, beside packet filters. What has nothing is left out.
    ///
    /// # Errors
    /// The kernel cannot be read.
    pub fn attached(&mut self, of: &BTreeSet<IfName>) -> Result<BTreeMap<IfName, Attached>, KernelError> {
        if of.is_empty() {
            return Ok(BTreeMap::new());
        }
        let netlink = self.netlink();
        let read = links(netlink, of).and_then(|(names, shown)| read(netlink, &names, shown));
        read.map_err(KernelError::socket("reading queues and filters of tc"))
    }
}

/// Names of interfaces by index, of those that are there, and what bridges among them show.
fn links(
    netlink: &mut Netlink,
    of: &BTreeSet<IfName>,
) -> io::Result<(BTreeMap<u32, IfName>, BTreeMap<IfName, Attached>)> {
    let questions: Vec<RouteNetlinkMessage> = of.iter().map(|name| request::find(name.as_str()).0).collect();
    let (mut names, mut shown) = (BTreeMap::new(), BTreeMap::new());
    for (answer, name) in netlink.ask(&questions)?.into_iter().zip(of) {
        let Some(RouteNetlinkMessage::NewLink(link)) = answer else { continue };
        names.insert(link.header.index, name.clone());
        let shows = shows(&link);
        if !shows.is_empty() {
            shown.insert(name.clone(), Attached { shows, ..Attached::default() });
        }
    }
    Ok((names, shown))
}

/// What a bridge shows to the packet filters of the host by its own switches.
fn shows(link: &LinkMessage) -> BTreeSet<Protocol> {
    let infos = link.attributes.iter().filter_map(|one| match one {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let data = infos.flatten().filter_map(|info| match info {
        LinkInfo::Data(InfoData::Bridge(data)) => Some(data),
        _ => None,
    });
    data.flatten()
        .filter_map(|one| match one {
            InfoBridge::NfCallIpTables(true) => Some(Protocol::Ipv4),
            InfoBridge::NfCallIp6Tables(true) => Some(Protocol::Ipv6),
            _ => None,
        })
        .collect()
}

fn read(
    netlink: &mut Netlink,
    names: &BTreeMap<u32, IfName>,
    mut all: BTreeMap<IfName, Attached>,
) -> io::Result<BTreeMap<IfName, Attached>> {
    let mut filtered = BTreeMap::new();
    let request = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    let dumped = netlink.dump_each(request, |raw| {
        let index = word(raw, HEADER + 4).unwrap_or_default();
        let (Some(name), Some(parent)) = (names.get(&index), word(raw, HEADER + 12)) else {
            return Ok(ControlFlow::Continue(()));
        };
        match parent {
            ROOT => {
                all.entry(name.clone()).or_default().queue = queue(raw);
            }
            INGRESS => {
                let kind = raw.get(MESSAGE..).and_then(|attributes| attribute(attributes, KIND)).map(text);
                filtered.insert(index, kind.as_deref() == Some("clsact"));
            }
            // Of a class, or of a place of one that has many, as cards do.
            _ => {
                let inner = queue(raw).map(|queue| (handle(parent), queue));
                all.entry(name.clone()).or_default().inner.extend(inner.filter(|(_, queue)| queue.does != Does::Other));
            }
        }
        Ok(ControlFlow::Continue(()))
    });
    match dumped {
        // A kernel without `tc` has nothing of it.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(all),
        dumped => drop(dumped?),
    }
    for (index, name) in names {
        let Some(attached) = all.get_mut(name) else { continue };
        if attached.queue.as_ref().is_some_and(|queue| CLASSFUL.contains(&queue.kind.as_str())) {
            attached.classes = classes(netlink, *index)?;
        }
    }
    for (index, both) in filtered {
        let Some(name) = names.get(&index) else { continue };
        // One that has no way out tells its filters of the way in for any question (`ingress_tcf_block`, net/sched/sch_ingress.c).
        for (side, parent) in SIDES.into_iter().filter(|(side, _)| both || *side == Side::Ingress) {
            let steps = filters(netlink, index, parent)?;
            let targets = targets(netlink, &steps)?;
            let known = steps.into_iter().map(|step| step.known(|to| targets.get(&to).cloned().flatten())).collect();
            all.entry(name.clone()).or_default().filters.insert(side, known);
        }
    }
    Ok(all)
}

/// A handle as `tc` writes it.
fn handle(handle: u32) -> String {
    format!("{:x}:{:x}", handle >> 16, handle & 0xffff)
}

/// Classes of an interface that have a rate, with what they may send at most.
fn classes(netlink: &mut Netlink, index: u32) -> io::Result<Vec<(String, u64)>> {
    let mut classes = Vec::new();
    let header = TcHeader { index: index.cast_signed(), ..TcHeader::default() };
    let request = RouteNetlinkMessage::GetTrafficClass(TcMessage::from_parts(header, Vec::new()));
    let dumped = netlink.dump_each(request, |raw| {
        let class = word(raw, HEADER + 8).map(handle).zip(rate(raw));
        classes.extend(class.filter(|_| classes.len() < MOST));
        Ok(ControlFlow::Continue(()))
    });
    match dumped {
        // It went meanwhile.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EINVAL | libc::ENOENT)) => {}
        dumped => drop(dumped?),
    }
    Ok(classes)
}

/// The most that a class sends, bytes per second.
fn rate(raw: &[u8]) -> Option<u64> {
    let attributes = raw.get(MESSAGE..)?;
    let options = attribute(attributes, OPTIONS)?;
    match text(attribute(attributes, KIND)?).as_str() {
        // struct tc_htb_opt: twelve bytes of the rate, then those of what it may borrow up to.
        "htb" => attribute(options, HTB_CEIL64)
            .and_then(long)
            .or_else(|| word(attribute(options, HTB_PARMS)?, 20).map(u64::from)),
        // struct tc_service_curve: at first, for how long, then.
        "hfsc" => {
            let then = |kind| word(attribute(options, kind)?, 8).map(u64::from);
            let most = [HFSC_RSC, HFSC_FSC].into_iter().filter_map(then).max();
            most.map(|most| then(HFSC_USC).unwrap_or(u64::MAX).min(most))
        }
        _ => None,
    }
}

/// Filters at one place, in the kernel's order.
fn filters(netlink: &mut Netlink, index: u32, parent: u32) -> io::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let header = TcHeader { index: index.cast_signed(), parent: TcHandle::from(parent), ..TcHeader::default() };
    let request = RouteNetlinkMessage::GetTrafficFilter(TcMessage::from_parts(header, Vec::new()));
    let dumped = netlink.dump_each(request, |raw| {
        steps.extend(tc_filters::read(raw).filter(|_| steps.len() < MOST));
        Ok(ControlFlow::Continue(()))
    });
    match dumped {
        // It went meanwhile.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EINVAL | libc::ENOENT)) => {}
        dumped => drop(dumped?),
    }
    Ok(steps)
}

/// Names of interfaces that frames are sent to instead; none for an `ifb`, which gives them back.
fn targets(netlink: &mut Netlink, steps: &[Step]) -> io::Result<BTreeMap<u32, Option<String>>> {
    let all: BTreeSet<u32> = steps.iter().filter_map(|step| step.to).collect();
    let question = |index: &u32| {
        let mut link = LinkMessage::default();
        link.header.index = *index;
        RouteNetlinkMessage::GetLink(link)
    };
    let questions: Vec<RouteNetlinkMessage> = all.iter().map(question).collect();
    let answers = netlink.ask(&questions)?;
    Ok(all.into_iter().zip(answers.into_iter().map(|answer| target(answer.as_ref()))).collect())
}

fn target(answer: Option<&RouteNetlinkMessage>) -> Option<String> {
    let Some(RouteNetlinkMessage::NewLink(link)) = answer else { return Some("an interface that is gone".to_owned()) };
    let returns = link.attributes.iter().any(|one| match one {
        LinkAttribute::LinkInfo(infos) => infos.contains(&LinkInfo::Kind(InfoKind::Ifb)),
        _ => false,
    });
    let name = link.attributes.iter().find_map(|one| match one {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    });
    name.filter(|_| !returns)
}

/// The queue that a message is about.
fn queue(raw: &[u8]) -> Option<Queue> {
    let attributes = raw.get(MESSAGE..)?;
    let kind = text(attribute(attributes, KIND)?);
    let options = attribute(attributes, OPTIONS).unwrap_or_default();
    let first = word(options, 0);
    let does = match kind.as_str() {
        // struct tc_fifo_qopt
        "pfifo" | "pfifo_head_drop" => first.map(Does::Packets),
        "bfifo" => first.map(Does::Bytes),
        "blackhole" => Some(Does::Drops),
        "tbf" => tbf(options),
        // struct tc_netem_qopt: latency, limit, loss
        "netem" => word(options, 8).zip(word(options, 4)).map(|(loss, limit)| Does::Loses(loss, limit)),
        _ => None,
    };
    Some(Queue { kind, does: does.unwrap_or(Does::Other) })
}

/// struct tc_tbf_qopt: twelve bytes of the rate, twelve of the peak rate, limit, buffer in ticks, mtu.
fn tbf(options: &[u8]) -> Option<Does> {
    let parms = attribute(options, TBF_PARMS)?;
    let rate = attribute(options, TBF_RATE64).and_then(long).or_else(|| word(parms, 8).map(u64::from))?;
    let ticks = u64::from(word(parms, 28)?);
    let told = attribute(options, TBF_BURST).and_then(|burst| word(burst, 0)).map(u64::from);
    // What the clock cannot express is rounded down: never less than it was told.
    let burst = (u128::from(rate) * u128::from(ticks << TICK_SHIFT)).div_ceil(1_000_000_000);
    let burst = told.unwrap_or_else(|| u64::try_from(burst).unwrap_or(u64::MAX));
    Some(Does::Shapes { rate, burst, limit: word(parms, 24)? })
}

fn long(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.first_chunk()?))
}
