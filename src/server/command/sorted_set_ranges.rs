//! Ranges of sorted sets: by rank, by score and by name, shown, stored or removed.

use super::args::{Failure, SYNTAX, integer};
use super::sorted_sets::{KEY_RO, member, members};
use super::strings::finish;
use super::strtod::bound;
use crate::front::{Call, CommandSpec, KeySpec, Reply, category, flag, key};
use crate::resp::Word;
use crate::server::keyspace::{Element, Kind, SortedSet};
use crate::server::{NotifyClasses, Server};

type Spec = CommandSpec<Server>;

/// The commands of this file.
pub(super) fn commands() -> Vec<Spec> {
    vec![
        Spec::new("zrange", -4, |s, c, r| finish(range(s, c, r, None, None), r))
        .flags(flag::READONLY)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .doc("1.2.0", "sorted-set", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.", "Return a range of members in a sorted set"),
        Spec::new("zrangestore", -5, |s, c, r| finish(range_store(s, c, r), r))
        .flags(flag::WRITE | flag::DENYOOM)
        .acl(category::SORTEDSET)
        .keys([KeySpec::one(1, key::OW | key::UPDATE), KeySpec::one(2, key::RO | key::ACCESS)])
        .doc("6.2.0", "sorted-set", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored into the destination key.", "Store a range of members from sorted set into another key"),
        Spec::new("zrevrange", -4, |s, c, r| finish(range(s, c, r, Some(By::Rank), Some(true)), r))
        .flags(flag::READONLY)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .doc("1.2.0", "sorted-set", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.", "Return a range of members in a sorted set, by index, with scores ordered from high to low"),
        Spec::new("zrangebyscore", -4, |s, c, r| finish(range(s, c, r, Some(By::Score), Some(false)), r))
        .flags(flag::READONLY)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .doc("1.0.5", "sorted-set", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", "Return a range of members in a sorted set, by score"),
        Spec::new("zrevrangebyscore", -4, |s, c, r| finish(range(s, c, r, Some(By::Score), Some(true)), r))
        .flags(flag::READONLY)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .doc("2.2.0", "sorted-set", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", "Return a range of members in a sorted set, by score, with scores ordered from high to low"),
        Spec::new("zrangebylex", -4, |s, c, r| finish(range(s, c, r, Some(By::Lex), Some(false)), r))
        .flags(flag::READONLY)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .doc("2.8.9", "sorted-set", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", "Return a range of members in a sorted set, by lexicographical range"),
        Spec::new("zrevrangebylex", -4, |s, c, r| finish(range(s, c, r, Some(By::Lex), Some(true)), r))
        .flags(flag::READONLY)
        .acl(category::SORTEDSET)
        .keys(KEY_RO)
        .doc("2.8.9", "sorted-set", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", "Return a range of members in a sorted set, by lexicographical range, ordered from higher to lower strings."),
        Spec::new("zremrangebyrank", 4, |s, c, r| finish(remove_range(s, c, r, By::Rank), r))
        .flags(flag::WRITE)
        .acl(category::SORTEDSET)
        .keys([KeySpec::one(1, key::RW | key::DELETE)])
        .doc("2.0.0", "sorted-set", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.", "Remove all members in a sorted set within the given indexes"),
        Spec::new("zremrangebyscore", 4, |s, c, r| finish(remove_range(s, c, r, By::Score), r))
        .flags(flag::WRITE)
        .acl(category::SORTEDSET)
        .keys([KeySpec::one(1, key::RW | key::DELETE)])
        .doc("1.2.0", "sorted-set", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.", "Remove all members in a sorted set within the given scores"),
        Spec::new("zremrangebylex", 4, |s, c, r| finish(remove_range(s, c, r, By::Lex), r))
        .flags(flag::WRITE)
        .acl(category::SORTEDSET)
        .keys([KeySpec::one(1, key::RW | key::DELETE)])
        .doc("2.8.9", "sorted-set", "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.", "Remove all members in a sorted set between the given lexicographical range")    ]
}

/// What a range is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Positions.
    Rank,
    /// Scores.
    Score,
    /// Names, where all scores are equal.
    Lex,
}

/// A range of members.
#[derive(Clone, Copy, Debug)]
pub(super) enum Range<'a> {
    /// From one position to another, both included; negative ones count from the end.
    Rank(i64, i64),
    /// From one score to another.
    Score(End<f64>, End<f64>),
    /// From one name to another.
    Lex(End<&'a [u8]>, End<&'a [u8]>),
}

/// One end of a range.
#[derive(Clone, Copy, Debug)]
pub(super) enum End<T> {
    /// Before everything.
    First,
    /// At this, included.
    At(T),
    /// At this, excluded.
    Beyond(T),
    /// Behind everything.
    Last,
}

impl<T: PartialOrd> End<T> {
    /// Whether something lies before a range that begins here.
    fn begins_after(&self, other: &T) -> bool {
        match self {
            End::First => false,
            End::At(end) => other < end,
            End::Beyond(end) => other <= end,
            End::Last => true,
        }
    }

    /// Whether something does not lie behind a range that ends here.
    fn ends_after(&self, other: &T) -> bool {
        match self {
            End::First => false,
            End::At(end) => other <= end,
            End::Beyond(end) => other < end,
            End::Last => true,
        }
    }
}

impl<'a> Range<'a> {
    /// The range between two words.
    pub(super) fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Range<'a>, Failure> {
        match by {
            By::Rank => Ok(Range::Rank(integer(min)?, integer(max)?)),
            By::Score => {
                let ends = score_end(min).zip(score_end(max));
                let (min, max) = ends.ok_or("ERR min or max is not a float")?;
                Ok(Range::Score(min, max))
            }
            By::Lex => {
                let ends = lex_end(min).zip(lex_end(max));
                let (min, max) = ends.ok_or("ERR min or max not valid string range item")?;
                Ok(Range::Lex(min, max))
            }
        }
    }

    /// The positions of the members in it, as far as the limit leaves them. From the highest down, ranks count from
    /// the other end.
    pub(super) fn positions(
        &self,
        set: &SortedSet,
        limit: Limit,
        is_reverse: bool,
    ) -> std::ops::Range<usize> {
        let (start, end) = match self {
            Range::Rank(first, last) => {
                let len = set.len();
                let end = match last {
                    -1 => len,
                    _ => from_either_end(last.saturating_add(1), len),
                };
                let start = from_either_end(*first, len).min(end);
                if is_reverse {
                    (len - end, len - start)
                } else {
                    (start, end)
                }
            }
            Range::Score(min, max) => (
                set.partition_point(|_, score| min.begins_after(&score)),
                set.partition_point(|_, score| max.ends_after(&score)),
            ),
            Range::Lex(min, max) if is_of_one_score(set) => (
                set.partition_point(|name, _| min.begins_after(&name)),
                set.partition_point(|name, _| max.ends_after(&name)),
            ),
            Range::Lex(min, max) => return walk(set, *min, *max, limit, is_reverse),
        };
        limit.cut(start.min(end)..end, is_reverse)
    }
}

/// Whether all members have the same score, so that their names are in order.
fn is_of_one_score(set: &SortedSet) -> bool {
    let score = |end: Option<(Element<'_>, f64)>| end.map(|(_, score)| score);
    score(set.iter().next()) == score(set.iter_back_from(set.len()).next())
}

/// The positions of what redis-server takes for a range of names where scores differ, and names are in no order.
/// It looks at both ends of the set first, then for a member that is not before the range while the one in front of it
/// is. From there it goes on as far as the limit says without a look, and then to the next one that is behind the
/// range; or downwards, from the other end. In the small form the member is the first one of its kind. In the large
/// form that depends on chance there, and is one of them here.
fn walk(
    set: &SortedSet,
    min: End<&[u8]>,
    max: End<&[u8]>,
    limit: Limit,
    is_reverse: bool,
) -> std::ops::Range<usize> {
    let is_before = |member: Element<'_>| min.begins_after(&member.bytes(&mut itoa::Buffer::new()));
    let is_behind = |member: Element<'_>| !max.ends_after(&member.bytes(&mut itoa::Buffer::new()));
    let up = |from| set.iter_from(from).map(|(member, _)| member);
    let down = |from| set.iter_back_from(from).map(|(member, _)| member);
    let (len, is_small) = (set.len(), matches!(set, SortedSet::Packed(_)));
    let (offset, count) = limit.offset_and_count();
    if up(0).next().is_none_or(is_behind) || down(len).next().is_none_or(is_before) {
        return 0..0;
    }
    if is_reverse {
        let end = if is_small {
            len - down(len).take_while(|member| is_behind(*member)).count()
        } else {
            set.partition_point(|name, _| max.ends_after(&name))
        };
        if down(end).next().is_none_or(is_before) {
            return 0..0;
        }
        let end = end.saturating_sub(offset);
        let wanted = down(end).take(count);
        end - wanted.take_while(|member| !is_before(*member)).count()..end
    } else {
        let start = if is_small {
            up(0).take_while(|member| is_before(*member)).count()
        } else {
            set.partition_point(|name, _| min.begins_after(&name))
        };
        if up(start).next().is_none_or(is_behind) {
            return 0..0;
        }
        let start = start.saturating_add(offset).min(len);
        let wanted = up(start).take(count);
        start..start + wanted.take_while(|member| !is_behind(*member)).count()
    }
}

/// The position that a number means, negative ones counted from the end; kept within the set.
fn from_either_end(n: i64, len: usize) -> usize {
    let distance = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX);
    if n < 0 {
        len.saturating_sub(distance)
    } else {
        distance.min(len)
    }
}

fn score_end(word: &[u8]) -> Option<End<f64>> {
    match word {
        [b'(', score @ ..] => bound(score).map(End::Beyond),
        score => bound(score).map(End::At),
    }
}

fn lex_end(word: &[u8]) -> Option<End<&[u8]>> {
    match word {
        b"-" => Some(End::First),
        b"+" => Some(End::Last),
        [b'[', name @ ..] => Some(End::At(name)),
        [b'(', name @ ..] => Some(End::Beyond(name)),
        _ => None,
    }
}

/// A part of a range: how many members are passed over, and how many are wanted after them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    offset: i64,
    /// Negative: all.
    count: i64,
}

impl Limit {
    /// All of it.
    pub(super) const NONE: Limit = Limit {
        offset: 0,
        count: -1,
    };

    /// Members to pass over and to take at most. A negative offset passes over all.
    fn offset_and_count(self) -> (usize, usize) {
        let or_all = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
        (or_all(self.offset), or_all(self.count))
    }

    /// The positions that are left.
    fn cut(self, positions: std::ops::Range<usize>, is_reverse: bool) -> std::ops::Range<usize> {
        let (offset, count) = self.offset_and_count();
        let offset = offset.min(positions.len());
        let count = count.min(positions.len() - offset);
        if is_reverse {
            let end = positions.end - offset;
            end - count..end
        } else {
            let start = positions.start + offset;
            start..start + count
        }
    }
}

/// What `ZRANGE` and its relatives are asked for.
#[derive(Debug)]
struct Query<'a> {
    range: Range<'a>,
    limit: Limit,
    is_reverse: bool,
    with_scores: bool,
}

impl<'a> Query<'a> {
    /// Reads both ends and what follows. What is `None` an option may choose.
    fn parse(
        words: &'a [Word<'a>],
        mut by: Option<By>,
        mut is_reverse: Option<bool>,
        may_have_scores: bool,
    ) -> Result<Query<'a>, Failure> {
        let (mut with_scores, mut limit) = (false, Limit::NONE);
        let mut rest = words[2..].iter();
        while let Some(word) = rest.next() {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            if is("withscores") && may_have_scores {
                with_scores = true;
            } else if is("limit") && rest.len() >= 2 {
                let mut number = || rest.next().map_or(Err(SYNTAX.into()), |word| integer(word));
                limit = Limit {
                    offset: number()?,
                    count: number()?,
                };
            } else if is("rev") && is_reverse.is_none() {
                is_reverse = Some(true);
            } else if is("bylex") && by.is_none() {
                by = Some(By::Lex);
            } else if is("byscore") && by.is_none() {
                by = Some(By::Score);
            } else {
                return Err(SYNTAX.into());
            }
        }
        let (by, is_reverse) = (by.unwrap_or(By::Rank), is_reverse.unwrap_or(false));
        if by == By::Rank && limit.count != -1 {
            return Err("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX".into());
        }
        if by == By::Lex && with_scores {
            return Err(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX".into(),
            );
        }
        // From the highest down, the higher end comes first; ranks are counted from the top instead.
        let range = if is_reverse && by != By::Rank {
            Range::parse(by, &words[1], &words[0])?
        } else {
            Range::parse(by, &words[0], &words[1])?
        };
        let limit = if by == By::Rank { Limit::NONE } else { limit };
        Ok(Query {
            range,
            limit,
            is_reverse,
            with_scores,
        })
    }

    /// The positions of the members that it asks for.
    fn positions(&self, set: &SortedSet) -> std::ops::Range<usize> {
        self.range.positions(set, self.limit, self.is_reverse)
    }
}

fn range(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    by: Option<By>,
    is_reverse: Option<bool>,
) -> Result<(), Failure> {
    let query = Query::parse(&call.words[2..], by, is_reverse, true)?;
    let Some(set) = server.read::<SortedSet>(call, &call.words[1])? else {
        reply.array(0);
        return Ok(());
    };
    let positions = query.positions(set);
    if !matches!(query.range, Range::Rank(..)) {
        reply.counts_whole();
    }
    members(reply, positions.len(), query.with_scores);
    let found = if query.is_reverse {
        set.iter_back_from(positions.end)
    } else {
        set.iter_from(positions.start)
    };
    for (name, score) in found.take(positions.len()) {
        member(reply, name, score, query.with_scores);
    }
    Ok(())
}

fn range_store(server: &mut Server, call: &Call<'_>, reply: &mut Reply) -> Result<(), Failure> {
    let query = Query::parse(&call.words[3..], None, None, false)?;
    let thresholds = server.thresholds();
    let mut stored = SortedSet::default();
    if let Some(set) = server.read::<SortedSet>(call, &call.words[2])? {
        let positions = query.positions(set);
        if let Range::Rank(..) = query.range {
            stored = SortedSet::for_members(positions.len(), 0, &thresholds);
        }
        let mut digits = itoa::Buffer::new();
        for (member, score) in set.iter_from(positions.start).take(positions.len()) {
            stored.insert(member.bytes(&mut digits), score, &thresholds);
        }
    }
    store_result(server, call, reply, &call.words[1], stored, "zrangestore");
    Ok(())
}

/// Stores what a command has come to, or removes the key where that is nothing; the reply is their number.
pub(super) fn store_result(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    key: &[u8],
    set: SortedSet,
    event: &str,
) {
    reply.count(set.len());
    let result = (!set.is_empty()).then(|| set.into_value());
    server.store_result(call, key, result, (NotifyClasses::ZSET, event));
}

fn remove_range(
    server: &mut Server,
    call: &Call<'_>,
    reply: &mut Reply,
    by: By,
) -> Result<(), Failure> {
    let key = &call.words[1];
    let range = Range::parse(by, &call.words[2], &call.words[3])?;
    let set = server.lookup::<SortedSet>(call, key)?;
    let positions = set.map_or(0..0, |set| range.positions(set, Limit::NONE, false));
    reply.count(positions.len());
    if !positions.is_empty() {
        let removed = server.modify(call, key, |set: &mut SortedSet| set.remove_range(positions));
        let event = match by {
            By::Rank => "zremrangebyrank",
            By::Score => "zremrangebyscore",
            By::Lex => "zremrangebylex",
        };
        server.touched(key, NotifyClasses::ZSET, event);
        server.changed_more(removed - 1);
        server.drop_if_empty::<SortedSet>(call, key);
        server.propagate(call, call.words);
    }
    Ok(())
}
