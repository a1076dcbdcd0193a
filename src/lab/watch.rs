//! Listens on a wire and counts what is on it.
//!
//! A watch is a process of its own inside the namespace of the wires: [`Expect`] comes in on stdin, the counts go out on stdout
//! when stdin ends, so it never outlives the program that wants to know.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socket2::Socket;

use super::classify::{Class, Expect, Eye};
use super::layout::{Layout, Wire};
use super::{LabError, shell};
use crate::linux::sys;

/// Room for frames that wait to be looked at, bytes.
const BACKLOG: usize = 256 << 20;
/// Larger than any frame that an interface hands over in one piece.
const LARGEST: usize = 128 << 10;
/// Examples of frames that should not be there.
const EXAMPLES: usize = 3;

/// What a watch saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Frames by class.
    pub frames: BTreeMap<Class, u64>,
    /// Bytes by class.
    pub bytes: BTreeMap<Class, u64>,
    /// Frames that were too many to look at.
    pub missed: u64,
    /// The first bytes (hexadecimal) of some frames that should not be there.
    pub examples: Vec<String>,
}

impl Seen {
    /// Frames of a class.
    pub fn frames(&self, class: Class) -> u64 {
        self.frames.get(&class).copied().unwrap_or(0)
    }

    fn add(&mut self, class: Class, frame: &[u8]) {
        *self.frames.entry(class).or_default() += 1;
        *self.bytes.entry(class).or_default() += u64::try_from(frame.len()).unwrap_or(0);
        if matches!(class, Class::Clear | Class::Other) && self.examples.len() < EXAMPLES {
            let hex = frame.iter().take(96).map(|byte| format!("{byte:02x}")).collect();
            self.examples.push(hex);
        }
    }
}

/// A running watch.
#[derive(Debug)]
pub struct Watch {
    /// What it listens on.
    pub wire: Wire,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Watch {
    /// Starts one and waits until it listens.
    ///
    /// # Errors
    /// It cannot listen.
    pub fn start(layout: &Layout, wire: &Wire) -> Result<Self, LabError> {
        let trouble = || LabError::io(format!("cannot listen on {}", wire.device));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &wire.namespace]).arg(shell::program("meshctl")?);
        command.args(["lab", "listen", "--device", &wire.device]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(trouble())?;
        let mut stdin = child.stdin.take();
        let mut line = serde_json::to_vec(&Expect::of(layout, wire)).map_err(|e| trouble()(e.into()))?;
        line.push(b'\n');
        if let Some(stdin) = &mut stdin {
            stdin.write_all(&line).map_err(trouble())?;
        }
        let mut ready = [0];
        match child.stdout.as_mut().map(|out| out.read_exact(&mut ready)) {
            Some(Ok(())) => Ok(Self { wire: wire.clone(), child, stdin }),
            _ => Err(trouble()(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Ends it and takes the counts.
    ///
    /// # Errors
    /// It has died.
    pub fn end(mut self) -> Result<Seen, LabError> {
        drop(self.stdin.take());
        let trouble = || LabError::io(format!("the watch on {} has died", self.wire.device));
        let mut text = Vec::new();
        if let Some(out) = &mut self.child.stdout {
            out.read_to_end(&mut text).map_err(trouble())?;
        }
        let _ = self.child.wait();
        serde_json::from_slice(&text).map_err(|e| trouble()(e.into()))
    }
}

/// `meshctl lab listen`: the process of a [`Watch`].
///
/// # Errors
/// No such interface, or no right to listen.
pub fn watch(device: &str) -> Result<(), LabError> {
    let trouble = || LabError::io(format!("cannot listen on {device}"));
    let mut line = String::new();
    let mut input = io::stdin().lock();
    input.read_line(&mut line).map_err(trouble())?;
    drop(input);
    let eye = Eye::new(serde_json::from_str(&line).map_err(|e| trouble()(e.into()))?);
    let index = std::fs::read_to_string(format!("/sys/class/net/{device}/ifindex")).map_err(trouble())?;
    let index = index.trim().parse().map_err(|_| trouble()(io::ErrorKind::InvalidData.into()))?;
    let socket = Socket::from(sys::packet_socket(index).map_err(trouble())?);
    sys::receive_buffer(&socket, BACKLOG).map_err(trouble())?;
    socket.set_read_timeout(Some(Duration::from_millis(50))).map_err(trouble())?;
    let end = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&end);
    std::thread::spawn(move || {
        // Whatever comes, only the end counts.
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        ended.store(true, Ordering::Relaxed);
    });
    io::stdout().write_all(b"+").and_then(|()| io::stdout().flush()).map_err(trouble())?;
    let mut seen = listen(&socket, &eye, &end).map_err(trouble())?;
    seen.missed = sys::packet_missed(&socket).map_err(trouble())?.into();
    let text = serde_json::to_vec(&seen).map_err(|e| trouble()(e.into()))?;
    io::stdout().write_all(&text).map_err(trouble())
}

/// Until the end is asked for and nothing waits any more.
fn listen(socket: &Socket, eye: &Eye, end: &AtomicBool) -> io::Result<Seen> {
    let mut seen = Seen::default();
    let mut buffer = vec![0; LARGEST];
    loop {
        match (&*socket).read(&mut buffer) {
            Ok(length) => {
                let frame = &buffer[..length];
                seen.add(eye.classify(frame), frame);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                if end.load(Ordering::Relaxed) {
                    return Ok(seen);
                }
            }
            Err(error) => return Err(error),
        }
    }
}
