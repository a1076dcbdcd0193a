//! What a node tells its own guests when an address has moved to another guest or to another node: gratuitous ARP (RFC 5227 section 2.3)
//! and unsolicited neighbour advertisements (RFC 4861 section 7.2.6), in the name of the new owner. In a network that floods nothing
//! (`flood: off`) they hear it in no other way, and elsewhere not of an owner that says nothing.
//!
//! An address whose owner is on this node is the owner's own to announce: a guest that is testing its address would give it up. An address
//! that several guests have is nobody's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use crate::table::{NetKey, Row, RowKey, Slice};
use crate::types::{Mac, Vlan};
use crate::wire::arp::{self, Arp};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ip::{self, Ipv6};
use crate::wire::nd::{self, Advertisement};
use crate::wire::vlan::Tag;
use crate::wire::{Header, WireError};

/// Announcements that wait; of a change that brings more the rest is not told, and guests find out by asking.
const MOST: usize = 4096;
/// Announcements at once; the owner asks twice a second.
const AT_ONCE: usize = 50;
/// ff02::1 and its Ethernet address.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);

/// An address of a network.
type Place = (NetKey, Option<Vlan>, IpAddr);

/// What is still to be told.
#[derive(Debug, Default)]
pub struct Announcer {
    waiting: VecDeque<Place>,
}

impl Announcer {
    /// Notes what `new` says of addresses that `old` did not.
    pub fn follow(&mut self, old: &Slice, new: &Slice) {
        let free = MOST.saturating_sub(self.waiting.len());
        let waiting: BTreeSet<Place> = self.waiting.iter().cloned().collect();
        let changed = changed(old, new).filter(|place| !waiting.contains(place));
        let news: Vec<Place> = changed.take(free).collect();
        self.waiting.extend(news);
    }

    /// The next frames for the guests of this node, by what the slice in force says now.
    pub fn due(&mut self, slice: &Slice) -> Vec<(NetKey, Vec<u8>)> {
        let some: BTreeSet<Place> = self.waiting.drain(..self.waiting.len().min(AT_ONCE)).collect();
        if some.is_empty() {
            return Vec::new();
        }
        let mut owners: BTreeMap<&Place, Vec<(&RowKey, &Row)>> = BTreeMap::new();
        for (key, row) in &slice.rows {
            for address in addresses(row) {
                if let Some(place) = some.get(&(key.net(), key.vlan, address)) {
                    owners.entry(place).or_default().push((key, row));
                }
            }
        }
        let alone = owners.into_iter().filter_map(|(place, owners)| match owners[..] {
            [(key, row)] if row.node != slice.node => Some((place, key, row)),
            _ => None,
        });
        let frame = |((net, vlan, address), key, row): (&Place, &RowKey, &Row)| {
            let network = slice.networks.get(net)?;
            let router = network.is_router(row, *address);
            Some((net.clone(), frame(key.mac, *vlan, *address, router).ok()?))
        };
        alone.filter_map(frame).collect()
    }
}

/// Addresses of rows that are new, or on another node than before.
fn changed<'a>(old: &'a Slice, new: &'a Slice) -> impl Iterator<Item = Place> + 'a {
    new.rows.iter().filter(|(key, row)| row.node != new.node && key.mac.is_unicast()).flat_map(|(key, row)| {
        let before = old.rows.get(key).filter(|before| before.node == row.node);
        let known = move |address: &IpAddr| before.is_some_and(|before| addresses(before).any(|a| a == *address));
        addresses(row).filter(move |a| !known(a)).map(|address| (key.net(), key.vlan, address))
    })
}

fn addresses(row: &Row) -> impl Iterator<Item = IpAddr> {
    let all = row.arp.iter().map(|a| IpAddr::V4(*a)).chain(row.nd.iter().map(|a| IpAddr::V6(*a)));
    all.filter(|a| !a.is_unspecified() && !a.is_multicast())
}

fn frame(mac: Mac, vlan: Option<Vlan>, address: IpAddr, router: bool) -> Result<Vec<u8>, WireError> {
    let (destination, kind, body) = match address {
        IpAddr::V4(address) => {
            let mut body = vec![0; Arp::LEN];
            let (sender_ip, target_ip) = (address, address);
            Arp { operation: arp::REQUEST, sender_mac: mac, sender_ip, target_mac: Mac::ZERO, target_ip }
                .emit(&mut body)?;
            (Mac::BROADCAST, ethernet::ARP, body)
        }
        IpAddr::V6(target) => (ALL_NODES_MAC, ethernet::IPV6, advertisement(mac, target, router)?),
    };
    let tags = vlan.map_or(0, |_| Tag::LEN);
    let mut out = vec![0; Ethernet::LEN + tags];
    let ethertype = if vlan.is_some() { ethernet::VLAN } else { kind };
    Ethernet { destination, source: mac, ethertype }.emit(&mut out)?;
    if vlan.is_some() {
        Tag { priority: 0, drop_eligible: false, vlan, ethertype: kind }.emit(&mut out[Ethernet::LEN..])?;
    }
    out.extend(body);
    Ok(out)
}

fn advertisement(mac: Mac, target: Ipv6Addr, router: bool) -> Result<Vec<u8>, WireError> {
    /// An advertisement with one option.
    const LEN: usize = 32;
    let mut out = vec![0; Ipv6::LEN + LEN];
    let said = Advertisement { router, solicited: false, replaces: true, target, mac: Some(mac) };
    let len = said.emit(&mut out[Ipv6::LEN..], target, ALL_NODES)?;
    let payload = u16::try_from(len).unwrap_or_default();
    let (source, destination) = (target, ALL_NODES);
    let header = Ipv6 { class: 0, label: 0, payload, next: ip::ICMPV6, hop_limit: nd::HOP_LIMIT, source, destination };
    header.emit(&mut out)?;
    out.truncate(Ipv6::LEN + len);
    Ok(out)
}

#[cfg(test)]
#[path = "announce_tests.rs"]
mod tests;
