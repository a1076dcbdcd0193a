//! The eyes of a node: whatever looks for faults by itself, again and again. One that is shut finds nothing, and nothing found is not well: it is
//! told as M0688, with what is not known because of it, until it sees again. No I/O: what happens to each goes in, findings come out.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::cut::Cut;
use crate::api::local::Finding;
use crate::types::Mono;

/// Code of a watch that does not run.
pub const UNWATCHED: &str = "M0688";
/// How long one that tries again may fail: a device that is just being made is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// What looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Eye {
    /// Frames across a bridge of this host ([`super::crossing`]).
    Bridges,
    /// Packet filters of others ([`super::barriers`]).
    Filters,
    /// What others have attached to interfaces ([`super::attached`]).
    Attached,
    /// The thread that watches plain paths, bridges, and answers peers' questions ([`super::watch`]).
    Plain,
    /// What the packet filters have dropped of guests ([`super::wrongs`]).
    Counters,
    /// Routes of this host ([`super::strays`]).
    Routes,
    /// Routes of this host to the other ends of tunnels ([`super::outways`]).
    Tunnels,
    /// The kernel's notices of devices, addresses, routes and packet filters.
    Kernel,
    /// Notices of changed table files.
    Files,
    /// The stream of the management node.
    Stream,
    /// What this node reports to the management node.
    Reports,
    /// The renewal of the certificate.
    Renewal,
    /// The thread that brings plan and kernel together.
    Engine,
    /// The same thread, where the kernel does not let it go on: a disk that hangs.
    Held,
    /// Files of this node on disk.
    Own,
}

impl Eye {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Bridges,
        Self::Filters,
        Self::Attached,
        Self::Plain,
        Self::Counters,
        Self::Routes,
        Self::Tunnels,
        Self::Kernel,
        Self::Files,
        Self::Stream,
        Self::Reports,
        Self::Renewal,
        Self::Engine,
        Self::Held,
        Self::Own,
    ];

    /// What does not happen.
    const fn what(self) -> &'static str {
        match self {
            Self::Bridges => "no frames can be sent across a bridge of this host to see whether it lets them pass",
            Self::Filters => "packet filters of others on this host cannot be read",
            Self::Attached => "queues and filters of tc at interfaces of guests cannot be read",
            Self::Plain => "plain paths and bridges of this host are not watched",
            Self::Counters => "what the packet filters have dropped of guests cannot be read",
            Self::Routes => "routes of this host to peers of plain paths cannot be asked for",
            Self::Tunnels => "routes of this host to the other ends of tunnels cannot be asked for",
            Self::Kernel => "changes of devices, routes and packet filters are not heard",
            Self::Files => "changes of table files are not heard",
            Self::Stream => "the management node is not listened to any more",
            Self::Reports => "this node does not report to the management node any more",
            Self::Renewal => "the certificate of this node is not renewed any more",
            Self::Engine | Self::Held => "plan and kernel are not compared, nor changes followed",
            Self::Own => "files of this node on disk are not looked after",
        }
    }

    /// What is not known because of it.
    const fn unknown(self) -> &'static str {
        match self {
            Self::Bridges => "whether something on this host drops frames between guests is not known",
            Self::Filters => "which of them drops frames of guests is not known",
            Self::Attached => "whether one of them drops frames of guests is not known",
            Self::Plain => "what does not arrive there is not known, and peers get no answer about guests of this node",
            Self::Counters => "what guests say and may not is not told",
            Self::Routes => "whether one leads plain frames astray is not known",
            Self::Tunnels => "by which interface a tunnel leaves is not known, nor whether a route has led it astray",
            Self::Kernel => "meshd looks every 30 s, and repairs no sooner",
            Self::Files => "the tables of before stay in force",
            Self::Stream => "the table of before stays in force",
            Self::Reports => "what the management node shows of it is old",
            Self::Renewal => "when it ends, the management node hears this node no more; traffic goes on",
            Self::Engine | Self::Held => {
                "all else that is said of this node may be old; its lanes and devices go on as they were"
            }
            Self::Own => "that one of them has gone is not told",
        }
    }

    /// What to do about one that fails, and tries again.
    const fn help(self) -> &'static str {
        match self {
            Self::Bridges => {
                "who holds or changes the device: ip -d tuntap show; meshctl events; it is tried again every second"
            }
            Self::Filters | Self::Counters => {
                "nft list ruleset, as root: what does it say? it is tried again by itself"
            }
            Self::Attached => "tc qdisc show, as root: what does it say? it is tried again by itself",
            Self::Routes | Self::Tunnels => "ip route show table all, as root; it is tried again by itself",
            Self::Held => HELD,
            Self::Plain
            | Self::Kernel
            | Self::Files
            | Self::Stream
            | Self::Reports
            | Self::Renewal
            | Self::Engine
            | Self::Own => RESTART,
        }
    }

    /// What that keeps from arriving: of what may be dropped and is not seen, nobody can say that it arrives.
    fn cut(self) -> Cut {
        match self {
            Self::Bridges | Self::Plain | Self::Engine | Self::Held => Cut::node(false),
            // What is wrong with a path or guest is asked for itself, and what was known of it stays.
            Self::Filters
            | Self::Attached
            | Self::Counters
            | Self::Routes
            | Self::Tunnels
            | Self::Kernel
            | Self::Files
            | Self::Stream
            | Self::Reports
            | Self::Renewal
            | Self::Own => Cut::default(),
        }
    }
}

/// What to do about one that has ended.
const RESTART: &str = "systemctl restart meshd; why it ended: journalctl -u meshd";
/// What to do where the kernel holds a thread up. A new `meshd` would wait for the same, without the tunnels of this one.
const HELD: &str = "ps -eLo pid,tid,stat,wchan:30,comm | awk '$3 ~ /^D/' (who waits, and in what); df and journalctl -k (does each disk answer?); it goes on by itself when that answers, and a restart of meshd before ends its tunnels and waits for the same";

#[derive(Debug)]
struct Shut {
    since: Mono,
    why: String,
    /// It does not try again.
    over: bool,
}

/// Those that do not see.
#[derive(Debug, Default)]
pub struct Eyes(BTreeMap<Eye, Shut>);

impl Eyes {
    /// One cannot look, and tries again.
    pub fn fails(&mut self, eye: Eye, why: String, now: Mono) {
        match self.0.get_mut(&eye) {
            Some(shut) if shut.over => {}
            Some(shut) => shut.why = why,
            None => drop(self.0.insert(eye, Shut { since: now, why, over: false })),
        }
    }

    /// One has ended, or could not begin. It is told at once, for as long as the daemon runs.
    pub fn ended(&mut self, eye: Eye, why: String, now: Mono) {
        // Why it ended first is why it ended.
        if !self.0.get(&eye).is_some_and(|shut| shut.over) {
            self.0.insert(eye, Shut { since: now, why, over: true });
        }
    }

    /// One has looked.
    pub fn works(&mut self, eye: Eye) {
        if self.0.get(&eye).is_some_and(|shut| !shut.over) {
            self.0.remove(&eye);
        }
    }

    /// What is wrong. `told`: the kernel is known to refuse, which is why what asks it fails, too.
    pub fn findings(&self, now: Mono, told: bool) -> Vec<Finding> {
        let blind = self.0.contains_key(&Eye::Plain);
        let lasts = |(eye, shut): &(&Eye, &Shut)| {
            let same = told && matches!(eye, Eye::Filters | Eye::Attached | Eye::Counters | Eye::Routes | Eye::Tunnels);
            // The thread of plain paths looks at bridges, too.
            let same = same || blind && **eye == Eye::Bridges;
            !same && (shut.over || now.since(shut.since) >= PATIENCE)
        };
        self.0.iter().filter(lasts).map(|(eye, shut)| finding(*eye, shut)).collect()
    }
}

fn finding(eye: Eye, shut: &Shut) -> Finding {
    let what = format!("{}: {}; {}", eye.what(), shut.why, eye.unknown());
    Finding::new(UNWATCHED, what, if shut.over { RESTART } else { eye.help() }).cuts(eye.cut())
}

#[cfg(test)]
#[path = "unwatched_tests.rs"]
mod tests;
