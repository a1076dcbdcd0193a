use super::*;
use crate::api::cut::Direction;
use crate::policy::path::Path;
use crate::types::NodeId;

fn peers(names: &[&str]) -> Vec<NodeId> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn finding(code: &str, what: &str, cut: Cut) -> Finding {
    Finding::new(code, what.to_owned(), "help").cuts(cut)
}

fn codes(findings: Vec<Finding>) -> Vec<String> {
    once(findings).into_iter().map(|finding| finding.code).collect()
}

#[test]
fn what_follows_from_another_finding_is_left_off_and_what_does_not_stays() {
    let plain = |names| Cut::peers(true, Path::Plain, &peers(names));
    let tunnel = |names| Cut::peers(true, Path::Tunnel, &peers(names));
    let lost = || finding("M0663", "plain frames", plain(&["b"]));
    let family = |ipv6| Cut { ipv6, ..Cut::node(true) };
    let line = |name: &str| Some(name.parse().unwrap());
    let down = || Finding { line: line("eth0"), ..finding("M0667", "it is down", plain(&["b"])) };
    let all = |name: &str| Finding { line: line(name), ..finding("M0410", "all tunnels", tunnel(&["c", "d"])) };
    let tc = |name: Option<&str>, names| Finding { line: name.and_then(line), ..finding("M0695", "tc", tunnel(names)) };
    for (why, told, left) in [
        ("a filter that drops bridged frames", vec![finding("M0685", "", family(None)), lost()], vec!["M0685"]),
        ("one that drops IPv4", vec![finding("M0685", "", family(Some(false))), lost()], vec!["M0685"]),
        (
            "one that drops IPv6 is in no echo's way",
            vec![finding("M0685", "", family(Some(true))), lost()],
            vec!["M0685", "M0663"],
        ),
        ("one that drops some", vec![finding("M0685", "", Cut::node(false)), lost()], vec!["M0685", "M0663"]),
        ("the same in any order", vec![lost(), finding("M0685", "", family(None))], vec!["M0685"]),
        ("a chain at one guest", vec![finding("M0686", "", Cut::default()), lost()], vec!["M0686", "M0663"]),
        ("one interface for all", vec![down(), all("eth0")], vec!["M0667"]),
        ("two interfaces", vec![down(), all("eth1")], vec!["M0667", "M0410"]),
        ("a name that begins the same", vec![down(), all("eth01")], vec!["M0667", "M0410"]),
        (
            "a peer of the line",
            vec![down(), finding("M0666", "", Cut::peers(false, Path::Plain, &peers(&["b"])))],
            vec!["M0667"],
        ),
        ("a peer of another", vec![down(), finding("M0663", "", plain(&["c"]))], vec!["M0667", "M0663"]),
        (
            "no address, no routes",
            vec![
                finding("M0631", "the admin side of the underlay cannot be used", Cut::node(false)),
                finding("M0410", "the tunnel to c is down; the kernel has no way to 10.1.0.2", tunnel(&["c"])),
                finding("M0410", "the tunnel to d is down; packets to 198.18.2.1 leave by ext0", tunnel(&["d"])),
            ],
            vec!["M0631", "M0410"],
        ),
        ("quarantine", vec![finding("M0264", "", Cut::node(true)), all("eth0"), lost()], vec!["M0264"]),
        (
            "a kernel that refuses",
            vec![finding("M0624", "", Cut::node(true)), finding("M0668", "", Cut::default())],
            vec!["M0624"],
        ),
        (
            "a packet filter that is not loaded where devices stand",
            vec![finding("M0622", "", Cut::node(false)), finding("M0668", "", Cut::default())],
            vec!["M0622"],
        ),
        ("tc takes all at the line", vec![tc(Some("eth0"), &["c", "d"]), all("eth0")], vec!["M0695"]),
        (
            "tc takes all there, and one tunnel goes by it",
            vec![tc(Some("eth0"), &["c", "d"]), finding("M0410", "the tunnel to c", tunnel(&["c"]))],
            vec!["M0695"],
        ),
        ("tc at a guest's port", vec![tc(None, &["c", "d"]), all("eth0")], vec!["M0695", "M0410"]),
        ("tc at the line of others", vec![tc(Some("eth0"), &["e"]), all("eth0")], vec!["M0695", "M0410"]),
        ("tc at the tunnels' line", vec![tc(Some("eth0"), &["b"]), lost()], vec!["M0695", "M0663"]),
        (
            "nothing in common",
            vec![lost(), finding("M0410", "the tunnel to c", tunnel(&["c"]))],
            vec!["M0663", "M0410"],
        ),
    ] {
        assert_eq!(codes(told), left, "{why}");
    }
}

#[test]
fn a_watch_that_is_hit_itself_is_not_certain_of_guests() {
    let lost = || finding("M0663", "plain frames", Cut::peers(true, Path::Plain, &peers(&["b"])));
    let at = |name: &str| finding("M0695", &format!("what comes from {name} in bridge vb is dropped"), Cut::default());
    for (name, surely) in [("vt16777215.12b5", false), ("vv16777215.12b5", false), ("vt10.12b5", true)] {
        let told = once(vec![at(name), lost()]);
        assert_eq!(told[1].cut.as_ref().map(|cut| cut.surely), Some(surely), "{told:?}");
    }
}

#[test]
fn a_host_that_drops_one_family_says_so_to_who_watches_with_it() {
    let drops = |ipv6| finding("M0685", "frames are dropped", Cut { ipv6, ..Cut::node(true) });
    for (ipv6, hit) in [(Some(false), true), (Some(true), false), (None, false)] {
        assert_eq!(watch_is_hit(&[drops(ipv6)]), hit, "{ipv6:?}");
    }
}

#[test]
fn a_node_with_a_key_that_is_not_its_own_looks_for_no_line_and_no_filter() {
    let strange = || Finding::new("M0281", "the management node has the WireGuard key".to_owned(), "meshctl leave");
    let all = finding(
        "M0410",
        "all 2 tunnels (c, d) are down: no peer is heard by eth0: it is this node's own line or packet filter",
        Cut::peers(true, Path::Tunnel, &peers(&["c", "d"])),
    );
    let session = finding("M0669", "the session with b is down", Cut::default());
    let echoes = finding("M0663", "plain frames between a and b", Cut::peers(true, Path::Plain, &peers(&["b"])));
    for told in [vec![strange(), echoes.clone(), all.clone(), session.clone()], vec![session, all, echoes, strange()]] {
        let told = once(told);
        assert!(told.len() == 1 && told[0].code == "M0281", "{told:?}");
        let cut = told[0].cut.as_ref().unwrap();
        assert_eq!(*cut, Cut::peers(true, Path::Tunnel, &peers(&["c", "d"])), "plain frames of guests pass");
    }
}

#[test]
fn what_was_cut_off_by_what_is_left_off_is_cut_off_by_its_cause() {
    let of = |finding: Finding| Finding { line: "eth0".parse().ok(), ..finding };
    let down = of(finding("M0667", "nothing arrives", Cut::peers(false, Path::Plain, &peers(&["b"]))));
    let all = of(finding("M0410", "all tunnels", Cut::peers(true, Path::Tunnel, &peers(&["c"]))));
    let told = once(vec![down, all]);
    let cut = told[0].cut.as_ref().unwrap();
    assert!(told.len() == 1 && cut.peers == peers(&["b", "c"]) && cut.path.is_none(), "{told:?}");
}

#[test]
fn a_direction_that_is_known_stays_so_beside_one_of_which_nothing_is() {
    let to = |direction, surely| Cut { direction, surely, ..Cut::peers(true, Path::Tunnel, &peers(&["c"])) };
    let out = Some(Direction::FromGuests);
    for (symptom, left) in [(to(None, true), None), (to(None, false), out), (to(out, true), out)] {
        let tc = Finding { line: "eth0".parse().ok(), ..finding("M0695", "what goes to eth0", to(out, true)) };
        let told = once(vec![tc, finding("M0410", "the tunnel to c", symptom.clone())]);
        let cut = told[0].cut.as_ref().unwrap();
        assert!(told.len() == 1 && cut.surely && cut.direction == left, "{symptom:?} {told:?}");
    }
}
