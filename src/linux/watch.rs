//! Says when the kernel's tables or the packet filter change, so that drift is repaired at once. What changed is not read: the next
//! [`super::Kernel::observe`] shows it, and our own changes wake us too and find nothing left to do.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};

use super::poll::Poll;

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

    /// Waits until something changes; false where `timeout` came first. What has piled up counts as one change.
    ///
    /// # Errors
    /// Of `epoll_wait(2)`.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<bool> {
        self.poll.wait(Some(timeout))?;
        let changed = self.poll.ready().next().is_some();
        self.clear();
        Ok(changed)
    }

    /// Forgets all notices so far. Call it before reading the kernel, so that nothing that happens meanwhile is missed.
    pub fn clear(&mut self) {
        let mut buffer = [0_u8; 8192];
        for socket in std::iter::once(&self.route).chain(&self.netfilter) {
            loop {
                match socket.recv(&mut &mut buffer[..], 0) {
                    Ok(_) => {}
                    // Notices were lost: there is something to look at, and the rest is still to be taken.
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        }
    }

    /// Descriptors to wait for in a loop of one's own; call [`Watch::clear`] when one is readable.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(&self.route).chain(&self.netfilter).map(AsFd::as_fd)
    }
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
