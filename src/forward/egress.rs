//! Guest to wire: frames from TAPs come in, payloads for tunnels and answers for TAPs go out.

use super::buffer::{Buf, Pool};
use super::drops::{DropReason, Drops};
use super::form;
use super::neigh::{self, Question};
use super::rate::Bucket;
use super::refused::{Refusals, Refused};
use super::table::{Net, Place, Table};
use super::view::View;
use crate::table::Flood;
use crate::types::{Mac, Mono, NetSlot, PeerSlot};

/// Egress of one lane.
#[derive(Debug, Default)]
pub struct Egress {
    /// What was dropped here.
    pub drops: Drops,
    /// Questions answered from the table.
    pub answered: u64,
    floods: Vec<Bucket>,
    refusals: Refusals,
}

/// A frame as a TAP gave it.
#[derive(Debug)]
pub struct Frame {
    /// The network of the TAP.
    pub net: NetSlot,
    /// The frame.
    pub buf: Buf,
}

/// A payload for a peer's tunnel, to be sealed in place.
#[derive(Debug)]
pub struct Outgoing {
    /// Whose tunnel.
    pub peer: PeerSlot,
    /// The payload, in the peer's form.
    pub buf: Buf,
}

/// What becomes of a batch. The owner drains it and gives the buffers back to the pool.
#[derive(Debug, Default)]
pub struct EgressOut {
    /// For tunnels.
    pub tunnels: Vec<Outgoing>,
    /// For the TAPs that they came from: answers.
    pub answers: Vec<Frame>,
    /// Frames refused for their source, at a limited rate.
    pub refused: Vec<Refused>,
}

/// What is known of a frame on its way out.
struct Route<'a> {
    table: &'a Table,
    net: &'a Net,
    view: View,
}

/// Where one frame goes.
enum Decision {
    To(PeerSlot),
    Flood,
    Answered,
}

impl Egress {
    /// Forwards a batch: drains `frames` into `out`. Buffers of dropped frames go to `pool`, those of copies come from there.
    pub fn batch(&mut self, table: &Table, now: Mono, frames: &mut Vec<Frame>, pool: &mut Pool, out: &mut EgressOut) {
        for mut frame in frames.drain(..) {
            let Some(net) = table.net(frame.net) else {
                self.drops.count(DropReason::NetworkGone);
                pool.give(frame.buf);
                continue;
            };
            let decided = View::parse(frame.buf.bytes())
                .map_err(|_| DropReason::FrameMalformed)
                .and_then(|view| Ok((Route { table, net, view }, self.decide(net, &view, &mut frame, now, out)?)));
            match decided {
                Ok((route, Decision::To(peer))) => self.send(&route, peer, frame.buf, pool, out),
                Ok((route, Decision::Flood)) => self.flood(&route, frame.buf, pool, out),
                Ok((_, Decision::Answered)) => out.answers.push(frame),
                Err(reason) => {
                    self.drops.count(reason);
                    pool.give(frame.buf);
                }
            }
        }
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
        if frame.buf.len() - view.network > usize::from(net.guest_mtu) {
            return Err(DropReason::Oversize);
        }
        if !view.destination.is_group() {
            return unicast(net, view, view.destination);
        }
        if let Some(proxy) = sender
            && view.is_dhcp_broadcast(frame.buf.bytes())
        {
            frame.buf.bytes_mut()[..6].copy_from_slice(&proxy.0);
            return unicast(net, view, proxy);
        }
        self.group(net, view, frame, now)
    }

    /// Only guests of this node may send from here. Returns the sender's DHCP proxy.
    fn check_source(
        &mut self,
        net: &Net,
        view: &View,
        slot: NetSlot,
        now: Mono,
        out: &mut EgressOut,
    ) -> Result<Option<Mac>, DropReason> {
        if !view.source.is_unicast() {
            return Err(DropReason::SourceNotUnicast);
        }
        let reason = match net.station(view.vlan, view.source) {
            Some(station) if station.place == Place::Local => return Ok(station.dhcp_proxy),
            Some(_) => DropReason::SourceNotHere,
            None => DropReason::SourceUnknown,
        };
        let refused = Refused { net: Some(slot), peer: None, mac: view.source, reason };
        self.refusals.tell(refused, now, &mut out.refused);
        Err(reason)
    }

    /// Broadcast and multicast.
    fn group(&mut self, net: &Net, view: &View, frame: &mut Frame, now: Mono) -> Result<Decision, DropReason> {
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
        allow(&mut self.floods, net, frame.net, now)?;
        Ok(Decision::Flood)
    }

    fn send(&mut self, route: &Route<'_>, peer: PeerSlot, mut buf: Buf, pool: &mut Pool, out: &mut EgressOut) {
        match form::wrap(route.table, route.net, peer, &route.view, &mut buf) {
            Ok(()) => out.tunnels.push(Outgoing { peer, buf }),
            Err(reason) => {
                self.drops.count(reason);
                pool.give(buf);
            }
        }
    }

    /// A copy for each member; the last one gets the original.
    fn flood(&mut self, route: &Route<'_>, buf: Buf, pool: &mut Pool, out: &mut EgressOut) {
        let Some((last, others)) = route.net.members.split_last() else {
            self.drops.count(DropReason::FloodNobody);
            pool.give(buf);
            return;
        };
        for peer in others {
            let Some(mut copy) = pool.take() else {
                self.drops.count(DropReason::NoBuffer);
                continue;
            };
            copy.copy_from(buf.bytes());
            self.send(route, *peer, copy, pool, out);
        }
        self.send(route, *last, buf, pool, out);
    }
}

/// Where a frame for one address goes.
fn unicast(net: &Net, view: &View, destination: Mac) -> Result<Decision, DropReason> {
    match net.station(view.vlan, destination).map(|station| station.place) {
        Some(Place::Tunnel(peer)) => Ok(Decision::To(peer)),
        Some(Place::Local) => Err(DropReason::DestinationLocal),
        Some(Place::Plain(_)) => Err(DropReason::DestinationPlain),
        Some(Place::Forbidden(_)) => Err(DropReason::DestinationForbidden),
        None if net.flood == Flood::Replicate && !net.members.is_empty() => Ok(Decision::Flood),
        None => Err(DropReason::DestinationUnknown),
    }
}

/// Takes one flooded frame from the allowance of a network.
pub(super) fn allow(floods: &mut Vec<Bucket>, net: &Net, slot: NetSlot, now: Mono) -> Result<(), DropReason> {
    let Some(rate) = net.flood_rate else { return Ok(()) };
    if floods.len() <= slot.index() {
        floods.resize(slot.index() + 1, Bucket::default());
    }
    if floods[slot.index()].take(rate, now) { Ok(()) } else { Err(DropReason::FloodLimited) }
}
