//! How long daemons were ready to run and had no CPU: what a busy machine takes from them, as the kernel counts it, and no more. A bar is
//! a promise for a machine that lets its daemons run.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::labs::Lab;

/// Machines that a word passes on its way: two nodes and the management node.
const WAY: usize = 3;

/// Waits of every thread of every daemon of a lab.
#[derive(Debug, Default)]
pub struct Waits(BTreeMap<(String, u32, String), Duration>);

impl Waits {
    /// Until now: the second number of `/proc/PID/task/TID/schedstat` (Documentation/scheduler/sched-stats.rst).
    pub fn read(lab: &Lab) -> Self {
        let mut waits = BTreeMap::new();
        let nodes = lab.layout().nodes.into_iter().map(|node| node.name);
        for machine in nodes.chain(["mgmt".to_owned()]) {
            let Some(process) = lab.home.running(&machine) else { continue };
            // Threads may be gone by now, and so may the daemon.
            for task in fs::read_dir(format!("/proc/{}/task", process.pid)).into_iter().flatten().flatten() {
                let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                let wait = text.split_ascii_whitespace().nth(1).and_then(|number| number.parse().ok());
                let key = (machine.clone(), process.pid, task.file_name().to_string_lossy().into_owned());
                waits.insert(key, Duration::from_nanos(wait.unwrap_or_default()));
            }
        }
        Self(waits)
    }

    /// How long the daemons that waited most have waited since `before`, one after the other; of each the thread that waited most.
    pub fn since(&self, before: &Self) -> Duration {
        let mut by_machine: BTreeMap<&str, Duration> = BTreeMap::new();
        for (key, wait) in &self.0 {
            let wait = wait.saturating_sub(before.0.get(key).copied().unwrap_or_default());
            let most = by_machine.entry(&key.0).or_default();
            *most = wait.max(*most);
        }
        let mut waits: Vec<Duration> = by_machine.into_values().collect();
        waits.sort_unstable();
        waits.into_iter().rev().take(WAY).sum()
    }
}

#[test]
fn only_the_thread_that_waited_most_counts_and_only_of_those_that_a_word_passes() {
    let of = |waits: &[(&str, &str, u64)]| {
        let one = |(machine, thread, wait): &(&str, &str, u64)| {
            (((*machine).to_owned(), 1, (*thread).to_owned()), Duration::from_secs(*wait))
        };
        Waits(waits.iter().map(one).collect())
    };
    let before = of(&[("a-1", "1", 5), ("a-2", "1", 7)]);
    let now =
        of(&[("a-1", "1", 6), ("a-1", "2", 3), ("a-2", "1", 7), ("b-1", "1", 2), ("b-2", "1", 1), ("mgmt", "1", 4)]);
    assert_eq!(now.since(&before), Duration::from_secs(3 + 2 + 4));
    assert_eq!(now.since(&now), Duration::ZERO);
}
