//! Lines up frames for the tunnels of peers: as one datagram where they fit, in fragments where they do not.

use super::buffer::Pool;
use super::drops::DropReason;
use super::form::{self, Standard, Wrap};
use super::fragment;
use super::paths::PathSizes;
use super::segment::Segments;
use super::table::{Net, Table};
use super::tally::Tallies;
use super::train::{Outgoing, line_up};
use super::view::View;
use crate::types::{NetSlot, PeerSlot};

/// What is known of a frame on its way out.
pub(super) struct Route<'a> {
    pub(super) table: &'a Table,
    pub(super) paths: &'a PathSizes,
    pub(super) slot: NetSlot,
    pub(super) net: &'a Net,
    pub(super) view: View,
}

impl Route<'_> {
    /// Largest IP packet of a guest that one datagram to each of these peers carries, and that the network allows.
    pub(super) fn largest_packet(&self, peers: &[PeerSlot]) -> usize {
        let Self { table, paths, net, view, .. } = self;
        let all = peers.iter().map(|peer| form::largest_packet(table, paths, net, view, *peer));
        all.min().unwrap_or_else(|| usize::from(net.guest_mtu))
    }
}

/// What of a frame goes out.
pub(super) enum Load<'a> {
    One(&'a [u8]),
    Cut(Segments<'a>),
}

/// Identifications of packets in fragments, counted for each peer.
#[derive(Debug, Default)]
pub(super) struct Ids(Vec<u16>);

impl Ids {
    /// Grows once for each peer that gets fragments for the first time.
    fn next(&mut self, peer: PeerSlot) -> u16 {
        if self.0.len() <= peer.index() {
            self.0.resize(peer.index() + 1, 0);
        }
        let id = &mut self.0[peer.index()];
        *id = id.wrapping_add(1);
        *id
    }
}

/// Lines up what goes to one peer.
pub(super) struct Carrier<'a> {
    pub(super) route: &'a Route<'a>,
    pub(super) peer: PeerSlot,
    pub(super) ids: &'a mut Ids,
    pub(super) sizes: &'a mut Tallies,
    pub(super) pool: &'a mut Pool,
    pub(super) trains: &'a mut Vec<Outgoing>,
}

impl Carrier<'_> {
    pub(super) fn carry(mut self, load: &Load<'_>) -> Result<(), DropReason> {
        match load {
            Load::One(frame) => self.one(frame),
            Load::Cut(segments) => self.cut(segments.clone()),
        }
    }

    /// Largest payload that is known to fit the path: padding does not go beyond it.
    fn carried(&self, wrap: &Wrap) -> usize {
        match self.route.paths.payload(self.peer) {
            usize::MAX => wrap.len() + self.route.view.network + usize::from(self.route.net.guest_mtu),
            carried => carried,
        }
    }

    fn one(&mut self, frame: &[u8]) -> Result<(), DropReason> {
        let Route { table, net, view, .. } = self.route;
        let wrap = Wrap::new(table, net, self.peer, view, frame)?;
        let (len, carried) = (wrap.len() + frame.len(), self.carried(&wrap));
        if len > carried {
            return self.fragments(&wrap, frame, carried);
        }
        let payload = line_up(self.trains, self.pool, self.peer, len, carried)?;
        let (head, body) = payload.split_at_mut(wrap.len());
        body.copy_from_slice(frame);
        wrap.write(head, frame.len())
    }

    fn cut(&mut self, segments: Segments<'_>) -> Result<(), DropReason> {
        let Route { table, net, view, .. } = self.route;
        let wrap = Wrap::new(table, net, self.peer, view, segments.head())?;
        let carried = self.carried(&wrap);
        let mut segments = segments.within(carried.saturating_sub(wrap.len()));
        while let Some(len) = segments.next_len() {
            if wrap.len() + len > carried {
                self.datagram_in_fragments(&wrap, &mut segments, carried)?;
                continue;
            }
            let payload = line_up(self.trains, self.pool, self.peer, wrap.len() + len, carried)?;
            let (head, body) = payload.split_at_mut(wrap.len());
            segments.write_next(body);
            wrap.write(head, len)?;
        }
        Ok(())
    }

    /// The next datagram of a super-frame is larger than the path carries: it becomes a frame first, and then fragments.
    fn datagram_in_fragments(
        &mut self,
        wrap: &Wrap,
        segments: &mut Segments<'_>,
        carried: usize,
    ) -> Result<(), DropReason> {
        let mut scratch = self.pool.take().ok_or(DropReason::NoBuffer)?;
        let written = segments.write_next(scratch.space());
        scratch.filled(written.unwrap_or_default());
        let sent = match written {
            Some(_) => self.fragments(wrap, scratch.bytes(), carried),
            None => Err(DropReason::FrameMalformed),
        };
        self.pool.give(scratch);
        sent
    }

    fn fragments(&mut self, wrap: &Wrap, frame: &[u8], carried: usize) -> Result<(), DropReason> {
        let Route { table, net, view, slot, .. } = self.route;
        let outer = match wrap {
            Wrap::Standard(outer) => *outer,
            Wrap::Compact(_) => Standard::new(table, net, self.peer, view, frame)?,
        };
        let id = self.ids.next(self.peer);
        let count = fragment::line_up(&outer, id, frame, carried, (self.peer, self.pool, self.trains))?;
        self.sizes.both(self.peer, *slot, |tally| {
            tally.fragmented += 1;
            tally.fragments_sent += u64::from(count);
        });
        Ok(())
    }
}
