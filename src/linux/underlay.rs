//! From what an operator writes (an interface or an address) to what the plan needs: interface, address, MTU.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel has more attributes than we look at")]

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::error::KernelError;
use super::netlink::Netlink;
use super::observe;
use crate::api::problem::{Exit, Problem};
use crate::config::meshd::Attach;
use crate::node::names;
use crate::node::plan::Underlay;
use crate::types::{IfName, Prefix};

/// Why there is no such place.
#[derive(Debug, thiserror::Error)]
pub enum UnderlayError {
    /// No interface of that name.
    #[error("there is no interface '{name}'; there are: {have}")]
    NoInterface {
        /// What was written.
        name: IfName,
        /// What there is.
        have: String,
    },
    /// The interface has no global address that is ready.
    #[error(
        "interface '{name}' has no global address (link-local, deprecated and unconfirmed ones do not count); {have}"
    )]
    NoAddress {
        /// The interface.
        name: IfName,
        /// What there is.
        have: String,
    },
    /// No interface has the address.
    #[error("no interface of this host has the address {address}; there are: {have}")]
    NotLocal {
        /// What was written.
        address: IpAddr,
        /// What there is.
        have: String,
    },
    /// The kernel cannot be asked.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// Addresses of this host that can be outer addresses, in the kernel's order, with their interface. Our own devices are left out.
///
/// # Errors
/// The kernel cannot be read.
pub fn addresses() -> Result<Vec<Underlay>, KernelError> {
    Ok(Host::read()?.addresses.into_iter().map(|one| one.place).collect())
}

/// The best global address of an interface, or the interface of an address, where nothing is known of before.
///
/// # Errors
/// [`UnderlayError`].
pub fn resolve(attach: &Attach) -> Result<Underlay, UnderlayError> {
    Ok(Host::read()?.resolve(attach, &Wish::default())?.place)
}

/// What speaks for one address where several could be meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// The one that was used before. It stays for as long as it is there, whatever order the kernel has.
    pub held: Option<IpAddr>,
    /// Prefixes that hold the addresses of the nodes around; none: not known.
    pub inside: Vec<Prefix>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Interface, address, MTU.
    pub place: Underlay,
    /// False where it is the best of bad ones: a single address (`/32`, `/128`), as floating ones are, or one outside the PDC's underlay. It
    /// is used until there is a better one, which it does not keep away.
    pub firm: bool,
}

/// An address with what speaks for and against it.
#[derive(Debug, Clone)]
struct Candidate {
    place: Underlay,
    /// Its prefix holds no other address.
    single: bool,
    /// For how long it is valid, seconds; the largest number: for ever.
    lasting: u32,
}

/// Interfaces and addresses of this host at one moment. Reading them costs a walk over all its interfaces, our own included.
#[derive(Debug)]
pub struct Host {
    mtus: BTreeMap<IfName, u16>,
    addresses: Vec<Candidate>,
}

impl Host {
    /// Reads them.
    ///
    /// # Errors
    /// The kernel cannot be read.
    pub fn read() -> Result<Self, KernelError> {
        let read = || {
            let mut netlink = Netlink::open()?;
            let mut links = LinkMessage::default();
            links.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
            let links = netlink.dump_by(RouteNetlinkMessage::GetLink(links), |raw| Ok(link(raw)))?;
            let addresses = netlink.dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
            Ok((links, addresses))
        };
        let (links, addresses) = read().map_err(KernelError::socket("reading the host's addresses"))?;
        let address = |message: &RouteNetlinkMessage| {
            let (index, address, single, lasting) = usable(message)?;
            let (interface, mtu) = links.get(&index)?.clone();
            let ours = names::parse(interface.as_str()).is_some();
            (!ours).then_some(Candidate { place: Underlay { interface, address, mtu }, single, lasting })
        };
        let addresses = addresses.iter().filter_map(address).collect();
        Ok(Self { mtus: links.into_values().collect(), addresses })
    }

    /// The interface of an address; of an interface the address that was used before, then one inside the PDC, then IPv4 before IPv6, then
    /// what is no single address, then what lasts longest, then the first.
    ///
    /// # Errors
    /// [`UnderlayError`].
    pub fn resolve(&self, attach: &Attach, wish: &Wish) -> Result<Found, UnderlayError> {
        match attach {
            Attach::Address(wanted) => {
                let found = self.addresses.iter().find(|one| one.place.address == *wanted);
                let found = found.map(|one| Found { place: one.place.clone(), firm: true });
                found.ok_or_else(|| UnderlayError::NotLocal { address: *wanted, have: self.have() })
            }
            Attach::Interface(name) if !self.mtus.contains_key(name) => {
                // Our own are no side of this node, and would hide among them what is.
                let others = self.mtus.keys().filter(|name| names::parse(name.as_str()).is_none());
                let have = others.map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Err(UnderlayError::NoInterface { name: name.clone(), have })
            }
            Attach::Interface(name) => {
                let here = self.addresses.iter().filter(|one| one.place.interface == *name);
                let best = here.min_by_key(|one| one.order(wish)).map(|one| one.found(wish));
                let have = || match self.addresses.is_empty() {
                    true => "no other has one".to_owned(),
                    false => format!("there are: {}", self.have()),
                };
                best.ok_or_else(|| UnderlayError::NoAddress { name: name.clone(), have: have() })
            }
        }
    }

    fn have(&self) -> String {
        let one = |u: &Underlay| format!("{} ({})", u.address, u.interface);
        self.addresses.iter().map(|candidate| one(&candidate.place)).collect::<Vec<_>>().join(", ")
    }
}

impl Candidate {
    fn outside(&self, wish: &Wish) -> bool {
        !wish.inside.is_empty() && !wish.inside.iter().any(|prefix| prefix.contains(self.place.address))
    }

    /// The least is the best.
    fn order(&self, wish: &Wish) -> impl Ord + use<> {
        let address = self.place.address;
        (wish.held != Some(address), self.outside(wish), address.is_ipv6(), self.single, Reverse(self.lasting))
    }

    fn found(&self, wish: &Wish) -> Found {
        let firm = wish.held == Some(self.place.address) || !self.single && !self.outside(wish);
        Found { place: self.place.clone(), firm }
    }
}

/// Name and MTU of a link by its index. A host of containers has thousands, so no more of each is read.
fn link(raw: &[u8]) -> Option<(u32, (IfName, u16))> {
    let link = observe::light(raw)?;
    // `lo` has 65536; an IP packet ends at 65535.
    Some((link.index, (link.name?, u16::try_from(link.mtu).unwrap_or(u16::MAX))))
}

/// Interface and address, if peers can send to it now; whether it is single, and how long it lasts in seconds.
fn usable(message: &RouteNetlinkMessage) -> Option<(u32, IpAddr, bool, u32)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let unready = AddressHeaderFlags::Tentative | AddressHeaderFlags::Deprecated | AddressHeaderFlags::Dadfailed;
    if message.header.flags.intersects(unready) {
        return None;
    }
    let (mut local, mut address, mut temporary, mut lasting) = (None, None, false, u32::MAX);
    for attribute in &message.attributes {
        match attribute {
            // Behind a point-to-point link `Address` is the other end.
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::CacheInfo(times) => lasting = times.ifa_valid,
            // A privacy address (`IFA_F_TEMPORARY` shares its bit with IPv4's secondary) will be gone tomorrow.
            AddressAttribute::Flags(flags) => {
                temporary = message.header.family == AddressFamily::Inet6 && flags.contains(AddressFlags::Secondary);
            }
            _ => {}
        }
    }
    let ip = local.or(address).filter(|ip| !temporary && is_global(*ip))?;
    // Of a point-to-point link both ends are single.
    let single = local.is_none_or(|local| address.is_none_or(|address| address == local))
        && message.header.prefix_len == if ip.is_ipv4() { 32 } else { 128 };
    Some((message.header.index, ip, single, lasting))
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => !a.is_link_local() && !a.is_loopback(),
        IpAddr::V6(a) => !a.is_unicast_link_local() && a != Ipv6Addr::LOCALHOST,
    }
}

impl From<&UnderlayError> for Problem {
    fn from(error: &UnderlayError) -> Self {
        let problem = |code, help| Self::new(code, Exit::Invalid, error.to_string()).help(help);
        match error {
            UnderlayError::NoInterface { .. } => {
                problem("M0630", "name one of them in [underlay] of meshd.toml, then: systemctl reload meshd")
            }
            UnderlayError::NoAddress { .. } => problem(
                "M0631",
                "ip address show; give the interface its address again (ip address add ADDRESS/LENGTH dev IF), or name another in [underlay] of meshd.toml, then: systemctl reload meshd",
            ),
            UnderlayError::NotLocal { .. } => {
                problem("M0632", "write one of them in [underlay] of meshd.toml, then: systemctl reload meshd")
            }
            UnderlayError::Kernel(kernel) => kernel.into(),
        }
    }
}

#[cfg(test)]
#[path = "underlay_tests.rs"]
mod tests;
