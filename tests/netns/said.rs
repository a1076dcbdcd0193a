//! The filter of guests' ports against the table that the exit of a tunnel is held to: a guest's neighbours hear the same of it, wherever
//! they are.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

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

/// None, a priority tag, and a VLAN that the speakers have rows for.
const OWN_TAGS: [(u16, &[u16]); 3] = [(0x8100, &[]), (0x8100, &[0]), (0x8100, &[VLAN])];
/// A VLAN that they have none for, and service tags.
const FOREIGN_TAGS: [(u16, &[u16]); 3] = [(0x8100, &[8]), (0x88a8, &[0]), (0x88a8, &[VLAN])];

fn behind((ethertype, tags): (u16, &[u16]), frame: &[u8]) -> Vec<u8> {
    tags.iter().rev().fold(frame.to_vec(), |frame, tag| says::tagged(ethertype, *tag, &frame))
}

/// Whether the port passed it, who said it behind which tags, and what it was.
type Difference = (bool, Role, (u16, &'static [u16]), String);

/// Things that are said one after another: by whom, behind which tags.
struct Talk {
    role: Role,
    /// EtherType of the tags, and VLANs.
    tags: (u16, &'static [u16]),
    said: Vec<Said>,
}

/// All that is in the table, in pieces.
fn talks() -> Vec<Talk> {
    let mut talks = Vec::new();
    for role in ROLES {
        for tags in OWN_TAGS.into_iter().chain(FOREIGN_TAGS) {
            let mut all = says::all(speaker(role), EAR);
            if FOREIGN_TAGS.contains(&tags) {
                // Not all: 2000 frames for groups are what an interface may send at once.
                all.truncate(80);
            }
            talks.extend(all.chunks(16).map(|said| Talk { role, tags, said: said.to_vec() }));
        }
    }
    talks
}

/// A node with the speakers and one who listens.
struct Stage {
    ground: Ground,
    plugs: [(Role, Plug); 4],
    ear: Plug,
    round: Cell<u16>,
}

impl Stage {
    fn new(named: bool) -> Self {
        let mut ground = Ground::new("said", slice("a", rows(named)));
        let plugs = ROLES.map(|role| (role, ground.plug(&interface(role))));
        let ear = ground.plug("ge");
        // Not for the host's own filter to refuse.
        ground.host.sh("for it in iptables ip6tables arptables; do sysctl -q -w net.bridge.bridge-nf-call-$it=0 2>/dev/null || true; done");
        ground.settle();
        Self { ground, plugs, ear, round: Cell::new(0) }
    }

    /// Says it, and returns what of it arrived; none: not even what may always pass.
    fn hear(&self, talk: &Talk) -> Option<Vec<bool>> {
        let (_, from) = self.plugs.iter().find(|(role, _)| *role == talk.role).unwrap();
        for said in &talk.said {
            from.send(&behind(talk.tags, &said.frame));
        }
        // What comes in order has not come before.
        self.round.set(self.round.get() % 50_000 + 1);
        let Party { mac, v4, .. } = speaker(talk.role);
        let mark_tags = if FOREIGN_TAGS.contains(&talk.tags) { OWN_TAGS[0] } else { talk.tags };
        let mark = behind(mark_tags, &ipv4(Mac::BROADCAST, mac, v4, Some((5000, 5000 + self.round.get()))));
        from.send(&mark);
        let heard = self.ear.heard_within(&mark, Duration::from_millis(300))?;
        let arrived = |said: &Said| heard.iter().any(|frame| same(frame, &behind(talk.tags, &said.frame)));
        Some(talk.said.iter().map(arrived).collect())
    }
}

/// In what a port is not of the opinion of the exit.
fn differences(named: bool) -> Vec<Difference> {
    let stage = Stage::new(named);
    let mut different = Vec::new();
    for talk in talks() {
        let arrived = stage.hear(&talk).expect("what may always pass did not");
        for (said, arrived) in talk.said.iter().zip(arrived) {
            let may = said.verdict(talk.role).is_none() && OWN_TAGS.contains(&talk.tags);
            if arrived != may {
                different.push((arrived, talk.role, talk.tags, said.what.clone()));
            }
        }
    }
    different
}

/// Whom a frame is of, how its description begins, and why its port may pass it though the exit of a tunnel does not.
const PASSED: [(Option<Role>, &str, &str); 23] = [
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
    (Some(Role::Bare), "an ICMP", "as above"),
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
        for (passed, role, tags, what) in differences(named) {
            let case = format!("{what}, of a {role:?} behind {tags:x?}, its port names an interface: {named}");
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

/// Rules that nothing in the table misses: how their chain ends, how they begin, and why they are there all the same.
const UNMISSED: [(&str, &str, &str); 9] = [
    (
        "_udp6",
        "frag frag-off",
        "where a kernel reads bytes of later fragments as ports; this one reads the fragment header",
    ),
    ("bound_in", "meta l4proto tcp", "a short way"),
    ("bound_in", "meta l4proto udp", "a short way"),
    ("bound", "meta pkttype", "a short way"),
    ("bound_in", "goto drop_mac", "of strangers: ports.rs"),
    ("bound", "notrack", "of the host's NAT: places.rs"),
    ("loose_10_12b5", "notrack", "of the host's NAT: places.rs"),
    ("loose_10_12b5", "iifname . ether saddr", "of those who have spoken before: places.rs"),
    ("loose_10_12b5", "ether saddr != @loose", "of strangers: ports.rs"),
];

/// Chain, handle and text of each rule of the guests' own chains.
fn rules(stage: &Stage) -> Vec<(String, String, String)> {
    let listed = stage.ground.host.sh("nft -a list table bridge vxmesh_guests");
    let mut chain = "";
    let mut rules = Vec::new();
    for line in listed.lines().map(str::trim) {
        let Some((text, handle)) = line.split_once(" # handle ") else { continue };
        if let Some(name) = text.strip_prefix("chain ") {
            chain = name.trim_end_matches(" {");
        } else if !["table ", "set ", "map ", "counter "].iter().any(|word| text.starts_with(word))
            && ["bound", "tagged", "loose"].iter().any(|kind| chain.starts_with(kind))
        {
            rules.push((chain.to_owned(), handle.to_owned(), text.to_owned()));
        }
    }
    rules
}

#[test]
#[ignore = "minutes: takes each rule of the guests' filter out, one at a time"]
fn every_rule_of_a_port_is_missed_when_it_is_gone() {
    if !can_run() {
        return;
    }
    let talks = talks();
    let mut unmissed = Vec::new();
    for named in [true, false] {
        // Made anew each time: who has spoken once is loose no more.
        let mut stage = Stage::new(named);
        let usual: Vec<_> = talks.iter().map(|talk| stage.hear(talk)).collect();
        let counted = stage.ground.counters();
        let all = rules(&stage);
        for (nth, _) in all.iter().enumerate().filter(|(_, (chain, ..))| named != chain.starts_with("loose")) {
            drop(stage);
            stage = Stage::new(named);
            let (chain, handle, text) = rules(&stage).swap_remove(nth);
            stage.ground.host.sh(&format!("nft delete rule bridge vxmesh_guests {chain} handle {handle}"));
            let missed = talks.iter().zip(&usual).any(|(talk, usual)| stage.hear(talk) != *usual);
            if !missed && stage.ground.counters() == counted {
                unmissed.push((chain, text));
            }
        }
    }
    unmissed
        .retain(|(chain, text)| !UNMISSED.iter().any(|(of, says, _)| chain.ends_with(of) && text.starts_with(says)));
    assert!(unmissed.is_empty(), "{unmissed:#?}");
}
