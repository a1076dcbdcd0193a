//! Routes of this host that are in the way of what goes to peers of its PDC: one that refuses (blackhole, unreachable, prohibit), and those that
//! show that the admin side is another interface than the one that peers are behind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::outways::{End, NO_WAY, OutWays, asking};
use super::strays::ASIDE;
use super::watch_told::SESSION;
use crate::api::list::named;
use crate::api::local::Finding;
use crate::types::{IfName, Mono, NodeId, PdcId, Prefix};

/// An interface that comes back is without routes for a moment, and the kernel is asked every five seconds.
const SETTLES: Duration = Duration::from_secs(6);
/// Peers of one finding that are named.
const NAMED: usize = 3;

/// Tells of peers of plain paths that the kernel has no way to: beside what is told of them already, else by itself; and, beside what is told
/// already, of those to which it sends by another interface. `ends` are those whose interface is up.
pub fn refused(ways: &OutWays, ends: &BTreeMap<NodeId, End>, findings: &mut Vec<Finding>, now: Mono) {
    let lasts = |end: &End| ways.changed(end.to).is_none_or(|at| now.since(at) >= SETTLES);
    let of = |is: &dyn Fn(&End) -> bool| -> BTreeMap<&NodeId, IpAddr> {
        let ends = ends.iter().filter(|(_, end)| is(end) && lasts(end));
        ends.map(|(node, end)| (node, end.to)).collect()
    };
    let mut gone = of(&|end| ways.has_none(end.to));
    let mut astray = of(&|end| ways.astray(end));
    for finding in findings.iter_mut() {
        if let Some(to) = taken(&mut gone, finding) {
            finding.what.push_str(&format!("; {NO_WAY} {to}"));
            // Nobody else's filter has a part in that.
            finding.help = if finding.code == SESSION { ask(to) } else { asking(&finding.help, to, true) };
        } else if let Some(to) = taken(&mut astray, finding) {
            let end = ends.values().find(|end| end.to == to);
            finding.what.push_str(&format!("; {}", end.and_then(|end| ways.says(end)).unwrap_or_default()));
            let back = end.and_then(|end| end.by.as_ref()).map_or_else(String::new, |by| {
                format!("; with net.ipv4.conf.{by}.rp_filter=1 (or all) what comes from there is dropped")
            });
            finding.what.push_str(&back);
            finding.help = asking(&finding.help, to, true);
        }
    }
    let Some(to) = gone.values().next() else { return };
    let names = named(gone.keys(), NAMED);
    let what = format!(
        "{NO_WAY} {to} of {names}: a route refuses it (blackhole, unreachable, prohibit), or there is none; the session with \
         it is lost, which peers tell as theirs; guests' frames take the plain path, which answers"
    );
    findings.push(Finding::new(SESSION, what, ask(*to)).harmless());
}

/// Takes those peers out that a finding is about; the address of the first.
fn taken(peers: &mut BTreeMap<&NodeId, IpAddr>, finding: &Finding) -> Option<IpAddr> {
    let about = finding.cut.as_ref().map(|cut| cut.peers.as_slice()).unwrap_or_default();
    // A session has no part in what arrives, so its finding lists no peer.
    let session = |to: &IpAddr| finding.code == SESSION && finding.what.contains(&format!(" - {to})"));
    let is = |(node, to): (&&NodeId, &IpAddr)| about.contains(node) || session(to);
    let to = peers.iter().find(|one| is(*one)).map(|(_, to)| *to)?;
    peers.retain(|node, to| !is((node, to)));
    Some(to)
}

/// What shows why the kernel has no way to an address.
fn ask(to: IpAddr) -> String {
    format!("ip route get {to}; ip route show table all | grep -E 'blackhole|unreachable|prohibit'; ip rule show")
}

/// What is said where both sides of a node are one interface, and all peers of its PDC are behind another one.
pub fn elsewhere(
    ways: &OutWays,
    ends: &BTreeMap<NodeId, End>,
    (pdc, own, interface): (&PdcId, IpAddr, &IfName),
) -> Option<Finding> {
    let by: BTreeSet<&IfName> = ends.values().map(|end| ways.only_by(end.to)).collect::<Option<_>>()?;
    let [other] = by.into_iter().collect::<Vec<_>>()[..] else { return None };
    if other == interface {
        return None;
    }
    let what = format!(
        "the admin side of this node is {interface} ({own}), as the external one, but its routes lead to the peers of PDC '{pdc}' ({}) by {other}: \
         plain frames of guests leave in clear by {interface}",
        named(ends.keys(), NAMED)
    );
    let help = format!(
        "in meshd.toml: [underlay] admin = \"{other}\"; then systemctl restart meshd; ip route get ADDRESS shows a way"
    );
    Some(Finding::new(ASIDE, what, help).harmless())
}

/// What is said of an admin side that is no part of the PDC's underlay: without a word all pairs of the PDC would take the tunnel.
pub fn outside((pdc, own, interface): (&PdcId, IpAddr, &IfName), underlay: &[Prefix]) -> Finding {
    let prefixes = underlay.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what = format!(
        "the admin side of this node is {interface} ({own}), outside of the underlay of PDC '{pdc}' ({prefixes}): its pairs inside the PDC take the \
         tunnel, not the plain path"
    );
    let help = format!(
        "ip -brief address; in meshd.toml: [underlay] admin = \"IF\", the interface with an address inside of it, then systemctl restart meshd; or, if \
         {own} is right: meshctl pdc set {pdc} --underlay PREFIXES"
    );
    Finding::new(ASIDE, what, help).harmless()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::cut::Cut;
    use crate::node::strays::{Hop, Way};
    use crate::policy::path::Path;
    use crate::types::Wall;

    fn at(seconds: u64) -> Mono {
        Mono::from_nanos(seconds * 1_000_000_000)
    }

    fn by(dev: &str) -> Option<Way> {
        let hop = Hop { dev: Some(dev.parse().unwrap()), gateway: None, wraps: false };
        Some(Way { to: "10.0.0.0/24".parse().unwrap(), table: 254, hops: vec![hop], source: None, mute: None })
    }

    fn ends(names: &[&str]) -> BTreeMap<NodeId, End> {
        let end = |n: usize| End {
            to: format!("10.0.0.{n}").parse().unwrap(),
            by: Some("admin0".parse().unwrap()),
            from: None,
            known: None,
        };
        (1..).zip(names).map(|(n, name)| (name.parse().unwrap(), end(n))).collect()
    }

    fn learn(ways: &mut OutWays, answers: &[Option<Way>], seconds: u64) {
        let answers = (1..).zip(answers).map(|(n, way)| (format!("10.0.0.{n}").parse().unwrap(), way.clone()));
        ways.learn(answers.collect(), at(seconds), Wall::from_secs(1_800_000_000 + seconds));
    }

    #[test]
    fn a_route_that_leads_to_a_plain_peer_by_another_interface_is_told_beside_what_is_wrong() {
        let (mut ways, ends) = (OutWays::default(), ends(&["b", "c"]));
        let told = |ways: &OutWays, findings: &[Finding], seconds| {
            let mut findings = findings.to_vec();
            refused(ways, &ends, &mut findings, at(seconds));
            findings
        };
        learn(&mut ways, &[by("wg0"), by("admin0")], 10);
        assert_eq!(told(&ways, &[], 21), [], "guests' frames have routes of their own");
        let silent = |peer: &str| {
            let peers: Vec<NodeId> = vec![peer.parse().unwrap()];
            Finding::new("M0666", "nothing is heard".to_owned(), "ping").cuts(Cut::peers(false, Path::Plain, &peers))
        };
        let found = told(&ways, &[silent("b"), silent("c")], 21);
        let [b, c] = &found[..] else { panic!("{found:?}") };
        assert!(b.what.contains("; packets to 10.0.0.1 leave by wg0, not by admin0 as they should"), "{b:?}");
        assert!(b.what.ends_with("; with net.ipv4.conf.admin0.rp_filter=1 (or all) what comes from there is dropped"));
        assert!(b.help.starts_with("ip route get 10.0.0.1; ping"), "{b:?}");
        assert_eq!(*c, silent("c"));
    }

    #[test]
    fn a_route_that_refuses_a_plain_peer_is_told_here_once_it_has_stood() {
        let (mut ways, ends) = (OutWays::default(), ends(&["b", "c"]));
        let told = |ways: &OutWays, findings: &[Finding], seconds| {
            let mut findings = findings.to_vec();
            refused(ways, &ends, &mut findings, at(seconds));
            findings
        };
        assert_eq!(told(&ways, &[], 9), [], "nothing is known yet");
        learn(&mut ways, &[by("admin0"), by("admin0")], 10);
        assert_eq!(told(&ways, &[], 11), []);
        learn(&mut ways, &[None, by("admin0")], 15);
        assert_eq!(told(&ways, &[], 17), [], "an interface that comes back");
        let found = told(&ways, &[], 21);
        assert!(
            found.len() == 1 && found[0].code == "M0669" && found[0].what.contains("no way to 10.0.0.1 of b"),
            "{found:?}"
        );
        let lost = |peer: &str| {
            let peers: Vec<NodeId> = vec![peer.parse().unwrap()];
            Finding::new("M0663", "plain frames".to_owned(), "look").cuts(Cut::peers(true, Path::Plain, &peers))
        };
        let found = told(&ways, &[lost("b")], 21);
        assert!(found.len() == 1 && found[0].what.ends_with("; the kernel has no way to 10.0.0.1"), "{found:?}");
        assert!(found[0].help.starts_with("ip route get 10.0.0.1; look"), "{found:?}");
        let session =
            Finding::new("M0669", "of the session with b (10.0.0.9 - 10.0.0.1)".to_owned(), "look").harmless();
        let found = told(&ways, &[session], 21);
        assert!(found.len() == 1 && found[0].what.ends_with("no way to 10.0.0.1"), "{found:?}");
        assert_eq!(told(&ways, &[lost("c")], 21).len(), 2, "of another peer it is another fault");
        learn(&mut ways, &[by("admin0"), by("admin0")], 25);
        assert_eq!(told(&ways, &[], 40), []);
    }

    #[test]
    fn an_admin_side_that_no_peer_is_behind_is_told_with_the_one_that_all_are_behind() {
        let ends = ends(&["b", "c"]);
        let pdc = "a".parse().unwrap();
        for (answers, told) in [
            ([by("admin0"), by("admin0")], Some("admin0")),
            ([by("ext0"), by("ext0")], None),
            ([by("admin0"), by("ext0")], None),
            ([by("admin0"), None], None),
        ] {
            let mut ways = OutWays::default();
            learn(&mut ways, &answers, 1);
            let own = ("198.18.0.1".parse().unwrap(), "ext0".parse().unwrap());
            let found = elsewhere(&ways, &ends, (&pdc, own.0, &own.1));
            assert_eq!(found.as_ref().map(|found| found.code.as_str()), told.map(|_| "M0647"), "{answers:?}");
            let says = |finding: Finding| finding.help.contains("[underlay] admin = \"admin0\"");
            assert!(found.is_none_or(says), "{answers:?}");
        }
        assert!(
            elsewhere(&OutWays::default(), &BTreeMap::new(), (&pdc, "::1".parse().unwrap(), &"ext0".parse().unwrap()))
                .is_none()
        );
    }

    #[test]
    fn an_admin_side_outside_of_the_underlay_is_told_with_both_ways_out() {
        let own = ("198.18.1.1".parse().unwrap(), "ext0".parse().unwrap());
        let told = outside((&"a".parse().unwrap(), own.0, &own.1), &["10.1.0.0/24".parse().unwrap()]);
        assert!(
            told.what.contains("is ext0 (198.18.1.1), outside of the underlay of PDC 'a' (10.1.0.0/24)"),
            "{told:?}"
        );
        assert!(
            told.help.contains("[underlay] admin") && told.help.contains("meshctl pdc set a --underlay"),
            "{told:?}"
        );
    }
}
