//! A path under simulated time: it loses, delays, reorders and copies; it shrinks and grows; and guests use it all the while.

mod bounds;
mod idle;
mod stages;

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::types::{Mono, PeerSlot};

pub(super) const PEER: PeerSlot = PeerSlot(3);

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A path and what it does to packets. Everything may be changed while it runs.
pub(super) struct World {
    pub(super) paths: Paths,
    pub(super) now: Mono,
    /// The largest outer IP packet that passes.
    pub(super) mtu: u16,
    /// MTU of the interface, beyond which the system refuses.
    pub(super) interface: u16,
    /// Packets lost of a thousand, each way.
    pub(super) loss: u64,
    pub(super) rtt: Duration,
    /// Up to so much is added to each answer: they overtake each other.
    pub(super) jitter: Duration,
    /// Answers that come twice, of a thousand.
    pub(super) copies: u64,
    /// Whether guests send datagrams as large as they may, all the time.
    pub(super) in_use: bool,
    /// What may be sent.
    pub(super) size: u16,
    /// Settled changes: (before, after).
    pub(super) settled: Vec<(u16, u16)>,
    /// Probes sent.
    pub(super) probes: Vec<(Mono, u16)>,
    /// The longest time for which everything that guests sent was lost to its size.
    pub(super) worst: Duration,
    /// Times that the size fell although the path carried it.
    pub(super) fallen: u32,
    black_since: Option<Mono>,
    answers: BTreeSet<(Mono, u64)>,
    traffic_at: Mono,
    random: u64,
}

impl World {
    pub(super) fn new(interface: u16, assumed: u16, mtu: u16) -> Self {
        let now = Mono::from_nanos(1_000_000_000_000);
        let mut world = Self {
            paths: Paths::default(),
            now,
            mtu,
            interface,
            loss: 0,
            rtt: millis(20),
            jitter: Duration::ZERO,
            copies: 0,
            in_use: true,
            size: assumed,
            settled: Vec::new(),
            probes: Vec::new(),
            worst: Duration::ZERO,
            fallen: 0,
            black_since: None,
            answers: BTreeSet::new(),
            traffic_at: now,
            random: 0x9e37_79b9_7f4a_7c15,
        };
        world.paths.set(&[PathConfig { peer: PEER, interface_mtu: interface, assumed }], now);
        world.paths.up(PEER, now);
        world.changes();
        world
    }

    pub(super) fn seed(mut self, seed: u64) -> Self {
        self.random ^= seed.wrapping_mul(0xd129_0ddb_53c4_2e49) | 1;
        self
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        self.random() % 1000 < per_mille
    }

    pub(super) fn status(&self) -> Status {
        self.paths.status().find(|(peer, _)| *peer == PEER).unwrap().1
    }

    pub(super) fn reconfigure(&mut self, interface: u16, assumed: u16) {
        self.interface = interface;
        self.paths.set(&[PathConfig { peer: PEER, interface_mtu: interface, assumed }], self.now);
        self.changes();
    }

    /// Runs for a while.
    pub(super) fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until the size is exactly what the path carries, and known to be; true if that comes in time.
    pub(super) fn exact_within(&mut self, limit: Duration) -> bool {
        let right =
            |world: &Self| world.size == world.mtu.min(world.interface) && world.status().phase == Phase::Complete;
        self.run_until(limit, right)
    }

    pub(super) fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if holds(self) {
                return true;
            }
            let next = [self.paths.poll_timeout(), self.answers.first().map(|(at, _)| *at), Some(end)];
            let next = next.into_iter().chain([self.in_use.then_some(self.traffic_at)]).flatten().min().unwrap();
            self.now = self.now.max(next);
            if next >= end {
                return false;
            }
            self.turn();
        }
    }

    fn turn(&mut self) {
        while let Some((at, token)) = self.answers.first().copied().filter(|(at, _)| *at <= self.now) {
            self.answers.remove(&(at, token));
            self.paths.answered(PEER, token, self.now);
            self.changes();
        }
        if self.in_use && self.traffic_at <= self.now {
            self.traffic_at = self.now + millis(10);
            self.traffic();
        }
        let now = self.now;
        let mut tokens = std::iter::repeat_with(|| self.random()).take(300).collect::<Vec<_>>();
        self.paths.handle_timeout(now, &mut || tokens.pop().unwrap());
        self.changes();
        while let Some(probe) = self.paths.poll_probe() {
            self.fly(probe);
        }
    }

    fn traffic(&mut self) {
        self.paths.used(PEER, self.size, self.now);
        if self.size <= self.mtu {
            self.black_since = None;
        } else {
            let since = *self.black_since.get_or_insert(self.now);
            self.worst = self.worst.max(self.now.since(since));
        }
    }

    fn fly(&mut self, probe: Probe) {
        assert_eq!(probe.peer, PEER);
        self.probes.push((self.now, probe.size));
        if probe.size > self.interface {
            self.paths.refused(&probe, self.now);
            return self.changes();
        }
        if probe.size > self.mtu || self.chance(self.loss) || self.chance(self.loss) {
            return;
        }
        for _ in 0..1 + u32::from(self.chance(self.copies)) {
            let jitter = self.random() % (u64::try_from(self.jitter.as_micros()).unwrap() + 1);
            self.answers.insert((self.now + self.rtt + Duration::from_micros(jitter), probe.token));
        }
    }

    fn changes(&mut self) {
        while let Some(change) = self.paths.poll_change() {
            assert_eq!(change.peer, PEER);
            assert!(change.size <= self.interface, "{change:?}: never above the interface");
            self.fallen += u32::from(change.size < self.size && self.size <= self.mtu.min(self.interface));
            self.size = change.size;
            if let Some(before) = change.settled {
                self.settled.push((before, change.size));
            }
        }
    }
}
