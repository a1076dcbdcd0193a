//! TCP options (RFC 9293 section 3.2): where the maximum segment size stands.
//!
//! ```text
//! kind 0: end of the list   kind 1: padding, one byte   other kinds: | kind | length | length - 2 bytes |
//! kind 2: | 2 | 4 | maximum segment size |
//! ```

/// Flag of the segment that opens a connection.
pub const SYN: u8 = 0x02;
/// Where the flags are.
pub const FLAGS: usize = 13;
/// Where the checksum is.
pub const CHECKSUM: usize = 16;
/// Bytes of a header without options.
pub const LEN: usize = 20;

const END: u8 = 0;
const PADDING: u8 = 1;
/// Kind and length.
const MSS: [u8; 2] = [2, 4];

/// Offsets of the values of all MSS options in `header`, which is a whole TCP header with its options: up to the end of the list, or
/// up to an option whose length is impossible. Linux reads as far and believes the last one (`tcp_parse_options`). One of another
/// length than 4 is passed over, as there.
pub fn all_mss(header: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut at = LEN;
    std::iter::from_fn(move || {
        loop {
            match *header.get(at)? {
                END => return None,
                PADDING => at += 1,
                kind => {
                    let len = usize::from(*header.get(at + 1)?);
                    header.get(at..at + len).filter(|_| len >= 2)?;
                    let option = at;
                    at += len;
                    if [kind, header[option + 1]] == MSS {
                        return Some(option + 2);
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &[u8]) -> Vec<usize> {
        all_mss(&[&[0; LEN], options].concat()).collect()
    }

    #[test]
    fn the_options_are_found_wherever_they_stand() {
        for (options, found) in [
            (&[2, 4, 5, 180][..], &[22][..]),
            (&[1, 2, 4, 5, 180, 0, 0, 0], &[23]),
            (&[4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 5, 180], &[34]),
            (&[2, 4, 5, 180, 0, 2, 4, 0], &[22]),
            (&[2, 4, 5, 180, 2, 4, 5, 100], &[22, 26]),
            (&[2, 4, 5, 180, 1, 2, 4, 5, 100, 1, 1, 0], &[22, 27]),
            (&[2, 3, 5, 2, 4, 5, 180, 0], &[25]),
            (&[2, 6, 5, 180, 0, 0, 2, 4, 5, 180], &[28]),
        ] {
            assert_eq!(with(options), found, "{options:?}");
        }
        assert_eq!(with(&[2, 4, 5, 180].repeat(10)).len(), 10, "as many as there is room for");
    }

    /// What stands before the fault is what a receiver has read by then.
    #[test]
    fn reading_ends_at_an_impossible_length() {
        for (options, found) in [
            (&[][..], &[][..]),
            (&[1, 1, 1, 0], &[]),
            (&[2, 4, 5], &[]),
            (&[2], &[]),
            (&[3, 0, 2, 4, 5, 180], &[]),
            (&[3, 1, 2, 4, 5, 180], &[]),
            (&[2, 4, 5, 180, 8, 40, 0, 0], &[22]),
            (&[2, 4, 5, 180, 8], &[22]),
        ] {
            assert_eq!(with(options), found, "{options:?}");
        }
        assert_eq!(all_mss(&[0; 3]).count(), 0);
    }
}
