//! Whether handshakes come faster than we care to compute them, and what one source may have then.
//!
//! All sources together decide whether we are under load, so a flood from spoofed addresses is seen; the allowance of one
//! source counts only once a cookie has proved its address, so a spoofed flood takes nobody's. Neither alone does both.

use std::time::Duration;

use super::limits::{
    LOAD_INITIATIONS_PER_SECOND, PROVIDER_BURST, PROVIDER_PER_SECOND, SITE_BURST, SITE_PER_SECOND, SOURCE_BURST,
    SOURCE_PER_SECOND, SOURCES,
};
pub(super) use crate::policy::sources::Sources;
use crate::policy::sources::{Rate, Rates};
use crate::types::Mono;

const SECOND: Duration = Duration::from_secs(1);

/// Initiations of the running second, all sources together.
pub(super) struct Load {
    limit: u32,
    since: Mono,
    count: u32,
    until: Option<Mono>,
}

impl Load {
    /// Nothing has come yet.
    pub(super) const fn new(now: Mono) -> Self {
        Self { limit: LOAD_INITIATIONS_PER_SECOND, since: now, count: 0, until: None }
    }

    /// Sets how many initiations a second are too many.
    pub(super) const fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Counts an initiation and says whether we are under load: from the one past the limit on, until a second after the last
    /// such one.
    pub(super) fn count(&mut self, now: Mono) -> bool {
        if now.since(self.since) >= SECOND {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(1);
        if self.count > self.limit {
            self.until = Some(now + SECOND);
        }
        self.until.is_some_and(|until| now < until)
    }
}

/// What a source that has proved its address may have under load.
const RATES: Rates = Rates {
    host: Rate::per_second(SOURCE_PER_SECOND, SOURCE_BURST),
    site: Rate::per_second(SITE_PER_SECOND, SITE_BURST),
    provider: Rate::per_second(PROVIDER_PER_SECOND, PROVIDER_BURST),
    most: SOURCES,
};

/// No source yet.
pub(super) const fn sources(now: Mono) -> Sources {
    Sources::new(RATES, now)
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
