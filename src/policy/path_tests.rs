use super::*;

struct World {
    pdcs: BTreeMap<PdcId, PdcFacts>,
    policies: BTreeMap<PolicyId, PathRule>,
}

fn world() -> World {
    let plain =
        |prefix: &str| PdcFacts { intra: Intra::Plain, underlay: vec![prefix.parse().unwrap()], ..PdcFacts::default() };
    let encrypted = PdcFacts { intra: Intra::Encrypted, ..plain("10.2.0.0/24") };
    let pdcs = [("a", plain("10.0.0.0/24")), ("b", plain("10.1.0.0/24")), ("enc", encrypted)];
    World { pdcs: pdcs.map(|(n, f)| (n.parse().unwrap(), f)).into(), policies: BTreeMap::new() }
}

fn rule(between: Vec<Selector>, action: Action, clear: bool) -> PathRule {
    PathRule { between, network: None, action, i_know_this_is_clear: clear }
}

impl World {
    fn with(mut self, id: &str, rule: PathRule) -> Self {
        self.policies.insert(id.parse().unwrap(), rule);
        self
    }

    /// (PDC, admin address) of both ends; foreign is "pdc!".
    fn ask(&self, a: (&str, &str), b: (&str, &str)) -> Verdict {
        let ids: [(NodeId, PdcId, Option<IpAddr>, bool); 2] = [("n1", a), ("n2", b)].map(|(name, (pdc, admin))| {
            let foreign = pdc.ends_with('!');
            (name.parse().unwrap(), pdc.trim_end_matches('!').parse().unwrap(), admin.parse().ok(), foreign)
        });
        let [x, y] = [&ids[0], &ids[1]].map(|(node, pdc, admin, foreign)| End {
            node,
            pdc,
            admin: *admin,
            external: None,
            foreign: *foreign,
        });
        let net = "blue".parse().unwrap();
        let verdict = decide(x, y, &net, &self.pdcs, &self.policies);
        assert_eq!(verdict.path, decide(y, x, &net, &self.pdcs, &self.policies).path, "symmetric");
        verdict
    }
}

fn pdc(name: &str) -> Selector {
    Selector::Pdc(name.parse().unwrap())
}

#[test]
fn the_truth_table() {
    let w = world();
    let table = [
        (("a", "10.0.0.1"), ("a", "10.0.0.2"), Path::Plain, Outer::Admin),
        (("a", "10.0.0.1"), ("a", "10.9.0.2"), Path::Tunnel, Outer::Admin),
        (("a", "10.0.0.1"), ("a", ""), Path::Tunnel, Outer::Admin),
        (("enc", "10.2.0.1"), ("enc", "10.2.0.2"), Path::Tunnel, Outer::Admin),
        (("nowhere", "10.0.0.1"), ("nowhere", "10.0.0.2"), Path::Tunnel, Outer::Admin),
        (("a", "10.0.0.1"), ("b", "10.1.0.2"), Path::Tunnel, Outer::External),
        (("a", "10.0.0.1"), ("b", "10.0.0.2"), Path::Tunnel, Outer::External),
        (("a", "10.0.0.1"), ("a!", "10.0.0.2"), Path::Tunnel, Outer::Admin),
    ];
    for (a, b, path, outer) in table {
        let verdict = w.ask(a, b);
        assert_eq!((verdict.path, verdict.outer), (path, outer), "{a:?} {b:?}: {}", verdict.why);
    }
}

#[test]
fn the_first_matching_policy_decides() {
    let same = (("a", "10.0.0.1"), ("a", "10.0.0.2"));
    let w = world().with("p1", rule(vec![pdc("a")], Action::Encrypt, false));
    assert_eq!(w.ask(same.0, same.1).path, Path::Tunnel);
    let w = w.with("p0", rule(vec![], Action::Forbid, false));
    let verdict = w.ask(same.0, same.1);
    assert_eq!((verdict.path, verdict.why.to_string().as_str()), (Path::Forbidden, "path policy p0"));
}

#[test]
fn plain_across_pdcs_needs_the_confirmation() {
    let across = (("a", "10.0.0.1"), ("b", "10.1.0.1"));
    let between = || vec![pdc("b"), pdc("a")];
    let w = world().with("p", rule(between(), Action::Plain, false));
    assert_eq!(w.ask(across.0, across.1).path, Path::Tunnel);
    let w = world().with("p", rule(between(), Action::Plain, true));
    assert_eq!(w.ask(across.0, across.1).path, Path::Plain);
    assert_eq!(w.ask(("a", "10.0.0.1"), ("enc", "10.2.0.1")).path, Path::Tunnel, "another pair");
    assert_eq!(w.ask(("a", "10.0.0.1"), ("b!", "10.1.0.1")).path, Path::Tunnel, "a foreign peer has no plain path");
}

#[test]
fn a_policy_may_name_one_network_or_one_node() {
    let mut only_red = rule(vec![], Action::Forbid, false);
    only_red.network = Some("red".parse().unwrap());
    let w = world()
        .with("p", only_red)
        .with("q", rule(vec![Selector::Node("n2".parse().unwrap())], Action::Encrypt, false));
    let verdict = w.ask(("a", "10.0.0.1"), ("a", "10.0.0.2"));
    assert_eq!(verdict.why.to_string(), "path policy q");
}

#[test]
fn the_stricter_answer_counts() {
    let plain = world().ask(("a", "10.0.0.1"), ("a", "10.0.0.2"));
    let kept = stricter(plain.clone(), Path::Plain);
    assert_eq!(kept, plain);
    assert_eq!(stricter(plain, Path::Tunnel).path, Path::Tunnel);
    let tunnel = world().ask(("a", "10.0.0.1"), ("b", "10.1.0.2"));
    assert_eq!(stricter(tunnel.clone(), Path::Plain), tunnel);
}

#[test]
fn facts_of_before_there_were_routers_load_and_are_said_in_the_same_words() {
    let old = r#"{"intra":"plain","underlay":["10.0.0.0/24"],"maxHops":1}"#;
    let facts: PdcFacts = serde_json::from_str(old).unwrap();
    assert_eq!((facts.routers.len(), facts.next_hops()), (0, None));
    assert_eq!(serde_json::to_string(&facts).unwrap(), old, "the hash of a slice stays, too");
}

#[test]
fn next_hops_are_nobody_those_named_or_anybody() {
    let facts = |max_hops, routers: &[&str]| PdcFacts {
        max_hops,
        routers: routers.iter().map(|router| router.parse().unwrap()).collect(),
        ..PdcFacts::default()
    };
    let named = ["10.0.0.254"];
    for (facts, hops) in [
        (facts(0, &[]), Some(0)),
        (facts(0, &named), Some(0)),
        (facts(1, &named), Some(1)),
        (facts(1, &[]), None),
        (facts(u8::MAX, &[]), None),
    ] {
        assert_eq!(facts.next_hops().map(|hops| hops.len()), hops, "{facts:?}");
    }
}
