//! Ring 4: shell of the management server. It owns the sockets, the store's file and the keys; what happens is decided in
//! [`crate::mgmt`].

mod admin;
mod answers;
mod app;
mod backup;
mod claims;
mod core;
mod http;
mod hub;
mod identity;
mod keys;
mod loose;
mod members;
mod news;
mod owner;
mod paths;
mod presence;
mod room;
mod serve;
mod stream;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::loose::Loose;
use crate::api::problem::{Exit, Problem};
use crate::config::meshmgr::Config;
use crate::linux::again::Start;
use crate::linux::confine::{self, Reach};
use crate::linux::file;
use crate::linux::journal::Journal;
use crate::linux::sys;

/// The management server of a vxmesh installation.
#[derive(Debug, Parser)]
#[command(name = "meshmgr", version, about, propagate_version = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the keys and the store of a new installation; never touches an existing one.
    Init {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "/etc/vxmesh/meshmgr.toml")]
        config: PathBuf,
    },
    /// Serve until SIGTERM.
    Run {
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "/etc/vxmesh/meshmgr.toml")]
        config: PathBuf,
    },
    /// Write all that the store holds, but no key, into a file; the server may run meanwhile.
    Backup {
        /// The file; it is written over. - is stdout.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "/etc/vxmesh/meshmgr.toml")]
        config: PathBuf,
    },
    /// Put a backup in the place of what the store holds, so that every node takes it for newer; the server must be stopped.
    Restore {
        /// The file. - is stdin.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// What the file is called that comes by stdin.
        #[arg(long, value_name = "FILE", hide = true)]
        named: Option<PathBuf>,
        /// The configuration.
        #[arg(long, value_name = "FILE", default_value = "/etc/vxmesh/meshmgr.toml")]
        config: PathBuf,
    },
    /// Read a configuration, say what is wrong with it, and exit.
    CheckConfig {
        /// The configuration.
        #[arg(value_name = "FILE", default_value = "/etc/vxmesh/meshmgr.toml", conflicts_with = "config")]
        file: PathBuf,
        /// The same, as the other verbs have it.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Does what the arguments say. Results go to stdout, everything else to stderr.
pub fn main(arguments: Arguments) -> ExitCode {
    // What cannot be written is told, as with a full disk.
    sys::outlive_file_limits();
    let done = match arguments.command {
        Command::Init { config } => init(&config).map(|()| ExitCode::SUCCESS),
        Command::Run { config } => run(&config).map(|()| ExitCode::SUCCESS),
        Command::Backup { file, config } => save(&config, &file),
        Command::Restore { file, named, config } => restore(&config, &file, named.as_deref()),
        Command::CheckConfig { file, config } => check(&config.unwrap_or(file)),
    };
    match done {
        Ok(code) => code,
        Err(problem) => {
            crate::meshctl::slips::refuse(&problem);
            ExitCode::from(problem.exit.code())
        }
    }
}

fn check(path: &Path) -> Result<ExitCode, Problem> {
    let config = read(path)?;
    say(&format!("{}: valid\n", path.display()))?;
    if let Some(note) = of_init(&config) {
        say(&format!("note: {note}\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn save(path: &Path, into: &Path) -> Result<ExitCode, Problem> {
    let config = read(path)?;
    let told = match owner::other(&config.paths.keys) {
        None => backup::make(&config, into)?,
        Some(owner) => match owner.backup(path)? {
            Ok(text) => backup::save(&config, &text, into)?,
            Err(code) => return Ok(code),
        },
    };
    say(&told)?;
    Ok(ExitCode::SUCCESS)
}

fn restore(path: &Path, from: &Path, named: Option<&Path>) -> Result<ExitCode, Problem> {
    let config = read(path)?;
    if let Some(owner) = owner::other(&config.paths.keys) {
        return owner.restore(path, from);
    }
    say(&backup::restore(&config, from, named.unwrap_or(from))?)?;
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) -> Result<(), Problem> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Problem::new("M0110", Exit::Failed, format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Config, Problem> {
    let bytes = file::read(path).map_err(|error| {
        let problem = Problem::new("M0606", Exit::NotFound, error.to_string());
        problem
            .help("the least that it needs: addresses = [\"mgmt.example.net:7443\"]")
            .help("or name another: --config FILE")
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Problem::new("M0305", Exit::Invalid, format!("{} is not UTF-8 text", path.display())))?;
    Config::parse(&path.display().to_string(), &text)
}

fn init(path: &Path) -> Result<(), Problem> {
    let config = read(path)?;
    // Keys are made here: none goes into a core dump.
    let _ = sys::no_core_dumps();
    keys::refuse_existing(&config.paths.keys)?;
    serve::begin(&serve::open_store(&config.paths.state)?, &config.paths.state)?;
    // The keys come last: with them the installation is there, and until then `init` can be run again.
    keys::make(&config.paths.keys, &config.addresses, serve::lives(&config), crate::clock::wall())?;
    let (keys, state) = (config.paths.keys.display(), config.paths.state.display());
    say(&format!(
        "keys    {keys}\nadmin   {keys}/admin   (copy this folder to where meshctl runs, mode 0700)\nstore   {state}\n\
         next:   meshmgr run --config {}\nthen:   meshctl --credential {keys}/admin status\n",
        path.display(),
    ))
}

fn run(path: &Path) -> Result<(), Problem> {
    let start = Start::begin();
    owner::name_oneself();
    let config = read(path)?;
    if let Some(owner) = owner::other(&config.paths.keys) {
        return Err(owner.serve(path));
    }
    log(&config);
    if let Some(note) = of_init(&config) {
        tracing::info!("{note}");
    }
    let loose = hold_back(&config);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Problem::new("M0113", Exit::Failed, format!("cannot start: {e}")))?;
    let outcome = runtime.block_on(serve::run(config, loose));
    if outcome.is_ok() {
        start.ended_well();
    }
    outcome
}

/// What the configuration says and only `init` hears: where it has been, nothing follows from that any more.
fn of_init(config: &Config) -> Option<String> {
    let usual = config.certificates.admin == crate::config::meshmgr::ADMIN;
    (!usual && config.paths.keys.join(keys::CA_CERTIFICATE).exists()).then(|| {
        "[certificates] admin counted when 'meshmgr init' made the administrator's credential; it changes none that is there"
            .to_owned()
    })
}

/// Gives up what the server does not need: core dumps, calls that nobody needs, and all files but its own. A kernel that cannot
/// hold it back costs a line of defence, no more; what is left open is returned.
fn hold_back(config: &Config) -> Loose {
    let loose = Loose::default();
    if let Err(error) = confine::begin() {
        loose.say(format!("memory may be dumped, rights may be gained: {error}"));
    }
    let folders: [&Path; 2] = [&config.paths.keys, &config.paths.state];
    // One that is missing is told, or made, right after this.
    if !folders.iter().all(|folder| folder.is_dir()) {
        return loose;
    }
    match confine::reach(Reach::Folders(&folders)) {
        Ok(true) => {}
        Ok(false) => tracing::info!("this kernel has no Landlock: the server may open all files of its user"),
        Err(error) => loose.say(format!("it may open all files of its user: {error}")),
    }
    loose
}

fn log(config: &Config) {
    let level = tracing_subscriber::EnvFilter::builder().parse_lossy(config.log.word());
    let logger = tracing_subscriber::fmt().with_env_filter(level).with_writer(Journal).with_ansi(false);
    if logger.try_init().is_err() {
        tracing::debug!("a logger is there already");
    }
}

#[cfg(test)]
pub(crate) mod tests;
