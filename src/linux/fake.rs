//! The same two verbs in memory: a kernel for tests that need no rights, and for showing what a plan would do. It refuses what the
//! real one refuses, so that an order that only works here is found here.

use std::collections::BTreeMap;

use super::error::KernelError;
use crate::node::desired::{
    BridgeEntry, Hold, Kind, Link, Neighbour, Observed, ObservedFence, ObservedGuard, Place, Port, PortFlags,
};
use crate::node::onlink::Step;
use crate::node::op::Op;
use crate::policy::mtu::IPV6_LEAST;
use crate::types::IfName;

/// A kernel in memory.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    /// What it holds. Tests put foreign devices and drift in here.
    pub state: Observed,
    /// Every step ever done, as text.
    pub log: Vec<String>,
    /// Numbers of links; the next one is one more than any so far.
    numbers: (u32, BTreeMap<IfName, u32>),
}

/// What the kernel gives a new bridge port.
pub const NEW_PORT: PortFlags = PortFlags {
    isolated: false,
    learning: true,
    locked: false,
    neigh_suppress: false,
    flood: true,
    mcast_flood: true,
    bcast_flood: true,
    hairpin: false,
    proxy_arp: false,
};

impl Fake {
    /// What it holds.
    ///
    /// # Errors
    /// Never; the real one does.
    pub fn observe(&mut self) -> Result<Observed, KernelError> {
        Ok(Observed { places: self.places(), ..self.state.clone() })
    }

    /// Numbers the links that are new, and says where each stands; of links that are none of ours, what it was told.
    fn places(&mut self) -> BTreeMap<IfName, Place> {
        let (last, numbers) = &mut self.numbers;
        numbers.retain(|name, _| self.state.links.contains_key(name));
        let place = |(name, link): (&IfName, &Link)| {
            let index = *numbers.entry(name.clone()).or_insert_with(|| {
                *last += 1;
                *last
            });
            let master = link.port.as_ref().map(|port| port.bridge.to_string());
            (name.clone(), Place { index, master, up: link.up, card: false })
        };
        self.state.places.clone().into_iter().chain(self.state.links.iter().map(place)).collect()
    }

    /// Does `ops` in order and stops at the first that the kernel would refuse.
    ///
    /// # Errors
    /// The refusal.
    pub fn apply(&mut self, ops: &[Op]) -> Result<(), KernelError> {
        for op in ops {
            let done = self.step(op);
            self.tidy();
            done.map_err(|why| KernelError::op(op, why))?;
            self.log.push(op.to_string());
        }
        Ok(())
    }

    fn step(&mut self, op: &Op) -> Result<(), &'static str> {
        match op {
            Op::LoadGuard(guard) => self.state.guard = ObservedGuard::Loaded(guard.clone()),
            Op::ChangeGuard { from, to } => {
                if self.state.guard != ObservedGuard::Loaded(from.clone()) {
                    return Err("No such file or directory");
                }
                self.state.guard = ObservedGuard::Loaded(to.clone());
            }
            Op::DeleteGuard => self.state.guard = ObservedGuard::Absent,
            Op::LoadFence(fence) => self.state.fence = ObservedFence::Loaded(fence.clone()),
            Op::ChangeFence { from, to } => {
                if self.state.fence != ObservedFence::Loaded(from.clone()) {
                    return Err("No such file or directory");
                }
                self.state.fence = ObservedFence::Loaded(to.clone());
            }
            Op::DeleteFence => self.state.fence = ObservedFence::Absent,
            Op::CheckChecksums { name, .. } => {
                self.link(name)?;
                let checks = &mut self.state.checks;
                checks.lost.remove(name);
                checks.some.insert(name.clone());
                checks.right.insert(name.clone());
            }
            Op::LeaveChecksums { name } => {
                self.state.checks.some.remove(name);
                self.state.checks.right.remove(name);
            }
            Op::OnLink(step) => self.on_link(step)?,
            Op::AddLink { name, link } => self.add(name, link)?,
            Op::DeleteLink { name } => self.delete(name),
            Op::SetMtu { name, mtu } => self.set_mtu(name, *mtu)?,
            Op::NoAddresses { name } => self.link(name)?.no_addresses = true,
            Op::SetBridge { name, bridge } => {
                let filtering = matches!(&self.link(name)?.kind, Kind::Bridge(now) if now.vlan_filtering);
                let bridge = crate::node::desired::Bridge { vlan_filtering: filtering, ..bridge.clone() };
                self.link(name)?.kind = Kind::Bridge(bridge);
            }
            Op::NoVlanFiltering { name } => {
                if let Kind::Bridge(bridge) = &mut self.link(name)?.kind {
                    bridge.vlan_filtering = false;
                }
            }
            Op::SetMaster { name, bridge } | Op::Plug { name, bridge } => self.enslave(name, bridge)?,
            Op::Rename { name, to } => {
                let link = Link { up: false, ..self.state.links.remove(name).ok_or("No such device")? };
                self.state.links.insert(to.clone(), link);
                for link in self.state.links.values_mut() {
                    if let Some(port) = link.port.as_mut().filter(|port| port.bridge == *name) {
                        port.bridge = to.clone();
                    }
                }
            }
            Op::SetPort { name, flags } => {
                self.link(name)?.port.as_mut().ok_or("Operation not supported")?.flags = *flags;
            }
            Op::SetUp { name, up } => self.set_up(name, *up)?,
            Op::Pin { .. } | Op::Unpin { .. } => self.bridge_entry(op)?,
            Op::SetVtep { .. } | Op::DeleteVtep { .. } | Op::AddFlood { .. } | Op::DeleteFlood { .. } => {
                self.vxlan_entry(op)?;
            }
            Op::SetNeighbour { bridge, address, mac, router } => {
                let link = self.link(bridge)?;
                if !link.up {
                    return Err("Network is down");
                }
                let off = link.mtu < u32::from(IPV6_LEAST) || self.state.no_ipv6.contains(bridge);
                if address.is_ipv6() && off {
                    return Err("IPv6 is disabled on this device");
                }
                let neighbour = Neighbour { mac: *mac, permanent: true, router: *router };
                self.state.neighbours.entry(bridge.clone()).or_default().insert(*address, neighbour);
            }
            Op::DeleteNeighbour { bridge, address } => {
                self.state.neighbours.entry(bridge.clone()).or_default().remove(address);
            }
        }
        Ok(())
    }

    fn on_link(&mut self, step: &Step) -> Result<(), &'static str> {
        let up = |dev: &IfName| self.state.is_up(dev);
        match step {
            Step::AddRoute(route) if !route.dev.as_ref().is_none_or(up) => return Err("Network is down"),
            Step::AddRoute(route) => drop(self.state.onlink.table.routes.insert(route.clone())),
            Step::DeleteRoute(route) => drop(self.state.onlink.table.routes.remove(route)),
            Step::AddRule(_) if self.state.onlink.unsupported.is_some() => return Err("Operation not supported"),
            Step::AddRule(rule) => drop(self.state.onlink.table.rules.insert(rule.clone())),
            Step::DeleteRule(rule) => drop(self.state.onlink.table.rules.remove(rule)),
        }
        Ok(())
    }

    /// IPv6 ends below its least MTU and begins anew above it.
    fn set_mtu(&mut self, name: &IfName, mtu: u32) -> Result<(), &'static str> {
        let (link, least) = (self.link(name)?, u32::from(IPV6_LEAST));
        let before = std::mem::replace(&mut link.mtu, mtu);
        if before < least && mtu >= least {
            if link.up {
                return Err("a device of ours got addresses from the kernel");
            }
            link.no_addresses = false;
            if let Kind::Bridge(bridge) = &mut link.kind {
                bridge.accept_ra = 1;
            }
        }
        if mtu < least {
            self.state.neighbours.entry(name.clone()).or_default().retain(|address, _| address.is_ipv4());
        }
        Ok(())
    }

    fn bridge_entry(&mut self, op: &Op) -> Result<(), &'static str> {
        let (Op::Pin { port, mac } | Op::Unpin { port, mac }) = op else { return Ok(()) };
        let bridge = self.link(port)?.port.as_ref().map(|p| p.bridge.clone()).ok_or("Operation not supported")?;
        let table = self.state.bridge_fdb.entry(bridge).or_default();
        if op.removes() {
            table.remove(mac);
        } else {
            table.insert(*mac, BridgeEntry { port: port.clone(), hold: Hold::Pinned });
        }
        Ok(())
    }

    fn vxlan_entry(&mut self, op: &Op) -> Result<(), &'static str> {
        let device = op.device().ok_or("Invalid argument")?.clone();
        self.link(&device)?;
        let state = &mut self.state;
        if let Op::SetVtep { mac, vtep, .. } | Op::DeleteVtep { mac, vtep, .. } = op {
            let table = state.vxlan_fdb.entry(device).or_default();
            let vteps = table.entry(*mac).or_default();
            if op.removes() {
                vteps.remove(vtep);
            } else {
                vteps.pop_first();
                vteps.insert(vtep.clone());
            }
            table.retain(|_, vteps| !vteps.is_empty());
        } else if let Op::AddFlood { vtep, .. } | Op::DeleteFlood { vtep, .. } = op {
            let list = state.flood.entry(device).or_default();
            if op.removes() {
                list.remove(vtep);
            } else {
                list.insert(vtep.clone());
            }
        }
        Ok(())
    }

    fn link(&mut self, name: &IfName) -> Result<&mut Link, &'static str> {
        self.state.links.get_mut(name).ok_or("No such device")
    }

    fn add(&mut self, name: &IfName, link: &Link) -> Result<(), &'static str> {
        if self.state.links.contains_key(name) {
            return Err("File exists");
        }
        if let Some(vxlan) = link.vxlan() {
            let same = |other: &Link| other.vxlan().is_some_and(|o| (o.vni, o.udp_port) == (vxlan.vni, vxlan.udp_port));
            if self.state.links.values().any(same) {
                return Err("A VXLAN device with the specified VNI already exists");
            }
        }
        let mut link = Link { up: false, port: None, ..link.clone() };
        if let Kind::Bridge(bridge) = &mut link.kind {
            (bridge.mcast_snooping, bridge.accept_ra, bridge.arp_ignore) = (true, 1, 0);
            if self.state.new_without_ipv6 {
                self.state.no_ipv6.insert(name.clone());
            }
        }
        self.state.links.insert(name.clone(), link);
        Ok(())
    }

    fn delete(&mut self, name: &IfName) {
        let state = &mut self.state;
        state.links.remove(name);
        state.no_ipv6.remove(name);
        self.numbers.1.remove(name);
        for link in state.links.values_mut() {
            link.port = link.port.take().filter(|port| port.bridge != *name);
        }
        state.bridge_fdb.remove(name);
        self.leave(name);
        self.state.vxlan_fdb.remove(name);
        self.state.flood.remove(name);
        self.state.neighbours.remove(name);
    }

    /// The device is no longer a port of anything.
    fn leave(&mut self, name: &IfName) {
        for table in self.state.bridge_fdb.values_mut() {
            table.retain(|_, entry| entry.port != *name);
        }
    }

    /// The kernel shows no empty tables.
    fn tidy(&mut self) {
        self.state.bridge_fdb.retain(|_, table| !table.is_empty());
        self.state.vxlan_fdb.retain(|_, table| !table.is_empty());
        self.state.flood.retain(|_, list| !list.is_empty());
        self.state.neighbours.retain(|_, table| !table.is_empty());
    }

    fn enslave(&mut self, name: &IfName, bridge: &IfName) -> Result<(), &'static str> {
        if !matches!(self.link(bridge)?.kind, Kind::Bridge(_)) {
            return Err("Operation not supported");
        }
        self.link(name)?;
        self.leave(name);
        self.link(name)?.port = Some(Port { bridge: bridge.clone(), flags: NEW_PORT });
        Ok(())
    }

    fn set_up(&mut self, name: &IfName, up: bool) -> Result<(), &'static str> {
        let link = self.link(name)?;
        // The promise that no test would see from outside: a port of ours never passes a frame before it is locked down.
        if up && link.port.as_ref().is_some_and(|port| port.flags == NEW_PORT) && !matches!(link.kind, Kind::Other(_)) {
            return Err("a port of ours came up before its flags were set");
        }
        link.up = up;
        if !up {
            self.state.neighbours.remove(name);
        }
        Ok(())
    }
}
