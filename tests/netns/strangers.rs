//! Devices of others under our names or on our UDP ports, and table files that were cut, under a real `meshd`.

use std::time::Duration;

use crate::harness::{Space, can_run, wait_until};
use crate::mesh::{Ended, Mesh};

const LIMIT: Duration = Duration::from_secs(15);

fn joined() -> Mesh {
    let mesh = Mesh::new();
    mesh.admin("overlay create default");
    mesh.admin("overlay create flannel --udp-port 8472");
    mesh.admin("network create blue --overlay default --vni 10 --cidr 192.168.10.0/24 --learning local --nodes n-*");
    mesh.admin("network create red --overlay flannel --vni 20 --cidr 192.168.20.0/24 --learning local --nodes n-*");
    // Without a peer in the PDC no vxlan device is needed.
    let peer = mesh.join_from(&mesh.server, "n-2", &mesh.token(""), "");
    assert_eq!(peer.code, Some(0), "{}", peer.stderr);
    let ended = mesh.join("n-1", &mesh.token(""), "");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    mesh
}

fn says(status: &Ended, words: &[&str]) -> bool {
    words.iter().all(|word| status.stdout.contains(word))
}

#[test]
fn foreign_devices_are_named_in_the_status_and_the_other_networks_are_built() {
    if !can_run() {
        return;
    }
    let mesh = joined();
    mesh.machine.sh("ip link add name flannel.1 type vxlan id 1 dstport 8472 local 10.9.0.1");
    mesh.machine.sh("ip link add name vb10.12b5 type bridge");
    let foreign = "ip -o -d link show dev flannel.1; ip -o -d link show dev vb10.12b5";
    let before = mesh.machine.sh(foreign);
    let _daemon = mesh.meshd("n-1");
    wait_until("both are told", LIMIT, || says(&mesh.local("n-1", "status -o json"), &["M0611", "M0612"]));
    let status = mesh.local("n-1", "status -o json");
    assert_eq!(status.code, Some(9));
    let all = [
        "there is a device vb10.12b5 (bridge",
        "it is left alone and the network is not built",
        "UDP port 8472 belongs to the vxlan device flannel.1",
        "another UDP port",
    ];
    assert!(says(&status, &all), "{}", status.stdout);
    assert_eq!(mesh.machine.sh(foreign), before, "what is not ours is untouched");
    mesh.machine.sh("ip link delete dev flannel.1; ip link delete dev vb10.12b5");
    wait_until("both networks are built", LIMIT, || {
        mesh.machine.holds("ip link show dev vb10.12b5 && ip link show dev vb20.2118")
    });
    wait_until("nothing is told any more", LIMIT, || {
        let status = mesh.local("n-1", "status -o json").stdout;
        !status.contains("M0611") && !status.contains("M0612")
    });
}

#[test]
fn a_table_file_cut_in_half_leaves_the_table_of_before_in_the_kernel() {
    if !can_run() {
        return;
    }
    let host = Space::new("cut");
    host.sh("ip link add name eth0 type veth peer name wire; ip link set dev wire up; ip link set dev eth0 up; ip address add 10.9.0.1/24 dev eth0");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display();
    let text = format!(
        "[node]\nname = \"n-1\"\n[underlay]\nadmin = \"eth0\"\nexternal = \"eth0\"\n[table]\nsource = \"files\"\n\
         underlay = [\"10.9.0.0/24\"]\n[paths]\nkeys = \"{root}/keys\"\nstate = \"{root}/state\"\nrun = \"{root}/run\"\n"
    );
    std::fs::write(folder.path().join("meshd.toml"), text).unwrap();
    let file = folder.path().join("state/table/default/10.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let whole = "{\"02:00:00:00:00:02\": {\"ip\": \"10.9.0.2\", \"port\": 4789, \"arp\": \"192.168.10.12\"}}\n";
    std::fs::write(&file, whole).unwrap();
    let start = || crate::mesh::daemon(&host, folder.path());
    let status = || crate::mesh::local(&host, folder.path(), "status -o json");
    let daemon = start();
    let row = "bridge fdb show dev vv10.12b5 | grep -q '02:00:00:00:00:02 dst 10.9.0.2'";
    wait_until("the row is in the kernel", LIMIT, || host.holds(row));
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    wait_until("the cut file is told", LIMIT, || says(&status(), &["M0310", "the table of before stays in force"]));
    assert_eq!(status().code, Some(9));
    assert!(host.holds(row), "nothing is taken away");
    drop(daemon);
    let daemon = start();
    wait_until("a start with a cut file says so too", LIMIT, || says(&status(), &["M0310", "10.json"]));
    assert!(host.holds(row), "and keeps what the kernel has");
    std::fs::write(&file, whole).unwrap();
    wait_until("the whole file counts again", LIMIT, || !says(&status(), &["M0310"]));
    assert!(host.holds(row));
    drop(daemon);
}
