//! Sorted sets: members in the order of their scores, and of their bytes where scores are equal.

use std::cmp::Ordering;

use super::Thresholds;
use super::dense::Keyed;
use super::key::Key;
use super::listpack::{Listpack, Place};
use super::ranked::Ranked;
use super::table::Table;
use super::text::Element;
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
#[derive(Clone, Debug)]
pub struct Scored {
    /// The member.
    pub member: Key,
    /// Its score; never NaN.
    pub score: f64,
}

impl Keyed for Scored {
    fn key(&self) -> &[u8] {
        &self.member
    }
}

impl Scored {
    /// Whether it comes before another member.
    fn is_before(&self, score: f64, member: &[u8]) -> bool {
        compare(self.score, &self.member, score, member) == Ordering::Less
    }
}

impl Ranking {
    /// The members by name, for whoever saves them; their number and, by [`Table::group`], they.
    pub fn members(&self) -> &Table<Scored> {
        &self.members
    }

    fn rank(&self, score: f64, member: &[u8]) -> usize {
        self.order
            .partition_point(|item| item.is_before(score, member))
    }

    fn insert(&mut self, member: &[u8], score: f64) -> Option<f64> {
        let before = match self.members.get_mut(member) {
            Some(item) => Some(std::mem::replace(&mut item.score, score)),
            None => None,
        };
        let key = match before {
            #[expect(
                clippy::float_cmp,
                reason = "the same score means no change, bit for bit"
            )]
            Some(old) if old == score => return before,
            Some(old) => {
                let moved = self.order.remove(self.rank(old, member));
                moved.expect("every member is in the order").member
            }
            None => {
                let member = Key::from(member);
                self.members.insert(Scored {
                    member: member.clone(),
                    score,
                });
                member
            }
        };
        let item = Scored { member: key, score };
        self.order
            .insert(item, |other| other.is_before(score, member));
        before
    }
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
        assert!(!score.is_nan(), "no score is NaN");
        if member.len() > thresholds.sorted_set_value_bytes {
            self.make_ranked();
        }
        match self {
            SortedSet::Packed(pack) => {
                let before = pack.find(member, 1).map(|at| {
                    let before = score_after(pack, at);
                    pack.remove(at, 2);
                    before
                });
                let behind = pack.pair_places().find(|at| {
                    let mut digits = itoa::Buffer::new();
                    let other = pack.get(*at).bytes(&mut digits);
                    compare(score_after(pack, *at), other, score, member) == Ordering::Greater
                });
                pack.insert(behind, &[member, double_text(score).as_bytes()]);
                if pack.len() / 2 > thresholds.sorted_set_entries {
                    self.make_ranked();
                }
                before
            }
            SortedSet::Ranked(ranking) => ranking.insert(member, score),
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
                let score = ranking.members.remove(member)?.score;
                let removed = ranking.order.remove(ranking.rank(score, member));
                assert!(removed.is_some(), "every member is in the order");
                Some(score)
            }
        }
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

    /// Gives it the large form.
    pub fn make_ranked(&mut self) {
        if let SortedSet::Packed(pack) = self {
            let mut ranking = Ranking::default();
            for at in pack.pair_places() {
                let mut digits = itoa::Buffer::new();
                ranking.insert(pack.get(at).bytes(&mut digits), score_after(pack, at));
            }
            *self = SortedSet::Ranked(Box::new(ranking));
        }
    }
}

/// The score behind the member at `at`.
fn score_after(pack: &Listpack, at: Place) -> f64 {
    let score = pack.next(at).expect("members and scores are in turn");
    match pack.get(score) {
        Element::Integer(n) => {
            #[expect(
                clippy::cast_precision_loss,
                reason = "only exact integers are stored so"
            )]
            let score = n as f64;
            score
        }
        Element::Bytes(text) => parse_double(text).expect("scores are checked when they come in"),
    }
}

fn pair(item: &Scored) -> (Element<'_>, f64) {
    (Element::Bytes(&item.member), item.score)
}
