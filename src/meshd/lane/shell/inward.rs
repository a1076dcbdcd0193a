//! From the socket to the TAPs.

use super::{BATCH, Shell};
use crate::clock;
use crate::forward::{Arrived, Buf, Delivery, DropReason, Frame, Payload};
use crate::linux::inbox::Arrival;
use crate::meshd::lane::LaneEvent;
use crate::tunnel::{self, Open};
use crate::types::{Mono, NetSlot, Wall};

impl Shell {
    /// Reads datagrams and forwards what they hold.
    pub(super) fn wire_readable(&mut self, now: Mono) {
        // An error of one datagram (an ICMP answer to an earlier one) says nothing about the next.
        let most = self.wire_pace.read(now, BATCH);
        if self.socket.receive(&mut self.inbox, most).is_err() {
            return;
        }
        // Whoever calls waits for those who are in: a flood of calls holds up no frame of the same batch.
        if self.forward(false, now) {
            self.forward(true, now);
        }
    }

    /// Forwards what the arrivals hold that are calls, or those that are not. True: there are others.
    fn forward(&mut self, calls: bool, now: Mono) -> bool {
        let (wall, mut others) = (clock::wall(), false);
        self.payloads.clear();
        for index in 0..self.inbox.len() {
            if self.is_call(index) == calls {
                self.open(index, now, wall);
            } else {
                others = true;
            }
        }
        let Self { ingress, setup, paths, inbox, payloads, pool, ingress_out, .. } = self;
        let arrived = Arrived { bytes: inbox.bytes_mut(), payloads };
        ingress.batch(&setup.table, &paths.sizes, now, arrived, pool, ingress_out);
        self.after_ingress(now);
        others
    }

    /// Whether an arrival begins with a handshake initiation: so do those behind it, which have its size.
    fn is_call(&self, index: usize) -> bool {
        let first = |Arrival { start, len, segment, .. }| self.inbox.bytes().get(start..start + len.min(segment));
        self.inbox.arrival(index).and_then(first).is_some_and(tunnel::is_call)
    }

    /// Opens the datagrams of one arrival in place.
    fn open(&mut self, index: usize, now: Mono, wall: Wall) {
        let Some(Arrival { from, start, len, segment }) = self.inbox.arrival(index) else { return };
        let bytes = &mut self.inbox.bytes_mut()[start..start + len];
        for (at, datagram) in bytes.chunks_mut(segment).enumerate() {
            if datagram.len() == 1 {
                // The end of a train of equal datagrams, from a kernel that damages those.
                self.traffic.tails_received += 1;
                continue;
            }
            self.traffic.datagrams_received += 1;
            match self.tunnels.open(from, datagram, now, wall) {
                Open::Payload { peer, payload } => {
                    let start = start + at * segment + tunnel::HEADROOM;
                    self.payloads.push(Payload { peer, start, len: payload.len() });
                }
                Open::Nothing => {}
                // Who calls before the table names him is no attack; the tunnels count it.
                Open::Dropped(tunnel::DropReason::UnknownPeer) => {}
                Open::Dropped(_) => self.drops.count(DropReason::DatagramRefused),
            }
        }
    }

    /// Joins the frames of a batch and writes them to their TAPs, in the order of each flow.
    fn deliver(&mut self, frames: &[Delivery]) {
        let Self { coalescer, inbox, taps, traffic, drops, .. } = self;
        for Delivery { net, start, len } in frames {
            if coalescer.push(inbox.bytes(), *start..*start + *len, *net).is_ok() {
                traffic.ingress_frames += 1;
                traffic.ingress_bytes += u64::try_from(*len).unwrap_or_default();
            }
        }
        coalescer.flush(inbox.bytes_mut(), |net, bytes| {
            traffic.ingress_writes += u64::from(taps.write_headed(net, bytes, drops));
        });
    }

    /// Writes a frame that has a buffer of its own.
    fn write_alone(&mut self, net: NetSlot, buf: &Buf) {
        self.traffic.ingress_frames += 1;
        self.traffic.ingress_bytes += u64::try_from(buf.len()).unwrap_or_default();
        self.traffic.ingress_writes += u64::from(self.taps.write(net, buf.bytes(), &mut self.drops));
    }

    fn after_ingress(&mut self, now: Mono) {
        let mut out = std::mem::take(&mut self.ingress_out);
        for Frame { net, buf, .. } in out.assembled.drain(..) {
            self.write_alone(net, &buf);
            self.pool.give(buf);
        }
        self.deliver(&out.frames);
        out.frames.clear();
        for train in out.tunnels.drain(..) {
            self.seal(train, now);
        }
        for echo in out.echoes.drain(..) {
            if !self.paths.answered(&echo, now) {
                self.tell(LaneEvent::Echo(echo));
            }
        }
        for said in out.said.drain(..) {
            self.tell(LaneEvent::Said(said));
        }
        for refused in out.refused.drain(..) {
            self.tell(LaneEvent::Refused(refused));
        }
        self.ingress_out = out;
        self.flush(now);
    }
}
