//! `meshctl lab`: a whole mesh on this machine.

use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use super::out::{self, Done, Format, Lines, Stop};
use super::status::{AGAIN, CLEAR};
use crate::api::problem::{Exit, Problem};
use crate::lab::layout::Shape;
use crate::lab::progress::Progress;
use crate::lab::state::Home;
use crate::lab::transfer::{self, Amount};
use crate::lab::{LabError, daemons, demo, down, ping, process, shell, status, up, watch};

/// A whole mesh in network namespaces on this machine: management, nodes, wires, guests.
#[derive(Debug, Parser)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a lab and leave it running.
    Up(UpArgs),
    /// Every lab that is up on this machine.
    #[command(visible_alias = "ls")]
    List,
    /// Show what a lab consists of, again every two seconds, until it is interrupted.
    Watch {
        #[command(flatten)]
        lab: NameArgs,
    },
    /// Show what a lab consists of.
    Status {
        #[command(flatten)]
        lab: NameArgs,
    },
    /// Run a command in a namespace of a lab.
    Exec {
        #[command(flatten)]
        lab: NameArgs,
        /// The namespace, with or without the lab's name in front: lab-a-1 or a-1.
        namespace: String,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Remove a lab, also after a crash. Nothing to remove is fine.
    Down {
        #[command(flatten)]
        lab: NameArgs,
    },
    /// Make a lab, use it, listen on every wire, and remove it again.
    Demo {
        #[command(flatten)]
        shape: ShapeArgs,
        /// Leave the lab up.
        #[arg(long)]
        keep: bool,
    },
    /// Become a daemon of a lab.
    #[command(hide = true)]
    Launch {
        #[arg(long)]
        record: PathBuf,
        #[arg(last = true, required = true)]
        words: Vec<String>,
    },
    /// Listen on a wire.
    #[command(hide = true)]
    Listen {
        #[arg(long)]
        device: String,
    },
    /// Ping, and wait for every answer.
    #[command(hide = true)]
    Ping(ping::Plan),
    /// Receive one transfer.
    #[command(hide = true)]
    Receive {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Send one transfer.
    #[command(hide = true)]
    Send {
        #[arg(long)]
        to: SocketAddr,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[arg(long, conflicts_with = "millis", required_unless_present = "millis")]
        bytes: Option<u64>,
        #[arg(long)]
        millis: Option<u64>,
    },
}

#[derive(Debug, clap::Args)]
struct NameArgs {
    /// Name of the lab, the prefix of its namespaces.
    #[arg(long, default_value = "lab")]
    name: String,
}

#[derive(Debug, clap::Args)]
struct UpArgs {
    #[command(flatten)]
    shape: ShapeArgs,
    /// Only namespaces, wires and guests: no daemons.
    #[arg(long)]
    wires_only: bool,
}

#[derive(Debug, clap::Args)]
struct ShapeArgs {
    /// Name of the lab, the prefix of its namespaces [default: lab].
    #[arg(long)]
    name: Option<String>,
    /// How many PDCs: a, b, ...
    #[arg(long, default_value_t = 2)]
    pdcs: u8,
    /// How many nodes in each PDC.
    #[arg(long, default_value_t = 2)]
    nodes: u8,
    /// How many guests on each node.
    #[arg(long, default_value_t = 1)]
    guests: u8,
    /// MTU of the nodes' interfaces.
    #[arg(long, default_value_t = 1500)]
    mtu: u16,
    /// How many lanes each node runs [default: as many as "auto" means here].
    #[arg(long)]
    lanes: Option<u8>,
    /// Take the shape from a file instead.
    #[arg(long, conflicts_with_all = ["pdcs", "nodes", "guests", "mtu", "lanes"])]
    file: Option<PathBuf>,
}

impl ShapeArgs {
    fn shape(&self) -> Result<Shape, Problem> {
        let Some(file) = &self.file else {
            let name = self.name.clone().unwrap_or_else(|| "lab".to_owned());
            let mut shape = Shape::uniform(name, self.mtu, self.pdcs, self.nodes, self.guests)?;
            shape.pdcs.iter_mut().for_each(|pdc| pdc.lanes = self.lanes);
            return Ok(shape);
        };
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file).map_err(LabError::io(format!("cannot read {name}")))?;
        let mut shape: Shape = crate::config::from_toml(crate::config::Source::new(&name, &text))?;
        if let Some(name) = &self.name {
            shape.name.clone_from(name);
        }
        Ok(shape)
    }
}

/// Runs one of the verbs.
///
/// # Errors
/// What went wrong, complete.
pub(super) fn run(args: Args, format: Format) -> Done {
    match args.verb {
        Verb::Up(args) => bring_up(&args, format),
        Verb::List => list(format),
        Verb::Watch { lab } => again(&lab.name, format),
        Verb::Status { lab } => show(&lab.name, format),
        Verb::Exec { lab, namespace, command } => Err(exec(&lab.name, &namespace, &command).into()),
        Verb::Down { lab } => take_down(&lab.name, format),
        Verb::Demo { shape, keep } => demonstrate(&shape, keep, format),
        Verb::Launch { record, words } => Ok(process::launch(&record, &words).map_err(Problem::from)?),
        Verb::Listen { device } => Ok(watch::watch(&device).map_err(Problem::from)?),
        Verb::Ping(plan) => raw(&ping::ping(&plan).map_err(Problem::from)?),
        Verb::Receive { listen } => raw(&transfer::receive(listen, &mut io::stdout()).map_err(Problem::from)?),
        Verb::Send { to, seed, bytes, millis } => {
            let amount = match (bytes, millis) {
                (Some(bytes), _) => Amount::Bytes(bytes),
                (None, millis) => Amount::Time(Duration::from_millis(millis.unwrap_or(0))),
            };
            raw(&transfer::send(to, seed, amount).map_err(Problem::from)?)
        }
    }
}

fn bring_up(args: &UpArgs, format: Format) -> Done {
    if args.wires_only && args.shape.lanes.is_some() {
        return Err(ignored("--lanes", "--wires-only runs no daemons").into());
    }
    let shape = args.shape.shape()?;
    let progress = Progress::new(false);
    let home = Home::of(&shape.name);
    interruptible(&progress, || up::up(&shape, args.wires_only, &progress))?;
    progress.say(format!("lab '{}' is up", shape.name));
    progress.say(format!("look at it: {}    take it down: {}", home.hint("status"), home.hint("down")));
    if format == Format::Table { Ok(()) } else { show(&shape.name, format) }
}

fn ignored(flag: &str, why: &str) -> Problem {
    let what = format!("{flag} would be ignored: {why}");
    Problem::new("M0655", Exit::Usage, what).note("nothing was changed").help("leave one of the two out")
}

fn demonstrate(shape: &ShapeArgs, keep: bool, format: Format) -> Done {
    let shape = shape.shape()?;
    let progress = Progress::new(false);
    let outcome = interruptible(&progress, || demo::demo(&shape, keep, &progress))?;
    if format == Format::Table {
        out::text(&outcome.text)?;
    } else {
        out::value(format, &serde_json::json!({ "report": outcome.text, "failures": outcome.failures }))?;
    }
    if outcome.failures.is_empty() {
        return if format == Format::Table { out::text("\neverything holds\n") } else { Ok(()) };
    }
    if format != Format::Table {
        return Err(Stop::Differs);
    }
    let what = format!("the demo does not hold in {} points", outcome.failures.len());
    Err(outcome.failures.into_iter().fold(Problem::new("M0661", Exit::Failed, what), Problem::note).into())
}

fn list(format: Format) -> Done {
    Home::may_see().map_err(Problem::from)?;
    let labs: Vec<_> = Home::all().into_iter().filter_map(|home| status::status(&home).ok()).collect();
    let mut lines = Lines::new(&["NAME", "STATE", "NODES", "WIRES"]);
    for lab in &labs {
        let state = if lab.ready { "up" } else { "not whole" };
        lines.add([lab.name.clone(), state.to_owned(), lab.nodes.len().to_string(), lab.wires.len().to_string()]);
    }
    out::list(format, "lab", &labs, &lines)
}

fn show(name: &str, format: Format) -> Done {
    let status = status::status(&Home::of(name)).map_err(Problem::from)?;
    match format {
        Format::Json | Format::Yaml => out::value(format, &status),
        Format::Table => out::text(&status.table()),
    }
}

/// As `meshctl status --watch` does.
fn again(name: &str, format: Format) -> Done {
    loop {
        if io::stdout().is_terminal() {
            out::text(CLEAR)?;
        }
        show(name, format)?;
        std::thread::sleep(AGAIN);
    }
}

fn take_down(name: &str, format: Format) -> Done {
    let progress = Progress::new(false);
    let removed = down::down(&Home::of(name), &progress).map_err(Problem::from)?;
    progress.say(format!("lab '{name}': {} daemons and {} namespaces removed", removed.processes, removed.namespaces));
    match format {
        Format::Table => Ok(()),
        format @ (Format::Json | Format::Yaml) => {
            out::value(format, &serde_json::json!({ "daemons": removed.processes, "namespaces": removed.namespaces }))
        }
    }
}

/// Becomes the command; comes back only if it cannot.
fn exec(name: &str, namespace: &str, words: &[String]) -> Problem {
    use std::os::unix::process::CommandExt as _;
    let home = Home::of(name);
    let state = match home.need() {
        Ok(state) => state,
        Err(error) => return error.into(),
    };
    let full = [namespace.to_owned(), format!("{name}-{namespace}")];
    let known = state.layout.namespaces();
    let Some(full) = full.iter().find(|full| known.contains(&full.as_str())) else {
        let what = format!("lab '{name}' has no namespace '{namespace}'");
        return Problem::new("M0660", Exit::NotFound, what).help(format!("one of: {}", known.join(" ")));
    };
    let mut command = std::process::Command::new("ip");
    command.args(["netns", "exec", full]).args(words);
    if let Some(node) = state.layout.node(full) {
        command.env("VXMESH_SOCKET", home.socket(&node.name));
    }
    if *full == state.layout.management {
        command.env("VXMESH_MANAGEMENT", daemons::management_address()).env("VXMESH_CREDENTIAL", home.credential());
    }
    if let Ok(program) = shell::program("meshctl") {
        let mut path = program.parent().map(|folder| folder.as_os_str().to_owned()).unwrap_or_default();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path);
    }
    LabError::io(format!("cannot run `{}`", words.join(" ")))(command.exec()).into()
}

/// Runs `work`; the first Ctrl-C asks it to stop and clean up, a second one is not listened to.
fn interruptible<T>(progress: &Progress, work: impl FnOnce() -> Result<T, LabError>) -> Result<T, Problem> {
    let stop = progress.stop_flag();
    let listener = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
            let Ok(mut terminate) = terminate else { return };
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            std::future::pending::<()>().await;
        });
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(listener)
        .map_err(|e| Problem::from(LabError::io("cannot listen for signals")(e)))?;
    Ok(work()?)
}

/// One line of JSON or more for the lab's own processes.
fn raw<T: serde::Serialize>(value: &T) -> Done {
    let text =
        serde_json::to_string_pretty(value).map_err(|e| Problem::from(LabError::io("cannot print")(e.into())))?;
    out::text(&format!("{text}\n"))
}
