//! Why frames end here. Every exit of the data plane is forwarding or one of these, with a name that never changes.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// Why a frame or packet was dropped. The names are stable: dashboards and tests use them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl DropReason {
            /// All reasons, in the order of their counters.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// How many reasons there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The stable kebab-case name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// One sentence for people.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim_start(),)+
                }
            }
        }
    };
}

reasons! {
    /// Shorter than an Ethernet header, or than its own lengths say.
    FrameMalformed = "frame-malformed",
    /// The sender's address is a group address or all zeros.
    SourceNotUnicast = "source-not-unicast",
    /// The sender's address is in no row of the network.
    SourceUnknown = "source-unknown",
    /// A guest here sends with the address of a guest on another node.
    SourceNotHere = "source-not-here",
    /// A peer sends with an address that belongs to another node.
    SourceNotThere = "source-not-there",
    /// A peer may not send on this network at all: the path is forbidden.
    SourceForbidden = "source-forbidden",
    /// An ARP message speaks for an address that is not its sender's.
    ArpForeign = "arp-foreign",
    /// A neighbour or router solicitation or an advertisement speaks for an address that is not its sender's, or cannot be read.
    NdForeign = "nd-foreign",
    /// A packet from an IP address that is not its sender's.
    IpForeign = "ip-foreign",
    /// IPv6 extension headers that do not end within their packet or its first fragment, or are too many: they hide what the packet is.
    HeadersHidden = "headers-hidden",
    /// A router advertisement or redirect, of IPv6 or IPv4, of a guest that has not the role `router`.
    RouterUnexpected = "router-unexpected",
    /// What a DHCP client or relay would take for a server's word, of a guest that has not the role `dhcp`.
    DhcpUnexpected = "dhcp-unexpected",
    /// A tag behind a tag: it hides what the frame is, and for which VLAN.
    TagNested = "tag-nested",
    /// Neither IPv4, IPv6 nor ARP, or a service tag, in a network that does not find its guests by itself.
    TypeUnexpected = "type-unexpected",
    /// To 01:80:c2:00:00:00 to 0f: groups that never leave their link, which a Linux bridge hands to its host past all filters.
    GroupReserved = "group-reserved",
    /// Broadcast or multicast for Ethernet, but for one host by its IP address: any host that has the address would take it.
    GroupUnicast = "group-unicast",
    /// The destination is in no row of the network, and the network does not flood unknown unicast.
    DestinationUnknown = "destination-unknown",
    /// The destination is on this node: its bridge has already delivered the frame.
    DestinationLocal = "destination-local",
    /// The destination is on a node of the plain path: the kernel carries it.
    DestinationPlain = "destination-plain",
    /// The destination is on a node that policy forbids.
    DestinationForbidden = "destination-forbidden",
    /// A frame out of a tunnel is for a guest on another node; nothing goes from tunnel to tunnel.
    DestinationElsewhere = "destination-elsewhere",
    /// The network has `flood: off`.
    FloodOff = "flood-off",
    /// The guest's share of what its network may flood is used up, or of what its peer may.
    FloodLimited = "flood-limited",
    /// Nobody else hosts the network over a tunnel.
    FloodNobody = "flood-nobody",
    /// An ARP request or neighbour solicitation for an address on this node, which answers for itself.
    NeighbourLocal = "neighbour-local",
    /// The frame is larger than the guest MTU and the network drops such frames, or it cannot be carried in any way.
    Oversize = "oversize",
    /// The frame is larger than the guest MTU, and its sender was told so by ICMP.
    TooBig = "too-big",
    /// The network is not in the table.
    NetworkGone = "network-gone",
    /// The peer is not in the table.
    PeerGone = "peer-gone",
    /// The peer wants payload form A, and this node has no tunnel address.
    NoTunnelAddress = "no-tunnel-address",
    /// The TAP gave a frame with work left to do (checksum or segments) that was not asked for.
    OffloadUnexpected = "offload-unexpected",
    /// A super-frame of a guest would become more than 128 frames.
    PiecesTooMany = "pieces-too-many",
    /// Payload of neither form A nor form B.
    FormUnknown = "form-unknown",
    /// Payload in a form that the table does not state for its peer.
    FormWrong = "form-wrong",
    /// A frame out of the session with a peer whose frames take the plain path: nothing but control messages goes there.
    SessionOnly = "session-only",
    /// Form A over IPv6, which is not spoken.
    FormIpv6 = "form-ipv6",
    /// Form A with a broken outer header: lengths, options, checksum, or not UDP.
    OuterMalformed = "outer-malformed",
    /// A later fragment of an answer to a probe: the first is enough.
    OuterFragment = "outer-fragment",
    /// A fragment that has arrived before.
    FragmentDuplicate = "fragment-duplicate",
    /// Fragments of one packet overlap: none of them is believed.
    FragmentOverlap = "fragment-overlap",
    /// Fragments of one packet disagree about its end.
    FragmentConflict = "fragment-conflict",
    /// Fragments of one packet leave more holes than are remembered.
    FragmentScattered = "fragment-scattered",
    /// The other fragments of the packet did not arrive within a second, or 4096 others came first.
    FragmentLate = "fragment-late",
    /// The peer has more packets waiting for fragments than it may, or the lane's memory for them is used up.
    FragmentCrowded = "fragment-crowded",
    /// Form A from an address that is not the peer's tunnel address.
    OuterSource = "outer-source",
    /// Form A for an address that is not this node's tunnel address.
    OuterDestination = "outer-destination",
    /// A VXLAN header without a valid VNI.
    VxlanMalformed = "vxlan-malformed",
    /// No network here has this UDP port and VNI.
    NetworkUnknown = "network-unknown",
    /// A control message of unknown type or length, or from a peer that has none.
    ControlMalformed = "control-malformed",
    /// More control messages than a peer may send.
    ControlLimited = "control-limited",
    /// The tunnel refused to carry the payload.
    TunnelRefused = "tunnel-refused",
    /// The datagram is no acceptable WireGuard message: unknown index, replay, wrong tag.
    DatagramRefused = "datagram-refused",
    /// The datagram does not fit the interface that it would leave by.
    SendTooBig = "send-too-big",
    /// The socket's buffer is full.
    SendBusy = "send-busy",
    /// The system refused to send: no route, network down.
    SendFailed = "send-failed",
    /// The TAP of the network is not open.
    TapClosed = "tap-closed",
    /// The TAP's queue is full.
    TapBusy = "tap-busy",
    /// The TAP refused the frame: its interface is down or gone.
    TapFailed = "tap-failed",
    /// The lane that has the tunnel to the peer is not there, or has too many frames of other lanes waiting.
    LaneBusy = "lane-busy",
    /// All buffers of the lane are in use.
    NoBuffer = "no-buffer",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One counter a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drops([u64; DropReason::COUNT]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; DropReason::COUNT])
    }
}

impl Drops {
    /// Counts one.
    pub fn count(&mut self, reason: DropReason) {
        self.add(reason, 1);
    }

    /// Counts several.
    pub fn add(&mut self, reason: DropReason, times: u64) {
        self.0[reason as usize] += times;
    }

    /// How many were dropped for a reason.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// Adds the counters of another lane.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// Reasons above zero with their counts.
    pub fn nonzero(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.iter().map(|reason| (*reason, self.get(*reason))).filter(|(_, count)| *count > 0)
    }

    /// All drops together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}
