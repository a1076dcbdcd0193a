use super::*;

#[test]
fn peers_of_one_place_are_one_finding_of_one_direction() {
    let nodes: Vec<NodeId> = (1..=5).map(|n| format!("b-{n}").parse().unwrap()).collect();
    let from = |n: usize| format!("198.51.100.{n}:51820").parse().ok();
    let lossy = |n: usize, whence| Lossy { node: &nodes[n - 1], from: from(n), whence };
    let own = "a-1".parse().unwrap();
    let eth: IfName = "eth1".parse().unwrap();
    let said = |all: Vec<Lossy<'_>>| {
        let found = findings(&own, all, Some(&eth));
        crate::node::concerns::tests::codes::as_decided(&found);
        for finding in &found {
            let cut = finding.cut.as_ref().unwrap();
            assert_eq!((cut.surely, cut.direction), (false, Some(Direction::ToGuests)));
            // What is longer is cut at management.
            assert!(finding.help.len() <= 400 && finding.what.len() <= 400, "{finding:?}");
        }
        found.into_iter().map(|finding| (finding.what, finding.help)).collect::<Vec<_>>()
    };
    assert_eq!(said(Vec::new()), []);
    let one = said(vec![lossy(1, Whence::Way)]);
    assert_eq!(
        one[0].0,
        "many datagrams of the tunnel from b-1 to a-1 are lost on the way from 198.51.100.1, while others arrive"
    );
    assert!(one[0].1.contains("show eth1, here and on b-1") && one[0].1.contains("ping -c 50 -i 0.2 198.51.100.1"));
    let many = said((1..=5).map(|n| lossy(n, if n == 2 { Whence::Socket } else { Whence::Way })).collect());
    let expected = [
        "many datagrams of the tunnels from b-1, b-3, b-4 and 1 more to a-1 are lost on the way, while others arrive",
        "many datagrams of the tunnel from b-2 to a-1 are lost while the sockets of this node's lanes overflow: more comes than this machine reads",
    ];
    assert_eq!(many.into_iter().map(|(what, _)| what).collect::<Vec<_>>(), expected);
}
