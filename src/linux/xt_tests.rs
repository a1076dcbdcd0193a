use super::*;

fn words(family: &str, name: &str, info: &[u8]) -> Vec<Value> {
    spelt(family, name, info).unwrap()
}

#[test]
fn ports_of_bridges_are_told_whole_and_by_their_beginning() {
    let mut info = [0_u8; 66];
    info[..2].copy_from_slice(b"g1");
    info[16..19].fill(0xff);
    info[32..36].copy_from_slice(b"vv10");
    info[48..52].fill(0xff);
    for (inverted, asked, told) in [
        (0, 1, vec![compare(false, json!({"physdev": "in"}), json!("g1"))]),
        (2, 2, vec![compare(true, json!({"physdev": "out"}), json!("vv10*"))]),
        (0, 4, vec![]),
        (4, 4, vec![never()]),
    ] {
        info[64..].copy_from_slice(&[inverted, asked]);
        assert_eq!(words("ip", "physdev", &info), told, "{inverted} {asked}");
    }
    assert_eq!(spelt("ip", "physdev", &info[..40]), None);
}

#[test]
fn addresses_of_bridges_rules_are_told_with_their_masks() {
    let mut info = [0_u8; 28];
    info[4..8].copy_from_slice(&[192, 168, 10, 21]);
    info[12..16].fill(0xff);
    info[18] = 2;
    let host = |len: u8| json!({"prefix": {"addr": "192.168.10.21", "len": len}});
    assert_eq!(words("bridge", "ip", &info), [compare(false, payload("ip", "daddr"), host(32))]);
    (info[15], info[19]) = (0, 2);
    assert_eq!(words("bridge", "ip", &info), [compare(true, payload("ip", "daddr"), host(24))]);
    // A mask that is no prefix, and a port.
    (info[13], info[18]) = (0x55, 2 | 0x20);
    assert_eq!(words("bridge", "ip", &info), [unknown(MORE), unknown(MORE)]);
    assert_eq!(spelt("ip", "ip", &info), None);
    let mut mac = [0_u8; 12];
    mac[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    mac[8] = 1;
    assert_eq!(words("ip", "mac", &mac), [compare(true, payload("ether", "saddr"), json!("02:00:00:00:00:01"))]);
    let mut arp = [0_u8; 50];
    arp[16..24].copy_from_slice(&[192, 168, 10, 21, 255, 255, 255, 255]);
    arp[48] = 0x10;
    assert_eq!(words("bridge", "arp", &arp), [compare(false, payload("arp", "daddr ip"), host(32))]);
}
