//! All lanes of the node: started together, set together, looked after, and started anew where one dies.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::events::Tone;
use super::lane::{self, Door, Lane, LaneConfig, LaneError, LaneEvent, LaneStats, Setup};
use super::shared::{Shared, Topic};
use crate::api::local::Finding;
use crate::api::problem::{Exit, Problem};
use crate::forward::{Board, Echo, Refused, Slots, Spread};
use crate::linux::udp::UdpError;
use crate::policy::offload::Offload;
use crate::tunnel;
use crate::types::{NetSlot, PeerSlot, SecretKey, UdpPort};
use crate::wire::oam::Oam;

/// The lanes.
#[derive(Debug)]
pub struct Lanes {
    count: u8,
    inner: Mutex<Inner>,
}

struct Inner {
    listen: UdpPort,
    secret: SecretKey,
    offload: Offload,
    board: Arc<Board>,
    running: Vec<Running>,
    stopped: bool,
}

struct Running {
    /// None: it could not be started yet, or again.
    lane: Option<Lane>,
    /// Its door, or that of the one before.
    door: Door,
    index: u8,
    setup: Arc<Setup>,
}

/// How many CPUs this process may use.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Lanes {
    /// Starts `count` lanes; lane i listens on UDP port `listen` + i. They forward nothing before [`Lanes::set`]. A lane whose port
    /// is taken starts when the port is free: what has it may be gone in a minute, and all but tunnels stands without it.
    ///
    /// # Errors
    /// M0637: the system gives no thread or socket. No lane runs then.
    pub fn start(count: u8, listen: UdpPort, secret: SecretKey, offload: Offload) -> Result<Self, Problem> {
        let board = Arc::new(Board::new(count));
        let mut inner = Inner { listen, secret, offload, board, running: Vec::new(), stopped: false };
        for index in 0..count {
            let (door, lane) = match inner.spawn(index, count) {
                Ok(lane) => (lane.door(), Some(lane)),
                Err(LaneError::Udp(UdpError::Taken(_))) => {
                    let door = Door::nowhere().map_err(|source| LaneError::Start { index, source });
                    (door.map_err(|error| not_started(index, &error))?, None)
                }
                Err(error) => return Err(not_started(index, &error)),
            };
            inner.running.push(Running { door, lane, index, setup: Arc::default() });
        }
        inner.introduce();
        Ok(Self { count, inner: Mutex::new(inner) })
    }

    /// How many there are.
    pub const fn count(&self) -> u8 {
        self.count
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives each lane what it forwards by from now on.
    pub fn set(&self, make: impl Fn(u8) -> Arc<Setup>) {
        for running in &mut self.inner().running {
            running.setup = make(running.index);
            if let Some(lane) = &running.lane {
                lane.set(Arc::clone(&running.setup));
            }
        }
    }

    /// Has every lane measure the path to a peer anew, now.
    pub fn probe(&self, peer: PeerSlot) {
        self.inner().running.iter().filter_map(|running| running.lane.as_ref()).for_each(|lane| lane.probe(peer));
    }

    /// Sends control messages to peers, in the sessions of lane 0.
    pub fn say(&self, messages: Vec<(PeerSlot, Oam)>) {
        if let Some(lane) = self.inner().running.first().and_then(|running| running.lane.as_ref()) {
            lane.say(messages);
        }
    }

    /// Says frames to the guests of this node. Lane 0 has a queue of every TAP.
    pub fn announce(&self, frames: Vec<(NetSlot, Vec<u8>)>) {
        if let Some(lane) = self.inner().running.first().and_then(|running| running.lane.as_ref()) {
            lane.announce(frames);
        }
    }

    /// What each lane has done; a dead one is left out.
    pub fn stats(&self) -> Vec<LaneStats> {
        self.inner().running.iter().filter_map(|r| r.lane.as_ref()?.stats().ok()).collect()
    }

    /// Turns events of lanes into events of the node, and starts dead lanes again with what they forwarded by.
    pub fn tend(&self, shared: &Shared) {
        let mut inner = self.inner();
        if inner.stopped {
            return;
        }
        // Copied only where there is something to tell: the names of many networks, twice a second for nothing, are not nothing.
        let mut slots = None;
        for running in &inner.running {
            for event in running.lane.iter().flat_map(|lane| lane.events().try_iter()) {
                let slots = slots.get_or_insert_with(|| shared.view().slots.clone());
                tell(shared, slots, running.index, &event);
            }
        }
        let dead: Vec<usize> = (0..inner.running.len())
            .filter(|n| inner.running.get(*n).is_some_and(|r| r.lane.as_ref().is_none_or(Lane::is_dead)))
            .collect();
        let mut findings = Vec::new();
        for place in dead {
            if let Err((index, error)) = inner.revive(place, self.count, shared) {
                findings.push(not_running(index, &error));
            }
        }
        drop(inner);
        shared.find(Topic::Lanes, findings);
    }

    /// Makes one panic. Only in builds with debug assertions: tests need to see what happens then.
    #[cfg(debug_assertions)]
    pub fn fail(&self, index: u8) {
        let inner = self.inner();
        let lane = inner.running.iter().find(|running| running.index == index);
        if let Some(lane) = lane.and_then(|running| running.lane.as_ref()) {
            lane.fail();
        }
    }

    /// Stops all of them.
    pub fn stop(&self) {
        let mut inner = self.inner();
        inner.stopped = true;
        inner.running.clear();
    }
}

impl Inner {
    fn spawn(&self, index: u8, count: u8) -> Result<Lane, LaneError> {
        let port = self.listen.get().saturating_add(u16::from(index));
        // One lane alone is best placed by the scheduler; several share the CPUs out.
        let cpu = (count > 1).then_some(usize::from(index) % cpus());
        let listen = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let spread = Spread::new(index, count, &self.board);
        lane::spawn(LaneConfig { spread, listen, secret: self.secret.clone(), cpu, offload: self.offload })
    }

    /// Gives each lane the doors of all.
    fn introduce(&self) {
        let doors: Vec<Door> = self.running.iter().map(|running| running.door.clone()).collect();
        for lane in self.running.iter().filter_map(|running| running.lane.as_ref()) {
            lane.set_doors(doors.clone());
        }
    }

    fn revive(&mut self, place: usize, count: u8, shared: &Shared) -> Result<(), (u8, LaneError)> {
        let Some(running) = self.running.get_mut(place) else { return Ok(()) };
        let index = running.index;
        if running.lane.take().is_some() {
            shared.events.warn("lane-died", format!("lane {index} died; it is started again"));
        }
        let lane = self.spawn(index, count).map_err(|error| (index, error))?;
        if let Some(running) = self.running.get_mut(place) {
            lane.set(Arc::clone(&running.setup));
            running.door = lane.door();
            running.lane = Some(lane);
        }
        self.introduce();
        Ok(())
    }
}

fn not_started(index: u8, error: &LaneError) -> Problem {
    Problem::new("M0637", Exit::Failed, format!("lane {index} cannot start: {error}")).note("nothing was changed")
}

/// A lane that is tried again and again.
fn not_running(index: u8, error: &LaneError) -> Finding {
    if let LaneError::Udp(UdpError::Taken(address)) = error {
        let port = address.port();
        let what = format!(
            "UDP port {port} is taken by another program, so lane {index} does not run and no tunnel of it; it is tried again"
        );
        let help = format!(
            "ss -lunp sport = :{port} names the other program; stop it, or set another listen in [underlay] of meshd.toml (lane i uses listen + i), then: systemctl restart meshd"
        );
        return Finding::new("M0636", what, help);
    }
    let what = format!("lane {index} does not run and does not start: {error}; it is tried again");
    Finding::new("M0637", what, "systemctl restart meshd")
}

fn tell(shared: &Shared, slots: &Slots, lane: u8, event: &LaneEvent) {
    let name = |slot: PeerSlot| slots.peer_name(slot).map_or_else(|| "a former peer".to_owned(), ToString::to_string);
    match event {
        LaneEvent::Tunnel(event) => tell_tunnel(shared, lane, event, name),
        LaneEvent::Refused(refused) => {
            let source = refused.peer.map_or_else(|| "guests".to_owned(), name);
            shared.events.by_others(Tone::Wrong, "source-refused", &source, refusal(slots, refused));
        }
        LaneEvent::Path { peer, before, after } => {
            let what = format!("{} on lane {lane}: {before} bytes before, {after} now", name(*peer));
            let tone = if after < before { Tone::Wrong } else { Tone::Fine };
            shared.events.by_others(tone, "path-mtu", &name(*peer), what);
        }
        LaneEvent::TapOpened(_, tap) => tracing::debug!("lane {lane} opened {tap}"),
        LaneEvent::TapFailed(_, tap, error) => {
            let what = format!("lane {lane} cannot use {tap}: {error}; it is tried again");
            shared.events.by_others(Tone::Wrong, "tap-failed", tap.as_str(), what);
        }
        LaneEvent::Loose(why) => shared.loose(why),
        LaneEvent::Said(said) => shared.watch.said(*said),
        LaneEvent::Echo(Echo { peer, token, size }) => {
            tracing::debug!("lane {lane}: {} echoed {token:#x}, {size:?} bytes", name(*peer));
        }
    }
}

fn tell_tunnel(shared: &Shared, lane: u8, event: &tunnel::Event, name: impl Fn(PeerSlot) -> String) {
    let say = |tone, kind, peer: &PeerSlot, what: String| {
        let peer = name(*peer);
        shared.events.by_others(tone, kind, &peer, format!("{peer} on lane {lane}{what}"));
    };
    match event {
        tunnel::Event::Up { peer } => say(Tone::Fine, "tunnel-up", peer, String::new()),
        tunnel::Event::Down { peer } => say(Tone::Wrong, "tunnel-down", peer, ": no session any more".to_owned()),
        tunnel::Event::GaveUp { peer } => {
            say(Tone::Wrong, "tunnel-silent", peer, " answered no handshake for 90 s".to_owned());
        }
        tunnel::Event::EndpointMoved { peer, from, to } => {
            let from = from.map_or_else(|| "an unknown place".to_owned(), |from| from.to_string());
            say(Tone::Fine, "endpoint-moved", peer, format!(": from {from} to {to}"));
        }
        tunnel::Event::Refused { peer, why } => say(Tone::Wrong, "peer-refused", peer, format!(": {why}")),
    }
}

fn refusal(slots: &Slots, refused: &Refused) -> String {
    let net = refused
        .net
        .and_then(|net| slots.net_name(net))
        .map_or_else(|| "no network of this node".into(), ToString::to_string);
    let from = refused
        .peer
        .and_then(|peer| slots.peer_name(peer))
        .map_or_else(|| "a guest here".into(), |peer| format!("peer {peer}"));
    format!("a frame of {from} from {} in {net} was dropped: {}", refused.mac, refused.reason.meaning())
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("listen", &self.listen)
            .field("lanes", &self.running.len())
            .finish_non_exhaustive()
    }
}
