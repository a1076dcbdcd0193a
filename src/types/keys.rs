//! Keys of tunnels as 32 bytes and as base64 text. No arithmetic on them here: that is `tunnel`.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a key: 32 bytes in base64 (44 characters) are needed")]
pub struct KeyError;

fn decode(text: &str) -> Result<[u8; 32], KeyError> {
    let bytes = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| KeyError)?);
    bytes.as_slice().try_into().map_err(|_| KeyError)
}

/// A Curve25519 public key, as WireGuard writes it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl FromStr for PublicKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        decode(text).map(Self)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

super::serde_as_text!(PublicKey);

/// A Curve25519 private key. No `Debug`, no `Display`, wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
#[expect(missing_debug_implementations, reason = "a secret")]
pub struct SecretKey([u8; 32]);

/// A key shared by one pair of nodes, mixed into their handshake. No `Debug`, wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
#[expect(missing_debug_implementations, reason = "a secret")]
pub struct Psk([u8; 32]);

macro_rules! secret {
    ($name:ident) => {
        impl $name {
            /// From bytes; the caller wipes its own copy.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            pub const fn expose(&self) -> &[u8; 32] {
                &self.0
            }

            /// The base64 text, wiped on drop.
            pub fn to_text(&self) -> Zeroizing<String> {
                Zeroizing::new(STANDARD.encode(self.0))
            }
        }
        impl FromStr for $name {
            type Err = KeyError;
            fn from_str(text: &str) -> Result<Self, KeyError> {
                decode(text).map(Self)
            }
        }
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }
        impl Eq for $name {}
    };
}

secret!(SecretKey);
secret!(Psk);

/// A PSK travels only inside a slice: over TLS to the node that it belongs to, and to its `slice.json` (0600).
impl serde::Serialize for Psk {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> serde::Deserialize<'de> for Psk {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        text.parse().map_err(serde::de::Error::custom)
    }
}
