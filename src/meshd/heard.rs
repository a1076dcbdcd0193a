//! Which guests of networks with `learning: local` were heard, over restarts: file `guests` in the run folder, which ends with the machine's
//! start as interfaces do. Without it a restart of the daemon would take silent guests from the table. What cannot be read does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::plugs::this_start;
use crate::api::stream::FoundPort;
use crate::linux::file;
use crate::node::discover::Guest;
use crate::node::silent::{Kept, Silent};
use crate::table::{NetKey, Slice};
use crate::types::{IfName, Mono};

/// File in the run folder.
pub(super) const GUESTS: &str = "guests";
/// How soon it is written again where nobody came or went: how long ago each was heard is no exact matter.
const AGAIN: Duration = Duration::from_hours(1);

/// What is remembered, and where it is written.
#[derive(Debug, Default)]
pub(super) struct Heard {
    path: PathBuf,
    silent: Silent,
    /// Who was written last, behind which interface, and when.
    written: BTreeSet<(Guest, IfName)>,
    at: Option<Mono>,
}

impl Heard {
    /// What is on disk.
    pub(super) fn read(run: &Path) -> Self {
        let path = run.join(GUESTS);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let (start, lines) = text.split_once('\n').unwrap_or_default();
        let known: Vec<Kept> =
            if start == this_start() { serde_json::from_str(lines).unwrap_or_default() } else { Vec::new() };
        let mut heard = Self { path, silent: Silent::with(known), ..Self::default() };
        heard.written = heard.guests();
        heard
    }

    /// Who is known, and behind which interface.
    fn guests(&self) -> BTreeSet<(Guest, IfName)> {
        let guest = |kept: &Kept| ((kept.port.network.clone(), kept.port.mac), kept.interface.clone());
        self.silent.all().map(guest).collect()
    }

    /// Adds the guests that bridges have forgotten ([`Silent::add`]), and remembers all of them.
    pub(super) fn add(
        &mut self,
        found: &mut BTreeMap<FoundPort, IfName>,
        slice: &Slice,
        places: &BTreeMap<IfName, NetKey>,
        now: Mono,
    ) {
        self.silent.add(found, slice, places, now);
        self.write(now);
    }

    /// Notes a guest that is here although its bridge has not learned it.
    pub(super) fn note(&mut self, port: &FoundPort, interface: &IfName, now: Mono) {
        self.silent.note(port, interface, now);
        self.write(now);
    }

    /// Forgets a guest that has gone.
    pub(super) fn forget(&mut self, guest: &Guest, now: Mono) {
        self.silent.forget(guest);
        self.write(now);
    }

    fn write(&mut self, now: Mono) {
        let all = self.guests();
        if all == self.written && (all.is_empty() || self.at.is_some_and(|at| now.since(at) < AGAIN)) {
            return;
        }
        let json = serde_json::to_string(&self.silent.all().collect::<Vec<_>>()).unwrap_or_default();
        // What was not written is written with the next look, which says so again: seldom enough for a log.
        match file::write(&self.path, format!("{}\n{json}", this_start()).as_bytes(), 0o600) {
            Ok(()) => (self.written, self.at) = (all, Some(now)),
            Err(error) => tracing::warn!("{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest() -> (FoundPort, IfName) {
        let mac = "02:00:00:00:00:03".parse().unwrap();
        let port = FoundPort { network: "default/10".parse().unwrap(), mac, ips: BTreeSet::new() };
        (port, "tap1".parse().unwrap())
    }

    #[test]
    fn a_silent_guest_is_known_after_a_restart_for_the_rest_of_its_day() {
        let folder = tempfile::tempdir().unwrap();
        let slice = crate::node::plan::tests::slice("suppress", serde_json::json!({}));
        let places = [(guest().1, guest().0.network)].into();
        let at = |hours: u64| Mono::from_nanos(hours * 3_600_000_000_000);
        Heard::read(folder.path()).add(&mut [guest()].into(), &slice, &places, at(1));
        for (hour, count) in [(2, 1), (24, 1), (25, 0)] {
            let (mut heard, mut found) = (Heard::read(folder.path()), BTreeMap::new());
            heard.silent.add(&mut found, &slice, &places, at(hour));
            assert_eq!(found.len(), count, "{hour}");
        }
        let mut heard = Heard::read(folder.path());
        heard.forget(&(guest().0.network, guest().0.mac), at(2));
        assert_eq!(Heard::read(folder.path()).silent.all().count(), 0);
        std::fs::write(folder.path().join(GUESTS), "another start\n[]").unwrap();
        assert_eq!(Heard::read(folder.path()).silent.all().count(), 0);
    }
}
