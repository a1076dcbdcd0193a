//! Frames that cross a bridge of this host and nothing else: in by one port, out by another, as those of two guests beside each other. No
//! wire, no peer and no tunnel is in their way, so what does not come out was dropped here. No I/O: frames, time and randomness go in,
//! frames and what is lost come out.
//!
//! ```text
//!            all come out              some do not               three times
//!   Rest ───────────────────> Rest    Rest ────────> ask again ─────────────> lost, until one comes out
//!        (asked every 5 s)
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::types::{Mac, Mono};
use crate::wire::Header as _;
use crate::wire::arp::{self, Arp};
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ip::{self, Checksum, Ipv4, Ipv6};
use crate::wire::udp::Udp;

/// How often frames are sent that come out.
const EVERY: Duration = Duration::from_secs(5);
/// How often they are sent again that do not.
const AGAIN: Duration = Duration::from_secs(1);
/// How long one may take. A bridge hands it on before the call returns that sent it.
const WAIT: Duration = Duration::from_millis(400);
/// Lost so often in a row it is told: a bridge that is just being repaired loses some.
const LOST: u8 = 3;
/// How long after the ports are there a loss says nothing: the kernel opens a port up to a second after it has a carrier, later where it is busy.
const OPENS: Duration = Duration::from_secs(10);
/// Where the frames come from and go to, inside (RFC 6335 section 6: a dynamic port; RFC 862).
const PORTS: (u16, u16) = (49_164, 7);
/// Bytes of the proof: what comes out is what was sent.
const TOKEN: usize = 8;
/// Bytes of the least Ethernet frame without its checksum (IEEE 802.3 section 3.2.8).
const LEAST: usize = 60;

/// What guests speak. The host's packet filters tell these apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// Questions for Ethernet addresses, to everybody.
    Arp,
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// One kind of frames: of a protocol, between two addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Its protocol.
    pub protocol: Protocol,
    /// From whom.
    pub from: IpAddr,
    /// To whom, of the same family.
    pub to: IpAddr,
}

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Crossed {
    /// Something was asked, and judged.
    pub asked: bool,
    /// What goes into the bridge and does not come out.
    pub lost: BTreeSet<Flow>,
    /// When the frames were sent by which that was judged last.
    pub sent: Mono,
}

#[derive(Debug)]
struct Asked {
    flow: Flow,
    token: Option<u64>,
    missed: u8,
}

/// All flows through one bridge, driven like this:
///
/// ```text
/// each frame that comes out:    received
/// whenever time has passed:     handle_timeout, which sends frames
/// ```
#[derive(Debug)]
pub struct Crossing {
    near: Mac,
    far: Mac,
    flows: Vec<Asked>,
    crossed: Crossed,
    /// Frames are under way.
    asking: bool,
    at: Mono,
    sent: Mono,
    opened: Mono,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arp => "ARP",
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

impl Crossing {
    /// From one Ethernet address to another. The ports are opened now.
    pub fn new((near, far): (Mac, Mac), flows: &[Flow], now: Mono) -> Self {
        let mut crossing = Self {
            near,
            far,
            flows: Vec::new(),
            crossed: Crossed::default(),
            asking: false,
            at: now + AGAIN,
            sent: now,
            opened: now,
        };
        crossing.set(flows);
        crossing
    }

    /// What is sent from now on. What is known of a flow that stays is kept.
    pub fn set(&mut self, flows: &[Flow]) {
        let mut old = std::mem::take(&mut self.flows);
        for flow in flows {
            let known = old.iter().position(|one| one.flow == *flow).map(|at| old.swap_remove(at));
            self.flows.push(known.unwrap_or(Asked { flow: *flow, token: None, missed: 0 }));
        }
        self.crossed.lost.retain(|flow| flows.contains(flow));
    }

    /// What is known.
    pub fn crossed(&self) -> &Crossed {
        &self.crossed
    }

    /// Judges what was sent, or sends it. `token` makes a random number for each frame.
    pub fn handle_timeout(&mut self, now: Mono, token: &mut dyn FnMut() -> u64, out: &mut dyn FnMut(&[u8])) {
        if now < self.at {
            return;
        }
        if self.asking {
            return self.judge(now);
        }
        self.asking = true;
        (self.at, self.sent) = (now + WAIT, now);
        for asked in &mut self.flows {
            let number = token();
            asked.token = Some(number);
            out(&frame(&asked.flow, (self.near, self.far), number));
        }
    }

    fn judge(&mut self, now: Mono) {
        self.asking = false;
        self.crossed.sent = self.sent;
        let settled = now.since(self.opened) >= OPENS;
        let mut whole = true;
        for Asked { flow, token, missed } in &mut self.flows {
            if token.take().is_none() {
                *missed = 0;
                self.crossed.lost.remove(flow);
                continue;
            }
            whole = false;
            *missed = missed.saturating_add(1);
            if *missed >= LOST && settled {
                self.crossed.lost.insert(*flow);
            }
        }
        self.crossed.asked |= whole || settled;
        self.at = now + if whole { EVERY } else { AGAIN };
    }

    /// A frame has come out.
    pub fn received(&mut self, bytes: &[u8]) {
        let Some((source, protocol, token)) = read(bytes) else { return };
        if source != self.near {
            return;
        }
        let one = self.flows.iter_mut().find(|one| one.flow.protocol == protocol && one.token == Some(token));
        if let Some(one) = one {
            one.token = None;
        }
    }
}

/// A frame as a guest sends it, with its token behind all that has a meaning.
fn frame(flow: &Flow, (near, far): (Mac, Mac), token: u64) -> Vec<u8> {
    let mut out = vec![0; Ethernet::LEN + 40 + Udp::LEN + TOKEN];
    let (destination, ethertype) = match flow.protocol {
        Protocol::Arp => (Mac::BROADCAST, ethernet::ARP),
        Protocol::Ipv4 => (far, ethernet::IPV4),
        Protocol::Ipv6 => (far, ethernet::IPV6),
    };
    let head = Ethernet { destination, source: near, ethertype }.emit(&mut out);
    let inner = &mut out[Ethernet::LEN..];
    let (written, length) = match (flow.protocol, flow.from, flow.to) {
        (Protocol::Arp, IpAddr::V4(from), IpAddr::V4(to)) => (question(inner, (near, from), to, token), Arp::LEN),
        (_, IpAddr::V4(from), IpAddr::V4(to)) => (packet4(inner, from, to, token), Ipv4::LEN + Udp::LEN),
        (_, IpAddr::V6(from), IpAddr::V6(to)) => (packet6(inner, from, to, token), Ipv6::LEN + Udp::LEN),
        (_, _, _) => (None, 0),
    };
    debug_assert!(head.is_ok() && written.is_some(), "there is room, and both addresses are of one family");
    out.truncate(LEAST.max(Ethernet::LEN + length + TOKEN));
    out
}

fn question(out: &mut [u8], (mac, from): (Mac, Ipv4Addr), to: Ipv4Addr, token: u64) -> Option<()> {
    let arp = Arp { operation: arp::REQUEST, sender_mac: mac, sender_ip: from, target_mac: Mac::ZERO, target_ip: to };
    arp.emit(out).ok()?;
    // What fills up the least frame has no meaning (IEEE 802.3 section 3.2.8).
    put(out, Arp::LEN, token)
}

fn packet4(out: &mut [u8], source: Ipv4Addr, destination: Ipv4Addr, token: u64) -> Option<()> {
    let packet = Ipv4::whole(ip::UDP, 36, source, destination);
    packet.emit(out).ok()?;
    udp(0).emit(out.get_mut(Ipv4::LEN..)?).ok()?;
    put(out, Ipv4::LEN + Udp::LEN, token)
}

fn packet6(out: &mut [u8], source: Ipv6Addr, destination: Ipv6Addr, token: u64) -> Option<()> {
    let packet = Ipv6 { class: 0, label: 0, payload: 16, next: ip::UDP, hop_limit: 64, source, destination };
    packet.emit(out).ok()?;
    let body = out.get_mut(Ipv6::LEN..)?;
    udp(0).emit(body).ok()?;
    put(body, Udp::LEN, token)?;
    // Over IPv6 UDP has a checksum (RFC 8200 section 8.1).
    let sum = Checksum::default().pseudo_v6(source, destination, 16, ip::UDP).with(body.get(..Udp::LEN + TOKEN)?);
    let checksum = if sum.value() == 0 { u16::MAX } else { sum.value() };
    udp(checksum).emit(body).ok()
}

fn udp(checksum: u16) -> Udp {
    Udp { source: PORTS.0, destination: PORTS.1, length: 16, checksum }
}

fn put(out: &mut [u8], at: usize, token: u64) -> Option<()> {
    out.get_mut(at..at + TOKEN)?.copy_from_slice(&token.to_be_bytes());
    Some(())
}

/// Source, protocol and token of a frame.
fn read(bytes: &[u8]) -> Option<(Mac, Protocol, u64)> {
    let header = Ethernet::parse(bytes).ok()?;
    let (protocol, at) = match header.ethertype {
        ethernet::ARP => (Protocol::Arp, Arp::LEN),
        ethernet::IPV4 => (Protocol::Ipv4, Ipv4::LEN + Udp::LEN),
        ethernet::IPV6 => (Protocol::Ipv6, Ipv6::LEN + Udp::LEN),
        _ => return None,
    };
    let token = bytes.get(Ethernet::LEN + at..)?.first_chunk::<TOKEN>()?;
    Some((header.source, protocol, u64::from_be_bytes(*token)))
}

#[cfg(test)]
#[path = "crossing_tests.rs"]
mod tests;
