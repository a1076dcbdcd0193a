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

/// Sources that are told apart, so that one that never ends silences few others.
const SOURCES: usize = 16;

/// Lets some through, of each source and in sum. The same one again and again counts as one.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    sources: [Source; SOURCES],
    all: Bucket,
}

#[derive(Debug, Clone, Copy, Default)]
struct Source {
    bucket: Bucket,
    last: Option<Refused>,
}

impl Refusals {
    pub(super) fn tell(&mut self, refused: Refused, now: Mono, out: &mut Vec<Refused>) {
        // Never by the address that the frame says: whoever invents those would have all places.
        let place = refused.peer.map_or(0, |peer| 1 + usize::from(peer.0) % (SOURCES - 1));
        let source = &mut self.sources[place];
        if source.last != Some(refused) && source.bucket.take(Rate::EVENT, now) && self.all.take(Rate::EVENTS, now) {
            source.last = Some(refused);
            out.push(refused);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(peer: Option<u16>, mac: u64) -> Refused {
        let [.., a, b, c, d] = mac.to_be_bytes();
        Refused { net: None, peer: peer.map(PeerSlot), mac: Mac([2, 0, a, b, c, d]), reason: DropReason::SourceUnknown }
    }

    #[test]
    fn a_peer_that_invents_addresses_leaves_others_and_guests_their_events() {
        let (mut refusals, mut out) = (Refusals::default(), Vec::new());
        let start = Mono::from_nanos(1_000_000_000_000);
        for mac in 0..100_000 {
            let now = start + std::time::Duration::from_micros(mac * 100);
            refusals.tell(of(Some(3), mac), now, &mut out);
        }
        assert!((10..=21).contains(&out.len()), "{} in ten seconds", out.len());
        let now = start + std::time::Duration::from_secs(10);
        for other in [Some(4), None] {
            out.clear();
            refusals.tell(of(other, 1), now, &mut out);
            assert_eq!(out, [of(other, 1)]);
        }
    }

    #[test]
    fn all_peers_together_have_a_sum() {
        let (mut refusals, mut out) = (Refusals::default(), Vec::new());
        for number in 0..100_000_u64 {
            let now = Mono::from_nanos(1_000_000_000_000 + number * 100_000);
            refusals.tell(of(Some(u16::try_from(number % 500).unwrap()), number), now, &mut out);
        }
        assert!(out.len() <= 40 + 8 * 10, "{} in ten seconds", out.len());
    }
}
