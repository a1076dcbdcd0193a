//! Nodes without daemons: a slice is planned and applied by hand.

use serde_json::{Value, json};
use vxmesh::linux::Kernel;
use vxmesh::node::desired::Observed;
use vxmesh::node::op::Op;
use vxmesh::node::plan::{Local, Plan, Underlay, plan};
use vxmesh::node::{paths, reconcile};
use vxmesh::policy::mtu::MtuPolicy;
use vxmesh::table::Slice;

use crate::harness::Space;

/// Bridge, vxlan device and TAP of network `default/10` on UDP port 4789.
pub const BRIDGE: &str = "vb10.12b5";
/// See [`BRIDGE`].
pub const VXLAN: &str = "vv10.12b5";
/// See [`BRIDGE`].
pub const TAP: &str = "vt10.12b5";

/// A slice of node `name`, which has `10.9.0.1`; the peers `b` (10.9.0.2) and `c` (10.9.0.3) are in its PDC, `far` is not.
pub fn slice(name: &str, rows: Value) -> Slice {
    let peer =
        |pdc: &str, admin: &str| json!({"pdc": pdc, "admin": admin, "external": admin, "listen": 51820, "lanes": 1});
    let mut peers = json!({
        "a": peer("x", "10.9.0.1"), "b": peer("x", "10.9.0.2"), "c": peer("x", "10.9.0.3"), "far": peer("y", "192.0.2.4"),
    });
    peers.as_object_mut().unwrap().remove(name);
    let members: serde_json::Map<String, Value> = peers
        .as_object()
        .unwrap()
        .iter()
        .map(|(node, peer)| (node.clone(), json!(if peer["pdc"] == "x" { "plain" } else { "tunnel" })))
        .collect();
    serde_json::from_value(json!({
        "version": {"incarnation": 1, "revision": 1}, "node": name, "pdc": "x", "tunnelAddress": null,
        "pdcs": {
            "x": {"intra": "plain", "underlay": ["10.9.0.0/16"], "maxHops": 0},
            "y": {"intra": "plain", "underlay": ["192.0.2.0/24"], "maxHops": 0},
        },
        "policies": {},
        "networks": {"default/10": {
            "name": "blue", "udpPort": 4789, "cidr": ["192.168.10.0/24"], "gateway": [], "guestMtu": 1400,
            "flood": "suppress", "learning": "declared", "members": members,
        }},
        "rows": rows,
        "peers": peers,
    }))
    .unwrap()
}

/// One row.
pub fn row(node: &str, arp: &[&str], nd: &[&str]) -> Value {
    json!({"node": node, "arp": arp, "nd": nd})
}

/// One row of a guest behind an interface that its port names.
pub fn behind(interface: &str, node: &str, arp: &[&str], nd: &[&str]) -> Value {
    json!({"node": node, "arp": arp, "nd": nd, "interface": interface})
}

/// A host whose `eth0` has this address.
pub fn local(address: &str) -> Local {
    let underlay = Underlay { interface: "eth0".parse().unwrap(), address: address.parse().unwrap(), mtu: 1500 };
    Local {
        admin: Some(underlay.clone()),
        external: Some(underlay),
        mtu: MtuPolicy::default(),
        clamp_mss: true,
        tunnel: [].into(),
    }
}

/// The plan of a slice.
pub fn planned(slice: &Slice, local: &Local) -> Plan {
    plan(slice, &paths::decide_all(slice, local.own()), local)
}

/// A namespace that has `eth0` with a /16.
pub fn host(tag: &str, address: &str) -> Space {
    let host = Space::new(tag);
    host.sh(&format!(
        "ip link add name eth0 type veth peer name wire; ip link set dev wire up; ip address add {address}/16 dev eth0; ip link set dev eth0 up"
    ));
    host
}

/// Observes, applies the difference, observes again. Returns the first difference, the second one (which should be empty) and
/// what is there now.
pub fn settle(kernel: &mut Kernel, plan: &Plan) -> (Vec<Op>, Vec<Op>, Observed) {
    let before = kernel.observe().unwrap();
    let first = reconcile::diff(&plan.desired, &before);
    kernel.apply(&first).unwrap_or_else(|e| panic!("{e:#?}\n{}", text(&first)));
    let after = kernel.observe().unwrap();
    (first, reconcile::diff(&plan.desired, &after), after)
}

/// Ops as text.
pub fn text(ops: &[Op]) -> String {
    ops.iter().map(|op| format!("{op}\n")).collect()
}
