//! Ring 4: shell of the node daemon. It owns threads, sockets and files; what to do is decided further in.
//!
//! [`engine`] (one thread) owns the kernel and brings disk, kernel and lanes to each new slice; [`lane`]s (threads) forward;
//! [`link`] (async, main thread) follows the management node; [`control`] answers on the local socket; [`shared`] is what they
//! tell each other.

mod alive;
mod asleep;
mod attached;
mod barriers;
mod beat;
pub mod belongings;
mod contests;
pub mod control;
mod crossing;
mod differing;
pub mod disk;
mod drift;
mod ends;
pub mod engine;
pub mod events;
pub mod files;
mod gone;
mod guests;
mod heard;
pub mod held;
pub mod kernel;
pub mod keys;
pub mod lane;
pub mod lanes;
pub mod link;
pub mod log;
pub mod look;
mod lossy;
mod mtu;
pub mod offload;
mod others;
mod outways;
mod pace;
mod plain;
mod plugs;
mod probing;
pub mod prove;
mod quota;
pub mod run;
pub mod shared;
mod silent;
pub mod status;
mod strays;
mod unknown;
pub mod watch;

use crate::api::objects::NodeFacts;
use crate::config::meshd::{Ciphers, Config};
use crate::linux::host;
use crate::node::plan::{Local, Underlay};
use crate::types::Mtu;

/// MTU of Ethernet, where a side of the underlay is not there yet and cannot say its own.
pub const ETHERNET_MTU: u16 = 1500;

/// What this node says of itself.
pub fn facts(config: &Config, local: &Local, lanes: u8) -> NodeFacts {
    let address = |side: &Option<Underlay>| side.as_ref().map(|u| u.address);
    let mtu = |side: &Option<Underlay>| {
        let bytes = side.as_ref().map_or(ETHERNET_MTU, |u| u.mtu);
        match Mtu::try_from(u64::from(bytes)).or_else(|_| Mtu::try_from(Mtu::MIN)) {
            Ok(mtu) => mtu,
            Err(_) => unreachable!("the least MTU is an MTU"),
        }
    };
    NodeFacts {
        admin: address(&local.admin),
        external: address(&local.external),
        admin_mtu: mtu(&local.admin),
        external_mtu: mtu(&local.external),
        listen: config.underlay.listen,
        lanes,
        aes: config.underlay.suite == Ciphers::Auto && host::aes_instructions(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}
