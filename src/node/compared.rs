//! Whether what a frame has is what a rule writes: values, prefixes, ranges and sets in the words of `nft -j` (libnftables-json(5)).

use std::net::IpAddr;

use serde_json::Value;

use super::facts::Fact;
use crate::types::{Mac, Prefix};

/// Whether something matches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    Maybe,
}

pub(super) fn some(each: impl Iterator<Item = Match>) -> Match {
    each.fold(Match::No, |all, one| match (all, one) {
        (Match::Yes, _) | (_, Match::Yes) => Match::Yes,
        (Match::Maybe, _) | (_, Match::Maybe) => Match::Maybe,
        (Match::No, Match::No) => Match::No,
    })
}

pub(super) fn every(each: impl Iterator<Item = Match>) -> Match {
    each.fold(Match::Yes, |all, one| match (all, one) {
        (Match::No, _) | (_, Match::No) => Match::No,
        (Match::Maybe, _) | (_, Match::Maybe) => Match::Maybe,
        (Match::Yes, Match::Yes) => Match::Yes,
    })
}

/// Whether a fact is what a rule writes.
pub(super) fn is(fact: &Fact, right: &Value) -> Match {
    // With a time or a counter of its own.
    if let Some(value) = right.get("elem").and_then(|element| element.get("val")) {
        return is(fact, value);
    }
    if let Some(all) = right.as_array().or_else(|| right.get("set").and_then(Value::as_array)) {
        return some(all.iter().map(|one| is(fact, one)));
    }
    match fact {
        Fact::Addresses(addresses) => return one_of(addresses.iter().map(|address| told(address_is(*address, right)))),
        Fact::Numbers(numbers) => return one_of(numbers.iter().map(|number| told(number_is(*number, right)))),
        Fact::Unknown | Fact::Content => return Match::Maybe,
        Fact::Absent | Fact::Text(_) | Fact::Mac(_) | Fact::Strange => {}
    }
    let is = match (fact, right) {
        (Fact::Strange, Value::String(name)) if name.starts_with('@') => Some(false),
        (_, Value::String(name)) if name.starts_with('@') => None,
        (Fact::Strange, Value::Object(object)) if is_all(object) => Some(true),
        (Fact::Strange, _) => Some(false),
        (Fact::Mac(mac), Value::String(other)) => other.parse().ok().map(|other: Mac| other == *mac),
        (Fact::Mac(mac), Value::Object(object)) => begins(*mac, object),
        (Fact::Text(text), Value::String(name)) => match name.strip_suffix('*') {
            Some(head) => Some(text.starts_with(head)),
            None => Some(text == name),
        },
        // Protocols that `nft` has no name for are others.
        (Fact::Text(_), Value::Number(_)) => Some(false),
        _ => None,
    };
    told(is)
}

/// Of something that is one of several: what holds for all of them.
fn one_of(each: impl Iterator<Item = Match>) -> Match {
    let all: Vec<Match> = each.collect();
    match all.first() {
        Some(first) if all.iter().all(|one| one == first) => *first,
        _ => Match::Maybe,
    }
}

fn number_is(number: u64, right: &Value) -> Option<bool> {
    let of = |value: &Value| match value {
        Value::Number(_) => value.as_u64(),
        Value::String(text) => {
            text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |digits| u64::from_str_radix(digits, 16).ok())
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    if let Some([first, last]) = right.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        return Some((of(first)?..=of(last)?).contains(&number));
    }
    Some(number == of(right)?)
}

const fn told(is: Option<bool>) -> Match {
    match is {
        Some(true) => Match::Yes,
        Some(false) => Match::No,
        None => Match::Maybe,
    }
}

/// True for a prefix of no length.
fn is_all(object: &serde_json::Map<String, Value>) -> bool {
    object.get("prefix").and_then(|prefix| prefix.get("len")?.as_u64()) == Some(0)
}

/// Whether an Ethernet address begins as a rule writes.
fn begins(mac: Mac, object: &serde_json::Map<String, Value>) -> Option<bool> {
    let prefix = object.get("prefix")?;
    let number = |mac: Mac| mac.0.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    let other: Mac = prefix.get("addr")?.as_str()?.parse().ok()?;
    let rest = u32::try_from(48_u64.checked_sub(prefix.get("len")?.as_u64()?)?).ok()?;
    Some(number(mac) >> rest == number(other) >> rest)
}

fn address_is(address: IpAddr, right: &Value) -> Option<bool> {
    match right {
        Value::String(name) if name.starts_with('@') => None,
        Value::String(other) => other.parse().ok().map(|other: IpAddr| other == address),
        Value::Object(object) => within(address, object),
        Value::Number(number) => match address {
            IpAddr::V4(four) => number.as_u64().map(|number| number == u64::from(u32::from(four))),
            IpAddr::V6(_) => None,
        },
        Value::Null | Value::Bool(_) | Value::Array(_) => None,
    }
}

/// Whether an address is inside a prefix or a range.
fn within(address: IpAddr, object: &serde_json::Map<String, Value>) -> Option<bool> {
    let parse = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
    if let Some(prefix) = object.get("prefix") {
        let length = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
        return Some(Prefix::new(parse(prefix.get("addr")?)?, length)?.contains(address));
    }
    let ends = object.get("range")?.as_array()?;
    Some((parse(ends.first()?)?..=parse(ends.get(1)?)?).contains(&address))
}
