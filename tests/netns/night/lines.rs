//! Links, packet filters on one side or the other, sizes.

use super::table::Act::On;
use super::table::At::{Audit, Events, Explain, Management, Node, Perhaps, Unsure};
use super::table::Row;

/// A packet filter of somebody else on a host, at `input`.
macro_rules! input {
    ($rule:literal) => {
        concat!(
            "nft add table inet fw; nft 'add chain inet fw c { type filter hook input priority -10; }'; nft 'add rule inet fw c ",
            $rule,
            " drop'"
        )
    };
}

/// The same at `output`.
macro_rules! output {
    ($rule:literal) => {
        concat!(
            "nft add table inet fw; nft 'add chain inet fw c { type filter hook output priority -10; }'; nft 'add rule inet fw c ",
            $rule,
            " drop'"
        )
    };
}

const OFF: &str = "nft delete table inet fw";

pub(super) fn rows() -> Vec<Row> {
    [plain(), tunnels(), links(), sizes()].into_iter().flatten().collect()
}

fn plain() -> Vec<Row> {
    vec![
        Row::new("a firewall drops what comes in by the plain path")
            .make([On("a-2", input!("udp dport 4789"))])
            .undo([On("a-2", OFF)])
            .cut(&[("a-1", "a-2"), ("a-2", "a-1")])
            .whole(&[("a-1", "b-1"), ("a-2", "b-1")])
            .says(Node("a-1"), "M0663", &["from a-1 to a-2 do not arrive there", "UDP port 4789", "10.1.0.2"])
            .says(Node("a-2"), "M0663", &["from a-1 to a-2 do not arrive here", "UDP port 4789", "10.1.0.1"])
            .says(Management, "M0663", &["from a-1 to a-2"])
            .says(Explain("a-1", "a-2"), "now", &["does not arrive at a-2", "10.1.0.2"])
            .says(Perhaps("a-2", "a-1"), "now", &["nothing from a-1", "no answer comes back"])
            .says(Events("a-1"), "problem", &["M0663", "from a-1 to a-2"])
            .ci(),
        Row::new("a firewall drops what leaves by the plain path")
            .make([On("a-2", output!("udp dport 4789"))])
            .undo([On("a-2", OFF)])
            .cut(&[("a-1", "a-2"), ("a-2", "a-1")])
            .says(Node("a-1"), "M0663", &["from a-2 to a-1 do not arrive here"])
            .says(Node("a-2"), "M0663", &["from a-2 to a-1 do not arrive there"])
            .says(Management, "M0663", &["from a-2 to a-1"])
            .says(Explain("a-2", "a-1"), "now", &["does not arrive at a-1"])
            .says(Events("a-2"), "problem", &["M0663", "from a-2 to a-1"]),
        Row::new("a firewall drops the plain path both ways")
            .make([On("b-2", input!("udp dport 4789")), On("b-2", "nft 'add chain inet fw o { type filter hook output priority -10; }'; nft 'add rule inet fw o udp dport 4789 drop'")])
            .undo([On("b-2", OFF)])
            .cut(&[("b-1", "b-2"), ("b-2", "b-1")])
            .says(Node("b-1"), "M0663", &["between b-1 and b-2", "neither direction", "10.2.0.2"])
            .says(Node("b-2"), "M0663", &["between b-2 and b-1", "neither direction", "10.2.0.1"])
            .says(Management, "M0663", &["b-1", "b-2", "neither direction"])
            .says(Explain("b-1", "b-2"), "now", &["nothing passes between here and b-2"]),
        Row::new("a firewall drops everything by UDP between two nodes of a PDC")
            .make([On("a-2", input!("ip saddr 10.1.0.1 meta l4proto udp"))])
            .undo([On("a-2", OFF)])
            .cut(&[("a-1", "a-2"), ("a-2", "a-1")])
            .whole(&[("a-2", "b-1")])
            .says(Node("a-1"), "M0666|M0663", &["a-2"])
            .says(Node("a-2"), "M0666|M0663", &["a-1"])
            .says(Management, "M0666|M0663", &["a-1", "a-2"])
            .says(Explain("a-1", "a-2"), "now", &["a-2"]),
        Row::new("a firewall drops the session inside a PDC and leaves the plain path alone")
            .make([On("a-2", input!("ip saddr 10.1.0.1 udp dport 51820-51835"))])
            .undo([On("a-2", OFF)])
            .whole(&[("a-1", "a-2"), ("a-2", "a-1")])
            .says(Node("a-1"), "M0669", &["session with a-2", "what is sent from here is lost", "10.1.0.2"])
            .says(Node("a-2"), "M0669", &["session with a-1", "10.1.0.1"])
            .says(Management, "M0669", &["node a-2", "session with a-1"]),
        Row::new("bridges show their frames to a firewall that forwards nothing")
            .make([On("a-1", "sysctl -qw net.bridge.bridge-nf-call-iptables=1
                nft add table ip fw; nft 'add chain ip fw f { type filter hook forward priority 0; policy drop; }'")])
            .undo([On("a-1", "nft delete table ip fw; sysctl -qw net.bridge.bridge-nf-call-iptables=0")])
            .cut(&[("a-1", "a-2")])
            .says(Node("a-1"), "M0685", &["chain f of table ip fw", "policy drop"])
            .says(Node("a-2"), "M0663", &["a-1", "a-2"])
            .says(Management, "M0685", &["node a-1", "chain f of table ip fw"])
            .says(Explain("a-1", "a-2"), "status", &["M0685"])
            .may(&[(Node("a-1"), "M0663"), (Node("a-1"), "M0410"), (Node("b-1"), "M0410"), (Node("b-2"), "M0410")]),
        Row::new("one of several ways between two nodes is dead")
            .make([On("a-2", input!("udp dport 4789 udp sport & 1 == 1"))])
            .undo([On("a-2", OFF)])
            .says(Node("a-1"), "M0665", &["between a-1 and a-2", "10.1.0.2"])
            .says(Management, "M0665", &["a-1", "a-2"])
            .may(&[(Node("a-2"), "M0665")]),
    ]
}

fn tunnels() -> Vec<Row> {
    vec![
        Row::new("a firewall drops the tunnel of one peer, and nobody speaks")
            .make([On("b-1", input!("ip saddr 198.18.1.1 udp dport 51820-51835"))])
            .undo([On("b-1", OFF)])
            .cut(&[("a-1", "b-1"), ("b-1", "a-1")])
            .whole(&[("a-2", "b-1"), ("a-1", "b-2")])
            .says(Node("a-1"), "M0410", &["tunnel to b-1"])
            .says(Node("b-1"), "M0410", &["tunnel to a-1"])
            .says(Management, "M0410", &["node a-1", "tunnel to b-1"])
            .says(Unsure("a-1", "b-1"), "now", &["tunnel to b-1"])
            .ci(),
        // On a busy machine once in seven times not within 35 s; so it is not for CI.
        Row::new("a firewall drops the tunnel of one peer, and each end says which direction it is")
            .make([On("b-2", input!("ip saddr 198.18.1.1 udp dport 51820-51835"))])
            .undo([On("b-2", OFF)])
            .cut(&[("a-1", "b-2"), ("b-2", "a-1")])
            .says(Node("a-1"), "M0410", &["tunnel to b-2", "what is sent from here does not arrive at 198.18.2.2"])
            .says(Node("b-2"), "M0410", &["tunnel to a-1", "nothing of 198.18.1.1"])
            .says(Management, "M0410", &["node a-1", "tunnel to b-2", "does not arrive"])
            .may(&[(Node("b-2"), "M0410")]),
        Row::new("a firewall drops what leaves by the tunnel of one peer, and nobody speaks")
            .make([On("b-2", output!("ip daddr 198.18.1.2 udp dport 51820-51835"))])
            .undo([On("b-2", OFF)])
            .cut(&[("a-2", "b-2"), ("b-2", "a-2")])
            .whole(&[("a-1", "b-2")])
            .says(Node("a-2"), "M0410", &["tunnel to b-2"])
            .says(Node("a-2"), "M0410", &["tunnel to b-2", "nothing of 198.18.2.2"])
            .says(Node("b-2"), "M0410", &["tunnel to a-2", "what is sent from here does not arrive at 198.18.1.2"])
            .says(Management, "M0410", &["node b-2", "tunnel to a-2"])
            .says(Explain("b-2", "a-2"), "now", &["tunnel to a-2"]),
        Row::new("a firewall drops every tunnel of a node")
            .make([On("b-1", input!("udp dport 51820-51835 iifname ext0"))])
            .undo([On("b-1", OFF)])
            .cut(&[("a-1", "b-1"), ("a-2", "b-1")])
            .whole(&[("b-1", "b-2")])
            .says(Node("b-1"), "M0410", &["a-1", "a-2", "ext0"])
            .says(Node("a-1"), "M0410", &["b-1"])
            .says(Node("a-2"), "M0410", &["b-1"])
            .says(Management, "M0410", &["b-1"])
            .says(Unsure("a-1", "b-1"), "now", &["tunnel to b-1"]),
        Row::new("a firewall drops the tunnel of one peer while its guests speak")
            .make([On("b-1", input!("ip saddr 198.18.1.1 udp dport 51820-51835")),
                On("a-1-g1", "ping -i 0.2 -w 45 192.168.10.13 >/dev/null 2>&1 &")])
            .undo([On("b-1", OFF)])
            .cut(&[("a-1", "b-1"), ("b-1", "a-1")])
            .says(Node("a-1"), "M0410", &["b-1"])
            .says(Management, "M0410", &["b-1"])
            .says(Unsure("a-1", "b-1"), "now", &["tunnel to b-1"])
            .may(&[(Node("b-1"), "M0410")]),
        Row::new("a line loses datagrams of a tunnel by chance, in one direction")
            .make([On("a-1-g1", "ping -n -q -i 0.005 -w 90 192.168.10.13 >/dev/null 2>&1 &"),
                On("b-1", input!("ip saddr 198.18.1.1 udp dport 51820-51835 numgen random mod 100 < 20"))])
            .undo([On("b-1", OFF)])
            .whole(&[("a-2", "b-1"), ("a-1", "b-2")])
            .says(Node("b-1"), "M0723", &["of the tunnel from a-1 to b-1 are lost on the way from 198.18.1.1"])
            .says(Management, "M0723", &["node b-1", "from a-1 to b-1"])
            .says(Events("b-1"), "problem", &["M0723", "from a-1"]),
        Row::new("the way to management is shut without a word")
            .make([On("a-1", "nft add table inet fw
                nft 'add chain inet fw i { type filter hook input priority -10; }'; nft 'add rule inet fw i tcp sport 7443 drop'
                nft 'add chain inet fw o { type filter hook output priority -10; }'; nft 'add rule inet fw o tcp dport 7443 drop'")])
            .undo([On("a-1", OFF)])
            .whole(&[("a-1", "a-2"), ("a-1", "b-1")])
            .says(Node("a-1"), "M0120", &["no management node since"])
            .says(Management, "M0107", &["node a-1 is away"])
            .says(Audit, "node-away", &["node a-1 is away"])
            .ci(),
    ]
}

fn links() -> Vec<Row> {
    vec![
        // The session goes on by its old addresses, and guests' frames take it.
        Row::new("an admin interface gets another name")
            .make([On("a-1", "ip link set admin0 name adm9")])
            .undo([On("a-1", "ip link set adm9 name admin0")])
            .whole(&[("a-1", "a-2"), ("a-2", "a-1"), ("a-1", "b-1")])
            .says(Node("a-1"), "M0630", &["admin0", "adm9"])
            .says(Management, "M0630", &["node a-1", "admin0"])
            .says(Perhaps("a-1", "a-2"), "outer", &["no admin address now", "the session goes on"])
            .says(Perhaps("a-2", "a-1"), "outer", &["no admin address now", "the session goes on"]),
        Row::new("an admin interface loses its address")
            .make([On("a-1", "ip address del 10.1.0.1/24 dev admin0")])
            .undo([On("a-1", "ip address add 10.1.0.1/24 dev admin0")])
            .cut(&[("a-1", "a-2")])
            .whole(&[("a-1", "b-1")])
            .says(Node("a-1"), "M0631", &["admin0"])
            .says(Management, "M0631", &["node a-1", "admin0"])
            .says(Node("a-2"), "M0410", &["a-1"])
            .says(Unsure("a-1", "a-2"), "outer", &["no admin address"])
            .may(&[(Node("a-1"), "M0410"), (Node("a-2"), "M0663|M0666|M0669")]),
        Row::new("a route of a node refuses a peer of its PDC")
            .make([On("a-1", "ip route add prohibit 10.1.0.2/32")])
            .undo([On("a-1", "ip route del prohibit 10.1.0.2/32")])
            .whole(&[("a-1", "a-2"), ("a-2", "a-1")])
            .says(Node("a-1"), "M0669", &["the kernel has no way to 10.1.0.2"])
            .says(Management, "M0669", &["node a-1", "no way to 10.1.0.2"])
            .may(&[(Node("a-2"), "M0669")]),
        Row::new("an admin interface is set down")
            .make([On("a-2", "ip link set admin0 down")])
            .undo([On("a-2", "ip link set admin0 up")])
            .cut(&[("a-1", "a-2")])
            .whole(&[("a-2", "b-1")])
            .says(Node("a-2"), "M0667", &["admin0 is down", "a-1"])
            .says(Node("a-1"), "M0666", &["a-2", "10.1.0.2"])
            .says(Management, "M0667", &["node a-2", "admin0 is down"])
            .says(Events("a-2"), "problem", &["M0667", "admin0"])
            .ci(),
        Row::new("an admin interface is put into a bridge and keeps its address")
            .make([On("a-2", "ip link add br0 type bridge; ip link set br0 up; ip link set admin0 master br0")])
            .undo([On("a-2", "ip link del br0")])
            .cut(&[("a-1", "a-2")])
            .whole(&[("a-2", "b-1")])
            .says(Node("a-2"), "M0667", &["admin0 is a port of the bridge br0", "a-1"])
            .says(Node("a-1"), "M0666", &["a-2", "10.1.0.2"])
            .says(Management, "M0667", &["node a-2", "admin0 is a port of the bridge br0"])
            .says(Events("a-2"), "problem", &["M0667", "br0"])
            .may(&[(Node("a-1"), "M0663"), (Node("a-2"), "M0663")]),
        Row::new("an external interface is put into a bridge and keeps its address")
            .make([On("b-1", "ip link add br0 type bridge; ip link set br0 up; ip link set ext0 master br0")])
            .undo([On("b-1", "ip link del br0")])
            .cut(&[("a-1", "b-1"), ("b-1", "a-2")])
            .whole(&[("b-1", "b-2")])
            .says(Node("b-1"), "M0410", &["ext0 is a port of the bridge br0"])
            .says(Node("a-1"), "M0410", &["b-1"])
            .says(Node("a-2"), "M0410", &["b-1"])
            // What it says goes on arriving for as long as it knows where to send it.
            .says(Management, "M0410", &["b-1 says itself that", "ext0"])
            .may(&[(Node("b-1"), "M0120"), (Management, "M0107")]),
        Row::new("the cable of an admin interface is pulled")
            .make([On("net", "ip link set b-2.adm down")])
            .undo([On("net", "ip link set b-2.adm up")])
            .cut(&[("b-1", "b-2")])
            .whole(&[("a-1", "b-2")])
            .says(Node("b-2"), "M0667", &["admin0", "no carrier", "b-1"])
            .says(Node("b-1"), "M0666", &["b-2", "10.2.0.2"])
            .says(Management, "M0667", &["node b-2", "no carrier"]),
        Row::new("an external interface is set down")
            .make([On("b-1", "ip link set ext0 down")])
            .undo([On("b-1", "ip link set ext0 up")])
            .cut(&[("a-1", "b-1"), ("b-1", "a-2")])
            .whole(&[("b-1", "b-2"), ("b-2", "a-1")])
            .says(Node("b-1"), "M0120", &["no management node"])
            .says(Node("a-1"), "M0410", &["b-1"])
            .says(Node("a-2"), "M0410", &["b-1"])
            .says(Management, "M0107", &["node b-1 is away"])
            .says(Management, "M0410", &["b-1", "M0107"])
            .says(Audit, "node-away", &["b-1"])
            .may(&[(Node("b-1"), "M0410")]),
        Row::new("the cable of an external interface is pulled")
            .make([On("net", "ip link set a-2.ext down")])
            .undo([On("net", "ip link set a-2.ext up")])
            .cut(&[("a-2", "b-1")])
            .whole(&[("a-2", "a-1")])
            .says(Node("a-2"), "M0120", &["no management node"])
            .says(Node("b-1"), "M0410", &["a-2"])
            .says(Node("b-2"), "M0410", &["a-2"])
            .says(Management, "M0107", &["node a-2 is away"])
            .may(&[(Node("a-2"), "M0410")]),
        Row::new("a PDC loses its line")
            .make([On("net", "ip link set b-1.ext down; ip link set b-2.ext down")])
            .undo([On("net", "ip link set b-1.ext up; ip link set b-2.ext up")])
            .cut(&[("a-1", "b-1"), ("a-2", "b-2")])
            .whole(&[("b-2", "b-1"), ("a-1", "a-2")])
            .says(Node("b-1"), "M0120", &["no management node"])
            .says(Node("a-1"), "M0410", &["b-1"])
            .says(Management, "M0107", &["node b-1 is away"])
            .may(&[
                (Node("b-1"), "M0410"),
                (Node("b-2"), "M0410"),
                (Node("b-2"), "M0120"),
                (Node("a-2"), "M0410"),
                (Node("a-1"), "M0410"),
            ]),
    ]
}

fn sizes() -> Vec<Row> {
    vec![
        Row::new("the wire of a PDC carries less than its interfaces")
            .make([On("a-2", input!("udp dport 4789 meta length > 1300"))])
            .undo([On("a-2", OFF)])
            .whole(&[("a-1", "a-2"), ("a-2", "a-1")])
            .says(Node("a-1"), "M0664", &["from a-1 to a-2", "10.1.0.2"])
            .says(Node("a-2"), "M0664", &["from a-1 to a-2"])
            .says(Management, "M0664", &["from a-1 to a-2"])
            .ci(),
        Row::new("the wire between PDCs carries less than its interfaces")
            .make([On(
                "net",
                "nft 'add table bridge narrow; add chain bridge narrow f { type filter hook forward priority 0; }
                add rule bridge narrow f udp dport 51820-51835 ip length > 1400 ip length <= 1500 drop'",
            )])
            .undo([On("net", "nft delete table bridge narrow")])
            .whole(&[("a-1", "b-1")])
            .says(Node("a-1"), "M0502", &["blue", "b-"])
            .says(Node("b-2"), "M0502", &["blue", "a-"])
            .says(Management, "M0502", &["blue"])
            .says(Events("a-1"), "path-mtu", &["now"])
            .may(&[(Node("a-2"), "M0502"), (Node("b-1"), "M0502")]),
        Row::new("an admin interface has a smaller MTU than the others")
            .make([On("b-2", "ip link set admin0 mtu 1300")])
            .undo([On("b-2", "ip link set admin0 mtu 1500")])
            .whole(&[("b-2", "b-1")])
            .says(Node("b-1"), "M0664", &["b-2"])
            .says(Management, "M0510|M0664|M0502", &["b-2"])
            .may(&[(Node("b-2"), "M0664"), (Node("b-2"), "M0501"), (Management, "M0510"), (Node("b-2"), "M0502")]),
    ]
}
