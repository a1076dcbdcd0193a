//! Puts packets together from the fragments of a peer, in any order.
//!
//! Memory is fixed: 512 blocks of 2 KiB and 256 packets a lane. A packet waits at most a second, and not while 4096 other
//! fragments of its peer pass: identifications are 16 bits and come around, and a fragment must not meet one of an older packet
//! (RFC 4963). A peer may have 64 packets and 128 blocks waiting; one more costs it its own oldest. Where all peers together use
//! up the memory, the one that uses most loses some of its oldest, so nobody can crowd out a peer that uses less.
//!
//! Overlapping fragments are an attack or a fault: the whole packet is dropped, and what arrives of it later too (RFC 5722
//! section 4). The very same bytes again are a duplicate and harmless.

use std::ops::Range;
use std::time::Duration;

use super::drops::DropReason;
use super::ranges::{Insert, Ranges};
use crate::types::{Mono, PeerSlot};

/// Bytes of a block. A block holds the bytes of one packet at its own place, so that nothing is moved later.
const BLOCK: usize = 2048;
/// Blocks of a lane: 1 MiB.
const BLOCKS: usize = 512;
/// Packets that wait in a lane.
const PACKETS: usize = 256;
/// Packets that wait of one peer.
const PEER_PACKETS: u16 = 64;
/// Blocks that packets of one peer use.
const PEER_BLOCKS: u16 = 128;
/// Blocks of the largest packet.
const PACKET_BLOCKS: usize = 65_536 / BLOCK;
/// Packets that are given up together where memory is used up.
const AT_ONCE: u32 = 8;
/// How long a packet waits for its fragments.
const PATIENCE: Duration = Duration::from_secs(1);
/// How many fragments of its peer may pass while a packet waits: far fewer than there are identifications.
const DISTANCE: u32 = 4096;
/// No packet, no block.
const NONE: u16 = u16::MAX;

/// Some bytes of a packet behind its IPv4 header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) peer: PeerSlot,
    pub(super) id: u16,
    pub(super) offset: usize,
    pub(super) more: bool,
    pub(super) data: &'a [u8],
    /// How many fragments it was.
    pub(super) fragments: u32,
}

/// A packet all of whose bytes are there. To be taken at once, with [`Reassembly::take`].
#[derive(Debug)]
pub(super) struct Whole(u16);

/// Packets that wait for fragments.
#[derive(Debug)]
pub(super) struct Reassembly {
    memory: Box<[u8]>,
    free_blocks: Vec<u16>,
    links: Box<[Link]>,
    packets: Box<[Packet]>,
    free_packets: Vec<u16>,
    peers: Vec<Use>,
    /// Next packet that [`Reassembly::sweep`] looks at.
    swept: u16,
}

/// Whose packet, and its neighbours in the list of its peer, oldest first.
#[derive(Debug, Clone, Copy)]
struct Link {
    peer: PeerSlot,
    id: u16,
    before: u16,
    after: u16,
}

/// What has come of a packet.
#[derive(Debug, Clone, Copy)]
struct Packet {
    used: bool,
    /// Its fragments contradicted each other: whatever still comes is dropped.
    dead: bool,
    born: Mono,
    /// [`Use::passed`] when it was born.
    at: u32,
    total: Option<u16>,
    fragments: u32,
    ranges: Ranges,
    blocks: [u16; PACKET_BLOCKS],
}

/// What a peer uses.
#[derive(Debug, Clone, Copy)]
struct Use {
    first: u16,
    last: u16,
    packets: u16,
    blocks: u16,
    /// Fragments that have arrived from it.
    passed: u32,
}

/// What a refused part costs.
enum Refusal {
    /// Itself.
    Part(DropReason),
    /// All of its packet.
    Packet(DropReason),
}

/// Counts fragments of a peer that are given up.
pub(super) trait Lose: FnMut(PeerSlot, DropReason, u32) {}
impl<F: FnMut(PeerSlot, DropReason, u32)> Lose for F {}

const UNUSED: Packet = Packet {
    used: false,
    dead: false,
    born: Mono::from_nanos(0),
    at: 0,
    total: None,
    fragments: 0,
    ranges: Ranges::EMPTY,
    blocks: [NONE; PACKET_BLOCKS],
};

impl Default for Reassembly {
    fn default() -> Self {
        let numbers = |count: usize| (0..NONE).take(count).rev().collect();
        Self {
            memory: vec![0; BLOCKS * BLOCK].into(),
            free_blocks: numbers(BLOCKS),
            links: vec![Link { peer: PeerSlot(0), id: 0, before: NONE, after: NONE }; PACKETS].into(),
            packets: vec![UNUSED; PACKETS].into(),
            free_packets: numbers(PACKETS),
            peers: Vec::new(),
            swept: 0,
        }
    }
}

impl Reassembly {
    /// Fragments of a peer that were put together without waiting.
    pub(super) fn passed(&mut self, peer: PeerSlot, fragments: u32) {
        let usage = self.usage(peer);
        usage.passed = usage.passed.wrapping_add(fragments);
    }

    /// Takes some bytes of a packet. Returns the packet when they were the last ones.
    pub(super) fn add(&mut self, part: &Part<'_>, now: Mono, lose: &mut impl Lose) -> Option<Whole> {
        self.passed(part.peer, part.fragments);
        self.expire(part.peer, now, lose);
        let placed = match self.find(part) {
            Some(at) => self.place(at, part, now, lose).map(|whole| (at, whole)),
            None => match self.open(part, now, lose) {
                Some(at) => self.place(at, part, now, lose).map(|whole| (at, whole)),
                None => Err(Refusal::Part(DropReason::FragmentCrowded)),
            },
        };
        match placed {
            Ok((at, true)) => return Some(Whole(at)),
            Ok((_, false)) => {}
            Err(Refusal::Part(reason)) => lose(part.peer, reason, part.fragments),
            Err(Refusal::Packet(reason)) => {
                lose(part.peer, reason, part.fragments);
                if let Some(at) = self.find(part) {
                    self.kill(at, reason, lose);
                }
            }
        }
        None
    }

    /// Bytes of a packet.
    pub(super) fn len(&self, whole: &Whole) -> usize {
        self.packets[usize::from(whole.0)].total.map_or(0, usize::from)
    }

    /// Copies a packet out and forgets it. `out` has [`Reassembly::len`] bytes.
    pub(super) fn take(&mut self, whole: Whole, out: &mut [u8]) {
        let packet = &self.packets[usize::from(whole.0)];
        for (chunk, block) in out.chunks_mut(BLOCK).zip(packet.blocks) {
            let start = usize::from(block) * BLOCK;
            if let Some(bytes) = self.memory.get(start..start + chunk.len()) {
                chunk.copy_from_slice(bytes);
            }
        }
        self.release(whole.0);
    }

    /// Forgets a packet that nobody has room for.
    pub(super) fn forget(&mut self, whole: Whole) {
        self.release(whole.0);
    }

    /// Looks at one packet and gives it up if it has waited too long. Called once a batch, so that what a silent peer has left
    /// is counted and its memory comes back.
    pub(super) fn sweep(&mut self, now: Mono, lose: &mut impl Lose) {
        if self.free_packets.len() < PACKETS {
            self.swept = if usize::from(self.swept) + 1 < PACKETS { self.swept + 1 } else { 0 };
            if self.is_late(self.swept, now) {
                self.give_up(self.swept, DropReason::FragmentLate, lose);
            }
        }
    }

    /// Grows once for each peer that sends fragments for the first time.
    fn usage(&mut self, peer: PeerSlot) -> &mut Use {
        if self.peers.len() <= peer.index() {
            let nothing = Use { first: NONE, last: NONE, packets: 0, blocks: 0, passed: 0 };
            self.peers.resize(peer.index() + 1, nothing);
        }
        &mut self.peers[peer.index()]
    }

    /// Gives up what has waited too long, oldest first.
    fn expire(&mut self, peer: PeerSlot, now: Mono, lose: &mut impl Lose) {
        loop {
            let first = self.usage(peer).first;
            if first == NONE || !self.is_late(first, now) {
                return;
            }
            self.give_up(first, DropReason::FragmentLate, lose);
        }
    }

    fn is_late(&self, at: u16, now: Mono) -> bool {
        let (packet, link) = (&self.packets[usize::from(at)], &self.links[usize::from(at)]);
        let passed = self.peers.get(link.peer.index()).map_or(0, |usage| usage.passed);
        packet.used && (now.since(packet.born) >= PATIENCE || passed.wrapping_sub(packet.at) > DISTANCE)
    }

    fn find(&self, part: &Part<'_>) -> Option<u16> {
        // The newest is the likeliest.
        let mut at = self.peers.get(part.peer.index())?.last;
        while at != NONE {
            let link = &self.links[usize::from(at)];
            if link.id == part.id {
                return Some(at);
            }
            at = link.before;
        }
        None
    }

    /// A new packet of the part's peer. None: there is no room and no older packet of its own.
    fn open(&mut self, part: &Part<'_>, now: Mono, lose: &mut impl Lose) -> Option<u16> {
        if self.usage(part.peer).packets >= PEER_PACKETS {
            let oldest = self.usage(part.peer).first;
            self.give_up(oldest, DropReason::FragmentCrowded, lose);
        }
        if self.free_packets.is_empty() && !self.make_room(part.peer, NONE, now, lose) {
            return None;
        }
        let at = self.free_packets.pop()?;
        let usage = self.usage(part.peer);
        let (before, passed) = (std::mem::replace(&mut usage.last, at), usage.passed);
        usage.packets += 1;
        if before == NONE {
            usage.first = at;
        } else {
            self.links[usize::from(before)].after = at;
        }
        self.links[usize::from(at)] = Link { peer: part.peer, id: part.id, before, after: NONE };
        self.packets[usize::from(at)] = Packet { used: true, born: now, at: passed, ..UNUSED };
        Some(at)
    }

    /// Puts a part in its place. True: its packet is whole.
    fn place(&mut self, at: u16, part: &Part<'_>, now: Mono, lose: &mut impl Lose) -> Result<bool, Refusal> {
        let packet = &self.packets[usize::from(at)];
        if packet.dead {
            return Err(Refusal::Part(DropReason::FragmentOverlap));
        }
        let too_long = |_| Refusal::Packet(DropReason::FragmentConflict);
        let start = u16::try_from(part.offset).map_err(too_long)?;
        let end = u16::try_from(part.offset + part.data.len()).map_err(too_long)?;
        let total = agreed_total(packet, part.more, end)?;
        let mut ranges = packet.ranges;
        match ranges.insert(start, end) {
            Insert::Added => {}
            Insert::Inside if self.holds(at, part) => return Err(Refusal::Part(DropReason::FragmentDuplicate)),
            Insert::Inside | Insert::Overlaps => return Err(Refusal::Packet(DropReason::FragmentOverlap)),
            Insert::Full => return Err(Refusal::Packet(DropReason::FragmentScattered)),
        }
        self.reserve(at, part, now, lose)?;
        self.copy_in(at, part);
        let packet = &mut self.packets[usize::from(at)];
        packet.ranges = ranges;
        packet.total = total;
        packet.fragments += part.fragments;
        Ok(total.is_some_and(|total| ranges.is_exactly(total)))
    }

    /// True where the packet already holds the very bytes of a part.
    fn holds(&self, at: u16, part: &Part<'_>) -> bool {
        let blocks = &self.packets[usize::from(at)].blocks;
        spans(blocks, part).all(|(memory, data)| self.memory.get(memory) == part.data.get(data))
    }

    fn copy_in(&mut self, at: u16, part: &Part<'_>) {
        for (memory, data) in spans(&self.packets[usize::from(at)].blocks, part) {
            self.memory[memory].copy_from_slice(&part.data[data]);
        }
    }

    /// Gets the blocks that a part needs.
    fn reserve(&mut self, at: u16, part: &Part<'_>, now: Mono, lose: &mut impl Lose) -> Result<(), Refusal> {
        for number in part.offset / BLOCK..(part.offset + part.data.len()).div_ceil(BLOCK) {
            if self.packets[usize::from(at)].blocks[number] != NONE {
                continue;
            }
            let crowded = Refusal::Packet(DropReason::FragmentCrowded);
            if self.usage(part.peer).blocks >= PEER_BLOCKS && !self.give_up_oldest(part.peer, at, lose) {
                return Err(crowded);
            }
            if self.free_blocks.is_empty() && !self.make_room(part.peer, at, now, lose) {
                return Err(crowded);
            }
            let Some(block) = self.free_blocks.pop() else { return Err(crowded) };
            self.packets[usize::from(at)].blocks[number] = block;
            self.usage(part.peer).blocks += 1;
        }
        Ok(())
    }

    /// Gives up all that is late, else some of the oldest of the peer that uses most. A peer that uses as much as any loses its own.
    /// `keep` stays. Several at once, because the search looks at all packets.
    fn make_room(&mut self, peer: PeerSlot, keep: u16, now: Mono, lose: &mut impl Lose) -> bool {
        let before = self.free_packets.len();
        for at in (0..NONE).take(PACKETS).filter(|at| *at != keep) {
            if self.is_late(at, now) {
                self.give_up(at, DropReason::FragmentLate, lose);
            }
        }
        if self.free_packets.len() > before {
            return true;
        }
        // There are twice as many blocks as packets.
        let weight = |usage: &Use| usage.blocks.max(usage.packets * 2);
        let users = self.packets.iter().zip(&self.links).filter(|(packet, _)| packet.used).map(|(_, link)| link.peer);
        let heaviest = users.max_by_key(|user| self.peers.get(user.index()).map_or(0, weight));
        let own = weight(self.usage(peer));
        let loser = heaviest.filter(|user| weight(self.usage(*user)) > own).unwrap_or(peer);
        let mut given_up = 0;
        while given_up < AT_ONCE && self.give_up_oldest(loser, keep, lose) {
            given_up += 1;
        }
        given_up > 0
    }

    /// Gives up the oldest packet of a peer but `keep`. False: there is none.
    fn give_up_oldest(&mut self, peer: PeerSlot, keep: u16, lose: &mut impl Lose) -> bool {
        let first = self.usage(peer).first;
        let oldest = if first == keep && first != NONE { self.links[usize::from(first)].after } else { first };
        if oldest == NONE {
            return false;
        }
        self.give_up(oldest, DropReason::FragmentCrowded, lose);
        true
    }

    fn give_up(&mut self, at: u16, reason: DropReason, lose: &mut impl Lose) {
        let fragments = self.packets[usize::from(at)].fragments;
        if fragments > 0 {
            lose(self.links[usize::from(at)].peer, reason, fragments);
        }
        self.release(at);
    }

    /// Frees the memory of a packet and remembers that it is not to be believed.
    fn kill(&mut self, at: u16, reason: DropReason, lose: &mut impl Lose) {
        let packet = &mut self.packets[usize::from(at)];
        let fragments = std::mem::take(&mut packet.fragments);
        packet.dead = true;
        if fragments > 0 {
            lose(self.links[usize::from(at)].peer, reason, fragments);
        }
        self.free(at);
    }

    /// Takes a packet out of all lists.
    fn release(&mut self, at: u16) {
        self.free(at);
        let Link { peer, before, after, .. } = self.links[usize::from(at)];
        let usage = self.usage(peer);
        usage.packets -= 1;
        if before == NONE {
            usage.first = after;
        }
        if after == NONE {
            usage.last = before;
        }
        if let Some(link) = self.links.get_mut(usize::from(before)) {
            link.after = after;
        }
        if let Some(link) = self.links.get_mut(usize::from(after)) {
            link.before = before;
        }
        self.packets[usize::from(at)].used = false;
        self.free_packets.push(at);
    }

    fn free(&mut self, at: u16) {
        let (mut freed, peer) = (0, self.links[usize::from(at)].peer);
        for block in &mut self.packets[usize::from(at)].blocks {
            if *block != NONE {
                self.free_blocks.push(std::mem::replace(block, NONE));
                freed += 1;
            }
        }
        self.usage(peer).blocks -= freed;
    }
}

/// Where the bytes of a part lie: ranges of the memory, and of its data.
fn spans(blocks: &[u16; PACKET_BLOCKS], part: &Part<'_>) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let (from, to) = (part.offset, part.offset + part.data.len());
    (from / BLOCK..to.div_ceil(BLOCK)).map(move |number| {
        let (start, end) = (from.max(number * BLOCK), to.min((number + 1) * BLOCK));
        let memory = usize::from(blocks[number]) * BLOCK + start % BLOCK;
        (memory..memory + end - start, start - from..end - from)
    })
}

/// Where the packet ends, if a part that ends at `end` agrees with what is known.
fn agreed_total(packet: &Packet, more: bool, end: u16) -> Result<Option<u16>, Refusal> {
    let agrees = match (packet.total, more) {
        (Some(total), true) => end < total,
        (Some(total), false) => end == total,
        (None, true) => true,
        (None, false) => packet.ranges.end() <= end,
    };
    if !agrees {
        return Err(Refusal::Packet(DropReason::FragmentConflict));
    }
    Ok(if more { packet.total } else { Some(end) })
}

#[cfg(test)]
#[path = "reassemble_tests.rs"]
mod tests;
