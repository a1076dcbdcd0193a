//! For every code of `docs/errors.md` it is decided what a finding of it keeps from arriving, and `explain` says so: of a pair that it is about, and
//! of one that it is not, on the sender's node, by the receiver's and at management.

use std::collections::BTreeSet;

use super::*;
use crate::node::dropped::Dropped;
use crate::node::fence::Refused;
use crate::node::strays::{Answer, Hop, Way as Route, Ways};
use crate::node::{plan, strays, unwatched, wrongs};

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// It keeps no frame from arriving.
    Nothing,
    /// All guests of its node; surely or maybe.
    Node(bool),
    /// A peer, by the plain path.
    Plain(bool),
    /// A peer, by whatever path; maybe.
    Peer,
    /// A peer, by the tunnel; surely or maybe.
    Tunnel(bool),
    /// A network on its node.
    Network(bool),
    /// What of a network enters or leaves by plain paths; maybe.
    Way,
    /// A guest.
    Guest(bool),
}

/// Each code that is a finding. Who adds a code adds it here, or to [`REFUSALS`].
const DECIDED: &[(Says, &[&str])] = &[
    (
        Says::Node(false),
        &[
            "M0107", "M0108", "M0125", "M0212", "M0215", "M0618", "M0630", "M0631", "M0632", "M0633", "M0634", "M0636",
            "M0637", "M0688", "M0627", "M0720",
        ],
    ),
    (
        Says::Nothing,
        &[
            "M0120", "M0129", "M0213", "M0265", "M0281", "M0349", "M0351", "M0372", "M0412", "M0502", "M0510", "M0512",
            "M0514", "M0614", "M0615", "M0616", "M0639", "M0645", "M0646", "M0647", "M0649", "M0650", "M0668", "M0669",
            "M0619", "M0679", "M0682", "M0683", "M0684", "M0689", "M0690", "M0691", "M0693", "M0694", "M0698", "M0699",
            "M0710", "M0711", "M0712",
        ],
    ),
    (
        Says::Node(true),
        &["M0220", "M0264", "M0286", "M0621", "M0622", "M0623", "M0624", "M0625", "M0626", "M0635", "M0685"],
    ),
    (Says::Plain(true), &["M0404", "M0405", "M0663", "M0667"]),
    (Says::Tunnel(true), &["M0410"]),
    (Says::Tunnel(false), &["M0723"]),
    (Says::Peer, &["M0413"]),
    (Says::Plain(false), &["M0414", "M0664", "M0665", "M0666", "M0721", "M0722"]),
    (Says::Network(false), &["M0501", "M0604"]),
    (Says::Way, &["M0513", "M0648"]),
    (Says::Network(true), &["M0603", "M0611", "M0612", "M0697"]),
    (
        Says::Guest(true),
        &[
            "M0613", "M0617", "M0670", "M0671", "M0672", "M0673", "M0674", "M0675", "M0677", "M0678", "M0686", "M0687",
            "M0692", "M0695", "M0696", "M0700",
        ],
    ),
    (Says::Guest(false), &["M0676"]),
];

/// Codes whose findings are about something else in one of their forms: a guest's own interface that is too small; a device of others that comes
/// to a UDP port when ours is there; a tunnel of which nobody knows yet which direction fails; a path
/// that small packets pass alone; a packet filter that is not loaded where devices stand from before.
const ALSO: &[(Says, &[&str])] = &[
    (Says::Node(false), &["M0621", "M0622"]),
    (Says::Network(false), &["M0513"]),
    (Says::Nothing, &["M0612"]),
    (Says::Tunnel(false), &["M0410", "M0502"]),
    (Says::Plain(true), &["M0666"]),
];

/// Codes that refuse something, and are no finding about frames. One that stands in `meshd.toml` or a table file comes as a finding, too, and then
/// it cuts off what its topic says (`meshd::shared`).
const REFUSALS: &[&str] = &[
    "M0101", "M0102", "M0103", "M0104", "M0105", "M0106", "M0109", "M0110", "M0111", "M0112", "M0113", "M0114",
    "M0121", "M0122", "M0123", "M0130", "M0131", "M0132", "M0133", "M0134", "M0135", "M0136", "M0201", "M0211",
    "M0214", "M0216", "M0217", "M0218", "M0219", "M0221", "M0222", "M0223", "M0224", "M0242", "M0243", "M0244",
    "M0245", "M0246", "M0247", "M0248", "M0249", "M0250", "M0252", "M0253", "M0254", "M0255", "M0257", "M0258",
    "M0259", "M0261", "M0262", "M0263", "M0275", "M0280", "M0282", "M0283", "M0284", "M0285", "M0287", "M0301",
    "M0302", "M0303", "M0304", "M0305", "M0306", "M0307", "M0308", "M0309", "M0310", "M0311", "M0312", "M0313",
    "M0314", "M0315", "M0316", "M0317", "M0318", "M0319", "M0320", "M0321", "M0322", "M0323", "M0324", "M0325",
    "M0326", "M0327", "M0328", "M0329", "M0330", "M0331", "M0332", "M0333", "M0334", "M0335", "M0336", "M0337",
    "M0338", "M0339", "M0340", "M0345", "M0341", "M0342", "M0343", "M0344", "M0348", "M0350", "M0352", "M0353",
    "M0370", "M0371", "M0401", "M0402", "M0406", "M0411", "M0511", "M0601", "M0605", "M0606", "M0607", "M0608",
    "M0609", "M0610", "M0620", "M0628", "M0629", "M0638", "M0651", "M0652", "M0653", "M0654", "M0655", "M0656",
    "M0657", "M0658", "M0659", "M0660", "M0661", "M0662", "M0680", "M0701", "M0702", "M0703", "M0704", "M0705",
    "M0706", "M0707", "M0708", "M0709", "M0801", "M0802", "M0810", "M0811",
];

fn decided_of(code: &str) -> Option<Says> {
    DECIDED.iter().find(|(_, codes)| codes.contains(&code)).map(|(says, _)| *says)
}

/// Panics where a finding that its source has made, with all that it says itself, is about something else than what is decided of its code.
pub(crate) fn as_decided(findings: &[Finding]) {
    for finding in findings {
        let Some(cut) = &finding.cut else { continue };
        let code = finding.code.as_str();
        let also = ALSO.iter().filter(|(_, codes)| codes.contains(&code)).map(|(says, _)| *says);
        let all: Vec<Says> = decided_of(code).into_iter().chain(also).collect();
        assert!(all.contains(&kind(cut)), "{:?} is none of {all:?}: {finding:?}", kind(cut));
    }
}

#[test]
fn of_every_code_it_is_decided_what_it_keeps_from_arriving() {
    let list = include_str!("../../docs/errors.md");
    let rows: Vec<(&str, bool)> = list
        .lines()
        .filter_map(|line| Some((line.strip_prefix("| ")?.get(..5)?, line.contains("(status)"))))
        .filter(|(code, _)| code.starts_with('M') && code[1..].bytes().all(|b| b.is_ascii_digit()))
        .collect();
    let all: Vec<&str> =
        DECIDED.iter().flat_map(|(_, codes)| codes.iter().copied()).chain(REFUSALS.iter().copied()).collect();
    for (code, status) in &rows {
        let times = all.iter().filter(|one| *one == code).count();
        assert_eq!(times, 1, "{code}: say in one of the two lists what it keeps from arriving");
        assert!(!status || decided_of(code).is_some(), "{code} is a finding");
    }
    let known: BTreeSet<&str> = rows.iter().map(|(code, _)| *code).collect();
    let gone: Vec<_> = all.iter().filter(|code| !known.contains(**code)).collect();
    assert!(rows.len() > 100 && gone.is_empty(), "no code any more: {gone:?}");
}

fn blue() -> NetKey {
    "default/10".parse().unwrap()
}

/// A finding of node a; `other`: about somebody else than ports one and three, and node b, or of path tunnel.
fn cut(says: Says, other: bool) -> Cut {
    let pick = |one: &'static str, two: &'static str| if other { two } else { one };
    let peer = |one, two| vec![pick(one, two).parse().unwrap()];
    let network = || pick("default/10", "default/11").parse().unwrap();
    match says {
        Says::Nothing => Cut::default(),
        Says::Node(surely) => Cut::node(surely),
        Says::Plain(surely) => Cut::peers(surely, Path::Plain, &peer("b", "c")),
        Says::Peer => Cut { peers: peer("b", "c"), ..Cut::default() },
        Says::Tunnel(surely) => Cut::peers(surely, Path::Tunnel, &peer("far", "c")),
        Says::Network(surely) => Cut { surely, ..Cut::network(&network()) },
        Says::Way => Cut { surely: false, ..Cut::way(&network(), Path::Plain) },
        Says::Guest(surely) => {
            let mac = pick("02:00:00:00:00:01", "02:00:00:00:00:09").parse().unwrap();
            Cut::guests(surely, [&(blue(), mac)])
        }
    }
}

/// To whom a frame of port one is in its way: two is here, three on b by the plain path, four on far by the tunnel.
const fn meets(says: Says, to: u8) -> bool {
    match says {
        Says::Nothing => false,
        Says::Node(_) | Says::Network(_) | Says::Guest(_) => true,
        Says::Plain(_) | Says::Peer | Says::Way => to == 3,
        Says::Tunnel(_) => to == 4,
    }
}

const fn surely(says: Says) -> bool {
    match says {
        Says::Node(surely)
        | Says::Plain(surely)
        | Says::Tunnel(surely)
        | Says::Network(surely)
        | Says::Guest(surely) => surely,
        Says::Nothing | Says::Peer | Says::Way => false,
    }
}

/// What the node and management say of a frame from port one, where node a has these findings.
fn explained(findings: &[Finding], to: u8) -> [Explanation; 2] {
    let slice = slice();
    let paths = decided(&slice);
    let mut here = arrives(&slice, to);
    let way = Way::of(&here, &slice, &paths, None).unwrap();
    let there = well(&slice);
    explain_guests::add(&mut here, Now { slice: &slice, presence: &there, found: &[], findings }, &way);
    let mut management = arrives(&slice, to);
    explain_guests::add_told(&mut management, &way, findings, &[]);
    [here, management]
}

fn check(code: &str, says: Says, findings: &[Finding], met: bool) {
    for to in [2, 3, 4] {
        let meets = met && meets(says, to);
        for explanation in explained(findings, to) {
            assert_eq!(explanation.arrives(), !meets, "{code} to {to}: {:#?}", explanation.steps);
            let dead = meets && surely(says);
            assert_eq!(explanation.may_arrive(), !dead, "{code} to {to}: {:#?}", explanation.steps);
            let named = explanation.steps.iter().any(|step| step.text.contains(code));
            assert_eq!(named, meets, "{code} to {to}: {:#?}", explanation.steps);
        }
    }
}

#[test]
fn each_finding_is_in_the_way_of_what_it_is_about_and_of_nothing_else() {
    for (says, codes) in DECIDED.iter().chain(ALSO) {
        for code in *codes {
            let finding = |other| Finding::new(code, "something is wrong".to_owned(), "").cuts(cut(*says, other));
            check(code, *says, &[finding(false)], true);
            let whole = matches!(says, Says::Node(_) | Says::Nothing);
            check(code, *says, &[finding(true)], whole);
        }
    }
}

/// What is cut, in the words of the table.
fn kind(cut: &Cut) -> Says {
    match (cut.node, cut.path, cut) {
        (true, ..) => Says::Node(cut.surely),
        (_, Some(Path::Plain), Cut { networks, .. }) if !networks.is_empty() => Says::Way,
        (_, Some(Path::Plain), _) => Says::Plain(cut.surely),
        (_, Some(_), _) => Says::Tunnel(cut.surely),
        (.., Cut { guests, .. }) if !guests.is_empty() => Says::Guest(cut.surely),
        (.., Cut { networks, .. }) if !networks.is_empty() => Says::Network(cut.surely),
        (.., Cut { peers, .. }) if !peers.is_empty() => Says::Peer,
        _ => Says::Nothing,
    }
}

/// Findings as their sources make them.
fn made() -> Vec<Finding> {
    let mut all: Vec<Finding> = of_peer("b").into_iter().flat_map(|(_, findings)| findings).collect();
    let slice = slice();
    for stands in [Some((Some("virbr0"), true)), Some((None, true)), Some((Some(BLUE), false)), None] {
        all.extend(presence(&slice, stands).findings(&slice, NOW));
    }
    // Two networks of one VNI and UDP port.
    let mut two = slice.clone();
    two.networks.insert("second/10".parse().unwrap(), slice.networks[&blue()].clone());
    all.extend(plan::plan(&two, &decided(&two), &plans::local()).findings);
    // What guests say: an address that nobody has, another guest's, and IP addresses.
    let mut says = wrongs::Wrongs::default();
    let sample = |mac: &str, value: Option<&str>| crate::node::fence::Said {
        interface: "tap1".parse().unwrap(),
        mac: mac.parse().unwrap(),
        value: value.map(|value| value.parse().unwrap()),
        samples: 9,
    };
    let mut other = wrongs::Wrongs::default();
    for seconds in 0..3 {
        let now = NOW + Duration::from_secs(seconds);
        other.learn("mac", &[sample("02:00:00:00:00:07", None)], now);
        says.learn("mac", &[sample("02:00:00:00:00:99", None), sample("02:00:00:00:00:03", None)], now);
        says.learn("arp", &[sample("02:00:00:00:00:01", Some("192.168.10.77"))], now);
    }
    let desired = plans::planned(&slice, &plans::local()).desired;
    let places: BTreeMap<_, _> = [("tap1".parse().unwrap(), blue())].into();
    all.extend(says.findings(&slice, &desired, &Presence::default(), &places));
    all.extend(other.findings(&elsewhere(&slice), &desired, &Presence::default(), &places));
    all.extend(refused(&slice));
    all.extend(too_large(&desired));
    all.extend(astray());
    // The table says that `far` is reached in clear, and this node that it is not.
    all.extend(paths::disagreements(&slice, &decided(&slice)));
    all.extend(in_the_way());
    let mut eyes = unwatched::Eyes::default();
    eyes.ended(unwatched::Eye::Bridges, "gone".to_owned(), NOW);
    all.extend(eyes.findings(NOW, false));
    all
}

/// The same with a guest in another network.
fn elsewhere(slice: &Slice) -> Slice {
    let mut two = slice.clone();
    let red: NetKey = "default/11".parse().unwrap();
    two.networks.insert(red, slice.networks[&blue()].clone());
    let row = json!({"node": "b", "port": "red", "arp": []});
    two.rows.insert("default/11/-/02:00:00:00:00:07".parse().unwrap(), serde_json::from_value(row).unwrap());
    two
}

/// An interface that the kernel does not let into its bridge.
fn refused(slice: &Slice) -> Vec<Finding> {
    let (mut observed, tap1): (Observed, IfName) = (Observed::default(), "tap1".parse().unwrap());
    observed.places.insert(tap1.clone(), Place { index: 1, master: None, up: true, card: false });
    let mut plugs = Plugs::default();
    plugs.refuse(&tap1, &observed, "Operation not supported".to_owned());
    let desired = plans::planned(slice, &plans::local()).desired;
    let mut presence = Presence::default();
    for since in [20, 0] {
        presence.learn(&desired, &observed, &plugs, (NOW - Duration::from_secs(since), Wall::default()));
    }
    presence.findings(slice, NOW)
}

/// Packets that are too large for what leads to nodes, and for a guest's interface.
fn too_large(desired: &crate::node::desired::Desired) -> Vec<Finding> {
    let names = ["vv10.12b5", "tap1"].map(|name| name.parse::<IfName>().unwrap());
    let mtus = names.clone().map(|name| (name, 1400)).into();
    let places = [(names[1].clone(), blue())].into();
    let count = |frames| {
        let one = |name: &IfName| Refused { interface: name.clone(), mac: None, reason: "large", frames };
        names.iter().map(one).collect::<Vec<_>>()
    };
    let mut dropped = Dropped::default();
    let mut found = Vec::new();
    for (second, frames) in [(0, 0), (2, 5), (4, 100)] {
        dropped.learn(&count(frames), &mtus);
        found = dropped.findings(desired, &places, &mtus, NOW + Duration::from_secs(second));
    }
    assert_eq!(found.len(), 2, "{found:?}");
    found
}

/// A host route that leads plain frames out of another interface.
fn astray() -> Vec<Finding> {
    let mut slice = slice();
    slice.pdcs.values_mut().for_each(|pdc| pdc.max_hops = 0);
    let desired = plans::planned(&slice, &plans::local()).desired;
    let hops = vec![Hop { dev: "eth9".parse().ok(), gateway: None, wraps: false }];
    let way = Route { to: "10.9.0.0/24".parse().unwrap(), table: 254, hops, source: None, mute: None };
    let answer = Answer { vtep: "10.9.0.2".parse().unwrap(), vxlan: true, mark: 0, way };
    strays::findings(&"x".parse().unwrap(), &desired, &Ways { answers: vec![answer], earlier: Vec::new() })
}

/// VXLAN devices of others at our UDP port, before ours and after it.
fn in_the_way() -> Vec<Finding> {
    let desired = plans::planned(&slice(), &plans::local()).desired;
    let flannel = crate::node::desired::Vxlan {
        vni: 1,
        udp_port: 4789,
        ipv6: false,
        local: None,
        dev: None,
        ttl: 0,
        learning: true,
    };
    let kind = Kind::Vxlan(flannel);
    let link = Link { kind, alias: None, mtu: 1500, up: true, no_addresses: false, port: None };
    let mut before = Observed::default();
    before.links.insert("flannel.1".parse().unwrap(), link.clone());
    let mut kernel = crate::linux::fake::Fake::default();
    let ops = reconcile::diff(&desired, &kernel.state);
    kernel.apply(&ops).unwrap();
    kernel.state.links.insert("flannel.1".parse().unwrap(), link);
    let [first, late] = [&before, &kernel.state].map(|observed| reconcile::conflicts(&desired, observed));
    assert!(first.len() == 1 && late.len() == 1, "{first:?} {late:?}");
    assert_eq!(late[0].cut, Some(Cut::default()), "ours goes on: {late:?}");
    [first, late].concat()
}

#[test]
fn what_sources_make_is_what_the_table_says() {
    let made = made();
    as_decided(&made);
    let codes: BTreeSet<&str> = made.iter().map(|finding| finding.code.as_str()).collect();
    // M0107, M0108, M0286 and M0410 are compared where they are made (`mgmt::nodes`, `meshd::silent`).
    for code in [
        "M0413", "M0513", "M0603", "M0612", "M0648", "M0663", "M0667", "M0670", "M0671", "M0672", "M0675", "M0676",
        "M0678", "M0688",
    ] {
        assert!(codes.contains(code), "{code} is not made: {codes:?}");
    }
}
