//! Daemons, clocks, disks, clones, and what operators declare.

use super::table::Act::{Admin, Clock, Clone, Inside, Kill, On, Shift, Signal, SmallDisk, Start};
use super::table::At::{Audit, Events, Management, Node, Screen};
use super::table::Row;

pub(super) fn rows() -> Vec<Row> {
    [daemons(), clocks(), disks(), declared()].into_iter().flatten().collect()
}

fn daemons() -> Vec<Row> {
    vec![
        Row::new("a daemon is killed")
            .make([Kill("a-2")])
            .undo([Start("a-2")])
            .whole(&[("a-1", "a-2"), ("a-2", "a-1")])
            .says(Management, "M0107", &["node a-2 is away"])
            .says(Audit, "node-away", &["node a-2 is away"])
            .says(Node("a-1"), "M0666", &["a-2"])
            .says(Node("b-1"), "M0410", &["a-2"])
            .may(&[(Node("b-2"), "M0410")])
            .ci(),
        Row::new("a daemon stands still")
            .make([Signal("b-2", libc::SIGSTOP)])
            .undo([Signal("b-2", libc::SIGCONT)])
            .whole(&[("b-1", "b-2")])
            .says(Management, "M0107", &["node b-2 is away"])
            .says(Audit, "node-away", &["node b-2 is away"])
            .says(Node("b-1"), "M0666", &["b-2"])
            .says(Node("a-1"), "M0410", &["b-2"])
            .may(&[(Node("a-2"), "M0410")]),
        Row::new("management is killed")
            .make([Kill("mgmt")])
            .undo([Start("mgmt")])
            .whole(&[("a-1", "b-1"), ("a-1", "a-2")])
            .says(Node("a-1"), "M0120", &["no management node since", "198.18.255.1:7443"])
            .says(Node("b-2"), "M0120", &["no management node since"])
            .may(&[(Node("a-2"), "M0120"), (Node("b-1"), "M0120")])
            .ci(),
        Row::new("management is started anew and nobody is missed")
            .make([Kill("mgmt"), Start("mgmt")])
            .undo([On("mgmt", "true")])
            .whole(&[("a-1", "b-1"), ("a-1", "a-2")])
            // For the moment that it takes, it is so.
            .may(&[(Node("a-1"), "M0120"), (Node("a-2"), "M0120"), (Node("b-1"), "M0120"), (Node("b-2"), "M0120")]),
        Row::new("management is started anew while a node cannot reach it")
            .make([
                On("a-1", "nft add table inet fw; nft 'add chain inet fw o { type filter hook output priority -10; }'; nft 'add rule inet fw o tcp dport 7443 drop'"),
                Kill("mgmt"),
                Start("mgmt"),
            ])
            .undo([On("a-1", "nft delete table inet fw")])
            .whole(&[("a-1", "b-1"), ("a-1", "a-2")])
            // Neither away nor well: no M0107 about it may come meanwhile.
            .says(Screen, "expected", &["a-1"])
            .says(Node("a-1"), "M0120", &["no management node since"])
            .may(&[(Node("a-2"), "M0120"), (Node("b-1"), "M0120"), (Node("b-2"), "M0120")]),
        Row::new("management stands still")
            .make([Signal("mgmt", libc::SIGSTOP)])
            .undo([Signal("mgmt", libc::SIGCONT)])
            .whole(&[("a-1", "b-1"), ("a-1", "a-2")])
            .says(Node("a-1"), "M0120", &["no management node since"])
            .says(Node("b-2"), "M0120", &["no management node since"])
            .may(&[(Node("a-2"), "M0120"), (Node("b-1"), "M0120"), (Management, "M0107")]),
        Row::new("a daemon runs by a file that has gone wrong since")
            .make([
                On("a-1", "cp $LAB/a-1/meshd.toml $LAB/a-1/right.toml; echo 'colour = 1' >> $LAB/a-1/meshd.toml"),
                Signal("a-1", libc::SIGHUP),
            ])
            .undo([On("a-1", "mv $LAB/a-1/right.toml $LAB/a-1/meshd.toml"), Signal("a-1", libc::SIGHUP)])
            .whole(&[("a-1", "b-1")])
            .says(Node("a-1"), "M0301", &["colour"])
            .says(Management, "M0301", &["node a-1", "colour"])
            .says(Events("a-1"), "problem", &["M0301"])
            .ci(),
    ]
}

fn clocks() -> Vec<Row> {
    vec![
        Row::new("the clock of a node is ahead")
            .make([Kill("a-1"), Clock("a-1", 100)])
            .undo([Kill("a-1"), Start("a-1")])
            .whole(&[("a-1", "a-2")])
            .says(Node("a-1"), "M0690", &["clock of this machine", "ahead of"])
            .says(Management, "M0690", &["node a-1", "ahead of"])
            .says(Events("a-1"), "problem", &["M0690"])
            .may(&[(Management, "M0107")])
            .ci(),
        Row::new("the clock of a node is behind")
            .make([Kill("b-1"), Clock("b-1", -100)])
            .undo([Kill("b-1"), Start("b-1")])
            .whole(&[("b-1", "b-2")])
            .says(Node("b-1"), "M0690", &["behind"])
            .says(Management, "M0690", &["node b-1", "behind"])
            .may(&[(Management, "M0107")]),
        Row::new("the clock of a node jumps while it runs")
            .make([Kill("b-2"), Clock("b-2", 0), Shift("b-2", 1000)])
            .undo([Kill("b-2"), Start("b-2")])
            .says(Node("b-2"), "M0690", &["ahead of"])
            .says(Management, "M0690", &["node b-2"])
            .may(&[(Management, "M0107")]),
        Row::new("the clock of a node jumps an hour ahead while it runs")
            .make([Kill("b-1"), Clock("b-1", 0), Shift("b-1", 3600)])
            .undo([Kill("b-1"), Start("b-1")])
            .whole(&[("b-1", "b-2"), ("a-1", "b-1")])
            .says(Node("b-1"), "M0690", &["ahead of"])
            .says(Management, "M0690", &["node b-1", "ahead of"])
            .may(&[(Management, "M0107")]),
        Row::new("the clock of a node jumps an hour back while it runs")
            .make([Kill("a-2"), Clock("a-2", 0), Shift("a-2", -3600)])
            .undo([Kill("a-2"), Start("a-2")])
            .whole(&[("a-1", "a-2"), ("a-2", "b-1")])
            .says(Node("a-2"), "M0690", &["behind"])
            .says(Management, "M0690", &["node a-2", "behind"])
            .may(&[(Management, "M0107")]),
        Row::new("the clock of the management node is behind")
            .make([Kill("mgmt"), Clock("mgmt", -90)])
            .undo([Kill("mgmt"), Start("mgmt")])
            .says(Node("a-1"), "M0690", &["ahead of that of the management node"])
            .says(Node("b-2"), "M0690", &["ahead of that of the management node"])
            .says(Management, "M0690", &["4 nodes"])
            .may(&[
                (Node("a-2"), "M0690"),
                (Node("b-1"), "M0690"),
                (Node("a-1"), "M0120"),
                (Node("a-2"), "M0120"),
                (Node("b-1"), "M0120"),
                (Node("b-2"), "M0120"),
                (Management, "M0107"),
            ]),
    ]
}

fn disks() -> Vec<Row> {
    vec![
        Row::new("the disk of a node is full")
            .make([
                Kill("b-1"),
                SmallDisk("b-1"),
                On("b-1-g1", "sleep 6"),
                Inside("b-1", "dd if=/dev/zero of=$STATE/ballast bs=4k 2>/dev/null || true"),
                Admin("port create late --network blue --node a-1 --mac 02:76:78:aa:00:01 --ip 192.168.10.99"),
            ])
            .undo([Inside("b-1", "rm $STATE/ballast"), Admin("port delete late")])
            .whole(&[("b-1", "b-2"), ("a-1", "b-1")])
            .says(Node("b-1"), "M0710", &["not on disk", "No space left"])
            .says(Management, "M0710", &["node b-1"])
            .says(Events("b-1"), "problem", &["M0710"])
            .may(&[(Node("b-1"), "M0712")]),
        Row::new("the disk of a node is read-only")
            .make([
                Kill("a-2"),
                SmallDisk("a-2"),
                On("a-2-g1", "sleep 6"),
                Inside("a-2", "mount -o remount,ro $STATE"),
                Admin("port create later --network blue --node b-1 --mac 02:76:78:aa:00:02 --ip 192.168.10.98"),
            ])
            .undo([Inside("a-2", "mount -o remount,rw $STATE"), Admin("port delete later")])
            .whole(&[("a-1", "a-2")])
            .says(Node("a-2"), "M0710", &["not on disk", "Read-only"])
            .says(Management, "M0710", &["node a-2"])
            .may(&[(Node("a-2"), "M0712")]),
        Row::new("the disk of the management node is full")
            .make([
                Kill("mgmt"),
                SmallDisk("mgmt"),
                On("mgmt", "sleep 3"),
                Inside("mgmt", "dd if=/dev/zero of=$STATE/ballast bs=4k 2>/dev/null || true"),
            ])
            // The small disk goes with the daemon that has it.
            .undo([Kill("mgmt"), Start("mgmt")])
            .whole(&[("b-1", "b-2"), ("a-1", "b-1")])
            .says(Management, "M0689", &["store of the management node", "No space left"])
            .may(&[(Node("a-1"), "M0120"), (Node("a-2"), "M0120"), (Node("b-1"), "M0120"), (Node("b-2"), "M0120")]),
        Row::new("the slice on disk is cut and management is away")
            .make([Kill("mgmt"), Kill("a-2"), On("a-2", "truncate -s 100 $LAB/a-2/state/slice.json"), Start("a-2")])
            .undo([Start("mgmt")])
            .whole(&[("a-1", "a-2")])
            .says(Node("a-2"), "M0215", &["slice.json"])
            .says(Node("a-2"), "M0120", &["no management node"])
            .says(Node("a-1"), "M0120", &["no management node"])
            .may(&[
                (Node("b-1"), "M0120"),
                (Node("b-2"), "M0120"),
                (Node("b-1"), "M0410"),
                (Node("b-2"), "M0410"),
                (Node("a-1"), "M0666"),
                (Node("a-1"), "M0669"),
            ]),
    ]
}

fn declared() -> Vec<Row> {
    vec![
        Row::new("two machines run as one node")
            .make([Kill("b-2"), Clone("a-2", Some("b-2"))])
            .undo([Clone("a-2", None), Start("b-2"), Admin("node release a-2")])
            .cut(&[("a-1", "a-2"), ("b-1", "a-2")])
            .whole(&[("a-1", "b-1")])
            .says(Management, "M0286", &["a-2"])
            .says(Node("a-2"), "M0264", &["a-2"])
            .says(Audit, "quarantine", &["two machines run as node a-2"])
            .may(&[
                (Management, "M0107"),
                (Management, "M0108"),
                // The copy stands in another PDC's network, and says so.
                (Management, "M0647"),
                (Node("a-2"), "M0647"),
                (Node("a-1"), "M0410"),
                (Node("a-1"), "M0666"),
                (Node("a-2"), "M0410"),
                (Node("a-2"), "M0120"),
                (Node("b-1"), "M0410"),
                (Node("b-1"), "M0666"),
            ]),
        Row::new("a node has the key of another")
            .make([Kill("b-1"), On("b-1", "cp $LAB/b-1/keys/wireguard.key $LAB/own.key; cat $LAB/a-1/keys/wireguard.key > $LAB/b-1/keys/wireguard.key"), Start("b-1")])
            .undo([Kill("b-1"), On("b-1", "cat $LAB/own.key > $LAB/b-1/keys/wireguard.key; rm $LAB/own.key"), Start("b-1")])
            .cut(&[("a-1", "b-1")])
            .says(Node("b-1"), "M0281", &["key"])
            .says(Management, "M0281", &["node b-1"])
            .may(&[(Node("a-1"), "M0410"), (Node("a-2"), "M0410"), (Node("b-1"), "M0410"), (Node("b-2"), "M0663"), (Node("b-1"), "M0663"),
                (Node("b-2"), "M0669"), (Node("b-1"), "M0669"), (Node("b-2"), "M0666"), (Node("b-1"), "M0666"), (Management, "M0107")]),
        Row::new("the admin side is the external interface")
            .make([Kill("a-1"), On("a-1", "cp $LAB/a-1/meshd.toml $LAB/own.toml; sed -i 's/admin0/ext0/' $LAB/a-1/meshd.toml"), Start("a-1")])
            .undo([Kill("a-1"), On("a-1", "cat $LAB/own.toml > $LAB/a-1/meshd.toml; rm $LAB/own.toml"), Start("a-1")])
            .says(Node("a-1"), "M0647", &["ext0", "outside of the underlay of PDC 'a'"])
            .says(Management, "M0647", &["node a-1", "ext0"])
            .may(&[(Node("a-1"), "M0410|M0663|M0666|M0669"), (Node("a-2"), "M0410|M0663|M0666|M0669"), (Management, "M0107|M0108")]),
        Row::new("a network that learns its ports has nobody to host it")
            .make([Admin("network create build --overlay default --vni 20 --learning local")])
            .undo([Admin("network delete build")])
            .says(Management, "M0372", &["network build"])
            .ci(),
        Row::new("a port names an interface that has addresses of its host")
            .make([Admin("port create wrong --network blue --node a-1 --mac 02:76:78:aa:00:03 --ip 192.168.10.97 --interface admin0")])
            .undo([Admin("port delete wrong")])
            .whole(&[("a-1", "a-2"), ("a-1", "b-1")])
            .says(Node("a-1"), "M0617", &["admin0"])
            .says(Management, "M0617", &["node a-1", "admin0"])
            // Beside it stands that a guest is cut off that was never there.
            .may(&[(Node("a-1"), "M0672")])
            .ci(),
    ]
}
