use std::time::Duration;

use super::*;
use crate::wire::compact::{Compact, Content};
use crate::wire::oam::{Kind, Oam};

const BLUE: &str = "default/10";

/// A payload of form B.
pub(super) fn compact(udp_port: u64, vni: u64, frame: &[u8]) -> Vec<u8> {
    let content = Content::Frame { udp_port: UdpPort::try_from(udp_port).unwrap(), vni: vni.try_into().unwrap() };
    let mut bytes = vec![0; 8];
    Compact::new(content, frame.len()).emit(&mut bytes).unwrap();
    bytes.extend(frame);
    bytes.resize(bytes.len().next_multiple_of(16), 0);
    bytes
}

#[test]
fn a_frame_of_the_right_peer_arrives_without_its_padding() {
    let mut world = World::new(Flood::Suppress);
    let frame = plain(HERE, FAR);
    let arrived = world.arrive(world.peer("b-1"), &compact(4789, 10, &frame));
    assert_eq!(arrived, Ok((world.net(BLUE), frame)));
}

#[test]
fn peer_vni_and_mac_must_agree() {
    let mut world = World::new(Flood::Replicate);
    let frame = plain(HERE, FAR);
    let from_stranger = plain(HERE, STRANGER);
    for (peer, udp_port, vni, frame, reason) in [
        ("b-2", 4789, 10, &frame, DropReason::SourceNotThere),
        ("a-2", 4789, 10, &frame, DropReason::SessionOnly),
        ("b-1", 4790, 10, &frame, DropReason::SourceNotThere),
        ("b-1", 4789, 20, &frame, DropReason::SourceUnknown),
        ("b-1", 4789, 30, &frame, DropReason::NetworkUnknown),
        ("b-1", 4791, 10, &frame, DropReason::NetworkUnknown),
        ("b-1", 4789, 10, &from_stranger, DropReason::SourceUnknown),
        ("b-1", 4789, 10, &plain(HERE, HERE_TOO), DropReason::SourceNotThere),
        ("b-1", 4789, 10, &plain(HERE, Mac::BROADCAST), DropReason::SourceNotUnicast),
        ("c-1", 4789, 10, &plain(HERE, BANNED), DropReason::SourceForbidden),
        ("b-1", 4789, 10, &tagged(HERE, FAR, 7, 0x88b5, b"x"), DropReason::SourceNotThere),
    ] {
        let sent = compact(udp_port, vni, frame);
        assert_eq!(world.arrive(world.peer(peer), &sent), Err(reason), "{peer} {udp_port} {vni}");
    }
}

#[test]
fn two_overlays_with_one_vni_stay_apart() {
    let mut world = World::new(Flood::Suppress);
    let frame = plain(HERE, FAR);
    let green = world.arrive(world.peer("b-2"), &compact(4790, 10, &frame));
    assert_eq!(green, Ok((world.net("other/10"), frame.clone())));
    let blue = world.arrive(world.peer("b-1"), &compact(4789, 10, &frame));
    assert_eq!(blue, Ok((world.net(BLUE), frame)));
}

#[test]
fn a_peer_that_decided_more_strictly_is_heard() {
    let mut slice = slice(Flood::Suppress);
    // One network of the two is encrypted, so there is a tunnel.
    let encrypt = PathRule {
        between: vec![Selector::Node("a-2".parse().unwrap())],
        network: Some("red".parse().unwrap()),
        action: Action::Encrypt,
        i_know_this_is_clear: false,
    };
    slice.policies.insert("red".parse().unwrap(), encrypt);
    let mut world = World::of(&slice);
    let frame = plain(HERE, PLAIN);
    assert_eq!(world.arrive(world.peer("a-2"), &compact(4789, 10, &frame)), Ok((world.net(BLUE), frame)));
}

#[test]
fn a_session_with_a_peer_of_the_plain_path_carries_control_messages_and_no_frame_of_any_form() {
    let mut world = World::new(Flood::Replicate);
    let peer = world.peer("a-2");
    let standard = |more: bool, offset: u16| {
        let frame = plain(HERE, PLAIN);
        let total = 36 + u16::try_from(frame.len()).unwrap();
        let mut bytes = vec![0; usize::from(total)];
        let outer = Ipv4 {
            options: 0,
            tos: 0,
            total,
            id: 1,
            dont_fragment: false,
            more_fragments: more,
            offset,
            ttl: 64,
            protocol: 17,
            source: Ipv4Addr::UNSPECIFIED,
            destination: Ipv4Addr::UNSPECIFIED,
        };
        outer.emit(&mut bytes).unwrap();
        bytes[36..].copy_from_slice(&frame);
        bytes
    };
    for (what, payload) in [
        ("a frame", compact(4789, 10, &plain(HERE, PLAIN))),
        ("a broadcast", compact(4789, 10, &plain(Mac::BROADCAST, PLAIN))),
        ("another network's", compact(4790, 10, &plain(HERE, FAR))),
        ("form A", standard(false, 0)),
        ("a first fragment", standard(true, 0)),
        ("a later fragment", standard(false, 8)),
    ] {
        assert_eq!(world.arrive(peer, &payload), Err(DropReason::SessionOnly), "{what}");
    }
    assert_eq!(world.arrive_all(peer, &control(7, 12)).tunnels.len(), 1, "an echo request is answered");
    for kind in [Kind::PlainAsk, Kind::PlainTell { heard: 3, hit: true }] {
        let mut trains = Vec::new();
        let (pool, message) = (&mut Pool::default(), Oam { kind, token: 9 });
        echo(kind, 9, Oam::LEN, peer, pool, &mut trains).unwrap();
        let said = world.arrive_all(peer, &payloads(&mut trains[0]).pop().unwrap().1).said;
        assert_eq!(said, [Said { peer, message }]);
    }
    // Nor does one leave by it.
    assert_eq!(world.out(BLUE, &plain(PLAIN, HERE)), Fate::Dropped(DropReason::DestinationPlain));
}

#[test]
fn nothing_goes_from_tunnel_to_tunnel_or_to_the_plain_path() {
    for flood in [Flood::Off, Flood::Suppress, Flood::Replicate] {
        let mut world = World::new(flood);
        for elsewhere in [OTHER, PLAIN, FAR, BANNED] {
            let sent = compact(4789, 10, &plain(elsewhere, FAR));
            assert_eq!(world.arrive(world.peer("b-1"), &sent), Err(DropReason::DestinationElsewhere));
        }
        let out = world.arrive_all(world.peer("b-1"), &compact(4789, 10, &plain(Mac::BROADCAST, FAR)));
        assert!(out.tunnels.is_empty(), "a flooded frame is not flooded on");
    }
}

#[test]
fn floods_and_unknown_destinations_follow_the_mode() {
    let broadcast = compact(4789, 10, &plain(Mac::BROADCAST, FAR));
    let unknown = compact(4789, 10, &plain(STRANGER, FAR));
    for (flood, group, unicast) in [
        (Flood::Off, Some(DropReason::FloodOff), Some(DropReason::DestinationUnknown)),
        (Flood::Suppress, None, Some(DropReason::DestinationUnknown)),
        (Flood::Replicate, None, None),
    ] {
        let mut world = World::new(flood);
        assert_eq!(world.arrive(world.peer("b-1"), &broadcast).err(), group, "{flood:?}");
        assert_eq!(world.arrive(world.peer("b-1"), &unknown).err(), unicast, "{flood:?}");
    }
}

#[test]
fn a_peer_cannot_storm_a_network_that_suppresses() {
    let mut world = World::new(Flood::Suppress);
    let broadcast = compact(4789, 10, &plain(Mac::BROADCAST, FAR));
    let arrived = (0..2000).filter(|_| world.arrive(world.peer("b-1"), &broadcast).is_ok()).count();
    assert_eq!(arrived, 500);
    assert_eq!(world.ingress.drops.get(DropReason::FloodLimited), 1500);
}

/// What a peer sends too much is its own loss, in its own network: 8000 frames a second of one, ten of another.
#[test]
fn a_peer_that_storms_loses_its_own_frames_and_nobody_elses() {
    let mut world = World::new(Flood::Suppress);
    let (storm, talk) = [FAR, OTHER].map(|guest| compact(4789, 10, &plain(Mac::BROADCAST, guest))).into();
    let (storms, talks) = (world.peer("b-1"), world.peer("b-2"));
    let (mut through, mut heard) = (0_u64, 0);
    for number in 0..24_000 {
        world.now = world.now + Duration::from_micros(125);
        through += u64::from(world.arrive(storms, &storm).is_ok());
        heard += usize::from(number % 800 == 0 && world.arrive(talks, &talk).is_ok());
    }
    assert!((3000..=3600).contains(&through), "{through} in three seconds");
    assert_eq!(heard, 30, "every one");
    let floods: Vec<_> = world.ingress.sizes.floods().collect();
    let [(net, Flooder::Peer(peer), Lost { frames, mac })] = floods[..] else { panic!("{floods:?}") };
    assert_eq!((net, peer, mac, frames), (world.net(BLUE), storms, FAR, 24_000 - through));
}

#[test]
fn a_refused_source_is_told_with_its_peer() {
    let mut world = World::new(Flood::Suppress);
    let out = world.arrive_all(world.peer("b-2"), &compact(4789, 10, &plain(HERE, FAR)));
    let (net, peer) = (Some(world.net(BLUE)), Some(world.peer("b-2")));
    assert_eq!(out.refused, [Refused { net, peer, mac: FAR, reason: DropReason::SourceNotThere }]);
}

/// A request of `len` bytes as the payload of form B that asks for an echo.
fn control(token: u64, len: usize) -> Vec<u8> {
    let mut trains = Vec::new();
    echo(Kind::EchoRequest, token, len, PeerSlot(0), &mut Pool::default(), &mut trains).unwrap();
    payloads(&mut trains[0]).pop().unwrap().1
}

#[test]
fn an_echo_request_is_answered_with_the_size_in_which_it_arrived() {
    let mut world = World::new(Flood::Suppress);
    let peer = world.peer("b-1");
    let request = control(0x1234_5678_9abc_def0, 1000);
    assert_eq!((request.len(), request[0]), (1008, 1));
    let mut out = world.arrive_all(peer, &request);
    let (to, answer, _) = payloads(&mut out.tunnels[0]).pop().unwrap();
    assert_eq!(to, peer);
    let reply = Oam::parse(&answer[8..]).unwrap();
    assert_eq!(reply, Oam { kind: Kind::EchoReply { size: 1008 }, token: 0x1234_5678_9abc_def0 });
    let heard = world.arrive_all(peer, &answer);
    assert_eq!(heard.echoes, [Echo { peer, token: 0x1234_5678_9abc_def0, size: Some(1008) }]);
    assert!(heard.tunnels.is_empty(), "an answer is not answered");
}

#[test]
fn echo_requests_are_limited_for_each_peer() {
    let mut world = World::new(Flood::Suppress);
    let request = control(1, 12);
    let mut answers = |name: &str| {
        let peer = world.peer(name);
        (0..300).filter(|_| !world.arrive_all(peer, &request).tunnels.is_empty()).count()
    };
    assert_eq!((answers("b-1"), answers("b-2")), (100, 100));
}

#[test]
fn what_a_peer_asks_does_not_keep_its_answers_away() {
    let mut world = World::new(Flood::Suppress);
    let peer = world.peer("b-1");
    let answer = {
        let mut out = world.arrive_all(peer, &control(7, 12));
        payloads(&mut out.tunnels[0]).pop().unwrap().1
    };
    (0..300).for_each(|_| drop(world.arrive_all(peer, &control(1, 12))));
    assert_eq!(world.arrive_all(peer, &answer).echoes.len(), 1);
}

#[test]
fn a_probe_has_every_size_to_the_byte_and_is_answered_in_both_forms() {
    let mut world = World::new(Flood::Suppress);
    for len in (52..300).chain(1400..1420).chain([8940]) {
        for (name, reply) in [("b-1", false), ("f-1", true)] {
            let peer = world.peer(name);
            let mut train = probe(&world.table, peer, 99, len, &mut world.pool).unwrap().unwrap();
            let sizes: Vec<usize> = train.datagrams().map(|datagram| datagram.len()).collect();
            assert_eq!(sizes, [len + 32], "alone, and not padded");
            let mut payload = train.datagrams().next().unwrap()[16..16 + len].to_vec();
            world.now = world.now + Duration::from_secs(1);
            let answer = if reply { foreign_answers(&mut payload) } else { daemon_answers(&mut world, peer, &payload) };
            let size = (!reply).then(|| u16::try_from(len).unwrap());
            assert_eq!(world.arrive_all(peer, &answer).echoes, [Echo { peer, token: 99, size }], "{len} to {name}");
            world.pool.give(train.into_buf(0));
        }
    }
    let peer = world.peer("f-1");
    assert_eq!(probe(&world.table, peer, 99, 35, &mut world.pool).unwrap_err(), DropReason::ControlMalformed);
    assert_eq!(probe(&world.table, PeerSlot(99), 1, 100, &mut world.pool).unwrap_err(), DropReason::PeerGone);
}

/// What Linux makes of a ping (`icmp_echo`): the first piece of it, where its device is smaller.
fn foreign_answers(request: &mut Vec<u8>) -> Vec<u8> {
    let header = Ipv4::parse(request).unwrap();
    assert!(header.checksum_holds(request) && header.dont_fragment && header.protocol == 1);
    assert_eq!(
        (usize::from(header.total), header.source, header.destination),
        (request.len(), OWN_TUNNEL, FOREIGN_TUNNEL)
    );
    assert_eq!(crate::wire::sum::Sum::default().with(&request[20..]).checksum(), 0);
    request[20] = 0;
    let more_fragments = request.len() > 1300;
    request.truncate(1300);
    let total = u16::try_from(request.len()).unwrap();
    let (source, destination) = (FOREIGN_TUNNEL, OWN_TUNNEL);
    Ipv4 { source, destination, total, more_fragments, dont_fragment: false, ..header }.emit(request).unwrap();
    request.clone()
}

fn daemon_answers(world: &mut World, peer: PeerSlot, request: &[u8]) -> Vec<u8> {
    let mut out = world.arrive_all(peer, request);
    let answer = payloads(&mut out.tunnels[0]).pop().unwrap().1;
    assert_eq!(answer.len(), 20, "the answer is small whatever was asked");
    answer
}

#[test]
fn a_ping_of_ours_is_not_answered_and_other_icmp_is_dropped() {
    let mut world = World::new(Flood::Suppress);
    let peer = world.peer("f-1");
    let train = probe(&world.table, peer, 99, 100, &mut world.pool).unwrap().unwrap();
    let mut payload = train.into_buf(1).bytes()[16..116].to_vec();
    for kind in [8, 3, 11, 13] {
        let header = Ipv4::parse(&payload).unwrap();
        Ipv4 { source: FOREIGN_TUNNEL, destination: OWN_TUNNEL, ..header }.emit(&mut payload).unwrap();
        payload[20] = kind;
        assert_eq!(world.arrive(peer, &payload), Err(DropReason::OuterMalformed));
    }
}

#[test]
fn a_control_message_of_unknown_kind_or_length_is_dropped() {
    let mut world = World::new(Flood::Suppress);
    let peer = world.peer("b-1");
    let mut short = vec![1, 8 + 4, 0, 0, 0, 0, 0, 0];
    short.extend([1, 0, 0, 0]);
    let mut unknown = vec![1, 4, 0, 0, 0, 0, 0, 0];
    unknown.extend([9; 12]);
    for bad in [short, unknown] {
        let before = world.ingress.drops.get(DropReason::ControlMalformed);
        let out = world.arrive_all(peer, &bad);
        assert!(out.tunnels.is_empty() && out.frames.is_empty());
        assert_eq!(world.ingress.drops.get(DropReason::ControlMalformed), before + 1);
    }
}
