use serde_json::json;

use super::super::plan::tests::slice;
use super::*;

/// A slice of node a with rows of (VLAN, last byte of the MAC, node, address).
fn of(rows: &[(&str, u8, &str, &str)]) -> Slice {
    let mut slice = slice("suppress", json!({}));
    slice.rows.clear();
    for (vlan, last, node, address) in rows {
        let family = if address.contains(':') { "nd" } else { "arp" };
        let key = format!("default/10/{vlan}/02:00:00:00:00:{last:02x}").parse().unwrap();
        slice.rows.insert(key, serde_json::from_value(json!({"node": node, family: [address]})).unwrap());
    }
    slice
}

fn told(old: &Slice, new: &Slice) -> Vec<Vec<u8>> {
    let mut announcer = Announcer::default();
    announcer.follow(old, new);
    announcer.due(new).into_iter().map(|(_, frame)| frame).collect()
}

#[test]
fn what_is_told_is_the_new_owner_of_an_address_elsewhere() {
    let one = ("-", 1, "b", "10.0.0.9");
    for (old, new, news) in [
        (vec![one], vec![one], 0),
        (vec![one], vec![], 0),
        (vec![], vec![one], 1),
        // Another MAC, another node, another address.
        (vec![one], vec![("-", 2, "b", "10.0.0.9")], 1),
        (vec![one], vec![("-", 1, "far", "10.0.0.9")], 1),
        (vec![one], vec![("-", 1, "b", "10.0.0.8")], 1),
        (vec![one], vec![("7", 1, "b", "fd10::9")], 1),
        // The owner is here, or there are two.
        (vec![one], vec![("-", 1, "a", "10.0.0.9")], 0),
        (vec![one], vec![one, ("-", 2, "b", "10.0.0.9")], 0),
        (vec![one], vec![("-", 1, "a", "10.0.0.9"), ("-", 2, "b", "10.0.0.9")], 0),
        // The same address in another VLAN is another one.
        (vec![one], vec![one, ("7", 2, "b", "10.0.0.9")], 1),
    ] {
        assert_eq!(told(&of(&old), &of(&new)).len(), news, "{old:?} {new:?}");
    }
}

#[test]
fn an_announcement_is_what_a_host_would_say() {
    let nobody = of(&[]);
    let four = told(&nobody, &of(&[("-", 1, "b", "10.0.0.9")])).remove(0);
    let (ethernet, rest) = Ethernet::split(&four).unwrap();
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    assert_eq!(ethernet, Ethernet { destination: Mac::BROADCAST, source: mac, ethertype: ethernet::ARP });
    let said = Arp::parse(rest).unwrap();
    assert_eq!((said.sender_ip, said.target_ip), ([10, 0, 0, 9].into(), [10, 0, 0, 9].into()));
    let six = told(&nobody, &of(&[("7", 1, "b", "fd10::9")])).remove(0);
    assert_eq!(six[12..18], [0x81, 0, 0, 7, 0x86, 0xdd], "with its tag");
    let (header, message) = Ipv6::split(&six[18..]).unwrap();
    assert!(nd::checksum_holds(message, header.source, header.destination));
    let said = Advertisement::parse(message).unwrap();
    assert!(said.replaces && !said.solicited && said.mac == Some(mac), "{said:?}");
}

#[test]
fn however_much_changes_little_is_told_at_once_and_no_more_than_is_remembered() {
    let rows: Vec<(u8, String)> = (0..=255).map(|n| (n, format!("10.0.0.{n}"))).collect();
    let many: Vec<(&str, u8, &str, &str)> = rows.iter().map(|(n, ip)| ("-", *n, "b", &**ip)).collect();
    let (old, new) = (of(&[]), of(&many));
    let mut announcer = Announcer::default();
    for _ in 0..3 {
        announcer.follow(&old, &new);
    }
    let mut all = 0;
    for _ in 0..6 {
        let some = announcer.due(&new).len();
        assert!(some <= AT_ONCE);
        all += some;
    }
    assert_eq!((all, announcer.due(&new).len()), (256, 0), "each once");
}
