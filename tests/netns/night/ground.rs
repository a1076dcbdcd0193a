//! One lab with faults in it: how they are made, and what everybody says.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use hyper::Method;
use serde::de::DeserializeOwned;
use vxmesh::api::local::{Event, Explanation, Finding, Status};
use vxmesh::lab::layout::Layout;
use vxmesh::lab::process::{self, Daemon};
use vxmesh::lab::progress::Progress;
use vxmesh::lab::{daemons, shell};
use vxmesh::transport::client::Client;

use super::table::{Act, At};
use crate::harness::{Background, succeed, wait_until};
use crate::labs::Lab;

/// Room on a small disk beside what is there, KiB.
const SMALL: u32 = 256;

/// A lab, and what stays of faults until they are undone.
pub struct Ground {
    pub lab: Lab,
    pub layout: Layout,
    clocks: tempfile::TempDir,
    clones: RefCell<BTreeMap<&'static str, Background>>,
}

impl Ground {
    pub fn new() -> Self {
        let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
        let layout = lab.layout();
        let clocks = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/netns/chaos/clock.c");
        let library = clocks.path().join("clock.so");
        succeed(Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(library).arg(source));
        Self { lab, layout, clocks, clones: RefCell::default() }
    }

    fn namespace(&self, machine: &str) -> String {
        format!("{}-{machine}", self.layout.name)
    }

    pub fn act(&self, act: &Act) {
        match act {
            Act::On(machine, lines) => {
                let mut command = shell::command(Some(&self.namespace(machine)), "sh");
                command.env("LAB", self.lab.home.folder()).args(["-ec", lines]);
                shell::run(command).unwrap_or_else(|error| panic!("{lines}: {error}"));
            }
            Act::Kill(machine) => self.lab.kill(machine),
            Act::Start("mgmt") => {
                daemons::run_management(&self.lab.home, &self.layout, &Progress::new(true)).unwrap();
            }
            Act::Start(node) => self.lab.start(node),
            Act::Signal(machine, signal) => {
                assert!(self.lab.home.running(machine).unwrap().signal(*signal).unwrap());
            }
            Act::Clock(machine, seconds) => self.clock(machine, *seconds),
            Act::Shift(machine, seconds) => self.shift(machine, *seconds),
            Act::SmallDisk(node) => self.small_disk(node),
            Act::Inside(node, lines) => {
                let pid = self.lab.home.running(node).unwrap().pid.to_string();
                let state = self.lab.home.machine(node).join("state");
                let mut command = Command::new("nsenter");
                command.args(["--mount", "--target", &pid, "sh", "-ec", lines]).env("STATE", state);
                succeed(&mut command);
            }
            Act::Clone(node, Some(other)) => self.clone(node, other),
            Act::Clone(node, None) => drop(self.clones.borrow_mut().remove(node)),
            Act::Admin(words) => drop(self.lab.admin(&words.split(' ').collect::<Vec<_>>())),
        }
    }

    fn words(&self, machine: &str) -> (String, Vec<String>) {
        let (program, file) = if machine == "mgmt" { ("meshmgr", "meshmgr.toml") } else { ("meshd", "meshd.toml") };
        let config = self.lab.home.machine(machine).join(file).display().to_string();
        let program = shell::program(program).unwrap().display().to_string();
        (self.namespace(machine), vec![program, "run".into(), "--config".into(), config])
    }

    fn launch(&self, machine: &str, before: &[String]) {
        let (namespace, words) = self.words(machine);
        let (record, log) = (self.lab.home.record(machine), self.lab.home.log(machine));
        let words = before.iter().cloned().chain(words).collect();
        process::start(&Daemon { namespace: &namespace, record, log, words }, &Progress::new(true)).unwrap();
    }

    fn clock(&self, machine: &str, seconds: i64) {
        self.shift(machine, seconds);
        let folder = self.clocks.path();
        let before = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", folder.join("clock.so").display()),
            format!("VXMESH_CLOCK={}", folder.join(machine).display()),
        ];
        self.launch(machine, &before);
    }

    /// Written in place: the daemon has it in its memory.
    fn shift(&self, machine: &str, seconds: i64) {
        use std::os::unix::fs::FileExt as _;
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(self.clocks.path().join(machine)).unwrap();
        file.write_all_at(&[seconds.to_ne_bytes(), [0; 8]].concat(), 0).unwrap();
    }

    /// The disk is there for this daemon alone and goes with it.
    fn small_disk(&self, node: &str) {
        let state = self.lab.home.machine(node).join("state");
        let state = state.display();
        let script = format!(
            "cp -a {state} {state}.copy; mount -t tmpfs -o size=$(( $(du -sk --apparent-size {state} | cut -f1) + {SMALL} ))k,mode=700 none {state}
             cp -a {state}.copy/. {state}/; rm -rf {state}.copy; exec \"$@\""
        );
        self.launch(node, &["sh".into(), "-ec".into(), script, "sh".into()]);
    }

    fn clone(&self, node: &'static str, other: &str) {
        let (from, to) = (self.lab.home.machine(node), self.lab.home.machine("clone"));
        let (from, to) = (from.display(), to.display());
        let words =
            format!("rm -rf {to}; cp -a {from} {to}; rm -rf {to}/run; sed -i s,{from}/,{to}/,g {to}/meshd.toml");
        succeed(Command::new("sh").args(["-ec", &words]));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(other), env!("CARGO_BIN_EXE_meshd"), "run", "--config"]);
        command.arg(format!("{to}/meshd.toml")).stderr(Stdio::null());
        self.clones.borrow_mut().insert(node, Background::spawn(&mut command));
    }

    fn call<R: DeserializeOwned>(socket: PathBuf, path: &str) -> Option<R> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let call = async {
            // `explain` waits two seconds for the other node.
            let limit = Duration::from_secs(5);
            tokio::time::timeout(limit, Client::unix(socket).call::<(), R>(Method::GET, path, None)).await
        };
        runtime.block_on(call).ok()?.ok()
    }

    /// What a node's daemon says of itself; none: it does not answer.
    pub fn status(&self, node: &str) -> Option<Status> {
        Self::call(self.lab.home.socket(node), "/v1/status")
    }

    pub fn events(&self, node: &str) -> Vec<Event> {
        Self::call(self.lab.home.socket(node), "/v1/events").unwrap_or_default()
    }

    pub fn explain(&self, from: &str, to: &str) -> Option<Explanation> {
        Self::call(self.lab.home.socket(from), &format!("/v1/explain?from={from}-g1&to={to}-g1"))
    }

    /// What `meshctl status` of the mesh shows.
    pub fn screen(&self) -> String {
        String::from_utf8(self.lab.asked(&["--timeout", "3s", "status", "--all"]).stdout).unwrap()
    }

    /// What `meshctl status` of the mesh shows as problems: what an operator sees, and the whole of it.
    pub fn mesh(&self) -> Option<Vec<Finding>> {
        let text = self.screen();
        text.starts_with("meshmgr ").then(|| problems(&text))
    }

    /// What is wrong, by place. Who does not answer says nothing.
    pub fn found(&self) -> BTreeMap<At, Vec<Finding>> {
        let mut found = BTreeMap::new();
        for node in super::NODES {
            found.extend(self.status(node).map(|status| (At::Node(node), status.problems)));
        }
        found.extend(self.mesh().map(|problems| (At::Management, problems)));
        found
    }

    /// Every event that there is, by place.
    pub fn told(&self) -> BTreeMap<At, BTreeSet<String>> {
        let mut told = BTreeMap::new();
        for node in super::NODES {
            let line = |event: Event| format!("{} {} {}", event.at, event.kind, event.text);
            told.insert(At::Events(node), self.events(node).into_iter().map(line).collect());
        }
        let output = self.lab.asked(&["--timeout", "3s", "events", "-n", "500"]);
        let lines = String::from_utf8(output.stdout).unwrap();
        told.insert(At::Audit, lines.lines().map(str::to_owned).collect());
        told
    }

    /// Waits until nobody finds anything wrong and everybody reaches everybody.
    pub fn well(&self, limit: Duration) {
        wait_until("all is well", limit, || {
            let found = self.found();
            found.len() == super::NODES.len() + 1 && found.values().all(Vec::is_empty)
        });
        for from in super::NODES {
            for to in super::NODES.iter().filter(|to| **to != from) {
                wait_until(&format!("{from} reaches {to}"), limit, || self.lab.answers(from, to));
            }
        }
    }
}

/// Lines below `problems:`, two a problem.
fn problems(text: &str) -> Vec<Finding> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("problems:")).skip(1);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let (code, what) = line.trim().split_once(' ').unwrap_or((line, ""));
        found.push(Finding::new(code, what.to_owned(), lines.next().unwrap_or_default().trim()));
    }
    found
}
