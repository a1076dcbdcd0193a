//! What a guest may say: frames of every kind, and what becomes of each where it leaves a tunnel. It is the same that a guest's own port
//! should make of it, so the filter of ports is compared with this table too: [`Said::at_port`] names its reason.
//!
//! All frames are of one guest, whose row gives it a role. A frame means the same without a tag, behind a priority tag, and in a VLAN that
//! the guest has a row for.

mod packets;

use std::net::{Ipv4Addr, Ipv6Addr};

use vxmesh::forward::DropReason;
use vxmesh::types::Mac;
use vxmesh::wire::nd::link_local;

use self::DropReason as D;
pub(crate) use self::packets::tagged;
use self::packets::{Extension, Four, Six, frame, icmp, icmp_error, icmp6, says, udp};

/// What a row makes of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A guest with addresses.
    Guest,
    /// One with the role `router`.
    Router,
    /// One with the role `dhcp`.
    Dhcp,
    /// A guest whose row names no address.
    Bare,
}

/// All roles, in the order of [`Said::verdicts`].
pub(crate) const ROLES: [Role; 4] = [Role::Guest, Role::Router, Role::Dhcp, Role::Bare];

/// One that has addresses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Party {
    pub(crate) mac: Mac,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

/// A frame, and what becomes of it.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// What it is.
    pub(crate) what: String,
    /// Its bytes, without a tag.
    pub(crate) frame: Vec<u8>,
    verdicts: Verdicts,
}

/// Why a frame ends, for each of [`ROLES`]; none: it passes.
type Verdicts = [Option<DropReason>; 4];

impl Said {
    /// Why it ends where a guest with this role says it; none: it passes.
    pub(crate) fn verdict(&self, role: Role) -> Option<DropReason> {
        ROLES.iter().zip(self.verdicts).find(|(one, _)| **one == role).and_then(|(_, verdict)| verdict)
    }

    /// The reason of the filter of guests' ports that stands for one of the exit's.
    pub(crate) fn at_port(reason: DropReason) -> &'static str {
        AT_PORT.iter().find(|(one, _)| *one == reason).map_or("type", |(_, name)| *name)
    }
}

/// What a port calls it. There everything else is no type that it knows.
const AT_PORT: [(DropReason, &str); 9] = [
    (D::ArpForeign, "arp"),
    (D::NdForeign, "nd"),
    (D::HeadersHidden, "nd"),
    (D::RouterUnexpected, "router"),
    (D::DhcpUnexpected, "dhcp"),
    (D::TagNested, "vlan"),
    (D::GroupReserved, "group"),
    (D::GroupUnicast, "group"),
    (D::IpForeign, "ip"),
];

const PASSES: Verdicts = [None; 4];

fn never(reason: DropReason) -> Verdicts {
    [Some(reason); 4]
}

fn only(role: Role, reason: DropReason) -> Verdicts {
    ROLES.map(|one| (one != role).then_some(reason))
}

/// An address that is in no row: a router forwards for it, and one without addresses may have it.
fn nobodys(reason: DropReason) -> Verdicts {
    [Some(reason), None, Some(reason), None]
}

/// What only one without addresses may say.
fn bare(reason: DropReason) -> Verdicts {
    only(Role::Bare, reason)
}

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const NOBODY4: Ipv4Addr = Ipv4Addr::new(192, 168, 10, 99);
const NOBODY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x99);
const ABROAD4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const ABROAD6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xab, 0, 0, 0, 0, 9);
/// A host's address: on no network of guests.
const HOST4: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 1);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, 1);
/// Flags and offset of IPv4: the first fragment of several, and one behind it.
const FIRST: u16 = 0x2000;
const LATER: u16 = 0x0010;

/// Makes frames of one guest.
struct Speaker {
    me: Party,
    other: Party,
    said: Vec<Said>,
}

/// All frames that `me` tries; `other` is another guest. The network is 192.168.10.0/24, and `me` has a row for what it may say.
pub(crate) fn all(me: Party, other: Party) -> Vec<Said> {
    let mut speaker = Speaker { me, other, said: Vec::new() };
    speaker.sources();
    speaker.dhcp4();
    speaker.reports4();
    speaker.dhcp4_shapes();
    speaker.dhcp6();
    speaker.icmp();
    speaker.errors();
    speaker.malformed();
    speaker.routers();
    speaker.neighbours();
    speaker.fragments();
    speaker.arp();
    speaker.groups();
    speaker.types();
    speaker.said
}

impl Speaker {
    fn push(&mut self, what: impl Into<String>, to: Mac, ethertype: u16, body: &[u8], verdicts: Verdicts) {
        self.said.push(Said { what: what.into(), frame: frame(to, self.me.mac, ethertype, body), verdicts });
    }

    fn four(&self) -> Four {
        Four {
            source: self.me.v4,
            destination: Ipv4Addr::BROADCAST,
            protocol: 17,
            options: &[],
            fragment: 0,
            ttl: 64,
            wrong: (0, 0, 0),
            payload: udp(4000, 4001, b"guest of a guest"),
        }
    }

    fn six(&self) -> Six {
        let payload = udp(4000, 4001, b"guest of a guest");
        let (source, destination) = (self.me.v6, ALL_NODES);
        Six { source, destination, headers: Vec::new(), protocol: 17, hops: 255, wrong: (0, 0), payload }
    }

    fn v4(&mut self, what: impl Into<String>, packet: &Four, verdicts: Verdicts) {
        self.push(what, Mac::BROADCAST, 0x0800, &packet.bytes(), verdicts);
    }

    fn v6(&mut self, what: impl Into<String>, packet: &Six, verdicts: Verdicts) {
        self.push(what, Mac([0x33, 0x33, 0, 0, 0, 1]), 0x86dd, &packet.bytes(), verdicts);
    }

    /// An ICMPv6 message from the guest's link-local address.
    fn discovery(&self, kind: u8, fixed: &[u8], options: &[u8]) -> Six {
        let source = link_local(self.me.mac);
        let payload = icmp6(kind, source, ALL_NODES, fixed, options);
        Six { source, protocol: 58, payload, ..self.six() }
    }

    /// IP sources.
    fn sources(&mut self) {
        for (what, source, verdicts) in [
            ("its own", self.me.v4, PASSES),
            ("another guest's", self.other.v4, only(Role::Router, D::IpForeign)),
            ("nobody's", NOBODY4, nobodys(D::IpForeign)),
            ("a foreign", ABROAD4, nobodys(D::IpForeign)),
            ("a host's", HOST4, nobodys(D::IpForeign)),
            ("no", Ipv4Addr::UNSPECIFIED, nobodys(D::IpForeign)),
        ] {
            let packet = Four { source, ..self.four() };
            self.v4(format!("UDP from {what} IPv4 address"), &packet, verdicts);
            self.push(format!("the same to one guest: {what}"), self.other.mac, 0x0800, &packet.bytes(), verdicts);
            self.v4(format!("protocol 253: {what}"), &Four { protocol: 253, ..packet.clone() }, verdicts);
            self.v4(format!("a later fragment: {what}"), &Four { fragment: LATER, ..packet.clone() }, verdicts);
            self.v4(format!("TCP with options: {what}"), &Four { options: &[1; 8], protocol: 6, ..packet }, verdicts);
        }
        let victims = only(Role::Router, D::IpForeign);
        for (what, source, verdicts) in [
            ("its own", self.me.v6, PASSES),
            ("its own link-local", link_local(self.me.mac), PASSES),
            ("another guest's", self.other.v6, victims),
            ("another link-local", link_local(self.other.mac), nobodys(D::IpForeign)),
            ("nobody's", NOBODY6, nobodys(D::IpForeign)),
            ("a foreign", ABROAD6, nobodys(D::IpForeign)),
            ("a host's", HOST6, nobodys(D::IpForeign)),
            ("no", Ipv6Addr::UNSPECIFIED, nobodys(D::IpForeign)),
        ] {
            let packet = Six { source, ..self.six() };
            self.v6(format!("UDP from {what} IPv6 address"), &packet, verdicts);
            self.push(format!("the same to one guest: {what}"), self.other.mac, 0x86dd, &packet.bytes(), verdicts);
            self.v6(format!("protocol 253: {what}"), &Six { protocol: 253, ..packet.clone() }, verdicts);
            let later = vec![fragment(0x0010)];
            self.v6(format!("a later fragment: {what}"), &Six { headers: later, ..packet.clone() }, verdicts);
            self.v6(format!("behind options: {what}"), &Six { headers: vec![options(60)], ..packet }, verdicts);
        }
    }

    /// DHCP by UDP ports and kind of message.
    fn dhcp4(&mut self) {
        let rogue = only(Role::Dhcp, D::DhcpUnexpected);
        for (from, to, kind, verdicts) in [
            (67, 68, 2, rogue),
            (1067, 68, 2, rogue),
            (68, 68, 2, rogue),
            (0, 68, 2, rogue),
            (4000, 68, 1, rogue),
            (67, 4000, 2, rogue),
            (67, 67, 1, rogue),
            (4000, 67, 2, rogue),
            (68, 67, 2, rogue),
            (68, 67, 1, PASSES),
            (4000, 67, 1, PASSES),
            (4000, 546, 2, PASSES),
        ] {
            let packet = Four { payload: udp(from, to, &boot(kind)), ..self.four() };
            self.v4(format!("DHCP {kind} from UDP port {from} to {to}"), &packet, verdicts);
        }
        let request = Four { source: Ipv4Addr::UNSPECIFIED, payload: udp(68, 67, &boot(1)), ..self.four() };
        self.v4("a DHCP client without an address", &request, PASSES);
        let strange = Four { payload: udp(4000, 67, &boot(1)), ..request.clone() };
        self.v4("a DHCP client without an address, from another UDP port", &strange, nobodys(D::IpForeign));
        let cut = Four { fragment: FIRST, ..request };
        let unexpected = Some(D::DhcpUnexpected);
        let verdicts = [unexpected, unexpected, Some(D::IpForeign), unexpected];
        self.v4("a DHCP client without an address, in fragments", &cut, verdicts);
    }

    /// Reports of groups by who has no address yet (RFC 3376 section 4.2.13).
    fn reports4(&mut self) {
        let group = Ipv4Addr::new(239, 1, 2, 3);
        let alert: &'static [u8] = &[0x94, 4, 0, 0];
        for (kind, what) in [(0x12, "IGMPv1"), (0x16, "IGMPv2"), (0x17, "leaving"), (0x22, "IGMPv3")] {
            let payload = [vec![kind, 0, 0, 0], group.octets().to_vec()].concat();
            let unspecified = Ipv4Addr::UNSPECIFIED;
            let report = Four { source: unspecified, destination: group, protocol: 2, payload, ..self.four() };
            let report = Four { options: alert, ttl: 1, ..report };
            self.v4(format!("a report of groups without an address: {what}"), &report, PASSES);
            let one = Four { destination: self.other.v4, ..report.clone() };
            let to = self.other.mac;
            let foreign = nobodys(D::IpForeign);
            self.push(format!("the same to one guest: {what}"), to, 0x0800, &one.bytes(), foreign);
            let cut = Four { fragment: FIRST, ..report };
            self.v4(format!("a fragment of a report without an address: {what}"), &cut, foreign);
        }
    }

    /// What stands around an answer changes nothing.
    fn dhcp4_shapes(&mut self) {
        let rogue = only(Role::Dhcp, D::DhcpUnexpected);
        let answer = Four { payload: udp(1067, 68, &boot(2)), ..self.four() };
        let no_sum = Four { wrong: (0, 0, 1), ..answer.clone() };
        for (what, packet) in [
            ("to the other's address", Four { destination: self.other.v4, ..answer.clone() }),
            ("to a group", Four { destination: Ipv4Addr::new(224, 0, 0, 1), ..answer.clone() }),
            ("with one option", Four { options: &[1; 4], ..answer.clone() }),
            ("with forty bytes of options", Four { options: &[1; 40], ..answer.clone() }),
            ("with TTL 0", Four { ttl: 0, ..answer.clone() }),
            ("with TTL 255", Four { ttl: 255, ..answer.clone() }),
            ("with a wrong checksum", no_sum),
            ("with the reserved bit", Four { fragment: 0x8000, ..answer.clone() }),
            ("as a whole first fragment", Four { fragment: FIRST, ..answer.clone() }),
            (
                "as a first fragment of eight bytes",
                Four { fragment: FIRST, payload: udp(1067, 68, b""), ..answer.clone() },
            ),
        ] {
            self.push(format!("a DHCP answer {what}"), self.other.mac, 0x0800, &packet.bytes(), rogue);
            if packet.destination != self.other.v4 {
                self.v4(format!("a DHCP answer {what}, broadcast"), &packet, rogue);
            }
        }
        let relayed = Four { payload: udp(4000, 67, b""), fragment: FIRST, ..answer.clone() };
        self.v4("what a relay would hear, in fragments", &relayed, rogue);
        // What is behind the packet in the frame is none of it.
        let padded = [relayed.bytes(), vec![1; 20]].concat();
        self.push("what a relay would hear, in fragments with padding", Mac::BROADCAST, 0x0800, &padded, rogue);
        self.v4("the end of an answer without its beginning", &Four { fragment: LATER, ..answer.clone() }, PASSES);
        let cut = Four { payload: udp(1067, 68, b"")[..7].to_vec(), ..answer };
        let server = only(Role::Dhcp, D::FrameMalformed);
        self.v4("UDP of seven bytes", &cut, server);
        self.v4("UDP of seven bytes, first fragment", &Four { fragment: FIRST, ..cut.clone() }, server);
        self.v4("UDP of no bytes", &Four { payload: Vec::new(), ..cut }, server);
    }

    fn dhcp6(&mut self) {
        let rogue = only(Role::Dhcp, D::DhcpUnexpected);
        for (from, to, kind, verdicts) in [
            (547, 546, 2, rogue),
            (1547, 546, 7, rogue),
            (546, 546, 2, rogue),
            (4000, 546, 1, rogue),
            (547, 4000, 7, rogue),
            (547, 547, 12, rogue),
            (4000, 547, 2, rogue),
            (4000, 547, 7, rogue),
            (4000, 547, 10, rogue),
            (546, 547, 13, rogue),
            (546, 547, 1, PASSES),
            (4000, 547, 3, PASSES),
            (4000, 68, 2, PASSES),
        ] {
            let packet = Six { payload: udp(from, to, &[kind, 1, 2, 3]), ..self.six() };
            self.v6(format!("DHCPv6 {kind} from UDP port {from} to {to}"), &packet, verdicts);
        }
        let answer = Six { payload: udp(1547, 546, &[2, 1, 2, 3]), ..self.six() };
        for (what, headers) in shapes() {
            self.v6(format!("a DHCPv6 answer {what}"), &Six { headers, ..answer.clone() }, rogue);
        }
        let first = vec![fragment(1)];
        self.v6("a first fragment of a DHCPv6 answer", &Six { headers: first.clone(), ..answer.clone() }, rogue);
        let relayed = Six { payload: udp(4000, 547, b""), headers: first.clone(), ..answer.clone() };
        self.v6("what a DHCPv6 relay would hear, in fragments", &relayed, rogue);
        let padded = [relayed.bytes(), vec![1; 20]].concat();
        self.push("what a DHCPv6 relay would hear, with padding", Mac::BROADCAST, 0x86dd, &padded, rogue);
        let cut = Six { payload: answer.payload[..7].to_vec(), ..answer.clone() };
        self.v6("UDP over IPv6 of seven bytes", &cut, only(Role::Dhcp, D::FrameMalformed));
        let none = Six { payload: Vec::new(), ..cut.clone() };
        self.v6("UDP over IPv6 of no bytes", &none, only(Role::Dhcp, D::FrameMalformed));
        self.v6("the same as a first fragment", &Six { headers: first, ..cut }, never(D::HeadersHidden));
        self.v6("with one hop", &Six { hops: 1, ..answer }, rogue);
    }

    fn icmp(&mut self) {
        let routers = only(Role::Router, D::RouterUnexpected);
        for (what, kind, verdicts) in
            [("echo", 8, PASSES), ("redirect", 5, routers), ("router advertisement", 9, routers)]
        {
            let packet = Four { protocol: 1, payload: icmp(kind), ..self.four() };
            self.v4(format!("ICMP {what}"), &packet, verdicts);
            self.v4(format!("ICMP {what}, with options"), &Four { options: &[1; 8], ..packet.clone() }, verdicts);
            let first = Four { fragment: FIRST, payload: icmp(kind)[..8].to_vec(), ..packet.clone() };
            self.v4(format!("ICMP {what}, first fragment"), &first, verdicts);
            self.push(format!("ICMP {what} to one guest"), self.other.mac, 0x0800, &packet.bytes(), verdicts);
        }
        let another = Four { source: self.other.v4, protocol: 1, payload: icmp(5), ..self.four() };
        let [guest, _, dhcp, bare] = routers;
        self.v4("ICMP redirect as another router", &another, [guest, Some(D::IpForeign), dhcp, bare]);
        self.v4("ICMP without a type", &Four { payload: Vec::new(), ..another }, never(D::FrameMalformed));
    }

    /// Errors about packets that were for the guest itself, and for others.
    fn errors(&mut self) {
        let routers = only(Role::Router, D::RouterUnexpected);
        let [guest, router, dhcp, _] = routers;
        let unlisted = [guest, router, dhcp, None];
        for (whose, v4, v6, verdicts) in [
            ("itself", self.me.v4, self.me.v6, PASSES),
            ("another guest's", self.other.v4, self.other.v6, routers),
            ("nobody", NOBODY4, NOBODY6, unlisted),
            ("a host abroad", ABROAD4, ABROAD6, unlisted),
        ] {
            for (kind, code) in [(3, 1), (3, 3), (3, 4), (4, 0), (11, 0), (12, 0)] {
                let quote = Four { source: ABROAD4, destination: v4, ..self.four() }.bytes();
                let packet = Four { protocol: 1, payload: icmp_error(kind, code, &quote), ..self.four() };
                self.v4(format!("ICMP {kind} {code} about a packet for {whose}"), &packet, verdicts);
            }
            for kind in [1, 2, 3, 4, 100] {
                let quote = Six { source: ABROAD6, destination: v6, ..self.six() }.bytes();
                let payload = icmp6(kind, self.me.v6, ALL_NODES, &[&[0, 0, 5, 0][..], &quote].concat(), &[]);
                let packet = Six { protocol: 58, payload, ..self.six() };
                self.v6(format!("ICMPv6 {kind} about a packet for {whose}"), &packet, verdicts);
                let headers = vec![options(60)];
                self.v6(
                    format!("ICMPv6 {kind} about a packet for {whose}, behind options"),
                    &Six { headers, ..packet },
                    verdicts,
                );
            }
        }
        let quote = Four { source: ABROAD4, destination: self.me.v4, ..self.four() }.bytes();
        let first = Four { protocol: 1, fragment: FIRST, payload: icmp_error(3, 4, &[]), ..self.four() };
        let padded = [first.bytes(), quote].concat();
        self.push("an ICMP error whose quote is padding", Mac::BROADCAST, 0x0800, &padded, routers);
        let quote = Six { source: ABROAD6, destination: self.me.v6, ..self.six() }.bytes();
        let payload = icmp6(2, self.me.v6, ALL_NODES, &[0, 0, 5, 0], &[]);
        let first = Six { protocol: 58, headers: vec![fragment(1)], payload, ..self.six() };
        let padded = [first.bytes(), quote].concat();
        self.push("an ICMPv6 error whose quote is padding", Mac::BROADCAST, 0x86dd, &padded, routers);
        let cut = Four { protocol: 1, payload: icmp(3)[..20].to_vec(), ..self.four() };
        self.v4("an ICMP error that quotes too little", &cut, routers);
        let cut = Six { protocol: 58, payload: icmp6(2, self.me.v6, ALL_NODES, &[0; 28], &[]), ..self.six() };
        self.v6("an ICMPv6 error that quotes too little", &cut, routers);
    }

    fn malformed(&mut self) {
        for (what, wrong) in [
            ("of version 6", (0x20, 0, 0)),
            ("with a header of 16 bytes", (0xff, 0, 0)),
            ("with a header of no bytes", (0xfb, 0, 0)),
            ("that says it is longer than it is", (0, 1, 0)),
            ("that says it is shorter than its header", (0, 0xffd8, 0)),
        ] {
            self.v4(format!("IPv4 {what}"), &Four { wrong, ..self.four() }, never(D::FrameMalformed));
        }
        for (what, wrong) in [("of version 4", (0xe0, 0)), ("that says it is longer than it is", (0, 1))] {
            self.v6(format!("IPv6 {what}"), &Six { wrong, ..self.six() }, never(D::FrameMalformed));
        }
        let short = self.four().bytes()[..19].to_vec();
        self.push("IPv4 of 19 bytes", Mac::BROADCAST, 0x0800, &short, never(D::FrameMalformed));
        let short = self.six().bytes()[..39].to_vec();
        self.push("IPv6 of 39 bytes", Mac::BROADCAST, 0x86dd, &short, never(D::FrameMalformed));
        let jumbo = Six { headers: vec![(0, vec![0, 0xc2, 4, 0, 0, 0, 24])], wrong: (0, 0xffe0), ..self.six() };
        self.v6("a jumbogram", &jumbo, never(D::HeadersHidden));
    }

    /// Router advertisements and redirects of IPv6.
    fn routers(&mut self) {
        let routers = only(Role::Router, D::RouterUnexpected);
        let me = says(1, self.me.mac);
        let advertisement = self.discovery(134, &ADVERTISES, &me);
        self.v6("RA", &advertisement, routers);
        self.v6("RA with a hop limit of 64", &Six { hops: 64, ..advertisement.clone() }, routers);
        self.push("RA to one guest", self.other.mac, 0x86dd, &advertisement.bytes(), routers);
        for (what, headers) in shapes().into_iter().filter(|(_, headers)| headers.iter().all(|(kind, _)| *kind != 44)) {
            self.v6(format!("RA {what}"), &Six { headers, ..advertisement.clone() }, routers);
        }
        let many = Six { headers: vec![options(60); 9], ..advertisement };
        self.v6("RA behind nine headers", &many, never(D::HeadersHidden));
        let [guest, _, dhcp, bare] = routers;
        let nobody = [guest, Some(D::NdForeign), dhcp, bare];
        let source = self.other.v6;
        self.v6("RA as another", &Six { source, ..self.discovery(134, &ADVERTISES, &me) }, nobody);
        let lies = self.discovery(134, &ADVERTISES, &says(1, self.other.mac));
        self.v6("RA with another's MAC", &lies, nobody);
        self.v6("RA cut", &self.discovery(134, &ADVERTISES[..8], &[]), nobody);
        let redirect = self.discovery(137, &[0; 36], &says(2, self.other.mac));
        self.v6("redirect", &redirect, routers);
        self.v6("redirect as another", &Six { source, ..redirect }, nobody);
    }

    /// Solicitations and advertisements.
    fn neighbours(&mut self) {
        let (me, other) = (self.me, self.other);
        let about = |address: Ipv6Addr| [&[0x20, 0, 0, 0][..], &address.octets()].concat();
        let (mine, theirs) = (about(me.v6), about(other.v6));
        let (own, lie) = (says(2, me.mac), says(2, other.mac));
        self.v6("NA", &self.discovery(136, &mine, &own), PASSES);
        self.v6("NA of its link-local address", &self.discovery(136, &about(link_local(me.mac)), &own), PASSES);
        self.v6("NA of another guest", &self.discovery(136, &theirs, &own), never(D::NdForeign));
        self.v6("NA of nobody", &self.discovery(136, &about(NOBODY6), &own), bare(D::NdForeign));
        self.v6(
            "NA of another link-local",
            &self.discovery(136, &about(link_local(other.mac)), &own),
            bare(D::NdForeign),
        );
        let asks = about(ABROAD6);
        let (own_source, lie_source) = (says(1, me.mac), says(1, other.mac));
        self.v6("NS", &self.discovery(135, &asks, &own_source), PASSES);
        self.v6(
            "NS as another",
            &Six { source: other.v6, ..self.discovery(135, &asks, &own_source) },
            never(D::NdForeign),
        );
        let unspecified = |packet: Six| Six { source: Ipv6Addr::UNSPECIFIED, ..packet };
        self.v6("address detection", &unspecified(self.discovery(135, &mine, &[])), PASSES);
        let nonce = says(14, Mac([7; 6]));
        for (whose, target, verdicts) in [
            ("another guest's address", &theirs, never(D::NdForeign)),
            ("nobody's address", &about(NOBODY6), bare(D::NdForeign)),
        ] {
            self.v6(format!("detection of {whose}"), &unspecified(self.discovery(135, target, &[])), verdicts);
            let to_one = unspecified(self.discovery(135, target, &nonce)).bytes();
            self.push(format!("detection of {whose}, to one guest"), other.mac, 0x86dd, &to_one, verdicts);
        }
        self.v6("NS with a nonce", &self.discovery(135, &asks, &[own_source.clone(), nonce.clone()].concat()), PASSES);
        let detects = icmp6(135, Ipv6Addr::UNSPECIFIED, ALL_NODES, &mine, &nonce);
        let detects = Six { payload: detects, ..unspecified(self.discovery(135, &mine, &[])) };
        self.v6("address detection with a nonce", &detects, PASSES);
        self.v6("RS", &self.discovery(133, &[0; 4], &own_source), PASSES);
        self.v6("RS without an address", &unspecified(self.discovery(133, &[0; 4], &[])), PASSES);
        self.v6(
            "RS as another",
            &Six { source: other.v6, ..self.discovery(133, &[0; 4], &own_source) },
            never(D::NdForeign),
        );
        let report = Six { headers: vec![options(0)], ..self.discovery(143, &[0; 4], &[]) };
        self.v6("a report of groups without an address", &unspecified(report), PASSES);
        for (kind, verdicts) in [(131, PASSES), (132, PASSES), (128, nobodys(D::IpForeign))] {
            let report = Six { headers: vec![options(0)], ..self.discovery(kind, &[0; 20], &[]) };
            self.v6(format!("ICMPv6 {kind} without an address"), &unspecified(report), verdicts);
        }
        let twice = [own.clone(), lie.clone()].concat();
        let long = [&[2, 2][..], &other.mac.0, &[0; 8], &own].concat();
        let ns_lies = vec![
            lie_source.clone(),
            [own_source.clone(), lie_source.clone()].concat(),
            [own_source.clone(), nonce, lie_source.clone()].concat(),
            vec![1, 0],
        ];
        for (kind, what, fixed, lies) in [
            (136, "NA", &mine, vec![lie, twice, long, vec![2, 0], vec![2, 1, 0, 0]]),
            (135, "NS", &asks, ns_lies),
            (133, "RS", &vec![0; 4], vec![lie_source.clone(), [own_source, lie_source].concat(), vec![14, 0]]),
        ] {
            for (nth, options) in lies.iter().enumerate() {
                self.v6(format!("{what} with lie {nth}"), &self.discovery(kind, fixed, options), never(D::NdForeign));
            }
        }
    }

    /// Messages of discovery behind fragment headers, and first fragments that do not say what they are.
    fn fragments(&mut self) {
        let about = [&[0x20, 0, 0, 0][..], &self.me.v6.octets()].concat();
        for (kind, what, fixed, verdicts) in [
            (133, "RS", vec![0; 4], never(D::NdForeign)),
            (134, "RA", ADVERTISES.to_vec(), fragmented_router()),
            (135, "NS", about.clone(), never(D::NdForeign)),
            (136, "NA", about, never(D::NdForeign)),
            (137, "redirect", vec![0; 36], fragmented_router()),
            (148, "certificate solicitation", vec![0; 4], never(D::NdForeign)),
            (149, "certificate advertisement", vec![0; 8], never(D::NdForeign)),
        ] {
            let message = self.discovery(kind, &fixed, &[]);
            for (how, headers) in [
                ("in an atomic fragment", vec![fragment(0)]),
                ("in a first fragment", vec![fragment(1)]),
                ("in a first fragment behind options", vec![fragment(1), options(60)]),
                ("in two fragments, one in the other", vec![fragment(0), fragment(1)]),
            ] {
                self.v6(format!("{what} {how}"), &Six { headers, ..message.clone() }, verdicts);
            }
        }
        let hidden = never(D::HeadersHidden);
        let first = Six { headers: vec![fragment(1)], protocol: 58, payload: Vec::new(), ..self.six() };
        self.v6("a first fragment that ends where ICMPv6 would begin", &first, hidden);
        let behind = Six { headers: vec![fragment(1), options(60)], ..first.clone() };
        self.v6("a first fragment that ends behind options", &behind, hidden);
        let within = Six { headers: vec![fragment(1), (60, vec![3, 1, 4, 0, 0, 0, 0])], ..first.clone() };
        self.v6("a first fragment that ends within options", &within, hidden);
        let none = Six { headers: vec![fragment(1), fragment(1)], ..first.clone() };
        self.v6("a first fragment that ends behind another fragment header", &none, hidden);
        for (protocol, least) in [(6, 20), (17, 8), (253, 1), (41, 1)] {
            let short = Six { protocol, payload: vec![0; least - 1], ..first.clone() };
            self.v6(format!("a first fragment with {} bytes of protocol {protocol}", least - 1), &short, hidden);
        }
        for (what, protocol, payload) in [
            ("an advertisement", 58, vec![134; 16]),
            ("a redirect", 58, vec![137; 16]),
            ("an answer of DHCP", 17, udp(547, 546, &[2; 8])),
        ] {
            let later = Six { headers: vec![fragment(0x10)], protocol, payload, ..self.six() };
            self.v6(format!("a later fragment whose bytes look like {what}"), &later, PASSES);
        }
        let later = Four { fragment: LATER, protocol: 1, payload: icmp(5), ..self.four() };
        self.v4("a later fragment whose bytes look like a redirect", &later, PASSES);
        let echo = Six { headers: vec![fragment(1)], ..self.discovery(128, &[0; 28], &[]) };
        self.v6("a first fragment of a ping", &echo, PASSES);
        self.v6("a later fragment of a ping", &Six { headers: vec![fragment(0x11)], ..echo }, PASSES);
        self.v6("options that do not end", &Six { headers: vec![(60, vec![9, 1, 4, 0, 0, 0, 0])], ..first }, hidden);
    }

    fn arp(&mut self) {
        let (me, other) = (self.me, self.other);
        let arp = |hardware: u8, operation: u8, mac: Mac, ip: Ipv4Addr| {
            [&[0, hardware, 8, 0, 6, 4, 0, operation][..], &mac.0, &ip.octets(), &other.mac.0, &ip.octets()].concat()
        };
        let probe =
            |target: Ipv4Addr| [&[0, 1, 8, 0, 6, 4, 0, 1][..], &me.mac.0, &[0; 4], &[0; 6], &target.octets()].concat();
        for (what, body, verdicts) in [
            ("announcement", arp(1, 2, me.mac, me.v4), PASSES),
            ("request", arp(1, 1, me.mac, me.v4), PASSES),
            ("probe", probe(me.v4), PASSES),
            ("probe of another guest's address", probe(other.v4), never(D::ArpForeign)),
            ("probe of nobody's address", probe(NOBODY4), bare(D::ArpForeign)),
            ("of another guest", arp(1, 2, me.mac, other.v4), never(D::ArpForeign)),
            ("request of another guest", arp(1, 1, me.mac, other.v4), never(D::ArpForeign)),
            ("of nobody", arp(1, 2, me.mac, NOBODY4), bare(D::ArpForeign)),
            ("with another's MAC", arp(1, 2, other.mac, me.v4), never(D::ArpForeign)),
            ("of IEEE 802 networks", arp(6, 2, me.mac, me.v4), never(D::ArpForeign)),
            ("cut", arp(1, 2, me.mac, me.v4)[..27].to_vec(), never(D::ArpForeign)),
        ] {
            self.push(format!("ARP {what}"), Mac::BROADCAST, 0x0806, &body, verdicts);
        }
        let own = arp(1, 2, me.mac, me.v4);
        self.push("ARP to a reserved group", reserved(0x0e), 0x0806, &own, never(D::GroupReserved));
    }

    /// Groups of Ethernet, and who else would hear.
    fn groups(&mut self) {
        for last in 0..=0x0f {
            let (four, six) = (self.four().bytes(), self.six().bytes());
            for (what, ethertype, body) in [
                ("IPv4", 0x0800, &four[..]),
                ("IPv6", 0x86dd, &six),
                ("LLDP", 0x88cc, &[0; 46]),
                ("LLC", 38, &[0x42; 46]),
            ] {
                self.push(
                    format!("{what} to group {last:02x}"),
                    reserved(last),
                    ethertype,
                    body,
                    never(D::GroupReserved),
                );
            }
        }
        let multicast = Mac([0x01, 0, 0x5e, 0, 0, 1]);
        for (what, destination, verdicts) in [
            ("everybody", Ipv4Addr::BROADCAST, PASSES),
            ("a group", Ipv4Addr::new(224, 0, 0, 251), PASSES),
            ("the subnet", Ipv4Addr::new(192, 168, 10, 255), PASSES),
            ("a host", HOST4, never(D::GroupUnicast)),
            ("a host's subnet", Ipv4Addr::new(198, 18, 1, 255), never(D::GroupUnicast)),
            ("a guest", self.other.v4, never(D::GroupUnicast)),
            ("nobody", Ipv4Addr::UNSPECIFIED, never(D::GroupUnicast)),
            ("itself", Ipv4Addr::LOCALHOST, never(D::GroupUnicast)),
        ] {
            let packet = Four { destination, ..self.four() };
            for to in [Mac::BROADCAST, multicast, reserved(0x10), reserved(0x21), Mac([0x03, 0, 0, 0, 0, 1])] {
                self.push(format!("{to}, IPv4 for {what}"), to, 0x0800, &packet.bytes(), verdicts);
            }
            let later = Four { fragment: LATER, ..packet };
            self.push(format!("a later fragment for {what}"), multicast, 0x0800, &later.bytes(), verdicts);
        }
        for (what, destination, verdicts) in [
            ("a host", HOST6, never(D::GroupUnicast)),
            ("a guest", self.other.v6, never(D::GroupUnicast)),
            ("a link-local address", link_local(self.other.mac), never(D::GroupUnicast)),
            ("a group", Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 1, 3), PASSES),
        ] {
            let packet = Six { destination, ..self.six() };
            for to in [Mac::BROADCAST, Mac([0x33, 0x33, 0, 0, 0, 1]), reserved(0x21)] {
                self.push(format!("{to}, IPv6 for {what}"), to, 0x86dd, &packet.bytes(), verdicts);
            }
        }
    }

    fn types(&mut self) {
        let inside = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &self.four().bytes()].concat();
        let length = u16::try_from(inside.len()).unwrap();
        for (what, ethertype) in [
            ("LLDP", 0x88cc),
            ("LACP", 0x8809),
            ("EAPOL", 0x888e),
            ("PPPoE discovery", 0x8863),
            ("PPPoE session", 0x8864),
            ("MPLS", 0x8847),
            ("RARP", 0x8035),
            ("MACsec", 0x88e5),
            ("PTP", 0x88f7),
            ("MVRP", 0x88f5),
            ("a local experiment", 0x88b5),
            ("IPv4 behind LLC and SNAP", length),
            ("IPX", 0x8137),
            ("raw 802.3", 3),
            ("batman", 0x4305),
            ("trailer encapsulation", 0x1000),
        ] {
            for to in [Mac::BROADCAST, self.other.mac, reserved(0x21), Mac([1, 0, 0x0c, 0xcc, 0xcc, 0xcc])] {
                self.push(format!("{what} to {to}"), to, ethertype, &inside, never(D::TypeUnexpected));
            }
        }
    }
}

/// What an advertisement says of its router, behind the checksum.
const ADVERTISES: [u8; 12] = [64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];

/// Router messages in fragments: of a router nobody takes them either.
fn fragmented_router() -> Verdicts {
    let refused = Some(D::RouterUnexpected);
    [refused, Some(D::NdForeign), refused, refused]
}

fn reserved(last: u8) -> Mac {
    Mac([0x01, 0x80, 0xc2, 0, 0, last])
}

/// The front of a BOOTP message.
fn boot(kind: u8) -> Vec<u8> {
    [&[kind, 1, 6, 0][..], &[0; 40]].concat()
}

/// Eight bytes of padding as an extension header of this kind.
fn options(kind: u8) -> Extension {
    (kind, vec![0, 1, 4, 0, 0, 0, 0])
}

/// A fragment header with this offset and flag.
fn fragment(field: u16) -> Extension {
    let [high, low] = field.to_be_bytes();
    (44, vec![0, high, low, 0, 0, 0, 7])
}

/// Extension headers that a receiver passes.
fn shapes() -> Vec<(&'static str, Vec<Extension>)> {
    vec![
        ("behind hop-by-hop options", vec![options(0)]),
        ("behind destination options", vec![options(60)]),
        ("behind long options", vec![(60, [&[2, 1, 20][..], &[0; 20]].concat())]),
        ("behind a routing header", vec![(43, vec![0, 4, 0, 0, 0, 0, 0])]),
        ("behind an authentication header", vec![(51, [&[4][..], &[0; 22]].concat())]),
        ("behind a mobility header", vec![options(135)]),
        ("behind three headers", vec![options(0), options(60), (43, vec![0, 4, 0, 0, 0, 0, 0])]),
        ("behind eight headers", vec![options(60); 8]),
        ("in an atomic fragment", vec![fragment(0)]),
        ("in an atomic fragment behind options", vec![options(60), fragment(0), options(60)]),
    ]
}
