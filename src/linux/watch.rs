//! Says when the kernel's tables or the packet filter change, so that drift is repaired at once. What changed is not read: the next
//! [`super::Kernel::observe`] shows it, and our own changes wake us too and find nothing left to do.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};

use super::poll::Poll;
use super::sys;
use crate::node::names;

/// Multicast groups of rtnetlink (`RTMGRP_*` by number, linux/rtnetlink.h): links, neighbours and FDBs, addresses.
const ROUTE_GROUPS: [u32; 4] =
    [libc::RTNLGRP_LINK, libc::RTNLGRP_NEIGH, libc::RTNLGRP_IPV4_IFADDR, libc::RTNLGRP_IPV6_IFADDR];
/// `NFNLGRP_NFTABLES` (linux/netfilter/nfnetlink.h).
const NFTABLES_GROUP: u32 = 7;

/// Two sockets that receive the kernel's notices.
#[derive(Debug)]
pub struct Watch {
    route: Socket,
    netfilter: Option<Socket>,
    poll: Poll,
}

impl Watch {
    /// Listens in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let route = listen(NETLINK_ROUTE, &ROUTE_GROUPS)?;
        // A kernel without nf_tables has no filter to watch; loading one says so in clearer words.
        let netfilter = listen(NETLINK_NETFILTER, &[NFTABLES_GROUP]).ok();
        let poll = Poll::new()?;
        poll.add(route.as_fd(), 0)?;
        if let Some(netfilter) = &netfilter {
            poll.add(netfilter.as_fd(), 1)?;
        }
        Ok(Self { route, netfilter, poll })
    }

    /// Waits until something changes; false where `timeout` came first, and where only neighbours of devices changed that are not
    /// ours. What has piled up counts as one change.
    ///
    /// # Errors
    /// Of `epoll_wait(2)`.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        self.poll.wait(Some(timeout))?;
        Ok(self.clear())
    }

    /// Forgets all notices so far; true if one of them may matter to us. Call it before reading the kernel, so that nothing that
    /// happens meanwhile is missed.
    pub fn clear(&mut self) -> bool {
        let mut buffer = [0_u8; 8192];
        let mut changed = false;
        for (socket, route) in std::iter::once((&self.route, true)).chain(self.netfilter.iter().map(|s| (s, false))) {
            loop {
                match socket.recv(&mut &mut buffer[..], 0) {
                    Ok(len) => changed |= !route || !only_neighbours_of_others(&buffer[..len.min(buffer.len())]),
                    // Notices were lost: there is something to look at, and the rest is still to be taken.
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => changed = true,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        }
        changed
    }

    /// Descriptors to wait for in a loop of one's own; call [`Watch::clear`] when one is readable.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(&self.route).chain(&self.netfilter).map(AsFd::as_fd)
    }
}

/// True for notices (`struct nlmsghdr` and `struct ndmsg`) that only say which IP neighbours a device has that is not
/// ours: on a host with many of them there are some every second, as entries are confirmed and grow old.
fn only_neighbours_of_others(mut notices: &[u8]) -> bool {
    const HEADER: usize = 16;
    let word = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let mut some = false;
    while let Some(length) = word(notices, 0).and_then(|length| usize::try_from(length).ok()) {
        let kind = notices.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
        // What a bridge learns on a port of a guest matters, and the port is not ours: only IP neighbours are passed over.
        let family = notices.get(HEADER).map(|family| i32::from(*family));
        let neighbour = matches!(kind, Some(libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH))
            && matches!(family, Some(libc::AF_INET | libc::AF_INET6));
        let (Some(index), true) = (word(notices, HEADER + 4), neighbour) else { return false };
        // A device that is gone has its own notice.
        let ours = sys::interface_name(index).is_ok_and(|name| names::parse(&name).is_some());
        if ours {
            return false;
        }
        some = true;
        notices = notices.get(length.max(HEADER).next_multiple_of(4)..).unwrap_or_default();
    }
    some
}

fn listen(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    socket.set_non_blocking(true)?;
    Ok(socket)
}
