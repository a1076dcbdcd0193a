//! Lists in sentences: the first of them by name, and how many more there are.

use std::fmt::Display;

/// At most `most` of them, as `a, b, c and 2 more`.
pub fn named<T: Display>(all: impl IntoIterator<Item = T>, most: usize) -> String {
    let mut all = all.into_iter();
    let first: Vec<String> = all.by_ref().take(most).map(|one| one.to_string()).collect();
    let (first, more) = (first.join(", "), all.count());
    if more > 0 { format!("{first} and {more} more") } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_not_named_are_counted() {
        for (count, said) in [(0, ""), (1, "1"), (3, "1, 2, 3"), (4, "1, 2, 3 and 1 more"), (9, "1, 2, 3 and 6 more")] {
            assert_eq!(named(1..=count, 3), said);
        }
    }
}
