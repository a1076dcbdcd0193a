//! UDP header (RFC 768).
//!
//! ```text
//!  0        2        4        6        8
//! +--------+--------+--------+--------+------
//! | source | dest.  | length | chksum | ...
//! +--------+--------+--------+--------+------
//! ```

use super::{Header, WireError, front, front_mut};

/// UDP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Udp {
    /// Source UDP port.
    pub source: u16,
    /// Destination UDP port.
    pub destination: u16,
    /// Header and payload in bytes.
    pub length: u16,
    /// "An all zero transmitted checksum value means that the transmitter generated no checksum" (RFC 768).
    pub checksum: u16,
}

impl Header for Udp {
    const NAME: &'static str = "UDP";
    const LEN: usize = 8;

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let [s0, s1, d0, d1, l0, l1, c0, c1] = *front::<8>(Self::NAME, bytes)?;
        Ok(Self {
            source: u16::from_be_bytes([s0, s1]),
            destination: u16::from_be_bytes([d0, d1]),
            length: u16::from_be_bytes([l0, l1]),
            checksum: u16::from_be_bytes([c0, c1]),
        })
    }

    fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        let out = front_mut::<8>(Self::NAME, out)?;
        out[..2].copy_from_slice(&self.source.to_be_bytes());
        out[2..4].copy_from_slice(&self.destination.to_be_bytes());
        out[4..6].copy_from_slice(&self.length.to_be_bytes());
        out[6..].copy_from_slice(&self.checksum.to_be_bytes());
        Ok(())
    }
}
