//! Guest to wire: frames and super-frames from TAPs come in, trains for tunnels and answers for TAPs go out.

use super::buffer::{Buf, Pool};
use super::carry::{Carrier, Ids, Load, Route};
use super::drops::{DropReason, Drops};
use super::fair::{Allowances, Fair};
use super::groups;
use super::mss;
use super::neigh::{self, Question};
use super::oversize::Oversized;
use super::paths::PathSizes;
use super::rate::Bucket;
use super::recent::{End, Recent};
use super::refused::{Refusals, Refused};
use super::segment::{Segments, Whole, finish_checksum};
use super::spread::Spread;
use super::table::{Net, Place, Station, Table};
use super::tally::{Flooder, Tallies};
use super::train::Outgoing;
use super::view::View;
use crate::table::Flood;
use crate::types::{Mac, Mono, NetSlot, PeerSlot};
use crate::wire::virtio::{Gso, Virtio};

/// Egress of one lane.
#[derive(Debug, Default)]
pub struct Egress {
    /// What was dropped here.
    pub drops: Drops,
    /// Questions answered from the table.
    pub answered: u64,
    /// What became of super-frames.
    pub cuts: Cuts,
    /// What was done about sizes.
    pub sizes: Tallies,
    /// Which lane this is, and which others there are.
    pub spread: Spread,
    ids: Ids,
    floods: Allowances,
    oversized: Oversized,
    /// Members that this lane floods a frame to; kept for its memory.
    mine: Vec<PeerSlot>,
    refusals: Refusals,
    recent: Recent,
}

/// What became of super-frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cuts {
    /// Super-frames that were cut, one count for each peer that they went to.
    pub cut: u64,
    /// Super-frames in a shape that cannot be cut: sent as they are if they fit the guest MTU, else dropped as `oversize`.
    pub whole: u64,
}

/// A frame as a TAP gave it.
#[derive(Debug)]
pub struct Frame {
    /// The network of the TAP.
    pub net: NetSlot,
    /// The frame.
    pub buf: Buf,
    /// What the guest left to do: a checksum, cutting.
    pub virtio: Virtio,
}

/// What becomes of a batch. The owner drains it and gives the buffers back to the pool.
#[derive(Debug, Default)]
pub struct EgressOut {
    /// For tunnels.
    pub tunnels: Vec<Outgoing>,
    /// For the TAPs that they came from: answers.
    pub answers: Vec<Frame>,
    /// For other lanes.
    pub handed: Vec<Handed>,
    /// Frames refused for their source, at a limited rate.
    pub refused: Vec<Refused>,
}

/// A frame that another lane carries, by [`Egress::carry`]. All that is to be decided has been.
#[derive(Debug)]
pub struct Handed {
    /// Which lane.
    pub lane: u8,
    /// Where it goes.
    pub peer: PeerSlot,
    /// The frame; its buffer leaves the pool of this lane.
    pub frame: Frame,
}

/// What has become of a frame.
enum Fate {
    /// Nothing of it is needed any more.
    Spent,
    /// It has become the answer to itself.
    Answer,
    /// It goes to a peer by another lane.
    Elsewhere(u8, PeerSlot),
}

/// Where one frame goes.
enum Decision {
    To(PeerSlot),
    Flood,
    Answered,
}

impl Egress {
    /// Egress of a lane among others; the default is one alone.
    pub fn new(spread: Spread) -> Self {
        Self { spread, ..Self::default() }
    }

    /// Forwards a batch: drains `frames` into `out`. Buffers of frames go back to `pool`, those of trains come from there.
    ///
    /// What a datagram carries is asked of `paths` for each frame, so a path that has shrunk holds from the next batch on.
    pub fn batch(
        &mut self,
        table: &Table,
        paths: &PathSizes,
        now: Mono,
        frames: &mut Vec<Frame>,
        pool: &mut Pool,
        out: &mut EgressOut,
    ) {
        self.recent.clear();
        for mut frame in frames.drain(..) {
            let buf = match self.frame(table, paths, now, &mut frame, pool, out) {
                Ok(Fate::Spent) => frame.buf,
                Ok(Fate::Answer) => {
                    out.answers.push(frame);
                    continue;
                }
                Ok(Fate::Elsewhere(lane, peer)) => {
                    out.handed.push(Handed { lane, peer, frame });
                    continue;
                }
                Err(reason) => {
                    self.drops.count(reason);
                    frame.buf
                }
            };
            pool.give(buf);
        }
    }

    /// Lines up a frame that another lane has read and decided on. Its buffer goes to `pool`.
    pub fn carry(
        &mut self,
        table: &Table,
        paths: &PathSizes,
        peer: PeerSlot,
        mut frame: Frame,
        pool: &mut Pool,
        trains: &mut Vec<Outgoing>,
    ) {
        let laid = match (table.net(frame.net), View::parse(frame.buf.bytes())) {
            (None, _) => Err(DropReason::NetworkGone),
            (_, Err(_)) => Err(DropReason::FrameMalformed),
            (Some(net), Ok(view)) => {
                self.lay(&Route { table, paths, slot: frame.net, net, view }, &[peer], &mut frame, pool, trains)
            }
        };
        if let Err(reason) = laid {
            self.drops.count(reason);
        }
        pool.give(frame.buf);
    }

    /// Forwards one frame.
    fn frame(
        &mut self,
        table: &Table,
        paths: &PathSizes,
        now: Mono,
        frame: &mut Frame,
        pool: &mut Pool,
        out: &mut EgressOut,
    ) -> Result<Fate, DropReason> {
        let net = table.net(frame.net).ok_or(DropReason::NetworkGone)?;
        let view = View::parse(frame.buf.bytes()).map_err(|_| DropReason::FrameMalformed)?;
        if frame.virtio.gso == Gso::None {
            finish(frame)?;
        }
        let decision = self.decide(net, &view, frame, now, out)?;
        let route = Route { table, paths, slot: frame.net, net, view };
        let peers = match &decision {
            Decision::Answered => return Ok(Fate::Answer),
            Decision::To(peer) => std::slice::from_ref(peer),
            Decision::Flood => &net.members,
        };
        if self.oversized.check(&route, peers, now, (frame, pool), &mut self.sizes)? {
            self.drops.count(DropReason::TooBig);
            return Ok(Fate::Answer);
        }
        match decision {
            Decision::Answered => {}
            Decision::To(peer) => {
                let flow = || view.conversation(frame.buf.bytes(), net.vni);
                let lane = self.spread.lane(table.lanes(peer), peer, flow);
                if lane != self.spread.own() {
                    return Ok(Fate::Elsewhere(lane, peer));
                }
                self.lay(&route, &[peer], frame, pool, &mut out.tunnels)?;
            }
            Decision::Flood => {
                let mut mine = std::mem::take(&mut self.mine);
                self.share_out(&route, frame, pool, &mut out.handed, &mut mine);
                let laid = self.lay(&route, &mine, frame, pool, &mut out.tunnels);
                self.mine = mine;
                laid?;
            }
        }
        Ok(Fate::Spent)
    }

    /// A flooded frame goes to each member by the lane that carries what this lane reads for it: `mine` are those of this lane,
    /// each of the others gets a copy.
    fn share_out(
        &mut self,
        route: &Route<'_>,
        frame: &Frame,
        pool: &mut Pool,
        handed: &mut Vec<Handed>,
        mine: &mut Vec<PeerSlot>,
    ) {
        mine.clear();
        for peer in route.net.members.iter().copied() {
            let lane = self.spread.lane_to_many(route.table.lanes(peer), peer);
            if lane == self.spread.own() {
                mine.push(peer);
            } else if let Some(mut buf) = pool.take() {
                buf.copy_from(frame.buf.bytes());
                handed.push(Handed { lane, peer, frame: Frame { buf, ..*frame } });
            } else {
                self.drops.count(DropReason::NoBuffer);
            }
        }
    }

    /// Lines up a frame for each of some peers.
    fn lay(
        &mut self,
        route: &Route<'_>,
        peers: &[PeerSlot],
        frame: &mut Frame,
        pool: &mut Pool,
        trains: &mut Vec<Outgoing>,
    ) -> Result<(), DropReason> {
        if route.net.clamp_mss
            && frame.virtio.gso == Gso::None
            && mss::clamp(frame.buf.bytes_mut(), route.largest_packet(peers))
        {
            self.sizes.net(frame.net).mss_clamped += 1;
            for peer in peers {
                self.sizes.peer(*peer).mss_clamped += 1;
            }
        }
        if peers.is_empty() {
            return Ok(());
        }
        let load = self.load(route.net, &route.view, frame)?;
        for peer in peers {
            self.send(route, *peer, &load, pool, trains);
        }
        Ok(())
    }

    fn decide(
        &mut self,
        net: &Net,
        view: &View,
        frame: &mut Frame,
        now: Mono,
        out: &mut EgressOut,
    ) -> Result<Decision, DropReason> {
        let sender = self.check_source(net, view, frame.net, now, out)?;
        if !view.destination.is_group() {
            return self.unicast((frame.net, net), view, view.destination);
        }
        if let Err(reason) = groups::check(net, view, frame.buf.bytes()) {
            if reason == DropReason::GroupUnicast && !groups::misses_nobody(net, view, frame.buf.bytes()) {
                self.sizes.single(frame.net, sender.place_among, view.source);
            }
            return Err(reason);
        }
        if let Some(proxy) = sender.dhcp_proxy
            && view.is_dhcp_broadcast(frame.buf.bytes())
        {
            frame.buf.bytes_mut()[..6].copy_from_slice(&proxy.0);
            return self.unicast((frame.net, net), view, proxy);
        }
        self.group(net, view, frame, (sender.place_among, now))
    }

    /// Only guests of this node may send from here. Returns the sender.
    fn check_source(
        &mut self,
        net: &Net,
        view: &View,
        slot: NetSlot,
        now: Mono,
        out: &mut EgressOut,
    ) -> Result<Station, DropReason> {
        if !view.source.is_unicast() {
            return Err(DropReason::SourceNotUnicast);
        }
        let reason = match self.recent.station(End::From, (slot, net), view.vlan, view.source) {
            Some(station) if station.place == Place::Local => return Ok(station),
            Some(_) => DropReason::SourceNotHere,
            None => DropReason::SourceUnknown,
        };
        let refused = Refused { net: Some(slot), peer: None, mac: view.source, reason };
        self.refusals.tell(refused, now, &mut out.refused);
        Err(reason)
    }

    /// Where a frame for one address goes.
    fn unicast(&mut self, of: (NetSlot, &Net), view: &View, destination: Mac) -> Result<Decision, DropReason> {
        let net = of.1;
        match self.recent.station(End::To, of, view.vlan, destination).map(|station| station.place) {
            Some(Place::Tunnel(peer)) => Ok(Decision::To(peer)),
            Some(Place::Local) => Err(DropReason::DestinationLocal),
            Some(Place::Plain(_)) => Err(DropReason::DestinationPlain),
            Some(Place::Forbidden(_)) => Err(DropReason::DestinationForbidden),
            None if net.flood == Flood::Replicate && !net.members.is_empty() => Ok(Decision::Flood),
            None => Err(DropReason::DestinationUnknown),
        }
    }

    /// Broadcast and multicast.
    fn group(
        &mut self,
        net: &Net,
        view: &View,
        frame: &mut Frame,
        (place, now): (u8, Mono),
    ) -> Result<Decision, DropReason> {
        if net.flood != Flood::Replicate
            && let Question::Known(neighbour, asked) = neigh::ask(net, view, frame.buf.bytes())
        {
            return match neighbour.place {
                Place::Local => Err(DropReason::NeighbourLocal),
                Place::Forbidden(_) => Err(DropReason::DestinationForbidden),
                Place::Tunnel(_) | Place::Plain(_) => {
                    neigh::answer(&mut frame.buf, view, neighbour, asked).map_err(|_| DropReason::FrameMalformed)?;
                    self.answered += 1;
                    Ok(Decision::Answered)
                }
            };
        }
        if net.flood == Flood::Off {
            return Err(DropReason::FloodOff);
        }
        if net.members.is_empty() {
            return Err(DropReason::FloodNobody);
        }
        let by = Flooder::Guest(place);
        allow(self.floods.of(frame.net.index()), net, place, now)
            .inspect_err(|_| self.sizes.flood(frame.net, by, view.source))?;
        Ok(Decision::Flood)
    }

    /// What of a frame goes out: it as it is, or segments that fit the path.
    fn load<'a>(&mut self, net: &Net, view: &View, frame: &'a mut Frame) -> Result<Load<'a>, DropReason> {
        let limit = usize::from(net.guest_mtu);
        match Segments::new(frame.buf.bytes(), &frame.virtio, limit).map(drop) {
            Ok(()) => {
                let segments = Segments::new(frame.buf.bytes(), &frame.virtio, limit);
                return segments.map(Load::Cut).map_err(|_| DropReason::FrameMalformed);
            }
            Err(Whole::NotGso) => {}
            Err(Whole::Shape | Whole::Header | Whole::Flags | Whole::Limit { .. }) => {
                self.cuts.whole += 1;
                // Cut it would have been packets; whole it is none that any guest would take.
                if frame.buf.len() - view.network > limit {
                    return Err(DropReason::Oversize);
                }
                finish(frame)?;
            }
        }
        Ok(Load::One(frame.buf.bytes()))
    }

    /// Lines up what goes to one peer.
    fn send(
        &mut self,
        route: &Route<'_>,
        peer: PeerSlot,
        load: &Load<'_>,
        pool: &mut Pool,
        trains: &mut Vec<Outgoing>,
    ) {
        self.cuts.cut += u64::from(matches!(load, Load::Cut(_)));
        let carrier = Carrier { route, peer, ids: &mut self.ids, sizes: &mut self.sizes, pool, trains };
        if let Err(reason) = carrier.carry(load) {
            self.drops.count(reason);
        }
    }
}

/// Finishes the checksum that the guest left to its interface.
fn finish(frame: &mut Frame) -> Result<(), DropReason> {
    finish_checksum(frame.buf.bytes_mut(), &frame.virtio).map_err(|_| DropReason::FrameMalformed)?;
    frame.virtio = Virtio::default();
    Ok(())
}

/// Takes one flooded frame of the source in a place from an allowance of a network.
pub(super) fn allow(fair: &mut Fair, net: &Net, place: u8, now: Mono) -> Result<(), DropReason> {
    let Some(rate) = net.flood_rate else { return Ok(()) };
    if fair.take(rate, place, now) { Ok(()) } else { Err(DropReason::FloodLimited) }
}

/// The bucket of a network.
pub(super) fn bucket(list: &mut Vec<Bucket>, slot: NetSlot) -> &mut Bucket {
    if list.len() <= slot.index() {
        list.resize(slot.index() + 1, Bucket::default());
    }
    &mut list[slot.index()]
}
