use std::time::Duration;

use super::*;
use crate::policy::path::Outer;
use crate::probe::plain::Told;

const NOW: Mono = Mono::from_nanos(1_000_000_000_000);

/// A path that has answered 3 s ago, or that answers no more and whose peer says that it hears nothing.
fn report(answers: bool, hit: bool) -> Report {
    let ago = |seconds| NOW - Duration::from_secs(seconds);
    Report {
        quiet: (!answers).then(|| ago(9)),
        heard: None,
        rtt: None,
        told: Some(Told { heard: None, hit, at: ago(1) }),
        theirs: None,
        ..Report::well(ago(if answers { 3 } else { 9 }))
    }
}

fn seen<'a>(node: &'a NodeId, interface: &'a crate::types::IfName, report: Report) -> Seen<'a> {
    Seen {
        outer: Outer::Admin,
        node,
        udp_port: UdpPort::try_from(4789).unwrap(),
        own: "10.1.0.1".parse().unwrap(),
        address: "10.1.0.2".parse().unwrap(),
        interface,
        session: true,
        unheard: false,
        theirs: None,
        speaks: true,
        narrow: Vec::new(),
        report: Some(report),
    }
}

#[test]
fn a_path_that_answers_says_with_which_vni_it_was_asked() {
    let (node, interface) = ("b".parse().unwrap(), "eth0".parse().unwrap());
    let Now::Answers(text) = plain_now(&seen(&node, &interface, report(true, false)), NOW) else { panic!() };
    assert!(text.starts_with("b answered over this path 3 s ago"), "{text}");
    assert!(text.contains("asked with VNI 16777215") && text.contains("VNI of this network alone"), "{text}");
}

#[test]
fn what_a_watch_says_that_is_hit_at_either_end_is_not_known() {
    let (node, interface) = ("b".parse().unwrap(), "eth0".parse().unwrap());
    for (hit, theirs, whose) in [
        (false, false, None),
        (true, false, Some("this node's own host drops what it watches by")),
        (false, true, Some("b says that its own host drops what it watches by")),
    ] {
        let one = seen(&node, &interface, report(false, theirs));
        match (doubted(plain_now(&one, NOW), hit, &one, NOW), whose) {
            (Now::Fails(_), None) => {}
            (Now::Unknown(text), Some(whose)) => assert!(text.contains(whose), "{text}"),
            (now, _) => panic!("{hit} {theirs}: {now:?}"),
        }
    }
}
