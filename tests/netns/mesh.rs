//! A management node and machines that join it, each in a namespace, with the real programs and without a lab.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) use crate::ended::Ended;
use crate::harness::{Background, Space, cable, succeed, wait_until};

/// `meshctl`, as built.
pub const MESHCTL: &str = env!("CARGO_BIN_EXE_meshctl");
/// `meshd`, as built.
pub const MESHD: &str = env!("CARGO_BIN_EXE_meshd");
/// `meshmgr`, as built.
pub const MESHMGR: &str = env!("CARGO_BIN_EXE_meshmgr");

/// Address of the management node in a [`Mesh`].
pub const MANAGEMENT: &str = "10.9.0.100:7443";

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    crate::ended::run(command, b"")
}

impl Ended {
    /// Panics unless it ended with `code` and said all of `says`.
    pub(crate) fn refused(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in says {
            assert!(self.stderr.contains(word), "{word:?} is not in\n{}", self.stderr);
        }
    }
}

/// An installation of a management node on disk.
pub struct Installation {
    /// Its files.
    pub folder: tempfile::TempDir,
}

impl Installation {
    /// `meshmgr init`.
    pub fn make() -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        let root = made.folder.path().display();
        let text = format!(
            "listen = \"{MANAGEMENT}\"\naddresses = [\"{MANAGEMENT}\"]\n[paths]\nkeys = \"{root}/keys\"\nstate = \"{root}/state\"\n"
        );
        std::fs::write(made.config(), text).unwrap();
        succeed(Command::new(MESHMGR).args(["init", "--config"]).arg(made.config()));
        made
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("meshmgr.toml")
    }

    /// Runs it in `host` and waits until it listens.
    pub fn serve(&self, host: &Space) -> Background {
        let mut command = host.command(MESHMGR);
        let server = host.start(command.args(["run", "--config"]).arg(self.config()).stderr(Stdio::null()));
        wait_until("meshmgr listens", Duration::from_secs(30), || host.sh("ss -ltn").contains(MANAGEMENT));
        server
    }
}

/// A management node, and one machine with a cable to it.
pub struct Mesh {
    /// Where `meshmgr` runs.
    pub server: Space,
    /// Where machines join.
    pub machine: Space,
    /// The installation.
    pub installation: Installation,
    /// Folders of machines.
    pub disk: tempfile::TempDir,
    running: Option<Background>,
}

impl Mesh {
    /// PDCs `a` and `b` and nothing else.
    pub fn new() -> Self {
        let (server, machine) = (Space::new("mgmt"), Space::new("node"));
        cable(&server, "eth0", &machine, "eth0");
        server.sh("ip address add 10.9.0.100/24 dev eth0");
        machine.sh("ip address add 10.9.0.1/24 dev eth0");
        let installation = Installation::make();
        let running = Some(installation.serve(&server));
        let mesh = Self { server, machine, installation, disk: tempfile::tempdir().unwrap(), running };
        mesh.admin("pdc create a --intra plain --underlay 10.9.0.0/24");
        mesh.admin("pdc create b --underlay 10.8.0.0/24");
        mesh
    }

    /// Ends the server and runs another installation at its address.
    pub fn replace(&mut self, other: &Installation) {
        self.running = None;
        self.running = Some(other.serve(&self.server));
    }

    /// Ends the server.
    pub fn silence(&mut self) {
        self.running = None;
    }

    /// `meshctl WORDS` with a credential.
    pub fn ask(&self, credential: &Path, words: &str) -> Ended {
        let mut command = self.server.command(MESHCTL);
        command.args(["--management", MANAGEMENT, "--credential"]).arg(credential).args(words.split_whitespace());
        run(&mut command)
    }

    /// What `meshctl WORDS` says to the administrator, whatever it finds wrong.
    pub fn look(&self, words: &str) -> String {
        self.ask(&self.installation.folder.path().join("keys/admin"), words).stdout
    }

    /// `meshctl WORDS` as the administrator; must succeed.
    pub fn admin(&self, words: &str) -> String {
        let ended = self.ask(&self.installation.folder.path().join("keys/admin"), words);
        assert_eq!(ended.code, Some(0), "{words}: {}\n{}", ended.stderr, ended.stdout);
        ended.stdout
    }

    /// A token for PDC `a`.
    pub fn token(&self, words: &str) -> String {
        self.admin(&format!("token create --pdc a {words}"))
    }

    /// The configuration of machine `name`, with `lines` in it.
    pub fn configure(&self, name: &str, lines: &str) -> PathBuf {
        let root = self.disk.path().join(name);
        std::fs::create_dir_all(&root).unwrap();
        let text = format!(
            "management = [\"{MANAGEMENT}\"]\n{lines}\n[underlay]\nadmin = \"eth0\"\nexternal = \"eth0\"\n[paths]\n\
             keys = \"{0}/keys\"\nstate = \"{0}/state\"\nrun = \"{0}/run\"\n",
            root.display()
        );
        let path = root.join("meshd.toml");
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `meshctl join` as `name`.
    pub fn join(&self, name: &str, token: &str, lines: &str) -> Ended {
        self.join_from(&self.machine, name, token, lines)
    }

    /// As [`Self::join`], from another machine.
    pub fn join_from(&self, machine: &Space, name: &str, token: &str, lines: &str) -> Ended {
        let config = self.configure(name, lines);
        let file = config.with_file_name("token");
        std::fs::write(&file, token).unwrap();
        let mut command = machine.command(MESHCTL);
        command.args(["join", "--no-start", "--name", name, "--token-file"]).arg(file).arg("--config").arg(config);
        run(&mut command)
    }

    /// Keys folder of machine `name`.
    pub fn keys(&self, name: &str) -> PathBuf {
        self.disk.path().join(name).join("keys")
    }

    /// Runs `meshd` of machine `name` and waits for its socket.
    pub fn meshd(&self, name: &str) -> Background {
        daemon(&self.machine, &self.disk.path().join(name))
    }

    /// `meshctl WORDS` on the machine, by the socket of its `meshd`.
    pub fn local(&self, name: &str, words: &str) -> Ended {
        local(&self.machine, &self.disk.path().join(name), words)
    }
}

/// Runs `meshd` of the machine whose files are in `root`, and waits for its socket.
pub fn daemon(machine: &Space, root: &Path) -> Background {
    let mut command = machine.command(MESHD);
    let daemon = machine.start(command.args(["run", "--config"]).arg(root.join("meshd.toml")).stderr(Stdio::null()));
    let socket = root.join("run/meshd.sock");
    wait_until("meshd answers", Duration::from_secs(10), || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    daemon
}

/// `meshctl WORDS` by the socket of that `meshd`.
pub fn local(machine: &Space, root: &Path, words: &str) -> Ended {
    let mut command = machine.command(MESHCTL);
    run(command.arg("--socket").arg(root.join("run/meshd.sock")).args(words.split_whitespace()))
}
