//! Guests that send to a group of Ethernet what is for one host by its IP address: a cluster whose address has a group for its Ethernet address,
//! static entries for such. No tunnel carries it, since each host that has the IP address would take it. It is told while it goes on.

use std::collections::BTreeSet;

use super::barred::{QUIET, REPEATED, SENDS, wrong};
use super::growing::Growing;
use super::presence::{Presence, bounded, name_of, port_of};
use crate::api::local::Finding;
use crate::table::{NetKey, Slice};
use crate::types::{Mac, Mono};

/// What is counted of one guest.
#[derive(Debug, Clone)]
pub struct ToGroup {
    /// Its network.
    pub key: NetKey,
    /// Its place among the guests of its network.
    pub place: u8,
    /// Its Ethernet address, as of the last frame.
    pub mac: Mac,
    /// Frames that were dropped, since the lanes started.
    pub frames: u64,
}

/// What was counted before, and when it last grew.
#[derive(Debug, Default)]
pub struct Singles(Growing<(NetKey, u8)>);

impl Singles {
    /// Compares with what was counted before.
    pub fn look(
        &mut self,
        slice: &Slice,
        presence: &Presence,
        all: impl IntoIterator<Item = ToGroup>,
        now: Mono,
    ) -> Vec<Finding> {
        self.0.look(all.into_iter().map(|one| ((one.key, one.place), one.frames, one.mac)), now, QUIET);
        let hosted = |key: &NetKey| slice.networks.contains_key(key);
        let goes_on = self.0.all().filter(|((key, _), frames, _)| hosted(key) && *frames >= REPEATED);
        let told: BTreeSet<_> = goes_on.map(|((key, _), _, mac)| told(slice, presence, key, mac)).collect();
        bounded(SENDS, told.into_iter().map(wrong).collect())
    }
}

fn told(slice: &Slice, presence: &Presence, key: &NetKey, mac: Mac) -> (String, String) {
    let interface = presence.of(&(key.clone(), mac)).and_then(|here| here.interface.as_ref());
    let behind = interface.map_or_else(String::new, |interface| format!(" ({interface})"));
    let what = format!(
        "{}{behind} in network {} sends frames to a group of Ethernet that are for one host by their IP address; tunnels drop them (group-unicast), \
         the plain path carries them",
        port_of(slice, key, mac),
        name_of(slice, key)
    );
    let any = interface.map_or("any", |interface| interface.as_str());
    let help = format!(
        "give that IP address a unicast Ethernet address: in the guest, where it has an entry for it (ip neigh), and where it is a cluster's \
         by its unicast mode; what it is: tcpdump -eni {any} ether multicast and ether src {mac}"
    );
    (what, help)
}

#[cfg(test)]
#[path = "singles_tests.rs"]
mod tests;
