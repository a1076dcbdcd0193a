//! Wire to guest: opened payloads come in, frames for TAPs and answers to control messages go out.
//!
//! The one check that matters: peer, VNI and source MAC must agree with the table. Nothing goes from tunnel to tunnel.

use super::buffer::Pool;
use super::drops::{DropReason, Drops};
use super::egress::allow;
use super::form::{self, Inside, What, Wrap};
use super::rate::{Bucket, Rate};
use super::refused::{Refusals, Refused};
use super::table::{Net, Place, Table};
use super::train::{Outgoing, line_up};
use super::view::View;
use crate::table::Flood;
use crate::types::{Mono, NetSlot, PeerSlot};
use crate::wire::Header;
use crate::wire::compact::Content;
use crate::wire::oam::{Kind, Oam};

/// Ingress of one lane.
#[derive(Debug, Default)]
pub struct Ingress {
    /// What was dropped here.
    pub drops: Drops,
    floods: Vec<Bucket>,
    controls: Vec<Bucket>,
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
    /// Echo replies that arrived: who, token, and the size in which the request had arrived there.
    pub echoes: Vec<(PeerSlot, u64, u16)>,
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
        let index = payload.peer.index();
        if self.controls.len() <= index {
            self.controls.resize(index + 1, Bucket::default());
        }
        if !self.controls[index].take(Rate::CONTROL, now) {
            return Err(DropReason::ControlLimited);
        }
        match message.kind {
            Kind::EchoReply { size } => out.echoes.push((payload.peer, message.token, size)),
            Kind::EchoRequest => {
                let size = u16::try_from(inside.end).unwrap_or(u16::MAX);
                echo(Kind::EchoReply { size }, message.token, Oam::LEN, payload.peer, pool, &mut out.tunnels)?;
            }
        }
        Ok(())
    }
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

/// Lines up a control message of `len` bytes, filled up with zeros, for a peer that speaks form B.
///
/// # Errors
/// [`DropReason::ControlMalformed`]: `len` has no room for the message. [`DropReason::NoBuffer`].
pub fn echo(
    kind: Kind,
    token: u64,
    len: usize,
    peer: PeerSlot,
    pool: &mut Pool,
    trains: &mut Vec<Outgoing>,
) -> Result<(), DropReason> {
    if len < Oam::LEN {
        return Err(DropReason::ControlMalformed);
    }
    let wrap = Wrap::Compact(Content::Control);
    let payload = line_up(trains, pool, peer, wrap.len() + len, 0)?;
    let (head, body) = payload.split_at_mut(wrap.len());
    body.fill(0);
    Oam { kind, token }.emit(body).map_err(|_| DropReason::ControlMalformed)?;
    wrap.write(head, len)
}
