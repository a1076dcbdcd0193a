//! Fair shares of one allowance: who sends more than its part loses its own frames and nobody else's. Time is an argument.
//!
//! All sources together have a rate. Each source that has been active lately is sure of an equal part of it, so one that stays below
//! its part loses nothing, whatever the others do. What is not used is for whoever comes first. No source is forgotten or invented: there is
//! a fixed number of places, and the [table](super::Table) says which one a guest has.

use std::time::Duration;

use super::rate::{Bucket, Rate};
use crate::types::Mono;

/// Places for sources of one allowance. Sources beyond that share places with each other, and what they are sure of with it.
pub const PLACES: u8 = 64;
/// A source counts as active for the rest of the period in which it spoke and for the one after it; nanoseconds.
const PERIOD: u64 = 1_000_000_000;
/// What a source is sure of at once is its part of so little of the burst of all: those who come one after the other are each promised
/// a part while fewer are active (1 + 1/2 + ... + 1/64 = 4.74), and together that is to stay near one burst.
const SURE_AT_ONCE: u32 = 4;

/// One allowance and its sources: some 540 bytes.
#[derive(Debug, Clone)]
pub struct Fair {
    all: Bucket,
    places: [Bucket; PLACES as usize],
    /// Which period it is, in periods since the clock began.
    period: u64,
    /// Places that were active in this period, one bit each.
    active: u64,
    /// Those of the period before.
    before: u64,
}

impl Default for Fair {
    fn default() -> Self {
        let (all, places) = (Bucket::default(), [Bucket::default(); PLACES as usize]);
        Self { all, places, period: 0, active: 0, before: 0 }
    }
}

impl Fair {
    /// Takes one for the source in a place (any number; counted modulo [`PLACES`]). In any time `t` at most `rate.per_second * t` are
    /// given, and [`Fair::most_at_once`] more.
    pub fn take(&mut self, rate: Rate, place: u8, now: Mono) -> bool {
        let place = place % PLACES;
        let sources = self.note(place, now);
        let cost = Duration::from_secs(1) / rate.per_second.max(1);
        let window = cost * rate.burst;
        let part = cost * sources;
        // One at least, however rarely.
        let sure = self.places[usize::from(place)].spend(part, part.max(window / SURE_AT_ONCE), now);
        // What somebody is sure of is taken from all, who may owe it, within the sum.
        let most = if sure { cost * Self::most_at_once(rate) } else { window };
        self.all.spend(cost, most, now)
    }

    /// How many more than `rate` says for the time are given at most: the burst of all, and what each source is sure of at once.
    pub const fn most_at_once(rate: Rate) -> u32 {
        // 4.74 / SURE_AT_ONCE of the burst, rounded up, and the one of each source.
        rate.burst + rate.burst * 5 / SURE_AT_ONCE + PLACES as u32
    }

    /// Counts a place as active and returns how many are.
    fn note(&mut self, place: u8, now: Mono) -> u32 {
        let period = now.as_nanos() / PERIOD;
        if period != self.period {
            self.before = if period == self.period + 1 { self.active } else { 0 };
            (self.period, self.active) = (period, 0);
        }
        self.active |= 1 << place;
        (self.active | self.before).count_ones()
    }
}

/// Allowances by slot, each made when it is first used.
#[derive(Debug, Default)]
pub(super) struct Allowances(Vec<Option<Box<Fair>>>);

impl Allowances {
    /// The one of a slot.
    pub(super) fn of(&mut self, index: usize) -> &mut Fair {
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index].get_or_insert_default()
    }
}

#[cfg(test)]
#[path = "fair_tests.rs"]
mod tests;
