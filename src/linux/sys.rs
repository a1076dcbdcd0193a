//! The only `unsafe` of the project: system calls that no safe crate offers.
#![expect(unsafe_code, reason = "system calls; each block says why it is sound")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd as _, OwnedFd};

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

/// A handle on a process that keeps meaning this process, whatever happens to its number (pidfd_open(2)).
///
/// # Errors
/// There is no such process.
pub fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    let number = libc::pid_t::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the system call takes two integers and touches no memory of ours.
    let code = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) };
    let raw = i32::try_from(code).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Sends a signal through a handle (pidfd_send_signal(2)).
///
/// # Errors
/// The process has ended, or it may not be signalled.
pub fn pidfd_signal(process: &OwnedFd, signal: i32) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open for the whole call; a null siginfo is allowed.
    let code = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, none, 0) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A socket that hears every frame of an interface, in both directions (packet(7)).
///
/// # Errors
/// No `CAP_NET_RAW`, or no such interface.
pub fn packet_socket(interface: u32) -> io::Result<OwnedFd> {
    let every = u16::try_from(libc::ETH_P_ALL).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?.to_be();
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: the system call takes three integers.
    let raw = unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(every)) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: all zeros is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_protocol = every;
    address.sll_ifindex = i32::try_from(interface).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
    // SAFETY: `address` is a valid sockaddr_ll of `length` bytes for the whole call.
    let code = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(socket) }
}

/// How many frames a packet socket could not keep since the last call (`PACKET_STATISTICS`, packet(7)).
///
/// # Errors
/// Not a packet socket.
pub fn packet_missed(socket: &impl AsRawFd) -> io::Result<u32> {
    let mut stats = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = u32::try_from(size_of::<libc::tpacket_stats>()).unwrap_or_default();
    let (level, name) = (libc::SOL_PACKET, libc::PACKET_STATISTICS);
    // SAFETY: `stats` and `length` are valid and writable, and `length` is the size of `stats`.
    let code = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut stats).cast(), &raw mut length) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(stats.tp_drops) }
}

/// Gives a socket room for `bytes` that wait to be read, past the system's limit for everybody (`SO_RCVBUFFORCE`, socket(7)).
///
/// # Errors
/// No `CAP_NET_ADMIN`.
pub fn receive_buffer(socket: &impl AsRawFd, bytes: usize) -> io::Result<()> {
    // The kernel doubles the value that it is given.
    let half = libc::c_int::try_from(bytes / 2).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let length = u32::try_from(size_of::<libc::c_int>()).unwrap_or_default();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE);
    // SAFETY: `half` is a valid integer of `length` bytes for the whole call.
    let code = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const half).cast(), length) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
