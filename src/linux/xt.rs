//! Parts of rules that come from iptables, ebtables and arptables and that `nft` tells by their names alone: their parameters, asked of the
//! kernel, in the words that `nft` has for its own (linux/netfilter/xt_*.h, linux/netfilter_bridge/ebt_*.h).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::NLM_F_DUMP;
use serde_json::{Value, json};

use super::attributes::{attribute, each, text};
use super::hooks::ask_with;
use super::netfilter::{self, EXPRESSION_DATA, EXPRESSION_NAME, EXPRESSIONS, HEADERS, MATCH_NAME, TABLE_NAME};
use crate::node::barriers::Table;
use crate::node::older::{self, never, payload, unknown};
use crate::node::verdicts::Rules;
use crate::types::Mac;

/// `NFTA_RULE_HANDLE`.
const HANDLE: u16 = 3;
/// `NFTA_MATCH_INFO`.
const MATCH_INFO: u16 = 3;
/// Bits of `struct xt_physdev_info`.
const BY_IN: u8 = 0x01;
const BY_OUT: u8 = 0x02;
const ON_BRIDGE: u8 = 0x04 | 0x08 | 0x10;
/// Something more that is not read.
const MORE: &str = "more";
/// Bytes of a name (`IFNAMSIZ`).
const NAMED: usize = 16;
/// Bytes of the kernel's `long`.
const LONG: usize = size_of::<usize>();

/// Puts what is known of parts of iptables into words, where a table has some.
///
/// # Errors
/// The kernel does not tell.
pub(super) fn spell(table: &Table, rules: &mut Rules) -> io::Result<()> {
    let has = |parts: &[Value]| parts.iter().any(|part| part.get("xt").is_some());
    if !rules.values().flatten().any(|rule| has(&rule.parts)) {
        return Ok(());
    }
    let known = read(table)?;
    for rule in rules.values_mut().flatten().filter(|rule| has(&rule.parts)) {
        let Some(known) = known.get(&rule.handle) else { continue };
        let mut known = known.iter();
        let spelt = rule.parts.iter().flat_map(|part| match part.get("xt").and_then(|_| known.next()) {
            Some(Some(words)) => words.clone(),
            Some(None) | None => vec![part.clone()],
        });
        rule.parts = spelt.collect();
    }
    Ok(())
}

/// What is known of each part of iptables, by rule; none: nothing.
type Known = BTreeMap<u64, Vec<Option<Vec<Value>>>>;

fn read((family, table): &Table) -> io::Result<Known> {
    let number = match *family {
        "inet" => 1,
        "ip" => 2,
        "arp" => 3,
        "netdev" => 5,
        "bridge" => 7,
        "ip6" => 10,
        _ => return Ok(Known::new()),
    };
    let mut all = Known::new();
    let name = [table.as_bytes(), &[0]].concat();
    ask_with(netfilter::GET_RULE, NLM_F_DUMP, number, &[(TABLE_NAME, &name)], |message| {
        let attributes = message.get(HEADERS..)?;
        let of = attribute(attributes, TABLE_NAME).map(text);
        let handle = u64::from_be_bytes(attribute(attributes, HANDLE)?.try_into().ok()?);
        if of.as_ref() == Some(table) {
            let parts = each(attribute(attributes, EXPRESSIONS)?).filter_map(|(_, one)| part(family, one)).collect();
            all.insert(handle, parts);
        }
        Some(false)
    })?;
    Ok(all)
}

/// None: it is none of iptables.
fn part(family: &str, expression: &[u8]) -> Option<Option<Vec<Value>>> {
    let kind = attribute(expression, EXPRESSION_NAME).map(text)?;
    if !matches!(kind.as_str(), "match" | "target") {
        return None;
    }
    // `NFTA_TARGET_*` have the same numbers.
    let data = attribute(expression, EXPRESSION_DATA)?;
    let (name, info) = (attribute(data, MATCH_NAME).map(text)?, attribute(data, MATCH_INFO)?);
    Some(if kind == "match" { spelt(family, &name, info) } else { target(&name, info) })
}

/// A match in words.
fn spelt(family: &str, name: &str, info: &[u8]) -> Option<Vec<Value>> {
    match name {
        "physdev" => physdev(info),
        "mac" => mac(info),
        "mark" => mark(info),
        "mark_m" => mark_of_ebtables(info),
        "iprange" => iprange(family, info),
        "ip" if family == "bridge" => ip("ip", 4, info),
        "ip6" if family == "bridge" => ip("ip6", 16, info),
        "arp" if family == "bridge" => arp(info),
        _ => None,
    }
}

/// A target in words.
fn target(name: &str, info: &[u8]) -> Option<Vec<Value>> {
    match name {
        "MARK" => Some(vec![older::write_mark(number(info, 0)?, number(info, 4)?)]),
        "mark" => write_of_ebtables(info),
        _ => None,
    }
}

fn number(info: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(info.get(at..at + 4)?.try_into().ok()?))
}

/// A number of the kernel's `long`, of which a mark has 32 bits.
fn long(info: &[u8], at: usize) -> Option<u32> {
    let number = usize::from_ne_bytes(info.get(at * LONG..(at + 1) * LONG)?.try_into().ok()?);
    u32::try_from(number).ok()
}

fn mark_key() -> Value {
    json!({"meta": {"key": "mark"}})
}

/// struct xt_mark_mtinfo1: mark, mask, turned round.
fn mark(info: &[u8]) -> Option<Vec<Value>> {
    let op = if *info.get(8)? == 0 { "==" } else { "!=" };
    Some(vec![older::compare_bits(op, mark_key(), number(info, 0)?, number(info, 4)?)])
}

/// struct ebt_mark_m_info: mark, mask, turned round, and whether the bits are compared or one is enough (`EBT_MARK_OR`, 2).
fn mark_of_ebtables(info: &[u8]) -> Option<Vec<Value>> {
    let (value, mask) = (long(info, 0)?, long(info, 1)?);
    let (inverted, how) = (*info.get(2 * LONG)? != 0, *info.get(2 * LONG + 1)?);
    let (value, inverted) = if how & 2 == 0 { (value, inverted) } else { (0, !inverted) };
    Some(vec![older::compare_bits(if inverted { "!=" } else { "==" }, mark_key(), value, mask)])
}

/// struct ebt_mark_t_info: mark, and what is done with it (`MARK_*_VALUE`) together with the verdict (`EBT_*`).
fn write_of_ebtables(info: &[u8]) -> Option<Vec<Value>> {
    let (value, does) = (long(info, 0)?, number(info, LONG)?);
    let written = match does | 0x0f {
        0xffff_ffff => json!(value),
        0xffff_ffef => json!({"|": [mark_key(), value]}),
        0xffff_ffdf => json!({"&": [mark_key(), value]}),
        0xffff_ffcf => json!({"^": [mark_key(), value]}),
        _ => return None,
    };
    let verdict = match does & 0x0f {
        0x0f => json!({"accept": null}),
        0x0e => json!({"drop": null}),
        0x0c => json!({"return": null}),
        _ => json!({"continue": null}),
    };
    Some(vec![json!({"mangle": {"key": mark_key(), "value": written}}), verdict])
}

/// struct xt_iprange_mtinfo: first and last of the sources and of the destinations, what is asked and turned round (`IPRANGE_*`).
fn iprange(family: &str, info: &[u8]) -> Option<Vec<Value>> {
    let flags = *info.get(64)?;
    let address = |at: usize| {
        let bytes = info.get(at * 16..(at + 1) * 16)?;
        Some(if family == "ip6" {
            IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()
        } else {
            IpAddr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?).to_string()
        })
    };
    let mut parts = Vec::new();
    for (bit, turned, field, at) in [(0x01, 0x10, "saddr", 0), (0x02, 0x20, "daddr", 2)] {
        if flags & bit != 0 {
            let range = json!({"range": [address(at)?, address(at + 1)?]});
            parts.push(compare(flags & turned != 0, payload(family, field), range));
        }
    }
    Some(parts)
}

/// A comparison that may be turned round.
fn compare(inverted: bool, left: Value, right: Value) -> Value {
    older::compare(if inverted { "!=" } else { "==" }, left, right)
}

/// struct xt_physdev_info: two names with their masks, what is turned round, what is asked.
fn physdev(info: &[u8]) -> Option<Vec<Value>> {
    let (inverted, asked) = (*info.get(4 * NAMED)?, *info.get(4 * NAMED + 1)?);
    let name = |at: usize| {
        let (name, mask) = (info.get(at..at + NAMED)?, info.get(at + NAMED..at + 2 * NAMED)?);
        // Of a name that is whole, the zero behind it counts; of another, what the tool writes behind the part that counts does not.
        let counts = mask.iter().take_while(|mask| **mask != 0).count();
        let all = name.split(|byte| *byte == 0).next()?;
        Some(if counts > all.len() { text(all) } else { text(&all[..counts]) + "*" })
    };
    let mut parts = Vec::new();
    if asked & BY_IN != 0 {
        parts.push(compare(inverted & BY_IN != 0, json!({"physdev": "in"}), json!(name(0)?)));
    }
    if asked & BY_OUT != 0 {
        parts.push(compare(inverted & BY_OUT != 0, json!({"physdev": "out"}), json!(name(2 * NAMED)?)));
    }
    // Frames of bridges always are.
    parts.extend((asked & inverted & ON_BRIDGE != 0).then(never));
    Some(parts)
}

fn address_of_mac(bytes: &[u8]) -> Option<Mac> {
    Some(Mac(bytes.try_into().ok()?))
}

/// struct xt_mac_info
fn mac(info: &[u8]) -> Option<Vec<Value>> {
    let mac = address_of_mac(info.get(..6)?)?;
    let inverted = i32::from_ne_bytes(info.get(8..12)?.try_into().ok()?) != 0;
    Some(vec![compare(inverted, payload("ether", "saddr"), json!(mac.to_string()))])
}

/// An address and its mask as a prefix; a mask that is none is not read.
fn masked(protocol: &str, field: &str, inverted: bool, (address, mask): (&[u8], &[u8])) -> Option<Value> {
    let (address, length) = match (address.len(), mask.len()) {
        (4, 4) => {
            let (address, mask) = (<[u8; 4]>::try_from(address).ok()?, u32::from_be_bytes(mask.try_into().ok()?));
            let length = mask.leading_ones();
            (IpAddr::V4(Ipv4Addr::from(address)), Some(length).filter(|length| mask.count_ones() == *length)?)
        }
        (16, 16) => {
            let (address, mask) = (<[u8; 16]>::try_from(address).ok()?, u128::from_be_bytes(mask.try_into().ok()?));
            let length = mask.leading_ones();
            (IpAddr::V6(Ipv6Addr::from(address)), Some(length).filter(|length| mask.count_ones() == *length)?)
        }
        _ => return None,
    };
    let prefix = json!({"prefix": {"addr": address.to_string(), "len": length}});
    Some(compare(inverted, payload(protocol, field), prefix))
}

/// struct ebt_ip_info and struct ebt_ip6_info, with addresses of `width` bytes: source, destination and their masks, TOS or class, protocol, what
/// is asked, what is turned round.
fn ip(protocol: &str, width: usize, info: &[u8]) -> Option<Vec<Value>> {
    let (asked, inverted) = (*info.get(4 * width + 2)?, *info.get(4 * width + 3)?);
    let of = |number: usize| info.get(number * width..(number + 1) * width);
    let mut parts = Vec::new();
    for (bit, field, at) in [(1, "saddr", 0), (2, "daddr", 1)] {
        if asked & bit != 0 {
            let both = (of(at)?, of(at + 2)?);
            parts.push(masked(protocol, field, inverted & bit != 0, both).unwrap_or_else(|| unknown(MORE)));
        }
    }
    parts.extend((asked & !3 != 0).then(|| unknown(MORE)));
    Some(parts)
}

/// struct ebt_arp_info: types and operation, both IPv4 addresses with masks, both Ethernet addresses with masks, what is asked, what is turned
/// round.
fn arp(info: &[u8]) -> Option<Vec<Value>> {
    let (asked, inverted) = (*info.get(48)?, *info.get(49)?);
    let mut parts = Vec::new();
    for (bit, field, address, mask) in [(0x08, "saddr ip", 8, 12), (0x10, "daddr ip", 16, 20)] {
        if asked & bit != 0 {
            let both = (info.get(address..address + 4)?, info.get(mask..mask + 4)?);
            parts.push(masked("arp", field, inverted & bit != 0, both).unwrap_or_else(|| unknown(MORE)));
        }
    }
    if asked & 0x20 != 0 {
        let whole = info.get(30..36)?.iter().all(|byte| *byte == 0xff);
        let mac = address_of_mac(info.get(24..30)?)?.to_string();
        let one = compare(inverted & 0x20 != 0, payload("arp", "saddr ether"), json!(mac));
        parts.push(if whole { one } else { unknown(MORE) });
    }
    parts.extend((asked & !0x38 != 0).then(|| unknown(MORE)));
    Some(parts)
}

#[cfg(test)]
#[path = "xt_tests.rs"]
mod tests;
