//! What nodes measured of their paths: lets sizes count, tells what that does to the networks, answers who asks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use serde::Deserialize;

use super::app::{App, blocking, every};
use super::core::{Plan, View};
use super::http::{Answer, Json};
use crate::api::local::Finding;
use crate::api::mtu::MeshMtu;
use crate::api::objects::{Kind, Node};
use crate::api::problem::Problem;
use crate::mgmt::audit::Origin;
use crate::mgmt::index::Index;
use crate::mgmt::mtu_now::{self, Known};
use crate::mgmt::{interfaces, measured, mtu_map, mtus, validate};
use crate::node::explain::Far;
use crate::node::spans::{AllMeasured, Measured};
use crate::node::{detour, watch_told};
use crate::policy::path::Outer;
use crate::table::Slice;
use crate::types::{Mono, NetworkId, NodeId, Wall};

/// How often paths are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Looks at all paths, until the server stops.
pub(super) async fn run(app: Arc<App>) {
    let look = |app: &App| settle(app, crate::clock::mono(), crate::clock::wall());
    every(app, LOOK, "cannot write down what paths carry", look).await;
}

/// Writes down what counts from now on, with its audit entry. Blocks.
///
/// # Errors
/// A [`Problem`] of the store. What could not be written counts later.
pub(super) fn settle(app: &App, now: Mono, at: Wall) -> Result<(), Problem> {
    settle_interfaces(app, now, at)?;
    tell_growth(app, now, at);
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
        let origin = Origin::own(at);
        let event = (!edits.is_empty()).then(|| origin.event("path-mtu", text, &edits));
        Ok(Plan { edits, event, answer: () })
    })
}

/// Lets what nodes say of their interfaces count, where it has stood. Blocks.
fn settle_interfaces(app: &App, now: Mono, at: Wall) -> Result<(), Problem> {
    let changes = app.interfaces().settle(&app.core.view().index, now);
    if changes.is_empty() {
        return Ok(());
    }
    app.core.change(|view| {
        let before = &view.index;
        let edits = interfaces::edits(before, &changes);
        let after = Index::new(Arc::new(before.state.after(&edits)));
        let text = interfaces::sentence(&changes, before, &after);
        let origin = Origin::own(at);
        let event = (!edits.is_empty()).then(|| origin.event("interface-mtu", text, &edits));
        Ok(Plan { edits, event, answer: () })
    })
}

/// Says at once what carries more than counts, though it counts later only. Blocks.
fn tell_growth(app: &App, now: Mono, at: Wall) {
    let index = app.core.view().index;
    let (paths, interfaces) = (app.measured().grown(&index, now), app.interfaces().grown(&index, now));
    let said = known_at(app, now, at, |known| {
        let paths = (!paths.is_empty()).then(|| ("path-mtu", mtu_now::grown(&paths, known)));
        let interfaces =
            (!interfaces.is_empty()).then(|| ("interface-mtu", mtu_now::grown_interfaces(&interfaces, known)));
        [paths, interfaces]
    });
    for (what, text) in said.into_iter().flatten() {
        app.note(Origin::own(at).event(what, text, &[]));
    }
}

/// Does something with all that nodes said of sizes.
pub(super) fn with_known<T>(app: &App, work: impl FnOnce(&Known<'_>) -> T) -> T {
    known_at(app, crate::clock::mono(), crate::clock::wall(), work)
}

fn known_at<T>(app: &App, mono: Mono, wall: Wall, work: impl FnOnce(&Known<'_>) -> T) -> T {
    let (measured, interfaces) = (app.measured(), app.interfaces());
    work(&Known { measured: &measured, interfaces: &interfaces, mono, wall })
}

/// Query of `GET /v1/mtu`.
#[derive(Debug, Deserialize)]
pub(super) struct Whose {
    network: Option<String>,
}

/// `GET /v1/mtu`: the map of the mesh; `?network=NAME` of one network.
///
/// # Errors
/// [`Refused`](super::http::Refused)
pub(super) async fn mtu(State(app): State<Arc<App>>, Query(whose): Query<Whose>) -> Answer<MeshMtu> {
    let map = blocking(&app, move |app| {
        let view = app.core.view();
        let index = &view.index;
        let said = mtu_map::Said { detours: detours(app, &view), narrow: narrow(app, &view) };
        let found = |name: &String| {
            let id = name.parse::<NetworkId>().ok().filter(|id| index.state.networks.contains_key(id));
            id.ok_or_else(|| validate::missing(&index.state, "M0333", Kind::Network, name))
        };
        let only = whose.network.as_ref().map(found).transpose()?;
        Ok(with_known(app, |known| mtu_map::map(index, known, &said, only.as_ref())))
    });
    Ok(Json(map.await?))
}

/// Whether dead plain paths of a node's PDC take the tunnel.
pub(super) fn wishes(view: &View, node: &Node) -> bool {
    view.index.state.pdcs.get(&node.spec.pdc).is_some_and(|pdc| pdc.spec.tunnel_when_dead)
}

/// Pairs of nodes inside a PDC whose frames take the tunnel now, as either end says, in the order of their names.
fn detours(app: &App, view: &View) -> mtu_map::Detours {
    pairs(app, view, |node| wishes(view, node), detour::told)
}

/// Pairs of nodes inside a PDC of which either end says that its plain path loses what guests may send.
fn narrow(app: &App, view: &View) -> mtu_map::Detours {
    pairs(app, view, |_| true, watch_told::narrow)
}

/// Pairs of nodes inside a PDC of which either end tells something, in the order of their names.
fn pairs(
    app: &App,
    view: &View,
    asked: impl Fn(&Node) -> bool,
    told: impl Fn(&[Finding]) -> BTreeSet<NodeId>,
) -> mtu_map::Detours {
    let nodes = &view.index.state.nodes;
    let mut all = mtu_map::Detours::new();
    for (name, node) in nodes.iter().filter(|(_, node)| asked(node)) {
        let says = app.hub.with(name, |seat| if seat.streams > 0 { seat.told.findings() } else { Vec::new() });
        let inside = |peer: &NodeId| nodes.get(peer).is_some_and(|peer| peer.spec.pdc == node.spec.pdc);
        for peer in told(&says).into_iter().filter(inside) {
            all.insert(if *name <= peer { [name.clone(), peer] } else { [peer, name.clone()] });
        }
    }
    all
}

/// What is known of the ways from a node: the MTUs at the other ends, and what was measured.
pub(super) fn known(app: &App, view: &View, node: &Node, slice: &Slice) -> (Far, AllMeasured) {
    let (mut far, mut sizes) = (Far::new(), AllMeasured::new());
    let measured = app.measured();
    for id in slice.peers.keys() {
        let Some(peer) = view.index.state.nodes.get(id) else { continue };
        far.insert(id.clone(), [Outer::Admin, Outer::External].map(|outer| mtus::underlay_mtu(peer, outer)));
        if let Some((bytes, since)) = measured.newest(&node.metadata.name, id) {
            sizes.insert(id.clone(), Measured { bytes, since });
        }
    }
    (far, sizes)
}
