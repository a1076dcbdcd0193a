//! Guests that say what they may not: which port, which interface, and the value that was refused. It is told for as long as it goes on,
//! and a minute longer. What a guest invents is sampled in the kernel (`fence_rules`), and the first value stays the one that is told:
//! a guest that sends a thousand wrong addresses is one finding, which does not change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::desired::Desired;
use super::fence::Said;
use super::presence::Wrong as Told;
use super::presence::{Guest, bounded, name_of, port_of};
use crate::api::local::Finding;
use crate::table::{NetKey, Row, RowKey, Slice};
use crate::types::{IfName, Mac, Mono};

/// Reasons whose frames are sampled.
pub const SAMPLED: [&str; 4] = ["mac", "ip", "arp", "nd"];
/// Codes of what is said here.
pub(super) const SAYS: [&str; 4] = ["M0675", "M0676", "M0677", "M0678"];
/// How long it is told after the last sample; they are taken every ten seconds.
const QUIET: Duration = Duration::from_secs(60);
/// Samples that make it more than a slip: a frame of before, of a guest that has just been changed.
const REPEATED: u64 = 2;
/// Interfaces that are told of at most.
const MOST: usize = 256;

/// What one interface says and may not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wrong {
    mac: Mac,
    value: Option<IpAddr>,
    /// Of all that it says.
    samples: u64,
    last: Mono,
}

/// All of them, by interface and reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wrongs(BTreeMap<(IfName, &'static str), Wrong>);

impl Wrongs {
    /// Takes the samples of one reason.
    pub fn learn(&mut self, reason: &'static str, said: &[Said], now: Mono) {
        let mut seen: BTreeMap<&IfName, Vec<&Said>> = BTreeMap::new();
        for one in said {
            seen.entry(&one.interface).or_default().push(one);
        }
        for (interface, all) in seen {
            let (key, samples) = ((interface.clone(), reason), all.iter().map(|one| one.samples).sum());
            if let Some(wrong) = self.0.get_mut(&key) {
                // Which value it is stays; old samples end without anything being said.
                if samples > wrong.samples {
                    wrong.last = now;
                }
                wrong.samples = samples;
            } else if let Some(first) = all.first().filter(|_| samples >= REPEATED && self.0.len() < MOST) {
                self.0.insert(key, Wrong { mac: first.mac, value: first.value, samples, last: now });
            }
        }
    }

    /// Forgets what has ended, and what interfaces said that stand in no bridge of ours now.
    pub fn end(&mut self, places: &BTreeMap<IfName, NetKey>, now: Mono) {
        self.0.retain(|(name, _), wrong| places.contains_key(name) && now.since(wrong.last) < QUIET);
    }

    /// What is wrong.
    pub fn findings(&self, slice: &Slice, desired: &Desired, places: &BTreeMap<IfName, NetKey>) -> Vec<Finding> {
        let mut by_code: BTreeMap<&'static str, BTreeSet<Told>> = BTreeMap::new();
        for ((interface, _), wrong) in &self.0 {
            let Some(net) = places.get(interface) else { continue };
            let own = ports(slice, desired, net, interface);
            let (code, what, help) = match wrong.value {
                None => about_mac(slice, net, interface, &own, wrong.mac),
                Some(value) => about_ip(slice, net, interface, wrong.mac, value),
            };
            // Who uses a wrong IP address may use its own as well; who sends from another Ethernet address most often sends from no other.
            let guests = match wrong.value {
                None => behind(desired, net, interface),
                Some(_) => vec![(net.clone(), wrong.mac)],
            };
            by_code.entry(code).or_default().insert(Told { what, help, guests, surely: wrong.value.is_none() });
        }
        by_code.into_iter().flat_map(|(code, all)| bounded(code, all.into_iter().collect())).collect()
    }
}

/// The port that names an interface.
pub(super) fn ports(slice: &Slice, desired: &Desired, net: &NetKey, interface: &IfName) -> Option<(String, Mac)> {
    let of = desired.networks.values().find(|of| of.key == *net)?;
    let mac = *of.guests.get(interface)?.first()?;
    Some((port_of(slice, net, mac), mac))
}

/// The guests of the ports that name an interface.
fn behind(desired: &Desired, net: &NetKey, interface: &IfName) -> Vec<Guest> {
    let of = desired.networks.values().find(|of| of.key == *net);
    let macs = of.and_then(|of| of.guests.get(interface)).into_iter().flatten();
    macs.map(|mac| (net.clone(), *mac)).collect()
}

fn about_mac(
    slice: &Slice,
    net: &NetKey,
    interface: &IfName,
    own: &Option<(String, Mac)>,
    mac: Mac,
) -> (&'static str, String, String) {
    let network = name_of(slice, net);
    let who = own.as_ref().map_or_else(|| interface.to_string(), |(port, _)| format!("{port} ({interface})"));
    let find = |key: &RowKey| key.mac == mac;
    if let Some((_, row)) = slice.rows_of(net).find(|(key, _)| find(key)) {
        let what = format!(
            "{who} in network {network} sends from {mac}, the Ethernet address of {} on {}: that is taken twice, or two networks are joined; \
             it is dropped",
            port_of(slice, net, mac),
            row.node
        );
        return (
            "M0677",
            what,
            format!("give one of the two another address; who it is: bridge fdb show | grep {mac}"),
        );
    }
    if let Some((key, row)) = slice.rows.iter().find(|(key, _)| find(key)) {
        let other = key.net();
        let what = format!(
            "{interface} stands in network {network} and sends from {mac}, which is {} of network {} on {}: the wrong bridge, or two \
             networks are joined; it is dropped",
            port_of(slice, &other, mac),
            name_of(slice, &other),
            row.node
        );
        return ("M0678", what, format!("put {interface} into the bridge of its network: meshctl status"));
    }
    match own {
        Some((port, right)) => {
            let what = format!(
                "{port} ({interface}) in network {network}: its guest sends from {mac}, and the port has {right}; it is dropped"
            );
            let name = port.strip_prefix("port ").unwrap_or("PORT");
            ("M0675", what, format!("give the guest {right}, or: meshctl port set {name} --mac {mac}"))
        }
        None => {
            let what = format!("{interface} in network {network} sends from {mac}, which no port has; it is dropped");
            ("M0675", what, format!("meshctl port create NAME --network {network} --node {} --mac {mac}", slice.node))
        }
    }
}

fn about_ip(
    slice: &Slice,
    net: &NetKey,
    interface: &IfName,
    mac: Mac,
    value: IpAddr,
) -> (&'static str, String, String) {
    let who = format!("{} ({interface}) in network {}", port_of(slice, net, mac), name_of(slice, net));
    let has = |row: &Row| match value {
        IpAddr::V4(value) => row.arp.contains(&value),
        IpAddr::V6(value) => row.nd.contains(&value),
    };
    let holders: Vec<_> = slice.rows_of(net).filter(|(_, row)| has(row)).collect();
    if holders.iter().any(|(key, _)| key.mac == mac) {
        let what = format!("{who} speaks for its own address {value} in a way that no host does; it is dropped");
        return ("M0676", what, format!("nft list counters table bridge vxmesh_guests; tcpdump -eni {interface}"));
    }
    if let Some((key, row)) = holders.first() {
        let owner = port_of(slice, net, key.mac);
        let what = format!("{who} uses the address {value} of {owner} on {}; it is dropped", row.node);
        return ("M0677", what, "give one of the two another address".to_owned());
    }
    let port = who.split_whitespace().nth(1).unwrap_or("PORT");
    let what = format!("{who} uses the address {value}, which the port does not have; it is dropped");
    (
        "M0676",
        what,
        format!(
            "give the guest an address of its port, or {value} to the port as well: meshctl port set {port} --ip ..."
        ),
    )
}

#[cfg(test)]
#[path = "wrongs_tests.rs"]
mod tests;
