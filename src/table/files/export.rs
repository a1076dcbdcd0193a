//! Writing: rows of a slice to the `files` form, and a list of what the form cannot say.

use std::collections::BTreeMap;

use super::{Entry, File};
use crate::policy::path::{Outer, Path, Verdict};
use crate::table::{NetKey, Row, RowKey, Slice};
use crate::types::NodeId;

/// The verdicts of a slice, as the node decided them.
type Paths = BTreeMap<NetKey, BTreeMap<NodeId, Verdict>>;

/// The file of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The entries.
    pub file: File,
    /// What is in the slice and not in the file, one sentence each.
    pub left_out: Vec<String>,
}

/// The files of all networks of a slice. A network that a change did not touch has the same file as before, so only files that
/// differ need writing.
pub fn export_all(slice: &Slice, paths: &Paths) -> BTreeMap<NetKey, Export> {
    slice.networks.keys().map(|net| (net.clone(), export(slice, paths, net))).collect()
}

/// The file of one network: every guest that is not on this node, at the address that its path uses (admin inside the PDC,
/// external between PDCs).
pub fn export(slice: &Slice, paths: &Paths, net: &NetKey) -> Export {
    let mut made = Export { file: File::default(), left_out: Vec::new() };
    let Some(network) = slice.networks.get(net) else { return made };
    for (key, row) in slice.rows_of(net).filter(|(_, row)| row.node != slice.node) {
        match vtep(slice, paths, key, row) {
            Ok(ip) => {
                let entry = Entry {
                    arp: row.arp.first().copied(),
                    dhcp_proxy: row.dhcp_proxy,
                    ip,
                    ndp: row.nd.first().copied(),
                    port: Some(network.udp_port),
                };
                made.file.entries.insert(key.mac, entry);
                let more = row.arp.iter().skip(1).map(ToString::to_string);
                let more = more.chain(row.nd.iter().skip(1).map(ToString::to_string));
                for address in more.chain(row.floating.iter().map(ToString::to_string)) {
                    made.left_out.push(format!("{}: {address}: the form has room for one arp and one ndp", key.mac));
                }
            }
            Err(why) => made.left_out.push(format!("{}: {why}", key.mac)),
        }
    }
    made
}

fn vtep(slice: &Slice, paths: &Paths, key: &RowKey, row: &Row) -> Result<std::net::IpAddr, String> {
    if let Some(vlan) = key.vlan {
        return Err(format!("tagged with VLAN {vlan}: the form knows no tags"));
    }
    let verdict = paths.get(&key.net()).and_then(|paths| paths.get(&row.node));
    let (Some(verdict), Some(peer)) = (verdict, slice.peers.get(&row.node)) else {
        return Err(format!("on {}, of which nothing is known", row.node));
    };
    let address = match (verdict.path, verdict.outer) {
        (Path::Forbidden, _) => return Err(format!("on {}: {}", row.node, verdict.why)),
        (Path::Plain | Path::Tunnel, Outer::Admin) => peer.admin,
        (Path::Plain | Path::Tunnel, Outer::External) => peer.external,
    };
    address.ok_or_else(|| format!("on {}, whose address is not known", row.node))
}
