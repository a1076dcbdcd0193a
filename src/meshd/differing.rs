//! Where this node and management decide differently about a path. Right after a change one of the two knows of it first; what lasts is told.

use std::time::Duration;

use super::shared::{Shared, Topic};
use crate::api::local::Finding;
use crate::types::Mono;

/// How long the two may decide differently before it is told.
const DIFFERS: Duration = Duration::from_secs(5);

/// What differs, and since when something does.
#[derive(Debug, Default)]
pub(super) struct Differing(Vec<Finding>, Mono);

impl Differing {
    /// Takes what differs now, and tells what has lasted.
    pub(super) fn set(&mut self, differing: Vec<Finding>, shared: &Shared, now: Mono) {
        if self.0.is_empty() || differing.is_empty() {
            self.1 = now;
        }
        self.0 = differing;
        self.tell(shared, now);
    }

    /// Tells what has lasted.
    pub(super) fn tell(&self, shared: &Shared, now: Mono) {
        let lasts = now.since(self.1) >= DIFFERS;
        shared.find(Topic::Differ, if lasts { self.0.clone() } else { Vec::new() });
    }
}
