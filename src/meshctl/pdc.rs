//! `meshctl pdc`

use std::net::IpAddr;

use super::objects::{Noun, joined, name, other_kind};
use super::word;
use crate::api::objects::{Any, Kind, Meta, Object};
use crate::api::problem::Problem;
use crate::policy::path::{Intra, PdcFacts};
use crate::types::Prefix;

/// Flags of a PDC.
#[derive(Debug, clap::Args)]
pub(super) struct Fields {
    /// How its nodes talk to each other: plain or encrypted [default: encrypted]
    #[arg(long, value_parser = word::<Intra>)]
    intra: Option<Intra>,
    /// Prefixes that hold the admin addresses of its nodes, separated by commas
    #[arg(long, value_delimiter = ',')]
    underlay: Option<Vec<Prefix>>,
    /// Routers between two of its nodes [default: 0]
    #[arg(long)]
    max_hops: Option<u8>,
    /// Those routers, separated by commas: plain frames leave by no other [default: by any, where --max-hops is above 0]
    #[arg(long, value_delimiter = ',', value_name = "IP")]
    router: Option<Vec<IpAddr>>,
    /// Whether frames between two of its nodes take the tunnel while the plain path between them is dead [default: false]
    #[arg(long, value_name = "true|false")]
    tunnel_when_dead: Option<bool>,
}

impl Noun for Fields {
    const KIND: Kind = Kind::Pdc;
    const COLUMNS: &'static [&'static str] = &["NAME", "INTRA", "UNDERLAY", "HOPS", "ROUTERS"];

    fn create(self, text: &str) -> Result<Any, Problem> {
        let metadata = Meta { name: name(Kind::Pdc, text)?, labels: Default::default(), revision: None };
        let mut object = Any::Pdc(Object { metadata, spec: PdcFacts::default(), status: () });
        self.set(&mut object)?;
        Ok(object)
    }

    fn set(self, object: &mut Any) -> Result<(), Problem> {
        let Any::Pdc(pdc) = object else { return Err(other_kind(object)) };
        let spec = &mut pdc.spec;
        spec.intra = self.intra.unwrap_or(spec.intra);
        spec.max_hops = self.max_hops.unwrap_or(spec.max_hops);
        spec.tunnel_when_dead = self.tunnel_when_dead.unwrap_or(spec.tunnel_when_dead);
        if let Some(underlay) = self.underlay {
            spec.underlay = underlay;
        }
        match self.router {
            Some(routers) => spec.routers = routers.into_iter().collect(),
            // Without hops there is nobody to name.
            None if spec.max_hops == 0 => spec.routers.clear(),
            None => {}
        }
        Ok(())
    }

    fn cells(object: &Any) -> Vec<String> {
        let Any::Pdc(pdc) = object else { return Vec::new() };
        let intra = match pdc.spec.intra {
            Intra::Plain if pdc.spec.tunnel_when_dead => "plain, tunnel when dead",
            Intra::Plain => "plain",
            Intra::Encrypted => "encrypted",
        };
        let spec = &pdc.spec;
        let (hops, routers) = (spec.max_hops.to_string(), joined(&spec.routers));
        vec![pdc.metadata.name.to_string(), intra.to_owned(), joined(&spec.underlay), hops, routers]
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        fields: Fields,
    }

    fn set(object: &mut Any, words: &str) -> Vec<String> {
        let line = Line::try_parse_from(std::iter::once("pdc").chain(words.split_whitespace())).unwrap();
        line.fields.set(object).unwrap();
        Fields::cells(object)
    }

    #[test]
    fn routers_are_named_replaced_and_forgotten_with_the_last_hop() {
        let none = Line::try_parse_from(["pdc"]).unwrap();
        let mut pdc = none.fields.create("a").unwrap();
        assert_eq!(set(&mut pdc, "--max-hops 1 --router 10.0.0.254,fe80::1")[3..], ["1", "10.0.0.254,fe80::1"]);
        assert_eq!(set(&mut pdc, "--intra plain")[3..], ["1", "10.0.0.254,fe80::1"], "what is not said stays");
        assert_eq!(set(&mut pdc, "--router 10.0.0.253")[3..], ["1", "10.0.0.253"]);
        assert_eq!(set(&mut pdc, "--max-hops 0")[3], "0");
        let Any::Pdc(pdc) = pdc else { panic!() };
        assert!(pdc.spec.routers.is_empty());
    }
}
