//! Programs that are run to their end, which has to come: a refusal that is missing is a daemon that runs on, and must be a failed test
//! rather than one that never ends.

use std::io::{Read, Write as _};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vxmesh::clock::mono;

/// Longest that a program takes which ends by itself, on a busy machine.
const LONGEST: Duration = Duration::from_secs(90);

/// What a program came to.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Exit code.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it said.
    pub(crate) stderr: String,
}

/// Killed and waited for when dropped.
struct Bounded(Child);

impl Drop for Bounded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        pipe.unwrap().read_to_string(&mut text).unwrap();
        text
    })
}

/// Runs a command with this on stdin. Panics, and kills it, where it does not end.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Ended {
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Bounded(piped.spawn().unwrap());
    let (stdout, stderr) = (drain(child.0.stdout.take()), drain(child.0.stderr.take()));
    // One that ends without reading closes the pipe, which is its right.
    let _ = child.0.stdin.take().unwrap().write_all(input);
    let start = mono();
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(mono().since(start) < LONGEST, "runs on after {LONGEST:?}: {command:?}");
        thread::sleep(Duration::from_millis(5));
    };
    Ended { code: status.code(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}
