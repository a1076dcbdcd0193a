//! The packet that carries a frame in clear to another node. It keeps the frame's mark (net/ipv4/ip_tunnel_core.c, `iptunnel_xmit`), so that a rule for
//! what the host itself sends may drop by a mark that a rule for bridges has given.

use super::barriers::{Base, Table};
use super::doubts::{Asked, Book, Doubt, Passage};
use super::marks::{HOOKS, Marks};
use super::names::{self, Device};
use super::verdicts::{Drop, Frame, Rules, all, may_mark};
use crate::probe::crossing::Protocol;

/// True for a chain that sees what the host sends itself.
pub(super) fn is_sent(base: &Base) -> bool {
    matches!(base.family, "inet" | "ip" | "ip6") && matches!(base.hook, "output" | "postrouting")
}

/// Tables that have to be read for that: where something at a bridge or an interface of guests gives marks.
pub fn wanted<'a>(bases: &'a [Base], read: impl IntoIterator<Item = (&'a Table, &'a Rules)>) -> Vec<Table> {
    let marks = |(table, rules): (&Table, &Rules)| matches!(table.0, "bridge" | "netdev") && may_mark(rules);
    if !read.into_iter().any(marks) {
        return Vec::new();
    }
    let mut tables: Vec<Table> =
        bases.iter().filter(|base| is_sent(base)).map(|base| (base.family, base.table.clone())).collect();
    tables.sort();
    tables.dedup();
    tables.truncate(super::barriers::TABLES);
    tables
}

/// What may drop the packet that carries a frame, and not the one of a frame without a mark.
pub(super) fn doubts(book: &Book, passage: &Passage, protocol: Protocol) -> Vec<Doubt> {
    let plain = passage.far.as_ref().and_then(|far| names::parse(far.as_str()));
    if !matches!(plain, Some((Device::Vxlan, ..))) {
        return Vec::new();
    }
    let marks = Asked::new(book, passage, true, protocol).own_marks(HOOKS - 1);
    if marks == Marks::default() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (base, rules) in book.sent() {
        let may = |marks: &Marks| all(rules, &base.name, base.drops, &packet(base, marks.clone()));
        let others = may(&Marks::default());
        let alike = |drop: &Drop| others.iter().any(|one| one.rule == drop.rule && one.sure <= drop.sure);
        found.extend(may(&marks).into_iter().filter(|drop| !alike(drop)).map(|drop| told(base, &drop)));
    }
    found
}

fn packet(base: &Base, marks: Marks) -> Frame {
    let protocol = Some(if base.family == "ip6" { Protocol::Ipv6 } else { Protocol::Ipv4 });
    Frame { protocol, any: true, open: (true, true), marks, ..Frame::default() }
}

fn told(base: &Base, drop: &Drop) -> Doubt {
    let by = super::barriers::words(base, drop);
    let Base { family, table, name, .. } = base;
    let chain = drop.rule.as_ref().map_or(name, |(chain, _)| chain);
    let text = format!(
        "the packet that carries it keeps a mark that a rule gives the frame, and may be dropped by {by}: nft -a list chain {family} {table} {chain}"
    );
    Doubt { surely: false, by, text }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::doubts::tests::{asked, away, book, is};
    use super::*;

    fn mark() -> Value {
        json!({"meta": {"key": "mark"}})
    }

    #[test]
    fn a_mark_of_the_frame_is_one_of_the_packet_that_carries_it() {
        let given = json!([[
            is(json!({"payload": {"protocol": "ether", "field": "saddr"}}), json!("02:00:00:00:00:0b")),
            {"mangle": {"key": mark(), "value": 51}}
        ]]);
        let told = |hook, value: u32, passage: &Passage| {
            let mut all = book("bridge", "forward", false, &[("c", given.clone())]);
            all.host.clear();
            let sent = book("inet", hook, false, &[("c", json!([[is(mark(), json!(value)), {"drop": null}]]))]);
            let read = wanted(&sent.filters.bases, &all.filters.rules);
            assert_eq!(read.len(), usize::from(matches!(hook, "output" | "postrouting")));
            all.filters.bases.extend(sent.filters.bases);
            all.sent = sent.filters.rules;
            asked(&all, passage)
        };
        for hook in ["output", "postrouting"] {
            let found = told(hook, 51, &away(Some(false)));
            let [one] = &found[..] else { panic!("{hook}: {found:?}") };
            assert!(!one.surely && one.text.contains("the packet that carries it keeps a mark"), "{one:?}");
            assert!(one.text.contains("nft -a list chain inet op c"), "{one:?}");
            assert!(told(hook, 52, &away(Some(false))).is_empty(), "nobody has it");
            // The answer comes in, and is not marked; nor is one that stays here carried by anything.
            assert!(told(hook, 51, &away(Some(false)).back().unwrap()).is_empty());
            let stays = Passage { far: "g2".parse().ok(), ..away(Some(false)) };
            assert!(told(hook, 51, &stays).is_empty());
        }
        assert!(told("input", 51, &away(Some(false))).is_empty());
        // Nothing marks: nothing more is read.
        let harmless = book("bridge", "forward", false, &[("c", json!([[{"accept": null}]]))]);
        let bases = book("inet", "output", false, &[("c", json!([]))]).filters.bases;
        assert!(wanted(&bases, &harmless.filters.rules).is_empty());
    }
}
