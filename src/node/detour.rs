//! A plain path that is dead, in a PDC that wishes it so (`tunnelWhenDead`): frames of the pair take the tunnel, and the plain path again when it
//! has answered for a while. Never the other way: nothing here makes a tunnel plain, and a pair whose tunnel fails too waits for one of
//! the two.
//!
//! Both ends decide for themselves, because both know (`watch_told`): each pair asks anew when it hears the other ask, so the two see the
//! end of the fault in the same moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::paths::Paths;
use super::watch_told::Seen;
use crate::api::cut::Cut;
use crate::api::local::{Finding, PlainState};
use crate::policy::path::{Outer, Path, Why};
use crate::table::Slice;
use crate::types::{Mono, NodeId, Wall};

/// Code of a pair whose frames take the tunnel.
pub const DETOUR: &str = "M0414";
/// How long a path must be called dead before its frames go by another: a daemon that starts anew is not.
pub const DEAD: Duration = Duration::from_secs(4);
/// How long it must have answered before they come back.
pub const ALIVE: Duration = Duration::from_secs(60);

/// What is known of one pair.
#[derive(Debug, Clone, Copy, Default)]
struct Pair {
    dead: Option<Mono>,
    alive: Option<Mono>,
    /// Frames take the tunnel, since then.
    taken: Option<Wall>,
}

/// Which peers are reached by a tunnel instead of a dead plain path.
#[derive(Debug, Default)]
pub struct Detours(BTreeMap<NodeId, Pair>);

impl Detours {
    /// Looks at what the echoes say; to be called about once a second. True: paths are others from now on.
    pub fn look(&mut self, slice: Option<&Slice>, seen: &[Seen<'_>], now: Mono, wall: Wall) -> bool {
        let wished = slice.and_then(|slice| slice.pdcs.get(&slice.pdc)).is_some_and(|pdc| pdc.tunnel_when_dead);
        let inside = |one: &&Seen<'_>| wished && one.outer == Outer::Admin;
        let mut worst: BTreeMap<&NodeId, (PlainState, bool)> = BTreeMap::new();
        for one in seen.iter().filter(inside) {
            let (state, session) = worst.entry(one.node).or_insert((PlainState::Answers, true));
            *state = one.state(now).min(*state);
            *session &= one.session;
        }
        let before = self.taken();
        self.0.retain(|node, _| worst.contains_key(node));
        for (node, (state, session)) in worst {
            self.0.entry(node.clone()).or_default().look(state, session, now, wall);
        }
        self.taken() != before
    }

    /// The paths with these detours in them.
    #[must_use]
    pub fn apply(&self, slice: &Slice, mut paths: Paths) -> Paths {
        let taken = self.taken();
        take(slice, &mut paths, &taken);
        paths
    }

    /// For as long as one stands.
    pub fn findings(&self) -> Vec<Finding> {
        let taken = self.0.iter().filter_map(|(node, pair)| Some((node, pair.taken?)));
        let finding = |(node, since): (&NodeId, Wall)| {
            Finding::new(
                DETOUR,
                format!(
                    "the plain path to {node} is dead; since {since} its frames take the tunnel, as its PDC wishes, and the plain path again when \
                     it has answered for {} s",
                    ALIVE.as_secs()
                ),
                format!("repair the plain path: meshctl status, meshctl tunnel list | grep {node}"),
            )
            .cuts(Cut::peers(false, Path::Plain, [node]))
        };
        taken.map(finding).collect()
    }

    fn taken(&self) -> BTreeSet<NodeId> {
        self.0.iter().filter(|(_, pair)| pair.taken.is_some()).map(|(node, _)| node.clone()).collect()
    }
}

/// Sends frames to these peers by the tunnel, where they would be plain inside the PDC.
pub fn take(slice: &Slice, paths: &mut Paths, taken: &BTreeSet<NodeId>) {
    let inside = |node: &NodeId| taken.contains(node) && slice.peers.get(node).is_some_and(|p| p.pdc == slice.pdc);
    for (_, verdict) in paths.values_mut().flatten().filter(|(node, _)| inside(node)) {
        if verdict.path == Path::Plain && verdict.outer == Outer::Admin {
            (verdict.path, verdict.why) = (Path::Tunnel, Why::PlainIsDead(slice.pdc.clone()));
        }
    }
}

/// The peers that a node says it reaches so.
pub fn told(findings: &[Finding]) -> BTreeSet<NodeId> {
    let cuts = findings.iter().filter(|finding| finding.code == DETOUR).filter_map(|finding| finding.cut.as_ref());
    cuts.flat_map(|cut| cut.peers.iter().cloned()).collect()
}

impl Pair {
    fn look(&mut self, state: PlainState, session: bool, now: Mono, wall: Wall) {
        let (dead, alive) = match state {
            PlainState::BothLost | PlainState::OutLost | PlainState::InLost => (true, false),
            PlainState::Answers | PlainState::Small | PlainState::Legs => (false, true),
            // Of whom nothing is heard nothing is known: the kernel may carry, and a tunnel to it would be as dead.
            PlainState::Silent | PlainState::Quiet | PlainState::Starting => (false, false),
        };
        let since = |since: Option<Mono>, holds: bool| if holds { since.or(Some(now)) } else { None };
        (self.dead, self.alive) = (since(self.dead, dead), since(self.alive, alive));
        let stood = |since: Option<Mono>, long| since.is_some_and(|since| now.since(since) >= long);
        if self.taken.is_none() && session && stood(self.dead, DEAD) {
            self.taken = Some(wall);
        } else if stood(self.alive, ALIVE) {
            self.taken = None;
        }
    }
}

#[cfg(test)]
#[path = "detour_tests.rs"]
mod tests;
