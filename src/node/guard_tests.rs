use super::*;
use crate::node::desired::{Observed, Place};

/// A guard of network 10 with these VTEPs.
fn guard(vteps: &[&str]) -> Guard {
    side("10.0.0.1", vteps)
}

fn side(own: &str, vteps: &[&str]) -> Guard {
    let (port, vni) = (UdpPort::try_from(4789).unwrap(), Vni::try_from(10).unwrap());
    let members = vteps.iter().map(|a| (port, a.parse().unwrap(), vni)).collect();
    let side =
        Side { interface: "eth0".parse().unwrap(), own: own.parse().unwrap(), min_ttl: 255, members, routers: None };
    Guard { ports: [port].into(), admin: Some(side), ..Guard::default() }
}

#[test]
fn the_table_reads_like_this() {
    crate::node::golden::check("guard.nft", &guard(&["10.0.0.2"]).text());
    crate::node::golden::check("guard6.nft", &side("fd00::1", &["fd00::2"]).text());
}

/// A host where these interfaces stand by themselves, besides a guest's in a bridge.
fn host(alone: &[&str]) -> Observed {
    let place = |master: Option<&str>| Place { index: 1, master: master.map(str::to_owned), up: true, card: false };
    let alone = alone.iter().map(|name| (name.parse().unwrap(), place(None)));
    let places = alone.chain([("tap1".parse().unwrap(), place(Some("vb10.12b5")))]).collect();
    Observed { places, rules_before_devices: true, ..Observed::default() }
}

#[test]
fn fragments_are_judged_where_nobody_of_ours_sends_or_where_all_pass() {
    let (plain, plain6) = (guard(&["10.0.0.2"]), side("fd00::1", &["fd00::2"]));
    let at = |names: &[&str]| Guard { doors: guard_path::doors(&plain, &host(names)), ..plain.clone() };
    let [none, one, two] = [&["eth0", "lo", "vb10.12b5"][..], &["eth0", "eth1"], &["eth0", "eth1", "wg0"]].map(at);
    crate::node::golden::check("guard-doors.nft", &two.text());
    crate::node::golden::check("guard6-doors.nft", &Guard { doors: two.doors.clone(), ..plain6 }.text());
    assert!(!none.text().contains("hook ingress") && !none.text().contains("hook prerouting"), "{}", none.text());
    crate::node::golden::check(
        "guard-doors-change.nft",
        &[
            two.change_from(&one),
            none.change_from(&two),
            one.change_from(&none),
            one.change_from(&plain),
            plain.change_from(&one),
        ]
        .join("--\n"),
    );
    // Where that cannot be, or would not be all: where every packet passes.
    let clear = Guard { external: plain.admin.clone(), ..plain.clone() };
    let many: Vec<String> = (0..=256).map(|number| format!("if{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let old = Observed { rules_before_devices: false, ..host(&["eth1"]) };
    for (guard, observed) in [
        (&clear, host(&["eth1"])),
        (&plain, old),
        (&plain, host(&["eth0", "od\"d"])),
        (&plain, host(&many)),
        (&Guard { admin: None, ..plain.clone() }, host(&["eth1"])),
    ] {
        assert_eq!(guard_path::doors(guard, &observed), None);
    }
    assert!(guard_path::doors(&plain, &host(&many[1..])).is_some());
    assert!(plain.text().contains("hook prerouting"));
}

#[test]
fn a_new_vtep_changes_elements_only() {
    let change = guard(&["10.0.0.3", "10.0.0.4"]).change_from(&guard(&["10.0.0.2", "10.0.0.4"]));
    assert_eq!(
        change,
        "delete element inet vxmesh admin { 4789 . 10.0.0.2 . 10 }\ndelete element inet vxmesh towards { 0xa000002 }\n\
         add element inet vxmesh admin { 4789 . 10.0.0.3 . 10 }\nadd element inet vxmesh towards { 0xa000003 }\n"
    );
}

/// The same guard where frames may leave by these routers only.
fn by(mut guard: Guard, routers: &[&str]) -> Guard {
    guard.admin.as_mut().unwrap().routers = Some(routers.iter().map(|router| router.parse().unwrap()).collect());
    guard
}

#[test]
fn where_the_next_hop_counts_the_table_reads_like_this() {
    crate::node::golden::check("guard-next-hop.nft", &by(guard(&["10.0.0.2"]), &[]).text());
    crate::node::golden::check(
        "guard6-next-hop.nft",
        &by(side("fd00::1", &["fd00::2"]), &["fe80::fe", "10.0.0.254"]).text(),
    );
}

#[test]
fn where_the_next_hop_counts_it_costs_no_more_looks_at_sets() {
    let looks = |guard: &Guard| {
        let text = guard.text();
        let (_, leaving) = text.split_once("chain leaving").unwrap();
        leaving
            .lines()
            .take_while(|line| !line.contains("goto refused_out"))
            .filter(|line| line.contains(" @admin"))
            .count()
    };
    assert_eq!(looks(&guard(&["10.0.0.2"])), 1);
    assert_eq!(looks(&by(guard(&["10.0.0.2"]), &["10.0.0.254"])), 1);
}

#[test]
fn a_router_more_changes_elements_only_and_the_first_one_the_table() {
    let none = guard(&["10.0.0.2"]);
    let (one, two) = (by(none.clone(), &["10.0.0.254"]), by(none.clone(), &["10.0.0.253", "10.0.0.254"]));
    assert_eq!(two.change_from(&one), "add element inet vxmesh admin_out { 4789 . 10.0.0.253 . 10.0.0.2 . 10 }\n");
    assert_eq!(one.change_from(&none), one.text());
    assert_eq!(none.change_from(&one), none.text());
}

#[test]
fn another_interface_address_or_ttl_changes_the_whole_table() {
    let old = guard(&["10.0.0.2"]);
    let mut new = old.clone();
    new.admin.as_mut().unwrap().min_ttl = 254;
    assert_eq!(new.change_from(&old), new.text());
    let moved = side("10.0.0.9", &["10.0.0.2"]);
    assert_eq!(moved.change_from(&old), moved.text());
    assert_eq!(Guard::default().change_from(&old), Guard::default().text());
}

#[test]
fn a_guard_without_sides_lets_nothing_pass() {
    let closed = Guard { admin: None, ..guard(&[]) };
    let text = closed.text();
    assert!(!text.contains("accepted accept\n") && text.contains("udp dport 4789 goto refused_out"), "{text}");
}

/// The same guard of a host with a guest.
fn with_guest(guard: Guard, guest: &str) -> Guard {
    Guard { shut: ["vb10.12b5", guest].map(|name| name.parse().unwrap()).into(), ..guard }
}

#[test]
fn a_new_guest_changes_elements_only() {
    let change = with_guest(guard(&["10.0.0.2"]), "tap2").change_from(&with_guest(guard(&["10.0.0.2"]), "tap1"));
    assert_eq!(
        change,
        "delete element inet vxmesh ends { \"tap1\" }\ndelete element inet vxmesh shut { \"tap1\" }\n\
         add element inet vxmesh ends { \"tap2\" }\nadd element inet vxmesh shut { \"tap2\" }\n"
    );
    assert!(!with_guest(Guard::default(), "tap1").is_empty(), "there is a guest, and no peer");
}

#[test]
fn a_host_that_tracks_and_a_kernel_without_rules_on_devices_have_chains_of_their_own() {
    let plain = with_guest(guard(&["10.0.0.2"]), "tap1");
    assert!(!plain.text().contains("notrack") && !plain.text().contains("hook forward"), "{}", plain.text());
    let through = Some(["vb10.12b5".parse().unwrap()].into());
    let all = Guard { untracked: true, through, ..plain.clone() };
    crate::node::golden::check("guard-host.nft", &all.text());
    let other = Guard { through: Some(["vb11.12b5".parse().unwrap()].into()), ..all.clone() };
    assert_eq!(other.change_from(&all).matches("element inet vxmesh same").count(), 2);
    assert_eq!(all.change_from(&plain), all.text());
    assert_eq!(plain.change_from(&all), plain.text());
}

#[test]
fn a_second_port_changes_rules_and_keeps_counters() {
    let one = guard(&["10.0.0.2"]);
    let mut two = one.clone();
    two.ports.insert(UdpPort::try_from(4790).unwrap());
    for (from, to, matched) in [(&one, &two, "udp dport @ports"), (&two, &one, "udp dport 4789")] {
        let change = to.change_from(from);
        assert!(!change.contains("delete table"), "{change}");
        for (chain, refused) in [("arriving", "refused_in"), ("leaving", "refused_out")] {
            let (flush, add) = (
                format!("flush chain inet vxmesh {chain}\n"),
                format!("add rule inet vxmesh {chain} {matched} goto {refused}\n"),
            );
            assert!(change.find(&flush).unwrap() < change.find(&add).unwrap(), "{change}");
        }
        let fragments = format!("add rule inet vxmesh pieces ip frag-off & 0x3fff != 0 {matched} ");
        assert!(change.contains(&fragments), "{change}");
        assert_eq!(change.matches("flush chain").count(), 3, "{change}");
    }
}

/// The kernel refuses the whole transaction: the rules that go there are written anew behind it.
#[test]
fn a_chain_that_others_go_to_is_never_taken_out_by_itself() {
    let with = |ports: &[u64]| Guard {
        ports: ports.iter().map(|port| UdpPort::try_from(*port).unwrap()).collect(),
        ..Guard::default()
    };
    let guards = [with(&[]), with(&[4789]), with(&[4789, 4790])];
    for (old, new) in guards.iter().flat_map(|old| guards.iter().map(move |new| (old, new))) {
        let change = new.change_from(old);
        assert!(!change.contains("delete chain"), "{change}");
    }
}

#[test]
fn an_interface_of_a_guest_that_is_called_as_our_bridges_are_is_looked_up() {
    let with = |names: &[&str]| guard_host::to_guests(&names.iter().map(|name| name.parse().unwrap()).collect());
    assert!(with(&["vb10.12b5", "g1", "vt10.12b5"]).starts_with("oifname != \"vb*\" "));
    assert!(with(&["vb10.12b5", "vbox0"]).starts_with("oifname @ends"));
}
