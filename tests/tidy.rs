//! The rules of the tree that a machine can check. A failure says what to do.
#![expect(clippy::unwrap_used, reason = "a file that cannot be read is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rings from the inside out: a module may name modules of its own ring and of those inside.
const RINGS: &[(&str, u8)] = &[
    ("types", 0),
    ("wire", 1),
    ("policy", 1),
    ("table", 1),
    ("api", 1),
    ("config", 1),
    ("tunnel", 2),
    ("forward", 2),
    ("probe", 2),
    ("node", 2),
    ("mgmt", 2),
    ("linux", 3),
    ("store", 3),
    ("transport", 3),
    ("clock", 3),
    ("meshd", 4),
    ("meshmgr", 4),
    ("meshctl", 4),
    ("lab", 4),
];

/// What pure rings (0 to 2) must not name, and why.
const IMPURE: &[(&str, &str)] = &[
    ("std::fs", "files belong to ring 3 or 4"),
    ("std::net::UdpSocket", "sockets belong to ring 3 or 4"),
    ("std::net::TcpStream", "sockets belong to ring 3 or 4"),
    ("std::process", "processes belong to ring 3 or 4"),
    ("std::thread", "threads belong to ring 4"),
    ("tokio::", "the pure rings have no async"),
    ("async fn", "the pure rings have no async"),
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("getrandom", "randomness is an argument"),
    ("HashMap", "iteration order is random; use BTreeMap"),
    ("unsafe {", "unsafe lives in src/linux/sys.rs"),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Path below `src/`, and whether it is a test file.
fn place(path: &Path) -> (String, bool) {
    let below = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap().display().to_string();
    let test = below.ends_with("tests.rs") || below.contains("/tests/");
    (below, test)
}

/// Lines of production code with their numbers: comments and what follows `#[cfg(test)]` left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end]
        .lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line.split("//").next().unwrap_or("")))
        .filter(|(_, l)| !l.trim().is_empty())
}

fn ring_of(module: &str) -> Option<u8> {
    RINGS.iter().find(|(name, _)| *name == module).map(|(_, ring)| *ring)
}

fn src() -> Vec<(String, bool, String)> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    sources(root)
        .into_iter()
        .map(|path| {
            let (below, test) = place(&path);
            (below, test, fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn arrows_point_inwards() {
    let mut wrong = Vec::new();
    // A test may look at its module from outside; what ships may not.
    for (file, _, text) in src().into_iter().filter(|(_, test, _)| !test) {
        let module = file.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let Some(ring) = ring_of(&module) else { continue };
        for (number, line) in code(&text) {
            for (at, _) in line.match_indices("crate::") {
                let named: String =
                    line[at + 7..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                if let Some(other) = ring_of(&named)
                    && other > ring
                {
                    wrong.push(format!(
                        "src/{file}:{number}: ring {ring} ({module}) names ring {other} ({named}). Arrows point inwards: \
                         pass the value in as an argument, or move the type to the inner ring."
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_has_a_ring() {
    for (file, _, _) in src() {
        let module = file.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let known = ring_of(&module).is_some() || ["lib", "bin"].contains(&module.as_str());
        assert!(known, "src/{file}: give `{module}` a ring in tests/tidy.rs and a line in src/lib.rs");
    }
}

#[test]
fn pure_rings_are_pure() {
    let mut wrong = Vec::new();
    for (file, test, text) in src() {
        let module = file.split('/').next().unwrap();
        if test || ring_of(module).is_none_or(|ring| ring > 2) {
            continue;
        }
        for (number, line) in code(&text) {
            for (word, why) in IMPURE {
                let excused = *word == "HashMap" && text.contains("clippy::disallowed_types");
                if line.contains(word) && !excused {
                    wrong.push(format!("src/{file}:{number}: `{word}` in a pure ring: {why}."));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn ciphers_are_named_in_tunnel_and_certificates_in_mgmt_only() {
    let homes: &[(&str, &[&str])] = &[
        ("aws_lc_rs::aead", &["tunnel"]),
        ("chacha20poly1305", &["tunnel"]),
        ("snow", &["tunnel"]),
        ("x25519_dalek", &["tunnel"]),
        ("rcgen", &["mgmt"]),
    ];
    for (file, test, text) in src() {
        let module = file.split('/').next().unwrap();
        if test {
            continue;
        }
        for (number, line) in code(&text) {
            for (word, allowed) in homes {
                let named = line.contains(&format!("{word}::")) || line.contains(&format!("use {word}"));
                assert!(
                    !named || allowed.contains(&module),
                    "src/{file}:{number}: {word} may be named only in src/{}/: call a function there instead.",
                    allowed.join("/, src/")
                );
            }
        }
    }
}

#[test]
fn unsafe_lives_in_one_file() {
    for (file, _, text) in src() {
        for (number, line) in code(&text) {
            let found = line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl");
            assert!(!found || file == "linux/sys.rs", "src/{file}:{number}: unsafe lives in src/linux/sys.rs only.");
        }
    }
}

#[test]
fn files_stay_readable() {
    for (file, test, text) in src() {
        let lines = text.lines().count();
        assert!(test || lines <= 600, "src/{file} has {lines} lines: split it by idea; 400 is the aim, 600 the end.");
    }
}

#[test]
fn nothing_is_left_for_later() {
    for (file, _, text) in src() {
        for (number, line) in text.lines().enumerate() {
            for word in ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("] {
                assert!(
                    !line.contains(word),
                    "src/{file}:{}: `{word}`: do it, or say plainly what is not there.",
                    number + 1
                );
            }
        }
    }
}

/// Codes that several files raise, all with the one meaning that `docs/errors.md` gives.
const SHARED_CODES: &[&str] = &[
    "M0101", "M0102", "M0103", "M0105", "M0107", "M0110", "M0113", "M0136", "M0213", "M0223", "M0224", "M0242",
    "M0243", "M0248", "M0254", "M0264", "M0286", "M0302", "M0305", "M0309", "M0312", "M0327", "M0331", "M0333",
    "M0350", "M0410", "M0501", "M0502", "M0601", "M0606", "M0607", "M0608", "M0621", "M0623", "M0624", "M0636",
    "M0655", "M0698", "M0703", "M0704", "M0802",
];

/// Codes in production code, comments left out, and the files that name them.
fn codes() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // What follows from what names codes of others, and raises none.
    let raises = |file: &String| file != "node/causes.rs";
    for (file, _, text) in src().into_iter().filter(|(file, test, _)| !test && raises(file)) {
        for (_, line) in code(&text) {
            for word in line.split(|c: char| !c.is_ascii_alphanumeric()) {
                let number = word.strip_prefix('M').filter(|digits| digits.len() == 4);
                if number.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit())) {
                    found.entry(word.to_owned()).or_default().insert(file.clone());
                }
            }
        }
    }
    found
}

#[test]
fn every_error_code_has_one_line_in_the_list() {
    let list = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md")).unwrap();
    let mut listed = BTreeSet::new();
    for line in list.lines().filter(|line| line.starts_with("| M")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "docs/errors.md: three cells: {line}");
        assert!(
            listed.insert(cells[0].to_owned()),
            "docs/errors.md: {} has two lines: one code, one meaning",
            cells[0]
        );
    }
    let used: BTreeSet<String> = codes().into_keys().collect();
    let (unlisted, unused): (Vec<_>, Vec<_>) = (used.difference(&listed).collect(), listed.difference(&used).collect());
    assert!(unlisted.is_empty(), "give these codes a line in docs/errors.md: {unlisted:?}");
    assert!(unused.is_empty(), "no program raises these codes any more; take them out of docs/errors.md: {unused:?}");
}

#[test]
fn one_error_code_is_raised_in_one_file() {
    for (code, files) in codes() {
        let shared = SHARED_CODES.contains(&code.as_str());
        assert!(
            files.len() == 1 || shared,
            "{code} is in {files:?}: take a new code if the meaning is another, else name it in SHARED_CODES."
        );
        assert!(files.len() > 1 || !shared, "{code} is in one file only: take it out of SHARED_CODES.");
    }
}

/// What `src/linux/confine.rs` asks the kernel for. A unit that forbids it leaves its daemon less confined than no unit does.
const CONFINING: [&str; 4] = ["seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"];

#[test]
fn units_let_daemons_hold_themselves_back() {
    for unit in ["meshd", "meshmgr"] {
        let path = format!("{}/examples/systemd/{unit}.service", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).unwrap();
        let filters: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")).collect();
        // What a later line takes away is gone, whatever an earlier one gave.
        let last = filters.iter().rposition(|filter| filter.starts_with('~')).map_or(0, |at| at + 1);
        let given: Vec<&str> = filters[last..].iter().flat_map(|filter| filter.split_ascii_whitespace()).collect();
        for call in CONFINING {
            assert!(given.contains(&call), "{path}: SystemCallFilter leaves out {call}");
        }
    }
}
