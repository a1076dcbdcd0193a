//! Frames that the kernel drops because the device that they are for is smaller: told for as long as it goes on, with the device, what it
//! carries and what to do. [`super::fence_sizes`] counts them.

use std::collections::BTreeMap;

use super::desired::{Desired, Net};
use super::fence::Refused;
use super::larger::{Counted, order};
use crate::api::cut::{Cut, Direction};
use crate::api::local::Finding;
use crate::policy::path::Path;
use crate::table::NetKey;
use crate::types::{IfName, Mono};

/// What was dropped at which device.
#[derive(Debug, Default)]
pub struct Dropped {
    /// What the kernel said last, which forgets a device that was quiet for a minute; none: it was not asked yet.
    said: Option<BTreeMap<IfName, u64>>,
    /// Since the daemon runs.
    total: BTreeMap<IfName, u64>,
    counted: BTreeMap<IfName, Counted>,
    /// What each device carried when it was counted last, and its count when that became so, if it was another before.
    sizes: BTreeMap<IfName, (u32, u64)>,
}

/// Devices that are remembered: the host's, but a filter that is loaded anew must not keep what is gone.
const DEVICES: usize = 1024;

impl Dropped {
    /// True once the kernel was asked.
    pub const fn has_begun(&self) -> bool {
        self.said.is_some()
    }

    /// Takes what the kernel counts, and what devices carry now. What it counted before this daemon began is not of now.
    pub fn learn(&mut self, refused: &[Refused], mtus: &BTreeMap<IfName, u32>) {
        let said: BTreeMap<IfName, u64> =
            refused.iter().map(|refused| (refused.interface.clone(), refused.frames)).take(DEVICES).collect();
        if let Some(before) = &self.said {
            for (name, frames) in &said {
                let before = before.get(name).copied().filter(|before| before <= frames).unwrap_or_default();
                if *frames > before && (self.total.len() < DEVICES || self.total.contains_key(name)) {
                    *self.total.entry(name.clone()).or_default() += frames - before;
                }
            }
        }
        self.said = Some(said);
        self.resized(mtus);
    }

    /// What was dropped before a device got another size says nothing of that size; of what is new with this count nobody knows.
    fn resized(&mut self, mtus: &BTreeMap<IfName, u32>) {
        for (name, total) in &self.total {
            let Some(mtu) = mtus.get(name) else { continue };
            match self.sizes.get(name) {
                Some((before, _)) if before == mtu => {}
                Some(_) => {
                    self.sizes.insert(name.clone(), (*mtu, *total));
                    self.counted.remove(name);
                }
                None => drop(self.sizes.insert(name.clone(), (*mtu, 0))),
            }
        }
    }

    /// What was dropped since the daemon runs, by device.
    pub fn counts(&self) -> impl Iterator<Item = (&IfName, u64)> {
        self.total.iter().map(|(name, frames)| (name, *frames))
    }

    /// What goes on. `places` says whose network a guest's interface is in, `mtus` what devices carry.
    pub fn findings(
        &mut self,
        desired: &Desired,
        places: &BTreeMap<IfName, NetKey>,
        mtus: &BTreeMap<IfName, u32>,
        now: Mono,
    ) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, total) in &self.total {
            let Some(mtu) = mtus.get(name) else { continue };
            // It was cured, or made worse, since the kernel was asked last.
            let Some((_, before)) = self.sizes.get(name).filter(|(size, _)| size == mtu) else { continue };
            let (counted, frames) = Counted::look(self.counted.get(name).copied(), *total, *before, now);
            self.counted.insert(name.clone(), counted);
            let Some(order) = order(frames) else { continue };
            let net = desired.networks.iter().find(|(_, net)| net.vxlan.as_ref() == Some(name));
            findings.extend(match (net, places.get(name)) {
                (Some((bridge, net)), _) => Some(to_nodes(name, *mtu, order, bridge, net)),
                (None, Some(key)) => Some(to_guest(name, *mtu, order, key)),
                (None, None) => None,
            });
        }
        findings
    }
}

/// Guests send more than the plain path carries.
fn to_nodes(name: &IfName, mtu: u32, order: u64, bridge: &IfName, net: &Net) -> Finding {
    let number = net.links.get(bridge).map_or(mtu, |link| link.mtu.min(mtu));
    let what = format!(
        "network {}: guests of this node send packets larger than the {mtu} bytes that {name} carries to other nodes of the PDC; the kernel \
         drops them, {order} and more in a minute",
        net.key
    );
    let help =
        format!("give the guests the number {number} (DHCP option 26, router advertisement, or their interface)");
    // Smaller ones arrive.
    Finding::new("M0513", what, help).cuts(Cut {
        surely: false,
        direction: Some(Direction::FromGuests),
        ..Cut::way(&net.key, Path::Plain)
    })
}

/// A guest's interface here is smaller than what others send it.
fn to_guest(name: &IfName, mtu: u32, order: u64, key: &NetKey) -> Finding {
    let what = format!(
        "network {key}: packets for the guest behind {name} are larger than the {mtu} bytes of that interface; the kernel drops them, {order} \
         and more in a minute"
    );
    let help = format!(
        "ip link set dev {name} mtu NUMBER, as large as the largest that guests send; their numbers: meshctl mtu map"
    );
    Finding::new("M0513", what, help).cuts(Cut {
        surely: false,
        direction: Some(Direction::ToGuests),
        ..Cut::network(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::plan::tests::{local, planned, slice};

    fn name(text: &str) -> IfName {
        text.parse().unwrap()
    }

    /// What is found after what the kernel says, if it is asked.
    fn look_at(
        dropped: &mut Dropped,
        desired: &Desired,
        places: &BTreeMap<IfName, NetKey>,
        mtus: &BTreeMap<IfName, u32>,
        (second, said): (u64, Option<&[(&str, u64)]>),
    ) -> Vec<String> {
        if let Some(said) = said {
            let one = |(of, frames): &(&str, u64)| Refused {
                interface: name(of),
                mac: None,
                reason: "large",
                frames: *frames,
            };
            dropped.learn(&said.iter().map(one).collect::<Vec<_>>(), mtus);
        }
        let found = dropped.findings(desired, places, mtus, Mono::from_nanos(second * 1_000_000_000));
        found.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn what_was_dropped_before_a_device_got_another_size_is_not_told_of_that_size() {
        let desired = planned(&slice("suppress", serde_json::json!({})), &local()).desired;
        let places = BTreeMap::from([(name("tap1"), desired.networks.values().next().unwrap().key.clone())]);
        let mtu = |mtu: u32| BTreeMap::from([(name("tap1"), mtu)]);
        let mut dropped = Dropped::default();
        let mut look = |second, mtu: &BTreeMap<IfName, u32>, frames: Option<u64>| {
            let said = frames.map(|frames| [("tap1", frames)]);
            look_at(&mut dropped, &desired, &places, mtu, (second, said.as_ref().map(|said| &said[..])))
        };
        let (small, cured) = (mtu(1400), mtu(1500));
        assert!(look(0, &small, Some(0)).is_empty());
        assert!(look(2, &small, Some(100))[0].contains("1400 bytes"));
        assert!(look(3, &cured, None).is_empty(), "it is cured");
        assert!(look(4, &cured, Some(190)).is_empty(), "these were dropped before");
        assert!(look(30, &cured, Some(190)).is_empty());
        assert!(look(40, &cured, Some(230))[0].contains("1500 bytes"), "larger ones are dropped still");
        assert!(look(41, &small, None).is_empty(), "and what it is made smaller to is not known to drop yet");
        assert!(look(42, &small, Some(231)).is_empty());
        assert!(look(44, &small, Some(300))[0].contains("1400 bytes"));
    }

    #[test]
    fn what_a_device_drops_for_its_size_is_told_while_it_goes_on_and_what_was_before_is_not() {
        let desired = planned(&slice("suppress", serde_json::json!({})), &local()).desired;
        let places = BTreeMap::from([(name("tap1"), desired.networks.values().next().unwrap().key.clone())]);
        let mtus = [("vv10.12b5", 1450), ("tap1", 1400), ("tap2", 1400)].map(|(of, mtu)| (name(of), mtu)).into();
        let mut dropped = Dropped::default();
        let mut look =
            |second, said: Option<&[(&str, u64)]>| look_at(&mut dropped, &desired, &places, &mtus, (second, said));
        assert!(look(0, Some(&[("vv10.12b5", 900)])).is_empty(), "before this daemon");
        assert!(look(2, Some(&[("vv10.12b5", 905), ("tap1", 3)])).is_empty(), "somebody tries");
        let told = look(4, Some(&[("vv10.12b5", 1000), ("tap1", 50), ("tap2", 500)]));
        assert_eq!(told.len(), 2, "tap2 is of no network: {told:?}");
        assert!(told.iter().any(|what| what.contains("1450 bytes that vv10.12b5") && what.contains("20 and more")));
        assert!(told.iter().any(|what| what.contains("behind tap1") && what.contains("1400 bytes")));
        assert!(look(60, None).len() == 2 && look(100, None).len() == 2);
        assert!(look(165, None).is_empty(), "it ends");
        assert!(look(166, Some(&[])).is_empty());
        assert_eq!(look(167, Some(&[("tap1", 30)])).len(), 1, "the kernel had forgotten it");
        let counts: Vec<_> = dropped.counts().map(|(of, frames)| (of.to_string(), frames)).collect();
        assert_eq!(counts, [("tap1".to_owned(), 80), ("tap2".to_owned(), 500), ("vv10.12b5".to_owned(), 100)]);
    }
}
