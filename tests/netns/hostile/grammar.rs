//! A grammar of what a hostile guest or member would say. A pure function of a seed and of who is there: it knows how receivers may be
//! reached, not how we refuse. Most of what it makes is an attack that is sane but for one thing; the rest is wild.

use std::net::{Ipv4Addr, Ipv6Addr};

use vxmesh::types::Mac;

use super::packets::{self as p, Four};
use super::{speech, speech6};
use crate::chaos::Dice;

/// One who can be named in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    pub mac: Mac,
    pub four: Ipv4Addr,
    pub six: Ipv6Addr,
}

impl Who {
    /// The address that it gives itself.
    pub fn local(&self) -> Ipv6Addr {
        vxmesh::wire::nd::link_local(self.mac)
    }
}

/// Everybody that frames are about.
#[derive(Debug, Clone)]
pub struct Cast {
    pub me: Who,
    /// The tag that the attacker's port has.
    pub vlan: Option<u16>,
    /// Guests of the network, the gateway among them.
    pub victims: Vec<Who>,
    pub gateway: Who,
    pub hosts: Vec<Who>,
    /// Ethernet addresses of bridges, vxlan devices, TAPs.
    pub devices: Vec<Mac>,
    /// One that no port has.
    pub nobody: Who,
    /// Questions of DHCP clients that were heard: transaction and client.
    pub asked: Vec<([u8; 4], Mac)>,
}

/// One thing that is said: a frame, or the pieces of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub number: u32,
    /// The choices that made it.
    pub what: String,
    pub frames: Vec<Vec<u8>>,
}

/// Length of [`mark`].
pub const MARK: usize = 12;

/// Stands in all that an element carries, wherever it can.
pub fn mark(number: u32) -> [u8; MARK] {
    let mut mark = *b"vxhostil0000";
    mark[8..].copy_from_slice(&number.to_be_bytes());
    mark
}

/// Numbers of all marks in these bytes.
pub fn marks(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.windows(MARK).filter(|w| w.starts_with(b"vxhostil")).map(|w| u32::from_be_bytes(*w.last_chunk().unwrap()))
}

/// A packet of some protocol, or its pieces: EtherType and body.
pub type Bodies = Vec<(u16, Vec<u8>)>;

/// How an element is made: dice, words, and how far it leaves what is sane.
pub struct Pen<'a> {
    pub dice: Dice,
    pub cast: &'a Cast,
    pub number: u32,
    pub what: String,
    wild: bool,
}

impl Pen<'_> {
    pub fn word(&mut self, word: &str) {
        self.what.push(' ');
        self.what.push_str(word);
    }

    /// True where something should deviate.
    pub fn odd(&mut self) -> bool {
        let of = if self.wild { 2 } else { 14 };
        self.dice.index(of) == 0
    }

    /// True once in so many times.
    pub fn once_in(&mut self, count: usize) -> bool {
        self.dice.index(count) == 0
    }

    pub fn mark(&self) -> [u8; MARK] {
        mark(self.number)
    }

    /// Somebody: the attacker more often than others.
    pub fn somebody(&mut self) -> Who {
        match self.dice.index(10) {
            0..=2 => self.cast.me,
            3..=5 => self.victim(),
            6 => self.cast.gateway,
            7 | 8 => self.host(),
            _ => self.cast.nobody,
        }
    }

    pub fn victim(&mut self) -> Who {
        self.cast.victims[self.dice.index(self.cast.victims.len())]
    }

    pub fn host(&mut self) -> Who {
        self.cast.hosts[self.dice.index(self.cast.hosts.len())]
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.dice.roll().to_be_bytes()[0]).collect()
    }
}

/// The elements of a seed with these numbers.
pub fn burst(seed: u64, numbers: &[u32], cast: &Cast) -> Vec<Element> {
    numbers.iter().map(|number| element(seed, *number, cast)).collect()
}

/// One element: each has dice of its own, so it is the same in whatever burst it stands.
fn element(seed: u64, number: u32, cast: &Cast) -> Element {
    let mut dice = Dice::new(seed ^ (u64::from(number) << 32));
    dice.roll();
    let wild = dice.index(4) == 0;
    let mut pen = Pen { dice, cast, number, what: String::new(), wild };
    let to = destination(&mut pen);
    let bodies = match pen.dice.index(20) {
        0..=2 => vec![(p::ARP, arp(&mut pen))],
        3..=9 => speech::four(&mut pen),
        10..=17 => speech6::six(&mut pen),
        _ => vec![other(&mut pen)],
    };
    let from = source(&mut pen);
    let tags = tags(&mut pen);
    let llc = pen.odd() && pen.once_in(2);
    if llc {
        pen.word("llc");
    }
    let frames = bodies.into_iter().map(|(kind, body)| {
        let mut frame = p::ethernet(to, from, kind, &body);
        if llc {
            frame = p::snap(&frame);
        }
        tags.iter().rev().fold(frame, |frame, (protocol, tag)| p::tagged(&frame, *protocol, *tag))
    });
    let mut frames: Vec<_> = frames.collect();
    if pen.wild && pen.once_in(4) {
        damage(&mut pen, &mut frames);
    }
    Element { number, what: pen.what.trim_start().to_owned(), frames }
}

fn destination(pen: &mut Pen<'_>) -> Mac {
    let last = pen.dice.roll().to_be_bytes()[0];
    let (mac, word) = match pen.dice.index(16) {
        0..=3 => (pen.victim().mac, "to:victim"),
        4..=6 => (Mac::BROADCAST, "to:all"),
        7 | 8 => (Mac([0x33, 0x33, 0, 0, 0, 1]), "to:nodes6"),
        9 => (Mac([0x33, 0x33, 0xff, last, 0, last]), "to:group6"),
        10 => (Mac([1, 0, 0x5e, 0, 0, pen.dice.pick(&[1, 2, 18, 22, 251])]), "to:group4"),
        11 | 12 => (Mac([1, 0x80, 0xc2, 0, 0, last & 0x0f]), "to:reserved"),
        13 => (Mac([1, 0x80, 0xc2, 0, 0, pen.dice.pick(&[0x10, 0x20, 0x21, 0x2f])]), "to:protocols"),
        14 => (pen.dice.pick(&pen.cast.devices), "to:device"),
        _ => (pen.host().mac, "to:host"),
    };
    pen.word(word);
    mac
}

fn source(pen: &mut Pen<'_>) -> Mac {
    if !pen.odd() {
        return pen.cast.me.mac;
    }
    pen.word("from-mac:other");
    match pen.dice.index(6) {
        0 | 1 => pen.victim().mac,
        2 => pen.cast.gateway.mac,
        3 => pen.dice.pick(&pen.cast.devices),
        4 => Mac([0x33, 0x33, 0, 0, 0, 1]),
        _ => {
            let [a, b, c, ..] = pen.dice.roll().to_be_bytes();
            Mac([2, 0xee, 0, a, b, c])
        }
    }
}

fn tags(pen: &mut Pen<'_>) -> Vec<(u16, u16)> {
    let own: Vec<_> = pen.cast.vlan.map(|vlan| (p::TAG, vlan)).into_iter().collect();
    if !pen.odd() {
        return own;
    }
    let vlan = pen.dice.pick(&[0, 0, 7, 8, 1, 4095, 0xe000, 0x2007]);
    let protocol = pen.dice.pick(&[p::TAG, p::TAG, p::SERVICE_TAG, p::OLD_TAG]);
    let tags = match pen.dice.index(5) {
        0 => Vec::new(),
        1 => vec![(p::TAG, 0)],
        2 => vec![(protocol, vlan)],
        3 => [own, vec![(protocol, vlan)]].concat(),
        _ => vec![(p::TAG, 0), (protocol, vlan), (p::TAG, 0)],
    };
    pen.word(&format!("tags:{tags:x?}"));
    tags
}

fn arp(pen: &mut Pen<'_>) -> Vec<u8> {
    let operation = if pen.odd() { pen.dice.pick(&[0, 3, 4, 8, 9]) } else { pen.dice.pick(&[1, 2]) };
    let about = pen.somebody();
    let says = if pen.once_in(4) { pen.somebody().mac } else { pen.cast.me.mac };
    let target = if pen.once_in(2) { about } else { pen.victim() };
    let mac = pen.dice.pick(&[Mac::BROADCAST, Mac([0; 6]), target.mac]);
    pen.word(&format!("arp:{operation} {}@{says} target:{}", about.four, target.four));
    let mut body = p::arp(operation, (says, about.four), (mac, target.four));
    if pen.odd() && pen.once_in(2) {
        let (at, byte) = (pen.dice.index(6), pen.dice.pick(&[0, 1, 6, 7, 8, 16]));
        body[at] = byte;
        pen.word(&format!("header[{at}]={byte}"));
    }
    body.extend(pen.mark());
    body
}

/// What is neither ARP nor IP, or has the type of the other.
fn other(pen: &mut Pen<'_>) -> (u16, Vec<u8>) {
    let (kind, inside) = match pen.dice.index(10) {
        // PPPoE session with IPv4 in PPP, MPLS with the last label, a length with the LLC of spanning trees, LLDP, EAPOL, LACP.
        0 => (0x8864, [&[0x11, 0, 0, 1, 0, 60, 0, 0x21][..], &plain(pen)].concat()),
        1 => (0x8847, [&[0, 0, 0x11, 64][..], &plain(pen)].concat()),
        2 => (38, [&[0x42, 0x42, 3][..], &[0; 35]].concat()),
        3 => (0x88cc, vec![2, 7, 4, 2, 0, 0, 0, 0, 1, 4, 2, 5, 1, 6, 2, 0, 120, 0, 0]),
        4 => (0x888e, vec![2, 1, 0, 0]),
        5 => (0x8809, vec![1; 110]),
        6 => (0x8035, arp(pen)),
        7 => (pen.dice.pick(&[0x88e7, 0x894f, 0x22f3, 0x4305, 0x8863, 0x88e5, 0x9000, 0x88b5]), plain(pen)),
        8 => (pen.dice.pick(&[p::IPV6, p::ARP, p::TAG]), plain(pen)),
        _ => (u16::from_be_bytes(*pen.bytes(2).first_chunk().unwrap()), plain(pen)),
    };
    pen.word(&format!("type:{kind:04x}"));
    (kind, [&inside[..], &pen.mark()].concat())
}

/// A UDP datagram that says nothing but its mark.
pub fn plain(pen: &mut Pen<'_>) -> Vec<u8> {
    let (from, to) = (pen.somebody().four, pen.somebody().four);
    let datagram = p::udp((from.into(), to.into()), (7, 9999), &pen.mark());
    Four::new(from, to, p::UDP).whole(&datagram)
}

/// Cut, grown, or with bits turned.
fn damage(pen: &mut Pen<'_>, frames: &mut [Vec<u8>]) {
    let which = pen.dice.index(frames.len());
    let frame = &mut frames[which];
    match pen.dice.index(4) {
        0 => {
            let keep = pen.dice.index(frame.len().saturating_sub(14).max(1)) + 14;
            frame.truncate(keep);
            pen.word("cut");
        }
        1 => {
            let more = pen.dice.index(100);
            frame.extend(vec![0xa5; more]);
            pen.word("long");
        }
        _ => {
            for _ in 0..=pen.dice.index(4) {
                let (at, bit) = (12 + pen.dice.index(frame.len().min(100) - 12), pen.dice.index(8));
                frame[at] ^= 1 << bit;
            }
            pen.word("bits");
        }
    }
}

#[cfg(test)]
#[path = "grammar_tests.rs"]
mod tests;
