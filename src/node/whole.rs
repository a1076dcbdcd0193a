//! The whole plan of a node: its networks, those of the echoes ([`super::watch`]), and the frames that cross a bridge ([`super::crossing`]).

use std::net::IpAddr;

use super::crossing::{self, Way};
use super::guard::Side;
use super::paths::Paths;
use super::plan::{self, Local, Plan};
use super::watch::{self, ECHO_VNI, Echoes};
use crate::table::Slice;
use crate::types::{UdpPort, Vni};

/// What a node makes of a slice.
#[derive(Debug)]
pub struct Whole {
    /// What the kernel is to hold.
    pub plan: Plan,
    /// Which peers get echoes, by overlay.
    pub echoes: Vec<Echoes>,
    /// Where frames cross a bridge; none without a network.
    pub way: Option<Way>,
}

/// The whole plan. `declared` are the paths as they are declared, `paths` those that frames take now.
pub fn planned(slice: &Slice, paths: &Paths, declared: &Paths, local: &Local) -> Whole {
    let (mut plan, echoes) = with_echoes(slice, paths, declared, local);
    let way = crossing::add(&mut plan, slice, local);
    Whole { plan, echoes, way }
}

/// With the networks of the echoes. Those go by the paths as they are declared: a plain path that is dead is
/// watched while its frames take another.
fn with_echoes(slice: &Slice, paths: &Paths, declared: &Paths, local: &Local) -> (Plan, Vec<Echoes>) {
    let mut plan = plan::plan(slice, paths, local);
    if paths == declared {
        let echoes = watch::add(&mut plan, slice, declared, local);
        return (plan, echoes);
    }
    let mut whole = plan::plan(slice, declared, local);
    let echoes = watch::add(&mut whole, slice, declared, local);
    let (desired, all) = (&mut plan.desired, whole.desired);
    let sides = [(&mut desired.guard.admin, all.guard.admin), (&mut desired.guard.external, all.guard.external)];
    for (side, all) in sides {
        let Some(all) = all else { continue };
        // Of members that are reached by another way only the echoes pass.
        let echo = |(_, _, vni): &&(UdpPort, IpAddr, Vni)| vni.get() == ECHO_VNI;
        let members: Vec<_> = all.members.iter().filter(echo).copied().collect();
        side.get_or_insert_with(|| Side { members: [].into(), ..all }).members.extend(members);
    }
    desired.guard.ports.extend(all.guard.ports);
    desired.onlink = all.onlink;
    for echoes in &echoes {
        if let Some((bridge, net)) = all.networks.iter().find(|(_, net)| net.tap == echoes.tap) {
            desired.fence.bridges.insert(bridge.clone());
            desired.fence.ours.extend(net.links.keys().filter(|name| *name != bridge).cloned());
            desired.networks.insert(bridge.clone(), net.clone());
        }
    }
    (plan, echoes)
}
