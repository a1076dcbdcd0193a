//! Interfaces from which nothing reaches this host while they stand in no bridge: those of guests. Whoever takes a bridge away, or makes
//! an interface anew, makes it one of the host's own for a moment.
//!
//! One that has been a guest's stays in it for as long as it exists, whatever becomes of its port: the guest is still behind it. And the other way
//! round, an interface that a port names is not taken from the host that uses it: one with an address, one that stands in something of the
//! host's own, a network card or whatever else no guest is behind.

use std::collections::BTreeSet;

use super::desired::{Desired, Observed};
use super::fence::Fence;
use super::names;
use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::types::{IfName, PortId};

/// Those of a filter that knows what stands where now.
pub(super) fn of(fence: &Fence, observed: &Observed) -> BTreeSet<IfName> {
    let guests = fence.named.keys().chain(fence.unnamed.keys()).chain(fence.open.keys());
    let loaded = observed.fence.loaded().into_iter().flat_map(|old| &old.outside);
    let theirs = |name: &&IfName| observed.places.contains_key(*name) && names::parse(name.as_str()).is_none();
    let before = loaded.chain(&observed.shut).filter(theirs);
    guests.chain(before).filter(|name| !is_hosts(name, observed)).cloned().collect()
}

/// True where the host itself uses an interface that stands in no bridge of ours.
fn is_hosts(name: &IfName, observed: &Observed) -> bool {
    let card = observed.places.get(name).is_some_and(|place| place.card);
    card || observed.addressed.contains(name) || is_elsewhere(name, observed)
}

/// True where an interface stands in a bridge of others, which is none of our business.
pub(super) fn is_elsewhere(name: &IfName, observed: &Observed) -> bool {
    let master = observed.places.get(name).and_then(|place| place.master.as_deref());
    master.is_some_and(|master| names::parse(master).is_none())
}

/// Why an interface that a port names is this host's own, if it is.
fn why_hosts(name: &IfName, observed: &Observed) -> Option<&'static str> {
    if observed.addressed.contains(name) {
        return Some("has addresses of this host");
    }
    let place = observed.places.get(name)?;
    (place.card && place.master.is_none()).then_some("is a network card or another device of this host")
}

/// True where [`mistaken`] tells of an interface, should a port name it.
pub(super) fn is_mistaken(name: &IfName, observed: &Observed) -> bool {
    why_hosts(name, observed).is_some()
}

/// Interfaces that ports name, and that are this host's own.
pub(super) fn mistaken<'a>(desired: &'a Desired, observed: &'a Observed) -> impl Iterator<Item = Finding> + 'a {
    desired.fence.named.iter().filter_map(|(name, bridges)| {
        let why = why_hosts(name, observed)?;
        let by = &desired.named_by;
        let port = by.get(name).map_or_else(|| "a port".to_owned(), |port| format!("port {port}"));
        let set = by.get(name).map_or("PORT", PortId::as_str);
        let what = format!(
            "{port} names the interface {name}, which {why}: it is left as it is, no guest is taken to be behind it"
        );
        let help = format!("name the guest's own interface: meshctl port set {set} --interface IF; ip -br link show says which there are");
        let guests = bridges.iter().filter_map(|(bridge, guests)| Some((desired.networks.get(bridge)?, guests)));
        let guests: Vec<_> =
            guests.flat_map(|(net, guests)| guests.iter().map(|guest| (net.key.clone(), guest.mac))).collect();
        Some(Finding::new("M0617", what, help).cuts(Cut::guests(true, &guests)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::desired::{ObservedFence, Place};

    fn name(text: &str) -> IfName {
        text.parse().unwrap()
    }

    fn place(master: Option<&str>, card: bool) -> Place {
        Place { index: 1, master: master.map(str::to_owned), up: true, card }
    }

    #[test]
    fn an_interface_is_a_guests_unless_the_host_uses_it() {
        let fence = Fence {
            bridges: [name("vb10.12b5")].into(),
            ours: [name("vv10.12b5"), name("vt10.12b5")].into(),
            named: ["tap", "absent", "inside", "addressed", "card", "theirs"]
                .map(|n| (name(n), Default::default()))
                .into(),
            unnamed: [(name("loose"), name("vb10.12b5"))].into(),
            open: [(name("found"), name("vb10.12b5"))].into(),
            ..Fence::default()
        };
        let old = Fence { outside: ["left", "gone", "moved"].map(name).into(), ..Fence::default() };
        let observed = Observed {
            addressed: [name("addressed")].into(),
            fence: ObservedFence::Loaded(old),
            places: [
                ("tap", place(None, false)),
                ("inside", place(Some("vb10.12b5"), true)),
                ("addressed", place(None, false)),
                ("card", place(None, true)),
                ("theirs", place(Some("br0"), false)),
                ("loose", place(None, false)),
                ("left", place(None, false)),
                ("moved", place(Some("br0"), false)),
                ("before", place(None, false)),
            ]
            .map(|(n, place)| (name(n), place))
            .into(),
            ..Observed::default()
        };
        let named_by = [(name("card"), "p9".parse().unwrap())].into();
        let desired = Desired { fence, named_by, ..Desired::default() };
        let held =
            |observed: &Observed| of(&desired.fence, observed).iter().map(ToString::to_string).collect::<Vec<_>>();
        let all = ["absent", "found", "left", "loose", "tap"];
        assert_eq!(held(&observed), all);
        let told: Vec<_> = mistaken(&desired, &observed).map(|finding| finding.what).collect();
        assert!(
            told.len() == 2
                && told[0].contains("a port names the interface addressed")
                && told[1].contains("port p9 names the interface card"),
            "{told:?}"
        );
        // What an earlier daemon has left in the kernel counts as well.
        let anew = Observed {
            fence: ObservedFence::Unknown,
            shut: [name("before"), name("gone"), name("vb10.12b5")].into(),
            ..observed
        };
        assert!(held(&anew).contains(&"before".to_owned()) && !held(&anew).contains(&"gone".to_owned()));
    }
}
