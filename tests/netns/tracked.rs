//! Guests do not fill the host's table of connections, and a firewall of the host that uses it goes on.

use std::time::Duration;

use vxmesh::lab::shell;

use crate::harness::{can_run, wait_until};
use crate::labs::Lab;

/// Flows that a guest opens, each from a source port of its own.
const FLOWS: usize = 1000;

fn run(namespace: &str, program: &str, lines: &str) -> String {
    let mut command = shell::command(Some(namespace), program);
    command.args(["-ec", lines]);
    shell::run(command).unwrap()
}

#[test]
fn guests_do_not_fill_the_hosts_table_of_connections_and_its_firewall_lets_the_mesh_through() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let node = |name: &str| lab.layout().node(name).unwrap().namespace.clone();
    // As hosts have it: what was not asked for is dropped, and the UDP ports of the mesh are open.
    let firewall = "nft add table inet fw
        nft 'add chain inet fw i { type filter hook input priority 0; policy drop; }'
        nft 'add chain inet fw o { type filter hook output priority 0; }'
        nft 'add rule inet fw o ct state established accept'
        nft 'add rule inet fw i iif lo accept'
        nft 'add rule inet fw i ct state established,related accept'
        nft 'add rule inet fw i ct state invalid drop'
        nft 'add rule inet fw i udp dport { 4789, 51820-51823 } accept'
        nft 'add rule inet fw i meta l4proto { icmp, ipv6-icmp } accept'";
    for name in ["a-1", "a-2"] {
        run(&node(name), "sh", firewall);
    }
    let tracked = || -> usize {
        run(&node("a-1"), "sh", "cat /proc/sys/net/netfilter/nf_conntrack_count").trim().parse().unwrap()
    };
    wait_until("connections are tracked", Duration::from_secs(10), || tracked() > 0);
    // It is left out as soon as its node has seen that this host tracks.
    for name in ["a-1", "a-2"] {
        wait_until("what is ours is left out", Duration::from_secs(40), || {
            run(&node(name), "sh", "nft list table inet vxmesh").contains("chain untracked_in")
        });
    }
    let (guest, _) = lab.guest("a-1");
    // A host that gives its connections a zone has its say before they are tracked, and ours comes before that.
    let zone = "iptables-legacy -t raw -A OUTPUT -j CT --zone 7; iptables-legacy -t raw -A PREROUTING -j CT --zone 8";
    for (far, most, zone) in [("a-2", 10, ""), ("b-1", 10, ""), ("a-2", 10, zone), ("b-1", 10, "")] {
        run(&node("a-1"), "sh", zone);
        let before = tracked();
        let (_, to) = lab.guest(far);
        run(&guest, "bash", &format!("for i in $(seq {FLOWS}); do echo x >/dev/udp/{to}/9; done"));
        let after = tracked();
        println!("{far}: {before} entries before {FLOWS} flows, {after} after");
        assert!(after <= before + most, "{far}: {before} entries before {FLOWS} flows, {after} after");
        wait_until("guests reach each other", Duration::from_secs(10), || {
            lab.answers("a-1", far) && lab.answers(far, "a-1")
        });
    }
    // Against a zone that nft gives no rule of ours holds, so it is told; one for other interfaces is nothing to us.
    let told = || {
        let status = lab.ctl("exec", &["a-1", "--", env!("CARGO_BIN_EXE_meshctl"), "status"]);
        String::from_utf8_lossy(&status.stdout).contains("M0618 a rule of chain opz p gives packets a zone")
    };
    run(
        &node("a-1"),
        "sh",
        "nft 'add table inet opz; add chain inet opz p { type filter hook prerouting priority raw; }'",
    );
    run(&node("a-1"), "sh", "nft add rule inet opz p iifname eth9 ct zone set 8");
    // What the same look finds shows that it has looked.
    let late = || {
        let status = lab.ctl("exec", &["a-1", "--", env!("CARGO_BIN_EXE_meshctl"), "status"]);
        String::from_utf8_lossy(&status.stdout).contains("M0612")
    };
    run(&node("a-1"), "sh", "ip link add vx9 type vxlan id 99 dstport 4789");
    wait_until("a device of others is told", Duration::from_secs(30), late);
    assert!(!told());
    run(&node("a-1"), "sh", "ip link del vx9");
    run(&node("a-1"), "sh", "nft add rule inet opz p ct zone set 8");
    wait_until("the zone is told", Duration::from_secs(30), told);
    run(&node("a-1"), "sh", "nft delete table inet opz");
    wait_until("it is told no longer", Duration::from_secs(30), || !told());
}
