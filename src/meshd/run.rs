//! The daemon from its first line to its last: what is read, claimed and started, in which order, and how it ends.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::alive;
use super::control;
use super::disk::{self, Identity};
use super::engine::{Command, Engine};
use super::events::Tone;
use super::files::{self, Tables};
use super::gone;
use super::kernel::Kernel;
use super::keys::Keyring;
use super::lanes::Lanes;
use super::link::Link;
use super::log::{self, Log};
use super::offload;
use super::shared::{Shared, Topic};
use crate::api::local::{Finding, Management};
use crate::api::problem::{Exit, Problem};
use crate::clock::{mono, random, wall};
use crate::config::Source;
use crate::config::meshd::{Config, Table};
use crate::linux::again::Start;
use crate::linux::checksums::{self, Checks, Program};
use crate::linux::confine::{self, Duty};
use crate::linux::spare::Spare;
use crate::linux::{self, Notice, Watch, caps, file};
use crate::node::enroll::{SLICE, WIREGUARD_KEY};
use crate::node::reconcile;
use crate::node::sync::Sync;
use crate::node::unwatched::Eye;
use crate::table::Slice;
use crate::tunnel;
use crate::types::{NodeId, PdcId, SecretKey};

/// How often the kernel's watch looks whether the engine still lives.
const WATCH: Duration = Duration::from_secs(1);
/// Least time between two repairs of the packet filter, should another program fight for it.
const KEEP: Duration = Duration::from_millis(100);

/// How long systemd is kept waiting for the plan on disk. What comes after this machine's daemon, its guests, is not held for ever.
const STANDS: Duration = Duration::from_secs(60);

/// How long the engine may take to end what it is at; systemd kills after ten seconds (`examples/systemd/meshd.service`).
const ENDS: Duration = Duration::from_secs(8);
/// Something that the daemon cannot do without has failed.
const FAILED: &str = "M0638";

/// The folder of the state: what is in it tells others nothing that `meshctl` does not, and files with secrets have modes of their own.
const STATE_MODE: u32 = 0o755;

/// A configuration and where it came from.
#[derive(Debug)]
struct Loaded {
    path: PathBuf,
    text: String,
    config: Config,
}

/// What a start found and claimed, before anything is changed.
struct Ready {
    loaded: Loaded,
    identity: Option<Identity>,
    secret: SecretKey,
    claim: control::Claim,
    checks: Checks,
    spare: Spare,
}

/// `meshd check-config FILE`.
///
/// # Errors
/// M03xx with the place; M0305 where it is no text; M0601 where the file cannot be read.
pub fn check_config(path: &Path) -> Result<(), Problem> {
    load(path).map(drop)
}

/// `meshd cleanup`: removes devices and packet filter that are ours, and nothing else. Returns the steps.
///
/// # Errors
/// M062x: the kernel refuses. M0610: a `meshd` runs, which would make them again.
pub fn cleanup(path: Option<&Path>) -> Result<Vec<String>, Problem> {
    let config = path.filter(|path| path.exists()).map(load).transpose()?;
    let run = config.map_or_else(|| crate::config::meshd::Paths::default().run, |loaded| loaded.config.paths.run);
    let _claim = control::claim(&run)?;
    let checks = Checks::end(checksums::remember(&run, None).0);
    let mut kernel = linux::Kernel::new().map_err(|e| Problem::from(&e))?.with_checks(checks);
    let observed = kernel.observe().map_err(|e| Problem::from(&e))?;
    if let Some(tap) = reconcile::held(&observed) {
        // One of other folders than these: it would make everything again.
        return Err(control::runs(format!("a meshd that uses other folders runs on this host: it holds {tap}"))
            .help("systemctl stop meshd, or end it; for the folders of its own: meshd cleanup --config FILE"));
    }
    let ops = reconcile::cleanup(&observed);
    kernel.apply(&ops).map_err(|e| Problem::from(&e))?;
    Ok(ops.iter().map(ToString::to_string).collect())
}

/// `meshd run --config FILE`: until SIGTERM or SIGINT.
///
/// # Errors
/// A [`Problem`] where the daemon cannot start; nothing was changed then.
pub fn run(path: &Path) -> Result<(), Problem> {
    let start = Start::begin();
    // What cannot be written is told, as with a full disk.
    linux::sys::outlive_file_limits();
    let loaded = load(path)?;
    let log = log::start(loaded.config.log);
    let outcome = serve(loaded, log);
    if outcome.is_ok() {
        start.ended_well();
    }
    outcome
}

fn serve(loaded: Loaded, log: Log) -> Result<(), Problem> {
    let spare = Spare::new();
    // Before the rights for it are gone: what guests send is checked by a program in the kernel.
    let program = Program::load();
    // A kernel that cannot hold us back costs a line of defence, not a frame.
    let begun = confine::begin().map_err(|error| format!("memory may be dumped, rights may be gained: {error}"));
    let ready = prepare(loaded, program, spare)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Problem::new("M0113", Exit::Failed, format!("no event loop: {e}")))?;
    let outcome = runtime.block_on(start(ready, log, begun));
    // What is still looking at a lane is not waited for.
    runtime.shutdown_background();
    outcome
}

/// Whether a start would take this configuration.
///
/// # Errors
/// As at the start.
pub(super) fn readable(path: &Path) -> Result<(), Problem> {
    load(path).map(drop)
}

/// This machine may well have joined: who asks is not root.
fn closed(error: &std::io::Error, path: &Path) -> Problem {
    Problem::new("M0601", Exit::Denied, error.to_string())
        .note("nothing was changed")
        .help(format!("only root may read it: sudo meshd run --config {}", path.display()))
}

fn load(path: &Path) -> Result<Loaded, Problem> {
    let failed = |why: String| {
        Problem::new("M0601", Exit::Failed, why)
            .note("nothing was changed")
            .help("run: meshctl join; or give --config FILE")
    };
    let bytes = file::read(path).map_err(|e| {
        let denied = e.kind() == std::io::ErrorKind::PermissionDenied;
        if denied { closed(&e, path) } else { failed(e.to_string()) }
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|e| Problem::new("M0305", Exit::Invalid, format!("{} is not UTF-8 text: {e}", path.display())))?;
    let config = Config::parse(&path.display().to_string(), &text)?;
    Ok(Loaded { path: path.to_owned(), text, config })
}

fn prepare(loaded: Loaded, program: Result<Program, String>, spare: Spare) -> Result<Ready, Problem> {
    let config = &loaded.config;
    let failed = |e: std::io::Error| Problem::new("M0601", Exit::Failed, e.to_string()).note("nothing was changed");
    caps::check().map_err(|e| Problem::from(&e))?;
    caps::drop_others().map_err(failed)?;
    linux::Kernel::new().and_then(|mut kernel| kernel.observe()).map_err(|e| Problem::from(&e))?;
    let claim = control::claim(&config.paths.run)?;
    let checks = prepare_checks(&config.paths.run, program);
    strict(&loaded).map_err(failed)?;
    for folder in [&config.paths.state, &config.paths.keys] {
        file::clean(folder).map_err(failed)?;
    }
    let name = loaded.path.display().to_string();
    let identity = match config.table {
        Table::Management => Some(disk::identity(config, Source::new(&name, &loaded.text))?),
        Table::Files(_) => None,
    };
    let secret = match config.table {
        Table::Management => disk::secret(config)?,
        Table::Files(_) => own_secret(config).map_err(failed)?,
    };
    // A machine that has not joined gets no folder: it may become something else.
    file::ensure_dir(&config.paths.state, STATE_MODE).map_err(failed)?;
    Ok(Ready { loaded, identity, secret, claim, checks, spare })
}

/// The program, and those that earlier daemons have left at interfaces.
fn prepare_checks(run: &Path, program: Result<Program, String>) -> Checks {
    let (left, kept) = checksums::remember(run, program.as_ref().ok().map(Program::number));
    if let Err(error) = kept {
        tracing::warn!("the next meshd will not know this one's program at interfaces: {error}");
    }
    if let Err(why) = &program {
        tracing::warn!("guests' checksums are not checked: {why}");
    }
    Checks::new(program, left)
}

/// Refuses what others could read or change, though it was there before us: keys, the slice with its PSKs, the configuration.
fn strict(loaded: &Loaded) -> std::io::Result<()> {
    let paths = &loaded.config.paths;
    file::refuse_loose(&paths.keys, 0o700)?;
    file::refuse_loose(&paths.state, STATE_MODE)?;
    file::refuse_loose(&paths.state.join(SLICE), 0o600)?;
    // Many may read it, and a group may be trusted to write it; nobody trusts everybody.
    file::refuse_loose(&loaded.path, 0o775)
}

/// The key of a node without a management node: nobody else makes it.
fn own_secret(config: &Config) -> std::io::Result<SecretKey> {
    let path = config.paths.keys.join(WIREGUARD_KEY);
    if !path.exists() {
        file::ensure_dir(&config.paths.keys, 0o700)?;
        let secret = SecretKey::from_bytes(random());
        file::write(&path, format!("{}\n", secret.to_text().as_str()).as_bytes(), 0o600)?;
    }
    let text = file::read_secret(&path)?;
    let secret: SecretKey = text.trim().parse().map_err(std::io::Error::other)?;
    tracing::info!("public key of this node: {}", tunnel::public_key(&secret));
    Ok(secret)
}

/// Who this node is: by its certificate, or by its file where there is none.
fn who(ready: &Ready) -> (NodeId, PdcId) {
    let node = &ready.loaded.config.node;
    match (&ready.identity, &node.name) {
        (Some(identity), _) => (identity.name.clone(), identity.pdc.clone()),
        (None, Some(name)) => (name.clone(), node.pdc.clone().unwrap_or_else(here)),
        (None, None) => unreachable!("a configuration with table files has a name"),
    }
}

fn here() -> PdcId {
    match "here".parse() {
        Ok(pdc) => pdc,
        Err(_) => unreachable!("'here' is a label"),
    }
}

async fn start(ready: Ready, log: Log, begun: Result<(), String>) -> Result<(), Problem> {
    let (name, pdc) = who(&ready);
    let Ready { loaded, identity, secret, claim, checks, spare } = ready;
    let config = &loaded.config;
    let offload = offload::check(config);
    let count = config.underlay.lanes.count(super::lanes::cpus());
    let keys = identity.as_ref().map(|_| Keyring::load(config, secret.clone(), mono(), wall())).transpose()?;
    let lanes = Lanes::start(count, config.underlay.listen, secret, offload.offload)?;
    let management = match identity {
        Some(_) => Management::Away { since: wall(), why: "not connected yet".into() },
        None => Management::Files,
    };
    let listener = control::listen(&claim, &config.socket())?;
    let shared = Shared::new(name.clone(), pdc.clone(), management, lanes);
    // A lane whose port is taken is known from the first status on.
    shared.lanes.tend(&shared);
    offload.tell(&shared);
    if let Err(why) = begun {
        shared.loose(&why);
    }
    let slice = if identity.is_some() { boot_slice(config, &name, &pdc, &shared) } else { None };

    let (engine, commands) = mpsc::channel();
    let (thread, stands, ended) =
        start_engine(&shared, config, slice.clone(), (name.clone(), keys, checks, spare), (engine.clone(), commands))?;
    // The engine starts `nft`. What is left here, and the threads that it will start, start nothing.
    hold(Duty::Front, &shared);
    let link = match identity {
        Some(identity) => {
            let (addresses, keys) = (config.management.clone(), config.paths.keys.clone());
            let link = Link::new(Arc::clone(&shared), engine.clone(), identity, addresses, keys)?;
            let sync = Sync::new(name, config.node.pdc.clone(), slice, mono());
            watched(&shared, Eye::Stream, Arc::clone(&link).follow(sync));
            watched(&shared, Eye::Reports, Arc::clone(&link).report());
            watched(&shared, Eye::Renewal, Arc::clone(&link).renew());
            Some(link)
        }
        None => None,
    };
    watched(&shared, Eye::Own, gone::watch(Arc::clone(&shared), config.paths.clone(), loaded.path.clone()));
    watched(&shared, Eye::Engine, alive::watch(Arc::clone(&shared)));
    let asked = tokio::spawn(control::serve(listener, Arc::clone(&shared)));
    tokio::spawn(ready_when(stands));
    let reload = Reload { loaded, shared: &shared, engine: &engine, link: link.as_deref(), log };
    let stopped = until_told(reload, ended, asked).await;
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    // An engine that is gone has stopped already.
    let _ = engine.send(Command::Stop);
    end(thread, ENDS).await?;
    tracing::info!("stopped; the plain path and the packet filter stay in the kernel");
    drop(claim);
    stopped
}

/// Waits for the end of the engine, which was told to stop.
///
/// # Errors
/// M0638: it has panicked, or stands still.
async fn end(engine: std::thread::JoinHandle<()>, patience: Duration) -> Result<(), Problem> {
    let ended = async {
        while !engine.is_finished() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(patience, ended).await.is_err() {
        let what =
            format!("the engine stands still and has not stopped for {patience:?}; it is ended with the process");
        return Err(failed(what));
    }
    engine.join().map_err(|_| failed("the engine ended with a panic; see the log".to_owned()))
}

/// Something failed that the daemon cannot do without: it ends, and systemd starts it again.
fn failed(what: String) -> Problem {
    Problem::new(FAILED, Exit::Failed, what).help("systemctl restart meshd; why: journalctl -u meshd")
}

/// Starts a task that ends with the daemon; that it has ended before is told.
fn watched(shared: &Arc<Shared>, eye: Eye, task: impl Future<Output = ()> + Send + 'static) {
    let watcher = shared.watcher(eye);
    tokio::spawn(async move {
        task.await;
        drop(watcher);
    });
}

/// Tells systemd that what is ordered after this daemon may start: bridges, devices and packet filters of the plan on disk stand, or
/// are findings.
async fn ready_when(stands: oneshot::Receiver<()>) {
    match tokio::time::timeout(STANDS, stands).await {
        Ok(Ok(())) => {}
        // The engine died, and with it the daemon.
        Ok(Err(_)) => return,
        Err(_) => tracing::warn!("the plan on disk does not stand after {STANDS:?}; what waits for it is let go"),
    }
    // Nobody to notify is no fault.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

/// Holds the calling thread to its duty.
pub(super) fn hold(duty: Duty, shared: &Shared) {
    if let Err(error) = confine::seal(duty) {
        shared.loose(&format!("a thread may make any system call: {error}"));
    }
}

fn boot_slice(config: &Config, name: &NodeId, pdc: &PdcId, shared: &Shared) -> Option<Slice> {
    match disk::load_slice(&config.paths.state, name, pdc) {
        Ok(Some(slice)) => {
            shared.events.info("boot", format!("slice {} from disk", slice.version));
            Some(slice)
        }
        Ok(None) => {
            shared.events.info("boot", "no slice on disk; waiting for the management node");
            None
        }
        Err(error) => {
            let what = format!("{error}; the kernel keeps what it has until a snapshot comes");
            shared.find(Topic::Slice, vec![Finding::new("M0215", what, "check the management node: meshctl status")]);
            None
        }
    }
}

type Channel = (Sender<Command>, mpsc::Receiver<Command>);

/// A thread that works, word that what it found on disk stands, and word that it has ended.
type Started = (std::thread::JoinHandle<()>, oneshot::Receiver<()>, oneshot::Receiver<()>);

/// Starts the engine and what wakes it.
fn start_engine(
    shared: &Arc<Shared>,
    config: &Config,
    slice: Option<Slice>,
    (name, keys, checks, spare): (NodeId, Option<Keyring>, Checks, Spare),
    (sender, commands): Channel,
) -> Result<Started, Problem> {
    let failed = |e: std::io::Error| Problem::new("M0601", Exit::Failed, e.to_string());
    let kernel = linux::Kernel::new().map_err(|e| Problem::from(&e))?.with_checks(checks);
    let watch = kernel.watch().map_err(|e| Problem::from(&e))?;
    let tables = match &config.table {
        Table::Management => None,
        Table::Files(declared) => {
            file::ensure_dir(&declared.dir, 0o755).map_err(failed)?;
            files::watch(&declared.dir, sender.clone(), shared).map_err(failed)?;
            Some(Tables::new(name))
        }
    };
    // Without its thread the plain path is not watched, and carries all the same.
    if let Err(error) = super::watch::start(shared) {
        shared.eyes().ended(Eye::Plain, error.to_string(), mono());
    }
    let mut engine = Engine::new(kernel, Arc::clone(shared), config.clone(), tables).with_keys(keys);
    engine.spare = spare;
    let events = Arc::clone(shared);
    let look = move || {
        let eye = events.watcher(Eye::Kernel);
        if let Err(error) = watch_kernel(watch, &events, &sender) {
            eye.ends(&error);
        }
    };
    std::thread::Builder::new().name("kernel-watch".into()).spawn(look).map_err(failed)?;
    set_to_work(engine, Arc::clone(shared), slice, commands).map_err(failed)
}

/// Starts the thread of an engine, which begins with the slice that was found on disk, or with the table files.
fn set_to_work<K: Kernel + Send + 'static>(
    mut engine: Engine<K>,
    shared: Arc<Shared>,
    slice: Option<Slice>,
    commands: mpsc::Receiver<Command>,
) -> std::io::Result<Started> {
    let (stand, stands) = oneshot::channel();
    let (alive, ended) = oneshot::channel();
    let work = move || {
        // Dropped with the engine, however it ends.
        let _alive: oneshot::Sender<()> = alive;
        shared.engine.strike(mono());
        shared.engine_asleep.is_me();
        match slice {
            Some(slice) => engine.boot(slice),
            None => engine.read_tables(),
        }
        // A daemon that is ending asks no more.
        let _ = stand.send(());
        engine.run(&commands);
    };
    let thread = std::thread::Builder::new().name("engine".into()).spawn(work)?;
    Ok((thread, stands, ended))
}

/// Tells the engine to look when the kernel says that something changed, and brings back the packet filters by itself: what the
/// engine does next may take seconds, and without them the plain path would hear strangers, and guests would be anybody. So it is with
/// VXLAN once the host tracks connections, whose table a guest would fill.
fn watch_kernel(mut watch: Watch, shared: &Shared, engine: &Sender<Command>) -> std::io::Result<()> {
    loop {
        // When it fails, the engine looks by itself every half minute.
        let notice = watch.wait(WATCH)?;
        let heard = mono();
        let kept = watch.keep();
        if let Ok(true) = kept {
            let took = mono().since(heard).as_micros();
            let what = "another program changed or removed a packet filter of ours (nft tables vxmesh, vxmesh_guests)";
            let text = format!("{what}; it is loaded again, {took} microseconds after the notice");
            shared.events.by_others(Tone::Wrong, "drift", "filter", text);
        }
        let untracked = watch.untrack();
        if let Err(error) = &untracked {
            tracing::warn!("leaving VXLAN out of the table of connections: {error}");
        }
        if notice != Notice::Change && matches!(untracked, Ok(false)) {
            continue;
        }
        if engine.send(Command::Look).is_err() {
            return Ok(());
        }
        match kept {
            Ok(false) => {}
            Ok(true) => std::thread::sleep(KEEP),
            // The engine tries the same and makes it a finding.
            Err(error) => tracing::warn!("loading the packet filter again: {error}"),
        }
    }
}

/// What SIGHUP works on.
struct Reload<'a> {
    loaded: Loaded,
    shared: &'a Shared,
    engine: &'a Sender<Command>,
    link: Option<&'a Link>,
    log: Log,
}

/// Until a signal says that it is enough.
///
/// # Errors
/// M0638: engine or control socket have ended by themselves.
async fn until_told(
    mut reload: Reload<'_>,
    mut ended: oneshot::Receiver<()>,
    mut asked: tokio::task::JoinHandle<()>,
) -> Result<(), Problem> {
    let signals = |e: std::io::Error| Problem::new("M0113", Exit::Failed, format!("signals: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(signals)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => reload.again(),
            // Without its engine a daemon would say for ever what was true before.
            _ = &mut ended => return Err(failed("the engine has ended by itself; see the log".to_owned())),
            // Nor would anybody hear of anything.
            _ = &mut asked => return Err(failed("the control socket has ended by itself; see the log".to_owned())),
        }
    }
}

impl Reload<'_> {
    /// Reads `meshd.toml` again and takes over what can change while the daemon runs.
    fn again(&mut self) {
        let new = match load(&self.loaded.path) {
            Ok(new) => new,
            Err(problem) => {
                let mut finding = Finding::from(&problem);
                finding.what.insert_str(0, "meshd.toml was not read again, the old one counts: ");
                return self.shared.find(Topic::Config, vec![finding]);
            }
        };
        let (old, config) = (&self.loaded.config, &new.config);
        let fixed = old.node != config.node
            || old.paths != config.paths
            || old.offload != config.offload
            || (old.underlay.listen, old.underlay.lanes) != (config.underlay.listen, config.underlay.lanes)
            || std::mem::discriminant(&old.table) != std::mem::discriminant(&config.table);
        if fixed {
            let what =
                "[node], [offload], [paths], listen, lanes and table.source take effect at the next start".to_owned();
            return self.shared.find(Topic::Config, vec![Finding::new("M0351", what, "systemctl restart meshd")]);
        }
        self.shared.find(Topic::Config, Vec::new());
        self.log.set(config.log);
        if let Some(link) = self.link.filter(|_| old.management != config.management)
            && let Err(problem) = link.set_addresses(config.management.clone())
        {
            tracing::warn!("{problem}");
        }
        // An engine that is gone ends the daemon by itself.
        let _ = self.engine.send(Command::Config(Box::new(config.clone())));
        self.shared.events.info("reload", "meshd.toml was read again");
        self.loaded = new;
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
