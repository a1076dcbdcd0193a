//! What was typed and is no command: said as every refusal is, in the way that was asked for, and never with a word nearby that would do
//! harm. The other two programs say it the same way.

use std::process::ExitCode;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::globals;
use super::out::{self, Format};
use super::slip_helps;
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
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        drop(error.print());
    } else {
        out::problem(format(&words), &problem(&error, &globals::tree(), &words));
    }
    ExitCode::from(Exit::Usage.code())
}

/// Tells it for a program that prints nothing in other ways.
pub fn tell_plainly(error: &clap::Error, program: &Command) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { Exit::Usage.code() } else { 0 });
    }
    let words: Vec<String> = std::env::args().collect();
    out::problem(Format::Table, &problem(error, program, &words));
    ExitCode::from(Exit::Usage.code())
}

/// Tells a refusal of such a program.
pub fn refuse(problem: &Problem) {
    out::problem(Format::Table, problem);
}

/// The same without suggestions that would do harm.
fn harmless(mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    // Who wants another name for something does not want another thing.
    let renames =
        matches!(error.get(ContextKind::InvalidSubcommand), Some(ContextValue::String(word)) if word == "rename");
    let harmful = |word: &String| DANGEROUS.contains(&word.as_str()) || renames && word == "create";
    let harmless = |word: &String| !harmful(word);
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

/// The same as a refusal: what is wrong, what is near, how it is used, and where all of it is told.
fn problem(error: &clap::Error, program: &Command, words: &[String]) -> Problem {
    let text = error.render().to_string();
    let mut parts = text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let what = parts.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let problem = Problem::new("M0132", Exit::Usage, what).note("nothing was changed");
    let parts = parts.filter(|part| !part.is_empty() && !part.starts_with("For more"));
    let problem = parts.fold(problem, |problem, part| problem.help(part.trim_start_matches("tip: ")));
    let problem = slip_helps::all(error, program, words).into_iter().fold(problem, Problem::help);
    problem.help(format!("{} --help", meant(program, words)))
}

/// The command that was meant, as far as it was typed right.
fn meant(program: &Command, words: &[String]) -> String {
    let (mut line, mut at) = (program.get_name().to_owned(), program);
    for word in words.iter().skip(1) {
        if let Some(next) = at.find_subcommand(word).filter(|next| next.get_name() != "help") {
            line = format!("{line} {}", next.get_name());
            at = next;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slip(words: &str) -> clap::Error {
        globals::tree().try_get_matches_from(words.split_whitespace()).unwrap_err()
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

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_slip_is_told_as_results_were_to_be_printed() {
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
    }

    #[test]
    fn a_slip_is_told_like_every_refusal_and_names_the_help_of_what_was_meant() {
        for (typed, says, help) in [
            ("meshctl network list --colour", "--colour", "meshctl network list --help"),
            ("meshctl network lits", "'lits'", "meshctl network --help"),
            ("meshctl nework list", "'nework'", "meshctl --help"),
            ("meshctl -o json apply", "--file <FILE>", "meshctl apply --help"),
            ("meshctl network create blue --vni 0", "not 0", "meshctl network create --help"),
        ] {
            let problem = problem(&slip(typed), &globals::tree(), &words(typed));
            let text = problem.to_string();
            assert!(problem.code == "M0132" && problem.what.contains(says), "{typed}: {text}");
            assert!(!problem.what.starts_with("error") && !problem.what.contains('\n'), "{typed}: {text}");
            assert_eq!(problem.help.last().map(String::as_str), Some(help), "{typed}: {text}");
        }
    }
}
