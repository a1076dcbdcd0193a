//! Rules of bridges that name one interface or one bridge of guests: frames that cross a bridge of our own ([`super::crossing`]) never meet them. Each
//! chain is asked about a frame of which nothing is known but where it goes in and comes out; only what drops it for certain is told.

use std::collections::BTreeMap;

use super::attached::{bounded, takers};
use super::barriers::{Base, Ends, Filters, Ports, is_crossed, way_out, words};
use super::verdicts::{Drop, Frame, Sure, judge};
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::probe::crossing::Protocol;
use crate::table::NetKey;
use crate::types::IfName;

/// Code of a rule that names an interface or bridge of guests, and drops all that goes by.
pub const BRIDGE_RULE: &str = "M0696";

/// Where a frame is, as far as it is known.
#[derive(Clone, Copy)]
struct At<'a> {
    bridge: Option<&'a str>,
    near: Option<&'a str>,
    far: Option<&'a str>,
}

impl At<'_> {
    /// What a chain sees of it.
    fn frame(self, base: &Base, protocol: Option<Protocol>) -> Option<Frame> {
        let text = |name: Option<&str>| name.map(ToOwned::to_owned);
        let (iif, oif) = match base.hook {
            "prerouting" => (text(self.near), None),
            "forward" => (text(self.near), text(self.far)),
            "postrouting" => (None, text(self.far)),
            _ => return None,
        };
        let asked = self.near.is_none() && self.far.is_none() || iif.is_some() || oif.is_some();
        asked.then(|| Frame { iif, oif, bridge: text(self.bridge), protocol, any: true, ..Frame::default() })
    }
}

/// What is wrong. What drops the frames of our own bridge, `ends`, as well is told there.
pub fn findings(ends: Option<Ends<'_>>, ports: &Ports, filters: &Filters) -> Vec<Finding> {
    let bases = filters.bases.iter().filter(|base| base.family == "bridge" && is_crossed(base));
    bounded(bases.flat_map(|base| of_chain(base, ends, ports, filters)).collect())
}

fn of_chain(base: &Base, ends: Option<Ends<'_>>, ports: &Ports, filters: &Filters) -> Vec<Finding> {
    let of = |at: At<'_>, protocol| {
        let rules = filters.rules.get(&(base.family, base.table.clone()))?;
        judge(rules, &base.name, base.drops, &at.frame(base, protocol)?).filter(|drop| drop.sure == Sure::Yes)
    };
    let ours = |protocol| {
        let ends = ends?;
        let (bridge, near, far) = (ends.bridge.as_str(), ends.near.as_str(), ends.far.as_str());
        of(At { bridge: Some(bridge), near: Some(near), far: Some(far) }, protocol)
    };
    if ours(None).is_some() {
        return Vec::new();
    }
    let networks: BTreeMap<&IfName, &NetKey> = ports.values().map(|place| (&place.bridge, &place.key)).collect();
    let on = |bridge: &IfName, protocol| of(At { bridge: Some(bridge.as_str()), near: None, far: None }, protocol);
    let bridges = networks.iter().flat_map(|(bridge, key)| {
        let one = |protocol| on(bridge, protocol).filter(|_| ours(protocol).is_none());
        let one = takers(one).into_iter().map(|(subject, ipv6, drop)| {
            let what = format!("{subject} crosses bridge {bridge} is dropped by");
            told(&what, base, &drop, Cut { ipv6, ..Cut::network(key) })
        });
        one.collect::<Vec<_>>()
    });
    let single = ports.iter().flat_map(|(port, place)| {
        let at = At { bridge: Some(place.bridge.as_str()), near: None, far: None };
        let ends = [
            (At { near: Some(port.as_str()), ..at }, "comes from", false),
            (At { far: Some(port.as_str()), ..at }, "goes to", true),
        ];
        ends.into_iter().flat_map(move |(end, way, goes_to)| {
            // What is dropped on the whole bridge is told of that.
            let one = |protocol| of(end, protocol).filter(|_| on(&place.bridge, protocol).is_none());
            let one = takers(one).into_iter().map(move |(subject, ipv6, drop)| {
                let what = format!("{subject} {way} {port} in bridge {} is dropped by", place.bridge);
                told(&what, base, &drop, Cut { ipv6, ..place.cut.clone() }.at_interface(goes_to))
            });
            one.collect::<Vec<_>>()
        })
    });
    bridges.chain(single).collect()
}

fn told(what: &str, base: &Base, drop: &Drop, cut: Cut) -> Finding {
    Finding::new(BRIDGE_RULE, format!("{what} {}", words(base, drop)), way_out(base, drop)).cuts(cut)
}

#[cfg(test)]
#[path = "named_tests.rs"]
mod tests;
