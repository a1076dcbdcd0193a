//! Packets byte by byte, as somebody makes them who respects no rule: every field can be wrong.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vxmesh::types::Mac;

/// EtherTypes.
pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const IPV6: u16 = 0x86dd;
/// Tag protocols: IEEE 802.1Q, 802.1ad, and what was used before it.
pub const TAG: u16 = 0x8100;
pub const SERVICE_TAG: u16 = 0x88a8;
pub const OLD_TAG: u16 = 0x9100;
/// Protocols of IP.
pub const ICMP: u8 = 1;
pub const UDP: u8 = 17;
pub const ICMP6: u8 = 58;
/// Headers between IPv6 and what it carries (RFC 8200 section 4.1).
pub const HOP_BY_HOP: u8 = 0;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const OPTIONS: u8 = 60;

/// An Ethernet frame, padded.
pub fn ethernet(to: Mac, from: Mac, kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = [&to.0[..], &from.0, &kind.to_be_bytes(), body].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// The frame with one more tag outside.
pub fn tagged(frame: &[u8], protocol: u16, tag: u16) -> Vec<u8> {
    [&frame[..12], &protocol.to_be_bytes(), &tag.to_be_bytes(), &frame[12..]].concat()
}

/// The frame with a length and LLC/SNAP in place of its type (RFC 1042).
pub fn snap(frame: &[u8]) -> Vec<u8> {
    let body = [&[0xaa, 0xaa, 3, 0, 0, 0], &frame[12..]].concat();
    let length = u16::try_from(body.len()).unwrap().min(1500).to_be_bytes();
    [&frame[..12], &length, &body].concat()
}

/// ARP over Ethernet (RFC 826): operation, sender, target.
pub fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let start = [&[0, 1, 8, 0, 6, 4][..], &operation.to_be_bytes()].concat();
    [&start[..], &sender.0.0, &sender.1.octets(), &target.0.0, &target.1.octets()].concat()
}

/// What stands in an IPv4 header.
#[derive(Debug, Clone)]
pub struct Four {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub ttl: u8,
    pub protocol: u8,
    pub options: Vec<u8>,
    pub id: u16,
}

impl Four {
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Self {
        Self { source, destination, ttl: 64, protocol, options: Vec::new(), id: 1 }
    }

    /// The packet.
    pub fn whole(&self, payload: &[u8]) -> Vec<u8> {
        self.piece(payload, 0, false)
    }

    /// A piece of it that begins at a byte that 8 divides.
    pub fn piece(&self, payload: &[u8], at: usize, more: bool) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4).min(40), 0);
        let words = u8::try_from(5 + options.len() / 4).unwrap();
        let total = u16::try_from(20 + options.len() + payload.len()).unwrap();
        let place = (u16::try_from(at / 8).unwrap() & 0x1fff) | if more { 0x2000 } else { 0 };
        let mut header = vec![0x40 | words, 0];
        header.extend(total.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(place.to_be_bytes());
        header.extend([self.ttl, self.protocol, 0, 0]);
        header.extend(self.source.octets());
        header.extend(self.destination.octets());
        header.extend(options);
        let sum = checksum(&header).to_be_bytes();
        header[10..12].copy_from_slice(&sum);
        header.extend(payload);
        header
    }
}

/// An IPv6 packet.
pub fn six(source: Ipv6Addr, destination: Ipv6Addr, hops: u8, next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0x60, 0, 0, 0], &length[..], &[next, hops], &source.octets(), &destination.octets(), payload].concat()
}

/// A header between: options of nothing, or whatever its type makes of these bytes. `words` of 8 bytes beyond the first.
pub fn between(kind: u8, next: u8, words: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![next, words];
    let rest = usize::from(words) * 8 + 6;
    if kind == ROUTING {
        header.resize(2 + rest, 0);
    } else {
        // PadN over all of it, in pieces of at most 255 (RFC 8200 section 4.2).
        let mut left = rest;
        while left > 0 {
            let piece = left.min(200);
            if piece == 1 {
                header.push(0);
            } else {
                header.extend([1, u8::try_from(piece - 2).unwrap()]);
                header.extend(vec![0; piece - 2]);
            }
            left -= piece;
        }
    }
    header.extend(payload);
    header
}

/// A fragment header and a piece behind it.
pub fn six_piece(next: u8, at: usize, more: bool, id: u32, payload: &[u8]) -> Vec<u8> {
    let place = u16::try_from(at & !7).unwrap() | u16::from(more);
    [&[next, 0][..], &place.to_be_bytes(), &id.to_be_bytes(), payload].concat()
}

/// A UDP datagram with its checksum.
pub fn udp(ends: (IpAddr, IpAddr), ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let mut datagram = [ports.0.to_be_bytes(), ports.1.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    datagram.extend(payload);
    let sum = match pseudo(ends, UDP, &datagram) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// An ICMP message: type, code, the four bytes behind the checksum, the rest.
pub fn icmp(kind: u8, code: u8, word: [u8; 4], rest: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0][..], &word, rest].concat();
    let sum = checksum(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

/// An `ICMPv6` message: type, code, all behind the checksum.
pub fn icmp6(ends: (Ipv6Addr, Ipv6Addr), kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0][..], rest].concat();
    let sum = pseudo((ends.0.into(), ends.1.into()), ICMP6, &message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    message
}

fn pseudo((from, to): (IpAddr, IpAddr), protocol: u8, payload: &[u8]) -> u16 {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(four) => four.octets().to_vec(),
        IpAddr::V6(six) => six.octets().to_vec(),
    };
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    checksum(&[&octets(from)[..], &octets(to), &length, &[0, 0, 0, protocol], payload].concat())
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

/// What a DHCP server would say (RFC 2131), to one question.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    pub transaction: [u8; 4],
    pub client: Mac,
    pub offered: Ipv4Addr,
    pub server: Ipv4Addr,
    /// 2 offers, 5 agrees, 6 refuses.
    pub kind: u8,
    /// The relay that it has come by; none is all zero.
    pub relay: Ipv4Addr,
}

impl Answer {
    /// The message, padded to what BOOTP wants at least.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![2, 1, 6, u8::from(!self.relay.is_unspecified())];
        out.extend(self.transaction);
        // Seconds, and the flag that asks for broadcast.
        out.extend([0, 0, 0x80, 0]);
        out.extend([0; 4]);
        out.extend(self.offered.octets());
        out.extend(self.server.octets());
        out.extend(self.relay.octets());
        out.extend(self.client.0);
        out.extend([0; 10 + 192]);
        out.extend([0x63, 0x82, 0x53, 0x63, 53, 1, self.kind]);
        for (option, value) in [(54, self.server.octets()), (1, [255, 255, 255, 0]), (3, self.server.octets())] {
            out.extend([option, 4]);
            out.extend(value);
        }
        out.extend([51, 4, 0, 0, 2, 88, 255]);
        out.resize(out.len().max(300), 0);
        out
    }
}

/// A question of a DHCP client in a frame: transaction, client, and the kind of message.
pub fn question(frame: &[u8]) -> Option<([u8; 4], Mac, u8)> {
    let ports = frame.get(34..38)?;
    let is_dhcp = frame.get(12..14)? == IPV4.to_be_bytes() && frame.get(23)? == &UDP && ports == [0, 68, 0, 67];
    let message = frame.get(42..).filter(|_| is_dhcp)?;
    let options = message.get(240..)?;
    let kind = options.windows(3).find(|bytes| bytes[..2] == [53, 1])?[2];
    Some((*message.get(4..)?.first_chunk()?, Mac(*message.get(28..)?.first_chunk()?), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_what_the_standards_say() {
        let (from, to) = (Ipv4Addr::new(192, 168, 10, 1), Ipv4Addr::new(192, 168, 10, 2));
        let packet = Four::new(from, to, UDP).whole(&udp((from.into(), to.into()), (68, 67), b"x"));
        assert_eq!((packet[0], packet.len(), checksum(&packet[..20])), (0x45, 29, 0), "a right sum sums up to nothing");
        let datagram = &packet[20..];
        assert_eq!(pseudo((from.into(), to.into()), UDP, datagram), 0);
        let frame = ethernet(Mac::BROADCAST, Mac([2; 6]), IPV4, &packet);
        assert_eq!(frame.len(), 60);
        assert_eq!(tagged(&frame, TAG, 7)[12..18], [0x81, 0, 0, 7, 8, 0]);
        assert_eq!(snap(&frame)[12..22], [0, 54, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0]);
        for words in 0..40 {
            assert_eq!(between(OPTIONS, UDP, words, b"").len(), 8 + usize::from(words) * 8);
        }
    }

    #[test]
    fn a_question_is_found_and_nothing_else() {
        let nobody = Ipv4Addr::UNSPECIFIED;
        let answer = Answer {
            transaction: [1, 2, 3, 4],
            client: Mac([2, 0, 0, 0, 0, 9]),
            offered: nobody,
            server: nobody,
            kind: 1,
            relay: nobody,
        };
        let said = |ports| {
            let ends = (nobody.into(), Ipv4Addr::BROADCAST.into());
            let datagram = udp(ends, ports, &answer.bytes());
            ethernet(Mac::BROADCAST, answer.client, IPV4, &Four::new(nobody, Ipv4Addr::BROADCAST, UDP).whole(&datagram))
        };
        assert_eq!(question(&said((68, 67))), Some((answer.transaction, answer.client, 1)));
        assert_eq!(question(&said((67, 68))), None);
        assert_eq!(question(&[0; 30]), None);
    }
}
