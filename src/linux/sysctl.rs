//! What netlink does not offer: two switches of a bridge. `/proc/sys/net` is the calling thread's network namespace.

use std::fs;
use std::io;

use crate::node::desired::Bridge;
use crate::types::IfName;

fn path(family: &str, device: &IfName, key: &str) -> String {
    format!("/proc/sys/net/{family}/conf/{device}/{key}")
}

fn read(path: &str) -> Option<u8> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `net.ipv6.conf.DEVICE.accept_ra`; none where the kernel has no IPv6.
pub(super) fn accept_ra(device: &IfName) -> Option<u8> {
    read(&path("ipv6", device, "accept_ra"))
}

/// `net.ipv4.conf.DEVICE.arp_ignore`.
pub(super) fn arp_ignore(device: &IfName) -> Option<u8> {
    read(&path("ipv4", device, "arp_ignore"))
}

/// `net.ipv6.conf.DEVICE.disable_ipv6`; `default` is of devices that come. None: there is no IPv6, on this device where its MTU is too small for it.
pub(super) fn disable_ipv6(device: &str) -> Option<bool> {
    read(&format!("/proc/sys/net/ipv6/conf/{device}/disable_ipv6")).map(|on| on != 0)
}

/// Sets what differs, so that a container with a read-only `/proc/sys` and the right values works.
pub(super) fn set(device: &IfName, bridge: &Bridge) -> io::Result<()> {
    if accept_ra(device).is_some_and(|now| now != bridge.accept_ra) {
        fs::write(path("ipv6", device, "accept_ra"), bridge.accept_ra.to_string())?;
    }
    if arp_ignore(device) != Some(bridge.arp_ignore) {
        fs::write(path("ipv4", device, "arp_ignore"), bridge.arp_ignore.to_string())?;
    }
    Ok(())
}
