//! Named sets of packet filters, as `nft -j` lists them (libnftables-json(5)): whether a frame is in one of them. Large ones are searched, not
//! walked through.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::compared::{Match, is, some};
use super::facts::Fact;
use super::verdicts::{Rule, are};
use crate::types::{Mac, Prefix};

/// Elements of one set that are read, at most.
pub const ELEMENTS: usize = 65_536;
/// Of those, other than addresses of hosts and networks.
const OTHERS: usize = 4096;
/// Sets of one table that are read, at most.
pub const SETS: usize = 32;

/// What is in a set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Set {
    /// Addresses, from the first to the last of each, in order.
    spans: Vec<(IpAddr, IpAddr)>,
    /// What else there is.
    others: Vec<Value>,
    /// Its elements end by themselves, of which nobody is told.
    ends: bool,
}

impl Set {
    /// Out of what is told of a set. None: there is too much of it.
    pub fn read(set: &Value) -> Option<Self> {
        let flags = set.get("flags").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let elements = set.get("elem").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut read = Self { ends: flags.iter().any(|flag| flag == "timeout"), ..Self::default() };
        if elements.len() > ELEMENTS {
            return None;
        }
        for element in elements {
            let value = element.get("elem").and_then(|one| one.get("val")).unwrap_or(element);
            match span(value) {
                Some(span) => read.spans.push(span),
                None => read.others.push(value.clone()),
            }
        }
        read.spans.sort_unstable();
        (read.others.len() <= OTHERS).then_some(read)
    }

    /// Whether what a frame has is in it.
    pub(super) fn holds(&self, facts: &[Fact]) -> Match {
        let others = || some(self.others.iter().map(|element| are(facts, element)));
        let found = match facts {
            [Fact::Addresses(all)] if !self.spans.is_empty() => {
                let inside: BTreeSet<bool> = all.iter().map(|address| self.spans(*address)).collect();
                let spans = match (inside.contains(&true), inside.contains(&false)) {
                    (true, false) => Match::Yes,
                    (true, true) => Match::Maybe,
                    (false, _) => Match::No,
                };
                some([spans, others()].into_iter())
            }
            // What may be anything may be in it, if anything is.
            [fact @ (Fact::Content | Fact::Unknown)] => match self.spans.first() {
                Some(_) => Match::Maybe,
                None => some(self.others.iter().map(|element| is(fact, element))),
            },
            _ => others(),
        };
        if found == Match::Yes && self.ends { Match::Maybe } else { found }
    }

    /// True where one of these addresses, or the Ethernet address, is in it.
    pub(super) fn names(&self, mac: Mac, addresses: &[IpAddr]) -> bool {
        let mac = mac.to_string();
        addresses.iter().any(|address| self.spans(*address))
            || self.others.iter().any(|value| value.as_str() == Some(mac.as_str()))
    }

    fn spans(&self, address: IpAddr) -> bool {
        let behind = self.spans.partition_point(|(first, _)| *first <= address);
        behind.checked_sub(1).and_then(|at| self.spans.get(at)).is_some_and(|(_, last)| address <= *last)
    }
}

/// The first and the last address of an element. What is all addresses is known to be that elsewhere.
pub(super) fn span(value: &Value) -> Option<(IpAddr, IpAddr)> {
    let parse = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
    if let Some(prefix) = value.get("prefix") {
        let length = u8::try_from(prefix.get("len")?.as_u64()?).ok().filter(|length| *length > 0)?;
        let prefix = Prefix::new(parse(prefix.get("addr")?)?, length)?;
        return Some((prefix.network(), last(prefix.network(), length)));
    }
    if let Some([first, last]) = value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        return Some((parse(first)?, parse(last)?));
    }
    parse(value).map(|address| (address, address))
}

/// The last address of a prefix.
fn last(first: IpAddr, length: u8) -> IpAddr {
    match first {
        IpAddr::V4(four) => {
            let host = u32::MAX.checked_shr(length.into()).unwrap_or(0);
            IpAddr::V4((u32::from(four) | host).into())
        }
        IpAddr::V6(six) => {
            let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
            IpAddr::V6((u128::from(six) | host).into())
        }
    }
}

/// Names of sets that rules ask and that no packet changes: of a change by packets nobody is told.
pub fn asked<'a>(rules: impl Iterator<Item = &'a Rule>, told: &[Value]) -> BTreeSet<String> {
    let (mut asked, mut written) = (BTreeSet::new(), BTreeSet::new());
    // A name of something else is none that `nft` takes.
    let plain = |name: &&str| name.chars().all(|one| one.is_ascii_alphanumeric() || "_-./".contains(one));
    let name = |value: Option<&Value>| value?.as_str()?.strip_prefix('@').filter(plain).map(str::to_owned);
    for part in rules.flat_map(|rule| &rule.parts) {
        asked.extend(name(part.get("match").and_then(|of| of.get("right"))));
        written.extend(name(part.get("set").and_then(|of| of.get("set"))));
    }
    let changes = |set: &Value| {
        let flags = set.get("flags").and_then(Value::as_array);
        flags.is_some_and(|flags| flags.iter().any(|flag| flag == "dynamic"))
    };
    let told = told.iter().filter_map(|item| item.get("set")).filter(|set| changes(set));
    written.extend(told.filter_map(|set| Some(set.get("name")?.as_str()?.to_owned())));
    asked.difference(&written).take(SETS).cloned().collect()
}

#[cfg(test)]
#[path = "sets_tests.rs"]
mod tests;
