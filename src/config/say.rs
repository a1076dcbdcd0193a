//! Turns what a deserializer says into what an operator reads: the thing that is wrong first, then the nearest known word.

use crate::api::problem::{Exit, Problem, clip};

/// Code of a key that is not known.
const UNKNOWN: &str = "M0301";
/// Code of a value of the wrong type or out of its range.
const VALUE: &str = "M0302";
/// Code of a key that is needed and not there.
const MISSING: &str = "M0303";
/// Code of a key that is there twice.
const TWICE: &str = "M0304";
/// Code of a text that is not TOML, YAML or JSON at all.
const SYNTAX: &str = "M0305";

/// The known word that `given` was probably meant to be.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', ' '], "");
    let given = plain(given);
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(&given, &plain(word)), word))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// The problem that a serde message stands for, without its place.
pub(super) fn problem(message: &str) -> Problem {
    let first = clip(message.lines().next().unwrap_or_default());
    unknown(first).or_else(|| wrong_type(first)).or_else(|| missing(first)).unwrap_or_else(|| other(first))
}

/// A key that is not known, with the words that are.
pub(super) fn unknown_word(what: &str, given: &str, known: &[&str]) -> Problem {
    let given = clip(given);
    let problem = Problem::new(UNKNOWN, Exit::Invalid, format!("{what} '{given}' is not known"));
    let problem = match nearest(given, known.iter().copied()) {
        Some(near) => problem.help(format!("did you mean '{near}'?")),
        None => problem,
    };
    if known.is_empty() { problem } else { problem.help(format!("known here: {}", known.join(", "))) }
}

/// A value that is out of its range or does not fit another one.
pub(super) fn value(what: impl Into<String>) -> Problem {
    Problem::new(VALUE, Exit::Invalid, what)
}

/// A text that is none of its form.
pub(super) fn syntax(what: impl Into<String>) -> Problem {
    Problem::new(SYNTAX, Exit::Invalid, what)
}

/// A key that is needed.
pub(super) fn missing_key(key: &str, place: &str) -> Problem {
    Problem::new(MISSING, Exit::Invalid, format!("the key '{key}' is needed in {place}"))
}

fn unknown(message: &str) -> Option<Problem> {
    let (what, rest) = match message.strip_prefix("unknown field `") {
        Some(rest) => ("the key", rest),
        None => ("the word", message.strip_prefix("unknown variant `")?),
    };
    let (given, known) = rest.split_once('`')?;
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    Some(unknown_word(what, given, &known))
}

fn missing(message: &str) -> Option<Problem> {
    if let Some(rest) = message.strip_prefix("missing field `") {
        let key = rest.trim_end_matches('`');
        return Some(Problem::new(MISSING, Exit::Invalid, format!("the key '{key}' is needed here")));
    }
    let twice = message.strip_prefix("duplicate field `").or_else(|| message.strip_prefix("duplicate key `"));
    let key = twice.and_then(|rest| rest.split('`').next()).or_else(|| {
        message.contains("duplicate key").then(|| message.rsplit(['`', '"', '\'']).nth(1).unwrap_or_default())
    })?;
    let what =
        if key.is_empty() { "a key is given twice".to_owned() } else { format!("the key '{key}' is given twice") };
    Some(Problem::new(TWICE, Exit::Invalid, what).help("keep one of the two"))
}

fn wrong_type(message: &str) -> Option<Problem> {
    let rest = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))?;
    let (found, expected) = rest.rsplit_once(", expected ")?;
    let problem = value(format!("{} stands where {} is needed", kind(found), wanted(expected)));
    let quoted = found.strip_prefix("string \"").and_then(|f| f.strip_suffix('"'));
    let number = quoted.is_some_and(|text| text.parse::<i64>().is_ok());
    Some(match wanted(expected).as_str() {
        _ if number && wants_number(expected) => problem.help("write it without quotes"),
        "a list" => problem.help("a single value needs brackets too: [VALUE]"),
        _ => problem,
    })
}

fn wants_number(expected: &str) -> bool {
    expected.contains("number") || matches!(expected, "u64" | "u32" | "u16" | "u8" | "i64" | "usize")
}

fn kind(found: &str) -> String {
    if let Some(text) = found.strip_prefix("string ") {
        return format!("the text {text}");
    }
    if let Some(number) = found.strip_prefix("integer ") {
        return format!("the number {}", number.trim_matches('`'));
    }
    if let Some(number) = found.strip_prefix("floating point ") {
        let number = number.trim_matches('`');
        // YAML 1.1 and 1.2 do not agree on what 010 is, so the parser makes no whole number of it.
        return match number.strip_suffix(".0") {
            Some(whole) => format!("{whole} with a leading 0, a fraction or an exponent"),
            None => format!("the fraction {number}"),
        };
    }
    if let Some(flag) = found.strip_prefix("boolean ") {
        return format!("the flag {}", flag.trim_matches('`'));
    }
    match found {
        "map" | "table" => "a table".to_owned(),
        "sequence" | "array" => "a list".to_owned(),
        "unit value" | "null" => "nothing".to_owned(),
        other => other.to_owned(),
    }
}

fn wanted(expected: &str) -> String {
    match expected {
        "u64" | "u32" | "u16" | "u8" | "usize" => "a whole number, not negative,".to_owned(),
        "i64" | "i32" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "a borrowed string" | "string" => "a text in quotes".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        other => match other.strip_prefix("struct ") {
            Some(_) => "a table of keys".to_owned(),
            None => other.to_owned(),
        },
    }
}

fn other(message: &str) -> Problem {
    let syntax =
        ["TOML", "unclosed", "unquoted", "expected", "invalid", "unexpected", "while parsing", "EOF", "not allowed"];
    let code = if syntax.iter().any(|word| message.contains(word)) { SYNTAX } else { VALUE };
    Problem::new(code, Exit::Invalid, message)
}
