//! `meshctl leave`: takes this machine out of the mesh again.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hyper::Method;

use super::{CONFIG, beside, say, systemctl};
use crate::api::problem::{Exit, Problem, printable};
use crate::api::stream::Report;
use crate::config::Source;
use crate::config::meshd::{Config, Paths};
use crate::linux::file;
use crate::meshctl::out::{self, Done, Format};
use crate::meshctl::remote::Access;
use crate::meshd::{belongings, control, disk};
use crate::transport::client::Client;
use crate::transport::tls;
use crate::types::NodeId;

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

/// How long the management node is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Files of others that are named.
const NAMED: usize = 20;

/// Leaves.
///
/// # Errors
/// A [`Problem`]; what was removed before it is gone, and leaving again goes on from there.
pub(in crate::meshctl) async fn leave(access: &Access, args: &LeaveArgs) -> Done {
    let config = config(&args.config)?;
    let Paths { keys, state, run, .. } = &config.paths;
    if ![&args.config, keys, state, run].iter().any(|path| path.exists()) {
        // Devices here would be of a node whose configuration is elsewhere.
        let what =
            format!("this machine has not joined: there is neither {} nor {}", args.config.display(), state.display());
        return Err(Problem::new("M0223", Exit::Failed, what)
            .note("nothing was changed")
            .help("if its configuration is elsewhere: meshctl leave --config FILE")
            .into());
    }
    if !args.yes {
        ask(&config.paths)?;
    }
    if args.config == Path::new(CONFIG) && sd_notify::booted().unwrap_or(false) {
        systemctl(&["disable", "--now", "meshd.service"])?;
        if file::remove(Path::new(beside::UNIT)).is_ok() {
            systemctl(&["daemon-reload"])?;
        }
    }
    running(&config).await?;
    // While there still is a key to say it with.
    let errand = Errand::of(&config, &args.config);
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
    let name = errand.as_ref().map_or("NAME", |errand| errand.name.as_str());
    let told = match &errand {
        None => Err("it has no certificate to say it with".to_owned()),
        Some(errand) => errand.run().await,
    };
    let heard = told.is_ok();
    say(&match told {
        Ok(()) => " management: told".to_owned(),
        Err(why) => format!(" management: not told ({})", printable(&why)),
    });
    say(&format!(
        "left. To come back: meshctl join with a token for this name ('meshctl token create --replace {name}' on the management side prints one; ports stay)."
    ));
    say(&format!("For good, on the management side: meshctl node delete {name}, unless it is deleted already"));
    match access.output {
        Format::Table => Ok(()),
        format @ (Format::Json | Format::Yaml) => {
            out::value(format, &serde_json::json!({ "left": true, "files": left.removed, "told": heard }))
        }
    }
}

/// Refuses while a `meshd` runs that no unit of the system has stopped.
async fn running(config: &Config) -> Result<(), Problem> {
    let Err(problem) = control::claim(&config.paths.run) else { return Ok(()) };
    if problem.exit != Exit::Conflict {
        return Err(problem);
    }
    let socket = tokio::net::UnixStream::connect(config.socket()).await.ok();
    let process = socket.and_then(|socket| socket.peer_cred().ok()?.pid());
    let stop = process.map_or_else(|| "stop that meshd".to_owned(), |process| format!("stop it: kill {process}"));
    let what = format!("{}, and systemd has not started it", problem.what);
    let (notes, help) = (vec!["nothing was removed".to_owned()], vec![format!("{stop}; then leave again")]);
    Err(Problem { what, notes, help, ..problem })
}

/// Tells the management node that this machine has left.
struct Errand {
    name: NodeId,
    client: Client,
}

impl Errand {
    /// With what the node has; none: it has not joined, or its keys cannot be used.
    fn of(config: &Config, path: &Path) -> Option<Self> {
        let file = path.display().to_string();
        let identity = disk::identity(config, Source::new(&file, "")).ok()?;
        let tls = tls::client_config(&identity.ca, Some((&identity.certificate, &identity.tls_key))).ok()?;
        Some(Self { name: identity.name, client: Client::https(config.management.clone(), tls) })
    }

    async fn run(&self) -> Result<(), String> {
        let report = Report { leaving: true, ..Report::default() };
        let told = self.client.call::<_, serde_json::Value>(Method::POST, "/v1/report", Some(&report));
        let late = format!("no answer within {} s", PATIENCE.as_secs());
        tokio::time::timeout(PATIENCE, told).await.map_err(|_| late)?.map(|_| ()).map_err(|problem| problem.what)
    }
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
