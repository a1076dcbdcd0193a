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
