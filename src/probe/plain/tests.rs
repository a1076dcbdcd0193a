//! Two nodes under simulated time, and a wire between them that fails in each way that is asked for.

use std::time::Duration;

use super::message::{LEAST, Message};
use super::*;
use crate::types::{Mac, Mono, PeerSlot, Psk, UdpPort};

const A: Mac = Mac([2, 0, 0, 0, 0, 10]);
const B: Mac = Mac([2, 0, 0, 0, 0, 11]);
const PEER: PeerSlot = PeerSlot(4);

fn port() -> UdpPort {
    UdpPort::try_from(4789).unwrap()
}

fn key(byte: u8) -> PairKey {
    PairKey::of(Some(&Psk::from_bytes([byte; 32])))
}

fn config(mac: Mac, largest: u16, needed: u16) -> PairConfig {
    PairConfig { peer: PEER, mac, own: if mac == A { B } else { A }, keys: vec![key(1)], largest, needed }
}

/// What the wire does to one direction.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Nothing passes.
    shut: bool,
    /// The largest inner packet that passes.
    most: usize,
    /// Flows that are lost, a bit each.
    flows: u8,
    /// Lost of a thousand.
    loss: u64,
}

const GOOD: Way = Way { shut: false, most: 9000, flows: 0, loss: 0 };

struct World {
    now: Mono,
    seed: u64,
    ends: [Watch; 2],
    ways: [Way; 2],
    /// Which daemons run.
    alive: [bool; 2],
    /// Whether the session carries.
    session: bool,
    sent: usize,
    wire: Vec<(Mono, usize, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let mut ends = [Watch::new(port()), Watch::new(port())];
        let now = Mono::from_nanos(1_000_000_000);
        ends[0].set(vec![config(B, 1450, 1418)], now);
        ends[1].set(vec![config(A, 1450, 1418)], now);
        Self { now, seed: 7, ends, ways: [GOOD; 2], alive: [true; 2], session: true, sent: 0, wire: Vec::new() }
    }

    fn passes(&mut self, from: usize, frame: &[u8]) -> bool {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let way = self.ways[from];
        let flow = u16::from_be_bytes([frame[34], frame[35]]) - 49_160;
        let lost = (self.seed >> 33) % 1000 < way.loss;
        !way.shut && frame.len() - 14 <= way.most && way.flows & 1 << flow == 0 && !lost
    }

    fn step(&mut self, until: Mono) {
        let mut asked = Vec::new();
        for end in 0..2 {
            if !self.alive[end] {
                continue;
            }
            let (mut frames, mut seed) = (Vec::new(), self.seed);
            let mut token = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed
            };
            self.ends[end].handle_timeout(self.now, &mut token, &mut |out| match out {
                Out::Frame(bytes) => frames.push(bytes.to_vec()),
                Out::Ask { peer, token } => asked.push((end, peer, token)),
            });
            self.seed = seed;
            self.put(end, frames);
        }
        for (end, peer, token) in asked.drain(..) {
            assert_eq!(peer, PEER);
            if self.session && self.alive[1 - end] {
                let heard = self.ends[1 - end].heard(PEER, self.now);
                self.ends[end].told(PEER, token, (heard, false), self.now);
            }
        }
        self.now = until;
        let (due, wait): (Vec<_>, Vec<_>) = std::mem::take(&mut self.wire).into_iter().partition(|w| w.0 <= until);
        self.wire = wait;
        for (_, end, bytes) in due {
            if !self.alive[end] {
                continue;
            }
            let mut frames = Vec::new();
            self.ends[end].received(&bytes, self.now, &mut |out| {
                let Out::Frame(bytes) = out else { panic!("nothing is asked on receipt") };
                frames.push(bytes.to_vec());
            });
            self.put(end, frames);
        }
    }

    fn put(&mut self, from: usize, frames: Vec<Vec<u8>>) {
        for frame in frames {
            self.sent += 1;
            if self.passes(from, &frame) {
                self.wire.push((self.now + Duration::from_micros(300), 1 - from, frame));
            }
        }
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 200 {
            self.step(self.now + Duration::from_millis(5));
        }
    }

    fn report(&self, end: usize) -> Report {
        self.ends[end].reports().pop().unwrap()
    }

    fn heard(&self, end: usize) -> bool {
        self.report(end).heard.is_some_and(|at| self.now.since(at) < Duration::from_secs(15))
    }

    /// What the peer has said last by the session of what it hears.
    fn told(&self, end: usize) -> Option<bool> {
        let told = self.report(end).told.filter(|told| self.now.since(told.at) < Duration::from_secs(15))?;
        Some(told.heard.is_some_and(|ago| ago < Duration::from_secs(15)))
    }
}

#[test]
fn a_path_that_works_is_known_to_the_byte_and_costs_three_echoes_in_ten_seconds() {
    let mut world = World::new();
    world.run(20);
    for end in 0..2 {
        let report = world.report(end);
        assert_eq!((report.quiet, report.size, report.exact, report.loss), (None, 1450, true, Some(0)));
        assert!(report.rtt.is_some_and(|rtt| rtt <= Duration::from_millis(10)), "{report:?}");
    }
    world.sent = 0;
    world.run(600);
    // A question and an answer of each of the two, of the size in use, and every other time of one in the middle.
    assert!((690..=726).contains(&world.sent), "{}", world.sent);
    for end in 0..2 {
        let told = world.report(end).told.unwrap();
        assert!(world.now.since(told.at) <= Duration::from_secs(13), "the session is asked meanwhile: {told:?}");
    }
}

#[test]
fn a_dead_direction_is_known_in_seconds_and_its_end_too() {
    for shut in [[true, false], [false, true], [true, true]] {
        let mut world = World::new();
        world.run(20);
        (world.ways[0].shut, world.ways[1].shut) = (shut[0], shut[1]);
        world.run(24);
        for end in 0..2 {
            assert!(world.report(end).quiet.is_some(), "{shut:?}");
            assert_eq!(world.heard(end), !shut[1 - end], "{shut:?}: what arrives here");
            assert_eq!(world.told(end), Some(!shut[end]), "{shut:?}: what arrives there");
        }
        world.ways = [GOOD; 2];
        world.run(7);
        assert!((0..2).all(|end| world.report(end).quiet.is_none()), "{shut:?}");
    }
}

#[test]
fn a_dead_daemon_is_told_from_a_dead_path_by_its_session() {
    let mut world = World::new();
    world.run(20);
    world.alive[1] = false;
    world.run(40);
    assert!(world.report(0).quiet.is_some());
    assert_eq!((world.heard(0), world.told(0)), (false, None), "nothing is known");
    world.alive[1] = true;
    world.run(7);
    assert!((0..2).all(|end| world.report(end).quiet.is_none()));
}

#[test]
fn a_session_that_answers_nothing_is_found_soon_and_one_that_answers_late_or_loses_one_answer_is_not() {
    let mut world = World::new();
    world.run(60);
    for loss in [0, 300] {
        world.ways = [Way { loss, ..GOOD }; 2];
        for _ in 0..60 {
            world.run(1);
            assert_eq!((world.report(0).mute, world.report(1).mute), (None, None), "the session answers");
        }
    }
    world.ways = [GOOD; 2];
    for seed in 0..20 {
        world.run(40 + seed % 11);
        let start = world.now;
        world.session = false;
        world.run(9);
        // It is asked every 10 s: of what follows at most one question is lost by now.
        assert_eq!((world.report(0).mute, world.report(1).mute), (None, None), "{seed}");
        world.run(16);
        for end in 0..2 {
            let report = world.report(end);
            assert!(report.mute.is_some_and(|first| first >= start), "{seed}: {:?}", report.mute);
            assert_eq!(report.quiet, None, "the path answers");
        }
        world.session = true;
        world.run(6);
        assert_eq!((world.report(0).mute, world.report(1).mute), (None, None), "{seed}: it answers again");
    }
}

#[test]
fn every_size_is_found_to_the_byte_in_the_direction_that_has_it() {
    for most in [200_u16, 1000, 1279, 1280, 1400, 1449] {
        let mut world = World::new();
        world.run(20);
        world.ways[0].most = most.into();
        world.run(28);
        let report = world.report(0);
        assert_eq!((report.size, report.exact, report.quiet), (most, true, None));
        assert_eq!(world.report(1).size, 1450, "the other direction");
        world.run(8);
        assert_eq!(world.report(1).theirs.unwrap().passes, most, "which is told there");
        world.ways[0].most = 1450;
        world.run(28);
        assert_eq!(world.report(0).size, 1450, "it grows again");
        assert_eq!(world.report(1).theirs.unwrap().passes, 1450, "which is told there");
    }
}

#[test]
fn flows_that_are_lost_are_named_and_no_others() {
    for flows in [0b0001_u8, 0b0100, 0b1010] {
        let mut world = World::new();
        world.run(20);
        world.ways[0].flows = flows;
        world.run(29);
        let named: Vec<u16> = (0..4).filter(|flow| flows & 1 << flow != 0).map(|flow| 49_160 + flow).collect();
        let report = world.report(0);
        assert_eq!((report.legs, report.quiet), (named, None));
        assert_eq!(report.size, 1450, "by the flows that live");
        world.ways[0].flows = 0;
        world.run(30);
        assert_eq!(world.report(0).legs, Vec::<u16>::new());
    }
}

#[test]
fn loss_at_random_is_a_number_and_no_fault() {
    let mut world = World::new();
    world.ways = [Way { loss: 50, ..GOOD }; 2];
    world.run(30);
    for _ in 0..200 {
        world.run(3);
        let report = world.report(0);
        assert!(report.quiet.is_none() && report.size == 1450, "{report:?}");
    }
    let report = world.report(0);
    assert!(report.loss.is_some_and(|loss| loss > 0) && !report.scattered, "{report:?}");
}

#[test]
fn much_loss_at_random_blames_no_flow_and_no_size_and_ends() {
    for (loss, seed) in [(500, 1), (500, 2), (300, 3), (400, 4), (250, 5)] {
        let mut world = World::new();
        world.seed = seed;
        world.run(60);
        world.ways = [Way { loss, ..GOOD }; 2];
        world.run(60);
        for _ in 0..60 {
            let report = world.report(0);
            let said = (report.scattered, report.legs.is_empty(), report.hole);
            assert_eq!(said, (true, true, None), "{loss} of 1000 lost each way, seed {seed}");
            world.run(5);
        }
        world.ways = [GOOD; 2];
        world.run(110);
        let report = world.report(0);
        assert_eq!((report.scattered, report.legs, report.size), (false, vec![], 1450), "{loss}, seed {seed}");
    }
}

#[test]
fn a_busy_machine_that_loses_echoes_for_a_while_names_no_size_that_is_not_so() {
    for (most, pause, bad) in [
        (9000, 2_300, Way { shut: true, ..GOOD }),
        (9000, 5_000, Way { most: 200, ..GOOD }),
        (9000, 5_500, Way { most: 1000, ..GOOD }),
        (1300, 5_000, Way { most: 200, ..GOOD }),
        (9000, 6_000, Way { loss: 900, ..GOOD }),
    ] {
        let mut world = World::new();
        world.ways = [Way { most, ..GOOD }; 2];
        world.run(60);
        let true_size = u16::try_from(most.min(1450)).unwrap();
        assert_eq!((world.report(0).size, world.report(0).exact), (true_size, true), "{most} {pause}");
        // Much is late or lost, then everything is as before.
        world.ways = [bad; 2];
        for step in 0..6_000 {
            if step * 5 == pause {
                world.ways = [Way { most, ..GOOD }; 2];
            }
            world.step(world.now + Duration::from_millis(5));
            let report = world.report(0);
            let said = report.theirs.map_or(0, |theirs| theirs.passes);
            assert!(!report.exact || report.size == true_size, "{most} {pause}: {} after {step}", report.size);
            assert!([0, true_size].contains(&said), "{most} {pause}: the peer says {said} after {step}");
        }
        assert_eq!((world.report(0).size, world.report(0).exact), (true_size, true), "{most} {pause}");
    }
}

#[test]
fn other_devices_are_measured_anew() {
    let mut world = World::new();
    world.run(20);
    for end in 0..2 {
        world.ends[end].set(vec![config([B, A][end], 1400, 1400)], world.now);
    }
    world.run(10);
    assert_eq!(world.report(0).size, 1400);
    for end in 0..2 {
        world.ends[end].set(vec![config([B, A][end], 8950, 8950)], world.now);
    }
    world.run(10);
    assert_eq!(world.report(0).size, 8950);
}

/// What one node hears of a frame: whether it answers, and whether it counts as the peer's.
fn heard(watch: &mut Watch, frame: &[u8]) -> (usize, bool) {
    let (now, mut answers) = (Mono::from_nanos(5_000_000_000), 0);
    watch.received(frame, now, &mut |_| answers += 1);
    (answers, watch.heard(PEER, now).is_some())
}

#[test]
fn nobody_but_the_peer_is_heard_and_nothing_that_was_said_comes_back() {
    let question = |ends, key: &PairKey, answer| {
        let mut bytes = Vec::new();
        let message = Message { answer, flow: 1, size: 200, token: 5, heard: None, passes: 0 };
        message.write(ends, key, 200, &mut bytes);
        bytes
    };
    let other = UdpPort::try_from(4790).unwrap();
    let good = question((port(), B, A), &key(1), false);
    let mut changed: Vec<(&str, Vec<u8>)> = vec![
        ("another key", question((port(), B, A), &key(2), false)),
        ("no key", question((port(), B, A), &PairKey::of(None), false)),
        ("of another overlay", question((other, B, A), &key(1), false)),
        ("its own, sent back", question((port(), A, B), &key(1), false)),
        ("of a stranger", question((port(), Mac([2, 9, 9, 9, 9, 9]), A), &key(1), false)),
        ("for another node", question((port(), B, Mac([2, 9, 9, 9, 9, 9])), &key(1), false)),
        ("cut", good[..good.len() - 1].to_vec()),
        ("cut in its message", good[..60].to_vec()),
        ("nothing", Vec::new()),
    ];
    // Its own question, turned round by whoever sees it.
    let mut turned = question((port(), A, B), &key(1), false);
    turned[..6].copy_from_slice(&A.0);
    turned[6..12].copy_from_slice(&B.0);
    changed.push(("turned round", turned));
    // Behind the addresses: IP and UDP headers as far as they matter, and each byte that is proved.
    for at in (12..14).chain([23]).chain(36..38).chain(42..82) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x40;
        changed.push(("a bit", bytes));
    }
    let fresh = || {
        let mut watch = Watch::new(port());
        watch.set(vec![config(B, 1450, 1418)], Mono::from_nanos(0));
        watch
    };
    for (what, frame) in changed {
        assert_eq!(heard(&mut fresh(), &frame), (0, false), "{what}");
    }
    assert_eq!(heard(&mut fresh(), &good), (1, true));
    // An answer that was not asked for proves that the peer is there, and no size and no round trip.
    let mut watch = fresh();
    assert_eq!(heard(&mut watch, &question((port(), B, A), &key(1), true)), (0, true));
    let report = watch.reports().pop().unwrap();
    assert_eq!((report.answered, report.rtt, report.size), (None, None, 0));
}

#[test]
fn a_key_that_holds_besides_is_heard_while_one_of_the_two_changes() {
    let mut watch = Watch::new(port());
    watch.set(vec![PairConfig { keys: vec![key(1), key(2)], ..config(B, 1450, 1418) }], Mono::from_nanos(0));
    for byte in [1, 2] {
        let mut bytes = Vec::new();
        let message = Message { answer: false, flow: 0, size: LEAST, token: 5, heard: None, passes: 0 };
        message.write((port(), B, A), &key(byte), LEAST, &mut bytes);
        assert_eq!(heard(&mut watch, &bytes).0, 1, "{byte}");
    }
}

#[test]
fn who_asks_without_end_gets_some_answers_a_second() {
    let mut watch = Watch::new(port());
    watch.set(vec![config(B, 1450, 1418)], Mono::from_nanos(0));
    let mut bytes = Vec::new();
    Message { answer: false, flow: 0, size: LEAST, token: 5, heard: None, passes: 0 }.write(
        (port(), B, A),
        &key(1),
        LEAST,
        &mut bytes,
    );
    let mut answers = 0;
    for millis in 0..3000 {
        let now = Mono::from_nanos(10_000_000_000 + millis * 1_000_000);
        (0..10).for_each(|_| watch.received(&bytes, now, &mut |_| answers += 1));
    }
    assert_eq!(answers, 240);
}

/// The direction that status would name, at one end.
fn named(world: &World, end: usize) -> crate::api::local::PlainState {
    let (node, interface) = ("b-1".parse().unwrap(), "eth0".parse().unwrap());
    let address = "10.1.0.2".parse().unwrap();
    let seen = crate::node::watch_told::Seen {
        node: &node,
        udp_port: port(),
        own: address,
        address,
        outer: crate::policy::path::Outer::Admin,
        interface: &interface,
        session: true,
        unheard: false,
        theirs: None,
        speaks: true,
        narrow: Vec::new(),
        report: Some(world.report(end)),
    };
    seen.state(world.now)
}

#[test]
fn a_direction_is_named_only_where_it_fails_through_every_break_and_its_end() {
    use crate::api::local::PlainState as State;
    let ways = [[false, false], [true, false], [false, true], [true, true]];
    for (first, second, session) in (0..4).flat_map(|a| (0..4).flat_map(move |b| [(a, b, true), (a, b, false)])) {
        let mut world = World::new();
        world.session = session;
        world.run(20);
        // When each way was shut last.
        let mut shut = [Mono::default(); 2];
        let mut before = [State::Answers; 2];
        for (shape, seconds) in [(first, 37), (second, 41), (0, 30)] {
            for (way, is_shut) in world.ways.iter_mut().zip(ways[shape]) {
                way.shut = is_shut;
            }
            for half in 0..seconds * 2 {
                for _ in 0..100 {
                    world.step(world.now + Duration::from_millis(5));
                }
                for end in 0..2 {
                    if ways[shape][end] {
                        shut[end] = world.now;
                    }
                }
                for end in 0..2 {
                    let state = named(&world, end);
                    // What was so stays until the next question is answered; nothing new is said that is not so.
                    let late = if state == before[end] { 12 } else { 1 };
                    before[end] = state;
                    let lately = |at: Mono| world.now.since(at) <= Duration::from_secs(late);
                    let (out, back) = (lately(shut[end]), lately(shut[1 - end]));
                    let true_ = match state {
                        State::OutLost => out,
                        State::InLost => back,
                        State::BothLost => out || back,
                        State::Silent
                        | State::Quiet
                        | State::Legs
                        | State::Small
                        | State::Starting
                        | State::Answers => true,
                    };
                    let when = format!(
                        "{first} then {second}, session {session}, {half} half seconds into {shape}, end {end}"
                    );
                    assert!(true_, "{when}: {state:?}");
                    // One break has its name within 30 s, where anything can tell it.
                    let one = ways[shape][end] != ways[shape][1 - end];
                    if one && half >= 60 && (session || ways[shape][end]) {
                        let name = if ways[shape][end] { State::OutLost } else { State::InLost };
                        assert_eq!(state, name, "{when}");
                    }
                    if shape == 0 && half >= 20 {
                        assert_eq!(state, State::Answers, "{when}");
                    }
                }
            }
        }
    }
}

#[test]
fn half_of_one_direction_lost_is_known_to_both_ends_within_a_minute_and_most_often_in_half_of_it() {
    let mut soon = 0;
    for seed in 0..20 {
        let mut world = World::new();
        world.seed = seed * 7919 + 3;
        world.run(200);
        world.ways[0] = Way { loss: 500, ..GOOD };
        let mut known = [false; 2];
        for second in 0..60 {
            world.run(1);
            (0..2).for_each(|end| known[end] |= world.report(end).scattered);
            soon += usize::from(second == 29) * known.iter().filter(|known| **known).count();
        }
        assert_eq!(known, [true; 2], "seed {seed}");
    }
    assert!(soon >= 30, "{soon} of 40 within 30 s");
}

#[test]
fn a_path_that_dies_and_comes_back_again_and_again_is_no_loss_at_random() {
    let mut world = World::new();
    world.run(30);
    for round in 0..12 {
        let shut = Way { shut: true, ..GOOD };
        world.ways = [[shut, GOOD], [GOOD, shut], [shut; 2]][round % 3];
        world.run(9 + round as u64);
        world.ways = [GOOD; 2];
        for _ in 0..20 {
            world.run(1);
            let said = [0, 1].map(|end| world.report(end)).map(|report| (report.scattered, report.legs));
            assert_eq!(said, [(false, vec![]), (false, vec![])], "round {round}");
        }
    }
}

impl Report {
    /// A path that carries all that it should, as of an answer at that time.
    pub(crate) fn well(answered: Mono) -> Self {
        Self {
            peer: PeerSlot(1),
            quiet: None,
            unanswered: false,
            answered: Some(answered),
            heard: Some(answered),
            rtt: Some(Duration::from_micros(300)),
            loss: Some(0),
            size: 1450,
            exact: true,
            largest: 1450,
            needed: 1418,
            legs: Vec::new(),
            scattered: false,
            hole: None,
            mute: None,
            told: None,
            theirs: Some(Theirs { heard: Some(Duration::from_secs(1)), passes: 1450, at: answered }),
        }
    }
}
