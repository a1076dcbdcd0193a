//! What a peer does when its deadlines come (whitepaper 6.3 to 6.5).

use super::common::Common;
use super::interface::Event;
use super::limits::REKEY_ATTEMPT_TIME;
use super::peer::Peer;
use super::timers::NEVER;
use crate::types::{Mono, Wall};

impl Peer {
    /// Does everything that is due. The order matters: what asks for a handshake comes before the initiation.
    pub(super) fn handle_timeout(&mut self, common: &mut Common, now: Mono, wall: Wall) {
        if self.timers.next() > now {
            return;
        }
        if self.timers.wipe <= now {
            self.wipe(common, now);
        }
        if self.timers.keepalive <= now {
            self.keepalive_due(common, now);
        }
        if self.timers.persistent <= now {
            // Without a session it asks for one, and sending the initiation sets it anew.
            self.timers.persistent = NEVER;
            self.keepalive(common, now);
        }
        if self.timers.silence <= now {
            self.timers.silence = NEVER;
            self.want_handshake(common, now);
        }
        if self.timers.initiate <= now {
            self.initiate_or_give_up(common, now, wall);
        }
    }

    /// Received data and sent nothing since: says that we are here. Sending clears the deadline, so the next one is set after.
    fn keepalive_due(&mut self, common: &mut Common, now: Mono) {
        let again = self.timers.keepalive_fired(now);
        self.keepalive(common, now);
        self.timers.keepalive = again;
    }

    fn initiate_or_give_up(&mut self, common: &mut Common, now: Mono, wall: Wall) {
        if self.unanswered.is_some_and(|since| now.since(since) >= REKEY_ATTEMPT_TIME) {
            self.give_up(common);
            if self.config.keepalive.is_none() {
                return;
            }
            // Who wants to be heard always goes on calling.
        }
        if self.endpoint.is_none() {
            self.timers.initiate = NEVER;
            return;
        }
        self.initiate(common, now, wall);
    }

    /// 90 s without an answer: no more initiations until somebody wants to send again.
    fn give_up(&mut self, common: &mut Common) {
        self.timers.initiate = NEVER;
        self.timers.keepalive = NEVER;
        self.unanswered = None;
        self.attempts = 0;
        self.forget_pending(common);
        self.drop_staged(common);
        common.report(Event::GaveUp { peer: self.config.slot });
    }

    /// The last keys are three lifetimes old. A call of the peer that was answered just now may yet come to something.
    fn wipe(&mut self, common: &mut Common, now: Mono) {
        let ended = self.sessions.end_but_young_calls(now);
        self.ended(ended, common);
        self.timers.wipe = NEVER;
        if !self.sessions.is_empty() {
            self.timers.keys_may_be(now);
        }
    }
}
