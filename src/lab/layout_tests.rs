use std::collections::BTreeSet;

use super::*;

fn shape(name: &str, pdcs: u8, nodes: u8, guests: u8) -> Shape {
    Shape::uniform(name.to_owned(), 1500, pdcs, nodes, guests).unwrap()
}

#[test]
fn two_by_two_has_the_documented_names_and_addresses() {
    let layout = shape("lab", 2, 2, 1).layout().unwrap();
    assert_eq!(
        layout.namespaces(),
        [
            "lab-net",
            "lab-mgmt",
            "lab-a-1",
            "lab-a-1-g1",
            "lab-a-2",
            "lab-a-2-g1",
            "lab-b-1",
            "lab-b-1-g1",
            "lab-b-2",
            "lab-b-2-g1",
        ]
    );
    let guests: Vec<String> =
        layout.guests().map(|(node, g)| format!("{} {} {}", node.name, g.mac, g.ips[0])).collect();
    assert_eq!(
        guests,
        [
            "a-1 02:76:78:01:01:01 192.168.10.11",
            "a-2 02:76:78:01:02:01 192.168.10.12",
            "b-1 02:76:78:02:01:01 192.168.10.13",
            "b-2 02:76:78:02:02:01 192.168.10.14",
        ]
    );
    let wires: Vec<&str> = layout.wires.iter().map(|w| w.device.as_str()).collect();
    assert_eq!(wires, ["wire-a", "wire-b", "wire-internet"]);
    let b2 = layout.node("lab-b-2").unwrap();
    assert_eq!((b2.admin.to_string(), b2.external.to_string()), ("10.2.0.2".into(), "198.18.2.2".into()));
}

#[test]
fn the_largest_lab_has_no_name_or_address_twice_and_no_name_too_long() {
    let layout = shape("a-rather-long-lab-20", 24, 10, 1).layout().unwrap();
    let all = layout.namespaces();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    assert!(all.iter().all(|name| name.parse::<Label>().is_ok()), "namespace names stay labels");
    let ips: BTreeSet<_> = layout.guests().map(|(_, g)| g.ips[0]).collect();
    let macs: BTreeSet<_> = layout.guests().map(|(_, g)| g.mac).collect();
    assert_eq!((ips.len(), macs.len()), (240, 240));
    assert!(macs.iter().all(|mac| mac.is_unicast()));
    assert!(layout.wires.iter().all(|wire| wire.device.len() <= 15), "interface names have 15 characters");
}

#[test]
fn impossible_shapes_are_refused_with_the_reason() {
    let why = |shape: Shape| shape.layout().unwrap_err().to_string();
    assert!(why(shape("lab", 26, 10, 1)).contains("260 guests do not fit"));
    assert!(why(shape("lab", 1, 0, 1)).contains("1 to 99 nodes, not 0"));
    assert!(why(shape("../x", 1, 1, 1)).contains("'.' is none of them"));
    assert!(why(shape("a-name-of-21-characte", 1, 1, 1)).contains("20 are allowed"));
    assert!(why(Shape { mtu: 900, ..shape("lab", 1, 1, 1) }).contains("1280 to 9216"));
    let mut twice = shape("lab", 2, 1, 1);
    twice.pdcs[1].name = twice.pdcs[0].name.clone();
    assert!(why(twice).contains("'a' is there twice"));
    let mut taken = shape("lab", 1, 1, 1);
    taken.pdcs[0].name = "mgmt".parse().unwrap();
    assert!(why(taken).contains("taken by the lab itself"));
    assert!(Shape::uniform("lab".into(), 1500, 27, 1, 1).is_err());
}

#[test]
fn a_file_says_the_same_as_the_options() {
    let text = "[[pdc]]\nname = \"a\"\nnodes = 2\n[[pdc]]\nname = \"b\"\nnodes = 2\nguests = 1\n";
    assert_eq!(toml::from_str::<Shape>(text).unwrap(), shape("lab", 2, 2, 1));
    let error = toml::from_str::<Shape>("[[pdc]]\nname = \"a\"\nnode = 2\n").unwrap_err().to_string();
    assert!(error.contains("node"), "{error}");
}
