//! Whether the engine still gets round its loop. One that has died ends the daemon; one that stands still says nothing by itself, and all that
//! it has said of this node goes on being said. So it is told by another: here and to the management node.

use std::sync::Arc;
use std::time::Duration;

use super::control::aside;
use super::shared::Shared;
use super::status;
use crate::clock::mono;
use crate::node::unwatched::{Eye, Eyes};
use crate::types::Mono;

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// How long one step of the engine may take: the largest plan takes some seconds on a slow machine, and `nft` waits where another program
/// holds the kernel's tables.
const LONGEST: Duration = Duration::from_secs(120);

/// Looks for as long as the daemon runs.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut turn = tokio::time::interval(EVERY);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        let looked = Arc::clone(&shared);
        // What is told needs the lanes, which may take their time.
        if let Err(problem) = aside(move || look(&looked, mono())).await {
            tracing::error!("{problem}");
        }
    }
}

/// One look. What the engine tells as long as it works, this tells in its place.
fn look(shared: &Shared, now: Mono) {
    let why = shared.engine_asleep.waits(now);
    let late = shared.engine.is_late(LONGEST, now);
    if !stands(&mut shared.eyes(), why, late, now) {
        return;
    }
    shared.tell_unwatched(now);
    let findings = status::told(shared);
    shared.say(|outgoing| outgoing.findings = findings);
}

/// Notes whether it stands still, and says so. `why`: what is known of that; without it, it may only be slow, until it is `late`.
fn stands(eyes: &mut Eyes, why: Option<String>, late: bool, now: Mono) -> bool {
    let held = why.is_some();
    match why {
        Some(why) => eyes.fails(Eye::Held, why, now),
        None => eyes.works(Eye::Held),
    }
    // Told once.
    if late && !held {
        eyes.fails(Eye::Engine, "the engine of meshd stands still".to_owned(), now);
    } else {
        eyes.works(Eye::Engine);
    }
    held || late
}

#[cfg(test)]
#[path = "alive_tests.rs"]
mod tests;
