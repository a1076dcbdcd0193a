//! Network namespaces for tests: made under unique names, removed even after a panic.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use vxmesh::clock;
use vxmesh::linux::netns;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A network namespace with `lo` up. Goes away when dropped.
#[derive(Debug)]
pub struct Space {
    name: String,
}

/// A program in the background. Killed and waited for when dropped.
#[derive(Debug)]
pub struct Background(Child);

/// False, and loud about it, where namespaces cannot be made. Every test starts with it.
#[must_use]
pub fn can_run() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let root = status.lines().any(|l| l.starts_with("Uid:\t0\t"));
    let tools = ["ip", "bridge", "nft"].iter().find(|tool| Command::new(tool).arg("-V").output().is_err());
    if let Some(tool) = tools {
        eprintln!("SKIPPED: '{tool}' is not installed (apt install iproute2 nftables)");
    } else if !root {
        eprintln!("SKIPPED: tests on the real kernel need root");
    }
    root && tools.is_none()
}

impl Space {
    /// A new namespace; `tag` makes its name readable.
    pub fn new(tag: &str) -> Self {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let space = Self { name: format!("vx{}-{number}-{tag}", std::process::id()) };
        succeed(Command::new("ip").args(["netns", "add", &space.name]));
        space.sh("ip link set lo up");
        space
    }

    /// Its name, for `ip -n`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs shell lines inside and returns what they print. Stops at the first that fails.
    pub fn sh(&self, lines: &str) -> String {
        succeed(self.command("sh").args(["-ec", lines]))
    }

    /// Runs shell lines inside; may fail.
    pub fn try_sh(&self, lines: &str) -> Output {
        self.command("sh").args(["-ec", lines]).stdin(Stdio::null()).output().unwrap()
    }

    /// True where shell lines succeed inside.
    pub fn holds(&self, lines: &str) -> bool {
        self.try_sh(lines).status.success()
    }

    /// Starts a program inside, in the background.
    pub fn start(&self, command: &mut Command) -> Background {
        Background::spawn(command)
    }

    /// Waits until a `wireguard-go` inside takes connections at its control socket. `wg show` cannot ask that: it removes a socket
    /// that refuses it, so also one that is bound and does not listen yet.
    pub fn wait_for_wireguard_go(&self, interface: &str) {
        let listens = format!("grep -q ' 00010000 .*/wireguard/{interface}.sock$' /proc/net/unix");
        wait_until("wireguard-go listens", Duration::from_secs(30), || self.holds(&listens));
        self.sh(&format!("wg show {interface} >&2"));
    }

    /// Runs `work` on a thread that lives inside, and hands on its panic.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = netns::path(&self.name);
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                netns::enter(&path).unwrap();
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let removed = Command::new("ip").args(["netns", "delete", &self.name]).output();
        if !removed.is_ok_and(|out| out.status.success()) {
            let _ = writeln!(std::io::stderr(), "could not remove namespace {}", self.name);
        }
    }
}

impl Background {
    /// Starts a program.
    pub fn spawn(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Waits for it to end by itself; panics where it does not.
    pub fn ended(mut self, limit: Duration) -> ExitStatus {
        wait_until("it ends", limit, || self.0.try_wait().unwrap().is_some());
        self.0.wait().unwrap()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A cable between two namespaces, both ends up.
pub fn cable(a: &Space, a_name: &str, b: &Space, b_name: &str) {
    let (a, b) = (&a.name, &b.name);
    succeed(
        Command::new("ip")
            .args(format!("-n {a} link add name {a_name} type veth peer name {b_name} netns {b}").split(' ')),
    );
    succeed(Command::new("ip").args(format!("-n {a} link set dev {a_name} up").split(' ')));
    succeed(Command::new("ip").args(format!("-n {b} link set dev {b_name} up").split(' ')));
}

/// A guest on a bridge: a namespace with `eth0`, whose other end is a port of `bridge` in `host`.
pub fn guest(host: &Space, bridge: &str, port: &str, mac: &str, addresses: &[&str]) -> Space {
    let guest = Space::new(port);
    // With its address before it is up: what it says first, the bridge learns.
    host.sh(&format!("ip link add name {port} type veth peer name eth0 address {mac} netns {}", guest.name));
    host.sh(&format!("ip link set dev {port} master {bridge} up"));
    guest.sh("ip link set dev eth0 up");
    for address in addresses {
        let nodad = if address.contains(':') { "nodad" } else { "" };
        guest.sh(&format!("ip address add {address} dev eth0 {nodad}"));
    }
    guest
}

/// Waits for a condition; panics with `what` when it does not come in time.
///
/// Time in which somebody on this machine was ready to run and had no CPU does not count, up to [`BUSY`] times the limit: what is promised is
/// promised of a machine that has time for it.
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let (start, before) = (clock::mono(), waited_for_cpu());
    while !holds() {
        let took = clock::mono().since(start);
        let busy = waited_for_cpu().saturating_sub(before);
        let over = took >= limit * BUSY || took.saturating_sub(busy) >= limit;
        assert!(!over, "not within {limit:?} ({took:?}, in {busy:?} of which a CPU was waited for): {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// How much longer than its limit a busy machine may take for something.
const BUSY: u32 = 5;

/// How long somebody has waited for a CPU since this machine runs (Documentation/accounting/psi.rst); nothing where the kernel does not tell.
fn waited_for_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let some = text.lines().find_map(|line| line.strip_prefix("some ")?.split_once("total="));
    Duration::from_micros(some.and_then(|(_, total)| total.parse().ok()).unwrap_or_default())
}

/// Runs a command and returns what it prints; panics with its error.
pub fn succeed(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
