//! What the parts of the daemon tell each other: the engine and the management link write it, the control socket reads it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::asleep::Asleep;
use super::beat::Beat;
use super::events::{Events, Tone};
use super::lanes::Lanes;
use super::prove::Provers;
use super::watch::Watching;
use crate::api::cut::Cut;
use crate::api::local::{Finding, Management};
use crate::api::objects::NodeFacts;
use crate::api::stream::{AwayGuest, FoundPort, MeasuredPath};
use crate::clock::mono;
use crate::forward::Slots;
use crate::linux::KernelError;
use crate::node::called;
use crate::node::crossing::Way;
use crate::node::doubts::{Book, Queues};
use crate::node::losses::Loss;
use crate::node::outways::OutWays;
use crate::node::paths::Paths;
use crate::node::plan::Local;
use crate::node::presence::Presence;
use crate::node::settled::Settled;
use crate::node::spans::AllMeasured;
use crate::node::unwatched::{Eye, Eyes};
use crate::node::watch::{ECHO_VNI, Echoes};
use crate::node::watch_told::Down;
use crate::policy::mtu::MtuPolicy;
use crate::policy::offload::Feature;
use crate::table::{NetKey, Slice};
use crate::types::{IfName, Mono, Mtu, NodeId, PdcId, PeerSlot, PublicKey, Version, Wall};

/// Where a finding comes from, worst first: `status` lists them in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// This node is no member any more.
    Removed,
    /// The management node has put this node into quarantine.
    Quarantined,
    /// The kernel refuses the plan.
    Kernel,
    /// Lanes that do not run.
    Lanes,
    /// No slice, or one that is refused.
    Slice,
    /// Interfaces and addresses of this host.
    Underlay,
    /// Watches that do not run, so that nothing is found by them.
    Unwatched,
    /// What others of this host drop between guests.
    Bridges,
    /// What others have attached to interfaces, beside packet filters.
    Attached,
    /// Plain paths that do not carry.
    Plain,
    /// Plain paths whose frames take the tunnel meanwhile.
    Detours,
    /// Tunnels that lose much on the way to here.
    Losses,
    /// What the plan cannot do.
    Plan,
    /// Paths about which management decides otherwise.
    Differ,
    /// Paths that carry less than a network's MTU.
    Mtu,
    /// Devices of others in the way.
    Conflict,
    /// Routes of this host that lead plain frames astray.
    Routes,
    /// Guests that are not where they belong, or say what they may not.
    Plugs,
    /// More guests on bridges than count.
    Guests,
    /// Guests that two nodes hear.
    Contests,
    /// The state cannot be written.
    Disk,
    /// The WireGuard key cannot be changed, or is not the one that the management node has.
    Keys,
    /// How far timestamps have come cannot be written.
    Clock,
    /// The clock of this machine is not that of the management node.
    Time,
    /// The certificate ends soon.
    Certificate,
    /// Reports that do not arrive at the management node.
    Reports,
    /// Files of this node that have gone from disk.
    Gone,
    /// `meshd.toml` as it is now cannot be used.
    Config,
    /// Parts of the daemon that run less confined than they should.
    Confined,
    /// No file and no socket can be opened.
    Short,
}

impl Topic {
    /// A finding of this kind with what it cuts off.
    pub(super) fn of(self, finding: Finding) -> Finding {
        Finding { cut: finding.cut.or_else(|| self.cut()), ..finding }
    }

    /// What a finding of this kind cuts off that does not say itself what: where it is not known, it may be anything.
    fn cut(self) -> Option<Cut> {
        match self {
            Self::Removed | Self::Quarantined | Self::Kernel => Some(Cut::node(true)),
            Self::Lanes
            | Self::Slice
            | Self::Underlay
            | Self::Unwatched
            | Self::Bridges
            | Self::Attached
            | Self::Plain
            | Self::Plan
            | Self::Differ
            | Self::Conflict
            | Self::Routes
            | Self::Plugs => Some(Cut::node(false)),
            Self::Mtu
            | Self::Detours
            | Self::Losses
            | Self::Guests
            | Self::Disk
            | Self::Keys
            | Self::Clock
            | Self::Time
            | Self::Certificate
            | Self::Reports
            | Self::Gone
            | Self::Config
            | Self::Contests
            | Self::Confined
            | Self::Short => None,
        }
    }
}

/// What the node says to the management node when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outgoing {
    /// What kernel and lanes follow.
    pub applied: Option<Version>,
    /// Addresses, MTUs and the like.
    pub facts: Option<NodeFacts>,
    /// Guests found on bridges.
    pub ports: Vec<FoundPort>,
    /// Counts how often these are to be said again though they have not changed.
    pub ports_said: u64,
    /// The WireGuard key that is to follow the one in force.
    pub next_key: Option<PublicKey>,
    /// The same, once every tunnel that is up was made under it.
    pub key_in_use: Option<PublicKey>,
    /// What tunnels carry, by peer.
    pub paths: Vec<MeasuredPath>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// This node's own `[mtu]`.
    pub own_mtu: Option<MtuPolicy>,
    /// Guests whose interface is not there.
    pub away: Vec<AwayGuest>,
}

/// What is true now.
#[derive(Debug)]
pub struct View {
    /// This node.
    pub node: NodeId,
    /// Its PDC.
    pub pdc: PdcId,
    /// What it follows.
    pub slice: Option<Arc<Slice>>,
    /// The verdicts for it.
    pub paths: Arc<Paths>,
    /// Interfaces and addresses.
    pub local: Local,
    /// Indices of peers and networks.
    pub slots: Slots,
    /// Bridge and guest MTU of each network as planned; an MTU that is none stands on a device that is not.
    pub mtus: BTreeMap<NetKey, (IfName, Option<Mtu>)>,
    /// What tunnels were measured to carry.
    pub measured: AllMeasured,
    /// Whose plain paths are watched.
    pub echoes: Arc<Vec<Echoes>>,
    /// What tunnels lose on the way to here.
    pub losses: BTreeMap<PeerSlot, Loss>,
    /// Interfaces that should carry, and do not.
    pub down: BTreeMap<IfName, Down>,
    /// By which way packets leave for the other ends of tunnels.
    pub outways: Arc<OutWays>,
    /// Version that kernel and lanes follow.
    pub applied: Version,
    /// The connection to a management node.
    pub management: Management,
    /// This host's address that packets to it leave with, as far as that is known.
    pub management_by: Option<IpAddr>,
    /// What it knows of peers that do not answer; empty while it is away.
    pub words: Settled,
    /// When the certificate ends.
    pub certificate_ends: Option<Wall>,
    /// What is wrong.
    pub findings: BTreeMap<Topic, Vec<Finding>>,
    /// What the packet filters have dropped since they were loaded, by counter.
    pub filtered: BTreeMap<String, u64>,
    /// Where this node's guests are.
    pub presence: Arc<Presence>,
    /// Packet filters of others, as they were read last.
    pub book: Arc<Book>,
    /// Queues that may take what goes to an interface.
    pub queues: Arc<Queues>,
    /// Each offload, and what is made of it.
    pub offload: Vec<Feature>,
    /// Since when the daemon runs.
    pub started: Mono,
}

/// Shared by all parts.
#[derive(Debug)]
pub struct Shared {
    /// What happened.
    pub events: Events,
    /// The lanes.
    pub lanes: Lanes,
    /// The watch of the plain path.
    pub watch: Watching,
    /// Whether the engine still works.
    pub(super) engine: Beat,
    /// Whether the kernel holds it up.
    pub(super) engine_asleep: Asleep,
    /// What the reporter proves with.
    pub provers: Provers,
    /// What the reporter sends.
    pub outgoing: watch::Sender<Outgoing>,
    view: Mutex<View>,
    eyes: Mutex<Eyes>,
}

impl Shared {
    /// At start: nothing applied, nothing wrong.
    pub fn new(node: NodeId, pdc: PdcId, management: Management, lanes: Lanes) -> Arc<Self> {
        let view = View {
            node,
            pdc,
            slice: None,
            paths: Arc::default(),
            local: Local::default(),
            slots: Slots::default(),
            mtus: BTreeMap::new(),
            measured: AllMeasured::new(),
            echoes: Arc::default(),
            losses: BTreeMap::new(),
            down: BTreeMap::new(),
            outways: Arc::default(),
            applied: Version::default(),
            management,
            management_by: None,
            words: Settled::default(),
            certificate_ends: None,
            findings: BTreeMap::new(),
            filtered: BTreeMap::new(),
            presence: Arc::default(),
            book: Arc::default(),
            queues: Arc::default(),
            offload: Vec::new(),
            started: mono(),
        };
        let (outgoing, _) = watch::channel(Outgoing::default());
        let (events, provers, watching) = (Events::default(), Provers::default(), Watching::default());
        Arc::new(Self {
            events,
            lanes,
            watch: watching,
            engine: Beat::default(),
            engine_asleep: Asleep::default(),
            provers,
            outgoing,
            view: Mutex::new(view),
            eyes: Mutex::default(),
        })
    }

    /// What is true now. Held for a moment only, never across I/O.
    pub fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which watches see.
    pub(super) fn eyes(&self) -> MutexGuard<'_, Eyes> {
        self.eyes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells when the calling thread or task ends, by itself or by a panic, that this watch is over.
    pub(super) fn watcher(self: &Arc<Self>, eye: Eye) -> Watcher {
        Watcher { shared: Arc::clone(self), eye, why: "it has ended".to_owned() }
    }

    /// One has looked, or failed to; false: it was not its time.
    pub(super) fn looked(&self, eye: Eye, outcome: Result<bool, KernelError>) {
        match outcome {
            Ok(true) => self.eyes().works(eye),
            Ok(false) => {}
            Err(error) => self.eyes().fails(eye, error.to_string(), mono()),
        }
    }

    /// Which bridge is crossed from now on. A node that has networks has none where no number is left for it.
    pub(super) fn cross(&self, way: Option<Way>, networks: bool) {
        if way.is_none() {
            let why = format!("networks of guests have VNI {ECHO_VNI} in every overlay");
            let mut eyes = self.eyes();
            if networks { eyes.fails(Eye::Bridges, why, mono()) } else { eyes.works(Eye::Bridges) }
        }
        self.watch.cross(way);
    }

    /// Tells which watches do not run.
    pub(super) fn tell_unwatched(&self, now: Mono) {
        let still = self.watch.is_old(now);
        {
            let mut eyes = self.eyes();
            if still {
                eyes.fails(Eye::Plain, "its thread stands still".to_owned(), now)
            } else {
                eyes.works(Eye::Plain)
            }
        }
        let refuses = self.view().findings.get(&Topic::Kernel).is_some_and(|findings| !findings.is_empty());
        let findings = self.eyes().findings(now, refuses);
        self.find(Topic::Unwatched, findings);
    }

    /// Replaces what is wrong in one respect; what is new there is also an event.
    pub fn find(&self, topic: Topic, findings: Vec<Finding>) {
        let slice = self.view().slice.clone();
        let named = |finding| match &slice {
            Some(slice) => called::by_name(finding, slice),
            None => finding,
        };
        let findings: Vec<Finding> = findings.into_iter().map(|finding| named(topic.of(finding))).collect();
        let old = self.view().findings.insert(topic, findings.clone()).unwrap_or_default();
        self.tell(&old, &findings);
    }

    /// Makes events of what is wrong now and was not, and of what is over.
    pub fn tell(&self, old: &[Finding], new: &[Finding]) {
        let said = |all: &[Finding], one: &Finding| all.iter().any(|other| other.is_said(one));
        for finding in new.iter().filter(|f| !said(old, f)) {
            let text = format!("[{}] {}; {}", finding.code, finding.what, finding.help);
            self.events.by_others(Tone::Wrong, "problem", &finding.code, text);
        }
        for gone in old.iter().filter(|f| !said(new, f)) {
            self.events.by_others(Tone::Fine, "solved", &gone.code, format!("[{}] {}", gone.code, gone.what));
        }
    }

    /// A part of the daemon runs less confined than it should, for as long as the daemon runs. Said once, however many threads say it.
    pub fn loose(&self, why: &str) {
        let mut all = self.view().findings.get(&Topic::Confined).cloned().unwrap_or_default();
        let what = format!("meshd is less confined than it should be: {why}");
        let help = "systemctl cat meshd: its SystemCallFilter needs seccomp and landlock_* (examples/systemd); then systemctl restart meshd";
        let finding = Finding::new("M0639", what, help);
        if !all.iter().any(|other| other.is_said(&finding)) {
            all.push(finding);
            self.find(Topic::Confined, all);
        }
    }

    /// Changes what the reporter sends; it is woken only by a difference.
    pub fn say(&self, change: impl FnOnce(&mut Outgoing)) {
        self.outgoing.send_if_modified(|outgoing| {
            let before = outgoing.clone();
            change(outgoing);
            *outgoing != before
        });
    }
}

/// What runs one watch holds it for as long as it runs.
#[derive(Debug)]
pub(super) struct Watcher {
    shared: Arc<Shared>,
    eye: Eye,
    why: String,
}

impl Watcher {
    /// Why it ends, which is now.
    pub(super) fn ends(mut self, why: &dyn std::fmt::Display) {
        self.why = why.to_string();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let why = std::mem::take(&mut self.why);
        self.shared.eyes().ended(self.eye, why, mono());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_that_does_not_say_what_it_cuts_off_may_cut_off_anything_where_frames_are_concerned() {
        let finding = || Finding::new("M9999", "a new one".to_owned(), "");
        for topic in [Topic::Removed, Topic::Quarantined, Topic::Kernel] {
            assert_eq!(topic.of(finding()).cut, Some(Cut::node(true)), "{topic:?}");
        }
        for topic in
            [Topic::Plain, Topic::Plan, Topic::Plugs, Topic::Conflict, Topic::Routes, Topic::Lanes, Topic::Slice]
        {
            assert_eq!(topic.of(finding()).cut, Some(Cut::node(false)), "{topic:?}");
            assert_eq!(topic.of(finding().harmless()).cut, Some(Cut::default()), "{topic:?}: it says so itself");
        }
        for topic in [Topic::Disk, Topic::Time, Topic::Certificate, Topic::Confined, Topic::Mtu] {
            assert_eq!(topic.of(finding()).cut, None, "{topic:?}");
        }
    }
}
