//! Floods, each from where the one who makes it stands: a guest, a member or a stranger on the wire, another program of the host.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not told apart is a frame of a guest")]

use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vxmesh::lab::layout::Layout;
use vxmesh::linux::{netns, sys};

/// Frames between two pauses, and the pause: some 50,000 a second, which is more than a virtual machine is given.
const BURST: usize = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// What floods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Nothing: the figures to compare with.
    Calm,
    /// A guest invents source addresses, in frames to a group that switches keep to themselves.
    Sources,
    /// A guest asks by ARP, with an invented source and for an invented address each time.
    Arp,
    /// A guest asks by ND for invented addresses.
    Discovery,
    /// A guest opens connections without end, by the plain path and across.
    Connections,
    /// 300,000 addresses stand in the bridge's table behind a guest's port, however they got past the packet filter.
    Table,
    /// Somebody on the admin wire asks by ARP with invented addresses, so that the host has neighbours.
    Neighbours,
    /// Frames of VXLAN from everywhere.
    Vxlan,
    /// First messages of handshakes from everywhere.
    Handshakes,
    /// Interfaces of containers come and go, a hundred at a time, beside five hundred that stay.
    Interfaces,
    /// Another program changes packet filters of its own without end.
    Filters,
}

/// All of them.
pub const FLOODS: [Flood; 11] = [
    Flood::Calm,
    Flood::Sources,
    Flood::Arp,
    Flood::Discovery,
    Flood::Connections,
    Flood::Table,
    Flood::Neighbours,
    Flood::Vxlan,
    Flood::Handshakes,
    Flood::Interfaces,
    Flood::Filters,
];

/// A flood that runs until it is dropped.
pub struct Running {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Frames sent, or rounds of commands.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts a flood against node `a-1` of a lab of two PDCs with two nodes and two guests each.
pub fn start(flood: Flood, layout: &Layout) -> Running {
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (halt, count, layout) = (Arc::clone(&stop), Arc::clone(&made), layout.clone());
    let thread = thread::spawn(move || {
        while !halt.load(Ordering::Relaxed) {
            match flood {
                Flood::Calm | Flood::Table => thread::sleep(PAUSE),
                Flood::Interfaces => interfaces(&layout, &halt, &count),
                Flood::Filters => filters(&layout, &halt, &count),
                _ => frames(flood, &layout, &halt, &count),
            }
        }
    });
    Running { stop, made, thread: Some(thread) }
}

/// What stands before the flood begins.
pub fn prepare(flood: Flood, layout: &Layout, entries: u32) {
    let host = layout.node("a-1").unwrap();
    match flood {
        Flood::Table => {
            let port = sh(
                &host.namespace,
                "bridge -o link show | grep -o '^[0-9]*: [^:@]*' | cut -d' ' -f2 | grep -v '^v[vtpq][0-9]' | tail -1",
            );
            let mut random = Random(7);
            let mac = |random: &mut Random| {
                let [_, _, a, b, c, d, e, f] = random.next().to_be_bytes();
                format!("02:{:02x}:{a:02x}:{b:02x}:{c:02x}:{d:02x}", e ^ f)
            };
            let lines: String = (0..entries)
                .map(|_| format!("fdb add {} dev {} master dynamic\n", mac(&mut random), port.trim()))
                .collect();
            assert!(feed(&host.namespace, &["bridge", "-batch", "-"], &lines), "the table is filled");
        }
        Flood::Interfaces => {
            let lines: String = (0..500).map(|n| format!("link add c{n} up type veth peer name p{n}\n")).collect();
            assert!(feed(&host.namespace, &["ip", "-batch", "-"], &lines), "the interfaces are made");
        }
        _ => {}
    }
}

fn interfaces(layout: &Layout, stop: &AtomicBool, made: &AtomicU64) {
    let host = &layout.node("a-1").unwrap().namespace;
    let add: String = (0..100).map(|n| format!("link add f{n} group 77 type veth peer name g{n} group 77\n")).collect();
    while !stop.load(Ordering::Relaxed) {
        feed(host, &["ip", "-batch", "-"], &add);
        feed(host, &["ip", "-batch", "-"], "link del group 77\n");
        made.fetch_add(1, Ordering::Relaxed);
    }
}

fn filters(layout: &Layout, stop: &AtomicBool, made: &AtomicU64) {
    let host = &layout.node("a-1").unwrap().namespace;
    let elements: Vec<String> = (0..200).map(|n| format!("10.77.0.{n}")).collect();
    let text = format!(
        "add table inet noise\ndelete table inet noise\nadd table inet noise\nadd set inet noise s {{ type ipv4_addr; }}\n\
         add element inet noise s {{ {} }}\n",
        elements.join(", ")
    );
    while !stop.load(Ordering::Relaxed) {
        feed(host, &["nft", "-f", "-"], &text);
        made.fetch_add(1, Ordering::Relaxed);
    }
}

fn sh(namespace: &str, line: &str) -> String {
    let output = Command::new("ip").args(["netns", "exec", namespace, "sh", "-c", line]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program that reads lines. True where it is content with all of them.
fn feed(namespace: &str, words: &[&str], lines: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).args(words).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let written = input.write_all(lines.as_bytes());
    drop(input);
    child.wait().unwrap().success() && written.is_ok()
}

/// Makes one pair of interfaces come and go in a namespace, as fast as it goes.
pub fn flapping(namespace: &str) -> Running {
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (halt, count, namespace) = (Arc::clone(&stop), Arc::clone(&made), namespace.to_owned());
    let lines = "link add f1 type veth peer name f2\nlink del f1\n".repeat(20);
    let thread = thread::spawn(move || {
        while !halt.load(Ordering::Relaxed) {
            feed(&namespace, &["ip", "-batch", "-"], &lines);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    Running { stop, made, thread: Some(thread) }
}

/// Sends frames from where they come from.
fn frames(flood: Flood, layout: &Layout, stop: &AtomicBool, made: &AtomicU64) {
    let (target, neighbour) = (layout.node("a-1").unwrap(), layout.node("a-2").unwrap());
    let guest = &target.guests[1];
    let (space, device) = match flood {
        Flood::Neighbours | Flood::Vxlan => (&neighbour.namespace, "admin0"),
        Flood::Handshakes => (&neighbour.namespace, "ext0"),
        _ => (&guest.namespace, "eth0"),
    };
    let to = match flood {
        Flood::Neighbours | Flood::Vxlan | Flood::Handshakes => mac(&target.namespace, device),
        _ => [0xff; 6],
    };
    netns::enter(&netns::path(space)).unwrap();
    let mut socket = File::from(sys::packet_socket(index_of(device)).unwrap());
    let mut random = Random(1);
    let around = Around { own: guest.mac.0, to, host: target.admin, outside: target.external };
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            // A queue that is full is a frame less.
            let sent = socket.write(&frame(flood, &around, &mut random)).is_ok();
            made.fetch_add(u64::from(sent), Ordering::Relaxed);
        }
        thread::sleep(PAUSE);
    }
}

/// Index of an interface of this thread's namespace: `/sys` is that of another.
fn index_of(device: &str) -> u32 {
    (1..10_000).find(|index| sys::interface_name(*index).is_ok_and(|name| name == device)).unwrap()
}

fn mac(space: &str, device: &str) -> [u8; 6] {
    let text = sh(space, &format!("ip -o link show dev {device} | grep -o 'link/ether [0-9a-f:]*' | cut -d' ' -f2"));
    text.trim().parse::<vxmesh::types::Mac>().unwrap().0
}

/// Whom the frames are about.
struct Around {
    own: [u8; 6],
    to: [u8; 6],
    host: Ipv4Addr,
    outside: Ipv4Addr,
}

/// A frame of a flood.
fn frame(flood: Flood, around: &Around, random: &mut Random) -> Vec<u8> {
    let [a, b, c, d, e, f, g, h] = random.next().to_be_bytes();
    let invented = [2, a, b, c, d, e];
    match flood {
        Flood::Arp => {
            let asks = arp(invented, Ipv4Addr::new(192, 168, 10, f), Ipv4Addr::new(192, 168, 10, g));
            ethernet([0xff; 6], invented, 0x0806, &asks)
        }
        Flood::Neighbours => {
            ethernet(around.to, invented, 0x0806, &arp(invented, Ipv4Addr::new(10, 1, 0, f), around.host))
        }
        Flood::Discovery => {
            let mut body = vec![0x60, 0, 0, 0, 0, 24, 58, 255, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f, g, h];
            body.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c, 135, 0, 0, 0, 0, 0, 0, 0]);
            body.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f, g, h]);
            ethernet([0x33, 0x33, 0xff, a, b, c], around.own, 0x86dd, &body)
        }
        Flood::Connections => {
            let to = Ipv4Addr::new(192, 168, 10, 13 + f % 6);
            ethernet(
                [2, 0x76, 0x78, 1 + f % 2, 2, 1],
                around.own,
                0x0800,
                &udp(Ipv4Addr::new(192, 168, 10, 12), to, u16::from_be_bytes([a, b]), 9, &[0; 8]),
            )
        }
        Flood::Vxlan => {
            let inner = ethernet(
                [0xff; 6],
                invented,
                0x0806,
                &arp(invented, Ipv4Addr::new(192, 168, 10, f), Ipv4Addr::new(192, 168, 10, 11)),
            );
            let vxlan = [&[8, 0, 0, 0, 0, 0, 10, 0][..], &inner].concat();
            let from = Ipv4Addr::new(10, 1, f, g);
            ethernet(around.to, invented, 0x0800, &udp(from, around.host, 50_000, 4789, &vxlan))
        }
        Flood::Handshakes => {
            let mut call = vec![1, 0, 0, 0];
            (0..18).for_each(|_| call.extend(random.next().to_be_bytes()));
            let from = Ipv4Addr::new(198, 18, f, g);
            ethernet(around.to, invented, 0x0800, &udp(from, around.outside, u16::from_be_bytes([a, b]), 51_820, &call))
        }
        _ => ethernet([1, 0x80, 0xc2, 0, 0, 0x0e], invented, 0x88cc, &[0; 46]),
    }
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = [&to[..], &from, &kind.to_be_bytes(), body].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

fn arp(mac: [u8; 6], from: Ipv4Addr, asked: Ipv4Addr) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, 1][..], &mac, &from.octets(), &[0; 6], &asked.octets()].concat()
}

fn udp(from: Ipv4Addr, to: Ipv4Addr, source: u16, target: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(28 + data.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 1, 0, 0, 255, 17, 0, 0]);
    packet.extend([from.octets(), to.octets()].concat());
    let words = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum = words.sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend([source.to_be_bytes(), target.to_be_bytes(), (length - 20).to_be_bytes(), [0; 2]].concat());
    packet.extend(data);
    packet
}

/// xorshift64*: the same frames each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
