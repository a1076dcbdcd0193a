//! Super-frames as a guest's kernel makes them, generated; and a slow reader that checks a packet by the books. Both are
//! written from the RFCs with the header codecs of `wire`, and share nothing with the code that cuts and joins.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use crate::wire::Header;
use crate::wire::ip::{self, Checksum, Ipv4, Ipv6};
use crate::wire::virtio::{Gso, Virtio};

pub(super) const FIN: u8 = 0x01;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
pub(super) const CWR: u8 = 0x80;

/// A frame with everything that may vary.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub v6: bool,
    pub tcp: bool,
    pub macs: [u8; 12],
    pub tag: Option<u16>,
    pub addresses: [u8; 32],
    pub ports: [u16; 2],
    pub tos: u8,
    pub ttl: u8,
    pub id: u16,
    pub dont_fragment: bool,
    /// Groups of four bytes of IPv4 options, or of eight of an IPv6 hop-by-hop header.
    pub ip_options: usize,
    pub flags: u8,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub window: u16,
    /// A multiple of four.
    pub tcp_options: Vec<u8>,
    pub payload: Vec<u8>,
    /// The guest's segment size.
    pub size: u16,
}

/// What the slow reader found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub l3: usize,
    pub l4: usize,
    pub id: u16,
    pub sequence: u32,
    pub flags: u8,
    /// IP packet in bytes.
    pub packet: usize,
    /// Everything but lengths, checksums, identification, sequence number and flags.
    pub constant: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Sample {
    pub(super) fn l3(&self) -> usize {
        if self.tag.is_some() { 18 } else { 14 }
    }

    pub(super) fn l4(&self) -> usize {
        self.l3() + if self.v6 { 40 + self.ip_options * 8 } else { 20 + self.ip_options * 4 }
    }

    pub(super) fn head(&self) -> usize {
        self.l4() + if self.tcp { 20 + self.tcp_options.len() } else { 8 }
    }

    fn protocol(&self) -> u8 {
        if self.tcp { ip::TCP } else { ip::UDP }
    }

    /// The frame with its checksum left to the interface, as a TAP gives it.
    pub(super) fn frame(&self) -> Vec<u8> {
        let mut l4 = self.l4_header();
        let len = u16::try_from(l4.len() + self.payload.len()).unwrap();
        let partial = !pseudo(self.v6, &self.addresses, len, self.protocol()).value();
        let field = if self.tcp { 16 } else { 6 };
        l4[field..field + 2].copy_from_slice(&partial.to_be_bytes());
        let mut frame = self.macs.to_vec();
        if let Some(tag) = self.tag {
            frame.extend(0x8100u16.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(if self.v6 { 0x86ddu16 } else { 0x0800 }.to_be_bytes());
        frame.extend(if self.v6 { self.ipv6(len) } else { self.ipv4(len) });
        frame.extend(l4);
        frame.extend(&self.payload);
        frame
    }

    /// The frame as one packet with all checksums made.
    pub(super) fn finished(&self) -> Vec<u8> {
        finish(self.frame(), self.l4(), self.tcp)
    }

    pub(super) fn virtio(&self) -> Virtio {
        Virtio {
            needs_checksum: true,
            checksum_valid: false,
            gso: match (self.tcp, self.v6) {
                (true, false) => Gso::TcpV4,
                (true, true) => Gso::TcpV6,
                (false, _) => Gso::UdpL4,
            },
            ecn: false,
            hdr_len: u16::try_from(self.head()).unwrap(),
            gso_size: self.size,
            csum_start: u16::try_from(self.l4()).unwrap(),
            csum_offset: if self.tcp { 16 } else { 6 },
        }
    }

    fn l4_header(&self) -> Vec<u8> {
        let [source, destination] = self.ports.map(u16::to_be_bytes);
        let mut head = [source, destination].concat();
        if self.tcp {
            head.extend(self.sequence.to_be_bytes());
            head.extend(self.acknowledgement.to_be_bytes());
            head.push(u8::try_from((20 + self.tcp_options.len()) / 4 * 16).unwrap());
            head.push(self.flags);
            head.extend(self.window.to_be_bytes());
            head.extend([0; 4]);
            head.extend(&self.tcp_options);
        } else {
            head.extend(u16::try_from(8 + self.payload.len()).unwrap().to_be_bytes());
            head.extend([0; 2]);
        }
        head
    }

    fn ipv4(&self, payload: u16) -> Vec<u8> {
        let options = u16::try_from(self.ip_options * 4).unwrap();
        let head = Ipv4 {
            options: 0,
            tos: self.tos,
            total: 20 + options + payload,
            id: self.id,
            dont_fragment: self.dont_fragment,
            more_fragments: false,
            offset: 0,
            ttl: self.ttl,
            protocol: self.protocol(),
            source: Ipv4Addr::from(*self.addresses.first_chunk::<4>().unwrap()),
            destination: Ipv4Addr::from(*self.addresses[4..].first_chunk::<4>().unwrap()),
        };
        let mut bytes = vec![0; 20];
        head.emit(&mut bytes).unwrap();
        // "No Operation", as many as fit.
        bytes.extend(vec![1; usize::from(options)]);
        bytes[0] = 0x45 + u8::try_from(self.ip_options).unwrap();
        bytes[10..12].fill(0);
        let checksum = Checksum::default().with(&bytes).value();
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn ipv6(&self, payload: u16) -> Vec<u8> {
        let options = u16::try_from(self.ip_options * 8).unwrap();
        let head = Ipv6 {
            class: self.tos,
            label: u32::from(self.id),
            payload: options + payload,
            next: if options > 0 { 0 } else { self.protocol() },
            hop_limit: self.ttl,
            source: Ipv6Addr::from(*self.addresses.first_chunk::<16>().unwrap()),
            destination: Ipv6Addr::from(*self.addresses[16..].first_chunk::<16>().unwrap()),
        };
        let mut bytes = vec![0; 40];
        head.emit(&mut bytes).unwrap();
        if self.ip_options > 0 {
            let padding = u8::try_from(self.ip_options * 8 - 4).unwrap();
            bytes.extend([self.protocol(), u8::try_from(self.ip_options - 1).unwrap(), 1, padding]);
            bytes.extend(vec![0; usize::from(padding)]);
        }
        bytes
    }
}

/// Makes the checksum of a frame whose field holds the sum of the pseudo header.
pub(super) fn finish(mut frame: Vec<u8>, l4: usize, tcp: bool) -> Vec<u8> {
    let field = l4 + if tcp { 16 } else { 6 };
    let checksum = match Checksum::default().with(&frame[l4..]).value() {
        0 => 0xffff,
        other => other,
    };
    frame[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    frame
}

fn pseudo(v6: bool, addresses: &[u8], len: u16, protocol: u8) -> Checksum {
    let sum = Checksum::default().with(&addresses[..if v6 { 32 } else { 8 }]);
    sum.with(&len.to_be_bytes()).with(&[0, protocol])
}

/// Reads a packet and checks every length and checksum in it.
pub(super) fn read(frame: &[u8]) -> Seen {
    let tagged = frame[12..14] == [0x81, 0];
    let l3 = if tagged { 18 } else { 14 };
    let v6 = frame[l3] >> 4 == 6;
    assert_eq!(frame[l3 - 2..l3], if v6 { [0x86, 0xdd] } else { [8, 0] });
    let (l4, protocol, id) = if v6 { read_ipv6(frame, l3) } else { read_ipv4(frame, l3) };
    let addresses = if v6 { &frame[l3 + 8..l3 + 40] } else { &frame[l3 + 12..l3 + 20] };
    let len = u16::try_from(frame.len() - l4).unwrap();
    let sum = pseudo(v6, addresses, len, protocol).with(&frame[l4..]);
    assert_eq!(sum.value(), 0, "checksum of the payload protocol");
    let mut constant = frame.to_vec();
    if v6 {
        constant[l3 + 4..l3 + 6].fill(0);
    } else {
        constant[l3 + 2..l3 + 6].fill(0);
        constant[l3 + 10..l3 + 12].fill(0);
    }
    let (head, sequence, flags) = if protocol == ip::TCP {
        let tcp = &frame[l4..];
        constant[l4 + 4..l4 + 8].fill(0);
        constant[l4 + 13] = 0;
        constant[l4 + 16..l4 + 18].fill(0);
        (usize::from(tcp[12] >> 4) * 4, u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]), tcp[13])
    } else {
        assert_eq!(frame[l4 + 4..l4 + 6], len.to_be_bytes(), "UDP length");
        assert_ne!(frame[l4 + 6..l4 + 8], [0, 0], "UDP checksum");
        constant[l4 + 4..l4 + 8].fill(0);
        (8, 0, 0)
    };
    let payload = constant.split_off(l4 + head);
    Seen { l3, l4, id, sequence, flags, packet: frame.len() - l3, constant, payload }
}

fn read_ipv4(frame: &[u8], l3: usize) -> (usize, u8, u16) {
    let ip = Ipv4::parse(&frame[l3..]).unwrap();
    assert!(ip.checksum_holds(&frame[l3..]), "IPv4 checksum");
    assert_eq!(usize::from(ip.total), frame.len() - l3, "IPv4 total length");
    (l3 + ip.header_len(), ip.protocol, ip.id)
}

fn read_ipv6(frame: &[u8], l3: usize) -> (usize, u8, u16) {
    let ip = Ipv6::parse(&frame[l3..]).unwrap();
    assert_eq!(usize::from(ip.payload), frame.len() - l3 - 40, "IPv6 payload length");
    match ip.next {
        0 => (l3 + 40 + (usize::from(frame[l3 + 41]) + 1) * 8, frame[l3 + 40], 0),
        next => (l3 + 40, next, 0),
    }
}

/// Any super-frame that can be cut, `payload` bytes at most.
pub(super) fn any_sample(payload: usize) -> impl Strategy<Value = Sample> {
    let link = (any::<[bool; 3]>(), any::<[u8; 12]>(), prop::option::of(any::<u16>()));
    let network = (any::<[u8; 32]>(), any::<u8>(), any::<u8>(), any::<u16>(), 0..3usize);
    let port = || any::<u16>().prop_filter("a tunnel's UDP port", |p| !super::coalesce::TUNNEL_PORTS.contains(p));
    let flags = any::<u8>().prop_map(|bits| ACK | bits & (FIN | PSH | CWR | 0x40));
    let options = prop::collection::vec(any::<[u8; 4]>(), 0..=10);
    let transport = ([port(), port()], flags, any::<u32>(), any::<u32>(), any::<u16>(), options);
    let payload = (prop::collection::vec(any::<u8>(), 1..=payload), 1..=1500u16);
    (link, network, transport, payload).prop_map(
        |(
            ([v6, tcp, dont_fragment], macs, tag),
            (addresses, tos, ttl, id, ip_options),
            (ports, flags, sequence, acknowledgement, window, options),
            (payload, size),
        )| {
            let size = size.max(u16::try_from(payload.len().div_ceil(64)).unwrap());
            let tcp_options = options.concat();
            Sample {
                v6,
                tcp,
                macs,
                tag,
                addresses,
                ports,
                tos,
                ttl,
                id,
                dont_fragment,
                ip_options,
                flags,
                sequence,
                acknowledgement,
                window,
                tcp_options,
                payload,
                size,
            }
        },
    )
}

/// One that can be joined again from its segments: no options of IP, only ACK or ACK and PSH.
pub(super) fn joinable_sample(payload: usize) -> impl Strategy<Value = Sample> {
    any_sample(payload).prop_map(|sample| Sample { ip_options: 0, flags: sample.flags & (ACK | PSH), ..sample })
}
