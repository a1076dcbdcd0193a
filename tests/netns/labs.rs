//! Labs for tests: each under a name of its own, taken down when dropped.

use std::net::IpAddr;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vxmesh::lab::classify::Class;
use vxmesh::lab::layout::{Layout, MANAGEMENT, MANAGEMENT_TCP_PORT};
use vxmesh::lab::progress::Progress;
use vxmesh::lab::state::Home;
use vxmesh::lab::traffic::{self, Pings};
use vxmesh::lab::watch::Watch;
use vxmesh::lab::{daemons, down, shell};

use crate::harness::wait_until;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A lab that is taken down when dropped.
pub struct Lab {
    /// Its folder.
    pub home: Home,
}

impl Lab {
    /// A name that no other lab has.
    pub fn name() -> String {
        format!("t{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
    }

    /// Namespaces and wires without daemons.
    pub fn wires(words: &[&str]) -> Self {
        let lab = Self { home: Home::of(&Self::name()) };
        let output = lab.ctl("up", &[&["--wires-only"], words].concat());
        assert!(output.status.success(), "{}", said(&output));
        lab
    }

    /// A whole mesh.
    pub fn mesh(words: &[&str]) -> Self {
        let lab = Self { home: Home::of(&Self::name()) };
        let output = lab.ctl("up", words);
        assert!(output.status.success(), "{}", said(&output));
        lab
    }

    /// Kills the daemon of a machine as hard as it goes, and waits until it is gone.
    pub fn kill(&self, machine: &str) {
        let process = self.home.running(machine).unwrap_or_else(|| panic!("{machine} does not run"));
        assert!(process.signal(libc::SIGKILL).unwrap());
        wait_until("the killed daemon is gone", Duration::from_secs(5), || !process.alive());
    }

    /// Starts the daemon of a node again.
    pub fn start(&self, node: &str) {
        let layout = self.layout();
        daemons::run(&self.home, layout.node(node).unwrap(), &Progress::new(true)).unwrap();
    }

    /// `meshctl WORDS` as the administrator.
    pub fn admin(&self, words: &[&str]) -> String {
        daemons::meshctl(&self.home, &self.layout(), words, None).unwrap()
    }

    /// As [`Self::admin`], where the answer may be that something is wrong.
    pub fn asked(&self, words: &[&str]) -> Output {
        let mut command = shell::command(Some(&self.layout().management), env!("CARGO_BIN_EXE_meshctl"));
        command.args(["--management", &format!("{MANAGEMENT}:{MANAGEMENT_TCP_PORT}")]);
        command.arg("--credential").arg(self.home.credential()).args(words).output().unwrap()
    }

    /// As [`Self::admin`], with `input` on stdin.
    pub fn admin_with(&self, words: &[&str], input: &str) -> String {
        daemons::meshctl(&self.home, &self.layout(), words, Some(input)).unwrap()
    }

    /// Namespace and address of the first guest of a node.
    pub fn guest(&self, node: &str) -> (String, IpAddr) {
        let layout = self.layout();
        let guest = &layout.node(node).unwrap().guests[0];
        (guest.namespace.clone(), guest.ips[0])
    }

    /// True where one ping from the guest of a node to that of another is answered within 100 ms.
    pub fn answers(&self, from: &str, to: &str) -> bool {
        let ((from, _), (_, to)) = (self.guest(from), self.guest(to));
        let words = ["netns", "exec", &from, "ping", "-n", "-c", "1", "-W", "0.1", &to.to_string()].map(str::to_owned);
        Command::new("ip").args(words).output().unwrap().status.success()
    }

    /// `count` pings at 10 ms from the guest of a node to that of another, beside what the test does meanwhile.
    pub fn pings(&self, from: &str, to: &str, count: u16) -> JoinHandle<Pings> {
        let ((from, _), (_, to)) = (self.guest(from), self.guest(to));
        thread::spawn(move || traffic::ping(&from, to, count, 10, 56).unwrap())
    }

    /// Waits until every guest reaches every guest.
    pub fn settled(&self) {
        let layout = self.layout();
        for from in &layout.nodes {
            for to in layout.nodes.iter().filter(|to| to.name != from.name) {
                let what = format!("{} reaches {}", from.name, to.name);
                wait_until(&what, Duration::from_secs(10), || self.answers(&from.name, &to.name));
            }
        }
    }

    /// Listens on every wire.
    pub fn watch(&self) -> Vec<Watch> {
        let layout = self.layout();
        layout.wires.iter().map(|wire| Watch::start(&layout, wire).unwrap()).collect()
    }

    /// `meshctl lab VERB --name ... WORDS`.
    pub fn ctl(&self, verb: &str, words: &[&str]) -> Output {
        ctl(&[&["lab", verb, "--name", self.home.name()], words].concat())
    }

    /// Names and addresses.
    pub fn layout(&self) -> Layout {
        self.home.need().unwrap().layout
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let removed = down::down(&self.home, &Progress::new(true));
        if !thread::panicking() {
            removed.unwrap();
        }
    }
}

/// `meshctl WORDS`.
pub fn ctl(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_meshctl")).args(words).output().unwrap()
}

/// What a program said on stderr.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Nothing of a guest was readable where it must not be, and nothing was overlooked.
pub fn assert_nothing_in_clear(watches: Vec<Watch>) {
    for watch in watches {
        let wire = watch.wire.device.clone();
        let seen = watch.end().unwrap();
        assert_eq!((seen.frames(Class::Clear), seen.missed), (0, 0), "{wire}: {seen:?}");
    }
}
