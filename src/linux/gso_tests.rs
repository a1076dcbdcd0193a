use super::*;

/// A control message with an integer.
fn message(level: i32, kind: i32, value: i32) -> Vec<u8> {
    let mut bytes = (HEAD + 4).to_ne_bytes().to_vec();
    for number in [level, kind, value] {
        bytes.extend(number.to_ne_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(WORD), 0);
    bytes
}

#[test]
fn the_size_is_found_behind_other_control_messages() {
    let size = message(libc::SOL_UDP, libc::UDP_GRO, 1472);
    let other = message(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 7);
    assert_eq!(segment_of(&size), Some(1472));
    assert_eq!(segment_of(&[other.clone(), size].concat()), Some(1472));
    assert_eq!(segment_of(&other), None);
    assert_eq!(segment_of(&[]), None);
}

#[test]
fn no_control_message_makes_it_panic_or_loop() {
    let size = message(libc::SOL_UDP, libc::UDP_GRO, 1472);
    for end in 0..size.len() - WORD / 2 {
        assert_eq!(segment_of(&size[..end]).filter(|_| end < HEAD + 4), None, "{end}");
    }
    assert_eq!(segment_of(&message(libc::SOL_UDP, libc::UDP_GRO, -1)), None);
    assert_eq!(segment_of(&message(libc::SOL_UDP, libc::UDP_GRO, 0)), None);
    let mut huge = message(libc::SOL_SOCKET, 1, 1);
    huge[..WORD].copy_from_slice(&(usize::MAX / 2).to_ne_bytes());
    assert_eq!(segment_of(&huge), None);
    assert_eq!(segment_of(&[0; 64]), None, "a length of zero ends");
}

#[test]
fn a_train_is_refused_in_these_words_and_no_others() {
    let refused = |code| is_refusal(&io::Error::from_raw_os_error(code));
    // No checksum offload before Linux 6.11; larger than the interface, in new and in old kernels; no such socket option.
    assert!([libc::EIO, libc::EMSGSIZE, libc::EINVAL, libc::EOPNOTSUPP].into_iter().all(refused));
    assert!(![libc::EAGAIN, libc::ENOBUFS, libc::EPERM, libc::ENETUNREACH, libc::ENETDOWN].into_iter().any(refused));
}
