//! Values that only configuration files have: checked while they are read, so that an error knows its place.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::types::{IfName, Mtu};

/// Where an outer address comes from: an interface, or the address itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attach {
    /// The first global address of this interface, IPv4 before IPv6.
    Interface(IfName),
    /// This address; its interface is looked up.
    Address(IpAddr),
}

impl FromStr for Attach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            let usable = !address.is_unspecified() && !address.is_multicast();
            return if usable {
                Ok(Self::Address(address))
            } else {
                Err(format!("{address} is nobody's own address; name an interface or one of its addresses"))
            };
        }
        match text.parse() {
            Ok(name) => Ok(Self::Interface(name)),
            Err(_) => Err(format!(
                "'{}' is neither an interface (like eth0) nor an address (like 10.0.0.5)",
                text.chars().take(40).collect::<String>()
            )),
        }
    }
}

impl fmt::Display for Attach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

crate::types::serde_as_text!(Attach);

/// How many lanes: threads with a TAP queue, a UDP socket and sessions of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lanes {
    /// Half as many as there are CPUs, 1 to [`Lanes::AUTO`]: the guests want the other half.
    #[default]
    Auto,
    /// This many, 1 to [`Lanes::MAX`].
    Count(u8),
}

impl Lanes {
    /// Most lanes of a node.
    pub const MAX: u8 = 8;
    /// Most lanes that [`Lanes::Auto`] stands for.
    pub const AUTO: u8 = 4;

    /// How many lanes that is on a machine with that many CPUs.
    pub fn count(self, cpus: usize) -> u8 {
        match self {
            Self::Auto => u8::try_from(cpus / 2).unwrap_or(Self::AUTO).clamp(1, Self::AUTO),
            Self::Count(count) => count,
        }
    }

    /// How many lanes that is at most, on any machine.
    pub const fn most(self) -> u8 {
        match self {
            Self::Auto => Self::AUTO,
            Self::Count(count) => count,
        }
    }
}

/// Which ciphers a node takes for its tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ciphers {
    /// AES-256-GCM with a peer where both CPUs have AES instructions, `ChaCha20-Poly1305` otherwise.
    #[default]
    Auto,
    /// `ChaCha20-Poly1305`, WireGuard's own, with every peer.
    Chacha,
}

/// MTU of the underlay, from which guest MTUs are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnderlayMtu {
    /// What the interface says.
    #[default]
    Interface,
    /// This, because the path behind the interface carries less (or the interface lies).
    Bytes(Mtu),
}

/// How much goes to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What failed.
    Error,
    /// And what is odd.
    Warn,
    /// And what changed.
    #[default]
    Info,
    /// And why.
    Debug,
    /// And each message.
    Trace,
}

impl Level {
    /// The word, as `tracing` filters take it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// A length of time with its unit, like `90s`, `15m`, `1h`, `7d`. A number without unit is refused: nobody can tell what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(40).collect();
        if text.parse::<f64>().is_ok() {
            return Err(format!("'{shown}' has no unit; write {shown}s, {shown}m, {shown}h or {shown}d"));
        }
        match humantime::parse_duration(text) {
            Ok(length) if length.is_zero() => Err("a length of time cannot be zero".to_owned()),
            Ok(length) => Ok(Self(length)),
            Err(_) => Err(format!("'{shown}' is not a length of time (like 90s, 15m, 1h, 7d)")),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&humantime::format_duration(self.0).to_string())
    }
}

crate::types::serde_as_text!(Period);

/// Either one word or a whole number.
struct WordOr<T> {
    word: &'static str,
    expecting: &'static str,
    word_is: fn() -> T,
    number_is: fn(u64) -> Result<T, String>,
    made: PhantomData<T>,
}

impl<T> de::Visitor<'_> for WordOr<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        if text == self.word { Ok((self.word_is)()) } else { Err(E::invalid_type(de::Unexpected::Str(text), &self)) }
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        (self.number_is)(number).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_type(de::Unexpected::Signed(number), &self)),
        }
    }
}

impl<'de> Deserialize<'de> for Lanes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordOr {
            word: "auto",
            expecting: "\"auto\" or a whole number",
            word_is: || Self::Auto,
            number_is: |n| match u8::try_from(n) {
                Ok(count @ 1..=Self::MAX) => Ok(Self::Count(count)),
                Ok(_) | Err(_) => Err(format!("a node runs 1 to {} lanes, not {n}", Self::MAX)),
            },
            made: PhantomData,
        })
    }
}

impl<'de> Deserialize<'de> for UnderlayMtu {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordOr {
            word: "interface",
            expecting: "\"interface\" or a whole number of bytes",
            word_is: || Self::Interface,
            number_is: |n| Mtu::try_from(n).map(Self::Bytes).map_err(|e| e.to_string()),
            made: PhantomData,
        })
    }
}

/// `host:port` of a server: a name or address (IPv6 in brackets) and a TCP port.
pub(super) fn host_port(text: &str) -> Result<(), String> {
    let shown: String = text.chars().take(80).collect();
    let example = "like mgmt.example.net:7443 or [2001:db8::1]:7443";
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("'{shown}' has no port ({example})"));
    };
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(format!("'{shown}' has no port between 1 and 65535 ({example})"));
    }
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let name = |h: &str| !h.is_empty() && h.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    let good = bracketed.map_or_else(|| name(host), |h| h.parse::<std::net::Ipv6Addr>().is_ok());
    if good { Ok(()) } else { Err(format!("'{shown}' is not a host and a port ({example})")) }
}
