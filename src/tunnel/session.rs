//! An established session: two keys, two counters, a replay window (whitepaper 5.4.5, 5.4.6, 6.2).

use std::time::Duration;

use super::aead::Key;
use super::drops::DropReason;
use super::limits::{
    PADDING, REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES, REKEY_AFTER_TIME, REKEY_ON_RECEIVE,
};
use super::message::{TAG, data, read_data, write_data};
use super::noise::Keys;
use super::window::Window;
use crate::table::Suite;
use crate::types::Mono;

/// What a session is made of.
pub(super) struct Made {
    pub(super) suite: Suite,
    pub(super) keys: Keys,
    /// Whether we sent message 1.
    pub(super) initiator: bool,
    /// Our index: what the peer writes into its messages.
    pub(super) local: u32,
    /// The peer's index: what we write into ours.
    pub(super) remote: u32,
    pub(super) now: Mono,
}

/// A session. Its keys are wiped when it is dropped.
pub(super) struct Session {
    pub(super) local: u32,
    remote: u32,
    initiator: bool,
    born: Mono,
    send: Key,
    receive: Key,
    /// The counter of the next message.
    counter: u64,
    window: Window,
}

impl Session {
    pub(super) fn new(made: Made) -> Self {
        let Keys { initiator, responder } = made.keys;
        let (send, receive) = if made.initiator { (initiator, responder) } else { (responder, initiator) };
        Self {
            local: made.local,
            remote: made.remote,
            initiator: made.initiator,
            born: made.now,
            send: Key::new(made.suite, &send),
            receive: Key::new(made.suite, &receive),
            counter: 0,
            window: Window::new(),
        }
    }

    const fn age(&self, now: Mono) -> Duration {
        now.since(self.born)
    }

    /// Whether a message may be sent in it.
    pub(super) fn usable(&self, now: Mono) -> bool {
        self.age(now) < REJECT_AFTER_TIME && self.counter < REJECT_AFTER_MESSAGES
    }

    /// Whether, having sent in it, we are to replace it. By age only who initiated it does, so that not both ends do.
    pub(super) fn stale_on_send(&self, now: Mono) -> bool {
        self.counter >= REKEY_AFTER_MESSAGES || (self.initiator && self.age(now) >= REKEY_AFTER_TIME)
    }

    /// Whether, having received in it, we are to replace it before it runs out.
    pub(super) fn stale_on_receive(&self, now: Mono) -> bool {
        self.initiator && self.age(now) >= REKEY_ON_RECEIVE
    }

    /// Seals the payload `buf[HEADER..HEADER + len]`, padded to a multiple of 16 as far as `buf` reaches; gives the datagram's
    /// length. The session is [`Self::usable`].
    pub(super) fn seal(&mut self, buf: &mut [u8], len: usize) -> Result<usize, DropReason> {
        let room = buf.len().checked_sub(data::MIN).filter(|room| len <= *room).ok_or(DropReason::NoRoom)?;
        let padded = len.next_multiple_of(PADDING).min(room);
        let counter = self.counter;
        self.counter += 1;
        let (header, rest) = buf.split_at_mut(data::HEADER);
        let (text, rest) = rest.split_at_mut(padded);
        text[len..].fill(0);
        write_data(header, self.remote, counter);
        let tag = self.send.seal(counter, &[], text).map_err(|_| DropReason::SealFailed)?;
        rest[..TAG].copy_from_slice(&tag);
        Ok(data::MIN + padded)
    }

    /// Opens a data message in place; gives its payload and whether its counter is the newest yet.
    pub(super) fn open<'a>(&mut self, datagram: &'a mut [u8], now: Mono) -> Result<(&'a mut [u8], bool), DropReason> {
        let (_, counter) = read_data(datagram);
        if self.age(now) >= REJECT_AFTER_TIME {
            return Err(DropReason::SessionExpired);
        }
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(DropReason::CounterLimit);
        }
        if !self.window.fresh(counter) {
            return Err(DropReason::Replayed);
        }
        let sealed = &mut datagram[data::HEADER..];
        let payload = self.receive.open(counter, &[], sealed).map_err(|_| DropReason::DataForged)?;
        Ok((payload, self.window.commit(counter)))
    }
}

/// The place of a session among a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Replaced; what is still on its way in it is accepted.
    Previous,
    /// What we send in.
    Current,
    /// We answered an initiation and the initiator has not yet shown that it got the answer.
    Next,
}

/// The three sessions that a peer can have at once.
#[derive(Default)]
pub(super) struct Sessions {
    previous: Option<Box<Session>>,
    current: Option<Box<Session>>,
    next: Option<Box<Session>>,
}

/// Indices of sessions that ended.
pub(super) type Ended = [Option<u32>; 2];

impl Sessions {
    /// The session that we send in.
    pub(super) fn current(&self) -> Option<&Session> {
        self.current.as_deref()
    }

    /// The session that we send in, if it may be sent in.
    pub(super) fn usable(&mut self, now: Mono) -> Option<&mut Session> {
        self.current.as_deref_mut().filter(|session| session.usable(now))
    }

    /// Whether there is no session at all.
    pub(super) const fn is_empty(&self) -> bool {
        self.previous.is_none() && self.current.is_none() && self.next.is_none()
    }

    /// The session whose local index this is. Most packets are for the current one.
    pub(super) fn find(&mut self, local: u32) -> Option<(&mut Session, Place)> {
        [(&mut self.current, Place::Current), (&mut self.next, Place::Next), (&mut self.previous, Place::Previous)]
            .into_iter()
            .find_map(|(session, place)| session.as_deref_mut().filter(|s| s.local == local).map(|s| (s, place)))
    }

    /// We initiated and the response came: this one is confirmed, and is sent in from now on. An unconfirmed one that the
    /// peer initiated meanwhile is kept to receive in: the peer may be sending in it already.
    pub(super) fn initiated(&mut self, session: Session) -> Ended {
        let older = self.current.replace(Box::new(session));
        match self.next.take() {
            Some(next) => [index(self.previous.replace(next)), index(older)],
            None => [index(std::mem::replace(&mut self.previous, older)), None],
        }
    }

    /// The peer initiated and we responded: this one waits for the peer's first message in it.
    pub(super) fn responded(&mut self, session: Session) -> Ended {
        [index(self.next.replace(Box::new(session))), index(self.previous.take())]
    }

    /// The peer's first message in the next session came.
    pub(super) fn confirmed(&mut self) -> Ended {
        let Some(next) = self.next.take() else { return Ended::default() };
        let older = self.current.replace(next);
        [index(std::mem::replace(&mut self.previous, older)), None]
    }

    /// Ends all.
    pub(super) fn clear(&mut self) -> [Option<u32>; 3] {
        [index(self.previous.take()), index(self.current.take()), index(self.next.take())]
    }
}

fn index(session: Option<Box<Session>>) -> Option<u32> {
    session.map(|session| session.local)
}

/// What tests need to see or to bring about.
#[cfg(test)]
impl Sessions {
    /// The current session goes on at `counter`, so that a test need not send 2^60 messages.
    pub(super) fn skip_to(&mut self, counter: u64) {
        self.current.as_deref_mut().unwrap().counter = counter;
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        [&self.previous, &self.current, &self.next].into_iter().flatten().count()
    }
}
