//! What the kernel counts of devices of the calling thread's network namespace (`/proc/net/dev`; net/core/net-procfs.c).

use std::collections::BTreeSet;
use std::fs;
use std::io;

/// Where the frames stand that a device dropped on their way out: behind eight numbers of what it received, bytes, packets and errors.
const TX_DROPPED: usize = 11;

/// Frames that these devices have dropped on their way out since they were made, all together. Of a TAP: what its queue had no room for
/// (`tun_net_xmit`, drivers/net/tun.c).
///
/// # Errors
/// There is no `/proc`.
pub fn tx_dropped(names: &BTreeSet<&str>) -> io::Result<u64> {
    Ok(dropped(&fs::read_to_string("/proc/thread-self/net/dev")?, names))
}

fn dropped(text: &str, names: &BTreeSet<&str>) -> u64 {
    let devices = text.lines().filter_map(|line| line.split_once(':'));
    let these = devices.filter(|(name, _)| names.contains(name.trim()));
    these.filter_map(|(_, numbers)| numbers.split_ascii_whitespace().nth(TX_DROPPED)?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_frames_are_those_of_the_devices_that_are_asked_for() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n\
                    vt10.12b5:1 2 3 4 5 6 7 8 9 10 11 500 13 14 15 16\nvt11.12b5: 1 2 3 4 5 6 7 8 9 10 11 7 13 14 15 16\n";
        assert_eq!(dropped(text, &["vt10.12b5", "vt11.12b5", "vt12.12b5"].into()), 507);
        assert_eq!(dropped(text, &BTreeSet::new()), 0);
        assert_eq!(tx_dropped(&["lo"].into()).unwrap(), 0);
    }
}
