//! Wire to guest: opened payloads come in, frames for TAPs and answers to control messages go out.
//!
//! The one check that matters: peer, VNI and source MAC must agree with the table. Nothing goes from tunnel to tunnel.

use std::ops::Range;

use super::buffer::Pool;
use super::claims;
use super::drops::{DropReason, Drops};
use super::echo::{Echo, Said, echo};
use super::egress::{Frame, allow};
use super::fair::{Allowances, Fair};
use super::form::{self, Inside, Piece, Standard, What};
use super::groups;
use super::mss;
use super::paths::PathSizes;
use super::rate::{Bucket, Rate};
use super::reassemble::{Part, Reassembly, Whole};
use super::recent::{End, Recent};
use super::refused::{Refusals, Refused};
use super::spread::Spread;
use super::table::{Net, Place, Station, Table};
use super::tally::{Flooder, Tallies};
use super::train::Outgoing;
use super::view::View;
use crate::table::Flood;
use crate::types::{Mono, NetSlot, PeerSlot, UdpPort, Vni};
use crate::wire::Header;
use crate::wire::oam::{Kind, Oam};
use crate::wire::ping::Ping;
use crate::wire::virtio::Virtio;

/// Ingress of one lane.
#[derive(Debug, Default)]
pub struct Ingress {
    /// What was dropped here.
    pub drops: Drops,
    /// What was put together from fragments, and what was not.
    pub sizes: Tallies,
    reassembly: Reassembly,
    spread: Spread,
    /// By network, and by peer in it.
    floods: Vec<Allowances>,
    requests: Vec<Bucket>,
    replies: Vec<Bucket>,
    refusals: Refusals,
    recent: Recent,
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

/// A batch of payloads.
#[derive(Debug)]
pub struct Arrived<'a> {
    /// Where they lie. Frames stay where they are; fragments that follow each other are joined in place.
    pub bytes: &'a mut [u8],
    /// The payloads, in the order of arrival.
    pub payloads: &'a [Payload],
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
    /// For TAPs, before the others: frames whose fragments began to arrive in an earlier batch, or out of order.
    pub assembled: Vec<Frame>,
    /// For tunnels: answers to control messages.
    pub tunnels: Vec<Outgoing>,
    /// Echo replies that arrived.
    pub echoes: Vec<Echo>,
    /// Questions and answers about the plain path.
    pub said: Vec<Said>,
    /// Frames refused for their source, at a limited rate.
    pub refused: Vec<Refused>,
}

/// What all payloads of a batch are judged by.
#[derive(Clone, Copy)]
struct Ground<'a> {
    table: &'a Table,
    paths: &'a PathSizes,
    now: Mono,
}

/// One fragment, or several that follow each other, as a stretch of the batch.
struct Run {
    peer: PeerSlot,
    piece: Piece,
    bytes: Range<usize>,
    fragments: u32,
}

impl Ingress {
    /// Ingress of a lane among others; the default is one alone.
    pub fn new(spread: Spread) -> Self {
        Self { spread, ..Self::default() }
    }

    /// Takes a batch of payloads apart, in the order in which they are given. Nothing is copied but fragments.
    pub fn batch(
        &mut self,
        table: &Table,
        paths: &PathSizes,
        now: Mono,
        arrived: Arrived<'_>,
        pool: &mut Pool,
        out: &mut IngressOut,
    ) {
        self.recent.clear();
        let ground = Ground { table, paths, now };
        let Arrived { bytes, payloads } = arrived;
        let mut rest = payloads;
        while let Some((payload, after)) = rest.split_first() {
            rest = after;
            let place = payload.start..payload.start + payload.len;
            let result = form::unwrap(table, payload.peer, &bytes[place.clone()]).and_then(|inside| {
                let range = payload.start + inside.start..payload.start + inside.end;
                match inside.what {
                    What::Frame { udp_port, vni } => {
                        self.deliver(ground, payload.peer, (udp_port, vni), bytes, range, out)
                    }
                    What::Control => self.control(now, *payload, &bytes[place], inside, pool, out),
                    What::Ping => self.pong(now, *payload, &bytes[range], out),
                    What::Fragment(piece) => {
                        let mut run = Run { peer: payload.peer, piece, bytes: range, fragments: 1 };
                        rest = run.join(table, bytes, after);
                        self.fragments(ground, run, bytes, pool, out)
                    }
                }
            });
            if let Err(reason) = result {
                self.drops.count(reason);
            }
        }
        let Self { reassembly, drops, sizes, .. } = self;
        reassembly.sweep(now, &mut |peer, reason, fragments| lose(drops, sizes, peer, reason, fragments));
    }

    /// Hands on a frame that lies in the batch.
    fn deliver(
        &mut self,
        ground: Ground<'_>,
        peer: PeerSlot,
        named: (UdpPort, Vni),
        bytes: &mut [u8],
        range: Range<usize>,
        out: &mut IngressOut,
    ) -> Result<(), DropReason> {
        let (start, len) = (range.start, range.len());
        let net = self.frame(ground, peer, named, &mut bytes[range], &mut out.refused)?;
        out.frames.push(Delivery { net, start, len });
        Ok(())
    }

    /// Hands on what a run of fragments completes.
    fn fragments(
        &mut self,
        ground: Ground<'_>,
        run: Run,
        bytes: &mut [u8],
        pool: &mut Pool,
        out: &mut IngressOut,
    ) -> Result<(), DropReason> {
        let Run { peer, piece: Piece { id, offset, more }, bytes: range, fragments } = run;
        if offset == 0 && !more {
            self.reassembly.passed(peer, fragments);
            let What::Frame { udp_port, vni } = form::unwrap_behind_ip(&bytes[range.clone()])? else { return Ok(()) };
            let frame = range.start + Standard::BEHIND_IP..range.end;
            self.deliver(ground, peer, (udp_port, vni), bytes, frame, out)?;
            if let Some(delivered) = out.frames.last() {
                self.sizes.both(peer, delivered.net, |tally| tally.reassembled += 1);
            }
            return Ok(());
        }
        let Self { reassembly, drops, sizes, .. } = self;
        let part = Part { peer, id, offset, more, data: &bytes[range], fragments };
        let whole = reassembly
            .add(&part, ground.now, &mut |peer, reason, fragments| lose(drops, sizes, peer, reason, fragments));
        whole.map_or(Ok(()), |whole| self.take_out(ground, peer, whole, pool, out))
    }

    /// Hands on a packet that has waited for its fragments.
    fn take_out(
        &mut self,
        ground: Ground<'_>,
        peer: PeerSlot,
        whole: Whole,
        pool: &mut Pool,
        out: &mut IngressOut,
    ) -> Result<(), DropReason> {
        let Some(mut buf) = pool.take() else {
            self.reassembly.forget(whole);
            return Err(DropReason::NoBuffer);
        };
        let len = self.reassembly.len(&whole);
        self.reassembly.take(whole, &mut buf.space()[..len]);
        buf.filled(len);
        match self.assembled(ground, peer, buf.bytes_mut(), out) {
            Ok(net) => {
                buf.cut_front(Standard::BEHIND_IP);
                out.assembled.push(Frame { net, buf, virtio: Virtio::default() });
                Ok(())
            }
            Err(reason) => {
                pool.give(buf);
                Err(reason)
            }
        }
    }

    /// Checks a packet that was put together in a buffer of its own.
    fn assembled(
        &mut self,
        ground: Ground<'_>,
        peer: PeerSlot,
        body: &mut [u8],
        out: &mut IngressOut,
    ) -> Result<NetSlot, DropReason> {
        let What::Frame { udp_port, vni } = form::unwrap_behind_ip(body)? else { return Err(DropReason::FormUnknown) };
        let net = self.frame(ground, peer, (udp_port, vni), &mut body[Standard::BEHIND_IP..], &mut out.refused)?;
        self.sizes.both(peer, net, |tally| tally.reassembled += 1);
        Ok(net)
    }

    /// May this frame pass, and into which network?
    fn frame(
        &mut self,
        ground: Ground<'_>,
        peer: PeerSlot,
        (udp_port, vni): (UdpPort, Vni),
        frame: &mut [u8],
        told: &mut Vec<Refused>,
    ) -> Result<NetSlot, DropReason> {
        let Ground { table, paths, now } = ground;
        let view = View::parse(frame).map_err(|_| DropReason::FrameMalformed)?;
        let slot = table.net_of(udp_port, vni);
        let checked = match slot.and_then(|slot| Some((slot, table.net(slot)?))) {
            None => Err(DropReason::NetworkUnknown),
            Some((slot, net)) => self.source((slot, net), &view, peer, frame).map(|sender| (slot, net, sender)),
        };
        let (slot, net, sender) = checked.inspect_err(|reason| {
            let refused = Refused { net: slot, peer: Some(peer), mac: view.source, reason: *reason };
            self.refusals.tell(refused, now, told);
        })?;
        self.destination((slot, net), &view, (peer, sender.place_among), now)?;
        self.spread.arrived(table.lanes(peer), || view.conversation(frame, vni));
        if net.clamp_mss && mss::clamp(frame, form::largest_packet(table, paths, net, &view, peer)) {
            self.sizes.both(peer, slot, |tally| tally.mss_clamped += 1);
        }
        Ok(slot)
    }

    /// Peer, VNI and source MAC agree with the table, and the guest speaks for itself only. A peer that has a tunnel for another network
    /// may use it for one that the table puts on the plain path: it has decided more strictly, and the tunnel proves who it is.
    fn source(
        &mut self,
        of: (NetSlot, &Net),
        view: &View,
        peer: PeerSlot,
        frame: &[u8],
    ) -> Result<Station, DropReason> {
        let net = of.1;
        if !view.source.is_unicast() {
            return Err(DropReason::SourceNotUnicast);
        }
        let station = self.recent.station(End::From, of, view.vlan, view.source).ok_or(DropReason::SourceUnknown)?;
        match station.place {
            Place::Tunnel(owner) | Place::Plain(owner) if owner == peer => {
                groups::check(net, view, frame)?;
                claims::check(net, station, view, frame).map(|()| station)
            }
            Place::Forbidden(owner) if owner == peer => Err(DropReason::SourceForbidden),
            Place::Tunnel(_) | Place::Plain(_) | Place::Forbidden(_) | Place::Local => Err(DropReason::SourceNotThere),
        }
    }

    /// May this frame reach the guests of this node?
    fn destination(
        &mut self,
        (slot, net): (NetSlot, &Net),
        view: &View,
        (peer, place): (PeerSlot, u8),
        now: Mono,
    ) -> Result<(), DropReason> {
        if view.destination.is_group() {
            return if net.flood == Flood::Off {
                Err(DropReason::FloodOff)
            } else {
                let by = Flooder::Peer(peer);
                let allowed = allow(allowance(&mut self.floods, slot, peer), net, place, now);
                allowed.inspect_err(|_| self.sizes.flood(slot, by, view.source))
            };
        }
        match self.recent.station(End::To, (slot, net), view.vlan, view.destination).map(|station| station.place) {
            Some(Place::Local) => Ok(()),
            Some(Place::Tunnel(_) | Place::Plain(_) | Place::Forbidden(_)) => Err(DropReason::DestinationElsewhere),
            None if net.flood == Flood::Replicate => Ok(()),
            None => Err(DropReason::DestinationUnknown),
        }
    }

    /// Answers an echo request, reports an echo reply and what is said about the plain path and guests.
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
            Kind::PlainAsk | Kind::GuestAsk { .. } => {
                limit(&mut self.requests, payload.peer, now)?;
                out.said.push(Said { peer: payload.peer, message });
            }
            Kind::PlainTell { .. } | Kind::GuestTell { .. } => {
                limit(&mut self.replies, payload.peer, now)?;
                out.said.push(Said { peer: payload.peer, message });
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

/// What a peer may send to many in a network. Only who has a guest there gets here, so there are no more than members.
fn allowance(floods: &mut Vec<Allowances>, net: NetSlot, peer: PeerSlot) -> &mut Fair {
    if floods.len() <= net.index() {
        floods.resize_with(net.index() + 1, Allowances::default);
    }
    floods[net.index()].of(peer.index())
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

impl Run {
    /// Joins the payloads that continue this one, where they follow it at once: what a train brings. Returns those after them.
    fn join<'a>(&mut self, table: &Table, bytes: &mut [u8], mut rest: &'a [Payload]) -> &'a [Payload] {
        while self.piece.more
            && let Some((next, after)) = rest.split_first()
            && next.peer == self.peer
        {
            let inside = form::unwrap(table, next.peer, &bytes[next.start..next.start + next.len]);
            let Ok(Inside { what: What::Fragment(piece), start, end }) = inside else { break };
            let continues = piece.id == self.piece.id && piece.offset == self.piece.offset + self.bytes.len();
            if !continues || next.start + start < self.bytes.end {
                break;
            }
            // Headers and tags between the two have done their work.
            bytes.copy_within(next.start + start..next.start + end, self.bytes.end);
            self.bytes.end += end - start;
            self.piece.more = piece.more;
            self.fragments += 1;
            rest = after;
        }
        rest
    }
}

/// Counts fragments that are given up.
fn lose(drops: &mut Drops, sizes: &mut Tallies, peer: PeerSlot, reason: DropReason, fragments: u32) {
    drops.add(reason, fragments.into());
    sizes.peer(peer).fragments_refused += u64::from(fragments);
}
