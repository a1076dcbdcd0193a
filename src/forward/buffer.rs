//! Buffers of a lane. One holds a frame with room in front for every header that it will get and behind for the tag, so that
//! a frame is read, wrapped, sealed and sent without being copied.

use crate::tunnel;

/// Room in front: the data message's header and form A's 36 bytes, rounded up.
pub const HEADROOM: usize = 64;
/// Room behind: padding and tag, rounded up.
pub const TAILROOM: usize = 32;
/// What lies between: the largest frame that a TAP gives, or the largest UDP payload.
pub const MIDDLE: usize = 65_536;

/// Buffers that a pool hands out at most. Only pages that were written to are real memory.
const POOL: usize = 2048;

/// One buffer and the part of it that is in use.
#[derive(Debug)]
pub struct Buf {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Default for Buf {
    fn default() -> Self {
        Self { bytes: vec![0; HEADROOM + MIDDLE + TAILROOM].into(), start: HEADROOM, end: HEADROOM }
    }
}

impl Buf {
    /// Everything that may be filled by a read; then say how much it was with [`Buf::filled`].
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[HEADROOM..HEADROOM + MIDDLE]
    }

    /// The first `len` bytes of [`Buf::space`] are in use.
    pub fn filled(&mut self, len: usize) {
        self.start = HEADROOM;
        self.end = HEADROOM + len.min(MIDDLE);
    }

    /// Holds a copy of `bytes`; what does not fit is cut off.
    pub fn copy_from(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(MIDDLE);
        self.space()[..len].copy_from_slice(&bytes[..len]);
        self.filled(len);
    }

    /// What is in use.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// What is in use.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    /// How many bytes are in use.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes `count` more bytes in front into use and returns them. The caller keeps within [`HEADROOM`] less the tunnel's.
    ///
    /// # Panics
    /// If there is not that much room: the headers of this project add up to 52 of 64 bytes.
    pub fn prepend(&mut self, count: usize) -> &mut [u8] {
        assert!(self.start >= count, "headers fit the headroom");
        self.start -= count;
        &mut self.bytes[self.start..self.start + count]
    }

    /// What [`tunnel::Tunnels::seal`] wants: the payload with its headroom and tailroom; and the length of the payload.
    pub fn sealing(&mut self) -> (&mut [u8], usize) {
        let len = self.len();
        let front = self.start.saturating_sub(tunnel::HEADROOM);
        (&mut self.bytes[front..(self.end + tunnel::TAILROOM).min(HEADROOM + MIDDLE + TAILROOM)], len)
    }

    /// After sealing: the first `len` bytes of what [`Buf::sealing`] gave are the datagram.
    pub fn sealed(&mut self, len: usize) {
        self.start = self.start.saturating_sub(tunnel::HEADROOM);
        self.end = (self.start + len).min(self.bytes.len());
    }
}

/// Free buffers. Grows while the lane warms up, then allocates no more.
#[derive(Debug, Default)]
pub struct Pool {
    free: Vec<Buf>,
    made: usize,
}

impl Pool {
    /// A buffer, the one used last if there is one (it is still in the cache). None: all of them are in use.
    pub fn take(&mut self) -> Option<Buf> {
        if let Some(buf) = self.free.pop() {
            return Some(buf);
        }
        (self.made < POOL).then(|| {
            self.made += 1;
            Buf::default()
        })
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buf: Buf) {
        self.free.push(buf);
    }
}
