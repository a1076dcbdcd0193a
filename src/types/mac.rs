//! Ethernet addresses (IEEE 802-2014 section 8).

use std::fmt;
use std::str::FromStr;

/// An Ethernet address. Any value; [`Mac::is_unicast`] tells whether it may be a guest's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// Why a text is not an Ethernet address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MacError {
    /// Not six groups of one or two hexadecimal digits separated by ':'.
    #[error("'{0}' is not an Ethernet address (six hexadecimal bytes like 02:08:20:0a:00:07)")]
    Syntax(String),
    /// A group address or all zeros where a guest's own address is needed.
    #[error("{0} is not a unicast Ethernet address; a guest cannot own it")]
    NotUnicast(Mac),
}

impl Mac {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// `00:00:00:00:00:00`, the key of flood entries in a vxlan FDB.
    pub const ZERO: Self = Self([0; 6]);

    /// True for an individual (not group) address other than all zeros.
    pub const fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && (self.0[0] | self.0[1] | self.0[2] | self.0[3] | self.0[4] | self.0[5]) != 0
    }

    /// True where the group bit is set (multicast and broadcast).
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Itself if a guest may own it.
    ///
    /// # Errors
    /// [`MacError::NotUnicast`].
    pub const fn unicast(self) -> Result<Self, MacError> {
        if self.is_unicast() { Ok(self) } else { Err(MacError::NotUnicast(self)) }
    }
}

impl FromStr for Mac {
    type Err = MacError;

    /// Groups of one or two hexadecimal digits in any case, as illumos `ether_aton` takes them: `2:8:20:a:0:7` is
    /// `02:08:20:0a:00:07`.
    fn from_str(text: &str) -> Result<Self, MacError> {
        let bad = || MacError::Syntax(text.chars().take(40).collect());
        let mut bytes = [0; 6];
        let mut groups = text.split(':');
        for byte in &mut bytes {
            let group = groups.next().ok_or_else(bad)?;
            if group.is_empty() || group.len() > 2 || !group.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(group, 16).map_err(|_| bad())?;
        }
        if groups.next().is_some() { Err(bad()) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

super::serde_as_text!(Mac);
