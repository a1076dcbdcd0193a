//! Neighbour solicitation and advertisement (RFC 4861 sections 4.3 and 4.4), and the ICMPv6 types beside them.
//!
//! ```text
//!  0    1    2      4           8                24   25   26            32
//! +----+----+------+-----------+----------------+----+----+-------------+
//! |type| 0  |chksum|RSO/reserv.| target address |kind| 1  | Ethernet    |   the option may be missing
//! +----+----+------+-----------+----------------+----+----+-------------+
//! ```

use std::net::Ipv6Addr;

use super::ip::{Checksum, ICMPV6};
use super::{WireError, front, front_mut};
use crate::types::Mac;

/// Router solicitation (RFC 4861 section 4.1).
pub const ROUTER_SOLICITATION: u8 = 133;
/// Router advertisement (RFC 4861 section 4.2).
pub const ROUTER_ADVERTISEMENT: u8 = 134;
/// Neighbour solicitation (RFC 4861 section 4.3).
pub const SOLICITATION: u8 = 135;
/// Neighbour advertisement (RFC 4861 section 4.4).
pub const ADVERTISEMENT: u8 = 136;
/// Redirect (RFC 4861 section 4.5).
pub const REDIRECT: u8 = 137;
/// Reports of groups: MLD (RFC 2710 section 3.1) and its second version (RFC 3810 section 4).
const REPORTS: [u8; 3] = [131, 132, 143];
/// Certification path solicitation and advertisement (RFC 3971 section 6.4).
const CERTIFICATION: [u8; 2] = [148, 149];
/// "Hop Limit: 255" (RFC 4861 section 4.3): a packet from another link cannot have it.
pub const HOP_LIMIT: u8 = 255;

const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;
const FIXED: usize = 24;
const NAME: &str = "neighbour discovery";

/// Who is asked for, and who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Solicitation {
    /// The address that is asked for; never a multicast one.
    pub target: Ipv6Addr,
    /// The asker's Ethernet address; missing in duplicate address detection.
    pub source: Option<Mac>,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advertisement {
    /// R: the sender is a router.
    pub router: bool,
    /// S: an answer to a solicitation.
    pub solicited: bool,
    /// O: it replaces what is cached.
    pub replaces: bool,
    /// The address that is spoken for; never a multicast one.
    pub target: Ipv6Addr,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
}

impl Solicitation {
    /// Reads an ICMPv6 message that is exactly `bytes`. The checksum is for [`checksum_holds`].
    ///
    /// # Errors
    /// [`WireError`]: too short, another type, code not 0, multicast target, option of length 0 (RFC 4861 section 7.1.1).
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let (target, _) = fixed(bytes, SOLICITATION)?;
        Ok(Self { target, source: option(&bytes[FIXED..], SOURCE_ADDRESS)? })
    }

    /// Writes it with its checksum; returns how many bytes it took, 24 or 32.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn emit(&self, out: &mut [u8], from: Ipv6Addr, to: Ipv6Addr) -> Result<usize, WireError> {
        write(out, [SOLICITATION, 0], self.target, self.source.map(|mac| (SOURCE_ADDRESS, mac)), from, to)
    }
}

impl Advertisement {
    /// Reads an ICMPv6 message that is exactly `bytes`. The checksum is for [`checksum_holds`].
    ///
    /// # Errors
    /// [`WireError`]: as for a solicitation.
    pub fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let (target, flags) = fixed(bytes, ADVERTISEMENT)?;
        Ok(Self {
            router: flags & 0x80 != 0,
            solicited: flags & 0x40 != 0,
            replaces: flags & 0x20 != 0,
            target,
            mac: option(&bytes[FIXED..], TARGET_ADDRESS)?,
        })
    }

    /// Writes it with its checksum; returns how many bytes it took, 24 or 32.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn emit(&self, out: &mut [u8], from: Ipv6Addr, to: Ipv6Addr) -> Result<usize, WireError> {
        let flags = u8::from(self.router) << 7 | u8::from(self.solicited) << 6 | u8::from(self.replaces) << 5;
        write(out, [ADVERTISEMENT, flags], self.target, self.mac.map(|mac| (TARGET_ADDRESS, mac)), from, to)
    }
}

/// True where the checksum of an ICMPv6 message is right.
pub fn checksum_holds(message: &[u8], from: Ipv6Addr, to: Ipv6Addr) -> bool {
    let Ok(length) = u16::try_from(message.len()) else { return false };
    Checksum::default().pseudo_v6(from, to, length, ICMPV6).with(message).value() == 0
}

/// True for types that a host sends before it has an address: solicitations, among them address detection, and reports of groups (RFC 3590
/// section 4).
pub const fn needs_no_source(kind: u8) -> bool {
    matches!(kind, ROUTER_SOLICITATION | SOLICITATION) || kind == REPORTS[0] || kind == REPORTS[1] || kind == REPORTS[2]
}

/// True for types of messages that may not be fragmented (RFC 6980 section 5).
pub const fn is_discovery(kind: u8) -> bool {
    matches!(kind, ROUTER_SOLICITATION..=REDIRECT) || kind == CERTIFICATION[0] || kind == CERTIFICATION[1]
}

/// True where every Ethernet address that a message of discovery says is its sender's, `mac`, whichever of them its receiver believes: the
/// first, the last, one in an option of unusual length. The target's address in a redirect is another's by nature. False for options
/// that cannot be read.
pub fn names_only(message: &[u8], mac: Mac) -> bool {
    let Some(kind) = message.first().copied() else { return false };
    let fixed = match kind {
        ROUTER_SOLICITATION => 8,
        ROUTER_ADVERTISEMENT => 16,
        SOLICITATION | ADVERTISEMENT => FIXED,
        REDIRECT => 40,
        _ => return true,
    };
    let Some(mut rest) = message.get(fixed..) else { return false };
    while let [option, units, ..] = rest {
        let Some((whole, after)) = rest.split_at_checked(usize::from(*units) * 8) else { return false };
        let says = *option == SOURCE_ADDRESS || (*option == TARGET_ADDRESS && kind != REDIRECT);
        if whole.is_empty() || (says && whole[2..] != mac.0) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// The address that a host gives itself out of its Ethernet address (RFC 4291 section 2.5.6 and appendix A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// Target and flags of a message of the wanted type.
fn fixed(bytes: &[u8], wanted: u8) -> Result<(Ipv6Addr, u8), WireError> {
    let head = front::<FIXED>(NAME, bytes)?;
    if head[..2] != [wanted, 0] {
        return Err(WireError::Field { header: NAME, field: "type or code" });
    }
    let target = Ipv6Addr::from(std::array::from_fn::<u8, 16, _>(|i| head[8 + i]));
    if target.is_multicast() {
        return Err(WireError::Field { header: NAME, field: "target" });
    }
    Ok((target, head[4]))
}

/// The first option of a kind. Options of other kinds are skipped.
fn option(mut rest: &[u8], kind: u8) -> Result<Option<Mac>, WireError> {
    let mut found = None;
    while !rest.is_empty() {
        let [this, units] = *front::<2>(NAME, rest)?;
        let len = usize::from(units) * 8;
        // "nodes MUST silently discard an ND packet that contains an option with length zero" (RFC 4861 section 4.6)
        if len == 0 {
            return Err(WireError::Field { header: NAME, field: "option of length 0" });
        }
        let whole = rest.get(..len).ok_or(WireError::Short { header: NAME, needs: len, has: rest.len() })?;
        if this == kind && units == 1 && found.is_none() {
            found = Some(Mac(std::array::from_fn(|i| whole[2 + i])));
        }
        rest = &rest[len..];
    }
    Ok(found)
}

fn write(
    out: &mut [u8],
    [kind, flags]: [u8; 2],
    target: Ipv6Addr,
    option: Option<(u8, Mac)>,
    from: Ipv6Addr,
    to: Ipv6Addr,
) -> Result<usize, WireError> {
    let has = out.len();
    let len: u16 = if option.is_some() { 32 } else { 24 };
    let needs = usize::from(len);
    let out = out.get_mut(..needs).ok_or(WireError::Short { header: NAME, needs, has })?;
    let head = front_mut::<FIXED>(NAME, out)?;
    head[..8].copy_from_slice(&[kind, 0, 0, 0, flags, 0, 0, 0]);
    head[8..].copy_from_slice(&target.octets());
    if let Some((kind, mac)) = option {
        out[24..26].copy_from_slice(&[kind, 1]);
        out[26..].copy_from_slice(&mac.0);
    }
    let checksum = Checksum::default().pseudo_v6(from, to, len, ICMPV6).with(out).value();
    out[2..4].copy_from_slice(&checksum.to_be_bytes());
    Ok(needs)
}
