//! Eyes on the wires. What attackers of the run send has their own Ethernet source or says so inside, and is counted apart;
//! everything else is looked at as the lab's watches do, and some of what tunnels say is kept for whoever wants to replay it.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::Socket;
use vxmesh::lab::classify::{Class, Expect, Eye};
use vxmesh::lab::layout::{Layout, Wire};
use vxmesh::linux::{netns, sys};

use super::guests::{Talk, Voice};

/// First bytes of every attacker's Ethernet address.
pub(super) const ATTACKERS: [u8; 2] = [0x02, 0x66];
/// Handshakes and other datagrams that are kept.
const KEPT: usize = 200;

/// What was on a wire.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) frames: BTreeMap<Class, u64>,
    pub(super) attacks: u64,
    pub(super) missed: u64,
    /// The first frames in clear.
    pub(super) examples: Vec<String>,
    handshakes: VecDeque<Vec<u8>>,
    datagrams: VecDeque<Vec<u8>>,
}

impl Seen {
    pub(super) fn of(&self, class: Class) -> u64 {
        self.frames.get(&class).copied().unwrap_or(0)
    }

    fn add(&mut self, eye: &Eye, frame: &[u8]) {
        // An error may quote an attacker's own bytes, to whomever it pretended to be.
        if frame.get(6..8) == Some(&ATTACKERS[..])
            || Talk::find(frame).is_some_and(|talk| talk.voice == Voice::Attacker)
        {
            self.attacks += 1;
            return;
        }
        let class = eye.classify(frame);
        *self.frames.entry(class).or_default() += 1;
        if class == Class::Wireguard {
            // Data messages are type 4 (the WireGuard paper, section 5.4.6), behind 42 bytes of headers.
            let kept = if frame.get(42) == Some(&4) { &mut self.datagrams } else { &mut self.handshakes };
            kept.push_back(frame.to_vec());
            if kept.len() > KEPT {
                kept.pop_front();
            }
        }
        if class == Class::Clear && self.examples.len() < 3 {
            self.examples.push(frame.iter().take(120).map(|byte| format!("{byte:02x}")).collect());
        }
    }
}

/// A thread that looks at a wire until it is dropped.
pub(super) struct Watcher {
    pub(super) wire: Wire,
    seen: Arc<Mutex<Seen>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(super) fn start(layout: &Layout, wire: &Wire) -> Self {
        let eye = Eye::new(Expect::of(layout, wire));
        let (seen, end) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (shared, stop) = (Arc::clone(&seen), Arc::clone(&end));
        let (path, device) = (netns::path(&wire.namespace), wire.device.clone());
        let thread = thread::spawn(move || {
            netns::enter(&path).unwrap();
            watch(&device, &eye, &shared, &stop);
        });
        Self { wire: wire.clone(), seen, end, thread: Some(thread) }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// What tunnels have said here lately: handshakes first.
    pub(super) fn captured(&self) -> Vec<Vec<u8>> {
        let seen = self.seen.lock().unwrap();
        seen.handshakes.iter().chain(&seen.datagrams).cloned().collect()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(device: &str, eye: &Eye, seen: &Mutex<Seen>, end: &AtomicBool) {
    let socket = Socket::from(sys::packet_socket(index(device)).unwrap());
    sys::receive_buffer(&socket, 64 << 20).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let mut buffer = vec![0; 128 << 10];
    while !end.load(Ordering::Relaxed) {
        // A wire that goes down is said once as an error.
        let read = (&socket).read(&mut buffer);
        let mut seen = seen.lock().unwrap();
        if let Ok(length) = read {
            seen.add(eye, &buffer[..length]);
        }
        seen.missed += u64::from(sys::packet_missed(&socket).unwrap());
    }
}

/// Index of an interface in the namespace that this thread is in.
pub(super) fn index(device: &str) -> u32 {
    (1..100_000).find(|index| sys::interface_name(*index).is_ok_and(|name| name == device)).unwrap()
}
