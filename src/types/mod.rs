//! Ring 0: validated newtypes. A value of one of these types has passed its rule, so nothing further in checks again.
//!
//! Each type refuses at the door with an error that names the broken rule. Nothing here reads a clock, a file or a socket.
//! Parsing is `FromStr`, printing is `Display`, and serde goes through the same two.

mod ifname;
mod keys;
mod label;
mod mac;
mod number;
mod pattern;
mod prefix;
mod slot;
mod time;
mod version;

pub use self::ifname::{IfName, IfNameError};
pub use self::keys::{KeyError, Psk, PublicKey, SecretKey};
pub use self::label::{Label, LabelError, NetworkId, NodeId, OverlayId, PdcId, PolicyId, PortId};
pub use self::mac::{Mac, MacError};
pub use self::number::{GroupRate, Mtu, NumberError, UdpPort, Vlan, Vni};
pub use self::pattern::{NamePattern, NamePatternError, name_fits};
pub use self::prefix::{Prefix, PrefixError};
pub use self::slot::{NetSlot, PeerSlot};
pub use self::time::{Mono, Wall};
pub use self::version::Version;

/// The index by which a reader tells an enum that its value is of a newer version; no text stands for it.
pub const UNKNOWN_VARIANT: u64 = u32::MAX as u64;

/// Implements serde through `Display` and `FromStr`, so that text is checked once, at the door.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

#[cfg(test)]
mod tests;
