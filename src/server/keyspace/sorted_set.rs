//! Sorted sets: members in the order of their scores, and of their bytes where scores are equal.

use std::cmp::Ordering;
use std::ops::Range;

use super::bulk::Bulk;
use super::dense::Keyed;
use super::held;
use super::key::Key;
use super::listpack::{LISTPACK_BYTES_MAX, Listpack, Place};
use super::ranked::{CHUNK_ITEMS_MAX, Ranked};
use super::steps;
use super::table::Table;
use super::text::Element;
use super::{Thresholds, WARM_MAX};
use crate::resp::{double_text, parse_double};

/// The members of a key. A few small ones lie in a listpack; many or long ones in a table and an order, for
/// good. No score is NaN.
#[derive(Clone, Debug)]
pub enum SortedSet {
    /// Members and scores in turn, in their order.
    Packed(Listpack),
    /// The large form.
    Ranked(Box<Ranking>),
}

/// The large form: members by name, and in their order.
#[derive(Clone, Debug, Default)]
pub struct Ranking {
    members: Table<Scored>,
    order: Ranked<Scored>,
}

/// A member and its score.
#[derive(Clone, Debug, Default)]
pub struct Scored {
    /// The member.
    pub member: Key,
    /// Its score; never NaN.
    pub score: f64,
}

impl Ranking {
    /// Has these members fetched from memory. What is returned says nothing.
    pub(super) fn warm<'a>(&self, members: impl Iterator<Item = &'a [u8]>) -> usize {
        self.members.warm(members)
    }
}

impl Keyed for Scored {
    fn key(&self) -> &[u8] {
        &self.member
    }

    fn common_bytes(&self, owners: usize) -> usize {
        // Each member is there twice, by name and in the order.
        self.member.common_bytes(2 * owners)
    }
}

impl Scored {
    /// Whether it comes before another member.
    fn is_before(&self, score: f64, member: &[u8]) -> bool {
        compare(self.score, &self.member, score, member) == Ordering::Less
    }
}

impl Ranking {
    /// The members by name.
    pub(super) fn members(&self) -> &Table<Scored> {
        &self.members
    }

    /// The members in their order, for whoever saves them.
    pub fn order(&self) -> &Ranked<Scored> {
        &self.order
    }

    fn rank(&self, score: f64, member: &[u8]) -> usize {
        self.order
            .partition_point(|item| item.is_before(score, member))
    }

    fn from_pack(pack: &Listpack) -> Ranking {
        let mut ranking = Ranking::default();
        for at in pack.pair_places() {
            let mut digits = itoa::Buffer::new();
            let member = pack.get(at).bytes(&mut digits);
            ranking.update(member, |_| Some(score_after(pack, at)));
        }
        ranking
    }

    fn update(&mut self, member: &[u8], change: impl FnOnce(Option<f64>) -> Option<f64>) -> Change {
        let before = self.members.get(member).map(|item| item.score);
        let Some(score) = change(before) else {
            return Change::None;
        };
        assert!(!score.is_nan(), "no score is NaN");
        let name = match before {
            Some(old) if is_same(old, score) => return Change::None,
            Some(old) => {
                let item = self.members.get_mut(member);
                item.expect("it was just found").score = score;
                self.unlink(old, member).member
            }
            None => {
                let name = Key::from(member);
                self.members.insert(Scored {
                    member: name.clone(),
                    score,
                });
                name
            }
        };
        let item = Scored {
            member: name,
            score,
        };
        self.order
            .insert(item, |other| other.is_before(score, member));
        if before.is_some() {
            Change::Moved
        } else {
            Change::Added
        }
    }

    /// Takes a member out of the order.
    fn unlink(&mut self, score: f64, member: &[u8]) -> Scored {
        self.order
            .remove_first(|item| item.is_before(score, member))
            .expect("every member is in the order")
    }

    /// Removes the members at these positions.
    fn remove_range(&mut self, positions: Range<usize>) {
        if positions.len() <= CHUNK_ITEMS_MAX {
            // From the end: so the rest of a chunk does not move for each of them.
            for position in positions.rev() {
                self.remove_at(position);
            }
            return;
        }
        let gone = self.order.remove_range(positions);
        if self.order.len() < self.members.len() / 2 {
            // To find those that go, all over the memory, would take longer than to name those that stay.
            let items = gone.iter().flat_map(|items| items.iter());
            held::leave(items.map(|item| item.common_bytes(1)).sum());
            // Cursors of a `ZSCAN` are hashes: they must go on.
            let hasher = self.members.hasher().cloned().unwrap_or_default();
            let mut names = Bulk::with_hasher(hasher, self.order.len());
            self.order
                .iter_from(0)
                .for_each(|item| names.push(item.clone()));
            self.members = names.finish().expect("no member is there twice");
            return;
        }
        for items in gone {
            for items in items.chunks(WARM_MAX) {
                let names = items.iter().map(|item| item.key());
                std::hint::black_box(self.members.warm(names));
                for item in items {
                    self.members.remove(&item.member);
                }
            }
        }
    }

    /// Removes the member at a position.
    fn remove_at(&mut self, position: usize) -> Option<Scored> {
        let item = self.order.remove(position)?;
        self.members.remove(&item.member);
        Some(item)
    }
}

/// What has become of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// It is new.
    Added,
    /// It has another score.
    Moved,
}

/// Whether two scores are the same to Redis; the two zeros are.
#[expect(clippy::float_cmp, reason = "the same score means no change")]
fn is_same(one: f64, two: f64) -> bool {
    one == two
}

/// The order of two members.
fn compare(score: f64, member: &[u8], other_score: f64, other: &[u8]) -> Ordering {
    score
        .partial_cmp(&other_score)
        .expect("no score is NaN")
        .then_with(|| member.cmp(other))
}

impl Default for SortedSet {
    fn default() -> SortedSet {
        SortedSet::Packed(Listpack::default())
    }
}

impl SortedSet {
    /// An empty one for this many members of at most so many bytes, in the form that they will need.
    pub fn for_members(len: usize, longest: usize, thresholds: &Thresholds) -> SortedSet {
        let is_small =
            len <= thresholds.sorted_set_entries && longest <= thresholds.sorted_set_value_bytes;
        if is_small {
            SortedSet::default()
        } else {
            SortedSet::Ranked(Box::default())
        }
    }

    /// These members, in any order, in the form for so many of them; `None` if one comes twice.
    ///
    /// # Panics
    /// A score is NaN.
    pub fn from_members(mut members: Vec<Scored>, thresholds: &Thresholds) -> Option<SortedSet> {
        // It costs little where they are in order, up or down.
        members.sort_unstable_by(|one, other| {
            compare(one.score, &one.member, other.score, &other.member)
        });
        let longest = members.iter().map(|item| item.member.len()).max();
        let longest = longest.unwrap_or(0);
        if members.len() <= thresholds.sorted_set_entries
            && longest <= thresholds.sorted_set_value_bytes
            && let Some(pack) = pack_of(&members)
        {
            return pack.are_names_distinct().then_some(SortedSet::Packed(pack));
        }
        // First, so that the list is gone by the time the table is made.
        let order = Ranked::from_sorted(members);
        let names: Bulk<Scored> = order.iter_from(0).cloned().collect();
        Some(SortedSet::Ranked(Box::new(Ranking {
            members: names.finish()?,
            order,
        })))
    }

    /// What `OBJECT ENCODING` calls the form.
    pub fn encoding(&self) -> &'static str {
        match self {
            SortedSet::Packed(_) => "listpack",
            SortedSet::Ranked(_) => "skiplist",
        }
    }

    /// Members.
    pub fn len(&self) -> usize {
        match self {
            SortedSet::Packed(pack) => pack.len() / 2,
            SortedSet::Ranked(ranking) => ranking.order.len(),
        }
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        steps::count(1);
        match self {
            SortedSet::Packed(pack) => Some(score_after(pack, pack.find(member, 1)?)),
            SortedSet::Ranked(ranking) => ranking.members.get(member).map(|item| item.score),
        }
    }

    /// Adds a member or changes its score; returns the score that it had.
    ///
    /// # Panics
    /// The score is NaN.
    pub fn insert(&mut self, member: &[u8], score: f64, thresholds: &Thresholds) -> Option<f64> {
        let mut before = None;
        self.update(member, thresholds, |old| {
            before = old;
            Some(score)
        });
        before
    }

    /// Gives a member the score that `change` makes of the one it has, if it has any; none: leaves it.
    ///
    /// # Panics
    /// The score is NaN.
    pub fn update(
        &mut self,
        member: &[u8],
        thresholds: &Thresholds,
        change: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Change {
        let pack = match self {
            SortedSet::Ranked(ranking) => return ranking.update(member, change),
            SortedSet::Packed(pack) => pack,
        };
        let place = pack.find(member, 1);
        let before = place.map(|at| score_after(pack, at));
        let Some(score) = change(before) else {
            return Change::None;
        };
        assert!(!score.is_nan(), "no score is NaN");
        if before.is_some_and(|old| is_same(old, score)) {
            return Change::None;
        }
        if let Some(at) = place {
            pack.remove(at, 2);
        } else if member.len() > thresholds.sorted_set_value_bytes
            || pack.len() / 2 >= thresholds.sorted_set_entries
            || pack.as_bytes().len() + member.len() > LISTPACK_BYTES_MAX
        {
            let mut ranking = Ranking::from_pack(pack);
            let change = ranking.update(member, |_| Some(score));
            *self = SortedSet::Ranked(Box::new(ranking));
            return change;
        }
        let behind = pack.pair_places().find(|at| {
            let mut digits = itoa::Buffer::new();
            let other = pack.get(*at).bytes(&mut digits);
            compare(score_after(pack, *at), other, score, member) == Ordering::Greater
        });
        pack.insert(behind, &[member, packed_score(score).as_bytes()]);
        if place.is_some() {
            Change::Moved
        } else {
            Change::Added
        }
    }

    /// Removes a member; returns the score that it had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        match self {
            SortedSet::Packed(pack) => {
                let at = pack.find(member, 1)?;
                let score = score_after(pack, at);
                pack.remove(at, 2);
                Some(score)
            }
            SortedSet::Ranked(ranking) => {
                let score = ranking.members.get(member)?.score;
                // From the order first, and what that had stays until the end: so the table sees whether a snapshot has the
                // name too, and notes that.
                let _item = ranking.unlink(score, member);
                ranking.members.remove(member);
                Some(score)
            }
        }
    }

    /// Removes the member at a position, and hands it over.
    pub fn remove_at(&mut self, position: usize) -> Option<(Key, f64)> {
        match self {
            SortedSet::Packed(pack) => {
                let at = pack.nth(position.checked_mul(2)?)?;
                let mut digits = itoa::Buffer::new();
                let member = Key::from(pack.get(at).bytes(&mut digits));
                let score = score_after(pack, at);
                pack.remove(at, 2);
                Some((member, score))
            }
            SortedSet::Ranked(ranking) => ranking
                .remove_at(position)
                .map(|item| (item.member, item.score)),
        }
    }

    /// Removes the members at these positions; returns how many there were.
    pub fn remove_range(&mut self, positions: Range<usize>) -> usize {
        let end = positions.end.min(self.len());
        let count = end.saturating_sub(positions.start);
        match self {
            SortedSet::Packed(pack) => {
                if let Some(at) = pack.nth(positions.start.saturating_mul(2)) {
                    pack.remove(at, count * 2);
                }
            }
            SortedSet::Ranked(ranking) => ranking.remove_range(positions.start..end),
        }
        count
    }

    /// The position of a member, from the lowest score.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        match self {
            SortedSet::Packed(pack) => {
                let place = pack.find(member, 1)?;
                pack.pair_places().position(|at| at == place)
            }
            SortedSet::Ranked(ranking) => {
                let score = ranking.members.get(member)?.score;
                Some(ranking.rank(score, member))
            }
        }
    }

    /// How many members come before the first for which `is_before` is false; it must be true for the lowest
    /// only.
    pub fn partition_point(&self, is_before: impl Fn(&[u8], f64) -> bool) -> usize {
        match self {
            SortedSet::Packed(pack) => pack
                .pair_places()
                .take_while(|at| {
                    let mut digits = itoa::Buffer::new();
                    is_before(pack.get(*at).bytes(&mut digits), score_after(pack, *at))
                })
                .count(),
            SortedSet::Ranked(ranking) => ranking
                .order
                .partition_point(|item| is_before(&item.member, item.score)),
        }
    }

    /// Members with their scores from a position up.
    pub fn iter_from(&self, position: usize) -> Box<dyn Iterator<Item = (Element<'_>, f64)> + '_> {
        match self {
            SortedSet::Packed(pack) => Box::new(
                pack.pair_places()
                    .skip(position)
                    .map(|at| (pack.get(at), score_after(pack, at))),
            ),
            SortedSet::Ranked(ranking) => Box::new(ranking.order.iter_from(position).map(pair)),
        }
    }

    /// Members with their scores below a position, downwards from it.
    pub fn iter_back_from(
        &self,
        position: usize,
    ) -> Box<dyn Iterator<Item = (Element<'_>, f64)> + '_> {
        match self {
            SortedSet::Packed(pack) => {
                let position = position.min(self.len());
                let mut places: Vec<Place> = pack.pair_places().take(position).collect();
                places.reverse();
                Box::new(
                    places
                        .into_iter()
                        .map(|at| (pack.get(at), score_after(pack, at))),
                )
            }
            SortedSet::Ranked(ranking) => {
                Box::new(ranking.order.iter_back_from(position).map(pair))
            }
        }
    }

    /// The text of a member's score as `ZSCAN` has it, which is as it is stored.
    pub fn score_text(&self, score: f64) -> String {
        match self {
            SortedSet::Packed(_) => packed_score(score),
            SortedSet::Ranked(_) => double_text(score),
        }
    }

    /// All members with their scores, in their order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Element<'_>, f64)> + '_> {
        self.iter_from(0)
    }

    /// One step of `ZSCAN`: about `count` members from `cursor` (all of them in the small form); returns the
    /// next cursor, 0 at the end.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        mut each: impl FnMut(Element<'a>, f64),
    ) -> u64 {
        match self {
            SortedSet::Packed(_) => {
                self.iter().for_each(|(member, score)| each(member, score));
                0
            }
            SortedSet::Ranked(ranking) => ranking.members.scan(cursor, count, |item| {
                each(Element::Bytes(&item.member), item.score);
            }),
        }
    }

    /// A member at random; `dice` is uniform. `None` only when there is none.
    pub fn random(&self, mut dice: impl FnMut() -> u64) -> Option<(Element<'_>, f64)> {
        let len = u64::try_from(self.len()).expect("fits");
        let nth = usize::try_from(dice().checked_rem(len)?).expect("below a usize");
        self.iter_from(nth).next()
    }

    /// Bytes of memory beyond those of the `SortedSet` itself. Of the large form, an estimate from some of
    /// its members.
    pub fn heap_bytes(&self, samples: usize) -> usize {
        match self {
            SortedSet::Packed(pack) => pack.heap_bytes(),
            SortedSet::Ranked(ranking) => {
                let each = ranking.members.iter().map(|item| item.member.heap_bytes());
                size_of::<Ranking>()
                    + ranking.members.heap_bytes()
                    + ranking.order.heap_bytes()
                    + super::estimate(each, ranking.members.len(), samples)
            }
        }
    }

    /// As [`SortedSet::heap_bytes`]; of what others have too, its fair part.
    pub(super) fn fair_bytes(&self, samples: usize) -> usize {
        let bytes = self.heap_bytes(samples);
        match self {
            SortedSet::Packed(_) => bytes,
            SortedSet::Ranked(ranking) => {
                let order = ranking.order.heap_bytes();
                let members = bytes.saturating_sub(order);
                ranking.order.fair_part(order) + ranking.members.fair_part(members)
            }
        }
    }

    /// Gives it the large form.
    pub fn make_ranked(&mut self) {
        if let SortedSet::Packed(pack) = self {
            *self = SortedSet::Ranked(Box::new(Ranking::from_pack(pack)));
        }
    }
}

/// Members in their order as a listpack, unless they are too long for one.
fn pack_of(members: &[Scored]) -> Option<Listpack> {
    let mut pack = Listpack::default();
    for item in members {
        if pack.as_bytes().len() + item.member.len() > LISTPACK_BYTES_MAX {
            return None;
        }
        pack.insert(None, &[&item.member, packed_score(item.score).as_bytes()]);
    }
    Some(pack)
}

/// The text of a score in the small form. Whole numbers are plain integers there, -0 is 0, as with Redis.
fn packed_score(score: f64) -> String {
    /// Half of what an `i64` holds.
    const INTEGER_MAX: f64 = 4_611_686_018_427_387_904.0;
    if score.fract() == 0.0 && score.abs() <= INTEGER_MAX {
        #[expect(clippy::cast_possible_truncation, reason = "just bounded")]
        let whole = score as i64;
        itoa::Buffer::new().format(whole).to_owned()
    } else {
        double_text(score)
    }
}

/// The score behind the member at `at`.
fn score_after(pack: &Listpack, at: Place) -> f64 {
    let score = pack.next(at).expect("members and scores are in turn");
    match pack.get(score) {
        Element::Integer(n) => {
            #[expect(clippy::cast_precision_loss, reason = "a whole double was stored so")]
            let score = n as f64;
            score
        }
        Element::Bytes(text) => parse_double(text).expect("scores are checked when they come in"),
    }
}

fn pair(item: &Scored) -> (Element<'_>, f64) {
    (Element::Bytes(&item.member), item.score)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the set must hold: members and scores in their order.
    type Model = Vec<(Vec<u8>, f64)>;

    fn put(model: &mut Model, member: &[u8], score: f64) -> Option<f64> {
        let before = take(model, member);
        let at = model.partition_point(|(other, old)| compare(*old, other, score, member).is_lt());
        model.insert(at, (member.to_vec(), score));
        before
    }

    fn take(model: &mut Model, member: &[u8]) -> Option<f64> {
        let at = model.iter().position(|(other, _)| other == member)?;
        Some(model.remove(at).1)
    }

    fn content<'a>(members: impl Iterator<Item = (Element<'a>, f64)>) -> Model {
        members
            .map(|(member, score)| (member.to_vec(), score))
            .collect()
    }

    #[test]
    fn of_a_range_what_stays_or_goes_is_the_work() {
        const MEMBERS: usize = 100_000;
        let name = |n: usize| format!("member {n}");
        for (range, steps_max) in [
            (0..MEMBERS, 2000),
            (1000..MEMBERS - 1000, 15_000),
            (300..30_000, usize::MAX),
            (700..900, usize::MAX),
        ] {
            let mut set = SortedSet::default();
            for n in 0..MEMBERS {
                #[expect(clippy::cast_precision_loss, reason = "few")]
                set.insert(name(n).as_bytes(), n as f64, &Thresholds::default());
            }
            let (steps, removed) = steps::of(|| set.remove_range(range.clone()));
            assert_eq!(removed, range.len());
            assert!(steps < steps_max, "{steps} for {range:?}");
            let left = (0..MEMBERS).filter(|n| !range.contains(n));
            assert!(
                set.iter()
                    .map(|(m, _)| m.to_vec())
                    .eq(left.map(|n| name(n).into_bytes()))
            );
            for n in (0..MEMBERS).step_by(77) {
                assert_eq!(set.score(name(n).as_bytes()).is_some(), !range.contains(&n));
            }
            let SortedSet::Ranked(ranking) = set else {
                panic!("it is large for good");
            };
            assert_eq!(ranking.members.len(), ranking.order.len());
            ranking.members.check();
        }
    }

    #[test]
    fn a_scan_goes_on_when_most_members_are_gone() {
        const MEMBERS: usize = 4000;
        let mut set = SortedSet::default();
        for n in 0..MEMBERS {
            #[expect(clippy::cast_precision_loss, reason = "few")]
            set.insert(n.to_string().as_bytes(), n as f64, &Thresholds::default());
        }
        let SortedSet::Ranked(ranking) = &mut set else {
            panic!("it is large");
        };
        let mut seen = std::collections::HashSet::new();
        let mut cursor = 0;
        while seen.len() < MEMBERS / 2 {
            cursor = ranking.members.scan(cursor, 10, |item| {
                seen.insert(item.member.to_vec());
            });
        }
        ranking.remove_range(1000..MEMBERS);
        while cursor != 0 {
            cursor = ranking.members.scan(cursor, 10, |item| {
                seen.insert(item.member.to_vec());
            });
        }
        assert!((0..1000).all(|n| seen.contains(n.to_string().as_bytes())));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn both_forms_are_a_sorted_vector(
            ops in proptest::collection::vec((0_u8..9, 0_u16..60, -6_i8..6), 0..400),
            entries in 0_usize..80,
        ) {
            let thresholds = Thresholds { sorted_set_entries: entries, ..Thresholds::default() };
            let (mut set, mut model) = (SortedSet::default(), Model::new());
            for (op, n, score) in ops {
                let member = if n % 3 == 0 { format!("m{n}") } else { n.to_string() }.into_bytes();
                let (score, at) = (f64::from(score) / 4.0, usize::from(n));
                match op {
                    0..4 => {
                        let before = set.insert(&member, score, &thresholds);
                        prop_assert_eq!(before, put(&mut model, &member, score));
                    }
                    4 => {
                        let known = model.iter().any(|(other, _)| *other == member);
                        let change = set.update(&member, &thresholds, |old| old.map(|old| old + 1.0));
                        prop_assert_eq!(change, if known { Change::Moved } else { Change::None });
                        if let Some(old) = take(&mut model, &member) {
                            put(&mut model, &member, old + 1.0);
                        }
                    }
                    5 => prop_assert_eq!(set.remove(&member), take(&mut model, &member)),
                    6 => {
                        let removed = set.remove_at(at).map(|(name, score)| (name.to_vec(), score));
                        let want = (at < model.len()).then(|| model.remove(at));
                        prop_assert_eq!(removed, want);
                    }
                    7 => {
                        let end = (at + 3).min(model.len());
                        let want = model.drain(at.min(end)..end).count();
                        prop_assert_eq!(set.remove_range(at..at + 3), want);
                    }
                    _ => {
                        let rank = model.iter().position(|(other, _)| *other == member);
                        prop_assert_eq!(set.rank(&member), rank);
                        let from = model.partition_point(|(_, other)| *other < score);
                        prop_assert_eq!(set.partition_point(|_, other| other < score), from);
                        prop_assert_eq!(content(set.iter_from(from)), &model[from..]);
                        let mut down = content(set.iter_back_from(from));
                        down.reverse();
                        prop_assert_eq!(down, &model[..from]);
                    }
                }
                prop_assert_eq!(set.len(), model.len());
            }
            prop_assert_eq!(content(set.iter()), model);
        }
    }
}
