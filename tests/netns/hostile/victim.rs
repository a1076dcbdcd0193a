//! Guests that are attacked: Linux, set up to believe whatever a stack can be told to believe, with a DHCP client that never stops
//! asking and sockets that hear all that their kernel takes for theirs.

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;

use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;
use vxmesh::linux::sys;
use vxmesh::types::Mac;

use super::grammar::{MARK, Who, marks};
use super::ground::Ground;
use super::judge::{Belief, Kind};
use super::packets::{ICMP6, UDP, question};
use super::speech6::PROMISED;
use crate::frames::{Plug, holds};
use crate::harness::{Background, Space};

/// One who is attacked.
pub struct Victim {
    pub name: &'static str,
    pub who: Who,
    ear: Plug,
    sockets: Vec<(u8, UdpSocket)>,
    client: std::cell::RefCell<Option<Background>>,
    folder: TempDir,
    heard: std::cell::RefCell<Vec<Vec<u8>>>,
    space: Space,
}

/// What a packet says: who from, and to which UDP port with which first byte where it is UDP.
struct Said {
    from: IpAddr,
    to: Option<(u16, u8)>,
    marks: Vec<u32>,
    /// False for UDP that carries something else before its first mark.
    plain: bool,
}

impl Victim {
    pub fn new(name: &'static str, space: Space, who: Who) -> Self {
        let gateway = super::ground::who(13);
        space.sh(&format!(
            "for at in all default eth0; do sysctl -q -w net.ipv4.conf.$at.accept_redirects=1 \
             net.ipv4.conf.$at.secure_redirects=0 net.ipv4.conf.$at.arp_accept=1 net.ipv4.conf.$at.rp_filter=0 \
             net.ipv4.conf.$at.accept_source_route=1 net.ipv6.conf.$at.accept_ra=2 net.ipv6.conf.$at.accept_dad=0 \
             net.ipv6.conf.$at.accept_redirects=1 net.ipv6.conf.$at.accept_source_route=1 \
             net.ipv6.conf.$at.accept_ra_rt_info_max_plen=64; done
             sysctl -q -w net.ipv6.conf.eth0.accept_untracked_na=1 2>/dev/null || true
             sysctl -q -w net.ipv4.icmp_echo_ignore_broadcasts=0
             ip address add {}/24 dev eth0; ip link set dev eth0 up; ip address add {}/64 dev eth0 nodad",
            who.four, who.six
        ));
        if who != gateway {
            space.sh(&format!(
                "ip route add default via {}; ip -6 route add default via {} dev eth0",
                gateway.four,
                gateway.local()
            ));
        }
        let sockets = space.enter(|| raw_sockets(None));
        let (ear, folder) = (Plug::new(&space, "eth0"), tempfile::tempdir().unwrap());
        let victim = Self {
            name,
            who,
            ear,
            sockets,
            client: std::cell::RefCell::default(),
            folder,
            heard: std::cell::RefCell::default(),
            space,
        };
        victim.ask();
        victim
    }

    pub fn reaches(&self, other: &Self) -> bool {
        self.who == other.who || self.space.holds(&format!("ping -n -c 1 -W 0.2 {} >/dev/null", other.who.four))
    }

    fn lease(&self) -> PathBuf {
        self.folder.path().join("lease")
    }

    /// Starts a DHCP client that asks until somebody answers.
    fn ask(&self) {
        use std::os::unix::fs::PermissionsExt as _;
        let script = self.folder.path().join("bound");
        let text = format!("#!/bin/sh\ncase $1 in bound) echo $ip by $serverid > {};; esac\n", self.lease().display());
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = self.space.command("busybox");
        command.args(["udhcpc", "-i", "eth0", "-f", "-t", "1000000", "-T", "1", "-s"]).arg(script);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        *self.client.borrow_mut() = Some(self.space.start(&mut command));
    }

    /// All frames that its interface has seen, kept until [`Self::look`].
    fn listen(&self) {
        self.heard.borrow_mut().extend(self.ear.take());
    }

    /// Its newest question for an address.
    pub fn asked(&self) -> Option<([u8; 4], Mac)> {
        self.listen();
        let heard = self.heard.borrow();
        heard.iter().rev().find_map(|frame| question(frame).map(|(transaction, client, _)| (transaction, client)))
    }

    /// True once a frame with these bytes has come.
    pub fn has_heard(&self, bytes: &[u8]) -> bool {
        self.listen();
        self.heard.borrow().iter().any(|frame| holds(frame, bytes))
    }

    /// Forgets what it believes, and knows its neighbours as they are, but not for sure.
    pub fn reset(&self) {
        let know = |who: &Who| {
            let entry = |ip: IpAddr| format!("neigh replace {ip} lladdr {} dev eth0 nud stale\n", who.mac);
            [who.four.into(), who.six.into(), who.local().into()].map(entry).concat()
        };
        let entries: String = Ground::truth().iter().filter(|who| **who != self.who).map(know).collect();
        self.space.sh(&format!(
            "ip neigh flush dev eth0; ip -6 route flush dev eth0 proto ra; ip route flush cache; ip -6 route flush cache
             ip -6 address flush dev eth0 dynamic; ip -batch - <<'END'\n{entries}END"
        ));
        if std::fs::remove_file(self.lease()).is_ok() {
            *self.client.borrow_mut() = None;
            self.ask();
        }
        self.packets();
        self.listen();
        // Its last question stays: somebody may answer it.
        let last = self.heard.borrow().iter().rev().find(|frame| question(frame).is_some()).cloned();
        *self.heard.borrow_mut() = last.into_iter().collect();
    }

    fn packets(&self) -> Vec<Said> {
        self.sockets.iter().flat_map(|(protocol, socket)| packets(*protocol, socket)).collect()
    }

    /// What it believes that is not so. `me` is whom it may believe for itself; none where nothing may come at all.
    pub fn look(&self, me: Option<Who>) -> Vec<Belief> {
        let mut beliefs = self.state();
        let mut add = |kind, what: String, numbers: Vec<u32>| {
            beliefs.push(Belief { kind, whom: self.name.to_owned(), what, numbers });
        };
        for said in self.packets().into_iter().filter(|said| !said.marks.is_empty()) {
            let what = format!("a packet from {} to {:?}", said.from, said.to);
            let answer = match said.from {
                IpAddr::V4(_) => matches!(said.to, Some((68, _) | (67, 2))),
                IpAddr::V6(_) => matches!(said.to, Some((546, _) | (547, 13))),
            };
            let own = me.is_some_and(|me| [me.four.into(), me.six.into(), me.local().into()].contains(&said.from));
            let asks = me.is_some() && said.from.is_unspecified();
            if answer {
                add(Kind::Dhcp, what, said.marks);
            } else if !own && !asks {
                add(Kind::Source, what, said.marks);
            }
        }
        if let Ok(lease) = std::fs::read_to_string(self.lease()) {
            add(Kind::Lease, lease.trim().to_owned(), Vec::new());
        }
        beliefs
    }

    /// Marks in any frame that has come to its interface.
    pub fn marked(&self) -> Vec<u32> {
        self.listen();
        self.heard.borrow().iter().flat_map(|frame| marks(frame).collect::<Vec<_>>()).collect()
    }

    fn state(&self) -> Vec<Belief> {
        let text = self.space.sh("ip neigh show dev eth0; echo ==; ip -6 route show dev eth0; echo ==; \
             ip route show cache; ip -6 route show cache; echo ==; ip -6 -o address show dev eth0 dynamic");
        let parts: Vec<&str> = text.split("==\n").collect();
        let [neighbours, routes, cache, addresses] = parts[..] else { panic!("{text}") };
        let mut beliefs = Vec::new();
        let mut add = |kind, what: &str| {
            beliefs.push(Belief { kind, whom: self.name.to_owned(), what: what.trim().to_owned(), numbers: vec![] })
        };
        neighbours.lines().filter(|line| !is_true(line)).for_each(|line| add(Kind::Neighbour, line));
        let promised = PROMISED.to_string();
        let promised = promised.trim_end_matches("::");
        let by_router = |line: &&str| line.contains("proto ra") || line.contains(promised);
        routes.lines().filter(by_router).for_each(|line| add(Kind::Router, line));
        addresses.lines().for_each(|line| add(Kind::Router, line));
        let gateway = super::ground::who(13);
        let right = [format!("via {} ", gateway.four), format!("via {} ", gateway.local())];
        let elsewhere = |line: &&str| line.contains(" via ") && !right.iter().any(|via| line.contains(via.as_str()));
        cache.lines().filter(elsewhere).for_each(|line| add(Kind::Redirect, line));
        beliefs
    }
}

/// `IP lladdr MAC ...` says what is so, or says nothing.
fn is_true(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [ip, "lladdr", mac, ..] = words[..] else { return true };
    let (Ok(ip), Ok(mac)) = (ip.parse::<IpAddr>(), mac.parse::<Mac>()) else { return true };
    ip.is_multicast()
        || Ground::truth().iter().any(|who| {
            let own = [who.four.into(), who.six.into(), who.local().into()].contains(&ip);
            own && who.mac == mac
        })
}

/// Sockets of the namespace that this thread is in, which hear what the kernel takes for its own: protocol and socket.
pub fn raw_sockets(device: Option<&str>) -> Vec<(u8, UdpSocket)> {
    let open = |domain, protocol: i32| {
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(protocol))).unwrap();
        sys::receive_buffer(&socket, 4 << 20).unwrap();
        socket.set_nonblocking(true).unwrap();
        if let Some(device) = device {
            socket.bind_device(Some(device.as_bytes())).unwrap();
        }
        UdpSocket::from(socket)
    };
    let four = [1, 2, 6, 17].map(|protocol| (0, open(Domain::IPV4, protocol)));
    let six = [UDP, ICMP6].map(|protocol| (protocol, open(Domain::IPV6, protocol.into())));
    four.into_iter().chain(six).collect()
}

/// All that waits. IPv4 comes with its header (raw(7)), IPv6 without (RFC 3542 section 3).
fn packets(protocol: u8, socket: &UdpSocket) -> Vec<Said> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 65_536]);
    loop {
        let (length, from) = match socket.recv_from(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return all,
            // What went wrong for an earlier packet, as when the interface was down.
            Err(_) => continue,
        };
        let bytes = &buffer[..length];
        let four = protocol == 0;
        let at = if four { usize::from(bytes[0] & 15) * 4 } else { 0 };
        let is_udp = if four { bytes[9] == UDP } else { protocol == UDP };
        let to = bytes
            .get(at..)
            .filter(|_| is_udp)
            .and_then(|datagram| Some((u16::from_be_bytes(*datagram.get(2..)?.first_chunk()?), *datagram.get(8)?)));
        let plain = !is_udp
            || bytes.get(at + 8..).is_some_and(|payload| marks(payload.get(..MARK).unwrap_or(&[])).next().is_some());
        all.push(Said { from: from.ip(), to, marks: marks(bytes).collect(), plain });
    }
}

/// Marks of packets whose UDP payload begins with one, and of all in ICMP: not what a datagram carries inside of a frame.
pub fn heard_plainly(sockets: &[(u8, UdpSocket)]) -> Vec<u32> {
    let said = sockets.iter().flat_map(|(protocol, socket)| packets(*protocol, socket));
    said.filter(|said| said.plain).flat_map(|said| said.marks).collect()
}

/// What the sockets of a host have heard: marks, and who said it.
pub fn heard(sockets: &[(u8, UdpSocket)]) -> Vec<(String, Vec<u32>)> {
    let said = sockets.iter().flat_map(|(protocol, socket)| packets(*protocol, socket));
    said.map(|said| (format!("a packet from {} to {:?}", said.from, said.to), said.marks)).collect()
}
