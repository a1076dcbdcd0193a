//! Options of all commands: told once, in `meshctl --help`, and refused where a command has no use for them. What is accepted is used.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, CommandFactory as _};

use super::Cli;
use super::remote::Access;
use crate::api::problem::{Exit, Problem};

/// Where the options of all commands are told.
const TOLD: &str = "Global options: meshctl --help";

/// The program, as it is parsed and shown.
pub(super) fn tree() -> Command {
    let whole = Cli::command().color(clap::ColorChoice::Never);
    let hidden: Vec<Arg> =
        whole.get_arguments().filter(|arg| arg.is_global_set()).map(|arg| arg.clone().hide(true)).collect();
    whole.mut_subcommands(|command| below(command, &hidden))
}

fn below(command: Command, hidden: &[Arg]) -> Command {
    let changes = command.get_name() == "set";
    let command = if changes { command.mut_args(without_default) } else { command };
    command.args(hidden).after_help(TOLD).mut_subcommands(|command| below(command, hidden))
}

/// `set` leaves alone what is not given: what `create` takes then is no default here.
fn without_default(arg: Arg) -> Arg {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    match help.split_once(" [default: ") {
        Some((text, rest)) => {
            let rest = rest.split_once(']').map_or("", |(_, rest)| rest);
            arg.help(format!("{text}{rest}"))
        }
        None => arg,
    }
}

/// Options of all commands that the command `path` has no use for, and why.
fn useless(path: &[&str]) -> (&'static [&'static str], &'static str) {
    match path {
        ["join", ..] => {
            (&["credential", "socket", "mesh"], "it asks the management node that the token names, with the token")
        }
        ["leave", ..] => (
            &["management", "credential", "socket", "mesh", "timeout"],
            "it is about this machine, and tells the management node of its meshd.toml",
        ),
        ["lab", "exec", ..] => (
            &["output", "management", "credential", "socket", "mesh", "timeout", "verbose"],
            "it becomes the command behind --",
        ),
        ["lab", ..] => (
            &["management", "credential", "socket", "mesh", "timeout", "verbose"],
            "a lab is on this machine, and asks nobody",
        ),
        ["tunnel", ..] | ["mtu", "probe"] => {
            (&["management", "credential", "mesh"], "it asks the meshd of a node, by its socket")
        }
        ["status" | "explain" | "events" | "table", ..] | ["mtu", ..] => (&[], ""),
        _ => (&["socket"], "it asks a management node"),
    }
}

fn typed(matches: &ArgMatches, option: &str) -> bool {
    matches.value_source(option) == Some(ValueSource::CommandLine)
}

/// The words of the command, and what was parsed of the last of them.
fn last(matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let (mut path, mut at) = (Vec::new(), matches);
    while let Some((word, next)) = at.subcommand() {
        path.push(word);
        at = next;
    }
    (path, at)
}

/// Refuses what was typed and would be ignored.
///
/// # Errors
/// M0136.
pub(super) fn refuse_unused(matches: &ArgMatches) -> Result<(), Problem> {
    let (path, given) = last(matches);
    let command = format!("meshctl {}", path.join(" "));
    let refused = |what: String| {
        let problem = Problem::new("M0136", Exit::Usage, what).note("nothing was changed");
        Err(problem.help(format!("leave it out; what it takes: {command} --help")))
    };
    let (options, why) = useless(&path);
    if let Some(option) = options.iter().find(|option| typed(given, option)) {
        return refused(format!("'{command}' has no use for --{option}: {why}"));
    }
    let other = ["management", "credential", "mesh", "node"]
        .into_iter()
        .find(|option| given.try_get_raw(option).is_ok() && typed(given, "socket") && typed(given, option));
    other.map_or(Ok(()), |option| refused(format!("--socket asks the meshd of a node, --{option} a management node")))
}

/// What was typed beats what the environment says.
pub(super) fn settle(access: &mut Access, matches: &ArgMatches) {
    let (_, given) = last(matches);
    let mesh = ["management", "credential", "mesh"].into_iter().any(|option| typed(given, option));
    if mesh && !typed(given, "socket") {
        access.socket = None;
    }
    if typed(given, "socket") {
        access.management.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> ArgMatches {
        tree().try_get_matches_from(words.split_whitespace()).unwrap_or_else(|e| panic!("{words}: {e}"))
    }

    fn all(command: &Command, found: &mut Vec<Command>) {
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            found.push(command.clone());
            all(command, found);
        }
    }

    #[test]
    fn options_of_all_commands_are_told_once_and_a_set_has_no_defaults() {
        let mut whole = tree();
        whole.build();
        assert!(whole.render_help().to_string().contains("--credential"));
        let mut commands = Vec::new();
        all(&whole, &mut commands);
        assert!(commands.len() > 50, "{}", commands.len());
        for mut command in commands {
            let help = command.render_long_help().to_string();
            for option in ["--credential", "--socket", "--timeout", "--output", "--management"] {
                let own =
                    command.get_arguments().any(|arg| arg.get_long() == Some(&option[2..]) && !arg.is_global_set());
                assert!(own || !help.contains(option), "{}: {help}", command.get_name());
            }
            assert!(help.contains(TOLD), "{}: {help}", command.get_name());
            assert!(command.get_name() != "set" || !help.contains("[default"), "{help}");
        }
    }

    #[test]
    fn what_is_typed_is_used_or_refused_and_what_the_environment_says_is_no_fault() {
        for (words, option) in [
            ("meshctl join --credential c", "credential"),
            ("meshctl --socket s join", "socket"),
            ("meshctl leave --management m", "management"),
            ("meshctl leave --timeout 5s", "timeout"),
            ("meshctl lab up --credential c", "credential"),
            ("meshctl lab exec -o json a-1 -- true", "output"),
            ("meshctl tunnel list --management m", "management"),
            ("meshctl tunnel list --mesh", "mesh"),
            ("meshctl mtu probe a --credential c", "credential"),
            ("meshctl network list --socket s", "socket"),
            ("meshctl -o json apply -f - --socket s", "socket"),
            ("meshctl status --socket s --mesh", "mesh"),
            ("meshctl events --socket s --management m", "management"),
            ("meshctl table show --node a --socket s", "node"),
        ] {
            let problem = refuse_unused(&parsed(words)).unwrap_err();
            assert!(problem.code == "M0136" && problem.what.contains(&format!("--{option}")), "{words}: {problem}");
        }
        for words in [
            "meshctl join --management m --timeout 5s -v -o json",
            "meshctl leave -v -o json",
            "meshctl lab status -o yaml",
            "meshctl tunnel list --socket s",
            "meshctl status --mesh",
            "meshctl status --socket s",
            "meshctl network list --mesh --credential c",
            "meshctl table show --node a",
        ] {
            assert!(refuse_unused(&parsed(words)).is_ok(), "{words}");
        }
    }
}
