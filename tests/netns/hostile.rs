//! Hostile frames out of a seed, from a guest's port and out of a tunnel, judged by what real receivers believe: the stacks of hosts and
//! of guests, their sockets, a DHCP client, the bridges, and the guests of another network. `tests/hostile.sh` runs it for long.
//!
//! Nothing of ours says what is right here: not the packet filter, not the data plane's parser. A frame may be whatever it is, as long
//! as nobody believes it.

use std::time::Duration;

use vxmesh::clock;
use vxmesh::types::Mono;

use self::grammar::{Cast, Element, burst};
use self::ground::{COLD, Ground, HOT, PATIENCE, VLAN, sh, who};
use self::judge::{Belief, Kind, Scope, kinds, tell};
use self::member::Member;
use self::minimal::minimal;
use self::packets::{Four, IPV4, UDP, ethernet, udp};
use crate::harness::{can_run, wait_until};

mod grammar;
mod ground;
mod host;
mod judge;
mod member;
mod minimal;
pub(crate) mod packets;
mod speech;
mod speech6;
mod victim;

/// How long it takes where nobody says otherwise, all attackers together.
const SECONDS: u64 = 40;
/// Elements of a burst.
const BURST: u32 = 500;
/// Attempts at a smaller burst that does the same.
const TRIES: usize = 30;
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
        let (mouth, me) = match attacker.mouth {
            // One with a tag has nobody to talk to; another guest of its node goes the same way.
            Mouth::Port("ht") => (&Mouth::Port("hm"), who(1)),
            ref mouth => (mouth, attacker.cast.me),
        };
        let reached = |name: &&str| match mouth {
            Mouth::Port(_) => true,
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

    /// Says it to a world that believes nothing false yet, and hears what it believes then.
    fn round(&self, attacker: &Attacker, elements: &[Element]) -> Vec<Belief> {
        self.ground.reset();
        self.say(attacker, elements);
        self.settle(attacker);
        self.ground.look(attacker.scope)
    }

    /// Bursts until the time is over; what was believed, told with the fewest elements that do it.
    fn attack(&self, attacker: &Attacker, seed: u64, until: Mono) -> (u32, Vec<String>) {
        let (mut first, mut failures, mut seen) = (0, Vec::new(), Vec::new());
        while clock::mono() < until && failures.len() < ENOUGH {
            let asked = self.ground.victims.iter().filter_map(victim::Victim::asked).collect();
            let cast = Cast { asked, ..attacker.cast.clone() };
            let elements = burst(seed, first, BURST, &cast);
            first += BURST;
            let beliefs = self.round(attacker, &elements);
            // The same again is told once.
            let Some(kind) = kinds(&beliefs).into_iter().find(|kind| !seen.contains(kind)) else { continue };
            seen.push(kind);
            let few = self.fewest(attacker, &elements, &beliefs, kind);
            let of_kind: Vec<Belief> = beliefs.into_iter().filter(|belief| belief.kind == kind).collect();
            failures.push(tell(attacker.name, seed, &few, &of_kind));
        }
        (first, failures)
    }

    fn fewest(&self, attacker: &Attacker, elements: &[Element], beliefs: &[Belief], kind: Kind) -> Vec<Element> {
        let does_it = |few: &[Element]| kinds(&self.round(attacker, few)).contains(&kind);
        // What carries its mark says at once which one it was.
        let named: Vec<u32> = beliefs.iter().filter(|b| b.kind == kind).flat_map(|b| b.numbers.clone()).collect();
        let one = elements.iter().find(|element| named.contains(&element.number)).cloned();
        if let Some(one) = one.filter(|one| does_it(std::slice::from_ref(one))) {
            return vec![one];
        }
        minimal(elements, TRIES, does_it)
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
            let (count, found) = range.attack(&attacker, seed, clock::mono() + share);
            println!("{}: {count} elements, {} failures", attacker.name, found.len());
            failures.extend(found);
        }
    };
    attack(&range, guests(&range.ground), &mut failures);
    range.member = Some(Member::take(&range.ground.lab));
    attack(&range, members(&range.ground), &mut failures);
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
    range.without_filter(seed);
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
            let asked = self.ground.victims.iter().filter_map(victim::Victim::asked).collect();
            let elements = burst(seed, first, BURST, &Cast { asked, ..guests[0].cast.clone() });
            first += BURST;
            let seen = kinds(&self.round(&guests[0], &elements));
            wanted.retain(|kind| !seen.contains(kind));
        }
        // Nothing leads from one network to the other but a cable.
        sh(space, "ip link set dev hm nomaster; ip link set dev hm master vb50.12b5");
        let wrong = || kinds(&self.ground.look(guests[0].scope)).contains(&Kind::OtherNetwork);
        let elements = burst(seed, 0, BURST, &guests[0].cast);
        wait_until("the other network is seen", PATIENCE, || {
            self.say(&guests[0], &elements);
            wrong()
        });
    }
}
