//! The edges of a session's life in messages: where it is replaced, where it ends, and what the receiver makes of it.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::world::*;
use crate::tunnel::limits::{REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES, WINDOW};
use crate::tunnel::{DropReason, Seal};

/// What a receiver must do: the whitepaper's rule on the set of all counters seen, without any ring.
#[derive(Default)]
struct Naive {
    seen: BTreeSet<u64>,
}

impl Naive {
    fn take(&mut self, counter: u64) -> Result<(), DropReason> {
        if counter >= REJECT_AFTER_MESSAGES {
            return Err(DropReason::CounterLimit);
        }
        let newest = self.seen.last().copied();
        let old = newest.is_some_and(|newest| newest >= counter && newest - counter >= WINDOW);
        if old || !self.seen.insert(counter) { Err(DropReason::Replayed) } else { Ok(()) }
    }
}

/// Counters around every edge that there is: zero, the window behind an earlier one, both limits.
fn counters() -> impl Strategy<Value = Vec<u64>> {
    let base = prop_oneof![
        Just(1_u64),
        Just(WINDOW),
        Just(2 * WINDOW),
        Just(REKEY_AFTER_MESSAGES),
        Just(REJECT_AFTER_MESSAGES - WINDOW),
        Just(REJECT_AFTER_MESSAGES - 3),
    ];
    let near = prop_oneof![0_u64..4, WINDOW - 2..WINDOW + 3, 62_u64..67];
    let one = (base, near, any::<bool>());
    let pick = move |(base, near, back): (u64, u64, bool)| {
        if back { base.saturating_sub(near) } else { base.saturating_add(near).min(REJECT_AFTER_MESSAGES - 1) }
    };
    let all = prop::collection::vec(one.prop_map(pick), 1..60);
    // Mostly forward, or the first large one would make all others old.
    (all, any::<bool>()).prop_map(|(mut all, sorted)| {
        if sorted {
            all.sort_unstable();
        }
        all
    })
}

proptest! {
    #[test]
    fn a_receiver_takes_exactly_what_the_naive_model_takes(counters in counters()) {
        let mut world = World::up();
        let mut model = Naive::default();
        model.take(0).unwrap();
        for counter in counters {
            world.a.tunnels.peer_mut(PEER).sessions.skip_to(counter);
            let sealed = world.a.seal(&counter.to_be_bytes().repeat(2), world.now).unwrap();
            prop_assert_eq!(&sealed.datagram[8..16], counter.to_le_bytes());
            let taken = world.b.take(address(1), &sealed.datagram, world.now, world.wall);
            prop_assert_eq!(taken, model.take(counter), "{}", counter);
            let again = world.b.take(address(1), &sealed.datagram, world.now, world.wall);
            prop_assert_eq!(again, Err(DropReason::Replayed), "{} again", counter);
        }
    }

    #[test]
    fn a_sender_calls_from_the_first_limit_on_and_stops_at_the_second(
        start in prop_oneof![
            REKEY_AFTER_MESSAGES - 6..REKEY_AFTER_MESSAGES + 3,
            REJECT_AFTER_MESSAGES - 6..REJECT_AFTER_MESSAGES,
        ],
        messages in 1_u64..12,
        responder in any::<bool>(),
    ) {
        let mut world = World::up();
        world.pass_secs(6);
        for counter in start..start + messages {
            let end = if responder { &mut world.b } else { &mut world.a };
            if counter == start {
                end.tunnels.peer_mut(PEER).sessions.skip_to(start);
            }
            let calls = end.counters().initiations_sent;
            let sealed = end.seal(b"x", world.now);
            if counter < REJECT_AFTER_MESSAGES {
                prop_assert_eq!(&sealed.unwrap().datagram[8..16], counter.to_le_bytes());
            } else {
                prop_assert_eq!(sealed, Err(Seal::Queued), "a counter is never used twice, nor one too many");
            }
            end.tunnels.handle_timeout(world.now, world.wall);
            // The message with counter c is the (c + 1)th. The initiations go nowhere here, so the next one is 5 s away.
            let called = end.counters().initiations_sent - calls;
            let first = counter == start.max(REKEY_AFTER_MESSAGES - 1);
            prop_assert_eq!(called, u64::from(first), "at {}", counter);
        }
    }
}
