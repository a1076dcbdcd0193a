//! What all questions to the kernel's packet filters by netlink have in common (`nf_tables`, linux/netfilter/nf_tables.h).

use std::io;

use netlink_packet_core::NLM_F_REQUEST;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::netlink::HEADER;

/// `struct nlmsghdr`, and `struct nfgenmsg` behind it.
pub(super) const HEADERS: usize = HEADER + 4;
/// More than a datagram of a dump.
pub(super) const BUFFER: usize = 64 * 1024;
/// `NFTA_*_TABLE`: the name of the table is the first kind of attribute of everything that is in one.
pub(super) const TABLE_NAME: u16 = 1;

/// `NFTA_RULE_EXPRESSIONS`.
pub(super) const EXPRESSIONS: u16 = 4;
/// `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`.
pub(super) const EXPRESSION_NAME: u16 = 1;
pub(super) const EXPRESSION_DATA: u16 = 2;
/// `NFTA_MATCH_NAME`; `NFTA_TARGET_NAME` has the same number.
pub(super) const MATCH_NAME: u16 = 1;
/// `NFTA_CHAIN_TYPE`.
pub(super) const CHAIN_TYPE: u16 = 7;

/// Kinds of messages: `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_*`.
pub(super) const GET_CHAIN: u16 = kind(4);
pub(super) const GET_RULE: u16 = kind(7);
pub(super) const GET_SET: u16 = kind(10);
pub(super) const GET_ELEMENT: u16 = kind(13);
/// Ends every transaction, whatever it was about.
pub(super) const NEW_GENERATION: u16 = kind(15);
pub(super) const GET_GENERATION: u16 = kind(16);
pub(super) const NEW_OBJECT: u16 = kind(18);
pub(super) const GET_OBJECT: u16 = kind(19);

const fn kind(message: u16) -> u16 {
    10 << 8 | message
}

/// A socket of the calling thread's namespace that asks.
///
/// # Errors
/// The kernel has none for us.
pub(super) fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// A question with these attributes behind its headers. `family` is a `NFPROTO_*`, 0 for all.
pub(super) fn question(kind: u16, flags: u16, family: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut message = vec![0; HEADERS];
    for (kind, value) in attributes {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(*value);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    message[HEADER] = family;
    message
}
