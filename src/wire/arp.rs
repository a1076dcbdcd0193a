//! ARP for IPv4 over Ethernet (RFC 826).
//!
//! ```text
//!  0      2      4    5    6      8             14           18            24           28
//! +------+------+----+----+------+-------------+------------+-------------+------------+
//! | 1    | 0800 | 6  | 4  | op   | sender MAC  | sender IP  | target MAC  | target IP  |
//! +------+------+----+----+------+-------------+------------+-------------+------------+
//! ```

use std::net::Ipv4Addr;

use super::{Header, WireError, front, front_mut};
use crate::types::Mac;

/// "ares_op$REQUEST" is 1 (RFC 826).
pub const REQUEST: u16 = 1;
/// "ares_op$REPLY" is 2 (RFC 826).
pub const REPLY: u16 = 2;
/// Hardware type 1 (Ethernet), protocol 0x0800, sizes 6 and 4.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// An ARP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// [`REQUEST`], [`REPLY`], or something else.
    pub operation: u16,
    /// Sender's Ethernet address.
    pub sender_mac: Mac,
    /// Sender's IPv4 address; unspecified in a probe (RFC 5227 section 1.1).
    pub sender_ip: Ipv4Addr,
    /// Target's Ethernet address; ignored in a request.
    pub target_mac: Mac,
    /// Target's IPv4 address.
    pub target_ip: Ipv4Addr,
}

impl Header for Arp {
    const NAME: &'static str = "ARP";
    const LEN: usize = 28;

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let bytes = front::<28>(Self::NAME, bytes)?;
        if bytes[..6] != ETHERNET_IPV4 {
            return Err(WireError::Field { header: Self::NAME, field: "type or size of an address" });
        }
        let mac = |at: usize| Mac(std::array::from_fn(|i| bytes[at + i]));
        let ip = |at: usize| Ipv4Addr::from(std::array::from_fn::<u8, 4, _>(|i| bytes[at + i]));
        Ok(Self {
            operation: u16::from_be_bytes([bytes[6], bytes[7]]),
            sender_mac: mac(8),
            sender_ip: ip(14),
            target_mac: mac(18),
            target_ip: ip(24),
        })
    }

    fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        let out = front_mut::<28>(Self::NAME, out)?;
        out[..6].copy_from_slice(&ETHERNET_IPV4);
        out[6..8].copy_from_slice(&self.operation.to_be_bytes());
        out[8..14].copy_from_slice(&self.sender_mac.0);
        out[14..18].copy_from_slice(&self.sender_ip.octets());
        out[18..24].copy_from_slice(&self.target_mac.0);
        out[24..].copy_from_slice(&self.target_ip.octets());
        Ok(())
    }
}
