//! The thread that watches the plain path: its own queue of each echo TAP, and what the echoes say.
//!
//! It is held back as a lane is. What a member of the mesh sends to it at most costs it a percent of a core: after 64 frames it pauses
//! for 10 ms, and the kernel drops what the TAP's queue cannot hold.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::beat::Beat;
use super::crossing::Passage;
use super::ends::{self, Asked};
use super::lane;
use super::shared::Shared;
use crate::clock::{self, mono};
use crate::forward::Said;
use crate::linux::poll::Poll;
use crate::linux::tap::{Offloads, Tap, TapError};
use crate::node::causes;
use crate::node::crossing::Way;
use crate::node::unwatched::Eye;
use crate::node::watch::Echoes;
use crate::probe::crossing::Crossed;
use crate::probe::plain::{Out, PairConfig, Report, Watch};
use crate::types::{IfName, Mono, PeerSlot, UdpPort};
use crate::wire::oam::{Kind, Oam};

/// Frames taken from one TAP in one turn.
const BATCH: usize = 64;
/// How long it rests after so many.
const PAUSE: Duration = Duration::from_millis(10);
/// How often it looks for letters although nothing is due.
const LOOK: Duration = Duration::from_millis(250);
/// How often it writes down what is known.
const PUBLISH: Duration = Duration::from_secs(1);
/// How old may be what is written down: longer than a machine that is busy takes between two turns.
const OLD: Duration = Duration::from_secs(15);
/// Pairs that are due so soon after one another are asked together.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long a TAP that cannot be opened is left alone.
const RETRY: Duration = Duration::from_secs(1);
/// Room for the largest frame of a plain path.
const FRAME: usize = 1 << 16;

/// What the thread is told, and what it knows.
#[derive(Debug, Default)]
pub struct Watching {
    letters: Mutex<Letters>,
    /// What peers are asked about their guests, and answer.
    pub(super) ends: Asked,
    known: Mutex<Known>,
    crossing: Mutex<Crossing>,
    /// When that was written down last.
    beat: Beat,
}

#[derive(Default)]
struct Letters {
    setup: Option<Vec<(Echoes, Vec<PairConfig>)>>,
    way: Option<Option<Way>>,
    said: Vec<Said>,
    again: Vec<PeerSlot>,
}

impl std::fmt::Debug for Letters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letters").field("said", &self.said).finish_non_exhaustive()
    }
}

/// What is known of all pairs.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// By UDP port of the overlay and peer.
    pub reports: BTreeMap<(UdpPort, PeerSlot), Report>,
    /// TAPs that cannot be used, and why.
    pub closed: BTreeMap<UdpPort, String>,
}

/// What is known of frames that cross a bridge, and which.
type Crossing = (Option<Way>, Crossed);

impl Watching {
    fn letters<T>(&self, work: impl FnOnce(&mut Letters) -> T) -> T {
        work(&mut self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who is watched from now on.
    pub fn set(&self, setup: Vec<(Echoes, Vec<PairConfig>)>) {
        self.letters(|letters| letters.setup = Some(setup));
    }

    /// Which bridge is crossed from now on.
    pub fn cross(&self, way: Option<Way>) {
        self.letters(|letters| letters.way = Some(way));
    }

    /// What is known of it now. What is old is not.
    pub fn crossing(&self) -> (Option<Way>, Crossed) {
        let (way, crossed) = self.crossing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (way, if self.is_old(mono()) { Crossed::default() } else { crossed })
    }

    /// True where the thread has not written down anything for long: it is dead, or stands still.
    pub(super) fn is_old(&self, now: Mono) -> bool {
        self.beat.is_late(OLD, now)
    }

    /// A peer has said something by the session.
    pub fn said(&self, said: Said) {
        self.letters(|letters| letters.said.push(said));
    }

    /// Measures the path to a peer anew.
    pub fn again(&self, peer: PeerSlot) {
        self.letters(|letters| letters.again.push(peer));
    }

    /// What is known now.
    pub fn known(&self) -> Known {
        if self.is_old(mono()) {
            return Known::default();
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts the thread, which runs as long as the process. The TAPs belong to the network namespace of the calling thread.
///
/// # Errors
/// The system gives no thread or epoll.
pub fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
    let (poll, shared) = (Poll::new()?, Arc::clone(shared));
    let work = move || {
        let eye = shared.watcher(Eye::Plain);
        for loose in lane::hold_back() {
            shared.loose(&loose);
        }
        let (now, frame) = (mono(), vec![0; FRAME]);
        let (overlays, passage, known) = (Vec::new(), None, ends::Known::default());
        let mut watcher = Watcher { shared, poll, overlays, passage, retry_at: now, publish_at: now, frame, known };
        let error = loop {
            if let Err(error) = watcher.turn() {
                break error;
            }
        };
        eye.ends(&error);
    };
    std::thread::Builder::new().name("plain-watch".into()).spawn(work).map(drop)
}

/// One overlay.
struct Overlay {
    name: IfName,
    tap: Option<Tap>,
    failed: Option<TapError>,
    watch: Watch,
}

struct Watcher {
    shared: Arc<Shared>,
    poll: Poll,
    overlays: Vec<Overlay>,
    passage: Option<Passage>,
    retry_at: Mono,
    publish_at: Mono,
    frame: Vec<u8>,
    known: ends::Known,
}

impl Watcher {
    /// One wait and everything that it found.
    ///
    /// # Errors
    /// Nothing can be waited for any more.
    fn turn(&mut self) -> std::io::Result<()> {
        let now = mono();
        let due = self.overlays.iter().filter_map(|overlay| overlay.watch.poll_timeout()).min();
        let wait = due.map_or(LOOK, |due| due.since(now).max(TOGETHER).min(LOOK));
        self.poll.wait(Some(wait))?;
        let now = mono();
        let mut asks = self.read_letters(now);
        if now >= self.retry_at {
            self.open(now);
        }
        let mut most = 0;
        for overlay in &mut self.overlays {
            most = most.max(overlay.read(&self.poll, &mut self.frame, &mut asks));
            overlay.ask(mono(), &mut asks);
        }
        if let Some(passage) = &mut self.passage {
            passage.turn(&mut self.frame);
        }
        if !asks.is_empty() {
            self.shared.lanes.say(asks);
        }
        if now >= self.publish_at {
            self.publish_at = now + PUBLISH;
            self.publish();
        }
        if most >= BATCH {
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Follows a new setup, and answers what peers have asked by their sessions.
    fn read_letters(&mut self, now: Mono) -> Vec<(PeerSlot, Oam)> {
        let Letters { setup, way, said, again } = self.shared.watch.letters(std::mem::take);
        if let Some(setup) = setup {
            self.follow(setup, now);
        }
        if let Some(way) = way {
            self.cross(way, now);
        }
        for peer in again {
            self.overlays.iter_mut().for_each(|overlay| overlay.watch.again(peer, now));
        }
        said.into_iter().filter_map(|Said { peer, message }| self.answer(peer, message, now)).collect()
    }

    fn answer(&mut self, peer: PeerSlot, message: Oam, now: Mono) -> Option<(PeerSlot, Oam)> {
        let tenths = |ago: Duration| u16::try_from(ago.as_millis() / 100).unwrap_or(u16::MAX);
        match message.kind {
            Kind::PlainAsk => {
                // Who does not look at the path to a peer has not heard it, and that tells nothing of the path.
                let mut looks =
                    self.overlays.iter().filter(|overlay| overlay.tap.is_some() && overlay.watch.knows(peer));
                looks.next()?;
                let heard = self.overlays.iter().filter_map(|overlay| overlay.watch.heard(peer, now)).min();
                let hit = causes::watch_is_hit(self.shared.view().findings.values().flatten());
                let kind = Kind::PlainTell { heard: heard.map_or(u16::MAX, tenths), hit };
                Some((peer, Oam { kind, ..message }))
            }
            Kind::PlainTell { heard, hit } => {
                let heard = Some(heard).filter(|heard| *heard != u16::MAX);
                let heard = heard.map(|tenths| Duration::from_millis(u64::from(tenths) * 100));
                for overlay in &mut self.overlays {
                    overlay.watch.told(peer, message.token, (heard, hit), now);
                }
                None
            }
            Kind::GuestAsk { .. } => {
                let answer = self.known.answer(&self.shared, peer, message, now)?;
                Some((peer, answer))
            }
            Kind::GuestTell { stands, .. } => {
                self.shared.watch.ends.told(peer, message, stands);
                None
            }
            Kind::EchoRequest | Kind::EchoReply { .. } => None,
        }
    }

    fn follow(&mut self, setup: Vec<(Echoes, Vec<PairConfig>)>, now: Mono) {
        let mut old = std::mem::take(&mut self.overlays);
        for (echoes, pairs) in setup {
            let same = old.iter().position(|overlay| overlay.name == echoes.tap);
            let new =
                || Overlay { watch: Watch::new(echoes.udp_port), name: echoes.tap.clone(), tap: None, failed: None };
            let mut overlay = same.map_or_else(new, |at| old.swap_remove(at));
            overlay.watch.set(pairs, now);
            self.overlays.push(overlay);
        }
        self.retry_at = now;
        for tap in old.into_iter().filter_map(|overlay| overlay.tap) {
            let _ = self.poll.remove(tap.as_fd());
        }
    }

    fn cross(&mut self, way: Option<Way>, now: Mono) {
        match (&mut self.passage, way) {
            (Some(passage), Some(way)) => passage.follow(way),
            (passage, way) => *passage = way.map(Passage::new),
        }
        self.retry_at = now;
    }

    /// Opens every TAP that is not open.
    fn open(&mut self, now: Mono) {
        self.retry_at = now + RETRY;
        if let Some(passage) = &mut self.passage {
            passage.try_open(now);
        }
        for overlay in self.overlays.iter_mut().filter(|overlay| overlay.tap.is_none()) {
            let opened = Tap::attach(&overlay.name, Offloads::None);
            match opened.and_then(|tap| match self.poll.add(tap.as_fd(), 0) {
                Ok(()) => Ok(tap),
                Err(source) => Err(TapError::System { name: overlay.name.clone(), step: "epoll_ctl", source }),
            }) {
                Ok(tap) => (overlay.tap, overlay.failed) = (Some(tap), None),
                Err(error) => overlay.failed = Some(error),
            }
        }
    }

    fn publish(&self) {
        let mut known = Known::default();
        for overlay in &self.overlays {
            let port = overlay.watch.udp_port();
            known.reports.extend(overlay.watch.reports().into_iter().map(|report| ((port, report.peer), report)));
            known.closed.extend(overlay.failed.as_ref().map(|error| (port, error.to_string())));
        }
        if let Some(passage) = &self.passage {
            let mut eyes = self.shared.eyes();
            match passage.failed() {
                Some(why) => eyes.fails(Eye::Bridges, why.to_owned(), mono()),
                None => eyes.works(Eye::Bridges),
            }
        }
        self.shared.watch.beat.strike(mono());
        let crossing = self.passage.as_ref().map(|passage| (Some(passage.way().clone()), passage.crossed()));
        *self.shared.watch.crossing.lock().unwrap_or_else(PoisonError::into_inner) = crossing.unwrap_or_default();
        *self.shared.watch.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

impl Overlay {
    /// Takes what has arrived, and answers it. Returns how many frames that were.
    fn read(&mut self, poll: &Poll, frame: &mut [u8], asks: &mut Vec<(PeerSlot, Oam)>) -> usize {
        let Self { tap: place, watch, .. } = self;
        let Some(tap) = place else { return 0 };
        for taken in 0..BATCH {
            match tap.read(frame) {
                Ok(Some((len, _))) => {
                    let bytes = frame.get(..len).unwrap_or_default();
                    watch.received(bytes, mono(), &mut |out| send(tap, out, asks));
                }
                Ok(None) => return taken,
                Err(_) => {
                    // Its device is down or gone; it is tried again.
                    let _ = poll.remove(tap.as_fd());
                    *place = None;
                    return taken;
                }
            }
        }
        BATCH
    }

    fn ask(&mut self, now: Mono, asks: &mut Vec<(PeerSlot, Oam)>) {
        let Self { tap, watch, .. } = self;
        let Some(tap) = tap else { return };
        watch.handle_timeout(now, &mut || u64::from_ne_bytes(clock::random()), &mut |out| send(tap, out, asks));
    }
}

/// Sends an echo, or keeps a question for the sessions. An echo that the TAP does not take is lost like any other.
fn send(tap: &Tap, out: Out<'_>, asks: &mut Vec<(PeerSlot, Oam)>) {
    match out {
        Out::Frame(frame) => drop(tap.write(frame)),
        Out::Ask { peer, token } => asks.push((peer, Oam { kind: Kind::PlainAsk, token })),
    }
}
