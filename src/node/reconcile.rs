//! Ops = desired - observed, in an order in which nothing leaks meanwhile: the packet filter shuts before anything opens, devices
//! are locked down before they come up, addresses are known before anything floods, and the filter lets go of a UDP port only
//! when the last device on it is gone.
//!
//! A device is ours by name *and* alias. Whatever else bears our name, or holds our UDP port, is foreign: it is reported by
//! [`conflicts`], never touched, and the network that it blocks is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::checksums;
use super::desired::{BridgeEntry, Desired, Hold, Kind, Link, Net, Observed, ObservedFence, ObservedGuard, Vtep};
use super::fence::{self, Fence};
use super::guard::Guard;
use super::guard_path;
use super::names::{self, Device};
pub use super::op::Op;
use super::plugs;
use super::watch::ECHO_VNI;
use super::{onlink, outside};
use crate::api::cut::Cut;
use crate::api::list::named;
use crate::api::local::Finding;
use crate::policy::mtu::IPV6_LEAST;
use crate::policy::path::Path;
use crate::types::{IfName, Mac, UdpPort};

/// The steps from what is to what should be. Empty once they are done. With [`Desired::default`] they remove all that is ours.
pub fn diff(desired: &Desired, observed: &Observed) -> Vec<Op> {
    let blocked = blocked(desired, observed);
    let wanted: BTreeMap<&IfName, &Net> =
        desired.networks.iter().filter(|(bridge, _)| !blocked.contains_key(bridge)).collect();
    let parked = if desired.keeps_plugs {
        plugs::parked(observed, |bridge| wanted.contains_key(bridge))
    } else {
        BTreeMap::new()
    };
    let mut gone = stale(&wanted, observed);
    gone.retain(|name| !parked.contains_key(name));
    let kept = kept_guard(desired, &wanted, observed);
    let (lay, lift) = onlink::diff(&desired.onlink.on(&kept.ports), observed);
    let fence = fence(desired, &wanted, &parked, observed);
    let (first, last) = guards(kept, &fence, &listening(&gone, observed), observed);
    let (shut, open) = fences(fence, observed);
    let (check, leave) = checksums::diff(&wanted, observed);

    let mut ops = Vec::new();
    ops.extend(first);
    ops.extend(lay.into_iter().map(Op::OnLink));
    // Before the packet filter lets anything of it pass.
    ops.extend(check);
    ops.extend(shut);
    ops.extend(gone.iter().map(|name| Op::DeleteLink { name: (*name).clone() }));
    let gone: BTreeSet<&IfName> = gone.into_iter().collect();
    for (bridge, net) in wanted {
        Work { bridge, net, observed, gone: &gone, ops: &mut ops }.all();
    }
    ops.extend(last);
    ops.extend(open);
    ops.extend(leave);
    ops.extend(lift.into_iter().map(Op::OnLink));
    ops
}

/// Steps that remove all that is ours and nothing else: [`diff`] towards nothing.
pub fn cleanup(observed: &Observed) -> Vec<Op> {
    diff(&Desired::default(), observed)
}

/// A TAP of ours that some process has open, whatever folders it was told to use: a TAP has a carrier for as long as somebody holds it
/// (`drivers/net/tun.c`), and nobody holds ours but a `meshd` that runs.
pub fn held(observed: &Observed) -> Option<&IfName> {
    let is_held = |(name, link): &(&IfName, &Link)| {
        let tap = matches!(link.kind, Kind::Tap(_)) && names::parse(name.as_str()).is_some();
        tap && link.up && !observed.dark.contains(*name)
    };
    observed.links.iter().find(is_held).map(|(name, _)| name)
}

/// What others have done that is in the way: foreign devices that block networks, and addresses on devices of ours.
pub fn conflicts(desired: &Desired, observed: &Observed) -> Vec<Finding> {
    let blocked = blocked(desired, observed);
    let built = desired.networks.iter().filter(|(bridge, _)| !blocked.contains_key(bridge)).map(|(_, net)| net);
    let taken: Vec<(&Net, &IfName)> = built.filter_map(|net| Some((net, same_vni(net, observed)?))).collect();
    let mut findings: Vec<Finding> = blocked.into_values().collect();
    findings.dedup();
    let ours =
        observed.addresses.iter().filter(|(name, _)| observed.links.get(*name).is_some_and(|l| is_ours(name, l)));
    findings.extend(ours.filter_map(|(name, addresses)| Some(addressed(name, addresses.first()?, addresses.len()))));
    findings.extend(onlink::unsupported(desired, observed));
    findings.extend(checksums::open(observed));
    findings.extend(outside::mistaken(desired, observed));
    findings.extend(taken.iter().map(|(net, other)| foreign_vni(net, other)));
    findings.extend(observed.zone.as_deref().filter(|_| !desired.networks.is_empty()).map(zoned));
    findings.extend(latecomers(observed, &taken.iter().map(|(_, other)| *other).collect()));
    findings
}

/// True where a device is ours: its name fits the scheme, its alias names the network of that name, and it is of that kind.
pub fn is_ours(name: &IfName, link: &Link) -> bool {
    let Some((device, vni, _)) = names::parse(name.as_str()) else { return false };
    let kind = match &link.kind {
        Kind::Bridge(_) => device == Device::Bridge,
        Kind::Vxlan(_) => device == Device::Vxlan,
        Kind::Tap(_) => matches!(device, Device::Tap | Device::Near | Device::Far),
        Kind::Other(_) => false,
    };
    kind && link.network().is_some_and(|net| net.vni == vni)
}

/// Networks that cannot be built, by bridge, and why.
pub(super) fn blocked<'a>(desired: &'a Desired, observed: &Observed) -> BTreeMap<&'a IfName, Finding> {
    let taken = taken_ports(observed);
    let why = |net: &Net| {
        let foreign =
            net.links.keys().find_map(|name| observed.links.get(name).filter(|l| !is_ours(name, l)).map(|l| (name, l)));
        if let Some((name, link)) = foreign {
            return Some(foreign_name(net, name, link));
        }
        let port = net.vxlan.as_ref().and_then(|name| net.links.get(name)?.vxlan())?.udp_port;
        taken.get(&port).map(|other| foreign_port(net, port, other))
    };
    desired.networks.iter().filter_map(|(bridge, net)| Some((bridge, why(net)?))).collect()
}

/// UDP ports that vxlan devices of others hold and none of ours does. Where one of ours is there already, the foreign one came
/// later and has to look for another port; ours stays, behind its filter.
fn taken_ports(observed: &Observed) -> BTreeMap<u16, &IfName> {
    let ours = our_ports(observed);
    let foreign = observed.links.iter().filter(|(name, link)| !is_ours(name, link));
    let port = |(name, link): (_, &Link)| Some((link.vxlan()?.udp_port, name));
    foreign.filter_map(port).filter(|(port, _)| !ours.iter().any(|p| p.get() == *port)).collect()
}

/// The vxlan device of others that has the VNI of a network's own at its UDP port, where that one is not there: the kernel makes no second one
/// (`vxlan_vni_in_use`, drivers/net/vxlan/vxlan_core.c).
fn same_vni<'a>(net: &Net, observed: &'a Observed) -> Option<&'a IfName> {
    let name = net.vxlan.as_ref().filter(|name| !observed.links.contains_key(*name))?;
    let wanted = net.links.get(name)?.vxlan()?;
    let is = |link: &Link| link.vxlan().is_some_and(|held| (held.vni, held.udp_port) == (wanted.vni, wanted.udp_port));
    observed.links.iter().find(|(name, link)| !is_ours(name, link) && is(link)).map(|(name, _)| name)
}

/// No `notrack` holds against a zone.
fn zoned(chain: &str) -> Finding {
    let what = format!(
        "a rule of chain {chain} gives packets a zone of connection tracking (ct zone set) whatever their interface: guests' flows that meet it \
         are tracked, so they may fill the host's table of connections, and its NAT may change their frames where bridges show them to packet filters"
    );
    let help =
        "nft list ruleset | grep -B5 'ct zone set'; give the rule the interfaces that it is for (iifname, oifname)";
    Finding::new("M0618", what, help).cuts(Cut::node(false))
}

fn foreign_vni(net: &Net, other: &IfName) -> Finding {
    let what = format!(
        "network {}: the vxlan device {other}, which is not ours, has the VNI {} at the UDP port of this network, so ours cannot be made: \
         guests here do not reach those on other nodes of this PDC",
        net.key, net.key.vni
    );
    let help = format!("ip -d link show {other}; ip link delete {other}, or give it another VNI or UDP port");
    Finding::new("M0612", what, help).cuts(Cut::way(&net.key, Path::Plain))
}

/// vxlan devices of others on a UDP port that ours had before: the kernel lets them share it, our filter does not.
fn latecomers(observed: &Observed, told: &BTreeSet<&IfName>) -> Option<Finding> {
    let ours = our_ports(observed);
    let port =
        |link: &Link| UdpPort::try_from(u64::from(link.vxlan()?.udp_port)).ok().filter(|port| ours.contains(port));
    let foreign = observed.links.iter().filter(|(name, link)| !is_ours(name, link) && !told.contains(name));
    let late: Vec<_> = foreign.filter_map(|(name, link)| Some((name, port(link)?))).collect();
    let (name, port) = late.first()?;
    let names = named(late.iter().map(|(name, _)| name), 1);
    let what = format!(
        "the vxlan device {names}, which is not ours, has come to UDP port {port} of our networks: our packet filter drops \
         what anybody but our peers sends there, and ours goes on"
    );
    let help = format!(
        "ip -d link show {name}; give it another UDP port, or its overlay: meshctl overlay set NAME --udp-port PORT"
    );
    Some(Finding::new("M0612", what, help).harmless())
}

fn our_ports(observed: &Observed) -> BTreeSet<UdpPort> {
    let ours = observed.links.iter().filter(|(name, link)| is_ours(name, link));
    ours.filter_map(|(_, link)| UdpPort::try_from(u64::from(link.vxlan()?.udp_port)).ok()).collect()
}

/// Devices of ours that have to go: no longer wanted, or wanted with an attribute that cannot be changed. vxlan devices go first.
fn stale<'a>(wanted: &BTreeMap<&IfName, &Net>, observed: &'a Observed) -> Vec<&'a IfName> {
    let wanted: BTreeMap<&IfName, &Link> = wanted.values().flat_map(|net| &net.links).collect();
    let stays = |name: &IfName, link: &Link| {
        wanted
            .get(name)
            .is_some_and(|w| w.alias == link.alias && (w.kind == link.kind || matches!(w.kind, Kind::Bridge(_))))
    };
    let ours = observed.links.iter().filter(|(name, link)| is_ours(name, link));
    let mut gone: Vec<&IfName> = ours.filter(|(name, link)| !stays(name, link)).map(|(name, _)| name).collect();
    let rank = |name: &IfName| match names::parse(name.as_str()).map(|(device, _, _)| device) {
        Some(Device::Vxlan) => 0,
        Some(Device::Tap | Device::Near | Device::Far) => 1,
        Some(Device::Bridge) | None => 2,
    };
    gone.sort_by_key(|name| rank(name));
    gone
}

/// The guard without UDP ports that others hold and that no network of ours uses.
fn kept_guard(desired: &Desired, wanted: &BTreeMap<&IfName, &Net>, observed: &Observed) -> Guard {
    let taken = taken_ports(observed);
    let used = |port: &UdpPort| {
        wanted.values().any(|net| net.links.values().any(|l| l.vxlan().is_some_and(|v| v.udp_port == port.get())))
    };
    let mut guard = desired.guard.clone();
    guard.ports.retain(|port| !taken.contains_key(&port.get()) || used(port));
    // Where no device of ours will listen nobody is let in.
    for side in [&mut guard.admin, &mut guard.external].into_iter().flatten() {
        side.members.retain(|(port, ..)| used(port));
    }
    guard
}

/// UDP ports at which vxlan devices of ours listen, and go on to.
fn listening(gone: &[&IfName], observed: &Observed) -> BTreeSet<UdpPort> {
    let stays = |(name, link): &(&IfName, &Link)| is_ours(name, link) && link.up && !gone.contains(name);
    let port = |link: &Link| UdpPort::try_from(u64::from(link.vxlan()?.udp_port)).ok();
    observed.links.iter().filter(stays).filter_map(|(_, link)| port(link)).collect()
}

/// The step that shuts the filter before all others, and the one that lets go of UDP ports and interfaces after all others. Nobody is let in to a
/// port at which no device of ours listens yet: any user of the host may have been there first, and would read what peers send.
fn guards(kept: Guard, fence: &Fence, listening: &BTreeSet<UdpPort>, observed: &Observed) -> (Option<Op>, Option<Op>) {
    let loaded = observed.guard.loaded();
    let through = |fence: &Fence| (!fence.by_device).then(|| fence.bridges.clone());
    let untracked = observed.tracks || loaded.is_some_and(|guard| guard.untracked);
    let shut = |fence: &Fence| if fence.is_empty() { BTreeSet::new() } else { fence.shut().cloned().collect() };
    let doors = guard_path::doors(&kept, observed);
    let wanted = Guard { shut: shut(fence), through: through(fence), untracked, doors, ..kept };
    let mut first = wanted.clone();
    first.ports.extend(our_ports(observed));
    for side in [&first.admin, &first.external].into_iter().flatten() {
        first.early.extend(side.members.iter().map(|(port, ..)| *port).filter(|port| !listening.contains(port)));
    }
    if let Some(old) = observed.fence.loaded() {
        let keeping = fence.keeping(old);
        (first.shut, first.through) = (shut(&keeping), through(&keeping));
    }
    let step = |from: &ObservedGuard, to: &Guard| match from {
        ObservedGuard::Loaded(from) if from == to => None,
        ObservedGuard::Absent if to.is_empty() => None,
        _ if to.is_empty() => Some(Op::DeleteGuard),
        ObservedGuard::Loaded(from) => Some(Op::ChangeGuard { from: from.clone(), to: to.clone() }),
        ObservedGuard::Absent | ObservedGuard::Unknown => Some(Op::LoadGuard(to.clone())),
    };
    let close = step(&observed.guard, &first);
    let same = first == wanted || first.is_empty() && wanted.is_empty();
    let open = if same { None } else { step(&ObservedGuard::Loaded(first), &wanted) };
    (close, open)
}

/// What guests may send, with what is on the bridges now.
fn fence(
    desired: &Desired,
    wanted: &BTreeMap<&IfName, &Net>,
    parked: &BTreeMap<&IfName, BTreeSet<&IfName>>,
    observed: &Observed,
) -> Fence {
    let mut fence = desired.fence.with_found(wanted, observed);
    fence.bridges.retain(|bridge| wanted.contains_key(bridge));
    if !desired.keeps_plugs {
        fence.outside.clear();
    }
    for (bridge, guests) in parked {
        fence.park(bridge, guests);
    }
    fence
}

/// The step that says what guests may send before anything else is done, and the one that lets go of them after all else.
fn fences(fence: Fence, observed: &Observed) -> (Option<Op>, Option<Op>) {
    match &observed.fence {
        ObservedFence::Absent if fence.is_empty() => (None, None),
        ObservedFence::Unknown | ObservedFence::Loaded(_) if fence.is_empty() => (None, Some(Op::DeleteFence)),
        ObservedFence::Loaded(from) if *from == fence => (None, None),
        ObservedFence::Loaded(from) => {
            let first = fence.keeping(from);
            let change = |from: &Fence, to: &Fence| Op::ChangeFence { from: from.clone(), to: to.clone() };
            let shut = (first != *from).then(|| change(from, &first));
            (shut, (first != fence).then(|| change(&first, &fence)))
        }
        ObservedFence::Absent | ObservedFence::Unknown => (Some(Op::LoadFence(fence)), None),
    }
}

/// The steps of one network.
struct Work<'a> {
    bridge: &'a IfName,
    net: &'a Net,
    observed: &'a Observed,
    gone: &'a BTreeSet<&'a IfName>,
    ops: &'a mut Vec<Op>,
}

impl<'a> Work<'a> {
    fn all(&mut self) {
        let net = self.net;
        let bridge = self.bridge;
        let ports = net.links.iter().filter(|(name, _)| *name != bridge);
        if let Some(link) = net.links.get(self.bridge) {
            self.device(self.bridge, link);
        }
        for (name, link) in ports.clone() {
            self.device(name, link);
        }
        self.forget();
        if let Some(link) = net.links.get(self.bridge) {
            self.up(self.bridge, link);
        }
        self.learn();
        for (name, link) in ports {
            self.up(name, link);
        }
        self.flood();
    }

    /// The device as it is now, if it is there and stays.
    fn now(&self, name: &IfName) -> Option<&'a Link> {
        self.observed.links.get(name).filter(|_| !self.gone.contains(name))
    }

    /// Made if it is not there, then everything about it but whether it is up.
    fn device(&mut self, name: &IfName, want: &Link) {
        let now = self.now(name);
        let name = || name.clone();
        if now.is_none() {
            self.ops.push(Op::AddLink { name: name(), link: Link { up: false, port: None, ..want.clone() } });
        }
        let ipv6_begins = ipv6_begins(now, want);
        if ipv6_begins && now.is_some_and(|now| now.up) {
            self.ops.push(Op::SetUp { name: name(), up: false });
        }
        if now.is_some_and(|now| now.mtu != want.mtu) {
            self.ops.push(Op::SetMtu { name: name(), mtu: want.mtu });
        }
        if ipv6_begins || now.is_some_and(|now| !now.no_addresses) {
            self.ops.push(Op::NoAddresses { name: name() });
        }
        if let Kind::Bridge(bridge) = &want.kind
            && (ipv6_begins || now.is_none_or(|now| now.kind != want.kind))
        {
            self.ops.push(Op::SetBridge { name: name(), bridge: bridge.clone() });
            if now.is_some_and(|now| matches!(&now.kind, Kind::Bridge(now) if now.vlan_filtering)) {
                self.ops.push(Op::NoVlanFiltering { name: name() });
            }
        }
        let Some(port) = &want.port else { return };
        let enslaved = self.enslaved(now, want);
        if !enslaved {
            // A port starts with everything allowed, so it is down until its flags are set.
            if now.is_some_and(|now| now.up) {
                self.ops.push(Op::SetUp { name: name(), up: false });
            }
            self.ops.push(Op::SetMaster { name: name(), bridge: port.bridge.clone() });
        }
        if !enslaved || now.and_then(|now| now.port.as_ref()) != Some(port) {
            self.ops.push(Op::SetPort { name: name(), flags: port.flags });
        }
    }

    /// True where the device stands in the right bridge already. A bridge that is made anew has no ports yet.
    fn enslaved(&self, now: Option<&Link>, want: &Link) -> bool {
        let bridge = |link: &Link| link.port.as_ref().map(|p| p.bridge.clone());
        now.is_some_and(|now| bridge(now) == bridge(want)) && self.now(self.bridge).is_some()
    }

    fn up(&mut self, name: &IfName, want: &Link) {
        let now = self.now(name);
        let taken_down = ipv6_begins(now, want) || want.port.is_some() && !self.enslaved(now, want);
        if want.up && (taken_down || now.is_none_or(|now| !now.up)) {
            self.ops.push(Op::SetUp { name: name.clone(), up: true });
        }
    }

    /// Removes what the tables should not hold, floods first.
    fn forget(&mut self) {
        let net = self.net;
        if let Some(vxlan) = net.vxlan.as_ref().filter(|name| self.now(name).is_some()) {
            for vtep in self.observed.flood.get(vxlan).into_iter().flatten().filter(|v| !net.flood.contains(v)) {
                self.ops.push(Op::DeleteFlood { vxlan: vxlan.clone(), vtep: vtep.clone() });
            }
        }
        if self.now(self.bridge).is_some() {
            // What the kernel heard itself is not permanent and goes by itself.
            let known = self.observed.neighbours.get(self.bridge).into_iter().flatten();
            for (address, _) in known.filter(|(a, n)| n.permanent && !net.neighbours.contains_key(a)) {
                self.ops.push(Op::DeleteNeighbour { bridge: self.bridge.clone(), address: *address });
            }
        }
        let bound = self.bound();
        for (mac, entry) in self.bridge_entries() {
            // Only what stands on our own ports, and what only we set on the guests'.
            let ours = net.links.contains_key(&entry.port) || entry.hold == Hold::Pinned;
            if ours && !net.bridge_fdb.contains_key(mac) && !bound.contains_key(mac) {
                self.ops.push(Op::Unpin { port: entry.port.clone(), mac: *mac });
            }
        }
    }

    /// Fills the tables; what moved from one path to the other leaves the old one last.
    fn learn(&mut self) {
        let net = self.net;
        let pinned: BTreeMap<&Mac, &BridgeEntry> = self.bridge_entries().collect();
        let stray = net.vxlan.as_ref().map(|vxlan| self.vteps(vxlan));
        let bound = self.bound();
        let wanted = net.bridge_fdb.iter().chain(&bound);
        for (mac, entry) in wanted.filter(|(mac, entry)| pinned.get(mac) != Some(entry)) {
            debug_assert_eq!(entry.hold, Hold::Pinned, "nothing but pinned entries is ever wanted");
            self.ops.push(Op::Pin { port: entry.port.clone(), mac: *mac });
        }
        self.ops.extend(stray.into_iter().flatten());
        self.keep_apart();
        // A bridge that is taken down forgets them all, permanent ones too.
        let bridge = self
            .now(self.bridge)
            .filter(|now| net.links.get(self.bridge).is_none_or(|want| !ipv6_begins(Some(now), want)));
        let known = self.observed.neighbours.get(self.bridge).filter(|_| bridge.is_some());
        let ipv6 = match self.now(self.bridge) {
            Some(_) => !self.observed.no_ipv6.contains(self.bridge),
            None => !self.observed.new_without_ipv6,
        };
        for (address, neighbour) in net.neighbours.iter().filter(|(address, _)| ipv6 || address.is_ipv4()) {
            if known.and_then(|k| k.get(address)) != Some(neighbour) {
                let (bridge, mac, router) = (self.bridge.clone(), neighbour.mac, neighbour.router);
                self.ops.push(Op::SetNeighbour { bridge, address: *address, mac, router });
            }
        }
    }

    /// Guests' ports that are not to hear what is for guests that are not there, and what loses or doubles frames there.
    fn keep_apart(&mut self) {
        if self.now(self.bridge).is_none() {
            return;
        }
        let floods = fence::floods(self.net, self.bridge, self.observed);
        for (name, link) in &self.observed.links {
            let Some(port) = link.port.as_ref().filter(|port| port.bridge == *self.bridge) else { continue };
            let flood = floods && (self.net.floods_unknown || !self.net.guests.contains_key(name));
            let flags = port.flags.of_guest(flood);
            if !is_ours(name, link) && port.flags != flags {
                self.ops.push(Op::SetPort { name: name.clone(), flags });
            }
        }
    }

    /// Sets what the vxlan device should know and returns the steps that remove what it should not.
    fn vteps(&mut self, vxlan: &IfName) -> Vec<Op> {
        let net = self.net;
        let none = BTreeMap::new();
        let now = self.observed.vxlan_fdb.get(vxlan).filter(|_| self.now(vxlan).is_some()).unwrap_or(&none);
        let delete = |mac: &Mac, vtep: &Vtep| Op::DeleteVtep { vxlan: vxlan.clone(), mac: *mac, vtep: vtep.clone() };
        for (mac, vtep) in &net.vxlan_fdb {
            let here = now.get(mac);
            let right = here.is_some_and(|here| here.contains(vtep));
            // Setting replaces one wrong VTEP; any more of them get copies of the guest's frames.
            let wrong = here.into_iter().flatten().filter(|other| *other != vtep).skip(usize::from(!right));
            self.ops.extend(wrong.map(|other| delete(mac, other)));
            if !right {
                self.ops.push(Op::SetVtep { vxlan: vxlan.clone(), mac: *mac, vtep: vtep.clone() });
            }
        }
        let stray = now.iter().filter(|(mac, _)| !net.vxlan_fdb.contains_key(mac));
        stray.flat_map(|(mac, vteps)| vteps.iter().map(move |vtep| delete(mac, vtep))).collect()
    }

    /// What holds bound guests to their interfaces, where those stand in the bridge.
    fn bound(&self) -> BTreeMap<Mac, BridgeEntry> {
        if self.now(self.bridge).is_none() {
            return BTreeMap::new();
        }
        fence::pinned(self.net, self.bridge, self.observed)
    }

    fn flood(&mut self) {
        let Some(vxlan) = &self.net.vxlan else { return };
        let now = self.observed.flood.get(vxlan).filter(|_| self.now(vxlan).is_some());
        for vtep in self.net.flood.iter().filter(|v| !now.is_some_and(|now| now.contains(v))) {
            self.ops.push(Op::AddFlood { vxlan: vxlan.clone(), vtep: vtep.clone() });
        }
    }

    /// Entries of the bridge that outlive the steps so far: those on devices that go, go with them.
    fn bridge_entries(&self) -> impl Iterator<Item = (&'a Mac, &'a BridgeEntry)> + use<'a> {
        let (gone, here) = (self.gone, self.now(self.bridge).is_some());
        let entries = self.observed.bridge_fdb.get(self.bridge).filter(|_| here);
        entries.into_iter().flatten().filter(move |(_, entry)| !gone.contains(&entry.port))
    }
}

/// True where a device gets an MTU that IPv6 can live with after one that it could not. The kernel then begins IPv6 anew there, with
/// the switches of a new device (`addrconf_notify`, net/ipv6/addrconf.c): on a device that is up, with an address at once and open to
/// router advertisements. So it is down meanwhile.
fn ipv6_begins(now: Option<&Link>, want: &Link) -> bool {
    let least = u32::from(IPV6_LEAST);
    now.is_some_and(|now| now.mtu < least && want.mtu >= least)
}

fn foreign_name(net: &Net, name: &IfName, link: &Link) -> Finding {
    let alias =
        link.alias.as_deref().map_or_else(|| "no alias".to_owned(), |a| format!("alias '{}'", a.escape_debug()));
    Finding::new(
        "M0611",
        format!(
            "network {}: there is a device {name} ({}, {alias}) that is not ours; it is left alone and the network is not built",
            net.key,
            link.kind.word()
        ),
        format!("find out whose it is (ip -d link show {name}), then rename or delete it"),
    )
    .cuts(Cut::network(&net.key))
}

/// An operator who gives our bridge an address means to reach its guests, or to be their gateway. Neither works.
fn addressed(name: &IfName, address: &IpAddr, all: usize) -> Finding {
    let more = if all > 1 { format!(" and {} more", all - 1) } else { String::new() };
    Finding::new(
        "M0615",
        format!(
            "{name} has the address {address}{more}, which nobody can reach: nothing from a network gets to its host or through \
             it, and this host's own packets to guests are never answered"
        ),
        format!("take it off: ip address flush dev {name}{}", by_a_port(name)),
    )
    .harmless()
}

/// How this host gets into a network whose bridge was given an address: as a guest of it does, by a port. Our other devices are nobody's way in.
fn by_a_port(name: &IfName) -> &'static str {
    let bridge =
        names::parse(name.as_str()).is_some_and(|(kind, vni, _)| kind == Device::Bridge && vni.get() != ECHO_VNI);
    if !bridge {
        return "";
    }
    "; for this host to be in the network, a veth pair whose one end is a port's interface: ip link add h0 type veth peer name h1; ip link set h0 up; \
     ip link set h1 up; where meshctl has admin rights: meshctl port create NAME --network NETWORK --node NODE --mac MAC-OF-h0 --ip ADDRESS \
     --interface h1; then here: ip address add ADDRESS/LENGTH dev h0"
}

fn foreign_port(net: &Net, port: u16, other: &IfName) -> Finding {
    Finding::new(
        "M0612",
        format!(
            "network {}: UDP port {port} belongs to the vxlan device {other}, which is not ours; the network is not built",
            net.key
        ),
        format!("give overlay '{}' another UDP port, or remove {other}", net.key.overlay),
    )
    .cuts(Cut::network(&net.key))
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
