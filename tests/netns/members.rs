//! A member that lies: its key is right, its lane believes a table of its own making, and it sends what it likes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use vxmesh::forward::DropReason;
use vxmesh::meshd::lane::{Lane, LaneEvent};
use vxmesh::table::{Flood, NetKey, PortRole, Row, Slice};
use vxmesh::types::{Mac, PeerSlot};

use crate::harness::{Space, cable, can_run, wait_until};
use crate::lane::{MACS, TAP, make_tap, psk, secret, setup, slice, spawn};
use crate::liar::Liar;
use crate::pretend::{Plug, arp, ipv4, ipv6, na, ns, own, probe, router, same, tag};
use crate::says::{self, Party, ROLES, Role, Said};

/// Its own guest, one with a tag of 7, a router and a DHCP server; then a guest of the other node, and one that nobody has.
const OWN: Mac = Mac([2, 0, 0, 0, 0x0b, 1]);
const TAGGED: Mac = Mac([2, 0, 0, 0, 0x0b, 7]);
const ROUTER: Mac = Mac([2, 0, 0, 0, 0x0b, 8]);
const SERVER: Mac = Mac([2, 0, 0, 0, 0x0b, 9]);
const VICTIM: Mac = Mac([2, 0, 0, 0, 0x0a, 1]);
const NOBODY: Mac = Mac([2, 0, 0, 0, 0x0c, 1]);

fn four(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 10, last)
}

fn six(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last)
}

fn key(text: &str) -> NetKey {
    text.parse().unwrap()
}

fn add(slice: &mut Slice, at: &str, mac: Mac, role: PortRole, last: u8) {
    let (arp, nd) = ([four(last)].into(), [six(last.into())].into());
    let row = Row { arp, nd, role: role.into(), ..Row::of("n1".parse().unwrap()) };
    slice.rows.insert(format!("{at}/{mac}").parse().unwrap(), row);
}

/// What is true.
fn truth() -> Slice {
    let mut slice = slice(0, Flood::Replicate);
    add(&mut slice, "default/10/7", TAGGED, PortRole::Guest, 17);
    add(&mut slice, "default/10/-", ROUTER, PortRole::Router, 18);
    add(&mut slice, "default/10/-", SERVER, PortRole::Dhcp, 19);
    slice
}

/// What the member makes its own lane believe: everybody is its guest, in any VLAN, and there is another network.
fn lie() -> Slice {
    let mut slice = slice(1, Flood::Replicate);
    slice.rows.clear();
    for mac in [OWN, TAGGED, ROUTER, SERVER, VICTIM, NOBODY] {
        for at in ["default/10/-", "default/10/7", "default/10/8", "default/30/-"] {
            let row = Row::of("n1".parse().unwrap());
            slice.rows.insert(format!("{at}/{mac}").parse().unwrap(), row);
        }
    }
    let other = slice.networks[&key("default/10")].clone();
    slice.networks.insert(key("default/30"), other);
    slice
}

/// A frame, into which TAP of the member, and why it must not arrive.
type Attack = (&'static str, &'static str, Vec<u8>, Option<DropReason>);

fn attacks() -> Vec<Attack> {
    use DropReason as D;
    let hop = |frame: &[u8]| tag(0, frame);
    let all = Mac::BROADCAST;
    let list = vec![
        ("own IPv4", ipv4(all, OWN, four(12), None), None),
        ("own IPv6", ipv6(all, OWN, six(0x12), None), None),
        ("own ARP", arp(OWN, OWN, four(12)), None),
        ("own probe", probe(OWN, four(12)), None),
        ("own NA", na(OWN, six(0x12), six(0x12)), None),
        ("own NA, link-local", na(OWN, own(OWN), own(OWN)), None),
        ("own NS", ns(OWN, six(0x12), OWN), None),
        ("own tag", tag(7, &ipv4(all, TAGGED, four(17), None)), None),
        ("RA of a router", router(ROUTER, own(ROUTER), 134, false), None),
        ("DHCP of a server", ipv4(all, SERVER, four(19), Some((67, 68))), None),
        ("DHCPv6 of a server", ipv6(all, SERVER, six(19), Some((547, 546))), None),
        ("a DHCP client", ipv4(all, OWN, Ipv4Addr::UNSPECIFIED, Some((68, 67))), None),
        ("MAC of a guest there", ipv4(all, VICTIM, four(11), None), Some(D::SourceNotThere)),
        ("MAC of nobody", ipv4(all, NOBODY, four(12), None), Some(D::SourceUnknown)),
        ("VLAN of nobody", tag(8, &ipv4(all, OWN, four(12), None)), Some(D::SourceUnknown)),
        ("VLAN of another guest", tag(7, &ipv4(all, OWN, four(17), None)), Some(D::SourceUnknown)),
        ("no tag where one is due", ipv4(all, TAGGED, four(17), None), Some(D::SourceUnknown)),
        ("a tag behind a priority tag", hop(&tag(7, &ipv4(all, OWN, four(12), None))), Some(D::TagNested)),
        ("ARP behind two priority tags", hop(&hop(&arp(OWN, OWN, four(11)))), Some(D::TagNested)),
        ("ARP behind a tag and a priority tag", tag(7, &hop(&arp(TAGGED, TAGGED, four(11)))), Some(D::TagNested)),
        ("ARP of a guest there", arp(OWN, OWN, four(11)), Some(D::ArpForeign)),
        ("ARP of nobody", arp(OWN, OWN, four(99)), Some(D::ArpForeign)),
        ("ARP with another's MAC", arp(OWN, VICTIM, four(12)), Some(D::ArpForeign)),
        ("ARP behind a priority tag", hop(&arp(OWN, OWN, four(11))), Some(D::ArpForeign)),
        ("NA of a guest there", na(OWN, six(0x12), six(0x11)), Some(D::NdForeign)),
        ("NA of another's link-local", na(OWN, own(OWN), own(VICTIM)), Some(D::NdForeign)),
        ("NS as a guest there", ns(OWN, six(0x11), OWN), Some(D::NdForeign)),
        ("NS with another's MAC", ns(OWN, six(0x12), VICTIM), Some(D::NdForeign)),
        ("RA", router(OWN, own(OWN), 134, false), Some(D::RouterUnexpected)),
        ("RA behind options", router(OWN, own(OWN), 134, true), Some(D::RouterUnexpected)),
        ("redirect", router(OWN, own(OWN), 137, false), Some(D::RouterUnexpected)),
        ("RA as another router", router(ROUTER, own(VICTIM), 134, false), Some(D::NdForeign)),
        ("DHCP", ipv4(all, OWN, four(12), Some((67, 68))), Some(D::DhcpUnexpected)),
        ("DHCP of a router", ipv4(all, ROUTER, four(18), Some((67, 68))), Some(D::DhcpUnexpected)),
        ("DHCPv6", ipv6(all, OWN, six(0x12), Some((547, 546))), Some(D::DhcpUnexpected)),
    ];
    let mut list: Vec<Attack> = list.into_iter().map(|(what, frame, why)| (what, TAP, frame, why)).collect();
    let elsewhere = ipv4(all, OWN, four(12), None);
    list.push(("a VNI that is not hosted", "vt30.12b5", elsewhere, Some(D::NetworkUnknown)));
    list
}

/// The honest end with its guest, and the lying one whose TAPs the test writes to.
struct Ground {
    lanes: [Lane; 2],
    guest: Plug,
    taps: Vec<(&'static str, Plug)>,
    _hosts: [Space; 2],
}

fn ground() -> Ground {
    let hosts = [Space::new("n0"), Space::new("n1")];
    cable(&hosts[0], "wan", &hosts[1], "wan");
    for (end, host) in hosts.iter().enumerate() {
        host.sh(&format!(
            "sysctl -q -w net.ipv6.conf.default.disable_ipv6=1; ip address add 10.0.0.{}/24 dev wan
             ip link add br0 type bridge mcast_snooping 0; ip link set br0 up",
            end + 1
        ));
        make_tap(host);
    }
    let guest = Plug::on(&hosts[0], "g1", "br0");
    hosts[1].sh("ip link add br1 type bridge mcast_snooping 0; ip link set br1 up");
    hosts[1].enter(|| vxmesh::linux::tap::create_persistent(&"vt30.12b5".parse().unwrap()).unwrap());
    hosts[1].sh("ip link set vt30.12b5 mtu 1400 master br1 up");
    let taps = vec![(TAP, Plug::on(&hosts[1], "m10", "br0")), ("vt30.12b5", Plug::on(&hosts[1], "m30", "br1"))];
    let lanes = [spawn(&hosts[0], 0), spawn(&hosts[1], 1)];
    lanes[0].set(setup(&truth(), 0));
    lanes[1].set(setup(&lie(), 1));
    Ground { lanes, guest, taps, _hosts: hosts }
}

impl Ground {
    fn send(&self, tap: &str, frame: &[u8]) {
        let (_, plug) = self.taps.iter().find(|(name, _)| *name == tap).unwrap();
        plug.send(frame);
    }

    fn count(&self, why: DropReason) -> u64 {
        self.lanes[0].stats().unwrap().drops.get(why)
    }
}

#[test]
fn a_member_sends_for_its_own_guests_and_for_nobody_else() {
    if !can_run() {
        return;
    }
    assert_eq!(MACS, [VICTIM.to_string(), OWN.to_string()]);
    let ground = ground();
    let mark = ipv4(Mac::BROADCAST, OWN, four(12), None);
    wait_until("the tunnel is up", Duration::from_secs(20), || {
        ground.send(TAP, &mark);
        ground.guest.heard().iter().any(|frame| same(frame, &mark))
    });
    for (what, tap, frame, why) in attacks() {
        let before = why.map_or(0, |why| ground.count(why));
        ground.send(tap, &frame);
        let Some(why) = why else {
            ground.guest.heard_until(&frame);
            continue;
        };
        wait_until(&format!("{what}: {why} is counted"), Duration::from_secs(5), || ground.count(why) > before);
        assert_eq!(ground.count(why), before + 1, "{what}");
        // Others are unharmed, and what comes in order has not come before.
        let own = ipv4(Mac::BROADCAST, OWN, four(12), Some((4000, 4000 + u16::try_from(before).unwrap())));
        ground.send(TAP, &own);
        let heard = ground.guest.heard_until(&own);
        assert!(!heard.iter().any(|heard| same(heard, &frame)), "{what} was delivered");
    }
    let told: Vec<_> = ground.lanes[0].events().try_iter().collect();
    let refused =
        told.iter().filter_map(|event| if let LaneEvent::Refused(refused) = event { Some(refused) } else { None });
    let peers: Vec<_> = refused.map(|refused| refused.peer).collect();
    assert!(!peers.is_empty() && peers.iter().all(|peer| *peer == Some(PeerSlot(0))), "{told:?}");
}

/// VLAN in which the speakers have a second row.
const VLAN: u16 = 9;

/// The guest of the member that has a role.
fn speaker(role: Role) -> Party {
    let last = 0x21 + u8::try_from(ROLES.iter().position(|one| *one == role).unwrap()).unwrap();
    Party { mac: Mac([2, 0, 0, 0, 0x0b, last]), v4: four(last), v6: six(last.into()) }
}

const GUEST_HERE: Party =
    Party { mac: VICTIM, v4: Ipv4Addr::new(192, 168, 10, 11), v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x11) };

/// What is true of the speakers, without a tag and in a VLAN.
fn roles() -> Slice {
    let mut slice = slice(0, Flood::Replicate);
    for at in ["default/10/-", "default/10/9"] {
        let victim = Row { arp: [GUEST_HERE.v4].into(), nd: [GUEST_HERE.v6].into(), ..Row::of("n0".parse().unwrap()) };
        slice.rows.insert(format!("{at}/{VICTIM}").parse().unwrap(), victim);
        for role in ROLES {
            let Party { mac, v4, v6 } = speaker(role);
            let mut row = Row { arp: [v4].into(), nd: [v6].into(), ..Row::of("n1".parse().unwrap()) };
            match role {
                Role::Guest => {}
                Role::Router => row.role = PortRole::Router.into(),
                Role::Dhcp => row.role = PortRole::Dhcp.into(),
                Role::Bare => (row.arp, row.nd) = Default::default(),
            }
            slice.rows.insert(format!("{at}/{mac}").parse().unwrap(), row);
        }
    }
    slice
}

/// A lane with a guest's interface, and a member with a program of its own.
struct Duel {
    lane: Lane,
    guest: Plug,
    liar: Liar,
    _hosts: [Space; 2],
}

fn duel() -> Duel {
    let hosts = [Space::new("n0"), Space::new("n1")];
    cable(&hosts[0], "wan", &hosts[1], "wan");
    for (end, host) in hosts.iter().enumerate() {
        let last = end + 1;
        host.sh(&format!("sysctl -q -w net.ipv6.conf.default.disable_ipv6=1; ip address add 10.0.0.{last}/24 dev wan"));
    }
    // Not for the host's own filter to refuse: the lane shall.
    hosts[0].sh(
        "ip link add br0 type bridge mcast_snooping 0; ip link set br0 up
         for it in iptables ip6tables arptables; do sysctl -q -w net.bridge.bridge-nf-call-$it=0 2>/dev/null || true; done",
    );
    make_tap(&hosts[0]);
    let guest = Plug::on(&hosts[0], "g1", "br0");
    let lane = spawn(&hosts[0], 0);
    lane.set(setup(&roles(), 0));
    let node = (vxmesh::tunnel::public_key(&secret(0)), "10.0.0.1:51820".parse().unwrap());
    let liar = Liar::call(&hosts[1], secret(1), psk(), node);
    // On a busy machine the lane may not carry yet when the call has been answered.
    let Party { mac, v4, .. } = speaker(Role::Guest);
    let first = ipv4(Mac::BROADCAST, mac, v4, Some((4999, 4999)));
    wait_until("the lane carries", Duration::from_secs(20), || {
        liar.say(10, &first);
        guest.heard_within(&first, Duration::from_millis(200)).is_some()
    });
    Duel { lane, guest, liar, _hosts: hosts }
}

impl Duel {
    /// Says some things, and compares what the guest hears with what it may hear. Counts what must have been counted.
    fn say(&self, role: Role, tags: &[u16], said: &[Said], counted: &mut BTreeMap<DropReason, u64>) {
        let behind =
            |frame: &[u8]| tags.iter().rev().fold(frame.to_vec(), |frame, tag| says::tagged(0x8100, *tag, &frame));
        for said in said {
            self.liar.say(10, &behind(&said.frame));
        }
        // What comes in order has not come before.
        let count = u16::try_from(counted.values().sum::<u64>() % 50_000).unwrap();
        let Party { mac, v4, .. } = speaker(role);
        let mark = behind(&ipv4(Mac::BROADCAST, mac, v4, Some((5000, 5000 + count))));
        self.liar.say(10, &mark);
        let heard = self.guest.heard_until(&mark);
        for said in said {
            let arrived = heard.contains(&behind(&said.frame));
            match said.verdict(role) {
                None => assert!(arrived, "{} of a {role:?} behind {tags:?} did not arrive", said.what),
                Some(why) => {
                    let port = Said::at_port(why);
                    assert!(!arrived, "{} of a {role:?} behind {tags:?} was delivered; {why}, or {port}", said.what);
                    *counted.entry(why).or_default() += 1;
                }
            }
        }
    }
}

#[test]
fn what_a_member_sends_for_its_guests_is_what_guests_with_their_roles_may_say() {
    if !can_run() {
        return;
    }
    let duel = duel();
    let mut counted = BTreeMap::new();
    duel.say(Role::Guest, &[], &[], &mut counted);
    let start = duel.lane.stats().unwrap().drops;
    for role in ROLES {
        for tags in [&[][..], &[0], &[VLAN]] {
            for said in says::all(speaker(role), GUEST_HERE).chunks(16) {
                duel.say(role, tags, said, &mut counted);
            }
        }
    }
    let drops = duel.lane.stats().unwrap().drops;
    for (why, times) in &counted {
        assert_eq!(drops.get(*why) - start.get(*why), *times, "{why}");
    }
    assert_eq!(drops.total() - start.total(), counted.values().sum::<u64>(), "nothing else was refused");
    assert!(counted.len() >= 10, "{counted:?}");
}
