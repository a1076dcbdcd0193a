//! Strangers on every wire, and guests that lie about who they are.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::Socket;
use vxmesh::lab::layout::{Layout, MANAGEMENT, MANAGEMENT_TCP_PORT, TUNNEL_UDP_PORT, VXLAN_UDP_PORT};
use vxmesh::lab::shell;
use vxmesh::linux::{netns, sys};
use vxmesh::types::Mac;

use super::guests::{self, TALK, Talk, Voice};
use super::lies::SERVICE;
use super::plan::{Attack, Dice, INTERNET, NODES, NODES_OF_PDC};
use super::wires::{ATTACKERS, index};

/// VNIs of the two networks.
pub(super) const VNIS: [u32; 2] = [10, 20];
/// Datagrams of one attack with noise.
const NOISE: usize = 300;

/// An attacker's machine on one wire.
pub(super) struct Attacker {
    namespace: String,
    mac: Mac,
    ip: Ipv4Addr,
    wire: usize,
    /// Each node's Ethernet addresses: inside the PDC and on the internet.
    doors: Vec<[Mac; 2]>,
}

/// What a datagram to a VTEP pretends.
struct Forged {
    source: Ipv4Addr,
    target: Ipv4Addr,
    udp_port: u16,
    ttl: u8,
    vni: u32,
    flags: u8,
}

impl Attacker {
    /// Plugs one into a wire. `doors` are the nodes' Ethernet addresses.
    pub(super) fn new(layout: &Layout, wire: usize, doors: Vec<[Mac; 2]>) -> Self {
        let number = u8::try_from(wire).unwrap();
        let namespace = format!("{}-x{wire}", layout.name);
        let mac = Mac([ATTACKERS[0], ATTACKERS[1], 0, 0, 0, number + 1]);
        let ip = if wire == INTERNET { Ipv4Addr::new(198, 18, 66, 66) } else { Ipv4Addr::new(10, number + 1, 0, 66) };
        let length = if wire == INTERNET { 16 } else { 24 };
        super::world::space(layout, &namespace);
        let device = &layout.wires[wire].device;
        let lines = [
            format!("link add x{wire} type veth peer name eth0 address {mac} netns {namespace}"),
            format!("link set x{wire} master {device} up"),
        ];
        shell::ip_batch(&layout.net, &lines).unwrap();
        let lines = [format!("addr add {ip}/{length} dev eth0"), "link set eth0 up".to_owned()];
        shell::ip_batch(&namespace, &lines).unwrap();
        Self { namespace, mac, ip, wire, doors }
    }

    /// Attacks once; returns how many frames or connections that were.
    pub(super) fn strike(&self, kind: Attack, target: usize, seed: u64, layout: &Layout, heard: &[Vec<u8>]) -> usize {
        let mut dice = Dice::new(seed);
        match kind {
            Attack::Vxlan => self.send(&self.vxlan(target, layout)),
            Attack::Garbage => self.send(&self.garbage(target, layout, &mut dice)),
            Attack::Replay => self.send(&self.replayed(heard)),
            Attack::Management => self.knock(&mut dice),
        }
    }

    fn send(&self, frames: &[Vec<u8>]) -> usize {
        send(&self.namespace, frames)
    }

    fn side(&self) -> usize {
        usize::from(self.wire == INTERNET)
    }

    /// Every way in that the packet filter must shut. On an admin wire the TTL of a known VTEP's address is what a neighbour's
    /// cannot be: who can send as a neighbour with all that is right is inside the PDC's trust (see the threat model).
    fn vxlan(&self, target: usize, layout: &Layout) -> Vec<Vec<u8>> {
        let node = &layout.nodes[target];
        let same = (target / NODES_OF_PDC) * NODES_OF_PDC + (target + 1) % NODES_OF_PDC;
        let (neighbour, stranger) = (&layout.nodes[same], &layout.nodes[(target + NODES_OF_PDC) % NODES]);
        let own = if self.wire == INTERNET { node.external } else { node.admin };
        let mut ways = Vec::new();
        for vni in VNIS {
            let base = |source, target| Forged { source, target, udp_port: VXLAN_UDP_PORT, ttl: 255, vni, flags: 8 };
            ways.push(base(self.ip, own));
            ways.push(base(stranger.external, own));
            ways.push(base(stranger.admin, own));
            ways.push(Forged { ttl: 64, ..base(neighbour.admin, node.admin) });
            ways.push(Forged { udp_port: 8472, ..base(neighbour.admin, own) });
            ways.push(Forged { flags: 0xff, ..base(self.ip, own) });
            if self.wire == INTERNET {
                ways.push(base(neighbour.admin, node.admin));
                ways.push(base(neighbour.external, node.external));
            }
        }
        ways.push(Forged {
            source: neighbour.admin,
            target: node.admin,
            udp_port: VXLAN_UDP_PORT,
            ttl: 255,
            vni: 4242,
            flags: 8,
        });
        ways.iter().flat_map(|way| self.forged(target, same, way)).collect()
    }

    /// Frames for the target's guest, for all, for DHCP clients, and for its host by broadcast and by a group that a bridge keeps.
    fn forged(&self, target: usize, from: usize, way: &Forged) -> [Vec<u8>; 5] {
        let (all, kept, guest) = (Mac::BROADCAST, Mac([1, 0x80, 0xc2, 0, 0, 0x0e]), guests::ip(target));
        let service = (way.target, [TALK, SERVICE]);
        [
            (guests::mac(target), (guest, [TALK, TALK])),
            (all, (guest, [TALK, TALK])),
            (all, (Ipv4Addr::BROADCAST, [1067, 68])),
            (all, service),
            (kept, service),
        ]
        .map(|(to, (ip, ports))| {
            let talk = Talk { voice: Voice::Attacker, from, to: target, sent: 0 };
            let inner = udp_frame([to, guests::mac(from)], [guests::ip(from), ip], ports, 64, &talk.bytes());
            let vni = (way.vni << 8).to_be_bytes();
            let payload = [&[way.flags, 0, 0, 0], &vni[..], &inner].concat();
            let door = self.doors[target][self.side()];
            udp_frame([door, self.mac], [way.source, way.target], [40_000, way.udp_port], way.ttl, &payload)
        })
    }

    fn garbage(&self, target: usize, layout: &Layout, dice: &mut Dice) -> Vec<Vec<u8>> {
        let node = &layout.nodes[target];
        let (own, door) =
            (if self.wire == INTERNET { node.external } else { node.admin }, self.doors[target][self.side()]);
        let one = |_| {
            let port = dice.pick(&[VXLAN_UDP_PORT, TUNNEL_UDP_PORT, TUNNEL_UDP_PORT, TUNNEL_UDP_PORT + 1]);
            let length = dice.pick(&[0, 1, 8, 32, 64, 92, 96, 148, 148, 1400]);
            let mut payload: Vec<u8> = (0..length).map(|_| dice.roll().to_be_bytes()[0]).collect();
            // Half of it begins like a WireGuard message.
            if let Some(start) = payload.first_chunk_mut::<4>()
                && dice.index(2) == 0
            {
                *start = [u8::try_from(dice.range(1, 5)).unwrap(), 0, 0, 0];
            }
            let [_, _, third, fourth] = u32::try_from(dice.roll() >> 32).unwrap().to_be_bytes();
            let source = dice.pick(&[self.ip, Ipv4Addr::new(198, 18, third, fourth)]);
            udp_frame([door, self.mac], [source, own], [TUNNEL_UDP_PORT, port], 64, &payload)
        };
        (0..NOISE).map(one).collect()
    }

    /// The same bytes from here, and from here under this machine's own address.
    fn replayed(&self, heard: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let from_here = |frame: &Vec<u8>| {
            let mut frame = frame.clone();
            frame[6..12].copy_from_slice(&self.mac.0);
            // A capture holds the part of the UDP checksum that the sender's interface was to finish; none is as good.
            frame[40..42].fill(0);
            frame
        };
        let as_itself = |frame: &Vec<u8>| {
            let address = |at: usize| Ipv4Addr::from(*frame[at..].first_chunk::<4>().unwrap());
            let port = |at: usize| u16::from_be_bytes(*frame[at..].first_chunk().unwrap());
            let door = Mac(*frame.first_chunk().unwrap());
            udp_frame([door, self.mac], [self.ip, address(30)], [port(34), port(36)], 64, &frame[42..])
        };
        heard.iter().flat_map(|frame| [from_here(frame), as_itself(frame)]).collect()
    }

    fn knock(&self, dice: &mut Dice) -> usize {
        let seed = dice.roll();
        inside(&self.namespace, move || {
            let mut dice = Dice::new(seed);
            let limit = Duration::from_millis(300);
            let address = SocketAddr::new(IpAddr::V4(MANAGEMENT), MANAGEMENT_TCP_PORT);
            let knocks = 5;
            for _ in 0..knocks {
                let Ok(mut stream) = TcpStream::connect_timeout(&address, limit) else { continue };
                stream.set_read_timeout(Some(limit)).unwrap();
                stream.set_write_timeout(Some(limit)).unwrap();
                let mut noise: Vec<u8> = (0..dice.range(1, 3000)).map(|_| dice.roll().to_be_bytes()[0]).collect();
                match dice.index(3) {
                    0 => noise.splice(..0, *b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n").for_each(drop),
                    // A TLS record of a handshake, as long as it says (RFC 8446 section 5.1).
                    1 => noise.splice(..0, [22, 3, 1, 1, 0]).for_each(drop),
                    _ => {}
                }
                // What it answers, if anything, is its own business.
                let _ = stream.write_all(&noise).and_then(|()| stream.read(&mut [0; 100]));
            }
            knocks
        })
    }
}

/// A guest sends as guests of other nodes, to all others. Returns how many frames that were.
pub(super) fn spoof(namespace: &str, node: usize, seed: u64) -> usize {
    let mut dice = Dice::new(seed);
    let mut frames = Vec::new();
    for _ in 0..10 {
        let as_whom = (node + 1 + dice.index(NODES - 1)) % NODES;
        for to in (0..NODES).filter(|to| ![node, as_whom].contains(to)) {
            let talk = Talk { voice: Voice::Impostor, from: as_whom, to, sent: 0 };
            let ips = [guests::ip(as_whom), guests::ip(to)];
            for source in [guests::mac(as_whom), Mac([2, 0xaa, 0, 0, 0, 1])] {
                frames.push(udp_frame([guests::mac(to), source], ips, [TALK, TALK], 64, &talk.bytes()));
            }
        }
    }
    send(namespace, &frames)
}

/// Sends frames as they are out of `eth0` of a namespace.
pub(super) fn send(namespace: &str, frames: &[Vec<u8>]) -> usize {
    send_by(namespace, "eth0", frames)
}

/// As [`send`], by any interface.
pub(super) fn send_by(namespace: &str, device: &str, frames: &[Vec<u8>]) -> usize {
    inside(namespace, || {
        let socket = Socket::from(sys::packet_socket(index(device)).unwrap());
        frames.iter().filter(|frame| (&socket).write(frame).is_ok()).count()
    })
}

/// Does something on a thread in a namespace.
pub(super) fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let path = netns::path(namespace);
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            netns::enter(&path).unwrap();
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A UDP datagram over IPv4 in an Ethernet frame. Each pair is destination and source for Ethernet, source and destination for
/// the rest, as they stand on the wire. No UDP checksum, which IPv4 allows (RFC 768).
pub(super) fn udp_frame(macs: [Mac; 2], ips: [Ipv4Addr; 2], ports: [u16; 2], ttl: u8, payload: &[u8]) -> Vec<u8> {
    let length = |headers: usize| u16::try_from(headers + payload.len()).unwrap().to_be_bytes();
    let mut ip = [&[0x45, 0][..], &length(28), &[0, 0, 0x40, 0, ttl, 17, 0, 0]].concat();
    ip.extend(ips.iter().flat_map(Ipv4Addr::octets));
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let udp = [&ports[0].to_be_bytes()[..], &ports[1].to_be_bytes(), &length(8), &[0, 0]].concat();
    [&macs[0].0[..], &macs[1].0, &[8, 0], &ip, &udp, payload].concat()
}
