//! Descriptors kept back for the moment in which there are no others, so that a daemon that can open nothing more still answers who asks it
//! and tells the management node; and the test whether that moment is there.

use std::io;
use std::os::fd::OwnedFd;

use super::sys;
use crate::node::short::Shortage;

/// How many: one for a question to the control socket, one for a report. Opened first, they have the lowest numbers, which a lower limit
/// spares longest.
const KEPT: usize = 2;

/// Descriptors kept back.
#[derive(Debug, Default)]
pub struct Spare(Vec<OwnedFd>);

impl Spare {
    /// As many as can be had.
    pub fn new() -> Self {
        let mut spare = Self::default();
        let _ = spare.look();
        spare
    }

    /// Can one more be opened than is kept back? Where none can, those kept back are given up to whoever needs one, until there is room
    /// again. Returns what is short; none: nothing.
    pub fn look(&mut self) -> Option<Shortage> {
        while self.0.len() <= KEPT {
            match sys::epoll_create() {
                Ok(one) => self.0.push(one),
                Err(error) => {
                    self.0.clear();
                    return shortage(&error);
                }
            }
        }
        // The last has the highest number, and shows that there is room.
        self.0.truncate(KEPT);
        None
    }
}

fn shortage(error: &io::Error) -> Option<Shortage> {
    match error.raw_os_error() {
        Some(libc::EMFILE) => Some(Shortage::Process),
        Some(libc::ENFILE) => Some(Shortage::Machine),
        Some(libc::ENOMEM) => Some(Shortage::Memory),
        _ => None,
    }
}
