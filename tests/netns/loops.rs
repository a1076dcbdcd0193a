//! Guests that join two networks.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use vxmesh::clock;
use vxmesh::types::Mac;

use crate::harness::{can_run, wait_until};
use crate::mesh::Mesh;
use crate::pretend::{Plug, Until, ipv4};

/// A guest that joins two networks: each frame that it hears in one it says in the other.
fn join(a: &Plug, b: &Plug, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        a.heard().iter().for_each(|frame| b.send(frame));
        b.heard().iter().for_each(|frame| a.send(frame));
        std::thread::yield_now();
    }
}

#[test]
fn two_guests_that_join_two_networks_are_stopped_and_named() {
    if !can_run() {
        return;
    }
    let mesh = Mesh::new();
    mesh.admin("overlay create default");
    for (network, vni, cidr) in [("blue", 10, "192.168.10.0/24"), ("red", 11, "192.168.11.0/24")] {
        mesh.admin(&format!("network create {network} --overlay default --vni {vni} --cidr {cidr}"));
    }
    assert_eq!(mesh.join("one", mesh.token("").trim(), "").code, Some(0));
    for (network, last, interface) in
        [("blue", 0x11, "b0"), ("blue", 0x21, "b1"), ("blue", 0x31, "b2"), ("red", 0x22, "r1"), ("red", 0x32, "r2")]
    {
        let subnet = if network == "blue" { 10 } else { 11 };
        mesh.admin(&format!(
            "port create {interface} --network {network} --node one --mac 02:00:00:00:00:{last:02x} \
             --ip 192.168.{subnet}.{last} --interface {interface}"
        ));
    }
    let _daemon = mesh.meshd("one");
    wait_until("both bridges are there", Duration::from_secs(10), || {
        mesh.machine.holds("ip link show vb10.12b5 && ip link show vb11.12b5 && nft list table bridge vxmesh_guests")
    });
    let plug = |name: &str, bridge: &str| Plug::on(&mesh.machine, name, bridge);
    let (first, blue, red) = (
        plug("b0", "vb10.12b5"),
        [plug("b1", "vb10.12b5"), plug("b2", "vb10.12b5")],
        [plug("r1", "vb11.12b5"), plug("r2", "vb11.12b5")],
    );
    let stop = AtomicBool::new(false);
    let events = || mesh.local("one", "events").stdout;
    std::thread::scope(|scope| {
        for n in 0..2 {
            let (blue, red, stop) = (&blue[n], &red[n], &stop);
            scope.spawn(move || join(blue, red, stop));
        }
        let _until = Until(&stop);
        let start = clock::mono();
        let sender: Mac = "02:00:00:00:00:11".parse().unwrap();
        for _ in 0..10 {
            first.send(&ipv4(Mac::BROADCAST, sender, Ipv4Addr::new(192, 168, 10, 0x11), None));
        }
        let told =
            |interface: &str| events().lines().any(|line| line.contains("guest-loop") && line.contains(interface));
        wait_until("both are named", Duration::from_secs(3), || told("r1") && told("r2"));
        println!("named after {:?}", clock::mono().since(start));
        let packets = || mesh.machine.sh("cat /sys/class/net/vb1*.12b5/statistics/rx_packets");
        wait_until("the storm is over", Duration::from_secs(3), || {
            let before = packets();
            std::thread::sleep(Duration::from_millis(200));
            packets() == before
        });
    });
    assert!(first.heard().is_empty(), "nothing of it came back");
    let status = mesh.local("one", "status").stdout;
    assert!(status.lines().any(|line| line.starts_with("dropped:") && line.contains(" guest_mac ")), "{status}");
}
