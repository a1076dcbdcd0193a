//! The four messages of WireGuard as bytes (whitepaper 5.4.2, 5.4.3, 5.4.6, 5.4.7). All integers are little-endian; the three
//! bytes after the type are zero.

use std::ops::Range;

/// Bytes of an AEAD's tag.
pub const TAG: usize = 16;
/// Bytes of a MAC in a handshake message.
pub(super) const MAC: usize = 16;

/// Message 1: sender index, ephemeral (32), static (32 + 16), timestamp (12 + 16), mac1, mac2.
pub(super) mod initiation {
    use super::*;
    pub(in super::super) const LEN: usize = 148;
    pub(in super::super) const SENDER: Range<usize> = 4..8;
    pub(in super::super) const NOISE: Range<usize> = 8..116;
}

/// Message 2: sender index, receiver index, ephemeral (32), nothing (0 + 16), mac1, mac2.
pub(super) mod response {
    use super::*;
    pub(in super::super) const LEN: usize = 92;
    pub(in super::super) const SENDER: Range<usize> = 4..8;
    pub(in super::super) const RECEIVER: Range<usize> = 8..12;
    pub(in super::super) const NOISE: Range<usize> = 12..60;
}

/// Message 3: receiver index, nonce (24), cookie (16 + 16).
pub(super) mod cookie {
    use super::*;
    pub(in super::super) const LEN: usize = 64;
    pub(in super::super) const RECEIVER: Range<usize> = 4..8;
    pub(in super::super) const NONCE: Range<usize> = 8..32;
    pub(in super::super) const SEALED: Range<usize> = 32..64;
}

/// Message 4: receiver index, counter (8), padded payload, tag.
pub(super) mod data {
    use super::*;
    pub(in super::super) const HEADER: usize = 16;
    pub(in super::super) const MIN: usize = HEADER + TAG;
    pub(in super::super) const RECEIVER: Range<usize> = 4..8;
    pub(in super::super) const COUNTER: Range<usize> = 8..16;
}

/// Bytes of the Noise message inside an initiation: e, s, payload.
pub(super) const NOISE_1: usize = 32 + (32 + TAG) + (12 + TAG);
/// Bytes of the Noise message inside a response: e, empty payload.
pub(super) const NOISE_2: usize = 32 + TAG;

const _: () = {
    assert!(initiation::NOISE.end - initiation::NOISE.start == NOISE_1);
    assert!(initiation::NOISE.end + 2 * MAC == initiation::LEN);
    assert!(response::NOISE.end - response::NOISE.start == NOISE_2);
    assert!(response::NOISE.end + 2 * MAC == response::LEN);
    assert!(cookie::SEALED.end == cookie::LEN && cookie::SEALED.end - cookie::SEALED.start == MAC + TAG);
    assert!(data::HEADER == super::HEADROOM);
};

/// Whether a datagram claims to be a handshake initiation: what anybody may send.
pub fn is_call(datagram: &[u8]) -> bool {
    matches!(Kind::of(datagram), Some(Kind::Initiation))
}

/// Which message a datagram claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Initiation,
    Response,
    Cookie,
    Data,
}

impl Kind {
    /// The first four bytes.
    pub(super) const fn tag(self) -> [u8; 4] {
        match self {
            Self::Initiation => [1, 0, 0, 0],
            Self::Response => [2, 0, 0, 0],
            Self::Cookie => [3, 0, 0, 0],
            Self::Data => [4, 0, 0, 0],
        }
    }

    /// By type, reserved bytes and length; none if any of them is wrong.
    pub(super) fn of(datagram: &[u8]) -> Option<Self> {
        let kind = match datagram.first_chunk::<4>()? {
            [1, 0, 0, 0] => Self::Initiation,
            [2, 0, 0, 0] => Self::Response,
            [3, 0, 0, 0] => Self::Cookie,
            [4, 0, 0, 0] => Self::Data,
            _ => return None,
        };
        let fits = match kind {
            Self::Initiation => datagram.len() == initiation::LEN,
            Self::Response => datagram.len() == response::LEN,
            Self::Cookie => datagram.len() == cookie::LEN,
            Self::Data => datagram.len() >= data::MIN,
        };
        fits.then_some(kind)
    }
}

/// A copy of the `N` bytes at `at`. The caller knows from [`Kind::of`] that they are there.
pub(super) fn field<const N: usize>(message: &[u8], at: Range<usize>) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&message[at]);
    bytes
}

/// The index at `at`.
pub(super) fn index(message: &[u8], at: Range<usize>) -> u32 {
    u32::from_le_bytes(field(message, at))
}

/// Receiver index and counter of a data message.
pub(super) fn read_data(message: &[u8]) -> (u32, u64) {
    (index(message, data::RECEIVER), u64::from_le_bytes(field(message, data::COUNTER)))
}

/// Writes the header of a data message.
pub(super) fn write_data(message: &mut [u8], receiver: u32, counter: u64) {
    message[..4].copy_from_slice(&Kind::Data.tag());
    message[data::RECEIVER].copy_from_slice(&receiver.to_le_bytes());
    message[data::COUNTER].copy_from_slice(&counter.to_le_bytes());
}
