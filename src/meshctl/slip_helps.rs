//! Helps for slips that clap sees and does not understand: words of other tools for a verb, values that begin with a dash, flags that exist
//! under another name.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Words for a verb that is not suggested because it does harm: who types one of them means it.
const DELETE: [&str; 5] = ["rm", "remove", "del", "destroy", "erase"];

/// What is said to who wants another name for something.
const RENAME: &str =
    "only nodes are renamed: meshctl node rename; anything else is made anew with create and the old one deleted";

/// Flags that other tools have, and what does it here.
const FLAGS: [(&str, &str, &str); 2] =
    [("policy", "--from", "--between A,B (both directions)"), ("policy", "--to", "--between A,B (both directions)")];

/// What helps with a slip.
pub(super) fn all(error: &clap::Error, program: &Command, words: &[String]) -> Vec<String> {
    let word = |kind| {
        let Some(ContextValue::String(word)) = error.get(kind) else { return None };
        Some(word.as_str())
    };
    let typed = |of: ErrorKind, kind| word(kind).filter(|_| error.kind() == of);
    let slip = typed(ErrorKind::InvalidSubcommand, ContextKind::InvalidSubcommand);
    let unknown = typed(ErrorKind::UnknownArgument, ContextKind::InvalidArg);
    let verb = slip.and_then(|typed| verb(typed, program, words));
    let flag = unknown
        .and_then(|typed| flag(typed, words).or_else(|| negative(typed, words)).or_else(|| second(typed, words)));
    let verb = verb.or_else(|| slip.filter(|typed| *typed == "rename").map(|_| RENAME.to_owned()));
    verb.into_iter().chain(flag).collect()
}

/// The verb that is meant by a word of other tools, where the command has it.
fn verb(typed: &str, program: &Command, words: &[String]) -> Option<String> {
    let mut at = program;
    let mut line = vec![program.get_name().to_owned()];
    for word in words.iter().skip(1).take_while(|word| *word != typed) {
        if let Some(next) = at.find_subcommand(word) {
            line.push(next.get_name().to_owned());
            at = next;
        }
    }
    (DELETE.contains(&typed) && at.find_subcommand("delete").is_some())
        .then(|| format!("to delete one: {} delete NAME", line.join(" ")))
}

fn flag(typed: &str, words: &[String]) -> Option<String> {
    let name = typed.split('=').next().unwrap_or(typed);
    let of = |(noun, flag, _): &&(&str, &str, &str)| *flag == name && words.iter().any(|word| word == noun);
    FLAGS.iter().find(of).map(|(_, _, does)| format!("there is no {name} here: {does}"))
}

/// A second name for a verb that takes one.
fn second(typed: &str, words: &[String]) -> Option<String> {
    let deletes = words.iter().any(|word| word == "delete") && !typed.starts_with('-');
    deletes.then(|| format!("delete takes one name at a time: {typed} in a line of its own"))
}

/// A value that begins with a dash is taken for a flag.
fn negative(typed: &str, words: &[String]) -> Option<String> {
    let number = typed.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let at = words.iter().position(|word| number && word.starts_with(typed))?;
    let before = words.get(at.checked_sub(1)?)?;
    before.starts_with("--").then(|| format!("{before} takes no value below zero"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meshctl::globals;

    fn helps(typed: &str) -> Vec<String> {
        let words: Vec<String> = typed.split_whitespace().map(str::to_owned).collect();
        let tree = globals::tree();
        let error = tree.clone().try_get_matches_from(&words).unwrap_err();
        all(&error, &tree, &words)
    }

    #[test]
    fn a_word_of_other_tools_leads_to_the_verb_or_flag_that_does_it_here() {
        for (typed, help) in [
            ("meshctl port rm web", "to delete one: meshctl port delete NAME"),
            ("meshctl network remove blue", "to delete one: meshctl network delete NAME"),
            ("meshctl port rename web db", "only nodes are renamed: meshctl node rename"),
            ("meshctl network rename blue red", "only nodes are renamed"),
            ("meshctl port delete z1 z2", "one name at a time"),
            ("meshctl policy create p --from a --to b", "--between"),
            ("meshctl policy create p --to=b", "--between"),
            ("meshctl token create --pdc a --ttl -1h", "--ttl takes no value below zero"),
            ("meshctl events --since -2h", "--since takes no value below zero"),
        ] {
            assert!(helps(typed).iter().any(|line| line.contains(help)), "{typed}: {:?}", helps(typed));
        }
        for typed in ["meshctl status rm", "meshctl port frobnicate", "meshctl port list --colour", "meshctl rm"] {
            assert_eq!(helps(typed), [""; 0], "{typed}");
        }
    }
}
