//! ICMPv6 "packet too big" (RFC 4443 section 3.2) and which ICMPv6 messages are errors.
//!
//! ```text
//!  0    1    2      4               8
//! +----+----+------+---------------+----------------------------------
//! | 2  | 0  |chksum|      MTU      | IP header and as much as fits
//! +----+----+------+---------------+----------------------------------
//! ```

use std::net::Ipv6Addr;

use super::ip::ICMPV6;
use super::sum::Sum;
use super::{WireError, front, front_mut};

const TOO_BIG: u8 = 2;
const NAME: &str = "ICMPv6";

/// Says that a packet was too big for what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketTooBig {
    /// "The Maximum Transmission Unit of the next-hop link" (RFC 4443 section 3.2).
    pub mtu: u32,
}

impl PacketTooBig {
    /// Bytes before the quoted packet.
    pub const LEN: usize = 8;
    /// "As much of invoking packet as possible without the ICMPv6 packet exceeding the minimum IPv6 MTU" (RFC 4443 section
    /// 3.2): all of it with its IPv6 header.
    pub const MOST: usize = 1280;

    /// Reads it from a message that is exactly `message`.
    ///
    /// # Errors
    /// [`WireError`]: too short, another type or code, wrong checksum.
    pub fn parse(message: &[u8], from: Ipv6Addr, to: Ipv6Addr) -> Result<Self, WireError> {
        let [kind, code, _, _, m0, m1, m2, m3] = *front::<8>(NAME, message)?;
        if [kind, code] != [TOO_BIG, 0] {
            return Err(WireError::Field { header: NAME, field: "type or code" });
        }
        if pseudo(message.len(), from, to)?.with(message).checksum() != 0 {
            return Err(WireError::Field { header: NAME, field: "checksum" });
        }
        Ok(Self { mtu: u32::from_be_bytes([m0, m1, m2, m3]) })
    }

    /// Writes it to the front of a message that already holds the quoted packet behind it, checksum over all of it.
    ///
    /// # Errors
    /// [`WireError`]: too short or too long.
    pub fn emit(&self, message: &mut [u8], from: Ipv6Addr, to: Ipv6Addr) -> Result<(), WireError> {
        let pseudo = pseudo(message.len(), from, to)?;
        let head = front_mut::<8>(NAME, message)?;
        head[..4].copy_from_slice(&[TOO_BIG, 0, 0, 0]);
        head[4..].copy_from_slice(&self.mtu.to_be_bytes());
        let checksum = pseudo.with(message).checksum();
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        Ok(())
    }
}

/// "IPv6 requires that every link in the Internet have an MTU of 1280 octets or greater" (RFC 8200 section 5).
pub const MINIMUM_MTU: u16 = 1280;

/// True for types of ICMPv6 error messages: "a zero in the high-order bit" (RFC 4443 section 2.1). They are never answered with
/// an error.
pub const fn is_error(kind: u8) -> bool {
    kind < 128
}

/// For whom the packet was that an error is about: destination in the quoted header (RFC 4443 section 3), none where that is cut off.
pub fn quoted_destination(message: &[u8]) -> Option<Ipv6Addr> {
    let octets: [u8; 16] = message.get(32..48)?.try_into().ok()?;
    Some(octets.into())
}

/// Sum of the pseudo header (RFC 8200 section 8.1).
fn pseudo(len: usize, from: Ipv6Addr, to: Ipv6Addr) -> Result<Sum, WireError> {
    let len = u16::try_from(len).map_err(|_| WireError::Field { header: NAME, field: "length" })?;
    Ok(Sum::default().with(&from.octets()).with(&to.octets()).word(len).word(u16::from(ICMPV6)))
}

#[cfg(test)]
mod tests {
    use super::super::nd::checksum_holds;
    use super::*;

    #[test]
    fn it_says_what_it_was_told_and_its_checksum_holds() {
        let (from, to): (Ipv6Addr, Ipv6Addr) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        for len in [8, 9, 48, 1232] {
            let mut message: Vec<u8> = (0..len).map(|n: usize| n.to_le_bytes()[0]).collect();
            PacketTooBig { mtu: 1418 }.emit(&mut message, from, to).unwrap();
            assert_eq!(message[..2], [2, 0]);
            assert_eq!(message[4..8], [0, 0, 5, 138]);
            assert!(checksum_holds(&message, from, to), "by another implementation of the sum");
            assert_eq!(PacketTooBig::parse(&message, from, to), Ok(PacketTooBig { mtu: 1418 }));
            *message.last_mut().unwrap() ^= 1;
            assert!(PacketTooBig::parse(&message, from, to).is_err());
        }
        assert!(PacketTooBig { mtu: 1 }.emit(&mut [0; 7], from, to).is_err());
    }
}
