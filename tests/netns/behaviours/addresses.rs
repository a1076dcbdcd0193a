//! Addresses that guests make themselves, and what becomes of them: stable privacy addresses (RFC 7217), temporary ones (RFC 8981), duplicates (RFC
//! 4862 section 5.4, RFC 5227), and sizes of their own.

use std::process::Stdio;

use super::ground::{self, Guest, LIMIT, OWN1, OWN2, Seat, Stage};
use super::{Behaviour, End};
use crate::harness::wait_until;

/// A guest of which only its Ethernet address is declared.
const FREE: Seat = Seat { node: "a-1", spec: "" };
const DECLARED: Seat = Seat { node: "a-1", spec: "ips: [192.168.NN.10, 'fd00:NN::10']" };

pub const TABLE: [Behaviour; 8] = [
    Behaviour {
        name: "a stable-privacy link-local address that its port does not have",
        network: "",
        seats: &[DECLARED, OWN1, OWN2],
        ends: End::Refused(&["nd"], "M0676"),
        run: stable_undeclared,
    },
    Behaviour {
        name: "a stable-privacy link-local address that its port has",
        network: "",
        seats: &[DECLARED, OWN1, OWN2],
        ends: End::Works,
        run: stable_declared,
    },
    Behaviour {
        name: "a stable-privacy address of a port without addresses",
        network: "",
        seats: &[FREE, OWN1, OWN2],
        ends: End::Works,
        run: stable_free,
    },
    Behaviour {
        name: "temporary addresses (privacy extensions) of a port that has addresses",
        network: "",
        seats: &[DECLARED, OWN1, OWN2],
        ends: End::Refused(&["nd"], "M0676"),
        run: temporary_declared,
    },
    Behaviour {
        name: "temporary addresses (privacy extensions) of a port without addresses",
        network: "",
        seats: &[FREE, OWN1, OWN2],
        ends: End::Works,
        run: temporary_free,
    },
    Behaviour {
        name: "a duplicate is detected before it is used, IPv4 and IPv6",
        network: "",
        seats: &[
            Seat { node: "a-1", spec: "ips: [192.168.NN.10], allowed: [{ip: 192.168.NN.100}, {ip: 'fd00:NN::100'}]" },
            Seat { node: "a-2", spec: "ips: [192.168.NN.11], allowed: [{ip: 192.168.NN.100}, {ip: 'fd00:NN::100'}]" },
            Seat { node: "b-1", spec: "ips: [192.168.NN.12], allowed: [{ip: 192.168.NN.100}, {ip: 'fd00:NN::100'}]" },
        ],
        ends: End::Works,
        run: duplicate,
    },
    Behaviour {
        name: "a duplicate of an address that a port of another has, by a port without addresses",
        network: "",
        seats: &[FREE, OWN1, OWN2],
        ends: End::Works,
        run: duplicate_of_another,
    },
    Behaviour {
        name: "jumbo frames of a guest in a network of 1500 bytes and less",
        network: "",
        seats: &[DECLARED, OWN1, OWN2],
        ends: End::Works,
        run: jumbo,
    },
];

const SECRET: &str = "sysctl -q -w net.ipv6.conf.eth0.stable_secret=2001:db8:1:2:3:4:5:6
    ip link set dev eth0 addrgenmode stable_secret; ip link set dev eth0 down; ip link set dev eth0 up";

/// Its link-local address, once it is one.
fn local(guest: &Guest) -> String {
    let mut found = String::new();
    wait_until("a link-local address", LIMIT, || {
        let said = guest.space.sh("ip -6 -o address show dev eth0 scope link -tentative");
        found = said.split_whitespace().nth(3).unwrap_or_default().trim_end_matches("/64").to_owned();
        !found.is_empty()
    });
    found
}

/// Both ways, with each of the others.
fn speaks(guest: &Guest, own: &str, others: &[Guest]) -> bool {
    let zone = if own.starts_with("fe80:") { "%eth0" } else { "" };
    others.iter().all(|other| {
        let to = if zone.is_empty() { other.six.to_string() } else { format!("{}%eth0", local(other)) };
        other.reaches(&format!("{own}{zone}"))
            && guest.space.holds(&format!("ping -n -c 1 -W 0.5 -I {own}{zone} {to} >/dev/null"))
    })
}

fn stable<'a>(stage: &'a Stage<'_>) -> (&'a Guest, &'a [Guest], String) {
    let (guest, others) = stage.guests.split_first().unwrap();
    others.iter().for_each(Guest::address);
    guest.space.sh(SECRET);
    let own = local(guest);
    assert!(!own.contains("ff:fe"), "{own} is made of its Ethernet address");
    (guest, others, own)
}

fn stable_undeclared(stage: &Stage<'_>) {
    let (guest, others, own) = stable(stage);
    guest.address();
    // Its IPv4 is not concerned. IPv6 asks from the link-local address for what is on no other.
    others.iter().for_each(|other| guest.waits_for(&other.four.to_string(), "another"));
    for _ in 0..4 {
        assert!(!speaks(guest, &own, others), "{own} is nobody's");
    }
    End::Refused(&["nd"], "M0676").holds(stage);
    let named = |line: &String| line.starts_with("M0676") && line.contains(&own);
    wait_until("the finding names it", LIMIT, || stage.ground.problems(Some(guest.node)).iter().any(named));
}

fn stable_declared(stage: &Stage<'_>) {
    let (guest, others, own) = stable(stage);
    guest.address();
    let ips = format!("{},{},{own}", guest.four, guest.six);
    stage.ground.lab.admin(&["port", "set", &guest.port, "--ip", &ips]);
    wait_until(&format!("{own} is reached, and reaches all"), LIMIT, || speaks(guest, &own, others));
    others.iter().for_each(|other| guest.meets(other));
}

fn stable_free(stage: &Stage<'_>) {
    let (guest, others, own) = stable(stage);
    wait_until(&format!("{own} is reached, and reaches all"), LIMIT, || speaks(guest, &own, others));
    guest.address();
    others.iter().for_each(|other| guest.meets(other));
}

/// Gives it an address from which it makes temporary ones, and returns one of these.
fn temporary<'a>(stage: &'a Stage<'_>) -> (&'a Guest, &'a [Guest], String) {
    let (guest, others) = stage.guests.split_first().unwrap();
    others.iter().for_each(Guest::address);
    guest.space.sh(&format!(
        "sysctl -q -w net.ipv6.conf.eth0.use_tempaddr=2; ip address add {}/64 dev eth0 nodad mngtmpaddr",
        guest.six
    ));
    let mut made = String::new();
    wait_until("a temporary address", LIMIT, || {
        let said = guest.space.sh("ip -6 -o address show dev eth0 temporary -tentative");
        made = said.split_whitespace().nth(3).unwrap_or_default().trim_end_matches("/64").to_owned();
        !made.is_empty()
    });
    (guest, others, made)
}

fn temporary_declared(stage: &Stage<'_>) {
    let (guest, others, made) = temporary(stage);
    for _ in 0..4 {
        assert!(!speaks(guest, &made, others), "{made} is nobody's");
    }
    // The one that its port has goes on.
    wait_until("its own address", LIMIT, || speaks(guest, &guest.six.to_string(), others));
    // It goes on for as long as somebody looks for what is said of it.
    let mut asks = guest.space.command("ping");
    asks.args(["-n", "-I", &made, &others[0].six.to_string()]).stdout(Stdio::null());
    let _asks = guest.space.start(&mut asks);
    End::Refused(&["nd"], "M0676").holds(stage);
}

fn temporary_free(stage: &Stage<'_>) {
    let (guest, others, made) = temporary(stage);
    wait_until(&format!("{made} is reached, and reaches all"), LIMIT, || speaks(guest, &made, others));
}

fn duplicate(stage: &Stage<'_>) {
    let (holder, others) = stage.guests.split_first().unwrap();
    let (four, six) = (stage.text("192.168.NN.100"), stage.text("fd00:NN::100"));
    for guest in &stage.guests {
        guest
            .space
            .sh(&format!("sysctl -q -w net.ipv6.conf.eth0.dad_transmits=1; ip address add {}/24 dev eth0", guest.four));
    }
    others.iter().for_each(|other| other.waits_for(&holder.four.to_string(), "the holder"));
    holder.space.sh(&format!("ip address add {four}/24 dev eth0; ip address add {six}/64 dev eth0"));
    wait_until("it is its own", LIMIT, || holder.space.sh("ip -6 -o address show dev eth0 -tentative").contains(&six));
    for other in others {
        // RFC 5227: a probe is answered.
        let taken = format!("arping -q -D -c 3 -w 3 -I eth0 {four}");
        wait_until(&format!("{} hears that {four} is taken", other.port), LIMIT, || !other.space.holds(&taken));
        // RFC 4862: the address is not used.
        other.space.sh(&format!("ip address add {six}/64 dev eth0"));
        wait_until(&format!("{} finds {six} a duplicate", other.port), LIMIT, || {
            other.space.sh("ip -6 -o address show dev eth0 dadfailed").contains(&six)
        });
    }
    let kept = holder.space.sh("ip -6 -o address show dev eth0");
    assert!(kept.contains(&six) && !kept.contains("dadfailed"), "the holder keeps it: {kept}");
}

fn duplicate_of_another(stage: &Stage<'_>) {
    let (guest, others) = stage.guests.split_first().unwrap();
    others.iter().for_each(Guest::address);
    guest.address();
    guest.space.sh("sysctl -q -w net.ipv6.conf.eth0.dad_transmits=1");
    for other in others {
        guest.meets(other);
        let (four, six) = (other.four.to_string(), other.six.to_string());
        let taken = format!("arping -q -D -c 3 -w 3 -I eth0 {four}");
        wait_until(&format!("{four} on {} is taken", other.node), LIMIT, || !guest.space.holds(&taken));
        guest.space.sh(&format!("ip address add {six}/64 dev eth0"));
        wait_until(&format!("{six} on {} is a duplicate", other.node), LIMIT, || {
            guest.space.sh("ip -6 -o address show dev eth0 dadfailed").contains(&six)
        });
        guest.space.sh(&format!("ip address delete {six}/64 dev eth0"));
        let kept = other.space.sh("ip -6 -o address show dev eth0");
        assert!(kept.contains(&six) && !kept.contains("dadfailed"), "{} keeps it: {kept}", other.port);
        guest.meets(other);
    }
}

fn jumbo(stage: &Stage<'_>) {
    let guests = stage.addressed();
    let (guest, others) = guests.split_first().unwrap();
    others.iter().for_each(|other| guest.meets(other));
    guest.space.sh("ip link set dev eth0 mtu 9000");
    for other in others {
        ground::serve(&other.space, 7000);
        ground::converses(&guest.space, format!("{}:7000", other.four).parse().unwrap(), "of a guest with 9000 bytes");
    }
    // Both ends: what does not fit is cut across PDCs; inside the kernel cuts nothing.
    others[1].space.sh("ip link set dev eth0 mtu 9000");
    ground::converses(
        &guest.space,
        format!("{}:7000", others[1].four).parse().unwrap(),
        "both with 9000 bytes, across",
    );
}
