//! Notes in the audit log what nodes find wrong, and that it is over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::app::{App, every};
use crate::mgmt::audit::Origin;
use crate::mgmt::news::{Item, News, Says};
use crate::mgmt::nodes::COMES_BACK;
use crate::mgmt::uplinks::Uplinks;
use crate::types::NodeId;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(5);

/// Looks again and again, for as long as the server runs.
pub(super) async fn run(app: Arc<App>) {
    let news = Arc::new(Mutex::new(News::default()));
    let look = move |app: &App| {
        for item in look(app, &mut news.lock().unwrap_or_else(PoisonError::into_inner)) {
            note(app, item);
        }
        Ok(())
    };
    every(app, LOOK, "cannot say what nodes find wrong", look).await;
}

fn look(app: &App, news: &mut News) -> Vec<Item> {
    let view = app.core.view();
    let joined = view.index.state.nodes.values().filter(|node| node.status.joined.is_some());
    let says = joined.map(|node| {
        let node = node.metadata.name.clone();
        let (here, findings) = app.hub.with(&node, |seat| (seat.streams > 0, seat.told.findings()));
        Says { node, here, findings }
    });
    let (says, now) = (says.collect::<Vec<_>>(), crate::clock::mono());
    // Who is expected back is not away yet; one of another make never comes, and one in quarantine is told as that.
    let away = |node: &NodeId| {
        let of = view.index.state.nodes.get(node);
        let foreign = of.is_none_or(|node| node.spec.foreign.is_some() || node.status.quarantined.is_some());
        let back = now.since(app.started.0) >= COMES_BACK || app.hub.with(node, |seat| seat.seen.is_some());
        !foreign && back
    };
    app.hub.set_uplinks(Uplinks::new(&says, away));
    app.hub.contest(now);
    news.look(&says, now)
}

/// On the account of the node that says it: a node that invents problems uses up its own place in the log.
fn note(app: &App, Item { node, what, text }: Item) {
    let origin = Origin { who: format!("node/{node}"), ..Origin::own(crate::clock::wall()) };
    app.note_of(&node, origin.event(what, text, &[]));
}
