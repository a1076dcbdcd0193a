//! Echoes inside a tunnel: what probes of a path and its answers look like in each payload form.

use std::net::Ipv4Addr;

use super::buffer::Pool;
use super::drops::DropReason;
use super::form::Wrap;
use super::table::{Form, Table};
use super::train::{Outgoing, line_up};
use crate::types::PeerSlot;
use crate::wire::Header;
use crate::wire::compact::Content;
use crate::wire::ip::{self, Ipv4};
use crate::wire::oam::{Kind, Oam};
use crate::wire::ping::Ping;

/// An echo reply that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// Who answered.
    pub peer: PeerSlot,
    /// What the request said.
    pub token: u64,
    /// Bytes of payload in which the request had arrived there. None: a foreign peer does not say.
    pub size: Option<u16>,
}

/// A question or an answer about the plain path that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// Who said it; proved by the session.
    pub peer: PeerSlot,
    /// What.
    pub message: Oam,
}

/// Lines up a control message of `len` bytes, filled up with zeros and not padded, for a peer that speaks form B.
///
/// # Errors
/// [`DropReason::ControlMalformed`]: `len` has no room for the message. [`DropReason::NoBuffer`].
pub fn echo(
    kind: Kind,
    token: u64,
    len: usize,
    peer: PeerSlot,
    pool: &mut Pool,
    trains: &mut Vec<Outgoing>,
) -> Result<(), DropReason> {
    if len < Oam::LEN {
        return Err(DropReason::ControlMalformed);
    }
    let wrap = Wrap::Compact(Content::Control);
    let payload = line_up(trains, pool, peer, wrap.len() + len, 0)?;
    let (head, body) = payload.split_at_mut(wrap.len());
    body.fill(0);
    Oam { kind, token }.emit(body).map_err(|_| DropReason::ControlMalformed)?;
    wrap.write(head, len)
}

/// An echo request alone in its train, as a payload of exactly `len` bytes: the peer's daemon answers a control message (form B), a
/// foreign peer's system a ping of its tunnel address (form A).
///
/// # Errors
/// [`DropReason::PeerGone`]; [`DropReason::NoTunnelAddress`]; [`DropReason::ControlMalformed`]: `len` has no room for the
/// request, or is more than a packet holds; [`DropReason::NoBuffer`].
pub fn probe(
    table: &Table,
    peer: PeerSlot,
    token: u64,
    len: usize,
    pool: &mut Pool,
) -> Result<Option<Outgoing>, DropReason> {
    let mut alone = Vec::with_capacity(1);
    match table.form(peer).ok_or(DropReason::PeerGone)? {
        Form::Compact | Form::Session => {
            let wrap = Wrap::Compact(Content::Control);
            let message = len.checked_sub(wrap.len()).ok_or(DropReason::ControlMalformed)?;
            echo(Kind::EchoRequest, token, message, peer, pool, &mut alone)?;
        }
        Form::Standard { address } => {
            let own = table.tunnel_address().ok_or(DropReason::NoTunnelAddress)?;
            let total = u16::try_from(len).map_err(|_| DropReason::ControlMalformed)?;
            if len < Ipv4::LEN + Ping::LEN {
                return Err(DropReason::ControlMalformed);
            }
            ping(own, address, token, total, line_up(&mut alone, pool, peer, len, 0)?)
                .map_err(|_| DropReason::ControlMalformed)?;
        }
    }
    Ok(alone.pop())
}

fn ping(own: Ipv4Addr, theirs: Ipv4Addr, token: u64, total: u16, out: &mut [u8]) -> Result<(), crate::wire::WireError> {
    out.fill(0);
    let outer = Ipv4::whole(ip::ICMP, total, own, theirs);
    outer.emit(out)?;
    Ping { reply: false, token }.emit(&mut out[Ipv4::LEN..])
}
