//! What guests of peers may say, by the table that ports are compared with too.

use super::ingress::compact;
use super::says::{self, Party, ROLES, Role, Said};
use super::*;
use crate::table::PortRole;

const ME: Party =
    Party { mac: FAR, v4: Ipv4Addr::new(192, 168, 10, 4), v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 4) };
const THEIRS: Party =
    Party { mac: HERE, v4: Ipv4Addr::new(192, 168, 10, 1), v6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1) };
const VLAN: u16 = 9;

/// A mesh in which `ME` has this role, in each VLAN that is tried, and `THEIRS` is here.
fn world(role: Role, learning: Learning) -> World {
    let mut slice = slice(Flood::Replicate);
    slice.networks.values_mut().for_each(|network| network.learning = learning);
    for at in ["default/10/-", "default/10/9"] {
        for (party, node) in [(ME, "b-1"), (THEIRS, "a-1")] {
            let (arp, nd) = ([party.v4].into(), [party.v6].into());
            let row = Row { arp, nd, ..Row::of(node.parse().unwrap()) };
            slice.rows.insert(row_key(at, party.mac), row);
        }
        let me = slice.rows.get_mut(&row_key(at, ME.mac)).unwrap();
        match role {
            Role::Guest => {}
            Role::Router => me.role = PortRole::Router.into(),
            Role::Dhcp => me.role = PortRole::Dhcp.into(),
            Role::Bare => (me.arp, me.nd) = Default::default(),
        }
    }
    World::of(&slice)
}

/// The frame behind these tags, the outermost first.
fn behind(tags: &[(u16, u16)], said: &Said) -> Vec<u8> {
    tags.iter().rev().fold(said.frame.clone(), |frame, (protocol, vlan)| says::tagged(*protocol, *vlan, &frame))
}

/// What becomes of a frame; what arrives is what was sent.
fn heard(world: &mut World, frame: &[u8]) -> Option<DropReason> {
    match world.arrive(world.peer("b-1"), &compact(4789, 10, frame)) {
        Ok((_, arrived)) => {
            assert_eq!(arrived, frame);
            None
        }
        Err(reason) => Some(reason),
    }
}

#[test]
fn what_a_guest_may_say_hangs_on_its_role_and_not_on_its_tag() {
    let said = says::all(ME, THEIRS);
    assert!(said.len() > 400, "{}", said.len());
    for role in ROLES {
        let mut world = world(role, Learning::Declared);
        for said in &said {
            for tags in [&[][..], &[(0x8100, 0)], &[(0x8100, VLAN)]] {
                let found = heard(&mut world, &behind(tags, said));
                assert_eq!(found, said.verdict(role), "{}, of a {role:?}, behind {tags:x?}", said.what);
            }
        }
    }
}

#[test]
fn what_is_refused_here_is_refused_at_a_port_under_a_name() {
    let at_port = crate::node::fence_text::REASONS.map(|(name, _)| name);
    for said in says::all(ME, THEIRS) {
        for reason in ROLES.iter().filter_map(|role| said.verdict(*role)) {
            let name = Said::at_port(reason);
            assert!(at_port.contains(&name) || name == "group", "{}: {name}", said.what);
        }
    }
}

#[test]
fn nothing_passes_behind_two_tags_or_one_of_a_provider() {
    let mut world = world(Role::Router, Learning::Declared);
    for said in says::all(ME, THEIRS) {
        for (outer, inner) in [(0, 0), (0, VLAN), (VLAN, 0), (VLAN, VLAN)] {
            for protocol in [0x8100, 0x88a8] {
                let found = heard(&mut world, &behind(&[(0x8100, outer), (protocol, inner)], &said));
                let reasons = [DropReason::TagNested, DropReason::GroupReserved];
                assert!(found.is_some_and(|reason| reasons.contains(&reason)), "{}: {found:?}", said.what);
            }
        }
        for vlan in [0, VLAN] {
            let found = heard(&mut world, &behind(&[(0x88a8, vlan)], &said));
            let reasons = [DropReason::TypeUnexpected, DropReason::GroupReserved, DropReason::GroupUnicast];
            assert!(found.is_some_and(|reason| reasons.contains(&reason)), "{}: {found:?}", said.what);
        }
    }
}

#[test]
fn a_network_that_finds_its_guests_knows_no_roles_but_protects_hosts_and_rows() {
    let mut world = world(Role::Guest, Learning::Local);
    for said in says::all(ME, THEIRS) {
        let passes = ROLES.iter().any(|role| said.verdict(*role).is_none());
        let free = [Some(DropReason::TypeUnexpected), Some(DropReason::DhcpUnexpected)];
        let router = said.verdict(Role::Router);
        let expected = if passes || free.contains(&router) { None } else { router };
        assert_eq!(heard(&mut world, &said.frame), expected, "{}", said.what);
    }
}

#[test]
fn the_rights_of_one_network_and_vlan_are_of_no_use_in_another() {
    // A router in one VLAN, a guest without a tag, and the other way round; the other network has a row of its own.
    for (router, guest, tags, other) in
        [("default/10/9", "default/10/-", [VLAN, 0], 20), ("default/10/-", "default/10/9", [0, VLAN], 20)]
    {
        let mut slice = slice(Flood::Replicate);
        for (at, role, v4) in [
            (router, PortRole::Router, ME.v4),
            (guest, PortRole::Guest, ip(44)),
            ("default/20/-", PortRole::Guest, ip(45)),
        ] {
            let row = Row { arp: [v4].into(), role: role.into(), ..Row::of("b-1".parse().unwrap()) };
            slice.rows.insert(row_key(at, ME.mac), row);
        }
        let mut world = World::of(&slice);
        let peer = world.peer("b-1");
        for said in says::all(ME, THEIRS).iter().filter(|said| said.verdict(Role::Router) != said.verdict(Role::Guest))
        {
            let (right, wrong) = (behind(&[(0x8100, tags[0])], said), behind(&[(0x8100, tags[1])], said));
            assert_eq!(heard(&mut world, &right), said.verdict(Role::Router), "{}", said.what);
            assert!(heard(&mut world, &wrong).is_some(), "{} in another VLAN", said.what);
            let elsewhere = world.arrive(peer, &compact(4789, other, &said.frame));
            assert!(elsewhere.is_err(), "{} in another network", said.what);
        }
    }
}

#[test]
fn each_address_of_a_row_is_its_guests_own() {
    let mut slice = slice(Flood::Replicate);
    let (fours, sixes) = ([3, 4, 200].map(ip), [3, 4, 200].map(ip6));
    let row =
        Row { arp: fours[1..].iter().copied().collect(), nd: sixes[1..].iter().copied().collect(), ..row("b-1", 4) };
    slice.rows.insert(row_key("default/10/-", FAR), row);
    let mut world = World::of(&slice);
    for (nth, (v4, v6)) in fours.into_iter().zip(sixes).enumerate() {
        let expected = (nth == 0).then_some(DropReason::IpForeign);
        for said in says::all(Party { mac: FAR, v4, v6 }, THEIRS) {
            if said.what == "UDP from its own IPv4 address" || said.what == "UDP from its own IPv6 address" {
                assert_eq!(heard(&mut world, &said.frame), expected, "{} of {v4} and {v6}", said.what);
            }
        }
    }
}

#[test]
fn no_guest_here_sends_to_hosts_of_other_nodes() {
    let (me, other) = (Party { mac: HERE, ..THEIRS }, Party { mac: FAR, ..ME });
    for said in says::all(me, other) {
        let verdict = said.verdict(Role::Guest);
        let Some(reason @ (DropReason::GroupReserved | DropReason::GroupUnicast)) = verdict else { continue };
        let mut world = world(Role::Guest, Learning::Declared);
        assert_eq!(world.out("default/10", &said.frame), Fate::Dropped(reason), "{}", said.what);
    }
}
