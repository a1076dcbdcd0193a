//! What a lab remembers on disk: its layout and the processes that it started, below `/run/vxmesh-lab/<name>/`.
//!
//! The layout is written before the first namespace is made and each process before it runs, so what a crash leaves behind
//! is always known.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::LabError;
use super::layout::Layout;
use super::process::{self, Process};
use crate::api::problem::{Exit, Problem};
use crate::linux::file;

/// Where the folders of all labs are.
const ROOT: &str = "/run/vxmesh-lab";

/// What is written down about a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Names and addresses.
    pub layout: Layout,
    /// True once everything runs.
    pub ready: bool,
    /// True for a lab of namespaces and wires alone.
    pub wires_only: bool,
    /// MTU of the guests, once it is known.
    pub guest_mtu: Option<u16>,
}

/// The folder of a lab.
#[derive(Debug, Clone)]
pub struct Home {
    name: String,
    folder: PathBuf,
}

/// Who may not look sees no labs, which is not that there is none.
fn seen(looked: std::io::Result<()>) -> Result<(), LabError> {
    match looked {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(LabError::io(format!("this user may not see which labs there are: {ROOT}"))(error))
        }
        _ => Ok(()),
    }
}

/// The right to change a lab; gone when dropped or when the program ends.
#[derive(Debug)]
pub struct Lock {
    _folder: File,
}

impl Home {
    /// The folder of the lab `name`; it need not exist.
    pub fn of(name: &str) -> Self {
        Self { name: name.to_owned(), folder: Path::new(ROOT).join(name) }
    }

    /// Whether this user may see which labs there are.
    ///
    /// # Errors
    /// The folder of all labs may not be read by this user.
    pub fn may_see() -> Result<(), LabError> {
        seen(fs::read_dir(ROOT).map(drop))
    }

    /// Every lab that has a folder, in the order of names.
    pub fn all() -> Vec<Self> {
        let entries = fs::read_dir(ROOT).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names.iter().map(|name| Self::of(name)).collect()
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// True where there is such a folder.
    pub fn exists(&self) -> bool {
        self.folder.is_dir()
    }

    /// Folder of one machine (`mgmt` or a node's name).
    pub fn machine(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Record of a machine's daemon.
    pub fn record(&self, machine: &str) -> PathBuf {
        self.folder.join(format!("{machine}.pid"))
    }

    /// Log of a machine's daemon.
    pub fn log(&self, machine: &str) -> PathBuf {
        self.folder.join(format!("{machine}.log"))
    }

    /// Control socket of a node's `meshd`.
    pub fn socket(&self, node: &str) -> PathBuf {
        self.machine(node).join("run/meshd.sock")
    }

    /// The administrator's credential.
    pub fn credential(&self) -> PathBuf {
        self.machine("mgmt").join("keys/admin")
    }

    fn state_file(&self) -> PathBuf {
        self.folder.join("lab.json")
    }

    /// Makes the folder (0700) if need be and locks it.
    ///
    /// # Errors
    /// Conflict, where another lab command is at work on it; files.
    pub fn lock(&self) -> Result<Lock, LabError> {
        let what = || format!("cannot lock {}", self.folder.display());
        loop {
            file::ensure_dir(Path::new(ROOT), 0o700).map_err(LabError::io(what()))?;
            file::ensure_dir(&self.folder, 0o700).map_err(LabError::io(what()))?;
            let Ok(folder) = File::open(&self.folder) else { continue };
            match folder.try_lock() {
                Ok(()) => {}
                Err(fs::TryLockError::WouldBlock) => return Err(self.busy().into()),
                Err(fs::TryLockError::Error(error)) => return Err(LabError::io(what())(error)),
            }
            // `lab down` may have removed the folder between opening and locking it.
            let held = folder.metadata().map_err(LabError::io(what()))?.ino();
            if fs::metadata(&self.folder).is_ok_and(|now| now.ino() == held) {
                return Ok(Lock { _folder: folder });
            }
        }
    }

    fn busy(&self) -> Problem {
        Problem::new("M0656", Exit::Conflict, format!("another command is at work on lab '{}'", self.name))
            .note("nothing was changed")
            .help("wait until it has ended, or choose another --name")
    }

    /// What is written down; none where there is nothing, or nothing that can be read.
    pub fn read(&self) -> Option<State> {
        serde_json::from_slice(&fs::read(self.state_file()).ok()?).ok()
    }

    /// Writes it down.
    ///
    /// # Errors
    /// Files.
    pub fn write(&self, state: &State) -> Result<(), LabError> {
        let what = LabError::io(format!("cannot write {}", self.state_file().display()));
        let text = serde_json::to_vec_pretty(state).map_err(std::io::Error::from);
        text.and_then(|text| file::write(&self.state_file(), &text, 0o600)).map_err(what)
    }

    /// The state of a lab that is up.
    ///
    /// # Errors
    /// Not found, with the command that makes one.
    pub fn need(&self) -> Result<State, LabError> {
        Self::may_see()?;
        self.read().ok_or_else(|| {
            let what = format!("there is no lab '{}'", self.name);
            Problem::new("M0657", Exit::NotFound, what).help(self.hint("up")).into()
        })
    }

    /// A command line for this lab.
    pub fn hint(&self, verb: &str) -> String {
        match self.name.as_str() {
            "lab" => format!("meshctl lab {verb}"),
            name => format!("meshctl lab {verb} --name {name}"),
        }
    }

    /// Every process that was started, by machine, dead or alive.
    pub fn processes(&self) -> Vec<(String, Process)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let one = |entry: fs::DirEntry| {
            let path = entry.path();
            let machine = path.file_name()?.to_str()?.strip_suffix(".pid")?.to_owned();
            Some((machine, process::read_record(&path)?))
        };
        let mut all: Vec<_> = entries.filter_map(one).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// The daemon of a machine, if it runs.
    pub fn running(&self, machine: &str) -> Option<Process> {
        process::read_record(&self.record(machine)).filter(|process| process.alive())
    }
}
