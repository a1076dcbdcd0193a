//! The illumos `files` form of one (overlay, VNI): the JSON that `files/config` of a SmartOS overlay names (`overlay_files(5)`).
//!
//! [`read()`] is strict where the original is silent: it refuses what the original would drop, shadow or never match, with the
//! place, unless asked to be lenient. [`export()`] writes what a node needs, [`slice()`] runs a node from nothing but such files.

mod export;
mod read;
mod slice;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

pub use self::export::{Export, export, export_all};
pub use self::read::{Mode, Reading, read};
pub use self::slice::{Setting, slice};
use crate::types::{Mac, UdpPort};

/// One file: every guest that lives on another node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct File {
    /// By Ethernet address, whatever its spelling was.
    pub entries: BTreeMap<Mac, Entry>,
}

/// What a file says of one guest. The keys are the committed interface of the original; there are no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// IPv4 address that ARP requests for this guest are answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arp: Option<Ipv4Addr>,
    /// Guest that this guest's DHCP broadcasts are sent to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dhcp_proxy: Option<Mac>,
    /// Underlay address of the node that hosts it.
    pub ip: IpAddr,
    /// IPv6 address that neighbour solicitations are answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ndp: Option<Ipv6Addr>,
    /// VXLAN UDP port of that node. Without one the original drops every frame for this guest; only a lenient reading has such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<UdpPort>,
}

impl File {
    /// The JSON text, in the order of addresses, with a newline at the end: equal files are equal texts.
    pub fn to_json(&self) -> String {
        let mut text = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, format);
        // Addresses as keys, addresses and numbers as values, memory as the sink: nothing of it can fail.
        let written = self.serialize(&mut serializer);
        debug_assert!(written.is_ok(), "{written:?}");
        text.push(b'\n');
        String::from_utf8(text).unwrap_or_default()
    }
}
#[cfg(test)]
pub(crate) mod oracle;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
