//! Segmentation offload of UDP: one system call for a whole train of datagrams (`UDP_SEGMENT` and `UDP_GRO`, udp(7)), and what is
//! known about paths on which it does not work.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{MsgHdr, SockAddr, SockRef};

use crate::types::Mono;

/// How long a path is sent single datagrams after it refused a train: long enough to cost nothing, short enough that a route
/// that moves to a better interface is noticed.
const AGAIN: Duration = Duration::from_secs(60);

/// Bytes of a `size_t`, to which control messages are aligned.
const WORD: usize = size_of::<usize>();
/// `struct cmsghdr`: a length, level and type.
const HEAD: usize = WORD + 8;
/// One control message with a 16-bit value, padded.
const CONTROL: usize = HEAD + WORD;

/// Paths that refused a train, and until when they are left alone.
#[derive(Debug, Default)]
pub(super) struct Refusals(BTreeMap<SocketAddr, Mono>);

impl Refusals {
    /// Whether a train may be tried.
    pub(super) fn allow(&mut self, to: SocketAddr, now: Mono) -> bool {
        if self.0.is_empty() {
            return true;
        }
        match self.0.get(&to) {
            Some(until) if *until > now => false,
            Some(_) => {
                self.0.remove(&to);
                true
            }
            None => true,
        }
    }

    /// A train was refused and its datagrams were not.
    pub(super) fn refuse(&mut self, to: SocketAddr, now: Mono) {
        self.0.insert(to, now + AGAIN);
    }
}

/// True for what the system says where a train cannot be sent but its datagrams may be: no checksum offload (`EIO`, up to Linux
/// 6.10), larger than the interface takes (`EMSGSIZE`; `EINVAL` in older kernels), too many of them (`EINVAL`).
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EMSGSIZE | libc::EINVAL | libc::EOPNOTSUPP))
}

/// Sends `bytes` as datagrams of `segment` bytes, and `tail` behind them.
pub(super) fn send(socket: SockRef<'_>, to: SocketAddr, bytes: &[u8], segment: u16, tail: &[u8]) -> io::Result<()> {
    let (to, control, slices) = (SockAddr::from(to), control(segment), [IoSlice::new(bytes), IoSlice::new(tail)]);
    let slices = if tail.is_empty() { &slices[..1] } else { &slices[..] };
    let message = MsgHdr::new().with_addr(&to).with_buffers(slices).with_control(&control);
    loop {
        match socket.sendmsg(&message, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(drop),
        }
    }
}

/// The control message, laid out as the kernel wants it (cmsg(3)).
fn control(segment: u16) -> [u8; CONTROL] {
    let mut bytes = [0; CONTROL];
    bytes[..WORD].copy_from_slice(&(HEAD + size_of::<u16>()).to_ne_bytes());
    bytes[WORD..WORD + 4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
    bytes[WORD + 4..HEAD].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
    bytes[HEAD..HEAD + 2].copy_from_slice(&segment.to_ne_bytes());
    bytes
}

/// Room for the control messages of one received train, and some more that a socket option may add.
pub(super) const RECEIVED: usize = 4 * CONTROL;

/// Size of the datagrams of a received train, by the control messages that came with it. None: it is one datagram.
pub(super) fn segment_of(mut control: &[u8]) -> Option<usize> {
    let int = |bytes: &[u8]| Some(i32::from_ne_bytes(*bytes.first_chunk()?));
    while let Some((len, rest)) = control.split_first_chunk::<WORD>() {
        let len = usize::from_ne_bytes(*len);
        if (int(rest)?, int(rest.get(4..)?)?) == (libc::SOL_UDP, libc::UDP_GRO) {
            return usize::try_from(int(rest.get(8..)?)?).ok().filter(|size| *size > 0);
        }
        control = control.get(len.max(HEAD).next_multiple_of(WORD)..)?;
    }
    None
}

#[cfg(test)]
#[path = "gso_tests.rs"]
mod tests;
