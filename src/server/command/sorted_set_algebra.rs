//! Unions, intersections and differences of sorted sets and plain sets, whose members all score 1.

use std::cmp::Reverse;

use super::args::{Failure, SYNTAX, integer};
use super::elements::is_removing_cheaper;
use super::sorted_set_ranges::store_result;
use super::sorted_sets::{member, members};
use super::strings::finish;
use super::strtod::double;
use crate::front::{Begin, Call, CommandSpec, Find, KeySpec, Reply, category, flag, key};
use crate::resp::Word;
use crate::server::Server;
use crate::server::keyspace::{Element, Key, Scored, Set, SortedSet, Table, Thresholds, Value};

const NUMBERED: KeySpec = KeySpec {
    begin: Begin::Index(1),
    find: Find::KeyNum {
        index: 0,
        first: 1,
        step: 1,
    },
    flags: key::RO | key::ACCESS,
};
const STORE_KEYS: [KeySpec; 2] = [
    KeySpec::one(1, key::OW | key::UPDATE),
    KeySpec {
        begin: Begin::Index(2),
        ..NUMBERED
    },
];

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("zunion", -3, |s, c, r| finish(show(s, c, r, Operation::Union), r))
        .flags(flag::READONLY | flag::MOVABLE_KEYS)
        .acl(category::SORTEDSET)
        .keys([NUMBERED])
        .doc("6.2.0", "sorted-set", "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.", "Add multiple sorted sets"),
        Spec::new("zinter", -3, |s, c, r| finish(show(s, c, r, Operation::Inter), r))
        .flags(flag::READONLY | flag::MOVABLE_KEYS)
        .acl(category::SORTEDSET)
        .keys([NUMBERED])
        .doc("6.2.0", "sorted-set", "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.", "Intersect multiple sorted sets"),
        Spec::new("zdiff", -3, |s, c, r| finish(show(s, c, r, Operation::Diff), r))
        .flags(flag::READONLY | flag::MOVABLE_KEYS)
        .acl(category::SORTEDSET)
        .keys([NUMBERED])
        .doc("6.2.0", "sorted-set", "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.", "Subtract multiple sorted sets"),
        Spec::new("zintercard", -3, |s, c, r| finish(count(s, c, r), r))
        .flags(flag::READONLY | flag::MOVABLE_KEYS)
        .acl(category::SORTEDSET)
        .keys([NUMBERED])
        .doc("7.0.0", "sorted-set", "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.", "Intersect multiple sorted sets and return the cardinality of the result"),
        Spec::new("zunionstore", -4, |s, c, r| finish(store(s, c, r, Operation::Union), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS)
        .acl(category::SORTEDSET)
        .keys(STORE_KEYS)
        .doc("2.0.0", "sorted-set", "O(N)+O(M log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.", "Add multiple sorted sets and store the resulting sorted set in a new key"),
        Spec::new("zinterstore", -4, |s, c, r| finish(store(s, c, r, Operation::Inter), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS)
        .acl(category::SORTEDSET)
        .keys(STORE_KEYS)
        .doc("2.0.0", "sorted-set", "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.", "Intersect multiple sorted sets and store the resulting sorted set in a new key"),
        Spec::new("zdiffstore", -4, |s, c, r| finish(store(s, c, r, Operation::Diff), r))
        .flags(flag::WRITE | flag::DENYOOM | flag::MOVABLE_KEYS)
        .acl(category::SORTEDSET)
        .keys(STORE_KEYS)
        .doc("6.2.0", "sorted-set", "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.", "Subtract multiple sorted sets and store the resulting sorted set in a new key")    ]
}

/// What is made of several sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

impl Operation {
    /// The event of a stored result.
    fn event(self) -> &'static str {
        match self {
            Operation::Union => "zunionstore",
            Operation::Inter => "zinterstore",
            Operation::Diff => "zdiffstore",
        }
    }
}

/// What becomes of the scores of a member that is in several sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Aggregate {
    #[default]
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, one: f64, two: f64) -> f64 {
        match self {
            Aggregate::Sum => number_or_zero(one + two),
            Aggregate::Min if two < one => two,
            Aggregate::Max if two > one => two,
            Aggregate::Min | Aggregate::Max => one,
        }
    }
}

/// Infinities that cancel each other out count as nothing.
fn number_or_zero(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What a command asks for.
#[derive(Debug)]
struct Query<'a> {
    keys: &'a [Word<'a>],
    /// One for each key.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// Members to count at most; 0: all.
    limit: usize,
}

/// Which options a command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// The result is shown.
    Show,
    /// The result is stored.
    Store,
    /// The result is counted.
    Count,
}

impl<'a> Query<'a> {
    /// Reads `numkeys key … options` and checks the types of what is there.
    fn parse(
        server: &mut Server,
        call: &Call<'a>,
        words: &'a [Word<'a>],
        operation: Operation,
        purpose: Use,
    ) -> Result<Query<'a>, Failure> {
        let (count, rest) = words.split_first().ok_or(SYNTAX)?;
        let count = integer(count)?;
        let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else {
            let name = call.info.name;
            let text = format!("ERR at least 1 input key is needed for '{name}' command");
            return Err(text.into());
        };
        let (keys, options) = rest.split_at_checked(count).ok_or(SYNTAX)?;
        for key in keys {
            match server.read_any(call, key) {
                None | Some(Value::Set(_) | Value::SortedSet(_)) => {}
                Some(Value::String(_) | Value::List(_) | Value::Hash(_)) => {
                    // For the error alone.
                    server.stored::<SortedSet>(call, key)?;
                }
            }
        }
        let mut query = Query {
            keys,
            weights: vec![1.0; count],
            aggregate: Aggregate::default(),
            with_scores: false,
            limit: 0,
        };
        query.options(options, operation, purpose)?;
        Ok(query)
    }

    fn options(
        &mut self,
        mut rest: &[Word<'_>],
        operation: Operation,
        purpose: Use,
    ) -> Result<(), Failure> {
        let has_scores = operation != Operation::Diff && purpose != Use::Count;
        while let Some((word, more)) = rest.split_first() {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            if is("weights") && has_scores && more.len() >= self.keys.len() {
                let (weights, behind) = more.split_at(self.keys.len());
                for (weight, word) in self.weights.iter_mut().zip(weights) {
                    *weight = double(word).ok_or("ERR weight value is not a float")?;
                }
                rest = behind;
            } else if let ([how, behind @ ..], true) = (more, is("aggregate") && has_scores) {
                self.aggregate = match how.to_ascii_lowercase().as_slice() {
                    b"sum" => Aggregate::Sum,
                    b"min" => Aggregate::Min,
                    b"max" => Aggregate::Max,
                    _ => return Err(SYNTAX.into()),
                };
                rest = behind;
            } else if is("withscores") && purpose == Use::Show {
                self.with_scores = true;
                rest = more;
            } else if let ([limit, behind @ ..], true) =
                (more, is("limit") && purpose == Use::Count)
            {
                let limit = integer(limit).ok().and_then(|n| usize::try_from(n).ok());
                self.limit = limit.ok_or("ERR LIMIT can't be negative")?;
                rest = behind;
            } else {
                return Err(SYNTAX.into());
            }
        }
        Ok(())
    }

    /// The result, in its order.
    fn result(
        &self,
        server: &Server,
        call: &Call<'_>,
        operation: Operation,
    ) -> Result<Vec<(Key, f64)>, Failure> {
        let mut sources = self.sources(server, call)?;
        let mut found: Vec<(Key, f64)> = match operation {
            Operation::Union => {
                sources.sort_by_key(|source| source.members.len());
                self.union(&sources)
            }
            Operation::Inter => {
                sources.sort_by_key(|source| source.members.len());
                let mut found = Vec::new();
                self.intersect(&sources, |member, score| {
                    found.push((Key::from(member), score));
                    true
                });
                found
            }
            Operation::Diff => difference(&sources),
        };
        found.sort_unstable_by(|one, two| {
            let scores = one.1.partial_cmp(&two.1).expect("no score is NaN");
            scores.then_with(|| one.0.cmp(&two.0))
        });
        Ok(found)
    }

    fn sources<'s>(&self, server: &'s Server, call: &Call<'_>) -> Result<Vec<Source<'s>>, Failure> {
        let of = |(key, weight): (&Word<'_>, &f64)| {
            let members = match server.stored_any(call, key) {
                Some(Value::Set(set)) => Members::Plain(set),
                _ => server
                    .stored::<SortedSet>(call, key)?
                    .map_or(Members::None, Members::Scored),
            };
            Ok(Source {
                members,
                weight: *weight,
            })
        };
        self.keys.iter().zip(&self.weights).map(of).collect()
    }

    fn union(&self, sources: &[Source<'_>]) -> Vec<(Key, f64)> {
        let mut found: Table<Scored> = Table::default();
        for source in sources {
            source.each(|member, score| {
                if let Some(known) = found.get_mut(member) {
                    known.score = self.aggregate.of(known.score, score);
                } else {
                    let member = Key::from(member);
                    found.insert(Scored { member, score });
                }
                true
            });
        }
        pairs(&found)
    }

    /// Hands out the members that are in all sources, of which the first is the smallest, as long as `each`
    /// wants more.
    fn intersect(&self, sources: &[Source<'_>], mut each: impl FnMut(&[u8], f64) -> bool) {
        let Some((smallest, others)) = sources.split_first() else {
            return;
        };
        smallest.each(|member, score| {
            let sum = others.iter().try_fold(score, |sum, other| {
                Some(self.aggregate.of(sum, other.score(member)?))
            });
            sum.is_none_or(|sum| each(member, sum))
        });
    }
}

/// The members of the first that are in no other, found in the cheaper of two ways.
fn difference(sources: &[Source<'_>]) -> Vec<(Key, f64)> {
    let Some((first, others)) = sources.split_first() else {
        return Vec::new();
    };
    if others.iter().any(|other| other.members.is(&first.members)) {
        return Vec::new();
    }
    if is_removing_cheaper(sources.iter().map(|source| source.members.len())) {
        return what_others_leave(first, others);
    }
    let mut others: Vec<&Source<'_>> = others.iter().collect();
    // A member is most likely to be in a large one.
    others.sort_by_key(|other| Reverse(other.members.len()));
    let mut found = Vec::new();
    first.each(|member, score| {
        if !others.iter().any(|other| other.score(member).is_some()) {
            found.push((Key::from(member), score));
        }
        true
    });
    found
}

/// What is left of a copy of the first without the members of the others.
fn what_others_leave(first: &Source<'_>, others: &[Source<'_>]) -> Vec<(Key, f64)> {
    let mut left: Table<Scored> = Table::default();
    first.each(|member, score| {
        let member = Key::from(member);
        left.insert(Scored { member, score });
        true
    });
    for other in others {
        if left.is_empty() {
            break;
        }
        other.each(|member, _| {
            left.remove(member);
            !left.is_empty()
        });
    }
    pairs(&left)
}

fn pairs(table: &Table<Scored>) -> Vec<(Key, f64)> {
    let pair = |found: &Scored| (found.member.clone(), found.score);
    table.iter().map(pair).collect()
}

/// The members under one key.
enum Members<'a> {
    None,
    Plain(&'a Set),
    Scored(&'a SortedSet),
}

impl Members<'_> {
    /// Whether both are those under the same key.
    fn is(&self, other: &Members<'_>) -> bool {
        match (self, other) {
            (Members::Plain(one), Members::Plain(two)) => std::ptr::eq(*one, *two),
            (Members::Scored(one), Members::Scored(two)) => std::ptr::eq(*one, *two),
            _ => false,
        }
    }

    fn len(&self) -> usize {
        match self {
            Members::None => 0,
            Members::Plain(set) => set.len(),
            Members::Scored(set) => set.len(),
        }
    }
}

/// One of the sets, and what its scores are multiplied by.
struct Source<'a> {
    members: Members<'a>,
    weight: f64,
}

impl Source<'_> {
    fn weighted(&self, score: f64) -> f64 {
        number_or_zero(self.weight * score)
    }

    /// Members with their weighted scores, as long as `each` wants more.
    fn each(&self, mut each: impl FnMut(&[u8], f64) -> bool) {
        let mut digits = itoa::Buffer::new();
        match self.members {
            Members::None => {}
            Members::Plain(set) => {
                let score = self.weighted(1.0);
                set.iter()
                    .all(|member| each(member.bytes(&mut digits), score));
            }
            Members::Scored(set) => {
                set.iter()
                    .all(|(member, score)| each(member.bytes(&mut digits), self.weighted(score)));
            }
        }
    }

    /// The weighted score of a member.
    fn score(&self, member: &[u8]) -> Option<f64> {
        let score = match self.members {
            Members::None => None,
            Members::Plain(set) => set.contains(member).then_some(1.0),
            Members::Scored(set) => set.score(member),
        };
        score.map(|score| self.weight * score)
    }
}

fn show(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    operation: Operation,
) -> Result<(), Failure> {
    let query = Query::parse(server, call, &call.words[1..], operation, Use::Show)?;
    let found = query.result(server, call, operation)?;
    members(reply, found.len(), query.with_scores);
    for (name, score) in found {
        member(reply, Element::Bytes(&name), score, query.with_scores);
    }
    Ok(())
}

fn store(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    operation: Operation,
) -> Result<(), Failure> {
    let query = Query::parse(server, call, &call.words[2..], operation, Use::Store)?;
    let found = query.result(server, call, operation)?;
    let set = sorted_set(&found, &server.thresholds());
    store_result(server, call, reply, &call.words[1], set, operation.event());
    Ok(())
}

/// A sorted set of these members.
pub(super) fn sorted_set(members: &[(Key, f64)], thresholds: &Thresholds) -> SortedSet {
    let longest = members.iter().map(|(member, _)| member.len()).max();
    let mut set = SortedSet::for_members(members.len(), longest.unwrap_or(0), thresholds);
    for (member, score) in members {
        set.insert(member, *score, thresholds);
    }
    set
}

fn count(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let words = &call.words[1..];
    let query = Query::parse(server, call, words, Operation::Inter, Use::Count)?;
    let mut sources = query.sources(server, call)?;
    sources.sort_by_key(|source| source.members.len());
    let mut found = 0;
    query.intersect(&sources, |_, _| {
        found += 1;
        found != query.limit
    });
    reply.count(found);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::keyspace::steps;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn scored(members: impl Iterator<Item = u32>) -> SortedSet {
        let mut set = SortedSet::default();
        for n in members {
            set.insert(n.to_string().as_bytes(), f64::from(n), &Thresholds::DEFAULT);
        }
        set
    }

    fn source(set: &SortedSet) -> Source<'_> {
        Source {
            members: Members::Scored(set),
            weight: 1.0,
        }
    }

    #[test]
    fn many_small_sets_are_taken_from_a_large_one_in_few_steps() {
        const MEMBERS: u32 = 5000;
        const OTHERS: usize = 1000;
        let (large, small) = (scored(0..MEMBERS), scored(1..4));
        let mut sources = vec![source(&large)];
        sources.extend((0..OTHERS).map(|_| source(&small)));
        let (steps, left) = steps::of(|| difference(&sources));
        assert_eq!(left.len(), large.len() - 3);
        assert!(steps < 3 * (large.len() + 3 * OTHERS), "{steps}");
        // Nothing is left to be removed from.
        let twin = large.clone();
        sources[1] = source(&twin);
        let (steps, left) = steps::of(|| difference(&sources));
        assert!(left.is_empty());
        assert!(steps < 4 * large.len(), "{steps}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_difference_is_what_no_other_set_has(
            sets in proptest::collection::vec(proptest::collection::btree_set(0_u32..200, 0..150), 1..12),
        ) {
            let members: Vec<SortedSet> = sets.iter().map(|set| scored(set.iter().copied())).collect();
            let sources: Vec<Source<'_>> = members.iter().map(source).collect();
            let in_others = |n: &u32| sets[1..].iter().any(|set| set.contains(n));
            let want: BTreeMap<Vec<u8>, u32> = sets[0]
                .iter()
                .filter(|n| !in_others(n))
                .map(|n| (n.to_string().into_bytes(), *n))
                .collect();
            for found in [difference(&sources), what_others_leave(&sources[0], &sources[1..])] {
                prop_assert_eq!(found.len(), want.len());
                for (member, score) in found {
                    prop_assert_eq!(want.get(&*member).map(|n| f64::from(*n)), Some(score));
                }
            }
        }
    }
}
