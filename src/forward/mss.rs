//! Lowers the maximum segment size that a TCP SYN announces to what the network and the path carry, so that the other side
//! never sends a segment that would have to be carried in fragments.

use super::layout::{Layout, Protocol, Version, put, word};
use crate::wire::Header;
use crate::wire::ethernet;
use crate::wire::ip::{self, Ipv4, Ipv6};
use crate::wire::sum::Sum;
use crate::wire::tcp;

/// Lowers the MSS of a SYN or SYN-ACK to what fits an IP packet of `packet` bytes, and keeps its checksum right. True: it was
/// lowered. It is never raised, and a frame with no MSS option, or that is no SYN, stays as it is; so does what stands behind a malformed option.
/// Where a SYN has several MSS options, each of them is lowered.
///
/// The frame's checksum must be complete: [`super::segment::finish_checksum`] comes first.
pub(super) fn clamp(frame: &mut [u8], packet: usize) -> bool {
    if !may_be_syn(frame) {
        return false;
    }
    let Some(layout) = Layout::of(frame).filter(|layout| layout.protocol == Protocol::Tcp) else { return false };
    if frame[layout.l4 + tcp::FLAGS] & tcp::SYN == 0 {
        return false;
    }
    // "the MTU value SHOULD be decreased by only the size of the fixed IP and TCP headers" (RFC 6691 section 2).
    let fixed = tcp::LEN
        + match layout.version {
            Version::V4 => Ipv4::LEN,
            Version::V6 => Ipv6::LEN,
        };
    let most = u16::try_from(packet.saturating_sub(fixed)).unwrap_or(u16::MAX);
    // The last one counts for some receivers and the first one for others, so all of them are lowered. Options are at most 40 bytes.
    let (mut from, mut lowered) = (0, false);
    loop {
        let next = tcp::all_mss(&frame[layout.l4..layout.payload]).find(|at| *at >= from);
        let Some(at) = next else { return lowered };
        lowered |= lower(&mut frame[layout.l4..layout.end], at, most);
        from = at + 1;
    }
}

/// Lowers the value at `at` of a TCP segment to `most`.
fn lower(segment: &mut [u8], at: usize, most: u16) -> bool {
    if word(segment, at).is_none_or(|announced| announced <= most) {
        return false;
    }
    // An option may start at an odd place, and checksums are of whole words.
    let words = at & !1..(at + 3) & !1;
    let sum = Sum::default().word(!word(segment, tcp::CHECKSUM).unwrap_or_default()).without(&segment[words.clone()]);
    put(segment, at, most);
    let checksum = sum.with(&segment[words]).checksum();
    put(segment, tcp::CHECKSUM, checksum);
    true
}

/// A quick look that lets everything through that could be a SYN, for every frame that goes alone.
#[inline]
fn may_be_syn(frame: &[u8]) -> bool {
    let l3 = match word(frame, 12) {
        Some(ethernet::VLAN) => 18,
        _ => 14,
    };
    let syn = |l4: usize| frame.get(l4 + tcp::FLAGS).is_some_and(|flags| flags & tcp::SYN != 0);
    match frame.get(l3).map(|first| (first >> 4, usize::from(first & 0x0f) * 4)) {
        Some((4, header)) => frame.get(l3 + 9) == Some(&ip::TCP) && syn(l3 + header),
        // Behind extension headers the slow look decides.
        Some((6, _)) => match frame.get(l3 + 6) {
            Some(&ip::TCP) => syn(l3 + 40),
            Some(&(ip::UDP | ip::ICMPV6)) | None => false,
            Some(_) => true,
        },
        _ => false,
    }
}

#[cfg(test)]
#[path = "mss_tests.rs"]
mod tests;
