use super::*;

const HEAD: &str = "apiVersion: vxmesh/v1\nkind: Network\nmetadata: {name: blue}\n";

/// Refuses at `line:column` with `what`.
fn refuses(text: &str, at: &str, what: &str) {
    let said = parse("f.yaml", text).map(|objects| format!("accepted {objects:?}")).unwrap_or_else(|e| e.to_string());
    assert!(said.contains(what), "{what:?} is not in\n{said}");
    assert!(said.contains(&format!("f.yaml:{at}\n")), "{at} is not in\n{said}");
}

#[test]
fn an_unknown_kind_key_or_word_shows_the_nearest_known_one() {
    let said = parse("f.yaml", "apiVersion: vxmesh/v1\nkind: Netwrok\nmetadata: {name: blue}\nspec: {}\n").unwrap_err();
    assert_eq!(
        said.to_string(),
        "error[M0301]: the kind 'Netwrok' is not known\n --> f.yaml:2:7\n  |\n2 | kind: Netwrok\n  |       ^^^^^^^\n  \
         help: did you mean 'Network'?\n  help: known here: Pdc, Node, Overlay, Network, Port, Policy, Token"
    );
    refuses(&format!("{HEAD}spec: {{overlay: default, vnii: 10}}\n"), "4:26", "did you mean 'vni'?");
    refuses(&format!("{HEAD}sepc: {{overlay: default}}\n"), "4:1", "did you mean 'spec'?");
    refuses(
        &format!("{HEAD}spec: {{overlay: default, vni: 10, flood: supress}}\n"),
        "4:42",
        "did you mean 'suppress'?",
    );
}

#[test]
fn a_tab_wherever_it_stands_and_a_kind_in_small_letters_have_a_way_out() {
    let head = "apiVersion: vxmesh/v1\nkind: Network\nmetadata: {name: blue}\nspec:\n";
    for tab in [
        "\toverlay: default\n",
        "  overlay: default\n\tvni: 10\n",
        "  overlay: default\n \tvni: 10\n",
        "  overlay: default\n  cidr:\n\t- 10.0.0.0/8\n",
    ] {
        let said = parse("f.yaml", &format!("{head}{tab}")).unwrap_err().to_string();
        assert!(said.contains("a tab stands where YAML takes spaces only"), "{tab:?}: {said}");
        assert!(said.contains("  help: indent by two spaces"), "{tab:?}: {said}");
    }
    for kind in ["network", "NETWORK", "networks"] {
        let said = parse("f.yaml", &head.replace("Network", kind)).unwrap_err().to_string();
        assert!(said.contains("  help: did you mean 'Network'?"), "{said}");
    }
    let said = parse("f.yaml", &head.replace("kind:", "Kind:")).unwrap_err().to_string();
    assert!(said.contains("  help: kind: one of Pdc, Node, Overlay, Network"), "{said}");
}

#[test]
fn a_policy_is_read_by_both_of_its_names_and_written_by_one() {
    let text =
        |kind: &str| format!("apiVersion: vxmesh/v1\nkind: {kind}\nmetadata: {{name: p}}\nspec: {{action: encrypt}}\n");
    let (old, new) = (parse("f.yaml", &text("PathPolicy")).unwrap(), parse("f.yaml", &text("Policy")).unwrap());
    assert_eq!(old, new);
    assert_eq!(to_value(&old[0]).unwrap()["kind"], "Policy");
    let counted: std::collections::BTreeMap<Kind, usize> = serde_json::from_str(r#"{"pathpolicy": 1}"#).unwrap();
    assert_eq!(serde_json::to_string(&counted).unwrap(), r#"{"policy":1}"#);
    refuses(&text("Polcy"), "2:7", "did you mean 'Policy'?");
}

#[test]
fn a_wrong_value_is_shown_where_it_stands() {
    let spec =
        |rest: &str, at: &str, what: &str| refuses(&format!("{HEAD}spec:\n  overlay: default\n{rest}\n"), at, what);
    spec("  vni: \"10\"", "6:3", "the text \"10\" stands where a whole number");
    spec("  vni: 010", "6:3", "10 with a leading 0, a fraction or an exponent stands where a whole number");
    spec("  vni: 1.5", "6:3", "stands where a whole number");
    spec("  vni: 0", "6:8", "a network's VNI is 1 to 16777214, not 0");
    spec("  vni: 16777216", "6:8", "a network's VNI is 1 to 16777214");
    spec("  vni: 10\n  cidr: [192.168.10.1/24]", "7:10", "the prefix is 192.168.10.0/24");
    spec("  vni: 10\n  mtu: {fixed: 100}", "7:16", "an MTU is 576 to 65535, not 100");
    spec("  vni: 10\n  vni: 11", "7:3", "the key 'vni' is given twice");
    spec("   vni: 10", "6:7", "error[M0305]");
    refuses(&HEAD.replace("blue", "../blue"), "3:18", "a name holds only a-z");
    refuses(&format!("{HEAD}spec: [1]\n"), "4:7", "a table of keys is needed");
    refuses(&format!("{HEAD}spec: {{vni: 10}}\n"), "4:8", "the key 'overlay' is needed");
    refuses(&format!("{HEAD}spec: {{vni: 10\n"), "4:7", "unclosed bracket");
}

#[test]
fn an_object_says_its_version_and_kind() {
    let spec = "metadata: {name: blue}\nspec: {overlay: default, vni: 10}\n";
    refuses(&format!("apiVersion: vxmesh/v2\nkind: Network\n{spec}"), "1:13", "'vxmesh/v2' is not known");
    refuses(&format!("kind: Network\n{spec}"), "1:7", "the key 'apiVersion' is needed");
    refuses(&format!("apiVersion: vxmesh/v1\n{spec}"), "1:13", "the key 'kind' is needed");
    refuses("# nothing\n---\nmetadata: {name: blue}\n", "3:1", "the key 'kind' is needed");
    refuses("- 1\n", "1:1", "a table of keys is needed");
    for empty in ["", "\n\n", "---\n---\n# x\n...\n"] {
        assert!(parse("f", empty).unwrap_err().what.contains("holds no object"), "{empty:?}");
    }
}

#[test]
fn several_documents_are_several_objects_and_lines_count_from_the_top() {
    let one = format!("{HEAD}spec: {{overlay: default, vni: 10}}\n");
    let text = format!("# first\n---\n{one}...\n--- # second\n{}", one.replace("blue", "green"));
    let objects = parse("f.yaml", &text).unwrap();
    assert_eq!(objects.iter().map(Any::name).collect::<Vec<_>>(), ["blue", "green"]);
    refuses(
        &text.replace("green}\nspec: {overlay: default, vni: 10}", "green}\nspec: {overlay: default, vni: 0}"),
        "12:31",
        "a network's VNI",
    );
}

#[test]
fn aliases_and_merge_keys_are_refused() {
    refuses(
        &format!("{HEAD}spec: &a {{overlay: default, vni: 10}}\n"),
        "4:10",
        "anchors, aliases and merge keys are not taken",
    );
    let bomb = format!("a: &a [x,x]\n{}", ('b'..='k').map(|c| format!("{c}: &{c} [*a,*a]\n")).collect::<String>());
    assert!(parse("f", &bomb).is_err());
    let merged = parse("f", &format!("{HEAD}spec: {{overlay: default, <<: {{vni: 10}}}}\n"));
    assert!(merged.is_err(), "{merged:?}");
    let deep = format!("{HEAD}spec: {}1{}\n", "[".repeat(5000), "]".repeat(5000));
    assert!(parse("f", &deep).is_err());
}

#[test]
fn what_is_printed_is_a_manifest_again() {
    let text = format!("{HEAD}spec: {{overlay: default, vni: 10, cidr: [192.168.10.0/24], gateway: [192.168.10.1]}}\n");
    let objects = parse("f", &text).unwrap();
    let yaml = to_yaml(&objects[0]).unwrap();
    assert!(!yaml.contains("null"), "{yaml}");
    assert_eq!(parse("f", &yaml).unwrap(), objects);
    let list =
        serde_json::json!({"apiVersion": "vxmesh/v1", "kind": "Network", "items": [to_value(&objects[0]).unwrap()]});
    for json in [list.to_string(), serde_json::to_string_pretty(&list).unwrap()] {
        assert_eq!(parse("f", &json).unwrap(), objects);
    }
    refuses(
        "{\"apiVersion\": \"vxmesh/v1\", \"items\": [{\"kind\": \"Port\",\n\"metadata\": {\"name\": \"p\"}, \"spec\": {\"mac\": \"1:2\"}}]}",
        "2:44",
        "'1:2' is not",
    );
    refuses("{\"apiVersion\": \"vxmesh/v1\", \"items\": [],\n\"item\": 1}", "2:1", "did you mean 'items'?");
}

#[test]
fn ten_thousand_ports_fit_into_one_file() {
    let port = |n: u32| {
        let (high, low) = (n >> 8, n & 255);
        format!(
            "---\napiVersion: vxmesh/v1\nkind: Port\nmetadata:\n  name: p{n}\n  labels: {{owner: somebody-with-a-long-name}}\nspec:\n  \
             network: blue\n  node: a-1\n  mac: 02:00:00:00:{high:02x}:{low:02x}\n  ips: [10.{high}.{low}.1, 'fd00::{n:x}']\n"
        )
    };
    let text: String = (0..10_000).map(port).collect();
    assert_eq!(parse("f", &text).unwrap().len(), 10_000);
    let items: Vec<_> = parse("f", &text).unwrap().iter().map(|object| to_value(object).unwrap()).collect();
    let list = serde_json::json!({"apiVersion": "vxmesh/v1", "items": items}).to_string();
    assert_eq!(parse("f", &list).unwrap().len(), 10_000);
}
