//! Marks that a frame may bear (`skb->mark`): rules of one chain give them, and rules of another, of any family, may drop by them. A frame without a
//! mark has 0.

use std::collections::BTreeSet;

use super::barriers::Base;

/// Values that are followed, at most.
const MOST: usize = 64;
/// Hooks that a bridged frame goes through, in this order. In which order the chains of one hook are asked is not known here.
pub(super) const HOOKS: usize = 5;

/// Marks that a frame may bear.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// Those that rules give.
    known: BTreeSet<u32>,
    /// It bears one of `known`, and no longer what it had before.
    written: bool,
    /// There may be others.
    more: bool,
}

impl Marks {
    /// A rule writes some bits of it; `surely`: whatever else the frame is.
    pub(super) fn write(&mut self, value: u32, mask: u32, surely: bool) {
        let of = |old: u32| old & !mask ^ value;
        let new: BTreeSet<u32> = self.all().map(of).collect();
        if surely {
            self.known = new;
            self.written = true;
            self.more &= mask != u32::MAX;
        } else {
            self.known.extend(new);
        }
        self.more |= self.known.len() > MOST;
    }

    /// A rule writes what cannot be read.
    pub(super) const fn write_anything(&mut self) {
        self.more = true;
    }

    /// It may be as another one, too.
    pub(super) fn or(&mut self, other: &Self) {
        self.known.extend(&other.known);
        self.written &= other.written;
        self.more |= other.more || self.known.len() > MOST;
    }

    fn all(&self) -> impl Iterator<Item = u32> {
        self.known.iter().copied().chain((!self.written).then_some(0))
    }

    /// Those that it may bear. None: any.
    pub(super) fn values(&self) -> Option<Vec<u64>> {
        (!self.more).then(|| self.all().map(u64::from).collect())
    }

    /// True where it is known which one it bears.
    pub(super) fn is_certain(&self) -> bool {
        self.written && !self.more && self.known.len() == 1
    }
}

/// At which of the hooks a chain is.
pub(super) fn hook(base: &Base) -> usize {
    match base.hook {
        "ingress" => 0,
        "prerouting" => 1,
        "postrouting" => 3,
        "egress" => 4,
        _ => 2,
    }
}

/// What a frame may bear where it comes to each hook, with what other chains of that hook may have given it. `behind` is what it bears behind a chain.
pub(super) fn at_hooks(bases: &[usize], behind: impl Fn(usize, &Marks) -> Marks) -> [Marks; HOOKS] {
    let mut before = Marks::default();
    std::array::from_fn(|hook| {
        let here: Vec<usize> = (0..bases.len()).filter(|base| bases[*base] == hook).collect();
        let mut at = before.clone();
        // Once more: one may write over what another has written.
        for base in here.iter().chain(&here) {
            at.or(&behind(*base, &at));
        }
        before = match here[..] {
            [only] => behind(only, &before),
            _ => at.clone(),
        };
        at
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(marks: &Marks) -> Vec<u64> {
        marks.values().unwrap_or_default()
    }

    #[test]
    fn what_is_surely_written_takes_the_place_of_what_was_there() {
        let mut marks = Marks::default();
        assert_eq!((values(&marks), marks.is_certain()), (vec![0], false), "somebody else may have marked it");
        marks.write(9, u32::MAX, false);
        assert_eq!((values(&marks), marks.is_certain()), (vec![9, 0], false));
        marks.write(0x10, 0xf0, true);
        assert_eq!(values(&marks), [0x10, 0x19]);
        marks.write(7, u32::MAX, true);
        assert!(marks.is_certain() && values(&marks) == [7]);
        marks.write_anything();
        assert_eq!((marks.values(), marks.is_certain()), (None, false));
        marks.write(7, u32::MAX, true);
        assert!(marks.is_certain());
    }

    #[test]
    fn what_one_chain_writes_is_there_at_the_next_hook_and_at_its_own_perhaps() {
        let writes = |number: usize, marks: &Marks| {
            let mut marks = marks.clone();
            marks.write(u32::try_from(number).unwrap() + 1, u32::MAX, true);
            marks
        };
        let seen = at_hooks(&[1, 3], writes);
        assert_eq!(seen.each_ref().map(values), [vec![0], vec![1, 0], vec![1], vec![1, 2], vec![2]]);
        let two = at_hooks(&[1, 1], writes);
        assert_eq!(two.each_ref().map(values), [vec![0], vec![1, 2, 0], vec![1, 2, 0], vec![1, 2, 0], vec![1, 2, 0]]);
        assert!(!two[2].is_certain());
    }
}
