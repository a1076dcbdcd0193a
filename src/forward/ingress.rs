//! Wire to guest: opened payloads come in, frames for TAPs and answers to control messages go out.
//!
//! The one check that matters: peer, VNI and source MAC must agree with the table. Nothing goes from tunnel to tunnel.

use super::buffer::Pool;
use super::drops::{DropReason, Drops};
use super::echo::{Echo, echo};
use super::egress::allow;
use super::form::{self, Inside, What};
use super::rate::{Bucket, Rate};
use super::refused::{Refusals, Refused};
use super::table::{Net, Place, Table};
use super::train::Outgoing;
use super::view::View;
use crate::table::Flood;
use crate::types::{Mono, NetSlot, PeerSlot};
use crate::wire::Header;
use crate::wire::oam::{Kind, Oam};
use crate::wire::ping::Ping;

/// Ingress of one lane.
#[derive(Debug, Default)]
pub struct Ingress {
    /// What was dropped here.
    pub drops: Drops,
    floods: Vec<Bucket>,
    requests: Vec<Bucket>,
    replies: Vec<Bucket>,
    refusals: Refusals,
}

/// A decrypted payload: a part of the bytes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Who sent it; proved by the tunnel.
    pub peer: PeerSlot,
    /// Where it begins in the bytes of the batch.
    pub start: usize,
    /// How long it is, padding included.
    pub len: usize,
}

/// A frame for a TAP: a part of the bytes of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// The network of the TAP.
    pub net: NetSlot,
    /// Where it begins in the bytes of the batch.
    pub start: usize,
    /// How long it is.
    pub len: usize,
}

/// What becomes of a batch. The owner drains it.
#[derive(Debug, Default)]
pub struct IngressOut {
    /// For TAPs.
    pub frames: Vec<Delivery>,
    /// For tunnels: answers to control messages.
    pub tunnels: Vec<Outgoing>,
    /// Echo replies that arrived.
    pub echoes: Vec<Echo>,
    /// Frames refused for their source, at a limited rate.
    pub refused: Vec<Refused>,
}

impl Ingress {
    /// Takes a batch of payloads apart, in the order in which they are given. `bytes` are those of the batch; nothing is copied.
    pub fn batch(
        &mut self,
        table: &Table,
        now: Mono,
        batch: &[u8],
        payloads: &[Payload],
        pool: &mut Pool,
        out: &mut IngressOut,
    ) {
        for payload in payloads {
            let bytes = &batch[payload.start..payload.start + payload.len];
            let result = form::unwrap(table, payload.peer, bytes).and_then(|inside| match inside.what {
                What::Frame { .. } => self.frame(table, now, *payload, bytes, inside, out),
                What::Control => self.control(now, *payload, bytes, inside, pool, out),
                What::Ping => self.pong(now, *payload, &bytes[inside.start..inside.end], out),
            });
            if let Err(reason) = result {
                self.drops.count(reason);
            }
        }
    }

    fn frame(
        &mut self,
        table: &Table,
        now: Mono,
        payload: Payload,
        bytes: &[u8],
        inside: Inside,
        out: &mut IngressOut,
    ) -> Result<(), DropReason> {
        let What::Frame { udp_port, vni } = inside.what else { return Err(DropReason::FormUnknown) };
        let frame = &bytes[inside.start..inside.end];
        let view = View::parse(frame).map_err(|_| DropReason::FrameMalformed)?;
        let slot = table.net_of(udp_port, vni);
        let checked = match slot.and_then(|slot| Some((slot, table.net(slot)?))) {
            None => Err(DropReason::NetworkUnknown),
            Some((slot, net)) => source(net, &view, payload.peer).map(|()| (slot, net)),
        };
        let (net_slot, net) = checked.inspect_err(|reason| {
            let refused = Refused { net: slot, peer: Some(payload.peer), mac: view.source, reason: *reason };
            self.refusals.tell(refused, now, &mut out.refused);
        })?;
        self.destination(net, net_slot, &view, now)?;
        let (start, len) = (payload.start + inside.start, frame.len());
        out.frames.push(Delivery { net: net_slot, start, len });
        Ok(())
    }

    /// May this frame reach the guests of this node?
    fn destination(&mut self, net: &Net, slot: NetSlot, view: &View, now: Mono) -> Result<(), DropReason> {
        if view.destination.is_group() {
            return if net.flood == Flood::Off {
                Err(DropReason::FloodOff)
            } else {
                allow(&mut self.floods, net, slot, now)
            };
        }
        match net.station(view.vlan, view.destination).map(|station| station.place) {
            Some(Place::Local) => Ok(()),
            Some(Place::Tunnel(_) | Place::Plain(_) | Place::Forbidden(_)) => Err(DropReason::DestinationElsewhere),
            None if net.flood == Flood::Replicate => Ok(()),
            None => Err(DropReason::DestinationUnknown),
        }
    }

    /// Answers an echo request, reports an echo reply.
    fn control(
        &mut self,
        now: Mono,
        payload: Payload,
        bytes: &[u8],
        inside: Inside,
        pool: &mut Pool,
        out: &mut IngressOut,
    ) -> Result<(), DropReason> {
        let message = Oam::parse(&bytes[inside.start..inside.end]).map_err(|_| DropReason::ControlMalformed)?;
        match message.kind {
            Kind::EchoReply { size } => {
                limit(&mut self.replies, payload.peer, now)?;
                out.echoes.push(Echo { peer: payload.peer, token: message.token, size: Some(size) });
            }
            Kind::EchoRequest => {
                limit(&mut self.requests, payload.peer, now)?;
                let size = u16::try_from(inside.end).unwrap_or(u16::MAX);
                echo(Kind::EchoReply { size }, message.token, Oam::LEN, payload.peer, pool, &mut out.tunnels)?;
            }
        }
        Ok(())
    }

    /// A foreign peer has answered a ping of its tunnel address. Its own pings are not answered: no host has ours.
    fn pong(&mut self, now: Mono, payload: Payload, message: &[u8], out: &mut IngressOut) -> Result<(), DropReason> {
        match Ping::parse(message) {
            Ok(Ping { reply: true, token }) => {
                limit(&mut self.replies, payload.peer, now)?;
                out.echoes.push(Echo { peer: payload.peer, token, size: None });
                Ok(())
            }
            Ok(Ping { reply: false, .. }) | Err(_) => Err(DropReason::OuterMalformed),
        }
    }
}

/// Takes one control message from the allowance of a peer. Requests and replies have one each: what a peer asks does not keep its
/// answers away.
fn limit(buckets: &mut Vec<Bucket>, peer: PeerSlot, now: Mono) -> Result<(), DropReason> {
    let index = peer.index();
    if buckets.len() <= index {
        buckets.resize(index + 1, Bucket::default());
    }
    if buckets[index].take(Rate::CONTROL, now) { Ok(()) } else { Err(DropReason::ControlLimited) }
}

/// Peer, VNI and source MAC agree with the table. A peer that the table puts on the plain path may use its tunnel all the
/// same: it has decided more strictly, and the tunnel proves who it is.
fn source(net: &Net, view: &View, peer: PeerSlot) -> Result<(), DropReason> {
    if !view.source.is_unicast() {
        return Err(DropReason::SourceNotUnicast);
    }
    match net.station(view.vlan, view.source).map(|station| station.place) {
        Some(Place::Tunnel(owner) | Place::Plain(owner)) if owner == peer => Ok(()),
        Some(Place::Forbidden(owner)) if owner == peer => Err(DropReason::SourceForbidden),
        Some(Place::Tunnel(_) | Place::Plain(_) | Place::Forbidden(_) | Place::Local) => {
            Err(DropReason::SourceNotThere)
        }
        None => Err(DropReason::SourceUnknown),
    }
}
