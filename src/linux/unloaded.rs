//! A packet filter of ours that could not be loaded: which one it is, and what is in force in its stead.

use crate::node::fence_text::TABLE as FENCE;
use crate::node::guard::TABLE as GUARD;

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ours {
    /// What may come in by VXLAN.
    Guard,
    /// What guests may send.
    Fence,
}

/// What is not loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unloaded {
    /// Which one.
    pub filter: Ours,
    /// Whether the kernel has a table of that name meanwhile; none: it did not say.
    pub there: Option<bool>,
}

impl Ours {
    /// Its table, as `nft` wants it: the one that other tables of the same filter stand beside.
    pub fn table(self) -> String {
        match self {
            Self::Guard => format!("inet {GUARD}"),
            Self::Fence => format!("bridge {FENCE}"),
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::Guard => "what may come in by VXLAN",
            Self::Fence => "what guests may send",
        }
    }

    /// What it is like without it.
    const fn without(self) -> &'static str {
        match self {
            Self::Guard => "VXLAN devices of before let in frames of anybody",
            Self::Fence => "guests on bridges of before are unfiltered",
        }
    }

    /// What a kernel lacks that cannot have it.
    const fn needs(self) -> &'static str {
        match self {
            Self::Guard => "a kernel without nf_tables or its 'fib' expression cannot be guarded",
            Self::Fence => "a kernel without nf_tables for bridges cannot filter guests",
        }
    }
}

impl Unloaded {
    /// In words; `why`: what is wrong with `nft`.
    pub(super) fn text(self, why: &str) -> String {
        let meanwhile = match self.there {
            Some(false) => format!("; the kernel has no such table: {}", self.filter.without()),
            Some(true) => "; the kernel has one of that name, but not this one: what it says stays in force".to_owned(),
            None => String::new(),
        };
        let (table, what) = (self.filter.table(), self.filter.what());
        format!("table {table} ({what}) was not loaded, and nothing else was done: {why}{meanwhile}")
    }

    /// What shows the cause; `spoke`: `nft` has given a reason, which may be the kernel's.
    pub(super) fn help(self, spoke: bool) -> String {
        let shows = format!("nft list table {}; nft --version", self.filter.table());
        let rest = if spoke {
            self.filter.needs()
        } else {
            "where that says nothing either: apt install --reinstall nftables"
        };
        format!("{shows}; {rest}")
    }
}

#[cfg(test)]
#[path = "unloaded_tests.rs"]
mod tests;
