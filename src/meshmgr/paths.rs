//! Lets the sizes of paths count that nodes measured, and tells what that does to the networks.

use std::sync::Arc;
use std::time::Duration;

use super::app::{App, blocking};
use super::core::Plan;
use crate::api::problem::Problem;
use crate::mgmt::audit::Origin;
use crate::mgmt::index::Index;
use crate::mgmt::measured;
use crate::types::{Mono, Wall};

/// How often paths are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Looks at all paths, until the server stops.
pub(super) async fn run(app: Arc<App>) {
    let mut stop = app.stop.clone();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = crate::transport::server::stopped(&mut stop) => return,
        }
        let looked = blocking(&app, |app| settle(app, crate::clock::mono(), crate::clock::wall())).await;
        if let Err(problem) = looked {
            tracing::error!(%problem, "cannot write down what paths carry");
        }
    }
}

/// Writes down what counts from now on, with its audit entry. Blocks.
///
/// # Errors
/// A [`Problem`] of the store. What could not be written counts later.
pub(super) fn settle(app: &App, now: Mono, at: Wall) -> Result<(), Problem> {
    let (changes, edits) = app.measured().settle(&app.core.view().index, now);
    if edits.is_empty() {
        return Ok(());
    }
    app.core.change(|view| {
        let before = &view.index;
        // Another change may have come in between; what was measured holds for the nodes as they are now.
        let edits = measured::edits(before, &changes);
        let after = Index::new(Arc::new(before.state.after(&edits)));
        let text = measured::sentence(&changes, before, &after);
        let origin = Origin { who: "meshmgr".to_owned(), from: "here".to_owned(), at };
        let event = (!edits.is_empty()).then(|| origin.event("path-mtu", text, &edits));
        Ok(Plan { edits, event, answer: () })
    })
}
