//! ICMP echo (RFC 792) as a probe of a path: behind the header a token, then any filling of zeros. Identifier and sequence number
//! are the token's last bytes, so that a trace on the way is readable; the token alone is what counts.
//!
//! ```text
//!  0    1    2      4       6        8           16
//! +----+----+------+-------+--------+-----------+--------
//! | 8/0| 0  |chksum| ident | number |   token   | filling
//! +----+----+------+-------+--------+-----------+--------
//! ```

use super::sum::Sum;
use super::{Header, WireError, front, front_mut};

const REPLY: u8 = 0;
const REQUEST: u8 = 8;

/// An echo request or reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// True for the reply.
    pub reply: bool,
    /// Chosen by the asker, returned as it is.
    pub token: u64,
}

impl Header for Ping {
    const NAME: &'static str = "ICMP echo";
    const LEN: usize = 16;

    /// The checksum is not looked at: the tunnel has authenticated every byte, and of a fragment it could not be.
    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let [kind, code, _, _, _, _, _, _, token @ ..] = *front::<16>(Self::NAME, bytes)?;
        let reply = match (kind, code) {
            (REPLY, 0) => true,
            (REQUEST, 0) => false,
            _ => return Err(WireError::Field { header: Self::NAME, field: "type or code" }),
        };
        Ok(Self { reply, token: u64::from_be_bytes(token) })
    }

    /// What follows must be zeros: they do not change the checksum.
    fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        let out = front_mut::<16>(Self::NAME, out)?;
        let token = self.token.to_be_bytes();
        out[..4].copy_from_slice(&[if self.reply { REPLY } else { REQUEST }, 0, 0, 0]);
        out[4..8].copy_from_slice(&token[4..]);
        out[8..].copy_from_slice(&token);
        let checksum = Sum::default().with(out.as_slice()).checksum();
        out[2..4].copy_from_slice(&checksum.to_be_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_what_ping_sends() {
        let mut bytes = [0; 40];
        Ping { reply: false, token: 0x0102_0304_0506_0708 }.emit(&mut bytes).unwrap();
        assert_eq!(bytes[..8], [8, 0, 0xdb, 0xdd, 5, 6, 7, 8]);
        assert_eq!(Sum::default().with(&bytes).checksum(), 0, "the filling does not matter");
        assert_eq!(Ping::parse(&bytes).unwrap(), Ping { reply: false, token: 0x0102_0304_0506_0708 });
        bytes[0] = 0;
        assert!(Ping::parse(&bytes).unwrap().reply);
        bytes[0] = 3;
        assert!(Ping::parse(&bytes).is_err() && Ping::parse(&[0; 15]).is_err());
    }
}
