//! Which steps depend on which, and what came of those that the kernel has refused.

use std::collections::BTreeSet;

use super::error::KernelError;
use crate::node::names::{self, Device};
use crate::node::op::Op;
use crate::types::IfName;

/// Failures of one [`super::Kernel::apply`].
#[derive(Default)]
pub(super) struct Failures {
    failed: Vec<KernelError>,
    devices: BTreeSet<IfName>,
    skipped: usize,
}

impl Failures {
    /// True where a step depends on one that failed. It is counted.
    pub(super) fn stops(&mut self, op: &Op) -> bool {
        let after = op.device().is_some_and(|device| self.devices.contains(device));
        // It opens UDP ports, and somebody else may listen where a device of ours does not come up.
        let opens = matches!(op, Op::ChangeGuard { .. }) && self.devices.iter().any(is_vxlan);
        let stops = after || opens;
        self.skipped += usize::from(stops);
        stops
    }

    pub(super) fn add(&mut self, op: &Op, error: KernelError) {
        if holds_up(op) {
            self.devices.extend(op.device().cloned());
        }
        self.failed.push(error);
    }

    pub(super) fn result(mut self) -> Result<(), KernelError> {
        match (self.failed.len(), self.skipped) {
            (0, _) => Ok(()),
            (1, 0) => self.failed.pop().map_or(Ok(()), Err),
            _ => Err(KernelError::Steps { failed: self.failed, skipped: self.skipped }),
        }
    }
}

/// True for a step that those behind it on its device need. One row that the kernel refuses must not cost the other rows.
pub(super) const fn holds_up(op: &Op) -> bool {
    !is_entry(op) && !matches!(op, Op::CheckChecksums { .. } | Op::LeaveChecksums { .. })
}

/// True for entries of tables, which do not depend on each other and go in batches.
pub(super) const fn is_entry(op: &Op) -> bool {
    matches!(
        op,
        Op::Pin { .. }
            | Op::Unpin { .. }
            | Op::SetVtep { .. }
            | Op::DeleteVtep { .. }
            | Op::AddFlood { .. }
            | Op::DeleteFlood { .. }
            | Op::SetNeighbour { .. }
            | Op::DeleteNeighbour { .. }
    )
}

fn is_vxlan(device: &IfName) -> bool {
    names::parse(device.as_str()).is_some_and(|(device, ..)| device == Device::Vxlan)
}
