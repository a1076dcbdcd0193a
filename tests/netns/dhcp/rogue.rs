//! A DHCP server that says what it is told to say, in the dress that it is told to wear.

use std::net::{Ipv4Addr, Ipv6Addr};

use vxmesh::types::Mac;
use vxmesh::wire::nd::link_local;

use crate::frames::Plug;
use crate::hostile::packets::{self as p, Answer, Four, question};

/// Which of the two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Four,
    Six,
}

/// How an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dress {
    /// Broadcast from UDP port 67; from port 547.
    Plain,
    /// From any other UDP port.
    OddPort,
    /// As from a relay agent; `DHCPv6` behind destination options.
    Relay,
    /// To the client alone, by its Ethernet address and the address that it is offered.
    Unicast,
    /// Behind a tag of VLAN 0.
    PriorityTag,
    Fragments,
    BadSum,
}

impl Dress {
    pub const ALL: [Self; 7] =
        [Self::Plain, Self::OddPort, Self::Relay, Self::Unicast, Self::PriorityTag, Self::Fragments, Self::BadSum];

    /// True where clients take it. Without a lease they read DHCP below IP and put no fragments together; `DHCPv6` has sockets.
    pub fn convinces(self, family: Family) -> bool {
        match self {
            Self::BadSum => false,
            Self::Fragments => family == Family::Six,
            Self::Plain | Self::OddPort | Self::Relay | Self::Unicast | Self::PriorityTag => true,
        }
    }

    /// True where a UDP socket on port 68 hears it.
    pub fn reaches_sockets(self) -> bool {
        !matches!(self, Self::BadSum | Self::Unicast)
    }
}

/// Numbers of a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat(pub u8);

impl Seat {
    pub fn mac(self) -> Mac {
        Mac([2, 0, 0, 0, 0x60, self.0])
    }

    pub fn four(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 60, self.0)
    }

    pub fn six(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd60, 0, 0, 0, 0, 0, 0, self.0.into())
    }
}

/// One that answers.
pub struct Server<'a> {
    pub plug: &'a Plug,
    pub seat: Seat,
    /// What is added to a client's number in what is offered.
    pub offset: u8,
    /// Stands in all that it says.
    pub mark: [u8; 8],
}

impl Server<'_> {
    /// Answers all that was asked since, once in each dress. Who has asked.
    pub fn serve(&self, dresses: &[Dress]) -> Vec<(Mac, Family)> {
        let mut asked = Vec::new();
        for frame in self.plug.take() {
            if let Some((transaction, client, kind)) = question(&frame) {
                asked.push((client, Family::Four));
                dresses.iter().for_each(|dress| self.answer(*dress, transaction, client, kind));
            }
            if let Some(question) = Question::read(&frame) {
                asked.push((question.client, Family::Six));
                dresses.iter().for_each(|dress| self.answer_six(*dress, &question));
            }
        }
        asked
    }

    /// What it offers to a client.
    pub fn offers(&self, client: Mac) -> [String; 2] {
        let number = client.0[5] + self.offset;
        [Seat(number).four().to_string(), Seat(number).six().to_string()]
    }

    fn answer(&self, dress: Dress, transaction: [u8; 4], client: Mac, kind: u8) {
        let offered = Seat(client.0[5] + self.offset).four();
        let relay = if dress == Dress::Relay { self.seat.four() } else { Ipv4Addr::UNSPECIFIED };
        let kind = if kind == 1 { 2 } else { 5 };
        let mut message = Answer { transaction, client, offered, server: self.seat.four(), kind, relay }.bytes();
        // Where the server's name would be: in the first fragment.
        message[44..52].copy_from_slice(&self.mark);
        let (to, destination) =
            if dress == Dress::Unicast { (client, offered) } else { (Mac::BROADCAST, Ipv4Addr::BROADCAST) };
        let port = if dress == Dress::OddPort { 1067 } else { 67 };
        let ends = (self.seat.four().into(), destination.into());
        let mut datagram = p::udp(ends, (port, 68), &message);
        if dress == Dress::BadSum {
            datagram[6] ^= 0x55;
        }
        let header = Four { id: u16::from(transaction[3]), ..Four::new(self.seat.four(), destination, p::UDP) };
        let packets = if dress == Dress::Fragments {
            vec![header.piece(&datagram[..200], 0, true), header.piece(&datagram[200..], 200, false)]
        } else {
            vec![header.whole(&datagram)]
        };
        self.send(dress, to, p::IPV4, packets);
    }

    fn answer_six(&self, dress: Dress, question: &Question) {
        let message = self.message_six(question);
        let (from, to) = (link_local(self.seat.mac()), question.source);
        let port = if dress == Dress::OddPort { 1547 } else { 547 };
        let mut datagram = p::udp((from.into(), to.into()), (port, 546), &message);
        if dress == Dress::BadSum {
            datagram[6] ^= 0x55;
        }
        let six = |next, payload: &[u8]| p::six(from, to, 64, next, payload);
        let packets = match dress {
            Dress::Relay => vec![six(p::OPTIONS, &p::between(p::OPTIONS, p::UDP, 0, &datagram))],
            Dress::Fragments => {
                let id = u32::from(question.transaction[2]);
                let (first, rest) = datagram.split_at(64);
                vec![
                    six(p::FRAGMENT, &p::six_piece(p::UDP, 0, true, id, first)),
                    six(p::FRAGMENT, &p::six_piece(p::UDP, 64, false, id, rest)),
                ]
            }
            Dress::Plain | Dress::OddPort | Dress::Unicast | Dress::PriorityTag | Dress::BadSum => {
                vec![six(p::UDP, &datagram)]
            }
        };
        self.send(dress, question.client, p::IPV6, packets);
    }

    /// An advertisement or a reply (RFC 9915 sections 21.2 to 21.7): who asks, who answers, and an address for ten minutes.
    fn message_six(&self, question: &Question) -> Vec<u8> {
        let offered = Seat(question.client.0[5] + self.offset).six();
        let option = |kind: u16, value: &[u8]| {
            [&kind.to_be_bytes()[..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
        };
        let lives = [0, 0, 2, 88, 0, 0, 2, 88];
        let address = option(5, &[&offered.octets()[..], &lives].concat());
        let association = [&question.association[..], &[0, 0, 1, 0, 0, 0, 2, 0], &address].concat();
        let own = [&[0, 3, 0, 1][..], &self.seat.mac().0].concat();
        let kind = if question.kind == 1 { 2 } else { 7 };
        [
            &[kind][..],
            &question.transaction,
            // An option of nobody (RFC 9915 section 21.1 has unknown ones ignored), in the first fragment.
            &option(65_000, &self.mark),
            &option(1, &question.name),
            &option(2, &own),
            &option(3, &association),
            &option(7, &[255]),
        ]
        .concat()
    }

    fn send(&self, dress: Dress, to: Mac, kind: u16, packets: Vec<Vec<u8>>) {
        for packet in packets {
            let frame = p::ethernet(to, self.seat.mac(), kind, &packet);
            let tagged = dress == Dress::PriorityTag;
            self.plug.send(&if tagged { p::tagged(&frame, p::TAG, 0) } else { frame });
        }
    }

    /// A datagram that may come, behind all that was said before.
    pub fn tell(&self, client: Seat, text: &[u8]) {
        let (from, to) = (self.seat.four(), client.four());
        let packet = Four::new(from, to, p::UDP).whole(&p::udp((from.into(), to.into()), (7, 9), text));
        self.plug.send(&p::ethernet(client.mac(), self.seat.mac(), p::IPV4, &packet));
    }
}

/// A question of a `DHCPv6` client.
struct Question {
    client: Mac,
    source: Ipv6Addr,
    kind: u8,
    transaction: [u8; 3],
    name: Vec<u8>,
    association: [u8; 4],
}

impl Question {
    fn read(frame: &[u8]) -> Option<Self> {
        let is_dhcp = frame.get(12..14)? == p::IPV6.to_be_bytes()
            && frame.get(20)? == &p::UDP
            && frame.get(54..58)? == [546_u16.to_be_bytes(), 547_u16.to_be_bytes()].concat();
        let message = frame.get(62..).filter(|_| is_dhcp)?;
        let (mut name, mut association, mut rest) = (None, None, message.get(4..)?);
        while let [a, b, c, d, after @ ..] = rest {
            let value = after.get(..usize::from(u16::from_be_bytes([*c, *d])))?;
            match u16::from_be_bytes([*a, *b]) {
                1 => name = Some(value.to_vec()),
                3 => association = value.first_chunk().copied(),
                _ => {}
            }
            rest = &after[value.len()..];
        }
        Some(Self {
            client: Mac(*frame.get(6..)?.first_chunk()?),
            source: Ipv6Addr::from(*frame.get(22..)?.first_chunk::<16>()?),
            kind: message[0],
            transaction: *message.get(1..)?.first_chunk()?,
            name: name?,
            association: association?,
        })
    }
}
