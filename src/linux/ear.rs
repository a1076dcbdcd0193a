//! Hears of changes to the routing table of the plain path and to the rules of the host, and of no other routes: on a router they
//! come by the hundred thousand, so the kernel itself passes over them (a classic BPF program on the socket).

use std::io;

use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use socket2::{SockFilter, SockRef};

use super::watch::listen;
use crate::node::onlink::TABLE;

/// Multicast groups of rtnetlink: routes and rules of both families.
const GROUPS: [u32; 4] =
    [libc::RTNLGRP_IPV4_ROUTE, libc::RTNLGRP_IPV6_ROUTE, libc::RTNLGRP_IPV4_RULE, libc::RTNLGRP_IPV6_RULE];
/// Where the kind of message stands in `struct nlmsghdr`.
const KIND: u32 = 4;
/// Where the number of the table stands: behind `struct nlmsghdr`, `struct rtmsg` and the head of the first attribute, which is
/// `RTA_TABLE` (`fib_dump_info`, net/ipv4/fib_semantics.c; `rt6_fill_node`, net/ipv6/route.c).
const NUMBER: u32 = 16 + 12 + 4;
/// `BPF_LD | BPF_ABS` of two and of four bytes, `BPF_JMP | BPF_JEQ | BPF_K`, `BPF_RET | BPF_K` (linux/bpf_common.h).
const LOAD_HALF: u16 = 0x28;
const LOAD_WORD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Opens it in the calling thread's network namespace.
pub(super) fn open() -> io::Result<Socket> {
    let socket = listen(NETLINK_ROUTE, &[])?;
    // Before the first notice.
    SockRef::from(&socket).attach_filter(&program())?;
    for group in GROUPS {
        socket.add_membership(group)?;
    }
    Ok(socket)
}

/// Rules, and routes of our table. BPF loads the first byte as the highest, so numbers of this machine's order are turned.
fn program() -> [SockFilter; 7] {
    let step = SockFilter::new;
    let kind = |kind: u16| u32::from(kind.to_be());
    [
        step(LOAD_HALF, 0, 0, KIND),
        step(EQUAL, 4, 0, kind(libc::RTM_NEWRULE)),
        step(EQUAL, 3, 0, kind(libc::RTM_DELRULE)),
        step(LOAD_WORD, 0, 0, NUMBER),
        step(EQUAL, 1, 0, TABLE.to_be()),
        step(RETURN, 0, 0, 0),
        step(RETURN, 0, 0, u32::MAX),
    ]
}
