//! MTU arithmetic, byte exact. All sizes are bytes; an MTU is the size of the largest IP packet.
//!
//! Guest MTU = underlay MTU - outer headers - tunnel - inner headers - Ethernet - VLAN tag:
//! `1500 underlay - 20 IPv4 - 8 UDP - 32 WireGuard - 8 VXLAN - 14 Ethernet = 1418`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::Mtu;

/// Ethernet header of the guest's frame.
pub const ETHERNET: u16 = 14;
/// One 802.1Q tag.
pub const VLAN: u16 = 4;
/// VXLAN header (RFC 7348 section 5).
pub const VXLAN: u16 = 8;
/// UDP header.
pub const UDP: u16 = 8;
/// IPv4 header without options.
pub const IPV4: u16 = 20;
/// IPv6 header without extensions.
pub const IPV6: u16 = 40;
/// WireGuard data message: 16 bytes of header and 16 of tag.
pub const WIREGUARD: u16 = 32;
/// Least MTU of a link that carries IPv6 (RFC 8200 section 5).
pub const IPV6_LEAST: u16 = 1280;

/// An IP family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What carries a guest's frame between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Carrier {
    /// Plain VXLAN over this family.
    Plain(Family),
    /// Payload form B: VXLAN header and frame directly in WireGuard over this family.
    Compact(Family),
    /// Payload form A: IP, UDP, VXLAN and frame in WireGuard.
    Standard {
        /// Family outside.
        outer: Family,
        /// Family inside.
        inner: Family,
    },
}

/// One summand of an overhead: bytes and name.
pub type Part = (u16, &'static str);

/// How a network's guest MTU is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MtuPolicy {
    /// The number for `policy: fixed`; none means computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Mtu>,
    /// Room for one 802.1Q tag of the guests.
    #[serde(default)]
    pub vlan: bool,
    /// What happens to a frame that is larger than its path carries.
    #[serde(default)]
    pub oversize: Oversize,
}

/// What happens to a frame that is larger than its path carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oversize {
    /// Carried in fragments.
    #[default]
    Fragment,
    /// Answered with ICMP.
    TooBig,
    /// Dropped and counted.
    Drop,
}

/// A fixed number that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MtuError {
    /// It is too large for a path.
    #[error("an MTU of {wanted} does not fit: it is {missing} bytes too large for {sum}")]
    TooLarge {
        /// What was asked for.
        wanted: u16,
        /// How many bytes are missing.
        missing: u16,
        /// The arithmetic.
        sum: Sum,
    },
    /// It is too small for IPv6 (RFC 8200 section 5).
    #[error("an MTU of {wanted} is too small for IPv6: {missing} bytes are missing to {IPV6_LEAST}")]
    TooSmall {
        /// What was asked for.
        wanted: u16,
        /// How many bytes are missing.
        missing: u16,
    },
    /// The underlay is too small for any guest MTU.
    #[error("no guest MTU fits: {sum}; the least is {least} and {missing} bytes are missing")]
    NothingFits {
        /// The smallest guest MTU.
        least: u16,
        /// How many bytes are missing.
        missing: u16,
        /// The arithmetic.
        sum: Sum,
    },
}

/// The arithmetic of one guest MTU, printed line by line by `explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// What is divided up, bytes of the largest outer IP packet.
    pub size: u16,
    /// Where that size is from.
    pub of: SizeOf,
    /// What is subtracted, outermost first.
    pub parts: Vec<Part>,
}

/// Where a size comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SizeOf {
    /// MTU of the underlay, as interfaces say or `[mtu] underlay` does.
    Underlay,
    /// The largest packet that was seen to arrive.
    Measured,
    /// No IP packet is larger.
    IpPacket,
}

/// What is known of the way between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// What carries a frame between them.
    pub carrier: Carrier,
    /// The smaller one of both ends' underlay MTUs, bytes.
    pub underlay: u16,
    /// The largest outer packet that was seen to arrive, bytes; none: nothing was measured.
    pub measured: Option<u16>,
}

/// Guest MTU of a network, and what it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// The number.
    pub mtu: Mtu,
    /// The tightest of its paths.
    pub sum: Sum,
    /// By how many bytes the tightest path falls short: frames that use them travel in fragments. Zero: all fits.
    pub missing: u16,
}

impl Carrier {
    /// What the carrier costs, outermost first, without a VLAN tag.
    pub fn parts(self) -> Vec<Part> {
        let ip = |family| match family {
            Family::V4 => (IPV4, "IPv4"),
            Family::V6 => (IPV6, "IPv6"),
        };
        let (udp, wireguard, vxlan, ethernet) =
            ((UDP, "UDP"), (WIREGUARD, "WireGuard"), (VXLAN, "VXLAN"), (ETHERNET, "Ethernet"));
        match self {
            Self::Plain(outer) => vec![ip(outer), udp, vxlan, ethernet],
            Self::Compact(outer) => vec![ip(outer), udp, wireguard, vxlan, ethernet],
            Self::Standard { outer, inner } => vec![ip(outer), udp, wireguard, ip(inner), udp, vxlan, ethernet],
        }
    }

    /// The arithmetic for an underlay MTU.
    pub fn sum(self, underlay: u16, vlan: bool) -> Sum {
        let mut parts = self.parts();
        if vlan {
            parts.push((VLAN, "VLAN tag"));
        }
        Sum { size: underlay, of: SizeOf::Underlay, parts }
    }
}

impl Span {
    /// What counts: the measured size where it is the smaller one.
    pub fn size(self) -> u16 {
        self.measured.map_or(self.underlay, |measured| measured.min(self.underlay))
    }

    /// The arithmetic of what counts.
    pub fn sum(self, vlan: bool) -> Sum {
        let of = if self.size() < self.underlay { SizeOf::Measured } else { SizeOf::Underlay };
        Sum { of, ..self.carrier.sum(self.size(), vlan) }
    }

    /// The kernel's plain path cuts nothing: what is larger is lost there. Tunnels cut.
    const fn is_plain(self) -> bool {
        matches!(self.carrier, Carrier::Plain(_))
    }
}

impl Sum {
    /// Bytes that all parts cost.
    pub fn overhead(&self) -> u16 {
        self.parts.iter().map(|(bytes, _)| bytes).sum()
    }

    /// What is left for the guest; zero if nothing is.
    pub fn guest(&self) -> u16 {
        self.size.saturating_sub(self.overhead())
    }

    /// The guest MTU, if it is one.
    ///
    /// # Errors
    /// [`MtuError::NothingFits`] with the missing bytes.
    pub fn mtu(&self) -> Result<Mtu, MtuError> {
        Mtu::try_from(u64::from(self.guest())).map_err(|_| self.nothing_fits(least(false)))
    }

    /// `wanted` if the path carries it.
    ///
    /// # Errors
    /// [`MtuError::TooLarge`] with the missing bytes.
    pub fn check(&self, wanted: Mtu) -> Result<Mtu, MtuError> {
        match wanted.get().checked_sub(self.guest()) {
            None | Some(0) => Ok(wanted),
            Some(missing) => Err(MtuError::TooLarge { wanted: wanted.get(), missing, sum: self.clone() }),
        }
    }

    fn nothing_fits(&self, least: Mtu) -> MtuError {
        let least = least.get();
        let missing = least.saturating_add(self.overhead()).saturating_sub(self.size);
        MtuError::NothingFits { least, missing, sum: self.clone() }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            SizeOf::Underlay => "underlay",
            SizeOf::Measured => "measured",
            SizeOf::IpPacket => "largest IP packet",
        };
        write!(f, "{} {of}", self.size)?;
        for (bytes, name) in &self.parts {
            write!(f, " - {bytes} {name}")?;
        }
        write!(f, " = {}", i32::from(self.size) - i32::from(self.overhead()))
    }
}

/// The smallest guest MTU: 576 (RFC 791), with IPv6 1280 (RFC 8200).
pub fn least(ipv6: bool) -> Mtu {
    let least = if ipv6 { u64::from(IPV6_LEAST) } else { Mtu::MIN };
    match Mtu::try_from(least) {
        Ok(mtu) => mtu,
        Err(_) => unreachable!("{least} is an MTU"),
    }
}

/// The guest MTU of a network: the fixed number, or what the tightest path leaves, but never less than a guest can live with.
/// `spans` are all pairs of nodes that host it; with none, the plain path over `alone` counts. `ipv6`: its guests have IPv6.
pub fn guest(policy: MtuPolicy, ipv6: bool, spans: &[Span], alone: u16) -> Guest {
    let nobody = Span { carrier: Carrier::Plain(Family::V4), underlay: alone, measured: None };
    let sums = spans.iter().map(|span| span.sum(policy.vlan));
    let sum = sums.min_by_key(Sum::guest).unwrap_or_else(|| nobody.sum(policy.vlan));
    let least = least(ipv6);
    let computed = sum.mtu().unwrap_or(least).max(least);
    let mtu = policy.fixed.unwrap_or(computed);
    let missing = mtu.get().saturating_sub(sum.guest());
    Guest { mtu, sum, missing }
}

/// Refuses what can never work, and nothing else: a fixed number that IPv6 or no IP packet has room for; one that is lost on a
/// plain path, because the kernel cuts nothing there; and where `oversize` says that nothing shall travel in fragments, one that
/// some tunnel would have to cut. With `oversize: fragment` a number that is merely too large for a tunnel is carried.
///
/// # Errors
/// [`MtuError`] with the missing bytes.
pub fn check(policy: MtuPolicy, ipv6: bool, spans: &[Span]) -> Result<(), MtuError> {
    let cuts = |span: &&Span| policy.oversize == Oversize::Fragment && !span.is_plain();
    let tightest = spans.iter().filter(|span| !cuts(span)).map(|span| span.sum(policy.vlan)).min_by_key(Sum::guest);
    let Some(wanted) = policy.fixed else {
        let least = least(ipv6);
        return match tightest {
            Some(sum) if sum.guest() < least.get() => Err(sum.nothing_fits(least)),
            Some(_) | None => Ok(()),
        };
    };
    check_number(wanted, ipv6, policy.vlan)?;
    tightest.map_or(Ok(()), |sum| sum.check(wanted).map(drop))
}

/// Refuses a fixed number whatever the paths are: IPv6 needs 1280, and a fragmented frame is one IP packet with VXLAN inside
/// until it is put together again, so it cannot be larger than that.
///
/// # Errors
/// [`MtuError`] with the missing bytes.
pub fn check_number(wanted: Mtu, ipv6: bool, vlan: bool) -> Result<(), MtuError> {
    if let Some(missing) = IPV6_LEAST.checked_sub(wanted.get()).filter(|missing| ipv6 && *missing > 0) {
        return Err(MtuError::TooSmall { wanted: wanted.get(), missing });
    }
    let largest = Sum { of: SizeOf::IpPacket, ..Carrier::Plain(Family::V4).sum(u16::MAX, vlan) };
    largest.check(wanted).map(drop)
}

#[cfg(test)]
#[path = "mtu_tests.rs"]
mod tests;
