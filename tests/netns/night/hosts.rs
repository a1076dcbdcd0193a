//! Addresses and routes of hosts, bridges and devices, guests.

use super::table::Act::{Admin, On};
use super::table::At::{Events, Explain, Management, Node, Perhaps, Unsure};
use super::table::Row;

pub(super) fn rows() -> Vec<Row> {
    [addresses(), devices(), attached(), guests()].into_iter().flatten().collect()
}

fn addresses() -> Vec<Row> {
    vec![
        Row::new("the admin address of a node is taken away")
            .make([On("a-2", "ip address del 10.1.0.2/24 dev admin0")])
            .undo([On("a-2", "ip address add 10.1.0.2/24 dev admin0")])
            .cut(&[("a-1", "a-2")])
            .whole(&[("a-2", "b-1")])
            .says(Node("a-2"), "M0631|M0632", &["admin"])
            .says(Node("a-1"), "M0410|M0666|M0663|M0404", &["a-2"])
            .says(Management, "M0631|M0632", &["node a-2", "admin"])
            .may(&[
                (Node("a-2"), "M0404"),
                (Node("a-2"), "M0667"),
                (Node("a-2"), "M0410"),
                (Node("a-2"), "M0413"),
                (Node("a-1"), "M0413"),
                (Management, "M0108"),
            ]),
        Row::new("the external address of a node is taken away")
            .make([On("b-1", "ip address del 198.18.2.1/16 dev ext0")])
            .undo([On("b-1", "ip address add 198.18.2.1/16 dev ext0")])
            .cut(&[("a-1", "b-1")])
            .whole(&[("b-1", "b-2")])
            .says(Node("b-1"), "M0631|M0632", &["external"])
            .says(Node("b-1"), "M0120", &["no management node"])
            .says(Node("a-1"), "M0410", &["b-1"])
            .says(Management, "M0107", &["node b-1 is away"])
            .may(&[(Node("b-1"), "M0410"), (Node("a-2"), "M0410")]),
        Row::new("a node has the address of another")
            .make([On("b-2", "ip address add 10.2.0.1/24 dev admin0")])
            .undo([On("b-2", "ip address del 10.2.0.1/24 dev admin0")])
            .says(Node("b-2"), "M0663|M0666", &["b-1"])
            .says(Management, "M0663|M0666", &["b-1"])
            .may(&[(Node("b-1"), "M0663"), (Node("b-1"), "M0666"), (Node("b-1"), "M0669"), (Node("b-2"), "M0669")]),
        Row::new("a bridge has an address")
            .make([On("a-1", "ip address add 192.168.10.1/24 dev vb10.12b5")])
            .undo([On("a-1", "ip address flush dev vb10.12b5")])
            .whole(&[("a-1", "a-2"), ("a-1", "b-1")])
            .says(Node("a-1"), "M0615", &["vb10.12b5", "192.168.10.1"])
            .says(Management, "M0615", &["node a-1", "vb10.12b5"])
            .says(Events("a-1"), "problem", &["M0615", "vb10.12b5"])
            .ci(),
        Row::new("a floating address and a VPN's default route are nobody's fault")
            .make([On("a-1", "ip address add 10.1.0.100/32 dev admin0; ip link add tun9 type bridge; ip link set tun9 up; ip route add default dev tun9 metric 50")])
            .undo([On("a-1", "ip link delete tun9; ip address del 10.1.0.100/32 dev admin0")])
            .whole(&[("a-1", "a-2"), ("a-1", "b-1")]),
        Row::new("a route leads to a peer by a router")
            .make([On("a-1", "ip route add 10.1.0.2/32 via 10.1.0.254 dev admin0")])
            .undo([On("a-1", "ip route del 10.1.0.2/32")])
            .whole(&[("a-1", "a-2")])
            .says(Node("a-1"), "M0647", &["10.1.0.2", "10.1.0.254"])
            .says(Management, "M0647", &["node a-1", "10.1.0.2"])
            .may(&[(Node("a-1"), "M0669"), (Node("a-2"), "M0669")])
            .ci(),
        Row::new("a foreign route swallows the nodes of a PDC")
            .make([On("b-1", "ip link add vpn9 type veth peer name vpn8; ip link set vpn8 up; ip link set vpn9 up; ip route add 10.2.0.0/25 dev vpn9")])
            .undo([On("b-1", "ip link delete vpn9")])
            // The plain path has a route of its own, the session takes that of the host.
            .whole(&[("b-1", "b-2"), ("a-1", "b-1")])
            .says(Node("b-1"), "M0669", &["session with b-2", "what is sent from here is lost", "10.2.0.2"])
            .says(Node("b-2"), "M0669", &["session with b-1"])
            .says(Management, "M0669", &["node b-1", "session with b-2"]),
        Row::new("a foreign route swallows the nodes of the other PDC")
            .make([On("a-2", "ip link add vpn9 type veth peer name vpn8; ip link set vpn8 up; ip link set vpn9 up; ip route add 198.18.2.0/24 dev vpn9")])
            .undo([On("a-2", "ip link delete vpn9")])
            .cut(&[("a-2", "b-1"), ("a-2", "b-2")])
            .whole(&[("a-1", "a-2"), ("a-1", "b-1")])
            .says(Node("a-2"), "M0410|M0647", &["b-1|198.18.2.1"])
            .says(Node("b-1"), "M0410", &["a-2"])
            .says(Management, "M0410", &["a-2"])
            .says(Explain("a-2", "b-1"), "now", &["tunnel to b-1"])
            .may(&[(Node("b-2"), "M0410")]),
        Row::new("a host believes that a peer is behind another interface")
            .make([On("a-2", "sysctl -qw net.ipv4.conf.admin0.rp_filter=1; ip route add 10.1.0.1/32 dev ext0")])
            .undo([On("a-2", "ip route del 10.1.0.1/32; sysctl -qw net.ipv4.conf.admin0.rp_filter=0")])
            .cut(&[("a-1", "a-2")])
            .says(Node("a-2"), "M0647|M0663|M0666", &["a-1|10.1.0.1"])
            .says(Node("a-1"), "M0663|M0666", &["a-2"])
            .says(Management, "M0647|M0663|M0666", &["10.1.0.1"])
            .may(&[(Node("a-1"), "M0669"), (Node("a-2"), "M0669"), (Node("a-2"), "M0648")]),
    ]
}

fn devices() -> Vec<Row> {
    vec![
        Row::new("somebody deletes a vxlan device")
            .make([On("a-1", "ip link delete vv10.12b5")])
            .undo([On("a-1", "true")])
            .whole(&[("a-1", "a-2"), ("a-1", "b-1")])
            .says(Events("a-1"), "drift", &["repaired", "vv10.12b5"]),
        Row::new("somebody sets a vxlan device down")
            .make([On("b-1", "ip link set vv10.12b5 down")])
            .undo([On("b-1", "true")])
            .whole(&[("b-1", "b-2"), ("a-1", "b-1")])
            .says(Events("b-1"), "drift", &["repaired", "vv10.12b5"]),
        Row::new("somebody takes a vxlan device out of its bridge")
            .make([On("a-2", "ip link set vv10.12b5 nomaster")])
            .undo([On("a-2", "true")])
            .whole(&[("a-1", "a-2"), ("a-2", "b-1")])
            .says(Events("a-2"), "drift", &["repaired", "vv10.12b5"]),
        Row::new("somebody sets a bridge down")
            .make([On("b-1", "ip link set vb10.12b5 down")])
            .undo([On("b-1", "true")])
            .whole(&[("b-1", "b-2"), ("a-1", "b-1")])
            .says(Events("b-1"), "drift", &["repaired", "vb10.12b5"]),
        Row::new("somebody deletes a bridge")
            .make([On("b-2", "ip link delete vb10.12b5")])
            .undo([On("b-2", "true")])
            .whole(&[("b-1", "b-2"), ("a-1", "b-2")])
            .says(Events("b-2"), "drift", &["repaired", "vb10.12b5"]),
        Row::new("somebody flushes every packet filter")
            .make([On("a-2", "nft flush ruleset")])
            .undo([On("a-2", "true")])
            .whole(&[("a-1", "a-2"), ("b-1", "a-2")])
            .says(Events("a-2"), "drift", &["repaired|filter"]),
        Row::new("somebody isolates the port of a guest")
            .make([On("a-1", "bridge link set dev g1 isolated on")])
            .undo([On("a-1", "bridge link set dev g1 isolated off")])
            .cut(&[("a-1", "a-2"), ("a-1", "b-1")])
            .says(Node("a-1"), "M0687", &["port a-1-g1", "isolated"])
            .says(Management, "M0687", &["node a-1", "port a-1-g1", "isolated"])
            .says(Explain("a-1", "a-2"), "guest", &["g1", "isolated"])
            .says(Explain("a-2", "a-1"), "far", &["isolated"]),
        Row::new("a vxlan device of others appears on our UDP port")
            .make([On("a-1", "ip link add flannel.1 type vxlan id 1 dstport 4789 local 10.1.0.1 nolearning; ip link set flannel.1 up")])
            .undo([On("a-1", "ip link delete flannel.1")])
            .whole(&[("a-1", "a-2")])
            .says(Node("a-1"), "M0612", &["flannel.1", "4789"])
            .says(Management, "M0612", &["node a-1", "flannel.1"]),
        Row::new("a device of others has the name of ours")
            .make([
                On("b-1", "ip link add vb11.12b5 type bridge"),
                Admin("network create red --overlay default --vni 11 --cidr 192.168.11.0/24"),
                Admin("port create red1 --network red --node b-1 --mac 02:76:78:aa:00:04 --ip 192.168.11.1"),
            ])
            .undo([Admin("port delete red1"), Admin("network delete red"), On("b-1", "ip link delete vb11.12b5")])
            .whole(&[("b-1", "b-2")])
            .says(Node("b-1"), "M0611", &["vb11.12b5", "bridge"])
            .says(Management, "M0611", &["node b-1", "vb11.12b5"])
            .says(Events("b-1"), "problem", &["M0611", "vb11.12b5"]),
    ]
}

fn attached() -> Vec<Row> {
    vec![
        Row::new("somebody gives a guest's interface a queue without room")
            .make([On("a-1", "tc qdisc add dev g1 root pfifo limit 0")])
            .undo([On("a-1", "tc qdisc del dev g1 root")])
            .cut(&[("a-1", "a-2"), ("a-1", "b-1")])
            .whole(&[("a-2", "b-1")])
            .says(Node("a-1"), "M0695", &["what goes to g1", "pfifo, limit 0"])
            .says(Management, "M0695", &["node a-1", "what goes to g1"])
            .says(Perhaps("a-1", "a-2"), "back", &["does not come back", "M0695"])
            .says(Explain("a-2", "a-1"), "far", &["something of that host drops"]),
        Row::new("somebody redirects what a guest sends")
            .make([On(
                "b-1",
                "ip link add x9 type veth peer name y9; tc qdisc add dev g1 clsact
                 tc filter add dev g1 ingress u32 match u32 0 0 action mirred egress redirect dev x9",
            )])
            .undo([On("b-1", "tc qdisc del dev g1 clsact; ip link del x9")])
            .cut(&[("b-1", "b-2"), ("b-1", "a-1")])
            .says(Node("b-1"), "M0695", &["what comes from g1", "goes to x9 instead"])
            .says(Management, "M0695", &["node b-1", "what comes from g1"])
            .says(Explain("b-1", "b-2"), "status", &["M0695"]),
        Row::new("somebody drops what a vxlan device receives")
            .make([On(
                "a-2",
                "tc qdisc add dev vv10.12b5 clsact; tc filter add dev vv10.12b5 ingress bpf da bytecode '1,6 0 0 2,'",
            )])
            .undo([On("a-2", "tc qdisc del dev vv10.12b5 clsact")])
            .cut(&[("a-1", "a-2")])
            .whole(&[("a-2", "b-1")])
            .says(Node("a-2"), "M0695", &["what comes from vv10.12b5", "is dropped"])
            .says(Management, "M0695", &["node a-2", "what comes from vv10.12b5"])
            .says(Perhaps("a-2", "a-1"), "back", &["does not come back", "M0695"])
            .says(Explain("a-1", "a-2"), "far", &["carry nothing"]),
    ]
}

fn guests() -> Vec<Row> {
    vec![
        Row::new("a guest has another Ethernet address than its port")
            .make([On("a-1-g1", "ip link set eth0 address 02:76:78:99:00:01; ping -c 40 -i 0.2 192.168.10.12 >/dev/null 2>&1 &")])
            .undo([On("a-1-g1", "ip link set eth0 address 02:76:78:01:01:01")])
            .cut(&[("a-1", "a-2"), ("a-1", "b-1")])
            .says(Events("a-1"), "guest-refused", &["g1", "02:76:78:99:00:01"])
            .says(Node("a-1"), "M0675", &["g1", "02:76:78:99:00:01"])
            .says(Management, "M0675", &["a-1", "g1", "02:76:78:99:00:01"])
            .says(Explain("a-1", "a-2"), "guest", &["02:76:78:99:00:01"]).open("that the right address was heard in the last minute leaves it open which one it sends")
            .lasts("what a guest said is told of for a minute"),
        Row::new("a guest has another IP address than its port")
            .make([On("b-1-g1", "ip address flush dev eth0; ip address add 192.168.10.77/24 dev eth0; ping -c 40 -i 0.2 192.168.10.14 >/dev/null 2>&1 &")])
            .undo([On("b-1-g1", "ip address flush dev eth0; ip address add 192.168.10.13/24 dev eth0")])
            .cut(&[("b-1", "b-2")])
            .says(Events("b-1"), "guest-refused", &["g1"])
            .says(Node("b-1"), "M0676", &["g1", "192.168.10.77"])
            .says(Management, "M0676", &["b-1", "g1", "192.168.10.77"])
            .lasts("what a guest said is told of for a minute"),
        Row::new("a guest takes the address of another")
            .make([On("b-2-g1", "ip address add 192.168.10.12/24 dev eth0; ping -c 40 -i 0.2 -I 192.168.10.12 192.168.10.13 >/dev/null 2>&1 &")])
            .undo([On("b-2-g1", "ip address del 192.168.10.12/24 dev eth0")])
            .whole(&[("b-1", "a-2"), ("a-1", "b-2")])
            .says(Events("b-2"), "guest-refused", &["g1"])
            .says(Node("b-2"), "M0677", &["g1", "192.168.10.12"])
            .says(Management, "M0677", &["b-2", "192.168.10.12"])
            .lasts("what a guest said is told of for a minute"),
        Row::new("new connections of a node to management are refused, and a guest of it is cut off")
            .make([
                On("mgmt", "nft 'add table inet fw; add chain inet fw i { type filter hook input priority 0; }; \
                    add rule inet fw i ip saddr 198.18.2.2 tcp dport 7443 tcp flags & (syn|ack) == syn drop'"),
                On("b-2", "ip link set g1 down"),
            ])
            .undo([On("mgmt", "nft delete table inet fw"), On("b-2", "ip link set g1 up")])
            .cut(&[("b-1", "b-2")])
            .whole(&[("a-1", "b-1")])
            .says(Node("b-2"), "M0674", &["g1"])
            .says(Node("b-2"), "M0125", &["does not arrive at the management node"])
            .says(Management, "M0125", &["node b-2 is connected", "reports do not arrive"]),
        Row::new("a guest's interface is on another bridge")
            .make([On("a-2", "ip link add virbr0 type bridge; ip link set virbr0 up; ip link set g1 master virbr0")])
            .undo([On("a-2", "ip link set g1 master vb10.12b5; ip link delete virbr0")])
            .cut(&[("a-1", "a-2"), ("a-2", "b-1")])
            .says(Node("a-2"), "M0670", &["g1", "virbr0"])
            .says(Management, "M0670", &["a-2", "g1", "virbr0"])
            .says(Explain("a-2", "a-1"), "guest", &["virbr0"])
            .says(Explain("a-1", "a-2"), "far", &["another bridge"]),
        // It is plugged in again before anybody has to be told.
        Row::new("somebody pulls a guest out of its bridge")
            .make([On("b-1", "ip link set g1 nomaster")])
            .undo([On("b-1", "true")])
            .whole(&[("b-1", "b-2"), ("b-1", "a-1")]),
        Row::new("a guest's interface is gone")
            // What was not heard for a minute is no finding, but `absent since`. The node looks at least twice a minute for what its bridge heard.
            .make([On("b-2", "ip netns exec ${LAB##*/}-b-2-g1 ping -c 64 -i 0.5 -W 1 192.168.10.13 || true; ip link delete g1")])
            .undo([On(
                "b-2",
                "ip link add g1 type veth peer name eth0 address 02:76:78:02:02:01 netns ${LAB##*/}-b-2-g1
                ip -n ${LAB##*/}-b-2-g1 link set eth0 mtu $(cat /sys/class/net/vb10.12b5/mtu) up; ip -n ${LAB##*/}-b-2-g1 address add 192.168.10.14/24 dev eth0
                ip link set g1 mtu $(cat /sys/class/net/vb10.12b5/mtu); ip link set g1 master vb10.12b5 up",
            )])
            .cut(&[("b-1", "b-2")])
            .says(Node("b-2"), "M0673", &["b-2-g1"])
            .says(Management, "M0673", &["b-2", "b-2-g1"])
            .says(Explain("b-2", "b-1"), "guest", &["no interface g1"])
            .says(Explain("b-1", "b-2"), "far", &["is not there"]),
        Row::new("a guest's interface is down")
            .make([On("a-1", "ip link set g1 down")])
            .undo([On("a-1", "ip link set g1 up")])
            .cut(&[("a-1", "a-2")])
            .says(Node("a-1"), "M0674", &["g1"])
            .says(Management, "M0674", &["a-1", "g1"])
            .says(Explain("a-1", "a-2"), "guest", &["g1", "is down"])
            .says(Explain("a-2", "a-1"), "far", &["interface is down"]),
        Row::new("a guest's own link is down")
            .make([On("b-1-g1", "ip link set eth0 down")])
            .undo([On("b-1-g1", "ip link set eth0 up")])
            .cut(&[("b-2", "b-1"), ("a-1", "b-1")])
            .says(Node("b-1"), "M0700", &["b-1-g1"])
            .says(Management, "M0700", &["b-1", "b-1-g1"])
            .says(Explain("b-1", "b-2"), "guest", &["g1", "no carrier"])
            .says(Explain("b-2", "b-1"), "far", &["no carrier"]),
        Row::new("a guest sends more than its network carries")
            .make([
                On("a-2", "ip link set g1 mtu 1500"),
                On("a-2-g1", "ip link set eth0 mtu 1500; ping -c 300 -i 0.1 -M dont -s 1450 192.168.10.13 >/dev/null 2>&1 &"),
            ])
            .undo([On(
                "a-2",
                "ip link set g1 mtu $(cat /sys/class/net/vb10.12b5/mtu); ip netns exec ${LAB##*/}-a-2-g1 ip link set eth0 mtu $(cat /sys/class/net/vb10.12b5/mtu)",
            )])
            .says(Node("a-2"), "M0512", &["network blue", "larger than its MTU"])
            .says(Management, "M0512", &["node a-2", "blue"])
            .lasts("the packets of the last minute are told of for a minute"),
        Row::new("a guest's interface takes less than its network's number")
            .make([On("a-2", "ip link set g1 mtu 600")])
            .undo([On("a-2", "ip link set g1 mtu $(cat /sys/class/net/vb10.12b5/mtu)")])
            .whole(&[("a-2", "b-1")])
            .says(Unsure("a-1", "a-2"), "far", &["MTU of the guest's interface is less"])
            .says(Unsure("b-1", "a-2"), "far", &["MTU of the guest's interface is less"])
            .says(Unsure("a-2", "a-1"), "mtu", &["ip link set dev g1 mtu"]),
        Row::new("a second interface of a node joins the bridge unasked")
            .make([On("b-1", "ip link add x9 type veth peer name y9; ip link set x9 up; ip link set y9 up; ip link set x9 master vb10.12b5")])
            .undo([On("b-1", "ip link delete x9")])
            .says(Node("b-1"), "M0675", &["x9", "network blue"])
            .says(Management, "M0675", &["node b-1", "x9"])
            .whole(&[("b-1", "b-2"), ("b-1", "a-1")]),
    ]
}
