//! A lane: one thread with its own queue of each TAP, its own UDP socket and its own tunnel sessions. What a lane reads it carries,
//! unless the pair does not use it: then it hands the frame to one that the pair uses, through that one's [`Door`].
//!
//! [`spawn`] starts one. What it forwards by, its [`Setup`], is swapped in whole with [`Lane::set`] and looked at once a batch;
//! the owner asks for [`Lane::stats`], drains [`Lane::events`] and starts a new lane if [`Lane::is_dead`].

mod doors;
mod mailbox;
mod pace;
mod paths;
mod setup;
mod shell;
mod taps;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

pub use self::doors::Door;
use self::mailbox::Mailbox;
pub use self::setup::{Setup, peer_configs, taps};
pub(super) use self::shell::hold_back;
use crate::forward::{self, Cuts, Drops, Spread, Tallies};
use crate::linux::tap::TapError;
use crate::linux::udp::UdpError;
use crate::policy::offload::Offload;
use crate::probe;
use crate::tunnel;
use crate::types::{IfName, Mono, NetSlot, PeerSlot, SecretKey};
use crate::wire::oam::Oam;

/// Events kept while nobody drains them; more are lost and counted.
const EVENTS: usize = 256;
/// How long [`Lane::stats`] waits for a lane. A lane answers between two batches, which take microseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a lane needs to start.
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct LaneConfig {
    /// Which lane it is, from 0, and among which.
    pub spread: Spread,
    /// Where it listens: `[::]` and `listen + index`; an unspecified IPv6 address takes IPv4 too.
    pub listen: SocketAddr,
    /// The node's static key.
    pub secret: SecretKey,
    /// CPU that the thread is pinned to; none lets the scheduler choose.
    pub cpu: Option<usize>,
    /// What it lets the kernel do for many packets at once.
    pub offload: Offload,
}

/// A running lane. Dropping it stops the thread.
#[derive(Debug)]
pub struct Lane {
    index: u8,
    door: Door,
    mailbox: Arc<Mailbox>,
    events: Receiver<LaneEvent>,
    thread: Option<JoinHandle<()>>,
}

/// Why a lane did not start or does not answer.
#[derive(Debug, thiserror::Error)]
pub enum LaneError {
    /// Its socket.
    #[error(transparent)]
    Udp(#[from] UdpError),
    /// Its thread, eventfd or epoll.
    #[error("lane {index} could not start: {source}")]
    Start {
        /// Which lane.
        index: u8,
        /// What the system said.
        source: io::Error,
    },
    /// Its thread has ended: it panicked, or it was stopped.
    #[error("lane {index} is dead")]
    Dead {
        /// Which lane.
        index: u8,
    },
}

/// Something worth a log line. Rare: refused frames come at a limited rate.
#[derive(Debug, Clone)]
pub enum LaneEvent {
    /// Of a tunnel.
    Tunnel(tunnel::Event),
    /// A frame was refused that should not exist.
    Refused(forward::Refused),
    /// A peer answered an echo request that is none of the lane's own probes.
    Echo(forward::Echo),
    /// A peer asks or tells about the plain path.
    Said(forward::Said),
    /// What a path carries, in bytes of the outer IP packet, has settled at another number.
    Path {
        /// To whom.
        peer: PeerSlot,
        /// What it carried before.
        before: u16,
        /// What it carries now.
        after: u16,
    },
    /// A TAP was opened.
    TapOpened(NetSlot, IfName),
    /// A TAP could not be opened, or stopped working; it is tried again every second.
    TapFailed(NetSlot, IfName, Arc<TapError>),
    /// The lane runs less confined than it should, and why.
    Loose(String),
}

/// What a lane has done since it started. Plain numbers; the owner sums them over lanes.
#[derive(Debug, Clone, Default)]
pub struct LaneStats {
    /// Which lane.
    pub lane: u8,
    /// Frames and bytes.
    pub traffic: Traffic,
    /// What was dropped, by reason.
    pub drops: Drops,
    /// Packets that its socket could not take: more comes than it reads. The number wraps.
    pub overflows: u32,
    /// Where the last datagram should have gone that the system refused to send (`send-failed`), the error, and when.
    pub refused: Option<(SocketAddr, i32, Mono)>,
    /// What was done about sizes, by peer and by network: frames too large, fragments, ICMP answers, MSS.
    pub sizes: Tallies,
    /// What the tunnels did, with their own drop reasons.
    pub tunnels: tunnel::Counters,
    /// Each peer's tunnel.
    pub peers: Vec<(PeerSlot, tunnel::PeerStatus)>,
    /// What is known of the path to each peer.
    pub paths: Vec<(PeerSlot, probe::Status)>,
    /// Each TAP, and whether it is open.
    pub taps: Vec<(NetSlot, IfName, bool)>,
    /// Events that nobody had drained in time.
    pub events_lost: u64,
}

/// Frames and bytes of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Frames read from TAPs; a super-frame is one.
    pub egress_frames: u64,
    /// Their bytes.
    pub egress_bytes: u64,
    /// Datagrams sent, handshakes included.
    pub datagrams_sent: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Frames for TAPs that came out of tunnels.
    pub ingress_frames: u64,
    /// Their bytes.
    pub ingress_bytes: u64,
    /// Writes to TAPs that they took: several frames of a flow are joined for one.
    pub ingress_writes: u64,
    /// Frames that other lanes have read and this one has carried.
    pub carried: u64,
    /// ARP requests and neighbour solicitations answered.
    pub answered: u64,
    /// Super-frames read from TAPs.
    pub cuts: Cuts,
    /// Trains of datagrams that the system refused, so that they were sent one by one.
    pub resent: u64,
    /// Super-frames joined here that a TAP did not take, so that they were cut again.
    pub recut: u64,
    /// Datagrams of one byte sent behind trains of equal datagrams; not in `datagrams_sent`.
    pub tails_sent: u64,
    /// Datagrams of one byte received: ends of such trains, and nothing wrong.
    pub tails_received: u64,
}

/// Starts a lane. It forwards nothing before its first [`Lane::set`]. The socket, and the TAPs later, belong to the network
/// namespace of the calling thread.
///
/// # Errors
/// [`LaneError`]: the UDP port is taken, or the system gives no thread, eventfd or epoll.
pub fn spawn(config: LaneConfig) -> Result<Lane, LaneError> {
    let index = config.spread.own();
    let start = |source| LaneError::Start { index, source };
    let mailbox = Arc::new(Mailbox::new().map_err(start)?);
    let (sender, events) = mpsc::sync_channel(EVENTS);
    let (door, entrance) = doors::pair().map_err(start)?;
    let shell = shell::Shell::new(config, Arc::clone(&mailbox), sender, entrance)?;
    let thread = std::thread::Builder::new().name(format!("lane-{index}")).spawn(move || shell.run()).map_err(start)?;
    Ok(Lane { index, door, mailbox, events, thread: Some(thread) })
}

impl Lane {
    /// Which lane it is.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// What it forwards by from its next batch on. Peers and TAPs that are gone are closed, new ones opened.
    pub fn set(&self, setup: Arc<Setup>) {
        self.mailbox.set(setup);
    }

    /// The way into it, for other lanes.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// The doors of all lanes of the node, by index: where it hands frames that it does not carry.
    pub fn set_doors(&self, doors: Vec<Door>) {
        self.mailbox.set_doors(doors);
    }

    /// Makes its thread panic. Only in builds with debug assertions: tests need to see what happens then.
    #[cfg(debug_assertions)]
    pub fn fail(&self) {
        self.mailbox.fail();
    }

    /// Measures the path to a peer anew, now. Whoever asks for [`Lane::stats`] after this sees it begun.
    pub fn probe(&self, peer: PeerSlot) {
        self.mailbox.probe(peer);
    }

    /// Sends control messages to peers, in their sessions. What has no session yet waits for one.
    pub fn say(&self, messages: Vec<(PeerSlot, Oam)>) {
        self.mailbox.say(messages);
    }

    /// Says frames to the guests of this node, by the TAPs of their networks.
    pub fn announce(&self, frames: Vec<(NetSlot, Vec<u8>)>) {
        self.mailbox.announce(frames);
    }

    /// What it has done.
    ///
    /// # Errors
    /// [`LaneError::Dead`].
    pub fn stats(&self) -> Result<LaneStats, LaneError> {
        let dead = LaneError::Dead { index: self.index };
        if self.is_dead() { Err(dead) } else { self.mailbox.stats(PATIENCE).ok_or(dead) }
    }

    /// Its events, oldest first; drain it without waiting.
    pub fn events(&self) -> &Receiver<LaneEvent> {
        &self.events
    }

    /// True once the thread has ended without having been told to.
    pub fn is_dead(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops it and waits for the end of its thread.
    ///
    /// # Errors
    /// [`LaneError::Dead`]: it had panicked.
    pub fn stop(mut self) -> Result<(), LaneError> {
        self.halt()
    }

    fn halt(&mut self) -> Result<(), LaneError> {
        self.mailbox.stop();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_| LaneError::Dead { index: self.index })
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // A panic of the thread was printed by its panic hook; there is nobody left to tell.
        let _ = self.halt();
    }
}
