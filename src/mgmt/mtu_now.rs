//! What a pair of nodes carries now, beside what counts: sizes count once they have stood, so after a repair what counts is what was,
//! and right after a fault it is what was, too. Who speaks of a pair says the tense.

use super::interfaces::Interfaces;
use super::measured::{Grown as GrownPath, Measured};
use super::mtus::{Pair, underlay_mtu};
use crate::api::objects::Node;
use crate::policy::mtu::{Carrier, Span};
use crate::policy::path::Outer;
use crate::policy::steady::Next;
use crate::types::{Mono, Wall};

/// Everything that nodes said last, and the time.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What they measured.
    pub measured: &'a Measured,
    /// What they say of their interfaces.
    pub interfaces: &'a Interfaces,
    /// Now, by the clock that sizes wait by.
    pub mono: Mono,
    /// The same moment for people.
    pub wall: Wall,
}

/// How what counts of a pair stands to what is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tense {
    /// It is so now.
    Is,
    /// It counts, and nobody has measured since this server started.
    Last,
    /// It was so until then; from when on more counts, if that stays.
    Was {
        /// Until when.
        until: Wall,
        /// What counts next is known from here on.
        counts: Wall,
    },
    /// Less passes already; from when on that counts, if it stays.
    Falls {
        /// When.
        counts: Wall,
    },
}

/// One thing that bounds a pair: an interface, or what one end measured.
struct Bound {
    counted: u16,
    /// None: nothing was heard.
    now: Option<u16>,
    next: Option<Next>,
}

impl Known<'_> {
    /// What the pair carries now, as far as it is known.
    pub fn span(&self, pair: &Pair<'_>) -> Span {
        let underlay = self.says(pair.a, pair.outer).min(self.says(pair.b, pair.outer));
        let measured = self.paths(pair).into_iter().flatten();
        let measured = measured
            .filter_map(|bound| bound.now.or_else(|| Some(bound.counted).filter(|_| bound.is_stored(pair))))
            .min();
        Span { carrier: pair.span.carrier, underlay, measured }
    }

    /// What a node says that its interface carries.
    pub fn says(&self, node: &Node, side: Outer) -> u16 {
        let bound = self.interface(node, side);
        bound.now.unwrap_or(bound.counted)
    }

    /// Whether what counts of the pair is so.
    pub fn tense(&self, pair: &Pair<'_>) -> Tense {
        let (counted, now) = (pair.span.size(), self.span(pair).size());
        let interfaces = [pair.a, pair.b].map(|node| self.interface(node, pair.outer));
        let bounds: Vec<Bound> = interfaces.into_iter().chain(self.paths(pair).into_iter().flatten()).collect();
        match now.cmp(&counted) {
            std::cmp::Ordering::Equal if bounds.iter().any(|bound| bound.now.is_none() && bound.is_stored(pair)) => {
                Tense::Last
            }
            std::cmp::Ordering::Equal => Tense::Is,
            std::cmp::Ordering::Greater => {
                let turned = || bounds.iter().filter(|bound| bound.counted < now).filter_map(|bound| bound.next);
                let until = turned().map(|next| next.since).max().map_or(self.wall, |since| self.at(since));
                let counts = turned().map(|next| next.at).max().map_or(self.wall, |at| self.at(at));
                Tense::Was { until, counts }
            }
            std::cmp::Ordering::Less => {
                let falls = bounds.iter().filter(|bound| bound.now.is_some_and(|size| size < counted));
                let counts = falls.filter_map(|bound| bound.next).map(|next| next.at).min();
                Tense::Falls { counts: counts.map_or(self.wall, |at| self.at(at)) }
            }
        }
    }

    /// The time on people's clocks.
    pub fn at(&self, mono: Mono) -> Wall {
        if mono >= self.mono {
            return self.wall + mono.since(self.mono);
        }
        let ago = u64::try_from(self.mono.since(mono).as_nanos()).unwrap_or(u64::MAX);
        Wall::from_nanos(self.wall.as_nanos().saturating_sub(ago))
    }

    fn interface(&self, node: &Node, side: Outer) -> Bound {
        let counted = underlay_mtu(node, side);
        let said = self.interfaces.says(&node.metadata.name, side, counted);
        // Who waits for nothing says what counts.
        Bound { counted, now: Some(said.map_or(counted, |(says, _)| says)), next: said.and_then(|(_, next)| next) }
    }

    /// What both ends measured; the kernel's own path is not measured.
    fn paths(&self, pair: &Pair<'_>) -> Option<[Bound; 2]> {
        if matches!(pair.span.carrier, Carrier::Plain(_)) {
            return None;
        }
        let one = |from: &Node, to: &Node| {
            let stored = from.status.paths.get(&to.metadata.name);
            let counted = stored.map_or(pair.span.underlay, |stored| pair.span.underlay.min(*stored));
            let heard = self.measured.heard(&from.metadata.name, &to.metadata.name, counted);
            Bound { counted, now: heard.map(|(bytes, _)| bytes), next: heard.and_then(|(_, next)| next) }
        };
        Some([one(pair.a, pair.b), one(pair.b, pair.a)])
    }
}

impl Bound {
    /// It is what an end measured once, and not the interface's.
    const fn is_stored(&self, pair: &Pair<'_>) -> bool {
        self.counted < pair.span.underlay
    }
}

/// What is said when paths have grown and that does not count yet.
pub fn grown(paths: &[GrownPath], known: &Known<'_>) -> String {
    let one = |GrownPath { from, to, counted, next }: &GrownPath| {
        format!(
            "the path {from} - {to} carries {} bytes again, {counted} before; that counts from {} on if it stays",
            next.size,
            known.at(next.at)
        )
    };
    named(paths.iter().map(one))
}

/// The same of interfaces.
pub fn grown_interfaces(interfaces: &[super::interfaces::Grown], known: &Known<'_>) -> String {
    let one = |grown: &super::interfaces::Grown| {
        let super::interfaces::Grown { node, side, counted, next } = grown;
        let side = match side {
            Outer::Admin => "admin",
            Outer::External => "external",
        };
        let at = known.at(next.at);
        format!(
            "node {node} says that its {side} interface carries {} bytes, {counted} before; that counts from {at} on if it stays",
            next.size
        )
    };
    named(interfaces.iter().map(one))
}

fn named(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(3);
    let shown: Vec<String> = all.take(3).collect();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
#[path = "mtu_now_tests.rs"]
mod tests;
