use super::*;

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    message.extend(body);
    let length = u32::try_from(message.len()).unwrap();
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&flags.to_ne_bytes());
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut attribute = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

fn object(name: &str, packets: u64) -> Vec<u8> {
    let counts = [attribute(1, &77_u64.to_be_bytes()), attribute(PACKETS, &packets.to_be_bytes())].concat();
    let attributes = [
        attribute(TABLE_NAME, b"vxmesh\0"),
        attribute(NAME, &[name.as_bytes(), &[0]].concat()),
        attribute(TYPE, &COUNTER.to_be_bytes()),
        attribute(DATA | 1 << 15, &counts),
    ];
    message(NEW_OBJECT, 2, &[vec![7, 0, 0, 0], attributes.concat()].concat())
}

#[test]
fn names_and_packets_are_read_until_the_end_is_said() {
    let first = [object("guest_mac", 3), object("guest_ip", u64::MAX)].concat();
    let answer = parse(&first);
    assert_eq!(answer.counters, [("guest_mac".to_owned(), 3), ("guest_ip".to_owned(), u64::MAX)]);
    assert!(!answer.done && !answer.interrupted);
    let done = parse(&message(3, 2, &[0; 4]));
    assert!(done.done && done.counters.is_empty() && done.refused.is_none());
}

#[test]
fn a_refusal_and_an_interruption_are_seen() {
    assert_eq!(parse(&message(2, 0, &(-1_i32).to_ne_bytes())).refused, Some(1));
    assert_eq!(parse(&message(2, 0, &0_i32.to_ne_bytes())).refused, None);
    assert!(parse(&message(3, NLM_F_DUMP_INTR, &[0; 4])).interrupted);
}

#[test]
fn whatever_is_cut_ends_and_is_not_believed() {
    let whole = [object("guest_mac", 3), message(3, 2, &[0; 4])].concat();
    for end in 0..whole.len() {
        let answer = parse(&whole[..end]);
        let first = whole.len() - HEADER - 4;
        assert!(answer.counters.len() == usize::from(end >= first), "{end}");
        assert!(answer.done || end == first, "{end}: nobody waits for the rest");
        assert!(answer.interrupted || end == first || end == 0, "{end}: it is asked again");
    }
    // Lengths that lie.
    for length in [0_u32, 1, 15, 17, u32::MAX] {
        let mut lying = whole.clone();
        lying[..4].copy_from_slice(&length.to_ne_bytes());
        let _read = parse(&lying);
    }
}

#[test]
fn the_request_is_laid_out_as_the_kernel_wants_it() {
    let request = request(Family::Bridge, "abc");
    assert_eq!(request.len(), 20 + 8 + 8);
    assert_eq!(request[16], 7);
    assert_eq!(request[20..28], [[8, 0, 1, 0], *b"abc\0"].concat());
    assert_eq!(request[28..], [8, 0, 3, 0, 0, 0, 0, 1]);
}
