//! The filter of guests' ports against the table that the exit of a tunnel is held to: a guest's neighbours hear the same of it, wherever
//! they are.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use vxmesh::types::Mac;

use crate::harness::can_run;
use crate::node::slice;
use crate::ports::Ground;
use crate::pretend::{Plug, ipv4, same};
use crate::says::{self, Party, ROLES, Role, Said};

/// VLAN in which the speakers have a second row.
const VLAN: u16 = 9;

const EAR: Party = Party {
    mac: Mac([2, 0, 0, 0, 0x0a, 1]),
    v4: std::net::Ipv4Addr::new(192, 168, 10, 11),
    v6: std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x11),
};

/// The guest that has a role.
fn speaker(role: Role) -> Party {
    let last = 0x21 + u8::try_from(ROLES.iter().position(|one| *one == role).unwrap()).unwrap();
    let v6 = std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into());
    Party { mac: Mac([2, 0, 0, 0, 0x0b, last]), v4: std::net::Ipv4Addr::new(192, 168, 10, last), v6 }
}

/// The interface that it is behind.
fn interface(role: Role) -> String {
    format!("g{:02x}", speaker(role).mac.0[5])
}

/// Rows of the speakers, without a tag and in a VLAN, and of the one who listens. A port names its interface, or it does not.
fn rows(named: bool) -> Value {
    let mut rows = Map::new();
    for at in ["default/10/-", "default/10/9"] {
        for role in ROLES {
            let Party { mac, v4, v6 } = speaker(role);
            let mut row = match role {
                Role::Bare => json!({"node": "a"}),
                Role::Guest => json!({"node": "a", "arp": [v4], "nd": [v6]}),
                Role::Router => json!({"node": "a", "arp": [v4], "nd": [v6], "role": "router"}),
                Role::Dhcp => json!({"node": "a", "arp": [v4], "nd": [v6], "role": "dhcp"}),
            };
            if named {
                row["interface"] = json!(interface(role));
            }
            rows.insert(format!("{at}/{mac}"), row);
        }
    }
    let ear = json!({"node": "a", "arp": [EAR.v4], "nd": [EAR.v6], "interface": "ge"});
    rows.insert(format!("default/10/-/{}", EAR.mac), ear);
    Value::Object(rows)
}

fn behind(tags: &[u16], frame: &[u8]) -> Vec<u8> {
    tags.iter().rev().fold(frame.to_vec(), |frame, tag| says::tagged(0x8100, *tag, &frame))
}

/// Whether the port passed it, who said it behind which tags, and what it was.
type Difference = (bool, Role, Vec<u16>, String);

/// Says some things, and tells in which of them the port was not of the opinion of the exit.
fn differences(role: Role, tags: &[u16], said: &[Said], from: &Plug, ear: &Plug, round: u16) -> Vec<Difference> {
    for said in said {
        from.send(&behind(tags, &said.frame));
    }
    // What comes in order has not come before.
    let Party { mac, v4, .. } = speaker(role);
    let mark = behind(tags, &ipv4(Mac::BROADCAST, mac, v4, Some((5000, 5000 + round))));
    from.send(&mark);
    let heard = ear.heard_until(&mark);
    let arrived = |said: &Said| heard.iter().any(|frame| same(frame, &behind(tags, &said.frame)));
    let other = |said: &&Said| arrived(said) != said.verdict(role).is_none();
    said.iter().filter(other).map(|said| (arrived(said), role, tags.to_vec(), said.what.clone())).collect()
}

fn all_differences(named: bool) -> Vec<Difference> {
    let mut ground = Ground::new("said", slice("a", rows(named)));
    let plugs = ROLES.map(|role| (role, ground.plug(&interface(role))));
    let ear = ground.plug("ge");
    // Not for the host's own filter to refuse.
    ground.host.sh("for it in iptables ip6tables arptables; do sysctl -q -w net.bridge.bridge-nf-call-$it=0 2>/dev/null || true; done");
    ground.settle();
    let mut different = Vec::new();
    let mut round = 0;
    for (role, plug) in &plugs {
        for tags in [&[][..], &[0], &[VLAN]] {
            for said in says::all(speaker(*role), EAR).chunks(16) {
                different.extend(differences(*role, tags, said, plug, &ear, round));
                round += 1;
            }
        }
    }
    different
}

/// Whom a frame is of, how its description begins, and why its port may pass it though the exit of a tunnel does not.
const PASSED: [(Option<Role>, &str, &str); 22] = [
    (None, "ARP cut", "no receiver takes it"),
    (None, "NA with lie 4", "no receiver takes half an option"),
    (None, "a jumbogram", "what is in it has been looked at"),
    (None, "certificate ", "no receiver takes them in fragments (RFC 6980)"),
    (None, "a first fragment with ", "not of what anybody is believed for"),
    (None, "a DHCP client without an address, in fragments", "a question"),
    (None, "RA behind a mobility header", "no header that has another behind it (RFC 6275 section 6.1.1)"),
    (None, "RA behind an authentication header", "no receiver takes it without a key"),
    (None, "a DHCPv6 answer behind a mobility header", "as above"),
    (None, "a DHCPv6 answer behind an authentication header", "as above"),
    (None, "DHCPv6 2 from UDP port 4000 to 547", "a relay takes RELAY-REPL only"),
    (None, "DHCPv6 7 from UDP port 4000 to 547", "as above"),
    (None, "DHCPv6 10 from UDP port 4000 to 547", "as above"),
    (Some(Role::Dhcp), "the same as a first fragment", "a server's own"),
    (Some(Role::Router), "RA ", "a router is believed"),
    (Some(Role::Router), "ICMP ", "as above"),
    (Some(Role::Bare), "ICMP without a type", "not of what anybody is believed for"),
    (Some(Role::Bare), "ARP ", "it may have any address"),
    (Some(Role::Bare), "NA of another guest", "as above"),
    (Some(Role::Bare), "NS as another", "as above"),
    (Some(Role::Bare), "RS as another", "as above"),
    (Some(Role::Bare), "a later fragment: another guest's", "as above"),
];

/// Packets for one address in frames for a group are refused where they leave a tunnel for the sake of hosts, which no port reaches; and what one
/// without addresses sends from another guest's.
fn for_hosts_or_bare(role: Role, what: &str) -> bool {
    let unicast = [", IPv4 for ", ", IPv6 for "].iter().any(|part| what.contains(part));
    unicast || what.starts_with("a later fragment for ") || (role == Role::Bare && what.contains("another guest's"))
}

#[test]
fn a_port_lets_its_guest_say_what_the_exit_of_a_tunnel_would() {
    if !can_run() {
        return;
    }
    for named in [true, false] {
        let mut met = BTreeSet::new();
        for (passed, role, tags, what) in all_differences(named) {
            let case = format!("{what}, of a {role:?} behind {tags:?}, its port names an interface: {named}");
            assert!(passed, "refused at its port: {case}");
            let known =
                PASSED.iter().filter(|(of, begin, _)| of.is_none_or(|of| of == role) && what.starts_with(begin));
            let known: Vec<&str> = known.map(|(_, begin, _)| *begin).collect();
            assert!(!known.is_empty() || for_hosts_or_bare(role, &what), "passed at its port: {case}");
            met.extend(known);
        }
        let begins: BTreeSet<&str> = PASSED.iter().map(|(_, begin, _)| *begin).collect();
        assert_eq!(met, begins, "each of them does pass");
    }
}
