use super::*;

#[test]
fn each_word_has_its_number_and_what_is_not_known_may_be_anything() {
    for one in ALL {
        assert_eq!(Stands::of(one.number()), one);
    }
    assert_eq!(Stands::of(200), Stands::Maybe);
    let node = "b-1".parse().unwrap();
    let kinds = ALL.map(|one| (one.step(&node, "x").passes, one.step(&node, "x").open));
    let arrives = ALL.into_iter().zip(kinds).filter(|(_, kind)| *kind == (true, false)).map(|(one, _)| one);
    assert_eq!(
        arrives.collect::<Vec<_>>(),
        [Stands::Well, Stands::Mute],
        "who is asked hears, whether or not it can answer"
    );
    assert!(unanswered(&node, "x").open);
}

#[test]
fn a_question_names_network_and_guest_to_the_bit() {
    let mac = "02:34:56:78:9a:bc".parse().unwrap();
    for vni in [1_u64, 10, 65_535, 65_536, 16_777_214] {
        let mut slice = crate::node::plan::tests::slice("suppress", serde_json::json!({}));
        let (_, network) = slice.networks.pop_first().unwrap();
        let net: NetKey = format!("default/{vni}").parse().unwrap();
        slice.networks.insert(net.clone(), network);
        let port = UdpPort::try_from(4789).unwrap();
        let Oam { kind: Kind::GuestAsk { vni, udp_port }, token } = ask(&net, port, mac) else { panic!() };
        assert_eq!(asked(&slice, vni, udp_port, token), Some((net.clone(), mac)));
        assert_eq!(asked(&slice, vni, udp_port + 1, token), None, "another overlay");
        assert_eq!(asked(&slice, vni ^ 1, udp_port, token), None, "another network");
    }
}

#[test]
fn who_shares_no_network_with_a_guest_learns_nothing_of_it() {
    let slice = crate::node::plan::tests::slice("suppress", serde_json::json!({}));
    let presence = Presence::default();
    let here = Here { slice: &slice, presence: &presence, found: &[], findings: &[], others: Others::default() };
    let own = slice.rows.iter().find(|(_, row)| row.node == slice.node).map(|(key, _)| key).unwrap();
    let question = ask(&own.net(), UdpPort::try_from(4789).unwrap(), own.mac);
    let answer = |peer: &str, path| {
        let Some(Oam { kind: Kind::GuestTell { stands, .. }, token }) =
            answer(here, &peer.parse().unwrap(), |_| path, question)
        else {
            panic!()
        };
        assert_eq!(token, question.token);
        Stands::of(stands)
    };
    assert_eq!(answer("b", Some(Path::Plain)), Stands::Silent);
    assert_eq!(answer("nobody", Some(Path::Plain)), Stands::Unknown);
    assert_eq!(answer("b", None), Stands::Unknown);
    let foreign = ask(&own.net(), UdpPort::try_from(4789).unwrap(), "02:00:00:ff:ff:ff".parse().unwrap());
    let Some(Oam { kind: Kind::GuestTell { stands, .. }, .. }) =
        super::answer(here, &"b".parse().unwrap(), |_| Some(Path::Plain), foreign)
    else {
        panic!()
    };
    assert_eq!(Stands::of(stands), Stands::Unknown, "a guest of nobody");
    let echo = Oam { kind: Kind::EchoRequest, token: 1 };
    assert_eq!(super::answer(here, &"b".parse().unwrap(), |_| Some(Path::Plain), echo), None);
}

#[test]
fn a_rule_that_names_the_guest_or_who_sends_to_it_is_said_and_one_that_names_another_is_not() {
    let slice = crate::node::plan::tests::slice("suppress", serde_json::json!({}));
    let presence = Presence::default();
    let of = |node: &NodeId| slice.rows.iter().find(|(_, row)| row.node == *node).map(|(key, _)| key.clone()).unwrap();
    let peer: NodeId = "b".parse().unwrap();
    let (own, theirs) = (of(&slice.node), of(&peer));
    let told = |field: &str, named: Mac, asked: &RowKey| {
        let text = format!("-P FORWARD ACCEPT\n-A FORWARD {field} {named} -j DROP");
        let older = vec![crate::node::older::Older::read("iptables-legacy", "filter", &text)];
        let host = [crate::probe::crossing::Protocol::Ipv4].into();
        let book = doubts::Book { older, host, ..doubts::Book::default() };
        let others = Others { book: Some(&book), queues: None };
        let here = Here { slice: &slice, presence: &presence, found: &[], findings: &[], others };
        stands(here, &own.net(), asked.mac, (&peer, Path::Plain))
    };
    assert_eq!(told("-m mac --mac-source", theirs.mac, &theirs), Stands::Named);
    assert_eq!(told("-m mac --mac-source", theirs.mac, &own), Stands::Silent);
    // Who only answers is in no way of what is sent to it.
    assert_eq!(told("-m mac --mac-source", own.mac, &own), Stands::Silent);
    assert_eq!(told("-m mac --mac-source", own.mac, &theirs), Stands::Well);
}

#[test]
fn a_guest_that_the_table_has_here_and_nobody_has_heard_here_is_not_said_to_be_plugged_in() {
    let mut slice = crate::node::plan::tests::slice("suppress", serde_json::json!({}));
    let key = slice.rows.iter().find(|(_, row)| row.node == slice.node).map(|(key, _)| key.clone()).unwrap();
    let net = key.net();
    slice.networks.get_mut(&net).unwrap().learning = Learning::Local;
    let presence = Presence::default();
    let (peer, heard) =
        ("b".parse().unwrap(), [FoundPort { network: net.clone(), mac: key.mac, ips: Default::default() }]);
    let told = |found| {
        let here = Here { slice: &slice, presence: &presence, found, findings: &[], others: Others::default() };
        stands(here, &net, key.mac, (&peer, Path::Plain))
    };
    assert_eq!(told(&heard), Stands::Well);
    assert_eq!(told(&[]), Stands::Unheard);
    let step = Stands::Unheard.step(&peer, "x");
    assert!(step.open && step.text.contains("no such guest is heard"), "{step:?}");
}
