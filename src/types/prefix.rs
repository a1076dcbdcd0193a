//! IP prefixes without host bits.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// An IPv4 or IPv6 prefix; its host bits are zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNet);

/// Why a text is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not ADDRESS/LENGTH.
    #[error("'{0}' is not a prefix (like 192.168.10.0/24)")]
    Syntax(String),
    /// Bits behind the length are set.
    #[error("{given} has host bits set; the prefix is {network}")]
    HostBits {
        /// What was written.
        given: IpNet,
        /// What was probably meant.
        network: IpNet,
    },
}

impl Prefix {
    /// The prefix of this length that holds `address`; none where no address of its family has as many bits.
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        IpNet::new(address, length).ok().map(|net| Self(net.trunc()))
    }

    /// The prefix of one address.
    pub fn host(address: IpAddr) -> Option<Self> {
        Self::new(address, if address.is_ipv4() { 32 } else { 128 })
    }

    /// True where `address` lies inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// The network address.
    pub fn network(&self) -> IpAddr {
        self.0.network()
    }

    /// Length in bits.
    pub fn len(&self) -> u8 {
        self.0.prefix_len()
    }

    /// True for the prefix of length zero, which holds every address.
    pub fn is_empty(&self) -> bool {
        self.0.prefix_len() == 0
    }

    /// The `n`th address inside, counted from the network address.
    pub fn nth(&self, n: u32) -> Option<IpAddr> {
        let address = match self.0.network() {
            IpAddr::V4(a) => IpAddr::V4(u32::from(a).checked_add(n)?.into()),
            IpAddr::V6(a) => IpAddr::V6(u128::from(a).checked_add(u128::from(n))?.into()),
        };
        self.contains(address).then_some(address)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let given: IpNet = text.parse().map_err(|_| PrefixError::Syntax(text.chars().take(60).collect()))?;
        let network = given.trunc();
        if given == network { Ok(Self(given)) } else { Err(PrefixError::HostBits { given, network }) }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

super::serde_as_text!(Prefix);
