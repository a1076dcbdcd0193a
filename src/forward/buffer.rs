//! Buffers of a lane. One holds a frame as a TAP gave it, or a train of datagrams.

/// Largest frame that a TAP gives: the largest IP packet behind an Ethernet header with a tag; rounded up. The largest UDP
/// payload is smaller.
pub const CAPACITY: usize = 65_600;

/// Buffers that a pool hands out at most. Only pages that were written to are real memory.
const POOL: usize = 2048;

/// One buffer and how much of it is in use.
#[derive(Debug)]
pub struct Buf {
    bytes: Box<[u8]>,
    len: usize,
}

impl Default for Buf {
    fn default() -> Self {
        Self { bytes: vec![0; CAPACITY].into(), len: 0 }
    }
}

impl Buf {
    /// Everything that may be filled by a read; then say how much it was with [`Buf::filled`].
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The first `len` bytes of [`Buf::space`] are in use.
    pub fn filled(&mut self, len: usize) {
        self.len = len.min(CAPACITY);
    }

    /// Holds a copy of `bytes`; what does not fit is cut off.
    pub fn copy_from(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(CAPACITY);
        self.space()[..len].copy_from_slice(&bytes[..len]);
        self.filled(len);
    }

    /// Takes `count` bytes off the front of what is in use.
    pub fn cut_front(&mut self, count: usize) {
        let count = count.min(self.len);
        self.bytes.copy_within(count..self.len, 0);
        self.len -= count;
    }

    /// What is in use.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// What is in use.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// How many bytes are in use.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True if none is.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
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

    /// A buffer from here has gone to another pool, full or empty.
    pub fn lost(&mut self) {
        self.made = self.made.saturating_sub(1);
    }

    /// A buffer of another pool has come, and will be given here.
    pub fn gained(&mut self) {
        self.made += 1;
    }

    /// How many buffers there are, free or in use.
    pub const fn made(&self) -> usize {
        self.made
    }
}
