//! Sends frames across a bridge of this host and takes them at the other side, for the thread that watches the plain path.

use crate::clock::{self, mono};
use crate::linux::tap::{Offloads, Tap};
use crate::node::crossing::{Way, macs};
use crate::probe::crossing::{Crossed, Crossing};
use crate::types::Mono;

/// Frames that are taken in one turn. More than were sent come from nobody but who has the rights of this host.
const BATCH: usize = 64;

/// The way, and its two ends where they are open.
#[derive(Debug)]
pub(super) struct Passage {
    way: Way,
    open: Option<Open>,
    /// Why nothing can be sent; kept until something was.
    failed: Option<String>,
}

#[derive(Debug)]
struct Open {
    near: Tap,
    far: Tap,
    crossing: Crossing,
}

impl Passage {
    /// A way that is not open yet.
    pub(super) fn new(way: Way) -> Self {
        Self { way, open: None, failed: None }
    }

    /// Another way, or the same one with other flows.
    pub(super) fn follow(&mut self, way: Way) {
        if (&way.near, &way.far) != (&self.way.near, &self.way.far) {
            self.open = None;
        }
        if let Some(open) = &mut self.open {
            open.crossing.set(&way.flows);
        }
        self.way = way;
    }

    /// The way.
    pub(super) fn way(&self) -> &Way {
        &self.way
    }

    /// Opens both ends, where they are not. What is sent in at the first comes out at the second; what comes out at the first is never read.
    pub(super) fn try_open(&mut self, now: Mono) {
        if self.open.is_some() {
            return;
        }
        let attach = |name| Tap::attach(name, Offloads::None);
        match attach(&self.way.near).and_then(|near| Ok((near, attach(&self.way.far)?))) {
            Ok((near, far)) => {
                let crossing = Crossing::new(macs(), &self.way.flows, now);
                self.open = Some(Open { near, far, crossing });
            }
            Err(error) => self.failed = Some(error.to_string()),
        }
    }

    /// Why nothing can be sent or taken, if so.
    pub(super) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Takes what has come out, and sends what is due.
    pub(super) fn turn(&mut self, frame: &mut [u8]) {
        let Some(Open { near, far, crossing }) = &mut self.open else { return };
        for _ in 0..BATCH {
            match far.read(frame) {
                Ok(Some((len, _))) => crossing.received(frame.get(..len).unwrap_or_default()),
                Ok(None) => break,
                Err(error) => {
                    // Its device is gone; it is tried again.
                    self.failed = Some(format!("{}: {error}", self.way.far));
                    self.open = None;
                    return;
                }
            }
        }
        let (mut sent, mut refused) = (false, None);
        crossing.handle_timeout(mono(), &mut || u64::from_ne_bytes(clock::random()), &mut |frame| {
            match near.write(frame) {
                Ok(_) => sent = true,
                // A queue that is full loses a frame, as any does.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM)) => {}
                Err(error) => refused = Some(error),
            }
        });
        if let Some(error) = refused {
            // What was not sent was not dropped on its way: nothing is known.
            self.failed = Some(format!("{}: {error}", self.way.near));
            self.open = None;
        } else if sent {
            self.failed = None;
        }
    }

    /// What is known; nothing while it is not open.
    pub(super) fn crossed(&self) -> Crossed {
        self.open.as_ref().map(|open| open.crossing.crossed().clone()).unwrap_or_default()
    }
}
