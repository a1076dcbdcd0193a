//! How much of what others send is kept: the one place for these numbers. Each is a bound of memory or disk, by count and with it
//! by bytes, and where many share one room, [`fits`] leaves everybody a part that nobody else can use up.

use crate::policy::quiet::Patience;
use crate::policy::sources::{Rate, Rates};

/// Log lines that strangers cause.
pub const LOGGED: Patience = Patience {
    sources: Rates { host: Rate::one_in(10, 8), site: Rate::one_in(5, 16), provider: Rate::one_in(2, 24), most: 1024 },
    all: Rate::per_second(1, 64),
};
/// Entries of the audit log that strangers cause.
pub const NOTED: Patience = Patience {
    sources: Rates {
        host: Rate::one_in(30, 40),
        site: Rate::one_in(15, 48),
        provider: Rate::one_in(10, 56),
        most: 1024,
    },
    all: Rate::one_in(2, 64),
};
/// Log lines, and entries of the audit log about what is refused, that one member causes.
pub const OF_MEMBER: Rate = Rate::one_in(10, 16);
/// What one member may ask that is written down or sent whole: reports with more than an acknowledgement, renewals, streams.
pub const ASKED_BY_MEMBER: Rate = Rate::per_second(2, 32);

/// Lanes of a node.
pub const LANES: u8 = 64;
/// Bytes of the version that a node says it runs.
pub const VERSION_BYTES: usize = 64;

/// Bytes of a node's report.
pub const REPORT_BYTES: usize = 4 << 20;
/// Found ports of one report that are looked at; what is beyond them is as if it were not there.
pub const CLAIMS: usize = 4096;
/// Found ports of one node that are believed, in all its networks.
pub const FOUND_OF_NODE: usize = 1024;
/// Found ports of one node in one network that no other node can take the room of.
pub const FOUND_ALWAYS: usize = 64;
/// Found ports of one network, of all its nodes, that are believed beyond [`FOUND_ALWAYS`] each.
pub const FOUND_OF_NETWORK: usize = 8192;
/// Addresses of one found port that are kept.
pub const FOUND_ADDRESSES: usize = 16;

/// Refused claims of one node that are remembered, so that they count when another lets go.
pub const WAITING_OF_NODE: usize = 512;
/// Refused claims of one node whose room no other node can take.
pub const WAITING_ALWAYS: usize = 32;
/// Refused claims of all nodes that are remembered beyond [`WAITING_ALWAYS`] each.
pub const WAITING: usize = 16_384;

/// Findings of one node that are kept.
pub const FINDINGS_OF_NODE: usize = 16;
/// Lines that the status of the mesh has for what nodes find.
pub const FINDINGS: usize = 64;

/// Bytes of the hash by which a node names what it has; a longer one names nothing.
pub const HASH_BYTES: usize = 64;

/// Names of nodes that a network may list.
pub const NODES_NAMED: usize = 4096;

/// Does one more fit? `mine` of this one and `all` of everybody are there already: everybody has `always`, and up to `most` as
/// long as there are fewer than `room` in all.
pub const fn fits(mine: usize, all: usize, always: usize, most: usize, room: usize) -> bool {
    mine < always || (mine < most && all < room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_uses_up_what_is_everybodys() {
        let (always, most, room) = (4, 10, 25);
        let mut taken = [0_usize; 8];
        for who in 0..taken.len() {
            while fits(taken[who], taken.iter().sum(), always, most, room) {
                taken[who] += 1;
            }
        }
        assert_eq!(taken, [10, 10, 5, 4, 4, 4, 4, 4], "who comes late still has its part");
    }
}
