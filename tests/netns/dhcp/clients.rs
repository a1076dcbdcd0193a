//! DHCP clients that people run, each in a guest of its own, all asking for IPv4 and IPv6 where they can.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::rogue::{Family, Seat};
use crate::frames::{Plug, holds};
use crate::harness::{Background, Space};

/// A client program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Udhcpc,
    Dhclient,
    Dhcpcd,
    Networkd,
}

/// Where systemd keeps its daemon.
const NETWORKD: &str = "/lib/systemd/systemd-networkd";

impl Program {
    pub const ALL: [Self; 4] = [Self::Udhcpc, Self::Dhclient, Self::Dhcpcd, Self::Networkd];

    /// True where it is installed, and loud about it where not.
    pub fn is_there(self) -> bool {
        let file = match self {
            Self::Udhcpc => "/bin/busybox",
            Self::Dhclient => "/sbin/dhclient",
            Self::Dhcpcd => "/sbin/dhcpcd",
            Self::Networkd => NETWORKD,
        };
        let there = std::fs::exists(file).unwrap();
        if !there {
            eprintln!("{self:?} is not installed ({file}): it judges nothing here");
        }
        there
    }

    /// What it asks for.
    pub fn families(self) -> &'static [Family] {
        if self == Self::Udhcpc { &[Family::Four] } else { &[Family::Four, Family::Six] }
    }

    /// Shell lines that end in the program, in the foreground. `$F` is a folder, `$F/bound` what it tells of leases.
    fn lines(self) -> &'static [&'static str] {
        match self {
            Self::Udhcpc => &["exec busybox udhcpc -i eth0 -f -t 1000000 -T 1 -A 1 -s $F/bound"],
            Self::Dhclient => &[
                "exec dhclient -4 -d -sf $F/bound -lf $F/lease4 -pf $F/pid4 -cf $F/conf eth0",
                "exec dhclient -6 -d -sf $F/bound -lf $F/lease6 -pf $F/pid6 -cf $F/conf eth0",
            ],
            // Its folders are the machine's: each gets its own, in the mount namespace that `ip netns exec` makes.
            Self::Dhcpcd => &["mount -t tmpfs t /run; mkdir -p /run/dhcpcd /var/lib/dhcpcd
                mount -t tmpfs t /var/lib/dhcpcd
                printf 'nodelay\\nnoarp\\nnoipv6rs\\nnoipv4ll\\nduid\\nia_na\\ntimeout 0\\n' > /run/conf
                exec dhcpcd -B -f /run/conf -c $F/bound eth0"],
            // It waits for udev, but where /sys cannot be written.
            Self::Networkd => &["mount -t tmpfs t /run; mkdir -p /run/systemd/netif /run/systemd/network
                chown systemd-network /run/systemd/netif; mount -o remount,ro /sys
                printf '[Match]\\nName=eth0\\n[Network]\\nDHCP=yes\\nIPv6AcceptRA=no\\n[DHCPv6]\\nWithoutRA=solicit\\n' \
                > /run/systemd/network/a.network
                exec /lib/systemd/systemd-networkd"],
        }
    }
}

const CONF: &str = "timeout 600; retry 1; initial-delay 0; initial-interval 1; backoff-cutoff 2;\n";
const BOUND: &str = "#!/bin/sh
case $1$reason in *bound*|*BOUND*|*RENEW*|*REBIND*) ;; *) exit 0 ;; esac
for address in $ip $new_ip_address $new_ip6_address $new_dhcp6_ia_na1_ia_addr1; do echo \"$address\" >> FOLDER/leases; done
";

/// One guest that asks.
pub struct Client {
    pub program: Program,
    /// The node that it is on.
    pub node: &'static str,
    pub seat: Seat,
    running: RefCell<Vec<Background>>,
    folder: TempDir,
    ear: Plug,
    heard: RefCell<Vec<Vec<u8>>>,
    /// As a client that has a lease hears answers when it renews: by a socket of its kernel.
    socket: UdpSocket,
    space: Space,
}

impl Client {
    pub fn new(program: Program, node: &'static str, seat: Seat, space: Space) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        space
            .sh("sysctl -q -w net.ipv6.conf.eth0.accept_dad=0 net.ipv6.conf.eth0.accept_ra=0; ip link set dev eth0 up");
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let script = folder.path().join("bound");
        std::fs::write(&script, BOUND.replace("FOLDER", &folder.path().display().to_string())).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(folder.path().join("conf"), CONF).unwrap();
        let ear = Plug::new(&space, "eth0");
        let socket = space.enter(|| listening(68));
        Self { program, node, seat, running: RefCell::default(), folder, ear, heard: RefCell::default(), socket, space }
    }

    fn leases(&self) -> PathBuf {
        self.folder.path().join("leases")
    }

    /// Begins anew, as if it had never heard of anybody.
    pub fn restart(&self) {
        self.end();
        for file in ["leases", "lease4", "lease6", "pid4", "pid6"] {
            let _ = std::fs::remove_file(self.folder.path().join(file));
        }
        self.space.sh("ip address flush dev eth0 scope global");
        self.listen();
        self.heard.borrow_mut().clear();
        self.socket_heard();
        for lines in self.program.lines() {
            let mut command = self.space.command("sh");
            command.args(["-ec", &lines.replace("$F", &self.folder.path().display().to_string())]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            self.running.borrow_mut().push(self.space.start(&mut command));
        }
    }

    /// Ends it and what it has started: some of them run as several processes.
    pub fn end(&self) {
        self.running.borrow_mut().clear();
        let listed = Command::new("ip").args(["netns", "pids", self.space.name()]).output().unwrap();
        let pids = String::from_utf8(listed.stdout).unwrap();
        for pid in pids.split_whitespace() {
            let _ = Command::new("kill").args(["-9", pid]).status();
        }
    }

    /// Addresses that it has taken.
    pub fn leased(&self) -> Vec<String> {
        let mut all = std::fs::read_to_string(self.leases()).unwrap_or_default();
        if self.program == Program::Networkd {
            all = self.space.sh("ip -o address show dev eth0 scope global | sed 's/.* inet6* //; s,/.*,,'");
        }
        all.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
    }

    fn listen(&self) {
        self.heard.borrow_mut().extend(self.ear.take());
    }

    /// Frames with these bytes that have come to its interface since it began.
    pub fn count(&self, bytes: &[u8]) -> usize {
        self.listen();
        self.heard.borrow().iter().filter(|frame| holds(frame, bytes)).count()
    }

    /// True where the kernel took an answer for a socket of this client.
    pub fn socket_heard(&self) -> bool {
        let mut buffer = [0; 2048];
        let mut any = false;
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(_) => any = true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return any,
                Err(_) => {}
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end();
    }
}

/// A UDP socket that others of this namespace may have beside it.
fn listening(port: u16) -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(false).unwrap();
    socket.bind_device(Some(b"eth0")).unwrap();
    socket.set_broadcast(true).unwrap();
    socket.bind(&std::net::SocketAddr::from(([0, 0, 0, 0], port)).into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}
