//! From what an operator writes (an interface or an address) to what the plan needs: interface, address, MTU.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel has more attributes than we look at")]

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
use crate::types::IfName;

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
    #[error("interface '{name}' has no global address (link-local, deprecated and unconfirmed ones do not count)")]
    NoAddress {
        /// The interface.
        name: IfName,
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
    Ok(Host::read()?.addresses)
}

/// The first global address of an interface (IPv4 before IPv6), or the interface of an address.
///
/// # Errors
/// [`UnderlayError`].
pub fn resolve(attach: &Attach) -> Result<Underlay, UnderlayError> {
    Host::read()?.resolve(attach)
}

/// Interfaces and addresses of this host at one moment. Reading them costs a walk over all its interfaces, our own included.
#[derive(Debug)]
pub struct Host {
    mtus: BTreeMap<IfName, u16>,
    addresses: Vec<Underlay>,
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
            let (index, address) = usable(message)?;
            let (interface, mtu) = links.get(&index)?.clone();
            names::parse(interface.as_str()).is_none().then_some(Underlay { interface, address, mtu })
        };
        let addresses = addresses.iter().filter_map(address).collect();
        Ok(Self { mtus: links.into_values().collect(), addresses })
    }

    /// As [`resolve`].
    ///
    /// # Errors
    /// [`UnderlayError`].
    pub fn resolve(&self, attach: &Attach) -> Result<Underlay, UnderlayError> {
        match attach {
            Attach::Address(wanted) => {
                let found = self.addresses.iter().find(|one| one.address == *wanted).cloned();
                found.ok_or_else(|| UnderlayError::NotLocal { address: *wanted, have: self.have() })
            }
            Attach::Interface(name) if !self.mtus.contains_key(name) => {
                let have = self.mtus.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Err(UnderlayError::NoInterface { name: name.clone(), have })
            }
            Attach::Interface(name) => {
                let here = self.addresses.iter().filter(|one| one.interface == *name);
                let first = here.min_by_key(|one| one.address.is_ipv6()).cloned();
                first.ok_or_else(|| UnderlayError::NoAddress { name: name.clone() })
            }
        }
    }

    fn have(&self) -> String {
        let one = |u: &Underlay| format!("{} ({})", u.address, u.interface);
        self.addresses.iter().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// Name and MTU of a link by its index. A host of containers has thousands, so no more of each is read.
fn link(raw: &[u8]) -> Option<(u32, (IfName, u16))> {
    let link = observe::light(raw)?;
    // `lo` has 65536; an IP packet ends at 65535.
    Some((link.index, (link.name?, u16::try_from(link.mtu).unwrap_or(u16::MAX))))
}

/// Interface and address, if peers can send to it now.
fn usable(message: &RouteNetlinkMessage) -> Option<(u32, IpAddr)> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let unready = AddressHeaderFlags::Tentative | AddressHeaderFlags::Deprecated | AddressHeaderFlags::Dadfailed;
    if message.header.flags.intersects(unready) {
        return None;
    }
    let (mut local, mut address, mut temporary) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            // Behind a point-to-point link `Address` is the other end.
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            // A privacy address (`IFA_F_TEMPORARY` shares its bit with IPv4's secondary) will be gone tomorrow.
            AddressAttribute::Flags(flags) => {
                temporary = message.header.family == AddressFamily::Inet6 && flags.contains(AddressFlags::Secondary);
            }
            _ => {}
        }
    }
    let ip = local.or(address).filter(|ip| !temporary && is_global(*ip))?;
    Some((message.header.index, ip))
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
            UnderlayError::NoInterface { .. } => problem("M0630", "name one of them in [underlay] of meshd.toml"),
            UnderlayError::NoAddress { .. } => problem("M0631", "wait for the network, or write an address instead"),
            UnderlayError::NotLocal { .. } => problem("M0632", "write one of them in [underlay] of meshd.toml"),
            UnderlayError::Kernel(kernel) => kernel.into(),
        }
    }
}
