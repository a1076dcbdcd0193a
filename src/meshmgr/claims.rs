//! Guests that nodes find on their bridges: what is believed is written; what is not waits, and counts when the node that has the guest lets go
//! of it, if it is still being said then.

use super::app::App;
use super::core::Plan;
use crate::api::problem::Problem;
use crate::api::stream::FoundPort;
use crate::mgmt::audit::Origin;
use crate::mgmt::found::{self, Found, Refusal};
use crate::mgmt::index::Index;
use crate::mgmt::{limits, validate};
use crate::types::NodeId;

/// Refused claims that get an audit entry each in one report; the rest is in the log only.
const NOTED: usize = 16;

/// Judges the whole list of guests that a node has just said it found, then the claims that others have to what it has let go.
///
/// # Errors
/// What was believed cannot be written.
pub(super) fn take(app: &App, node: &NodeId, found: &[FoundPort], origin: &Origin) -> Result<(), Problem> {
    let now = crate::clock::mono();
    let lately = app.hub.lately(node, now);
    let judged = write(app, node, origin, |index| found::decide(index, node, found, &lately))?;
    app.hub.set_let_go(node, &judged.let_go, now);
    app.hub.with(node, |seat| seat.claims_from.clone_from(&origin.from));
    let (new, left_out) = app.hub.wait(node, judged.refused, now);
    note(app, node, origin, (&new, left_out));
    // What this node no longer has may be what another one hears: a guest that moved.
    for (by, claims) in app.hub.claimants(node, &judged.let_go, now) {
        let from = app.hub.with(&by, |seat| seat.claims_from.clone());
        let origin = Origin { who: format!("node/{by}"), from, ..origin.clone() };
        let judged = write(app, &by, &origin, |index| found::retry(index, &by, &claims))?;
        app.hub.judged(&by, &claims, &judged.refused, now);
    }
    Ok(())
}

/// Writes what is believed.
fn write(app: &App, node: &NodeId, origin: &Origin, judge: impl Fn(&Index) -> Found) -> Result<Found, Problem> {
    app.core.change(|view| {
        let mut found = judge(&view.index);
        validate::check(&view.index.state, &found.edits)?;
        let text = || format!("{} changes on node {node}", found.edits.len());
        let event = (!found.edits.is_empty()).then(|| origin.event("ports-found", text(), &found.edits));
        Ok(Plan { edits: std::mem::take(&mut found.edits), event, answer: found })
    })
}

/// Says which claims are not believed.
fn note(app: &App, node: &NodeId, origin: &Origin, (new, left_out): (&[(FoundPort, Refusal)], usize)) {
    for (claim, why) in new.iter().take(NOTED) {
        let text = format!("{} in {} found on node {node}: {why}", claim.mac, claim.network);
        app.note_of(node, origin.event("port-refused", text, &[]));
    }
    let unsaid = new.len().saturating_sub(NOTED) + left_out;
    app.hub.with(node, |seat| {
        if let Some((claim, why)) = new.first()
            && let Some(kept_back) = seat.logged.may(limits::OF_MEMBER, crate::clock::mono())
        {
            let (more, network, mac) = (new.len() - 1 + left_out, &claim.network, claim.mac);
            tracing::warn!(%node, %network, %mac, %why, more, kept_back, "found port refused");
        }
        seat.noted.keep_back(u64::try_from(unsaid).unwrap_or(u64::MAX));
    });
}
