//! The paths of a lane: drives their probes over the lane's own socket, and tells the data plane and the owner what comes of it.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::LaneEvent;
use crate::clock;
use crate::forward::{self, Echo, PathSizes, Pool, Table};
use crate::linux::udp::{LaneSocket, Sent};
use crate::policy::mtu::{IPV4, IPV6, UDP, WIREGUARD};
use crate::probe::{self, PathConfig, Probe, Status};
use crate::tunnel::{Event, Seal, Tunnels};
use crate::types::{Mono, PeerSlot};

/// How often it is looked whether anything comes from peers that answer nothing.
const LISTEN: Duration = Duration::from_millis(500);

/// What a lane knows of its paths.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// What the data plane asks.
    pub(super) sizes: PathSizes,
    probes: probe::Paths,
    /// By slot: how the size of an outer packet becomes that of a payload.
    outer: Vec<Outer>,
    told: VecDeque<LaneEvent>,
    /// When it is looked next whether silent peers are heard.
    listen_at: Mono,
}

#[derive(Debug, Clone, Copy)]
struct Outer {
    /// IP and UDP header towards where the peer is now.
    headers: u16,
    /// Size of the largest outer packet; 0 where there is no path.
    size: u16,
}

impl Default for Outer {
    fn default() -> Self {
        Self { headers: IPV4 + UDP, size: 0 }
    }
}

impl Paths {
    /// Follows a new setup. What is known of a path that stays is kept.
    pub(super) fn set(&mut self, configs: &[PathConfig], tunnels: &Tunnels, now: Mono) {
        let before: BTreeSet<PeerSlot> = self.probes.status().map(|(peer, _)| peer).collect();
        self.probes.set(configs, now);
        self.sizes = PathSizes::default();
        for config in configs {
            let status = tunnels.status(config.peer, now);
            let endpoint = status.as_ref().and_then(|status| status.endpoint);
            self.arrive(config.peer, endpoint.is_some_and(|to| to.is_ipv6()));
            // A peer of the plain path has a session already when its frames begin to take it.
            if !before.contains(&config.peer) && status.is_some_and(|status| status.up) {
                self.probes.up(config.peer, now);
            }
        }
        self.changes();
    }

    /// A tunnel has begun, ended or moved.
    pub(super) fn tunnel(&mut self, event: &Event, tunnels: &Tunnels, now: Mono) {
        match *event {
            Event::Up { peer } => {
                let endpoint = tunnels.status(peer, now).and_then(|status| status.endpoint);
                self.arrive(peer, endpoint.is_some_and(|to| to.is_ipv6()));
                self.probes.up(peer, now);
            }
            Event::Down { peer } => self.probes.down(peer),
            Event::EndpointMoved { peer, to, .. } => {
                self.arrive(peer, to.is_ipv6());
                self.probes.moved(peer, now);
            }
            Event::GaveUp { .. } | Event::Refused { .. } => {}
        }
        self.changes();
    }

    /// Datagrams of at most `datagram` bytes have left.
    #[inline]
    pub(super) fn used(&mut self, peer: PeerSlot, datagram: usize, now: Mono) {
        let Some(outer) = self.outer.get(peer.index()) else { return };
        let size = u16::try_from(datagram).unwrap_or(u16::MAX).saturating_add(outer.headers);
        self.probes.used(peer, size, now);
    }

    /// The owner wants to know now what the path to a peer carries.
    pub(super) fn again(&mut self, peer: PeerSlot, now: Mono) {
        self.probes.again(peer, now);
        self.changes();
    }

    /// The system has refused a datagram as too large for its interface: whoever is in use asks at once.
    pub(super) fn refused(&mut self, now: Mono) {
        self.probes.hint_all(now);
    }

    /// Takes an answer. False for one that no probe waits for.
    pub(super) fn answered(&mut self, echo: &Echo, now: Mono) -> bool {
        let known = self.probes.answered(echo.peer, echo.token, now);
        self.changes();
        known
    }

    /// When [`Self::send`] or [`Self::listen`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        let listen = self.probes.silent().next().map(|_| self.listen_at);
        [self.probes.poll_timeout(), listen].into_iter().flatten().min()
    }

    /// Whoever answers nothing and is heard is asked again soon.
    pub(super) fn listen(&mut self, tunnels: &Tunnels, now: Mono) {
        if now < self.listen_at {
            return;
        }
        self.listen_at = now + LISTEN;
        let silent: Vec<PeerSlot> = self.probes.silent().collect();
        for peer in silent {
            if let Some(at) = tunnels.status(peer, now).and_then(|status| status.last_received) {
                self.probes.heard(peer, at, now);
            }
        }
    }

    /// Sends the probes that are due, each alone.
    pub(super) fn send(
        &mut self,
        table: &Table,
        tunnels: &mut Tunnels,
        socket: &LaneSocket,
        pool: &mut Pool,
        now: Mono,
    ) -> Sent {
        let mut sent = Sent::default();
        self.probes.handle_timeout(now, &mut || u64::from_ne_bytes(clock::random()));
        while let Some(probe) = self.probes.poll_probe() {
            let too_big = sent.too_big;
            self.send_one(&probe, table, tunnels, socket, pool, &mut sent, now);
            if sent.too_big > too_big {
                // That is an answer, not a datagram lost.
                sent.too_big = too_big;
                self.probes.refused(&probe, now);
            }
        }
        self.changes();
        sent
    }

    /// What cannot be sent is a probe lost: without a session nothing waits for one.
    #[expect(clippy::too_many_arguments, reason = "the parts of a lane that a datagram passes on its way out")]
    fn send_one(
        &self,
        probe: &Probe,
        table: &Table,
        tunnels: &mut Tunnels,
        socket: &LaneSocket,
        pool: &mut Pool,
        sent: &mut Sent,
        now: Mono,
    ) {
        let peer = probe.peer;
        let headers = self.outer.get(peer.index()).copied().unwrap_or_default().headers;
        if !tunnels.status(peer, now).is_some_and(|status| status.up) {
            return;
        }
        let payload = probe.size.saturating_sub(headers + WIREGUARD);
        let Ok(Some(mut train)) = forward::probe(table, peer, probe.token, payload.into(), pool) else { return };
        for datagram in train.datagrams() {
            // The room is that of the payload and its tag: sealing adds no padding, so any size can be asked about.
            let len = usize::from(payload);
            if let Seal::Ready { len, to } = tunnels.seal(peer, datagram, len, now) {
                socket.send_one(to, &datagram[..len], sent);
            }
        }
        pool.give(train.into_buf(0));
    }

    /// The next thing worth telling, until there is none.
    pub(super) fn poll_event(&mut self) -> Option<LaneEvent> {
        self.told.pop_front()
    }

    /// What is known of each.
    pub(super) fn status(&self) -> Vec<(PeerSlot, Status)> {
        self.probes.status().collect()
    }

    /// The peer is reached over this family now.
    fn arrive(&mut self, peer: PeerSlot, ipv6: bool) {
        if self.outer.len() <= peer.index() {
            self.outer.resize(peer.index() + 1, Outer::default());
        }
        let outer = &mut self.outer[peer.index()];
        outer.headers = UDP + if ipv6 { IPV6 } else { IPV4 };
        self.sizes.set(peer, outer.payload());
    }

    fn changes(&mut self) {
        while let Some(probe::Change { peer, size, settled }) = self.probes.poll_change() {
            if let Some(outer) = self.outer.get_mut(peer.index()) {
                outer.size = size;
                self.sizes.set(peer, outer.payload());
            }
            if let Some(before) = settled {
                self.told.push_back(LaneEvent::Path { peer, before, after: size });
            }
        }
    }
}

impl Outer {
    /// Bytes of tunnel payload in the largest outer packet.
    const fn payload(self) -> u16 {
        self.size.saturating_sub(self.headers + WIREGUARD)
    }
}
