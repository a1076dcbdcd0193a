//! Labs for tests: each under a name of its own, taken down when dropped.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use vxmesh::lab::down;
use vxmesh::lab::layout::Layout;
use vxmesh::lab::progress::Progress;
use vxmesh::lab::state::Home;

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
        if !std::thread::panicking() {
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
