//! A node with networks, guests and peers of every kind, made once: no input changes the table.

use std::cell::RefCell;

use vxmesh::forward::{Egress, EgressOut, Frame, Ingress, IngressOut, PathSizes, Payload, Pool, Slots, Table};
use vxmesh::node::paths::{Own, decide_all};
use vxmesh::table::Slice;
use vxmesh::types::Mono;

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
    pub pool: Pool,
    paths: PathSizes,
    now: Mono,
}

impl World {
    fn new() -> Self {
        let slice: Slice = serde_json::from_str(SLICE).expect("slice.json is a slice");
        let mut slots = Slots::default();
        slots.assign(&slice).expect("there are few");
        let own = Own { admin: "10.0.0.1".parse().ok(), external: "198.51.100.1".parse().ok() };
        let table = Table::build(&slice, &decide_all(&slice, own), &slots);
        Self { table, pool: Pool::default(), paths: PathSizes::default(), now: Mono::from_nanos(1_000_000_000) }
    }

    /// With the world of this thread.
    pub fn with(work: impl FnOnce(&mut Self)) {
        WORLD.with_borrow_mut(work);
    }

    /// What a lane that has just started makes of frames.
    pub fn out(&mut self, frames: &mut Vec<Frame>, out: &mut EgressOut) {
        Egress::default().batch(&self.table, &self.paths, self.now, frames, &mut self.pool, out);
    }

    /// What a lane that has just started makes of payloads.
    pub fn arrive(&mut self, payloads: &[Payload], bytes: &[u8], out: &mut IngressOut) {
        Ingress::default().batch(&self.table, self.now, bytes, payloads, &mut self.pool, out);
    }
}
