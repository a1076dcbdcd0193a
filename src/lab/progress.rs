//! What the user sees while a lab works, and how the user stops it.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::LabError;
use crate::clock;
use crate::types::Mono;

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The progress of one command: one line a step on stderr, with the seconds since the start.
#[derive(Debug, Clone)]
pub struct Progress {
    started: Mono,
    quiet: bool,
    stop: Arc<AtomicBool>,
}

impl Progress {
    /// Starts counting. `quiet` says nothing.
    pub fn new(quiet: bool) -> Self {
        Self { started: clock::mono(), quiet, stop: Arc::new(AtomicBool::new(false)) }
    }

    /// Setting this makes the next step end with [`LabError::Interrupted`].
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Tells one step.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            let seconds = clock::mono().since(self.started).as_secs_f64();
            // A closed stderr is no reason to stop.
            let _ = writeln!(std::io::stderr(), "[{seconds:5.1} s] {}", text.as_ref());
        }
    }

    /// Seconds since the start.
    pub fn elapsed(&self) -> Duration {
        clock::mono().since(self.started)
    }

    /// # Errors
    /// [`LabError::Interrupted`] once the user asked to stop.
    pub fn go_on(&self) -> Result<(), LabError> {
        if self.stop.load(Ordering::Relaxed) { Err(LabError::Interrupted) } else { Ok(()) }
    }

    /// Looks again and again until `look` has an answer; its `Err` is what was seen instead.
    ///
    /// # Errors
    /// [`LabError::Timeout`] with what was seen last; [`LabError::Interrupted`].
    pub fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        mut look: impl FnMut() -> Result<T, String>,
    ) -> Result<T, LabError> {
        let end = clock::mono() + limit;
        loop {
            self.go_on()?;
            let last = match look() {
                Ok(answer) => return Ok(answer),
                Err(seen) => seen,
            };
            if clock::mono() >= end {
                return Err(LabError::Timeout { what: what.to_owned(), seconds: limit.as_secs(), last });
            }
            std::thread::sleep(LOOK);
        }
    }
}
