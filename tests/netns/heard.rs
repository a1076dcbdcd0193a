//! What guests say to all is heard by all, in the same PDC and across: announcements, probes, address detection.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use vxmesh::types::Mac;
use vxmesh::wire::Header;
use vxmesh::wire::arp::{self, Arp};
use vxmesh::wire::ethernet;

use crate::frames::Plug;
use crate::harness::{can_run, wait_until};
use crate::labs::Lab;
use crate::pretend::{self, eth, same, tag};

const LIMIT: Duration = Duration::from_secs(10);
/// The one in the same PDC, and two in another.
const EARS: [&str; 3] = ["a-2", "b-1", "b-2"];

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 10, last)
}

/// The first guest of a node.
struct Guest {
    plug: Plug,
    mac: Mac,
    ip: IpAddr,
}

fn guests(lab: &Lab) -> Vec<Guest> {
    let layout = lab.layout();
    let of = |node| {
        let guest = &layout.node(node).unwrap().guests[0];
        Guest { plug: Plug::at(&guest.namespace, "eth0"), mac: guest.mac, ip: guest.ips[0] }
    };
    ["a-1"].into_iter().chain(EARS).map(of).collect()
}

/// A question, with a tag of its own or none.
fn question(from: Mac, sender: Ipv4Addr, target: Ipv4Addr, vlan: Option<u16>) -> Vec<u8> {
    let mut body = vec![0; Arp::LEN];
    let ask =
        Arp { operation: arp::REQUEST, sender_mac: from, sender_ip: sender, target_mac: Mac::ZERO, target_ip: target };
    ask.emit(&mut body).unwrap();
    let frame = eth(Mac::BROADCAST, from, ethernet::ARP, &body);
    vlan.map_or(frame.clone(), |vlan| tag(vlan, &frame))
}

/// True where a guest has heard the frame, whoever it was for by Ethernet. Packet sockets are told tags beside the frame.
fn heard(frames: &[Vec<u8>], said: &[u8]) -> bool {
    let said = if said[12..14] == [0x81, 0] { [&said[..12], &said[16..]].concat() } else { said.to_vec() };
    frames.iter().any(|frame| frame.len() > 14 && same(&[&said[..6], &frame[6..]].concat(), &said))
}

#[test]
fn what_a_guest_announces_is_heard_by_every_guest_of_its_network() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let all = guests(&lab);
    let (from, ears) = all.split_first().unwrap();
    let IpAddr::V4(own) = from.ip else { panic!("{}", from.ip) };
    let six = pretend::own(from.mac);
    let said = [
        ("gratuitous ARP, as an answer", pretend::arp(from.mac, from.mac, own)),
        ("gratuitous ARP, as a question", question(from.mac, own, own, None)),
        ("an ARP probe", question(from.mac, Ipv4Addr::UNSPECIFIED, own, None)),
        ("an unsolicited neighbour advertisement", pretend::na(from.mac, six, six)),
        ("address detection", pretend::detect(from.mac, six)),
        ("a question for an address that nobody has", question(from.mac, own, ip(99), None)),
    ];
    for flood in ["suppress", "replicate"] {
        lab.admin(&["network", "set", "blue", "--flood", flood]);
        for (what, frame) in &said {
            for tagged in [frame.clone(), tag(0, frame)] {
                let mut deaf: Vec<&Guest> = ears.iter().collect();
                let what = format!("{flood}: {what} is heard, tagged {}", tagged.len() - frame.len());
                wait_until(&what, LIMIT, || {
                    from.plug.send(&tagged);
                    deaf.retain(|ear| !heard(&ear.plug.take(), &tagged));
                    deaf.is_empty()
                });
            }
        }
    }
}
