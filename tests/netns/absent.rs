//! What is for a guest that is switched off, or for an address that nobody has, is for nobody: neighbours do not read it, and nobody
//! floods them with it.

use serde_json::{Value, json};
use vxmesh::types::Mac;

use crate::harness::can_run;
use crate::node::{BRIDGE, slice};
use crate::ports::{Ground, four};
use crate::pretend::{Plug, ipv4, same};

const READER: Mac = Mac([2, 0, 0, 0, 0, 0x11]);
const GONE: Mac = Mac([2, 0, 0, 0, 0, 0x12]);
const SENDER: Mac = Mac([2, 0, 0, 0, 0, 0x13]);
const NOBODY: Mac = Mac([2, 0, 0, 0, 0, 0x99]);

fn rows(named: bool) -> Value {
    let row = |last: u8, interface: &str| {
        let row = json!({"node": "a", "arp": [four(last)]});
        if named { json!({"node": "a", "arp": [four(last)], "interface": interface}) } else { row }
    };
    json!({
        "default/10/-/02:00:00:00:00:11": row(11, "g1"),
        "default/10/-/02:00:00:00:00:12": row(12, "g2"),
        "default/10/-/02:00:00:00:00:13": row(13, "g3"),
    })
}

/// How much `reader` hears of ten frames to `to`.
fn read(sender: &Plug, (reader, its): (&Plug, Mac), to: Mac) -> usize {
    let frame = ipv4(to, SENDER, four(13), Some((5000, 6000)));
    for _ in 0..10 {
        sender.send(&frame);
    }
    let marker = ipv4(its, SENDER, four(13), Some((5000, 6001)));
    sender.send(&marker);
    reader.heard_until(&marker).iter().filter(|heard| same(heard, &frame)).count()
}

#[test]
fn what_is_for_a_guest_that_is_switched_off_is_read_by_nobody_else() {
    if !can_run() {
        return;
    }
    for named in [true, false] {
        let mut ground = Ground::new(if named { "absent-n" } else { "absent-l" }, slice("a", rows(named)));
        let [reader, gone, sender] = ["g1", "g2", "g3"].map(|name| ground.plug(name));
        for (plug, mac, last) in [(&reader, READER, 11), (&gone, GONE, 12), (&sender, SENDER, 13)] {
            plug.send(&ipv4(Mac::BROADCAST, mac, four(last), None));
        }
        ground.settle();
        assert_eq!(read(&sender, (&gone, GONE), GONE), 10, "{named}: it hears what is its own");
        for (when, change) in [
            ("pulled out", "ip link set g2 nomaster".to_owned()),
            ("deleted", "ip link delete g2".to_owned()),
            ("its bridge is another one", format!("ip link delete {BRIDGE}")),
        ] {
            ground.host.sh(&change);
            ground.settle();
            if when == "its bridge is another one" {
                ground.host.sh(&format!("ip link set g1 master {BRIDGE}; ip link set g3 master {BRIDGE}"));
                reader.send(&ipv4(Mac::BROADCAST, READER, four(11), None));
                sender.send(&ipv4(Mac::BROADCAST, SENDER, four(13), None));
                ground.settle();
            }
            // Of guests whose ports name no interface, one that has never been seen may be anywhere.
            if named || when != "its bridge is another one" {
                assert_eq!(read(&sender, (&reader, READER), GONE), 0, "{named}, {when}");
                assert_eq!(read(&sender, (&reader, READER), NOBODY), 0, "{named}, {when}");
            }
            assert_eq!(read(&sender, (&reader, READER), READER), 10, "{named}, {when}: what is its own");
        }
        // It is the rule that was tried.
        ground.host.sh("bridge link set dev g1 flood on");
        assert_eq!(read(&sender, (&reader, READER), GONE), 10, "{named}: without it");
        ground.settle();
    }
}

#[test]
fn a_guest_that_has_never_spoken_is_found_and_networks_that_flood_go_on_flooding() {
    if !can_run() {
        return;
    }
    // Nobody knows where it is.
    let mut ground = Ground::new("absent-s", slice("a", rows(false)));
    let [silent, sender] = ["g2", "g3"].map(|name| ground.plug(name));
    sender.send(&ipv4(Mac::BROADCAST, SENDER, four(13), None));
    ground.settle();
    let question = ipv4(GONE, SENDER, four(13), Some((5000, 6000)));
    sender.send(&question);
    silent.heard_until(&question);
    // A mode that says that unknown unicast goes to all.
    let mut slice = slice("a", rows(true));
    slice.networks.values_mut().for_each(|network| network.flood = vxmesh::table::Flood::Replicate);
    let mut ground = Ground::new("absent-r", slice);
    let [other, sender] = ["g1", "g3"].map(|name| ground.plug(name));
    ground.settle();
    let frame = ipv4(NOBODY, SENDER, four(13), Some((5000, 6000)));
    sender.send(&frame);
    other.heard_until(&frame);
}
