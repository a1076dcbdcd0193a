//! Which system calls a thread may make: lists, and why. `libc` has the number of each for every architecture; calls that only
//! the older architectures have stand apart.

use libc::c_long;

use super::filter::{Action, Rule, When};

/// What the engine does with what was loaded before the first filter (`enum bpf_cmd`, linux/bpf.h): `BPF_MAP_LOOKUP_ELEM`,
/// `BPF_PROG_ATTACH`, `BPF_PROG_DETACH`, `BPF_PROG_QUERY`. Nothing is loaded any more, and no table made.
const LOADED: [u32; 4] = [1, 8, 9, 16];

/// Nobody needs these here, and no library makes them by itself: whoever does is not us.
pub(super) const NEVER: &[c_long] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_open_by_handle_at,
];

/// Nobody needs these either, but a library may ask and live with a no.
pub(super) const REFUSED: &[c_long] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_personality,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_quotactl,
];

/// Starting a program.
pub(super) const PROGRAMS: &[c_long] = &[libc::SYS_execve, libc::SYS_execveat];

/// What every thread does: memory, locks, time, its own end, and descriptors that are open.
const THREAD: &[c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_getcpu,
    libc::SYS_getcwd,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_ppoll,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_sigaltstack,
    libc::SYS_statx,
    libc::SYS_tgkill,
    libc::SYS_write,
    libc::SYS_writev,
];

/// The same where the architecture still has the older forms.
#[cfg(target_arch = "x86_64")]
const THREAD_OLD: &[c_long] =
    &[libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_readlink, libc::SYS_time, libc::SYS_access];
#[cfg(not(target_arch = "x86_64"))]
const THREAD_OLD: &[c_long] = &[];

/// Many datagrams at once.
const LANE: &[c_long] = &[libc::SYS_recvmmsg, libc::SYS_sendmmsg];

/// What a lane asks of a TAP (linux/if_tun.h): `TUNSETIFF`, `TUNGETIFF`, `TUNSETOFFLOAD`, `TUNSETVNETHDRSZ`.
const TAP: [u32; 4] = [0x4004_54ca, 0x8004_54d2, 0x4004_54d0, 0x4004_54d8];

/// Connections that come, threads, and files: what tokio and the store ask for. No socket is made and none connected.
const MANAGER: &[c_long] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_faccessat,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpeername,
    libc::SYS_getrusage,
    libc::SYS_getuid,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_prlimit64,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sendfile,
    libc::SYS_shutdown,
    libc::SYS_socketpair,
    libc::SYS_statfs,
    libc::SYS_sync_file_range,
    libc::SYS_sysinfo,
    libc::SYS_umask,
    libc::SYS_uname,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
];

/// The same where the architecture still has the older forms.
#[cfg(target_arch = "x86_64")]
const MANAGER_OLD: &[c_long] = &[
    libc::SYS_chmod,
    libc::SYS_link,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_stat,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const MANAGER_OLD: &[c_long] = &[];

/// `FIONBIO`, `FIOCLEX`, `FIONREAD` (asm-generic/ioctls.h): about descriptors, whatever they are.
const DESCRIPTOR: [u32; 3] = [0x5421, 0x5451, 0x541b];

/// `PR_SET_NAME` of a thread, and `PR_SET_VMA`, by which glibc names its memory.
const NAMES: [u32; 2] = [15, 0x5356_4d41];

/// `PROT_EXEC` (asm-generic/mman-common.h): memory to run is made by nobody after the start.
const EXECUTABLE: u32 = 4;
/// `CLONE_THREAD` (linux/sched.h).
const NEW_THREAD: u32 = 0x0001_0000;

fn all(calls: &[c_long], action: Action) -> impl Iterator<Item = Rule> {
    calls.iter().map(move |call| Rule { call: *call, when: When::Always, action })
}

/// Allows a call where an argument is one of these.
fn with(call: c_long, index: u8, values: &[u32]) -> impl Iterator<Item = Rule> {
    values.iter().map(move |value| {
        let when = When::Argument { index, mask: u32::MAX, value: *value };
        Rule { call, when, action: Action::Allow }
    })
}

/// What every thread does, with the calls that depend on an argument.
fn thread() -> impl Iterator<Item = Rule> {
    let data = |call| {
        let when = When::Argument { index: 2, mask: EXECUTABLE, value: 0 };
        Rule { call, when, action: Action::Allow }
    };
    all(THREAD, Action::Allow)
        .chain(all(THREAD_OLD, Action::Allow))
        .chain([data(libc::SYS_mmap), data(libc::SYS_mprotect)])
        .chain(with(libc::SYS_prctl, 0, &NAMES))
}

/// What nobody needs, for threads that may do everything else.
pub(super) fn needless() -> Vec<Rule> {
    with(libc::SYS_bpf, 0, &LOADED).chain(refused()).collect()
}

/// As [`needless`], and no programs, in the kernel neither.
pub(super) fn no_programs() -> Vec<Rule> {
    all(PROGRAMS, Action::Kill).chain(refused()).collect()
}

fn refused() -> impl Iterator<Item = Rule> {
    all(NEVER, Action::Kill).chain(all(REFUSED, Action::Fail(libc::EPERM)))
}

/// All that a lane may.
pub(super) fn lane() -> Vec<Rule> {
    let allowed = thread().chain(all(LANE, Action::Allow)).chain(with(libc::SYS_ioctl, 1, &TAP));
    allowed.chain(all(PROGRAMS, Action::Kill)).chain(all(NEVER, Action::Kill)).collect()
}

/// All that the management server may once it listens.
pub(super) fn manager() -> Vec<Rule> {
    let a_thread = When::Argument { index: 0, mask: NEW_THREAD, value: NEW_THREAD };
    let threads = [
        Rule { call: libc::SYS_clone, when: a_thread, action: Action::Allow },
        // Its flags are in memory, where no filter can see them. libc takes the other call then.
        Rule { call: libc::SYS_clone3, when: When::Always, action: Action::Fail(libc::ENOSYS) },
        // The last words to systemd need a connection; it gets none and lives with it.
        Rule { call: libc::SYS_connect, when: When::Always, action: Action::Fail(libc::EPERM) },
    ];
    let files = all(MANAGER, Action::Allow).chain(all(MANAGER_OLD, Action::Allow));
    let allowed = thread().chain(files).chain(with(libc::SYS_ioctl, 1, &DESCRIPTOR)).chain(threads);
    allowed.chain(all(PROGRAMS, Action::Kill)).chain(all(NEVER, Action::Kill)).collect()
}
