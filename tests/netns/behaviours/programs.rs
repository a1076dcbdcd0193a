//! Programs of routers and servers: dnsmasq as router, DHCP and TFTP server, a library for mDNS.

use std::process::Stdio;

use tempfile::TempDir;

use super::ground::{Guest, LIMIT, OWN1, OWN2, Seat, Stage, THREE, pings};
use super::{Behaviour, End};
use crate::harness::{Background, Space, cable, wait_until};

const ANY1: Seat = Seat { node: "a-2", spec: "" };
/// Where leases are that no port declares.
const OWN_LEASES: &[Seat] = &[
    Seat { node: "a-1", spec: "ips: [192.168.NN.10, 'fd00:NN::10'], role: [router, dhcp]" },
    ANY1,
    // The one that it is given, and the one that it makes of the prefix and its Ethernet address.
    Seat { node: "b-1", spec: "ips: [192.168.NN.52, 'fd00:NN::be:ff:fe00:HH02', 'fd00:NN::52']" },
];

pub const TABLE: [Behaviour; 4] = [
    Behaviour {
        name: "a router like OPNsense: DHCP, router advertisements, NAT, one port with both roles (dnsmasq)",
        network: "",
        seats: OWN_LEASES,
        ends: End::Works,
        run: opnsense,
    },
    Behaviour {
        name: "DHCP and router advertisements by a guest without the roles (dnsmasq)",
        network: "",
        seats: THREE,
        ends: End::Refused(&["dhcp", "router"], "M0684"),
        run: rogue,
    },
    Behaviour {
        name: "PXE: DHCP with a boot file, then TFTP, inside a PDC and across (dnsmasq, busybox)",
        network: "",
        seats: &[Seat { node: "a-1", spec: "ips: [192.168.NN.10], role: dhcp" }, OWN1, OWN2],
        ends: End::Works,
        run: pxe,
    },
    Behaviour {
        name: "mDNS: a service is announced, found and resolved (zeroconf)",
        network: "",
        seats: THREE,
        ends: End::Works,
        run: mdns,
    },
];

/// A program with its folder.
struct Running {
    _program: Background,
    folder: TempDir,
}

/// Starts shell lines in which `$F` is a folder.
fn start(space: &Space, stage: &Stage<'_>, lines: &str) -> Running {
    let folder = tempfile::tempdir().unwrap();
    start_in(space, stage, lines, folder)
}

fn start_in(space: &Space, stage: &Stage<'_>, lines: &str, folder: TempDir) -> Running {
    let mut command = space.command("sh");
    command.args(["-ec", &stage.text(&lines.replace("$F", &folder.path().display().to_string()))]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Running { _program: space.start(&mut command), folder }
}

const DNSMASQ: &str = "exec dnsmasq -k -C /dev/null --port=0 --interface=eth0 --bind-interfaces --user=root --no-ping \
    --pid-file=$F/pid --dhcp-leasefile=$F/leases --dhcp-authoritative --dhcp-range=192.168.NN.50,192.168.NN.60,255.255.255.0,1h";

/// udhcpc with a script that does what Debian's does, and writes down what it was told.
fn lease(guest: &Guest, stage: &Stage<'_>) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let script = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\nip address add $ip/$mask dev eth0\n\
        for one in $router; do ip route replace default via $one; done\n\
        printf '%s\\n' $ip > $F/ip; printf '%s\\n' $boot_file > $F/file; printf '%s\\n' $siaddr > $F/server; touch $F/bound\n";
    let path = folder.path().join("script");
    std::fs::write(&path, script.replace("$F", &folder.path().display().to_string())).unwrap();
    let lines = "chmod 755 $F/script; exec busybox udhcpc -i eth0 -f -t 1000 -T 1 -A 1 -s $F/script";
    start_in(&guest.space, stage, lines, folder)
}

impl Running {
    fn told(&self, what: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(what)).unwrap_or_default().trim().to_owned()
    }

    fn bound(&self, of: &Guest) {
        wait_until(&format!("{} has a lease", of.port), LIMIT, || self.folder.path().join("bound").exists());
    }
}

fn opnsense(stage: &Stage<'_>) {
    let (router, clients) = stage.guests.split_first().unwrap();
    router.address();
    let outside = Space::new("outside");
    cable(&router.space, "wan", &outside, "eth0");
    outside.sh(&stage.text(
        "ip address add 203.0.113.1/24 dev eth0; ip address add 2001:db8::1/64 dev eth0 nodad
         ip -6 route add fd00:NN::/64 via 2001:db8::2",
    ));
    router.space.sh(
        "ip address add 203.0.113.2/24 dev wan; ip address add 2001:db8::2/64 dev wan nodad
         sysctl -q -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
         nft 'add table ip n; add chain ip n p { type nat hook postrouting priority 100; }; add rule ip n p oifname wan masquerade'",
    );
    let hosts = format!(" --dhcp-host={},192.168.NN.52", clients[1].mac);
    let lines = format!("{DNSMASQ}{hosts} --enable-ra --ra-param=eth0,5,600 --dhcp-range=fd00:NN::,ra-only,64");
    let _server = start(&router.space, stage, &lines);
    let leases: Vec<Running> = clients
        .iter()
        .map(|client| {
            client.space.sh("sysctl -q -w net.ipv6.conf.eth0.accept_ra=1 net.ipv6.conf.eth0.autoconf=1");
            // It asks for a router when it comes.
            client.space.sh("ip link set dev eth0 down; ip link set dev eth0 up");
            lease(client, stage)
        })
        .collect();
    for (client, lease) in clients.iter().zip(&leases) {
        lease.bound(client);
        let by = stage.text("default via 192.168.NN.10 ");
        wait_until("a default route of IPv4", LIMIT, || client.space.sh("ip route").contains(&by));
        wait_until("a default route of IPv6", LIMIT, || client.space.sh("ip -6 route").contains("default via fe80:"));
        let made = stage.text("inet6 fd00:NN:");
        wait_until("an address of the prefix", LIMIT, || client.space.sh("ip address show dev eth0").contains(&made));
        client.waits_for("203.0.113.1", "the outside");
        client.waits_for("2001:db8::1", "the outside");
    }
    // A router that the guests go on taking for one when they have asked it.
    std::thread::sleep(std::time::Duration::from_secs(1));
    for client in clients {
        assert!(client.space.sh("ip -6 route").contains("default via fe80:"), "it is no router any more");
        client.waits_for("2001:db8::1", "the outside, later");
    }
    assert_eq!(leases[1].told("ip"), stage.text("192.168.NN.52"));
}

fn rogue(stage: &Stage<'_>) {
    let (server, clients) = stage.guests.split_first().unwrap();
    server.address();
    let lines = format!("{DNSMASQ} --enable-ra --ra-param=eth0,5,600 --dhcp-range=fd00:NN::,ra-only,64");
    let _server = start(&server.space, stage, &lines);
    let leases: Vec<Running> = clients
        .iter()
        .map(|client| {
            client.space.sh("sysctl -q -w net.ipv6.conf.eth0.accept_ra=1 net.ipv6.conf.eth0.autoconf=1
                 ip link set dev eth0 down; ip link set dev eth0 up");
            lease(client, stage)
        })
        .collect();
    End::Refused(&["dhcp", "router"], "M0684").holds(stage);
    for (client, lease) in clients.iter().zip(&leases) {
        assert_eq!(lease.told("ip"), "", "{} believes a rogue server", client.port);
        assert!(!client.space.sh("ip -6 route").contains("default"), "{} believes a rogue router", client.port);
    }
}

fn pxe(stage: &Stage<'_>) {
    let (server, clients) = stage.guests.split_first().unwrap();
    server.space.sh(&format!("ip address add {}/24 dev eth0", server.four));
    let image: Vec<u8> = (0..100_000_u32).map(|at| u8::try_from(at * 7 % 253).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pxe.0"), &image).unwrap();
    let hosts: String = clients.iter().map(|client| format!(" --dhcp-host={},{}", client.mac, client.four)).collect();
    let lines = format!("chmod 755 $F; {DNSMASQ}{hosts} --dhcp-boot=pxe.0,,192.168.NN.10 --enable-tftp --tftp-root=$F");
    let _server = start_in(&server.space, stage, &lines, folder);
    for client in clients {
        let lease = lease(client, stage);
        lease.bound(client);
        let told = ["ip", "file", "server"].map(|what| lease.told(what));
        assert_eq!(told, [client.four.to_string(), "pxe.0".to_owned(), server.four.to_string()]);
        let out = lease.folder.path().join("image");
        let load = format!("busybox tftp -g -r pxe.0 -l {} {}", out.display(), server.four);
        wait_until(&format!("{} loads its image", client.port), LIMIT, || client.space.holds(&load));
        assert!(std::fs::read(out).unwrap() == image, "{}: another image", client.port);
    }
}

/// Debian's Python, which has the library.
const PYTHON: &str = "/usr/bin/python3";
const ANNOUNCE: &str = "
import socket, sys, time
from zeroconf import IPVersion, ServiceInfo, Zeroconf
info = ServiceInfo('_ipp._tcp.local.', 'printer._ipp._tcp.local.', addresses=[socket.inet_aton(sys.argv[1])], port=631, server='printer.local.')
Zeroconf(interfaces=[sys.argv[1]], ip_version=IPVersion.V4Only).register_service(info)
time.sleep(3600)
";
const FIND: &str = "
import socket, sys, time
from zeroconf import IPVersion, ServiceBrowser, Zeroconf
found = []
class Listener:
    def add_service(self, zc, kind, name): found.append(name)
    def update_service(self, zc, kind, name): pass
    def remove_service(self, zc, kind, name): pass
zc = Zeroconf(interfaces=[sys.argv[1]], ip_version=IPVersion.V4Only)
browser = ServiceBrowser(zc, '_ipp._tcp.local.', Listener())
for _ in range(200):
    if found: break
    time.sleep(0.1)
info = zc.get_service_info('_ipp._tcp.local.', found[0], 10000)
print(info.server, info.port, *map(socket.inet_ntoa, info.addresses))
";

fn mdns(stage: &Stage<'_>) {
    let guests = stage.addressed();
    let own = guests[0].four.to_string();
    // Without a default route nobody sends to a group.
    for guest in guests {
        guest.space.sh("ip route add 224.0.0.0/4 dev eth0");
        wait_until("they reach each other", LIMIT, || pings(&guest.space, &guests[0].four.to_string()));
    }
    let mut command = guests[0].space.command(PYTHON);
    let _announces = guests[0].space.start(command.args(["-c", ANNOUNCE, &own]).stdout(Stdio::null()));
    for guest in &guests[1..] {
        let mut command = guest.space.command(PYTHON);
        let found = command.args(["-c", FIND, &guest.four.to_string()]).output().unwrap();
        let said = String::from_utf8_lossy(&found.stdout).trim().to_owned();
        assert_eq!(
            said,
            format!("printer.local. 631 {own}"),
            "{}: {}",
            guest.port,
            String::from_utf8_lossy(&found.stderr)
        );
    }
}
