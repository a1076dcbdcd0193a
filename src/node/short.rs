//! A daemon that can open no file and no socket: it cannot look at the kernel, nor start `nft`. What it cannot look at stays as it was, and that
//! is not called wrong; the one cause is told in its place.

use crate::api::cut::Cut;
use crate::api::local::Finding;

/// Code of a daemon that can open nothing.
pub const SHORT: &str = "M0720";

/// What there is none of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// The limit of open files of the process is reached (EMFILE).
    Process,
    /// That of the machine is (ENFILE).
    Machine,
    /// The kernel has no memory for it (ENOMEM).
    Memory,
}

/// What is said of it. `pid` is the daemon's.
pub fn finding(shortage: Shortage, pid: u32) -> Finding {
    let why = match shortage {
        Shortage::Process => "the limit of open files of this process is reached",
        Shortage::Machine => "the limit of open files of this machine is reached",
        Shortage::Memory => "the kernel has no memory left for it",
    };
    let what = format!(
        "meshd can open no file and no socket: {why}; devices, paths and guests' frames go on as they were, no change is followed, and what \
         is wrong with them is not seen"
    );
    let help = match shortage {
        Shortage::Process => {
            format!(
                "prlimit --pid {pid} --nofile; ls /proc/{pid}/fd | wc -l; more: prlimit --pid {pid} --nofile=524288"
            )
        }
        Shortage::Machine => "cat /proc/sys/fs/file-nr; more: sysctl -w fs.file-max=1000000".to_owned(),
        Shortage::Memory => "free -m; dmesg | tail".to_owned(),
    };
    Finding::new(SHORT, what, help).cuts(Cut::node(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shortage_has_its_own_cause_and_command() {
        let all = [Shortage::Process, Shortage::Machine, Shortage::Memory].map(|shortage| finding(shortage, 4711));
        crate::node::concerns::tests::codes::as_decided(&all);
        assert!(all[0].help.contains("prlimit --pid 4711"), "{:?}", all[0]);
        assert!(all[1].help.contains("fs.file-max") && all[2].what.contains("memory"), "{all:?}");
        assert!(all.iter().all(|one| one.cut == Some(Cut::node(false))));
    }
}
