//! Frames made by hand, sent and heard by packet sockets: what an attacker on a wire has.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::IpAddr;
use std::process::Command;
use std::thread;

use socket2::Socket;
use vxmesh::linux::{netns, sys};
use vxmesh::types::Mac;

use crate::harness::{Space, succeed};

/// EtherType of what the attackers' frames carry: nobody else's (IEEE 802 local experimental).
const EXPERIMENT: [u8; 2] = [0x88, 0xb5];
/// Protocol numbers of IP.
pub const UDP: u8 = 17;

/// An end of a wire.
pub struct Plug(Socket);

impl Plug {
    /// Hears and says everything on a device of a namespace.
    pub fn new(space: &Space, device: &str) -> Self {
        Self::at(space.name(), device)
    }

    /// The same, in a namespace of a lab.
    pub fn at(namespace: &str, device: &str) -> Self {
        let path = format!("/sys/class/net/{device}/ifindex");
        let index =
            succeed(Command::new("ip").args(["netns", "exec", namespace, "cat", &path])).trim().parse().unwrap();
        let open = || {
            netns::enter(&netns::path(namespace)).unwrap();
            sys::packet_socket(index).unwrap()
        };
        let socket = Socket::from(thread::scope(|scope| scope.spawn(open).join().unwrap()));
        sys::receive_buffer(&socket, 32 << 20).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(socket)
    }

    /// Says a frame; one that the device cannot take now is lost, as on any wire.
    pub fn send(&self, frame: &[u8]) {
        let _ = (&self.0).write(frame);
    }

    /// How many of the frames that wait hold these bytes. All that wait are taken.
    pub fn count(&self, bytes: &[u8]) -> usize {
        self.take().iter().filter(|frame| holds(frame, bytes)).count()
    }

    /// All frames that wait.
    pub fn take(&self) -> Vec<Vec<u8>> {
        let (mut frames, mut buffer) = (Vec::new(), vec![0; 65_536]);
        loop {
            match (&self.0).read(&mut buffer) {
                Ok(length) => frames.push(buffer[..length].to_vec()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return frames,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// True where `frame` holds `bytes` anywhere.
pub fn holds(frame: &[u8], bytes: &[u8]) -> bool {
    frame.windows(bytes.len()).any(|window| window == bytes)
}

/// Ethernet address of a device in a namespace.
pub fn mac_of(space: &Space, device: &str) -> Mac {
    space.sh(&format!("cat /sys/class/net/{device}/address")).trim().parse().unwrap()
}

/// Bytes that stand in one attack's frames and in nothing else.
pub fn marker(number: usize) -> [u8; 12] {
    let mut marker = *b"vxmk00000000";
    marker[4..].copy_from_slice(format!("{number:08}").as_bytes());
    marker
}

/// A frame from guest to guest.
pub fn inner(from: Mac, to: Mac, marker: &[u8]) -> Vec<u8> {
    let mut frame = [&to.0[..], &from.0, &EXPERIMENT, marker].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// RFC 7348 around a frame, with the first byte of flags as given.
pub fn vxlan(flags: u8, vni: u32, inner: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = vni.to_be_bytes();
    [&[flags, 0, 0, 0, a, b, c, 0][..], inner].concat()
}

/// A UDP datagram with its checksum.
pub fn udp(from: IpAddr, to: IpAddr, port: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    let mut datagram = [&49_152_u16.to_be_bytes()[..], &port.to_be_bytes(), &length, &[0, 0], payload].concat();
    let pseudo = [octets(from), octets(to), vec![0, UDP], length.to_vec()].concat();
    let sum = match checksum(&[pseudo, datagram.clone()].concat()) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// An IP packet of the family of `from`.
pub fn ip(from: IpAddr, to: IpAddr, ttl: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    fragment(from, to, ttl, protocol, payload, 0, false)
}

/// A piece of an IPv4 packet that begins at byte `at`; with `at` 0 and no `more`, the packet itself, of either family.
pub fn fragment(from: IpAddr, to: IpAddr, ttl: u8, protocol: u8, payload: &[u8], at: u16, more: bool) -> Vec<u8> {
    fragment_of(0x1234, from, to, ttl, protocol, payload, at, more)
}

/// The same of a packet with this identification.
#[expect(clippy::too_many_arguments, reason = "as many as the header has fields")]
pub fn fragment_of(
    id: u16,
    from: IpAddr,
    to: IpAddr,
    ttl: u8,
    protocol: u8,
    payload: &[u8],
    at: u16,
    more: bool,
) -> Vec<u8> {
    if from.is_ipv6() {
        assert!(at == 0 && !more, "IPv6 has a header of its own for fragments");
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        return [&[0x60, 0, 0, 0][..], &length, &[protocol, ttl], &octets(from), &octets(to), payload].concat();
    }
    let length = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let place = ((at / 8) | if more { 0x2000 } else { 0 }).to_be_bytes();
    let start = [&[0x45, 0][..], &length, &id.to_be_bytes(), &place, &[ttl, protocol, 0, 0]].concat();
    let mut header = [start, octets(from), octets(to)].concat();
    let sum = checksum(&header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    [header, payload.to_vec()].concat()
}

/// An ICMP error that says to the sender of a packet that its path carries `mtu` bytes only, of the family of `from`.
pub fn smaller(from: IpAddr, to: IpAddr, quoted: &[u8], mtu: u16) -> Vec<u8> {
    let [high, low] = mtu.to_be_bytes();
    let (kind, code, protocol) = if from.is_ipv4() { (3, 4, 1) } else { (2, 0, 58) };
    let mut error = [&[kind, code, 0, 0, 0, 0, high, low][..], quoted].concat();
    let length = u32::try_from(error.len()).unwrap().to_be_bytes();
    let pseudo = [octets(from), octets(to), length.to_vec(), vec![0, 0, 0, protocol]].concat();
    let pseudo = if from.is_ipv4() { Vec::new() } else { pseudo };
    let sum = checksum(&[pseudo, error.clone()].concat()).to_be_bytes();
    error[2..4].copy_from_slice(&sum);
    ip(from, to, 64, protocol, &error)
}

/// Ethernet around an IP packet.
pub fn ethernet(from: Mac, to: Mac, packet: &[u8]) -> Vec<u8> {
    let kind: [u8; 2] = if packet[0] >> 4 == 4 { [0x08, 0] } else { [0x86, 0xdd] };
    [&to.0[..], &from.0, &kind, packet].concat()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
