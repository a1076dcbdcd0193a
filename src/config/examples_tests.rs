//! The examples are what the programs read, and say what the defaults are.

use std::path::Path;

use super::*;

fn example(path: &str) -> String {
    std::fs::read_to_string(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).join(path)).unwrap()
}

#[test]
fn the_reference_of_a_node_holds_the_defaults() {
    let text = example("meshd.toml");
    let given = meshd::Config::parse("meshd.toml", &text).unwrap_or_else(|e| panic!("{e}"));
    let mut defaults = meshd::Config::parse("f", "management = ['mgmt.example.net:7443']").unwrap();
    assert!(given.node.name.is_some() && given.node.pdc.is_some());
    defaults.node = given.node.clone();
    (defaults.underlay.admin, defaults.underlay.external) =
        (given.underlay.admin.clone(), given.underlay.external.clone());
    assert_eq!(given, defaults);
}

#[test]
fn what_the_reference_says_of_files_is_valid_too() {
    let commented = |line: &str| {
        line.strip_prefix("# ").filter(|rest| rest.contains(" = ") || rest.starts_with("[[")).map(str::to_owned)
    };
    let text = example("meshd.toml");
    let (_, files) = text.split_once("With source = \"files\"").unwrap();
    let files: Vec<String> =
        files.lines().take_while(|line| !line.starts_with("[log]")).filter_map(commented).collect();
    let text = format!("[node]\nname = 'fra-1'\n[table]\nsource = 'files'\n{}\n", files.join("\n"));
    let config = meshd::Config::parse("meshd.toml", &text).unwrap_or_else(|e| panic!("{e}"));
    let meshd::Table::Files(files) = config.table else { panic!() };
    assert_eq!((files.peers.len(), files.networks.len(), files.underlay.len()), (1, 1, 1));
}

#[test]
fn the_reference_of_a_management_node_holds_the_defaults() {
    let given = meshmgr::Config::parse("meshmgr.toml", &example("meshmgr.toml")).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(given, meshmgr::Config::parse("f", "addresses = ['mgmt.example.net:7443']").unwrap());
}

#[test]
fn every_example_manifest_is_valid() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/manifests")).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for entry in folder {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let objects = manifest::parse(&path.display().to_string(), &text).unwrap_or_else(|e| panic!("{e}"));
        kinds.extend(objects.iter().map(crate::api::objects::Any::kind));
    }
    assert_eq!(kinds.len(), 6, "every kind but tokens: {kinds:?}");
}
