//! What a row of the table is made of.

/// Where something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// `meshctl status` on a node.
    Node(&'static str),
    /// `meshctl status` at management.
    Management,
    /// `meshctl explain` on the node of the first guest, about a frame to the guest of the second: it does not arrive.
    Explain(&'static str, &'static str),
    /// The same, and nothing is said to keep it from arriving.
    Perhaps(&'static str, &'static str),
    /// The same: it does not arrive, or nobody knows. Which direction of a tunnel is dead is not known at once to the end that hears nothing.
    Unsure(&'static str, &'static str),
    /// `meshctl events` on a node, since the fault.
    Events(&'static str),
    /// `meshctl events` at management, since the fault.
    Audit,
    /// A line of `meshctl status` at management that has the word and all others.
    Screen,
}

/// What must be said.
#[derive(Debug, Clone)]
pub struct Says {
    pub at: At,
    /// Code of a finding, step of an explanation, kind of an event.
    pub code: &'static str,
    /// What proves that it is about the right thing; any of several where wording may go one way or the other: `a|b`.
    pub words: &'static [&'static str],
    /// Why it is not said today. The test fails when it is said.
    pub open: Option<&'static str>,
}

impl Says {
    pub const fn open(mut self, why: &'static str) -> Self {
        self.open = Some(why);
        self
    }

    /// True where `text` has every word.
    pub fn is_in(&self, text: &str) -> bool {
        self.words.iter().all(|words| words.split('|').any(|word| text.contains(word)))
    }
}

pub const fn says(at: At, code: &'static str, words: &'static [&'static str]) -> Says {
    Says { at, code, words, open: None }
}

/// One step of how a fault is made or undone.
#[derive(Debug, Clone)]
pub enum Act {
    /// Shell lines in the namespace of a machine: a node, `net`, `mgmt`, or a guest such as `a-1-g1`. `$LAB` is the lab's folder.
    On(&'static str, &'static str),
    /// A daemon is killed.
    Kill(&'static str),
    /// A node's daemon, or that of `mgmt`, is started.
    Start(&'static str),
    /// A daemon gets a signal.
    Signal(&'static str, i32),
    /// It is started with a wall clock that is so many seconds off.
    Clock(&'static str, i64),
    /// That clock is set again, while it runs.
    Shift(&'static str, i64),
    /// It is started with its state on a small disk of its own.
    SmallDisk(&'static str),
    /// Shell lines where a daemon sees its files: `$STATE` is its state folder.
    Inside(&'static str, &'static str),
    /// A second daemon with the files of the first runs on the second node; ends where `None`.
    Clone(&'static str, Option<&'static str>),
    /// `meshctl` at management.
    Admin(&'static str),
}

/// One fault.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: &'static str,
    pub make: Vec<Act>,
    pub undo: Vec<Act>,
    /// Pairs whose guests do not reach each other meanwhile: the fault is real.
    pub cut: &'static [(&'static str, &'static str)],
    /// Pairs whose guests reach each other all the while.
    pub whole: &'static [(&'static str, &'static str)],
    pub says: Vec<Says>,
    /// What may be said beside it, because it is true as well.
    pub may: &'static [(At, &'static str)],
    /// One of those that CI runs.
    pub ci: bool,
    /// Why the end of the fault is not told in time today, if it is not.
    pub lasts: Option<&'static str>,
}

impl Row {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            make: Vec::new(),
            undo: Vec::new(),
            cut: &[],
            whole: &[],
            says: Vec::new(),
            may: &[],
            ci: false,
            lasts: None,
        }
    }

    pub fn make(mut self, acts: impl IntoIterator<Item = Act>) -> Self {
        self.make.extend(acts);
        self
    }

    pub fn undo(mut self, acts: impl IntoIterator<Item = Act>) -> Self {
        self.undo.extend(acts);
        self
    }

    pub const fn cut(mut self, pairs: &'static [(&'static str, &'static str)]) -> Self {
        self.cut = pairs;
        self
    }

    pub const fn whole(mut self, pairs: &'static [(&'static str, &'static str)]) -> Self {
        self.whole = pairs;
        self
    }

    pub fn says(mut self, at: At, code: &'static str, words: &'static [&'static str]) -> Self {
        self.says.push(says(at, code, words));
        self
    }

    /// Of what was added last: it is not said today.
    pub fn open(mut self, why: &'static str) -> Self {
        let last = self.says.pop().unwrap();
        self.says.push(last.open(why));
        self
    }

    pub const fn may(mut self, may: &'static [(At, &'static str)]) -> Self {
        self.may = may;
        self
    }

    pub const fn ci(mut self) -> Self {
        self.ci = true;
        self
    }

    pub const fn lasts(mut self, why: &'static str) -> Self {
        self.lasts = Some(why);
        self
    }
}
