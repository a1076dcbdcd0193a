use serde_json::json;

use super::*;
use crate::linux::fake::Fake;
use crate::node::desired::{Bridge, ObservedFence, Port, Tap};
use crate::node::plan::tests as plans;
use crate::node::reconcile::{cleanup, diff};

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// A host, what it should hold, and what is remembered.
struct Ground {
    kernel: Fake,
    slice: Slice,
    plugs: Plugs,
}

impl Ground {
    /// `tap1` is of a port that names it, `tap2` of one that names none; nothing is plugged yet.
    fn new() -> Self {
        let mut slice = plans::slice("suppress", json!({}));
        let own = slice.node.clone();
        let rows = json!({
            "default/10/-/02:00:00:00:00:51": {"node": own, "interface": "tap1"},
            "default/10/-/02:00:00:00:00:52": {"node": own},
        });
        let rows: BTreeMap<String, serde_json::Value> = serde_json::from_value(rows).unwrap();
        for (key, row) in rows {
            slice.rows.insert(key.parse().unwrap(), serde_json::from_value(row).unwrap());
        }
        let mut ground = Self { kernel: Fake::default(), slice, plugs: Plugs::default() };
        ground.make("tap1", None);
        ground.make("tap2", None);
        ground
    }

    fn make(&mut self, of: &str, bridge: Option<&str>) {
        let port = bridge.map(|bridge| Port { bridge: name(bridge), flags: crate::linux::fake::NEW_PORT });
        let kind = Kind::Tap(Tap { multi_queue: false, vnet_hdr: false, persist: true, owned: false });
        let link = Link { kind, alias: None, mtu: 1500, up: true, no_addresses: true, port };
        self.kernel.state.links.insert(name(of), link);
    }

    fn bridge(&mut self, of: &str, alias: Option<&str>) {
        let kind = Kind::Bridge(Bridge::OURS);
        let alias = alias.map(str::to_owned);
        let link = Link { kind, alias, mtu: 1500, up: true, no_addresses: true, port: None };
        self.kernel.state.links.insert(name(of), link);
    }

    fn stand(&mut self, of: &str, bridge: Option<&str>) {
        // What a bridge knows of a port goes with it.
        self.kernel.state.bridge_fdb.values_mut().for_each(|table| table.retain(|_, entry| entry.port != name(of)));
        self.kernel.state.bridge_fdb.retain(|_, table| !table.is_empty());
        let link = self.kernel.state.links.get_mut(&name(of)).unwrap();
        link.port = bridge.map(|bridge| Port { bridge: name(bridge), flags: crate::linux::fake::NEW_PORT });
    }

    fn at(&self, of: &str) -> Option<String> {
        self.kernel.state.links[&name(of)].port.as_ref().map(|port| port.bridge.to_string())
    }

    /// As the engine does it.
    fn settle(&mut self) {
        let desired = plans::planned(&self.slice, &plans::local()).desired;
        for _ in 0..5 {
            let mut observed = self.kernel.observe().unwrap();
            self.plugs.learn(&self.slice, &observed);
            let renames = renames(&desired, &observed);
            if !renames.is_empty() {
                self.kernel.apply(&renames).unwrap();
                observed = self.kernel.observe().unwrap();
                self.plugs.learn(&self.slice, &observed);
            }
            let steps = self.plugs.steps(&self.slice, &desired, &observed);
            let ops = diff(&desired, &observed);
            if steps.is_empty() && ops.is_empty() {
                return;
            }
            self.kernel.apply(&ops).unwrap();
            for step in steps {
                self.kernel.apply(&[step]).unwrap();
            }
        }
        panic!("it does not settle: {:?}", self.kernel.log.iter().rev().take(5).collect::<Vec<_>>());
    }

    fn restart(&mut self) {
        self.plugs = Plugs::with(self.plugs.known().clone());
    }
}

const BLUE: &str = "vb10.12b5";

#[test]
fn what_takes_the_bridge_away_does_not_take_the_plugs() {
    type Fault = fn(&mut Ground);
    let faults: [(&str, Fault); 6] = [
        ("it is deleted", |ground| {
            ground.kernel.apply(&[Op::DeleteLink { name: name(BLUE) }]).unwrap();
        }),
        ("it is renamed", |ground| {
            ground.kernel.apply(&[Op::Rename { name: name(BLUE), to: name("foo") }]).unwrap();
        }),
        ("it is renamed, and another has taken its name before anybody looked", |ground| {
            ground.kernel.apply(&[Op::Rename { name: name(BLUE), to: name("foo") }]).unwrap();
            ground.bridge(BLUE, Some("vxmesh:default/10"));
        }),
        ("its network has no port here any more, and then again", |ground| {
            let networks = std::mem::take(&mut ground.slice.networks);
            ground.settle();
            assert_eq!(ground.at("tap1").as_deref(), Some(BLUE), "it stays under its guests");
            assert!(ground.kernel.state.links.keys().all(|name| name.as_str() != "vv10.12b5"), "and leads nowhere");
            ground.slice.networks = networks;
        }),
        ("it is deleted while nothing of ours runs", |ground| {
            ground.restart();
            ground.kernel.apply(&[Op::DeleteLink { name: name(BLUE) }]).unwrap();
        }),
        ("a network that it is not wanted for is blocked, and then is not", |ground| {
            ground.kernel.apply(&[Op::DeleteLink { name: name("vv10.12b5") }]).unwrap();
            ground.make("vv10.12b5", None);
            ground.settle();
            assert_eq!(ground.at("tap2").as_deref(), Some(BLUE));
            ground.kernel.state.links.remove(&name("vv10.12b5"));
        }),
    ];
    for (what, fault) in faults {
        let mut ground = Ground::new();
        ground.settle();
        assert_eq!((ground.at("tap1").as_deref(), ground.at("tap2")), (Some(BLUE), None), "only a port says where");
        ground.stand("tap2", Some(BLUE));
        ground.settle();
        fault(&mut ground);
        ground.settle();
        assert_eq!(ground.at("tap1").as_deref(), Some(BLUE), "{what}");
        assert_eq!(ground.at("tap2").as_deref(), Some(BLUE), "{what}");
    }
}

#[test]
fn guests_follow_their_network_to_another_udp_port_or_vni() {
    for (udp, vni) in [(4799_u64, 10_u64), (4789, 11), (4799, 11)] {
        let mut ground = Ground::new();
        ground.settle();
        ground.stand("tap2", Some(BLUE));
        ground.settle();
        let (old, mut network) = ground.slice.networks.pop_first().unwrap();
        network.udp_port = udp.try_into().unwrap();
        let new = NetKey { vni: vni.try_into().unwrap(), ..old.clone() };
        ground.slice.networks.insert(new, network);
        let rows = std::mem::take(&mut ground.slice.rows);
        ground.slice.rows = rows
            .into_iter()
            .map(|(key, row)| (crate::table::RowKey { vni: vni.try_into().unwrap(), ..key }, row))
            .collect();
        ground.settle();
        let bridge = format!("vb{vni}.{udp:x}");
        assert_eq!((ground.at("tap1"), ground.at("tap2")), (Some(bridge.clone()), Some(bridge)), "{udp} {vni}");
        assert!(!ground.kernel.state.links.contains_key(&name(BLUE)), "the old one goes once it is empty");
    }
}

#[test]
fn what_stands_in_something_of_others_or_was_pulled_out_on_purpose_is_left_alone() {
    let mut ground = Ground::new();
    ground.settle();
    ground.stand("tap2", Some(BLUE));
    ground.settle();
    ground.bridge("virbr0", None);
    ground.stand("tap1", Some("virbr0"));
    ground.stand("tap2", Some("virbr0"));
    ground.settle();
    assert_eq!((ground.at("tap1").as_deref(), ground.at("tap2").as_deref()), (Some("virbr0"), Some("virbr0")));
    // Back in nothing, the one that a port names is put where the port says; of the other nobody says anything.
    ground.stand("tap1", None);
    ground.stand("tap2", None);
    ground.settle();
    assert_eq!((ground.at("tap1").as_deref(), ground.at("tap2")), (Some(BLUE), None));
    ground.stand("tap2", Some(BLUE));
    ground.settle();
    ground.stand("tap2", None);
    ground.settle();
    assert_eq!(ground.at("tap2"), None, "pulled out while its bridge stands");
}

#[test]
fn an_interface_that_takes_over_a_name_does_not_take_over_its_place() {
    let mut ground = Ground::new();
    ground.settle();
    ground.stand("tap2", Some(BLUE));
    ground.settle();
    ground.kernel.apply(&[Op::DeleteLink { name: name("tap2") }, Op::DeleteLink { name: name(BLUE) }]).unwrap();
    ground.make("tap2", None);
    ground.settle();
    assert_eq!((ground.at("tap1").as_deref(), ground.at("tap2")), (Some(BLUE), None));
}

#[test]
fn the_nodes_own_interfaces_and_devices_are_never_plugged() {
    let mut ground = Ground::new();
    let rows = ["eth0", "lo", "vt10.12b5", "vb10.12b5"];
    for (n, interface) in rows.iter().enumerate() {
        let row = json!({"node": ground.slice.node, "interface": interface});
        let key = format!("default/10/-/02:00:00:00:01:0{n}").parse().unwrap();
        ground.slice.rows.insert(key, serde_json::from_value(row).unwrap());
    }
    ground.make("eth0", None);
    ground.make("lo", None);
    ground.settle();
    let plugged: Vec<&String> = ground.kernel.log.iter().filter(|op| op.contains(&format!("master {BLUE}"))).collect();
    let none = |of: &str| plugged.iter().all(|op| !op.contains(&format!("dev {of} ")));
    assert!(none("eth0") && none("lo") && none("vb10.12b5"), "{plugged:?}");
    assert_eq!(plugged.iter().filter(|op| op.contains("dev vt10.12b5 ")).count(), 1, "{plugged:?}");
}

#[test]
fn a_bridge_that_only_plugs_are_left_of_lets_nothing_pass_and_goes_with_the_last_one_or_with_us() {
    let mut ground = Ground::new();
    ground.settle();
    ground.stand("tap2", Some(BLUE));
    ground.settle();
    ground.slice.networks.clear();
    ground.settle();
    let ObservedFence::Loaded(fence) = &ground.kernel.state.fence else { panic!("there is no filter") };
    assert!(
        fence.bridges.contains(&name(BLUE))
            && fence.named.is_empty()
            && fence.loose.is_empty()
            && fence.open.is_empty()
    );
    assert_eq!(fence.unnamed.keys().map(IfName::as_str).collect::<Vec<_>>(), ["tap1", "tap2"]);
    let mut gone = ground.kernel.clone();
    let observed = gone.observe().unwrap();
    gone.apply(&cleanup(&observed)).unwrap();
    assert!(!gone.state.links.contains_key(&name(BLUE)), "leaving takes all of it");
    ground.stand("tap1", None);
    ground.settle();
    assert!(ground.kernel.state.links.contains_key(&name(BLUE)));
    ground.stand("tap2", None);
    ground.settle();
    assert!(!ground.kernel.state.links.contains_key(&name(BLUE)));
    // Their guests are still there, and behind interfaces of the host's own now.
    let ObservedFence::Loaded(fence) = &ground.kernel.state.fence else { panic!("there is no filter") };
    assert_eq!(fence.outside, [name("tap1"), name("tap2")].into());
    ground.kernel.apply(&["tap1", "tap2"].map(|tap| Op::DeleteLink { name: name(tap) })).unwrap();
    ground.settle();
    assert_eq!(ground.kernel.state.fence, ObservedFence::Absent);
}
