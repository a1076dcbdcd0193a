//! What the owner of a foreign peer types: a `wg-quick` file, and the lines for its vxlan devices, out of the peer's own slice.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::index::Index;
use crate::api::admin::ForeignConfig;
use crate::node::names::{Device, device};
use crate::node::paths;
use crate::policy::path::Outer;
use crate::table::{NetKey, Network, Slice};
use crate::types::NodeId;

/// The texts; none: the node is not a foreign peer. `slice` is the foreign node's own, PSKs included.
pub fn config(index: &Index, slice: &Slice) -> Option<ForeignConfig> {
    let foreign = index.state.nodes.get(&slice.node)?.spec.foreign.as_ref()?;
    let mut wireguard = format!(
        "[Interface]\n# the private half of {}\nPrivateKey = <private key of this machine>\nAddress = {}/32\n",
        foreign.public_key, foreign.tunnel_address
    );
    if let Some(endpoint) = foreign.endpoint {
        let _ = writeln!(wireguard, "ListenPort = {}", endpoint.port());
    }
    for node in slice.peers.keys() {
        add_peer(&mut wireguard, index, slice, node);
    }
    let mut commands = String::new();
    for (key, network) in &slice.networks {
        add_network(&mut commands, index, slice, key, network, foreign.tunnel_address);
    }
    Some(ForeignConfig { wireguard, commands })
}

/// A node's address inside tunnels of form A.
fn inside(index: &Index, node: &NodeId) -> Option<Ipv4Addr> {
    let node = index.state.nodes.get(node)?;
    node.spec.foreign.as_ref().map(|foreign| foreign.tunnel_address).or(node.status.tunnel_address)
}

fn add_peer(text: &mut String, index: &Index, slice: &Slice, node: &NodeId) {
    let Some(peer) = slice.peers.get(node) else { return };
    let (Some(key), Some(address)) = (peer.public_key, inside(index, node)) else { return };
    let _ = write!(text, "\n[Peer]\n# {node}\nPublicKey = {key}\nAllowedIPs = {address}/32\n");
    if let Some(psk) = &peer.psk {
        let _ = writeln!(text, "PresharedKey = {}", *psk.to_text());
    }
    let outer = if peer.pdc == slice.pdc { Outer::Admin } else { Outer::External };
    if let Some(endpoint) = paths::endpoint(peer, outer, 0) {
        let _ = writeln!(text, "Endpoint = {endpoint}");
    }
    text.push_str("PersistentKeepalive = 25\n");
}

fn add_network(text: &mut String, index: &Index, slice: &Slice, key: &NetKey, network: &Network, local: Ipv4Addr) {
    let (vni, port) = (key.vni, network.udp_port);
    let name = device(Device::Vxlan, vni, port);
    let _ = writeln!(text, "# network {}: guests go on a bridge together with {name}", network.name);
    let _ = writeln!(text, "ip link add {name} type vxlan id {vni} dstport {port} local {local} nolearning");
    let _ = writeln!(text, "ip link set {name} mtu {} up", network.guest_mtu);
    for (row, place) in slice.rows_of(key).filter(|(_, row)| row.node != slice.node) {
        if let Some(address) = inside(index, &place.node) {
            let _ = writeln!(text, "bridge fdb replace {} dev {name} dst {address} self static", row.mac);
        }
    }
    for member in network.members.keys() {
        if let Some(address) = inside(index, member) {
            let _ = writeln!(text, "bridge fdb append 00:00:00:00:00:00 dev {name} dst {address} self permanent");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::objects::{Any, ForeignSpec};
    use crate::mgmt::{fixture, slice};
    use crate::types::{PublicKey, SecretKey, Version};

    #[test]
    fn a_foreign_peer_gets_a_wireguard_file_and_its_vxlan_lines() {
        let mut state = fixture::mesh();
        let mut foreign = fixture::node("box", "b");
        let tunnel_address = "100.64.9.9".parse().unwrap();
        let endpoint = "203.0.113.9:51999".parse().ok();
        foreign.spec.foreign = Some(ForeignSpec { public_key: PublicKey([9; 32]), endpoint, tunnel_address });
        state.put(Any::Node(foreign));
        state.put(Any::Port(fixture::port("guest-box", "blue", "box", 77, "192.168.10.77")));
        let index = Index::new(Arc::new(state));
        let secret = SecretKey::from_bytes([7; 32]);
        let of = |name: &str| slice::build(&index, &name.parse().unwrap(), Version::default(), Some(&secret)).unwrap();
        let config = config(&index, &of("box")).unwrap();
        for line in [
            "ListenPort = 51999",
            "AllowedIPs = 100.64.0.1/32",
            "Endpoint = 198.51.0.1:51820",
            "Endpoint = 10.1.0.1:51820",
        ] {
            assert!(config.wireguard.lines().any(|l| l == line), "{line}\n{}", config.wireguard);
        }
        let psk = of("a-1").peers[&"box".parse().unwrap()].psk.clone().unwrap();
        assert!(config.wireguard.contains(psk.to_text().as_str()), "both ends have the pair's key");
        assert!(config.commands.contains("id 10 dstport 4789 local 100.64.9.9"), "{}", config.commands);
        assert_eq!(config.commands.matches("00:00:00:00:00:00").count(), 4);
        assert!(super::config(&index, &of("a-1")).is_none());
    }
}
