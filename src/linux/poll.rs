//! Waiting for descriptors: epoll, because a lane watches hundreds of TAPs, and an eventfd as the bell of its mailbox.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::sys;

/// How many events one wait returns. The kernel rotates its list of ready descriptors, so a busy one hides none.
const EVENTS: usize = 64;

/// An epoll instance. Level-triggered: what is not read to the end is reported again.
pub struct Poll {
    epoll: OwnedFd,
    events: [libc::epoll_event; EVENTS],
    ready: usize,
}

impl std::fmt::Debug for Poll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poll").field("epoll", &self.epoll).field("ready", &self.ready).finish_non_exhaustive()
    }
}

impl Poll {
    /// One that watches nothing.
    ///
    /// # Errors
    /// Of `epoll_create1(2)`.
    pub fn new() -> io::Result<Self> {
        let events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        Ok(Self { epoll: sys::epoll_create()?, events, ready: 0 })
    }

    /// Watches a descriptor for reading; `token` is what [`Poll::ready`] calls it.
    ///
    /// # Errors
    /// Of `epoll_ctl(2)`.
    pub fn add(&self, watched: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        sys::epoll_add(self.epoll.as_fd(), watched, token)
    }

    /// No longer watches a descriptor.
    ///
    /// # Errors
    /// Of `epoll_ctl(2)`.
    pub fn remove(&self, watched: BorrowedFd<'_>) -> io::Result<()> {
        sys::epoll_remove(self.epoll.as_fd(), watched)
    }

    /// Waits until something is readable or `timeout` is over (none: for ever); rounded up to milliseconds, so that a timer
    /// is due when it returns. A signal counts as nothing readable.
    ///
    /// # Errors
    /// Of `epoll_wait(2)`.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let millis = timeout.map_or(-1, |wait| i32::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
        self.ready = 0;
        match sys::epoll_wait(self.epoll.as_fd(), &mut self.events, millis) {
            Ok(ready) => self.ready = ready,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tokens of what is readable (or broken) since the last wait.
    pub fn ready(&self) -> impl Iterator<Item = u64> + '_ {
        self.events[..self.ready].iter().map(|event| event.u64)
    }

    /// The `n`th of [`Poll::ready`], for loops that change what is watched.
    pub fn nth(&self, n: usize) -> Option<u64> {
        self.events[..self.ready].get(n).map(|event| event.u64)
    }
}

/// A bell that one thread rings and another hears with [`Poll`].
#[derive(Debug)]
pub struct Wake(File);

impl Wake {
    /// A silent one.
    ///
    /// # Errors
    /// Of `eventfd(2)`.
    pub fn new() -> io::Result<Self> {
        Ok(Self(sys::eventfd()?.into()))
    }

    /// Makes it readable. It never blocks: a counter that is full is readable already.
    pub fn ring(&self) {
        let _ = (&self.0).write(&1_u64.to_ne_bytes());
    }

    /// Makes it silent until the next ring.
    pub fn clear(&self) {
        let _ = (&self.0).read(&mut [0; 8]);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
