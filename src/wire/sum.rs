//! The Internet checksum (RFC 1071) for many bytes: summed alone, or in the same pass that copies them.
//!
//! One's complement sums do not mind the byte order ("the sum of 16-bit integers can be computed in either byte order",
//! section 2 (B)) nor the width of the words (section 2 (C)), so bytes are read as the machine has them, 32 at a time into 16
//! lanes that the compiler keeps in vector registers, and swapped once at the end.

/// A sum under way. Each part added must have an even length, but for the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum(u64);

/// Bytes of one step.
const STEP: usize = 32;
/// Bytes after which the 32-bit lanes are emptied, long before they could overflow.
const ROUND: usize = 1 << 16;

impl Sum {
    /// With the bytes of `from`, which are also copied to the front of `to`. The shorter of both says how many.
    #[must_use]
    pub fn copy(mut self, to: &mut [u8], from: &[u8]) -> Self {
        for (to, from) in to.chunks_mut(ROUND).zip(from.chunks(ROUND)) {
            let len = to.len().min(from.len());
            self.0 += copy_round(&mut to[..len], &from[..len]);
        }
        self
    }

    /// With more bytes; an odd last byte counts as if a zero followed.
    #[must_use]
    pub fn with(mut self, bytes: &[u8]) -> Self {
        for bytes in bytes.chunks(ROUND) {
            let (steps, rest) = bytes.as_chunks::<STEP>();
            let mut lanes = Lanes::default();
            for step in steps {
                lanes.add(step);
            }
            self.0 += lanes.total() + tail(rest);
        }
        self
    }

    /// With one 16-bit number, as it stands in a header.
    #[must_use]
    pub fn word(self, value: u16) -> Self {
        Self(self.0 + u64::from(u16::from_ne_bytes(value.to_be_bytes())))
    }

    /// With one 32-bit number, as it stands in a header at an even offset.
    #[must_use]
    pub fn long(self, value: u32) -> Self {
        Self(self.0 + u64::from(u32::from_ne_bytes(value.to_be_bytes())))
    }

    /// Without bytes of an even length that had been summed, which are about to change: "HC' = ~(~HC + ~m + m')" (RFC 1624
    /// section 3), where this adds the `~m`.
    #[must_use]
    pub fn without(self, bytes: &[u8]) -> Self {
        self.word(!Self::default().with(bytes).partial())
    }

    /// With the sum of other parts.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The folded sum: what a sender leaves in the field when an interface is to finish the checksum.
    pub fn partial(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        u16::from_be_bytes(u16::try_from(sum).unwrap_or_default().to_ne_bytes())
    }

    /// The value for the checksum field; zero for bytes that hold a right checksum.
    pub fn checksum(self) -> u16 {
        !self.partial()
    }

    /// [`Sum::checksum`] for UDP: "If the computed checksum is zero, it is transmitted as all ones" (RFC 768).
    pub fn checksum_udp(self) -> u16 {
        match self.checksum() {
            0 => 0xffff,
            other => other,
        }
    }
}

/// Sums of the low and high halves of 32-bit words.
#[derive(Default)]
struct Lanes {
    low: [u32; STEP / 4],
    high: [u32; STEP / 4],
}

impl Lanes {
    #[inline]
    fn add(&mut self, step: &[u8; STEP]) {
        let (words, _) = step.as_chunks::<4>();
        for ((low, high), word) in self.low.iter_mut().zip(&mut self.high).zip(words) {
            let word = u32::from_ne_bytes(*word);
            // A round is too short to wrap. Said so, because a check in each step would keep the compiler from taking many at once.
            *low = low.wrapping_add(word & 0xffff);
            *high = high.wrapping_add(word >> 16);
        }
    }

    fn total(&self) -> u64 {
        self.low.iter().chain(&self.high).map(|lane| u64::from(*lane)).sum()
    }
}

/// Copies at most [`ROUND`] bytes between slices of one length and sums them.
fn copy_round(to: &mut [u8], from: &[u8]) -> u64 {
    let (to_steps, to_rest) = to.as_chunks_mut::<STEP>();
    let (from_steps, from_rest) = from.as_chunks::<STEP>();
    let mut lanes = Lanes::default();
    for (to, from) in to_steps.iter_mut().zip(from_steps) {
        lanes.add(from);
        *to = *from;
    }
    to_rest.copy_from_slice(from_rest);
    lanes.total() + tail(from_rest)
}

/// Sums fewer bytes than a step.
fn tail(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    sum + u64::from(u32::from_ne_bytes(last))
}

#[cfg(test)]
#[path = "sum_tests.rs"]
mod tests;
