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
const MSS: [u8; 2] = [2, 4];

/// Offset of the value of the one MSS option in `header`, which is a whole TCP header with its options. None: there is no such
/// option, there are two, or an option's length is impossible.
pub fn mss(header: &[u8]) -> Option<usize> {
    let (mut at, mut found) = (LEN, None);
    while let Some(kind) = header.get(at) {
        match *kind {
            END => break,
            PADDING => at += 1,
            _ => {
                let len = usize::from(*header.get(at + 1)?);
                let option = header.get(at..at + len).filter(|_| len >= 2)?;
                if option[0] == MSS[0] && (option[1] != MSS[1] || found.replace(at + 2).is_some()) {
                    return None;
                }
                at += len;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &[u8]) -> Option<usize> {
        mss(&[&[0; LEN], options].concat())
    }

    #[test]
    fn the_option_is_found_wherever_it_stands() {
        assert_eq!(with(&[2, 4, 5, 180]), Some(22));
        assert_eq!(with(&[1, 2, 4, 5, 180, 0, 0, 0]), Some(23), "at an odd place");
        assert_eq!(with(&[4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 2, 4, 5, 180]), Some(34));
        assert_eq!(with(&[2, 4, 5, 180, 0, 2, 4, 0]), Some(22), "what follows the end says nothing");
    }

    #[test]
    fn what_is_malformed_is_not_found() {
        for options in [
            &[][..],
            &[1, 1, 1, 0],
            &[2, 3, 5, 1],
            &[2, 6, 5, 180, 0, 0, 0, 0],
            &[2, 4, 5],
            &[2],
            &[3, 0, 2, 4, 5, 180],
            &[3, 1, 2, 4, 5, 180],
            &[2, 4, 5, 180, 8, 40, 0, 0],
            &[2, 4, 5, 180, 2, 4, 5, 100],
        ] {
            assert_eq!(with(options), None, "{options:?}");
        }
        assert_eq!(mss(&[0; 3]), None);
    }
}
