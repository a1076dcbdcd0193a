//! The name scheme of our devices, in one place: it makes names and recognises them. A device is ours if its name fits the
//! scheme *and* its alias says so; a device with our name but not our alias belongs to somebody else and is never touched.

use crate::table::NetKey;
use crate::types::{IfName, UdpPort, Vni};

/// Kinds of devices that we make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Device {
    /// `vb<VNI>.<UDP port in hexadecimal>`: where guests are put.
    Bridge,
    /// `vv...`: the plain path.
    Vxlan,
    /// `vt...`: the tunnel path.
    Tap,
    /// Two more TAPs of the bridge of echoes: by this one frames go in that only cross it ([`super::crossing`]).
    Near,
    /// By this one they come out.
    Far,
}

/// Name of a device of a network. At most 2 + 8 + 1 + 4 = 15 characters. The UDP port stands for the overlay: it is unique, and
/// two overlays may use one VNI.
pub fn device(kind: Device, vni: Vni, udp_port: UdpPort) -> IfName {
    let letter = match kind {
        Device::Bridge => 'b',
        Device::Vxlan => 'v',
        Device::Tap => 't',
        Device::Near => 'p',
        Device::Far => 'q',
    };
    let text = format!("v{letter}{vni}.{:x}", udp_port.get());
    match text.parse() {
        Ok(name) => name,
        Err(_) => unreachable!("{text} has at most 15 plain characters"),
    }
}

/// What a device name says, if it fits the scheme.
pub fn parse(name: &str) -> Option<(Device, Vni, UdpPort)> {
    let kind = match name.get(..2)? {
        "vb" => Device::Bridge,
        "vv" => Device::Vxlan,
        "vt" => Device::Tap,
        "vp" => Device::Near,
        "vq" => Device::Far,
        _ => return None,
    };
    let (vni, port) = name.get(2..)?.split_once('.')?;
    let vni: Vni = vni.parse().ok()?;
    let port = UdpPort::try_from(u64::from_str_radix(port, 16).ok()?).ok()?;
    (device(kind, vni, port).as_str() == name).then_some((kind, vni, port))
}

/// Alias (`IFLA_IFALIAS`) that marks a device as ours: `vxmesh:<overlay>/<VNI>`.
pub fn alias(net: &NetKey) -> String {
    format!("vxmesh:{net}")
}

/// The network that an alias names, if the alias is ours.
pub fn net_of_alias(alias: &str) -> Option<NetKey> {
    alias.strip_prefix("vxmesh:")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_and_recognised() {
        for (vni, port, bridge) in [(10, 4789, "vb10.12b5"), (16_777_215, 65_535, "vb16777215.ffff"), (1, 1, "vb1.1")] {
            let (vni, port) = (Vni::try_from(vni).unwrap(), UdpPort::try_from(port).unwrap());
            let name = device(Device::Bridge, vni, port);
            assert_eq!(name.as_str(), bridge);
            assert_eq!(parse(bridge), Some((Device::Bridge, vni, port)));
        }
        for foreign in [
            "virbr0",
            "vb0.12b5",
            "vb10",
            "vb10.12B5",
            "vb010.12b5",
            "vbx.1",
            "vb10.012b5",
            "veth10.12b5",
            "v",
            "vé1.1",
        ] {
            assert_eq!(parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_alias_names_the_network() {
        let net: NetKey = "default/10".parse().unwrap();
        assert_eq!(net_of_alias(&alias(&net)), Some(net));
        assert_eq!(net_of_alias("uplink"), None);
    }
}
