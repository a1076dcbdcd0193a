//! `meshctl policy`

use std::str::FromStr;

use super::objects::{self, Noun, Verbs, joined, name, or_none, other_kind};
use super::out::{self, Done, Format, Lines};
use super::remote::Access;
use super::{missing, word};
use crate::api::admin::Matrix;
use crate::api::objects::{Any, Kind, Meta, Object};
use crate::api::problem::Problem;
use crate::policy::path::{Action, PathRule, Selector};
use crate::types::NetworkId;

/// The verbs of a path policy.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Verbs(Verbs<Fields>),
    /// The path of every pair of PDCs, and of every pair of nodes that share a network, and why
    Matrix {
        /// Only pairs of nodes in this network
        #[arg(long)]
        network: Option<NetworkId>,
    },
}

/// Flags of a path policy.
#[derive(Debug, clap::Args)]
pub(super) struct Fields {
    /// One or two ends, pdc:NAME or node:NAME, separated by a comma [default: every pair]
    #[arg(long, value_delimiter = ',')]
    between: Option<Vec<EndFlag>>,
    /// Only this network
    #[arg(long)]
    network: Option<NetworkId>,
    /// plain, encrypt or forbid
    #[arg(long, value_parser = word::<Action>)]
    action: Option<Action>,
    /// Needed for plain across PDCs: frames go over foreign wires in clear
    #[arg(long)]
    i_know_this_is_clear: bool,
}

/// `pdc:NAME` or `node:NAME`.
#[derive(Debug, Clone)]
struct EndFlag(Selector);

impl FromStr for EndFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let end = match text.split_once(':') {
            Some(("pdc", name)) => name.parse().map(Selector::Pdc),
            Some(("node", name)) => name.parse().map(Selector::Node),
            Some(_) | None => return Err(format!("'{text}' is neither pdc:NAME nor node:NAME")),
        };
        end.map(Self).map_err(|e| e.to_string())
    }
}

/// Runs a verb.
///
/// # Errors
/// What the management node refuses.
pub(super) async fn run(access: &Access, command: Command) -> Done {
    let network = match command {
        Command::Verbs(verb) => return objects::run(access, verb).await,
        Command::Matrix { network } => network,
    };
    let mut matrix: Matrix = access.management()?.get("/v1/matrix").await?;
    if let Some(network) = network {
        matrix.nodes.retain(|pair| pair.network == network);
    }
    match access.output {
        Format::Table => print(&matrix),
        Format::Json | Format::Yaml => out::value(access.output, &matrix),
    }
}

fn print(matrix: &Matrix) -> Done {
    let mut pdcs = Lines::new(&["PDC", "PDC", "PATH", "WHY"]);
    for pair in &matrix.pdcs {
        pdcs.add([pair.a.to_string(), pair.b.to_string(), pair.path.to_string(), pair.why.clone()]);
    }
    let mut nodes = Lines::new(&["NETWORK", "NODE", "NODE", "PATH", "MTU", "WHY"]);
    for pair in &matrix.nodes {
        let ends = [pair.network.to_string(), pair.a.to_string(), pair.b.to_string()];
        nodes.add(ends.into_iter().chain([pair.path.to_string(), or_none(pair.mtu), pair.why.clone()]));
    }
    let text = [&pdcs, &nodes].into_iter().filter(|lines| !lines.is_empty()).map(Lines::text);
    out::text(&text.collect::<Vec<_>>().join("\n"))
}

impl Noun for Fields {
    const KIND: Kind = Kind::PathPolicy;
    const COLUMNS: &'static [&'static str] = &["NAME", "BETWEEN", "NETWORK", "ACTION", "CLEAR"];

    fn create(self, text: &str) -> Result<Any, Problem> {
        let action = self.action.ok_or_else(|| missing("action", "encrypt"))?;
        let spec = PathRule { between: Vec::new(), network: None, action, i_know_this_is_clear: false };
        let metadata = Meta { name: name(Kind::PathPolicy, text)?, labels: Default::default(), revision: None };
        let mut object = Any::PathPolicy(Object { metadata, spec, status: () });
        self.set(&mut object)?;
        Ok(object)
    }

    fn set(self, object: &mut Any) -> Result<(), Problem> {
        let Any::PathPolicy(policy) = object else { return Err(other_kind(object)) };
        let spec = &mut policy.spec;
        spec.action = self.action.unwrap_or(spec.action);
        spec.network = self.network.or_else(|| spec.network.take());
        spec.i_know_this_is_clear |= self.i_know_this_is_clear;
        if let Some(between) = self.between {
            spec.between = between.into_iter().map(|EndFlag(end)| end).collect();
        }
        Ok(())
    }

    fn cells(object: &Any) -> Vec<String> {
        let Any::PathPolicy(policy) = object else { return Vec::new() };
        let spec = &policy.spec;
        let end = |end: &Selector| match end {
            Selector::Pdc(pdc) => format!("pdc:{pdc}"),
            Selector::Node(node) => format!("node:{node}"),
            Selector::Unknown => "unknown".to_owned(),
        };
        let action = match spec.action {
            Action::Plain => "plain",
            Action::Encrypt => "encrypt",
            Action::Forbid => "forbid",
        };
        let between = if spec.between.is_empty() { "all".to_owned() } else { joined(spec.between.iter().map(end)) };
        let clear = if spec.i_know_this_is_clear { "confirmed" } else { "" };
        vec![
            policy.metadata.name.to_string(),
            between,
            or_none(spec.network.as_ref()),
            action.to_owned(),
            clear.to_owned(),
        ]
    }
}
