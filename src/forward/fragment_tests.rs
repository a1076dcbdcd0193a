use super::*;

#[test]
fn pieces_are_even_multiples_of_eight_and_fit() {
    for body in 16..4000 {
        for carried in [100, 567, 1148, 1220, 1440] {
            let Cut { piece, count } = cut(body, carried).unwrap();
            let last = body - piece * (count - 1);
            assert!(piece.is_multiple_of(8) && piece + 20 <= carried, "{body} in {carried}: {piece}");
            assert!(last > 0 && last <= piece, "{body} in {carried}: {count} of {piece}");
            assert_eq!(count, body.div_ceil((carried - 20) / 8 * 8), "no more than are needed");
        }
    }
}

#[test]
fn a_frame_of_1500_bytes_becomes_two_halves() {
    assert_eq!(cut(16 + 1514, 1440), Some(Cut { piece: 768, count: 2 }));
}

#[test]
fn what_no_packet_holds_is_not_cut() {
    assert_eq!(cut(65_515, 1440).map(|cut| cut.count), Some(47));
    assert_eq!(cut(65_516, 1440), None);
    assert_eq!(cut(100, 35), None, "the first piece has no room for its headers");
    assert_eq!(cut(100, 0), None);
}
