//! What is said over the plain path, as bytes: the frame around an echo, and its proof.
//!
//! ```text
//!  Ethernet 14 | IPv4 20 | UDP 8 | 0     4      5      6      8                16      20       22     24           40
//!                                 +-----+------+------+------+----------------+-------+--------+------+------------+-------
//!                                 |VXE1 | kind | flow | size |     token      | heard | passes |  0   |    MAC     | zeros
//!                                 +-----+------+------+------+----------------+-------+--------+------+------------+-------
//! ```
//!
//! IPv4 and UDP are there for those on the way: a packet filter for bridged frames looks at nothing else, and the kernel chooses the
//! outer source port by the inner ones, so echoes of several flows take the several legs of a path. The MAC is keyed with what only the
//! pair knows, over the first 24 bytes, the UDP port of the overlay and both Ethernet addresses in order: nobody else makes one, and one
//! that comes back to its sender is not accepted.

use std::net::Ipv4Addr;
use std::time::Duration;

use blake2::digest::consts::U16;
use blake2::digest::{Digest, FixedOutput, Update};
use blake2::{Blake2s256, Blake2sMac};
use subtle::ConstantTimeEq;

use crate::types::{Mac, Psk, UdpPort};
use crate::wire::Header;
use crate::wire::ethernet::{self, Ethernet};
use crate::wire::ip::{self, Ipv4};
use crate::wire::udp::Udp;

/// Flows that a path is watched by: each has a UDP source port of its own.
pub const FLOWS: u8 = 4;
/// Source port of the first (RFC 6335 section 6: dynamic ports).
const FIRST_PORT: u16 = 49_160;
/// Where echoes are asked for (RFC 862); nobody listens there, the frames end at a TAP.
const ECHO_PORT: u16 = 7;
const MAGIC: [u8; 4] = *b"VXE1";
const ASK: u8 = 1;
const ANSWER: u8 = 2;
/// Bytes of the message before its MAC, and with it.
const PROVED: usize = 24;
const MESSAGE: usize = PROVED + 16;
/// Headers before the message.
const HEADERS: usize = Ethernet::LEN + Ipv4::LEN + Udp::LEN;
/// Least inner IP packet that holds a message, in bytes.
pub(super) const LEAST: u16 = 68;

/// What only the two ends of a pair have.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_debug_implementations, reason = "holds a secret")]
pub struct PairKey([u8; 32]);

impl PairKey {
    /// Derived from the pair's pre-shared key. Without one everybody has it, as in WireGuard: then the random token alone
    /// keeps those out who are not on the way.
    pub fn of(psk: Option<&Psk>) -> Self {
        let bytes = psk.map_or([0; 32], |psk| *psk.expose());
        Self(Blake2s256::new().chain_update(b"vxmesh plain echo v1").chain_update(bytes).finalize().into())
    }

    fn mac(&self, (port, from, to): Ends, proved: &[u8]) -> [u8; 16] {
        let Ok(mut mac) = <Blake2sMac<U16> as blake2::digest::Mac>::new_from_slice(&self.0) else {
            unreachable!("BLAKE2s takes a key of 32 bytes")
        };
        for part in [&port.get().to_be_bytes()[..], &from.0, &to.0, proved] {
            Update::update(&mut mac, part);
        }
        mac.finalize_fixed().into()
    }
}

/// UDP port of the overlay, sender and receiver.
pub(super) type Ends = (UdpPort, Mac, Mac);

/// An echo, asked for or answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    /// It is an answer.
    pub(super) answer: bool,
    /// Which flow it takes, and of an answer, which the question took.
    pub(super) flow: u8,
    /// Bytes of the inner IP packet of the question.
    pub(super) size: u16,
    /// Random, of the asker.
    pub(super) token: u64,
    /// How long ago the sender has heard the receiver; none: never, or too long ago to say.
    pub(super) heard: Option<Duration>,
    /// Bytes of the largest inner IP packet that is known to pass from sender to receiver; 0: not known.
    pub(super) passes: u16,
}

impl Message {
    fn proved(&self) -> [u8; PROVED] {
        let mut bytes = [0; PROVED];
        let never = || u32::MAX;
        let heard = self.heard.map_or_else(never, |ago| u32::try_from(ago.as_millis()).unwrap_or(u32::MAX));
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&[if self.answer { ANSWER } else { ASK }, self.flow]);
        bytes[6..8].copy_from_slice(&self.size.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.token.to_be_bytes());
        bytes[16..20].copy_from_slice(&heard.to_be_bytes());
        bytes[20..22].copy_from_slice(&self.passes.to_be_bytes());
        bytes
    }

    /// Writes the frame whose inner IP packet has `size` bytes, at least [`LEAST`].
    pub(super) fn write(&self, ends: Ends, key: &PairKey, size: u16, out: &mut Vec<u8>) {
        let (_, from, to) = ends;
        let size = size.max(LEAST);
        out.clear();
        out.resize(Ethernet::LEN + usize::from(size), 0);
        let outer = Ipv4::whole(ip::UDP, size, address(from), address(to));
        let length = size.saturating_sub(20);
        let udp =
            Udp { source: FIRST_PORT + u16::from(self.flow % FLOWS), destination: ECHO_PORT, length, checksum: 0 };
        let (headers, message) = out.split_at_mut(HEADERS);
        let written = Ethernet { destination: to, source: from, ethertype: ethernet::IPV4 }
            .emit(headers)
            .and_then(|()| outer.emit(&mut headers[Ethernet::LEN..]))
            .and_then(|()| udp.emit(&mut headers[Ethernet::LEN + Ipv4::LEN..]));
        debug_assert!(written.is_ok(), "there is room for three headers");
        let proved = self.proved();
        message[..PROVED].copy_from_slice(&proved);
        message[PROVED..MESSAGE].copy_from_slice(&key.mac(ends, &proved));
    }

    /// Reads a frame: what it says, and whether the sender of `ends` proves it with one of `keys`.
    pub(super) fn read(ends: Ends, keys: &[PairKey], frame: &[u8]) -> Option<Self> {
        let headers = frame.get(..HEADERS)?;
        let outer = Ipv4::parse(&headers[Ethernet::LEN..]).ok()?;
        let udp = Udp::parse(&headers[Ethernet::LEN + Ipv4::LEN..]).ok()?;
        let whole = usize::from(outer.total) + Ethernet::LEN <= frame.len();
        let fits = outer.options == 0 && !outer.is_fragment() && outer.protocol == ip::UDP && whole;
        if !fits || udp.destination != ECHO_PORT {
            return None;
        }
        let message = frame.get(HEADERS..HEADERS + MESSAGE)?;
        let (proved, mac) = message.split_at(PROVED);
        if !keys.iter().any(|key| bool::from(key.mac(ends, proved).ct_eq(mac))) {
            return None;
        }
        Self::parse(proved, outer.total)
    }

    fn parse(proved: &[u8], total: u16) -> Option<Self> {
        let [m0, m1, m2, m3, kind, flow, s0, s1, rest @ ..] = proved.first_chunk::<PROVED>()?;
        let (token, rest) = rest.split_first_chunk::<8>()?;
        let (heard, rest) = rest.split_first_chunk::<4>()?;
        let passes = u16::from_be_bytes(*rest.first_chunk::<2>()?);
        let answer = match *kind {
            ASK => false,
            ANSWER => true,
            _ => return None,
        };
        let size = u16::from_be_bytes([*s0, *s1]);
        // A question that has become smaller on its way says nothing of its size.
        if [*m0, *m1, *m2, *m3] != MAGIC || *flow >= FLOWS || (!answer && size != total) {
            return None;
        }
        let heard = Some(u32::from_be_bytes(*heard)).filter(|millis| *millis != u32::MAX);
        let heard = heard.map(|millis| Duration::from_millis(millis.into()));
        Some(Self { answer, flow: *flow, size, token: u64::from_be_bytes(*token), heard, passes })
    }
}

/// Source UDP port of a flow, inside.
pub(super) fn port(flow: u8) -> u16 {
    FIRST_PORT + u16::from(flow)
}

/// A link-local address (RFC 3927) by an Ethernet address: nobody answers to it.
fn address(mac: Mac) -> Ipv4Addr {
    let [.., a, b] = mac.0;
    Ipv4Addr::new(169, 254, 1 + a % 254, 1 + b % 254)
}
