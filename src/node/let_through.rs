//! Packet filters that let guests' frames through and drop what this node watches its bridges and plain paths by: a firewall that accepts the guests'
//! addresses and nothing else. What the watch loses says nothing of guests then.

use super::barriers::{AT_PORT, DROPS_FRAMES};
use super::crossing::Way;
use super::doubts::{Book, Passage, dropping, passage};
use super::names::{self, Device};
use super::presence::Presence;
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::policy::path::Path;
use crate::table::{Row, RowKey, Slice};

/// Guests of this node, and others of the network of each, that are looked at, at most.
const MOST: (usize, usize) = (16, 4);

/// What rules make of frames between guests, as far as they are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Pairs {
    /// Kinds of frames that pass, IPv4 and IPv6.
    pass: [usize; 2],
    /// Those that are dropped.
    dropped: [usize; 2],
    /// There are more guests than were looked at.
    more: bool,
}

impl Pairs {
    /// Kinds of frames of a family that pass, or of both, and that are dropped.
    fn of(self, ipv6: Option<bool>) -> [usize; 2] {
        let sum = |all: [usize; 2]| ipv6.map_or_else(|| all.iter().sum(), |six| all[usize::from(six)]);
        [sum(self.pass), sum(self.dropped)]
    }

    /// True where all frames of a family pass, or of both.
    fn all_pass(self, ipv6: Option<bool>) -> bool {
        let families = [false, true].into_iter().filter(|six| ipv6.is_none_or(|ipv6| ipv6 == *six));
        !self.more && self.of(None)[1] == 0 && families.into_iter().all(|six| self.of(Some(six))[0] > 0)
    }

    /// True where no frame of a family passes of those that were looked at, or of both.
    fn none_passes(self, ipv6: Option<bool>) -> bool {
        let [pass, dropped] = self.of(ipv6);
        pass == 0 && dropped > 0
    }
}

/// Takes from what is found what is not so, and adds what drops the watch's own frames. `way`: where own frames cross a bridge of this host.
pub fn judge(
    found: Vec<Finding>,
    book: &Book,
    way: Option<&Way>,
    (slice, presence): (&Slice, &Presence),
) -> Vec<Finding> {
    let Some(way) = way else { return found };
    let crossing = own(way, [Device::Near, Device::Far]);
    let echo = own(way, [Device::Tap, Device::Vxlan]);
    let lost = found.iter().any(|finding| finding.code == DROPS_FRAMES);
    let by = |own: Option<&Passage>| own.and_then(|own| dropping(book, own));
    // What drops and cannot be read may well drop all.
    let Some((by, help)) = by(echo.as_ref()).or_else(|| by(crossing.as_ref().filter(|_| lost))) else { return found };
    let pairs = pairs(book, slice, presence);
    if pairs.of(None)[0] == 0 {
        return found;
    }
    // What the watch goes by is IPv4: where that is all that is lost, and guests lose it as well, it is one fault.
    let of_ipv4 = |finding: &Finding| finding.cut.as_ref().is_some_and(|cut| cut.ipv6 == Some(false));
    let same = found.iter().any(|finding| finding.code == DROPS_FRAMES && of_ipv4(finding));
    let echo = echo.filter(|_| !(same && pairs.none_passes(Some(false))));
    let kept = found
        .into_iter()
        .filter_map(|finding| if finding.code == DROPS_FRAMES { doubted(finding, pairs) } else { Some(finding) });
    kept.chain(echo.map(|echo| told(&echo, &by, &help, pairs))).collect()
}

/// A frame of our own in the bridge of echoes.
fn own(way: &Way, ends: [Device; 2]) -> Option<Passage> {
    let (_, vni, udp_port) = names::parse(way.bridge.as_str())?;
    let [near, far] = ends.map(|device| Some(names::device(device, vni, udp_port)));
    Some(Passage { bridge: way.bridge.clone(), near, far, from: None, to: None, ipv6: Some(false), open: false })
}

fn pairs(book: &Book, slice: &Slice, presence: &Presence) -> Pairs {
    let mut pairs = Pairs::default();
    for (number, from) in slice.rows.iter().filter(|(_, row)| row.node == slice.node).enumerate() {
        let net = from.0.net();
        for (other, to) in slice.rows_of(&net).filter(|(key, _)| **key != *from.0).enumerate() {
            if number >= MOST.0 || other >= MOST.1 {
                pairs.more = true;
                break;
            }
            for passage in passages((slice, presence), from, to) {
                let family = usize::from(passage.ipv6 == Some(true));
                if dropping(book, &passage).is_some() {
                    pairs.dropped[family] += 1;
                } else {
                    pairs.pass[family] += 1;
                }
            }
        }
    }
    pairs
}

/// A frame of each family that both have an address of.
fn passages(
    (slice, presence): (&Slice, &Presence),
    (from, sender): (&RowKey, &Row),
    (to, target): (&RowKey, &Row),
) -> Vec<Passage> {
    let near = slice.peers.get(&target.node).is_some_and(|peer| peer.pdc == slice.pdc);
    let path = if near { Path::Plain } else { Path::Tunnel };
    let has = |row: &Row, ipv6: bool| row.addresses().any(|address| address.is_ipv6() == ipv6);
    let families = [false, true].into_iter().filter(|ipv6| has(sender, *ipv6) && has(target, *ipv6));
    families.filter_map(|ipv6| passage((slice, presence), (from, Some(to)), (Some(path), Some(ipv6), None))).collect()
}

/// What is said of all guests, where rules let some or all of them through. None: it is not so of any of them.
fn doubted(finding: Finding, pairs: Pairs) -> Option<Finding> {
    if finding.cut.as_ref().is_some_and(|cut| pairs.all_pass(cut.ipv6)) {
        return None;
    }
    let ipv6 = finding.cut.as_ref().and_then(|cut| cut.ipv6);
    if pairs.none_passes(ipv6) {
        return Some(finding);
    }
    // Where nothing of the family was looked at, what passes of the other one is all that is known.
    let looked = Some(pairs.of(ipv6)).filter(|of| of.iter().any(|kinds| *kinds > 0));
    let [pass, dropped] = looked.unwrap_or_else(|| pairs.of(None));
    let what = format!(
        "{}; rules let {pass} of {} looked-at kinds of frames between its guests through",
        finding.what,
        pass + dropped
    );
    let cut = finding.cut.clone().map(|cut| Cut { surely: false, ..cut });
    Some(Finding { what, cut, ..finding })
}

fn told(echo: &Passage, by: &str, help: &str, pairs: Pairs) -> Finding {
    let whose = if pairs.of(None)[1] == 0 && !pairs.more { "guests' frames" } else { "frames of guests" };
    let tap = echo.near.as_ref().map_or_else(String::new, ToString::to_string);
    let rest = if pairs.none_passes(Some(false)) {
        "as IPv4 of guests is; rules let IPv6 of guests through: whether that arrives on the way is not seen".to_owned()
    } else {
        format!("which lets {whose} through: whether those arrive on the way is not seen")
    };
    let what = format!(
        "what goes by {tap}, by which this node watches its bridges and plain paths, is dropped by {by}, {rest}"
    );
    Finding::new(AT_PORT, what, format!("let what crosses {} pass, too, or: {help}", echo.bridge))
}

#[cfg(test)]
#[path = "let_through_tests.rs"]
mod tests;
