//! `meshd`: the daemon of a node.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use vxmesh::api::problem::{Exit, Problem};
use vxmesh::meshctl::slips;
use vxmesh::meshd::run;

/// Joins this machine's guests into the networks of the mesh.
#[derive(Parser)]
#[command(name = "meshd", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the daemon until SIGTERM. Devices and packet filter stay when it ends; `cleanup` removes them.
    Run {
        /// What this node knows better than the management node.
        #[arg(long, default_value = "/etc/vxmesh/meshd.toml")]
        config: PathBuf,
    },
    /// Validates a configuration and exits.
    CheckConfig {
        /// The file.
        #[arg(value_name = "FILE", default_value = "/etc/vxmesh/meshd.toml", conflicts_with = "config")]
        file: PathBuf,
        /// The same, as the other verbs have it.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Removes every device and packet filter of ours, and nothing else.
    Cleanup {
        /// Of the daemon that made them.
        #[arg(long, default_value = "/etc/vxmesh/meshd.toml")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return slips::tell_plainly(&error, &Arguments::command()),
    };
    match act(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            slips::refuse(&problem);
            ExitCode::from(problem.exit.code())
        }
    }
}

fn act(command: Command) -> Result<(), Problem> {
    let mut out = std::io::stdout();
    match command {
        Command::Run { config } => run::run(&config),
        Command::CheckConfig { file, config } => {
            let file = config.unwrap_or(file);
            run::check_config(&file)?;
            say(&mut out, &format!("{}: valid", file.display()));
            Ok(())
        }
        Command::Cleanup { config } => {
            let steps = run::cleanup(Some(&config))?;
            for step in &steps {
                say(&mut out, step);
            }
            if steps.is_empty() {
                say(&mut std::io::stderr(), "nothing of ours is here");
            }
            Ok(())
        }
    }
}

/// A closed pipe is quiet.
fn say(out: &mut impl std::io::Write, text: &str) {
    if writeln!(out, "{text}").is_err() {
        std::process::exit(i32::from(Exit::Failed.code()));
    }
}
