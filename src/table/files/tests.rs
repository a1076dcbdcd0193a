use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::oracle::{Fate, Frame, lookup};
use super::*;
use crate::config::Source;
use crate::config::meshd::{Config, Table, TableFiles};
use crate::node::paths::{Own, Paths, decide_all, vtep};
use crate::policy::mtu::MtuPolicy;
use crate::policy::path::{Path, Why};
use crate::table::{NetKey, RowKey, Slice};
use crate::types::{Mac, NodeId};

/// The form of the manual, own values.
const EXAMPLE: &str = r#"{
    "02:08:20:0a:00:07": {
        "arp": "10.55.55.2",
        "ip": "10.88.88.69",
        "ndp": "fe80::8:20ff:fe0a:7",
        "port": 4789
    },
    "02:08:20:0a:00:08": {
        "arp": "10.55.55.3",
        "dhcp-proxy": "02:08:20:0a:00:07",
        "ip": "10.88.88.70",
        "ndp": "fe80::8:20ff:fe0a:8",
        "port": 4789
    },
    "02:08:20:0a:00:09": {
        "ip": "2001:db8:1::70",
        "port": 4790
    }
}
"#;

fn strict(text: &str) -> File {
    read(Source::new("f", text), Mode::Strict).unwrap_or_else(|e| panic!("{e}")).file
}

fn lenient(text: &str) -> Reading {
    read(Source::new("f", text), Mode::Lenient).unwrap_or_else(|e| panic!("{e}"))
}

/// Refuses in strict mode at `line:column` with `what`.
fn refuses(text: &str, at: &str, what: &str) {
    let said = read(Source::new("10.json", text), Mode::Strict).unwrap_err().to_string();
    assert!(said.contains(what), "{what:?} is not in\n{said}");
    assert!(said.contains(&format!("10.json:{at}\n")), "{at} is not in\n{said}");
    assert!(said.contains("nothing of"), "{said}");
}

fn net(text: &str) -> NetKey {
    text.parse().unwrap()
}

#[test]
fn the_example_of_the_form_is_read_and_written_back_byte_for_byte() {
    assert_eq!(strict(EXAMPLE).to_json(), EXAMPLE);
}

#[test]
fn every_spelling_of_an_address_is_one_address() {
    let file = strict(r#"{"2:8:20:A:0:7": {"ip": "::ffff:10.0.0.1", "port": 4789, "dhcp-proxy": "2:8:20:a:0:8"}}"#);
    let entry = &file.entries[&"02:08:20:0a:00:07".parse().unwrap()];
    assert_eq!(entry.ip, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(entry.dhcp_proxy, Some("02:08:20:0a:00:08".parse().unwrap()));
}

#[test]
fn a_file_that_was_cut_says_where_and_is_not_used() {
    for cut in 0..EXAMPLE.trim_end().len() {
        let said = read(Source::new("10.json", &EXAMPLE[..cut]), Mode::Lenient).unwrap_err();
        assert!(said.place.is_some() && said.what.contains("ends in the middle"), "{cut}: {said}");
    }
    let cut = &EXAMPLE[..90];
    refuses(cut, "5:3", "the table file ends in the middle");
}

#[test]
fn what_is_not_an_address_table_is_refused_in_both_modes() {
    for (text, what) in [
        ("[]", "sequence stands where an object with one entry for each Ethernet address is needed"),
        (r#"{"x": {}}"#, "'x' is not an Ethernet address"),
        (r#"{"2:8:20:a:0:7": 1}"#, "integer 1 stands where an object with ip and port is needed"),
        (r#"{"2:8:20:a:0:7": {"ip": "10.0.0.1", "port": 4789}} x"#, "trailing characters"),
    ] {
        for mode in [Mode::Strict, Mode::Lenient] {
            let said = read(Source::new("f", text), mode).unwrap_err().to_string();
            assert!(said.contains(what), "{what:?} is not in\n{said}");
        }
    }
}

fn entry(rest: &str) -> String {
    format!("{{\n\"2:8:20:a:0:7\": {{\"ip\": \"10.0.0.1\", \"port\": 4789, {rest}}}\n}}")
}

#[test]
fn only_integers_count_as_ports() {
    for (port, what) in [
        ("4789.0", "fraction 4789.0 stands where a whole number is needed"),
        ("4.789e3", "stands where a whole number is needed"),
        ("\"4789\"", "string \"4789\" stands where a whole number is needed"),
        ("0", "a UDP port is 1 to 65535, not 0"),
        ("65536", "a UDP port is 1 to 65535, not 65536"),
        ("-1", "stands where a whole number is needed"),
    ] {
        refuses(&format!("{{\"2:8:20:a:0:7\": {{\"ip\": \"10.0.0.1\",\n\"port\": {port}}}}}"), "2:9", what);
    }
}

#[test]
fn only_7_bit_texts_count() {
    refuses(&entry("\"arp\": \"10.0.0.é\""), "2:57", "7-bit");
    refuses(&entry("\"ärp\": \"10.0.0.1\""), "2:50", "7-bit");
}

#[test]
fn unknown_keys_are_refused_or_listed_with_the_nearest_known_one() {
    refuses(&entry("\"dhcp_proxy\": \"2:8:20:a:0:8\""), "2:50", "did you mean 'dhcp-proxy'?");
    refuses(&entry("\"vlan\": 5"), "2:50", "belongs to the Joyent fork of illumos");
    refuses(&entry("\"vid\": \"x\""), "2:50", "tagged guests need a management node");
    refuses("{\"fabrics\": {\"a\": {}}}", "1:2", "fabrics of the Joyent fork");
    let reading = lenient(&entry("\"vlan\": {\"deep\": [1, 2]}, \"note\": null"));
    assert_eq!(reading.file.entries.len(), 1);
    assert_eq!(reading.ignored.len(), 2, "{:?}", reading.ignored);
    assert!(lenient("{\"attached-fabrics\": {}, \"fabrics\": {\"a\": {\"vlan\": 2}}}").file.entries.is_empty());
}

#[test]
fn an_address_given_twice_is_refused_and_the_later_one_counts_as_in_the_original() {
    let text = "{\"2:8:20:a:0:7\": {\"ip\": \"10.0.0.1\", \"port\": 1},\n\"02:08:20:0A:00:07\": {\"ip\": \"10.0.0.2\", \"port\": 2}}";
    refuses(text, "2:1", "02:08:20:0a:00:07 is given twice");
    let reading = lenient(text);
    assert_eq!(reading.file.entries.values().next().unwrap().ip.to_string(), "10.0.0.2");
    assert_eq!(reading.ignored.len(), 1);
}

#[test]
fn what_the_original_would_silently_never_match_is_refused() {
    refuses(&entry("\"arp\": \"fe80::1\""), "2:57", "no IPv4 address and would never match");
    refuses(&entry("\"ndp\": \"10.0.0.1\""), "2:57", "no IPv6 address");
    refuses("{\"2:8:20:a:0:7\": {\"port\": 4789}}", "1:27", "has no ip, so frames for it would be dropped");
    refuses("{\"2:8:20:a:0:7\": {\"ip\": \"10.0.0.1\"}}", "1:25", "has no port, so frames for it would be dropped");
    refuses("{\"33:33:0:0:0:1\": {}}", "1:2", "not a unicast Ethernet address");
    let reading =
        lenient("{\"2:8:20:a:0:7\": {\"ip\": \"ten\", \"port\": 1}, \"2:8:20:a:0:8\": {\"ip\": \"10.0.0.1\"}}");
    assert_eq!((reading.file.entries.len(), reading.ignored.len()), (1, 3), "{:?}", reading.ignored);
}

/// The ancestor's third fault: with DHCP passthrough the word `dhcp` landed in `arp`.
#[test]
fn the_word_dhcp_is_no_address() {
    refuses(&entry("\"arp\": \"dhcp\""), "2:57", "an address that DHCP gives is not known here");
    assert_eq!(lenient(&entry("\"arp\": \"dhcp\"")).file.entries.values().next().unwrap().arp, None);
}

fn declared(rest: &str) -> TableFiles {
    let text = format!(
        "[node]\nname = 'a-1'\n[table]\nsource = 'files'\nunderlay = ['10.0.0.0/24']\n\
         [[table.peer]]\nname = 'b-1'\nvtep = '203.0.113.5'\npublic_key = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg='\n{rest}"
    );
    match Config::parse("meshd.toml", &text).unwrap_or_else(|e| panic!("{e}")).table {
        Table::Files(files) => files,
        Table::Management => panic!(),
    }
}

fn own() -> Own {
    Own { admin: Some("10.0.0.1".parse().unwrap()), external: Some("203.0.113.1".parse().unwrap()) }
}

fn build(declared: &TableFiles, files: &[(&str, File)]) -> Result<(Slice, Paths), crate::api::problem::Problem> {
    let node: NodeId = "a-1".parse().unwrap();
    let addresses = [own().admin.unwrap(), own().external.unwrap()];
    let setting = Setting {
        node: &node,
        pdc: None,
        own: &addresses,
        underlay_mtu: 1500,
        mtu: MtuPolicy::default(),
        declared,
        psks: &BTreeMap::new(),
    };
    let files = files.iter().map(|(key, file)| (net(key), file.clone())).collect();
    let slice = slice(setting, 7, &files)?;
    let paths = decide_all(&slice, own());
    Ok((slice, paths))
}

fn guests(rows: &[(&str, &str)]) -> File {
    let entry = |(mac, ip): &(&str, &str)| format!("\"{mac}\": {{\"ip\": \"{ip}\", \"port\": 4789}}");
    strict(&format!("{{{}}}", rows.iter().map(entry).collect::<Vec<_>>().join(",")))
}

/// The ancestor's eighth fault: one address on a rule decided the path, whether it was reachable or not.
#[test]
fn the_address_of_a_row_decides_its_path_and_unknown_is_never_local() {
    let file = guests(&[
        ("2:0:0:0:0:1", "10.0.0.2"),
        ("2:0:0:0:0:2", "203.0.113.5"),
        ("2:0:0:0:0:3", "198.51.100.9"),
        ("2:0:0:0:0:4", "10.0.0.1"),
    ]);
    let (slice, paths) = build(&declared(""), &[("default/10", file)]).unwrap();
    let verdict = |name: &str| paths[&net("default/10")][&name.parse::<NodeId>().unwrap()].clone();
    assert_eq!((verdict("n-10-0-0-2").path, verdict("n-10-0-0-2").why), (Path::Plain, Why::TableFile));
    assert_eq!((verdict("b-1").path, verdict("b-1").why), (Path::Tunnel, Why::DifferentPdcs));
    let stray = verdict("n-198-51-100-9");
    assert_eq!((stray.path, stray.why), (Path::Forbidden, Why::TableFileOutsideUnderlay));
    let own: Vec<_> = slice.rows.values().filter(|row| row.node == slice.node).collect();
    assert_eq!(own.len(), 1, "a row at this node's own address is its own guest");
    assert_eq!(slice.version.to_string(), "0/7");
    assert_eq!(slice.networks[&net("default/10")].guest_mtu.get(), 1418);
}

/// Without an own address inside the underlay there is no plain path either.
#[test]
fn a_node_outside_the_declared_underlay_sends_nothing_in_clear() {
    let (slice, _) = build(&declared(""), &[("default/10", guests(&[("2:0:0:0:0:1", "10.0.0.2")]))]).unwrap();
    let paths = decide_all(&slice, Own { admin: Some("10.9.0.1".parse().unwrap()), external: None });
    assert_ne!(paths[&net("default/10")].values().next().unwrap().path, Path::Plain);
}

#[test]
fn files_that_do_not_fit_together_are_refused() {
    let other_port =
        strict(r#"{"2:0:0:0:0:1": {"ip": "10.0.0.2", "port": 4789}, "2:0:0:0:0:2": {"ip": "10.0.0.2", "port": 4790}}"#);
    let said = build(&declared(""), &[("default/10", other_port)]).unwrap_err().to_string();
    assert!(said.contains("02:00:00:00:00:02 has port 4790, the network uses 4789"), "{said}");
    let one = || guests(&[("2:0:0:0:0:1", "10.0.0.2")]);
    let said = build(&declared(""), &[("default/10", one()), ("other/10", one())]).unwrap_err().to_string();
    assert!(said.contains("the overlays 'default' and 'other' share UDP port 4789"), "{said}");
    let large = declared("[[table.network]]\noverlay = 'default'\nvni = 10\nmtu = 1451\n");
    let said = build(&large, &[("default/10", one())]).unwrap_err().to_string();
    assert!(said.contains("network 'default-10': an MTU of 1451 does not fit: it is 1 bytes too large"), "{said}");
}

#[test]
fn a_declared_network_without_a_file_is_hosted_all_the_same() {
    let declared = declared("[[table.network]]\noverlay = 'default'\nvni = 20\nname = 'blue'\n");
    let (slice, _) = build(&declared, &[]).unwrap();
    let network = &slice.networks[&net("default/20")];
    assert_eq!((network.name.as_str(), network.udp_port.get()), ("blue", 4789));
}

/// The ancestor's first fault: one address on two VNIs of one rule got the wrong answer.
#[test]
fn one_address_on_two_networks_of_one_overlay_is_two_guests() {
    let files = [
        ("default/10", guests(&[("2:0:0:0:0:1", "10.0.0.2")])),
        ("default/20", guests(&[("2:0:0:0:0:1", "10.0.0.3")])),
    ];
    let (slice, paths) = build(&declared(""), &files).unwrap();
    for (key, file) in files {
        assert_eq!(export(&slice, &paths, &net(key)).file, file);
    }
}

/// The ancestor's second fault: `ndp`, `dhcp-proxy` and further addresses were lost without a word.
#[test]
fn an_export_holds_all_that_the_form_can_say_and_lists_the_rest() {
    let (mut slice, paths) = build(
        &declared(""),
        &[(
            "default/10",
            strict(
                EXAMPLE
                    .replace("10.88.88", "10.0.0")
                    .replace("2001:db8:1::70", "203.0.113.5")
                    .replace("4790", "4789")
                    .as_str(),
            ),
        )],
    )
    .unwrap();
    let key: RowKey = "default/10/-/02:08:20:0a:00:08".parse().unwrap();
    let row = slice.rows.get_mut(&key).unwrap();
    row.arp.insert(Ipv4Addr::new(10, 55, 55, 4));
    let tagged: RowKey = "default/10/7/02:08:20:0a:00:0a".parse().unwrap();
    let tagged_row = row.clone();
    slice.rows.insert(tagged, tagged_row);
    let made = export(&slice, &paths, &net("default/10"));
    let entry = &made.file.entries[&key.mac];
    assert!(entry.ndp.is_some() && entry.dhcp_proxy.is_some());
    assert_eq!(
        made.left_out,
        [
            "02:08:20:0a:00:08: 10.55.55.4: the form has room for one arp and one ndp",
            "02:08:20:0a:00:0a: tagged with VLAN 7: the form knows no tags",
        ]
    );
}

/// The ancestor's fifth fault: each change of any guest rewrote everything.
#[test]
fn a_change_in_one_network_leaves_the_files_of_others_as_they_are() {
    let first = guests(&[("2:0:0:0:0:1", "10.0.0.2")]);
    let second = guests(&[("2:0:0:0:0:1", "10.0.0.2"), ("2:0:0:0:0:2", "10.0.0.3")]);
    let texts = |file: &File| {
        let (slice, paths) =
            build(&declared(""), &[("default/10", file.clone()), ("default/20", first.clone())]).unwrap();
        export_all(&slice, &paths).into_iter().map(|(key, made)| (key, made.file.to_json())).collect::<BTreeMap<_, _>>()
    };
    let (before, after) = (texts(&first), texts(&second));
    let changed: Vec<_> =
        after.iter().filter(|(key, text)| before.get(key) != Some(text)).map(|(key, _)| key).collect();
    assert_eq!(changed, [&net("default/10")]);
}

fn any_mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(|mut b| {
        b[0] = b[0] & 0xfe | 2;
        Mac(b)
    })
}

prop_compose! {
    fn any_entry()(
        ip in prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u16; 8]>().prop_map(IpAddr::from)],
        port in 1_u64..=65_535,
        arp in proptest::option::of(any::<[u8; 4]>()),
        ndp in proptest::option::of(any::<[u16; 8]>()),
        dhcp_proxy in proptest::option::of(any_mac()),
    ) -> Entry {
        let port = UdpPort::try_from(port).ok();
        Entry { ip: ip.to_canonical(), port, arp: arp.map(Ipv4Addr::from), ndp: ndp.map(Ipv6Addr::from), dhcp_proxy }
    }
}

fn any_file() -> impl Strategy<Value = File> {
    proptest::collection::btree_map(any_mac(), any_entry(), 0..20).prop_map(|entries| File { entries })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(file in any_file()) {
        prop_assert_eq!(strict(&file.to_json()), file);
    }

    #[test]
    fn reading_never_panics_and_always_names_a_place(text in "\\PC{0,200}", at in 0_usize..400, junk in "\\PC{0,3}") {
        let mut broken = EXAMPLE.to_owned();
        broken.insert_str(at.min(EXAMPLE.len()), &junk);
        for text in [text, broken] {
            for mode in [Mode::Strict, Mode::Lenient] {
                if let Err(problem) = read(Source::new("f", &text), mode) {
                    prop_assert!(problem.place.is_some());
                }
            }
        }
    }

    /// Where the original would send a frame, or who it would say owns an address, is what the slice says too.
    #[test]
    fn a_slice_of_files_answers_as_the_original_would(rows in proptest::collection::btree_map(any_mac(), (any_entry(), 0_usize..3), 0..12)) {
        let homes = ["10.0.0.2", "10.0.0.3", "203.0.113.5"];
        let place = |(mac, (entry, home)): (&Mac, &(Entry, usize))| {
            (*mac, Entry { ip: homes[*home].parse().unwrap(), port: "4789".parse().ok(), ..entry.clone() })
        };
        let file = File { entries: rows.iter().map(place).collect() };
        let (slice, paths) = build(&declared(""), &[("default/10", file.clone())]).unwrap();
        let key = net("default/10");
        prop_assert_eq!(&export(&slice, &paths, &key).file, &file);
        for (mac, entry) in &file.entries {
            let row = &slice.rows[&RowKey { mac: *mac, ..RowKey::first_of(&key) }];
            let outer = paths[&key][&row.node].outer;
            let ours = Fate::Sent(vtep(&slice.peers[&row.node], outer).unwrap(), slice.networks[&key].udp_port.get());
            prop_assert_eq!(lookup(&file, Frame::To(*mac)), ours);
            let first = |owns: &dyn Fn(&crate::table::Row) -> bool| {
                slice.rows_of(&key).find(|(_, row)| owns(row)).map_or(Fate::Dropped, |(key, _)| Fate::Answered(key.mac))
            };
            if let Some(arp) = entry.arp {
                prop_assert_eq!(lookup(&file, Frame::Arp(arp)), first(&|row| row.arp.contains(&arp)));
            }
            if let Some(ndp) = entry.ndp {
                prop_assert_eq!(lookup(&file, Frame::Solicitation(ndp)), first(&|row| row.nd.contains(&ndp)));
            }
            let proxy = row.dhcp_proxy.map_or(Fate::Dropped, |proxy| lookup(&file, Frame::To(proxy)));
            prop_assert_eq!(lookup(&file, Frame::Ipv4Broadcast(*mac)), proxy);
        }
        prop_assert_eq!(lookup(&file, Frame::To(Mac::BROADCAST)), Fate::Dropped);
    }
}
