use super::*;

fn rule(text: &str) -> Vec<Value> {
    Older::read("iptables-legacy", "filter", &format!("-N X\n-A FORWARD {text}")).rules["FORWARD"][0].parts.clone()
}

#[test]
fn what_is_known_is_put_into_the_words_of_nft_and_the_rest_may_match_or_not() {
    let verdict = |word: &str| json!({ word: null });
    for (text, parts) in [
        ("-j DROP", vec![verdict("drop")]),
        (
            "-i eth+ ! -o docker0 -j RETURN",
            vec![
                compare("==", json!({"meta": {"key": "iifname"}}), json!("eth*")),
                compare("!=", json!({"meta": {"key": "oifname"}}), json!("docker0")),
                verdict("return"),
            ],
        ),
        (
            "-p tcp -m tcp --dport 25 -j DROP",
            vec![compare("==", json!({"meta": {"key": "l4proto"}}), json!("tcp")), unknown("tcp"), verdict("drop")],
        ),
        ("-m comment --comment \"say \\\"-j DROP\\\" aloud\" -j ACCEPT", vec![verdict("accept")]),
        (
            "-s 10.0.0.0/8 -g X",
            vec![
                compare(
                    "==",
                    json!({"payload": {"protocol": "ip", "field": "saddr"}}),
                    json!({"prefix": {"addr": "10.0.0.0", "len": 8}}),
                ),
                json!({"goto": {"target": "X"}}),
            ],
        ),
        ("-j LOG --log-prefix \"x \"", vec![]),
    ] {
        assert_eq!(rule(text), parts, "{text}");
    }
}

#[test]
fn chains_at_hooks_have_their_policies_and_rules_their_numbers() {
    let text = "-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N X\n-A X -j DROP\n-A X -j RETURN";
    let older = Older::read("ip6tables-legacy", "filter", text);
    let [base] = older.bases.as_slice() else { panic!("{older:?}") };
    assert!(base.family == "ip6" && base.hook == "forward" && base.drops, "{base:?}");
    assert_eq!(older.rules["X"].iter().map(|rule| rule.handle).collect::<Vec<_>>(), [1, 2]);
    let drop = Drop {
        sure: crate::node::verdicts::Sure::Yes,
        rule: Some(("X".to_owned(), 1)),
        fate: crate::node::verdicts::Fate::Dropped,
    };
    assert_eq!(older.way_out(base, &drop), "ip6tables-legacy -t filter -D X 1");
    assert_eq!(older.way_out(base, &Drop { rule: None, ..drop }), "ip6tables-legacy -t filter -P FORWARD ACCEPT");
}
