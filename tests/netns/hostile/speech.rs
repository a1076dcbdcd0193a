//! What IPv4 carries of an attack: datagrams, DHCP, ICMP, encapsulations, with options and in pieces.

use std::net::Ipv4Addr;

use super::grammar::{Bodies, Pen, plain};
use super::packets::{self as p, Answer, Four};

/// A first hop that nobody has on its own wire.
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);
/// UDP ports of what listens somewhere.
const PORTS: [u16; 12] = [67, 68, 546, 547, 53, 123, 161, 4789, 51820, 5353, 9999, 0];

/// An IPv4 packet, or its pieces.
pub fn four(pen: &mut Pen<'_>) -> Bodies {
    let source = source(pen);
    let destination = destination(pen);
    let (protocol, payload) = match pen.dice.index(10) {
        0..=2 => (p::UDP, datagram(pen, source, destination)),
        3..=5 => (p::UDP, dhcp(pen, source, destination)),
        6 | 7 => (p::ICMP, icmp(pen, source, destination)),
        8 => (6, tcp(pen)),
        _ => carried(pen),
    };
    let mut header = Four::new(source, destination, protocol);
    header.id = u16::try_from(pen.number & 0xffff).unwrap();
    if pen.odd() {
        header.ttl = pen.dice.pick(&[0, 1, 255]);
    }
    if pen.odd() {
        // Record route, loose and strict source route, router alert, timestamps, nothing (RFC 791 section 3.1, RFC 2113).
        let option = pen.dice.pick(&[7, 131, 137, 148, 68, 1]);
        let [a, b, c, d] = pen.victim().four.octets();
        header.options = vec![option, 7, 4, a, b, c, d, 0];
        let length = pen.dice.pick(&[8, 4, 20, 40]);
        header.options.resize(length, 1);
        pen.word(&format!("option:{option}x{length}"));
    }
    pieces(pen, &header, &payload)
}

fn pieces(pen: &mut Pen<'_>, header: &Four, payload: &[u8]) -> Bodies {
    let mut packets = vec![header.whole(payload)];
    if pen.odd() && payload.len() > 16 {
        let at = 8 * (1 + pen.dice.index((payload.len() - 1) / 8));
        pen.word(&format!("pieces@{at}"));
        packets = vec![header.piece(&payload[..at], 0, true), header.piece(&payload[at..], at, false)];
        match pen.dice.index(4) {
            0 => packets.reverse(),
            // One that overlaps, and one alone.
            1 => packets.insert(1, header.piece(&payload[at - 8..at], at - 8, true)),
            2 => packets.truncate(1),
            _ => {}
        }
    }
    if pen.odd() && pen.once_in(3) {
        let at = pen.dice.index(20);
        packets[0][at] ^= 1 << pen.dice.index(8);
        pen.word(&format!("header[{at}]"));
    }
    packets.into_iter().map(|packet| (p::IPV4, packet)).collect()
}

fn source(pen: &mut Pen<'_>) -> Ipv4Addr {
    let source = match pen.dice.index(10) {
        0..=3 => pen.cast.me.four,
        4..=6 => pen.somebody().four,
        7 => pen.cast.gateway.four,
        8 => Ipv4Addr::UNSPECIFIED,
        _ => pen.dice.pick(&[Ipv4Addr::BROADCAST, Ipv4Addr::LOCALHOST, Ipv4Addr::new(224, 0, 0, 1), FAR]),
    };
    pen.word(&format!("ip {source}"));
    source
}

fn destination(pen: &mut Pen<'_>) -> Ipv4Addr {
    let [a, b, c, _] = pen.cast.me.four.octets();
    let to = match pen.dice.index(10) {
        0..=3 => pen.victim().four,
        4 | 5 => pen.host().four,
        6 | 7 => Ipv4Addr::BROADCAST,
        8 => pen.dice.pick(&[Ipv4Addr::new(a, b, c, 255), Ipv4Addr::new(a, b, c, 0)]),
        _ => pen.dice.pick(&[Ipv4Addr::new(224, 0, 0, 1), Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST, FAR]),
    };
    pen.word(&format!("> {to}"));
    to
}

fn datagram(pen: &mut Pen<'_>, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let ports = (pen.dice.pick(&PORTS), pen.dice.pick(&PORTS));
    pen.word(&format!("udp:{ports:?}"));
    let mark = pen.mark();
    bad_sum(pen, p::udp((source.into(), destination.into()), ports, &mark))
}

fn bad_sum(pen: &mut Pen<'_>, mut datagram: Vec<u8>) -> Vec<u8> {
    if pen.odd() {
        let sum = pen.dice.pick(&[[0, 0], [0x12, 0x34]]);
        datagram[6..8].copy_from_slice(&sum);
        pen.word("sum");
    }
    datagram
}

/// An answer to a question that was heard, in every dress.
fn dhcp(pen: &mut Pen<'_>, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let heard = pen.cast.asked.last().copied();
    let client = pen.victim();
    let (transaction, client) = heard.unwrap_or(([1, 2, 3, 4], client.mac));
    let answer = Answer {
        transaction,
        client,
        offered: pen.cast.nobody.four,
        server: pen.cast.me.four,
        kind: pen.dice.pick(&[2, 2, 5, 5, 6]),
        relay: pen.dice.pick(&[Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED, pen.cast.me.four]),
    };
    let ports = (pen.dice.pick(&[67, 67, 1067, 68, 9]), pen.dice.pick(&[68, 68, 68, 67]));
    pen.word(&format!("dhcp:{} {ports:?}", answer.kind));
    let message = [&answer.bytes()[..], &pen.mark()].concat();
    bad_sum(pen, p::udp((source.into(), destination.into()), ports, &message))
}

fn icmp(pen: &mut Pen<'_>, source: Ipv4Addr, destination: Ipv4Addr) -> Vec<u8> {
    let mark = pen.mark();
    match pen.dice.index(6) {
        0..=2 => {
            // Quotes an answer to a ping, because for that the kernel asks no socket (`icmp_err`, net/ipv4/icmp.c).
            let code = pen.dice.pick(&[0, 1, 1, 2]);
            let by = pen.somebody().four;
            pen.word(&format!("icmp:redirect by {by}"));
            let quoted = Four::new(destination, FAR, p::ICMP).whole(&p::icmp(0, 0, [0, 1, 0, 1], &mark));
            p::icmp(5, code, by.octets(), &quoted)
        }
        3 => {
            pen.word("icmp:router");
            let rest = [&pen.somebody().four.octets()[..], &[0, 0, 0, 1], &mark].concat();
            p::icmp(9, 0, [1, 2, 7, 8], &rest)
        }
        4 => {
            let kind = pen.dice.pick(&[3, 4, 11, 12, 13, 17]);
            pen.word(&format!("icmp:{kind}"));
            let quoted = Four::new(destination, source, p::ICMP).whole(&p::icmp(0, 0, [0; 4], &mark));
            p::icmp(kind, pen.dice.pick(&[0, 1, 3, 4]), [0, 0, 2, 64], &quoted)
        }
        _ => {
            pen.word("icmp:ping");
            p::icmp(8, 0, [0, 7, 0, 1], &mark)
        }
    }
}

fn tcp(pen: &mut Pen<'_>) -> Vec<u8> {
    pen.word("tcp");
    let port = pen.dice.pick(&[22_u16, 53, 179, 7443]).to_be_bytes();
    [&[0x9c, 0x40][..], &port, &[0; 8], &[0x50, 2, 16, 0, 0, 0, 0, 0], &pen.mark()].concat()
}

/// Another packet or frame inside: IP in IP, IPv6 in IPv4, GRE, ESP, AH, and those over UDP.
fn carried(pen: &mut Pen<'_>) -> (u8, Vec<u8>) {
    let inner = plain(pen);
    let kind = pen.dice.pick(&[4, 41, 47, 50, 51, 17, 2, 103, 112, 253]);
    pen.word(&format!("carries:{kind}"));
    let inner = match kind {
        47 => [&[0, 0, 8, 0][..], &inner].concat(),
        51 => [&[4, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0; 12], &inner].concat(),
        // VXLAN, VNI 50 (RFC 7348).
        17 => {
            let frame = p::ethernet(pen.victim().mac, pen.cast.me.mac, p::IPV4, &inner);
            let ends = (pen.cast.me.four.into(), pen.victim().four.into());
            p::udp(ends, (4789, 4789), &[&[8, 0, 0, 0, 0, 0, 50, 0][..], &frame].concat())
        }
        _ => inner,
    };
    (kind, inner)
}
