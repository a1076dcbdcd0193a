//! Guests that have guests: docker's rules, VXLAN as flannel makes it, virtual machines inside of one.

use std::process::Stdio;

use super::ground::{self, Guest, OWN0, OWN1, OWN2, Seat, Stage, THREE, converses};
use super::{Behaviour, End};
use crate::harness::{Space, cable, wait_until};

pub const TABLE: [Behaviour; 5] = [
    Behaviour {
        name: "docker's rules inside a guest: FORWARD DROP, bridge-nf-call-iptables, MASQUERADE, a published port",
        network: "",
        seats: THREE,
        ends: End::Works,
        run: docker,
    },
    Behaviour {
        name: "flannel's VXLAN between guests (UDP 8472)",
        network: "",
        seats: THREE,
        ends: End::Works,
        run: flannel,
    },
    Behaviour {
        name: "a VXLAN between guests on the UDP port that the nodes use (4789)",
        network: "",
        seats: THREE,
        ends: End::Works,
        run: same_port,
    },
    Behaviour {
        name: "virtual machines inside a guest, declared (allowed ip=mac)",
        network: "",
        seats: &[
            Seat {
                node: "a-1",
                spec: "ips: [192.168.NN.10, 'fd00:NN::10'], \
                    allowed: [{ip: 192.168.NN.30, mac: '02:be:ff:00:00:30'}, {ip: 'fd00:NN::30', mac: '02:be:ff:00:00:30'}, \
                    {ip: 192.168.NN.31, mac: '02:be:ff:00:00:31'}, {ip: 'fd00:NN::31', mac: '02:be:ff:00:00:31'}]",
            },
            OWN1,
            OWN2,
        ],
        ends: End::Works,
        run: nested,
    },
    Behaviour {
        name: "virtual machines inside a guest, not declared (macvlan)",
        network: "",
        seats: &[OWN0, OWN1, OWN2],
        ends: End::Refused(&["mac"], "M0675"),
        run: macvlan,
    },
];

/// What dockerd makes when it starts and publishes port 8080 (moby 24, `iptables-save`).
const DOCKER: &str = "
    ip link add docker0 type bridge; ip address add 172.17.0.1/16 dev docker0; ip link set dev docker0 up
    sysctl -q -w net.ipv4.ip_forward=1
    sysctl -q -w net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1 2>/dev/null || true
    iptables -P FORWARD DROP
    for chain in DOCKER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2 DOCKER-USER; do iptables --new $chain; done
    iptables -A FORWARD -j DOCKER-USER
    iptables -A FORWARD -j DOCKER-ISOLATION-STAGE-1
    iptables -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    iptables -A FORWARD -o docker0 -j DOCKER
    iptables -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
    iptables -A FORWARD -i docker0 -o docker0 -j ACCEPT
    iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 7000 -j ACCEPT
    iptables -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
    iptables -A DOCKER-ISOLATION-STAGE-1 -j RETURN
    iptables -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
    iptables -A DOCKER-ISOLATION-STAGE-2 -j RETURN
    iptables -A DOCKER-USER -j RETURN
    iptables -t nat --new DOCKER
    iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
    iptables -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
    iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
    iptables -t nat -A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 7000 -j MASQUERADE
    iptables -t nat -A DOCKER -i docker0 -j RETURN
    iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:7000";

/// A container or a virtual machine: its own namespace on a bridge of the guest.
fn within(guest: &Guest, bridge: &str, name: &str, lines: &str) -> Space {
    let space = Space::new("in");
    cable(&guest.space, name, &space, "eth0");
    guest.space.sh(&format!("ip link set dev {name} master {bridge}"));
    space.sh(lines);
    space
}

fn docker(stage: &Stage<'_>) {
    let (host, others) = stage.addressed().split_first().unwrap();
    host.space.sh(DOCKER);
    let mtu = "ip link set dev eth0 mtu 1500";
    let container = within(
        host,
        "docker0",
        "veth1",
        &format!("{mtu}; ip address add 172.17.0.2/16 dev eth0; ip route add default via 172.17.0.1"),
    );
    ground::serve(&container, 7000);
    for other in others {
        ground::serve(&other.space, 7000);
        other.meets(host);
        wait_until("the container reaches out", ground::LIMIT, || ground::pings(&container, &other.four.to_string()));
        converses(&container, format!("{}:7000", other.four).parse().unwrap(), "out of a container, masqueraded");
        converses(&other.space, format!("{}:8080", host.four).parse().unwrap(), "a published port");
    }
    assert!(!stage.ground.dropped(host.node, "ip", &host.interface), "no address of a container leaves the guest");
}

fn flannel(stage: &Stage<'_>) {
    vxlan(stage, 8472);
}

fn same_port(stage: &Stage<'_>) {
    vxlan(stage, 4789);
}

/// As flanneld makes it: no learning, every peer's Ethernet address and place written down, a /24 of pods for each.
fn vxlan(stage: &Stage<'_>, port: u16) {
    let guests = stage.addressed();
    let pod = |at: usize| format!("10.244.{at}.0");
    let mac = |at: usize| format!("02:fa:00:00:00:0{at}");
    for (at, guest) in guests.iter().enumerate() {
        guest.space.sh(&format!(
            "ip link add name flannel.1 address {} type vxlan id 1 local {} dev eth0 dstport {port} nolearning
             ip address add {}/32 dev flannel.1; ip link set dev flannel.1 up",
            mac(at),
            guest.four,
            pod(at)
        ));
        for (other, peer) in guests.iter().enumerate().filter(|(other, _)| *other != at) {
            guest.space.sh(&format!(
                "bridge fdb append {mac} dev flannel.1 dst {dst} self
                 ip neigh replace {pod} lladdr {mac} dev flannel.1 nud permanent
                 ip route add 10.244.{other}.0/24 via {pod} dev flannel.1 onlink src {own}",
                mac = mac(other),
                dst = peer.four,
                pod = pod(other),
                own = pod(at)
            ));
        }
        ground::serve(&guest.space, 7000);
    }
    for (at, guest) in guests.iter().enumerate() {
        for other in (0..guests.len()).filter(|other| *other != at) {
            guest.waits_for(&pod(other), "a pod");
            converses(&guest.space, format!("{}:7000", pod(other)).parse().unwrap(), "from pod to pod");
        }
    }
}

fn nested(stage: &Stage<'_>) {
    let (host, others) = stage.guests.split_first().unwrap();
    others.iter().for_each(Guest::address);
    host.space.sh(&format!(
        "ip link add name br0 address {} type bridge; ip link set dev br0 up; ip link set dev eth0 master br0
         ip address add {}/24 dev br0; ip address add {}/64 dev br0 nodad",
        host.mac, host.four, host.six
    ));
    let inner: Vec<(Space, [String; 2])> = [30, 31]
        .iter()
        .map(|last| {
            let own = [format!("192.168.NN.{last}"), format!("fd00:NN::{last}")].map(|text| stage.text(&text));
            let lines = format!(
                "ip link set dev eth0 address 02:be:ff:00:00:{last}; ip address add {}/24 dev eth0; ip address add {}/64 dev eth0 nodad",
                own[0], own[1]
            );
            (within(host, "br0", &format!("vm{last}"), &lines), own)
        })
        .collect();
    let outer = others.iter().map(|other| (&other.space, [other.four.to_string(), other.six.to_string()]));
    let all: Vec<(&Space, [String; 2])> = inner.iter().map(|(space, own)| (space, own.clone())).chain(outer).collect();
    for (from, _) in &all {
        for (_, to) in all.iter().filter(|(to, _)| to.name() != from.name()) {
            for ip in to {
                wait_until(&format!("{} reaches {ip}", from.name()), ground::LIMIT, || ground::pings(from, ip));
            }
        }
    }
}

fn macvlan(stage: &Stage<'_>) {
    let (host, others) = stage.addressed().split_first().unwrap();
    let inner = Space::new("in");
    host.space.sh(&format!(
        "ip link add link eth0 name mv0 type macvlan mode bridge; ip link set dev mv0 netns {}",
        inner.name()
    ));
    inner.sh(&stage.text("ip link set dev mv0 up; ip address add 192.168.NN.40/24 dev mv0"));
    for other in others {
        host.meets(other);
        assert!(!ground::pings(&inner, &other.four.to_string()), "one that nobody has declared");
    }
    // It goes on for as long as somebody looks for what is said of it: one frame that was sampled is taken for a slip.
    let mut asks = inner.command("ping");
    asks.args(["-n", &others[0].four.to_string()]).stdout(Stdio::null());
    let _asks = inner.start(&mut asks);
    End::Refused(&["mac"], "M0675").holds(stage);
}
