//! Steps towards the plan, as they are told, and which of them mean that somebody else has changed what is ours.

use super::events::{Events, Tone};
use crate::node::guard::Guard;
use crate::node::names;
use crate::node::op::Op;

/// The first steps as text, and how many more there are. A packet filter is as long as the guests are many: its beginning is enough.
pub(super) fn brief<'a>(ops: impl ExactSizeIterator<Item = &'a Op>) -> String {
    const MOST: usize = 400;
    let more = ops.len().saturating_sub(3);
    let one = |op: &Op| op.to_string().lines().collect::<Vec<_>>().join("; ").chars().take(MOST).collect();
    let shown: Vec<String> = ops.take(3).map(one).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(" | "))
}

/// Tells of steps that were done though nothing was expected.
pub(super) fn repaired(ops: &[Op], unexpected: bool, events: &Events) {
    let drift: Vec<&Op> = ops.iter().filter(|op| is_drift(op)).collect();
    if unexpected && !drift.is_empty() {
        let text = format!("repaired: {}", brief(drift.into_iter()));
        events.by_others(Tone::Wrong, "drift", "repaired", text);
    }
}

/// False for what follows from a guest that was plugged in or pulled out, or from an interface of others.
fn is_drift(op: &Op) -> bool {
    if let Op::Pin { port, .. } = op {
        names::parse(port.as_str()).is_some()
    } else if let Op::CheckChecksums { again, .. } = op {
        *again
    } else if let Op::ChangeGuard { from, to } = op {
        // An interface of others has come or gone.
        Guard { doors: None, ..from.clone() } != Guard { doors: None, ..to.clone() }
    } else {
        !matches!(op, Op::ChangeFence { .. } | Op::LeaveChecksums { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_of_others_is_no_drift_and_whatever_else_a_filter_changes_is() {
        let guard = |doors: &[&str], shut: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
            Guard { doors: Some(names(doors)), shut: names(shut), ..Guard::default() }
        };
        let change = |from: &Guard, to: Guard| is_drift(&Op::ChangeGuard { from: from.clone(), to });
        let before = guard(&["eth1"], &["tap1"]);
        assert!(!change(&before, guard(&["eth1", "docker0"], &["tap1"])));
        assert!(!change(&before, Guard { doors: None, ..before.clone() }));
        assert!(change(&before, guard(&["eth1"], &[])));
        assert!(change(&before, guard(&["docker0"], &["tap1", "tap2"])));
    }
}
