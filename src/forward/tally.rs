//! What was done about sizes, counted by peer and by network.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::types::{Mac, NetSlot, PeerSlot};

/// Counters of one peer or one network, since the lane started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Frames of guests that were larger than the guest MTU, whatever became of them; a UDP super-frame is one. By network only.
    pub oversize: u64,
    /// Frames that were carried in fragments, one count for each peer that they went to.
    pub fragmented: u64,
    /// The fragments that they became.
    pub fragments_sent: u64,
    /// Frames put together from fragments.
    pub reassembled: u64,
    /// Fragments that became no frame: late, contradicting, too many. By peer only.
    pub fragments_refused: u64,
    /// Guests that were told by ICMP that a packet was too big. By network only.
    pub too_big: u64,
    /// Broadcast and multicast frames beyond what the network may send, or a peer in it, in either direction. By network only;
    /// whose they were: [`Tallies::floods`].
    pub flood_limited: u64,
    /// SYNs whose MSS was lowered, in either direction.
    pub mss_clamped: u64,
}

impl Tally {
    /// Adds other counters.
    pub fn merge(&mut self, other: &Self) {
        self.oversize += other.oversize;
        self.fragmented += other.fragmented;
        self.fragments_sent += other.fragments_sent;
        self.reassembled += other.reassembled;
        self.fragments_refused += other.fragments_refused;
        self.too_big += other.too_big;
        self.flood_limited += other.flood_limited;
        self.mss_clamped += other.mss_clamped;
    }
}

/// Who sends more to many than it may in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flooder {
    /// A guest of this node, by its place among those of its network (0 to [`super::PLACES`]).
    Guest(u8),
    /// Guests of a peer.
    Peer(PeerSlot),
}

/// What of it was dropped, for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Frames, since the lane started.
    pub frames: u64,
    /// Whose the last one was.
    pub mac: Mac,
}

impl Lost {
    fn count<K: Ord>(counted: Entry<'_, K, Self>, mac: Mac) {
        let counted = counted.or_insert(Self { frames: 0, mac });
        (counted.frames, counted.mac) = (counted.frames + 1, mac);
    }

    fn add<K: Ord>(counted: Entry<'_, K, Self>, theirs: Self) {
        counted.or_insert(Self { frames: 0, ..theirs }).frames += theirs.frames;
    }
}

/// The counters of all peers and networks of one lane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tallies {
    peers: Vec<Tally>,
    nets: Vec<Tally>,
    floods: BTreeMap<(NetSlot, Flooder), Lost>,
    singles: BTreeMap<(NetSlot, u8), Lost>,
}

impl Tallies {
    /// Counters of a peer.
    pub(super) fn peer(&mut self, peer: PeerSlot) -> &mut Tally {
        slot(&mut self.peers, peer.index())
    }

    /// Counters of a network.
    pub(super) fn net(&mut self, net: NetSlot) -> &mut Tally {
        slot(&mut self.nets, net.index())
    }

    /// Counts the same for a peer and a network.
    pub(super) fn both(&mut self, peer: PeerSlot, net: NetSlot, count: impl Fn(&mut Tally)) {
        count(self.peer(peer));
        count(self.net(net));
    }

    /// Counts a frame to many that was one too many.
    pub(super) fn flood(&mut self, net: NetSlot, by: Flooder, mac: Mac) {
        self.net(net).flood_limited += 1;
        Lost::count(self.floods.entry((net, by)), mac);
    }

    /// Counts a frame of a guest to a group that is for one host by IP, which somebody behind a tunnel may miss. `place`: the guest's among those of its network.
    pub(super) fn single(&mut self, net: NetSlot, place: u8, mac: Mac) {
        Lost::count(self.singles.entry((net, place)), mac);
    }

    /// Who sent more to many than it may, in which network.
    pub fn floods(&self) -> impl Iterator<Item = (NetSlot, Flooder, Lost)> {
        self.floods.iter().map(|((net, by), counted)| (*net, *by, *counted))
    }

    /// Which guests sent to a group what is for one host by IP, by network and place in it.
    pub fn singles(&self) -> impl Iterator<Item = (NetSlot, u8, Lost)> {
        self.singles.iter().map(|((net, place), counted)| (*net, *place, *counted))
    }

    /// Each peer that something was counted for.
    pub fn peers(&self) -> impl Iterator<Item = (PeerSlot, Tally)> {
        nonzero(&self.peers).map(|(index, tally)| (PeerSlot(index), tally))
    }

    /// Each network that something was counted for.
    pub fn nets(&self) -> impl Iterator<Item = (NetSlot, Tally)> {
        nonzero(&self.nets).map(|(index, tally)| (NetSlot(index), tally))
    }

    /// Adds the counters of another lane or direction.
    pub fn merge(&mut self, other: &Self) {
        for (list, theirs) in [(&mut self.peers, &other.peers), (&mut self.nets, &other.nets)] {
            for (index, tally) in theirs.iter().enumerate() {
                slot(list, index).merge(tally);
            }
        }
        for (key, theirs) in &other.floods {
            Lost::add(self.floods.entry(*key), *theirs);
        }
        for (key, theirs) in &other.singles {
            Lost::add(self.singles.entry(*key), *theirs);
        }
    }
}

/// Grows once for each peer or network that is seen for the first time.
fn slot(list: &mut Vec<Tally>, index: usize) -> &mut Tally {
    if list.len() <= index {
        list.resize(index + 1, Tally::default());
    }
    &mut list[index]
}

fn nonzero(list: &[Tally]) -> impl Iterator<Item = (u16, Tally)> {
    (0..=u16::MAX).zip(list.iter().copied()).filter(|(_, tally)| *tally != Tally::default())
}
