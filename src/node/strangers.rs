//! VXLAN that this host sends and that none of its peers may get, counted by the guard: of a program, or of a vxlan device of others. One that was made
//! here and moved into another network namespace keeps its socket here (`vxlan_open`, drivers/net/vxlan/vxlan_core.c: `vxlan->net`), and no list of
//! this namespace shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::growing::Growing;
use super::guard::OUT_UNKNOWN;
use crate::api::local::Finding;
use crate::types::{Mac, Mono, UdpPort};

/// How long it is told after the last packet.
const QUIET: Duration = Duration::from_secs(30);
/// Packets that make it more than a slip: a device that comes up says as many by itself.
const SOME: u64 = 4;

/// What was counted.
#[derive(Debug, Default)]
pub struct Strangers(Growing<()>);

impl Strangers {
    /// Takes the counters of the packet filters.
    pub fn learn(&mut self, counters: &BTreeMap<String, u64>, now: Mono) {
        let packets = counters.get(OUT_UNKNOWN).copied().unwrap_or_default();
        self.0.look([((), packets, Mac([0; 6]))], now, QUIET);
    }

    /// What is said while it goes on; `ports` are those of the overlays here.
    pub fn finding<'a>(&self, ports: impl Iterator<Item = &'a UdpPort>) -> Option<Finding> {
        let (_, packets, _) = self.0.all().find(|(_, packets, _)| *packets >= SOME)?;
        let ports: Vec<String> = ports.map(ToString::to_string).collect();
        let port = ports.join(", ");
        let what = format!(
            "{packets} packets of VXLAN that this host has sent to UDP port {port} were for no peer of this node, or not of its devices, and are \
             dropped (out_unknown): of a program, of a vxlan device of others, which may stand in another network namespace (docker swarm and \
             some CNIs move theirs), or of this node's own by another interface than the admin one"
        );
        let help = format!(
            "ss -uanp | grep -E ':({}) '; ip -d link show type vxlan; lsns -t net, and in each: nsenter -t PID -n ip -d link show type vxlan; then another \
             UDP port for it, or for the overlay: meshctl overlay set NAME --udp-port PORT",
            ports.join("|")
        );
        Some(Finding::new("M0619", what, help).harmless())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_with_the_port_and_ends() {
        let mut strangers = Strangers::default();
        let mut look = |packets: u64, seconds: u64| {
            strangers.learn(&[(OUT_UNKNOWN.to_owned(), packets)].into(), Mono::from_nanos(seconds * 1_000_000_000));
            strangers.finding([UdpPort::try_from(4789).unwrap()].iter())
        };
        assert_eq!(look(50, 1), None, "nobody knows when that was");
        assert_eq!(look(53, 6), None, "a slip");
        let told = look(60, 11).unwrap();
        assert!(told.what.starts_with("10 packets of VXLAN that this host has sent to UDP port 4789"), "{told:?}");
        assert!(told.help.starts_with("ss -uanp | grep -E ':(4789) '"), "{told:?}");
        assert!(look(60, 40).is_some());
        assert_eq!(look(60, 42), None);
        assert_eq!(look(62, 50), None);
    }
}
