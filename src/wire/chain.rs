//! Extension headers of IPv6 (RFC 8200 section 4): the one walk from the IPv6 header to what the packet carries.
//!
//! ```text
//!  0    1    2                    8                  0    1    2           4            8
//! +----+----+--------------------+------            +----+----+-----------+------------+------
//! |next|len | 6 + 8 * len bytes  | next              |next| 0  |offset  |rM| identific. | next      (fragment)
//! +----+----+--------------------+------            +----+----+-----------+------------+------
//! ```
//!
//! Whoever wants to know what a packet is asks here, so nobody believes another end of its headers than the others do.

use super::ip::{Ipv6, TCP, UDP};
use super::{Header as _, ip};

/// Hop-by-hop options (RFC 8200 section 4.3).
pub const HOP_BY_HOP: u8 = 0;
/// Routing header (RFC 8200 section 4.4).
pub const ROUTING: u8 = 43;
/// Fragment header (RFC 8200 section 4.5).
pub const FRAGMENT: u8 = 44;
/// Authentication header (RFC 4302 section 2): its length counts units of 4 bytes, less two.
pub const AUTHENTICATION: u8 = 51;
/// Nothing follows (RFC 8200 section 4.7).
pub const NOTHING: u8 = 59;
/// Destination options (RFC 8200 section 4.6).
pub const DESTINATION: u8 = 60;
/// Mobility, host identity and shim6 headers: the other extension headers that IANA lists with the format of RFC 6564.
const RARE: [u8; 3] = [135, 139, 140];

/// Extension headers that are walked. A packet with more hides what it is; nobody sends half as many.
pub const MOST: usize = 8;

/// Where the headers of a packet lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// Protocol of what the packet carries; of a later fragment what its fragment header says, which may be no protocol.
    pub protocol: u8,
    /// Where that begins, counted from the IPv6 header.
    pub at: usize,
    /// Which part of a packet this is.
    pub part: Part,
    /// True where no header but hop-by-hop and destination options was passed.
    pub options_only: bool,
}

/// Which part of a packet is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it, without a fragment header.
    Whole,
    /// All of it, behind a fragment header (RFC 6946: "atomic fragments").
    Atomic,
    /// The first fragment of several.
    First,
    /// Another fragment: what stands in it is no header.
    Later,
}

/// Why headers lead nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// They do not end within the packet.
    Cut,
    /// There are more than [`MOST`].
    Many,
}

impl Chain {
    /// Walks the headers of `packet`, which begins with an IPv6 header of at least [`Ipv6::LEN`] bytes and ends where the packet does.
    ///
    /// # Errors
    /// [`Hidden`].
    #[inline]
    pub fn of(packet: &[u8]) -> Result<Self, Hidden> {
        let protocol = *packet.get(6).ok_or(Hidden::Cut)?;
        let mut chain = Self { protocol, at: Ipv6::LEN, part: Part::Whole, options_only: true };
        for _ in 0..=MOST {
            if chain.part == Part::Later || !is_extension(chain.protocol) {
                return Ok(chain);
            }
            chain.step(packet)?;
        }
        Err(Hidden::Many)
    }

    /// Passes one extension header.
    fn step(&mut self, packet: &[u8]) -> Result<(), Hidden> {
        let [next, len, high, low] =
            *packet.get(self.at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(Hidden::Cut)?;
        let bytes = match self.protocol {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(len) + 2) * 4,
            _ => (usize::from(len) + 1) * 8,
        };
        if packet.len() < self.at + bytes {
            return Err(Hidden::Cut);
        }
        if self.protocol == FRAGMENT {
            self.part = part(self.part, u16::from_be_bytes([high, low]));
        }
        self.options_only &= matches!(self.protocol, HOP_BY_HOP | DESTINATION);
        self.protocol = next;
        self.at += bytes;
        Ok(())
    }

    /// True where the packet holds the whole upper-layer header, as a first fragment must: a host "MUST include the entire
    /// IPv6 Header Chain in the First Fragment" (RFC 7112 section 5). Of protocols that are not known here the first byte must be there.
    pub fn is_complete(&self, packet: &[u8]) -> bool {
        let message = packet.get(self.at..).unwrap_or_default();
        message.len() >= usize::from(least(self.protocol))
    }
}

/// What one more fragment header makes of a packet.
fn part(before: Part, field: u16) -> Part {
    match (field & 0xfff8, field & 1) {
        (0, 0) if before == Part::First => Part::First,
        (0, 0) => Part::Atomic,
        (0, _) => Part::First,
        _ => Part::Later,
    }
}

fn is_extension(protocol: u8) -> bool {
    matches!(protocol, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) || RARE.contains(&protocol)
}

/// Bytes of an upper-layer header without options. Of ICMPv6 type, code and checksum are the header.
fn least(protocol: u8) -> u8 {
    match protocol {
        TCP => 20,
        UDP => 8,
        ip::ICMPV6 => 4,
        NOTHING => 0,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of these headers of `len` bytes each, and what is behind them.
    fn packet(headers: &[(u8, [u8; 3], usize)], protocol: u8, behind: usize) -> Vec<u8> {
        let mut bytes = vec![0; Ipv6::LEN];
        bytes[6] = headers.first().map_or(protocol, |(kind, ..)| *kind);
        for (at, (_, fields, len)) in headers.iter().enumerate() {
            let mut header = vec![0; *len];
            header[0] = headers.get(at + 1).map_or(protocol, |(kind, ..)| *kind);
            header[1..4].copy_from_slice(fields);
            bytes.extend(header);
        }
        bytes.resize(bytes.len() + behind, 0);
        bytes
    }

    #[test]
    fn each_header_is_passed_by_its_own_length() {
        for (kind, fields, len) in [
            (HOP_BY_HOP, [0; 3], 8),
            (HOP_BY_HOP, [1, 0, 0], 16),
            (ROUTING, [2, 0, 0], 24),
            (DESTINATION, [255, 0, 0], 2048),
            (AUTHENTICATION, [4, 0, 0], 24),
            (AUTHENTICATION, [0, 0, 0], 8),
            // Its second byte is reserved, and no length.
            (FRAGMENT, [9, 0, 0], 8),
            (135, [0; 3], 8),
            (139, [1, 0, 0], 16),
            (140, [0; 3], 8),
        ] {
            let found = Chain::of(&packet(&[(kind, fields, len)], UDP, 8)).unwrap();
            assert_eq!((found.protocol, found.at), (UDP, 40 + len), "{kind}");
            assert_eq!(found.options_only, [HOP_BY_HOP, DESTINATION].contains(&kind));
            let two = Chain::of(&packet(&[(kind, fields, len), (DESTINATION, [0; 3], 8)], UDP, 8)).unwrap();
            assert_eq!((two.protocol, two.at), (UDP, 48 + len), "{kind}");
            for cut in 40..40 + len {
                let whole = packet(&[(kind, fields, len)], UDP, 0);
                assert_eq!(Chain::of(&whole[..cut]), Err(Hidden::Cut), "{kind} {cut}");
            }
        }
        for protocol in [TCP, UDP, ip::ICMPV6, NOTHING, 4, 41, 50, 132, 253] {
            let found = Chain::of(&packet(&[], protocol, 0)).unwrap();
            let plain = Chain { protocol, at: 40, part: Part::Whole, options_only: true };
            assert_eq!(found, plain);
        }
        assert_eq!(Chain::of(&[0; 3]), Err(Hidden::Cut));
    }

    #[test]
    fn nothing_behind_the_eighth_header_is_believed() {
        let of = |count| Chain::of(&packet(&vec![(DESTINATION, [0; 3], 8); count], UDP, 8)).map(|chain| chain.at);
        assert_eq!((of(8), of(9)), (Ok(40 + 64), Err(Hidden::Many)));
    }

    #[test]
    fn a_fragment_header_says_which_part_is_there() {
        for (field, part) in [
            ([0, 0], Part::Atomic),
            ([0, 1], Part::First),
            ([0, 6], Part::Atomic),
            ([0, 8], Part::Later),
            ([0, 9], Part::Later),
            ([255, 248], Part::Later),
        ] {
            let fragment = (FRAGMENT, [0, field[0], field[1]], 8);
            assert_eq!(Chain::of(&packet(&[fragment], UDP, 8)).unwrap().part, part, "{field:?}");
            // What a later fragment holds is no header, whatever it looks like.
            let behind = Chain::of(&packet(&[fragment, (DESTINATION, [0; 3], 8)], UDP, 8)).unwrap();
            let expected = if part == Part::Later { (DESTINATION, 48) } else { (UDP, 56) };
            assert_eq!((behind.protocol, behind.at), expected, "{field:?}");
        }
        let twice = |a, b| Chain::of(&packet(&[(FRAGMENT, a, 8), (FRAGMENT, b, 8)], UDP, 8)).unwrap().part;
        assert_eq!(twice([0, 0, 1], [0; 3]), Part::First, "the inner one does not undo the outer one");
        assert_eq!(twice([0; 3], [0, 0, 1]), Part::First);
        assert_eq!(twice([0, 0, 1], [0, 0, 8]), Part::Later);
    }

    #[test]
    fn a_first_fragment_holds_the_whole_header_of_what_it_carries() {
        for (protocol, least) in [(TCP, 20), (UDP, 8), (ip::ICMPV6, 4), (NOTHING, 0), (253, 1)] {
            for behind in 0..24 {
                let packet = packet(&[(FRAGMENT, [0, 0, 1], 8)], protocol, behind);
                let complete = Chain::of(&packet).unwrap().is_complete(&packet);
                assert_eq!(complete, behind >= least, "{protocol} {behind}");
            }
        }
    }
}
