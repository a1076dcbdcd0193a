//! The two ends that an explanation is asked for: a port by name, or a guest by an address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::table::{Row, RowKey, Slice};
use crate::types::{Mac, PortId};

/// Where a frame shall go, or where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A port, by name.
    Port(PortId),
    /// An Ethernet address.
    Mac(Mac),
    /// An IP address.
    Ip(IpAddr),
}

impl Target {
    /// Its family, where it says one: true for IPv6.
    pub const fn family(&self) -> Option<bool> {
        match self {
            Self::Ip(ip) => Some(ip.is_ipv6()),
            Self::Port(_) | Self::Mac(_) => None,
        }
    }

    /// True where it is this guest.
    fn is(&self, key: &RowKey, row: &Row) -> bool {
        match self {
            Self::Port(port) => row.port.as_ref() == Some(port),
            Self::Mac(mac) => key.mac == *mac,
            Self::Ip(ip) => row.addresses().any(|address| address == *ip),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    /// An Ethernet address, else an IP address, else the name of a port.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(mac) = text.parse() {
            return Ok(Self::Mac(mac));
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        text.parse()
            .map(Self::Port)
            .map_err(|_| format!("'{}' is no port, Ethernet or IP address", text.chars().take(60).collect::<String>()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::Mac(mac) => mac.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

/// The row that a frame comes from: of a port, or of the guest that has an address. Where several have it, one of this node, whose own it is,
/// and in whose network the target is.
pub fn row_of<'a>(slice: &'a Slice, from: &Target, to: &Target) -> Option<(&'a RowKey, &'a Row)> {
    let meets =
        |key: &RowKey| slice.rows_of(&key.net()).any(|(other, row)| other.vlan == key.vlan && to.is(other, row));
    let floats = |row: &Row| matches!(from, Target::Ip(ip) if row.floating.contains(ip));
    let mut all = slice.rows.iter().filter(|(key, row)| from.is(key, row));
    match from {
        Target::Port(_) => all.next(),
        Target::Mac(_) | Target::Ip(_) => {
            all.min_by_key(|(key, row)| (row.node != slice.node, floats(row), !meets(key)))
        }
    }
}
