//! What the commands of collections share: elements as replies, and elements at random.

use std::collections::HashSet;
use std::hash::Hash;

use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::front::Reply;
use crate::server::Server;
use crate::server::keyspace::Element;

/// An element as a bulk string.
pub(super) fn bulk(reply: &mut Reply, element: Element<'_>) {
    reply.bulk(element.bytes(&mut itoa::Buffer::new()));
}

/// An element that may be missing.
pub(super) fn bulk_or_null(reply: &mut Reply, element: Option<Element<'_>>) {
    match element {
        Some(element) => bulk(reply, element),
        None => reply.null(),
    }
}

/// Dice of their own for a command that reads the data while it throws them.
pub(super) fn dice_of(server: &mut Server) -> ChaCha8Rng {
    ChaCha8Rng::from_rng(&mut server.rng)
}

/// `count` different ones of `len` elements, at random: of `all`, or by drawing `one` again and again, whichever
/// is less work.
pub(super) fn pick_distinct<T: Copy + Eq + Hash>(
    count: usize,
    len: usize,
    dice: &mut ChaCha8Rng,
    all: impl Iterator<Item = T>,
    one: impl Fn(&mut ChaCha8Rng) -> Option<T>,
) -> Vec<T> {
    /// With so many draws for each of those that are there, hardly any is drawn twice.
    const DRAWS_PER_ELEMENT: usize = 3;
    if count >= len {
        return all.collect();
    }
    if count.saturating_mul(DRAWS_PER_ELEMENT) >= len {
        return all.sample(dice, count);
    }
    let mut picked = Vec::with_capacity(count);
    let mut seen = HashSet::with_capacity(count);
    while picked.len() < count
        && let Some(element) = one(dice)
    {
        if seen.insert(element) {
            picked.push(element);
        }
    }
    picked
}

/// Whether the difference of sets of these sizes, the first of which is what the others are taken from, is less work
/// by removing the others' members from a copy of the first than by looking each of its members up in the others. A
/// member that is in one of them need not be looked up in the rest, so only half of the look-ups are reckoned with.
pub(super) fn is_removing_cheaper(sizes: impl Iterator<Item = usize>) -> bool {
    let (mut first, mut looked_up, mut walked) = (None, 0, 0);
    for size in sizes {
        looked_up += *first.get_or_insert(size);
        walked += size;
    }
    looked_up / 2 > walked
}

/// A draw for the data types, which take numbers.
pub(super) fn draw(dice: &mut ChaCha8Rng) -> impl FnMut() -> u64 {
    || dice.next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_picked_at_times_and_none_twice() {
        let mut dice = ChaCha8Rng::seed_from_u64(7);
        for count in [1, 5, 30, 99, 100, 101] {
            let mut seen = HashSet::new();
            for _ in 0..2000 {
                let one = |dice: &mut ChaCha8Rng| Some(dice.next_u64() % 100);
                let picked = pick_distinct(count, 100, &mut dice, 0..100, one);
                assert_eq!(picked.len(), count.min(100));
                let distinct: HashSet<u64> = picked.into_iter().collect();
                assert_eq!(distinct.len(), count.min(100));
                seen.extend(distinct);
            }
            assert_eq!(seen.len(), 100, "of {count} each time");
        }
    }
}
