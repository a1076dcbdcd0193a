//! Says when the kernel's tables or the packet filter change, so that drift is repaired at once. What changed is not read: the next
//! [`super::Kernel::observe`] shows it, and our own changes wake us too and find nothing left to do. The packet filter alone is
//! looked at more closely, because [`Watch::keep`] brings it back at once when others have touched it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{Socket, SocketAddr};

use super::attributes::attribute;
use super::ear;
use super::error::KernelError;
use super::keeper::Keeper;
use super::netfilter::{HEADERS, NEW_GENERATION, TABLE_NAME};
use super::netlink::{HEADER, half, word};
use super::poll::Poll;
use super::sys;
use crate::clock::mono;
use crate::node::fence_text::TABLE as FENCE;
use crate::node::guard::TABLE;
use crate::node::names;
use crate::types::Mono;

/// Multicast groups of rtnetlink (`RTMGRP_*` by number, linux/rtnetlink.h): links, neighbours and FDBs, addresses.
const ROUTE_GROUPS: [u32; 4] =
    [libc::RTNLGRP_LINK, libc::RTNLGRP_NEIGH, libc::RTNLGRP_IPV4_IFADDR, libc::RTNLGRP_IPV6_IFADDR];
/// `NFNLGRP_NFTABLES` (linux/netfilter/nfnetlink.h).
const NFTABLES_GROUP: u32 = 7;
/// Room for notices of packet filters that wait to be read, bytes.
const BUFFER: usize = 4 << 20;

/// How long links, neighbours and addresses are not listened to after they have said something. What is said meanwhile waits in the
/// socket, and what does not fit there is lost, which costs nothing: one look shows all of it. So a guest that makes the kernel learn
/// 200,000 addresses a second costs ten looks into the socket.
const PAUSE: Duration = Duration::from_millis(100);
/// Most datagrams that are taken at once: what fills the socket faster than it is read does not hold up the packet filters.
const TAKEN: usize = 1024;
/// The same of notices of packet filters, of which one transaction has many: it is judged as a whole.
const FILTERS_TAKEN: usize = 16 * 1024;
/// Tokens of the three sockets.
const ROUTE: u64 = 0;
const NETFILTER: u64 = 1;
const TABLES: u64 = 2;

/// What was heard until [`Watch::wait`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Nothing that matters.
    Nothing,
    /// Packet filters of others have changed, and nothing else.
    Filters,
    /// Something that the engine has to look at.
    Change,
}

/// Three sockets that receive the kernel's notices.
#[derive(Debug)]
pub struct Watch {
    route: Socket,
    /// The routing table of the plain path, and rules.
    table: Socket,
    netfilter: Option<Socket>,
    poll: Poll,
    filters: Keeper,
    /// Until then routes are not listened to.
    paused: Option<Mono>,
    /// Others have touched the guard, or the filter behind the guests' ports, since [`Watch::keep`] was last asked.
    touched: [bool; 2],
    /// Notices about packet filters were lost since then: any of them may have been touched.
    lost: bool,
}

impl Watch {
    /// Listens in the calling thread's network namespace.
    pub(super) fn open(filters: Keeper) -> io::Result<Self> {
        let route = listen(NETLINK_ROUTE, &ROUTE_GROUPS)?;
        // A kernel without nf_tables has no filter to watch; loading one says so in clearer words.
        let netfilter = listen(NETLINK_NETFILTER, &[NFTABLES_GROUP]).ok();
        let table = ear::open()?;
        let poll = Poll::new()?;
        poll.add(table.as_fd(), TABLES)?;
        poll.add(route.as_fd(), ROUTE)?;
        if let Some(netfilter) = &netfilter {
            poll.add(netfilter.as_fd(), NETFILTER)?;
            // A packet filter that is loaded or flushed is a notice for each of its rules, sets and elements.
            if sys::receive_buffer(netfilter, BUFFER).is_err() {
                netfilter.set_rx_buf_sz(i32::try_from(BUFFER).unwrap_or(i32::MAX))?;
            }
        }
        Ok(Self { route, table, netfilter, poll, filters, paused: None, touched: [false; 2], lost: false })
    }

    /// Waits until something changes, until it is time for [`Watch::untrack`], or for `timeout`. Neighbours of devices that are not ours are
    /// passed over. What has piled up counts as one change.
    ///
    /// # Errors
    /// Of `epoll_wait(2)`.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Notice> {
        let end = mono() + timeout;
        let end = self.filters.again().map_or(end, |again| again.min(end));
        loop {
            let now = mono();
            if self.paused.is_some_and(|until| until <= now) {
                self.poll.add(self.route.as_fd(), ROUTE)?;
                self.paused = None;
            }
            let until = self.paused.map_or(end, |until| until.min(end));
            self.poll.wait(Some(until.since(now)))?;
            let filters = self.read_filters();
            let mut changed = self.read_table() | (filters == Notice::Change);
            if self.poll.ready().any(|token| token == ROUTE) {
                changed |= self.read_route();
                self.poll.remove(self.route.as_fd())?;
                self.paused = Some(mono() + PAUSE);
            }
            let notice = if changed { Notice::Change } else { filters };
            if notice != Notice::Nothing || mono() >= end {
                return Ok(notice);
            }
        }
    }

    /// Forgets all notices so far; true if one of them may matter to us. Call it before reading the kernel, so that nothing that
    /// happens meanwhile is missed.
    pub fn clear(&mut self) -> bool {
        let changed = self.read_route() | self.read_table();
        self.read_filters() == Notice::Change || changed
    }

    fn read_route(&self) -> bool {
        let heard = drain(&self.route, TAKEN, |notices| !only_neighbours_of_others(notices));
        heard.matters || heard.lost
    }

    fn read_table(&self) -> bool {
        let heard = drain(&self.table, TAKEN, |_| true);
        heard.matters || heard.lost
    }

    fn read_filters(&mut self) -> Notice {
        let Some(netfilter) = &self.netfilter else { return Notice::Nothing };
        let (touched, filters, mut any) = (&mut self.touched, &self.filters, false);
        let heard = drain(netfilter, FILTERS_TAKEN, |notices| {
            any = true;
            let mut some = false;
            for (touched, table) in touched.iter_mut().zip([TABLE, FENCE]) {
                let by = who_touched(notices, table);
                *touched |= by.iter().any(|process| !filters.is_ours(*process));
                some |= !by.is_empty();
            }
            some
        });
        self.lost |= heard.lost;
        match heard.matters || heard.lost {
            true => Notice::Change,
            false if any => Notice::Filters,
            false => Notice::Nothing,
        }
    }

    /// Leaves VXLAN out of the host's table of connections from the first rule of others that looks at connections on: until the engine has
    /// looked, one guest could fill it. True: the guard was loaded again for it, or a rule that no such
    /// rule of ours holds against has come or gone.
    ///
    /// # Errors
    /// `nft` is missing or refuses.
    pub fn untrack(&self) -> Result<bool, KernelError> {
        self.filters.untrack()
    }

    /// Loads again each packet filter that others have touched since this was last asked; false where there was nothing to do.
    ///
    /// # Errors
    /// `nft` is missing or refuses.
    pub fn keep(&mut self) -> Result<bool, KernelError> {
        let [guard, fence] = std::mem::take(&mut self.touched);
        // The guard first: it keeps strangers out. One that fails does not keep the other away.
        let lost = std::mem::take(&mut self.lost);
        let guard = self.filters.guard.keep(guard, lost);
        let fence = self.filters.fence.keep(fence, lost);
        Ok(guard? | fence?)
    }

    /// Descriptors to wait for in a loop of one's own; call [`Watch::clear`] when one is readable.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.route, &self.table].into_iter().chain(&self.netfilter).map(AsFd::as_fd)
    }
}

/// What was heard.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    /// Something in it matters to us.
    matters: bool,
    /// Some notices did not fit the socket's buffer and were lost.
    lost: bool,
}

/// Takes what waits, up to `most`; `matters` is asked about each datagram.
fn drain(socket: &Socket, most: usize, mut matters: impl FnMut(&[u8]) -> bool) -> Heard {
    let (mut buffer, mut heard) = ([0_u8; 8192], Heard::default());
    for _ in 0..most {
        match socket.recv(&mut &mut buffer[..], 0) {
            Ok(len) => heard.matters |= matters(&buffer[..len.min(buffer.len())]),
            // The rest is still to be taken.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => heard.lost = true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return heard,
        }
    }
    heard
}

/// Processes that changed anything in a table of this name, by notices of nf_tables (`struct nlmsghdr`, `struct nfgenmsg`, attributes).
fn who_touched(mut notices: &[u8], table: &str) -> Vec<u32> {
    let mut processes = Vec::new();
    while let Some(length) = word(notices, 0).and_then(|length| usize::try_from(length).ok()) {
        let length = length.max(HEADERS);
        let kind = half(notices, 4);
        let ours = is_of(table, notices.get(HEADERS..length.min(notices.len())).unwrap_or_default());
        processes.extend(word(notices, 12).filter(|_| ours && kind != Some(NEW_GENERATION)));
        notices = notices.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    processes
}

/// True where the attributes (`struct nlattr`) are of something in this table.
fn is_of(table: &str, attributes: &[u8]) -> bool {
    let name = attribute(attributes, TABLE_NAME);
    name.is_some_and(|name| name.strip_suffix(&[0]) == Some(table.as_bytes()))
}

/// True for notices (`struct nlmsghdr` and `struct ndmsg`) that only say which IP neighbours a device has that is not
/// ours: on a host with many of them there are some every second, as entries are confirmed and grow old.
fn only_neighbours_of_others(mut notices: &[u8]) -> bool {
    let mut some = false;
    while let Some(length) = word(notices, 0).and_then(|length| usize::try_from(length).ok()) {
        let kind = half(notices, 4);
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

pub(super) fn listen(protocol: isize, groups: &[u32]) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    for group in groups {
        socket.add_membership(*group)?;
    }
    socket.set_non_blocking(true)?;
    Ok(socket)
}
