use clap::CommandFactory as _;

use super::*;

#[test]
fn the_tree_of_commands_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn words_of_enumerations_are_those_of_manifests() {
    use crate::table::Flood;
    assert_eq!(word::<Flood>("suppress"), Ok(Flood::Suppress));
    assert_eq!(word::<Flood>("no").unwrap_err(), "known: one of off, suppress, replicate");
}

#[test]
fn every_flag_has_a_help_text() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        command.get_subcommands().filter(|command| !command.is_hide_set()).for_each(check);
    }
    check(&Cli::command());
}

/// What follows the name of a program where a sentence is about it and no command is meant.
const PROSE: [&str; 41] = [
    "a",
    "and",
    "as",
    "asks",
    "authenticates",
    "can",
    "does",
    "for",
    "from",
    "had",
    "has",
    "have",
    "here",
    "in",
    "is",
    "knows",
    "later",
    "learns",
    "lives",
    "looks",
    "makes",
    "may",
    "needs",
    "never",
    "of",
    "on",
    "or",
    "prove",
    "runs",
    "says",
    "starts",
    "that",
    "the",
    "then",
    "they",
    "uses",
    "when",
    "where",
    "which",
    "with",
    "writes",
];

/// Production code without comments, and the list of errors: with names, for messages.
fn texts() -> Vec<(String, String)> {
    fn below(folder: &std::path::Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            if path.is_dir() {
                below(&path, found);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && !name.contains("/tests/") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default());
                found.push((name, lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ")));
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    below(&root.join("src"), &mut found);
    let list = std::fs::read_to_string(root.join("docs/errors.md")).unwrap();
    found.push(("docs/errors.md".to_owned(), list));
    found
}

/// Why a line that begins behind the name of a program is none of its commands; none: it is one, or no command is meant.
fn unknown(program: &clap::Command, line: &str) -> Option<String> {
    // A command ends where its sentence does.
    let end = line.find([';', ',', ':', '\'', '`', '"', '(', ')', '\n', '|', '.']).unwrap_or(line.len());
    let mut words = line[..end].split_ascii_whitespace().peekable();
    let mut command = program;
    while let Some(word) = words.peek().filter(|word| !word.starts_with('-')) {
        match command.find_subcommand(word) {
            Some(found) => command = found,
            None => break,
        }
        words.next();
    }
    let rest: Vec<&str> = words.collect();
    let first = rest.first().copied().unwrap_or_default();
    let known = first.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    if command.has_subcommands() && !first.is_empty() && known && !PROSE.contains(&first) && !first.starts_with('-') {
        return Some(format!("'{} {first}' is no command", command.get_name()));
    }
    if command.has_subcommands() {
        return None;
    }
    let flag = |word: &&&str| word.starts_with("--") && word.len() > 2 && !word.contains('{');
    let given =
        rest.iter().filter(flag).map(|word| word.trim_start_matches("--").split('=').next().unwrap_or_default());
    let all = || command.get_arguments().chain(program.get_arguments()).filter_map(|argument| argument.get_long());
    let missing = given.into_iter().find(|name| !all().any(|known| known == *name) && *name != "help");
    missing.map(|name| format!("'{}' has no flag --{name}", command.get_name()))
}

/// The programs of which the whole tree of commands is known here.
fn programs() -> [clap::Command; 2] {
    [Cli::command(), crate::meshmgr::Arguments::command()]
}

#[test]
fn every_command_that_a_text_names_is_one() {
    let mut wrong = Vec::new();
    let mut named = 0;
    for program in programs() {
        let name = format!("{} ", program.get_name());
        for (file, text) in texts() {
            for (at, _) in text.match_indices(&name) {
                let before = text[..at].chars().next_back();
                if before.is_some_and(|c| c.is_ascii_alphanumeric() || "-_/.".contains(c)) {
                    continue;
                }
                named += 1;
                let line = &text[at + name.len()..];
                if let Some(why) = unknown(&program, line) {
                    let shown: String = line.chars().take(60).collect();
                    wrong.push(format!("{file}: {name}{shown:?}: {why}"));
                }
            }
        }
    }
    assert!(named > 100, "{named}: the texts are not found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_that_is_not_there_is_found_out() {
    let [meshctl, meshmgr] = programs();
    for line in [
        "pathpolicy list",
        "node dance NAME",
        "node reset NAME --force",
        "token create --pdc PDC --forever",
        "statsu; and so on",
    ] {
        assert!(unknown(&meshctl, line).is_some(), "{line}");
    }
    for line in [
        "node reset NAME",
        "token create --replace NODE`",
        "status and look",
        "network set X --mtu auto",
        "{kind} show",
        "KIND set",
        "get {kind} {name} -o yaml",
    ] {
        assert_eq!(unknown(&meshctl, line), None, "{line}");
    }
    assert!(unknown(&meshmgr, "start").is_some() && unknown(&meshmgr, "run --config FILE").is_none());
}

/// Codes and what the list of errors says of them.
fn listed() -> Vec<(String, String)> {
    let list = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md")).unwrap();
    let rows = list.lines().filter(|line| line.starts_with("| M"));
    let cells = |row: &str| {
        let mut cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
        (cells.next().unwrap_or_default(), cells.collect::<Vec<_>>().join(" "))
    };
    rows.map(cells).collect()
}

/// The first letters of the words of a text: `removed` and `remove` are one.
fn stems(text: &str) -> std::collections::BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() >= 4);
    let stems = words.map(|word| word.to_ascii_lowercase().chars().take(4).collect::<String>());
    stems.filter(|stem| !COMMON.contains(&stem.as_str())).collect()
}

/// Beginnings of words that say nothing about which code it is.
const COMMON: [&str; 10] = ["node", "mesh", "this", "that", "with", "from", "name", "look", "what", "meth"];

/// Codes whose words are too far from them for this test: they are made in another function.
const FAR: &[&str] = &[
    "M0125", "M0244", "M0247", "M0249", "M0253", "M0301", "M0303", "M0311", "M0328", "M0605", "M0620", "M0622",
    "M0632", "M0647", "M0660", "M0676", "M0677", "M0682", "M0684", "M0685", "M0688", "M0720", "M0723",
];

/// The lines around a code, as far as they are not about another.
fn around(text: &str, at: usize, code: &str) -> String {
    let others = |line: &&str| {
        let codes = line.match_indices('M').filter_map(|(at, _)| line.get(at..at + 5));
        codes.into_iter().all(|word| word == code || !word[1..].bytes().all(|b| b.is_ascii_digit()))
    };
    let lines: Vec<&str> = text.lines().collect();
    let line = text[..at].matches('\n').count();
    let before = lines[..line].iter().rev().take(2).copied().take_while(others);
    let behind = lines[line + 1..].iter().take(4).copied().take_while(others);
    before.chain([lines[line]]).chain(behind).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_list_of_errors_speaks_of_what_the_code_speaks_of() {
    let all = texts();
    let mut wrong = Vec::new();
    for (code, says) in listed().into_iter().filter(|(code, _)| !FAR.contains(&code.as_str())) {
        let wanted = stems(&says);
        let mut near = String::new();
        for (_, text) in all.iter().filter(|(file, _)| !file.ends_with(".md")) {
            for (at, _) in text.match_indices(&code) {
                near.push_str(&around(text, at, &code));
            }
        }
        if wanted.is_disjoint(&stems(&near)) {
            wrong.push(format!("{code}: the list says {says:?}, and the code nothing of it"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
