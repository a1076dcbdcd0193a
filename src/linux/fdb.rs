//! What a bridge holds behind the ports of guests, without being drowned in it. A guest fills a bridge's table with addresses that it
//! invents, as fast as it can send, and the kernel walks the whole table for each datagram of a dump (`br_fdb_dump`,
//! net/bridge/br_fdb.c): reading 300,000 entries to the end takes seconds. So a port is read up to a number of learned entries, all ports
//! together for a bounded time, and what must be known of the rest is asked by address, which is one lookup each.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{self, HEADER, Netlink, half};
use super::observe::{self, Names};
use crate::clock::mono;
use crate::node::desired::{Hold, Observed};
use crate::node::discover::PORTS_OF_INTERFACE;
use crate::node::op::Op;
use crate::types::{IfName, Mac, Mono};

/// Learned entries of one port after which reading ends: enough for every port that is no flood.
const READ: usize = 512;
/// Learned entries of one port that are kept: one more than anybody looks at, so that it shows that there are more.
const KEPT: usize = PORTS_OF_INTERFACE + 1;
/// How long the ports of guests may take together in one look. What is left is read first in the next.
const PATIENCE: Duration = Duration::from_millis(30);
/// So long after its entry was made a guest must speak to be heard: the kernel dates an entry that it makes as if its guest had spoken
/// (`fdb_add_entry`, net/bridge/br_fdb.c), and tells that in hundredths of a second.
const MADE: Duration = Duration::from_millis(20);
/// `NUD_NOARP`, `NUD_PERMANENT` (linux/neighbour.h).
const NOARP: u16 = 0x40;
const PERMANENT: u16 = 0x80;
/// `NTF_SELF`: of the device's own table, not the bridge's.
const SELF: u8 = 0x02;

/// A port of one of our bridges that is not ours.
#[derive(Debug, Clone)]
pub(super) struct Port {
    pub(super) index: u32,
    pub(super) name: IfName,
    pub(super) bridge: IfName,
}

/// What is remembered between two looks.
#[derive(Debug, Default)]
pub(super) struct Guests {
    /// Of its own: a dump that is broken off ends with its socket.
    socket: Option<Netlink>,
    /// Learned entries that were kept, by port.
    learned: BTreeMap<IfName, BTreeSet<Mac>>,
    /// Entries on guests' ports that do not age: these are asked for where a flood hides them. When each was made or touched, as far as
    /// this process knows: what the bridge notes of it until then is no word of its guest.
    pins: BTreeMap<(IfName, Mac), Mono>,
    /// Index of the first port of the next look.
    next: u32,
}

/// What reading one port has shown.
#[derive(Debug, Default)]
struct Scan {
    /// Entries that do not age, as messages.
    fixed: Vec<NeighbourMessage>,
    learned: Vec<Mac>,
    /// Read to the end.
    whole: bool,
}

impl Guests {
    /// The kernel was told to set an entry on a port, or to remove it, and has answered.
    pub(super) fn done(&mut self, op: &Op) {
        if let Op::Pin { port, mac } = op {
            self.pins.insert((port.clone(), *mac), mono());
        } else if let Op::Unpin { port, mac } = op {
            self.pins.remove(&(port.clone(), *mac));
        }
    }

    /// Reads the entries of these ports into `observed`.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub(super) fn read(
        &mut self,
        netlink: &mut Netlink,
        mut ports: Vec<Port>,
        names: &Names,
        observed: &mut Observed,
    ) -> io::Result<()> {
        self.learned.retain(|name, _| ports.iter().any(|port| port.name == *name));
        self.pins.retain(|(name, _), _| ports.iter().any(|port| port.name == *name));
        ports.sort_by_key(|port| (port.index < self.next, port.index));
        self.next = 0;
        let until = mono() + PATIENCE;
        for port in &ports {
            // Before it is read: a guest must not seem to have spoken later than it has.
            let now = mono();
            let scan = if now < until { Some(self.scan(port.index)?) } else { None };
            if scan.is_none() && self.next == 0 {
                self.next = port.index;
            }
            let whole = scan.as_ref().is_some_and(|scan| scan.whole);
            self.learn(netlink, port, scan.as_ref(), observed)?;
            for entry in scan.iter().flat_map(|scan| &scan.fixed) {
                observe::read_entry(entry, names, observed);
                self.hear(port, entry, now, observed);
            }
            if !whole {
                self.ask_for_pins(netlink, (port, now), names, observed)?;
            }
        }
        Ok(())
    }

    /// Reads one port until it is read or has shown enough.
    fn scan(&mut self, index: u32) -> io::Result<Scan> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            None => self.socket.insert(Netlink::open()?),
        };
        let mut scan = Scan::default();
        let read = socket.dump_each(observe::entries_of(index), |raw| {
            let (state, flags) = (half(raw, HEADER + 8).unwrap_or_default(), raw.get(HEADER + 10).copied());
            if state & PERMANENT != 0 || flags.is_none_or(|flags| flags & SELF != 0) {
                return Ok(ControlFlow::Continue(()));
            }
            if state & NOARP != 0 {
                scan.fixed.extend(entry(netlink::decode(raw)?));
            } else {
                scan.learned.extend(observe::mac_of(raw));
            }
            Ok(if scan.learned.len() < READ { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        });
        scan.whole = scan.learned.len() < READ;
        if !scan.whole || read.is_err() {
            self.socket = None;
        }
        match read {
            // It went while it was read, and what stood behind it too.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(Scan { whole: true, ..Scan::default() }),
            read => read.map(|_| scan),
        }
    }

    /// Keeps so many learned entries of a port, those first that were kept before: a guest that floods cannot make what is known of it
    /// another with each look.
    fn learn(
        &mut self,
        netlink: &mut Netlink,
        port: &Port,
        scan: Option<&Scan>,
        observed: &mut Observed,
    ) -> io::Result<()> {
        let known = self.learned.remove(&port.name).unwrap_or_default();
        let mut kept = BTreeSet::new();
        for mac in known {
            let still = match scan {
                None => true,
                Some(scan) if scan.whole => scan.learned.contains(&mac),
                Some(scan) => scan.learned.contains(&mac) || is_learned(netlink, port.index, mac)?,
            };
            if still {
                kept.insert(mac);
            }
        }
        for mac in scan.iter().flat_map(|scan| &scan.learned) {
            if kept.len() >= KEPT {
                break;
            }
            kept.insert(*mac);
        }
        for mac in &kept {
            observe::keep_bridge_entry(&port.bridge, &port.name, *mac, Hold::Learned, observed);
        }
        if !kept.is_empty() {
            self.learned.insert(port.name.clone(), kept);
        }
        Ok(())
    }

    /// Looks at what we have set on a port that was not read to its end.
    fn ask_for_pins(
        &mut self,
        netlink: &mut Netlink,
        (port, now): (&Port, Mono),
        names: &Names,
        observed: &mut Observed,
    ) -> io::Result<()> {
        let own: Vec<Mac> = self.pins.keys().filter(|(name, _)| *name == port.name).map(|(_, mac)| *mac).collect();
        for mac in own {
            if let Some(entry) = ask(netlink, port.index, mac)? {
                observe::read_entry(&entry, names, observed);
                self.hear(port, &entry, now, observed);
            }
        }
        Ok(())
    }

    /// When the guest of an entry last sent something: the bridge notes that also where the entry does not age (`br_fdb_update`,
    /// net/bridge/br_fdb.c), in units of which there are a hundred a second (`USER_HZ`). Of an entry that an earlier process has made it
    /// is not known whether that is all that the bridge has noted, until it notes more.
    fn hear(&mut self, port: &Port, entry: &NeighbourMessage, now: Mono, observed: &mut Observed) {
        let (mut mac, mut ago) = (None, None);
        for attribute in &entry.attributes {
            if let NeighbourAttribute::LinkLayerAddress(bytes) = attribute {
                mac = <[u8; 6]>::try_from(&bytes[..]).ok().map(Mac);
            } else if let NeighbourAttribute::CacheInfo(cache) = attribute {
                ago = Some(Duration::from_millis(u64::from(cache.updated) * 10));
            }
        }
        let Some((mac, ago)) = mac.zip(ago) else { return };
        let made = *self.pins.entry((port.name.clone(), mac)).or_insert_with(|| mono() - ago);
        if now - ago > made + MADE {
            observed.heard.entry(port.name.clone()).or_default().insert(mac, ago);
        }
    }
}

/// How long ago the bridge heard this address on this very port; none: it does not know it there.
///
/// # Errors
/// The kernel cannot be asked.
pub(super) fn last_heard(netlink: &mut Netlink, port: u32, mac: Mac) -> io::Result<Option<Duration>> {
    let entry = ask(netlink, port, mac)?.filter(|entry| entry.header.ifindex == port);
    let updated = |attribute: &NeighbourAttribute| {
        let NeighbourAttribute::CacheInfo(cache) = attribute else { return None };
        Some(Duration::from_millis(u64::from(cache.updated) * 10))
    };
    Ok(entry.and_then(|entry| entry.attributes.iter().find_map(updated)))
}

/// True where the bridge has learned this address on this very port.
fn is_learned(netlink: &mut Netlink, port: u32, mac: Mac) -> io::Result<bool> {
    let entry = ask(netlink, port, mac)?;
    Ok(entry
        .is_some_and(|entry| entry.header.ifindex == port && u16::from(entry.header.state) & (NOARP | PERMANENT) == 0))
}

/// What the bridge of a port has for an address.
fn ask(netlink: &mut Netlink, port: u32, mac: Mac) -> io::Result<Option<NeighbourMessage>> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = port;
    message.header.flags = NeighbourFlags::Controller;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    let answer = netlink.request((RouteNetlinkMessage::GetNeighbour(message), 0))?;
    // Refused: there is no such entry, or the port has gone.
    Ok(answer.ok().flatten().and_then(|answer| entry(Some(answer))))
}

fn entry(message: Option<RouteNetlinkMessage>) -> Option<NeighbourMessage> {
    if let Some(RouteNetlinkMessage::NewNeighbour(entry)) = message { Some(entry) } else { None }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::neighbour::NeighbourCacheInfo;

    use super::*;

    #[test]
    fn the_making_of_an_entry_is_no_word_of_its_guest() {
        let (name, mac): (IfName, _) = ("tap0".parse().unwrap(), Mac([2, 0, 0, 0, 0, 1]));
        let port = Port { index: 7, name: name.clone(), bridge: "vb10.12b5".parse().unwrap() };
        let heard = |guests: &mut Guests, now: Mono, ago: u32| {
            let mut entry = NeighbourMessage::default();
            entry.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
            let mut cache = NeighbourCacheInfo::parse(&[0; 16]).unwrap();
            cache.updated = ago * 100;
            entry.attributes.push(NeighbourAttribute::CacheInfo(cache));
            let mut observed = Observed::default();
            guests.hear(&port, &entry, now, &mut observed);
            observed.heard.get(&name).and_then(|heard| heard.get(&mac).copied())
        };
        let (mut earlier, start) = (Guests::default(), mono());
        for (later, ago, spoke) in [(0, 20, false), (5, 25, false), (10, 2, true), (30, 22, true)] {
            let expected = spoke.then(|| Duration::from_secs(u64::from(ago)));
            let found = heard(&mut earlier, start + Duration::from_secs(later), ago);
            assert_eq!(found, expected, "made by another process, after {later} s");
        }
        let (mut own, now, pin) = (Guests::default(), mono(), Op::Pin { port: name.clone(), mac });
        own.done(&pin);
        assert_eq!(heard(&mut own, now + Duration::from_secs(4), 4), None, "as old as the entry");
        assert_eq!(heard(&mut own, now + Duration::from_secs(9), 1), Some(Duration::from_secs(1)));
        own.done(&pin);
        assert_eq!(heard(&mut own, mono(), 0), None, "made anew");
    }
}
