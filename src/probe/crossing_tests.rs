use super::*;

const NEAR: Mac = Mac([2, 0, 0, 0, 0, 1]);
const FAR: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn flows() -> Vec<Flow> {
    let flow = |protocol, from: &str, to: &str| Flow { protocol, from: from.parse().unwrap(), to: to.parse().unwrap() };
    vec![
        flow(Protocol::Arp, "192.168.10.1", "192.168.10.2"),
        flow(Protocol::Ipv4, "192.168.10.1", "192.168.10.2"),
        flow(Protocol::Ipv6, "fd00::1", "fd00::2"),
    ]
}

fn at(seconds: f64) -> Mono {
    Mono::default() + Duration::from_secs_f64(seconds)
}

/// A bridge that lets pass what `passes` says, driven every quarter of a second. Returns what is known at each second.
fn driven(until: u32, passes: impl Fn(f64, Protocol) -> bool) -> Vec<Crossed> {
    let mut crossing = Crossing::new((NEAR, FAR), &flows(), at(0.0));
    let (mut known, mut token) = (Vec::new(), 0);
    for quarter in 0..until * 4 {
        let now = f64::from(quarter) / 4.0;
        let mut frames = Vec::new();
        let mut next = || {
            token += 1;
            token
        };
        crossing.handle_timeout(at(now), &mut next, &mut |frame| frames.push(frame.to_vec()));
        for frame in frames {
            if passes(now, read(&frame).unwrap().1) {
                crossing.received(&frame);
            }
        }
        if quarter % 4 == 3 {
            known.push(crossing.crossed().clone());
        }
    }
    known
}

#[test]
fn what_comes_out_is_said_to_pass_and_a_frame_or_two_may_be_lost() {
    let known = driven(60, |now, _| !(20.0..21.0).contains(&now));
    assert!(known.iter().all(|crossed| crossed.lost.is_empty()));
    assert!(known[3].asked && !known[0].asked);
}

#[test]
fn each_protocol_is_lost_for_itself_within_ten_seconds_and_back_within_three() {
    for wanted in [Protocol::Arp, Protocol::Ipv4, Protocol::Ipv6] {
        let known = driven(60, |now, protocol| protocol != wanted || !(20.0..40.0).contains(&now));
        let lost = |second: usize| known[second].lost.iter().map(|flow| flow.protocol).collect::<Vec<_>>();
        assert_eq!((lost(19), lost(29), lost(42)), (vec![], vec![wanted], vec![]));
    }
}

#[test]
fn a_port_that_the_kernel_has_not_opened_yet_is_no_fault() {
    let known = driven(20, |now, _| now > 8.0);
    assert!(known.iter().all(|crossed| crossed.lost.is_empty()));
    assert!(!known[5].asked, "nor is it known to pass");
}

#[test]
fn a_verdict_says_when_its_frames_were_sent() {
    let mut crossing = Crossing::new((NEAR, FAR), &flows(), at(0.0));
    let mut turn = |second| {
        crossing.handle_timeout(at(second), &mut || 7, &mut |_| {});
        crossing.crossed().sent
    };
    assert_eq!([turn(2.0), turn(3.0), turn(4.5), turn(5.0)], [Mono::default(), at(2.0), at(2.0), at(4.5)]);
}

#[test]
fn a_frame_of_others_is_nobodys() {
    let mut crossing = Crossing::new((NEAR, FAR), &flows(), at(0.0));
    let mut frames = Vec::new();
    crossing.handle_timeout(at(2.0), &mut || 7, &mut |frame| frames.push(frame.to_vec()));
    for frame in &frames {
        // From somebody else, with another token, cut anywhere, an older one.
        let mut other = frame.clone();
        other[11] ^= 1;
        crossing.received(&other);
        (0..frame.len()).for_each(|length| crossing.received(&frame[..length.min(frame.len() - 30)]));
        let token = self::frame(&flows()[1], (NEAR, FAR), 8);
        crossing.received(&token);
    }
    crossing.handle_timeout(at(3.0), &mut || 9, &mut |_| {});
    assert!(!crossing.crossed().asked && crossing.flows.iter().all(|flow| flow.missed == 1));
}

#[test]
fn frames_are_whole_packets_with_right_checksums_and_a_question_is_for_everybody() {
    let [arp, ip4, ip6] = flows().try_into().unwrap();
    let bytes = frame(&ip4, (NEAR, FAR), 1);
    let packet = Ipv4::parse(&bytes[14..]).unwrap();
    assert!(packet.checksum_holds(&bytes[14..]) && usize::from(packet.total) + 14 <= bytes.len());
    let bytes = frame(&ip6, (NEAR, FAR), 1);
    let packet = Ipv6::parse(&bytes[14..]).unwrap();
    let sum = Checksum::default().pseudo_v6(packet.source, packet.destination, packet.payload, packet.next);
    assert_eq!(sum.with(&bytes[54..54 + usize::from(packet.payload)]).value(), 0);
    let bytes = frame(&arp, (NEAR, FAR), 1);
    assert!(bytes[..6] == [0xff; 6] && bytes.len() == LEAST && Arp::parse(&bytes[14..]).is_ok());
}
