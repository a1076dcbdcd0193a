use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::types::{GroupRate, IfName};

const BLUE: &str = "default/10";

fn dropped(world: &mut World, frame: &[u8]) -> DropReason {
    match world.out(BLUE, frame) {
        Fate::Dropped(reason) => reason,
        other @ (Fate::Tunnels(_) | Fate::Answer(_)) => panic!("not dropped: {other:?}"),
    }
}

#[test]
fn unicast_goes_where_the_row_says() {
    let mut world = World::new(Flood::Suppress);
    let (far, other) = (world.peer("b-1"), world.peer("b-2"));
    assert_eq!(world.reached(BLUE, &plain(FAR, HERE)), [far]);
    assert_eq!(world.reached(BLUE, &plain(OTHER, HERE)), [other]);
    assert_eq!(world.reached("other/10", &plain(FAR, HERE)), [other], "the same MAC in another overlay");
    assert_eq!(world.reached(BLUE, &tagged(FAR, HERE, 7, 0x88b5, b"x")), [other], "the same MAC in a VLAN");
    assert_eq!(world.reached(BLUE, &tagged(FAR, HERE, 0xe000, 0x88b5, b"x")), [far], "a priority tag is no VLAN");
}

#[test]
fn every_other_place_has_its_own_reason() {
    let mut world = World::new(Flood::Suppress);
    for (destination, reason) in [
        (HERE_TOO, DropReason::DestinationLocal),
        (PLAIN, DropReason::DestinationPlain),
        (BANNED, DropReason::DestinationForbidden),
        (STRANGER, DropReason::DestinationUnknown),
        (Mac::ZERO, DropReason::DestinationUnknown),
    ] {
        assert_eq!(dropped(&mut world, &plain(destination, HERE)), reason);
    }
}

#[test]
fn only_guests_of_this_node_may_send_from_it() {
    let mut world = World::new(Flood::Replicate);
    for (source, reason) in [
        (STRANGER, DropReason::SourceUnknown),
        (FAR, DropReason::SourceNotHere),
        (PLAIN, DropReason::SourceNotHere),
        (Mac::ZERO, DropReason::SourceNotUnicast),
        (Mac::BROADCAST, DropReason::SourceNotUnicast),
    ] {
        assert_eq!(dropped(&mut world, &plain(OTHER, source)), reason);
        assert_eq!(dropped(&mut world, &plain(Mac::BROADCAST, source)), reason);
    }
    assert_eq!(dropped(&mut world, &tagged(FAR, HERE_TOO, 7, 0x88b5, b"x")), DropReason::SourceUnknown);
}

#[test]
fn a_refused_source_is_told_once() {
    let mut world = World::new(Flood::Suppress);
    let mut out = EgressOut::default();
    let mut frames: Vec<_> = (0..50)
        .map(|_| {
            let mut buf = Buf::default();
            buf.copy_from(&plain(OTHER, FAR));
            Frame { net: world.net(BLUE), buf, virtio: Virtio::default() }
        })
        .collect();
    world.egress.batch(&world.table, &world.paths, world.now, &mut frames, &mut world.pool, &mut out);
    let told = Refused { net: Some(world.net(BLUE)), peer: None, mac: FAR, reason: DropReason::SourceNotHere };
    assert_eq!(out.refused, [told]);
    assert_eq!(world.egress.drops.get(DropReason::SourceNotHere), 50);
}

#[test]
fn unknown_unicast_floods_only_where_the_network_replicates() {
    let frame = plain(STRANGER, HERE);
    assert_eq!(dropped(&mut World::new(Flood::Off), &frame), DropReason::DestinationUnknown);
    assert_eq!(dropped(&mut World::new(Flood::Suppress), &frame), DropReason::DestinationUnknown);
    let mut world = World::new(Flood::Replicate);
    let members = ["b-1", "b-2", "f-1"].map(|name| world.peer(name));
    assert_eq!(world.reached(BLUE, &frame), members);
}

#[test]
fn broadcast_and_multicast_follow_the_flood_mode() {
    for destination in [Mac::BROADCAST, MULTICAST, Mac([0x33, 0x33, 0, 0, 0, 1])] {
        let frame = plain(destination, HERE);
        assert_eq!(dropped(&mut World::new(Flood::Off), &frame), DropReason::FloodOff);
        for flood in [Flood::Suppress, Flood::Replicate] {
            let mut world = World::new(flood);
            let members = ["b-1", "b-2", "f-1"].map(|name| world.peer(name));
            assert_eq!(world.reached(BLUE, &frame), members, "{flood:?}");
        }
    }
}

#[test]
fn suppress_limits_a_storm_and_replicate_does_not() {
    let frame = plain(Mac::BROADCAST, HERE);
    for (flood, passes) in [(Flood::Suppress, 500), (Flood::Replicate, 2000)] {
        let mut world = World::new(flood);
        let through = (0..2000).filter(|_| !world.reached(BLUE, &frame).is_empty()).count();
        assert_eq!(through, passes, "{flood:?}");
        assert_eq!(world.reached("other/10", &frame).len(), 3, "another network has its own allowance");
    }
}

#[test]
fn the_tunnels_of_a_network_carry_what_its_rate_says_and_never_less_than_one_of_its_ports() {
    let rate = |number: u64| (number > 0).then(|| GroupRate::try_from(number).unwrap());
    let frame = plain(Mac::BROADCAST, HERE);
    for (network, port, passes) in
        [(0, 0, 500), (4000, 0, 2000), (100, 0, 50), (0, 6000, 3000), (100, 40, 50), (0, 40, 500)]
    {
        let mut slice = slice(Flood::Suppress);
        slice.networks.get_mut(&key(BLUE)).unwrap().group_rate = rate(network);
        slice.rows.get_mut(&row_key("default/10/-", FAR)).unwrap().group_rate = rate(port);
        let mut world = World::of(&slice);
        let through = (0..4000).filter(|_| !world.reached(BLUE, &frame).is_empty()).count();
        assert_eq!(through, passes, "network {network}, port {port}");
        let limited: u64 = world.egress.sizes.nets().map(|(_, tally)| tally.flood_limited).sum();
        assert_eq!(limited, 4000 - u64::try_from(passes).unwrap(), "and the rest is counted for its network");
    }
}

/// Two guests that flood, behind a limit of 1000, and a neighbour that speaks ten times a second.
#[test]
fn guests_that_flood_take_nothing_of_their_neighbours() {
    let guest = |last| Mac([2, 0, 0, 0, 9, last]);
    let mut slice = slice(Flood::Suppress);
    for last in 0..3 {
        slice.rows.insert(row_key("default/10/-", guest(last)), Row::of(slice.node.clone()));
    }
    let mut world = World::of(&slice);
    let frames = [0, 1, 2].map(|last| plain(Mac::BROADCAST, guest(last)));
    let (mut through, mut heard) = (0_u64, 0_u64);
    for number in 0..7500 {
        world.now = world.now + Duration::from_micros(400);
        let floods = frames[..2].iter().map(|frame| u64::from(!world.reached(BLUE, frame).is_empty()));
        through += floods.sum::<u64>();
        heard += u64::from(number % 250 == 0 && !world.reached(BLUE, &frames[2]).is_empty());
    }
    assert!((3000..=3600).contains(&(through + heard)), "{through} in three seconds");
    assert_eq!(heard, 30, "every one");
    let lost: u64 = world.egress.sizes.floods().map(|(.., many)| many.frames).sum();
    assert_eq!(lost, 15_000 - through, "and those who lost are counted");
}

/// Guests behind one interface are one source, whatever addresses they have; others have a place each.
#[test]
fn sources_are_interfaces_where_they_are_known() {
    let mut slice = slice(Flood::Suppress);
    let interface: IfName = "tap7".parse().unwrap();
    let guest = |last| Mac([2, 0, 0, 0, 9, last]);
    for last in 0..6 {
        let interface = (last < 3).then(|| interface.clone());
        slice.rows.insert(row_key("default/10/-", guest(last)), Row { interface, ..Row::of(slice.node.clone()) });
    }
    let world = World::of(&slice);
    let place = |last| world.table.net(world.net(BLUE)).unwrap().station(None, guest(last)).unwrap().place_among;
    assert_eq!((place(0), place(0)), (place(1), place(2)));
    let all: std::collections::BTreeSet<u8> = (2..6).map(place).collect();
    assert_eq!(all.len(), 4);
}

#[test]
fn a_flood_that_nobody_would_hear_is_named() {
    let mut slice = slice(Flood::Suppress);
    slice.networks.get_mut(&key(BLUE)).unwrap().members.retain(|member, _| *member == node("a-2"));
    let mut world = World::of(&slice);
    assert_eq!(dropped(&mut world, &plain(Mac::BROADCAST, HERE)), DropReason::FloodNobody);
}

#[test]
fn dhcp_broadcasts_go_to_the_proxy_alone() {
    let mut slice = slice(Flood::Off);
    slice.rows.get_mut(&row_key("default/10/-", HERE)).unwrap().dhcp_proxy = Some(OTHER);
    let mut world = World::of(&slice);
    let discover = dhcp(67);
    let other = world.peer("b-2");
    let Fate::Tunnels(sent) = world.out(BLUE, &frame(Mac::BROADCAST, HERE, 0x0800, &discover)) else { panic!() };
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].0, other);
    assert_eq!(sent[0].1[8..14], OTHER.0, "now a unicast frame");
    assert_eq!(sent[0].1[14..20], HERE.0);
    let answer = frame(Mac::BROADCAST, HERE, 0x0800, &dhcp(68));
    assert_eq!(dropped(&mut world, &answer), DropReason::FloodOff, "only what clients say");
    let from_another = frame(Mac::BROADCAST, HERE_TOO, 0x0800, &discover);
    assert_eq!(dropped(&mut world, &from_another), DropReason::FloodOff, "only of that guest");
}

/// An IPv4 packet with UDP to a port.
fn dhcp(port: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255];
    packet.extend([0, 68, 0, port, 0, 12, 0, 0, 1, 1, 6, 0]);
    packet
}

#[test]
fn a_frame_beyond_the_guest_mtu_goes_in_fragments_and_tags_do_not_count() {
    let mut world = World::new(Flood::Suppress);
    let (fits, too_large) = (vec![0; 1400], vec![0; 1401]);
    assert_eq!(world.reached(BLUE, &frame(FAR, HERE, 0x88b5, &fits)).len(), 1);
    assert_eq!(world.reached(BLUE, &tagged(FAR, HERE, 7, 0x88b5, &fits)).len(), 1);
    assert_eq!(world.reached(BLUE, &frame(FAR, HERE, 0x88b5, &too_large)).len(), 2);
}

#[test]
fn a_network_that_has_left_the_table_is_named() {
    let mut world = World::new(Flood::Suppress);
    world.table = Table::default();
    assert_eq!(dropped(&mut world, &plain(FAR, HERE)), DropReason::NetworkGone);
}

#[test]
fn buffers_come_back() {
    let mut world = World::new(Flood::Suppress);
    for _ in 0..10_000 {
        world.out(BLUE, &plain(STRANGER, HERE));
    }
    assert!(world.pool.take().is_some(), "a dropped frame gives its buffer back");
}

#[test]
fn who_sends_to_a_group_what_is_for_one_host_behind_a_tunnel_is_counted_by_guest() {
    let mut slice = slice(Flood::Replicate);
    for (mac, own) in [(FAR, 4), (PLAIN, 3)] {
        slice.rows.get_mut(&row_key("default/10/-", mac)).unwrap().arp = [ip(own)].into();
    }
    let mut world = World::of(&slice);
    let place = world.table.net(world.net(BLUE)).unwrap().station(None, HERE).unwrap().place_among;
    for (to, counts) in [(ip(4), 1), (ip(61), 2), (ip(3), 2), (Ipv4Addr::BROADCAST, 2)] {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 168, 10, 1];
        packet.extend(to.octets());
        packet.extend([0, 9, 0, 9, 0, 8, 0, 0]);
        world.out(BLUE, &frame(Mac([3, 0xbf, 192, 168, 10, 61]), HERE, 0x0800, &packet));
        let counted: Vec<_> = world.egress.sizes.singles().collect();
        assert_eq!(counted, [(world.net(BLUE), place, Lost { frames: counts, mac: HERE })], "{to}");
    }
    let mut all = world.egress.sizes.clone();
    all.merge(&world.egress.sizes);
    assert_eq!(all.singles().map(|(.., lost)| lost.frames).collect::<Vec<_>>(), [4]);
}

proptest! {
    #[test]
    fn no_frame_panics_and_every_frame_has_one_fate(
        noise in proptest::collection::vec(any::<u8>(), 0..200), known in any::<bool>(), group in any::<bool>(),
        ethertype in prop_oneof![Just(0x0800u16), Just(0x0806), Just(0x86dd), Just(0x8100), any::<u16>()],
    ) {
        let mut noise = noise;
        if known && noise.len() >= 14 {
            noise[..6].copy_from_slice(&if group { Mac::BROADCAST } else { FAR }.0);
            noise[6..12].copy_from_slice(&HERE.0);
            noise[12..14].copy_from_slice(&ethertype.to_be_bytes());
        }
        for flood in [Flood::Off, Flood::Suppress, Flood::Replicate] {
            let mut world = World::new(flood);
            let before = world.egress.drops.total();
            let fate = world.out(BLUE, &noise);
            let drops = world.egress.drops.total() - before;
            prop_assert_eq!(drops, u64::from(matches!(fate, Fate::Dropped(_))));
        }
    }
}

#[test]
fn a_flood_to_five_hundred_peers_is_copied_once_a_peer_into_one_train_each() {
    const MEMBERS: usize = 500;
    const FRAMES: usize = 40;
    let mut slice = slice(Flood::Replicate);
    for n in 0..MEMBERS {
        let name = node(&format!("m-{n}"));
        slice.peers.insert(name.clone(), peer("m", "10.9.0.1", 9));
        slice.networks.get_mut(&key(BLUE)).unwrap().members.insert(name, Path::Tunnel);
    }
    let mut world = World::of(&slice);
    let net = world.net(BLUE);
    let members = world.table.net(net).unwrap().members.len();
    assert!(members >= MEMBERS);
    let mut frames: Vec<Frame> = (0..FRAMES)
        .map(|n| {
            let mut buf = world.pool.take().unwrap();
            buf.copy_from(&frame(Mac::BROADCAST, HERE, 0x1234, &[u8::try_from(n).unwrap(); 46]));
            Frame { net, buf, virtio: world.virtio }
        })
        .collect();
    let mut out = EgressOut::default();
    world.egress.batch(&world.table, &world.paths, world.now, &mut frames, &mut world.pool, &mut out);
    assert_eq!(world.egress.drops.total(), 0, "{:?}", world.egress.drops);
    assert_eq!(out.tunnels.len(), members, "one send a peer, not one a peer and frame");
    let mut reached = std::collections::BTreeSet::new();
    for train in &mut out.tunnels {
        assert!(reached.insert(train.peer));
        let numbers: Vec<u8> = payloads(train).iter().map(|(_, payload, _)| *payload.last().unwrap()).collect();
        assert!(numbers.iter().copied().eq(0..u8::try_from(FRAMES).unwrap()), "each frame once, in order: {numbers:?}");
    }
}
