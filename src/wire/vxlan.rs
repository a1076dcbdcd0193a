//! VXLAN header (RFC 7348 section 5).
//!
//! ```text
//!  0      1               4               7      8
//! +------+---------------+---------------+------+------
//! |RRRRIR|   reserved    |      VNI      | res. | frame
//! +------+---------------+---------------+------+------
//! ```
//!
//! Reserved bits: "MUST be set to zero on transmission and ignored on receipt".

use super::{Header, WireError, front, front_mut};
use crate::types::Vni;

/// "where the I flag MUST be set to 1 for a valid VXLAN Network ID (VNI)" (RFC 7348 section 5).
pub const FLAG_VNI: u8 = 0x08;

/// VXLAN header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vxlan {
    /// The network.
    pub vni: Vni,
}

impl Header for Vxlan {
    const NAME: &'static str = "VXLAN";
    const LEN: usize = 8;

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let [flags, _, _, _, a, b, c, _] = *front::<8>(Self::NAME, bytes)?;
        if flags & FLAG_VNI == 0 {
            return Err(WireError::Field { header: Self::NAME, field: "I flag" });
        }
        let vni = Vni::try_from(u64::from(u32::from_be_bytes([0, a, b, c])))
            .map_err(|_| WireError::Field { header: Self::NAME, field: "VNI" })?;
        Ok(Self { vni })
    }

    fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        let out = front_mut::<8>(Self::NAME, out)?;
        let [_, a, b, c] = self.vni.get().to_be_bytes();
        *out = [FLAG_VNI, 0, 0, 0, a, b, c, 0];
        Ok(())
    }
}
