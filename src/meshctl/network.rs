//! `meshctl network`

use std::net::IpAddr;

use super::mtu_flags::{MtuFlags, mtu_cell};
use super::objects::{Noun, joined, name, or_none, other_kind};
use super::out::{self, Done, Format, Lines};
use super::overlay::flood_cell;
use super::remote::Server;
use super::{missing, word};
use crate::api::mtu::MeshMtu;
use crate::api::objects::{Any, Kind, Meta, NetworkSpec, Object};
use crate::api::problem::Problem;
use crate::table::{Flood, Learning};
use crate::types::{GroupRate, NamePattern, OverlayId, Prefix, Vni};

/// Flags of a network.
#[derive(Debug, clap::Args)]
pub(super) struct Fields {
    /// Its overlay
    #[arg(long)]
    overlay: Option<OverlayId>,
    /// Its VNI, 1 to 16777214, unique in the overlay
    #[arg(long)]
    vni: Option<Vni>,
    /// Prefixes of its guests, separated by commas
    #[arg(long, value_delimiter = ',')]
    cidr: Option<Vec<Prefix>>,
    /// Gateway addresses, each inside one of the prefixes
    #[arg(long, value_delimiter = ',')]
    gateway: Option<Vec<IpAddr>>,
    #[command(flatten)]
    mtu: MtuFlags,
    /// Whose it is, as `network list` shows it
    #[arg(long)]
    owner: Option<String>,
    /// Where its ports come from: declared or local (found on bridges, reported) [default: declared]
    #[arg(long, value_parser = word::<Learning>)]
    learning: Option<Learning>,
    /// With --learning local: names of the nodes that host it, separated by commas; * stands for any run of characters
    #[arg(long, value_delimiter = ',')]
    nodes: Option<Vec<NamePattern>>,
    /// What happens to frames without one known destination: off, suppress or replicate [default: the overlay's]
    #[arg(long, value_parser = word::<Flood>)]
    flood: Option<Flood>,
    /// Broadcast and multicast frames a second, 10 to 100000: of each port that says nothing else, and over tunnels of all together
    /// [default: 1000]
    #[arg(long, value_name = "N")]
    group_rate: Option<GroupRate>,
}

impl Noun for Fields {
    const KIND: Kind = Kind::Network;
    const COLUMNS: &'static [&'static str] =
        &["NAME", "OVERLAY", "VNI", "CIDR", "GATEWAY", "MTU", "LEARNING", "FLOOD", "OWNER"];

    fn create(self, text: &str) -> Result<Any, Problem> {
        let spec = NetworkSpec {
            overlay: self.overlay.clone().ok_or_else(|| missing("overlay", "default"))?,
            vni: self.vni.ok_or_else(|| missing("vni", "10"))?,
            cidr: Vec::new(),
            gateway: Vec::new(),
            mtu: None,
            owner: None,
            learning: Learning::default(),
            nodes: None,
            flood: None,
            group_rate: None,
        };
        let metadata = Meta { name: name(Kind::Network, text)?, labels: Default::default(), revision: None };
        let mut object = Any::Network(Object { metadata, spec, status: () });
        self.set(&mut object)?;
        Ok(object)
    }

    fn set(self, object: &mut Any) -> Result<(), Problem> {
        let Any::Network(network) = object else { return Err(other_kind(object)) };
        let spec = &mut network.spec;
        spec.overlay = self.overlay.unwrap_or_else(|| spec.overlay.clone());
        spec.vni = self.vni.unwrap_or(spec.vni);
        spec.learning = self.learning.unwrap_or(spec.learning);
        spec.flood = self.flood.or(spec.flood);
        spec.group_rate = self.group_rate.or(spec.group_rate);
        spec.owner = self.owner.or_else(|| spec.owner.take());
        if let Some(nodes) = self.nodes {
            spec.nodes = Some(nodes.into_iter().collect());
        }
        if let Some(cidr) = self.cidr {
            spec.cidr = cidr;
        }
        if let Some(gateway) = self.gateway {
            spec.gateway = gateway;
        }
        spec.mtu = self.mtu.over(spec.mtu, "network", &network.metadata.name)?;
        Ok(())
    }

    fn cells(object: &Any) -> Vec<String> {
        let Any::Network(network) = object else { return Vec::new() };
        let spec = &network.spec;
        let learning = match spec.learning {
            Learning::Declared => "declared",
            Learning::Local => "local",
        };
        vec![
            network.metadata.name.to_string(),
            spec.overlay.to_string(),
            spec.vni.to_string(),
            joined(&spec.cidr),
            joined(&spec.gateway),
            mtu_cell(spec.mtu, "overlay"),
            learning.to_owned(),
            or_none(spec.flood.map(flood_cell)),
            or_none(spec.owner.as_ref()),
        ]
    }
}

/// Prints networks with the MTU that each has now, and whose policy that is. Where nobody says how many that is they are listed all the same.
///
/// # Errors
/// The pipe is closed.
pub(super) async fn print_numbers(server: &Server, items: &[Any]) -> Done {
    let map = server.get::<MeshMtu>("/v1/mtu").await.ok();
    let number = |object: &Any| {
        let line = map.as_ref()?.networks.iter().find(|line| line.network.as_str() == object.name())?;
        Some(line.mtu.to_string())
    };
    let mut lines =
        Lines::new(&["NAME", "OVERLAY", "VNI", "CIDR", "GATEWAY", "MTU", "POLICY", "LEARNING", "FLOOD", "OWNER"]);
    for object in items {
        let mut cells = Fields::cells(object);
        cells.insert(5, or_none(number(object)));
        lines.add(cells);
    }
    out::list(Format::Table, Kind::Network.word(), &(), &lines)
}

/// What a new network needs that takes its ports from nodes, where no node is named with it: it is hosted by nobody (M0372).
pub(super) fn next(object: &Any) -> Option<String> {
    let Any::Network(network) = object else { return None };
    let (name, spec) = (&network.metadata.name, &network.spec);
    (spec.learning == Learning::Local && spec.nodes.is_none()).then(|| {
        format!(
            "next: nobody hosts it where overlay '{}' names no nodes: meshctl network set {name} --nodes NAMES; what there is: meshctl node list",
            spec.overlay
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_learns_and_that_nobody_hosts_is_told_with_the_command() {
        let mut network = crate::mgmt::fixture::network("lan", "default", 30, "192.168.30.0/24");
        assert_eq!(next(&Any::Network(network.clone())), None);
        network.spec.learning = Learning::Local;
        let told = next(&Any::Network(network.clone())).unwrap();
        assert!(told.contains("overlay 'default'") && told.contains("meshctl network set lan --nodes"), "{told}");
        network.spec.nodes = Some(["a-*".parse().unwrap()].into());
        assert_eq!(next(&Any::Network(network)), None);
    }
}
