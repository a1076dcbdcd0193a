use super::*;

fn refuses(text: &str, at: &str, what: &str) {
    let text = Config::parse("meshmgr.toml", text).unwrap_err().to_string();
    assert!(text.contains(&format!("meshmgr.toml:{at}\n")), "{at} is not in\n{text}");
    assert!(text.contains(what), "{what:?} is not in\n{text}");
}

#[test]
fn every_key_but_addresses_has_a_default() {
    let config = Config::parse("meshmgr.toml", "addresses = ['m:7443']").unwrap();
    assert_eq!(config.listen.to_string(), "[::]:7443");
    assert_eq!(config.tunnel_prefix.to_string(), "100.64.0.0/16");
    assert_eq!(config.certificates.node, DAY * 30);
    refuses("listen = '1.2.3.4:1'\n", "1:1", "the key 'addresses' is needed here");
    assert!(Config::parse("m", "addresses = []").unwrap_err().what.contains("empty"));
}

#[test]
fn a_length_of_time_needs_its_unit() {
    let life = |text: &str, at: &str, what: &str| {
        refuses(&format!("addresses = ['m:7443']\n[certificates]\nnode = {text}\n"), at, what);
    };
    life("'1x'", "3:8", "'1x' is not a length of time (like 90s, 15m, 1h, 7d)");
    life("'30'", "3:8", "'30' has no unit; write 30s, 30m, 30h or 30d");
    life("30", "3:8", "the number 30 stands where a text in quotes is needed");
    life("'1s'", "3:8", "a certificate lives at least 10m");
    life("'100y'", "3:8", "at most ten years");
    let config = Config::parse("m", "addresses = ['m:1']\n[certificates]\nnode = '1h'\n").unwrap();
    assert_eq!(config.certificates.node, Duration::from_secs(3600));
}

#[test]
fn wrong_addresses_are_shown_where_they_stand() {
    refuses("addresses = ['m:7443']\ntunnel_prefix = '10.0.0.1/8'\n", "2:17", "the prefix is 10.0.0.0/8");
    refuses("addresses = ['m:7443']\ntunnel_prefix = '10.0.0.0/25'\n", "2:17", "/24 is the smallest");
    refuses("addresses = ['m:7443']\ntunnel_prefix = 'fd00::/64'\n", "2:17", "are IPv4");
    refuses("listen = '1.2.3.4'\naddresses = ['m:7443']\n", "1:10", "");
    refuses("addresses = ['m']\n", "1:14", "'m' has no port");
}
