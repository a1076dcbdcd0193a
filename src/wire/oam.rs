//! Control messages between two daemons, behind a header of form B with the O flag. An echo request is answered with an echo
//! reply that names the size in which it arrived, so that probes of a path can be large one way and small the other.
//!
//! Who gets no echo over the plain path ([`crate::probe::plain`]) asks by the session what the peer hears of it there: the answer
//! tells which direction fails, and that the peer is alive.
//!
//! Who explains a frame asks by the session how the guest at the other end stands. The token says which guest: the lower half of its VNI and
//! its Ethernet address; the upper part of the VNI is in the second byte, the UDP port of its overlay where the size is.
//!
//! ```text
//!  0      1      2      4                       12
//! +------+------+------+-----------------------+--------
//! | kind | more | size |         token         | filling
//! +------+------+------+-----------------------+--------
//! ```

use super::{Header, WireError, front, front_mut};

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const PLAIN_ASK: u8 = 24;
const PLAIN_TELL: u8 = 25;
const GUEST_ASK: u8 = 26;
const GUEST_TELL: u8 = 27;
/// Bit of the second byte of [`PLAIN_TELL`].
const HIT: u8 = 1;

/// A control message. A request may be followed by any filling, which is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oam {
    /// Request or reply.
    pub kind: Kind,
    /// Chosen by the asker, returned as it is.
    pub token: u64,
}

/// Kinds of control messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Please answer.
    EchoRequest,
    /// The answer.
    EchoReply {
        /// Bytes of form B header, message and filling that the request had on arrival.
        size: u16,
    },
    /// When did you hear me over the plain path?
    PlainAsk,
    /// The answer.
    PlainTell {
        /// Tenths of a second since then; [`u16::MAX`]: not within what this can say, or never.
        heard: u16,
        /// What the answerer watches plain paths by is hit by something of its own host: that it hears nothing may be due to that.
        hit: bool,
    },
    /// How does this guest of yours stand?
    GuestAsk {
        /// The upper eight bits of its VNI.
        vni: u8,
        /// UDP port of its overlay.
        udp_port: u16,
    },
    /// The answer.
    GuestTell {
        /// How it stands, as a number of the control plane.
        stands: u8,
        /// As asked.
        udp_port: u16,
    },
}

impl Header for Oam {
    const NAME: &'static str = "control message";
    const LEN: usize = 12;

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let [kind, more, s0, s1, token @ ..] = *front::<12>(Self::NAME, bytes)?;
        let kind = match kind {
            REQUEST => Kind::EchoRequest,
            REPLY => Kind::EchoReply { size: u16::from_be_bytes([s0, s1]) },
            PLAIN_ASK => Kind::PlainAsk,
            PLAIN_TELL => Kind::PlainTell { heard: u16::from_be_bytes([s0, s1]), hit: more & HIT != 0 },
            GUEST_ASK => Kind::GuestAsk { vni: more, udp_port: u16::from_be_bytes([s0, s1]) },
            GUEST_TELL => Kind::GuestTell { stands: more, udp_port: u16::from_be_bytes([s0, s1]) },
            _ => return Err(WireError::Field { header: Self::NAME, field: "kind" }),
        };
        Ok(Self { kind, token: u64::from_be_bytes(token) })
    }

    fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        let out = front_mut::<12>(Self::NAME, out)?;
        let (kind, more, size) = match self.kind {
            Kind::EchoRequest => (REQUEST, 0, 0),
            Kind::EchoReply { size } => (REPLY, 0, size),
            Kind::PlainAsk => (PLAIN_ASK, 0, 0),
            Kind::PlainTell { heard, hit } => (PLAIN_TELL, if hit { HIT } else { 0 }, heard),
            Kind::GuestAsk { vni, udp_port } => (GUEST_ASK, vni, udp_port),
            Kind::GuestTell { stands, udp_port } => (GUEST_TELL, stands, udp_port),
        };
        out[..2].copy_from_slice(&[kind, more]);
        out[2..4].copy_from_slice(&size.to_be_bytes());
        out[4..].copy_from_slice(&self.token.to_be_bytes());
        Ok(())
    }
}
