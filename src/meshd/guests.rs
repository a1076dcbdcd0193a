//! What the kernel has dropped of this node's guests, told as events: which interface, which network, why. A guest whose frames carry
//! the address of another guest is told as a loop, because that is what bridging two networks looks like. The guard is read with it, so
//! that the status can count what both filters have dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::events::{About, Events};
use super::kernel::Kernel;
use crate::api::list::named;
use crate::api::local::Finding;
use crate::clock::mono;
use crate::linux::KernelError;
use crate::node::barred::Barred;
use crate::node::desired::{Desired, Observed};
use crate::node::dropped::Dropped;
use crate::node::fence::Refused;
use crate::node::fence_sizes::LARGE;
use crate::node::fence_text::{CHECKSUM, QUIET as NO_NEWS, REASONS, SPOKEN};
use crate::node::guard;
use crate::node::presence::Presence;
use crate::node::strangers::Strangers;
use crate::node::wrongs::{SAMPLED, Wrongs};
use crate::table::{Learning, NetKey, Row, RowKey, Slice};
use crate::types::{IfName, Mono, PortId};

/// How often the counters are read.
const EVERY: Duration = Duration::from_millis(1500);
/// The same where guests come by themselves.
const SOON: Duration = Duration::from_millis(400);
/// Reading them may take a twentieth of a core,
const COST_SHARE: u32 = 20;
/// but a guest that says what it may not is told of in time, also on a machine that is busy with other things.
const LATEST: Duration = Duration::from_secs(10);
/// The same reason for the same interface is told once in this time.
const QUIET: Duration = Duration::from_secs(60);
/// Ports of one interface that are named.
const NAMED: usize = 3;
/// Most that is told at once: what is above is told with the next look, if it goes on.
const MOST: usize = 16;

/// What was told, and when.
#[derive(Debug, Default)]
pub(super) struct Guests {
    next: Option<Mono>,
    counters: BTreeMap<String, u64>,
    told: BTreeMap<(IfName, &'static str, bool), Mono>,
    places: BTreeMap<IfName, NetKey>,
    wrongs: Wrongs,
    large: Dropped,
    mtus: BTreeMap<IfName, u32>,
    barred: Barred,
    strangers: Strangers,
}

impl Guests {
    /// Remembers which network each interface is on.
    pub(super) fn seen(&mut self, desired: &Desired, observed: &Observed) {
        let place = |(name, link): (&IfName, &crate::node::desired::Link)| {
            let net = desired.networks.get(&link.port.as_ref()?.bridge)?;
            Some((name.clone(), net.key.clone()))
        };
        self.mtus = observed.links.iter().map(|(name, link)| (name.clone(), link.mtu)).collect();
        self.places = observed.links.iter().filter_map(place).collect();
    }

    /// Reads the counters if it is time, and tells what is new. True: it was.
    ///
    /// # Errors
    /// `nft` does not answer.
    pub(super) fn look<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slice: &Slice,
        events: &Events,
        now: Mono,
    ) -> Result<bool, KernelError> {
        if self.next.is_some_and(|next| now < next) {
            return Ok(false);
        }
        // A guest that has moved is waited for.
        let learns = slice.networks.values().any(|network| network.learning == Learning::Local);
        let every = if learns { SOON } else { EVERY };
        self.next = Some(now + every);
        let start = mono();
        let counters = kernel.filter_counters()?;
        self.strangers.learn(&counters, now);
        let more = |reason: &str| {
            let name = format!("guest_{reason}");
            counters.get(&name).copied().unwrap_or_default() > self.counters.get(&name).copied().unwrap_or_default()
        };
        if more(LARGE.0) || !self.large.has_begun() {
            self.large.learn(&kernel.refused_guests(LARGE.0)?, &self.mtus);
        }
        let reasons = REASONS.iter().chain([&CHECKSUM]);
        let moved: Vec<_> = reasons.filter(|(reason, _)| more(reason) && !NO_NEWS.contains(reason)).collect();
        self.told.retain(|_, at| now.since(*at) < QUIET);
        let mut left = MOST;
        for (reason, meaning) in moved {
            if SAMPLED.contains(reason) {
                self.wrongs.learn(reason, &kernel.said(reason)?, now);
            }
            let refused = kernel.refused_guests(reason)?;
            self.barred.learn(&refused, now);
            self.wrongs.taken(slice, &self.places, &refused);
            for refused in refused {
                if left > 0 && self.tell(&refused, meaning, slice, events, now) {
                    left -= 1;
                }
            }
        }
        self.counters = counters;
        // Sets are as long as guests make them.
        self.next = Some(now + (mono().since(start) * COST_SHARE).clamp(every, LATEST));
        Ok(true)
    }

    /// What guests say and may not, and go on saying.
    pub(super) fn wrongs(&mut self, slice: &Slice, desired: &Desired, presence: &Presence, now: Mono) -> Vec<Finding> {
        self.wrongs.end(&self.places, now);
        self.wrongs.settle(slice, presence, &self.places, now);
        self.barred.end(&self.places, now);
        self.barred.settle(slice, &self.places, now);
        let large = self.large.findings(desired, &self.places, &self.mtus, now);
        let barred = self.barred.findings(slice, desired, &self.places);
        let strangers = self.strangers.finding(desired.guard.ports.iter()).into_iter().collect();
        [self.wrongs.findings(slice, desired, presence, &self.places), barred, large, strangers].concat()
    }

    /// How often a guest of a network that finds its guests by itself was heard for the first time in a while, as of the last look.
    pub(super) fn spoken(&self) -> u64 {
        self.counters.get(SPOKEN).copied().unwrap_or_default()
    }

    /// Which network each interface is on.
    pub(super) const fn places(&self) -> &BTreeMap<IfName, NetKey> {
        &self.places
    }

    /// What the packet filters have dropped, by counter; only those above zero.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let dropped = |(name, count): &(&String, &u64)| {
            **count > 0 && *name != SPOKEN && !guard::ACCEPTED.contains(&name.as_str())
        };
        let all = self.counters.iter().filter(dropped).map(|(name, count)| (name.clone(), *count));
        all.chain(self.large.counts().map(|(device, count)| (format!("guest_{}.{device}", LARGE.0), count))).collect()
    }

    fn tell(&mut self, refused: &Refused, meaning: &str, slice: &Slice, events: &Events, now: Mono) -> bool {
        let owner = refused.mac.and_then(|mac| slice.rows.iter().find(|(key, _)| key.mac == mac));
        let behind = |key: &RowKey, row: &Row| {
            let net = self.places.get(&refused.interface);
            row.interface.as_ref() == Some(&refused.interface) && net.is_some_and(|net| key.is_in(net))
        };
        if refused.reason == "mac" && owner.is_some_and(|(key, row)| row.node == slice.node && behind(key, row)) {
            // It was declared a moment ago: what was dropped is of before.
            return false;
        }
        let what = (refused.interface.clone(), refused.reason, owner.is_some());
        if self.told.contains_key(&what) {
            return false;
        }
        self.told.insert(what, now);
        let Refused { interface, frames, .. } = refused;
        let (place, about) = self.place(slice, interface);
        match owner {
            Some((RowKey { overlay, vni, mac, .. }, row)) => {
                let whose =
                    row.port.as_ref().map_or_else(|| format!("guest {mac}"), |port| format!("port {port} ({mac})"));
                let text = format!(
                    "{place}: {frames} frames of {whose} of network {overlay}/{vni} came in there and were dropped: its \
                     guest joins two networks, or takes the address of another"
                );
                events.by_guest("guest-loop", interface, text, about);
            }
            None => {
                let from = refused.mac.map_or_else(String::new, |mac| format!(", such as {mac}"));
                let text = format!("{place}: {frames} frames dropped: {meaning}{from}");
                events.by_guest("guest-refused", interface, text, about);
            }
        }
        true
    }

    /// An interface in words, with its ports, network and node, and the same in fields.
    fn place(&self, slice: &Slice, interface: &IfName) -> (String, About) {
        let node = &slice.node;
        let mut about = About { interface: Some(interface.clone()), node: Some(node.clone()), ..About::default() };
        let Some(net) = self.places.get(interface) else {
            return (format!("{interface} (no network now) on {node}"), about);
        };
        let own = |row: &Row| row.node == *node && row.interface.as_ref() == Some(interface);
        let ports: BTreeSet<&PortId> =
            slice.rows_of(net).filter(|(_, row)| own(row)).filter_map(|(_, row)| row.port.as_ref()).collect();
        about.port = ports.first().filter(|_| ports.len() == 1).map(|port| (*port).clone());
        about.network = slice.networks.get(net).map(|network| network.name.clone());
        let whose = match ports.len() {
            0 => "which no port names".to_owned(),
            1 => format!("of port {}", named(&ports, NAMED)),
            _ => format!("of ports {}", named(&ports, NAMED)),
        };
        let name = about.network.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        (format!("{interface} {whose} (network {name}, {net}) on {node}"), about)
    }
}

#[cfg(test)]
#[path = "guests_tests.rs"]
mod tests;
