//! Frames refused for their source: what an operator wants to hear of, at a rate that cannot drown anybody.

use super::drops::DropReason;
use super::rate::{Bucket, Rate};
use crate::types::{Mac, Mono, NetSlot, PeerSlot};

/// A frame that came from where it may not come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// In which network; none where the peer named one that is not here.
    pub net: Option<NetSlot>,
    /// From which peer; none for a guest of this node.
    pub peer: Option<PeerSlot>,
    /// With which source address.
    pub mac: Mac,
    /// Why.
    pub reason: DropReason,
}

/// Lets some through. The same one again and again counts as one.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    bucket: Bucket,
    last: Option<Refused>,
}

impl Refusals {
    pub(super) fn tell(&mut self, refused: Refused, now: Mono, out: &mut Vec<Refused>) {
        if self.last != Some(refused) && self.bucket.take(Rate::EVENT, now) {
            self.last = Some(refused);
            out.push(refused);
        }
    }
}
