//! The TAPs of a lane: opened and closed by difference, tried again while they are missing.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::LaneEvent;
use crate::forward::segment::Segments;
use crate::forward::{Buf, DropReason, Drops};
use crate::linux::poll::Poll;
use crate::linux::tap::{Offloads, Tap, TapError};
use crate::policy::offload::{Offload, Writes};
use crate::types::{IfName, Mono, NetSlot};
use crate::wire::Header;
use crate::wire::virtio::{Gso, Virtio};

/// By network slot, which is also the token that [`Poll`] reports.
#[derive(Debug)]
pub(super) struct Taps {
    slots: Vec<Option<Slot>>,
    retry_at: Option<Mono>,
    /// Where a super-frame that a TAP refused is cut again.
    scratch: Buf,
    offload: Offload,
    recut: u64,
}

/// One TAP that is wanted.
#[derive(Debug)]
struct Slot {
    net: NetSlot,
    name: IfName,
    tap: Option<Tap>,
    /// Failures since it was open. The first is no news: a device that is made anew with a new table is away for a moment. The
    /// second is told, and no other before a success.
    failures: u8,
    /// The super-frames that the kernel has not refused yet (Linux 6.6.44 and other kernels with e269d79c7d35 do): it gets no
    /// others.
    takes: Writes,
}

impl Taps {
    pub(super) fn new(offload: Offload) -> Self {
        Self { slots: Vec::new(), retry_at: None, scratch: Buf::default(), offload, recut: 0 }
    }

    /// How many super-frames were cut again because a TAP did not take them.
    pub(super) const fn recut(&self) -> u64 {
        self.recut
    }

    /// Closes what is not in `wanted` and remembers what is. A network keeps its TAP if the name is the same.
    pub(super) fn want(&mut self, wanted: &[(NetSlot, IfName)], poll: &Poll) {
        let by_slot: BTreeMap<usize, &IfName> = wanted.iter().map(|(net, name)| (net.index(), name)).collect();
        for (index, place) in self.slots.iter_mut().enumerate() {
            let kept = place.as_ref().is_some_and(|slot| by_slot.get(&index) == Some(&&slot.name));
            if !kept && let Some(Slot { tap: Some(tap), .. }) = place.take() {
                close(tap, poll);
            }
        }
        for (net, name) in wanted {
            if self.slots.len() <= net.index() {
                self.slots.resize_with(net.index() + 1, || None);
            }
            let fresh = || Slot { net: *net, name: name.clone(), tap: None, failures: 0, takes: Writes::NONE };
            self.slots[net.index()].get_or_insert_with(fresh);
        }
    }

    /// Opens every TAP that is wanted and not open; tries again at `retry` if one fails.
    pub(super) fn open_missing(&mut self, poll: &Poll, retry: Mono, told: &mut Vec<LaneEvent>) {
        self.retry_at = None;
        let Offload { tap: offloads, writes, .. } = self.offload;
        for slot in self.slots.iter_mut().flatten().filter(|slot| slot.tap.is_none()) {
            match open(slot, offloads, poll) {
                Ok(tap) => {
                    slot.tap = Some(tap);
                    slot.failures = 0;
                    slot.takes = writes;
                    told.push(LaneEvent::TapOpened(slot.net, slot.name.clone()));
                }
                Err(error) => {
                    self.retry_at = Some(retry);
                    slot.failures = slot.failures.saturating_add(1);
                    if slot.failures == 2 {
                        told.push(LaneEvent::TapFailed(slot.net, slot.name.clone(), Arc::new(error)));
                    }
                }
            }
        }
    }

    /// When [`Taps::open_missing`] should be called again.
    pub(super) fn retry_at(&self) -> Option<Mono> {
        self.retry_at
    }

    /// The TAP of a token, if it is open.
    pub(super) fn get(&self, token: u64) -> Option<(NetSlot, &Tap)> {
        let slot = self.slots.get(usize::try_from(token).ok()?)?.as_ref()?;
        Some((slot.net, slot.tap.as_ref()?))
    }

    /// Closes a TAP that gave an error when read: its device is down or gone. It is tried again at `retry`.
    pub(super) fn broken(&mut self, token: u64, source: &io::Error, poll: &Poll, retry: Mono) {
        let slot = usize::try_from(token).ok().and_then(|token| self.slots.get_mut(token)?.as_mut());
        let Some((slot, tap)) = slot.and_then(|slot| slot.tap.take().map(|tap| (slot, tap))) else { return };
        close(tap, poll);
        tracing::debug!("reading {}: {source}", slot.name);
        slot.failures = 1;
        self.retry_at = Some(self.retry_at.map_or(retry, |earlier| earlier.min(retry)));
    }

    /// Writes a frame to the TAP of a network, or counts why not.
    pub(super) fn write(&self, net: NetSlot, frame: &[u8], drops: &mut Drops) -> bool {
        match self.slots.get(net.index()).and_then(|slot| slot.as_ref()?.tap.as_ref()) {
            Some(tap) => counted(tap.write(frame), drops),
            None => counted(Err(io::ErrorKind::NotConnected.into()), drops),
        }
    }

    /// Writes a frame or super-frame behind its virtio header to the TAP of a network, or counts why not. A super-frame that
    /// the kernel does not take is cut again: nothing of it is lost.
    pub(super) fn write_headed(&mut self, net: NetSlot, bytes: &[u8], drops: &mut Drops) -> bool {
        let slot = self.slots.get_mut(net.index()).and_then(Option::as_mut);
        let Some((tap, takes)) = slot.and_then(|slot| Some((slot.tap.as_ref()?, &mut slot.takes))) else {
            return counted(Err(io::ErrorKind::NotConnected.into()), drops);
        };
        let kind = kind(takes, bytes);
        if kind.as_deref().is_none_or(|taken| *taken) {
            match (tap.write_headed(bytes), kind) {
                (Err(error), Some(taken)) if error.kind() == io::ErrorKind::InvalidInput => *taken = false,
                (result, _) => return counted(result, drops),
            }
        }
        self.recut += 1;
        let mut all = true;
        cut(bytes, self.scratch.space(), |frame| all &= counted(tap.write(frame), drops));
        all
    }

    /// Each TAP that is wanted, and whether it is open.
    pub(super) fn status(&self) -> Vec<(NetSlot, IfName, bool)> {
        self.slots.iter().flatten().map(|slot| (slot.net, slot.name.clone(), slot.tap.is_some())).collect()
    }
}

/// True if it was written; counts why not.
fn counted(result: io::Result<()>, drops: &mut Drops) -> bool {
    let Err(error) = result else { return true };
    drops.count(if error.kind() == io::ErrorKind::NotConnected {
        DropReason::TapClosed
    } else if error.kind() == io::ErrorKind::WouldBlock {
        DropReason::TapBusy
    } else {
        DropReason::TapFailed
    });
    false
}

/// Whether a TAP takes super-frames of this kind; none for a frame that is no super-frame.
fn kind<'a>(takes: &'a mut Writes, headed: &[u8]) -> Option<&'a mut bool> {
    match Virtio::parse(headed).ok()?.gso {
        Gso::None => None,
        Gso::TcpV4 | Gso::TcpV6 => Some(&mut takes.tcp),
        Gso::UdpL4 => Some(&mut takes.udp),
    }
}

/// Hands out the frames that a super-frame behind its virtio header was joined from; any other frame as it is.
fn cut(headed: &[u8], scratch: &mut [u8], mut out: impl FnMut(&[u8])) {
    let Some((virtio, frame)) = headed.split_at_checked(Virtio::LEN) else { return };
    let virtio = Virtio::parse(virtio).unwrap_or_default();
    match Segments::new(frame, &virtio, usize::from(u16::MAX)) {
        Ok(mut segments) => {
            while let Some(len) = segments.write_next(scratch) {
                out(&scratch[..len]);
            }
        }
        Err(_) => out(frame),
    }
}

fn open(slot: &Slot, offloads: bool, poll: &Poll) -> Result<Tap, TapError> {
    let tap = Tap::attach(&slot.name, if offloads { Offloads::TcpUdp } else { Offloads::None })?;
    let token = u64::from(slot.net.0);
    match poll.add(tap.as_fd(), token) {
        Ok(()) => Ok(tap),
        Err(source) => Err(TapError::System { name: slot.name.clone(), step: "epoll_ctl", source }),
    }
}

fn close(tap: Tap, poll: &Poll) {
    // Closing the last copy of the descriptor removes it as well.
    let _ = poll.remove(tap.as_fd());
    drop(tap);
}

#[cfg(test)]
#[path = "taps_tests.rs"]
mod tests;
