use super::*;

fn output(status: i32, said: &str) -> Output {
    Output { status: ExitStatus::from_raw(status), stdout: Vec::new(), stderr: said.as_bytes().to_vec() }
}

#[test]
fn a_run_is_judged_by_how_it_ended_whether_its_orders_were_read_or_not() {
    for (status, said, code, text) in [
        (1 << 8, "", "M0622", "nft ended with status 1 and said nothing"),
        (1 << 8, "\n \n", "M0622", "nft ended with status 1 and said nothing"),
        (127 << 8, "", "M0622", "nft ended with status 127 and said nothing"),
        (9, "", "M0622", "nft was ended by signal 9 and said nothing"),
        (1 << 8, "nft: error while loading libraries", "M0622", "nft refuses: nft: error while loading libraries"),
        (1 << 8, "/dev/stdin:3\nError: syntax error", "M0622", "nft refuses: Error: syntax error"),
        (1 << 8, "Error: Operation not permitted", "M0620", "CAP_NET_ADMIN"),
    ] {
        for read in [true, false] {
            let error = judged(&output(status, said), read).unwrap_err();
            assert!(error.code() == code && error.to_string().contains(text), "{status} {said} {read}: {error}");
        }
    }
    assert!(judged(&output(0, ""), true).is_ok());
    let error = judged(&output(0, ""), false).unwrap_err();
    assert!(error.code() == "M0622" && error.to_string().contains("has loaded nothing"), "{error}");
}

#[test]
fn what_cannot_be_run_is_named_and_what_this_process_lacks_is_not_laid_at_its_door() {
    let command = Command::new("/usr/sbin/nft");
    for number in [libc::EACCES, libc::ENOEXEC, libc::ENOENT, libc::EIO] {
        let error = unstarted(&command, io::Error::from_raw_os_error(number));
        assert!(error.code() == "M0622" && error.to_string().starts_with("/usr/sbin/nft cannot be run: "), "{error}");
    }
    for number in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN] {
        assert_eq!(unstarted(&command, io::Error::from_raw_os_error(number)).code(), "M0627");
    }
}

#[test]
fn a_transaction_that_makes_a_table_anew_is_one_that_the_kernel_counts() {
    assert!(replaces(&no_guard(true)) && replaces(&no_fence(false)));
    let guest = ("tap1".parse().unwrap(), "02:00:00:00:00:01".parse().unwrap());
    assert!(!replaces(&forget_spoken(&[guest])));
}
