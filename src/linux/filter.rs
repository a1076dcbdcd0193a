//! Filters of system calls: a list of rules, and the program of the kernel's packet filter language that it becomes
//! (Documentation/userspace-api/seccomp_filter.rst). Nothing here changes anything; [`super::confine`] does.

/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// It is done.
    Allow,
    /// It fails with this error.
    Fail(i32),
    /// The process ends by `SIGSYS`.
    Kill,
}

/// When a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Always.
    Always,
    /// Where the low half of an argument, masked, is this.
    Argument {
        /// Which, from 0.
        index: u8,
        /// Bits that count.
        mask: u32,
        /// What they must be.
        value: u32,
    },
}

/// A call, when, and what becomes of it. The first rule that holds decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    /// Number of the call on this architecture (`SYS_*`).
    pub(super) call: libc::c_long,
    /// When it holds.
    pub(super) when: When,
    /// What the kernel does then.
    pub(super) action: Action,
}

/// `AUDIT_ARCH_*` of linux/audit.h: none where nobody has looked yet, and then there is no filter.
const ARCHITECTURE: Option<u32> = if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};

/// Numbers from here on are the 32-bit calls of x86-64 (`__X32_SYSCALL_BIT`).
const X32: u32 = 0x4000_0000;

/// `BPF_LD | BPF_W | BPF_ABS`: a word of `struct seccomp_data`.
const LOAD: u16 = 0x20;
/// `BPF_ALU | BPF_AND | BPF_K`
const AND: u16 = 0x54;
/// `BPF_JMP | BPF_JEQ | BPF_K`
const EQUAL: u16 = 0x15;
/// `BPF_JMP | BPF_JGE | BPF_K`
const AT_LEAST: u16 = 0x35;
/// `BPF_RET | BPF_K`
const RETURN: u16 = 0x06;

/// Offset of the number of the call in `struct seccomp_data`.
const NUMBER: u32 = 0;
/// Offset of the architecture.
const MACHINE: u32 = 4;
/// Offset of the arguments, eight bytes each. Every architecture above is little-endian: the low half comes first.
const ARGUMENTS: u32 = 16;

impl Action {
    const fn value(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Fail(error) => libc::SECCOMP_RET_ERRNO | (error.cast_unsigned() & libc::SECCOMP_RET_DATA),
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

const fn step(code: u16, on_true: u8, on_false: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: on_true, jf: on_false, k }
}

/// The program: what no rule decides gets `otherwise`, what is a call of another architecture is killed. None on an
/// architecture that is not known here.
pub(super) fn program(rules: &[Rule], otherwise: Action) -> Option<Vec<libc::sock_filter>> {
    let kill = step(RETURN, 0, 0, Action::Kill.value());
    let mut steps = vec![step(LOAD, 0, 0, MACHINE), step(EQUAL, 1, 0, ARCHITECTURE?), kill];
    steps.extend([step(LOAD, 0, 0, NUMBER), step(AT_LEAST, 0, 1, X32), kill]);
    for Rule { call, when, action } in rules {
        // A number that does not fit is no call of this kernel.
        let Ok(number) = u32::try_from(*call) else { continue };
        let answer = step(RETURN, 0, 0, action.value());
        match *when {
            When::Always => steps.extend([step(EQUAL, 0, 1, number), answer]),
            When::Argument { index, mask, value } => steps.extend([
                step(EQUAL, 0, 5, number),
                step(LOAD, 0, 0, ARGUMENTS + 8 * u32::from(index)),
                step(AND, 0, 0, mask),
                step(EQUAL, 0, 1, value),
                answer,
                step(LOAD, 0, 0, NUMBER),
            ]),
        }
    }
    steps.push(step(RETURN, 0, 0, otherwise.value()));
    Some(steps)
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
