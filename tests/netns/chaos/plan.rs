//! What happens in a run, decided before it begins: a pure function of the seed and the length.
//!
//! Each incident has an end. What two incidents would both change is locked by the first until its end, so that each can be
//! undone without asking what the other did, and after the last step everything is as it was before the first.

use std::collections::BTreeMap;
use std::fmt;

use super::incidents::{Incident, LONGEST_OUTAGE, Lock, draw};
use super::lies::lies;

/// Nodes of the lab: three in each of two PDCs.
pub(super) const NODES: usize = 6;
/// Nodes of one PDC.
pub(super) const NODES_OF_PDC: usize = 3;
/// The wire between PDCs; those before it are the admin wires of the PDCs.
pub(super) const INTERNET: usize = 2;

/// A step and when it is due, in milliseconds since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) at: u64,
    /// True for the end of an incident: it must succeed.
    pub(super) undo: bool,
    pub(super) act: Act,
}

/// One of the two networks that have the same MACs and addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Net {
    Blue,
    Red,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Admin,
    Internet,
}

/// A device that `meshd` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    Bridge,
    Vxlan,
    Tap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attack {
    /// VXLAN to VTEPs from sources, with TTLs, by interfaces, for addresses and VNIs that must not pass.
    Vxlan,
    /// Noise to the UDP ports of tunnels and VXLAN, some of it shaped like messages.
    Garbage,
    /// Tunnel datagrams that were heard on the wire, again.
    Replay,
    /// Noise to the management server's TCP port.
    Management,
}

/// One thing that is done. Nodes and wires are numbers, so a plan needs no lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Kill {
        node: usize,
    },
    Stop {
        node: usize,
    },
    Start {
        node: usize,
    },
    KillManagement,
    StartManagement,
    /// The far end of a node's cable: its own interface loses the carrier.
    Cable {
        node: usize,
        side: Side,
        up: bool,
    },
    Interface {
        node: usize,
        side: Side,
        up: bool,
    },
    Wire {
        wire: usize,
        up: bool,
    },
    /// Percent of the frames of a wire that are lost.
    Loss {
        wire: usize,
        percent: u8,
    },
    /// MTU of a node's internet interface.
    Mtu {
        node: usize,
        bytes: u16,
    },
    /// MTU of the far end of that cable: what is larger disappears without a word.
    Narrow {
        node: usize,
        bytes: u16,
    },
    /// `nft flush ruleset`.
    Flush {
        node: usize,
    },
    Delete {
        node: usize,
        made: Made,
        net: Net,
    },
    Unplug {
        node: usize,
        made: Made,
        net: Net,
    },
    /// All entries of a device that the table has put there.
    Forget {
        node: usize,
        made: Made,
        net: Net,
    },
    /// A more specific route: another node's admin address by the internet interface.
    Detour {
        node: usize,
        to: usize,
        on: bool,
    },
    Network {
        number: u16,
        on: [usize; 2],
        present: bool,
    },
    Port {
        node: usize,
        net: Net,
        present: bool,
    },
    /// A guest changes its node, in the table and in fact. Back home where `to` is where it is declared.
    Move {
        node: usize,
        net: Net,
        to: usize,
    },
    /// A node is removed, or joins anew with new keys.
    Member {
        node: usize,
        present: bool,
    },
    Intra {
        pdc: usize,
        encrypted: bool,
    },
    /// A path policy `encrypt` or `forbid` for two nodes.
    Policy {
        number: u16,
        between: [usize; 2],
        forbid: bool,
        present: bool,
    },
    Flood {
        net: Net,
        replicate: bool,
    },
    GuestMtu {
        net: Net,
        bytes: Option<u16>,
    },
    Token {
        pdc: usize,
    },
    /// Wall clock of a node, or of management (none), seconds off the truth.
    Clock {
        node: Option<usize>,
        seconds: i64,
    },
    /// A machine that slept: all its clocks but the monotonic one go on by this.
    Sleep {
        node: usize,
        seconds: u32,
    },
    Attack {
        kind: Attack,
        wire: usize,
        target: usize,
        seed: u64,
    },
    /// A guest sends as other guests.
    Spoof {
        node: usize,
        net: Net,
        seed: u64,
    },
    /// A guest sends what no guest may send: see [`super::lies`].
    Lie {
        node: usize,
        net: Net,
        seed: u64,
    },
}

impl Act {
    /// True where the management server must answer for it.
    fn needs_management(self) -> bool {
        use Act::{Flood, GuestMtu, Intra, Member, Move, Network, Policy, Port, Token};
        matches!(
            self,
            Network { .. }
                | Port { .. }
                | Move { .. }
                | Member { .. }
                | Intra { .. }
                | Policy { .. }
                | Flood { .. }
                | GuestMtu { .. }
                | Token { .. }
        )
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Numbers out of a seed (splitmix64, by Steele, Lea and Flood): the same on every machine and with every compiler.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` up to but not including `high`.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.roll() % (high - low)
    }

    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.range(0, u64::try_from(count).unwrap())).unwrap()
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.index(of.len())]
    }

    pub(super) fn two_nodes(&mut self) -> [usize; 2] {
        let first = self.index(NODES);
        [first, (first + 1 + self.index(NODES - 1)) % NODES]
    }

    pub(super) fn net(&mut self) -> Net {
        self.pick(&[Net::Blue, Net::Red])
    }

    pub(super) fn side(&mut self) -> Side {
        self.pick(&[Side::Admin, Side::Internet])
    }
}

/// The steps of a run.
pub(super) fn plan(seed: u64, seconds: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let (end, mut at, mut number) = (seconds * 1000, 300, 0);
    let mut busy: BTreeMap<Lock, u64> = BTreeMap::new();
    let mut steps = Vec::new();
    while at < end {
        number += 1;
        let Incident { act, undo, locks } = draw(&mut dice, number);
        if locks.iter().any(|lock| busy.get(lock).is_some_and(|until| *until > at)) {
            continue;
        }
        let ends = undo.map_or(at, |(after, _)| (at + after).min(end));
        steps.push(Step { at, undo: false, act });
        steps.extend(undo.map(|(_, act)| Step { at: ends, undo: true, act }));
        let until = ends + 1 + if act.needs_management() { LONGEST_OUTAGE } else { 0 };
        busy.extend(locks.into_iter().map(|lock| (lock, until)));
        at += dice.range(200, 1300);
    }
    wait_for_management(&mut steps);
    steps.extend(lies(seed, seconds, &steps));
    steps.sort_by_key(|step| step.at);
    steps
}

/// What needs the management server while it is away, or has another time than everybody else, is done when it is back.
fn wait_for_management(steps: &mut [Step]) {
    let mut outages = Vec::new();
    let mut since = None;
    let mut ordered: Vec<&Step> = steps.iter().collect();
    ordered.sort_by_key(|step| step.at);
    for step in ordered {
        match step.act {
            Act::KillManagement | Act::Clock { node: None, .. } if !step.undo => since = Some(step.at),
            Act::StartManagement | Act::Clock { node: None, .. } => {
                outages.extend(since.take().map(|since| (since, step.at)));
            }
            _ => {}
        }
    }
    for step in steps.iter_mut().filter(|step| step.act.needs_management()) {
        while let Some((_, back)) = outages.iter().find(|(from, to)| (*from..=*to).contains(&step.at)) {
            step.at = back + 1;
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
