//! Addresses that move between guests: keepalived as Debian has it, guests that change their address, guests that move.

use std::fmt::Write as _;
use std::process::Stdio;

use tempfile::TempDir;
use vxmesh::clock;

use super::ground::{self, Guest, LIMIT, OWN0, OWN1, OWN2, Seat, Stage, THREE};
use super::{Behaviour, End};
use crate::harness::{Background, wait_until};

pub const TABLE: [Behaviour; 4] = [
    Behaviour {
        name: "keepalived: an IPv4 and an IPv6 VIP that fail over inside a PDC and across, advertisements each second",
        network: "",
        seats: &[
            Seat {
                node: "a-1",
                spec: "ips: [192.168.NN.10, 'fd00:NN::10'], allowed: [{ip: 192.168.NN.100}, {ip: 'fd00:NN::100'}]",
            },
            Seat {
                node: "a-2",
                spec: "ips: [192.168.NN.11, 'fd00:NN::11'], allowed: [{ip: 192.168.NN.100}, {ip: 'fd00:NN::100'}]",
            },
            Seat {
                node: "b-1",
                spec: "ips: [192.168.NN.12, 'fd00:NN::12'], allowed: [{ip: 192.168.NN.100}, {ip: 'fd00:NN::100'}]",
            },
            Seat { node: "a-2", spec: "ips: [192.168.NN.13, 'fd00:NN::13']" },
            Seat { node: "b-2", spec: "ips: [192.168.NN.14, 'fd00:NN::14']" },
        ],
        ends: End::Works,
        run: vip,
    },
    Behaviour {
        name: "keepalived with a virtual MAC (use_vmac)",
        network: "",
        seats: &[Seat { node: "a-1", spec: "ips: [192.168.NN.10], allowed: [{ip: 192.168.NN.100}]" }, OWN1, OWN2],
        ends: End::Refused(&["mac"], "M0675"),
        run: vmac,
    },
    Behaviour {
        name: "a guest changes its address by the book while TCP runs both ways",
        network: "",
        seats: THREE,
        ends: End::Works,
        run: renumbered,
    },
    Behaviour {
        name: "a VM that is migrated to another PDC and announces itself",
        network: "",
        seats: &[OWN0, OWN1, OWN2, Seat { node: "a-1", spec: "ips: [192.168.NN.13, 'fd00:NN::13']" }],
        ends: End::Works,
        run: migrated,
    },
];

/// keepalived with its files.
struct Keepalived {
    _running: Background,
    _folder: TempDir,
}

fn keepalived(stage: &Stage<'_>, guest: &Guest, priority: u8, more: &str, six: bool) -> Keepalived {
    let folder = tempfile::tempdir().unwrap();
    let mut text = format!("global_defs {{\n router_id {}\n}}\n", guest.port);
    let mut instance = |name: &str, id: u8, vip: &str| {
        let _ = writeln!(
            text,
            "vrrp_instance {name} {{\n state BACKUP\n interface eth0\n virtual_router_id {id}\n priority {priority}\n advert_int 1\n {more}\n \
             virtual_ipaddress {{\n  {}\n }}\n}}",
            stage.text(vip)
        );
    };
    instance("four", 51, "192.168.NN.100/24");
    if six {
        instance("six", 52, "fd00:NN::100/64");
    }
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("conf"), text).unwrap();
    let mut command = guest.space.command("keepalived");
    command.args(["-n", "-P", "-l", "-f", &path("conf"), "-p", &path("pid"), "-r", &path("vrrp")]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Keepalived { _running: guest.space.start(&mut command), _folder: folder }
}

fn vip(stage: &Stage<'_>) {
    let guests = stage.addressed();
    let (holders, watchers) = guests.split_at(3);
    let _running: Vec<Keepalived> = holders
        .iter()
        .zip([150, 100, 50])
        .map(|(guest, priority)| keepalived(stage, guest, priority, "", true))
        .collect();
    let vips = ["192.168.NN.100", "fd00:NN::100"].map(|vip| stage.text(vip));
    // As a client does: by what it remembers, which the new holder's announcement has to change.
    let holds = |holder: &Guest| {
        let of = |watcher: &Guest, vip: &String| watcher.reaches(vip) && watcher.knows(vip) == Some(holder.mac);
        watchers.iter().all(|watcher| vips.iter().all(|vip| of(watcher, vip)))
    };
    for (at, holder) in holders.iter().enumerate() {
        let since = clock::mono();
        wait_until(&format!("{} holds the VIPs", holder.port), LIMIT, || holds(holder));
        eprintln!("       VIPs at {} after {:?}", holder.node, clock::mono().since(since));
        if at < 2 {
            // Its machine loses its power.
            stage.ground.host(holder.node, &format!("ip link set dev {} down", holder.interface));
        }
    }
    let first = &holders[0];
    stage.ground.host(first.node, &format!("ip link set dev {} up", first.interface));
    wait_until("the first has them back", LIMIT, || holds(first));
}

fn vmac(stage: &Stage<'_>) {
    let guests = stage.addressed();
    let _running = keepalived(stage, &guests[0], 150, "use_vmac", false);
    let takes = || guests[0].space.sh("ip -o address show").contains(&stage.text("192.168.NN.100"));
    wait_until("keepalived is master", LIMIT, takes);
    End::Refused(&["mac"], "M0675").holds(stage);
    assert!(!guests[1].reaches(&stage.text("192.168.NN.100")), "nobody is reached by an address that no port has");
}

fn renumbered(stage: &Stage<'_>) {
    let guests = stage.addressed();
    let (moves, near, far) = (&guests[0], &guests[1], &guests[2]);
    guests.iter().for_each(|guest| ground::serve(&guest.space, 7000));
    let (old, new) = (moves.four, stage.text("192.168.NN.77"));
    near.meets(moves);
    far.meets(moves);
    // Connections of before, in both directions, over the whole change.
    let to = |ip: &str| format!("{ip}:7000").parse().unwrap();
    let held: Vec<_> = [(near, old), (far, old), (moves, near.four), (moves, far.four)]
        .iter()
        .map(|(from, ip)| ground::connect(&from.space, to(&ip.to_string())).unwrap())
        .collect();
    let go_on = |when: &str| assert!(held.iter().all(|stream| ground::echoes(stream, 200_000)), "{when}");
    go_on("before");
    let six = moves.six;
    stage.ground.lab.admin(&["port", "set", &moves.port, "--ip", &format!("{old},{new},{six}")]);
    go_on("the port has both");
    moves.space.sh(&format!("ip address add {new}/24 dev eth0"));
    for from in [near, far] {
        from.waits_for(&new, "the new address");
        ground::converses(&from.space, to(&new), "the new address");
    }
    go_on("the guest has both");
    drop(held);
    moves.space.sh(&format!("ip address delete {old}/24 dev eth0; ip address replace {new}/24 dev eth0"));
    stage.ground.lab.admin(&["port", "set", &moves.port, "--ip", &format!("{new},{six}")]);
    for from in [near, far] {
        from.waits_for(&new, "the new address alone");
        wait_until("nobody has the old one", LIMIT, || !from.reaches(&old.to_string()));
    }
}

fn migrated(stage: &Stage<'_>) {
    let guests = stage.addressed();
    let (moves, others) = guests.split_first().unwrap();
    others.iter().for_each(|guest| guest.meets(moves));
    stage.ground.host("a-1", &format!("ip link delete dev {}", moves.interface));
    let name = format!("{}m", moves.interface);
    stage.ground.lab.admin(&["port", "set", &moves.port, "--node", "b-2", "--interface", &name]);
    stage.ground.plug(stage.number, &name, moves.mac, "b-2", &moves.space);
    let since = clock::mono();
    // Its memory comes with it: addresses as they were, and what its kernel or hypervisor says.
    moves.address();
    moves.space.sh(&format!("arping -q -c 1 -w 1 -U -I eth0 {} || true", moves.four));
    others.iter().for_each(|guest| guest.meets(moves));
    eprintln!("       a VM in the other PDC after {:?}", clock::mono().since(since));
}
