//! The rules behind our bridges, as `nft` text: what comes to the host's own IP out of one, by whatever interface it came in, and what
//! the host would send or route into one.
//!
//! What is routed can be held in two places. In family `inet`, at the hook for what is forwarded, every bridged frame passes as well where
//! `net.bridge.bridge-nf-call-iptables` is on, which costs it about 200 ns. In family `netdev`, on the bridge itself, no bridged
//! frame passes; but before Linux 6.16 a rule there needs its device and goes with it (`nft_netdev_event`,
//! net/netfilter/nf_tables_api.c), so that each bridge would be open for a moment. So it is the second where the kernel keeps such
//! rules for devices that are not there, and the first elsewhere.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::fence_text::{DEVICE, INET, ROUTED};
use crate::types::IfName;

/// The chain at the hook `input` holds by names, before there are such devices: bridges, and guests' interfaces, which are the host's own
/// while they stand in no bridge. Of what a bridge carries the host knows the bridge only.
const HOST: &str = "table INET {
    counter ROUTED { }
    set shut { type ifname; }
    set opened { type ifname; }
    chain to_host {
        type filter hook input priority -300; policy accept;
        iifname @opened accept
        iifname @shut counter name ROUTED drop
    }
}
";

/// Bridged frames are from a bridge to itself.
const THROUGH: &str = "table INET {
    set same { typeof iifname . oifname; }
    chain through_host {
        type filter hook forward priority -300; policy accept;
        iifname . oifname @same accept
        iifname @shut counter name ROUTED drop
        oifname @shut counter name ROUTED drop
    }
}
";

/// What the chains of all bridges share; and what is routed from a guest that stands in no bridge. Bridged frames come by that hook from
/// nowhere, where they come by it at all; what a vxlan device has wrapped comes from that device.
const DEVICES: &str = "table INET {
    chain from_guest {
        type filter hook postrouting priority -300; policy accept;
        meta iifkind \"vxlan\" accept
        iifname @shut counter name ROUTED drop
    }
}
table DEVICE {
    counter ROUTED { }
    set opened { type ifname; }
}
";

/// The chains of a bridge. A host reports groups of its own before it has an address (RFC 3590), which is no news.
const OF_DEVICE: &str = "table DEVICE {
    chain in_NAME {
        type filter hook ingress device \"NAME\" priority -300; policy accept;
        iifname @opened accept
        counter name ROUTED drop
    }
    chain out_NAME {
        type filter hook egress device \"NAME\" priority -300; policy accept;
        oifname @opened accept
        meta protocol ip6 ip6 saddr :: drop
        counter name ROUTED drop
    }
}
";

fn fill(text: &str) -> String {
    text.replace("INET", INET).replace("DEVICE", DEVICE).replace("ROUTED", ROUTED)
}

/// The tables without what belongs to one bridge.
pub(super) fn tables(by_device: bool) -> String {
    fill(HOST) + &fill(if by_device { DEVICES } else { THROUGH })
}

/// The chains of bridges that come.
pub(super) fn write(out: &mut String, bridges: &BTreeSet<&IfName>) {
    for bridge in bridges {
        out.push_str(&fill(OF_DEVICE).replace("NAME", bridge.as_str()));
    }
}

/// Removes those of bridges that go.
pub(super) fn write_removal(out: &mut String, bridges: &BTreeSet<&IfName>) {
    for bridge in bridges {
        for way in ["in", "out"] {
            let _ = writeln!(out, "flush chain {DEVICE} {way}_{bridge}\ndelete chain {DEVICE} {way}_{bridge}");
        }
    }
}

/// A transaction that only kernels take which keep rules for a device that is not there. It is checked and never done.
pub const PROBE: &str = "table netdev vxmesh_probe {
    chain in_absent { type filter hook ingress device \"vxmesh-absent\" priority 0; }
    chain out_absent { type filter hook egress device \"vxmesh-absent\" priority 0; }
}
";
