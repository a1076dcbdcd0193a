//! What IPv6 carries of an attack: router and neighbour discovery, DHCPv6, datagrams, behind extension headers and in fragments.

use std::net::Ipv6Addr;

use super::grammar::{Bodies, Pen};
use super::packets::{self as p};

const NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// What router advertisements promise.
pub const PROMISED: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xbad, 0, 0, 0, 0, 0);
const FAR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xfa2, 0, 0, 0, 0, 7);

/// An IPv6 packet, or its fragments.
pub fn six(pen: &mut Pen<'_>) -> Bodies {
    let source = source(pen);
    let destination = destination(pen);
    let ends = (source, destination);
    let (next, payload) = match pen.dice.index(12) {
        0..=3 => (p::ICMP6, router(pen, ends)),
        4..=6 => (p::ICMP6, neighbour(pen, ends)),
        7 => (p::ICMP6, redirect(pen, ends)),
        8 | 9 => (p::UDP, dhcp(pen, ends)),
        10 => (p::UDP, datagram(pen, ends)),
        _ => (p::ICMP6, message(pen, ends)),
    };
    let hops = if pen.odd() { pen.dice.pick(&[0, 1, 64]) } else { 255 };
    let (next, chain) = extended(pen, next, payload);
    let bodies = if pen.odd() {
        fragments(pen, ends, hops, next, &chain)
    } else {
        vec![p::six(source, destination, hops, next, &chain)]
    };
    bodies.into_iter().map(|packet| (p::IPV6, packet)).collect()
}

fn source(pen: &mut Pen<'_>) -> Ipv6Addr {
    let source = match pen.dice.index(10) {
        0..=2 => pen.cast.me.local(),
        3 => pen.cast.me.six,
        4 | 5 => pen.cast.gateway.local(),
        6 => pen.somebody().six,
        7 | 8 => pen.somebody().local(),
        _ => Ipv6Addr::UNSPECIFIED,
    };
    pen.word(&format!("ip {source}"));
    source
}

fn destination(pen: &mut Pen<'_>) -> Ipv6Addr {
    let to = match pen.dice.index(10) {
        0..=4 => NODES,
        5 => pen.victim().six,
        6 => pen.victim().local(),
        7 => pen.host().local(),
        8 => pen.host().six,
        _ => {
            let [.., a, b, c] = pen.victim().six.octets();
            Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
        }
    };
    pen.word(&format!("> {to}"));
    to
}

/// Options of neighbour discovery: kind and body, padded to 8 bytes (RFC 4861 section 4.6).
fn option(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut option = [&[kind, 0], body].concat();
    option.resize(option.len().next_multiple_of(8), 0);
    option[1] = u8::try_from(option.len() / 8).unwrap();
    option
}

/// The mark as an option that nobody knows (RFC 4727 section 4).
fn marked(pen: &Pen<'_>) -> Vec<u8> {
    option(253, &pen.mark())
}

fn router(pen: &mut Pen<'_>, ends: (Ipv6Addr, Ipv6Addr)) -> Vec<u8> {
    let lifetime = pen.dice.pick(&[1800_u16, 1800, 0]).to_be_bytes();
    let says = if pen.once_in(5) { pen.somebody() } else { pen.cast.me };
    pen.word(&format!("ra by {}", says.mac));
    let prefix = [&[64, 0xc0, 0, 0, 14, 16, 0, 0, 7, 8, 0, 0, 0, 0][..], &PROMISED.octets()].concat();
    let start = [&[64, 0xc0][..], &lifetime, &[0; 8]].concat();
    let mut rest = [start, option(1, &says.mac.0), option(3, &prefix)].concat();
    match pen.dice.index(4) {
        0 => rest.extend(option(5, &[0, 0, 0, 0, 5, 0])),
        1 => rest.extend(option(24, &[[0, 8, 0, 0, 7, 8].as_slice(), &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0]].concat())),
        2 => rest.extend(option(25, &[&[0, 0, 0, 0, 7, 8][..], &says.six.octets()].concat())),
        _ => {}
    }
    rest.extend(marked(pen));
    p::icmp6(ends, 134, 0, &rest)
}

fn neighbour(pen: &mut Pen<'_>, ends: (Ipv6Addr, Ipv6Addr)) -> Vec<u8> {
    let about = pen.somebody();
    let target = if pen.once_in(2) { about.six } else { about.local() };
    let says = if pen.once_in(4) { pen.somebody().mac } else { pen.cast.me.mac };
    let kind = pen.dice.pick(&[135, 136, 136]);
    let flags = if kind == 136 { pen.dice.pick(&[0x20, 0x20, 0x60, 0xa0, 0x40, 0]) } else { 0 };
    let mut rest = [&[flags, 0, 0, 0][..], &target.octets()].concat();
    let link = option(if kind == 136 { 2 } else { 1 }, &says.0);
    match pen.dice.index(8) {
        0 => {}
        1 => rest.extend([marked(pen), link].concat()),
        2 => rest.extend([link.clone(), option(kind - 134, &pen.cast.me.mac.0)].concat()),
        _ => rest.extend(link),
    }
    pen.word(&format!("nd:{kind} {target}@{says} {flags:02x}"));
    rest.extend(marked(pen));
    p::icmp6(ends, kind, 0, &rest)
}

fn redirect(pen: &mut Pen<'_>, ends: (Ipv6Addr, Ipv6Addr)) -> Vec<u8> {
    let by = if pen.once_in(4) { pen.somebody() } else { pen.cast.me };
    pen.word(&format!("redirect by {}", by.mac));
    let rest = [&[0; 4][..], &by.local().octets(), &FAR.octets()].concat();
    let rest = [rest, option(2, &by.mac.0), marked(pen)].concat();
    p::icmp6(ends, 137, 0, &rest)
}

fn message(pen: &mut Pen<'_>, ends: (Ipv6Addr, Ipv6Addr)) -> Vec<u8> {
    // Unreachable, too big, ping, listeners, solicitation of routers, renumbering, home agents, multicast routers.
    let kind = pen.dice.pick(&[1, 2, 128, 130, 131, 133, 138, 145, 151, 200]);
    pen.word(&format!("icmp6:{kind}"));
    let quoted = p::six(ends.1, FAR, 64, 59, &pen.mark());
    p::icmp6(ends, kind, 0, &[&[0, 0, 5, 0][..], &quoted].concat())
}

fn datagram(pen: &mut Pen<'_>, ends: (Ipv6Addr, Ipv6Addr)) -> Vec<u8> {
    let ports = (pen.dice.pick(&[7, 53, 547]), pen.dice.pick(&[53, 546, 547, 4789, 5353, 9999, 51820]));
    pen.word(&format!("udp:{ports:?}"));
    p::udp((ends.0.into(), ends.1.into()), ports, &pen.mark())
}

/// Advertise, reply, reconfigure, or what a relay is to hand on (RFC 9915 section 7.3).
fn dhcp(pen: &mut Pen<'_>, ends: (Ipv6Addr, Ipv6Addr)) -> Vec<u8> {
    let kind = pen.dice.pick(&[2, 7, 10, 13]);
    let ports = (pen.dice.pick(&[547, 1547, 546, 9]), pen.dice.pick(&[546, 546, 546, 547]));
    pen.word(&format!("dhcp6:{kind} {ports:?}"));
    let message = [&[kind, 1, 2, 3, 0, 2, 0, 10, 0, 3, 0, 1][..], &pen.cast.me.mac.0, &pen.mark()].concat();
    p::udp((ends.0.into(), ends.1.into()), ports, &message)
}

/// Up to nine headers between.
fn extended(pen: &mut Pen<'_>, mut next: u8, mut payload: Vec<u8>) -> (u8, Vec<u8>) {
    if !pen.odd() {
        return (next, payload);
    }
    let most = if pen.once_in(6) { 9 } else { 2 };
    for _ in 0..=pen.dice.index(most) {
        let kind = pen.dice.pick(&[p::OPTIONS, p::OPTIONS, p::HOP_BY_HOP, p::ROUTING, 135, 139, 140]);
        let words = pen.dice.pick(&[0, 0, 1, 2, 31]);
        payload = p::between(kind, next, words, &payload);
        next = kind;
        pen.word(&format!("header:{kind}x{words}"));
    }
    (next, payload)
}

/// In pieces that end anywhere, at once the headers too; whole behind a fragment header; overlapping, backwards, one alone.
fn fragments(pen: &mut Pen<'_>, ends: (Ipv6Addr, Ipv6Addr), hops: u8, next: u8, chain: &[u8]) -> Vec<Vec<u8>> {
    let at = 8 * pen.dice.index(chain.len() / 8 + 1);
    let id = pen.number;
    let piece = |at: usize, more, part: &[u8]| p::six_piece(next, at, more, id, part);
    pen.word(&format!("fragment@{at}"));
    let mut pieces = match pen.dice.index(5) {
        0 => vec![piece(0, false, chain)],
        1 => vec![piece(at, false, &chain[at..]), piece(0, true, &chain[..at])],
        2 if at >= 8 => {
            vec![piece(0, true, &chain[..at]), piece(at - 8, true, &chain[at - 8..at]), piece(at, false, &chain[at..])]
        }
        _ => vec![piece(0, true, &chain[..at]), piece(at, false, &chain[at..])],
    };
    if pen.once_in(8) {
        pieces.truncate(1);
    }
    let behind = pen.odd();
    let packet = |piece: &Vec<u8>| {
        if behind {
            let options = p::between(p::OPTIONS, p::FRAGMENT, 0, piece);
            return p::six(ends.0, ends.1, hops, p::OPTIONS, &options);
        }
        p::six(ends.0, ends.1, hops, p::FRAGMENT, piece)
    };
    pieces.iter().map(packet).collect()
}
