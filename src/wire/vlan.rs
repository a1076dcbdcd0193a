//! What follows the tag protocol identifier of a tagged frame (IEEE 802.1Q-2018 section 9.6).
//!
//! ```text
//!  0         2      4
//! +---------+------+------
//! |pcp|d|vid| type | ...      pcp 3 bits, drop eligible 1 bit, VLAN identifier 12 bits
//! +---------+------+------
//! ```

use super::{Header, WireError, front, front_mut};
use crate::types::Vlan;

/// Tag control information and the type of what follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// Priority, 0 to 7.
    pub priority: u8,
    /// May be dropped first.
    pub drop_eligible: bool,
    /// The VLAN; none is the null identifier of a priority tag.
    pub vlan: Option<Vlan>,
    /// What follows.
    pub ethertype: u16,
}

impl Header for Tag {
    const NAME: &'static str = "802.1Q tag";
    const LEN: usize = 4;

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let [a, b, t0, t1] = *front::<4>(Self::NAME, bytes)?;
        let identifier = u64::from(u16::from_be_bytes([a & 0x0f, b]));
        let vlan = match identifier {
            0 => None,
            // 4095 is "reserved for implementation use ... shall not be ... transmitted in a tag header" (table 9-2).
            other => Some(
                Vlan::try_from(other).map_err(|_| WireError::Field { header: Self::NAME, field: "VLAN identifier" })?,
            ),
        };
        let ethertype = u16::from_be_bytes([t0, t1]);
        Ok(Self { priority: a >> 5, drop_eligible: a & 0x10 != 0, vlan, ethertype })
    }

    fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        let out = front_mut::<4>(Self::NAME, out)?;
        let identifier = self.vlan.map_or(0, Vlan::get);
        let control = u16::from(self.priority & 7) << 13 | u16::from(self.drop_eligible) << 12 | identifier;
        out[..2].copy_from_slice(&control.to_be_bytes());
        out[2..].copy_from_slice(&self.ethertype.to_be_bytes());
        Ok(())
    }
}
