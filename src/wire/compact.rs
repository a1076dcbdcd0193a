//! The header of payload form B: VXLAN's eight bytes with two of its reserved fields put to use.
//!
//! ```text
//!  0        1     2        4               7      8
//! +--------+-----+--------+---------------+------+------
//! |0000I00O| mod | port   |      VNI      |  0   | frame or control message
//! +--------+-----+--------+---------------+------+------
//! ```
//!
//! * Form A names the overlay by its UDP port; two overlays may use one VNI. Here bytes 2 and 3 carry that UDP port.
//! * A tunnel pads to 16 bytes, and an Ethernet frame does not say how long it is. Byte 1 carries the length of header and
//!   what follows, modulo 16, from which the receiver knows how much is padding, whether the tunnel padded or not.
//! * The first nibble is zero, so a receiver tells it from IPv4 (4) and IPv6 (6).
//! * O marks a control message between two daemons; it belongs to no network, so I, port and VNI are zero.

use super::vxlan::FLAG_VNI;
use super::{Header, WireError, front, front_mut};
use crate::types::{UdpPort, Vni};

/// A control message follows, not a frame.
pub const FLAG_CONTROL: u8 = 0x01;
/// What tunnels pad to.
const PAD: usize = 16;

/// Header of form B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compact {
    /// What follows.
    pub content: Content,
    /// Length of header and content modulo 16.
    pub modulo: u8,
}

/// What follows a header of form B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A frame of the network with this VNI, in the overlay with this UDP port.
    Frame {
        /// UDP port of the overlay.
        udp_port: UdpPort,
        /// The network.
        vni: Vni,
    },
    /// A control message.
    Control,
}

impl Compact {
    /// The header for content of `len` bytes.
    pub fn new(content: Content, len: usize) -> Self {
        let modulo = u8::try_from((Self::LEN + len) % PAD).unwrap_or_default();
        Self { content, modulo }
    }

    /// How many of `payload` bytes (this header included) are not padding.
    ///
    /// # Errors
    /// [`WireError::Short`]: not even the header is left.
    pub fn unpadded(&self, payload: usize) -> Result<usize, WireError> {
        let padding = payload.wrapping_sub(usize::from(self.modulo)) % PAD;
        match payload.checked_sub(padding) {
            Some(len) if len >= Self::LEN => Ok(len),
            Some(_) | None => Err(WireError::Short { header: Self::NAME, needs: Self::LEN, has: payload }),
        }
    }
}

impl Header for Compact {
    const NAME: &'static str = "compact VXLAN";
    const LEN: usize = 8;

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let field = |field| WireError::Field { header: Self::NAME, field };
        let [flags, modulo, p0, p1, a, b, c, _] = *front::<8>(Self::NAME, bytes)?;
        if usize::from(modulo) >= PAD {
            return Err(field("length modulo 16"));
        }
        let content = match flags & (FLAG_VNI | FLAG_CONTROL) {
            FLAG_VNI => Content::Frame {
                udp_port: UdpPort::try_from(u64::from(u16::from_be_bytes([p0, p1]))).map_err(|_| field("UDP port"))?,
                vni: Vni::try_from(u64::from(u32::from_be_bytes([0, a, b, c]))).map_err(|_| field("VNI"))?,
            },
            FLAG_CONTROL if [p0, p1, a, b, c] == [0; 5] => Content::Control,
            _ => return Err(field("flags")),
        };
        Ok(Self { content, modulo })
    }

    fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        let out = front_mut::<8>(Self::NAME, out)?;
        *out = match self.content {
            Content::Frame { udp_port, vni } => {
                let [p0, p1] = udp_port.get().to_be_bytes();
                let [_, a, b, c] = vni.get().to_be_bytes();
                [FLAG_VNI, self.modulo, p0, p1, a, b, c, 0]
            }
            Content::Control => [FLAG_CONTROL, self.modulo, 0, 0, 0, 0, 0, 0],
        };
        Ok(())
    }
}
