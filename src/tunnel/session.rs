//! An established session: two keys, two counters, a replay window (whitepaper 5.4.5, 5.4.6, 6.2).

use std::time::Duration;

use super::aead::Key;
use super::callers::From;
use super::drops::DropReason;
use super::limits::{
    PADDING, REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES, REKEY_AFTER_TIME, REKEY_ON_RECEIVE,
    REKEY_TIMEOUT, REKEY_YIELD,
};
use super::message::{TAG, data, read_data, write_data};
use super::noise::Keys;
use super::tai64n::Tai64n;
use super::window::Window;
use crate::table::Suite;
use crate::types::{Mono, PublicKey};

/// Who made a session, which is whom it falls to to replace it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// We did, by sending message 1.
    Initiator,
    /// We did, while the peer made another one in the same moment: it replaces both, and we only if it does not.
    Yielding,
    /// The peer did.
    Responder,
}

/// Our static key and the peer's.
pub(super) type Pair = (PublicKey, PublicKey);

/// What a session is made of.
pub(super) struct Made {
    pub(super) suite: Suite,
    pub(super) keys: Keys,
    /// Our static key and the peer's.
    pub(super) pair: Pair,
    /// Whether we sent message 1, and then, whether the peer did so too and goes first when it is to be replaced.
    pub(super) role: Role,
    /// Our index: what the peer writes into its messages.
    pub(super) local: u32,
    /// The peer's index: what we write into ours.
    pub(super) remote: u32,
    pub(super) now: Mono,
}

/// A session. Its keys are wiped when it is dropped.
pub(super) struct Session {
    pub(super) local: u32,
    pub(super) pair: Pair,
    remote: u32,
    role: Role,
    born: Mono,
    /// When the peer was last heard in it; at first, when it was made.
    heard: Mono,
    send: Key,
    receive: Key,
    /// The counter of the next message.
    counter: u64,
    window: Window,
    /// The timestamp of the peer's call that asked for it, until the caller has shown by a message in it that it has the PSK.
    asked: Option<Tai64n>,
    /// Nothing tells yet that it is the peer's: it was asked for from somewhere else than where the peer was.
    doubtful: bool,
}

impl Session {
    pub(super) fn new(made: Made) -> Self {
        let Keys { initiator, responder } = made.keys;
        let (send, receive) = match made.role {
            Role::Initiator | Role::Yielding => (initiator, responder),
            Role::Responder => (responder, initiator),
        };
        Self {
            local: made.local,
            pair: made.pair,
            remote: made.remote,
            role: made.role,
            born: made.now,
            heard: made.now,
            send: Key::new(made.suite, &send),
            receive: Key::new(made.suite, &receive),
            counter: 0,
            window: Window::new(),
            asked: None,
            doubtful: false,
        }
    }

    /// A session that a call with this timestamp asked for, from where the peer is `known` to be or not.
    pub(super) fn called(self, stamp: Tai64n, known: bool) -> Self {
        Self { asked: Some(stamp), doubtful: !known, ..self }
    }

    /// After a message was opened in it: whose call it was, under which key and with which timestamp. Once.
    pub(super) fn shown(&mut self) -> Option<(PublicKey, Tai64n)> {
        let stamp = self.asked.take()?;
        self.doubtful = false;
        Some((self.pair.1, stamp))
    }

    /// How old it is.
    pub(super) const fn age(&self, now: Mono) -> Duration {
        now.since(self.born)
    }

    /// Whether messages in it are refused by now.
    fn expired(&self, now: Mono) -> bool {
        self.age(now) >= REJECT_AFTER_TIME
    }

    /// Whether a message may be sent in it.
    pub(super) fn usable(&self, now: Mono) -> bool {
        self.age(now) < REJECT_AFTER_TIME && self.counter < REJECT_AFTER_MESSAGES
    }

    /// Whether, having sent in it, we are to replace it. By age only who initiated it does, so that not both ends do.
    pub(super) fn stale_on_send(&self, now: Mono) -> bool {
        let aged = match self.role {
            Role::Initiator => self.age(now) >= REKEY_AFTER_TIME,
            Role::Yielding => self.age(now) >= REKEY_AFTER_TIME + REKEY_YIELD,
            Role::Responder => false,
        };
        aged || self.counter >= REKEY_AFTER_MESSAGES
    }

    /// Whether, having received in it, we are to replace it before it runs out.
    pub(super) fn stale_on_receive(&self, now: Mono) -> bool {
        self.role != Role::Responder && self.age(now) >= REKEY_ON_RECEIVE
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

    /// Opens a data message in place; gives its payload and by how much the newest counter has advanced with it; zero: it is late.
    pub(super) fn open<'a>(&mut self, datagram: &'a mut [u8], now: Mono) -> Result<(&'a mut [u8], u64), DropReason> {
        let (_, counter) = read_data(datagram);
        if self.expired(now) {
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
        self.heard = now;
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

/// The sessions that a peer can have at once.
///
/// Those that wait for the peer's first message are kept apart by where the call came from, and the newest two of each: neither somebody
/// who calls with a stolen key from elsewhere nor a call that was late ends one that the peer is about to use.
///
/// WireGuard keeps one that was replaced. Where both ends initiate at once that is one too few: each end then makes two sessions
/// while packets in the old one are still on their way, so two are kept, and what goes is what the peer was silent in for longest.
#[derive(Default)]
pub(super) struct Sessions {
    previous: [Option<Box<Session>>; 2],
    current: Option<Box<Session>>,
    /// By [`From`], newest first.
    next: [[Option<Box<Session>>; 2]; 2],
}

/// Indices of sessions that ended: at most of all.
pub(super) type Ended = [Option<u32>; 7];

impl Sessions {
    /// The session that we send in.
    pub(super) fn current(&self) -> Option<&Session> {
        self.current.as_deref()
    }

    /// The newest session that waits for the first message of the peer, which called from where it is.
    pub(super) fn next(&self) -> Option<&Session> {
        self.next[From::Known as usize][0].as_deref()
    }

    /// The session that we send in, if it may be sent in.
    pub(super) fn usable(&mut self, now: Mono) -> Option<&mut Session> {
        self.current.as_deref_mut().filter(|session| session.usable(now))
    }

    /// Whether there is no session at all.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self, Self { previous: [None, None], current: None, next: [[None, None], [None, None]] })
    }

    /// The session whose local index this is. Most packets are for the current one.
    pub(super) fn find(&mut self, local: u32) -> Option<(&mut Session, Place)> {
        if self.current.as_deref().is_some_and(|session| session.local == local) {
            return Some((self.current.as_deref_mut()?, Place::Current));
        }
        let next = self.next.iter_mut().flatten().map(|session| (session, Place::Next));
        let previous = self.previous.iter_mut().map(|session| (session, Place::Previous));
        let mut held = next.chain(previous).filter_map(|(session, place)| Some((session.as_deref_mut()?, place)));
        held.find(|(session, _)| session.local == local)
    }

    /// We initiated and the response came: this one is confirmed, and is sent in from now on. Unconfirmed ones that the
    /// peer initiated meanwhile are kept to receive in: the peer may be sending in one already.
    pub(super) fn initiated(&mut self, session: Session, now: Mono) -> Ended {
        let older = self.current.replace(Box::new(session));
        let [[a, b], [c, d]] = std::mem::take(&mut self.next);
        self.retire([a, b, c, d, older], now)
    }

    /// The peer initiated and we responded: this one waits for the peer's first message in it. Until then the peer sends in what
    /// there was before, so nothing else ends.
    pub(super) fn responded(&mut self, session: Session, from: From) -> Ended {
        let [newest, other] = &mut self.next[from as usize];
        let newest = newest.replace(Box::new(session));
        let ended = std::mem::replace(other, newest);
        [index(ended), None, None, None, None, None, None]
    }

    /// The peer's first message in the session of this local index came, which waited for it. The others go on waiting: the peer may
    /// have called again meanwhile.
    pub(super) fn confirmed(&mut self, local: u32, now: Mono) -> Ended {
        let mut waiting = self.next.iter_mut().flatten();
        let Some(next) = waiting.find_map(|session| session.take_if(|session| session.local == local)) else {
            return Ended::default();
        };
        let older = self.current.replace(next);
        self.retire([older, None, None, None, None], now)
    }

    /// Keeps these to receive in, as far as there is room and they are young enough; gives the indices of those that end.
    fn retire(&mut self, sessions: [Option<Box<Session>>; 5], now: Mono) -> Ended {
        let [a, b] = std::mem::take(&mut self.previous);
        let [c, d, e, f, g] = sessions;
        let mut all = [a, b, c, d, e, f, g];
        let worth = |session: &Option<Box<Session>>| {
            session.as_ref().filter(|session| !session.expired(now)).map(|session| (!session.doubtful, session.heard))
        };
        all.sort_unstable_by_key(|session| std::cmp::Reverse(worth(session)));
        let [first, second, ended @ ..] = all;
        let ended = ended.map(index);
        let [mut first, mut second] = [first, second];
        let expired = [&mut first, &mut second].map(|kept| index(kept.take_if(|session| session.expired(now))));
        self.previous = [first, second];
        let [a, b, c, d, e] = ended;
        [expired[0], expired[1], a, b, c, d, e]
    }

    /// Ends those that were made under other pairs of keys than these.
    pub(super) fn keep(&mut self, holds: impl Fn(&Pair) -> bool) -> Ended {
        self.end(|session| !holds(&session.pair))
    }

    /// Ends all but those that the peer called for just now.
    pub(super) fn end_but_young_calls(&mut self, now: Mono) -> Ended {
        self.end(|session| session.asked.is_none() || session.age(now) >= REKEY_TIMEOUT)
    }

    /// Ends all.
    pub(super) fn clear(&mut self) -> Ended {
        self.end(|_| true)
    }

    /// Ends those of which this is true.
    fn end(&mut self, which: impl Fn(&Session) -> bool) -> Ended {
        let Self { previous: [a, b], current, next: [[c, d], [e, f]] } = self;
        [a, b, c, d, e, f, current].map(|session| index(session.take_if(|session| which(session))))
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
        self.previous.iter().chain(self.next.iter().flatten()).chain([&self.current]).flatten().count()
    }
}
