//! `meshctl leave`: takes this machine out of the mesh again.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{CONFIG, say, systemctl};
use crate::api::problem::{Exit, Problem};
use crate::config::meshd::{Config, Paths};
use crate::linux::file;
use crate::meshd::{disk, run};
use crate::node::enroll::{CA, CERTIFICATE, SLICE, TLS_KEY, WIREGUARD_KEY};

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

/// Leaves.
///
/// # Errors
/// A [`Problem`]; what was removed before it is gone, and leaving again goes on from there.
pub fn leave(args: &LeaveArgs) -> Result<(), Problem> {
    let paths = paths(&args.config)?;
    if !args.yes {
        ask(&paths)?;
    }
    if args.config == Path::new(CONFIG) && sd_notify::booted().unwrap_or(false) {
        systemctl(&["disable", "--now", "meshd.service"])?;
    }
    let steps = run::cleanup(Some(&args.config))?;
    say(&format!(" devices and packet filter: {} steps", steps.len()));
    let failed = |e: io::Error| Problem::new("M0601", Exit::Failed, e.to_string()).help("meshctl leave again");
    for (_, path) in disk::list_tables(&paths.state.join("table")).map_err(failed)? {
        file::remove(&path).map_err(failed)?;
    }
    for name in [SLICE, disk::BAD_SLICE] {
        file::remove(&paths.state.join(name)).map_err(failed)?;
    }
    // The certificate first: without it the machine has not joined, whatever else is left.
    for name in [CERTIFICATE, CA, TLS_KEY, WIREGUARD_KEY] {
        file::remove(&paths.keys.join(name)).map_err(failed)?;
    }
    say(" state and keys: removed");
    say("left. The management node still knows this node; there: meshctl node delete NAME");
    Ok(())
}

fn paths(config: &Path) -> Result<Paths, Problem> {
    if !config.exists() {
        return Ok(Paths::default());
    }
    let text = file::read(config).map_err(|e| Problem::new("M0601", Exit::Failed, e.to_string()))?;
    Ok(Config::parse(&config.display().to_string(), &String::from_utf8_lossy(&text))?.paths)
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
