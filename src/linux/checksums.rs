//! The check of guests' checksums (`checksum`) in the kernel. The program is loaded once, before the daemon gives up the rights for that; from
//! then on its descriptor is enough to put it at interfaces. It stays there without us, ahead of programs of others, until the
//! interface goes or a process of ours takes it away, which knows it by its number.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

use super::btf::Types;
use super::checksum::{self, Places};
use super::observe::Names;
use super::{file, sys};
use crate::node::checksums as node;
use crate::node::desired::Observed;
use crate::node::fence::Refused;
use crate::node::fence_text::CHECKSUM;
use crate::node::names;
use crate::types::IfName;

/// File in the folder of what runs: the machine's start, and the numbers of programs of ours since then.
pub const NUMBERS: &str = "checksum-programs";
/// Programs of earlier processes that are remembered; each process takes away what it finds of them.
const REMEMBERED: usize = 16;
/// The kernel's description of itself.
const BTF: &str = "/sys/kernel/btf/vmlinux";
/// More than any description is long, bytes.
const BTF_MOST: u64 = 64 << 20;
/// Interfaces that drops are counted of.
const COUNTED: u32 = 4096;
/// `BPF_TCX_INGRESS` (`enum bpf_attach_type`, linux/bpf.h; Linux 6.6).
const INGRESS: u32 = 46;
/// `BPF_F_BEFORE`, `BPF_F_AFTER`, `BPF_F_ID`: ahead of all, or behind what has a number.
const BEFORE: u32 = 1 << 3;
const BEHIND: u32 = 1 << 4 | 1 << 5;
/// `BPF_MPROG_MAX`: programs at one place.
const MOST: usize = 64;
/// The first interface of every network namespace.
const LOOPBACK: u32 = 1;

/// The program in the kernel, at no interface yet.
#[derive(Debug)]
pub struct Program {
    descriptor: OwnedFd,
    number: u32,
    counts: sys::BpfTable,
}

/// The program at the interfaces of one network namespace.
#[derive(Debug, Default)]
pub struct Checks {
    /// None: nobody asked for it.
    program: Option<Result<Program, String>>,
    /// Programs of earlier processes.
    left: BTreeSet<u32>,
    /// None of them is anywhere any more.
    swept: bool,
    /// Where this process has put its own.
    held: BTreeMap<IfName, u32>,
    /// What was last told of each.
    told: BTreeMap<IfName, u64>,
}

impl Program {
    /// Loads it. Needs `CAP_BPF`, `CAP_PERFMON` and `CAP_NET_ADMIN`, and bpf(2).
    ///
    /// # Errors
    /// Why this kernel, or this process, cannot.
    pub fn load() -> Result<Self, String> {
        let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        let mut bytes = Vec::new();
        let described = File::open(BTF).and_then(|file| file.take(BTF_MOST).read_to_end(&mut bytes));
        described.map_err(failed(BTF))?;
        let places = Types::read(&bytes).and_then(|types| Places::find(&types));
        let places = places.ok_or("the kernel does not describe what the program reads (Linux 6.2)")?;
        let counts = sys::BpfTable::new(COUNTED).map_err(failed("making a table of the kernel (CAP_BPF)"))?;
        let code = checksum::program(&places, counts.as_raw_fd()).ok_or("the program cannot be written")?;
        let code: Vec<u64> = code.into_iter().map(super::asm::Step::bytes).collect();
        let mut name = [0; 16];
        name.iter_mut().zip(node::PROGRAM.bytes()).for_each(|(to, from)| *to = from);
        let descriptor = sys::bpf_program(&code, c"Dual MIT/GPL", name, INGRESS);
        let descriptor = descriptor.map_err(failed("loading the program (CAP_BPF, CAP_PERFMON)"))?;
        let number = number(&descriptor).map_err(failed("asking for the program's number"))?;
        programs(LOOPBACK).map_err(failed("asking for programs at an interface (Linux 6.6)"))?;
        Ok(Self { descriptor, number, counts })
    }

    /// Its number in the kernel.
    pub const fn number(&self) -> u32 {
        self.number
    }
}

impl Checks {
    /// With a program, or why there is none; `left` are those of earlier processes.
    pub fn new(program: Result<Program, String>, left: BTreeSet<u32>) -> Self {
        Self { program: Some(program), left, ..Self::default() }
    }

    /// Only takes away what earlier processes have left.
    pub fn end(left: BTreeSet<u32>) -> Self {
        Self { left, ..Self::default() }
    }

    fn program(&self) -> Option<&Program> {
        self.program.as_ref().and_then(|program| program.as_ref().ok())
    }

    /// Programs at the interfaces of guests, and wherever this process or an earlier one has put one.
    pub(super) fn observe(&mut self, observed: &Observed, names: &Names) -> node::Checks {
        let mut checks = node::Checks::default();
        let own = self.program().map(|program| program.number);
        checks.able = own.is_some();
        checks.why = self.program.as_ref().and_then(|program| program.as_ref().err()).cloned();
        let guests: BTreeSet<&IfName> =
            node::guests(observed, |bridge| names::parse(bridge.as_str()).is_some()).collect();
        self.held.retain(|name, index| names.get(index) == Some(name));
        if own.is_some() || !self.left.is_empty() {
            self.look(&guests, names, &mut checks);
        }
        checks
    }

    /// Looks where the programs are.
    fn look(&mut self, guests: &BTreeSet<&IfName>, names: &Names, checks: &mut node::Checks) {
        let own = self.program().map(|program| program.number);
        let everywhere = !self.swept && !self.left.is_empty();
        let mut old = false;
        for (index, name) in names {
            let held = self.held.contains_key(name);
            if !(everywhere || held || guests.contains(name)) {
                continue;
            }
            // One that went meanwhile has none.
            let Ok((numbers, _)) = programs(*index) else { continue };
            let right = numbers.iter().any(|number| Some(*number) == own);
            let wrong = numbers.iter().any(|number| self.left.contains(number));
            old |= wrong;
            if right || wrong {
                checks.some.insert(name.clone());
            }
            if right && !wrong {
                checks.right.insert(name.clone());
            }
            if held && !right {
                checks.lost.insert(name.clone());
            }
        }
        self.swept = !old;
    }

    /// Puts the program at an interface, ahead of all others, and takes those of earlier processes away.
    pub(super) fn check(&mut self, name: &IfName, index: u32) -> io::Result<()> {
        let Some(program) = self.program() else { return Ok(()) };
        let (own, descriptor) = (program.number, program.descriptor.as_raw_fd().cast_unsigned());
        let put = programs(index).and_then(|(numbers, _)| {
            if numbers.contains(&own) {
                return Ok(());
            }
            sys::bpf_move(true, [index, descriptor, INGRESS, BEFORE, 0, 0], 0)
        });
        let put = put.and_then(|()| take_away(index, |number| self.left.contains(&number)));
        if gone(&put) {
            return Ok(());
        }
        put?;
        self.held.insert(name.clone(), index);
        Ok(())
    }

    /// Takes all programs of ours away from an interface.
    pub(super) fn leave(&mut self, name: &IfName, index: u32) -> io::Result<()> {
        let own = self.program().map(|program| program.number);
        let taken = take_away(index, |number| Some(number) == own || self.left.contains(&number));
        self.held.remove(name);
        if gone(&taken) { Ok(()) } else { taken }
    }

    /// Frames that were dropped; none where nothing is checked.
    pub(super) fn count(&self) -> Option<u64> {
        self.program().map(|program| program.counts.get(0).unwrap_or_default())
    }

    /// Of which interfaces more were dropped since this was last asked.
    pub(super) fn refused(&mut self) -> Vec<Refused> {
        let Some(Ok(program)) = &self.program else { return Vec::new() };
        let counts =
            self.held.iter().filter_map(|(name, index)| Some((name.clone(), program.counts.get(*index).ok()?)));
        let counts: BTreeMap<IfName, u64> = counts.collect();
        let moved = counts.iter().filter(|(name, frames)| self.told.get(*name) != Some(frames));
        let refused = |(name, frames): (&IfName, &u64)| Refused {
            interface: name.clone(),
            mac: None,
            reason: CHECKSUM.0,
            frames: *frames,
        };
        let refused = moved.map(refused).collect();
        self.told = counts;
        refused
    }
}

/// Numbers of programs that earlier processes have loaded since the machine's start; `own` is added. What is of an earlier start, or cannot
/// be read, is forgotten: numbers begin anew with the machine, and another's program may have one of ours then.
///
/// # Errors
/// The file cannot be written: a later process will not find this one's program, and leaves it where it is.
pub fn remember(run: &Path, own: Option<u32>) -> (BTreeSet<u32>, io::Result<()>) {
    let start = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let start = start.trim();
    let path = run.join(NUMBERS);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let mut lines = text.lines();
    let same = !start.is_empty() && lines.next() == Some(start);
    let known: Vec<u32> = lines.filter(|_| same).filter_map(|line| line.parse().ok()).take(REMEMBERED).collect();
    let left = known.iter().copied().collect();
    let Some(own) = own else { return (left, Ok(())) };
    // The newest first.
    let numbers = [own].into_iter().chain(known).take(REMEMBERED).map(|number| format!("{number}\n"));
    let text = format!("{start}\n{}", numbers.collect::<String>());
    (left, file::write(&path, text.as_bytes(), 0o600))
}

/// Programs at the way into an interface, in their order, and how often they were changed.
fn programs(index: u32) -> io::Result<(Vec<u32>, u64)> {
    let mut numbers = [0; MOST];
    let (count, revision) = sys::bpf_programs(index, INGRESS, &mut numbers)?;
    Ok((numbers.into_iter().take(count).collect(), revision))
}

/// Takes programs away by their number. Without a descriptor the kernel does so by place, which holds as long as nothing was changed.
fn take_away(index: u32, which: impl Fn(u32) -> bool) -> io::Result<()> {
    let mut refused = None;
    for _ in 0..2 * MOST {
        let (numbers, revision) = programs(index)?;
        let Some(at) = numbers.iter().position(|number| which(*number)) else { return Ok(()) };
        let (flags, behind) = at.checked_sub(1).map_or((BEFORE, 0), |before| (BEHIND, numbers[before]));
        match sys::bpf_move(false, [index, 0, INGRESS, flags, 0, behind], revision) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::ErrorKind::TimedOut.into()))
}

/// True where there is no such interface any more.
fn gone(result: &io::Result<()>) -> bool {
    result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENODEV))
}

/// proc(5), fdinfo: the kernel's number of a program; none is used twice before the machine starts again.
fn number(program: &OwnedFd) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_fd().as_raw_fd()))?;
    let number = text.lines().find_map(|line| line.strip_prefix("prog_id:")).and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
#[path = "checksums_tests.rs"]
mod tests;
