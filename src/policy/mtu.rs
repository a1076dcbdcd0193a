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

/// An MTU that its path cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MtuError {
    /// A fixed number is too large for the path.
    #[error("an MTU of {wanted} does not fit: it is {missing} bytes too large for {sum}")]
    TooLarge {
        /// What was asked for.
        wanted: u16,
        /// How many bytes are missing.
        missing: u16,
        /// The arithmetic.
        sum: Sum,
    },
    /// The underlay is too small for any guest MTU.
    #[error("no guest MTU fits: {sum}; the least is {} and {missing} bytes are missing", Mtu::MIN)]
    NothingFits {
        /// How many bytes are missing.
        missing: u16,
        /// The arithmetic.
        sum: Sum,
    },
}

/// The arithmetic of one guest MTU, printed line by line by `explain`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Underlay MTU.
    pub underlay: u16,
    /// What is subtracted, outermost first.
    pub parts: Vec<Part>,
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
        Sum { underlay, parts }
    }
}

impl Sum {
    /// Bytes that all parts cost.
    pub fn overhead(&self) -> u16 {
        self.parts.iter().map(|(bytes, _)| bytes).sum()
    }

    /// What is left for the guest; zero if nothing is.
    pub fn guest(&self) -> u16 {
        self.underlay.saturating_sub(self.overhead())
    }

    /// The guest MTU, if it is one.
    ///
    /// # Errors
    /// [`MtuError::NothingFits`] with the missing bytes.
    pub fn mtu(&self) -> Result<Mtu, MtuError> {
        Mtu::try_from(u64::from(self.guest())).map_err(|_| MtuError::NothingFits {
            missing: u16::try_from(Mtu::MIN)
                .unwrap_or(u16::MAX)
                .saturating_add(self.overhead())
                .saturating_sub(self.underlay),
            sum: self.clone(),
        })
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
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} underlay", self.underlay)?;
        for (bytes, name) in &self.parts {
            write!(f, " - {bytes} {name}")?;
        }
        write!(f, " = {}", i32::from(self.underlay) - i32::from(self.overhead()))
    }
}

/// The guest MTU of a network: the fixed number if the smallest path carries it, else what the smallest path leaves. `paths` are
/// the carrier and underlay MTU of every pair that the network spans; with none, the plain path over `alone` counts.
///
/// # Errors
/// [`MtuError`]: the fixed number is too large for a path, or a path carries nothing.
pub fn guest(policy: MtuPolicy, paths: &[(Carrier, u16)], alone: u16) -> Result<Mtu, MtuError> {
    let nobody = [(Carrier::Plain(Family::V4), alone)];
    let paths = if paths.is_empty() { &nobody } else { paths };
    let sums = paths.iter().map(|(carrier, underlay)| carrier.sum(*underlay, policy.vlan));
    let Some(tightest) = sums.min_by_key(Sum::guest) else { unreachable!("paths has at least one element") };
    let most = tightest.mtu()?;
    policy.fixed.map_or(Ok(most), |wanted| tightest.check(wanted))
}

#[cfg(test)]
#[path = "mtu_tests.rs"]
mod tests;
