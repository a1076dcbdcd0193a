//! A node with networks, guests and peers of every kind, made once: no input changes the table.

use std::cell::RefCell;

use vxmesh::forward::{
    Arrived, Buf, Egress, EgressOut, Frame, Ingress, IngressOut, PathSizes, Payload, Pool, Sizing, Slots, Table,
};
use vxmesh::node::paths::{Own, decide_all};
use vxmesh::table::Slice;
use vxmesh::types::{Mono, PeerSlot};

/// Peers, and the places of their counters.
pub const PEERS: usize = 5;

/// Node `a-1` of PDC `a`: `a-2` is reached in clear, `b-1` and `b-2` by tunnels, `c-1` is forbidden, `f-1` is a foreign node.
const SLICE: &str = include_str!("slice.json");

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

/// A lane's worth of forwarding, without the lane.
pub struct World {
    pub table: Table,
    pool: Pool,
    paths: PathSizes,
    now: Mono,
}

impl World {
    fn new() -> Self {
        let slice: Slice = serde_json::from_str(SLICE).expect("slice.json is a slice");
        let mut slots = Slots::default();
        slots.assign(&slice).expect("there are few");
        let own = Own { admin: "10.0.0.1".parse().ok(), external: "198.51.100.1".parse().ok() };
        let table = Table::build(&slice, &decide_all(&slice, own), &slots, Sizing::default());
        Self { table, pool: Pool::default(), paths: PathSizes::default(), now: Mono::from_nanos(1_000_000_000) }
    }

    /// With the world of this thread.
    pub fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        WORLD.with_borrow_mut(work)
    }

    /// What a lane that has just started makes of frames, where a path carries `size` bytes of payload; 0: it is not known.
    pub fn out(&mut self, size: u16, frames: &mut Vec<Frame>) -> EgressOut {
        for peer in (0..).take(PEERS) {
            self.paths.set(PeerSlot(peer), size);
        }
        let mut out = EgressOut::default();
        Egress::default().batch(&self.table, &self.paths, self.now, frames, &mut self.pool, &mut out);
        out
    }

    /// A buffer, out of a train or the first of all.
    pub fn buffer(&mut self) -> Buf {
        self.pool.take().expect("no buffer is lost")
    }

    /// Takes a buffer back.
    pub fn give(&mut self, buf: Buf) {
        self.pool.give(buf);
    }

    /// What a lane that has just started makes of payloads.
    pub fn arrive(&mut self, payloads: &[Payload], bytes: &mut [u8]) -> IngressOut {
        let mut out = IngressOut::default();
        let arrived = Arrived { bytes, payloads };
        Ingress::default().batch(&self.table, &self.paths, self.now, arrived, &mut Pool::default(), &mut out);
        out
    }
}
