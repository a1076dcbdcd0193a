//! Carries a frame that is larger than one datagram of its path: as a packet of form A in standard IPv4 fragments (RFC 791
//! section 3.2), each of them one payload of the tunnel.
//!
//! ```text
//! | IPv4 20, first | UDP 8 | VXLAN 8 | frame ...   | IPv4 20 | ... frame |
//! ```
//!
//! All pieces have one size, so that they share a train: the last is padded to it, and IPv4's length says where it ends. Between
//! two `meshd`s nothing routes by the addresses, and both are 0.0.0.0; a foreign peer gets the tunnel addresses.

use super::buffer::Pool;
use super::drops::DropReason;
use super::form::Standard;
use super::train::{Outgoing, PADDING, line_up_as};
use crate::types::PeerSlot;
use crate::wire::Header;
use crate::wire::ip::Ipv4;

/// "Fragment offset is measured in units of 8 octets" (RFC 791 section 3.1).
const UNIT: usize = 8;

/// How a body is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    /// Bytes of body in each piece but the last.
    piece: usize,
    /// How many pieces.
    count: usize,
}

/// As few pieces as fit payloads of `carried` bytes, and as even as they can be.
fn cut(body: usize, carried: usize) -> Option<Cut> {
    let most = carried.checked_sub(Ipv4::LEN)? / UNIT * UNIT;
    if most < Standard::BEHIND_IP.max(UNIT) || body + Ipv4::LEN > usize::from(u16::MAX) {
        return None;
    }
    let piece = body.div_ceil(body.div_ceil(most).max(1)).next_multiple_of(UNIT).min(most);
    Some(Cut { piece, count: body.div_ceil(piece) })
}

/// Lines up a frame for `peer` in fragments that fit payloads of `carried` bytes; returns how many there are. `id` is the
/// identification that they share.
///
/// # Errors
/// [`DropReason::Oversize`]: larger than an IPv4 packet can be, or a path that carries next to nothing.
/// [`DropReason::NoBuffer`].
pub(super) fn line_up(
    outer: &Standard,
    id: u16,
    frame: &[u8],
    carried: usize,
    (peer, pool, trains): (PeerSlot, &mut Pool, &mut Vec<Outgoing>),
) -> Result<u32, DropReason> {
    let mut head = [0; Standard::BEHIND_IP];
    outer.write_behind_ip(&mut head, frame.len()).map_err(|_| DropReason::Oversize)?;
    let body = head.len() + frame.len();
    let Cut { piece, count } = cut(body, carried).ok_or(DropReason::Oversize)?;
    let size = (Ipv4::LEN + piece).next_multiple_of(PADDING).min(carried);
    for start in (0..body).step_by(piece) {
        let end = (start + piece).min(body);
        let payload = line_up_as(trains, pool, peer, Ipv4::LEN + end - start, size)?;
        let header = outer.fragment(id, start, end - start, end < body).map_err(|_| DropReason::Oversize)?;
        header.emit(payload).map_err(|_| DropReason::Oversize)?;
        let out = &mut payload[Ipv4::LEN..];
        match start {
            0 => {
                let (out_head, out_frame) = out.split_at_mut(head.len());
                out_head.copy_from_slice(&head);
                out_frame.copy_from_slice(&frame[..end - head.len()]);
            }
            _ => out.copy_from_slice(&frame[start - head.len()..end - head.len()]),
        }
    }
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
#[path = "fragment_tests.rs"]
mod tests;
