//! What the server gave up less of than it should have: said for as long as it runs, in the log and in the status of the mesh.

use std::sync::{Mutex, PoisonError};

use crate::api::local::Finding;

/// Why the server is less confined than it should be; empty where it is as it should be.
#[derive(Debug, Default)]
pub(super) struct Loose(Mutex<Vec<String>>);

impl Loose {
    /// One more reason.
    pub(super) fn say(&self, why: String) {
        tracing::warn!("meshmgr is less confined than it should be: {why}");
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(why);
    }

    /// What the status of the mesh says of it.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let finding = |why: &String| {
            let what = format!("meshmgr is less confined than it should be: {why}");
            let help = "on the management node: systemctl cat meshmgr: its SystemCallFilter needs seccomp and landlock_* (examples/systemd); then systemctl restart meshmgr";
            Finding::new("M0699", what, help)
        };
        all.iter().map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_a_finding_and_no_reason_is_none() {
        let loose = Loose::default();
        assert!(loose.findings().is_empty());
        loose.say("it may open all files of its user: EPERM".to_owned());
        loose.say("it may make any system call".to_owned());
        let said = loose.findings();
        assert!(said.iter().all(|finding| finding.code == "M0699") && said.len() == 2, "{said:?}");
        assert!(said[0].what.contains("all files of its user") && said[1].what.contains("any system call"));
    }
}
