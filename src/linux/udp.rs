//! The UDP socket of a lane. Datagrams never leave in fragments: what does not fit is told, and path MTU discovery is ours.
//!
//! Both directions know trains, several datagrams of one size in one buffer; how many system calls that takes is decided here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::inbox::Inbox;
use super::{gso, sys};
use crate::forward::Buf;
use crate::forward::train::{MAX_BYTES, MAX_DATAGRAMS};
use crate::policy::offload::Offload;
use crate::types::Mono;

/// Bytes of socket buffer that are asked for: some hundred super-frames, so that a burst meets no wall.
const BUFFER: i32 = 8 << 20;

/// The socket of one lane.
#[derive(Debug)]
pub struct LaneSocket {
    socket: UdpSocket,
    ipv6: bool,
    refusals: gso::Refusals,
    offload: Offload,
}

/// Datagrams of one size, one after the other in one buffer, to one place. The last may be shorter.
#[derive(Debug)]
pub struct Datagrams {
    /// The other end.
    pub address: SocketAddr,
    /// The bytes.
    pub buf: Buf,
    /// Size of each in bytes; the length of `buf` for a single one.
    pub segment: usize,
}

/// What became of a batch that was sent, in datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Handed to the system.
    pub sent: u64,
    /// Larger than the interface takes.
    pub too_big: u64,
    /// The socket's buffer was full.
    pub busy: u64,
    /// Anything else: no route, network down, refused by a firewall.
    pub failed: u64,
    /// Where the last of those should have gone, and the error.
    pub refused: Option<(SocketAddr, i32)>,
    /// Trains that the system refused, so that their datagrams were sent one by one.
    pub resent: u64,
    /// Datagrams of one byte, each behind a train that would else have had datagrams of one size only. Not in `sent`.
    pub tails: u64,
}

impl Sent {
    /// Counts datagrams by what became of them.
    fn add(&mut self, to: SocketAddr, result: &io::Result<()>, count: u64) {
        match result {
            Ok(()) => self.sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.busy += count,
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.busy += count,
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => self.too_big += count,
            Err(error) => {
                self.failed += count;
                self.refused = error.raw_os_error().map(|code| (to, code));
            }
        }
    }
}

/// What ends a train whose datagrams must not all have one size. No WireGuard message is this short: every peer drops it.
const TAIL: &[u8] = &[0];

/// Why the socket of a lane could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum UdpError {
    /// Another program listens there.
    #[error("UDP port {} of {} is taken by another program; `ss -lunp sport = :{}` names it", .0.port(), .0.ip(), .0.port())]
    Taken(SocketAddr),
    /// The address is not on this machine.
    #[error("{0} is not an address of this machine")]
    NoAddress(IpAddr),
    /// Something else.
    #[error("UDP socket on {address}: {step}: {source}")]
    System {
        /// Where it was to listen.
        address: SocketAddr,
        /// What was tried.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl LaneSocket {
    /// Listens on `address`. The unspecified IPv6 address takes IPv4 too, and stands for the IPv4 one on a kernel without IPv6.
    ///
    /// # Errors
    /// [`UdpError`].
    pub fn bind(address: SocketAddr) -> Result<Self, UdpError> {
        match Self::bind_one(address) {
            Err(UdpError::System { source, .. })
                if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                    && matches!(source.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) =>
            {
                Self::bind_one(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
            }
            result => result,
        }
    }

    fn bind_one(address: SocketAddr) -> Result<Self, UdpError> {
        let system = |step| move |source| UdpError::System { address, step, source };
        let ipv6 = address.is_ipv6();
        let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(system("socket"))?;
        if ipv6 {
            socket.set_only_v6(false).map_err(system("IPV6_V6ONLY"))?;
        }
        socket.set_nonblocking(true).map_err(system("O_NONBLOCK"))?;
        never_fragment(socket.as_fd(), ipv6).map_err(system("IP_MTU_DISCOVER"))?;
        // Without it (before Linux 5.0) each datagram comes alone.
        let _ = sys::set_socket_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1);
        enlarge(&socket).map_err(system("SO_RCVBUF"))?;
        socket.bind(&address.into()).map_err(|source| match source.raw_os_error() {
            Some(libc::EADDRINUSE) => UdpError::Taken(address),
            Some(libc::EADDRNOTAVAIL) if !address.ip().is_unspecified() => UdpError::NoAddress(address.ip()),
            _ => UdpError::System { address, step: "bind", source },
        })?;
        Ok(Self { socket: socket.into(), ipv6, refusals: gso::Refusals::default(), offload: Offload::default() })
    }

    /// Which offloads it uses from now on; all of them, where nothing is said.
    ///
    /// # Errors
    /// Of `setsockopt(2)`.
    pub fn set_offload(&mut self, offload: Offload) -> io::Result<()> {
        self.offload = offload;
        if offload.receive {
            return Ok(());
        }
        match sys::set_socket_option(self.socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 0) {
            // A kernel that does not know it does not do it.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
            result => result,
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Of `getsockname(2)`.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// How many packets it could not take since it was opened, because its buffer was full: what comes in is more than is read. None: the kernel
    /// does not say. The number wraps, and datagrams that the kernel had joined count once.
    pub fn dropped(&self) -> Option<u32> {
        sys::socket_drops(self.socket.as_fd()).ok()
    }

    /// Empties the inbox and fills it with what has arrived, in at most `most` reads; the kernel may have put datagrams of one
    /// origin together.
    ///
    /// # Errors
    /// Of `recvmsg(2)`, if it is the first; a later one is reported by the next call.
    pub fn receive(&self, inbox: &mut Inbox, most: usize) -> io::Result<()> {
        inbox.clear();
        while inbox.len() < most
            && let Some(room) = inbox.room()
        {
            let mut control = [0; gso::RECEIVED];
            match sys::receive_message(self.socket.as_fd(), room, &mut control) {
                Ok(message) => {
                    let segment = gso::segment_of(&control[..message.control]);
                    inbox.arrived(plain(message.from), message.len, segment);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || !inbox.is_empty() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends everything in `batch`, each train in one call. A train that the system refuses is sent again one by one, and
    /// so is what follows to that address for a minute. What cannot be sent then is counted, not kept: a tunnel is allowed to
    /// lose datagrams.
    pub fn send(&mut self, batch: &[Datagrams], now: Mono) -> Sent {
        let mut sent = Sent::default();
        for train in batch {
            let segment = u16::try_from(train.segment).ok().filter(|segment| *segment > 0);
            match segment {
                Some(segment) if self.is_train(train) && self.refusals.allow(train.address, now) => {
                    self.send_train(train, segment, now, &mut sent);
                }
                Some(_) | None => drop(self.send_singly(train, &mut sent)),
            }
        }
        sent
    }

    fn is_train(&self, train: &Datagrams) -> bool {
        self.offload.trains && train.buf.len() > train.segment
    }

    fn send_train(&mut self, train: &Datagrams, segment: u16, now: Mono, sent: &mut Sent) {
        let to = self.mapped(train.address);
        let (together, alone, tail) = self.ended(train);
        match gso::send(SockRef::from(&self.socket), to, together, segment, tail) {
            Err(error) if gso::is_refusal(&error) => {
                sent.resent += 1;
                // Where the first datagram alone is refused too, it is not the train that is wrong.
                if self.send_singly(train, sent) {
                    self.refusals.refuse(train.address, now);
                }
            }
            result => {
                let count = together.len().div_ceil(train.segment);
                sent.add(train.address, &result, u64::try_from(count).unwrap_or_default());
                sent.tails += u64::from(result.is_ok() && !tail.is_empty());
                if !alone.is_empty() {
                    self.send_one(train.address, alone, sent);
                }
            }
        }
    }

    /// What of a train goes in one call, what after it, and how the call ends. Where datagrams must not all have one size and a
    /// full train has no room for a tail, its last one goes alone.
    fn ended<'a>(&self, train: &'a Datagrams) -> (&'a [u8], &'a [u8], &'static [u8]) {
        let bytes = train.buf.bytes();
        if self.offload.equal_trains || train.segment == TAIL.len() || !bytes.len().is_multiple_of(train.segment) {
            return (bytes, &[], &[]);
        }
        let room = bytes.len() + TAIL.len() <= MAX_BYTES && bytes.len() / train.segment < MAX_DATAGRAMS;
        let (together, alone) = bytes.split_at(if room { bytes.len() } else { bytes.len() - train.segment });
        (together, alone, TAIL)
    }

    /// Sends the datagrams of a train one by one; true if the first could be sent.
    fn send_singly(&self, train: &Datagrams, sent: &mut Sent) -> bool {
        let mut first = None;
        for datagram in train.buf.bytes().chunks(train.segment.max(1)) {
            let before = sent.sent;
            self.send_one(train.address, datagram, sent);
            first.get_or_insert(sent.sent > before);
        }
        first.unwrap_or_default()
    }

    /// Sends one datagram and counts what became of it.
    pub fn send_one(&self, to: SocketAddr, datagram: &[u8], sent: &mut Sent) {
        let mapped = self.mapped(to);
        let result = loop {
            match self.socket.send_to(datagram, mapped) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result.map(drop),
            }
        };
        sent.add(to, &result, 1);
    }

    /// An IPv6 socket reaches IPv4 through mapped addresses (RFC 4291 section 2.5.5.2).
    fn mapped(&self, to: SocketAddr) -> SocketAddr {
        match to {
            SocketAddr::V4(v4) if self.ipv6 => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
            SocketAddr::V4(_) | SocketAddr::V6(_) => to,
        }
    }
}

impl AsFd for LaneSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The address without the mapping.
fn plain(from: SocketAddr) -> SocketAddr {
    SocketAddr::new(from.ip().to_canonical(), from.port())
}

/// "Don't fragment" on everything, and no belief in ICMP about the path: anybody can send that.
fn never_fragment(socket: BorrowedFd<'_>, ipv6: bool) -> io::Result<()> {
    if ipv6 {
        sys::set_socket_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)?;
    }
    sys::set_socket_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
}

/// Large buffers: beyond the system's limit with `CAP_NET_ADMIN`, else up to it.
fn enlarge(socket: &Socket) -> io::Result<()> {
    let force = |option| sys::set_socket_option(socket.as_fd(), libc::SOL_SOCKET, option, BUFFER);
    let bytes = usize::try_from(BUFFER).unwrap_or_default();
    force(libc::SO_RCVBUFFORCE).or_else(|_| socket.set_recv_buffer_size(bytes))?;
    force(libc::SO_SNDBUFFORCE).or_else(|_| socket.set_send_buffer_size(bytes))
}

#[cfg(test)]
#[path = "udp_tests.rs"]
mod tests;
