//! Ethernet II header (IEEE 802.3-2018 section 3.2).
//!
//! ```text
//!  0                 6                 12    14
//! +-----------------+-----------------+-----+------
//! | destination     | source          | type| ...
//! +-----------------+-----------------+-----+------
//! ```

use super::{Header, WireError, front, front_mut};
use crate::types::Mac;

/// IPv4 (RFC 894: "The type field ... hexadecimal 0800").
pub const IPV4: u16 = 0x0800;
/// ARP (RFC 826: "ADDRESS_RESOLUTION" = 0806 hexadecimal).
pub const ARP: u16 = 0x0806;
/// 802.1Q customer tag (IEEE 802.1Q-2018 table 9-1).
pub const VLAN: u16 = 0x8100;
/// 802.1ad service tag (IEEE 802.1Q-2018 table 9-1).
pub const SERVICE_VLAN: u16 = 0x88a8;
/// IPv6 (RFC 2464 section 3: "the value 86DD hexadecimal").
pub const IPV6: u16 = 0x86dd;

/// Ethernet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ethernet {
    /// Who it is for.
    pub destination: Mac,
    /// Who sends it.
    pub source: Mac,
    /// What follows; below 0x0600 it is a length (IEEE 802.3-2018 section 3.2.6).
    pub ethertype: u16,
}

impl Header for Ethernet {
    const NAME: &'static str = "Ethernet";
    const LEN: usize = 14;

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *front::<14>(Self::NAME, bytes)?;
        Ok(Self {
            destination: Mac([d0, d1, d2, d3, d4, d5]),
            source: Mac([s0, s1, s2, s3, s4, s5]),
            ethertype: u16::from_be_bytes([t0, t1]),
        })
    }

    fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        let out = front_mut::<14>(Self::NAME, out)?;
        out[..6].copy_from_slice(&self.destination.0);
        out[6..12].copy_from_slice(&self.source.0);
        out[12..].copy_from_slice(&self.ethertype.to_be_bytes());
        Ok(())
    }
}
