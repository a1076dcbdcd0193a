use std::sync::Arc;

use super::*;
use crate::api::local::Finding;
use crate::api::mtu::MeshMtu;
use crate::api::stream::MeasuredPath;
use crate::mgmt::fixture;
use crate::mgmt::index::Index;
use crate::mgmt::mtu_map;
use crate::mgmt::state::State;
use crate::mgmt::{interfaces, measured};
use crate::types::{Mtu, NodeId};

/// When the mesh was made, seconds of people's clocks.
const BEGIN: u64 = 36_000;

/// A 2x2 mesh and what its nodes say, second by second.
struct World {
    state: State,
    measured: Measured,
    interfaces: Interfaces,
    second: u64,
    said: Vec<(u64, String)>,
}

impl World {
    fn new() -> Self {
        let (measured, interfaces) = Default::default();
        Self { state: fixture::mesh(), measured, interfaces, second: 0, said: Vec::new() }
    }

    fn known(&self) -> Known<'_> {
        let (mono, wall) = (Mono::from_nanos(self.second * 1_000_000_000), Wall::from_secs(BEGIN + self.second));
        Known { measured: &self.measured, interfaces: &self.interfaces, mono, wall }
    }

    fn index(&self) -> Index {
        Index::new(Arc::new(self.state.clone()))
    }

    /// Both ends of b-1's paths to the other PDC measure this.
    fn paths(&mut self, bytes: u16) {
        self.ends(|node| Some(MeasuredPath { node, bytes, since: None }));
    }

    /// The same, and they say since when.
    fn say(&mut self, bytes: u16, since: u64) {
        self.ends(|node| Some(MeasuredPath { node, bytes, since: Some(Wall::from_secs(BEGIN + since)) }));
    }

    /// They measure nothing, as nodes that start anew.
    fn none(&mut self) {
        self.ends(|_| None);
    }

    fn ends(&mut self, says: impl Fn(NodeId) -> Option<MeasuredPath>) {
        let at = Wall::from_secs(BEGIN + self.second);
        for (from, to) in [("a-1", vec!["b-1"]), ("a-2", vec!["b-1"]), ("b-1", vec!["a-1", "a-2"])] {
            let paths: Vec<MeasuredPath> = to.into_iter().filter_map(|node| says(id(node))).collect();
            self.measured.report(&self.state, &id(from), &paths, at);
        }
    }

    /// What b-1 says of its external interface.
    fn interface(&mut self, bytes: u64) {
        let mut facts = fixture::facts("10.1.0.1", "198.51.1.1");
        facts.external_mtu = Mtu::try_from(bytes).unwrap();
        self.interfaces.hear(&id("b-1"), &facts);
    }

    /// As the server does it each second.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second += 1;
            let (index, mono) = (self.index(), Mono::from_nanos(self.second * 1_000_000_000));
            let (paths, sides) = (self.measured.grown(&index, mono), self.interfaces.grown(&index, mono));
            let texts = [grown(&paths, &self.known()), grown_interfaces(&sides, &self.known())];
            self.said.extend(texts.into_iter().filter(|text| !text.is_empty()).map(|text| (self.second, text)));
            let changes = self.interfaces.settle(&index, mono);
            self.state = self.state.after(&interfaces::edits(&index, &changes));
            let index = self.index();
            let (changes, _) = self.measured.settle(&index, mono);
            self.state = self.state.after(&measured::edits(&index, &changes));
        }
    }

    fn findings(&self) -> Vec<Finding> {
        mtu_map::findings(&self.index(), &self.known(), false)
    }

    fn map(&self) -> MeshMtu {
        mtu_map::map(&self.index(), &self.known(), &mtu_map::Said::default(), None)
    }

    fn number(&self) -> u16 {
        self.map().networks[0].mtu.get()
    }

    /// Who limits the two PDCs, and the network.
    fn limits(&self) -> (String, String) {
        let map = self.map();
        let across = map.pairs.iter().find(|pair| pair.a != pair.b).unwrap();
        (across.limit.clone(), map.networks[0].limit.clone())
    }
}

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn clock(second: u64) -> String {
    Wall::from_secs(BEGIN + second).to_string()
}

/// A fault of each kind, before, while and after it is there: what counts, what is said to be wrong, and the tense of the map.
#[test]
fn a_fault_is_told_while_it_is_there_and_afterwards_as_what_was() {
    for kind in ["paths", "an interface"] {
        let mut world = World::new();
        let make = |world: &mut World, bytes: u16| match kind {
            "paths" => world.paths(bytes),
            _ => world.interface(u64::from(bytes)),
        };
        make(&mut world, 1500);
        world.pass(10);
        assert_eq!((world.findings(), world.number()), (vec![], 1418), "{kind}");
        make(&mut world, 1250);
        world.pass(5);
        let (pair, _) = world.limits();
        assert!(
            pair.contains("b-1") && pair.ends_with(&format!("that counts from {} on if it stays", clock(41))),
            "{pair}"
        );
        world.pass(60);
        assert_eq!(world.number(), 1280);
        let found = world.findings();
        assert!(
            found.len() == 1 && found[0].code == "M0510" && found[0].what.contains("carries 1168 bytes"),
            "{found:?}"
        );
        // The repair, with a size on the way up.
        make(&mut world, 1304);
        world.pass(1);
        make(&mut world, 1500);
        let repaired = world.second;
        world.pass(3);
        assert_eq!((world.findings(), world.number()), (vec![], 1280), "{kind}: what is repaired is nothing wrong");
        let (until, rises) = (clock(repaired), clock(repaired + 301));
        let (pair, network) = world.limits();
        assert!(
            pair.contains("b-1")
                && pair.ends_with(&format!(" until {until}; from {rises} on 1500 bytes count if that stays")),
            "{kind}: {pair}"
        );
        assert!(
            network.ends_with(&format!(" until {until}; the number rises at {rises} if that stays")),
            "{kind}: {network}"
        );
        // It is noted at once, once, and not when it counts five minutes later.
        world.pass(290);
        assert_eq!(world.said.len(), 1, "{:?}", world.said);
        let (when, text) = &world.said[0];
        assert!(
            *when <= repaired + 12 && text.contains("1500 bytes") && text.contains(&clock(repaired + 301)),
            "{when}: {text}"
        );
        world.pass(10);
        assert_eq!(world.number(), 1418, "{kind}: when it was foretold");
        assert!(!world.limits().0.contains("until"), "{kind}");
    }
}

/// Two faults, one repaired: the one that is left is named, not the one that was.
#[test]
fn of_two_pairs_the_one_that_limits_now_is_named() {
    let mut world = World::new();
    let say = |world: &mut World, one: u16, two: u16| {
        let path = |bytes| vec![MeasuredPath { node: id("b-1"), bytes, since: None }];
        let at = Wall::from_secs(BEGIN + world.second);
        world.measured.report(&world.state, &id("a-1"), &path(one), at);
        world.measured.report(&world.state, &id("a-2"), &path(two), at);
    };
    say(&mut world, 1240, 1250);
    world.pass(40);
    assert!(world.findings()[0].what.contains("a-1 - b-1 carries 1158 bytes"), "{:?}", world.findings());
    say(&mut world, 1500, 1250);
    world.pass(2);
    assert!(world.findings()[0].what.contains("a-2 - b-1 carries 1168 bytes"), "{:?}", world.findings());
    let (_, network) = world.limits();
    assert!(network.starts_with("the path a-2 - b-1, since "), "{network}");
}

/// What was measured before a restart of the server counts, and nobody says that it is so.
#[test]
fn what_nobody_has_measured_since_a_restart_is_told_as_the_last_that_is_known() {
    let mut world = World::new();
    world.paths(1250);
    world.pass(40);
    world.measured = Measured::default();
    let found = world.findings();
    assert!(found[0].what.contains("carried 1168 bytes") && found[0].what.contains("measured last"), "{found:?}");
    assert!(world.limits().0.ends_with(", when it was measured last"), "{:?}", world.limits());
}

/// Neither a server nor a node that starts anew makes a path that has grown a small one: what its end has seen stand has stood.
#[test]
fn a_path_that_has_grown_counts_when_it_was_foretold_whoever_starts_anew() {
    for server in [true, false] {
        let mut world = World::new();
        world.paths(1250);
        world.pass(40);
        let repaired = world.second;
        world.say(1500, repaired);
        world.pass(100);
        if server {
            world.measured = Measured::default();
            assert_eq!(mtu_map::findings(&world.index(), &world.known(), true), [], "no node has come back yet");
        } else {
            world.none();
        }
        world.pass(9);
        world.say(1500, if server { repaired } else { world.second });
        world.pass(1);
        assert_eq!(world.findings(), [], "server {server}");
        let (pair, _) = world.limits();
        // The first look after a repair is a second later.
        let (until, rises) = (repaired + 1, repaired + 301);
        let foretold = format!(" until {}; from {} on 1500 bytes count if that stays", clock(until), clock(rises));
        assert!(pair.ends_with(&foretold), "server {server}: {pair}");
        world.pass(189);
        assert_eq!(world.number(), 1280, "server {server}: {}", world.second - repaired);
        world.pass(2);
        assert_eq!(world.number(), 1418, "server {server}");
    }
}

/// Of a path that its end does not measure any more nothing is known after a minute, and a clock of tomorrow has stood for nothing.
#[test]
fn what_is_not_measured_any_more_is_forgotten_and_what_is_to_be_has_not_stood() {
    let mut world = World::new();
    world.paths(1250);
    world.pass(40);
    world.say(1500, 40);
    world.pass(1);
    world.none();
    world.pass(60);
    assert_eq!(world.findings(), []);
    world.pass(2);
    assert!(world.findings()[0].what.contains("measured last"), "{:?}", world.findings());
    world.measured = Measured::default();
    world.say(1500, 4000);
    world.pass(290);
    assert_eq!(world.number(), 1280);
    world.pass(20);
    assert_eq!(world.number(), 1418);
}

/// A fixed number falls short while a path is small, and no longer.
#[test]
fn a_fixed_network_is_found_while_its_path_is_small() {
    let mut world = World::new();
    let mut blue = fixture::network("blue", "default", 10, "192.168.10.0/24");
    let fixed = Mtu::try_from(1400).ok();
    blue.spec.mtu = Some(crate::policy::mtu::MtuPolicy { fixed, ..Default::default() });
    world.state.put(crate::api::objects::Any::Network(blue));
    world.paths(1300);
    world.pass(40);
    let found = world.findings();
    assert!(found.len() == 1 && found[0].code == "M0502" && found[0].what.contains("b-1"), "{found:?}");
    world.paths(1500);
    world.pass(1);
    assert_eq!(world.findings(), []);
}
