//! The only `unsafe` of the project: system calls that no safe crate offers.
#![expect(unsafe_code, reason = "system calls; each block says why it is sound")]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::types::IfName;

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

/// The user that files of this process belong to.
pub fn effective_user() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// From now on a write past the limit for the size of files (`RLIMIT_FSIZE`) fails with `EFBIG`, and does not end this process (setrlimit(2)).
pub fn outlive_file_limits() {
    // SAFETY: takes two integers; what is ignored runs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// A handle on a process that keeps meaning this process, whatever happens to its number (pidfd_open(2)).
///
/// # Errors
/// There is no such process.
pub fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    let number = libc::pid_t::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the system call takes two integers and touches no memory of ours.
    let code = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) };
    let raw = check(i32::try_from(code).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?)?;
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
    // Of no protocol until it is bound, or it would hear every interface until then.
    let socket = OwnedFd::from(Socket::new(Domain::from(libc::AF_PACKET), Type::RAW, None)?);
    // SAFETY: all zeros is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_protocol = every;
    address.sll_ifindex = i32::try_from(interface).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
    // SAFETY: `address` is a valid sockaddr_ll of `length` bytes for the whole call.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) }).map(|_| socket)
}

/// An option of a socket that is some words.
fn socket_words(socket: RawFd, level: i32, option: i32, words: &mut [u32]) -> io::Result<()> {
    let mut length = u32::try_from(size_of_val(words)).unwrap_or_default();
    // SAFETY: `words` and `length` are valid and writable, and `length` is the size of `words` in bytes.
    check(unsafe { libc::getsockopt(socket, level, option, words.as_mut_ptr().cast(), &raw mut length) }).map(drop)
}

/// How many frames a packet socket could not keep since the last call (`PACKET_STATISTICS`, packet(7)).
///
/// # Errors
/// Not a packet socket.
pub fn packet_missed(socket: &impl AsRawFd) -> io::Result<u32> {
    // `struct tpacket_stats`: packets and drops.
    let mut stats = [0; 2];
    socket_words(socket.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS, &mut stats).map(|()| stats[1])
}

/// How many packets a socket could not take since it was opened (`SK_MEMINFO_DROPS` of linux/sock_diag.h, by `SO_MEMINFO` of
/// asm-generic/socket.h): its buffer was full, or they were damaged. What the kernel had joined is one packet; the number wraps.
///
/// # Errors
/// Of `getsockopt(2)`; before Linux 4.12 there is no such option.
pub fn socket_drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    const SO_MEMINFO: i32 = 55;
    let mut info = [0; 9];
    socket_words(socket.as_raw_fd(), libc::SOL_SOCKET, SO_MEMINFO, &mut info).map(|()| info[8])
}

/// Gives a socket room for `bytes` that wait to be read, past the system's limit for everybody (`SO_RCVBUFFORCE`, socket(7)).
///
/// # Errors
/// No `CAP_NET_ADMIN`.
pub fn receive_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    // The kernel doubles the value that it is given.
    let half = libc::c_int::try_from(bytes / 2).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    set_socket_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, half)
}

/// `TUNSETIFF` (linux/if_tun.h): makes the open `/dev/net/tun` a queue of device `name`, creating the device if it is missing.
pub fn tun_set_iff(tun: BorrowedFd<'_>, name: &IfName, flags: i16) -> io::Result<()> {
    let mut request = interface_request(name);
    request.ifr_ifru.ifru_flags = flags;
    // SAFETY: `tun` is open, and the kernel reads and writes one `ifreq`, which `request` is, for the length of the call.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as libc::Ioctl, &raw mut request) }).map(drop)
}

/// `TUNGETIFF`: flags of the device that `tun` is a queue of, `IFF_PERSIST` among them.
pub fn tun_flags(tun: BorrowedFd<'_>) -> io::Result<i16> {
    // SAFETY: all-zero bytes are a valid `ifreq`: arrays of integers and a union of plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // SAFETY: `tun` is open, and the kernel writes one `ifreq`, which `request` is, for the length of the call.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNGETIFF as libc::Ioctl, &raw mut request) })?;
    // SAFETY: the kernel has filled in the flags, and any bit pattern is an integer.
    Ok(unsafe { request.ifr_ifru.ifru_flags })
}

/// A request of a TAP with one number, of [`super::tap`]'s (drivers/net/tun.c, `__tun_chr_ioctl`, `set_offload`).
pub fn tun_set(tun: BorrowedFd<'_>, request: libc::Ioctl, number: u32) -> io::Result<()> {
    // SAFETY: `tun` is open; the argument is an integer, not a pointer.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), request, libc::c_ulong::from(number)) }).map(drop)
}

/// `TUNSETVNETHDRSZ`: size of the virtio header before each frame. Device-wide; outlives the queue.
pub fn tun_set_header_size(tun: BorrowedFd<'_>, size: i32) -> io::Result<()> {
    // SAFETY: `tun` is open, and the kernel reads one `int`, which `size` is, for the length of the call.
    check(unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETVNETHDRSZ as libc::Ioctl, &raw const size) }).map(drop)
}

/// An `ifreq` that names an interface and is zero otherwise.
fn interface_request(name: &IfName) -> libc::ifreq {
    // SAFETY: all-zero bytes are a valid `ifreq`: arrays of integers and a union of plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // An `IfName` has at most 15 bytes, so the last of the 16 stays zero.
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_str().bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    request
}

/// The name of an interface (`if_indextoname(3)`).
///
/// # Errors
/// There is no interface of this number.
pub fn interface_name(index: u32) -> io::Result<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: `name` has the room that the function asks for, and is valid and writable for the whole call.
    let done = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if done.is_null() {
        return Err(io::Error::last_os_error());
    }
    let bytes: Vec<u8> = name.iter().take_while(|byte| **byte != 0).map(|byte| byte.to_ne_bytes()[0]).collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Asks an interface a question whose answer is one number (`SIOCETHTOOL`, `struct ethtool_value` of linux/ethtool.h).
///
/// # Errors
/// There is no such interface, or it has no answer.
pub fn ethtool_value(socket: BorrowedFd<'_>, name: &IfName, question: u32) -> io::Result<u32> {
    let mut value = [question, 0];
    let mut request = interface_request(name);
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: `socket` is open; `request` names an interface and points to a question and room for its answer, two 32-bit
    // words, and both are valid and writable for the whole call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as libc::Ioctl, &raw mut request) })?;
    Ok(value[1])
}

/// Sets an option of a socket that is one `int`.
pub fn set_socket_option(socket: BorrowedFd<'_>, level: i32, option: i32, value: i32) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or_default();
    // SAFETY: `socket` is open, and the kernel reads `size` bytes of `value`, which outlives the call.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), size) }).map(drop)
}

/// What [`receive_message`] got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// Bytes of payload.
    pub len: usize,
    /// Bytes of control messages.
    pub control: usize,
    /// Who sent it.
    pub from: SocketAddr,
}

/// Receives one message with its control messages, without waiting (recvmsg(2)).
pub fn receive_message(socket: BorrowedFd<'_>, bytes: &mut [u8], control: &mut [u8]) -> io::Result<Message> {
    let mut slice = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all-zero bytes are a valid `msghdr`: null pointers with lengths of zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len() as _;
    // SAFETY: the name, the slice and the control buffer are writable for their stated lengths for the whole call, and the
    // kernel says in `length` how much of the name it has written.
    let (len, from) = unsafe {
        SockAddr::try_init(|name, length| {
            message.msg_name = name.cast();
            message.msg_namelen = *length;
            let len = libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT);
            *length = message.msg_namelen;
            usize::try_from(len).map_err(|_| io::Error::last_os_error())
        })
    }?;
    let from = from.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok(Message { len, control: (message.msg_controllen as usize).min(control.len()), from })
}

/// A non-blocking eventfd at zero, closed on exec.
pub fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; on success the descriptor is new and ours alone.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
    // SAFETY: `fd` has just been made and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An epoll instance, closed on exec.
pub fn epoll_create() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; on success the descriptor is new and ours alone.
    let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: `fd` has just been made and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reports `token` whenever `watched` is readable. Ends by itself when the last copy of `watched` is closed.
pub fn epoll_add(epoll: BorrowedFd<'_>, watched: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: token };
    let (epoll, watched) = (epoll.as_raw_fd(), watched.as_raw_fd());
    // SAFETY: both descriptors are open, and the kernel reads `event` during the call only.
    check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, watched, &raw mut event) }).map(drop)
}

/// No longer reports `watched`.
pub fn epoll_remove(epoll: BorrowedFd<'_>, watched: BorrowedFd<'_>) -> io::Result<()> {
    let (epoll, watched) = (epoll.as_raw_fd(), watched.as_raw_fd());
    // SAFETY: both descriptors are open; the event is ignored for this operation and may be null since Linux 2.6.9.
    check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, watched, std::ptr::null_mut()) }).map(drop)
}

/// Waits for events, at most `millis` (negative: for ever), and returns how many there are.
pub fn epoll_wait(epoll: BorrowedFd<'_>, events: &mut [libc::epoll_event], millis: i32) -> io::Result<usize> {
    let most = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `epoll` is open, and the kernel writes at most `most` events, for which `events` has room.
    let count = check(unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), most, millis) })?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// Binds the calling thread to one CPU.
pub fn pin_thread(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: all-zero bytes are an empty `cpu_set_t`.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` is below the number of bits of the set, checked above.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the kernel reads the size of `set` from `set`; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) }).map(drop)
}

/// A new inotify instance (inotify_init1(2)); reading blocks.
///
/// # Errors
/// Too many instances of this user.
pub fn inotify() -> io::Result<OwnedFd> {
    // SAFETY: takes an integer.
    let raw = check(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) })?;
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Watches a path (inotify_add_watch(2)); one that is watched already gets the new mask.
///
/// # Errors
/// There is no such path, or too many watches.
pub fn inotify_watch(inotify: &impl AsRawFd, path: &CStr, mask: u32) -> io::Result<()> {
    // SAFETY: the descriptor is open and the path is a NUL-terminated text for the whole call.
    check(unsafe { libc::inotify_add_watch(inotify.as_raw_fd(), path.as_ptr(), mask) }).map(drop)
}

/// From now on this process leaves no core dump (`PR_SET_DUMPABLE`, `RLIMIT_CORE`) and other processes of its user cannot look
/// into its memory or its environment.
///
/// # Errors
/// The system's; none is documented for these arguments.
pub fn no_core_dumps() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: takes integers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })?;
    // SAFETY: `none` is a valid rlimit for the whole call.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) }).map(drop)
}

/// From now on the calling thread, and what it starts, gains no right by starting a program (`PR_SET_NO_NEW_PRIVS`).
///
/// # Errors
/// The kernel is older than 3.5.
pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}

/// Lets the parent process trace this one (ptrace(2)): what no thread of ours may do.
#[cfg(test)]
pub fn trace_me() -> io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: with this request the kernel looks at no other argument.
    let code = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets the flags that say what user 0 means to capabilities (`PR_SET_SECUREBITS`, capabilities(7)) for the calling thread.
///
/// # Errors
/// `CAP_SETPCAP` is missing.
pub fn secure_bits(bits: i32) -> io::Result<()> {
    let bits = libc::c_ulong::from(bits.cast_unsigned());
    // SAFETY: takes integers only.
    check(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, bits, 0, 0, 0) }).map(drop)
}

/// Runs each later system call of the calling thread past a filter (seccomp(2)).
///
/// # Errors
/// The kernel has no filters, takes none from us, or, with `SECCOMP_FILTER_FLAG_TSYNC`, some thread has others.
pub fn seccomp(program: &[libc::sock_filter], flags: libc::c_ulong) -> io::Result<()> {
    let len = libc::c_ushort::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = libc::sock_fprog { len, filter: program.as_ptr().cast_mut() };
    // SAFETY: `program` points to `len` instructions, which the kernel copies during the call and does not change.
    let code = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    match code {
        0 => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        thread => Err(io::Error::other(format!("thread {thread} has other filters"))),
    }
}

/// Which version of Landlock the kernel speaks; none where it has it not, or not switched on.
///
/// # Errors
/// This process may not ask: a filter of system calls forbids it.
pub fn landlock_version() -> io::Result<Option<u32>> {
    /// `LANDLOCK_CREATE_RULESET_VERSION`
    const ASK: u32 = 1;
    // SAFETY: with this flag the kernel looks at no memory.
    let code = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u64>(), 0_usize, ASK) };
    match (u32::try_from(code), io::Error::last_os_error()) {
        (Ok(version), _) => Ok(Some(version).filter(|version| *version > 0)),
        (Err(_), error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP)) => Ok(None),
        (Err(_), error) => Err(error),
    }
}

/// An empty set of Landlock rules about these kinds of access: files, TCP, scopes (`struct landlock_ruleset_attr`).
///
/// # Errors
/// The kernel does not know one of them.
pub fn landlock_ruleset(handled: &[u64]) -> io::Result<OwnedFd> {
    let (start, size) = (handled.as_ptr(), size_of_val(handled));
    // SAFETY: `start` points to `size` bytes for the whole call, which the kernel only reads.
    let code = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, start, size, 0) };
    let raw = check(i32::try_from(code).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?)?;
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Allows access to what is at or below an open path (`LANDLOCK_RULE_PATH_BENEATH`).
///
/// # Errors
/// An access that the set is not about, or that a file cannot have.
pub fn landlock_allow(ruleset: BorrowedFd<'_>, place: BorrowedFd<'_>, access: u64) -> io::Result<()> {
    /// `struct landlock_path_beneath_attr`
    #[repr(C, packed)]
    struct Beneath {
        access: u64,
        place: i32,
    }
    let rule = Beneath { access, place: place.as_raw_fd() };
    let ruleset = ruleset.as_raw_fd();
    // SAFETY: both descriptors are open and `rule` is valid for the whole call; 1 is the kind of rule, 0 are the flags.
    let code = unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, 1, &raw const rule, 0) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Puts a set of rules in force for the calling thread and what it starts.
///
/// # Errors
/// It may gain rights by starting a program ([`no_new_privileges`]).
pub fn landlock_restrict(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open; 0 are the flags.
    let code = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// True where the kernel knows the capability of this number (prctl(2), `PR_CAPBSET_READ`).
pub fn capability_is_known(number: u8) -> bool {
    let number = libc::c_ulong::from(number);
    // SAFETY: takes and returns integers only.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) >= 0 }
}

/// Takes a capability out of the calling thread's bounding set (`PR_CAPBSET_DROP`).
///
/// # Errors
/// `CAP_SETPCAP` is missing.
pub fn capability_unbound(number: u8) -> io::Result<()> {
    let number = libc::c_ulong::from(number);
    // SAFETY: takes integers only.
    check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) }).map(drop)
}

/// Makes `set` the effective, permitted and inheritable capabilities of the calling thread (capset(2), version 3).
///
/// # Errors
/// `set` has a capability that the thread does not have.
pub fn capabilities_set(set: u64) -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3` and the calling thread.
    const HEADER: [u32; 2] = [0x2008_0522, 0];
    let [low, high] = [set & 0xffff_ffff, set >> 32].map(|half| u32::try_from(half).unwrap_or(0));
    let data = [[low; 3], [high; 3]];
    // SAFETY: the header is two and the data twice three 32-bit words, as `struct __user_cap_header_struct` and
    // `__user_cap_data_struct[2]` are; the kernel only reads them.
    let code = unsafe { libc::syscall(libc::SYS_capset, HEADER.as_ptr(), data.as_ptr()) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Empties the ambient set of the calling thread.
///
/// # Errors
/// The kernel is older than 4.3.
pub fn ambient_clear() -> io::Result<()> {
    let what = libc::PR_CAP_AMBIENT_CLEAR_ALL;
    // SAFETY: takes integers only.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::c_ulong::from(what.cast_unsigned()), 0, 0, 0) }).map(drop)
}

/// Hands a capability on to programs that the calling thread starts.
///
/// # Errors
/// It is not permitted and inheritable.
pub fn ambient_raise(number: u8) -> io::Result<()> {
    let what = libc::c_ulong::from(libc::PR_CAP_AMBIENT_RAISE.cast_unsigned());
    // SAFETY: takes integers only.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, what, libc::c_ulong::from(number), 0, 0) }).map(drop)
}

/// bpf(2) with `attr` as `union bpf_attr`.
///
/// # Safety
/// Addresses in `attr` are of memory that is as long as the command says, and writable where the command writes.
unsafe fn bpf(command: u32, attr: &mut [u64; 16]) -> io::Result<i32> {
    // SAFETY: `attr` is valid and writable and of the length that is told; what it points to, the caller answers for.
    let code = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    if code < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(code).unwrap_or_default()) }
}

/// Two 32-bit fields of `union bpf_attr` that follow each other.
const fn two(first: u32, second: u32) -> u64 {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

/// A table of the kernel from 32-bit numbers to 64-bit ones (`BPF_MAP_TYPE_HASH`).
#[derive(Debug)]
pub struct BpfTable(OwnedFd);

impl BpfTable {
    /// A new one (`BPF_MAP_CREATE`).
    ///
    /// # Errors
    /// The kernel has no BPF, or `CAP_BPF` is missing.
    pub fn new(entries: u32) -> io::Result<Self> {
        let mut attr = [0; 16];
        attr[..2].copy_from_slice(&[two(1, 4), two(8, entries)]);
        // SAFETY: no address is among the fields.
        let raw = unsafe { bpf(0, &mut attr) }?;
        // SAFETY: the kernel has just given us this descriptor and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(raw) }))
    }

    /// What it has for a number (`BPF_MAP_LOOKUP_ELEM`).
    ///
    /// # Errors
    /// Nothing.
    pub fn get(&self, key: u32) -> io::Result<u64> {
        let mut value = 0_u64;
        let mut attr = [0; 16];
        let table = two(self.0.as_raw_fd().cast_unsigned(), 0);
        attr[..3].copy_from_slice(&[table, (&raw const key) as u64, (&raw mut value) as u64]);
        // SAFETY: `new` made the table: the kernel reads four bytes from `key` and writes eight to `value`.
        unsafe { bpf(1, &mut attr) }.map(|_| value)
    }
}

impl AsRawFd for BpfTable {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Loads a program for the way into an interface (`BPF_PROG_LOAD`, `BPF_PROG_TYPE_SCHED_CLS`, `BPF_TCX_INGRESS`), eight bytes an instruction.
///
/// # Errors
/// The kernel cannot or may not run it; `CAP_BPF`, `CAP_PERFMON` or `CAP_NET_ADMIN` is missing.
pub fn bpf_program(code: &[u64], license: &CStr, name: [u8; 16], ingress: u32) -> io::Result<OwnedFd> {
    let count = u32::try_from(code.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut attr = [0; 16];
    // Type and length, instructions, license; no log, any kernel.
    attr[..3].copy_from_slice(&[two(3, count), code.as_ptr() as u64, license.as_ptr() as u64]);
    let [low, high] =
        [0, 8].map(|at| u64::from_ne_bytes(std::array::from_fn(|i| if at + i < 15 { name[at + i] } else { 0 })));
    attr[6..9].copy_from_slice(&[low, high, two(0, ingress)]);
    // SAFETY: `code` is `count` instructions long and `license` ends with a zero; the kernel only reads both, during the call.
    let raw = unsafe { bpf(5, &mut attr) }?;
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Takes a program to a place (`BPF_PROG_ATTACH`), or from there (`BPF_PROG_DETACH`): interface, descriptor, kind of place, flags, what to
/// replace, what the place is relative to, each 32 bits, and how often it was changed.
///
/// # Errors
/// The kernel's.
pub fn bpf_move(attach: bool, [a, b, c, d, e, f]: [u32; 6], revision: u64) -> io::Result<()> {
    let mut attr = [0; 16];
    attr[..4].copy_from_slice(&[two(a, b), two(c, d), two(e, f), revision]);
    // SAFETY: the fields of these two commands are numbers and descriptors.
    unsafe { bpf(if attach { 8 } else { 9 }, &mut attr) }.map(drop)
}

/// Numbers of the programs at a place of an interface, in their order, and how often they were changed (`BPF_PROG_QUERY`).
///
/// # Errors
/// There is no such interface or place, or there are more programs than `numbers` has room for.
pub fn bpf_programs(interface: u32, place: u32, numbers: &mut [u32]) -> io::Result<(usize, u64)> {
    let room = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    let mut attr = [0; 16];
    attr[..4].copy_from_slice(&[two(interface, place), 0, numbers.as_mut_ptr() as u64, two(room, 0)]);
    // SAFETY: the kernel writes at most `room` numbers to `numbers`, which has as many and lives for the whole call.
    unsafe { bpf(16, &mut attr) }?;
    let [a, b, c, d, ..] = attr[3].to_ne_bytes();
    Ok((usize::try_from(u32::from_ne_bytes([a, b, c, d])).unwrap_or_default().min(numbers.len()), attr[7]))
}

/// Switches the echo of a terminal (tcsetattr(3)); returns whether it was on.
///
/// # Errors
/// It is no terminal.
pub fn terminal_echo(terminal: &impl AsRawFd, on: bool) -> io::Result<bool> {
    // SAFETY: all zeros is a valid termios.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open and `settings` is valid and writable for the whole call.
    check(unsafe { libc::tcgetattr(terminal.as_raw_fd(), &raw mut settings) })?;
    let was = settings.c_lflag & libc::ECHO != 0;
    if on {
        settings.c_lflag |= libc::ECHO;
    } else {
        settings.c_lflag &= !libc::ECHO;
    }
    // SAFETY: the descriptor is open and `settings` is a termios that tcgetattr has filled.
    check(unsafe { libc::tcsetattr(terminal.as_raw_fd(), libc::TCSAFLUSH, &raw const settings) })?;
    Ok(was)
}
