use super::*;

fn name(node: &str) -> NodeId {
    node.parse().unwrap()
}

fn says(node: &str, here: bool, findings: &[Finding]) -> Says {
    Says { node: name(node), here, findings: findings.to_vec() }
}

fn silent(surely: bool, direction: Option<Direction>, peers: &[&str]) -> Finding {
    let peers: Vec<NodeId> = peers.iter().map(|peer| name(peer)).collect();
    let cut = Cut { direction, ..Cut::peers(surely, Path::Tunnel, &peers) };
    Finding::new(TUNNEL, "the tunnel is dead".to_owned(), "look").cuts(cut)
}

fn word(node: &str) -> PeerWord {
    PeerWord { node: name(node), away: false, line: None, plain: None, missed: false, one_way: false }
}

#[test]
fn a_node_is_told_of_its_peers_what_it_cannot_see_itself() {
    let deaf = || silent(true, Some(Direction::ToGuests), &["a-1"]);
    let down = silent(true, None, &["b-1", "b-2"]).of_line("ext0".parse().ok().as_ref());
    let of_plain = |surely, peers: &[&str]| {
        let peers: Vec<NodeId> = peers.iter().map(|peer| name(peer)).collect();
        let cut = Cut::peers(surely, Path::Plain, &peers);
        Finding::new(LINE, "interface admin0 is down".to_owned(), "look")
            .cuts(cut)
            .of_line("admin0".parse().ok().as_ref())
    };
    let admin0: Option<IfName> = "admin0".parse().ok();
    let out = silent(true, Some(Direction::FromGuests), &["b-1"]);
    let unknown = silent(false, None, &["a-1"]);
    let all = |what: &[Says]| Uplinks::new(what, |_| true).of(&name("b-1"), &[name("a-1"), name("a-2")]);
    let (here, gone) = (|findings: &[Finding]| says("a-1", true, findings), says("a-1", false, &[deaf()]));
    for (what, said, told) in [
        ("all is well", vec![here(&[]), says("b-2", true, &[])], None),
        ("its own word alone is no news to it", vec![here(&[]), says("b-1", true, &[deaf()])], None),
        (
            "others miss it",
            vec![here(&[]), says("b-2", true, &[deaf()]), says("b-3", true, &[deaf()])],
            Some(PeerWord { missed: true, ..word("a-1") }),
        ),
        (
            "one other alone accuses nobody",
            vec![here(&[]), says("b-1", true, &[deaf()]), says("b-2", true, &[deaf()])],
            None,
        ),
        ("who is not sure accuses nobody", vec![here(&[]), says("b-2", true, &[unknown])], None),
        ("it is away", vec![gone], Some(PeerWord { away: true, ..word("a-1") })),
        (
            "it says that its interface is down, and accuses no peer",
            vec![here(&[down])],
            Some(PeerWord { line: "ext0".parse().ok(), ..word("a-1") }),
        ),
        (
            "its interface of plain paths is down",
            vec![here(&[of_plain(true, &["b-1", "b-2"])])],
            Some(PeerWord { line: admin0.clone(), plain: admin0.clone(), ..word("a-1") }),
        ),
        (
            "it may be something else, or concern others",
            vec![here(&[of_plain(false, &["b-1"]), of_plain(true, &["b-2"])])],
            Some(PeerWord { line: admin0, ..word("a-1") }),
        ),
        ("it hears the reader", vec![here(&[out])], Some(PeerWord { one_way: true, ..word("a-1") })),
    ] {
        assert_eq!(all(&said), told.into_iter().collect::<Vec<_>>(), "{what}");
    }
    let expected = Uplinks::new(&[says("a-1", false, &[])], |_| false);
    assert!(expected.of(&name("b-1"), &[name("a-1")]).is_empty(), "who is expected back is not away");
}

#[test]
fn who_is_told_is_bounded() {
    let nodes: Vec<NodeId> = (0..500).map(|n| name(&format!("a-{n}"))).collect();
    let gone: Vec<Says> = nodes.iter().map(|node| says(node.as_str(), false, &[])).collect();
    assert_eq!(Uplinks::new(&gone, |_| true).of(&name("b-1"), &nodes).len(), MOST);
}
