//! The lookup of the original in a few lines, as the oracle that our own lookup is compared with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::File;
use crate::types::Mac;

/// What a guest sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Frame {
    /// An ARP request.
    Arp(Ipv4Addr),
    /// IPv6 to `33:33:...`, with the address that it asks for.
    Solicitation(Ipv6Addr),
    /// IPv4 to `ff:ff:ff:ff:ff:ff`, from this address.
    Ipv4Broadcast(Mac),
    /// Anything else, to this address.
    To(Mac),
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered(Mac),
    Sent(IpAddr, u16),
    Dropped,
}

/// The five rules (no default entry; ARP; ND; IPv4 broadcast; everything else).
pub(crate) fn lookup(file: &File, frame: Frame) -> Fate {
    let sent = |mac: &Mac| {
        let entry = file.entries.get(mac);
        entry.and_then(|entry| Some(Fate::Sent(entry.ip, entry.port?.get()))).unwrap_or(Fate::Dropped)
    };
    let answered = |found: Option<(&Mac, &super::Entry)>| found.map_or(Fate::Dropped, |(mac, _)| Fate::Answered(*mac));
    match frame {
        Frame::Arp(target) => answered(file.entries.iter().find(|(_, entry)| entry.arp == Some(target))),
        Frame::Solicitation(target) => answered(file.entries.iter().find(|(_, entry)| entry.ndp == Some(target))),
        Frame::Ipv4Broadcast(from) => {
            file.entries.get(&from).and_then(|entry| entry.dhcp_proxy).map_or(Fate::Dropped, |proxy| sent(&proxy))
        }
        Frame::To(mac) => sent(&mac),
    }
}
