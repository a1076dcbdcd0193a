//! What a filter of `tc` does with frames, as far as its attributes say it (linux/pkt_cls.h, linux/tc_act/).

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

use super::attached::{KIND, MESSAGE, OPTIONS};
use super::attributes::{attribute, each, text};
use super::netlink::{HEADER, half, word};
use crate::node::attached::{Fate, Filter};
use crate::node::older::{compare, payload, unknown};
use crate::types::Mac;

/// `TCA_CHAIN`: filters of others than the first are asked only where an action says so.
const CHAIN: u16 = 11;
/// `TCA_U32_*`.
const U32_HASH: u16 = 2;
const U32_LINK: u16 = 3;
const U32_DIVISOR: u16 = 4;
const U32_SELECTOR: u16 = 5;
const U32_POLICE: u16 = 6;
const U32_ACTIONS: u16 = 7;
const U32_INDEV: u16 = 8;
const U32_MARK: u16 = 10;
/// Tables that the kernel has made itself begin here (net/sched/cls_u32.c).
const U32_OWN: u32 = 0x800;
/// `struct tc_u32_sel` and `struct tc_u32_key`.
const SELECTOR: usize = 16;
const KEY: usize = 16;
/// Bytes of an Ethernet header (`ETH_HLEN`).
const ETHERNET: i32 = 14;
/// `TCA_BPF_*`.
const BPF_ACTIONS: u16 = 1;
const BPF_OPS: u16 = 5;
const BPF_FLAGS: u16 = 8;
const BPF_DIRECT: u32 = 1;
/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;
/// `TCA_MATCHALL_ACT`, `TCA_FLOWER_ACT`; what a flower has that looks at no more of a frame than its EtherType.
const MATCHALL_ACTIONS: u16 = 2;
const FLOWER_ACTIONS: u16 = 3;
const FLOWER_ANY: [u16; 4] = [1, FLOWER_ACTIONS, 8, FLOWER_FLAGS];
const MATCHALL_FLAGS: u16 = 3;
const FLOWER_FLAGS: u16 = 22;
/// `TCA_CLS_FLAGS_SKIP_SW`: the card alone does it.
const SKIP_SOFTWARE: u32 = 2;
/// `TCA_*_PARMS` of the actions that are read here, and `TCA_GACT_PROB`.
const PARMS: u16 = 2;
const GACT_PROB: u16 = 3;

/// A filter; whereto it sends frames is not looked up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    filter: Filter,
    /// Index of the interface that frames go to instead.
    pub(super) to: Option<u32>,
}

impl Step {
    /// With the name of the interface that frames go to; `target` has none for one that gives them back.
    pub(super) fn known(self, target: impl Fn(u32) -> Option<String>) -> Filter {
        let fate = match self.to {
            None => self.filter.fate,
            Some(index) => target(index).map_or(Fate::Unread, Fate::Redirected),
        };
        Filter { fate, ..self.filter }
    }
}

/// What becomes of what matches.
enum Does {
    Is(Fate),
    Redirects(u32),
}

/// The filter that a message is about; none for what is only its frame: a table, a preference without filters, another chain.
pub(super) fn read(raw: &[u8]) -> Option<Step> {
    let attributes = raw.get(MESSAGE..)?;
    let kind = text(attribute(attributes, KIND)?);
    let options = attribute(attributes, OPTIONS)?;
    if attribute(attributes, CHAIN).and_then(|chain| word(chain, 0)).is_some_and(|chain| chain != 0) {
        return None;
    }
    // The EtherType in network byte order, the preference above it.
    let (protocol, info) = (half(raw, HEADER + 16)?, word(raw, HEADER + 16)?);
    let protocol = if cfg!(target_endian = "little") { u16::from_be(protocol) } else { half(raw, HEADER + 18)? };
    let pref = u16::try_from(info >> 16).unwrap_or_default();
    let (whole, does) = match kind.as_str() {
        "u32" => u32(options)?,
        "bpf" => bpf(options),
        "matchall" => (software(options, MATCHALL_FLAGS), actions(attribute(options, MATCHALL_ACTIONS))),
        "flower" => {
            let any = each(options).all(|(of, _)| FLOWER_ANY.contains(&of));
            (any && software(options, FLOWER_FLAGS), actions(attribute(options, FLOWER_ACTIONS)))
        }
        _ => (false, Does::Is(Fate::Unread)),
    };
    let parts = if whole { Vec::new() } else { asked(&kind, options) };
    let (fate, to) = match does {
        Does::Is(fate) => (fate, None),
        Does::Redirects(index) => (Fate::Unread, Some(index)),
    };
    Some(Step { filter: Filter { kind, pref, protocol, whole, parts, fate }, to })
}

/// What a filter asks of a frame, in the words of `nft -j`; what is not read may be about anybody.
fn asked(kind: &str, options: &[u8]) -> Vec<Value> {
    match kind {
        "matchall" => Vec::new(),
        "u32" => keys(options).unwrap_or_else(|| vec![unknown(kind)]),
        "flower" => each(options).filter_map(|(of, value)| flower(options, of, value)).collect(),
        _ => vec![unknown(kind)],
    }
}

/// `struct tc_u32_key`: mask, value, where behind the beginning of the header of IP, and whether that is to be read from the frame.
fn keys(options: &[u8]) -> Option<Vec<Value>> {
    let selector = attribute(options, U32_SELECTOR)?;
    let narrow = [U32_LINK, U32_INDEV, U32_MARK].iter().any(|of| attribute(options, *of).is_some());
    let mut parts: Vec<Value> = narrow.then(|| unknown("u32")).into_iter().collect();
    for key in 0..usize::from(*selector.get(2)?) {
        let of = |at: usize| <[u8; 4]>::try_from(selector.get(SELECTOR + key * KEY + at..)?.get(..4)?).ok();
        let (mask, value) = (u32::from_be_bytes(of(0)?), u32::from_be_bytes(of(4)?));
        let (at, moved) = (i32::from_ne_bytes(of(8)?), i32::from_ne_bytes(of(12)?));
        if mask == 0 {
            continue;
        }
        let (before, behind) = (mask.leading_zeros(), mask.trailing_zeros());
        // The header of Ethernet lies before that of IP.
        let (base, at) = if at < 0 { ("ll", at + ETHERNET) } else { ("nh", at) };
        let Some(offset) = u32::try_from(at).ok().filter(|_| moved == 0) else {
            parts.push(unknown("u32"));
            continue;
        };
        let field = json!({"payload": {"base": base, "offset": offset * 8 + before, "len": 32 - before - behind}});
        let (mask, value) = (mask >> behind, value >> behind);
        let whole = mask.count_ones() == 32 - before - behind;
        let left = if whole { field } else { json!({"&": [field, mask]}) };
        parts.push(compare("==", left, json!(value)));
    }
    Some(parts)
}

/// What one attribute of a flower asks (`TCA_FLOWER_KEY_*`).
fn flower(options: &[u8], of: u16, value: &[u8]) -> Option<Value> {
    const MASKS: [u16; 10] = [5, 7, 11, 13, 15, 17, 35, 36, 37, 38];
    // The protocol above IP, and its ports.
    const CONTENT: [u16; 5] = [9, 18, 19, 20, 21];
    if FLOWER_ANY.contains(&of) || MASKS.contains(&of) {
        return None;
    }
    let whole = || attribute(options, of + 1).is_none_or(|mask| mask.iter().all(|byte| *byte == u8::MAX));
    let mac = |bytes: &[u8]| Some(json!(Mac(bytes.try_into().ok()?).to_string()));
    let four = |bytes: &[u8]| Some(json!(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string()));
    let six = |bytes: &[u8]| Some(json!(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()));
    let (field, right) = match of {
        4 => (payload("ether", "daddr"), mac(value)),
        6 => (payload("ether", "saddr"), mac(value)),
        10 => (payload("ip", "saddr"), four(value)),
        12 => (payload("ip", "daddr"), four(value)),
        14 => (payload("ip6", "saddr"), six(value)),
        16 => (payload("ip6", "daddr"), six(value)),
        of if CONTENT.contains(&of) => return Some(unknown("tcp")),
        _ => return Some(unknown("flower")),
    };
    Some(right.filter(|_| whole()).map_or_else(|| unknown("flower"), |right| compare("==", field, right)))
}

fn software(options: &[u8], flags: u16) -> bool {
    attribute(options, flags).and_then(|flags| word(flags, 0)).is_none_or(|flags| flags & SKIP_SOFTWARE == 0)
}

/// None for a table of filters.
fn u32(options: &[u8]) -> Option<(bool, Does)> {
    if attribute(options, U32_DIVISOR).is_some() {
        return None;
    }
    let selector = attribute(options, U32_SELECTOR)?;
    if attribute(options, U32_LINK).is_some() || attribute(options, U32_POLICE).is_some() {
        return Some((false, Does::Is(Fate::Unread)));
    }
    let table = attribute(options, U32_HASH).and_then(|table| word(table, 0)).unwrap_or_default() >> 20;
    let keys = usize::from(*selector.get(2)?);
    let any = (0..keys).all(|key| word(selector, SELECTOR + key * KEY) == Some(0));
    let narrow = [U32_INDEV, U32_MARK].iter().any(|of| attribute(options, *of).is_some());
    let whole = any && !narrow && table >= U32_OWN;
    Some((whole, actions(attribute(options, U32_ACTIONS))))
}

/// A program of one instruction says what it does; any other is not read.
fn bpf(options: &[u8]) -> (bool, Does) {
    let direct = attribute(options, BPF_FLAGS).and_then(|flags| word(flags, 0)).unwrap_or_default() & BPF_DIRECT != 0;
    // struct sock_filter
    let constant = attribute(options, BPF_OPS)
        .filter(|code| code.len() == 8 && half(code, 0) == Some(RETURN))
        .and_then(|code| word(code, 4));
    match (constant, direct) {
        (Some(value), true) => (true, Does::Is(control(value).unwrap_or(Fate::Passes))),
        (Some(0), false) => (true, Does::Is(Fate::GoesOn)),
        (Some(_), false) => (true, actions(attribute(options, BPF_ACTIONS))),
        (None, true) => (false, Does::Is(Fate::Unread)),
        (None, false) => (false, actions(attribute(options, BPF_ACTIONS))),
    }
}

/// What actions come to, one after another.
fn actions(list: Option<&[u8]>) -> Does {
    for (_, one) in list.into_iter().flat_map(each) {
        // TCA_ACT_KIND, TCA_ACT_OPTIONS
        let kind = attribute(one, 1).map(text).unwrap_or_default();
        let options = attribute(one, 2).unwrap_or_default();
        let Some(parms) = attribute(options, PARMS) else { return Does::Is(Fate::Unread) };
        // `tc_gen`: index, capab, action.
        let Some(verdict) = word(parms, 8) else { return Does::Is(Fate::Unread) };
        match kind.as_str() {
            "gact" if attribute(options, GACT_PROB).is_some() => return Does::Is(Fate::Unread),
            "gact" => {}
            // `TCA_EGRESS_REDIR`, `TCA_INGRESS_REDIR`
            "mirred" if matches!(word(parms, 20), Some(1 | 3)) => {
                return word(parms, 24).map_or(Does::Is(Fate::Unread), Does::Redirects);
            }
            "mirred" => {}
            _ => return Does::Is(Fate::Unread),
        }
        if let Some(fate) = control(verdict) {
            return Does::Is(fate);
        }
    }
    Does::Is(Fate::Passes)
}

/// `TC_ACT_*`. None: the next action is done.
fn control(verdict: u32) -> Option<Fate> {
    match verdict {
        u32::MAX => Some(Fate::GoesOn),
        0 => Some(Fate::Passes),
        3 => None,
        // Dropped, stolen, queued, trapped.
        2 | 4 | 5 | 8 => Some(Fate::Dropped),
        _ => Some(Fate::Unread),
    }
}
