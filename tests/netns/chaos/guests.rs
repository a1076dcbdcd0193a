//! Guests that talk all the time and know what they may hear: every datagram says which network it is of, who sent it, for whom,
//! and when. Two networks have the same MACs and addresses, so a frame that strays into the other one would be believed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::Socket;
use vxmesh::clock;
use vxmesh::lab::classify::MAGIC;
use vxmesh::linux::{netns, sys};
use vxmesh::types::Mac;

use super::plan::{NODES, Net};

/// UDP port of the guests' talk.
pub(super) const TALK: u16 = 7777;
/// Time from one datagram to a guest to the next.
const GAP: Duration = Duration::from_millis(100);
/// `PACKET_IGNORE_OUTGOING` (linux/if_packet.h): only what arrives.
const IGNORE_OUTGOING: i32 = 23;
/// Ethernet, IPv4 and UDP headers.
const HEADERS: usize = 14 + 20 + 8;

/// Who a datagram says that it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    Guest(Net),
    /// Somebody on a wire.
    Attacker,
    /// A guest under the name of another.
    Impostor,
}

/// What stands in a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Talk {
    pub(super) voice: Voice,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) sent: u64,
}

impl Talk {
    pub(super) fn bytes(self) -> Vec<u8> {
        let voice = match self.voice {
            Voice::Guest(Net::Blue) => 0,
            Voice::Guest(Net::Red) => 1,
            Voice::Attacker => 2,
            Voice::Impostor => 3,
        };
        let ends = [self.from, self.to].map(|end| u8::try_from(end).unwrap());
        [&MAGIC[..], &[voice, ends[0], ends[1]], &self.sent.to_be_bytes()].concat()
    }

    /// What is said in a frame, at whatever depth.
    pub(super) fn find(frame: &[u8]) -> Option<Self> {
        let at = frame.windows(MAGIC.len()).position(|bytes| bytes == MAGIC)?;
        Self::read(&frame[at..])
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&MAGIC[..])?;
        let voice = match rest.first()? {
            0 => Voice::Guest(Net::Blue),
            1 => Voice::Guest(Net::Red),
            2 => Voice::Attacker,
            3 => Voice::Impostor,
            _ => return None,
        };
        let sent = u64::from_be_bytes(*rest.get(3..)?.first_chunk()?);
        Some(Self { voice, from: usize::from(*rest.get(1)?), to: usize::from(*rest.get(2)?), sent })
    }
}

/// MAC of guest `node` in either network.
pub(super) fn mac(node: usize) -> Mac {
    let (pdc, number) = (node / super::plan::NODES_OF_PDC + 1, node % super::plan::NODES_OF_PDC + 1);
    Mac([0x02, 0x76, 0x78, u8::try_from(pdc).unwrap(), u8::try_from(number).unwrap(), 1])
}

/// Its address.
pub(super) fn ip(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 10, 11 + u8::try_from(node).unwrap())
}

/// Why a guest should not have got a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wrong {
    OtherNetwork,
    OtherGuest,
    OwnAddress,
    OfAttacker,
    OfImpostor,
    Inside,
}

/// What a frame is to the guest that it has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Talk(Talk),
    /// Of its own network, for a guest that nobody knows at this moment, as any switch floods it: one that has just moved, or whose
    /// port has just been deleted. ARP says nothing of its network; the talk that follows it does.
    Flooded,
    /// ARP and the like.
    Else,
}

/// What a guest has heard.
#[derive(Debug, Default)]
pub(super) struct Ear {
    /// When the newest datagram of each guest was sent, in nanoseconds.
    newest: [AtomicU64; NODES],
    count: AtomicU64,
    flooded: AtomicU64,
    wrong: Mutex<BTreeMap<Wrong, (u64, String)>>,
}

/// One guest: two threads in its namespace.
pub(super) struct Guest {
    pub(super) net: Net,
    pub(super) node: usize,
    pub(super) namespace: String,
    ear: Arc<Ear>,
    sent: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    mouth: Option<UdpSocket>,
    threads: Vec<JoinHandle<()>>,
}

impl Guest {
    /// A guest that says nothing yet. Its UDP port is open: a kernel that has none quotes what it was told in an ICMP error.
    pub(super) fn new(namespace: &str, net: Net, node: usize) -> Self {
        let (ear, end) = (Arc::<Ear>::default(), Arc::<AtomicBool>::default());
        let path = netns::path(namespace);
        let open = || {
            netns::enter(&path).unwrap();
            let mouth = UdpSocket::bind(("0.0.0.0", TALK)).unwrap();
            mouth.set_nonblocking(true).unwrap();
            (mouth, ear_on("eth0"))
        };
        let (mouth, socket) = thread::scope(|scope| scope.spawn(open).join().unwrap());
        let (own, stop) = (Arc::clone(&ear), Arc::clone(&end));
        let listens = thread::spawn(move || listen(net, node, &socket, &own, &stop));
        let (namespace, threads) = (namespace.to_owned(), vec![listens]);
        Self { net, node, namespace, ear, sent: Arc::default(), end, mouth: Some(mouth), threads }
    }

    /// Begins to talk to all others.
    pub(super) fn speak(&mut self) {
        let mouth = self.mouth.take().unwrap();
        let (net, node, said, stop) = (self.net, self.node, Arc::clone(&self.sent), Arc::clone(&self.end));
        self.threads.push(thread::spawn(move || talk(&mouth, net, node, &said, &stop)));
    }

    /// True where a datagram that guest `from` has sent after `since` has arrived.
    pub(super) fn has_heard(&self, from: usize, since: u64) -> bool {
        self.ear.newest[from].load(Ordering::Relaxed) > since
    }

    /// Datagrams sent, received, and heard because a bridge flooded them.
    pub(super) fn counts(&self) -> [u64; 3] {
        [&*self.sent, &self.ear.count, &self.ear.flooded].map(|count| count.load(Ordering::Relaxed))
    }

    /// Frames that should not have come, with the first one of each kind.
    pub(super) fn wrong(&self) -> BTreeMap<Wrong, (u64, String)> {
        self.ear.wrong.lock().unwrap().clone()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn talk(socket: &UdpSocket, net: Net, node: usize, sent: &AtomicU64, end: &AtomicBool) {
    let mut unread = [0; 64];
    while !end.load(Ordering::Relaxed) {
        for to in (0..NODES).filter(|to| *to != node) {
            let talk = Talk { voice: Voice::Guest(net), from: node, to, sent: clock::mono().as_nanos() };
            // No carrier, or nobody answers ARP: that is what the run is about.
            if socket.send_to(&talk.bytes(), (ip(to), TALK)).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        while socket.recv(&mut unread).is_ok() {}
        thread::sleep(GAP);
    }
}

/// Hears what comes in on a device of the namespace that this thread is in.
fn ear_on(device: &str) -> Socket {
    let socket = Socket::from(sys::packet_socket(super::wires::index(device)).unwrap());
    sys::set_socket_option(socket.as_fd(), libc::SOL_PACKET, IGNORE_OUTGOING, 1).unwrap();
    sys::receive_buffer(&socket, 4 << 20).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket
}

fn listen(net: Net, node: usize, mut socket: &Socket, heard: &Ear, end: &AtomicBool) {
    let mut buffer = vec![0; 1 << 16];
    while !end.load(Ordering::Relaxed) {
        // An interface that goes down is said once as an error.
        let Ok(length) = socket.read(&mut buffer) else { continue };
        match judge(net, node, &buffer[..length]) {
            Ok(Heard::Talk(talk)) => {
                heard.count.fetch_add(1, Ordering::Relaxed);
                heard.newest[talk.from].fetch_max(talk.sent, Ordering::Relaxed);
            }
            Ok(Heard::Flooded) => {
                heard.flooded.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Heard::Else) => {}
            Err(wrong) => {
                let mut all = heard.wrong.lock().unwrap();
                let example = || {
                    let hex: String = buffer[..length.min(96)].iter().map(|byte| format!("{byte:02x}")).collect();
                    (0, format!("at {} s: {hex}", clock::mono().as_nanos() / 1_000_000_000))
                };
                all.entry(wrong).or_insert_with(example).0 += 1;
            }
        }
    }
}

/// Judges a frame that has come to a guest.
pub(super) fn judge(net: Net, node: usize, frame: &[u8]) -> Result<Heard, Wrong> {
    let (Some(to), Some(from)) = (frame.get(..6), frame.get(6..12)) else { return Ok(Heard::Else) };
    if from == mac(node).0 {
        return Err(Wrong::OwnAddress);
    }
    let foreign = to[0] & 1 == 0 && to != mac(node).0;
    let Some(talk) = Talk::find(frame) else { return Ok(if foreign { Heard::Flooded } else { Heard::Else }) };
    match talk.voice {
        Voice::Attacker => Err(Wrong::OfAttacker),
        Voice::Impostor => Err(Wrong::OfImpostor),
        Voice::Guest(of) if of != net => Err(Wrong::OtherNetwork),
        Voice::Guest(_) if frame.get(HEADERS..).and_then(Talk::read) != Some(talk) => Err(Wrong::Inside),
        Voice::Guest(_) if talk.from >= NODES || talk.to >= NODES || from != mac(talk.from).0 => Err(Wrong::OtherGuest),
        Voice::Guest(_) if to != mac(talk.to).0 => Err(Wrong::OtherGuest),
        Voice::Guest(_) if foreign => Ok(Heard::Flooded),
        Voice::Guest(_) => Ok(Heard::Talk(talk)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::attack::udp_frame;
    use super::*;

    fn frame(from: usize, to: usize, talk: Talk) -> Vec<u8> {
        udp_frame([mac(to), mac(from)], [ip(from), ip(to)], [TALK, TALK], 64, &talk.bytes())
    }

    #[test]
    fn a_guest_knows_what_is_not_for_it() {
        let right = Talk { voice: Voice::Guest(Net::Blue), from: 1, to: 0, sent: 7 };
        assert_eq!(judge(Net::Blue, 0, &frame(1, 0, right)), Ok(Heard::Talk(right)));
        assert_eq!(judge(Net::Red, 0, &frame(1, 0, right)), Err(Wrong::OtherNetwork));
        assert_eq!(judge(Net::Blue, 2, &frame(1, 0, right)), Ok(Heard::Flooded));
        assert_eq!(judge(Net::Red, 2, &frame(1, 0, right)), Err(Wrong::OtherNetwork));
        assert_eq!(
            judge(Net::Blue, 0, &frame(1, 0, Talk { to: 2, ..right })),
            Err(Wrong::OtherGuest),
            "another's talk"
        );
        let silent = udp_frame([mac(0), mac(1)], [ip(1), ip(0)], [TALK, TALK], 64, b"no talk");
        assert_eq!(judge(Net::Blue, 2, &silent), Ok(Heard::Flooded));
        assert_eq!(judge(Net::Blue, 0, &frame(2, 0, right)), Err(Wrong::OtherGuest), "another sender's address");
        assert_eq!(judge(Net::Blue, 1, &frame(1, 0, right)), Err(Wrong::OwnAddress));
        for (voice, wrong) in [(Voice::Attacker, Wrong::OfAttacker), (Voice::Impostor, Wrong::OfImpostor)] {
            assert_eq!(judge(Net::Blue, 0, &frame(1, 0, Talk { voice, ..right })), Err(wrong));
        }
        let carried = udp_frame([mac(0), mac(1)], [ip(1), ip(0)], [TALK, 4789], 64, &frame(1, 0, right));
        assert_eq!(judge(Net::Blue, 0, &carried), Err(Wrong::Inside));
        assert_eq!(judge(Net::Blue, 0, &[0xff; 60]), Ok(Heard::Else), "broadcast of others is no talk");
    }
}
