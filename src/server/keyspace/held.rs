//! Memory that only snapshots have any more: originals of what was copied because it was shared, and what was removed
//! or replaced while it was.
//!
//! Each thread keeps one sum, which only grows; whoever wants to know what has come to it meanwhile takes the
//! difference. Nothing is counted where nothing is shared, so that changes outside of snapshots cost no more than before.

use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
}

/// Something that is shared with snapshots as a whole.
pub(super) trait Whole: Clone {
    /// Bytes of memory that a copy takes.
    fn copied_bytes(&self) -> usize;
}

/// All that was left to others so far. Bytes.
pub(super) fn total() -> u64 {
    LEFT.get()
}

/// Notes that so many bytes are left to others.
pub(super) fn leave(bytes: usize) {
    if bytes > 0 {
        LEFT.set(LEFT.get().wrapping_add(bytes as u64));
    }
}

/// Notes that others, if there are any, have this alone from now on.
pub(super) fn leave_whole<T: Whole>(shared: &Arc<T>) {
    if is_shared(shared) {
        leave(shared.copied_bytes());
    }
}

/// The content, to be changed: a copy where others have it too, to whom the original is left.
pub(super) fn make_mut<T: Whole>(shared: &mut Arc<T>) -> &mut T {
    leave_whole(shared);
    Arc::make_mut(shared)
}

/// Whether others have it too.
pub(super) fn is_shared<T: ?Sized>(shared: &Arc<T>) -> bool {
    Arc::strong_count(shared) > 1
}

/// Of so many bytes, which lie in `count` pieces of about one size, the fair part of one owner: each piece counts in
/// equal parts for all of its `owners`, so that together they come to the whole.
pub(super) fn fair_part(bytes: usize, count: usize, owners: impl Fn(usize) -> usize) -> usize {
    sum_of_some(count, |number| bytes / count / owners(number).max(1))
}

/// The sum over all of `count` parts, guessed from a few.
pub(super) fn sum_of_some(count: usize, bytes_of: impl Fn(usize) -> usize) -> usize {
    const LOOKED_AT_MAX: usize = 8;
    sum_of(count, LOOKED_AT_MAX, bytes_of)
}

/// The sum over all of `count` parts, from `looked_at_max` that are spread evenly among them where there are more.
pub(super) fn sum_of(
    count: usize,
    looked_at_max: usize,
    bytes_of: impl Fn(usize) -> usize,
) -> usize {
    let step = count.div_ceil(looked_at_max).max(1);
    let (mut looked_at, mut sum) = (0, 0_usize);
    for number in (0..count).step_by(step) {
        looked_at += 1;
        sum += bytes_of(number);
    }
    sum.saturating_mul(count)
        .checked_div(looked_at)
        .unwrap_or(0)
}
