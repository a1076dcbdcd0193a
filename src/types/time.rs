//! Time as an argument: what pure code is given instead of a clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds since an arbitrary start, never going back; counts suspended time (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(u64);

impl Mono {
    /// From nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// In nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to here; zero where `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Mono {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Wall-clock time: nanoseconds since 1970-01-01T00:00:00Z without leap seconds. Good for TAI64N, certificates and logs, never
/// for timers. Serialised as whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(u64);

impl Wall {
    /// From nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// In nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// In whole seconds.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Time from `earlier` to here; zero where `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Wall {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Wall {
    /// RFC 3339, UTC, whole seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = i64::try_from(self.as_secs()).ok().and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());
        match when.and_then(|t| t.format(&time::format_description::well_known::Rfc3339).ok()) {
            Some(text) => f.pad(&text),
            None => write!(f, "@{}", self.as_secs()),
        }
    }
}

impl Serialize for Wall {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.as_secs())
    }
}

impl<'de> Deserialize<'de> for Wall {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WallReader)
    }
}

/// Reads whole seconds, as programs say them, or RFC 3339, as it is printed.
struct WallReader;

impl serde::de::Visitor<'_> for WallReader {
    type Value = Wall;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds since 1970, or a time like 2026-11-18T11:06:40Z")
    }

    fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<Wall, E> {
        Ok(Wall::from_secs(seconds))
    }

    fn visit_i64<E: serde::de::Error>(self, seconds: i64) -> Result<Wall, E> {
        u64::try_from(seconds)
            .map(Wall::from_secs)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(seconds), &self))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Wall, E> {
        let read = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok();
        let seconds = read.and_then(|time| u64::try_from(time.unix_timestamp()).ok());
        seconds.map(Wall::from_secs).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}
