//! `learning: local`: a guest of this node that another node hears as well. Whoever has moved a guest may leave its old interface where it
//! was, and then nothing here says that the guest has gone; and whoever lies about an address must not get it while its owner is there. So
//! the guest is asked, on the wire: an ARP probe for each of its IPv4 addresses (RFC 5227), a neighbour solicitation for each of its IPv6
//! addresses (RFC 4861 section 7.2.2). Any frame that it sends from then on is an answer. One that has addresses and does not answer three
//! times within a second is let go; one of which no address is known cannot be asked, and stays. Of one that this node does not have at all it
//! says so at once: the table has it here by somebody else's word.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::discover::Guest;
use crate::api::local::Finding;
use crate::api::stream::Contested;
use crate::types::{IfName, Mac, Mono, NodeId};
use crate::wire::arp::{self, Arp};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ip::{self, Ipv6};
use crate::wire::nd::{self, Solicitation};
use crate::wire::{Header, WireError};

/// How often a guest is asked, and how long it has for the next and for the last answer.
const TIMES: u32 = 3;
const APART: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_millis(400);
/// How long a guest that was there is not asked again, one that could not be asked, and one that is not here is not denied again.
const AGAIN: Duration = Duration::from_secs(10);
/// Guests that are asked at a time; of the others the claims wait.
pub const MOST: usize = 64;
/// Addresses that one guest is asked for.
const ADDRESSES: usize = 16;
/// Guests that findings name one by one.
const NAMED: usize = 8;
/// Who asks: a locally administered address that no table has. Answers to it reach nobody.
const ASKER: Mac = Mac([0x02, 0x76, 0x78, 0, 0, 0x01]);

/// What this node knows of a guest of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// The interface that it is behind.
    pub interface: IfName,
    /// How long ago its bridge heard it; none: it has forgotten.
    pub heard: Option<Duration>,
    /// Some address of it is known.
    pub askable: bool,
}

/// What is to be done about a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask it.
    Ask,
    /// Let go of it.
    LetGo,
    /// Say anew which guests are here: this one is not.
    Deny,
}

/// How far asking has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    New,
    /// First and last question, and how many there were.
    Asked {
        first: Mono,
        last: Mono,
        times: u32,
    },
    /// It is there.
    There(IfName, Mono),
    /// It cannot be asked.
    Unknown(IfName, Mono),
    /// This node has no such guest, and has said so.
    Absent(Mono),
}

/// One guest that is claimed by another node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    by: NodeId,
    state: State,
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Questions {
    all: BTreeMap<Guest, Question>,
}

impl Questions {
    /// Takes the whole list of guests of this node that others claim.
    pub fn set(&mut self, contested: &[Contested]) {
        let mut before = std::mem::take(&mut self.all);
        for one in contested.iter().take(MOST) {
            let guest = (one.network.clone(), one.mac);
            let state = before.remove(&guest).map_or(State::New, |question| question.state);
            self.all.insert(guest, Question { by: one.by.clone(), state });
        }
    }

    /// True while guests are being asked.
    pub fn is_asking(&self) -> bool {
        self.all.values().any(|question| matches!(question.state, State::New | State::Asked { .. }))
    }

    /// What is due. `own` says what is known of a guest now; none: it is not here, whatever the table says.
    pub fn tend(&mut self, now: Mono, mut own: impl FnMut(&Guest) -> Option<Own>) -> Vec<(Guest, Step)> {
        let mut steps = Vec::new();
        for (guest, question) in &mut self.all {
            if let State::There(_, at) | State::Unknown(_, at) | State::Absent(at) = &question.state
                && now.since(*at) < AGAIN
            {
                continue;
            }
            let Some(own) = own(guest) else {
                question.state = State::Absent(now);
                steps.push((guest.clone(), Step::Deny));
                continue;
            };
            if let Some(step) = question.next(&own, now) {
                steps.push((guest.clone(), step));
            }
        }
        for (guest, step) in &steps {
            if *step == Step::LetGo {
                self.all.remove(guest);
            }
        }
        steps
    }

    /// Guests that two nodes hear.
    pub fn findings(&self) -> Vec<Finding> {
        let both = self.all.iter().filter_map(|((net, mac), question)| {
            let (interface, why) = match &question.state {
                State::There(interface, _) => (interface, "it has answered here, so it stays"),
                State::Unknown(interface, _) => (interface, "no IP address of it is known to ask it for, so it stays"),
                State::New | State::Asked { .. } | State::Absent(_) => return None,
            };
            let what = format!(
                "network {net}: the guest {mac} behind {interface} is heard by {} as well; {why}: two guests have one address, a guest joins \
                 two networks, or it has moved",
                question.by
            );
            let help = format!(
                "if it has moved: ip link set dev {interface} nomaster; otherwise give one of the two another address"
            );
            Some(Finding::new("M0698", what, help))
        });
        both.take(NAMED).collect()
    }
}

impl Question {
    fn next(&mut self, own: &Own, now: Mono) -> Option<Step> {
        let State::Asked { first, last, times } = self.state else {
            self.state = State::Asked { first: now, last: now, times: 1 };
            return Some(Step::Ask);
        };
        if own.heard.is_some_and(|ago| now - ago > first) {
            self.state = State::There(own.interface.clone(), now);
            return None;
        }
        let waited = now.since(last);
        if times < TIMES && waited >= APART {
            self.state = State::Asked { first, last: now, times: times + 1 };
            return Some(Step::Ask);
        }
        if times < TIMES || waited < LAST {
            return None;
        }
        if own.askable {
            return Some(Step::LetGo);
        }
        self.state = State::Unknown(own.interface.clone(), now);
        None
    }
}

/// The questions for a guest, as frames. The address that its Ethernet address makes is asked for as well: many have it.
pub fn frames(guest: Mac, addresses: &BTreeSet<IpAddr>) -> Vec<Vec<u8>> {
    let usual = IpAddr::V6(nd::link_local(guest));
    let all = addresses.iter().copied().take(ADDRESSES).chain([usual]);
    let frame = |address| match address {
        IpAddr::V4(address) => probe(guest, address),
        IpAddr::V6(address) => solicitation(guest, address),
    };
    all.filter_map(|address| frame(address).ok()).collect()
}

/// From no address: nobody's cache learns of it (RFC 5227 section 2.1.1), and the owner answers.
fn probe(guest: Mac, target_ip: Ipv4Addr) -> Result<Vec<u8>, WireError> {
    let mut out = vec![0; Ethernet::LEN + Arp::LEN];
    Ethernet { destination: guest, source: ASKER, ethertype: ethernet::ARP }.emit(&mut out)?;
    let sender_ip = Ipv4Addr::UNSPECIFIED;
    Arp { operation: arp::REQUEST, sender_mac: ASKER, sender_ip, target_mac: Mac::ZERO, target_ip }
        .emit(&mut out[Ethernet::LEN..])?;
    Ok(out)
}

/// From an address of the asker's: from none it would be a test for duplicates, which a guest that is testing its own address loses.
fn solicitation(guest: Mac, target: std::net::Ipv6Addr) -> Result<Vec<u8>, WireError> {
    /// A solicitation with one option.
    const LEN: usize = 32;
    let (source, destination) = (nd::link_local(ASKER), target);
    let mut out = vec![0; Ethernet::LEN + Ipv6::LEN + LEN];
    Ethernet { destination: guest, source: ASKER, ethertype: ethernet::IPV6 }.emit(&mut out)?;
    let asked = Solicitation { target, source: Some(ASKER) };
    let len = asked.emit(&mut out[Ethernet::LEN + Ipv6::LEN..], source, destination)?;
    let payload = u16::try_from(len).unwrap_or_default();
    Ipv6 { class: 0, label: 0, payload, next: ip::ICMPV6, hop_limit: nd::HOP_LIMIT, source, destination }
        .emit(&mut out[Ethernet::LEN..])?;
    out.truncate(Ethernet::LEN + Ipv6::LEN + len);
    Ok(out)
}

#[cfg(test)]
#[path = "questions_tests.rs"]
mod tests;
