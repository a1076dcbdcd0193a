//! The thread of a lane: waits for descriptors, moves batches between TAPs, tunnels and the socket.
//!
//! Per packet it allocates nothing, takes no lock and writes no log. Work per descriptor and turn is bounded, so a busy TAP
//! starves neither the others nor the timers.

mod inward;
mod speak;
mod together;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::doors::{Entrance, Passage};
use super::mailbox::Mailbox;
use super::pace::Pace;
use super::paths::Paths;
use super::taps::Taps;
use super::{LaneConfig, LaneError, LaneEvent, LaneStats, Setup, Traffic};
use crate::clock;
use crate::forward::coalesce::Coalescer;
use crate::forward::train::AROUND;
use crate::forward::{DropReason, Drops, Egress, EgressOut, Frame, Ingress, IngressOut, Outgoing, Payload, Pool};
use crate::linux::confine::{self, Duty, Reach};
use crate::linux::inbox::Inbox;
use crate::linux::poll::Poll;
use crate::linux::udp::{Datagrams, LaneSocket, Sent};
use crate::linux::{sys, tap};
use crate::tunnel::{self, Seal, Tunnels};
use crate::types::{Mono, PeerSlot};

/// Frames or datagrams taken from one descriptor in one turn.
const BATCH: usize = 64;
/// Payloads of one turn that there is room for from the start: trains of full-size datagrams.
const PAYLOADS: usize = 256;
/// Bytes of frames after which no more are taken in one turn: enough for full trains, little enough to stay in the cache.
const BATCH_BYTES: usize = 128 << 10;
/// How long a TAP that cannot be opened is left alone.
const RETRY: Duration = Duration::from_secs(1);

/// Token of the mailbox's bell.
const BELL: u64 = u64::MAX;
/// Token of the socket. The tokens of TAPs are their network's slot.
const SOCKET: u64 = u64::MAX - 1;
/// Token of the bell that other lanes ring.
const DOOR: u64 = u64::MAX - 2;

/// Everything that a lane owns.
pub(super) struct Shell {
    cpu: Option<usize>,
    mailbox: Arc<Mailbox>,
    passage: Passage,
    /// When the other lanes are told again which sessions there are.
    publish_at: Mono,
    events: SyncSender<LaneEvent>,
    events_lost: u64,
    poll: Poll,
    tap_pace: Pace,
    wire_pace: Pace,
    socket: LaneSocket,
    tunnels: Tunnels,
    paths: Paths,
    taps: Taps,
    setup: Arc<Setup>,
    egress: Egress,
    ingress: Ingress,
    drops: Drops,
    traffic: Traffic,
    refused: Option<(SocketAddr, i32, Mono)>,
    pool: Pool,
    frames: Vec<Frame>,
    egress_out: EgressOut,
    ingress_out: IngressOut,
    inbox: Inbox,
    coalescer: Coalescer,
    payloads: Vec<Payload>,
    sending: Vec<Datagrams>,
}

/// The operating system's randomness for tunnels.
struct System;

impl tunnel::Random for System {
    fn fill(&mut self, bytes: &mut [u8]) {
        clock::fill_random(bytes);
    }
}

/// From now on this thread moves frames and does nothing else. A kernel that cannot hold it back costs a line of defence, not
/// a frame: what is left open is returned.
pub(in crate::meshd) fn hold_back() -> Vec<String> {
    let reached = confine::reach(Reach::Device(tap::DEVICE.as_ref()));
    if matches!(reached, Ok(false)) {
        tracing::info!("this kernel has no Landlock: lanes may open the files of their user");
    }
    let files = reached.err().map(|error| format!("lanes may open the files of their user: {error}"));
    let calls = confine::seal(Duty::Lane).err().map(|error| format!("lanes may make any system call: {error}"));
    files.into_iter().chain(calls).collect()
}

impl Shell {
    pub(super) fn new(
        config: LaneConfig,
        mailbox: Arc<Mailbox>,
        events: SyncSender<LaneEvent>,
        entrance: Entrance,
    ) -> Result<Self, LaneError> {
        let index = config.spread.own();
        let start = |source| LaneError::Start { index, source };
        let passage = Passage::new(index, entrance);
        let poll = Poll::new().map_err(start)?;
        let mut socket = LaneSocket::bind(config.listen)?;
        socket.set_offload(config.offload).map_err(start)?;
        poll.add(mailbox.wake.as_fd(), BELL).map_err(start)?;
        poll.add(socket.as_fd(), SOCKET).map_err(start)?;
        poll.add(passage.as_fd(), DOOR).map_err(start)?;
        let now = clock::mono();
        Ok(Self {
            cpu: config.cpu,
            mailbox,
            passage,
            publish_at: now,
            events,
            events_lost: 0,
            poll,
            tap_pace: Pace::new(now),
            wire_pace: Pace::new(now),
            socket,
            tunnels: Tunnels::new(config.secret, Box::new(System), now),
            paths: Paths::default(),
            taps: Taps::new(config.offload),
            setup: Arc::default(),
            egress: Egress::new(config.spread.clone()),
            ingress: Ingress::new(config.spread),
            drops: Drops::default(),
            traffic: Traffic::default(),
            refused: None,
            pool: Pool::default(),
            frames: Vec::with_capacity(BATCH),
            egress_out: EgressOut::default(),
            ingress_out: IngressOut::default(),
            inbox: Inbox::default(),
            coalescer: Coalescer::new(PAYLOADS, &[]),
            payloads: Vec::with_capacity(PAYLOADS),
            sending: Vec::with_capacity(BATCH),
        })
    }

    /// Runs until the mailbox says stop.
    pub(super) fn run(mut self) {
        if let Some(cpu) = self.cpu {
            // A CPU that has gone away costs speed, not frames.
            let _ = sys::pin_thread(cpu);
        }
        for loose in hold_back() {
            // Nobody who listens is nobody to tell.
            let _ = self.events.try_send(LaneEvent::Loose(loose));
        }
        while self.turn() {}
    }

    /// One wait and everything that it found. False: stop.
    fn turn(&mut self) -> bool {
        let now = clock::mono();
        let due =
            [self.tunnels.poll_timeout(), self.taps.retry_at(), self.paths.poll_timeout()].into_iter().flatten().min();
        if self.poll.wait(due.map(|due| due.since(now))).is_err() {
            // Only a closed or invalid descriptor does this, and both are ours: end, and be restarted.
            return false;
        }
        let now = clock::mono();
        if self.passage.is_called() {
            // Before the own queues: the kernel moves a flow to this lane after it was handed over for a while.
            self.carry_for_others(now);
        }
        let mut at = 0;
        while let Some(token) = self.poll.nth(at) {
            at += 1;
            match token {
                BELL => {
                    if !self.mail(now) {
                        return false;
                    }
                }
                SOCKET => self.wire_readable(now),
                DOOR => self.carry_for_others(now),
                tap => self.tap_readable(tap, now),
            }
        }
        self.timers(clock::mono());
        true
    }

    /// Does what the owner asks. False: stop.
    fn mail(&mut self, now: Mono) -> bool {
        let letters = self.mailbox.take();
        if letters.stop {
            return false;
        }
        #[cfg(debug_assertions)]
        assert!(!letters.fail, "asked to");
        if let Some(doors) = letters.doors {
            self.passage.set_doors(doors);
        }
        if let Some(setup) = letters.setup {
            self.tunnels.set_keys(&setup.keys);
            self.tunnels.set_peers(setup.peers.clone(), now);
            self.paths.set(&setup.paths, &self.tunnels, now);
            self.withdraw(now);
            let used = std::mem::replace(&mut self.setup, setup);
            self.mailbox.give_back(used);
            self.coalescer = Coalescer::new(PAYLOADS, &self.setup.table.udp_ports());
            self.taps.want(&self.setup.taps, &self.poll);
            self.open_taps(now);
        }
        for (net, frame) in letters.announce {
            self.taps.write(net, &frame, &mut self.drops);
        }
        for peer in letters.probe {
            self.paths.again(peer, now);
        }
        self.say(letters.say, now);
        for asker in letters.stats {
            // The asker may have lost its patience.
            let _ = asker.try_send(self.stats(now));
        }
        true
    }

    fn stats(&self, now: Mono) -> LaneStats {
        let mut drops = self.drops.clone();
        drops.merge(&self.egress.drops);
        drops.merge(&self.ingress.drops);
        let mut sizes = self.egress.sizes.clone();
        sizes.merge(&self.ingress.sizes);
        let status = |slot: PeerSlot| Some((slot, self.tunnels.status(slot, now)?));
        LaneStats {
            lane: self.egress.spread.own(),
            traffic: Traffic {
                answered: self.egress.answered,
                cuts: self.egress.cuts,
                recut: self.taps.recut(),
                ..self.traffic
            },
            drops,
            overflows: self.socket.dropped().unwrap_or_default(),
            refused: self.refused,
            sizes,
            tunnels: *self.tunnels.counters(),
            peers: self.setup.peers.iter().filter_map(|peer| status(peer.slot)).collect(),
            paths: self.paths.status(),
            taps: self.taps.status(),
            events_lost: self.events_lost,
        }
    }

    /// Reads frames from one TAP and forwards them.
    fn tap_readable(&mut self, token: u64, now: Mono) {
        let most = self.tap_pace.read(now, BATCH);
        if let Err(error) = self.read_tap(token, most) {
            self.taps.broken(token, &error, &self.poll, now + RETRY);
        }
        let Self { egress, setup, paths, frames, pool, egress_out, .. } = self;
        egress.batch(&setup.table, &paths.sizes, now, frames, pool, egress_out);
        self.after_egress(now);
    }

    /// Fills `frames` with at most `most`, and no more bytes than a batch has.
    fn read_tap(&mut self, token: u64, most: usize) -> io::Result<()> {
        let Some((net, tap)) = self.taps.get(token) else { return Ok(()) };
        let mut bytes = 0;
        while self.frames.len() < most && bytes < BATCH_BYTES {
            let Some(mut buf) = self.pool.take() else { break };
            let (len, header) = match tap.read(buf.space()) {
                Ok(Some(read)) => read,
                nothing @ (Ok(None) | Err(_)) => {
                    self.pool.give(buf);
                    return nothing.map(drop);
                }
            };
            let Some(virtio) = header else {
                self.drops.count(DropReason::OffloadUnexpected);
                self.pool.give(buf);
                continue;
            };
            if virtio.is_crumbled(len) {
                self.drops.count(DropReason::PiecesTooMany);
                self.pool.give(buf);
                bytes += len;
                continue;
            }
            buf.filled(len);
            bytes += len;
            self.traffic.egress_frames += 1;
            self.traffic.egress_bytes += u64::try_from(len).unwrap_or(u64::MAX);
            self.frames.push(Frame { net, buf, virtio });
        }
        Ok(())
    }

    fn after_egress(&mut self, now: Mono) {
        let mut out = std::mem::take(&mut self.egress_out);
        for train in out.tunnels.drain(..) {
            self.seal(train, now);
        }
        for Frame { net, buf, .. } in out.answers.drain(..) {
            self.taps.write(net, buf.bytes(), &mut self.drops);
            self.pool.give(buf);
        }
        for refused in out.refused.drain(..) {
            self.tell(LaneEvent::Refused(refused));
        }
        for handed in out.handed.drain(..) {
            self.passage.pass(handed, &mut self.pool, &mut self.drops);
        }
        self.passage.ring();
        self.egress_out = out;
        self.flush(now);
    }

    /// Seals a train in place, datagram by datagram, and lines it up for sending.
    fn seal(&mut self, mut train: Outgoing, now: Mono) {
        let (peer, segment) = (train.peer, train.size());
        let (mut address, mut ready, mut at) = (None, 0, 0);
        for datagram in train.datagrams() {
            let len = datagram.len().saturating_sub(AROUND);
            match self.tunnels.seal(peer, datagram, len, now) {
                // Only what is sealed may leave, and it is the first datagrams of the train: a session ends, but none
                // begins, between two of them.
                Seal::Ready { to, .. } if ready == at => {
                    address = Some(to);
                    ready += 1;
                }
                Seal::Queued => {}
                Seal::Ready { .. } | Seal::Dropped(_) => self.drops.count(DropReason::TunnelRefused),
            }
            at += 1;
        }
        let buf = train.into_buf(ready);
        match address {
            Some(address) => {
                self.paths.used(peer, segment, now);
                self.sending.push(Datagrams { address, buf, segment });
            }
            None => self.pool.give(buf),
        }
    }

    /// Sends what is lined up, and what the tunnels themselves have to say.
    fn flush(&mut self, now: Mono) {
        let mut sent = self.socket.send(&self.sending, now);
        for datagrams in self.sending.drain(..) {
            self.pool.give(datagrams.buf);
        }
        while let Some(transmit) = self.tunnels.poll_transmit() {
            self.socket.send_one(transmit.to, &transmit.datagram, &mut sent);
        }
        if sent.too_big > 0 {
            self.paths.refused(now);
        }
        self.count(sent);
        while let Some(event) = self.tunnels.poll_event() {
            self.publish_at = now;
            self.paths.tunnel(&event, &self.tunnels, now);
            self.tell(LaneEvent::Tunnel(event));
        }
        while let Some(event) = self.paths.poll_event() {
            self.tell(event);
        }
    }

    fn count(&mut self, sent: Sent) {
        let Sent { sent, too_big, busy, failed, refused, resent, tails } = sent;
        if let Some((to, error)) = refused {
            self.refused = Some((to, error, clock::mono()));
        }
        self.traffic.datagrams_sent += sent;
        self.traffic.resent += resent;
        self.traffic.tails_sent += tails;
        self.drops.add(DropReason::SendTooBig, too_big);
        self.drops.add(DropReason::SendBusy, busy);
        self.drops.add(DropReason::SendFailed, failed);
    }

    fn timers(&mut self, now: Mono) {
        if self.tunnels.poll_timeout().is_some_and(|due| due <= now) {
            self.tunnels.handle_timeout(now, clock::wall());
        }
        if self.paths.poll_timeout().is_some_and(|due| due <= now) {
            let Self { paths, setup, tunnels, socket, pool, .. } = self;
            paths.listen(tunnels, now);
            let sent = paths.send(&setup.table, tunnels, socket, pool, now);
            self.count(sent);
        }
        if self.taps.retry_at().is_some_and(|due| due <= now) {
            self.open_taps(now);
        }
        self.flush(now);
        self.publish(now);
    }

    fn open_taps(&mut self, now: Mono) {
        let mut told = Vec::new();
        self.taps.open_missing(&self.poll, now + RETRY, &mut told);
        for event in told {
            self.tell(event);
        }
    }

    fn tell(&mut self, event: LaneEvent) {
        if self.events.try_send(event).is_err() {
            self.events_lost += 1;
        }
    }
}
