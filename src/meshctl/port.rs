//! `meshctl port`

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::objects::{Noun, joined, name, or_none, other_kind};
use super::out::talk;
use super::{missing, word};
use crate::api::objects::{Allowed, Any, Kind, Meta, Object, PortRole, PortSpec, Roles};
use crate::api::problem::Problem;
use crate::types::{GroupRate, IfName, Mac, NetworkId, NodeId, Vlan};

/// Flags of a port.
#[derive(Debug, clap::Args)]
pub(super) struct Fields {
    /// Its network
    #[arg(long)]
    network: Option<NetworkId>,
    /// The node that its guest runs on
    #[arg(long)]
    node: Option<NodeId>,
    /// Its Ethernet address, six bytes of two hexadecimal digits, like 52:54:00:00:00:0b
    #[arg(long, value_parser = guests)]
    mac: Option<Mac>,
    /// The guest's own 802.1Q tag, 1 to 4094
    #[arg(long)]
    vlan: Option<Vlan>,
    /// Its IP addresses, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = address)]
    ip: Option<Vec<IpAddr>>,
    /// Addresses that it may use beside its own, separated by commas: IP for one that other ports may hold, too (keepalived), IP=MAC for a
    /// guest of this guest; '' takes all away
    #[arg(long, value_delimiter = ',', value_name = "IP[=MAC]", value_parser = allowed)]
    allowed: Option<Vec<Option<Allowed>>>,
    /// What it may do besides being a guest: router, dhcp, both with a comma, or guest [default: guest]
    #[arg(long, value_delimiter = ',', value_parser = word::<PortRole>)]
    role: Option<Vec<PortRole>>,
    /// The interface of the node that its guest is behind: nobody else may send from its address
    #[arg(long)]
    interface: Option<IfName>,
    /// Broadcast and multicast frames a second that its guest may send, 10 to 100000 [default: the network's]
    #[arg(long, value_name = "N")]
    group_rate: Option<GroupRate>,
}

/// One of `--ip`. The prefix is the network's.
fn address(text: &str) -> Result<IpAddr, String> {
    let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
    match (ip.parse(), prefix) {
        (Ok(ip), None) => Ok(ip),
        (Ok(ip), Some(prefix)) => {
            Err(format!("an address of a guest is without prefix length: {ip}, and not /{prefix}"))
        }
        (Err(_), _) => Err(format!("'{text}' is no IP address")),
    }
}

/// One of `--allowed`; none: nothing stands there.
fn allowed(text: &str) -> Result<Option<Allowed>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let (ip, mac) = text.split_once('=').map_or((text, None), |(ip, mac)| (ip, Some(mac)));
    let ip = ip.parse().map_err(|_| format!("'{ip}' is no IP address"))?;
    let mac = mac.map(guests).transpose()?;
    Ok(Some(Allowed { ip, mac }))
}

/// An Ethernet address as it is written in full: a digit that is missing is a digit that was forgotten.
fn guests(text: &str) -> Result<Mac, String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    let pairs = || (0..6).filter_map(|n| digits.get(2 * n..2 * n + 2)).collect::<Vec<_>>().join(":");
    let meant = text.parse::<Mac>().ok().or_else(|| (digits.len() == 12).then(|| pairs().parse().ok()).flatten());
    let Some(mac) = meant else { return text.parse::<Mac>().map_err(|e| e.to_string()) };
    if !mac.to_string().eq_ignore_ascii_case(text) {
        return Err(format!(
            "write all six bytes with two digits and ':' between them; if that is what you mean: {mac}"
        ));
    }
    if mac.is_group() {
        return Err(format!("{mac} is an address of a group, which no guest has: the first byte is odd"));
    }
    mac.unicast().map_err(|_| "all zeros are no guest's Ethernet address".to_owned())
}

impl Noun for Fields {
    const KIND: Kind = Kind::Port;
    const COLUMNS: &'static [&'static str] =
        &["NAME", "NETWORK", "NODE", "MAC", "VLAN", "IPS", "INTERFACE", "ROLE", "FROM"];

    fn create(self, text: &str) -> Result<Any, Problem> {
        let spec = PortSpec {
            network: self.network.clone().ok_or_else(|| missing("network", "blue"))?,
            node: self.node.clone().ok_or_else(|| missing("node", "a-1"))?,
            mac: self.mac.ok_or_else(|| missing("mac", "02:00:00:00:00:0b"))?,
            vlan: None,
            ips: BTreeSet::new(),
            allowed: BTreeSet::new(),
            role: Roles::default(),
            interface: None,
            group_rate: None,
            reported: false,
        };
        let metadata = Meta { name: name(Kind::Port, text)?, labels: Default::default(), revision: None };
        let mut object = Any::Port(Object { metadata, spec, status: () });
        self.set(&mut object)?;
        Ok(object)
    }

    fn set(self, object: &mut Any) -> Result<(), Problem> {
        let Any::Port(port) = object else { return Err(other_kind(object)) };
        let spec = &mut port.spec;
        spec.network = self.network.unwrap_or_else(|| spec.network.clone());
        spec.node = self.node.unwrap_or_else(|| spec.node.clone());
        spec.mac = self.mac.unwrap_or(spec.mac);
        spec.vlan = self.vlan.or(spec.vlan);
        spec.role = self.role.map_or(spec.role, |roles| roles.into_iter().collect());
        spec.group_rate = self.group_rate.or(spec.group_rate);
        spec.interface = self.interface.or_else(|| spec.interface.take());
        if let Some(ips) = self.ip {
            spec.ips = ips.into_iter().collect();
        }
        if let Some(allowed) = self.allowed {
            spec.allowed = allowed.into_iter().flatten().collect();
        }
        Ok(())
    }

    fn cells(object: &Any) -> Vec<String> {
        let Any::Port(port) = object else { return Vec::new() };
        let spec = &port.spec;
        vec![
            port.metadata.name.to_string(),
            spec.network.to_string(),
            spec.node.to_string(),
            spec.mac.to_string(),
            or_none(spec.vlan),
            joined(&spec.ips),
            or_none(spec.interface.as_ref()),
            spec.role.to_string(),
            if spec.reported { "node" } else { "declared" }.to_owned(),
        ]
    }
}

/// Says where to look whether the interface of a new port is a guest's: only its node knows, and tells management within seconds.
pub(super) fn look(object: &Any) {
    let Any::Port(port) = object else { return };
    let (node, name) = (&port.spec.node, &port.metadata.name);
    if let Some(interface) = &port.spec.interface {
        talk(&format!(
            "next: meshctl status --node {node}, which says so where {interface} is the host's own: with addresses, the default route, or in another's bridge; \
             then: meshctl port set {name} --interface IF"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_prefix_length_is_told_as_that() {
        assert_eq!(address("192.168.11.11"), Ok("192.168.11.11".parse().unwrap()));
        for (text, says) in [
            ("192.168.11.11/24", "is without prefix length: 192.168.11.11, and not /24"),
            ("fd00::11/64", "is without prefix length: fd00::11, and not /64"),
            ("192.168.11/24", "'192.168.11/24' is no IP address"),
            ("", "'' is no IP address"),
        ] {
            let refused = address(text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }

    #[test]
    fn an_ethernet_address_is_written_in_full_and_is_one_that_a_guest_can_have() {
        for text in ["52:54:00:00:00:0b", "02:08:20:0A:00:07", "00:00:5e:00:01:33"] {
            assert_eq!(guests(text).map(|mac| mac.to_string()), Ok(text.to_ascii_lowercase()));
        }
        for (text, says) in [
            ("2:8:20:a:0:7", "02:08:20:0a:00:07"),
            ("52:54:0:00:00:0b", "52:54:00:00:00:0b"),
            ("52-54-00-00-00-0b", "52:54:00:00:00:0b"),
            ("5254.0000.000b", "52:54:00:00:00:0b"),
            ("52540000000b", "52:54:00:00:00:0b"),
            ("01:00:5e:00:00:01", "group"),
            ("ff:ff:ff:ff:ff:ff", "group"),
            ("33:33:00:00:00:01", "group"),
            ("00:00:00:00:00:00", "all zeros"),
            ("52:54:00:00:00", "is not an Ethernet address"),
            ("52:54:00:00:00:0b:0c", "is not an Ethernet address"),
            (" 52:54:00:00:00:0b", "is not an Ethernet address"),
            ("0x2:54:00:00:00:0b", "is not an Ethernet address"),
            ("52:54:00:00:00:é", "is not an Ethernet address"),
            ("", "is not an Ethernet address"),
        ] {
            let refused = guests(text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
            assert!(allowed(&format!("10.0.0.1={text}")).is_err(), "{text}");
        }
    }
}
