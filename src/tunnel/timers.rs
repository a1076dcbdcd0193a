//! The timers of a peer (whitepaper 6): plain deadlines, set and cleared by what happens.

use std::time::Duration;

use super::limits::{KEEPALIVE_TIMEOUT, SILENCE_TIMEOUT, WIPE_AFTER_TIME};
use crate::types::Mono;

/// A deadline that never comes, so that the nearest one is a minimum without branches.
pub(super) const NEVER: Mono = Mono::from_nanos(u64::MAX);

/// Deadlines of one peer; [`NEVER`] where not set.
pub(super) struct Timers {
    /// We received data and sent nothing since.
    pub(super) keepalive: Mono,
    /// More data came while that ran: when it fires it starts again.
    another_keepalive: bool,
    /// We sent data and received nothing since.
    pub(super) silence: Mono,
    /// Nothing was sent or received for the interval of the persistent keepalive.
    pub(super) persistent: Mono,
    interval: Option<Duration>,
    /// The next initiation.
    pub(super) initiate: Mono,
    /// The keys become too old to keep.
    pub(super) wipe: Mono,
    /// Added to what both ends would otherwise do at the same moment.
    pub(super) jitter: Duration,
}

impl Timers {
    /// Nothing is due. `interval` is the persistent keepalive's.
    pub(super) const fn new(interval: Option<Duration>) -> Self {
        Self {
            keepalive: NEVER,
            another_keepalive: false,
            silence: NEVER,
            persistent: NEVER,
            interval,
            initiate: NEVER,
            wipe: NEVER,
            jitter: Duration::ZERO,
        }
    }

    /// The nearest deadline.
    pub(super) fn next(&self) -> Mono {
        self.keepalive.min(self.silence).min(self.persistent).min(self.initiate).min(self.wipe)
    }

    /// Data, not a keepalive, was sent.
    pub(super) fn data_sent(&mut self, now: Mono) {
        if self.silence == NEVER {
            self.silence = now + SILENCE_TIMEOUT + self.jitter;
        }
    }

    /// Data, not a keepalive, was received.
    pub(super) fn data_received(&mut self, now: Mono) {
        if self.keepalive == NEVER {
            self.keepalive = now + KEEPALIVE_TIMEOUT;
        } else {
            self.another_keepalive = true;
        }
    }

    /// Anything authenticated was sent: data, keepalive or handshake.
    pub(super) fn sent(&mut self, now: Mono) {
        self.keepalive = NEVER;
        self.another_keepalive = false;
        self.passed(now);
    }

    /// Anything authentic was received: data, keepalive or handshake.
    pub(super) fn received(&mut self, now: Mono) {
        self.silence = NEVER;
        self.passed(now);
    }

    fn passed(&mut self, now: Mono) {
        self.persistent = self.interval.map_or(NEVER, |interval| now + interval);
    }

    /// The keepalive is due: clears it, and gives the deadline of the next one.
    pub(super) fn keepalive_fired(&mut self, now: Mono) -> Mono {
        self.keepalive = NEVER;
        if std::mem::take(&mut self.another_keepalive) { now + KEEPALIVE_TIMEOUT } else { NEVER }
    }

    /// New keys came about.
    pub(super) fn keys_made(&mut self, now: Mono) {
        self.wipe = now + WIPE_AFTER_TIME;
    }

    /// New keys may come about: what is there meanwhile is not kept for ever, nor what was there before for longer.
    pub(super) fn keys_may_be(&mut self, now: Mono) {
        self.wipe = self.wipe.min(now + WIPE_AFTER_TIME);
    }

    /// Changes the persistent keepalive.
    pub(super) fn set_interval(&mut self, interval: Option<Duration>, now: Mono) {
        if self.interval != interval {
            self.interval = interval;
            self.passed(now);
        }
    }

    /// Nothing is due any more.
    pub(super) const fn clear(&mut self) {
        let (interval, jitter) = (self.interval, self.jitter);
        *self = Self::new(interval);
        self.jitter = jitter;
    }
}
