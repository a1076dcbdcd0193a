//! `meshctl node`

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hyper::Method;

use super::missing;
use super::objects::{self, Noun, Verbs, name, or_none, other_kind};
use super::out::{self, Done, Format};
use super::remote::Access;
use super::status::lapse;
use crate::api::admin::{ForeignConfig, MadeToken};
use crate::api::objects::{Any, ForeignSpec, Kind, Meta, Node, NodeSpec, NodeStatus, Object};
use crate::api::problem::{Exit, Problem};
use crate::clock;
use crate::types::{NodeId, PdcId, PublicKey};

/// The verbs of a node.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Verbs(Verbs<Fields>),
    /// Give a node that no machine has joined as another name; ports, policies, overlays, networks and tokens follow
    Rename {
        /// Its name
        name: NodeId,
        /// Its new name
        to: NodeId,
    },
    /// Have a node make a new WireGuard key; tunnels go on meanwhile
    RotateKey {
        /// Its name
        name: NodeId,
    },
    /// Take a node out of quarantine, once its copy is gone
    Release {
        /// Its name
        name: NodeId,
    },
    /// Take a node back from whoever has its keys: all of them are worth nothing at once; the token on stdout, and no other, lets
    /// its machine join again. Its ports stay
    Reset {
        /// Its name
        name: NodeId,
    },
    /// What to type on a foreign peer: a wg-quick file and its vxlan and bridge lines. Holds secrets
    Foreign {
        /// Its name
        name: NodeId,
    },
}

/// Flags of a node.
#[derive(Debug, clap::Args)]
pub(super) struct Fields {
    /// Its PDC; a token of another PDC cannot join as this node
    #[arg(long)]
    pdc: Option<PdcId>,
    /// Its address inside the PDC; overrides what it reports
    #[arg(long)]
    admin: Option<IpAddr>,
    /// Its address for other PDCs; overrides what it reports
    #[arg(long)]
    external: Option<IpAddr>,
    /// Foreign peer (any WireGuard box with VXLAN): its WireGuard public key
    #[arg(long, requires = "tunnel_address")]
    foreign_key: Option<PublicKey>,
    /// Foreign peer: its address inside the tunnel
    #[arg(long)]
    tunnel_address: Option<Ipv4Addr>,
    /// Foreign peer: where its WireGuard listens, if it is reachable
    #[arg(long)]
    endpoint: Option<SocketAddr>,
}

/// Runs a verb.
///
/// # Errors
/// What the management node refuses.
pub(super) async fn run(access: &Access, command: Command) -> Done {
    let name = match command {
        Command::Verbs(verb) => return objects::run(access, verb).await,
        Command::Rename { name, to } => {
            let path = format!("/v1/nodes/{name}/rename?to={to}");
            let node: Node = access.management()?.call(Method::POST, &path, None::<&()>).await?;
            return match access.output {
                Format::Table => out::line(&format!("node/{name} is called {to} now")),
                Format::Json | Format::Yaml => out::value(access.output, &Any::Node(node)),
            };
        }
        Command::RotateKey { name } => return told(access, &name, "rotate-key").await,
        Command::Release { name } => return told(access, &name, "release").await,
        Command::Reset { name } => return reset(access, &name).await,
        Command::Foreign { name } => name,
    };
    let config: ForeignConfig = access.management()?.get(&format!("/v1/nodes/{name}/foreign")).await?;
    match access.output {
        Format::Table => out::text(&format!("{}\n{}", config.wireguard, config.commands)),
        Format::Json | Format::Yaml => out::value(access.output, &config),
    }
}

/// Tells the management node to do something with a node, and shows the node.
async fn told(access: &Access, name: &NodeId, verb: &str) -> Done {
    let path = format!("/v1/nodes/{name}/{verb}");
    let node: Node = access.management()?.call(Method::POST, &path, None::<&()>).await?;
    match access.output {
        Format::Table => out::text(&format!("node {name}: {}\n", state(&node))),
        Format::Json | Format::Yaml => out::value(access.output, &Any::Node(node)),
    }
}

/// Has a node's keys taken back, and prints the token of its return.
async fn reset(access: &Access, name: &NodeId) -> Done {
    let path = format!("/v1/nodes/{name}/reset");
    let made: MadeToken = access.management()?.call(Method::POST, &path, None::<&()>).await?;
    match access.output {
        Format::Table => {
            out::talk(&format!(
                "node {name}: no key of it counts any more; it has no traffic until its machine joins again"
            ));
            out::talk(&format!(
                "token {}, until {}; on that machine: meshctl leave, then meshctl join",
                made.id, made.expires
            ));
            out::line(&made.token)
        }
        Format::Json | Format::Yaml => out::value(access.output, &made),
    }
}

/// How a node is, in a word.
fn state(node: &Node) -> &'static str {
    let status = &node.status;
    match (&node.spec.foreign, status.joined) {
        (Some(_), _) => "foreign",
        (None, _) if status.rejoin.is_some() => "reset",
        (None, Some(_)) if status.quarantined.is_some() => "quarantined",
        (None, Some(_)) if status.replace_key || status.next_public_key.is_some() => "changing-key",
        (None, Some(_)) if status.left => "left",
        (None, Some(_)) if status.connected == Some(false) => "away",
        (None, Some(_)) => "joined",
        (None, None) => "declared",
    }
}

impl Fields {
    fn foreign(&self, before: Option<ForeignSpec>) -> Result<Option<ForeignSpec>, Problem> {
        let given = self.foreign_key.is_some() || self.tunnel_address.is_some() || self.endpoint.is_some();
        match before {
            Some(foreign) => Ok(Some(ForeignSpec {
                public_key: self.foreign_key.unwrap_or(foreign.public_key),
                endpoint: self.endpoint.or(foreign.endpoint),
                tunnel_address: self.tunnel_address.unwrap_or(foreign.tunnel_address),
            })),
            None if given => Ok(Some(ForeignSpec {
                public_key: self.foreign_key.ok_or_else(|| missing("foreign-key", "KEY"))?,
                endpoint: self.endpoint,
                tunnel_address: self.tunnel_address.ok_or_else(|| missing("tunnel-address", "100.64.1.1"))?,
            })),
            None => Ok(None),
        }
    }
}

impl Noun for Fields {
    const KIND: Kind = Kind::Node;
    const COLUMNS: &'static [&'static str] = &["NAME", "PDC", "ADMIN", "EXTERNAL", "STATE", "SEEN", "TABLE", "DAEMON"];

    fn create(self, text: &str) -> Result<Any, Problem> {
        let pdc = self.pdc.clone().ok_or_else(|| missing("pdc", "fra"))?;
        if super::join::is_nobodys(text) {
            out::talk(&format!(
                "note: a node called '{text}' is easily taken for another; for another name: meshctl node rename {text} NAME"
            ));
        }
        let metadata = Meta { name: name(Kind::Node, text)?, labels: Default::default(), revision: None };
        let spec = NodeSpec { pdc, admin: None, external: None, foreign: None };
        let mut object = Any::Node(Object { metadata, spec, status: NodeStatus::default() });
        self.set(&mut object)?;
        Ok(object)
    }

    fn set(self, object: &mut Any) -> Result<(), Problem> {
        let Any::Node(node) = object else { return Err(other_kind(object)) };
        let joined = node.status.joined.is_some();
        if joined && self.pdc.as_ref().is_some_and(|pdc| *pdc != node.spec.pdc) {
            let what = format!("node '{}' has joined in PDC '{}'", node.metadata.name, node.spec.pdc);
            return Err(Problem::new("M0307", Exit::Conflict, what)
                .note("its certificate says so; nothing was changed")
                .help(format!(
                    "meshctl node delete {}, then join it with a token of the other PDC",
                    node.metadata.name
                )));
        }
        let spec = &mut node.spec;
        spec.foreign = self.foreign(spec.foreign.take())?;
        spec.pdc = self.pdc.unwrap_or_else(|| spec.pdc.clone());
        spec.admin = self.admin.or(spec.admin);
        spec.external = self.external.or(spec.external);
        Ok(())
    }

    fn cells(object: &Any) -> Vec<String> {
        let Any::Node(node) = object else { return Vec::new() };
        let facts = node.status.facts.as_ref();
        vec![
            node.metadata.name.to_string(),
            node.spec.pdc.to_string(),
            or_none(node.spec.admin.or_else(|| facts?.admin)),
            or_none(node.spec.external.or_else(|| facts?.external)),
            state(node).to_owned(),
            node.status
                .seen
                .map_or_else(|| or_none::<String>(None), |seen| format!("{} ago", lapse(seen, clock::wall()))),
            or_none(node.status.acknowledged),
            or_none(facts.map(|facts| facts.version.clone())),
        ]
    }
}
