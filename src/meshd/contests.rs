//! Guests of networks with `learning: local` that two nodes hear: those that this node hears and another one has in the table are claimed,
//! and those that this node has and another one hears are asked, and let go where they do not answer. What is reported of guests is said here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use super::guests::Guests;
use super::heard::Heard;
use super::kernel::Kernel;
use super::shared::{Shared, Topic};
use crate::api::stream::{Contested, FoundPort};
use crate::linux::KernelError;
use crate::node::contest::Claims;
use crate::node::discover::Guest;
use crate::node::op::Op;
use crate::node::questions::{Own, Questions, Step, frames};
use crate::table::Slice;
use crate::types::{IfName, Mac, Mono};

/// An address that a guest behind an interface has spoken as.
type Spoken = (IfName, Mac, IpAddr);

/// What is known of them.
#[derive(Debug, Default)]
pub(super) struct Contests {
    /// Guests found at the last look, and the interface that each is behind.
    found: BTreeMap<FoundPort, IfName>,
    heard: Heard,
    claims: Claims,
    questions: Questions,
    spoken: u64,
    /// Guests that have gone, which the packet filter is to tell when they come back.
    left: Vec<(IfName, Mac)>,
    /// The bridges were looked at: what is not in `found` is not here.
    looked: bool,
}

impl Contests {
    /// What an earlier process knew.
    pub(super) fn read(run: &Path) -> Self {
        Self { heard: Heard::read(run), ..Self::default() }
    }

    /// Takes what was found on our bridges, and adds who is silent there.
    pub(super) fn found(
        &mut self,
        mut ports: BTreeMap<FoundPort, IfName>,
        (slice, guests): (&Slice, &Guests),
        shared: &Shared,
        now: Mono,
    ) {
        self.heard.add(&mut ports, slice, guests.places(), now);
        let gone = self.found.iter().filter(|(port, interface)| {
            ports.get(*port) != Some(interface) && find(&ports, &(port.network.clone(), port.mac)).is_none()
        });
        for (port, interface) in gone {
            self.claims.let_go(&(port.network.clone(), port.mac), Some(interface), now);
            self.left.push((interface.clone(), port.mac));
        }
        self.found = ports;
        self.looked = true;
        self.say(shared, false);
    }

    /// Guests found at the last look.
    pub(super) fn known(&self) -> BTreeSet<Guest> {
        self.found.keys().map(|port| (port.network.clone(), port.mac)).collect()
    }

    /// Takes the whole list of guests of this node that others hear.
    pub(super) fn set(&mut self, contested: &[Contested]) {
        self.questions.set(contested);
    }

    /// True while guests are being asked.
    pub(super) fn is_asking(&self) -> bool {
        self.questions.is_asking()
    }

    /// Does what is due. True: a guest was let go, and the kernel has to be looked at again.
    pub(super) fn tend<K: Kernel>(
        &mut self,
        kernel: &mut K,
        (slice, guests): (&Slice, &Guests),
        shared: &Shared,
        now: Mono,
    ) -> bool {
        self.hear(kernel, slice, guests, now).unwrap_or_else(|error| tracing::warn!("guests that were heard: {error}"));
        self.claims.end(guests.places(), &self.known(), now);
        for (port, interface) in self.claims.granted(slice) {
            // Its bridge learns it with its next frame, which may be long in coming.
            self.heard.note(&port, &interface, now);
            self.found.insert(port, interface);
        }
        let again = [self.claims.forget(now), std::mem::take(&mut self.left)].concat();
        forget(kernel, &again);
        let (steps, spoken) = self.steps(kernel, now);
        let asked: Vec<&Guest> = steps.iter().filter(|(_, step)| *step == Step::Ask).map(|(guest, _)| guest).collect();
        ask(&spoken, &self.found, &asked, shared);
        let gone: Vec<&Guest> = steps.iter().filter(|(_, step)| *step == Step::LetGo).map(|(guest, _)| guest).collect();
        for guest in &gone {
            self.let_go(kernel, guest, shared, now);
        }
        let denied = self.looked && steps.iter().any(|(_, step)| *step == Step::Deny);
        let again = self.claims.repeat(now) || denied;
        self.say(shared, again);
        shared.find(Topic::Contests, [self.questions.findings(), self.claims.findings(slice, now)].concat());
        !gone.is_empty()
    }

    /// Reads which guests were heard, if some were.
    fn hear<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slice: &Slice,
        guests: &Guests,
        now: Mono,
    ) -> Result<(), KernelError> {
        if guests.spoken() == self.spoken {
            return Ok(());
        }
        self.claims.learn(slice, guests.places(), &kernel.spoken()?, now);
        self.spoken = guests.spoken();
        Ok(())
    }

    /// What is due of those that are asked, and which addresses guests have spoken as, where some are.
    fn steps<K: Kernel>(&mut self, kernel: &mut K, now: Mono) -> (Vec<(Guest, Step)>, Vec<Spoken>) {
        let (found, mut addresses) = (&self.found, None);
        let steps = self.questions.tend(now, |guest| {
            let (port, interface) = find(found, guest)?;
            let heard = kernel.last_heard(interface, guest.1).ok()?;
            let addresses = addresses.get_or_insert_with(|| kernel.own_addresses().unwrap_or_default());
            let spoke = addresses.iter().any(|(name, mac, _)| name == interface && *mac == guest.1);
            Some(Own { interface: interface.clone(), heard, askable: spoke || !port.ips.is_empty() })
        });
        (steps, addresses.unwrap_or_default())
    }

    /// A guest that does not answer.
    fn let_go<K: Kernel>(&mut self, kernel: &mut K, guest: &Guest, shared: &Shared, now: Mono) {
        let Some((port, interface)) = find(&self.found, guest).map(|(p, i)| (p.clone(), i.clone())) else { return };
        // Nothing to remove: the bridge has forgotten it before.
        let removed = kernel.apply(&[Op::Unpin { port: interface.clone(), mac: guest.1 }]);
        removed.unwrap_or_else(|error| tracing::debug!("{} behind {interface}: {error}", guest.1));
        self.found.remove(&port);
        self.heard.forget(guest, now);
        self.claims.let_go(guest, None, now);
        // It may come back.
        forget(kernel, &[(interface.clone(), guest.1)]);
        let text = format!(
            "{} of network {} behind {interface} does not answer, and another node hears it: it is that node's",
            guest.1, guest.0
        );
        shared.events.info("guest-moved", text);
    }

    /// Says which guests are here, `again`: though nothing has changed.
    fn say(&self, shared: &Shared, again: bool) {
        let claims =
            self.claims.ports().filter(|claim| find(&self.found, &(claim.network.clone(), claim.mac)).is_none());
        let mut ports: Vec<FoundPort> = self.found.keys().cloned().chain(claims).collect();
        ports.sort();
        shared.say(|outgoing| {
            outgoing.ports = ports;
            outgoing.ports_said = outgoing.ports_said.wrapping_add(u64::from(again));
        });
    }
}

/// The port of a guest, and the interface that it is behind.
fn find<'a>(found: &'a BTreeMap<FoundPort, IfName>, guest: &Guest) -> Option<(&'a FoundPort, &'a IfName)> {
    let from = FoundPort { network: guest.0.clone(), mac: guest.1, ips: BTreeSet::new() };
    found.range(from..).next().filter(|(port, _)| port.network == guest.0 && port.mac == guest.1)
}

/// Has the packet filter tell these again when they are heard again.
fn forget<K: Kernel>(kernel: &mut K, guests: &[(IfName, Mac)]) {
    if !guests.is_empty() {
        let done = kernel.forget_spoken(guests);
        done.unwrap_or_else(|error| tracing::warn!("guests that were heard: {error}"));
    }
}

/// Asks guests whether they are there.
fn ask(spoken: &[Spoken], found: &BTreeMap<FoundPort, IfName>, guests: &[&Guest], shared: &Shared) {
    let mut all = Vec::new();
    for guest in guests {
        let Some((port, interface)) = find(found, guest) else { continue };
        let own = spoken.iter().filter(|(name, mac, _)| name == interface && *mac == guest.1).map(|(.., ip)| *ip);
        let addresses: BTreeSet<IpAddr> = own.chain(port.ips.iter().copied()).collect();
        let Some(slot) = shared.view().slots.net(&guest.0) else { continue };
        all.extend(frames(guest.1, &addresses).into_iter().map(|frame| (slot, frame)));
    }
    if !all.is_empty() {
        shared.lanes.announce(all);
    }
}
