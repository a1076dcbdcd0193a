//! `meshd`: the daemon of a node.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vxmesh::api::problem::{Exit, Problem};
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
        file: PathBuf,
    },
    /// Removes every device and packet filter of ours, and nothing else.
    Cleanup {
        /// Of the daemon that made them.
        #[arg(long, default_value = "/etc/vxmesh/meshd.toml")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    match act(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            say(&mut std::io::stderr(), &problem.to_string());
            ExitCode::from(problem.exit.code())
        }
    }
}

fn act(command: Command) -> Result<(), Problem> {
    let mut out = std::io::stdout();
    match command {
        Command::Run { config } => run::run(&config),
        Command::CheckConfig { file } => {
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
