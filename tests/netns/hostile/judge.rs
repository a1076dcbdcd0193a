//! What receivers believe: the only judges of an attack.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::grammar::{Element, Who};
use super::ground::Ground;

/// What kind of thing is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A guest believes that an address is where it is not.
    Neighbour,
    /// A guest has a route or an address of a router that is none.
    Router,
    /// A guest sends elsewhere what is for its gateway.
    Redirect,
    /// A DHCP client has a lease.
    Lease,
    /// A guest heard a packet from the address of another.
    Source,
    /// A guest's sockets heard what only a DHCP server may say.
    Dhcp,
    /// A host heard a packet.
    Host,
    /// A host has a route, an address or a neighbour more.
    HostState,
    /// A bridge has learned where somebody is who is not there.
    Learned,
    /// A guest of another network saw it.
    OtherNetwork,
}

/// Something that is believed and not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Belief {
    pub kind: Kind,
    pub whom: String,
    pub what: String,
    /// The elements that it comes from, where that is known.
    pub numbers: Vec<u32>,
}

/// Whom an attacker may not reach, besides those that nobody may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Guests believe it for itself alone.
    Guests(Who),
    /// Guests of its network hear nothing of it at all: it has a tag.
    NoGuest,
    /// Guests of its PDC are in its hands: who is on a plain wire is trusted by those behind it.
    HostsOnly,
}

impl Ground {
    pub fn reset(&self) {
        self.victims.iter().chain(&self.others).for_each(super::victim::Victim::reset);
        self.hosts.iter().for_each(super::host::Host::reset);
    }

    /// All that anybody believes who must not.
    pub fn look(&self, scope: Scope) -> Vec<Belief> {
        let mut beliefs: Vec<Belief> = self.hosts.iter().flat_map(super::host::Host::look).collect();
        for victim in &self.victims {
            match scope {
                Scope::Guests(me) => beliefs.extend(victim.look(Some(me))),
                Scope::NoGuest => beliefs.extend(victim.look(None)),
                Scope::HostsOnly => {}
            }
        }
        for other in &self.others {
            let numbers = other.marked();
            if !numbers.is_empty() {
                let what = "a frame".to_owned();
                beliefs.push(Belief { kind: Kind::OtherNetwork, whom: other.name.to_owned(), what, numbers });
            }
            beliefs.extend(other.look(None).into_iter().map(|b| Belief { kind: Kind::OtherNetwork, ..b }));
        }
        beliefs
    }
}

/// Kinds of beliefs.
pub fn kinds(beliefs: &[Belief]) -> BTreeSet<Kind> {
    beliefs.iter().map(|belief| belief.kind).collect()
}

/// What a person needs to see it again.
pub fn tell(attacker: &str, seed: u64, few: &[Element], beliefs: &[Belief]) -> String {
    let mut text = format!("{attacker}, seed {seed}:\n");
    for belief in beliefs.iter().take(6) {
        let _ = writeln!(text, "  {:?} at {}: {}", belief.kind, belief.whom, belief.what);
    }
    for element in few.iter().take(4) {
        let _ = writeln!(text, "  element {}: {}", element.number, element.what);
        for frame in &element.frames {
            let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
            let _ = writeln!(text, "    {hex}");
        }
    }
    if few.len() > 4 {
        let _ = writeln!(text, "  and {} more elements", few.len() - 4);
    }
    text
}
