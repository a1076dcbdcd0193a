//! Trains: the payloads for one peer, lined up in one buffer as the datagrams that they become.
//!
//! ```text
//! | header 16 | payload, padded to 16 | tag 16 | header 16 | payload ...
//! ```
//!
//! All datagrams of a train have one size, but the last may be shorter: what the kernel takes in one `sendmsg` with
//! `UDP_SEGMENT`. A frame is copied once, from where a TAP left it to where it is sealed and sent from. Only the newest train of
//! a peer grows, so what goes to a peer keeps its order.

use super::buffer::{Buf, Pool};
use super::drops::DropReason;
use crate::tunnel;
use crate::types::PeerSlot;

/// Most datagrams of one train (`UDP_MAX_SEGMENTS` before Linux commit 1382e3b6).
pub const MAX_DATAGRAMS: usize = 64;
/// Most bytes of one train: the largest UDP payload over IPv4.
pub const MAX_BYTES: usize = 65_507;
/// Header and tag of a datagram.
pub const AROUND: usize = tunnel::HEADROOM + tunnel::TAG;

/// What tunnels pad to.
pub(super) const PADDING: usize = 16;
/// How many of the newest trains are asked whether they take one more payload: so many that the frames of a flood to all peers of a
/// large network share one train a peer, and few enough to be read in less time than one system call takes.
const LOOK_BACK: usize = 1024;

/// A train: payloads for a peer's tunnel, to be sealed in place.
#[derive(Debug)]
pub struct Outgoing {
    /// Whose tunnel.
    pub peer: PeerSlot,
    buf: Buf,
    size: usize,
    /// Nothing may follow: the last datagram is shorter than the others.
    ended: bool,
}

impl Outgoing {
    fn new(peer: PeerSlot, mut buf: Buf, size: usize) -> Self {
        buf.filled(0);
        Self { peer, buf, size, ended: false }
    }

    /// Whether one more datagram of `size` bytes may follow.
    fn takes(&self, size: usize) -> bool {
        let len = self.buf.len();
        !self.ended && size <= self.size && len + size <= MAX_BYTES && len < self.size * MAX_DATAGRAMS
    }

    /// Room for one more datagram.
    fn append(&mut self, size: usize) -> &mut [u8] {
        let start = self.buf.len();
        self.buf.filled(start + size);
        self.ended = size < self.size;
        &mut self.buf.bytes_mut()[start..]
    }

    /// Size of each datagram in bytes, the last may be shorter.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Each datagram: room for a header, payload, room for a tag.
    pub fn datagrams(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.buf.bytes_mut().chunks_mut(self.size)
    }

    /// The buffer, with the first `count` datagrams in use.
    pub fn into_buf(self, count: usize) -> Buf {
        let Self { mut buf, size, .. } = self;
        buf.filled(buf.len().min(count * size));
        buf
    }
}

/// Room for a payload of `len` bytes at the end of the newest train of `peer`, or in a new one. The padding up to 16 is zero and
/// is left out where the payload would exceed `most` with it.
///
/// # Errors
/// [`DropReason::NoBuffer`], and [`DropReason::Oversize`] for what fits no datagram.
pub(super) fn line_up<'a>(
    trains: &'a mut Vec<Outgoing>,
    pool: &mut Pool,
    peer: PeerSlot,
    len: usize,
    most: usize,
) -> Result<&'a mut [u8], DropReason> {
    line_up_as(trains, pool, peer, len, len.next_multiple_of(PADDING).min(most.max(len)))
}

/// The same, with padding up to `padded` bytes, so that payloads of unequal lengths share a train.
///
/// # Errors
/// As [`line_up`].
pub(super) fn line_up_as<'a>(
    trains: &'a mut Vec<Outgoing>,
    pool: &mut Pool,
    peer: PeerSlot,
    len: usize,
    padded: usize,
) -> Result<&'a mut [u8], DropReason> {
    let padded = padded.max(len);
    let size = padded + AROUND;
    if size > MAX_BYTES {
        return Err(DropReason::Oversize);
    }
    let newest = trains.iter().rev().take(LOOK_BACK).position(|train| train.peer == peer);
    let at = match newest.map(|back| trains.len() - 1 - back) {
        Some(at) if trains[at].takes(size) => at,
        Some(_) | None => {
            trains.push(Outgoing::new(peer, pool.take().ok_or(DropReason::NoBuffer)?, size));
            trains.len() - 1
        }
    };
    let datagram = trains[at].append(size);
    let payload = &mut datagram[tunnel::HEADROOM..tunnel::HEADROOM + padded];
    payload[len..].fill(0);
    Ok(&mut payload[..len])
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
