//! Rules that name one guest, by an address or by its interface as iptables sees it, and drop all that it sends or gets: told of the guest. Rules
//! of bridges that name its interface are told of that ([`super::named`]).

use std::collections::BTreeSet;

use serde_json::Value;

use super::attached::bounded;
use super::doubts::{Book, Passage, certain, port};
use super::named::BRIDGE_RULE;
use super::names::{self, Device};
use super::presence::Presence;
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::table::{Row, RowKey, Slice};

/// Guests that are looked at, at most: what is not told of the others, `explain` finds all the same.
const MOST: usize = 64;

/// What is wrong, besides what is told already.
pub fn findings(book: &Book, slice: &Slice, presence: &Presence, told: &[Finding]) -> Vec<Finding> {
    let texts = texts(book);
    if texts.is_empty() {
        return Vec::new();
    }
    let here = slice.rows.iter().filter(|(_, row)| row.node == slice.node);
    let named = here.filter(|(key, row)| is_named(&texts, slice, presence, (key, row)));
    let found = named.take(MOST).flat_map(|guest| of_guest(book, slice, presence, guest));
    bounded(found.filter(|one| told.iter().all(|other| other.help != one.help)).collect())
}

/// True where a rule has an address of a guest in it, or its interface.
fn is_named(texts: &BTreeSet<String>, slice: &Slice, presence: &Presence, (key, row): (&RowKey, &Row)) -> bool {
    texts.contains(&key.mac.to_string())
        || row.addresses().any(|address| texts.contains(&address.to_string()))
        || port(slice, presence, (key, row), None).is_some_and(|port| texts.contains(port.as_str()))
}

fn of_guest(book: &Book, slice: &Slice, presence: &Presence, (key, row): (&RowKey, &Row)) -> Vec<Finding> {
    let Some(udp_port) = slice.networks.get(&key.net()).map(|network| network.udp_port) else { return Vec::new() };
    let own = port(slice, presence, (key, row), None);
    let from = Passage {
        bridge: names::device(Device::Bridge, key.vni, udp_port),
        near: own,
        far: None,
        from: Some((key.mac, row.addresses().collect())),
        to: None,
        ipv6: None,
    };
    let to = Passage { near: None, far: from.near.clone(), from: None, to: from.from.clone(), ..from.clone() };
    let name =
        row.port.as_ref().map_or_else(|| format!("guest {}", key.mac), |port| format!("port {port} ({})", key.mac));
    let both = [(from, "comes from", false), (to, "is for", true)];
    let told = both.into_iter().flat_map(|(passage, way, goes_to)| {
        let name = &name;
        certain(book, &passage)
            .into_iter()
            .map(move |(subject, ipv6, (by, help))| {
                let cut = Cut { ipv6, ..Cut::guests(true, &[(key.net(), key.mac)]) }.at_interface(goes_to);
                Finding::new(BRIDGE_RULE, format!("{subject} {way} {name} is dropped by {by}"), help).cuts(cut)
            })
            .collect::<Vec<_>>()
    });
    told.collect()
}

/// All texts in rules.
fn texts(book: &Book) -> BTreeSet<String> {
    let mut texts = BTreeSet::new();
    let nft = book.filters.rules.values();
    let all = nft.chain(book.older.iter().map(|older| &older.rules)).flat_map(|rules| rules.values().flatten());
    all.flat_map(|rule| &rule.parts).for_each(|part| collect(part, &mut texts));
    texts
}

fn collect(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(texts.insert(text.clone())),
        Value::Array(all) => all.iter().for_each(|one| collect(one, texts)),
        Value::Object(object) => object.values().for_each(|one| collect(one, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
#[path = "named_guests_tests.rs"]
mod tests;
