//! What this host is besides its interfaces: where its default route goes, what its CPU can do, what this process may do.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::policy::offload::Release;
use crate::types::IfName;

/// The interface of the default route, IPv4 before IPv6.
pub fn default_route() -> Option<IfName> {
    let v4 = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    default_v4(&v4).or_else(|| default_v6(&v6))
}

/// This host's address that packets to `to` leave with; none: no way leads there, or nothing can be asked.
pub fn source(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Connecting a UDP socket asks for the route and sends nothing (connect(2)).
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

/// `/proc/net/route`: Iface Destination Gateway Flags RefCnt Use Metric Mask ...; the numbers but the metric in hexadecimal.
fn default_v4(text: &str) -> Option<IfName> {
    let routes = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let all = *fields.get(1)? == "00000000" && *fields.get(7)? == "00000000";
        all.then_some((fields.get(6)?.parse::<u32>().ok()?, fields.first()?.parse().ok()?))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

/// `/proc/net/ipv6_route`: destination, its length, source, its length, next hop, metric, references, uses, flags, device.
fn default_v6(text: &str) -> Option<IfName> {
    let routes = text.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let all = *fields.first()? == format!("{:032x}", u128::from(Ipv6Addr::UNSPECIFIED)) && *fields.get(1)? == "00";
        let metric = u32::from_str_radix(fields.get(5)?, 16).ok()?;
        let name = *fields.get(9)?;
        // The kernel's own "unreachable" default stands on lo.
        (all && name != "lo").then_some((metric, name.parse().ok()?))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, name)| name)
}

/// True where the CPU has AES and carry-less multiplication instructions.
pub fn aes_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

/// The number of the running kernel; none where it says no number.
pub fn release() -> Option<Release> {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?.parse().ok()
}

/// The first label of the host's name, in lower case.
///
/// # Errors
/// The system's.
pub fn name() -> io::Result<String> {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname")?;
    Ok(text.trim().split('.').next().unwrap_or_default().to_ascii_lowercase())
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
