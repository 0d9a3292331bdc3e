//! A sorted sequence in which positions are cheap: the order of a large sorted set.
//!
//! The items lie in chunks, and a Fenwick tree over the chunks' lengths turns a chunk into a position and
//! back. Searches are by a predicate that is true for a prefix of the sequence, as with
//! `slice::partition_point`, so that every kind of range (by score, by name, by rank) is two searches.
//! Chunks are shared with the snapshots that are still writing them out and with copies of the set, and copied only if
//! they are.

use std::ops::Range;
use std::sync::Arc;

use super::dense::Keyed;
use super::held::{self, Whole};
use super::steps;

/// A chunk that is to have more items splits.
pub(super) const CHUNK_ITEMS_MAX: usize = 256;

/// Two neighbours become one chunk when they have no more items than this together. So few that as many must come or
/// go before that one splits or takes in another: each of them pays for little of the sums that are made anew.
const MERGED_ITEMS_MAX: usize = CHUNK_ITEMS_MAX / 2;

/// The sequence. Who inserts sees to the order. A clone costs one counter for each chunk.
#[derive(Clone, Debug)]
pub struct Ranked<T> {
    /// None is empty.
    chunks: Vec<Arc<Vec<T>>>,
    /// `sums[i]`: items in the chunks that entry `i` of the Fenwick tree stands for (counted from 1).
    sums: Vec<usize>,
    len: usize,
}

impl<T> Default for Ranked<T> {
    fn default() -> Ranked<T> {
        Ranked {
            chunks: Vec::new(),
            sums: vec![0],
            len: 0,
        }
    }
}

/// What lies in memory before the items of a chunk: two counters and the vector.
const CHUNK_HEAD_BYTES: usize = 16 + size_of::<Vec<u8>>();

/// Bytes of memory that a chunk takes, without what its items refer to.
fn chunk_bytes<T>(items: &Vec<T>) -> usize {
    CHUNK_HEAD_BYTES + items.capacity() * size_of::<T>()
}

impl<T: Keyed + Clone> Whole for Vec<T> {
    fn copied_bytes(&self) -> usize {
        chunk_bytes(self) + self.iter().map(Keyed::copied_bytes).sum::<usize>()
    }
}

/// About how many bytes others have alone when we drop a chunk.
fn left_bytes<T: Keyed + Clone>(chunk: &Arc<Vec<T>>) -> usize {
    // What is long in one that is not shared may be all the same.
    let in_common = |owners| -> usize { chunk.iter().map(|item| item.common_bytes(owners)).sum() };
    if held::is_shared(chunk) {
        chunk.copied_bytes() + in_common(0)
    } else {
        in_common(1)
    }
}

impl<T> Ranked<T> {
    /// How many groups [`Ranked::group`] knows.
    pub fn groups(&self) -> usize {
        self.chunks.len()
    }

    /// A part of the items, so that a walk over all of them, up or down, can be cut into slices.
    pub fn group(&self, number: usize) -> &[T] {
        &self.chunks[number]
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// These items, which are in order.
    pub(super) fn from_sorted(items: Vec<T>) -> Ranked<T> {
        let len = items.len();
        let mut chunks = Vec::with_capacity(len.div_ceil(CHUNK_ITEMS_MAX));
        let mut items = items.into_iter();
        while items.len() > 0 {
            let chunk = items.by_ref().take(CHUNK_ITEMS_MAX);
            chunks.push(Arc::new(chunk.collect()));
        }
        let mut ranked = Ranked {
            chunks,
            sums: Vec::new(),
            len,
        };
        ranked.rebuild();
        ranked
    }

    /// Items.
    pub fn len(&self) -> usize {
        self.len
    }

    /// How many items come before the first for which `is_before` is false.
    pub(super) fn partition_point(&self, mut is_before: impl FnMut(&T) -> bool) -> usize {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.last().is_some_and(&mut is_before));
        let inside = self
            .chunks
            .get(chunk)
            .map_or(0, |chunk| chunk.partition_point(is_before));
        self.before(chunk) + inside
    }

    /// Items from a position on.
    pub(super) fn iter_from(&self, position: usize) -> impl Iterator<Item = &T> {
        let (chunk, inside) = self.find(position).unwrap_or((self.chunks.len(), 0));
        self.chunks[chunk..]
            .iter()
            .enumerate()
            .flat_map(move |(at, items)| &items[if at == 0 { inside } else { 0 }..])
    }

    /// Items before a position, from there back to the first.
    pub(super) fn iter_back_from(&self, position: usize) -> impl Iterator<Item = &T> {
        let (chunk, inside) = match position.checked_sub(1).and_then(|last| self.find(last)) {
            Some((chunk, inside)) => (chunk + 1, inside + 1),
            None if position == 0 => (0, 0),
            None => (self.chunks.len(), usize::MAX),
        };
        self.chunks[..chunk]
            .iter()
            .rev()
            .enumerate()
            .flat_map(move |(at, items)| {
                let end = if at == 0 { inside } else { usize::MAX };
                items[..items.len().min(end)].iter().rev()
            })
    }

    /// Bytes of memory, without what the items refer to; an estimate where there are many.
    pub(super) fn heap_bytes(&self) -> usize {
        /// To ask each chunk would be to visit all the memory.
        const LOOKED_AT_MAX: usize = 512;
        held::sum_of(self.chunks.len(), LOOKED_AT_MAX, |number| {
            chunk_bytes(&self.chunks[number])
        }) + self.chunks.capacity() * size_of::<Arc<Vec<T>>>()
            + self.sums.capacity() * size_of::<usize>()
    }

    /// Of so many bytes that it takes, the fair part of this one of those who have its chunks.
    pub(super) fn fair_part(&self, bytes: usize) -> usize {
        held::fair_part(bytes, self.chunks.len(), |number| {
            Arc::strong_count(&self.chunks[number])
        })
    }
}

impl<T: Keyed + Clone> Ranked<T> {
    /// About how many bytes others have alone when it is dropped.
    pub(super) fn shared_bytes(&self) -> usize {
        held::sum_of_some(self.chunks.len(), |number| left_bytes(&self.chunks[number]))
    }

    /// Inserts an item where `is_before` becomes false.
    pub(super) fn insert(&mut self, item: T, mut is_before: impl FnMut(&T) -> bool) {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.last().is_some_and(&mut is_before));
        self.len += 1;
        let Some(items) = self.chunks.get_mut(chunk) else {
            return self.push(item);
        };
        let items = held::make_mut(items);
        let inside = items.partition_point(is_before);
        if items.len() < CHUNK_ITEMS_MAX {
            make_room(items);
            items.insert(inside, item);
            return self.add(chunk, 1);
        }
        // Split before: an item more would have it take twice the room.
        let mut upper = items.split_off(CHUNK_ITEMS_MAX / 2);
        match inside.checked_sub(items.len()) {
            None => items.insert(inside, item),
            Some(inside) => upper.insert(inside, item),
        }
        let lens = [items.len(), upper.len()];
        self.chunks.insert(chunk + 1, Arc::new(upper));
        self.replace_sums(chunk..chunk + 1, lens);
    }

    /// Appends behind the last item. Ascending insertions fill their chunks.
    fn push(&mut self, item: T) {
        let last = self.chunks.len().checked_sub(1);
        match last {
            Some(last) if self.chunks[last].len() < CHUNK_ITEMS_MAX => {
                let items = held::make_mut(&mut self.chunks[last]);
                make_room(items);
                items.push(item);
                self.add(last, 1);
            }
            _ => {
                if self.chunks.is_empty() {
                    // Many sets stay as small as one chunk.
                    self.chunks.reserve_exact(1);
                    self.sums.reserve_exact(1);
                }
                self.chunks.push(Arc::new(vec![item]));
                self.append_sum();
            }
        }
    }

    /// Removes the item at a position.
    pub(super) fn remove(&mut self, position: usize) -> Option<T> {
        let (chunk, inside) = self.find(position)?;
        Some(self.take(chunk, inside))
    }

    /// Removes the first item for which `is_before` is false.
    pub(super) fn remove_first(&mut self, mut is_before: impl FnMut(&T) -> bool) -> Option<T> {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.last().is_some_and(&mut is_before));
        let inside = self.chunks.get(chunk)?.partition_point(is_before);
        Some(self.take(chunk, inside))
    }

    /// Removes the items at these positions and hands them over, chunk by chunk. However many they are, the sums are
    /// made anew as if one chunk had gone.
    pub(super) fn remove_range(&mut self, positions: Range<usize>) -> Vec<Arc<Vec<T>>> {
        let positions = positions.start..positions.end.min(self.len);
        if positions.is_empty() {
            return Vec::new();
        }
        let ends = (self.find(positions.start), self.find(positions.end - 1));
        let (Some((first, from)), Some((last, to))) = ends else {
            return Vec::new();
        };
        self.len -= positions.len();
        let rest = held::make_mut(&mut self.chunks[last]).split_off(to + 1);
        let begin = held::make_mut(&mut self.chunks[first]);
        let mut gone = vec![Arc::new(begin.split_off(from))];
        let mut kept = [std::mem::take(begin), rest];
        for whole in self.chunks.drain(first + 1..=last) {
            if held::is_shared(&whole) {
                held::leave(left_bytes(&whole));
            }
            gone.push(whole);
        }
        kept.iter_mut().for_each(tighten);
        let kept: Vec<_> = kept.into_iter().filter(|items| !items.is_empty()).collect();
        self.replace_sums(first..last + 1, kept.iter().map(Vec::len));
        let kept = kept.into_iter().map(Arc::new);
        self.chunks.splice(first..=first, kept);
        self.tighten_list();
        for sparse in [first + 1, first] {
            if sparse < self.chunks.len() {
                self.merge_if_sparse(sparse);
            }
        }
        gone
    }

    fn take(&mut self, chunk: usize, inside: usize) -> T {
        let items = held::make_mut(&mut self.chunks[chunk]);
        let item = items.remove(inside);
        self.len -= 1;
        if items.is_empty() {
            self.remove_chunk(chunk);
            return item;
        }
        tighten(items);
        self.subtract_one(chunk);
        self.merge_if_sparse(chunk);
        item
    }

    /// Makes a chunk, from which an item was taken, one with a neighbour if both have few.
    fn merge_if_sparse(&mut self, chunk: usize) {
        let len = self.chunks[chunk].len();
        let fits = |other: usize| {
            let other = self.chunks.get(other);
            other.is_some_and(|other| other.len() + len <= MERGED_ITEMS_MAX)
        };
        let lower = match chunk.checked_sub(1) {
            _ if fits(chunk + 1) => chunk,
            Some(before) if fits(before) => before,
            _ => return,
        };
        let upper = self.remove_chunk(lower + 1);
        held::leave_whole(&upper);
        steps::count(upper.len());
        self.add(lower, upper.len());
        let items = held::make_mut(&mut self.chunks[lower]);
        items.reserve_exact(upper.len());
        items.extend(Arc::unwrap_or_clone(upper));
    }

    /// Takes a chunk out, with what it holds.
    fn remove_chunk(&mut self, chunk: usize) -> Arc<Vec<T>> {
        let gone = self.chunks.remove(chunk);
        if chunk == self.chunks.len() {
            // No other entry of the tree stands for the last chunk.
            self.sums.pop();
        } else {
            self.replace_sums(chunk..chunk + 1, []);
        }
        self.tighten_list();
        gone
    }

    /// Gives back the room of chunks that have gone.
    fn tighten_list(&mut self) {
        /// Fewer are not worth a thought.
        const ROOM_KEPT: usize = 64;
        let len = self.chunks.len();
        if self.chunks.capacity() > ROOM_KEPT && len * 4 < self.chunks.capacity() {
            self.chunks.shrink_to(len * 2);
            self.sums.shrink_to(len * 2);
        }
    }
}

impl<T> Ranked<T> {
    /// The chunk that holds a position, and the place inside.
    fn find(&self, position: usize) -> Option<(usize, usize)> {
        if position >= self.len {
            return None;
        }
        let mut left = position;
        let mut at = 0;
        let mut step = self.chunks.len().next_power_of_two();
        while step > 0 {
            if let Some(sum) = self.sums.get(at + step)
                && *sum <= left
            {
                at += step;
                left -= sum;
            }
            step /= 2;
        }
        Some((at, left))
    }

    /// Items in the first `chunks` chunks.
    fn before(&self, chunks: usize) -> usize {
        let (mut at, mut sum) = (chunks, 0);
        while at > 0 {
            sum += self.sums[at];
            at &= at - 1;
        }
        sum
    }

    fn add(&mut self, chunk: usize, n: usize) {
        let mut at = chunk + 1;
        while let Some(sum) = self.sums.get_mut(at) {
            steps::count(1);
            *sum += n;
            at = above(at);
        }
    }

    fn subtract_one(&mut self, chunk: usize) {
        let mut at = chunk + 1;
        while let Some(sum) = self.sums.get_mut(at) {
            steps::count(1);
            *sum -= 1;
            at = above(at);
        }
    }

    /// The entry of a chunk that has come behind the others, made of those below it.
    fn append_sum(&mut self) {
        let at = self.chunks.len();
        let begin = at & (at - 1);
        let mut sum = self.chunks[at - 1].len();
        let mut below = at - 1;
        while below > begin {
            steps::count(1);
            sum += self.sums[below];
            below &= below - 1;
        }
        self.sums.push(sum);
    }

    fn rebuild(&mut self) {
        self.sums.clear();
        self.sums.push(0);
        self.sums
            .extend(self.chunks.iter().map(|chunk| chunk.len()));
        self.sum_up();
    }

    /// Makes the tree anew where these chunks have become ones of these lengths. Those of the others are taken from the
    /// tree: to ask each chunk would be to visit all the memory.
    fn replace_sums(&mut self, chunks: Range<usize>, lens: impl IntoIterator<Item = usize>) {
        for at in (1..self.sums.len()).rev() {
            let sum = self.sums[at];
            if let Some(above) = self.sums.get_mut(above(at)) {
                *above -= sum;
            }
        }
        self.sums.splice(chunks.start + 1..chunks.end + 1, lens);
        self.sum_up();
    }

    /// Makes sums of lengths.
    fn sum_up(&mut self) {
        steps::count(self.sums.len());
        for at in 1..self.sums.len() {
            let sum = self.sums[at];
            if let Some(above) = self.sums.get_mut(above(at)) {
                *above += sum;
            }
        }
    }
}

/// The next entry of the tree that stands for all that this one does.
fn above(at: usize) -> usize {
    at + (at & at.wrapping_neg())
}

/// Makes room for one more item in a chunk that may have one more: a copy has just the room that it needs.
fn make_room<T>(items: &mut Vec<T>) {
    let len = items.len();
    if len == items.capacity() {
        items.reserve_exact(len.max(4).min(CHUNK_ITEMS_MAX - len));
    }
}

/// Gives back the room of items that have gone from a chunk.
fn tighten<T>(items: &mut Vec<T>) {
    let len = items.len();
    if items.capacity() > 16 && len * 2 < items.capacity() {
        items.shrink_to(len + len / 4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// None of them is looked up by its bytes.
    impl Keyed for usize {
        fn key(&self) -> &[u8] {
            &[]
        }
    }

    impl Keyed for u16 {
        fn key(&self) -> &[u8] {
            &[]
        }
    }

    #[test]
    fn the_end_comes_and_goes_in_few_steps() {
        const CHUNKS: usize = 500;
        const TIMES: usize = 1000;
        let mut ranked = Ranked::default();
        let last = CHUNKS * CHUNK_ITEMS_MAX;
        for n in 0..last {
            ranked.insert(n, |other| *other < n);
        }
        assert_eq!(ranked.chunks.last().unwrap().len(), CHUNK_ITEMS_MAX);
        let (steps, ()) = steps::of(|| {
            for _ in 0..TIMES {
                ranked.insert(last, |other| *other < last);
                assert_eq!(ranked.partition_point(|other| *other < last), last);
                assert_eq!(ranked.remove_first(|other| *other < last), Some(last));
            }
        });
        assert!(steps < TIMES * 20, "{steps}");
        // From the end down, no chunk is a stall either.
        let (steps, ()) = steps::of(|| {
            for n in (0..last).rev() {
                assert_eq!(ranked.remove(n), Some(n));
            }
        });
        assert!(steps < last * 10, "{steps}");
        assert_eq!((ranked.len(), ranked.sums.len()), (0, 1));
    }

    /// What comes behind everything and goes again finds the same sums as a tree built anew.
    #[test]
    fn an_appended_sum_is_the_one_of_a_tree_built_anew() {
        let mut ranked = Ranked::default();
        let mut down = Vec::new();
        for n in 0..70 * CHUNK_ITEMS_MAX {
            ranked.insert(n, |other| *other < n);
            if n % CHUNK_ITEMS_MAX == 0 {
                let sums = ranked.sums.clone();
                ranked.rebuild();
                assert_eq!(ranked.sums, sums);
                down.push((n, sums));
            }
        }
        while let Some((n, sums)) = down.pop() {
            while ranked.len() > n + 1 {
                ranked.remove(ranked.len() - 1);
            }
            assert_eq!(ranked.sums, sums);
        }
    }

    #[test]
    fn what_is_sparse_gives_its_memory_back() {
        const ITEMS: usize = 200 * CHUNK_ITEMS_MAX;
        for kept in [2, 5, 32, 1000] {
            let mut ranked = Ranked::default();
            for n in 0..ITEMS {
                ranked.insert(n, |other| *other < n);
            }
            let (steps, ()) = steps::of(|| {
                for n in (0..ITEMS).filter(|n| n % kept != 0) {
                    assert_eq!(ranked.remove_first(|other| *other < n), Some(n));
                }
            });
            assert!(steps < ITEMS * 20, "{steps}, one of {kept} kept");
            assert!(ranked.iter_from(0).copied().eq((0..ITEMS).step_by(kept)));
            let least = ranked.len() * size_of::<usize>();
            let bytes = ranked.heap_bytes();
            assert!(
                bytes < least * 9 / 4 + 4096,
                "{bytes} for {least}, one of {kept} kept"
            );
            // And few that come and go do not have it split and merge again and again.
            let (steps, ()) = steps::of(|| {
                for _ in 0..1000 {
                    ranked.insert(1, |other| *other < 1);
                    assert_eq!(ranked.remove_first(|other| *other < 1), Some(1));
                }
            });
            assert!(steps < 1000 * 30, "{steps}, one of {kept} kept");
        }
    }

    #[test]
    fn a_range_goes_in_few_steps() {
        const ITEMS: usize = 500 * CHUNK_ITEMS_MAX;
        for range in [0..ITEMS, 0..ITEMS - 5, 700..ITEMS, 1000..ITEMS - 1000] {
            let mut ranked = Ranked::from_sorted((0..ITEMS).collect());
            let (steps, gone) = steps::of(|| ranked.remove_range(range.clone()));
            let gone = gone.iter().flat_map(|items| items.iter().copied());
            assert!(gone.eq(range.clone()));
            assert!(steps < 1000, "{steps} for {range:?}");
            assert_eq!(ranked.len(), ITEMS - range.len());
            let left = (0..ITEMS).filter(|n| !range.contains(n));
            assert!(ranked.iter_from(0).copied().eq(left));
            let bytes = ranked.heap_bytes();
            let least = ranked.len() * size_of::<usize>();
            assert!(bytes < least * 9 / 4 + 8192, "{bytes} for {least}");
        }
    }

    #[test]
    fn a_chunk_that_splits_takes_no_more_room() {
        let mut ranked = Ranked::default();
        for n in (0..100 * CHUNK_ITEMS_MAX).rev() {
            ranked.insert(n, |other| *other < n);
        }
        assert!(
            ranked
                .chunks
                .iter()
                .all(|chunk| chunk.capacity() <= CHUNK_ITEMS_MAX)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_is_a_sorted_vector(ops in proptest::collection::vec((0_u8..5, any::<u16>()), 0..2000), ascending in 0_u16..2000) {
            let mut ranked = Ranked::default();
            let mut model: Vec<u16> = Vec::new();
            for n in 0..ascending {
                ranked.insert(n, |other| *other < n);
                model.push(n);
            }
            let mut images = Vec::new();
            for (op, n) in ops {
                if n % 200 == 7 {
                    images.push((ranked.clone(), model.clone()));
                }
                if op == 4 && n % 64 == 0 {
                    let at = usize::from(n) % (model.len() + 10);
                    let range = at..at + usize::from(n) % 700;
                    let gone = ranked.remove_range(range.clone());
                    let range = at.min(model.len())..range.end.min(model.len());
                    let gone = gone.iter().flat_map(|items| items.iter().copied());
                    prop_assert!(gone.eq(model.drain(range)));
                } else if op < 3 {
                    ranked.insert(n, |other| *other < n);
                    model.insert(model.partition_point(|other| *other < n), n);
                } else if n % 2 == 0 {
                    let at = model.partition_point(|other| *other < n);
                    let want = (at < model.len()).then(|| model.remove(at));
                    prop_assert_eq!(ranked.remove_first(|other| *other < n), want);
                } else if !model.is_empty() {
                    let at = usize::from(n) % model.len();
                    prop_assert_eq!(ranked.remove(at), Some(model.remove(at)));
                }
            }
            prop_assert_eq!(ranked.len(), model.len());
            prop_assert!(ranked.chunks.iter().all(|items| items.capacity() <= CHUNK_ITEMS_MAX));
            for (image, model) in images {
                prop_assert_eq!(image.len(), model.len());
                let groups = (0..image.groups()).flat_map(|number| image.group(number));
                prop_assert!(groups.eq(&model));
            }
            let sums = ranked.sums.clone();
            ranked.rebuild();
            prop_assert_eq!(&ranked.sums, &sums);
            let again = Ranked::from_sorted(model.clone());
            prop_assert_eq!(again.partition_point(|_| true), model.len());
            prop_assert!(again.iter_from(0).eq(&model));
            prop_assert!(ranked.iter_from(0).eq(&model));
            for n in (0..=u16::MAX).step_by(997) {
                let at = model.partition_point(|other| *other < n);
                prop_assert_eq!(ranked.partition_point(|other| *other < n), at);
                prop_assert!(ranked.iter_from(at).eq(&model[at..]));
                prop_assert!(ranked.iter_back_from(at).eq(model[..at].iter().rev()));
            }
            prop_assert!(ranked.iter_back_from(model.len() + 5).eq(model.iter().rev()));
            prop_assert_eq!(ranked.iter_from(model.len() + 5).next(), None);
        }
    }
}
