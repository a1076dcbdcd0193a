//! Guests that say exactly what a test tells them: frames, and interfaces that the test itself is behind.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vxmesh::clock;
use vxmesh::linux::tap::{self, Offloads, Tap};
use vxmesh::types::Mac;
use vxmesh::wire::Header;
use vxmesh::wire::arp::{self, Arp};
use vxmesh::wire::ethernet::{self, Ethernet};
use vxmesh::wire::ip::{self, Checksum, Ipv4, Ipv6};
use vxmesh::wire::nd::{self, Advertisement, Solicitation};
use vxmesh::wire::udp::Udp;

use crate::harness::Space;

/// A guest's interface; the guest is the test.
pub struct Plug {
    tap: Tap,
    /// Its name on the host.
    pub name: String,
}

impl Plug {
    /// Makes it, down and on no bridge.
    pub fn make(host: &Space, name: &str) -> Self {
        let parsed = name.parse().unwrap();
        host.sh("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1");
        let tap = host.enter(|| {
            tap::create_persistent(&parsed).unwrap();
            Tap::attach(&parsed, Offloads::None).unwrap()
        });
        Self { tap, name: name.to_owned() }
    }

    /// Makes it and puts it on a bridge, up.
    pub fn on(host: &Space, name: &str, bridge: &str) -> Self {
        let plug = Self::make(host, name);
        host.sh(&format!("ip link set {name} master {bridge} up"));
        plug
    }

    /// The guest sends a frame.
    pub fn send(&self, frame: &[u8]) {
        self.tap.write(frame).unwrap();
    }

    /// As [`Self::send`], while the interface may be down.
    pub fn try_send(&self, frame: &[u8]) -> bool {
        self.tap.write(frame).is_ok()
    }

    /// All that has come to the guest so far.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buffer = vec![0; 65_536];
        while let Ok(Some((len, _))) = self.tap.read(&mut buffer) {
            frames.push(buffer[..len].to_vec());
        }
        frames
    }

    /// All that comes to the guest until `last` does; panics if it does not within two seconds.
    pub fn heard_until(&self, last: &[u8]) -> Vec<Vec<u8>> {
        let heard = self.heard_within(last, Duration::from_secs(2));
        heard.unwrap_or_else(|| panic!("{} did not hear {last:02x?}", self.name))
    }

    /// All that comes to the guest until `last` does; none: it did not in time.
    pub fn heard_within(&self, last: &[u8], limit: Duration) -> Option<Vec<Vec<u8>>> {
        let start = clock::mono();
        let mut all: Vec<Vec<u8>> = Vec::new();
        while !all.iter().any(|frame| same(frame, last)) {
            if clock::mono().since(start) > limit {
                return None;
            }
            all.extend(self.heard());
            std::thread::sleep(Duration::from_millis(1));
        }
        Some(all)
    }
}

/// Ends what threads do until told, however the test ends.
pub struct Until<'a>(pub &'a AtomicBool);

impl Drop for Until<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Equal but for padding.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    let len = a.len().min(b.len());
    len >= 14 && a[..len] == b[..len]
}

/// An Ethernet frame.
pub fn eth(to: Mac, from: Mac, ethertype: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 14];
    Ethernet { destination: to, source: from, ethertype }.emit(&mut out).unwrap();
    out.extend(body);
    out.resize(out.len().max(60), 0);
    out
}

/// The frame with a tag.
pub fn tag(vlan: u16, frame: &[u8]) -> Vec<u8> {
    let mut out = frame[..12].to_vec();
    out.extend(ethernet::VLAN.to_be_bytes());
    out.extend(vlan.to_be_bytes());
    out.extend(&frame[12..]);
    out
}

/// An announcement of `ip` at `sender`.
pub fn arp(from: Mac, sender: Mac, ip: Ipv4Addr) -> Vec<u8> {
    let mut body = vec![0; Arp::LEN];
    let (operation, target_mac) = (arp::REPLY, Mac::BROADCAST);
    Arp { operation, sender_mac: sender, sender_ip: ip, target_mac, target_ip: ip }.emit(&mut body).unwrap();
    eth(Mac::BROADCAST, from, ethernet::ARP, &body)
}

/// A packet of a protocol that nobody looks at, or UDP with these UDP ports.
pub fn ipv4(to: Mac, from: Mac, source: Ipv4Addr, udp: Option<(u16, u16)>) -> Vec<u8> {
    let payload = udp.map_or_else(|| b"guest".to_vec(), datagram);
    let total = u16::try_from(20 + payload.len()).unwrap();
    let header = Ipv4 {
        options: 0,
        tos: 0,
        total,
        id: 1,
        dont_fragment: false,
        more_fragments: false,
        offset: 0,
        ttl: 64,
        protocol: if udp.is_some() { ip::UDP } else { 253 },
        source,
        destination: Ipv4Addr::BROADCAST,
    };
    let mut body = vec![0; 20];
    header.emit(&mut body).unwrap();
    body.extend(payload);
    eth(to, from, ethernet::IPV4, &body)
}

fn datagram((source, destination): (u16, u16)) -> Vec<u8> {
    let mut out = vec![0; 16];
    Udp { source, destination, length: 16, checksum: 0 }.emit(&mut out).unwrap();
    out
}

/// The same over IPv6.
pub fn ipv6(to: Mac, from: Mac, source: Ipv6Addr, udp: Option<(u16, u16)>) -> Vec<u8> {
    let (next, payload) = udp.map_or_else(|| (253, b"guest".to_vec()), |ports| (ip::UDP, datagram(ports)));
    six(to, from, source, next, &payload)
}

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Any packet for all nodes.
pub fn six(to: Mac, from: Mac, source: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let header = Ipv6 { class: 0, label: 0, payload: length, next, hop_limit: 255, source, destination: ALL_NODES };
    let mut body = vec![0; 40];
    header.emit(&mut body).unwrap();
    body.extend(payload);
    eth(to, from, ethernet::IPV6, &body)
}

/// A neighbour advertisement of `target`.
pub fn na(from: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![0; 32];
    let said = Advertisement { router: false, solicited: false, replaces: true, target, mac: Some(from) };
    said.emit(&mut message, source, ALL_NODES).unwrap();
    six(Mac::BROADCAST, from, source, ip::ICMPV6, &message)
}

/// Address detection (RFC 4862 section 5.4.2).
pub fn detect(from: Mac, target: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![0; 24];
    Solicitation { target, source: None }.emit(&mut message, Ipv6Addr::UNSPECIFIED, ALL_NODES).unwrap();
    six(Mac::BROADCAST, from, Ipv6Addr::UNSPECIFIED, ip::ICMPV6, &message)
}

/// Asks whether somebody has an address (RFC 5227 section 2.1.1).
pub fn probe(from: Mac, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = arp(from, from, target);
    frame[28..32].fill(0);
    frame
}

/// A neighbour solicitation that says where `source` is.
pub fn ns(from: Mac, source: Ipv6Addr, says: Mac) -> Vec<u8> {
    let mut message = vec![0; 32];
    let asked = Solicitation { target: Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, 0x99), source: Some(says) };
    asked.emit(&mut message, source, ALL_NODES).unwrap();
    six(Mac::BROADCAST, from, source, ip::ICMPV6, &message)
}

/// A message of router discovery: 134 advertises, 137 redirects. With `hidden`, behind a header of options.
pub fn router(from: Mac, source: Ipv6Addr, kind: u8, hidden: bool) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    let length = u16::try_from(message.len()).unwrap();
    let sum = Checksum::default().pseudo_v6(source, ALL_NODES, length, ip::ICMPV6).with(&message).value();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    if !hidden {
        return six(Mac::BROADCAST, from, source, ip::ICMPV6, &message);
    }
    let mut behind = vec![ip::ICMPV6, 0, 1, 4, 0, 0, 0, 0];
    behind.extend(message);
    six(Mac::BROADCAST, from, source, 60, &behind)
}

/// The first fragment of an IPv6 packet, or a later one, with what `frame` holds behind its IPv6 header.
pub fn fragment(frame: &[u8], offset: u16, more: bool) -> Vec<u8> {
    let mut out = frame[..54].to_vec();
    let length = u16::from_be_bytes([frame[18], frame[19]]) + 8;
    out[18..20].copy_from_slice(&length.to_be_bytes());
    let next = std::mem::replace(&mut out[20], 44);
    let place = (offset & !7) | u16::from(more);
    out.extend([next, 0]);
    out.extend(place.to_be_bytes());
    out.extend([0, 0, 0, 7]);
    out.extend(&frame[54..]);
    out
}

/// ICMP of a type over IPv4.
pub fn icmp(to: Mac, from: Mac, source: Ipv4Addr, kind: u8) -> Vec<u8> {
    let mut frame = ipv4(to, from, source, Some((u16::from(kind) << 8 | 1, 0)));
    frame[23] = 1;
    frame[24..26].fill(0);
    let sum = Checksum::default().with(&frame[14..34]).value();
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// The UDP datagram in a frame of IPv4 (`at` 14 + 20) or IPv6 (14 + 40) begins with this byte.
pub fn saying(mut frame: Vec<u8>, at: usize, first: u8) -> Vec<u8> {
    frame[at + 8] = first;
    frame
}

/// The address that a guest gives itself.
pub fn own(mac: Mac) -> Ipv6Addr {
    nd::link_local(mac)
}
