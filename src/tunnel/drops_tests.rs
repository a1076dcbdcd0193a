use std::collections::BTreeSet;

use super::*;

/// The names in rows of `docs/datapath.md` that begin so, with what is said of them.
fn rows(begin: &str) -> Vec<(&'static str, &'static str)> {
    let page = include_str!("../../docs/datapath.md");
    let row = |line: &'static str| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | ");
    page.lines().filter_map(row).filter(|(name, _)| name.starts_with(begin)).collect()
}

#[test]
fn the_documentation_explains_every_reason_by_the_name_that_status_shows() {
    let rows = rows("tunnel-");
    // This one is of the data plane, about all of them.
    let shown: BTreeSet<String> = DropReason::ALL
        .iter()
        .map(|reason| format!("tunnel-{}", reason.name()))
        .chain(["tunnel-refused".to_owned()])
        .collect();
    let explained: BTreeSet<String> = rows.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(explained, shown, "docs/datapath.md needs one row for each of these");
    assert_eq!(rows.len(), shown.len(), "one row a name");
    assert!(rows.iter().all(|(_, meaning)| meaning.len() > 20 && meaning.ends_with('.')), "{rows:?}");
}
