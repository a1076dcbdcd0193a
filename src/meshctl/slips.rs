//! What was typed and is no command: said in the way that was asked for, and never with a word nearby that would do harm.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::out::{self, Format};
use crate::api::problem::{Exit, Problem};

/// Verbs that a slip must not lead to.
const DANGEROUS: [&str; 8] = ["delete", "leave", "reset", "release", "rotate-key", "down", "import", "apply"];

/// Tells it. Help goes to stdout, complaints to stderr; a closed pipe is nobody's fault.
pub(super) fn tell(error: clap::Error, words: Vec<String>) -> ExitCode {
    let error = harmless(error);
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    match format(&words) {
        Format::Table => drop(error.print()),
        format @ (Format::Json | Format::Yaml) => out::problem(format, &problem(&error)),
    }
    ExitCode::from(Exit::Usage.code())
}

/// The same without suggestions that would do harm.
fn harmless(mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let harmless = |word: &String| !DANGEROUS.contains(&word.as_str());
    let left = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(words)) => words.iter().filter(|word| harmless(word)).cloned().collect(),
        Some(ContextValue::String(word)) if harmless(word) => vec![word.clone()],
        _ => Vec::new(),
    };
    error.remove(ContextKind::SuggestedSubcommand);
    if !left.is_empty() {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(left));
    }
    error
}

/// How results were to be printed, as far as that can be read.
fn format(words: &[String]) -> Format {
    let given = words.iter().enumerate().find_map(|(at, word)| match word.as_str() {
        "-o" | "--output" => words.get(at + 1).map(String::as_str),
        word => word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")),
    });
    match given {
        Some("json") => Format::Json,
        Some("yaml") => Format::Yaml,
        Some(_) | None => Format::Table,
    }
}

/// The same for programs.
fn problem(error: &clap::Error) -> Problem {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let what = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let problem = Problem::new("M0132", Exit::Usage, what).note("nothing was changed");
    lines.filter(|line| !line.starts_with("For more")).fold(problem, |problem, line| problem.help(line))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::meshctl::Cli;

    fn slip(words: &str) -> clap::Error {
        Cli::command().try_get_matches_from(words.split_whitespace()).unwrap_err()
    }

    #[test]
    fn no_slip_leads_to_a_verb_that_does_harm() {
        for (typed, near) in [
            ("meshctl network dlete", "delete"),
            ("meshctl network delet blue", "delete"),
            ("meshctl node rest", "reset"),
            ("meshctl node realease", "release"),
            ("meshctl laeve", "leave"),
            ("meshctl lab donw", "down"),
            ("meshctl token deleet", "delete"),
            ("meshctl aply", "apply"),
        ] {
            let text = harmless(slip(typed)).render().to_string();
            assert!(!text.contains(&format!("'{near}'")), "{typed}: {text}");
        }
        let text = harmless(slip("meshctl network lits")).render().to_string();
        assert!(text.contains("'list'"), "a harmless one is named: {text}");
    }

    #[test]
    fn a_slip_is_told_as_results_were_to_be_printed() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for (typed, expected) in [
            ("meshctl nework list -o json", Format::Json),
            ("meshctl -ojson nework", Format::Json),
            ("meshctl nework --output=yaml", Format::Yaml),
            ("meshctl --output json nework", Format::Json),
            ("meshctl nework", Format::Table),
            ("meshctl nework -o", Format::Table),
        ] {
            assert_eq!(format(&words(typed)), expected, "{typed}");
        }
        let problem = problem(&slip("meshctl network list --colour"));
        assert!(
            problem.code == "M0132" && problem.what.contains("--colour") && !problem.what.starts_with("error"),
            "{problem}"
        );
    }
}
