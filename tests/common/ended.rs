//! Programs that are run to their end, which has to come: a refusal that is missing is a daemon that runs on, and must be a failed test
//! rather than one that never ends.

use std::io::{Read, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vxmesh::clock::mono;
use vxmesh::linux::poll::Poll;
use vxmesh::linux::sys;

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
    let mut child = piped.spawn().unwrap();
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    // One that ends without reading closes the pipe, which is its right.
    let _ = child.stdin.take().unwrap().write_all(input);
    let ended = ends(&child);
    if !ended {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    assert!(ended, "runs on after {LONGEST:?}: {command:?}");
    Ended { code: status.code(), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Waits for the end of a program; false where it does not come.
fn ends(child: &Child) -> bool {
    let (process, mut poll) = (sys::pidfd(child.id()).unwrap(), Poll::new().unwrap());
    poll.add(process.as_fd(), 0).unwrap();
    let start = mono();
    while poll.ready().next().is_none() && mono().since(start) < LONGEST {
        poll.wait(Some(LONGEST)).unwrap();
    }
    poll.ready().next().is_some()
}
