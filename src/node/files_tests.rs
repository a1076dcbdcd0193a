//! A node from table files, with the verdicts that its slice leads to.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use crate::config::meshd::{Config, Table, TableFiles};
use crate::node::paths::{Own, Paths, decide_all, vtep};
use crate::policy::mtu::MtuPolicy;
use crate::policy::path::{Path, Why};
use crate::table::files::oracle::{Fate, Frame, lookup};
use crate::table::files::samples::{EXAMPLE, any_entry, any_mac, strict};
use crate::table::files::{Entry, File, Setting, export, export_all, slice};
use crate::table::{NetKey, RowKey, Slice};
use crate::types::{Mac, NodeId};

fn net(text: &str) -> NetKey {
    text.parse().unwrap()
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
    measured(declared, files, &BTreeMap::new())
}

fn measured(
    declared: &TableFiles,
    files: &[(&str, File)],
    measured: &BTreeMap<NodeId, u16>,
) -> Result<(Slice, Paths), crate::api::problem::Problem> {
    let node: NodeId = "a-1".parse().unwrap();
    let addresses = [own().admin.unwrap(), own().external.unwrap()];
    let setting = Setting {
        node: &node,
        pdc: None,
        own: &addresses,
        underlay_mtus: (1500, 1500),
        measured,
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

/// Without a management node the same arithmetic holds for this node's own pairs.
#[test]
fn a_measured_path_lowers_the_guest_mtu_and_never_makes_a_fixed_one_wrong() {
    let file = || guests(&[("2:0:0:0:0:1", "10.0.0.2"), ("2:0:0:0:0:2", "203.0.113.5")]);
    let short = BTreeMap::from([("b-1".parse().unwrap(), 1400), ("n-10-0-0-2".parse().unwrap(), 1300)]);
    let mtu = |rest: &str| {
        let (slice, _) = measured(&declared(rest), &[("default/10", file())], &short).unwrap();
        slice.networks[&net("default/10")].guest_mtu.get()
    };
    assert_eq!(mtu(""), 1318, "what was measured counts for tunnels only");
    assert_eq!(mtu("[[table.network]]\noverlay = 'default'\nvni = 10\nmtu = 1418\n"), 1418);
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

proptest! {
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
