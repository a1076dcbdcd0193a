//! `meshctl overlay`

use std::collections::BTreeSet;
use std::str::FromStr;

use super::mtu_flags::{MtuFlags, mtu_cell};
use super::objects::{Noun, joined, name, or_none, other_kind};
use super::word;
use crate::api::objects::{Any, Kind, Meta, Object, OverlaySpec};
use crate::api::problem::Problem;
use crate::table::Flood;
use crate::types::{NodeId, UdpPort};

/// Flags of an overlay.
#[derive(Debug, clap::Args)]
pub(super) struct Fields {
    /// VXLAN UDP port, unique among overlays [default: the lowest free one from 4789]
    #[arg(long)]
    udp_port: Option<UdpPort>,
    /// For its networks that say nothing themselves
    #[command(flatten)]
    mtu: MtuFlags,
    /// Nodes that may host its networks, separated by commas, or all [default: all]
    #[arg(long)]
    nodes: Option<Nodes>,
    /// What happens to frames without one known destination: off, suppress or replicate [default: suppress]
    #[arg(long, value_parser = word::<Flood>)]
    flood: Option<Flood>,
}

/// `--nodes`
#[derive(Debug, Clone)]
struct Nodes(Option<BTreeSet<NodeId>>);

impl FromStr for Nodes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self(None));
        }
        let nodes: Result<_, _> = text.split(',').map(NodeId::from_str).collect();
        nodes.map(|nodes| Self(Some(nodes))).map_err(|e| e.to_string())
    }
}

/// The cell of a flood mode.
pub(super) fn flood_cell(flood: Flood) -> &'static str {
    match flood {
        Flood::Off => "off",
        Flood::Suppress => "suppress",
        Flood::Replicate => "replicate",
    }
}

impl Noun for Fields {
    const KIND: Kind = Kind::Overlay;
    const COLUMNS: &'static [&'static str] = &["NAME", "UDP PORT", "MTU", "NODES", "FLOOD"];

    fn create(self, text: &str) -> Result<Any, Problem> {
        let metadata = Meta { name: name(Kind::Overlay, text)?, labels: Default::default(), revision: None };
        let spec = OverlaySpec { udp_port: None, mtu: None, nodes: None, flood: Flood::default() };
        let mut object = Any::Overlay(Object { metadata, spec, status: () });
        self.set(&mut object)?;
        Ok(object)
    }

    fn set(self, object: &mut Any) -> Result<(), Problem> {
        let Any::Overlay(overlay) = object else { return Err(other_kind(object)) };
        let spec = &mut overlay.spec;
        spec.udp_port = self.udp_port.or(spec.udp_port);
        spec.flood = self.flood.unwrap_or(spec.flood);
        spec.mtu = self.mtu.over(spec.mtu, "overlay", &overlay.metadata.name)?;
        if let Some(Nodes(nodes)) = self.nodes {
            spec.nodes = nodes;
        }
        Ok(())
    }

    fn cells(object: &Any) -> Vec<String> {
        let Any::Overlay(overlay) = object else { return Vec::new() };
        let spec = &overlay.spec;
        let nodes = spec.nodes.as_ref().map_or_else(|| "all".to_owned(), joined);
        let port = or_none(spec.udp_port);
        vec![
            overlay.metadata.name.to_string(),
            port,
            mtu_cell(spec.mtu, "node"),
            nodes,
            flood_cell(spec.flood).to_owned(),
        ]
    }
}
