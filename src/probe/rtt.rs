//! How long to wait for an answer (RFC 6298). Each probe has a token of its own, so no answer is ambiguous.

use std::time::Duration;

/// Wait before the first sample (RFC 6298 section 2).
const FIRST: Duration = Duration::from_secs(1);
/// Least wait: a thread that is not scheduled for a moment is no loss.
const LEAST: Duration = Duration::from_millis(200);
/// Longest wait.
const MOST: Duration = Duration::from_secs(3);
/// Least allowance for jitter.
const JITTER: Duration = Duration::from_millis(30);

/// Smoothed round-trip time and its variation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rtt(Option<(Duration, Duration)>);

impl Rtt {
    /// An answer came after `rtt`.
    pub(super) fn sample(&mut self, rtt: Duration) {
        self.0 = Some(match self.0 {
            None => (rtt, rtt / 2),
            Some((smooth, variation)) => {
                (smooth - smooth / 8 + rtt / 8, variation - variation / 4 + smooth.abs_diff(rtt) / 4)
            }
        });
    }

    /// After which a probe counts as lost.
    pub(super) fn timeout(&self) -> Duration {
        self.0.map_or(FIRST, |(smooth, variation)| (smooth + (variation * 4).max(JITTER)).clamp(LEAST, MOST))
    }
}
