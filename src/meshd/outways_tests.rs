use super::*;
use crate::api::local::Management;
use crate::linux::KernelError;
use crate::meshd::lanes::Lanes;
use crate::meshd::shared::Topic;
use crate::node::desired::Observed;
use crate::node::op::Op;
use crate::node::strays::Way;
use crate::node::unwatched::UNWATCHED;
use crate::probe::{Phase, Status};

fn at(seconds: u64) -> Mono {
    Mono::from_nanos(seconds * 1_000_000_000)
}

fn path(answered: u64, doubted: bool) -> Status {
    let (phase, since) = (Phase::Complete, at(0));
    let (silent, one_way, answers) = (None, false, true);
    Status {
        size: 1500,
        phase,
        since,
        largest: 1500,
        silent,
        little: None,
        one_way,
        answered: at(answered),
        doubted,
        answers,
    }
}

fn way(astray: bool, changed: Option<u64>) -> Route {
    let says = "packets to 198.18.2.1 leave by vpn0".to_owned();
    Route { says, astray, changed: changed.map(at), to: Some("198.18.2.1".parse().unwrap()) }
}

#[test]
fn only_an_answered_probe_shows_that_what_is_sent_from_here_arrives() {
    let node: NodeId = "b-1".parse().unwrap();
    for (what, paths, route, knows, says) in [
        ("all is well", vec![path(90, false)], way(false, None), true, &["left 10 s ago"][..]),
        (
            "the way has changed since",
            vec![path(90, false)],
            way(true, Some(95)),
            false,
            &["by vpn0", "ip route get 198.18.2.1"],
        ),
        ("to another router alone", vec![path(90, false)], way(false, Some(95)), false, &["by vpn0", "since"]),
        ("answered after it", vec![path(97, false)], way(false, Some(95)), true, &["left 3 s ago"]),
        ("astray and answered all the same", vec![path(97, false)], way(true, Some(95)), true, &["by vpn0"]),
        ("a probe was lost", vec![path(90, true)], way(false, None), false, &["lost", "ip route get"]),
        ("on one lane of two", vec![path(90, true), path(98, false)], way(false, None), true, &["left 2 s ago"]),
        ("it is not probed", Vec::new(), way(false, None), true, &["is up"]),
    ] {
        let (known, text) = match answered(&node, &paths, &route, at(100)) {
            Now::Answers(text) => (true, text),
            Now::Unknown(text) => (false, text),
            Now::Fails(text) => panic!("{what}: {text}"),
        };
        assert_eq!(known, knows, "{what}: {text}");
        assert!(says.iter().all(|word| text.contains(word)), "{what}: {text}");
        assert!(!text.contains("heard"), "{what}: what is heard comes by the other direction: {text}");
    }
}

/// A kernel that says no route, or does not tell.
struct Asked {
    refuses: bool,
}

impl Kernel for Asked {
    fn observe(&mut self) -> Result<Observed, KernelError> {
        Ok(Observed::default())
    }
    fn apply(&mut self, _: &[Op]) -> Result<(), KernelError> {
        Ok(())
    }
    fn out_ways(&mut self, _: &[SocketAddr], _: &BTreeSet<IpAddr>) -> Result<Vec<(IpAddr, Option<Way>)>, KernelError> {
        if self.refuses { Err(KernelError::NoVxlan) } else { Ok(Vec::new()) }
    }
}

#[test]
fn routes_to_tunnels_that_cannot_be_asked_for_are_told_until_they_can() {
    let secret = crate::types::SecretKey::from_bytes([1; 32]);
    let lanes = Lanes::start(0, "51820".parse().unwrap(), secret, Default::default()).unwrap();
    let shared = Shared::new("a-1".parse().unwrap(), "a".parse().unwrap(), Management::Files, lanes);
    for refuses in [true, false] {
        Asker::default().look(&mut Asked { refuses }, &shared);
        shared.tell_unwatched(mono() + Duration::from_secs(10));
        let told = shared.view().findings.get(&Topic::Unwatched).cloned().unwrap_or_default();
        let tunnels = |one: &Finding| one.code == UNWATCHED && one.what.contains("the other ends of tunnels");
        assert!(told.len() == usize::from(refuses) && told.iter().all(tunnels), "{refuses}: {told:?}");
    }
}
