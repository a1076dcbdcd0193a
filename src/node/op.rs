//! One step towards what the kernel should hold. Printed, it is the command that an operator would type for the same effect.

use std::fmt;
use std::net::IpAddr;

use super::checksums::PROGRAM as CHECK;
use super::desired::{Bridge, Kind, Link, PortFlags, Vtep};
use super::fence::Fence;
use super::fence_text::TABLE as FENCE;
use super::guard::{Guard, TABLE};
use super::onlink;
use crate::types::{IfName, Mac};

/// One step. Each is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Replaces the whole packet filter in one transaction.
    LoadGuard(Guard),
    /// Changes elements of the packet filter's sets; counters stay.
    ChangeGuard {
        /// What is loaded.
        from: Guard,
        /// What is to be.
        to: Guard,
    },
    /// Removes the packet filter.
    DeleteGuard,
    /// Replaces the whole packet filter behind the guests' ports in one transaction.
    LoadFence(Fence),
    /// Changes elements of its sets; counters stay.
    ChangeFence {
        /// What is loaded.
        from: Fence,
        /// What is to be.
        to: Fence,
    },
    /// Removes it.
    DeleteFence,
    /// Has each frame that enters by an interface of a guest checked for where it leaves a checksum open ([`super::checksums`]).
    CheckChecksums {
        /// The interface.
        name: IfName,
        /// It was so, and somebody ended it.
        again: bool,
    },
    /// Ends that.
    LeaveChecksums {
        /// The interface.
        name: IfName,
    },
    /// Changes the routing table of the plain path, or a rule that leads to it.
    OnLink(onlink::Step),
    /// Makes a device, down, in no bridge, under its name and alias at once.
    AddLink {
        /// Its name.
        name: IfName,
        /// What it is; `up` and `port` are steps of their own.
        link: Link,
    },
    /// Removes a device.
    DeleteLink {
        /// Its name.
        name: IfName,
    },
    /// Sets the MTU.
    SetMtu {
        /// Device.
        name: IfName,
        /// Bytes.
        mtu: u32,
    },
    /// Stops the kernel from giving the device IPv6 addresses.
    NoAddresses {
        /// Device.
        name: IfName,
    },
    /// Sets a bridge's own attributes but 802.1Q filtering.
    SetBridge {
        /// Bridge.
        name: IfName,
        /// Attributes.
        bridge: Bridge,
    },
    /// Turns 802.1Q filtering of a bridge off. A step of its own, because a kernel without it refuses even that.
    NoVlanFiltering {
        /// Bridge.
        name: IfName,
    },
    /// Puts a device into a bridge.
    SetMaster {
        /// Device.
        name: IfName,
        /// Bridge.
        bridge: IfName,
    },
    /// Puts a guest's interface into a bridge, out of the one that it stands in, if any. One that has gone meanwhile is no failure.
    Plug {
        /// The interface.
        name: IfName,
        /// Bridge.
        bridge: IfName,
    },
    /// Gives a device of ours its name back. It is down meanwhile: before Linux 6.2 a device that is up keeps its name.
    Rename {
        /// What it is called.
        name: IfName,
        /// What it is to be called.
        to: IfName,
    },
    /// Says how frames pass a bridge port.
    SetPort {
        /// Device.
        name: IfName,
        /// How.
        flags: PortFlags,
    },
    /// Brings a device up or down.
    SetUp {
        /// Device.
        name: IfName,
        /// Up or down.
        up: bool,
    },
    /// Pins a remote guest to a bridge port.
    Pin {
        /// Port.
        port: IfName,
        /// Guest.
        mac: Mac,
    },
    /// Takes a guest off a bridge port.
    Unpin {
        /// Port.
        port: IfName,
        /// Guest.
        mac: Mac,
    },
    /// Says which VTEP a remote guest is behind.
    SetVtep {
        /// vxlan device.
        vxlan: IfName,
        /// Guest.
        mac: Mac,
        /// VTEP.
        vtep: Vtep,
    },
    /// Forgets which VTEP a guest is behind.
    DeleteVtep {
        /// vxlan device.
        vxlan: IfName,
        /// Guest.
        mac: Mac,
        /// VTEP.
        vtep: Vtep,
    },
    /// Adds a VTEP to the flood list.
    AddFlood {
        /// vxlan device.
        vxlan: IfName,
        /// VTEP.
        vtep: Vtep,
    },
    /// Takes a VTEP off the flood list.
    DeleteFlood {
        /// vxlan device.
        vxlan: IfName,
        /// VTEP.
        vtep: Vtep,
    },
    /// Lets the bridge answer for an address.
    SetNeighbour {
        /// Bridge.
        bridge: IfName,
        /// Address of a remote guest.
        address: IpAddr,
        /// Its Ethernet address.
        mac: Mac,
        /// It is a router's.
        router: bool,
    },
    /// Stops the bridge from answering for an address.
    DeleteNeighbour {
        /// Bridge.
        bridge: IfName,
        /// Address.
        address: IpAddr,
    },
}

impl Op {
    /// The device that is changed; none for the packet filter.
    pub fn device(&self) -> Option<&IfName> {
        match self {
            Self::LoadGuard(_)
            | Self::ChangeGuard { .. }
            | Self::DeleteGuard
            | Self::LoadFence(_)
            | Self::ChangeFence { .. }
            | Self::DeleteFence
            | Self::OnLink(_) => None,
            Self::CheckChecksums { name, .. }
            | Self::LeaveChecksums { name }
            | Self::AddLink { name, .. }
            | Self::DeleteLink { name }
            | Self::SetMtu { name, .. }
            | Self::NoAddresses { name }
            | Self::SetBridge { name, .. }
            | Self::NoVlanFiltering { name }
            | Self::SetMaster { name, .. }
            | Self::Plug { name, .. }
            | Self::Rename { name, .. }
            | Self::SetPort { name, .. }
            | Self::SetUp { name, .. } => Some(name),
            Self::Pin { port, .. } | Self::Unpin { port, .. } => Some(port),
            Self::SetVtep { vxlan, .. }
            | Self::DeleteVtep { vxlan, .. }
            | Self::AddFlood { vxlan, .. }
            | Self::DeleteFlood { vxlan, .. } => Some(vxlan),
            Self::SetNeighbour { bridge, .. } | Self::DeleteNeighbour { bridge, .. } => Some(bridge),
        }
    }

    /// True where it takes something away, so that finding nothing to take is success.
    pub const fn removes(&self) -> bool {
        matches!(
            self,
            Self::DeleteGuard
                | Self::DeleteFence
                | Self::LeaveChecksums { .. }
                | Self::DeleteLink { .. }
                | Self::Unpin { .. }
                | Self::DeleteVtep { .. }
                | Self::DeleteFlood { .. }
                | Self::DeleteNeighbour { .. }
                | Self::OnLink(onlink::Step::DeleteRoute(_) | onlink::Step::DeleteRule(_))
        )
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoadGuard(guard) => write!(f, "nft -f - <<'EOF'\n{}EOF", guard.text()),
            Self::ChangeGuard { from, to } => write!(f, "nft -f - <<'EOF'\n{}EOF", to.change_from(from)),
            Self::DeleteGuard => write!(f, "for f in inet netdev; do nft delete table $f {TABLE}; done"),
            Self::LoadFence(fence) => write!(f, "nft -f - <<'EOF'\n{}EOF", fence.text()),
            Self::ChangeFence { from, to } => write!(f, "nft -f - <<'EOF'\n{}EOF", to.change_from(from)),
            Self::DeleteFence => {
                write!(f, "for f in bridge inet netdev; do nft delete table $f {FENCE}; done")
            }
            Self::CheckChecksums { name, .. } => write!(f, "bpftool net attach tcx_ingress name {CHECK} dev {name}"),
            Self::LeaveChecksums { name } => write!(f, "bpftool net detach tcx_ingress dev {name} # {CHECK}"),
            Self::OnLink(step) => step.fmt(f),
            Self::AddLink { name, link } => add_link(f, name, link),
            Self::DeleteLink { name } => write!(f, "ip link delete dev {name}"),
            Self::SetMtu { name, mtu } => write!(f, "ip link set dev {name} mtu {mtu}"),
            Self::NoAddresses { name } => write!(f, "ip link set dev {name} addrgenmode none"),
            Self::SetBridge { name, bridge } => set_bridge(f, name, bridge),
            Self::NoVlanFiltering { name } => write!(f, "ip link set dev {name} type bridge vlan_filtering 0"),
            Self::SetMaster { name, bridge } | Self::Plug { name, bridge } => {
                write!(f, "ip link set dev {name} master {bridge}")
            }
            Self::Rename { name, to } => write!(f, "ip link set dev {name} down && ip link set dev {name} name {to}"),
            Self::SetPort { name, flags } => set_port(f, name, *flags),
            Self::SetUp { name, up } => write!(f, "ip link set dev {name} {}", if *up { "up" } else { "down" }),
            Self::Pin { port, mac } => write!(f, "bridge fdb replace {mac} dev {port} master static sticky"),
            Self::Unpin { port, mac } => write!(f, "bridge fdb delete {mac} dev {port} master"),
            Self::SetVtep { vxlan, mac, vtep } => {
                write!(f, "bridge fdb replace {mac} dev {vxlan} self static {vtep}")
            }
            Self::DeleteVtep { vxlan, mac, vtep } => write!(f, "bridge fdb delete {mac} dev {vxlan} self {vtep}"),
            Self::AddFlood { vxlan, vtep } => {
                write!(f, "bridge fdb append {} dev {vxlan} self permanent {vtep}", Mac::ZERO)
            }
            Self::DeleteFlood { vxlan, vtep } => {
                write!(f, "bridge fdb delete {} dev {vxlan} self {vtep}", Mac::ZERO)
            }
            Self::SetNeighbour { bridge, address, mac, router } => {
                let router = if *router { " router" } else { "" };
                write!(f, "ip neigh replace {address} dev {bridge} lladdr {mac} nud permanent{router}")
            }
            Self::DeleteNeighbour { bridge, address } => write!(f, "ip neigh delete {address} dev {bridge}"),
        }
    }
}

impl fmt::Display for Vtep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dst {}", self.address)?;
        self.via.as_ref().map_or(Ok(()), |via| write!(f, " via {via}"))
    }
}

fn add_link(f: &mut fmt::Formatter<'_>, name: &IfName, link: &Link) -> fmt::Result {
    let alias = link.alias.as_deref().unwrap_or("");
    let common = format!("alias '{alias}' mtu {} addrgenmode none", link.mtu);
    match &link.kind {
        // An address that was set stays, whatever ports join.
        Kind::Bridge(_) => write!(
            f,
            "ip link add name {name} {common} type bridge && \
             ip link set dev {name} address $(cat /sys/class/net/{name}/address)"
        ),
        Kind::Vxlan(vxlan) => {
            write!(f, "ip link add name {name} {common} type vxlan id {} dstport {}", vxlan.vni, vxlan.udp_port)?;
            if let Some(local) = vxlan.local {
                write!(f, " local {local}")?;
            }
            if let Some(dev) = &vxlan.dev {
                write!(f, " dev {dev}")?;
            }
            write!(f, " ttl {} {}", vxlan.ttl, if vxlan.learning { "learning" } else { "nolearning" })
        }
        Kind::Tap(_) => {
            write!(
                f,
                "ip tuntap add dev {name} mode tap user root multi_queue vnet_hdr && ip link set dev {name} {common}"
            )
        }
        Kind::Other(word) => write!(f, "ip link add name {name} {common} type {word}"),
    }
}

fn set_bridge(f: &mut fmt::Formatter<'_>, name: &IfName, bridge: &Bridge) -> fmt::Result {
    write!(
        f,
        "ip link set dev {name} type bridge stp_state {} mcast_snooping {} group_fwd_mask {:#x} no_linklocal_learn {} fdb_max_learned {}",
        u8::from(bridge.stp),
        u8::from(bridge.mcast_snooping),
        bridge.group_fwd_mask,
        u8::from(bridge.no_linklocal_learn),
        bridge.fdb_max_learned
    )?;
    // Slashes, because a device name holds dots.
    let (ra, arp) = (bridge.accept_ra, bridge.arp_ignore);
    write!(f, " && sysctl -q net/ipv6/conf/{name}/accept_ra={ra} net/ipv4/conf/{name}/arp_ignore={arp}")
}

fn set_port(f: &mut fmt::Formatter<'_>, name: &IfName, flags: PortFlags) -> fmt::Result {
    let word = |on| if on { "on" } else { "off" };
    write!(
        f,
        "bridge link set dev {name} isolated {} learning {} locked {} neigh_suppress {} flood {} mcast_flood {} bcast_flood {} hairpin {} proxy_arp {}",
        word(flags.isolated),
        word(flags.learning),
        word(flags.locked),
        word(flags.neigh_suppress),
        word(flags.flood),
        word(flags.mcast_flood),
        word(flags.bcast_flood),
        word(flags.hairpin),
        word(flags.proxy_arp),
    )
}
