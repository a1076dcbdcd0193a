//! Control messages between two daemons, behind a header of form B with the O flag. An echo request is answered with an echo
//! reply that names the size in which it arrived, so that probes of a path can be large one way and small the other.
//!
//! Who gets no echo over the plain path ([`crate::probe::plain`]) asks by the session what the peer hears of it there: the answer
//! tells which direction fails, and that the peer is alive.
//!
//! ```text
//!  0      1      2      4                       12
//! +------+------+------+-----------------------+--------
//! | kind | cut  | size |         token         | filling
//! +------+------+------+-----------------------+--------
//! ```
//!
//! `cut` is 0 but in an answer about the plain path of a node whose own host drops frames between guests, where it is 1: whoever sends there
//! cannot know it otherwise. Who does not know it passes over it.

use super::{Header, WireError, front, front_mut};

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const PLAIN_ASK: u8 = 24;
const PLAIN_TELL: u8 = 25;

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
        /// The host of the sender drops frames between its guests.
        cut: bool,
    },
}

impl Header for Oam {
    const NAME: &'static str = "control message";
    const LEN: usize = 12;

    fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let [kind, cut, s0, s1, token @ ..] = *front::<12>(Self::NAME, bytes)?;
        let kind = match kind {
            REQUEST => Kind::EchoRequest,
            REPLY => Kind::EchoReply { size: u16::from_be_bytes([s0, s1]) },
            PLAIN_ASK => Kind::PlainAsk,
            PLAIN_TELL => Kind::PlainTell { heard: u16::from_be_bytes([s0, s1]), cut: cut & 1 != 0 },
            _ => return Err(WireError::Field { header: Self::NAME, field: "kind" }),
        };
        Ok(Self { kind, token: u64::from_be_bytes(token) })
    }

    fn emit(&self, out: &mut [u8]) -> Result<(), WireError> {
        let out = front_mut::<12>(Self::NAME, out)?;
        let cut = u8::from(matches!(self.kind, Kind::PlainTell { cut: true, .. }));
        let (kind, size) = match self.kind {
            Kind::EchoRequest => (REQUEST, 0),
            Kind::EchoReply { size } => (REPLY, size),
            Kind::PlainAsk => (PLAIN_ASK, 0),
            Kind::PlainTell { heard, .. } => (PLAIN_TELL, heard),
        };
        out[..2].copy_from_slice(&[kind, cut]);
        out[2..4].copy_from_slice(&size.to_be_bytes());
        out[4..].copy_from_slice(&self.token.to_be_bytes());
        Ok(())
    }
}
