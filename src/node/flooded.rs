//! Networks whose guests send more to many than they may over tunnels: told while frames are dropped for it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::local::Finding;
use crate::table::NetKey;
use crate::types::{Mono, NetworkId};

/// How long it is told after the last frame.
const QUIET: Duration = Duration::from_secs(15);

/// What is counted of one network.
#[derive(Debug, Clone)]
pub struct Limited<'a> {
    /// Which.
    pub key: &'a NetKey,
    /// Its name.
    pub name: &'a NetworkId,
    /// Frames that were dropped, since the lanes started.
    pub frames: u64,
}

/// What was counted before, and when it last grew.
#[derive(Debug, Default)]
pub struct Flooded(BTreeMap<NetKey, (u64, Option<Mono>)>);

impl Flooded {
    /// Compares with what was counted before. Lanes that start anew count anew.
    pub fn look<'a>(&mut self, all: impl IntoIterator<Item = Limited<'a>>, now: Mono) -> Vec<Finding> {
        let (mut findings, mut seen) = (Vec::new(), BTreeMap::new());
        for limited in all {
            let (before, last) = self.0.get(limited.key).copied().unwrap_or((limited.frames, None));
            let last = if limited.frames > before { Some(now) } else { last };
            findings.extend(last.filter(|last| now.since(*last) < QUIET).map(|_| finding(limited.name)));
            seen.insert(limited.key.clone(), (limited.frames, last));
        }
        self.0 = seen;
        findings
    }
}

fn finding(name: &NetworkId) -> Finding {
    let what = format!(
        "network {name}: its guests together send more broadcast and multicast frames a second than it may over tunnels; the rest is dropped (flood-limited)"
    );
    Finding::new(
        "M0683",
        what,
        format!(
            "let it: meshctl network set {name} --group-rate N; who sends them: nft list set bridge vxmesh_guests by_flood, on \
             each node whose guests may"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_while_frames_are_dropped_and_a_little_longer() {
        let (key, name): (NetKey, NetworkId) = ("default/10".parse().unwrap(), "blue".parse().unwrap());
        let mut flooded = Flooded::default();
        let mut look = |secs: u64, frames| {
            let now = Mono::from_nanos(secs * 1_000_000_000);
            flooded.look([Limited { key: &key, name: &name, frames }], now).len()
        };
        assert_eq!(look(0, 70), 0, "what was before is not of now");
        assert_eq!((look(1, 71), look(2, 71), look(15, 71)), (1, 1, 1));
        assert_eq!(look(16, 71), 0, "over");
        assert_eq!((look(17, 0), look(18, 1)), (0, 1), "lanes that started anew");
    }
}
