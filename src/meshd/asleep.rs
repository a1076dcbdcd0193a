//! Whether a thread waits in the kernel for what does not come, such as a disk that hangs: it is in one sleep that no signal ends, and has not
//! run since. A thread that lacks the processor is ready to run, and one that waits often, however long in all, runs in between: a machine that
//! is busy is told nothing of.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::types::Mono;

/// How long one sleep is seen to last before it is told: a disk that is only slow wakes a thread for each of its answers.
const LASTS: Duration = Duration::from_secs(8);

/// What the kernel tells of the thread itself, which is open before something hangs.
#[derive(Debug)]
struct Told {
    status: File,
    /// What it waits in.
    place: Option<File>,
}

/// A thread that is looked at by another.
#[derive(Debug, Default)]
pub(super) struct Asleep {
    told: OnceLock<Told>,
    /// How often it had left a processor when it was first seen in the sleep that it is in, and when that was.
    sleep: Mutex<Option<(u64, Mono)>>,
}

impl Asleep {
    /// The calling thread is the one. Where the kernel does not tell of it, nothing is known, and said.
    pub(super) fn is_me(&self) {
        let place = File::open("/proc/thread-self/wchan").ok();
        if let Ok(status) = File::open("/proc/thread-self/status") {
            drop(self.told.set(Told { status, place }));
        }
    }

    /// Why it does not go on, where it is in one such sleep for long.
    pub(super) fn waits(&self, now: Mono) -> Option<String> {
        let told = self.told.get()?;
        let lasts = self.lasts(&read(&told.status).ok()?, now);
        lasts.then(|| waits_in(told.place.as_ref().and_then(|place| read(place).ok()).as_deref()))
    }

    /// True where what the kernel tells of it now (proc_pid_status(5)) is of a sleep that has lasted for long.
    fn lasts(&self, status: &str, now: Mono) -> bool {
        let mut sleep = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |left| sleep.filter(|(before, _)| *before == left).map_or(now, |(_, since)| since);
        *sleep = sleeps(status).map(|left| (left, since(left)));
        sleep.is_some_and(|(_, since)| now.since(since) >= LASTS)
    }
}

/// How often a thread has left a processor that is in a sleep which no signal ends; none: it is in none.
fn sleeps(status: &str) -> Option<u64> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let number = |name: &str| field(name)?.parse::<u64>().ok();
    let left = number("voluntary_ctxt_switches:")?.checked_add(number("nonvoluntary_ctxt_switches:")?)?;
    field("State:")?.starts_with('D').then_some(left)
}

/// In words; `place`: the kernel's name for where it waits, where it tells.
fn waits_in(place: Option<&str>) -> String {
    let name = place.map(str::trim).filter(|place| !matches!(*place, "" | "0"));
    let name = name.map(|name| format!(" (in {name})")).unwrap_or_default();
    format!("the engine of meshd waits in the kernel{name}, most likely for a disk or file system that does not answer")
}

fn read(mut file: &File) -> io::Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
#[path = "asleep_tests.rs"]
mod tests;
