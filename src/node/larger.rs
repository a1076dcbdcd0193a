//! Guests that send larger packets than their network has: they were not told its MTU, or were told another. Their frames cost fragments, answers or
//! losses, as the network's policy says, so it is told for as long as it goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::local::Finding;
use crate::policy::mtu::Oversize;
use crate::table::NetKey;
use crate::types::{Mono, Mtu, NetworkId};

/// How far back counts go.
const WINDOW: Duration = Duration::from_secs(60);
/// Fewer larger frames in that time are somebody who tries what passes.
const SOME: u64 = 20;

/// What is counted of one network.
#[derive(Debug, Clone)]
pub struct Sent<'a> {
    /// Which.
    pub key: &'a NetKey,
    /// Its name.
    pub name: &'a NetworkId,
    /// What its guests may send, bytes.
    pub mtu: Mtu,
    /// What becomes of larger ones.
    pub oversize: Oversize,
    /// Larger frames since the lanes started.
    pub frames: u64,
}

/// What was counted of late.
#[derive(Debug, Default)]
pub struct Larger(BTreeMap<NetKey, (Mtu, Counted)>);

/// The begin of the minute that is counted, and what came in the one before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    since: Mono,
    base: u64,
    last: u64,
}

impl Larger {
    /// Compares with what was counted before. Lanes that start anew count anew.
    pub fn look<'a>(&mut self, all: impl IntoIterator<Item = Sent<'a>>, now: Mono) -> Vec<Finding> {
        let (mut findings, mut seen) = (Vec::new(), BTreeMap::new());
        for sent in all {
            // What was larger than another number says nothing of this one.
            let old = self.0.get(sent.key).filter(|(mtu, _)| *mtu == sent.mtu).map(|(_, counted)| *counted);
            let (counted, frames) = Counted::look(old, sent.frames, sent.frames, now);
            findings.extend((frames >= SOME).then(|| finding(&sent, frames)));
            seen.insert(sent.key.clone(), (sent.mtu, counted));
        }
        self.0 = seen;
        findings
    }
}

impl Counted {
    /// Goes on with `frames`, of which there were `before` when nothing was known yet. Also returns how many came in the last minute or two.
    pub(super) fn look(old: Option<Self>, frames: u64, before: u64, now: Mono) -> (Self, u64) {
        let begin = Self { since: now, base: before, last: 0 };
        let mut counted = old.filter(|old| old.base <= frames).unwrap_or(begin);
        let new = frames.saturating_sub(counted.base);
        if now.since(counted.since) >= WINDOW {
            counted = Self { since: now, base: frames, last: new };
        }
        (counted, new.max(counted.last))
    }
}

/// So many and more, in orders of ten: what is said of a number that moves would be another finding each time. None: not worth a word.
pub(super) fn order(frames: u64) -> Option<u64> {
    std::iter::successors(Some(SOME), |order| order.checked_mul(10)).take_while(|order| *order <= frames).last()
}

fn finding(sent: &Sent<'_>, frames: u64) -> Finding {
    let Sent { name, mtu, .. } = sent;
    let fate = match sent.oversize {
        Oversize::Fragment => {
            "they are carried in fragments across tunnels, and lost where the receiver's interface takes no more than that"
        }
        Oversize::TooBig => "their senders are answered, and what does not obey is lost",
        Oversize::Drop => "they are dropped",
    };
    let order = order(frames).unwrap_or(SOME);
    let what = format!(
        "network {name}: guests of this node send packets larger than its MTU {mtu}, {order} and more in a minute: {fate}"
    );
    let help = format!(
        "give them the number {mtu} (DHCP option 26, router advertisement, or their interface); meshctl mtu map says who limits it"
    );
    Finding::new("M0512", what, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(secs: u64) -> Mono {
        Mono::from_nanos(secs * 1_000_000_000)
    }

    #[test]
    fn larger_packets_are_told_while_they_come_and_a_single_trial_is_not() {
        let (key, name): (NetKey, NetworkId) = ("default/10".parse().unwrap(), "blue".parse().unwrap());
        let mut larger = Larger::default();
        let mut look = |secs, frames| {
            let mtu = Mtu::try_from(1418).unwrap();
            let sent = Sent { key: &key, name: &name, mtu, oversize: Oversize::Fragment, frames };
            larger.look([sent], at(secs)).into_iter().map(|finding| finding.what).collect::<Vec<_>>()
        };
        assert!(look(0, 5000).is_empty(), "what was before is not of now");
        assert!(look(10, 5003).is_empty(), "somebody tries");
        let told = look(20, 5040);
        assert!(told[0].contains("1418, 20 and more"), "{told:?}");
        assert_eq!(look(21, 5150), told, "a little more is the same");
        assert_ne!(look(22, 5400), told);
        assert_eq!(look(61, 5400).len(), 1, "a minute's end");
        assert_eq!(look(100, 5400).len(), 1);
        assert!(look(122, 5400).is_empty(), "over");
        assert!(look(130, 0).is_empty(), "lanes that started anew");
        assert_eq!(look(131, 30).len(), 1);
        let raised = Mtu::try_from(1500).unwrap();
        let sent = |frames| [Sent { key: &key, name: &name, mtu: raised, oversize: Oversize::Fragment, frames }];
        assert!(larger.look(sent(60), at(132)).is_empty(), "what was larger than another number");
        assert_eq!(larger.look(sent(90), at(133)).len(), 1);
    }
}
