//! Both ends call each other at once: whichever message comes first, nothing that anybody said is lost.

use std::collections::VecDeque;

use super::world::*;

/// What each end says before there is a session, and how often it says more as soon as it has received something.
const BEFORE: u8 = 2;
const MORE: u8 = 2;

/// Two ends that have just called each other, and the two directions of the wire between them; each keeps its order.
struct Crossing {
    world: World,
    wire: [VecDeque<OnWire>; 2],
    said: [u8; 2],
}

impl Crossing {
    fn new() -> Self {
        let mut crossing = Self { world: World::new(), wire: Default::default(), said: [0; 2] };
        for end in [0, 1] {
            for _ in 0..BEFORE {
                crossing.say(end);
            }
        }
        crossing.fetch();
        assert_eq!(crossing.wire.each_ref().map(|wire| wire[0].datagram.len()), [148, 148], "two initiations");
        crossing
    }

    fn say(&mut self, end: usize) {
        self.said[end] += 1;
        let payload = [self.said[end]; 16];
        let world = &mut self.world;
        let (speaker, from) = if end == 0 { (&mut world.a, address(1)) } else { (&mut world.b, address(2)) };
        if let Ok(sealed) = speaker.seal(&payload, world.now) {
            self.wire[end].push_back(OnWire { from, to: sealed.to, datagram: sealed.datagram });
        }
    }

    fn fetch(&mut self) {
        for packet in self.world.sent() {
            self.wire[usize::from(packet.from == address(2))].push_back(packet);
        }
    }

    /// Delivers the oldest, or another one that overtakes it, of one direction; the receiver then says something.
    fn deliver(&mut self, direction: usize, nth: usize) {
        let packet = self.wire[direction].remove(nth).unwrap();
        let _ = self.world.deliver(&packet);
        self.fetch();
        let receiver = 1 - direction;
        if self.said[receiver] < BEFORE + MORE {
            self.say(receiver);
        }
    }

    fn check(mut self, how: &[usize]) {
        let all: Vec<Vec<u8>> = (1..=BEFORE + MORE).map(|number| vec![number; 16]).collect();
        for (name, end) in [("a", &mut self.world.a), ("b", &mut self.world.b)] {
            end.got.sort();
            assert_eq!(end.got, all, "what {name} received, with deliveries {how:?}");
        }
        let now = self.world.now;
        assert!(self.world.a.status(now).up && self.world.b.status(now).up, "{how:?}");
        // And so it stays.
        self.world.say_a(&[91; 16]);
        self.world.say_b(&[92; 16]);
        assert_eq!(self.world.b.got.last().unwrap(), &vec![91; 16], "{how:?}");
        assert_eq!(self.world.a.got.last().unwrap(), &vec![92; 16], "{how:?}");
    }
}

/// Runs with the choices of `how`, and 0 for those that it does not name; gives how many there were at each point.
fn run(how: &mut Vec<usize>, choices: impl Fn(&Crossing) -> Vec<(usize, usize)>) -> Vec<usize> {
    let mut crossing = Crossing::new();
    let mut widths = Vec::new();
    loop {
        let possible = choices(&crossing);
        if possible.is_empty() {
            crossing.check(how);
            return widths;
        }
        if how.len() == widths.len() {
            how.push(0);
        }
        let (direction, nth) = possible[how[widths.len()] % possible.len()];
        widths.push(possible.len());
        crossing.deliver(direction, nth);
    }
}

fn in_order(crossing: &Crossing) -> Vec<(usize, usize)> {
    (0..2).filter(|direction| !crossing.wire[*direction].is_empty()).map(|direction| (direction, 0)).collect()
}

fn in_any_order(crossing: &Crossing) -> Vec<(usize, usize)> {
    (0..2).flat_map(|direction| (0..crossing.wire[direction].len()).map(move |nth| (direction, nth))).collect()
}

#[test]
fn crossing_handshakes_lose_nothing_however_they_interleave() {
    let (mut how, mut runs) = (Vec::new(), 0);
    loop {
        let widths = run(&mut how, in_order);
        runs += 1;
        // The next path through the tree of choices: the last choice that has another one.
        let Some(last) = (0..widths.len()).rev().find(|n| how[*n] + 1 < widths[*n]) else { break };
        how.truncate(last + 1);
        how[last] += 1;
    }
    assert!(runs > 100, "only {runs} interleavings");
}

#[test]
fn crossing_handshakes_lose_nothing_where_packets_overtake_each_other() {
    let mut dice = Dice::new(1);
    for _ in 0..400 {
        let mut how = (0..64).map(|_| usize::try_from(dice.roll() >> 40).unwrap()).collect();
        run(&mut how, in_any_order);
    }
}
