use super::*;
use crate::table::PortRole;
use crate::wire::arp::{self, Arp};
use crate::wire::ip::Ipv6;
use crate::wire::nd::{self, Advertisement, Solicitation};

const BLUE: &str = "default/10";

fn request(sender: Mac, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Vec<u8> {
    let ask = Arp { operation: arp::REQUEST, sender_mac: sender, sender_ip, target_mac: Mac::ZERO, target_ip };
    let mut bytes = vec![0; 28];
    ask.emit(&mut bytes).unwrap();
    bytes
}

fn who_has(target: Ipv4Addr) -> Vec<u8> {
    frame(Mac::BROADCAST, HERE, 0x0806, &request(HERE, ip(1), target))
}

fn solicit(source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let link = (!source.is_unspecified()).then_some(HERE);
    let mut bytes = vec![0; 40 + 32];
    let len = Solicitation { target, source: link }.emit(&mut bytes[40..], source, group).unwrap();
    bytes.truncate(40 + len);
    let payload = u16::try_from(len).unwrap();
    let header = Ipv6 { class: 0, label: 0, payload, next: 58, hop_limit: 255, source, destination: group };
    header.emit(&mut bytes).unwrap();
    frame(Mac([0x33, 0x33, 0xff, a, b, c]), HERE, 0x86dd, &bytes)
}

fn advertisement(answer: &[u8]) -> (Ethernet, Ipv6, Advertisement) {
    let (ethernet, rest) = Ethernet::split(answer).unwrap();
    let (header, message) = Ipv6::split(rest).unwrap();
    assert_eq!(message.len(), usize::from(header.payload));
    assert!(nd::checksum_holds(message, header.source, header.destination));
    (ethernet, header, Advertisement::parse(message).unwrap())
}

#[test]
fn arp_for_a_guest_elsewhere_is_answered_in_its_name() {
    for flood in [Flood::Off, Flood::Suppress] {
        for (last, mac) in [(4, FAR), (5, OTHER), (3, PLAIN), (254, GATEWAY)] {
            let mut world = World::new(flood);
            let Fate::Answer(answer) = world.out(BLUE, &who_has(ip(last))) else { panic!("{flood:?} {mac}") };
            let (ethernet, rest) = Ethernet::split(&answer).unwrap();
            assert_eq!(ethernet, Ethernet { destination: HERE, source: mac, ethertype: 0x0806 });
            let (sender_mac, sender_ip) = (mac, ip(last));
            let reply = Arp { operation: arp::REPLY, sender_mac, sender_ip, target_mac: HERE, target_ip: ip(1) };
            assert_eq!(Arp::parse(rest).unwrap(), reply);
            assert_eq!((rest.len(), world.egress.answered), (28, 1));
        }
    }
}

#[test]
fn one_address_in_two_networks_gets_each_its_own_answer() {
    let mut world = World::new(Flood::Suppress);
    let mut answer = |net: &str| match world.out(net, &who_has(ip(4))) {
        Fate::Answer(answer) => Ethernet::parse(&answer).unwrap().source,
        other @ (Fate::Tunnels(_) | Fate::Dropped(_)) => panic!("{other:?}"),
    };
    assert_eq!(answer("default/10"), FAR);
    assert_eq!(answer("default/20"), OTHER);
}

#[test]
fn a_tagged_question_gets_a_tagged_answer_from_its_own_vlan() {
    let mut world = World::new(Flood::Suppress);
    let ask = tagged(Mac::BROADCAST, HERE, 0xa007, 0x0806, &request(HERE, ip(71), ip(77)));
    let Fate::Answer(answer) = world.out(BLUE, &ask) else { panic!() };
    assert_eq!(answer[..12], [HERE.0, FAR.0].concat());
    assert_eq!(answer[12..18], [0x81, 0, 0xa0, 7, 8, 6], "tag and priority are kept");
    assert_eq!(Arp::parse(&answer[18..]).unwrap().sender_ip, ip(77));
}

#[test]
fn what_is_no_question_is_not_answered() {
    let mut world = World::new(Flood::Off);
    let unknown = who_has(ip(200));
    let gratuitous = frame(Mac::BROADCAST, HERE, 0x0806, &request(HERE, ip(4), ip(4)));
    let own_probe = frame(Mac::BROADCAST, HERE, 0x0806, &request(HERE, Ipv4Addr::UNSPECIFIED, ip(1)));
    let mut reply = request(HERE, ip(1), ip(4));
    reply[7] = 2;
    let reply = frame(Mac::BROADCAST, HERE, 0x0806, &reply);
    let cut = who_has(ip(4))[..40].to_vec();
    for open in [unknown, gratuitous, own_probe, reply, cut] {
        assert_eq!(world.out(BLUE, &open), Fate::Dropped(DropReason::FloodOff));
    }
    assert_eq!(world.out(BLUE, &who_has(ip(2))), Fate::Dropped(DropReason::NeighbourLocal));
    assert_eq!(world.out(BLUE, &who_has(ip(6))), Fate::Dropped(DropReason::DestinationForbidden));
}

#[test]
fn a_question_that_nobody_can_answer_is_flooded_in_suppress_mode() {
    let mut world = World::new(Flood::Suppress);
    assert_eq!(world.reached(BLUE, &who_has(ip(200))).len(), 3);
    let gratuitous = frame(Mac::BROADCAST, HERE, 0x0806, &request(HERE, ip(1), ip(1)));
    assert_eq!(world.reached(BLUE, &gratuitous).len(), 3, "an announcement is for everybody");
}

#[test]
fn an_address_probe_for_somebody_elses_address_is_answered() {
    let mut world = World::new(Flood::Suppress);
    let probe = frame(Mac::BROADCAST, HERE, 0x0806, &request(HERE, Ipv4Addr::UNSPECIFIED, ip(4)));
    assert!(matches!(world.out(BLUE, &probe), Fate::Answer(_)), "so the prober learns of the conflict");
}

#[test]
fn replicate_answers_nothing_and_floods_everything() {
    let mut world = World::new(Flood::Replicate);
    assert_eq!(world.reached(BLUE, &who_has(ip(4))).len(), 3);
}

#[test]
fn a_solicitation_is_answered_by_an_advertisement() {
    let mut world = World::new(Flood::Suppress);
    let Fate::Answer(answer) = world.out(BLUE, &solicit(ip6(1), ip6(4))) else { panic!() };
    let (ethernet, header, advertisement) = advertisement(&answer);
    assert_eq!(ethernet, Ethernet { destination: HERE, source: FAR, ethertype: 0x86dd });
    assert_eq!((header.source, header.destination, header.hop_limit), (ip6(4), ip6(1), 255));
    let (target, mac) = (ip6(4), Some(FAR));
    assert_eq!(advertisement, Advertisement { router: false, solicited: true, replaces: true, target, mac });
}

#[test]
fn only_a_gateway_or_a_port_with_the_role_is_called_a_router() {
    let router = |slice: Slice, last: u16| {
        let mut world = World::of(&slice);
        let Fate::Answer(answer) = world.out(BLUE, &solicit(ip6(1), ip6(last))) else { panic!() };
        advertisement(&answer).2.router
    };
    assert!(router(slice(Flood::Off), 254) && !router(slice(Flood::Off), 4));
    let mut with_role = slice(Flood::Suppress);
    with_role.rows.get_mut(&row_key("default/10/-", FAR)).unwrap().role = PortRole::Router.into();
    assert!(router(with_role, 4));
}

#[test]
fn duplicate_address_detection_hears_of_the_owner() {
    let mut world = World::new(Flood::Suppress);
    let Fate::Answer(answer) = world.out(BLUE, &solicit(Ipv6Addr::UNSPECIFIED, ip6(4))) else { panic!() };
    let (ethernet, header, advertisement) = advertisement(&answer);
    assert_eq!(ethernet.destination, Mac([0x33, 0x33, 0, 0, 0, 1]));
    assert_eq!(header.destination, "ff02::1".parse::<Ipv6Addr>().unwrap());
    assert!(!advertisement.solicited);
    let own = solicit(Ipv6Addr::UNSPECIFIED, ip6(1));
    assert_eq!(world.reached(BLUE, &own).len(), 3, "nobody owns it but the asker: let others hear");
}

#[test]
fn a_solicitation_that_is_not_in_order_is_not_answered() {
    let mut world = World::new(Flood::Off);
    let good = solicit(ip6(1), ip6(4));
    let with = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[at] = value;
        bad
    };
    let routed = with(14 + 7, 254);
    let checksum = with(14 + 40 + 2, good[14 + 40 + 2] ^ 1);
    let code = with(14 + 40 + 1, 1);
    let long = with(14 + 5, 200);
    for bad in [routed, checksum, code, long, good[..60].to_vec()] {
        assert_eq!(world.out(BLUE, &bad), Fate::Dropped(DropReason::FloodOff));
    }
    assert!(matches!(world.out(BLUE, &good), Fate::Answer(_)));
}
