//! Rules that name one guest by an address, or a port of a bridge as iptables sees it, and drop all that comes from there or goes there. Rules of
//! bridges that name a port are told by [`super::named`].

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::attached::bounded;
use super::barriers::{Place, Ports};
use super::doubts::{Book, Passage, certain, port};
use super::named::BRIDGE_RULE;
use super::names::{self, Device};
use super::presence::Presence;
use super::sets::{Set, span};
use crate::api::cut::{Cut, Direction};
use crate::api::local::Finding;
use crate::table::{Row, RowKey, Slice};
use crate::types::IfName;

/// Guests that are looked at, at most: what is not told of the others, `explain` finds all the same.
const MOST: usize = 64;

/// What is wrong, besides what is told already.
pub fn findings(book: &Book, ports: &Ports, (slice, presence): (&Slice, &Presence), told: &[Finding]) -> Vec<Finding> {
    let rules = Named::of(book);
    if rules.is_empty() {
        return Vec::new();
    }
    // A guest of another node may be shut out here on purpose.
    let here = slice.rows.iter().filter(|(_, row)| row.node == slice.node);
    let named = here.filter(|guest| rules.has(*guest));
    let guests = named.take(MOST).flat_map(|guest| of_guest(book, slice, presence, guest));
    let ports = ports.iter().filter(|(name, _)| rules.texts.contains(name.as_str())).take(MOST);
    let ports = ports.flat_map(|(name, place)| of_port(book, name, place));
    let mut found: Vec<Finding> = Vec::new();
    for one in ports.chain(guests) {
        // One rule is told once in each direction.
        let same = |other: &Finding| other.help == one.help && way(other) == way(&one);
        if !told.iter().chain(&found).any(same) {
            found.push(one);
        }
    }
    bounded(found)
}

fn way(finding: &Finding) -> Option<Direction> {
    finding.cut.as_ref().and_then(|cut| cut.direction)
}

/// What names a port of a bridge, of a guest or of ours.
fn of_port(book: &Book, name: &IfName, Place { bridge, cut, .. }: &Place) -> Vec<Finding> {
    let nobody =
        || Passage { bridge: bridge.clone(), near: None, far: None, from: None, to: None, ipv6: None, open: false };
    let from = Passage { near: Some(name.clone()), ..nobody() };
    let to = Passage { far: Some(name.clone()), ..nobody() };
    let whose = format!("{name} in bridge {bridge}");
    of(book, &[(from, format!("comes from {whose}"), false), (to, format!("goes to {whose}"), true)], cut)
}

fn of(book: &Book, passages: &[(Passage, String, bool)], cut: &Cut) -> Vec<Finding> {
    let told = |(passage, whose, goes_to): &(Passage, String, bool)| {
        let certain = certain(book, passage).into_iter().map(|(subject, ipv6, (by, help))| {
            let cut = Cut { ipv6, ..cut.clone() }.at_interface(*goes_to);
            Finding::new(BRIDGE_RULE, format!("{subject} {whose} is dropped by {by}"), help).cuts(cut)
        });
        certain.collect::<Vec<_>>()
    };
    passages.iter().flat_map(told).collect()
}

/// What rules and their named sets have in them.
#[derive(Default)]
struct Named<'a> {
    texts: BTreeSet<String>,
    /// Networks and ranges, from the first to the last address of each.
    spans: Vec<(IpAddr, IpAddr)>,
    sets: Vec<&'a Set>,
}

impl<'a> Named<'a> {
    fn of(book: &'a Book) -> Self {
        let mut named = Self::default();
        let nft = book.filters.rules.values();
        for rules in nft.chain(book.older.iter().map(|older| &older.rules)) {
            named.sets.extend(rules.sets.values());
            rules.values().flatten().flat_map(|rule| &rule.parts).for_each(|part| named.collect(part));
        }
        named
    }

    fn collect(&mut self, value: &Value) {
        match value {
            Value::String(text) => drop(self.texts.insert(text.clone())),
            Value::Array(all) => all.iter().for_each(|one| self.collect(one)),
            Value::Object(object) => {
                self.spans.extend(span(value));
                object.values().for_each(|one| self.collect(one));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.sets.is_empty()
    }

    /// True where a rule may be about a guest by an address of it.
    fn has(&self, (key, row): (&RowKey, &Row)) -> bool {
        let addresses: Vec<IpAddr> = row.addresses().collect();
        let inside = |address: &IpAddr| self.spans.iter().any(|(first, last)| (first..=last).contains(&address));
        self.texts.contains(&key.mac.to_string())
            || addresses.iter().any(|address| self.texts.contains(&address.to_string()) || inside(address))
            || self.sets.iter().any(|set| set.names(key.mac, &addresses))
    }
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
        open: false,
    };
    let to = Passage { near: None, far: from.near.clone(), from: None, to: from.from.clone(), ..from.clone() };
    let name =
        row.port.as_ref().map_or_else(|| format!("guest {}", key.mac), |port| format!("port {port} ({})", key.mac));
    let cut = Cut::guests(true, &[(key.net(), key.mac)]);
    of(book, &[(from, format!("comes from {name}"), false), (to, format!("is for {name}"), true)], &cut)
}

#[cfg(test)]
#[path = "named_guests_tests.rs"]
pub(super) mod tests;
