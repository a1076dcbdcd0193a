//! The stream of one node: its slice, then what changes, then a sign of life every two seconds. It resumes from what the node
//! says it has, and ends with [`Message::Removed`] when the node is no member any more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

use super::answers::Answers;
use super::app::{App, blocking};
use super::core::View;
use super::hub::{Contests, Made};
use crate::api::stream::{Answer, Contested, Message, PeerWord};
use crate::mgmt::audit::Origin;
use crate::mgmt::found::Claimed;
use crate::mgmt::limits;
use crate::node::questions;
use crate::table::Delta;
use crate::transport::server::stopped;
use crate::types::{NodeId, PortId, Version, Wall};

/// Longest silence on a healthy stream.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Changes that come within this time go out as one.
const BURST: Duration = Duration::from_millis(20);
/// Longest sleep until the end of a certificate.
const CLOCK_LOOK: Duration = Duration::from_secs(60);
/// A node that takes no line for this long is gone.
const STALLED: Duration = Duration::from_secs(30);

/// What the node says it has.
#[derive(Debug, Clone)]
pub(super) struct Resume {
    /// Its slice's version.
    pub(super) version: Version,
    /// Its slice's hash; empty: it has none.
    pub(super) hash: String,
}

/// A body that grows line by line.
pub(super) struct Lines(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

/// The sending end of a body of lines.
pub(super) struct Writer(mpsc::Sender<Bytes>);

/// A body of lines and the end that writes them.
pub(super) fn lines() -> (Writer, Body) {
    let (sender, receiver) = mpsc::channel(2);
    (Writer(sender), Body::new(Lines(receiver)))
}

impl Writer {
    /// Writes one line; false: nobody takes it any more.
    pub(super) async fn line(&self, value: &(impl Serialize + Sync)) -> bool {
        let Ok(mut line) = serde_json::to_vec(value) else { return false };
        line.push(b'\n');
        self.0.send_timeout(line.into(), STALLED).await.is_ok()
    }

    /// Ends when nobody reads any more.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// Counts a stream as open for as long as it lives.
struct Presence {
    app: Arc<App>,
    node: NodeId,
    /// Its number, and that of the newest: a node has one stream, and who opens another has lost the one before.
    number: u64,
    newest: tokio::sync::watch::Receiver<u64>,
    /// Does it say itself that it is there? Where it does, nothing else counts.
    answers: bool,
}

impl Presence {
    fn new(app: &Arc<App>, node: &NodeId, answers: bool) -> Self {
        let (number, newest) = app.hub.with(node, |seat| {
            seat.streams += 1;
            (seat.left, seat.unreported) = (false, false);
            seat.seen = Some(crate::clock::wall());
            seat.newest.send_modify(|newest| *newest += 1);
            (*seat.newest.borrow(), seat.newest.subscribe())
        });
        Self { app: Arc::clone(app), node: node.clone(), number, newest, answers }
    }

    /// Ends when the node has opened another stream.
    async fn replaced(&mut self) {
        let number = self.number;
        // A seat that is gone is a removed node's, whose streams end by themselves.
        if self.newest.wait_for(|newest| *newest != number).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Its seat is gone: one that is there now is of another machine.
        if self.newest.has_changed().is_err() {
            return;
        }
        self.app.hub.with(&self.node, |seat| {
            seat.streams = seat.streams.saturating_sub(1);
            if !self.answers {
                seat.seen = Some(crate::clock::wall());
            }
        });
    }
}

/// The slice that the node has now: the content, under the version that the node calls it by.
struct Held {
    version: Version,
    made: Arc<Made>,
}

/// Runs the stream of a node that authenticated with `key`, until it is read no more, the node answers no more, the server stops, or the
/// certificate ends (at `ends`) and no newer one was given to the node.
pub(super) async fn run(
    app: Arc<App>,
    (node, key): (NodeId, String),
    ends: Wall,
    resume: Resume,
    (writer, mut answers): (Writer, Answers),
) {
    let mut presence = Presence::new(&app, &node, answers.promised());
    let seen = |answer: Answer| {
        app.hub.with(&node, |seat| (seat.seen, seat.unreported) = (Some(crate::clock::wall()), answer.unreported));
    };
    let (mut views, mut contests, mut stop) = (app.core.watch(), app.hub.contests(), app.stop.clone());
    let mut held: Option<Held> = None;
    let mut first = true;
    loop {
        let view = views.borrow_and_update().clone();
        if !is_member(&view, &node, &key) {
            tracing::info!(%node, "removed; its stream ends");
            writer.line(&Message::Removed).await;
            drop(presence);
            if view.index.state.nodes.get(&node).is_some_and(|node| node.status.tls_key.is_some()) {
                // Another machine has its place, and what is known of that one stays.
                return;
            }
            app.hub.forget(&node);
            app.measured().forget(&node);
            app.interfaces().forget(&node);
            return;
        }
        if view.index.state.nodes.get(&node).is_some_and(|node| node.status.quarantined.is_some()) {
            return;
        }
        let Some(made) = make(&app, &node, &view).await else { return };
        if std::mem::take(&mut first) {
            compare(&app, &node, resume.version, view.version).await;
            held = resumed(&app, &node, &resume, &made, view.version);
        }
        let contested = contested(&contests.borrow_and_update(), &view, &node);
        let words = app.hub.uplinks().of(&node, made.slice.peers.keys());
        let (message, next) = message(held, made, &view, (&contested, &words));
        app.hub.with(&node, |seat| seat.called = Some((Arc::clone(&next.made), next.version)));
        held = Some(next);
        // What changes hides what is contested; a guest that has moved is waited for.
        let says = matches!(message, Message::Current { .. }) || contested.is_empty();
        let more = (!says).then(|| current_line(&view, (&contested, &words)));
        let both = async {
            writer.line(&message).await
                && match &more {
                    Some(more) => writer.line(more).await,
                    None => true,
                }
        };
        let taken = tokio::select! {
            taken = both => taken,
            () = answers.ended(seen) => false,
        };
        if !taken {
            return;
        }
        if !answers.promised() {
            seen(Answer::default());
        }
        tokio::select! {
            () = answers.ended(seen) => return,
            changed = views.changed() => if changed.is_err() { return },
            changed = contests.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(HEARTBEAT) => continue,
            () = writer.closed() => return,
            () = presence.replaced() => return,
            () = stopped(&mut stop) => return,
            () = over(|| app.hub.with(&node, |seat| seat.certified).max(ends)) => return,
        }
        tokio::time::sleep(BURST).await;
    }
}

/// Ends when the wall clock says so: who showed a certificate that has ended since comes again with a new one, or not at all.
pub(super) async fn over(ends: impl Fn() -> Wall) {
    loop {
        let left = ends().as_nanos().saturating_sub(crate::clock::wall().as_nanos());
        if left == 0 {
            return;
        }
        // Clocks are set.
        tokio::time::sleep(Duration::from_nanos(left).min(CLOCK_LOOK)).await;
    }
}

/// Is this key still the node's?
pub(super) fn is_member(view: &View, node: &NodeId, key: &str) -> bool {
    view.index.state.nodes.get(node).is_some_and(|node| {
        let status = &node.status;
        status.tls_key.as_deref() == Some(key) || status.next_tls_key.as_deref() == Some(key)
    })
}

/// Makes the slice away from the threads that serve.
async fn make(app: &Arc<App>, node: &NodeId, view: &View) -> Option<Arc<Made>> {
    let (app, node, view) = (Arc::clone(app), node.clone(), view.clone());
    tokio::task::spawn_blocking(move || app.hub.made(&node, &view, &app.psk)).await.ok().flatten()
}

/// Notes a node that has seen what this store has not: somebody set the store back. The node refuses what it is sent, so the
/// operator must know.
async fn compare(app: &Arc<App>, node: &NodeId, theirs: Version, ours: Version) {
    let ahead = Some(theirs).filter(|theirs| *theirs > ours);
    let before = app.hub.with(node, |seat| std::mem::replace(&mut seat.ahead, ahead));
    if ahead.is_none() || before.is_some() {
        return;
    }
    tracing::error!(%node, %theirs, %ours, "the node has a newer slice than this store");
    if app.hub.with(node, |seat| seat.noted.may(limits::OF_MEMBER, crate::clock::mono())).is_some() {
        let text = format!("node {node} has seen version {theirs}, this store is at {ours}: it was set back");
        let origin = Origin::own(crate::clock::wall());
        let noted = blocking(app, move |app| {
            app.note(origin.event("store-set-back", text, &[]));
            Ok(())
        });
        if let Err(problem) = noted.await {
            tracing::error!(%problem, "cannot write the audit log");
        }
    }
}

/// What the node has, if it is something that a delta can start from. A node from the future gets a snapshot and refuses it.
fn resumed(app: &App, node: &NodeId, resume: &Resume, newest: &Arc<Made>, now: Version) -> Option<Held> {
    if resume.hash.is_empty() {
        return None;
    }
    if resume.version > now {
        return None;
    }
    let known = if newest.hash == resume.hash { Some(Arc::clone(newest)) } else { app.hub.recent(node, &resume.hash) };
    known.filter(|_| resume.version.incarnation == now.incarnation).map(|made| Held { version: resume.version, made })
}

/// That nothing changed.
fn current_line(view: &View, (contested, words): (&[Contested], &[PeerWord])) -> Message {
    let at = Some(crate::clock::wall());
    Message::Current { version: view.version, at, contested: contested.to_vec(), peers: words.to_vec() }
}

/// Guests that a node has found and that others hear. A declared port is where it was declared, whoever hears its guest.
fn contested(contests: &Contests, view: &View, node: &NodeId) -> Vec<Contested> {
    let found = |port: &PortId| {
        view.index.state.ports.get(port).is_some_and(|port| port.spec.reported && port.spec.node == *node)
    };
    let of_node = contests.get(node).into_iter().flatten().filter(|(_, (port, _))| found(port));
    let one = |((network, mac), (_, by)): (&Claimed, &(PortId, NodeId))| Contested {
        network: network.clone(),
        mac: *mac,
        by: by.clone(),
    };
    of_node.take(questions::MOST).map(one).collect()
}

/// The next line for a node that has `held`, and what it has then.
fn message(held: Option<Held>, newest: Arc<Made>, view: &View, beside: (&[Contested], &[PeerWord])) -> (Message, Held) {
    match held {
        Some(held) if held.made.hash == newest.hash => (current_line(view, beside), held),
        Some(held) if newest.slice.version > held.version => {
            let delta = Delta { from: held.version, ..Delta::between(&held.made.slice, &newest.slice) };
            let version = newest.slice.version;
            (Message::Delta { delta: Box::new(delta) }, Held { version, made: newest })
        }
        Some(_) | None => {
            let message = Message::Snapshot { slice: Box::new(newest.slice.clone()), hash: newest.hash.clone() };
            (message, Held { version: newest.slice.version, made: newest })
        }
    }
}
