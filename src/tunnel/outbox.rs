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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_fill_the_memory_of_an_end_that_is_not_served() {
        let (mut outbox, mut drops) = (Outbox::default(), Drops::default());
        let to = SocketAddr::from(([192, 0, 2, 1], 1));
        for _ in 0..20 {
            outbox.send(to, vec![0; 1 << 20], &mut drops);
        }
        assert_eq!(drops.get(DropReason::OutboxFull), 4);
        assert!(outbox.datagram().is_some());
        outbox.send(to, vec![0; 1 << 20], &mut drops);
        assert_eq!(drops.get(DropReason::OutboxFull), 4, "what is fetched makes room");
        assert_eq!(std::iter::from_fn(|| outbox.datagram()).count(), 16);
        let event = Event::Up { peer: crate::types::PeerSlot(0) };
        for _ in 0..OUTBOX_EVENTS + 3 {
            outbox.report(event, &mut drops);
        }
        assert_eq!(drops.get(DropReason::OutboxFull), 7);
    }
}
