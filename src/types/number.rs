//! Numbers with a range: VNI, VLAN, UDP port, MTU.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use std::str::FromStr;

/// Why a number is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {min} to {max}, not {given}")]
pub struct NumberError {
    what: &'static str,
    min: u64,
    max: u64,
    given: String,
}

/// Takes a whole number and nothing that merely looks like one: YAML would hand over `"10"` where a `u64` is asked for.
struct WholeNumber;

impl serde::de::Visitor<'_> for WholeNumber {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("u64")
    }

    fn visit_u64<E>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u64, E> {
        let refuse = |_| E::invalid_type(serde::de::Unexpected::Signed(number), &self);
        u64::try_from(number).map_err(refuse)
    }
}

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $repr:ty, $what:literal, $min:literal, $max:literal $(, told $told:literal)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// Smallest value.
            pub const MIN: u64 = $min;
            /// Largest value.
            pub const MAX: u64 = $max;

            /// Largest value that a person may give.
            const TOLD: u64 = [$max $(, $told)?][[$max $(, $told)?].len() - 1];

            /// The number.
            pub const fn get(self) -> $repr {
                self.0.get()
            }
        }
        impl TryFrom<u64> for $name {
            type Error = NumberError;
            fn try_from(given: u64) -> Result<Self, NumberError> {
                let refuse = || NumberError { what: $what, min: $min, max: Self::TOLD, given: given.to_string() };
                if !($min..=$max).contains(&given) {
                    return Err(refuse());
                }
                <$repr>::try_from(given).ok().and_then(<$inner>::new).map(Self).ok_or_else(refuse)
            }
        }
        impl FromStr for $name {
            type Err = NumberError;
            fn from_str(text: &str) -> Result<Self, NumberError> {
                let given = || NumberError { what: $what, min: $min, max: Self::TOLD, given: format!("'{}'", text.escape_debug()) };
                Self::try_from(text.parse::<u64>().map_err(|_| given())?)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.get().fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u64(u64::from(self.get()))
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let given = deserializer.deserialize_any(WholeNumber)?;
                Self::try_from(given).map_err(serde::de::Error::custom)
            }
        }
    };
}

number_type!(
    /// VXLAN network identifier, 1 to 2^24 - 1 (RFC 7348 section 5; zero is refused because switches treat it as "none").
    /// The last one is no network's: nodes test their path with it.
    Vni, NonZeroU32, u32, "a network's VNI", 1, 16_777_215, told 16_777_214
);
number_type!(
    /// 802.1Q VLAN identifier, 1 to 4094 (IEEE 802.1Q-2018 table 9-2).
    Vlan, NonZeroU16, u16, "a VLAN", 1, 4094
);
number_type!(
    /// UDP port, 1 to 65535.
    UdpPort, NonZeroU16, u16, "a UDP port", 1, 65_535
);
number_type!(
    /// MTU in bytes of the IP packet, 576 (RFC 791) to 65535.
    Mtu, NonZeroU16, u16, "an MTU", 576, 65_535
);
number_type!(
    /// Broadcast and multicast frames a second, 10 to 100000.
    GroupRate, NonZeroU32, u32, "a rate of broadcast and multicast frames a second", 10, 100_000
);

impl GroupRate {
    /// Where neither port nor network says one: enough for the ARP, discovery and routing chatter of hundreds of guests.
    pub const USUAL: u32 = 1000;
}
