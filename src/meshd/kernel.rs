//! What the engine asks of a kernel. Its tests have kernels of their own that fail when they are told to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::api::cut::Cut;
use crate::api::list::named;
use crate::api::local::Finding;
use crate::api::problem::Problem;
use crate::linux::{self, KernelError};
use crate::node::attached::Attached;
use crate::node::barriers::{Base, Table};
use crate::node::desired::{Desired, Observed};
use crate::node::fence::{Refused, Said};
use crate::node::names::{self, Device};
use crate::node::older::Older;
use crate::node::op::Op;
use crate::node::shown::Legacy;
use crate::node::strays::{Ask, Way, Ways};
use crate::node::verdicts::Rules;
use crate::node::watch::ECHO_VNI;
use crate::policy::path::Path;
use crate::probe::crossing::Protocol;
use crate::table::Slice;
use crate::types::{IfName, Mac, UdpPort, Vni};

/// Networks that are named of those that something was not done for.
const NETWORKS: usize = 8;

/// The kernel as two verbs, and the counters of its packet filters.
pub trait Kernel {
    /// What it holds.
    ///
    /// # Errors
    /// It cannot be read.
    fn observe(&mut self) -> Result<Observed, KernelError>;
    /// Does these steps.
    ///
    /// # Errors
    /// A step was refused; others are done.
    fn apply(&mut self, ops: &[Op]) -> Result<(), KernelError>;
    /// Counters of the guard and of the filter behind the guests' ports.
    ///
    /// # Errors
    /// They cannot be read.
    fn filter_counters(&mut self) -> Result<BTreeMap<String, u64>, KernelError> {
        Ok(BTreeMap::new())
    }
    /// Which ways the kernel would take to VTEPs.
    ///
    /// # Errors
    /// It does not tell.
    fn ways(&mut self, asks: &[Ask]) -> Result<Ways, KernelError> {
        let _ = asks;
        Ok(Ways::default())
    }
    /// A number that is another one after each change of any packet filter.
    ///
    /// # Errors
    /// It cannot be read.
    fn filter_generation(&mut self) -> Result<u32, KernelError> {
        Ok(0)
    }
    /// Chains of all packet filters at hooks.
    ///
    /// # Errors
    /// They cannot be read.
    fn hooks(&mut self) -> Result<Vec<Base>, KernelError> {
        Ok(Vec::new())
    }
    /// Rules of a table, by chain.
    ///
    /// # Errors
    /// They cannot be read.
    fn rules(&mut self, table: &Table) -> Result<Rules, KernelError> {
        let _ = table;
        Ok(Rules::new())
    }
    /// Tools of the older iptables that have something in the kernel.
    fn legacy_filters(&mut self) -> Vec<&'static str> {
        Vec::new()
    }
    /// What the older iptables says of its chain FORWARD.
    fn legacy_forward(&mut self) -> Legacy {
        Legacy::new()
    }
    /// What all bridges of the host show to its packet filters.
    fn bridges_show(&mut self) -> BTreeSet<Protocol> {
        BTreeSet::new()
    }
    /// All tables of the older iptables.
    fn older_tables(&mut self) -> Vec<Older> {
        Vec::new()
    }
    /// What is attached to interfaces, beside packet filters.
    ///
    /// # Errors
    /// It cannot be read.
    fn attached(&mut self, of: &BTreeSet<IfName>) -> Result<BTreeMap<IfName, Attached>, KernelError> {
        let _ = of;
        Ok(BTreeMap::new())
    }
    /// Frames of guests that were dropped for a reason, by interface.
    ///
    /// # Errors
    /// They cannot be read.
    fn refused_guests(&mut self, reason: &str) -> Result<Vec<Refused>, KernelError> {
        let _ = reason;
        Ok(Vec::new())
    }
    /// By which way UDP leaves for each of these addresses, from no address in particular; none: by no way. Of those that are `dead` it says
    /// whether the next hop answers.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    fn out_ways(
        &mut self,
        ends: &[SocketAddr],
        dead: &BTreeSet<IpAddr>,
    ) -> Result<Vec<(IpAddr, Option<Way>)>, KernelError> {
        let _ = (ends, dead);
        Ok(Vec::new())
    }
    /// Guests of networks that find theirs by themselves that were heard for the first time in a while, by interface.
    ///
    /// # Errors
    /// They cannot be read.
    fn spoken(&mut self) -> Result<Vec<(IfName, Mac)>, KernelError> {
        Ok(Vec::new())
    }
    /// Has them told again when they are heard again.
    ///
    /// # Errors
    /// The filter cannot be changed.
    fn forget_spoken(&mut self, guests: &[(IfName, Mac)]) -> Result<(), KernelError> {
        let _ = guests;
        Ok(())
    }
    /// IP addresses that such guests have spoken for.
    ///
    /// # Errors
    /// They cannot be read.
    fn own_addresses(&mut self) -> Result<Vec<(IfName, Mac, IpAddr)>, KernelError> {
        Ok(Vec::new())
    }
    /// How long ago a bridge heard an Ethernet address behind a port; none: it does not know it there.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    fn last_heard(&mut self, port: &IfName, mac: Mac) -> Result<Option<Duration>, KernelError> {
        let _ = (port, mac);
        Ok(None)
    }
    /// Samples of what guests say and may not, for a reason.
    ///
    /// # Errors
    /// They cannot be read.
    fn said(&mut self, reason: &str) -> Result<Vec<Said>, KernelError> {
        let _ = reason;
        Ok(Vec::new())
    }
}

impl Kernel for linux::Kernel {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        Self::observe(self)
    }

    fn apply(&mut self, ops: &[Op]) -> Result<(), KernelError> {
        Self::apply(self, ops)
    }

    fn filter_counters(&mut self) -> Result<BTreeMap<String, u64>, KernelError> {
        let mut counters = self.guard_counters()?;
        counters.extend(self.guest_counters()?);
        Ok(counters)
    }

    fn ways(&mut self, asks: &[Ask]) -> Result<Ways, KernelError> {
        Self::ways(self, asks)
    }

    fn out_ways(
        &mut self,
        ends: &[SocketAddr],
        dead: &BTreeSet<IpAddr>,
    ) -> Result<Vec<(IpAddr, Option<Way>)>, KernelError> {
        Self::out_ways(self, ends, dead)
    }

    fn filter_generation(&mut self) -> Result<u32, KernelError> {
        Self::filter_generation(self)
    }

    fn hooks(&mut self) -> Result<Vec<Base>, KernelError> {
        Self::hooks(self)
    }

    fn rules(&mut self, table: &Table) -> Result<Rules, KernelError> {
        Self::rules(self, table)
    }

    fn legacy_filters(&mut self) -> Vec<&'static str> {
        Self::legacy_filters(self)
    }

    fn legacy_forward(&mut self) -> Legacy {
        Self::legacy_forward(self)
    }

    fn bridges_show(&mut self) -> BTreeSet<Protocol> {
        Self::bridges_show(self)
    }

    fn older_tables(&mut self) -> Vec<Older> {
        Self::older_tables(self)
    }

    fn attached(&mut self, of: &BTreeSet<IfName>) -> Result<BTreeMap<IfName, Attached>, KernelError> {
        Self::attached(self, of)
    }

    fn refused_guests(&mut self, reason: &str) -> Result<Vec<Refused>, KernelError> {
        Self::refused_guests(self, reason)
    }

    fn said(&mut self, reason: &str) -> Result<Vec<Said>, KernelError> {
        Self::said(self, reason)
    }

    fn spoken(&mut self) -> Result<Vec<(IfName, Mac)>, KernelError> {
        Self::spoken(self)
    }

    fn forget_spoken(&mut self, guests: &[(IfName, Mac)]) -> Result<(), KernelError> {
        Self::forget_spoken(self, guests)
    }

    fn own_addresses(&mut self) -> Result<Vec<(IfName, Mac, IpAddr)>, KernelError> {
        Self::own_addresses(self)
    }

    fn last_heard(&mut self, port: &IfName, mac: Mac) -> Result<Option<Duration>, KernelError> {
        Self::last_heard(self, port, mac)
    }
}

/// True where something of a plan is there, from before: what stands carries frames, whatever is not done to it.
pub(super) fn stands(desired: &Desired, observed: &Observed) -> bool {
    desired.networks.keys().any(|bridge| observed.links.contains_key(bridge))
}

/// What was not done of a plan, with the networks of this slice that it concerns. `stands`: [`stands`].
pub(super) fn told_of(error: &KernelError, slice: &Slice, stands: bool) -> Finding {
    let finding = told(error);
    if matches!(error, KernelError::Filter { .. }) && !stands {
        return finding.cuts(Cut::node(true));
    }
    let Some(devices) = error.devices() else { return finding };
    let Some(parsed) = devices.keys().map(|name| names::parse(name.as_str())).collect::<Option<Vec<_>>>() else {
        return finding;
    };
    let network = |(device, vni, port): (Device, Vni, UdpPort)| {
        let (key, network) = slice.networks.iter().find(|(key, of)| key.vni == vni && of.udp_port == port)?;
        Some((device, key, network))
    };
    // What watches the plain path carries no guest's frame.
    let theirs = parsed.into_iter().filter(|(_, vni, _)| vni.get() != ECHO_VNI);
    let Some(all) = theirs.map(network).collect::<Option<Vec<_>>>() else { return finding };
    let of: BTreeMap<_, _> = all.iter().map(|(_, key, network)| (*key, &network.name)).collect();
    if of.is_empty() {
        return finding.harmless();
    }
    let only = |which: Device| all.iter().all(|(device, ..)| *device == which);
    let path = if only(Device::Vxlan) { Some(Path::Plain) } else { only(Device::Tap).then_some(Path::Tunnel) };
    let cut = Cut {
        surely: devices.values().all(|whole| *whole),
        networks: of.keys().map(|key| (*key).clone()).collect(),
        path,
        ..Cut::default()
    };
    let what = format!("network {}: {}", named(of.values(), NETWORKS), finding.what);
    Finding { what, ..finding }.cuts(if of.len() > NETWORKS { Cut::node(false) } else { cut })
}

/// Where the kernel was not even asked, nobody knows that something of the plan is missing. Nor does a packet filter that is not loaded say so:
/// the one of before is in force, or none, and devices of before go on.
pub(super) fn told(error: &KernelError) -> Finding {
    let finding = Finding::from(&Problem::from(error));
    let unsure = matches!(error, KernelError::Socket { .. } | KernelError::Filter { .. });
    if unsure { finding.cuts(Cut::node(false)) } else { finding }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::linux::{Ours, Unloaded};
    use crate::meshd::shared::Topic;
    use crate::node::plan::tests::{self as plans, slice};
    use crate::node::reconcile;

    #[test]
    fn what_is_not_done_on_devices_concerns_their_networks_and_says_so() {
        let slice = slice("suppress", json!({}));
        let key = slice.networks.keys().next().unwrap();
        let op = |name: &str, why: &str| KernelError::op(&Op::SetUp { name: name.parse().unwrap(), up: true }, why);
        let many = |names: &[&str]| KernelError::Steps {
            failed: names.iter().map(|name| op(name, "no")).collect(),
            skipped: 6,
        };
        for (error, networks, path) in [
            (op("vv10.12b5", "File exists"), 1, Some(Path::Plain)),
            (many(&["vv10.12b5"]), 1, Some(Path::Plain)),
            (many(&["vt10.12b5"]), 1, Some(Path::Tunnel)),
            (many(&["vv10.12b5", "vb10.12b5"]), 1, None),
            (many(&["vv10.12b5", "vv16777215.12b5"]), 1, Some(Path::Plain)),
        ] {
            let told = told_of(&error, &slice, true);
            let cut = told.cut.clone().unwrap();
            assert!(told.code == "M0626" && cut.surely && !cut.node, "{told:?}");
            assert_eq!((cut.networks.as_slice(), cut.path), (&[key.clone()][..networks], path), "{told:?}");
            let name = &slice.networks[key].name;
            assert!(told.what.starts_with(&format!("network {name}: ")), "{told:?}");
        }
        // What it may be about is not known: of no network of this slice, or of a guest's interface.
        for error in [many(&["vv77.12b5"]), op("tap1", "no"), KernelError::Nft("no".to_owned())] {
            assert!(told_of(&error, &slice, true).cut.is_none(), "the topic says what is cut off: {error:?}");
        }
        assert_eq!(
            told_of(&many(&["vq16777215.12b5"]), &slice, true).cut,
            Some(Cut::default()),
            "no guest's frame goes there"
        );
    }

    #[test]
    fn a_packet_filter_that_is_not_loaded_says_nothing_sure_of_what_stands_from_before() {
        let slice = slice("suppress", json!({}));
        let whys: [fn() -> KernelError; 4] = [
            || KernelError::Mute("nft ended with status 1 and said nothing".to_owned()),
            || KernelError::Nft("no".to_owned()),
            || KernelError::NoNft,
            || KernelError::NotAllowed,
        ];
        for why in whys {
            for filter in [Ours::Guard, Ours::Fence] {
                let error = KernelError::Filter { of: Unloaded { filter, there: Some(false) }, why: Box::new(why()) };
                for (stands, surely) in [(true, false), (false, true)] {
                    let told = told_of(&error, &slice, stands);
                    assert_eq!(Topic::Kernel.of(told).cut, Some(Cut::node(surely)), "{error:?}");
                }
                assert_eq!(told(&error).cut, Some(Cut::node(false)), "what stands was not seen");
            }
        }
    }

    #[test]
    fn something_of_a_plan_stands_where_a_bridge_of_it_does() {
        let desired = plans::planned(&slice("suppress", json!({})), &plans::local()).desired;
        let mut kernel = linux::fake::Fake::default();
        assert!(!stands(&desired, &kernel.state));
        kernel.apply(&reconcile::diff(&desired, &kernel.state)).unwrap();
        assert!(stands(&desired, &kernel.state));
        assert!(!stands(&Desired::default(), &kernel.state), "of another plan");
    }
}
