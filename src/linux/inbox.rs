//! Where datagrams arrive: one after the other in one stretch of memory, so that they are opened, joined and handed on in place.

use std::net::SocketAddr;

/// Bytes of an inbox: some full trains, little enough to stay in the cache.
const CAPACITY: usize = 256 << 10;
/// Largest UDP payload, also of a train that the kernel has put together.
const LARGEST: usize = 65_536;
/// Most reads from the socket before what has arrived is looked at.
const READS: usize = 64;

/// What has arrived.
#[derive(Debug)]
pub struct Inbox {
    bytes: Box<[u8]>,
    used: usize,
    arrivals: Vec<Arrival>,
}

/// Datagrams of one size and origin, one after the other. The last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Who sent them.
    pub from: SocketAddr,
    /// Where the first begins in the bytes of the inbox.
    pub start: usize,
    /// Bytes of all.
    pub len: usize,
    /// Bytes of each.
    pub segment: usize,
}

impl Default for Inbox {
    fn default() -> Self {
        Self { bytes: vec![0; CAPACITY].into(), used: 0, arrivals: Vec::with_capacity(READS) }
    }
}

impl Inbox {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.used = 0;
        self.arrivals.clear();
    }

    /// Room for one more arrival of any size; none: look at what there is.
    pub(super) fn room(&mut self) -> Option<&mut [u8]> {
        let fits = self.arrivals.len() < READS && CAPACITY - self.used >= LARGEST;
        fits.then(|| &mut self.bytes[self.used..self.used + LARGEST])
    }

    /// `len` bytes were put into the room.
    pub(super) fn arrived(&mut self, from: SocketAddr, len: usize, segment: Option<usize>) {
        let len = len.min(LARGEST);
        self.arrivals.push(Arrival { from, start: self.used, len, segment: segment.unwrap_or(len).max(1) });
        self.used += len;
    }

    /// How many arrivals there are.
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// True if nothing has arrived.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// One of them, in the order of arrival.
    pub fn arrival(&self, index: usize) -> Option<Arrival> {
        self.arrivals.get(index).copied()
    }

    /// The bytes of all.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// The bytes of all.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.used]
    }
}
