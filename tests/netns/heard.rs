//! What guests say to all is heard by all, and what they ask is asked of the owner, in the same PDC and across: announcements, probes,
//! address detection; questions without a tag, with a priority tag, and in VLANs that use one address twice.

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
/// Addresses that each VLAN gives to another guest, the VLANs, and whose they are.
const ADDRESSES: [(u8, [(u16, &str); 3]); 2] =
    [(60, [(0, "a-2"), (20, "b-1"), (30, "a-2")]), (61, [(0, "b-1"), (20, "a-2"), (30, "b-2")])];

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 10, last)
}

/// The first guest of a node.
struct Guest {
    node: &'static str,
    plug: Plug,
    mac: Mac,
    ip: IpAddr,
}

fn guests(lab: &Lab) -> Vec<Guest> {
    let layout = lab.layout();
    let of = |node| {
        let guest = &layout.node(node).unwrap().guests[0];
        Guest { node, plug: Plug::at(&guest.namespace, "eth0"), mac: guest.mac, ip: guest.ips[0] }
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
    vlan.map_or_else(|| frame.clone(), |vlan| tag(vlan, &frame))
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

#[test]
fn a_question_reaches_the_owner_that_its_vlan_says_by_every_path_and_in_every_mode() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let all = guests(&lab);
    let (from, ears) = all.split_first().unwrap();
    declare(&lab, &all);
    for flood in ["suppress", "off", "replicate"] {
        lab.admin(&["network", "set", "blue", "--flood", flood]);
        for (last, owners) in ADDRESSES {
            for (vlan, owner) in owners {
                let tags = if vlan == 0 { vec![None, Some(0)] } else { vec![Some(vlan)] };
                for ask in tags.into_iter().map(|tag| question(from.mac, ip(59), ip(last), tag)) {
                    let hear = || ears.iter().filter(|ear| heard(&ear.plug.take(), &ask)).map(|ear| ear.node);
                    let what = format!("{flood}: {owner} is asked for .{last} in VLAN {vlan}, {} bytes", ask.len());
                    let mut last_heard = Vec::new();
                    // Once a change of mode has come through; in `replicate` everybody hears.
                    wait_until(&what, LIMIT, || {
                        from.plug.send(&ask);
                        std::thread::sleep(Duration::from_millis(50));
                        last_heard = hear().collect();
                        if flood == "replicate" { last_heard == EARS } else { last_heard == [owner] }
                    });
                }
            }
        }
    }
}

#[test]
fn an_address_that_gets_another_owner_is_announced_by_every_node_in_every_mode() {
    if !can_run() {
        return;
    }
    let lab = Lab::mesh(&["--pdcs", "2", "--nodes", "2"]);
    lab.settled();
    let all = guests(&lab);
    let (from, ears) = all.split_first().unwrap();
    // Nobody is behind these ports: what is heard of them is said by the nodes.
    for (round, flood) in ["off", "suppress", "replicate"].into_iter().enumerate() {
        lab.admin(&["network", "set", "blue", "--flood", flood]);
        let mac = Mac([2, 0, 0, 0, 0x77, u8::try_from(round).unwrap()]);
        let name = format!("vip{round}");
        let words = ["port", "create", &name, "--network", "blue", "--node", "a-1", "--ip", "192.168.10.70"];
        lab.admin(&[&words[..], &["--mac", &mac.to_string()]].concat());
        let said = question(mac, ip(70), ip(70), None);
        let mut deaf: Vec<&Guest> = ears.iter().collect();
        wait_until(&format!("{flood}: {mac} has .70 now"), LIMIT, || {
            deaf.retain(|ear| !heard(&ear.plug.take(), &said));
            deaf.is_empty()
        });
        assert!(!heard(&from.plug.take(), &said), "its own node leaves it to the owner");
        lab.admin(&["port", "delete", &name]);
    }
}

/// Gives the addresses to their owners, and the asker one in each VLAN.
fn declare(lab: &Lab, all: &[Guest]) {
    for guest in all {
        for vlan in [0_u16, 20, 30] {
            let has = |(_, owners): &&(u8, [(u16, &str); 3])| owners.contains(&(vlan, guest.node));
            let mut ips: Vec<String> = ADDRESSES.iter().filter(has).map(|(last, _)| ip(*last).to_string()).collect();
            if guest.node == "a-1" {
                ips.push(ip(59).to_string());
            }
            if ips.is_empty() {
                continue;
            }
            if vlan == 0 {
                ips.push(guest.ip.to_string());
                lab.admin(&["port", "set", &format!("{}-g1", guest.node), "--ip", &ips.join(",")]);
            } else {
                let (name, vlan, mac) = (format!("v{vlan}-{}", guest.node), vlan.to_string(), guest.mac.to_string());
                let words = ["port", "create", &name, "--network", "blue", "--node", guest.node, "--vlan", &vlan];
                lab.admin(&[&words[..], &["--mac", &mac, "--ip", &ips.join(",")]].concat());
            }
        }
    }
}
