//! What others of this host may do to frames, looked at together: their routes, their packet filters, and what they attach to interfaces.

use super::attached::Attachments;
use super::barriers::Barriers;
use super::kernel::Kernel;
use super::shared::Shared;
use super::strays::Strays;
use crate::node::desired::{Desired, Observed};

/// What was looked at last, of each.
#[derive(Debug, Default)]
pub(super) struct Others {
    strays: Strays,
    barriers: Barriers,
    attachments: Attachments,
}

impl Others {
    /// Something has changed that routes may hang on: they are asked soon.
    pub(super) fn soon(&mut self) {
        self.strays.soon();
    }

    /// Remembers which interfaces stand in bridges of guests.
    pub(super) fn seen(&mut self, desired: &Desired, observed: &Observed) {
        self.barriers.seen(desired, observed);
    }

    /// Looks at each that is due, and tells what is wrong.
    pub(super) fn look<K: Kernel>(&mut self, kernel: &mut K, desired: &Desired, shared: &Shared) {
        self.strays.look(kernel, desired, shared);
        self.barriers.look(kernel, self.attachments.shown(), shared);
        self.attachments.look(kernel, self.barriers.ports(), shared);
    }
}
