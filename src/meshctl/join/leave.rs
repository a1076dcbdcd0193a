//! `meshctl leave`: takes this machine out of the mesh again.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use hyper::Method;

use super::{CONFIG, beside, say, systemctl};
use crate::api::problem::{Exit, Problem, printable};
use crate::api::proof::Challenge;
use crate::api::stream::Report;
use crate::config::Source;
use crate::config::meshd::{Config, Paths};
use crate::linux::file;
use crate::meshctl::out::{self, Done, Format};
use crate::meshctl::remote::Access;
use crate::meshd::keys::NEXT_KEY;
use crate::meshd::prove::Provers;
use crate::meshd::{belongings, control, disk};
use crate::mgmt::certs;
use crate::transport::client::Client;
use crate::transport::tls;
use crate::types::{NodeId, PdcId};

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
/// What management answers whom it has deleted, or given to another machine.
const NO_MEMBER: &str = "M0802";
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
    let steps = crate::meshd::run::cleanup(Some(&args.config)).map_err(of_leave)?;
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
    let told = match &errand {
        None => Told::Not("it has no certificate to say it with".to_owned()),
        Some(errand) => errand.run().await,
    };
    let heard = matches!(told, Told::Heard);
    let place = errand.as_ref().map(|errand| (&errand.name, &errand.pdc));
    told.lines(place).iter().for_each(|line| say(line));
    match access.output {
        Format::Table => Ok(()),
        format @ (Format::Json | Format::Yaml) => {
            out::value(format, &serde_json::json!({ "left": true, "files": left.removed, "told": heard }))
        }
    }
}

/// The same with the command that was typed.
fn of_leave(mut problem: Problem) -> Problem {
    problem.help.iter_mut().for_each(|help| *help = help.replace("meshd cleanup", "meshctl leave"));
    problem
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
    pdc: PdcId,
    client: Client,
    /// SHA-256 of its TLS key, and the WireGuard keys that say it.
    tls_key: String,
    provers: Provers,
}

impl Errand {
    /// With what the node has; none: it has not joined, or its keys cannot be used.
    fn of(config: &Config, path: &Path) -> Option<Self> {
        let file = path.display().to_string();
        let identity = disk::identity(config, Source::new(&file, "")).ok()?;
        let tls = tls::client_config(&identity.ca, Some((&identity.certificate, &identity.tls_key))).ok()?;
        let tls_key = certs::identity_of_pem(&identity.certificate).ok()?.key;
        let provers = Provers::default();
        let keys = [disk::secret(config).ok(), disk::next_secret(config, NEXT_KEY).ok().flatten()];
        provers.set(keys.iter().flatten());
        let client = Client::https(config.management.clone(), tls);
        Some(Self { name: identity.name, pdc: identity.pdc, client, tls_key, provers })
    }

    async fn run(&self) -> Told {
        match tokio::time::timeout(PATIENCE, self.tell()).await {
            Err(_) => Told::Not(format!("no answer within {} s", PATIENCE.as_secs())),
            Ok(Ok(_)) => Told::Heard,
            Ok(Err(problem)) if problem.code == NO_MEMBER => Told::Gone,
            Ok(Err(problem)) => Told::Not(problem.what),
        }
    }

    async fn tell(&self) -> Result<(), Problem> {
        let challenge: Challenge = self.client.call::<(), _>(Method::GET, "/v1/challenge", None).await?;
        let mut report = Report { leaving: true, ..Report::default() };
        report.proofs = self.provers.of(&report, &self.name, &self.tls_key, &challenge);
        self.client.call::<_, serde_json::Value>(Method::POST, "/v1/report", Some(&report)).await.map(drop)
    }
}

/// What management said to it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// It knows now.
    Heard,
    /// It has no such member any more.
    Gone,
    /// It does not know, for this reason.
    Not(String),
}

impl Told {
    /// What is said of it, and how the machine comes back. `place` is what it was, where that is known.
    fn lines(&self, place: Option<(&NodeId, &PdcId)>) -> Vec<String> {
        let name = place.map_or("NAME", |(name, _)| name.as_str());
        let pdc = place.map_or("PDC", |(_, pdc)| pdc.as_str());
        let anew = format!("'meshctl token create --pdc {pdc} --name {name}' on the management side prints one");
        let again = format!("'meshctl token create --replace {name}' on the management side prints one; ports stay");
        let back = "left. To come back: meshctl join with a token for this name";
        let end = format!("For good, on the management side: meshctl node delete {name}");
        match self {
            Self::Heard => vec![" management: told".to_owned(), format!("{back} ({again})."), end],
            Self::Gone => vec![
                format!(" management: it has no member {name} with this machine's key any more"),
                format!("{back} ({anew}; ports that were deleted with the node are made anew)."),
            ],
            Self::Not(why) => vec![
                format!(" management: not told ({})", printable(why)),
                format!("{back} ({again}; where the node is deleted there: {anew})."),
                format!("{end}, unless it is deleted already"),
            ],
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_one_that_works() {
        let (name, pdc): (NodeId, PdcId) = ("fra-1".parse().unwrap(), "fra".parse().unwrap());
        let said = |told: Told| told.lines(Some((&name, &pdc))).join("\n");
        let (replace, anew) = ("token create --replace fra-1'", "token create --pdc fra --name fra-1'");
        for (told, replaces, is_anew, deletes) in [
            (Told::Heard, true, false, true),
            (Told::Gone, false, true, false),
            (Told::Not("no answer within 3 s".to_owned()), true, true, true),
        ] {
            let said = said(told.clone());
            assert_eq!((said.contains(replace), said.contains(anew)), (replaces, is_anew), "{told:?}: {said}");
            assert_eq!(said.contains("meshctl node delete fra-1"), deletes, "{told:?}: {said}");
        }
    }
}
