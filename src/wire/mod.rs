//! Ring 1: bytes to headers and back, one header a file. Nothing here allocates or keeps state.
//!
//! Each header is a plain struct with `parse`, which reads it from the front of a slice, and `emit`, which writes it there.
//! Four laws hold for all of them and are tested in one place: what is emitted parses to itself; what parses emits the same
//! bytes but for reserved bits; noise never panics; a buffer that is too short is an error.

pub mod arp;
pub mod chain;
pub mod compact;
pub mod ethernet;
pub mod icmp;
pub mod icmp6;
pub mod ip;
pub mod nd;
pub mod oam;
pub mod ping;
pub mod sum;
pub mod tcp;
pub mod udp;
pub mod virtio;
pub mod vlan;
pub mod vxlan;

/// Why bytes are not a header, or a header does not go into bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Too few bytes.
    #[error("{header} needs {needs} bytes, there are {has}")]
    Short {
        /// Which header.
        header: &'static str,
        /// Bytes it needs.
        needs: usize,
        /// Bytes there are.
        has: usize,
    },
    /// A field has a value that the header cannot have.
    #[error("{header}: {field} is not acceptable")]
    Field {
        /// Which header.
        header: &'static str,
        /// Which field.
        field: &'static str,
    },
}

/// A header with one size.
pub trait Header: Sized {
    /// Name for errors.
    const NAME: &'static str;
    /// Bytes on the wire.
    const LEN: usize;

    /// Reads it from the front of `bytes`.
    ///
    /// # Errors
    /// [`WireError`]: too short, or a field that this header cannot have.
    fn parse(bytes: &[u8]) -> Result<Self, WireError>;

    /// Writes it to the front of `out`; reserved bits become zero.
    ///
    /// # Errors
    /// [`WireError::Short`].
    fn emit(&self, out: &mut [u8]) -> Result<(), WireError>;

    /// Reads it and returns what follows.
    ///
    /// # Errors
    /// As [`Header::parse`].
    fn split(bytes: &[u8]) -> Result<(Self, &[u8]), WireError> {
        Ok((Self::parse(bytes)?, &bytes[Self::LEN..]))
    }
}

/// The first `N` bytes.
fn front<'a, const N: usize>(header: &'static str, bytes: &'a [u8]) -> Result<&'a [u8; N], WireError> {
    bytes.first_chunk().ok_or(WireError::Short { header, needs: N, has: bytes.len() })
}

/// The first `N` bytes, to write.
fn front_mut<'a, const N: usize>(header: &'static str, out: &'a mut [u8]) -> Result<&'a mut [u8; N], WireError> {
    let has = out.len();
    out.first_chunk_mut().ok_or(WireError::Short { header, needs: N, has })
}

#[cfg(test)]
mod tests;
