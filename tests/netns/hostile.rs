//! Hostile frames out of a seed, from a guest's port and out of a tunnel, judged by what real receivers believe: the stacks of hosts and
//! of guests, their sockets, a DHCP client, the bridges, and the guests of another network. `tests/hostile.sh` runs it for long.
//!
//! Nothing of ours says what is right here: not the packet filter, not the data plane's parser. A frame may be whatever it is, as long
//! as nobody believes it.

use std::time::Duration;

use vxmesh::clock;

use self::grammar::{Cast, Element, burst};
use self::ground::{COLD, Ground, HOT, PATIENCE, VLAN, sh, who};
use self::judge::{Belief, Kind, Scope, kinds, tell};
use self::member::Member;
use self::minimal::minimal;
use self::packets::{Four, IPV4, UDP, ethernet, udp};
use crate::harness::{can_run, wait_until};

pub(crate) mod grammar;
pub(crate) mod ground;
pub(crate) mod host;
pub(crate) mod judge;
pub(crate) mod member;
mod minimal;
pub(crate) mod packets;
mod speech;
mod speech6;
pub(crate) mod victim;

/// How long it takes where nobody says otherwise, all attackers together.
const SECONDS: u64 = 60;
/// Elements of a burst.
const BURST: u32 = 500;
/// Attempts at a smaller burst that does the same.
const TRIES: usize = 60;
/// Different failures after which it ends.
const ENOUGH: usize = 5;

/// Where an attacker is.
enum Mouth {
    /// Behind the interface of this name.
    Port(&'static str),
    Tunnel,
    Vxlan,
}

struct Attacker {
    name: &'static str,
    mouth: Mouth,
    cast: Cast,
    scope: Scope,
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Who attacks from guests' ports: one whose port names its interface, one whose port names none, one with a tag.
fn guests(ground: &Ground) -> Vec<Attacker> {
    let port = |name, interface, last, vlan, scope| {
        let mouth = Mouth::Port(interface);
        Attacker { name, mouth, cast: ground.cast(last, vlan), scope }
    };
    vec![
        port("a guest", "hm", 1, None, Scope::Guests(who(1))),
        port("a guest whose port names no interface", "hl", 3, None, Scope::Guests(who(3))),
        port("a guest with a tag", "ht", 7, Some(VLAN), Scope::NoGuest),
    ]
}

/// A node that was taken, by its tunnels and by plain VXLAN.
fn members(ground: &Ground) -> Vec<Attacker> {
    let of = |name, mouth, scope| Attacker { name, mouth, cast: ground.cast(32, None), scope };
    vec![
        of("a member by its tunnels", Mouth::Tunnel, Scope::Guests(who(32))),
        of("a member by plain VXLAN", Mouth::Vxlan, Scope::HostsOnly),
    ]
}

/// Everything that an attack needs.
struct Range {
    ground: Ground,
    member: Option<Member>,
    sentinels: std::cell::Cell<u32>,
}

impl Range {
    fn send(&self, mouth: &Mouth, network: u32, frame: &[u8]) {
        match mouth {
            Mouth::Port(name) => {
                self.ground.plugs.iter().find(|(plug, _)| plug == name).unwrap().1.send(frame);
            }
            Mouth::Tunnel => self.member.as_ref().unwrap().tunnel(network, frame),
            Mouth::Vxlan => self.member.as_ref().unwrap().vxlan(network, frame),
        }
    }

    fn say(&self, attacker: &Attacker, elements: &[Element]) {
        for (count, element) in elements.iter().enumerate() {
            // A member tries the other network as well; a guest has no way to name it.
            let network = if element.number % 8 == 7 { COLD } else { HOT };
            element.frames.iter().for_each(|frame| self.send(&attacker.mouth, network, frame));
            if count % 50 == 49 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Waits until what is sent behind it has come: what has not come before never does.
    fn settle(&self, attacker: &Attacker) {
        // One with a tag has nobody to talk to; another guest of its node goes the same way.
        let tagged = matches!(attacker.mouth, Mouth::Port("ht"));
        let (mouth, me) = if tagged { (&Mouth::Port("hm"), who(1)) } else { (&attacker.mouth, attacker.cast.me) };
        let reached = |name: &&str| match mouth {
            // A tunnel ends with its daemon.
            Mouth::Port(_) => *name != "hv3" || self.ground.lab.home.running("a-1").is_some(),
            Mouth::Tunnel => *name != "hv3",
            Mouth::Vxlan => *name == "hv3",
        };
        let number = self.sentinels.get() + 1;
        self.sentinels.set(number);
        let text = [&b"vxsentry"[..], &number.to_be_bytes()].concat();
        for victim in self.ground.victims.iter().filter(|victim| reached(&victim.name)) {
            let ends = (me.four, victim.who.four);
            let datagram = udp((ends.0.into(), ends.1.into()), (7, 9), &text);
            let frame = ethernet(victim.who.mac, me.mac, IPV4, &Four::new(ends.0, ends.1, UDP).whole(&datagram));
            wait_until(&format!("{}: what comes behind reaches {}", attacker.name, victim.name), PATIENCE, || {
                self.send(mouth, HOT, &frame);
                if let Some(member) = &self.member {
                    member.listen();
                }
                std::thread::sleep(Duration::from_millis(3));
                victim.has_heard(&text)
            });
        }
    }

    /// Says these elements to a world that believes nothing false yet; what it believes then.
    fn round(&self, attacker: &Attacker, seed: u64, numbers: &[u32]) -> Vec<Belief> {
        self.ground.reset();
        self.say(attacker, &self.elements(attacker, seed, numbers));
        self.settle(attacker);
        self.ground.look(attacker.scope)
    }

    /// With the questions of DHCP clients as they are now: an answer to an older one is none.
    fn elements(&self, attacker: &Attacker, seed: u64, numbers: &[u32]) -> Vec<Element> {
        let asked = self.ground.victims.iter().filter_map(victim::Victim::asked).collect();
        burst(seed, numbers, &Cast { asked, ..attacker.cast.clone() })
    }

    /// Bursts until the time is over; what was believed, told with the fewest elements that do it. The time of looking for them does
    /// not count.
    fn attack(&self, attacker: &Attacker, seed: u64, share: Duration) -> (u32, Vec<String>) {
        let (mut first, mut failures, mut seen, mut spent) = (0, Vec::new(), Vec::new(), Duration::ZERO);
        while spent < share && failures.len() < ENOUGH {
            let numbers: Vec<u32> = (first..first + BURST).collect();
            let start = clock::mono();
            let beliefs = self.round(attacker, seed, &numbers);
            spent += clock::mono().since(start);
            first += BURST;
            // The same again is told once.
            let Some(kind) = kinds(&beliefs).into_iter().find(|kind| !seen.contains(kind)) else { continue };
            seen.push(kind);
            let few = self.fewest(attacker, seed, &numbers, &beliefs, kind);
            let few = self.elements(attacker, seed, &few);
            let of_kind: Vec<Belief> = beliefs.into_iter().filter(|belief| belief.kind == kind).collect();
            let told = tell(attacker.name, seed, &few, &of_kind);
            eprintln!("{told}");
            failures.push(told);
        }
        (first, failures)
    }

    fn fewest(&self, attacker: &Attacker, seed: u64, all: &[u32], beliefs: &[Belief], kind: Kind) -> Vec<u32> {
        let does_it = |few: &[u32]| kinds(&self.round(attacker, seed, few)).contains(&kind);
        // What carries its mark says at once which one it was.
        let named = beliefs.iter().filter(|belief| belief.kind == kind).flat_map(|belief| &belief.numbers).next();
        match named {
            Some(one) if does_it(&[*one]) => vec![*one],
            _ => minimal(all, TRIES, does_it),
        }
    }
}

#[test]
fn nobody_believes_what_hostile_guests_and_members_say() {
    if !can_run() {
        return;
    }
    let seconds = number("VXMESH_HOSTILE_SECONDS").unwrap_or(SECONDS);
    let seed = number("VXMESH_HOSTILE_SEED").unwrap_or(10);
    println!("again: tests/hostile.sh {seconds} {seed}");
    let mut range = Range { ground: Ground::new(), member: None, sentinels: std::cell::Cell::default() };
    let mut failures = Vec::new();
    let share = Duration::from_secs(seconds) / 5;
    let attack = |range: &Range, attackers: Vec<Attacker>, failures: &mut Vec<String>| {
        for attacker in attackers {
            let (count, found) = range.attack(&attacker, seed, share);
            println!("{}: {count} elements, {} failures", attacker.name, found.len());
            failures.extend(found);
        }
    };
    attack(&range, guests(&range.ground), &mut failures);
    range.member = Some(Member::take(&range.ground.lab));
    attack(&range, members(&range.ground), &mut failures);
    range.without_filter(seed);
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

impl Range {
    /// The judges see: with the filter of a node gone, the same bursts are believed, in every way that can be believed.
    fn without_filter(&self, seed: u64) {
        let lab = &self.ground.lab;
        lab.kill("a-1");
        let space = &lab.layout().node("a-1").unwrap().namespace.clone();
        sh(space, "nft flush ruleset; ip link set dev vb40.12b5 type bridge group_fwd_mask 0 mcast_snooping 0");
        sh(space, "ip link set dev hm type bridge_slave learning on; ip link set dev hm master vb40.12b5");
        let guests = guests(&self.ground);
        let mut wanted = vec![
            Kind::Neighbour,
            Kind::Router,
            Kind::Redirect,
            Kind::Lease,
            Kind::Source,
            Kind::Dhcp,
            Kind::Host,
            Kind::HostState,
            Kind::Learned,
        ];
        let (start, mut first) = (clock::mono(), 0);
        while !wanted.is_empty() {
            assert!(clock::mono().since(start) < Duration::from_secs(60), "nobody sees {wanted:?}");
            let numbers: Vec<u32> = (first..first + BURST).collect();
            first += BURST;
            let seen = kinds(&self.round(&guests[0], seed, &numbers));
            wanted.retain(|kind| !seen.contains(kind));
        }
        // Nothing leads from one network to the other but a cable.
        sh(space, "ip link set dev hm nomaster; ip link set dev hm master vb50.12b5");
        let wrong = || kinds(&self.ground.look(guests[0].scope)).contains(&Kind::OtherNetwork);
        let elements = self.elements(&guests[0], seed, &(0..BURST).collect::<Vec<_>>());
        wait_until("the other network is seen", PATIENCE, || {
            self.say(&guests[0], &elements);
            wrong()
        });
    }
}
