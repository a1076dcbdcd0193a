//! The two verbs on the real kernel. One [`Kernel`] belongs to one thread: sockets, `/proc` and `nft` are those of the network
//! namespace that the thread is in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;

use super::checksums::Checks;
use super::counters::{self, Family};
use super::error::KernelError;
use super::failures::{Failures, is_entry};
use super::fdb::Guests;
use super::keeper::Keeper;
use super::netlink::{Netlink, Refusal, Request};
use super::request::{self, Verb};
use super::routes::Routes;
use super::watch::Watch;
use super::{addresses, fdb, nft, observe, sysctl, tap};
use crate::node::desired::{Kind, Link, Observed, ObservedGuard};
use crate::node::fence::{Refused, Said};
use crate::node::fence_text::{CHECKSUM, ROUTED};
use crate::node::guard::TABLE;
use crate::node::onlink::Step;
use crate::node::op::Op;
use crate::node::strays::{Ask, Way, Ways};
use crate::node::{fence_host, fence_text};
use crate::types::{IfName, Mac};

/// Name of a device until it gets its own together with its alias. What a crash leaves under it is removed with the next.
const UNNAMED: &str = "vxmesh-new";
/// What is done where the packet filter's counters are read.
const COUNTERS: &str = "reading the packet filter's counters";
const CHANGING: &str = "changing the kernel";
/// Entries that wait for their turn at most, before they are sent.
const PENDING: usize = 4096;

/// Looks at a new TAP, 5 ms apart, before what has it open is called another program.
const OPENED: u32 = 40;

/// Reads and changes the kernel.
#[derive(Debug)]
pub struct Kernel {
    netlink: Netlink,
    routes: Routes,
    indices: BTreeMap<IfName, u32>,
    filters: Keeper,
    guests: Guests,
    checks: Checks,
    /// [`Observed::rules_before_devices`], once it was tried.
    rules_before_devices: OnceLock<bool>,
}

impl Kernel {
    /// Opens the kernel of the calling thread's network namespace.
    ///
    /// # Errors
    /// There is no netlink.
    pub fn new() -> Result<Self, KernelError> {
        let netlink = Netlink::open().map_err(KernelError::socket("opening a netlink socket"))?;
        let routes = Routes::open().map_err(KernelError::socket("opening a netlink socket"))?;
        let (filters, guests, checks) = (Keeper::new(), Guests::default(), Checks::default());
        let rules_before_devices = OnceLock::new();
        Ok(Self { netlink, routes, indices: BTreeMap::new(), filters, guests, checks, rules_before_devices })
    }

    /// Has guests' checksums checked, or ends that where an earlier process has done so.
    #[must_use]
    pub fn with_checks(self, checks: Checks) -> Self {
        Self { checks, ..self }
    }

    /// The socket for questions about links.
    pub(super) const fn netlink(&mut self) -> &mut Netlink {
        &mut self.netlink
    }

    /// What the kernel holds now.
    ///
    /// # Errors
    /// [`KernelError::NoNft`], or the kernel cannot be read.
    pub fn observe(&mut self) -> Result<Observed, KernelError> {
        let observed = observe::observe(&mut self.netlink, &mut self.guests);
        let (mut observed, names) = observed.map_err(KernelError::socket("reading the kernel"))?;
        observed.checks = self.checks.observe(&observed, &names);
        // What a crash left half made is nobody's: taken for a stranger's vxlan device it would keep its UDP port for ever, and the
        // network that needs it would never be built, so never remove it.
        observed.links.retain(|name, _| name.as_str() != UNNAMED);
        observed.places.retain(|name, _| name.as_str() != UNNAMED);
        let new = sysctl::disable_ipv6("default");
        observed.new_without_ipv6 = new.unwrap_or(true);
        let off = |name: &IfName| new.is_none() || sysctl::disable_ipv6(name.as_str()) == Some(true);
        let bridge = |(_, link): &(&IfName, &Link)| matches!(link.kind, Kind::Bridge(_));
        let bridges = observed.links.iter().filter(bridge).map(|(name, _)| name);
        observed.no_ipv6 = bridges.filter(|name| off(name)).cloned().collect();
        observed.guard = self.filters.guard.observe()?;
        observed.fence = self.filters.fence.observe()?;
        if observed.fence.loaded().is_none() && observed.guard != ObservedGuard::Absent {
            observed.shut = nft::shut().map_err(|why| self.filters.unloaded(&observed.guard, why))?;
        }
        observed.tracks = self.filters.tracks();
        observed.zone = self.filters.zone();
        observed.rules_before_devices = self.rules_before_devices();
        observed.onlink = self.routes.observe();
        Ok(observed)
    }

    /// Tried once: a kernel does not change.
    fn rules_before_devices(&self) -> bool {
        if let Some(known) = self.rules_before_devices.get() {
            return *known;
        }
        let Ok(takes) = nft::takes(fence_host::PROBE) else { return false };
        *self.rules_before_devices.get_or_init(|| takes)
    }

    /// Does `ops` in order. When the packet filter cannot be changed, nothing after it is done. When another step fails, the
    /// steps after it on the same device are left out (a port whose flags were refused never comes up) and the rest is done;
    /// but where it was of a vxlan device, the guard opens nothing.
    ///
    /// # Errors
    /// What failed; the next [`Kernel::observe`] shows where that leaves us.
    pub fn apply(&mut self, ops: &[Op]) -> Result<(), KernelError> {
        self.indices.clear();
        let mut failures = Failures::default();
        let mut pending: Vec<(&Op, Request)> = Vec::new();
        for op in ops {
            if failures.stops(op) {
                continue;
            }
            if is_entry(op) {
                match self.entry(op) {
                    Ok(request) => pending.push((op, request)),
                    Err(error) => failures.add(op, error),
                }
                if pending.len() >= PENDING {
                    self.flush(&mut pending, &mut failures)?;
                }
                continue;
            }
            self.flush(&mut pending, &mut failures)?;
            match self.step(op) {
                Ok(()) => {}
                // Where no routes lead frames, the guard still holds them.
                Err(error) if op.device().is_none() && !matches!(op, Op::OnLink(_)) => return Err(error),
                Err(error) => failures.add(op, error),
            }
        }
        self.flush(&mut pending, &mut failures)?;
        failures.result()
    }

    /// Packets that each counter of the packet filter ([`crate::node::guard::COUNTERS`]) has seen.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn guard_counters(&self) -> Result<BTreeMap<String, u64>, KernelError> {
        let mut all = Self::counters(Family::Inet, TABLE)?;
        all.remove(ROUTED);
        for (name, packets) in Self::counters(Family::Netdev, TABLE)? {
            *all.entry(name).or_default() += packets;
        }
        Ok(all)
    }

    /// Frames that each counter of the filter behind the guests' ports ([`crate::node::fence_text::REASONS`]) has seen.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn guest_counters(&self) -> Result<BTreeMap<String, u64>, KernelError> {
        let read = |family| Self::counters(family, fence_text::TABLE);
        let mut all = read(Family::Bridge)?;
        let routed = Self::counters(Family::Inet, TABLE)?.remove_entry(ROUTED);
        for (name, packets) in read(Family::Inet)?.into_iter().chain(read(Family::Netdev)?).chain(routed) {
            *all.entry(name).or_default() += packets;
        }
        all.extend(self.checks.count().map(|frames| (format!("guest_{}", CHECKSUM.0), frames)));
        Ok(all)
    }

    fn counters(family: Family, table: &str) -> Result<BTreeMap<String, u64>, KernelError> {
        counters::read(family, table).map_err(KernelError::socket(COUNTERS))
    }

    /// Frames of guests that were dropped lately for a reason ([`crate::node::fence_text::REASONS`]).
    ///
    /// # Errors
    /// [`KernelError::NoNft`].
    pub fn refused_guests(&mut self, reason: &str) -> Result<Vec<Refused>, KernelError> {
        if reason == CHECKSUM.0 { Ok(self.checks.refused()) } else { nft::refused_guests(reason) }
    }

    /// Guests of networks that find theirs by themselves that were heard for the first time in a while, by interface.
    ///
    /// # Errors
    /// [`KernelError::NoNft`].
    pub fn spoken(&mut self) -> Result<Vec<(IfName, Mac)>, KernelError> {
        nft::spoken()
    }

    /// Has [`Kernel::spoken`] tell these guests again when they are heard again.
    ///
    /// # Errors
    /// [`KernelError::NoNft`], or the filter has gone.
    pub fn forget_spoken(&mut self, guests: &[(IfName, Mac)]) -> Result<(), KernelError> {
        self.filters.fence.amend(&nft::forget_spoken(guests))
    }

    /// IP addresses that such guests have spoken for.
    ///
    /// # Errors
    /// [`KernelError::NoNft`].
    pub fn own_addresses(&mut self) -> Result<Vec<(IfName, Mac, IpAddr)>, KernelError> {
        nft::own_addresses()
    }

    /// How long ago a bridge heard an Ethernet address behind a port; none: it does not know it there.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub fn last_heard(&mut self, port: &IfName, mac: Mac) -> Result<Option<Duration>, KernelError> {
        let Some((index, _)) = self.find(port.as_str())? else { return Ok(None) };
        fdb::last_heard(&mut self.netlink, index, mac).map_err(KernelError::socket("reading the kernel"))
    }

    /// Samples of what guests say and may not ([`crate::node::wrongs::SAMPLED`]).
    ///
    /// # Errors
    /// [`KernelError::NoNft`].
    pub fn said(&mut self, reason: &str) -> Result<Vec<Said>, KernelError> {
        nft::said(reason)
    }

    /// Which ways the kernel would take to VTEPs, all by one interface. Nothing where there is no such interface.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn ways(&mut self, asks: &[Ask]) -> Result<Ways, KernelError> {
        let Some(first) = asks.first() else { return Ok(Ways::default()) };
        let Some((index, _)) = self.find(first.interface.as_str())? else { return Ok(Ways::default()) };
        self.routes.ways(asks, index).map_err(KernelError::socket("asking for routes"))
    }

    /// By which way UDP leaves for each of these addresses, from no address in particular; none: by no way.
    ///
    /// # Errors
    /// The socket failed.
    pub fn out_ways(
        &mut self,
        ends: &[SocketAddr],
        dead: &BTreeSet<IpAddr>,
    ) -> Result<Vec<(IpAddr, Option<Way>)>, KernelError> {
        self.routes.out_ways(ends, dead).map_err(KernelError::socket("asking for routes"))
    }

    /// Something that says when the kernel's tables or the packet filter change.
    ///
    /// # Errors
    /// There is no netlink.
    pub fn watch(&self) -> Result<Watch, KernelError> {
        Watch::open(self.filters.clone()).map_err(KernelError::socket("watching the kernel"))
    }

    /// Sends all waiting entries.
    fn flush(&mut self, pending: &mut Vec<(&Op, Request)>, failures: &mut Failures) -> Result<(), KernelError> {
        let (ops, requests): (Vec<&Op>, Vec<Request>) = std::mem::take(pending).into_iter().unzip();
        let refused = self.netlink.batch(&requests).map_err(KernelError::socket("changing the kernel's tables"))?;
        ops.iter().for_each(|op| self.guests.done(op));
        for (at, refusal) in refused {
            if let Some(op) = ops.get(at).filter(|op| !(op.removes() && is_gone(&refusal))) {
                failures.add(op, told(op, &refusal));
            }
        }
        Ok(())
    }

    /// The request for one entry of a table.
    fn entry(&mut self, op: &Op) -> Result<Request, KernelError> {
        let device = op.device().cloned();
        let index = match &device {
            Some(name) => self.index(op, name)?,
            None => 0,
        };
        Ok(match op {
            Op::Pin { mac, .. } => request::bridge_entry(Verb::Replace, index, *mac),
            Op::Unpin { mac, .. } => request::bridge_entry(Verb::Delete, index, *mac),
            Op::SetVtep { mac, vtep, .. } | Op::DeleteVtep { mac, vtep, .. } => {
                let verb = if op.removes() { Verb::Delete } else { Verb::Replace };
                request::vxlan_entry(verb, index, *mac, vtep, self.via(op, vtep.via.as_ref())?)
            }
            Op::AddFlood { vtep, .. } | Op::DeleteFlood { vtep, .. } => {
                let verb = if op.removes() { Verb::Delete } else { Verb::Append };
                request::vxlan_entry(verb, index, Mac::ZERO, vtep, self.via(op, vtep.via.as_ref())?)
            }
            Op::SetNeighbour { address, mac, router, .. } => {
                request::neighbour(Verb::Replace, index, *address, Some((*mac, *router)))
            }
            Op::DeleteNeighbour { address, .. } => request::neighbour(Verb::Delete, index, *address, None),
            Op::LoadGuard(_)
            | Op::ChangeGuard { .. }
            | Op::DeleteGuard
            | Op::LoadFence(_)
            | Op::ChangeFence { .. }
            | Op::DeleteFence
            | Op::CheckChecksums { .. }
            | Op::LeaveChecksums { .. }
            | Op::OnLink(_)
            | Op::AddLink { .. }
            | Op::DeleteLink { .. }
            | Op::SetMtu { .. }
            | Op::NoAddresses { .. }
            | Op::SetBridge { .. }
            | Op::NoVlanFiltering { .. }
            | Op::SetMaster { .. }
            | Op::Plug { .. }
            | Op::Rename { .. }
            | Op::SetPort { .. }
            | Op::SetUp { .. } => unreachable!("is_entry() has sorted these out"),
        })
    }

    fn via(&mut self, op: &Op, name: Option<&IfName>) -> Result<Option<u32>, KernelError> {
        name.map(|name| self.index(op, name)).transpose()
    }

    /// One step that the next may depend on.
    fn step(&mut self, op: &Op) -> Result<(), KernelError> {
        match op {
            Op::LoadGuard(guard) => self.filters.guard.load(guard, &guard.text()),
            Op::ChangeGuard { from, to } => self.filters.guard.load(to, &to.change_from(from)),
            Op::DeleteGuard => self.filters.guard.delete(&nft::no_guard(self.rules_before_devices())),
            Op::LoadFence(fence) => self.filters.fence.load(fence, &fence.text()),
            Op::ChangeFence { from, to } => self.filters.fence.load(to, &to.change_from(from)),
            Op::DeleteFence => self.filters.fence.delete(&nft::no_fence(self.rules_before_devices())),
            Op::CheckChecksums { name, .. } | Op::LeaveChecksums { name } => self.check(op, name),
            Op::OnLink(step) => self.on_link(op, step),
            Op::AddLink { name, link } => self.add_link(op, name, link),
            Op::DeleteLink { name } => match self.index(op, name) {
                Ok(index) => {
                    self.indices.remove(name);
                    self.one(op, request::delete(index))
                }
                Err(_) => Ok(()),
            },
            Op::SetBridge { name, bridge } => {
                let index = self.index(op, name)?;
                self.one(op, request::bridge(index, bridge))?;
                sysctl::set(name, bridge).map_err(|why| KernelError::op(op, why.to_string()))
            }
            Op::NoVlanFiltering { name } => self.with(op, name, request::no_vlan_filtering),
            Op::SetMaster { name, bridge } => {
                let (index, bridge) = (self.index(op, name)?, self.index(op, bridge)?);
                self.one(op, request::master(index, bridge))
            }
            Op::Plug { name, bridge } => self.plug(op, name, bridge),
            Op::Rename { name, to } => {
                let index = self.index(op, name)?;
                self.indices.remove(name);
                self.one(op, request::up(index, false))?;
                self.one(op, request::rename(index, to))
            }
            Op::SetMtu { name, mtu } => self.with(op, name, |index| request::mtu(index, *mtu)),
            Op::NoAddresses { name } => self.no_addresses(op, name),
            Op::SetPort { name, flags } => self.with(op, name, |index| request::port(index, *flags)),
            Op::SetUp { name, up } => self.with(op, name, |index| request::up(index, *up)),
            Op::Pin { .. }
            | Op::Unpin { .. }
            | Op::SetVtep { .. }
            | Op::DeleteVtep { .. }
            | Op::AddFlood { .. }
            | Op::DeleteFlood { .. }
            | Op::SetNeighbour { .. }
            | Op::DeleteNeighbour { .. } => unreachable!("is_entry() has sorted these out"),
        }
    }

    /// A guest that was pulled out meanwhile is no failure.
    fn check(&mut self, op: &Op, name: &IfName) -> Result<(), KernelError> {
        let Ok(index) = self.index(op, name) else { return Ok(()) };
        let done = if op.removes() { self.checks.leave(name, index) } else { self.checks.check(name, index) };
        done.map_err(|why| KernelError::op(op, why.to_string()))
    }

    /// An interface that has an address of this host is no guest's: in a bridge the host would no longer be reached there.
    fn plug(&mut self, op: &Op, name: &IfName, bridge: &IfName) -> Result<(), KernelError> {
        let Some((index, _)) = self.find(name.as_str())? else { return Ok(()) };
        let own = addresses::of_host(&mut self.netlink, index);
        if let Some(address) = own.map_err(KernelError::socket("reading addresses"))? {
            return Err(KernelError::op(op, format!("this host has {address} there")));
        }
        let bridge = self.index(op, bridge)?;
        let answer = self.netlink.request(request::master(index, bridge)).map_err(KernelError::socket(CHANGING))?;
        match answer {
            Err(refusal) if !is_gone(&refusal) => Err(told(op, &refusal)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn on_link(&mut self, op: &Op, step: &Step) -> Result<(), KernelError> {
        let dev = if let Step::AddRoute(route) | Step::DeleteRoute(route) = step { route.dev.as_ref() } else { None };
        let index = match self.via(op, dev) {
            // The routes by an interface that is gone are gone too.
            Err(_) if op.removes() => return Ok(()),
            index => index?,
        };
        match self.routes.step(step, index).map_err(KernelError::socket(CHANGING))? {
            Err(refusal) if !(op.removes() && is_gone(&refusal)) => Err(told(op, &refusal)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn with(&mut self, op: &Op, name: &IfName, make: impl FnOnce(u32) -> Request) -> Result<(), KernelError> {
        let index = self.index(op, name)?;
        self.one(op, make(index))
    }

    fn add_link(&mut self, op: &Op, name: &IfName, link: &Link) -> Result<(), KernelError> {
        if let Some((left, _)) = self.find(UNNAMED)? {
            self.one(op, request::delete(left))?;
        }
        match &link.kind {
            Kind::Bridge(_) => self.one(op, request::new_bridge(UNNAMED, link.mtu))?,
            Kind::Vxlan(vxlan) => {
                let dev = vxlan.dev.as_ref().map(|dev| self.index(op, dev)).transpose()?;
                let create = request::new_vxlan(UNNAMED, vxlan, link.mtu, dev, vxlan.ipv6);
                self.one(op, create)?;
            }
            Kind::Tap(_) => self.make_tap(op)?,
            Kind::Other(_) => return Err(KernelError::op(op, "no device of ours")),
        }
        let (index, address) = self.find(UNNAMED)?.ok_or_else(|| missing(op, UNNAMED))?;
        if matches!(link.kind, Kind::Bridge(_)) {
            // Else it takes the lowest address of its ports, and each time that changes the kernel forgets all its neighbours,
            // permanent ones too (neigh_changeaddr, net/core/neighbour.c).
            self.one(op, request::address(index, address))?;
        }
        self.no_new_addresses(op, index)?;
        let alias = link.alias.as_deref().unwrap_or_default();
        self.one(op, request::christen(index, name, alias, link.mtu))?;
        self.indices.insert(name.clone(), index);
        Ok(())
    }

    /// A TAP that nobody has open. For a moment it is nobody's, and whoever has opened it then keeps what he has and could give it away.
    fn make_tap(&mut self, op: &Op) -> Result<(), KernelError> {
        make_tap(op)?;
        for _ in 0..OPENED {
            let link = self.find_link(UNNAMED)?;
            if link.as_ref().map_or(0, observe::queues) == 0 {
                return Ok(());
            }
            // A program that this one is about to start has it open, too, until it runs.
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(KernelError::op(op, "another program has opened it, so it is made anew"))
    }

    /// A device without IPv6, because its MTU is below 1280 or the host has none, gets no addresses anyway.
    fn no_new_addresses(&mut self, op: &Op, index: u32) -> Result<(), KernelError> {
        let answer = self.netlink.request(request::no_addresses(index)).map_err(KernelError::socket(CHANGING))?;
        match answer {
            Err(refusal) if refusal.errno != libc::EAFNOSUPPORT => Err(told(op, &refusal)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn no_addresses(&mut self, op: &Op, name: &IfName) -> Result<(), KernelError> {
        let index = self.index(op, name)?;
        self.no_new_addresses(op, index)?;
        let all = addresses::read(&mut self.netlink, index);
        for address in all.map_err(KernelError::socket("reading addresses"))? {
            self.one(op, request::delete_address(address))?;
        }
        Ok(())
    }

    fn one(&mut self, op: &Op, request: Request) -> Result<(), KernelError> {
        let answer = self.netlink.request(request).map_err(KernelError::socket(CHANGING))?;
        match answer {
            Err(refusal) if !(op.removes() && is_gone(&refusal)) => Err(told(op, &refusal)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn index(&mut self, op: &Op, name: &IfName) -> Result<u32, KernelError> {
        if let Some(index) = self.indices.get(name) {
            return Ok(*index);
        }
        let (index, _) = self.find(name.as_str())?.ok_or_else(|| missing(op, name.as_str()))?;
        self.indices.insert(name.clone(), index);
        Ok(index)
    }

    /// Index and Ethernet address of a device.
    fn find(&mut self, name: &str) -> Result<Option<(u32, Vec<u8>)>, KernelError> {
        Ok(self.find_link(name)?.map(|link| (link.header.index, request::address_of(&link))))
    }

    fn find_link(&mut self, name: &str) -> Result<Option<LinkMessage>, KernelError> {
        let answer = self.netlink.request(request::find(name)).map_err(KernelError::socket("looking for a device"))?;
        Ok(match answer {
            Ok(Some(RouteNetlinkMessage::NewLink(link))) => Some(link),
            Ok(_) | Err(_) => None,
        })
    }
}

fn make_tap(op: &Op) -> Result<(), KernelError> {
    let name: IfName = match UNNAMED.parse() {
        Ok(name) => name,
        Err(_) => unreachable!("{UNNAMED} is a name"),
    };
    tap::create_persistent(&name).map_err(|error| match error {
        tap::TapError::NoDevice => KernelError::NoTun,
        tap::TapError::Denied(_) => KernelError::NotAllowed,
        other @ (tap::TapError::Busy(_)
        | tap::TapError::Foreign(_)
        | tap::TapError::Missing(_)
        | tap::TapError::System { .. }) => KernelError::op(op, other.to_string()),
    })
}

fn is_gone(refusal: &Refusal) -> bool {
    matches!(refusal.errno, libc::ENOENT | libc::ENODEV | libc::ESRCH)
}

fn missing(op: &Op, name: &str) -> KernelError {
    KernelError::op(op, format!("there is no device {name}"))
}

/// A refusal in words that say what to do, where the number alone would not.
fn told(op: &Op, refusal: &Refusal) -> KernelError {
    match (refusal.errno, op) {
        (libc::EPERM, _) => KernelError::NotAllowed,
        (libc::EOPNOTSUPP, Op::AddLink { link, .. }) if link.vxlan().is_some() => KernelError::NoVxlan,
        (libc::EADDRINUSE, Op::SetUp { name, up: true }) => KernelError::PortTaken { name: name.clone() },
        _ => KernelError::op(op, refusal.to_string()),
    }
}
