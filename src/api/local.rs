//! What `meshd` answers on `/run/vxmesh/meshd.sock` (HTTP over a Unix socket): `GET /v1/status`, `/v1/tunnels`, `/v1/slice`,
//! `/v1/events`, `/v1/explain?from=PORT&to=TARGET`; what it answers about MTUs is in [`super::mtu`].

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::cut::Cut;
use super::mtu::SizeCounts;
use super::problem::Problem;
use crate::policy::offload::Feature;
use crate::policy::path::Path;
use crate::table::{NetKey, Suite};
use crate::types::{IfName, Mac, Mtu, NetworkId, NodeId, PdcId, PortId, UdpPort, Version, Wall};

/// This node in one screen.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its name.
    pub node: NodeId,
    /// Its PDC.
    pub pdc: PdcId,
    /// Version of `meshd`.
    pub daemon: String,
    /// The connection to a management node, or why there is none.
    pub management: Management,
    /// Version of the slice that the kernel and the lanes follow.
    pub version: Version,
    /// When the certificate ends.
    pub certificate_ends: Option<Wall>,
    /// Hosted networks.
    pub networks: Vec<NetworkStatus>,
    /// Peers, grouped by nobody: one line each.
    pub peers: Vec<PeerStatus>,
    /// What is wrong, worst first. Empty, and nothing unknown: all is well.
    pub problems: Vec<Finding>,
    /// What nobody has looked at yet, or knows the cause of: neither wrong nor well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// Dropped frames and packets by reason, only those above zero. Names with an underscore are the counters of the same name
    /// in nftables' `inet vxmesh` and `bridge vxmesh_guests`, some seconds old at most.
    pub drops: BTreeMap<String, u64>,
    /// What was done about frames that are too large for their network or path, over all networks; by network and peer:
    /// `meshctl mtu map`.
    #[serde(default)]
    pub sizes: SizeCounts,
    /// What the kernel does for many packets at once.
    pub offload: Offload,
}

/// What the kernel does for many packets at once, and what came of it since the start, all lanes together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offload {
    /// `udp_segment`, `equal_trains`, `udp_gro`, `tap`: whether each is used, and why not.
    pub features: Vec<Feature>,
    /// Super-frames of guests that were cut, one count for each peer that they went to.
    pub super_frames_cut: u64,
    /// Super-frames of guests in a shape that cannot be cut: sent as they are if they fit, else dropped as `oversize`.
    pub super_frames_whole: u64,
    /// Trains of datagrams that the system refused, so that they were sent one by one.
    pub trains_resent: u64,
    /// Frames out of tunnels that TAPs were given.
    pub frames_written: u64,
    /// How many writes that took.
    pub tap_writes: u64,
    /// Super-frames made of such frames that a TAP did not take, so that they were cut again.
    pub super_frames_recut: u64,
    /// Datagrams of one byte sent behind trains of equal datagrams.
    pub tails_sent: u64,
    /// Datagrams of one byte received.
    pub tails_received: u64,
}

/// The connection to management.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Management {
    /// There is one.
    Connected {
        /// `host:port`
        address: String,
        /// Since when.
        since: Wall,
    },
    /// There is none; the data plane goes on.
    Away {
        /// Since when.
        since: Wall,
        /// The last error.
        why: String,
    },
    /// None is wanted: the node runs from table files.
    Files,
}

/// One hosted network.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// Its name.
    pub name: NetworkId,
    /// Its key.
    pub key: NetKey,
    /// The bridge that guests are put on.
    pub bridge: String,
    /// Ports on this node.
    pub ports: usize,
    /// Those of them whose guests are plugged into the bridge.
    #[serde(default)]
    pub plugged: usize,
    /// Those that name an interface which is not there, or has no carrier; some of them, if there are many.
    #[serde(default)]
    pub absent: Vec<AbsentPort>,
    /// Rows of other nodes.
    pub rows: usize,
    /// Guest MTU.
    pub mtu: Mtu,
    /// Problem of this network, if any.
    pub problem: Option<String>,
}

/// A port whose interface is not there, or has no carrier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AbsentPort {
    /// Its name, where it has one.
    pub port: Option<PortId>,
    /// The guest.
    pub mac: Mac,
    /// The interface.
    pub interface: String,
    /// Since when: at the earliest since the daemon runs.
    pub since: Wall,
    /// It is there and has no carrier.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_carrier: bool,
}

/// One peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerStatus {
    /// Its name.
    pub node: NodeId,
    /// Its PDC.
    pub pdc: PdcId,
    /// Paths that networks shared with it take (mostly one).
    pub paths: Vec<Path>,
    /// Why.
    pub why: String,
    /// Outer address of the plain path, if there is one.
    pub vtep: Option<IpAddr>,
    /// Its tunnel, if a path needs one.
    pub tunnel: Option<TunnelStatus>,
    /// What its plain path answers, by overlay, the worst first.
    #[serde(default)]
    pub plain: Vec<PlainStatus>,
}

/// What echoes over the plain path to a peer say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlainStatus {
    /// UDP port of the overlay.
    pub udp_port: UdpPort,
    /// Where it stands.
    pub state: PlainState,
    /// Seconds since an echo was answered; none: never.
    pub answered_age: Option<u64>,
    /// Round trip, microseconds.
    pub rtt_micros: Option<u64>,
    /// Lost of the last 32 echoes, percent.
    pub loss: Option<u8>,
    /// The largest packet of a guest that is known to pass from here, bytes.
    pub bytes: Option<u16>,
}

/// Where the watch of a plain path stands, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlainState {
    /// Nothing arrives in either direction, while the peer answers by its session.
    BothLost,
    /// What is sent from here does not arrive there.
    OutLost,
    /// What is sent from there does not arrive here.
    InLost,
    /// The peer answers in no way: whether the kernel's path works is not known.
    Silent,
    /// It does not answer any more; what fails is not known yet.
    Quiet,
    /// Some flows are lost.
    Legs,
    /// Less passes than guests may send.
    Small,
    /// Not known yet.
    Starting,
    /// It answers.
    Answers,
}

impl PlainState {
    /// In a few words.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BothLost => "dead",
            Self::OutLost => "dead from here",
            Self::InLost => "dead to here",
            Self::Silent => "silent",
            Self::Quiet => "not answering",
            Self::Legs => "flows lost",
            Self::Small => "too small",
            Self::Starting => "not known",
            Self::Answers => "answers",
        }
    }
}

/// A peer of the plain path, for `tunnel list`: no tunnel, but a path that is watched.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlainPeer {
    /// The peer.
    pub node: NodeId,
    /// Its VTEP.
    pub vtep: Option<IpAddr>,
    /// What its path answers.
    pub plain: PlainStatus,
}

/// One tunnel.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TunnelStatus {
    /// The peer.
    pub node: NodeId,
    /// Where it was last heard, or is expected.
    pub endpoint: Option<SocketAddr>,
    /// Seconds since the last handshake; none: never.
    pub handshake_age: Option<u64>,
    /// True while a session can carry frames.
    pub up: bool,
    /// Cipher suite.
    pub suite: Suite,
    /// Payload bytes received.
    pub received: u64,
    /// Payload bytes sent.
    pub sent: u64,
    /// Lost of the datagrams of the last 20 s from there to here, percent; none: they are too few.
    #[serde(default)]
    pub loss: Option<u8>,
    /// The session of each lane that the pair uses, which the above sums up.
    #[serde(default)]
    pub lanes: Vec<LaneTunnel>,
    /// There is no session yet, and the daemon has only just begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub starting: bool,
    /// The session stands, and nothing that is asked in it is answered any more.
    #[serde(default)]
    pub silence: Option<Silence>,
    /// No packet of 1200 bytes and more is answered, and smaller ones are: up to so many bytes, of the outer IP packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub little: Option<u16>,
}

/// Which direction of a silent tunnel fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Silence {
    /// Not known yet.
    Unknown,
    /// What is sent from here: something of the peer has arrived since.
    Out,
    /// What is sent from there: nothing arrives here.
    In,
}

/// One lane's session with a peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneTunnel {
    /// Which lane.
    pub lane: u8,
    /// Where the peer's lane was last heard, or is expected.
    pub endpoint: Option<SocketAddr>,
    /// Seconds since the last handshake; none: never.
    pub handshake_age: Option<u64>,
    /// True while it can carry frames.
    pub up: bool,
    /// Payload bytes received.
    pub received: u64,
    /// Payload bytes sent.
    pub sent: u64,
}

/// One thing that is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Code of the problem.
    pub code: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub help: String,
    /// What is cut off by it; none: nothing, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// The interface of this node's own that is the fault, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<IfName>,
}

impl Finding {
    /// A finding out of its three parts.
    pub fn new(code: &str, what: String, help: impl Into<String>) -> Self {
        Self { code: code.to_owned(), what, help: help.into(), cut: None, line: None }
    }

    /// The same, if this interface is the fault.
    #[must_use]
    pub fn of_line(self, line: Option<&IfName>) -> Self {
        Self { line: line.cloned(), ..self }
    }
}

impl From<&Problem> for Finding {
    /// The same in one line: where, what, and what to do.
    fn from(problem: &Problem) -> Self {
        let place = problem.place.as_ref().map(|at| format!("{}:{}:{}: ", at.file, at.line, at.column));
        let what = place.unwrap_or_default() + &problem.what;
        Self::new(&problem.code, what, problem.help.join("; "))
    }
}

/// Something that happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at: Wall,
    /// Short kind like `drift`, `tunnel-up`, `source-refused`.
    pub kind: String,
    /// One sentence.
    pub text: String,
    /// The port of the guest that it is about, where one alone is behind the interface. This and the next three are written of what guests do; older
    /// versions neither write nor read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortId>,
    /// The interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<IfName>,
    /// The network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkId>,
    /// The node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
}

/// The whole chain for one frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Explanation {
    /// Sending port, or an address of the sending guest, as it was asked for.
    pub from: String,
    /// Sending node.
    pub from_node: NodeId,
    /// What was asked for.
    pub to: String,
    /// Steps in order: what was looked at and what came out.
    pub steps: Vec<Step>,
    /// What the steps come to.
    pub verdict: Arrival,
    /// The rows that decided.
    pub mac: Option<Mac>,
}

/// Whether a frame arrives; the worse one is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrival {
    /// Nothing that is known keeps it from arriving, nothing is left open, and the path has answered lately.
    Arrives,
    /// Nothing that is known keeps it from arriving, and nobody here can say that it does.
    NotCertain,
    /// It ends on its way.
    DoesNotArrive,
}

impl Explanation {
    /// True where the frame surely arrives.
    pub fn arrives(&self) -> bool {
        self.verdict == Arrival::Arrives
    }

    /// True where nothing that is known keeps the frame from arriving.
    pub fn may_arrive(&self) -> bool {
        self.verdict < Arrival::DoesNotArrive
    }
}

/// An explanation as it is written: yes or no beside the verdict, for who asks no more.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    from: String,
    from_node: NodeId,
    to: String,
    steps: Vec<Step>,
    /// None: of an earlier version, which said `delivered` also where it is not certain.
    #[serde(default)]
    verdict: Option<Arrival>,
    delivered: bool,
    #[serde(default)]
    probed: bool,
    mac: Option<Mac>,
}

impl From<Written> for Explanation {
    fn from(written: Written) -> Self {
        let Written { from, from_node, to, steps, verdict, delivered, probed, mac } = written;
        let verdict = verdict.unwrap_or(match (delivered, probed) {
            (true, true) => Arrival::Arrives,
            (true, false) => Arrival::NotCertain,
            (false, _) => Arrival::DoesNotArrive,
        });
        Self { from, from_node, to, steps, verdict, mac }
    }
}

impl From<Explanation> for Written {
    fn from(explanation: Explanation) -> Self {
        let arrives = explanation.arrives();
        let Explanation { from, from_node, to, steps, verdict, mac } = explanation;
        Self { from, from_node, to, steps, verdict: Some(verdict), delivered: arrives, probed: arrives, mac }
    }
}

/// One step of an explanation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// `port`, `guest`, `devices`, `row`, `holder`, `policy`, `path`, `outer`, `now`, `status`, `rules`, `far`, `back`, `mtu`, `flood`.
    pub what: String,
    /// What came out, one line.
    pub text: String,
    /// False where the frame ends here.
    pub passes: bool,
    /// True where nobody here can say whether it passes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
}

impl Step {
    /// A step that passes or ends.
    pub fn new(what: &str, passes: bool, text: impl Into<String>) -> Self {
        Self { what: what.to_owned(), text: text.into(), passes, open: false }
    }

    /// A step of which nobody here can say whether it passes.
    pub fn open(what: &str, text: impl Into<String>) -> Self {
        Self { open: true, ..Self::new(what, true, text) }
    }
}
