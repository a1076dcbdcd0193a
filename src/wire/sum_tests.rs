//! The fast sum against the definition.

use proptest::prelude::*;

use super::Sum;

/// RFC 1071 word by word, as its text has it.
fn by_definition(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

proptest! {
    #[test]
    fn any_bytes_sum_to_what_the_definition_says(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let mut to = vec![0; bytes.len()];
        prop_assert_eq!(Sum::default().with(&bytes).checksum(), by_definition(&bytes));
        prop_assert_eq!(Sum::default().copy(&mut to, &bytes).checksum(), by_definition(&bytes));
        prop_assert_eq!(to, bytes);
    }

    #[test]
    fn parts_of_even_length_sum_like_the_whole(bytes in prop::collection::vec(any::<u8>(), 6..300), cut in 0..100usize) {
        let (a, b) = bytes.split_at((cut * 2).min(bytes.len() & !1));
        let sum = Sum::default().with(b).join(Sum::default().with(a));
        prop_assert_eq!(sum.checksum(), by_definition(&bytes));
        let numbers = Sum::default().word(u16::from_be_bytes([bytes[0], bytes[1]]))
            .long(u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]));
        prop_assert_eq!(numbers.checksum(), by_definition(&bytes[..6]));
        prop_assert_eq!(numbers.partial(), !numbers.checksum());
    }
}

#[test]
fn the_largest_sums_do_not_overflow() {
    for len in [65_535, 65_536, 1 << 20, (1 << 22) + 3] {
        let bytes = vec![0xff; len];
        let mut to = vec![0; len];
        assert_eq!(Sum::default().with(&bytes).checksum(), by_definition(&bytes));
        assert_eq!(Sum::default().copy(&mut to, &bytes).checksum(), by_definition(&bytes));
    }
}

#[test]
fn the_shorter_side_says_how_much_is_copied() {
    let mut to = [0; 5];
    assert_eq!(Sum::default().copy(&mut to, &[1, 2, 3]), Sum::default().with(&[1, 2, 3]));
    assert_eq!(to, [1, 2, 3, 0, 0]);
    assert_eq!(Sum::default().copy(&mut to, &[9; 8]), Sum::default().with(&[9; 5]));
}

#[test]
fn a_udp_checksum_is_never_zero() {
    assert_eq!(Sum::default().with(&[0xff, 0xff]).checksum(), 0);
    assert_eq!(Sum::default().with(&[0xff, 0xff]).checksum_udp(), 0xffff);
    assert_eq!(Sum::default().with(&[0, 1]).checksum_udp(), 0xfffe);
}

proptest! {
    #[test]
    fn a_checksum_follows_a_change_of_the_bytes(
        mut bytes in prop::collection::vec(any::<u8>(), 20..200), at in 0..8usize, new in any::<[u8; 4]>(),
    ) {
        bytes[18..20].fill(0);
        let before = Sum::default().with(&bytes).checksum();
        bytes[18..20].copy_from_slice(&before.to_be_bytes());
        let place = at * 2..at * 2 + 4;
        let sum = Sum::default().word(!before).without(&bytes[place.clone()]).with(&new);
        bytes[place].copy_from_slice(&new);
        bytes[18..20].copy_from_slice(&sum.checksum().to_be_bytes());
        prop_assert_eq!(by_definition(&bytes), 0);
    }
}
