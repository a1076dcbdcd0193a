//! The rules on our bridges themselves, as `nft` text: what is routed from one by this host, and what the host would send or route into one.
//!
//! What is routed can be held in two places. In family `inet`, at the hook for what is forwarded (`guard_host`), every bridged frame
//! passes as well where `net.bridge.bridge-nf-call-iptables` is on, which costs it about 200 ns. At ingress and egress of the
//! bridge itself no bridged frame passes; but before Linux 6.16 a rule there needs its device and goes with it (`nft_netdev_event`,
//! net/netfilter/nf_tables_api.c), so that each bridge would be open for a moment. So it is the second where the kernel keeps such
//! rules for devices that are not there, and the first elsewhere.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::fence_text::{DEVICE, GROUP, INET, ROUTED};
use crate::types::IfName;

/// What the chains of all bridges share. Family `inet` has an ingress and no egress.
const DEVICES: &str = "table INET {
    counter ROUTED { }
    set opened { type ifname; }
}
table DEVICE {
    counter ROUTED { }
    set opened { type ifname; }
}
";

/// The chains of a bridge. What a guest says to all before `meshd` has seen its interface comes in here, and is no news, as with one that is
/// known: nothing of it is routed. A host reports groups of its own before it has an address (RFC 3590), which is no news.
const OF_DEVICE: &str = "table INET {
    chain in_NAME {
        type filter hook ingress device \"NAME\" priority -300; policy accept;
        iifname @opened accept
        GROUP drop
        counter name ROUTED drop
    }
}
table DEVICE {
    chain out_NAME {
        type filter hook egress device \"NAME\" priority -300; policy accept;
        oifname @opened accept
        meta protocol ip6 ip6 saddr :: drop
        counter name ROUTED drop
    }
}
";

fn fill(text: &str) -> String {
    text.replace("INET", INET).replace("DEVICE", DEVICE).replace("ROUTED", ROUTED).replace("GROUP", GROUP)
}

/// The tables without what belongs to one bridge.
pub(super) fn tables() -> String {
    fill(DEVICES)
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
        for chain in [format!("{INET} in_{bridge}"), format!("{DEVICE} out_{bridge}")] {
            let _ = writeln!(out, "flush chain {chain}\ndelete chain {chain}");
        }
    }
}

/// A transaction that only kernels take which keep rules for a device that is not there. It is checked and never done.
pub const PROBE: &str = "table inet vxmesh_probe {
    chain in_absent { type filter hook ingress device \"vxmesh-absent\" priority 0; }
}
table netdev vxmesh_probe {
    chain out_absent { type filter hook egress device \"vxmesh-absent\" priority 0; }
}
";
