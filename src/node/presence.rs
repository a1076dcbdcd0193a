//! Whether each guest of this node is where it belongs: the interface behind its port is there, stands in the bridge of its network and
//! is up. What is not so is told with port, interface and the way out; what went while its guest was still heard is told too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::desired::{Desired, Observed, ObservedFence};
use super::names::{self, Device};
use super::outside;
use super::plugs::{self, Plugs};
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::api::stream::AwayGuest;
use crate::policy::path::Path;
use crate::table::{NetKey, RowKey, Slice};
use crate::types::{IfName, Mac, Mono, Mtu, PortId, Wall};

/// A guest that was heard so long before its interface went was at work.
const AT_WORK: Duration = Duration::from_secs(60);
/// How long it is told that the interface of a guest at work has gone. A guest that was shut down looks the same.
const TOLD: Duration = Duration::from_secs(3600);
/// How long it stands wrong before it is told: who plugs in a guest does it in several steps.
const SETTLES: Duration = Duration::from_secs(3);
/// Findings of one kind that name a port; the rest is counted.
const NAMED: usize = 8;

/// One Ethernet address of a network, behind this node's ports.
pub type Guest = (NetKey, Mac);

/// Where a guest is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// The bridge of its network.
    pub bridge: IfName,
    /// The interface that its port names, or that it has spoken behind.
    pub interface: Option<IfName>,
    /// How that stands.
    pub at: At,
    /// How long ago the bridge heard it, at the last look.
    pub heard: Option<Duration>,
    /// MTU of that interface, bytes, where it stands in a bridge of ours.
    pub mtu: Option<u32>,
}

/// How an interface stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// In its bridge, up.
    Plugged,
    /// In its bridge, down.
    Down,
    /// In its bridge, up, without a carrier: the guest has set its own end down, or does not run. The bridge hands it nothing.
    Dark,
    /// In its bridge, up, and set not to forward.
    Blocked,
    /// In its bridge, up, and kept apart from all that lead elsewhere, which are isolated as well.
    Isolated,
    /// In something of others.
    Elsewhere(String),
    /// In another bridge of ours.
    OtherNetwork(IfName),
    /// In nothing, and the kernel does not let it be plugged.
    Refused(String),
    /// In nothing.
    Nowhere,
    /// In nothing, and it is the host's own, which a finding of its own tells.
    Hosts,
    /// There is no such interface.
    Absent,
    /// Its port names no interface, and it has not spoken yet.
    Silent,
}

/// Where this node's guests are, all of them.
pub fn look(desired: &Desired, observed: &Observed, plugs: &Plugs) -> BTreeMap<Guest, Here> {
    let mut guests = BTreeMap::new();
    for (bridge, net) in &desired.networks {
        let named = net.guests.iter().flat_map(|(name, macs)| macs.iter().map(move |mac| (*mac, Some(name.clone()))));
        let pin = |mac: &Mac| match &observed.fence {
            ObservedFence::Loaded(fence) => fence.pins.get(&(bridge.clone(), *mac)).map(|pin| pin.interface.clone()),
            ObservedFence::Absent | ObservedFence::Unknown => None,
        };
        let loose = net.loose.iter().map(|mac| (*mac, pin(mac)));
        for (mac, interface) in named.chain(loose) {
            let at = interface.as_ref().map_or(At::Silent, |name| at(name, bridge, observed, plugs));
            let heard = interface.as_ref().and_then(|name| observed.heard.get(name)?.get(&mac).copied());
            let mtu = interface.as_ref().and_then(|name| observed.links.get(name)).map(|link| link.mtu);
            guests.insert((net.key.clone(), mac), Here { bridge: bridge.clone(), interface, at, heard, mtu });
        }
    }
    guests
}

fn at(name: &IfName, bridge: &IfName, observed: &Observed, plugs: &Plugs) -> At {
    let Some(place) = observed.places.get(name) else { return At::Absent };
    match &place.master {
        Some(master) if master == bridge.as_str() => {
            let isolated =
                observed.links.get(name).and_then(|link| link.port.as_ref()).is_some_and(|port| port.flags.isolated);
            match (place.up, observed.blocked.contains(name)) {
                (false, _) => At::Down,
                (true, _) if observed.dark.contains(name) => At::Dark,
                (true, true) => At::Blocked,
                (true, false) if isolated => At::Isolated,
                (true, false) => At::Plugged,
            }
        }
        Some(master) => match master.parse() {
            Ok(other) if plugs::says_ours(master, observed) => At::OtherNetwork(other),
            Ok(_) | Err(_) => At::Elsewhere(master.clone()),
        },
        None if outside::is_mistaken(name, observed) => At::Hosts,
        None => plugs.why(name).map_or(At::Nowhere, |why| At::Refused(why.to_owned())),
    }
}

/// What is remembered of one guest between looks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Kept {
    /// The interface that all of it is of: of another one that its port names now nothing is known yet.
    interface: Option<IfName>,
    /// When it was last heard.
    seen: Option<Mono>,
    /// Since when its interface is not there, or has no carrier.
    away: Option<(Wall, Mono)>,
    /// It was at work then.
    at_work: bool,
    /// Since when it stands as it stands now.
    stands: Option<(At, Mono)>,
}

/// All guests of this node as of the last look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Presence {
    here: BTreeMap<Guest, Here>,
    kept: BTreeMap<Guest, Kept>,
    /// Ports of ours that do not forward, with their network, and since when.
    stuck: BTreeMap<IfName, (NetKey, Mono)>,
    /// Bridges that only plugs are left of, with the first interface and how many there are.
    parked: BTreeMap<IfName, (IfName, usize)>,
    /// When the last look was.
    looked: Option<Mono>,
}

/// One guest that is not where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub mac: Mac,
    /// Its interface.
    pub interface: Option<IfName>,
    /// How that stands.
    pub at: At,
    /// Since when there is no such interface, or it has no carrier.
    pub since: Option<Wall>,
}

impl Presence {
    /// Takes a new look.
    pub fn learn(&mut self, desired: &Desired, observed: &Observed, plugs: &Plugs, (now, wall): (Mono, Wall)) {
        let here = look(desired, observed, plugs);
        self.kept.retain(|guest, _| here.contains_key(guest));
        for (guest, of) in &here {
            let kept = self.kept.entry(guest.clone()).or_default();
            if kept.interface != of.interface {
                *kept = Kept { interface: of.interface.clone(), ..Kept::default() };
            }
            if let Some(heard) = of.heard {
                kept.seen = kept.seen.max(Some(now - heard));
            }
            if kept.stands.as_ref().is_none_or(|(at, _)| *at != of.at) {
                kept.stands = Some((of.at.clone(), now));
            }
            if !matches!(of.at, At::Absent | At::Dark) {
                (kept.away, kept.at_work) = (None, false);
            } else if kept.away.is_none() {
                kept.at_work = kept.seen.is_some_and(|seen| now.since(seen) <= AT_WORK);
                kept.away = Some((wall, now));
            }
        }
        let ours = desired.networks.values().flat_map(|net| net.links.keys().map(move |name| (name, &net.key)));
        let stuck = ours.filter(|(name, _)| observed.blocked.contains(*name)).map(|(name, key)| {
            let since = self.stuck.get(name).map_or(now, |(_, since)| *since);
            (name.clone(), (key.clone(), since))
        });
        self.stuck = stuck.collect();
        let parked = plugs::parked(observed, |bridge| desired.networks.contains_key(bridge));
        let first = |(bridge, guests): (&IfName, BTreeSet<&IfName>)| {
            Some((bridge.clone(), ((*guests.first()?).clone(), guests.len())))
        };
        self.parked = parked.into_iter().filter_map(first).collect();
        self.here = here;
        self.looked = Some(now);
    }

    /// When to look again at what did not stand wrong for long enough to be told: what is known of it is of the last look, and whoever
    /// plugs in a guest may have been done a moment later.
    pub fn again(&self) -> Option<Mono> {
        let wrong =
            self.here.iter().filter(|(_, here)| !matches!(here.at, At::Plugged | At::Silent | At::Hosts | At::Absent));
        let since = wrong.filter_map(|(guest, _)| Some(self.kept.get(guest)?.stands.as_ref()?.1));
        since.map(|since| since + SETTLES).filter(|at| self.looked.is_some_and(|looked| looked < *at)).min()
    }

    /// Where a guest is.
    pub fn of(&self, guest: &Guest) -> Option<&Here> {
        self.here.get(guest)
    }

    /// The interface of a guest and its MTU, where that is less than `mtu`, its network's: larger packets to the guest end there.
    pub fn small(&self, guest: &Guest, mtu: Mtu) -> Option<(&IfName, u32)> {
        let here = self.of(guest).filter(|here| matches!(here.at, At::Plugged | At::Isolated))?;
        let own = here.mtu.filter(|own| *own < u32::from(mtu.get()))?;
        Some((here.interface.as_ref()?, own))
    }

    /// How many of a network's guests are plugged in.
    pub fn plugged(&self, net: &NetKey) -> usize {
        self.of_net(net).filter(|(_, here)| here.at == At::Plugged).count()
    }

    /// Guests of a network that are not.
    pub fn missing(&self, net: &NetKey) -> Vec<Missing> {
        let missing = self.of_net(net).filter(|(_, here)| here.at != At::Plugged);
        let one = |(guest, here): (&Guest, &Here)| {
            let since = self.kept.get(guest).and_then(|kept| kept.away).map(|(wall, _)| wall);
            Missing { mac: guest.1, interface: here.interface.clone(), at: here.at.clone(), since }
        };
        missing.map(one).collect()
    }

    /// Guests whose interface is not there, so many of them.
    pub fn away(&self, most: usize) -> Vec<AwayGuest> {
        let away = self.here.iter().filter(|(_, here)| here.at == At::Absent);
        let one = |((network, mac), here): (&Guest, &Here)| {
            Some(AwayGuest { network: network.clone(), mac: *mac, interface: here.interface.clone()? })
        };
        away.filter_map(one).take(most).collect()
    }

    fn of_net<'a>(&'a self, net: &'a NetKey) -> impl Iterator<Item = (&'a Guest, &'a Here)> {
        self.here.iter().filter(move |((of, _), _)| of == net)
    }

    /// What is wrong with it. Of an interface that several ports name it is told once.
    pub fn findings(&self, slice: &Slice, now: Mono) -> Vec<Finding> {
        let mut told: BTreeMap<(&IfName, &IfName), (&'static str, Wrong)> = BTreeMap::new();
        for (guest, here) in &self.here {
            let Some(interface) = &here.interface else { continue };
            let kept = self.kept.get(guest);
            let seen = kept.and_then(|kept| Some(self.looked?.since(kept.stands.as_ref()?.1)));
            if here.at != At::Absent && seen.is_none_or(|seen| seen < SETTLES) {
                continue;
            }
            if let Some((code, what, help)) = wrong(slice, guest, here, interface, kept, now) {
                let away = here.at == At::Isolated;
                let wrong = Wrong { what, help, guests: Vec::new(), surely: true, away, from: None };
                told.entry((&here.bridge, interface)).or_insert((code, wrong)).1.guests.push(guest.clone());
            }
        }
        let mut by_code: BTreeMap<&'static str, Vec<Wrong>> = BTreeMap::new();
        for (code, wrong) in told.into_values() {
            by_code.entry(code).or_default().push(wrong);
        }
        let parked = self.parked.iter().map(|(bridge, (first, count))| idle(bridge, first, *count));
        by_code.insert("M0679", parked.collect());
        let stuck = self.stuck.iter().filter(|(_, (_, since))| now.since(*since) >= SETTLES);
        let stuck: Vec<Finding> = stuck.map(|(name, (key, _))| closed(name, key)).collect();
        by_code.into_iter().flat_map(|(code, all)| bounded(code, all)).chain(stuck).collect()
    }

    /// Of guests that were heard from their own Ethernet addresses of late, frames from other ones are not all that they send.
    pub fn doubt(&self, findings: &mut [Finding]) {
        let lately =
            |guest: &Guest| self.here.get(guest).and_then(|here| here.heard).is_some_and(|heard| heard <= AT_WORK);
        for cut in findings.iter_mut().filter_map(|finding| finding.cut.as_mut()) {
            cut.surely &= !cut.guests.iter().any(|guest| lately(&(guest.network.clone(), guest.mac)));
        }
    }
}

/// What is wrong with guests, and of which.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) help: String,
    pub(super) guests: Vec<Guest>,
    /// Nothing of them passes.
    pub(super) surely: bool,
    /// Only what goes to other nodes and comes from there is concerned.
    pub(super) away: bool,
    /// The IP address that it is about: what they send from another one is not concerned.
    pub(super) from: Option<IpAddr>,
}

impl Wrong {
    /// What is cut off, where it is the one that is told.
    fn cut(&self) -> Cut {
        let cut = Cut { away: self.away, ..Cut::guests(self.surely, &self.guests) };
        match self.from {
            Some(from) => cut.sent_from([from]),
            None => cut,
        }
    }
}

/// The first of them by name, and how many more there are.
pub(super) fn bounded(code: &str, mut all: Vec<Wrong>) -> Vec<Finding> {
    let rest = all.split_off(all.len().min(NAMED));
    let help = all.first().map(|wrong| wrong.help.clone()).unwrap_or_default();
    let one = |wrong: Wrong| {
        let cut = wrong.cut();
        Finding::new(code, wrong.what, wrong.help).cuts(cut)
    };
    let mut findings: Vec<Finding> = all.into_iter().map(one).collect();
    if !rest.is_empty() {
        let what = format!("it is the same with {} more ports of this node", rest.len());
        let surely = rest.iter().all(|wrong| wrong.surely);
        let guests = rest.iter().flat_map(|wrong| &wrong.guests);
        let cut = Cut { away: rest.iter().all(|wrong| wrong.away), ..Cut::guests(surely, guests) };
        let from: Option<Vec<IpAddr>> = rest.iter().map(|wrong| wrong.from).collect();
        let cut = from.into_iter().fold(cut, Cut::sent_from);
        findings.push(Finding::new(code, what, help).cuts(cut));
    }
    findings
}

/// A guest, by its port where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    Port(PortId),
    Guest(Mac),
}

impl Named {
    /// What a command calls its port.
    pub(super) fn argument(&self) -> &str {
        match self {
            Self::Port(port) => port.as_str(),
            Self::Guest(_) => "PORT",
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Guest(mac) => write!(f, "guest {mac}"),
        }
    }
}

/// The port of a guest, or the guest itself.
pub(super) fn port_of(slice: &Slice, net: &NetKey, mac: Mac) -> Named {
    let named = |vlan| {
        let key = RowKey { overlay: net.overlay.clone(), vni: net.vni, vlan, mac };
        slice.rows.get(&key).and_then(|row| row.port.clone())
    };
    let other = || slice.rows_of(net).find(|(key, _)| key.mac == mac).and_then(|(_, row)| row.port.clone());
    let port: Option<PortId> = named(None).or_else(other);
    port.map_or(Named::Guest(mac), Named::Port)
}

/// The name of a network that this node hosts.
pub(super) fn name_of(slice: &Slice, net: &NetKey) -> String {
    slice.networks.get(net).map_or_else(|| net.to_string(), |network| network.name.to_string())
}

fn wrong(
    slice: &Slice,
    (net, mac): &Guest,
    here: &Here,
    interface: &IfName,
    kept: Option<&Kept>,
    now: Mono,
) -> Option<(&'static str, String, String)> {
    let (port, network, bridge) = (port_of(slice, net, *mac), name_of(slice, net), &here.bridge);
    let plug = format!("ip link set dev {interface} master {bridge}");
    match &here.at {
        At::Plugged | At::Silent | At::Hosts => None,
        At::Down => Some((
            "M0674",
            format!("{port}: its interface {interface} in network {network} is down"),
            format!("ip link set dev {interface} up"),
        )),
        At::Blocked => Some((
            "M0687",
            format!(
                "{port}: its interface {interface} in {bridge} of network {network} does not forward: its guest is cut off"
            ),
            format!("bridge link set dev {interface} state 3"),
        )),
        At::Isolated => Some((
            "M0687",
            format!(
                "{port}: its interface {interface} in {bridge} of network {network} is isolated, as what leads to other nodes is: \
                 its guest is cut off from them"
            ),
            format!("bridge link set dev {interface} isolated off"),
        )),
        At::Elsewhere(master) => {
            let what = format!(
                "{port}: its interface {interface} stands in {master}, which is not ours, and not in {bridge} of network {network}: \
                 its guest is cut off"
            );
            Some(("M0670", what, plug))
        }
        At::OtherNetwork(other) => {
            let what = format!(
                "{port}: its interface {interface} stands in {other} of another network, and not in {bridge} of network {network}"
            );
            Some(("M0670", what, plug))
        }
        At::Refused(why) => {
            let what =
                format!("{port}: its interface {interface} cannot be put into {bridge} of network {network}: {why}");
            Some(("M0671", what, "name the guest's own interface: meshctl port set PORT --interface IF".to_owned()))
        }
        At::Nowhere => {
            let what = format!(
                "{port}: its guest of network {network} was behind {interface}, which stands in no bridge now: it is cut off"
            );
            Some(("M0672", what, plug))
        }
        At::Dark => {
            let since = at_work(kept, now)?;
            let what = format!(
                "{port}: its interface {interface} in network {network} has no carrier since {since}, while its guest was at work: heard less than a minute before"
            );
            let help = format!(
                "in the guest: ip link set up what is behind {interface}, or start it again; it is told for an hour: ip link show {interface}"
            );
            Some(("M0700", what, help))
        }
        At::Absent => {
            at_work(kept, now).map(|since| {
                let what = format!(
                    "{port}: its interface {interface} in network {network} has gone at {since}, while its guest was at work: heard less than a minute before"
                );
                ("M0673", what, format!("start the guest again, or meshctl port delete; it is told for an hour: ip link show {interface}"))
            })
        }
    }
}

/// Since when a guest is away that was at work then, for as long as that is told.
fn at_work(kept: Option<&Kept>, now: Mono) -> Option<Wall> {
    let (since, at) = kept.filter(|kept| kept.at_work)?.away?;
    (now.since(at) < TOLD).then_some(since)
}

/// A port of ours that somebody has set not to forward.
fn closed(name: &IfName, key: &NetKey) -> Finding {
    let what = format!(
        "network {key}: port {name} of its bridge does not forward: what leads by it to other nodes is cut off"
    );
    let tunnel = names::parse(name.as_str()).is_some_and(|(device, ..)| device == Device::Tap);
    let path = if tunnel { Path::Tunnel } else { Path::Plain };
    Finding::new("M0687", what, format!("bridge link set dev {name} state 3")).cuts(Cut::way(key, path))
}

/// A bridge that only plugs are left of.
fn idle(bridge: &IfName, first: &IfName, count: usize) -> Wrong {
    let more = if count > 1 { format!(" and {} more", count - 1) } else { String::new() };
    let what = format!(
        "{bridge} is kept for {first}{more} only: its network is gone or has no port on this node any more, so nothing passes there"
    );
    let help = format!(
        "declare the port again, and the network where it is gone (meshctl network list); or pull it out: ip link set dev {first} nomaster"
    );
    Wrong { what, help, guests: Vec::new(), surely: false, away: false, from: None }
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
