//! What a port may use by now, as `meshctl port set` takes it: `--ip` and `--allowed` replace a whole list, so a command that adds one address
//! names the others as well.

use std::net::IpAddr;

use crate::table::{NetKey, Row, RowKey, Slice};
use crate::types::{IfName, PortId};

/// The port that names an interface of this node, with its own row.
pub(super) fn port_behind<'a>(slice: &'a Slice, net: &NetKey, interface: &IfName) -> Option<(&'a RowKey, &'a PortId)> {
    let here = |row: &Row| row.node == slice.node && row.interface.as_ref() == Some(interface);
    let mut all = slice.rows.iter().filter(|(key, row)| key.is_in(net) && here(row));
    all.find_map(|(key, row)| Some((key, row.port.as_ref()?)))
}

/// Addresses of a port's own that are wanted.
pub(super) fn ips(slice: &Slice, own: &RowKey, wanted: impl Fn(IpAddr) -> bool) -> Vec<String> {
    let all = row(slice, own).map(owned).unwrap_or_default();
    all.into_iter().filter(|ip| wanted(*ip)).map(|ip| ip.to_string()).collect()
}

/// What a port may use beside its own, with one entry more.
pub(super) fn allowed(slice: &Slice, own: &RowKey, more: &str) -> String {
    let Some(port) = row(slice, own) else { return more.to_owned() };
    let mut all: Vec<String> = port.floating.iter().map(ToString::to_string).collect();
    // Guests of a guest have no port of their own, and are behind its interface.
    let nested = |(key, row): &(&RowKey, &Row)| {
        row.port.is_none()
            && row.node == port.node
            && key.vlan == own.vlan
            && row.interface.is_some()
            && row.interface == port.interface
    };
    for (key, row) in slice.rows_of(&own.net()).filter(nested) {
        all.extend(owned(row).into_iter().map(|ip| format!("{ip}={}", key.mac)));
    }
    all.retain(|one| one != more);
    all.push(more.to_owned());
    all.join(",")
}

/// The row of a port, with or without the tag that is asked for.
fn row<'a>(slice: &'a Slice, own: &RowKey) -> Option<&'a Row> {
    let net = own.net();
    let tagged = || slice.rows.iter().find(|(key, _)| key.is_in(&net) && key.mac == own.mac).map(|(_, row)| row);
    slice.rows.get(own).or_else(tagged)
}

fn owned(row: &Row) -> Vec<IpAddr> {
    let arp = row.arp.iter().copied().map(IpAddr::V4);
    arp.chain(row.nd.iter().copied().map(IpAddr::V6)).collect()
}
