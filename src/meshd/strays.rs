//! Asks the kernel again and again where plain frames would go: a route may come at any time, and on a host with many of them their
//! notices are no way to hear of one.

use std::time::Duration;

use super::kernel::Kernel;
use super::outways::Asker;
use super::shared::{Shared, Topic};
use crate::clock::mono;
use crate::node::desired::Desired;
use crate::node::strays::{asks, findings};
use crate::node::unwatched::Eye;
use crate::types::Mono;

/// How often; less often where asking takes long.
const EVERY: Duration = Duration::from_secs(5);
/// However long it takes.
const LONGEST: Duration = Duration::from_secs(300);
/// Part of the time that asking may take: half a percent of a core.
const SHARE: u32 = 200;

/// The same where kernel or plan have changed: a twentieth of a core, as for comparing them.
const SOON_SHARE: u32 = 20;

/// When it is due again.
#[derive(Debug, Default)]
pub(super) struct Strays {
    at: Option<Mono>,
    /// The earliest time for asking again, whatever happens.
    soonest: Option<Mono>,
    /// The ways to other ends of tunnels.
    outways: Asker,
}

impl Strays {
    /// As soon as may be: plan or kernel have changed.
    pub(super) fn soon(&mut self) {
        self.at = self.soonest;
    }

    /// Asks where it is due, and tells what is wrong.
    pub(super) fn look<K: Kernel>(&mut self, kernel: &mut K, desired: &Desired, shared: &Shared) {
        self.outways.look(kernel, shared);
        let start = mono();
        if self.at.is_some_and(|at| start < at) {
            return;
        }
        let (asks, pdc) = (asks(desired), shared.view().pdc.clone());
        let found = match kernel.ways(&asks) {
            Ok(ways) => findings(&pdc, desired, &ways),
            Err(error) => return shared.looked(Eye::Routes, Err(error)),
        };
        shared.looked(Eye::Routes, Ok(true));
        shared.find(Topic::Routes, found);
        let now = mono();
        let took = now.since(start);
        self.soonest = Some(now + took.saturating_mul(SOON_SHARE).min(LONGEST));
        self.at = Some(now + EVERY.max(took.saturating_mul(SHARE)).min(LONGEST));
    }
}
