//! Which few of many things make something happen.

/// The fewest of `all` that still make `fails` true, as far as so many tries show. `all` itself is not tried.
pub fn minimal<T: Clone>(all: &[T], tries: usize, mut fails: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let (mut left, mut budget) = (all.to_vec(), tries);
    let mut parts = 2;
    while left.len() > 1 && budget > 0 {
        let size = left.len().div_ceil(parts);
        let found = (0..left.len()).step_by(size).find_map(|at| {
            let end = (at + size).min(left.len());
            // First a part alone, where there are two: a single cause is found fastest.
            let alone = left[at..end].to_vec();
            let rest = [&left[..at], &left[end..]].concat();
            [Some(alone).filter(|_| parts == 2), Some(rest).filter(|_| parts > 2)].into_iter().flatten().find(|few| {
                let may = budget > 0;
                budget = budget.saturating_sub(1);
                may && fails(few)
            })
        });
        match found {
            Some(few) => {
                left = few;
                parts = 2;
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(left.len()),
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cause_is_found_in_few_tries() {
        for cause in 0..500 {
            let mut tries = 0;
            let all: Vec<u32> = (0..500).collect();
            let few = minimal(&all, 40, |part| {
                tries += 1;
                part.contains(&cause)
            });
            assert_eq!(few, [cause]);
            assert!(tries <= 20, "{tries}");
        }
    }

    #[test]
    fn two_causes_that_need_each_other_are_found() {
        let all: Vec<u32> = (0..200).collect();
        let few = minimal(&all, 200, |part| part.contains(&3) && part.contains(&170));
        assert_eq!(few, [3, 170]);
    }

    #[test]
    fn it_ends_where_nothing_fails_again() {
        let all: Vec<u32> = (0..50).collect();
        assert_eq!(minimal(&all, 30, |_| false), all);
    }
}
