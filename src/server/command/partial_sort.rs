//! Sorting only as far as it is asked for.

use std::cmp::Ordering;
use std::ops::Range;

/// Fewer items than these are sorted by insertion.
const FEW: usize = 7;
/// More items than these get their pivot from nine of them.
const MANY: usize = 40;

/// Brings the items of the range `wanted` into their places.
///
/// It is Bentley and McIlroy's quicksort, step by step as redis-server uses it for `GEOSEARCH … COUNT` and
/// `SORT … BY … LIMIT`, because it is not stable: which of several equal items come first is seen by clients. Parts
/// that nobody asked for are left alone. Parts wait on a list instead of the stack, so that no input makes it deep; a part
/// that comes of so many bad divisions as only an input made for that has is sorted in another way, in good time.
pub(super) fn sort_range<T>(
    items: &mut [T],
    wanted: &Range<usize>,
    compare: impl Fn(&T, &T) -> Ordering,
) {
    /// Divisions in a row, for each doubling of the number of items. Good ones need one or two.
    const DIVISIONS_MAX: u32 = 4;
    let divisions_max = DIVISIONS_MAX * (items.len().max(2).ilog2() + 4);
    let mut parts = vec![(0..items.len(), 0)];
    while let Some((part, divisions)) = parts.pop() {
        if part.start >= wanted.end || wanted.start >= part.end || part.len() <= 1 {
            continue;
        }
        let present = &mut items[part.clone()];
        if divisions == divisions_max {
            present.sort_by(&compare);
            continue;
        }
        let (less, greater) = partition(present, &compare);
        parts.push((part.start..part.start + less, divisions + 1));
        parts.push((part.end - greater..part.end, divisions + 1));
    }
}

/// Moves what is less than some item to the front and what is greater to the back; returns how many those are.
/// A few items are sorted at once, and nothing is left to do.
fn partition<T>(items: &mut [T], compare: &impl Fn(&T, &T) -> Ordering) -> (usize, usize) {
    let len = items.len();
    if len < FEW {
        for at in 1..len {
            let mut at = at;
            while at > 0 && compare(&items[at - 1], &items[at]) == Ordering::Greater {
                items.swap(at - 1, at);
                at -= 1;
            }
        }
        return (0, 0);
    }
    let pivot = pivot(items, compare);
    items.swap(0, pivot);
    // Equal items gather at both ends: before `equal` and behind `equal_end`.
    let (mut equal, mut low) = (1, 1);
    let (mut high, mut equal_end) = (len - 1, len - 1);
    loop {
        while low <= high {
            match compare(&items[low], &items[0]) {
                Ordering::Greater => break,
                Ordering::Equal => {
                    items.swap(equal, low);
                    equal += 1;
                }
                Ordering::Less => {}
            }
            low += 1;
        }
        while low <= high {
            match compare(&items[high], &items[0]) {
                Ordering::Less => break,
                Ordering::Equal => {
                    items.swap(high, equal_end);
                    equal_end -= 1;
                }
                Ordering::Greater => {}
            }
            high -= 1;
        }
        if low > high {
            break;
        }
        items.swap(low, high);
        low += 1;
        high -= 1;
    }
    // From the ends into the middle.
    let (less, greater) = (low - equal, equal_end - high);
    let moved = equal.min(less);
    swap_blocks(items, 0, low - moved, moved);
    let moved = greater.min(len - 1 - equal_end);
    swap_blocks(items, low, len - moved, moved);
    (less, greater)
}

/// The position of the item that the others are compared with.
fn pivot<T>(items: &[T], compare: &impl Fn(&T, &T) -> Ordering) -> usize {
    let len = items.len();
    let middle = len / 2;
    if len == FEW {
        return middle;
    }
    let median = |one, two, three| median(items, compare, [one, two, three]);
    if len <= MANY {
        return median(0, middle, len - 1);
    }
    let step = len / 8;
    let (first, last) = (0, len - 1);
    median(
        median(first, first + step, first + 2 * step),
        median(middle - step, middle, middle + step),
        median(last - 2 * step, last - step, last),
    )
}

/// The position of the middle one of three items.
fn median<T>(items: &[T], compare: &impl Fn(&T, &T) -> Ordering, at: [usize; 3]) -> usize {
    let [one, two, three] = at;
    let order = |a: usize, b: usize| compare(&items[a], &items[b]);
    let ends_ascend = order(one, three) == Ordering::Less;
    if order(one, two) == Ordering::Less {
        match order(two, three) {
            Ordering::Less => two,
            Ordering::Equal | Ordering::Greater if ends_ascend => three,
            Ordering::Equal | Ordering::Greater => one,
        }
    } else {
        match order(two, three) {
            Ordering::Greater => two,
            Ordering::Equal | Ordering::Less if ends_ascend => one,
            Ordering::Equal | Ordering::Less => three,
        }
    }
}

/// Exchanges `count` items from `one` on with those from `two` on.
fn swap_blocks<T>(items: &mut [T], one: usize, two: usize, count: usize) {
    for at in 0..count {
        items.swap(one + at, two + at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::{Cell, RefCell};

    /// McIlroy's adversary: an item gets its value when it is compared, the worst one for whoever asks.
    #[test]
    fn no_input_takes_long() {
        const COUNT: usize = 20_000;
        const UNDECIDED: usize = COUNT;
        let values = RefCell::new(vec![UNDECIDED; COUNT]);
        let (decided, likely_pivot, asked) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let compare = |one: &usize, two: &usize| {
            let values = &mut *values.borrow_mut();
            asked.set(asked.get() + 1);
            if values[*one] == UNDECIDED && values[*two] == UNDECIDED {
                let loser = if *one == likely_pivot.get() {
                    *one
                } else {
                    *two
                };
                values[loser] = decided.replace(decided.get() + 1);
            }
            if values[*one] == UNDECIDED {
                likely_pivot.set(*one);
            } else if values[*two] == UNDECIDED {
                likely_pivot.set(*two);
            }
            values[*one].cmp(&values[*two])
        };
        let mut items: Vec<usize> = (0..COUNT).collect();
        sort_range(&mut items, &(0..COUNT), compare);
        let values = values.borrow();
        assert!(items.is_sorted_by_key(|item| values[*item]));
        assert!(asked.get() < 150 * COUNT, "{} comparisons", asked.get());
    }

    proptest! {
        #[test]
        fn what_is_wanted_is_as_in_a_whole_sort(
            mut items in proptest::collection::vec(0_u16..200, 0..500),
            start in 0_usize..500,
            len in 0_usize..500,
        ) {
            let mut sorted = items.clone();
            sorted.sort_unstable();
            let start = start.min(items.len());
            let wanted = start..(start + len).min(items.len());
            sort_range(&mut items, &wanted, u16::cmp);
            prop_assert_eq!(&items[wanted.clone()], &sorted[wanted]);
            items.sort_unstable();
            prop_assert_eq!(items, sorted);
        }
    }
}
