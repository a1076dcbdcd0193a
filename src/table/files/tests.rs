use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::samples::{EXAMPLE, any_file, strict};
use super::*;
use crate::config::Source;

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
}
