//! How guests stand at the other end: asked of their own nodes by the session, and answered to those who ask.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::shared::Shared;
use super::status;
use crate::api::local::{Explanation, Finding};
use crate::clock::mono;
use crate::node::concerns::{self, Way};
use crate::node::doubts::Others;
use crate::node::end::{self, Here, Stands};
use crate::table::Slice;
use crate::types::{Mono, NodeId, PeerSlot};
use crate::wire::oam::{Kind, Oam};

/// How long an answer may take: each of the two daemons looks twice a second.
const PATIENCE: Duration = Duration::from_millis(2500);
/// How often the question is sent: one datagram may be lost.
const AGAIN: Duration = Duration::from_millis(900);
/// How often it is looked for an answer.
const LOOK: Duration = Duration::from_millis(25);
/// How long what is wrong here counts for answers: who asks often gets the same.
const KEPT: Duration = Duration::from_millis(500);

/// Questions under way, and what was answered.
#[derive(Debug, Default)]
pub(super) struct Asked(Mutex<BTreeMap<Question, Option<Stands>>>);

/// Whom, the token, and the UDP port of the overlay.
type Question = (PeerSlot, u64, u16);

impl Asked {
    fn open(&self) -> MutexGuard<'_, BTreeMap<Question, Option<Stands>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer has answered. What nobody waits for is nothing.
    pub(super) fn told(&self, peer: PeerSlot, message: Oam, stands: u8) {
        let Kind::GuestTell { udp_port, .. } = message.kind else { return };
        if let Some(answer) = self.open().get_mut(&(peer, message.token, udp_port)) {
            *answer = Some(Stands::of(stands));
        }
    }
}

/// What is wrong with this node, as of a moment ago.
#[derive(Debug, Default)]
pub(super) struct Known(Option<(Mono, Vec<Finding>)>);

impl Known {
    /// Answers a peer that asks about a guest of this node.
    pub(super) fn answer(&mut self, shared: &Shared, peer: PeerSlot, question: Oam, now: Mono) -> Option<Oam> {
        if self.0.as_ref().is_none_or(|(at, _)| now.since(*at) > KEPT) {
            self.0 = Some((now, status::all(shared)));
        }
        let (_, findings) = self.0.as_ref()?;
        let view = shared.view();
        let (slice, name) = (view.slice.as_deref()?, view.slots.peer_name(peer)?);
        let others = Others { book: Some(&view.book), queues: Some(&view.queues) };
        let outgoing = shared.outgoing.borrow();
        let here = Here { slice, presence: &view.presence, found: &outgoing.ports, findings, others };
        let path = |net: &crate::table::NetKey| Some(view.paths.get(net)?.get(name)?.path);
        end::answer(here, name, path, question)
    }
}

/// Adds what the receiver's node says of it, where that is another one.
pub(super) async fn add(shared: &Arc<Shared>, slice: &Slice, explanation: &mut Explanation) {
    let Some((To { node, peer, look }, [to, from])) = questions(shared, slice, explanation) else { return };
    let Some(peer) = peer else {
        explanation.steps.push(end::unanswered(&node, &look));
        return concerns::settle(explanation);
    };
    let (to, from) = tokio::join!(ask(shared, peer, to), ask(shared, peer, from));
    let mut steps = vec![match to {
        Some(Stands::Named) => end::named(&node, "receiver", &look),
        Some(stands) => stands.step(&node, &look),
        None => end::unanswered(&node, &look),
    }];
    // An earlier version says nothing of guests that are not its own.
    steps.extend((from == Some(Stands::Named)).then(|| end::named(&node, "sender", &look)));
    explanation.steps.extend(steps);
    concerns::settle(explanation);
}

/// Who is asked: the receiver's node, by its place in the lanes, if it has one; and what is asked on that node itself.
struct To {
    node: NodeId,
    peer: Option<PeerSlot>,
    look: String,
}

/// Which node is asked what: about the receiver, and about the sender; without a place in the lanes nobody can be asked. A frame that does not get there needs no question.
fn questions(shared: &Shared, slice: &Slice, explanation: &Explanation) -> Option<(To, [Oam; 2])> {
    let view = shared.view();
    let way = Way::of(explanation, slice, &view.paths, None)?;
    let (key, row) = way.to.filter(|(_, row)| row.node != slice.node && explanation.may_arrive())?;
    let network = slice.networks.get(&way.net)?;
    let meshd = slice.peers.get(&row.node).is_some_and(|peer| peer.foreign.is_none());
    let peer = view.slots.peer(&row.node).filter(|_| meshd);
    let asks = [key.mac, way.from.mac].map(|mac| end::ask(&way.net, network.udp_port, mac));
    let look = end::look(row.port.as_ref(), key.mac, &explanation.from);
    Some((To { node: row.node.clone(), peer, look }, asks))
}

async fn ask(shared: &Arc<Shared>, peer: PeerSlot, question: Oam) -> Option<Stands> {
    let Kind::GuestAsk { udp_port, .. } = question.kind else { return None };
    let key = (peer, question.token, udp_port);
    let (started, mut said) = (mono(), None);
    let answer = loop {
        let now = mono();
        // Somebody who asks the same may have ended just now.
        let answer = *shared.watch.ends.open().entry(key).or_default();
        if answer.is_some() || now.since(started) > PATIENCE {
            break answer;
        }
        if said.is_none_or(|at| now.since(at) > AGAIN) {
            said = Some(now);
            let lanes = Arc::clone(shared);
            // A lane may be about to be started anew, under the lock that this waits for.
            let _ = super::control::aside(move || lanes.lanes.say(vec![(peer, question)])).await;
        }
        tokio::time::sleep(LOOK).await;
    };
    shared.watch.ends.open().remove(&key);
    answer
}
