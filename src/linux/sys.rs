//! The only `unsafe` of the project: system calls that no safe crate offers.
#![expect(unsafe_code, reason = "system calls; each block says why it is sound")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Turns the -1 of a system call into its error.
fn check(code: libc::c_int) -> io::Result<libc::c_int> {
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(code) }
}

/// Moves the calling thread into a network namespace (setns(2)).
///
/// # Errors
/// The file is no network namespace, or the capability is missing.
pub fn setns_network(namespace: &File) -> io::Result<()> {
    // SAFETY: takes a descriptor that is open for the whole call, and touches no memory.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// `CLOCK_BOOTTIME` in nanoseconds.
pub fn boottime_nanos() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid, writable timespec for the whole call.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    debug_assert_eq!(code, 0, "CLOCK_BOOTTIME exists since Linux 2.6.39");
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
