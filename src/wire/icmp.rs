//! ICMP "fragmentation needed" (RFC 792; RFC 1191 section 4) and which ICMP messages are errors.
//!
//! ```text
//!  0    1    2      4        6          8
//! +----+----+------+--------+----------+----------------------------------
//! | 3  | 4  |chksum|   0    | next MTU | IP header and as much as fits
//! +----+----+------+--------+----------+----------------------------------
//! ```

use std::net::Ipv4Addr;

use super::sum::Sum;
use super::{WireError, front, front_mut};

/// Redirect (RFC 792).
pub const REDIRECT: u8 = 5;
/// Router advertisement (RFC 1256 section 3.1).
pub const ROUTER_ADVERTISEMENT: u8 = 9;
/// Destination unreachable (RFC 792).
const UNREACHABLE: u8 = 3;
/// "fragmentation needed and DF set" (RFC 792).
const FRAGMENTATION_NEEDED: u8 = 4;
const NAME: &str = "ICMP";

/// Says that a packet was too big for what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentationNeeded {
    /// "the size in octets of the largest datagram that could be forwarded" (RFC 1191 section 4).
    pub mtu: u16,
}

impl FragmentationNeeded {
    /// Bytes before the quoted packet.
    pub const LEN: usize = 8;
    /// An ICMP error with everything, its IP header too, is at most this large (RFC 1812 section 4.3.2.3).
    pub const MOST: usize = 576;

    /// Reads it from a message that is exactly `message`.
    ///
    /// # Errors
    /// [`WireError`]: too short, another type or code, wrong checksum.
    pub fn parse(message: &[u8]) -> Result<Self, WireError> {
        let [kind, code, _, _, _, _, m0, m1] = *front::<8>(NAME, message)?;
        if [kind, code] != [UNREACHABLE, FRAGMENTATION_NEEDED] {
            return Err(WireError::Field { header: NAME, field: "type or code" });
        }
        if Sum::default().with(message).checksum() != 0 {
            return Err(WireError::Field { header: NAME, field: "checksum" });
        }
        Ok(Self { mtu: u16::from_be_bytes([m0, m1]) })
    }

    /// Writes it to the front of a message that already holds the quoted packet behind it, checksum over all of it.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn emit(&self, message: &mut [u8]) -> Result<(), WireError> {
        let [m0, m1] = self.mtu.to_be_bytes();
        *front_mut::<8>(NAME, message)? = [UNREACHABLE, FRAGMENTATION_NEEDED, 0, 0, 0, 0, m0, m1];
        let checksum = Sum::default().with(message).checksum();
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        Ok(())
    }
}

/// For whom the packet was that an error is about: destination in the quoted header (RFC 792), none where that is cut off.
pub fn quoted_destination(message: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = message.get(24..28)?.try_into().ok()?;
    Some(octets.into())
}

/// True for types of ICMP error messages: destination unreachable, source quench, redirect, time exceeded, parameter problem
/// (RFC 1122 section 3.2.2). They are never answered with an error.
pub const fn is_error(kind: u8) -> bool {
    matches!(kind, UNREACHABLE | 4 | REDIRECT | 11 | 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_it_was_told_and_its_checksum_holds() {
        for len in [8, 9, 36, 556] {
            let mut message: Vec<u8> = (0..len).map(|n: usize| n.to_le_bytes()[0]).collect();
            FragmentationNeeded { mtu: 1418 }.emit(&mut message).unwrap();
            assert_eq!(message[..2], [3, 4]);
            assert_eq!(message[4..8], [0, 0, 5, 138]);
            assert_eq!(FragmentationNeeded::parse(&message), Ok(FragmentationNeeded { mtu: 1418 }));
            *message.last_mut().unwrap() ^= 1;
            assert!(FragmentationNeeded::parse(&message).is_err());
        }
        assert!(FragmentationNeeded { mtu: 1 }.emit(&mut [0; 7]).is_err());
        assert!(FragmentationNeeded::parse(&[3, 1, 0xfc, 0xfe, 0, 0, 0, 0]).is_err(), "another code");
    }
}
