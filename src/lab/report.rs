//! The tables of the demo, and what must be true of the wires.

use comfy_table::{Table, presets};

use super::classify::Class;
use super::layout::{Layout, Wire, WireKind};
use super::watch::Seen;

/// One pair of guests.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// Namespace of the first.
    pub from: String,
    /// Namespace of the second.
    pub to: String,
    /// Plain or tunnel.
    pub path: String,
    /// The rule that decided.
    pub why: String,
    /// Outer addresses.
    pub outer: String,
    /// Mean round-trip time, milliseconds.
    pub rtt: Option<f64>,
    /// Throughput of one TCP connection.
    pub bits_per_second: f64,
    /// Guest MTU.
    pub mtu: u16,
}

/// What was seen on a wire.
#[derive(Debug, Clone, PartialEq)]
pub struct WireSeen {
    /// The wire.
    pub wire: Wire,
    /// The counts.
    pub seen: Seen,
}

impl WireSeen {
    /// What is not as it must be.
    pub fn failures(&self, layout: &Layout) -> Vec<String> {
        let name = &self.wire.device;
        let seen = &self.seen;
        let mut failures = Vec::new();
        let mut must_be_none = |count: u64, what: &str| {
            if count > 0 {
                let examples = seen.examples.join(", ");
                failures.push(format!("{name}: {count} frames {what} {examples}"));
            }
        };
        must_be_none(seen.frames(Class::Clear), "in clear");
        must_be_none(seen.frames(Class::Other), "that nobody here should send");
        must_be_none(seen.missed, "were too many to look at, so nothing is proved");
        let encrypted = layout.pdcs.iter().any(|pdc| Some(&pdc.name) == self.wire.pdc.as_ref() && pdc.encrypted);
        // Nodes of the plain path have sessions besides, for what they tell each other.
        let plain = self.wire.kind == WireKind::Admin && !encrypted;
        let wanted = if plain { Class::Vxlan } else { Class::Wireguard };
        if !plain {
            must_be_none(
                seen.frames(Class::Vxlan),
                &format!("are {}, which is not for this wire", Class::Vxlan.word()),
            );
        }
        if talks(layout, &self.wire) && seen.frames(wanted) == 0 {
            failures.push(format!("{name}: no {} at all, although guests talked across it", wanted.word()));
        }
        failures
    }
}

/// True where at least two nodes with guests are on the wire as neighbours that need it.
fn talks(layout: &Layout, wire: &Wire) -> bool {
    let with_guests = || layout.nodes.iter().filter(|node| !node.guests.is_empty());
    match &wire.pdc {
        Some(pdc) => with_guests().filter(|node| node.pdc == *pdc).count() > 1,
        None => with_guests().any(|node| with_guests().any(|other| other.pdc != node.pdc)),
    }
}

/// Both tables.
pub fn render(pairs: &[Pair], wires: &[WireSeen]) -> String {
    format!("\n{}\n\n{}\n", pair_table(pairs), wire_table(wires))
}

fn pair_table(pairs: &[Pair]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["PAIR", "PATH", "WHY", "OUTER ADDRESSES", "RTT ms", "Mbit/s", "MTU"]);
    for pair in pairs {
        table.add_row([
            format!("{} {}", pair.from, pair.to),
            pair.path.clone(),
            pair.why.clone(),
            pair.outer.clone(),
            pair.rtt.map_or_else(|| "-".to_owned(), |rtt| format!("{rtt:.3}")),
            format!("{:.0}", pair.bits_per_second / 1e6),
            pair.mtu.to_string(),
        ]);
    }
    table.trim_fmt()
}

fn wire_table(wires: &[WireSeen]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let columns = Class::ALL.map(Class::word);
    table.set_header(["WIRE", "JOINS"].into_iter().chain(columns).chain(["not seen"]));
    for WireSeen { wire, seen } in wires {
        let joins = wire.pdc.as_ref().map_or_else(|| "PDCs".to_owned(), |pdc| format!("PDC {pdc}"));
        let counts = Class::ALL.map(|class| seen.frames(class).to_string());
        table.add_row([wire.device.clone(), joins].into_iter().chain(counts).chain([seen.missed.to_string()]));
    }
    format!("frames on the wires:\n{}", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::layout::Shape;

    fn all_well(layout: &Layout) -> Vec<WireSeen> {
        let seen = |wire: &Wire| {
            let mut seen = Seen::default();
            let class = if wire.kind == WireKind::Admin { Class::Vxlan } else { Class::Wireguard };
            seen.frames.insert(class, 100);
            seen.frames.insert(Class::Housekeeping, 3);
            WireSeen { wire: wire.clone(), seen }
        };
        layout.wires.iter().map(seen).collect()
    }

    #[test]
    fn one_wrong_frame_fails_its_wire() {
        let layout = Shape::uniform("lab".into(), 1500, 2, 2, 1).unwrap().layout().unwrap();
        for wire in all_well(&layout) {
            assert_eq!(wire.failures(&layout), Vec::<String>::new(), "{}", wire.wire.device);
            let unwanted = (wire.wire.kind == WireKind::Internet).then_some(Class::Vxlan);
            for class in [Class::Clear, Class::Other].into_iter().chain(unwanted) {
                let mut bad = wire.clone();
                bad.seen.frames.insert(class, 1);
                assert_eq!(bad.failures(&layout).len(), 1, "{class:?} on {}", wire.wire.device);
            }
            let silent = WireSeen { seen: Seen::default(), ..wire.clone() };
            assert!(silent.failures(&layout)[0].contains("at all"));
            let blind = WireSeen { seen: Seen { missed: 1, ..wire.seen.clone() }, ..wire };
            assert_eq!(blind.failures(&layout).len(), 1);
        }
    }

    #[test]
    fn a_wire_that_nobody_needs_may_be_silent() {
        let layout = Shape::uniform("lab".into(), 1500, 2, 1, 1).unwrap().layout().unwrap();
        let silent = WireSeen { wire: layout.wires[0].clone(), seen: Seen::default() };
        assert_eq!(silent.failures(&layout), Vec::<String>::new());
    }
}
