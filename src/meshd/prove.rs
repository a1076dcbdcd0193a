//! The keys with which the link proves what it reports. The keyring owns them and lends them here whenever they change.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api::proof::{Challenge, Proof};
use crate::api::stream::Report;
use crate::mgmt::possession::{self, Claim, Statement};
use crate::tunnel::public_key;
use crate::types::{NodeId, PublicKey, SecretKey};

/// The node's WireGuard keys, the one in force first.
#[derive(Default)]
pub struct Provers(Mutex<Vec<(PublicKey, SecretKey)>>);

impl Provers {
    fn lock(&self) -> MutexGuard<'_, Vec<(PublicKey, SecretKey)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These and no others from now on.
    pub fn set<'a>(&self, keys: impl Iterator<Item = &'a SecretKey>) {
        *self.lock() = keys.map(|key| (public_key(key), key.clone())).collect();
    }

    /// The proofs that a report needs: with each key that may be the one in force there, since a switch may be on its way here.
    pub fn of(&self, report: &Report, node: &NodeId, tls_key: &str, challenge: &Challenge) -> Vec<Proof> {
        let keys = self.lock();
        let mut proofs = Vec::new();
        let mut prove = |by: &SecretKey, claim: Claim<'_>| {
            proofs.extend(possession::prove(by, challenge, Statement { node, tls_key, claim }));
        };
        if let Some(facts) = &report.facts {
            keys.iter().for_each(|(_, key)| prove(key, Claim::Facts(facts)));
        }
        if let Some(findings) = &report.findings {
            keys.iter().for_each(|(_, key)| prove(key, Claim::Findings(findings)));
        }
        let (old, new) = (keys.first(), keys.get(1));
        if let (Some(next), Some((old, by_old)), Some((new, by_new))) = (report.next_key, old, new)
            && next == *new
        {
            [by_old, by_new].into_iter().for_each(|key| prove(key, Claim::Change { old, new }));
        }
        if let Some((_, key)) = keys.iter().find(|(public, _)| report.key_in_use == Some(*public)) {
            prove(key, Claim::InUse);
        }
        // Last: a management node of a version that asks no proof of these looks at fewer proofs.
        if let Some(paths) = &report.paths {
            keys.iter().for_each(|(_, key)| prove(key, Claim::Paths(paths)));
        }
        if let Some(ports) = &report.ports {
            keys.iter().for_each(|(_, key)| prove(key, Claim::Ports(ports)));
        }
        if report.leaving {
            keys.iter().for_each(|(_, key)| prove(key, Claim::Leaving));
        }
        proofs
    }
}

/// True where a report says what needs a proof.
pub(super) const fn needed(report: &Report) -> bool {
    report.facts.is_some()
        || report.findings.is_some()
        || report.paths.is_some()
        || report.ports.is_some()
        || report.next_key.is_some()
        || report.key_in_use.is_some()
        || report.leaving
}

impl std::fmt::Debug for Provers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.lock().iter().map(|(public, _)| *public)).finish()
    }
}
