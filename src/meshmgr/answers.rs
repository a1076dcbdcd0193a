//! A node's way back on its stream: it answers in the body of its request, so that management knows that it is there by its own word, and not by
//! lines that a kernel has taken.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt as _;
use tokio::time::{sleep, timeout};

use crate::api::stream::{Answer, UNANSWERED};
use crate::clock;
use crate::types::Mono;

/// Between two looks at what a node says: more of it is left where it is, in its own machine.
const PACE: Duration = Duration::from_secs(1);

/// What a node answers on one stream.
pub(super) struct Answers {
    /// None: it is of a version that does not answer.
    body: Option<Body>,
    heard: Mono,
}

impl Answers {
    /// The answers in a request's body; `promised` is whether the node said that it answers.
    pub(super) fn new(promised: bool, body: Body) -> Self {
        Self { body: Some(body).filter(|_| promised), heard: clock::mono() }
    }

    /// Does the node answer?
    pub(super) const fn promised(&self) -> bool {
        self.body.is_some()
    }

    /// Ends when the node has been silent for too long, or says that it will answer no more; never where it has promised nothing. `heard` is
    /// told of each answer. May be dropped while it waits.
    pub(super) async fn ended(&mut self, heard: impl Fn(Answer)) {
        let Some(body) = &mut self.body else { return std::future::pending().await };
        loop {
            sleep(PACE.saturating_sub(clock::mono().since(self.heard))).await;
            let left = UNANSWERED.saturating_sub(clock::mono().since(self.heard));
            // What is here is taken before the time is looked at: it may be the server that was held up.
            let Ok(Some(Ok(frame))) = timeout(left, body.frame()).await else { return };
            self.heard = clock::mono();
            heard(frame.data_ref().map(|data| Answer::newest(data)).unwrap_or_default());
        }
    }
}
