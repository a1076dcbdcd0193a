//! What waits to be fetched: datagrams and events. Both are bounded, for an owner that does not fetch.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::drops::{DropReason, Drops};
use super::interface::{Event, Transmit};
use super::limits::{OUTBOX_BYTES, OUTBOX_EVENTS};

/// Datagrams and events in order.
#[derive(Default)]
pub(super) struct Outbox {
    datagrams: VecDeque<Transmit>,
    bytes: usize,
    events: VecDeque<Event>,
}

impl Outbox {
    /// Adds a datagram.
    pub(super) fn send(&mut self, to: SocketAddr, datagram: Vec<u8>, drops: &mut Drops) {
        if self.bytes + datagram.len() > OUTBOX_BYTES {
            drops.count(DropReason::OutboxFull);
            return;
        }
        self.bytes += datagram.len();
        self.datagrams.push_back(Transmit { to, datagram });
    }

    /// Adds an event.
    pub(super) fn report(&mut self, event: Event, drops: &mut Drops) {
        if self.events.len() >= OUTBOX_EVENTS {
            drops.count(DropReason::OutboxFull);
            return;
        }
        self.events.push_back(event);
    }

    /// Takes the oldest datagram.
    pub(super) fn datagram(&mut self) -> Option<Transmit> {
        let transmit = self.datagrams.pop_front()?;
        self.bytes -= transmit.datagram.len();
        Some(transmit)
    }

    /// Takes the oldest event.
    pub(super) fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
