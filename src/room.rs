//! Tables that give room back when what filled them has gone.
//!
//! A table of the standard kinds keeps the room that it has once had. Where a client decides how much is in one,
//! what it leaves behind would be taken from the others for good.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};

use hashbrown::{HashMap, HashSet};

/// A table with room for no more than this stays as it is.
const KEPT_MAX: usize = 64;

/// A table that can be made smaller.
pub trait GiveBack {
    /// To be called after a removal: gives most of the room back when less than an eighth of it is in use. There have
    /// been more removals since the table was larger than there are entries to be moved, so that they cost no more
    /// than twice as much for it.
    fn give_back(&mut self);
}

/// The room that a table is to have, if it has too much.
fn better_room(len: usize, capacity: usize) -> Option<usize> {
    (capacity > KEPT_MAX && len < capacity / 8).then_some(len * 2)
}

impl<K: Eq + Hash, V, S: BuildHasher> GiveBack for HashMap<K, V, S> {
    fn give_back(&mut self) {
        if let Some(room) = better_room(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<T: Eq + Hash, S: BuildHasher> GiveBack for HashSet<T, S> {
    fn give_back(&mut self) {
        if let Some(room) = better_room(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

impl<T> GiveBack for VecDeque<T> {
    fn give_back(&mut self) {
        if let Some(room) = better_room(self.len(), self.capacity()) {
            self.shrink_to(room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_as_a_table_empties() {
        let mut map: HashMap<usize, ()> = (0..100_000).map(|n| (n, ())).collect();
        let mut queue: VecDeque<usize> = (0..100_000).collect();
        let mut shrunk = 0;
        while let Some(n) = queue.pop_front() {
            let before = map.capacity();
            map.remove(&n);
            map.give_back();
            queue.give_back();
            shrunk += usize::from(map.capacity() * 2 < before);
            assert_eq!(map.len(), queue.len());
            assert!(map.capacity() <= KEPT_MAX.max(map.len() * 8 + 8));
        }
        assert!(queue.capacity() <= KEPT_MAX);
        assert!((1..=10).contains(&shrunk), "{shrunk} times");
    }
}
