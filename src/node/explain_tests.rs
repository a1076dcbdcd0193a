use super::*;
use crate::api::problem::Problem;
use crate::node::paths::decide_all;
use crate::policy::path::{Action, Intra, PathRule, PdcFacts, Selector};
use crate::table::Suite;
use crate::types::{PdcId, UdpPort};

fn port() -> UdpPort {
    UdpPort::try_from(51820).unwrap()
}

fn peer(pdc: &str, admin: &str, external: &str) -> Peer {
    Peer {
        pdc: pdc.parse().unwrap(),
        public_key: Some("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".parse().unwrap()),
        psk: None,
        suite: Suite::Chacha,
        admin: Some(admin.parse().unwrap()),
        external: Some(external.parse().unwrap()),
        listen: port(),
        lanes: 1,
        changing: Vec::new(),
        foreign: None,
    }
}

/// a-1 (here) and a-2 in PDC a, b-1 in PDC b, one port each in network blue.
fn slice() -> Slice {
    let a: PdcId = "a".parse().unwrap();
    let mut slice = Slice::empty(crate::types::Version::default(), "a-1".parse().unwrap(), a.clone());
    slice.version.incarnation = 1;
    let facts = PdcFacts { intra: Intra::Plain, underlay: vec!["10.1.0.0/24".parse().unwrap()], ..PdcFacts::default() };
    slice.pdcs.insert(a, facts);
    slice.pdcs.insert("b".parse().unwrap(), PdcFacts::default());
    slice.peers.insert("a-2".parse().unwrap(), peer("a", "10.1.0.2", "203.0.113.2"));
    slice.peers.insert("b-1".parse().unwrap(), peer("b", "10.2.0.1", "198.51.100.1"));
    let members = [("a-2", Path::Plain), ("b-1", Path::Tunnel)].map(|(n, p)| (n.parse().unwrap(), p));
    slice.networks.insert(
        "default/10".parse().unwrap(),
        Network {
            name: "blue".parse().unwrap(),
            udp_port: UdpPort::try_from(4789).unwrap(),
            cidr: vec!["192.168.10.0/24".parse().unwrap()],
            gateway: vec!["192.168.10.12".parse().unwrap()],
            mtu: None,
            guest_mtu: Mtu::try_from(1418).unwrap(),
            group_rate: None,
            flood: Flood::Suppress,
            learning: crate::table::Learning::Declared,
            members: members.into(),
        },
    );
    for (n, node) in [(11_u8, "a-1"), (12, "a-2"), (13, "b-1"), (14, "a-1")] {
        slice.rows.insert(
            format!("default/10/-/02:00:00:00:00:{n:02x}").parse().unwrap(),
            Row {
                arp: [std::net::Ipv4Addr::new(192, 168, 10, n)].into(),
                port: Some(format!("p{n}").parse().unwrap()),
                ..Row::of(node.parse().unwrap())
            },
        );
    }
    slice
}

fn ask(slice: &Slice, to: &str) -> (bool, String) {
    ask_with(slice, to, &Far::new(), &[])
}

fn ask_with(slice: &Slice, to: &str, far: &Far, sizes: &[(&str, u16)]) -> (bool, String) {
    let answer = answer(slice, to, far, sizes);
    let line = |step: &Step| format!("{}{}: {}\n", if step.passes { "" } else { "! " }, step.what, step.text);
    (answer.may_arrive(), answer.steps.iter().map(line).collect())
}

fn answer(slice: &Slice, to: &str, far: &Far, sizes: &[(&str, u16)]) -> Explanation {
    let size = |(node, bytes): &(&str, u16)| {
        (node.parse().unwrap(), spans::Measured { bytes: *bytes, since: crate::types::Wall::from_secs(7) })
    };
    let measured = &sizes.iter().map(size).collect();
    let own = Own { admin: Some("10.1.0.1".parse().unwrap()), external: Some("203.0.113.1".parse().unwrap()) };
    let paths = decide_all(slice, own);
    let mtu = Some(Mtu::try_from(1500).unwrap());
    let here = Here { slice, paths: &paths, own, admin_mtu: mtu, external_mtu: mtu, far, measured, live: None };
    explain(here, &"p11".parse().unwrap(), &to.parse().unwrap()).unwrap()
}

#[test]
fn a_pair_inside_is_decided_by_its_pdc() {
    let (delivered, text) = ask(&slice(), "192.168.10.12");
    assert!(delivered);
    assert_eq!(
        text,
        "port: p11 is 02:00:00:00:00:0b in blue (default/10) on a-1\n\
         row: 192.168.10.12 is 02:00:00:00:00:0c of port p12 on a-2; ARP questions for it are for it alone, and nobody else answers\n\
         policy: plain: same PDC a, intra: plain, both VTEPs inside its underlay\n\
         path: plain VXLAN by the kernel, device vv10.12b5, VNI 10\n\
         outer: 10.1.0.1 -> 10.1.0.2, UDP port 4789 (admin)\n\
         mtu: 1500 underlay - 20 IPv4 - 8 UDP - 8 VXLAN - 14 Ethernet = 1450\n\
         mtu: guests of blue have 1418: it fits\n"
    );
}

#[test]
fn the_first_row_names_port_network_and_node_whatever_it_was_asked_by() {
    let mut slice = slice();
    let key = slice.rows.iter().find(|(_, row)| row.port.as_ref().is_some_and(|port| port.as_str() == "p11"));
    let (key, row) = key.map(|(key, row)| (key.clone(), row.clone())).unwrap();
    let (mac, ip) = (key.mac.to_string(), row.addresses().next().unwrap().to_string());
    let first = |slice: &Slice, from: &str, to: &str| {
        let own = Own { admin: Some("10.1.0.1".parse().unwrap()), external: Some("203.0.113.1".parse().unwrap()) };
        let (paths, measured, far) = (decide_all(slice, own), AllMeasured::new(), Far::new());
        let (admin_mtu, external_mtu) = (None, None);
        let here =
            Here { slice, paths: &paths, own, admin_mtu, external_mtu, far: &far, measured: &measured, live: None };
        let answer = explain(here, &from.parse().unwrap(), &to.parse().unwrap()).unwrap();
        [answer.steps[0].text.clone(), answer.steps[1].text.clone()]
    };
    let tail = "in blue (default/10) on a-1";
    assert_eq!(first(&slice, "p11", "p12")[0], format!("p11 is {mac} {tail}"));
    assert_eq!(first(&slice, &mac, "p12")[0], format!("{mac} is a guest of port p11 {tail}"));
    assert_eq!(first(&slice, &ip, "p12")[0], format!("{ip} is {mac} of port p11 {tail}"));
    assert_eq!(first(&slice, "p11", "02:00:00:00:00:0c")[1], "02:00:00:00:00:0c is a guest of port p12 on a-2");
    slice.rows.get_mut(&key).unwrap().port = None;
    assert_eq!(first(&slice, &mac, "p12")[0], format!("{mac} is a guest without a port {tail}"));
}

#[test]
fn a_pair_across_is_decided_by_its_pdcs_being_two() {
    let (delivered, text) = ask(&slice(), "p13");
    assert!(delivered);
    assert!(text.contains("policy: tunnel: different PDCs\n"), "{text}");
    assert!(text.contains("path: WireGuard to b-1, VXLAN inside (form B)\n"), "{text}");
    assert!(text.contains("outer: 203.0.113.1 -> 198.51.100.1, UDP port 51820 (external)\n"), "{text}");
    assert!(text.contains("- 32 WireGuard - 8 VXLAN - 14 Ethernet = 1418\n"), "{text}");
}

#[test]
fn no_address_of_another_family_is_said_to_be_the_source() {
    let mut slice = slice();
    slice.peers.get_mut(&"b-1".parse().unwrap()).unwrap().external = Some("fd02::21".parse().unwrap());
    let (_, text) = ask(&slice, "p13");
    assert!(text.contains("outer: this host's IPv6 address -> fd02::21, UDP port 51820 (external)\n"), "{text}");
    assert!(text.contains("- 40 IPv6 - 8 UDP - 32 WireGuard - 8 VXLAN - 14 Ethernet = 1398\n"), "{text}");
}

#[test]
fn a_policy_that_decides_is_named() {
    let mut slice = slice();
    let between = vec![Selector::Node("b-1".parse().unwrap())];
    let rule = PathRule { between, network: None, action: Action::Forbid, i_know_this_is_clear: false };
    slice.policies.insert("no-b".parse().unwrap(), rule);
    let (delivered, text) = ask(&slice, "02:00:00:00:00:0d");
    assert!(!delivered);
    assert!(text.contains("policy: forbidden: path policy no-b\n"), "{text}");
    assert!(text.ends_with("! path: forbidden: nothing goes from blue to b-1\n"), "{text}");
}

#[test]
fn a_frame_for_nobody_ends_at_the_flood_list() {
    let (delivered, text) = ask(&slice(), "192.168.10.99");
    assert!(
        !delivered
            && text.contains("! flood: no row answers ARP for 192.168.10.99 (a port that uses it")
            && text.contains("meshctl status there names it: M0676); it goes to all 2 members"),
        "{text}"
    );
    let mut off = slice();
    off.networks.values_mut().for_each(|network| network.flood = Flood::Off);
    let (_, text) = ask(&off, "ff:ff:ff:ff:ff:ff");
    assert!(text.contains("! flood: ff:ff:ff:ff:ff:ff is a group address; flood is off, so it is dropped"), "{text}");
}

#[test]
fn an_address_outside_goes_to_the_gateway() {
    let (delivered, text) = ask(&slice(), "8.8.8.8");
    assert!(delivered && text.contains("gateway: 8.8.8.8 is outside of blue"), "{text}");
    assert!(text.contains("row: 192.168.10.12 is"), "{text}");
}

#[test]
fn an_address_outside_of_a_network_without_a_gateway_may_be_behind_a_port_that_routes() {
    let with = |routers: &[&str], gateway: &[&str]| {
        let mut slice = slice();
        let of = |row: &Row| row.port.as_ref().is_some_and(|port| routers.contains(&port.as_str()));
        slice.rows.values_mut().filter(|row| of(row)).for_each(|row| row.role = crate::table::PortRole::Router.into());
        let gateway: Vec<IpAddr> = gateway.iter().map(|ip| ip.parse().unwrap()).collect();
        slice.networks.values_mut().for_each(|network| network.gateway.clone_from(&gateway));
        slice
    };
    for (routers, gateway, command, mac) in [
        (&["p13"][..], &[][..], "meshctl network set blue --gateway 192.168.10.13;", "0d"),
        (&["p11", "p13", "p14"], &["fd00::1"], "meshctl network set blue --gateway fd00::1,192.168.10.13;", "0d"),
        (&["p14"], &[], "meshctl network set blue --gateway 192.168.10.14;", "0e"),
    ] {
        let slice = with(routers, gateway);
        let answer = answer(&slice, "172.31.0.2", &Far::new(), &[]);
        assert_eq!(answer.verdict, Arrival::NotCertain, "{:#?}", answer.steps);
        assert_eq!(answer.mac.map(|mac| mac.to_string()), Some(format!("02:00:00:00:00:{mac}")));
        let text = ask(&slice, "172.31.0.2").1;
        assert!(
            text.contains("172.31.0.2 is outside of blue and the network has no gateway; ") && text.contains(command),
            "{text}"
        );
        let named = |port: &&&str| text.contains(&format!(" of port {port} on "));
        assert!(routers.iter().filter(|port| **port != "p11").all(|port| named(&port)) && !named(&&"p11"), "{text}");
    }
    // Who has no address of that family is one all the same: only its own knows what guests call it.
    let text = ask(&with(&["p13"], &["192.168.10.12"]), "2001:db8::2").1;
    assert!(text.contains("meshctl network set blue --gateway 192.168.10.12,ADDRESS;"), "{text}");
    // Nobody sends what is outside to a router that nothing goes to, but that is not known of the sender.
    let mut forbidden = with(&["p13"], &[]);
    forbidden.networks.values_mut().for_each(|network| {
        network.members.insert("b-1".parse().unwrap(), Path::Forbidden);
    });
    assert_eq!(answer(&forbidden, "172.31.0.2", &Far::new(), &[]).verdict, Arrival::NotCertain);
    // The sender is no router of its own frames.
    for routers in [&[][..], &["p11"]] {
        let slice = with(routers, &[]);
        assert_eq!(answer(&slice, "172.31.0.2", &Far::new(), &[]).verdict, Arrival::DoesNotArrive);
        assert!(
            ask(&slice, "172.31.0.2")
                .1
                .ends_with("! row: 172.31.0.2 is outside of blue and the network has no gateway\n")
        );
    }
}

#[test]
fn a_guest_on_the_same_node_is_reached_by_the_bridge() {
    let (delivered, text) = ask(&slice(), "p14");
    assert!(delivered && text.contains("path: local: both are on a-1, bridge vb10.12b5"), "{text}");
}

#[test]
fn a_peer_without_key_address_or_membership_ends_the_frame() {
    let with = |change: fn(&mut Slice)| {
        let mut changed = slice();
        change(&mut changed);
        ask(&changed, "p13").1
    };
    let keyless = with(|s| s.peers.values_mut().for_each(|peer| peer.public_key = None));
    assert!(keyless.ends_with("! path: b-1 has not joined yet: no key, so no tunnel\n"), "{keyless}");
    let homeless = with(|s| s.peers.values_mut().for_each(|peer| peer.external = None));
    assert!(homeless.contains("\nouter: the peer has no external address now; a session that stands"), "{homeless}");
    let stranger = with(|s| s.peers.clear());
    assert!(stranger.ends_with("! policy: b-1 is no member of blue here\n"), "{stranger}");
}

#[test]
fn a_session_that_stands_goes_on_without_an_address_and_a_plain_path_does_not() {
    let mut slice = slice();
    slice.peers.values_mut().for_each(|peer| (peer.admin, peer.external) = (None, None));
    let own = Own { admin: Some("10.1.0.1".parse().unwrap()), external: Some("203.0.113.1".parse().unwrap()) };
    for (gone, slice) in [(own, slice), (Own { admin: None, external: None }, self::slice())] {
        for (now, arrival) in [
            (Some(Now::Answers("it is up".to_owned())), Arrival::Arrives),
            (Some(Now::Unknown("a probe was lost".to_owned())), Arrival::NotCertain),
            (Some(Now::Fails("it is down".to_owned())), Arrival::DoesNotArrive),
            (None, Arrival::DoesNotArrive),
        ] {
            let tunnels = now.clone().map(|now| ("b-1".parse().unwrap(), now)).into_iter().collect();
            let live = Live { tunnels, ..Live::default() };
            let paths = decide_all(&slice, gone);
            let (far, measured) = (Far::new(), AllMeasured::new());
            let here = Here {
                slice: &slice,
                paths: &paths,
                own: gone,
                admin_mtu: None,
                external_mtu: None,
                far: &far,
                measured: &measured,
                live: Some(&live),
            };
            let answer = explain(here, &"p11".parse().unwrap(), &"p13".parse().unwrap()).unwrap();
            assert_eq!(answer.verdict, arrival, "{now:?}: {:#?}", answer.steps);
        }
    }
}

#[test]
fn a_guest_mtu_that_does_not_fit_says_by_how_much_and_what_becomes_of_the_frame() {
    let mut slice = slice();
    slice.networks.values_mut().for_each(|network| network.guest_mtu = Mtu::try_from(1460).unwrap());
    let (_, text) = ask(&slice, "p13");
    assert!(
        text.ends_with(
            "mtu: guests of blue have 1460, 42 bytes more than fit: a frame that uses them travels in fragments\n\
             mtu: a frame of more than 1460 is carried in fragments, and arrives where the receiver's interface takes as much\n"
        ),
        "{text}"
    );
    let (_, text) = ask(&slice, "192.168.10.12");
    assert!(text.ends_with("10 bytes more than fit: a frame that uses them is dropped and counted\n"), "{text}");
}

#[test]
fn a_measured_path_has_its_own_sum_where_it_carries_less() {
    let text = |sizes: &[(&str, u16)]| ask_with(&slice(), "p13", &Far::new(), sizes).1;
    assert!(
        text(&[("b-1", 1400)]).contains(
            "mtu: 1500 underlay - 20 IPv4 - 8 UDP - 32 WireGuard - 8 VXLAN - 14 Ethernet = 1418\n\
             mtu: measured: 1400 bytes arrive since 1970-01-01T00:00:07Z, 100 fewer\n\
             mtu: 1400 measured - 20 IPv4 - 8 UDP - 32 WireGuard - 8 VXLAN - 14 Ethernet = 1318\n\
             mtu: guests of blue have 1418, 100 bytes more than fit: a frame that uses them travels in fragments\n"
        ),
        "{}",
        text(&[("b-1", 1400)])
    );
    assert!(!text(&[("b-1", 1500)]).contains("measured"));
    let far = Far::from([("b-1".parse().unwrap(), [1500, 1492])]);
    assert!(ask_with(&slice(), "p13", &far, &[]).1.contains("mtu: 1492 underlay - 20 IPv4"));
}

#[test]
fn an_unknown_or_distant_sender_is_an_error_with_a_hint() {
    let slice = slice();
    let paths = Paths::new();
    let (far, measured) = (&Far::new(), &AllMeasured::new());
    let own = Own::default();
    let here =
        Here { slice: &slice, paths: &paths, own, admin_mtu: None, external_mtu: None, far, measured, live: None };
    let ask = |from: &str| {
        let error = explain(here, &from.parse().unwrap(), &Target::Mac(Mac::ZERO)).unwrap_err();
        Problem::from(error).to_string()
    };
    assert!(ask("p111").contains("help: did you mean 'p11'?"), "{}", ask("p111"));
    assert!(ask("p13").contains("runs on node 'b-1', not on 'a-1'"), "{}", ask("p13"));
    let none = ask("192.168.10.99");
    assert!(none.contains("a guest with the address 192.168.10.99 is not known on node 'a-1'"), "{none}");
}

#[test]
fn who_sends_is_named_by_its_port_or_by_any_address_of_it() {
    let mut slice = slice();
    let (key, row) = slice.rows.iter().find(|(_, row)| row.port == "p11".parse().ok()).unwrap();
    let (key, mut row) = (key.clone(), row.clone());
    row.interface = "tap11".parse().ok();
    let (mac, ip, interface) = (key.mac, *row.arp.first().unwrap(), row.interface.clone());
    slice.rows.insert(key.clone(), row.clone());
    // A guest of that guest, as `--allowed IP=MAC` makes it: its row has no port.
    let nested = RowKey { mac: "02:00:00:00:0e:01".parse().unwrap(), ..key.clone() };
    let inner = Row { arp: ["192.168.10.77".parse().unwrap()].into(), interface, ..Row::of(row.node.clone()) };
    slice.rows.insert(nested, inner);
    let paths = Paths::new();
    let (far, measured) = (&Far::new(), &AllMeasured::new());
    let own = Own::default();
    let here =
        Here { slice: &slice, paths: &paths, own, admin_mtu: None, external_mtu: None, far, measured, live: None };
    for (from, is) in [
        ("p11".to_owned(), mac),
        (mac.to_string(), mac),
        (ip.to_string(), mac),
        ("192.168.10.77".to_owned(), "02:00:00:00:0e:01".parse().unwrap()),
        ("02:00:00:00:0e:01".to_owned(), "02:00:00:00:0e:01".parse().unwrap()),
    ] {
        let answer = explain(here, &from.parse().unwrap(), &"p13".parse().unwrap()).unwrap();
        let first = &answer.steps[0].text;
        assert!(answer.from == from && first.starts_with(&format!("{from} is ")), "{:?}", answer.steps);
        assert!(first.contains(&is.to_string()) && first.contains("p11"), "{:?}", answer.steps);
        let way = concerns::Way::of(&answer, &slice, &paths, None).unwrap();
        assert_eq!(way.from.mac, is, "{from}");
    }
}

#[test]
fn a_frame_for_all_goes_to_all_that_share_the_network() {
    for to in ["ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "192.168.10.255", "255.255.255.255", "224.0.0.251", "ff02::1"]
    {
        let (delivered, text) = ask(&slice(), to);
        assert!(delivered, "{to}: {text}");
        assert!(text.contains("flood: ") && text.contains("all 2 nodes that share it"), "{to}: {text}");
        let mut off = slice();
        off.networks.values_mut().for_each(|network| network.flood = Flood::Off);
        let (delivered, text) = ask(&off, to);
        assert!(!delivered && text.contains("flood is off, so it is dropped"), "{to}: {text}");
    }
}

#[test]
fn two_vlans_of_a_network_are_apart_and_both_are_named() {
    let mut slice = slice();
    let (mut key, mut row) =
        slice.rows.iter().find(|(_, row)| row.node.as_str() == "a-2").map(|(k, r)| (k.clone(), r.clone())).unwrap();
    slice.rows.remove(&key);
    key.vlan = crate::types::Vlan::try_from(20).ok();
    row.port = "tagged".parse().ok();
    slice.rows.insert(key, row);
    for to in ["tagged", "192.168.10.12", "02:00:00:00:00:0c"] {
        let (delivered, text) = ask(&slice, to);
        assert!(!delivered, "{text}");
        assert!(text.contains("is in VLAN 20 of default/10, the sender in no VLAN: two VLANs are apart"), "{text}");
    }
}

#[test]
fn an_address_that_guests_may_hold_is_followed_to_one_that_is_reached_and_who_holds_it_is_not_certain() {
    let floats = |nodes: &[&str], flood| {
        let mut slice = slice();
        let ip: IpAddr = "192.168.10.100".parse().unwrap();
        let of = |row: &Row| nodes.contains(&row.node.as_str());
        slice.rows.values_mut().filter(|row| of(row)).for_each(|row| row.floating.extend([ip]));
        slice.networks.values_mut().for_each(|network| network.flood = flood);
        let (delivered, text) = ask(&slice, "192.168.10.100");
        let open = answer(&slice, "192.168.10.100", &Far::new(), &[]).steps.iter().any(|step| step.open);
        assert_eq!(delivered, open, "it is reached, and not for certain: {text}");
        (delivered, text)
    };
    for nodes in [&["a-2", "b-1"][..], &["b-1"], &["a-2"], &["a-1", "b-1"]] {
        for flood in [Flood::Suppress, Flood::Replicate] {
            let (delivered, text) = floats(nodes, flood);
            assert!(delivered && text.contains("who holds 192.168.10.100 now is not known here"), "{text}");
            assert!(nodes.iter().any(|node| text.contains(&format!(" on {node}:"))), "{text}");
        }
    }
    let (delivered, text) = floats(&["a-2"], Flood::Off);
    assert!(!delivered && text.contains("held by one of"), "{text}");
    let (delivered, text) = floats(&[], Flood::Suppress);
    assert!(!delivered && text.contains("no row answers ARP"), "{text}");
}

#[test]
fn a_port_that_is_not_known_leads_to_the_one_that_was_meant() {
    let (delivered, text) = ask(&slice(), "p1-3");
    assert!(!delivered && text.contains("did you mean 'p13'?") && text.contains("meshctl port list"), "{text}");
    let (delivered, text) = ask(&slice(), "something-else");
    assert!(!delivered && !text.contains("did you mean") && text.contains("meshctl port list"), "{text}");
}

#[test]
fn a_bridge_sends_nothing_back_to_where_it_came_from() {
    let (delivered, text) = ask(&slice(), "p11");
    assert!(!delivered && text.contains("itself"), "{text}");
    let mut slice = slice();
    let (mut key, mut row) =
        slice.rows.iter().find(|(_, row)| row.node == slice.node).map(|(k, r)| (k.clone(), r.clone())).unwrap();
    let interface = |row: &mut Row, name: &str| row.interface = Some(name.parse().unwrap());
    interface(&mut row, "tap1");
    slice.rows.insert(key.clone(), row.clone());
    (key.mac, row.port) = ("02:00:00:00:00:77".parse().unwrap(), Some("beside".parse().unwrap()));
    slice.rows.insert(key.clone(), row.clone());
    let beside = answer(&slice, "beside", &Far::new(), &[]);
    assert!(beside.steps.iter().any(|step| step.open && step.text.contains("both are behind tap1")), "{beside:?}");
    interface(&mut row, "tap2");
    slice.rows.insert(key, row);
    let (delivered, text) = ask(&slice, "beside");
    assert!(delivered && text.contains("switches the frame"), "{text}");
}

#[test]
fn who_is_asked_for_an_address_is_said_as_it_is() {
    let mut slice = slice();
    assert!(ask(&slice, "p13").1.contains("are for it alone, and nobody else answers"));
    slice.networks.values_mut().for_each(|network| network.flood = Flood::Replicate);
    let (_, text) = ask(&slice, "192.168.10.12");
    assert!(text.contains("are for all, and it is who answers") && !text.contains("from the table"), "{text}");
}

#[test]
fn an_address_that_no_row_has_may_be_of_whoever_declares_none() {
    let undeclared = |of: &[&str], learning, flood| {
        let mut slice = slice();
        let rows = slice.rows.values_mut().filter(|row| row.port.as_ref().is_some_and(|p| of.contains(&p.as_str())));
        rows.for_each(|row| row.arp.clear());
        let of = |network: &mut Network| (network.learning, network.flood) = (learning, flood);
        slice.networks.values_mut().for_each(of);
        slice
    };
    let (declared, local) = (crate::table::Learning::Declared, crate::table::Learning::Local);
    for of in [&["p12"][..], &["p13"], &["p11", "p12", "p13", "p14"]] {
        for learning in [declared, local] {
            let slice = undeclared(of, learning, Flood::Suppress);
            let asked = answer(&slice, "192.168.10.99", &Far::new(), &[]);
            assert_eq!(asked.verdict, Arrival::NotCertain, "{:#?}", asked.steps);
            let text = ask(&slice, "192.168.10.99").1;
            let first = of.iter().find(|port| **port != "p11").unwrap();
            let who = format!("of port {first} on ");
            assert!(text.contains("no port has 192.168.10.99; who declares no address may use it: "), "{text}");
            assert!(text.contains(&who) && !text.contains("of port p11"), "the sender is not who holds it: {text}");
        }
    }
    let unheard = answer(&undeclared(&["p11"], local, Flood::Suppress), "192.168.10.99", &Far::new(), &[]);
    assert_eq!((unheard.verdict, unheard.mac), (Arrival::NotCertain, None), "{:#?}", unheard.steps);
    for (of, learning, flood) in [
        (&["p11"][..], declared, Flood::Suppress),
        (&["p12"], local, Flood::Off),
        (&[], local, Flood::Off),
        (&[], declared, Flood::Replicate),
    ] {
        let (arrives, text) = ask(&undeclared(of, learning, flood), "192.168.10.99");
        assert!(!arrives, "{text}");
    }
}

#[test]
fn who_sends_from_an_address_that_no_row_has_is_asked_for_by_name() {
    let mut slice = slice();
    slice.rows.values_mut().filter(|row| row.node.as_str() != "b-1").for_each(|row| row.arp.clear());
    let (paths, far, measured, own) = (Paths::new(), Far::new(), AllMeasured::new(), Own::default());
    let ask = |slice: &Slice, from: &str| {
        let (far, measured) = (&far, &measured);
        let here = Here { slice, paths: &paths, own, admin_mtu: None, external_mtu: None, far, measured, live: None };
        Problem::from(explain(here, &from.parse().unwrap(), &"p13".parse().unwrap()).unwrap_err())
    };
    let problem = ask(&slice, "192.168.10.99");
    assert_eq!(
        problem.what,
        "no port declares the address 192.168.10.99; who declares none may use it: p11 on a-1, p14 on a-1, p12 on a-2"
    );
    assert_eq!(
        problem.help,
        ["if it is one of them: meshctl explain p11 p13; meshctl explain p14 p13; on a-2: meshctl explain p12 p13"]
    );
    let outside = ask(&slice, "192.168.11.99").what;
    assert!(outside.contains("is not known on node 'a-1'"), "no guest of these networks may use it: {outside}");
}
