//! Two ends that both call at once, on a wire that takes its time: what is under way when keys change arrives.

use std::collections::VecDeque;
use std::time::Duration;

use super::world::*;
use crate::tunnel::{PeerConfig, Suite};
use crate::types::Mono;

const STEP: Duration = Duration::from_millis(5);

/// Two ends and a wire that delivers everything in order after a while.
pub(super) struct Delayed {
    pub(super) world: World,
    delay: Duration,
    flying: VecDeque<(Mono, OnWire)>,
    said: u64,
}

impl Delayed {
    /// Both have a keepalive, so both call at once.
    pub(super) fn new(delay: Duration) -> Self {
        let every = |c| PeerConfig { keepalive: Some(Duration::from_secs(25)), ..c };
        Self { world: World::with(every, every), delay, flying: VecDeque::new(), said: 0 }
    }

    fn step(&mut self, step: Duration) {
        self.world.pass(step);
        while self.flying.front().is_some_and(|(due, _)| *due <= self.world.now) {
            let (_, packet) = self.flying.pop_front().unwrap();
            let _ = self.world.deliver(&packet);
            self.fetch();
        }
        self.fetch();
    }

    fn fetch(&mut self) {
        let due = self.world.now + self.delay;
        self.flying.extend(self.world.sent().into_iter().map(|packet| (due, packet)));
        self.world.captured.clear();
    }

    /// Both say something.
    fn say(&mut self) {
        self.said += 1;
        let due = self.world.now + self.delay;
        for end in [&mut self.world.a, &mut self.world.b] {
            let from = address(end.byte);
            if let Ok(sealed) = end.seal(&self.said.to_be_bytes().repeat(2), self.world.now) {
                self.flying.push_back((due, OnWire { from, to: sealed.to, datagram: sealed.datagram }));
            }
        }
        self.fetch();
    }

    /// Both say something every 5 ms for `time`.
    pub(super) fn talk(&mut self, time: Duration) {
        let until = self.world.now + time;
        while self.world.now < until {
            self.step(STEP);
            self.say();
        }
    }

    pub(super) fn rest(&mut self, time: Duration) {
        let until = self.world.now + time;
        while self.world.now < until {
            self.step(Duration::from_millis(50));
        }
    }

    fn initiations(&self) -> u64 {
        self.world.a.counters().initiations_sent + self.world.b.counters().initiations_sent
    }

    pub(super) fn assert_all_arrived(&mut self, how: &str) {
        self.rest(Duration::from_secs(1));
        let all: Vec<_> = (1..=self.said).map(|number| number.to_be_bytes().repeat(2)).collect();
        for (name, end) in [("a", &self.world.a), ("b", &self.world.b)] {
            let lost = all.len() - end.got.len();
            assert_eq!(lost, 0, "{name} lost {lost} of {} ({how})", all.len());
            assert_eq!(end.got, all, "{name}: in order, once ({how})");
        }
    }

    fn assert_nothing_refused(&self) {
        for end in [&self.world.a, &self.world.b] {
            assert_eq!(end.counters().drops.total(), 0, "{}: {:?}", end.byte, end.counters());
        }
    }
}

#[test]
fn ends_that_called_at_once_do_not_rekey_at_once_and_lose_nothing_under_way() {
    for delay in [1, 20, 40, 300].map(Duration::from_millis) {
        let mut wire = Delayed::new(delay);
        wire.rest(Duration::from_secs(1));
        assert_eq!(wire.initiations(), 2, "they crossed");
        for round in 1..=3 {
            wire.rest(Duration::from_secs(117));
            wire.talk(Duration::from_secs(5));
            assert_eq!(wire.initiations(), 2 + round, "one end only called, {delay:?}");
        }
        wire.assert_all_arrived(&format!("{delay:?}"));
        wire.assert_nothing_refused();
    }
}

#[test]
fn a_crossing_in_the_middle_of_traffic_loses_nothing_under_way() {
    // Both are told of another suite in the same moment, so both call while the other one's packets are on the way; twice, because
    // the second time each end already has two sessions from the first.
    for delay in [1, 20, 40, 300].map(Duration::from_millis) {
        let mut wire = Delayed::new(delay);
        wire.rest(Duration::from_secs(10));
        for suite in [Suite::Aesgcm, Suite::Chacha, Suite::Aesgcm] {
            wire.talk(Duration::from_secs(2));
            let now = wire.world.now;
            for (end, other) in [(&mut wire.world.a, 2), (&mut wire.world.b, 1)] {
                let keepalive = Some(Duration::from_secs(25));
                end.tunnels.set_peers(vec![PeerConfig { suite, keepalive, ..config(other) }], now);
            }
            wire.talk(Duration::from_secs(2));
        }
        assert_eq!(wire.initiations(), 8, "they crossed every time");
        wire.assert_all_arrived(&format!("{delay:?}"));
        wire.assert_nothing_refused();
    }
}
