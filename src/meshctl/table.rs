//! `meshctl table`: the ARP and VTEP table of a node, and the illumos `files` form of it.

mod import;

use std::path::{Path as FilePath, PathBuf};

use super::manifests;
use super::objects::{joined, or_none};
use super::out::{self, Done, Format, Lines};
use super::remote::{Access, Either};
use crate::api::objects::Any;
use crate::api::problem::{Exit, Problem};
use crate::config::Source;
use crate::linux::file;
use crate::node::paths::Paths;
use crate::policy::path::{Outer, Verdict, Why};
use crate::table::files::{self, File, Mode};
use crate::table::{NetKey, Slice};
use crate::types::{NetworkId, NodeId};

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Every row that the node has
    Show {
        #[command(flatten)]
        of: Of,
    },
    /// Write illumos `files` JSON: one network to stdout, or all of them below a folder
    Export {
        #[command(flatten)]
        of: Of,
        /// Folder for `<overlay>/<vni>.json`
        #[arg(long, required_unless_present = "network")]
        dir: Option<PathBuf>,
    },
    /// Declare the guests of an illumos `files` JSON as ports, all of them or none
    Import {
        /// The file
        file: String,
        /// The network that they belong to
        #[arg(long)]
        network: NetworkId,
        /// Leave out and list what the form does not know instead of refusing it
        #[arg(long)]
        lenient: bool,
        /// Only print the ports as manifests
        #[arg(long)]
        dry_run: bool,
    },
    /// Compare an illumos `files` JSON with the table of a node
    Diff {
        /// The file
        file: String,
        #[command(flatten)]
        of: Of,
        /// Leave out and list what the form does not know instead of refusing it
        #[arg(long)]
        lenient: bool,
    },
}

/// Whose table, and which part.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Of {
    /// Table of this node, as the management node makes it [default: of this machine]
    #[arg(long)]
    node: Option<NodeId>,
    /// Only this network, by name or OVERLAY/VNI
    #[arg(long)]
    network: Option<String>,
}

/// Runs a verb.
///
/// # Errors
/// Nobody answers, a file cannot be read or written, or its content is refused.
pub(super) async fn run(access: &Access, command: Command) -> Done {
    match command {
        Command::Show { of } => show(access, &of).await,
        Command::Export { of, dir } => export(access, &of, dir.as_deref()).await,
        Command::Import { file, network, lenient, dry_run } => {
            let read = read(&file, lenient)?;
            let server = access.management()?;
            let ports = import::ports(&server, &read, &network, (!lenient).then_some(file.as_str())).await?;
            if dry_run {
                dry(&ports)
            } else {
                manifests::print_applied(access.output, &manifests::ask(access, ports, false).await?)
            }
        }
        Command::Diff { file, of, lenient } => diff(access, &read(&file, lenient)?, &of).await,
    }
}

async fn slice(access: &Access, of: &Of) -> Result<Slice, Problem> {
    let mut slice: Slice = match &of.node {
        Some(node) => access.management()?.get(&format!("/v1/slice/{node}")).await?,
        None => match access.either()? {
            Either::Node(server) => server.get("/v1/slice").await?,
            Either::Management(_) => {
                return Err(Problem::new(
                    "M0114",
                    Exit::Usage,
                    "no meshd runs here, so it is not clear whose table is meant",
                )
                .help("--node NAME takes the table of that node from the management node"));
            }
        },
    };
    if let Some(wanted) = &of.network {
        let known: Vec<String> = slice.networks.values().map(|network| network.name.to_string()).collect();
        slice.networks.retain(|key, network| network.name.as_str() == wanted || key.to_string() == *wanted);
        if slice.networks.is_empty() {
            let what = format!("node '{}' does not host a network '{wanted}'", slice.node);
            return Err(Problem::new("M0309", Exit::NotFound, what).help(format!("it hosts: {}", known.join(", "))));
        }
        let kept: Vec<NetKey> = slice.networks.keys().cloned().collect();
        slice.rows.retain(|key, _| kept.iter().any(|net| key.is_in(net)));
    }
    Ok(slice)
}

async fn show(access: &Access, of: &Of) -> Done {
    let slice = slice(access, of).await?;
    if access.output != Format::Table {
        return out::value(access.output, &slice);
    }
    let mut lines = Lines::new(&["NETWORK", "VLAN", "MAC", "NODE", "PATH", "VTEP", "ADDRESSES", "PORT"]);
    let paths = verdicts(&slice);
    for (key, row) in &slice.rows {
        let network = slice.networks.get(&key.net());
        let verdict = paths.get(&key.net()).and_then(|paths| paths.get(&row.node));
        let peer = slice.peers.get(&row.node);
        let vtep = verdict.zip(peer).and_then(|(verdict, peer)| crate::node::paths::vtep(peer, verdict.outer));
        let addresses = row.arp.iter().map(ToString::to_string).chain(row.nd.iter().map(ToString::to_string));
        let here = row.node == slice.node;
        lines.add([
            network.map_or_else(|| key.net().to_string(), |network| network.name.to_string()),
            or_none(key.vlan),
            key.mac.to_string(),
            row.node.to_string(),
            if here { "here".to_owned() } else { or_none(verdict.map(|verdict| verdict.path)) },
            or_none(vtep),
            joined(addresses),
            or_none(row.port.as_ref()),
        ]);
    }
    out::list(access.output, "row", &slice.rows, &lines)
}

/// The paths that the management node decided, with the address that each uses.
fn verdicts(slice: &Slice) -> Paths {
    let outer = |node: &NodeId| match slice.peers.get(node) {
        Some(peer) if peer.pdc == slice.pdc => Outer::Admin,
        Some(_) | None => Outer::External,
    };
    let verdict = |path, node: &NodeId| (node.clone(), Verdict { path, why: Why::DifferentPdcs, outer: outer(node) });
    let network = |(key, network): (&NetKey, &crate::table::Network)| {
        (key.clone(), network.members.iter().map(|(node, path)| verdict(*path, node)).collect())
    };
    slice.networks.iter().map(network).collect()
}

async fn export(access: &Access, of: &Of, dir: Option<&FilePath>) -> Done {
    let slice = slice(access, of).await?;
    for (key, made) in files::export_all(&slice, &verdicts(&slice)) {
        made.left_out.iter().for_each(|what| out::talk(&format!("left out: {key}: {what}")));
        match dir {
            None => out::text(&made.file.to_json())?,
            Some(dir) => {
                let folder = dir.join(key.overlay.as_str());
                let path = folder.join(format!("{}.json", key.vni));
                let written = std::fs::create_dir_all(&folder)
                    .and_then(|()| file::write(&path, made.file.to_json().as_bytes(), 0o400));
                written.map_err(|error| {
                    Problem::new("M0601", Exit::Failed, format!("{} cannot be written: {error}", path.display()))
                        .note("the file that was there is as it was")
                })?;
                out::line(&format!("{} {} guests", path.display(), made.file.entries.len()))?;
            }
        }
    }
    Ok(())
}

/// Reads a table file, and lists what a lenient reading left out.
fn read(path: &str, lenient: bool) -> Result<File, Problem> {
    let text = std::fs::read_to_string(path).map_err(|error| manifests::unreadable(path, &error))?;
    let mode = if lenient { Mode::Lenient } else { Mode::Strict };
    let reading = files::read(Source::new(path, &text), mode).map_err(|problem| {
        if lenient { problem } else { problem.help("--lenient leaves out and lists what the form does not know") }
    })?;
    reading.ignored.iter().for_each(|what| out::talk(&format!("left out: {what}")));
    Ok(reading.file)
}

/// Only shows what would be declared.
fn dry(ports: &[Any]) -> Done {
    let yaml: Result<Vec<_>, _> = ports.iter().map(crate::config::manifest::to_yaml).collect();
    let yaml = yaml.map_err(|e| Problem::new("M0110", Exit::Failed, e))?;
    out::text(&yaml.iter().map(|yaml| format!("---\n{yaml}")).collect::<String>())
}

async fn diff(access: &Access, file: &File, of: &Of) -> Done {
    let slice = slice(access, of).await?;
    let Some((key, made)) =
        files::export_all(&slice, &verdicts(&slice)).into_iter().next().filter(|_| slice.networks.len() == 1)
    else {
        let problem = Problem::new("M0114", Exit::Usage, "a table file is of one network");
        return Err(problem.help("--network NAME, or OVERLAY/VNI").into());
    };
    let (ours, theirs) = (&made.file.entries, &file.entries);
    let macs: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
    let shown = |file: &File, mac| {
        let entry = file.entries.get(mac);
        entry.and_then(|entry| serde_json::to_string(entry).ok()).unwrap_or_default()
    };
    let mut text = String::new();
    for mac in macs {
        let (table, given) = (shown(&made.file, mac), shown(file, mac));
        if table != given {
            let lines = [("-", &table), ("+", &given)].into_iter().filter(|(_, entry)| !entry.is_empty());
            text.extend(lines.map(|(sign, entry)| format!("{sign} {mac} {entry}\n")));
        }
    }
    if text.is_empty() {
        return out::line(&format!("the file and the table of {key} say the same"));
    }
    out::text(&format!("--- table of {} on {}\n+++ file\n{text}", key, slice.node))
}
