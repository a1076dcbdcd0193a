//! Which entries of the audit log are kept. Each shelf has room of its own, so nothing that members or strangers cause displaces
//! what an operator did; on a shelf each actor has a quota, and where the shelf is full the actor with the most entries loses its
//! oldest. What is refused stands apart from what was done.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::api::admin::AuditEvent;

/// Entries that one new one displaces at most: a log that an older version let grow shrinks in steps.
const AT_ONCE: usize = 64;

/// One part of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shelf {
    /// What operators did.
    Operators,
    /// What the management server did by itself.
    Server,
    /// What members and tokens did.
    Members,
    /// What members were refused.
    Refused,
    /// What strangers were refused.
    Strangers,
}

/// Room, in entries and bytes, of one actor and of a whole shelf.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// Entries of one actor.
    pub entries: usize,
    /// Bytes of one actor.
    pub bytes: usize,
    /// Entries of all.
    pub all_entries: usize,
    /// Bytes of all.
    pub all_bytes: usize,
}

/// An entry that is in the log: its key in the store, and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Key in the store.
    pub key: String,
    /// Bytes of its value.
    pub bytes: usize,
}

/// Where an entry stands.
pub type Place = (Shelf, String);

/// The keys of the whole log, by shelf and actor, oldest first.
#[derive(Debug, Default)]
pub struct Ledger {
    shelves: BTreeMap<Shelf, Actors>,
}

/// One shelf.
#[derive(Debug, Default)]
struct Actors {
    actors: BTreeMap<String, Queue>,
    entries: usize,
    bytes: usize,
}

/// One actor's entries.
#[derive(Debug, Default)]
struct Queue {
    kept: VecDeque<Kept>,
    bytes: usize,
}

impl Shelf {
    /// Its room.
    pub const fn quota(self) -> Quota {
        match self {
            Self::Operators => Quota { entries: 10_000, bytes: 64 << 20, all_entries: 20_000, all_bytes: 128 << 20 },
            Self::Server => Quota { entries: 500, bytes: 256 << 10, all_entries: 2_000, all_bytes: 1 << 20 },
            Self::Members => Quota { entries: 500, bytes: 256 << 10, all_entries: 8_000, all_bytes: 8 << 20 },
            Self::Refused | Self::Strangers => {
                Quota { entries: 100, bytes: 64 << 10, all_entries: 1_000, all_bytes: 512 << 10 }
            }
        }
    }
}

/// Where an entry belongs. Who has no certificate is known by its address: what it says of itself is no name.
pub fn place(event: &AuditEvent) -> Place {
    let is_operator = event.who.starts_with("admin/") || event.who.starts_with("tenant/");
    let is_member = event.who.starts_with("node/");
    if event.what.ends_with("-refused") {
        let (of_member, of_stranger) =
            (|| (Shelf::Refused, event.who.clone()), || (Shelf::Strangers, source(&event.from)));
        return if is_member { of_member() } else { of_stranger() };
    }
    match event.who.as_str() {
        // What nodes make the server write has quotas by its kind.
        "meshmgr" => (Shelf::Server, event.what.clone()),
        who if is_operator => (Shelf::Operators, who.to_owned()),
        who => (Shelf::Members, who.to_owned()),
    }
}

/// The source of a request: an IPv4 address, an IPv6 /48.
fn source(from: &str) -> String {
    match from.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(ip)) => format!("{:x}::/48", ip.to_bits() >> 80),
        Ok(IpAddr::V4(ip)) => ip.to_string(),
        Err(_) => "unknown".to_owned(),
    }
}

impl Ledger {
    /// Takes an entry that is in the store already; entries come oldest first.
    pub fn load(&mut self, place: Place, kept: Kept) {
        self.shelves.entry(place.0).or_default().push(place.1, kept);
    }

    /// Adds a new entry, and returns those that it displaces, which are out of the ledger from then on.
    pub fn add(&mut self, place: &Place, kept: Kept) -> Vec<(Place, Kept)> {
        let (shelf, actor) = place;
        let quota = shelf.quota();
        let actors = self.shelves.entry(*shelf).or_default();
        actors.push(actor.clone(), kept);
        let mut displaced = Vec::new();
        while displaced.len() < AT_ONCE {
            let loser = if actors.is_over(actor, &quota) {
                actor.clone()
            } else if actors.entries > quota.all_entries || actors.bytes > quota.all_bytes {
                let Some(busiest) = actors.busiest() else { break };
                busiest
            } else {
                break;
            };
            let Some(oldest) = actors.take_oldest(&loser) else { break };
            displaced.push(((*shelf, loser), oldest));
        }
        displaced
    }

    /// Takes back an [`Self::add`] whose transaction did not happen.
    pub fn undo(&mut self, place: &Place, displaced: Vec<(Place, Kept)>) {
        if let Some(actors) = self.shelves.get_mut(&place.0) {
            actors.take_newest(&place.1);
        }
        for ((shelf, actor), kept) in displaced.into_iter().rev() {
            self.shelves.entry(shelf).or_default().push_oldest(actor, kept);
        }
    }
}

impl Actors {
    fn push(&mut self, actor: String, kept: Kept) {
        self.count(&kept);
        let queue = self.actors.entry(actor).or_default();
        queue.bytes += kept.bytes;
        queue.kept.push_back(kept);
    }

    fn push_oldest(&mut self, actor: String, kept: Kept) {
        self.count(&kept);
        let queue = self.actors.entry(actor).or_default();
        queue.bytes += kept.bytes;
        queue.kept.push_front(kept);
    }

    const fn count(&mut self, kept: &Kept) {
        self.entries += 1;
        self.bytes += kept.bytes;
    }

    /// An actor is never left without its newest entry, however large that is.
    fn is_over(&self, actor: &str, quota: &Quota) -> bool {
        let over = |queue: &Queue| queue.kept.len() > quota.entries || queue.bytes > quota.bytes;
        self.actors.get(actor).is_some_and(|queue| queue.kept.len() > 1 && over(queue))
    }

    fn busiest(&self) -> Option<String> {
        let most = self.actors.iter().max_by_key(|(_, queue)| (queue.kept.len(), queue.bytes));
        most.filter(|_| self.entries > 1).map(|(actor, _)| actor.clone())
    }

    fn take_oldest(&mut self, actor: &str) -> Option<Kept> {
        self.take(actor, VecDeque::pop_front)
    }

    fn take_newest(&mut self, actor: &str) -> Option<Kept> {
        self.take(actor, VecDeque::pop_back)
    }

    fn take(&mut self, actor: &str, which: fn(&mut VecDeque<Kept>) -> Option<Kept>) -> Option<Kept> {
        let queue = self.actors.get_mut(actor)?;
        let kept = which(&mut queue.kept)?;
        queue.bytes -= kept.bytes;
        (self.entries, self.bytes) = (self.entries - 1, self.bytes - kept.bytes);
        if queue.kept.is_empty() {
            self.actors.remove(actor);
        }
        Some(kept)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
