//! `meshctl leave`: takes this machine out of the mesh again.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{CONFIG, say, systemctl};
use crate::api::problem::{Exit, Problem};
use crate::config::meshd::{Config, Paths};
use crate::linux::file;
use crate::meshd::{belongings, control};

/// Take this machine out of the mesh: stop meshd, remove its devices, state and keys.
#[derive(Debug, Args)]
pub struct LeaveArgs {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Of the node that leaves. The file itself stays.
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
}

/// Files of others that are named.
const NAMED: usize = 20;

/// Leaves.
///
/// # Errors
/// A [`Problem`]; what was removed before it is gone, and leaving again goes on from there.
pub fn leave(args: &LeaveArgs) -> Result<(), Problem> {
    let config = config(&args.config)?;
    let Paths { keys, state, run, .. } = &config.paths;
    if ![&args.config, keys, state, run].iter().any(|path| path.exists()) {
        // Devices here would be of a node whose configuration is elsewhere.
        let what =
            format!("this machine has not joined: there is neither {} nor {}", args.config.display(), state.display());
        return Err(Problem::new("M0223", Exit::Failed, what)
            .note("nothing was changed")
            .help("if its configuration is elsewhere: meshctl leave --config FILE"));
    }
    if !args.yes {
        ask(&config.paths)?;
    }
    if args.config == Path::new(CONFIG) && sd_notify::booted().unwrap_or(false) {
        systemctl(&["disable", "--now", "meshd.service"])?;
    }
    let steps = crate::meshd::run::cleanup(Some(&args.config))?;
    say(&format!(" devices and packet filter: {} steps", steps.len()));
    // Held until the end, so that no meshd starts with half of what it needs.
    let claim = control::claim(&config.paths.run)?;
    let failed = |e: io::Error| Problem::new("M0601", Exit::Failed, e.to_string()).help("meshctl leave again");
    let left = belongings::remove(&config).map_err(failed)?;
    drop(claim);
    say(&format!(" state and keys: {} files removed", left.removed));
    for path in left.foreign.iter().take(NAMED) {
        say(&format!(" left alone, not of this node: {}", path.display()));
    }
    if left.foreign.len() > NAMED {
        say(&format!(" and {} more", left.foreign.len() - NAMED));
    }
    say(
        "left. To come back: meshctl join with a token for this name ('meshctl node reset NAME' on the management node prints one; ports stay).",
    );
    say("For good, on the management node: meshctl node delete NAME, unless it is deleted already");
    Ok(())
}

/// The node's configuration; without a file, the one that has the default paths.
fn config(path: &Path) -> Result<Config, Problem> {
    let text = if path.exists() {
        file::read(path).map_err(|e| Problem::new("M0601", Exit::Failed, e.to_string()))?
    } else {
        b"management = [\"localhost:7443\"]".to_vec()
    };
    Config::parse(&path.display().to_string(), &String::from_utf8_lossy(&text))
}

fn ask(paths: &Paths) -> Result<(), Problem> {
    let unasked = || {
        Problem::new("M0219", Exit::Usage, "leaving needs a yes")
            .note("nothing was changed")
            .help("meshctl leave --yes")
    };
    if !io::stdin().is_terminal() {
        return Err(unasked());
    }
    say(&format!(
        "This removes the devices of this node, its state in {} and its keys in {}. Guests lose their networks.",
        paths.state.display(),
        paths.keys.display()
    ));
    let _ = write!(io::stderr(), "Leave? [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    if read.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()) {
        Ok(())
    } else {
        Err(unasked())
    }
}
