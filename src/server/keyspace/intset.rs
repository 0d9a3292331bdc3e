//! Redis's intset: a small set of integers in ascending order, in the very bytes that RDB files hold.
//!
//! ```text
//! u32 width (2, 4 or 8) │ u32 count │ numbers of that width, ascending; all LE
//! ```

use super::listpack::Malformed;
use super::steps;

const HEAD_BYTES: usize = 8;

/// The numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntSet(Vec<u8>);

impl Default for IntSet {
    fn default() -> IntSet {
        IntSet(vec![2, 0, 0, 0, 0, 0, 0, 0])
    }
}

impl IntSet {
    /// Takes over bytes from a file or a peer.
    ///
    /// # Errors
    /// They are no intset: the head is wrong or the numbers do not ascend.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<IntSet, Malformed> {
        let (Some(width), Some(count)) = (
            bytes.first_chunk::<4>(),
            bytes.get(4..).and_then(|rest| rest.first_chunk::<4>()),
        ) else {
            return Err(Malformed);
        };
        let width = u32::from_le_bytes(*width) as usize;
        let count = u32::from_le_bytes(*count) as usize;
        if !matches!(width, 2 | 4 | 8) || count.checked_mul(width) != Some(bytes.len() - HEAD_BYTES)
        {
            return Err(Malformed);
        }
        let set = IntSet(bytes);
        let is_ascending = (1..count).all(|at| set.get(at - 1) < set.get(at));
        if is_ascending {
            Ok(set)
        } else {
            Err(Malformed)
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Bytes of memory that it holds.
    pub fn heap_bytes(&self) -> usize {
        self.0.capacity()
    }

    /// Numbers.
    pub fn len(&self) -> usize {
        (self.0.len() - HEAD_BYTES) / self.width()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.0.len() == HEAD_BYTES
    }

    /// The number at `index`, in ascending order.
    ///
    /// # Panics
    /// There are not so many.
    pub fn get(&self, index: usize) -> i64 {
        let width = self.width();
        let at = HEAD_BYTES + index * width;
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(&self.0[at..at + width]);
        let n = i64::from_le_bytes(wide);
        match width {
            2 => (n << 48) >> 48,
            4 => (n << 32) >> 32,
            _ => n,
        }
    }

    /// All numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.len()).map(|at| self.get(at))
    }

    /// Whether it holds `n`.
    pub fn contains(&self, n: i64) -> bool {
        self.search(n).is_ok()
    }

    /// Adds `n`; false if it was there.
    pub fn insert(&mut self, n: i64) -> bool {
        let Err(place) = self.search(n) else {
            return false;
        };
        let needed = width_of(n);
        if needed > self.width() {
            let all: Vec<i64> = self.iter().collect();
            self.0.truncate(HEAD_BYTES);
            self.0[..4].copy_from_slice(&u32::try_from(needed).expect("small").to_le_bytes());
            for old in all {
                self.0.extend_from_slice(&old.to_le_bytes()[..needed]);
            }
        }
        let width = self.width();
        let at = HEAD_BYTES + place * width;
        self.0
            .splice(at..at, n.to_le_bytes()[..width].iter().copied());
        self.note_count();
        true
    }

    /// Removes `n`; false if it was not there.
    pub fn remove(&mut self, n: i64) -> bool {
        let Ok(place) = self.search(n) else {
            return false;
        };
        let width = self.width();
        let at = HEAD_BYTES + place * width;
        self.0.drain(at..at + width);
        self.note_count();
        true
    }

    fn width(&self) -> usize {
        usize::from(self.0[0])
    }

    fn note_count(&mut self) {
        let count = u32::try_from(self.len()).expect("bounded by who fills it");
        self.0[4..8].copy_from_slice(&count.to_le_bytes());
    }

    /// Where `n` is, or would be.
    fn search(&self, n: i64) -> Result<usize, usize> {
        steps::count(1);
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).cmp(&n) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }
}

fn width_of(n: i64) -> usize {
    if i16::try_from(n).is_ok() {
        2
    } else if i32::try_from(n).is_ok() {
        4
    } else {
        8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_bytes_are_those_of_redis() {
        let mut set = IntSet::default();
        set.insert(300);
        set.insert(1);
        assert_eq!(set.as_bytes(), [2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0x2c, 1]);
    }

    proptest! {
        #[test]
        fn it_is_a_set(ops in proptest::collection::vec((any::<bool>(), prop_oneof![-40_i64..40, any::<i32>().prop_map(i64::from), any::<i64>()]), 0..200)) {
            let (mut set, mut model) = (IntSet::default(), BTreeSet::new());
            for (add, n) in ops {
                if add {
                    prop_assert_eq!(set.insert(n), model.insert(n));
                } else {
                    prop_assert_eq!(set.remove(n), model.remove(&n));
                }
                prop_assert_eq!(set.contains(n), add);
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert_eq!(IntSet::from_bytes(set.as_bytes().to_vec()), Ok(set));
        }

        #[test]
        fn arbitrary_bytes_are_no_danger(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(set) = IntSet::from_bytes(bytes) {
                set.iter().count();
            }
        }
    }
}
