//! The sign of life of a thread that must never stand still: when it has got round its loop last.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::types::Mono;

/// When a thread was alive last.
#[derive(Debug, Default)]
pub(super) struct Beat(Mutex<Option<Mono>>);

impl Beat {
    /// The calling thread is alive.
    pub(super) fn strike(&self, now: Mono) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// True where the last one is longer ago. One that has not begun is not late.
    pub(super) fn is_late(&self, longest: Duration, now: Mono) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| now.since(at) > longest)
    }
}
