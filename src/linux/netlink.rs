//! A blocking rtnetlink socket: dumps, single requests, and batches of many requests in one system call.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel has more attributes than we look at")]

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::ControlFlow;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Messages in one system call. Each is answered by a buffer of under 1 KiB, and all answers must fit into the default receive
/// buffer of 208 KiB.
const BATCH: usize = 128;
/// Questions in one system call. The kernel makes each answer in a buffer of 4 KiB.
const QUESTIONS: usize = 32;
/// Larger than any datagram of a dump (`NLMSG_GOODSIZE` and the 32 KiB of `netlink_dump`).
const BUFFER: usize = 256 * 1024;
/// `NLMSGERR_ATTR_MSG` (linux/netlink.h): the kernel's own words.
const ERROR_TEXT: u16 = 1;
/// How often a dump that the kernel calls inconsistent is repeated.
const DUMP_TRIES: usize = 2;
/// `struct nlmsghdr`, before what a message says.
pub(super) const HEADER: usize = 16;

/// What the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Positive `errno`.
    pub(super) errno: i32,
    /// The kernel's own words, if it had any.
    pub(super) text: String,
}

/// One request: the message and its flags besides `NLM_F_REQUEST` and `NLM_F_ACK`.
pub(super) type Request = (RouteNetlinkMessage, u16);

/// A socket of the namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = io::Error::from_raw_os_error(self.errno).to_string();
        let errno = errno.split(" (os error").next().unwrap_or_default();
        if self.text.is_empty() { f.write_str(errno) } else { write!(f, "{errno}: {}", self.text) }
    }
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel has none to give.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Errors need not repeat the request, but should say why in words.
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        // Else the kernel passes over what a dump is to be limited to (Linux 4.20).
        socket.set_netlink_get_strict_chk(true)?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// From now on the kernel sends of a dump only what was asked for, a table of routes for one, and refuses what it does not know.
    ///
    /// # Errors
    /// The kernel cannot do that (before Linux 4.20).
    pub(super) fn strict(&self) -> io::Result<()> {
        self.socket.set_netlink_get_strict_chk(true)
    }

    /// All answers to a dump request.
    ///
    /// # Errors
    /// The kernel refused, or said something that cannot be read.
    pub(super) fn dump(&mut self, request: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let all =
            self.dump_by(request, |raw| Ok(Some((raw.get(HEADER..).unwrap_or_default().to_vec(), decode(raw)?))))?;
        Ok(all.into_values().flatten().collect())
    }

    /// What `read` makes of the answers to a dump request, by a key that tells them apart. Devices that come and go all the time, as on
    /// a host of many containers, make each dump an inconsistent one (`NLM_F_DUMP_INTR`): after some tries all that any of them has said
    /// counts, the newest last. What stood still is in there, and what did not brings a notice that makes us look again.
    ///
    /// # Errors
    /// The kernel refused, or `read` did.
    pub(super) fn dump_by<K: Ord, V>(
        &mut self,
        request: RouteNetlinkMessage,
        mut read: impl FnMut(&[u8]) -> io::Result<Option<(K, V)>>,
    ) -> io::Result<BTreeMap<K, V>> {
        let mut all = BTreeMap::new();
        for _ in 0..DUMP_TRIES {
            let mut now = BTreeMap::new();
            let consistent = self.dump_each(request.clone(), |raw| {
                now.extend(read(raw)?);
                Ok(ControlFlow::Continue(()))
            })?;
            if consistent {
                return Ok(now);
            }
            all.extend(now);
        }
        Ok(all)
    }

    /// Hands over each answer to a dump request as bytes, `struct nlmsghdr` included, so that what is not wanted costs no more than
    /// reading it. True where the table stood still meanwhile. Where `take` breaks off, what is left unread ends with the socket: it
    /// must not be used again.
    ///
    /// # Errors
    /// The kernel refused, or `take` did.
    pub(super) fn dump_each(
        &mut self,
        request: RouteNetlinkMessage,
        mut take: impl FnMut(&[u8]) -> io::Result<ControlFlow<()>>,
    ) -> io::Result<bool> {
        self.send(&[(request, NLM_F_DUMP)], false)?;
        let (sequence, mut consistent, mut done) = (self.sequence, true, false);
        while !done {
            let length = self.socket.recv(&mut &mut self.buffer[..], 0)?;
            let answer = self.buffer.get(..length).ok_or_else(|| invalid("a netlink answer of over 256 KiB"))?;
            for raw in Messages(answer) {
                let raw = raw?;
                if word(raw, 8) != Some(sequence) {
                    continue;
                }
                consistent &= half(raw, 6).is_none_or(|flags| flags & NLM_F_DUMP_INTR == 0);
                match half(raw, 4).map(i32::from) {
                    Some(libc::NLMSG_DONE) => done = true,
                    Some(libc::NLMSG_ERROR) => match word(raw, HEADER).map(u32::cast_signed) {
                        Some(0) => {}
                        code => {
                            return Err(io::Error::from_raw_os_error(code.map_or(libc::EPROTO, i32::saturating_abs)));
                        }
                    },
                    _ => {
                        if take(raw)?.is_break() {
                            return Ok(false);
                        }
                    }
                }
            }
        }
        Ok(consistent)
    }

    /// One request that has one answer or none.
    ///
    /// # Errors
    /// The socket failed (outer) or the kernel refused (inner).
    pub(super) fn request(&mut self, request: Request) -> io::Result<Result<Option<RouteNetlinkMessage>, Refusal>> {
        let mut answer = None;
        let refusals = self.exchange(&[request], |_, inner| answer = Some(inner))?;
        Ok(match refusals.into_iter().next() {
            Some((_, refusal)) => Err(refusal),
            None => Ok(answer),
        })
    }

    /// Many requests in few system calls, in order. Returns what was refused, by position. A refusal does not stop the rest.
    ///
    /// # Errors
    /// The socket failed; what was not answered is not known to be done.
    pub(super) fn batch(&mut self, requests: &[Request]) -> io::Result<Vec<(usize, Refusal)>> {
        let mut refusals = Vec::new();
        for (number, chunk) in requests.chunks(BATCH).enumerate() {
            let chunk = self.exchange(chunk, |_, _| {})?;
            refusals.extend(chunk.into_iter().map(|(at, refusal)| (number * BATCH + at, refusal)));
        }
        Ok(refusals)
    }

    /// The answer to each of many questions, in order; none where the kernel has none.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn ask(&mut self, questions: &[RouteNetlinkMessage]) -> io::Result<Vec<Option<RouteNetlinkMessage>>> {
        let mut answers = Vec::with_capacity(questions.len());
        for chunk in questions.chunks(QUESTIONS) {
            let requests: Vec<Request> = chunk.iter().map(|question| (question.clone(), 0)).collect();
            let mut some = vec![None; chunk.len()];
            self.exchange(&requests, |at, inner| {
                if let Some(answer) = some.get_mut(at) {
                    *answer = Some(inner);
                }
            })?;
            answers.extend(some);
        }
        Ok(answers)
    }

    /// Sends up to [`BATCH`] requests at once and waits for all their answers.
    fn exchange(
        &mut self,
        requests: &[Request],
        mut answer: impl FnMut(usize, RouteNetlinkMessage),
    ) -> io::Result<Vec<(usize, Refusal)>> {
        let first = self.sequence.wrapping_add(1);
        self.send(requests, true)?;
        let (mut left, mut refusals) = (requests.len(), Vec::new());
        while left > 0 {
            self.receive(|message| {
                let at = message.header.sequence_number.wrapping_sub(first) as usize;
                if at >= requests.len() {
                    return Ok(());
                }
                match message.payload {
                    NetlinkPayload::Error(error) => {
                        left = left.saturating_sub(1);
                        if let Some(code) = error.code {
                            let errno = code.get().saturating_abs();
                            refusals.push((at, Refusal { errno, text: words(&error.header) }));
                        }
                    }
                    NetlinkPayload::InnerMessage(inner) => answer(at, inner),
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok(refusals)
    }

    fn send(&mut self, requests: &[Request], acknowledge: bool) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(requests.len() * 96);
        for (message, flags) in requests {
            self.sequence = self.sequence.wrapping_add(1);
            let mut message = NetlinkMessage::from(message.clone());
            message.header.flags = NLM_F_REQUEST | *flags | if acknowledge { NLM_F_ACK } else { 0 };
            message.header.sequence_number = self.sequence;
            message.finalize();
            let at = bytes.len();
            bytes.resize(at + message.buffer_len(), 0);
            let (_, place) = bytes.split_at_mut(at);
            message.serialize(place);
        }
        self.socket.send(&bytes, 0).map(drop)
    }

    /// Takes one datagram and hands over each message in it.
    fn receive(&mut self, take: impl FnMut(NetlinkMessage<RouteNetlinkMessage>) -> io::Result<()>) -> io::Result<()> {
        let length = self.socket.recv(&mut &mut self.buffer[..], 0)?;
        let answer = self.buffer.get(..length).ok_or_else(|| invalid("a netlink answer of over 256 KiB"))?;
        each(answer, take)
    }
}

/// The messages of a datagram, each with its header.
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = io::Result<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let length = word(self.0, 0).filter(|_| !self.0.is_empty())?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((one, _)) = self.0.split_at_checked(length).filter(|_| length >= HEADER) else {
            self.0 = &[];
            return Some(Err(invalid("a netlink answer that is cut")));
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(one))
    }
}

/// What a message says; none for one that is not of routes, links and neighbours.
///
/// # Errors
/// It cannot be read.
pub(super) fn decode(raw: &[u8]) -> io::Result<Option<RouteNetlinkMessage>> {
    let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(raw).map_err(invalid)?;
    Ok(if let NetlinkPayload::InnerMessage(inner) = message.payload { Some(inner) } else { None })
}

/// Hands over each message of a datagram.
///
/// # Errors
/// The datagram is cut or no netlink; what `take` says.
pub(super) fn each(
    mut rest: &[u8],
    mut take: impl FnMut(NetlinkMessage<RouteNetlinkMessage>) -> io::Result<()>,
) -> io::Result<()> {
    while !rest.is_empty() {
        let header = NetlinkBuffer::new_checked(rest).map_err(invalid)?;
        let length = header.length() as usize;
        let (one, _) = rest.split_at_checked(length).ok_or_else(|| invalid("a netlink answer that is cut"))?;
        take(NetlinkMessage::deserialize(one).map_err(invalid)?)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

/// Four bytes of a message, in the machine's order.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Two bytes of a message, in the machine's order.
pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn invalid(why: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

/// The kernel's words behind the repeated header (16 bytes) of an error.
fn words(after_code: &[u8]) -> String {
    let attributes = NlasIterator::new(after_code.get(16..).unwrap_or_default());
    let text = attributes.flatten().find(|a| a.kind() == ERROR_TEXT).map(|a| a.value().to_vec()).unwrap_or_default();
    let text: Vec<u8> = text.into_iter().take_while(|b| *b != 0).collect();
    String::from_utf8_lossy(&text).trim_end_matches('.').to_owned()
}
