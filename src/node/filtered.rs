//! Filters of `tc` at an interface that may take one frame: asked in the order in which the kernel asks them, by the same reader as rules of
//! packet filters ([`super::verdicts`]). What takes every frame there is told elsewhere ([`super::attached`]).

use super::attached::{ALL, ARP, Fate, Filter, IPV4, IPV6, Side};
use super::verdicts::{Frame, Rule, Rules, Sure, judge};
use crate::probe::crossing::Protocol;
use crate::types::IfName;

/// What may take it, in words. `asked` is the frame, and the same of nobody in particular.
pub(super) fn doubts(
    filters: &[Filter],
    (name, side): (&IfName, Side),
    protocol: Protocol,
    asked: [&Frame; 2],
) -> Vec<String> {
    let ethertype = match protocol {
        Protocol::Ipv4 => IPV4,
        Protocol::Arp => ARP,
        Protocol::Ipv6 => IPV6,
    };
    let (way, place) = match side {
        Side::Ingress => ("comes from", "ingress"),
        Side::Egress => ("goes to", "egress"),
    };
    let mut told = Vec::new();
    for filter in filters.iter().filter(|filter| filter.protocol == ALL || filter.protocol == ethertype) {
        let [Some(sure), nobody] = asked.map(|frame| matches(filter, frame)) else { continue };
        match filter.fate {
            Fate::GoesOn => {}
            Fate::Passes if sure == Sure::Yes => break,
            Fate::Passes => {}
            // What takes anybody's is no matter of this frame.
            Fate::Dropped | Fate::Redirected(_) | Fate::Unread if nobody.is_some() => {}
            Fate::Dropped | Fate::Redirected(_) | Fate::Unread => {
                let Filter { kind, pref, .. } = filter;
                told.push(format!(
                    "what {way} {name} may be dropped by a filter of tc ({kind}, pref {pref}): tc filter show dev {name} {place}"
                ));
            }
        }
    }
    told
}

/// Whether a filter may be about a frame.
fn matches(filter: &Filter, frame: &Frame) -> Option<Sure> {
    const CHAIN: &str = "tc";
    let parts = filter.parts.iter().cloned().chain([serde_json::json!({"drop": null})]).collect();
    let rules = Rules::from([(CHAIN.to_owned(), vec![Rule { handle: 0, parts }])]);
    Some(judge(&rules, CHAIN, false, frame)?.sure)
}
