//! The paths of a lane: what each one carries, told to the data plane and to whoever asks.

use std::net::SocketAddr;

use crate::forward::PathSizes;
use crate::policy::mtu::{IPV4, IPV6, UDP, WIREGUARD};
use crate::probe::{PathConfig, Phase, Status};
use crate::tunnel::Tunnels;
use crate::types::{Mono, PeerSlot};

/// What a lane knows of its paths.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// What the data plane asks.
    pub(super) sizes: PathSizes,
    paths: Vec<(PathConfig, Status)>,
}

impl Paths {
    /// Follows a new setup.
    pub(super) fn set(&mut self, configs: &[PathConfig], tunnels: &Tunnels, now: Mono) {
        self.sizes = PathSizes::default();
        self.paths.clear();
        for config in configs {
            let endpoint = tunnels.status(config.peer, now).and_then(|status| status.endpoint);
            self.sizes.set(config.peer, payload(config.assumed, endpoint));
            let status = Status { size: config.assumed, phase: Phase::Base, since: now, largest: config.interface_mtu };
            self.paths.push((*config, status));
        }
    }

    /// What is known of each.
    pub(super) fn status(&self) -> Vec<(PeerSlot, Status)> {
        self.paths.iter().map(|(config, status)| (config.peer, *status)).collect()
    }
}

/// Bytes of tunnel payload in an outer IP packet of `size` bytes to `endpoint`.
fn payload(size: u16, endpoint: Option<SocketAddr>) -> u16 {
    let ip = if endpoint.is_some_and(|to| to.is_ipv6()) { IPV6 } else { IPV4 };
    size.saturating_sub(ip + UDP + WIREGUARD)
}
