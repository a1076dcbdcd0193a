use super::*;

fn words(family: &str, name: &str, info: &[u8]) -> Vec<Value> {
    spelt(family, name, info).unwrap()
}

#[test]
fn ports_of_bridges_are_told_whole_and_by_their_beginning() {
    let mut info = [0_u8; 66];
    info[..2].copy_from_slice(b"g1");
    info[16..19].fill(0xff);
    info[32..37].copy_from_slice(b"vv10+");
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

#[test]
fn marks_and_ranges_are_read_from_what_the_kernel_keeps() {
    let key = mark_key;
    let of = |numbers: &[u32], more: &[u8]| {
        let all: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).chain(more.iter().copied()).collect();
        all
    };
    let long = |numbers: &[usize], more: &[u8]| {
        let all: Vec<u8> = numbers.iter().flat_map(|number| number.to_ne_bytes()).chain(more.iter().copied()).collect();
        all
    };
    assert_eq!(words("ip", "mark", &of(&[7, 0xff], &[0])), [compare(false, json!({"&": [key(), 0xff]}), json!(7))]);
    assert_eq!(words("ip", "mark", &of(&[7, u32::MAX], &[1])), [compare(true, key(), json!(7))]);
    assert_eq!(words("bridge", "mark_m", &long(&[7, 0xffff_ffff], &[0, 1])), [compare(false, key(), json!(7))]);
    assert_eq!(words("bridge", "mark_m", &long(&[0, 6], &[0, 2])), [compare(true, json!({"&": [key(), 6]}), json!(0))]);
    assert_eq!(target("MARK", &of(&[7, u32::MAX], &[])).unwrap(), [older::write_mark(7, u32::MAX)]);
    let set = target("mark", &[&long(&[7], &[])[..], &(-3_i32).to_ne_bytes()].concat()).unwrap();
    assert_eq!(set, [json!({"mangle": {"key": key(), "value": 7}}), json!({"continue": null})]);
    assert_eq!(target("mark", &long(&[7], &[0, 0, 0, 0])), None, "not what it is known to be");
    let mut info = [0_u8; 68];
    info[32..36].copy_from_slice(&[192, 168, 10, 11]);
    info[48..52].copy_from_slice(&[192, 168, 10, 12]);
    info[64] = 0x02 | 0x20;
    let range = json!({"range": ["192.168.10.11", "192.168.10.12"]});
    assert_eq!(words("ip", "iprange", &info), [compare(true, payload("ip", "daddr"), range)]);
}
