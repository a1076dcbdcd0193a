//! What nobody knows yet of this node: neither wrong nor well. A daemon that has just begun has found nothing because it has not looked.

use std::collections::BTreeSet;

use super::shared::{Topic, View};
use crate::api::list::named;
use crate::api::local::{PeerStatus, PlainState};
use crate::node::crossing::Way;
use crate::probe::crossing::Crossed;
use crate::types::NodeId;

/// Peers that are named.
const NAMED: usize = 3;

/// What is known of this node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// A table is in force, or it is told why there is none.
    pub table: bool,
    /// Frames have crossed a bridge of this host or not, or it is told why nobody looks.
    pub bridges: bool,
}

impl Known {
    /// By what the parts of the daemon have told.
    pub(super) fn of(view: &View, (way, crossed): (Option<&Way>, &Crossed)) -> Self {
        let told = |topic| view.findings.get(&topic).is_some_and(|findings| !findings.is_empty());
        Self {
            table: view.slice.is_some() || told(Topic::Removed) || told(Topic::Slice),
            bridges: told(Topic::Unwatched)
                || match way {
                    // Until the first plan is made, and the thread that crosses has it, there is none.
                    None => view.slice.as_ref().is_some_and(|slice| slice.networks.is_empty()),
                    Some(_) => seen(crossed, told(Topic::Bridges)),
                },
        }
    }
}

/// True where it was judged whether frames cross, and what does not is told: who looks for its cause takes some seconds.
fn seen(crossed: &Crossed, told: bool) -> bool {
    crossed.asked && (crossed.lost.is_empty() || told)
}

/// Each in half a sentence that follows "not known yet: ".
pub(super) fn unknown(known: Known, peers: &[PeerStatus]) -> Vec<String> {
    let mut all = Vec::new();
    if !known.table {
        all.push("whether the kernel follows a table: none is in force yet".to_owned());
    }
    if !known.bridges {
        all.push("whether this host lets frames between guests pass its bridges".to_owned());
    }
    let open: BTreeSet<&NodeId> = peers.iter().filter(|peer| is_open(peer)).map(|peer| &peer.node).collect();
    if !open.is_empty() {
        all.push(format!("whether frames pass between here and {}", named(open, NAMED)));
    }
    all
}

/// A path that has begun, or has stopped to answer, and of which nobody knows yet why.
fn is_open(peer: &PeerStatus) -> bool {
    let begins = peer.tunnel.as_ref().is_some_and(|tunnel| tunnel.starting && !tunnel.up);
    begins || peer.plain.iter().any(|plain| plain.state == PlainState::Quiet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::local::PlainStatus;
    use crate::policy::path::Path;
    use crate::probe::crossing::{Flow, Protocol};
    use crate::types::UdpPort;

    fn peer(node: String, state: PlainState) -> PeerStatus {
        let plain = PlainStatus {
            udp_port: UdpPort::try_from(4789).unwrap(),
            state,
            answered_age: None,
            rtt_micros: None,
            loss: None,
            bytes: None,
        };
        PeerStatus {
            node: node.parse().unwrap(),
            pdc: "a".parse().unwrap(),
            paths: vec![Path::Plain],
            why: String::new(),
            vtep: None,
            tunnel: None,
            plain: vec![plain],
        }
    }

    #[test]
    fn frames_that_are_lost_are_not_called_looked_at_before_it_is_told() {
        let ip = std::net::IpAddr::from([192, 0, 2, 1]);
        let flow = Flow { protocol: Protocol::Ipv4, from: ip, to: ip };
        let lost = Crossed { asked: true, lost: [flow].into(), ..Crossed::default() };
        assert!(!seen(&Crossed::default(), false) && !seen(&lost, false));
        assert!(seen(&lost, true) && seen(&Crossed { asked: true, ..Crossed::default() }, false));
    }

    #[test]
    fn what_was_not_looked_at_is_not_known_and_what_is_told_is() {
        let all = Known { table: true, bridges: true };
        let peers = |state| (1..6).map(|n| peer(format!("a-{n}"), state)).collect::<Vec<_>>();
        assert!(unknown(all, &peers(PlainState::Answers)).is_empty());
        // What is wrong is a finding, and a peer that may be any box is never known.
        for state in [PlainState::OutLost, PlainState::Silent, PlainState::Small, PlainState::Starting] {
            assert!(unknown(all, &peers(state)).is_empty(), "{state:?}");
        }
        let quiet = unknown(all, &peers(PlainState::Quiet));
        assert!(quiet.len() == 1 && quiet[0].ends_with("a-1, a-2, a-3 and 2 more"), "{quiet:?}");
        let nothing = unknown(Known { table: false, bridges: false }, &[]);
        assert!(nothing.len() == 2 && nothing[1].contains("bridges"), "{nothing:?}");
    }
}
