//! The way back of a stream: a body of short lines that grows while the answer to its request is read.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

use crate::api::stream::Answer;

/// What is sent with a request.
pub(super) enum Sent {
    /// All of it is there.
    Whole(Full<Bytes>),
    /// It goes on for as long as the request lives.
    Answers(mpsc::Receiver<Bytes>),
}

/// The end that answers.
#[derive(Debug)]
pub(super) struct Answers(mpsc::Sender<Bytes>);

/// A body of answers and the end that writes them.
pub(super) fn answers() -> (Answers, Sent) {
    let (sender, receiver) = mpsc::channel(1);
    (Answers(sender), Sent::Answers(receiver))
}

impl Answers {
    /// Answers once. Where the answer of before is still here the way is blocked, and one more would say no more.
    pub(super) fn answer(&self, answer: Answer) {
        let _ = self.0.try_send(answer.line().into());
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(context),
            Self::Answers(answers) => answers.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::Answers(_) => false,
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::Answers(_) => hyper::body::SizeHint::default(),
        }
    }
}
